"""``read``: find the parts of a Keras model, parse the architecture, attach the weights."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from convcore.plugin import BadFileError, Problem, UnsupportedError, UsageError, ask_option, watched

from . import weights_legacy, weights_v3
from .archive import Archive
from .config import NO_NAMES, Context, UserNames, parse_root
from .hdf5 import H5File
from .model import KerasModel, ModelConfig
from .safe_json import MAX_JSON_BYTES, loads
from .safe_yaml import MAX_YAML_BYTES, loads_yaml
from .shards import Shards
from .sniff import FileKind, sniff
from .source import ByteSource

__all__ = ["architecture", "read"]

Path = str | os.PathLike[str]


@dataclass
class _Architecture:
    config: Any
    version: str = ""
    backend: str | None = None
    training: dict[str, Any] | None = None


def read(
    source: Path | tuple[Path, Path] | Sequence[Path],
    weights: Path | None = None,
    *,
    kernels: str | None = None,
    custom: UserNames = NO_NAMES,
) -> KerasModel:
    """Read a Keras model.

    Args:
        source: a ``.keras`` file or folder, a legacy ``.h5``, an architecture ``.json``; or a pair (architecture,
        weights) in any order. weights: a weights file for an architecture; with a full model it replaces the model's
        own weights. kernels: ``"theano"`` when the model was computed with Theano (kernels are then flipped),
        ``"tensorflow"`` when not; by
            default what the file says. Keras 1 files do not say; TensorFlow is then assumed and noted. custom: the user's own
            classes with the files that define them, which come before Keras's where the model's file names no module.

    Raises:
        BadFileError: unreadable, hostile, or weights and architecture do not belong together.
        UnsupportedError: a kind of model that holds no graph, or something no exact meaning can be given to.
        UsageError: wrong arguments.
    """
    if kernels not in (None, "tensorflow", "theano"):
        raise UsageError(f"kernels must be 'tensorflow' or 'theano', not {kernels!r}")
    main, extra = _paths(source, weights)
    kind = _kind(main)
    extra_kind = None if extra is None else _kind(extra)
    if extra is not None and extra_kind is not None and not kind.has_architecture and extra_kind.has_architecture:
        main, kind, extra, extra_kind = extra, extra_kind, main, kind
    if not kind.has_architecture:
        raise UsageError(f"{main}: holds only weights; give the architecture (a .json from model.to_json()) with it")
    if extra is not None and extra_kind is not None and not extra_kind.has_weights:
        raise UsageError(f"{extra}: holds no weights")
    with ExitStack() as stack:
        arch = _architecture(main, kind, stack)
        place = _Weights(main, kind) if kind.has_weights and extra is None else None
        if extra is not None and extra_kind is not None:
            place = _Weights(extra, extra_kind)
        legacy = place.open(stack) if place is not None else None
        return _build(main, extra, kind, arch, place, legacy, kernels, custom)


def architecture(path: Path) -> tuple[str, str, Any]:
    """(era, version that wrote it or "", configuration as stored) of a file; ("", "", None) for one that holds only weights."""
    main = os.fspath(path)
    kind = _kind(main)
    if not kind.has_architecture:
        return "", "", None
    with ExitStack() as stack:
        arch = _architecture(main, kind, stack)
        return _era(arch.version, arch.config), arch.version, arch.config


def _build(
    main: str,
    extra: str | None,
    kind: FileKind,
    arch: _Architecture,
    place: _Weights | None,
    legacy: tuple[str, str | None] | None,
    kernels: str | None,
    custom: UserNames,
) -> KerasModel:
    version, backend = arch.version, arch.backend
    ctx = Context(_era(version, arch.config), _version(version))
    weights_version, weights_backend = legacy or (version, backend)
    theano = (kernels or weights_backend or backend) == "theano"
    if ctx.era == "keras3" and kernels == "theano":
        raise UsageError(f"{ask_option('kernels', 'theano')} does not apply to Keras 3 files")
    ctx.theano, ctx.custom = theano, custom
    if ctx.era == "keras1" and kernels is None and backend is None:
        ctx.notes.append(
            "Keras 1 files do not say which backend computed them; TensorFlow is assumed "
            f"({ask_option('kernels', 'theano')} reads Theano's)"
        )
    root = parse_root(arch.config, ctx, main, {"theano": "channels_first", "tensorflow": "channels_last"}.get(kernels or ""))
    if place is not None:
        keras1 = (weights_version or "1").startswith("1") if legacy is not None else False
        place.assign(root, keras1=keras1, theano=theano, one_file=extra is None, notes=ctx.notes)
    container = {"keras-zip": "keras-zip", "keras-folder": "keras-folder", "hdf5-model": "hdf5"}.get(kind.kind, "json")
    if extra is not None and place is not None:
        suffix = {"hdf5-weights": "hdf5", "hdf5-model": "hdf5", "weights-v3": "weights.h5", "json-shards": "shards"}
        container += "+" + suffix.get(place.kind.kind, place.kind.kind)
    return KerasModel(
        root, version, ctx.era, weights_backend or backend, container, arch.training,
        (main,) if extra is None else (main, extra), place is not None, "theano" if theano else "tensorflow", ctx.notes,
        "" if place is None else place.about,
    )  # fmt: skip


def _paths(source: Any, weights: Path | None) -> tuple[str, str | None]:
    if isinstance(source, (list, tuple)):
        if len(source) != 2 or weights is not None:
            raise UsageError("give one path, or a pair of paths (architecture, weights)")
        source, weights = source
    return os.fspath(source), None if weights is None else os.fspath(weights)


def _kind(path: str) -> FileKind:
    kind = sniff(path)
    if kind is None:
        raise BadFileError(_why_not(path))
    if kind.kind == "saved-model":
        why = "is a TensorFlow SavedModel: its graph is TensorFlow's, not Keras's layers"
        hint = "load it where it was made and save it again: tf.keras.models.load_model(folder).save('model.keras')"
        raise UnsupportedError(Problem(path, "SavedModel", why, hint, "unsupported_format"), "cannot be read")
    return kind


def _why_not(path: str) -> str:
    """Say exactly why a path is no Keras file."""
    if not os.path.lexists(path):
        return f"{path}: no such file"
    if os.path.isdir(path):
        return f"{path}: a folder without config.json and model.weights.h5"
    if not os.path.isfile(path):
        return f"{path}: not a regular file"
    source = ByteSource.of_file(path)
    if source.size == 0:
        return f"{path}: is empty"
    with open(watched(path), "rb") as f:
        head = f.read(8)
    if head == b"\x89HDF\r\n\x1a\n":
        try:
            with H5File(source) as h5:
                h5.attr(h5.root, "model_config")
        except BadFileError as e:
            return str(e)
        return f"{path}: an HDF5 file, but not a Keras model or weights file"
    if head.startswith(b"PK\x03\x04"):
        try:
            names = Archive(path).names
        except BadFileError as e:
            return str(e)
        missing = " and ".join({"config.json", "model.weights.h5"} - set(names)) or "nothing"
        return f"{path}: a zip archive, but not a .keras file ({missing} is missing)"
    return f"{path}: not a Keras file (neither HDF5, zip nor Keras JSON)"


# ---- architecture
def _architecture(path: str, kind: FileKind, stack: ExitStack) -> _Architecture:
    if kind.kind == "keras-zip":
        archive = Archive(path)
        meta = loads(archive.read("metadata.json", 1 << 20), f"{path} (metadata.json)") if "metadata.json" in archive else {}
        return _v3(loads(archive.read("config.json"), f"{path} (config.json)"), meta)
    if kind.kind == "keras-folder":
        meta_path = os.path.join(path, "metadata.json")
        meta = _load_file(meta_path) if os.path.isfile(meta_path) else {}
        return _v3(_load_file(os.path.join(path, "config.json")), meta)
    if kind.kind == "hdf5-model":
        h5 = stack.enter_context(H5File(ByteSource.of_file(path)))
        return _legacy_h5(path, h5)
    obj = _load_yaml(path) if kind.kind == "yaml-model" else _load_file(path)
    version = obj.get("keras_version") if isinstance(obj, dict) else None
    backend = obj.get("backend") if isinstance(obj, dict) else None
    return _Architecture(obj, version if isinstance(version, str) else "", backend if isinstance(backend, str) else None)


def _load_file(path: str) -> Any:
    source = ByteSource.of_file(path)
    if source.size > MAX_JSON_BYTES:
        raise BadFileError(f"{path}: {source.size} bytes of JSON, more than the {MAX_JSON_BYTES} allowed")
    with open(watched(path), "rb") as f:
        found = loads(f.read(MAX_JSON_BYTES + 1), path)
    return loads(found, path) if isinstance(found, str) else found  # json.dump(model.to_json(), file)


def _load_yaml(path: str) -> Any:
    source = ByteSource.of_file(path)
    if source.size > MAX_YAML_BYTES:
        raise BadFileError(f"{path}: {source.size} bytes of YAML, more than the {MAX_YAML_BYTES} allowed")
    with open(watched(path), "rb") as f:
        return loads_yaml(f.read(MAX_YAML_BYTES + 1), path)


def _v3(config: Any, meta: Any) -> _Architecture:
    version = meta.get("keras_version") if isinstance(meta, dict) else None
    training = config.get("compile_config") if isinstance(config, dict) else None
    return _Architecture(
        config, version if isinstance(version, str) else "", None, training if isinstance(training, dict) else None
    )


def _legacy_h5(path: str, h5: H5File) -> _Architecture:
    text = h5.attr(h5.root, "model_config")
    if isinstance(text, list) and len(text) == 1:
        text = text[0]
    if not isinstance(text, str):
        raise BadFileError(f"{path}: attribute model_config is not text")
    training = h5.attr(h5.root, "training_config")
    parsed = loads(training, f"{path} (training_config)") if isinstance(training, str) and training.strip() else None
    version, backend = h5.attr(h5.root, "keras_version"), h5.attr(h5.root, "backend")
    return _Architecture(
        loads(text, f"{path} (model_config)"),
        version if isinstance(version, str) else "",
        backend if isinstance(backend, str) else None,
        parsed if isinstance(parsed, dict) else None,
    )


def _version(text: str) -> tuple[int, ...]:
    found = re.match(r"(\d{1,6})\.(\d{1,6})", text)
    return (int(found[1]), int(found[2])) if found else ()


def _era(version: str, config: Any) -> str:
    """From the version the file states, else from how the configuration is written."""
    number = _version(version)
    if number:
        if number >= (3,):
            return "keras3"
        if number < (2,):
            return "keras1"
        return "tf.keras" if version.endswith("-tf") or number >= (2, 4) else "keras2"
    if isinstance(config, dict) and ("registered_name" in config or "module" in config):
        module = str(config.get("module"))
        return "tf.keras" if module.startswith("keras.src.engine") else "keras3"
    stack = [config]
    words: set[str] = set()
    while stack:
        x = stack.pop()
        if isinstance(x, dict):
            words |= x.keys()
            stack.extend(x.values())
        elif isinstance(x, list):
            stack.extend(x)
    if words & {"nb_filter", "border_mode", "inner_activation", "W_regularizer"}:
        return "keras1"
    return "keras3" if "batch_shape" in words and "batch_input_shape" not in words else "keras2"


# ---- weights
class _Weights:
    """Where the weights are; ``open`` must come before ``assign``."""

    def __init__(self, path: str, kind: FileKind) -> None:
        self.path, self.kind, self.about = path, kind, ""

    def open(self, stack: ExitStack) -> tuple[str, str | None] | None:
        """For legacy HDF5: (version, backend) that wrote the weights, version "" when not stated; None for Keras 3
        layouts."""
        kind = self.kind.kind
        if kind in ("hdf5-model", "hdf5-weights"):
            self.h5 = stack.enter_context(H5File(ByteSource.of_file(self.path)))
            self.prefix = "model_weights" if kind == "hdf5-model" else ""
            self.root = self.h5.group(self.h5.root, "model_weights") if self.prefix else self.h5.root
            if self.root is None:
                raise BadFileError(f"{self.path}: has no group model_weights")
            self._tell(self.h5)
            says = [
                self.h5.attr(g, k) or self.h5.attr(self.h5.root, k) for k in ("keras_version", "backend") for g in [self.root]
            ]
            version, backend = (x if isinstance(x, str) else None for x in says)
            return version or "", backend
        if kind == "json-shards":
            self.store: weights_v3.Store = Shards(self.path, _load_file(self.path), stack)
            return None
        source = ByteSource.of_file(self.path if kind != "keras-folder" else os.path.join(self.path, "model.weights.h5"))
        if kind == "keras-zip":
            archive = Archive(self.path)
            if "model.weights.h5" not in archive:
                problem = Problem(
                    self.path, "weights", "stores its weights as npz or shards inside the archive, which are not read"
                )
                raise UnsupportedError(problem, "cannot be read")
            source = archive.source("model.weights.h5")
        h5 = stack.enter_context(H5File(source))
        self._tell(h5)
        self.store = weights_v3.SingleFile(h5)
        return None

    def _tell(self, h5: H5File) -> None:
        said = h5.attr(h5.root, "convcore")
        self.about = said if isinstance(said, str) else ""

    def assign(self, root: ModelConfig, *, keras1: bool, theano: bool, one_file: bool, notes: list[str]) -> None:
        if self.kind.kind in ("hdf5-model", "hdf5-weights"):
            weights_legacy.assign(
                root, self.h5, self.root, self.prefix, keras1=keras1, theano=theano, one_file=one_file, notes=notes
            )  # fmt: skip
        else:
            weights_v3.assign(root, self.store, notes, one_file=one_file)

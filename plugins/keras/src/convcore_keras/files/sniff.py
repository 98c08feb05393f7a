"""Which kind of Keras file is it: by content, cheaply; the suffix is never trusted.

Readers are imported for a file that starts as theirs do: every file of another framework is looked at here, too.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass

from convcore.plugin import BadFileError, read_head, watched

__all__ = ["FileKind", "sniff"]


@dataclass(frozen=True)
class FileKind:
    """``kind``: ``keras-zip``, ``keras-folder``, ``hdf5-model``, ``hdf5-weights`` (legacy), ``weights-v3``,
    ``json-model``, ``json-shards``, ``yaml-model`` or ``saved-model`` (TensorFlow's folder). ``has_architecture`` and
    ``has_weights`` say what is in it."""

    kind: str
    has_architecture: bool
    has_weights: bool


_KINDS = {
    k.kind: k
    for k in (
        FileKind("keras-zip", True, True),
        FileKind("keras-folder", True, True),
        FileKind("hdf5-model", True, True),
        FileKind("hdf5-weights", False, True),
        FileKind("weights-v3", False, True),
        FileKind("json-model", True, False),
        FileKind("json-shards", False, True),
        FileKind("yaml-model", True, False),
        FileKind("saved-model", True, True),
    )
}


def sniff(path: str | os.PathLike[str]) -> FileKind | None:
    """The kind of a Keras file, or None for anything else (missing, empty and unreadable files included)."""
    path = os.fspath(path)
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            found = os.path.isfile(os.path.join(path, "config.json")) and os.path.isfile(os.path.join(path, "model.weights.h5"))
            if not found and os.path.isfile(os.path.join(path, "saved_model.pb")):
                return _KINDS["saved-model"]
            return _KINDS["keras-folder"] if found else None
        head = read_head(watched(path)) if stat.S_ISREG(mode) else None
    except OSError:
        return None
    kind = None if head is None else _of_head(path, head.data)
    return None if kind is None else _KINDS[kind]


def _of_head(path: str, head: bytes) -> str | None:
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return _hdf5(path)
    if head.startswith(b"PK\x03\x04"):
        return _zip(path)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b'"'):  # json.dump(model.to_json(), file): a string that holds the JSON
        head = text[1:].replace(b'\\"', b'"').replace(b"\\n", b"\n")
        text = head.lstrip()
    if text.startswith(b"{"):
        if b'"weight_map"' in head:
            return "json-shards"
        return "json-model" if re.search(rb'"class_name"\s*:', head) and b'"config"' in head else None
    if re.search(rb"^class_name:", head, re.MULTILINE) and re.search(rb"^config:", head, re.MULTILINE):
        return "yaml-model"
    return None


def _hdf5(path: str) -> str | None:
    from .hdf5 import H5File
    from .source import ByteSource

    try:
        with H5File(ByteSource.of_file(path)) as f:
            names = f.attr_names(f.root)
            if "model_config" in names:
                return "hdf5-model"
            if "layer_names" in names or "layer_names0" in names:
                return "hdf5-weights"
            found = any(f.group(f.root, n) is not None for n in ("layers", "_layer_checkpoint_dependencies"))
            return "weights-v3" if found else None
    except BadFileError:
        return None


def _zip(path: str) -> str | None:
    import zipfile

    from .archive import Archive

    try:
        names = Archive(path).names if zipfile.is_zipfile(path) else ()
    except BadFileError:
        return None
    weights = {"model.weights.h5", "model.weights.npz", "model.weights.json"}
    return "keras-zip" if "config.json" in names and weights.intersection(names) else None

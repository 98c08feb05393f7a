"""Laid-out graphs as Keras 3 models: ``.keras``, ``.h5``, or ``.json`` or ``.py`` with ``.weights.h5`` beside it; ``config.json``
is the folder that Keras saves for the hub, an unpacked ``.keras``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from convcore.plugin import EmitRequest, Emitted, FrameworkMissingError, UsageError, ask_option, nest, plan, prune, tidy

from .dialect import KerasDialect
from .emit_depth import check_depth
from .emit_model import model_of
from .emit_tidy import peepholes
from .files.model import KerasModel
from .files.write import metadata_json, write_h5, write_json, write_keras, write_weights
from .files.write_code import write_code
from .keep import Kept
from .runtime import keras3, load_written, run_written

__all__ = ["dialect", "emit"]


def dialect(request: EmitRequest) -> KerasDialect:
    """Keras as the options ask for it."""
    return KerasDialect(not request.options.get("flat"), bool(request.options.get("keep_custom")))


def emit(request: EmitRequest) -> Emitted:
    """Write ``request.out`` by its suffix, or only make the model when it is None. Keras itself is not imported.

    UnsupportedError lists everything that Keras lacks; UsageError for another suffix.
    """
    rules = request.rules
    if rules is None:
        from .rules import RULES

        rules = RULES
    keras = dialect(request)
    write = _writer(request.out) if request.out is not None else None
    made = plan(request.graph, rules, None, keras, request.overrides)
    prune(made)
    tidy(made, peepholes(made, request.graph.metadata.get("framework") == "keras"))
    prune(made)
    nest(made)
    check_depth(made.root)
    model, notes = model_of(made, request.graph)
    kept = keras.kept
    if kept.layers:
        _keepable(request.out, kept)
    notes = [*made.remarks(), *notes, *kept.notes()]
    paths: tuple[str, ...] = ()
    if request.out is not None and write is not None:
        paths = write(model, Path(request.out))
        if len(paths) > 1:
            notes.append(f"weights are in {Path(paths[1]).name}: load_weights reads them into the model that "
                         f"{Path(paths[0]).name} describes")  # fmt: skip
    outputs = tuple(v.name for v in request.graph.outputs)
    weights = paths[1] if len(paths) > 1 else None
    if kept.layers:  # whose classes Keras would import; convcore reads them from their source
        return Emitted(paths, None, tuple(notes), outputs, weights=weights, reading=kept.reading())
    run = (lambda: run_written(paths[0], weights)) if paths else None
    return Emitted(paths, lambda: live(model), tuple(notes), outputs, weights=weights, runtime=run)


def _keepable(out: Any, kept: Kept) -> None:
    """Raises UsageError for a form that does not hold custom layers."""
    if out is None or Path(out).suffix == ".py":
        raise UsageError(
            f"{ask_option('keep_custom', True)}: name a .keras, .h5 or .json file; a live model, or code, would need the classes"
        )
    rest = [k for k, layer in kept.layers.items() if not layer.ordered]
    if rest and Path(out).suffix in (".h5", ".hdf5"):
        raise UsageError(
            f"{ask_option('keep_custom', True)}: the order of the weights of {rest[0]} in HDF5 is not known; write a .keras file"
        )


def _writer(out: Path) -> Callable[[KerasModel, Path], tuple[str, ...]]:
    name = Path(out).name.lower()
    if name.endswith(".weights.h5"):
        raise UsageError(f"{Path(out).name}: name the architecture (.json), the weights are written beside it")
    if name == "config.json":
        return _folder
    for suffix, write in ((".keras", _keras), (".h5", _h5), (".hdf5", _h5), (".json", _json), (".py", _py)):
        if name.endswith(suffix):
            return write
    raise UsageError(f"{Path(out).name}: Keras files end in .keras, .h5, .hdf5, .json or .py")


def _keras(model: KerasModel, out: Path) -> tuple[str, ...]:
    write_keras(model, out)
    return (str(out),)


def _h5(model: KerasModel, out: Path) -> tuple[str, ...]:
    write_h5(model, out)
    return (str(out),)


def _folder(model: KerasModel, out: Path) -> tuple[str, ...]:
    weights, metadata = out.with_name("model.weights.h5"), out.with_name("metadata.json")
    write_json(model, out)
    write_weights(model, weights)
    metadata.write_text(metadata_json(), encoding="utf-8")
    return (str(out), str(weights), str(metadata))


def _json(model: KerasModel, out: Path) -> tuple[str, ...]:
    weights = out.with_name(f"{out.name[: -len('.json')]}.weights.h5")
    write_json(model, out)
    write_weights(model, weights)
    return (str(out), str(weights))


def _py(model: KerasModel, out: Path) -> tuple[str, ...]:
    weights = out.with_name(f"{out.name[: -len('.py')]}.weights.h5")
    constants = write_code(model, out, weights.name)
    write_weights(model, weights)
    return (str(out), str(weights), *([str(constants)] if constants else []))


def live(model: KerasModel) -> Any:
    """The model as a ``keras.Model``: written to a temporary file and loaded. FrameworkMissingError without Keras 3."""
    keras = keras3()
    if keras is None:
        raise FrameworkMissingError("a live Keras model needs Keras 3 and a backend: pip install keras torch")
    with tempfile.TemporaryDirectory(prefix="convcore-keras-") as folder:
        path = Path(folder) / "model.keras"
        write_keras(model, path)
        return load_written(keras, str(path))

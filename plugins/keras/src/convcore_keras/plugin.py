"""The hooks of the Keras plugin. Imports nothing but convcore: files, rules and loaders are imported when they are used."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from convcore.plugin import EmitRequest, Emitted, Framework, HubFolder, Identified, LoadRequest, Option, Runtime, hookimpl

if TYPE_CHECKING:
    from convcore.plugin import Graph

__all__ = [
    "CONVCORE_API", "LIVE", "convcore_emit", "convcore_frameworks", "convcore_identify", "convcore_load", "convcore_options",
    "convcore_runtime",
]  # fmt: skip

CONVCORE_API = (2, 0)

LIVE = (
    "keras.src.models.model.Model",
    "keras.src.models.functional.Functional",
    "keras.src.models.sequential.Sequential",
    "keras.src.engine.training.Model",
    "keras.engine.training.Model",
    "tf_keras.src.engine.training.Model",
    "tensorflow.python.keras.engine.training.Model",
)
"""Class paths of live models, by name along the MRO: Keras 3, Keras 2, tf.keras, tf-keras."""

_WHY = {
    "keras-zip": (95, "a .keras archive"),
    "keras-folder": (90, "an unzipped .keras folder"),
    "hdf5-model": (95, "an HDF5 file with a Keras model_config"),
    "hdf5-weights": (80, "an HDF5 file with Keras weights"),
    "weights-v3": (80, "a Keras .weights.h5 file"),
    "json-model": (90, "a Keras architecture in JSON"),
    "json-shards": (80, "sharded Keras weights"),
    "yaml-model": (60, "a Keras architecture in YAML"),
    "saved-model": (40, "a TensorFlow SavedModel, which Keras may have written"),
}
_SUFFIXES = (".keras", ".h5", ".hdf5")


@hookimpl
def convcore_frameworks() -> list[Framework]:
    """Keras, read from files of every era or a live model, written as Keras 3."""
    return [
        Framework(
            "keras",
            title="Keras",
            distribution="convcore-keras",
            suffixes=(".keras", ".h5", ".hdf5", ".json", ".weights.h5"),
            pairs=((".json", ".weights.h5"),),
            rules="convcore_keras.rules:RULES",
            convention="convcore_keras.layout:convention",
            dialect="convcore_keras.emit:dialect",
            live=LIVE,
            catalogue="convcore_keras.code.source.catalogue:catalogue",
            runs_when_asked=True,
            hub=HubFolder("config.json", "keras", 'import keras\n\nmodel = keras.saving.load_model(".")', config=False),
        )
    ]


@hookimpl
def convcore_load(framework: str, request: LoadRequest) -> Graph:
    """Read a source."""
    from .load import load

    return load(request)


@hookimpl
def convcore_emit(framework: str, request: EmitRequest) -> Emitted:
    """Write ``.keras``, ``.h5`` or ``.json``."""
    from .emit import emit

    return emit(request)


@hookimpl
def convcore_runtime(framework: str, source: Any, weights: Any) -> Runtime | None:
    """Run a model in Keras itself."""
    from .runtime import open_runtime

    return open_runtime(source, weights)


@hookimpl
def convcore_identify(source: Any) -> Identified | None:
    """By content; a file with a Keras suffix that is not readable is claimed weakly, so that its own error is shown."""
    if isinstance(source, (list, tuple)) and source:
        claims = [c for c in map(_identify, source) if c is not None]
        return max(claims, key=lambda c: c.score) if claims else None
    return _identify(source)


def _identify(source: Any) -> Identified | None:
    if isinstance(source, (str, os.PathLike)):
        from .files.sniff import sniff

        path = os.fspath(source)
        kind = sniff(path)
        if kind is not None:
            score, why = _WHY[kind.kind]
            return Identified("keras", score, why)
        if path.lower().endswith(_SUFFIXES):
            return Identified("keras", 20, "its suffix")
        return None
    if is_live(source):
        return Identified("keras", 95, "a live Keras model")
    return None


def is_live(source: Any) -> bool:
    """Whether it is a Keras model object; decided by class paths, Keras is not imported."""
    return any(f"{c.__module__}.{c.__qualname__}" in LIVE for c in type(source).__mro__)


@hookimpl
def convcore_options(framework: str) -> list[Option]:
    """Options of the loader and the emitter."""
    if framework != "keras":
        return []
    return [
        Option(
            "flat",
            "keras",
            "emit",
            bool,
            None,
            "write one flat model; by default what is nested in the source is a model of its own",
        ),
        Option(
            "keep_custom",
            "keras",
            "emit",
            bool,
            None,
            "write the custom layers of a Keras 3 source, read with --custom, under their own classes; the file then needs "
            "custom_objects",
        ),
        Option(
            "data_format",
            "keras",
            "emit",
            str,
            None,
            "where images have their channels; layers that have channels first need a backend that computes so (TensorFlow on a "
            "CPU does not)",
            ("channels_last", "channels_first"),
        ),
        Option(
            "kernels",
            "keras",
            "load",
            str,
            None,
            "backend that computed a Keras 1 model, whose files do not say: theano (kernels are flipped) or tensorflow",
            ("tensorflow", "theano"),
        ),
        Option(
            "explicit_states",
            "keras",
            "load",
            bool,
            None,
            "let the states of stateful recurrent layers be inputs and outputs of the model (NAME_state_0, NAME_state_0_out)",
        ),
        Option(
            "custom",
            "keras",
            "load",
            list,
            None,
            "Python file or folder with the source of custom layers, which is read and never run; may be repeated",
        ),
        Option(
            "run_custom_code",
            "keras",
            "load",
            list,
            None,
            "like --custom, but the source is RUN, by Keras in a child process with limits, on symbolic tensors: for layers that "
            "reading does not understand; may be repeated",
        ),
        Option(
            "custom_objects",
            "keras",
            "load",
            object,
            None,
            "classes and functions by the file's names for them, as load_model takes them: their source is read, they are not "
            "called; or functions (g, node) as in overrides",
        ),
        Option(
            "lambdas",
            "keras",
            "load",
            list,
            None,
            "what a layer computes, as NAME=EXPRESSION of x (x0, x1, ... of several inputs): 'scale=x / 127.5 - 1'; "
            "may be repeated",
            aliases=("lambda",),
        ),
    ]

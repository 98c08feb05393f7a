"""Shapes of a model's inputs."""

from __future__ import annotations

from convcore.plugin import Dim, DimLike, InputShapes, Shape, UsageError, ask

from .files.model import LayerConfig

__all__ = ["input_shape"]

BATCH = "batch"


def input_shape(layer: LayerConfig, given: InputShapes, *, only: bool) -> Shape:
    """The shape of a model input. Unknown sizes become names: ``batch`` for the first axis, ``<input>_dim<i>`` for others.

    ``given`` replaces sizes; it is needed when the file states no shape. ``only`` says that the model has no other input.
    """
    stated = layer.config.get("batch_shape")
    shape = given.take(layer.name, None if stated is None else tuple(stated), only=only)
    if shape is None:
        raise UsageError(
            "the model was saved without an input shape: give it, e.g. "
            + ask(f"--input-shape {layer.name}:batch,28,28,1", f"input_shapes={{{layer.name!r}: ('batch', 28, 28, 1)}}")
        )
    return tuple(_size(layer.name, i, n) for i, n in enumerate(shape))


def _size(name: str, axis: int, n: DimLike | None) -> DimLike:
    if n is not None:
        return n
    return Dim(BATCH) if axis == 0 else Dim(f"{name}_dim{axis}")

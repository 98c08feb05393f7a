"""Shapes of a model's inputs."""

from __future__ import annotations

from typing import Any

from convcore.plugin import Dim, Shape, UsageError, parse_dim, shape_text

from .files import LayerConfig

__all__ = ["input_shape"]

BATCH = "batch"


def input_shape(layer: LayerConfig, given: tuple[Any, ...] | None) -> Shape:
    """The shape of a model input. Unknown sizes become names: ``batch`` for the first axis, ``<input>_dim<i>`` for others.

    ``given`` (integers, Dims, text, None for "as in the file") replaces sizes; it is needed when the file states no shape.
    """
    stated = layer.config.get("batch_shape")
    if stated is None and given is None:
        raise UsageError(
            f"the model was saved without an input shape: give it, e.g. --input-shape {layer.name}:batch,28,28,1 "
            f"(input_shapes={{{layer.name!r}: ('batch', 28, 28, 1)}})"
        )
    if given is None:
        return tuple(_size(layer.name, i, n) for i, n in enumerate(stated))
    if stated is not None and len(stated) != len(given):
        raise UsageError(
            f"input {layer.name!r} has {len(stated)} axes {shape_text(stated)}, the shape given has {len(given)}: "
            f"{shape_text(given)}"
        )
    base: Any = stated if stated is not None else (None,) * len(given)
    return tuple(
        _size(layer.name, i, old) if new is None else parse_dim(new) if isinstance(new, str) else new
        for i, (old, new) in enumerate(zip(base, given, strict=True))
    )


def _size(name: str, axis: int, n: int | None) -> int | Dim:
    if n is not None:
        return n
    return Dim(BATCH) if axis == 0 else Dim(f"{name}_dim{axis}")

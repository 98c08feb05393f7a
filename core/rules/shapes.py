"""What rules must know of an input's shape."""

from __future__ import annotations

from typing import Any, Literal, overload

from ..errors import ask
from ..ir.dims import DimLike
from ..ir.graph import Value
from .isomorphisms import NotExpressible

__all__ = ["known_shape"]

_CODE = "unknown_shape"


@overload
def known_shape(v: Value | None, *, sizes: Literal[True]) -> tuple[DimLike, ...]: ...
@overload
def known_shape(v: Value | None, *, sizes: bool = False) -> tuple[Any, ...]: ...
def known_shape(v: Value | None, *, sizes: bool = False) -> tuple[Any, ...]:
    """The shape of a value whose number of axes must be known, with ``sizes`` every size too (a named one is known).

    Else NotExpressible: another rule may need less. Sizes are int, Dim, or None where only the number of axes is known.
    """
    if v is None:
        raise NotExpressible("an input is missing", "missing_input")
    if v.shape is None:
        raise NotExpressible(
            f"the number of axes of {v.name!r} is not known", _CODE, f"give {ask('--input-shape', 'input_shapes=')}"
        )
    if sizes and None in v.shape:
        raise NotExpressible(
            f"the size of axis {v.shape.index(None)} of {v.name!r} is not known",
            _CODE,
            f"give {ask('--input-shape', 'input_shapes=')}",
        )
    return v.shape

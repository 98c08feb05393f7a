"""Places in tensors as numbers: positions along axes, sizes, linear indices. Constants stay numpy arrays until a tensor joins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from convcore.plugin import DType, NotExpressible, Ref, State, broadcast_shapes

from .base import Writer

__all__ = ["Places", "rows_of"]

_COMPUTED: dict[str, Callable[..., Any]] = {
    "Add": np.add, "Subtract": np.subtract, "Multiply": np.multiply, "Maximum": np.maximum, "Minimum": np.minimum,
    "Floor": np.floor, "Less": np.less, "LessEqual": np.less_equal, "GreaterEqual": np.greater_equal,
    "LogicalAnd": np.logical_and, "Where": np.where,
}  # fmt: skip
_BOOLEAN = frozenset(["Less", "LessEqual", "GreaterEqual", "LogicalAnd"])


class Places:
    """Arithmetic of one node being written, in one element type: numbers, numpy arrays and tensors mixed."""

    def __init__(self, w: Writer, dtype: DType = DType.INT32) -> None:
        self.w, self.dtype = w, dtype

    def do(self, op: str, *args: Any) -> Any:
        """An elementwise operation; computed at once where nothing in it is a tensor."""
        held = [a.tensor.numpy() if isinstance(a, State) else a for a in args]
        if not any(isinstance(a, Ref) for a in held):
            return _COMPUTED[op](*held)
        shape = broadcast_shapes(*(a.shape if isinstance(a, Ref) else np.shape(a) for a in held))
        if shape is None:
            raise NotExpressible("sizes that are not known before it runs", "unknown_shape")
        ready = [a if isinstance(a, Ref) or not np.ndim(a) else self.w.s.const(a) for a in held]
        ready = [a.item() if isinstance(a, (np.ndarray, np.generic)) else a for a in ready]
        dtype = DType.BOOL if op in _BOOLEAN else self.dtype
        return self.w.op(op, *ready, shape=shape, dtype=dtype)

    def index(self, i: int) -> Any:
        """An integer input of the node, int32."""
        x = self.w.x(i)
        return x.tensor.numpy().astype(np.int32) if isinstance(x, State) else self.w.cast(x, DType.INT32)

    def axis(self, x: Ref, axis: int) -> tuple[Any, Any]:
        """Positions along an axis of a tensor, of size 1 along the others, and the size: a number or a scalar tensor."""
        shape = tuple(x.shape or ())
        n, rank = shape[axis], len(shape)
        if isinstance(n, int):
            return np.arange(n, dtype=np.int32).reshape([n if i == axis else 1 for i in range(rank)]), n
        w, s = self.w, self.w.s

        def make() -> tuple[Any, Any]:
            key = tuple(slice(None) if i == axis else 0 for i in range(rank))
            line = w.op("GetItem", x, key, shape=(n,)) if rank > 1 else x
            (one,) = s.call("ops.OnesLike", [line], {"dtype": "int32"}, shapes=[(n,)], name=w.name, carry=True)
            steps = w.op("Subtract", w.op("Cumsum", one, axis=0), 1)
            at = w.op("Reshape", steps, shape=tuple(n if i == axis else 1 for i in range(rank)),
                      newshape=tuple(-1 if i == axis else 1 for i in range(rank)))  # fmt: skip
            return at, w.op("Sum", one, shape=(), axis=None, keepdims=False)

        found: tuple[Any, Any] = s.memo(("places", id(x), axis), make)
        return found

    def size(self, x: Ref, axis: int) -> Any:
        """The size of an axis."""
        return self.axis(x, axis)[1]

    def from_start(self, i: Any, n: Any) -> Any:
        """Indices that may count from the end, as those from the start."""
        return self.do("Where", self.do("Less", i, 0), self.do("Add", i, n), i)

    def line(self, parts: Sequence[tuple[Any, Any]]) -> Any:
        """The row-major position of a place, from (index, size) per axis."""
        total: Any = None
        for at, n in parts:
            total = at if total is None else self.do("Add", self.do("Multiply", total, n), at)
        return total

    def arg(self, x: Any) -> Any:
        """What a call takes: tensors as they are, arrays as constants."""
        return x if isinstance(x, Ref) else self.w.s.const(np.asarray(x, np.int32))


def rows_of(w: Writer, x: Any, lead: int) -> Any:
    """The first ``lead`` axes of a tensor or constant as one."""
    shape = tuple(x.shape)
    tail = shape[lead:]
    first = int(np.prod(shape[:lead])) if all(isinstance(d, int) for d in shape[:lead]) else None
    unknown = [i for i, d in enumerate((first, *tail)) if not isinstance(d, int)]
    if lead == 1:
        return x
    if isinstance(x, State):
        return w.s.const(x.tensor.numpy().reshape((first, *tail)))
    if len(unknown) > 1:
        raise NotExpressible("sizes that are not known before it runs", "unknown_shape")
    return w.op(
        "Reshape", x, shape=(first, *tail), newshape=tuple(-1 if i in unknown else d for i, d in enumerate((first, *tail)))
    )

"""What a shape rule sees of a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..errors import ShapeError
from ..ir.dims import Dim, DimLike, Shape
from ..ir.dtypes import DType
from ..ir.graph import Value

if TYPE_CHECKING:
    from .declare import Op

__all__ = ["InferContext", "Inferred"]

Array = NDArray[Any]
Inferred = Sequence[tuple[DType | None, Shape | None]]


class InferContext:
    """What a shape rule sees: ``c.shape("x")``, ``c.dtype("x")``, ``c["axis"]``, ``c.fail("why")``."""

    __slots__ = ("attrs", "inputs", "op")

    def __init__(self, op: Op, inputs: Sequence[Value | None], attrs: Mapping[str, Any]) -> None:
        self.op, self.inputs, self.attrs = op, tuple(inputs), attrs

    def __getitem__(self, attr: str) -> Any:
        return self.attrs[attr]

    def value(self, name: str) -> Value | None:
        i = self.op.position(name)
        return self.inputs[i] if i < len(self.inputs) else None

    def has(self, name: str) -> bool:
        return self.value(name) is not None

    def all(self, name: str) -> list[Value]:
        """Every value of a variadic input."""
        return [v for v in self.inputs[self.op.position(name) :] if v is not None]

    def shape(self, name: str) -> Shape | None:
        v = self.value(name)
        return None if v is None else v.shape

    def dtype(self, name: str) -> DType | None:
        v = self.value(name)
        return None if v is None else v.dtype

    def const(self, name: str) -> Array | None:
        """The values of a constant input, else None."""
        v = self.value(name)
        return None if v is None or v.tensor is None else v.tensor.numpy()

    def rank(self, name: str, *allowed: int) -> int | None:
        """The rank of an input; fails unless it is one of ``allowed`` (when given). None if unknown."""
        s = self.shape(name)
        if s is None:
            return None
        if allowed and len(s) not in allowed:
            self.fail(f"{name} has {len(s)} axes, must have {' or '.join(map(str, allowed))}")
        return len(s)

    def same(self, a: DimLike | None, b: DimLike | None, what: str) -> DimLike | None:
        """The common size; fails when both are integers and differ."""
        if a is None or (isinstance(a, Dim) and isinstance(b, int)):
            return b if b is not None else a
        if isinstance(a, int) and isinstance(b, int) and a != b:
            self.fail(f"{what}: {a} != {b}")
        return a

    def not_half(self, *names: str) -> None:
        """Fails where an input is of half precision: of those the result would be rounded as if it had their dtype."""
        for name in names:
            if (d := self.dtype(name)) in (DType.FLOAT16, DType.BFLOAT16):
                self.fail(f"{name} is {d}, which decides nothing about the result: cast it to float32")

    def fail(self, why: str) -> None:
        shapes = ", ".join("-" if v is None else repr(v) for v in self.inputs)
        raise ShapeError(f"{self.op.name}({shapes}): {why}")

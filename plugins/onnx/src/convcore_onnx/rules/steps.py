"""What emit functions of several families share: adding a step, the last step, and constants of an input's dtype."""

from __future__ import annotations

from typing import Any

from convcore.plugin import DType, Node, NotExpressible, Value

from ..dialect import OnnxScribe

__all__ = ["Steps", "dtype_known"]


class Steps:
    """``s = Steps(e, node)``; ``s.Mul(a, b)`` adds a node and returns its result, ``s.last("Add", a, b)`` the node's outputs.

    Operands are handles, or IR values.
    """

    def __init__(self, e: OnnxScribe, node: Node) -> None:
        self.e, self.node = e, node

    def handle(self, x: Any) -> Any:
        return self.e.value(x) if isinstance(x, Value) else x

    def add(self, type: str, *inputs: Any, **attrs: Any) -> Any:
        return self.e.call(type, [self.handle(x) for x in inputs], attrs)[0]

    def last(self, type: str, *inputs: Any, **attrs: Any) -> None:
        ins = [self.handle(x) for x in inputs]
        self.e.call(type, ins, attrs, outputs=self.node.outputs, name=self.node.name)

    def const(self, value: Any, dtype: DType) -> Any:
        return self.e.const(value, dtype)

    def ints(self, *values: int) -> Any:
        """A vector of int64."""
        return self.e.const(list(values), DType.INT64)

    def __getattr__(self, name: str) -> Any:
        if not name[:1].isupper():
            raise AttributeError(name)
        return lambda *inputs, **attrs: self.add(name, *inputs, **attrs)


def dtype_known(v: Value | None) -> DType:
    """The dtype of a value; NotExpressible when it is not known."""
    if v is None:
        raise NotExpressible("an input is missing")
    if v.dtype is None:
        raise NotExpressible(f"the dtype of {v.name!r} is not known", "unknown_dtype")
    return v.dtype

"""The rule set, the steps that ready the operands of ATen's operators, and conversions several families share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from convcore.plugin import Call, DType, NotExpressible, RuleSet, Value, isomorphism

from ..context import AtenNode, TorchContext, promoted

__all__ = ["COMPLEX", "FLOAT", "NUMBER", "RULES", "alike", "aten", "fractions", "one_if_equal", "truth", "unbatched"]

RULES: RuleSet[TorchContext, AtenNode] = RuleSet("pytorch", "convcore-pytorch", "convcore_pytorch.emit_rules")

FLOAT: dict[str, Any] = {"x": "float"}
NUMBER: dict[str, Any] = {"x": ("float", "int")}
COMPLEX: dict[str, Any] = {"x": ("float", "int", "complex64", "complex128")}


def aten(names: str, signature: str, before: str = "") -> list[Call]:
    """ATen's operators of one signature, which are read and never written."""
    return [Call(f"aten.{n}", signature, tuple(before.split()), "load") for n in names.split()]


# ---- what torch does to operands first
def _step(name: str, ready: Callable[[TorchContext, AtenNode, list[Any]], Sequence[Value]]) -> None:
    """A step on all operands together; one that takes a list has its tensors among them."""

    @RULES.before(name)
    def step(g: TorchContext, n: AtenNode, operands: Sequence[str]) -> AtenNode:
        values = [n.arguments[k] for k in operands]
        flat = [x for v in values for x in (v if isinstance(v, (list, tuple)) else [v])]
        made = iter(ready(g, n, flat))
        for k, v in zip(operands, values):
            n = n.replaced(k, [next(made) for _ in v] if isinstance(v, (list, tuple)) else next(made))
        return n


def alike(g: TorchContext, n: AtenNode, values: list[Any]) -> list[Value]:
    """Operands in the type torch computes in."""
    return g.operands(promoted(values) if n.dtype is None else n.dtype, *values)


def fractions(g: TorchContext, n: AtenNode, values: list[Any]) -> list[Value]:
    """The same, of floating point."""
    dtype = promoted(values) if n.dtype is None else n.dtype
    whole = dtype is not None and (dtype.is_int or dtype is DType.BOOL)
    return g.operands(DType.FLOAT32 if whole else dtype, *values)


def _ordered(g: TorchContext, n: AtenNode, values: list[Any]) -> list[Value]:
    made = g.operands(promoted(values), *values)
    return [g.cast(v, DType.INT32) if v.dtype is DType.BOOL else v for v in made]


def truth(g: TorchContext, v: Value) -> Value:
    """Whether elements are not zero."""
    return v if v.dtype is DType.BOOL else g.b.not_equal(v, g.b.like(v, 0))


_step("float", lambda g, n, vs: [g.float(v, n.dtype) for v in vs])  # an integer in the type of the result
_step("alike", alike)  # in the type of the result, else the promoted one
_step("fractions", fractions)  # the same, of floating point
_step("compared", lambda g, n, vs: g.operands(promoted(vs), *vs))  # in the promoted type: the result is bool
_step("ordered", _ordered)  # truth values as numbers besides
_step("conjugate", lambda g, n, vs: [g.conjugate(vs[0]), *vs[1:]])  # of the first operand
_step("truth", lambda g, n, vs: [truth(g, v) for v in vs])


def unbatched(g: TorchContext, x: Value, n: int) -> tuple[Value, bool]:
    """With a batch axis where there is none, and whether there was none."""
    if x.rank is None:
        raise NotExpressible("the number of axes is not known", "unknown_shape")
    return (g.b.unsqueeze(x, axes=(0,)), True) if x.rank == n + 1 else (x, False)


def one_if_equal(values: Any) -> Any:
    """A number where all are equal, else a tuple: ``kernel_size=3`` and ``kernel_size=(3, 5)``."""
    items = tuple(values)
    return items[0] if items and all(isinstance(i, int) and i == items[0] for i in items) else items


def _symmetric(pads: Any) -> Any:
    if isinstance(pads, str) or any(a != b for a, b in pads):
        raise NotExpressible(f"padding {pads} is not the same on both sides")
    if any(not isinstance(a, int) or a < 0 for a, _ in pads):
        raise NotExpressible(f"padding {pads} is not made of numbers from 0")
    return one_if_equal(a for a, _ in pads)


def _written(value: Any, n: int) -> Any:
    if n == 1 and value is not None and None in tuple(value):
        raise NotExpressible("an axis that keeps its size")
    return one_if_equal(value)


def _listed(value: Any, n: int) -> tuple[Any, ...]:
    """``n`` numbers: a list as it is, one number for all."""
    return (value,) * n if value is None or isinstance(value, int) else tuple(value)


isomorphism(
    "torch_ints",
    _listed,
    _written,
    "n integers, or one for all; written as one where all are equal",
)
isomorphism(
    "torch_pads",
    lambda v, n: tuple((int(p), int(p)) for p in _listed(v, n)),
    lambda v, n: _symmetric(v),
    "[p1, p2] as ((p1, p1), (p2, p2)), one for all n; written as one number where all are equal",
)

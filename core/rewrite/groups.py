"""What stands around a normalisation: channels in groups by reshapes, and a scale and bias behind it."""

from __future__ import annotations

from typing import Any

from ..ir.graph import Node, Value
from ..opset import Role, op
from .numbers import filled, shortest, varies
from .region import Rewriter

__all__ = ["absorb", "grouped", "in_groups", "over"]


def over(r: Rewriter, w: Value, rank: int, axes: tuple[int, ...]) -> Value:
    """A constant with the axes of x as one with ``axes`` only."""
    assert w.tensor is not None
    shape = (*(1,) * (rank - len(w.tensor.shape)), *w.tensor.shape)[-rank:]
    return r.shaped(w, tuple(int(shape[a]) for a in axes))


def in_groups(
    r: Rewriter, value: Value, x: Value, scale: Value | None, bias: Value | None, axes: tuple[int, ...], epsilon: float
) -> bool:  # fmt: skip
    """A normalisation over ``axes`` of x, which is something reshaped to groups, with parameters (groups, the rest); and back."""
    before = x.producer
    if before is None or before.op != "reshape" or len(value.uses) != 1 or value in r.outputs:
        return False
    after, origin = value.users[0], before.inputs[0]
    if after.op != "reshape" or origin is None or origin.shape is None or after.output.shape != origin.shape or x.shape is None:
        return False
    found = _groups(tuple(origin.shape), tuple(x.shape), axes)
    if found is None or len(x.shape) != len(origin.shape) + 1:
        return False
    axis, groups = found
    channels = origin.shape[axis]
    for w in (scale, bias):
        if w is not None and (varies(w, len(x.shape)) != (axis, axis + 1) or w.tensor is None or w.tensor.size != channels):
            return False
    nodes = r.region([after.output], {r.view.form(origin)})
    if nodes is None or not r.one_layer(nodes):
        return False

    def make(b: Any) -> Value:
        params = [None if w is None else r.shaped(w, (int(channels),)) for w in (scale, bias)]  # type: ignore[arg-type]
        y: Value = b.group_norm(origin, *params, groups=groups, epsilon=shortest(epsilon, x.dtype), axis=axis)
        return y

    return r.put(after.output, nodes, make)


def grouped(r: Rewriter, node: Node) -> bool:
    """Reshape to groups, a normalisation without parameters, reshape back: group_norm."""
    before, y = node.need("x").producer, node.output
    plain = filled(node.arg("scale"), 1) and filled(node.arg("bias"), 0)
    if before is None or before.op != "reshape" or not plain or len(y.uses) != 1 or y in r.outputs:
        return False
    after = y.users[0]
    x = before.inputs[0]
    if after.op != "reshape" or x is None or x.shape is None or after.output.shape != x.shape:
        return False
    if not r.one_layer([before, node, after]):
        return False
    found = _groups(tuple(x.shape), tuple(before.output.shape or ()), _axes(node))
    if found is None:
        return False
    axis, groups = found
    epsilon = node.attrs["epsilon"]

    def make(b: Any) -> Value:
        if groups == x.shape[axis]:  # type: ignore[index]
            one: Value = b.instance_norm(x, epsilon=epsilon, axis=axis)
            return one
        many: Value = b.group_norm(x, groups=groups, epsilon=epsilon, axis=axis)
        return many

    return r.put(after.output, [after, node, before], make)


def _axes(node: Node) -> tuple[int, ...]:
    """The axes that the moments are over."""
    if "axes" in node.attrs:
        return tuple(sorted(node.attrs["axes"]))
    return tuple(i for i in range(1, node.need("x").rank or 0) if i != node.attrs["axis"])


def _groups(x: tuple[Any, ...], wide: tuple[Any, ...], axes: tuple[int, ...]) -> tuple[int, int] | None:
    """(axis, groups) where ``wide`` is x with one axis split in (groups, rest), or (batch, groups, all the rest) of channels
    first, and ``axes`` are all but the batch and the groups."""
    if not x or not wide or x[0] != wide[0] or len(x) < 3:
        return None
    rest = [i for i in range(1, len(wide)) if i not in axes]
    if 0 in axes or len(rest) != 1 or not isinstance(wide[rest[0]], int):
        return None
    at, groups = rest[0], wide[rest[0]]
    if not isinstance(x[at] if at < len(x) else None, int) or x[at] % groups:
        return None
    split = (*x[:at], groups, x[at] // groups, *x[at + 1 :])
    if wide == split:
        return at, groups
    return (1, groups) if at == 1 and len(wide) == 3 else None


def absorb(r: Rewriter, node: Node) -> bool:
    """A factor and an addend behind an op of trait SCALED that has none: its scale and bias."""
    decl = op(node.op)
    has_bias = any(a.name == "bias" for a in decl.inputs)
    if not filled(node.arg("scale"), 1) or (has_bias and not filled(node.arg("bias"), 0)):
        return False
    axes: tuple[int, ...] = tuple(node.attrs["axes"]) if "axes" in node.attrs else (node.attrs["axis"],)
    scaled = _next(r, node.output, "mul", axes)
    added = _next(r, node.output if scaled is None else scaled[0].output, "add", axes) if has_bias else None
    if scaled is None and added is None:
        return False
    nodes = [n[0] for n in (added, scaled) if n is not None] + [node]
    measured = any(a.role is Role.STATISTIC for a in decl.inputs)
    if not r.one_layer(nodes) and not (measured and r.across):
        return False
    x = node.need("x")

    def make(b: Any) -> Value:
        found = {n: None if p is None else over(r, p[1], x.rank or 0, axes) for n, p in (("scale", scaled), ("bias", added))}
        y: Value = b.op(node.op, *(found[a.name] if a.name in found else node.arg(a.name) for a in decl.inputs), **node.attrs)
        return y

    return r.put(nodes[0].output, nodes, make, like=node)


def _next(r: Rewriter, y: Value, how: str, axes: tuple[int, ...]) -> tuple[Node, Value] | None:
    """The only reader of a value, where it combines it with a constant that has one element for each along ``axes``."""
    if len(y.uses) != 1 or y in r.outputs or y.shape is None:
        return None
    user, i = y.uses[0]
    other = user.inputs[1 - i] if user.op == how and len(user.inputs) == 2 else None
    if other is None or other.tensor is None or user.output.shape != y.shape:
        return None
    places = varies(other, len(y.shape))
    sizes = tuple(y.shape[a] for a in axes)
    full = places is not None and set(places) <= set(axes) and all(isinstance(n, int) for n in sizes)
    if not full or other.tensor.size != _product(sizes):
        return None
    return user, other


def _product(sizes: tuple[Any, ...]) -> int:
    n = 1
    for s in sizes:
        n *= s
    return n

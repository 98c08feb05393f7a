"""Joining and parting (``keras.src.ops.numpy``; Keras 3.15.1)."""

from __future__ import annotations

from collections.abc import Sequence

from convcore.plugin import A, DimLike, ForeignNode, Value, known_shape, product

from ..load_context import KerasContext
from ..ruleset import RULES
from .shape import cut
from .spec import operation, operations

__all__: list[str] = []

RULES.op(
    operation("Concatenate", "xs", "join", tensors="xs*", joined="xs"),
    "concat",
    "xs=xs*",
    axis=A("axis", -1, write_default=True),
    alike=("dtype",),
)
operations("Hstack Vstack Dstack", "xs", "join", tensors="xs*", joined="xs")
RULES.op(
    operation("Stack", "x", "join", tensors="x*", joined="x"),
    "stack",
    "[x]=xs*",
    axis=A("axis", 0, write_default=True),
    alike=("dtype",),
)
operation("Append", "x1, x2", "join")
operation("Meshgrid", "x", tensors="*x")
operations("Split ArraySplit Hsplit Vsplit Dsplit Unstack", "x")


@RULES.load("ops.Concatenate", "ops.Append", "ops.Hstack", "ops.Vstack", "ops.Dstack")
def concatenate(g: KerasContext, node: ForeignNode) -> Value:
    """One after another: along an axis, the second (of vectors the only one), the first, or the third; Append of all elements
    without an axis."""
    xs, b = node.needed(), g.b
    kind = node.type.removeprefix("ops.")
    if kind == "Append" and node.attr("axis", None) is None:
        xs = [b.reshape(x, shape=(product(known_shape(x, sizes=True)),)) for x in xs]
        return b.concat(*xs, axis=0)
    if kind in ("Concatenate", "Append"):
        axis = node.attr("axis", 0)
        if axis is None:
            raise node.refuse("axis=None")
        return b.concat(*xs, axis=int(axis))
    least = {"Hstack": 1, "Vstack": 2, "Dstack": 3}[kind]
    xs = [_at_least(g, x, least) for x in xs]
    return b.concat(*xs, axis={"Hstack": min(1, len(known_shape(xs[0])) - 1), "Vstack": 0, "Dstack": 2}[kind])


def _at_least(g: KerasContext, x: Value, rank: int) -> Value:
    """numpy.atleast_nd: a vector becomes a row, and (1, n, 1)."""
    have = len(known_shape(x))
    if have >= rank:
        return x
    axes = {(0, 1): (0,), (0, 2): (0, 1), (0, 3): (0, 1, 2), (1, 2): (0,), (1, 3): (0, 2), (2, 3): (2,)}[have, rank]
    return g.b.unsqueeze(x, axes=axes)


@RULES.load("ops.Split", "ops.ArraySplit", "ops.Hsplit", "ops.Vsplit", "ops.Dsplit")
def split(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """Equal parts (ArraySplit: the first ones longer by one), or parts that begin at indices."""
    x, where = node.need(0), node.attr("indices_or_sections")
    shape = known_shape(x, sizes=True)
    kind = node.type.removeprefix("ops.")
    named = {"Hsplit": min(1, len(shape) - 1), "Vsplit": 0, "Dsplit": 2}
    axis = node.axis_in(named[kind] if kind in named else node.attr("axis", 0), len(shape))
    n = shape[axis]
    where = where.tolist() if hasattr(where, "tolist") else where
    several = where if isinstance(where, (list, tuple)) else [where]
    if any(isinstance(i, bool) or not isinstance(i, int) for i in several) or (isinstance(where, int) and where < 1):
        raise node.refuse(f"indices_or_sections={where!r}")
    if isinstance(where, int):
        if not isinstance(n, int):
            if kind == "ArraySplit":
                raise node.refuse("parts an axis of unknown size", code="unknown_shape")
            return g.b.split(x, axis=axis, sizes=(n // where,) * where)
        if n % where and kind != "ArraySplit":
            raise node.refuse(f"{n} is not {where} equal parts", code="invalid_shape")
        sizes: list[DimLike] = [n // where + (i < n % where) for i in range(where)]
        return g.b.split(x, axis=axis, sizes=tuple(sizes))
    if isinstance(n, int):
        bounds = [0, *(len(range(n)[: int(i)]) for i in where), n]
        return [cut(g, x, axis, a, max(a, e)) for a, e in zip(bounds, bounds[1:])]
    if any(i < 0 for i in where) or list(where) != sorted(where):
        raise node.refuse(f"parts an axis of unknown size at {where}", code="unknown_shape")
    ends: list[int | None] = [*where, None]
    return [cut(g, x, axis, a, e) for a, e in zip([0, *where], ends, strict=True)]


@RULES.load("ops.Unstack")
def unstack(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """Every slice along an axis."""
    x, num = node.need(0), node.attr("num", None)
    return g.b.unstack(x, axis=node.axis_in(node.attr("axis", 0), len(known_shape(x))), num=num)


@RULES.load("ops.Meshgrid")
def meshgrid(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """Vectors along an axis each, expanded over the others; "xy" swaps the first two."""
    indexing, b = node.attr("indexing", "xy"), g.b
    lines = [b.reshape(x, shape=(product(known_shape(x, sizes=True)),)) for x in node.needed()]
    order = list(range(len(lines)))
    if indexing == "xy" and len(lines) > 1:
        order[0], order[1] = 1, 0
    sizes = [known_shape(x, sizes=True)[0] for x in lines]
    full: list[DimLike] = [0] * len(lines)
    for i, axis in enumerate(order):
        full[axis] = sizes[i]
    shapes = [tuple(sizes[i] if a == axis else 1 for a in range(len(lines))) for i, axis in enumerate(order)]
    return [b.expand(b.reshape(x, shape=s), shape=tuple(full)) for x, s in zip(lines, shapes, strict=True)]

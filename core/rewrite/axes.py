"""Chains of reshapes and transposes as what they are: the axes of one value, split, reordered and joined.

A value that is only looked at differently has a :class:`Axes`: for each of its axes the atoms (parts of the axes of a base value)
that make it, the outermost first. Splitting heads, merging them and exchanging axes in whatever order give the same answer, and a
value with other axes can be made of the base in at most three nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any

from ..errors import ShapeError
from ..ir.dims import DimLike, product
from ..ir.graph import Node, Value
from ..opset import op
from ..opset.axes import Insert, Perm, Remove
from ..records import dataclass
from .kinds import is_view, same

__all__ = ["COPIES", "Atom", "Axes", "axes_of", "cells", "materialise", "size_of"]


@dataclass(eq=False)
class Atom:
    """A part of an axis: its size; ``index`` where only one element of it is taken; ``copies`` where it only repeats."""

    size: DimLike
    index: int | None = None
    copies: bool = False


Group = tuple[Atom, ...]


@dataclass
class Axes:
    """``base`` (its axes as atoms in ``origin``), looked at with ``groups`` as axes; ``scale`` is what it was multiplied by."""

    base: Value
    origin: list[list[Atom]]
    groups: list[Group]
    scale: float = 1.0
    steps: list[tuple[Value, list[Group]]] = field(default_factory=list)  # values on the way, from the base, unscaled

    def split(self, atom: Atom, sizes: Sequence[DimLike]) -> list[Atom]:
        """Replace an atom by parts of it, wherever it stands."""
        parts = [Atom(n, copies=atom.copies) for n in sizes]

        def put(g: Sequence[Atom]) -> list[Atom]:
            return [p for a in g for p in (parts if a is atom else [a])]

        self.origin = [put(g) for g in self.origin]
        self.groups = [tuple(put(g)) for g in self.groups]
        self.steps = [(v, [tuple(put(g)) for g in gs]) for v, gs in self.steps]
        return parts


def cells(g: Group) -> Group:
    """Without what has one element."""
    return tuple(a for a in g if a.size != 1 and a.index is None)


def size_of(g: Sequence[Atom]) -> Any:
    """The size of an axis made of atoms."""
    return product([a.size for a in cells(tuple(g))])


def axes_of(r: Any, v: Value, *, scales: bool = False, select: bool = False, copies: bool = False) -> Axes:
    """The axes of a value over the first value before it that is more than a view.

    ``scales``: factors that are one number are views, too; ``select``: parts along an axis (split, one index of gather, a slice);
    ``copies``: expand and repeat. What does not fit is the base.
    """
    chain: list[Node] = []
    at = v
    while at.producer is not None and at.tensor is None and at.shape is not None and None not in at.shape:
        node, x = at.producer, at.producer.inputs[0] if at.producer.inputs else None
        if x is None or x.shape is None or None in x.shape:
            break
        if is_view(node) or (copies and node.op in COPIES) or (select and node.op in _SELECTS):
            chain.append(node)
            at = x
        elif scales and node.op in ("mul", "div") and _number(r, node) is not None:
            chain.append(node)
            at = node.inputs[1] if _number_first(r, node) and node.inputs[1] is not None else x
        else:
            break
    for start in range(len(chain) + 1):
        base = at if start == 0 else _result(chain[len(chain) - start], chain[: len(chain) - start], v)
        found = _forward(r, base, chain[: len(chain) - start], v)
        if found is not None:
            return found
    raise AssertionError("a value is a view of itself")


def _result(node: Node, rest: Sequence[Node], v: Value) -> Value:
    """The output of a node of a chain that the rest of it goes on with."""
    if not rest:
        return v
    return next(o for o in node.outputs if any(i is o for i in rest[-1].inputs))


def _number(r: Any, node: Node) -> float | None:
    """The number a node multiplies by, if it is one and changes no shape."""
    x, y = node.inputs[0], node.inputs[1]
    if x is None or y is None:
        return None
    f, g = r.view.form(x), r.view.form(y)
    if g.op == "number" and node.output.shape == x.shape:
        return float(g.key if node.op == "mul" else 1 / g.key) if g.key else None
    if f.op == "number" and node.op == "mul" and node.output.shape == y.shape:
        return float(f.key)
    return None


def _number_first(r: Any, node: Node) -> bool:
    x = node.inputs[0]
    return x is not None and r.view.form(x).op == "number" and node.output.shape != x.shape


def _forward(r: Any, base: Value, chain: Sequence[Node], v: Value) -> Axes | None:
    if base.shape is None or any(n is None for n in base.shape):
        return Axes(base, [], []) if not chain else None
    origin = [[Atom(n)] for n in base.shape]  # type: ignore[arg-type]
    a = Axes(base, origin, [tuple(g) for g in origin])
    a.steps.append((base, list(a.groups)))
    rest = list(chain)
    while rest:
        node = rest.pop()
        out = _result(node, rest, v)
        if not _apply(r, a, node, out):
            return None
        if a.scale == 1:
            a.steps.append((out, list(a.groups)))
    return a


def _apply(r: Any, a: Axes, node: Node, out: Value) -> bool:
    if is_view(node):
        return same(node) or _viewed(a, node, out)
    if node.op in COPIES:
        return COPIES[node.op](a, node, out)
    if node.op in _SELECTS:
        return _select(a, node, out)
    number = _number(r, node)
    a.scale *= 1.0 if number is None else number
    return True


def _viewed(a: Axes, node: Node, out: Value) -> bool:
    """The axes of a view, by the axis rule of its op."""
    rule = op(node.op).axes
    if isinstance(rule, Perm):
        a.groups = [a.groups[p] for p in node.attrs[rule.attr]]
    elif isinstance(rule, Remove):
        a.groups = [g for i, g in enumerate(a.groups) if i not in node.attrs[rule.attr]]
    elif isinstance(rule, Insert):
        for i in node.attrs[rule.attr]:
            a.groups.insert(i, ())
    else:
        return _regroup(a, out.shape or ())
    return True


def _expanded(a: Axes, node: Node, out: Value) -> bool:
    return _expand(a, out.shape or ())


def _tiled(a: Axes, node: Node, out: Value) -> bool:
    return all(n == 1 or not cells(g) for n, g in zip(node.attrs["repeats"], a.groups)) and _expand(a, out.shape or ())


def _repeated(a: Axes, node: Node, out: Value) -> bool:
    times, axis = node.attrs["repeats"], node.attrs["axis"]
    if not isinstance(times, int):
        return False
    a.groups[axis] = (*a.groups[axis], Atom(times, copies=True))
    return True


COPIES: dict[str, Callable[[Axes, Node, Value], bool]] = {"expand": _expanded, "tile": _tiled, "repeat": _repeated}
"""How an axis repeats."""


def _expand(a: Axes, shape: Sequence[Any]) -> bool:
    a.groups = [()] * (len(shape) - len(a.groups)) + a.groups
    for i, n in enumerate(shape):
        size = product([x.size for x in cells(a.groups[i])])
        if size != n:
            if size != 1:
                return False
            a.groups[i] = (Atom(n, copies=True),)
    return True


def _regroup(a: Axes, shape: Sequence[Any]) -> bool:
    """Take atoms from the left until each axis is full, splitting those that reach over its end."""
    queue = [x for g in a.groups for x in g]
    groups: list[Group] = []
    for n in shape:
        taken: list[Atom] = []
        have: Any = 1
        while have != n:
            if not queue:
                return False
            x = queue.pop(0)
            if x.size == 1 or x.index is not None:
                taken.append(x)
                continue
            need = _exact(n, have)
            if need is None:
                return False
            if _exact(need, x.size) is not None:
                taken.append(x)
                have = have * x.size
                continue
            rest = _exact(x.size, need)
            if rest is None:
                return False
            first, second = a.split(x, [need, rest])
            taken.append(first)
            queue.insert(0, second)
            have = n
        groups.append(tuple(taken))
    if any(x.size != 1 and x.index is None for x in queue):
        return False
    if queue and groups:
        groups[-1] = (*groups[-1], *queue)
    a.groups = groups
    return True


def _exact(n: Any, by: Any) -> Any:
    """n / by where that leaves nothing."""
    if by == n:
        return 1
    if isinstance(n, int) and not isinstance(by, int):
        return None
    if isinstance(by, int) and by <= 0:
        return None
    q = n // by
    return q if q * by == n else None


@dataclass(frozen=True)
class _Part:
    """``size`` elements of an axis from ``start`` on; ``gone``: the axis goes with it."""

    axis: int
    start: Any
    size: Any
    gone: bool = False


def _of_slice(node: Node, out: Value) -> _Part | None:
    at, x = node.attrs, node.inputs[0]
    full = [i for i, (s, e, t) in enumerate(zip(at["starts"], at["stops"], at["steps"])) if (s, e, t) != (0, None, 1)]
    full = [i for i in full if out.shape is None or x is None or x.shape is None or out.shape[i] != x.shape[i]]
    if len(full) != 1 or at["steps"][full[0]] != 1:
        return None
    return _Part(full[0], at["starts"][full[0]], (out.shape or ())[full[0]])


def _of_gather(node: Node, out: Value) -> _Part | None:
    index = node.inputs[1]
    if index is None or index.tensor is None or index.tensor.size != 1 or index.tensor.ndim:
        return None
    return _Part(node.attrs["axis"], int(index.tensor.numpy()), 1, gone=True)


def _of_split(node: Node, out: Value) -> _Part | None:
    sizes = node.attrs["sizes"]
    if len(set(sizes)) != 1 or not isinstance(sizes[0], int):
        return None
    return _Part(node.attrs["axis"], out.index * sizes[0], sizes[0])


def _of_unstack(node: Node, out: Value) -> _Part | None:
    return _Part(node.attrs["axis"], out.index, 1, gone=True)


_SELECTS: dict[str, Callable[[Node, Value], _Part | None]] = {
    "slice": _of_slice,
    "gather": _of_gather,
    "split": _of_split,
    "unstack": _of_unstack,
}
"""Which part of an axis is taken."""


def _select(a: Axes, node: Node, out: Value) -> bool:
    part = _SELECTS[node.op](node, out)
    if part is None:
        return False
    axis, start, size = part.axis, part.start, part.size
    whole = cells(a.groups[axis])
    total = product([x.size for x in whole])
    if not isinstance(size, int) or not isinstance(start, int) or not whole or not isinstance(total, int):
        return False
    lead = whole[0]
    start = start + total if start < 0 else start
    if start < 0 or size < 1 or total % size or start % size:
        return False
    parts = total // size
    if lead.size != parts:
        if len(whole) != 1:
            return False
        lead = a.split(lead, [parts, size])[0]
    lead.index = start // size
    if part.gone:
        del a.groups[axis]
        fixed: Group = (lead,)
        if a.groups:
            a.groups[-1] = (*a.groups[-1], *fixed)
    return True


def _equal(x: Sequence[Group], y: Sequence[Group]) -> bool:
    return [cells(g) for g in x] == [cells(g) for g in y]


def materialise(b: Any, a: Axes, groups: Sequence[Group]) -> Value:
    """A value with the given axes: one that is there, or the base reshaped, transposed and reshaped as far as needed.

    ShapeError where parts are selected or repeated on the way.
    """
    for v, have in reversed(a.steps):
        if _equal(have, groups) and len(have) == len(groups):
            return v
    wanted = [x for g in groups for x in cells(g)]
    y = a.base
    flat = [x for g in a.origin for x in g if x.size != 1]
    if any(x.index is not None for x in flat) or {id(x) for x in flat} != {id(x) for x in wanted}:
        raise ShapeError(f"{a.base}: not all of it is wanted, or some more than once")
    shape = tuple(x.size for x in flat)
    if tuple(y.shape or ()) != shape:
        y = b.reshape(y, shape=shape)
    perm = tuple(flat.index(x) for x in wanted)
    if perm != tuple(range(len(perm))):
        y = b.transpose(y, perm=perm)
    final = tuple(product([x.size for x in cells(g)]) for g in groups)
    return y if tuple(y.shape or ()) == final else b.reshape(y, shape=final)

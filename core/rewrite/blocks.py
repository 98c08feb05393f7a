"""Elements moved in blocks: reshape, transpose, reshape as depth_to_space, space_to_depth and shuffle_channels; repeated ones as
upsample_nearest; and softmax written out."""

from __future__ import annotations

from typing import Any

from ..ir.graph import Node, Value
from .axes import COPIES, Atom, Axes, axes_of, cells
from .forms import INVERSE, ONE
from .kinds import regroups, step
from .linear import sole
from .region import Rewriter
from .view import View

__all__ = ["moved", "repeated", "softmax"]

Groups = list[tuple[Atom, ...]]


def moved(r: Rewriter, node: Node) -> bool:
    """Channels and pixels exchanged in blocks, or channels among themselves."""
    y = node.output
    after = sole(r, y)
    if y.rank is None or y.rank < 5 or after is None or after.op != "reshape" or node.inputs[0] is None:
        return False
    before = node.inputs[0].producer
    if before is None or before.op != "reshape":
        return False
    out = after.output
    a = axes_of(r, out)
    if not a.groups or len(a.origin) != len(a.groups) or not 3 <= len(a.groups) <= 5:
        return False
    origin, groups = [cells(tuple(g)) for g in a.origin], [cells(g) for g in a.groups]
    if origin == groups:
        return False
    told = _shuffled(origin, groups) or _blocks(origin, groups)
    if told is None:
        return False
    op, attrs = told
    nodes = r.region([out], {a.base})
    if nodes is None or not r.closed(nodes, {out}, shared=False):
        return False
    return r.put(out, nodes, lambda b: b.op(op, a.base, **attrs))


def _shuffled(origin: Groups, groups: Groups) -> tuple[str, dict[str, Any]] | None:
    """Two factors of one axis exchanged."""
    other = [i for i, (x, y) in enumerate(zip(origin, groups)) if x != y]
    if len(other) != 1 or not other[0] or len(origin[other[0]]) != 2 or groups[other[0]] != origin[other[0]][::-1]:
        return None
    return "shuffle_channels", {"groups": origin[other[0]][0].size, "axis": other[0]}


def _blocks(origin: Groups, groups: Groups) -> tuple[str, dict[str, Any]] | None:
    if len(origin) != 4 or origin[0] != groups[0]:
        return None
    for layout, c, rows, columns in (("channels_first", 1, 2, 3), ("channels_last", 3, 1, 2)):
        for up in (False, True):
            deep, flat = (origin, groups) if up else (groups, origin)
            split = [flat[rows], flat[columns]]
            if any(len(g) != 2 for g in split) or len(deep[c]) != 3 or len(flat[c]) != 1:
                continue
            (h, i), (w, j) = split
            if deep[rows] != (h,) or deep[columns] != (w,) or i.size != j.size or not isinstance(i.size, int):
                continue
            d = flat[c][0]
            mode = "DCR" if deep[c] == (i, j, d) else "CRD" if deep[c] == (d, i, j) else None
            if mode is not None:
                return ("depth_to_space" if up else "space_to_depth"), {"block": i.size, "mode": mode, "layout": layout}
    return None


def repeated(r: Rewriter, node: Node) -> bool:
    """Every pixel repeated along both spatial axes, each by a new axis that repeats and is joined to it."""
    if node.output.rank is None or node.output.rank < 5:
        return False
    at, last = node.output, None
    for _ in range(8):
        user = sole(r, at)
        if user is None or not (regroups(user) or user.op in COPIES):
            break
        at = user.output
        last = at
    if last is None or last.rank is None or last.rank != 4:
        return False
    a = axes_of(r, last, copies=True)
    told = None if not a.groups or len(a.origin) != 4 else _scales(a)
    if told is None:
        return False
    nodes = r.region([last], {a.base})
    if nodes is None or not r.closed(nodes, {last}, shared=False):
        return False
    layout, scales = told
    return r.put(last, nodes, lambda b: b.upsample_nearest(a.base, scales=scales, layout=layout))


def _scales(a: Axes) -> tuple[Any, tuple[int, ...]] | None:
    found: list[int] = []
    for own, g in zip(a.origin, a.groups):
        mine, have = cells(tuple(own)), cells(g)
        copies = [x for x in have if x.copies]
        if have != (*mine, *copies) or any(not isinstance(x.size, int) for x in copies) or any(x.copies for x in mine):
            return None
        n = 1
        for x in copies:
            n *= x.size if isinstance(x.size, int) else 1
        found.append(n)
    for layout, axes in (("channels_first", (2, 3)), ("channels_last", (1, 2))):
        scales = tuple(found[i] for i in axes)
        if min(scales) > 1 and all(n == 1 for i, n in enumerate(found) if i not in axes):
            return layout, scales
    return None


def softmax(r: Rewriter, node: Node) -> bool:
    """exp(x - max(x)) over its sum. Without the maximum it overflows where softmax does not, and stays."""
    view: View = r.view
    e = view.form(node.outputs[0])
    if e.op != "exp":
        return False
    for term, k in view.split(e.args[0])[1]:
        if term.op != "max" or k != -1 or not isinstance(term.key, tuple) or len(term.key) != 1:
            continue
        x = view.add(e.args[0], term)
        v = view.value(x) if x is term.args[0] else None
        if v is None:
            continue
        total = view.op("sum", e, key=term.key)
        wanted = view.product(1.0, {(e, ONE): 1, (total, INVERSE): 1})
        for root in r.reached(node.outputs[0], lambda n: n.op == "sum" or step(n), 8):
            if view.form(root) is wanted and _softmax(r, root, v, x, term.key[0]):
                return True
    return False


def _softmax(r: Rewriter, root: Value, v: Value, x: Any, axis: int) -> bool:
    nodes = r.region([root], {x})
    if nodes is None or not r.closed(nodes, {root}):
        return False
    return r.put(root, nodes, lambda b: b.softmax(v, axis=axis))

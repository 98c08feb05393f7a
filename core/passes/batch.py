"""Whether a size that an exporter froze is a batch: no operation mixes what lies along that axis, or depends on how much it is.

The axis is followed from the inputs through every op by its axis rule (:mod:`convcore.opset.axes`), under a name of its own, so
inference has already been through all sizes. What is not followed exactly is refused: a batch that is let go must be one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..ir.dims import Dim, DimLike, product, shape_text
from ..ir.graph import Graph, Node, Value
from ..opset import Op, Trait, find_op
from ..opset.axes import (
    Append,
    Axes,
    Axis,
    AxisRule,
    Broadcast,
    Elementwise,
    Insert,
    LastAxes,
    Layout,
    Letters,
    PerAxis,
    Perm,
    Pick,
    Remove,
    Reshape,
)
from ..records import dataclass

__all__ = ["what_mixes"]


class _MixesError(Exception):
    """Why a node does not treat the elements of the batch alike."""


@dataclass(frozen=True)
class _Place:
    """Where the batch lies: ``outer`` of its axis comes before it, the rest after it."""

    axis: int
    outer: DimLike = 1


_Places = list[tuple[str, Value, _Place]]


def what_mixes(graph: Graph, starts: Mapping[Value, int], name: Dim) -> str:
    """The first node (or output) that depends on the batch, as text; "" where none does.

    ``starts`` are inputs and the axis of each that has the size ``name``, which nothing else of the graph has.
    """
    where = {v: _Place(axis) for v, axis in starts.items()}
    for node in graph:
        found = [(_name(node, i), v, where[v]) for i, v in enumerate(node.inputs) if v is not None and v in where]
        try:
            places = _follow(node, found, name)
        except _MixesError as e:
            return f"{node.origin.layer or node.name!r} ({node.origin.type or node.op}) {e}"
        where.update((v, p) for v, p in zip(node.outputs, places) if p is not None)
    for v in graph.outputs:
        if v not in where and _mentions(v, name):
            return f"the output {v.name!r} {shape_text(v.shape)} is no longer one part for each element"
        if v not in where and _fed(v, set(starts)):
            return f"the output {v.name!r} {shape_text(v.shape)} is one for the whole batch"
    return ""


def _name(node: Node, i: int) -> str:
    declared = Node.arguments(node.op) if find_op(node.op) is not None else ()
    return declared[min(i, len(declared) - 1)][0] if declared else ""


def _mentions(v: Value, name: Dim) -> bool:
    return any(isinstance(d, Dim) and d.names & name.names for d in v.shape or ())


def _fed(v: Value, starts: set[Value]) -> bool:
    """Whether the value comes of one of the inputs."""
    seen, stack = set(), [v]
    while stack:
        x = stack.pop()
        if x in starts:
            return True
        if x not in seen and x.producer is not None:
            seen.add(x)
            stack += [i for i in x.producer.inputs if i is not None]
    return False


def _shape(v: Value) -> tuple[Any, ...]:
    if v.shape is None:
        raise _MixesError("has sizes that nobody knows")
    return v.shape


def _follow(node: Node, found: _Places, name: Dim) -> list[_Place | None]:
    decl = find_op(node.op)
    if not found:
        return [_made(node, v, name) for v in node.outputs]
    if node.op == "opaque" and not node.attrs.get("follows"):
        raise _MixesError(str(node.attrs.get("why")))
    rule = None if decl is None else decl.axes
    step = _STEPS.get(type(rule))
    if decl is None or rule is None or step is None:
        raise _MixesError("may depend on it: how it treats a batch is not known")
    for arg, _, _ in found:
        if arg in rule.fixed and not isinstance(rule, (Pick, Append)):
            raise _MixesError(f"takes it as {arg}, of which it needs all")
    if rule.stay and any(p.axis not in rule.stay for _, _, p in found):
        raise _MixesError("works on all other axes together")
    places = step(node, decl, rule, found, name)
    for v, p in zip(node.outputs, places):
        d = _shape(v)[p.axis] if p is not None and -1 < p.axis < len(_shape(v)) else None
        if p is None or d is None or not _holds(d, p.outer * name):
            raise _MixesError(f"makes {shape_text(v.shape)}, in which it is not left whole")
    return list(places)


def _made(node: Node, v: Value, name: Dim) -> _Place | None:
    """Of what is made for the batch without it, only what is the same all over is known to be no part of it."""
    if not any(isinstance(a, (Dim, tuple)) and name.names & _names(a) for a in node.attrs.values()) and not _mentions(v, name):
        return None
    at = [i for i, d in enumerate(v.shape or ()) if d == name]
    same = [i for i in at if node.op == "fill" or (node.inputs and _grows(node.inputs[0], v, i))]
    if len(at) != 1 or not same:
        raise _MixesError("counts it")
    return _Place(at[0])


def _names(a: Any) -> frozenset[str]:
    if isinstance(a, Dim):
        return a.names
    return frozenset().union(*map(_names, a)) if isinstance(a, tuple) else frozenset()


def _grows(x: Value | None, y: Value, axis: int) -> bool:
    """Whether ``y`` is ``x`` repeated along a new axis, or one of size 1."""
    if x is None or x.producer is y.producer or y.producer is None or not isinstance(_rule(y.producer), PerAxis):
        return False
    i = axis - len(_shape(y)) + len(_shape(x))
    return "shape" in y.producer.attrs and (i < 0 or _shape(x)[i] == 1)


def _rule(node: Node) -> AxisRule | None:
    decl = find_op(node.op)
    return None if decl is None else decl.axes


def _holds(size: DimLike, part: DimLike) -> bool:
    """Whether ``size`` is a whole number of times ``part``."""
    quotient = size // part if isinstance(size, Dim) else 0
    return quotient != 0 and quotient * part == size


def _one(places: Sequence[_Place]) -> _Place:
    if len(set(places)) > 1:
        raise _MixesError("meets it along two axes")
    return places[0]


def _same(node: Node, found: _Places) -> _Place:
    """The place in all main inputs, which must all have it."""
    place = _one([p for _, _, p in found])
    rule = _rule(node)
    main = [v for i, v in enumerate(node.inputs) if v is not None and _name(node, i) not in (rule.fixed if rule else ())]
    for v in main:
        if all(v is not w for _, w, _ in found) and len(_shape(v)) > place.axis and _shape(v)[place.axis] != 1:
            raise _MixesError(f"joins it with {v.name!r}, which has none")
    return place


def _normal(a: Any, rank: int) -> tuple[int, ...]:
    axes = range(rank) if a is None else a if isinstance(a, tuple) else (a,)
    return tuple(i % rank for i in axes)


def _elementwise(node: Node, decl: Op, rule: Any, found: _Places, name: Dim) -> list[_Place]:
    place = _same(node, found)
    if rule.axes and place.axis in _normal(node.attrs[rule.axes], len(_shape(found[0][1]))):
        raise _MixesError("works along it")
    return [place] * len(node.outputs)


def _aligned(node: Node, found: _Places, k: int, k_out: int) -> list[_Place]:
    """Axes meet from the right, without the last ``k``."""
    places = []
    for _, v, p in found:
        if p.axis >= len(_shape(v)) - k:
            raise _MixesError("works along it")
        places.append(_Place(p.axis - len(_shape(v)) + k, p.outer))
    place = _one(places)
    for i, x in enumerate(node.inputs):
        if x is None or any(x is w for _, w, _ in found) or _name(node, i) in (_rule(node) or AxisRule()).fixed:
            continue
        at = place.axis + len(_shape(x)) - k
        if at >= 0 and _shape(x)[at] != 1:
            raise _MixesError(f"joins it with {x.name!r}, which has none")
    return [_Place(place.axis + len(_shape(y)) - k_out, place.outer) for y in node.outputs]


def _broadcast(node: Node, decl: Op, rule: Any, found: _Places, name: Dim) -> list[_Place]:
    return _aligned(node, found, 0, 0)


def _last(node: Node, decl: Op, rule: Any, found: _Places, name: Dim) -> list[_Place]:
    if any(v is not None and len(_shape(v)) < rule.k for i, v in enumerate(node.inputs) if _name(node, i) not in rule.fixed):
        raise _MixesError("may depend on it: how it treats a batch is not known")
    if rule.rows and len(found) == 1:
        (_, v, place) = found[0]
        back = place.axis - len(_shape(v))
        if back == (-2 if v is node.inputs[0] else -1) and node.inputs[0] is not node.inputs[1]:
            return [_Place(len(_shape(node.output)) + back, place.outer)]
    return _aligned(node, found, rule.k, rule.k)


def _axis(node: Node, decl: Op, rule: Any, found: _Places, name: Dim) -> list[_Place]:
    special = node.attrs[rule.attr]
    place = _same(node, found)
    if not (special is None and rule.or_none) and place.axis in _normal(special, len(_shape(found[0][1]))):
        raise _MixesError("works along it")
    return [place] * len(node.outputs)


def _axes(node: Node, decl: Op, rule: Any, found: _Places, name: Dim) -> list[_Place]:
    place = _same(node, found)
    special = _normal(node.attrs[rule.attr], len(_shape(found[0][1])))
    if place.axis in special:
        raise _MixesError("works along it")
    keep = node.attrs[rule.keepdims] if isinstance(rule.keepdims, str) else rule.keepdims
    return [_Place(place.axis - (0 if keep else sum(a < place.axis for a in special)), place.outer)] * len(node.outputs)


def _per_axis(node: Node, decl: Op, rule: Any, found: _Places, name: Dim) -> list[_Place]:
    (_, x, place), y = found[0], node.outputs[0]
    axis = place.axis + len(_shape(y)) - len(_shape(x))
    if _shape(x)[place.axis] != _shape(y)[axis] or ("steps" in rule.attrs and node.attrs["steps"][place.axis] != 1):
        raise _MixesError("works along it")
    if "pads" in rule.attrs and any(node.attrs["pads"][place.axis]):
        raise _MixesError("works along it")
    return [_Place(axis, place.outer)]


def _perm(node: Node, decl: Op, rule: Any, found: _Places, name: Dim) -> list[_Place]:
    ((_, _, place),) = found
    return [_Place(node.attrs[rule.attr].index(place.axis), place.outer)]


def _insert(node: Node, decl: Op, rule: Any, found: _Places, name: Dim) -> list[_Place]:
    place, rank = _same(node, found), len(_shape(node.outputs[0]))
    added = _normal(node.attrs[rule.attr], rank)
    return [_Place([i for i in range(rank) if i not in added][place.axis], place.outer)]


def _remove(node: Node, decl: Op, rule: Any, found: _Places, name: Dim) -> list[_Place]:
    ((_, x, place),) = found
    gone = _normal(node.attrs[rule.attr], len(_shape(x)))
    if place.axis in gone:
        raise _MixesError("takes its axis away")
    return [_Place(place.axis - sum(a < place.axis for a in gone), place.outer)] * len(node.outputs)


def _append(node: Node, decl: Op, rule: Any, found: _Places, name: Dim) -> list[_Place]:
    if len(found) != 1 or found[0][0] in rule.fixed:
        raise _MixesError("takes it as a table, of which it needs all")
    return [found[0][2]]


def _pick(node: Node, decl: Op, rule: Any, found: _Places, name: Dim) -> list[_Place]:
    if len(found) != 1:
        raise _MixesError("picks elements by another element of it")
    arg, _, place = found[0]
    x, at = node.need(decl.inputs[0].name), node.need(rule.index)
    axis = _normal(node.attrs[rule.attr], len(_shape(x)))[0]
    if arg == rule.index:
        return [_Place(axis + place.axis, place.outer)]
    if place.axis == axis:
        raise _MixesError("picks elements of it")
    return [_Place(place.axis if place.axis < axis else place.axis - 1 + len(_shape(at)), place.outer)]


def _letters(node: Node, decl: Op, rule: Any, found: _Places, name: Dim) -> list[_Place]:
    terms, arrow, out = str(node.attrs[rule.attr]).replace(" ", "").partition("->")
    if "." in terms + out or not arrow:
        raise _MixesError("may depend on it: how it treats a batch is not known")
    written = terms.split(",")
    letters = {written[i][p.axis] for i, v in enumerate(node.inputs) for _, w, p in found if v is w}
    if len(letters) != 1 or any(p.outer != 1 for _, _, p in found):
        raise _MixesError("meets it along two axes")
    (letter,) = letters
    alone = [v for i, v in enumerate(node.inputs) if letter in written[i] and all(v is not w for _, w, _ in found)]
    if letter not in out or alone or any(t.count(letter) > 1 for t in (*written, out)):
        raise _MixesError("sums over it")
    return [_Place(out.index(letter))]


def _layout(node: Node, decl: Op, rule: Any, found: _Places, name: Dim) -> list[_Place]:
    form = rule.forms[node.attrs[rule.attr]]
    if node.attrs.get("index_order", "plane") != "plane":
        raise _MixesError("counts positions through all of it")
    if Trait.RECURRENT in decl.traits:
        _own_states(node, found)
    for i, x in enumerate(node.inputs):
        if x is not None and _name(node, i) in form and all(x is not w for _, w, _ in found):
            raise _MixesError(f"joins it with {x.name!r}, which has none")
    outer: list[DimLike] = []
    for arg, v, p in found:
        if arg in form and p.axis != _letter(form[arg], len(_shape(v))):
            raise _MixesError("works along it")
        outer.append(p.outer)
    before = outer[0]
    if any(o != before for o in outer) or not any(arg in form for arg, _, _ in found):
        raise _MixesError("meets it along two axes")
    out = []
    for i, y in enumerate(node.outputs):
        arg = decl.outputs[i] if i < len(decl.outputs) else ""
        if arg in form:
            out.append(_Place(_letter(form[arg], len(_shape(y))), before))
            continue
        at = [j for j, d in enumerate(_shape(y)) if d == name]
        if len(at) != 1:
            raise _MixesError(f"makes {shape_text(y.shape)}, in which it is not left whole")
        out.append(_Place(at[0]))
    return out


def _own_states(node: Node, found: _Places) -> None:
    """States and lengths are one for each element of the batch; zeros may be left out."""
    for i, v in enumerate(node.inputs):
        if v is None or _name(node, i) not in ("h0", "c0", "lengths") or any(v is w for _, w, _ in found):
            continue
        if v.tensor is None or v.tensor.numpy().any() or _name(node, i) == "lengths":
            raise _MixesError(f"joins it with {v.name!r}, which has none")


def _letter(form: str, rank: int) -> int:
    i = form.index("N")
    return i if "*" not in form or i < form.index("*") else rank - len(form) + i


def _reshape(node: Node, decl: Op, rule: Any, found: _Places, name: Dim) -> list[_Place]:
    ((_, x, place),) = found
    sizes, made = _shape(x)[: place.axis], _shape(node.outputs[0])
    if None in sizes or None in made:
        raise _MixesError("has sizes that nobody knows")
    before = product(sizes) * place.outer
    so_far: DimLike = 1
    for j, d in enumerate(made):
        outer = _quotient(before, so_far)
        if outer is not None and _holds(d, outer * name):
            return [_Place(j, outer)]
        so_far = so_far * d
    raise _MixesError(f"makes {shape_text(node.outputs[0].shape)}, in which it is not left whole")


def _quotient(a: DimLike, b: DimLike) -> DimLike | None:
    q = a // b if b != 0 else 0
    return q if q * b == a else None


_Step = Callable[[Node, Op, Any, _Places, Dim], list[_Place]]
_STEPS: dict[Any, _Step] = {
    Elementwise: _elementwise, Broadcast: _broadcast, Axis: _axis, Axes: _axes, PerAxis: _per_axis, Perm: _perm,
    Insert: _insert, Remove: _remove, Append: _append, Pick: _pick, Letters: _letters, LastAxes: _last, Layout: _layout,
    Reshape: _reshape,
}  # fmt: skip

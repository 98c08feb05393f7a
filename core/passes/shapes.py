"""Shape arithmetic as sizes: what small integer tensors hold, known symbolically while a graph is being built.

Exporters write ``reshape(x, (N, 49 * C))`` as a subgraph (Shape, Gather, Mul, Concat, Reshape...). :class:`ShapeTracker`
evaluates such subgraphs on arrays whose elements are integers, :class:`~convcore.ir.dims.Dim` or None (unknown), so a loader
gets the sizes themselves. One rule per op, in the table at the end; ops that only move elements (Trait.MOVES)
use their own reference. Nothing is guessed: an element that cannot be told exactly is None.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.dims import Dim, dim_max, dim_min, product
from ..ir.graph import Node, Value
from ..opset import Trait, find_op, traits_of
from .constants import fold_constants
from .elements import EACH, Element, fraction, int_div, pick, rational, to_bool, true_div, trunc

__all__ = ["ShapeTracker", "fold_constants", "symbolic_value"]

Array = NDArray[Any]
LIMIT = 4096
"""Tensors of more elements are not followed."""


class ShapeTracker:
    """Symbolic contents of integer and bool values, computed on demand and remembered."""

    def __init__(self) -> None:
        self._known: dict[Value, Array | None] = {}

    def get(self, value: Value) -> Array | None:
        """An object array of int, Dim and None (an element that is not known); bools are 0 and 1.

        None when not even the number of elements is known, when there are more than :data:`LIMIT`, or for strings.
        """
        a = self._contents(value)
        return None if a is None else _map(_integral, a)

    def _contents(self, value: Value) -> Array | None:
        known = self._known
        stack = [value]
        while stack:
            v = stack[-1]
            if v in known:
                stack.pop()
                continue
            node = v.producer
            waiting = [] if node is None or v.tensor is not None else [i for i in self._reads(node) if i not in known]
            if waiting:
                stack += waiting
                continue
            stack.pop()
            for out, a in self._evaluate(v):
                known[out] = a
        return known[value]

    @staticmethod
    def _reads(node: Node) -> list[Value]:
        """The inputs whose contents the rule of a node reads."""
        rule = _rule_of(node.op)
        return [] if rule is None or rule in _BY_SHAPE else [v for v in node.inputs if v is not None]

    def _evaluate(self, v: Value) -> list[tuple[Value, Array | None]]:
        if v.tensor is not None:
            return [(v, _constant(v))]
        node = v.producer
        rule = None if node is None else _rule_of(node.op)
        if node is None or rule is None:
            return [(v, _unknown(v))]
        args = [None if i is None or i not in self._known else self._known[i] for i in node.inputs]
        results = rule(node, args)
        if results is None:
            return [(o, _unknown(o)) for o in node.outputs]
        return [(o, _unknown(o) if r is None or r.size > LIMIT else _fit(o, r)) for o, r in zip(node.outputs, results)]


def symbolic_value(value: Value) -> Array | None:
    """What a small integer value holds, as :meth:`ShapeTracker.get`."""
    return ShapeTracker().get(value)


# ---- arrays of elements


def _array(elements: Sequence[Element], shape: tuple[int, ...] | None = None) -> Array:
    a = np.empty(len(elements), object)
    a[:] = elements
    return a if shape is None else a.reshape(shape)


def _map(fn: Callable[..., Element], *arrays: Array) -> Array:
    """``fn`` over broadcast arrays; an argument that is unknown makes the result unknown."""
    wide = np.broadcast_arrays(*arrays, subok=False) if len(arrays) > 1 else arrays
    out = [None if any(x is None for x in xs) else fn(*xs) for xs in zip(*(a.ravel() for a in wide))]
    return _array(out, wide[0].shape)


def _integral(x: Element) -> Element:
    return x if isinstance(x, (int, Dim)) else None


def _ints(a: Array | None) -> Array | None:
    """As int64 when every element is an integer."""
    if a is None or not all(isinstance(x, int) for x in a.flat):
        return None
    return a.astype(np.int64)


def _static(v: Value) -> tuple[int, ...] | None:
    if v.shape is None:
        return None
    sizes = tuple(d for d in v.shape if isinstance(d, int))
    return sizes if len(sizes) == len(v.shape) and math.prod(sizes) <= LIMIT else None


def _unknown(v: Value) -> Array | None:
    """Unknown elements in a known shape."""
    shape = _static(v)
    if shape is None or v.dtype is None or not (v.dtype.is_int or v.dtype.is_float or v.dtype == "bool"):
        return None
    return np.full(shape, None, object)


def _fit(v: Value, a: Array) -> Array | None:
    """Numbers rounded to a float dtype; an integer outside the range of its dtype would wrap around: it is not known."""
    if v.dtype is not None and v.dtype.is_float:
        kind = v.dtype.numpy.type
        return _map(lambda x: fraction(float(kind(float(x)))) if isinstance(x, (int, Fraction)) else x, a)
    if v.dtype is None or not v.dtype.is_int:
        return a
    lowest, highest = v.dtype.limits
    return _map(lambda x: x if not isinstance(x, int) or lowest <= x <= highest else None, a)


def _constant(v: Value) -> Array | None:
    t = v.tensor
    if t is None or t.size > LIMIT or not (t.dtype.is_int or t.dtype.is_float or t.dtype == "bool"):
        return None
    a = t.numpy()
    if t.dtype.is_float:
        return _array([fraction(float(x)) for x in a.ravel()], a.shape)
    return _array([int(x) for x in a.ravel()], a.shape)


# ---- rules

Rule = Callable[[Node, "list[Array | None]"], "Sequence[Array | None] | None"]


def _has_dim(x: Any) -> bool:
    return isinstance(x, Dim) or (isinstance(x, (tuple, list)) and any(_has_dim(i) for i in x))


def _moved(node: Node, args: list[Array | None]) -> Sequence[Array | None] | None:
    """An op that only moves elements: its own reference, on object arrays; inputs that are indices must be integers."""
    decl = find_op(node.op)
    if decl is None or decl.reference is None or any(_has_dim(a) for a in node.attrs.values()):
        return None
    ins: list[Array | None] = []
    for i, a in enumerate(args):
        if a is None:
            if i < len(node.inputs) and node.inputs[i] is not None:
                return None
        elif decl.inputs[min(i, len(decl.inputs) - 1)].types == "int":
            a = _ints(a)
            if a is None:
                return None
        ins.append(a)
    try:
        out = decl.reference(*ins, **node.attrs)
    except (ValueError, IndexError, TypeError):  # wrong in the model, or arithmetic on an unknown element
        return None
    return [np.asarray(o, object) for o in (out if isinstance(out, tuple) else (out,))]


def _each(fn: Callable[..., Element]) -> Rule:
    def rule(node: Node, args: list[Array | None]) -> Sequence[Array | None] | None:
        known = [a for a in args if a is not None]
        if len(known) != len(args):
            return None
        try:
            return [_map(fn, *known)]
        except ValueError:  # shapes that do not broadcast
            return None

    return rule


def _is_float(node: Node) -> bool:
    v = node.inputs[0]
    return v is not None and v.dtype is not None and v.dtype.is_float


def _div(node: Node, args: list[Array | None]) -> Sequence[Array | None] | None:
    return _each(true_div if _is_float(node) else int_div)(node, args)


def _cast(node: Node, args: list[Array | None]) -> Sequence[Array | None] | None:
    to = node.attrs["to"]
    if to == "bool":
        return _each(to_bool)(node, args)
    return _each(trunc if to.is_int and _is_float(node) else lambda x: x)(node, args)


def _where(node: Node, args: list[Array | None]) -> Sequence[Array | None] | None:
    c, x, y = args
    if c is None or x is None or y is None:
        return None
    try:
        c, x, y = np.broadcast_arrays(c, x, y)
    except ValueError:
        return None
    choice = [a if k == 1 else b if k == 0 or a == b else None for k, a, b in zip(c.flat, x.flat, y.flat)]
    return [_array(choice, c.shape)]


def _logic(deciding: int) -> Callable[[Array, Array], Array]:
    """and (0 decides) and or (1 decides) of 0, 1 and unknown."""

    def join(x: Element, y: Element) -> Element:
        if deciding in (x, y):
            return deciding
        return None if x is None or y is None else 1 - deciding

    return lambda a, b: _array([join(x, y) for x, y in zip(a.flat, b.flat)], a.shape)


def _boolean(deciding: int) -> Rule:
    def rule(node: Node, args: list[Array | None]) -> Sequence[Array | None] | None:
        x, y = args
        if x is None or y is None:
            return None
        try:
            a, b = np.broadcast_arrays(x, y)
        except ValueError:
            return None
        return [_logic(deciding)(a, b)]

    return rule


def _reduction(fn: Callable[[Element, Element], Element], start: int | None) -> Rule:
    def fold(elements: Sequence[Element]) -> Element:
        if start == 1 and 0 in elements:
            return 0
        total: Element = start
        for x in elements:
            if x is None:
                return None
            total = x if total is None else fn(total, x)
            if total is None:
                return None
        return total

    def rule(node: Node, args: list[Array | None]) -> Sequence[Array | None] | None:
        x = args[0]
        if x is None:
            return None
        axes = node.attrs["axes"]
        gone = tuple(range(x.ndim)) if axes is None else axes
        kept = [i for i in range(x.ndim) if i not in gone]
        lead = tuple(x.shape[i] for i in kept)
        rows = x.transpose([*kept, *gone]).reshape(*lead, -1) if x.size else None
        if rows is None:
            return None
        out = _array([fold(list(r)) for r in rows.reshape(-1, rows.shape[-1])], lead)
        return [out.reshape([1 if i in gone else n for i, n in enumerate(x.shape)]) if node.attrs["keepdims"] else out]

    return rule


def _shape_of(node: Node, args: list[Array | None]) -> Sequence[Array | None] | None:
    v = node.inputs[0]
    return None if v is None or v.shape is None else [_array(v.shape[node.attrs["start"] : node.attrs["end"]])]


def _size_of(node: Node, args: list[Array | None]) -> Sequence[Array | None] | None:
    v = node.inputs[0]
    return None if v is None or v.shape is None else [_array([product(v.shape)], ())]


def _dim_value(node: Node, args: list[Array | None]) -> Sequence[Array | None]:
    return [_array([node.attrs["value"]], ())]


def _fill(node: Node, args: list[Array | None]) -> Sequence[Array | None] | None:
    shape = node.attrs["shape"] if node.op == "fill" else _ints(args[0])
    if shape is None or _has_dim(shape):
        return None
    sizes = tuple(int(n) for n in shape)
    value = node.attrs["value"]
    if min(sizes, default=0) < 0 or int(np.prod(sizes, dtype=np.float64)) > LIMIT or isinstance(value, complex):
        return None
    return [np.full(sizes, fraction(value) if isinstance(value, float) else int(value), object)]


def _range(node: Node, args: list[Array | None]) -> Sequence[Array | None] | None:
    ends = [a.reshape(-1)[0] for a in args if a is not None and a.size == 1]
    if len(ends) != 3 or not all(isinstance(e, int) for e in ends) or ends[2] == 0:
        return None
    r = range(ends[0], ends[1], ends[2])
    return [_array(list(r))] if len(r) <= LIMIT else None


def _clip(node: Node, args: list[Array | None]) -> Sequence[Array | None] | None:
    def limit(x: Element) -> Element:
        for bound, fn in ((node.attrs["min"], dim_max), (node.attrs["max"], dim_min)):
            if bound is not None and x is not None:
                x = pick(fn)(x, fraction(bound) if isinstance(bound, float) else bound)
        return x

    return _each(limit)(node, args)


def _nonzero(node: Node, args: list[Array | None]) -> Sequence[Array | None] | None:
    a = _ints(args[0])
    return None if a is None else [np.array(np.nonzero(a), np.int64).reshape(a.ndim, -1).astype(object)]


_BY_SHAPE = frozenset({_shape_of, _size_of, _dim_value})

RULES: dict[str, Rule] = {
    **{name: _each(fn) for name, fn in EACH.items()},
    "div": _div,
    "cast": _cast,
    "where": _where,
    "clip": _clip,
    "and": _boolean(0),
    "or": _boolean(1),
    "sum": _reduction(rational(operator.add), 0),
    "prod": _reduction(rational(operator.mul), 1),
    "max": _reduction(pick(dim_max), None),
    "min": _reduction(pick(dim_min), None),
    "all": _reduction(pick(dim_min), None),
    "any": _reduction(pick(dim_max), None),
    "shape_of": _shape_of,
    "size_of": _size_of,
    "dim_value": _dim_value,
    "fill": _fill,
    "dynamic_fill": _fill,
    "range": _range,
    "nonzero": _nonzero,
}


def _rule_of(op: str) -> Rule | None:
    """The rule of an op; those that only move elements have one by their declaration."""
    return RULES.get(op) or (_moved if Trait.MOVES in traits_of(op) else None)

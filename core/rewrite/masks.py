"""Masks of attention: which keys a query may look at, told by their values and not by how they are computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..interpreter.execute import FAILURES, evaluate_attr
from ..ir.dims import Dim, evaluate
from ..ir.dtypes import DType
from ..ir.graph import Node, Value
from ..opset import Trait, find_op, traits_of
from ..passes.search import Parts, every
from .kinds import moved

__all__ = ["always", "finite_sum", "lower", "narrows"]

Array = NDArray[Any]

_LENGTHS = ((5, 3), (11, 3), (7, 2))
"""Values given to sizes that are names: two lengths of a sequence, and two sizes of everything else."""

_MOST = 1 << 20
_HUGE = -1e9


def _run(v: Value, env: Mapping[str, int]) -> Array | None:
    """What a value holds where it depends on nothing but sizes; None where it depends on data, or cannot be computed."""
    known: dict[Value, Array | None] = {}
    order: list[Value] = []
    stack = [v]
    while stack:
        at = stack.pop()
        if at in order or len(order) > 200:
            if len(order) > 200:
                return None
            continue
        order.append(at)
        node = at.producer
        if at.tensor is None and node is None:
            return None
        if node is not None and at.tensor is None and Trait.OF_SHAPES not in traits_of(node.op):
            if node.regions or len(node.outputs) != 1:
                return None
            stack += [i for i in node.inputs if i is not None]
    try:
        return _value(v, env, known)
    except (*FAILURES, KeyError, InputError):  # InputError: an attribute is a size that the shapes do not name
        return None


def _value(v: Value, env: Mapping[str, int], known: dict[Value, Array | None]) -> Array | None:
    if v in known:
        return known[v]
    out: Array | None = None
    node = v.producer
    if v.tensor is not None:
        out = v.tensor.numpy() if v.tensor.size <= _MOST else None
    elif node is not None:
        decl = find_op(node.op)
        value = _blank if Trait.OF_SHAPES in traits_of(node.op) else _value
        args = [None if i is None else value(i, env, known) for i in node.inputs]
        known_all = not any(a is None and i is not None for a, i in zip(args, node.inputs))
        if decl is not None and decl.reference is not None and known_all:
            args += [None] * (len(decl.inputs) - len(args)) if not decl.inputs or not decl.inputs[-1].variadic else []
            out = np.asarray(decl.reference(*args, **{k: evaluate_attr(a, env) for k, a in node.attrs.items()}))
    known[v] = out
    return out


def _blank(v: Value, env: Mapping[str, int], known: object) -> Array | None:
    """An array of the shape of a value; None where that is not known."""
    if v.shape is None or v.dtype is None or None in v.shape:
        return None
    return np.broadcast_to(np.zeros((), v.dtype.numpy), [evaluate(n, env) for n in v.shape if n is not None])


def _names(v: Value, names: set[str], seen: set[Value]) -> None:
    if v in seen:
        return
    seen.add(v)
    for n in v.shape or ():
        if isinstance(n, Dim):
            names |= n.names
    node = v.producer
    if node is None or v.tensor is not None:
        return
    for x in node.inputs:
        if x is not None:
            if Trait.OF_SHAPES in traits_of(node.op):
                names |= {name for n in x.shape or () if isinstance(n, Dim) for name in n.names}
            else:
                _names(x, names, seen)


def _arrays(v: Value, rows: Any, columns: Any) -> list[Array] | None:
    """What a value holds for two lengths (or the one it has)."""
    names: set[str] = set()
    _names(v, names, set())
    for n in (rows, columns):
        if isinstance(n, Dim):
            names |= n.names
    lengths = {name for n in (rows, columns) if isinstance(n, Dim) for name in n.names}
    found = []
    for length, other in _LENGTHS[: 3 if names else 1]:
        order = sorted(names, key=lambda x: (x not in lengths, x))
        env = {name: length + i if name in lengths else other for i, name in enumerate(order)}
        a = _run(v, env)
        if a is None:
            return None
        want = [evaluate(n, env) if isinstance(n, (int, Dim)) else None for n in (rows, columns)]
        if a.ndim < 2 or [*a.shape[-2:]] != want or any(n != 1 and not np.all(a == a[:1]) for n in a.shape[:-2]):
            return None
        found.append(a.reshape(-1, *a.shape[-2:])[0] if all(n == 1 for n in a.shape[:-2]) else _first(a))
        if found[-1] is None:
            return None
    return found


def _first(a: Array) -> Any:
    """The last two axes, where all of them are the same."""
    flat = a.reshape(-1, *a.shape[-2:])
    return flat[0] if np.array_equal(flat, np.broadcast_to(flat[0], flat.shape), equal_nan=True) else None


def lower(v: Value, rows: Any, columns: Any, negated: bool) -> float | None:
    """What keys that are not seen have (-inf for a condition) where a mask keeps keys 0..i for query i and no others, else None.

    It is bool, or added (0, and -inf or a number below -1e9);
    ``negated``: it is true where a key is not seen.

    Evaluated for two lengths; a mask that has any other values there is not taken for one.
    """
    found = _arrays(v, rows, columns)
    if found is None:
        return None
    fills: set[float] = set()
    for a in found:
        keep: Array = np.tri(*a.shape) > 0
        if a.shape[0] < 2 and len(found) == 1:
            return None
        if v.dtype is DType.BOOL:
            if not np.array_equal(a, ~keep if negated else keep):
                return None
            fills.add(-math.inf)
        elif negated or not (np.all(a[keep] == 0) and np.all(a[~keep] <= _limit(v.dtype))):
            return None
        else:
            fills |= {float(n) for n in np.unique(a[~keep])}
    return fills.pop() if len(fills) == 1 else None


def _limit(dtype: DType | None) -> float:
    return -6e4 if dtype is DType.FLOAT16 else _HUGE


def always(v: Value, number: float) -> bool:
    """Whether a value holds one number whatever the data are."""

    def parts(v: Value) -> Parts:
        node = v.producer
        if v.tensor is not None or node is None:
            return v.tensor is not None and v.tensor.size <= _MOST and bool(np.all(v.tensor.numpy() == number))
        found = moved(node)
        return found if found is not None else node.op == "fill" and bool(node.attrs["value"] == number)

    return every(v, parts)


def _parts(node: Node) -> list[Value] | None:
    """What the elements of the result are elements of."""
    return [node.need("table")] if node.op == "embedding" else moved(node)


def _finite(v: Value) -> Parts:
    """Whether no element can be infinite or NaN, whatever the data are: constants, choices between them, and sums of such."""
    node = v.producer
    if v.tensor is not None or node is None:
        return v.tensor is not None and v.tensor.size <= _MOST and v.tensor.dtype.is_float and _all_finite(v.tensor.numpy())
    if node.op == "where":
        return node.inputs[1:]
    if node.op == "cast":
        x = node.need("x")
        return x.dtype is DType.BOOL or (_holds(node.attrs["to"], x.dtype) and [x])
    if node.op == "add":
        return _small(node.inputs) and node.inputs
    parts = _parts(node)
    return parts if parts is not None else node.op == "fill" and _all_finite(node.attrs["value"])


def _holds(new: DType, old: DType | None) -> bool:
    """Whether every finite number of one type of numbers is finite in another (float32's lowest is none of bfloat16's)."""
    return old is not None and old.is_float and new.is_float and new.limits[1] >= old.limits[1]


def narrows(v: Value, dtype: DType, *, several: bool) -> bool:
    """Whether all that a value may hold are numbers of a narrower type, too: choices between constants that are (0, -inf).
    ``several``: sums with other such values are as well, as those of 0 and -inf."""

    def parts(v: Value) -> Parts:
        node = v.producer
        if v.tensor is not None or node is None:
            return v.tensor is not None and v.tensor.size <= _MOST and v.tensor.dtype.is_float and kept(v.tensor.numpy())
        if node.op == "where":
            return node.inputs[1:]
        if node.op == "cast":
            x = node.need("x")
            return not several and (x.dtype is DType.BOOL or x.dtype is dtype)
        found = moved(node)
        return found if found is not None else node.op == "fill" and kept(np.float64(node.attrs["value"]))

    def kept(a: Any) -> bool:
        with np.errstate(over="ignore"):
            same = np.array_equal(a.astype(dtype.numpy).astype(np.float64), a.astype(np.float64))
        return same and (not several or bool(np.all((a == 0) | (a == -np.inf))))

    return v.dtype is dtype or every(v, parts)


def _all_finite(a: Any) -> bool:
    return bool(np.all(np.isfinite(a)))


def finite_sum(values: Sequence[Value]) -> bool:
    """Whether a sum of values can neither be infinite nor NaN (two of the lowest number are)."""
    return all(every(v, _finite) for v in values) and _small(values)


def _small(values: Any) -> bool:
    """Whether at most one addend may be near the end of the range: a second one does not carry it over, being small."""
    return sum(not every(v, _bounded) for v in values if v is not None) <= 1


def _bounded(v: Value) -> Parts:
    """Whether its constants are below 1e4 in size (a sum with the largest number of the dtype rounds to that)."""
    if v.tensor is not None:
        return v.tensor.size <= _MOST and bool(np.all(np.abs(v.tensor.numpy()) < 1e4)) and v.dtype is DType.FLOAT32
    parts = None if v.producer is None else _parts(v.producer)
    return False if parts is None else parts

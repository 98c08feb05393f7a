"""Seeded example inputs for verification: of sizes the graph accepts, integers that mean what the graph takes them for.

What an integer input is (an index, a length, a shape, a count) is read from the ops that use it. Sizes are found by trying: the
first choice on which the graph runs and gives outputs that hold something.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .budget import AXES
from .errors import ConvcoreError, InputError, ShapeError
from .interpreter.execute import TooLargeError
from .ir.dims import Dim
from .ir.dtypes import DType
from .ir.graph import Graph, Node, Value
from .opset import Role, Trait, find_op, op, traits_of

__all__ = ["SampleError", "candidates", "example_inputs", "integer_bound"]

Array = NDArray[Any]
Sizes = Mapping[str, int]
_MOST = 1 << 28
"""Elements that one input may have at all."""
_ELEMENTS = 1 << 22
"""Elements that all inputs together may have when larger sizes are tried."""


class SampleError(InputError):
    """No inputs could be made up on which the model runs: give some (``--input``, ``example_inputs=``)."""


# ---------------------------------------------------------------- what integers mean
def _size(v: Value | None, axis: int, sizes: Sizes) -> int | None:
    """The size of an axis where it is known, or follows from ``sizes``."""
    if v is None or v.shape is None or not -len(v.shape) <= axis < len(v.shape):
        return None
    d = v.shape[axis]
    if isinstance(d, Dim):
        return d.evaluate(sizes) if d.names <= sizes.keys() else None
    return sizes.get(f"{v.name}.{axis % len(v.shape)}") if d is None else d


def _uses(v: Value) -> Iterator[tuple[Node, str]]:
    """The nodes that take the value, or what ops that only move values make of it, with the name of the argument."""
    seen: set[int] = set()
    stack = [v]
    while stack:
        x = stack.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        for node, i in x.uses:
            declared = find_op(node.op)
            if node.op == "cast" or (Trait.MOVES in traits_of(node.op) and op(node.op).role(i) is Role.DATA):
                stack += node.outputs
            elif declared is not None and declared.inputs:
                yield node, declared.inputs[min(i, len(declared.inputs) - 1)].name


def _indexed(node: Node, arg: str, sizes: Sizes) -> int | None:
    """How many positions an index into something chooses from; None for what is no index, or where it is not known."""
    x = node.inputs[0]
    if node.op == "embedding" and arg == "ids":
        return _size(node.inputs[1], 0, sizes)
    if node.op == "one_hot" and arg == "ids":
        depth = node.attrs.get("depth")
        return depth if isinstance(depth, int) else None
    if arg != "indices" or node.op == "max_unpool":
        return None
    if node.op in ("gather_nd", "scatter_nd"):
        first = node.attrs.get("batch_dims", 0)
        depth = _size(node.inputs[1], -1, sizes)
        found = [_size(x, a, sizes) for a in range(first, first + (depth or 0))]
        known = [n for n in found if n is not None]
        return min(known) if known else None
    axis = node.attrs.get("axis")  # an op of a plugin may have none
    return _size(x, axis, sizes) if isinstance(axis, int) else None


def _steps(node: Node, arg: str, sizes: Sizes) -> int | None:
    """The length of the time axis that a length counts along."""
    if arg != "lengths":
        return None
    default = 0 if node.attrs.get("layout") == "time_major" else 1
    return _size(node.inputs[0], node.attrs.get("time_axis", default), sizes)


def integer_bound(v: Value, sizes: Sizes | None = None) -> int:
    """One more than the largest integer that input may hold: the smallest table it indexes, else 10."""
    found = [n for node, arg in _uses(v) if (n := _indexed(node, arg, sizes or {})) is not None]
    return min(found, default=10) or 10


def _shape_values(node: Node, count: int, sizes: Sizes) -> list[int] | None:
    """``count`` sizes that the op can reshape, expand or fill its data to."""
    if node.op == "dynamic_fill":
        return [3] * count
    x = node.inputs[0]
    known = [_size(x, a, sizes) for a in range(x.rank or 0)] if x is not None else []
    have = [n for n in known if n is not None]
    if len(have) != len(known):
        return None
    if node.op == "dynamic_expand":
        return [*[2] * (count - len(have)), *have][-count:] if count >= len(have) else None
    lead = len(have) - count + 1
    return [*have, *[1] * (count - len(have))] if lead <= 1 else [math.prod(have[:lead]), *have[lead:]]


_FIXED = {
    "dynamic_slice.starts": 0, "dynamic_slice.stops": 1 << 30, "dynamic_slice.steps": 1, "range.start": 0, "range.limit": 5,
    "range.delta": 1, "loop.trip_count": 3,
}  # fmt: skip
"""Values of arguments that stand for a place or a count."""


def _integers(v: Value, shape: tuple[int, ...], sizes: Sizes, rng: np.random.Generator, plain: bool) -> Array:
    """Integers that fit all uses of an input; ``plain`` takes 1 where nothing says what it is."""
    dtype = np.int64 if v.dtype is None else v.dtype.numpy
    most = int((v.dtype or DType.INT64).limits[1])
    bound: int | None = None
    for node, arg in _uses(v):
        if (steps := _steps(node, arg, sizes)) is not None:
            return rng.integers(1, max(2, steps + 1), shape).clip(0, steps).astype(dtype)
        if arg == "shape" and len(shape) == 1:
            wanted = _shape_values(node, shape[0], sizes)
            if wanted is not None:
                return np.asarray(wanted, dtype)
        if (fixed := _FIXED.get(f"{node.op}.{arg}")) is not None:
            return np.full(shape, min(fixed, most), dtype)
        n = _indexed(node, arg, sizes)
        if n is not None:
            bound = n if bound is None else min(bound, n)
    if bound is None and plain:
        return np.ones(shape, dtype)
    return rng.integers(0, min(10 if bound is None else max(bound, 1), most), shape).astype(dtype)


def example_inputs(
    graph: Graph, sizes: Mapping[str, int], seed: int = 0, low: float = 0.0, *, plain: bool = False
) -> list[Array]:
    """Arrays for every input with symbolic sizes bound by ``sizes``: floats in [low, 1), integers in range, fair bools."""
    rng = np.random.default_rng(seed)
    out: list[Array] = []
    for v in graph.inputs:
        shape = _shape(v, sizes)
        dtype = v.dtype or DType.FLOAT32
        if len(shape) > AXES or math.prod(shape) > _MOST or min(shape, default=0) < 0:
            raise SampleError(f"input {v.name!r} would have {len(shape)} axes and {math.prod(shape):,} elements")
        if dtype is DType.BOOL:
            out.append(np.asarray(rng.random(shape) < 0.5))
        elif dtype.is_int:
            out.append(np.asarray(_integers(v, shape, sizes, rng, plain)))
        elif dtype.is_float:
            out.append(np.asarray(rng.uniform(low, 1.0, shape)).astype(dtype.numpy))
        else:
            raise SampleError(f"cannot make example values of dtype {dtype} for input {v.name!r}")
    return out


def _shape(v: Value, sizes: Mapping[str, int]) -> tuple[int, ...]:
    if v.shape is None:
        raise SampleError(f"input {v.name!r} has no known number of axes")
    return tuple(
        d.evaluate(sizes) if isinstance(d, Dim) else sizes.get(f"{v.name}.{i}", sizes.get("?", 7)) if d is None else d
        for i, d in enumerate(v.shape)
    )


# ---------------------------------------------------------------- sizes
def _names(graph: Graph) -> tuple[list[str], list[str]]:
    """Names of the symbolic sizes of first axes, and of the others; an axis without a name is ``<input>.<axis>``."""
    batch: list[str] = []
    rest: list[str] = []
    for v in graph.inputs:
        for i, d in enumerate(v.shape or ()):
            names = sorted(d.names) if isinstance(d, Dim) else [f"{v.name}.{i}"] if d is None else []
            (batch if i == 0 else rest).extend(names)
    return list(dict.fromkeys(batch)), list(dict.fromkeys(n for n in rest if n not in batch))


def size_choices(graph: Graph) -> Iterator[dict[str, int]]:
    """Bindings of the symbolic sizes to try, most modest first: the first axes 1, the others all 7, 32, 64 or 224; then, where
    there are few, each of its own; then what long windows, frames and crops need, as long as all inputs stay small."""
    batch, rest = _names(graph)
    first = dict.fromkeys(batch, 1)
    if not rest:
        yield first
        if len(batch) > 1:
            yield from (dict(zip(batch, n)) for n in itertools.product((1, 2, 7), repeat=min(len(batch), 3)) if len(batch) <= 3)
        yield from (dict.fromkeys(batch, n) for n in (2, 3, 4, 5, 6, 7, 8, 16, 32))  # a batch that is fixed inside
        return
    for n in (7, 32, 64, 224):
        yield {**first, **dict.fromkeys(rest, n)}
    every = [*batch, *rest]
    if len(every) <= 4:
        yield from (dict(zip(every, n)) for n in itertools.product((1, 2, 64), repeat=len(every)))
        yield from (dict(zip(every, n)) for n in itertools.product((1, 256), repeat=len(every)))
    for n in (416, 1009, 4001, 16001, 48017):
        sizes = {**first, **dict.fromkeys(rest, n)}
        if sum(math.prod(_shape(v, sizes)) for v in graph.inputs if v.shape is not None) <= _ELEMENTS:
            yield sizes


def candidates(
    graph: Graph, run: Callable[[list[Array]], list[Array]], seed: int = 0, fixed: Mapping[str, int] | None = None
) -> Iterator[tuple[list[list[Array]], list[list[Array]]]]:
    """One or two sets of inputs on which ``run(inputs) -> outputs`` succeeds, with the outputs; then others.

    The second set has another batch size where the batch is symbolic and the model takes it, and values of both signs: what only
    happens below zero would not show otherwise. ``fixed`` gives symbolic sizes that must have one value. SampleError quoting
    the last failure where nothing was found.
    """
    last: ConvcoreError | None = None
    empty: tuple[list[list[Array]], list[list[Array]]] | None = None
    fixed = fixed or {}
    found = False
    integers = any(v.dtype is not None and v.dtype.is_int for v in graph.inputs)
    for plain, sizes in itertools.product((False, True) if integers else (False,), list(size_choices(graph))):
        sizes.update(fixed)
        try:
            first = example_inputs(graph, sizes, seed, plain=plain)
            results = [run(first)]
        except TooLargeError:  # whatever the inputs
            raise
        except (InputError, ShapeError) as e:
            last = e
            continue
        if any(np.asarray(y).size == 0 for y in results[0]):
            empty = empty or ([first], results)
            continue
        found = True
        batch = {n for v in graph.inputs if v.shape and isinstance(v.shape[0], Dim) for n in v.shape[0].names} - fixed.keys()
        for other in (dict.fromkeys(batch, 2), {}) if batch else ({},):
            try:
                second = example_inputs(graph, {**sizes, **other}, seed + 1, -1.0, plain=plain)
                results.append(run(second))
            except (
                InputError,
                ShapeError,
            ):  # a batch fixed inside, or no values below zero: the first set stands alone
                continue
            yield [first, second], results
            break
        else:
            yield [first], results
    if not found and empty is not None:
        yield empty
    elif not found:
        raise SampleError(str(last or "no example inputs could be made up")) from last

"""Seeded example inputs for verification: in range for embeddings, of sizes the graph accepts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ConvcoreError, InputError
from .ir.dims import Dim
from .ir.dtypes import DType
from .ir.graph import Graph, Value
from .opset import Role, Trait, op, traits_of

__all__ = ["example_inputs", "integer_bound"]

Array = NDArray[Any]


def integer_bound(v: Value) -> int:
    """One more than the largest integer that input may hold: the smallest table it indexes, else 10."""
    best, seen, stack = None, set(), [v]
    while stack:
        x = stack.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        for node, i in x.uses:
            table: Value | None = None
            if node.op == "embedding" and i == 0:
                table = node.inputs[1]
            elif node.op == "gather" and i == 1:
                table = node.inputs[0]
            if table is not None and table.shape:
                axis = node.attrs.get("axis", 0)
                size = table.shape[axis]
                if isinstance(size, int):
                    best = size if best is None else min(best, size)
            elif node.op == "one_hot" and i == 0 and isinstance(node.attrs.get("depth"), int):
                best = node.attrs["depth"] if best is None else min(best, node.attrs["depth"])
            elif node.op == "cast" or (Trait.MOVES in traits_of(node.op) and op(node.op).role(i) is Role.DATA):
                stack += node.outputs
    return best or 10


def example_inputs(graph: Graph, sizes: Mapping[str, int], seed: int = 0, low: float = 0.0) -> list[Array]:
    """Arrays for every input with symbolic sizes bound by ``sizes``: floats in [low, 1), integers in range, fair bools."""
    rng = np.random.default_rng(seed)
    out: list[Array] = []
    for v in graph.inputs:
        if v.shape is None:
            raise InputError(f"input {v.name!r} has no known number of axes: pass example_inputs")
        shape = []
        for i, d in enumerate(v.shape):
            if isinstance(d, Dim):
                shape.append(d.evaluate(sizes))
            elif d is None:
                shape.append(sizes.get(f"{v.name}.{i}", sizes.get("?", 7)))
            else:
                shape.append(d)
        dtype = v.dtype or DType.FLOAT32
        if dtype is DType.BOOL:
            out.append(rng.random(shape) < 0.5)
        elif dtype.is_int:
            out.append(rng.integers(0, min(integer_bound(v), np.iinfo(dtype.numpy).max), shape).astype(dtype.numpy))
        elif dtype.is_float:
            out.append(rng.uniform(low, 1.0, shape).astype(dtype.numpy))
        else:
            raise InputError(f"cannot make example values of dtype {dtype} for input {v.name!r}: pass example_inputs")
    return out


def size_choices(graph: Graph) -> Iterator[dict[str, int]]:
    """Bindings of the symbolic sizes to try, most modest first: the first axis 1 then 2, others 7, 32, 64, 224."""
    names: list[str] = []
    batch: set[str] = set()
    unknown: list[str] = []
    for v in graph.inputs:
        for i, d in enumerate(v.shape or ()):
            if isinstance(d, Dim):
                names += [n for n in sorted(d.names) if n not in names]
                if i == 0:
                    batch |= d.names
            elif d is None:
                unknown.append(f"{v.name}.{i}")
    rest = [n for n in names if n not in batch]
    for other in (7, 32, 64, 224) if rest or unknown else (1,):
        yield {**dict.fromkeys(batch, 1), **dict.fromkeys(rest, other), **dict.fromkeys(unknown, other)}


def working_inputs(
    graph: Graph, run: Any, seed: int = 0, fixed: Mapping[str, int] | None = None
) -> tuple[list[list[Array]], list[list[Array]]]:
    """Two sets of inputs on which ``run(inputs) -> outputs`` succeeds, and the outputs.

    The second has another batch size where the batch is symbolic, and values of both signs: what only happens below zero would
    not show otherwise. ``fixed`` gives symbolic sizes that must have one value.
    """
    last: ConvcoreError | None = None
    fixed = fixed or {}
    for sizes in size_choices(graph):
        sizes.update(fixed)
        try:
            first = example_inputs(graph, sizes, seed)
            results = [run(first)]
        except (InputError, ConvcoreError) as e:
            last = e
            continue
        batch = {n for v in graph.inputs if v.shape and isinstance(v.shape[0], Dim) for n in v.shape[0].names} - fixed.keys()
        second = example_inputs(graph, {**sizes, **dict.fromkeys(batch, 2)}, seed + 1, -1.0)
        results.append(run(second))
        return [first, second], results
    if last is None:
        raise InputError("no example inputs could be made: pass example_inputs")
    raise last

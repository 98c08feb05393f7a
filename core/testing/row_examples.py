"""Examples for rows, made from the samples of their ops: IR nodes that a row may express."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..build.builder import Builder
from ..errors import DeclarationError, ShapeError
from ..ir.dtypes import DType, type_of
from ..ir.graph import Graph, Node, Value
from ..ir.tensors import as_tensor
from ..opset.declare import REQUIRED, Attr, Sample
from ..rules.foreign import MISSING
from ..rules.isomorphisms import NotExpressible
from ..rules.rows import A, Given, I, Last, Rest, Row, Size, W

__all__ = ["sample_nodes"]

Attrs = dict[str, Any]


def sample_nodes(row: Row) -> Iterator[tuple[Graph, Node]]:
    """IR nodes the row may express: the op's samples with the row's fixed values, and each mapped attribute varied."""
    decl = row.decl
    mapped = {k: v for k, v in row.mapping.items() if k in decl.attrs and not isinstance(v, (Size, Given))}
    sized = {attr for v in row.mapping.values() if isinstance(v, W) for _, attr in v.sizes}
    seen: set[Any] = set()
    samples = [s for sample in decl.samples for s in (sample, *_other_ranks(row, sample))]
    for sample in samples:
        inputs = tuple(_kind_of(a) for a in sample.arrays())
        base: Attrs = {}
        for key, attr in decl.attrs.items():
            source = mapped.get(key, MISSING)
            if source is MISSING:
                if key in sized and key in sample.attrs:
                    base[key] = sample.attrs[key]
                elif attr.default is not REQUIRED:
                    base[key] = attr.default
            elif isinstance(source, (A, I)) or (isinstance(source, tuple) and any(isinstance(p, A) for p in source)):
                if key in sample.attrs:
                    base[key] = sample.attrs[key]
            elif isinstance(source, Last):
                base[key] = sample.attrs.get(key, ())
            elif isinstance(source, Rest):
                base[key] = tuple(range(0 if isinstance(source.start, A) else source.start, _rank(sample)))
            else:
                base[key] = source
        for attrs in (base, *_variations(row, mapped, sample, base)):
            for drop in (False, True):
                case = (inputs, drop, *sorted((k, repr(v)) for k, v in attrs.items()))
                if case in seen:
                    continue
                seen.add(case)
                made = _build(row, sample, attrs, drop)
                if made is not None:
                    yield made


def _kind_of(a: NDArray[Any] | None) -> Any:
    """What makes an input another example: of fractions the shape, of indices and the like the elements."""
    return None if a is None else (a.shape, a.dtype.str, b"" if a.dtype.kind == "f" else a.tobytes())


def _variations(row: Row, mapped: Mapping[str, Any], sample: Sample, base: Attrs) -> Iterator[Attrs]:
    rank = _rank(sample)
    for key, source in mapped.items():
        if isinstance(source, Rest) and isinstance(source.start, A):
            for i in range(1, rank):
                yield {**base, key: tuple(range(i, rank))}
        if not isinstance(source, (A, I)):
            continue
        values = [*_table(source), *_of_kind(row.decl.attrs[key], rank)]
        if isinstance(base.get(key), tuple) and row.decl.attrs[key].kind == "ints":
            values.append(tuple(base[key][0] for _ in base[key]))
        if source.default is not MISSING:
            with suppress(NotExpressible):
                values.append(None if source.default is None else source.iso.load(source.default))
        for v in values:
            yield {**base, key: v}


def _rank(sample: Sample) -> int:
    return max([0, *(a.ndim for a in sample.arrays() if a is not None)])


_SIZES = (2, 3, 11, 13, 7)


def _other_ranks(row: Row, sample: Sample) -> Iterator[Sample]:
    """A sample with one to five axes of its first input, where all others are vectors along one of the first two; per-axis and
    per-spatial-axis attributes grow or shrink with them."""
    first, *others = sample.arrays() or [None]
    if first is None or not first.ndim or any(a is not None and a.ndim > 1 for a in others) or type_of(first).is_container:
        return
    old, dtype = first.ndim, type_of(first)
    for rank in range(min(2, old) if others else 1, 6):
        if rank == old:
            continue
        shape = (*first.shape[:2], *_SIZES[2:])[:rank] if others else _SIZES[:rank]
        attrs: Attrs = {}
        for key, v in sample.attrs.items():
            if isinstance(v, tuple) and len(v) in (old, old - 2) and row.decl.attrs[key].kind not in ("axes", "perm"):
                n = max(1, rank - (old - len(v)))
                v = tuple(v[i % len(v)] for i in range(n)) if v else v
            attrs[key] = v
        yield Sample(np.resize(first, shape) if dtype is DType.STRING else (str(dtype), shape), *others, **attrs)


def _table(source: A | I) -> list[Any]:
    """The values of an enum's table."""
    return list(source.iso.args[0].values()) if source.iso.name == "enum" else []


_KINDS: dict[str, Callable[[int], list[Any]]] = {
    "int": lambda rank: [2, 3],
    "dim": lambda rank: [2, 3],
    "float": lambda rank: [0.375, 1.5],
    "bool": lambda rank: [True, False],
    "axis": lambda rank: list(range(rank)),
    "axes": lambda rank: [(i,) for i in range(rank)],
    "pads": lambda rank: ["same_upper", "same_lower", *(((0, 0),) * n for n in (1, 2, 3))],
    "pairs": lambda rank: [
        ((0, 0), *((1, 2),) * (rank - 2), (0, 0)),
        ((0, 0), (0, 0), *((2, 1),) * (rank - 2)),
    ],
    "dtype": lambda rank: [DType.FLOAT32, DType.INT32, DType.INT64, DType.BOOL],
}


def _of_kind(attr: Attr, rank: int) -> list[Any]:
    if attr.choices:
        return list(attr.choices)
    values = _KINDS.get(attr.kind)
    return [] if values is None else values(rank)


def _build(row: Row, sample: Sample, attrs: Attrs, drop: bool) -> tuple[Graph, Node] | None:
    """A node with the sample's inputs (with ``drop``, optional ones the row does not map or may leave out are left out)."""
    decl = row.decl
    graph = Graph("row")
    b = Builder(graph)
    given = {ours.rstrip("*") for _, ours in row.inputs}
    ins: list[Value | None] = []
    own = graph.metadata["sample"] = {}
    for i, a in enumerate(sample.arrays()):
        arg = decl.inputs[min(i, len(decl.inputs) - 1)]
        weight = row.mapping.get(arg.name)
        unmapped = arg.name not in given and not isinstance(weight, W)
        if a is None or (arg.optional and (unmapped or (drop and (not isinstance(weight, W) or weight.optional)))):
            ins.append(None)
        elif isinstance(weight, W):
            ins.append(b.weight(as_tensor(a), arg.name))
        else:
            dtype = type_of(a)
            ins.append(b.input(f"x{i}", dtype, None if dtype.is_container else a.shape))
            if a.dtype.kind != "f":
                own[f"x{i}"] = a
    try:
        node = b.node(row.op_name, ins, attrs)
    except (ShapeError, DeclarationError):
        return None
    graph.outputs = list(node.outputs)
    return graph, node

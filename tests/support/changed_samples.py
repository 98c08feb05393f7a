"""Samples of ops changed in one place: another shape, type or attribute, one input less or more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcore.build.builder import Builder
from convcore.ir.dtypes import type_of
from convcore.ir.graph import Graph, Node, Value
from convcore.opset.declare import Op, Sample

Array = NDArray[Any]
What = tuple[Any, ...]
TYPES = ("float32", "int64", "bool", "uint8", "float16", "complex64", "int8", "int32", "float64", "uint16")


@dataclass
class Changed:
    """What was changed, and the arrays and attributes that this gives."""

    what: What
    arrays: list[Array | None]
    attrs: dict[str, Any]

    def build(self, decl: Op) -> tuple[Node, list[Array]]:
        """The node over inputs of the arrays' shapes, and what to feed; ShapeError where the op refuses them."""
        g = Graph(decl.name)
        b = Builder(g)
        ins: list[Value | None] = []
        for i, a in enumerate(self.arrays):
            name = decl.inputs[min(i, len(decl.inputs) - 1)].name if decl.inputs else "x"
            t = None if a is None else type_of(a)
            ins.append(None if a is None or t is None else b.input(name, t, None if t.is_container else a.shape))
        node = b.node(decl.name, ins, self.attrs)
        g.outputs = list(node.outputs)
        return node, [a for a in self.arrays if a is not None]


def changes(decl: Op, sample: Sample) -> Iterator[Changed]:
    """Every change of :func:`change` that makes sense of this sample."""
    arrays = sample.arrays()
    for i, a in enumerate(arrays):
        if a is None or (a.dtype == object and a.size and isinstance(a.reshape(-1)[0], np.ndarray)):
            continue
        yield change(decl, sample, ("drop", i))
        shapes = {
            (*a.shape, 2),
            (1, *a.shape),
            (*a.shape, 1),
            a.shape[:-1],
            a.shape[1:],
            (),
            (3,),
            a.shape[::-1],
            (2,),
            (2, 2, 2),
        }
        for k in range(a.ndim):
            shapes |= {(*a.shape[:k], n, *a.shape[k + 1 :]) for n in (a.shape[k] + 1, 0)}
        for s in sorted(shapes - {a.shape}):
            yield change(decl, sample, ("shape", i, list(s)))
        for t in TYPES:
            if a.dtype != object and str(a.dtype) != t:
                yield change(decl, sample, ("type", i, t))
    yield change(decl, sample, ("more",))
    for name, attr in decl.attrs.items():
        now = sample.attrs.get(name, attr.default)
        for v in [*_values(now), *(c for c in attr.choices if c != now)]:
            yield change(decl, sample, ("attr", name, v))
        if name in sample.attrs:
            yield change(decl, sample, ("without", name))


def change(decl: Op, sample: Sample, what: Sequence[Any]) -> Changed:
    """One change by its description."""
    arrays, attrs = sample.arrays(), dict[str, Any](sample.attrs)
    kind = what[0]
    if kind == "drop":
        arrays[what[1]] = None
    elif kind == "shape":
        a = arrays[what[1]]
        assert a is not None
        arrays[what[1]] = np.full(what[2], "", object) if a.dtype == object else np.zeros(what[2], a.dtype)
    elif kind == "type":
        a = arrays[what[1]]
        assert a is not None
        arrays[what[1]] = a.astype(what[2])
    elif kind == "more":
        arrays.append(np.zeros(3, np.float32))
    elif kind == "attr":
        attrs[what[1]] = _tuples(what[2])
    else:
        del attrs[what[1]]
    return Changed(tuple(what), arrays, attrs)


def _tuples(v: Any) -> Any:
    return tuple(map(_tuples, v)) if isinstance(v, (list, tuple)) else v


def _values(v: Any) -> list[Any]:
    """Other values of about that kind, and of others."""
    if isinstance(v, bool):
        return [not v, 1, "x"]
    if isinstance(v, int):
        return [0, -1, -9, 99, v + 1, v - 1, 2 * v, 1, "x", 0.5, (v,)]
    if isinstance(v, float):
        return [0.0, -1.0, float("nan"), float("inf"), "x", 1.0, 2.0]
    if isinstance(v, str):
        return ["x", 1, "", v + "x", ("x",)]
    if isinstance(v, (tuple, list)):
        out: list[Any] = [(), (*v, *v[-1:]), tuple(v[:-1]), tuple(v[::-1]), "x", 1]
        for i, x in enumerate(v):
            out += [(*v[:i], n, *v[i + 1 :]) for n in _values(x)[:8]]
        return [*out, (v[0],) * len(v)] if len(v) > 1 else out
    if v is None:
        return [0, -1, 99, 1, 2, (1,), (0, 0), (1, 1), (0,), 1.0, True, "x", (2, 3, 5)]
    return []

"""What the tests of the writer share."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from convcore.build.builder import Builder
from convcore.hookspecs import EmitRequest
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Origin
from convcore_pytorch.emit import emit

PARAMETERS = {"w", "r", "b", "rb", "dw", "pw", "scale", "bias", "mean", "var", "table", "slope", "peephole"}


def emit_model(graph: Any, out: Any = None, **options: Any) -> Any:
    """What writing a graph gave."""
    return emit(EmitRequest(graph, out, options))


def sample_graph(name: str, decl: Any, sample: Any, batch: bool) -> tuple[Graph, list[Any]]:
    """One op as a graph: parameters are weights, the rest inputs; the first axis of the first is symbolic with ``batch``."""
    g = Graph(name)
    b = Builder(g, origin=Origin("test", name, name))
    values, feeds = [], []
    for i, a in enumerate(sample.arrays()):
        if a is None:
            values.append(None)
            continue
        arg = decl.inputs[min(i, len(decl.inputs) - 1)]
        if arg.name in PARAMETERS:
            values.append(b.weight(a, arg.name))
            continue
        shape: list[Any] = list(a.shape)
        if batch and shape and i == 0:
            shape[0] = Dim("N")
        values.append(b.input(f"in{i}", DType.of(a.dtype), tuple(shape)))
        feeds.append(a)
    out = b.op(name, *values, **sample.attrs)
    g.outputs = list(out) if isinstance(out, tuple) else [out]
    return g, feeds


@dataclass
class Summary:
    """What became of many cases, by outcome; ``detail`` names the case and the reason."""

    counts: Counter[str] = field(default_factory=Counter)
    detail: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def add(self, outcome: str, name: str, why: str = "") -> None:
        self.counts[outcome] += 1
        self.detail.setdefault(outcome, []).append((name, why))

    def __str__(self) -> str:
        return ", ".join(f"{n} {k}" for k, n in sorted(self.counts.items()))


def same(got: Any, want: Any, rtol: float, atol: float) -> str:
    """Why two arrays differ; "" when they agree in dtype, shape and value."""
    want = np.asarray(want)
    if got.dtype != want.dtype:
        return f"dtype {got.dtype}, not {want.dtype}"
    if got.shape != want.shape:
        return f"shape {got.shape}, not {want.shape}"
    if want.dtype.kind not in "fc" and want.dtype.name != "bfloat16":
        return "" if (got == want).all() else f"values differ in {int((got != want).sum())} of {want.size} places"
    a, b = (x.astype(np.float64) for x in (got, want))
    ok = np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=True)
    return "" if ok.all() else f"values differ by {np.nanmax(np.abs(a - b))}"

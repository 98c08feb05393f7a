"""The samples of ops as models, for sweeps over all of them: what every writer's tests share."""

from __future__ import annotations

from collections import Counter
from dataclasses import field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..build.builder import Builder
from ..ir.dims import Dim
from ..ir.dtypes import type_of
from ..ir.graph import Graph, Origin
from ..opset import Op, Sample
from ..records import dataclass

__all__ = ["Summary", "same", "sample_graph"]

PARAMETERS = {"w", "r", "b", "rb", "dw", "pw", "scale", "bias", "mean", "var", "table", "slope", "peephole"}
"""Inputs that are given as weights."""


def sample_graph(decl: Op, sample: Sample, batch: bool) -> tuple[Graph, list[NDArray[Any]]]:
    """One op as a graph: parameters are weights, the rest inputs; the first axis of the first is symbolic with ``batch``."""
    g = Graph(decl.name)
    b = Builder(g, origin=Origin("test", decl.name, decl.name))
    values: list[Any] = []
    feeds: list[NDArray[Any]] = []
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
        dtype = type_of(a)
        values.append(b.input(f"in{i}", dtype, None if dtype.is_container else tuple(shape)))
        feeds.append(a)
    out = b.op(decl.name, *values, **sample.attrs)
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


def _holds(a: NDArray[Any]) -> bool:
    """Whether it is a sequence of tensors."""
    return any(isinstance(x, np.ndarray) for x in a)


def same(got: Any, want: Any, rtol: float, atol: float) -> str:
    """Why two arrays differ; "" when they agree in dtype, shape and value."""
    if isinstance(want, list) or (isinstance(want, np.ndarray) and want.dtype == object and want.ndim == 1 and _holds(want)):
        if len(got) != len(want):
            return f"{len(got)} elements, not {len(want)}"
        return next((w for w in (same(np.asarray(a), b, rtol, atol) for a, b in zip(got, want)) if w), "")
    if isinstance(want, np.ndarray) and want.dtype == object and want.ndim == 0 and not isinstance(want.item(), str):
        held = got.item() if isinstance(got, np.ndarray) and got.dtype == object else got
        return (
            same(held, want.item(), rtol, atol)
            if held is not None and want.item() is not None
            else ""
            if held is want.item()
            else "absent"
        )
    want = np.asarray(want)
    if got.dtype != want.dtype and not (want.dtype.kind in "OSU" and got.dtype.kind in "OSU"):
        return f"dtype {got.dtype}, not {want.dtype}"
    if got.shape != want.shape:
        return f"shape {got.shape}, not {want.shape}"
    if want.dtype.kind in "OSU":
        return "" if (got == want).all() else "strings differ"
    if want.dtype.kind == "V" and want.dtype.itemsize == 1:  # types that numpy lacks: exactly
        return "" if np.array_equal(got.astype(np.float64), want.astype(np.float64), equal_nan=True) else "values differ"
    if want.dtype.kind not in "fc" and want.dtype.name != "bfloat16":
        return "" if (got == want).all() else f"values differ in {int((got != want).sum())} of {want.size} places"
    a, b = (x.astype(np.complex128 if want.dtype.kind == "c" else np.float64) for x in (got, want))
    ok = np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=True)
    return "" if ok.all() else f"values differ by {np.nanmax(np.abs(a - b))}"

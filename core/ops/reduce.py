"""Reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .axes import Axes
from .declare import Attr, AxesAttr, OpSet, Sample
from .shapes import reduced

REDUCE = OpSet("reduce")

_ATTRS = {"axes": AxesAttr(None, "axes to reduce; None: all", optional=True), "keepdims": Attr("bool", False)}


def _reduction(name: str, fn: Callable[..., Any], doc: str, types: str = "number") -> None:
    def reference(x: np.ndarray, axes: Any, keepdims: bool) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(fn(x, axis=axes, keepdims=keepdims), x.dtype)

    kind = "bool" if types == "bool" else "float32"
    REDUCE.op(
        name, f"x:{types}", doc, attrs=_ATTRS, reference=reference, axes=Axes(),
        infer=lambda c: [(c.dtype("x"), reduced(c.shape("x"), c["axes"], c["keepdims"]))],
        samples=[
            Sample((kind, (2, 3, 5)), axes=(1,)), Sample((kind, (2, 3, 5)), axes=(-1, 0), keepdims=True), Sample((kind, (2, 3, 5))),
        ],
    )  # fmt: skip


for _name, _fn, _doc in [
    ("sum", np.sum, "Sum."),
    ("mean", np.mean, "Arithmetic mean."),
    ("max", np.max, "Largest element."),
    ("min", np.min, "Smallest element."),
    ("prod", np.prod, "Product."),
]:
    _reduction(_name, _fn, _doc)
_reduction("any", np.any, "Whether any element is true.", "bool")
_reduction("all", np.all, "Whether all elements are true.", "bool")

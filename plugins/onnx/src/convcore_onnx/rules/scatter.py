"""Writing elements into a copy of a tensor."""

from __future__ import annotations

from typing import Any

from convcore.plugin import A

from .base import RULES

_JOINS = {"none": "none", "add": "add", "mul": "mul"}
_REDUCTIONS = [(11, 15, None), (16, 17, A("reduction", "none", ("enum", _JOINS))), (18, None, A("reduction", "none"))]

for _since, _until, _reduction in _REDUCTIONS:
    _given: dict[str, Any] = {} if _reduction is None else {"reduction": _reduction}
    RULES.op("ScatterND", "scatter_nd", "data=x, indices=indices, updates=updates", since=_since, until=_until, **_given)
    RULES.op(
        "ScatterElements", "scatter_elements", "data=x, indices=indices, updates=updates", since=_since, until=_until,
        axis=A("axis", 0), **_given,
    )  # fmt: skip
RULES.op(
    "Scatter", "scatter_elements", "data=x, indices=indices, updates=updates", since=9, direction="load", axis=A("axis", 0)
)  # deprecated from opset 11 on

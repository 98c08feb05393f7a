"""Reductions over axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import MISSING, A, DType, ForeignNode, I, Node, NotExpressible, isomorphism

from ..context import OnnxContext
from ..dialect import OnnxScribe
from .base import RULES
from .steps import Steps, dtype_known


def _axes_load(v: Any) -> tuple[int, ...] | None:
    """No axes at all means every axis."""
    axes = np.asarray(v)
    if axes.ndim > 1 or (axes.size and axes.dtype.kind not in "iu"):
        raise NotExpressible(f"axes={v!r} is not a list of integers")
    return tuple(axes.reshape(-1).tolist()) or None


def _axes_emit(v: Any) -> list[int]:
    if not v:
        raise NotExpressible("a reduction over no axis has no attribute form")
    return list(v)


isomorphism("onnx_axes", _axes_load, _axes_emit, "a list of axes; an empty one means all")

_REDUCTIONS = {
    "ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "max", "ReduceMin": "min", "ReduceProd": "prod",
    "ReduceL1": "l1_norm", "ReduceL2": "l2_norm", "ReduceLogSum": "log_sum", "ReduceLogSumExp": "logsumexp",
    "ReduceSumSquare": "sum_square",
}  # fmt: skip
_SINCE = {_type: 13 if _type == "ReduceSum" else 18 for _type in _REDUCTIONS}  # where axes became an input

for _type, _op in _REDUCTIONS.items():
    _keep = A("keepdims", 1, "bool_int")
    RULES.op(_type, _op, "data=x", until=_SINCE[_type] - 1, axes=A("axes", None, "onnx_axes"), keepdims=_keep)
    RULES.op(
        _type, _op, "data=x, axes=_", since=_SINCE[_type], when={"noop_with_empty_axes": frozenset({0, MISSING})},
        axes=I("axes", None, "onnx_axes"), keepdims=_keep,
    )  # fmt: skip


def _no_axes(op_name: str) -> Any:
    """``noop_with_empty_axes``: without axes nothing is reduced, but what the op does to each element is done."""

    def load(g: OnnxContext, node: ForeignNode) -> Any:
        given = node.input(1)
        axes = () if given is None else g.constant(given)
        if axes is None:
            raise NotExpressible("its axes depend on the data", "requires_constant_input")
        keep = bool(node.attr("keepdims", 1))
        return g.b.op(op_name, node.need(0), axes=_axes_load(axes) or (), keepdims=keep)

    return load


for _type, _op in _REDUCTIONS.items():
    RULES.load(_type, since=_SINCE[_type], when={"noop_with_empty_axes": 1})(_no_axes(_op))


_EMPTY: dict[str, Any] = {"keepdims": A("keepdims", 1, "bool_int"), "none_is_all": A("noop_with_empty_axes", 0, "zero_if")}
for _type, _op in _REDUCTIONS.items():
    RULES.op(_type, f"dynamic_{_op}", "data=x, axes=axes", since=_SINCE[_type], priority=-1, **_EMPTY)

for _op in ("sum", "mean", "max", "min", "prod", "any", "all"):
    for _keep_or_not in (False, True):
        RULES.op("Identity", _op, "input=x", direction="emit", axes=(), keepdims=_keep_or_not)

# ---- booleans

for _type, _op in {"ReduceMax": "any", "ReduceMin": "all"}.items():
    RULES.op(
        _type, _op, "data=x, axes=_", since=20, priority=1, when={"noop_with_empty_axes": frozenset({0, MISSING})},
        types={"x": "bool"}, axes=I("axes", None, "onnx_axes"), keepdims=_keep,
    )  # fmt: skip
    RULES.op(_type, f"dynamic_{_op}", "data=x, axes=axes", since=20, types={"x": "bool"}, **_EMPTY)


def _of_booleans(op_name: str) -> Any:
    def load(g: OnnxContext, node: ForeignNode) -> Any:
        if dtype_known(node.need(0)) is not DType.BOOL:
            raise NotExpressible("the input is not boolean")
        return _no_axes(op_name)(g, node)

    return load


for _type, _op in {"ReduceMax": "any", "ReduceMin": "all"}.items():
    RULES.load(_type, since=20, priority=1, when={"noop_with_empty_axes": 1})(_of_booleans(_op))


@RULES.emit("any", "all", until=19)
def emit_of_booleans(e: OnnxScribe, node: Node) -> None:
    """The largest (or smallest) of 0 and 1 as int32, of which the largest of none is below 0."""
    s, axes = Steps(e, node), node.attrs["axes"]
    kind = "ReduceMax" if node.op == "any" else "ReduceMin"
    if axes == ():
        raise NotExpressible("it is over no axis")
    keep: dict[str, Any] = {} if node.attrs["keepdims"] else {"keepdims": 0}
    old = e.dialect.opset < 18
    if old and axes is not None:
        keep["axes"] = list(axes)
    ins = [] if old or axes is None else [s.ints(*axes)]
    y = s.add(kind, s.Cast(node.need("x"), to=6), *ins, **keep)
    s.last("Greater", y, s.const(0, DType.INT32))

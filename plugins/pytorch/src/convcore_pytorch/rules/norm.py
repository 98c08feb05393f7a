"""Normalisations: modules, and ATen's calls but for those in ``aten_layers.py``, which say in their arguments whether they are in
training."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import A, DType, Last, NotExpressible, Rank, Size, W

from ..context import AtenNode, TorchContext
from .base import RULES, aten

_AFFINE: dict[str, Any] = {
    "scale": W("weight", optional=True), "bias": W("bias", optional=True), "fills": {"scale": 1, "bias": 0}, "axis": 1,
}  # fmt: skip
_PLAIN: dict[str, Any] = {"when": {"affine": False}, "axis": 1}
"""Without weights: where one alone is given, the other is filled in."""


def _both(type: str, op: str, **more: Any) -> None:
    for form in (_PLAIN, _AFFINE):
        RULES.op(type, op, "input=x", epsilon=A("eps", 1e-5, write_default=True), **more, **form)


for _n, _rank in ((1, 2), (1, 3), (2, 4), (3, 5)):
    _both(
        f"torch.nn.BatchNorm{_n}d", "batch_norm", rank=Rank(_rank), mean=W("running_mean"), var=W("running_var"),
        num_features=Size("mean", 0), momentum=A("momentum", 0.1, "one_minus"),
    )  # fmt: skip
for _form in (_PLAIN, {"scale": W("weight"), "bias": W("bias"), "axis": 1}):
    RULES.op(
        "torch.nn.GroupNorm", "group_norm", "input=x", groups=A("num_groups"), num_channels=Size("x", 1),
        epsilon=A("eps", 1e-5, write_default=True), **_form,
    )  # fmt: skip
RULES.op(  # one weight without the other: a module of torch 2.6 has both
    "F.group_norm", "group_norm", "input=x, weight=scale, bias=bias", groups=A("num_groups", at=1), epsilon=A("eps", 1e-5),
    axis=1, direction="emit",
)  # fmt: skip
for _n in (1, 2, 3):
    for _form in ({**_PLAIN, "priority": 1}, {**_AFFINE, "when": {"affine": True}}):  # none is not filled in
        RULES.op(
            f"torch.nn.InstanceNorm{_n}d", "instance_norm", "input=x", rank=Rank(_n + 2), num_features=Size("x", 1),
            epsilon=A("eps", 1e-5, write_default=True), **_form,
        )  # fmt: skip
for _call in aten("group_norm", "input, num_groups, weight?, bias?, eps=1e-05, cudnn_enabled=True"):
    RULES.op(
        _call, "group_norm", "input=x, weight=scale, bias=bias", groups=A("num_groups"), epsilon=A("eps", 1e-5),
        ignore=("cudnn_enabled",),
    )  # fmt: skip


# ---- over the last axes
@RULES.before("epsilon")
def epsilon(g: TorchContext, n: AtenNode, operands: Any) -> AtenNode:
    """One that is left out is that of the type (``torch.nn.functional.rms_norm``, torch 2.6)."""
    if n.arguments.get("eps") is not None:
        return n
    x = n.tensor("input")
    if x.dtype is None or x.dtype is DType.BFLOAT16:
        raise NotExpressible("its epsilon is that of a type numpy does not know")
    return n.replaced("eps", float(np.finfo(x.dtype.numpy).eps))


def _last(*spans: str, single: bool = True, at: int | None = None) -> dict[str, Any]:
    return {"axes": Last("normalized_shape", single, at), "epsilon": A("eps", write_default=True), "spans": spans}


_WEIGHTS, _BARE, _BOTH = "input=x, weight=scale, bias=bias", {"elementwise_affine": False}, ("scale", "bias")
RULES.op("torch.nn.LayerNorm", "layer_norm", "input=x", when=_BARE, **_last())
RULES.op(
    "torch.nn.LayerNorm", "layer_norm", "input=x", scale=W("weight", optional=True), bias=W("bias"), fills={"scale": 1},
    **_last(*_BOTH),
)  # fmt: skip
RULES.op("torch.nn.LayerNorm", "layer_norm", "input=x", scale=W("weight"), when={"bias": False}, **_last("scale"))
RULES.op("F.layer_norm", "layer_norm", _WEIGHTS, direction="emit", **_last(*_BOTH, single=False, at=1))
for _call in aten("layer_norm", "input, normalized_shape, weight?, bias?, eps=1e-05, cudnn_enable=True"):
    RULES.op(_call, "layer_norm", _WEIGHTS, ignore=("cudnn_enable",), **_last(*_BOTH, single=False))
RULES.op("torch.nn.RMSNorm", "rms_norm", "input=x", when=_BARE, **_last())
RULES.op("torch.nn.RMSNorm", "rms_norm", "input=x", scale=W("weight"), **_last("scale"))
for _call in aten("rms_norm", "input, normalized_shape, weight?, eps=None", "epsilon"):
    RULES.op(_call, "rms_norm", "input=x, weight=scale", **_last("scale", single=False))


# ---- to a length of 1: the gradient is 0 where the vector is (that of the root in the body is nan)
RULES.op(
    "F.normalize", "l2_normalize", "input=x", axes=A("dim", 1, iso=("torch_ints", 1)), epsilon=A("eps", 1e-12), mode="max_norm",
    direction="emit",
)  # fmt: skip

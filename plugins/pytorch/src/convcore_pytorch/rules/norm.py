"""Normalisations over channels as modules; those over the last axes are in ``emit_rules/norm.py``, ATen's calls in
``aten_layers.py``: they say in their arguments whether they are in training."""

from __future__ import annotations

from typing import Any

from convcore.plugin import A, Rank, Size, W

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
_both("torch.nn.GroupNorm", "group_norm", groups=A("num_groups"), num_channels=Size("x", 1))
for _n in (1, 2, 3):
    for _affine, _form in ((False, _PLAIN), (True, _AFFINE)):
        RULES.op(
            f"torch.nn.InstanceNorm{_n}d", "instance_norm", "input=x", rank=Rank(_n + 2), num_features=Size("x", 1),
            epsilon=A("eps", 1e-5, write_default=True), **{**_form, "when": {"affine": True}} if _affine else {"axis": 1},
        )  # fmt: skip
for _call in aten("group_norm", "input, num_groups, weight?, bias?, eps=1e-05, cudnn_enabled=True"):
    RULES.op(
        _call, "group_norm", "input=x, weight=scale, bias=bias", groups=A("num_groups"), epsilon=A("eps", 1e-5),
        ignore=("cudnn_enabled",),
    )  # fmt: skip

"""Every op's axis rule, proved on its samples; and that the proof can fail."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tests.support.held import Held

from convcore.errors import DeclarationError
from convcore.opset import all_ops
from convcore.opset.axes import Axes, Axis, AxisRule, Elementwise, LastAxes, Layout, Opaque, PerAxis
from convcore.opset.declare import Attr, AxesAttr, AxisAttr, Op, OpSet, Sample
from convcore.testing.axes import check_axis_rule

OPS = all_ops()

CARRIED = Held(Path(__file__).parent / "carried.json")
"""In how many cases of the samples an order is carried and refused: what a rule no longer carries costs transposes."""


@pytest.mark.parametrize("name", sorted(OPS))
def test_axis_rule_holds(name: str) -> None:
    op = OPS[name]
    report = check_axis_rule(op)
    CARRIED.check(name, [report.carried, report.refused.total()])
    if isinstance(op.axes, Opaque) or op.regions or not op.samples:
        return
    ranks = [max((np.ndim(a) for a in s.arrays() if a is not None), default=0) for s in op.samples]
    if max(ranks) >= 2 + (isinstance(op.axes, LastAxes) and op.axes.k) - (isinstance(op.axes, Layout)):
        assert report.moved, f"{name}: the rule carries nothing ({dict(report.refused)})"


def _wrong(axes: AxisRule, **kw: object) -> Op:
    return OpSet("wrong").op("cumsum_like", "x", axes=axes, **kw)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "op",
    [
        _wrong(Elementwise(), reference=lambda x: np.cumsum(x, 1), samples=[Sample((2, 3, 5))]),
        _wrong(
            Axis("axis"), attrs={"axis": AxisAttr(), "other": AxisAttr()}, samples=[Sample((2, 3, 5), axis=0, other=1)],
            reference=lambda x, axis, other: np.cumsum(np.cumsum(x, axis), other),
        ),
        _wrong(
            Axes("axes", keepdims=True), attrs={"axes": AxesAttr(), "by": Attr("ints")},
            samples=[Sample((2, 3, 5), axes=(0, 2), by=(1, 2))],
            reference=lambda x, axes, by: np.roll(x, by, sorted(axes)),
        ),
        _wrong(
            PerAxis(attrs=("n",)), attrs={"n": Attr("ints")}, samples=[Sample((2, 3, 5), n=(1, 2, 3))],
            reference=lambda x, n: np.roll(x, n, (0, 1, 2)) * np.arange(x.shape[-1], dtype=x.dtype),
        ),
        _wrong(LastAxes(1), reference=lambda x: np.cumsum(x, 0), samples=[Sample((2, 3, 5))]),
    ],
    ids=["elementwise", "axis", "axes", "per_axis", "last_axes"],
)  # fmt: skip
def test_harness_finds_a_wrong_rule(op: Op, monkeypatch: pytest.MonkeyPatch) -> None:
    import convcore.opset.registry as ops

    monkeypatch.setitem(ops._registry.ops, op.name, op)
    with pytest.raises(DeclarationError, match="cumsum_like"):
        check_axis_rule(op)


def test_harness_finds_a_parameter_that_does_not_run_along_the_axis() -> None:
    norm = OPS["group_norm"]
    wrong = dataclasses.replace(norm, axes=Axis("axis", fixed=("scale", "bias"), along=("scale", "bias")))
    with pytest.raises(DeclarationError, match="group_norm"):
        check_axis_rule(wrong)

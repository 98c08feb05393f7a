"""Every declared op against itself: shape rule, body, named sizes, axis rule."""

import numpy as np
import pytest

from convcore.opset import Attr, AxisAttr, OpSet, Sample, all_ops, register, registry
from convcore.opset.axes import Axis, Layout
from convcore.testing import CheckFailed, check_axis_rule, check_op

OPS = all_ops()


@pytest.mark.parametrize("name", sorted(OPS))
def test_declaration(name):
    check_op(OPS[name])


SIZED = ["conv", "conv_transpose", "max_pool", "avg_pool", "batch_norm", "layer_norm", "group_norm", "lstm", "gru", "linear"]


@pytest.mark.parametrize("name", SIZED)
def test_batch_size_may_be_a_name(name):
    """No refusal and no unknown size when the first axis of the first input is named."""
    report = check_op(OPS[name])
    batch = [r for r in (*report.refused, *report.unknown) if "axis 0 of input 0 named" in r]
    assert not batch
    assert report.symbolic > 0


@pytest.fixture(autouse=True)
def registered():
    """Ops of these tests leave the registry again: other tests of the process go over all ops."""
    before = set(all_ops())
    yield
    for name in set(all_ops()) - before:
        del registry._registry.ops[name]


def _declare(**changes):
    """A sound op, or one that ``changes`` breaks; registered under a fresh name."""
    family = OpSet("check", "tests")
    _declare.count += 1
    args = {
        "signature": "x:float",
        "attrs": {"axis": AxisAttr()},
        "reference": lambda x, axis: x.cumsum(axis, dtype=x.dtype),
        "axes": Axis("axis"),
        "samples": [Sample((2, 3, 5), axis=1)],
    } | changes
    decl = family.op(f"selfcheck_{_declare.count}", args.pop("signature"), "A test op.", **args)
    register(family)
    return decl


_declare.count = 0


def test_sound_op_passes():
    report = check_op(_declare())
    assert (report.samples, report.symbolic) == (1, 3)


def test_wrong_shape_rule():
    with pytest.raises(CheckFailed, match=r"inferred \[5, 3, 2\].*computed \[2, 3, 5\]"):
        check_op(_declare(infer=lambda c: [(c.dtype("x"), c.shape("x")[::-1])]))


def test_wrong_dtype():
    with pytest.raises(CheckFailed, match="inferred float32, computed float64"):
        check_op(_declare(reference=lambda x, axis: x.cumsum(axis, dtype=np.float64)))


def test_wrong_body():
    with pytest.raises(CheckFailed, match="body against reference: result 0 differs by"):
        check_op(_declare(body=lambda b, x, axis: b.mul(x, b.like(x, 2.0))))


def test_wrong_named_size():
    def infer(c):
        n = c.shape("x")[0]
        return [(c.dtype("x"), (n if isinstance(n, int) else n + 1, *c.shape("x")[1:]))]

    with pytest.raises(CheckFailed, match=r"axis 0 of input 0 named.*S=2"):
        check_op(_declare(infer=infer))


def test_refusal_of_a_named_size_is_reported():
    def infer(c):
        if not isinstance(c.shape("x")[1], int):
            c.fail("axis 1 must be fixed")
        return [(c.dtype("x"), c.shape("x"))]

    report = check_op(_declare(infer=infer))
    assert len(report.refused) == 1 and "axis 1 of input 0 named" in report.refused[0]


def test_axis_rule_of_the_wrong_kind():
    with pytest.raises(CheckFailed, match="kind int"):
        check_op(_declare(attrs={"axis": Attr("int")}))


def test_layout_rule_must_cover_the_choices():
    decl = _declare(
        attrs={"axis": AxisAttr(), "layout": Attr("str", "a", ("a", "b"))}, axes=Layout("layout", "channels", {"a": {"x": "NC"}})
    )
    with pytest.raises(CheckFailed, match="knows the layouts"):
        check_axis_rule(decl)


def test_op_without_samples():
    with pytest.raises(CheckFailed, match="no samples"):
        check_op(_declare(samples=[]))


def test_unregistered_op():
    family = OpSet("check", "tests")
    decl = family.op("selfcheck_unregistered", "x", "A test op.", reference=lambda x: x, samples=[Sample((2, 3))])
    with pytest.raises(CheckFailed, match="not registered"):
        check_op(decl)


def test_failing_reference_is_quoted():
    def broken(x, axis):
        raise ValueError("boom")

    with pytest.raises(CheckFailed, match="boom"):
        check_op(_declare(reference=broken))

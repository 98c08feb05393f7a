"""What the kit that judges declarations (``convcore.testing``) finds wrong: each finding on an op spoiled in that one way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from convcore.ir.dims import Dim
from convcore.opset import find_op
from convcore.opset.axes import Axes, Axis, Elementwise, PerAxis, Perm, Reshape
from convcore.opset.declare import Attr, OpSet, Sample
from convcore.opset.registry import _registry, register
from convcore.testing.ops import CheckFailed, check_op, compare

FINE: dict[str, Any] = {"reference": lambda x: x * 2, "samples": [Sample((2, 3))], "axes": Elementwise()}


@pytest.fixture
def judge() -> Iterator[Callable[..., Any]]:
    """Declares an op like FINE but for what is given, and judges it."""

    def judged(signature: str = "x", **changed: Any) -> Any:
        ops = OpSet("test", "tests")
        decl = ops.op("spoiled_op", signature, "x", **{**FINE, **changed})
        register(ops)
        return check_op(decl)

    assert find_op("spoiled_op") is None
    yield judged
    forget()


def forget() -> None:
    _registry.ops.pop("spoiled_op", None)


def test_the_op_itself_is_fine(judge: Callable[..., Any]) -> None:
    assert judge().samples == 1


SPOILED: list[tuple[str, Mapping[str, Any]]] = [
    ("has no samples", {"samples": []}),
    ("infers 1 outputs, the reference gives 2", {"reference": lambda x: (x, x)}),
    ("infers 2 outputs, the reference gives 1", {"outputs": "y, z", "infer": lambda c: [(c.dtype("x"), c.shape("x"))] * 2}),
    ("inferred float32, computed int64", {"reference": lambda x: x.astype("i8")}),
    (r"inferred \[2, 3\], computed \[3, 2\]", {"reference": lambda x: x.T}),
    (r"inferred \[2, 3\], computed \[6\]", {"reference": lambda x: x.reshape(-1)}),
    ("the reference fails", {"reference": lambda x: np.reshape(x, (5, 5))}),
    ("body against reference: result 0 differs", {"body": lambda b, x: b.neg(x)}),
    ("body against reference: result 0 is float32", {"body": lambda b, x: b.reshape(x, shape=(6,))}),
    ("body against reference: 2 results instead of 1", {"body": lambda b, x: (b.add(x, x), x)}),
    ("its axis rule rewrites the attribute 'k', that is of kind int, needs axis",
     {"axes": Axis("k"), "attrs": {"k": Attr("int", default=0)}, "reference": lambda x, k: x * 2}),
    ("its axis rule rewrites the attribute 'k', that is of kind bool, needs perm",
     {"axes": Perm("k"), "attrs": {"k": Attr("bool", default=False)}, "reference": lambda x, k: x * 2}),
    ("its axis rule rewrites the attribute 'k', that is of kind int, needs shape",
     {"axes": Reshape("k"), "attrs": {"k": Attr("int", default=0)}, "reference": lambda x, k: x * 2}),
    ("its axis rule rewrites the attribute 'k', that is of kind bool, needs axes or axis or ints",
     {"axes": Axes("k", True), "attrs": {"k": Attr("bool", default=False)}, "reference": lambda x, k: x * 2}),
    ("its axis rule rewrites the attribute 'k', that is of kind bool, needs pairs",
     {"axes": PerAxis(("k",)), "attrs": {"k": Attr("bool", default=False)}, "reference": lambda x, k: x * 2}),
    ("its axis rule names the input 'w', which it lacks", {"axes": Elementwise(fixed=("w",))}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "changed"), SPOILED, ids=[w for w, _ in SPOILED])
def test_a_spoiled_declaration(why: str, changed: Mapping[str, Any], judge: Callable[..., Any]) -> None:
    with pytest.raises(CheckFailed, match=why):
        judge(**changed)


def test_a_shape_rule_that_is_right_for_numbers_only(judge: Callable[..., Any]) -> None:
    named = lambda c: [(c.dtype("x"), tuple(n if isinstance(n, int) else Dim("other") for n in c.shape("x")))]  # noqa: E731
    with pytest.raises(CheckFailed, match="has names that no input has"):
        judge(infer=named)
    forget()
    doubled = lambda c: [(c.dtype("x"), tuple(n if isinstance(n, int) else n * 2 for n in c.shape("x")))]  # noqa: E731
    with pytest.raises(CheckFailed, match=r"spoiled_op, sample 0 with .*inferred"):
        judge(infer=doubled)


def test_another_declaration_of_the_name(judge: Callable[..., Any]) -> None:
    judge()
    other = OpSet("test", "tests").op("spoiled_op", "x", **FINE)
    with pytest.raises(CheckFailed, match="not registered"):
        check_op(other)


F = np.float32
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("got", "truth", "why"),
    [
        ([], [F(1)], "0 results instead of 1"),
        ([np.zeros(2, F)], [np.zeros(3, F)], r"result 0 is float32\[2\] instead of float32\[3\]"),
        ([np.zeros(2)], [np.zeros(2, F)], r"result 0 is float64\[2\] instead of float32"),
        ([np.array([1, 2])], [np.array([1, 3])], "result 0 differs in 1 of 2 elements"),
        ([np.array([True])], [np.array([False])], "result 0 differs in 1 of 1"),
        ([np.array([NAN], F)], [np.array([1], F)], "result 0 is finite at other places"),
        ([np.array([1], F)], [np.array([INF], F)], "result 0 is finite at other places"),
        ([np.array([INF, 1], F)], [np.array([-INF, 1], F)], "result 0 has other infinities or NaNs"),
        ([np.array([INF, 1], F)], [np.array([NAN, 1], F)], "result 0 has other infinities or NaNs"),
        ([np.zeros(1, F), np.array([1.01, 5], F)], [np.zeros(1, F), np.array([1, 5], F)], "result 1 differs"),
    ],
)  # fmt: skip
def test_results_that_differ(got: Any, truth: Any, why: str) -> None:
    with pytest.raises(CheckFailed, match=why):
        compare("case", [np.asarray(a) for a in got], [np.asarray(a) for a in truth], 1e-5)


def test_results_that_agree() -> None:
    for a, b in [(np.array([NAN, INF, 1], F), np.array([NAN, INF, 1 + 1e-6], F)), (np.array([3]), np.array([3]))]:
        compare("case", [a], [b], 1e-5)

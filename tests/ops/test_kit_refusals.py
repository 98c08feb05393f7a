"""What the kit that judges declarations (``convcore.testing``) finds wrong: each finding on an op spoiled in that one way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from convcore.ir.dims import Dim
from convcore.opset import AxisAttr, Trait, find_op
from convcore.opset.axes import Axes, Axis, Elementwise, Layout, Opaque, PerAxis, Perm, Pick, Reshape
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
    ("its axis rule picks by 'x', which is not fixed",
     {"axes": Pick("k", index="x"), "attrs": {"k": AxisAttr(0)}, "reference": lambda x, k: x * 2}),
    (r"layout first names \['w'\], neither inputs nor outputs",
     {"axes": Layout("k", forms={"first": {"w": "NC"}}), "attrs": {"k": Attr("str", "first", ("first",))},
      "reference": lambda x, k: x * 2}),
    (r"knows the layouts \['first'\], the attribute \['last'\]",
     {"axes": Layout("k", forms={"first": {"x": "NC"}}), "attrs": {"k": Attr("str", "last", ("last",))},
      "reference": lambda x, k: x * 2}),
    ("the body fails", {"body": lambda b, x: b.reshape(x, shape=(7,))}),
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


@pytest.mark.parametrize("off", [1, -1])
def test_the_tolerance_is_of_the_range(off: int) -> None:
    """The difference may be the tolerance times the largest number, and no more; 0 counts as the smallest normal one."""
    truth = np.array([1024, 1], F)
    compare("case", [truth + np.array([0, off], F) * F(2**-10)], [truth], 2.0**-20)
    with pytest.raises(CheckFailed, match="differs by"):
        compare("case", [truth + np.array([0, off], F) * F(2**-9)], [truth], 2.0**-20)
    compare("case", [np.array([1e-44], F)], [np.zeros(1, F)], 1e-5)


def test_sequences_differ_by_their_number_and_elements() -> None:
    two, one = np.empty(2, object), np.empty(1, object)
    two[:], one[:] = [np.zeros(3, F), np.ones(2, F)], [np.zeros(3, F)]
    compare("case", [two], [two.copy()], 1e-5)
    with pytest.raises(CheckFailed, match="result 0 has 1 elements instead of 2"):
        compare("case", [one], [two], 1e-5)
    other = two.copy()
    other[1] = np.zeros(2, F)
    with pytest.raises(CheckFailed, match="result 0: result 1 differs"):
        compare("case", [other], [two], 1e-5)


same = lambda c: [(c.dtype("x"), c.shape("x"))]  # noqa: E731
AXIS = {"axis": AxisAttr(1)}
TRAITS: list[tuple[str, str, Mapping[str, Any]]] = [
    ("a view has one input", "x, y", {"traits": Trait.VIEW, "reference": lambda x, y: x, "samples": [Sample((2, 3), (2, 3))]}),
    ("a view has one input", "x*", {"traits": Trait.VIEW, "reference": lambda *x: x[0]}),
    ("what is pointwise has one result", "x",
     {"traits": Trait.POINTWISE, "outputs": "y, z", "infer": lambda c: same(c) * 2, "reference": lambda x: (x, x)}),
    ("only two inputs commute, it has 1", "x", {"traits": Trait.COMMUTES}),
    ("a scaled op has an optional parameter scale", "x:float", {"traits": Trait.SCALED, "attrs": AXIS}),
    ("a scaled op has an optional parameter scale", "x:float, scale:float?",
     {"traits": Trait.SCALED, "roles": {"parameter": "scale"}, "reference": lambda x, scale=None: x}),
    ("a window needs strides, pads, dilations, layout", "x", {"traits": Trait.WINDOW}),
    ("an affine op has one output and two parameters", "x", {"traits": Trait.AFFINE}),
    ("its channels are not those of the first axis", "x:float, w:float, b:float?",
     {"traits": Trait.AFFINE, "roles": {"parameter": "w b"}, "samples": [Sample((2, 3), (5, 3))], "axes": Opaque(),
      "infer": lambda c: [(c.dtype("x"), (2, 5))],
      "reference": lambda x, w, b=None: x @ w[::-1].T if b is None else x @ w[::-1].T + b}),
    ("a recurrent op has an optional input h0", "x", {"traits": Trait.RECURRENT}),
    ("x is an index, so its type must be int", "x", {"roles": {"index": "x"}}),
    ("its result is not its input", "x", {"traits": Trait.SAME}),
    ("is no pointwise op: its result has the shape", "x:float",
     {"traits": Trait.POINTWISE, "reference": lambda x: x[:1], "axes": Opaque(), "infer": lambda c: [(c.dtype("x"), (1, 3))]}),
    ("is no pointwise op: elements of x reach other places", "x:float",
     {"traits": Trait.POINTWISE, "reference": lambda x: np.cumsum(x[:, ::-1], 1, dtype=x.dtype)[:, ::-1], "axes": Opaque()}),
    ("its result is not its input broadcast", "x:float",
     {"traits": Trait.BROADCASTS, "reference": lambda x: x[:1], "axes": Opaque(), "infer": lambda c: [(c.dtype("x"), (1, 3))]}),
    ("its results depend on elements of its inputs", "x:float", {"traits": Trait.OF_SHAPES}),
    ("does not commute", "x:float, y:float",
     {"traits": Trait.COMMUTES, "reference": lambda x, y: x - y, "samples": [Sample((2, 3), (2, 3))]}),
    ("is declared nonnegative and gives", "x:float", {"traits": Trait.NONNEGATIVE, "reference": lambda x: -np.abs(x)}),
    ("keeps no sign", "x:float", {"traits": Trait.KEEPS_SIGN, "reference": lambda x: -x}),
    ("a view of another shape needs the axis rule", "x",
     {"traits": Trait.VIEW, "reference": lambda x: x.reshape(-1), "axes": Opaque(), "infer": lambda c: [(c.dtype("x"), (6,))]}),
    ("is no view: its elements are not those of its input", "x", {"traits": Trait.VIEW, "reference": lambda x: x[::-1]}),
    ("is declared to move elements, but computes with them", "x:float", {"traits": Trait.MOVES, "reference": lambda x: -x}),
    ("gives elements that are not among those of its data inputs", "x:float",
     {"traits": Trait.MOVES, "reference": lambda x: np.where(np.ones(x.shape, bool), np.float32(3), x)}),
    ("is no sum of products with parts of its first parameter", "x:float, w:float, b:float?",
     {"traits": Trait.AFFINE, "roles": {"parameter": "w b"}, "samples": [Sample((2, 3), (5, 3))], "axes": Opaque(),
      "infer": lambda c: [(c.dtype("x"), (2, 5))], "reference": lambda x, w, b=None: x @ (w * w).T}),
    ("is no sum of products with parts of its first parameter", "x:float, w:float, b:float?",
     {"traits": Trait.AFFINE, "roles": {"parameter": "w b"}, "samples": [Sample((2, 3), (5, 3), (5,))], "axes": Opaque(),
      "infer": lambda c: [(c.dtype("x"), (2, 5))], "reference": lambda x, w, b=None: x @ w.T if b is None else x @ w.T - b}),
    ("a window needs a kernel", "x:float",
     {"traits": Trait.WINDOW, "attrs": {k: Attr("any", None) for k in ("strides", "pads", "dilations", "layout")},
      "reference": lambda x, **kw: x}),
    ("an affine op has one output and two parameters", "x:float, w:float, c:float?",
     {"traits": Trait.AFFINE, "roles": {"parameter": "w c"}, "samples": [Sample((2, 3), (5, 3))], "axes": Opaque(),
      "infer": lambda c: [(c.dtype("x"), (2, 5))], "reference": lambda x, w, c=None: x @ w.T}),
    ("is not multiplied by its scale", "x:float, bias:float?, scale:float?",
     {"traits": Trait.SCALED, "attrs": AXIS, "roles": {"parameter": "scale bias"}, "samples": [Sample((2, 3), (3,), (3,))],
      "infer": same, "axes": Axis("axis", fixed=("scale", "bias"), along=("scale", "bias")),
      "reference": lambda x, bias=None, scale=None, *, axis: x if scale is None else (x * scale - bias).astype(x.dtype)}),
    ("is not multiplied by its scale", "x:float, scale:float?",
     {"traits": Trait.SCALED, "attrs": AXIS, "roles": {"parameter": "scale"}, "samples": [Sample((2, 3), (3,))], "infer": same,
      "axes": Axis("axis", fixed=("scale",), along=("scale",)),
      "reference": lambda x, scale=None, *, axis: x if scale is None else (x * 2 * scale).astype(x.dtype)}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "signature", "changed"), TRAITS, ids=[f"{w} {s}" for w, s, _ in TRAITS])
def test_a_trait_that_it_has_not(why: str, signature: str, changed: Mapping[str, Any], judge: Callable[..., Any]) -> None:
    with pytest.raises(CheckFailed, match=why):
        judge(signature, **changed)

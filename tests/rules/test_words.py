"""The words of rows that say a thing twice, split axes, count them, and bind calls: both ways, and what they refuse."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convcore.build.builder import Builder
from convcore.errors import DeclarationError, ShapeError, UnsupportedError
from convcore.ir.graph import Graph, Node
from convcore.ir.tensors import as_tensor
from convcore.rules import A, Call, ForeignNode, Given, LoadContext, NotExpressible, Rank, RuleSet, Size, W
from convcore.rules.words import permutation_of, reorder
from convcore.testing.rules import RecordingContext, check_row

R = RuleSet("test")
DENSE = R.op(
    "nn.Linear", "linear", "input=x", w=W("weight"), b=W("bias", optional=True), in_features=Size("w", 1),
    out_features=Size("w", 0), bias=Given("b"), also=Call("aten.linear", "input, weight, bias?"),
)  # fmt: skip
CONV = [
    R.op(
        f"Conv{n}D", "conv", "inputs=x", rank=n + 2, w=W("kernel", "*IO->OI*"), b=W("bias", optional=True),
        filters=Size("w", 0), kernel_size=Size("w", "2:"), use_bias=Given("b"), strides=A("strides", None),
        layout=A("data_format", write_default=True),
    )
    for n in (1, 2)
]  # fmt: skip
DEPTHWISE = R.op(
    "Depthwise", "conv", "inputs=x", rank=4, w=W("kernel", "*CM->(CM)1*", C="groups"), b=W("bias", optional=True),
    depth_multiplier=Size("w", 0, over="groups"),
)  # fmt: skip
SCALES = R.op("Prelu", "prelu", "bottom=x", rank=4, slope=W("0", "C->C11"))
RESIZE = R.op("Fit", "adaptive_avg_pool", "inputs=x", rank=4, output_size=(A("height"), A("width")), layout="channels_first")
ADD = R.op("Plus", "add", "a=x, b=y", alike=("rank", "dtype"), types={"x": "float"})
ROWS = [DENSE, *CONV, DEPTHWISE, SCALES, RESIZE, ADD]


def emitted(row: Any, op: str, arrays: list[tuple[bool, np.ndarray]], **attrs: Any) -> tuple[ForeignNode, Node]:
    b = Builder(Graph("g"))
    ins = [
        b.weight(as_tensor(a), f"w{i}") if owned else b.input(f"x{i}", str(a.dtype), a.shape)
        for i, (owned, a) in enumerate(arrays)
    ]
    node = b.node(op, ins, attrs)
    e = RecordingContext(b)
    row.emit(e, node)
    return e.nodes[0], node


def f32(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("row", [*ROWS, *[r for r in R.rows() if r.call]], ids=lambda r: r.foreign)
def test_rows_come_back_whole(row: Any) -> None:
    assert check_row(row).exact > 0


def test_restated_attributes_are_written() -> None:
    layer, _ = emitted(DENSE, "linear", [(False, f32(2, 3)), (True, f32(5, 3)), (True, f32(5))])
    assert layer.attrs == {"in_features": 3, "out_features": 5, "bias": True}
    layer, _ = emitted(DENSE, "linear", [(False, f32(2, 3)), (True, f32(5, 3))])
    assert layer.attrs["bias"] is False and set(layer.weights) == {"weight"}
    layer, _ = emitted(CONV[1], "conv", [(False, f32(2, 3, 11, 13)), (True, f32(7, 3, 5, 2))])
    assert (layer.attrs["filters"], layer.attrs["kernel_size"]) == (7, [5, 2]) and layer.weights["kernel"].shape == (5, 2, 3, 7)


@pytest.mark.parametrize(("attrs", "why"), [({"out_features": 4}, "out_features=4"), ({"bias": False}, "bias=False")])
def test_restated_attributes_are_checked(attrs: dict[str, Any], why: str) -> None:
    b = Builder(Graph("g"))
    x = b.input("x", "float32", (2, 3))
    weights = {"weight": as_tensor(f32(5, 3)), "bias": as_tensor(f32(5))}
    good = ForeignNode("nn.Linear", "n", [x], {"out_features": 5, "in_features": 3, "bias": True}, weights=weights)
    R.apply_load(LoadContext(b), good)
    bad = ForeignNode("nn.Linear", "n", [x], {**good.attrs, **attrs}, weights=weights)
    with pytest.raises(UnsupportedError, match=why):
        R.apply_load(LoadContext(b), bad)


def test_the_rank_chooses_the_type() -> None:
    one, two = ([(False, f32(2, 3, 11)), (True, f32(7, 3, 5))], [(False, f32(2, 3, 11, 13)), (True, f32(7, 3, 5, 5))])
    assert emitted(CONV[0], "conv", one)[0].type == "Conv1D" and emitted(CONV[1], "conv", two)[0].type == "Conv2D"
    with pytest.raises(NotExpressible, match="4 axes, Conv1D takes 3"):
        emitted(CONV[0], "conv", two)
    b = Builder(Graph("g"))
    unknown = b.node("conv", [b.input("x", "float32", None), b.weight(as_tensor(f32(7, 3, 5)), "w")], {})
    with pytest.raises(NotExpressible, match="unknown number of axes"):
        CONV[0].emit(RecordingContext(b), unknown)


def test_an_axis_is_split_by_an_attribute() -> None:
    w = f32(6, 1, 5, 7)  # 3 channels with 2 outputs each
    layer, _ = emitted(DEPTHWISE, "conv", [(False, f32(2, 3, 11, 13)), (True, w)], groups=3)
    assert layer.weights["kernel"].shape == (5, 7, 3, 2) and layer.attrs["depth_multiplier"] == 2
    assert np.array_equal(layer.weights["kernel"].numpy(), w.reshape(3, 2, 5, 7).transpose(2, 3, 0, 1))
    with pytest.raises(NotExpressible, match="not of size 1"):
        emitted(DEPTHWISE, "conv", [(False, f32(2, 6, 11, 13)), (True, f32(6, 2, 5, 7))], groups=3)


def test_conditions_on_inputs() -> None:
    emitted(ADD, "add", [(False, f32(2, 3)), (False, f32(2, 3))])
    with pytest.raises(NotExpressible, match="not of one rank"):
        emitted(ADD, "add", [(False, f32(2, 3)), (False, f32(3))])
    with pytest.raises(NotExpressible, match="the rule is for float"):
        emitted(ADD, "add", [(False, f32(2, 3).astype("int32")), (False, f32(2, 3).astype("int32"))])


@given(st.permutations("ABC"), st.tuples(*[st.sampled_from((2, 3, 5))] * 3))
def test_orders_reverse(order: list[str], shape: tuple[int, ...]) -> None:
    text, t = "".join(order), as_tensor(f32(*shape))
    there = reorder(f"ABC->{text}", t)
    assert np.array_equal(there.numpy(), np.transpose(t.numpy(), permutation_of(f"ABC->{text}", 3)[0]))
    assert np.array_equal(reorder(f"{text}->ABC", there).numpy(), t.numpy())
    merged = reorder("ABC->C1(AB)", t)
    assert merged.shape == (shape[2], 1, shape[0] * shape[1])
    assert np.array_equal(reorder("C1(AB)->ABC", merged, {"A": shape[0]}).numpy(), t.numpy())


@pytest.mark.parametrize("order", ["AB->A", "A(B->AB", "A->A*", "**->**", "AB", "A2->A2"])
def test_malformed_orders(order: str) -> None:
    with pytest.raises(DeclarationError):
        RuleSet("x").op("T", "linear", "x=x", w=W("k", order))


def test_orders_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="3 axes does not fit"):
        reorder("IO->OI", as_tensor(f32(2, 3, 5)))
    with pytest.raises(NotExpressible, match="an axis of 6"):
        reorder("(AB)->AB", as_tensor(f32(6)), {"A": 4})


# ---- calls
SUM = Call("numpy.sum", "a:x, axis=None, *, keepdims=False")


def test_binding() -> None:
    assert SUM.bind([1], {}) == {"x": 1, "axis": None, "keepdims": False}
    assert SUM.bind([1, (0, 1)], {"keepdims": True}) == {"x": 1, "axis": (0, 1), "keepdims": True}
    assert SUM.bind([], {"a": 2, "axis": -1})["x"] == 2
    for args, kwargs, why in (
        ([1, 2, 3], {}, "2 arguments by position"), ([1], {"a": 1}, "given twice"), ([], {}, "'a' is missing"),
        ([1], {"out": 1}, "'out', known are a, axis, keepdims"),
    ):  # fmt: skip
        with pytest.raises(NotExpressible, match=why):
            SUM.bind(args, kwargs)
    assert Call("f", "x, pad=[0, (1, 2)], mode='a'").bind([1], {}) == {"x": 1, "pad": [0, (1, 2)], "mode": "a"}


@pytest.mark.parametrize("signature", ["x, x", "1x", "x=y", "x?=1", "x:2"])
def test_malformed_signatures(signature: str) -> None:
    with pytest.raises(DeclarationError):
        _ = Call("f", signature).parameters


def called(args: list[Any], kwargs: dict[str, Any], b: Builder) -> Node:
    (y,) = R.apply_load(LoadContext(b), ForeignNode("aten.linear", "n", [], {"args": args, "kwargs": kwargs}))
    assert y.producer is not None
    return y.producer


def test_a_layer_is_a_function_too() -> None:
    b = Builder(Graph("g"))
    x, w, c = b.input("x", "float32", (2, 3)), b.input("w", "float32", (5, 3)), b.input("b", "float32", (5,))
    assert list(called([x, w], {"bias": c}, b).inputs) == [x, w, c]
    assert [v for v in called([], {"weight": w, "input": x}, b).inputs if v is not None] == [x, w]
    for args, kwargs, why in (
        ([x], {}, "'weight' is missing"),
        ([x, 3.0], {}, "not a tensor"),
        ([x, w, c, c], {}, "by position"),
    ):
        with pytest.raises(UnsupportedError, match=why):
            called(args, kwargs, b)
    with pytest.raises(DeclarationError, match="other axes there"):
        RuleSet("x").op("D", "linear", "i=x", w=W("k", "IO->OI"), also=Call("f", "i, k"))


def test_an_argument_nobody_knows_is_refused() -> None:
    r = RuleSet("x")
    r.op(Call("f.exp", "x, out?, where=True"), "exp", "x=x")
    b = Builder(Graph("g"))
    x = b.input("x", "float32", (2, 3))
    r.apply_load(LoadContext(b), ForeignNode("f.exp", "n", [], {"args": [x], "kwargs": {"where": True}}))
    with pytest.raises(UnsupportedError, match="argument where"):
        r.apply_load(LoadContext(b), ForeignNode("f.exp", "n", [], {"args": [x], "kwargs": {"where": False}}))
    with pytest.raises(UnsupportedError, match="unknown meaning: rounding"):
        r.apply_load(LoadContext(b), ForeignNode("f.exp", "n", [], {"args": [x], "kwargs": {}, "rounding": 1}))


def test_rows_with_these_words_are_plain_data() -> None:
    table = json.loads(json.dumps(R.to_json()))
    (dense,) = [r for r in table if r["foreign"] == "nn.Linear"]
    assert dense["mapping"]["in_features"] == {"size_of": "w", "axis": 1} and dense["mapping"]["bias"] == {"given": "b"}
    assert next(r for r in table if r["foreign"] == "aten.linear")["call"]["signature"][2] == ["bias", "bias", None]


@pytest.mark.parametrize(
    "words",
    [{"n": Size("q", 0)}, {"n": Given("q")}, {"rank": Rank(3, "q")}, {"types": {"q": "float"}}, {"alike": ("shape",)}],
    ids=str,
)
def test_words_about_what_the_op_has_not(words: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError):
        RuleSet("x").op("D", "linear", "i=x", w=W("k"), **words)

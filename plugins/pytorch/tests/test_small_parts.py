"""Small parts: what a module says about itself, sizes that torch 2.6 recorded wrongly, arithmetic of sizes that tracing makes
tensors of, files that hold no weights alone."""

from __future__ import annotations

import operator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.plugin import ArrayTensor, Builder
from convcore.plugin import Graph as Built
from convcore_pytorch.about import about_module
from convcore_pytorch.context import TorchContext
from convcore_pytorch.files.program import Argument, Graph, Input, Node, Output, Program, Ref, TensorValue
from convcore_pytorch.memory import Handle, Memory
from convcore_pytorch.recorded import believable
from convcore_pytorch.scalars import NONE, compute

N = Dim("n")


# ---- what a module says about itself
def said(images: Any = ("x",), config: Any = None, timm: Any = None) -> dict[str, Any]:
    return about_module(SimpleNamespace(config=SimpleNamespace(id2label=config), pretrained_cfg=timm), images)


def test_labels_of_transformers() -> None:
    assert said(config={0: "cat", 1: "dog"}) == {"labels": ["cat", "dog"]} == said(config={"1": "dog", "0": "cat"})
    for config in ({0: "LABEL_0", 1: "LABEL_1"}, {0: "a", 2: "b"}, {"x": "a"}, ["a", "b"], None, {}):
        assert said(config=config) == {}, config
    assert said(config={0: "LABEL_0", 1: "dog"}) == {"labels": ["LABEL_0", "dog"]} and said(config={0: "LABEL_a"}) == {
        "labels": ["LABEL_a"]
    }
    assert about_module(SimpleNamespace(), ["x"]) == {} == about_module(SimpleNamespace(config=SimpleNamespace()), ["x"])


def test_preprocessing_of_timm() -> None:
    timm = {
        "input_size": (3, 8, 8),
        "mean": (0.5, 0.25, 0.1),
        "std": (1.0, 2.0, 3.0),
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "crop_mode": None,
        "license": "mit",
        "label_names": ["a", 3],
    }
    want = {
        "input_size": [3, 8, 8],
        "mean": [0.5, 0.25, 0.1],
        "std": [1.0, 2.0, 3.0],
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "order": "RGB",
        "formula": "(x / 255 - mean) / std",
    }
    assert said(timm=timm) == {"labels": ["a", "3"], "preprocessing": {"x": want}}
    assert said(images=("x", "y"), timm=timm) == {"labels": ["a", "3"]} == said(images=(), timm=timm)
    assert said(timm={**timm, "mean": None, "label_names": []}) == {} == said(timm={**timm, "mean": (), "label_names": "ab"})
    assert (
        said(timm=[1]) == {}
        and said(config={0: "cat"}, timm={"mean": (1,), "crop_mode": {1: 2}})["preprocessing"]["x"]["crop_mode"] == "{1: 2}"
    )
    assert said(config={0: "cat"}, timm={"label_names": ("dog",)}) == {"labels": ["dog"]}


# ---- sizes recorded wrongly
def lstm(*states: Any, target: str = "aten.lstm.input") -> Program:
    def told(s: Any) -> Any:
        return None if s is None else TensorValue("float32", s)

    nodes = (
        Node("l", target, (Argument("", Ref("x")),), ("y", "h", "c")),
        Node("a", "aten.relu.default", (Argument("", Ref("h")),), ("a",)),
        Node("b", "aten.relu.default", (Argument("", Ref("a")),), ("b",)),
        Node("z", "aten.relu.default", (Argument("", Ref("y")),), ("z",)),
    )
    values = {
        "x": told((5, 2, 3)),
        "y": told((5, 2, 3)),
        "h": told(states[0]),
        "c": told(states[1]),
        "a": told((9,)),
        "b": told((9,)),
        "z": told((5, 2, 3)),
    }
    return Program(
        "program",
        Graph("", ("x",), (Ref("z"),), nodes, {k: v for k, v in values.items() if v}),
        [Input("user", "x")],
        [Output("user", Ref("z"))],
        {},
    )


def test_states_that_torch_2_6_records_with_an_axis_too_many() -> None:
    """They go, and what follows from them."""
    found = believable(lstm((1, 1, 2, 3), (2, 1, 2, 3)))
    assert set(found.graph.values) == {"x", "y", "z"} and found.graph.nodes == lstm((1,), (1,)).graph.nodes
    for states in (((1, 2, 3), (1, 2, 3)), ((1, 2, 2, 3), (1, 1, 2, 3)), ((1, 1, 2, 3), (1, 2, 3)), ((1, 1, 2, 3), None)):
        same = lstm(*states)
        assert believable(same) is same, states
    other = lstm((1, 1, 2, 3), (1, 1, 2, 3), target="aten.gru.input")
    assert believable(other) is other


# ---- arithmetic of traced sizes
def traced(kind: str, *args: Any, script: bool = True) -> Any:
    g = TorchContext(Builder(Built()))
    frame = SimpleNamespace(path="here", g=g, b=g.b, loader=SimpleNamespace(script=script))
    return compute(frame, kind, {str(i): a for i, a in enumerate(args)})


def at(value: Any, n: int) -> Any:
    return value.evaluate({"n": n}) if isinstance(value, Dim) else value


@pytest.mark.parametrize(
    ("kind", "fn"),
    [
        ("aten.mul.Tensor", operator.mul),
        ("aten.add.Tensor", operator.add),
        ("aten.sub.Tensor", operator.sub),
        ("aten.rsub.Scalar", lambda a, b: b - a),
    ],
)
def test_sums_and_products_of_traced_sizes(kind: str, fn: Any) -> None:
    for a, b in ((3, 5), (N, 5), (5, N), (N, N), (-2, N)):
        made = traced(kind, a, b)
        assert made is not NONE and all(at(made, n) == fn(at(a, n), at(b, n)) for n in (2, 7, 13))
        assert at(traced(kind, a, b, 1), 7) == at(made, 7) and traced(kind, a, b, 2) is NONE
    for a, b in ((2.5, 3), (3, 2.5), (True, 3)):
        assert traced(kind, a, b) is NONE
    assert traced(kind, N, 5, script=False) is NONE


def test_parts_of_traced_sizes() -> None:
    """Down to a whole number, of what is not negative: by a number above 0."""
    for kind, more in (("aten.floor_divide", ()), ("aten.div.Tensor_mode", ("floor",)), ("aten.div.Tensor_mode", ("trunc",))):
        for a, b in ((7, 2), (0, 3), (N, 2), (N, 1)):
            made = traced(kind, a, b, *more)
            assert all(at(made, n) == at(a, n) // b for n in (2, 7, 13)), (kind, a, b)
        for a, b in ((-7, 2), (7, -2), (7, 0), (N - 1, 2), (N, N), (2.5, 2), (7, 2.0)):
            assert traced(kind, a, b, *more) is NONE, (kind, a, b)
    assert traced("aten.div.Tensor_mode", 7, 2, None) is NONE and traced("aten.div.Tensor_mode", 7, 2, "odd") is NONE
    assert at(traced("aten.remainder.Scalar", N, 3), 7) == 1 and traced("aten.remainder.Scalar", 7, 3) == 1
    assert (
        traced("aten.remainder.Scalar", 7, -3) is NONE
        and traced("aten.remainder.Scalar", 7, 0) is NONE
        and traced("aten.remainder.Scalar", 7, N) is NONE
    )
    assert (
        traced("aten.neg", 3) == -3
        and at(traced("aten.neg", N), 5) == -5
        and traced("aten.neg", 2.5) is NONE
        and traced("aten.neg", True) is NONE
    )


def test_constants_without_axes_are_numbers_there() -> None:
    g = Built()
    three = Handle(Memory(g.add_weight("w", ArrayTensor(np.array(3)))))
    line = Handle(Memory(g.add_weight("l", ArrayTensor(np.array([3])))))
    data = Handle(Memory(g.add_input("d", DType.INT64, ())))
    assert at(traced("aten.mul.Tensor", N, three), 5) == 15 and at(traced("aten.mul.Tensor", three, N), 5) == 15
    for args in ((three, three), (N, line), (N, data)):
        assert traced("aten.mul.Tensor", *args) is NONE


def test_lists_made_of_lists() -> None:
    assert (
        traced("aten.list.t", (1, N)) == [1, N]
        and traced("aten.slice.t", [1, 2, 3, 4], 1, None, 2) == [2, 4]
        and traced("aten.slice.t", [1, 2, 3], None, -1) == [1, 2]
    )
    assert traced("aten.add.t", [1], [N]) == [1, N] and traced("aten.add.t", [1], (2,)) == [1, 2]
    assert (
        traced("aten.add.t", [1], 3) is NONE
        and traced("aten.slice.t", [1, 2], 2.5) is NONE
        and traced("aten.slice.t", [1, 2], N) is NONE
        and traced("aten.list.t", 3) is NONE
    )

"""What a row fills in, and the steps that ready a call's operands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import DeclarationError
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore.rules import A, Call, ForeignNode, LoadContext, NotExpressible, RuleSet, W
from convcore.testing.ops import CheckFailed
from convcore.testing.rules import RecordingContext, check_row

R = RuleSet("calls")


@R.before("half")
def half(g: Any, node: ForeignNode, operands: Any) -> ForeignNode:
    """The tensors named, halved."""
    args = [g.b.mul(a, g.b.like(a, 0.5)) if name in operands else a for name, a in zip(("self", "by"), node.attrs["args"])]
    return ForeignNode(node.type, node.name, node.inputs, {**node.attrs, "args": args}, origin=node.origin)


SOFT = R.op(
    "nn.Leaky", "leaky_relu", "input=x", alpha=A("by", 0.01),
    also=Call("aten.leaky", "self:input, by=0.01", before=("half",), direction="load"),
)  # fmt: skip
NORM = R.op(
    "Norm", "batch_norm", "x=x, scale=scale, bias=bias, mean=mean, var=var", axis=1, epsilon=A("eps"),
    momentum=A("momentum", 0.9), fills={"scale": 1, "bias": 0},
)  # fmt: skip
LAYER = R.op(
    "nn.Norm", "group_norm", "x=x", groups=A("groups"), epsilon=A("eps"), axis=1, scale=W("weight"), bias=W("bias"),
    fills={"scale": 1, "bias": 0},
)  # fmt: skip


def test_operands_are_readied_before_a_call_is_bound() -> None:
    b = Builder(Graph("g"))
    x = b.input("x", "float32", (2, 3))
    node = ForeignNode("aten.leaky", "here", [x], {"args": [x, 0.25], "kwargs": {}})
    (y,) = R.apply_load(LoadContext(b), node)
    assert y.producer is not None and y.producer.op == "leaky_relu" and y.producer.attrs["alpha"] == 0.25
    before = y.producer.inputs[0]
    assert before is not None and before.producer is not None and before.producer.op == "mul" and before.producer.inputs[0] is x


def test_a_call_that_is_only_read_is_not_written() -> None:
    assert [r.foreign for r in R.emit_rules["leaky_relu"]] == ["nn.Leaky"]
    assert {r.foreign for r in R.rows() if r.op_name == "leaky_relu"} == {"nn.Leaky", "aten.leaky"}
    assert R.load_rules["aten.leaky"][0].to_json()["call"]["before"] == ["half"]  # type: ignore[union-attr]
    assert "aten.leaky" not in {r.foreign for r in RuleSet.merged([R]).emit_rules["leaky_relu"]}
    assert RuleSet.merged([R]).pres.keys() == {"half"}


def test_a_step_that_is_not_there_is_refused() -> None:
    with pytest.raises(DeclarationError, match="unknown step before 'twice'"):
        RuleSet("toy").op(Call("f", "x", before=("twice",)), "relu")
    with pytest.raises(DeclarationError, match="no input 'w'"):
        RuleSet("toy").op("T", "relu", fills={"w": 1})


def written(row: Any, op: str, shape: tuple[Any, ...], **given: Any) -> tuple[RecordingContext, Any]:
    b = Builder(Graph("g"))
    x = b.input("x", given.pop("dtype", "float32"), shape)
    states = [b.weight(np.full(3, v, np.float32), n) if v is not None else None for n, v in given.pop("states").items()]
    node = b.node(op, [x, *states], given)
    e = RecordingContext(b)
    row.emit(e, node)
    return e, e.nodes[0]


def test_what_is_missing_is_filled_in_along_the_axis() -> None:
    states = {"scale": None, "bias": 2.0, "mean": 0.0, "var": 1.0}
    _, made = written(NORM, "batch_norm", (2, 3, 5), states=states, epsilon=0.1)
    assert [v.tensor.numpy().tolist() for v in made.inputs[1:3]] == [[1, 1, 1], [2, 2, 2]]
    assert made.inputs[1].dtype is made.inputs[2].dtype
    _, layer = written(LAYER, "group_norm", (2, 3, 5), states={"scale": 4.0}, epsilon=0.1, groups=3)
    assert {k: t.numpy().tolist() for k, t in layer.weights.items()} == {"weight": [4, 4, 4], "bias": [0, 0, 0]}


def test_a_filled_input_needs_a_known_size() -> None:
    with pytest.raises(NotExpressible, match="needs a scale of C elements"):
        written(LAYER, "group_norm", (2, Dim("C"), 5), states={}, epsilon=0.1, groups=1)


@pytest.mark.parametrize("row", [NORM, LAYER, SOFT], ids=lambda r: r.foreign)
def test_rows_that_fill_go_both_ways(row: Any) -> None:
    assert check_row(row).exact > 1


def test_a_row_that_fills_with_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = type(LAYER)._fill
    monkeypatch.setattr(type(LAYER), "_fill", lambda *a: real(*a) + 7)
    with pytest.raises(CheckFailed, match="is not filled with"):
        check_row(LAYER)

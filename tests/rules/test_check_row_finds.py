"""The kit that proves rows finds every way in which a node may come back as another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from convcore.rules import RuleSet
from convcore.rules.words import A, W
from convcore.testing import CheckFailed
from convcore.testing.rules import NotExpressible as Not
from convcore.testing.rules import RecordingContext, check_row

Load = Callable[[Any, Any, list[Any]], Any]


def linear() -> Any:
    return RuleSet("toy").op("Dense", "linear", "inputs=x", w=W("kernel", "IO->OI"), b=W("bias", optional=True))


def leaky() -> Any:
    return RuleSet("toy").op("Leaky", "leaky_relu", "X=x", alpha=A("alpha"))


def _of(op: str) -> Load:
    return lambda g, node, made: getattr(g.b, op)(made[0].producer.inputs[0])


def _other_weight(g: Any, node: Any) -> Any:
    x, w, *rest = node.inputs
    return g.b.linear(x, g.b.weight(w.tensor.map(lambda a: a + 1), "other"), *rest, **node.attrs)


WRONG: dict[str, tuple[Callable[[], Any], Load, str]] = {
    # the row, what is loaded instead of what it loads, and what is found
    "nothing": (leaky, lambda g, node, made: [], "loading made no node"),
    "no node": (leaky, lambda g, node, made: [node.need(0)], "loading made no node|came back as"),
    "another op": (leaky, lambda g, node, made: [_of("relu")(g, node, made)], "came back as relu"),
    "another attribute": (leaky, lambda g, node, made: [g.b.leaky_relu(node.need(0), alpha=0.7)], r"alpha=.* came back as 0.7"),
    "another input": (leaky, lambda g, node, made: [g.b.leaky_relu(made[0], **made[0].producer.attrs)],
        "input 0 .* came back as"),
    "two outputs": (leaky, lambda g, node, made: [made[0], made[0]], "1 outputs came back as 2"),
    "fewer inputs": (linear, lambda g, node, made: [g.b.linear(*made[0].producer.inputs[:2], **made[0].producer.attrs)],
        "3 inputs came back as 2"),
    "other numbers": (linear, lambda g, node, made: [_other_weight(g, made[0].producer)], "weight 1 came back changed"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_comes_back_otherwise_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, instead, why = WRONG[name]
    row = make()
    assert check_row(row).exact
    load = type(row).load
    monkeypatch.setattr(type(row), "load", lambda self, g, node: instead(g, node, list(load(self, g, node))))
    with pytest.raises(CheckFailed, match=why):
        check_row(row)


@pytest.mark.parametrize("n", [0, 2])
def test_a_row_writes_one_node(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    row = leaky()
    emit = type(row).emit
    monkeypatch.setattr(type(row), "emit", lambda self, e, node: [emit(self, e, node) for _ in range(n)])
    with pytest.raises(CheckFailed, match=f"emitted {n} nodes instead of one"):
        check_row(row)


class Judge:
    """A format that computes what the op computes, but for what is added."""

    def __init__(self, more: float) -> None:
        self.more = more

    def accept(self, row: Any, written: Any, node: Any) -> Any:
        return written

    def compute(self, row: Any, written: Any, arrays: Any) -> Any:
        alpha = written.attrs["alpha"]
        return [np.where(a > 0, a, a * np.float32(alpha)) + np.float32(self.more) for a in arrays]


def test_what_the_format_computes_is_compared() -> None:
    assert check_row(leaky(), Judge(0)).exact  # type: ignore[arg-type]
    with pytest.raises(CheckFailed, match="the format computes something else than the op"):
        check_row(leaky(), Judge(0.01))  # type: ignore[arg-type]


def test_what_a_context_that_records_does_not_write() -> None:
    from convcore.build.builder import Builder
    from convcore.ir.dims import Dim
    from convcore.ir.graph import Graph

    b = Builder(Graph("g"))
    e = RecordingContext(b, None)
    x = b.input("x", "float32", (2, 3))
    assert e.state(b.weight(np.ones(3, "f4"), "w")).shape == (3,) and e.sizes([2, 3]).tensor.numpy().tolist() == [2, 3]
    with pytest.raises(Not, match="'x' is not a constant"):
        e.state(x)
    with pytest.raises(Not, match="a size is symbolic"):
        e.sizes([2, Dim("n")])

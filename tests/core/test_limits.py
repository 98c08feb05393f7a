"""What is too much: the limit itself is allowed, one more is not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from convcore import budget
from convcore.build.builder import Builder
from convcore.cli.parser import whole
from convcore.emit.legalise import expand
from convcore.errors import ConvcoreError
from convcore.hub.card import _code
from convcore.interpreter import run
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore.ops.linear import MOST_OPERANDS
from convcore.ops.unrolled import MOST_STEPS
from convcore.opset.shapes import MAX_RANK
from convcore.report.compare import ATOL, RTOL
from convcore.rewrite.fuse import told
from convcore.rewrite.region import Fusion
from convcore.rules.words import A, W
from convcore.samples import example_inputs


def _graph() -> tuple[Graph, Builder]:
    g = Graph("g")
    return g, Builder(g)


def _terms(n: int) -> Any:
    """Three sums of ten names, multiplied, and what is left of the number one by one."""
    total: Any = 1
    for of in "abc":
        total = total * sum((Dim(f"{of}{i}") for i in range(1, 10)), Dim(f"{of}0"))
    for i in range(n - 1000):
        total = total + Dim(f"d{i}")
    return total


def _axes(n: int) -> Any:
    g, b = _graph()
    g.outputs = [b.input("x", "float32", (1,) * n)]
    return example_inputs(g, {})


def _rank(n: int) -> Any:
    _, b = _graph()
    return b.op("dynamic_reshape", b.input("x", "float32", (1,)), b.input("s", "int64", (n,)))


def _operands(n: int) -> Any:
    _, b = _graph()
    return b.einsum(*(b.input(f"x{i}", "float32", (2,)) for i in range(n)), equation=",".join("i" * n) + "->i")


def _steps(n: int) -> Any:
    g, b = _graph()
    x = b.input("x", "float32", (n, 1, 1))
    one = np.ones((1, 1, 1), "f4")
    g.outputs = [b.op("rnn", x, b.weight(one, "w"), b.weight(one, "r"), None, None, None, hidden=1, layout="time_major")[0]]
    for name in ("rnn", "scan"):
        expand(g, next(node for node in g if node.op == name))
    return run(g, np.zeros((n, 1, 1), "f4"))


LIMITS: list[tuple[Callable[[int], Any], int, int, str]] = [
    (_terms, budget.TERMS, 1000, "terms, more than 1,000"),
    (_axes, budget.AXES, 64, "would have 65 axes"),
    (_rank, MAX_RANK, 64, "64 is the limit"),
    (_operands, MOST_OPERANDS, 16, "17 operands, more than 16"),
    (_steps, MOST_STEPS, 1024, "1025 steps are not written out"),
]


@pytest.mark.parametrize(("call", "limit", "said", "why"), LIMITS, ids=[c.__name__[1:] for c, *_ in LIMITS])
def test_the_limit_is_allowed_and_no_more(call: Callable[[int], Any], limit: int, said: int, why: str) -> None:
    assert limit == said
    call(limit)
    with pytest.raises(ConvcoreError, match=why):
        call(limit + 1)


def test_no_step_is_written_out() -> None:
    with pytest.raises(ConvcoreError, match="0 steps are not written out"):
        _steps(0)


def test_the_command_line_tells_the_tolerances_that_hold() -> None:
    _, actions = whole()
    told = {a.option_strings[0]: a.help or "" for group in actions.values() for a in group if a.option_strings}
    found = re.search(r"default ([\d.e-]+); half precision", told["--rtol"])
    assert found and float(found[1]) == RTOL == 1e-4
    assert "(default 0)" in told["--atol"] and ATOL == 0


@pytest.mark.parametrize("n", [4, 5, 6])
def test_the_first_four_of_what_was_found_are_told(n: int) -> None:
    (line,) = told([Fusion("gelu", f"g{i}", ("a",) * (i + 1)) for i in range(n)])
    assert line.startswith(f"gelu x {n}: g0 (1 node), g1 (2 nodes), ") and ("g4" in line) is False
    assert line.endswith("g3 (4 nodes)" if n == 4 else f"and {n - 4} more")


def test_code_on_a_card_is_cut_behind_120_characters() -> None:
    assert _code("x" * 120) == f"`{'x' * 120}`" and _code("x" * 121) == f"`{'x' * 119}…`"


def test_what_words_of_rows_mean_by_themselves() -> None:
    a = A("a")
    assert not (a.write_default or a.each or a.sizes) and a.at is None
    assert A("a", write_default=True) != a != A("a", each=True) and A("a", sizes=True) != a
    assert not W("w").optional and W("w", optional=True).optional


@pytest.mark.parametrize("call", [0, 1])
def test_the_first_use_of_a_scope_has_the_number_0(call: int) -> None:
    g, _ = _graph()
    assert g.scope("a", "T").call == 0 and g.scope("a", "T", call=call).call == call

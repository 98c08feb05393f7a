"""What rules make, as it is recorded: by type, by op, and by function."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convcore.build.builder import Builder
from convcore.ir.graph import Graph
from convcore.rules import ForeignNode, LoadContext, NotExpressible, RuleSet
from convcore.testing.record import likely_rows, record_rules, recording, unrecorded

RULES = RuleSet("toy")
RULES.op("Row", "relu")
RULES.op("Both", "relu", when={"way": 1})


@RULES.load("One", "Both", "Never")
def one(g: Any, node: ForeignNode) -> Any:
    node.ignore("way")
    return g.b.exp(node.need(0))


@RULES.load("Two", "Gone")
def two(g: Any, node: ForeignNode) -> Any:
    if node.type == "Gone":
        raise NotExpressible("gone")
    return g.b.exp(g.b.exp(node.need(0)))


def load(type: str, **attrs: Any) -> Any:
    b = Builder(Graph("g"))
    return RULES.apply_load(LoadContext(b), ForeignNode(type, "here", [b.input("x", "float32", (2, 3))], attrs))


def used() -> None:
    for type in ("Row", "One", "Both", "Two"):
        load(type)
    load("Both", way=1)
    with pytest.raises(Exception, match="gone"):
        load("Gone")


def test_functions_are_counted_and_rows_are_not() -> None:
    with recording("toy") as record:
        used()
    here = f"load {one.__module__.partition('.')[2]}"
    assert record.functions == {
        f"{here}.one One": {"one"}, f"{here}.one Both": {"one"}, f"{here}.two Two": {"several"}, f"{here}.two Gone": {"refused"},
    }  # fmt: skip
    assert record.made == {"Row": {"relu"}, "One": {"exp"}, "Both": {"exp", "relu"}, "Two": {"exp"}, "Gone": set()}


def test_single_things_are_likely_rows_whatever_stands_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVCORE_RECORD", "new")
    with record_rules("toy", tmp_path):
        used()
    monkeypatch.delenv("CONVCORE_RECORD")
    (found,) = likely_rows(RULES, tmp_path).items()
    assert found[0].endswith("one") and found[1] == ["Both", "One"]
    assert unrecorded(RULES, tmp_path) == ["ops_made.json: no test made anything of 'Never'"]
    with record_rules("toy", tmp_path):
        used()
    held = json.loads((tmp_path / "functions.json").read_text())
    (tmp_path / "functions.json").write_text(
        json.dumps({k: v for k, v in held.items() if "two" not in k} | {"load x.gone T": ["one"]})
    )
    left = unrecorded(RULES, tmp_path)
    assert [x for x in left if "no test reached" in x and "two" in x] and [x for x in left if "'load x.gone T' is no rule" in x]
    with pytest.raises(AssertionError, match="several"), record_rules("toy", tmp_path):
        load("Two")


def test_a_function_that_made_a_single_thing_and_now_several_is_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with recording("toy") as record:
        used()
    names = {k: sorted(v) for k, v in record.functions.items()}
    (tmp_path / "ops_made.json").write_text(json.dumps({k: sorted(v) for k, v in record.made.items()}))
    two_ = next(k for k in names if k.endswith("two Two"))
    (tmp_path / "functions.json").write_text(json.dumps(names | {two_: ["one"]}))
    with pytest.raises(AssertionError, match="several"), record_rules("toy", tmp_path):
        load("Two")
    one_ = next(k for k in names if k.endswith("one One"))
    (tmp_path / "functions.json").write_text(json.dumps(names | {one_: ["several"]}))
    with record_rules("toy", tmp_path):  # it makes several elsewhere: that is no row
        load("One")

"""What a report says: its verdict, its text, its JSON and what a notebook shows, for each of the ways a conversion ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convcore.errors import Problem
from convcore.report import OutputDifference, Report

FINE, OFF = OutputDifference("y", (2,), 1e-7, 1e-6, True), OutputDifference("z", (3,), 0.5, 0.25, False, "of rounding")
WAYS: dict[str, tuple[dict[str, Any], str, str, list[str]]] = {
    # fields, the verdict, the reason, and lines of the text
    "right": ({"differences": [FINE]}, "ok", "", ["  verdict: ok", f"    {FINE}"]),
    "weak": ({"differences": [FINE], "weak": ["a", "b"]}, "weak", "", ["  verdict: weak", "    weak: a", "    weak: b"]),
    "wrong": (
        {"differences": [FINE, OFF], "first_divergence": "layer l"}, "mismatch", "",
        ["  verdict: MISMATCH", "    first difference: layer l", f"    {OFF}"]),
    "refused": (
        {"problems": [Problem("l", "T", "why"), Problem("m", "T", "why")]}, "mismatch", "",
        ["  2 problems:", "    'l' (T): why"]),
    "one problem": ({"problems": [Problem("l", "T", "why")], "differences": [FINE]}, "mismatch", "", ["  1 problem:"]),
    "not compared": (
        {"unverified": "nothing runs it"}, "not verified", "nothing runs it", ["  verdict: NOT VERIFIED: nothing runs it"]),
    "left out": (
        {"skipped": True}, "not verified", "the check was left out (check=False)",
        ["  verdict: NOT VERIFIED: the check was left out (check=False)"]),
    "nothing said": ({}, "not verified", "", []),
    "both": ({"differences": [FINE], "unverified": "x", "skipped": True}, "ok", "", ["  verdict: ok"]),
    "more": (
        {"differences": [FINE], "layers": {"compared": 3, "covered": 4, "weights": 5}, "seconds": 1.26, "notes": ["n"],
         "source": {"format": "a", "empty": "", "none": None, "list": []}, "target": {"format": "b"}},
        "ok", "",
        ["  source: format a", "  target: format b", "    values compared: 3; weights that would show there: 4 of 5",
         "  took: 1.3 s", "  note: n"]),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_ways_of_ending(way: str) -> None:
    fields, verdict, reason, lines = WAYS[way]
    report = Report("a against b")
    for k, v in fields.items():
        setattr(report, k, v)
    assert (report.verdict, report.reason, report.ok) == (verdict, reason, verdict != "mismatch")
    said = str(report).splitlines()
    assert (
        said[0] == "a against b"
        and [x for x in lines if x not in said] == []
        and repr(report) == f"<convcore.Report 'a against b': {verdict}>"
    )
    assert any("verdict" in x for x in said) is (bool(report.differences) or bool(reason))
    assert any("took" in x for x in said) is ("seconds" in fields)
    told = json.loads(report.to_json())
    assert (told["verdict"], told["ok"], told["weak"]) == (verdict, report.ok, len(report.weak))
    assert told["verification"]["done"] is bool(report.differences) and told["seconds"] == round(report.seconds, 3)
    assert [d["name"] for d in told["verification"]["outputs"]] == [d.name for d in report.differences]
    shown = report._repr_html_()
    word = {"mismatch": "MISMATCH", "not verified": "NOT VERIFIED"}.get(verdict, verdict)
    assert f">{word}</span>" in shown and ("took" in shown.partition("<details>")[0]) is ("seconds" in fields)
    assert f">{word}: {reason}</td>" in shown if reason else f">{word}</td>" in shown
    assert shown.count("<details>") == 1


def test_numbers_of_all_outputs() -> None:
    report = Report("t")
    assert (report.max_abs, report.max_rel) == (0, 0)
    report.differences = [FINE, OFF]
    assert (report.max_abs, report.max_rel) == (0.5, 0.25)
    report.differences = [OutputDifference("y", (), float("inf"), float("nan"), False)]
    (told,) = json.loads(report.to_json())["verification"]["outputs"]
    assert (told["max_abs"], told["max_rel"]) == ("inf", "nan")


def test_sections_and_pictures() -> None:
    report = Report("t <b>")
    report.add("empty", [])
    report.add("lines", ["one", "two"])
    report.add("data", ["three"], {"n": 3})
    assert [s.title for s in report.sections] == ["lines", "data"]
    assert "  lines:\n    one\n    two\n  data:\n    three" in str(report)
    assert json.loads(report.to_json())["sections"] == {"lines": ["one", "two"], "data": {"n": 3}}
    report.picture = lambda: "<svg/>"
    assert "<details><summary>layers</summary><svg/></details>" in report._repr_html_() and "t &lt;b&gt;" in report._repr_html_()

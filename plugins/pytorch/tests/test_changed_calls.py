"""Calls of ATen's operators as torch's own table of tests makes them, and with one argument changed: torch computes the same, or
they are refused with the reason that is recorded.

``aten_calls.json`` holds the calls (from ``op_db`` of torch 2.13, by operator), ``aten_refused.json`` what is refused: by
operator and reason, the changes that meet it. ``python plugins/pytorch/tests/aten_calls.py`` makes all changes, says what is
wrong, and writes both anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
from aten_calls import CALLS, outcome, reasons

from convcore_pytorch.signatures import signature

REFUSED: dict[str, dict[str, list[str]]] = json.loads(Path(__file__).with_name("aten_refused.json").read_text("utf-8"))


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.filterwarnings("ignore")
def test_changes_give_what_torch_gives_or_are_refused_as_recorded(kind: str) -> None:
    recorded = {where: why for why, places in REFUSED.get(kind, {}).items() for where in places}
    for where, said in reasons(kind):
        assert not said.startswith("wrong"), f"{where}: {said}"
        if said or where in recorded:
            assert said == f"refused: {recorded.get(where)}", where


def _typed() -> list[str]:
    """Operators that take the type of their result."""
    found = []
    for kind in CALLS:
        sig = signature(kind if kind.count(".") > 1 else f"{kind}.default")
        if sig is not None and any((p.name, p.type) == ("dtype", "ScalarType?") for p in sig.parameters):
            found.append(kind)
    return found


@pytest.mark.parametrize("kind", _typed())
@pytest.mark.filterwarnings("ignore")
def test_the_type_that_is_asked_for(kind: str) -> None:
    """Whether or not the program says the types of results."""
    said = []
    for dtype in ("float64", "int64", "float32", "int32", "uint8"):
        for call in CALLS[kind][:2]:
            changed = {"args": {**call["args"], "dtype": {"e": dtype}}}
            said += [outcome(kind, changed, told) for told in (False, True)]
    assert not any(why.startswith("wrong") for why in said), said

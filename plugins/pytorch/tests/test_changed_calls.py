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
from aten_calls import CALLS, reasons

REFUSED: dict[str, dict[str, list[str]]] = json.loads(Path(__file__).with_name("aten_refused.json").read_text("utf-8"))


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.filterwarnings("ignore")
def test_changes_give_what_torch_gives_or_are_refused_as_recorded(kind: str) -> None:
    recorded = {where: why for why, places in REFUSED.get(kind, {}).items() for where in places}
    for where, said in reasons(kind):
        assert not said.startswith("wrong"), f"{where}: {said}"
        if said or where in recorded:
            assert said == f"refused: {recorded.get(where)}", where

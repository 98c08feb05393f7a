"""The standard's node cases changed in one place are refused with a reason, or loaded as onnx.reference computes them."""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from changed_nodes import Changed, base, change, changes
from onnx_kit import load_model, node_cases

from convcore.build.opaque import opaque_problems
from convcore.errors import ConvcoreError, PluginBugError

REFUSALS: dict[str, list[tuple[list[Any], str]]] = json.loads(Path(__file__).with_name("refusals.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def cases() -> dict[str, Changed]:
    return {c.name: b for c in node_cases() if (b := base(c)) is not None}


def refusal(case: Changed) -> str:
    """Why it is refused; "" where it loads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return "; ".join(p.why for p in opaque_problems(load_model(case.model())))
        except PluginBugError:
            raise
        except ConvcoreError as e:
            return str(e)


@pytest.mark.parametrize("part", range(8))
def test_changes_end_in_no_other_exception(cases: dict[str, Changed], part: int) -> None:
    """One case of each operator; every fourth change of it."""
    seen: defaultdict[str, list[str]] = defaultdict(list)
    for name, c in cases.items():
        seen[f"{c.node.domain} {c.node.op_type}"].append(name)
    for name in [names[0] for names in seen.values()][part::8]:
        for what in list(changes(cases[name]))[::4]:
            try:
                refusal(change(cases[name], what))
            except Exception as e:
                raise AssertionError(f"{name}, {what}: {type(e).__name__}: {e}") from e


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_refused_is_told(cases: dict[str, Changed], name: str) -> None:
    """One change for each reason that nodes are refused for, by the reason's words."""
    for what, why in REFUSALS[name]:
        assert why in refusal(change(cases[name], what)), what

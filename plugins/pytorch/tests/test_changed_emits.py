"""Every sample of every op, changed in one place: written as PyTorch or refused with a reason, never another exception."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.changed_emits import reason
from tests.support.changed_samples import change, changes

from convcore.errors import PluginBugError, ShapeError
from convcore.ops.families import FAMILIES
from convcore.opset.declare import Op
from convcore_pytorch.dialect import TorchDialect
from convcore_pytorch.rules import RULES

OPS: dict[str, Op] = {name: decl for family in FAMILIES for name, decl in family.ops.items() if decl.samples}
REFUSALS: dict[str, list[tuple[int, list[Any], str]]] = json.loads(Path(__file__).with_name("refusals.json").read_text("utf-8"))


def why(decl: Op, number: int, what: Any) -> str:
    return reason(decl, change(decl, decl.samples[number], what), RULES, TorchDialect())


@pytest.mark.parametrize("name", OPS)
@pytest.mark.filterwarnings("ignore")
def test_changes_end_in_no_other_exception(name: str) -> None:
    """Every third change of the first two samples."""
    decl = OPS[name]
    for number, sample in enumerate(decl.samples[:2]):
        for c in list(changes(decl, sample))[::3]:
            try:
                why(decl, number, c.what)
            except ShapeError:
                continue
            except PluginBugError as e:
                raise AssertionError(f"sample {number}, {c.what}: {e}") from e


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.filterwarnings("ignore")
def test_what_is_refused_is_told(name: str) -> None:
    for number, what, said in REFUSALS[name]:
        assert said in why(OPS[name], number, what), what

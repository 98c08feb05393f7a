"""Every row of PyTorch both ways, with torch's modules, functions and schemas in between."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.held import Held

torch = pytest.importorskip("torch")
from pytorch_not_rows import NOT_EXPORTED, WHY
from torch_schema import TorchSchema

from convcore.rules.rows import Row
from convcore.testing.record import likely_rows, read_record, unrecorded
from convcore.testing.rules import check_row
from convcore_pytorch.rules import RULES


def label(row: Row) -> str:
    return f"{row.foreign}-{row.op_name}{''.join(f',{k}={v}' for k, v in row.when.items())}"


EXAMPLES = Held(Path(__file__).with_name("rows.json"))
"""How many examples each row writes, and why it does not write others."""


@pytest.mark.parametrize("row", RULES.rows(), ids=label)
def test_torch_takes_what_the_row_writes(row: Row, request: pytest.FixtureRequest) -> None:
    report = check_row(row, TorchSchema())
    assert report.exact > 0
    EXAMPLES.check(request.node.callspec.id, [report.exact, sorted({why.split("): ", 1)[-1] for why in report.reasons})])


def test_there_are_enough_rows() -> None:
    assert len(RULES.rows()) >= 330


def test_the_record_of_what_rules_make() -> None:
    """Every function is in the records, and nothing else; ATen's are reached by torch's own table besides (conftest.py)."""
    found = unrecorded(RULES, Path(__file__).parent)
    assert found == [f"ops_made.json: no test made anything of {k!r}" for k in sorted(NOT_EXPORTED)]
    made = read_record(Path(__file__).with_name("ops_made.json"))
    assert {"where", "isnan"} <= {*made["aten.sign"]} and made["aten.randperm"] == ()


def test_no_function_is_left_that_a_row_could_say() -> None:
    """A function that only ever makes a single thing of a type is listed with the reason why it is no row."""
    assert likely_rows(RULES, Path(__file__).parent).keys() == WHY.keys()

"""Every row of ONNX both ways, with the standard's schemas and runtimes in between."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx_not_rows import WHY
from onnx_schema import OnnxSchema
from tests.support.held import Held

from convcore.rules.rows import Row
from convcore.testing.record import likely_rows, read_record, unrecorded
from convcore.testing.rules import check_row
from convcore_onnx.rules import RULES

SCHEMA = OnnxSchema()


def label(row: Row) -> str:
    return f"{row.foreign}-{row.op_name}-{row.since or ''}..{row.until or ''}{''.join(f',{k}' for k in row.when)}"


EXAMPLES = Held(Path(__file__).with_name("rows.json"))
"""How many examples each row writes, and why it does not write others."""


@pytest.mark.parametrize("row", RULES.rows(), ids=label)
def test_the_standard_takes_what_the_row_writes(row: Row, request: pytest.FixtureRequest) -> None:
    report = check_row(row, SCHEMA)
    assert report.exact > 0
    EXAMPLES.check(request.node.callspec.id, [report.exact, sorted({why.split("): ", 1)[-1] for why in report.reasons})])


def test_the_record_of_what_rules_make() -> None:
    """Every function is in the records, and nothing else; new ops and types fail the session (conftest.py)."""
    assert not unrecorded(RULES, Path(__file__).parent)
    made = read_record(Path(__file__).with_name("ops_made.json"))
    for type_, ops in {"GlobalLpPool": ("abs", "l1_norm", "l2_norm", "pow", "sum"), "RegexFullMatch": ()}.items():
        assert made[type_] == ops


def test_there_are_enough_rows() -> None:
    assert len(RULES.rows()) >= 185


def test_no_function_is_left_that_a_row_could_say() -> None:
    """A function that only ever makes a single thing of a type is listed with the reason why it is no row."""
    assert likely_rows(RULES, Path(__file__).parent).keys() == WHY.keys()

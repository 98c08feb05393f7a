"""Every row of Caffe both ways, with protobuf and the reader in between."""

from __future__ import annotations

from pathlib import Path

import pytest
from caffe_not_rows import WHY
from caffe_schema import CaffeSchema
from tests.support.held import Held

from convcore.rules.rows import Row
from convcore.testing.record import likely_rows, read_record, unrecorded
from convcore.testing.rules import check_row
from convcore_caffe.rules import RULES


def _shown(v: object) -> str:
    """The same in every process, in which sets have orders of their own."""
    return "|".join(sorted(map(str, v))) if isinstance(v, (set, frozenset)) else str(v)


def label(row: Row) -> str:
    return f"{row.foreign}-{row.op_name}{''.join(f',{k}={_shown(v)}' for k, v in row.when.items())}"


EXAMPLES = Held(Path(__file__).with_name("rows.json"))
"""How many examples each row writes, and why it does not write others."""


@pytest.mark.parametrize("row", RULES.rows(), ids=label)
def test_caffe_takes_what_the_row_writes(row: Row, request: pytest.FixtureRequest) -> None:
    report = check_row(row, CaffeSchema())
    assert report.exact > 0
    EXAMPLES.check(request.node.callspec.id, [report.exact, sorted({why.split("): ", 1)[-1] for why in report.reasons})])


def test_there_are_enough_rows() -> None:
    assert len(RULES.rows()) >= 45


def test_the_record_of_what_rules_make() -> None:
    """Every function is in the records, and nothing else; new ops and types fail the session (conftest.py)."""
    assert not unrecorded(RULES, Path(__file__).parent)
    made = read_record(Path(__file__).with_name("ops_made.json"))
    for type_, ops in {"BatchNorm": ("batch_norm", "mean_variance_norm"), "Silence": ()}.items():
        assert made[type_] == ops


def test_no_function_is_left_that_a_row_could_say() -> None:
    """A function that only ever makes a single thing of a type is listed with the reason why it is no row."""
    assert likely_rows(RULES, Path(__file__).parent).keys() == WHY.keys()

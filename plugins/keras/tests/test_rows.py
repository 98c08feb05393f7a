"""Every row of Keras both ways, with Keras's own classes in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.held import Held

pytest.importorskip("keras")
from keras_not_rows import WHY
from keras_schema import KerasSchema

from convcore.rules.rows import Row
from convcore.testing.record import likely_rows, read_record, unrecorded
from convcore.testing.rules import check_row
from convcore_keras.layer_spec import spec_of
from convcore_keras.rules import RULES

ROWS = [r for r in RULES.rows() if r.direction != "load"]


def label(row: Row) -> str:
    return f"{row.foreign}-{row.op_name}{''.join(f',{k}={v}' for k, v in row.when.items())}"


EXAMPLES = Held(Path(__file__).with_name("rows.json"))
"""How many examples each row writes, and why it does not write others."""


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_keras_takes_what_the_row_writes(row: Row, request: pytest.FixtureRequest) -> None:
    report = check_row(row, KerasSchema())
    assert report.exact > 0
    EXAMPLES.check(request.node.callspec.id, [report.exact, sorted({why.split("): ", 1)[-1] for why in report.reasons})])


def test_rows_that_only_load_say_so_for_a_reason() -> None:
    """What is written by another row or by a function, left Keras, or needs what no word says yet."""
    reasons: dict[str, Any] = {}
    for row in RULES.rows():
        if row.direction == "load":
            other = bool(RULES.emit_rules.get(row.op_name))
            reasons[label(row)] = other or spec_of(row.foreign).extinct
    assert all(v or "identity" in k or k.startswith("PReLU") for k, v in reasons.items()), reasons


def test_there_are_enough_rows() -> None:
    assert len(RULES.rows()) >= 150


def test_the_record_of_what_rules_make() -> None:
    """Every function is in the records, and nothing else; new ops and types fail the session (conftest.py)."""
    record = read_record(Path(__file__).with_name("ops_made.json"))
    assert not unrecorded(RULES, Path(__file__).parent)
    assert {"add", "div"} <= set(record["Average"]) and "batch_dot" in record["Dot"]


def test_no_function_is_left_that_a_row_could_say() -> None:
    """A function that only ever makes a single thing of a type is listed with the reason why it is no row."""
    assert likely_rows(RULES, Path(__file__).parent).keys() == WHY.keys()

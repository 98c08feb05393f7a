"""Every row of ONNX both ways, with the standard's schemas and runtimes in between."""

from __future__ import annotations

import pytest
from onnx_schema import OnnxSchema

from convcore.rules.rows import Row
from convcore.testing.rules import check_row
from convcore_onnx.rules import RULES

SCHEMA = OnnxSchema()


def label(row: Row) -> str:
    return f"{row.foreign}-{row.op_name}-{row.since or ''}..{row.until or ''}{''.join(f',{k}' for k in row.when)}"


@pytest.mark.parametrize("row", RULES.rows(), ids=label)
def test_the_standard_takes_what_the_row_writes(row: Row) -> None:
    assert check_row(row, SCHEMA).exact > 0

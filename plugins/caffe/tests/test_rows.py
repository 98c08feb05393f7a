"""Every row of Caffe both ways, with protobuf and the reader in between."""

from __future__ import annotations

import pytest
from caffe_schema import CaffeSchema

from convcore.rules.rows import Row
from convcore.testing.rules import check_row
from convcore_caffe.rules import RULES


def _shown(v: object) -> str:
    """The same in every process, in which sets have orders of their own."""
    return "|".join(sorted(map(str, v))) if isinstance(v, (set, frozenset)) else str(v)


def label(row: Row) -> str:
    return f"{row.foreign}-{row.op_name}{''.join(f',{k}={_shown(v)}' for k, v in row.when.items())}"


@pytest.mark.parametrize("row", RULES.rows(), ids=label)
def test_caffe_takes_what_the_row_writes(row: Row) -> None:
    assert check_row(row, CaffeSchema()).exact > 0


def test_there_are_enough_rows() -> None:
    assert len(RULES.rows()) >= 45

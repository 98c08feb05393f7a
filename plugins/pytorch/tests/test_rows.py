"""Every row of PyTorch both ways, with torch's modules, functions and schemas in between."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch_schema import TorchSchema

from convcore.rules.rows import Row
from convcore.testing.rules import check_row
from convcore_pytorch.rules import RULES


def label(row: Row) -> str:
    return f"{row.foreign}-{row.op_name}{''.join(f',{k}={v}' for k, v in row.when.items())}"


@pytest.mark.parametrize("row", RULES.rows(), ids=label)
def test_torch_takes_what_the_row_writes(row: Row) -> None:
    assert check_row(row, TorchSchema()).exact > 0

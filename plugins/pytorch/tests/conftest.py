"""What rules make is recorded; helpers of the tests here are importable."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from convcore.testing.record import record_rules

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def made_by_rules() -> Iterator[None]:
    """Fails the session where a rule made an op, or wrote a type, that the records do not have."""
    with record_rules("pytorch", Path(__file__).parent):
        yield

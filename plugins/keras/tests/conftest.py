"""Keras, where a test needs it as the judge, runs on torch; helpers of the tests here are importable;
what rules make is recorded."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from convcore.testing.record import missing, recording

os.environ.setdefault("KERAS_BACKEND", "torch")
sys.path.insert(0, os.path.dirname(__file__))


@pytest.fixture(scope="session", autouse=True)
def made_by_rules() -> Iterator[None]:
    """Fails the session where a rule made an op that ``ops_made.json`` does not have (CONVCORE_RECORD=1 adds it)."""
    with recording("keras") as record:
        yield
    new = missing(record.made, Path(__file__).with_name("ops_made.json"))
    assert not new, f"run the tests with CONVCORE_RECORD=1 and docs/generate.py: {new}"

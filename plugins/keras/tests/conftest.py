"""Keras, where a test needs it as the judge, runs on torch; helpers of the tests here are importable;
what rules make is recorded."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from convcore.testing.record import record_rules

os.environ.setdefault("KERAS_BACKEND", "torch")
sys.path.insert(0, os.path.dirname(__file__))


@pytest.fixture(scope="session", autouse=True)
def made_by_rules() -> Iterator[None]:
    """Fails the session where a rule made an op, or wrote a type, that the records do not have."""
    with record_rules("keras", Path(__file__).parent):
        yield

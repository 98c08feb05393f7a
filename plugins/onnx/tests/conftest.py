"""Fixtures of the ONNX plugin's tests; what they share is in onnx_kit.py, importable by that name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convcore.testing.record import record_rules

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def node_cases() -> list[Any]:
    """The standard's node test cases."""
    import onnx_kit

    return onnx_kit.node_cases()


@pytest.fixture(scope="session", autouse=True)
def made_by_rules() -> Iterator[None]:
    """Fails the session where a rule made an op, or wrote a type, that the records do not have."""
    with record_rules("onnx", Path(__file__).parent):
        yield

"""Fixtures of the ONNX plugin's tests; what they share is in onnx_kit.py, importable by that name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def node_cases() -> list[Any]:
    """The standard's node test cases."""
    import onnx_kit

    return onnx_kit.node_cases()

"""What the tests of the writer share."""

from __future__ import annotations

from typing import Any

from convcore.hookspecs import EmitRequest
from convcore_pytorch.emit import emit


def emit_model(graph: Any, out: Any = None, **options: Any) -> Any:
    """What writing a graph gave."""
    return emit(EmitRequest(graph, out, options))

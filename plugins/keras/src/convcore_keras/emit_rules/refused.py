"""What no functional Keras model can hold, and why."""

from __future__ import annotations

from convcore.plugin import Node, NotExpressible

from ..dialect import KerasScribe
from .base import RULES

__all__: list[str] = []

_VALUES = "the sizes of its result depend on values, and a functional Keras model has no such shapes"
_WHY = {
    **dict.fromkeys(["compress", "detection_output", "nms", "nonzero", "unique"], _VALUES),
    **dict.fromkeys(["dynamic_expand", "dynamic_fill", "dynamic_reshape", "dynamic_slice", "range"],
                    "a size or bound is computed from values while it runs, and a functional Keras model has no such shapes"),
    "if": "Keras has no control flow that can be saved",
    "loop": "Keras has no control flow that can be saved",
    "scan": "Keras has no control flow that can be saved",
}  # fmt: skip


@RULES.emit(*_WHY)
def refused(s: KerasScribe, node: Node) -> None:
    """What control flow computes may still be written out by its body."""
    raise NotExpressible(_WHY[node.op])

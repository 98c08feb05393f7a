"""The driver of ATen's calls: what became opaque and why, and whether an operator's parts may be tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convcore.plugin import Driver, DType, ForeignNode, Problem, Shape, UnsupportedError, Value, ask_override

from .context import AtenNode

__all__ = ["AtenDriver"]

SETTLED = frozenset({"random", "training_mode", "undefined"})
"""Codes of refusals of what an operator means, which its parts mean too."""


TORCHS = frozenset({"aten", "prim", "prims", "higher_order", "_operator", "math", "torch", "convcore"})
CUSTOM = (
    "an operator of torch.library, whose meaning the program does not hold: a rule for {0!r} says it (docs/adding-a-rule.md; in "
    "one call {1}), or export the module with its plain PyTorch form"
)


class AtenDriver(Driver):
    """ATen calls by their rules. ``lacking``: what became opaque, and why; ``parts``: what kept the call at work from being
    written as its parts."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.lacking: list[str] = []
        self.parts = ""
        self.settled = False
        """Whether the last refusal holds whatever the operator's parts are."""

    def problem(self, node: ForeignNode, error: UnsupportedError) -> Problem:
        p = super().problem(node, error)
        self.settled = p.code in SETTLED
        self.lacking.append(f"{node.type} {p.why}")
        why, self.parts = (f"{p.why} (of its parts: {self.parts})" if self.parts else p.why), ""
        own = p.code == "unsupported_layer" and node.type.partition(".")[0] not in TORCHS
        return Problem(p.layer, p.type, why, CUSTOM.format(node.type, ask_override(node.type)) if own else p.hint, p.code)

    def kept(self, node: ForeignNode) -> Mapping[str, Any]:
        given = node.given if isinstance(node, AtenNode) else {}
        return {k: _plain(v) for k, v in given.items()}

    def is_opaque(self, values: Sequence[Value]) -> bool:
        """Whether the results of a call are those of an opaque node."""
        return bool(values) and values[0].producer is not None and values[0].producer.op == "opaque"

    def declared(self, node: ForeignNode) -> Sequence[tuple[DType | None, Shape | None]]:
        return node.results if isinstance(node, AtenNode) else ()


def _plain(v: Any) -> Any:
    if isinstance(v, Value):
        return f"%{v.name}"
    if isinstance(v, (list, tuple)):
        return [_plain(i) for i in v]
    return v if v is None or isinstance(v, (bool, int, float, str)) else str(v)

"""The rule set, and conversions several families share."""

from __future__ import annotations

from typing import Any

from convcore.plugin import NotExpressible, RuleSet, isomorphism

__all__ = ["RULES", "one_if_equal"]

RULES: RuleSet[Any, Any] = RuleSet("pytorch", "convcore-pytorch", "convcore_pytorch.emit_rules")


def one_if_equal(values: Any) -> Any:
    """A number where all are equal, else a tuple: ``kernel_size=3`` and ``kernel_size=(3, 5)``."""
    items = tuple(values)
    return items[0] if items and all(isinstance(i, int) and i == items[0] for i in items) else items


def _symmetric(pads: Any) -> Any:
    if isinstance(pads, str) or any(a != b for a, b in pads):
        raise NotExpressible(f"padding {pads} is not the same on both sides")
    return one_if_equal(a for a, _ in pads)


def _listed(value: Any, n: int) -> tuple[Any, ...]:
    """``n`` numbers: a list as it is, one number for all."""
    return (value,) * n if value is None or isinstance(value, int) else tuple(value)


isomorphism(
    "torch_ints",
    _listed,
    lambda v, n: one_if_equal(v),
    "n integers, or one for all; written as one where all are equal",
)
isomorphism(
    "torch_pads",
    lambda v, n: tuple((int(p), int(p)) for p in _listed(v, n)),
    lambda v, n: _symmetric(v),
    "[p1, p2] as ((p1, p1), (p2, p2)), one for all n; written as one number where all are equal",
)

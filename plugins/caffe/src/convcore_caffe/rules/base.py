"""The rule set of Caffe, and the fields no rule needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convcore.plugin import NotExpressible, RuleSet, ShapeError, isomorphism

if TYPE_CHECKING:
    from ..context import CaffeContext, CaffeNode

__all__ = ["RULES"]

RULES: RuleSet[CaffeContext, CaffeNode] = RuleSet("caffe", "convcore-caffe", "convcore_caffe.emit_rules")
"""Caffe layers by type name."""

# How weights start, which implementation runs, and what only training uses: nothing of it changes inference.
RULES.ignore(
    "weight_filler", "bias_filler", "filler", "scale_filler", "slope_filler", "shift_filler", "engine", "debug_info",
    "force_nd_im2col", "stable_prod_grad", "moving_average_fraction", "momentum", "frozen", "dropout_ratio", "do_all_reduce",
)  # fmt: skip


def _whole(v: float) -> int:
    """A count that forks hold as an integer or a float."""
    if not 1 <= v < float("inf") or v != int(v):
        raise NotExpressible(f"{v} is not a whole number of at least 1")
    return int(v)


def _count(v: float) -> int:
    """The same where no layer has another meaning for the rest: the net is bad."""
    try:
        return _whole(v)
    except NotExpressible as e:
        raise ShapeError(str(e)) from e


def _spatial(v: Sequence[int]) -> tuple[int, ...]:
    """Numbers per spatial axis, of which there must be some."""
    if not len(v):
        raise NotExpressible("it has no spatial axes")
    return tuple(v)


def _pads(v: Any) -> list[int]:
    if isinstance(v, str) or any(b != e or not isinstance(b, int) or b < 0 for b, e in v):
        raise NotExpressible(f"padding {v} is not the same at both ends, or negative")
    return [b for b, _ in v]


isomorphism("caffe_spatial", _spatial, lambda v: list(_spatial(v)), "[a, b] with one number per spatial axis, at least one")
isomorphism("caffe_pads", lambda v: tuple((n, n) for n in v), _pads, "[p1, p2] as ((p1, p1), (p2, p2)), none negative")
isomorphism("caffe_count", _count, lambda v: v, "a whole number of at least 1; with another the net is bad")
isomorphism("caffe_whole", _whole, lambda v: v, "a whole number of at least 1, as an integer or a float")

"""Masks of a call of a layer of the source: what its inputs have, and what its results get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convcore.plugin import Value

from ...load_context import KerasContext
from ..values import CodeRefused
from .classes import Bound, SourceObject

if TYPE_CHECKING:
    from .domain import SourceDomain

__all__ = ["masks_of", "set_masks", "some"]


def masks_of(g: KerasContext, x: Any) -> Any:
    """The mask of a tensor, or those of a list of them."""
    if isinstance(x, (list, tuple)):
        found = [masks_of(g, v) for v in x]
        return found if some(found) or g.era == "keras3" else None
    return g.mask(x) if isinstance(x, Value) else None


def some(x: Any) -> bool:
    """Whether there is a mask."""
    return any(some(v) for v in x) if isinstance(x, (list, tuple)) else x is not None


def set_masks(g: KerasContext, d: SourceDomain, x: SourceObject, first: Any, y: Any, previous: Any) -> None:
    """What ``compute_mask`` and ``supports_masking`` say of the mask of the results."""
    own = x.cls.find("compute_mask")
    supports = x.state.supports_masking if x.state.supports_masking is not None else own is not None
    outs = [v for v in (y if isinstance(y, (list, tuple)) else [y]) if isinstance(v, Value)]
    if all(g.mask(v) is not None for v in outs):
        return  # computed already, by a layer inside
    if not supports and own is None:
        if g.era != "keras3":
            for v in outs:
                g.set_mask(v, None)
        return
    found = previous if own is None else d.call(Bound(x, own), [first, previous], {})
    if not some(found):
        if g.era != "keras3":
            for v in outs:
                g.set_mask(v, None)
        return
    listed = found if isinstance(found, (list, tuple)) else [found]
    if len(listed) != len(outs):
        raise CodeRefused(f"gives {len(listed)} masks for {len(outs)} results")
    for v, m in zip(outs, listed):
        if m is not None and not isinstance(m, Value):
            raise CodeRefused("computes a mask that is no tensor")
        if g.mask(v) is None or g.era != "keras3":
            g.set_mask(v, m)

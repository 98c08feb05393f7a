"""How masks travel through layers, as ``Layer.compute_mask`` and ``supports_masking`` of Keras 3.15.1 say.

A layer that does not support masks stops them: Keras 3 and tf.keras drop the mask, Keras 1 and 2 refused to build such a model,
so files of theirs never hold one. What a layer does with masks is in its record (``layer_spec.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from convcore.plugin import ForeignNode, Value, known_shape

from .layer_spec import spec_of
from .load_context import KerasContext, LayerCall

__all__ = ["masked_merges", "propagate"]


def propagate(g: KerasContext, node: ForeignNode, outputs: Sequence[Value]) -> None:
    """Attach to the outputs of a layer the mask Keras would; ``node`` is the layer's call."""
    layer = node.extra.layer if isinstance(node.extra, LayerCall) else None
    if not outputs or spec_of(node.type).masks == "own" or (layer is not None and g.source_of(layer) is not None):
        return
    make = _RULES.get(spec_of(node.type).masks)
    mask = make(g, node, outputs[0]) if make is not None else None
    for v in outputs:
        g.set_mask(v, mask)


def _first(g: KerasContext, node: ForeignNode, y: Value) -> Value | None:
    return g.previous_mask(node) if spec_of(node.type).masks_since in ("", g.era) else None


def _joins_masks(g: KerasContext) -> bool:
    """Keras 3.0 to 3.3 ask a list of inputs for its mask (``Layer.__call__``: ``getattr(first_arg, "_keras_mask", None)``), which
    no list has: the layers that merge have no mask there (3.3.3 run, 3.0.5 read)."""
    return g.era != "keras3" or masked_merges(g)


def _merged(g: KerasContext, node: ForeignNode, y: Value) -> Value | None:
    """``Merge.compute_mask``: since Keras 3.4 the OR of the masks, none when an input has none; in Keras 1, Keras 2 and tf.keras
    the AND of those that there are (keras 1.2.2, 2.0.9, 2.3.1 and 2.15.0 read, 3.4.1 run)."""
    if not _joins_masks(g):
        return None
    masks = [g.previous_mask(node, i) for i in range(len(node.inputs))]
    found = list({id(m): m for m in masks if m is not None}.values())
    if not found or (masked_merges(g) and any(m is None for m in masks)):
        return None
    out = found[0]
    with g.b.at(node.origin):
        for m in found[1:]:
            out = g.b.op("or" if masked_merges(g) else "and", out, m)
    return out


def _concatenated(g: KerasContext, node: ForeignNode, y: Value) -> Value | None:
    """``Concatenate.compute_mask``: masks (True for inputs without one) broadcast to their inputs and joined along the axis, then
    reduced over the last axis: ANY since Keras 3.4, ALL before Keras 3."""
    if not _joins_masks(g):
        return None
    masks = [g.previous_mask(node, i) for i in range(len(node.inputs))]
    if all(m is None for m in masks):
        return None
    last = y.rank is not None and int(node.attrs.get("axis", -1)) in (-1, y.rank - 1)
    if last and all(m is masks[0] for m in masks) and masks[0] is not None and masks[0].rank == (y.rank or 0) - 1:
        return masks[0]
    b = g.b
    parts = []
    with b.at(node.origin):
        for x, m in zip(node.inputs, masks, strict=True):
            shape = known_shape(x, sizes=True)
            if m is None:
                parts.append(b.fill(shape=shape, value=True, dtype="bool"))
                continue
            if m.rank not in (len(shape), len(shape) - 1):
                raise node.refuse("a mask's number of axes does not fit its input")
            m = b.unsqueeze(m, axes=(m.rank,)) if m.rank < len(shape) else m
            parts.append(b.expand(m, shape=shape))
        joined = b.concat(*parts, axis=int(node.attrs.get("axis", -1)))
        reduce = b.any if masked_merges(g) else b.all
        return reduce(joined, axes=(-1,), keepdims=False)


def masked_merges(g: KerasContext) -> bool:
    """Keras 3.4 and later: Maximum, Minimum and Multiply leave masked steps out, Concatenate joins masks with ANY (3.3.3 and
    3.4.1 compared)."""
    return g.era == "keras3" and (not g.version or g.version >= (3, 4))


_RULES: dict[str, Callable[[KerasContext, ForeignNode, Value], Value | None]] = {
    "pass": _first,
    "merge": _merged,
    "concat": _concatenated,
}

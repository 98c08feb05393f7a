"""How masks travel through layers, as ``Layer.compute_mask`` and ``supports_masking`` of Keras 3.15.1 say.

A layer that does not support masks stops them: Keras 3 and tf.keras drop the mask, Keras 1 and 2 refused to build such a model,
so files of theirs never hold one. Rules of layers in ``OWN`` set the mask of their outputs themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from convcore.plugin import ForeignNode, Value

from .load_context import KerasContext, known_shape

__all__ = ["MERGES", "OWN", "PASSES", "masked_merges", "propagate"]

PASSES = {
    "Activation",
    "ActivityRegularization",
    "AlphaDropout",
    "BatchNormalization",
    "Dense",
    "Dropout",
    "ELU",
    "GaussianDropout",
    "GaussianNoise",
    "GroupNormalization",
    "Identity",
    "LayerNormalization",
    "LeakyReLU",
    "Normalization",
    "PReLU",
    "ReLU",
    "Rescaling",
    "Softmax",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "ThresholdedReLU",
    "UnitNormalization",
}
"""The output has the mask of the first input (``supports_masking`` with the default ``compute_mask``)."""

MERGES = {"Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"}
"""The output's mask is the OR of all inputs' masks, or none when an input has none (``Merge.compute_mask``)."""

OWN = {
    "Bidirectional",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "Embedding",
    "GRU",
    "LSTM",
    "Masking",
    "RNN",
    "SimpleRNN",
    "TimeDistributed",
}
"""Their rules call ``g.set_mask``."""


def propagate(g: KerasContext, node: ForeignNode, outputs: Sequence[Value]) -> None:
    """Attach to the outputs of a layer the mask Keras would; ``node`` is the layer's call."""
    if not outputs or node.type in OWN:
        return
    make = _RULES.get(node.type)
    mask = make(g, node, outputs[0]) if make is not None else None
    for v in outputs:
        g.set_mask(v, mask)


def _first(g: KerasContext, node: ForeignNode, y: Value) -> Value | None:
    return g.previous_mask(node)


def _all_or_none(g: KerasContext, node: ForeignNode, y: Value) -> Value | None:
    masks = [g.previous_mask(node, i) for i in range(len(node.inputs))]
    found = [m for m in masks if m is not None]
    if len(found) != len(masks):
        return None
    out = found[0]
    with g.b.at(node.origin):
        for m in found[1:]:
            out = g.b.op("or", out, m)
    return out


def _concatenated(g: KerasContext, node: ForeignNode, y: Value) -> Value | None:
    """``Concatenate.compute_mask``: masks (True for inputs without one) broadcast to their inputs and joined along the axis, then
    reduced over the last axis: ANY since Keras 3.4, ALL before."""
    masks = [g.previous_mask(node, i) for i in range(len(node.inputs))]
    if all(m is None for m in masks):
        return None
    if all(m is masks[0] for m in masks) and y.rank is not None and int(node.attrs.get("axis", -1)) in (-1, y.rank - 1):
        return masks[0]
    b = g.b
    parts = []
    with b.at(node.origin):
        for x, m in zip(node.inputs, masks, strict=True):
            shape = known_shape(node, x)
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
    **dict.fromkeys(PASSES, _first),
    **dict.fromkeys(MERGES, _all_or_none),
    "Concatenate": _concatenated,
}

"""Neighbouring layers as the one layer a person would have written, where not a bit of the result changes.

Power after Power, Scale and Bias, coefficients of Eltwise, sums of many blobs, Normalize and its scale, Flatten before
InnerProduct. Nothing is merged whose blob something else reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from convcore.plugin import as_tensor

from .emitter import PlanLayer, Top

__all__ = ["in_place", "tidy"]


class _Plan:
    """The layers, and how often each blob is read (outputs of the net count once)."""

    def __init__(self, layers: Sequence[PlanLayer], outputs: Sequence[Top]) -> None:
        self.layers = list(layers)
        self.reads: Counter[Top] = Counter(t for layer in layers for t in layer.bottoms)
        self.reads.update(outputs)
        self.gone: set[int] = set()

    def only(self, top: Top, *types: str) -> PlanLayer | None:
        """The layer of one of the types that writes ``top``, if nothing but one bottom reads it."""
        layer = top.layer
        if layer is None or self.reads[top] != 1 or len(layer.tops) != 1 or layer.type not in types or id(layer) in self.gone:
            return None
        return layer

    def drop(self, layer: PlanLayer) -> None:
        self.gone.add(id(layer))

    def absorb(self, layer: PlanLayer, before: PlanLayer) -> None:
        """``layer`` takes over what ``before`` reads as its first bottom and the source's name."""
        self.reads[layer.bottoms[0]] -= 1
        layer.bottoms[0] = before.bottoms[0]
        layer.source = before.source if before.source == layer.source else layer.source
        self.drop(before)


def tidy(layers: Sequence[PlanLayer], outputs: Sequence[Top]) -> list[PlanLayer]:
    """The layers after merging; ``outputs`` are blobs that stay."""
    plan = _Plan(layers, outputs)
    for layer in plan.layers:
        merge = _MERGES.get(layer.type)
        while merge is not None and merge(plan, layer):
            merge = _MERGES.get(layer.type)
    return [layer for layer in plan.layers if id(layer) not in plan.gone]


def _power(plan: _Plan, layer: PlanLayer) -> bool:
    """(b2 + a2 (b1 + a1 x)^p1)^p2 is one Power when no product or sum has to be done in another order."""
    if _normalize(plan, layer):
        return True
    before = plan.only(layer.bottoms[0], "Power")
    if before is None:
        return False
    (a1, b1, p1), (a2, b2, p2) = _coefficients(before), _coefficients(layer)
    if p1 != 1 or a1 == 0 or a2 == 0 or p2 == 0:
        if not (a2 == 1 and b2 == 0 and p2 == 1):
            return False
        merged = (a1, b1, p1)
    elif b1 == 0 and a2 == 1:
        merged = (a1, b2, p2)
    elif b2 == 0 and a2 == 1:
        merged = (a1, b1, p2)
    elif a1 == 1 and b1 == 0:
        merged = (a2, b2, p2)
    elif a2 == -1 and b2 == 0 and p2 == 1:
        merged = (-a1, -b1, 1)
    else:
        return False
    plan.absorb(layer, before)
    layer.param = power_param(*merged)
    return True


def _coefficients(layer: PlanLayer) -> tuple[float, float, float]:
    p = layer.param
    return p.get("scale", 1.0), p.get("shift", 0.0), p.get("power", 1.0)


def power_param(scale: float = 1.0, shift: float = 0.0, power: float = 1.0) -> dict[str, float]:
    """The fields of a power_param that differ from the defaults."""
    given = {"power": (power, 1.0), "scale": (scale, 1.0), "shift": (shift, 0.0)}
    return {k: v for k, (v, default) in given.items() if v != default}


def _bias(plan: _Plan, layer: PlanLayer) -> bool:
    """Scale, then Bias over the same axes: a Scale with bias_term."""
    before = plan.only(layer.bottoms[0], "Scale")
    if before is None or len(layer.bottoms) != 1 or len(before.bottoms) != 1 or before.param.get("bias_term"):
        return False
    if _span(before) != _span(layer) or before.blobs[0].shape != layer.blobs[0].shape:
        return False
    plan.absorb(layer, before)
    layer.type = "Scale"
    layer.param = {**before.param, "bias_term": True}
    layer.blobs = [before.blobs[0], layer.blobs[0]]
    return True


def _span(layer: PlanLayer) -> tuple[int, int]:
    return layer.param.get("axis", 1), layer.param.get("num_axes", 1)


def _normalize(plan: _Plan, layer: PlanLayer) -> bool:
    """Normalize with a scale of one, then Scale or Power: Normalize with that scale (SSD)."""
    before = plan.only(layer.bottoms[0], "Normalize")
    if before is None or not before.param.get("channel_shared") or len(layer.bottoms) != 1 or layer.param.get("bias_term"):
        return False
    if before.blobs[0].numpy().reshape(-1)[0] != 1:
        return False
    if layer.type == "Power":
        scale, shift, power = _coefficients(layer)
        if shift != 0 or power != 1:
            return False
        shared, blob = True, as_tensor(np.asarray(scale, np.float32))
    elif _span(layer) == (1, 1) and len(layer.bottoms[0].shape) == 4:
        shared, blob = False, layer.blobs[0]
    else:
        return False
    plan.absorb(layer, before)
    layer.type = "Normalize"
    layer.param = {**before.param, "channel_shared": shared}
    layer.blobs = [blob]
    return True


def _eltwise(plan: _Plan, layer: PlanLayer) -> bool:
    """Factors of a sum's blobs as its coefficients; a sum (product, maximum) of a sum as one."""
    operation = layer.param.get("operation", "SUM")
    first = plan.only(layer.bottoms[0], "Eltwise")
    if first is not None and first.param.get("operation", "SUM") == operation and _coeffs(layer)[0] == 1:
        coeffs = _coeffs(first) + _coeffs(layer)[1:]
        plan.reads[layer.bottoms[0]] -= 1
        layer.bottoms = [*first.bottoms, *layer.bottoms[1:]]
        plan.drop(first)
        _set_coeffs(layer, coeffs)
        return True
    if operation != "SUM":
        return False
    coeffs, changed = _coeffs(layer), False
    for i, top in enumerate(layer.bottoms):
        before = plan.only(top, "Power")
        if before is None or coeffs[i] not in (1.0, -1.0):
            continue
        scale, shift, power = _coefficients(before)
        if shift == 0 and power == 1 and scale != 0:
            plan.reads[top] -= 1
            layer.bottoms[i] = before.bottoms[0]
            coeffs[i] *= scale
            plan.drop(before)
            changed = True
    if changed:
        _set_coeffs(layer, coeffs)
    return changed


def _coeffs(layer: PlanLayer) -> list[float]:
    return list(layer.param.get("coeff") or [1.0] * len(layer.bottoms))


def _set_coeffs(layer: PlanLayer, coeffs: list[float]) -> None:
    layer.param = {k: v for k, v in layer.param.items() if k != "coeff"}
    if any(c != 1 for c in coeffs):
        layer.param["coeff"] = coeffs


def _inner_product(plan: _Plan, layer: PlanLayer) -> bool:
    """InnerProduct flattens what it reads itself."""
    before = plan.only(layer.bottoms[0], "Flatten", "Reshape")
    if before is None or layer.param.get("axis", 1) != 1 or len(layer.bottoms[0].shape) != 2:
        return False
    old, new = before.bottoms[0].shape, layer.bottoms[0].shape
    if len(old) < 2 or old[0] != new[0]:
        return False
    plan.absorb(layer, before)
    return True


_MERGES: dict[str, Callable[[_Plan, PlanLayer], bool]] = {
    "Power": _power, "Bias": _bias, "Scale": _normalize, "Eltwise": _eltwise, "InnerProduct": _inner_product,
}  # fmt: skip


# ---- layers in place
#: What Caffe's users write in place.
_IN_PLACE = frozenset(["BatchNorm", "Bias", "ELU", "PReLU", "ReLU", "ReLU6", "Scale"])
#: Layers that write memory of their own (Split, Reshape, Flatten and others share their bottom's, which must not be overwritten).
_FRESH = _IN_PLACE | {"Convolution", "Deconvolution", "Eltwise", "InnerProduct", "LRN", "Pooling", "Power", "MVN", "Tile"}


def in_place(layers: Sequence[PlanLayer], outputs: Sequence[Top]) -> dict[Top, Top]:
    """Blobs that are written over another one: top -> the blob whose name it shares (the first of its chain).

    Only where a single bottom reads that blob and it is no output itself: else Caffe refuses the net, or another layer would
    read the new numbers.
    """
    reads: Counter[Top] = Counter(t for layer in layers for t in layer.bottoms)
    reads.update(outputs)
    kept = set(outputs)
    roots: dict[Top, Top] = {}
    for layer in layers:
        if layer.type not in _IN_PLACE or len(layer.tops) != 1:
            continue
        bottom, top = layer.bottoms[0], layer.tops[0]
        if bottom.layer is None or bottom.layer.type not in _FRESH or reads[bottom] != 1 or bottom in kept:
            continue
        roots[top] = roots.get(bottom, bottom)
    return roots

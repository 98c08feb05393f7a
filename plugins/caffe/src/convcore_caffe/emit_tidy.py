"""Neighbouring layers as the one layer a person would have written, where not a bit of the result changes.

Power after Power, Scale and Bias, coefficients of Eltwise, sums of many blobs, Normalize and its scale, Flatten before
InnerProduct. Nothing is merged whose blob something else reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from convcore.plugin import Plan, PlanCall, Ref, State, Tidy, as_tensor

from .files.schema import message_type
from .layer_spec import spec_of

__all__ = ["PEEPHOLES", "field", "in_place", "power_param"]


def _power(t: Tidy, layer: PlanCall) -> bool:
    """(b2 + a2 (b1 + a1 x)^p1)^p2 is one Power when no product or sum has to be done in another order."""
    if _normalize(t, layer):
        return True
    before = t.only(layer.args[0], "Power")
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
    t.absorb(layer, before)
    layer.become("Power", power_param(**dict(zip(("scale", "shift", "power"), merged))))
    return True


def _coefficients(layer: PlanCall) -> tuple[float, float, float]:
    return field(layer, "scale"), field(layer, "shift"), field(layer, "power")


def field(layer: PlanCall, name: str) -> Any:
    """A field of a layer's own message, or Caffe's default."""
    return layer.config[name] if name in layer.config else _default(layer.type, name)


def _default(type_: str, name: str) -> Any:
    own = spec_of(type_).param
    assert own is not None
    return message_type(own.message).by_name[name].default


def power_param(**fields: float) -> dict[str, float]:
    """The fields of a power_param that differ from the defaults, in the order of Caffe's file."""
    return {k: fields[k] for k in ("power", "scale", "shift") if k in fields and fields[k] != _default("Power", k)}


def _bias(t: Tidy, layer: PlanCall) -> bool:
    """Scale, then Bias over the same axes: a Scale with bias_term."""
    if _inner_product_bias(t, layer):
        return True
    before = t.only(layer.args[0], "Scale")
    if before is None or len(layer.args) != 1 or len(before.args) != 1 or before.config.get("bias_term"):
        return False
    if _span(before) != _span(layer) or before.states[0].shape != layer.states[0].shape:
        return False
    t.absorb(layer, before)
    layer.become("Scale", {**before.config, "bias_term": True}, [before.states[0], layer.states[0]])
    return True


def _inner_product_bias(t: Tidy, layer: PlanCall) -> bool:
    """InnerProduct or Embed without a bias, then Bias of its outputs: one layer."""
    before = t.only(layer.args[0], "InnerProduct", "Embed")
    if before is None or len(layer.args) != 1 or field(before, "bias_term"):
        return False
    axis = field(before, "axis") if before.type == "InnerProduct" else len(layer.args[0].dims) - 1
    outputs = before.config["num_output"]
    if _span(layer) != (axis, 1) or len(layer.args[0].dims) != axis + 1 or layer.states[0].shape != (outputs,):
        return False
    t.absorb(layer, before)
    layer.become(before.type, {k: v for k, v in before.config.items() if k != "bias_term"}, [before.states[0], layer.states[0]])
    return True


def _span(layer: PlanCall) -> tuple[int, int]:
    return field(layer, "axis"), field(layer, "num_axes")


def _normalize(t: Tidy, layer: PlanCall) -> bool:
    """Normalize with a scale of one, then Scale or Power: Normalize with that scale (SSD)."""
    before = t.only(layer.args[0], "Normalize")
    if before is None or not before.config.get("channel_shared") or len(layer.args) != 1 or layer.config.get("bias_term"):
        return False
    if before.states[0].tensor.numpy().reshape(-1)[0] != 1:
        return False
    if layer.type == "Power":
        scale, shift, power = _coefficients(layer)
        if shift != 0 or power != 1:
            return False
        shared, blob = True, State(as_tensor(np.asarray(scale, np.float32)))
    elif _span(layer) == (1, 1) and len(layer.args[0].shape) == 4:
        shared, blob = False, layer.states[0]
    else:
        return False
    t.absorb(layer, before)
    layer.become("Normalize", {**before.config, "channel_shared": shared}, [blob])
    return True


def _eltwise(t: Tidy, layer: PlanCall) -> bool:
    """Factors of a sum's blobs as its coefficients; a sum (product, maximum) of a sum as one."""
    operation = field(layer, "operation")
    first = t.only(layer.args[0], "Eltwise")
    if first is not None and field(first, "operation") == operation and _coeffs(layer)[0] == 1:
        coeffs = _coeffs(first) + _coeffs(layer)[1:]
        t.reads[layer.args[0]] -= 1
        layer.args = (*first.args, *layer.args[1:])
        t.drop(first)
        _set_coeffs(layer, coeffs)
        return True
    if operation != "SUM":
        return False
    coeffs, changed = _coeffs(layer), False
    for i, top in enumerate(layer.args):
        before = t.only(top, "Power")
        if before is None or coeffs[i] not in (1.0, -1.0):
            continue
        scale, shift, power = _coefficients(before)
        if shift == 0 and power == 1 and scale != 0:
            t.set_arg(layer, i, before.args[0])
            coeffs[i] *= scale
            t.drop(before)
            changed = True
    if changed:
        _set_coeffs(layer, coeffs)
    return changed


def _coeffs(layer: PlanCall) -> list[float]:
    return list(layer.config.get("coeff") or [1.0] * len(layer.args))


def _set_coeffs(layer: PlanCall, coeffs: list[float]) -> None:
    config = {k: v for k, v in layer.config.items() if k != "coeff"}
    if any(c != 1 for c in coeffs):
        config["coeff"] = coeffs
    layer.become(layer.type, config)


def _inner_product(t: Tidy, layer: PlanCall) -> bool:
    """InnerProduct flattens what it reads itself."""
    before = t.only(layer.args[0], "Flatten", "Reshape")
    if before is None or field(layer, "axis") != 1 or len(layer.args[0].shape) != 2:
        return False
    old, new = before.args[0].shape, layer.args[0].shape
    if len(old) < 2 or old[0] != new[0]:
        return False
    t.absorb(layer, before)
    return True


PEEPHOLES: dict[str, Callable[[Tidy, PlanCall], bool]] = {
    "Power": _power, "Bias": _bias, "Scale": _normalize, "Eltwise": _eltwise, "InnerProduct": _inner_product,
}  # fmt: skip


# ---- layers in place
def in_place(plan: Plan) -> dict[Ref, Ref]:
    """Blobs that are written over another one: top -> the blob whose name it shares (the first of its chain).

    Only where a single bottom reads that blob and it is no output itself: else Caffe refuses the net, or another layer would
    read the new numbers; and only over a layer whose backward does not need what it put out. Layers of a Caffe source are in
    place where they were, and keep their blobs.
    """
    reads = plan.reads()
    kept = set(plan.root.outputs)
    layers = {call.source for call in plan.root.calls}
    roots: dict[Ref, Ref] = {}
    for layer in plan.root.calls:
        if not _may_overwrite(layer):
            continue
        bottom, top = layer.args[0], layer.results[0]
        if (
            not isinstance(bottom, Ref)
            or bottom.call is None
            or bottom.call.type == "Input"
            or not (layer.kept or (spec_of(bottom.call.type).overwritten and not bottom.call.kept))
            or (top in kept and top.name in layers - {_maker(roots.get(bottom, bottom))})  # OpenCV: a blob named as another layer
            or reads[bottom] != 1
            or bottom in kept
        ):
            continue
        roots[top] = roots.get(bottom, bottom)
    return roots


def _may_overwrite(layer: PlanCall) -> bool:
    """Whether a layer is written in place by Caffe's users; one of the source, whether it was."""
    if layer.kept:
        return bool(layer.kept[0].is_inplace()) and len(layer.results) == 1
    return spec_of(layer.type).memory == "in place" and len(layer.results) == 1


def _maker(top: Ref) -> str:
    """The source layer that makes a blob."""
    return "" if top.call is None else top.call.source

"""The rule set of Keras, and the attributes no rule needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convcore.plugin import ForeignNode, NotExpressible, RuleSet, isomorphism

if TYPE_CHECKING:
    from .load_context import KerasContext

__all__ = ["RULES"]

RULES: RuleSet[KerasContext, ForeignNode] = RuleSet("keras", "convcore-keras", "convcore_keras.emit_rules")
"""Keras layers by class name, in Keras 3 terms (``files/normalise.py``)."""

# How variables start, how they are trained, and bookkeeping: nothing of it changes inference.
RULES.ignore(
    "name",
    "trainable",
    "dtype",
    "build_config",
    "shared_object_id",
    "activity_regularizer",
    "batch_input_shape",
    "noise_shape",
    "seed",
    "rng_type",
    *(
        f"{variable}_{kind}"
        for variable in (
            "kernel",
            "bias",
            "recurrent",
            "depthwise",
            "pointwise",
            "embeddings",
            "alpha",
            "beta",
            "gamma",
            "moving_mean",
            "moving_variance",
            "t_left",
            "a_left",
            "t_right",
            "a_right",
        )
        for kind in ("initializer", "regularizer", "constraint")
    ),
    "lora_rank",
    "lora_alpha",
    "quantization_config",
)


def _padding_load(v: object) -> object:
    if v == "valid":
        return None
    if v == "same":
        return "same_upper"
    raise NotExpressible(f"padding={v!r}")


def _padding_emit(v: object) -> object:
    if v == "same_upper":
        return "same"
    if isinstance(v, tuple) and all(pair == (0, 0) for pair in v):
        return "valid"
    raise NotExpressible(f"padding {v} is neither valid nor same")


isomorphism("keras_padding", _padding_load, _padding_emit, "Keras's valid/same as pads")


def _axes_load(v: object) -> object:
    if isinstance(v, int):
        return (v,)
    if not isinstance(v, (list, tuple)) or not all(isinstance(a, int) for a in v):
        raise NotExpressible(f"axis={v!r}")
    if list(v) != sorted(v) or (v and v[0] < 0 <= v[-1]):
        raise NotExpressible(f"axis={v!r} is not in the order of the axes")
    return tuple(v)


def _axes_emit(v: tuple[int, ...]) -> object:
    if list(v) != sorted(v):
        raise NotExpressible(f"axes {v} are not in ascending order")
    return v[0] if len(v) == 1 else list(v)


isomorphism("axis_or_axes", _axes_load, _axes_emit, "one axis or an ascending list of axes as a tuple")


def _number(v: object) -> object:
    if isinstance(v, bool) or not isinstance(v, (int, float)):
        raise NotExpressible(f"{v!r} is not a number")
    return float(v)


isomorphism("a_number", _number, lambda v: v, "a number that must be given")


def _one_axis(v: object) -> object:
    if isinstance(v, (list, tuple)) and len(v) == 1:
        return v[0]
    if isinstance(v, int):
        return v
    raise NotExpressible(f"axis={v!r} is not one axis")


isomorphism("item_or_number", _one_axis, lambda v: v, "one axis, possibly in a list")


def _per_axis(v: object, n: int) -> object:
    if isinstance(v, int):
        return (v,) * n
    if isinstance(v, (list, tuple)) and len(v) == n:
        return tuple(v)
    raise NotExpressible(f"{v!r} does not have one entry for each of {n} axes")


def _per_axis_emit(v: Any, n: int) -> object:
    if any(i is None for i in v):
        raise NotExpressible(f"{v} keeps the size of an axis")
    return list(v)


isomorphism("per_axis", _per_axis, _per_axis_emit, "one number for all axes, or one for each, as a tuple")


def _after_batch_load(v: object) -> object:
    dims = tuple(v) if isinstance(v, (list, tuple)) else ()
    if sorted(dims) != list(range(1, len(dims) + 1)):
        raise NotExpressible(f"dims={v!r} are not a permutation of 1..n")
    return (0, *dims)


def _after_batch_emit(v: tuple[int, ...]) -> object:
    if not v or v[0] != 0:
        raise NotExpressible(f"{v} moves the batch axis")
    return list(v[1:])


isomorphism("after_batch", _after_batch_load, _after_batch_emit, "a permutation of the axes after the batch, counted from 1")


def _spatial_load(v: object, layout: str) -> object:
    pairs: Any = v
    pairs = (tuple(pairs),) if pairs and isinstance(pairs[0], int) else tuple(tuple(p) for p in pairs)
    if any(n < 0 for p in pairs for n in p):
        raise NotExpressible(f"padding={pairs} is negative")
    none = ((0, 0),)
    return (*none, *pairs, *none) if layout == "channels_last" else (*none, *none, *pairs)


def _spatial_emit(v: tuple[tuple[int, int], ...], layout: str) -> object:
    outside, inside = ((v[0], v[-1]), v[1:-1]) if layout == "channels_last" else (v[:2], v[2:])
    if any(p != (0, 0) for p in outside) or any(n < 0 for p in inside for n in p):
        raise NotExpressible(f"pads={v} are not around the spatial axes of {layout} data")
    return list(inside[0]) if len(inside) == 1 else [list(p) for p in inside]


isomorphism("spatial_pads", _spatial_load, _spatial_emit, "(before, after) of the spatial axes as pairs for all axes")


def _axes_or_all(v: object) -> object:
    return (v,) if isinstance(v, int) else tuple(v)  # type: ignore[arg-type]


isomorphism("axes_or_all", _axes_or_all, lambda v: list(v), "one axis or a list of axes as a tuple; None stays (all of them)")

"""Preprocessing layers that are arithmetic: Rescaling, Normalization, Resizing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from convcore.plugin import MISSING, A, DType, ForeignNode, Tensor, Value, as_tensor, known_shape

from ..layer_spec import RESIZED, V, layer
from ..load_context import KerasContext
from ..ops.image import resized_images
from ..ruleset import RULES

__all__: list[str] = []

# ---- what the layers are
layer(
    "Normalization",
    defaults={"axis": -1, "mean": None, "variance": None, "invert": False},
    variables=(
        V("mean", when="!mean", trainable=False),
        V("variance", when="!mean", trainable=False),
        V("count", (), when="!mean", trainable=False),
    ),
    masks="pass",
    masks_since="keras3",
    casts_integers=True,
    whole=True,
)
layer(
    "Rescaling",
    defaults={"offset": 0.0},
    required=("scale",),
    masks="pass",
    masks_since="keras3",
    casts_integers=True,
    stepwise=True,
    whole=True,
)
layer(
    "Resizing",
    defaults={
        "interpolation": "bilinear",
        "crop_to_aspect_ratio": False,
        "pad_to_aspect_ratio": False,
        "fill_mode": "constant",
        "fill_value": 0.0,
        "antialias": False,
        "data_format": "channels_last",
    },
    required=("height", "width"),
    choices={"interpolation": RESIZED, "fill_mode": ("constant",)},
    floats_only=True,
)

# ---- rules

_EPSILON = 1e-7
"""``keras.config.epsilon()``, the lower limit of the standard deviation in Normalization."""


@RULES.load("Rescaling")
def rescaling(g: KerasContext, node: ForeignNode) -> Value:
    """``x * scale + offset``."""
    x, b = node.need(0), g.b
    dtype = x.dtype.numpy if x.dtype is not None else np.dtype(np.float32)
    scale, offset = _number(node, "scale", None).astype(dtype), _number(node, "offset", 0.0).astype(dtype)
    y = b.mul(x, b.const(scale))
    return b.add(y, b.const(offset)) if np.any(offset) else y


def _number(node: ForeignNode, key: str, default: Any) -> Any:
    value = node.attr(key) if default is None else node.attr(key, default)
    try:
        found = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        found = None
    if found is None or not np.all(np.isfinite(found)):
        raise node.refuse(f"{key} is not a number or a list of numbers")
    return found


@RULES.load("Normalization")
def normalization(g: KerasContext, node: ForeignNode) -> Value:
    """``(x - mean) / max(sqrt(variance), 1e-7)``, or its inverse; statistics from the weights or the configuration."""
    x, b = node.need(0), g.b
    shape = known_shape(x)
    axis = node.attr("axis", -1)
    axes = [] if axis is None else sorted(node.axes_in(axis, len(shape)))
    given = [node.attr("mean", None), node.attr("variance", None)]
    stats = [_statistic(g, node, key, v, shape, axes) for key, v in zip(("mean", "variance"), given, strict=True)]
    dtype = x.dtype or DType.FLOAT32
    mean = _parameter(g, node, "mean", stats[0], lambda t: t.cast(dtype))
    spread = _parameter(g, node, "variance", stats[1], lambda t: _deviation(t.cast(dtype)), "deviation")
    if node.attr("invert", False):
        return b.add(mean, b.mul(x, spread))
    return b.div(b.sub(x, mean), spread)


def _deviation(t: Tensor) -> Tensor:
    return t.map(lambda a: np.maximum(np.sqrt(a), np.asarray(_EPSILON, a.dtype)))


def _parameter(
    g: KerasContext, node: ForeignNode, key: str, stat: Any, make: Callable[[Tensor], Tensor], label: str = ""
) -> Value:
    """A statistic as a weight of the layer, or as a constant where the configuration states it."""
    if isinstance(stat, Tensor):
        return g.b.weight(make(stat))
    return g.variant(node, key, (*stat, str(label)), lambda t: make(t.reshape(stat)), label=label)


def _statistic(
    g: KerasContext, node: ForeignNode, key: str, value: Any, shape: tuple[Any, ...], axes: list[int]
) -> Tensor | list[int]:
    """Mean or variance shaped to broadcast against the input, or for a variable of the layer the shape it takes."""
    wide = [1] * len(shape)
    if value is None:
        tensor = g.array(node, key)
        for a, n in zip(axes, tensor.shape[-len(axes) :] if axes else (), strict=False):
            wide[a] = n
        return wide
    array = np.asarray(_number(node, key, value), np.float32)
    for a in axes:
        if not isinstance(shape[a], int):
            raise node.refuse(f"the size of axis {a} of its input is not known", code="unknown_shape")
        wide[a] = shape[a]
    kept = [wide[a] for a in axes]
    try:
        array = np.broadcast_to(array if array.ndim <= len(kept) else array.reshape(kept), kept)
    except ValueError:
        why = f"{key} of shape {list(array.shape)} does not fit axes {axes} of sizes {kept}"
        raise node.refuse(why, code="invalid_shape") from None
    return as_tensor(np.ascontiguousarray(array).reshape(wide))


_METHODS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("bilinear", {"mode": "linear", "coordinates": "half_pixel"}),
    ("nearest", {"mode": "nearest", "coordinates": "tf_half_pixel_for_nn", "nearest": "floor"}),
)
for _method, _how in _METHODS:
    RULES.op(
        "Resizing",
        "resize",
        "inputs=x",
        rank=4,
        when={
            "interpolation": _method,
            **dict.fromkeys(("crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias"), frozenset({MISSING, False})),
        },
        sizes=(A("height"), A("width")),
        layout=A("data_format", write_default=True),
        ignore=("fill_mode", "fill_value"),
        doc="by pixel centres (tf.image.resize)",
        **_how,
    )


@RULES.load("Resizing")
def resizing(g: KerasContext, node: ForeignNode) -> Value:
    """Of single images, of a crop or a padded image, smoothed."""
    return resized_images(g, node, node.need(0), (node.whole("height"), node.whole("width")))

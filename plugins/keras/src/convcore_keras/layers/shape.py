"""Reshaping, padding, cropping, repeating and resizing layers."""

from __future__ import annotations

from typing import Any, Literal

from convcore.plugin import A, ForeignNode, Value, ask_override, known_shape, product

from ..layer_spec import RESIZED, layer
from ..load_context import KerasContext
from ..ruleset import RULES

__all__: list[str] = []

# ---- what the layers are
layer("Cropping1D", defaults={"cropping": (1, 1)}, spatial=1)
layer("Cropping2D", defaults={"cropping": ((0, 0), (0, 0)), "data_format": "channels_last"}, spatial=2)
layer("Cropping3D", defaults={"cropping": ((1, 1), (1, 1), (1, 1)), "data_format": "channels_last"}, spatial=3)
layer("Flatten", defaults={"data_format": "channels_last"}, any_dtype=True)
layer("Permute", required=("dims",))
layer("RepeatVector", required=("n",))
layer("Reshape", required=("target_shape",), any_dtype=True)
layer("UpSampling1D", defaults={"size": 2}, spatial=1)
layer(
    "UpSampling2D",
    defaults={"size": (2, 2), "data_format": "channels_last", "interpolation": "nearest"},
    choices={"interpolation": (*RESIZED, None)},
    spatial=2,
)
layer("UpSampling3D", defaults={"size": (2, 2, 2), "data_format": "channels_last"}, spatial=3)
layer("ZeroPadding1D", defaults={"padding": 1, "data_format": "channels_last"}, spatial=1)
layer("ZeroPadding2D", defaults={"padding": (1, 1), "data_format": "channels_last"}, spatial=2)
layer("ZeroPadding3D", defaults={"padding": ((1, 1), (1, 1), (1, 1)), "data_format": "channels_last"}, spatial=3)

# ---- rules


@RULES.load("Flatten")
def flatten(g: KerasContext, node: ForeignNode) -> Value:
    """(batch, everything else); channels_first data is flattened in channels_last order."""
    x = node.need(0)
    shape = known_shape(x, sizes=True)
    if node.attr("data_format", "channels_last") == "channels_first" and len(shape) > 2:
        x = g.b.transpose(x, perm=(0, *range(2, len(shape)), 1))
    return g.b.reshape(x, shape=(shape[0], product(shape[1:])))


@RULES.load("Reshape")
def reshape(g: KerasContext, node: ForeignNode) -> Value:
    """The axes after the batch under another shape; one size may be -1."""
    x, given = node.need(0), node.attr("target_shape")
    if not isinstance(given, (list, tuple)) or any(isinstance(n, bool) or not isinstance(n, int) for n in given):
        raise node.refuse(f"target_shape={given!r} is not a list of sizes")
    target, shape = list(given), known_shape(x, sizes=True)
    if target.count(-1) > 1 or any(n < -1 for n in target):
        raise node.refuse(f"target_shape={tuple(target)} has more than one unknown size")
    have = product(shape[1:])
    if -1 in target:
        rest = product([n for n in target if n != -1])
        if not rest or (isinstance(have, int) and have % rest):
            raise node.refuse(f"{have} elements do not divide into target_shape={tuple(target)}", code="invalid_shape")
        target[target.index(-1)] = have // rest
    elif isinstance(have, int) and have != product(target):
        raise node.refuse(f"{have} elements cannot become target_shape={tuple(target)}", code="invalid_shape")
    return g.b.reshape(x, shape=(shape[0], *target))


RULES.op("Permute", "transpose", "inputs=x", perm=A("dims", iso="after_batch"), direction="load")


@RULES.load("RepeatVector")
def repeat_vector(g: KerasContext, node: ForeignNode) -> Value:
    """(batch, features) -> (batch, n, features)."""
    x = node.need(0)
    shape = known_shape(x, sizes=True)
    if len(shape) != 2:
        raise node.refuse(f"takes 2 axes, its input has {len(shape)}")
    return g.b.expand(g.b.unsqueeze(x, axes=(1,)), shape=(shape[0], node.whole("n"), shape[1]))


def _per_axis(node: ForeignNode, key: str, rank: int) -> tuple[tuple[int, int], ...]:
    """``padding``/``cropping`` as pairs for all axes of the data."""
    pairs: Any = node.attr(key)
    pairs = (tuple(pairs),) if pairs and isinstance(pairs[0], int) else tuple(tuple(p) for p in pairs)
    if len(pairs) != rank - 2:
        raise node.refuse(f"{key}={pairs} does not fit an input of {rank} axes")
    if any(n < 0 for p in pairs for n in p):
        raise node.refuse(f"{key}={pairs} is negative")
    none = ((0, 0),)
    last = node.attr("data_format", "channels_last") == "channels_last"
    return (*none, *pairs, *none) if last else (*none, *none, *pairs)


for _d in (1, 2, 3):
    for _layout in ("channels_last", "channels_first"):
        RULES.op(
            f"ZeroPadding{_d}D",
            "pad",
            "inputs=x",
            rank=_d + 2,
            when={"data_format": _layout},
            pads=A("padding", iso=("spatial_pads", _layout)),
            doc="zeros around the spatial axes",
        )


@RULES.load("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(g: KerasContext, node: ForeignNode) -> Value:
    """Elements off the ends of the spatial axes."""
    x = node.need(0)
    shape = known_shape(x)
    pairs = _per_axis(node, "cropping", len(shape))
    if any(isinstance(n, int) and b + e >= n for n, (b, e) in zip(shape, pairs, strict=True) if b or e):
        raise node.refuse(f"cropping={pairs} leaves nothing of the input", code="invalid_shape")
    return g.b.slice(
        x, starts=tuple(b for b, _ in pairs), stops=tuple(-e if e else None for _, e in pairs), steps=(1,) * len(shape)
    )


# ---- resizing
RULES.op("UpSampling1D", "upsample_nearest", "inputs=x", rank=3, scales=A("size", iso="one_item"), layout="channels_last")
RULES.op(
    "UpSampling2D",
    "upsample_nearest",
    "inputs=x",
    rank=4,
    when={"interpolation": "nearest"},
    scales=A("size", iso="int_tuple"),
    layout=A("data_format", write_default=True),
)
RULES.op(
    "UpSampling2D",
    "upsample_nearest",
    "inputs=x",
    rank=4,
    when={"interpolation": None},
    scales=A("size", iso="int_tuple"),
    layout=A("data_format", write_default=True),
    direction="load",
)
RULES.op(
    "UpSampling3D",
    "upsample_nearest",
    "inputs=x",
    rank=5,
    scales=A("size", iso="int_tuple"),
    layout=A("data_format", write_default=True),
)


@RULES.load("UpSampling2D", when={"interpolation": "bilinear"})
def upsample_bilinear(g: KerasContext, node: ForeignNode) -> Value:
    """Bilinear, by pixel centres in Keras 3 and in tf.keras of TensorFlow 1.14 and later (``resize_images_v2``); Keras 2 and
    earlier tf.keras align the corner at the origin (``resize_bilinear``). TensorFlow 1.13 to 2.1 all state 2.2.4-tf."""
    x, layout = node.need(0), node.attr("data_format")
    known_shape(x)
    scales = tuple(float(n) for n in node.attr("size"))
    if g.era == "tf.keras" and g.version == (2, 2):
        raise node.refuse(
            "bilinear upsampling differs between TensorFlow 1.13 and 1.14, whose files both state version 2.2.4-tf",
            f"save the model again with TensorFlow 2.2 or later, or map the layer: {ask_override(node.name)}",
            "ambiguous_version",
        )
    old = g.era == "keras2" or (g.era == "tf.keras" and g.version < (2, 2))
    coordinates: Literal["asymmetric", "half_pixel"] = "asymmetric" if old else "half_pixel"
    return g.b.resize(x, scales=scales, mode="linear", coordinates=coordinates, layout=layout)

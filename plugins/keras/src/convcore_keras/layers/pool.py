"""Pooling over windows and over everything."""

from __future__ import annotations

from convcore.plugin import A, ForeignNode, NotExpressible, Value, known_shape

from ..layer_spec import layer
from ..load_context import KerasContext
from ..ruleset import RULES
from .conv import explicit_pads

__all__: list[str] = []

# ---- what the layers are
layer(
    "AdaptiveAveragePooling1D",
    "AdaptiveMaxPooling1D",
    defaults={"data_format": "channels_last"},
    required=("output_size",),
    spatial=1,
)
layer(
    "AdaptiveAveragePooling2D",
    "AdaptiveMaxPooling2D",
    defaults={"data_format": "channels_last"},
    required=("output_size",),
    spatial=2,
)
layer(
    "AdaptiveAveragePooling3D",
    "AdaptiveMaxPooling3D",
    defaults={"data_format": "channels_last"},
    required=("output_size",),
    spatial=3,
)
layer(
    "AveragePooling1D",
    defaults={"strides": None, "padding": "valid", "data_format": "channels_last"},
    required=("pool_size",),
    spatial=1,
    aliases=("AvgPool1D",),
)
layer(
    "AveragePooling2D",
    defaults={"strides": None, "padding": "valid", "data_format": "channels_last"},
    required=("pool_size",),
    spatial=2,
    aliases=("AvgPool2D",),
)
layer(
    "AveragePooling3D",
    defaults={"strides": None, "padding": "valid", "data_format": "channels_last"},
    required=("pool_size",),
    spatial=3,
    aliases=("AvgPool3D",),
)
layer(
    "GlobalAveragePooling1D",
    defaults={"data_format": "channels_last", "keepdims": False},
    takes_mask=True,
    floats_only=True,
    spatial=1,
    aliases=("GlobalAvgPool1D",),
)
layer(
    "GlobalAveragePooling2D",
    defaults={"data_format": "channels_last", "keepdims": False},
    floats_only=True,
    spatial=2,
    aliases=("GlobalAvgPool2D",),
)
layer(
    "GlobalAveragePooling3D",
    defaults={"data_format": "channels_last", "keepdims": False},
    floats_only=True,
    spatial=3,
    aliases=("GlobalAvgPool3D",),
)
layer("GlobalMaxPooling1D", defaults={"data_format": "channels_last", "keepdims": False}, spatial=1, aliases=("GlobalMaxPool1D",))
layer("GlobalMaxPooling2D", defaults={"data_format": "channels_last", "keepdims": False}, spatial=2, aliases=("GlobalMaxPool2D",))
layer("GlobalMaxPooling3D", defaults={"data_format": "channels_last", "keepdims": False}, spatial=3, aliases=("GlobalMaxPool3D",))
layer(
    "MaxPooling1D",
    defaults={"pool_size": 2, "strides": None, "padding": "valid", "data_format": "channels_last"},
    spatial=1,
    aliases=("MaxPool1D",),
)
layer(
    "MaxPooling2D",
    defaults={"pool_size": (2, 2), "strides": None, "padding": "valid", "data_format": "channels_last"},
    spatial=2,
    aliases=("MaxPool2D",),
)
layer(
    "MaxPooling3D",
    defaults={"pool_size": (2, 2, 2), "strides": None, "padding": "valid", "data_format": "channels_last"},
    spatial=3,
    aliases=("MaxPool3D",),
)

# ---- rules

_OPS = {"Max": "max_pool", "Average": "avg_pool"}

for _d in (1, 2, 3):
    for _kind, _op in _OPS.items():
        RULES.op(
            f"{_kind}Pooling{_d}D",
            _op,
            "inputs=x",
            rank=_d + 2,
            kernel=A("pool_size"),
            strides=A("strides"),
            pads=A("padding", iso="keras_padding"),
            layout=A("data_format", write_default=True),
            direction="load",
        )
    for _name, _op in (("Max", "max"), ("Average", "mean")):
        for _layout, _first in (("channels_last", 1), ("channels_first", 2)):
            RULES.op(
                f"Global{_name}Pooling{_d}D",
                _op,
                "inputs=x",
                rank=_d + 2,
                when={"data_format": _layout},
                axes=tuple(range(_first, _first + _d)),
                keepdims=A("keepdims", False),
                direction="load",
            )


@RULES.load(*(f"{kind}Pooling{d}D" for kind in _OPS for d in (1, 2, 3)), priority=1)
def pool_theano(g: KerasContext, node: ForeignNode) -> Value:
    """Pooling of a model computed with Theano, whose ``same`` pads elsewhere."""
    if not node.has("same_pads_front"):
        raise NotExpressible("padding is valid or same")
    kernel = node.attr("pool_size")
    y: Value = g.b.op(
        _OPS["Max" if node.type.startswith("Max") else "Average"],
        node.need(0),
        kernel=kernel,
        strides=node.attr("strides"),
        pads=explicit_pads(node, node.need(0), kernel),
        layout=node.attr("data_format"),
    )
    return y


@RULES.load("GlobalAveragePooling1D", priority=1)
def masked_average(g: KerasContext, node: ForeignNode) -> Value:
    """The mean of the steps that are not masked (tf.keras, Keras 2.3, Keras 3)."""
    mask = g.input_mask(node)
    if mask is None or g.era == "keras1" or (g.era == "keras2" and g.version < (2, 2)):
        raise NotExpressible("no mask")
    x, b = node.need(0), g.b
    known_shape(x)
    last = node.attr("data_format") == "channels_last"
    step, keep = (1 if last else 2), bool(node.attr("keepdims", False))
    wide = b.unsqueeze(mask, axes=(2 if last else 1,))
    total = b.sum(b.where(wide, x, b.like(x, 0)), axes=(step,), keepdims=keep)
    return b.div(total, b.sum(b.cast(wide, to=x.dtype), axes=(step,), keepdims=keep))


def _adaptive(kind: str, op: str) -> None:
    for d in (1, 2, 3):
        RULES.op(
            f"Adaptive{kind}Pooling{d}D",
            op,
            "inputs=x",
            rank=d + 2,
            output_size=A("output_size", iso=("per_axis", d)),
            layout=A("data_format", write_default=True),
            direction="load",
        )


_adaptive("Average", "adaptive_avg_pool")
_adaptive("Max", "adaptive_max_pool")

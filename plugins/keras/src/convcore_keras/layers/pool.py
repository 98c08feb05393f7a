"""Pooling over windows and over everything."""

from __future__ import annotations

from convcore.plugin import A, ForeignNode, NotExpressible, Value, known_shape

from ..layer_spec import layer
from ..load_context import KerasContext
from ..ruleset import RULES
from .conv import explicit_pads, per_axis

__all__: list[str] = []

# ---- what the layers are
for _n in (1, 2, 3):
    _format = {"data_format": "channels_last"}
    _windows = {"strides": None, "padding": "valid", **_format}
    layer(f"AdaptiveAveragePooling{_n}D", f"AdaptiveMaxPooling{_n}D", defaults=_format, required=("output_size",), spatial=_n)
    layer(f"AveragePooling{_n}D", defaults=_windows, required=("pool_size",), spatial=_n, aliases=(f"AvgPool{_n}D",))
    layer(
        f"GlobalAveragePooling{_n}D",
        defaults={**_format, "keepdims": False},
        takes_mask=_n == 1,
        floats_only=True,
        spatial=_n,
        aliases=(f"GlobalAvgPool{_n}D",),
    )
    layer(f"GlobalMaxPooling{_n}D", defaults={**_format, "keepdims": False}, spatial=_n, aliases=(f"GlobalMaxPool{_n}D",))
    layer(f"MaxPooling{_n}D", defaults={"pool_size": per_axis(_n, 2), **_windows}, spatial=_n, aliases=(f"MaxPool{_n}D",))

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
        RULES.op(
            f"Global{_name}Pooling{_d}D", _op, "inputs=x", rank=_d + 2, when={"data_format": "channels_last"}, priority=1,
            axes=tuple(range(1, 1 + _d)), keepdims=A("keepdims", False), types={"x": "float"}, direction="emit",
        )  # fmt: skip


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

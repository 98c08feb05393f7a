"""Convolutions: plain, depthwise, separable and transposed, in 1, 2 and 3 dimensions and both data formats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import A, DimLike, ForeignNode, Given, NotExpressible, Size, Tensor, Value, W, ceil_div, known_shape

from ..layer_spec import V, layer
from ..load_context import KerasContext
from ..ruleset import RULES

__all__ = ["explicit_pads", "per_axis", "spatial_sizes"]

# ---- what the layers are
_BIAS = V("bias", ("filters",), when="use_bias")
_CAUSAL = {"padding": ("valid", "same", "causal")}


def per_axis(n: int, value: int) -> int | tuple[int, ...]:
    """A default for every one of ``n`` spatial axes, as Keras's signatures have it: a number where there is one axis."""
    return value if n == 1 else (value,) * n


for _n in (1, 2, 3):
    _defaults = {
        "strides": per_axis(_n, 1), "padding": "valid", "data_format": "channels_last", "dilation_rate": per_axis(_n, 1),
        "activation": None, "use_bias": True,
    }  # fmt: skip
    layer(
        f"Conv{_n}D",
        defaults={**_defaults, "groups": 1},
        required=("filters", "kernel_size"),
        variables=(V("kernel", ("*kernel_size", None, "filters")), _BIAS),
        spatial=_n,
        flipped=True,
        keras1_kernel="conv1d" if _n == 1 else "conv",
        choices=_CAUSAL if _n == 1 else {},
        aliases=(f"Convolution{_n}D", *((f"AtrousConvolution{_n}D", f"AtrousConv{_n}D") if _n < 3 else ())),
    )
    layer(
        f"Conv{_n}DTranspose",
        defaults={**_defaults, "output_padding": None},
        required=("filters", "kernel_size"),
        variables=(V("kernel", ("*kernel_size", "filters", None)), _BIAS),
        spatial=_n,
        flipped=True,
        keras1_kernel="transposed" if _n == 2 else "",
        aliases=(f"Convolution{_n}DTranspose", *((f"Deconvolution{_n}D", f"Deconv{_n}D") if _n > 1 else ())),
    )
    if _n == 3:
        continue
    _defaults["depth_multiplier"] = 1
    layer(
        f"DepthwiseConv{_n}D",
        defaults=_defaults,
        required=("kernel_size",),
        variables=(V("kernel", ("*kernel_size", None, "depth_multiplier")), V("bias", (None,), when="use_bias")),
        spatial=_n,
    )
    layer(f"LocallyConnected{_n}D", variables=(V("kernel"), V("bias", when="use_bias")), spatial=_n, extinct=True)
    layer(
        f"SeparableConv{_n}D",
        defaults=_defaults,
        required=("filters", "kernel_size"),
        variables=(V("depthwise_kernel", ("*kernel_size", None, "depth_multiplier")), V("pointwise_kernel"), _BIAS),
        spatial=_n,
        keras1_kernel="conv" if _n == 2 else "",
        choices=_CAUSAL if _n == 1 else {},  # tf.keras's; Keras 3 knows no causal one
        aliases=(f"SeparableConvolution{_n}D",),
    )

# ---- rules

_SIZES = ("filters", "kernel_size", "use_bias")


def spatial_sizes(node: ForeignNode, x: Value | None, layout: str) -> tuple[DimLike | None, ...]:
    """The sizes of the axes that are neither batch nor channels."""
    shape = known_shape(x)
    return shape[2:] if layout == "channels_first" else shape[1:-1]


def explicit_pads(node: ForeignNode, x: Value | None, reach: Sequence[int]) -> Any:
    """``pads`` of a convolution or pool from ``padding``; ``reach`` is the window size per axis, dilation included.

    ``same_pads_front`` (Theano, ``files/theano.py``) fixes the padding in front; the rest goes behind, so that
    ``ceil(n / stride)`` windows fit.
    """
    padding = node.attr("padding", "valid")
    front = node.attr("same_pads_front", None)
    if padding == "valid":
        return None
    if padding == "causal":
        return ((reach[0] - 1, 0),)
    if front is None:
        return "same_upper"
    sizes = spatial_sizes(node, x, node.attr("data_format"))
    pads = []
    for n, r, s, f in zip(sizes, reach, node.attr("strides"), front, strict=True):
        if n is None:
            raise node.refuse("Theano's padding='same' needs the input's sizes", code="unknown_shape")
        pads.append((f, (ceil_div(n, s) - 1) * s + r - n - f))
    return tuple(pads)


def _reach(node: ForeignNode) -> tuple[int, ...]:
    dilations = node.attr("dilation_rate")
    return tuple((k - 1) * d + 1 for k, d in zip(node.attr("kernel_size"), dilations, strict=True))


def _common(node: ForeignNode) -> dict[str, Any]:
    """Attributes every convolution shares."""
    return {
        "strides": node.attr("strides"),
        "dilations": node.attr("dilation_rate"),
        "layout": node.attr("data_format"),
        "pads": explicit_pads(node, node.need(0), _reach(node)),
    }


for _d in (1, 2, 3):
    RULES.op(
        f"Conv{_d}D",
        "conv",
        "inputs=x",
        rank=_d + 2,
        one_of=("strides", "dilations"),
        w=W("kernel", "*IO->OI*"),
        b=W("bias", optional=True),
        strides=A("strides"),
        dilations=A("dilation_rate"),
        groups=A("groups", 1),
        pads=A("padding", iso="keras_padding"),
        layout=A("data_format", write_default=True),
        filters=Size("w", 0),
        kernel_size=Size("w", "2:"),
        use_bias=Given("b"),
        then=("activation",),
    )

for _d in (1, 2):
    RULES.op(
        f"DepthwiseConv{_d}D",
        "conv",
        "inputs=x",
        rank=_d + 2,
        one_of=("strides", "dilations"),
        unless={"groups": 1},
        priority=1,
        w=W("kernel", "*CM->(CM)1*", C="groups"),
        b=W("bias", optional=True),
        strides=A("strides"),
        dilations=A("dilation_rate"),
        pads=A("padding", iso="keras_padding"),
        layout=A("data_format", write_default=True),
        kernel_size=Size("w", "2:"),
        depth_multiplier=Size("w", 0, over="groups"),
        use_bias=Given("b"),
        then=("activation",),
        direction="load",
    )


@RULES.load("Conv1D", "Conv2D", "Conv3D", priority=1, then=("activation",))
def conv_padded(g: KerasContext, node: ForeignNode) -> Value:
    """Padding that has no name in the op: causal, or Theano's ``same``."""
    if node.attr("padding") != "causal" and not node.has("same_pads_front"):
        raise NotExpressible("padding is valid or same")
    node.ignore(*_SIZES)
    w, b = g.variable(node, "kernel", "*IO->OI*"), g.optional(node, "bias")
    return g.b.conv(node.need(0), w, b, groups=node.attr("groups", 1), **_common(node))


def _depthwise(t: Tensor) -> Tensor:
    """(*kernel, C, multiplier) -> (C * multiplier, 1, *kernel); channels vary slowest."""
    d = t.ndim - 2
    return t.transpose((d, d + 1, *range(d))).reshape((t.shape[d] * t.shape[d + 1], 1, *t.shape[:d]))


@RULES.load("SeparableConv1D", "SeparableConv2D", then=("activation",))
def separable(g: KerasContext, node: ForeignNode) -> Value:
    """Depthwise, then pointwise."""
    node.ignore("depth_multiplier", *_SIZES)
    dw = g.variant(node, "depthwise_kernel", "depthwise", _depthwise)
    pw = g.variable(node, "pointwise_kernel", "*IO->OI*")
    return g.b.separable_conv(node.need(0), dw, pw, g.optional(node, "bias"), **_common(node))


@RULES.load("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", then=("activation",))
def conv_transpose(g: KerasContext, node: ForeignNode) -> Value:
    """Transposed convolution: of the full result ``(n - 1) * s + k``, crop in front and behind, or grow behind.

    Output sizes (keras/src/backend/common/backend_utils.py, keras 2 ``deconv_output_length``), k with dilation:
    valid ``(n - 1) * s + max(k, s)``, same ``n * s``; with ``output_padding`` p: valid ``(n - 1) * s + k + p``, same
    ``(n - 1) * s + k % 2 + p``. ``same`` crops half of what is too much in front, rounded down.
    """
    node.ignore(*_SIZES)
    x, layout = node.need(0), node.attr("data_format")
    strides, reach, padding = node.attr("strides"), _reach(node), node.attr("padding", "valid")
    extra, legacy = node.attr("output_padding", None), node.attr("legacy_output_shape", None)
    crops: list[int] = []
    for i, (k, s) in enumerate(zip(reach, strides, strict=True)):
        p = None if extra is None else extra[i]
        if legacy is not None:
            crops.append(_legacy_crop(node, legacy, i, k, s, layout))
        elif padding == "valid":
            crops.append(min(k - s, 0) if p is None else -p)
        else:
            crops.append(k - s if p is None else k - k % 2 - p)
    front = node.attr("same_pads_front", None)
    pads, grow = [], []
    for i, crop in enumerate(crops):
        begin = 0 if padding == "valid" else max(crop, 0) // 2 if front is None else front[i]
        end = crop - begin
        pads.append((begin, max(end, 0)))
        grow.append(max(-end, 0))
    w, b = g.variable(node, "kernel", "*OI->IO*"), g.optional(node, "bias")
    return g.b.conv_transpose(
        x,
        w,
        b,
        strides=strides,
        dilations=node.attr("dilation_rate"),
        pads=tuple(pads),
        output_padding=tuple(grow),
        groups=node.attr("groups", 1),
        layout=layout,
    )


def _legacy_crop(node: ForeignNode, shape: Sequence[Any], i: int, k: int, s: int, layout: str) -> int:
    """Keras 1 Deconvolution layers state the size of their output."""
    want = shape[2:] if layout == "channels_first" else shape[1:-1]
    n = spatial_sizes(node, node.need(0), layout)[i]
    if not isinstance(n, int) or not isinstance(want[i], int):
        raise node.refuse("its output_shape is fixed, so the input's sizes must be fixed too")
    crop: int = (n - 1) * s + k - want[i]
    if -crop >= s:
        raise node.refuse(f"an output of {want[i]} does not follow from an input of {n}, kernel {k} and stride {s}")
    return crop

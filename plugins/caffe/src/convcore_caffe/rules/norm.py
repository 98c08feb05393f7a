"""Normalisation: BatchNorm and Scale, Bias, LRN, MVN, SSD's Normalize, the BN of forks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import BUFFER, MISSING, PARAMETER, A, DimLike, DType, LazyTensor, NotExpressible, Tensor, Value

from ..context import CaffeContext, CaffeNode
from ..files import layer_checks as checks
from ..layer_spec import EVERY, ONE, layer
from .base import RULES

# ---- what the layers are

layer(
    "BN",
    param="""bn_param 0 BNParameter:
        slope_filler 0 FillerParameter; bias_filler 0 FillerParameter; scale_filler 0 FillerParameter
        shift_filler 0 FillerParameter; momentum 0 float=0.9; eps 0 float=1e-5; frozen 0 bool=false
        bn_mode 0 BNMode=LEARN; engine 0 Engine=DEFAULT
    """,
    reads=("batch_norm_param",),
    enums={"BNMode": "LEARN 0; INFERENCE 1"},
    v1="BN -1 0",
    blobs=("scale", "bias", "mean", "variance"),
)
layer(
    "BatchNorm",
    param="""batch_norm_param 139 BatchNormParameter:
        use_global_stats 1 bool; moving_average_fraction 2 float=0.999; eps 3 float=1e-5; scale_bias 0 bool=false
        scale_filler 0 FillerParameter; bias_filler 0 FillerParameter; engine 0 Engine=DEFAULT
        use_alpha_beta 0 bool=false; weight_filler 0 FillerParameter; do_all_reduce 0 bool=false
    """,
    counts=ONE,
    blobs=("mean", "variance", "factor"),
    memory="in place",
    overwritten=True,
    writes=EVERY,
    check=checks.batch_norm,
)
layer(
    "Bias",
    param="bias_param 141 BiasParameter: axis 1 int32=1; num_axes 2 int32=1; filler 3 FillerParameter",
    counts=(1, 2, 1, 1),
    blobs=("bias",),
    or_bottom=True,
    memory="in place",
    overwritten=True,
    writes=EVERY,
    opencv=False,
    check=checks.axes("bias_param"),
)
layer("CuDNNBatchNorm", why="its meaning differs between forks of Caffe, and the prototxt does not say which one it is from")
layer(
    "LRN",
    param="""lrn_param 118 LRNParameter:
        local_size 1 uint32=5; alpha 2 float=1; beta 3 float=0.75; norm_region 4 NormRegion=ACROSS_CHANNELS; k 5 float=1
        engine 6 Engine=DEFAULT
    """,
    enums={"NormRegion": "ACROSS_CHANNELS 0; WITHIN_CHANNEL 1"},
    counts=ONE,
    v1="LRN 15 18",
    v0="lrn",
    memory="own",
    writes=EVERY,
    check=checks.lrn,
)
layer(
    "MVN",
    param="""mvn_param 120 MVNParameter:
        normalize_variance 1 bool=true; across_channels 2 bool=false; eps 3 float=1e-9
    """,
    counts=ONE,
    v1="MVN 34 34",
    memory="own",
    writes=EVERY,
)
layer(
    "Normalize",
    param="""norm_param 206 NormalizeParameter:
        across_spatial 1 bool=true; scale_filler 2 FillerParameter; channel_shared 3 bool=true; eps 4 float=1e-10
    """,
    blobs=("scale",),
    writes=("ssd",),
)
layer(
    "Scale",
    param="""scale_param 142 ScaleParameter:
        axis 1 int32=1; num_axes 2 int32=1; filler 3 FillerParameter; bias_term 4 bool=false
        bias_filler 5 FillerParameter
    """,
    counts=(1, 2, 1, 1),
    blobs=("scale", "bias"),
    or_bottom=True,
    memory="in place",
    overwritten=True,
    writes=EVERY,
    check=checks.axes("scale_param"),
)

# ---- rules


@RULES.load("BatchNorm")
def batch_norm(g: CaffeContext, node: CaffeNode) -> Value:
    """(x - mean / factor) / sqrt(variance / factor + eps); factor 0 makes mean and variance 0 (batch_norm_layer.cpp).

    With use_global_stats false (the default where the layer's phase is TRAIN) the batch's own biased moments.
    """
    shape = node.shape()
    eps = node.attr("eps")
    if node.attr("scale_bias") or node.attr("use_alpha_beta"):
        raise node.refuse("has scale and bias of its own (NVCaffe, Intel Caffe), in an order convcore is not certain of")
    stored = node.attr("use_global_stats")
    if stored is None:
        stored = node.layer.phase == "TEST"
    if len(shape) < 2:
        raise node.refuse("normalises a blob of one axis", code="unsupported_shape")
    if not stored:
        axes = tuple(i for i in range(len(shape)) if i != 1)
        g.note(f"layer {node.name!r} (BatchNorm) normalises by the moments of the batch: use_global_stats is false")
        return g.b.mean_variance_norm(node.x, axes=axes, epsilon=eps, epsilon_on="var")
    (channels,) = node.integers(shape[1:2], "channels")
    g.count(node, 3)
    factor = g.tensor(node, 2, (1,), "", 0.0)
    mean, var = (_statistic(g, node, i, name, channels, factor) for i, name in ((0, "mean"), (1, "variance")))
    kept = node.attr("moving_average_fraction")
    return g.b.batch_norm(node.x, None, None, mean, var, epsilon=eps, axis=1, momentum=kept)


def _statistic(g: CaffeContext, node: CaffeNode, i: int, name: str, channels: int, factor: Tensor) -> Value:
    stored = g.tensor(node, i, (channels,), "", 0.0)

    def value() -> Any:
        f = np.float32(factor.numpy().reshape(-1)[0])
        inverse = np.float32(0) if f == 0 else np.float32(1) / f
        return np.asarray(stored.numpy() * inverse, np.float32)

    key = (g.home(node, i), "statistic", g.home(node, 2))
    return g.parameter(node, key, name, LazyTensor(value, DType.FLOAT32, (channels,)), False, BUFFER)


# ---- Scale and Bias: a blob or bottom over the axes [axis, axis + num_axes)


def _span(node: CaffeNode) -> tuple[tuple[int, ...], int]:
    """The shape the layer's own blob has, and how many axes of the bottom follow it."""
    shape, num = node.shape(), int(node.attr("num_axes"))
    if num == 0:
        node.ignore("axis")
        return (), 0
    axis = node.axis()
    if num == -1:
        num = len(shape) - axis
    if axis + num > len(shape):
        raise node.invalid(f"its blob's {num} axes from axis {axis} on extend past the bottom's {len(shape)}")
    return node.integers(shape[axis : axis + num], "the axes of its blob"), len(shape) - axis - num


def _own(
    g: CaffeContext, node: CaffeNode, i: int, name: str, span: tuple[tuple[int, ...], int], filler: str, constant: float
) -> Value:
    shape, after = span
    wide = (*shape, *(1,) * after) if shape else ()
    return g.weight_of(node, i, name, shape, filler=filler, constant=constant, key=after, make=lambda t: t.reshape(wide))


def _beside(g: CaffeContext, node: CaffeNode) -> tuple[Value, tuple[DimLike | None, ...], int]:
    """The second bottom, laid over the first from ``axis`` on; sizes must be equal, 1 does not broadcast in BVLC Caffe."""
    shape, other = node.shape(0), node.shape(1)
    v = node.bottom(1)
    node.ignore("num_axes", "filler")
    if not other:
        node.ignore("axis")
        return v, (), 0
    axis = node.axis()
    if axis + len(other) > len(shape):
        raise node.invalid(f"the second bottom's {len(other)} axes from axis {axis} on extend past the first's {len(shape)}")
    for i, (a, b) in enumerate(zip(shape[axis:], other, strict=False)):
        if isinstance(a, int) and isinstance(b, int) and a != b:
            raise node.invalid(
                f"axis {axis + i} of the first bottom has {a} elements, axis {i} of the second {b}; they must be equal"
            )
    after = len(shape) - axis - len(other)
    if after:
        rank = len(other)
        v = g.b.unsqueeze(v, axes=tuple(range(rank, rank + after)))
    return v, other, after


@RULES.load("Scale")
def scale(g: CaffeContext, node: CaffeNode) -> Value:
    """Times a blob or the second bottom, plus a bias of the same shape if bias_term."""
    bias = bool(node.attr("bias_term"))
    if len(node.inputs) == 1:
        g.count(node, 2 if bias else 1)
        span = _span(node)
        y = g.b.mul(node.x, _own(g, node, 0, "scale", span, "filler", 1.0))
        return g.b.add(y, _own(g, node, 1, "bias", span, "bias_filler", 0.0)) if bias else y
    g.count(node, 1 if bias else 0)
    v, shape, after = _beside(g, node)
    y = g.b.mul(node.x, v)
    if not bias:
        return y
    own = node.integers(shape, "the axes of the second bottom")
    return g.b.add(y, _own(g, node, 0, "bias", (own, after), "bias_filler", 0.0))


@RULES.load("Bias")
def bias(g: CaffeContext, node: CaffeNode) -> Value:
    """Plus a blob or the second bottom."""
    if len(node.inputs) == 1:
        g.count(node, 1)
        return g.b.add(node.x, _own(g, node, 0, "bias", _span(node), "filler", 0.0))
    g.count(node, 0)
    return g.b.add(node.x, _beside(g, node)[0])


# ---- others


_WIDE = 255  # windows up to this stay as they are written


_LRN: dict[str, Any] = {
    "size": A("local_size", 5, "odd", write_default=True), "alpha": A("alpha", 1.0, write_default=True),
    "beta": A("beta", 0.75, write_default=True),
}  # fmt: skip
RULES.op("LRN", "lrn", "bottom=x", rank=4, when={"norm_region": {MISSING, "ACROSS_CHANNELS"}}, **_LRN, bias=A("k", 1.0), axis=1)
RULES.op(  # k is ignored: lrn_layer.cpp takes 1
    "LRN", "lrn_within", "bottom=x", rank=4, when={"norm_region": "WITHIN_CHANNEL"}, ignore=("k",), **_LRN,
    layout="channels_first",
)  # fmt: skip


@RULES.load("LRN", priority=1)
def wide_lrn(g: CaffeContext, node: CaffeNode) -> Value:
    """A window that reaches past every element: only the divisor of alpha grows with it."""
    if len(node.shape()) != 4:
        raise node.invalid(f"the bottom must have 4 axes, it has {len(node.shape())}")
    size, alpha, beta, k = (node.attr(n) for n in ("local_size", "alpha", "beta", "k"))
    within = node.attr("norm_region") == "WITHIN_CHANNEL"
    axes = node.shape()[2:] if within else node.shape()[1:2]
    most = max(2 * n - 1 if isinstance(n, int) else size for n in axes)
    if size <= max(most, _WIDE):
        raise NotExpressible(f"its window of {size} is not wide")
    alpha *= (most / size) ** (2 if within else 1)
    if within:
        return g.b.lrn_within(node.x, size=most, alpha=alpha, beta=beta)
    return g.b.lrn(node.x, size=most, alpha=alpha, beta=beta, bias=k, axis=1)


# (x - mean) / (sqrt(variance) + eps) per channel or per sample; the result has 4 axes
_MVN: dict[str, Any] = {"rank": 4, "epsilon": A("eps", 1e-9)}
for _across, _axes in (({"across_channels": {MISSING, False}}, (2, 3)), ({"across_channels": True}, (1, 2, 3))):
    RULES.op(
        "MVN", "mean_variance_norm", "bottom=x", when=_across, axes=_axes, epsilon_on="std",
        normalize_variance=A("normalize_variance", True), **_MVN,
    )  # fmt: skip
    RULES.op(  # only the mean: where epsilon goes does not matter
        "MVN", "mean_variance_norm", "bottom=x", when={**_across, "normalize_variance": False}, axes=_axes, direction="emit",
        normalize_variance=False, epsilon_on="var", **_MVN,
    )  # fmt: skip


@RULES.load("MVN", priority=-1)
def mvn_of_fewer_axes(g: CaffeContext, node: CaffeNode) -> Value:
    """Fewer than 4 axes are filled up by ones."""
    shape = node.sizes()
    if len(shape) > 4:
        raise node.invalid(f"the bottom has {len(shape)} axes, at most 4 are allowed")
    x = g.b.reshape(node.x, shape=(*shape, *(1,) * (4 - len(shape))))
    axes = (1, 2, 3) if node.attr("across_channels") else (2, 3)
    variance = bool(node.attr("normalize_variance"))
    return g.b.mean_variance_norm(x, axes=axes, epsilon=node.attr("eps"), epsilon_on="std", normalize_variance=variance)


@RULES.load("Normalize")
def normalize(g: CaffeContext, node: CaffeNode) -> Value:
    """x / sqrt(sum x^2 + eps) over channels, or over a whole image, times a scale (SSD normalize_layer.cpp)."""
    shape = node.shape()
    if len(shape) != 4:
        raise node.refuse(f"the bottom has {len(shape)} axes, SSD's layer is for 4", code="unsupported_shape")
    axes = (1, 2, 3) if node.attr("across_spatial") else (1,)
    g.count(node, 1)
    y = g.b.l2_normalize(node.x, axes=axes, epsilon=node.attr("eps"), mode="add_square")
    if node.attr("channel_shared"):
        return g.b.mul(y, g.weight_of(node, 0, "scale", (), filler="scale_filler", constant=1.0))
    (channels,) = node.integers(shape[1:2], "channels")
    factor = g.weight_of(
        node,
        0,
        "scale",
        (channels,),
        filler="scale_filler",
        constant=1.0,
        key="channels",
        make=lambda t: t.reshape((channels, 1, 1)),
    )
    return g.b.mul(y, factor)


@RULES.load("BN")
def bn(g: CaffeContext, node: CaffeNode) -> Value:
    """Four blobs: slope, bias, mean, variance (PSPNet). Two: scale and shift with statistics merged in (SegNet, INFERENCE)."""
    shape, layer = node.shape(), node.layer
    if len(shape) < 2 or not layer.blobs:
        raise node.refuse("BN is told apart by its weights, and it has none", code="missing_weight")
    (channels,) = node.integers(shape[1:2], "channels")
    mode, eps = node.attr("bn_mode", "LEARN"), node.attr("eps")
    if any(t.size != channels for t in layer.blobs):
        raise node.invalid(f"its blobs must hold {channels} values each: {[list(t.shape) for t in layer.blobs]}")

    def blob(i: int, name: str, to: Sequence[int], role: str = PARAMETER) -> Value:
        stored = tuple(layer.blobs[i].shape)
        tensor = layer.blobs[i].reshape(tuple(to))
        trainable = role == PARAMETER and g.learns(node, i)
        return g.parameter(node, (g.home(node, i), stored, "bn", tuple(to)), name, tensor, trainable, role)

    if len(layer.blobs) == 4:
        scale, shift = blob(0, "scale", (channels,)), blob(1, "bias", (channels,))
        mean, var = blob(2, "mean", (channels,), BUFFER), blob(3, "variance", (channels,), BUFFER)
        momentum = node.attr("momentum", None)
        return g.b.batch_norm(node.x, scale, shift, mean, var, epsilon=eps, axis=1, momentum=momentum)
    if len(layer.blobs) == 2 and mode == "INFERENCE":
        wide = (channels, *(1,) * (len(shape) - 2))
        return g.b.add(g.b.mul(node.x, blob(0, "scale", wide)), blob(1, "bias", wide))
    why = f"a BN with {len(layer.blobs)} blobs and bn_mode {mode} is not one whose meaning is certain"
    raise node.refuse(why, "4 blobs (PSPNet) and 2 with bn_mode: INFERENCE (SegNet) are known", "ambiguous_layer")

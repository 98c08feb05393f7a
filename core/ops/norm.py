"""Normalisation in its inference form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.dims import Shape
from ..ir.dtypes import DType
from ..opset.axes import Axes, Axis
from ..opset.declare import Attr, AxesAttr, AxisAttr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.traits import Trait
from .windows import Array

NORM = OpSet("norm")

Shapes = list[tuple[DType | None, Shape | None]]
EPSILON = Attr("float", doc="added under the root")


def _along(p: Array, rank: int, axis: int) -> Array:
    """A 1-D parameter shaped to broadcast along one axis."""
    return p.reshape(-1, *(1,) * (rank - axis - 1))


def _channelwise(b: Any, p: Any, x: Any, axis: int) -> Any:
    """The same for a value of a body."""
    trailing = len(x.shape) - axis - 1
    return b.unsqueeze(p, axes=tuple(range(1, 1 + trailing))) if trailing else p


def _known_rank(b: Any, x: Any, op: str) -> None:
    b.require(x.shape is not None, f"{op}: the number of axes of x must be known")


def _moments(b: Any, x: Any, axes: Sequence[int]) -> tuple[Any, Any]:
    """x minus its mean, and the biased variance, axes kept."""
    centred = b.sub(x, b.mean(x, axes=tuple(axes), keepdims=True))
    return centred, b.mean(b.square(centred), axes=tuple(axes), keepdims=True)


def _scaled(b: Any, y: Any, scale: Any, bias: Any) -> Any:
    y = y if scale is None else b.mul(y, scale)
    return y if bias is None else b.add(y, bias)


def _per_channel(*names: str) -> Any:
    """Shape rule: like x, the named parameters have one axis as long as ``axis`` of x."""

    def infer(c: InferContext) -> Shapes:
        x = c.shape("x")
        for name in names:
            p = c.shape(name)
            if p is not None:
                if len(p) != 1:
                    c.fail(f"{name} must have one axis")
                if x is not None:
                    c.same(p[0], x[c["axis"]], f"{name} and axis {c['axis']} of x")
        return [(c.dtype("x"), x)]

    return infer


def _batch_norm(
    x: Array, scale: Array | None, bias: Array | None, mean: Array, var: Array, epsilon: float, axis: int,
    momentum: float | None = None,
) -> Array:  # fmt: skip
    factor = 1 / np.sqrt(var + np.asarray(epsilon, var.dtype))
    if scale is not None:
        factor = factor * scale
    z = x
    parts: list[Array | None] = [mean, factor, bias]
    if z.ndim > 2 and axis == z.ndim - 1 and z.flags.c_contiguous:  # few channels last: numpy's inner loops get longer
        parts = [None if p is None else np.tile(p, z.shape[-2]) for p in parts]
        z = z.reshape(*z.shape[:-2], -1)
        axis -= 1
    shift, factor, bias = (None if p is None else _along(p, z.ndim, axis) for p in parts)
    y: Array = z - shift
    y *= factor
    if bias is not None:
        y += bias
    return y.reshape(x.shape).astype(x.dtype, copy=False)


def _batch_norm_body(
    b: Any, x: Any, scale: Any, bias: Any, mean: Any, var: Any, *, epsilon: float, axis: int, momentum: float | None = None
) -> Any:
    _known_rank(b, x, "batch_norm")
    root = b.sqrt(b.add(var, b.like(var, epsilon)))
    factor = b.reciprocal(root) if scale is None else b.div(scale, root)
    y = b.mul(b.sub(x, _channelwise(b, mean, x, axis)), _channelwise(b, factor, x, axis))
    return y if bias is None else b.add(y, _channelwise(b, bias, x, axis))


_VAR = ("float32", (3,), 0.5, 2.0)
MOMENTUM = Attr(
    "float", None, doc="fraction of the old running statistics that a training step keeps; None: not known",
    training=True,
)  # fmt: skip
"""As ``momentum`` of Keras's BatchNormalization and of ONNX's (running = running * momentum + batch * (1 - momentum)), 1 minus
torch's, and Caffe's ``moving_average_fraction`` (which keeps sums, and divides by their weight)."""

NORM.op(
    "batch_norm", "x:float, scale:float?, bias:float?, mean:float, var:float",
    "(x - mean) / sqrt(var + epsilon) * scale + bias with given statistics, one per element of ``axis``.",
    attrs={"epsilon": EPSILON, "axis": AxisAttr(1), "momentum": MOMENTUM}, infer=_per_channel("scale", "bias", "mean", "var"),
    reference=_batch_norm,
    body=_batch_norm_body, axes=Axis("axis", fixed=("scale", "bias", "mean", "var"), along=("scale", "bias", "mean", "var")),
    samples=[
        Sample((2, 3, 5, 7), (3,), (3,), (3,), _VAR, epsilon=1e-3, axis=1),
        Sample((2, 5, 7, 3), None, (3,), (3,), _VAR, epsilon=1e-5, axis=-1),
        Sample((2, 3), (3,), None, (3,), _VAR, epsilon=0.1, axis=1, momentum=0.9),
    ],
    roles={"parameter": "scale bias", "statistic": "mean var"}, traits=Trait.SCALED, wide=True,
)  # fmt: skip


def _over_axes(c: InferContext) -> Shapes:
    """Shape rule: like x; scale and bias have the sizes of ``axes`` in that order (or 1)."""
    x = c.shape("x")
    for name in ("scale", "bias"):
        p = c.shape(name) if name in c.op._positions else None
        if p is not None and x is not None:
            if len(p) != len(c["axes"]):
                c.fail(f"{name} has {len(p)} axes, must have one for each of axes={c['axes']}")
            for size, a in zip(p, c["axes"]):
                if size != 1:
                    c.same(size, x[a], f"{name} and axis {a} of x")
    return [(c.dtype("x"), x)]


def _place(p: Array, rank: int, axes: Sequence[int]) -> Array:
    """A parameter over ``axes`` (in that order) shaped to broadcast against x."""
    p = p.transpose(np.argsort(axes))
    return np.expand_dims(p, [a for a in range(rank) if a not in axes])


def _placed(b: Any, p: Any, x: Any, axes: Sequence[int]) -> Any:
    if p is None:
        return None
    order = tuple(sorted(range(len(axes)), key=lambda i: axes[i]))
    if order != tuple(range(len(axes))):
        p = b.transpose(p, perm=order)
    missing = tuple(a for a in range(len(x.shape)) if a not in axes and a > min(axes))
    return b.unsqueeze(p, axes=tuple(a - min(axes) for a in missing)) if missing else p


def _layer_norm(x: Array, scale: Array | None = None, bias: Array | None = None, *, axes: Any, epsilon: float) -> Array:
    z = x - x.mean(axes, keepdims=True)
    y = z / np.sqrt(np.square(z).mean(axes, keepdims=True) + np.asarray(epsilon, z.dtype))
    y = y if scale is None else y * _place(scale, x.ndim, axes)
    y = y if bias is None else y + _place(bias, x.ndim, axes)
    return np.asarray(y, x.dtype)


def _layer_norm_body(b: Any, x: Any, scale: Any = None, bias: Any = None, *, axes: Any, epsilon: float) -> Any:
    _known_rank(b, x, "layer_norm")
    centred, var = _moments(b, x, axes)
    y = b.div(centred, b.sqrt(b.add(var, b.like(x, epsilon))))
    return _scaled(b, y, _placed(b, scale, x, axes), _placed(b, bias, x, axes))


NORM.op(
    "layer_norm", "x:float, scale:float?, bias:float?",
    "(x - mean) / sqrt(variance + epsilon) * scale + bias, moments over ``axes``; scale and bias are shaped as those axes, in "
    "that order.",
    attrs={"axes": AxesAttr(), "epsilon": EPSILON}, infer=_over_axes, reference=_layer_norm, body=_layer_norm_body,
    axes=Axes("axes", keepdims=True, fixed=("scale", "bias")),
    samples=[
        Sample((2, 3, 5), (5,), (5,), axes=(-1,), epsilon=1e-3), Sample((2, 3, 5, 7), (7, 3), (7, 3), axes=(3, 1), epsilon=1e-5),
        Sample((2, 3, 5), None, (3,), axes=(1,), epsilon=1e-5), Sample((2, 3, 5), (3, 5), axes=(1, 2), epsilon=1e-5),
        Sample((2, 3, 5, 7), (7, 5), (7, 5), axes=(3, 2), epsilon=1e-5),
        Sample((2, 3, 5, 5), (5, 5), (5, 5), axes=(3, 2), epsilon=1e-5),  # a square: only the order tells its parameters apart
    ],
    roles={"parameter": "scale bias"}, traits=Trait.SCALED, wide=True,
)  # fmt: skip


def _rms_norm(x: Array, scale: Array | None = None, *, axes: Any, epsilon: float) -> Array:
    y = x / np.sqrt(np.square(x).mean(axes, keepdims=True) + np.asarray(epsilon, x.dtype))
    return np.asarray(y if scale is None else y * _place(scale, x.ndim, axes), x.dtype)


def _rms_norm_body(b: Any, x: Any, scale: Any = None, *, axes: Any, epsilon: float) -> Any:
    _known_rank(b, x, "rms_norm")
    square = b.mean(b.square(x), axes=tuple(axes), keepdims=True)
    return _scaled(b, b.div(x, b.sqrt(b.add(square, b.like(x, epsilon)))), _placed(b, scale, x, axes), None)


NORM.op(
    "rms_norm", "x:float, scale:float?", "x / sqrt(mean(x^2) + epsilon) * scale, the mean over ``axes``.",
    attrs={"axes": AxesAttr(), "epsilon": EPSILON}, infer=_over_axes, reference=_rms_norm, body=_rms_norm_body,
    axes=Axes("axes", keepdims=True, fixed=("scale",)),
    samples=[Sample((2, 3, 5), (5,), axes=(-1,), epsilon=1e-3), Sample((2, 3, 5, 7), (7, 3), axes=(3, 1), epsilon=1e-5),
    Sample((2, 3), axes=(1,), epsilon=0.1), Sample((2, 3, 5, 5), (5, 5), axes=(3, 2), epsilon=1e-5)],
    roles={"parameter": "scale"}, traits=Trait.SCALED, wide=True,
)  # fmt: skip


def _group_shape(c: InferContext) -> Shapes:
    x, groups = c.shape("x"), c["groups"]
    if groups < 1:
        c.fail(f"groups={groups} must be positive")
    if c["axis"] == 0:
        c.fail("axis 0 is the batch")
    if x is not None:
        channels = x[c["axis"]]
        if isinstance(channels, int) and channels % groups:
            c.fail(f"{channels} channels do not divide into {groups} groups")
    return list(_per_channel("scale", "bias")(c))


def _grouped(x: Array, groups: int, epsilon: float, axis: int) -> Array:
    z = x.reshape(*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :])
    axes = tuple(i for i in range(1, z.ndim) if i != axis)
    z = z - z.mean(axes, keepdims=True)
    y: Array = z / np.sqrt(np.square(z).mean(axes, keepdims=True) + np.asarray(epsilon, z.dtype))
    return y.reshape(x.shape)


def _group_norm(
    x: Array, scale: Array | None = None, bias: Array | None = None, *, groups: int, epsilon: float, axis: int
) -> Array:
    y = _grouped(x, groups, epsilon, axis)
    y = y if scale is None else y * _along(scale, x.ndim, axis)
    y = y if bias is None else y + _along(bias, x.ndim, axis)
    return np.asarray(y, x.dtype)


def _group_norm_body(b: Any, x: Any, scale: Any = None, bias: Any = None, *, groups: int, epsilon: float, axis: int) -> Any:
    s = x.shape
    b.require(s is not None and None not in s, "group_norm: the sizes of x must be known, if only by name")
    if groups > 1:
        z = b.reshape(x, shape=(*s[:axis], groups, s[axis] // groups, *s[axis + 1 :]))
        axes = tuple(i for i in range(1, len(s) + 1) if i != axis)
    else:
        z, axes = x, tuple(range(1, len(s)))
    centred, var = _moments(b, z, axes)
    y = b.div(centred, b.sqrt(b.add(var, b.like(x, epsilon))))
    y = b.reshape(y, shape=s) if groups > 1 else y
    params = (None if p is None else _channelwise(b, p, x, axis) for p in (scale, bias))
    return _scaled(b, y, *params)


NORM.op(
    "group_norm", "x:float, scale:float?, bias:float?",
    "Per sample (axis 0), channels in equal groups along ``axis``: (x - mean) / sqrt(variance + epsilon), moments over a group's "
    "channels and every other axis; then scale and bias per channel.",
    attrs={"groups": Attr("int"), "epsilon": EPSILON, "axis": AxisAttr(1)}, infer=_group_shape, reference=_group_norm,
    body=_group_norm_body, axes=Axis("axis", fixed=("scale", "bias"), stay=(0,)),
    samples=[
        Sample((2, 6, 5, 7), (6,), (6,), groups=3, epsilon=1e-3, axis=1), Sample((3, 5, 7, 4), (4,), groups=2, epsilon=1e-5,
        axis=-1),
        Sample((2, 3, 5), None, (3,), groups=1, epsilon=1e-5, axis=1),
    ],
    roles={"parameter": "scale bias"}, traits=Trait.SCALED, wide=True,
)  # fmt: skip


def _instance_shape(c: InferContext) -> Shapes:
    if c["axis"] == 0:
        c.fail("axis 0 is the batch")
    return list(_per_channel("scale", "bias")(c))


def _instance_norm(x: Array, scale: Array | None = None, bias: Array | None = None, *, epsilon: float, axis: int) -> Array:
    return _group_norm(x, scale, bias, groups=x.shape[axis], epsilon=epsilon, axis=axis)


def _instance_norm_body(b: Any, x: Any, scale: Any = None, bias: Any = None, *, epsilon: float, axis: int) -> Any:
    _known_rank(b, x, "instance_norm")
    axes = tuple(i for i in range(1, len(x.shape)) if i != axis)
    centred, var = _moments(b, x, axes)
    y = b.div(centred, b.sqrt(b.add(var, b.like(x, epsilon))))
    return _scaled(b, y, *(None if p is None else _channelwise(b, p, x, axis) for p in (scale, bias)))


NORM.op(
    "instance_norm", "x:float, scale:float?, bias:float?",
    "Per sample (axis 0) and channel: (x - mean) / sqrt(variance + epsilon) over the other axes, then scale and bias per "
    "channel.",
    attrs={"epsilon": EPSILON, "axis": AxisAttr(1)}, infer=_instance_shape, reference=_instance_norm, body=_instance_norm_body,
    axes=Axis("axis", fixed=("scale", "bias"), along=("scale", "bias"), stay=(0,)),
    samples=[Sample((2, 3, 5, 7), (3,), (3,), epsilon=1e-3, axis=1), Sample((2, 5, 7, 3), (3,), epsilon=1e-5, axis=-1)],
    roles={"parameter": "scale bias"}, traits=Trait.SCALED, wide=True,
)  # fmt: skip


_L2_MODES = ("max_square", "max_norm", "add_square")


def _l2(x: Array, axes: Any, epsilon: float, mode: str) -> Array:
    total, eps = np.square(x).sum(axes, keepdims=True), np.asarray(epsilon, x.dtype)
    if mode == "max_square":
        norm = np.sqrt(np.maximum(total, eps))
    elif mode == "max_norm":
        norm = np.maximum(np.sqrt(total), eps)
    else:
        norm = np.sqrt(total + eps)
    with np.errstate(all="ignore"):
        return np.asarray(x / norm, x.dtype)


def _l2_body(b: Any, x: Any, *, axes: Any, epsilon: float, mode: str) -> Any:
    total, eps = b.sum(b.square(x), axes=axes, keepdims=True), b.like(x, epsilon)
    if mode == "max_square":
        return b.div(x, b.sqrt(b.maximum(total, eps)))
    if mode == "max_norm":
        return b.div(x, b.maximum(b.sqrt(total), eps))
    return b.div(x, b.sqrt(b.add(total, eps)))


NORM.op(
    "l2_normalize", "x:float",
    "x over its 2-norm along ``axes``. Mode max_square: sqrt(max(sum x^2, epsilon)) (TensorFlow); max_norm: max(norm, epsilon) "
    "(PyTorch normalize); add_square: sqrt(sum x^2 + epsilon) (Caffe SSD Normalize).",
    attrs={"axes": AxesAttr(), "epsilon": Attr("float"), "mode": Attr("str", "max_square", _L2_MODES)},
    reference=_l2, body=_l2_body, axes=Axes("axes", keepdims=True),
    samples=[
        Sample((2, 3, 5), axes=(-1,), epsilon=5.0), Sample((2, 3, 5, 7), axes=(1,), epsilon=2.0, mode="max_norm"),
        Sample((2, 3, 5, 7), axes=(2, 1), epsilon=0.3, mode="add_square"),
    ], wide=True,
)  # fmt: skip


def _lp(x: Array, axis: int, p: int) -> Array:
    norm = np.abs(x).sum(axis, keepdims=True) if p == 1 else np.sqrt(np.square(x).sum(axis, keepdims=True))
    return np.asarray(x / np.where(norm == 0, 1, norm), x.dtype)


def _lp_norm_body(b: Any, x: Any, *, axis: int, p: int) -> Any:
    norm = b.sum(b.abs(x), axes=(axis,), keepdims=True) if p == 1 else b.sqrt(b.sum(b.square(x), axes=(axis,), keepdims=True))
    return b.div(x, b.where(b.equal(norm, b.like(x, 0)), b.like(x, 1), norm))


NORM.op(
    "lp_normalize", "x:float", "x over its p-norm along one axis; where the norm is 0, 0 (ONNX LpNormalization).",
    attrs={"axis": AxisAttr(-1), "p": Attr("int", 2, (1, 2))}, reference=_lp, body=_lp_norm_body, axes=Axis("axis"),
    samples=[Sample((2, 3, 5), axis=1, p=1), Sample((2, 3, 5), axis=-1, p=2), Sample(np.zeros((2, 3), np.float32), axis=1)],
    wide=True,
)  # fmt: skip


def _mvn(x: Array, axes: Any, epsilon: float, epsilon_on: str, normalize_variance: bool) -> Array:
    z = x - x.mean(axes, keepdims=True)
    if normalize_variance:
        var, eps = np.square(z).mean(axes, keepdims=True), np.asarray(epsilon, z.dtype)
        z = z / (np.sqrt(var) + eps if epsilon_on == "std" else np.sqrt(var + eps))
    return np.asarray(z, x.dtype)


def _mvn_body(b: Any, x: Any, *, axes: Any, epsilon: float, epsilon_on: str, normalize_variance: bool) -> Any:
    if not normalize_variance:
        return b.sub(x, b.mean(x, axes=axes, keepdims=True))
    centred, var = _moments(b, x, axes)
    eps = b.like(x, epsilon)
    return b.div(centred, b.add(b.sqrt(var), eps) if epsilon_on == "std" else b.sqrt(b.add(var, eps)))


NORM.op(
    "mean_variance_norm", "x:float",
    "x minus its mean over ``axes``, divided by sqrt(variance) + epsilon (epsilon_on std: Caffe, ONNX) or sqrt(variance + "
    "epsilon).",
    attrs={
        "axes": AxesAttr(), "epsilon": Attr("float", doc="added to the deviation or the variance"),
        "epsilon_on": Attr("str", "std", ("std", "var")), "normalize_variance": Attr("bool", True),
    },
    reference=_mvn, body=_mvn_body, axes=Axes("axes", keepdims=True),
    samples=[
        Sample((2, 3, 5, 7), axes=(2, 3), epsilon=0.1), Sample((2, 3, 5, 7), axes=(1, 2, 3), epsilon=0.2, epsilon_on="var"),
        Sample((2, 3, 5), axes=(0, 2), epsilon=0.1, normalize_variance=False),
    ], wide=True,
)  # fmt: skip

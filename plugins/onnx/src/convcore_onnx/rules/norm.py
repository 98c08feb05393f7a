"""Normalisation in its inference form."""

from __future__ import annotations

from typing import Any, overload

from convcore.plugin import MISSING, A, DType, ForeignNode, Node, NotExpressible, Rest, Value, isomorphism, known_shape

from ..context import OnnxContext
from ..dialect import OnnxScribe
from .base import RULES, axis_size

_NOT_TRAINED = "export the model in evaluation mode"


@overload
def _to(g: OnnxContext, v: Value, dtype: DType | None) -> Value: ...
@overload
def _to(g: OnnxContext, v: Value | None, dtype: DType | None) -> Value | None: ...
def _to(g: OnnxContext, v: Value | None, dtype: DType | None) -> Value | None:
    """A parameter in the dtype of the data."""
    return v if v is None or dtype is None or v.dtype == dtype else g.b.cast(v, to=dtype)


_FILLS = {"scale": 1, "bias": 0}
_HALF = (DType.FLOAT16, DType.BFLOAT16)
_FORMS: tuple[dict[str, Any], ...] = (
    {"since": 9, "when": {"training_mode": {MISSING, 0}}},
    {"since": 7, "until": 8, "when": {"spatial": {MISSING, 1}}},
)
for _form in _FORMS:
    RULES.op(
        "BatchNormalization", "batch_norm", "X=x, scale=scale, B=bias, input_mean=mean, input_var=var", alike=("dtype",),
        axis=1, epsilon=A("epsilon", 1e-5), momentum=A("momentum", 0.9), fills=_FILLS, **_form,
    )  # fmt: skip


@RULES.load("BatchNormalization")
def load_batch_norm(g: OnnxContext, node: ForeignNode) -> Any:
    """Every version. Statistics of the batch (training) are refused, however the version says it."""
    version = node.version or 1
    epsilon = node.attr("epsilon", 1e-5)
    momentum = float(node.attr("momentum", 0.9))
    node.ignore("consumed_inputs")
    if version < 7 and not node.attr("is_test", 0):
        raise node.refuse("is_test=0: it normalises with the statistics of the batch", _NOT_TRAINED)
    if node.attr("training_mode", 0):
        raise node.refuse("training_mode=1: it normalises with the statistics of the batch", _NOT_TRAINED)
    if any(node.outputs[1:]):
        raise node.refuse("its running statistics are used as outputs, which is training", _NOT_TRAINED, "unsupported_output")
    x, scale, bias, mean, var = node.needed()
    if x is None or x.dtype is None:
        raise NotExpressible("the dtype of its input is not known", "unknown_dtype")
    if node.attr("spatial", 1):
        wide = {v.dtype for v in (scale, bias, mean, var) if v is not None} - {x.dtype}
        if not wide:
            return g.b.batch_norm(x, scale, bias, mean, var, epsilon=epsilon, axis=1, momentum=momentum)
        dtype = DType.FLOAT32 if x.dtype in _HALF else x.dtype
        wide_x, wide_mean, wide_var = _to(g, x, dtype), _to(g, mean, dtype), _to(g, var, dtype)
        params = _to(g, scale, dtype), _to(g, bias, dtype)
        y = g.b.batch_norm(wide_x, *params, wide_mean, wide_var, epsilon=epsilon, axis=1, momentum=momentum)
        return _to(g, y, x.dtype)
    b = g.b
    scaled = b.mul(b.div(b.sub(x, mean), b.sqrt(b.add(var, b.like(var, epsilon)))), scale)
    return b.add(scaled, bias)


RULES.op(
    "InstanceNormalization", "instance_norm", "input=x, scale=scale, B=bias", ignore=("consumed_inputs",), direction="load",
    epsilon=A("epsilon", 1e-5), axis=1,
)  # fmt: skip
for _rank in (3, 4, 5):  # runtimes want axes of space
    RULES.op(
        "InstanceNormalization", "instance_norm", "input=x, scale=scale, B=bias", direction="emit", rank=_rank, fills=_FILLS,
        epsilon=A("epsilon", 1e-5), axis=1,
    )  # fmt: skip


_STASH: dict[str, Any] = {"stash_type": {MISSING, 1}}
RULES.op(
    "GroupNormalization", "group_norm", "X=x, scale=scale, bias=bias", since=21, when=_STASH, fills=_FILLS,
    groups=A("num_groups"), epsilon=A("epsilon", 1e-5), axis=1,
)  # fmt: skip


@RULES.load("GroupNormalization", since=18)
def load_group_norm(g: OnnxContext, node: ForeignNode) -> Any:
    """Version 18 has one scale per group, 21 one per channel. Statistics of narrower types are float32 in both."""
    x, scale, bias = node.needed()
    groups, epsilon = node.attr("num_groups"), node.attr("epsilon", 1e-5)
    _stash(node, x)
    if (node.version or 0) < 21:
        channels = axis_size(x, 1)
        if not isinstance(channels, int) or groups < 1 or channels % groups:
            raise node.refuse(f"{channels} channels do not divide into {groups} groups")
        scale, bias = (g.b.repeat(v, repeats=channels // groups, axis=0) for v in (scale, bias))
    return g.b.group_norm(x, scale, bias, groups=groups, epsilon=epsilon, axis=1)


def _stash(node: ForeignNode, x: Value | None) -> None:
    """The type statistics are computed in: ours is float32 for narrower inputs, else the input's own."""
    code = node.attr("stash_type", 1)
    dtype = None if x is None else x.dtype
    if code == 1 or (code == 11 and dtype is DType.FLOAT64):
        return
    raise node.refuse(f"stash_type={code}: statistics are computed in float32 here")


_LAST: dict[str, Any] = {
    "when": _STASH, "axes": Rest(A("axis", -1), from_end=True), "epsilon": A("epsilon", 1e-5), "fills": {"scale": 1},
}  # fmt: skip
RULES.op("LayerNormalization", "layer_norm", "X=x, Scale=scale, B=bias", since=17, spans=("scale", "bias"), **_LAST)
RULES.op("RMSNormalization", "rms_norm", "X=x, scale=scale", since=23, spans=("scale",), alike=("dtype",), **_LAST)


@RULES.load("LayerNormalization")
def load_layer_norm(g: OnnxContext, node: ForeignNode) -> Any:
    x, scale, bias = node.need(0), node.input(1), node.input(2)
    shape, b = known_shape(x), g.b
    axis, epsilon = node.attr("axis", -1), node.attr("epsilon", 1e-5)
    _stash(node, x)
    axes = tuple(range(node.axis_in(axis, len(shape)), len(shape)))
    y = _with_axes(g, node, "layer_norm", x, (scale, bias), axes, epsilon)
    if not any(node.outputs[1:]):
        return y
    stash = DType.FLOAT64 if node.attr("stash_type", 1) == 11 else DType.FLOAT32  # the type of the statistics, whatever x is
    wide = _to(g, x, DType.FLOAT32) if x.dtype in _HALF else x
    mean = b.mean(wide, axes=axes, keepdims=True)
    var = b.mean(b.square(b.sub(wide, mean)), axes=axes, keepdims=True)
    return y, _to(g, mean, stash), _to(g, b.rsqrt(b.add(var, b.like(var, epsilon))), stash)


def _with_axes(
    g: OnnxContext, node: ForeignNode, op: str, x: Any, params: tuple[Value | None, ...], axes: tuple[int, ...], epsilon: float
) -> Value:
    """The norm with parameters of one axis each, or with them applied afterwards where they broadcast otherwise."""
    b = g.b
    if all(p is None or (p.rank == len(axes)) for p in params):
        made: Value = b.op(op, x, *params, axes=axes, epsilon=epsilon)
        return made
    y = b.op(op, x, axes=axes, epsilon=epsilon)
    y = y if params[0] is None else b.mul(y, params[0])
    out: Value = y if len(params) < 2 or params[1] is None else b.add(y, params[1])
    return out


@RULES.load("RMSNormalization", "SimplifiedLayerNormalization")
def load_rms_norm(g: OnnxContext, node: ForeignNode) -> Any:
    """A scale of another type is multiplied in that type, which is the result's (V). SimplifiedLayerNormalization is what
    onnxruntime's optimisers write of it, among the standard's operators (its schema, onnxruntime 1.32)."""
    if any(node.outputs[1:]):
        raise node.refuse("its deviation is a result", code="unsupported_output")
    x, scale = node.need(0), node.input(1)
    rank = len(known_shape(x))
    axis, epsilon = node.attr("axis", -1), node.attr("epsilon", 1e-5)
    _stash(node, x)
    axes = tuple(range(node.axis_in(axis, rank), rank))
    if scale is None or scale.dtype in (x.dtype, None) or not scale.dtype.is_float:
        return _with_axes(g, node, "rms_norm", x, (scale,), axes, epsilon)
    return g.b.mul(_to(g, g.b.rms_norm(x, axes=axes, epsilon=epsilon), scale.dtype), scale)


def _above_zero(v: float) -> float:
    if not v > 0:
        raise NotExpressible(f"onnxruntime loads no LRN with a factor or power of {v}")
    return v


isomorphism("above_zero", lambda v: v, _above_zero, "a number that onnxruntime (1.32) takes only above 0")

_LRN: dict[str, Any] = {
    "size": A("size"), "alpha": A("alpha", 1e-4, "above_zero", write_default=True),
    "beta": A("beta", 0.75, "above_zero", write_default=True),
    "bias": A("bias", 1.0, write_default=True), "axis": 1,
}  # fmt: skip
RULES.op("LRN", "lrn", "X=x", rank=4, **_LRN)
RULES.op("LRN", "lrn", "X=x", direction="load", **_LRN)  # runtimes take four axes


RULES.op("LpNormalization", "lp_normalize", "input=x", axis=A("axis", -1, write_default=True), p=A("p", 2, write_default=True))


_MVN_EPSILON = 1e-9
RULES.op(
    "MeanVarianceNormalization", "mean_variance_norm", "X=x", since=9, axes=A("axes", (0, 2, 3), "int_tuple"),
    epsilon=_MVN_EPSILON, epsilon_on="std", normalize_variance=True, direction="load",
)  # fmt: skip


@RULES.load("MeanVarianceNormalization", until=8)
def load_old_mvn(g: OnnxContext, node: ForeignNode) -> Any:
    """The experimental form of the first versions: over the batch too, as opset 9 has it by default ("two variables with
    the same C-coordinate are associated with the same mean and variance") and onnxruntime 1.32 for inputs of up to 4 axes."""
    across, variance = node.attr("across_channels", 0), node.attr("normalize_variance", 1)
    rank = len(known_shape(node.need(0)))
    if rank > 4:
        raise node.refuse(f"an input of {rank} axes: opsets before 9 have it for images")
    axes = tuple(i for i in range(rank) if across or i != 1)
    return g.b.mean_variance_norm(
        node.need(0), axes=axes, epsilon=_MVN_EPSILON, epsilon_on="std", normalize_variance=bool(variance)
    )


@RULES.emit("mean_variance_norm", since=9)
def emit_mvn(e: OnnxScribe, node: Node) -> None:
    """Only what was that operator: onnxruntime 1.32 computes E[x^2] - E[x]^2, which is NaN of equal numbers and wrong in half
    precision. Of other sources its parts are written, which are exact."""
    a, origin = node.attrs, node.origin
    if (origin.framework, origin.type) != ("onnx", "MeanVarianceNormalization"):
        raise NotExpressible("runtimes compute MeanVarianceNormalization as E[x^2] - E[x]^2")
    if (a["epsilon"], a["epsilon_on"], a["normalize_variance"]) != (_MVN_EPSILON, "std", True):
        raise NotExpressible("MeanVarianceNormalization adds 1e-09 to the deviation")
    e.call(
        "MeanVarianceNormalization", [e.value(node.need("x"))], {"axes": list(a["axes"])}, outputs=node.outputs, name=node.name
    )

"""Elementwise arithmetic over one or several blobs, and layers that pass their bottom on."""

from __future__ import annotations

from collections.abc import Sequence

from convcore.plugin import MISSING, A, Value

from ..context import CaffeContext, CaffeNode
from ..files import layer_checks as checks
from ..layer_spec import EVERY, ONE, layer
from .base import RULES

# ---- what the layers are

layer("AbsVal", counts=ONE, v1="ABSVAL 35", memory="never in place", writes=EVERY)
layer("Axpy", param="axpy_param 0 AxpyParameter:")
layer(
    "Dropout",
    param="""dropout_param 108 DropoutParameter:
        dropout_ratio 1 float=0.5; scale_train 0 bool=true; sample_weights_test 0 bool=false
    """,
    counts=ONE,
    v1="DROPOUT 6 12",
    v0="dropout",
    memory="in place",
    writes=EVERY,
)
layer(
    "Eltwise",
    param="""eltwise_param 110 EltwiseParameter:
        operation 1 EltwiseOp=SUM; coeff 2 float*; stable_prod_grad 3 bool=true
    """,
    enums={"EltwiseOp": "PROD 0; SUM 1; MAX 2"},
    counts=(2, None, 1, 1),
    v1="ELTWISE 25 24",
    memory="own",
    overwritten=True,
    writes=EVERY,
    check=checks.eltwise,
)

# ---- rules

RULES.op("AbsVal", "abs", "bottom=x")


def equal_shapes(node: CaffeNode, what: str = "every bottom") -> None:
    """Caffe's CHECK that all bottoms have one shape: nothing broadcasts."""
    first = node.shape(0)
    for i in range(1, len(node.inputs)):
        other = node.shape(i)
        if len(first) != len(other) or any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(first, other)):
            raise node.invalid(f"{what} must have one shape: bottom 0 is {_text(first)}, bottom {i} is {_text(other)}")


def _text(shape: Sequence[object]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


@RULES.load("Eltwise")
def eltwise(g: CaffeContext, node: CaffeNode) -> Value:
    """Sum with coefficients, product or maximum of bottoms of one shape.

    In place Caffe clears the top, which is bottom 0, before it sums or compares: bottom 0 is lost (eltwise_layer.cpp).
    """
    equal_shapes(node)
    operation, coeffs = node.attr("operation"), list(node.attr("coeff")) or [1.0] * len(node.inputs)
    xs = [v for v in node.inputs if v is not None]
    if operation == "PROD":
        y = xs[0]
        for v in xs[1:]:
            y = g.b.mul(y, v)
        return y
    if node.layer.is_inplace():
        g.note(
            f"layer {node.name!r} ({node.type} {operation}) works in place: Caffe overwrites its first bottom before it is read"
        )
        xs, coeffs = xs[1:], coeffs[1:]
    if operation == "MAX":
        y = xs[0]
        for v in xs[1:]:
            y = g.b.maximum(y, v)
        return y
    total = _times(g, xs[0], coeffs[0])
    for v, c in zip(xs[1:], coeffs[1:], strict=True):
        total = g.b.sub(total, v) if c == -1 else g.b.add(total, _times(g, v, c))
    return total


def _times(g: CaffeContext, v: Value, c: float) -> Value:
    return v if c == 1 else g.b.neg(v) if c == -1 else g.b.mul(v, g.scalar(v, c))


@RULES.load("Axpy")
def axpy(g: CaffeContext, node: CaffeNode) -> Value:
    """a * x + y with one factor per sample and channel (SENet): a is (N, C) or (N, C, 1, 1)."""
    if len(node.inputs) != 3:
        raise node.invalid(f"takes 3 bottoms, {len(node.inputs)} given")
    a, x, y = node.needed()
    factor, shape = node.sizes(0), node.shape(1)
    if len(factor) < 2 or any(d != 1 for d in factor[2:]) or len(shape) < 2:
        raise node.invalid(f"the factor is {_text(factor)}, must be one number per sample and channel of {_text(shape)}")
    want = (*factor[:2], *(1,) * (len(shape) - 2))
    if want != factor:
        a = g.b.reshape(a, shape=want)
    return g.b.add(g.b.mul(x, a), y)


@RULES.post("not_in_training")
def not_in_training(g: CaffeContext, node: CaffeNode, y: Value) -> Value:
    """Refused where the layer's own phase is TRAIN."""
    if node.layer.phase == "TRAIN":
        raise node.refuse("drops at random: its phase is TRAIN", "remove phase: TRAIN from the layer", "training_phase")
    return y


# nothing at inference: Caffe scales while it trains
RULES.op(
    "Dropout", "dropout", "bottom=x", when={"scale_train": {MISSING, True}, "sample_weights_test": {MISSING, False}},
    then=("not_in_training",), direction="load", rate=A("dropout_ratio", 0.5),
)  # fmt: skip


@RULES.load("Dropout", then=("not_in_training",))
def dropout(g: CaffeContext, node: CaffeNode) -> Value:
    """Forks that scale at inference instead of while training, or drop when testing."""
    if not node.attr("scale_train", True):
        ratio = node.attr("dropout_ratio")
        return g.b.mul(node.x, g.scalar(node.x, 1.0 - ratio))
    raise node.refuse("drops at random when testing (sample_weights_test)", code="random")

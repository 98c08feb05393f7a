"""Losses and Accuracy: their values, and the form they take in a deployed net.

In its deployed form a loss whose first step is an activation becomes that activation (SoftmaxWithLoss: Softmax); every other
one is dropped (``deploy.py``). The values follow BVLC's layers; a blob of a loss has no axes. loss_weight scales only the
training objective.
"""

from __future__ import annotations

from typing import Any

from convcore.plugin import Dim, DimLike, Value, product

from ..context import CaffeContext, CaffeNode
from ..layer_spec import layer
from .base import RULES

# ---- what the layers are

layer(
    "Accuracy",
    param="accuracy_param 102 AccuracyParameter: top_k 1 uint32=1; axis 2 int32=1; ignore_label 3 int32",
    counts=(2, 2, 1, 2),
    v1="ACCURACY 1 27",
    v0="accuracy",
    opencv=False,
)
layer(
    "ContrastiveLoss",
    param="contrastive_loss_param 105 ContrastiveLossParameter: margin 1 float=1; legacy_version 2 bool=false",
    reads=("loss_param",),
    counts=(3, 3, 0, 1),
    v1="CONTRASTIVE_LOSS 37 40",
    loss=True,
    opencv=False,
)
layer(
    "EuclideanLoss",
    reads=("loss_param",),
    counts=(2, 2, 0, 1),
    v1="EUCLIDEAN_LOSS 7",
    v0="euclidean_loss",
    loss=True,
    opencv=False,
)
layer(
    "HingeLoss",
    param="hinge_loss_param 114 HingeLossParameter: norm 1 HingeNorm=L1",
    reads=("loss_param",),
    enums={"HingeNorm": "L1 1; L2 2"},
    counts=(2, 2, 0, 1),
    v1="HINGE_LOSS 28 29",
    loss=True,
    opencv=False,
)
layer(
    "InfogainLoss",
    param="infogain_loss_param 116 InfogainLossParameter: source 1 string; axis 2 int32=1",
    reads=("loss_param", "softmax_param"),
    counts=(2, 3, 0, 2),
    v1="INFOGAIN_LOSS 13 16",
    v0="infogain_loss",
    loss=True,
    opencv=False,
)
layer(
    "MultiBoxLoss",
    param="""multibox_loss_param 201 MultiBoxLossParameter:
        loc_loss_type 1 LocLossType=SMOOTH_L1; conf_loss_type 2 ConfLossType=SOFTMAX; loc_weight 3 float=1
        num_classes 4 uint32; share_location 5 bool=true; match_type 6 MatchType=PER_PREDICTION
        overlap_threshold 7 float=0.5; use_prior_for_matching 8 bool=true; background_label_id 9 uint32=0
        use_difficult_gt 10 bool=true; do_neg_mining 11 bool; neg_pos_ratio 12 float=3; neg_overlap 13 float=0.5
        code_type 14 CodeType=CORNER; encode_variance_in_target 16 bool=false; map_object_to_agnostic 17 bool=false
        ignore_cross_boundary_bbox 18 bool=false; bp_inside 19 bool=false; mining_type 20 MiningType=MAX_NEGATIVE
        nms_param 21 NonMaximumSuppressionParameter; sample_size 22 int32=64; use_prior_for_nms 23 bool=false
    """,
    reads=("loss_param",),
    enums={
        "LocLossType": "L2 0; SMOOTH_L1 1",
        "ConfLossType": "SOFTMAX 0; LOGISTIC 1",
        "MatchType": "BIPARTITE 0; PER_PREDICTION 1",
        "MiningType": "NONE 0; MAX_NEGATIVE 1; HARD_EXAMPLE 2",
    },
)
layer(
    "MultinomialLogisticLoss",
    reads=("loss_param",),
    counts=(2, 2, 0, 1),
    v1="MULTINOMIAL_LOGISTIC_LOSS 16",
    v0="multinomial_logistic_loss",
    loss=True,
    opencv=False,
)
layer(
    "SigmoidCrossEntropyLoss",
    reads=("loss_param",),
    counts=(2, 2, 0, 1),
    v1="SIGMOID_CROSS_ENTROPY_LOSS 27",
    loss=True,
    opencv=False,
)
layer(
    "SoftmaxWithLoss",
    reads=("loss_param", "softmax_param"),
    counts=(2, 2, 0, 2),
    v1="SOFTMAX_LOSS 21",
    v0="softmax_loss",
    loss=True,
    opencv=False,
)

# ---- rules

_FLT_MIN = 1.17549435e-38
_LOG_THRESHOLD = 1e-20


def _count(g: CaffeContext, x: Value, n: DimLike | None) -> Value:
    """A size as a scalar of x's dtype."""
    if isinstance(n, Dim):
        return g.b.cast(g.b.dim_value(value=n), to=x.dtype)
    return g.b.like(x, n)


def _differ(a: DimLike | None, b: DimLike | None) -> bool:
    return isinstance(a, int) and isinstance(b, int) and a != b


def _total(g: CaffeContext, x: Value) -> Value:
    y: Value = g.b.sum(x, axes=tuple(range(x.rank or 0)), keepdims=False)
    return y


class _Labelled:
    """Scores (outer, classes, inner) and one label for each of (outer, inner)."""

    def __init__(self, g: CaffeContext, node: CaffeNode, axis: int) -> None:
        shape, label = node.sizes(0), node.bottom(1)
        self.outer: Any = product(shape[:axis])
        self.inner: Any = product(shape[axis + 1 :])
        self.classes = node.integers(shape[axis : axis + 1], "classes")[0]
        count = product(node.sizes(1))
        if _differ(count, self.outer * self.inner):
            raise node.invalid(f"{self.outer * self.inner} labels are needed, bottom 1 holds {count}")
        self.x: Value = g.b.reshape(node.x, shape=(self.outer, self.classes, self.inner))
        ids = g.b.cast(g.b.reshape(label, shape=(self.outer, self.inner)), to="int64")
        ignore = node.attr("ignore_label")
        self.keep: Value | None = None
        if ignore is not None:
            self.keep = g.b.cast(g.b.not_equal(ids, g.b.const(int(ignore), "int64")), to=self.x.dtype)
        self.hot: Value = g.b.one_hot(ids, depth=self.classes, axis=1, dtype=self.x.dtype)

    def picked(self, g: CaffeContext, x: Value) -> Value:
        """The element of x (outer, classes, inner) at each label."""
        return g.b.sum(g.b.mul(x, self.hot), axes=(1,), keepdims=False)

    def normalizer(self, g: CaffeContext, node: CaffeNode, default: str = "VALID") -> Value:
        """LossLayer::GetNormalizer: at least 1."""
        return _normalizer(g, node, self.x, self.outer, self.inner, self.keep, default)


def _normalizer(g: CaffeContext, node: CaffeNode, x: Value, outer: Any, inner: Any, keep: Value | None, default: str) -> Value:
    mode = node.attr("normalization") if "normalization" in node.attrs else default
    if "normalization" not in node.attrs and "normalize" in node.attrs:
        mode = "VALID" if node.attr("normalize") else "BATCH_SIZE"
    node.ignore("normalization", "normalize")
    if mode == "NONE":
        return g.b.like(x, 1.0)
    if mode == "BATCH_SIZE":
        return _count(g, x, outer)
    if mode == "FULL" or keep is None:
        return _count(g, x, outer * inner)
    return g.b.maximum(_total(g, keep), g.b.like(x, 1.0))


def _mean_over_batch(g: CaffeContext, node: CaffeNode, x: Value) -> Value:
    y: Value = g.b.div(_total(g, x), _count(g, x, node.sizes()[0] if node.sizes() else 1))
    return y


def _half_mean(g: CaffeContext, node: CaffeNode, x: Value) -> Value:
    y = _mean_over_batch(g, node, x)
    half: Value = g.b.mul(y, g.b.like(y, 0.5))
    return half


@RULES.load("SoftmaxWithLoss")
def softmax_with_loss(g: CaffeContext, node: CaffeNode) -> list[Value]:
    """Mean of -log of the label's probability. The top loss; a second top, the probabilities, cannot be set up in BVLC Caffe."""
    axis = node.axis()
    at = _Labelled(g, node, axis)
    p = g.b.softmax(at.x, axis=1)
    nll = g.b.neg(g.b.log(g.b.maximum(at.picked(g, p), g.b.like(p, _FLT_MIN))))
    if at.keep is not None:
        nll = g.b.mul(nll, at.keep)
    loss = g.b.div(_total(g, nll), at.normalizer(g, node))
    return [loss, g.b.reshape(p, shape=node.sizes())][: len(node.outputs)]


@RULES.load("InfogainLoss")
def infogain_loss(g: CaffeContext, node: CaffeNode) -> list[Value]:
    """-sum over classes of H[label, class] log p[class], H the third bottom."""
    if len(node.inputs) != 3:
        raise node.refuse("reads its matrix from a file", "give it as the third bottom", "file_dependency")
    node.ignore("source")
    axis = node.axis()
    at = _Labelled(g, node, axis)
    k = at.classes
    if _differ(product(node.sizes(2)), k * k):
        raise node.invalid(f"the matrix must hold {k} x {k} numbers")
    p = g.b.softmax(at.x, axis=1)
    log = g.b.log(g.b.maximum(p, g.b.like(p, _LOG_THRESHOLD)))
    h = g.b.reshape(node.bottom(2), shape=(k, k))
    weights = g.b.matmul(g.b.transpose(h, perm=(1, 0)), at.hot)
    each = g.b.neg(g.b.sum(g.b.mul(weights, log), axes=(1,), keepdims=False))
    if at.keep is not None:
        each = g.b.mul(each, at.keep)
    loss = g.b.div(_total(g, each), at.normalizer(g, node))
    return [loss, g.b.reshape(p, shape=node.sizes())][: len(node.outputs)]


@RULES.load("MultinomialLogisticLoss")
def multinomial_logistic_loss(g: CaffeContext, node: CaffeNode) -> Value:
    """Mean over the batch of -log of the probability at the label."""
    node.ignore("normalization", "normalize", "ignore_label")
    shape = node.sizes(axes=1)
    (k,) = node.integers((product(shape[1:]),), "classes")
    x = g.b.reshape(node.x, shape=(shape[0], k))
    ids = g.b.cast(g.b.reshape(node.bottom(1), shape=(shape[0],)), to="int64")
    p = g.b.sum(g.b.mul(x, g.b.one_hot(ids, depth=k, axis=1, dtype=x.dtype)), axes=(1,), keepdims=False)
    return _mean_over_batch(g, node, g.b.neg(g.b.log(g.b.maximum(p, g.b.like(p, _LOG_THRESHOLD)))))


@RULES.load("HingeLoss")
def hinge_loss(g: CaffeContext, node: CaffeNode) -> Value:
    """Mean over the batch of sum max(0, 1 - t x) or of its squares, t = 1 at the label and -1 elsewhere."""
    node.ignore("normalization", "normalize", "ignore_label")
    shape = node.sizes(axes=1)
    (k,) = node.integers((product(shape[1:]),), "classes")
    x = g.b.reshape(node.x, shape=(shape[0], k))
    ids = g.b.cast(g.b.reshape(node.bottom(1), shape=(shape[0],)), to="int64")
    sign = g.b.one_hot(ids, depth=k, axis=1, on_value=-1.0, off_value=1.0, dtype=x.dtype)
    margin = g.b.relu(g.b.add(g.b.mul(x, sign), g.b.like(x, 1.0)))
    return _mean_over_batch(g, node, g.b.square(margin) if node.attr("norm") == "L2" else margin)


@RULES.load("EuclideanLoss")
def euclidean_loss(g: CaffeContext, node: CaffeNode) -> Value:
    """Sum of squared differences over twice the batch size."""
    node.ignore("normalization", "normalize", "ignore_label")
    if _differ(product(node.sizes(0)[1:]), product(node.sizes(1)[1:])):
        raise node.invalid("both bottoms need the same number of elements per item")
    other = node.bottom(1)
    if node.sizes(0) != node.sizes(1):
        other = g.b.reshape(other, shape=node.sizes(0))
    return _half_mean(g, node, g.b.square(g.b.sub(node.x, other)))


@RULES.load("ContrastiveLoss")
def contrastive_loss(g: CaffeContext, node: CaffeNode) -> Value:
    """Over twice the batch: d^2 for similar pairs, max(margin - d, 0)^2 for others (legacy_version: max(margin - d^2, 0))."""
    node.ignore("normalization", "normalize", "ignore_label")
    shape, margin = node.sizes(axes=1), node.attr("margin")
    d2 = g.b.sum(g.b.square(g.b.sub(node.x, node.bottom(1))), axes=tuple(range(1, len(shape))), keepdims=False)
    similar = g.b.not_equal(g.b.cast(g.b.reshape(node.bottom(2), shape=(shape[0],)), to="int64"), g.b.const(0, "int64"))
    limit = g.b.like(d2, margin)
    if node.attr("legacy_version"):
        apart = g.b.relu(g.b.sub(limit, d2))
    else:
        apart = g.b.square(g.b.relu(g.b.sub(limit, g.b.sqrt(d2))))
    return _half_mean(g, node, g.b.where(similar, d2, apart))


@RULES.load("SigmoidCrossEntropyLoss")
def sigmoid_cross_entropy_loss(g: CaffeContext, node: CaffeNode) -> list[Value]:
    """log(1 + e^x) - t x summed, over the batch size unless normalization says otherwise."""
    shape = node.sizes(axes=1)
    target = node.bottom(1)
    if _differ(product(shape), product(node.sizes(1))):
        raise node.invalid("both bottoms need the same number of elements")
    if node.sizes(1) != shape:
        target = g.b.reshape(target, shape=shape)
    each = g.b.sub(g.b.softplus(node.x), g.b.mul(node.x, target))
    ignore = node.attr("ignore_label")
    keep = None
    if ignore is not None:
        ids = g.b.cast(target, to="int64")
        keep = g.b.cast(g.b.not_equal(ids, g.b.const(int(ignore), "int64")), to=node.x.dtype)
        each = g.b.mul(each, keep)
    outer, inner = shape[0], product(shape[1:])
    loss = g.b.div(_total(g, each), _normalizer(g, node, node.x, outer, inner, keep, "BATCH_SIZE"))
    return [loss, g.b.sigmoid(node.x)][: len(node.outputs)]


@RULES.load("Accuracy")
def accuracy(g: CaffeContext, node: CaffeNode) -> list[Value]:
    """The share of labels whose score has less than top_k scores at or above it, itself not counted: a tie counts as wrong.

    The second top is the share per class.
    """
    axis, k = node.axis(), int(node.attr("top_k"))
    at = _Labelled(g, node, axis)
    x, dtype = at.x, at.x.dtype
    true = g.b.unsqueeze(at.picked(g, x), axes=(1,))
    above = g.b.sum(g.b.cast(g.b.greater_equal(x, true), to=dtype), axes=(1,), keepdims=False)
    right = g.b.cast(g.b.less_equal(above, g.b.like(x, float(k))), to=dtype)
    keep = at.keep if at.keep is not None else g.b.fill(shape=(at.outer, at.inner), value=1.0, dtype=dtype)
    right = g.b.mul(right, keep)
    one = g.b.like(x, 1.0)
    share = g.b.div(_total(g, right), g.b.maximum(_total(g, keep), one))
    if len(node.outputs) == 1:
        return [share]
    counted = g.b.mul(at.hot, g.b.unsqueeze(keep, axes=(1,)))
    number = g.b.sum(counted, axes=(0, 2), keepdims=False)
    hits = g.b.sum(g.b.mul(counted, g.b.unsqueeze(right, axes=(1,))), axes=(0, 2), keepdims=False)
    return [share, g.b.div(hits, g.b.maximum(number, one))]

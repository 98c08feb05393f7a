"""SSD's detections written with non-maximum suppression, for targets that have only that."""

from __future__ import annotations

from typing import Any

from ..ir.dims import Dim

__all__ = ["detection_output_body", "rows_or_none"]


def _decoded(b: Any, loc: Any, priors: Any, n: int, locations: int, code_type: str, in_target: bool) -> Any:
    """Corners (N, locations, priors, 4) of the boxes."""
    batch = loc.shape[0]
    rows = b.reshape(priors, shape=(2, n, 4))
    box, variance = (b.squeeze(p, axes=(0,)) for p in b.split(rows, axis=0, sizes=(1, 1)))
    offset = b.transpose(b.reshape(loc, shape=(batch, n, locations, 4)), perm=(0, 2, 1, 3))
    if not in_target:
        offset = b.mul(offset, variance)
    if code_type == "corner":
        return b.add(box, offset)
    low, high = b.split(box, axis=1, sizes=(2, 2))
    size = b.sub(high, low)
    if code_type == "corner_size":
        return b.add(box, b.mul(offset, b.concat(size, size, axis=1)))
    half = b.like(loc, 0.5)
    move, grow = b.split(offset, axis=3, sizes=(2, 2))
    middle = b.add(b.mul(move, size), b.mul(b.add(low, high), half))
    reach = b.mul(b.mul(b.exp(grow), size), half)
    return b.concat(b.sub(middle, reach), b.add(middle, reach), axis=3)


def _orderly(b: Any, boxes: Any) -> Any:
    """Boxes whose second corner precedes the first overlap nothing in SSD: without area they overlap nothing in nms either."""
    low, high = b.split(boxes, axis=len(boxes.shape) - 1, sizes=(2, 2))
    return b.concat(low, b.maximum(low, high), axis=len(boxes.shape) - 1)


def _best(b: Any, boxes: Any, scores: Any, k: int) -> tuple[Any, Any]:
    """The k best of every class: boxes (N, K, k, 4), scores (N, K, k); of equals the first."""
    top, at = b.topk(scores, k=k, axis=2)
    at = b.unsqueeze(at, axes=(3,))
    return b.take_along_axis(boxes, b.expand(at, shape=(*at.shape[:3], 4)), axis=2), top


def detection_output_body(
    b: Any, loc: Any, conf: Any, priors: Any, *, num_classes: int, share_location: bool, background: int, code_type: str,
    variance_encoded_in_target: bool, nms_threshold: float, nms_top_k: int, nms_eta: float, keep_top_k: int,
    confidence_threshold: float | None,
) -> Any:  # fmt: skip
    """Every (image, class) is an image of its own to nms; rows come out by image, class and score, as SSD's do."""
    b.require(nms_eta == 1, "detection_output: a threshold that shrinks (nms_eta) has no counterpart in nms")
    known = loc.shape is not None and loc.shape[0] is not None and priors.shape is not None and isinstance(priors.shape[2], int)
    b.require(known, "detection_output: the number of priors must be fixed, that of images known by name")
    n, batch = priors.shape[2] // 4, loc.shape[0]
    classes = [c for c in range(num_classes) if c != background]
    labels = b.const(classes, "int64")
    scores = b.transpose(b.reshape(conf, shape=(batch, n, num_classes)), perm=(0, 2, 1))
    scores = b.gather(scores, labels, axis=1)
    boxes = _decoded(b, loc, priors, n, 1 if share_location else num_classes, code_type, variance_encoded_in_target)
    k = n
    if share_location:
        boxes = b.expand(boxes, shape=(batch, len(classes), n, 4))
    else:
        boxes = b.gather(boxes, labels, axis=1)
    if -1 < nms_top_k < n:
        k = nms_top_k
        boxes, scores = _best(b, boxes, scores, k)
    flat = b.reshape(boxes, shape=(batch * len(classes), k, 4))
    value = b.reshape(scores, shape=(batch * len(classes), 1, k))
    chosen = b.nms(
        _orderly(b, flat), value, max_per_class=k, iou_threshold=nms_threshold, score_threshold=confidence_threshold
    )  # fmt: skip
    group, _, at = b.split(chosen, axis=1, sizes=(1, 1, 1))
    row = b.concat(group, at, axis=1)
    count = b.const(len(classes), "int64")
    image = b.cast(b.floor_div(group, count), to=loc.dtype)
    label = b.cast(b.gather(labels, b.floor_mod(group, count), axis=0), to=loc.dtype)
    score = b.unsqueeze(b.gather_nd(b.squeeze(value, axes=(1,)), row), axes=(1,))
    found = b.concat(image, label, score, b.gather_nd(flat, row), axis=1)
    if keep_top_k > -1:
        found = b.compress(found, _among_best(b, image, score, keep_top_k), axis=0)
    return b.unsqueeze(rows_or_none(b, found, batch), axes=(0, 1))


def _among_best(b: Any, image: Any, score: Any, keep: int) -> Any:
    """Whether fewer than ``keep`` rows of the same image have a higher score, or an equal one and come before."""
    other = b.transpose(score, perm=(1, 0))
    number = _places(b, score)
    before = b.less(b.transpose(number, perm=(1, 0)), number)
    ahead = b.or_(b.greater(other, score), b.and_(b.equal(other, score), before))
    ahead = b.and_(ahead, b.equal(image, b.transpose(image, perm=(1, 0))))
    rank = b.sum(b.cast(ahead, to="int64"), axes=(1,), keepdims=False)
    return b.less(rank, b.const(keep, "int64"))


def rows_or_none(b: Any, found: Any, batch: Any) -> Any:
    """The rows (image, ...) of 7, or one (image, -1, ...) per image where there is none."""
    images = b.dim_value(value=batch) if isinstance(batch, Dim) else b.const(batch, "int64")
    number = b.unsqueeze(b.range(b.const(0, "int64"), images, b.const(1, "int64")), axes=(1,))
    nothing = b.fill(shape=(batch, 6), value=-1.0, dtype=found.dtype)
    nothing = b.concat(b.cast(number, to=found.dtype), nothing, axis=1)
    count = b.shape_of(found, start=0, end=1)
    zero = b.const([0], "int64")
    every = b.concat(found, nothing, axis=0)
    first = b.squeeze(b.split(every, axis=1, sizes=(1, 6))[0], axes=(1,))
    real = b.less_equal(_places(b, first), count)
    return b.compress(every, b.or_(real, b.equal(count, zero)), axis=0)


def _places(b: Any, column: Any) -> Any:
    """1, 2, 3, ... along the first axis of a column of finite numbers, int64."""
    return b.cumsum(b.cast(b.equal(column, column), to="int64"), axis=0)

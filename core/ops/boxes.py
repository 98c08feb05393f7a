"""Boxes with numpy: priors, decoding, suppression, pooling of regions. Coordinates are computed in float32, as SSD does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .windows import Array, from_first, to_first

__all__ = ["decode", "detections", "nms", "overlap", "prior_boxes", "prior_count", "psroi_pool", "roi_pool", "suppress"]


# ---- priors


def _ratios(given: Sequence[float], flip: bool) -> list[float]:
    """The aspect ratios besides 1: every new one, followed by its inverse."""
    out = [1.0]
    for r in given:
        if any(abs(r - old) < 1e-6 for old in out):
            continue
        out.append(r)
        if flip:
            out.append(1 / r)
    return out[1:]


def prior_count(min_sizes: Sequence[float], max_sizes: Sequence[float], aspect_ratios: Sequence[float], flip: bool) -> int:
    """Boxes per cell."""
    return len(min_sizes) * (1 + len(_ratios(aspect_ratios, flip))) + len(max_sizes)


def prior_boxes(
    cells: tuple[int, int], image: tuple[int, int], *, min_sizes: Sequence[float], max_sizes: Sequence[float],
    aspect_ratios: Sequence[float], flip: bool, clip: bool, variances: Sequence[float], step: Sequence[float] | None,
    offset: float,
) -> Array:  # fmt: skip
    """(1, 2, H * W * boxes * 4): boxes, and the variances of their coordinates."""
    f = np.float32
    sizes: list[tuple[Any, Any]] = []
    ratios = [r for r in _ratios(aspect_ratios, flip) if abs(r - 1) >= 1e-6]
    for i, small in enumerate(min_sizes):
        sizes.append((f(small), f(small)))
        if max_sizes:
            side = f(math.sqrt(small * max_sizes[i]))
            sizes.append((side, side))
        sizes += [(f(small * math.sqrt(r)), f(small / math.sqrt(r))) for r in ratios]
    h, w = cells
    step_h, step_w = (f(image[0]) / f(h), f(image[1]) / f(w)) if step is None else (f(step[0]), f(step[1]))
    y, x = ((np.arange(n, dtype=f) + f(offset)) * s for n, s in ((h, step_h), (w, step_w)))
    wide, tall = np.array([s[0] for s in sizes], f), np.array([s[1] for s in sizes], f)
    cx, cy = np.broadcast_to(x[None, :, None], (h, w, len(sizes))), np.broadcast_to(y[:, None, None], (h, w, len(sizes)))
    box = np.stack([cx - wide / 2, cy - tall / 2, cx + wide / 2, cy + tall / 2], -1)
    box = box / np.array([image[1], image[0], image[1], image[0]], f)
    if clip:
        box = np.clip(box, 0, 1)
    flat = box.reshape(-1)
    spread = np.array(variances if len(variances) == 4 else list(variances) * 4, f)
    return np.stack([flat, np.tile(spread, flat.size // 4)])[None].astype(f)


# ---- decoding and suppression


def decode(loc: Array, boxes: Array, variances: Array, code_type: str, in_target: bool) -> Array:
    """Boxes (..., 4) from offsets (..., 4) relative to priors (n, 4)."""
    v = np.ones_like(variances) if in_target else variances
    if code_type == "corner":
        return np.asarray(boxes + v * loc)
    size = boxes[:, 2:] - boxes[:, :2]
    if code_type == "corner_size":
        return np.asarray(boxes + v * loc * np.concatenate([size, size], 1))
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    middle = v[:, :2] * loc[..., :2] * size + centre
    half = np.exp(v[:, 2:] * loc[..., 2:]) * size / 2
    return np.concatenate([middle - half, middle + half], -1)


def overlap(box: Array, others: Array) -> Array:
    """Intersection over union of one box with others (n, 4)."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    side = high - low
    shared = np.where((side > 0).all(1), side[:, 0] * side[:, 1], 0)

    def area(b: Array) -> Array:
        s = b[..., 2:] - b[..., :2]
        return np.where((s < 0).any(-1), 0, s[..., 0] * s[..., 1])

    with np.errstate(all="ignore"):
        return np.where(shared > 0, shared / (area(box) + area(others) - shared), 0)


def suppress(boxes: Array, order: Sequence[int], threshold: float, eta: float | None = None) -> list[int]:
    """The indices of ``order`` (best first) that overlap no kept box by more than the threshold."""
    kept: list[int] = []
    limit = np.float32(threshold)
    for i in order:
        if kept and (overlap(boxes[i], boxes[kept]) > limit).any():
            continue
        kept.append(int(i))
        if eta is not None and eta < 1 and limit > 0.5:
            limit = np.float32(limit * eta)
    return kept


def nms(
    boxes: Array, scores: Array, *, max_per_class: int, iou_threshold: float, score_threshold: float | None, centre_form: bool
) -> Array:
    """Rows (image, class, box) of the boxes that remain."""
    if centre_form:
        boxes = np.concatenate([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)
    low, high = np.minimum(boxes[..., :2], boxes[..., 2:]), np.maximum(boxes[..., :2], boxes[..., 2:])
    corners = np.concatenate([low, high], -1)
    rows = []
    for i, per_class in enumerate(scores):
        for c, score in enumerate(per_class):
            order = np.argsort(-score, kind="stable")
            if score_threshold is not None:
                order = order[score[order] > np.float32(score_threshold)]
            rows += [(i, c, j) for j in suppress(corners[i], list(order), iou_threshold)[:max_per_class]]
    return np.asarray(rows, np.int64).reshape(-1, 3)


def detections(
    loc: Array, conf: Array, priors: Array, *, num_classes: int, share_location: bool, background: int, code_type: str,
    variance_encoded_in_target: bool, nms_threshold: float, nms_top_k: int, nms_eta: float, keep_top_k: int,
    confidence_threshold: float | None,
) -> Array:  # fmt: skip
    """Rows (image, class, score, x1, y1, x2, y2) of all images."""
    n = priors.shape[-1] // 4
    boxes, variances = priors.reshape(2, n, 4).astype(np.float32)
    scores = conf.reshape(-1, n, num_classes)
    offsets = loc.reshape(len(scores), n, -1, 4)
    rows = []
    for image, (score, offset) in enumerate(zip(scores, offsets)):
        found: list[tuple[int, int]] = []
        placed: dict[int, Array] = {}
        for label in range(num_classes):
            if label == background:
                continue
            at = 0 if share_location else label
            if at not in placed:
                placed[at] = decode(offset[:, at], boxes, variances, code_type, variance_encoded_in_target)
            mine = score[:, label]
            order = np.argsort(-mine, kind="stable")
            if confidence_threshold is not None:
                order = order[mine[order] > np.float32(confidence_threshold)]
            if nms_top_k > -1:
                order = order[:nms_top_k]
            found += [(label, i) for i in suppress(placed[at], list(order), nms_threshold, nms_eta)]
        if -1 < keep_top_k < len(found):
            found = sorted(found, key=lambda f: -score[f[1], f[0]])[:keep_top_k]
            found.sort(key=lambda f: f[0])
        rows += [[image, c, score[i, c], *placed[0 if share_location else c][i]] for c, i in found]
    if not rows:
        rows = [[image, *[-1] * 6] for image in range(len(scores))]
    return np.asarray(rows, np.float32)[None, None]


# ---- regions


def _round(x: Any) -> int:
    """Halves away from zero, as C's round."""
    return math.floor(abs(float(x)) + 0.5) * (1 if x >= 0 else -1)


def _bins(start: Any, size: Any, count: int, limit: int) -> list[tuple[int, int]]:
    out = []
    for p in range(count):
        low, high = math.floor(np.float32(p) * size + start), math.ceil(np.float32(p + 1) * size + start)
        out.append((min(max(low, 0), limit), min(max(high, 0), limit)))
    return out


def _image(x: Array, roi: Array) -> Array:
    i = int(roi[0])
    if not 0 <= i < len(x):
        raise IndexError(f"a region of image {i}, of {len(x)}")
    return np.asarray(x[i])


def roi_pool(x: Array, rois: Array, *, output_size: Sequence[int], spatial_scale: float, layout: str) -> Array:
    """Maximum over each bin of each region."""
    x = to_first(x, layout)
    out = np.zeros((len(rois), x.shape[1], *output_size), x.dtype)
    scale = np.float32(spatial_scale)
    for r, roi in enumerate(rois):
        image = _image(x, roi)
        x1, y1, x2, y2 = (_round(np.float32(v) * scale) for v in roi[1:])
        tall = np.float32(max(y2 - y1 + 1, 1)) / np.float32(output_size[0])
        wide = np.float32(max(x2 - x1 + 1, 1)) / np.float32(output_size[1])
        rows = [
            (min(max(a + y1, 0), x.shape[2]), min(max(b + y1, 0), x.shape[2]))
            for a, b in _bins(np.float32(0), tall, output_size[0], 1 << 30)
        ]
        columns = [
            (min(max(a + x1, 0), x.shape[3]), min(max(b + x1, 0), x.shape[3]))
            for a, b in _bins(np.float32(0), wide, output_size[1], 1 << 30)
        ]
        for i, (top, bottom) in enumerate(rows):
            for j, (left, right) in enumerate(columns):
                if bottom > top and right > left:
                    out[r, :, i, j] = image[:, top:bottom, left:right].max((1, 2))
    return from_first(out, layout)


def psroi_pool(x: Array, rois: Array, *, group: int, spatial_scale: float, layout: str) -> Array:
    """Mean over each bin of each region, each bin of its own channels."""
    x = to_first(x, layout)
    n, scale = x.shape[1] // (group * group), np.float32(spatial_scale)
    out = np.zeros((len(rois), n, group, group), x.dtype)
    for r, roi in enumerate(rois):
        image = _image(x, roi).reshape(n, group, group, *x.shape[2:])
        x1, y1 = (np.float32(_round(v)) * scale for v in roi[1:3])
        x2, y2 = (np.float32(_round(v + 1)) * scale for v in roi[3:])
        tall, wide = (np.float32(max(d, np.float32(0.1))) / np.float32(group) for d in (y2 - y1, x2 - x1))
        for i, (top, bottom) in enumerate(_bins(y1, tall, group, x.shape[2])):
            for j, (left, right) in enumerate(_bins(x1, wide, group, x.shape[3])):
                if bottom > top and right > left:
                    out[r, :, i, j] = image[:, i, j, top:bottom, left:right].mean((1, 2))
    return from_first(out, layout)

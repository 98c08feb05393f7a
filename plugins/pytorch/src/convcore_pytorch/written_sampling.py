"""Functions that generated code may need to read images where the data say: as in ``written.py``, their text is copied."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def beside(at: Tensor, length: int) -> list[tuple[Tensor, Tensor]]:
    """The two elements beside each position of an axis, with their weights: 0 for what is far outside."""
    near = (at >= -1) & (at <= length)
    at = at.clamp(min=0)
    low = at.long().clamp(max=length - 1)
    part = torch.where(low >= length - 1, 0.0, at - low)
    return [(low, (1 - part) * near), ((low + 1).clamp(max=length - 1), part * near)]


def roi_align(
    x: Tensor,
    rois: Tensor,
    images: Tensor,
    size: tuple[int, int],
    scale: float = 1.0,
    samples: int = 0,
    mode: str = "mean",
    half_pixel: bool = True,
) -> Tensor:
    """The mean, or the largest element, of points read in each bin of regions (x1, y1, x2, y2)."""
    out = []
    dtype = torch.promote_types(rois.dtype, torch.float32)
    boxes = rois.to(dtype) * scale - (0.5 if half_pixel else 0.0)
    for (x1, y1, x2, y2), number in zip(boxes, images.tolist()):
        if not 0 <= number < len(x):
            raise IndexError(f"a region of image {number} of {len(x)}")
        ends, grid = [], []
        for low, high, bins, length in zip((y1, x1), (y2, x2), size, x.shape[2:]):
            whole = high - low if half_pixel else (high - low).clamp(min=1)
            step = whole / bins
            count = samples if samples > 0 else max(0, math.ceil(step))
            points = (torch.arange(count, device=x.device) + 0.5) * step / max(count, 1)
            at = low + torch.arange(bins, device=x.device)[:, None] * step + points
            ends.append(beside(at.flatten(), length))
            grid.append(count)
        if not grid[0] * grid[1]:
            out.append(x.new_zeros(x.shape[1], *size))
            continue
        parts = [
            x[number][:, r][:, :, c] * (below[:, None] * right).to(x)
            for r, below in ends[0]
            for c, right in ends[1]
        ]
        y = torch.stack(parts)
        y = y.sum(0) if mode == "mean" else y.amax(0)
        y = y.reshape(-1, size[0], grid[0], size[1], grid[1])
        out.append(y.mean((2, 4)) if mode == "mean" else y.amax((2, 4)))
    return torch.stack(out) if out else x.new_zeros(0, x.shape[1], *size)


def deform_conv(
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    offset_groups: int = 1,
) -> Tensor:
    """A convolution whose kernel reads every element moved by an offset, times a mask."""
    n, channels, height, width = x.shape
    taps, (oh, ow) = weight.shape[2] * weight.shape[3], offset.shape[2:]
    starts = [
        torch.arange(o, device=x.device) * s - p
        for o, s, p in zip((oh, ow), stride, padding)
    ]
    steps = [
        torch.arange(k, device=x.device) * d for k, d in zip(weight.shape[2:], dilation)
    ]
    shift = offset.to(torch.promote_types(offset.dtype, torch.float32))
    shift = shift.reshape(n, offset_groups, *weight.shape[2:], 2, oh, ow)
    rows = (steps[0][:, None, None, None] + starts[0][:, None]) + shift[:, :, :, :, 0]
    columns = (steps[1][:, None, None] + starts[1]) + shift[:, :, :, :, 1]
    planes = x.reshape(n, offset_groups, -1, height * width)
    read = torch.zeros_like(planes[..., :1])
    for i in (0, 1):
        for j in (0, 1):
            r, c = rows.floor() + i, columns.floor() + j
            part = (1 - (rows - r).abs()) * (1 - (columns - c).abs())
            part = part * ((r >= 0) & (r < height) & (c >= 0) & (c < width))
            at = r.clamp(0, height - 1).long() * width + c.clamp(0, width - 1).long()
            at = at.flatten(2)[:, :, None].expand(-1, -1, planes.shape[2], -1)
            read = read + planes.gather(3, at) * part.flatten(2)[:, :, None]
    if mask is not None:
        read = read * mask.reshape(n, offset_groups, 1, -1)
    read = read.to(x).reshape(n, groups, channels // groups * taps, oh * ow)
    y = weight.reshape(groups, -1, channels // groups * taps) @ read
    y = y.reshape(n, -1, oh, ow)
    return y if bias is None else y + bias[:, None, None]

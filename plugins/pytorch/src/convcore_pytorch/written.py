"""Functions that generated code may need: their text is copied into it. This module itself is never imported."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

DTYPES: dict[str, torch.dtype] = {}


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, mapped into memory."""
    size = Path(path).stat().st_size
    data = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    start = 8 + int.from_bytes(bytes(data[:8].tolist()), "little")
    header = json.loads(bytes(data[8:start].tolist()))
    tensors = {}
    for name, info in header.items():
        if name != "__metadata__":
            first, last = info["data_offsets"]
            part = data[start + first : start + last].view(DTYPES[info["dtype"]])
            tensors[name] = part.reshape(info["shape"]).data  # changed by itself
    return tensors


def set_buffers(model: nn.Module, values: dict[str, Tensor]) -> None:
    """Buffers that the state_dict does not have."""
    for name, value in values.items():
        owner, _, last = name.rpartition(".")
        model.get_submodule(owner).register_buffer(last, value, persistent=False)


def fresh(made: Any) -> Any:
    """Tensors of their own, as operators with functions want them."""
    return made.clone() if isinstance(made, Tensor) else tuple(fresh(x) for x in made)


def branch(test: Any, then: Callable[..., Any], other: Callable[..., Any]) -> Any:
    """What one of two functions returns: torch.cond where the model is exported."""
    if isinstance(test, Tensor) and torch.compiler.is_compiling():
        pick = test.reshape(())
        return torch.cond(pick, lambda: fresh(then()), lambda: fresh(other()), ())
    return then() if bool(test) else other()


def repeat(
    step: Callable[..., Any],
    count: Tensor | int | None,
    go: Tensor | bool,
    states: tuple[Tensor, ...],
    rows: Sequence[tuple[tuple[int, ...], torch.dtype]] = (),
) -> Any:
    """Steps while the condition holds, at most count; outputs of steps are stacked."""
    counted = go is True and isinstance(count, int)
    if torch.compiler.is_compiling() and not rows and not counted:
        return while_loop(step, count, go, states)
    made: list[tuple[Tensor, ...]] = []
    done = 0
    while bool(go) and (count is None or done < int(count)):
        go, states, row = step(torch.tensor(done), torch.as_tensor(go), *states)
        made.append(row)
        done += 1
    if not made:
        return (*states, *(torch.empty((0, *shape), dtype=d) for shape, d in rows))
    return (*states, *(torch.stack(column) for column in zip(*made)))


def while_loop(
    step: Callable[..., Any],
    count: Tensor | int | None,
    go: Tensor | bool,
    states: tuple[Tensor, ...],
) -> Any:
    """The steps of repeat as one operator, for programs that are exported."""
    from torch._higher_order_ops import while_loop as traced

    def more(done: Tensor, go: Tensor, *states: Tensor) -> Tensor:
        return go if count is None else go & (done < count)

    def once(done: Tensor, go: Tensor, *states: Tensor) -> Any:
        go, states, _ = step(done, go, *states)
        return (done + 1, *fresh((go, *states)))

    start = torch.tensor(0), torch.as_tensor(go).reshape(()).clone(), *states
    return traced(more, once, start)[2:]


def scan(
    step: Callable[..., Any], states: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
) -> Any:
    """States after a step for each slice along axis 0, and the outputs stacked."""
    if torch.compiler.is_compiling() and not isinstance(inputs[0].shape[0], int):
        from torch._higher_order_ops import scan as traced

        states, rows = traced(lambda s, x: fresh(step(s, x)), states, inputs)
        return (*states, *rows)
    made = []
    for slices in zip(*(x.unbind(0) for x in inputs)):
        states, row = step(states, slices)
        made.append(row)
    return (*states, *(torch.stack(column) for column in zip(*made)))


def gathered(x: Tensor, mask: Tensor) -> Tensor:
    """Sequences (batch, time, features), the steps where the mask holds in front."""
    order = torch.argsort(mask.int(), stable=True, dim=1, descending=True)
    return x.gather(1, order[:, :, None].expand(-1, -1, x.shape[2]))


def spread(y: Tensor, mask: Tensor, again: bool, start: Tensor | None = None) -> Any:
    """Outputs of gathered steps at their times, and the last: a step that is masked
    repeats the output before it, or gives zeros."""
    done = mask.cumsum(1)[:, :, None].expand(-1, -1, y.shape[2])
    last = done[:, -1:]
    zeros = torch.zeros_like(y[:, :1])
    first = zeros if start is None else start.transpose(0, 1)
    end = torch.where(last > 0, y.gather(1, (last - 1).clamp(min=0)), first)
    y = y.gather(1, (done - 1).clamp(min=0))
    y = torch.where(done > 0 if again else mask[:, :, None], y, zeros)
    return y, end.transpose(0, 1)


def reshape(x: Tensor, shape: Sequence[int]) -> Tensor:
    """A 0 in the shape keeps the size that x has there."""
    return x.reshape([n or x.shape[i] for i, n in enumerate(shape)])


def narrow(x: Tensor, dim: int, start: int, stop: int, step: int = 1) -> Tensor:
    """A slice along one axis, bounds limited to it; a negative step runs backwards."""
    size = x.shape[dim]
    start, stop = (n + size if n < 0 else n for n in (start, stop))
    if step < 0:
        start, stop = min(max(start, 0), size - 1), min(max(stop, -1), size - 1)
    else:
        start, stop = min(max(start, 0), size), min(max(stop, 0), size)
    chosen = list(range(start, stop, step))
    places = torch.tensor(chosen, dtype=torch.int64, device=x.device)
    return x.index_select(dim, places)


def scatter(x: Tensor, dim: int, index: Tensor, updates: Tensor) -> Tensor:
    """torch.scatter; of updates for one place the last one stays."""
    order = torch.arange(index.numel(), device=x.device).reshape(index.shape)
    last = torch.zeros_like(x, dtype=torch.int64)
    last = last.scatter_reduce(dim, index, order, "amax")
    return x.scatter(dim, index, updates.flatten()[last.gather(dim, index)])


def scatter_nd(x: Tensor, index: Tensor, updates: Tensor, reduce: str = "") -> Tensor:
    """Updates at index vectors; without a reduction the last one for a place stays."""
    depth = index.shape[-1]
    at = torch.zeros_like(index[..., 0])
    for i in range(depth):
        part = index[..., i]
        at = at * x.shape[i] + torch.where(part < 0, part + x.shape[i], part)
    at, count = at.flatten(), math.prod(x.shape[:depth])
    if reduce:
        rows = updates.reshape(at.numel(), -1)
        flat = x.reshape(count, rows.shape[1])
        at = at[:, None].expand_as(rows)
        return flat.scatter_reduce(0, at, rows, reduce).reshape(x.shape)
    order = torch.arange(at.numel(), device=x.device)
    last = torch.zeros(count, dtype=torch.int64, device=x.device)
    last = last.scatter_reduce(0, at, order, "amax")
    rows = updates.flatten(0, index.ndim - 2) if index.ndim > 1 else updates[None]
    rows = rows[last[at]].reshape(updates.shape)
    return x.index_put(tuple(index.unbind(-1)), rows)


def unique(
    x: Tensor, dim: int | None = None, in_order: bool = False
) -> tuple[Tensor, ...]:
    """Distinct values, the first index, the inverse map and counts; NaN is one value."""
    values, inverse, counts = torch.unique(
        x, return_inverse=True, return_counts=True, dim=dim
    )
    if dim is None and x.is_floating_point():
        first_nan = int((~values.isnan()).sum())
        rest = counts[first_nan:].sum(0, keepdim=True)
        if len(values) > first_nan:
            counts = torch.cat((counts[:first_nan], rest))
        values, inverse = values[: first_nan + 1], inverse.clamp(max=first_nan)
    inverse = inverse.flatten()
    places = torch.arange(len(inverse), device=x.device)
    first = torch.full_like(counts, len(inverse))
    first = first.scatter_reduce(0, inverse, places, "amin")
    if in_order:
        order = torch.argsort(first)
        values, first = values.index_select(dim or 0, order), first[order]
        inverse, counts = torch.argsort(order)[inverse], counts[order]
    return values, first, inverse, counts


def overlap(box: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of one box with others."""
    side = torch.minimum(box[2:], others[:, 2:]) - torch.maximum(box[:2], others[:, :2])
    shared = side.clamp(min=0).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
    return torch.where(shared > 0, shared / (areas - shared), 0.0)


def nms(
    boxes: Tensor,
    scores: Tensor,
    limit: int,
    iou: float,
    score: float | None = None,
    centred: bool = False,
) -> Tensor:
    """Rows (image, class, box): the best first, without boxes that overlap better ones."""
    if centred:
        middle, half = boxes[..., :2], boxes[..., 2:] / 2
        boxes = torch.cat((middle - half, middle + half), -1)
    low = torch.minimum(boxes[..., :2], boxes[..., 2:])
    boxes = torch.cat((low, torch.maximum(boxes[..., :2], boxes[..., 2:])), -1)
    rows = []
    for i in range(scores.shape[0]):
        for c in range(scores.shape[1]):
            order = torch.argsort(-scores[i, c], stable=True)
            if score is not None:
                order = order[scores[i, c][order] > score]
            kept: list[int] = []
            for j in order.tolist():
                others = boxes[i, kept]
                if not kept or not bool((overlap(boxes[i, j], others) > iou).any()):
                    kept.append(j)
            rows += [[i, c, j] for j in kept[:limit]]
    made = torch.tensor(rows, dtype=torch.int64, device=boxes.device)
    return made.reshape(-1, 3)


def bins(start: float, size: float, count: int, limit: int) -> list[slice]:
    """Where the bins of a region begin and end, in single precision."""
    edges = torch.arange(count + 1, dtype=torch.float32) * size + start
    low, high = edges[:-1].floor().long(), edges[1:].ceil().long()
    low, high = low.clamp(0, limit), high.clamp(0, limit)
    return [slice(a, b) for a, b in zip(low.tolist(), high.tolist())]


def nearest(x: Tensor) -> Tensor:
    """Whole numbers, halves away from zero."""
    return torch.sign(x) * torch.floor(x.abs() + 0.5)


def roi_pool(x: Tensor, rois: Tensor, size: tuple[int, int], scale: float) -> Tensor:
    """The largest element of each bin of each region (image, x1, y1, x2, y2)."""
    out = x.new_zeros(len(rois), x.shape[1], *size)
    corners = nearest(rois[:, 1:].float() * scale).long()
    for r, (x1, y1, x2, y2) in enumerate(corners.tolist()):
        image = x[int(rois[r, 0])]
        spans = []
        for i, (low, high) in enumerate(((y1, y2), (x1, x2))):
            span = float(torch.tensor(max(high - low + 1, 1)) / size[i])
            limit = image.shape[i + 1]
            parts = bins(0.0, span, size[i], 1 << 30)
            spans.append(
                [
                    (
                        min(max(p.start + low, 0), limit),
                        min(max(p.stop + low, 0), limit),
                    )
                    for p in parts
                ]
            )
        for i, (top, bottom) in enumerate(spans[0]):
            for j, (left, right) in enumerate(spans[1]):
                if bottom > top and right > left:
                    out[r, :, i, j] = image[:, top:bottom, left:right].amax((1, 2))
    return out


def psroi_pool(x: Tensor, rois: Tensor, group: int, scale: float) -> Tensor:
    """The mean of each bin of each region, every bin over channels of its own."""
    out = x.new_zeros(len(rois), x.shape[1] // group**2, group, group)
    for r, roi in enumerate(rois.float()):
        image = x[int(roi[0])].unflatten(0, (-1, group, group))
        first, last = nearest(roi[1:3]) * scale, nearest(roi[3:] + 1) * scale
        side = (last - first).clamp(min=0.1) / group
        rows = bins(float(first[1]), float(side[1]), group, x.shape[2])
        columns = bins(float(first[0]), float(side[0]), group, x.shape[3])
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                if row.stop > row.start and column.stop > column.start:
                    out[r, :, i, j] = image[:, i, j, row, column].mean((1, 2))
    return out

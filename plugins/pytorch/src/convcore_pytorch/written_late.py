"""Functions that generated code may need where axes, sizes or amounts are only known when it runs: as in ``written.py``, their
text is copied. torch.export cannot trace most of them, for their results' shapes depend on data."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .written import narrow


def whole(n: float) -> int:
    """A float that must be a whole number."""
    if int(n) != n:
        raise ValueError(f"{n} is not a whole number")
    return int(n)


def distinct(axes: Sequence[int], rank: int) -> list[int]:
    """Axes counted from the front; none twice, none outside."""
    found = [a % rank for a in axes if -rank <= a < rank]
    if len(set(found)) != len(axes):
        raise ValueError(f"the axes {axes} of {rank}")
    return found


def lined(x: Tensor, axes: Sequence[int], every: bool = True) -> Tensor:
    """The axes as one, the last. No axes are all of them, or with every=False none."""
    chosen = distinct(axes, x.ndim)
    if not chosen and every:
        chosen = list(range(x.ndim))
    rest = [a for a in range(x.ndim) if a not in chosen]
    count = math.prod(x.shape[a] for a in chosen)
    return x.permute(*rest, *chosen).reshape([*(x.shape[a] for a in rest), count])


def kept(y: Tensor, x: Tensor, axes: Sequence[int], every: bool = True) -> Tensor:
    """What became of lined(x, axes, every), with size 1 in place of the axes."""
    chosen = distinct(axes, x.ndim)
    if not chosen and every:
        chosen = list(range(x.ndim))
    return y.reshape([1 if a in chosen else n for a, n in enumerate(x.shape)])


def squeezed(x: Tensor, axes: Sequence[int]) -> Tensor:
    """x without these axes, which must have size 1."""
    gone = distinct(axes, x.ndim)
    if any(x.shape[a] != 1 for a in gone):
        raise ValueError(f"the axes {axes} of {tuple(x.shape)} have not size 1")
    return x.reshape([n for a, n in enumerate(x.shape) if a not in gone])


def unsqueezed(x: Tensor, axes: Sequence[int]) -> Tensor:
    """x with new axes, counted in the result."""
    for a in sorted(distinct(axes, x.ndim + len(axes))):
        x = x.unsqueeze(a)
    return x


def sliced(
    x: Tensor,
    axes: Sequence[int],
    starts: Sequence[int],
    stops: Sequence[int],
    steps: Sequence[int] | None = None,
) -> Tensor:
    """A slice along each of some axes."""
    found = distinct(axes, x.ndim)
    if not len(found) == len(starts) == len(stops):
        raise ValueError(f"starts {starts} and stops {stops} of the axes {axes}")
    for i, a in enumerate(found):
        x = narrow(x, a, starts[i], stops[i], 1 if steps is None else steps[i])
    return x


def padded(
    x: Tensor,
    pads: Sequence[int],
    value: float = 0,
    axes: Sequence[int] | None = None,
    mode: str = "constant",
) -> Tensor:
    """All beginnings, then all ends, of every axis or of some; cropped where negative, before it grows."""
    chosen = list(range(x.ndim)) if axes is None else distinct(axes, x.ndim)
    if len(pads) != 2 * len(chosen):
        raise ValueError(f"{len(pads)} pads for {len(chosen)} axes")
    for i, a in enumerate(chosen):
        before, after = pads[i], pads[len(chosen) + i]
        length = x.shape[a] - max(-before, 0) - max(-after, 0)
        if length < 0:
            raise ValueError(f"pads {(before, after)} of {x.shape[a]} elements")
        x, before, after = (
            x.narrow(a, max(-before, 0), length),
            max(before, 0),
            max(after, 0),
        )
        if mode == "constant":
            x = F.pad(x, [0, 0] * (x.ndim - 1 - a) + [before, after], value=value)
        elif before or after:
            at = torch.arange(-before, length + after, device=x.device)
            if mode == "edge":
                at = at.clamp(0, length - 1)
            elif mode == "wrap":
                at = at % length
            else:
                turn = 2 * length if mode == "symmetric" else max(2 * length - 2, 1)
                at = at % turn
                at = torch.where(
                    at < length, at, (turn - 1 if mode == "symmetric" else turn) - at
                )
            x = x.index_select(a, at)
    return x


def dft(
    x: Tensor,
    length: int | None = None,
    axis: int = -2,
    inverse: bool = False,
    onesided: bool = False,
) -> Tensor:
    """The Fourier transform of x (..., 1 or 2), real and imaginary parts along the last axis."""
    (axis,) = distinct((axis,), x.ndim)
    if axis == x.ndim - 1 or x.shape[-1] not in (1, 2):
        raise ValueError(f"a transform along axis {axis} of {tuple(x.shape)}")
    z = torch.view_as_complex(x.contiguous()) if x.shape[-1] == 2 else x[..., 0]
    if inverse and onesided:
        real: Tensor = torch.fft.irfft(z, length, axis)
        return real.unsqueeze(-1)
    if inverse:
        return torch.view_as_real(torch.fft.ifft(z, length, axis))
    y = torch.view_as_real(torch.fft.fft(z, length, axis))
    return y.narrow(axis, 0, y.shape[axis] // 2 + 1) if onesided else y


def stft(
    x: Tensor,
    step: int,
    window: Tensor | None = None,
    size: int | None = None,
    onesided: bool = False,
) -> Tensor:
    """Transforms of frames of x (batch, time, 1 or 2), one every step."""
    if size is None:
        size = x.shape[1] if window is None else len(window)
    framed = x.unfold(1, size, step).transpose(2, 3)
    if window is not None:
        framed = framed * window.reshape(-1, 1)
    return dft(framed, axis=2, onesided=onesided)


def col2im(
    x: Tensor,
    image: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[tuple[int, int]],
) -> Tensor:
    """Patches (N, C * elements of one, places) added up where they lie in images (N, C, *image)."""
    d = len(kernel)
    if not d == len(image) == len(strides) == len(dilations) == len(pads):
        raise ValueError(
            f"a kernel {kernel}, strides {strides} and pads {pads} for an image {image}"
        )
    full = [n + a + b for n, (a, b) in zip(image, pads)]
    at, places = torch.zeros((1,) * (2 * d), dtype=torch.int64, device=x.device), 1
    for i in range(d):
        count = (full[i] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1
        taps = torch.arange(kernel[i], device=x.device) * dilations[i]
        starts = torch.arange(count, device=x.device) * strides[i]
        shape = [1] * (2 * d)
        shape[i], shape[d + i] = kernel[i], count
        at, places = (
            at * full[i] + (taps[:, None] + starts).reshape(shape),
            places * count,
        )
    channels, left = divmod(x.shape[1], math.prod(kernel))
    if left or x.shape[2] != places:
        raise ValueError(f"patches {tuple(x.shape)} of {kernel} for {places} places")
    y = x.new_zeros(x.shape[0], channels, math.prod(full))
    y = y.index_add(2, at.flatten(), x.reshape(x.shape[0], channels, -1))
    y = y.reshape(x.shape[0], channels, *full)
    for i, (n, (a, _)) in enumerate(zip(image, pads)):
        y = y.narrow(2 + i, a, n)
    return y


def positions(n: int, out: int, scale: float | None, how: str) -> Tensor:
    """Where each of out elements lies among n, by the formulas of ONNX Resize."""
    i = torch.arange(out, dtype=torch.float64)
    if how == "align_corners":
        return i * (n - 1) / (out - 1) if out > 1 else i * 0
    if how == "asymmetric":
        return i * n / out if scale is None else i / scale
    if how == "tf_half_pixel_for_nn":
        return (2 * i + 1) * n / (2 * out) if scale is None else (i + 0.5) / scale
    if how == "pytorch_half_pixel" and out <= 1:
        return i * 0
    half = (
        ((2 * i + 1) * n - out) / (2 * out)
        if scale is None
        else (i + 0.5) / scale - 0.5
    )
    if how == "half_pixel_symmetric" and scale is not None:
        return n / 2 * (1 - out / (n * scale)) + half
    return half


def read_at(
    x: Tensor,
    axis: int,
    at: Tensor,
    ratio: float,
    mode: str,
    nearest: str,
    cubic_a: float,
    exclude_outside: bool,
    antialias: bool,
) -> Tensor:
    """Elements at positions along an axis, or mixed of those around them."""
    n = x.shape[axis]
    if mode == "nearest":
        if nearest.startswith("round"):
            at = (
                (at - 0.5).ceil()
                if nearest == "round_prefer_floor"
                else (at + 0.5).floor()
            )
        else:
            at = at.floor() if nearest == "floor" else at.ceil()
        return x.index_select(axis, at.long().clamp(0, n - 1).to(x.device))
    stretch = max(ratio, 1.0) if antialias else 1.0
    reach = math.ceil((1 if mode == "linear" else 2) * stretch)
    taps = at.floor().long()[:, None] + torch.arange(1 - reach, reach + 1)
    t, a = ((taps - at[:, None]) / stretch).abs(), cubic_a
    if mode == "linear":
        weights = (1 - t).clamp(min=0)
    else:
        inner, outer = (
            ((a + 2) * t - (a + 3)) * t * t + 1,
            a * (((t - 5) * t + 8) * t - 4),
        )
        weights = torch.where(t <= 1, inner, torch.where(t < 2, outer, 0.0))
    if exclude_outside:
        weights = torch.where((taps >= 0) & (taps < n), weights, 0.0)
    if exclude_outside or antialias:
        weights = weights / weights.sum(1, keepdim=True)
    taps, weights = taps.clamp(0, n - 1).to(x.device), weights.to(x)
    shape = [1] * x.ndim
    shape[axis] = len(taps)
    parts = zip(taps.unbind(1), weights.unbind(1))
    return torch.stack(
        [x.index_select(axis, p) * w.reshape(shape) for p, w in parts]
    ).sum(0)


def resize_axes(
    x: Tensor,
    axes: Sequence[int] | None = None,
    sizes: Sequence[int] | None = None,
    scales: Sequence[float] | None = None,
    roi: Sequence[float] | None = None,
    coordinates: str = "half_pixel",
    policy: str = "stretch",
    outside: float = 0.0,
    mode: str = "nearest",
    nearest: str = "round_prefer_floor",
    cubic_a: float = -0.75,
    exclude_outside: bool = False,
    antialias: bool = False,
) -> Tensor:
    """Axes of x to sizes or by scales, as ONNX Resize does it."""
    chosen = list(range(x.ndim)) if axes is None else distinct(axes, x.ndim)
    given: Sequence[float] = (
        sizes if sizes is not None else scales if scales is not None else ()
    )
    if len(given) != len(chosen) or any(n <= 0 for n in given):
        raise ValueError(f"sizes or scales {given} for the axes {chosen}")
    now = [x.shape[a] for a in chosen]
    by: list[float | None] = [None] * len(now) if sizes is not None else list(given)
    to = [
        int(m) if sizes is not None else math.floor(n * m) for n, m in zip(now, given)
    ]
    if sizes is not None and policy != "stretch":
        one = (min if policy == "not_larger" else max)(m / n for n, m in zip(now, to))
        to, by = [math.floor(n * one + 0.5) for n in now], [one] * len(now)
    if coordinates == "align_corners" and any(
        s is not None and n * s % 1 for n, s in zip(now, by)
    ):
        raise ValueError(f"scales {by} of {now} elements are not whole")
    beyond = torch.zeros((1,) * x.ndim, dtype=torch.bool)
    cropped = roi if coordinates == "tf_crop_and_resize" else None
    if cropped is not None and len(cropped) != 2 * len(chosen):
        raise ValueError(f"a region {cropped} of the axes {chosen}")
    for i, (axis, n, out, scale) in enumerate(zip(chosen, now, to, by)):
        if cropped is not None:
            start, end = cropped[i], cropped[len(chosen) + i]
            at = torch.arange(out, dtype=torch.float64)
            if out > 1:
                at = start * (n - 1) + at * (end - start) * (n - 1) / (out - 1)
            else:
                at = at + 0.5 * (start + end) * (n - 1)
            shape = [1] * x.ndim
            shape[axis] = out
            beyond = beyond | ((at < 0) | (at > n - 1)).reshape(shape)
        elif out == n and scale in (None, 1.0):
            continue
        else:
            at = positions(n, out, scale, coordinates)
        ratio = n / out if scale is None else 1 / scale
        x = read_at(
            x, axis, at, ratio, mode, nearest, cubic_a, exclude_outside, antialias
        )
    return x if cropped is None else x.masked_fill(beyond.to(x.device), outside)

"""Recurrent layers with numpy: the loop over time, and one step of each cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .rnn_activations import activation
from .windows import Array

__all__ = ["directions", "gru", "lstm", "rnn"]

Step = Callable[[int, Array, Sequence[Array]], Sequence[Array]]


def directions(direction: str) -> tuple[bool, ...]:
    """Whether each direction runs backwards, in the order of the weights."""
    return {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[direction]


def _recur(
    x: Array, w: Array, bias: Array | None, states: Sequence[Array | None], mask: Array | None, lengths: Array | None, step: Step,
    *, hidden: int, direction: str, layout: str, zero_output_for_mask: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """Run ``step(direction, x w + b at t, states) -> new states`` over time; the first state is the output."""
    z = x.swapaxes(0, 1) if layout == "batch_major" else x
    valid = None if mask is None else mask if layout == "time_major" else mask.swapaxes(0, 1)
    zero = zero_output_for_mask
    steps, batch = z.shape[:2]
    if lengths is not None:
        valid, zero = np.arange(steps)[:, None] < lengths, True
    backwards = directions(direction)
    y = np.zeros((steps, batch, len(backwards) * hidden), z.dtype)
    finals: list[list[Array]] = [[] for _ in states]
    for d, back in enumerate(backwards):
        gates = z.reshape(steps * batch, z.shape[2]) @ w[d].T
        if bias is not None:
            gates = gates + bias[d]
        gates = gates.reshape(steps, batch, w.shape[1])
        now = [np.zeros((batch, hidden), z.dtype) if s is None else s[d] for s in states]
        out = np.zeros((batch, hidden), z.dtype)
        for t in range(steps - 1, -1, -1) if back else range(steps):
            new = step(d, gates[t], now)
            if valid is None:
                now, out = list(new), new[0]
            else:
                keep = valid[t][:, None]
                out = np.where(keep, new[0], 0 if zero else out)
                now = [np.where(keep, a, b) for a, b in zip(new, now)]
            y[t, :, d * hidden : (d + 1) * hidden] = out
        for column, s in zip(finals, now):
            column.append(s)
    y = y.swapaxes(0, 1) if layout == "batch_major" else y
    return (y, *(np.stack(column) for column in finals))


def _clipper(clip: float | None) -> Callable[[Array], Array]:
    return (lambda v: v) if clip is None else (lambda v: np.clip(v, -clip, clip))


def lstm(
    x: Array, w: Array, r: Array, b: Array | None = None, h0: Array | None = None, c0: Array | None = None,
    mask: Array | None = None, lengths: Array | None = None, peephole: Array | None = None,
    *, activation: str, recurrent_activation: str, output_activation: str | None, clip: float | None, input_forget: bool,
    **common: Any,
) -> tuple[Array, ...]:  # fmt: skip
    cell, gate = _act(activation), _act(recurrent_activation)
    squash, bound = _act(output_activation or activation), _clipper(clip)

    def step(d: int, xw: Array, states: Sequence[Array]) -> Sequence[Array]:
        h, c = states
        i, f, g, o = np.split(xw + h @ r[d].T, 4, -1)
        if peephole is not None:
            p_i, p_o, p_f = np.split(peephole[d], 3)
            i, f = i + p_i * c, f + p_f * c
        i = gate(bound(i))
        f = 1 - i if input_forget else gate(bound(f))
        new = f * c + i * cell(bound(g))
        if peephole is not None:
            o = o + p_o * new
        return gate(bound(o)) * squash(new), new

    return _recur(x, w, b, (h0, c0), mask, lengths, step, **common)


def gru(
    x: Array, w: Array, r: Array, b: Array | None = None, rb: Array | None = None, h0: Array | None = None,
    mask: Array | None = None, lengths: Array | None = None,
    *, activation: str, recurrent_activation: str, clip: float | None, reset_after: bool, **common: Any,
) -> tuple[Array, ...]:  # fmt: skip
    cell, gate, bound = _act(activation), _act(recurrent_activation), _clipper(clip)

    def step(d: int, xw: Array, states: Sequence[Array]) -> Sequence[Array]:
        (h,) = states
        size = h.shape[-1]
        if reset_after:
            hr = h @ r[d].T if rb is None else h @ r[d].T + rb[d]
            zr = bound(xw[:, : 2 * size] + hr[:, : 2 * size])
            z, reset = gate(zr[:, :size]), gate(zr[:, size:])
            n = cell(bound(xw[:, 2 * size :] + reset * hr[:, 2 * size :]))
        else:
            if rb is not None:
                xw = xw + rb[d]
            zr = bound(xw[:, : 2 * size] + h @ r[d][: 2 * size].T)
            z, reset = gate(zr[:, :size]), gate(zr[:, size:])
            n = cell(bound(xw[:, 2 * size :] + (reset * h) @ r[d][2 * size :].T))
        return (z * h + (1 - z) * n,)

    return _recur(x, w, b, (h0,), mask, lengths, step, **common)


def rnn(
    x: Array, w: Array, r: Array, b: Array | None = None, h0: Array | None = None, mask: Array | None = None,
    lengths: Array | None = None, *, activation: str, clip: float | None, **common: Any,
) -> tuple[Array, ...]:  # fmt: skip
    cell, bound = _act(activation), _clipper(clip)

    def step(d: int, xw: Array, states: Sequence[Array]) -> Sequence[Array]:
        return (cell(bound(xw + states[0] @ r[d].T)),)

    return _recur(x, w, b, (h0,), mask, lengths, step, **common)


def _act(name: str) -> Callable[[Array], Array]:
    return activation(name).numpy

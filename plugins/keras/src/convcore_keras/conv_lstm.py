"""One step of a ConvLSTM, as it is read and as it is found again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import Builder, DType, Graph, Origin

__all__ = ["step"]


def step(
    kind: DType, batch: Any, state: Sequence[Any], kernel: Sequence[Any], channel: int, gate: Any, act: Any, layout: Any,
    origin: Origin, *, states: int, masked: bool, zero_output: bool,
) -> Graph:  # fmt: skip
    """The region of a scan: states (N, *state), the input's convolution, (masked) whether the step counts, the recurrent kernel.
    The state's convolution has stride 1 and padding ``same``; gates i, f, c, o along ``channel`` (``keras.src.layers.rnn.
    conv_lstm``). A third state is the last output that counted."""
    filters = state[channel]
    size = tuple(4 * filters if i == channel else d for i, d in enumerate(state))
    region = Graph("step")
    r = Builder(region, origin=origin)
    now = [r.input(f"state{i}", kind, (batch, *state)) for i in range(states)]
    x_t = r.input("x", kind, (batch, *size))
    valid = r.input("valid", "bool", (batch, *[1] * len(size))) if masked else None
    w = r.input("recurrent_kernel", kind, tuple(kernel))
    both = r.add(x_t, r.conv(now[0], w, None, pads="same_upper", layout=layout))
    i, f, c, o = r.split(both, axis=channel + 1, sizes=(filters,) * 4)
    carry = r.add(r.mul(gate.body(r, f), now[1]), r.mul(gate.body(r, i), act.body(r, c)))
    out = r.mul(gate.body(r, o), act.body(r, carry))
    new = [out, carry]
    if valid is not None:
        out = r.where(valid, out, r.like(out, 0) if zero_output else now[2])
        new = [*(r.where(valid, a, s) for a, s in zip(new, now)), out]
    region.outputs = [*new, out]
    return region

"""Recurrent layers written with ``scan``: exact for every mask, activation, direction and layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .recurrence import directions
from .rnn_activations import activation as parse

__all__ = ["gru_body", "lstm_body", "rnn_body"]

Cell = Callable[[Any, Any, Sequence[Any], Mapping[str, Any]], Sequence[Any]]


def _per_direction(b: Any, v: Any, count: int) -> list[Any]:
    """The parts of a parameter or state whose first axis is the direction."""
    if v is None:
        return [None] * count
    parts = [v] if count == 1 else b.split(v, axis=0, sizes=(1,) * count)
    return [b.squeeze(p, axes=(0,)) for p in parts]


def _valid(b: Any, x: Any, mask: Any, lengths: Any, layout: str) -> Any:
    """The steps that count, as (T, N, 1); None when all do. x is time-major."""
    if lengths is not None:
        b.require(x.shape[0] is not None, "the number of time steps must be known, if only by name")
        number = b.dim_value(value=x.shape[0])
        steps = b.range(b.const(0, "int64"), number, b.const(1, "int64"))
        mask = b.less(b.unsqueeze(steps, axes=(1,)), b.unsqueeze(b.cast(lengths, to="int64"), axes=(0,)))
    elif mask is None:
        return None
    elif layout == "batch_major":
        mask = b.transpose(mask, perm=(1, 0))
    return b.unsqueeze(mask, axes=(2,))


def _one_direction(
    b: Any, xw: Any, states: Sequence[Any], valid: Any, captures: Mapping[str, Any], cell: Cell, back: bool, zero: bool
) -> tuple[Any, list[Any]]:
    """A scan over time; returns the outputs (T, N, H) and the final states."""
    from ..build.builder import Builder
    from ..ir.graph import Graph

    captured = {k: v for k, v in captures.items() if v is not None}
    known = all(v.shape is not None for v in (*states, xw, *([] if valid is None else [valid])))
    b.require(known, "the shape of the input, of the initial states and of the mask must be known")
    carry = valid is not None and not zero  # a masked step repeats the previous output
    start = list(states)
    if carry:
        start.append(b.fill(shape=states[0].shape, value=0.0, dtype=xw.dtype))
    g = Graph("step")
    inner = Builder(g, origin=b.origin)
    now = [inner.input(f"state{i}", s.dtype, s.shape) for i, s in enumerate(start)]
    slices = [inner.input("x", xw.dtype, xw.shape[1:])]
    if valid is not None:
        slices.append(inner.input("valid", valid.dtype, valid.shape[1:]))
    given = {k: inner.input(k, v.dtype, v.shape) for k, v in captured.items()}
    new = list(cell(inner, slices[0], now[: len(states)], given))
    out = new[0]
    if valid is not None:
        keep = slices[1]
        out = inner.where(keep, out, now[-1] if carry else inner.like(out, 0))
        new = [inner.where(keep, a, s) for a, s in zip(new, now)]
    if carry:
        new.append(out)
    g.outputs = [*new, out]
    scanned = [xw] if valid is None else [xw, valid]
    n = len(scanned)
    results = b.scan(
        *start, *scanned, *captured.values(), regions=[g], n_states=len(start), n_scanned=n,
        reverse=(int(back),) * n, out_reverse=(int(back),),
    )  # fmt: skip
    return results[-1], list(results[: len(states)])


def _recurrent(
    b: Any, x: Any, w: Any, bias: Any, states: Sequence[Any], mask: Any, lengths: Any, captures: Sequence[Mapping[str, Any]],
    cell: Cell,
    *, hidden: int, direction: str, layout: str, zero_output_for_mask: bool,
) -> tuple[Any, ...]:  # fmt: skip
    back = directions(direction)
    b.require(x.shape is not None, "the number of axes of x must be known")
    if layout == "batch_major":
        x = b.transpose(x, perm=(1, 0, 2))
    valid = _valid(b, x, mask, lengths, layout)
    ws, bs = _per_direction(b, w, len(back)), _per_direction(b, bias, len(back))
    given = [_per_direction(b, s, len(back)) for s in states]
    outputs, finals = [], []
    for d, reverse in enumerate(back):
        xw = b.linear(x, ws[d], bs[d])
        start = []
        for s in given:
            if s[d] is None:
                b.require(x.shape[1] is not None, "the batch size must be known, if only by name, to start from zero states")
            start.append(b.fill(shape=(x.shape[1], hidden), value=0.0, dtype=x.dtype) if s[d] is None else s[d])
        y, final = _one_direction(b, xw, start, valid, captures[d], cell, reverse, zero_output_for_mask or lengths is not None)
        outputs.append(y)
        finals.append(final)
    y = outputs[0] if len(back) == 1 else b.concat(*outputs, axis=2)
    if layout == "batch_major":
        y = b.transpose(y, perm=(1, 0, 2))
    ends = []
    for column in zip(*finals):
        parts = [b.unsqueeze(v, axes=(0,)) for v in column]
        ends.append(parts[0] if len(parts) == 1 else b.concat(*parts, axis=0))
    return (y, *ends)


def _bounded(b: Any, v: Any, clip: float | None) -> Any:
    return v if clip is None else b.clip(v, min=-clip, max=clip)


def _applied(name: str, clip: float | None) -> Callable[[Any, Any], Any]:
    act = parse(name)
    return lambda b, v: act.body(b, _bounded(b, v, clip))


def lstm_body(
    b: Any, x: Any, w: Any, r: Any, bias: Any = None, h0: Any = None, c0: Any = None, mask: Any = None, lengths: Any = None,
    peephole: Any = None, *, hidden: int, activation: str, recurrent_activation: str, output_activation: str | None,
    clip: float | None, input_forget: bool, direction: str, **common: Any,
) -> tuple[Any, ...]:  # fmt: skip
    act, gate = _applied(activation, clip), _applied(recurrent_activation, clip)
    squash = _applied(output_activation or activation, None)

    def cell(b: Any, xw: Any, states: Sequence[Any], given: Mapping[str, Any]) -> Sequence[Any]:
        h, c = states
        i, f, g, o = b.split(b.add(xw, b.linear(h, given["r"])), axis=1, sizes=(hidden,) * 4)
        if "peephole" in given:
            p_i, p_o, p_f = b.split(given["peephole"], axis=0, sizes=(hidden,) * 3)
            i, f = b.add(i, b.mul(c, p_i)), b.add(f, b.mul(c, p_f))
        i = gate(b, i)
        f = b.sub(b.like(i, 1), i) if input_forget else gate(b, f)
        new = b.add(b.mul(f, c), b.mul(i, act(b, g)))
        if "peephole" in given:
            o = b.add(o, b.mul(new, p_o))
        return b.mul(gate(b, o), squash(b, new)), new

    n = len(directions(direction))
    captures = [{"r": a, "peephole": p} for a, p in zip(_per_direction(b, r, n), _per_direction(b, peephole, n))]
    return _recurrent(b, x, w, bias, (h0, c0), mask, lengths, captures, cell, hidden=hidden, direction=direction, **common)


def gru_body(
    b: Any, x: Any, w: Any, r: Any, bias: Any = None, rb: Any = None, h0: Any = None, mask: Any = None, lengths: Any = None,
    *, hidden: int, activation: str, recurrent_activation: str, clip: float | None, reset_after: bool, direction: str,
    **common: Any,
) -> tuple[Any, ...]:  # fmt: skip
    act, gate = _applied(activation, clip), _applied(recurrent_activation, clip)
    n, sizes = len(directions(direction)), (2 * hidden, hidden)

    def cell(b: Any, xw: Any, states: Sequence[Any], given: Mapping[str, Any]) -> Sequence[Any]:
        (h,) = states
        x_zr, x_n = b.split(xw, axis=1, sizes=sizes)
        if reset_after:
            h_zr, h_n = b.split(b.linear(h, given["r"], given.get("rb")), axis=1, sizes=sizes)
        else:
            h_zr = b.linear(h, given["r_zr"])
        z, reset = (gate(b, v) for v in b.split(b.add(x_zr, h_zr), axis=1, sizes=(hidden, hidden)))
        inner = b.mul(reset, h_n) if reset_after else b.linear(b.mul(reset, h), given["r_n"])
        candidate = act(b, b.add(x_n, inner))
        return (b.add(b.mul(z, h), b.mul(b.sub(b.like(z, 1), z), candidate)),)

    rs = _per_direction(b, r, n)
    if reset_after:
        captures = [{"r": a, "rb": e} for a, e in zip(rs, _per_direction(b, rb, n))]
    else:
        if rb is not None:
            bias = rb if bias is None else b.add(bias, rb)
        captures = [dict(zip(("r_zr", "r_n"), b.split(a, axis=0, sizes=sizes))) for a in rs]
    return _recurrent(b, x, w, bias, (h0,), mask, lengths, captures, cell, hidden=hidden, direction=direction, **common)


def rnn_body(
    b: Any, x: Any, w: Any, r: Any, bias: Any = None, h0: Any = None, mask: Any = None, lengths: Any = None,
    *, activation: str, clip: float | None, direction: str, **common: Any,
) -> tuple[Any, ...]:  # fmt: skip
    act = _applied(activation, clip)

    def cell(b: Any, xw: Any, states: Sequence[Any], given: Mapping[str, Any]) -> Sequence[Any]:
        return (act(b, b.add(xw, b.linear(states[0], given["r"]))),)

    captures = [{"r": a} for a in _per_direction(b, r, len(directions(direction)))]
    return _recurrent(b, x, w, bias, (h0,), mask, lengths, captures, cell, direction=direction, **common)

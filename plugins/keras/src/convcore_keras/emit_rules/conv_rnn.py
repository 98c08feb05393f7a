"""ConvLSTM layers, found in the scans that they are read as."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from convcore.plugin import DType, Node, NotExpressible, Value, activation

from ..conv_lstm import step
from ..dialect import KerasScribe
from .base import RULES, Writer, known, static
from .conv import spatial_pads, turned
from .rnn import NAMES, bind

__all__: list[str] = []


@RULES.emit("scan", priority=1)
def conv_lstm(s: KerasScribe, node: Node) -> None:
    """The convolution of all frames at once, and a scan whose step is a ConvLSTM's. A masked one is written out step by step."""
    a = node.attrs
    if (a["n_states"], a["n_scanned"], len(node.inputs)) != (2, 1, 4) or a["scan_axis"] != (1,) or a["out_axes"] != (1,):
        raise NotExpressible("it is no ConvLSTM")
    if any(a["out_reverse"] or ()):
        raise NotExpressible("its results are in the other order than its steps")
    h0, c0, steps, r = _values(node)
    frames = _frames(steps)
    x = frames.need("x").producer
    source = None if x is None or x.op != "reshape" else x.need("x")
    w, b, out = frames.need("w"), frames.arg("b"), node.outputs[2]
    layout = frames.attrs["layout"]
    d = len(known(w)) - 2
    if source is None or known(source)[:2] != known(steps)[:2] or known(source)[2:] != known(frames.need("x"))[1:]:
        raise NotExpressible("it is no ConvLSTM")
    if d not in (1, 2, 3) or r.tensor is None or w.tensor is None or frames.attrs["groups"] != 1:
        raise NotExpressible("it is no ConvLSTM")
    gate, act = _activations(node, layout)
    kernel = static(known(w))[2:]
    pads = spatial_pads(
        frames, kernel, known(frames.need("x"))[2:] if layout == "channels_first" else known(frames.need("x"))[1:-1]
    )
    if pads != "same" and any(n for pair in pads for n in pair):
        raise NotExpressible("its padding is no ConvLSTM's")
    states = {"kernel": s.state(w, "conv", turned), "recurrent_kernel": s.state(r, "conv", turned)}
    if b is not None:
        if b.tensor is None:
            raise NotExpressible("its bias is computed")
        states["bias"] = s.state(b)
    wanted = [bool(v.uses or v.is_output) for v in node.outputs]
    config = {
        "filters": known(r)[1], "kernel_size": list(kernel), "strides": list(frames.attrs["strides"]),
        "padding": "same" if pads == "same" else "valid", "data_format": layout,
        "dilation_rate": list(frames.attrs["dilations"]), "activation": act, "recurrent_activation": gate,
        "use_bias": b is not None, "return_sequences": wanted[2], "return_state": wanted[1] or (wanted[0] and wanted[2]),
        "go_backwards": bool(a["reverse"][0]),
    }  # fmt: skip
    _write(s, node, source, config, states, _start(s, h0, c0), out if wanted[2] else node.outputs[0])


def _write(s: KerasScribe, node: Node, source: Value, config: dict[str, Any], states: Any, start: Any, first: Value) -> None:
    writer = Writer(s, node)
    x = s.value(source)
    both = config["return_state"]
    shapes = [known(first), *([known(v) for v in node.outputs[:2]] if both else [])]
    made = s.unit(
        f"ConvLSTM{len(config['kernel_size'])}D", [x, start, None], config, states, shapes=shapes, n_outputs=len(shapes),
        name=writer.name, carry=True,
    )  # fmt: skip
    for y in made:
        s.journal.set(y, "dtype", x.dtype)
    bind(writer, first, made[0])
    for v, y in zip(node.outputs[:2], made[1:]):
        if v is not first:
            bind(writer, v, y)


def _values(node: Node) -> list[Value]:
    """States to start from, what is gone over, the recurrent kernel."""
    return [v for v in node.inputs if v is not None]


def _frames(steps: Value) -> Node:
    """The convolution of every frame of every sequence."""
    split = steps.producer
    conv = split.need("x").producer if split is not None and split.op == "reshape" else None
    if conv is None or conv.op != "conv" or known(steps)[2:] != known(conv.output)[1:]:
        raise NotExpressible("it is no ConvLSTM")
    return conv


def _start(s: KerasScribe, h0: Value, c0: Value) -> Any:
    """The states it is given; None for zeros."""
    makers = [v.producer for v in (h0, c0)]
    if all(m is not None and m.op == "fill" and m.attrs["value"] == 0 for m in makers):
        return None
    if any(v.tensor is not None or (m is not None and m.op == "fill") for v, m in zip((h0, c0), makers)):
        raise NotExpressible("a state to start from is a constant")
    return [s.value(h0), s.value(c0)]


def _activations(node: Node, layout: str) -> tuple[str, str]:
    """Keras's names of the activations of the gates and of the state, with which the step is this one."""
    region, (h0, _, _, r) = node.regions[0], _values(node)
    batch, *state = known(h0)
    channel = 0 if layout == "channels_first" else len(state) - 1
    kind, first = h0.dtype or DType.FLOAT32, region.first
    if first is None:
        raise NotExpressible("it is no ConvLSTM")
    text, ops = str(region), {n.op for n in region}
    for gate, act in _pairs():
        wanted = step(
            kind, batch, state, known(r), channel, activation(gate), activation(act), layout, first.origin,
            states=2, masked=False, zero_output=False,
        )  # fmt: skip
        if {n.op for n in wanted} == ops and str(wanted) == text:
            return NAMES[gate], NAMES[act]
    raise NotExpressible("its step is no ConvLSTM's")


def _pairs() -> Iterator[tuple[str, str]]:
    """The usual ones first."""
    yield "sigmoid", "tanh"
    yield from product(NAMES, NAMES)

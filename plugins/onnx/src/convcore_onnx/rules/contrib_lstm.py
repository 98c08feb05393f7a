"""com.microsoft.DynamicQuantizeLSTM: input and state are stored as uint8 by their own range at each product.

The range is that of the whole input, and of the state of the whole batch at a step: so onnxruntime 1.32 computes it, unless it
gives parts of a large batch to several threads, each with a range of its own.
"""

from __future__ import annotations

from typing import Any

from convcore.plugin import Builder, DType, ForeignNode, Graph, NotExpressible, Value, activation, known_shape

from ..context import OnnxContext
from .contrib import contrib
from .rnn import DIRECTIONS
from .rnn_activations import load_activations

__all__: list[str] = []


def _part(b: Any, v: Value, d: int) -> Value:
    """What of a parameter or state belongs to a direction, without that axis."""
    shape = known_shape(v)
    part: Value = b.squeeze(v, axes=(0,)) if shape[0] == 1 else b.gather(v, b.const(d, DType.INT64), axis=0)
    return part


def _product(b: Any, x: Value, w: Value, scale: Value, zero: Value) -> Value:
    """x @ w of x stored by its own range."""
    stored, x_scale, x_zero = b.dynamic_quantize(x)
    sums = b.matmul_integer(stored, w, x_zero, zero)
    made: Value = b.mul(b.cast(sums, to=x.dtype), b.mul(x_scale, scale))
    return made


@contrib("DynamicQuantizeLSTM")
def dynamic_quantize_lstm(g: OnnxContext, node: ForeignNode) -> Any:
    b, x, direction = g.b, node.need(0), node.attr("direction", "forward")
    if direction not in DIRECTIONS:
        raise node.refuse(f"direction={direction!r}")
    if node.input(4) is not None:
        raise node.refuse("sequence_lens, with which the range of a state is not documented", code="unsupported_input")
    count = DIRECTIONS[direction]
    if len(known_shape(x)) != 3 or any(n is None for n in known_shape(x)[:2]):
        raise NotExpressible("the number of steps and the size of the batch must be known, if only by name", "unknown_shape")
    shapes = [known_shape(node.need(i)) for i in (1, 2)]
    hidden = shapes[1][1] if len(shapes[1]) == 3 else None
    if any(len(s) != 3 or s[0] != count or s[2] != 4 * (hidden or 0) for s in shapes) or not isinstance(hidden, int):
        raise node.refuse(f"W and R have the shapes {', '.join(str(list(map(str, s))) for s in shapes)}")
    if node.attr("hidden_size", hidden) != hidden:
        raise node.refuse(f"hidden_size={node.attr('hidden_size')}, but R has {hidden}")
    names, clip = load_activations(node, "lstm", count), node.attr("clip", None) or None
    coupled = bool(node.attr("input_forget", 0))
    ys, hs, cs = [], [], []
    for d in range(count):
        bias, h, c, peephole = (None if (v := node.input(i)) is None else _part(b, v, d) for i in (3, 5, 6, 7))
        w, r, w_scale, w_zero, r_scale, r_zero = (_part(b, node.need(i), d) for i in (1, 2, 8, 9, 10, 11))
        xw = _product(b, x, w, w_scale, w_zero)
        if bias is not None:
            halves = b.split(bias, axis=0, sizes=(4 * hidden, 4 * hidden))
            xw = b.add(xw, b.add(*halves))
        start = [s if s is not None else b.fill(shape=(known_shape(x)[1], hidden), value=0.0, dtype=x.dtype) for s in (h, c)]
        captured = {"r": r, "r_scale": r_scale, "r_zero": r_zero, **({} if peephole is None else {"peephole": peephole})}
        step = _step(g, xw, start, captured, hidden, names, clip, coupled)
        back = int(direction == "reverse" or d == 1)
        h, c, y = b.scan(
            *start, xw, *captured.values(), regions=[step], n_states=2, n_scanned=1, reverse=(back,), out_reverse=(back,)
        )
        ys.append(b.unsqueeze(y, axes=(1,)))
        hs.append(b.unsqueeze(h, axes=(0,)))
        cs.append(b.unsqueeze(c, axes=(0,)))
    return [v[0] if count == 1 else b.concat(*v, axis=axis) for v, axis in ((ys, 1), (hs, 0), (cs, 0))]


def _step(
    g: OnnxContext, xw: Value, start: list[Value], captured: dict[str, Value], hidden: int, names: dict[str, str],
    clip: float | None, coupled: bool,
) -> Graph:  # fmt: skip
    """One step; gates in ONNX's order, i o f c."""
    graph = Graph("step")
    b = Builder(graph, origin=g.b.origin)
    h, c = (b.input(n, s.dtype, s.shape) for n, s in zip("hc", start))
    gates = b.input("x", xw.dtype, known_shape(xw)[1:])
    given = {k: b.input(k, v.dtype, v.shape) for k, v in captured.items()}
    gate, act = activation(names["recurrent_activation"]), activation(names["activation"])
    squash = activation(names.get("output_activation") or names["activation"])

    def bounded(v: Value) -> Value:
        return v if clip is None else b.clip(v, min=-clip, max=clip)

    i, o, f, z = b.split(b.add(gates, _product(b, h, given["r"], given["r_scale"], given["r_zero"])), axis=1, sizes=(hidden,) * 4)
    if "peephole" in given:
        p_i, p_o, p_f = b.split(given["peephole"], axis=0, sizes=(hidden,) * 3)
        i, f = b.add(i, b.mul(c, p_i)), b.add(f, b.mul(c, p_f))
    i = gate.body(b, bounded(i))
    f = b.sub(b.like(i, 1), i) if coupled else gate.body(b, bounded(f))
    new = b.add(b.mul(f, c), b.mul(i, act.body(b, bounded(z))))
    if "peephole" in given:
        o = b.add(o, b.mul(new, p_o))
    y = b.mul(gate.body(b, bounded(o)), squash.body(b, new))
    graph.outputs = [y, new, y]
    return graph

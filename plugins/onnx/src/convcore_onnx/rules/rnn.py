"""Recurrent layers. Gates: ours i f g o, ONNX's i o f c (lstm); z r h in both (gru)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from convcore.plugin import LEFT_OUT, DType, ForeignNode, LazyTensor, Node, NotExpressible, Tensor, Value, known_shape

from ..context import OnnxContext
from ..dialect import OnnxScribe
from .base import RULES, axis_size
from .rnn_activations import emit_activations, load_activations

LOAD_ORDER = {"lstm": (0, 2, 3, 1), "gru": (0, 1, 2), "rnn": (0,)}
"""Position among ONNX's gates of each of ours."""
EMIT_ORDER = {"lstm": (0, 3, 1, 2), "gru": (0, 1, 2), "rnn": (0,)}
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


def _reorder(order: Sequence[int], hidden: int) -> Callable[[Any], Any]:
    """Blocks of ``hidden`` rows along axis 1, in another order."""

    def apply(a: Any) -> Any:
        if tuple(order) == tuple(range(len(order))):
            return a
        return np.concatenate([a[:, k * hidden : (k + 1) * hidden] for k in order], axis=1)

    return apply


# ---- loading
def _weight(g: OnnxContext, v: Value, key: str, fn: Callable[[Any], Any], shape: tuple[int, ...]) -> Value:
    """A weight computed from another, once."""
    found: Value = g.view(v, key, lambda t: t.map(fn, shape))
    return found


def _gates(g: OnnxContext, node: ForeignNode, kind: str, v: Value | None, hidden: int) -> Value:
    """w or r with our order of gates."""
    if v is None:
        raise node.refuse("a weight is missing", code="missing_input")
    order = LOAD_ORDER[kind]
    if order == tuple(range(len(order))):
        return v
    if v.tensor is not None:
        return _weight(g, v, "gates", _reorder(order, hidden), v.tensor.shape)
    parts = g.b.split(v, axis=1, sizes=(hidden,) * len(order))
    made: Value = g.b.concat(*(parts[k] for k in order), axis=1)
    return made


def _biases(g: OnnxContext, kind: str, v: Value | None, hidden: int) -> list[Value | None]:
    """[b, rb] of gru, [b] with both summed for the others."""
    if v is None:
        return [None, None] if kind == "gru" else [None]
    order = LOAD_ORDER[kind]
    rows, change = len(order) * hidden, _reorder(order, hidden)
    if v.tensor is not None:
        d = v.tensor.shape[0]
        if kind == "gru":
            return [_weight(g, v, "b", lambda a: a[:, :rows], (d, rows)), _weight(g, v, "rb", lambda a: a[:, rows:], (d, rows))]
        return [_weight(g, v, "b", lambda a: change(a[:, :rows] + a[:, rows:]), (d, rows))]
    first, second = g.b.split(v, axis=1, sizes=(rows, rows))
    if kind == "gru":
        return [first, second]
    total = g.b.add(first, second)
    parts = g.b.split(total, axis=1, sizes=(hidden,) * len(order)) if len(order) > 1 else (total,)
    return [g.b.concat(*(parts[k] for k in order), axis=1) if len(order) > 1 else total]


def _load(
    g: OnnxContext,
    node: ForeignNode,
    kind: str,
    extra: dict[str, Any],
    states: Sequence[Value | None],
    tail: Sequence[Value | None] = (),
) -> Any:
    b, x, r = g.b, node.input(0), node.input(2)
    direction = node.attr("direction", "forward")
    if direction not in DIRECTIONS:
        raise node.refuse(f"direction={direction!r}")
    d = DIRECTIONS[direction]
    hidden = node.attr("hidden_size", None) or axis_size(r, 2)
    batch_first = bool(node.attr("layout", 0))
    node.attr("output_sequence", 0)  # before opset 7: whether Y is wanted
    w, rr = (_gates(g, node, kind, v, hidden) for v in (node.input(1), r))
    if batch_first:
        states = [None if v is None else b.transpose(v, perm=(1, 0, 2)) for v in states]
    clip = node.attr("clip", None)
    attrs = {
        "hidden": hidden, "direction": direction, "layout": "batch_major" if batch_first else "time_major",
        "clip": clip or None, **load_activations(node, kind, d), **extra,
    }  # fmt: skip
    lengths = node.input(4)
    results = b.op(kind, x, w, rr, *_biases(g, kind, node.input(3), hidden), *states, None, lengths, *tail, **attrs)
    y, *final = results
    if node.outputs and node.outputs[0]:
        shape = known_shape(y)
        if d == 1:
            y = b.unsqueeze(y, axes=(2,) if batch_first else (1,))
        else:
            if any(n is None for n in shape[:2]):
                raise NotExpressible("the length or batch of its input is unknown", "unknown_shape")
            y = b.reshape(y, shape=(*shape[:2], d, hidden))
            y = y if batch_first else b.transpose(y, perm=(0, 2, 1, 3))
    return (y, *(b.transpose(v, perm=(1, 0, 2)) if batch_first else v for v in final))


@RULES.load("LSTM")
def load_lstm(g: OnnxContext, node: ForeignNode) -> Any:
    extra = {"input_forget": bool(node.attr("input_forget", 0))}
    return _load(g, node, "lstm", extra, [node.input(5), node.input(6)], [node.input(7)])


@RULES.load("GRU")
def load_gru(g: OnnxContext, node: ForeignNode) -> Any:
    return _load(g, node, "gru", {"reset_after": bool(node.attr("linear_before_reset", 0))}, [node.input(5)])


@RULES.load("RNN")
def load_rnn(g: OnnxContext, node: ForeignNode) -> Any:
    return _load(g, node, "rnn", {}, [node.input(5)])


# ---- emitting
def _stored_gates(e: OnnxScribe, kind: str, v: Value, hidden: int) -> Any:
    order = EMIT_ORDER[kind]
    if order == tuple(range(len(order))):
        return e.value(v)
    if v.tensor is None:
        names = e.call(
            "Split",
            [e.value(v), e.const([hidden] * len(order), DType.INT64)],
            {"axis": 1},
            n_outputs=len(order),
            name=f"{v.name}/gates",
        )
        return e.call("Concat", [names[k] for k in order], {"axis": 1}, name=f"{v.name}/onnx")[0]
    return e.state(v, "onnx_gates", lambda t: t.map(_reorder(order, hidden)))


def _stored_bias(e: OnnxScribe, kind: str, b: Value | None, rb: Value | None, hidden: int, d: int) -> Any:
    """B: biases of the input, then of the recurrence (zeros where we have one for both)."""
    present = b if b is not None else rb
    if present is None:
        return None
    change, rows = _reorder(EMIT_ORDER[kind], hidden), len(EMIT_ORDER[kind]) * hidden
    if any(v is not None and v.tensor is None for v in (b, rb)):
        if present.dtype is None:
            raise NotExpressible("the dtype of the bias is not known", "unknown_dtype")
        zeros = e.const(np.zeros((d, rows), present.dtype.numpy))
        parts = [zeros if v is None else _stored_gates(e, kind, v, hidden) for v in (b, rb)]
        return e.call("Concat", parts, {"axis": 1}, name=f"{present.name}/onnx")[0]

    def read(t: Tensor | None, dtype: Any) -> Any:
        return np.zeros((d, rows), dtype) if t is None else change(t.numpy())

    first, second = (None if v is None else v.tensor for v in (b, rb))

    def make(t: Tensor) -> Tensor:
        nd = t.dtype.numpy
        return LazyTensor(lambda: np.concatenate([read(first, nd), read(second, nd)], axis=1), t.dtype, (d, 2 * rows))

    return e.state(present, f"onnx_bias {rb.name if rb is not None else ''}", make)


def _emit(
    e: OnnxScribe, node: Node, type: str, bias: Value | None, rb: Value | None, states: Sequence[Value | None],
    lengths: Value | None, mask: Value | None, extra: dict[str, Any], tail: Sequence[Value | None] = (),
) -> None:  # fmt: skip
    a, kind = node.attrs, node.op
    x, w, r = node.need("x"), node.need("w"), node.need("r")
    if a["layout"] != "time_major":
        raise NotExpressible("ONNX runtimes take sequences time_major")
    if mask is not None:
        raise NotExpressible("ONNX has no masks, only lengths")
    if x.dtype is DType.FLOAT64:
        raise NotExpressible("onnxruntime 1.32 has no recurrent layers of float64")
    hidden, d = a["hidden"], DIRECTIONS[a["direction"]]
    attrs = {"hidden_size": hidden, "direction": a["direction"], **emit_activations(node, d), **extra}
    if a["clip"] is not None:
        attrs["clip"] = a["clip"]
    lens = None if lengths is None else e.value(lengths)
    if lengths is not None and lengths.dtype is not DType.INT32:
        (lens,) = e.call("Cast", [lens], {"to": DType.INT32}, name=f"{node.name}/lengths")
    ins = [
        e.value(x), _stored_gates(e, kind, w, hidden), _stored_gates(e, kind, r, hidden),
        _stored_bias(e, kind, bias, rb, hidden, d), lens, *(None if v is None else e.value(v) for v in (*states, *tail)),
    ]  # fmt: skip
    y, *final = node.outputs
    used = [v if v.uses or v.is_output else None for v in final]
    while used and used[-1] is None:
        used.pop()
    wanted = bool(y.uses) or y.is_output or not used
    finals = [LEFT_OUT if v is None else v for v in used]
    raw, *_ = e.call(type, ins, attrs, outputs=[None if wanted else LEFT_OUT, *finals], name=node.name)
    if not wanted:
        return
    if d == 1:
        e.call("Squeeze", [raw, e.const([1], DType.INT64)], {}, outputs=[y], name=f"{node.name}/y")
        return
    (turned,) = e.call("Transpose", [raw], {"perm": [0, 2, 1, 3]}, name=f"{node.name}/directions")
    e.call("Reshape", [turned, e.const([0, 0, d * hidden], DType.INT64)], {}, outputs=[y], name=f"{node.name}/y")


def _inputs(node: Node, n: int) -> list[Value | None]:
    return [*node.inputs, *[None] * (n - len(node.inputs))]


@RULES.emit("lstm")
def emit_lstm(e: OnnxScribe, node: Node) -> None:
    _, _, _, b, h0, c0, mask, lengths, peephole = _inputs(node, 9)
    extra = {"input_forget": 1} if node.attrs["input_forget"] else {}
    _emit(e, node, "LSTM", b, None, [h0, c0], lengths, mask, extra, [peephole])


@RULES.emit("gru")
def emit_gru(e: OnnxScribe, node: Node) -> None:
    _, _, _, b, rb, h0, mask, lengths = _inputs(node, 8)
    _emit(e, node, "GRU", b, rb, [h0], lengths, mask, {"linear_before_reset": int(node.attrs["reset_after"])})


@RULES.emit("rnn")
def emit_rnn(e: OnnxScribe, node: Node) -> None:
    _, _, _, b, h0, mask, lengths = _inputs(node, 7)
    _emit(e, node, "RNN", b, None, [h0], lengths, mask, {})

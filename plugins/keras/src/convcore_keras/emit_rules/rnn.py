"""Recurrent layers: gates and biases as Keras has them, both directions in one Bidirectional."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import DType, Node, NotExpressible, Ref, Tensor, Value

from ..activations import ACTIVATIONS
from ..dialect import Inner, KerasScribe
from .base import RULES, Writer, known

__all__ = ["NAMES", "bind"]

_LAYERS = {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN"}
_STATES = {"lstm": 2, "gru": 1, "rnn": 1}
_OPTIONAL = {"lstm": ("b", "h0", "c0", "mask", "lengths", "peephole"), "gru": ("b", "rb", "h0", "mask", "lengths"),
             "rnn": ("b", "h0", "mask", "lengths")}  # fmt: skip
NAMES = {a.inside: name for name, a in ACTIVATIONS.items() if a.inside is not None and name != "hard_sigmoid_keras2"}


def _activation(name: str) -> Any:
    """Keras's name of an activation inside a cell."""
    found = NAMES.get(name)
    if found is None:
        raise NotExpressible(f"Keras has no activation {name} by name")
    return found


@RULES.emit(*_LAYERS)
def recurrent(s: KerasScribe, node: Node) -> None:
    w, a = Writer(s, node), node.attrs
    kind, both = _LAYERS[node.op], a["direction"] == "bidirectional"
    names = ("x", "w", "r", *_OPTIONAL[node.op])
    given = {n: v for n, v in zip(names, node.inputs) if v is not None}
    if a["layout"] != "batch_major":
        raise NotExpressible("its time is the first axis")
    if a["clip"] or a.get("input_forget") or "peephole" in given or (
        a.get("output_activation") not in (None, a["activation"])
    ):  # fmt: skip
        raise NotExpressible("Keras has no clipping, coupled gates, peepholes or output activation of its own")
    x, out = w.ref(), known(node.outputs[0])
    mask = _mask(w, x, given)
    hidden, states = a["hidden"], _STATES[node.op]
    reset = bool(a.get("reset_after"))
    config: dict[str, Any] = {
        "units": hidden,
        "activation": _activation(a["activation"]),
        "use_bias": "b" in given or "rb" in given,
    }
    if node.op != "rnn":
        config["recurrent_activation"] = _activation(a["recurrent_activation"])
    if node.op == "gru":
        config["reset_after"] = reset
    if mask is not None:
        config["zero_output_for_mask"] = bool(a["zero_output_for_mask"]) or "lengths" in given
    wanted = [bool(v.uses or v.is_output) for v in node.outputs]
    weights = [_weights(s, w, given, d, reset) for d in range(2 if both else 1)]
    start = [[_start(w, given[n], d) for n in ("h0", "c0") if n in given] for d in range(2 if both else 1)]
    if any(start) and len(start[0]) != states:
        raise NotExpressible("it is given one of two initial states")
    if both and not (mask is not None and wanted[0] and not config.get("zero_output_for_mask")):
        _bidirectional(w, kind, [x, mask], start, config, weights, states, wanted)
        return
    sequences, finals = [], []
    for d in range(2 if both else 1):
        back = a["direction"] == "reverse" or d == 1
        own = {**config, "return_sequences": wanted[0], "return_state": any(wanted[1:]), "go_backwards": back}
        made = _run(w, kind, [x, mask], start[d], own, weights[d], states if any(wanted[1:]) else 0, out, hidden)
        y = made[0]
        if back and wanted[0]:
            y = w.op("Flip", y, axis=1)
        sequences.append(y)
        finals.append(made[1:])
    y = sequences[0]
    if both and wanted[0]:
        y = w.op("Concatenate", sequences, shape=out, dtype=x.dtype, axis=-1)
    ends: list[Any] = []
    for i in range(states):
        if not any(wanted[1:]):
            break
        shape = known(node.outputs[1 + i])
        parts = [w.op("ExpandDims", f[i], shape=(1, *shape[1:]), axis=0) for f in finals]
        ends.append(parts[0] if not both else w.op("Concatenate", parts, shape=shape, dtype=x.dtype, axis=0))
    if wanted[0]:
        w.end(y)
    for v, e in zip(node.outputs[1:], ends):
        bind(w, v, e)


def _bidirectional(
    w: Writer, kind: str, given: list[Any], start: list[list[Any]], config: dict[str, Any], weights: list[dict[str, Any]],
    states: int, wanted: list[bool],
) -> None:  # fmt: skip
    """Both directions in one layer: outputs joined, then the final states of each direction. Where every step is masked, the last
    output is zero and the final state the initial one (``keras.src.backend.torch.rnn``, 3.15.1)."""
    x, mask = given
    out, hidden = known(w.node.outputs[0]), config["units"]
    initial = [h for part in start for h in part] or None
    joined = None if wanted[0] or (mask is not None and initial) else _joined(w.node)
    ends = any(wanted[1:]) and joined is None
    own = {**config, "return_sequences": wanted[0], "return_state": ends}
    if mask is not None and not wanted[0]:
        own["zero_output_for_mask"] = False
    layers = [
        Inner(kind, f"{word}_{kind.lower()}", tuple({**own, "go_backwards": word == "backward"}.items()))
        for word in ("forward", "backward")
    ]
    held = {f"{word}_layer/{k}": t for word, ts in zip(("forward", "backward"), weights) for k, t in ts.items()}
    first = (out[0], out[1], 2 * hidden) if wanted[0] else (out[0], 2 * hidden)
    n = 2 * states if ends else 0
    outer = {"layer": layers[0], "backward_layer": layers[1], "merge_mode": "concat"}
    made = w.s.unit("Bidirectional", [x, initial, mask], outer,
                    held, shapes=[first, *[(out[0], hidden)] * n], n_outputs=1 + n, name=w.name, carry=True)  # fmt: skip
    for r in made:
        w.s.journal.set(r, "dtype", x.dtype)
    if wanted[0]:
        bind(w, w.node.outputs[0], made[0])
    if joined is not None:
        bind(w, joined[-1], made[0])
        w.s.given(*joined)
    for i in range(states if n else 0):
        v = w.node.outputs[1 + i]
        pair = [made[1 + i], made[1 + states + i]]
        bind(w, v, w.op("Stack", pair, shape=known(v), dtype=x.dtype, axis=0))


def _joined(node: Node) -> list[Value] | None:
    """The final states of both directions and what joins them, (2, N, H) to (N, 2 H), where no other state is read: all that
    Bidirectional gives without its sequences. They are turned and joined, or taken apart and joined."""
    h = node.outputs[1]
    if any(v.uses or v.is_output for v in node.outputs[2:]):
        return None
    found = [h]
    if (split := _reader(h, "split", axis=0)) is not None:
        parts = [_reader(v, "squeeze", axes=(0,)) for v in split.outputs]
        ends = [n.output for n in parts if n is not None]
        last = _reader(ends[0], "concat", axis=1) if len(ends) == 2 else None
        if last is None or list(last.inputs) != ends or any(len(v.uses) != 1 or v.is_output for v in ends):
            return None
        found += [*split.outputs, *ends, last.output]
    elif (turned := _reader(h, "transpose", perm=(1, 0, 2))) is not None:
        last = _reader(turned.output, "reshape")
        if last is None:
            return None
        found += [turned.output, last.output]
    return found if found[-1].shape == (known(h)[1], 2 * node.attrs["hidden"]) else None


def _reader(v: Value, op: str, **attrs: Any) -> Node | None:
    """The one node that reads a value, if it is of that op and these attributes."""
    if v.is_output or len(v.uses) != 1 or v.users[0].op != op:
        return None
    (n,) = v.users
    return n if all(n.attrs[k] == x for k, x in attrs.items()) else None


def bind(w: Writer, v: Any, y: Ref) -> None:
    w.s.journal.set(y, "value", v)
    w.s.alias(v, y)


def _run(
    w: Writer, kind: str, given: list[Any], start: list[Any], config: dict[str, Any], states: dict[str, Any], n: int, out: Any,
    hidden: int,
) -> tuple[Ref, ...]:  # fmt: skip
    """A layer called on (x, mask): its outputs or last output, and its ``n`` final states."""
    x, mask = given
    batch = out[0]
    first = (batch, out[1], hidden) if config["return_sequences"] else (batch, hidden)
    args: list[Any] = [x, None if not start else start[0] if len(start) == 1 else start, mask]
    shapes = [first, *[(batch, hidden)] * n]
    made = w.s.unit(kind, args, config, states, shapes=shapes, n_outputs=len(shapes), name=w.name, carry=True)
    for r in made:
        w.s.journal.set(r, "dtype", x.dtype)
    return made


def _mask(w: Writer, x: Ref, given: dict[str, Any]) -> Any:
    """The mask of the steps, (N, T): given, or the steps below the lengths."""
    if "mask" in given:
        return w.s.value(given["mask"])
    if "lengths" not in given:
        return None
    lengths = w.s.value(given["lengths"])
    shape = (x.shape or ())[:2]
    line = w.op("GetItem", x, (slice(None), slice(None), 0), shape=shape)
    (one,) = w.s.call("ops.OnesLike", [line], {"dtype": "int32"}, shapes=[shape], name=w.name, carry=True)
    steps = w.op("Cumsum", one, shape=shape, axis=1)
    limit = w.op("ExpandDims", w.cast(lengths, DType.INT32), shape=(shape[0], 1), axis=1)
    return w.op("LessEqual", steps, limit, shape=shape)


def _start(w: Writer, v: Any, d: int) -> Any:
    """The initial state of a direction, (N, H)."""
    h = w.s.value(v)
    if not isinstance(h, Ref):
        raise NotExpressible("its initial state is a constant")
    return w.op("GetItem", h, (d, slice(None), slice(None)), shape=known(v)[1:])


def _weights(s: KerasScribe, w: Writer, given: dict[str, Any], d: int, reset: bool) -> dict[str, Any]:
    """kernel (I, G H), recurrent_kernel (H, G H), bias (G H) or (2, G H)."""
    for n in ("w", "r", "b", "rb"):
        if n in given and given[n].tensor is None:
            raise NotExpressible(f"its {n} is computed")

    def turned(t: Tensor) -> Tensor:
        return t.map(lambda a: np.ascontiguousarray(a[d].T), (t.shape[2], t.shape[1]))

    held: dict[str, Any] = {
        "kernel": s.state(given["w"], f"direction {d}", turned),
        "recurrent_kernel": s.state(given["r"], f"direction {d}", turned),
    }
    b, rb = given.get("b"), given.get("rb")
    some = b if b is not None else rb
    if some is None:
        return held
    rows = some.tensor.shape[1]

    def of(v: Any) -> Any:
        return np.zeros(rows, some.tensor.dtype.numpy) if v is None else v.tensor.numpy()[d]

    if reset:
        held["bias"] = s.state(some, f"both biases {d}", lambda t: t.map(lambda _: np.stack([of(b), of(rb)]), (2, rows)))
    else:
        held["bias"] = s.state(some, f"bias {d}", lambda t: t.map(lambda _: of(b) + of(rb), (rows,)))
    return held

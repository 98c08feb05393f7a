"""Caffe's own LSTM and RNN, which load as a scan: recognised by their step, written as the layer they came from."""

from __future__ import annotations

from functools import cache
from typing import Any

from convcore.plugin import Builder, Graph, Node, Tensor, Value, unsupported

from ..dialect import CaffeScribe, label
from ..rules.rnn import lstm_step, rnn_step
from .base import RULES

_WHY = "Caffe has no loops; a scan is written only where it is the step of Caffe's own LSTM or RNN"


def _signature(region: Graph) -> Any:
    """What a region computes, names and shapes aside."""
    at = {id(v): i for i, v in enumerate(region.inputs)}
    rows = []
    for node in region:
        attrs = {k: v for k, v in node.attrs.items() if k != "sizes"}
        parts = len(set(node.attrs["sizes"])) if "sizes" in node.attrs else 0
        rows.append((node.op, attrs, parts, [None if v is None else at.get(id(v), -1) for v in node.inputs]))
        for v in node.outputs:
            at[id(v)] = len(at)
    return len(region.inputs), rows, [at.get(id(v), -1) for v in region.outputs]


@cache
def _steps() -> dict[str, Any]:
    """The signatures of the loader's steps."""
    found = {}
    for kind, step, states, gates in (("LSTM", lstm_step, 2, 4), ("RNN", rnn_step, 1, 1)):
        region = Graph("step")
        b = Builder(region)
        held = [b.input(f"state{i}", "float32", (2, 5)) for i in range(states)]
        shapes = {"x": (2, 5 * gates), "cont": (2, 1), "w": (5 * gates, 5)}
        new = list(step(b, held, *(b.input(name, "float32", shape) for name, shape in shapes.items())))
        region.outputs = [*new, new[0]]
        found[kind] = _signature(region)
    return found


def _made_by(v: Value | None, *ops: str) -> Node | None:
    return v.producer if v is not None and v.producer is not None and v.producer.op in ops else None


def _flattened(v: Value, lead: int) -> Value:
    """What a reshape that only merges the axes after the first ``lead`` was given: the layer merges them itself."""
    node = _made_by(v, "reshape")
    x = node.inputs[0] if node is not None else None
    same = x is not None and x.shape is not None and v.shape is not None and x.shape[:lead] == v.shape[:lead]
    return x if same and x is not None else v


def _projection(v: Value, lead: int) -> tuple[Value, list[Tensor]] | None:
    """(x, [weight, bias]) of a linear with constants."""
    node = _made_by(v, "linear")
    if node is None or node.inputs[0] is None or any(w is None or w.tensor is None for w in node.inputs[1:]):
        return None
    return _flattened(node.inputs[0], lead), [w.tensor for w in node.inputs[1:] if w is not None and w.tensor is not None]


@RULES.emit("scan")
def scan(e: CaffeScribe, node: Node) -> None:
    """LSTM or RNN with its continuation blob, static input and exposed states."""
    kind = next((k for k, s in _steps().items() if s == _signature(node.regions[0])), None)
    a = node.attrs
    n = a["n_states"]
    plain = a["n_scanned"] == 2 and not any([*a["scan_axis"], *a["reverse"], a["out_axes"], a["out_reverse"]])
    if kind is None or not plain or len(node.inputs) != n + 3:
        raise unsupported(node, _WHY, code="unsupported_op")
    starts, (projected, cont, recurrent) = node.inputs[:n], node.inputs[n:]
    moving, added = projected, _made_by(projected, "add")
    static = None
    if added is not None:
        moving, static = added.inputs[0], _projection(added.inputs[1], 1) if added.inputs[1] is not None else None
    x = None if moving is None else _projection(moving, 2)
    going = _made_by(cont, "unsqueeze")
    sources = [_made_by(v, "fill", "squeeze") for v in starts]
    exposed = all(s is not None and s.op == "squeeze" for s in sources)
    fresh = all(s is not None and s.op == "fill" and s.attrs["value"] == 0 for s in sources)
    right = x is not None and len(x[1]) == 2 and going is not None and recurrent is not None and recurrent.tensor is not None
    right = right and (added is None or (static is not None and len(static[1]) == 1)) and (exposed or fresh)
    tail = _tail(node) if kind == "RNN" else None
    right = right and (kind == "LSTM" or tail is not None)
    if not right or x is None or going is None or recurrent is None or recurrent.tensor is None:
        raise unsupported(node, _WHY, code="unsupported_op")
    states = [s.inputs[0] for s in sources if s is not None] if exposed else []
    bottoms = [e.value(v) for v in (x[0], going.inputs[0], static[0] if static else None, *states) if v is not None]
    blobs = [*x[1], *(static[1] if static else []), recurrent.tensor, *(tail[1] if tail else [])]
    hidden = recurrent.tensor.shape[1]
    y = tail[0] if tail else node.outputs[-1]
    finals = [_widened(v) for v in node.outputs[:n]] if exposed else []
    if any(f is None for f in finals) or (not exposed and any(v.uses or v.is_output for v in node.outputs[:n])):
        raise unsupported(node, _WHY, code="unsupported_op")
    param: dict[str, Any] = {"num_output": hidden}
    if exposed:
        param["expose_hidden"] = True
    batch = bottoms[0].shape[1]
    shapes = [(bottoms[0].shape[0], batch, hidden), *[(1, batch, hidden)] * len(finals)]
    e.unit(kind, bottoms, param, outputs=[y, *finals], shapes=shapes, name=label(node), states=blobs)
    e.given(*(v for v in (y, *finals, *node.outputs) if v is not None), *(tail[2] if tail else ()))


def _widened(v: Value) -> Value | None:
    """The (1, N, H) form of a final state, where nothing else of it is used; the state itself where nothing is."""
    if not v.uses and not v.is_output:
        return v
    users = v.users
    if v.is_output or len(users) != 1 or users[0].op != "unsqueeze" or users[0].attrs["axes"] != (0,):
        return None
    return users[0].output


def _tail(node: Node) -> tuple[Value, list[Tensor], list[Value]] | None:
    """(result, [weight, bias], values between) of the linear and tanh behind an RNN's states."""
    y = node.outputs[-1]
    if y.is_output or len(y.users) != 1 or y.users[0].op != "linear" or y.users[0].inputs[0] is not y:
        return None
    linear = y.users[0]
    z = linear.output
    weights = [w.tensor for w in linear.inputs[1:] if w is not None and w.tensor is not None]
    if z.is_output or len(weights) != 2 or len(z.users) != 1 or z.users[0].op != "tanh":
        return None
    return z.users[0].output, weights, [z]

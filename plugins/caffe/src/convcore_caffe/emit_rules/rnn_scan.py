"""Caffe's own LSTM and RNN, which load as a scan: recognised by their step, written as the layer they came from."""

from __future__ import annotations

from functools import cache
from typing import Any

from convcore.plugin import Builder, Graph, Node, Tensor, Value, unsupported

from ..dialect import CaffeScribe, label
from ..rules.rnn import lstm_step, rnn_step
from .base import RULES

_WHY = "Caffe has no loops; a scan is written only where it is the step of Caffe's own LSTM or RNN"


def _signature(region: Graph, states: int) -> Any:
    """What a region computes, names, shapes and copies aside; the recurrent weight may be captured or its own."""
    at: dict[int, Any] = {id(v): i for i, v in enumerate(region.inputs[: states + 2])}
    at.update((id(v), "w") for v in (*region.inputs[states + 2 :], *region.weights.values()))
    rows: list[Any] = []
    for node in region:
        if node.op == "identity" and node.inputs[0] is not None:
            at[id(node.output)] = at.get(id(node.inputs[0]), -1)
            continue
        attrs = {k: v for k, v in node.attrs.items() if k != "sizes"}
        parts = len(set(node.attrs["sizes"])) if "sizes" in node.attrs else 0
        rows.append((node.op, attrs, parts, [None if v is None else at.get(id(v), -1) for v in node.inputs]))
        for v in node.outputs:
            at[id(v)] = (len(rows), v.index)
    return rows, [at.get(id(v), -1) for v in region.outputs]


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
        found[kind] = _signature(region, states)
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
    """(x, [weight (out, in), bias]) of a linear with constants, which may be a product and a sum."""
    node = _made_by(v, "linear", "matmul", "add")
    if node is None or node.inputs[0] is None:
        return None
    held = [w.tensor for w in node.inputs[1:] if w is not None and w.tensor is not None]
    if len(held) != sum(1 for w in node.inputs[1:] if w is not None):
        return None
    if node.op == "linear":
        return _flattened(node.inputs[0], lead), held
    if node.op == "matmul":
        return (_flattened(node.inputs[0], lead), [held[0].transpose((1, 0))]) if held[0].ndim == 2 else None
    product = _projection(node.inputs[0], lead) if _made_by(node.inputs[0], "matmul") else None
    if product is None or held[0].shape != (product[1][0].shape[0],):
        return None
    return product[0], [*product[1], held[0]]


@RULES.emit("scan")
def scan(e: CaffeScribe, node: Node) -> None:
    """LSTM or RNN with its continuation blob, static input and exposed states."""
    a = node.attrs
    n = a["n_states"]
    found = _signature(node.regions[0], n)
    kind = next((k for k, s in _steps().items() if s == found), None)
    plain = a["n_scanned"] == 2 and not any([*a["scan_axis"], *a["reverse"], a["out_axes"], a["out_reverse"]])
    matrices = {v for v in node.inputs[n + 2 :] if v is not None} | set(node.regions[0].weights.values())
    if kind is None or not plain or len(matrices) != 1:
        raise unsupported(node, _WHY, code="unsupported_op")
    starts, (projected, cont), (recurrent,) = node.inputs[:n], node.inputs[n : n + 2], matrices
    x = None if projected is None else _projection(projected, 2)
    added = _made_by(projected, "add") if x is None else None
    static = None
    if added is not None:
        static = _projection(added.inputs[1], 1) if added.inputs[1] is not None else None
        x = _projection(added.inputs[0], 2) if added.inputs[0] is not None else None
    going = _made_by(cont, "unsqueeze")
    sources = [_made_by(v, "fill", "squeeze") for v in starts]
    exposed = all(s is not None and s.op == "squeeze" for s in sources)
    fresh = all(s is not None and s.op == "fill" and s.attrs["value"] == 0 for s in sources)
    right = (added is None or (static is not None and len(static[1]) == 1)) and (exposed or fresh)
    tail = _tail(node) if kind == "RNN" else None
    right = right and (kind == "LSTM" or tail is not None)
    if not right or x is None or len(x[1]) != 2 or going is None or recurrent is None or recurrent.tensor is None:
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
    """(result, [weight, bias], values between) of the linear (or product and sum) and tanh behind an RNN's states."""
    y = node.outputs[-1]
    between: list[Value] = []
    at = y
    while len(between) < 3:
        if at.is_output or len(at.users) != 1 or at.users[0].inputs[0] is not at:
            return None
        (user,) = at.users
        if user.op == "tanh":
            found = _projection(at, 2)
            return None if found is None or found[0] is not y or len(found[1]) != 2 else (user.output, found[1], between)
        at = user.output
        between.append(at)
    return None

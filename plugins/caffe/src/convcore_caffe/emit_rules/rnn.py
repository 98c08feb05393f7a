"""LSTM over a sequence that starts from zeros (or given states), in either direction or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import Node, Ref, Tensor, Value, unsupported

from ..dialect import CaffeScribe, blob_shape, label
from .base import RULES, constant, crop, first, reshape, static, tile, weight
from .select import select

_ORDER = (0, 1, 3, 2)
"""Gates i, f, g, o as Caffe's i, f, o, g."""


def _gates(t: Tensor, direction: int, hidden: int, shape: tuple[int, ...]) -> Tensor:
    """(D, 4H, ...) in Caffe's order of gates, of one direction."""

    def order(a: Any) -> Any:
        return a[direction].reshape(4, hidden, *a.shape[2:])[list(_ORDER)].reshape(shape)

    return t.map(order, shape)


@RULES.emit("lstm")
def lstm(e: CaffeScribe, node: Node) -> None:
    """Over (T, N, ...). The continuation blob is 0 at the first step, so that every run starts afresh; with initial or final
    states it is 1 throughout and they are bottoms and tops (expose_hidden). From the end on: over the steps in the opposite
    order, and its result so again; in both directions: two layers, joined."""
    a = node.attrs
    names = ("x", "w", "r", "b", "h0", "c0", "mask", "lengths", "peephole")
    given = dict(zip(names, [*node.inputs, *[None] * (len(names) - len(node.inputs))]))
    for name in ("mask", "lengths", "peephole"):
        if given[name] is not None:
            raise unsupported(node, f"Caffe's LSTM has no {name}")
    if a["layout"] != "time_major":
        raise unsupported(node, f"Caffe's LSTM runs over (T, N, ...), this one over (N, T, ...) ({a['layout']})")
    plain = {"activation": "tanh", "recurrent_activation": "sigmoid", "clip": None, "input_forget": False}
    odd = [k for k, v in plain.items() if a[k] != v]
    if odd or a["output_activation"] not in (None, "tanh"):
        raise unsupported(node, f"Caffe's LSTM has fixed activations and no {', '.join(odd) or 'output_activation'}")
    one = _Direction(e, node, given)
    directions = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[a["direction"]]
    if directions == [False]:
        one.write(0, False, node.outputs if one.exposed else node.outputs[:1])
        return
    made = [one.write(i, reverse) for i, reverse in enumerate(directions)]
    for j, v in enumerate(node.outputs[: 3 if one.exposed else 1]):
        parts = [tops[j] for tops in made]
        axis = 0 if j else 2
        if len(parts) == 1:
            e.alias(v, parts[0])
            continue
        shape = static(v)
        e.call("Concat", parts, {"axis": axis}, outputs=[v], shapes=[shape], name=label(node))


class _Direction:
    """The layers of one direction of an LSTM."""

    def __init__(self, e: CaffeScribe, node: Node, given: dict[str, Value | None]) -> None:
        self.e, self.node, self.given = e, node, given
        self.x = e.value(first(node))
        self.states = [given["h0"], given["c0"]]
        self.exposed = any(v is not None for v in self.states) or any(v.uses or v.is_output for v in node.outputs[1:])

    def write(self, i: int, reverse: bool, outputs: Sequence[Value] = ()) -> tuple[Ref, ...]:
        """Tops h[, h_T, c_T] of direction ``i``."""
        e, node, given, x = self.e, self.node, self.given, self.x
        steps, batch, features = x.dims
        h, source = node.attrs["hidden"], label(node)
        w = _gates(weight(given["w"], "its input weights"), i, h, (4 * h, features))
        r = _gates(weight(given["r"], "its recurrent weights"), i, h, (4 * h, h))
        zero = constant(lambda: np.zeros(4 * h), (4 * h,))
        bias = zero if given["b"] is None else _gates(weight(given["b"], "its bias"), i, h, (4 * h,))
        if reverse:
            x = select(e, x, 0, range(steps)[::-1], source, carry=False)
        bottoms = [x, self._cont(x)]
        param: dict[str, Any] = {"num_output": h}
        shapes = [(steps, batch, h)]
        if self.exposed:
            param["expose_hidden"] = True
            shapes += [(1, batch, h)] * 2
            for v in self.states:
                bottoms.append(self._zeros(x) if v is None else crop(e, e.value(v), 0, i, 1, source))
        tops: tuple[Ref, ...] = e.unit("LSTM", bottoms, param, outputs=outputs, shapes=shapes, name=source, states=[w, bias, r])
        return (select(e, tops[0], 0, range(steps)[::-1], source, carry=False), *tops[1:]) if reverse else tops

    def _cont(self, x: Ref) -> Ref:
        """(T, N), once for both directions: 0 where a sequence begins. Of one sequence it is held; of several it is made of x,
        whatever that holds, so that the net can be resized to others (the steps are fixed by Caffe's own layer)."""
        name, (steps, batch, _) = f"{label(self.node)}_cont", x.dims

        def cont() -> Any:
            c = np.ones((steps, batch), np.float32)
            c[0] = self.exposed
            return c

        def made() -> Ref:
            if batch == 1 or not self.e.dialect.has("Reduction"):
                held: Ref = self.e.const(constant(cont, (steps, batch)), name=name)
                return held
            sums = self._sums(x)
            if self.exposed or steps == 1:
                return self._filled(sums, float(self.exposed), name)
            parts = [self._filled(crop(self.e, sums, 0, i, n, name), float(i), name) for i, n in ((0, 1), (1, steps - 1))]
            (joined,) = self.e.call("Concat", parts, {"axis": 0}, shapes=[(steps, batch)], name=name)
            return joined

        found: Ref = self.e.memo(("cont", self.node), made)
        return found

    def _zeros(self, x: Ref) -> Ref:
        """A first state (1, N, H) of zeros, made of x where the net can be resized."""
        (_, batch, _), hidden, name = x.dims, self.node.attrs["hidden"], f"{label(self.node)}_zeros"
        if batch == 1 or not self.e.dialect.has("Reduction"):
            (zeros,) = self.e.call(
                "DummyData", [], {"shape": [blob_shape((1, batch, hidden))]}, shapes=[(1, batch, hidden)], name=name
            )
            return zeros

        def made() -> Ref:
            first = self._filled(crop(self.e, self._sums(x), 0, 0, 1, name), 0.0, name)
            return tile(self.e, reshape(self.e, first, (1, batch, 1), name), (1, batch, hidden), name)

        found: Ref = self.e.memo(("zeros", self.node), made)
        return found

    def _sums(self, x: Ref) -> Ref:
        (sums,) = self.e.memo(
            ("sums", x), lambda: self.e.call("Reduction", [x], {"axis": 2}, shapes=[x.dims[:2]], name=f"{label(self.node)}_sums")
        )
        made: Ref = sums
        return made

    def _filled(self, top: Ref, value: float, name: str) -> Ref:
        """The blob with a number everywhere: of a scale of 0 Caffe's Power does not look at what it is given."""
        (made,) = self.e.call("Power", [top], {"scale": 0.0, "shift": value}, shapes=[top.dims], name=name)
        return made


@RULES.emit("gru", "rnn")
def other_recurrent(e: CaffeScribe, node: Node) -> None:
    """Caffe's RNN puts a second matrix and tanh behind every step, which nothing undoes; it has no GRU."""
    raise unsupported(node, f"Caffe's only plain recurrent layer is LSTM, this is {node.op}", code="unsupported_op")

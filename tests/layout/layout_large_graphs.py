"""Large graphs of the kinds that occur: chains, residual networks, nothing but disagreement."""

from __future__ import annotations

import numpy as np

from convcore.build.builder import Builder
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph, Node, Value
from convcore.ir.tensors import ArrayTensor

_K = ArrayTensor(np.zeros((8, 8, 3, 3), np.float32))
_V = ArrayTensor(np.ones(8, np.float32))
SHAPE = (Dim("N"), 14, 14, 8)


class _Fast:
    """Appends nodes without running shape rules: every value has one shape."""

    def __init__(self) -> None:
        self.g = Graph("big")
        self.b = Builder(self.g)
        self.x = self.b.input("x", "float32", SHAPE)
        self.k, self.v = self.b.weight(_K), self.b.weight(_V)
        self.models: dict[str, Node] = {}
        for n, args, attrs in [
            ("conv", (self.x, self.k), {"pads": "same_upper", "layout": "channels_last"}),
            ("batch_norm", (self.x, self.v, self.v, self.v, self.v), {"epsilon": 1e-3, "axis": 3}),
            ("relu", (self.x,), {}),
            ("add", (self.x, self.x), {}),
            ("opaque", (), {}),
        ]:
            if n != "opaque":
                self.models[n] = self.b.node(n, args, attrs)
        for node in self.models.values():
            self.g.remove(node)
        self.count = 0

    def op(self, name: str, *xs: Value) -> Value:
        self.count += 1
        y = Value(f"{name}{self.count}", self.x.dtype, SHAPE)
        if name == "opaque":
            self.g.append(Node("opaque", xs, [y], {"type": "Foreign"}, name=f"n{self.count}"))
            return y
        model = {"conv": (self.k,), "batch_norm": (self.v,) * 4}.get(name, ())
        attrs = {
            "conv": {"strides": (1, 1), "dilations": (1, 1), "pads": "same_upper", "groups": 1, "layout": "channels_last"},
            "batch_norm": {"epsilon": 1e-3, "axis": 3},
        }.get(name, {})
        self.g.append(Node(name, (*xs, *model), [y], attrs, name=f"n{self.count}"))
        return y


def chain(n: int) -> Graph:
    """conv, batch_norm, relu, over and over; nothing conflicts."""
    f = _Fast()
    x = f.x
    for _ in range(n // 3):
        x = f.op("relu", f.op("batch_norm", f.op("conv", x)))
    f.g.outputs = [x]
    return f.g


def residual(n: int, foreign: int = 0) -> Graph:
    """Residual blocks; every ``foreign``-th has an opaque node in its branch."""
    f = _Fast()
    x = f.x
    for i in range(n // 7):
        y = f.op("relu", f.op("batch_norm", f.op("conv", x)))
        if foreign and i % foreign == foreign - 1:
            y = f.op("relu", f.op("opaque", y))
        y = f.op("batch_norm", f.op("conv", y))
        x = f.op("relu", f.op("add", x, y))
    f.g.outputs = [x]
    return f.g


def trunk(n: int, every: int = 10) -> Graph:
    """A long trunk of additions with branches that are now convolutions, now opaque: one large component full of conflict."""
    f = _Fast()
    x = f.x
    for i in range(n // 4):
        y = f.op("opaque" if i % every < every // 3 else "conv", f.op("relu", x))
        x = f.op("relu", f.op("add", x, y))
    f.g.outputs = [x]
    return f.g


def opaque(n: int) -> Graph:
    """conv, relu, foreign op, relu: a transpose before and after every convolution."""
    f = _Fast()
    x = f.x
    for _ in range(n // 4):
        x = f.op("relu", f.op("opaque", f.op("relu", f.op("conv", x))))
    f.g.outputs = [x]
    return f.g


def agreed(n: int) -> Graph:
    """A graph without layout-bearing ops."""
    f = _Fast()
    x = f.x
    for _ in range(n // 2):
        x = f.op("relu", f.op("batch_norm", x))
    f.g.outputs = [x]
    return f.g


KINDS = {
    "chain": chain,
    "residual": residual,
    "foreign": lambda n: residual(n, 3),
    "trunk": trunk,
    "opaque": opaque,
    "agreed": agreed,
}

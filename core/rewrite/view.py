"""The canonical view of a graph: what its values compute, as forms, whichever way the nodes spell it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, Value
from ..opset.shapes import broadcast_shapes
from ..passes.shapes import ShapeTracker
from .forms import Form, Forms
from .kinds import broadcasts, pointwise, same

__all__ = ["LIMITS", "ROOTS", "RULES", "View", "reduced"]

_THRESHOLD = 17
"""From here on softplus(x) is x in float32: log1p(exp(-17)) is below half an ulp of 17."""


class View(Forms):
    """The forms of the values of a graph, worked out when they are asked for, each once."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.forms: dict[Value, Form] = {}
        self.made_by: dict[Form, Value] = {}
        self.shapes = ShapeTracker()

    def know(self, v: Value, f: Form) -> None:
        self.forms[v] = f
        self.made_by.setdefault(f, v)

    def form(self, v: Value) -> Form:
        """What a value computes; a weight of one element is a number."""
        known = self.forms
        stack = [] if v in known else [v]
        while stack:
            at = stack[-1]
            node = at.producer
            if at in known:
                stack.pop()
            elif node is None or at.tensor is not None:
                self.know(at, self._given(at))
            else:
                waiting = [x for x in node.inputs if x is not None and x not in known] if _seen_through(node) else ()
                if waiting:
                    stack += waiting
                else:
                    self.read(node)
        return known[v]

    def _given(self, v: Value) -> Form:
        t = v.tensor
        if t is not None and t.size == 1 and t.dtype.is_float:
            x = float(t.numpy().reshape(()))
            if math.isfinite(x):
                return self.number(x)
        return self.leaf(v)

    def value(self, f: Form) -> Value | None:
        """The first value that computes a form."""
        return self.made_by.get(f)

    def replaced(self, old: Value, new: Value) -> None:
        """Let ``new`` stand for what ``old`` computed."""
        f = self.forms.pop(old, None)
        if f is None:
            f = self.leaf(new)
        self.forms[new] = f
        if self.made_by.get(f) is old or f not in self.made_by:
            self.made_by[f] = new

    def forget(self, nodes: Iterable[Node]) -> None:
        """Values of nodes that go stand for nothing."""
        for n in nodes:
            for v in n.outputs:
                f = self.forms.pop(v, None)
                if f is not None and self.made_by.get(f) is v:
                    del self.made_by[f]

    # ---- nodes
    def read(self, node: Node) -> None:
        """Work out what the results of a node are."""
        if _seen_through(node) and len(node.outputs) == 1:
            self.know(node.outputs[0], self._of(node))
            return
        for v in node.outputs:
            self.know(v, self.leaf(v))

    def _of(self, node: Node) -> Form:
        out = node.outputs[0]
        if same(node):
            first = node.inputs[0]
            return self.leaf(out) if first is None else self.form(first)
        if node.regions or None in node.inputs:
            return self.leaf(out)
        rule = RULES.get(node.op)
        if rule is not None and out.dtype is not None and out.dtype.is_float:
            f = rule(self, node, [self.form(v) for v in self._operands(node)])
            if f is not None:
                return f
        if rule is _reduction:  # its axes, or type, are not known
            return self.leaf(out)
        return self.plain(node, [self.form(v) for v in node.inputs if v is not None])

    def plain(self, node: Node, args: Sequence[Form]) -> Form:
        """An op with nothing known about it but its inputs and attributes; equal ones are one."""
        key = _key(node)
        return self.leaf(node.outputs[0]) if key is None else self.op(node.op, *args, key=key)

    def _operands(self, node: Node) -> list[Value]:
        """The inputs, without an expand that the node would do by itself."""
        ins = [v for v in node.inputs if v is not None]
        if len(ins) < 2 or not pointwise(node):
            return ins
        for i, v in enumerate(ins):
            p = v.producer
            if p is None or not broadcasts(p):
                continue
            x, others = p.inputs[0], [o.shape for o in (*ins[:i], *ins[i + 1 :])]
            if x is not None and x.shape is not None and broadcast_shapes(x.shape, *others) == node.outputs[0].shape:
                ins[i] = x
        return ins


def _key(node: Node) -> Any:
    """Attributes as a key; None where they cannot be one."""
    key = tuple(sorted(node.attrs.items()))
    try:
        hash(key)
    except TypeError:
        return None
    return key


Rule = Callable[[View, Node, "list[Form]"], "Form | None"]


def _pow(v: View, node: Node, a: list[Form]) -> Form | None:
    return v.power(a[0], a[1].key) if a[1].op == "number" else None


def _div(v: View, node: Node, a: list[Form]) -> Form | None:
    return v.multiply(a[0], v.invert(a[1])) if a[1].op != "number" or a[1].key else None


def _limit(low: bool) -> Rule:
    def rule(v: View, node: Node, a: list[Form]) -> Form | None:
        x, k = a if a[1].op == "number" else a[::-1]
        if k.op != "number" or x.op == "number":
            return None
        return v.clip(x, k.key, math.inf) if low else v.clip(x, -math.inf, k.key)

    return rule


def _clip(v: View, node: Node, a: list[Form]) -> Form | None:
    low, high = node.attrs["min"], node.attrs["max"]
    low, high = -math.inf if low is None else float(low), math.inf if high is None else float(high)
    return v.clip(a[0], low, high) if low <= high else None


def _reduction(v: View, node: Node, a: list[Form]) -> Form | None:
    x = node.inputs[0]
    if x is None or x.rank is None:
        return None
    axes = node.attrs["axes"]
    axes = tuple(range(x.rank)) if axes is None else tuple(sorted(axes))
    kept = reduced(v, node.op, a[0], axes)
    return kept if node.attrs["keepdims"] else v.op("squeeze", kept, key=axes)


def reduced(v: Forms, op: str, x: Form, axes: tuple[int, ...]) -> Form:
    """A reduction with its axes kept."""
    return v.op(op, x, key=axes)


def _l2(v: View, node: Node, a: list[Form]) -> Form | None:
    x = node.inputs[0]
    if x is None or x.rank is None:
        return None
    axes = node.attrs["axes"]
    axes = tuple(range(x.rank)) if axes is None else tuple(sorted(axes))
    total = reduced(v, "sum", v.power(a[0], 2), axes)
    if node.op == "sum_square":
        return total if node.attrs["keepdims"] else v.op("squeeze", total, key=axes)
    return v.root(total) if node.attrs["keepdims"] else v.root(v.op("squeeze", total, key=axes))


def _variance(v: View, node: Node, a: list[Form]) -> Form | None:
    x = node.inputs[0]
    if x is None or x.rank is None or node.attrs["ddof"] != 0:
        return None
    axes = node.attrs["axes"]
    axes = tuple(range(x.rank)) if axes is None else tuple(sorted(axes))
    centred = v.add(a[0], reduced(v, "mean", a[0], axes), by=(1, -1))
    var = reduced(v, "mean", v.power(centred, 2), axes)
    var = var if node.attrs["keepdims"] else v.op("squeeze", var, key=axes)
    return var if node.op == "variance" else v.root(var)


def _restored(v: View, node: Node, a: list[Form]) -> Form | None:
    """Axes that a reduction had dropped, put back by unsqueeze or reshape; through what is element by element."""
    out, f = node.outputs[0], a[0]
    if out.shape is None:
        return None
    return _kept(v, f, tuple(i for i, n in enumerate(out.shape) if n == 1), len(out.shape), node)


def _kept(v: View, f: Form, ones: tuple[int, ...], rank: int, node: Node) -> Form | None:
    x = node.inputs[0]
    if f.op == "squeeze" and x is not None and x.shape is not None and x.rank == rank - len(f.key):
        out = node.outputs[0].shape or ()
        if set(f.key) <= set(ones) and tuple(n for i, n in enumerate(out) if i not in f.key) == tuple(x.shape):
            return f.args[0]
    if f.op == "+" and len(f.terms) == 1:
        inner = _kept(v, f.terms[0][0], ones, rank, node)
        return None if inner is None else v.add(v.scale(inner, f.terms[0][1]), v.number(f.key))
    if f.op == "*" and len(f.factors) == 1 and f.factors[0][1] == 1:
        (base, kind), _ = f.factors[0]
        inner = _kept(v, base, ones, rank, node)
        return None if inner is None else v.product(1.0, {(inner, kind): 1})
    return None


def _cast(v: View, node: Node, a: list[Form]) -> Form | None:
    """Of a size that is known: its number."""
    x = node.inputs[0]
    if x is None or x.dtype is None or not x.dtype.is_int or x.shape is None or any(n != 1 for n in x.shape):
        return v.number(a[0].key) if a[0].op == "number" and x is not None and x.dtype is not None and x.dtype.is_float else None
    known = v.shapes.get(x)
    size = None if known is None else known.reshape(-1)[0]
    return v.number(float(size)) if isinstance(size, int) else None


def _where(v: View, node: Node, a: list[Form]) -> Form | None:
    """torch's softplus writes x itself above a threshold: up to float32 no difference from 17 on."""
    c, x, y = a
    if c.op == "greater" and y.op == "softplus" and node.outputs[0].dtype is not DType.FLOAT64:
        inner, limit = c.args
        if limit.op == "number" and limit.key >= _THRESHOLD and inner is x and y.args[0] is x:
            return y
    return None


ROOTS: dict[str, Rule] = {
    "sqrt": lambda v, n, a: v.root(a[0]),
    "rsqrt": lambda v, n, a: v.invert(v.root(a[0])),
    "pow": _pow,
    "l2_norm": _l2,
}
"""What may be a root, or one over it."""

LIMITS: dict[str, Rule] = {
    "relu": lambda v, n, a: v.clip(a[0], 0, math.inf),
    "clip": _clip,
    "maximum": _limit(True),
    "minimum": _limit(False),
    "hard_sigmoid": lambda v, n, a: v.clip(v.add(v.scale(a[0], n.attrs["alpha"]), v.number(n.attrs["beta"])), 0, 1),
}
"""What is a limit, or a number times one."""

RULES: dict[str, Rule] = {
    **ROOTS,
    **LIMITS,
    "add": lambda v, n, a: v.add(*a),
    "sub": lambda v, n, a: v.add(*a, by=(1, -1)),
    "neg": lambda v, n, a: v.scale(a[0], -1),
    "mul": lambda v, n, a: v.multiply(*a),
    "div": _div,
    "square": lambda v, n, a: v.power(a[0], 2),
    "reciprocal": lambda v, n, a: v.invert(a[0]),
    "mean": _reduction,
    "sum": _reduction,
    "max": _reduction,
    "min": _reduction,
    "sum_square": _l2,
    "variance": _variance,
    "std": _variance,
    "unsqueeze": _restored,
    "reshape": _restored,
    "squeeze": lambda v, n, a: v.plain(n, a),
    "cast": _cast,
    "where": _where,
}
"""How the form of an op is made of those of its inputs."""


def _seen_through(node: Node) -> bool:
    """Whether the inputs of a node matter to its form. Any other op's results stand for themselves."""
    return node.op in RULES or pointwise(node)

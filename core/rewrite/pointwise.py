"""Activations written out: their own bodies, and the forms other frameworks write, found whatever the order of factors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..ir.graph import Node, Value
from ..records import dataclass
from .forms import ONE, Form, less, ulp
from .kinds import pointwise
from .numbers import shortest
from .region import Rewriter
from .trace import trace
from .view import LIMITS, View

__all__ = ["ANCHORS", "find"]

Candidates = Iterator[tuple[Form, Mapping[str, Any]]]


@dataclass(frozen=True)
class _Pattern:
    """An op, what in it to look for first, and what x and attributes may be, given the form of that."""

    op: str
    anchor: str
    candidates: Callable[[View, Form], Candidates]
    form: Callable[[View, Form, Mapping[str, Any]], Form] | None = None  # None: the op's body

    def instance(self, view: View, x: Form, attrs: Mapping[str, Any]) -> Form:
        return trace(view, self.op, x, **attrs) if self.form is None else self.form(view, x, attrs)


def _bare(view: View, f: Form) -> tuple[float, Form]:
    """A form as a number times a form."""
    k, factors = view.factors(f)
    return k, view.product(1.0, factors)


def _of_argument(**attrs: Any) -> Callable[[View, Form], Candidates]:
    """x is the argument of the anchor, any number before it aside."""

    def candidates(view: View, f: Form) -> Candidates:
        yield _bare(view, f.args[0])[1], attrs

    return candidates


def _argument(view: View, f: Form) -> Candidates:
    yield f.args[0], {}


def _scaled(view: View, f: Form) -> Candidates:
    k, x = _bare(view, f.args[0])
    if k not in (0, 1):
        yield x, {"beta": k}


def _negated(view: View, f: Form) -> Candidates:
    yield view.scale(f.args[0], -1), {}


def _cubic(view: View, f: Form) -> Candidates:
    """tanh(a x + b x^3)."""
    for t, _ in view.split(f.args[0])[1]:
        factors = view.factors(t)[1]
        if factors and all(n % 3 == 0 for n in factors.values()):
            yield view.product(1.0, {base: n // 3 for base, n in factors.items()}), {"approximate": "tanh"}


def _factored(view: View, f: Form) -> Candidates:
    """tanh(a x (1 + b x^2)), as transformers' fast gelu has it."""
    _, factors = view.factors(f.args[0])
    for (base, kind), n in factors.items():
        if base.op == "+" and kind == ONE and n == 1 and base.key and len(base.terms) == 1:
            yield view.product(1.0, {g: m for g, m in factors.items() if g != (base, kind)}), {}


def _fast_gelu(view: View, x: Form, attrs: Mapping[str, Any]) -> Form:
    inner = view.add(view.number(1), view.scale(view.power(x, 2), 0.044715))
    t = view.op("tanh", view.scale(view.multiply(x, inner), math.sqrt(2 / math.pi)), key=())
    return view.multiply(view.scale(x, 0.5), view.add(view.number(1), t))


def _limited(view: View, f: Form) -> Candidates:
    """x of clip(x + c, 0, high), which is no activation where high is not above 0."""
    if f.op == "clip" and f.key[0] == 0 and 0 < f.key[1] < math.inf:
        yield view.add(f.args[0], view.number(-view.split(f.args[0])[0])), {}


def _hard_sigmoid(view: View, f: Form) -> Candidates:
    for x, _ in _limited(view, f):
        alpha = 1 / f.key[1]
        yield x, {"alpha": alpha, "beta": view.split(f.args[0])[0] * alpha}


def _leaky(view: View, f: Form) -> Candidates:
    """x of the part below zero; the slope stands before it in the sum, and is read there."""
    if f.op == "clip" and f.key == (-math.inf, 0):
        yield f.args[0], {}


PATTERNS = (
    _Pattern("gelu", "erf", _of_argument(approximate="none")),
    _Pattern("gelu", "tanh", _cubic),
    _Pattern("gelu", "tanh", lambda v, f: ((x, {"approximate": "tanh"}) for x, _ in _factored(v, f)), _fast_gelu),
    _Pattern("silu", "sigmoid", _argument),
    _Pattern("swish", "sigmoid", _scaled),
    _Pattern("mish", "softplus", _argument),
    _Pattern("log_sigmoid", "softplus", _negated),
    _Pattern("softsign", "abs", _argument),
    _Pattern("tanh_shrink", "tanh", _argument),
    _Pattern("hard_swish", "clip", _limited),
    _Pattern("hard_sigmoid", "clip", _hard_sigmoid),
)


def _chosen(r: Rewriter, node: Node) -> bool:
    """where(x >= 0, x, slope * x): leaky_relu or prelu; at 0 both sides are 0."""
    view, f = r.view, r.view.form(node.outputs[0])
    if f.op != "where":
        return False
    c, x, y = f.args
    if c.op not in ("greater", "greater_equal") or c.args[0] is not x or c.args[1].op != "number" or c.args[1].key != 0:
        return False
    return _slope(r, node.outputs[0], view.add(view.clip(x, 0, math.inf), _of_part(view, y, x)), x)


def _of_part(view: View, y: Form, x: Form) -> Form:
    """slope * x as slope * min(x, 0), if it is that."""
    k, factors = view.factors(y)
    kx, own = view.factors(x)
    left = less(factors, own)
    return y if left is None else view.scale(view.multiply(view.product(1.0, left), view.clip(x, -math.inf, 0)), k / kx)


_WHOLE = ("clip", "minimum")
"""Limits from above: such a one may end an activation, any other only begins one."""

_BY_ANCHOR: dict[str, list[_Pattern]] = {}
for _p in PATTERNS:
    _BY_ANCHOR.setdefault(_p.anchor, []).append(_p)
ANCHORS = frozenset(_BY_ANCHOR) | LIMITS.keys() | {"where"}
"""The ops at which a search begins."""


def _goes_on(user: Node, v: Value) -> bool:
    """Whether a node that takes ``v`` may be a step of an activation: a sum with another layer or relu of relu is none."""
    if not pointwise(user) or (user.op == "relu" and v.producer is not None and v.producer.op == "relu"):
        return False
    return user.op not in ("add", "sub") or any(
        w is not None and w is not v and (w.tensor is not None or (w.producer is not None and pointwise(w.producer)))
        for w in user.inputs
    )


def find(r: Rewriter, node: Node) -> bool:
    """Put an activation in place of the nodes around ``node``, which is one of ANCHORS."""
    view, start = r.view, node.outputs[0]
    if node.op == "where":
        return _chosen(r, node)
    if node.op in LIMITS and node.op not in _WHOLE and not any(_goes_on(user, start) for user, _ in start.uses):
        return False  # most often a layer of its own: nothing to look at
    f = view.form(start)
    if node.op in LIMITS:
        f = _bare(view, f)[1]
        if f.op != "clip":
            return False
    elif f.op != node.op:
        return False
    instances = [
        (p.op, x, attrs, p.instance(view, x, attrs)) for p in _BY_ANCHOR.get(f.op, ()) for x, attrs in p.candidates(view, f)
    ]
    leaky = [x for x, _ in _leaky(view, f)]
    if not instances and not leaky:
        return False
    tolerance = 4 * ulp(start.dtype)
    for root in r.reached(start, pointwise):
        g = view.form(root)
        for name, x, attrs, wanted in instances:
            if view.near(g, wanted, tolerance) and _put(r, root, name, x, attrs):
                return True
        for x in leaky:
            if _slope(r, root, g, x):
                return True
    return False


def _put(r: Rewriter, root: Value, name: str, x: Form, attrs: Mapping[str, Any]) -> bool:
    v = r.view.value(x)
    if v is None or root.producer is None or root.producer.op == name:
        return False
    nodes = r.region([root], {x})
    if nodes is None or not r.closed(nodes, {root}):
        return False
    told: dict[str, Any] = {k: shortest(a, v.dtype) if isinstance(a, float) else a for k, a in attrs.items()}
    return r.put(root, nodes, lambda b: b.op(name, v, **told))


def _slope(r: Rewriter, root: Value, g: Form, x: Form) -> bool:
    """max(x, 0) + slope * min(x, 0): leaky_relu where the slope is a number, prelu where it is a weight."""
    view = r.view
    above, below = view.clip(x, 0, math.inf), view.clip(x, -math.inf, 0)
    number, terms = view.split(g)
    rest = {t: k for t, k in terms if t is not above}
    if number or len(terms) != 2 or len(rest) != 1 or dict(terms).get(above) != 1:
        return False
    ((term, k),) = rest.items()
    if term is below:
        return _put(r, root, "leaky_relu", x, {"alpha": k})
    c, factors = view.factors(term)
    left = less(factors, {(below, ONE): 1})
    if left is None or len(left) != 1:
        return False
    (((base, kind), n),) = left.items()
    v = view.value(x)
    if base.op != "leaf" or base.key.tensor is None or kind != ONE or n != 1 or v is None:
        return False
    nodes = r.region([root], {x})
    if nodes is None or not r.closed(nodes, {root}):
        return False
    weight, factor = base.key, c * k

    def make(b: Any) -> Value:
        slope = weight if factor == 1 else b.neg(weight) if factor == -1 else b.mul(weight, b.like(weight, factor))
        if v.rank is not None and slope.rank is not None and slope.rank > v.rank:
            slope = b.squeeze(slope, axes=tuple(range(slope.rank - v.rank)))
        made: Value = b.prelu(v, slope)
        return made

    return r.put(root, nodes, make)

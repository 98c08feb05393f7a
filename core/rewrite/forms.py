"""The canonical view of a graph: what a value computes, whichever way it is spelled.

Every value has a :class:`Form`; equal computations have the same form object. Casts to the own dtype, identities and what only
training needs are looked through; products are sets of factors with a number in front, sums are sets of terms with a number
added; ``div``, ``neg``, ``sqrt``, ``reciprocal``, ``square``, ``pow`` by a number, ``relu`` and limits by numbers are products,
sums and ``clip``. Nothing of the graph is changed: forms are only compared.

Factors never cancel (x / x stays), roots of powers stay roots: what a form says is what the nodes say, but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, Value
from ..opset.shapes import broadcast_shapes
from ..passes.shapes import ShapeTracker

__all__ = ["HALF", "INVERSE", "INVERSE_HALF", "ONE", "RULES", "Form", "Forms", "View", "reduced", "ulp"]

MOST = 6
"""A sum or product of more parts than this stays nested, so that a chain of residual additions costs the same per node."""

ONE, INVERSE, HALF, INVERSE_HALF = "", "^-1", "^.5", "^-.5"
_INVERTED = {ONE: INVERSE, INVERSE: ONE, HALF: INVERSE_HALF, INVERSE_HALF: HALF}

Factor = tuple["Form", str]
Factors = tuple[tuple[Factor, int], ...]
Terms = tuple[tuple["Form", float], ...]


def ulp(dtype: DType | None) -> float:
    """The relative distance of two neighbouring numbers of a dtype (float32 where it is not known)."""
    if dtype is DType.BFLOAT16:
        return 2.0**-7
    return {DType.FLOAT16: 2.0**-10, DType.FLOAT64: 2.0**-52}.get(dtype, 2.0**-23)  # type: ignore[arg-type]


class Form:
    """What a value computes.

    ``op`` is "leaf" (``key`` is the value), "number" (``key`` the number), "+" (``number`` + ``terms``), "*"
    (``factors``) or the name of an op applied to ``args`` with attributes ``key``.
    """

    __slots__ = ("args", "factors", "id", "key", "number", "op", "terms")

    def __init__(self, n: int, op: str, args: tuple[Form, ...], key: Any, number: float, terms: Terms, factors: Factors) -> None:
        self.id, self.op, self.args, self.key = n, op, args, key
        self.number, self.terms, self.factors = number, terms, factors

    def __repr__(self) -> str:
        if self.op in ("leaf", "number"):
            return f"%{self.key.name}" if isinstance(self.key, Value) else f"{self.key:g}"
        if self.op == "+":
            parts = [f"{c:g}*{t}" for t, c in self.terms] + ([f"{self.number:g}"] if self.number else [])
            return f"({' + '.join(parts)})"
        if self.op == "*":
            return "*".join(f"{f}{kind}" + (f"**{n}" if n > 1 else "") for (f, kind), n in self.factors)
        return f"{self.op}{self.args}{self.key or ''}"


class Forms:
    """The algebra: makes forms, equal ones once."""

    def __init__(self) -> None:
        self._made: dict[Any, Form] = {}

    def _form(
        self, op: str, args: tuple[Form, ...] = (), key: Any = None, number: float = 0.0, terms: Terms = (), factors: Factors = ()
    ) -> Form:  # fmt: skip
        k = (op, tuple(a.id for a in args), key, number, tuple((t.id, c) for t, c in terms),
             tuple((f.id, kind, n) for (f, kind), n in factors))  # fmt: skip
        found = self._made.get(k)
        if found is None:
            found = self._made[k] = Form(len(self._made), op, args, key, number, terms, factors)
        return found

    def leaf(self, v: Value) -> Form:
        return self._form("leaf", key=v)

    def number(self, x: float) -> Form:
        return self._form("number", key=float(x))

    def op(self, name: str, *args: Form, key: Any = None) -> Form:
        """An op that has no algebra of its own."""
        return self._form(name, args, key)

    # ---- sums
    def split(self, f: Form) -> tuple[float, Terms]:
        """A form as number + terms."""
        if f.op == "number":
            return f.key, ()
        return (f.number, f.terms) if f.op == "+" else (0.0, ((f, 1.0),))

    def add(self, *parts: Form, by: Sequence[float] = ()) -> Form:
        """The sum of forms, each times a number."""
        number, terms = 0.0, dict[Form, float]()
        for f, k in zip(parts, by or (1.0,) * len(parts)):
            n, ts = self.split(f)
            number += n * k
            for t, c in ts:
                terms[t] = terms.get(t, 0.0) + c * k
        terms = {t: c for t, c in terms.items() if c != 0}
        if len(terms) > MOST:
            terms = {}
            number = 0.0
            for f, k in zip(parts, by or (1.0,) * len(parts)):
                if f.op == "number":
                    number += f.key * k
                else:
                    terms[f] = terms.get(f, 0.0) + k
        return self._sum(number, terms)

    def _sum(self, number: float, terms: dict[Form, float]) -> Form:
        kept = tuple(sorted(((t, c) for t, c in terms.items() if c != 0), key=lambda p: p[0].id))
        if not kept:
            return self.number(number)
        if number == 0 and len(kept) == 1 and kept[0][1] == 1:
            return kept[0][0]
        return self._form("+", number=number, terms=kept)

    def scale(self, f: Form, k: float) -> Form:
        return self.add(f, by=(k,))

    # ---- products
    def factors(self, f: Form) -> tuple[float, dict[Factor, int]]:
        """A form as a number times factors; a sum is one factor, with the number of its first term taken out."""
        if f.op == "number":
            return f.key, {}
        if f.op == "*":
            return 1.0, dict(f.factors)
        if f.op == "+":
            if f.number == 0 and len(f.terms) == 1:
                t, c = f.terms[0]
                k, inner = self.factors(t)
                return c * k, inner
            lead = f.terms[0][1]
            if lead != 1:
                f = self._sum(f.number / lead, {t: c / lead for t, c in f.terms})
            return lead, {(f, ONE): 1}
        return 1.0, {(f, ONE): 1}

    def multiply(self, *parts: Form) -> Form:
        if len(parts) == 2 and any(p.op == "number" for p in parts):
            a, b = parts if parts[1].op == "number" else parts[::-1]
            return self.scale(a, b.key)
        number, together = 1.0, dict[Factor, int]()
        for p in parts:
            k, fs = self.factors(p)
            number *= k
            for f, n in fs.items():
                together[f] = together.get(f, 0) + n
        if len(together) > MOST:
            number, together = 1.0, {}
            for p in parts:
                if p.op == "number":
                    number *= p.key
                else:
                    together[p, ONE] = together.get((p, ONE), 0) + 1
        return self.product(number, together)

    def product(self, number: float, factors: dict[Factor, int]) -> Form:
        kept = tuple(sorted(factors.items(), key=lambda p: (p[0][0].id, p[0][1])))
        if not kept:
            return self.number(number)
        f = kept[0][0][0] if len(kept) == 1 and kept[0][1] == 1 and kept[0][0][1] == ONE else self._form("*", factors=kept)
        return f if number == 1 else self.scale(f, number)

    def invert(self, f: Form) -> Form:
        number, fs = self.factors(f)
        if number == 0:
            return self.op("reciprocal", f)
        return self.product(1 / number, {(base, _INVERTED[kind]): n for (base, kind), n in fs.items()})

    def root(self, f: Form) -> Form:
        if f.op == "number":
            return self.number(math.sqrt(f.key)) if f.key >= 0 else self.op("sqrt", f)
        return self.product(1.0, {(f, HALF): 1})

    def power(self, f: Form, n: float) -> Form:
        if n in (2, 3):
            return self.multiply(*(f,) * int(n))
        if n == 1:
            return f
        if n in (0.5, -0.5):
            root = self.root(f)
            return root if n > 0 else self.invert(root)
        return self.invert(f) if n == -1 else self.op("pow", f, self.number(n))

    # ---- limits
    def clip(self, f: Form, low: float, high: float) -> Form:
        """max(low, min(high, f)), the number of the first term taken out; limits of limits are joined."""
        if f.op == "number":
            return self.number(min(max(f.key, low), high))
        if f.op == "clip" and low <= f.key[1] and f.key[0] <= high:
            return self.clip(f.args[0], max(low, f.key[0]), min(high, f.key[1]))
        if math.isinf(low) and math.isinf(high):
            return f
        _, terms = self.split(f)
        lead = terms[0][1]
        if lead == 1:
            return self.op("clip", f, key=(low, high))
        low, high = (low / lead, high / lead) if lead > 0 else (high / lead, low / lead)
        return self.scale(self.op("clip", self.scale(f, 1 / lead), key=(low + 0.0, high + 0.0)), lead)

    # ---- comparing
    def near(self, a: Form, b: Form, tolerance: float, depth: int = 12) -> bool:
        """Whether two forms are the same but for the rounding of their numbers (relative)."""
        if a is b:
            return True
        if a.op != b.op or not depth or len(a.args) != len(b.args):
            return False

        def close(x: float, y: float) -> bool:
            return x == y or (math.isfinite(x) and math.isfinite(y) and abs(x - y) <= tolerance * max(abs(x), abs(y)))

        if a.op == "number":
            return close(a.key, b.key)
        if a.op == "+":
            return close(a.number, b.number) and self._paired(
                a.terms, b.terms, lambda x, y: close(x[1], y[1]) and self.near(x[0], y[0], tolerance, depth - 1)
            )
        if a.op == "*":
            return self._paired(
                a.factors, b.factors,
                lambda x, y: x[1] == y[1] and x[0][1] == y[0][1] and self.near(x[0][0], y[0][0], tolerance, depth - 1),
            )  # fmt: skip
        if a.op == "leaf" or not a.args:
            return False
        if a.op == "clip":
            return all(map(close, a.key, b.key)) and self.near(a.args[0], b.args[0], tolerance, depth - 1)
        return a.key == b.key and all(self.near(x, y, tolerance, depth - 1) for x, y in zip(a.args, b.args))

    @staticmethod
    def _paired(xs: Sequence[Any], ys: Sequence[Any], same: Callable[[Any, Any], bool]) -> bool:
        if len(xs) != len(ys):
            return False
        left = list(ys)
        for x in xs:
            found = next((i for i, y in enumerate(left) if same(x, y)), None)
            if found is None:
                return False
            del left[found]
        return True


_REDUCTIONS = frozenset({"mean", "sum", "max", "min"})
_THROUGH = frozenset({"identity", "dropout", "gaussian_noise"})
_ELEMENTWISE = frozenset({"add", "sub", "mul", "div", "maximum", "minimum"})
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
                waiting = [x for x in node.inputs if x is not None and x not in known] if node.op in _SEEN_THROUGH else ()
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
        if node.op in _SEEN_THROUGH and len(node.outputs) == 1:
            self.know(node.outputs[0], self._of(node))
            return
        for v in node.outputs:
            self.know(v, self.leaf(v))

    def _of(self, node: Node) -> Form:
        out = node.outputs[0]
        if node.op in _THROUGH or (node.op == "cast" and node.inputs[0] is not None and node.inputs[0].dtype is node.attrs["to"]):
            first = node.inputs[0]
            return self.leaf(out) if first is None else self.form(first)
        if node.regions or None in node.inputs:
            return self.leaf(out)
        rule = RULES.get(node.op)
        if rule is not None and out.dtype is not None and out.dtype.is_float:
            f = rule(self, node, [self.form(v) for v in self._operands(node)])
            if f is not None:
                return f
        return self.plain(node, [self.form(v) for v in node.inputs if v is not None])

    def plain(self, node: Node, args: Sequence[Form]) -> Form:
        """An op with nothing known about it but its inputs and attributes; equal ones are one."""
        key = _key(node)
        return self.leaf(node.outputs[0]) if key is None else self.op(node.op, *args, key=key)

    def _operands(self, node: Node) -> list[Value]:
        """The inputs, without an expand that the node would do by itself."""
        ins = [v for v in node.inputs if v is not None]
        if node.op not in _ELEMENTWISE:
            return ins
        for i, v in enumerate(ins):
            p = v.producer
            if p is None or p.op != "expand":
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
        return None if inner is None else v.add(v.scale(inner, f.terms[0][1]), v.number(f.number))
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


RULES: dict[str, Rule] = {
    "add": lambda v, n, a: v.add(*a),
    "sub": lambda v, n, a: v.add(*a, by=(1, -1)),
    "neg": lambda v, n, a: v.scale(a[0], -1),
    "mul": lambda v, n, a: v.multiply(*a),
    "div": _div,
    "square": lambda v, n, a: v.power(a[0], 2),
    "pow": _pow,
    "sqrt": lambda v, n, a: v.root(a[0]),
    "rsqrt": lambda v, n, a: v.invert(v.root(a[0])),
    "reciprocal": lambda v, n, a: v.invert(a[0]),
    "relu": lambda v, n, a: v.clip(a[0], 0, math.inf),
    "clip": _clip,
    "maximum": _limit(True),
    "minimum": _limit(False),
    "hard_sigmoid": lambda v, n, a: v.clip(v.add(v.scale(a[0], n.attrs["alpha"]), v.number(n.attrs["beta"])), 0, 1),
    "l2_norm": _l2,
    "sum_square": _l2,
    "variance": _variance,
    "std": _variance,
    "unsqueeze": _restored,
    "reshape": _restored,
    "cast": _cast,
    "where": _where,
    **dict.fromkeys(sorted(_REDUCTIONS), _reduction),
}

_SEEN_THROUGH = frozenset(RULES) | _THROUGH | {
    "erf", "tanh", "sigmoid", "softplus", "exp", "abs", "greater", "greater_equal", "log", "squeeze", "cos", "sin",
}  # fmt: skip
"""Ops whose inputs matter to a form. Any other op's results stand for themselves."""

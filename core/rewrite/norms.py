"""Normalisations: something over the root of its mean square, centred or not, whichever way scale and bias come in.

One classifier for the family: a root of a mean (or sum) of squares is looked for, then what is made of it. Constants say by the
axes along which they vary whether it is layer_norm, rms_norm or instance_norm. Sample variances, an epsilon outside the root and
E[x^2] - E[x]^2 are other functions and stay what they are.
"""

from __future__ import annotations

import math
from typing import Any

from ..ir.graph import Node, Value
from ..records import dataclass
from .forms import HALF, INVERSE, INVERSE_HALF, ONE, Factor, Form, less, ulp
from .groups import in_groups, over
from .kinds import step
from .numbers import shortest, varies
from .region import Rewriter
from .view import View

__all__ = ["constant_statistics", "find"]


@dataclass(frozen=True)
class _Root:
    """The root that was found: of ``square`` (the factor), which is epsilon + mean or sum over ``axes`` of ``x`` squared."""

    square: Form
    epsilon: float
    reduction: str
    axes: tuple[int, ...]
    x: Form
    mean: Form | None  # what is taken off x before it is squared


def find(r: Rewriter, node: Node) -> bool:
    """Put a normalisation in place of the nodes around a root."""
    view, start = r.view, node.outputs[0]
    base = _rooted(view, view.form(start))
    tolerance = 4 * ulp(start.dtype)
    root = None if base is None else _parse(view, base, tolerance)
    if root is None:
        return False
    x = view.value(root.x)
    if x is None or x.rank is None or x.shape is None:
        return False
    found = False
    for value in r.reached(start, step):
        if value.shape != x.shape or not r.alive(value):
            continue
        g = view.form(value)
        if root.reduction == "sum":
            done = _l2(r, value, g, root, x, tolerance)
        else:
            done = _normalised(r, value, g, root, x, tolerance)
        found |= done
    return found


def _rooted(view: View, f: Form) -> Form | None:
    """What a form is the root of (or one over it); axes that are put back later count as kept."""
    _, factors = view.factors(f)
    if len(factors) != 1:
        return None
    (((base, kind), n),) = factors.items()
    return _kept(view, base) if n == 1 and kind in (HALF, INVERSE_HALF) else None


def _kept(view: View, f: Form) -> Form:
    if f.op == "squeeze":
        return f.args[0]
    if f.op == "+" and len(f.terms) == 1 and f.terms[0][0].op == "squeeze":
        return view.add(view.scale(f.terms[0][0].args[0], f.terms[0][1]), view.number(f.key))
    return f


def _parse(view: View, square: Form, tolerance: float) -> _Root | None:
    inner = square.args[0] if square.op == "clip" and square.key[1] == math.inf else square
    epsilon, terms = view.split(inner)
    if len(terms) != 1 or abs(terms[0][1] - 1) > tolerance or terms[0][0].op not in ("mean", "sum") or epsilon < 0:
        return None
    reduction = terms[0][0]
    if reduction.op == "mean" and inner is not square:
        return None
    axes, squared = reduction.key, reduction.args[0]
    k, factors = view.factors(squared)
    if k <= 0 or any(n % 2 or kind not in (ONE, INVERSE) for (_, kind), n in factors.items()) or not factors:
        return None
    half = view.product(1.0, {f: n // 2 for f, n in factors.items()})
    if reduction.op == "mean":
        centred = _centred(view, half, math.sqrt(k), axes, tolerance)
        if centred is not None:
            return _Root(square, epsilon, "mean", axes, *centred)
        if _less_mean(half, axes):
            return None
    x = half if k == 1 else view.scale(half, math.sqrt(k))
    return _Root(square, epsilon, reduction.op, axes, x, None)


def _centred(view: View, half: Form, size: float, axes: tuple[int, ...], tolerance: float) -> tuple[Form, Form] | None:
    """(x, its mean) where a form is x less its mean over ``axes``, times a number of that absolute value."""
    for term, q in view.split(half)[1]:
        if term.op == "mean" and term.key == axes and half.op == "+" and abs(abs(q) * size - 1) <= tolerance:
            x = view.add(half, term, by=(-1 / q, 1.0))
            if x is term.args[0]:
                return x, term
    return None


def _less_mean(f: Form, axes: tuple[int, ...]) -> bool:
    """Whether a mean over the same axes was taken off before, in another dtype (torch's half layer_norm up to opset 16 computes
    the variance in double: 5e-4 of the range away from layer_norm, which is another function)."""
    inner = f.args[0] if f.op == "cast" else f
    return inner.op == "+" and any(t.op == "mean" and t.key == axes and k < 0 for t, k in inner.terms)


def _weight(left: dict[Factor, int]) -> tuple[bool, Value | None]:
    """Whether factors are one constant, or none, and which."""
    if not left:
        return True, None
    if len(left) != 1:
        return False, None
    (((base, kind), n),) = left.items()
    ok = base.op == "leaf" and base.key.tensor is not None and kind == ONE and n == 1
    return ok, base.key if ok else None


def _normalised(r: Rewriter, value: Value, g: Form, root: _Root, x: Value, tolerance: float) -> bool:
    """value = x (or x less its mean) over the root, times a constant, plus a constant."""
    view = r.view
    number, terms = view.split(g)
    core: list[tuple[float, dict[Factor, int]]] = []
    rest: list[tuple[Form, float]] = []
    for t, c in terms:
        k, factors = view.factors(t)
        if (root.square, INVERSE_HALF) in factors:
            core.append((c * k, factors))
        else:
            rest.append((t, c))
    if number or len(rest) > 1 or not core:
        return False
    inverse = view.invert(view.root(root.square))
    whole = root.x if root.mean is None else view.add(root.x, root.mean, by=(1, -1))
    parts = [whole] if len(core) == 1 else [root.x, view.scale(root.mean, -1)] if root.mean is not None else []
    if len(parts) != len(core):
        return False
    scales: list[Value | None] = []
    for part in parts:
        k, wanted = view.factors(view.multiply(part, inverse))
        for have in core:
            left = less(have[1], wanted)
            ok, scale = (False, None) if left is None else _weight(left)
            if ok and abs(have[0] - k) <= tolerance * abs(k):
                core.remove(have)
                scales.append(scale)
                break
        else:
            return False
    if any(s is not scales[0] for s in scales):
        return False
    bias: Value | None = None
    if rest:
        t, c = rest[0]
        if t.op != "leaf" or t.key.tensor is None or c != 1:
            return False
        bias = t.key
    return _put(r, value, root, x, scales[0], bias)


def _put(r: Rewriter, value: Value, root: _Root, x: Value, scale: Value | None, bias: Value | None) -> bool:
    assert x.shape is not None
    rank, axes, centred = len(x.shape), root.axes, root.mean is not None
    if bias is not None and not centred:
        return False
    along: set[int] = set()
    for w in (scale, bias):
        places = () if w is None else varies(w, rank)
        if places is None:
            return False
        along |= set(places)
    kept = [a for a in range(1, rank) if a not in axes]
    whole_image = centred and rank > 2 and 0 not in axes and len(kept) == 1 and len(axes) == rank - 2
    instance = whole_image and (along == set(kept) or (not along and rank > 3 and kept[0] in (1, rank - 1)))
    if not instance and not along <= set(axes):
        return centred and in_groups(r, value, x, scale, bias, axes, root.epsilon)
    sizes = tuple(x.shape[a] for a in ((kept[0],) if instance else axes))
    if along and not all(isinstance(n, int) for n in sizes):
        return False
    nodes = r.region([value], {root.x})
    if nodes is None or not r.one_layer(nodes):
        return False
    epsilon = shortest(root.epsilon, x.dtype)

    def make(b: Any) -> Value:
        params = [None if w is None else over(r, w, rank, (kept[0],) if instance else axes) for w in (scale, bias)]
        if instance:
            y: Value = b.instance_norm(x, *params, epsilon=epsilon, axis=kept[0])
        elif centred:
            y = b.layer_norm(x, *params, axes=axes, epsilon=epsilon)
        else:
            y = b.rms_norm(x, params[0], axes=axes, epsilon=epsilon)
        return y

    return r.put(value, nodes, make)


# ---- with statistics that are constants


def constant_statistics(r: Rewriter, node: Node) -> bool:
    """(x - mean) * scale + bias of constants along one axis (Keras's BatchNormalization on torch, partly folded): batch_norm of
    variance 1 and epsilon 0. Without a mean it is a factor and an addend, and stays that."""
    x, mean = node.inputs
    if x is None or mean is None or mean.tensor is None or mean.tensor.size < 2 or x.tensor is not None or x.rank is None:
        return False
    parts: list[Value] = [mean]
    last, size = node, mean.tensor.size
    for op in ("mul", "add"):
        y = last.output
        user, i = y.uses[0] if len(y.uses) == 1 and y not in r.outputs else (last, 0)
        while user.op == "cast" and user.attrs["to"] is y.dtype and len(user.output.uses) == 1 and user.output not in r.outputs:
            user, i = user.output.uses[0]
        other = user.inputs[1 - i] if user.op == op and len(user.inputs) == 2 else None
        if other is None or other.tensor is None:
            return False
        parts.append(other)
        last = user
    places = {varies(p, x.rank) for p in parts}
    axis = places.pop() if len(places) == 1 else None
    nodes = r.region([last.output], {r.view.form(x)})
    if axis is None or len(axis) != 1 or not axis[0] or nodes is None or not r.closed(nodes, {last.output}):
        return False

    def make(b: Any) -> Value:
        m, scale, bias = (over(r, p, x.rank or 0, axis) for p in parts)
        one = b.const([1.0] * size, mean.dtype)
        y: Value = b.batch_norm(x, scale, bias, m, one, epsilon=0.0, axis=axis[0])
        return y

    return r.put(last.output, nodes, make)


# ---- over the 2-norm


def _l2(r: Rewriter, value: Value, g: Form, root: _Root, x: Value, tolerance: float) -> bool:
    """x over its norm; the rest of the factors says where epsilon is."""
    view = r.view
    k, factors = view.factors(g)
    kx, wanted = view.factors(root.x)
    left = less(factors, wanted)
    if left is None or len(left) != 1 or abs(k - kx) > tolerance * abs(kx):
        return False
    (((base, kind), n),) = left.items()
    if n != 1:
        return False
    norm = view.root(root.square)
    epsilon = root.epsilon
    mode: Any = ""
    if (base, kind) == (root.square, INVERSE_HALF):
        clipped = root.square.op == "clip"
        mode = "max_square" if clipped else "add_square" if epsilon else "max_norm"
        epsilon = root.square.key[0] if clipped else epsilon
    elif base.op == "clip" and not epsilon and root.square.op != "clip":
        if kind == INVERSE and base.args[0] is norm and base.key[1] == math.inf and base.key[0] > 0:
            mode, epsilon = "max_norm", base.key[0]
        elif kind == ONE and base.args[0] is view.invert(norm) and base.key[0] == -math.inf and base.key[1] > 0:
            mode, epsilon = "max_norm", 1 / base.key[1]
    nodes = r.region([value], {root.x}) if mode else None
    if nodes is None or not r.one_layer(nodes):
        return False
    epsilon = shortest(epsilon, x.dtype)
    return r.put(value, nodes, lambda b: b.l2_normalize(x, axes=root.axes, epsilon=epsilon, mode=mode))

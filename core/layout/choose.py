"""The cut: which nodes run in source order and which in target order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..ir.graph import Graph, Node, Value
from ..opset.axes import Axes, Axis, Perm
from .carried import Carried, NodeRule
from .convention import Convention
from .mincut import FREE, SOURCE, TARGET, Choice
from .orders import Order, identity, moved_elements, order_of
from .rules import perm_through

__all__ = ["choose"]

_SCALE = 1 << 20  # one moved element, in units of a soft preference


def choose(
    graph: Graph,
    convention: Convention,
    rules: Mapping[str, NodeRule | None],
    cand: Mapping[Value, Order],
    cars: Mapping[Node, Carried],
    pins: dict[Node, int],
    touched: Mapping[Node, None],
    io_order: Callable[[Value], Order | None],
) -> tuple[dict[Node, int], dict[Node, int]]:
    """The state of every node in ``touched``, for transposes as consumers; their states as producers apart.

    Cost of an edge: the elements of a value for which any consumer is in another state than its producer. An input that
    would need a third order costs its elements in target state.
    """
    choice = Choice()
    s_var, t_var = choice.variable(SOURCE), choice.variable(TARGET)
    var_in: dict[Node, int] = {}
    var_out: dict[Node, int] = {}
    soft = bool(convention.axis_at or convention.axes_last)
    for node in touched:
        pin = pins.get(node)
        if pin is not None:
            var_in[node] = t_var if pin == TARGET else s_var
        elif node in cars:
            var_in[node] = choice.variable(FREE)
            if soft:
                _preference(choice, convention, rules[node.op], node, cars[node], var_in[node])
        else:
            var_in[node], var_out[node] = _transpose(choice, node, rules[node.op], cand, pins, s_var)
    outputs = dict.fromkeys(graph.outputs)
    for v, o in cand.items():
        shape = v.shape
        if shape is None:
            continue
        weight = moved_elements(shape, identity(len(shape)), o) * _SCALE
        if not o.plain:  # three nodes instead of one: rather before the reshape
            weight += _SCALE >> 1
        p = s_var
        if v.producer is None:
            if io_order(v) is o:
                p = t_var
        else:
            car = cars.get(v.producer)
            if car is None:
                p = var_out.get(v.producer, s_var)
            elif car.outs[v.index] is o:
                p = var_in[v.producer]
        both: list[int] = []
        extra: list[int] = []  # in target state they need a third order
        for user, i in v.uses:
            c = var_in[user]
            if c != s_var:
                car = cars.get(user)
                if car is not None:
                    q = car.ins[i]
                    if q is None or q.identity:
                        c = s_var
                    elif q is not o:
                        extra.append(c)
                        choice.unary(c, target=weight)
                        continue
            both.append(c)
        if v in outputs:
            both.append(t_var if io_order(v) is o else s_var)
        if both:
            choice.link(p, both, weight, SOURCE)
        if both or extra:
            choice.link(p, both + extra if extra else both, weight, TARGET)
    state = choice.solve()
    for node in var_in:
        var_in[node] = state[var_in[node]]
    return var_in, {n: state[x] for n, x in var_out.items()}


def _preference(choice: Choice, convention: Convention, rule: NodeRule | None, node: Node, car: Carried, var: int) -> None:
    """A unit of cost on the state in which the special axes are not where the target likes them."""
    x = node.inputs[0] if node.inputs else None
    if rule is None or x is None or x.rank is None:
        return
    at, rank = convention.axis_at.get(node.op), x.rank
    spec = rule.rule
    if at is not None and isinstance(spec, Axis) and -rank <= at < rank:
        wanted: list[int] = [at % rank]
    elif convention.axes_last and isinstance(spec, Axes) and spec.fixed and isinstance(node.attrs[spec.attr], tuple):
        wanted = list(range(rank - len(node.attrs[spec.attr]), rank))
    else:
        return

    def good(a: Any) -> bool:
        return sorted(a if isinstance(a, tuple) else (a,)) == wanted

    choice.unary(var, source=int(not good(node.attrs[spec.attr])), target=int(not good(car.attrs[spec.attr])))


def _transpose(
    choice: Choice, node: Node, rule: NodeRule | None, cand: Mapping[Value, Order], pins: dict[Node, int], s_var: int
) -> tuple[int, int]:
    """A transpose of the source model absorbs an order on either side; it costs nothing where it becomes the identity."""
    x, y = node.inputs[0], node.output
    perm = node.attrs[rule.rule.attr] if rule is not None and isinstance(rule.rule, Perm) else ()
    if x is None or x.shape is None or len(perm) != len(x.shape):
        pins[node] = SOURCE
        return s_var, s_var
    same = identity(len(perm))
    weight = moved_elements(x.shape, same, order_of(perm)) * _SCALE
    cx, cy = cand.get(x), cand.get(y)
    if cx is not None and cy is not None and not (cx.plain and cy.plain) and perm_through(perm, cx) is cy:
        var = choice.variable(FREE)
        choice.unary(var, source=weight)
        return var, var
    top = cx if cx is not None and cx.plain else None  # what is permuted inside an axis is not absorbed
    end = cy if cy is not None and cy.plain else None
    var_in = s_var if top is None else choice.variable(FREE)
    var_out = s_var if end is None else choice.variable(FREE)

    def price(i: Order | None, o: Order | None) -> int:
        return 0 if perm_through(perm, i or same) is (o or same) else weight

    a, b, c, d = price(None, None), price(None, end), price(top, None), price(top, end)
    if b + c - a - d < 0:  # no cut can express it: the transpose counts as free
        return var_in, var_out
    for v, gain in ((var_in, c - a), (var_out, d - c)):
        if v != s_var:
            choice.unary(v, source=max(0, -gain), target=max(0, gain))
    if var_in != s_var and var_out != s_var:
        choice.pair(var_in, var_out, b + c - a - d)
    return var_in, var_out

"""Layout-bearing ops: from one value of the layout attribute to another."""

from __future__ import annotations

from ..ir.graph import Node
from ..opset.axes import Layout
from .carried import Carried, Known, NodeRule, applies, rank_of
from .orders import Order, order_of

__all__ = ["layout_orders", "to_layout"]


def layout_orders(rule: Layout, current: str, wanted: str, name: str, rank: int) -> Order | None:
    """The order by which the named input or output changes from one value of the layout attribute to another.

    None if the name has another number of axes than its form.
    """
    key = (id(rule), current, wanted, name, rank)
    found = _layouts.get(key)
    if found is None or found[0] is not rule:
        found = _layouts[key] = (rule, _layout_order(rule.forms[current][name], rule.forms[wanted][name], rank))
    return found[1]


_layouts: dict[tuple[int, str, str, str, int], tuple[Layout, Order | None]] = {}


def _letters(form: str, rank: int) -> list[str] | None:
    spread = rank - len(form) + 1
    if "*" not in form:
        return list(form) if rank == len(form) else None
    if spread < 0:
        return None
    i = form.index("*")
    return [*form[:i], *(f"*{n}" for n in range(spread)), *form[i + 1 :]]


def _layout_order(frm: str, to: str, rank: int) -> Order | None:
    a, b = _letters(frm, rank), _letters(to, rank)
    if a is None or b is None or sorted(a) != sorted(b):
        return None
    return order_of([a.index(c) for c in b])


def to_layout(node: Node, rule: NodeRule, wanted: str) -> Carried | None:
    """A layout-bearing node under another value of its layout attribute."""
    spec = rule.rule
    assert isinstance(spec, Layout)
    current = node.attrs[spec.attr]
    if current not in spec.forms or wanted not in spec.forms:
        return None
    key = (current, wanted, *[rank_of(v) for v in node.inputs], -2, *[rank_of(v) for v in node.outputs])
    found = rule.alike.get(key)
    if found is not None:
        return found
    named = spec.forms[current]
    args = rule.decl.inputs
    ins: list[Order | None] = []
    for i, v in enumerate(node.inputs):
        name = args[min(i, len(args) - 1)].name
        if v is None or name not in named:
            ins.append(None)
            continue
        order = layout_orders(spec, current, wanted, name, rank_of(v))
        if order is None:
            return None
        ins.append(order)
    outs: list[Order | None] = []
    for i, v in enumerate(node.outputs):
        name = rule.decl.outputs[min(i, len(rule.decl.outputs) - 1)]
        order = layout_orders(spec, current, wanted, name, rank_of(v)) if name in named else None
        if order is None and name in named:
            return None
        outs.append(order)
    done = rule.alike[key] = Carried(tuple(ins), tuple(outs), {spec.attr: wanted})
    return done


@applies(Layout)
def _layout(node: Node, rule: NodeRule, slot: int, order: Order, known: Known) -> Carried | None:
    """A layout-bearing node without a wish: it takes any order that is one of its layouts."""
    spec = rule.rule
    assert isinstance(spec, Layout)
    for wanted in spec.forms:
        done = to_layout(node, rule, wanted)
        if done is None:
            return None
        got = done.ins[slot] if slot >= 0 else done.outs[~slot]
        if got is order:
            return done
    return None

"""Nodes of changed samples (``changed_samples.py``), as the rules that write a format take or refuse them."""

from __future__ import annotations

from typing import Any

from tests.support.changed_samples import Changed

from convcore.build.builder import Builder
from convcore.emit.dialect import Dialect
from convcore.emit.scribe import Scribe
from convcore.errors import UnsupportedError
from convcore.ir.dtypes import type_of
from convcore.ir.graph import Graph, Value
from convcore.opset.declare import Op
from convcore.opset.traits import Role
from convcore.rules.ruleset import RuleSet


def reason(decl: Op, c: Changed, rules: RuleSet[Any, Any], dialect: Dialect, version: int | None = None) -> str:
    """Why no rule writes the node, its parameters and indices as weights; "" where one does. ShapeError: no such node."""
    g = Graph(decl.name)
    b = Builder(g)
    ins: list[Value | None] = []
    for i, a in enumerate(c.arrays):
        t: Any = None if a is None else type_of(a)
        held = i > 0 and decl.inputs and decl.role(i) is not Role.DATA
        if a is None:
            ins.append(None)
        elif held and not t.is_container:
            ins.append(b.weight(a, f"w{i}"))
        else:
            ins.append(b.input(f"x{i}", t, None if t.is_container else a.shape))
    node = b.node(decl.name, ins, c.attrs)
    g.outputs = list(node.outputs)
    scribe = Scribe(g, rules, version, dialect, {}, lambda s: [])
    try:
        if problems := scribe.dialect.enter(scribe):
            return "; ".join(p.why for p in problems)
        return rules.apply_emit(scribe, node)
    except UnsupportedError as e:
        return str(e)

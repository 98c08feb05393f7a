"""From a graph to a plan: every node by its rule; a composite without one by its body, whose nodes are tried in turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from ..build.builder import Builder
from ..build.opaque import problem_of
from ..errors import Problem, ShapeError, UnsupportedError
from ..ir.graph import Graph, Node, Value
from ..opset import Trait, find_op, traits_of
from ..passes.constants import fold_constants
from ..records import dataclass
from ..rules import RuleSet
from .dialect import Dialect
from .parts import replaced, widen
from .plan import Plan
from .scribe import Scribe
from .small import widen_constants

__all__ = ["expand", "legalise", "plan"]


def plan(
    graph: Graph, rules: RuleSet[Any, Any], version: int | None, dialect: Dialect, overrides: Mapping[str, Any] | None = None
) -> Plan:  # fmt: skip
    """The plan of a laid-out graph, which is changed on the way. UnsupportedError lists everything that the target lacks."""
    s = Scribe(graph, rules, version, dialect, overrides, _write)
    problems = _whole(s)
    if problems:
        raise UnsupportedError(problems)
    return s.plan


def legalise(
    graph: Graph, rules: RuleSet[Any, Any], version: int | None, dialect: Dialect | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> list[Problem]:  # fmt: skip
    """Replace what the target has no rule for by its body until every node has one; what stays without: a problem per layer.

    Rules are tried, not only looked up: one that cannot express a node counts as none. The graph is changed. Empty: nothing
    stands in the way.
    """
    try:
        return _whole(Scribe(graph, rules, version, dialect or Dialect(), overrides, _write))
    except UnsupportedError as e:
        return list(e.problems)


def _whole(s: Scribe[Any]) -> list[Problem]:
    problems: list[Problem] = s.dialect.enter(s)
    if not s.dialect.has_small_types:
        widen_constants(s.graph)
        every = [(v.name, v) for v in s.graph.inputs] + [
            (n.origin.layer or n.name, v)
            for n in s.graph
            for v in (*n.inputs, *n.outputs)
            if v is not None and v not in s.graph.inputs
        ]
        small = {name: v.dtype for name, v in every if v.dtype is not None and v.dtype.is_small}
        why = f"{s.rules.framework} has no tensors of "
        problems += [Problem(name, str(d), why + str(d), code="unsupported_dtype") for name, d in small.items()]
    if not s.dialect.has_containers:
        held = [v for v in s.graph.inputs if v.dtype is not None and v.dtype.is_container]
        why = f"{s.rules.framework} has no sequences and no values that may be absent"
        problems += [Problem(v.name, str(v.dtype), why, code="unsupported_input") for v in held]
    problems += [p for p in _write(s) if p not in problems]
    if not problems:
        problems = s.dialect.leave(s)
    return problems


def _write(s: Scribe[Any]) -> list[Problem]:
    """Write every node of a scribe's graph, in order; a problem per layer that has any."""
    walk = _Walk(s)
    for node in s.graph:
        walk.node(node, None)
    s.node = None
    return _one_each(walk.problems)


@dataclass
class _Composite:
    """A node of the graph that is spelled out, and what its parts lack."""

    node: Node
    why: str
    tried: set[str] = field(default_factory=set)
    lacking: dict[str, str] = field(default_factory=dict)
    hints: dict[str, None] = field(default_factory=dict)
    codes: dict[str, None] = field(default_factory=dict)


class _Walk:
    """Writes nodes. After a failure a node's outputs are stand-ins, so that the rest is tried too.

    An opaque node of the target's own framework is written back as it was. Where a refused opaque node leaves the number of
    axes unknown, what can be said of a node is only whether there is a rule or body for its op.
    """

    def __init__(self, s: Scribe[Any]) -> None:
        self.s = s
        self.problems: list[Problem] = []
        self.lost: set[Value] = set()
        self.plain = f"{s.rules.framework} has no counterpart"

    def node(self, node: Node, of: _Composite | None) -> None:
        s = self.s
        s.node = node
        if of is not None:
            of.tried.add(node.op)
        try:
            if node.op == "opaque":
                self._opaque(node)
                return
            if s.gives(node) or (self.lost and self._loses(node)):
                return
            why = s.rules.apply_emit(s, node, s.overrides)
        except UnsupportedError as err:
            self._refused(node, of, err)
            return
        if not why:
            return
        decl, parts, root = find_op(node.op), list[Node](), of or _Composite(node, why)
        if decl is not None and decl.body is not None:
            for name in decl.training_facts(node.attrs):
                s.leave_out(f"{name} ({node.op})", node)
            try:
                parts = _parts(s.graph, node, "decompose", keeps_trained=s.dialect.keeps_trained)
            except ShapeError as err:  # the body needs to know more about its inputs
                why = f"{why}; made of simpler ops: {err}"
        if node.graph is s.graph and s.dialect.wider:
            parts = widen(s.graph, node, s.dialect.wider)
        if node.graph is not s.graph:
            root.tried.discard(node.op)
            for part in parts:
                if part.graph is s.graph:
                    self.node(part, root)
            if of is None:
                self._report(root)
            return
        self._skip(node)
        if of is not None:
            of.lacking.setdefault(node.op, "" if why == self.plain else why)
        else:
            self.problems.append(_problem(node, f"op {node.op}: {why}"))

    def _opaque(self, node: Node) -> None:
        if node.attrs["framework"] != self.s.rules.framework:
            raise UnsupportedError(problem_of(node))
        self.s.dialect.opaque(self.s, node)

    def _loses(self, node: Node) -> bool:
        """Whether nothing more can be said of a node behind one whose axes are unknown."""
        if not any(v in self.lost for v in node.inputs):
            return False
        self.lost.update(v for v in node.outputs if v.shape is None)
        decl = find_op(node.op)
        if not self.s.rules.emit_rules.get(node.op) and (decl is None or decl.body is None):
            return False
        self._skip(node)
        return True

    def _refused(self, node: Node, of: _Composite | None, err: UnsupportedError) -> None:
        self._skip(node)
        if node.op == "opaque":
            self.lost.update(v for v in node.outputs if v.shape is None)
        layer = node.origin.layer or node.name
        for p in err.problems:
            if of is None or p.layer != layer:
                self.problems.append(p)
                continue
            of.lacking.setdefault(node.op, p.why)
            of.codes[p.code] = None
            if p.hint:
                of.hints[p.hint] = None

    def _report(self, root: _Composite) -> None:
        """The composite by its own name; a part of its body only where that one is all that is missing."""
        if not root.lacking:
            return
        why = f"op {root.node.op}: {root.why}"
        if len(root.lacking) > 1 or (len(root.tried) == 1 and not any(root.lacking.values())):
            told = {part: reason for part, reason in root.lacking.items() if reason and self.s.version is not None}
            if told:  # a version of the format has them
                why += "; made of simpler ops it lacks " + ", ".join(f"{part} ({reason})" for part, reason in told.items())
            self.problems.append(_problem(root.node, why))
            return
        ((part, reason),) = root.lacking.items()
        why += f"; made of simpler ops it lacks {part}" + (f" ({reason})" if reason else "")
        self.problems.append(_problem(root.node, why, "; ".join(root.hints), next(iter(root.codes), "unsupported_op")))

    def _skip(self, node: Node) -> None:
        for v in node.outputs:
            self.s.skip(v)


def _problem(node: Node, why: str, hint: str = "", code: str = "unsupported_op") -> Problem:
    o = node.origin
    return Problem(o.layer or node.name, o.type or node.op, why, hint, code)


def _one_each(problems: list[Problem]) -> list[Problem]:
    """One problem per layer: what stands in the way of it, with every hint; the code of the first."""
    by_layer: dict[tuple[str, str], list[Problem]] = {}
    for p in dict.fromkeys(problems):
        by_layer.setdefault((p.layer, p.type), []).append(p)
    out = []
    for (layer, type_), found in by_layer.items():
        whys, hints = (dict.fromkeys(filter(None, texts)) for texts in ((p.why for p in found), (p.hint for p in found)))
        out.append(Problem(layer, type_, "; ".join(whys), "; ".join(hints), found[0].code))
    return out


# ---- bodies
def expand(graph: Graph, node: Node, by: str = "decompose") -> Node | None:
    """Replace a composite by its body, constants folded; returns the node after what was before it."""
    before = node.previous
    _parts(graph, node, by, keeps_trained=False)
    return before.next if before is not None else graph.first


def _parts(graph: Graph, node: Node, by: str, *, keeps_trained: bool) -> list[Node]:
    """Replace a composite by its body; returns the nodes made (some of which may be folded away)."""
    decl = find_op(node.op)
    if decl is None or decl.body is None:
        raise ShapeError(f"op {node.op} has no body")
    before = node.previous
    b = Builder(graph, before=node, origin=node.origin.by(by))
    b.prefix = node.name
    ins = list(node.inputs)
    if not (decl.inputs and decl.inputs[-1].variadic):
        ins += [None] * (len(decl.inputs) - len(ins))
    regions = {"regions": node.regions} if decl.regions else {}
    result = decl.body(b, *ins, **node.attrs, **regions)
    outs = list(result) if isinstance(result, tuple) else [result]
    made = replaced(graph, node, before, outs, by)
    fold_constants(graph, nodes=(n for n in made if not (keeps_trained and _computes_trained(n))))
    return made


def _computes_trained(node: Node) -> bool:
    """Whether it computes from a trained weight; a weight that is only moved is the same one."""
    return Trait.VIEW not in traits_of(node.op) and any(v is not None and v.trainable for v in node.inputs)

"""A framework's rules: rows and functions, matched by priority and by how specific their conditions are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic

from ..errors import ConvcoreError, DeclarationError, PluginBugError, UnsupportedError, ask_override
from ..ir.graph import Node, Value
from ..opset import find_op
from .calls import Call
from .foreign import EmitContext, ForeignNode, LoadContext
from .functions import (
    EmitFn,
    EmitFunction,
    EmitRule,
    LoadFunction,
    LoadRule,
    PostFn,
    PreFn,
    described,
    function_json,
    joined,
    no_conflict,
    ordered,
    overridden,
    written,
)
from .isomorphisms import NotExpressible
from .row_fields import pairs
from .rows import Rank, Row

__all__ = ["EmitFunction", "LoadFunction", "RuleSet"]

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # defaults: PEP 696, Python 3.13

    G = TypeVar("G", bound=LoadContext, default=LoadContext)
    N = TypeVar("N", bound=ForeignNode, default=ForeignNode)
else:
    from typing import TypeVar

    G, N = TypeVar("G"), TypeVar("N")

UNKNOWN = frozenset({"unknown_shape", "unknown_dtype", "requires_constant_input"})
"""Codes of problems that come from too little being known of an input."""

_BRACKETS = str.maketrans("", "", "[]")

R = TypeVar("R")
"""What a load function returns: a value or a sequence of them."""


class RuleSet(Generic[G, N]):
    """The mapping rules of one framework; ``RuleSet[OnnxContext, OnnxNode]`` types what its load functions are handed.

    ``distribution`` is the package they come from; several sets of one framework are merged by :meth:`merged`. ``emits`` is a
    module that adds functions which write: it is imported when rules that write are first asked for, not to read a model.
    """

    def __init__(self, framework: str, distribution: str = "convcore", emits: str = "") -> None:
        self.framework, self.distribution = framework, distribution
        self.load_rules: dict[str, list[LoadRule]] = {}
        self._emit_rules: dict[str, list[EmitRule]] = {}
        self._later: Callable[[], object] | None = (lambda: import_module(emits)) if emits else None
        self.ignored: set[str] = set()
        self.posts: dict[str, PostFn] = {}
        self.pres: dict[str, PreFn] = {}
        self._orders: dict[tuple[str, str, int | None], tuple[list[Any], list[Any]]] = {}

    @property
    def emit_rules(self) -> dict[str, list[EmitRule]]:
        """The rules that write, by op."""
        if self._later is not None:
            later, self._later = self._later, None
            try:
                later()
            except BaseException:
                self._later = later
                raise
        return self._emit_rules

    # ---- declaring
    def op(
        self,
        foreign: str | Call,
        op_name: str,
        inputs: str = "x",
        *,
        outputs: str = "",
        when: Mapping[str, Any] | None = None,
        ignore: Sequence[str] = (),
        since: int | None = None,
        until: int | None = None,
        priority: int = 0,
        direction: str = "both",
        then: Sequence[str] = (),
        doc: str = "",
        rank: int | Rank | Sequence[Rank] = (),
        alike: Sequence[str] = (),
        types: Mapping[str, str | Sequence[str]] | None = None,
        also: Call | Sequence[Call] = (),
        unless: Mapping[str, Any] | None = None,
        one_of: Sequence[str] = (),
        needs: Sequence[str] = (),
        fills: Mapping[str, float] | None = None,
        numbers: Mapping[str, str] | None = None,
        spans: Sequence[str] = (),
        **mapping: Any,
    ) -> Row:
        """Add a row.

        ``inputs`` pairs foreign inputs, in order, with the op's: ``"X=x, W=w"``; ``"shape=_"`` is a constant input read by
        ``I("shape")``, ``"inputs=xs*"`` takes all the rest, ``"[inputs]=xs*"`` as one argument that is a list. ``outputs``
        likewise (default: the op's first); ``"indices=_"`` is a result that nobody reads. ``when`` are conditions on foreign
        attributes (a value, a set of values, None for unset). ``ignore`` names foreign attributes without meaning for
        inference. ``since``/``until`` bound the format's version (an opset). ``direction`` is both, load or emit. ``then``
        names post steps of the rule set (e.g. a fused activation) run on the first output. ``rank`` is the number of axes of
        the first input where a foreign type takes only one (Keras's UpSampling2D), or a ``Rank``, or several. ``alike``
        ("rank", "dtype") says in what all inputs must agree, ``types`` of which element types an input of the op must be
        (``{"x": "float"}``), ``needs`` which inputs the op may do without and the foreign type may not. A ``Call`` as
        ``foreign`` gives the signature of a function; ``also`` names functions that mean the same as the layer, with its
        weights as arguments. ``unless`` are values of the op's attributes for which the row does not emit; of the ``one_of``
        attributes it emits only one that is not all ones. ``fills`` are inputs that the op may do without and the foreign type
        may not, with the number that stands for a missing one: a vector along the op's ``axis`` (or its ``axes``). ``numbers``
        are inputs that, where they are constants of one element, may be written as numbers, since the other input named tells
        their type (``{"y": "x"}``). ``spans`` are parameters that lie along all of the op's ``axes``, in order, none broadcast.
        The key of a ``Size`` or ``Given`` may end in ``_`` where the op has an input of the foreign attribute's name.
        """
        decl = find_op(op_name)
        ranks = (Rank(rank),) if isinstance(rank, int) else (rank,) if isinstance(rank, Rank) else tuple(rank)
        call, foreign = (foreign, foreign.name) if isinstance(foreign, Call) else (None, foreign)
        if decl is None:
            raise DeclarationError(f"row {foreign}: unknown op {op_name!r}")
        outs = pairs(outputs) if outputs else ((decl.outputs[0], decl.outputs[0]),)
        calls = (also,) if isinstance(also, Call) else tuple(also)
        for t in then:
            if t not in self.posts:
                raise DeclarationError(f"row {foreign}: unknown post step {t!r}")
        for t in (t for c in (call, *calls) if c is not None for t in c.before):
            if t not in self.pres:
                raise DeclarationError(f"row {foreign}: unknown step before {t!r}")
        row = Row(
            foreign, op_name, pairs(inputs.translate(_BRACKETS)), outs, dict(mapping), dict(when or {}), tuple(ignore),
            since, until, priority,
            direction if call is None or call.direction == "both" else call.direction, tuple(then), self.distribution, doc, ranks,
            tuple(alike), {k: (v,) if isinstance(v, str) else tuple(v) for k, v in (types or {}).items()}, call,
            dict(unless or {}), tuple(one_of), tuple(needs), dict(fills or {}), dict(numbers or {}), "[" in inputs,
            tuple(spans),
        )  # fmt: skip
        for r in (row, *row.faces(calls)):
            r.validate()
            if r.direction in ("both", "load"):
                self.load_rules.setdefault(r.foreign, []).append(r)
            if r.direction in ("both", "emit"):
                self._emit_rules.setdefault(op_name, []).append(r)
        return row

    def load(
        self,
        *foreign: str,
        since: int | None = None,
        until: int | None = None,
        when: Mapping[str, Any] | None = None,
        priority: int = 0,
        then: Sequence[str] = (),
    ) -> Callable[[Callable[[G, N], R]], Callable[[G, N], R]]:
        """Decorate a function ``(g, node) -> Value | sequence`` that loads the named foreign types."""

        def add(fn: Callable[[G, N], R]) -> Callable[[G, N], R]:
            for f in foreign:
                rule = LoadFunction(f, fn, since, until, dict(when or {}), priority, self.distribution, tuple(then))
                self.load_rules.setdefault(f, []).append(rule)
            return fn

        return add

    def emit(
        self, *ops: str, since: int | None = None, until: int | None = None, priority: int = 0
    ) -> Callable[[EmitFn], EmitFn]:
        """Decorate a function ``(e, node)`` that emits the named ops."""

        def add(fn: EmitFn) -> EmitFn:
            for o in ops:
                if find_op(o) is None:
                    raise DeclarationError(f"emit rule for the unknown op {o!r}")
                rule = EmitFunction(o, fn, since, until, priority, self.distribution)
                self._emit_rules.setdefault(o, []).append(rule)
            return fn

        return add

    def post(self, name: str) -> Callable[[Callable[[G, N, Value], Value]], Callable[[G, N, Value], Value]]:
        """Decorate a post step ``(g, node, value) -> value`` that rows name in ``then``."""

        def add(fn: Callable[[G, N, Value], Value]) -> Callable[[G, N, Value], Value]:
            self.posts[name] = fn
            return fn

        return add

    def before(self, name: str) -> Callable[[Callable[[G, N, Sequence[str]], N]], Callable[[G, N, Sequence[str]], N]]:
        """Decorate a step ``(g, node, operands) -> node`` that calls of functions name in ``before``: the node with its operands,
        arguments by these names, made ready."""

        def add(fn: Callable[[G, N, Sequence[str]], N]) -> Callable[[G, N, Sequence[str]], N]:
            self.pres[name] = fn
            return fn

        return add

    def ignore(self, *names: str) -> None:
        """Attributes of every foreign node that have no meaning for inference."""
        self.ignored.update(names)

    # ---- merging
    @classmethod
    def merged(cls, sets: Iterable[RuleSet[Any, Any]]) -> RuleSet[Any, Any]:
        """All rules of one framework; PluginConflictError when two distributions claim a key with equal priority."""
        sets = list(sets)
        out = cls(sets[0].framework, sets[0].distribution)
        for s in sets:
            out.ignored |= s.ignored
            out.posts.update(s.posts)
            out.pres.update(s.pres)
            for key, lrules in s.load_rules.items():
                no_conflict(s.framework, key, out.load_rules.get(key, []), lrules)
                out.load_rules.setdefault(key, []).extend(lrules)

        def writers() -> None:
            found: dict[str, list[EmitRule]] = {}
            for s in sets:
                for key, erules in s.emit_rules.items():
                    no_conflict(s.framework, key, found.get(key, []), erules)
                    found.setdefault(key, []).extend(erules)
            out._emit_rules = found

        if all(s._later is None for s in sets):
            writers()
        else:
            out._later = writers
        return out

    # ---- applying
    def apply_load(self, g: LoadContext, node: ForeignNode, overrides: Mapping[str, Any] | None = None) -> tuple[Value, ...]:
        """Load a foreign node with the best matching rule; what a rule that gives up has made is undone.

        ``overrides`` maps a node name or foreign type to a function ``(g, node)`` that comes first; where it raises
        NotExpressible, the rules are tried. Raises UnsupportedError: no rule, conditions not met (each with its reason), or
        attributes nobody consumed. An exception that is no refusal is a bug of the rule: PluginBugError (UsageError from an
        override).
        """
        unmet: list[str] = []
        reasons: list[str] = []
        code, hint = "unsupported_attribute", ""
        for key in (node.name, node.type):
            if overrides and key in overrides:
                try:
                    return overridden(g, node, key, overrides[key])
                except NotExpressible as e:
                    reasons.append(str(e))
                    code, hint = e.code, e.hint
        rules = self.load_rules.get(node.type, [])
        if not rules and not reasons:
            raise node.refuse("no rule maps this type", f"`convcore rules` lists what is supported; a plugin or "
                              f"{ask_override(node.type)} can add it", "unsupported_layer")  # fmt: skip
        for rule in self._tried("load", node.type, rules, node.version):
            why = rule.mismatch(node)
            if why:
                unmet.append(why)
                continue
            node.fresh()
            try:
                with g.b.graph.attempt():
                    return self._loaded(rule, g, node)
            except NotExpressible as e:
                reasons.append(str(e))
                code, hint = e.code, e.hint
            except UnsupportedError as e:
                if code not in UNKNOWN:
                    raise
                first = e.problems[0]  # a better rule knew too little of the inputs: that is what the problem is
                whys = "; ".join(dict.fromkeys([*reasons, *(p.why for p in e.problems)]))
                raise node.refuse(whys, first.hint, code) from None
            except ConvcoreError:
                raise
            except Exception as e:  # a bug of the rule, whatever it is
                raise PluginBugError(rule.distribution, f"{described(rule)} for layer {node!r}", e) from e
        reasons = reasons or joined(unmet)
        if not reasons:
            versions = ", ".join(f"{r.since or ''}..{r.until or ''}" for r in rules)
            reasons = [f"version {node.version} is outside the supported versions ({versions})"]
        raise node.refuse("; ".join(dict.fromkeys(reasons)), hint, code)

    def writable(self, version: int | None) -> set[str]:
        """The ops that some rule of a version writes (it may still refuse a node)."""
        return {op for op, rules in self.emit_rules.items() if self._tried("emit", op, rules, version)}

    def _tried(self, direction: str, key: str, rules: list[Any], version: int | None) -> list[Any]:
        """The rules that a version has, in the order in which they are tried; kept for as long as the rules are the same."""
        at = direction, key, version
        found = self._orders.get(at)
        if found is None or found[0] != rules:
            found = self._orders[at] = (list(rules), ordered(rules, version, direction))
        return found[1]

    def _loaded(self, rule: LoadRule, g: LoadContext, node: ForeignNode) -> tuple[Value, ...]:
        """What one rule makes of a node, post steps included; refused where it left an attribute unread."""
        if isinstance(rule, Row) and rule.call is not None:
            for name in rule.call.before:
                node = self.pres[name](g, node, rule.operands)
        outputs = rule.load(g, node)
        for name in rule.then:
            outputs = (self.posts[name](g, node, outputs[0]), *outputs[1:])
        if self.ignored:
            node.ignore(*self.ignored)
        left = node.unread()
        if left:
            raise node.refuse(
                "attribute" + ("s" if len(left) > 1 else "") + " with unknown meaning: "
                + ", ".join(f"{k}={node.attrs[k]!r}" for k in left),
                code="unknown_attribute",
            )  # fmt: skip
        return outputs

    def apply_emit(self, e: EmitContext, node: Node, overrides: Mapping[str, Any] | None = None) -> str:
        """Emit an IR node with the best matching rule; returns "" or the reasons why none applies.

        ``overrides`` maps a node name or op to a function ``(e, node)`` that comes first; where it raises NotExpressible, the
        rules are tried.
        """
        reasons = []
        for key in (node.name, node.op):
            if overrides and key in overrides:
                why = written(e, node, key, overrides[key])
                if not why:
                    return ""
                reasons.append(why)
        for rule in self._tried("emit", node.op, self.emit_rules.get(node.op, []), e.version):
            try:
                with e.attempt():
                    rule.emit(e, node)
            except NotExpressible as err:
                reasons.append(str(err))
                continue
            except ConvcoreError:
                raise
            except Exception as err:  # a bug of the rule, whatever it is
                raise PluginBugError(rule.distribution, f"{described(rule)} for layer {node.origin}", err) from err
            return ""
        if not reasons:
            versions = [r.since for r in self.emit_rules.get(node.op, []) if r.since and e.version and r.since > e.version]
            reasons = [f"{self.framework} has it from version {min(versions)} on"] if versions else []
        return "; ".join(dict.fromkeys(reasons)) or f"{self.framework} has no counterpart"

    # ---- tables
    def rows(self) -> list[Row]:
        """Every row once."""
        seen: dict[int, Row] = {}
        every: list[Sequence[Any]] = [*self.load_rules.values(), *self.emit_rules.values()]
        for rules in every:
            for r in rules:
                if isinstance(r, Row):
                    seen[id(r)] = r
        return list(seen.values())

    def to_json(self) -> list[dict[str, Any]]:
        """Every rule as plain data; functions by module and name."""
        out = [r.to_json() for r in self.rows()]
        done: set[tuple[str, str]] = set()
        for lrule in (r for rules in self.load_rules.values() for r in rules if isinstance(r, LoadFunction)):
            out.append({"foreign": lrule.foreign, **function_json(lrule, "load")})
        for erule in (r for rules in self.emit_rules.values() for r in rules if isinstance(r, EmitFunction)):
            if (key := (erule.op_name, erule.fn.__qualname__)) not in done:
                done.add(key)
                out.append({"op": erule.op_name, **function_json(erule, "emit")})
        return out

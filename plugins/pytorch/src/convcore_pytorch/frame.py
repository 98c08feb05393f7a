"""The nodes of one graph: arguments, calls of rules, views and writes, types and shapes against what was traced."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from convcore.plugin import (
    Builder,
    DType,
    Graph,
    NotExpressible,
    Origin,
    Problem,
    Scope,
    Shape,
    UnsupportedError,
    Value,
)

from . import control, scalars
from .arguments import agree, arguments, handles, known_dtype, names, read, used
from .context import AtenNode, TorchContext, is_number
from .driver import AtenDriver
from .files.program import Graph as Body
from .files.program import Input, Node, Ref, SymValue, TensorValue, refs
from .memory import Handle, Memory, Step
from .signatures import Signature, signature
from .views import EACH, base_name, is_view, row_major, scatter_of, whole
from .writes import mutate

__all__ = ["Frame"]

ASSERTS = frozenset({
    "aten._assert_tensor_metadata", "aten._assert_scalar", "aten._assert_async", "aten.sym_constrain_range",
    "aten.sym_constrain_range_for_size", "aten._check_is_size", "aten.warn", "aten._assert_async.msg",
})  # fmt: skip
"""Checks and messages: no result, no effect on the values."""


class Frame:
    """One graph being filled: the whole program or a region of it."""

    def __init__(self, loader: Any, graph: Graph, body: Body, outer: Frame | None = None) -> None:
        self.loader, self.graph, self.body, self.outer = loader, graph, body, outer
        self.g = TorchContext(Builder(graph), self)
        self.b = self.g.b
        self.driver = AtenDriver("pytorch", self.g, loader.request.rules, loader.request.overrides)
        self.env: dict[str, Any] = {}
        self.waiting: dict[str, Input] = {}
        self.base: Scope = graph.root
        self.base_path = ""
        self.last: dict[str, float] = {}
        self.at = 0
        self.path = ""
        self._serial = 0

    # ---- names
    def known(self, name: str) -> TensorValue | SymValue | None:
        """What the program says about a value."""
        found = self.body.values.get(name)
        return self.outer.known(name) if found is None and self.outer is not None and self.body.captures else found

    def defer(self, name: str, spec: Input) -> None:
        """A weight that is made when it is used."""
        self.waiting[name] = spec

    def bind(self, name: str, value: Any) -> None:
        """Let a name mean a value."""
        self.env[name] = value
        for h in handles(value):
            h.names.append(name)

    def find(self, name: str) -> Any:
        if name not in self.env and name in self.waiting:
            self.bind(name, self.loader.weight(self, self.waiting[name], self.path))
        if name not in self.env and self.outer is not None:
            raise UnsupportedError(
                Problem(name, "value", "is used in a branch or loop that does not see it", "", "unsupported_op")
            )
        return self.env[name]

    def resolve(self, value: Any) -> Any:
        """An argument with its references replaced by handles, numbers, lists."""
        if isinstance(value, Ref):
            return self.find(value.name)
        if isinstance(value, (list, tuple)):
            return [self.resolve(v) for v in value]
        if isinstance(value, Mapping):
            return {k: self.resolve(v) for k, v in value.items()}
        return value

    def flat(self, value: Any) -> Iterator[Any]:
        """The leaves of an output."""
        value = self.resolve(value)
        stack = [value]
        while stack:
            v = stack.pop()
            if isinstance(v, (list, tuple)):
                stack.extend(reversed(v))
            elif isinstance(v, Mapping):
                stack.extend(reversed(list(v.values())))
            else:
                yield v

    # ---- nodes
    def nodes(self) -> None:
        """All nodes of the body."""
        for i, n in enumerate(self.body.nodes):
            for name in used(n):
                self.last[name] = i
        for ref in refs(self.body.outputs):
            self.last[ref.name] = math.inf
        for i, n in enumerate(self.body.nodes):
            self.at = i
            self.node(n)

    def node(self, n: Node) -> None:
        """One node."""
        self.path = n.scopes[-1].path if n.scopes else self.base_path
        sig = signature(n.target) if n.target.startswith("aten.") else None
        kind = n.target.removesuffix(".default")
        if kind in ASSERTS:
            return
        name = self.driver.layer_name(f"{self.path}/{n.name or kind}" if self.path else n.name or kind)
        origin = Origin("pytorch", name, kind)
        with self.b.at(origin, self.loader.scope(self, n.scopes)):
            if self.number(n, kind):
                return
            try:
                if control.handles(kind):
                    control.run(self, n, kind, origin)
                else:
                    self.call(n, kind, sig, origin)
            except NotExpressible as e:  # of what is read and written, not of a rule: a view's shape may not be known
                lacking = "; ".join(dict.fromkeys(self.driver.lacking))
                hint = f"what comes before has no rule: {lacking}" if lacking else e.hint
                raise UnsupportedError(Problem(name, kind, str(e), hint, e.code)) from e

    def number(self, n: Node, kind: str) -> bool:
        """Nodes whose results are numbers or lists of what is known already; False for any other."""
        made = [o for o in n.outputs if isinstance(o, str)]
        if len(made) == 1 and len(n.outputs) == 1:
            told = self.known(made[0])
            if isinstance(told, SymValue) and told.expr is not None:
                value = told.expr if isinstance(told.expr, (bool, int, float)) else self.loader.symbols.dim(told.expr)
                if value is not None:
                    self.bind(made[0], value)
                    return True
            found = scalars.compute(self, kind, {a.name or str(i): self.resolve(a.value) for i, a in enumerate(n.arguments)})
            if found is not scalars.NONE:
                self.bind(made[0], found)
                return True
        elif kind == "prim.ListUnpack":
            items = self.resolve(n.arguments[0].value)
            if not isinstance(items, list) or len(items) != len(n.outputs):
                raise UnsupportedError(
                    Problem(
                        n.name, kind, f"takes a list apart into {len(n.outputs)}, which has another length", "", "unsupported_op"
                    )
                )
            for o, v in zip(n.outputs, items):
                self.bind(str(o), v)
            return True
        return False

    # ---- operators
    def call(self, n: Node, kind: str, sig: Signature | None, origin: Origin) -> None:
        """One operator by its rule; in-place ones by the rule of the same operator that is not."""
        given = {k: self.resolve(v) for k, v in arguments(n, sig).items()}
        written = [p.name for p in sig.parameters if p.mutated] if sig is not None else []
        if written:
            mutate(self, n, kind, sig, given, written, origin)
            return
        node = AtenNode(kind, origin.layer, read(given), sig, origin, self.told(n), [x for o in n.outputs for x in names(o)])
        first = next(handles(list(given.values())), None)
        if first is not None and not first.also and whole(s.op for s in first.steps):
            told = self.value_told(first)
            node.row_major = told is not None and row_major(told)
        if n.parts is not None and not self.driver.has_rule(node) and self.apart(n):
            return
        outs = self.results(node, n)
        if (
            n.parts is not None
            and self.driver.is_opaque(outs)
            and not self.driver.settled
            and self.driver.has_rule(node)
            and self.apart(n)
        ):
            return
        self.driver.parts = ""
        tensors = list(handles(list(given.values())))
        view = bool(tensors) and is_view(node, self.value_told(tensors[0]), self.known(next(n.made(), "")))  # type: ignore[arg-type]
        each = base_name(node) in EACH and len(tensors) == len(outs)
        made: list[Handle] = []
        for i, v in enumerate(outs):
            base = tensors[i if each else 0] if view is not False else None
            made.append(Handle(Memory(v)) if base is None else base.view(self.step(node, i, v, base, view is True), v))
        self.bind_results(n, list(n.made()), made)

    def apart(self, n: Node) -> bool:
        """A call by its simpler parts, where it has such and all of them have rules; False, and nothing is changed, otherwise."""
        body = n.parts() if n.parts is not None else None
        if body is None:
            return False
        operands = list(dict.fromkeys(r for a in n.arguments for r in refs(a.value)))
        tainted = any(self.driver.is_tainted(h.read()) for h in handles([self.resolve(o) for o in operands]))
        env, path, before = dict(self.env), self.path, len(self.driver.lacking)
        try:
            with self.graph.attempt():
                control.inline(self, body, operands, n, n.scopes)
                made = list(handles([self.env[name] for name in n.made()]))
                if not tainted and any(self.driver.is_tainted(h.read()) for h in made):
                    raise NotExpressible("a part of it has no rule")
        except (NotExpressible, UnsupportedError) as e:
            self.env = env
            lacking = [*dict.fromkeys(self.driver.lacking[before:])] or [str(e)]
            del self.driver.lacking[before:]
            self.driver.parts = "; ".join(lacking)
            return False
        else:
            del self.driver.lacking[before:]
        finally:
            self.path = path
        return True

    def serial(self) -> int:
        """A number no other call got."""
        self._serial += 1
        return self._serial

    def step(self, node: AtenNode, i: int, v: Value, first: Handle, sure: bool) -> Step:
        name = next(k for k, a in node.arguments.items() if a is first.read() or (isinstance(a, list) and first.read() in a))
        if not isinstance(node.arguments[name], Value):
            return Step(node.type, lambda _: v, None, False)
        return Step(node.type, lambda base: self.again(node.replaced(name, base), None)[i], scatter_of(self.g, node, i), sure)

    def again(self, node: AtenNode, base: Value | None) -> Sequence[Value]:
        """The results of a call once more, of another first tensor."""
        if base is not None:
            name = next(k for k, a in node.arguments.items() if isinstance(a, Value))
            node = node.replaced(name, base)
        return self.driver.load(node, len(node.results) or None)

    def bind_results(self, n: Node, flat: Sequence[str], made: Sequence[Handle]) -> None:
        if len(n.outputs) == 1 and isinstance(n.outputs[0], str) and self.listed(n):
            self.bind(n.outputs[0], list(made))
            return
        for name, h in zip(flat, made):
            self.bind(name, h)

    def listed(self, n: Node) -> bool:
        """Whether the one name a node makes is that of a list (TorchScript)."""
        sig = signature(n.target)
        return sig is not None and len(sig.returns) == 1 and sig.returns[0].endswith("[]")

    def told(self, n: Node) -> list[tuple[DType | None, Shape | None]]:
        """Types and shapes that were traced; shapes hold for the sizes that the program fixes only."""
        out: list[tuple[DType | None, Shape | None]] = []
        freed = self.loader.given.freed
        for name in n.made():
            t = self.known(name)
            if isinstance(t, TensorValue):
                out.append((known_dtype(t.dtype), None if freed else self.loader.symbols.shape(t.shape)))
            else:
                out.append((None, None))
        return out

    def value_told(self, h: Handle) -> TensorValue | None:
        for name in h.names:
            t = self.known(name)
            if isinstance(t, TensorValue):
                return t
        return None

    def results(self, node: AtenNode, n: Node) -> list[Value]:
        """The values of a call in the traced types, checked against the traced shapes."""
        wanted = len(node.outputs)
        while wanted > 1 and node.outputs[wanted - 1] not in self.last:  # nobody reads the last ones
            wanted -= 1
        listed = self.listed(n) and len(n.outputs) == 1 and isinstance(n.outputs[0], str)
        with self.b.attempt():
            values = list(self.driver.load(node, None if listed else wanted))
        if not listed:
            values = values[:wanted]
        if self.driver.is_opaque(values):
            return values
        out = []
        for v, (dtype, shape) in zip(values, node.results):
            if is_number(v):  # what an operator gives is a tensor
                v = self.b.weight(v.tensor, v.name, role=v.role)
            if dtype is not None and v.dtype is not None and v.dtype != dtype:
                v = self.b.cast(v, to=dtype)
            out.append(self.checked(node, v, shape))
        return out + values[len(out) :]

    def checked(self, node: AtenNode, v: Value, shape: Shape | None) -> Value:
        """The value, with sizes inference left open filled in; a contradiction is refused."""
        if shape is None:
            return v
        if v.shape is None:
            v.shape = shape
            return v
        same = len(v.shape) == len(shape) and all(agree(a, b) for a, b in zip(v.shape, shape))
        if not same:
            found = "x".join(map(str, v.shape)), "x".join(map(str, shape))
            raise node.refuse(f"gives {found[0]}, but torch recorded {found[1]}", code="invalid_shape")
        if v.tensor is None and None in v.shape:
            v.shape = tuple(b if a is None else a for a, b in zip(v.shape, shape))
        return v

    # ---- the end
    def finish(self) -> None:
        """Unused nodes out; what every module gives."""
        self.graph.remove_unused()
        outs = {id(v) for v in self.graph.outputs}
        found: dict[Scope, dict[Value, None]] = {}
        for node in self.graph:
            mine = [s for s in node.scope.ancestors() if s.parent is not None and s.type]
            for v in node.outputs:
                users = [set(u.scope.ancestors()) for u in v.users]
                for s in mine:
                    if id(v) in outs or any(s not in u for u in users):
                        found.setdefault(s, {})[v] = None
        for s in self.graph.scopes():
            if s in found:
                self.graph.set_results(s, found[s])

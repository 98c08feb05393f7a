"""The nodes of one graph: arguments, calls of rules, views and writes, types and shapes against what was traced."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from convcore.plugin import (
    Builder,
    Dim,
    DimLike,
    Driver,
    DType,
    ForeignNode,
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
from .context import AtenNode, TorchContext, dtype_of, is_number
from .files.program import Graph as Body
from .files.program import Input, Node, Ref, SymValue, TensorValue, refs
from .memory import Handle, Memory, Step, shared_steps
from .signatures import REQUIRED, Signature, signature
from .views import EACH, base_name, is_view, scatter_of

__all__ = ["Frame"]

ASSERTS = frozenset({
    "aten._assert_tensor_metadata", "aten._assert_scalar", "aten._assert_async", "aten.sym_constrain_range",
    "aten.sym_constrain_range_for_size", "aten._check_is_size", "aten.warn", "aten._assert_async.msg",
})  # fmt: skip
"""Checks and messages: no result, no effect on the values."""


RESHAPING = frozenset({"squeeze_", "unsqueeze_", "t_", "transpose_", "swapaxes_", "swapdims_"})
"""In-place operators that change no element, only how the tensor is seen."""


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
        for h in _handles(value):
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
            for name in _used(n):
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
            if control.handles(kind):
                control.run(self, n, kind, origin)
                return
            self.call(n, kind, sig, origin)

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
        handles = {k: self.resolve(v) for k, v in _arguments(n, sig).items()}
        written = [p.name for p in sig.parameters if p.mutated] if sig is not None else []
        if written:
            self.mutate(n, kind, sig, handles, written, origin)
            return
        node = AtenNode(kind, origin.layer, _read(handles), sig, origin, self.told(n), [x for o in n.outputs for x in _names(o)])
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
        tensors = list(_handles(list(handles.values())))
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
        tainted = any(self.driver.is_tainted(h.read()) for h in _handles([self.resolve(o) for o in operands]))
        env, path, before = dict(self.env), self.path, len(self.driver.lacking)
        try:
            with self.graph.attempt():
                control.inline(self, body, operands, n, n.scopes)
                made = list(_handles([self.env[name] for name in n.made()]))
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
        out: list[tuple[DType | None, Shape | None]] = []
        for name in n.made():
            t = self.known(name)
            if isinstance(t, TensorValue):
                out.append((_dtype(t.dtype), self.loader.symbols.shape(t.shape)))
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
        same = len(v.shape) == len(shape) and all(_agree(a, b) for a, b in zip(v.shape, shape))
        if not same:
            found = "x".join(map(str, v.shape)), "x".join(map(str, shape))
            raise node.refuse(f"gives {found[0]}, but torch recorded {found[1]}", code="invalid_shape")
        if v.tensor is None and None in v.shape:
            v.shape = tuple(b if a is None else a for a, b in zip(v.shape, shape))
        return v

    # ---- writes
    def mutate(
        self, n: Node, kind: str, sig: Signature | None, handles: Mapping[str, Any], written: Sequence[str], origin: Origin
    ) -> None:
        """An in-place operator: the same computed anew, written back where the tensor is a view, refused where neither is
        certain to give what others see of that memory."""
        assert sig is not None
        target = handles[written[0]]
        base = kind.split(".")[1]
        if kind == "aten.detach_":
            self.bind(next(n.made()), target)
            return
        twin = "aten." + base.removesuffix("_") + kind[len("aten." + base) :]
        if base in RESHAPING:
            self.reshaped(n, twin, handles, target, origin)
            return
        node = ForeignNode(kind, origin.layer, [], {}, origin=origin)
        if len(written) != 1 or not base.endswith("_") or not isinstance(target, Handle):
            raise node.refuse(f"writes into its arguments {', '.join(written)}", code="unsupported_mutation")
        if self.counts(target):
            self.bind_results(n, list(n.made()), [target])
            return
        self.may_write(target, node)
        read = _read(handles)
        old = read[written[0]]
        told = self.told(n)[:1] or [(old.dtype, old.shape)]
        new_sig = signature(twin if twin.count(".") > 1 else twin + ".default")
        call = AtenNode(twin, origin.layer, read, new_sig or sig, origin, [(told[0][0] or old.dtype, told[0][1])], [origin.layer])
        (v,) = self.driver.load(call, 1)[:1]
        if v.producer is None or v.producer.op != "opaque":
            v = self.checked(call, self.g.cast(v, old.dtype), old.shape)
        target.write(v)
        for name in n.made():
            self.bind(name, target)

    def reshaped(self, n: Node, twin: str, handles: Mapping[str, Any], target: Handle, origin: Origin) -> None:
        """An in-place operator that changes the tensor's shape and leaves its elements: every name of it now means the view."""
        twin = "aten.transpose.int" if twin == "aten.transpose" else twin
        sig = signature(twin if twin.count(".") > 1 else twin + ".default")
        names = list(n.made())
        node = AtenNode(twin, origin.layer, _read(handles), sig, origin, self.told(n)[:1], names[:1])
        (v,) = self.results(node, replace(n, outputs=tuple(names[:1])))[:1]
        view = target.view(self.step(node, 0, v, target, True), v)
        for name in [*target.names, *names]:
            self.bind(name, view)

    def counts(self, target: Handle) -> bool:
        """Whether a write is BatchNorm's count of batches, which says nothing about the results."""
        m = target.memory
        return m.kind == "buffer" and m.name.rpartition(".")[2] == "num_batches_tracked" and self.loader.training

    def may_write(self, target: Handle, node: ForeignNode) -> None:
        """Refuse a write that others might or might not see; cut what nobody else needs."""
        m = target.memory
        for held in (m, *target.also):
            if held.kind in ("parameter", "buffer", "constant"):
                raise node.refuse(
                    f"changes the {held.kind} {held.name!r}, so the model has a state",
                    "keep states as inputs and outputs",
                    "stateful",
                )
            if self.outer is not None and held.kind == "captured":
                raise node.refuse("writes into a tensor from outside of its branch or loop", code="unsupported_mutation")
        others = [h for h in m.handles if h is not target and self.alive(h)]
        unsure = [h for h in (*m.strangers, *(h for a in target.also for h in a.handles)) if h is not target and self.alive(h)]
        if unsure:
            seen = ", ".join(repr(x) for o in unsure for x in o.names[:1])
            raise node.refuse(
                f"writes into a tensor that may share memory with {seen}, which is read later",
                "clone() the tensor before it is changed", "unsupported_mutation",
            )  # fmt: skip
        if m.kind == "input":
            self.g.note(f"the model also writes into its input {m.name!r}; the result does not show that")
        keep = shared_steps([target, *others])
        for h in (target, *others):
            for s in h.steps[keep:]:
                if not s.sure or (h is target and s.scatter is None):
                    why = "is not certain to be a view" if not s.sure else "has no way back"
                    seen = ", ".join(repr(x) for o in others for x in o.names[:1]) or "nobody"
                    raise node.refuse(
                        f"writes into a tensor that {s.op} gives, which {why}, while {seen} is read later",
                        "clone() the tensor before it is changed", "unsupported_mutation",
                    )  # fmt: skip
        if keep:
            target.detach(keep, others)

    def alive(self, h: Handle) -> bool:
        """Whether a tensor is read after the node at work."""
        return any(self.last.get(name, -1) > self.at for name in h.names)

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


SETTLED = frozenset({"random", "training_mode", "undefined"})
"""Codes of refusals of what an operator means, which its parts mean too."""


class AtenDriver(Driver):
    """ATen calls by their rules. ``lacking``: what became opaque, and why; ``parts``: what kept the call at work from being
    written as its parts."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.lacking: list[str] = []
        self.parts = ""
        self.settled = False
        """Whether the last refusal holds whatever the operator's parts are."""

    def problem(self, node: ForeignNode, error: UnsupportedError) -> Problem:
        p = super().problem(node, error)
        self.settled = p.code in SETTLED
        self.lacking.append(f"{node.type} {p.why}")
        why, self.parts = (f"{p.why} (of its parts: {self.parts})" if self.parts else p.why), ""
        return Problem(p.layer, p.type, why, p.hint, p.code)

    def kept(self, node: ForeignNode) -> Mapping[str, Any]:
        given = node.given if isinstance(node, AtenNode) else {}
        return {k: _plain(v) for k, v in given.items()}

    def is_opaque(self, values: Sequence[Value]) -> bool:
        """Whether the results of a call are those of an opaque node."""
        return bool(values) and values[0].producer is not None and values[0].producer.op == "opaque"

    def declared(self, node: ForeignNode) -> Sequence[tuple[DType | None, Shape | None]]:
        return node.results if isinstance(node, AtenNode) else ()


def _plain(v: Any) -> Any:
    if isinstance(v, Value):
        return f"%{v.name}"
    if isinstance(v, (list, tuple)):
        return [_plain(i) for i in v]
    return v if v is None or isinstance(v, (bool, int, float, str)) else str(v)


def _dtype(name: str) -> DType | None:
    try:
        return dtype_of(name)
    except NotExpressible:
        return None


def _arguments(n: Node, sig: Signature | None) -> dict[str, Any]:
    """Arguments by the schema's names, defaults filled in."""
    if sig is None:
        return {a.name or str(i): a.value for i, a in enumerate(n.arguments)}
    out: dict[str, Any] = {}
    for p, a in zip(sig.parameters, (a for a in n.arguments if not a.name)):
        out[p.name] = a.value
    out.update((a.name, a.value) for a in n.arguments if a.name)
    full: dict[str, Any] = {}
    for p in sig.parameters:
        if p.name in out:
            full[p.name] = out.pop(p.name)
        elif p.default is not REQUIRED:
            full[p.name] = p.default
    return {**full, **out}


def _read(value: Any) -> Any:
    """Handles as values."""
    if isinstance(value, Handle):
        return value.read()
    if isinstance(value, (list, tuple)):
        return [_read(v) for v in value]
    if isinstance(value, dict):
        return {k: _read(v) for k, v in value.items()}
    return value


def _handles(value: Any) -> Iterator[Handle]:
    if isinstance(value, Handle):
        yield value
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from _handles(v)


def _names(out: str | tuple[str, ...] | None) -> Iterator[str]:
    if isinstance(out, tuple):
        yield from out
    elif out is not None:
        yield out


def _used(n: Node) -> Iterator[str]:
    """Names a node uses, those its bodies capture included."""
    stack: list[Any] = [a.value for a in n.arguments]
    while stack:
        v = stack.pop()
        if isinstance(v, Body):
            for inner in v.nodes:
                yield from _used(inner)
            stack.append(v.outputs)
        else:
            for r in refs(v):
                yield r.name


def _agree(a: DimLike | None, b: DimLike | None) -> bool:
    """Whether two sizes can be the same: equal at several values of their names."""
    if a is None or b is None or a == b:
        return True
    if isinstance(a, int) and isinstance(b, int):
        return False
    names = sorted((a.names if isinstance(a, Dim) else set()) | (b.names if isinstance(b, Dim) else set()))
    for base in (7, 12, 31):
        env = {n: base + 5 * i for i, n in enumerate(names)}
        x, y = (d.evaluate(env) if isinstance(d, Dim) else d for d in (a, b))
        if x == y:
            return True
    return False

"""What emit rules work with: one Scribe for every target; the target's :class:`Dialect` says what differs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from ..errors import Problem, UnsupportedError
from ..ir.dims import DimLike
from ..ir.dtypes import DType, exact_array
from ..ir.graph import Graph, Node, Value
from ..ir.tensors import Tensor, as_tensor
from ..rules import NotExpressible, RuleSet
from .dialect import Dialect
from .journal import Attempt, Journal
from .names import Names
from .plan import Arg, Block, Call, Plan, Ref, State, Unit
from .scopes import place
from .sizes import Sizes

__all__ = ["LEFT_OUT", "Scribe"]

D = TypeVar("D", bound=Dialect)


class _LeftOut:
    def __repr__(self) -> str:
        return "LEFT_OUT"


LEFT_OUT = _LeftOut()
"""Among ``outputs``: a result the target is not asked for. None there is a result that holds no value of the graph."""

Output = Any  # Value | None | LEFT_OUT


class _Shared:
    """What the scribes of a model's graph and regions have in common."""

    def __init__(self, dialect: Dialect) -> None:
        self.journal = Journal()
        self.plan = Plan(Block(), dialect, Names(self.journal, dialect.reserved), Names(self.journal))
        self.by_tensor: dict[tuple[Tensor, str], State] = {}
        self.consts: dict[Any, State] = {}
        self.units: dict[Any, Unit] = {}


class Scribe(Generic[D]):
    """The emit context. Handles are :class:`Ref` and :class:`State`: opaque to most rules, with ``dtype`` and ``shape``.

    ``version`` is the version of the format written; ``dialect`` is the target's own, with its options; ``node`` is the node
    being written.
    """

    def __init__(
        self, graph: Graph, rules: RuleSet[Any, Any], version: int | None, dialect: D, overrides: Mapping[str, Any] | None,
        write: Callable[[Scribe[D]], list[Problem]], outer: Scribe[D] | None = None,
    ) -> None:  # fmt: skip
        self.graph, self.rules, self.version, self.dialect = graph, rules, version, dialect
        self.overrides = overrides
        self.outer = outer
        self.node: Node | None = None
        self._write = write
        self._shared: _Shared = _Shared(dialect) if outer is None else outer._shared
        self.plan = self._shared.plan
        self.journal = self._shared.journal
        self.block = self.plan.root if outer is None else Block(graph.name or "body")
        self.bound: dict[Value, Arg] = {}
        self.sizes_known = Sizes(self)
        self._given: set[Value] = set()
        self._hollow: set[Ref] = set()  # stand-ins of given values, which nothing may read
        self._memo: dict[Hashable, Any] = {}
        self._eager, self._dtypes = dialect.eager_names, dialect.dtypes

    # ---- transaction
    def attempt(self) -> Attempt:
        """A context: what is written inside is undone when an exception leaves it."""
        return self.journal.attempt()

    def memo(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, once per key (until an attempt in which it was made fails)."""
        if key not in self._memo:
            made = make()
            self.journal.put(self._memo, key, made)
        return self._memo[key]

    # ---- names
    def own_name(self, name: str) -> str:
        """The name reserved for a value, or a fresh one (regions only get fresh ones)."""
        return self.plan.names.own(name) if self.outer is None else self.plan.names.fresh(name)

    def reserve_names(self) -> None:
        """Keep the names of this graph's values for them; whatever is made on the way takes others."""
        for v in self.graph.values():
            if v.name:
                self.plan.names.reserve(v.name)

    # ---- values
    def bind(self, v: Value, handle: Arg) -> Arg:
        """Let a value of the graph be known by a handle."""
        self.journal.put(self.bound, v, handle)
        if isinstance(handle, Ref) and handle.dtype is None and v.dtype is not None:
            self.journal.set(handle, "dtype", v.dtype)
        return handle

    def alias(self, v: Value, handle: Arg) -> None:
        """Let a value be what another call returns, unless a call of an earlier node gives it (:meth:`given`)."""
        if v not in self._given:
            self.bind(v, handle)

    def given(self, *values: Value) -> None:
        """Values that a call of an earlier node gives already: their own nodes add nothing. Those that are not bound get a
        stand-in that nothing reads."""
        for v in values:
            if v not in self.bound:
                hollow = Ref(None, 0, v.dtype, self.dialect.shape_of(v), v)
                self._hollow.add(hollow)
                self.bind(v, hollow)
        self._given.update(values)

    def gives(self, node: Node) -> bool:
        """Whether calls of earlier nodes give all that a node makes (:meth:`given`)."""
        return bool(self._given) and bool(node.outputs) and self._given.issuperset(node.outputs)

    def readable(self, v: Value) -> bool:
        """Whether a value is bound to something that can be read: not to the stand-in of one that is written within another."""
        return v in self.bound and self.bound[v] not in self._hollow

    def input(self, v: Value, name: str | None = None) -> Ref:
        """An input of the block."""
        ref = Ref(None, len(self.block.inputs), v.dtype, v.shape, v)
        if self._eager:
            ref.name = self.own_name(v.name) if name is None else name
        self.journal.append(self.block.inputs, ref)
        self.bind(v, ref)
        return ref

    def skip(self, v: Value) -> None:
        """Bind a value whose node failed to a stand-in, so that what follows can be tried."""
        shape = tuple(d if isinstance(d, int) else 1 for d in v.shape or ()) if v.shape is not None else ()
        self.bind(v, Ref(None, 0, v.dtype, shape, v, self.own_name(v.name) if self._eager else ""))

    def value(self, v: Value, *, carry: bool = False) -> Arg:
        """The handle of a value; a weight becomes what the dialect holds it as. ``carry``: only its elements are moved."""
        if self._dtypes is not None and not carry:
            self._computes(v, self._dtypes)
        found = self.bound.get(v)
        if found is not None:
            return found
        if v.tensor is None:
            raise NotExpressible(f"the value {v.name!r} has not been emitted")
        return self.bind(v, self.dialect.hold(self, self.state(v), v, ""))

    def several(self, handles: Sequence[Arg]) -> Arg:
        """Operands that are one argument."""
        return self.dialect.several(handles)

    def operand(self, v: Value, other: Value) -> Arg:
        """The handle of an operand, or a number that is the same where ``other`` tells its type."""
        return self.dialect.operand(self, v, other)

    def argument(self, value: Any, near: Sequence[Value]) -> Arg:
        """A size, or a tuple of them, as an argument, where some are symbolic. NotExpressible where the target takes none."""
        return self.dialect.argument(self, value, near)

    def _computes(self, v: Value, allowed: frozenset[DType]) -> None:
        if v.dtype is not None and v.dtype not in allowed:
            names = " or ".join(sorted(d.value for d in allowed))
            raise NotExpressible(f"{self.dialect.title} computes in {names}, {v.name!r} is {v.dtype}")

    def state(self, v: Value, key: str = "", make: Callable[[Tensor], Tensor] | None = None) -> State:
        """The state of a weight, changed by ``make`` (transposed, reordered...): once per weight and ``key``."""
        if v.tensor is None:
            raise NotExpressible(f"{v.name!r} is not a constant")
        ident = (v.tensor, key)
        found = self._shared.by_tensor.get(ident)
        if found is None:
            found = self._state(v.tensor if make is None else make(v.tensor), v, key)
            self.journal.put(self._shared.by_tensor, ident, found)
        return found

    def _state(self, tensor: Tensor, v: Value | None, key: str = "", name: str = "") -> State:
        if v is None:
            state = State(tensor, name=self.plan.names.fresh(name or "const") if self._eager else name)
        else:
            state = State(tensor, v, key, v.role, v.trainable, self.own_name(v.name) if self._eager else "")
        self.journal.append(self.plan.states, state)
        return state

    def const(self, value: Any, dtype: Any = None, name: str = "") -> Arg:
        """A number, list, array or tensor; equal small ones are held once. Python floats are float32 unless ``dtype`` says."""
        kind = None if dtype is None else DType(dtype)
        literal = self.dialect.literal(value, kind)
        if literal is not None:
            return literal
        key: Any = None
        if isinstance(value, Tensor):
            tensor = value
        else:
            try:
                a = exact_array(value, kind)
            except ValueError as e:
                raise NotExpressible(str(e)) from None
            if kind is None and a.dtype == np.float64 and not isinstance(value, (np.ndarray, np.generic)):
                a = a.astype(np.float32)
            tensor = as_tensor(a)
            key = (tensor.dtype, tensor.shape, a.tobytes()) if a.nbytes <= 256 and a.dtype != object else None
        state = self._shared.consts.get(key) if key is not None else None
        if state is None:
            state = self._state(tensor, None, name=name)
            if key is not None:
                self.journal.put(self._shared.consts, key, state)
        return self.dialect.hold(self, state, None, name)

    def size(self, d: DimLike) -> Arg:
        """A size as data, computed from the shapes of inputs when it is symbolic."""
        return self.sizes_known.one(d)

    def sizes(self, dims: Sequence[DimLike | None]) -> Arg:
        """A vector of sizes. NotExpressible when one is unknown."""
        return self.sizes_known.many(dims)

    # ---- training
    def leave_out(self, what: str, node: Node) -> None:
        """Say that something which only training needs is not written; the report tells it with the layer's name."""
        self.journal.append(self.plan.left_out, (what, node.origin.layer or node.name))

    def keeps(self, key: str, node: Node) -> bool:
        """Whether an attribute that only training needs is written: said in the report where it is not."""
        if not self.dialect.keep_training:
            self.leave_out(key, node)
        return self.dialect.keep_training

    def pass_on(self, node: Node, what: str) -> None:
        """Write nothing for a node that only acts in training: its result is its input."""
        self.leave_out(what, node)
        x = node.inputs[0]
        if x is None:
            raise NotExpressible("its input is missing")
        self.alias(node.output, self.value(x, carry=True))

    # ---- calls
    def call(
        self, op: str, args: Sequence[Arg] = (), config: Mapping[str, Any] | None = None, *, outputs: Sequence[Output] = (),
        n_outputs: int = 1, name: str = "", shapes: Sequence[Sequence[DimLike | None]] = (), carry: bool = False,
        kept: Sequence[Any] | None = None,
    ) -> tuple[Ref, ...]:  # fmt: skip
        """Call a function or operator. Returns its results.

        ``outputs`` are the values they hold (None: none of the graph's, LEFT_OUT: not asked for); ``n_outputs`` and ``shapes``
        say how many more there are, and of what shape. ``carry`` marks a call that only moves elements. ``kept`` is what a node
        written back as it was carries along: nothing of such a call is checked or changed.
        """
        return self._call(op, None, args, config or {}, outputs, n_outputs, name, shapes, carry, kept)

    def unit(
        self, type: str, args: Sequence[Arg] = (), config: Mapping[str, Any] | None = None,
        states: Mapping[str, State | Tensor] | Sequence[State | Tensor] = (), *, outputs: Sequence[Output] = (),
        n_outputs: int = 1, name: str = "", shapes: Sequence[Sequence[DimLike | None]] = (), carry: bool = False,
        places: Sequence[tuple[int, str, bool]] = (),
    ) -> tuple[Ref, ...]:  # fmt: skip
        """Call a layer: configuration and states, by the target's names (a sequence: by position). ``places``: configuration
        that stands among the arguments, in order (the place, its name, whether its elements are arguments each).

        Two calls in one place with the same configuration and states are calls of one unit. Where the dialect has no units,
        and for a type without states that is no layer object, this is a plain call.
        """
        if places:
            args, config = list(args), dict(config or {})
            for at, key, each in places:
                value = config.pop(key)
                args[at:at] = value if each else (value,)
        held: dict[str, State] | None = {}
        if states:
            items = states.items() if isinstance(states, Mapping) else ((str(i), t) for i, t in enumerate(states))
            held = {k: t if isinstance(t, State) else self._bare(t) for k, t in items}
            if self.dialect.states_are_inputs:
                args, held = [*args, *held.values()], {}
        if not held and not self.dialect.is_unit(type):
            held = None
        return self._call(type, held, args, config or {}, outputs, n_outputs, name, shapes, carry)

    def _bare(self, tensor: Tensor) -> State:
        """The state of a tensor that is no weight of the graph as it stands: one for each, however often it is given."""
        found = self._shared.by_tensor.get((tensor, "")) or self._shared.consts.get(tensor)
        if found is None:
            found = self._state(tensor, None)
            self.journal.put(self._shared.consts, tensor, found)
        return found

    def _call(
        self, type: str, states: dict[str, State] | None, args: Sequence[Arg], config: Mapping[str, Any],
        outputs: Sequence[Output], n_outputs: int, name: str, shapes: Sequence[Sequence[DimLike | None]], carry: bool,
        kept: Sequence[Any] | None = None,
    ) -> tuple[Ref, ...]:  # fmt: skip
        if outputs and self._given and all(v in self._given for v in outputs):
            return tuple(self.bound[v] for v in outputs if v is not None)
        ins = tuple(args)
        dialect, node = self.dialect, self.node
        n = max(len(outputs), len(shapes), n_outputs)
        if kept is None and dialect.respells:
            type, spelled, config = dialect.spelled(self, type, ins, config, n)
            ins = tuple(spelled)
        while ins and ins[-1] is None and kept is None:
            ins = ins[:-1]
        dtypes = dialect.check(self, type, ins, config) if kept is None else ()
        call = Call("", ins, {}, (), "", "", node, None, kept or ())
        refs: list[Ref] = []
        source = name
        for i in range(n):
            v = outputs[i] if i < len(outputs) else None
            dtype = dtypes[min(i, len(dtypes) - 1)] if dtypes else None
            shape = tuple(shapes[i]) if i < len(shapes) else None
            if v is None or v is LEFT_OUT:
                ref = Ref(call, i, dtype, shape, None, "", v is LEFT_OUT)
                if self._eager and v is None:
                    base = name or type.rpartition(".")[2]
                    ref.name = self.plan.names.fresh(f"{base}/out" if n_outputs == 1 else f"{base}/out{i}")
            else:
                if self._dtypes is not None and not carry:
                    self._computes(v, self._dtypes)
                ref = Ref(call, i, v.dtype or dtype, dialect.shape_of(v) if shape is None else shape, v)
                if self._eager:
                    ref.name = self.own_name(v.name)
                elif v.producer is not None:
                    source = v.producer.origin.layer or source
                self.journal.put(self.bound, v, ref)
            refs.append(ref)
        call.results = tuple(refs)
        call.source = source or type.lower()
        if self._eager:
            call.name = self.plan.call_names.fresh(name or type.rpartition(".")[2])
        clean = {k: x for k, x in config.items() if x is not None}
        if states is None:
            call.target, call.kwargs = type, clean
        else:
            call.target = self._unit(type, clean, states)
        self.journal.append(self.block.calls, call)
        return call.results

    def _unit(self, type: str, config: dict[str, Any], states: dict[str, State]) -> Unit:
        self.dialect.holds(type, states)
        path = self.dialect.path(self.node) if self.node is not None else ()
        if not self.dialect.shares_units:
            return Unit(type, config, states, path)
        home = self.dialect.home(self.node, states) if self.node is not None else ()
        key = (place(home), type, frozen(config), tuple((k, id(s)) for k, s in states.items()))
        found = self._shared.units.get(key)
        if found is None:
            found = Unit(type, config, states, path)
            self.journal.put(self._shared.units, key, found)
        return found

    def region(self, graph: Graph, bound: Sequence[Value | None], formal: int) -> Block:
        """A region as a block: its first ``formal`` inputs are its own, the rest stand for ``bound`` values of this scope."""
        inner = Scribe(graph, self.rules, self.version, self.dialect, self.overrides, self._write, self)
        for v in graph.inputs[:formal]:
            inner.input(v)
        for v, ours in zip(graph.inputs[formal:], bound):
            if ours is not None:
                inner.bind(v, self.value(ours, carry=True))
        graph.remove_unused()
        problems = self._write(inner) or self.dialect.leave(inner)
        if problems:
            raise UnsupportedError(problems)
        return inner.block


def frozen(x: Any) -> Any:
    """A configuration as something that can be compared: equal exactly where what is written is equal."""
    if isinstance(x, Mapping):
        return tuple((k, frozen(v)) for k, v in x.items())
    if isinstance(x, (list, tuple)):
        return (type(x).__name__, *map(frozen, x))
    if isinstance(x, slice):
        return ("slice", frozen(x.start), frozen(x.stop), frozen(x.step))
    if isinstance(x, np.ndarray):
        return (x.dtype.str, x.shape, x.tobytes())
    if isinstance(x, (bool, int, float, str, bytes)) or x is None:
        return (type(x).__name__, repr(x) if isinstance(x, float) else x)
    try:
        hash(x)
    except TypeError:
        return ("id", id(x))
    return x

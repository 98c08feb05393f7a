"""The plan: what files, code and live objects of every target are made from.

A :class:`Call` is one use of a layer or function. A :class:`Unit` is a layer: configuration and :class:`State`, called as often
as the source calls it. A :class:`Block` is a scope with calls of its own. A :class:`Ref` stands for what a call returns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.dims import Shape
from ..ir.dtypes import DType
from ..ir.graph import Node, Origin, Value
from ..ir.tensors import Tensor
from ..records import dataclass
from ..rules import NotExpressible
from .names import Names
from .scopes import Path

if TYPE_CHECKING:
    from .dialect import Dialect

__all__ = ["Arg", "Block", "Call", "Member", "Plan", "PlanCall", "Ref", "State", "Unit", "leaves", "reads"]


@dataclass(eq=False, slots=True)
class State:
    """A tensor the target holds. ``value`` is the weight of the graph it comes from, None for a constant made on the way;
    ``role`` is parameter, buffer or constant; ``key`` says what was done to the weight ("": nothing)."""

    tensor: Tensor
    value: Value | None = None
    key: str = ""
    role: str = "constant"
    trainable: bool = False
    name: str = ""

    @property
    def dtype(self) -> DType | None:
        return self.tensor.dtype

    @property
    def shape(self) -> Shape | None:
        return self.tensor.shape


@dataclass(eq=False, slots=True)
class Unit:
    """A layer or module: configuration and states by the target's names for them. ``path`` is the scope it belongs to."""

    type: str
    config: dict[str, Any]
    states: dict[str, State]
    path: Path = ()
    name: str = ""


@dataclass(eq=False, slots=True)
class Ref:
    """A result of a call, an input of a block, or nothing at all (``call`` None and no input: a stand-in after a failure).

    ``value`` is the graph's value it holds, if it is one. ``left_out`` marks an output that the target is not asked for.
    """

    call: Call | None
    index: int = 0
    dtype: DType | None = None
    shape: Shape | None = None
    value: Value | None = None
    name: str = ""
    left_out: bool = False

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape, for targets whose shapes are fixed; NotExpressible where a size is not a number."""
        sizes = tuple(int(d) for d in self.shape or () if isinstance(d, (int, np.integer)))
        if self.shape is None or len(sizes) != len(self.shape):
            raise NotExpressible(f"the shape of {self!r} is not fixed", "unknown_shape")
        return sizes

    def __repr__(self) -> str:
        return f"Ref({self.name or (self.value.name if self.value is not None else '')!r})"


@dataclass(eq=False, slots=True)
class Call:
    """One use of ``target``: a unit, a block, or a function or operator by its name.

    ``args`` are operands (None: one left out), ``kwargs`` a function's attributes. ``source`` is the source layer it is named
    after, ``kept`` what a node that is written back as it was carries along.
    """

    target: Unit | Block | str
    args: tuple[Arg, ...]
    kwargs: dict[str, Any]
    results: tuple[Ref, ...]
    name: str = ""
    source: str = ""
    node: Node | None = None
    path: Path | None = None
    kept: Sequence[Any] = ()

    @property
    def type(self) -> str:
        """The name of the function, or the type of the unit or block."""
        return self.target if isinstance(self.target, str) else self.target.type

    @property
    def config(self) -> dict[str, Any]:
        """The attributes of the function or unit."""
        return self.target.config if isinstance(self.target, Unit) else self.kwargs

    @property
    def states(self) -> tuple[State, ...]:
        """The states of the unit."""
        return tuple(self.target.states.values()) if isinstance(self.target, Unit) else ()

    @property
    def origin(self) -> Origin:
        return self.node.origin if self.node is not None else Origin()

    def become(self, type: str, config: Mapping[str, Any], states: Sequence[State] = ()) -> None:
        """Be a call of another layer: a unit where it has states, else a function."""
        if states:
            path = self.target.path if isinstance(self.target, Unit) else ()
            self.target, self.kwargs = Unit(type, dict(config), {str(i): s for i, s in enumerate(states)}, path), {}
        else:
            self.target, self.kwargs = type, dict(config)

    def __repr__(self) -> str:
        return f"Call({self.type}, {self.name or self.source!r})"


@dataclass(eq=False, slots=True)
class Block:
    """A scope: its inputs, the calls made in it in order, its outputs, and the units and blocks it owns, by name.

    ``type`` is the name of its class; ``alike`` is the first block of that class when it is not this one: both are written as
    one class. A region of control flow is a block that nobody owns.
    """

    name: str = ""
    inputs: list[Ref] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    outputs: list[Arg] = field(default_factory=list)
    members: dict[str, Member] = field(default_factory=dict)
    type: str = ""
    alike: Block | None = None
    path: Path = ()

    def walk(self) -> Iterator[Block]:
        """This block and every block owned within, each once."""
        yield self
        for m in self.members.values():
            if isinstance(m, Block):
                yield from m.walk()

    def all_calls(self) -> Iterator[Call]:
        """Every call, those of blocks called and of regions included."""
        for call in self.calls:
            yield call
            if isinstance(call.target, Block):
                yield from call.target.all_calls()
            for v in call.kwargs.values():
                if isinstance(v, Block):
                    yield from v.all_calls()


PlanCall = Call
"""Its name in :mod:`convcore.plugin`, where Call is a signature that rows bind."""

Arg = Any
"""Ref | State | Block | Tensor | number | bool | str | None | DType | Dim | tuple of these."""

Member = Unit | Block | State


@dataclass(eq=False, slots=True)
class Plan:
    """A whole model for a target. ``states`` are all that were made, in order, used or not; ``names`` the name space of values,
    ``call_names`` that of calls; ``notes`` lines for the report."""

    root: Block
    dialect: Dialect
    names: Names
    call_names: Names
    states: list[State] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """What the target has no place for, and the layer that says it: see :meth:`Scribe.leave_out`."""

    def remarks(self) -> list[str]:
        """The notes, with a line for each kind of thing left out."""
        kinds: dict[str, dict[str, None]] = {}
        for what, layer in self.left_out:
            kinds.setdefault(what, {})[layer] = None
        lines = list(self.notes)
        for what, layers in kinds.items():
            names = list(layers)
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            lines.append(f"left out, as it only matters in training: {what} of {', '.join(names[:3])}{more}")
        return lines

    def reads(self) -> Counter[Any]:
        """How often each Ref and State is read by the root's calls and their regions; the outputs count once each."""
        counts: Counter[Any] = Counter(r for call in self.root.calls for r in reads(call))
        counts.update(s for call in self.root.calls for s in leaves(call.args) if isinstance(s, State))
        counts.update(leaves(self.root.outputs))
        return counts

    def paths(self) -> dict[str, State]:
        """The states that units and blocks own, by path (``layer1.0.conv.weight``): after :func:`nest`."""
        found: dict[str, State] = {}

        def enter(block: Block, prefix: str) -> None:
            for name, member in block.members.items():
                if isinstance(member, Block):
                    enter(member, f"{prefix}{name}.")
                elif isinstance(member, Unit):
                    found.update({f"{prefix}{name}.{k}": s for k, s in member.states.items()})
                else:
                    found[f"{prefix}{name}"] = member

        enter(self.root, "")
        return found


def leaves(args: Iterable[Any]) -> Iterator[Ref | State]:
    """The Refs and States among arguments, tuples and lists entered."""
    for a in args:
        if isinstance(a, (Ref, State)):
            yield a
        elif isinstance(a, (tuple, list)):
            yield from leaves(a)


def reads(call: Call) -> Iterator[Ref]:
    """What a call reads, its regions included."""
    for a in leaves((*call.args, *call.kwargs.values())):
        if isinstance(a, Ref):
            yield a
    for v in call.kwargs.values():
        if isinstance(v, Block):
            own = {r for c in v.calls for r in c.results} | set(v.inputs)
            yield from (r for c in v.calls for r in reads(c) if r not in own)
            yield from (r for r in leaves(v.outputs) if isinstance(r, Ref) and r not in own)

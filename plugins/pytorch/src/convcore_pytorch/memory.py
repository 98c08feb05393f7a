"""What shares memory with what: torch's views and in-place operators as plain values.

A :class:`Handle` is one torch tensor: a :class:`Memory` seen through steps (views). Writing through one changes the memory; the
others are computed again from it when they are read next. Where a view cannot be written back, or it is not known whether it is
a view (``reshape``, ``contiguous``) or of which tensor (what a branch gives), a write that somebody else could see is refused.

Source: alias annotations of ATen's native_functions.yaml; torch/csrc/functionalization does the same on tensors.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

from convcore.plugin import Value

__all__ = ["Handle", "Memory", "Step", "perhaps", "shared_steps"]


@dataclass(eq=False)
class Step:
    """One view. ``replay`` gives it of a base, ``scatter(base, new)`` the base with the view's elements replaced; None where
    there is no way back. ``sure``: it is known to share memory."""

    op: str
    replay: Callable[[Value], Value]
    scatter: Callable[[Value, Value], Value] | None = None
    sure: bool = True


class Memory:
    """The elements several tensors share. ``kind`` and ``name`` say what it is at first: input, parameter, buffer, constant."""

    def __init__(self, value: Value, kind: str = "", name: str = "") -> None:
        self.value, self.kind, self.name = value, kind, name
        self.version = 0
        self.handles: weakref.WeakSet[Handle] = weakref.WeakSet()
        self.strangers: weakref.WeakSet[Handle] = weakref.WeakSet()
        """Tensors of other memories that may be views of this one."""


class Handle:
    """A tensor of the program. ``names`` are those it is bound to; ``also`` are memories it may be a view of instead."""

    __slots__ = ("__weakref__", "_value", "_version", "also", "memory", "names", "steps")

    def __init__(
        self, memory: Memory, steps: tuple[Step, ...] = (), value: Value | None = None, also: tuple[Memory, ...] = ()
    ) -> None:
        self.memory, self.steps, self.also = memory, steps, also
        self._value = memory.value if value is None else value
        self._version = memory.version
        self.names: list[str] = []
        memory.handles.add(self)
        for m in also:
            m.strangers.add(self)

    def read(self) -> Value:
        """Its value now."""
        if self._version != self.memory.version:
            v = self.memory.value
            for s in self.steps:
                v = s.replay(v)
            self._value, self._version = v, self.memory.version
        return self._value

    def view(self, step: Step, value: Value) -> Handle:
        """A view of it, whose value now is ``value``."""
        self.read()
        return Handle(self.memory, (*self.steps, step), value, self.also)

    def write(self, value: Value) -> None:
        """New elements; every step can be gone back."""
        bases = [self.memory.value]
        for s in self.steps[:-1]:
            bases.append(s.replay(bases[-1]))
        v = value
        for s, base in zip(reversed(self.steps), reversed(bases)):
            if s.scatter is None:
                raise AssertionError(f"a write through {s.op}, which the caller must have refused")
            v = s.scatter(base, v)
        self.memory.value = v
        self.memory.version += 1
        self._value, self._version = value, self.memory.version

    def detach(self, keep: int, others: list[Handle]) -> None:
        """Make what the first ``keep`` steps give the memory of it and ``others``, which all have these steps."""
        v = self.memory.value
        for s in self.steps[:keep]:
            v = s.replay(v)
        fresh = Memory(v)
        for h in (self, *others):
            value = h.read()
            h.memory.handles.discard(h)
            h.memory, h.steps, h._value, h._version = fresh, h.steps[keep:], value, fresh.version
            fresh.handles.add(h)


def perhaps(bases: list[Handle], op: str, value: Value) -> Handle:
    """What may be a view of one of several tensors, or of none, as it is with the results of a branch."""
    if not bases:
        return Handle(Memory(value))
    first, *rest = bases
    others = dict.fromkeys(m for h in rest for m in (h.memory, *h.also) if m is not first.memory)
    made = first.view(Step(op, lambda _: value, None, False), value)
    return Handle(made.memory, made.steps, value, (*first.also, *others))


def shared_steps(handles: list[Handle]) -> int:
    """How many first steps all have in common."""
    first = handles[0].steps
    n = 0
    while n < len(first) and all(len(h.steps) > n and h.steps[n] is first[n] for h in handles):
        n += 1
    return n

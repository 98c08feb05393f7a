"""Neighbouring calls as the one a person would have written; calls that nobody needs."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

from .plan import Arg, Block, Call, Plan, Ref, leaves, reads

__all__ = ["Peephole", "Tidy", "prune", "tidy"]


class Tidy:
    """What peepholes work with: the calls of the root block, and how often each result is read (outputs count)."""

    def __init__(self, plan: Plan) -> None:
        self.reads = plan.reads()
        self.gone: set[Call] = set()

    def only(self, x: Arg, *types: str) -> Call | None:
        """The call of one of ``types`` that gives ``x`` and nothing else, if nothing but one operand reads it."""
        call = x.call if isinstance(x, Ref) else None
        if call is None or self.reads[x] != 1 or len(call.results) != 1 or call.type not in types:
            return None
        if call.kept or call in self.gone:
            return None
        return call

    def set_arg(self, call: Call, i: int, x: Arg) -> None:
        """Let operand ``i`` be ``x``, which the call that gave the old operand has read so far."""
        self.reads[call.args[i]] -= 1
        call.args = (*call.args[:i], x, *call.args[i + 1 :])

    def absorb(self, call: Call, before: Call) -> None:
        """``call`` takes over what ``before``, which gives its first operand, reads first; ``before`` goes."""
        self.set_arg(call, 0, before.args[0])
        self.gone.add(before)

    def drop(self, call: Call) -> None:
        """The call goes: nothing reads what it gives any more."""
        self.gone.add(call)


Peephole = Callable[[Tidy, Call], bool]
"""Merges a call with what is in front of it; whether it changed anything (it is then tried again)."""


def tidy(plan: Plan, peepholes: Mapping[str, Peephole]) -> None:
    """Apply peepholes, by the type of the later call, in order until none changes anything. To be run before nesting.

    Calls that are written back as they were stay so."""
    t = Tidy(plan)
    for call in plan.root.calls:
        merge = None if call.kept else peepholes.get(call.type)
        while merge is not None and merge(t, call):
            merge = peepholes.get(call.type)
    plan.root.calls = [c for c in plan.root.calls if c not in t.gone]


def prune(plan: Plan, keep: Container[str] = ()) -> None:
    """Leave out calls none of whose results is read, but for types in ``keep``; in regions too."""
    _prune(plan.root, keep)


def _prune(block: Block, keep: Container[str]) -> None:
    read: set[Any] = set(leaves(block.outputs))
    kept: list[Call] = []
    for call in reversed(block.calls):
        if call.type in keep or any(r in read for r in call.results):
            for region in call.kwargs.values():
                if isinstance(region, Block):
                    _prune(region, keep)
            read.update(reads(call))
            kept.append(call)
    block.calls = kept[::-1]

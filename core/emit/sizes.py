"""Symbolic sizes as data of the target: the size of an input's axis, and arithmetic on sizes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..ir.dims import Dim, DimLike
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..rules import NotExpressible
from .plan import Arg

if TYPE_CHECKING:
    from .scribe import Scribe

__all__ = ["Sizes"]


class Sizes:
    """The sizes a scribe has written so far, each once."""

    def __init__(self, s: Scribe[Any]) -> None:
        self.s = s
        self.made: dict[DimLike, Arg] = {}
        self._where: dict[str, tuple[Value, int]] = {}

    def one(self, d: DimLike) -> Arg:
        """One size, computed from the shapes of inputs when it is symbolic."""
        found = self.made.get(d)
        if found is None:
            found = self._made(d)
            self.s.journal.put(self.made, d, found)
        return found

    def many(self, dims: Sequence[DimLike | None]) -> Arg:
        """A vector of sizes: a constant when all are integers. NotExpressible when one is unknown."""
        known = [d for d in dims if d is not None]
        if len(known) < len(dims):
            raise NotExpressible(f"a size of ({', '.join('?' if d is None else str(d) for d in dims)}) is unknown")
        if not any(isinstance(d, Dim) for d in known):
            return self.s.const([int(d) for d in known], DType.INT64)  # type: ignore[arg-type]
        if len(known) == 1:
            return self.one(known[0])
        return self.s.dialect.size_vector(self.s, [self.one(d) for d in known])

    def _made(self, d: DimLike) -> Arg:
        s = self.s
        if not isinstance(d, Dim):
            return s.const([int(d)], DType.INT64)
        if d.is_name:
            x, axis = self.source(next(iter(d.names)))
            return s.dialect.size_of(s, x, axis, str(d))
        total: Arg = None
        for factor, mono in d.terms:
            term: Arg = None
            for atom, power in mono:
                part = self.one(Dim(atom)) if isinstance(atom, str) else self._call(*atom)
                for _ in range(power):
                    term = part if term is None else self._op("mul", term, part)
            if term is None:
                term = self.one(factor)
            elif factor != 1:
                term = self._op("mul", term, self.one(factor))
            total = term if total is None else self._op("add", total, term)
        return total

    def _op(self, op: str, a: Arg, b: Arg) -> Arg:
        return self.s.dialect.size_op(self.s, op, a, b)

    def _call(self, fn: str, args: Sequence[DimLike]) -> Arg:
        """A floor division, remainder, maximum or minimum of sizes.

        Division truncates, which differs from the floor for a negative dividend: (a - (a mod b)) / b is exact, with mod's sign
        that of b.
        """
        parts = [self.one(a) for a in args]
        if fn == "//":
            return self._op("div", self._op("sub", parts[0], self._op("mod", parts[0], parts[1])), parts[1])
        if fn == "%":
            return self._op("mod", parts[0], parts[1])
        out = parts[0]
        for p in parts[1:]:
            out = self._op(fn, out, p)
        return out

    def source(self, name: str) -> tuple[Arg, int]:
        """(handle, axis) of a value written so far that has the named size as an axis, inputs first."""
        s = self.s
        at = self._where.get(name)
        if at is None or not s.readable(at[0]):  # it may have been written in an attempt that failed
            self._where = {}
            for v in itertools.chain(s.graph.inputs, (o for node in s.graph for o in node.outputs)):
                if s.readable(v):
                    self._note(v)
            at = self._where.get(name)
        if at is not None:
            return s.bound[at[0]], at[1]
        if s.outer is not None:
            return s.outer.sizes_known.source(name)
        raise NotExpressible(f"the size {name!r} is not the size of any input")

    def _note(self, v: Value) -> None:
        for i, d in enumerate(v.shape or ()):
            if isinstance(d, Dim) and d.is_name:
                self._where.setdefault(next(iter(d.names)), (v, i))

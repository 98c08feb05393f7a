"""Symbolic sizes of a program as convcore's: named after the inputs they come from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from convcore.plugin import Dim, DimLike, InputShapes, Shape, dim_max

from .files.program import Program, TensorValue
from .files.symbols import Expr

__all__ = ["UNBACKED", "Symbols"]

UNBACKED = re.compile(r"z?u[f]?\d+")
"""Symbols of sizes that depend on the data (torch.fx.experimental.symbolic_shapes)."""


class Symbols:
    """What the symbols of a program are called here. The first input axis that is one symbol alone names it: what the caller's
    ``input_shapes`` say, else ``names`` (by symbol), else ``batch`` for axis 0 and ``<input>_<axis>`` for others."""

    def __init__(self, program: Program, given: InputShapes, names: Mapping[str, str] | None = None) -> None:
        self.table: dict[str, DimLike] = {}
        self.shapes: dict[str, Shape | None] = {}
        names = names or {}
        users = [i for i in program.inputs if i.kind in ("user", "attribute") and i.name]
        alone = len([i for i in users if i.kind == "user"]) == 1
        stated: dict[str, Sequence[Any] | None] = {}
        for i in users:
            told = program.graph.values.get(i.name)
            stated[i.name] = told.shape if isinstance(told, TensorValue) else None
        wanted: dict[str, DimLike] = {}
        for i in users:
            shape = stated[i.name]
            plain: Shape | None = None if shape is None else tuple(None if isinstance(d, Expr) else d for d in shape)
            if i.kind == "attribute":  # of the first call; the caller knows of which later ones
                merged = given.take(i.target, None if i.target in given else plain)
            else:
                merged = given.take(i.name, plain, only=alone)
            self.shapes[i.name] = merged
            for d, m in zip(shape or (), merged or ()):
                if isinstance(d, Expr) and d.op == "symbol" and m is not None:
                    wanted.setdefault(str(d.args[0]), m)
        taken: set[str] = {n for d in wanted.values() if isinstance(d, Dim) for n in d.names}
        for i in users:
            for axis, d in enumerate(stated[i.name] or ()):
                if not isinstance(d, Expr) or d.op != "symbol" or str(d.args[0]) in self.table:
                    continue
                s = str(d.args[0])
                if s not in wanted:
                    name = names.get(s) or ("batch" if axis == 0 and "batch" not in taken else f"{i.name}_{axis}")
                    taken.add(name)
                    wanted[s] = Dim(name)
                self.table[s] = wanted[s]
        for i in users:
            shape, merged = stated[i.name], self.shapes[i.name]
            if shape is not None and merged is not None and i.kind == "user":
                self.shapes[i.name] = tuple(self.dim(d) if isinstance(d, Expr) else m for d, m in zip(shape, merged))

    def dim(self, d: int | Expr | None) -> DimLike | None:
        """A size; None for one that depends on the data or is no size."""
        if not isinstance(d, Expr):
            return None if d is None or isinstance(d, float) else d
        if d.op == "symbol":
            return self.table.get(str(d.args[0]))
        args = [self.dim(a) if isinstance(a, (int, Expr)) else None for a in d.args]
        if any(a is None for a in args):
            return None
        return _apply(d.op, [a for a in args if a is not None])

    def shape(self, shape: Sequence[int | Expr] | None) -> Shape | None:
        return None if shape is None else tuple(self.dim(d) for d in shape)


def _apply(op: str, a: list[DimLike]) -> DimLike | None:
    if op in ("add", "mul"):
        out: DimLike = 0 if op == "add" else 1
        for x in a:
            out = out + x if op == "add" else out * x
        return out
    if op == "neg":
        return -a[0]
    if len(a) == 2:
        x, y = a
        if op == "sub":
            return x - y
        if op in ("floordiv", "CleanDiv"):
            return None if isinstance(y, int) and y == 0 else x // y
        if op == "mod":
            return None if isinstance(y, int) and y == 0 else x % y
        if op == "pow" and isinstance(y, int) and 0 <= y < 8:
            out = 1
            for _ in range(y):
                out = out * x
            return out
    if op in ("Max", "max"):
        return dim_max(*a)
    if op in ("Min", "min"):
        return -dim_max(*(-x for x in a))
    return a[0] if op in ("ToFloat", "Identity") else None

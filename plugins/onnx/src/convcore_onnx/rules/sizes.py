"""Symbolic sizes as ONNX data: Shape of an input, and integer arithmetic on it."""

from __future__ import annotations

from typing import Any

from convcore.plugin import Dim, DimLike, DType

__all__ = ["emit_size"]


def emit_size(e: Any, d: DimLike) -> str:
    """A one-element int64 vector holding ``d``; NotExpressible when a name of it is no input's size."""
    if not isinstance(d, Dim):
        return str(e.const([int(d)], DType.INT64))
    if d.is_name:
        value, axis = e.dim_source(next(iter(d.names)))
        shape = e.add("Shape", [value], {}, name=f"{d}/shape")[0]
        return str(e.add("Gather", [shape, e.const([axis], DType.INT64)], {"axis": 0}, name=f"{d}")[0])
    total = None
    for mono, factor in d._terms:
        term = None
        for atom, power in mono:
            part = e.size(Dim(atom)) if isinstance(atom, str) else _call(e, atom)
            for _ in range(power):
                term = part if term is None else _op(e, "Mul", term, part)
        if term is None:
            term = e.size(factor)
        elif factor != 1:
            term = _op(e, "Mul", term, e.size(factor))
        total = term if total is None else _op(e, "Add", total, term)
    return str(total)


def _op(e: Any, type: str, a: str, b: str) -> str:
    return str(e.add(type, [a, b], {}, name="size")[0])


def _call(e: Any, call: Any) -> str:
    """A floor division, remainder, maximum or minimum of sizes.

    Div truncates, which differs from the floor for a negative dividend: (a - (a mod b)) / b is exact, with Mod's sign that of b.
    """
    parts = [e.size(a) for a in call.args]
    if call.fn == "//":
        return _op(e, "Div", _op(e, "Sub", parts[0], _op(e, "Mod", parts[0], parts[1])), parts[1])
    if call.fn == "%":
        return _op(e, "Mod", parts[0], parts[1])
    out = parts[0]
    for p in parts[1:]:
        out = _op(e, "Max" if call.fn == "max" else "Min", out, p)
    return out

"""Files of weights alone, such as a state_dict: what is in them (``convcore inspect``), how two differ (``convcore diff``)."""

from __future__ import annotations

import os
from typing import Any

from .diff import Change, differing_values
from .hookspecs import Checkpoint
from .host import host
from .ir.dims import shape_text
from .registry import resolve

__all__ = ["differences", "elements", "read_checkpoint", "to_dict", "to_text"]


def to_dict(held: Checkpoint) -> dict[str, Any]:
    """As JSON-like data."""
    listed = [{"name": n, "dtype": str(t.dtype), "shape": list(t.shape or ())} for n, t in held.tensors.items()]
    return {"kind": held.kind, "entry": held.entry, "prefix": held.prefix, "beside": dict(held.beside),
            "parameters": elements(held), "weights": listed}  # fmt: skip


def elements(held: Checkpoint) -> int:
    """Elements of all tensors; those that are one tensor under several names count once."""
    return sum({getattr(t, "identity", id(t)): t.size for t in held.tensors.values()}.values())


def to_text(held: Checkpoint) -> str:
    """A line for each tensor, and before them what the file is and what was taken for granted about it."""
    lines = [f"{held.kind}: weights alone, no architecture; {len(held.tensors)} tensors, {elements(held):,} elements"]
    if held.entry:
        lines.append(f"under: {held.entry}")
    if held.prefix:
        lines.append(f"taken away from every name: {held.prefix}")
    lines += [f"beside: {k} = {v!r:.200}" for k, v in held.beside.items()]
    wide = len(max(held.tensors, key=len, default=""))
    lines += [f"  {n:<{wide}}  {t.dtype}{shape_text(t.shape)}" for n, t in held.tensors.items()]
    return "\n".join(lines)


def read_checkpoint(path: str | os.PathLike[str], entry: str | None = None, format: str | None = None) -> Checkpoint | None:
    """What a file of weights alone holds, by the framework that knows such files; None for any other source."""
    if format == "ccir" or not os.path.isfile(path):  # which no name makes raise
        return None
    named = None if format is None else host().framework(format).name
    known = [f for f in host().frameworks.values() if f.checkpoints and named in (None, f.name)]
    for f in known:
        found: Checkpoint | None = resolve(f.checkpoints)(path, entry)
        if found is not None:
            return found
    return None


def differences(a: Checkpoint, b: Checkpoint) -> list[Change]:
    """The tensors that only one of two has, and those that are not the same in both."""
    changes = []
    for name in dict.fromkeys((*a.tensors, *b.tensors)):
        x, y = a.tensors.get(name), b.tensors.get(name)
        if x is None or y is None:
            kind, t = ("-", x) if y is None else ("+", y)
            assert t is not None
            changes.append(Change(kind, f"{name} {t.dtype}{shape_text(t.shape)}"))
        elif (why := differing_values(x, y)) is not None:
            changes.append(Change("~", name, why))
    return changes

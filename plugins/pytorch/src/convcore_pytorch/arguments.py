"""A call's arguments and results: by the schema's names, as values, and the names that a node uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convcore.plugin import Dim, DimLike, DType, NotExpressible

from .context import dtype_of
from .files.program import Graph as Body
from .files.program import Node, refs
from .memory import Handle
from .signatures import REQUIRED, Signature

__all__ = ["agree", "arguments", "handles", "known_dtype", "names", "read", "used"]


def known_dtype(name: str) -> DType | None:
    try:
        return dtype_of(name)
    except NotExpressible:
        return None


def arguments(n: Node, sig: Signature | None) -> dict[str, Any]:
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


def read(value: Any) -> Any:
    """Handles as values."""
    if isinstance(value, Handle):
        return value.read()
    if isinstance(value, (list, tuple)):
        return [read(v) for v in value]
    if isinstance(value, dict):
        return {k: read(v) for k, v in value.items()}
    return value


def handles(value: Any) -> Iterator[Handle]:
    if isinstance(value, Handle):
        yield value
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from handles(v)


def names(out: str | tuple[str, ...] | None) -> Iterator[str]:
    if isinstance(out, tuple):
        yield from out
    elif out is not None:
        yield out


def used(n: Node) -> Iterator[str]:
    """Names a node uses, those its bodies capture included."""
    stack: list[Any] = [a.value for a in n.arguments]
    while stack:
        v = stack.pop()
        if isinstance(v, Body):
            for inner in v.nodes:
                yield from used(inner)
            stack.append(v.outputs)
        else:
            for r in refs(v):
                yield r.name


def agree(a: DimLike | None, b: DimLike | None) -> bool:
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

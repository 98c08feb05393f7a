"""AttributeProto as plain Python: numbers, strings, tuples, Tensors, and graphs wrapped with where they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from convcore.plugin import BadFileError

from .tensors import sparse_to_tensor, to_tensor

__all__ = ["Subgraph", "attribute_kind", "attributes", "attributes_of", "plain", "short_float"]


@dataclass
class Subgraph:
    """A graph attribute, with the scope it is read in."""

    proto: Any
    scope: Any
    where: Any
    """The loader's reading of the code around it: opsets, attribute bindings, prefix of names."""


def short_float(v: float) -> float:
    """The shortest decimal that is the same float32: 0.01 for the stored 0.009999999776."""
    return _short_float(v) if v else v  # a cache would take -0.0 for 0.0


@lru_cache(maxsize=1 << 12)
def _short_float(v: float) -> float:
    return float(str(np.float32(v)))


_BY_FIELD = (("f", 1), ("i", 2), ("s", 3), ("t", 4), ("g", 5), ("sparse_tensor", 11), ("tp", 13))
_BY_LIST = (
    ("floats", 6),
    ("ints", 7),
    ("strings", 8),
    ("tensors", 9),
    ("graphs", 10),
    ("sparse_tensors", 12),
    ("type_protos", 14),
)


def attribute_kind(a: Any) -> int:
    """The attribute's type; files of IR version 1 do not state it."""
    if a.type:
        return int(a.type)
    for name, kind in _BY_FIELD:
        if a.HasField(name):
            return kind
    for name, kind in _BY_LIST:
        if len(getattr(a, name)):
            return kind
    return 7


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def attributes_of(node: Any) -> list[tuple[str, int, str, Any]]:
    """(name, type, name of the function's attribute that it refers to, message) of each attribute: protobuf answers slowly."""
    return [(a.name, attribute_kind(a), a.ref_attr_name, a) for a in node.attribute]


def attributes(node: Any, given: Sequence[tuple[str, int, str, Any]], where: Any, scope: Any, folder: str) -> dict[str, Any]:
    """The attributes of a node by name. Inside a function, references take the caller's value (absent ones are left out)."""
    out: dict[str, Any] = {}
    bound: Mapping[str, Any] = where.bound
    for name, kind, reference, a in given:
        if name in out:
            raise BadFileError(f"node {node.name!r} ({node.op_type}) has the attribute {name!r} twice")
        if reference:
            if reference in bound:
                out[name] = bound[reference]
            continue
        out[name] = value(a, kind, where, scope, folder, f"of node {node.name or next(iter(node.output), '')!r} ({node.op_type})")
    return out


def value(a: Any, kind: int, where: Any, scope: Any, folder: str, owner: str) -> Any:
    """One attribute's value; ``owner`` says whose it is."""
    if kind == 1:
        return short_float(a.f)
    if kind == 2:
        return a.i
    if kind == 3:
        return _text(a.s)
    if kind == 4:
        return to_tensor(a.t, f"the attribute {a.name!r} {owner}", folder)
    if kind == 5:
        return Subgraph(a.g, scope, where)
    if kind == 6:
        return tuple(short_float(v) for v in a.floats)
    if kind == 7:
        return tuple(a.ints)
    if kind == 8:
        return tuple(_text(s) for s in a.strings)
    if kind == 9:
        return tuple(to_tensor(t, f"the attribute {a.name!r} {owner}: tensor {i}", folder) for i, t in enumerate(a.tensors))
    if kind == 10:
        return tuple(Subgraph(g, scope, where) for g in a.graphs)
    if kind == 11:
        return sparse_to_tensor(a.sparse_tensor, f"the attribute {a.name!r} {owner}", folder)
    if kind == 13:
        return a.tp
    if kind == 12:
        return tuple(
            sparse_to_tensor(t, f"the attribute {a.name!r} {owner}: tensor {i}", folder) for i, t in enumerate(a.sparse_tensors)
        )
    if kind == 14:
        return tuple(a.type_protos)
    raise BadFileError(f"the attribute {a.name!r} {owner} has the unknown type {kind}")


_PLAIN = {int, float, str, bool}


def plain(x: Any) -> Any:
    """An attribute as JSON-like data: tensors and subgraphs are only named."""
    if type(x) in _PLAIN:
        return x
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    if isinstance(x, Subgraph):
        return f"graph {x.proto.name}"
    if isinstance(x, bytes):
        return x.decode("utf-8", "backslashreplace")
    return x if x is None or isinstance(x, (bool, int, float, str)) else str(x)

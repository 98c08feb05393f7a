"""The wiring of a GraphProto: order of nodes, names used from outside, declared types."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from convcore.plugin import BadFileError, Dim, DimLike, DType, Shape, ShapeError, parse_dim

from .attributes import attribute_kind
from .dtypes import DTYPES

__all__ = ["container", "declare_container", "declared_type", "free_names", "names_read", "opsets_of", "ordered", "read_dim"]

MAX_DEPTH = 64


def opsets_of(imports: Iterable[Any], what: str) -> dict[str, int]:
    """Versions of the imported operator sets by domain ("" for the standard's). BadFileError for one that cannot be."""
    found = {"" if o.domain == "ai.onnx" else o.domain: int(o.version) for o in imports}
    for domain, version in found.items():
        if not 0 <= version < 1 << 31:
            raise BadFileError(f"{what} imports version {version} of the operator set {domain or 'ai.onnx'!r}")
    return found


def ordered(nodes: Sequence[Any], read: Sequence[Sequence[str]], known: Callable[[str], bool], what: str) -> list[Any]:
    """The nodes in execution order (stable), by what each reads. BadFileError: a cycle, a value made twice, a value nobody
    makes."""
    maker: dict[str, int] = {}
    for i, n in enumerate(nodes):
        for o in n.output:
            if not o:
                continue
            if o in maker or known(o):
                raise BadFileError(f"{what}: the value {o!r} is made twice (node {n.name!r}, {n.op_type})")
            maker[o] = i
    needs: list[list[int]] = []
    in_order = True
    for i, (n, names) in enumerate(zip(nodes, read)):
        mine = []
        for name in names:
            j = maker.get(name)
            if j is not None:
                mine.append(j)
                in_order = in_order and j < i
            elif name and not known(name):
                raise BadFileError(f"{what}: node {n.name!r} ({n.op_type}) needs {name!r}, which nothing makes")
        needs.append(mine)
    if in_order:
        return list(nodes)
    users: list[list[int]] = [[] for _ in nodes]
    left = [len(set(m)) for m in needs]
    for i, m in enumerate(needs):
        for j in set(m):
            users[j].append(i)
    heap = [i for i, n in enumerate(left) if not n]
    order: list[int] = []
    while heap:
        i = heapq.heappop(heap)
        order.append(i)
        for u in users[i]:
            left[u] -= 1
            if not left[u]:
                heapq.heappush(heap, u)
    if len(order) != len(nodes):
        stuck = [n for n, k in zip(nodes, left) if k][:4]
        raise BadFileError(f"{what}: cycle through " + ", ".join(f"{n.name or n.output[0]!r} ({n.op_type})" for n in stuck))
    return [nodes[i] for i in order]


def _inner(node: Any) -> Sequence[str]:
    """Names that the node's subgraphs use from outside."""
    graphs: list[Any] = []
    for a in node.attribute:
        kind = a.type or attribute_kind(a)
        if kind == 5:
            graphs.append(a.g)
        elif kind == 10:
            graphs += a.graphs
    return [n for g in graphs for n in free_names(g, 0)] if graphs else ()


def names_read(nodes: Iterable[Any]) -> list[list[str]]:
    """The names that each of the nodes reads, those inside its subgraphs too; "" for an input that is left out."""
    return [[*n.input, *_inner(n)] for n in nodes]


def free_names(graph: Any, depth: int) -> list[str]:
    """Names a subgraph uses from the scopes around it, in order of first use."""
    if depth > MAX_DEPTH:
        raise BadFileError(f"subgraphs are nested more than {MAX_DEPTH} deep")
    own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    own |= {s.values.name for s in graph.sparse_initializer}
    own.update(o for n in graph.node for o in n.output)
    out: dict[str, None] = {}
    for n in graph.node:
        for name in n.input:
            if name and name not in own:
                out[name] = None
        for a in n.attribute:
            for g in [a.g] if a.type == 5 or a.HasField("g") else a.graphs:
                for name in free_names(g, depth + 1):
                    if name not in own:
                        out[name] = None
    for v in graph.output:
        if v.name and v.name not in own:
            out[v.name] = None
    return list(out)


_PLACEHOLDER = re.compile(r"^(\?|None|none|-1|unk__\d+|)$")


def declared_type(
    info: Any, dim: Callable[[str], DimLike | None], unknown: Callable[[int], DimLike | None]
) -> tuple[DType | None, Shape | None, str]:
    """(dtype, shape, why not) of a ValueInfoProto.

    ``dim`` makes a size of a ``dim_param``, ``unknown`` one for axis i without value or name. The reason is "" for tensors
    of a type convcore holds.
    """
    kind = info.type.WhichOneof("value")
    if kind is None:
        return None, None, ""
    if kind != "tensor_type":
        held = container(info.type)
        return held, None, "" if held is not None else f"it is a {kind.removesuffix('_type')} of a kind that is not supported"
    t = info.type.tensor_type
    dtype = DTYPES.get(t.elem_type)
    why = "" if dtype is not None or not t.elem_type else f"its element type {t.elem_type} is not supported"
    if not t.HasField("shape"):
        return dtype, None, why
    shape: list[DimLike | None] = []
    for i, d in enumerate(t.shape.dim):
        if d.HasField("dim_value") and d.dim_value >= 0:
            shape.append(int(d.dim_value))
        elif d.dim_param and not _PLACEHOLDER.match(d.dim_param):
            shape.append(dim(d.dim_param))
        else:
            shape.append(unknown(i))
    return dtype, tuple(shape), why


def container(t: Any) -> DType | None:
    """The type of a sequence of tensors, or of an optional value, by its TypeProto; None for another."""
    kind = t.WhichOneof("value")
    if kind == "tensor_type":
        return DTYPES.get(t.tensor_type.elem_type)
    inner = (
        t.sequence_type.elem_type if kind == "sequence_type" else t.optional_type.elem_type if kind == "optional_type" else None
    )
    held = None if inner is None else container(inner)
    if held is None or (held.is_container and (kind == "sequence_type" or held.is_optional)):
        return None
    return held.sequence if kind == "sequence_type" else held.optional


def declare_container(t: Any, dtype: DType, code: Callable[[DType], int]) -> None:
    """Fill a TypeProto in: the other way round."""
    if dtype.is_optional:
        declare_container(t.optional_type.elem_type, dtype.held, code)
    elif dtype.element is not None:
        declare_container(t.sequence_type.elem_type, dtype.element, code)
    else:
        t.tensor_type.elem_type = code(dtype)


def read_dim(text: str, ours: bool) -> DimLike:
    """A ``dim_param`` as a size. Only in files convcore wrote is it read as an expression; elsewhere ``a-b`` is a name."""
    if not text.isidentifier() and ours:
        try:
            return parse_dim(text)
        except ShapeError:
            return Dim(text)
    return Dim(text)

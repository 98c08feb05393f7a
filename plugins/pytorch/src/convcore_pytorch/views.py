"""Views of tensors: which operators make them, and how a view with new elements goes back into what it is a view of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from convcore.plugin import DimLike, DType, Value

from .context import AtenNode, TorchContext, known
from .files.program import Constant, TensorValue

__all__ = ["EACH", "base_name", "is_view", "row_major", "scatter_of", "whole"]

Scatter = Callable[[Value, Value], Value]

MAYBE = frozenset(
    {"reshape", "reshape_as", "flatten", "contiguous", "ravel", "expand_as", "to", "type_as", "resolve_conj", "cpu"}
)
"""May be a view or a copy, as strides and types have it (of ``type_as`` the schema does not say so)."""
PASSING = frozenset(
    {"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "atleast_1d", "atleast_2d", "atleast_3d"}
)
"""Give their argument itself in some cases, though the schema does not say so (ATen/native/Dropout.cpp)."""
HIDDEN = frozenset({
    "meshgrid", "einsum", "broadcast_tensors", "sum_to_size", "conj_physical", "cartesian_prod", "channel_shuffle",
    "_unsafe_view", "unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes",
})  # fmt: skip
"""May give views of their arguments though the schema does not say so. Found by comparing the storages of what torch 2.6's own
samples (op_db) take and give."""
EACH = frozenset({"meshgrid", "broadcast_tensors", "atleast_1d", "atleast_2d", "atleast_3d"})
"""Those whose n-th result is of the n-th tensor of their list."""
SAME_ELEMENTS = frozenset(
    {"view", "reshape", "reshape_as", "flatten", "unflatten", "squeeze", "unsqueeze", "ravel", "view_as", "_unsafe_view"}
)


def is_view(node: AtenNode, before: TensorValue | None, after: TensorValue | None) -> bool | None:
    """Whether the results share memory with the first tensor: True, False, None where it cannot be told."""
    base = base_name(node)
    if base in HIDDEN:
        return None
    if base in PASSING:
        return not node.arguments.get("train") or None
    if node.signature is None:
        return False
    if base not in MAYBE:
        return node.signature.views
    if before is None or after is None:
        return None
    if (before.dtype, before.device) != (after.dtype, after.device):
        return False
    if node.arguments.get("copy") is True:
        return False
    if base == "contiguous" or _ordered(node.arguments.get("memory_format")):
        return _unmoved(before, after)
    if base in ("to", "type_as", "cpu"):
        return True
    if before.strides is None or before.shape is None:
        return None
    if base in ("reshape", "reshape_as", "flatten", "ravel"):
        return True if row_major(before) else None
    return True


def base_name(node: AtenNode) -> str:
    """``conv2d`` of ``aten.conv2d.padding``."""
    return _base(node.type)


def _base(kind: str) -> str:
    return kind.split(".")[1] if "." in kind else kind  # a damaged file names anything


def _ordered(memory_format: Any) -> bool:
    """Whether a memory format asks for an order of elements in memory."""
    return isinstance(memory_format, Constant) and memory_format.name != "preserve_format"


def _unmoved(before: TensorValue, after: TensorValue) -> bool | None:
    """Whether what asks for an order in memory gave its argument itself: then the strides stay. With an axis of size 1, whose
    stride says nothing, and with symbols that may be written in two ways, that is not certain (c10/core/TensorImpl.h,
    ATen/native/TensorConversions.cpp)."""
    if before.strides is None or after.strides is None:
        return None
    if before.strides == after.strides:
        return None if 1 in (before.shape or ()) and not row_major(before) else True
    return False if all(isinstance(n, int) for n in (*before.strides, *after.strides)) else None


def row_major(t: TensorValue) -> bool:
    """Row-major. With symbolic sizes only where the strides after the symbolic axis are numbers and that axis comes first."""
    expected: Any = 1
    shape, strides = t.shape or (), t.strides or ()
    for i, (n, s) in reversed(list(enumerate(zip(shape, strides)))):
        if n != 1 and s != expected:
            return False
        if not isinstance(n, int):
            return i == 0
        expected *= n
    return True


def whole(steps: Iterable[str]) -> bool:
    """Whether views by these operators, one of another, are of all the memory from its begin on, in the order it is in."""
    return all(_base(op) in SAME_ELEMENTS or _base(op) in ("alias", "detach") for op in steps)


def scatter_of(g: TorchContext, node: AtenNode, index: int) -> Scatter | None:
    """The way back for result ``index`` of a view operator; None where there is none."""
    base = base_name(node)
    if base in SAME_ELEMENTS:
        return lambda old, new: g.reshape(new, known(old))
    if base in PASSING or base in ("alias", "detach", "contiguous", "to", "type_as", "resolve_conj", "lift_fresh", "cpu"):
        return lambda old, new: new
    x = next((a for a in node.arguments.values() if isinstance(a, Value)), None)
    if x is None or x.rank is None:
        return None
    rank = x.rank
    if base in ("transpose", "permute", "t", "swapaxes", "swapdims", "movedim", "numpy_T", "mT", "adjoint", "matrix_H"):
        perm = permutation(node, rank)
        return None if perm is None else lambda old, new: g.transpose(new, [perm.index(i) for i in range(rank)])
    if base in ("select", "slice", "narrow", "unbind", "split", "chunk", "split_with_sizes", "tensor_split"):
        return _part(g, node, rank, index)
    return None


_MOVED = ("dims", "dim0", "dim1", "axis0", "axis1", "source", "destination")


def permutation(node: AtenNode, rank: int) -> list[int] | None:
    """The order of axes of an operator that moves them; None for axes there are not."""
    base, a = base_name(node), node.arguments
    perm = list(range(rank))
    if not rank:
        return perm
    named = [int(d) for k in _MOVED if k in a for d in (a[k] if isinstance(a[k], (list, tuple)) else [a[k]])]
    if any(not -rank <= d < rank for d in named):
        return None
    if base == "permute":
        return [int(d) % rank for d in a["dims"]]
    if base in ("numpy_T", "t", "mT", "adjoint", "matrix_H"):
        if base in ("mT", "adjoint", "matrix_H"):
            return [*perm[:-2], rank - 1, rank - 2]
        return perm[::-1]
    if base in ("transpose", "swapaxes", "swapdims"):
        names = ("axis0", "axis1") if base == "swapaxes" else ("dim0", "dim1")
        i, j = (int(a[n]) % rank for n in names)
        perm[i], perm[j] = perm[j], perm[i]
        return perm
    if base == "movedim":
        source, target = (
            [int(v) % rank for v in (n if isinstance(n, (list, tuple)) else [n])] for n in (a["source"], a["destination"])
        )
        if not len(source) == len(target) == len(set(source)) == len(set(target)):
            return None
        left = iter(i for i in range(rank) if i not in source)
        return [source[target.index(i)] if i in target else next(left) for i in range(rank)]
    return None


def _part(g: TorchContext, node: AtenNode, rank: int, index: int) -> Scatter | None:
    base, a = base_name(node), node.arguments
    axis = a["dim"]
    if not isinstance(axis, int) or not rank:
        return None
    axis %= rank
    if base == "slice" and a["step"] != 1:
        return lambda old, new: _strided(g, node, axis, old, new)
    if base not in ("select", "slice", "narrow"):
        return lambda old, new: _piece(g, node, axis, index, old, new)

    def put(old: Value, new: Value) -> Value:
        n = known(old)[axis]
        start, size = (a["index"], 1) if base == "select" else (a["start"], known(new)[axis])
        if base == "select":
            new = g.b.unsqueeze(new, axes=(axis,))
        start = 0 if start is None else start
        if isinstance(start, int) and start < 0:
            start = n + start
        if isinstance(start, int) and isinstance(n, int):
            start = max(0, min(start, n))
        return _join(g, axis, old, new, start, size)

    return put


def _join(g: TorchContext, axis: int, old: Value, new: Value, start: DimLike, size: DimLike) -> Value:
    """``old`` with ``size`` elements from ``start`` along an axis replaced."""
    shape = known(old)
    parts = [new]
    if not (isinstance(start, int) and start == 0):
        parts.insert(0, _slice(g, old, axis, 0, start))
    stop = start + size
    rest = shape[axis] - stop
    if not (isinstance(rest, int) and rest <= 0):
        parts.append(_slice(g, old, axis, stop, None))
    return parts[0] if len(parts) == 1 else g.b.concat(*parts, axis=axis)


def _slice(g: TorchContext, x: Value, axis: int, start: DimLike, stop: DimLike | None) -> Value:
    rank = len(known(x))
    return g.b.slice(
        x, starts=[start if i == axis else 0 for i in range(rank)], stops=[stop if i == axis else None for i in range(rank)],
        steps=[1] * rank,
    )  # fmt: skip


def _piece(g: TorchContext, node: AtenNode, axis: int, index: int, old: Value, new: Value) -> Value:
    pieces = list(g.loader.again(node, old))
    if base_name(node) == "unbind":
        pieces[index] = new
        return g.b.stack(*pieces, axis=axis)
    pieces[index] = new
    return g.b.concat(*pieces, axis=axis)


def _strided(g: TorchContext, node: AtenNode, axis: int, old: Value, new: Value) -> Value:
    """Every step-th slice replaced, as a scatter along the axis."""
    shape, size, a = known(old), known(new)[axis], node.arguments
    n, start, stop = shape[axis], a["start"] or 0, a["end"]
    if not isinstance(n, int) or not isinstance(size, int):
        raise node.refuse(
            f"a write to every {a['step']}-th element of an axis whose size is not fixed", code="unsupported_mutation"
        )
    at = list(range(*slice(start, stop, a["step"]).indices(n)))
    if not at:
        return old
    perm = [axis, *(i for i in range(len(shape)) if i != axis)]
    back = [perm.index(i) for i in range(len(shape))]
    made = g.b.scatter_nd(g.transpose(old, perm), g.b.const([[i] for i in at], DType.INT64), g.transpose(new, perm))
    return g.transpose(made, back)

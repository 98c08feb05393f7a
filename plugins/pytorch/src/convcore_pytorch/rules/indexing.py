"""ATen's operators that pick or replace elements."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import DimLike, DType, NotExpressible, Value, broadcast_shapes

from ..context import AtenNode, TorchContext, known
from .arithmetic import filler
from .base import RULES


@RULES.load("aten.select.int", "aten.select_copy.int")
def select(g: TorchContext, n: AtenNode) -> Value:
    x, rank = n.tensor("self"), n.rank("self")
    axis, index = n.axis("dim", rank), n.arg("index")
    if isinstance(index, Value) and index.tensor is None:
        if index.rank == 0:
            return g.b.gather(x, index, axis=axis)
        raise NotExpressible("selects by a tensor with axes")
    i = n.size("index")
    stop: DimLike | None = None if isinstance(i, int) and i == -1 else i + 1
    y = g.b.slice(
        x, starts=[i if a == axis else 0 for a in range(rank)], stops=[stop if a == axis else None for a in range(rank)],
        steps=[1] * rank,
    )  # fmt: skip
    return g.b.squeeze(y, axes=(axis,))


@RULES.load("aten.slice.Tensor", "aten.narrow", "aten.slice_copy.Tensor", "aten.narrow_copy")
def slice_(g: TorchContext, n: AtenNode) -> Value:
    x, rank = n.tensor("self"), n.rank("self")
    axis = n.axis("dim", rank)
    if n.type.startswith("aten.narrow"):
        start, step, length = n.size("start"), 1, n.size("length")
        if isinstance(length, int) and length < 0:
            raise NotExpressible(f"its argument length={length} is below 0", "invalid_shape")
        stop: DimLike | None = start + length
        if isinstance(start, int) and start < 0 and isinstance(stop, int) and stop >= 0:
            stop = None
    else:
        start = 0 if n.arg("start") is None else n.size("start")
        stop = None if n.arg("end") is None else n.size("end")
        step = int(n.number("step"))
    if isinstance(stop, int) and stop >= 2**62:
        stop = None
    if start == 0 and stop is None and step == 1 and isinstance(start, int):
        return x
    return g.b.slice(
        x, starts=[start if a == axis else 0 for a in range(rank)], stops=[stop if a == axis else None for a in range(rank)],
        steps=[step if a == axis else 1 for a in range(rank)],
    )  # fmt: skip


@RULES.load("aten.index_select")
def index_select(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    if not n.rank("self"):
        n.skip("dim", "index")
        return g.b.identity(x)
    i = n.tensor("index")
    return g.b.gather(x, g.reshape(i, (1,)) if i.rank == 0 else i, axis=n.axis("dim", n.rank("self")))


@RULES.load("aten.gather")
def gather(g: TorchContext, n: AtenNode) -> Value:
    x, i = n.tensor("self"), n.tensor("index")
    n.skip("sparse_grad")
    if not n.rank("self"):
        n.skip("dim")
        return g.b.identity(x) if i.rank == 0 else g.b.expand(x, shape=known(i))
    if 0 in (i.shape or ()):
        n.skip("dim")
        return g.b.fill(shape=known(i), value=0, dtype=x.dtype)
    return g.b.take_along_axis(x, i, axis=n.axis("dim", n.rank("self")))


@RULES.load("aten.take_along_dim")
def take_along_dim(g: TorchContext, n: AtenNode) -> Value:
    x, i = n.tensor("self"), n.tensor("indices")
    if n.arg("dim") is None:
        return g.b.gather(g.reshape(x, (-1,)), g.reshape(i, (-1,)), axis=0)
    axis = n.axis("dim", n.rank("self"))
    xs, ix = list(n.shape("self")), list(known(i))
    for a in range(len(xs)):
        if a != axis:
            size: Any = broadcast_shapes((xs[a],), (ix[a],))
            xs[a] = ix[a] = size[0]
    x = x if tuple(xs) == x.shape else g.b.expand(x, shape=tuple(xs))
    i = i if tuple(ix) == i.shape else g.b.expand(i, shape=tuple(ix))
    return g.b.take_along_axis(x, i, axis=axis)


@RULES.load("aten.take")
def take(g: TorchContext, n: AtenNode) -> Value:
    return g.b.gather(g.reshape(n.tensor("self"), (-1,)), n.tensor("index"), axis=0)


# ---------------------------------------------------------------- index.Tensor
def indices_of(g: TorchContext, n: AtenNode) -> list[Value | None]:
    """One index per axis; bool masks refused (their results have a size that depends on the data)."""
    given = n.arg("indices")
    if not isinstance(given, (list, tuple)):
        raise NotExpressible("its indices are no list")
    out: list[Value | None] = []
    for i in given:
        if i is not None and not isinstance(i, Value):
            raise NotExpressible("an index is no tensor")
        if i is not None and i.dtype in (DType.BOOL, DType.UINT8):
            if i.tensor is None:
                raise NotExpressible("picks by a mask, whose result has a size that depends on the data", "unsupported_shape")
            out += [g.b.const(a, DType.INT64) for a in np.nonzero(i.tensor.numpy())]
            continue
        out.append(i)
    return out


@RULES.load("aten.index.Tensor")
def index(g: TorchContext, n: AtenNode) -> Value:
    """numpy's rules: indexed axes side by side are replaced where they are, else by axes in front."""
    x, mask = n.tensor("self"), leading_mask(n)
    if mask is not None:
        return g.b.gather_nd(x, g.b.transpose(g.b.nonzero(mask), perm=(1, 0)))
    given = indices_of(g, n)
    at = [a for a, i in enumerate(given) if i is not None]
    if not at:
        return x
    tensors = [i for i in given if i is not None]
    if len(at) == 1:
        return g.b.gather(x, tensors[0], axis=at[0])
    together = at == list(range(at[0], at[-1] + 1))
    rank = n.rank("self")
    rest = [a for a in range(rank) if a not in at]
    front = g.transpose(x, [*at, *rest])
    y = g.b.gather_nd(front, stacked(g, tensors))
    if not together:
        return y
    shape: Any = broadcast_shapes(*(known(t) for t in tensors))
    k, lead = len(shape), at[0]
    order = [*range(k, k + lead), *range(k), *range(k + lead, k + len(rest))]
    return g.transpose(y, order)


def leading_mask(n: AtenNode) -> Value | None:
    """The one index, where that is a mask of the first axes that is computed."""
    given = n.arguments["indices"]
    if not isinstance(given, (list, tuple)) or not given or any(i is not None for i in given[1:]):
        return None
    mask = given[0]
    if not isinstance(mask, Value) or mask.dtype is not DType.BOOL or mask.tensor is not None or not mask.rank:
        return None
    n.skip("indices")
    return mask


def stacked(g: TorchContext, tensors: Sequence[Value]) -> Value:
    """Index tensors, broadcast, as vectors along a last axis."""
    shape: Any = broadcast_shapes(*(known(t) for t in tensors))
    if None in shape:
        raise NotExpressible("the shapes of its indices are not known", "unknown_shape")
    wide = [g.cast(t, DType.INT64) for t in tensors]
    wide = [t if t.shape == shape else g.b.expand(t, shape=shape) for t in wide]
    return g.b.stack(*wide, axis=len(shape)) if len(wide) > 1 else g.b.unsqueeze(wide[0], axes=(len(shape),))


@RULES.load("aten.index_put", "aten._unsafe_index_put")
def index_put(g: TorchContext, n: AtenNode) -> Value:
    x, values = n.tensor("self"), n.tensor("values")
    mask = n.arg("indices")
    if isinstance(mask, list) and len(mask) == 1 and isinstance(mask[0], Value) and mask[0].dtype is DType.BOOL:
        if values.shape is not None and all(d == 1 for d in values.shape):
            m = mask[0]
            m = g.reshape(m, (*known(m), *[1] * (n.rank("self") - len(known(m)))))
            n.skip("indices")
            if n.number("accumulate"):
                raise NotExpressible("adds to the elements of a mask")
            return g.b.where(m, g.cast(g.reshape(values, ()), x.dtype), x)
        if mask[0].tensor is None and mask[0].rank:
            return put_by_mask(g, n, x, mask[0], values)
    given = indices_of(g, n)
    at = [a for a, i in enumerate(given) if i is not None]
    if not at:
        raise NotExpressible("has no index")
    tensors = [i for i in given if i is not None]
    rank = n.rank("self")
    rest = [a for a in range(rank) if a not in at]
    shape: Any = broadcast_shapes(*(known(t) for t in tensors))
    xs = n.shape("self")
    together = at == list(range(at[0], at[-1] + 1))
    lead = [xs[a] for a in rest if a < at[0]] if together else []
    tail = [xs[a] for a in rest if not (together and a < at[0])]
    full: list[Any] = [*lead, *(shape or ()), *tail]
    v = g.cast(values, x.dtype)
    v = v if v.shape == tuple(full) else g.b.expand(v, shape=tuple(full))
    k = len(shape or ())
    v = g.transpose(v, [*range(len(lead), len(lead) + k), *range(len(lead)), *range(len(lead) + k, len(full))])
    front = g.transpose(x, [*at, *rest])
    how: Any = "add" if n.number("accumulate") else "none"
    if how == "none" and not _distinct(tensors):
        raise NotExpressible(
            "writes to elements by indices that may repeat: which value wins is not defined", "unsupported_mutation"
        )
    made = g.b.scatter_nd(front, stacked(g, [_positive(g, t, xs[a]) for t, a in zip(tensors, at)]), v, reduction=how)
    return g.transpose(made, [[*at, *rest].index(a) for a in range(rank)])


def put_by_mask(g: TorchContext, n: AtenNode, x: Value, mask: Value, values: Value) -> Value:
    """Values in order where a mask of the first axes is true: as many as it picks, or one for all."""
    n.skip("indices")
    rest = n.shape("self")[mask.rank or 0 :]
    shape = values.shape
    whole = shape is not None and len(shape) == 1 + len(rest) and tuple(shape[1:]) == rest and shape[0] != 1
    if not whole:  # the same for all that are picked
        shape = known(values)
        if len(shape) > len(rest) and any(d != 1 for d in shape[: len(shape) - len(rest)]):
            raise NotExpressible("puts values of a shape that depends on the mask", "unsupported_shape")
        v = g.reshape(values, shape[len(shape) - len(rest) :]) if len(shape) > len(rest) else values
        v = g.cast(v, x.dtype)
        put = g.b.add(x, v) if n.number("accumulate") else v
        return g.b.where(g.reshape(mask, (*known(mask), *[1] * len(rest))), put, x)
    at = g.b.transpose(g.b.nonzero(mask), perm=(1, 0))
    how: Any = "add" if n.number("accumulate") else "none"
    return g.b.scatter_nd(x, at, g.cast(values, x.dtype), reduction=how)


@RULES.load("aten._unsafe_masked_index")
def masked_index(g: TorchContext, n: AtenNode) -> Value:
    """Elements where the mask is true, whose indices alone need to be inside; elsewhere ``fill``."""
    x, mask, given = n.tensor("self"), n.tensor("mask"), indices_of(g, n)
    tensors = [i for i in given if i is not None]
    if len(tensors) != len(given) or len(tensors) != n.rank("self"):
        raise NotExpressible("has no index for some axis")
    inside = [g.b.minimum(g.b.maximum(t, g.b.like(t, 0)), g.scalar(s - 1, t.dtype)) for t, s in zip(tensors, known(x))]
    y = g.b.gather_nd(x, stacked(g, inside))
    return g.b.where(mask, y, g.scalar(n.arg("fill"), y.dtype))


@RULES.load("aten._unsafe_masked_index_put_accumulate")
def masked_index_put(g: TorchContext, n: AtenNode) -> Value:
    """Values added where the mask is true."""
    x, mask, given, values = n.tensor("self"), n.tensor("mask"), indices_of(g, n), n.tensor("values")
    tensors = [i for i in given if i is not None]
    if len(tensors) != len(given) or len(tensors) != n.rank("self"):
        raise NotExpressible("has no index for some axis")
    inside = [g.b.minimum(g.b.maximum(t, g.b.like(t, 0)), g.scalar(s - 1, t.dtype)) for t, s in zip(tensors, known(x))]
    at = stacked(g, inside)
    added = g.b.where(mask, g.cast(values, x.dtype), g.b.like(x, 0))
    return g.b.scatter_nd(x, at, g.b.expand(added, shape=known(at)[:-1]), reduction="add")


def _positive(g: TorchContext, t: Value, size: DimLike) -> Value:
    return g.b.where(g.b.less(t, g.b.like(t, 0)), g.b.add(t, g.scalar(size, t.dtype)), t)


def _distinct(tensors: Sequence[Value]) -> bool:
    """Whether index vectors that are constants are all different; those that are computed are taken to be, as torch does."""
    if any(t.tensor is None for t in tensors):
        return True
    flat = np.stack([a.ravel() for a in np.broadcast_arrays(*(t.tensor.numpy() for t in tensors if t.tensor is not None))], 1)
    return len(np.unique(flat, axis=0)) == len(flat)


# ---------------------------------------------------------------- scatter
@RULES.load("aten.scatter.src", "aten.scatter.value", "aten.scatter_add", "aten.scatter.reduce", "aten.scatter.value_reduce")
def scatter(g: TorchContext, n: AtenNode) -> Value:
    x, i, axis = n.tensor("self"), n.tensor("index"), n.axis("dim", n.rank("self"))
    how: Any = "add" if n.type == "aten.scatter_add" else "none"
    if "reduce" in n.arguments:
        how = {"add": "add", "multiply": "mul"}.get(n.arg("reduce"), "")
        if not how:
            raise NotExpressible(f"reduce={n.arg('reduce')!r} is not known")
    src = n.arg("src") if "src" in n.arguments else n.arg("value")
    shape = known(i)
    if not shape:
        raise NotExpressible("scatters into a number")
    if isinstance(src, Value) and src.rank:
        if known(src) != shape:
            src = g.b.slice(src, starts=[0] * len(shape), stops=list(shape), steps=[1] * len(shape))
    else:
        src = g.b.expand(filler(g, n, src, x.dtype), shape=shape)
    return g.b.scatter_elements(x, i, g.cast(src, x.dtype), axis=axis, reduction=how)


@RULES.load("aten.index_fill.int_Scalar", "aten.index_fill.int_Tensor")
def index_fill(g: TorchContext, n: AtenNode) -> Value:
    x, i, axis = n.tensor("self"), n.tensor("index"), n.axis("dim", n.rank("self"))
    shape = list(n.shape("self"))
    if not shape:
        raise NotExpressible("fills a number", "unsupported_shape")
    (shape[axis],) = known(i) if i.rank else (1,)
    at = g.reshape(i, [shape[axis] if a == axis else 1 for a in range(len(shape))])
    value = g.b.expand(filler(g, n, n.arg("value"), x.dtype), shape=tuple(shape))
    return g.b.scatter_elements(x, g.b.expand(at, shape=tuple(shape)), value, axis=axis)


@RULES.load("aten.index_add", "aten.index_copy")
def index_add(g: TorchContext, n: AtenNode) -> Value:
    x, i, axis, source = n.tensor("self"), n.tensor("index"), n.axis("dim", n.rank("self")), n.tensor("source")
    shape = known(source)
    at = g.b.expand(g.reshape(i, [shape[axis] if a == axis else 1 for a in range(len(shape))]), shape=shape)
    if n.type == "aten.index_copy":
        return g.b.scatter_elements(x, at, source, axis=axis)
    alpha = n.arg("alpha")
    if alpha != 1:
        source = g.b.mul(source, g.scalar(alpha, source.dtype))
    return g.b.scatter_elements(x, at, source, axis=axis, reduction="add")


@RULES.load("aten.select_scatter", "aten.slice_scatter")
def select_scatter(g: TorchContext, n: AtenNode) -> Value:
    from ..views import scatter_of

    view = AtenNode(n.type.replace("_scatter", ""), n.name, {k: v for k, v in n.arguments.items() if k != "src"}, None, n.origin)
    back = scatter_of(g, view, 0)
    if back is None:
        raise NotExpressible("replaces a part that is not known")
    src = g.cast(n.tensor("src"), n.tensor("self").dtype)
    n.skip(*n.arguments)
    if view.type == "aten.slice":
        (want,) = [select_shape(g, n, view)]
        src = src if known(src) == want else g.b.expand(src, shape=want)
    return back(n.tensor("self"), src)


def select_shape(g: TorchContext, n: AtenNode, view: AtenNode) -> tuple[DimLike, ...]:
    made = slice_(g, AtenNode("aten.slice.Tensor", n.name, view.arguments, None, n.origin))
    return known(made)


@RULES.load("aten.triu", "aten.tril")
def triangle(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    v = g.cast(x, DType.INT32) if x.dtype is DType.BOOL else x
    y = g.b.trilu(v, upper=n.type == "aten.triu", k=n.size("diagonal"))
    return g.b.not_equal(y, g.b.like(y, 0)) if x.dtype is DType.BOOL else y


@RULES.load("aten.combinations")
def combinations(g: TorchContext, n: AtenNode) -> Value:
    """Rows of ``r`` elements, as itertools has them."""
    x, r = n.tensor("self"), int(n.number("r"))
    (count,) = n.shape("self")
    if r < 1:
        raise NotExpressible(f"of {r} elements each", "unsupported_shape")
    if not isinstance(count, int):
        raise NotExpressible(f"of {count} elements, a symbolic size", "unsupported_shape")
    pick = itertools.combinations_with_replacement if n.number("with_replacement") else itertools.combinations
    rows = np.asarray(list(pick(range(count), r)), np.int64).reshape(-1, r)
    return g.b.gather(x, g.b.const(rows, DType.INT64), axis=0)


@RULES.load("aten.one_hot")
def one_hot(g: TorchContext, n: AtenNode) -> Value:
    depth = n.number("num_classes")
    if depth < 0:
        raise NotExpressible("num_classes=-1 depends on the data", "unsupported_shape")
    x = n.tensor("self")
    return g.b.one_hot(x, depth=depth, dtype=DType.INT64)


@RULES.load("aten.embedding")
def embedding(g: TorchContext, n: AtenNode) -> Any:
    n.skip("sparse")  # how gradients are held
    if n.number("scale_grad_by_freq"):
        g.note(
            f"{n.name}: gradients by how often an index occurs (scale_grad_by_freq) are not kept, which only matters in training"
        )
    row = n.number("padding_idx")
    return g.b.embedding(n.tensor("indices"), n.tensor("weight"), padding_idx=None if row < 0 else row)

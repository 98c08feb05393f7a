"""ATen's reductions."""

from __future__ import annotations

from typing import Any

from convcore.plugin import DType, NotExpressible, Value, product

from ..context import AtenNode, TorchContext
from .base import RULES, truth


def over(n: AtenNode, name: str = "dim") -> tuple[int, ...]:
    """The axes a reduction runs over: all where none are named."""
    rank = n.rank("self")
    given = n.arg(name) if name in n.arguments else None
    if given is None or (isinstance(given, (list, tuple)) and not given):
        return tuple(range(rank))
    return n.axes(name, rank) if rank else ()


def kept(n: AtenNode) -> bool:
    return bool(n.number("keepdim")) if "keepdim" in n.arguments else False


def apply(g: TorchContext, name: str, x: Value, axes: tuple[int, ...], keep: bool, **attrs: Any) -> Value:
    """A reduction; over no axis at all (a tensor without axes) a reduction over an axis of size 1."""
    if not axes:
        x, axes, keep = g.b.unsqueeze(x, axes=(0,)), (0,), False
    y: Value = g.b.op(name, x, axes=axes, keepdims=keep, **attrs)
    return y


_SUMS = {"sum": "sum", "prod": "prod", "mean": "mean"}


@RULES.load("aten.sum", "aten.sum.dim_IntList", "aten.mean", "aten.mean.dim", "aten.prod", "aten.prod.dim_int", "aten.nansum")
def sums(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    name = n.type.split(".")[1]
    dtype = n.element("dtype") or n.dtype
    if dtype is None and x.dtype is not None and not x.dtype.is_float:
        dtype = DType.INT64
    x = g.cast(x, dtype)
    if name == "nansum":
        name, x = "sum", g.b.where(g.b.isnan(x), g.b.like(x, 0), x) if x.dtype is not None and x.dtype.is_float else x
    return apply(g, name, x, over(n), kept(n))


@RULES.load("aten.amax", "aten.amin", "aten.max", "aten.min")
def extremes(g: TorchContext, n: AtenNode) -> Value:
    return extreme(g, n.type[-3:], n.tensor("self"), over(n), kept(n))


def extreme(g: TorchContext, name: str, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    if x.dtype is DType.BOOL:
        return apply(g, "any" if name == "max" else "all", x, axes, keep)
    return apply(g, name, x, axes, keep)


@RULES.load("aten.max.dim", "aten.min.dim")
def extreme_dim(g: TorchContext, n: AtenNode) -> Any:
    x, name = n.tensor("self"), n.type.split(".")[1]
    if not n.rank("self"):
        n.skip("dim", "keepdim")
        return x, g.b.const(0, DType.INT64)
    axis = n.axis("dim", n.rank("self"))
    numbers = g.cast(x, DType.INT32) if x.dtype is DType.BOOL else x
    return extreme(g, name, x, (axis,), kept(n)), g.b.op(f"arg{name}", numbers, axis=axis, keepdims=kept(n))


@RULES.load("aten.argmax", "aten.argmin")
def arg_extreme(g: TorchContext, n: AtenNode) -> Value:
    x, name = n.tensor("self"), n.type.split(".")[1]
    x = g.cast(x, DType.INT32) if x.dtype is DType.BOOL else x
    rank, keep = n.rank("self"), kept(n)
    if n.arg("dim") is None:
        flat: Value = g.b.op(name, g.reshape(x, (-1,)), axis=0)
        return g.reshape(flat, (1,) * rank) if keep else flat
    if not rank:
        n.number("dim")
        return g.b.const(0, DType.INT64)
    v: Value = g.b.op(name, x, axis=n.axis("dim", rank), keepdims=keep)
    return v


@RULES.load("aten.any", "aten.any.dim", "aten.any.dims", "aten.all", "aten.all.dim", "aten.all.dims")
def truths(g: TorchContext, n: AtenNode) -> Value:
    """Of bytes they are bytes; an empty list of axes is no axis (ATen/native/ReduceOps.cpp)."""
    x, name = n.tensor("self"), n.type.split(".")[1]
    axes = over(n)
    if n.type.endswith(".dims") and n.arg("dim") is not None and not n.arg("dim"):
        n.number("keepdim")
        made = truth(g, x)
    else:
        made = apply(g, name, truth(g, x), axes, kept(n))
    return g.cast(made, DType.UINT8) if x.dtype is DType.UINT8 else made


@RULES.load("aten.logsumexp", "aten.special_logsumexp")
def logsumexp(g: TorchContext, n: AtenNode) -> Value:
    return apply(g, "logsumexp", g.float(n.tensor("self"), n.dtype), over(n), kept(n))


@RULES.load(
    "aten.var", "aten.var.dim", "aten.var.correction", "aten.std", "aten.std.dim", "aten.std.correction", "aten.var_mean",
    "aten.var_mean.dim", "aten.var_mean.correction", "aten.std_mean", "aten.std_mean.dim", "aten.std_mean.correction",
)  # fmt: skip
def spread(g: TorchContext, n: AtenNode) -> Any:
    x, axes, keep = n.tensor("self"), over(n), kept(n)
    if "correction" in n.arguments:
        ddof = 1 if n.arg("correction") is None else n.number("correction")
    else:
        ddof = int(n.number("unbiased"))
    base = n.type.split(".")[1]
    if float(ddof) != int(ddof):  # the sum of squares over the number of elements less the correction, at least 0
        count = product([n.shape("self")[a] for a in axes])
        if not isinstance(count, int):
            raise NotExpressible(f"correction={ddof} over a symbolic number of elements", "unsupported_shape")
        plain = apply(g, "variance", x, axes, keep, ddof=0)
        made = g.b.mul(plain, g.b.like(plain, count / max(count - ddof, 0) if count > ddof else float("inf")))
        made = made if base.startswith("var") else g.b.sqrt(made)
    else:
        made = apply(g, "variance" if base.startswith("var") else "std", x, axes, keep, ddof=int(ddof))
    return (made, apply(g, "mean", x, axes, keep)) if base.endswith("mean") else made


@RULES.load("aten.cumsum", "aten.cumprod")
def cumulative(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    dtype = n.element("dtype") or n.dtype
    if dtype is None and x.dtype is not None and not x.dtype.is_float:
        dtype = DType.INT64
    x = g.cast(x, dtype)
    if not n.rank("self"):
        n.skip("dim")
        return g.b.identity(x)
    v: Value = g.b.op(n.type.split(".")[1], x, axis=n.axis("dim", n.rank("self")))
    return v


@RULES.load("aten.count_nonzero", "aten.count_nonzero.dim_IntList")
def count_nonzero(g: TorchContext, n: AtenNode) -> Value:
    return apply(g, "sum", g.cast(truth(g, n.tensor("self")), DType.INT64), over(n), False)


@RULES.load("aten.diff")
def diff(g: TorchContext, n: AtenNode) -> Value:
    x, rank = n.tensor("self"), n.rank("self")
    axis = n.axis("dim", rank)
    parts = [p for p in (n.optional("prepend"), x, n.optional("append")) if p is not None]
    x = parts[0] if len(parts) == 1 else g.b.concat(*parts, axis=axis)
    for _ in range(n.number("n")):
        if x.dtype is DType.BOOL:
            raise NotExpressible("of bool")

        def cut(start: int, stop: int | None, x: Value = x) -> Value:
            return g.b.slice(
                x,
                starts=[start if i == axis else 0 for i in range(rank)],
                stops=[stop if i == axis else None for i in range(rank)],
                steps=[1] * rank,
            )

        x = g.b.sub(cut(1, None), cut(0, -1))
    return x

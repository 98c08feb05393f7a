"""ATen's losses: of live modules in parts, in files whole (ATen/native/Loss.cpp, LossNLL.cpp, torch 2.13)."""

from __future__ import annotations

from collections.abc import Callable

from convcore.plugin import DType, NotExpressible, Value, product

from ..context import AtenNode, TorchContext, known
from .base import RULES, fractions

Loss = Callable[[TorchContext, AtenNode, Value, Value], Value]


def reduced(g: TorchContext, n: AtenNode, loss: Value) -> Value:
    """None of it, the mean or the sum."""
    how, axes = n.number("reduction"), tuple(range(len(known(loss))))
    if how not in (0, 1, 2):
        raise NotExpressible(f"reduction={how} is not known")
    return loss if how == 0 or not axes else g.b.mean(loss, axes=axes) if how == 1 else g.b.sum(loss, axes=axes)


def _of_pairs(name: str, fn: Loss) -> None:
    """A loss of each element and its target, weighted where there is a weight."""

    @RULES.load(f"aten.{name}")
    def load(g: TorchContext, n: AtenNode) -> Value:
        x, y = fractions(g, n, [n.tensor("self"), n.tensor("target")])
        made = fn(g, n, x, y)
        weight = n.optional("weight") if "weight" in n.arguments else None
        return reduced(g, n, made if weight is None else g.b.mul(made, weight))


def _smooth(g: TorchContext, n: AtenNode, x: Value, y: Value) -> Value:
    """Square near 0, straight beyond: beta or delta is where."""
    size = g.b.abs(g.b.sub(x, y))
    huber = n.type == "aten.huber_loss"
    at = float(n.number("delta" if huber else "beta"))
    if at <= 0:
        if huber:
            raise NotExpressible(f"delta={at}", "invalid_attribute")
        return size
    square, straight = g.b.mul(g.b.square(size), g.b.like(size, 0.5)), g.b.sub(size, g.b.like(size, at / 2))
    if huber:
        straight = g.b.mul(straight, g.b.like(size, at))
    else:
        square = g.b.div(square, g.b.like(size, at))
    return g.b.where(g.b.less(size, g.b.like(size, at)), square, straight)


def _bce(g: TorchContext, n: AtenNode, x: Value, y: Value) -> Value:
    """Logarithms are at least -100."""
    one, low = g.b.like(x, 1), g.b.like(x, -100)
    of_x, of_rest = (g.b.maximum(v, low) for v in (g.b.log(x), g.b.log1p(g.b.neg(x))))
    return g.b.neg(g.b.add(g.b.mul(y, of_x), g.b.mul(g.b.sub(one, y), of_rest)))


def _bce_logits(g: TorchContext, n: AtenNode, x: Value, y: Value) -> Value:
    """(1 - y) x - (1 + (p - 1) y) log sigmoid(x), p the weight of what is true."""
    rest, log = g.b.mul(g.b.sub(g.b.like(x, 1), y), x), g.b.log_sigmoid(x)
    weight = n.optional("pos_weight")
    if weight is not None:
        log = g.b.mul(log, g.b.add(g.b.mul(g.b.sub(weight, g.b.like(weight, 1)), y), g.b.like(x, 1)))
    return g.b.sub(rest, log)


def _kl(g: TorchContext, n: AtenNode, x: Value, y: Value) -> Value:
    if n.number("log_target"):
        return g.b.mul(g.b.exp(y), g.b.sub(y, x))
    none = g.b.equal(y, g.b.like(y, 0))
    return g.b.sub(g.b.where(none, g.b.like(y, 0), g.b.mul(y, g.b.log(y))), g.b.mul(y, x))


_of_pairs("mse_loss", lambda g, n, x, y: g.b.square(g.b.sub(x, y)))
_of_pairs("l1_loss", lambda g, n, x, y: g.b.abs(g.b.sub(x, y)))
_of_pairs("smooth_l1_loss", _smooth)
_of_pairs("huber_loss", _smooth)
_of_pairs("binary_cross_entropy", _bce)
_of_pairs("binary_cross_entropy_with_logits", _bce_logits)
_of_pairs("kl_div", _kl)
_of_pairs("soft_margin_loss", lambda g, n, x, y: g.b.log1p(g.b.exp(g.b.neg(g.b.mul(x, y)))))


def _classes(g: TorchContext, n: AtenNode, logs: Value, smoothing: float = 0.0) -> Value:
    """The negative log probability (N, C, ...) of the class that is right, weighted; a mean is over the weights. Smoothed: that
    part of it spread over all classes."""
    target, weight, ignored = n.tensor("target"), n.optional("weight"), n.number("ignore_index")
    rank = len(known(logs))
    if rank < 1 or target.dtype is not DType.INT64:
        raise NotExpressible(f"of {rank} axes, targets of {target.dtype}", "unsupported_dtype")
    axis = 0 if rank == 1 else 1
    kept = g.b.not_equal(target, g.b.like(target, ignored))
    at = g.b.where(kept, target, g.b.like(target, 0))
    picked = g.b.squeeze(g.b.take_along_axis(logs, g.b.unsqueeze(at, axes=(axis,)), axis=axis), axes=(axis,))
    zero = g.b.like(picked, 0)
    share = g.b.where(kept, g.b.like(picked, 1) if weight is None else g.b.gather(weight, at, axis=0), zero)
    loss = g.b.neg(g.b.mul(picked, share))
    how = n.number("reduction")
    axes = tuple(range(len(known(loss))))
    if smoothing:
        of_all = logs if weight is None else g.b.mul(logs, g.reshape(weight, (*known(weight), *[1] * (rank - 1 - axis))))
        spread = g.b.where(kept, g.b.neg(g.b.sum(of_all, axes=(axis,))), zero)
        count = known(logs)[axis]
        if not isinstance(count, int):
            raise NotExpressible("smooths over a symbolic number of classes", "unsupported_shape")
        loss = g.b.add(g.b.mul(loss, g.b.like(loss, 1 - smoothing)), g.b.mul(spread, g.b.like(spread, smoothing / count)))
    if how == 1:
        return g.b.div(g.b.sum(loss, axes=axes), g.b.sum(share, axes=axes)) if axes else g.b.div(loss, share)
    return reduced(g, n, loss)


@RULES.load("aten.nll_loss_nd")
def nll_loss(g: TorchContext, n: AtenNode) -> Value:
    return _classes(g, n, n.tensor("self"))


@RULES.load("aten.cross_entropy_loss")
def cross_entropy(g: TorchContext, n: AtenNode) -> Value:
    """Of classes, or of probabilities (targets of the shape of the input), for which a mean is over the batch and the rest."""
    x, target, smoothing = n.tensor("self"), n.tensor("target"), float(n.number("label_smoothing"))
    rank = len(known(x))
    axis = 0 if rank == 1 else 1
    logs = g.b.log_softmax(x, axis=axis)
    if target.dtype is DType.INT64 and len(known(target)) == rank - 1:
        return _classes(g, n, logs, smoothing)
    if known(target) != known(x):
        raise NotExpressible("targets that are neither classes nor probabilities", "invalid_shape")
    n.skip("ignore_index")
    y, weight = g.cast(target, x.dtype), n.optional("weight")
    count = known(x)[axis]
    if smoothing:
        if not isinstance(count, int):
            raise NotExpressible("smooths over a symbolic number of classes", "unsupported_shape")
        y = g.b.add(g.b.mul(y, g.b.like(y, 1 - smoothing)), g.b.like(y, smoothing / count))
    part = g.b.mul(logs, y)
    part = part if weight is None else g.b.mul(part, g.reshape(weight, (*known(weight), *[1] * (rank - 1 - axis))))
    loss = g.b.neg(g.b.sum(part, axes=(axis,)))
    how = n.number("reduction")
    if how != 1:
        return reduced(g, n, loss)
    total, many = g.b.sum(loss, axes=tuple(range(rank - 1))) if rank > 1 else loss, product(known(loss))
    if not isinstance(many, int):
        return reduced(g, n, loss)
    return g.b.div(total, g.b.like(total, many))

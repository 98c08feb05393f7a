"""Normalisations: layers where Keras has the axes, bodies else."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import A, Node, NotExpressible, Row, W

from ..dialect import KerasScribe
from ..layers import norm as declared
from .base import RULES, Writer, known, static

__all__ = ["declared"]


def _states(s: KerasScribe, w: Writer, names: dict[str, int], shape: tuple[int, ...] | None = None) -> dict[str, Any]:
    """The parameters that are given, by Keras's names, in the shape of the layer."""
    found = {}
    for name, i in names.items():
        v = w.optional(i)
        if v is None:
            continue
        t = w.tensor(i, name)
        if shape is None or tuple(t.shape) == shape:
            found[name] = s.state(v)
        elif t.size == int(np.prod(shape)):
            found[name] = s.state(v, f"as {shape}", lambda t: t.reshape(shape))
        else:
            raise NotExpressible(f"{name} has shape {t.shape}, the layer {shape}")
    return found


def _over_last_axes(row: Row, axes_word: A, epsilon: A) -> None:
    """Write the op of a row that only reads: over the last axes, which is what every backend has, with the row's own words."""
    weights = {key: src for key, src in row.mapping.items() if isinstance(src, W)}
    position = {a.name: i for i, a in enumerate(row.decl.inputs)}

    @RULES.emit(row.op_name)
    def norm(s: KerasScribe, node: Node) -> None:
        w = Writer(s, node)
        x, shape, axes = w.ref(), known(w.input(0)), sorted(node.attrs["axes"])
        if axes != list(range(len(shape) - len(axes), len(shape))) or not axes or axes[0] == 0:
            raise NotExpressible(f"Keras normalises over the last axes on every backend, here over {axes} of {len(shape)}")
        if axes != list(node.attrs["axes"]) and any(w.optional(position[key]) is not None for key in weights):
            raise NotExpressible(f"its parameters lie along axes {tuple(node.attrs['axes'])} in that order")
        for key, src in weights.items():
            if not src.optional and w.optional(position[key]) is None:
                raise NotExpressible(f"Keras's {row.foreign} has a {src.name}")
        sizes = static(tuple(shape[a] for a in axes), "the axes it normalises over")
        config = {axes_word.name: -1 if len(axes) == 1 else axes, epsilon.name: node.attrs["epsilon"]}
        states = _states(s, w, {src.name: position[key] for key, src in weights.items()}, sizes)
        w.end(w.layer(row.foreign, x, config, states, shape=shape))


for _row in RULES.rows():  # LayerNormalization, RMSNormalization: layers whose parameters are shaped as the axes
    _axes, _epsilon = _row.mapping.get("axes"), _row.mapping.get("epsilon")
    if _row.direction == "load" and isinstance(_axes, A) and isinstance(_epsilon, A):
        _over_last_axes(_row, _axes, _epsilon)


@RULES.emit("batch_norm")
def partly_frozen(s: KerasScribe, node: Node) -> None:
    """BatchNormalization without its offset, which is added behind it: of the two only one is trained."""
    w, a = Writer(s, node), node.attrs
    x, shape, scale, bias = w.ref(), known(w.input(0)), w.optional(1), w.optional(2)
    if scale is None or bias is None or scale.trainable == bias.trainable:
        raise NotExpressible("its scale and offset are trained alike")
    axis = a["axis"] % len(shape)
    config = {"axis": -1 if axis == len(shape) - 1 else axis, "epsilon": a["epsilon"]} | (
        {} if a.get("momentum") is None else {"momentum": a["momentum"]}
    )
    states = _states(s, w, {"gamma": 1, "moving_mean": 3, "moving_variance": 4})
    y, offset = w.layer("BatchNormalization", x, config, states, shape=shape), w.x(2)
    if config["axis"] != -1:
        along = (bias.shape or ())[:1] + (1,) * (len(shape) - 1 - axis)
        offset = w.op("Reshape", offset, shape=along, newshape=along)
    w.end(w.op("Add", y, offset, shape=shape))


@RULES.emit("instance_norm")
def instance_norm(s: KerasScribe, node: Node) -> None:
    """GroupNormalization with a group per channel."""
    w = Writer(s, node)
    x, shape, axis = w.ref(), known(w.input(0)), node.attrs["axis"]
    channels = shape[axis]
    if axis == 0 or not isinstance(channels, int) or len(shape) < 3:
        raise NotExpressible(f"axis {axis} of {shape}")
    config = {"groups": channels, "axis": -1 if axis == len(shape) - 1 else axis, "epsilon": node.attrs["epsilon"]}
    w.end(w.layer("GroupNormalization", x, config, _states(s, w, {"gamma": 1, "beta": 2}, (channels,)), shape=shape))


@RULES.emit("lrn")
def lrn(s: KerasScribe, node: Node) -> None:
    """Squares summed over neighbouring channels by a matrix of a band of ones."""
    w, a = Writer(s, node), node.attrs
    x, shape, axis = w.ref(), known(w.input(0)), node.attrs["axis"]
    n = shape[axis]
    if axis != len(shape) - 1 or not isinstance(n, int):
        raise NotExpressible("its channels are not the last axis")
    before = (a["size"] - 1) // 2
    i = np.arange(n)
    band = ((i[:, None] >= i[None, :] - before) & (i[:, None] <= i[None, :] + a["size"] - 1 - before)).astype(w.dtype().numpy)
    total = w.op("Matmul", w.op("Square", x), s.const(band), shape=shape)
    scaled = w.op("Add", w.op("Multiply", total, a["alpha"] / a["size"]), float(a["bias"]))
    w.end(w.op("Divide", x, w.op("Power", scaled, float(a["beta"]))))

"""What functions that emit share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import Node, NotExpressible, Scribe, Value

from ..dialect import TorchDialect, number

__all__ = [
    "ALL", "E", "given", "items", "number", "pad_list", "pads_of", "picked", "places", "scalar", "shape_of", "sizes",
    "static",
]  # fmt: skip

E = Scribe[TorchDialect]


ALL = ("slice", None, None, None)
"""In an index: the whole axis."""


def given(v: Value | None) -> Value:
    """A value that must be there."""
    if v is None:
        raise NotExpressible("an input is missing")
    return v


def shape_of(v: Value | None) -> tuple[Any, ...]:
    """The shape of a value; NotExpressible where the number of axes is unknown."""
    v = given(v)
    if v.shape is None:
        raise NotExpressible(f"the number of axes of {v.name!r} is not known", "unknown_shape")
    return v.shape


def static(values: Sequence[Any], what: str) -> tuple[int, ...]:
    """Sizes that must be numbers."""
    if any(not isinstance(n, int) or isinstance(n, bool) for n in values):
        raise NotExpressible(f"{what}=({', '.join(map(str, values))}) is not made of numbers")
    return tuple(int(n) for n in values)


def sizes(e: E, dims: Sequence[Any], *near: Value | None) -> list[Any]:
    """Sizes as arguments: symbolic ones stay expressions where the shapes of ``near`` (operands of the same call) say all their
    names, else they are computed from the inputs."""
    return [e.argument(d, [v for v in near if v is not None]) for d in dims]


def pads_of(x: Value | None, node: Node, kernel: Sequence[int]) -> tuple[tuple[Any, Any], ...]:
    """Padding per spatial axis, "same" counted out."""
    from convcore.plugin import window_pads

    pads, out = node.attrs["pads"], []
    strides, dilations = node.attrs["strides"], node.attrs["dilations"]
    for i, k in enumerate(kernel):
        if not isinstance(pads, str):
            out.append(pads[i])
            continue
        n = 1 << 20 if strides[i] == 1 else shape_of(x)[2 + i]  # with steps of 1 the size does not matter
        if n is None:
            raise NotExpressible(f"padding {pads} depends on a size that is not known")
        out.append(window_pads(n, k, strides[i], dilations[i], pads))
    return tuple(out)


def pad_list(pads: Sequence[tuple[Any, Any]]) -> tuple[Any, ...]:
    """As F.pad takes it: the last axis first; trailing axes without padding left out."""
    flat = [n for pair in reversed(pads) for n in pair]
    while len(flat) > 2 and flat[-1] == 0 and flat[-2] == 0:
        del flat[-2:]
    return tuple(flat)


def told(e: E, v: Value) -> Any:
    """A tensor of one element that is a constant or a size as a Python number; None where it is neither."""
    x = number(v)
    if x is None and v.producer is not None and v.producer.op == "dim_value":
        return sizes(e, [v.producer.attrs["value"]])[0]
    return x


def scalar(e: E, v: Value) -> Any:
    """A tensor of one element as a Python number: a constant, a size, else what ``.item()`` gives."""
    x = told(e, v)
    return e.call(".item", [e.value(v)])[0] if x is None else x


def items(e: E, v: Value) -> Any:
    """A vector of numbers, or one, as a list (a tuple of numbers where it is a constant)."""
    if v.tensor is not None:
        return tuple(v.tensor.numpy().reshape(-1).tolist())
    h = e.value(v)
    if v.shape is None or len(v.shape) != 1:
        (h,) = e.call(".flatten", [h])
    return e.call(".tolist", [h])[0]


def places(e: E, at: Value, n: Any) -> Any:
    """Indices along an axis of ``n`` elements, int64, negative ones counted from its end (what lies outside stays outside)."""
    if at.dtype is None:
        raise NotExpressible("places of a type that is not known")
    if at.tensor is not None and (isinstance(n, int) or at.tensor.size == 0 or at.tensor.numpy().min() >= 0):
        a = at.tensor.numpy().astype(np.int64)
        if isinstance(n, int):
            a = np.where(a < 0, a + n, a)
        return e.const(a) if at.dtype.value != "int64" or (at.tensor.numpy() != a).any() else e.value(at)
    h = e.value(at)
    if at.dtype.value != "int64":
        (h,) = e.call(".long", [h])
    (below,) = e.call("<", [h, 0])
    (turned,) = e.call("+", [h, sizes(e, [n])[0]])
    return e.call("torch.where", [below, turned, h])[0]


def picked(e: E, h: Any, axis: int, start: Any, stop: Any, step: Any = None, outputs: Sequence[Any] = ()) -> Any:
    """``h[:, start:stop:step]`` with the slice on one axis."""
    index = (*(ALL,) * axis, ("slice", start, stop, step))
    return e.call("[]", [h], {"index": index}, outputs=outputs, carry=True)[0]

"""Pooling. torch pads at most half a window; more, or unequal, padding is done in front."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import DType, Node, NotExpressible, Value, pooled

from ..rules.base import RULES, one_if_equal
from .base import E, pad_list, pads_of, shape_of, sizes, static


def _spatial(node: Node) -> tuple[Value, int]:
    """The input, and how many spatial axes it has."""
    if node.attrs["layout"] != "channels_first":
        raise NotExpressible("channels are last")
    x, d = node.need("x"), len(node.attrs["kernel"])
    if not 1 <= d <= 3 or len(shape_of(x)) != d + 2:
        raise NotExpressible(f"{d} spatial axes")
    return x, d


def _config(node: Node) -> dict[str, Any]:
    a = node.attrs
    config: dict[str, Any] = {"kernel_size": one_if_equal(a["kernel"])}
    if tuple(a["strides"]) != tuple(a["kernel"]):
        config["stride"] = one_if_equal(a["strides"])
    return config


def _own_padding(node: Node, pads: Any) -> bool:
    """Whether torch's pools have this padding and way of counting windows."""
    fits = all(isinstance(a, int) and a == b and 0 <= a <= k // 2 for (a, b), k in zip(pads, node.attrs["kernel"]))
    return fits and node.attrs["ceil_mode"] != "ceil_full"


def _reach(node: Node, x: Value, pads: Any, empty: bool) -> list[tuple[Any, Any]]:
    """Padding after which windows that are wholly inside are all there are; without ``empty`` those that start past the input
    are left out."""
    a, out = node.attrs, []
    for i, (n, k, s, d, (begin, end)) in enumerate(zip(shape_of(x)[2:], a["kernel"], a["strides"], a["dilations"], pads)):
        if a["ceil_mode"] == "floor":
            out.append((begin, end))
            continue
        count = pooled(n, k, s, d, (begin, end), a["ceil_mode"])
        if count is None:
            raise NotExpressible(f"the size of spatial axis {i} is not known")
        if not empty:
            count -= _empty(node, i, n, begin, count)
        out.append((begin, (count - 1) * s + d * (k - 1) + 1 - n - begin))
    return out


def _empty(node: Node, i: int, n: Any, begin: int, count: Any) -> int:
    """How many windows of an axis start past the input (ceil_full only)."""
    if node.attrs["ceil_mode"] != "ceil_full":
        return 0
    (size, windows) = static((n, count), "sizes")
    stride: int = node.attrs["strides"][i]
    return max(windows + -(size + begin) // stride, 0)


@RULES.emit("max_pool")
def max_pool(e: E, node: Node) -> None:
    """The padding never wins. Integers of up to 32 bits as float64, which holds them all."""
    x, d = _spatial(node)
    config = _config(node)
    if any(n != 1 for n in node.attrs["dilations"]):
        config["dilation"] = one_if_equal(node.attrs["dilations"])
    pads, handle = pads_of(x, node, node.attrs["kernel"]), e.value(x)
    whole = x.dtype is not None and not x.dtype.is_float
    if whole:
        if x.dtype in (DType.INT64, DType.BOOL):
            raise NotExpressible(f"a maximum of {x.dtype}")
        (handle,) = e.call(".double", [handle])
    tail: list[tuple[int, int]] = []
    if _own_padding(node, pads):
        if any(a for a, _ in pads):
            config["padding"] = one_if_equal(a for a, _ in pads)
        if node.attrs["ceil_mode"] == "ceil":
            config["ceil_mode"] = True
    else:
        reach = _reach(node, x, pads, empty=False)
        if node.attrs["ceil_mode"] == "ceil_full":
            out = shape_of(node.output)[2:]
            tail = [(0, _empty(node, i, n, p[0], m)) for i, (n, p, m) in enumerate(zip(shape_of(x)[2:], pads, out))]
        if any(p != 0 for pair in reach for p in pair):
            around = tuple(sizes(e, pad_list(reach), None if whole else x))
            (handle,) = e.call("F.pad", [handle, around], {"value": float("-inf")})
    more = [step for step in ("tail" if any(p for _, p in tail) else "", "whole" if whole else "") if step]
    (y,) = e.unit(f"torch.nn.MaxPool{d}d", [handle], config, outputs=() if more else node.outputs)
    if "tail" in more:  # windows past the input hold the most negative number, as in Caffe
        lowest = float(np.finfo(x.dtype.numpy).min) if x.dtype is not None and x.dtype.is_float else 0.0
        if whole:
            raise NotExpressible("windows that lie wholly in the padding are kept (ceil_full), of integers")
        e.call("F.pad", [y, pad_list(tail)], {"value": lowest}, outputs=node.outputs)
    elif whole:
        e.call(".to", [y, x.dtype], outputs=node.outputs)


@RULES.emit("max_pool_with_indices")
def max_pool_with_indices(e: E, node: Node) -> None:
    """Positions in one plane, or over the whole input; ties give the first."""
    x, d = _spatial(node)
    pads = pads_of(x, node, node.attrs["kernel"])
    if x.dtype is None or not x.dtype.is_float:
        raise NotExpressible(f"a maximum of {x.dtype} with positions")
    if not _own_padding(node, pads):
        raise NotExpressible(f"padding {pads} with positions, which would be counted in the padded input")
    config = _config(node)
    if any(n != 1 for n in node.attrs["dilations"]):
        config["dilation"] = one_if_equal(node.attrs["dilations"])
    if any(a for a, _ in pads):
        config["padding"] = one_if_equal(a for a, _ in pads)
    config["ceil_mode"] = True if node.attrs["ceil_mode"] == "ceil" else None
    values, at = node.outputs
    config["return_indices"] = True
    plain = node.attrs["index_order"] == "plane"
    _, index = e.call(f"F.max_pool{d}d", [e.value(x)], config, outputs=node.outputs if plain else (values, None))
    if plain:
        return
    n, channels, *space = sizes(e, shape_of(x))
    planes = e.call("*", [n, channels])[0] if not all(isinstance(v, int) for v in (n, channels)) else n * channels
    size: Any = 1
    for v in space:
        size = size * v if isinstance(size, int) and isinstance(v, int) else e.call("*", [size, v])[0]
    (offset,) = e.call("torch.arange", [planes])
    (offset,) = e.call("*", [offset, size])
    (offset,) = e.call(".reshape", [offset, n, channels, *(1,) * d])
    e.call("+", [index, offset], outputs=(at,))


@RULES.emit("avg_pool")
def avg_pool(e: E, node: Node) -> None:
    """nn.AvgPool where it counts as the source does; else the sums of windows over how many elements they hold."""
    x, d = _spatial(node)
    a, pads, counted = node.attrs, pads_of(x, node, node.attrs["kernel"]), node.attrs["count_include_pad"]
    if x.dtype is None:
        raise NotExpressible("elements of a type that is not known")
    dilated = any(n != 1 for n in a["dilations"])
    if _own_padding(node, pads) and not dilated:
        config = _config(node)
        if any(p for p, _ in pads):
            config["padding"] = one_if_equal(p for p, _ in pads)
            config["count_include_pad"] = None if counted else False
        config["ceil_mode"] = True if a["ceil_mode"] == "ceil" else None
        e.unit(f"torch.nn.AvgPool{d}d", [e.value(x)], config, outputs=node.outputs)
        return
    reach = _reach(node, x, pads, empty=True)
    around = tuple(sizes(e, pad_list(reach), x))
    h = e.value(x)
    padded = any(p != 0 for pair in reach for p in pair)
    if padded:
        (h,) = e.call("F.pad", [h, around])
    if counted and list(reach) == list(pads) and not dilated:
        e.unit(f"torch.nn.AvgPool{d}d", [h], _config(node), outputs=node.outputs)
        return
    full = not padded or (counted and list(reach) == list(pads))  # every window holds as many elements as the kernel
    y = _sums(e, node, h, d, outputs=node.outputs if full else ())
    if full:
        return
    (ones,) = e.call("torch.ones_like", [e.value(x)])
    if counted:
        (ones,) = e.call("F.pad", [ones, tuple(sizes(e, pad_list(pads)))], {"value": 1.0})
        rest = [(b[0] - p[0], b[1] - p[1]) for b, p in zip(reach, pads)]
        (ones,) = e.call("F.pad", [ones, tuple(sizes(e, pad_list(rest)))])
    else:
        (ones,) = e.call("F.pad", [ones, tuple(sizes(e, pad_list(reach)))])
    e.call("/", [y, _sums(e, node, ones, d)], outputs=node.outputs)


def _sums(e: E, node: Node, h: Any, d: int, outputs: Any = ()) -> Any:
    """Windows without padding, summed and divided by the size of the kernel; dilated ones by a convolution of each channel."""
    a = node.attrs
    config = _config(node)
    if all(n == 1 for n in a["dilations"]):
        return e.call(f"F.avg_pool{d}d", [h], config, outputs=outputs)[0]
    kernel = tuple(a["kernel"])
    dtype = node.need("x").dtype
    weight = e.const(np.full((1, 1, *kernel), 1 / np.prod(kernel), None if dtype is None else dtype.numpy))
    (n, c) = sizes(e, shape_of(node.need("x"))[:2])
    (h,) = e.call(".flatten", [h, 0, 1])
    (h,) = e.call(".unsqueeze", [h, 1])
    config = {"stride": one_if_equal(a["strides"]), "dilation": one_if_equal(a["dilations"])}
    (h,) = e.call(f"F.conv{d}d", [h, weight], config)
    return e.call(".unflatten", [e.call(".squeeze", [h, 1])[0], 0, (n, c)], outputs=outputs)[0]


@RULES.emit("max_unpool")
def max_unpool(e: E, node: Node) -> None:
    """F.max_unpool for places of a pool whose windows do not overlap: torch leaves open what two elements of one place give."""
    x, at, a = node.need("x"), node.need("indices"), node.attrs
    pool, d = at.producer, len(a["kernel"])
    if a["layout"] != "channels_first" or a["index_order"] != "plane" or not 1 <= d <= 3 or x.dtype is None:
        raise NotExpressible("places that are not those of a plane")
    apart = pool is not None and pool.op == "max_pool_with_indices" and pool.attrs["index_order"] == "plane"
    if pool is None or not apart or any(s < k for s, k in zip(pool.attrs["strides"], pool.attrs["kernel"])):
        raise NotExpressible("places that may be equal")
    if not x.dtype.is_float:
        raise NotExpressible(f"elements of {x.dtype}")
    config = {"kernel_size": one_if_equal(a["kernel"]), "stride": one_if_equal(a["strides"]),
              "output_size": static(a["output_shape"] or (None,), "output_shape")}  # fmt: skip
    e.call(f"F.max_unpool{d}d", [e.value(x), e.value(at)], config, outputs=node.outputs)

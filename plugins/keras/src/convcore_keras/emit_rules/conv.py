"""Convolutions: explicit padding by a layer in front, transposed ones cropped behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import DType, Node, NotExpressible, Ref, State, Tensor, window_pads

from ..dialect import KerasScribe
from .base import RULES, Writer, channels_last, known, static
from .shape import padded

__all__ = ["pad_spatial", "spatial_pads", "turned"]


def spatial_pads(node: Node, kernel: Sequence[int], sizes: Sequence[Any]) -> list[tuple[int, int]] | str:
    """``pads`` as numbers; "same" where Keras's own says it, whatever the sizes are."""
    a = node.attrs
    pads, strides = a["pads"], a["strides"]
    dilations = a["dilations"]
    if isinstance(pads, str):
        if pads == "same_upper":
            return "same"
        found = []
        for n, k, s, d in zip(sizes, kernel, strides, dilations):
            if s == 1:
                total = d * (k - 1)
                found.append((total - total // 2, total // 2))
            elif isinstance(n, int):
                b, e = window_pads(n, k, s, d, pads)
                found.append((int(b), int(e)))  # type: ignore[arg-type]
            else:
                raise NotExpressible("padding same_lower of a size that is not known before it runs", "unknown_shape")
        return _named(found, kernel, strides, dilations)
    if any(not isinstance(n, int) for pair in pads for n in pair):
        raise NotExpressible("its padding is symbolic")
    return _named([(int(b), int(e)) for b, e in pads], kernel, strides, dilations)


def _named(
    pads: list[tuple[int, int]], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[tuple[int, int]] | str:  # fmt: skip
    """ "same" where every window is centred and moves by one."""
    centred = all(
        s == 1 and b + e == d * (k - 1) and b == (b + e) // 2 for (b, e), k, s, d in zip(pads, kernel, strides, dilations)
    )
    return "same" if centred and any(b or e for b, e in pads) else pads


def _explicit(
    pads: list[tuple[int, int]] | str, sizes: Sequence[Any], kernel: Sequence[int], strides: Sequence[int],
    dilations: Sequence[int],
) -> list[tuple[int, int]]:  # fmt: skip
    """Padding "same" as numbers."""
    if not isinstance(pads, str):
        return pads
    if any(not isinstance(n, int) and st > 1 for n, st in zip(sizes, strides)):
        raise NotExpressible(
            "strides with padding same, which Keras has no layer for here, of a size that is not known before it runs"
        )
    return [tuple(window_pads(n if isinstance(n, int) else 0, k, st, di, "same_upper"))  # type: ignore[misc]
            for n, k, st, di in zip(sizes, kernel, strides, dilations)]  # fmt: skip


def pad_spatial(w: Writer, x: Ref, pads: Sequence[tuple[int, int]], value: float = 0.0) -> Ref:
    """``x`` with padding, or cropping where it is negative, around its spatial axes."""
    if any(b < 0 or e < 0 for b, e in pads):
        for i, (b, e) in enumerate(pads, w.image.axis(0)):
            if b < 0 or e < 0:
                n = (x.shape or ())[i]
                x = w.cut(x, i, -min(b, 0) or None, min(e, 0) or None, size=None if n is None else n + min(b, 0) + min(e, 0))
        pads = [(max(b, 0), max(e, 0)) for b, e in pads]
    if not any(b or e for b, e in pads):
        return x
    shape = list(x.shape or ())
    for i, (b, e) in enumerate(pads, w.image.axis(0)):
        n = shape[i]
        shape[i] = None if n is None else n + b + e
    return padded(w, x, w.image.around((0, 0), pads, (0, 0)), value, shape, w.image)


def _kernel(s: KerasScribe, w: Writer, i: int, key: str, make: Any) -> State:
    w.tensor(i, "the kernel")
    return s.state(w.input(i), key, make)


def turned(t: Tensor) -> Tensor:
    """(out, in, *kernel) as (*kernel, in, out)."""
    d = t.ndim - 2
    return t.transpose((*range(2, 2 + d), 1, 0))


def _depthwise(channels: int) -> Any:
    def turn(t: Tensor) -> Tensor:
        """(C * m, 1, *kernel) as (*kernel, C, m)."""
        d = t.ndim - 2
        return t.reshape((channels, t.shape[0] // channels, *t.shape[2:])).transpose((*range(2, 2 + d), 0, 1))

    return turn


def _bias(s: KerasScribe, w: Writer, i: int) -> dict[str, State]:
    v = w.optional(i)
    if v is None:
        return {}
    w.tensor(i, "the bias")
    return {"bias": s.state(v)}


def _layer_config(w: Writer, strides: Sequence[int], padding: str, dilations: Sequence[int]) -> dict[str, Any]:
    return {"strides": list(strides), "padding": padding, "data_format": w.image.format, "dilation_rate": list(dilations)}


@RULES.emit("conv")
def conv(s: KerasScribe, node: Node) -> None:
    """Conv, or DepthwiseConv with a group per channel. A computed kernel: the operation."""
    w, a = Writer(s, node), node.attrs
    image = w.image
    x, shape, kernel_shape = w.ref(), known(w.input(0)), static(known(w.input(1)), "the kernel")
    d = len(shape) - 2
    if d not in (1, 2, 3):
        raise NotExpressible(f"Keras convolves over 1 to 3 axes, here are {d}")
    kernel, strides, dilations, groups = kernel_shape[2:], list(a["strides"]), list(a["dilations"]), a["groups"]
    pads = spatial_pads(node, kernel, image.spatial(shape))
    depthwise = groups > 1 and kernel_shape[1] == 1 and groups == shape[image.channels] and d < 3
    step = [1] * d
    if any(n > 1 for n in strides) and any(n > 1 for n in dilations) and not (depthwise and d == 2 and len(set(strides)) == 1):
        pads = _explicit(pads, image.spatial(shape), kernel, strides, dilations)
        step, strides = strides, [1] * d
    if w.input(1).tensor is None and groups > 1:
        pads = _explicit(pads, image.spatial(shape), kernel, strides, dilations)
    padding = "valid" if not isinstance(pads, str) else pads
    if (
        d == 1
        and not image.first
        and not isinstance(pads, str)
        and pads[0] == ((kernel[0] - 1) * dilations[0], 0)
        and pads[0][0]
        and not depthwise
        and w.input(1).tensor is not None
    ):
        padding = "causal"
    elif not isinstance(pads, str):
        x = pad_spatial(w, x, pads)
    config = _layer_config(w, strides, padding, dilations)
    out = known(node.outputs[0])
    wide = out if step == [1] * d else image.around(out[0], [None] * d, out[image.channels])
    if w.input(1).tensor is None:
        y = _computed_kernel(w, x, config, wide)
    elif depthwise:
        state = _kernel(s, w, 1, f"depthwise {groups}", _depthwise(groups))
        y = w.layer(f"DepthwiseConv{d}D", x, config, {"kernel": state, **_bias(s, w, 2)}, shape=wide)
    else:
        state = _kernel(s, w, 1, "conv", turned)
        if groups > 1:
            config["groups"] = groups
        y = w.layer(f"Conv{d}D", x, config, {"kernel": state, **_bias(s, w, 2)}, shape=wide)
    if step != [1] * d:
        key = image.around(slice(None), (slice(None, None, n if n > 1 else None) for n in step), slice(None))
        y = w.op("GetItem", y, key, shape=out)
    w.end(y)


def _computed_kernel(w: Writer, x: Ref, config: dict[str, Any], out: Any) -> Ref:
    """The operation. It takes no groups: those are convolutions of their own, or, where each channel is one, sums of what the
    kernel's elements stand over, times them."""
    channels_last(w.node)
    k, groups, strides, dilations = w.x(1), w.attrs["groups"], config["strides"], config["dilation_rate"]
    filters, each, *space = k.shape
    d = len(space)
    if groups > 1 and each == 1 and filters == groups:
        total: Ref | None = None
        for at in np.ndindex(*space):
            begins = [t * n for t, n in zip(at, dilations)]
            spans = [slice(b, b + (int(m) - 1) * st + 1 if isinstance(m, int) else _end(b, n, f), st)
                     for b, m, st, n, f in zip(begins, out[1:-1], strides, dilations, space)]  # fmt: skip
            part = w.op("GetItem", x, (slice(None), *spans, slice(None)), shape=out)
            weight = w.op("GetItem", k, (slice(None), 0, *at), shape=(filters,))
            part = w.op("Multiply", part, weight, shape=out)
            total = part if total is None else w.op("Add", total, part, shape=out)
        assert total is not None
        return _biased(w, total, out)
    kernel = w.op("Transpose", k, shape=(*space, each, filters), axes=[*range(2, 2 + d), 1, 0])
    if groups == 1:
        return _biased(w, w.op("Conv", x, kernel, shape=out, **config), out)
    return _biased(w, _by_groups(w, x, kernel, config, out), out)


def _by_groups(w: Writer, x: Ref, kernel: Ref, config: dict[str, Any], out: Any) -> Ref:
    """A convolution per group, of a computed kernel (*kernel, in / groups, out)."""
    *_, each, filters = static(kernel.shape, "the kernel")
    groups = w.attrs["groups"]
    many = filters // groups
    parts = [
        w.op("Conv", w.cut(x, -1, g * each, (g + 1) * each), w.cut(kernel, -1, g * many, (g + 1) * many), shape=(*out[:-1], many),
             **config)
        for g in range(groups)
    ]  # fmt: skip
    return w.op("Concatenate", parts, shape=out, dtype=x.dtype, axis=-1)


def _end(begin: int, dilation: int, taps: int) -> int | None:
    """Where the elements under one of a kernel's end, counted from the end of an axis of unknown size (stride 1 or more)."""
    left = dilation * (taps - 1) - begin
    return -left if left else None


def _biased(w: Writer, y: Ref, out: Any) -> Ref:
    b = w.optional(2)
    return y if b is None else w.op("Add", y, w.s.value(b), shape=out)


@RULES.emit("separable_conv")
def separable(s: KerasScribe, node: Node) -> None:
    """SeparableConv."""
    w, a = Writer(s, node), node.attrs
    image = w.image
    x, shape = w.ref(), known(w.input(0))
    kernel = static(known(w.input(1)), "the kernel")[2:]
    d, channels = len(kernel), shape[image.channels]
    pads = spatial_pads(node, kernel, image.spatial(shape))
    if d not in (1, 2) or not isinstance(channels, int) or len(set(a["strides"])) > 1 or (
        max(a["strides"]) > 1 and max(a["dilations"]) > 1
    ):  # fmt: skip
        raise NotExpressible("Keras's SeparableConv is for 1 or 2 axes, one stride, and not both stride and dilation")
    if not isinstance(pads, str):
        x = pad_spatial(w, x, pads)
    config = _layer_config(w, a["strides"], pads if isinstance(pads, str) else "valid", a["dilations"])
    states = {
        "depthwise_kernel": _kernel(s, w, 1, f"depthwise {channels}", _depthwise(channels)),
        "pointwise_kernel": _kernel(s, w, 2, "conv", turned),
        **_bias(s, w, 3),
    }
    config["filters"] = static(known(w.input(2)))[0]
    w.end(w.layer(f"SeparableConv{d}D", x, config, states, shape=known(node.outputs[0])))


def _filled(dilations: Sequence[int]) -> Any:
    """(in, out, *kernel) as (*kernel, out, in) with the zeros between taps that a dilation stands for."""

    def turn(t: Tensor) -> Tensor:
        d = t.ndim - 2
        if all(n == 1 for n in dilations):
            return t.transpose((*range(2, 2 + d), 1, 0))
        shape = (*(n * (k - 1) + 1 for k, n in zip(t.shape[2:], dilations)), t.shape[1], t.shape[0])

        def make(array: Any) -> Any:
            wide = np.zeros(shape, array.dtype)
            wide[tuple(slice(None, None, n) for n in dilations)] = array.transpose((*range(2, 2 + d), 1, 0))
            return wide

        return t.map(make, shape)

    return turn


@RULES.emit("conv_transpose")
def conv_transpose(s: KerasScribe, node: Node) -> None:
    """Conv*Transpose with padding valid, which is (n - 1) * stride + max(reach, stride) long, and cropped at both ends. Groups
    are layers of their own."""
    w, a = Writer(s, node), node.attrs
    image = w.image
    x, shape = w.ref(), known(w.input(0))
    kernel_shape = static(known(w.input(1)), "the kernel")
    d, out, groups = len(kernel_shape) - 2, known(node.outputs[0]), a["groups"]
    if d not in (1, 2, 3):
        raise NotExpressible(f"Keras convolves over 1 to 3 axes, here are {d}")
    strides, dilations = list(a["strides"]), list(a["dilations"])
    reach = [n * (k - 1) + 1 for n, k in zip(dilations, kernel_shape[2:])]
    if w.input(1).tensor is None:
        w.end(_spread(w, x, kernel_shape, reach))
        return
    begins, ends, extra = [], [], []
    for i, (f, st) in enumerate(zip(reach, strides)):
        b, total = _begin(node, i, shape[image.axis(i)], f, st)
        end = max(f, st) - f + total - b
        begins.append(b)
        ends.append(end)
        extra.append(end < 0)
    config: dict[str, Any] = {"strides": strides, "padding": "valid", "data_format": image.format}
    if any(extra):
        grow = [max(0, -e) for e in ends]
        if any(g >= st for g, st in zip(grow, strides)) or any(f < st for f, st in zip(reach, strides)):
            raise NotExpressible(f"it grows by {grow} at strides {strides}")
        config["output_padding"] = grow
        ends = [e + g for e, g in zip(ends, grow)]
    if any(b < 0 for b in begins):
        raise NotExpressible("its padding is negative")
    cut = zip(image.spatial(out), begins, ends)
    full = image.around(out[0], (None if n is None else n + b + e for n, b, e in cut), out[image.channels])
    if groups == 1:
        kernel = s.state(w.input(1), f"transposed {dilations}", _filled(dilations))
        y = w.layer(f"Conv{d}DTranspose", x, config, {"kernel": kernel, **_bias(s, w, 2)}, shape=full)
    else:
        y = _grouped(w, x, config, dilations, full)
    if any(begins) or any(ends):
        key = image.around(slice(None), (slice(b or None, -e if e else None) for b, e in zip(begins, ends)), slice(None))
        y = w.op("GetItem", y, key, shape=out)
    w.end(y)


def _spread(w: Writer, x: Ref, kernel: Sequence[int], reach: Sequence[int]) -> Ref:
    """A transposed convolution whose kernel is computed, as the convolution that it is: zeros between the elements, the kernel
    turned round, channels of a group exchanged. (``keras.ops.conv_transpose`` of a functional model is given its padding as its
    output padding and the other way round: class ConvTranspose, Keras 3.12 to 3.15.)"""
    channels_last(w.node)
    a, d, groups = w.attrs, len(reach), w.attrs["groups"]
    shape, out = known(w.input(0)), known(w.node.outputs[0])
    sizes, wanted = static(shape[1:-1]), static(out[1:-1], "its result")
    pads, now = [], list(shape)
    for i, (n, m, f, st) in enumerate(zip(sizes, wanted, reach, a["strides"])):
        begin = f - 1 - _begin(w.node, i, n, f, st)[0]
        long = (n - 1) * st + 1
        pads.append((begin, m - 1 + f - long - begin))
        if st > 1:
            at = i + 1
            wide = [*now[: at + 1], 1, *now[at + 1 :]]
            x = w.op("Reshape", x, shape=wide, newshape=tuple(k if isinstance(k, int) else -1 for k in wide))
            wide[at + 1] = st
            between = [[0, st - 1] if k == at + 1 else [0, 0] for k in range(len(wide))]
            (x,) = w.s.call("ops.Pad", [x, 0.0], {"pad_width": between, "mode": "constant"}, shapes=[tuple(wide)], name=w.name,
                            carry=True)  # fmt: skip
            now[at] = n * st
            x = w.op("Reshape", x, shape=now, newshape=tuple(k if isinstance(k, int) else -1 for k in now))
            x = w.cut(x, at, None, long, size=long)
            now[at] = long
    x = pad_spatial(w, x, pads)
    k = w.op("Flip", w.x(1), axis=tuple(range(2, 2 + d)))
    each, many = kernel[0] // groups, kernel[1]
    space = kernel[2:]
    k = w.op("Reshape", k, shape=(groups, each, many, *space), newshape=(groups, each, many, *space))
    k = w.op("Transpose", k, shape=(*space, each, groups, many), axes=[*range(3, 3 + d), 1, 0, 2])
    k = w.op("Reshape", k, shape=(*space, each, groups * many), newshape=(*space, each, groups * many))
    config = _layer_config(w, [1] * d, "valid", a["dilations"])
    y = w.op("Conv", x, k, shape=out, **config) if groups == 1 else _by_groups(w, x, k, config, out)
    return _biased(w, y, out)


def _begin(node: Node, i: int, n: Any, f: int, st: int) -> tuple[int, int]:
    """What is cut off at the beginning of an axis, and in all, of the full (n - 1) * stride + reach."""
    a = node.attrs
    pads, op = a["pads"], a["output_padding"][i]
    if not isinstance(pads, str):
        b, e = pads[i]
        if not isinstance(b, int) or not isinstance(e, int):
            raise NotExpressible("its padding is symbolic")
        return b, b + e - op
    want = a["output_shape"][i] if a["output_shape"] is not None else None
    if want is None:
        total = f - st
    elif isinstance(want, int) and isinstance(n, int):
        total = (n - 1) * st + f - want
    else:
        raise NotExpressible("its output size is not known before it runs", "unknown_shape")
    cut = max(0, total + op)
    return (cut // 2 if pads == "same_upper" else cut - cut // 2), total


def _grouped(w: Writer, x: Ref, config: dict[str, Any], dilations: Sequence[int], out: Any) -> Ref:
    s, groups, t = w.s, w.attrs["groups"], w.tensor(1, "the kernel")
    each, d = t.shape[0] // groups, t.ndim - 2
    m = t.shape[1]
    one = w.image.around(out[0], w.image.spatial(out), m)
    parts = []
    for g in range(groups):
        part = w.cut(x, w.image.channels, g * each, (g + 1) * each)

        def rows(t: Tensor, g: int = g) -> Tensor:
            mine = t.map(lambda a: a[g * each : (g + 1) * each], (each, *t.shape[1:]))
            made: Tensor = _filled(dilations)(mine)
            return made

        def part_of(b: Tensor, g: int = g) -> Tensor:
            return b.map(lambda a: a[g * m : (g + 1) * m], (m,))

        states = {"kernel": s.state(w.input(1), f"group {g} of {groups} {list(dilations)}", rows)}
        if w.optional(2) is not None:
            w.tensor(2, "the bias")
            states["bias"] = s.state(w.input(2), f"group {g} of {groups}", part_of)
        parts.append(w.layer(f"Conv{d}DTranspose", part, config, states, shape=one))
    return w.op("Concatenate", parts, shape=out, dtype=x.dtype or DType.FLOAT32, axis=w.image.channels)

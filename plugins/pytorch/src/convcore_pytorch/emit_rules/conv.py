"""Convolutions whose padding is no number per axis: a pad in front; transposed convolutions."""

from __future__ import annotations

from typing import Any

from convcore.plugin import Node, NotExpressible, Value

from ..rules.base import RULES, one_if_equal
from .base import ALL, E, given, pad_list, pads_of, shape_of, static


def layer(
    e: E, node: Node, x: Any, kind: str, channels: tuple[int, int], config: dict[str, Any], names: tuple[str, ...] = ("w", "b"),
    outputs: Any = None,
) -> Any:  # fmt: skip
    """A convolution as a module where its weights are constants, else as a function."""
    w = given(node.arg(names[0]))
    b = node.arg(names[1])
    d = len(shape_of(w)) - 2
    outs = node.outputs if outputs is None else outputs
    if w.tensor is not None and (b is None or b.tensor is not None):
        states = {"weight": e.state(w)}
        if b is not None:
            states["bias"] = e.state(b)
        full = {"in_channels": channels[0], "out_channels": channels[1],
                "kernel_size": one_if_equal(static(shape_of(w)[2:], "kernel")), **config, "bias": b is not None}  # fmt: skip
        return e.unit(f"torch.nn.{kind}{d}d", [x], full, states, outputs=outs)[0]
    function = "F.conv_transpose" if kind == "ConvTranspose" else "F.conv"
    return e.call(f"{function}{d}d", [x, e.value(w), None if b is None else e.value(b)], config, outputs=outs)[0]


@RULES.emit("conv")
def conv(e: E, node: Node) -> None:
    """Padding is the same on both sides, or done in front."""
    if node.attrs["layout"] != "channels_first":
        raise NotExpressible("channels are last")
    x, w = given(node.arg("x")), given(node.arg("w"))
    kernel = static(shape_of(w)[2:], "kernel")
    if not kernel:
        _points(e, node, x, w)
        return
    if len(kernel) > 3:
        raise NotExpressible(f"{len(kernel)} spatial axes")
    pads, handle, groups = pads_of(x, node, kernel), e.value(x), node.attrs["groups"]
    config = _config(node)
    if all(isinstance(a, int) and a == b and a >= 0 for a, b in pads):
        if any(a for a, _ in pads):
            config["padding"] = one_if_equal(a for a, _ in pads)
    else:
        (handle,) = e.call("F.pad", [handle, pad_list(pads)])
    out, per_group = static(shape_of(w)[:2], "channels")
    layer(e, node, handle, "Conv", (per_group * groups, out), config)


def _points(e: E, node: Node, x: Value, w: Value) -> None:
    """Without spatial axes: one of size 1."""
    b, config = node.arg("b"), _config(node)
    if w.tensor is None or (b is not None and b.tensor is None):
        raise NotExpressible("computed weights and no spatial axes")
    out, per_group = static(shape_of(w), "channels")
    states = {"weight": e.state(w, "one spatial axis", lambda t: t.reshape((out, per_group, 1)))}
    if b is not None:
        states["bias"] = e.state(b)
    full = {"in_channels": per_group * node.attrs["groups"], "out_channels": out, "kernel_size": 1, **config,
            "bias": b is not None}  # fmt: skip
    (h,) = e.call(".unsqueeze", [e.value(x), 2])
    (h,) = e.unit("torch.nn.Conv1d", [h], full, states)
    e.call(".squeeze", [h, 2], outputs=node.outputs)


def _config(node: Node) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for key, name in (("strides", "stride"), ("dilations", "dilation")):
        if any(n != 1 for n in node.attrs[key]):
            config[name] = one_if_equal(node.attrs[key])
    if node.attrs["groups"] != 1:
        config["groups"] = node.attrs["groups"]
    return config


def _shared(node: Node, x: Value, kernel: Any, extra: Any, pads: str) -> list[tuple[Any, Any]]:
    """The surplus over the wanted size on both ends: same_upper cuts the smaller half at the beginning (ONNX, opset 11)."""
    a, out = node.attrs, []
    for i, (n, k, s, d) in enumerate(zip(shape_of(x)[2:], kernel, a["strides"], a["dilations"])):
        want = None if a["output_shape"] is None else a["output_shape"][i]
        if n is None:
            raise NotExpressible(f"pads={pads} of a size that is not known")
        total = (n - 1) * s + d * (k - 1) + 1 + extra[i] - (n * s if want is None else want)
        if not isinstance(total, int):
            raise NotExpressible(f"pads={pads} to {want} depends on a size that is not known")
        begin = max(total, 0) // 2 if pads == "same_upper" else max(total, 0) - max(total, 0) // 2
        out.append((begin, total - begin))
    return out


@RULES.emit("conv_transpose")
def conv_transpose(e: E, node: Node) -> None:
    """Output size (n - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1; unequal padding is cut off after."""
    if node.attrs["layout"] != "channels_first":
        raise NotExpressible("channels are last")
    x, w = given(node.arg("x")), given(node.arg("w"))
    kernel = static(shape_of(w)[2:], "kernel")
    d = len(kernel)
    if not 1 <= d <= 3:
        raise NotExpressible(f"{d} spatial axes")
    strides, dilations = node.attrs["strides"], node.attrs["dilations"]
    extra = list(node.attrs["output_padding"] or (0,) * d)
    pads = node.attrs["pads"]
    if isinstance(pads, str):
        pads = _shared(node, x, kernel, extra, pads)
    padding, cut = [], []
    for i, (begin, end) in enumerate(pads):
        if not isinstance(begin, int) or not isinstance(end, int):
            raise NotExpressible(f"pads={pads}")
        p = max(min(begin, end), 0)
        more_front, more_end = begin - p, end - p
        take = min(max(more_end, 0), extra[i])  # output padding that would be cut off again
        extra[i] -= take
        more_end -= take
        grown = min(max(-more_end, 0), max(strides[i], dilations[i]) - 1 - extra[i])  # elements of the bias alone
        if grown > 0:
            extra[i] += grown
            more_end += grown
        if more_front < 0 or more_end < 0:
            raise NotExpressible(f"pads={pads} add elements that torch has not")
        padding.append(p)
        cut.append((more_front, more_end))
    if any(x >= max(s, dil) for x, s, dil in zip(extra, strides, dilations)):
        raise NotExpressible(f"output_padding={tuple(extra)} is not smaller than stride or dilation")
    config = _config(node)
    if any(padding):
        config["padding"] = one_if_equal(padding)
    if any(extra):
        config["output_padding"] = one_if_equal(extra)
    into, per_group = static(shape_of(w)[:2], "channels")
    cropped = any(a or b for a, b in cut)
    y = layer(
        e, node, e.value(x), "ConvTranspose", (into, per_group * node.attrs["groups"]), config,
        outputs=(None,) if cropped else None,
    )  # fmt: skip
    if cropped:
        index = [ALL] * 2 + [("slice", a or None, -b or None, None) for a, b in cut]
        e.call("[]", [y], {"index": tuple(index)}, outputs=node.outputs)

"""Convolutions whose padding is no number per axis: a pad in front; transposed convolutions."""

from __future__ import annotations

from typing import Any

from convcore.plugin import Node, NotExpressible

from ..rules.base import RULES, one_if_equal
from .base import E, given, pad_list, pads_of, shape_of, static


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
    if not 1 <= len(kernel) <= 3:
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


def _config(node: Node) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for key, name in (("strides", "stride"), ("dilations", "dilation")):
        if any(n != 1 for n in node.attrs[key]):
            config[name] = one_if_equal(node.attrs[key])
    if node.attrs["groups"] != 1:
        config["groups"] = node.attrs["groups"]
    return config


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
    wanted = node.attrs["output_shape"]
    if isinstance(pads, str) or wanted is not None:
        raise NotExpressible(f"pads={pads}, output_shape={wanted}")
    padding, cut = [], []
    for i, (begin, end) in enumerate(pads):
        p = min(begin, end)
        if not isinstance(p, int) or p < 0:
            raise NotExpressible(f"pads={pads}")
        more_front, more_end = begin - p, end - p
        take = min(more_end, extra[i])  # output padding that would be cut off again
        extra[i] -= take
        padding.append(p)
        cut.append((more_front, more_end - take))
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
        index = [("slice", None, None, None)] * 2 + [("slice", a or None, -b or None, None) for a, b in cut]
        e.call("[]", [y], {"index": tuple(index)}, outputs=node.outputs)

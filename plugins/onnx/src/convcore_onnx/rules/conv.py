"""Convolutions."""

from __future__ import annotations

from typing import Any

from convcore.plugin import MISSING, A, ForeignNode, Node, NotExpressible, Size, Value, known_shape

from ..context import OnnxContext
from ..dialect import OnnxScribe
from .base import RULES, int_list
from .windows import EXPLICIT, PADDINGS, channels_first, emit_pads, spelled_out

_CONV: dict[str, Any] = {
    "kernel_shape": Size("w", "2:"), "strides": A("strides", None, "int_tuple"), "dilations": A("dilations", None, "int_tuple"),
    "groups": A("group", 1), "layout": "channels_first",
}  # fmt: skip
for _when, _pads in PADDINGS:
    _ways = "both" if _pads is EXPLICIT else "load"
    RULES.op("Conv", "conv", "X=x, W=w, B=b", when=_when, direction=_ways, pads=_pads, **_CONV)


@RULES.emit("conv")
def emit_same_conv(e: OnnxScribe, node: Node) -> None:
    """ "same" padding, written out where the sizes are known."""
    channels_first(node)
    x, w, a = node.need("x"), node.need("w"), node.attrs
    kernel = known_shape(w)[2:]
    spelled_out(node)
    if not isinstance(a["pads"], str):
        raise NotExpressible("Conv wants at least one spatial axis, and padding of known sizes")
    attrs = {
        "kernel_shape": int_list(kernel, "kernel_shape"), "strides": list(a["strides"]), "dilations": list(a["dilations"]),
        "group": a["groups"], **emit_pads(node, x, kernel),
    }  # fmt: skip
    e.call("Conv", [e.value(v) if v is not None else None for v in node.inputs], attrs, outputs=node.outputs, name=node.name)


@RULES.post("no_gaps")
def no_gaps(g: OnnxContext, node: ForeignNode, y: Value) -> Value:
    """A filter narrower than its stride leaves nothing to cut: by the standard the result is padded to input times stride,
    by onnxruntime (1.32) it stays shorter."""
    made = y.producer
    if made is None or not isinstance(made.attrs["pads"], str):
        return y
    kernel = known_shape(made.need("w"))[2:]
    strides, dilations, more = (
        made.attrs[k] or (n,) * len(kernel) for k, n in (("strides", 1), ("dilations", 1), ("output_padding", 0))
    )
    reach = [(k - 1) * d + 1 + o for k, d, o in zip(kernel, dilations, more)]
    if not all(isinstance(r, int) and r >= s for r, s in zip(reach, strides)):
        why = f"where a filter reaches over {', '.join(map(str, reach))} with strides {list(strides)}"
        why = f"auto_pad={node.attr('auto_pad')} {why}: the standard and onnxruntime make results of other sizes"
        raise node.refuse(why, "give pads and output_padding")
    return y


_OUT = A("output_padding", None, "int_tuple")
for _when, _pads in PADDINGS:
    RULES.op(
        "ConvTranspose", "conv_transpose", "X=x, W=w, B=b", when={**_when, "output_shape": frozenset({MISSING, ()})},
        direction="both" if _pads is EXPLICIT else "load", pads=_pads, output_padding=_OUT, then=("no_gaps",), **_CONV,
    )  # fmt: skip


@RULES.load("ConvTranspose")
def conv_transpose_to_a_shape(g: OnnxContext, node: ForeignNode) -> Any:
    """``output_shape`` holds spatial sizes (some exporters give batch and channels too); it decides how much is cut off, and the
    standard computes pads from it."""
    if not node.attr("output_shape", ()):
        pads = f"auto_pad={node.attr('auto_pad', 'NOTSET')} with pads={node.attr('pads', None)}"
        raise NotExpressible(f"{pads} is not one way of padding, and output_shape is not given")
    x, w, bias = node.input(0), node.input(1), node.input(2)
    if w is None or w.rank is None:
        raise NotExpressible("the number of axes of its weight is not known", "unknown_shape")
    d, want = w.rank - 2, node.attr("output_shape")
    kernel = node.attr("kernel_shape", None)
    if kernel is not None and w.shape is not None and tuple(kernel) != tuple(w.shape[2:]):
        raise node.refuse(f"kernel_shape={list(kernel)}, but its weight has the shape {list(map(str, w.shape))}")
    node.ignore("pads")
    if len(want) not in (d, d + 2):
        raise node.refuse(f"output_shape={list(want)} must have one entry for each of {d} spatial axes")
    mode = node.attr("auto_pad", "NOTSET")
    attrs: dict[str, Any] = {k: node.attr(k, None) for k in ("strides", "dilations", "output_padding")}
    attrs.update(groups=node.attr("group", 1), output_shape=tuple(want)[-d:], layout="channels_first")
    return g.b.op("conv_transpose", x, w, bias, pads="same_upper" if mode == "SAME_UPPER" else "same_lower", **attrs)


@RULES.emit("conv_transpose")
def emit_conv_transpose(e: OnnxScribe, node: Node) -> None:
    """ "same" padding, written out: what it cuts does not depend on the input's size unless output_shape is given."""
    channels_first(node)
    w, a = node.need("w"), node.attrs
    spelled_out(node)
    kernel = int_list(known_shape(w)[2:], "kernel_shape")
    if not isinstance(a["pads"], str):
        raise NotExpressible("its padding is not known")
    pads, extra = _explicit(node, kernel)
    attrs = {
        "kernel_shape": kernel, "strides": list(a["strides"]), "dilations": list(a["dilations"]), "group": a["groups"],
        "pads": int_list([b for b, _ in pads] + [c for _, c in pads], "pads"),
    }  # fmt: skip
    if any(extra):
        attrs["output_padding"] = extra
    e.call(
        "ConvTranspose", [e.value(v) if v is not None else None for v in node.inputs], attrs, outputs=node.outputs, name=node.name
    )


def _explicit(node: Node, kernel: list[int]) -> tuple[list[tuple[int, int]], list[int]]:
    """(pads, output_padding) equal to "same_*" padding."""
    a, x = node.attrs, node.need("x")
    space = known_shape(x)[2:]
    pads, extra = [], []
    for i, k in enumerate(kernel):
        s, grow = a["strides"][i], a["output_padding"][i]
        want = None if a["output_shape"] is None else a["output_shape"][i]
        full = a["dilations"][i] * (k - 1) + 1 + grow
        if want is None:
            total = full - s  # (n - 1) * s + full - n * s
        elif isinstance(want, int) and isinstance(space[i], int):
            total = (space[i] - 1) * s + full - want
        else:
            raise NotExpressible(f"output_shape={want} with an input of size {space[i]}")
        if total < 0:  # nothing to cut: the rest is added at the end
            grow, total = grow - total, 0
        pads.append((total // 2, total - total // 2) if a["pads"] == "same_upper" else (total - total // 2, total // 2))
        extra.append(grow)
    return pads, extra

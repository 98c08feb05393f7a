"""Integer products, and stored integers that are multiplied and stored again."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import A, Node, NotExpressible, Size, Value, known_shape

from ..dialect import OnnxScribe
from .base import RULES, int_list
from .steps import Steps, dtype_known
from .windows import PADDINGS, channels_first, emit_pads, spelled_out

_NUMBER = ((), (1,))

RULES.op("MatMulInteger", "matmul_integer", "A=a, B=b, a_zero_point=a_zero, b_zero_point=b_zero", since=10, direction="load")
RULES.op(
    "QLinearMatMul", "qlinear_matmul",
    "a=a, a_scale=a_scale, a_zero_point=a_zero, b=b, b_scale=b_scale, b_zero_point=b_zero, y_scale=y_scale, y_zero_point=y_zero",
    since=10, direction="load",
)  # fmt: skip


def _one(v: Value | None, what: str) -> None:
    """onnxruntime 1.31 takes one number there (matmul_integer.cc, conv_integer.cc)."""
    if v is not None and v.shape not in _NUMBER:
        raise NotExpressible(f"{what} of more than one number")


@RULES.emit("matmul_integer", since=10)
def emit_matmul_integer(e: OnnxScribe, node: Node) -> None:
    _one(node.arg("a_zero"), "a zero point of rows")
    Steps(e, node).last("MatMulInteger", *node.inputs)


def _stored(e: OnnxScribe, node: Node, operands: str) -> list[Any]:
    """Inputs with the zero points that may be left out in ours."""
    s = Steps(e, node)

    def zero(name: str, like: str) -> Any:
        given = node.arg(f"{name}_zero")
        if given is not None:
            return given
        shape = known_shape(node.need(f"{name}_scale"))
        if not all(isinstance(n, int) for n in shape):
            raise NotExpressible("how many zero points it has is not known")
        dtype = dtype_known(node.need(like))
        return s.const(np.zeros([int(n) for n in shape if isinstance(n, int)], dtype.numpy), dtype)

    ins: list[Any] = []
    for name in operands:
        ins += [node.need(name), node.need(f"{name}_scale"), zero(name, name)]
    return [*ins, node.need("y_scale"), zero("y", operands[0])]


@RULES.emit("qlinear_matmul", since=10)
def emit_qlinear_matmul(e: OnnxScribe, node: Node) -> None:
    for name in ("a_scale", "a_zero"):
        _one(node.arg(name), f"{name} of rows")
    Steps(e, node).last("QLinearMatMul", *_stored(e, node, "ab"))


_CONV: dict[str, Any] = {
    "kernel_shape": Size("w", "2:"), "strides": A("strides", None, "int_tuple"), "dilations": A("dilations", None, "int_tuple"),
    "groups": A("group", 1), "layout": "channels_first",
}  # fmt: skip
for _when, _pads in PADDINGS:
    RULES.op(
        "ConvInteger", "conv_integer", "x=x, w=w, x_zero_point=x_zero, w_zero_point=w_zero", since=10, when=_when,
        direction="load", pads=_pads, **_CONV,
    )  # fmt: skip
    RULES.op(
        "QLinearConv", "qlinear_conv",
        "x=x, x_scale=x_scale, x_zero_point=x_zero, w=w, w_scale=w_scale, w_zero_point=w_zero, y_scale=y_scale, "
        "y_zero_point=y_zero, B=b",
        since=10, when=_when, direction="load", pads=_pads, **_CONV,
    )  # fmt: skip


def _window(node: Node) -> dict[str, Any]:
    channels_first(node)
    spelled_out(node)
    kernel = known_shape(node.need("w"))[2:]
    a = node.attrs
    return {
        "kernel_shape": int_list(kernel, "kernel_shape"), "strides": list(a["strides"]), "dilations": list(a["dilations"]),
        "group": a["groups"], **emit_pads(node, node.need("x"), kernel),
    }  # fmt: skip


@RULES.emit("conv_integer", since=10)
def emit_conv_integer(e: OnnxScribe, node: Node) -> None:
    _one(node.arg("w_zero"), "a zero point of filters")
    Steps(e, node).last("ConvInteger", *node.inputs, **_window(node))


@RULES.emit("qlinear_conv", since=10)
def emit_qlinear_conv(e: OnnxScribe, node: Node) -> None:
    b = node.arg("b")
    Steps(e, node).last("QLinearConv", *_stored(e, node, "xw"), *([] if b is None else [b]), **_window(node))

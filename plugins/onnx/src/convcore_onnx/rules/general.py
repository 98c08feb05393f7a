"""Nodes without computation: constants, copies, dropout at inference."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import ArrayTensor, DType, ForeignNode, Node, Tensor, known_shape

from ..context import OnnxContext
from ..dialect import OnnxScribe
from .base import RULES

RULES.op("Identity", "identity", "input=x")


@RULES.load("Constant")
def constant(g: OnnxContext, node: ForeignNode) -> Any:
    """Every form: a tensor, a number, a list, a string, a sparse tensor."""
    if len(node.attrs) != 1:
        raise node.refuse(f"must hold one value, has {', '.join(node.attrs) or 'none'}")
    (name,) = node.attrs
    v = node.attr(name)
    if name in ("value", "sparse_value"):
        if not isinstance(v, Tensor):
            raise node.refuse(f"its attribute {name} is not a tensor")
        tensor: Tensor = v
    elif name in ("value_float", "value_floats"):
        tensor = ArrayTensor(np.asarray(v, np.float32))
    elif name in ("value_int", "value_ints"):
        tensor = ArrayTensor(np.asarray(v, np.int64))
    elif name in ("value_string", "value_strings"):
        tensor = ArrayTensor(np.asarray(v, object))
    else:
        raise node.refuse(f"the attribute {name!r} is not a value", code="unknown_attribute")
    return g.b.weight(tensor, node.outputs[0] if node.outputs and node.outputs[0] else node.name)


@RULES.load("Dropout")
def dropout(g: OnnxContext, node: ForeignNode) -> Any:
    """At inference the input itself. Training mode, or the mask of it, is refused.

    The ratio is an attribute before version 12, an input since; 0.5 where it is absent, not known where it is computed.
    """
    ratio, seed = node.attr("ratio", None), node.attr("seed", None)
    node.ignore("consumed_inputs")
    if node.input(1) is not None:
        given = g.constant(node.input(1))
        rate = None if given is None else float(np.asarray(given).reshape(-1)[0])
    else:
        rate = 0.5 if ratio is None else float(ratio)
    if node.attr("is_test", 1) == 0:
        raise node.refuse("is_test=0 is training mode", "export the model in evaluation mode")
    training = node.input(2)
    if training is not None:
        mode = g.constant(training)
        if mode is None or bool(np.asarray(mode).reshape(-1)[0]):
            raise node.refuse("training_mode is set or not a constant", "export the model in evaluation mode")
    y = g.b.dropout(node.need(0), rate=rate, seed=seed)
    if len(node.outputs) < 2 or not node.outputs[1]:
        return y
    if (node.version or 0) < 12:  # onnxruntime fills it with zeros, the standard says nothing
        raise node.refuse("its mask is used", "before opset 12 it has no meaning at inference", "unsupported_output")
    return y, g.b.fill(shape=known_shape(node.need(0), sizes=True), value=True, dtype="bool")


@RULES.emit("dropout")
def emit_dropout(e: OnnxScribe, node: Node) -> None:
    """Left out, or with ``keep_training`` a Dropout in evaluation mode; ONNX has only the plain kind, with a draw per element."""
    a, x = node.attrs, node.need("x")
    plain = a["kind"] == "bernoulli" and not a["shared"] and x.dtype is not None and x.dtype.is_float
    if not (e.dialect.keep_training and plain):
        _leave_out(e, node, "dropout")
        return
    ratio = None if a["rate"] is None else e.const(a["rate"], DType.FLOAT32)
    e.call("Dropout", [e.value(x), ratio, e.const(False, DType.BOOL)], {"seed": a["seed"]}, outputs=node.outputs, name=node.name)


@RULES.emit("gaussian_noise")
def emit_gaussian_noise(e: OnnxScribe, node: Node) -> None:
    """Left out: ONNX has no such operator."""
    _leave_out(e, node, "noise")


def _leave_out(e: OnnxScribe, node: Node, what: str) -> None:
    """No node, but for an output of the graph, which keeps its name by an Identity."""
    if not node.output.is_output:
        e.pass_on(node, what)
        return
    e.leave_out(what, node)
    e.call("Identity", [e.value(node.need("x"))], outputs=node.outputs, name=node.name)

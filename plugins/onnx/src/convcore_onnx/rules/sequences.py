"""Sequences of tensors and values that may be absent."""

from __future__ import annotations

from typing import Any

from convcore.plugin import A, ForeignNode, Node, NotExpressible

from ..context import OnnxContext
from ..dialect import OnnxScribe
from ..dtypes import TypeOf
from ..structure import container
from .base import RULES

RULES.op("SequenceConstruct", "sequence_construct", "inputs=xs*", since=11)
RULES.op("SequenceEmpty", "sequence_empty", "", since=11, dtype=A("dtype", 1, "onnx_dtype"))
RULES.op("SequenceInsert", "sequence_insert", "input_sequence=s, tensor=x, position=position", since=11)
RULES.op("SequenceErase", "sequence_erase", "input_sequence=s, position=position", since=11)
RULES.op("SequenceAt", "sequence_at", "input_sequence=s, position=position", since=11)
RULES.op("SequenceLength", "sequence_length", "input_sequence=s", since=11)
RULES.op(
    "ConcatFromSequence", "sequence_concat", "input_sequence=s", since=11, axis=A("axis"), stack=A("new_axis", 0, "bool_int")
)
RULES.op(
    "SplitToSequence", "split_to_sequence", "input=x, split=sizes", since=11, axis=A("axis", 0),
    keepdims=A("keepdims", 1, "bool_int"),
)  # fmt: skip


@RULES.load("Optional", since=15)
def optional(g: OnnxContext, node: ForeignNode) -> Any:
    declared = node.attr("type", None)
    dtype = None if declared is None else container(declared)
    if node.input(0) is None and dtype is None:
        raise node.refuse("the type of its absent value is not known")
    return g.b.optional(node.input(0), dtype=None if node.input(0) is not None else dtype)


@RULES.emit("optional", since=15)
def emit_optional(e: OnnxScribe, node: Node) -> None:
    x, dtype = node.arg("x"), node.attrs["dtype"]
    if x is None and dtype is None:
        raise NotExpressible("an empty optional of no type")
    attrs = {} if x is not None or dtype is None else {"type": TypeOf(dtype)}
    e.call("Optional", [] if x is None else [e.value(x)], attrs, outputs=node.outputs, name=node.name)


RULES.op("OptionalHasElement", "optional_has_element", "input=o", since=15)
RULES.op("OptionalGetElement", "optional_get_element", "input=o", since=15)

"""Caffe's schema as the judge of rows: protobuf takes what a row writes, and the reader computes what was written.

cv2.dnn computes the same samples in test_emit_opencv.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.errors import UnsupportedError
from convcore.hookspecs import LoadRequest
from convcore.host import host
from convcore.interpreter import Interpreter
from convcore.ir.dtypes import DType
from convcore.ir.graph import Node
from convcore.rules import ForeignNode, NotExpressible
from convcore.rules.rows import Row
from convcore.rules.values import equal
from convcore.testing.ops import CheckFailed
from convcore_caffe.dialect import blob_shape
from convcore_caffe.files import Layer, Message, Net
from convcore_caffe.files.descriptors import fill, message_class
from convcore_caffe.files.schema import enum_values, message_type
from convcore_caffe.layer_spec import params_of
from convcore_caffe.load import load
from convcore_caffe.rules import RULES

__all__ = ["CaffeSchema"]


class CaffeSchema:
    """The parameters of a written layer go through the message class that the schema's descriptor makes, as bytes, and come back
    with the default of every field that was not written (``convcore.testing.rules.Schema``)."""

    def accept(self, row: Row, written: ForeignNode, node: Node) -> ForeignNode:
        if any(v is not None and (v.dtype is not DType.FLOAT32 or not v.shape) for v in (*written.inputs, *node.outputs)):
            raise NotExpressible("Caffe's blobs are float32")
        declared = message_type("LayerParameter").by_name
        known = [f for f in params_of(written.type) if f in declared]
        if not known and written.attrs:
            raise CheckFailed(f"{written}: no field of LayerParameter holds its parameters")
        self.layer = Layer(written.name, written.type, [f"in{i}" for i in range(len(written.inputs))], ["out"])
        attrs: dict[str, Any] = {}
        if known:
            message = Message(declared[known[0]].type)
            for name, value in written.attrs.items():
                if name not in message.schema.by_name:
                    raise CheckFailed(f"{written}: {message.type} has no field {name}")
                message.set(name, list(value) if message.schema.by_name[name].repeated else value)
            if written.attrs:
                self.layer.params[known[0]] = message
            attrs = _through_protobuf(written, message)
        self.net = Net("row", [*(_input(i, v) for i, v in enumerate(written.inputs)), self.layer], outputs=["out"])
        for key in set(row.then) & attrs.keys() - written.attrs.keys():
            del attrs[key]  # a post step, named after the field it reads, handles it beside the row
        return ForeignNode(written.type, written.name, written.inputs, attrs, outputs=["out"])

    def compute(self, row: Row, written: ForeignNode, inputs: Sequence[Any]) -> Sequence[Any] | None:
        graph = load(LoadRequest(self.net, rules=host().rules("caffe")))
        return [np.asarray(a) for a in Interpreter(graph).run(list(inputs))]


def _input(i: int, v: Any) -> Layer:
    layer = Layer(f"in{i}", "Input", [], [f"in{i}"])
    layer.params["input_param"] = Message("InputParameter", shape=[blob_shape(v.shape)])
    return layer


def _through_protobuf(written: ForeignNode, message: Message) -> dict[str, Any]:
    """The fields as protobuf reads them back, and the schema's defaults for the others."""
    made = message_class(message.type)()
    for name, value in message.fields():
        fill(made, message, name, value, text=True)
    again = message_class(message.type).FromString(made.SerializeToString())
    out: dict[str, Any] = {}
    for descriptor, value in again.ListFields():
        field = message.schema.by_name[descriptor.name]
        if field.kind == "enum":
            value = next(k for k, n in enum_values(field.type).items() if n == value)
        elif field.kind == "float":
            value = float(str(np.float32(value)))
        out[field.name] = list(value) if field.repeated else value
    for name, value in written.attrs.items():
        if name not in out or not equal(out[name], list(value) if isinstance(value, tuple) else value):
            raise CheckFailed(f"{written}: {name}={value!r} came back from protobuf as {out.get(name)!r}")
    for name, field in message.schema.by_name.items():
        if name in out or name in RULES.ignored or field.repeated or field.kind == "message":
            continue
        try:
            default = message.get(name)
        except UnsupportedError:  # forks disagree about it: a row must not rely on one
            continue
        if default is not None:
            out[name] = default
    return out

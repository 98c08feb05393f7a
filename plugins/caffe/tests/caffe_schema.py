"""Caffe's schema as the judge of rows: protobuf takes what a row writes, and the reader computes what was written.

cv2.dnn computes the same samples in test_emit_opencv.py.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
from convcore_caffe.context import CaffeNode
from convcore_caffe.dialect import blob_shape
from convcore_caffe.files import Layer, Message, Net
from convcore_caffe.files.descriptors import fill, message_class
from convcore_caffe.files.schema import enum_values, message_type
from convcore_caffe.layer_spec import params_of, spec_of
from convcore_caffe.load import load
from convcore_caffe.rules import RULES

__all__ = ["CaffeSchema"]


class CaffeSchema:
    """The parameters of a written layer, as the emitter puts them, go through the message class that the schema's descriptor
    makes, as bytes, and come back with the default of every field that was not written (``convcore.testing.rules.Schema``). What
    the row loads is the reader's own node of it."""

    def accept(self, row: Row, written: ForeignNode, node: Node) -> ForeignNode:
        if any(v is not None and (v.dtype is not DType.FLOAT32 or not v.shape) for v in (*written.inputs, *node.outputs)):
            raise NotExpressible("Caffe's blobs are float32")
        spec, declared = spec_of(written.type), message_type("LayerParameter").by_name
        known = [f for f in params_of(written.type) if f in declared]
        if not known and written.attrs:
            raise CheckFailed(f"{written}: no field of LayerParameter holds its parameters")
        unknown = written.weights.keys() - {b.name for b in spec.blobs}
        if unknown:
            raise CheckFailed(f"{written}: it has no blob {', '.join(unknown)}")
        self.layer = Layer(written.name, written.type, [f"in{i}" for i in range(len(written.inputs))], ["out"])
        self.layer.blobs = [written.weights[b.name] for b in spec.blobs if b.name in written.weights]
        given = spec.shortest(written.attrs)
        message = None
        if known:
            message = Message(declared[known[0]].type)
            for name, value in given.items():
                if name not in message.schema.by_name:
                    raise CheckFailed(f"{written}: {message.type} has no field {name}")
                many = isinstance(value, (list, tuple))
                if message.schema.by_name[name].repeated is not many:
                    value = [value]
                message.set(name, list(value) if isinstance(value, tuple) else value)
            if written.attrs:
                self.layer.params[known[0]] = message
        self.net = Net("row", [*(_input(i, v) for i, v in enumerate(written.inputs)), self.layer], outputs=["out"])
        read = Layer(written.name, written.type, self.layer.bottoms, ["out"])
        if message is not None:
            read.params[known[0]] = again = Message(message.type)
            # what a post step reads, or the row wants unset, is not set where the row did not write it
            for name, value in _through_protobuf(written, message, spec.spatial).items():
                unset = name in row.then or row.when.get(name, "") is None
                if not unset or message.has(name):
                    again.set(name, value)
        found = CaffeNode(read, 0, [v for v in written.inputs if v is not None], written.name)
        found.weights = written.weights
        return found

    def compute(self, row: Row, written: ForeignNode, inputs: Sequence[Any]) -> Sequence[Any] | None:
        graph = load(LoadRequest(self.net, rules=host().rules("caffe")))
        return [np.asarray(a) for a in Interpreter(graph).run(list(inputs))]


def _input(i: int, v: Any) -> Layer:
    layer = Layer(f"in{i}", "Input", [], [f"in{i}"])
    layer.params["input_param"] = Message("InputParameter", shape=[blob_shape(v.shape)])
    return layer


def _through_protobuf(written: ForeignNode, message: Message, spatial: Collection[str]) -> dict[str, Any]:
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
    for name, value in message.fields():
        if name not in out or not equal(out[name], list(value) if isinstance(value, tuple) else value):
            raise CheckFailed(f"{written}: {name}={value!r} came back from protobuf as {out.get(name)!r}")
    parts = {f"{name.removesuffix('_size')}_{end}" for name in spatial for end in "hw"} | set(spatial)
    for name, field in message.schema.by_name.items():
        if name in out or name in RULES.ignored or name in parts or field.repeated or field.kind == "message":
            continue
        try:
            default = message.get(name)
        except UnsupportedError:  # forks disagree about it: a row must not rely on one
            continue
        if default is not None:
            out[name] = default
    return out

"""Serialising a model: the messages without weights by protobuf, the weights spliced in on the wire, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from convcore import __version__
from convcore.plugin import (
    Block,
    Dim,
    DType,
    NotExpressible,
    OutputError,
    Plan,
    PlanCall,
    Ref,
    Tensor,
    UsageError,
    writing,
)

from .dialect import OnnxDialect
from .dtypes import TypeOf, dtype_code
from .library import messages
from .structure import declare_container
from .tensors import packed

__all__ = ["ModelParts", "model_parts"]

LIMIT = (1 << 31) - (1 << 20)
"""A protobuf message must stay below 2 GiB; a MiB is left for what runtimes add."""
SMALL = 1024
"""Tensors of fewer bytes stay in the model when the others go to a file of their own."""
ALIGNMENT = 4096
"""External tensors start at multiples of a memory page, so that runtimes can map them."""

GRAPH_TAG, NODE_TAG, INITIALIZER_TAG, RAW_DATA_TAG = b"\x3a", b"\x0a", b"\x2a", b"\x4a"  # field << 3 | 2 of fields 7, 1, 5 and 9


class ModelParts:
    """A model in pieces: ``head`` (ModelProto without graph), ``body`` (GraphProto without initializers, serialised: messages of
    many nodes take ten times as much), the tensors."""

    def __init__(self, head: Any, body: bytes, tensors: Sequence[tuple[str, Tensor]]) -> None:
        self.head, self.body = head, body
        self.tensors = list(tensors)

    def build(self) -> Any:
        """The ModelProto, weights included. UsageError when it would exceed protobuf's 2 GiB."""
        if sum(packed(t).nbytes for _, t in self.tensors) >= LIMIT:
            raise UsageError("the model exceeds the 2 GiB a ModelProto may have; write it to a file")
        model = type(self.head)()
        model.CopyFrom(self.head)
        model.graph.MergeFromString(self.body)
        for name, t in self.tensors:
            proto = _header(name, t)
            if t.dtype is not DType.STRING:
                proto.raw_data = _bytes(t)
            model.graph.initializer.append(proto)
        return model

    def write(self, out: Path, external: str) -> tuple[str, ...]:
        """Write the model, and its external data when asked for or needed; returns the files, the model first."""
        body = self.body
        total = len(body) + sum(packed(t).nbytes + 256 for _, t in self.tensors)
        if external == "always" or (external == "auto" and total >= LIMIT):
            data = out.with_name(out.name + ".data")
            if not data.name.isprintable():
                raise OutputError(f"{out}: a model with external data names them, and this name cannot be one; choose another")
            with writing(out, data) as (temp, temp_data):
                entries = self._external(temp_data, data.name)
                if entries:
                    self._write(temp, body, entries)
                    return str(out), str(data)
                self._write(temp, body, {})
                return (str(out),)
        if total >= LIMIT:
            raise UsageError("the model exceeds the 2 GiB an ONNX file may have; allow external_data")
        with writing(out) as (temp,):
            self._write(temp, body, {})
        return (str(out),)

    def _external(self, path: Path, location: str) -> dict[int, list[tuple[str, str]]]:
        """Write the large tensors one after the other; where each of them is, by position."""
        entries: dict[int, list[tuple[str, str]]] = {}
        large = [i for i, (_, t) in enumerate(self.tensors) if packed(t).nbytes >= SMALL and t.dtype is not DType.STRING]
        if not large:
            return entries
        at = 0
        with open(path, "wb") as f:
            for i in large:
                t = packed(self.tensors[i][1])
                gap = -at % ALIGNMENT
                f.write(b"\0" * gap)
                at += gap
                _write_tensor(f, t)
                entries[i] = [("location", location), ("offset", str(at)), ("length", str(t.nbytes))]
                at += t.nbytes
        return entries

    def _write(self, path: Path, body: bytes, external: dict[int, list[tuple[str, str]]]) -> None:
        pieces: list[tuple[bytes, Tensor | None]] = []
        size = len(body)
        for i, (name, t) in enumerate(self.tensors):
            proto = _header(name, t)
            for key, value in external.get(i, ()):
                entry = proto.external_data.add()
                entry.key, entry.value = key, value
            raw = i not in external and t.dtype is not DType.STRING
            t = packed(t)
            if i in external:
                proto.data_location = proto.EXTERNAL
            head = proto.SerializeToString() + (RAW_DATA_TAG + _varint(t.nbytes) if raw else b"")
            start = INITIALIZER_TAG + _varint(len(head) + (t.nbytes if raw else 0)) + head
            pieces.append((start, t if raw else None))
            size += len(start) + (t.nbytes if raw else 0)
        with open(path, "wb") as f:
            f.write(self.head.SerializeToString())
            f.write(GRAPH_TAG + _varint(size))
            f.write(body)
            for start, tensor in pieces:
                f.write(start)
                if tensor is not None:
                    _write_tensor(f, tensor)


def _write_tensor(f: BinaryIO, t: Tensor) -> None:
    before = f.tell()
    t.write_to(f)
    if f.tell() - before != t.nbytes:
        raise UsageError(f"a tensor declared with {t.nbytes} bytes wrote {f.tell() - before}")


def _bytes(t: Tensor) -> bytes:
    a = packed(t).numpy()
    if a.dtype.byteorder == ">" or (a.dtype.byteorder == "=" and not np.little_endian):
        a = a.astype(a.dtype.newbyteorder("<"))
    return a.tobytes()


def _varint(n: int) -> bytes:
    if n < 128:
        return bytes((n,))
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def _header(name: str, t: Tensor) -> Any:
    """The TensorProto without its elements (strings are in it)."""
    proto = messages().TensorProto(name=name, dims=t.shape, data_type=dtype_code(t.dtype))
    if t.dtype is DType.STRING:
        proto.string_data.extend(str(s).encode() for s in t.numpy().ravel())
    return proto


# ---- messages
def model_parts(plan: Plan, onnx: OnnxDialect, name: str, functions: Sequence[str] = ()) -> ModelParts:
    """The plan as messages; ``functions`` are the types of layers that are written as functions of the model."""
    proto = messages()
    head = proto.ModelProto(ir_version=onnx.ir, producer_name="convcore", producer_version=__version__)
    for domain, version in {"": onnx.opset, **onnx.domains}.items():
        if version is None:
            continue
        entry = head.opset_import.add()
        entry.domain, entry.version = domain, version
    body = bytearray()
    rest = proto.GraphProto(name=name or "main")
    if functions:
        from .local_functions import grouped, write_functions

        parts = grouped(plan.root.calls, functions, plan.root.outputs, onnx.ir)
        write_functions(head, rest, parts, plan.root.outputs, _node, {"": onnx.opset, **onnx.domains})
    for call in plan.root.calls if not functions else ():
        node = proto.NodeProto()
        _node(node, call)
        data = node.SerializeToString()
        body += NODE_TAG + _varint(len(data)) + data
    for ref in plan.root.inputs:
        _info(rest.input.add(), ref, shape=True)
    for ref in plan.root.outputs:
        _info(rest.output.add(), ref, shape=True)
    used = {a for call in plan.root.all_calls() for a in call.args}
    for s in plan.states if onnx.ir < 4 else ():
        if s in used:  # before IR version 4 every initializer is an input too: its default
            _info(rest.input.add(), Ref(None, 0, s.dtype, s.shape, None, s.name), shape=True)
    body += rest.SerializeToString()
    return ModelParts(head, bytes(body), [(s.name, s.tensor) for s in plan.states if s in used])


def _node(proto: Any, call: PlanCall) -> None:
    domain, _, proto.op_type = call.type.rpartition(".")
    proto.name = call.name
    proto.input.extend(["" if a is None else a.name for a in call.args])
    proto.output.extend([r.name for r in call.results])
    if domain:
        proto.domain = domain
    for key, value in call.kwargs.items():
        a = proto.attribute.add()
        a.name = key
        _attribute(a, value, call)
    proto.attribute.extend(call.kept)


def _attribute(a: Any, v: Any, n: PlanCall) -> None:
    if isinstance(v, (np.generic,)):
        v = v.item()
    if isinstance(v, DType):
        v = dtype_code(v)
    if isinstance(v, (bool, int)):
        a.type, a.i = a.INT, int(v)
    elif isinstance(v, float):
        a.type, a.f = a.FLOAT, v
    elif isinstance(v, (str, bytes)):
        a.type, a.s = a.STRING, v.encode() if isinstance(v, str) else v
    elif isinstance(v, Tensor):
        a.type = a.TENSOR
        a.t.CopyFrom(_header("", v))
        if v.dtype is not DType.STRING:
            a.t.raw_data = _bytes(v)
    elif isinstance(v, TypeOf):
        a.type = a.TYPE_PROTO
        declare_container(a.tp, v.dtype, dtype_code)
    elif isinstance(v, Block):
        a.type = a.GRAPH
        _region(a.g, v)
    elif isinstance(v, (list, tuple)) and all(isinstance(x, (int, np.integer)) for x in v):
        a.type = a.INTS
        a.ints.extend(int(x) for x in v)
    elif isinstance(v, (list, tuple)) and all(isinstance(x, (int, float, np.number)) for x in v):
        a.type = a.FLOATS
        a.floats.extend(float(x) for x in v)
    elif isinstance(v, (list, tuple)) and all(isinstance(x, (str, bytes)) for x in v):
        a.type = a.STRINGS
        a.strings.extend(x.encode() if isinstance(x, str) else x for x in v)
    else:
        raise NotExpressible(f"node {n.name!r} ({n.type}): attribute {a.name}={v!r} has no ONNX form")


def _region(g: Any, region: Block) -> None:
    g.name = region.name
    for call in region.calls:
        _node(g.node.add(), call)
    for ref in region.inputs:
        _info(g.input.add(), ref, shape=True)
    for ref in region.outputs:
        _info(g.output.add(), ref, shape=False)


def _info(info: Any, v: Ref, *, shape: bool) -> None:
    """Name, element type and shape. A region's outputs need no shape: runtimes infer it, and branches may differ."""
    info.name = v.name
    if v.dtype is not None and v.dtype.is_container:
        declare_container(info.type, v.dtype, dtype_code)
        return
    t = info.type.tensor_type
    if v.dtype is not None:
        t.elem_type = dtype_code(v.dtype)
    if not shape or v.shape is None:
        return
    t.shape.SetInParent()
    for d in v.shape:
        dim = t.shape.dim.add()
        if isinstance(d, Dim):
            dim.dim_param = str(d)
        elif d is not None:
            dim.dim_value = d

"""Reading a ModelProto from a file without holding its weights: large tensors are found on the wire and stay in the file.

The scan walks the fields of ModelProto, GraphProto and the initializers (field numbers from onnx.proto); everything but the
large tensors' bytes is then parsed by protobuf. A file whose weights are all inside may exceed protobuf's 2 GB this way.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from convcore.plugin import TEXT, BadFileError, watched

from .library import messages

__all__ = ["Source", "read_model"]

MAPPED = 4096
"""Initializers whose raw data has at least this many bytes are left in the file."""

GRAPH, INITIALIZER, DATA_TYPE = 7, 5, 2
_RUNS: dict[int, tuple[int, ...] | None] = {9: None, 4: (1, 14), 10: (11, 15)}
"""Fields of TensorProto that hold elements as they are in memory, with the element types for which that is so (None: all)."""


@dataclass
class Source:
    """A parsed model: ``model`` without the large initializers' data, which ``raw`` locates by initializer position."""

    model: Any
    path: str = ""
    raw: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Index in ``model.graph.initializer`` -> (offset, length) of its elements in the file."""

    @cached_property
    def folder(self) -> str:
        return os.path.dirname(os.path.abspath(self.path)) if self.path else ""


def fields(data: Any, start: int, end: int, what: str) -> Iterator[tuple[int, int, int, int]]:
    """``(number, field start, payload start, payload end)`` of every field of a message; BadFileError if it is malformed."""
    at = start
    while at < end:
        begin = at
        tag, at = _varint(data, at, end, what)
        wire = tag & 7
        if wire == 2:
            size, at = _varint(data, at, end, what)
            payload, at = at, at + size
        elif wire == 0:
            payload = at
            _, at = _varint(data, at, end, what)
        elif wire in (1, 5):
            payload, at = at, at + (8 if wire == 1 else 4)
        else:
            raise BadFileError(f"{what}: wire type {wire} at byte {begin} does not occur in ONNX files")
        if at > end:
            raise BadFileError(f"{what}: truncated: a field at byte {begin} ends at {at}, the data at {end}")
        yield tag >> 3, begin, payload, at


def _varint(data: Any, at: int, end: int, what: str) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
    raise BadFileError(f"{what}: truncated or malformed at byte {at}")


def read_model(source: Any) -> Source:
    """Read a path, or take a ModelProto as it is. BadFileError for files that are empty, truncated or something else."""
    if not isinstance(source, (str, bytes, os.PathLike)):
        return Source(source)
    path = os.fsdecode(source)
    try:
        with open(watched(path), "rb") as f:
            size = os.fstat(f.fileno()).st_size
            if not size:
                raise BadFileError(f"{path}: the file is empty")
            with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _parse(data, size, path)
    except OSError as e:
        raise BadFileError(f"{path}: cannot be read: {e.strerror or e}") from e


def _parse(data: Any, size: int, path: str) -> Source:
    ModelProto, TensorProto = messages().ModelProto, messages().TensorProto

    rest: list[bytes] = []
    graph: list[bytes] = []
    large: list[tuple[int, bytes, tuple[int, int]]] = []
    count, has_graph = 0, False
    for number, begin, payload, end in fields(data, 0, size, path):
        if number != GRAPH:
            rest.append(data[begin:end])
            continue
        kept, has_graph = payload, True
        for inner, ibegin, ipayload, iend in fields(data, payload, end, f"{path}: graph"):
            if inner != INITIALIZER:
                continue
            found = _raw_data(data, ipayload, iend, path) if iend - ipayload >= MAPPED else None
            if found is not None:
                header = data[ipayload : found[0]] + data[found[2] : iend]
                large.append((count, header, (found[1], found[2] - found[1])))
                graph.append(data[kept:ibegin])
                kept = iend
            count += 1
        graph.append(data[kept:end])
    model = _message(ModelProto, b"".join(rest), path)
    _message(model.graph, b"".join(graph), path)
    _refuse_bytes(model, path)
    if not has_graph or not (model.ir_version or model.opset_import):
        raise BadFileError(f"{path}: not an ONNX model (it has no graph, IR version or opset)")
    out = Source(model, path)
    if large:
        small = list(model.graph.initializer)
        del model.graph.initializer[:]
        rest_of = iter(small)
        at = {i: (h, r) for i, h, r in large}
        for i in range(count):
            if i in at:
                header, out.raw[i] = at[i]
                model.graph.initializer.append(_message(TensorProto, header, path))
            else:
                model.graph.initializer.append(next(rest_of))
    return out


def _refuse_bytes(message: Any, path: str) -> None:
    """BadFileError for a name or text that is not UTF-8, anywhere: protobuf hands those out as bytes."""
    NodeProto, TypeProto = messages().NodeProto, messages().TypeProto

    seen: set[bytes] = set()  # types: files state the same few again and again
    others = [f.name for f in NodeProto.DESCRIPTOR.fields if f.name not in _OF_NODES]
    kinds: dict[Any, int] = {}  # of fields: descriptors answer slowly
    stack = [message]
    while stack:
        m = stack.pop()
        if isinstance(m, NodeProto) and _plain(m, others):
            stack += m.attribute
            continue
        if isinstance(m, TypeProto):
            raw = m.SerializeToString()
            if raw in seen:
                continue
            seen.add(raw)
        for f, value in m.ListFields():
            kind = kinds.get(f)
            if kind is None:
                kind = kinds[f] = f.type
            if kind == _STRING:
                for text in [value] if isinstance(value, (str, bytes)) else value:
                    if len(text) > TEXT and f.name != "doc_string":
                        raise BadFileError(f"{path}: a {f.name} of {len(text):,} characters")
                    if isinstance(text, bytes):
                        raise BadFileError(f"{path}: the {f.name} {text[:60]!r} is not UTF-8")
            elif kind == _MESSAGE:
                stack += [value] if hasattr(value, "ListFields") else value


_STRING, _MESSAGE = 9, 11  # FieldDescriptor.TYPE_STRING, TYPE_MESSAGE (descriptor.proto)
_OF_NODES = frozenset({"name", "op_type", "domain", "doc_string", "input", "output", "attribute"})


def _plain(node: Any, others: Sequence[str]) -> bool:
    """Whether a node, as nearly all do, has short texts and attributes and none of the ``others``: few calls tell."""
    try:
        texts = "".join((node.name, node.op_type, node.domain, node.doc_string, *node.input, *node.output))
    except TypeError:
        return False
    return len(texts) <= TEXT and not any(getattr(node, name) for name in others)


def _raw_data(data: Any, start: int, end: int, path: str) -> tuple[int, int, int] | None:
    """(field start, payload start, payload end) of an initializer's large data, if it is one run of little-endian elements.

    That is ``raw_data``, and also ``float_data`` and ``double_data`` of their own element type: a packed field is the same bytes.
    """
    found, dtype = [], 0
    for number, begin, payload, stop in fields(data, start, end, f"{path}: initializer"):
        if number in _RUNS:
            found.append((number, begin, payload, stop))
        elif number == DATA_TYPE:
            dtype = _varint(data, payload, stop, path)[0]
    if len(found) != 1 or found[0][3] - found[0][2] < MAPPED:
        return None
    number, begin, payload, stop = found[0]
    allowed = _RUNS[number]
    return (begin, payload, stop) if allowed is None or dtype in allowed else None


def _message(target: Any, raw: bytes, path: str) -> Any:
    from google.protobuf.message import DecodeError

    message = target() if isinstance(target, type) else target
    try:
        message.MergeFromString(raw)
    except DecodeError as e:
        raise BadFileError(f"{path}: not an ONNX model, or damaged: {e}") from e
    return message

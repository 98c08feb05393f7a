"""Protobuf's wire format for the schema's messages: a bounded reader over a memory-mapped file, without protobuf.

Weight values are never read: a blob becomes a tensor at its file offset (packed ``data``, ``double_data``,
``raw_data``) or a gather over one-tag-per-value runs, which numpy finds without a loop over elements. ``diff`` is
skipped. Fields the schema has no number for are kept as ``#<number>`` in ``Message.unknown``. The schema is not
recursive, so neither is a hostile file.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from convcore.plugin import BadFileError, DType, watched

from .blobs import MAX_AXES, Blob, Run, blob_of_runs, raw_type
from .message import Message, float32_value
from .schema import Field, enum_values, message_type

__all__ = ["MAX_FIELDS", "read_blob_file", "read_message_file"]

MAX_FIELDS = 1_000_000  # fields that are not weight values: ResNet-152 has about 20,000
MAX_RUNS = 4096  # parts of one blob
_VARINT, _FIXED64, _LEN, _FIXED32 = 0, 1, 2, 5
_WIRE = {"float": _FIXED32, "double": _FIXED64, "string": _LEN, "bytes": _LEN, "message": _LEN}
_RAW_NAMES = {number: name for name, number in enum_values("RawType").items()}


def read_message_file(path: str | Path, type_name: str) -> Message:
    """Read a binary file as one message; BlobProto fields become :class:`Blob`. BadFileError if it is not one."""
    with _open(path) as reader:
        return reader.message(type_name, 0, len(reader.data))


def read_blob_file(path: str | Path) -> Blob:
    """Read a binary file that is one BlobProto (a mean file). BadFileError if it is not one."""
    with _open(path) as reader:
        return reader.blob(0, len(reader.data))


@contextmanager
def _open(path: str | Path) -> Iterator[_Reader]:
    try:
        with open(watched(path), "rb") as f:
            f.seek(0, 2)
            if not f.tell():
                raise BadFileError(f"{path}: is empty")
            data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as e:
        raise BadFileError(f"{path}: cannot be read: {e.strerror or e}") from e
    try:
        yield _Reader(data, str(path))
    finally:
        with suppress(BufferError):  # an error's traceback may still hold a view; the map then closes with it
            data.close()


class _Reader:
    def __init__(self, data: mmap.mmap, path: str) -> None:
        self.data = data
        self.path = path
        self.layer = ""
        self.count = 0

    def fail(self, at: int, why: str) -> NoReturn:
        where = f", layer {self.layer!r}" if self.layer else ""
        raise BadFileError(f"{self.path}: not a readable Caffe binary at byte {at}{where}: {why}")

    def varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        data = self.data
        start = at
        while at < end:
            b = data[at]
            at += 1
            value |= (b & 127) << shift
            if b < 128:
                return value & 0xFFFFFFFFFFFFFFFF, at
            shift += 7
            if shift >= 70:
                self.fail(start, "a number is longer than ten bytes")
        self.fail(start, "truncated inside a number")

    def tag(self, at: int, end: int) -> tuple[int, int, int]:
        self.count += 1
        if self.count > MAX_FIELDS:
            self.fail(at, f"more than {MAX_FIELDS} fields")
        key, after = self.varint(at, end)
        number, wire = key >> 3, key & 7
        if not 0 < number < 1 << 29 or wire not in (_VARINT, _FIXED64, _LEN, _FIXED32):
            self.fail(at, f"field {number} with wire type {wire} is no Caffe field")
        return number, wire, after

    def span(self, wire: int, at: int, end: int) -> tuple[int, int]:
        """Start and end of a value's bytes."""
        if wire == _VARINT:
            return at, self.varint(at, end)[1]
        if wire == _LEN:
            size, at = self.varint(at, end)
        else:
            size = 8 if wire == _FIXED64 else 4
        if size > end - at:
            self.fail(at, f"truncated: a value of {size} bytes where {end - at} are left")
        return at, at + size

    # ---- messages
    def message(self, type_name: str, at: int, end: int, into: Message | None = None) -> Message:
        m = into or Message(type_name)
        by_number = message_type(type_name).by_number
        is_layer = type_name.endswith("LayerParameter")
        if is_layer and type_name != "V0LayerParameter":
            self.layer = ""
        while at < end:
            number, wire, value = self.tag(at, end)
            first, at = self.span(wire, value, end)
            field = by_number.get(number)
            if field is None or not self.known(m, field, wire, first, at):
                m.unknown.setdefault(f"#{number}", []).append(self.opaque(wire, first, at))
            elif is_layer and field.name == "name":
                self.layer = m.get("name")[:200]
        return m

    def known(self, m: Message, field: Field, wire: int, first: int, end: int) -> bool:
        """Store a declared field's value; False if its wire type or enum number makes it an unknown field."""
        kind = field.kind
        if kind == "message":
            if wire != _LEN:
                return False
            if field.type == "BlobProto":
                value: Any = self.blob(first, end)
            elif not field.repeated and m.has(field.name):  # protobuf merges a message given twice
                value = self.message(field.type, first, end, m.get(field.name))
            else:
                value = self.message(field.type, first, end)
            self.store(m, field, value)
            return True
        if wire == _LEN and kind not in ("string", "bytes"):
            return field.repeated and self.packed(m, field, first, end)
        if wire != _WIRE.get(kind, _VARINT):
            return False
        scalar = self.scalar(field, first, end)
        if scalar is None:
            return False
        self.store(m, field, scalar)
        return True

    @staticmethod
    def store(m: Message, field: Field, value: Any) -> None:
        if not field.repeated:
            m.put(field.name, value)
        elif m.has(field.name):
            m.get(field.name).append(value)
        else:
            m.put(field.name, [value])

    def packed(self, m: Message, field: Field, at: int, end: int) -> bool:
        wire = _WIRE.get(field.kind, _VARINT)
        while at < end:
            self.count += 1
            if self.count > MAX_FIELDS:
                self.fail(at, f"more than {MAX_FIELDS} fields")
            first, at = self.span(wire, at, end)
            value = self.scalar(field, first, at)
            if value is not None:
                self.store(m, field, value)
        return True

    def scalar(self, field: Field, at: int, end: int) -> Any:
        kind = field.kind
        if kind == "float":
            return float32_value(struct.unpack("<f", self.data[at:end])[0])
        if kind == "double":
            return struct.unpack("<d", self.data[at:end])[0]
        if kind == "bytes":
            return self.data[at:end]
        if kind == "string":
            try:
                return self.data[at:end].decode("utf-8")
            except UnicodeDecodeError as e:
                self.fail(at, f"{field.name} is not UTF-8 ({e.reason})")
        value = self.varint(at, end)[0]
        if kind == "bool":
            return value != 0
        if kind in ("uint32", "uint64"):
            return value & 0xFFFFFFFF if kind == "uint32" else value
        if kind == "int64":
            return value - (1 << 64) if value >> 63 else value
        value &= 0xFFFFFFFF
        value = value - (1 << 32) if value >> 31 else value
        if kind == "int32":
            return value
        return next((name for name, n in enum_values(field.type).items() if n == value >= 0), None)

    def opaque(self, wire: int, at: int, end: int) -> int | str:
        """An unknown field's value, for messages: a number, or the length of its bytes."""
        return self.varint(at, end)[0] if wire == _VARINT else f"{end - at} bytes"

    # ---- blobs
    def blob(self, at: int, end: int) -> Blob:
        start = at
        legacy: dict[int, int] = {}
        dims: list[int] = []
        data: list[Run] = []
        double: list[Run] = []
        raw: tuple[int, int] | None = None
        raw_name: str | None = None
        while at < end:
            tag_at = at
            number, wire, value = self.tag(at, end)
            if number in (5, 6, 8, 9) and wire in (_FIXED32, _FIXED64):
                run = self.tagged_run(tag_at, value, end, number, wire)
                at = run.offset + (run.count - 1) * run.stride + run.dtype.itemsize
                if number in (5, 8):
                    (data if number == 5 else double).append(run)
            else:
                first, at = self.span(wire, value, end)
                if number in (1, 2, 3, 4) and wire == _VARINT:
                    legacy[number] = self.signed(self.varint(first, at)[0], 32)
                elif number == 7 and wire == _LEN:
                    self.dims(dims, first, at)
                elif number in (5, 8) and wire == _LEN:
                    dtype = DType.FLOAT32 if number == 5 else DType.FLOAT64
                    if (at - first) % dtype.itemsize:
                        self.fail(first, f"packed values of {at - first} bytes are cut inside a value")
                    if at > first:
                        count = (at - first) // dtype.itemsize
                        (data if number == 5 else double).append(Run(first, count, dtype.itemsize, dtype))
                elif number == 10 and wire == _VARINT:
                    raw_name = _RAW_NAMES.get(self.varint(first, at)[0], "unknown")
                elif number == 12 and wire == _LEN:
                    raw = (first, at)
                elif number in (1, 2, 3, 4, 5, 7, 8, 12):
                    self.fail(first, f"blob field {number} has wire type {wire}")
            if len(data) + len(double) > MAX_RUNS:
                self.fail(tag_at, f"a blob in more than {MAX_RUNS} parts")
        shape = [legacy.get(k, 0) for k in (1, 2, 3, 4)] if legacy else dims
        what = f"{self.path}: blob at byte {start}" + (f" of layer {self.layer!r}" if self.layer else "")
        if raw is not None and raw[1] > raw[0]:
            if data or double:
                self.fail(start, "a blob with raw_data beside data")
            dtype = raw_type(raw_name, raw[1] - raw[0], shape, what)
            if (raw[1] - raw[0]) % dtype.itemsize:
                self.fail(raw[0], "raw_data is cut inside a value")
            data = [Run(raw[0], (raw[1] - raw[0]) // dtype.itemsize, dtype.itemsize, dtype)]
        return blob_of_runs(self.path, double or data, shape, bool(legacy), what)

    def tagged_run(self, tag_at: int, value: int, end: int, number: int, wire: int) -> Run:
        """Values stored one by one, each behind the same one-byte tag: how many follow without a gap."""
        dtype = DType.FLOAT32 if wire == _FIXED32 else DType.FLOAT64
        if (wire == _FIXED32) != (number in (5, 6)) or value != tag_at + 1:
            self.fail(tag_at, f"blob field {number} has wire type {wire}")
        stride = dtype.itemsize + 1
        if end - tag_at < stride:
            self.fail(tag_at, "truncated inside a value")
        most = (end - tag_at) // stride
        tag = self.data[tag_at]
        count = 0
        while count < most:
            n = min(most - count, 1 << 20)
            tags = np.frombuffer(self.data, np.uint8, (n - 1) * stride + 1, tag_at + count * stride)[::stride]
            other = np.flatnonzero(tags != tag)
            if other.size:
                count += int(other[0])
                break
            count += n
        return Run(value, count, stride, dtype)

    def dims(self, dims: list[int], at: int, end: int) -> None:
        while at < end:
            number, wire, value = self.tag(at, end)
            first, at = self.span(wire, value, end)
            if number == 1 and wire == _VARINT:
                dims.append(self.signed(self.varint(first, at)[0], 64))
            elif number == 1 and wire == _LEN:
                while first < at:
                    value, first = self.varint(first, at)
                    dims.append(self.signed(value, 64))
                    if len(dims) > MAX_AXES:
                        break
            if len(dims) > MAX_AXES:
                self.fail(first, f"a blob of more than {MAX_AXES} axes")

    @staticmethod
    def signed(value: int, bits: int) -> int:
        value &= (1 << bits) - 1
        return value - (1 << bits) if value >> (bits - 1) else value

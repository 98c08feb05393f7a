"""Caffe's binary files: weights cut out as places in the memory-mapped file, the kilobytes that are left parsed by protobuf.

Weight values are never read: a blob becomes a tensor at its file offset (packed ``data``, ``double_data``,
``raw_data``) or a gather over one-tag-per-value runs, which numpy finds without a loop over elements. ``diff`` is
skipped. Fields the schema has no number for are kept as ``#<number>`` in ``Message.unknown``. What protobuf gets is bounded per
layer, and the schema is not recursive, so neither is a hostile file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from convcore.plugin import BadFileError, DType, watched

from .blobs import MAX_AXES, Blob, Run, blob_of_runs, raw_type
from .descriptors import TEXT_ONLY, decode_error, holds_blobs, message_class, unknown_fields
from .message import Message, float32_value
from .schema import Field, enum_values, message_type

__all__ = ["MAX_FIELDS", "read_blob_file", "read_message_file"]

MAX_FIELDS = 1_000_000  # fields that are not weight values: ResNet-152 has about 20,000
MAX_RUNS = 4096  # parts of one blob
MAX_SKELETON = 4 << 20  # bytes of one layer without its weights
_VARINT, _FIXED64, _LEN, _FIXED32 = 0, 1, 2, 5


@cache
def _raw_names() -> dict[int, str]:
    return {number: name for name, number in enum_values("RawType").items()}


def read_message_file(path: str | Path, type_name: str) -> Message:
    """Read a binary file as one message; BlobProto fields become :class:`Blob`. BadFileError if it is not one."""
    with _open(path) as reader:
        return reader.message(type_name, (0, len(reader.data)))


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

    def field(self, at: int, end: int) -> tuple[int, int, int, int]:
        """Number and wire type of the next field, start and end of its value's bytes."""
        data = self.data
        key = data[at]
        if 8 <= key < 128 and key & 7 == _LEN and end - at > 6 and self.count < MAX_FIELDS:  # nearly always, without calls
            size, first = data[at + 1], at + 2
            if size > 127:
                size, first = size & 127 | data[first] << 7, at + 3
                if size > 16383:
                    size, first = size & 16383 | data[first] << 14, at + 4
            if size < 1 << 21 and size <= end - first:
                self.count += 1
                return key >> 3, _LEN, first, first + size
        number, wire, value = self.tag(at, end)
        first, after = self.span(wire, value, end)
        return number, wire, first, after

    # ---- messages
    def message(self, type_name: str, *spans: tuple[int, int]) -> Message:
        """The message whose bytes lie at ``spans`` (several: protobuf merges a message given in parts)."""
        m = Message(type_name)
        by_number = message_type(type_name).by_number
        is_layer = type_name.endswith("LayerParameter")
        if is_layer and type_name != "V0LayerParameter":
            self.layer = ""
        skeleton = bytearray()
        inner: dict[str, list[tuple[int, int]]] = {}
        for at, end in spans:
            while at < end:
                start = at
                number, wire, first, at = self.field(at, end)
                field = by_number.get(number)
                if field is None:
                    unknown = self.varint(first, at)[0] if wire == _VARINT else f"{at - first} bytes"
                    m.unknown.setdefault(f"#{number}", []).append(unknown)
                elif wire == _LEN and field.kind == "message" and holds_blobs(field.type):
                    inner.setdefault(field.name, []).append((first, at))
                elif len(skeleton) + at - start > MAX_SKELETON:
                    self.fail(start, f"{type_name} is larger than {MAX_SKELETON} bytes without its weights")
                else:
                    skeleton += self.data[start:at]
                    if is_layer and field.name == "name" and wire == _LEN:
                        self.layer = self.data[first:at][:200].decode("utf-8", "replace")
        self.parse(m, bytes(skeleton), spans[0][0])
        for name, found in inner.items():
            field = message_type(type_name).by_name[name]
            if field.type == "BlobProto":
                m.put(name, [self.blob(*span) for span in found])
            else:
                m.put(
                    name,
                    [self.message(field.type, span) for span in found] if field.repeated else self.message(field.type, *found),
                )
        return m

    def parse(self, m: Message, skeleton: bytes, at: int) -> None:
        parsed = message_class(m.type)()
        try:
            parsed.ParseFromString(skeleton)
        except (decode_error(), UnicodeDecodeError) as e:
            self.fail(at, f"{m.type} is damaged: {e}")
        self.fill(m, parsed, at)

    def fill(self, m: Message, parsed: Any, at: int) -> None:
        """Take over the fields of a parsed protobuf message."""
        declared = message_type(m.type).by_name
        for descriptor, value in parsed.ListFields():
            field = declared[descriptor.name]
            self.count += len(value) if field.repeated else 1
            if self.count > MAX_FIELDS:
                self.fail(at, f"more than {MAX_FIELDS} fields")
            if not field.number:  # a number that this plugin made up for what is text only
                m.unknown[f"#{descriptor.number}"] = ["not Caffe's"]
                continue
            m.put(field.name, [self.plain(field, v, at) for v in value] if field.repeated else self.plain(field, value, at))
        for unknown in unknown_fields(parsed):
            self.count += 1
            if self.count > MAX_FIELDS:
                self.fail(at, f"more than {MAX_FIELDS} fields")
            number, wire = unknown.field_number, unknown.wire_type
            if wire not in (_VARINT, _FIXED64, _LEN, _FIXED32):
                self.fail(at, f"{m.type} holds field {number} with wire type {wire}, which is no Caffe field")
            size = {_FIXED64: 8, _FIXED32: 4}.get(wire) or (len(unknown.data) if wire == _LEN else 0)
            m.unknown.setdefault(f"#{number}", []).append(unknown.data if wire == _VARINT else f"{size} bytes")

    def plain(self, field: Field, value: Any, at: int) -> Any:
        """A value as :class:`Message` keeps it."""
        if field.kind == "message":
            nested = Message(field.type)
            self.fill(nested, value, at)
            return nested
        if field.kind == "float":
            return float32_value(value)
        if field.kind == "enum":
            if value >= TEXT_ONLY:
                self.fail(at, f"{field.name}: {field.type} has no value {value}")
            return next(name for name, number in enum_values(field.type).items() if number == value)
        if field.kind == "string" and isinstance(value, bytes):  # protobuf hands over as bytes what is not UTF-8
            self.fail(at, f"{field.name} is not UTF-8")
        return value

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
            number, wire, first, at = self.field(at, end)
            if number in (5, 6, 8, 9) and wire in (_FIXED32, _FIXED64):
                run = self.tagged_run(tag_at, first, end, number, wire)
                at = run.offset + (run.count - 1) * run.stride + run.dtype.itemsize
                if number in (5, 8):
                    (data if number == 5 else double).append(run)
            elif number in (1, 2, 3, 4) and wire == _VARINT:
                legacy[number] = self.signed(self.varint(first, at)[0], 32)
            elif number == 7 and wire == _LEN:
                self.dims(dims, first, at)
            elif number in (5, 8) and wire == _LEN:
                size = 4 if number == 5 else 8
                if (at - first) % size:
                    self.fail(first, f"packed values of {at - first} bytes are cut inside a value")
                if at > first:
                    run = Run(first, (at - first) // size, size, DType.FLOAT32 if number == 5 else DType.FLOAT64)
                    (data if number == 5 else double).append(run)
            elif number == 10 and wire == _VARINT:
                raw_name = _raw_names().get(self.varint(first, at)[0], "unknown")
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
            number, wire, first, at = self.field(at, end)
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

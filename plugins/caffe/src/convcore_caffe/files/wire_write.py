""":class:`Message` to protobuf's wire format, weights streamed: only their sizes are known before they are written."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

import numpy as np

from convcore.plugin import DType, Problem, Tensor, UnsupportedError

from .blobs import Blob
from .message import Message
from .schema import Field, enum_values

__all__ = ["encode", "write_pieces"]

Piece = bytes | Tensor
_LIMIT = (1 << 31) - 1  # protobuf reads no larger message


def varint(n: int) -> bytes:
    """Base-128 varint; negative numbers as 64-bit two's complement."""
    n &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def _sized(number: int, pieces: list[Piece], size: int) -> tuple[list[Piece], int]:
    head = varint(number << 3 | 2) + varint(size)
    return [head, *pieces], len(head) + size


def encode(message: Message) -> tuple[list[Piece], int]:
    """Bytes and float32 tensors in file order, and their total length in bytes.

    Fields without a wire number (fork fields, see ``schema``) and undeclared ones are left out: a caffemodel is
    matched to its prototxt by layer name, which carries them. Raises UnsupportedError over protobuf's 2 GB.
    """
    pieces, size = _encode(message)
    if size > _LIMIT:
        why = f"the caffemodel would be {size} bytes, and protobuf reads at most {_LIMIT}"
        raise UnsupportedError(Problem("", "caffemodel", why, "write HDF5 weights or split the model", "file_too_large"))
    return pieces, size


def _encode(message: Message) -> tuple[list[Piece], int]:
    pieces: list[Piece] = []
    size = 0
    fields = [(message.schema.by_name[name], value) for name, value in message.fields()]
    for field, value in sorted(fields, key=lambda fv: fv[0].number):
        if not field.number:
            continue
        for item in value if field.repeated else [value]:
            more, n = _value(field, item)
            pieces += more
            size += n
    return pieces, size


def _value(field: Field, value: Any) -> tuple[list[Piece], int]:
    if isinstance(value, Blob):
        return _sized(field.number, *_blob(value.tensor))
    if isinstance(value, Message):
        return _sized(field.number, *_encode(value))
    kind = field.kind
    if kind in ("string", "bytes"):
        raw = value.encode() if isinstance(value, str) else value
        return _sized(field.number, [raw], len(raw))
    if kind == "float":
        out = varint(field.number << 3 | 5) + np.float32(value).tobytes()
    elif kind == "double":
        out = varint(field.number << 3 | 1) + struct.pack("<d", value)
    else:
        number = enum_values(field.type)[value] if kind == "enum" else int(value)
        if kind == "enum" and number < 0:
            return [], 0
        out = varint(field.number << 3) + varint(number)
    return [out], len(out)


def _blob(tensor: Tensor) -> tuple[list[Piece], int]:
    """BlobProto: packed ``shape.dim`` (field 7.1) and packed ``data`` (field 5)."""
    dims = b"".join(varint(n) for n in tensor.shape)
    shape = _sized(1, [dims], len(dims))[0] if dims else []
    head = b"".join(p for p in _sized(7, shape, sum(len(p) for p in shape if isinstance(p, bytes)))[0] if isinstance(p, bytes))
    data, n = _sized(5, [tensor.cast(DType.FLOAT32)], tensor.size * 4)
    return [head, *data], len(head) + n


def write_pieces(pieces: list[Piece], file: BinaryIO) -> None:
    for piece in pieces:
        if isinstance(piece, bytes):
            file.write(piece)
        else:
            piece.write_to(file)

""":class:`Message` to Caffe's binary files: protobuf writes all but the weights, which are streamed in; only their sizes are
known before."""

from __future__ import annotations

from typing import BinaryIO

from convcore.plugin import DType, Problem, Tensor, UnsupportedError

from .blobs import Blob
from .descriptors import fill, holds_blobs, message_class
from .message import Message

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
    """A message that holds weights: the rest of it by protobuf, then those that hold weights in turn."""
    skeleton = message_class(message.type)()
    inner = []
    for name, value in message.fields():
        field = message.schema.by_name[name]
        if field.kind == "message" and holds_blobs(field.type):
            inner += [(field.number, item) for item in (value if field.repeated else [value])]
        else:
            fill(skeleton, message, name, value, text=False)
    head = skeleton.SerializeToString()
    pieces: list[Piece] = [head] if head else []
    size = len(head)
    for number, item in inner:
        more, n = _sized(number, *(_blob(item.tensor) if isinstance(item, Blob) else _encode(item)))
        pieces += more
        size += n
    return pieces, size


def _blob(tensor: Tensor) -> tuple[list[Piece], int]:
    """BlobProto: ``shape`` and packed ``data`` (field 5)."""
    blob = message_class("BlobProto")()
    blob.shape.SetInParent()
    blob.shape.dim.extend(tensor.shape)
    head = blob.SerializeToString()
    data, n = _sized(5, [tensor.cast(DType.FLOAT32)], tensor.size * 4)
    return [head, *data], len(head) + n


def write_pieces(pieces: list[Piece], file: BinaryIO) -> None:
    for piece in pieces:
        if isinstance(piece, bytes):
            file.write(piece)
        else:
            piece.write_to(file)

"""Which Caffe file is this: by content first, by suffix where the content fits several."""

from __future__ import annotations

import os
import re
from pathlib import Path

from convcore.plugin import BadFileError, read_head, watched

__all__ = ["sniff"]

_HEAD = 4096
_HDF5 = b"\x89HDF\r\n\x1a\n"
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_SKIP = re.compile(rb"(?:[ \t\r\n\f\v]+|#[^\n]*)*")
_FIELD = re.compile(rb"(name|input|input_dim|input_shape|force_backward|debug_info|state|layer|layers)[ \t\r\n]*[:{<]")
_LAYER = re.compile(rb"(?:^|[\s}>;,])layers?[ \t\r\n]*:?[ \t\r\n]*[{<]")


def sniff(path: str | Path) -> str:
    """ "prototxt", "caffemodel", "hdf5" (weights), "binaryproto" (a mean blob), or "unknown".

    Only the first 4 KB are read. BadFileError if the file cannot be read.
    """
    try:
        found = read_head(watched(path))
    except OSError as e:
        raise BadFileError(f"{path}: cannot be read: {e.strerror or e}") from e
    if found is None:
        raise BadFileError(f"{path}: cannot be read: {'not a regular file' if os.path.exists(path) else 'no such file'}")
    head, total = found.data[:_HEAD], found.size
    suffix = Path(path).suffix.lower()
    if head.startswith(_HDF5):
        return "hdf5"
    if not head:
        return "prototxt" if suffix == ".prototxt" else "unknown"
    if not _CONTROL.search(head):
        text = head.removeprefix(b"\xef\xbb\xbf")
        skipped = _SKIP.match(text)
        if _FIELD.match(text, skipped.end() if skipped else 0) and _LAYER.search(text):
            return "prototxt"
        return "prototxt" if suffix == ".prototxt" else "unknown"
    kind = _binary(head, total)
    if kind == "either":
        return "binaryproto" if suffix == ".binaryproto" else "caffemodel"
    return "prototxt" if kind == "unknown" and suffix == ".prototxt" else kind


def _binary(head: bytes, total: int) -> str:
    """A net and a blob use the same low field numbers with other wire types; the first ones tell them apart.

    Net: name 1, layers 2, input 3, layer 100 (all length-delimited), input_dim 4. Blob: num 1 to width 4 (varints), data 5,
    shape 7, double_data 8. An ONNX file (ir_version 1 as varint, then a length-delimited 2) is neither.
    """
    at, sizes, dims = 0, False, False
    for _ in range(256):
        key, at = _varint(head, at)
        if key is None or at >= len(head):
            return "either" if dims and not sizes else "binaryproto" if sizes else "unknown"
        number, wire = key >> 3, key & 7
        if wire == 0 and number <= 4:
            sizes, dims = sizes or number < 4, True
            at = _varint(head, at)[1]
        elif (wire in (2, 5) and number in (5, 7)) or (wire == 1 and number == 8):
            return "binaryproto" if wire != 2 or _fits(head, at, total) else "unknown"
        elif wire == 2 and number in (1, 2, 3, 100) and not sizes and _fits(head, at, total):
            return "caffemodel" if number != 1 or _plausible(head, at) else "unknown"
        elif wire == 2 and number == 8 and _fits(head, at, total):
            dims = True
            size, at = _varint(head, at)
            at += size or 0
        else:
            return "unknown"
    return "either" if not sizes else "binaryproto"


def _fits(head: bytes, at: int, total: int) -> bool:
    size, at = _varint(head, at)
    return size is not None and at + size <= total


def _plausible(head: bytes, at: int) -> bool:
    """A net's name must be text: other protobuf files also begin with a length-delimited field 1."""
    size, at = _varint(head, at)
    end = at + (size or 0)
    text, following = head[at:end], head[end : end + 1]
    return not _CONTROL.search(text) and (not following or following[0] in (0x12, 0x1A, 0x20, 0x28, 0x32, 0x38, 0x42, 0xA2))


def _varint(data: bytes, at: int) -> tuple[int | None, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        b = data[at]
        at += 1
        value |= (b & 127) << shift
        if b < 128:
            return value, at
        shift += 7
    return None, at

"""Which Caffe file is this: by content first, by suffix where the content fits several."""

from __future__ import annotations

import re
from pathlib import Path

from convcore.errors import BadFileError

__all__ = ["sniff"]

_HEAD = 4096
_HDF5 = b"\x89HDF\r\n\x1a\n"
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_SKIP = re.compile(rb"(?:[ \t\r\n\f\v]+|#[^\n]*)*")
_FIELD = re.compile(rb"(name|input|input_dim|input_shape|force_backward|debug_info|state|layer|layers)[ \t\r\n]*[:{<]")
# (field, wire type) of the first field that tells a net from a blob (a mean file)
_NET = {(1, 2), (2, 2), (3, 2), (5, 0), (6, 2), (7, 0), (100, 2)}
_BLOB = {(1, 0), (2, 0), (3, 0), (5, 2), (5, 5), (7, 2), (8, 1)}


def sniff(path: str | Path) -> str:
    """ "prototxt", "caffemodel", "hdf5" (weights), "binaryproto" (a mean blob), or "unknown".

    Only the first 4 KB are read. BadFileError if the file cannot be read.
    """
    try:
        with open(path, "rb") as f:
            head = f.read(_HEAD)
    except OSError as e:
        raise BadFileError(f"{path}: cannot be read: {e.strerror or e}") from e
    suffix = Path(path).suffix.lower()
    if head.startswith(_HDF5):
        return "hdf5"
    if not head:
        return "prototxt" if suffix == ".prototxt" else "unknown"
    if not _CONTROL.search(head):
        text = head.removeprefix(b"\xef\xbb\xbf")
        skipped = _SKIP.match(text)
        if _FIELD.match(text, skipped.end() if skipped else 0):
            return "prototxt"
        return "prototxt" if suffix == ".prototxt" else "unknown"
    kind = _binary(head)
    if kind == "either":
        return "binaryproto" if suffix == ".binaryproto" else "caffemodel"
    return "prototxt" if kind == "unknown" and suffix == ".prototxt" else kind


def _binary(head: bytes) -> str:
    at = 0
    for _ in range(64):
        key, at = _varint(head, at)
        if key is None:
            return "either" if at else "unknown"
        number, wire = key >> 3, key & 7
        if (number, wire) in _NET:
            return "caffemodel" if _plausible(head, at, number, wire) else "unknown"
        if (number, wire) in _BLOB:
            return "binaryproto"
        if wire == 0 and number == 4:
            at = _varint(head, at)[1]
        elif wire == 2 and number in (8, 9):
            size, at = _varint(head, at)
            at += size or 0
        else:
            return "unknown"
        if at >= len(head):
            return "either"
    return "either"


def _plausible(head: bytes, at: int, number: int, wire: int) -> bool:
    """A net's name must be text: other protobuf files also begin with a length-delimited field 1."""
    if number != 1 or wire != 2:
        return True
    size, at = _varint(head, at)
    if size is None:
        return False
    text = head[at : at + size]
    following = head[at + size : at + size + 1]
    return not _CONTROL.search(text) and (
        not following or following[0] in (0x12, 0x1A, 0x20, 0x28, 0x32, 0x38, 0x42, 0xA2)
    )


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

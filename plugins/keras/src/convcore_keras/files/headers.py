"""Attributes as they stand in an HDF5 file, before libhdf5 reads them.

A text of variable length is kept as its length, the place of a heap and a number there. libhdf5 makes room for the length
(up to 4 GB) before it looks for the text: the lengths are compared with the file first. Layout: HDF5 file format 3.0, IV.A.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

__all__ = ["text_lengths"]

_ATTRIBUTE, _CONTINUED = 0x0C, 0x10
_MAX_BLOCKS = 4096
_VARIABLE, _ELEMENT = 9, 16


def text_lengths(read: Callable[[int, int], bytes], address: int) -> dict[bytes, list[int]]:
    """The lengths of the texts of variable length in the attributes that the object header at ``address`` holds, by attribute;
    ``read(at, size)`` gives bytes of the file.

    Attributes in a fractal heap (HDF5's newer layout from the ninth of an object on, or over 64 kB) are not among them. Raises
    struct.error or IndexError where the header is cut off.
    """
    found: dict[bytes, list[int]] = {}
    for body in _attributes(read, address):
        version, flags, name_size, type_size, space_size = struct.unpack_from("<BBHHH", body)
        at = 8 if version < 3 else 9
        sizes = [n + (-n % 8 if version == 1 else 0) for n in (name_size, type_size, space_size)]
        kind = body[at + sizes[0] :]
        if (flags & 1 and version > 1) or not kind or kind[0] & 15 != _VARIABLE:
            continue
        name, data = body[at : at + name_size].rstrip(b"\0"), body[at + sum(sizes) :]
        lengths = [struct.unpack_from("<I", data, i)[0] for i in range(0, len(data) - _ELEMENT + 1, _ELEMENT)]
        found.setdefault(name, []).extend(lengths)
    return found


def _attributes(read: Callable[[int, int], bytes], address: int) -> Iterator[bytes]:
    """The bodies of an object header's attribute messages, in both versions of it."""
    head = read(address, 32)
    new = head[:4] == b"OHDR"
    tail = 0
    if new:
        flags = head[5]
        tail = 2 if flags & 4 else 0
        width = 1 << (flags & 3)
        at = 6 + (16 if flags & 32 else 0) + (4 if flags & 16 else 0)
        size = int.from_bytes(head[at : at + width], "little")
        blocks = [(address + at + width, size)]
    else:
        blocks = [(address + 16, struct.unpack_from("<I", head, 8)[0])]
    for start, size in blocks:
        if len(blocks) > _MAX_BLOCKS:
            return
        block, at = read(start, size), 0
        while at + (4 if new else 8) <= len(block):
            kind, length = struct.unpack_from("<BH" if new else "<HH", block, at)
            at += 4 + tail if new else 8
            body = block[at : at + length]
            at += length
            if kind == _CONTINUED:
                place, size = struct.unpack_from("<QQ", body)
                blocks.append((place + 4, size - 8) if new else (place, size))  # behind OCHK, before its checksum
            elif kind == _ATTRIBUTE:
                yield body

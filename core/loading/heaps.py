"""What libhdf5 would walk for ever: the collections in which HDF5 files keep texts of variable length, checked before.

A global heap collection (HDF5 file format 3.0, III.E) is a run of objects, each stating its size; index 0 is the free rest.
libhdf5 steps by these sizes without looking whether they are above 0, in C, where no Ctrl-C reaches.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator

from ..errors import BadFileError

__all__ = ["check_heaps"]

_COLLECTION = re.compile(rb"GCOL\x01")
"""Signature and version; libhdf5 does not look at the three reserved bytes behind them."""
_HEAD = 16
"""Bytes of a collection's head, and of that of an object in it, with lengths of 8 bytes."""
_WINDOW = 1 << 24


def check_heaps(data: bytes | mmap.mmap, what: str, start: int = 0, stop: int | None = None) -> None:
    """BadFileError for a collection whose objects do not fill it one after the other; the HDF5 file is ``data`` from
    ``start`` to ``stop``.

    Bytes of weights that look like the head of a collection of a possible size are judged as one: 5 given bytes and a size.
    """
    stop = len(data) if stop is None else min(stop, len(data))
    for begin in _collections(data, start, stop):
        (size,) = struct.unpack_from("<Q", data, begin + 8)
        end = begin + size
        if size < _HEAD or end > stop:
            continue  # libhdf5 reads no such collection
        at = begin + _HEAD
        while at + _HEAD <= end:
            index, _, _, length = struct.unpack_from("<HHIQ", data, at)
            step = length if index == 0 else _HEAD + length + -length % 8
            if step < _HEAD or at + step > end:
                where = f"the heap of texts at byte {begin - start}"
                raise BadFileError(f"{what}: {where} is damaged: an object of {length} bytes at {at - start}")
            at += step


def _collections(data: bytes | mmap.mmap, start: int, stop: int) -> Iterator[int]:
    """Where heads stand. Pages of a mapped file are let go again behind the search: they are mostly weights."""
    for window in range(start, stop, _WINDOW):
        end = min(window + _WINDOW, stop)
        for found in _COLLECTION.finditer(data, window, min(end + _HEAD - 1, stop)):  # heads across the end; none is found twice
            if found.start() < end and found.start() + _HEAD <= stop:
                yield found.start()
        if isinstance(data, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            first = -(-window // mmap.PAGESIZE) * mmap.PAGESIZE
            if first < end:
                data.madvise(mmap.MADV_DONTNEED, first, end - first)

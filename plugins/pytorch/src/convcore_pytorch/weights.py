"""Weights written without torch: ``.safetensors``, and ``.pth`` as ``torch.save(state_dict)`` writes it."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from convcore.plugin import Problem, State, UnsupportedError, UsageError

from .types import SAFETENSORS, STORAGE

__all__ = ["write_pth", "write_safetensors"]


def write_safetensors(path: Path, states: Mapping[str, State], metadata: Mapping[str, str]) -> None:
    """One tensor after the other, those with wide elements first so that each is aligned."""
    order = sorted(states.items(), key=lambda kv: -_width(kv[1]))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    at = 0
    for name, s in order:
        assert s.dtype is not None
        n = s.tensor.nbytes
        header[name] = {"dtype": SAFETENSORS[s.dtype], "shape": [int(d) for d in s.tensor.shape], "data_offsets": [at, at + n]}
        at += n
    head = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head)
        for _, s in order:
            s.tensor.write_to(f)


def _width(s: State) -> int:
    assert s.dtype is not None
    return int(s.dtype.numpy.itemsize)


def write_pth(path: Path, states: Mapping[str, State], tied: Mapping[str, str]) -> None:
    """A stored zip of ``archive/data.pkl`` (protocol 2, opcodes written by hand), one member per tensor, ``byteorder`` and
    ``version``, data aligned to 64 bytes. Tied keys share a storage.

    UsageError for more than 4 GB, which a plain zip does not hold; UnsupportedError for types that torch pickles otherwise.
    """
    keys = {name: str(i) for i, name in enumerate(states)}
    why = ", which has no storage class of its own: a .pth with it is not written"
    if odd := [Problem(k, "tensor", f"is {s.dtype}{why}", "write .safetensors", "unsupported_dtype")
               for k, s in states.items() if s.dtype not in STORAGE]:  # fmt: skip
        raise UnsupportedError(odd)
    if sum(s.tensor.nbytes for s in states.values()) >= 1 << 32:
        raise UsageError(f"{path}: a .pth of more than 4 GB is not written; write .safetensors")
    with open(path, "wb") as f:
        zip_ = _Zip(f)
        zip_.add("archive/data.pkl", _pickled(states, tied, keys))
        zip_.add("archive/byteorder", b"little")
        for name, s in states.items():
            zip_.add_tensor(f"archive/data/{keys[name]}", s)
        zip_.add("archive/version", b"3\n")
        zip_.close()


def _pickled(states: Mapping[str, State], tied: Mapping[str, str], keys: Mapping[str, str]) -> bytes:
    out = bytearray(b"\x80\x02ccollections\nOrderedDict\n)R(")
    for name in (*states, *tied):
        s = states[tied.get(name, name)]
        assert s.dtype is not None
        shape = [int(d) for d in s.tensor.shape]
        strides = [1] * len(shape)
        for i in range(len(shape) - 2, -1, -1):
            strides[i] = strides[i + 1] * shape[i + 1]
        out += _text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        out += _text("storage") + f"ctorch\n{STORAGE[s.dtype]}\n".encode() + _text(keys[tied.get(name, name)]) + _text("cpu")
        out += _int(s.tensor.size) + b"tQ" + _int(0) + _ints(shape) + _ints(strides) + b"\x89ccollections\nOrderedDict\n)RtR"
    return bytes(out + b"u.")


def _text(s: str) -> bytes:
    raw = s.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _int(n: int) -> bytes:
    if 0 <= n < 1 << 31:
        return b"J" + struct.pack("<i", n)
    raw = n.to_bytes(n.bit_length() // 8 + 1, "little")
    return b"\x8a" + bytes([len(raw)]) + raw


def _ints(ns: list[int]) -> bytes:
    return b"(" + b"".join(map(_int, ns)) + b"t"


class _Zip:
    """A stored zip whose members' data start at multiples of 64 bytes; sums are put in when the data is written."""

    def __init__(self, file: BinaryIO) -> None:
        self.f = file
        self.entries: list[tuple[bytes, int, int, int, int]] = []

    def add(self, name: str, data: bytes) -> None:
        raw = self._head(name)
        start = self.f.tell()
        self.f.write(data)
        self._tail(raw, start, zlib.crc32(data), len(data))

    def add_tensor(self, name: str, s: State) -> None:
        raw = self._head(name)
        start = self.f.tell()
        sink = _Summed(self.f)
        s.tensor.write_to(sink)  # type: ignore[arg-type]
        self._tail(raw, start, sink.crc, sink.size)

    def _head(self, name: str) -> bytes:
        raw = name.encode()
        self.at = self.f.tell()
        room = -(self.at + 30 + len(raw) + 4) % 64
        extra = b"FB" + struct.pack("<H", room) + b"Z" * room
        self.f.write(struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0x800, 0, 0, 33, 0, 0, 0, len(raw), len(extra)) + raw + extra)
        return raw

    def _tail(self, raw: bytes, start: int, crc: int, size: int) -> None:
        end = self.f.tell()
        self.f.seek(self.at + 14)
        self.f.write(struct.pack("<III", crc, size, size))
        self.f.seek(end)
        self.entries.append((raw, self.at, crc, size, start))

    def close(self) -> None:
        first = self.f.tell()
        for raw, at, crc, size, _ in self.entries:
            self.f.write(
                struct.pack(
                    "<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0x800, 0, 0, 33, crc, size, size, len(raw), 0, 0, 0, 0, 0, at
                )
                + raw
            )
        n, size = len(self.entries), self.f.tell() - first
        if n > 0xFFFF:
            raise UsageError("a .pth of more than 65535 tensors is not written; write .safetensors")
        self.f.write(struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, n, n, size, first, 0))


class _Summed:
    """A file that sums what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.crc, self.size = file, 0, 0

    def write(self, data: Any) -> int:
        self.crc = zlib.crc32(data, self.crc)
        n = memoryview(data).nbytes
        self.size += n
        self.file.write(data)
        return n

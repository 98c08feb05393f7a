"""The ``.keras`` zip: fixed member names, read in memory or mapped in place, never extracted.

Limits: 4096 members, no duplicates, no encryption, no symlinks; 64 MiB for JSON; a member over 64 MiB may not be
compressed more than 20 times, and none that is compressed may be over 1 GiB.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib

from convcore.plugin import BadFileError, watched

from .safe_json import MAX_JSON_BYTES
from .source import ByteSource

__all__ = ["Archive"]

_MAX_MEMBERS = 4096
_BIG, _RATIO = 64 << 20, 20
_MAX_INFLATED = 1 << 30


class Archive:
    """An opened ``.keras`` zip."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._size = os.path.getsize(path)
            _check_count(path, self._size)
            with zipfile.ZipFile(watched(path)) as z:
                infos = z.infolist()
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as e:
            raise BadFileError(f"{path}: not a readable zip archive: {e}") from e
        self._infos: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            if info.filename in self._infos:
                raise BadFileError(f"{path}: the archive holds {info.filename[:80]!r} twice")
            self._infos[info.filename] = info
        self.names = tuple(self._infos)

    def __contains__(self, name: str) -> bool:
        return name in self._infos

    def read(self, name: str, limit: int = MAX_JSON_BYTES) -> bytes:
        """A member's bytes; BadFileError when it is missing, larger than ``limit`` or damaged."""
        info = self._info(name)
        if info.file_size > limit:
            raise BadFileError(f"{self.path}: member {name!r} has {info.file_size} bytes, more than the {limit} allowed")
        try:
            with zipfile.ZipFile(watched(self.path)) as z, z.open(info) as f:
                data = f.read(limit + 1)
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as e:
            raise BadFileError(f"{self.path}: member {name!r} is damaged: {e}") from e
        if len(data) > limit or len(data) != info.file_size:
            raise BadFileError(f"{self.path}: member {name!r} has {len(data)} bytes, the archive says {info.file_size}")
        return data

    def source(self, name: str) -> ByteSource:
        """A member as a byte source: in place when stored, inflated in memory when compressed."""
        info = self._info(name)
        label = f"{self.path} ({name})"
        if info.compress_type != zipfile.ZIP_STORED:
            data = self.read(name, _MAX_INFLATED)
            return ByteSource(self.path, 0, len(data), data, name)
        with open(watched(self.path), "rb") as f:
            f.seek(info.header_offset)
            head = f.read(30)
            if len(head) != 30 or head[:4] != b"PK\x03\x04":
                raise BadFileError(f"{label}: the archive is damaged (no local header)")
            n_name, n_extra = struct.unpack("<HH", head[26:30])
            same = f.read(n_name) == info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
        start = info.header_offset + 30 + n_name + n_extra
        if not same or info.file_size != info.compress_size or start + info.file_size > self._size:
            raise BadFileError(f"{label}: the archive is damaged (its directory does not fit its contents)")
        return ByteSource(self.path, start, info.file_size, None, name)

    def _info(self, name: str) -> zipfile.ZipInfo:
        info = self._infos.get(name)
        if info is None:
            raise BadFileError(f"{self.path}: the archive has no member {name!r}")
        if info.flag_bits & 1:
            raise BadFileError(f"{self.path}: member {name!r} is encrypted")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise BadFileError(f"{self.path}: member {name!r} is a symbolic link")
        if info.file_size > _BIG and info.file_size > _RATIO * max(1, info.compress_size):
            raise BadFileError(f"{self.path}: member {name!r} inflates {info.compress_size} bytes to {info.file_size}")
        if info.compress_type != zipfile.ZIP_STORED and info.file_size > _MAX_INFLATED:
            raise BadFileError(
                f"{self.path}: member {name!r} takes {info.file_size} bytes of memory when inflated; pack the archive without "
                "compression (zip -0), as Keras does"
            )
        return info


def _check_count(path: str, size: int) -> None:
    """Refuse huge directories before zipfile builds an object for each entry."""
    with open(watched(path), "rb") as f:
        f.seek(max(0, size - 65557))
        tail = f.read()
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) < at + 22:
            raise BadFileError(f"{path}: the zip archive is cut off (no end-of-directory record)")
        count = struct.unpack_from("<H", tail, at + 10)[0]
        zip64 = tail.rfind(b"PK\x06\x06", 0, at)
        if zip64 >= 0 and len(tail) >= zip64 + 40:
            count = max(count, struct.unpack_from("<Q", tail, zip64 + 32)[0])
    if count > _MAX_MEMBERS:
        raise BadFileError(f"{path}: the archive has {count} members, more than the {_MAX_MEMBERS} allowed")

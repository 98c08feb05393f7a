"""Zip archives, read by hand: the directory alone, stored members as regions of the file, small ones inflated with a cap.

Refused: encrypted members, two members of one name, members that overlap, directory entries that disagree with the member's
own header (what one reader sees and another does not), other methods than stored and deflated, several disks.
Layout: PKWARE APPNOTE 6.3.9, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.14-16 (end records, zip64).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from convcore.plugin import BadFileError

from . import limits
from .storage import Region

__all__ = ["Archive", "Member"]

_END, _END64, _LOCATE64, _ENTRY, _LOCAL = b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\1\2", b"PK\3\4"


@dataclass(frozen=True)
class Member:
    """One entry: ``header`` is where its local header begins, ``stored`` bytes are in the file, ``size`` when inflated."""

    name: str
    method: int
    crc: int
    stored: int
    size: int
    header: int


class Archive:
    """A zip archive in a region. ``members`` maps names to entries, in the order of the directory."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.members = self._directory()

    # ---- reading
    def data(self, name: str) -> Region:
        """The bytes of a stored member as a region; BadFileError when it is missing or compressed."""
        member = self._member(name)
        if member.method != 0:
            raise self._bad(f"{name} is compressed; torch stores it plain")
        return self._stored(member)

    def read(self, name: str, most: int) -> bytes:
        """The bytes of a member, inflated and checked, at most ``most``."""
        member = self._member(name)
        if member.size > most:
            raise self._bad(f"{name} has {member.size} bytes, {most} is the limit")
        region = self._stored(member)
        raw = region.read(0, region.size)
        if member.method == 8:
            engine = zlib.decompressobj(-15)
            try:
                raw = engine.decompress(raw, member.size + 1)
            except zlib.error as e:
                raise self._bad(f"{name} is damaged: {e}") from e
            if len(raw) != member.size:
                raise self._bad(f"{name} does not inflate to the {member.size} bytes the directory promises")
        if member.crc and zlib.crc32(raw) != member.crc:
            raise self._bad(f"{name} is damaged (its checksum differs)")
        return raw

    def text(self, name: str, most: int) -> str:
        try:
            return self.read(name, most).decode()
        except UnicodeDecodeError as e:
            raise self._bad(f"{name} is not text: {e.reason}") from e

    def roots(self, tail: str) -> list[str]:
        """The folders (``""`` or ``"x/"``) that hold a member named ``tail``."""
        return [
            name[: len(name) - len(tail)]
            for name in self.members
            if name == tail or (name.endswith("/" + tail) and name.count("/") == tail.count("/") + 1)
        ]

    def __contains__(self, name: str) -> bool:
        return name in self.members

    # ---- the format
    def _bad(self, why: str) -> BadFileError:
        return BadFileError(f"{self.region.path}: {why}")

    def _member(self, name: str) -> Member:
        member = self.members.get(name)
        if member is None:
            raise self._bad(f"the archive has no {name}")
        return member

    def _stored(self, member: Member) -> Region:
        head = self.region.read(member.header, 30)
        flags, method, names, extra = *struct.unpack_from("<HH", head, 6), *struct.unpack_from("<HH", head, 26)
        name = self.region.read(member.header + 30, names)
        if head[:4] != _LOCAL or flags & 1 or method != member.method or name != _encoded(member.name):
            raise self._bad(f"{member.name}: the directory and the member's own header disagree")
        return self.region.part(member.header + 30 + names + extra, member.stored)

    def _directory(self) -> dict[str, Member]:
        size = self.region.size
        tail = self.region.read(size - min(size, 65557), min(size, 65557))
        end = tail.rfind(_END)
        if end < 0 or end + 22 > len(tail):
            raise self._bad("the PyTorch archive (a zip) is truncated: its directory is missing")
        disk, first, here, count, length, at = struct.unpack_from("<HHHHII", tail, end + 4)
        if end >= 20 and tail[end - 20 : end - 16] == _LOCATE64:
            where = struct.unpack_from("<Q", tail, end - 12)[0]
            record = self.region.read(where, 56)
            if record[:4] != _END64:
                raise self._bad("the zip archive's zip64 record is missing")
            disk, first, here, count, length, at = struct.unpack_from("<IIQQQQ", record, 16)
        if disk or first or here != count:
            raise self._bad("the zip archive spans several disks")
        if count > limits.MEMBERS or length > limits.DIRECTORY:
            raise self._bad(f"the zip archive has {count} members, {limits.MEMBERS} is the limit")
        return self._entries(self.region.read(at, length), count)

    def _entries(self, raw: bytes, count: int) -> dict[str, Member]:
        members: dict[str, Member] = {}
        pos = 0
        for _ in range(count):
            if raw[pos : pos + 4] != _ENTRY or pos + 46 > len(raw):
                raise self._bad("the zip archive's directory is damaged")
            flags, method = struct.unpack_from("<HH", raw, pos + 8)
            crc, stored, size, names, extra, comment = struct.unpack_from("<IIIHHH", raw, pos + 16)
            header = struct.unpack_from("<I", raw, pos + 42)[0]
            after = pos + 46 + names + extra + comment
            if after > len(raw):
                raise self._bad("the zip archive's directory is damaged")
            try:
                name = raw[pos + 46 : pos + 46 + names].decode()
            except UnicodeDecodeError as e:
                raise self._bad("a member's name is not UTF-8") from e
            size, stored, header = self._wide(raw[pos + 46 + names : pos + 46 + names + extra], [size, stored, header])
            if flags & 1 or method not in (0, 8) or (method == 0 and size != stored):
                raise self._bad(f"{name}: encrypted, or compressed by a method that torch does not use")
            if name in members:
                raise self._bad(f"two members are named {name}")
            members[name] = Member(name, method, crc, stored, size, header)
            pos = after
        end = 0
        for member in sorted(members.values(), key=lambda m: m.header):
            if member.header < end:
                raise self._bad(f"{member.name} overlaps another member")
            end = member.header + 30 + len(_encoded(member.name)) + member.stored
        if end > self.region.size:
            raise self._bad("the PyTorch archive (a zip) is truncated")
        return members

    def _wide(self, extra: bytes, values: list[int]) -> list[int]:
        """Sizes and offset from the zip64 field, in place of those that are all ones."""
        pos = 0
        while pos + 4 <= len(extra):
            kind, length = struct.unpack_from("<HH", extra, pos)
            if kind == 1:
                field = extra[pos + 4 : pos + 4 + length]
                at = 0
                for i, value in enumerate(values):
                    if value == 0xFFFFFFFF:
                        if at + 8 > len(field):
                            raise self._bad("the zip archive's zip64 field is damaged")
                        values[i] = struct.unpack_from("<Q", field, at)[0]
                        at += 8
            pos += 4 + length
        return values


def _encoded(name: str) -> bytes:
    return name.encode()

"""The containers of ``torch.save``: the zip archive and the older stream. Both give one Python-like object with lazy tensors.

zip (torch >= 1.6): ``<top>/data.pkl`` and one stored member ``<top>/data/<key>`` per storage.
stream (before, and ``_use_new_zipfile_serialization=False``): pickles of a magic number, the protocol, system facts, the object
and the storage keys, then per key an int64 count and the elements. Source: torch/serialization.py, torch 2.13.
The stream's elements are little-endian whatever ``sys_info`` says (torch/csrc/serialization.cpp, THPStorage_writeFileRaw).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from convcore.plugin import BadFileError, Problem, UnsupportedError

from . import limits
from .archive import Archive
from .objects import Global
from .pickles import Pickle
from .storage import Region, Slice, Storage
from .table import storage_element

__all__ = ["LEGACY_MAGIC", "big_endian", "load_stream", "load_zip", "unpickle_member"]

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


def _persistent(find: Callable[[str, Any, int], Storage], where: str) -> Callable[[Any], Any]:
    """The resolver of persistent ids ``("storage", class, key, device, numel[, view])``; one storage object per key."""
    found: dict[str, tuple[Storage, Any, int]] = {}

    def resolve(pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module" and isinstance(pid[1], Global):
            return pid[1]  # (class, source file, source text): only the name is kept
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage" or not isinstance(pid[1], Global):
            raise BadFileError(f"{where}: a persistent id that torch does not write")
        _, cls, key, _device, numel, *view = pid
        if not isinstance(key, str) or type(numel) is not int or not 0 <= numel < 1 << 50:
            raise BadFileError(f"{where}: a storage without a key or size")
        kind = storage_element(cls)
        nbytes = numel * (kind.width if kind else 1)
        if key not in found:
            found[key] = (find(key, kind, nbytes), kind, numel)
        storage, before, count = found[key]
        if before != kind or count != numel:
            raise BadFileError(f"{where}: storage {key!r} is used with two types or sizes")
        if not view or view[0] is None:
            return storage
        if not (
            isinstance(view[0], tuple) and len(view[0]) == 3 and all(type(n) is int and 0 <= n <= numel for n in view[0][1:])
        ):
            raise BadFileError(f"{where}: a storage view that torch does not write")
        return Slice(storage, view[0][1], view[0][2])

    return resolve


def big_endian(archive: Archive, top: str) -> bool:
    """What the member ``byteorder`` says; archives without one are little-endian."""
    if top + "byteorder" not in archive:
        return False
    order = archive.read(top + "byteorder", 64).strip()
    if order not in (b"little", b"big"):
        raise BadFileError(f"{archive.region.path}: byte order {order[:20]!r} is unknown")
    return order == b"big"


def unpickle_member(archive: Archive, name: str, folder: str, *, big: bool, foreign: bool) -> Any:
    """The object of the pickle ``name``, storages taken from the members of ``folder``."""
    where = f"{archive.region.path}: {name}"

    def find(key: str, kind: Any, nbytes: int) -> Storage:
        member = archive.members.get(folder + key)
        if member is None:
            raise BadFileError(f"{where}: storage {key!r} is missing from the archive")
        region = archive.data(folder + key)
        if region.size != nbytes:
            raise BadFileError(f"{where}: storage {key!r} has {region.size} bytes, its description says {nbytes}")
        return Storage(key, kind, nbytes, region, big_endian=big, crc=member.crc)

    raw = archive.read(name, limits.PICKLE)
    return Pickle(raw, 0, _persistent(find, where), where, foreign=foreign).load()[0]


def load_zip(archive: Archive, top: str, *, foreign: bool) -> Any:
    """The object of a zip checkpoint whose folder is ``top``."""
    return unpickle_member(archive, top + "data.pkl", top + "data/", big=big_endian(archive, top), foreign=foreign)


def load_stream(region: Region, *, foreign: bool) -> Any:
    """The object of a legacy stream."""
    where = region.path
    with _mapped(region) as data:
        return _stream(region, data, where, foreign)


def _stream(region: Region, data: Any, where: str, foreign: bool) -> Any:
    storages: dict[str, Storage] = {}

    def find(key: str, kind: Any, nbytes: int) -> Storage:
        return storages.setdefault(key, Storage(key, kind, nbytes, None))

    def nothing(_pid: Any) -> Any:
        raise BadFileError(f"{where}: a persistent id where none belongs")

    magic, pos = Pickle(data, 0, nothing, where, foreign=False).load()
    if magic != LEGACY_MAGIC:
        raise BadFileError(f"{where}: a pickle, but no torch checkpoint (its first object is not torch's magic number)")
    protocol, pos = Pickle(data, pos, nothing, where, foreign=False).load()
    if protocol != _PROTOCOL:
        raise BadFileError(f"{where}: torch's stream protocol {str(protocol)[:40]} is unknown; {_PROTOCOL} is read")
    _, pos = Pickle(data, pos, nothing, where, foreign=False).load()
    root, pos = Pickle(data, pos, _persistent(find, where), where, foreign=foreign).load()
    keys, pos = Pickle(data, pos, nothing, where, foreign=False).load()
    if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys) or len(set(keys)) != len(keys):
        raise BadFileError(f"{where}: the list of storages is no list of names")
    for key in keys:
        storage = storages.get(key)
        if storage is None:
            raise BadFileError(f"{where}: storage {key!r} is stored but never used")
        width = storage.element.width if storage.element else 1
        (numel,) = struct.unpack("<q", region.read(pos, 8))
        if numel < 0 or numel * width != storage.nbytes:
            raise BadFileError(f"{where}: storage {key!r} has {numel} elements, its description says {storage.nbytes // width}")
        storage.region = region.part(pos + 8, storage.nbytes)
        pos += 8 + storage.nbytes
    missing = sorted(key for key, storage in storages.items() if storage.region is None)
    if missing:
        raise BadFileError(f"{where}: {len(missing)} storages are used but not stored, first {missing[0]!r}")
    return root


@contextmanager
def _mapped(region: Region) -> Iterator[Any]:
    """The region's bytes for the pickle reader, without reading them all."""
    if region.data is not None:
        yield region.read(0, region.size)
        return
    if region.start or not region.size:
        raise BadFileError(f"{region.path}: an empty file or a stream inside another file")
    try:
        with open(region.path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except (OSError, ValueError) as e:
        raise BadFileError(f"{region.path}: cannot be read: {e}") from e


def refuse_tar(path: str) -> UnsupportedError:
    """The refusal of the tar form of torch before 0.1.10."""
    hint = "load it with torch < 2.10 in a trusted place and save it again"
    return UnsupportedError(
        Problem(path, "tar checkpoint", "the tar form of torch before 0.1.10 is not read", hint, "unsupported_format")
    )

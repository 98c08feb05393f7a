"""What a file is, from its first bytes and, for a zip archive, its directory. Nothing else is read."""

from __future__ import annotations

import os
from dataclasses import dataclass

from convcore.plugin import BadFileError

from .archive import Archive
from .storage import Region

__all__ = ["Kind", "kind_of"]


@dataclass(frozen=True)
class Kind:
    """``name``: checkpoint, legacy, tar, torchscript, pt2, pt2-old, safetensors, index; ``top``: the folder in the archive."""

    name: str
    top: str = ""


_LEGACY = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # LONG1 10 <magic> STOP, after PROTO n


def kind_of(path: str | os.PathLike[str], region: Region | None = None) -> Kind | None:
    """The kind of file, or None when it is none of ours; BadFileError for an archive of ours that is damaged."""
    region = region or Region.of(os.fsdecode(path))
    head = region.read(0, min(region.size, 512))
    if head[:4] == b"PK\3\4":
        return _archive(Archive(region))
    if head[:1] == b"\x80" and _LEGACY in head[2:32]:  # protocols 4 and 5 put a frame before it
        return Kind("legacy")
    if head[257:262] == b"ustar" and _tar_names(region) >= {"pickle", "storages", "tensors"}:
        return Kind("tar")
    if len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= min(region.size - 8, 100_000_000):
        return Kind("safetensors")
    if (
        head[:1] == b"{"
        and os.fsdecode(path).endswith(".index.json")
        and region.size < 1 << 26
        and b"weight_map" in region.read(0, region.size)
    ):
        return Kind("index")
    return None


def _archive(archive: Archive) -> Kind | None:
    names = archive.members
    if "serialized_exported_program.json" in names:
        return Kind("pt2-old")
    for tail in ("models/model.json", "archive_format"):
        for top in archive.roots(tail):
            if top + "archive_format" in names or top + "models/model.json" in names:
                return Kind("pt2", top)
    tops = archive.roots("data.pkl")
    if len(tops) > 1:
        raise BadFileError(f"{archive.region.path}: two checkpoints in one archive ({', '.join(tops)})")
    if tops:
        top = tops[0]
        script = top + "constants.pkl" in names or any(name.startswith(top + "code/") for name in names)
        return Kind("torchscript" if script else "checkpoint", top)
    if (archive.roots("model.json") and archive.roots("tensors.json")) or any(n.endswith("/tensors.json") for n in names):
        raise BadFileError(f"{archive.region.path}: a TorchScript archive of torch 1.1 or older is not read; save it again")
    return None


def _tar_names(region: Region) -> set[str]:
    """Names of the first members of a tar file."""
    names: set[str] = set()
    pos = 0
    for _ in range(8):
        if pos + 512 > region.size:
            break
        head = region.read(pos, 512)
        names.add(head[:100].rstrip(b"\0").decode("latin1").removeprefix("./"))
        digits = head[124:136].strip(b"\0 ")
        if not digits.isdigit() or any(d > 55 for d in digits):
            break
        pos += 512 + (int(digits, 8) + 511) // 512 * 512
    return names

"""``.safetensors``: an 8-byte header length, a JSON header, the data. Each tensor is a region, mapped when read.

Checked as the reference implementation does (safetensors 0.8.0, tensor.rs): header at most 100 MB and beginning with ``{``,
ranges in order without hole or overlap, sizes that fit the shapes, metadata of text only. Types unknown here are refused.
"""

from __future__ import annotations

import math
from typing import Any

from convcore.plugin import BadFileError

from . import limits
from .elements import BY_SAFETENSORS
from .jsons import fields, parse
from .storage import Region, Storage, StoredTensor, tensor

__all__ = ["read_safetensors"]


def read_safetensors(region: Region) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Tensors in the header's order, and the metadata."""
    where = region.path
    size = int.from_bytes(region.read(0, 8), "little")
    if size > min(limits.HEADER, region.size - 8):
        raise BadFileError(f"{where}: the safetensors header claims {size} bytes; the file has {region.size}")
    raw = region.read(8, size)
    if raw[:1] != b"{":
        raise BadFileError(f"{where}: no safetensors header")
    header: dict[str, Any] = parse(raw, where)
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise BadFileError(f"{where}: the safetensors metadata is not text only")
    data = region.part(8 + size, region.size - 8 - size)
    spans: dict[str, tuple[int, int]] = {}
    tensors: dict[str, StoredTensor] = {}
    for name, entry in header.items():
        tensors[name], spans[name] = _entry(data, name, entry, where)
    end = 0
    for name, (first, last) in sorted(spans.items(), key=lambda item: item[1]):
        if first != end:
            raise BadFileError(f"{where}: the data of {name!r} begins at {first}, where {end} is due (a hole or an overlap)")
        end = last
    if end != data.size:
        raise BadFileError(f"{where}: {data.size} bytes of data, the header describes {end}")
    return tensors, metadata


def _entry(data: Region, name: str, entry: Any, where: str) -> tuple[StoredTensor, tuple[int, int]]:
    dtype, shape, span = fields(entry, f"{where}: {name!r}", dtype=str, shape=list, data_offsets=list)
    kind = BY_SAFETENSORS.get(dtype)
    if kind is None:
        raise BadFileError(f"{where}: tensor {name!r} has element type {dtype!r}, which is not read")
    if len(span) != 2 or not all(type(n) is int and n >= 0 for n in (*shape, *span)) or span[0] > span[1]:
        raise BadFileError(f"{where}: tensor {name!r} has no proper shape or range")
    nbytes = span[1] - span[0]
    if math.prod(shape) * kind.width != nbytes:
        raise BadFileError(f"{where}: tensor {name!r} has shape {shape} and {nbytes} bytes, which do not fit")
    strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    storage = Storage(name, kind, nbytes, data.part(span[0], nbytes))
    return tensor(storage, kind, shape, [min(s, 1 << 61) for s in strides], 0), (span[0], span[1])

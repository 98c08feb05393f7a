"""BlobProto to tensors: shapes, Caffe's legacy four axes, and every way a file stores the values.

Values are float32, as in Caffe's float build: ``double_data`` and half-precision ``raw_data`` are cast when read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convcore.plugin import ArrayTensor, BadFileError, DType, LazyTensor, MappedTensor, Tensor

from .message import Message

__all__ = ["MAX_AXES", "Blob", "Run", "blob_of_message", "blob_of_runs", "fit_shape"]

MAX_AXES = 32  # Caffe's kMaxBlobAxes
_RAW = {"DOUBLE": DType.FLOAT64, "FLOAT": DType.FLOAT32, "FLOAT16": DType.FLOAT16}
_RAW_BY_SIZE = {2: DType.FLOAT16, 4: DType.FLOAT32, 8: DType.FLOAT64}


@dataclass(frozen=True)
class Blob:
    """A weight blob.

    ``legacy``: the file gives num, channels, height, width, so the shape has four axes padded in front.
    """

    tensor: Tensor
    legacy: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape


@dataclass(frozen=True)
class Run:
    """``count`` values in the file from byte ``offset`` on, ``stride`` bytes apart (more than the item size: one tag
    each)."""

    offset: int
    count: int
    stride: int
    dtype: DType


def fit_shape(tensor: Tensor, legacy: bool, shape: Sequence[int]) -> Tensor | None:
    """The tensor in the shape a layer wants, or None where Caffe refuses (Blob::ShapeEquals).

    Shapes must be equal; a legacy four-axis blob fits a shape of up to four axes padded with ones in front.
    """
    want = tuple(shape)
    if tensor.shape == want and not legacy:
        return tensor
    if legacy and len(want) <= 4 and (1,) * (4 - len(want)) + want == tensor.shape:
        return tensor.reshape(want)
    return None


def check_shape(dims: Sequence[int], count: int, what: str) -> tuple[int, ...]:
    """``dims`` as a shape of exactly ``count`` elements; BadFileError (before anything is allocated) otherwise."""
    if len(dims) > MAX_AXES:
        raise BadFileError(f"{what}: {len(dims)} axes, more than Caffe's {MAX_AXES}")
    if any(d < 0 for d in dims):
        raise BadFileError(f"{what}: negative size in shape {list(dims)}")
    if math.prod(dims) != count:
        raise BadFileError(f"{what}: shape {list(dims)} wants {math.prod(dims)} values, the file holds {count}")
    return tuple(dims)


def blob_of_runs(path: str, runs: Sequence[Run], dims: Sequence[int], legacy: bool, what: str) -> Blob:
    """A blob over parts of a file; nothing is read. One contiguous run becomes a MappedTensor."""
    count = sum(r.count for r in runs)
    shape = check_shape(dims, count, what)
    if len(runs) == 1 and runs[0].stride == runs[0].dtype.itemsize:
        tensor: Tensor = MappedTensor(path, runs[0].offset, runs[0].dtype, shape)
    elif not runs:
        tensor = ArrayTensor(np.zeros(shape, np.float32))
    else:
        kept = tuple(runs)
        tensor = LazyTensor(lambda: _gather(path, kept).reshape(shape), DType.FLOAT32, shape, file=path)
    return Blob(tensor.cast(DType.FLOAT32), legacy)


def _gather(path: str, runs: Sequence[Run]) -> np.ndarray:
    out = np.empty(sum(r.count for r in runs), np.float32)
    at = 0
    for r in runs:
        size = r.dtype.itemsize
        raw = np.memmap(path, np.uint8, "r", r.offset, ((r.count - 1) * r.stride + size,))
        little = r.dtype.numpy.newbyteorder("<")
        out[at : at + r.count] = np.ndarray((r.count,), little, raw, 0, (r.stride,))
        at += r.count
    return out


def raw_type(name: str | None, nbytes: int, dims: Sequence[int], what: str) -> DType:
    """Element type of NVCaffe's ``raw_data``; without ``raw_data_type`` the one whose size fits the shape."""
    count = math.prod(dims)
    found = _RAW.get(name) if name else _RAW_BY_SIZE.get(nbytes // count if count and nbytes % count == 0 else 0)
    if found is None:
        raise BadFileError(f"{what}: raw_data of {nbytes} bytes, type {name or 'not given'}, shape {list(dims)} is not supported")
    return found


def blob_of_message(m: Message, what: str) -> Blob:
    """A blob written out in a prototxt (``blobs { ... }``)."""
    legacy = any(m.has(k) for k in ("num", "channels", "height", "width"))
    dims = [m.get(k) for k in ("num", "channels", "height", "width")] if legacy else m.get("shape").get("dim")
    values = np.asarray(m.get("double_data") or m.get("data"), np.float32)
    if m.has("raw_data"):
        raw: bytes = m.get("raw_data")
        dtype = raw_type(m.get("raw_data_type"), len(raw), dims, what)
        if values.size or len(raw) % dtype.itemsize:
            raise BadFileError(f"{what}: raw_data is broken or given beside data")
        values = np.frombuffer(raw, dtype.numpy.newbyteorder("<")).astype(np.float32)
    return Blob(ArrayTensor(values.reshape(check_shape(dims, values.size, what))), legacy)

"""TensorProto as a Tensor: inside the message, in the model file, or in an external file of the model's folder."""

from __future__ import annotations

import math
import os
import stat
from typing import Any

import numpy as np

from convcore.plugin import BYTES, ArrayTensor, BadFileError, DType, MappedTensor, NotExpressible, Tensor, spend_bytes

from .dtypes import dtype_of

__all__ = ["external_file", "packed", "sparse_to_tensor", "to_tensor"]

EXTERNAL_KEYS = {"location", "offset", "length", "checksum"}


def to_tensor(proto: Any, what: str, folder: str = "", run: tuple[int, int] | None = None, path: str = "") -> Tensor:
    """The tensor of a TensorProto, which errors call ``what``.

    ``run`` is (offset, length) of its elements in the file ``path`` when the reader left them there; ``folder`` is the
    model's, to which external data is confined. NotExpressible for element types convcore lacks; BadFileError when sizes
    disagree or external data lies outside the folder.
    """
    dtype = dtype_of(proto.data_type)
    shape = tuple(proto.dims)
    if any(n < 0 for n in shape):
        raise BadFileError(f"{what} has the shape {list(shape)}")
    count = math.prod(shape)
    if dtype is DType.STRING:
        return _strings(proto, what, shape, count)
    nbytes = (count * dtype.bits + 7) // 8
    if dtype.bits == 6:
        raise NotExpressible(f"tensors of {dtype} are not read: the standard does not say how they are packed")
    if run is not None:
        _check_bytes(what, run[1], nbytes, shape, dtype)
        return _mapped(path, run[0], dtype, shape, nbytes)
    if proto.data_location == 1:
        return _external(proto, what, folder, dtype, shape, nbytes, path)
    if proto.HasField("raw_data"):
        _check_bytes(what, len(proto.raw_data), nbytes, shape, dtype)
        raw = np.frombuffer(proto.raw_data, np.uint8)
        if dtype.bits < 8:
            return ArrayTensor(_unpacked(raw, dtype, shape))
        a = raw.view(dtype.numpy.newbyteorder("<"))
        return ArrayTensor(a.astype(dtype.numpy, copy=False).reshape(shape))
    return ArrayTensor(_typed(proto, what, dtype, count).reshape(shape))


def _mapped(path: str, offset: int, dtype: DType, shape: tuple[int, ...], nbytes: int) -> Tensor:
    if dtype.bits >= 8:
        return MappedTensor(path, offset, dtype, shape)
    return MappedTensor(path, offset, DType.UINT8, (nbytes,)).map(lambda a: _unpacked(a, dtype, shape), shape, dtype)


def _unpacked(raw: np.ndarray[Any, Any], dtype: DType, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Elements of fewer than 8 bits, the first in the lowest bits of a byte (onnx.proto, ``raw_data``)."""
    bits = dtype.bits
    parts = [(raw >> at) & ((1 << bits) - 1) for at in range(0, 8, bits)]
    a = np.stack(parts, -1).reshape(-1)[: math.prod(shape)]
    if dtype.is_float:
        return a.view(dtype.numpy).reshape(shape)
    if dtype.value.startswith("int"):
        a = ((a ^ (1 << bits - 1)).astype(np.int8)) - np.int8(1 << bits - 1)
    return a.astype(dtype.numpy).reshape(shape)


def packed(t: Tensor) -> Tensor:
    """A tensor as its bytes lie in a file: types of fewer than 8 bits as a vector of packed bytes, others as they are."""
    bits = t.dtype.bits
    if bits >= 8 or t.dtype is DType.STRING:
        return t
    if bits == 6:
        raise NotExpressible(f"tensors of {t.dtype} are not written: the standard does not say how they are packed")
    per = 8 // bits

    def pack(a: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        flat = a.reshape(-1)
        codes = flat.view(np.uint8) if t.dtype.is_float else flat.astype(np.int8).view(np.uint8)
        rows = np.concatenate([codes & ((1 << bits) - 1), np.zeros(-codes.size % per, np.uint8)]).reshape(-1, per)
        out = np.zeros(len(rows), np.uint8)
        for i in range(per):
            out |= rows[:, i] << (i * bits)
        return out

    return t.map(pack, ((t.size + per - 1) // per,), DType.UINT8)


def _check_bytes(what: str, got: int, want: int, shape: tuple[int, ...], dtype: DType) -> None:
    if got != want:
        raise BadFileError(f"{what} is {dtype}{list(shape)} ({want} bytes) but holds {got} bytes")


def _typed(proto: Any, what: str, dtype: DType, count: int) -> np.ndarray[Any, Any]:
    """Elements of the field that belongs to the element type (onnx.proto documents which)."""
    held: np.dtype[Any]
    if dtype in (DType.FLOAT32, DType.COMPLEX64):
        values, held = proto.float_data, np.dtype("float32")
    elif dtype in (DType.FLOAT64, DType.COMPLEX128):
        values, held = proto.double_data, np.dtype(np.float64)
    elif dtype is DType.INT64:
        values, held = proto.int64_data, np.dtype(np.int64)
    elif dtype in (DType.UINT32, DType.UINT64):
        values, held = proto.uint64_data, np.dtype(np.uint64)
    else:
        values, held = proto.int32_data, np.dtype(np.int32)
    if dtype.bits < 8:  # as many packed bytes, each in an int32
        raw = np.fromiter(values, np.int32, len(values)).astype(np.uint8)
        _check_bytes(what, raw.size, (count * dtype.bits + 7) // 8, tuple(proto.dims), dtype)
        return _unpacked(raw, dtype, (count,))
    per = 2 if dtype.value.startswith("complex") else 1
    if len(values) != count * per:
        raise BadFileError(f"{what} is {dtype}{list(proto.dims)} but holds {len(values) // per} elements")
    a = np.fromiter(values, held, len(values))
    if per == 2:
        return a.view(dtype.numpy)
    if dtype in (DType.FLOAT16, DType.BFLOAT16):
        return a.astype(np.uint16).view(dtype.numpy)
    if dtype.is_small:
        return a.astype(np.uint8).view(dtype.numpy)
    return a.astype(dtype.numpy)


def _strings(proto: Any, what: str, shape: tuple[int, ...], count: int) -> Tensor:
    if len(proto.string_data) != count:
        raise BadFileError(f"{what} is string{list(shape)} but holds {len(proto.string_data)} elements")
    a = np.empty(count, object)
    for i, s in enumerate(proto.string_data):
        try:
            a[i] = s.decode()
        except UnicodeDecodeError:
            raise BadFileError(f"{what}: string {i} is not UTF-8") from None
    return ArrayTensor(a.reshape(shape))


def _external(proto: Any, what: str, folder: str, dtype: DType, shape: tuple[int, ...], nbytes: int, model: str) -> Tensor:
    entries = {e.key: e.value for e in proto.external_data}
    where = f"{what}: external data"
    unknown = sorted(entries.keys() - EXTERNAL_KEYS)
    if unknown:
        raise BadFileError(f"{where} with the unknown key {unknown[0]!r}")
    if not folder:
        raise BadFileError(f"{where} in {entries.get('location')!r}, but the model was not read from a file")
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries["length"]) if "length" in entries else nbytes
    except ValueError:
        raise BadFileError(f"{where}: offset and length must be integers") from None
    if length != nbytes:
        raise BadFileError(f"{where} has {length} bytes, {dtype}{list(shape)} needs {nbytes}")
    path, size = external_file(folder, entries.get("location", ""), where)
    if model and os.path.samefile(path, model):
        raise BadFileError(f"{where} in the model file itself")
    if offset < 0 or offset + length > size:
        raise BadFileError(f"{where}: bytes {offset} to {offset + length} lie outside {path}, which has {size}")
    return _mapped(path, offset, dtype, shape, nbytes)


def external_file(folder: str, location: str, where: str) -> tuple[str, int]:
    """The real path and size of a file of the model's folder named by the model.

    Refused: absolute names, ``..``, backslashes, NUL, links of either kind, anything but a regular file.
    """
    parts = location.split("/")
    if not location or location.startswith("/") or ".." in parts or "\\" in location or "\0" in location or ":" in parts[0]:
        raise BadFileError(f"{where} in {location!r}: it must be a relative name inside the model's folder")
    path = folder
    try:
        for i, part in enumerate(p for p in parts if p not in ("", ".")):
            path = os.path.join(path, part)
            info = os.lstat(path)
            if stat.S_ISLNK(info.st_mode):
                raise BadFileError(
                    f"{where} in {location!r}: {part!r} is a symbolic link; copy the file into the folder (part {i + 1})"
                )
        info = os.lstat(path)
    except OSError as e:
        raise BadFileError(f"{where} in {location!r}: {e.strerror or e}") from e
    if not stat.S_ISREG(info.st_mode):
        raise BadFileError(f"{where} in {location!r}: not a regular file")
    if info.st_nlink != 1:
        raise BadFileError(f"{where} in {location!r}: the file has several hard links; copy it into the folder")
    return path, info.st_size


def sparse_to_tensor(proto: Any, what: str, folder: str = "") -> Tensor:
    """A SparseTensorProto, which errors call ``what``, as a dense tensor of at most 256 MiB."""
    values, indices = (
        to_tensor(t, f"{what}: its {of}", folder) for t, of in ((proto.values, "values"), (proto.indices, "indices"))
    )
    shape = tuple(proto.dims)
    if any(n < 0 for n in shape) or math.prod(shape) * values.dtype.itemsize > BYTES:
        raise NotExpressible(f"{what} of shape {list(shape)} is too large to be made dense")
    spend_bytes(math.prod(shape) * values.dtype.itemsize, what)
    at = indices.numpy().astype(np.int64, copy=False)
    if at.ndim == 2:
        if at.shape != (values.size, len(shape)):
            raise BadFileError(f"{what}: indices of shape {list(at.shape)} for {values.size} values")
        if np.any(at < 0) or np.any(at >= np.asarray(shape)):
            raise BadFileError(f"{what}: an index is outside {list(shape)}")
        at = np.ravel_multi_index(tuple(at.T), shape) if at.size else np.zeros(0, np.int64)
    if at.shape != (values.size,) or (at.size and (at.min() < 0 or at.max() >= math.prod(shape))):
        raise BadFileError(f"{what}: indices do not fit {values.size} values of {list(shape)}")
    dense = np.zeros(math.prod(shape), values.dtype.numpy)
    dense[at] = values.numpy().reshape(-1)
    return ArrayTensor(dense.reshape(shape))

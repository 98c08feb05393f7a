"""Weights Caffe wrote as HDF5 (``*.caffemodel.h5``): group ``/data/<layer>/<index>``, read without following any link.

Needs h5py (``pip install convcore-caffe[hdf5]``). Contiguous datasets are memory-mapped, others read on request.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np

from convcore.plugin import BadFileError, DType, FrameworkMissingError, LazyTensor, MappedTensor, Tensor, check_heaps, watched

__all__ = ["read_hdf5"]

_MAX_LINKS = 100_000
_FILTERS = {1, 2, 3}  # deflate, shuffle, fletcher32: built into HDF5, nothing is loaded for them
_RATIO = 2000  # declared bytes per stored byte; deflate reaches about 1030


def read_hdf5(path: str | Path) -> list[tuple[str, list[Tensor | None]]]:
    """Layer names with their blobs by index (None: absent, shared with another layer).

    Refuses links, external and virtual storage, other filters than deflate, shuffle and fletcher32, and types other
    than float.
    """
    try:
        import h5py  # type: ignore[import-untyped,unused-ignore]
    except ImportError as e:
        raise FrameworkMissingError(f"{path}: HDF5 weights need h5py: pip install 'convcore-caffe[hdf5]'") from e
    found: list[tuple[str, list[Tensor | None]]] = []
    try:
        with open(watched(path), "rb") as raw, mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as held:
            check_heaps(held, str(path))
        with h5py.File(watched(path), "r") as f:
            data = _child(h5py, f, "data", path)
            if not isinstance(data, h5py.Group):
                raise BadFileError(f"{path}: no group /data: not weights written by Caffe")
            if len(data) > _MAX_LINKS:
                raise BadFileError(f"{path}: {len(data)} layers in /data, more than {_MAX_LINKS}")
            for name in data:
                group = _child(h5py, data, name, path)
                if not isinstance(group, h5py.Group):
                    raise BadFileError(f"{path}: /data/{name} is not a group")
                found.append((name, _blobs(h5py, group, f"/data/{name}", path)))
    except (OSError, RuntimeError, KeyError, ValueError, UnicodeError) as e:
        raise BadFileError(f"{path}: HDF5 cannot be read: {e}") from e
    return found


def _child(h5py: Any, group: Any, name: str, path: str | Path) -> Any:
    link = group.get(name, getlink=True)
    if link is not None and not isinstance(link, h5py.HardLink):
        raise BadFileError(f"{path}: {group.name}/{name} is a link to elsewhere, which is not followed")
    return group.get(name) if link is not None else None


def _blobs(h5py: Any, group: Any, where: str, path: str | Path) -> list[Tensor | None]:
    if len(group) > _MAX_LINKS:
        raise BadFileError(f"{path}: {where} holds {len(group)} blobs")
    by_index: dict[int, Tensor] = {}
    for key in group:
        if not (key.isascii() and key.isdigit()) or str(int(key[:9])) != key:
            raise BadFileError(f"{path}: {where}/{key[:60]} is no blob index")
        if int(key) >= 1000:
            raise BadFileError(f"{path}: {where}/{key}: no layer has that many blobs")
        dataset = _child(h5py, group, key, path)
        if not isinstance(dataset, h5py.Dataset):
            raise BadFileError(f"{path}: {where}/{key} is not a dataset")
        by_index[int(key)] = _tensor(dataset, f"{where}/{key}", path)
    return [by_index.get(i) for i in range(max(by_index, default=-1) + 1)]


def _tensor(dataset: Any, where: str, path: str | Path) -> Tensor:
    if dataset.is_virtual or dataset.external:
        raise BadFileError(f"{path}: {where} keeps its values in another file, which is not opened")
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in (2, 4, 8) or dataset.shape is None:
        raise BadFileError(f"{path}: {where} holds {dataset.dtype}, not float values")
    plist = dataset.id.get_create_plist()
    filters = {plist.get_filter(i)[0] for i in range(plist.get_nfilters())}
    if not filters <= _FILTERS:
        raise BadFileError(f"{path}: {where} is stored with HDF5 filters {sorted(filters - _FILTERS)}, which are not accepted")
    shape = tuple(int(n) for n in dataset.shape)
    nbytes = int(dataset.size) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    if nbytes > stored * (_RATIO if filters else 1):
        raise BadFileError(f"{path}: {where} declares {nbytes} bytes and stores {stored}")
    dtype = DType.of(dataset.dtype.newbyteorder("="))
    offset = dataset.id.get_offset()
    if offset is not None and not filters:
        if offset + nbytes > os.path.getsize(path):
            raise BadFileError(f"{path}: {where} lies beyond the end of the file")
        big = dataset.dtype.str.startswith(">")
        return MappedTensor(path, offset, dtype, shape, big_endian=big).cast(DType.FLOAT32)
    return LazyTensor(lambda: _read(path, where), DType.FLOAT32, shape, file=path)


def _read(path: str | Path, where: str) -> np.ndarray:
    import h5py

    try:
        with h5py.File(watched(path), "r") as f:
            values: np.ndarray = np.asarray(f[where][()], np.float32)
    except (OSError, RuntimeError, KeyError) as e:
        raise BadFileError(f"{path}: {where} cannot be read: {e}") from e
    return values

"""HDF5 read by expected names only: hard links, plain dtypes, known filters, no external or virtual storage.

Nothing walks the file. Contiguous datasets become :class:`~convcore.ir.tensors.MappedTensor` (the bytes in the file,
or in the zip member), all others :class:`~convcore.ir.tensors.LazyTensor` that reopen it.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from convcore.plugin import BadFileError, DType, LazyTensor, MappedTensor, Tensor, UsageError, check_heaps, spend_bytes, watched

from .headers import text_lengths
from .source import ByteSource

__all__ = ["MAGIC", "H5File"]

MAGIC = b"\x89HDF\r\n\x1a\n"
_FILTERS = {1, 2, 3}  # deflate, shuffle, fletcher32: built into libhdf5, so no plug-in is ever searched for
_MAX_ATTR_BYTES = 256 << 20
_MAX_NAMES = 200_000
_BIG, _RATIO = 64 << 20, 1000
_MAX_CHUNKED = 64 << 30
_CHECKED: dict[tuple[str, int], tuple[int, int]] = {}
"""Files whose heaps were found sound, by path and start: with size and time of change."""
_ERRORS = (OSError, LookupError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError, AttributeError, struct.error)


class H5File:
    """A guarded, read-only HDF5 file; use as a context manager. Groups are h5py low-level ids."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.label = source.label

    def __enter__(self) -> H5File:
        import h5py  # type: ignore[import-untyped,unused-ignore]

        with self._guard("open"):
            self._check_heaps()
            self._stream = self.source.open()
            if self.source.whole_file:
                self._file = h5py.File(watched(self.source.path), "r", locking=False)
            else:
                self._file = h5py.File(self._stream, "r")
            self._userblock = self._file.userblock_size
            self.root: Any = self._file["/"].id
        return self

    def _check_heaps(self) -> None:
        s = self.source
        if s.data is not None:
            check_heaps(s.data, self.label)
            return
        with open(watched(s.path), "rb") as f:
            changed = os.fstat(f.fileno()).st_mtime_ns
            if _CHECKED.get((s.path, s.start)) != (s.size, changed):
                with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    check_heaps(data, self.label, s.start, s.start + s.size)
                _CHECKED[s.path, s.start] = (s.size, changed)

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(*_ERRORS):
            self._file.close()
        self._stream.close()

    @contextlib.contextmanager
    def _guard(self, what: str) -> Iterator[None]:
        try:
            yield
        except _ERRORS as e:
            raise BadFileError(f"{self.label}: cannot {what}: {' '.join(str(e).split())[:200]}") from e

    # ---- structure
    def child(self, group: Any, path: str) -> Any:
        """The object at ``path`` under ``group``, or None. Every part must be a hard link."""
        import h5py

        at = group
        parts = path.split("/")
        if "\0" in path or any(p in ("", ".", "..") for p in parts):
            raise BadFileError(f"{self.label}: {path[:120]!r} is not an acceptable name in a weights file")
        for part in parts:
            raw = part.encode("utf-8", "surrogateescape")
            if not isinstance(at, h5py.h5g.GroupID):
                return None
            with self._guard(f"look up {path[:120]!r}"):
                if not at.links.exists(raw):
                    return None
                if at.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
                    raise BadFileError(f"{self.label}: {path[:120]!r} is a soft or external link, which is not allowed")
                at = h5py.h5o.open(at, raw)
        return at

    def group(self, group: Any, path: str) -> Any:
        """Like :meth:`child`, but None also for what is not a group."""
        import h5py

        at = self.child(group, path)
        return at if isinstance(at, h5py.h5g.GroupID) else None

    def keys(self, group: Any) -> list[str]:
        """Names in a group, at most 200,000."""
        with self._guard("list a group"):
            if group.get_num_objs() > _MAX_NAMES:
                raise BadFileError(f"{self.label}: a group holds {group.get_num_objs()} members")
            return [n.decode("utf-8", "surrogateescape") for n in group]

    def is_dataset(self, obj: Any) -> bool:
        import h5py

        return isinstance(obj, h5py.h5d.DatasetID)

    # ---- attributes
    def attr(self, obj: Any, name: str) -> Any:
        """An attribute: str, number, or list of str; None when absent."""
        import h5py

        with self._guard(f"read attribute {name!r}"):
            raw = name.encode()
            if not h5py.h5a.exists(obj, raw):
                return None
            a = h5py.h5a.open(obj, raw)
            if a.shape is None:  # h5py.Empty
                return None
            count = math.prod(a.shape)
            if count == 0 and a.get_space().get_simple_extent_type() == h5py.h5s.SIMPLE:
                return []
            if count > _MAX_NAMES or count * a.get_type().get_size() > _MAX_ATTR_BYTES:
                raise BadFileError(f"{self.label}: attribute {name!r} is too large")
            self._check_type(obj, a, name)
            value = h5py.Group(obj).attrs[name] if isinstance(obj, h5py.h5g.GroupID) else h5py.Dataset(obj).attrs[name]
            if isinstance(value, np.ndarray):
                return [_text(v) for v in value.ravel().tolist()]
            return _text(value)

    def _check_type(self, obj: Any, attribute: Any, name: str) -> None:
        """BadFileError for what is no text or number, and for texts longer than the file, for which libhdf5 would make room."""
        import h5py

        kind = attribute.get_type()
        if kind.get_class() not in (h5py.h5t.STRING, h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM) or kind.committed():
            raise BadFileError(f"{self.label}: attribute {name!r} is neither text nor a number")
        if kind.get_class() != h5py.h5t.STRING or not kind.is_variable_str():
            return
        found = text_lengths(self._bytes, h5py.h5o.get_info(obj).addr)
        if name.encode() not in found:
            raise BadFileError(
                f"{self.label}: attribute {name!r} is text of variable length in a fractal heap, whose length nobody can check "
                "before libhdf5 makes room for it; load the model in Keras and save it again, without libver='latest'"
            )
        long = sum(found[name.encode()])
        if long > self.source.size:
            raise BadFileError(
                f"{self.label}: attribute {name!r} is damaged: texts of {long} bytes in a file of {self.source.size}"
            )

    def _bytes(self, at: int, size: int) -> bytes:
        self._stream.seek(self._userblock + at)
        return bytes(self._stream.read(min(size, self.source.size)) or b"")

    def attr_names(self, obj: Any) -> set[str]:
        """The names of an object's attributes."""
        import h5py

        with self._guard("list attributes"):
            if h5py.h5a.get_num_attrs(obj) > _MAX_NAMES:
                raise BadFileError(f"{self.label}: too many attributes")
            return set(h5py.Group(obj).attrs)

    def attr_list(self, obj: Any, name: str) -> list[str] | None:
        """A list of names, also when Keras split it over ``name0``, ``name1``, ... (64 kB attribute limit)."""
        value = self.attr(obj, name)
        if value is None:
            parts: list[str] = []
            i = 0
            while (piece := self.attr(obj, f"{name}{i}")) is not None:
                parts += piece if isinstance(piece, list) else [piece]
                i += 1
                if len(parts) > _MAX_NAMES:
                    raise BadFileError(f"{self.label}: attribute {name!r} lists more than {_MAX_NAMES} names")
            if i == 0:
                return None
            value = parts
        value = value if isinstance(value, list) else [value]
        if not all(isinstance(v, str) for v in value):
            if value:
                raise BadFileError(f"{self.label}: attribute {name!r} is not a list of names")
        return value

    # ---- data
    def tensor(self, dataset: Any, path: str) -> Tensor:
        """A dataset as a lazy tensor; ``path`` is its absolute path without a leading slash."""
        import h5py

        where = f"{self.label}: dataset {path[:160]!r}"
        if not isinstance(dataset, h5py.h5d.DatasetID):
            raise BadFileError(f"{where} is not a dataset")
        with self._guard(f"read the header of dataset {path[:160]!r}"):
            layout, external, filters = _storage(dataset)
            if layout == h5py.h5d.VIRTUAL:
                raise BadFileError(f"{where} is virtual (its data is in other files), which is not allowed")
            if external:
                raise BadFileError(f"{where} keeps its data in an external file, which is not allowed")
            if filters - _FILTERS:
                raise BadFileError(f"{where} uses HDF5 filter {sorted(filters - _FILTERS)}, which is not allowed")
            if dataset.get_space().get_simple_extent_type() == h5py.h5s.NULL:
                raise BadFileError(f"{where} is empty")
            raw, shape = dataset.dtype, dataset.shape
            dtype = self._dtype(dataset, raw, where)
            nbytes = math.prod(shape) * raw.itemsize
            stored = dataset.get_storage_size()
            offset = dataset.get_offset() if layout == h5py.h5d.CONTIGUOUS and raw.kind in "iufV" else None
        if offset is not None and not self._userblock and self.source.data is None:
            if stored != nbytes or offset + nbytes > self.source.size:
                raise BadFileError(f"{where} reaches beyond the end of the file: the file is cut off")
            big = raw.byteorder == ">"
            return MappedTensor(self.source.path, self.source.start + offset, dtype, shape, big_endian=big)
        if nbytes > _MAX_CHUNKED or (nbytes > _BIG and nbytes > _RATIO * stored):
            raise BadFileError(f"{where} declares {nbytes} bytes but stores {stored}")
        spend_bytes(max(0, nbytes - _RATIO * stored), f"{where} stores {stored} bytes of the {nbytes} it declares")
        source = self.source
        return LazyTensor(lambda: _read(source, path, dtype), dtype, shape, file=source.path)

    def _dtype(self, dataset: Any, raw: np.dtype[Any], where: str) -> DType:
        if raw.kind == "V" and raw.itemsize == 2 and raw.names is None:
            if self.attr(dataset, "dtype") == "bfloat16":
                return DType.BFLOAT16
        if raw.kind not in "iufb":
            raise BadFileError(f"{where} has element type {str(raw)[:60]}, which is not a number type of a model")
        try:
            return DType.of(raw)
        except UsageError as e:
            raise BadFileError(f"{where}: {e}") from e


def _read(source: ByteSource, path: str, dtype: DType) -> np.ndarray[Any, np.dtype[Any]]:
    with H5File(source) as f:
        dataset = f.child(f.root, path)
        f.tensor(dataset, path)  # the checks again: the file may have changed
        import h5py

        with f._guard(f"read dataset {path[:160]!r}"):
            a = np.asarray(h5py.Dataset(dataset)[()])
    if dtype is DType.BFLOAT16:
        return a.view(dtype.numpy)
    return a.astype(dtype.numpy, copy=False)


def _storage(dataset: Any) -> tuple[int, int, set[int]]:
    """Layout, number of external files and filters of a dataset. Its property list is closed at once: one of a virtual dataset
    that is still open when the process ends (in a traceback) brings libhdf5 (2.0.0) down."""
    plist = dataset.get_create_plist()
    try:
        return plist.get_layout(), plist.get_external_count(), {plist.get_filter(i)[0] for i in range(plist.get_nfilters())}
    finally:
        del plist


def _text(v: Any) -> Any:
    if isinstance(v, bytes):
        return v.decode("utf-8", "surrogateescape")
    return v.item() if isinstance(v, np.generic) and not isinstance(v, (str, bytes)) else v

"""Weights: a small protocol with lazy, memory-mapped and in-memory holders, and views that run once, at emission.

A :class:`Tensor` never changes. ``transpose``, ``reshape``, ``cast`` and the other view methods return new tensors that
share the storage; nothing is read before :meth:`Tensor.numpy` or :meth:`Tensor.write_to`.
"""

from __future__ import annotations

import io
import math
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import BadFileError, ShapeError
from ..files import absolute, stamp_of, unchanged
from .dtypes import DType

__all__ = ["ArrayTensor", "LazyTensor", "MappedTensor", "Tensor", "ViewTensor", "as_tensor", "moves_of", "uncast"]

Array = NDArray[Any]
_CHUNK = 1 << 22
_BLOCK = 1 << 18
"""Bytes that are written at once: by a MB or more it took the system ten times as long, now and then (ext4, Linux 6.18)."""
_FEW = 1 << 16
_MANY = 1 << 20
"""Bytes from which on the system is asked to copy by itself."""


class Tensor:
    """An immutable n-dimensional array of known dtype and shape whose values may not be in memory yet."""

    __slots__ = ("dtype", "shape")

    def __init__(self, dtype: DType, shape: Sequence[int]) -> None:
        self.dtype = dtype
        self.shape: tuple[int, ...] = tuple(int(n) for n in shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def numpy(self) -> Array:
        """The values. The array may be a read-only map of a file: do not write to it."""
        raise TypeError(f"{type(self).__name__} must define numpy()")

    def write_to(self, file: BinaryIO) -> None:
        """Append the elements to ``file``, little-endian, C order, a few MiB at a time."""
        a = self.numpy()
        if a.dtype.byteorder == ">" or (a.dtype.byteorder == "=" and not _LITTLE):
            a = a.astype(a.dtype.newbyteorder("<"))
        if not a.flags.c_contiguous:
            if a.nbytes <= _CHUNK or a.ndim == 0 or a.shape[0] < 2:
                a = np.ascontiguousarray(a)
            else:
                rows = max(1, a.shape[0] * _CHUNK // a.nbytes)
                for start in range(0, a.shape[0], rows):
                    part = a[start : start + rows].copy("K")  # read in the order it lies in, then turned where it is near
                    _put(file, np.ascontiguousarray(part))
                return
        _put(file, a)

    # ---- views
    def transpose(self, perm: Sequence[int]) -> Tensor:
        """``y`` with ``y.shape[i] == self.shape[perm[i]]`` (numpy.transpose)."""
        perm = tuple(perm)
        if sorted(perm) != list(range(self.ndim)):
            raise ShapeError(f"{perm} is not a permutation of {self.ndim} axes")
        if perm == tuple(range(self.ndim)):
            return self
        return ViewTensor(self, "transpose", perm, self.dtype, [self.shape[p] for p in perm])

    def reshape(self, shape: Sequence[int]) -> Tensor:
        """C-order reshape to a fully given shape."""
        shape = tuple(int(n) for n in shape)
        if math.prod(shape) != self.size:
            raise ShapeError(f"cannot reshape {self.shape} to {shape}")
        return self if shape == self.shape else ViewTensor(self, "reshape", shape, self.dtype, shape)

    def cast(self, dtype: DType) -> Tensor:
        return self if dtype == self.dtype else ViewTensor(self, "cast", dtype, dtype, self.shape)

    def map(self, fn: Callable[[Array], Array], shape: Sequence[int] | None = None, dtype: DType | None = None) -> Tensor:
        """Any array function, run when the values are asked for; ``shape``/``dtype`` are its result's (default: same)."""
        return ViewTensor(self, "map", fn, dtype or self.dtype, self.shape if shape is None else shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dtype}, {list(self.shape)})"


def _put(file: BinaryIO, a: Array) -> None:
    data = a.reshape(-1).view(np.uint8).data
    at, end = 0, _first(file)
    while at < len(data):
        file.write(data[at:end])
        at, end = end, end + _BLOCK


def _first(file: BinaryIO) -> int:
    """Bytes of the first block, so that all others begin at multiples of a block in the file: a fifth less work for the system
    (no page is touched twice). A sink that does not tell where it stands gets whole blocks."""
    try:
        return _BLOCK - file.tell() % _BLOCK
    except (AttributeError, OSError):
        return _BLOCK


_LITTLE = np.little_endian


class ArrayTensor(Tensor):
    """Values in memory."""

    __slots__ = ("_array",)

    def __init__(self, array: Array) -> None:
        super().__init__(DType.of(array.dtype), array.shape)
        self._array = array

    def numpy(self) -> Array:
        return self._array


class MappedTensor(Tensor):
    """A contiguous, C-ordered run of bytes in a file, mapped when it is read.

    The caller has checked that the path may be opened. ``big_endian`` data is converted on reading. SourceChangedError when
    the file is read and is not what it was when the tensor was made.
    """

    __slots__ = ("big_endian", "offset", "path", "stamp")

    def __init__(self, path: str | Path, offset: int, dtype: DType, shape: Sequence[int], *, big_endian: bool = False) -> None:
        super().__init__(dtype, shape)
        self.path, self.offset, self.big_endian = absolute(path), int(offset), big_endian
        self.stamp = stamp_of(self.path)

    def numpy(self) -> Array:
        nd = self.dtype.numpy
        if self.size == 0:
            return np.zeros(self.shape, nd)
        unchanged(self.stamp)
        try:
            raw = _bytes_of(self.path, self.offset, self.nbytes)
        except (OSError, ValueError) as e:
            raise BadFileError(f"{self.path}: cannot read {self.nbytes} bytes at offset {self.offset}: {e}") from e
        unchanged(self.stamp)  # nor was another file put in its place before it was opened
        a = raw.view(nd.newbyteorder(">") if self.big_endian else nd).reshape(self.shape)
        return a.astype(nd) if self.big_endian else a

    def write_to(self, file: BinaryIO) -> None:
        if self.big_endian:
            super().write_to(file)
            return
        unchanged(self.stamp)
        done = self._moved(file)
        for block in self._blocks(done, _first(file)):
            file.write(block)  # what fails here is the target's fault, not the source's
        unchanged(self.stamp)

    def _moved(self, file: BinaryIO) -> int:
        """How many of the bytes the system copied by itself: all where source and target lie alike in their pages and it can.
        What it fails at is left, and told by who copies that. File systems that can let both files share their blocks; others
        need as much as for :meth:`_blocks` (1 GB on ext4, Linux 6.18: 0.26 s for 0.22), and no large pages: where memory is in
        pieces those cost ten times as much."""
        plain = type(file) is io.BufferedWriter and type(file.raw) is io.FileIO and file.seekable()
        if not plain or not hasattr(os, "copy_file_range"):
            return 0
        start = file.tell()
        if self.nbytes < _MANY or (self.offset - start) % mmap.PAGESIZE:
            return 0
        file.flush()
        done = 0
        with suppress(OSError), open(self.path, "rb", buffering=0) as src:
            while n := os.copy_file_range(src.fileno(), file.fileno(), self.nbytes - done, self.offset + done, start + done):
                done += n
        file.seek(start + done)
        return done

    def _blocks(self, done: int, first: int) -> Iterator[memoryview]:
        """The bytes behind the ``done`` first ones, one block after the other in the same memory, the first one of ``first``
        bytes: where source and target lie otherwise in their pages, half the work of ``copy_file_range`` (0.21 s for 0.39)."""
        left = self.nbytes - done
        held = memoryview(bytearray(min(left, _BLOCK)))
        try:
            with open(self.path, "rb", buffering=0) as src:
                src.seek(self.offset + done)
                size = first
                while left:
                    n = src.readinto(held[: min(left, size)])
                    if not n:
                        raise BadFileError(f"{self.path}: ends {left} bytes before the tensor at {self.offset} does")
                    left, size = left - n, size - n or _BLOCK
                    yield held[:n]
        except OSError as e:
            raise BadFileError(f"{self.path}: cannot be read: {e}") from e


def _bytes_of(path: str, offset: int, size: int) -> Array:
    """Bytes of a file, read-only: mapped, or read where they are few and a map would cost more. OSError or ValueError where the
    file has not as many."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        if size > _FEW or not hasattr(os, "pread"):
            start = offset - offset % mmap.ALLOCATIONGRANULARITY
            mapped = mmap.mmap(fd, size + offset - start, access=mmap.ACCESS_READ, offset=start)
            return np.frombuffer(mapped, np.uint8, size, offset - start)
        found = os.pread(fd, size, offset)
    finally:
        os.close(fd)
    if len(found) < size:
        raise ValueError(f"the file has {len(found)} there")
    return np.frombuffer(found, np.uint8)


class LazyTensor(Tensor):
    """Values produced by a function on every request; it must return the declared dtype and shape.

    ``file`` names the file the function reads: SourceChangedError when that is no longer what it was.
    """

    __slots__ = ("_read", "stamp")

    def __init__(self, read: Callable[[], Array], dtype: DType, shape: Sequence[int], *, file: str | Path = "") -> None:
        super().__init__(dtype, shape)
        self._read = read
        self.stamp = stamp_of(file) if file else None

    def numpy(self) -> Array:
        unchanged(self.stamp)
        a = self._read()
        unchanged(self.stamp)
        if a.shape != self.shape or DType.of(a.dtype) != self.dtype:
            raise BadFileError(f"declared {self.dtype}{list(self.shape)}, read {a.dtype}{list(a.shape)}")
        return a


class ViewTensor(Tensor):
    """A pending transpose, reshape, cast or function of another tensor."""

    __slots__ = ("arg", "base", "kind")

    def __init__(self, base: Tensor, kind: str, arg: Any, dtype: DType, shape: Sequence[int]) -> None:
        super().__init__(dtype, shape)
        self.base, self.kind, self.arg = base, kind, arg

    def transpose(self, perm: Sequence[int]) -> Tensor:
        if self.kind == "transpose" and sorted(perm) == list(range(self.ndim)):
            return self.base.transpose([self.arg[p] for p in perm])
        return super().transpose(perm)

    def reshape(self, shape: Sequence[int]) -> Tensor:
        return self.base.reshape(shape) if self.kind == "reshape" else super().reshape(shape)

    def write_to(self, file: BinaryIO) -> None:
        if self.kind == "reshape":  # the same elements in the same order: never a copy of them all
            self.base.write_to(file)
        else:
            super().write_to(file)

    def numpy(self) -> Array:
        a = self.base.numpy()
        if self.kind == "transpose":
            return np.transpose(a, self.arg)
        if self.kind == "reshape":
            return np.reshape(a, self.arg)
        if self.kind == "cast":
            cast: Array = a.astype(self.arg.numpy)
            return cast
        r: Array = np.asarray(self.arg(a))
        if r.shape != self.shape or DType.of(r.dtype) != self.dtype:
            raise ShapeError(f"view declared {self.dtype}{list(self.shape)} but made {r.dtype}{list(r.shape)}")
        return r


def as_tensor(x: Tensor | Array | Sequence[Any] | float | int | bool, dtype: DType | None = None) -> Tensor:
    """A Tensor of anything array-like; ``dtype`` casts."""
    if isinstance(x, Tensor):
        return x if dtype is None else x.cast(dtype)
    a = np.asarray(x, dtype=None if dtype is None else dtype.numpy)
    return ArrayTensor(a)


def moves_of(t: Tensor) -> tuple[Tensor, tuple[ViewTensor, ...]]:
    """The tensor that ``t`` is a view of, and the transposes and reshapes that make it of that one, the first one first; ``t``
    itself and none where more was done."""
    base, steps = t, []  # type: Tensor, list[ViewTensor]
    while isinstance(base, ViewTensor):
        if base.kind not in ("transpose", "reshape"):
            return t, ()
        steps.append(base)
        base = base.base
    return base, tuple(steps[::-1])


def uncast(t: Tensor) -> Tensor | None:
    """``t`` without the cast to half precision that is between it and its float32 tensor, moved alike; None where there is none,
    or more was done."""
    base, steps = t, []  # type: Tensor, list[ViewTensor]
    while isinstance(base, ViewTensor) and base.kind in ("transpose", "reshape"):
        steps.append(base)
        base = base.base
    if (
        not isinstance(base, ViewTensor)
        or base.kind != "cast"
        or base.base.dtype is not DType.FLOAT32
        or base.dtype.itemsize != 2
    ):
        return None
    wide = base.base
    for step in reversed(steps):
        wide = wide.transpose(step.arg) if step.kind == "transpose" else wide.reshape(step.arg)
    return wide

"""Where the bytes of tensors are, and tensors as strided views of them.

A :class:`Region` is a run of bytes of a file (or of memory); a :class:`Storage` is one torch storage in it; a
:class:`StoredTensor` is a view with offset and strides. Two tensors with one ``storage`` share memory, as they did in torch.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from convcore.plugin import BadFileError, MappedTensor, Tensor

from . import limits
from .elements import Element

__all__ = ["Region", "Slice", "Storage", "StoredTensor", "tensor"]


@dataclass(frozen=True)
class Region:
    """``size`` bytes from ``start`` of the file ``path``, or of ``data`` when it is given."""

    path: str
    start: int
    size: int
    data: bytes | None = None

    def read(self, at: int, n: int) -> bytes:
        """``n`` bytes from ``at``; BadFileError when the region ends before."""
        if at < 0 or n < 0 or at + n > self.size:
            raise BadFileError(f"{self.path}: truncated: {n} bytes at {at} are asked for, {self.size} are there")
        if self.data is not None:
            return self.data[self.start + at : self.start + at + n]
        try:
            with open(self.path, "rb") as file:
                file.seek(self.start + at)
                found = file.read(n)
        except OSError as e:
            raise BadFileError(f"{self.path}: cannot be read: {e.strerror or e}") from e
        if len(found) != n:
            raise BadFileError(f"{self.path}: truncated at byte {self.start + at + len(found)}")
        return found

    def part(self, at: int, n: int) -> Region:
        """A region in this one."""
        if at < 0 or n < 0 or at + n > self.size:
            raise BadFileError(f"{self.path}: truncated: {n} bytes at {at} are asked for, {self.size} are there")
        return Region(self.path, self.start + at, n, self.data)

    def array(self) -> NDArray[np.uint8]:
        """The bytes, mapped, read-only."""
        if self.size == 0:
            return np.zeros(0, np.uint8)
        if self.data is not None:
            return np.frombuffer(self.data, np.uint8, self.size, self.start)
        try:
            return np.asarray(np.memmap(self.path, np.uint8, "r", self.start, (self.size,)))
        except (OSError, ValueError) as e:
            raise BadFileError(f"{self.path}: cannot read {self.size} bytes at {self.start}: {e}") from e

    @staticmethod
    def of(path: str) -> Region:
        """The whole file; BadFileError when it cannot be read."""
        try:
            with open(path, "rb") as file:
                return Region(path, 0, file.seek(0, 2))
        except OSError as e:
            raise BadFileError(f"{path}: cannot be read: {e.strerror or e}") from e


class Storage:
    """The bytes of one torch storage. ``element`` is None for untyped ones; ``crc`` is checked when the values are first read."""

    __slots__ = ("big_endian", "crc", "element", "key", "nbytes", "region")

    def __init__(
        self,
        key: str,
        element: Element | None,
        nbytes: int,
        region: Region | None,
        *,
        big_endian: bool = False,
        crc: int = 0,
    ) -> None:
        self.key, self.element, self.nbytes, self.region = key, element, nbytes, region
        self.big_endian, self.crc = big_endian, crc  # crc 0: none was written (torch.serialization.set_crc32_options(False))

    def bytes(self) -> NDArray[np.uint8]:
        if self.region is None:
            raise BadFileError(f"storage {self.key!r} is named but not stored")
        found = self.region.array()
        if self.crc:
            crc = 0
            for start in range(0, len(found), 1 << 24):
                crc = zlib.crc32(found[start : start + (1 << 24)].data, crc)
            if crc != self.crc:
                raise BadFileError(f"{self.region.path}: storage {self.key!r} is damaged (its checksum differs)")
            self.crc = 0
        return found


@dataclass(frozen=True)
class Slice:
    """A storage that is a part of another one (legacy files): ``numel`` elements from ``offset``."""

    storage: Storage
    offset: int
    numel: int


class StoredTensor(Tensor):
    """A strided view of a storage, read when asked for. ``strides`` and ``offset`` count elements.

    ``element`` is the type in the file (``float8_e4m3fn`` is read as float32). ``parameter`` and ``requires_grad`` are the
    file's; ``conj`` and ``neg`` are torch's lazy bits, applied on reading.
    """

    __slots__ = ("conj", "element", "neg", "offset", "parameter", "requires_grad", "storage", "strides")

    def __init__(
        self,
        storage: Storage,
        element: Element,
        shape: Sequence[int],
        strides: Sequence[int],
        offset: int,
        *,
        parameter: bool = False,
        requires_grad: bool = False,
        conj: bool = False,
        neg: bool = False,
    ) -> None:
        super().__init__(element.dtype, shape)
        self.storage, self.element, self.strides, self.offset = storage, element, tuple(strides), offset
        self.parameter, self.requires_grad, self.conj, self.neg = parameter, requires_grad, conj, neg

    def with_facts(self, *, parameter: bool, requires_grad: bool) -> StoredTensor:
        """The same view as a parameter (or not)."""
        return StoredTensor(
            self.storage,
            self.element,
            self.shape,
            self.strides,
            self.offset,
            parameter=parameter,
            requires_grad=requires_grad,
            conj=self.conj,
            neg=self.neg,
        )

    @property
    def contiguous(self) -> bool:
        expected = 1
        for n, stride in zip(reversed(self.shape), reversed(self.strides)):
            if n != 1 and stride != expected:
                return False
            expected *= n
        return True

    @property
    def identity(self) -> tuple[Any, ...]:
        """Equal for two names of one tensor (tied parameters): the storage and the view of it."""
        return (id(self.storage), self.offset, self.shape, self.strides, self.element.name)

    def numpy(self) -> NDArray[Any]:
        element = self.element
        if self.size == 0:
            return np.zeros(self.shape, self.dtype.numpy)
        raw = self.storage.bytes()
        base = raw[self.offset * element.width :]
        base = base[: len(base) // element.width * element.width].view(element.raw)
        view = np.lib.stride_tricks.as_strided(base, self.shape, [s * element.width for s in self.strides], writeable=False)
        out = element.array(view, self.storage.big_endian)
        if self.conj:
            out = np.conj(out)
        return -out if self.neg else out

    def write_to(self, file: BinaryIO) -> None:
        region, element, storage = self.storage.region, self.element, self.storage
        plain = element.name == self.dtype.value and element.name != "bool" and not (self.conj or self.neg or storage.big_endian)
        if plain and self.contiguous and not storage.crc and region is not None and region.data is None and self.size:
            start = region.start + self.offset * element.width
            MappedTensor(region.path, start, self.dtype, self.shape).write_to(file)
        else:
            super().write_to(file)


def tensor(source: Storage | Slice, element: Element, shape: Any, strides: Any, offset: Any, **facts: bool) -> StoredTensor:
    """A view, checked: sizes are integers, the last element lies in the storage, no huge result from a small storage.

    Raises BadFileError.
    """
    if isinstance(source, Slice):
        storage, shift, room = source.storage, source.offset, source.numel
    else:
        storage, shift, room = source, 0, source.nbytes
    shape, strides = _sizes(shape, "shape"), _sizes(strides, "strides")
    if type(offset) is not int or not 0 <= offset < 1 << 62:
        raise BadFileError(f"a tensor's offset is {_short(offset)}")
    if len(shape) != len(strides) or len(shape) > limits.DIMS:
        raise BadFileError(f"a tensor has {len(shape)} sizes and {len(strides)} strides")
    have = min(room, storage.nbytes // element.width - shift)
    last = 0 if 0 in shape else 1 + offset + sum((n - 1) * s for n, s in zip(shape, strides))
    if last > have:
        raise BadFileError(f"a tensor of shape {list(shape)} reaches element {last} of storage {storage.key!r}, which has {have}")
    if math.prod(shape) * element.width > max(storage.nbytes, limits.WIDEN):
        raise BadFileError(f"a tensor of shape {list(shape)} is expanded from a storage of {storage.nbytes} bytes")
    return StoredTensor(storage, element, shape, strides, shift + offset, **facts)


def _sizes(value: Any, what: str) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list)) or not all(type(n) is int and 0 <= n < 1 << 62 for n in value):
        raise BadFileError(f"a tensor's {what} is not a list of sizes: {_short(value)}")
    return tuple(value)


def _short(value: Any) -> str:
    return repr(value)[:80] if isinstance(value, (int, float, str, type(None))) else type(value).__name__

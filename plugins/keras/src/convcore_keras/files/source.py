"""Bytes of a file, or of one uncompressed member of a zip, as a seekable stream that never leaves its window."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass

from convcore.plugin import BadFileError, watched

__all__ = ["ByteSource", "Window"]

_PAGE = 1 << 16


@dataclass(frozen=True)
class ByteSource:
    """``size`` bytes at ``start`` of the file ``path``, or ``data`` where they had to be decompressed."""

    path: str
    start: int
    size: int
    data: bytes | None = None
    member: str = ""

    @classmethod
    def of_file(cls, path: str) -> ByteSource:
        try:
            return cls(path, 0, os.path.getsize(path))
        except OSError as e:
            raise BadFileError(f"{path}: cannot be read: {e.strerror or e}") from e

    @property
    def whole_file(self) -> bool:
        return not self.member

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"{self.path} ({self.member})" if self.member else self.path

    def open(self) -> io.RawIOBase | io.BytesIO:
        return io.BytesIO(self.data) if self.data is not None else Window(self.path, self.start, self.size)


class Window(io.RawIOBase):
    """A read-only view of part of a file with a small page cache (HDF5 metadata reads are tiny and scattered)."""

    def __init__(self, path: str, start: int, size: int) -> None:
        self._file = open(watched(path), "rb", buffering=0)  # noqa: SIM115 - closed in close()
        self._start, self._size, self._pos = start, size, 0
        self._pages: dict[int, bytes] = {}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._pos

    def seek(self, offset: int, whence: int = 0) -> int:
        self._pos = max(0, offset + (0 if whence == 0 else self._pos if whence == 1 else self._size))
        return self._pos

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        want = max(0, min(len(view), self._size - self._pos))
        done = 0
        if want > _PAGE:
            self._file.seek(self._start + self._pos)
            done = self._file.readinto(view[:want]) or 0
        else:
            while done < want:
                page, skip = divmod(self._pos + done, _PAGE)
                part = self._page(page)[skip : skip + want - done]
                if not part:
                    break
                view[done : done + len(part)] = part
                done += len(part)
        self._pos += done
        return done

    def _page(self, page: int) -> bytes:
        data = self._pages.get(page)
        if data is None:
            if len(self._pages) >= 256:
                self._pages.clear()
            self._file.seek(self._start + page * _PAGE)
            data = self._pages[page] = self._file.read(min(_PAGE, max(0, self._size - page * _PAGE))) or b""
        return data

    def close(self) -> None:
        self._file.close()
        super().close()

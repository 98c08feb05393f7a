"""Tensors of files written to files, block by block."""

from __future__ import annotations

import errno
import gzip
import io
import mmap
import os
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcore.errors import BadFileError
from convcore.ir.dtypes import DType
from convcore.ir.tensors import ArrayTensor, MappedTensor

A = np.random.default_rng(0).integers(0, 1 << 30, (3, (1 << 18) + 41)).astype("i4")
BYTES = A.nbytes


def source(folder: Path) -> MappedTensor:
    path = folder / "source.bin"
    path.write_bytes(b"before!" + A.tobytes() + b"after")
    return MappedTensor(path, 7, DType.INT32, A.shape)


def written(t: MappedTensor, path: Path) -> bytes:
    """Behind what the file object still holds, and before what follows."""
    with open(path, "wb") as f:
        f.write(b"head")
        t.write_to(f)
        assert f.tell() == 4 + BYTES
        f.write(b"tail")
    data = path.read_bytes()
    assert data[:4] == b"head" and data[-4:] == b"tail"
    return data[4:-4]


def test_between_other_bytes_of_files(tmp_path: Path) -> None:
    assert written(source(tmp_path), tmp_path / "out.bin") == A.tobytes()


def test_in_blocks_of_the_same_memory(tmp_path: Path) -> None:
    t = source(tmp_path)  # at 7: not as in the target
    assert BYTES > 3 << 20
    tracemalloc.start()
    with open(tmp_path / "out.bin", "wb") as f:
        t.write_to(f)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (1 << 18) <= peak < (1 << 18) + 100_000
    assert (tmp_path / "out.bin").read_bytes() == A.tobytes()


def test_into_memory(tmp_path: Path) -> None:
    out = io.BytesIO()
    source(tmp_path).write_to(out)
    assert out.getvalue() == A.tobytes()


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() > 1 << 19:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    with pytest.raises(OSError, match="No space left"):
        source(tmp_path).write_to(Full())


def test_a_file_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.bin"
    path.write_bytes(A.tobytes()[:-5])
    t = MappedTensor(path, 0, DType.INT32, A.shape)
    with pytest.raises(BadFileError, match="ends 5 bytes before"), open(tmp_path / "out.bin", "wb") as f:
        t.write_to(f)


class Blocks(io.BytesIO):
    """Notes where each write began."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[int] = []

    def write(self, data: Any) -> int:
        self.begun.append(self.tell())
        return super().write(data)


@pytest.mark.parametrize("mapped", [True, False])
def test_blocks_begin_at_multiples_of_a_block(tmp_path: Path, mapped: bool) -> None:
    out = Blocks()
    out.write(b"head")
    (source(tmp_path) if mapped else ArrayTensor(A)).write_to(out)
    assert out.begun[:2] == [0, 4]
    assert len(out.begun) > 10
    assert [at % (1 << 18) for at in out.begun[2:]] == [0] * (len(out.begun) - 2)
    assert out.getvalue() == b"head" + A.tobytes()


@pytest.mark.parametrize("mapped", [True, False])
def test_a_sink_that_does_not_tell_its_place(tmp_path: Path, mapped: bool) -> None:
    class Sink:
        parts: list[bytes] = []

        def write(self, data: Any) -> int:
            self.parts.append(bytes(data))
            return len(data)

    sink = Sink()
    (source(tmp_path) if mapped else ArrayTensor(A)).write_to(sink)  # type: ignore[arg-type]
    assert b"".join(sink.parts) == A.tobytes()


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the system was asked to copy by itself, in bytes that it did."""
    if not hasattr(os, "copy_file_range"):
        pytest.skip("no copy_file_range")
    told: list[int] = []
    real = os.copy_file_range

    def noted(*given: Any) -> int:
        told.append(real(*given))
        return told[-1]

    monkeypatch.setattr(os, "copy_file_range", noted)
    return told


def alike(folder: Path) -> MappedTensor:
    path = folder / "alike.bin"
    path.write_bytes(bytes(mmap.PAGESIZE + 4) + A.tobytes() + b"after")
    return MappedTensor(path, mmap.PAGESIZE + 4, DType.INT32, A.shape)


def test_the_system_copies_what_lies_alike(tmp_path: Path, copied: list[int]) -> None:
    assert written(alike(tmp_path), tmp_path / "out.bin") == A.tobytes()
    assert sum(copied) == BYTES


def test_what_lies_otherwise_is_few_or_goes_into_no_plain_file_is_copied_in_blocks(tmp_path: Path, copied: list[int]) -> None:
    assert written(source(tmp_path), tmp_path / "out.bin") == A.tobytes()
    few = MappedTensor(alike(tmp_path).path, 4, DType.INT32, (999,))
    with open(tmp_path / "few.bin", "wb") as f:
        f.write(b"head")
        few.write_to(f)
    assert (tmp_path / "few.bin").read_bytes()[4:] == few.numpy().tobytes()
    with gzip.open(tmp_path / "out.gz", "wb") as f:
        f.write(b"head")
        alike(tmp_path).write_to(f)  # type: ignore[arg-type]
    assert gzip.decompress((tmp_path / "out.gz").read_bytes()) == b"head" + A.tobytes()
    assert not copied


@pytest.mark.parametrize("after", [0, 1 << 20])
def test_what_the_system_leaves_is_copied_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    def some(src: int, dst: int, count: int, at: int, to: int) -> int:
        if at > mmap.PAGESIZE + 4 or not after:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return os.pwrite(dst, os.pread(src, after, at), to)

    monkeypatch.setattr(os, "copy_file_range", some, raising=False)
    assert written(alike(tmp_path), tmp_path / "out.bin") == A.tobytes()


def test_a_file_that_ends_too_early_is_refused_however_it_is_copied(tmp_path: Path, copied: list[int]) -> None:
    path = tmp_path / "short.bin"
    path.write_bytes(A.tobytes()[:-5])
    t = MappedTensor(path, 0, DType.INT32, A.shape)
    with pytest.raises(BadFileError, match="ends 5 bytes before"), open(tmp_path / "out.bin", "wb") as f:
        t.write_to(f)
    assert sum(copied) == BYTES - 5


def test_into_a_pipe(tmp_path: Path) -> None:
    """It does not tell where it stands."""
    t, (read, write), got = source(tmp_path), os.pipe(), list[bytes]()
    with open(read, "rb") as r:
        reader = threading.Thread(target=lambda: got.append(r.read()))
        reader.start()
        with open(write, "wb") as f:
            t.write_to(f)
        reader.join()
    assert got == [t.numpy().tobytes()]

"""Tensors of files written to files, block by block."""

from __future__ import annotations

import errno
import io
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
    t = source(tmp_path)
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

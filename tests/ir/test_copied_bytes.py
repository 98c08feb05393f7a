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
from convcore.ir.tensors import MappedTensor

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

"""Tensors of files written to files: the system copies the bytes where it can."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcore.errors import BadFileError
from convcore.ir.dtypes import DType
from convcore.ir.tensors import MappedTensor

A = np.random.default_rng(0).integers(0, 1 << 30, (3, 1 << 18)).astype("i4")
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


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="this system has no copy_file_range")
def test_the_system_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    t, copied, own = source(tmp_path), [], os.copy_file_range
    monkeypatch.setattr(os, "copy_file_range", lambda *a: copied.append(own(*a)) or copied[-1])
    assert written(t, tmp_path / "out.bin") == A.tobytes()
    assert sum(copied) in (0, BYTES)  # 0: a file system that cannot


def test_into_memory(tmp_path: Path) -> None:
    out = io.BytesIO()
    source(tmp_path).write_to(out)
    assert out.getvalue() == A.tobytes()


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("code", [errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP])
def test_what_is_not_copied_is_read_and_written(after: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the start, or from where the system stopped."""
    calls: list[int] = []

    def copy(src: int, dst: int, count: int, at: int, to: int) -> int:
        if len(calls) == after:
            raise OSError(code, "not between these")
        calls.append(os.pwrite(dst, os.pread(src, min(count, 100_001), at), to))
        return calls[-1]

    monkeypatch.setattr(os, "copy_file_range", copy, raising=False)
    assert written(source(tmp_path), tmp_path / "out.bin") == A.tobytes()
    assert len(calls) == after


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copy(*a: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "copy_file_range", copy, raising=False)
    with pytest.raises(OSError, match="No space left"), open(tmp_path / "out.bin", "wb") as f:
        source(tmp_path).write_to(f)


def test_a_file_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.bin"
    path.write_bytes(A.tobytes()[:-5])
    t = MappedTensor(path, 0, DType.INT32, A.shape)
    with pytest.raises(BadFileError, match="ends 5 bytes before"), open(tmp_path / "out.bin", "wb") as f:
        t.write_to(f)

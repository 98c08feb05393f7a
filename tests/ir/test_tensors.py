"""Weights in files: what is read of them, and how little of them is in memory while they are written."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from convcore import BadFileError
from convcore.ir.dtypes import DType
from convcore.ir.tensors import MappedTensor


class _Sink(io.RawIOBase):
    """Counts what is written."""

    size = 0

    def write(self, data: object) -> int:
        n = memoryview(data).nbytes  # type: ignore[arg-type]
        self.size += n
        return n


def _file(path: Path, *shape: int) -> tuple[MappedTensor, np.ndarray]:
    a = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    path.write_bytes(b"head" + a.tobytes())
    return MappedTensor(path, 4, DType.FLOAT32, shape), a


def test_a_kernel_behind_a_flatten_is_turned_while_it_is_written(tmp_path: Path) -> None:
    """Its rows go from height, width, channels to channels, height, width: in blocks, never a copy of it all."""
    t, a = _file(tmp_path / "w", 7 * 11 * 64, 1009)
    view = t.transpose((1, 0)).reshape((1009, 77, 64)).transpose((0, 2, 1)).reshape((1009, 77 * 64))
    want = a.reshape(77, 64, 1009).transpose(2, 1, 0).reshape(1009, -1)
    out = io.BytesIO()
    view.write_to(out)
    assert out.getvalue() == want.tobytes() and np.array_equal(view.numpy(), want)
    sink = _Sink()
    tracemalloc.start()
    try:
        view.write_to(sink)  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sink.size == t.nbytes and peak < t.nbytes / 2, (peak, t.nbytes)


@pytest.mark.parametrize("n", [13, 1 << 17])  # read, and mapped
def test_a_file_that_ends_inside_a_tensor(tmp_path: Path, n: int) -> None:
    t, a = _file(tmp_path / "w", n)
    assert np.array_equal(t.numpy(), a) and not t.numpy().flags.writeable
    beyond = MappedTensor(tmp_path / "w", 8, DType.FLOAT32, (n,))
    with pytest.raises(BadFileError, match=f"cannot read {4 * n} bytes at offset 8"):
        beyond.numpy()

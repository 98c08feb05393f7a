"""The table of element types, column by column, beside torch's own tables and those of safetensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convcore.plugin import BadFileError, DType
from convcore_pytorch.files.elements import BY_CODE, BY_EXPORT, BY_NAME, BY_SAFETENSORS, BY_STORAGE, element

torch = pytest.importorskip("torch")


def name_of(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


@torch.jit.script
def code_of(x: torch.Tensor) -> int:
    return x.dtype


@pytest.mark.filterwarnings("ignore")
def test_every_column_is_theirs() -> None:
    for name, e in BY_NAME.items():
        made = torch.empty(3, dtype=getattr(torch, name))
        assert (e.name, e.width) == (name, made.element_size()) and np.dtype(e.raw).itemsize == e.width, name
        assert BY_CODE[code_of(made)] is e, name
    from torch._export.serde.serialize import _TORCH_TO_SERIALIZE_DTYPE

    assert {int(v): name_of(k) for k, v in _TORCH_TO_SERIALIZE_DTYPE.items()} == {k: e.name for k, e in BY_EXPORT.items()}
    own = torch.storage._dtype_to_storage_type_map()
    assert {v: name_of(k) for k, v in own.items() if name_of(k) in BY_NAME} == {k: e.name for k, e in BY_STORAGE.items()}
    types = pytest.importorskip("safetensors.torch")._TYPES
    assert {k: name_of(v) for k, v in types.items() if name_of(v) in BY_NAME}.items() <= {
        k: e.name for k, e in BY_SAFETENSORS.items()
    }.items()
    assert len(BY_CODE) == len(BY_EXPORT) == len(BY_NAME) == 21
    with pytest.raises(BadFileError, match=r"element type torch\.qint8 is not read"):
        element("qint8")


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.filterwarnings("ignore")
def test_every_bit_pattern_means_what_torch_says(name: str) -> None:
    """All of one byte, and a spread of the wider ones, in both orders of bytes."""
    e, dtype = BY_NAME[name], getattr(torch, name)
    count = 256 if e.width == 1 else 64
    raw = np.random.default_rng(len(name)).integers(0, 256, count * e.width, dtype=np.uint8)
    if e.width == 1:
        raw = np.arange(256, dtype=np.uint8) if name != "bool" else np.arange(256, dtype=np.uint8) % 2
    want = torch.from_numpy(raw.copy()).view(dtype)
    wide = torch.complex128 if want.is_complex() else torch.float64 if want.is_floating_point() else None
    numbers = (
        want.to(torch.complex64).to(wide).numpy() if name == "complex32" else want.to(wide).numpy() if wide else want.numpy()
    )
    parts = 2 if want.is_complex() else 1
    for big in (False, True):
        held = raw.reshape(-1, e.width // parts)[:, ::-1].reshape(-1) if big else raw
        got = e.array(np.ascontiguousarray(held).view(e.raw), big)
        assert DType.of(got.dtype) is e.dtype
        np.testing.assert_array_equal(got.astype(numbers.dtype), numbers)

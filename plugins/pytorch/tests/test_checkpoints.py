"""Checkpoints of every container, against torch's own reading of the same file."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from convcore.plugin import BadFileError, UnsupportedError, UsageError
from convcore_pytorch.files.checkpoint import read_checkpoint
from convcore_pytorch.files.identify import kind_of

from .kit import same, without_torch

FORMS = [(zipped, protocol) for zipped in (True, False) for protocol in (2, 4, 5)]


def save(value: Any, path: Path, form: tuple[bool, int] = (True, 2)) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=form[0], pickle_protocol=form[1])
    return path


def odd_tensors() -> dict[str, torch.Tensor]:
    base = torch.arange(2 * 3 * 5 * 7, dtype=torch.float32).reshape(2, 3, 5, 7)
    out = {
        "base": base,
        "transposed": base.permute(3, 1, 0, 2),
        "stepped": base[:, 1:, ::2, 3],
        "expanded": torch.tensor([3.0]).expand(5, 3),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(7),
        "conjugate": torch.complex(torch.randn(5), torch.randn(5)).conj(),
        "negative": torch.complex(torch.randn(5), torch.randn(5)).conj().imag,
        "bool": torch.tensor([True, False, True]),
        "parameter": torch.nn.Parameter(torch.randn(3, 2), requires_grad=False),
    }
    for name in [
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
        "float16",
        "bfloat16",
        "float64",
        "complex32",
        "complex64",
        "complex128",
    ]:
        out[name] = (torch.randn(11) * 50).abs().to(getattr(torch, name))
    return out


def wide_types() -> dict[str, torch.Tensor]:
    """Types without a storage class of their own: every bit pattern of the float8s."""
    out = {name: torch.arange(5).to(getattr(torch, name)) for name in ("uint16", "uint32", "uint64")}
    for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"):
        out[name] = torch.arange(256, dtype=torch.uint8).view(getattr(torch, name))
    return out


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_type_and_view(form, tmp_path):
    values = {**odd_tensors(), **wide_types()}
    found = read_checkpoint(save(values, tmp_path / "a.pt", form))
    assert list(found.tensors) == list(values)
    for name, value in values.items():
        same(found.tensors[name], value)


def test_sharing_and_parameters_survive(tmp_path):
    base = torch.randn(6, 5)
    value = {"a": base, "b": base, "view": base[2:4].t(), "other": base.clone(), "p": torch.nn.Parameter(base)}
    for form in FORMS:
        t = read_checkpoint(save(value, tmp_path / "a.pt", form)).tensors
        assert t["a"].identity == t["b"].identity and t["a"].storage is t["view"].storage
        assert t["a"].storage is not t["other"].storage
        assert (t["p"].parameter, t["p"].requires_grad) == (True, True) and not t["a"].parameter
        assert t["view"].strides == (1, 5) and t["view"].offset == 10


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_training_checkpoint(form, tmp_path):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.BatchNorm2d(5), torch.nn.Flatten(), torch.nn.Linear(5, 2))
    step = torch.optim.Adam(model.parameters())
    model(torch.randn(2, 3, 3, 3)).sum().backward()
    step.step()
    value = {
        "epoch": 7,
        "state_dict": model.state_dict(),
        "optimizer": step.state_dict(),
        "best": np.float64(0.5),
        "at": Path("x"),
    }
    found = read_checkpoint(save(value, tmp_path / "a.pth", form))
    assert found.entry == ("state_dict",) and found.metadata["epoch"] == 7 and found.metadata["best"] == 0.5
    assert list(found.tensors) == list(model.state_dict())
    for name, tensor in model.state_dict().items():
        same(found.tensors[name], tensor)


def test_big_endian(tmp_path):
    values = {
        k: v for k, v in odd_tensors().items() if k in ("base", "int16", "float16", "bfloat16", "complex64", "complex32", "bool")
    }
    torch.save(values, tmp_path / "little.pt")
    with zipfile.ZipFile(tmp_path / "little.pt") as z, zipfile.ZipFile(tmp_path / "big.pt", "w") as out:
        names = sorted(n for n in z.namelist() if "/data/" in n)
        widths = dict(zip(names, [values[k].element_size() // (2 if values[k].is_complex() else 1) for k in values]))
        assert len(names) == len(values)
        for n in z.namelist():
            raw = z.read(n)
            if n in widths:
                raw = np.frombuffer(raw, f"u{widths[n]}").byteswap().tobytes()
            out.writestr(n, b"big" if n.endswith("byteorder") else raw)
    found = read_checkpoint(tmp_path / "big.pt")
    for name, value in values.items():
        same(found.tensors[name], value)
        with open(tmp_path / "bytes", "wb") as f:
            found.tensors[name].write_to(f)
        same_bytes = read_checkpoint(tmp_path / "little.pt").tensors[name].numpy()
        assert (tmp_path / "bytes").read_bytes() == np.ascontiguousarray(same_bytes).tobytes()


class Whole(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5))
        self.again = self.block[0]
        self.register_buffer("kept", torch.arange(4.0))
        self.register_buffer("lost", torch.arange(2.0), persistent=False)
        self.activation = torch.nn.functional.relu


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_pickled_module_is_read_and_not_made(zipped, tmp_path):
    model = Whole()
    found = read_checkpoint(save(model, tmp_path / "a.pt", (zipped, 2)))
    assert list(found.tensors) == list(model.state_dict())
    for name, tensor in model.state_dict().items():
        same(found.tensors[name], tensor)
    assert found.modules["block.1"] == "torch.nn.modules.batchnorm.BatchNorm1d" and found.modules[""].endswith(".Whole")
    assert found.tensors["again.weight"].identity == found.tensors["block.0.weight"].identity


def test_wrappers_and_prefixes(tmp_path):
    weights = OrderedDict((f"module._orig_mod.{k}", torch.randn(2)) for k in "ab")
    for value, entry in (
        (weights, ()),
        ({"model": weights, "epoch": torch.tensor(3), "optimizer": {"state": {0: {"m": torch.ones(3)}}}}, ("model",)),
        ([weights, None], ("0",)),
        ({"net": {"params": weights}, "args": {"lr": 0.1}}, ("net", "params")),
    ):
        found = read_checkpoint(save(value, tmp_path / "a.pt"))
        assert found.entry == entry and found.prefix == "module._orig_mod." and list(found.tensors) == ["a", "b"]
    mixed = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert list(read_checkpoint(save(mixed, tmp_path / "a.pt")).tensors) == ["module.a", "b"]


def test_an_ambiguity_names_the_choices(tmp_path):
    path = save({"model": {"a": torch.ones(2)}, "ema": {"a": torch.zeros(2)}, "epoch": 1}, tmp_path / "a.pt")
    with pytest.raises(UsageError, match="2 state dicts: model, ema"):
        read_checkpoint(path)
    assert read_checkpoint(path, entry="ema").tensors["a"].numpy().tolist() == [0, 0]
    with pytest.raises(UsageError, match="no entry 'mode'; there are: model, ema"):
        read_checkpoint(path, entry="mode")
    with pytest.raises(BadFileError, match="no mapping of names to tensors"):
        read_checkpoint(save({"epoch": 3}, tmp_path / "b.pt"))


def test_extra_entries_are_kept(tmp_path):
    found = read_checkpoint(
        save({"a": torch.ones(2), "_extra_state": {"x": 1}, "n": np.arange(6.0).reshape(2, 3)}, tmp_path / "a.pt")
    )
    assert found.extra == {"_extra_state": {"x": 1}} and found.tensors["n"].numpy().tolist() == [[0, 1, 2], [3, 4, 5]]


def test_safetensors(tmp_path):
    names = "uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 bool uint16 uint32 uint64"
    values = {n: (torch.randn(3, 5) * 20).abs().to(getattr(torch, n)) for n in names.split()}
    values |= {n: torch.arange(256, dtype=torch.uint8).view(getattr(torch, n)) for n in ("float8_e4m3fn", "float8_e5m2")}
    save_file(values, tmp_path / "a.safetensors", {"format": "pt"})
    found = read_checkpoint(tmp_path / "a.safetensors")
    assert found.metadata == {"format": "pt"} and set(found.tensors) == set(values)
    for name, value in values.items():
        same(found.tensors[name], value)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards(suffix, tmp_path):
    values = [{"a": torch.randn(3), "b.c": torch.randn(2, 2)}, {"d": torch.randn(5)}]
    where = {}
    for i, shard in enumerate(values):
        file = f"model-{i}.{suffix}"
        (save_file if suffix == "safetensors" else torch.save)(shard, tmp_path / file)
        where |= dict.fromkeys(shard, file)
    index = tmp_path / f"model.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 48}, "weight_map": where}))
    found = read_checkpoint(index)
    assert list(found.tensors) == ["a", "b.c", "d"] and found.metadata == {"total_size": 48}
    for shard in values:
        for name, value in shard.items():
            same(found.tensors[name], value)
    for bad, why in (({**where, "a": "../x"}, "no plain file name"), ({**where, "e": where["a"]}, "not in its shard")):
        index.write_text(json.dumps({"weight_map": bad}))
        with pytest.raises(BadFileError, match=why):
            read_checkpoint(index)
    index.write_text(json.dumps({"weight_map": {k: v for k, v in where.items() if k != "a"}}))
    with pytest.raises(BadFileError, match="the index does not name, first 'a'"):
        read_checkpoint(index)


def test_tensors_without_a_counterpart_are_refused_by_name(tmp_path):
    quantised = torch.quantize_per_tensor(torch.randn(3), 0.1, 0, torch.qint8)
    for value, why in (
        (torch.eye(3).to_sparse(), "sparse"),
        (torch.ones(2, device="meta"), "meta device"),
        (quantised, "QInt8Storage|quantised"),
        (torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "nested"),
    ):
        with pytest.raises((UnsupportedError, BadFileError), match=why):
            read_checkpoint(save({"a": value}, tmp_path / "a.pt"))


def test_no_checksum_and_a_wrong_one(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        value = {"a": torch.arange(5.0)}
        same(read_checkpoint(save(value, tmp_path / "a.pt")).tensors["a"], value["a"])
    finally:
        torch.serialization.set_crc32_options(True)
    raw = bytearray(save(value, tmp_path / "b.pt").read_bytes())
    at = raw.find(value["a"].numpy().tobytes())
    raw[at] ^= 1
    (tmp_path / "b.pt").write_bytes(raw)
    with pytest.raises(BadFileError, match="checksum"):
        read_checkpoint(tmp_path / "b.pt").tensors["a"].numpy()


def test_identify(tmp_path):
    model = torch.nn.Linear(3, 2)
    save(model.state_dict(), tmp_path / "zip")
    save(model.state_dict(), tmp_path / "legacy", (False, 2))
    save_file(model.state_dict(), tmp_path / "safetensors")
    torch.jit.script(model).save(tmp_path / "torchscript")
    torch.export.save(torch.export.export(model, (torch.ones(1, 3),), strict=False), tmp_path / "x.pt2")
    (tmp_path / "text").write_text("no model")
    shutil.make_archive(str(tmp_path / "plain"), "zip", tmp_path, "text")
    (tmp_path / "empty").write_bytes(b"")
    kinds = {"zip": "checkpoint", "legacy": "legacy", "safetensors": "safetensors", "torchscript": "torchscript", "x.pt2": "pt2"}
    for name, kind in kinds.items():
        found = kind_of(tmp_path / name)
        assert found is not None and found.name == kind
    for name in ("text", "plain.zip", "empty"):
        assert kind_of(tmp_path / name) is None
        with pytest.raises(BadFileError, match="no PyTorch checkpoint"):
            read_checkpoint(tmp_path / name)


def test_the_tar_form_is_refused_by_name(tmp_path):
    import io
    import tarfile

    with tarfile.open(tmp_path / "old.pth", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    with pytest.raises(UnsupportedError, match="tar form of torch"):
        read_checkpoint(tmp_path / "old.pth")


def test_without_torch_installed(tmp_path):
    weights = {"a": torch.arange(6.0).reshape(2, 3).t(), "b": torch.ones(2, dtype=torch.bfloat16)}
    paths = [str(save(weights, tmp_path / f"{i}.pt", form)) for i, form in enumerate(FORMS)]
    out = without_torch(
        """
        from convcore_pytorch.files.checkpoint import read_checkpoint
        for path in sys.argv[1:]:
            found = read_checkpoint(path).tensors
            print(found["a"].numpy().tolist(), float(found["b"].numpy().sum()))
        assert "torch" not in sys.modules
        """,
        *paths,
    )
    assert out.splitlines() == ["[[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] 2.0"] * len(paths)

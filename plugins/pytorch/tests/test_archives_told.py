"""What is wrong with an archive, a stream or an exported program is told: each is made from a sound one by one change."""

from __future__ import annotations

import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from convcore.errors import BadFileError, ConvcoreError, UnsupportedError, UsageError
from convcore_pytorch.files.checkpoint import read_checkpoint
from convcore_pytorch.files.exported import read_exported

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class _Saved:
    """Stands for a storage: pickled by a persistent id."""

    def __init__(self, *pid: Any) -> None:
        self.pid = pid


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        return value.pid if isinstance(value, _Saved) else None


class _View:
    """A tensor of a storage, as torch pickles it."""

    def __init__(self, storage: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.args = (storage, offset, shape, strides, False, {})

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_tensor_v2, self.args


def pickled(value: Any) -> bytes:
    out = io.BytesIO()
    _Pickler(out, 2).dump(value)
    return out.getvalue()


def pid(key: Any = "0", numel: Any = 6, *view: Any, kind: Any = None) -> _Saved:
    return _Saved("storage", torch.FloatStorage if kind is None else kind, key, "cpu", numel, *view)


def state(*storages: Any) -> dict[str, Any]:
    return {f"w{i}": _View(s, 0, (2, 3), (3, 1)) for i, s in enumerate(storages or (pid("0", 6, None),))}


def stream(
    root: Any = None, magic: Any = MAGIC, protocol: Any = PROTOCOL, keys: Any = ("0",), numel: int = 6, data: bytes = bytes(24)
) -> bytes:
    """A file as torch saved it before 1.6."""
    parts = [pickled(v) for v in (magic, protocol, {"little_endian": True})]
    parts += [pickled(state() if root is None else root), pickled(list(keys) if isinstance(keys, tuple) else keys)]
    return b"".join(parts) + struct.pack("<q", numel) + data


def test_a_sound_stream(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32)
    (tmp_path / "a.pth").write_bytes(stream(data=values.tobytes()))
    (found,) = read_checkpoint(tmp_path / "a.pth").tensors.values()
    np.testing.assert_array_equal(found.numpy(), values.reshape(2, 3))
    part = _View(pid("0", 6, ("1", 2, 4)), 0, (2, 2), (2, 1))
    (tmp_path / "b.pth").write_bytes(stream({"w": part}, data=values.tobytes()))
    (found,) = read_checkpoint(tmp_path / "b.pth").tensors.values()
    np.testing.assert_array_equal(found.numpy(), values[2:].reshape(2, 2))


STREAMS: dict[str, tuple[bytes, str]] = {
    "protocol": (stream(protocol=1000), "torch's stream protocol 1000 is unknown; 1001 is read"),
    "keys": (stream(keys=3), "the list of storages is no list of names"),
    "number as a key": (stream(keys=[0]), "the list of storages is no list of names"),
    "key twice": (stream(keys=["0", "0"]), "the list of storages is no list of names"),
    "unused": (stream(keys=("7",)), "storage '7' is stored but never used"),
    "not stored": (stream(keys=()), "1 storages are used but not stored, first '0'"),
    "count": (stream(numel=5), "storage '0' has 5 elements, its description says 6"),
    "negative count": (stream(numel=-6), "storage '0' has -6 elements, its description says 6"),
    "cut": (stream(data=bytes(23)), "truncated"),
    "two sizes": (stream(state(pid("0", 6, None), pid("0", 7, None))), "storage '0' is used with two types or sizes"),
    "two types": (
        stream(state(pid("0", 6, None), pid("0", 6, None, kind=torch.IntStorage))), "storage '0' is used with two types or sizes"
    ),
    "key that is a number": (stream(state(pid(0, 6, None))), "a storage without a key or size"),
    "size that is a text": (stream(state(pid("0", "6", None))), "a storage without a key or size"),
    "negative size": (stream(state(pid("0", -1, None))), "a storage without a key or size"),
    "size that is true": (stream(state(pid("0", True, None))), "a storage without a key or size"),
    "huge size": (stream(state(pid("0", 1 << 50, None))), "a storage without a key or size"),
    "view beyond": (stream(state(pid("0", 6, ("1", 0, 7)))), "a storage view that torch does not write"),
    "view before": (stream(state(pid("0", 6, ("1", -1, 3)))), "a storage view that torch does not write"),
    "view of two": (stream(state(pid("0", 6, ("1", 2)))), "a storage view that torch does not write"),
    "short id": (stream(state(_Saved("storage", torch.FloatStorage, "0", "cpu"))), "a persistent id that torch does not write"),
    "long id": (stream(state(pid("0", 6, None, None))), "a persistent id that torch does not write"),
    "other id": (
        stream(state(_Saved("thing", torch.FloatStorage, "0", "cpu", 6, None))), "a persistent id that torch does not write"
    ),
    "id without a class": (
        stream(state(_Saved("storage", "FloatStorage", "0", "cpu", 6, None))), "a persistent id that torch does not write"
    ),
    "another object first": (
        b"\x80\x02K\x01." + pickled(MAGIC), "a pickle, but no torch checkpoint (its first object is not torch's magic number)"
    ),
    "id in the head": (
        pickled(MAGIC) + pickled(PROTOCOL) + pickled(_Saved("storage", torch.FloatStorage, "0", "cpu", 6, None)),
        "a persistent id where none belongs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", STREAMS)
def test_streams_that_are_refused(what: str, tmp_path: Path) -> None:
    raw, why = STREAMS[what]
    (tmp_path / "a.pth").write_bytes(raw)
    with pytest.raises(BadFileError) as e:
        read_checkpoint(tmp_path / "a.pth")
    assert why in str(e.value) and str(tmp_path / "a.pth") in str(e.value)


# ---- zip archives
def zipped(path: Path, members: dict[str, bytes], packed: tuple[str, ...] = ()) -> Path:
    with zipfile.ZipFile(path, "w") as z:
        for name, data in members.items():
            z.writestr(name, data, zipfile.ZIP_DEFLATED if name in packed else zipfile.ZIP_STORED)
    return path


def checkpoint(**more: Any) -> dict[str, bytes]:
    members = {
        "a/data.pkl": pickled(state(pid("0", 6))),
        "a/data/0": np.arange(6, dtype=np.float32).tobytes(),
        "a/version": b"3\n",
    }
    return {k: v for k, v in {**members, **more}.items() if v is not None}


def test_sound_archives(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    for name, more in (
        ("a", {}),
        ("b", {"a/byteorder": b"little"}),
        ("c", {"a/byteorder": b" big\n", "a/data/0": values.astype(">f4").tobytes()}),
    ):
        (found,) = read_checkpoint(zipped(tmp_path / name, checkpoint(**more))).tensors.values()
        np.testing.assert_array_equal(found.numpy(), values)


ZIPS: dict[str, tuple[dict[str, Any], str]] = {
    "byte order": ({"a/byteorder": b"middle"}, "byte order b'middle' is unknown"),
    "no storage": ({"a/data/0": None}, "storage '0' is missing from the archive"),
    "short storage": ({"a/data/0": bytes(20)}, "storage '0' has 20 bytes, its description says 24"),
    "two checkpoints": ({"b/data.pkl": pickled(state())}, "two checkpoints in one archive"),
    "old script": ({"a/data.pkl": None, "a/tensors.json": b"{}", "a/model.json": b"{}"}, "of torch 1.1 or older is not read"),
}  # fmt: skip


@pytest.mark.parametrize("what", ZIPS)
def test_archives_that_are_refused(what: str, tmp_path: Path) -> None:
    more, why = ZIPS[what]
    with pytest.raises(BadFileError) as e:
        read_checkpoint(zipped(tmp_path / "a.pth", checkpoint(**more)))
    assert why in str(e.value)


def test_a_packed_storage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="a/data/0 is compressed; torch stores it plain"):
        read_checkpoint(zipped(tmp_path / "a.pth", checkpoint(), packed=("a/data/0",)))
    assert len(read_checkpoint(zipped(tmp_path / "b.pth", checkpoint(), packed=("a/data.pkl",))).tensors) == 1


def _changed(raw: bytes, at: int, form: str, value: Any) -> bytes:
    return raw[:at] + struct.pack(form, value) + raw[at + struct.calcsize(form) :]


def test_directories_that_lie(tmp_path: Path) -> None:
    raw = zipped(tmp_path / "a.pth", checkpoint()).read_bytes()
    end, first = raw.rindex(b"PK\5\6"), raw.index(b"PK\1\2")
    second = raw.index(b"PK\1\2", first + 4)
    for changed, why in (
        (raw[:end], "is truncated: its directory is missing"), (_changed(raw, end + 4, "<H", 1), "spans several disks"),
        (_changed(raw, end + 6, "<H", 1), "spans several disks"), (_changed(raw, end + 8, "<H", 2), "spans several disks"),
        (_changed(raw, first + 8, "<H", 1), "encrypted, or compressed by a method"),
        (_changed(raw, first + 10, "<H", 12), "encrypted, or compressed by a method"),
        (_changed(raw, first + 24, "<I", 9), "encrypted, or compressed by a method"),
        (_changed(raw, first, "<I", 7), "the zip archive's directory is damaged"),
        (_changed(raw, first + 46, "<B", 0xFF), "a member's name is not UTF-8"),
        (_changed(raw, second + 42, "<I", 0), "overlaps another member"),
        (_changed(raw, 26, "<H", 3), "the directory and the member's own header disagree"),
        (_changed(raw, 8, "<H", 8), "the directory and the member's own header disagree"),
        (_changed(raw, 6, "<H", 1), "the directory and the member's own header disagree"),
    ):  # fmt: skip
        (tmp_path / "b.pth").write_bytes(changed)
        with pytest.raises(BadFileError) as e:
            read_checkpoint(tmp_path / "b.pth")
        assert why in str(e.value), why
    at = raw.index(np.arange(6, dtype=np.float32).tobytes())
    (tmp_path / "c.pth").write_bytes(_changed(raw, at, "<f", 9.0))
    with pytest.raises(BadFileError, match=r"'0' is damaged \(its checksum differs\)"):
        next(iter(read_checkpoint(tmp_path / "c.pth").tensors.values())).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(tmp_path / "d.pth", "w") as z:
            for name, data in [*checkpoint().items(), ("a/version", b"3\n")]:
                z.writestr(name, data)
    with pytest.raises(BadFileError, match="two members are named a/version"):
        read_checkpoint(tmp_path / "d.pth")


def test_indices_and_their_shards(tmp_path: Path) -> None:
    zipped(tmp_path / "one.bin", checkpoint())
    (tmp_path / "note.txt").write_text("abc" * 9)
    for table, why in (
        ({"w0": "../one.bin"}, "shard '../one.bin' is no plain file name"), ({"w0": 3}, "shard '3' is no plain file name"),
        ({"w0": ".."}, "is no plain file name"), ({"w0": ""}, "is no plain file name"),
        ({"w9": "one.bin"}, "'w9' is not in its shard one.bin"), ({"w0": "note.txt"}, "a shard is due, this is no torch file"),
        ({}, ""),
    ):  # fmt: skip
        (tmp_path / "m.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}))
        if not why:
            assert not read_checkpoint(tmp_path / "m.index.json").tensors
            continue
        with pytest.raises(BadFileError) as e:
            read_checkpoint(tmp_path / "m.index.json")
        assert why in str(e.value)
    zipped(tmp_path / "two.bin", checkpoint(**{"a/data.pkl": pickled(state(pid("0", 6), pid("0", 6)))}))
    (tmp_path / "m.index.json").write_text(json.dumps({"weight_map": {"w0": "two.bin"}}))
    with pytest.raises(BadFileError, match=r"shard two.bin has 1 tensors that the index does not name, first 'w1'"):
        read_checkpoint(tmp_path / "m.index.json")
    with pytest.raises(UsageError, match=r"a safetensors file has no entries to choose from \(entry='ema'\)"):
        read_checkpoint(tmp_path / "m.index.json", entry="ema")


def test_streams_where_none_can_be(tmp_path: Path) -> None:
    """Inside another file, of nothing, and gone before it is mapped."""
    from convcore_pytorch.files.containers import load_stream
    from convcore_pytorch.files.storage import Region

    (tmp_path / "a").write_bytes(b"xx" + stream())
    for start, size in ((2, len(stream())), (0, 0)):
        with pytest.raises(BadFileError, match="a: an empty file or a stream inside another file"):
            load_stream(Region(str(tmp_path / "a"), start, size), foreign=False)
    with pytest.raises(BadFileError, match="gone: cannot be read: "):
        load_stream(Region(str(tmp_path / "gone"), 0, 9), foreign=False)
    raw = b"xx" + stream()
    assert load_stream(Region("f", 2, len(raw) - 2, raw), foreign=False).keys() == {"w0"}


# ---- exported programs
@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, bytes]]:
    path = tmp_path_factory.mktemp("exported") / "a.pt2"
    torch.export.save(torch.export.export(torch.nn.Linear(3, 2).eval(), (torch.ones(1, 3),)), path)
    with zipfile.ZipFile(path) as z:
        members = {n: z.read(n) for n in z.namelist()}
    return next(n for n in members if "/models/" in n), members


def _specs(root: Any) -> Any:
    return root["graph_module"]["signature"]


def _drop(key: str) -> Callable[[Any], None]:
    return lambda root: _specs(root)[key].pop()


CHANGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "version": (lambda r: r["schema_version"].update(major=7), "schema version 7."),
    "later version": (lambda r: r["schema_version"].update(major=9), "schema version 9."),
    "version as a text": (lambda r: r["schema_version"].update(major="8"), "field 'major' is a str"),
    "no graph": (lambda r: r["graph_module"].pop("graph"), "field 'graph' is missing"),
    "no signature": (lambda r: r["graph_module"].pop("signature"), "field 'signature' is missing"),
    "an input less": (_drop("input_specs"), "the signature does not list the graph's inputs and outputs"),
    "an output less": (_drop("output_specs"), "the signature does not list the graph's inputs and outputs"),
    "input of no kind": (lambda r: _specs(r)["input_specs"].__setitem__(0, {"odd": {}}), "an input of unknown kind 'odd'"),
    "output of no kind": (lambda r: _specs(r)["output_specs"].__setitem__(0, {"odd": {}}), "an output of unknown kind 'odd'"),
    "two kinds": (lambda r: _specs(r)["input_specs"][0].update(odd={}), "a union without exactly one field"),
    "no kind": (lambda r: _specs(r)["output_specs"].__setitem__(0, {}), "a union without exactly one field"),
    "another weight": (
        lambda r: _specs(r)["input_specs"][0]["parameter"].update(parameter_name="gone"),
        "parameter 'gone' has no values in the archive",
    ),
    "another size": (
        lambda r: next(iter(r["graph_module"]["graph"]["tensor_values"].values()))["sizes"][0].update(as_int=5),
        "the graph says otherwise",
    ),
    "another type": (
        lambda r: next(iter(r["graph_module"]["graph"]["tensor_values"].values())).update(dtype=8), "the graph says otherwise"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_programs_that_are_refused(what: str, parts: Any, tmp_path: Path) -> None:
    change, why = CHANGES[what]
    name, members = parts
    root = json.loads(members[name])
    change(root)
    with pytest.raises((BadFileError, UnsupportedError)) as e:
        read_exported(zipped(tmp_path / "a.pt2", {**members, name: json.dumps(root).encode()}))
    assert why in str(e.value)


def test_files_that_are_other_things(parts: Any, tmp_path: Path) -> None:
    name, members = parts
    assert len(read_exported(zipped(tmp_path / "a.pt2", members)).weights) == 2
    with pytest.raises(BadFileError, match="an exported program, not a checkpoint; read it with read_exported"):
        read_checkpoint(tmp_path / "a.pt2")
    with pytest.raises(BadFileError, match=r"no exported program \(a checkpoint file\)"):
        read_exported(zipped(tmp_path / "c.pth", checkpoint()))
    (tmp_path / "n.txt").write_text("abc" * 9)
    with pytest.raises(BadFileError, match=r"no exported program \(no PyTorch file\)"):
        read_exported(tmp_path / "n.txt")
    second = f"{name[: -len('model.json')]}other.json"
    with pytest.raises(UsageError, match=r"holds 2 models: model, other; say which by model="):
        read_exported(zipped(tmp_path / "d.pt2", {**members, second: members[name]}))
    with pytest.raises(UsageError, match=r"no model 'gone'; there are: model"):
        read_exported(tmp_path / "a.pt2", model="gone")
    with pytest.raises(ConvcoreError, match="JSON"):
        read_exported(zipped(tmp_path / "e.pt2", {**members, name: b"{"}))

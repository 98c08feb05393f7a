"""Archives byte by byte, runs of bytes, views and their values, members of exported programs, sizes as text: what is read at each
limit, and what is said one beyond it. ``zipfile`` and numpy say what is right."""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcore.plugin import BadFileError, ConvcoreError, UnsupportedError, UsageError
from convcore_pytorch.files import limits
from convcore_pytorch.files.archive import Archive
from convcore_pytorch.files.checkpoint import read_checkpoint, strip
from convcore_pytorch.files.elements import BY_NAME
from convcore_pytorch.files.exported import _choose, _input, _output, _payload, _ranges, _structure, _weights_fit
from convcore_pytorch.files.graphs import _scopes, argument_value, read_graph
from convcore_pytorch.files.identify import kind_of
from convcore_pytorch.files.jsons import field, fields, parse
from convcore_pytorch.files.program import Argument, Constant, Graph, Input, Node, Ref, Scope, TensorValue, renamed
from convcore_pytorch.files.storage import Region, Storage, StoredTensor, tensor
from convcore_pytorch.files.symbols import parse_expr

F32 = BY_NAME["float32"]
DEEP = limits.DEPTH


def whole(raw: bytes) -> Region:
    return Region("f", 0, len(raw), raw)


def zipped(members: dict[str, Any], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, data in members.items():
            z.writestr(name, data)
    return out.getvalue()


def changed(raw: bytes, at: int, form: str, *values: Any) -> bytes:
    return raw[:at] + struct.pack(form, *values) + raw[at + struct.calcsize(form) :]


# ---- archives
def test_members_are_stored_or_inflated() -> None:
    data = bytes(range(256)) * 9
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        archive = Archive(whole(zipped({"a/x": data, "a/empty": b"", "b/y": b"text"}, method)))
        assert list(archive.members) == ["a/x", "a/empty", "b/y"] and "a/x" in archive and "x" not in archive
        assert archive.read("a/x", len(data)) == data and archive.read("a/empty", 0) == b"" and archive.text("b/y", 4) == "text"
        with pytest.raises(BadFileError, match=rf"f: a/x has {len(data)} bytes, {len(data) - 1} is the limit"):
            archive.read("a/x", len(data) - 1)
        with pytest.raises(BadFileError, match=r"f: the archive has no gone"):
            archive.data("gone")
        with pytest.raises(BadFileError, match=r"f: the archive has no gone"):
            archive.read("gone", 9)
        if method:
            with pytest.raises(BadFileError, match=r"f: a/x is compressed; torch stores it plain"):
                archive.data("a/x")
        else:
            assert archive.data("a/x").read(0, len(data)) == data
    with pytest.raises(BadFileError, match=r"f: t is not text: invalid start byte"):
        Archive(whole(zipped({"t": b"\xff"}))).text("t", 9)


def test_folders_that_hold_a_member() -> None:
    found = Archive(whole(zipped(dict.fromkeys(("m/x", "a/m/x", "b/c/m/x", "xm/x", "x", "a/x", "am/x"), b""))))
    assert found.roots("m/x") == ["", "a/"] and found.roots("x") == ["m/", "xm/", "", "a/", "am/"]


def test_deflated_members_that_lie() -> None:
    raw = zipped({"a": b"b" * 50}, zipfile.ZIP_DEFLATED)
    entry = raw.index(b"PK\1\2")
    for size in (49, 51):
        with pytest.raises(BadFileError, match=rf"f: a does not inflate to the {size} bytes the directory promises"):
            Archive(whole(changed(raw, entry + 24, "<I", size))).read("a", 99)
    with pytest.raises(BadFileError, match=r"f: a is damaged \(its checksum differs\)"):
        Archive(whole(changed(raw, entry + 16, "<I", 7))).read("a", 99)
    assert Archive(whole(changed(raw, entry + 16, "<I", 0))).read("a", 99) == b"b" * 50, "no checksum was written"
    with pytest.raises(BadFileError, match=r"f: a is damaged: Error -3"):
        Archive(whole(changed(raw, 31, "<I", 0xFFFFFFFF))).read("a", 99)


def wide(raw: bytes, field: bytes, sizes: tuple[int, int, int]) -> bytes:
    """The archive of one member ``a`` with a zip64 field and other numbers in its directory."""
    entry, end = raw.index(b"PK\1\2"), raw.index(b"PK\5\6")
    stored, size, header = sizes
    told = changed(changed(raw[entry:end], 20, "<II", stored, size), 42, "<I", header)
    told = changed(told, 30, "<H", len(field))[:47] + field
    return raw[:entry] + told + changed(raw[end:], 12, "<I", len(told))


ONES = 0xFFFFFFFF


def test_wide_members_of_zip64() -> None:
    """APPNOTE 4.5.3: size, stored size, offset, those alone whose own place is all ones."""
    raw = zipped({"a": b"hallo"})
    other = struct.pack("<HHI", 9, 4, 77)
    for wider, sizes in (
        (struct.pack("<HHQQQ", 1, 24, 5, 5, 0), (ONES, ONES, ONES)),
        (struct.pack("<HHQ", 1, 8, 5), (5, ONES, 0)),
        (struct.pack("<HHQ", 1, 8, 5), (ONES, 5, 0)),
        (struct.pack("<HHQ", 1, 8, 0), (5, 5, ONES)),
        (other + struct.pack("<HHQQ", 1, 16, 5, 5), (ONES, ONES, 0)),
        (other, (5, 5, 0)),
        (b"\1\0", (5, 5, 0)),
    ):
        assert Archive(whole(wide(raw, wider, sizes))).read("a", 5) == b"hallo", (wider, sizes)
    for wider in (struct.pack("<HHQQ", 1, 16, 5, 5), struct.pack("<HHQQI", 1, 20, 5, 5, 0), struct.pack("<HH", 1, 0)):
        with pytest.raises(BadFileError, match=r"f: the zip archive's zip64 field is damaged"):
            Archive(whole(wide(raw, wider, (ONES, ONES, ONES))))


def test_end_records_of_zip64(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = zipped({"a": b"hallo", "b": b"du"})
    entry, end = raw.index(b"PK\1\2"), raw.index(b"PK\5\6")
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 2, 2, end - entry, entry)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    plain = changed(raw[end:], 8, "<HHII", 0xFFFF, 0xFFFF, ONES, ONES)
    made = raw[:end] + record + locator + plain
    assert Archive(whole(made)).read("b", 9) == b"du"
    with pytest.raises(BadFileError, match=r"f: the zip archive's zip64 record is missing"):
        Archive(whole(made.replace(b"PK\6\6", b"PK\6\5")))
    for at, form in ((16, "<I"), (20, "<I"), (24, "<Q")):
        with pytest.raises(BadFileError, match=r"f: the zip archive spans several disks"):
            Archive(whole(changed(made, end + at, form, 1)))
    for comment, fits in ((65535, True), (65536, False)):  # as long as a comment can be
        behind = raw[:-2] + struct.pack("<H", comment & 0xFFFF) + b"c" * comment
        if fits:
            assert Archive(whole(behind)).read("a", 9) == b"hallo"
        else:
            with pytest.raises(BadFileError, match=r"is truncated: its directory is missing"):
                Archive(whole(behind))
    for bound, most in (("MEMBERS", 2), ("DIRECTORY", end - entry)):
        monkeypatch.setattr(limits, bound, most)
        assert len(Archive(whole(raw)).members) == 2
        monkeypatch.setattr(limits, bound, most - 1)
        with pytest.raises(BadFileError, match=r"f: the zip archive has 2 members, \d+ is the limit"):
            Archive(whole(raw))
        monkeypatch.undo()


def test_directories_end_where_they_say() -> None:
    raw = zipped({"a": b"hallo", "b": b"du"})
    entry, end = raw.index(b"PK\1\2"), raw.index(b"PK\5\6")
    damaged = "f: the zip archive's directory is damaged"
    for made, why in (
        (changed(raw, end + 12, "<I", end - entry - 1), damaged),
        (changed(raw, end + 8, "<HH", 3, 3), damaged),
        (changed(raw, entry + 28, "<H", 999), damaged),
        (changed(raw, entry + 30, "<H", 999), damaged),
        (changed(raw, entry + 32, "<H", 999), damaged),
        (changed(raw, end + 16, "<I", entry + 1), damaged),
        (changed(changed(raw, entry + 20, "<I", 99), entry + 24, "<I", 99), "f: b overlaps another member"),
        (raw[:end] + raw[end:-4], "is truncated: its directory is missing"),
    ):
        with pytest.raises(BadFileError, match=why):
            Archive(whole(made))
    one = zipped({"a": b"hallo"})
    entry = one.index(b"PK\1\2")
    far = changed(changed(one, entry + 20, "<I", 999), entry + 24, "<I", 999)
    with pytest.raises(BadFileError, match=r"f: the PyTorch archive \(a zip\) is truncated$"):
        Archive(whole(far))
    just = len(one) - 31
    assert Archive(whole(changed(changed(one, entry + 20, "<I", just), entry + 24, "<I", just))).members["a"].size == just
    with pytest.raises(BadFileError, match="is truncated"):
        Archive(whole(changed(changed(one, entry + 20, "<I", just + 1), entry + 24, "<I", just + 1)))


# ---- runs of bytes and views of them
def test_files_that_change_under_us(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(range(10)))
    region = Region.of(str(path))
    assert region.size == 10 and region.read(3, 2) == b"\3\4" and region.part(2, 5).array().tolist() == [2, 3, 4, 5, 6]
    path.write_bytes(bytes(5))
    with pytest.raises(BadFileError, match=rf"{path}: truncated at byte 5"):
        region.read(2, 6)
    with pytest.raises(BadFileError, match=rf"{path}: cannot read 10 bytes at 0: "):
        region.array()
    path.unlink()
    for ask in (lambda: region.read(0, 1), lambda: Region.of(str(path))):
        with pytest.raises(BadFileError, match=rf"{path}: cannot be read: No such file or directory"):
            ask()
    for name in (kind_of, read_checkpoint):
        with pytest.raises(BadFileError, match="cannot be read"):
            name(path)


def test_checksums_of_storages(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = np.arange(6, dtype=np.float32).tobytes()
    with pytest.raises(BadFileError, match="storage 'k' is named but not stored"):
        Storage("k", F32, 24, None).bytes()
    good, bad = (Storage("k", F32, 24, whole(raw), crc=zlib.crc32(raw) + n) for n in (0, 1))
    assert good.bytes().tobytes() == raw and good.crc == 0, "checked once"
    with pytest.raises(BadFileError, match=r"f: storage 'k' is damaged \(its checksum differs\)"):
        bad.bytes()
    long = bytes(range(256)) * 70_000  # of more than one part
    assert len(Storage("k", None, len(long), whole(long), crc=zlib.crc32(long)).bytes()) == len(long)


def test_what_goes_to_a_file_is_what_numpy_has(tmp_path: Path) -> None:
    """Straight from the file where it lies there as it is, else through numpy."""
    path, values = tmp_path / "a", np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    path.write_bytes(values.tobytes())
    region = Region.of(str(path))
    for shape, strides, offset, facts in (
        ((2, 3, 4), (12, 4, 1), 0, {}),
        ((3, 4), (4, 1), 12, {}),
        ((4, 3), (1, 4), 0, {}),
        ((1, 4), (99, 1), 4, {}),
        ((0, 3), (3, 1), 0, {}),
        ((), (), 5, {}),
        ((2, 3), (3, 1), 0, {"neg": True}),
        ((2, 3), (3, 1), 0, {"conj": True}),
    ):
        for held in (
            Storage("s", F32, 96, region),
            Storage("s", F32, 96, whole(values.tobytes())),
            Storage("s", F32, 96, region, crc=zlib.crc32(values.tobytes())),
            Storage("s", F32, 96, region, big_endian=True),
        ):
            made = tensor(held, F32, shape, strides, offset, **facts)
            base = values.ravel() if not held.big_endian else values.ravel().byteswap()
            want = np.lib.stride_tricks.as_strided(base[offset:], shape, [s * 4 for s in strides])
            want = -want if facts.get("neg") else want
            assert made.numpy().tobytes() == want.tobytes() and made.contiguous == (shape != (4, 3))
            with (tmp_path / "out").open("wb") as f:
                made.write_to(f)
            assert (tmp_path / "out").read_bytes() == want.tobytes(), (shape, facts)
    truth = StoredTensor(Storage("s", BY_NAME["bool"], 3, whole(b"\0\2\1")), BY_NAME["bool"], (3,), (1,), 0)
    assert truth.numpy().tolist() == [False, True, True]
    one = tensor(Storage("s", F32, 96, region), F32, (2,), (1,), 3)
    assert (
        one.identity != tensor(one.storage, F32, (2,), (1,), 4).identity
        and one.identity != tensor(one.storage, F32, (2,), (2,), 3).identity
    )
    assert one.identity == tensor(one.storage, F32, (2,), (1,), 3, parameter=True).identity


# ---- what a file is
def test_kinds_by_their_first_bytes(tmp_path: Path) -> None:
    def kind(raw: bytes, name: str = "a") -> Any:
        (tmp_path / name).write_bytes(raw)
        found = kind_of(tmp_path / name)
        return found and (found.name, found.top)

    assert kind(zipped({"x/data.pkl": b""})) == ("checkpoint", "x/") and kind(zipped({"data.pkl": b""})) == ("checkpoint", "")
    for more in ("x/constants.pkl", "x/code/a.py"):
        assert kind(zipped({"x/data.pkl": b"", more: b""})) == ("torchscript", "x/")
    for more in ("y/constants.pkl", "code/a.py"):
        assert kind(zipped({"x/data.pkl": b"", more: b""})) == ("checkpoint", "x/")
    assert kind(zipped({"serialized_exported_program.json": b""})) == ("pt2-old", "")
    for members, top in (
        (("models/model.json", "archive_format"), ""),
        (("m/archive_format", "m/x"), "m/"),
        (("m/models/model.json",), "m/"),
    ):
        assert kind(zipped(dict.fromkeys(members, b""))) == ("pt2", top)
    assert kind(zipped({"m/models/other.json": b""})) is None and kind(b"") is None and kind(b"PK") is None
    for members in (("model.json", "tensors.json"), ("a/b/tensors.json",)):
        with pytest.raises(BadFileError, match=r"a TorchScript archive of torch 1\.1 or older is not read; save it again"):
            kind(zipped(dict.fromkeys(members, b"")))
    assert kind(zipped({"model.json": b""})) is None and kind(zipped({"tensors.json": b""})) is None
    magic = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    assert kind(b"\x80\x02" + magic) == ("legacy", "") and kind(b"\x80\x04\x95" + bytes(8) + magic) == ("legacy", "")
    assert kind(b"\x81\x02" + magic) is None and kind(b"\x80\x02" + bytes(40) + magic) is None
    head = struct.pack("<Q", 2) + b"{}"
    assert (
        kind(head) == ("safetensors", "")
        and kind(head + b"x") == ("safetensors", "")
        and kind(struct.pack("<Q", 3) + b"{}") is None
    )
    assert kind(struct.pack("<Q", 2) + b"[]") is None and kind(struct.pack("<Q", 1) + b"{") is None
    index = b'{"weight_map": {}}'
    assert (
        kind(index, "a.index.json") == ("index", "")
        and kind(index, "a.json") is None
        and kind(b'{"map": 1}', "b.index.json") is None
    )


def test_tar_files_by_their_members(tmp_path: Path) -> None:
    import tarfile

    for names, mine in (
        (("sys_info", "pickle", "storages", "tensors"), True),
        (("./pickle", "tensors", "storages"), True),
        (("pickle", "storages"), False),
        (("pickle", "storages", *"abcdefg", "tensors"), False),
        (("pickle", *"abcdef", "storages"), False),
        (("pickle", "a", "b", "c", "d", "e", "storages", "tensors"), True),
    ):
        for size in (0, 1, 512, 513):
            with tarfile.open(tmp_path / "a", "w", format=tarfile.USTAR_FORMAT) as tar:
                for name in names:
                    info = tarfile.TarInfo(name)
                    info.size = size
                    tar.addfile(info, io.BytesIO(b"x" * size))
            found = kind_of(tmp_path / "a")
            assert (found.name if found else None) == ("tar" if mine else None), (names, size)
            if mine:
                with pytest.raises(
                    UnsupportedError, match=r"\(tar checkpoint\): the tar form of torch before 0\.1\.10 is not read"
                ):
                    read_checkpoint(tmp_path / "a")
    raw = (tmp_path / "a").read_bytes()
    for size in (b"99999999999\0", b"abcdefghijk\0", bytes(12)):
        (tmp_path / "b").write_bytes(raw[:124] + size + raw[136:])
        assert kind_of(tmp_path / "b") is None


def test_prefixes_that_every_name_has() -> None:
    for names, want in (
        (["module.a", "module.b"], (["a", "b"], "module.")),
        (["module.module.a"], (["a"], "module.module.")),
        (["_orig_mod.module.a", "_orig_mod.module.b"], (["a", "b"], "_orig_mod.module.")),
        (["module.a", "b"], (["module.a", "b"], "")),
        (["_forward_module.a"], (["a"], "_forward_module.")),
        (["module."], (["module."], "")),
        (["module.a", "module."], (["module.a", "module."], "")),
        ([], ([], "")),
        (["model.a"], (["model.a"], "")),
    ):
        assert strip(names) == want


# ---- JSON, sizes
def test_fields_by_their_types(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"n": 3, "t": True, "none": None, "f": 2.5, "s": "a"}
    assert fields(entry, "f", n=int, t=bool, s=str) == (3, True, "a") and field(entry, "none", int, "f", 7) == 7 == field(
        entry, "x", int, "f", 7
    )
    assert (
        field(entry, "n", int, "f", 7) == 3
        and field(entry, "n", (float, int), "f") == 3
        and field(entry, "none", int, "f", None) is None
    )
    for given, name, kind, why in (
        (entry, "t", int, "field 't' is a bool"),
        (entry, "none", int, "field 'none' is a NoneType"),
        (entry, "x", int, "field 'x' is missing"),
        (entry, "s", int, "field 's' is a str"),
        ([1], "x", int, "an object is due, not list"),
        (None, "x", int, "an object is due, not NoneType"),
    ):
        with pytest.raises(BadFileError, match=f"f: {why}"):
            field(given, name, kind, "f")
    with pytest.raises(BadFileError, match="f: damaged JSON: a key occurs twice"):
        parse(b'{"a": {"b": 1, "b": 1}}', "f")
    with pytest.raises(BadFileError, match="f: damaged JSON"):
        parse(b"[" * 100_000, "f")
    monkeypatch.setattr(limits, "JSON", 5)
    assert parse(b"[1,2]", "f") == [1, 2]
    with pytest.raises(BadFileError, match="f: 6 bytes of JSON, 5 is the limit"):
        parse(b"[1,23]", "f")


def test_sizes_of_calls() -> None:
    assert parse_expr("Integer(-3)", "f") == -3 and parse_expr("Integer(4)", "f") == 4
    assert str(parse_expr("Symbol(s0)", "f")) == "Symbol(s0)"
    assert str(parse_expr("x.Max(a, 2)", "f")) == "Max(a, 2)" and str(parse_expr("f()", "f")) == "f()"
    assert math.isinf(float(parse_expr("Float('inf')", "f")))  # type: ignore[arg-type]
    assert parse_expr("1.5", "f") == 1.5 and parse_expr("- 2", "f") == -2 and parse_expr(" 3 ", "f") == 3
    with pytest.raises(BadFileError, match=r"f: .Float\('abc'\). is no size"):
        parse_expr("Float('abc')", "f")
    half = DEEP // 2
    assert str(parse_expr("-f(" * half + "a" + ")" * half, "f")) == "neg(f(" * half + "a" + "))" * half
    for deeper in ("-f(" * half + "-a" + ")" * half, "-f(" * half + "a + b" + ")" * half, "-f(" * half + "g(a)" + ")" * half):
        with pytest.raises(BadFileError, match=f"a size nested more than {DEEP} deep"):
            parse_expr(deeper, "f")


# ---- exported programs in parts
def payload(config: Any, files: dict[str, bytes]) -> Any:
    members = {"t/data/weights/m_weights_config.json": json.dumps(config), **{f"t/data/weights/{k}": v for k, v in files.items()}}
    return _payload(Archive(whole(zipped(members))), "t/", "weights", "m")


def meta(dtype: int = 7, sizes: Any = (2, 3), strides: Any = (3, 1), offset: int = 0, grad: bool = False) -> dict[str, Any]:
    told = {k: [{"as_int": n} for n in v] for k, v in (("sizes", sizes), ("strides", strides))}
    return {
        "dtype": dtype,
        **told,
        "storage_offset": {"as_int": offset},
        "layout": 7,
        "requires_grad": grad,
        "device": {"type": "cpu"},
    }


def entry(file: Any = "w0", param: Any = True, pickle: Any = False, **facts: Any) -> dict[str, Any]:
    return {"path_name": file, "is_param": param, "use_pickle": pickle, "tensor_meta": meta(**facts)}


def test_weights_one_by_one() -> None:
    raw = np.arange(8, dtype=np.float32).tobytes()
    found = payload(
        {"config": {"a": entry(grad=True), "b": entry(param=False, offset=2), "c": entry("w1")}}, {"w0": raw, "w1": raw}
    )
    np.testing.assert_array_equal(found["a"].numpy(), np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(found["b"].numpy(), np.arange(2, 8).reshape(2, 3))
    assert found["a"].storage is found["b"].storage is not found["c"].storage and found["a"].storage.crc in (0, zlib.crc32(raw))
    assert (found["a"].parameter, found["a"].requires_grad, found["b"].parameter, found["b"].requires_grad) == (
        True,
        True,
        False,
        False,
    )
    for config, why in (
        ({}, "field 'config' is missing"),
        ({"config": {"a": entry("gone")}}, "the archive has no t/data/weights/gone"),
        ({"config": {"a": entry(3)}}, "field 'path_name' is a int"),
        ({"config": {"a": entry(offset=3)}}, "reaches element 9"),
        ({"config": {"a": entry(param=3)}}, "field 'is_param' is a int"),
        ({"config": {"a": entry(dtype=99)}}, "element type number 99"),
        ({"config": {"a": 3, "b": entry(pickle=None), "c": entry(pickle=True), "d": entry()}}, "3 problems"),
        ({"config": {"a": {**entry(), "tensor_meta": 3}}}, "field 'tensor_meta' is a int"),
    ):
        with pytest.raises(ConvcoreError, match=why):
            payload(config, {"w0": raw})
    with pytest.raises(
        UnsupportedError, match=r"'a' .*is stored as a pickle \(a custom object or tensor subclass\), which is never opened"
    ) as e:
        payload({"config": {f"a{i}" if i else "a": entry(pickle=True) for i in range(60)}}, {})
    assert len(e.value.problems) == 50 and e.value.problems[0].hint == "export the model with plain tensors"


def test_weights_as_a_checkpoint() -> None:
    torch = pytest.importorskip("torch")

    def saved(value: Any, method: int = zipfile.ZIP_STORED) -> Any:
        out = io.BytesIO()
        torch.save(value, out)
        inner = out.getvalue() if not isinstance(value, bytes) else value
        return _payload(Archive(whole(zipped({"t/data/weights/m.pt": inner}, method))), "t/", "weights", "m")

    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        assert saved({"a": torch.arange(3.0)}, method)["a"].numpy().tolist() == [0, 1, 2]
        assert saved(b"", method) == {} and saved({}, method) == {}
    assert _payload(Archive(whole(zipped({"t/x": b""}))), "t/", "weights", "m") == {}
    for value, why in (
        (b"abcdefghijkl", r"t/data/weights/m\.pt: no torch\.save container"),
        ([torch.ones(1)], "a mapping of names to tensors is due, not a list"),
        ({"a": 3}, "'a' .*is stored as a pickle"),
        ({3: torch.ones(1)}, "'3' .*is stored as a pickle"),
    ):
        with pytest.raises(ConvcoreError, match=why):
            saved(value)


def test_models_of_an_archive() -> None:
    archive = Archive(
        whole(
            zipped(
                dict.fromkeys(
                    ("t/models/a.json", "t/models/b.json", "t/models/sub/c.json", "t/models/d.txt", "models/e.json"), b""
                )
            )
        )
    )
    assert _choose(archive, "t/", "b") == "b" and _choose(archive, "", None) == "e"
    with pytest.raises(UsageError, match=r"f: holds 2 models: a, b; say which by model="):
        _choose(archive, "t/", None)
    with pytest.raises(UsageError, match=r"f: no model 'c'; there are: a, b"):
        _choose(archive, "t/", "c")
    with pytest.raises(UsageError, match=r"f: holds 0 models: none; say which"):
        _choose(archive, "x/", None)
    with pytest.raises(UsageError, match=r"f: no model 'c'; there are: none"):
        _choose(archive, "x/", "c")


ARG = {"arg": {"name": "v"}}
INPUTS: list[tuple[Any, Any]] = [
    ({"parameter": {**ARG, "parameter_name": "p.w"}}, Input("parameter", "v", "p.w")),
    ({"buffer": {**ARG, "buffer_name": "b"}}, Input("buffer", "v", "b")),
    ({"buffer": {**ARG, "buffer_name": "b", "persistent": False}}, Input("buffer", "v", "b", False)),
    ({"buffer": {**ARG, "buffer_name": "b", "persistent": True}}, Input("buffer", "v", "b", True)),
    ({"tensor_constant": {**ARG, "tensor_constant_name": "c"}}, Input("constant", "v", "c")),
    ({"token": ARG}, Input("token", "v")),
    ({"custom_obj": {**ARG, "custom_obj_name": "o"}}, Input("object", "v", "o")),
    ({"constant_input": {"name": "n", "value": {"as_int": 3}}}, Input("literal", "n", value=3)),
    ({"constant_input": {"name": "n", "value": {"as_none": True}}}, Input("literal", "n", value=None)),
    ({"user_input": {"arg": {"as_tensor": {"name": "x"}}}}, Input("user", "x")),
    ({"user_input": {"arg": {"as_custom_obj": {"name": "x"}}}}, Input("user", "x")),
    *(({"user_input": {"arg": {f"as_sym_{k}": {"as_name": "s"}}}}, Input("user", "s")) for k in ("int", "float", "bool")),
    ({"user_input": {"arg": {"as_int": 5}}}, Input("literal", "", value=5)),
    ({"user_input": {"arg": {"as_none": True}}}, Input("literal", "", value=None)),
    ({"user_input": {"arg": {"as_sym_int": {"as_int": 4}}}}, Input("literal", "", value={"as_int": 4})),
    ({"odd": {}}, "an input of unknown kind 'odd'"),
    ({"parameter": ARG}, "field 'parameter_name' is missing"),
    ({"parameter": {}}, "field 'arg' is missing"),
    ({}, "a union without exactly one field"),
    ([1], "a union without exactly one field"),
    ({"token": ARG, "odd": {}}, "a union without exactly one"),
    ({"user_input": {"arg": {}}}, "a union without exactly one field"),
    ({"user_input": 3}, "an object is due, not int"),
]


@pytest.mark.parametrize("at", range(len(INPUTS)))
def test_inputs_of_a_signature(at: int) -> None:
    given, want = INPUTS[at]
    if isinstance(want, Input):
        assert _input(given, "f") == want
        return
    with pytest.raises(BadFileError, match=f"f: {want}"):
        _input(given, "f")


def test_outputs_of_a_signature() -> None:
    x = Ref("v")
    assert _output({"user_output": {"arg": {"as_int": 3}}}, "f").value == 3
    for key, name, target in (
        ("loss_output", "loss", ""),
        ("token", "token", ""),
        ("buffer_mutation", "buffer_mutation", "buffer_name"),
        ("parameter_mutation", "parameter_mutation", "parameter_name"),
        ("user_input_mutation", "user_input_mutation", "user_input_name"),
        ("gradient_to_parameter", "gradient_to_parameter", "parameter_name"),
        ("gradient_to_user_input", "gradient_to_user_input", "user_input_name"),
    ):
        made = _output({key: {**ARG, **({target: "t"} if target else {})}}, "f")
        assert (made.kind, made.value, made.target) == (name, x, "t" if target else "")
        if target:
            with pytest.raises(BadFileError, match=f"field '{target}' is missing"):
                _output({key: ARG}, "f")
    with pytest.raises(BadFileError, match="an output of unknown kind 'odd'"):
        _output({"odd": ARG}, "f")


def test_weights_fit_the_graph() -> None:
    held = tensor(Storage("s", F32, 24, whole(bytes(24))), F32, (2, 3), (3, 1), 0)
    half = tensor(Storage("s", BY_NAME["float8_e5m2"], 6, whole(bytes(6))), BY_NAME["float8_e5m2"], (2, 3), (3, 1), 0)
    right = {"v": TensorValue("float32", (2, 3), (3, 1))}
    for spec in (
        Input("parameter", "v", "w"),
        Input("buffer", "v", "w"),
        Input("buffer", "v", "w", False),
        Input("constant", "v", "w"),
    ):
        for weights, constants in (({"w": held}, {}), ({}, {"w": held})):
            _weights_fit(right, [spec], weights, constants, "f")
        with pytest.raises(BadFileError, match=f"f: {spec.kind} 'w' has no values in the archive"):
            _weights_fit(right, [spec], {}, {}, "f")
        for values, what in (
            ({}, held),
            ({"v": 3}, held),
            ({"v": TensorValue("float64", (2, 3), (3, 1))}, held),
            ({"v": TensorValue("float32", (3, 2), (2, 1))}, held),
            (right, half),
        ):
            name = "float32" if what is held else "float8_e5m2"
            with pytest.raises(BadFileError, match=rf"f: {spec.kind} 'w' is stored as {name}\[2, 3\], the graph says otherwise"):
                _weights_fit(values, [spec], {"w": what}, {}, "f")
    _weights_fit({"v": TensorValue("float8_e5m2", (2, 3), (3, 1))}, [Input("buffer", "v", "w")], {"w": half}, {}, "f")
    first, second = held, tensor(Storage("t", F32, 24, whole(bytes(24))), F32, (3, 2), (2, 1), 0)
    _weights_fit(right, [Input("buffer", "v", "w")], {"w": first}, {"w": second}, "f")
    for spec in (Input("buffer", "v", "w", False), Input("constant", "v", "w")):  # each where it belongs
        with pytest.raises(BadFileError, match=r"is stored as float32\[3, 2\]"):
            _weights_fit(right, [spec], {"w": first}, {"w": second}, "f")
    for kind in ("user", "literal", "object", "token", "attribute"):
        _weights_fit({}, [Input(kind, "v", "w")], {}, {}, "f")


def test_structure_and_ranges() -> None:
    assert _ranges({"s": {"min_val": 2, "max_val": None}, "t": {"min_val": None, "max_val": 9}}, "f") == {
        "s": (2, None),
        "t": (None, 9),
    }
    calls = [
        {"fqn": "inner", "signature": {}},
        {"fqn": "", "signature": None},
        {"fqn": "", "signature": {"in_spec": "[1]", "out_spec": "[2]", "forward_arg_names": ["x"]}},
    ]
    assert _structure(calls, "f") == {"in_spec": [1], "out_spec": [2], "names": ["x"]} and _structure(calls[:2], "f") == {}
    assert _structure([{"fqn": "", "signature": {"in_spec": "1", "out_spec": "2"}}], "f")["names"] == []


def test_scopes_of_nodes() -> None:
    for text, want in (
        ("L__self__,,my.Net;L__self___a,a,my.A", [Scope("", "my.Net"), Scope("a", "my.A")]),
        ("k@2,a@2,my.A", [Scope("a", "my.A", 2)]),
        ("k,x,a,x,my.A", [Scope("a,x", "my.A")]),
        ("", []),
        ("a,b", []),
        ("a,b,c,d", []),
        ("_empty_nn_module_stack_x,a,b", []),
        ("k@x,a,b", [Scope("a", "b")]),
        ("k@123456789,a,b", [Scope("a", "b")]),
        ("k@12345678,a,b", [Scope("a", "b", 12345678)]),
    ):
        assert list(_scopes(text)) == want, text


def test_arguments_that_nest() -> None:
    assert argument_value({"as_string_to_argument": {"a": {"as_int": 3}, "b": {"as_tensor": {"name": "x"}}}}, "f", 0) == {
        "a": 3,
        "b": Ref("x"),
    }
    for kind, given, want in (
        ("as_nested_tensors", [[{"name": "x"}], []], [[Ref("x")], []]),
        ("as_floats", [1, "NaN"], None),
        ("as_float_lists", [[1.5]], [[1.5]]),
        ("as_bools", [True], [True]),
        ("as_strings", ["a"], ["a"]),
        ("as_sym_float", {"as_name": "s"}, Ref("s")),
        ("as_sym_floats", [{"as_float": "Infinity"}], [math.inf]),
        ("as_sym_bool", {"as_bool": True}, True),
        ("as_sym_bools", [{"as_name": "s"}], [Ref("s")]),
        ("as_custom_obj", {"name": "o", "class_fqn": "c"}, Ref("o")),
        ("as_sym_int", {"as_expr": {"expr_str": "4"}}, 4),
        ("as_layout", 0, Constant("layout", "unknown")),
        ("as_memory_format", 0, Constant("memory_format", "unknown")),
    ):
        found = argument_value({kind: given}, "f", 0)
        assert math.isnan(found[1]) if want is None else found == want
    deep: Any = {"as_int": 1}
    for _ in range(DEEP):
        deep = {"as_string_to_argument": {"k": deep}}
    found = argument_value(deep, "f", 0)
    for _ in range(DEEP):
        found = found["k"]
    assert found == 1
    with pytest.raises(BadFileError, match="f: an argument of unknown kind 'as_string_to_argument'"):
        argument_value({"as_string_to_argument": {"k": deep}}, "f", 0)
    body: Any = {"nodes": [], "inputs": [], "outputs": [], "tensor_values": {}}
    assert argument_value({"as_graph": {"name": "g", "graph": body}}, "f", DEEP - 1).name == "g"
    with pytest.raises(BadFileError, match=f"graph g: graphs nested more than {DEEP} deep|graphs nested more than {DEEP} deep"):
        argument_value({"as_graph": {"name": "g", "graph": body}}, "f", DEEP)
    for value in (True, [1]):
        with pytest.raises(BadFileError, match="a number is due, not a"):
            argument_value({"as_float": value}, "f", 0)
    for value in (10**309, -(10**309)):
        with pytest.raises(BadFileError, match=r"a number beyond 1\.79"):
            argument_value({"as_float": value}, "f", 0)
    assert [argument_value({"as_float": x}, "f", 0) for x in (math.inf, -math.inf)] == [math.inf, -math.inf]  # torch 2.6
    assert math.isnan(argument_value({"as_float": math.nan}, "f", 0))
    assert argument_value({"as_float": -1.79e308}, "f", 0) == -1.79e308


def test_bodies_under_other_names() -> None:
    """What a body makes is renamed, what it takes from outside is not."""
    inner = Graph(
        "g",
        ("a",),
        (Ref("b"), {"k": Ref("c")}, (Ref("out"), 3)),
        (
            Node("b", "aten.relu.default", (Argument("", Ref("a")),), ("b", None, ("c", "d")), (Scope("m", "M"),)),
            Node("e", "aten.cat.default", (Argument("", [Ref("b"), Ref("out")]),), ("e",)),
        ),
        {"b": TensorValue("float32", (2,), (1,))},
    )
    made = renamed(inner, "p_")
    assert (
        made.inputs == ("p_a",)
        and made.outputs == (Ref("p_b"), {"k": Ref("p_c")}, (Ref("out"), 3))
        and set(made.values) == {"p_b"}
    )
    assert made.nodes[0].outputs == ("p_b", None, ("p_c", "p_d")) and made.nodes[1].arguments[0].value == [Ref("p_b"), Ref("out")]
    assert made.nodes[0].scopes == (Scope("m", "M"),) and renamed(inner, "p_", (Scope("x", "X"),)).nodes[0].scopes == (
        Scope("x", "X"),
    )


def test_bodies_that_use_what_is_around_them() -> None:
    def node(name: str, value: Any) -> Node:
        return Node(name, "t", (Argument("", value),), (name,))

    for captures, used, why in (
        (True, "x", ""),
        (True, "y", ""),
        (False, "q", ""),
        (True, "q", "node 'r' uses 'q', which nothing makes before it"),
        (True, "z", "uses 'z'"),
    ):
        body = Graph("g", ("i",), (Ref("r"),), (node("r", Ref(used)),), {}, captures)
        outer = Graph("", ("x",), (Ref("z"),), (node("y", Ref("x")), node("z", body)), {})
        if not why:
            outer.check("f")
            continue
        with pytest.raises(BadFileError, match=why):
            outer.check("f")
    with pytest.raises(BadFileError, match="f: value 'x' is made twice"):
        Graph("", ("x",), (), (node("y", Graph("g", ("x",), (), (), {}, True)),), {}).check("f")
    with pytest.raises(BadFileError, match="f: the result uses 'q'"):
        Graph("", (), ({"k": [Ref("q")]},), (), {}).check("f")


def test_nodes_of_graphs() -> None:
    def one(**more: Any) -> dict[str, Any]:
        return {
            "target": "torch.ops.aten.relu.default",
            "inputs": [{"name": "self", "arg": {"as_tensor": {"name": "x"}}, "kind": 1}],
            "outputs": [{"as_tensor": {"name": "y"}}],
            **more,
        }

    def graph(node: Any, **more: Any) -> Any:
        return {"nodes": [node], "inputs": [{"as_tensor": {"name": "x"}}], "outputs": [], "tensor_values": {}, **more}

    (found,) = read_graph(graph(one()), "", "f", 0).nodes
    assert (found.name, found.target, found.outputs, found.single) == ("y", "aten.relu.default", ("y",), False)
    assert found.arguments == (Argument("self", Ref("x"), False),)
    (found,) = read_graph(
        graph(
            one(
                name="n",
                inputs=[{"name": "k", "arg": {"as_int": 3}, "kind": 2}],
                outputs=[{"as_none": True}, {"as_tensors": [{"name": "a"}]}],
                metadata={"nn_module_stack": "k,m,M", "torch_fn": "f", "stack_trace": "s"},
            )
        ),
        "",
        "f",
        0,
    ).nodes
    assert (found.name, found.outputs, found.arguments[0].keyword, found.scopes) == (
        "n",
        (None, ("a",)),
        True,
        (Scope("m", "M"),),
    )
    for entry, why in (
        (graph(one(target=3)), "field 'target' is a int"),
        (graph(one(outputs=[{"as_ints": [1]}])), "aten.relu.default: a result that is no value"),
        (graph(one(name="n", outputs=[{"as_int": 1}])), "f: n: a result that is no value"),
        (graph(one(), sym_int_values={"s": {"as_float": 1}}), "field 'as_int' is missing"),
        (graph(one(), sym_bool_values={"s": {"as_bool": 1}}), "'as_bool' is a int"),
        (graph(one(), tensor_values={"y": {}}), "'y': field 'dtype' is missing"),
    ):
        with pytest.raises(BadFileError, match=why):
            read_graph(entry, "", "f", 0)
    values = read_graph(
        graph(
            one(),
            sym_int_values={"s": {"as_expr": {"expr_str": "s0 + 1"}}, "t": {"as_int": 4}},
            sym_float_values={"u": {"as_float": "NaN"}},
            sym_bool_values={"v": {"as_bool": False}},
        ),
        "",
        "f",
        0,
    ).values
    assert [getattr(v, "kind", "") for v in values.values()] == ["int", "int", "float", "bool"]
    assert str(values["s"].expr) == "add(s0, 1)" and values["t"].expr == 4 and values["v"].expr is False  # type: ignore[union-attr]

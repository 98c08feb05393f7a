"""Hostile and damaged files: nothing is executed, one clear error or a right read, in bounded time and memory."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import sys
import time
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import convcore
from convcore.errors import PluginBugError
from convcore.plugin import BadFileError, ConvcoreError
from convcore_pytorch.files.checkpoint import read_checkpoint
from convcore_pytorch.files.pickles import Pickle

from .kit import DATA, mutants, without_torch

MARK = "convcore-torch-payload"


class Calls:
    """A pickle that calls a function when it is loaded."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.how = (function, args)

    def __reduce__(self) -> Any:
        return self.how


class SetState:
    """A class whose __setstate__ would run."""

    def __setstate__(self, state: Any) -> None:
        open(state["path"], "w").close()

    def __getstate__(self) -> Any:
        return {"path": MARK}


def payloads() -> dict[str, Any]:
    return {
        "posix.system": Calls(os.system, f"touch {MARK}"),
        "builtins.eval": Calls(eval, f"open({MARK!r}, 'w')"),
        "builtins.getattr": Calls(getattr, "x", "upper"),
        "io.open": Calls(open, MARK, "w"),
        "torch.serialization.load": Calls(torch.load, MARK),
        "torch.storage._load_from_bytes": Calls(torch.storage._load_from_bytes, b"x"),
        "functools.partial": Calls(__import__("functools").partial, os.system, "x"),
    }


def legacy(raw: bytes) -> bytes:
    head = b"".join(pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    return head + raw + pickle.dumps([], 2)


def zipped(raw: bytes, **more: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name, data in {"data.pkl": raw, "version": b"3\n", **more}.items():
            z.writestr("a/" + name, data)
    return out.getvalue()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("wrap", [legacy, zipped])
@pytest.mark.parametrize("name", list(payloads()))
def test_a_payload_is_refused_by_name(name, wrap, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value = {"state_dict": {"a": 1}, "payload": payloads()[name]}
    (tmp_path / "a.pt").write_bytes(wrap(pickle.dumps(value, protocol)))
    with pytest.raises(BadFileError, match=rf"asks to call {name}, .*nothing was run"):
        read_checkpoint(tmp_path / "a.pt")
    with pytest.raises(BadFileError, match="no mapping of names to tensors"):  # kept as data on demand, still not run
        read_checkpoint(tmp_path / "a.pt", foreign=True)
    assert os.listdir(tmp_path) == ["a.pt"]


def test_setstate_is_never_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i, wrap in enumerate((legacy, zipped)):
        for protocol in range(6):
            (tmp_path / f"{i}").write_bytes(wrap(pickle.dumps({"o": SetState()}, protocol)))
            with pytest.raises(BadFileError, match="no mapping of names to tensors"):
                read_checkpoint(tmp_path / f"{i}")
    assert not (tmp_path / MARK).exists()


AUDIT = """
bad = []
WATCH = ("exec", "compile", "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "pickle.find_class", "socket.connect",
         "marshal.loads", "code.__new__", "ctypes.dlopen")
from convcore_pytorch.files.checkpoint import read_checkpoint
from convcore_pytorch.files.identify import kind_of
from convcore_pytorch import files
from convcore.plugin import BadFileError, ConvcoreError, Problem, UnsupportedError, UsageError, MappedTensor, ArrayTensor
import ml_dtypes, mmap, numpy, ast, base64
on = False
def hook(event, args):
    if on and (event in WATCH or event == "import" or (event == "open" and "payload" in str(args[0]))):
        bad.append((event, str(args)[:100]))
sys.addaudithook(hook)
"""


def test_an_audit_hook_sees_nothing(tmp_path, monkeypatch):
    """Every payload in every container, in a process without torch: no import, no exec, no process, no foreign file."""
    monkeypatch.chdir(tmp_path)
    paths = []
    for i, value in enumerate([*payloads().values(), SetState()]):
        for wrap in (legacy, zipped):
            for protocol in range(6):
                path = tmp_path / f"{i}{wrap.__name__}{protocol}.pt"
                path.write_bytes(wrap(pickle.dumps({"w": value}, protocol)))
                paths.append(str(path))
    out = without_torch(
        AUDIT
        + """
def run(path):
    for foreign in (False, True):
        try:
            read_checkpoint(path, foreign=foreign)
        except ConvcoreError:
            pass
run(sys.argv[1])  # what is imported late is imported now
on = True
for path in sys.argv[1:]:
    run(path)
on = False
print(len(sys.argv) - 1, bad)
""",
        *paths,
    )
    assert out.strip() == f"{len(paths)} []"


def test_an_attribute_that_is_a_class_is_refused_by_name(tmp_path):
    """Where a value is expected the pickle of an archive names a class or function: no tuple to be made anew."""
    body = b"  scale : float\n  def forward(self: __torch__.Plain, x: Tensor) -> Tensor:\n    return torch.mul(x, self.scale)\n"
    code = {"code/__torch__.py": b"class Plain(Module):\n" + body, "constants.pkl": pickle.dumps((), 2)}
    for value, why in (
        (b"G@\x04\0\0\0\0\0\0", ""),
        (b"cmath\nsqrt\n", "attribute 'scale'.: is the class or function math.sqrt, which is no value"),
    ):
        raw = b"\x80\x02c__torch__\nPlain\n)\x81}X\x05\0\0\0scale" + value + b"sb."
        (tmp_path / "m.pt").write_bytes(zipped(raw, **code))
        if why:
            with pytest.raises(ConvcoreError, match=why):
                convcore.load(tmp_path / "m.pt", input_shapes={"x": (2, 3)})
        else:
            model = convcore.load(tmp_path / "m.pt", input_shapes={"x": (2, 3)})
            assert model(np.ones((2, 3), np.float32)).tolist() == [[2.5] * 3] * 2


def test_an_audit_hook_sees_nothing_in_programs(tmp_path, monkeypatch):
    """Payloads in TorchScript archives and both layouts of exported programs: in every pickle they have."""
    monkeypatch.chdir(tmp_path)
    paths = []
    for i, value in enumerate([*payloads().values(), SetState()]):
        raw = pickle.dumps(value, 2)
        code = {"code/__torch__.py": b"class Plain(Module):\n  def forward(self, x: Tensor) -> Tensor:\n    return x\n"}
        archives = {
            "script": zipped(raw, **{"constants.pkl": pickle.dumps((), 2), **code}),
            "constants": zipped(b"\x80\x02c__torch__\nPlain\n)\x81}b.", **{"constants.pkl": raw, **code}),
        }
        for name, files in {
            "new": {"models/model.json": b"{}", "archive_format": b"pt2", "data/sample_inputs/model.pt": raw},
            "weights": {"models/model.json": b"{}", "archive_format": b"pt2", "data/weights/model.pt": zipped(raw)},
            "old": {"serialized_exported_program.json": b"{}", "serialized_state_dict.pt": zipped(raw)},
        }.items():
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w") as z:
                for member, data in files.items():
                    z.writestr(member if name == "old" else "m/" + member, data)
            archives[name] = out.getvalue()
        for name, data in archives.items():
            (tmp_path / f"{i}{name}").write_bytes(data)
            paths.append(str(tmp_path / f"{i}{name}"))
    out = without_torch(
        AUDIT.replace('"compile", ', "")  # ast.parse raises it; nothing is compiled to code
        + """
from convcore_pytorch.files.exported import read_exported
from convcore_pytorch.files.script import read_torchscript
import zipfile, json
said = set()
def run(path):
    for read in (read_checkpoint, read_exported, read_torchscript):
        try:
            read(path)
        except ConvcoreError as e:
            said.add("asks to call" in str(e))
run(sys.argv[1])
on = True
for path in sys.argv[1:]:
    run(path)
on = False
print(len(sys.argv) - 1, bad, sorted(said))
""",
        *paths,
    )
    assert out.strip() == f"{len(paths)} [] [False, True]"
    assert not (tmp_path / MARK).exists()


# ---- damage
def seeds() -> dict[str, tuple[bytes, str]]:
    """One small file of every container, and its suffix."""
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    value = {"state_dict": model.state_dict(), "epoch": 3, "x": np.float32(2), "s": {1, 2}, "n": np.ones(3), "m": model}
    out: dict[str, tuple[bytes, str]] = {}
    for name, form in {"zip": (True, 2), "zip4": (True, 4), "legacy": (False, 2), "legacy5": (False, 5)}.items():
        buffer = io.BytesIO()
        torch.save(value, buffer, _use_new_zipfile_serialization=form[0], pickle_protocol=form[1])
        out[name] = buffer.getvalue(), ".pt"
    return out


def outcome(path: Path) -> str:
    """What becomes of a file: read (every value), or the class of the refusal."""
    try:
        for tensor in read_checkpoint(path, entry=None).tensors.values():
            tensor.numpy()
    except ConvcoreError as e:
        assert str(e)
        return type(e).__name__
    return "read"


def damaged(raw: bytes, suffix: str, count: int, folder: Path) -> dict[str, int]:
    seen: dict[str, int] = {}
    path = folder / ("mutant" + suffix)
    for mutant in mutants(raw, count, 7):
        path.write_bytes(mutant)
        result = outcome(path)
        seen[result] = seen.get(result, 0) + 1
    return seen


@pytest.mark.parametrize("container", ["zip", "zip4", "legacy", "legacy5"])
def test_damaged_checkpoints(container, tmp_path):
    raw, suffix = seeds()[container]
    seen = damaged(raw, suffix, 400, tmp_path)
    assert seen.get("BadFileError", 0) > 100, seen


class Looping(torch.nn.Module):
    """A branch, a loop and a state besides."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.kept = inner, torch.zeros(2, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        if bool(y.sum() > 0):
            y = y * 2
        for i in range(x.size(0)):
            y = y + i
        self.kept = self.kept + y
        return y


def programs(folder: Path) -> dict[str, tuple[bytes, str]]:
    """An exported program and a TorchScript archive."""
    parts = torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(18, 5)
    model, example = torch.nn.Sequential(*parts).eval(), torch.randn(2, 2, 4, 5)
    torch.export.save(torch.export.export(model, (example,)), folder / "seed.pt2")
    torch.jit.script(Looping(model).eval()).save(str(folder / "seed.pt"))
    return {"pt2": ((folder / "seed.pt2").read_bytes(), ".pt2"), "script": ((folder / "seed.pt").read_bytes(), ".pt")}


def inside(raw: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Damage of the archive, or, three times in four, of one of its texts or pickles with the archive whole around it."""
    chance = random.Random(seed)
    with zipfile.ZipFile(io.BytesIO(raw)) as z:
        members = {n: z.read(n) for n in z.namelist()}
    soft = [n for n in members if n.endswith((".pkl", ".json", ".py")) and "debug" not in n]
    for _ in range(count):
        name = chance.choice(soft)
        if chance.random() < 0.25:
            yield from mutants(raw, 1, chance.randrange(1 << 30))
            continue
        (spoiled,) = mutants(members[name], 1, chance.randrange(1 << 30))
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as z:
            for n, data in members.items():
                z.writestr(n, spoiled if n == name else data)
        yield out.getvalue()


def loaded(path: Path) -> str:
    """What becomes of a program: a graph, or the class of the refusal, which is no bug of ours."""
    shapes = {"x": (2, 2, 4, 5)} if path.suffix == ".pt" else {}
    start = time.process_time()
    try:
        convcore.load(path, input_shapes=shapes)
        return "read"
    except ConvcoreError as e:
        assert str(e) and not isinstance(e, PluginBugError), e
        return type(e).__name__
    finally:
        assert time.process_time() - start < 10


@pytest.mark.parametrize("kind", ["pt2", "script"])
@pytest.mark.parametrize("count", [60, pytest.param(5000, marks=pytest.mark.slow)])
def test_damaged_programs(kind, count, tmp_path):
    raw, suffix = programs(tmp_path)[kind]
    path, seen = tmp_path / ("mutant" + suffix), dict.fromkeys(["BadFileError"], 0)
    for mutant in inside(raw, count, 17):
        path.write_bytes(mutant)
        found = loaded(path)
        seen[found] = seen.get(found, 0) + 1
    assert seen["BadFileError"] > count / 2, seen


def test_an_operator_of_no_namespace(tmp_path):
    """A damaged name of a target: a refusal of the operator, no bug."""
    raw, _ = programs(tmp_path)["pt2"]
    with zipfile.ZipFile(io.BytesIO(raw)) as z:
        members = {n: z.read(n) for n in z.namelist()}
    (name,) = [n for n in members if n.endswith("models/model.json")]
    members[name] = (
        members[name].replace(b"torch.ops.aten.relu.default", b"relu").replace(b"torch.ops.aten.relu_.default", b"relu")
    )
    with zipfile.ZipFile(tmp_path / "a.pt2", "w") as z:
        for n, data in members.items():
            z.writestr(n, data)
    (problem,) = [p for p in convcore.load(tmp_path / "a.pt2").problems if p.type == "relu"]
    assert problem.code == "unsupported_layer"


@pytest.mark.slow
@pytest.mark.parametrize("container", ["zip", "zip4", "legacy", "legacy5", "safetensors"])
def test_many_damaged_checkpoints(container, tmp_path):
    save_file({"a": torch.randn(3, 5), "b": torch.ones(7, dtype=torch.bfloat16)}, tmp_path / "a")
    raw, suffix = {**seeds(), "safetensors": ((tmp_path / "a").read_bytes(), ".safetensors")}[container]
    damaged(raw, suffix, 5000, tmp_path)


def test_damaged_pickles():
    """The pickle alone, without the archive's checksum before it."""
    value = OrderedDict(a=[1, 2.5, "x", (None, True), {3: b"y"}], b=np.float64(3), c=np.arange(4), d={1, 2})
    for protocol in range(6):
        for mutant in mutants(pickle.dumps(value, protocol), 700, protocol):
            try:
                Pickle(mutant, 0, lambda pid: None, "x", foreign=False).load()
            except ConvcoreError as e:
                assert str(e)


def test_damaged_safetensors(tmp_path):
    save_file({"a": torch.randn(3, 5), "b": torch.ones(7, dtype=torch.bfloat16)}, tmp_path / "a")
    raw = (tmp_path / "a").read_bytes()
    assert damaged(raw, ".safetensors", 1500, tmp_path).get("BadFileError", 0) > 100

    def one(**changes: Any) -> dict[str, Any]:
        return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}

    for header, data, why in (
        ({"a": one(), "b": one(data_offsets=[4, 12])}, 12, "overlap"),
        ({"a": one(shape=[1 << 40, 1 << 40])}, 8, "do not fit"),
        ({"a": one(dtype="F4")}, 8, "element type 'F4'"),
        ({"a": one()}, 12, "12 bytes of data"),
        ({"a": one(shape=[True, 2])}, 8, "no proper shape"),
    ):
        text = json.dumps(header).encode()
        (tmp_path / "b.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(data))
        with pytest.raises(BadFileError, match=why):
            read_checkpoint(tmp_path / "b.safetensors")
    (tmp_path / "b.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    with pytest.raises(BadFileError):
        read_checkpoint(tmp_path / "b.safetensors")


PAIRS = b"".join(b"q%ch%c\x86" % (i, i) for i in range(60))
COLLIDING = b"".join(b"\x8a\x0b" + ((2**61 - 1) * k).to_bytes(11, "little") + b"N" for k in range(1, 200_000))
BOMBS = {
    "nested tuples as a key": b"\x80\x02}(K\x01" + PAIRS + b"K\x01u.",
    "a long integer": b"\x80\x02\x8b\xff\xff\xff\x7f" + b"1" * 99,
    "a huge string": b"\x80\x02X\xff\xff\xff\xffabc.",
    "many sets": b"\x80\x04" + b"\x8f" * 9_000_000 + b".",
    "many marks": b"\x80\x02" + b"(" * 9_000_000 + b".",
    "deep lists": b"\x80\x02" + b"]" * 1_000_000 + b"a" * 999_999 + b".",
    "colliding keys": b"\x80\x02}(" + COLLIDING + b"u.",
    "one list copied": b"\x80\x02](" + b"K\x01" * 50_000 + b"eq\x000" + b"c__builtin__\nset\nh\x00\x85R0" * 50_000 + b"N.",
}


@pytest.mark.parametrize("name", list(BOMBS))
def test_bombs_end_quickly(name):
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF)
    try:
        found = Pickle(BOMBS[name], 0, lambda pid: None, "x", foreign=False).load()[0]
    except BadFileError:
        found = None
    assert name == "deep lists" or found is None
    del found
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime - before.ru_utime < 20
    assert after.ru_maxrss - before.ru_maxrss < 1 << 20  # KiB


def test_archives_that_lie(tmp_path):
    raw = bytearray(zipped(pickle.dumps({}, 2)))

    def refused(data: bytes, why: str) -> None:
        (tmp_path / "a.pt").write_bytes(data)
        with pytest.raises(BadFileError, match=why):
            read_checkpoint(tmp_path / "a.pt")

    refused(bytes(raw[:-30]), "truncated")
    twice = io.BytesIO()
    with zipfile.ZipFile(twice, "w") as z:
        z.writestr("a/data.pkl", b"1"), z.writestr("b/data.pkl", b"2")
    refused(twice.getvalue(), "two checkpoints")
    local = bytearray(raw)
    local[30:31] = b"b"  # the first member's own name
    refused(bytes(local), "disagree")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(twice := io.BytesIO(), "w") as z:
        z.writestr("a/data.pkl", b"1"), z.writestr("a/data.pkl", b"2")
    refused(twice.getvalue(), "two members are named")
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("a/data.pkl", bytes(400 << 20))
    refused(bomb.getvalue(), "is the limit")


def test_a_tensor_cannot_reach_outside_its_storage(tmp_path):
    """Offsets, strides and sizes beyond the storage; a huge tensor expanded from a small one."""
    good = {"a": torch.arange(6.0).reshape(2, 3)}
    buffer = io.BytesIO()
    torch.save(good, buffer)
    with zipfile.ZipFile(buffer) as z:
        members = {n: z.read(n) for n in z.namelist()}
    name = next(n for n in members if n.endswith("data.pkl"))
    for old, new, why in (
        (b"K\x00K\x02K\x03\x86", b"K\x01K\x02K\x03\x86", "reaches element 7"),
        (b"K\x02K\x03\x86", b"K\x02K\x04\x86", "reaches element"),
        (b"K\x03K\x01\x86", b"K\x04K\x01\x86", "reaches element"),
        (b"K\x03K\x01\x86", b"J\xff\xff\xff\xffK\x01\x86", "no list of sizes|not a list of sizes"),
        (b"K\x02K\x03\x86", b"\x8a\x05\xff\xff\xff\xff\x00K\x03\x86", "reaches element"),
    ):
        assert old in members[name]
        with zipfile.ZipFile(tmp_path / "a.pt", "w") as z:
            for n, data in members.items():
                z.writestr(n, data.replace(old, new, 1) if n == name else data)
        with pytest.raises(BadFileError, match=why):
            read_checkpoint(tmp_path / "a.pt")
    expanded = torch.zeros(1).expand(1 << 40)
    torch.save({"a": expanded}, tmp_path / "b.pt")
    with pytest.raises(BadFileError, match="expanded from a storage of 4 bytes"):
        read_checkpoint(tmp_path / "b.pt")


def test_readers_never_name_pickle():
    source = Path(sys.modules["convcore_pytorch.files.pickles"].__file__ or "").parent
    for path in source.glob("*.py"):
        text = path.read_text()
        assert "import pickle" not in text and "eval(" not in text and "exec(" not in text, path


# ---- opcodes that call, in every container
def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


_ARGS = _text(f"touch {MARK}") + b"\x85"  # a tuple of one
CALLING = {
    "GLOBAL REDUCE": b"cposix\nsystem\n" + _ARGS + b"R",
    "STACK_GLOBAL REDUCE": _text("posix") + _text("system") + b"\x93" + _ARGS + b"R",
    "INST": b"(" + _text(f"touch {MARK}") + b"iposix\nsystem\n",
    "OBJ": b"(cposix\nsystem\n" + _text(f"touch {MARK}") + b"o",
    "NEWOBJ": b"cposix\nsystem\n" + _ARGS + b"\x81",
    "NEWOBJ_EX": b"cposix\nsystem\n" + _ARGS + b"}\x92",
    "memoised": b"cposix\nsystem\nq\x07" + b"0h\x07" + _ARGS + b"R",
    "copyreg": b"ccopyreg\n_reconstructor\n(cposix\nsystem\ncbuiltins\nobject\nNtR",
    "BUILD": b"cposix\nsystem\n" + _ARGS + b"R}" + _text("a") + b"K\x01sb",
    "in the arguments of a tensor": b"ctorch._utils\n_rebuild_tensor_v2\n(cposix\nsystem\n" + _ARGS + b"RtR",
    "as a persistent id": b"cposix\nsystem\n" + _ARGS + b"RQ",
    "as a key": b"}cposix\nsystem\n" + _ARGS + b"RK\x01s",
}
"""What ends in a call of posix.system where pickle reads it."""


def containers(raw: bytes) -> dict[str, bytes]:
    """Every file of torch's with a pickle in it, the pickle being ``raw``."""
    code = {"code/__torch__.py": b"class Plain(Module):\n  def forward(self, x: Tensor) -> Tensor:\n    return x\n"}
    plain = b"\x80\x02c__torch__\nPlain\n)\x81}b."
    found = {
        "legacy": legacy(raw),
        "zip": zipped(raw),
        "script": zipped(raw, **{"constants.pkl": pickle.dumps((), 2), **code}),
        "constants": zipped(plain, **{"constants.pkl": raw, **code}),
    }
    exported = io.BytesIO()
    torch.export.save(torch.export.export(torch.nn.Linear(3, 5), (torch.ones(2, 3),), strict=False), exported)
    source = zipfile.ZipFile(exported)
    names = source.namelist()
    top = next(n for n in names if n.endswith("models/model.json"))[: -len("models/model.json")]
    for kind, member in (("weights", "weights"), ("constants", "constants"), ("samples", "sample_inputs")):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as z:
            for name in names:
                if not name.startswith(f"{top}data/{member}/"):
                    z.writestr(name, source.read(name))
            z.writestr(f"{top}data/{member}/model.pt", raw if kind == "samples" else zipped(raw))
        found[f"pt2, {kind}"] = out.getvalue()
    old = zipfile.ZipFile(DATA / "torch_2_6" / "cnn.pt2").read("serialized_exported_program.json")
    for kind in ("state_dict", "constants", "example_inputs"):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as z:
            z.writestr("serialized_exported_program.json", old)
            z.writestr(f"serialized_{kind}.pt", raw if kind == "example_inputs" else zipped(raw))
        found[f"old pt2, {kind}"] = out.getvalue()
    return found


SILENT = ("pt2, samples", "old pt2, example_inputs")
"""Pickles that are never opened: the file loads, or is refused for another reason."""


def test_no_opcode_calls_in_any_container(tmp_path, monkeypatch):
    """Every way to call, in every pickle of every container, through the front door, in a process without torch: nothing runs,
    and the refusal names what was to be called."""
    monkeypatch.chdir(tmp_path)
    paths = []
    for i, (how, body) in enumerate(CALLING.items()):
        for name, data in containers(b"\x80\x04" + body + b".").items():
            path = tmp_path / f"{i} {name}.{'pt2' if 'pt2' in name else 'pt'}"
            path.write_bytes(data)
            paths.append(str(path))
        assert how
    out = without_torch(
        AUDIT.replace('"compile", ', "")
        + """
import convcore
silent, wrong = sys.argv[1].split(";"), []
def run(path):
    try:
        if any(s in path for s in silent):
            return convcore.load(path).num_params
        for read in (convcore.load, read_checkpoint):
            try:
                read(path)
            except ConvcoreError as e:
                if "asks to call posix.system" in str(e):
                    return
                said = str(e)
        wrong.append((path, said))
    except ConvcoreError as e:
        if "has no values in the archive" not in str(e):
            wrong.append((path, str(e)))
run(sys.argv[2]); [run(p) for p in sys.argv[2:40]]
del wrong[:]
on = True
for path in sys.argv[2:]:
    run(path)
on = False
print(len(sys.argv) - 2, bad[:5], wrong[:5])
""",
        ";".join(SILENT),
        *paths,
    )
    assert out.strip() == f"{len(paths)} [] []"
    assert not (tmp_path / MARK).exists()

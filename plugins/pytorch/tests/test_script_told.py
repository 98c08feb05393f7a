"""TorchScript archives made by hand: what the reader says of modules, attributes, methods, calls and values that no program of
torch's has, and what it makes of those that are just allowed."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from convcore.plugin import BadFileError, ConvcoreError, UnsupportedError, UsageError
from convcore_pytorch.files import limits
from convcore_pytorch.files.program import Constant, ElementType, Ref
from convcore_pytorch.files.script import builder, read_torchscript, statements
from convcore_pytorch.files.script.builder import resolve
from convcore_pytorch.files.script.fold import fold
from convcore_pytorch.files.script.values import Sym, Unset, as_argument, equal, fixed, kind_of_value, typed_argument


def plain(value: Any) -> bytes:
    """The opcodes of a value; bytes are opcodes already."""
    return value if isinstance(value, bytes) else pickle.dumps(value, 2)[2:-1]


def thing(cls: str = "Plain", /, **state: Any) -> bytes:
    """The opcodes of an object of a class of the archive."""
    module, _, name = f"__torch__.{cls}".rpartition(".")
    items = b"".join(b"X" + struct.pack("<I", len(k)) + k.encode() + plain(v) for k, v in state.items())
    return f"c{module}\n{name}\n".encode() + b")\x81}(" + items + b"ub"


NETS = "class Inner(Module):\n  def forward(self: __torch__.Inner, x: Tensor) -> Tensor:\n    return torch.relu(x)\n"
HEAD = "class Plain(Module):\n{fields}  def forward(self: __torch__.Plain, x: Tensor{more}) -> Tensor:\n{body}"


def archive(
    path: Path,
    body: str = "return x",
    more: str = "",
    fields: str = "",
    other: str = NETS,
    root: bytes | None = None,
    constants: Any = (),
    files: Any = (),
) -> Path:
    text = HEAD.format(more=more, fields=fields, body="".join(f"    {line}\n" for line in body.split("\n")))
    members = {
        "data.pkl": b"\x80\x02" + (thing() if root is None else root) + b".",
        "constants.pkl": pickle.dumps(constants, 2),
        "version": b"3\n",
        "code/__torch__.py": (text + other).encode(),
        **dict(files),
    }
    with zipfile.ZipFile(path, "w") as z:
        for name, data in members.items():
            if data is not None:
                z.writestr(f"a/{name}", data)
    return path


def read(tmp_path: Path, body: str = "return x", *, method: str = "forward", arguments: Any = None, **made: Any) -> Any:
    return read_torchscript(archive(tmp_path / "a.pt", body, **made), method, arguments)


def test_a_program_by_hand(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "y = torch.mul(x, self.scale)\nreturn (self.inner).forward(y, )",
        root=thing(scale=2.5, inner=thing("Inner"), training=True),
    )
    assert [n.target for n in found.graph.nodes] == ["aten.mul.Scalar", "aten.relu.default"] and found.versions == {
        "archive": "3",
        "training": True,
    }
    assert [s.path for s in found.graph.nodes[1].scopes] == ["", "inner"] and found.modules == {"": "Plain", "inner": "Inner"}
    assert found.graph.nodes[0].argument("other") == 2.5 and found.structure["names"] == ["x"]
    found = read(tmp_path, files={"version": None}, root=thing(training=False))
    assert found.versions == {"archive": "", "training": False}


DEEP = "class Deep(Module):\n  def forward(self: __torch__.Deep, x: Tensor) -> Tensor:\n    return (self.m).forward(x, )\n"
BARE = "class Thing(object):\n  a : int\n"
CALLS: dict[str, tuple[dict[str, Any], type[ConvcoreError], str]] = {
    # what the archive holds, and what is said of it
    "packed weights": (
        {"body": "return self.w", "root": thing(w=b"c__torch__.torch.classes.quantized\nConv\n)\x81}b")},
        UnsupportedError,
        r"'w'\): is an object of class __torch__\.torch\.classes\.quantized\.Conv, which is not read \(packed or custom",
    ),
    "foreign object": (
        {"body": "return self.w", "root": thing(w=b"cmy\nThing\n)\x81}b")},
        UnsupportedError,
        "is an object of class my.Thing, which is not read",
    ),
    "getstate": (
        {"root": thing("Odd"), "other": "class Odd(Module):\n  def __getstate__(self: __torch__.Odd) -> int:\n    return 1\n"},
        UnsupportedError,
        "Odd has a __setstate__, which would run on loading; it is not run",
    ),
    "object made": (
        {"body": "y = __torch__.Thing.__new__(__torch__.Thing)\nreturn x", "other": BARE},
        UnsupportedError,
        r"an object of class Thing\): is made while the model runs",
    ),
    "no class": ({"root": thing("Gone")}, BadFileError, r"the archive's code has no __torch__\.Gone"),
    "function for a class": (
        {"root": thing("fn"), "other": "def fn(x: Tensor) -> Tensor:\n  return x\n"},
        BadFileError,
        r"__torch__\.fn is a function where a class is due",
    ),
    "no function": ({"body": "return __torch__.gone(x)"}, BadFileError, r"the archive's code has no __torch__\.gone"),
    "no source": ({"root": b"c__torch__.far\nPlain\n)\x81}b"}, BadFileError, r"the archive has no a/code/__torch__/far\.py"),
    "no module": ({"root": b"K\x03"}, BadFileError, "data.pkl holds no module"),
    "literals": ({"constants": {"a": 1}}, BadFileError, "data.pkl holds no module"),
    "device": ({"root": b"ctorch\ndevice\nU\x03cpu\x85R"}, UsageError, "no method 'forward'; there are: none"),
    "source": ({"other": "def f(:\n"}, BadFileError, r"a/code/__torch__\.py is damaged: "),
    "latin": ({"files": {"code/__torch__.py": b"\xff"}}, BadFileError, "is not text"),
    "set to a list": (
        {"body": "self.a = [x]\nreturn x", "root": thing(a=1)},
        UnsupportedError,
        r"attribute 'a'\): is set to a Tensor\[\], which has no form as a model's state",
    ),
    "list that is set": (
        {"body": "self.a = x\nreturn x", "root": thing(a=[1, 2])},
        UnsupportedError,
        r"attribute 'a'\): is set between calls and is a int\[\], which has no form as a model's",
    ),
    "set outside": ({"body": "x.a = 1\nreturn x"}, UnsupportedError, r"attribute 'a'\): of something that is no module is set"),
    "of one side": (
        {
            "body": "if torch.gt(x, 1):\n  m = self.a\nelse:\n  m = self.b\nreturn (m).forward(x, )",
            "root": thing(a=thing("Inner"), b=thing("Inner")),
        },
        UnsupportedError,
        r"variable 'm'\): is one of two modules or dicts, depending on a value",
    ),
    "dicts": (
        {"body": "if torch.gt(x, 1):\n  m = {'a': x}\nelse:\n  m = {'a': torch.relu(x)}\nreturn m['a']"},
        UnsupportedError,
        "is one of two modules or dicts",
    ),
    "list method": ({"body": "y = [x]\n_ = torch.insert(y, 0, x)\nreturn x"}, UnsupportedError, r"list\.insert\): is not read"),
    "set item far": (
        {"body": "y = [x]\n_ = torch._set_item(y, 1, x)\nreturn x"},
        UnsupportedError,
        r"list\._set_item\): is not read",
    ),
    "set item far back": (
        {"body": "y = [x]\n_ = torch._set_item(y, -2, x)\nreturn x"},
        UnsupportedError,
        r"list\._set_item\): is not read",
    ),
    "no overload": (
        {"body": "return torch.relu(x, 3)"},
        UnsupportedError,
        r"torch\.relu\): has no overload in ATen's table for \(Tensor, int\)",
    ),
    "layout": ({"body": "return torch.zeros([2], dtype=None, layout=9)"}, BadFileError, "Layout number 9 is not read"),
    "layout below": ({"body": "return torch.zeros([2], dtype=None, layout=-1)"}, BadFileError, "Layout number -1 is not read"),
    "memory format": ({"body": "return torch.contiguous(x, memory_format=4)"}, BadFileError, "MemoryFormat number 4 is not read"),
    "element type": ({"body": "return torch.zeros([2], dtype=99)"}, BadFileError, "ScalarType number 99 is not read"),
    "module as an argument": ({"body": "return torch.relu(self)"}, ConvcoreError, "has no overload|computes with a Module"),
    "class attribute": (
        {"body": "return self.f", "root": thing(f=b"cmath\nsqrt\n")},
        ConvcoreError,
        r"is the class or function math\.sqrt, which is no value",
    ),
    "space": (
        {"body": "return ops.odd.relu(x)"},
        UnsupportedError,
        r"operator odd\.relu\): belongs to no namespace that is read",
    ),
    "deeper space": ({"body": "return ops.aten.a.b(x)"}, ConvcoreError, "before it is set|is not read"),
    "bare torch": ({"body": "return torch(x)"}, UnsupportedError, "call of torch"),
    "prim of two": ({"body": "return ops.prim.device(x, x)"}, UnsupportedError, r"prim\.device\): is not read"),
    "lone min": ({"body": "return ops.prim.min(3)"}, UnsupportedError, r"prim\.min\): is not read"),
}


@pytest.mark.parametrize("what", CALLS)
def test_what_an_archive_may_not_hold(what: str, tmp_path: Path) -> None:
    made, kind, why = CALLS[what]
    with pytest.raises(kind, match=why):
        read(tmp_path, **made)


def test_methods_and_their_arguments(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.pt: no method 'gone'; there are: forward"):
        read(tmp_path, method="gone")
    with pytest.raises(UsageError, match=r"a\.pt: argument 'n' must be a plain value"):
        read(tmp_path, more=", n: int", arguments={"n": object()})
    with pytest.raises(UsageError, match=r"a\.pt: forward has no argument and sets no attribute \['a', 'z'\]; there are: x, n$"):
        read(tmp_path, more=", n: int", arguments={"n": 3, "z": 1, "a": 2})
    with pytest.raises(UsageError, match=r"sets no attribute \['z'\]; there are: x, a$"):
        read(tmp_path, "self.a = 3\nreturn x", root=thing(a=1), arguments={"z": 1})
    found = read(
        tmp_path,
        "self.a = 3\nreturn torch.mul(x, n)",
        more=", c: Tuple[Tensor, int], n: int=2, b: Tuple[Tensor, int]=None",
        root=thing(a=1),
        arguments={"a": 7},
    )
    assert [(i.kind, i.name, i.target, i.value) for i in found.inputs] == [
        ("user", "x", "x", None),
        ("user", "c_0", "c_0", None),
        ("user", "c_1", "c_1", None),
        ("literal", "", "n", 2),
        ("literal", "", "b", None),
        ("literal", "", "a", 7),
    ]
    assert [(o.kind, o.target, o.value) for o in found.outputs if o.target] == [("attribute_mutation", "a", 3)]
    assert read(tmp_path, "self.a = 7\nreturn x", root=thing(a=1), arguments={"a": 7}).outputs[1:] == []
    minus = read(tmp_path, "return torch.mul(x, n)", more=", n: int=-2")
    assert minus.graph.nodes[0].argument("other") == -2


def test_files_of_other_kinds(tmp_path: Path) -> None:
    (tmp_path / "n").write_text("abc" * 9)
    with zipfile.ZipFile(tmp_path / "z", "w") as z:
        z.writestr("a/data.pkl", pickle.dumps({}, 2))
    for name, why in (("n", "no PyTorch file"), ("z", "a checkpoint file")):
        with pytest.raises(BadFileError, match=rf"{name}: no TorchScript archive \({why}\)"):
            read_torchscript(tmp_path / name)


def nested(n: int) -> bytes:
    made = thing("Inner")
    for _ in range(n):
        made = thing("Deep", m=made)
    return made


def test_limits_of_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = {"other": NETS + DEEP + "def f(x: Tensor) -> Tensor:\n  return torch.relu(x)\n"}
    body = "return (self.m).forward(x, )"
    monkeypatch.setattr(limits, "DEPTH", 6)
    assert len(read(tmp_path, body, root=thing(m=nested(4)), **calls).graph.nodes) == 1
    with pytest.raises(BadFileError, match=r"a\.pt: m\.m\.m\.m\.m\.m: modules nested more than 6 deep"):
        read(tmp_path, body, root=thing(m=nested(5)), **calls)
    monkeypatch.undo()
    monkeypatch.setattr(statements, "_CALLS", 6)
    assert len(read(tmp_path, body, root=thing(m=nested(5)), **calls).graph.nodes) == 1
    with pytest.raises(BadFileError, match="calls nested more than 6 deep"):
        read(tmp_path, body, root=thing(m=nested(6)), **calls)
    before = "\n".join(["x = __torch__.f(x)"] * 9)
    with pytest.raises(BadFileError, match="calls nested more than 6 deep"):
        read(tmp_path, f"{before}\n{body}", root=thing(m=nested(6)), **calls)
    assert len(read(tmp_path, f"{before}\n{body}", root=thing(m=nested(5)), **calls).graph.nodes) == 10
    monkeypatch.undo()
    many = "\n".join(["x = torch.relu(x)"] * 9) + "\nreturn x"
    for name, owner, most in (("_STEPS", builder, 20), ("NODES", limits, 5)):
        monkeypatch.setattr(owner, name, most)
        with pytest.raises(BadFileError, match=r"a\.pt: the program is longer than \d+ steps when its methods are inlined"):
            read(tmp_path, many)
        monkeypatch.undo()
    size = len((NETS + HEAD.format(more="", fields="", body="    return __torch__.far.f(x)\n")).encode())
    monkeypatch.setattr(limits, "SOURCE", size)
    more = {
        "body": "return __torch__.far.f(x)",
        "files": {"code/__torch__/far.py": f"{'def f(x: Tensor) -> Tensor:':<36}\n  return x\n".encode()},
    }
    with pytest.raises(BadFileError, match=rf"more than {size} bytes of source"):
        read(tmp_path, **more)
    monkeypatch.setattr(limits, "SOURCE", size + 48)
    assert not read(tmp_path, **more).graph.nodes
    monkeypatch.setattr(limits, "SOURCE", size + 47)
    with pytest.raises(BadFileError, match="bytes of source"):
        read(tmp_path, **more)
    monkeypatch.undo()
    with pytest.raises(BadFileError, match=r"a\.pt: (code nested too deep to be read|a/code/__torch__\.py is damaged)"):
        read(tmp_path, "return " + "-" * 3000 + "1")


def test_names_are_used_once(tmp_path: Path) -> None:
    found = read(tmp_path, "y = torch.relu(x)\ny = torch.relu(y)\nrelu = torch.relu(y)\nreturn relu")
    assert [n.name for n in found.graph.nodes] == ["relu", "relu_1", "relu_2"]


def test_attributes_of_modules(tmp_path: Path) -> None:
    fields = '  __parameters__ = ["w", ]\n  __buffers__ = ["b", ]\n  k : Final[int] = 5\n'
    found = read(tmp_path, "return torch.mul(torch.mul(x, self.k), self.n)", fields=fields, root=thing(n=3))
    assert [n.argument("other") for n in found.graph.nodes] == [5, 3]
    found = read(tmp_path, "return (self.l[1], self.d['a'], self.t[0])", root=thing(l=[1, 2.5], d={"a": 7}, t=(True,)))
    assert [o.value for o in found.outputs] == [2.5, 7, True] and found.structure["result"] == [None, None, None]
    named = "class Pair(NamedTuple):\n  a : Tensor\n  b : int\n"
    found = read(tmp_path, "return __torch__.Pair(x, 3)", other=named)
    assert [o.value for o in found.outputs] == [Ref("x"), 3]


# ---- values
def test_kinds_of_values() -> None:
    x = Sym("x", "Tensor")
    for value, kind in (
        (x, "Tensor"),
        (Unset("int"), "int"),
        (True, "bool"),
        (1, "int"),
        (1.5, "float"),
        ("a", "str"),
        (1j, "complex"),
        (None, "NoneType"),
        ([1, 2], "int[]"),
        ([], "t[]"),
        ([1, 2.5], "t[]"),
        ([x, x], "Tensor[]"),
        ([x, None], "Tensor?[]"),
        ([None], "NoneType[]"),
        ([1, x], "t[]"),
        ((1, x), "(int, Tensor)"),
        ({"a": x}, "Dict(str, Tensor)"),
        ({}, "Dict(str, NoneType)"),
        ([Sym("y", "Tensor?"), x], "Tensor[]"),
    ):
        assert kind_of_value(value) == kind, value
    assert fixed([1, (2.5, {"a": None})]) and not fixed([1, x]) and not fixed({"a": x}) and fixed("a") and not fixed((1, [x]))
    for a, b in ((1, 1), ((1, [2]), (1, [2])), ({"a": 1}, {"a": 1}), (x, Sym("x", "Tensor")), (None, None)):
        assert equal(a, b)
    for a, b in (
        (1, True),
        (1, 1.0),
        ((1,), (1, 2)),
        ([1], (1,)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1}, {"a": 2}),
        (x, Sym("y", "Tensor")),
        (float("nan"), float("nan")),
    ):
        assert not equal(a, b)
    nan = float("nan")
    assert equal(nan, nan) and as_argument({"a": (x, [1])}) == {"a": (Ref("x"), [1])}
    with pytest.raises(BadFileError, match=r"the code computes with a Unset \(a module, a function, a value never set\)"):
        as_argument([Unset("int")])


def test_numbers_of_types_and_layouts() -> None:
    """c10's, by their names."""
    assert (
        typed_argument(6, "ScalarType") == ElementType("float32") == typed_argument(6, "ScalarType?")
        and typed_argument(6, "int") == 6
    )
    assert [typed_argument(i, "Layout").name for i in range(4)] == ["strided", "sparse_coo", "sparse_csr", "_mkldnn"]
    assert [typed_argument(i, "MemoryFormat") for i in range(4)] == [
        Constant("memory_format", n) for n in ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")
    ]
    assert typed_argument(True, "Layout") is True and typed_argument(None, "ScalarType?") is None


def test_overloads_by_kinds() -> None:
    x, n, b = Sym("x", "Tensor"), Sym("n", "int"), Sym("b", "bool")
    for name, args, keywords, want in (
        ("aten.add", [x, x], {}, "add.Tensor"),
        ("aten.add", [x, 3], {}, "add.Scalar"),
        ("aten.add", [x, n], {"alpha": 2}, "add.Scalar"),
        ("aten.add", [n, n], {}, "add.int"),
        ("aten.add", [x], {}, None),
        ("aten.add", [x, x], {"odd": 1}, None),
        ("aten.add", [x, x], {"other": x}, None),
        ("aten.add", [x, "a"], {}, None),
        ("aten.sum", [x, [1]], {}, "sum.dim_IntList"),
        ("aten.sum", [x, 1], {}, "sum.dim_IntList"),
        ("aten.sum", [x], {}, "sum"),
        ("aten.mul", [x, b], {}, "mul.Scalar"),
        ("aten.cat", [[x, x], 0], {}, "cat"),
        ("aten.cat", [x, 0], {}, None),
        ("aten.index", [x, [x, None]], {}, "index.Tensor"),
        ("aten.clamp", [x, None, 3], {}, "clamp"),
        ("aten.softmax", [x, 1, None], {}, "softmax.int"),
        ("aten.dropout", [x, 0.5, False], {}, "dropout"),
        ("aten.dropout", [x, 1, False], {}, "dropout"),
        ("aten.dropout", [x, 0.5, 1], {}, None),
        ("aten.zeros", [[2, 3]], {"dtype": 6}, "zeros"),
    ):
        try:
            found = resolve(name.partition(".")[2], args, keywords)
        except ConvcoreError:
            found = None
        said = found and found[0].target.removeprefix("aten.").removesuffix(".default")
        assert said == want, (name, args, keywords, said)


def test_constants_are_folded_up_to_a_size() -> None:
    big = 1 << 62
    assert fold("add", [big, big - 1], "f") == (1 << 63) - 1 and fold("neg", [(1 << 63) - 1], "f") == 1 - (1 << 63)
    assert (
        fold("format", ["a{}b{}", 1, "x"], "f") == "a1bx"
        and fold("__range_length", [2, 9, 3], "f") == 3
        and fold("__derive_index", [2, 1, 3], "f") == 7
    )
    assert (
        fold("__contains__", [[1, 2], 2], "f") is True
        and fold("floor", [-2.5], "f") == -3
        and fold("ceil", [-2.5], "f") == -2
        and fold("mul", [2, 2.5], "f") == 5
    )
    assert len(fold("add", ["a" * 50_000, "b" * 50_000], "f")) == 100_000
    for name, args in (
        ("add", [big, big]),
        ("sub", [-big, big]),
        ("add", ["a" * 50_000, "b" * 50_001]),
        ("add", [[1] * 50_000, [2] * 50_001]),
    ):
        with pytest.raises(BadFileError, match=rf"f: torch\.{name} gives a value that is too large"):
            fold(name, args, "f")

"""What pickles of checkpoints may build: each function of the closed table by its result and by what it refuses, objects kept as
data, and where state dicts are looked for. Python, numpy and torch themselves say what is right."""

from __future__ import annotations

import pickle
import pickletools
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import numpy as np
import pytest

from convcore.plugin import BadFileError, ConvcoreError, UnsupportedError, UsageError
from convcore_pytorch.files import limits
from convcore_pytorch.files.elements import BY_NAME
from convcore_pytorch.files.objects import Array, Global, Instance
from convcore_pytorch.files.pickles import Pickle
from convcore_pytorch.files.storage import Region, Slice, Storage, StoredTensor
from convcore_pytorch.files.table import call_by_table, element_of, named, numpy_dtype, storage_element
from convcore_pytorch.files.unwrap import choose, is_module, module_tensors, plain

F32, U8 = BY_NAME["float32"], BY_NAME["uint8"]
NUMBERS = np.arange(12, dtype=np.float32) - 5


def storage(element: Any = F32) -> Storage:
    raw = NUMBERS.tobytes()
    return Storage("s", element, len(raw), Region("f", 0, len(raw), raw))


def pickled(value: Any, protocol: int = 2) -> Any:
    return read(pickle.dumps(value, protocol))


def read(raw: bytes, foreign: bool = False) -> Any:
    return Pickle(raw, 0, lambda pid: pid, "f", foreign=foreign).load()[0]


def call(path: str, *args: Any) -> Any:
    return call_by_table(Global(*path.rsplit(".", 1)), args)


DTYPE = Instance(Global("numpy", "dtype"), ("f4",))
TENSOR = StoredTensor(storage(), F32, (2, 3), (3, 1), 0)
V2, V3 = "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3"
TYPED, FLOAT = "torch._tensor._rebuild_from_type_v2", Global("torch", "float32")
UTILS = Global("torch._utils", "_rebuild_tensor_v2")
OF_TENSOR = (storage(), 0, (2, 3), (3, 1), False, None)

TABLE: list[tuple[str, tuple[Any, ...], str]] = [
    (V2, ("no", 0, (2,), (1,)), "a tensor without a storage"),
    (V3, ("no", 0, (2,), (1,), False, None, FLOAT), "without a storage"),
    (V3, (Slice(storage(), 0, 2), 0, (2,), (1,), False, None, FLOAT), "a tensor without a storage"),
    (V3, (storage(None), 0, (2,), (1,), False, None, "float32"), "a tensor's element type is not a torch dtype"),
    (V3, (storage(None), 0, (2,), (1,), False, None, Global("numpy", "float32")), "element type is not a torch dtype"),
    (V3, (storage(None), 0, (2,), (1,), False, None, Global("torch", "quint4x2")), "element type torch.quint4x2 is not read"),
    (V2, (*OF_TENSOR, 3), "a tensor has metadata that is not known"),
    (V2, (*OF_TENSOR, {"odd": True}), "metadata that is not"),
    (V2, (storage(),), "_rebuild_tensor_v2 is called with other arguments than torch gives it"),
    ("torch.nn.parameter.Parameter", (3,), "a parameter without a tensor"),
    (
        TYPED,
        (UTILS, Global("my", "Tensor"), OF_TENSOR, {}),
        "a tensor subclass, my.Tensor: is not read|a tensor subclass, my.Tensor",
    ),
    (TYPED, (UTILS, "torch.Tensor", OF_TENSOR, {}), r"a tensor subclass, \?"),
    (TYPED, ("f", Global("torch", "Tensor"), OF_TENSOR, {}), "a tensor of a subclass is built in an unknown way"),
    (TYPED, (UTILS, Global("torch", "Tensor"), list(OF_TENSOR), {}), "built in an unknown way"),
    (TYPED, (Global("torch", "Size"), Global("torch", "Tensor"), OF_TENSOR, {}), "built in an unknown way"),
    ("collections.OrderedDict", ([3],), "an OrderedDict of something that is no pair"),
    ("collections.OrderedDict", ([(1, 2, 3)],), "no pair"),
    ("collections.OrderedDict", ([([1], 2)],), "no pair"),
    ("collections.OrderedDict", (["ab"],), "no pair"),
    ("collections.OrderedDict", ([((), 2)],), "no pair"),
    ("torch.Size", ("ab",), "a torch.Size of something that is no integer"),
    ("torch.Size", ([True],), "no integer"),
    ("torch.Size", ((1, 2.0),), "no integer"),
    ("_codecs.encode", (b"a", "latin1"), "bytes in an unknown encoding"),
    ("_codecs.encode", ("a", "rot13"), "bytes in an unknown encoding"),
    ("_codecs.encode", ("é", "ascii"), "bytes that are not ascii"),
    ("_codecs.encode", ("\u20ac", "latin-1"), "bytes that are not latin-1"),
    ("builtins.bytes", (3,), "bytes in an unknown encoding"),
    ("builtins.set", (3,), "a set of something that is no list"),
    ("builtins.frozenset", ("ab",), "no list"),
    ("collections.deque", ({1: 2},), "no list"),
    ("builtins.complex", ("1", 2), "a complex number of something that is no number"),
    ("builtins.complex", (1, None), "no number"),
    ("builtins.complex", (1.1e308, 0), "no number"),
    ("builtins.complex", (0, -1.1e308), "no number"),
    ("builtins.complex", (10**309, 0), "no number"),
    ("numpy.dtype", (3,), "a numpy array whose element type is no number"),
    ("numpy.dtype", ("O8", 0, 1), "is no number"),
    ("numpy.dtype", ("U3", 0, 1), "is no number"),
    ("numpy.dtype", ("f16", 0, 1), "is no number"),
    ("numpy._core.multiarray.scalar", (3, b"abcd"), "a numpy value without an element type"),
    ("numpy.core.multiarray.scalar", (Instance(Global("my", "dtype"), ("f4",)), b"abcd"), "without an element type"),
    ("numpy._core.multiarray.scalar", (DTYPE, b"abc"), "a numpy scalar of the wrong length"),
    ("numpy._core.multiarray.scalar", (DTYPE, "abcd"), "a numpy scalar of the wrong length"),
    ("numpy._core.multiarray.scalar", (DTYPE,), "a numpy scalar of the wrong length"),
    ("numpy._core.numeric._frombuffer", (bytes(8), DTYPE, (3,), "C"), "a numpy array whose bytes do not fit its shape"),
    ("numpy._core.numeric._frombuffer", ("abcd", DTYPE, (1,), "C"), "do not fit its shape"),
    ("numpy._core.numeric._frombuffer", (bytes(8), DTYPE, (-1, -2), "C"), "do not fit its shape"),
    ("numpy._core.numeric._frombuffer", (bytes(4), DTYPE, (1,) * 33, "C"), "do not fit its shape"),
    ("numpy._core.numeric._frombuffer", (bytes(4), DTYPE, "a", "C"), "a torch.Size of something"),
    *(
        (f"torch._utils.{name}", (1, 2), f"{name}.*: is not read - convert it to plain tensors in torch first")
        for name in (
            "_rebuild_sparse_tensor",
            "_rebuild_sparse_csr_tensor",
            "_rebuild_nested_tensor",
            "_rebuild_qtensor",
            "_rebuild_meta_tensor_no_storage",
            "_rebuild_wrapper_subclass",
            "_rebuild_device_tensor_from_numpy",
            "_rebuild_device_tensor_from_cpu_tensor",
        )
    ),
]


@pytest.mark.parametrize("at", range(len(TABLE)), ids=[f"{p.rpartition('.')[2]}-{i}" for i, (p, _, _) in enumerate(TABLE)])
def test_what_the_table_refuses(at: int) -> None:
    path, args, why = TABLE[at]
    with pytest.raises((BadFileError, UnsupportedError), match=why):
        call(path, *args)


def test_tensors_of_the_table() -> None:
    rows = NUMBERS.reshape(4, 3)
    for bits, parts in (
        (None, ()),
        ({"conj": False}, ()),
        ({"neg": True}, ("neg",)),
        ({"conj": True}, ("conj",)),
        ({"conj": 1}, ()),
    ):
        made = call(V2, storage(), 3, (2, 3), (3, 1), True, None, bits)
        assert (made.conj, made.neg, made.requires_grad, made.parameter) == ("conj" in parts, "neg" in parts, True, False)
        np.testing.assert_array_equal(made.numpy(), -rows[1:3] if made.neg else rows[1:3])
    assert not call(V2, storage(), 0, (2,), (1,), 1, None).requires_grad and not call(V2, storage(), 0, (2,), (1,)).requires_grad
    assert call(V2, storage(None), 4, (4,), (1,)).numpy().tolist() == list(NUMBERS[1:2].tobytes())
    assert call(V2, Slice(storage(), 2, 4), 1, (3,), (1,)).numpy().tolist() == NUMBERS[3:6].tolist()
    (seen,) = [call(V3, storage(None), 2, (3,), (2,), False, None, Global("torch", "float"), None)]
    np.testing.assert_array_equal(seen.numpy(), NUMBERS[2:7:2])
    for path in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state", "torch.nn.parameter.Parameter"):
        for grad, wants in ((True, True), (False, False), (1, False)):
            made = call(path, TENSOR, grad, None)
            assert (made.parameter, made.requires_grad, made.storage) == (True, wants, TENSOR.storage)
    assert call("torch.nn.parameter.Parameter", TENSOR).requires_grad
    for cls in ("torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer", "torch._tensor.Tensor"):
        made = call(TYPED, UTILS, Global(*cls.rsplit(".", 1)), OF_TENSOR, {"tag": 1})
        np.testing.assert_array_equal(made.numpy(), rows[:2])


def test_values_of_the_table() -> None:
    assert call("collections.OrderedDict", [["a", 1], (None, 2), (3.5, 3), (b"b", 4)]) == OrderedDict(
        [("a", 1), (None, 2), (3.5, 3), (b"b", 4)]
    )
    assert call("torch.Size", (2, 3)) == (2, 3) == call("torch.Size", [2, 3]) and call("torch.Size") == ()
    for text, encoding in (("é", "latin1"), ("é", "latin-1"), ("\u20ac", "utf-8"), ("a", "ascii")):
        assert call("_codecs.encode", text, encoding) == text.encode(encoding)
    assert (
        call("builtins.bytes", b"ab") == b"ab"
        and call("builtins.bytearray", "é", "latin-1") == b"\xe9"
        and call("builtins.bytes") == b""
    )
    assert (
        call("builtins.set", [3, 1]) == [3, 1] and call("collections.deque", (1, 2), 5) == [1, 2] and call("builtins.list") == []
    )
    assert call("collections.Counter", {"a": 2}) == {"a": 2} and call(
        "collections.defaultdict", Global("builtins", "list"), {1: 2}
    ) == {1: 2}
    assert call("collections.defaultdict", Global("builtins", "list")) == {}
    assert call("builtins.complex", 1e308, -2) == 1e308 - 2j
    assert call("torch.jit._pickle.build_intlist", [1, 2], "x") == [1, 2]
    assert (
        call("torch.device", "cuda", 1).args == ("cuda", 1)
        and call("torch.serialization._get_layout", "l").cls.path == "torch.layout"
    )
    assert named("__builtin__", "set").path == "builtins.set" and named("copy_reg", "x").path == "copyreg.x"


def test_arrays_and_numbers_of_numpy_come_back() -> None:
    for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "c8", "c16", "b1"):
        for order in "<>":
            dtype = np.dtype(code).newbyteorder(order)
            values = (np.arange(6).reshape(2, 3) % 3).astype(dtype)
            for protocol in range(6):
                for array in (values, np.asfortranarray(values), values[0], values[:0], values.T[1:]):
                    found = pickled(array, protocol)
                    assert isinstance(found, Array) and found.values.shape == array.shape
                    assert found.values.dtype == dtype.newbyteorder("=") and np.array_equal(found.values, array)
                scalar = pickled(values[0, 1], protocol)
                assert scalar == values[0, 1] and type(scalar) is type(values[0, 1].item())
    assert numpy_dtype(DTYPE) == np.dtype("<f4") and numpy_dtype(Instance(Global("numpy", "dtype"), (">i2",))) == np.dtype(">i2")


def test_storages_and_their_types() -> None:
    for module in ("torch", "torch.storage", "torch.cuda"):
        assert storage_element(Global(module, "UntypedStorage")) is None
        assert storage_element(Global(module, "BFloat16Storage")) is BY_NAME["bfloat16"]
        with pytest.raises(BadFileError, match=f"storage class {module}.QInt8Storage is not read"):
            storage_element(Global(module, "QInt8Storage"))
    for name in ("UntypedStorage", "FloatStorage"):
        with pytest.raises(BadFileError, match=f"storage class my.{name} is not read"):
            storage_element(Global("my", name))
    for short, name in (("float", "float32"), ("double", "float64"), ("half", "float16"), ("long", "int64"), ("int", "int32")):
        assert element_of(Global("torch", short)) is BY_NAME[name]


# ---- objects that are kept
class Plain:
    def __init__(self) -> None:
        self.a = 1


class Listed(list[Any]):
    pass


class Mapped(dict[Any, Any]):
    pass


def test_objects_of_other_classes_are_data() -> None:
    for protocol in range(2, 6):
        one = pickled(Plain(), protocol)
        assert (
            isinstance(one, Instance) and one.cls.name == "Plain" and one.state == {"a": 1} and repr(one) == f"<{one.cls.path}>"
        )
        assert pickled(Listed([1, 2]), protocol).items == [1, 2] and pickled(Mapped(a=1, b=[2]), protocol).pairs == [
            ("a", 1),
            ("b", [2]),
        ]
    assert pickled(Plain(), 0).state == {"a": 1}, "by copyreg._reconstructor"
    for value in (
        Counter(a=2),
        defaultdict(list, {"a": [1]}),
        {1, 2},
        frozenset([3]),
        deque([1, 2], 3),
        2 - 1j,
        b"ab",
        bytearray(b"c"),
    ):
        wanted = (
            list(value) if isinstance(value, (set, frozenset, deque)) else bytes(value) if isinstance(value, bytearray) else value
        )
        for protocol in range(6):
            assert pickled(value, protocol) == wanted, (value, protocol)


STACK = b"\x80\x04"
BUILT: dict[str, tuple[bytes, str]] = {
    "arguments by name": (b"cmy\nThing\n)}U\x01aK\x01s\x92.", "an object made with named arguments"),
    "object of a number": (b"K\x01)}\x92.", "an object of something that is no class"),
    "arguments that are a list": (b"cmy\nThing\n]\x81.", "an object of something that is no class"),
    "call with a list": (b"ctorch\nSize\n]R.", "arguments that are no tuple"),
    "copyreg of nothing": (b"ccopyreg\n_reconstructor\n)R.", "asks to call copyreg._reconstructor"),
    "copyreg of a number": (b"ccopyreg\n__newobj__\nK\x01\x85R.", "asks to call copyreg.__newobj__"),
    "nothing made by OBJ": (b"(o.", "the pickle's stack is empty"),
    "name by number": (b"K\x01U\x01a\x93.", "a class whose name is no text"),
    "name of a number": (b"U\x01aK\x01\x93.", "a class whose name is no text"),
    "array of a text": (b"cnumpy._core.multiarray\n_reconstruct\n)RU\x01ab.", "a numpy array with an unknown state"),
    "array of four": (b"cnumpy._core.multiarray\n_reconstruct\n)R(K\x01)K\x01U\x01atb.", "a numpy array with an unknown state"),
    "set in a list": (b"]K\x01K\x02s.", "items are set in a list"),
    "state of a list": (b"]}b.", "state for a list"),
    "frame": (b"\x95\x02\0\0\0\0\0\0\0.", "the pickle is truncated"),
    "protocol 6": (b"\x80\x06N.", "an unknown pickle protocol"),
    "popped below a mark": (b"K\x01(0)00.", "the pickle's stack is empty"),
    "mark again": (b"(11.", "the pickle has no mark"),
    "one quote": (b"S'\n.", "text without quotes"),
    "two quotes": (b"S'a\"\n.", "text without quotes"),
    "no quotes": (b"Saba\n.", "text without quotes"),
    "far from latin": ("S'\u20ac'\n.".encode(), "text that is damaged"),
    "raw escape": (b"V\\u12\n.", "text that is damaged"),
    "dict as a key": (b"}}K\x01s.", "a key that is a dict"),
    "class as a key": (b"}cmy\nThing\n)\x81K\x01s.", "a key that is a Instance"),
    "large key": (b"}\x8a\x08" + (1 << 60).to_bytes(8, "little") + b"K\x01s.", "an integer key of more than 60 bits"),
    "large negative key": (b"}\x8a\x08" + (-(1 << 60)).to_bytes(8, "little", signed=True) + b"K\x01s.", "of more than 60 bits"),
    "large key inside": (b"}\x8a\x08" + (1 << 60).to_bytes(8, "little") + b"\x85K\x01s.", "of more than 60 bits"),
    "key nested too deep": (b"})" + b"\x85" * limits.NESTED_KEY + b"K\x01s.", "a key that is a tuple"),
    "line": (b"I" + b"1" * (limits.TEXT_LINE + 1) + b"\n.", "a line without an end"),
    "long digits": (b"I" + b"1" * (2 * limits.INTEGER + 1) + b"\n.", f"an integer of more than {limits.INTEGER} bytes"),
    "negative length": (b"\x8b\xff\xff\xff\xff.", f"an integer of more than {limits.INTEGER} bytes"),
}


@pytest.mark.parametrize("what", BUILT)
def test_what_pickles_may_not_build(what: str) -> None:
    raw, why = BUILT[what]
    with pytest.raises(ConvcoreError) as e:
        read(raw)
    assert why in str(e.value) and str(e.value).startswith("f: ")


def test_what_is_just_allowed() -> None:
    """At each limit."""
    for n in ((1 << 60) - 1, 1 - (1 << 60)):
        assert list(pickled({n: 1})) == [n]
    deep: Any = 3
    for _ in range(limits.NESTED_KEY):
        deep = (deep,)
    assert list(pickled({deep: 1})) == [deep]
    assert read(b"I" + b"1" * (2 * limits.INTEGER) + b"\n.") == int("1" * (2 * limits.INTEGER))
    assert read(b"\x8b" + limits.INTEGER.to_bytes(4, "little") + b"\x01" * limits.INTEGER + b".") == int.from_bytes(
        b"\x01" * limits.INTEGER, "little"
    )
    line = b"V" + b"a" * (limits.TEXT_LINE - 1) + b"\n."
    assert len(read(line)) == limits.TEXT_LINE - 1
    assert (
        read(b"\x80\x05\x95\x02\0\0\0\0\0\0\0N.") is None
        and read(b"S''\n.") == ""
        and read(b"I01\n.") is True
        and read(b"I00\n.") is False
    )
    assert read(b"I1\n.") == 1 and read(b"K\x01(K\x02K\x031.") == 1 and read(b"K\x01(0.") == 1 and read(b"(K\x01K\x020t.") == (1,)
    assert read(b"(cmy\nA\n)\x81l.")[0].cls.path == "my.A" and read(b"(ctorch\nSize\n(K\x02to.") == (2,) == read(
        b"((K\x02titorch\nSize\n."
    )


def test_memory_is_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the least a value takes; just below the budget it is read."""
    for value in (
        ["a" * 3000],
        [[0] * 2000],
        [{i: i for i in range(400)}],
        [()] * 10 + [(i, i) for i in range(300)],
        [float(i) for i in range(9)],
    ):
        raw = pickle.dumps(value, 4)
        machine = Pickle(raw, 0, lambda pid: pid, "f", foreign=False)
        machine.load()
        monkeypatch.setattr(limits, "MEMORY", machine.memory)
        assert read(raw) == value
        monkeypatch.setattr(limits, "MEMORY", machine.memory - 1)
        with pytest.raises(BadFileError, match="f: the pickle asks for more than 0 MiB of objects"):
            read(raw)
        assert machine.memory >= len(raw) * 0.9
        monkeypatch.undo()
    raw = pickle.dumps(list(range(7)), 2)
    count = len(list(pickletools.genops(raw)))
    monkeypatch.setattr(limits, "OPCODES", count)
    assert read(raw) == list(range(7))
    monkeypatch.setattr(limits, "OPCODES", count - 1)
    with pytest.raises(BadFileError, match=f"the pickle has more than {count - 1} opcodes"):
        read(raw)


@pytest.mark.parametrize(
    "module",
    ["os", "posix", "nt", "subprocess", "sys", "builtins", "importlib", "runpy", "socket", "shutil", "ctypes", "code", "pty"],
)
def test_objects_of_what_runs_things_are_never_kept(module: str) -> None:
    for name in (module, f"{module}.inner"):
        raw = b"c" + name.encode() + b"\nThing\n)\x81."
        with pytest.raises(BadFileError, match=rf"asks to call {name}\.Thing, which is no part of a checkpoint; nothing was run"):
            read(raw)
        assert read(raw, foreign=True).cls.path == f"{name}.Thing"
    assert read(b"c" + module.encode() + b"x\nThing\n)\x81.").cls.path == f"{module}x.Thing"


# ---- where weights are
def module(*children: tuple[str, Any], cls: str = "my.Net", **state: Any) -> Instance:
    made = Instance(Global(*cls.rsplit(".", 1)))
    made.state = {"_parameters": OrderedDict(), "_buffers": OrderedDict(), "_modules": OrderedDict(children), **state}
    return made


def weights(*names: str) -> OrderedDict[str, Any]:
    return OrderedDict((n, TENSOR) for n in names)


def test_modules_are_read_as_torch_does() -> None:
    """Parameters, persistent buffers, children, in order; what is None, no tensor or not persistent is left out."""
    inner = module(
        cls="my.Inner",
        _parameters=OrderedDict(w=TENSOR, none=None),
        _buffers={"b": TENSOR, "lost": TENSOR, "n": 3},
        _non_persistent_buffers_set={"lost": 1, "w": 1},
    )
    root = module(("a", inner), ("gone", None), ("z", module(_buffers=None, _parameters=None)), _parameters={"p": TENSOR})
    tensors, extra, classes = module_tensors(root, "f")
    assert list(tensors) == ["p", "a.w", "a.b"] and extra == {} and classes == {"": "my.Net", "a": "my.Inner", "z": "my.Net"}
    script = Instance(Global("__torch__", "Net"))
    script.state = {"w": TENSOR, "n": 3, "child": inner, "odd": Instance(Global("my", "Odd"))}
    tensors, _, classes = module_tensors(script, "f")
    assert list(tensors) == ["w", "child.w", "child.b"] and classes["child"] == "my.Inner" and is_module(script)
    no_state = Instance(Global("__torch__", "Net"))
    half = Instance(Global("my", "Net"))
    half.state = {"_parameters": {}}
    assert (
        not is_module(no_state) and not is_module(half) and not is_module({"_parameters": {}, "_modules": {}}) and is_module(root)
    )
    for broken, why in (
        (module(_parameters=[1]), r"f: my\.Net\._parameters is no mapping"),
        (module(_buffers="b"), r"f: my\.Net\._buffers is no mapping"),
        (module(_modules=[3]), r"f: my\.Net\._modules is no mapping"),
        (module(("a", 3)), r"f: a\. is a int, not a module"),
        (half, "f: the root is a Instance, not a module"),
    ):
        with pytest.raises(BadFileError, match=why):
            module_tensors(broken, "f")
    deep = module()
    for _ in range(limits.DEPTH):
        deep = module(("m", deep))
    assert len(module_tensors(deep, "f")[2]) == limits.DEPTH + 1
    with pytest.raises(BadFileError, match=f"f: modules nested more than {limits.DEPTH} deep, or without end"):
        module_tensors(module(("m", deep)), "f")


def test_modules_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = module(*((f"m{i}", module(_parameters=weights("a", "b"))) for i in range(5)))
    monkeypatch.setattr(limits, "MEMBERS", 15)
    assert len(module_tensors(wide, "f")[0]) == 10
    monkeypatch.setattr(limits, "MEMBERS", 12)
    with pytest.raises(BadFileError, match="or without end"):
        module_tensors(wide, "f")


ARRAY, STEP = Array(np.ones(3)), StoredTensor(storage(), F32, (), (), 0)
CHOICES: list[tuple[Any, list[str]]] = [
    (weights("a"), [""]),
    (TENSOR, [""]),
    (module(), [""]),
    ({"a": ARRAY}, [""]),
    ({"a": 1}, []),
    ([TENSOR], []),
    (3, []),
    ({"model": weights("a")}, ["model"]),
    ({"model": module()}, ["model"]),
    ([weights("a"), 3], ["0"]),
    ((3, weights("a")), ["1"]),
    ({"a": weights("x"), "b": {"c": weights("y")}}, ["a", "b.c"]),
    ({"step": STEP, "model": weights("a")}, ["model"]),
    ({"step": STEP, "n": 3}, [""]),
    ({"w": TENSOR, "model": weights("a")}, ["", "model"]),
    ({3: weights("a")}, []),
    *(
        ({f"{k}_x": weights("a"), "net": weights("b")}, ["net"])
        for k in ("optim", "lr_sched", "scheduler", "scaler", "rng", "random", "LOSS", "amp", "callbacks", "loops")
    ),
    ({"_extra_state": weights("a"), "net": weights("b")}, ["net"]),
    ({"x": {"param_groups": [], "a": TENSOR}}, []),
    ([[3] * 17, [weights("a")] * 17], []),
    ([3] * 15 + [weights("a")], ["15"]),
    ({"a": {"b": {"c": {"d": weights("x")}}}}, ["a.b.c.d"]),
    ({"a": {"b": {"c": {"d": {"e": weights("x")}}}}}, []),
]


@pytest.mark.parametrize("at", range(len(CHOICES)))
def test_where_state_dicts_are_found(at: int) -> None:
    root, names = CHOICES[at]
    for name in names:
        keys, value = choose(root, "f", name)
        assert ".".join(keys) == name and (is_module(value) or len(plain(value)[0]))
    listed = ", ".join(n or "(the top level)" for n in names) or "none"
    with pytest.raises(UsageError) as e:
        choose(root, "f", "not there")
    assert str(e.value) == f"f: no entry 'not there'; there are: {listed}"
    if len(names) == 1:
        assert ".".join(choose(root, "f", None)[0]) == names[0]
        return
    with pytest.raises((BadFileError, UsageError)) as e:
        choose(root, "f", None)
    kind = type(root).__name__
    want = f"holds 2 state dicts: {listed}; name the entry, or save it alone" if names else f"holds a {kind} and no mapping"
    assert want in str(e.value)


def test_what_holds_nothing_is_named() -> None:
    with pytest.raises(BadFileError, match=r"f: holds an object of class my\.Odd and no mapping of names to tensors"):
        choose(Instance(Global("my", "Odd")), "f", None)
    same = weights("a")
    assert choose({"a": same, "b": same}, "f", None)[0] == ("a",)
    many = {f"m{i}": weights("a") for i in range(23)}
    with pytest.raises(UsageError, match=r"holds 23 state dicts: m0, .*, m19 and 3 more; name"):
        choose(many, "f", None)
    with pytest.raises(UsageError, match=r"holds 20 state dicts: m0, .*, m19; name"):
        choose({k: v for k, v in many.items() if int(k[1:]) < 20}, "f", None)
    tensors, extra = plain({"a": TENSOR, 3: ARRAY, "n": 5})
    assert list(tensors) == ["a", "3"] and extra == {"n": 5} and np.array_equal(tensors["3"].numpy(), np.ones(3))

"""The way out in its words and numbers: files of weights by the bytes, names, sizes, what running and filling refuse."""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from convcore.errors import InputError, UnsupportedError, UsageError
from convcore.hookspecs import EmitRequest
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Origin
from convcore.ir.tensors import as_tensor
from convcore.plugin import Builder, State
from convcore_pytorch.dialect import TorchDialect, number
from convcore_pytorch.emit import _changed, emit
from convcore_pytorch.sizes import _apply
from convcore_pytorch.weights import _int, _text, _Zip, write_pth, write_safetensors

torch = pytest.importorskip("torch")
from torch import nn

from convcore_pytorch import written
from convcore_pytorch.fill import examples, fill
from convcore_pytorch.fx import TorchTensor
from convcore_pytorch.runtime import THREADS, open_runtime
from convcore_pytorch.types import SAFETENSORS


def state(*shape: int, dtype: str = "float32") -> State:
    numbers = np.arange(math.prod(shape)).reshape(shape) % 2
    return State(as_tensor(numbers.astype(DType(dtype).numpy)))


ALL = ("float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool", "complex64", "complex128")


# ---- files of weights
def test_pth_is_a_zip_that_torch_and_zipfile_read(tmp_path: Path) -> None:
    """Every type, no elements, no axes, many axes; tied keys share their memory; members lie at multiples of 64 bytes."""
    states = {f"of.{d}": state(3, 5, 7, dtype=d) for d in ALL}
    states |= {"one": state(), "none": state(0, 3), "ключ": state(2, 1, 3), "long" * 40: state(11)}
    path = tmp_path / "a.pth"
    write_pth(path, states, {"twin": "of.float32"})
    with zipfile.ZipFile(path) as z:
        assert z.testzip() is None and z.namelist()[:2] == ["archive/data.pkl", "archive/byteorder"]
        assert z.read("archive/version") == b"3\n" and z.read("archive/byteorder") == b"little"
        raw = path.read_bytes()
        for i in z.infolist():
            start = i.header_offset + 30 + len(i.filename.encode()) + int.from_bytes(raw[i.header_offset + 28 :][:2], "little")
            assert start % 64 == 0 and raw[start : start + i.file_size] == z.read(i), i.filename
    got = torch.load(path, weights_only=True)
    assert list(got) == [*states, "twin"] and got["twin"].data_ptr() == got["of.float32"].data_ptr()
    for k, s in states.items():
        assert tuple(got[k].shape) == s.shape and str(got[k].dtype) == f"torch.{s.dtype}" and got[k].is_contiguous()
        assert np.array_equal(got[k].to(torch.complex128).numpy(), s.tensor.numpy().astype(np.complex128))
        assert not got[k].requires_grad


def test_safetensors_are_what_the_library_reads(tmp_path: Path) -> None:
    safe = pytest.importorskip("safetensors")
    states = {f"of.{d}": state(3, 5, dtype=d) for d in ALL if not d.startswith("complex")} | {
        "none": state(0, 3),
        "ключ": state(),
    }
    write_safetensors(tmp_path / "a.safetensors", states, {"format": "pt", "class": "Größe"})
    raw = (tmp_path / "a.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    assert size % 8 == 0 and raw[8:9] == b"{"
    with safe.safe_open(tmp_path / "a.safetensors", "pt") as f:
        assert f.metadata() == {"format": "pt", "class": "Größe"} and set(f.keys()) == set(states)
        for k, s in states.items():
            t = f.get_tensor(k)
            assert tuple(t.shape) == s.shape and str(t.dtype) == f"torch.{s.dtype}"
            assert np.array_equal(t.double().numpy(), s.tensor.numpy().astype(np.float64))
    import json

    offsets = {k: v["data_offsets"][0] for k, v in json.loads(raw[8 : 8 + size]).items() if k != "__metadata__"}
    assert all(offsets[k] % s.tensor.numpy().itemsize == 0 for k, s in states.items())


@pytest.mark.parametrize("n", [0, 1, 255, (1 << 31) - 1, 1 << 31, (1 << 32) + 5, (1 << 39) - 1, (1 << 63) + 7])
def test_numbers_are_pickled(n: int) -> None:
    assert pickle.loads(b"\x80\x02" + _int(n) + b".") == n


def test_texts_are_pickled() -> None:
    assert pickle.loads(b"\x80\x02" + _text("weißes 层") + b".") == "weißes 层"


class Stop(Exception):
    pass


def weighing(n: int) -> Any:
    def stop(*_: Any) -> None:
        raise Stop

    return SimpleNamespace(dtype=DType.FLOAT32, tensor=SimpleNamespace(nbytes=n, shape=(n // 4,), size=n // 4, write_to=stop))


def test_how_much_a_pth_holds(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.pth: a \.pth of more than 4 GB is not written; write \.safetensors"):
        write_pth(tmp_path / "a.pth", {"a": weighing(1 << 31), "b": weighing(1 << 31)}, {})
    assert not list(tmp_path.iterdir())
    with pytest.raises(Stop):
        write_pth(tmp_path / "a.pth", {"a": weighing(1 << 31), "b": weighing((1 << 31) - 4)}, {})
    for count, fits in ((65535, True), (65536, False)):
        z = _Zip(io.BytesIO())
        z.entries = [(b"a", 0, 0, 0, 0)] * count
        if fits:
            z.close()
            continue
        with pytest.raises(UsageError, match=r"a \.pth of more than 65535 tensors is not written; write \.safetensors"):
            z.close()


def test_types_without_a_storage_or_a_tag(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"'odd' \(tensor\): is uint16, which has no storage class of its own") as e:
        write_pth(tmp_path / "a.pth", {"odd": state(2, dtype="uint16"), "fine": state(2), "odd2": state(dtype="uint64")}, {})
    assert len(e.value.problems) == 2 and e.value.problems[0].hint == "write .safetensors" and not list(tmp_path.iterdir())


# ---- names and numbers
OF_TORCH = TorchDialect()
OF_TORCH.groups = SimpleNamespace(of_torch=True)  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("wanted", "other", "of_torch"),
    [
        ("fc", "fc", "fc"), ("fc-1", "fc_1", "fc-1"), ("0", "0", "0"), ("10", "10", "10"), ("01", "_01", "01"),
        ("forward", "forward_", "forward_"), ("type", "type_", "type_"),
        ("from_pretrained", "from_pretrained_", "from_pretrained_"),
        ("__init__", "m__init__", "m__init__"), ("_x", "_x", "_x"), ("a.b", "a_b", "a.b"), ("a.train", "a_train", "a.train_"),
        ("class", "class_", "class_"), ("half", "half_", "half_"), ("T_destination", "T_destination_", "T_destination_"),
    ],
)  # fmt: skip
def test_names_of_members(wanted: str, other: str, of_torch: str) -> None:
    assert (TorchDialect().member_name(wanted), OF_TORCH.member_name(wanted)) == (other, of_torch)


@pytest.mark.parametrize(
    ("wanted", "name"),
    [("net", "Net"), ("my_net-2", "MyNet2"), ("torch.nn.ResNet", "ResNet"), ("None", "BlockNone"), ("F", "BlockF"),
     ("Path", "BlockPath"), ("2d", "Block2d"), ("resNet", "ResNet"), ("a.", "A")],
)  # fmt: skip
def test_names_of_classes(wanted: str, name: str) -> None:
    assert TorchDialect().class_name(wanted) == name


def constant(x: Any, dtype: str) -> Any:
    return Builder(Graph("g")).const(np.array(x, DType(dtype).numpy))


def test_constants_as_numbers() -> None:
    for x, dtype in ((0.1, "float32"), (2.5, "float64"), (-3, "int8"), (7, "uint16"), (np.inf, "float32"), (3e38, "float32")):
        n = number(constant(x, dtype))
        assert type(n) is (float if "float" in dtype else int) and np.array(n, DType(dtype).numpy) == np.array(
            x, DType(dtype).numpy
        )
    assert number(constant(0.1, "float32")) == 0.1 and number(constant([[4]], "int64")) == 4
    largest = float(np.finfo(np.float32).max)
    assert number(constant(largest, "float32")) <= largest and number(constant(-largest, "float32")) >= -largest
    assert number(constant(True, "bool")) is None and number(constant([1, 2], "int64")) is None
    g = Graph("g")
    assert number(Builder(g).weight(np.float32(2), "w", role="parameter")) is None
    assert number(Builder(g).input("x", DType.FLOAT32, ())) is None


# ---- sizes of programs
SIZES: list[tuple[str, list[int], int | None]] = [
    ("add", [3, 5, 7], 15),
    ("mul", [3, 5, 7], 105),
    ("neg", [3], -3),
    ("sub", [3, 5], -2),
    ("floordiv", [17, 5], 3),
    ("CleanDiv", [15, 5], 3),
    ("mod", [17, 5], 2),
    ("floordiv", [17, 0], None),
    ("mod", [17, 0], None),
    ("CleanDiv", [17, 0], None),
    ("pow", [3, 0], 1),
    ("pow", [3, 4], 81),
    ("pow", [3, 7], 2187),
    ("pow", [3, 8], None),
    ("pow", [3, -1], None),
    ("Max", [3, 5], 5),
    ("max", [3, 5, 7], 7),
    ("Min", [3, 5], 3),
    ("min", [7, 3, 5], 3),
    ("Identity", [3], 3),
    ("ToFloat", [3], 3),
    ("sqrt", [9], None),
]


@pytest.mark.parametrize(("op", "args", "want"), SIZES)
def test_sizes_of_programs(op: str, args: list[int], want: int | None) -> None:
    assert _apply(op, list(args)) == want
    names = [Dim(f"d{i}") for i in range(len(args))]
    if want is not None and op != "pow":
        made = _apply(op, list(names))
        assert isinstance(made, Dim) and made.evaluate({f"d{i}": n for i, n in enumerate(args)}) == want


# ---- running
class Threads(nn.Module):
    def forward(self, x: Any, y: Any) -> Any:
        return x @ y, torch.tensor(torch.get_num_threads())


def test_running_counts_inputs_and_threads() -> None:
    model, x = Threads().train(), np.ones((2, 3), np.float32)
    runtime = open_runtime(model)
    assert runtime is not None and runtime.inputs == ("x", "y")
    for given in ([x], [x, x, x]):
        with pytest.raises(InputError, match=rf"2 inputs expected \(x, y\), got {len(given)}"):
            runtime.run(given)
    with pytest.raises(InputError, match=r"torch 2\.\S+: mat1 and mat2 shapes cannot be multiplied"):
        runtime.run([x, x])
    before = torch.get_num_threads()
    try:
        for threads in (1, THREADS + 3):
            torch.set_num_threads(threads)
            assert runtime.run([x, x.T.copy()])[1] == min(threads, THREADS) and torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert model.training and not torch.is_inference_mode_enabled()


# ---- filling
def linear(*sizes: int, act: Any = None) -> Any:
    torch.manual_seed(1)
    parts: list[Any] = [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]
    return nn.Sequential(*parts, *([act] if act is not None else [])).eval()


class Returns(nn.Module):
    def __init__(self, how: Any) -> None:
        super().__init__()
        self.fc, self.how = nn.Linear(3, 5), how

    def forward(self, x: Any) -> Any:
        return self.how(self.fc(x))


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (lambda y: (y, y), "every layer pairs, but it has 2 outputs, the source 1"),
        (lambda y: {"a": y, "b": [y]}, "every layer pairs, but it has 2 outputs, the source 1"),
        (lambda y: y[:, :2], r"every layer pairs, but output 0 is \[2, 2\], the source's \[2, 5\]"),
        (lambda y: y + 0.3, "every layer pairs, but output 0 differs by .* of its range: what has no weights is not the same"),
        (lambda y: y * float("nan"), "every layer pairs, but output 0 differs by nan of its range"),
    ],
)
def test_filled_modules_compute_the_same(how: Any, why: str) -> None:
    mine, source = Returns(how).eval(), Returns(lambda y: y).eval()
    before = {k: v.clone() for k, v in mine.state_dict().items()}
    with pytest.raises(UnsupportedError, match=rf"'Returns' \(module\): {why}"):
        fill(mine, source, [torch.ones(2, 3)])
    assert all(torch.equal(before[k], v) for k, v in mine.state_dict().items())
    same = Returns(lambda y: {"y": y}).eval()
    assert fill(same, source, [torch.ones(2, 3)]) == {"fc.weight": "fc.weight", "fc.bias": "fc.bias"}
    assert torch.equal(same.fc.weight, source.fc.weight)


def test_inputs_of_both_modules() -> None:
    def wrong(y: Any) -> Any:
        raise ValueError("no")

    with pytest.raises(UsageError, match="the module does not take the inputs of the source: no"):
        fill(Returns(wrong).eval(), Returns(lambda y: y).eval(), [torch.ones(2, 3)])


def test_examples_of_inputs() -> None:
    g = Graph("g")
    b = Builder(g)
    for i, (dtype, shape) in enumerate((("float16", (Dim("N"), 4)), ("int64", (Dim("M"), Dim("N") * 2)), ("bool", ()))):
        b.input(f"x{i}", DType(dtype), shape)
    x, y, z = examples(g)
    assert [tuple(t.shape) for t in (x, y, z)] == [(2, 4), (3, 4), ()] and [t.dtype for t in (x, y, z)] == [
        torch.float16, torch.int64, torch.bool]  # fmt: skip
    assert set(y.unique().tolist()) <= {0, 1} and all(torch.equal(a, c) for a, c in zip(examples(g), (x, y, z)))
    for dtype, shape in ((DType.FLOAT32, None), (DType.FLOAT32, (2, None)), (None, (2, 3))):
        other = Graph("g")
        Builder(other).input("x", dtype, shape)
        with pytest.raises(UsageError, match="the sizes of input 'x' are not known: give them"):
            examples(other)


# ---- what is said of a result
def told_model(**metadata: Any) -> Graph:
    g = Graph("net")
    g.metadata.update(metadata)
    b = Builder(g)
    x = b.input("x", DType.FLOAT32, (Dim("N"), 3))
    g.outputs = [b.op("linear", x, b.weight(np.ones((5, 3), np.float32), "w", trainable=True, role="parameter"), None)]
    return g


@pytest.mark.parametrize(
    ("rank", "said"),
    [
        (2, ", axes [0, 1] of the source's"),
        (3, ", NCW (NWC in the source)"),
        (4, ", NCHW (NHWC in the source)"),
        (5, ", NCDHW (NDHWC in the source)"),
        (6, ", axes [0, 5, 1, 2, 3, 4] of the source's"),
    ],
)
def test_orders_of_axes_are_told(rank: int, said: str, tmp_path: Path) -> None:
    g = Graph("net")
    b = Builder(g)
    shape = (2, 3, 5, 7, 11, 13)[:rank]
    g.outputs = [b.relu(b.input("x", DType.FLOAT32, shape))]
    perm = (0, rank - 1, *range(1, rank - 1))
    made = emit(EmitRequest(g, tmp_path / "net.py", moved={"x": perm}))
    text = (tmp_path / "net.py").read_text("utf-8").replace("\n    ", " ")
    assert (
        f"Input x: float32 [{', '.join(map(str, shape))}]{said}." in text
        and text.count("in the source") + text.count("of the source") == 1
    )
    assert any(
        n.startswith("channels come first in 'x', as in torch; ") and "keeps the source's order of axes" in n for n in made.notes
    )
    plain = emit(EmitRequest(told_model(), tmp_path / "plain.py"))
    assert plain.notes == ("weights are in plain.safetensors, which belongs to the code",)


@pytest.mark.parametrize("suffix", [".py", ".safetensors", ".pth", ".pt2"])
def test_what_is_written_of_a_model(suffix: str, tmp_path: Path) -> None:
    """Labels go where there is room; what is written is what is told."""
    out = tmp_path / f"net{suffix}"
    made = emit(EmitRequest(told_model(labels=["a", "b"]), out, {"class_name": "my net"}))
    files = ["net.py", "net.safetensors"] if suffix == ".py" else [out.name]
    assert sorted(p.name for p in tmp_path.iterdir()) == files and sorted(Path(p).name for p in made.paths) == files
    notes = {
        ".py": ("weights are in net.safetensors, which belongs to the code",),
        ".pth": ("a .pth has no place for labels; .safetensors and .py have",),
    }
    assert made.notes == notes.get(suffix, ()) and made.architecture == ("" if suffix == ".pt2" else "MyNet")
    assert made.model()(torch.ones(2, 3)).tolist() == [[3.0] * 5] * 2 and type(made.model()).__name__ == "MyNet"
    if suffix in (".py", ".safetensors"):
        head = (tmp_path / "net.safetensors").read_bytes()[8:]
        assert head.startswith(b'{"__metadata__":{"format":"pt","class":"MyNet","convcore":"{')
    runtime = made.runtime and made.runtime()
    assert runtime is not None and np.array_equal(runtime.run([np.ones((4, 3), np.float32)])[0], np.full((4, 5), 3, np.float32))
    if suffix == ".py":  # it is the file that is run, if it is still what was written
        with (tmp_path / "net.py").open("a", encoding="utf-8") as f:
            f.write("# by somebody else\n")
        assert made.runtime is not None and made.runtime() is None


def test_without_a_file_what_is_checked_is_handed_over() -> None:
    made = emit(EmitRequest(told_model()))
    assert made.paths == () and made.model() is made.model()


@pytest.mark.parametrize("suffix", [".py", ".pt2"])
def test_code_of_a_module_that_is_there(suffix: str, tmp_path: Path) -> None:
    options = {"into_module": nn.Sequential(nn.Linear(3, 5, bias=False))}
    with pytest.raises(
        UsageError, match=rf"net\{suffix}: the code of the module is yours; its weights go to a \.safetensors or \.pth"
    ):
        emit(EmitRequest(told_model(), tmp_path / f"net{suffix}", options))
    assert not list(tmp_path.iterdir())
    for fine in (".pth", ".safetensors"):
        module = nn.Sequential(nn.Linear(3, 5, bias=False))
        made = emit(EmitRequest(told_model(), tmp_path / f"net{fine}", {"into_module": module}))
        assert made.model() is module and module(torch.ones(2, 3)).tolist() == [[3.0] * 5] * 2
        assert any("0 has the weights of " in n for n in made.notes)
    state = torch.load(tmp_path / "net.pth", weights_only=True)
    assert list(state) == ["0.weight"] and torch.equal(state["0.weight"], torch.ones(5, 3))


@pytest.mark.parametrize(("count", "more"), [(1, ""), (3, ""), (4, " and 1 more"), (6, " and 3 more")])
def test_keys_that_are_computed_are_told(count: int, more: str) -> None:
    values = [SimpleNamespace(value=SimpleNamespace(source=""), key="", tensor=None) for _ in range(count)]
    code: Any = SimpleNamespace(states={f"k{i}": v for i, v in enumerate(values)})
    code.states |= {"own": SimpleNamespace(value=SimpleNamespace(source="own"), key="", tensor=None)}
    of_source = frozenset([*code.states, "other"])
    first = ", ".join([f"k{i}" for i in range(count)][:3])
    assert _changed(code, of_source) == [
        f"not the source's own, but computed of its weights: {first}{more}; no state_dict of the source fits"
    ]
    assert _changed(code, frozenset(["own"])) == []


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        ("abcdefghijkl", "abcdefghijkl"),
        ("abcdefghijklm", "y"),
        ("My-Layer_3", "my_layer"),
        ("12_of", "of"),
        ("self", "self2"),
        ("l", "l2"),
    ],
)
def test_names_of_variables(layer: str, name: str) -> None:
    """Of the layer where it is short and free."""
    g = Graph("net")
    b = Builder(g)
    x = b.input("x", DType.FLOAT32, (2, 3))
    with b.at(Origin("test", layer, "Op")):
        h = b.op("exp", x)
    g.outputs = [h, x]
    made = emit(EmitRequest(g))
    assert f"        {name} = torch.exp(x)\n" in made.model.__wrapped__.args[0].text  # type: ignore[attr-defined]


# ---- reading what was written, and tensors of torch
def test_files_of_weights_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function of generated code: every type by its tag, metadata left out, memory of the file."""
    states = {f"of.{d}": state(3, 5, dtype=d) for d in ALL if not d.startswith("complex")} | {"one": state(), "none": state(0, 3)}
    write_safetensors(tmp_path / "a.safetensors", states, {"format": "pt"})
    tags = {SAFETENSORS[s.dtype]: getattr(torch, str(s.dtype)) for s in states.values() if s.dtype is not None}
    monkeypatch.setattr(written, "DTYPES", tags)
    for path in (tmp_path / "a.safetensors", str(tmp_path / "a.safetensors")):
        got = written.read_safetensors(path)
        assert got.keys() == states.keys()
        for k, s in states.items():
            assert tuple(got[k].shape) == s.shape and str(got[k].dtype) == f"torch.{s.dtype}" and not got[k].requires_grad
            assert np.array_equal(got[k].double().numpy(), s.tensor.numpy().astype(np.float64)), k
    got["of.float32"].add_(1)
    assert float(written.read_safetensors(path)["of.float32"][0, 0]) == 0, "the file itself was changed"


def test_buffers_that_are_not_saved() -> None:
    model = nn.Sequential(nn.Sequential(nn.ReLU()), nn.ReLU())
    written.set_buffers(model, {"0.a": torch.ones(2), "b": torch.zeros(3)})
    assert {k: tuple(v.shape) for k, v in model.named_buffers()} == {"0.a": (2,), "b": (3,)} and not model.state_dict()


def test_tensors_of_torch() -> None:
    base = torch.arange(12.0).reshape(3, 4)
    assert TorchTensor(base).identity == TorchTensor(base.view(3, 4)).identity != TorchTensor(base.t()).identity
    assert TorchTensor(base[1:]).identity != TorchTensor(base[:2]).identity and not TorchTensor(base).requires_grad
    assert TorchTensor(nn.Parameter(base)).requires_grad and TorchTensor(base.half()).identity != TorchTensor(base).identity
    empty = torch.zeros(0)
    assert TorchTensor(empty).identity == TorchTensor(empty).identity != TorchTensor(torch.zeros(0)).identity
    for made, want in (
        (base.t(), base.t().numpy()),
        (base.bfloat16(), base.numpy().astype(DType.BFLOAT16.numpy)),
        (torch.tensor([1 + 2j]).conj(), np.array([1 - 2j], np.complex64)),
        (torch.tensor([1 + 2j]).imag.neg(), np.array([-2], np.float32)),
        (base.to(torch.float8_e4m3fn), base.numpy()),
    ):
        got = TorchTensor(made).numpy()
        assert got.dtype == want.dtype and np.array_equal(got, want)
    with pytest.raises(
        UnsupportedError, match=r"'weight' \(tensor\): is a float32 tensor with layout torch\.sparse_coo, which is not read"
    ):
        TorchTensor(base.to_sparse())
    with pytest.raises(UnsupportedError, match=r"is a quint8 tensor with layout torch\.strided, which is not read"):
        TorchTensor(torch.quantize_per_tensor(base, 0.1, 0, torch.quint8))
    with pytest.raises(UnsupportedError, match="is on the meta device and has no values"):
        TorchTensor(base.to("meta")).numpy()

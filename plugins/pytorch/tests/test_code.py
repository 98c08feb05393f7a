"""What generated code promises: names, shared classes, tied and frozen weights, files without torch, training, export."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convcore
from convcore.build.builder import Builder
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Origin
from convcore_pytorch.emit import written_here
from convcore_pytorch.files.checkpoint import read_checkpoint
from convcore_pytorch.runtime import open_runtime

from .torch_kit import emit_model

torch = pytest.importorskip("torch")


def chain(names: list[str], prefix: str = "") -> Graph:
    """Linear layers of these names, one after the other, 3 wide; each weight is told apart by its first element."""
    g = Graph("net")
    b = Builder(g)
    x = b.input("x", DType.FLOAT32, (Dim("N"), 3))
    for i, name in enumerate(names):
        scope = g.scope(f"{prefix}{name}", "Dense")
        with b.at(Origin("test", f"{prefix}{name}", "Dense"), scope):
            w = np.eye(3, dtype=np.float32) * (i + 2)
            x = b.op("linear", x, b.weight(w, f"w{i}", trainable=True, role="parameter"), None)
    g.outputs = [x]
    return g


ODD = st.sampled_from(["class", "None", "0", "10", "forward", "training", "x", "self", "T_destination", "a.b", "a/b", "Größe",
                       "__init__",
                       "weights", "层", "l", "torch", "nn", "tie_weights", "_x", "", " ", "x\n", '"', "\\"])  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(ODD | st.text(max_size=6), min_size=1, max_size=6, unique=True))
def test_any_names_make_a_module(names: list[str]) -> None:
    names = [n for n in names if n] or ["a"]
    model = emit_model(chain(names)).model()
    product = float(np.prod([i + 2 for i in range(len(names))]))
    got = open_runtime(model).run([np.ones((2, 3), np.float32)])[0]
    assert np.allclose(got, product)
    assert len([k for k in model.state_dict() if k.endswith("weight")]) == len(names)


def test_good_names_are_kept() -> None:
    model = emit_model(chain(["encoder", "fc_1", "Head"])).model()
    assert list(model.state_dict()) == ["encoder.weight", "fc_1.weight", "Head.weight"]


def block_net(widths: list[int]) -> Graph:
    g = Graph("blocks")
    b = Builder(g)
    x = b.input("x", DType.FLOAT32, (Dim("N"), 5))
    for i, n in enumerate(widths):
        for part, (into, out) in {"up": (5, n), "down": (n, 5)}.items():
            name = f"block{i}_{part}"
            with b.at(Origin("test", name, "Dense"), g.scope(name, "Dense")):
                w = np.random.default_rng(i).normal(size=(out, into)).astype(np.float32)
                x = b.op("linear", x, b.weight(w, f"{name}/w", trainable=True, role="parameter"), None)
        with b.at(Origin("test", f"block{i}_act", "Relu"), g.scope(f"block{i}_act", "Relu")):
            x = b.op("relu", x)
    g.outputs = [x]
    return g


def test_blocks_that_differ_in_numbers_are_one_class(tmp_path: Path) -> None:
    out = tmp_path / "net.py"
    emit_model(block_net([7, 11, 7]), out)
    text = out.read_text()
    assert re.findall(r"^class (\w+)", text, re.M) == ["Block", "Blocks"]
    assert "self.block1 = Block(11)" in text and "self.block2 = Block(7)" in text


def test_tied_weights_are_one_parameter() -> None:
    g = Graph("tied")
    b = Builder(g)
    x = b.input("x", DType.FLOAT32, (Dim("N"), 3))
    w = b.weight(np.arange(9, dtype=np.float32).reshape(3, 3), "w", trainable=True, role="parameter")
    for name in ("first", "second"):
        with b.at(Origin("test", name, "Dense"), g.scope(name, "Dense")):
            x = b.op("linear", x, w, None)
    g.outputs = [x]
    model = emit_model(g).model()
    assert model.first.weight is model.second.weight and len(list(model.parameters())) == 1


@pytest.mark.parametrize("which", ["scale bias mean", "bias mean", "scale var", "mean var", "bias mean, added"])
def test_a_parameter_and_a_buffer_are_not_one(which: str, tmp_path: Path) -> None:
    """Files keep equal tensors once: zeros for the bias and the mean of a batch norm. torch ties no parameter to a buffer."""
    g = Graph("bn")
    b = Builder(g)
    x = b.input("x", DType.FLOAT32, (2, 3, 5, 7))
    values = {k: np.linspace(0.5, 1.5, 3, dtype=np.float32) + i for i, k in enumerate(("scale", "bias", "mean", "var"))}
    made = {k: b.weight(v, k, trainable=True, role="parameter") for k, v in values.items()}
    first, *others = which.partition(",")[0].split()
    for k in others:
        made[k], values[k] = made[first], values[first]
    y = b.batch_norm(x, *made.values(), epsilon=1e-3, axis=1)
    if which.endswith("added"):
        y = b.add(y, b.reshape(made["bias"], shape=(1, 3, 1, 1)))
    g.outputs = [y]
    data = np.random.default_rng(3).normal(size=(2, 3, 5, 7)).astype(np.float32)
    s, o, m, v = (a[None, :, None, None] for a in values.values())
    want = (data - m) / np.sqrt(v + 1e-3) * s + o + (o if which.endswith("added") else 0)
    emit_model(g, tmp_path / "net.py")
    namespace: dict[str, Any] = {"__name__": "net", "__file__": str(tmp_path / "net.py")}
    exec((tmp_path / "net.py").read_text(), namespace)
    for model in (emit_model(g).model(), namespace["load"]()):
        with torch.no_grad():
            np.testing.assert_allclose(model.eval()(torch.from_numpy(data)).numpy(), want, rtol=1e-4, atol=1e-5)
        before = {k: t.clone() for k, t in model.named_buffers()}
        assert {k.rpartition(".")[2] for k in before} >= {"running_mean", "running_var"} or which == "mean var"
        for p in model.parameters():
            p.data.add_(1)  # training changes no statistics with it
        assert all(torch.equal(t, before[k]) for k, t in model.named_buffers())


def test_frozen_weights_do_not_train() -> None:
    g = chain(["a", "b"])
    w = next(iter(g)).inputs[1]
    assert w is not None
    w.trainable = False
    model = emit_model(g).model()
    assert [p.requires_grad for p in model.parameters()] == [False, True]


def test_batch_norm_and_dropout_follow_train_and_eval() -> None:
    g = Graph("bn")
    b = Builder(g)
    x = b.input("x", DType.FLOAT32, (Dim("N"), 3))
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    stats = [b.weight(a, n, role="buffer") for a, n in ((zeros, "mean"), (ones, "var"))]
    affine = [b.weight(a, n, trainable=True, role="parameter") for a, n in ((ones, "scale"), (zeros, "bias"))]
    with b.at(Origin("test", "bn", "BN"), g.scope("bn", "BN")):
        y = b.op("batch_norm", x, *affine, *stats, epsilon=1e-3, momentum=0.75)
    with b.at(Origin("test", "drop", "Dropout"), g.scope("drop", "Dropout")):
        y = b.op("dropout", y, rate=0.5)
    g.outputs = [y]
    model = emit_model(g).model()
    assert model.bn.momentum == 0.25 and model.bn.eps == 1e-3 and model.drop.p == 0.5
    model.train()
    given = torch.full((4, 3), 8.0)
    model(given)
    assert torch.allclose(model.bn.running_mean, torch.full((3,), 2.0))  # 0.75 * 0 + 0.25 * 8


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_state_dicts_are_what_torch_reads(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"net{suffix}"
    made = emit_model(block_net([7]), out)
    assert made.paths == (str(out),) and [p.name for p in tmp_path.iterdir()] == [out.name]
    model = made.model()
    if suffix == ".pth":
        state = torch.load(out, weights_only=True)
    else:
        from safetensors.torch import load_file

        state = load_file(out)
    want = model.state_dict()
    assert set(state) == set(want) and all(torch.equal(state[k], v) for k, v in want.items())
    assert set(read_checkpoint(out).tensors) == set(want)


def test_writing_and_the_code_need_no_more_than_they_say(tmp_path: Path) -> None:
    """Written without torch; the code runs in a process of its own with torch alone."""
    script = """
import sys
sys.modules["torch"] = None
import numpy as np
from convcore.plugin import Builder, DType, EmitRequest, Graph
from convcore_pytorch.emit import emit
from pathlib import Path
g = Graph("net"); b = Builder(g)
x = b.input("x", DType.FLOAT32, (2, 3))
g.outputs = [b.op("linear", x, b.weight(np.ones((5, 3), np.float32), "w"), None)]
emit(EmitRequest(g, Path(sys.argv[1])))
"""
    out = tmp_path / "net.py"
    subprocess.run([sys.executable, "-c", script, out], check=True)
    use = "import torch, net; m = net.load(); assert m(torch.ones(2, 3)).tolist() == [[3.0] * 5] * 2, m; assert not m.training"
    subprocess.run([sys.executable, "-c", use], check=True, cwd=tmp_path)


def test_only_code_of_this_process_is_executed(tmp_path: Path) -> None:
    out = tmp_path / "net.py"
    emit_model(chain(["a"]), out)
    assert written_here(out) is not None and open_runtime(out) is not None
    marker = tmp_path / "marker"
    out.write_text(f"open({str(marker)!r}, 'w')\n{out.read_text()}")
    assert open_runtime(out) is None and not marker.exists()
    other = tmp_path / "other.py"
    other.write_text(f"open({str(marker)!r}, 'w')\n")
    assert open_runtime(other) is None and not marker.exists()


def test_exports_with_a_dynamic_batch() -> None:
    model = emit_model(block_net([7, 11])).model()
    batch = torch.export.Dim("batch", min=2, max=64)
    made = torch.export.export(model, (torch.ones(4, 5),), dynamic_shapes=({0: batch},), strict=False)
    x = torch.randn(9, 5)
    assert torch.allclose(made.module()(x), model(x))


def test_refused_by_name() -> None:
    from convcore.errors import UnsupportedError

    g = Graph("net")
    b = Builder(g, origin=Origin("test", "layer", "Pool"))
    x = b.input("x", DType.FLOAT32, (2, 3, 5, 7))
    g.outputs = list(b.op("max_pool_with_indices", x, kernel=(2, 2), pads=((1, 0), (0, 1))))
    with pytest.raises(UnsupportedError, match=r"'layer' \(Pool\).*positions"):
        emit_model(g)


def test_programs_are_exported_with_a_free_batch(tmp_path: Path) -> None:
    """.pt2 through torch.export: read back by our reader without torch, run by torch, at other batch sizes."""
    import convcore
    from convcore.model import Model

    out = tmp_path / "net.pt2"
    made = convcore.convert(Model(block_net([7, 11])), "pytorch", out)
    assert made.paths == (out,) and made.report.ok and made.report.runtimes[1].startswith("torch")
    program = torch.export.load(out)
    x = torch.randn(9, 5)
    assert torch.allclose(program.module()(x), made.model(x), atol=1e-6)
    assert convcore.verify(Model(block_net([7, 11])), out).ok


def test_what_torch_cannot_export_is_refused_with_its_reason(tmp_path: Path) -> None:
    from convcore.errors import UnsupportedError

    g = Graph("net")
    b = Builder(g, origin=Origin("test", "layer", "Nms"))
    boxes, scores = b.input("boxes", DType.FLOAT32, (1, 5, 4)), b.input("scores", DType.FLOAT32, (1, 1, 5))
    g.outputs = [b.op("nms", boxes, scores, max_per_class=3, iou_threshold=0.5)]
    with pytest.raises(UnsupportedError, match=r"cannot export it"):
        emit_model(g, tmp_path / "net.pt2")
    assert not list(tmp_path.iterdir())


EXAMPLES = Path(__file__).parents[3] / "examples" / "generated"


@pytest.mark.parametrize(
    "command", [["ruff", "check", "--isolated"], ["ruff", "format", "--isolated", "--check"], ["black", "--check"]]
)
def test_examples_are_formatted_as_they_are_written(command: list[str]) -> None:
    pytest.importorskip(command[0])
    files = sorted(p for p in EXAMPLES.glob("*.py") if "converted by convcore" in p.read_text(encoding="utf-8"))
    assert len(files) == 7
    done = subprocess.run([sys.executable, "-m", *command, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_sizes_of_an_unknown_image(tmp_path: Path) -> None:
    """Keras's padding at stride 2: sizes that are long to write are variables."""
    keras = pytest.importorskip("keras")
    pytest.importorskip("convcore_keras")
    x = keras.Input((None, None, 3))
    net = keras.Model(x, keras.layers.Conv2D(5, 3, strides=2, padding="same")(x))
    out = tmp_path / "net.py"
    model = convcore.convert(net, "pytorch", out).model
    for h, w in ((7, 11), (8, 11), (8, 4)):
        image = np.random.default_rng(0).random((2, h, w, 3), np.float32)
        want = keras.ops.convert_to_numpy(net(image)).transpose(0, 3, 1, 2)
        got = model(torch.from_numpy(image.transpose(0, 3, 1, 2).copy())).detach().numpy()
        assert got.shape == want.shape and np.abs(got - want).max() < 1e-5
    assert max(map(len, out.read_text().splitlines())) <= 88


def test_layers_between_those_of_a_block_are_in_it(tmp_path: Path) -> None:
    """Activations that Keras numbers through the model, between layers that are named after their block."""
    keras = pytest.importorskip("keras")
    pytest.importorskip("convcore_keras")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = y = keras.Input((5,))
    for i in (1, 2, 3):
        z = layers.Dense(7, name=f"block_{i}_expand")(y)
        z = layers.LayerNormalization(name=f"block_{i}_norm")(layers.Activation("silu")(z))
        z = layers.Dense(5, name=f"block_{i}_project")(layers.Activation("silu")(z))
        y = layers.Activation("relu")(z)
    net = keras.Model(x, y)
    out = tmp_path / "net.py"
    model = convcore.convert(net, "pytorch", out).model
    text = out.read_text()
    assert text.count("nn.SiLU()") == 1 and "self.block_3 = " in text and text.count("class ") == 2
    a = np.random.default_rng(0).random((3, 5), np.float32)
    want = keras.ops.convert_to_numpy(net(a))
    assert np.abs(model(torch.from_numpy(a)).detach().numpy() - want).max() < 1e-5


class InPlace(torch.nn.Module):
    """Activations whose input is nobody else's, and those whose input is."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(3, 5, 1), torch.nn.BatchNorm2d(5)
        self.act, self.kind = torch.nn.LeakyReLU(-0.2) if kind == "below 0" else torch.nn.SiLU(), kind

    def forward(self, x: Any) -> Any:
        if self.kind == "input":
            return self.act(x)
        y = self.norm(self.conv(x))
        if self.kind in ("alone", "below 0"):
            return self.act(y)
        if self.kind == "read again":
            return self.act(y) + y
        if self.kind == "result":
            return self.act(y), y
        if self.kind == "called twice":  # the second time of what is read again
            z = self.conv(x)
            return self.act(y) + self.act(z) * z
        if self.kind == "of a sigmoid":  # whose gradient needs its result
            return self.act(y.sigmoid())
        if self.kind == "alpha below 0":
            return torch.nn.functional.elu(y + y, alpha=-0.5)
        return torch.nn.functional.relu(y + y)


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("alone", 1),
        ("of a sum", 1),
        ("input", 0),
        ("read again", 0),
        ("result", 0),
        ("called twice", 0),
        ("of a sigmoid", 0),
        ("below 0", 0),
        ("alpha below 0", 0),
    ],
)
def test_activations_in_place(kind: str, count: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, x = InPlace(kind).eval(), torch.randn(2, 3, 7, 11)
    made = convcore.convert(net, "pytorch", tmp_path / "net.py", example_inputs=x)
    assert (tmp_path / "net.py").read_text().count("inplace=True") == count
    given = x.clone().requires_grad_()
    for model in (net, made.model):
        model.train()
        out = model(given)
        sum(t.square().sum() for t in (out if isinstance(out, tuple) else (out,))).backward()
    assert torch.equal(given.detach(), x)
    for name, p in net.named_parameters():
        if p.grad is not None:
            assert torch.allclose(dict(made.model.named_parameters())[name].grad, p.grad, rtol=1e-4, atol=1e-5), name


@pytest.mark.parametrize("size", [5, 4])
def test_normalisation_across_channels(size: int, tmp_path: Path) -> None:
    """Odd sizes are one operator in ONNX, and the module again; even ones look at other channels there."""
    import onnx

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 7, 1), torch.nn.LocalResponseNorm(size, 0.1, 0.6, 2.0)).eval()
    x = torch.randn(2, 3, 5, 11) * 3
    assert convcore.convert(net, "onnx", tmp_path / "net.onnx", example_inputs=x).report.ok
    assert ("LRN" in [n.op_type for n in onnx.load(tmp_path / "net.onnx").graph.node]) is (size == 5)
    made = convcore.convert(tmp_path / "net.onnx", "pytorch", tmp_path / "net.py")
    assert ("nn.LocalResponseNorm(5, alpha=0.1, beta=0.6, k=2.0)" in (tmp_path / "net.py").read_text()) is (size == 5)
    assert torch.allclose(made.model(x), net(x), atol=1e-6)


def test_what_hardly_fits_is_formatted(tmp_path: Path) -> None:
    """Parameters under long paths, ties that no line takes, numbers with an exponent, loops that are copied."""
    pytest.importorskip("ruff")

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.some_name_of_a_block = torch.nn.ModuleList([torch.nn.Module(), torch.nn.Module()])
            for part in self.some_name_of_a_block:
                part.relative_position_bias_table_of_it = torch.nn.Parameter(torch.randn(5))
            self.rnn = torch.nn.LSTM(5, 7, proj_size=5, batch_first=True)
            self.a_name_that_is_so_long_that_no_line_takes_two_of_them = torch.nn.Linear(5, 5)
            self.another_name_that_is_so_long_that_no_line_takes_two = torch.nn.Linear(5, 5)
            self.another_name_that_is_so_long_that_no_line_takes_two.weight = (
                self.a_name_that_is_so_long_that_no_line_takes_two_of_them.weight
            )

        def forward(self, x: Any) -> Any:
            y = self.another_name_that_is_so_long_that_no_line_takes_two(x)
            y = self.a_name_that_is_so_long_that_no_line_takes_two_of_them(self.rnn(y)[0])
            for part in self.some_name_of_a_block:
                y = y * part.relative_position_bias_table_of_it
            return torch.where(y > 0, y, torch.full_like(y, -3e38))

    out = tmp_path / "net.py"
    convcore.convert(Net().eval(), "pytorch", out, example_inputs=torch.randn(2, 3, 5))
    text = out.read_text()
    assert "for other, first in TIED.items()" in text and "def scan(" in text and "e38" in text and "nn.Parameter(\n" in text
    for command in (["format", "--check"], ["check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, "--isolated", str(out)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_tensors_without_axes(tmp_path: Path) -> None:
    class Net(torch.nn.Module):
        def forward(self, x: Any, y: Any) -> Any:
            a, b = torch.broadcast_tensors(x, y)
            return a * x.expand(()), x.reshape(()) + b, x.permute(()) - y

    net, given = Net().eval(), (torch.tensor(1.5), torch.tensor(2.5))
    made = convcore.convert(net, "pytorch", tmp_path / "net.py", example_inputs=given)
    for a, b in zip(made.model(*given), net(*given)):
        assert torch.equal(a, b)

"""Live modules, their .pt2 and their TorchScript: the same numbers as torch, at two batch sizes; in-place operators."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import convcore
from convcore.errors import UnsupportedError, UsageError
from convcore_pytorch.runtime import open_runtime

torch = pytest.importorskip("torch")
from torch import nn
from torch.nn import functional as F


def arrays(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    return {k: rng.standard_normal(s).astype(np.float32) for k, s in shapes.items()}


def outputs(model: Any, given: dict[str, Any]) -> list[Any]:
    made = model(**given)
    return list(made.values()) if isinstance(made, dict) else list(made) if isinstance(made, (list, tuple)) else [made]


def agree(module: nn.Module, model: Any, given: dict[str, Any], tolerance: float = 1e-4) -> None:
    with torch.no_grad():
        want = module(**{k: torch.from_numpy(v) for k, v in given.items()})
    want = [want] if isinstance(want, torch.Tensor) else [t for w in want for t in (w if isinstance(w, tuple) else (w,))]
    got = outputs(model, given)
    assert len(got) == len(want)
    for g, w in zip(got, want):
        assert g.shape == tuple(w.shape)
        assert np.abs(g - w.numpy()).max() <= tolerance * max(1.0, float(w.abs().max()))


class Block(nn.Module):
    """A residual block whose one ReLU is used twice, in place."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 3, padding=1)
        self.bn = nn.BatchNorm2d(c, momentum=0.3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Any) -> Any:
        y = self.conv2(self.relu(self.bn(self.conv1(x))))
        y += x
        return self.relu(y)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 7, 3, 2)
        self.layers = nn.Sequential(Block(7), Block(7))
        self.pool, self.drop, self.fc = nn.AdaptiveAvgPool2d(1), nn.Dropout(0.3), nn.Linear(7, 5)

    def forward(self, x: Any) -> Any:
        return self.fc(self.drop(torch.flatten(self.pool(self.layers(self.stem(x))), 1)))


class Recurrent(nn.Module):
    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__()
        self.rnn = getattr(nn, kind)(5, 7, batch_first=True, **options)

    def forward(self, x: Any) -> Any:
        return self.rnn(x)[0]


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mha = nn.MultiheadAttention(12, 3, batch_first=True)

    def forward(self, x: Any) -> Any:
        return self.mha(x, x, x, need_weights=False)[0]


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.mid, self.up = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 7, 3, 2, 1), nn.Conv2d(12, 2, 1)

    def forward(self, x: Any) -> Any:
        a = F.relu(self.down(x))
        b = F.interpolate(F.silu(self.mid(a)), size=a.shape[2:], mode="bilinear")
        return self.up(torch.cat([a, b], 1))


MODELS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "resnet": (Net, (3, 13, 17)),
    "lstm": (lambda: Recurrent("LSTM", bidirectional=True, num_layers=2), (11, 5)),
    "gru": (lambda: Recurrent("GRU", bidirectional=True), (11, 5)),
    "rnn": (lambda: Recurrent("RNN", nonlinearity="relu"), (11, 5)),
    "mha": (Attention, (11, 12)),
    "encoder": (lambda: nn.TransformerEncoderLayer(12, 3, 17, batch_first=True), (11, 12)),
    "unet": (UNet, (3, 12, 16)),
}


def built(name: str) -> tuple[Any, tuple[int, ...]]:
    torch.manual_seed(3)
    make, shape = MODELS[name]
    return make().eval(), shape


@pytest.mark.parametrize("name", MODELS)
def test_a_module_becomes_onnx(name: str, tmp_path: Path) -> None:
    """The check of ``convert`` runs both sides at two batch sizes; here the IR is held against eager torch at two more."""
    module, shape = built(name)
    argument = "src" if name == "encoder" else "x"
    model = convcore.load(module, example_inputs=torch.randn(1, *shape))
    assert not model.problems
    for n in (1, 4):
        agree(module, model, arrays({argument: (n, *shape)}, n))
    done = convcore.convert(module, "onnx", tmp_path / "m.onnx", example_inputs=torch.randn(1, *shape), atol=1e-5)
    assert done.report.ok


@pytest.mark.parametrize("name", ["lstm", "gru", "mha"])
def test_time_stays_symbolic(name: str) -> None:
    module, shape = built(name)
    model = convcore.load(module, example_inputs=torch.randn(2, *shape), input_shapes={"x": ("batch", "time", shape[1])})
    for t in (3, 8):
        agree(module, model, arrays({"x": (2, t, shape[1])}))


def test_scopes_roles_and_training_facts() -> None:
    module, shape = built("resnet")
    module.fc.weight.requires_grad_(False)
    graph = convcore.load(module, example_inputs=torch.randn(2, *shape)).graph
    assert graph.weights["layers.0.bn.running_mean"].role == "buffer"
    assert graph.weights["layers.0.bn.weight"].trainable and not graph.weights["fc.weight"].trainable
    bn = next(n for n in graph if n.op == "batch_norm")
    assert bn.scope.path == ("layers", "0", "bn") and bn.scope.type == "torch.nn.BatchNorm2d"
    assert bn.attrs["momentum"] == pytest.approx(0.7)
    assert next(n for n in graph if n.op == "dropout").attrs["rate"] == pytest.approx(0.3)
    relus = [n.scope for n in graph if n.op == "relu"]
    assert [(s.path[1], s.call) for s in relus] == [("0", 0), ("0", 1), ("1", 0), ("1", 1)]


def test_tied_weights_are_one_value() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 5), nn.Linear(5, 5)
            self.b.weight = self.a.weight

        def forward(self, x: Any) -> Any:
            return self.b(self.a(x))

    graph = convcore.load(Tied().eval(), example_inputs=torch.randn(2, 5)).graph
    assert sorted(graph.weights) == ["a.bias", "a.weight", "b.bias"]


# ---------------------------------------------------------------- other sources
NO_TORCH = """
import sys, json
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("no torch here")
sys.meta_path.insert(0, Block())
import numpy as np, convcore
path, data, shapes = sys.argv[1:4]
given = dict(np.load(data))
model = convcore.load(path, input_shapes=json.loads(shapes) or None)
made = model(given["x"])
made = list(made.values())[0] if isinstance(made, dict) else made[0] if isinstance(made, (list, tuple)) else made
np.save(data + ".out.npy", made)
assert "torch" not in sys.modules
"""


@pytest.mark.parametrize("kind", ["pt2", "torchscript"])
@pytest.mark.parametrize("name", ["resnet", "lstm"])
def test_files_without_torch(name: str, kind: str, tmp_path: Path) -> None:
    """``.pt2`` and TorchScript in a process where torch cannot be imported: torch's own numbers."""
    module, shape = built(name)
    path = tmp_path / f"m.{'pt2' if kind == 'pt2' else 'pt'}"
    example = torch.randn(2, *shape)
    shapes = "null"
    if kind == "pt2":
        torch.export.save(
            torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("b")},), strict=False), path
        )
    else:
        torch.jit.trace(module, example).save(path)
        shapes = f'{{"x": ["batch", {", ".join(map(str, shape))}]}}'
    given = arrays({"x": (3, *shape)})
    np.savez(tmp_path / "in.npz", **given)
    subprocess.run([sys.executable, "-c", NO_TORCH, str(path), str(tmp_path / "in.npz"), shapes], check=True, timeout=300)
    got = np.load(tmp_path / "in.npz.out.npy")
    with torch.no_grad():
        want = module(torch.from_numpy(given["x"])).numpy()
    assert np.abs(got - want).max() < 1e-5


def test_exported_program() -> None:
    module, shape = built("unet")
    exported = torch.export.export(module, (torch.randn(2, *shape),), strict=False)
    agree(module, convcore.load(exported), arrays({"x": (2, *shape)}))


def test_torchscript_needs_shapes(tmp_path: Path) -> None:
    module, shape = built("resnet")
    torch.jit.trace(module, torch.randn(2, *shape)).save(tmp_path / "m.pt")
    with pytest.raises(UsageError, match=r"input_shapes=\{'x': \('batch'"):
        convcore.load(tmp_path / "m.pt")


def test_script_with_an_if(tmp_path: Path) -> None:
    class Gate(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if bool(x.sum() > 0):
                y = x * 2
            else:
                y = x - 3
            return y if x.dim() == 2 else y.flatten(1)

    module = Gate().eval()
    torch.jit.script(module).save(tmp_path / "m.pt")
    model = convcore.load(tmp_path / "m.pt", input_shapes={"x": ("batch", 5)})
    assert [n.op for n in model.graph].count("if") == 1
    for sign in (1, -1):
        agree(module, model, {"x": sign * np.abs(arrays({"x": (3, 5)})["x"])})


class Either(nn.Module):
    """What a branch gives may be what it was given."""

    def __init__(self, written: str) -> None:
        super().__init__()
        self.written = written
        self.register_buffer("kept", torch.ones(2, 5))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, z = x * 1, x * 2
        if bool(x.sum() > 0):
            y = x.t()
        elif bool(x.sum() < -100):
            y = self.kept
        else:
            y = z
        if self.written == "result":
            y.add_(1)
        elif self.written == "first":
            x.add_(1)
        elif self.written == "second":
            z.add_(1)
        return (y, z) if self.written != "result" else (x, z)


@pytest.mark.parametrize("written", ["result", "first", "second"])
def test_what_a_branch_may_share_is_not_written(written: str, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.jit.script(Either(written).eval()).save(str(path))
    what = "changes the buffer 'kept'" if written == "result" else "writes into a tensor that"
    with pytest.raises(UnsupportedError, match=what):
        convcore.convert(path, "onnx", tmp_path / "m.onnx", input_shapes={"x": (2, 5)})


def test_a_branch_whose_result_nobody_else_reads_is_written(tmp_path: Path) -> None:
    class Once(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x * 1
            if bool(x.sum() > 0):
                y = x
            else:
                y = x * 2
            y.add_(1)
            return y * 3

    path = tmp_path / "m.pt"
    torch.jit.script(Once().eval()).save(str(path))
    model = convcore.load(path, input_shapes={"x": (2, 5)})
    for sign in (1, -1):
        x = sign * np.abs(arrays({"x": (2, 5)})["x"])
        np.testing.assert_allclose(outputs(model, {"x": x})[0], Once()(torch.from_numpy(x)).numpy(), rtol=1e-6)


class Counted(nn.Module):
    """Numbers that depend on the data, and one that cannot be."""

    def __init__(self, kind: int) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = float(x.sum())
        if self.kind == 0:
            return x * int(a)
        if self.kind == 1:
            return x * (a % 3.0)
        return x * (1 // (x.size(0) - 2))


@pytest.mark.parametrize("kind", [0, 1])
def test_numbers_that_depend_on_the_data(kind: int, tmp_path: Path) -> None:
    path, model = tmp_path / "m.pt", Counted(kind).eval()
    torch.jit.script(model).save(str(path))
    mine = convcore.load(path, input_shapes={"x": (2, 5)})
    for scale in (-1.7, 0.4, 9.0):
        x = torch.arange(10.0).reshape(2, 5) * scale + 0.03  # no sum near a whole number
        np.testing.assert_allclose(mine(x.numpy()), model(x).numpy(), rtol=1e-5, atol=1e-5)


def test_numbers_that_cannot_be_computed(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.jit.script(Counted(2).eval()).save(str(path))
    with pytest.raises(UnsupportedError, match="cannot be computed"):
        convcore.convert(path, "onnx", tmp_path / "m.onnx", input_shapes={"x": (2, 5)})


class Several(nn.Module):
    def forward(self, x: Any, *more: Any, pair: Any = None) -> Any:
        return x + 2 * more[0] + 3 * more[1] if pair is None else x * pair.a + pair.b


class Pair(NamedTuple):
    a: Any
    b: Any


def test_arguments_that_are_collected_and_named_tuples() -> None:
    u, v, w = torch.randn(3, 3, 5, generator=torch.Generator().manual_seed(2)).unbind(0)
    a = arrays({"x": (4, 5), "more_0": (4, 5), "more_1": (4, 5)})
    model = convcore.load(Several().eval(), example_inputs=(u, v, w))
    np.testing.assert_allclose(outputs(model, a)[0], a["x"] + 2 * a["more_0"] + 3 * a["more_1"], rtol=1e-5)
    model = convcore.load(Several().eval(), example_inputs=((u,), {"pair": Pair(v, w)}))
    assert [i.name for i in model.graph.inputs] == ["x", "pair_a", "pair_b"]


def test_a_name_that_torch_cannot_write() -> None:
    net = nn.Sequential()
    net.add_module("class", nn.Linear(7, 5))
    with pytest.raises(UnsupportedError, match=r"cannot be run: SyntaxError.*a word of Python"):
        convcore.load(net.eval(), example_inputs=torch.randn(3, 7))


def test_an_output_that_is_no_number() -> None:
    class Told(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * 2, "a word"

    with pytest.raises(UnsupportedError, match="'a word', no tensor and no number"):
        convcore.load(Told().eval(), example_inputs=torch.randn(3, 7))


def test_cond_becomes_a_region() -> None:
    class Choose(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 3), nn.Linear(5, 3)

        def forward(self, x: Any) -> Any:
            return torch.cond(x.sum() > 0, lambda v: self.a(v), lambda v: self.b(v) * 2, (x,))

    module = Choose().eval()
    model = convcore.load(module, example_inputs=torch.randn(3, 5))
    for sign in (1, -1):
        agree(module, model, {"x": sign * np.abs(arrays({"x": (2, 5)})["x"])})


# ---------------------------------------------------------------- writes
class Code(nn.Module):
    """A module around a function."""

    def __init__(self, fn: Any) -> None:
        super().__init__()
        self.fn = fn
        self.lin = nn.Linear(7, 7)
        self.register_buffer("count", torch.zeros(7))

    def forward(self, x: Any) -> Any:
        return self.fn(self, x)


def column(s: Any, x: Any) -> Any:
    y = x.clone()
    y[:, 0].add_(1)
    return y


def through_views(s: Any, x: Any) -> Any:
    y = s.lin(x)
    v = y.view(-1, 7).t()
    v[2:4].mul_(3)
    z = y * 2
    y.unsqueeze(1).relu_()
    return y, z, v


def relu_on_residual(s: Any, x: Any) -> Any:
    y = s.lin(x)
    z = F.relu(y, inplace=True)
    return y + z


def put(s: Any, x: Any) -> Any:
    y = x.clone()
    y[:, [1, 4]] = 5.0
    y.index_put_((torch.tensor([0, 1]), torch.tensor([2, 3])), torch.tensor([7.0, 8.0]), accumulate=True)
    return y


def copies(s: Any, x: Any) -> Any:
    y = torch.zeros_like(x)
    y[:, 2:5].copy_(x[:, :3])
    y[:, ::3] = -1
    a, b = y.split([3, 4], 1)
    b.add_(a[:, :1])
    return y, a


def pieces(s: Any, x: Any) -> Any:
    y = s.lin(x)
    rows = y.unbind(1)
    rows[3].fill_(2.0)
    y.transpose(0, 1)[0].zero_()
    return y


def dropped(s: Any, x: Any) -> Any:
    """Dropout gives its argument itself in evaluation."""
    y = s.lin(x)
    z = F.dropout(y, 0.5, training=False)
    z.add_(1)
    return y


def reordered(s: Any, x: Any) -> Any:
    """``contiguous`` and ``to`` with an order in memory copy where the tensor has another, and give it where it has that one."""
    y = s.lin(x).reshape(-1, 7, 1, 1).repeat(1, 1, 2, 3)
    a = y.contiguous(memory_format=torch.channels_last)
    b = y.to(torch.float32, memory_format=torch.channels_last)
    same = a.contiguous(memory_format=torch.channels_last)
    a.add_(1)
    b.mul_(2)
    return y, a, b, same * 1


@pytest.mark.parametrize(
    "fn",
    [column, through_views, relu_on_residual, put, copies, pieces, dropped, reordered],
    ids=lambda f: f.__name__,
)
def test_writes_are_seen_through_memory(fn: Any) -> None:
    torch.manual_seed(1)
    module = Code(fn).eval()
    model = convcore.load(module, example_inputs=torch.randn(3, 7))
    assert not model.problems
    agree(module, model, arrays({"x": (4, 7)}))


def state(s: Any, x: Any) -> Any:
    s.count.add_(1)
    return x + s.count


def unsure(s: Any, x: Any) -> Any:
    """Whether reshape copies depends on strides."""
    y = s.lin(x).t()
    z = y.reshape(-1)
    z.add_(1)
    return y


def unsafe(s: Any, x: Any) -> Any:
    """ATen's schema does not say that these are views."""
    y = s.lin(x)
    a, b = torch.unsafe_chunk(y, 2, 1)
    a.add_(1)
    return y, b


def meshed(s: Any, x: Any) -> Any:
    """The second result is of the second tensor."""
    u, v = x[0] * 2, x[1, :5] * 3
    a, b = torch.meshgrid(u, v, indexing="ij")
    v.add_(1)
    return a, b


def diagonal(s: Any, x: Any) -> Any:
    y = x.clone()
    torch.diagonal(y[:7]).zero_()
    return y


@pytest.mark.parametrize(
    ("fn", "why"),
    [
        (state, "changes the buffer 'count'"),
        (unsure, "not certain to be a view"),
        (unsafe, "unsafe_chunk"),
        (meshed, "meshgrid"),
        (diagonal, "diagonal"),
    ],
    ids=lambda f: getattr(f, "__name__", ""),
)
def test_writes_that_are_refused(fn: Any, why: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=why):
        convcore.convert(Code(fn).eval(), "onnx", tmp_path / "m.onnx", example_inputs=torch.randn(11, 7))


# ---------------------------------------------------------------- what is refused, what is told
def test_training_mode_is_refused() -> None:
    module, shape = built("resnet")
    module.train()
    with pytest.raises(UsageError, match="training mode"):
        convcore.load(module, example_inputs=torch.randn(2, *shape))
    model = convcore.load(module, example_inputs=torch.randn(2, *shape), training=True)
    assert module.training and module.layers[0].bn.training
    agree(module.eval(), model, arrays({"x": (3, *shape)}))


def test_a_batch_that_the_code_fixes_is_told() -> None:
    class Fixed(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * float(x.shape[0] ** 0.5) if x.shape[0] == 4 else x

    model = convcore.load(Fixed().eval(), example_inputs=torch.randn(4, 5), input_shapes={"x": ("n", 5)})
    assert any("is fixed to 4" in n for n in model.graph.metadata["notes"])


def test_code_that_differs_at_batch_1_is_refused() -> None:
    class Squeezed(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * 2 if x.shape[0] == 1 else x

    with pytest.raises(UnsupportedError, match="batch 1"):
        convcore.load(Squeezed().eval(), example_inputs=torch.randn(1, 5))


def test_squeeze_over_a_symbolic_axis_is_refused() -> None:
    exported = torch.export.export(
        Code(lambda s, x: x.squeeze()), (torch.randn(3, 1, 7),), dynamic_shapes={"x": {0: torch.export.Dim("b")}}, strict=False
    )
    (problem,) = convcore.load(exported).problems
    assert "squeeze" in problem.type and "symbolic" in problem.why


@pytest.mark.parametrize(
    "fn",
    [
        torch.randn_like, torch.bernoulli, lambda x: torch.normal(x, x), lambda x: torch.normal(x, 2.0), torch.poisson,
        lambda x: torch.normal(2.0, x), lambda x: torch.empty(7).normal_(), lambda x: torch.empty(7).uniform_(),
        lambda x: torch.empty(7).exponential_(), lambda x: torch.empty(7).cauchy_(), lambda x: torch.empty(7).geometric_(0.5),
        lambda x: torch.empty(7).log_normal_(), lambda x: torch.empty(7).bernoulli_(0.5), lambda x: torch.empty(7).random_(3),
        lambda x: torch.empty(7).random_(), lambda x: torch.binomial(x, x),
        lambda x: torch.normal(0.0, 1.0, (7,)), torch._standard_gamma, torch._sample_dirichlet,
        lambda x: torch.nn.functional.gumbel_softmax(x), lambda x: torch.rand(7), lambda x: torch.randint(3, (7,)),
        lambda x: torch.randperm(7), lambda x: torch.multinomial(x, 7), lambda x: torch.rrelu(x, training=True),
    ],
)  # fmt: skip
def test_random_numbers_are_refused(fn: Any) -> None:
    model = convcore.load(Code(lambda s, x: x + fn(x.abs())).eval(), example_inputs=torch.rand(3, 7), input_shapes={"x": (3, 7)})
    assert {p.code for p in model.problems} <= {"random", "training_mode"} and model.problems
    assert any("random" in str(p) or "training mode" in str(p) for p in model.problems)


def test_a_module_without_examples() -> None:
    module, shape = built("resnet")
    with pytest.raises(UsageError, match="example_inputs"):
        convcore.load(module)
    agree(module, convcore.load(module, input_shapes={"x": ("batch", *shape)}), arrays({"x": (2, *shape)}))


def test_torch_is_as_it_was() -> None:
    real = torch.nn.modules.rnn._VF
    module, shape = built("lstm")
    convcore.load(module, example_inputs=torch.randn(2, *shape))
    assert torch.nn.modules.rnn._VF is real


def test_module_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("from torch import nn\ndef make():\n    return nn.Linear(5, 3)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    reference = nn.Linear(5, 3)
    torch.save(reference.state_dict(), tmp_path / "w.pth")
    model = convcore.load(tmp_path / "w.pth", module="mine:make", input_shapes={"input": ("batch", 5)})
    agree(reference, model, arrays({"input": (3, 5)}))
    torch.save({"other": torch.zeros(3)}, tmp_path / "x.pth")
    with pytest.raises(UsageError, match="does not fit the module"):
        convcore.load(tmp_path / "x.pth", module="mine:make", input_shapes={"input": ("batch", 5)})


class InPlaceDropout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.3, inplace=True)

    def forward(self, x: Any) -> Any:
        return self.drop(torch.einsum("BGHD,BGJD->BGHJ", x, 2 * x))


def test_dropout_in_place_and_capital_letters() -> None:
    module, given = InPlaceDropout().eval(), arrays({"x": (2, 3, 5, 7)})
    graph = convcore.load(torch.export.export(module, (torch.from_numpy(given["x"]),)))
    agree(module, graph, given)
    assert [n.op for n in graph.graph if n.op in ("dropout", "einsum")] == ["einsum", "dropout"]


def test_a_module_half_in_training_mode_stays_so(tmp_path: Path) -> None:
    """Frozen statistics beside layers that train."""
    net = nn.Sequential(nn.Conv1d(3, 5, 2), nn.BatchNorm1d(5), nn.Dropout(0.5)).train()
    net[1].eval()
    x = arrays({"x": (3, 3, 7)})["x"]
    convcore.convert(net, "onnx", tmp_path / "m.onnx", example_inputs=torch.from_numpy(x), training=True)
    runtime = open_runtime(net)
    assert runtime is not None
    runtime.run([x])
    assert [m.training for m in net.modules()] == [True, True, False, True]


def test_bfloat16_and_complex_results_are_compared() -> None:
    """To the tolerance of their type, not bit by bit."""
    net = nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 3)).bfloat16().eval()
    report = convcore.convert(net, "pytorch", example_inputs=torch.randn(3, 7).bfloat16()).report
    assert report.ok and 0 <= report.differences[0].max_abs < 0.05
    from convcore.report.compare import compare_outputs

    a = np.array([1 + 2j, 3 - 1j], np.complex64)
    near, far = compare_outputs(["a", "b"], [a, a], [a * (1 + 1e-6), a + 1e-1j], 1e-4, 0)
    assert near.ok and not far.ok and near.shape == (2,) and abs(far.max_abs - 0.1) < 1e-6


class Written(nn.Module):
    """Infinities, which archives write as names, and numbers, which a trace writes as constants without axes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 3, 2, padding="same", dilation=2, groups=3)

    def forward(self, x: Any) -> Any:
        y = self.conv(x).masked_fill(x > 0, -float("inf"))
        n = x.int()
        return (
            y,
            x.masked_fill(x < 0, float("nan")),
            n + 2.5,
            n.half() * 2.5,
            n * 3,
            n.sum() + 0.5,
            n * torch.tensor(2.5, dtype=torch.float64),
        )


def test_a_trace_written_as_torch_writes_it(tmp_path: Path) -> None:
    """The element types are those of the archive loaded again."""
    x = 4 * torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(3))
    path = tmp_path / "m.pt"
    torch.jit.trace(Written().eval(), x).save(str(path))
    with torch.no_grad():
        want = torch.jit.load(str(path))(x)
    model = convcore.load(path, input_shapes={"x": (2, 3, 7)})
    assert not model.problems
    for g, w in zip(outputs(model, {"x": x.numpy()}), want, strict=True):
        assert str(g.dtype) == str(w.dtype)[6:]
        np.testing.assert_allclose(g, w.numpy(), rtol=1e-3 if w.dtype is torch.float16 else 1e-5)


@pytest.mark.parametrize(
    ("shapes", "why"),
    [
        ({"input": ("batch", 5, 7)}, "has 2 axes in the example, the shape given has 3"),
        ({"input": ("batch", 6)}, "axis 1 of input 'input' is 7 in the example, the shape given has 6"),
        ({"input": ("batch", "2*n")}, "give a name for a symbolic size"),
        ({"y": ("batch", 7)}, "no input is named 'y'"),
        ({"input": ("n", "n")}, r"the axes named 'n' have sizes \[3, 7\]"),
    ],
)
def test_shapes_that_do_not_fit_the_examples(shapes: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        convcore.load(nn.Linear(7, 5).eval(), example_inputs=torch.randn(3, 7), input_shapes=shapes)


def test_weights_beside_what_holds_its_own(tmp_path: Path) -> None:
    net = nn.Linear(7, 5).eval()
    script = torch.jit.script(net)
    torch.save(net.state_dict(), tmp_path / "w.pth")
    script.save(str(tmp_path / "m.pt"))
    with pytest.raises(UsageError, match="a module holds its weights"):
        convcore.load(net, weights=tmp_path / "w.pth", example_inputs=torch.randn(3, 7))
    with pytest.raises(UsageError, match="the file holds its weights"):
        convcore.load(tmp_path / "m.pt", weights=tmp_path / "w.pth")
    with pytest.raises(UsageError, match="a ScriptModule cannot be traced"):
        convcore.load(script, example_inputs=torch.randn(3, 7))
    net.train()
    torch.jit.script(net).save(str(tmp_path / "t.pt"))
    with pytest.raises(UsageError, match="the module is in training mode"):
        convcore.load(tmp_path / "t.pt", input_shapes={"input": (3, 7)})


class Scripted(nn.Module):
    """What a branch does that is not followed, by kind."""

    def __init__(self, kind: int) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x * 1
        y = x
        if self.kind == 0:
            if x.size(0) == 2:
                raise ValueError("not two of them")
        elif self.kind == 1:
            if bool(x.sum() > 0):
                y = x.int()
        else:
            if bool(x.sum() > 0):
                y = x.add_(1)
        return y + x


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (0, "raises an exception for these inputs"),
        (1, "branches give different element types"),
        (2, "from outside of its branch"),
    ],
)
def test_branches_that_are_refused(kind: int, why: str, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.jit.script(Scripted(kind).eval()).save(str(path))
    with pytest.raises(UnsupportedError, match=why):
        convcore.convert(path, "onnx", tmp_path / "m.onnx", input_shapes={"x": (2, 5)})


@pytest.mark.parametrize("spec", ["mine", ":make", "mine:", "mine:other", "nothing_of_that_name:make"])
def test_a_factory_that_is_not_there(spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("from torch import nn\ndef make():\n    return nn.Linear(5, 3)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.save(nn.Linear(5, 3).state_dict(), tmp_path / "w.pth")
    why = "write package.module:factory" if spec in ("mine", ":make", "mine:") else "no attribute 'other'|No module named"
    with pytest.raises(UsageError, match=f"{spec}.: .*({why})"):
        convcore.load(tmp_path / "w.pth", module=spec, input_shapes={"input": ("batch", 5)})


def test_a_buffer_that_a_functional_program_changes() -> None:
    """The program gives its next value as a result of its own (BUFFER_MUTATION)."""
    exported = torch.export.export(Code(state).eval(), (torch.randn(3, 7),), strict=False).run_decompositions({})
    assert any("MUTATION" in o.kind.name for o in exported.graph_signature.output_specs)
    with pytest.raises(UnsupportedError, match=r"changes the buffer 'count'|the model changes 'count' between calls"):
        convcore.load(exported)


def test_autocast_that_is_switched_off_is_nothing() -> None:
    """timm's EfficientViT has such a region; the other kind is refused below."""

    def plain(s: Any, x: Any) -> Any:
        with torch.autocast("cpu", enabled=False):
            return s.lin(x) * 2

    module = Code(plain).eval()
    model = convcore.load(module, example_inputs=torch.randn(3, 7))
    assert not model.problems
    agree(module, model, arrays({"x": (4, 7)}))


def test_a_rule_that_gives_another_shape_than_torch_recorded() -> None:
    def cut(g: Any, n: Any) -> Any:
        return g.b.slice(n.tensor("self"), starts=(0, 0), stops=(None, 3), steps=(1, 1))

    exported = torch.export.export(Code(lambda s, x: torch.relu(x)).eval(), (torch.randn(3, 7),), strict=False)
    with pytest.raises(UnsupportedError, match="gives 3x3, but torch recorded 3x7"):
        convcore.convert(exported, "onnx", overrides={"aten.relu": cut})


def test_while_loop_becomes_a_region(tmp_path: Path) -> None:
    import onnxruntime
    from torch._higher_order_ops import while_loop

    class Doubling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = nn.Linear(5, 5)

        def forward(self, x: Any) -> Any:
            return while_loop(lambda n, y: n < 3, lambda n, y: (n + 1, torch.tanh(self.lin(y)) * 2), (torch.tensor(0), x))

    module = Doubling().eval()
    convcore.convert(module, "onnx", tmp_path / "m.onnx", example_inputs=torch.randn(3, 5))
    session, x = onnxruntime.InferenceSession(str(tmp_path / "m.onnx")), arrays({"x": (2, 5)})["x"]
    n, y = torch.tensor(0), torch.from_numpy(x)
    with torch.no_grad():
        while n < 3:
            n, y = n + 1, torch.tanh(module.lin(y)) * 2
    got = session.run(None, {session.get_inputs()[0].name: x})
    assert int(got[0]) == 3
    np.testing.assert_allclose(got[1], y.numpy(), rtol=1e-5, atol=1e-6)


def test_ranges_that_the_code_narrows_are_told() -> None:
    """What was asked for and what torch.export made of it: fixed, and narrower; two names for one size."""

    class Narrow(nn.Module):
        def forward(self, x: Any, y: Any) -> Any:
            return (x + y) * 2 if x.shape[0] > 2 else x

    model = convcore.load(
        Narrow().eval(), example_inputs=(torch.randn(5, 3), torch.randn(5, 3)),
        input_shapes={"x": ("rows", 3), "y": ("rows", 3)},
    )  # fmt: skip
    notes = model.graph.metadata["notes"]
    assert any("rows" in n and "3" in n for n in notes), notes


def test_mixed_precision_and_steps_over_the_batch_are_refused() -> None:
    def mixed(s: Any, x: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return s.lin(x)

    def steps(s: Any, x: Any) -> Any:
        y = s.lin(x)
        y[::2].mul_(3)
        return y

    for fn, why in ((mixed, "mixed precision"), (steps, "every 2-th element of an axis whose size is not fixed")):
        with pytest.raises(UnsupportedError, match=why):
            convcore.load(Code(fn).eval(), example_inputs=torch.randn(3, 7))

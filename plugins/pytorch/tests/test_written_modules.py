"""Whole files of small modules of torch, a construct of the printer each, to the letter (``code_record.py``): torch computes what
the module computes, with its state_dict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import convcore

from .code_record import check, without_functions

torch = pytest.importorskip("torch")
from torch import nn
from torch.nn import functional as F

X, IMAGE, STEPS = (2, 5), (2, 3, 7, 11), (2, 7, 5)


class Net(nn.Module):
    """A module of members whose ``forward`` is a function."""

    def __init__(self, forward: Any, **members: Any) -> None:
        super().__init__()
        for name, m in members.items():
            if isinstance(m, nn.Module):
                self.add_module(name.replace("__", "-"), m)
            elif isinstance(m, nn.Parameter) or m is None:
                self.register_parameter(name, m)
            else:
                self.register_buffer(name, m, persistent=not name.startswith("un"))
        self.does = forward

    def forward(self, *args: Any) -> Any:
        return self.does(self, *args)


class Block(nn.Module):
    def __init__(self, width: int, kernel: Any = 3, groups: int = 1) -> None:
        super().__init__()
        self.up = nn.Conv2d(3, width, kernel, padding="same", groups=groups)
        self.norm, self.act = nn.BatchNorm2d(width), nn.LeakyReLU(0.2)
        self.down = nn.Conv2d(width, 3, 1)

    def forward(self, x: Any) -> Any:
        return x + self.down(self.act(self.norm(self.up(x))))


class NormAct(nn.LayerNorm):
    """A layer with weights that calls another without any."""

    def __init__(self, n: int, act: Any) -> None:
        super().__init__(n)
        self.act = act

    def forward(self, x: Any) -> Any:
        return self.act(super().forward(x))


def par(*shape: int, train: bool = True) -> Any:
    return nn.Parameter(torch.randn(*shape), requires_grad=train)


def frozen(m: Any, *names: str) -> Any:
    for n, p in m.named_parameters():
        if not names or n in names:
            p.requires_grad_(False)
    return m


def tied(long: str = "") -> Any:
    a, b = nn.Linear(5, 5), nn.Linear(5, 5)
    b.weight = a.weight
    return Net(lambda m, x: getattr(m, f"b{long}")(torch.tanh(getattr(m, f"a{long}")(x))), **{f"a{long}": a, f"b{long}": b})


def tied_odd() -> Any:
    made = Net(lambda m, x: m.a(x) @ m.get_parameter("b-c"), a=nn.Linear(5, 5))
    made.register_parameter("b-c", made.a.weight)
    return made


def odd_names() -> Any:
    inner = Net(lambda m, x: m.get_submodule("1-d")(x) + m.get_parameter("2-e"), **{"1__d": nn.Linear(5, 5), "x": nn.Tanh()})
    inner.register_parameter("2-e", par(5))
    inner.register_buffer("3-f", torch.rand(5))
    return Net(lambda m, x: m.get_submodule("a-b")(m.part(x)) * m.part.get_buffer("3-f")[:3], part=inner, a__b=nn.Linear(5, 3))


def stacked(kind: Any, **more: Any) -> Any:
    return Net(lambda m, x: m.rnn(x)[0], rnn=kind(5, 3, num_layers=2, batch_first=True, **more))


def shared_block() -> Any:
    return Net(lambda m, x: m.block(torch.relu(m.block(x))), block=nn.Sequential(nn.Linear(5, 5), nn.Tanh()))


def lists() -> Any:
    heads = nn.ModuleList([nn.Linear(5, 2), nn.Linear(5, 3), nn.Sequential(nn.Linear(5, 1))])
    scales = nn.ParameterList([par(5), par(5)])
    return Net(lambda m, x: torch.cat([h(x * m.scales[0] + m.scales[1]) for h in m.heads], 1), heads=heads, scales=scales)


def kept_apart() -> Any:
    """Modules that are never called, and weights nobody reads."""
    inside = nn.Module()
    inside.fc, inside.scale = nn.Linear(5, 5), par(5)
    inside.unused = nn.Linear(2, 3)
    return Net(lambda m, x: m.part.fc(x) * m.part.scale, part=inside, token=par(1, 5), aux=nn.Linear(3, 2))


def functional() -> Any:
    def forward(m: Any, x: Any) -> Any:
        y = F.conv2d(x, m.w, m.b, stride=(1, 2), padding=(1, 0), dilation=(2, 1))
        y = F.group_norm(F.leaky_relu(y, 0.3), 2, m.b, m.b, 1e-3)
        y = F.layer_norm(y, y.shape[-1:], eps=1e-4)
        y = F.interpolate(F.max_pool2d(y, 2, 1, 1), size=(5, 7), mode="bilinear")
        y = F.pad(F.gelu(F.elu(y, 0.7), approximate="tanh"), (1, 2, 0, 1), value=0.5)
        return (
            F.softmax(F.hardshrink(y, 0.1), dim=1),
            F.glu(y, 1),
            F.avg_pool2d(y, (2, 3), padding=(1, 0), count_include_pad=False),
        )

    return Net(forward, w=par(4, 3, 3, 3), b=par(4))


MODULES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "chain": (lambda: nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Sequential(nn.Dropout(0.3), nn.Linear(7, 3))), (X,)),
    "named chain": (lambda: nn.Sequential({"a": 0} and nn.Linear(5, 7), nn.Softmax(1)), (X,)),
    "equal blocks": (lambda: Net(lambda m, x: m.c(m.b(m.a(x))), a=Block(4), b=Block(6), c=Block(4)), (IMAGE,)),
    "blocks of tuples": (lambda: nn.Sequential(Block(4, (1, 3)), Block(6, (3, 1)), Block(4, (1, 3))), (IMAGE,)),
    "blocks of other kernels": (lambda: nn.Sequential(Block(4, 3), Block(6, (3, 1))), (IMAGE,)),
    "blocks in groups": (lambda: nn.Sequential(Block(6, 3, 3), Block(6, 3), Block(9, 3, 3)), (IMAGE,)),
    "blocks of parameters": (
        lambda: nn.Sequential(
            *(Net(lambda m, x: m.fc(x) * m.scale, fc=nn.Linear(a, b), scale=par(b)) for a, b in ((5, 7), (7, 3)))
        ),
        (X,),
    ),
    "tied": (tied, (X,)),
    "tied, long": (lambda: tied("_name_that_is_so_long_that_no_line_takes_two_of_them"), (X,)),
    "tied, odd": (tied_odd, (X,)),
    "odd names": (odd_names, (X,)),
    "buffers": (
        lambda: Net(
            lambda m, x: x * m.scale + m.unsaved + x[:, m.at].sum(),
            scale=torch.rand(5),
            unsaved=torch.rand(5),
            at=torch.tensor([3, 1, 4]),
        ),
        (X,),
    ),
    "frozen": (lambda: frozen(nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7))), (X,)),
    "frozen in part": (
        lambda: Net(
            lambda m, x: m.b(m.a(x)) * m.s * m.t,
            a=frozen(nn.Linear(5, 5)),
            b=frozen(nn.Linear(5, 5), "bias"),
            s=par(5, train=False),
            t=par(5),
        ),
        (X,),
    ),
    "frozen in a chain": (
        lambda: Net(
            lambda m, x: m.seq(x), seq=nn.Sequential(frozen(nn.Linear(5, 5), "weight"), nn.ReLU(), frozen(nn.Linear(5, 3)))
        ),
        (X,),
    ),
    "half": (lambda: nn.Sequential(nn.Linear(5, 7), nn.Hardtanh(-2.0, 3.0), nn.Linear(7, 3, bias=False)).double(), (X,)),
    "lstm": (lambda: stacked(nn.LSTM, bidirectional=True, dropout=0.2), (STEPS,)),
    "gru": (lambda: stacked(nn.GRU, bias=False), (STEPS,)),
    "states": (lambda: Net(lambda m, x, h, c: m.rnn(x, (h, c)), rnn=nn.LSTM(5, 3, num_layers=2)), (STEPS, (2, 7, 3), (2, 7, 3))),
    "one state": (
        lambda: Net(lambda m, x, h: m.rnn(x, h)[1], rnn=nn.RNN(5, 3, num_layers=2, nonlinearity="relu")),
        (STEPS, (2, 7, 3)),
    ),
    "last state of a layer": (lambda: Net(lambda m, x: m.rnn(x)[1][0], rnn=nn.GRU(5, 3, num_layers=2)), (STEPS,)),
    "attention": (lambda: Net(lambda m, x: m.attn(x, x, x)[0], attn=nn.MultiheadAttention(6, 3, batch_first=True)), ((2, 5, 6),)),
    "encoder": (lambda: nn.TransformerEncoderLayer(6, 3, 7, 0.2, batch_first=True, norm_first=True), ((2, 5, 6),)),
    "shared": (shared_block, (X,)),
    "lists": (lists, (X,)),
    "apart": (kept_apart, (X,)),
    "functional": (functional, (IMAGE,)),
    "norm and act": (lambda: nn.Sequential(NormAct(5, nn.ReLU()), NormAct(5, nn.Dropout(0.1)), NormAct(5, nn.Hardtanh())), (X,)),
    "held": (lambda: Net(lambda m, x: F.linear(x, m.w.t()) @ m.w.reshape(7, 5), w=par(5, 7)), (X,)),
    "residual": (
        lambda: Net(lambda m, x: m.act(m.c(x) + x), c=nn.Conv2d(3, 3, 3, padding=1), act=nn.ReLU(inplace=True)),
        (IMAGE,),
    ),
    "norms": (
        lambda: nn.Sequential(
            nn.GroupNorm(1, 3, 1e-3),
            nn.InstanceNorm2d(3, affine=True),
            nn.BatchNorm2d(3, 1e-4, 0.3),
            nn.PReLU(3),
            nn.LocalResponseNorm(3, 0.1),
            nn.Dropout2d(0.3),
            nn.PixelUnshuffle(1),
            nn.LayerNorm([7, 11]),
        ),
        (IMAGE,),
    ),
    "transposed": (
        lambda: nn.Sequential(
            nn.ConvTranspose2d(3, 4, (2, 3), (3, 2), (1, 0), (2, 1), 1, False, (1, 2)), nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten()
        ),
        (IMAGE,),
    ),
    "slices": (
        lambda: Net(lambda m, x: (x[:, 1:], x[..., ::2], x[:, None, 0], x.flip(1), x[:, -2], x.unbind(1)[3], x.split([2, 3], 1))),
        (X,),
    ),
    "operators": (
        lambda: Net(lambda m, x: ((x + 2) * x - 1.5, x - -3.0, 2**x, x**2, x / 3 // 1, x % 2 > 1, -x, (x > 0) & (x < 1))),
        (X,),
    ),
    "empty": (lambda: Net(lambda m, x: x * 1), (X,)),
    "long results": (
        lambda: Net(
            lambda m, x: tuple(m.get_submodule(f"a_layer_with_a_long_name_{i}")(x) for i in range(4)),
            **{f"a_layer_with_a_long_name_{i}": nn.Linear(5, 5) for i in range(4)},
        ),
        (X,),
    ),
}


def feeds_of(shapes: Any, dtype: Any = torch.float32) -> tuple[Any, ...]:
    torch.manual_seed(3)
    return tuple(torch.randn(s, dtype=dtype) for s in shapes)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.filterwarnings("ignore")
def test_modules_are_written_to_the_letter(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, shapes = MODULES[name]
    net = make().eval()
    given = feeds_of(shapes, next((p.dtype for p in net.parameters()), torch.float32))
    out = tmp_path / "net.py"
    made = convcore.convert(net, "pytorch", out, example_inputs=given)
    check("modules", {name: without_functions(out.read_text("utf-8"))})
    model = made.model
    got, want = model(*given), net(*given)
    for a, b in zip(flat(got), flat(want), strict=True):
        assert a.dtype is b.dtype and torch.allclose(a, b, rtol=1e-4, atol=1e-5)
    assert list(model.state_dict()) == list(net.state_dict())
    assert {n: p.requires_grad for n, p in model.named_parameters()} == {n: p.requires_grad for n, p in net.named_parameters()}
    for n, t in net.state_dict().items():
        assert torch.equal(model.state_dict()[n], t), n
    got = flat(model.train()(*given)) if name in ("frozen", "norms") else []
    assert all(t.isfinite().all() for t in got)


def flat(x: Any) -> list[Any]:
    return [x] if isinstance(x, torch.Tensor) else [t for part in x for t in flat(part)]

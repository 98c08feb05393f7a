"""A model that came from PyTorch keeps the keys of its state_dict, in their order, wherever its modules and weights are used."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import pytest

import convcore
from convcore.plugin import Builder, DType, Graph

from .torch_kit import emit_model

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


class Attention(nn.Module):
    """Weights of a member are read by its owner; a table beside them; a buffer of places."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(7))
        self.register_buffer("where", torch.tensor([2, 0, 1]))
        self.qkv = nn.Linear(7, 21)
        self.table = nn.Parameter(torch.randn(3, 3))
        self.proj = nn.Linear(7, 7)

    def forward(self, x: Any) -> Any:
        q, k, v = F.linear(x, self.qkv.weight, self.qkv.bias).chunk(3, -1)
        s = torch.softmax(q @ k.transpose(-1, -2) + self.table[self.where], -1)
        return F.linear(s @ v, self.proj.weight, self.proj.bias) * self.scale


class Swap(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.transpose(1, 2)


class Net(nn.Module):
    """A stage that is a Sequential with something in it that is no module of torch; the head before the body."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(1, 1, 7))
        self.head = nn.Linear(3, 5)
        self.blocks = nn.Sequential(nn.LayerNorm(7), Attention(), nn.Dropout(0.1), Swap(), nn.Conv1d(7, 3, 1), nn.BatchNorm1d(3))

    def forward(self, x: Any) -> Any:
        x = torch.cat([self.start.expand(x.shape[0], -1, -1), x], 1)
        return self.head(self.blocks(x).mean(2))


def test_every_key_in_its_place() -> None:
    torch.manual_seed(0)
    net = Net().eval()
    x = torch.randn(2, 2, 7)
    made = convcore.convert(net, "pytorch", example_inputs=x)
    ours, theirs = made.model.state_dict(), net.state_dict()
    assert [k for k in ours if k in theirs] == [k for k in theirs if k in ours]
    assert not set(theirs) - set(ours), set(theirs) - set(ours)
    assert all(torch.equal(ours[k], v) for k, v in theirs.items())
    assert torch.allclose(made.model(x), net(x), atol=1e-6)
    made.model.load_state_dict(theirs, strict=len(ours) == len(theirs))
    assert [n for n, p in made.model.named_parameters() if p.requires_grad] == [n for n, _ in net.named_parameters()]


def same_gradients(net: Any, model: Any, x: Any) -> None:
    """Of a sum of squares, by the name of each parameter of the source."""
    for m in (net, model):
        m(x).square().sum().backward()
    mine = dict(model.named_parameters())
    for name, p in net.named_parameters():
        assert torch.allclose(mine[name].grad, p.grad, rtol=1e-4, atol=1e-6), name


def test_gradients_are_those_of_the_source() -> None:
    torch.manual_seed(0)
    net = Net().eval()
    x = torch.randn(2, 2, 7)
    model = convcore.convert(net, "pytorch", example_inputs=x).model
    same_gradients(net, model, x)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-4)
    before = float(model(x).square().sum().detach())
    optimiser.step()
    assert float(model(x).square().sum().detach()) < before


def test_traces_exports_and_compiles() -> None:
    torch.manual_seed(0)
    net = Net().eval()
    model = convcore.convert(net, "pytorch", example_inputs=torch.randn(2, 2, 7)).model
    x = torch.randn(5, 2, 7)
    assert torch.allclose(torch.jit.trace(model, torch.randn(2, 2, 7))(x), net(x), atol=1e-6)
    program = torch.export.export(model, (torch.randn(3, 2, 7),), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False)
    assert torch.allclose(program.module()(x), net(x), atol=1e-6)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x), net(x), atol=1e-6)


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(7, 7)
        self.n = nn.LayerNorm(7)
        self.extra = nn.Parameter(torch.rand(7))
        self.pairs = nn.ParameterList([nn.Parameter(torch.rand(7)) for _ in range(2)])

    def forward(self, x: Any) -> Any:
        return torch.relu(self.n(self.a(x))) * self.pairs[1] + self.pairs[0]


class Lists(nn.Module):
    """Members of lists called among other calls, members whose weights alone are read, weights in lists and dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.ParameterList([nn.Parameter(torch.rand(7)) for _ in range(2)])
        self.by_name = nn.ParameterDict({"q": nn.Parameter(torch.rand(7))})
        self.blocks = nn.ModuleList([Inner() for _ in range(2)])
        self.gates = nn.ModuleList([nn.Linear(7, 7) for _ in range(2)])
        self.read = nn.Module()
        self.read.register_parameter("1", nn.Parameter(torch.rand(7)))
        self.read.register_buffer("0", torch.rand(7))
        self.read.deeper = nn.Sequential(nn.Linear(7, 7, bias=False))

    def forward(self, x: Any) -> Any:
        for block, gate, scale in zip(self.blocks, self.gates, self.scales):
            x = x * scale + gate(block(x)) * block.extra + block.pairs[0] * block.pairs[1] + gate.bias
        x = x * self.read.get_parameter("1") + self.read.get_buffer("0") * self.by_name["q"]
        return x @ self.read.deeper[0].weight


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(5, 7)
        self.body = nn.Linear(7, 7)
        self.lm_head = nn.Linear(7, 5, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, x: Any) -> Any:
        return self.lm_head(self.body(self.wte(x)))


@pytest.mark.parametrize("make", [Lists, Tied])
def test_keys_of_lists_and_of_tied_weights(make: Any, tmp_path: Any) -> None:
    torch.manual_seed(0)
    net = make().eval()
    x = torch.randn(3, 7) if make is Lists else torch.tensor([[0, 3], [4, 1]])
    result = convcore.convert(net, "pytorch", tmp_path / "m.py", example_inputs=x)
    model = result.model
    theirs = net.state_dict()
    assert list(model.state_dict()) == list(theirs)
    assert all(torch.equal(model.state_dict()[k], v) for k, v in theirs.items())
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in net.named_parameters()]
    model.load_state_dict(theirs)
    same_gradients(net, model, x)
    torch.compile(model, fullgraph=True, backend="eager")(x)
    if make is Lists:
        assert isinstance(model.gates, nn.ModuleList) and isinstance(model.scales, nn.ParameterList)


def test_files_keep_the_order_of_their_parameters(tmp_path: Any) -> None:
    """Modules are called in another order than they are defined in."""
    torch.manual_seed(0)
    net = Net().eval()
    x = torch.randn(2, 2, 7)
    program = torch.export.export(net, (x,), strict=False)
    torch.export.save(program, tmp_path / "m.pt2")
    model = convcore.convert(tmp_path / "m.pt2", "pytorch").model
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in net.named_parameters()]


class Facts(nn.Module):
    """What only matters in training."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 7, padding_idx=2)
        self.bn = nn.BatchNorm1d(7, momentum=0.3)
        self.bn.num_batches_tracked.fill_(17)

    def forward(self, x: Any) -> Any:
        return self.bn(self.table(x).mean(1)) + F.embedding(x[:, 0], self.table.weight * 2, padding_idx=0)


def test_facts_of_training_are_kept() -> None:
    torch.manual_seed(0)
    net, x = Facts().eval(), torch.tensor([[0, 2], [2, 1], [4, 2]])
    model = convcore.convert(net, "pytorch", example_inputs=x).model
    assert list(model.state_dict()) == list(net.state_dict())
    for m in (net, model):
        m.train()(x).square().sum().backward()
    assert not net.table.weight.grad[0].equal(net.table.weight.grad[2])
    assert torch.allclose(dict(model.named_parameters())["table.weight"].grad, net.table.weight.grad, rtol=1e-4, atol=1e-6)
    mine = dict(model.named_buffers())
    for name, b in net.named_buffers():  # after one step
        assert torch.allclose(mine[name], b, atol=1e-6), name


@pytest.mark.parametrize(
    "make, why",
    [
        (lambda: nn.BatchNorm1d(7, momentum=None), "momentum=0, which stands for 0 and for None"),
        (lambda: nn.InstanceNorm1d(7, track_running_stats=True), "the same in evaluation only"),
        (lambda: nn.Embedding(5, 7, scale_grad_by_freq=True), "scale_grad_by_freq"),
        (lambda: nn.TransformerEncoderLayer(4, 2, 5, batch_first=True), "dropout of attention weights .*0.self_attn"),
    ],
)
def test_facts_of_training_that_are_not_kept_are_told(make: Any, why: str) -> None:
    net = make().eval()
    x = torch.tensor([[0, 3]]) if isinstance(net, nn.Embedding) else torch.randn(3, 7, 4)
    notes = convcore.load(nn.Sequential(net).eval(), example_inputs=x).graph.metadata["notes"]
    assert any(re.search(why, n) for n in notes), notes


class Conv1D(nn.Module):
    """That of transformers (``pytorch_utils.Conv1D``): its weight is (in, out)."""

    def __init__(self, out: int, size: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(size, out)), nn.Parameter(torch.randn(out))

    def forward(self, x: Any) -> Any:
        shape = (*x.size()[:-1], self.bias.shape[0])
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(shape)


class Turned(nn.Module):
    """Products with matrices as they are stored and transposed, and one in both orders; not square, square."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.square, self.narrow = Conv1D(11, 7), Conv1D(11, 11), Conv1D(7, 11)
        self.enc = nn.Linear(7, 5)
        self.both = nn.Parameter(torch.randn(7, 7))
        self.only = nn.Parameter(torch.randn(3, 7))

    def forward(self, x: Any) -> Any:
        x = self.narrow(torch.relu(self.square(torch.tanh(self.wide(x)))))
        x = F.linear(torch.relu(self.enc(x)), self.enc.weight.t())
        return torch.tanh(x @ self.both) @ self.both.t() @ self.only.t()


class Shaped(nn.Module):
    """Weights in other shapes than the layers take; a slope that is a module's own."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.turned = nn.Parameter(torch.randn(5, 3)), nn.Parameter(torch.randn(5, 5, 1, 1))
        self.scale, self.shift = nn.Parameter(torch.rand(1, 5, 1, 1) + 0.5), nn.Parameter(torch.rand(5, 1, 1))
        self.slope, self.act = nn.Parameter(torch.rand(5, 1, 1)), nn.PReLU(5)

    def forward(self, x: Any) -> Any:
        x = F.conv2d(F.conv2d(x, self.kernel.view(5, 3, 1, 1)), self.turned.transpose(0, 1))
        x = F.group_norm(x, 5, self.scale.view(5), self.shift.view(5))
        return self.act(F.prelu(x - 1, self.slope.view(5)) + 0.1)


@pytest.mark.parametrize("how", ["live", "loaded", "saved", "pt2"])
@pytest.mark.parametrize("make", [Turned, Shaped])
def test_weights_lie_as_the_source_has_them(make: Any, how: str, tmp_path: Any) -> None:
    """However they are used. A checkpoint of each is one of the other."""
    torch.manual_seed(0)
    net, other = make().eval(), make().eval()
    x = torch.randn(2, 3, 7) if make is Turned else torch.randn(2, 3, 7, 11)
    source: Any = convcore.load(net, example_inputs=x) if how in ("loaded", "saved") else net
    if how == "saved":
        source.save(tmp_path / "m.ccir")
        source = convcore.load(tmp_path / "m.ccir")
    if how == "pt2":
        torch.export.save(torch.export.export(net, (x,), strict=False), tmp_path / "m.pt2")
        source = convcore.load(tmp_path / "m.pt2")
    made = convcore.convert(source, "pytorch", **({"example_inputs": x} if how == "live" else {}))
    model, theirs = made.model, net.state_dict()
    ours = model.state_dict()
    if how != "pt2":  # whose parameters come first
        assert list(ours) == list(theirs)
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in net.named_parameters()]
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], v) for k, v in theirs.items())
    for m in (net, model):
        m(x).square().sum().backward()
    mine = dict(model.named_parameters())
    for name, p in net.named_parameters():
        assert torch.allclose(mine[name].grad, p.grad, rtol=1e-3, atol=1e-4), name
    model.load_state_dict(other.state_dict())
    assert torch.allclose(model(x), other(x), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.25)
    net.load_state_dict(model.state_dict())
    assert torch.allclose(net(x), model(x), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(net(x), other(x), rtol=1e-2)


def test_modules_that_take_their_weights_as_they_are_stay() -> None:
    """``nn.PReLU``'s slope is used in another shape than it has."""
    made = convcore.convert(
        nn.Sequential(nn.Conv2d(3, 5, 1), nn.PReLU(5)).eval(), "pytorch", example_inputs=torch.randn(2, 3, 7, 7)
    )
    assert [type(m) for m in made.model.modules()][1:] == [nn.Conv2d, nn.PReLU]


def test_keys_of_other_values_are_told() -> None:
    net = nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5)).eval()
    net[1].running_mean.uniform_(0.5, 1)
    for simplify in (False, True):
        made = convcore.convert(net, "pytorch", example_inputs=torch.randn(2, 3, 7, 11), simplify=simplify)
        same = torch.equal(made.model.state_dict()["0.weight"], net[0].weight)
        assert same is not simplify
        assert any("not the source's own, but computed of its weights: 0.weight" in n for n in made.report.notes) is simplify


class Unsaved(nn.Module):
    """Tables that a checkpoint does not hold: of a module, of a module around it, and a constant of the code."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(11, 7), nn.Embedding(5, 7)
        self.register_buffer("at", torch.tensor([[4, 0, 3]]), persistent=False)
        self.register_buffer("kept", torch.rand(7))

    def forward(self, x: Any) -> Any:
        return (self.words(x) + self.places(self.at)) * self.kept + torch.tensor([0.5, 1.5, 2.5])[:, None]


def test_buffers_that_are_not_saved(tmp_path: Any) -> None:
    from safetensors.torch import load_file

    torch.manual_seed(0)
    net, x = Unsaved().eval(), torch.tensor([[1, 10, 2], [0, 3, 4]])
    out = tmp_path / "unsaved_net.py"
    made = convcore.convert(net, "pytorch", out, example_inputs=x)
    assert list(made.model.state_dict()) == list(net.state_dict())
    assert torch.equal(made.model(x), net(x))
    spec = importlib.util.spec_from_file_location("unsaved_net", out)
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    assert torch.equal(code.load()(x), net(x)) and list(code.load().state_dict()) == list(net.state_dict())
    convcore.convert(net, "pytorch", tmp_path / "alone.safetensors", example_inputs=x)
    assert set(load_file(tmp_path / "alone.safetensors")) == set(net.state_dict())


class Blurred(nn.Module):
    """A filter that is not saved (timm's BlurPool2d), alone in its module and beside a weight, one of a module's own name."""

    class Blur(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("filt", torch.rand(5, 1, 3, 3), persistent=False)

        def forward(self, x: Any) -> Any:
            return F.conv2d(x, self.filt, stride=2, groups=5)

    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", torch.rand(5, 5, 1, 1), persistent=False)
            self.bias = nn.Parameter(torch.rand(5))

        def forward(self, x: Any) -> Any:
            return F.conv2d(x, self.weight, self.bias)

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.blur, self.last = nn.Conv2d(3, 5, 1), self.Blur(), self.Fixed()

    def forward(self, x: Any) -> Any:
        return self.last(self.blur(self.conv(x)))


class ScaledOnly(nn.Module):
    """A normalisation of groups without a bias (timm's GroupNorm1NoBias)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, 5)
        self.norm.bias = None
        nn.init.normal_(self.norm.weight)

    def forward(self, x: Any) -> Any:
        return self.norm(x)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
@pytest.mark.parametrize("inside", [False, True])
def test_weights_that_a_module_uses_itself(cell: Any, inside: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(cell(3, 5)).eval() if inside else cell(3, 5).eval()
    x = torch.randn(2, 3)
    model = convcore.convert(net, "pytorch", example_inputs=x).model
    assert list(model.state_dict()) == list(net.state_dict())
    for got, want in zip(torch.utils._pytree.tree_leaves(model(x)), torch.utils._pytree.tree_leaves(net(x))):
        assert torch.allclose(got, want, atol=1e-6)


class NormAct(nn.BatchNorm2d):
    """A normalisation that calls its activation, as timm has them."""

    def __init__(self, channels: int, act: type[nn.Module]) -> None:
        super().__init__(channels)
        self.act = act()

    def forward(self, x: Any) -> Any:
        stats = self.running_mean, self.running_var
        return self.act(F.batch_norm(x, *stats, self.weight, self.bias, self.training, self.momentum, self.eps))


@pytest.mark.parametrize("act", [nn.SiLU, nn.ReLU6])
def test_a_layer_with_another_inside(act: Any) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 5, 1), NormAct(5, act), NormAct(5, act), nn.Conv2d(5, 2, 1)).eval()
    for n, b in net.named_buffers():
        if "running" in n:
            b.uniform_(0.5, 1.5)
    x = torch.randn(2, 3, 7, 11)
    model = convcore.convert(net, "pytorch", example_inputs=x).model
    assert list(model.state_dict()) == list(net.state_dict())
    assert all(torch.equal(model.state_dict()[k], v) for k, v in net.state_dict().items())
    assert torch.equal(model(x), net(x))


class Lengths(nn.Module):
    """The second block makes a tensor as long as the first one's input, whose size it is given."""

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(7, 7)

        def forward(self, x: Any) -> Any:
            return self.fc(x), x.size(1)

    class Second(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(5, 7)

        def forward(self, n: int, x: Any) -> Any:
            return self.fc(x)[:, None] + torch.arange(n)[None, :, None]

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = self.First(), self.Second()

    def forward(self, x: Any, y: Any) -> Any:
        made, n = self.first(x)
        return made + self.second(n, y)


def test_sizes_between_blocks() -> None:
    torch.manual_seed(0)
    net, x, y = Lengths().eval(), torch.randn(2, 3, 7), torch.randn(2, 5)
    shapes = {"x": ("batch", "time", 7), "y": ("batch", 5)}
    model = convcore.convert(net, "pytorch", example_inputs=(x, y), input_shapes=shapes).model
    for t in (3, 4):
        x = torch.randn(2, t, 7)
        assert torch.equal(model(x, y), net(x, y))


@pytest.mark.parametrize("x", [torch.finfo(torch.float32).min, torch.finfo(torch.float32).max, 0.1])
def test_numbers_at_the_end_of_their_type(x: float) -> None:
    class Masked(nn.Module):
        def forward(self, a: Any) -> Any:
            return torch.where(a > 0, a, torch.tensor(x))

    a = torch.randn(2, 7)
    assert torch.equal(convcore.convert(Masked(), "pytorch", example_inputs=a, training=True).model(a), Masked()(a))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("both", [False, True])
def test_recurrent_layers_keep_both_biases(kind: str, both: bool, tmp_path: Any) -> None:
    class Rnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = getattr(nn, kind)(3, 5, bidirectional=both, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.rnn(x)

    torch.manual_seed(0)
    net, x = Rnn().eval(), torch.randn(2, 7, 3)
    model = convcore.convert(net, "pytorch", tmp_path / "net.py", example_inputs=x).model
    assert list(model.state_dict()) == list(net.state_dict())
    assert all(torch.equal(model.state_dict()[k], v) for k, v in net.state_dict().items())
    for m in (net, model):
        m(x)[0].square().sum().backward()
    mine = dict(model.named_parameters())
    for name, p in net.named_parameters():
        assert torch.allclose(mine[name].grad, p.grad, rtol=1e-4, atol=1e-6), name


class _Borrows(nn.Linear):
    """Uses another module's weight beside its own of that name."""

    other: Any = ()

    def forward(self, x: Any) -> Any:
        return F.linear(x, self.other[0].weight, self.bias) + F.linear(x, self.weight)


class _Mixes(nn.Module):
    """A normalisation by a weight of its own and a bias of another's."""

    def __init__(self, other: nn.Module) -> None:
        super().__init__()
        self.weight, self.other = nn.Parameter(torch.randn(5)), [other]

    def forward(self, x: Any) -> Any:
        return F.layer_norm(x, (5,), self.weight, self.other[0].bias)


class Borrowed(nn.Module):
    """Weights used by other modules than theirs, by the root, by one that is nested, and by one that is called twice."""

    def __init__(self, called: bool) -> None:
        super().__init__()
        self.a, self.b, self.called = nn.Linear(5, 5), _Borrows(5, 5), called
        self.c = nn.Sequential(nn.Linear(5, 5), _Borrows(5, 5), _Mixes(self.a))
        self.b.other, self.c[1].other = [self.a], [self.b]

    def forward(self, x: Any) -> Any:
        y = self.b(self.a(x)) if self.called else self.b(x)
        return self.b(self.c(y)) + F.linear(x, self.c[0].weight)


class NotItsOwn(nn.Linear):
    """A layer that uses another's weight instead of its own."""

    def __init__(self) -> None:
        super().__init__(5, 5)
        self.inner = nn.Linear(5, 5, bias=False)

    def forward(self, x: Any) -> Any:
        return F.linear(x, self.inner.weight, self.bias)


class PartlyUsed(nn.Linear):
    """A layer whose bias goes elsewhere, or nowhere."""

    used = True

    def forward(self, x: Any) -> Any:
        y = F.linear(x, self.weight).relu()
        return y + self.bias if self.used else y


class Unread(nn.Module):
    """Heads and tokens that the forward does not use, one of them in a block that repeats; a table with two names."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token, self.fc = nn.Parameter(torch.randn(3), requires_grad=False), nn.Linear(5, 5)
            self.aux = nn.Sequential(nn.Linear(5, 2), nn.BatchNorm1d(2))

        def forward(self, x: Any) -> Any:
            return self.fc(x).relu() * 2

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.words = nn.Embedding(11, 5), nn.Embedding(11, 5)
        self.words.weight = self.shared.weight
        self.blocks = nn.Sequential(self.Block(), self.Block())
        self.last = PartlyUsed(5, 5)
        self.last.used = False

    def forward(self, x: Any) -> Any:
        return self.last(self.blocks(self.words(x)))


class FarTied(nn.Module):
    """Weights that are one under long names, which a number ends, too."""

    def __init__(self) -> None:
        super().__init__()
        name = "a_block_whose_name_is_so_long_that_no_line_takes_two_of_them"
        self.first, self.weights = nn.Linear(5, 5), nn.ParameterList([torch.randn(5)])
        self.add_module(name, nn.ModuleList([nn.Linear(5, 5), nn.Linear(5, 5)]))
        self.last, self.other = getattr(self, name), nn.ParameterList([self.weights[0]])
        for layer in self.last:
            layer.weight, layer.bias = self.first.weight, self.first.bias

    def forward(self, x: Any) -> Any:
        return self.last[1](self.last[0](self.first(x)).relu() * self.weights[0]) + self.other[0]


class Odd(nn.Module):
    """Names that Python has no place for behind a dot."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("a-b", nn.Linear(5, 5))
        self.add_module("c d", nn.Sequential(nn.Linear(5, 5), nn.ReLU()))
        self.register_parameter("p+q", nn.Parameter(torch.randn(5)))
        self.register_buffer("r-s", torch.randn(5))

    def forward(self, x: Any) -> Any:
        y = getattr(self, "c d")(getattr(self, "a-b")(x))
        return y * getattr(self, "p+q") + getattr(self, "r-s")


class HalfNorms(nn.Module):
    """Normalisations that use one of two weights, beside one that uses the other."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.groups, self.alone = nn.LayerNorm(5), nn.GroupNorm(3, 3), nn.LayerNorm(5)
        for p in self.parameters():
            nn.init.normal_(p)

    def forward(self, x: Any) -> Any:
        y = F.layer_norm(x, (5,), self.norm.weight, None, 1e-3) + F.layer_norm(x, (5,), None, self.norm.bias)
        y = F.group_norm(y, 3, None, self.groups.bias) + F.group_norm(y, 3, self.groups.weight)
        return F.layer_norm(y, (5,), None, self.alone.bias)


class OwnNorms(nn.Module):
    """A module that normalises over two axes with weights of its own, beside something else."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.gain = nn.Parameter(torch.randn(3, 5)), nn.Parameter(torch.randn(3, 5))
        self.last, self.out = nn.Parameter(torch.randn(5)), nn.Linear(5, 2)

    def forward(self, x: Any) -> Any:
        y = F.layer_norm(x, (3, 5), self.scale, eps=1e-3) + F.rms_norm(x, (3, 5), self.gain)
        return self.out(F.rms_norm(y, (5,), self.last, 1e-2))


class Stacked(nn.Module):
    """Several layers in one recurrent module: states given or not, final states read whole or of one layer."""

    def __init__(self, kind: str, read: str, **options: Any) -> None:
        super().__init__()
        self.rnn, self.read = getattr(nn, kind)(5, 7, 3, **options), read

    def forward(self, x: Any, *states: Any) -> Any:
        y, last = self.rnn(x, *((states if len(states) > 1 else states[0],) if states else ()))
        h = last[0] if isinstance(last, tuple) else last
        return y if self.read == "none" else (y, h) if self.read == "whole" else (y, h[1], h)


def _states(directions: int, n: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(3 * directions, 2, 7) for _ in range(n))


KEPT: dict[str, Any] = {
    "borrowed": lambda: (Borrowed(True), (torch.randn(3, 5),)),
    "borrowed, never called": lambda: (Borrowed(False), (torch.randn(3, 5),)),
    "bias elsewhere": lambda: (PartlyUsed(5, 5), (torch.randn(3, 5),)),
    "another's weight": lambda: (nn.Sequential(NotItsOwn(), nn.Linear(5, 3)), (torch.randn(3, 5),)),
    "unread": lambda: (Unread(), (torch.randint(0, 11, (3, 2)),)),
    "tied far away": lambda: (FarTied(), (torch.randn(3, 5),)),
    "odd names": lambda: (Odd(), (torch.randn(3, 5),)),
    "LSTM": lambda: (Stacked("LSTM", "none", dropout=0.3), (torch.randn(4, 2, 5),)),
    "LSTM, states": lambda: (Stacked("LSTM", "whole"), (torch.randn(4, 2, 5), *_states(1, 2))),
    "GRU, both ways": lambda: (Stacked("GRU", "one", bidirectional=True), (torch.randn(4, 2, 5), *_states(2, 1))),
    "LSTM, projections": lambda: (Stacked("LSTM", "whole", proj_size=3, bidirectional=True), (torch.randn(4, 2, 5),)),
    "filters that are not saved": lambda: (Blurred(), (torch.randn(2, 3, 7, 11),)),
    "a scale without a bias": lambda: (ScaledOnly(), (torch.randn(2, 5, 7, 3),)),
    "halves of norms": lambda: (HalfNorms(), (torch.randn(2, 3, 5),)),
    "weights of two axes": lambda: (OwnNorms(), (torch.randn(2, 3, 5),)),
    "one norm alone": lambda: (nn.RMSNorm((3, 5)), (torch.randn(2, 3, 5),)),
    "one norm of two axes alone": lambda: (nn.LayerNorm((3, 5)), (torch.randn(2, 3, 5),)),
    "weight norm": lambda: (nn.utils.parametrizations.weight_norm(nn.Linear(5, 3)), (torch.randn(2, 5),)),
    "RNN, no bias": lambda: (Stacked("RNN", "one", bias=False, batch_first=True), (torch.randn(2, 4, 5),)),
}


@pytest.mark.parametrize("name", KEPT)
def test_the_state_dict_is_the_sources(name: str, tmp_path: Any) -> None:
    from safetensors.torch import load_file

    torch.manual_seed(0)
    net, given = KEPT[name]()
    net.eval()
    want = torch.utils._pytree.tree_leaves(net(*given))
    out = tmp_path / "kept_net.py"
    model = convcore.convert(net, "pytorch", out, example_inputs=given).model
    spec = importlib.util.spec_from_file_location("kept_net", out)
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    for made in (model, code.load()):
        assert list(made.state_dict()) == list(net.state_dict())
        assert all(torch.equal(v, made.state_dict()[k]) for k, v in net.state_dict().items())
        made.load_state_dict({k: v * 1 for k, v in net.state_dict().items()})
        for a, b in zip(torch.utils._pytree.tree_leaves(made(*given)), want):
            assert torch.allclose(a, b, atol=1e-6)
        frozen = {n for n, p in net.named_parameters() if not p.requires_grad}
        assert {n for n, p in made.named_parameters() if not p.requires_grad} == frozen
    convcore.convert(net, "pytorch", tmp_path / "alone.safetensors", example_inputs=given)
    tied = len(net.state_dict()) - len({t.data_ptr() for t in net.state_dict().values()})
    assert len(load_file(tmp_path / "alone.safetensors")) == len(net.state_dict()) - tied


def test_gradients_reach_what_a_weight_is_computed_from() -> None:
    """Of weight norm's direction too, whose length is computed by an operation that is written as others."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 3))).eval(), torch.randn(2, 5)
    model = convcore.convert(net, "pytorch", example_inputs=x).model
    same_gradients(net, model, x)


@pytest.mark.parametrize("p", [1, 2])
def test_gradients_of_norms_at_zero(p: int) -> None:
    """As torch has them: 0, where those of the root of a sum are nan (swin_v2, whose padded windows have keys of zeros)."""

    class Unit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 5, bias=False)

        def forward(self, x: Any) -> Any:
            return F.normalize(self.fc(x), p=p, dim=-1)

    torch.manual_seed(0)
    net, x = Unit().eval(), torch.cat([torch.zeros(1, 3), torch.randn(2, 3)])
    model = convcore.convert(net, "pytorch", example_inputs=x).model
    for m in (net, model):
        (m(x) - 0.1).square().sum().backward()
    assert torch.allclose(model.fc.weight.grad, net.fc.weight.grad, rtol=1e-5, atol=1e-6)
    assert torch.equal(model(x), net(x))


@pytest.mark.parametrize("axes", [(1,), (1, 0)])
def test_gradients_of_unit_lengths_at_zero(axes: tuple[int, ...]) -> None:
    """Where the norm has been found as a whole."""
    graph = Graph("unit")
    x = graph.add_input("x", DType.FLOAT32, (3, 5))
    graph.outputs.append(Builder(graph).l2_normalize(x, axes=axes, epsilon=1e-3, mode="max_norm"))
    model = emit_model(graph).model()
    mine, own = (torch.zeros(3, 5, requires_grad=True) for _ in range(2))
    for y, leaf in ((model(mine), mine), (F.normalize(own, dim=axes, eps=1e-3), own)):
        (y - 0.1).square().sum().backward()
        assert not leaf.grad.isnan().any()
    assert torch.equal(mine.grad, own.grad)


def test_what_is_loaded_from_its_file_can_be_trained(tmp_path: Any) -> None:
    """Weights that are mapped from one file are changed one at a time: statistics too, before the gradient of a weight."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 7, 1)), torch.randn(2, 3, 7, 11)
    out = tmp_path / "trained_net.py"
    convcore.convert(net.eval(), "pytorch", out, example_inputs=x)
    spec = importlib.util.spec_from_file_location("trained_net", out)
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    before, made = out.with_suffix(".safetensors").read_bytes(), code.load()
    for model in (net, made):
        steps = torch.optim.SGD(model.train().parameters(), 0.1)
        for _ in range(2):
            steps.zero_grad()
            model(x).square().sum().backward()
            steps.step()
    for k, v in net.state_dict().items():
        assert torch.allclose(made.state_dict()[k], v, rtol=1e-4, atol=1e-5), k
    assert out.with_suffix(".safetensors").read_bytes() == before


def test_weights_that_nothing_reads_stay_out_of_other_formats(tmp_path: Any) -> None:
    import onnx

    torch.manual_seed(0)
    net = Unread().eval()
    made = convcore.convert(net, "onnx", tmp_path / "net.onnx", example_inputs=torch.randint(0, 11, (3, 2)))
    assert made.report.ok
    assert not any("aux" in i.name or "token" in i.name for i in onnx.load(tmp_path / "net.onnx").graph.initializer)
    model = convcore.load(net, example_inputs=torch.randint(0, 11, (3, 2)))
    model.save(tmp_path / "net.ccir")
    again = convcore.convert(tmp_path / "net.ccir", "pytorch").model
    assert list(again.state_dict()) == list(net.state_dict())


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"bidirectional": True, "num_layers": 2, "batch_first": True}])
@pytest.mark.parametrize("stated", [False, True])
def test_projections(options: Any, stated: bool, tmp_path: Any) -> None:
    """In onnxruntime, of another batch and length than were traced, and the gradients of the module."""
    import onnxruntime

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(5, 7, proj_size=3, **options)

        def forward(self, x: Any, *states: Any) -> Any:
            return self.rnn(x, states or None)

    torch.manual_seed(0)
    net, n = Net().eval(), options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)

    def inputs(batch: int, time: int) -> tuple[Any, ...]:
        x = torch.randn(batch, time, 5) if options.get("batch_first") else torch.randn(time, batch, 5)
        return (x, torch.randn(n, batch, 3), torch.randn(n, batch, 7)) if stated else (x,)

    given = inputs(2, 4)
    order = ("batch", "time", 5) if options.get("batch_first") else ("time", "batch", 5)
    free = torch.export.Dim.DYNAMIC
    shapes: dict[str, Any] = {"x": {0: free, 1: free}, "states": tuple({1: free} for _ in given[1:])}
    how = {"dynamic_shapes": shapes} if stated else {"input_shapes": {"x": order}}
    assert convcore.convert(net, "onnx", tmp_path / "net.onnx", example_inputs=given, **how).report.ok
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    for size in ((2, 4), (3, 6)):
        arrays = inputs(*size)
        got = session.run(None, {i.name: a.numpy() for i, a in zip(session.get_inputs(), arrays)})
        for a, b in zip(got, torch.utils._pytree.tree_leaves(net(*arrays))):
            assert torch.allclose(torch.from_numpy(a), b, atol=1e-6)
    model = convcore.convert(net, "pytorch", example_inputs=given, **how).model
    for m in (net, model):
        m(*given)[0].square().sum().backward()
    mine = dict(model.named_parameters())
    assert all(torch.allclose(mine[k].grad, p.grad, rtol=1e-4, atol=1e-6) for k, p in net.named_parameters())


NORMS = {
    "batch, bare": lambda: (torch.nn.BatchNorm1d(5, affine=False, momentum=0.3), torch.randn(7, 5)),
    "batch": lambda: (torch.nn.BatchNorm2d(5), torch.randn(3, 5, 2, 7)),
    "instance, bare": lambda: (torch.nn.InstanceNorm1d(5), torch.randn(3, 5, 7)),
    "instance": lambda: (torch.nn.InstanceNorm2d(5, affine=True), torch.randn(3, 5, 2, 7)),
    "instance, tracked": lambda: (torch.nn.InstanceNorm2d(5, track_running_stats=True), torch.randn(3, 5, 2, 7)),
    "inside": lambda: (torch.nn.Sequential(torch.nn.Linear(7, 3), torch.nn.InstanceNorm1d(5)), torch.randn(3, 5, 7)),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms_as_whole_models(name: str) -> None:
    """The keys are the source's own, in its order: none are added, none are those of a module within; they train as it does."""
    net, x = NORMS[name]()
    for b in net.buffers():
        if b.is_floating_point():
            b.uniform_(0.5, 2)
    made = convcore.convert(net.eval(), "pytorch", example_inputs=x).model
    assert list(made.state_dict()) == list(net.state_dict())
    made.load_state_dict({k: v.clone() for k, v in net.state_dict().items()})
    torch.testing.assert_close(made(x), net(x), rtol=1e-5, atol=1e-5)
    if "instance" in name:
        return  # that with statistics trains as a batch normalisation, which is told
    for module in (net, made):
        module.train()
        module(x)
    for k, v in net.state_dict().items():
        if not k.endswith("num_batches_tracked"):
            torch.testing.assert_close(made.state_dict()[k], v, rtol=1e-5, atol=1e-5)


SPREADS = [
    lambda y: y.std(1), lambda y: y.std(1, correction=0, keepdim=True), lambda y: torch.std_mean(y, 1)[0], lambda y: y.std(),
    lambda y: y.norm(3, dim=1), lambda y: torch.linalg.vector_norm(y, 1.5), lambda y: torch.cdist(y, torch.zeros(2, 5), p=3.0),
    lambda y: y.var((0, 1), correction=2),
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(SPREADS)))
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_gradients_of_deviations_and_odd_norms_at_zero(at: int, scale: float) -> None:
    """Of equal elements, or of zeros: torch's gradient is 0, that of a root of 0 is nan or infinite."""

    class Spread(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 5, bias=False)
            self.of = SPREADS[at]

        def forward(self, x: Any) -> Any:
            return self.of(self.fc(x))

    torch.manual_seed(0)
    net, x = Spread().eval(), torch.cat([torch.zeros(1, 3), scale * torch.randn(2, 3)])
    model = convcore.convert(net, "pytorch", example_inputs=torch.randn(3, 3), input_shapes={"x": (3, 3)}).model
    for m in (net, model):
        m(x).sum().backward()
    assert torch.isfinite(net.fc.weight.grad).all()
    torch.testing.assert_close(model.fc.weight.grad, net.fc.weight.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(model(x), net(x), rtol=1e-5, atol=1e-6)


def test_divisors_of_nothing_and_no_axes() -> None:
    """A divisor is at least 0, as the op has it; over no axes there is no function of torch's, and the formula stands."""
    b = Builder(Graph("m"))
    x = b.graph.add_input("x", DType.FLOAT32, (3, 2))
    b.graph.outputs += [b.variance(x, axes=(1,), ddof=3), b.std(x, axes=(0,), ddof=3), b.variance(x, axes=())]
    model = convcore.Model(b.graph)
    given = torch.randn(3, 2)
    made = convcore.convert(model, "pytorch").model(given)
    for got, want in zip(made, model(given.numpy()), strict=True):
        torch.testing.assert_close(got, torch.from_numpy(want), rtol=1e-5, atol=1e-6, equal_nan=True)

"""Weights of a source put into a module that is there already: pairs by structure and name, refusals with candidates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import convcore
from convcore.errors import UnsupportedError, UsageError
from convcore.host import host

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional
ZOO = Path(__file__).parents[3] / "tests" / "data" / "zoo"


class Net(nn.Module):
    """Two branches that are alike but for what follows them, a skip, a norm, a head; ``names`` are those of the members."""

    def __init__(self, names: str = "stem left right mix norm head", skip: bool = True, eps: float = 1e-5, wide: int = 7) -> None:
        super().__init__()
        self.names, self.skip = names.split(), skip
        made = [nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1), nn.Conv2d(10, 5, 1),
                nn.BatchNorm2d(5, eps=eps), nn.Linear(5, wide)]  # fmt: skip
        for name, m in sorted(zip(self.names, made), key=lambda p: p[0]):  # the order of definition says nothing
            self.add_module(name, m)

    def forward(self, x: Any) -> Any:
        stem, left, right, mix, norm, head = (getattr(self, n) for n in self.names)
        h = F.relu(stem(x))
        both = torch.cat([left(h), right(h)], 1)
        h = norm(mix(both) + h) if self.skip else norm(mix(both))
        return head(F.relu(h).mean((2, 3)))


def trained(net: Any) -> Any:
    with torch.no_grad():
        for p in (*net.parameters(), *net.buffers()):
            if p.is_floating_point():
                p.copy_(torch.randn(p.shape) if p.dim() > 1 else torch.rand(p.shape) + 0.5)
    return net.eval()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A trained net as an ONNX file, and itself."""
    torch.manual_seed(0)
    net = trained(Net())
    out = tmp_path_factory.mktemp("fill") / "net.onnx"
    convcore.convert(net, "onnx", out, example_inputs=torch.randn(2, 3, 6, 5))
    return out, net


def test_other_names_in_another_order(source: tuple[Path, Any]) -> None:
    """Only what follows tells left from right: their places in the concatenation."""
    path, net = source
    mine = Net("z1 b a y2 n c").eval()
    made = convcore.load_into(mine, path)
    x = torch.randn(3, 3, 6, 5)
    assert made.model is mine and torch.allclose(mine(x), net(x), atol=1e-5)
    assert torch.equal(mine.b.weight, net.left.weight) and torch.equal(mine.a.weight, net.right.weight)
    said = [n for n in made.report.notes if "has the weights of" in n]
    assert len(said) == 6 and any(n.startswith("b has the weights of") for n in said) and made.report.ok


class Sum(nn.Module):
    """Branches that nothing tells apart but their names."""

    def __init__(self, a: str, b: str) -> None:
        super().__init__()
        self.pair = (a, b)
        self.add_module(a, nn.Linear(3, 3))
        self.add_module(b, nn.Linear(3, 3))

    def forward(self, x: Any) -> Any:
        return getattr(self, self.pair[0])(x) + getattr(self, self.pair[1])(x)


def test_names_decide_or_nothing_does(tmp_path: Path) -> None:
    net = Sum("left", "right").eval()
    convcore.convert(net, "onnx", tmp_path / "net.onnx", example_inputs=torch.randn(2, 3))
    mine = Sum("my_right", "my_left").eval()
    convcore.load_into(mine, tmp_path / "net.onnx")
    assert torch.equal(mine.my_right.weight, net.right.weight) and torch.equal(mine.my_left.weight, net.left.weight)
    other = Sum("one", "two").eval()
    before = {k: v.clone() for k, v in other.state_dict().items()}
    with pytest.raises(UnsupportedError, match=r"'one' \(Linear\): stands where others like it do.*left.*right"):
        convcore.load_into(other, tmp_path / "net.onnx")
    assert all(torch.equal(v, before[k]) for k, v in other.state_dict().items())


@pytest.mark.parametrize("changed, said", [
    ({"wide": 11}, r"^2 problems(?s:.*)\(of the module; weight \[11, 5\].*\) no layer of the source is like it; candidates: "
                   r"head\.?\w* \(Linear: weight \[7, 5\], bias \[7\]\)"),
    ({"skip": False}, "no layer of the source stands where it does; alike but elsewhere: norm"),
    ({"eps": 0.1}, r"every layer pairs, but output 0 differs.*norm.eps is 0.1, the source's 1e-05"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(source: tuple[Path, Any], changed: Any, said: str) -> None:
    mine = Net(**changed).eval()
    before = {k: v.clone() for k, v in mine.state_dict().items()}
    with pytest.raises(UnsupportedError, match=said):
        convcore.load_into(mine, source[0])
    assert all(torch.equal(v, before[k]) for k, v in mine.state_dict().items())


def test_what_is_left_over_is_named(source: tuple[Path, Any]) -> None:
    class More(Net):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(3, 3)

    with pytest.raises(UnsupportedError, match=r"'unused' \(Linear\): \(of the module; weight \[3, 3\]"):
        convcore.load_into(More().eval(), source[0])


def test_the_file_has_the_names_of_the_module(source: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_to_fill.py").write_text(
        "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.f, self.e = nn.Linear(5, 7), nn.BatchNorm2d(5)\n"
        "        self.d, self.c, self.b, self.a = (nn.Conv2d(i, 5, k, padding=k // 2) "
        "for i, k in ((10, 1), (5, 3), (5, 3), (3, 3)))\n"
        "    def forward(self, x):\n"
        "        h = F.relu(self.a(x))\n"
        "        h = self.e(self.d(torch.cat([self.b(h), self.c(h)], 1)) + h)\n"
        "        return self.f(F.relu(h).mean((2, 3)))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    path, net = source
    out = tmp_path / "mine.pth"
    made = convcore.convert(path, "pytorch", out, into="mine_to_fill:Net")
    mine = sys.modules["mine_to_fill"].Net()
    mine.load_state_dict(torch.load(out, weights_only=True))
    x = torch.randn(2, 3, 6, 5)
    assert torch.allclose(mine.eval()(x), net(x), atol=1e-5) and made.paths == (out,)
    with pytest.raises(UsageError, match=r"its weights go to a \.safetensors or \.pth file"):
        convcore.convert(path, "pytorch", tmp_path / "mine.py", into="mine_to_fill:Net")


def test_from_keras_with_channels_turned() -> None:
    """Meso4 of Keras 2 into a module written by hand: the dense layer behind the flatten is turned."""

    class Meso4(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = ((3, 8, 3), (8, 8, 5), (8, 16, 5), (16, 16, 5))
            self.convs = nn.ModuleList(nn.Conv2d(i, o, k, padding=k // 2) for i, o, k in widths)
            self.norms = nn.ModuleList(nn.BatchNorm2d(o, eps=1e-3) for _, o, _ in widths)
            self.fc1, self.fc2 = nn.Linear(1024, 16), nn.Linear(16, 1)

        def forward(self, x: Any) -> Any:
            for i, (conv, norm) in enumerate(zip(self.convs, self.norms)):
                x = F.max_pool2d(norm(F.relu(conv(x))), 4 if i == 3 else 2)
            return torch.sigmoid(self.fc2(F.leaky_relu(self.fc1(x.flatten(1)), 0.1)))

    pytest.importorskip("convcore_keras")
    folder = ZOO / "keras2-meso4_df"
    mine = Meso4().eval()
    made = convcore.load_into(mine, folder / "architecture.json", weights=next(folder.glob("*.h5")))
    assert made.report.ok and sum("has the weights of" in n for n in made.report.notes) == 10


def test_only_what_can_be_filled(tmp_path: Path) -> None:
    from onnx import parser

    model = parser.parse_model('<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y) { y = Relu(x) }')
    with pytest.raises(UsageError, match="convcore-onnx cannot fill a module"):
        convcore.load_into(model, tmp_path / "none.onnx")
    assert any(o.name == "into_module" for o in host().options("pytorch"))

"""TorchScript archives against torch's own running of the same file."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

import convcore
from convcore.plugin import BadFileError, ConvcoreError, UnsupportedError, UsageError
from convcore_pytorch.files.script import read_torchscript

from . import runner
from .kit import mutants, same, without_torch
from .runner import run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Block(torch.nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(n, n, 3, padding=1)
        self.bn = torch.nn.BatchNorm2d(n)
        self.act = torch.nn.ReLU(inplace=True)
        self.drop = torch.nn.Dropout(0.3)

    def forward(self, x):
        return self.drop(self.act(self.bn(self.conv(x)))) + x


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList([Block(3), Block(3)])
        self.pool = torch.nn.AdaptiveAvgPool2d(1)
        self.head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 5))
        self.register_buffer("shift", torch.arange(5.0))
        self.scale: float = 0.5

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        y = self.head(self.pool(x)) * self.scale + self.shift
        return y, x.size(0)


class Branchy(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, flag: bool = True, other: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        if x.dim() == 1:
            x = x.unsqueeze(0)
        if x.sum() > 0:
            y, z = self.fc(x), x * 2
        else:
            y, z = x - 1, x
        if flag:
            y = y + 1
        if other is not None:
            y = y + other
        parts = []
        for i in range(3):
            parts.append(y * i)
        steps = 0
        while z.sum() < 50:
            z = z * 2 + 1
            steps += 1
        for _ in range(x.size(0)):
            z = z + 1
        if z.size(1) != 4:
            raise ValueError("four columns, please")
        return {"y": torch.cat(parts, 1), "z": z / (steps + 1)}


class Stateful(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.memory = torch.zeros(3)
        self.count = 0

    def forward(self, x):
        if self.count == 2:
            self.memory = torch.ones(3)
        self.memory = self.memory * 0.5 + x
        self.count += 1
        return self.memory * 2


def script(model: torch.nn.Module, path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.script(model)
        made.save(str(path))
    return made


def trace(model: torch.nn.Module, args: Any, path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.trace(model, args, check_trace=False)
        made.save(str(path))
    return made


@pytest.mark.parametrize("how", ["script", "trace"])
def test_a_network(how, tmp_path):
    model = Net().eval()
    example = torch.randn(2, 3, 6, 5)
    if how == "script":
        script(model, tmp_path / "a.pt")
    else:
        trace(model, (example,), tmp_path / "a.pt")
    program = read_torchscript(tmp_path / "a.pt")
    for batch in (1, 5):
        x = torch.randn(batch, 3, 6, 5)
        theirs = torch.jit.load(str(tmp_path / "a.pt"))
        with torch.no_grad():
            expected, size = theirs(x.clone())
        got, mine = run(program, x.clone())
        torch.testing.assert_close(got, expected, rtol=0, atol=0)
        assert int(size) == int(mine)
    for name, value in program.weights.items():
        same(value, model.state_dict()[name])
    targets = [n.target for n in program.graph.nodes]
    assert not any(t.startswith("prim.If") for t in targets) and "aten.dropout.default" in targets
    paths = {n.target: n.scopes[-1] for n in program.graph.nodes if n.scopes}
    batch_norm = paths["aten.batch_norm.default"]
    assert (batch_norm.path, batch_norm.cls) == ("blocks.1.bn", "torch.nn.modules.batchnorm.BatchNorm2d")
    (norm, _) = [n for n in program.graph.nodes if n.target == "aten.batch_norm.default"]
    assert norm.argument("training") is False and norm.argument("eps") == 1e-05
    kinds = {i.target: i.kind for i in program.inputs if i.target}
    assert (
        kinds["blocks.0.conv.weight"] == "parameter"
        and kinds["shift"] == "buffer"
        and kinds["blocks.0.bn.running_var"] == "buffer"
    )


@pytest.mark.parametrize("make", [lambda: Block(3), Branchy, Stateful], ids=["block", "branchy", "stateful"])
def test_overloads_are_those_torch_takes(make, tmp_path):
    script(make().eval(), tmp_path / "a.pt")
    loaded = torch.jit.load(str(tmp_path / "a.pt"))
    graph = loaded.inlined_graph

    def every(block: Any) -> Any:
        for node in block.nodes():
            yield node
            for inner in node.blocks():
                yield from every(inner)

    schemas = [n.schema() for n in every(graph) if n.kind().startswith("aten")]
    theirs = {s.split("::")[1].split("(")[0] for s in schemas if "::" in s}
    mine = {n.target.removeprefix("aten.").removesuffix(".default") for n in read_torchscript(tmp_path / "a.pt").graph.nodes}
    assert {m for m in mine if not m.startswith("prim")} <= theirs


def test_branches_loops_and_lists(tmp_path):
    model = Branchy().eval()
    script(model, tmp_path / "a.pt")
    program = read_torchscript(tmp_path / "a.pt", arguments={"flag": False})
    default = read_torchscript(tmp_path / "a.pt")
    assert [n.target for n in default.graph.nodes].count("prim.If") == 2 and "prim.RaiseIf" in [
        n.target for n in default.graph.nodes
    ]
    assert [n.target for n in default.graph.nodes].count("prim.Loop") == 2
    assert default.structure == {"method": "forward", "names": ["x", "flag", "other"], "result": {"y": None, "z": None}}
    for x in (torch.rand(4), torch.rand(3, 4), -torch.rand(2, 4), torch.full((1, 4), 90.0)):
        for mine, flag in ((program, False), (default, True)):
            expected = model(x.clone(), flag)
            y, z = run(mine, x.clone())
            torch.testing.assert_close(y, expected["y"].detach(), rtol=0, atol=0)
            torch.testing.assert_close(z, expected["z"].detach(), rtol=0, atol=0)
    with pytest.raises(RuntimeError, match=""):
        run(default, torch.rand(2, 5))
    with pytest.raises(UsageError, match="no argument"):
        read_torchscript(tmp_path / "a.pt", arguments={"falg": 1})
    with pytest.raises(UsageError, match="no method 'backward'"):
        read_torchscript(tmp_path / "a.pt", "backward")


def test_state_between_calls(tmp_path):
    model = Stateful()
    script(model, tmp_path / "a.pt")
    program = read_torchscript(tmp_path / "a.pt")
    state = [(i.kind, i.target, i.value) for i in program.inputs if i.kind == "attribute"]
    assert sorted(s[1] for s in state) == ["count", "memory"] and ("attribute", "count", 0) in state
    assert {o.target for o in program.outputs if o.kind == "attribute_mutation"} == {"count", "memory"}
    x = torch.randn(3)
    (got,) = run(program, x)
    torch.testing.assert_close(got, model(x), rtol=0, atol=0)
    assert dict(runner.run_state)["count"] == 1 and torch.equal(dict(runner.run_state)["memory"], model.memory)


def test_a_setstate_is_refused(tmp_path):
    class Plain(torch.nn.Module):
        def forward(self, x):
            return x + 1

    script(Plain(), tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as z:
        files = {n: z.read(n) for n in z.namelist()}
    (code,) = [n for n in files if n.endswith(".py") and b"class Plain" in files[n]]
    more = b'  def __setstate__(self, state: int) -> NoneType:\n    ops.aten.save(state, "payload")\n    return None\n'
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as z:
        for n, data in files.items():
            z.writestr(n, data.rstrip() + b"\n" + more if n == code else data)
    with pytest.raises(UnsupportedError, match="has a __setstate__, which would run on loading"):
        read_torchscript(tmp_path / "b.pt")


@pytest.mark.parametrize(
    ("line", "kind", "why"),
    [
        ("return ops.evil.run(x)", UnsupportedError, "no namespace"),
        ("return torch.nonsense(x)", UnsupportedError, "no overload"),
        ("return __import__('os')", UnsupportedError, "call of __import__"),
        ("return (lambda: x)()", BadFileError, "TorchScript does not write"),
        ("return y", BadFileError, "before it is set"),
        ("return [i for i in x]", BadFileError, "ListComp"),
        ("return (self).forward(x, )", BadFileError, "nested"),
        ('return torch.format("{}" , 1)', None, ""),
        ("import os", UnsupportedError, "import"),
        ("return self.gone", BadFileError, "no attribute"),
        ("return torch.mul(9223372036854775807, 3)", BadFileError, "too large"),
        ("return torch.div(1, 0)", BadFileError, "fails"),
    ],
)
def test_hostile_code(line, kind, why, tmp_path):
    class Plain(torch.nn.Module):
        def forward(self, x):
            return x + 1

    script(Plain(), tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as z:
        files = {n: z.read(n) for n in z.namelist()}
    (code,) = [n for n in files if n.endswith(".py") and b"class Plain" in files[n]]
    text = files[code].decode()
    head, _, tail = text.rpartition("return ")
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as z:
        for n, data in files.items():
            z.writestr(n, (head + line + "\n").encode() if n == code else data)
    assert tail
    if kind is None:
        read_torchscript(tmp_path / "b.pt")
    else:
        with pytest.raises(kind, match=why):
            read_torchscript(tmp_path / "b.pt")


def test_damage(tmp_path):
    script(Branchy().eval(), tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as z:
        files = {n: z.read(n) for n in z.namelist()}
    path = tmp_path / "mutant.pt"

    def read() -> None:
        try:
            read_torchscript(path)
        except ConvcoreError as e:
            assert str(e)

    for raw in mutants((tmp_path / "a.pt").read_bytes(), 150, 11):
        path.write_bytes(raw)
        read()
    for name in files:
        if name.endswith((".py", ".pkl")) and "debug" not in name:
            for raw in mutants(files[name], 200, 13):
                with zipfile.ZipFile(path, "w") as z:
                    for n, data in files.items():
                        z.writestr(n, raw if n == name else data)
                read()


def test_without_torch(tmp_path):
    script(Net().eval(), tmp_path / "a.pt")
    out = without_torch(
        """
        from convcore_pytorch.files.script import read_torchscript
        found = read_torchscript(sys.argv[1])
        print(len(found.graph.nodes), len(found.weights))
        """,
        str(tmp_path / "a.pt"),
    )
    program = read_torchscript(tmp_path / "a.pt")
    assert out.split() == [str(len(program.graph.nodes)), str(len(program.weights))]


@pytest.mark.parametrize("proj", [0, 2])
@pytest.mark.parametrize("both", [False, True])
def test_weights_of_recurrent_layers_fit_together(proj: int, both: bool, tmp_path: Path) -> None:
    """torch checks them when it runs; a file may hold any. What is right loads, each weight of another shape is refused."""

    class Raw(torch.nn.Module):
        def __init__(self, weights: list[torch.Tensor]) -> None:
            super().__init__()
            self.w = torch.nn.ParameterList([torch.nn.Parameter(w) for w in weights])
            self.both, self.proj = both, proj or 3

        def forward(self, x):
            h = torch.zeros(4 if self.both else 2, x.shape[1], self.proj)
            c = torch.zeros(4 if self.both else 2, x.shape[1], 3)
            w = list(self.w)
            return torch.lstm(x, [h, c], w, True, 2, 0.0, False, self.both, False)[0]

    right = [p.detach() for p in torch.nn.LSTM(5, 3, 2, bidirectional=both, proj_size=proj).parameters()]
    for i in (None, *range(len(right))):
        weights = list(right)
        if i is not None:
            weights[i] = torch.zeros([n + (1 if k else 4) for k, n in enumerate(right[i].shape)])
        path = tmp_path / f"{i}.pt"
        net = Raw(right).eval()
        made = torch.jit.trace(net, torch.randn(7, 2, 5), check_trace=False)
        for name, w in zip([n for n, _ in net.named_parameters()], weights, strict=True):
            owner = made
            *places, last = name.split(".")
            for p in places:
                owner = getattr(owner, p)
            owner.__setattr__(last, torch.nn.Parameter(w))
        made.save(str(path))
        model = convcore.load(path, input_shapes={"": (7, "n", 5)})
        told = [str(p) for p in model.problems]
        if i is None:
            assert not told
        elif i == 0 or (proj and i == 4):  # which say the sizes that the others are held to
            assert "fits the others" in told[0] or "gates" in told[0], told
        else:
            assert f"its weight {i} has the shape" in told[0] and "fits the others" in told[0], told

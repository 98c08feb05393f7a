"""Exported programs against torch's own loading of the same file: the graph, the weights, the numbers."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.export import Dim

import convcore
from convcore.interpreter import Interpreter
from convcore.plugin import BadFileError, ConvcoreError, UnsupportedError, UsageError
from convcore_pytorch.files.exported import read_exported
from convcore_pytorch.files.program import Constant, Device, ElementType, Graph, Program, Ref
from convcore_pytorch.files.symbols import Expr, parse_expr

from .kit import DATA, mutants, same, without_torch
from .runner import run


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(4, 6)
        self.bn = torch.nn.BatchNorm1d(6)
        self.tied = torch.nn.Linear(4, 6)
        self.tied.weight = self.fc.weight
        self.register_buffer("passing", torch.arange(6.0), persistent=False)
        self.plain = torch.arange(6.0) / 2
        self.small = torch.nn.Parameter(torch.randn(6, dtype=torch.bfloat16), requires_grad=False)

    def forward(self, x, d, scale: float = 2.0):
        y = self.bn(self.fc(x)) + self.passing * self.plain + self.tied(x) + self.fc(x * 2)
        y = torch.cond(x.sum() > 0, lambda a: a * 2, lambda a: a - 1, (y,)) * self.small.float()
        a, b = torch.split(d["k"], [1, 2], dim=1)
        empty = torch.zeros(x.shape[0] * 2, 3, dtype=torch.int32)
        return {"y": y.view(-1, 2, 3).permute(1, 0, 2).to(torch.float16), "z": [empty, a * scale]}, b, x.shape[0]


def export() -> tuple[torch.nn.Module, Any, tuple[Any, ...]]:
    model, args = Net().eval(), (torch.randn(3, 4), {"k": torch.randn(3, 3)})
    batch = Dim("batch", min=2, max=64)
    shapes = {"x": {0: batch}, "d": {"k": {0: batch}}}
    return model, torch.export.export(model, args, dynamic_shapes=shapes, strict=False), args


OLD = DATA / "torch_2_6"
"""Programs of the oldest torch that is read, in the layout it had (``tools/made_files.py``)."""


def saved(tmp_path: Path, program: Any) -> Path:
    torch.export.save(program, tmp_path / "new.pt2")
    return tmp_path / "new.pt2"


def plain(value: Any) -> Any:
    """An fx argument or one of ours, in one spelling."""
    if isinstance(value, (torch.fx.Node, Ref)):
        return ("value", value.name)
    if isinstance(value, (torch.dtype, ElementType)):
        return ("dtype", str(value).removeprefix("torch.") if isinstance(value, torch.dtype) else value.name)
    if isinstance(value, (torch.device, Device)):
        return ("device", value.type)
    if isinstance(value, (torch.layout, torch.memory_format)):
        return ("constant", str(value).removeprefix("torch."))
    if isinstance(value, Constant):
        return ("constant", value.name)
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return "graph" if isinstance(value, Graph) else value


def test_the_graph_is_torchs(tmp_path):
    _, program, _ = export()
    for path in (saved(tmp_path, program), *(OLD / f"{n}.pt2" for n in ("cnn", "mixed"))):
        theirs = torch.export.load(path)
        mine = read_exported(path)
        calls = [n for n in theirs.graph.nodes if n.op == "call_function" and "getitem" not in str(n.target)]
        assert len(calls) == len(mine.graph.nodes)
        for node, call in zip(mine.graph.nodes, calls, strict=True):
            name = str(call.target) if isinstance(call.target, torch._ops.OpOverload) else call.target.__name__
            assert node.target in (name, f"higher_order.{name}", f"_operator.{name}")
            if "cond" in name:
                continue
            named = {a.name: plain(a.value) for a in node.arguments}
            schema = [a.name for a in call.target._schema.arguments] if hasattr(call.target, "_schema") else ["a", "b"]
            assert named == {**dict(zip(schema, map(plain, call.args))), **{k: plain(v) for k, v in call.kwargs.items()}}
            stack = [(v[0], v[1]) for v in (call.meta.get("nn_module_stack") or {}).values() if "_empty_" not in v[0]]
            assert [(s.path, s.cls) for s in node.scopes] == [(p.partition("@")[0], c) for p, c in stack]
        kinds = {"USER_INPUT": "user", "PARAMETER": "parameter", "BUFFER": "buffer", "CONSTANT_TENSOR": "constant"}
        specs = [(kinds[s.kind.name], s.arg.name, s.target or "") for s in theirs.graph_signature.input_specs]
        assert [(i.kind, i.name, i.target) for i in mine.inputs if i.kind != "literal"] == specs[: len(mine.graph.inputs)]


def test_weights_and_sharing(tmp_path):
    model, program, _ = export()
    mine = read_exported(saved(tmp_path, program))
    for name, value in model.state_dict().items():
        same(mine.weights[name], value)
    assert mine.weights["fc.weight"].identity == mine.weights["tied.weight"].identity
    same(mine.constants["passing"], model.passing)
    same(mine.constants["plain"], model.plain)
    assert next(i for i in mine.inputs if i.target == "passing").persistent is False
    assert mine.weights["small"].requires_grad is False and mine.weights["fc.bias"].requires_grad is True


def test_numbers(tmp_path):
    model, program, _ = export()
    mine = read_exported(saved(tmp_path, program))
    for batch in (2, 5):
        x, k = torch.randn(batch, 4), torch.randn(batch, 3)
        with torch.no_grad():
            expected, b, n = model(x, {"k": k})
        y, empty, a, again, size = run(mine, x, k)
        torch.testing.assert_close(y, expected["y"], rtol=0, atol=0)
        assert torch.equal(empty, expected["z"][0]) and torch.equal(a, expected["z"][1])
        assert torch.equal(again, b) and size == n == batch


def test_sizes_and_structure(tmp_path):
    _, program, _ = export()
    mine = read_exported(saved(tmp_path, program))
    ((symbol, limits),) = mine.ranges.items()
    assert limits == (2, 64)
    assert mine.graph.values["x"].shape == (Expr("symbol", (symbol,)), 4)
    assert mine.graph.values["zeros"].shape == (Expr("mul", (2, Expr("symbol", (symbol,)))), 3)
    assert mine.graph.values["zeros"].dtype == "int32"
    assert mine.structure["names"][:2] == ["x", "d"]
    assert mine.structure["out_spec"][1]["children_spec"][0]["context"] == '["y", "z"]'
    assert [s.call for n in mine.graph.nodes for s in n.scopes if s.path == "fc"] == [0, 1]


def test_expressions():
    s = Expr("symbol", ("s0",))
    for text, expected in (
        ("Symbol('s0', positive=True, integer=True)", s),
        ("2*s0 + 1", Expr("add", (Expr("mul", (2, s)), 1))),
        ("Add(Mul(Integer(2), Symbol('s0')), Integer(-1))", Expr("add", (Expr("mul", (2, s)), -1))),
        ("(s0//2)", Expr("floordiv", (s, 2))),
        ("FloorDiv(Symbol('s0'), Integer(2))", Expr("floordiv", (s, 2))),
        ("Max(1, s0)", Expr("Max", (1, s))),
        ("StrictGreaterThan(Symbol('s0'), Integer(3))", Expr("gt", (s, 3))),
        ("7", 7),
    ):
        assert parse_expr(text, "x") == expected
    assert parse_expr("s0*s1 - 2", "x").symbols == {"s0", "s1"}
    for text in ("__import__('os').system('x')", "[1]", "s0 if s1 else 2", "(" * 500, "lambda: 1", "'a'", "1" * 30_000):
        with pytest.raises(BadFileError):
            found = parse_expr(text, "x")
            assert isinstance(found, Expr) and found.op == "system"  # a name in a tree, never called
            raise BadFileError("")


def test_a_loop(tmp_path):
    class Loop(torch.nn.Module):
        def forward(self, x):
            return torch._higher_order_ops.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * 2 + i), (torch.tensor(0), x))

    program = torch.export.export(Loop(), (torch.ones(2),), strict=False)
    torch.export.save(program, tmp_path / "a.pt2")
    mine = read_exported(tmp_path / "a.pt2")
    node = next(n for n in mine.graph.nodes if n.target == "higher_order.while_loop")
    assert sum(isinstance(a.value, Graph) for a in node.arguments) == 2
    _, got = run(mine, torch.ones(2))
    assert torch.equal(got, Loop()(torch.ones(2))[1])


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as z:
        return {n: z.read(n) for n in z.namelist()}


def write(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as z:
        for name, data in files.items():
            z.writestr(name, data)
    return path


def test_pickles_in_the_archive_are_never_opened(tmp_path):
    _, program, _ = export()
    new = saved(tmp_path, program)
    files = members(new)
    sample = next(n for n in files if "sample_inputs" in n)
    read_exported(write(tmp_path / "a.pt2", {**files, sample: b"\x80\x02cos\nsystem\nX\x01\0\0\0x\x85R."}))
    config = next(n for n in files if n.endswith("weights_config.json"))
    told = json.loads(files[config])
    for name in ("fc.bias", "bn.weight"):
        told["config"][name]["use_pickle"] = True
    with pytest.raises(UnsupportedError, match="2 problems") as e:
        read_exported(write(tmp_path / "a.pt2", {**files, config: json.dumps(told).encode()}))
    assert {p.layer for p in e.value.problems} == {"fc.bias", "bn.weight"}


def test_what_is_refused(tmp_path):
    _, program, _ = export()
    new = saved(tmp_path, program)
    files = members(new)
    name = next(n for n in files if n.endswith("models/model.json"))
    text = files[name].decode()

    def refused(old: str, changed: str, why: str, kind: type[Exception] = BadFileError) -> None:
        assert old in text
        with pytest.raises(kind, match=why):
            read_exported(write(tmp_path / "a.pt2", {**files, name: text.replace(old, changed, 1).encode()}))

    refused('"schema_version": {"major": 8', '"schema_version": {"major": 9', "schema version 9", UnsupportedError)
    refused('"parameter_name": "fc.bias"', '"parameter_name": "fc.gone"', "'fc.gone' has no values")
    refused('"dtype": 7', '"dtype": 99', "element type number 99")
    refused('"as_ints": [-1, 2, 3]', '"as_pickle": [-1, 2, 3]', "unknown kind 'as_pickle'")
    refused('{"name": "permute"}}], "metadata"', '{"name": "view"}}], "metadata"', "made twice")
    two = {**files, name.replace("model.json", "other.json"): files[name]}
    with pytest.raises(UsageError, match="holds 2 models"):
        read_exported(write(tmp_path / "a.pt2", two))
    lost = next(n for n in files if n.endswith("weight_2"))
    with pytest.raises(BadFileError, match="weight_2"):
        read_exported(write(tmp_path / "a.pt2", {k: v for k, v in files.items() if k != lost}))
    with pytest.raises(BadFileError, match="reaches element"):
        read_exported(write(tmp_path / "a.pt2", {**files, lost: files[lost][:8]}))


def test_damage(tmp_path):
    """Mutants of the archive, and of the JSON texts in it (an archive's checksum would catch those)."""
    _, program, _ = export()
    path = tmp_path / "mutant.pt2"

    def read() -> Program | None:
        try:
            found = read_exported(path)
            for held in found.weights.values():
                held.numpy()
            return found
        except ConvcoreError as e:
            assert str(e)
            return None

    for source in (saved(tmp_path, program), OLD / "mixed.pt2"):
        for raw in mutants(source.read_bytes(), 150, 3):
            path.write_bytes(raw)
            read()
        files = members(source)
        for name in files:
            if name.endswith(".json"):
                for raw in mutants(files[name], 150, 5):
                    write(path, {**files, name: raw})
                    read()


def test_without_torch(tmp_path):
    _, program, _ = export()
    out = without_torch(
        """
        from convcore_pytorch.files.exported import read_exported
        found = read_exported(sys.argv[1])
        values = [w.numpy().astype("f8").sum() for w in found.weights.values()]
        print(len(found.graph.nodes), len(found.weights), sum(map(float, values)) < 1e9)
        """,
        str(saved(tmp_path, program)),
    )
    nodes = len([n for n in program.graph.nodes if n.op == "call_function" and "getitem" not in str(n.target)])
    assert out.splitlines() == [f"{nodes} {len(program.state_dict)} True"]


def test_a_broken_buffer(tmp_path):
    (tmp_path / "a.pt2").write_bytes(io.BytesIO(b"PK\3\4").getvalue())
    with pytest.raises(BadFileError):
        read_exported(tmp_path / "a.pt2")


@pytest.mark.parametrize("live", [True, False])
def test_results_that_nobody_reads_are_not_asked_for(tmp_path, live):
    """AdaptiveMaxPool2d gives positions, too, which are worked out only where they are read."""

    class Pool(torch.nn.Module):
        def __init__(self, positions: bool) -> None:
            super().__init__()
            self.pool = torch.nn.AdaptiveMaxPool2d((3, 2), return_indices=positions)

        def forward(self, x):
            return self.pool(x)

    x = torch.randn(2, 3, 7, 5)
    for positions in (False, True):
        program = torch.export.export(Pool(positions), (x,))
        torch.export.save(program, tmp_path / "a.pt2")
        model = convcore.load(program if live else tmp_path / "a.pt2")
        assert not model.problems
        assert ("argmax" in {n.op for n in model.graph}) is positions
        got = Interpreter(model.graph).run({model.graph.inputs[0].name: x.numpy()})
        want = Pool(positions)(x)
        for a, b in zip(got, want if positions else [want], strict=True):
            assert np.array_equal(a, b.numpy())


class Chosen(torch.nn.Module):
    """A branch that a buffer chooses, written in place; "add" and "mul" are names inside and outside."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("flag", torch.tensor(True))

    def forward(self, x):
        y = x + 1
        z = torch.cond(self.flag, lambda a: (a + 2) * 3, lambda a: a - 2, (x,))
        return y * z


class Counted(torch.nn.Module):
    """A loop whose condition computes "add", "mul" and "sum_1" once before the first step."""

    def forward(self, x):
        from torch._higher_order_ops.while_loop import while_loop

        y, five, total = x + 1, x * 5, x.sum()
        _, a = while_loop(
            lambda i, a: (i + 7).sum() < 10 + (a * 0).sum(), lambda i, a: (i + 1, a * 2), (torch.zeros((), dtype=torch.int64), x)
        )
        return y * a + five + total


@pytest.mark.parametrize("net", [Chosen, Counted])
@pytest.mark.parametrize("live", [True, False])
def test_names_inside_bodies_are_not_those_outside(tmp_path, net, live):
    x = torch.randn(2, 3)
    program = torch.export.export(net(), (x,), strict=False)
    torch.export.save(program, tmp_path / "a.pt2")
    model = convcore.load(program if live else tmp_path / "a.pt2")
    assert not model.problems
    (got,) = Interpreter(model.graph).run({model.graph.inputs[0].name: x.numpy()})
    np.testing.assert_allclose(got, net()(x).numpy(), rtol=1e-5, atol=1e-5)

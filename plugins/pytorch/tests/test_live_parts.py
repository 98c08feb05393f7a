"""A live module read part by part: its arguments and their names, made-up examples, modes and buffers that stay, ranges and
results of what torch.export made."""

from __future__ import annotations

import operator
from types import SimpleNamespace
from typing import Any

import pytest

from convcore.errors import UsageError
from convcore.hookspecs import LoadRequest
from convcore.ir.dims import Dim

torch = pytest.importorskip("torch")
from torch import nn

from convcore_pytorch.dialect import MODULE_NAMES
from convcore_pytorch.files.program import Input, SymValue, TensorValue
from convcore_pytorch.fx import _bound, _input, _ranges, _read, _scopes, _size, _told
from convcore_pytorch.live import _arguments, _made_up, _names, evaluating, module_of, read_live

N, M = Dim("n"), Dim("m")


def test_names_that_modules_have_themselves() -> None:
    own = {n for n in dir(nn.Module()) if not n.startswith("_")}
    assert own <= MODULE_NAMES and MODULE_NAMES - own <= {"from_pretrained", "tie_weights"}


def test_arguments_in_each_form() -> None:
    x, y = torch.ones(2), torch.ones(3)
    for given, args, kwargs in (
        (x, (x,), {}),
        ((x, y), (x, y), {}),
        ([x], (x,), {}),
        ({"a": x}, (), {"a": x}),
        (((x,), {"b": y}), (x,), {"b": y}),
        ((), (), {}),
        (3, (3,), {}),
    ):
        made, named = _arguments(given, torch)
        assert len(made) == len(args) and all(a is b for a, b in zip(made, args)) and list(named) == list(kwargs)
    ((x,), pair), more = _arguments(((x,), [y]), torch)[0], _arguments(((x,), {"b": y}, 3), torch)[0]
    assert isinstance(pair, list) and len(more) == 3
    (made,), _ = _arguments(x.numpy(), torch)
    assert isinstance(made, torch.Tensor) and _arguments(x, torch)[0][0] is x


class Named(nn.Module):
    def forward(self, a: Any, b: Any = 1, *rest: Any, c: Any = 2, **more: Any) -> Any:
        return a


class Bare(nn.Module):
    def forward(self) -> Any:
        return 1


def test_names_of_arguments() -> None:
    assert _names(Named(), [0], {}) == ["a"] and _names(Named(), [0, 1, 2, 3], {"c": 1, "z": 2}) == [
        "a",
        "b",
        "rest_0",
        "rest_1",
        "c",
        "z",
    ]
    assert _names(Bare(), [0], {}) == ["arg0"] and _names(nn.ReLU(), [], {"input": 1}) == ["input"]


def request(shapes: Any, **options: Any) -> LoadRequest:
    return LoadRequest("", options=options, input_shapes=shapes)


def test_examples_that_are_made_up() -> None:
    made = _made_up(torch, request({"x": (N, 3, M), "y": (M, 2)}, input_dtypes="y:int64,z:bool"))
    assert [(k, tuple(t.shape), t.dtype) for k, t in made.items()] == [
        ("x", (5, 3, 3), torch.float32),
        ("y", (3, 2), torch.int64),
    ]
    assert made["y"].abs().sum() == 0 and made["x"].std() > 0
    half = _made_up(torch, request({"x": (4,)}, input_dtypes="x:float16"))["x"]
    assert half.dtype == torch.float16 and half.abs().sum() > 0 and tuple(half.shape) == (4,)
    for shapes in ({}, {"": (2, 3)}):
        with pytest.raises(UsageError, match="a module says nothing of its inputs: give the shape of each by the name forward"):
            _made_up(torch, request(shapes))
    with pytest.raises(UsageError, match="input 'x': give every size, or a name for it"):
        _made_up(torch, request({"x": (2, None)}))


def test_modes_and_buffers_stay() -> None:
    net = nn.Sequential(nn.BatchNorm1d(3), nn.Sequential(nn.Dropout(), nn.ReLU())).train()
    net[1].eval()
    before = [m.training for m in net.modules()]
    with pytest.raises(RuntimeError, match="odd"), evaluating(net):
        assert not any(m.training for m in net.modules())
        net[0].running_mean.add_(5)
        raise RuntimeError("odd")
    assert [m.training for m in net.modules()] == before == [True, True, False, False, False] and net[0].running_mean.sum() == 0


class Made(nn.Linear):
    def __init__(self) -> None:
        super().__init__(2, 3)


THERE = Made().train()


def of_two() -> Any:
    return nn.Linear(2, 2)


def test_modules_by_their_place(tmp_path: Any) -> None:
    here = __name__
    assert isinstance(module_of(f"{here}:Made"), Made) and module_of(f"{here}:THERE") is THERE and not THERE.training
    assert module_of(f"{here}:of_two").out_features == 2
    for spec in ("abc", ":x", "x:", ""):
        with pytest.raises(UsageError, match=r"write package\.module:factory"):
            module_of(spec)
    for spec, why in (("gone_module_x:a", "No module named 'gone_module_x'"), (f"{here}:gone", "has no attribute 'gone'")):
        with pytest.raises(UsageError, match=why):
            module_of(spec)
    torch.save({"weight": torch.ones(2, 2, dtype=torch.bfloat16), "bias": torch.ones(2)}, tmp_path / "w.pth")
    assert module_of(f"{here}:of_two", tmp_path / "w.pth").weight.sum() == 4
    torch.save({"weight": torch.ones(2, 2)}, tmp_path / "w.pth")
    with pytest.raises(UsageError, match=r"w\.pth does not fit the module: .*Missing key.* \"bias\""):
        module_of(f"{here}:of_two", tmp_path / "w.pth")


@pytest.mark.filterwarnings("ignore")
def test_what_is_no_module_to_trace() -> None:
    with pytest.raises(UsageError, match="a ScriptModule cannot be traced; save it"):
        read_live(torch.jit.script(nn.ReLU()), request({}, example_inputs=torch.ones(2)))
    with pytest.raises(UsageError, match=r"the module is in training mode; call module\.eval\(\), or say"):
        read_live(nn.ReLU().train(), request({}, example_inputs=torch.ones(2)))
    with pytest.raises(UsageError, match="a module holds its weights; load them into it first"):
        read_live(nn.ReLU().eval(), LoadRequest("", weights="w.pth"))


# ---- what torch.export made
def test_numbers_that_bound_a_size() -> None:
    import sympy

    for v, want in (
        (3, 3),
        (sympy.Integer(5), 5),
        (sympy.oo, None),
        (2**62, None),
        (2**62 - 1, 2**62 - 1),
        (-(2**62), None),
        (sympy.Symbol("s"), None),
        (2.5, None),
    ):
        assert _bound(v) == want, v


class Compared:
    """An expression of sympy's, as far as guards are read."""

    is_Integer = False

    def __init__(self, lhs: str, rel_op: str, rhs: Any, relational: bool = True) -> None:
        self.lhs, self.rel_op, self.rhs, self.is_Relational = lhs, rel_op, rhs, relational


@pytest.mark.parametrize(
    ("guards", "want"),
    [
        ([], (2, 50)),
        ([(">", 4)], (5, 50)),
        ([(">=", 4)], (4, 50)),
        ([("<", 9)], (2, 8)),
        ([("<=", 9)], (2, 9)),
        ([(">", 1)], (2, 50)),
        ([("<", 99)], (2, 50)),
        ([("==", 7)], (2, 50)),
        ([(">", 4), ("<", 9)], (5, 8)),
        ([(">=", 3), (">", 5)], (6, 50)),
    ],
)
def test_ranges_that_guards_narrow(guards: Any, want: Any) -> None:
    """torch 2.6 keeps what the code compares a size with among the guards."""
    env = SimpleNamespace(
        guards=[SimpleNamespace(expr=Compared("s0", op, n)) for op, n in guards]
        + [SimpleNamespace(expr=Compared(*a)) for a in (("other", ">", 9), ("s0", ">", 2.5), ("s0", "<", 3, False))]
    )
    node = SimpleNamespace(op="placeholder", meta={"val": SimpleNamespace(fake_mode=SimpleNamespace(shape_env=env))})
    exported = SimpleNamespace(
        range_constraints={"s0": SimpleNamespace(lower=2, upper=50)},
        graph_module=SimpleNamespace(graph=SimpleNamespace(nodes=[SimpleNamespace(op="x", meta={}), node])),
    )
    found = _ranges(exported)
    assert found == {"s0": want}


def test_results_that_are_read() -> None:
    """Of an operator with several the last that is read is the last; of one that gives a list all are there."""

    def user(at: int, used: bool = True) -> Any:
        return SimpleNamespace(target=operator.getitem, args=(None, at), users={1: 1} if used else {})

    several, one = (SimpleNamespace(_schema=SimpleNamespace(returns=[0] * n)) for n in (3, 1))
    val = [0, 0, 0]
    for target, users, want in (
        (several, [user(0)], 1),
        (several, [user(0), user(1)], 2),
        (several, [user(0), user(2, False)], 1),
        (several, [], 1),
        (several, [user(-1)], 3),
        (several, [SimpleNamespace(target=len, args=(), users={})], 3),
        (one, [user(0)], 3),
        (object(), [user(0)], 3),
    ):
        assert _read(SimpleNamespace(target=target, users=users), val) == want


def test_what_is_said_of_values() -> None:
    values: dict[str, Any] = {}
    for name, v in (
        ("t", torch.ones(2, 3).t()),
        ("g", torch.ones(2, requires_grad=True)),
        ("i", 3),
        ("f", 2.5),
        ("b", True),
        ("s", torch.eye(2).to_sparse()),
        ("n", None),
        ("x", "text"),
    ):
        _told(values, name, v)
    assert values == {
        "t": TensorValue("float32", (3, 2), (1, 3)),
        "g": TensorValue("float32", (2,), (1,), True),
        "i": SymValue("int", 3),
        "f": SymValue("float", 2.5),
        "b": SymValue("bool", True),
        "s": TensorValue("float32", None),
    }
    assert type(values["b"].expr) is bool and _size(4) == 4
    spec = SimpleNamespace(kind=SimpleNamespace(name="BUFFER"), arg=SimpleNamespace(name="b"), target="bn.mean", persistent=False)
    assert _input(spec) == Input("buffer", "b", "bn.mean", False)
    spec.persistent, spec.target = None, None
    assert _input(spec) == Input("buffer", "b", "", True)
    user = SimpleNamespace(kind=SimpleNamespace(name="USER_INPUT"), arg=SimpleNamespace(name="x"))
    assert _input(user) == Input("user", "x")
    user.arg = SimpleNamespace(name="", value=4)
    assert _input(user) == Input("literal", "", value=4)
    stack = {"a@2": ("m@2", "my.M"), "b": ("m.n", nn.ReLU), "c@x": ("q", "Q")}
    assert [(s.path, s.cls, s.call) for s in _scopes(stack)] == [
        ("m", "my.M", 2),
        ("m.n", "torch.nn.modules.activation.ReLU", 0),
        ("q", "Q", 0),
    ] and not list(_scopes(None))


class Summed(nn.Module):
    def forward(self, a: Any, *rest: Any, scale: float = 2.0) -> Any:
        return (a + sum(rest)) * scale


def test_arguments_that_are_collected_before_one_by_name() -> None:
    import convcore

    x = torch.ones(2, 3)
    names = ("a", "rest_0", "rest_1")
    model = convcore.load(Summed().eval(), example_inputs=(x, x, x), input_shapes=dict.fromkeys(names, ("n", 3)))
    assert [(v.name, v.shape) for v in model.graph.inputs] == [(n, (N, 3)) for n in names]
    assert model(*[x.numpy()] * 3).tolist() == [[6.0] * 3] * 2

"""Numbers of programs and arguments of calls: Python and torch are the judges."""

from __future__ import annotations

import operator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from convcore.errors import ConvcoreError, UnsupportedError
from convcore.ir.graph import Origin
from convcore.plugin import ArrayTensor, Builder, Dim, DType, Graph, InputShapes, NotExpressible
from convcore_pytorch.arguments import agree, arguments
from convcore_pytorch.context import AtenNode, TorchContext
from convcore_pytorch.files.program import Argument, Constant, Device, ElementType, Input, Node, Program, TensorValue
from convcore_pytorch.files.program import Graph as Body
from convcore_pytorch.files.symbols import Expr, parse_expr
from convcore_pytorch.memory import Handle, Memory
from convcore_pytorch.scalars import NONE, compute
from convcore_pytorch.signatures import signature
from convcore_pytorch.sizes import Symbols

N = Dim("n")


def number(kind: str, *args: Any) -> Any:
    g = TorchContext(Builder(Graph()))
    return compute(SimpleNamespace(path="here", g=g, b=g.b), kind, {str(i): a for i, a in enumerate(args)})


def same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and (a == b or (a != a and b != b))


PYTHON = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "floordiv": operator.floordiv, "mod": operator.mod,
    "truediv": operator.truediv, "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt,
    "ge": operator.ge, "pow": operator.pow, "and_": operator.and_, "or_": operator.or_,
}  # fmt: skip
PAIRS = [(7, 2), (-7, 2), (7, -2), (2, 2), (0, 3), (3, 7), (2.5, 0.5), (-2.5, 2)]


@pytest.mark.parametrize("name", PYTHON)
def test_pythons_operators(name: str) -> None:
    for a, b in PAIRS:
        if name in ("and_", "or_") and isinstance(a, float):
            continue
        assert same(number(f"_operator.{name}", a, b), PYTHON[name](a, b)), (a, b)
    for at, other in ((4, 9), (9, 9)) if name not in ("and_", "or_") else ():
        for a, b in ((N, other), (other, N)):
            got, want = number(f"_operator.{name}", a, b), PYTHON[name](*(at if v is N else v for v in (a, b)))
            if isinstance(got, Dim):
                assert got.evaluate({"n": at}) == want
            else:  # what is not the same for every size is not known
                assert got is NONE, (name, got)


def test_what_is_known_of_sizes() -> None:
    """A size is equal to itself, and that is all that is known."""
    assert number("_operator.eq", N, N) is True and number("_operator.ne", N, N) is False
    for name in ("lt", "le", "gt", "ge"):
        assert number(f"_operator.{name}", N, N) is NONE
    assert number("_operator.eq", N, Dim("m")) is NONE and number("_operator.ne", N, 3) is NONE
    assert number("_operator.neg", 3) == -3 and number("_operator.neg", N).evaluate({"n": 5}) == -5
    assert number("_operator.not_", True) is False and number("_operator.gone", 1) is NONE
    made = [number(k, N) for k in ("aten.Float.int", "aten.Bool.int")]  # tensors without axes
    assert [(h.read().dtype, h.read().shape) for h in made] == [(DType.FLOAT32, ()), (DType.BOOL, ())]
    assert number("aten.Int.Scalar", N) is N and number("math.ceil", N) is N and number("aten.sqrt.int", N) is NONE
    assert number("aten.__contains__.int_list", [1, N], 1) is NONE and number("aten.__contains__.int_list", [1, 2], N) is NONE
    for a, b in ((N, 3), (3, N)):
        most, least = number("prim.max.int", a, b), number("prim.min.int", a, b)
        assert [(most.evaluate({"n": n}), least.evaluate({"n": n})) for n in (2, 3, 5)] == [(3, 2), (3, 3), (5, 3)]


TORCHS = [
    f"{k}.{o}" for k in ("add", "sub", "mul", "eq", "ne", "lt", "le", "gt", "ge", "floordiv", "remainder", "div")
    for o in ("int", "float", "int_float", "float_int")
]  # fmt: skip


@pytest.mark.parametrize("kind", TORCHS)
def test_torchscripts_operators(kind: str) -> None:
    base, overload = kind.split(".")
    made = getattr(getattr(torch.ops.aten, base), overload, None)
    if made is None:
        return
    for pair in PAIRS:
        a, b = (float(v) if t == "float" else int(v) for v, t in zip(pair, (overload.split("_") * 2)[:2]))
        if not b and base in ("floordiv", "remainder", "div"):
            continue
        assert same(number(f"aten.{kind}", a, b), made(a, b)), (a, b)


def test_other_numbers_of_torchscript() -> None:
    for kind, args in (
        ("Int.float", (2.7,)), ("Int.float", (-2.7,)), ("Int.bool", (True,)), ("Float.int", (3,)), ("Float.bool", (True,)),
        ("Bool.int", (0,)), ("Bool.int", (5,)), ("Bool.float", (0.0,)), ("Bool.float", (0.5,)), ("ceil.float", (2.1,)),
        ("floor.float", (-2.1,)), ("sqrt.int", (2,)), ("__not__", (True,)), ("__contains__.int_list", ([1, 2], 2)),
        ("__contains__.int_list", ([1, 2], 3)), ("__contains__.str_list", (["a"], "a")), ("__and__.bool", (True, False)),
        ("__or__.bool", (True, False)),
        ("__contains__.float_list", ([0.5], 0.5)),
    ):  # fmt: skip
        base, _, overload = kind.partition(".")
        made = getattr(getattr(torch.ops.aten, base), overload or "default")
        assert same(number(f"aten.{kind}", *args), made(*args)), kind
    assert number("aten.len.t", [1, 2, 3]) == 3 and number("aten.__getitem__.t", [4, 5, 6], -1) == 6
    assert [number("math.ceil", 2.1), number("math.floor", -2.1), number("math.trunc", -2.1)] == [3, -3, -2]
    assert number("prim.max.int", 2, 5) == 5 and number("prim.min.int", 2, 5) == 2
    assert number("_operator.getitem", [1, 2], 2) is NONE and number("_operator.getitem", [1, 2], -3) is NONE
    assert number("_operator.getitem", [1, 2], -2) == 1 and number("_operator.getitem", 3, 0) is NONE
    assert number("aten.__isnot__", None, None) is False and number("aten.__is__", None, None) is True
    assert number("prim.ListConstruct", 1, N) == [1, N] and number("prim.TupleConstruct") == []
    assert number("aten.ScalarImplicit", 3) == 3 and number("prim.NumToTensor", 2) == 2


def test_numbers_that_raise() -> None:
    for kind, args in (("_operator.floordiv", (1, 0)), ("aten.remainder.int", (1, 0)), ("aten.sqrt.int", (-1,)),
                       ("_operator.truediv", (1, 0))):  # fmt: skip
        with pytest.raises(UnsupportedError, match=f"here.*{kind}.*cannot be computed"):
            number(kind, *args)


def test_what_is_told_of_a_tensor() -> None:
    g = Graph()
    x = Handle(Memory(g.add_input("x", DType.FLOAT16, (N, 3, 5))))
    ints = Handle(Memory(g.add_input("i", DType.INT32, (7,))))
    lost = Handle(Memory(g.add_input("u", DType.BOOL, None)))
    part = Handle(Memory(g.add_input("p", None, (2, None))))
    assert number("aten.sym_size.int", x, 0) == N and number("aten.size.int", x, -1) == 5 and number("aten.size", x) == [N, 3, 5]
    assert number("aten.dim", x) == 3 and number("aten.numel", x) == N * 15 and number("aten.len.Tensor", x) == N
    assert number("aten.is_floating_point", x) is True and number("aten.is_floating_point", ints) is False
    assert number("prim.dtype", x) == ElementType("float16") and number("prim.device", x) == Device("cpu")
    assert number("prim.layout", x) == Constant("layout", "strided") and number("prim.is_cuda", x) is False
    assert number("prim.requires_grad", x) is False and number("prim.data", x) is x
    for kind, h in (("aten.dim", lost), ("aten.size", lost), ("aten.numel", part), ("prim.dtype", part), ("aten.size", part),
                    ("aten.is_floating_point", part)):  # fmt: skip
        assert number(kind, h) is NONE, kind
    assert number("aten.sym_size.int", part, 1) is NONE and number("aten.sym_size.int", part, 0) == 2
    held = Handle(Memory(g.add_weight("w", ArrayTensor(np.array([2.5], np.float32)))))
    assert number("aten.item", held) == 2.5 and number("aten.Float.Tensor", held) == 2.5


# ---- arguments of calls
def test_sizes_that_may_be_the_same() -> None:
    m = Dim("m")
    for a, b, want in (
        (None, 3, True), (3, None, True), (3, 3, True), (3, 4, False), (N, N, True), (N, 3, False), (N, 7, True), (N, 12, True),
        (N, 31, True), (N + 1, N, False), (N * 2, N + N, True), (N, m, False), (m * N, N * m, True),
    ):  # fmt: skip
        assert agree(a, b) is want and agree(b, a) is want, (a, b)


def _node(kind: str = "aten.conv2d", **given: Any) -> AtenNode:
    sig = signature(f"{kind}.default")
    told = tuple(Argument(k, v) for k, v in given.items())
    full = arguments(Node("n", f"{kind}.default", told, ("y",)), sig)
    return AtenNode(kind, "n", full, sig, Origin("pytorch", "n", kind))


def test_arguments_and_their_defaults() -> None:
    g = Graph()
    x, w = g.add_input("x", DType.FLOAT32, (2, 3, 5, 7)), g.add_input("w", DType.FLOAT32, (4, 3, 1, 1))
    n = _node(input=x, weight=w, padding=[2], groups=1)
    assert n.arguments == {
        "input": x, "weight": w, "bias": None, "stride": [1, 1], "padding": [2], "dilation": [1, 1], "groups": 1,
    }  # fmt: skip
    assert set(n.given) == {"input", "weight", "padding"} and n.attrs == {"args": [x, w, None, [1, 1], [2]], "kwargs": {}}
    assert n.ints("padding", 2) == (2, 2) and n.ints("stride", 2) == (1, 1) and n.optional("bias") is None
    assert n.number("groups") == 1 and n.size("groups") == 1 and n.shape("input") == (2, 3, 5, 7) and n.rank("weight") == 4
    assert n.axes("padding", 4) == (2,)
    plain = arguments(Node("n", "prim.x", (Argument("", 1), Argument("b", 2)), ("y",)), None)
    assert plain == {"0": 1, "b": 2}
    mixed = Node("n", "aten.conv2d.default", (Argument("", x), Argument("", w), Argument("bias", w), Argument("more", 3)), ("y",))
    assert list(arguments(mixed, signature("aten.conv2d.default")))[-1] == "more"


def test_arguments_that_are_not_what_a_rule_asks_for() -> None:
    g = Graph()
    x, lost = g.add_input("x", DType.FLOAT32, (2, None, 5)), g.add_input("u", DType.FLOAT32, None)
    n = _node(input=x, weight=lost, bias=lost, stride=[x], padding=[N, 2], groups=x)
    for ask, why in (
        (lambda: n.arg("gone"), "its argument 'gone' is missing"),
        (lambda: n.tensor("stride"), "its argument 'stride' is not a tensor"),
        (lambda: n.tensors("stride") and n.tensors("input"), "its argument 'input' is not a list of tensors"),
        (lambda: n.tensors("padding"), "its argument 'padding' is not a list of tensors"),
        (lambda: n.number("groups"), "its argument 'groups' must be a number that is known, not %x"),
        (lambda: n.number("padding"), "its argument 'padding' must be a number that is known"),
        (lambda: n.ints("padding"), "its argument 'padding' must be integers that are known"),
        (lambda: n.sizes("stride"), "its argument 'stride' holds a size that depends on the data"),
        (lambda: n.rank("weight"), "the number of axes of 'weight' is not known"),
        (lambda: n.shape("input"), "the shape of 'input' is not known"),
        (lambda: n.shape("bias"), "the shape of 'bias' is not known"),
        (lambda: n.element("groups"), "its argument 'groups' is not an element type"),
    ):  # fmt: skip
        with pytest.raises((NotExpressible, ConvcoreError)) as e:
            ask()
        assert why in str(e.value), why
    for axis, rank, want in ((0, 0, 0), (-1, 0, 0), (1, 2, 1), (-2, 2, 0), (-1, 3, 2)):
        assert _node(input=x, weight=x, groups=axis).axis("groups", rank) == want
    for axis, rank in ((1, 0), (-2, 0), (2, 2), (-3, 2)):
        with pytest.raises(NotExpressible, match=rf"its argument groups={axis} is out of range for {rank} axes"):
            _node(input=x, weight=x, groups=axis).axis("groups", rank)
    typed = _node("aten.zeros", size=[2], dtype=ElementType("bits8"))
    with pytest.raises(NotExpressible, match=r"element type torch\.bits8 is not known"):
        typed.element("dtype")
    assert _node("aten.zeros", size=[2], dtype=ElementType("int64")).element("dtype") is DType.INT64


def test_what_a_rule_did_not_read_is_refused() -> None:
    g = Graph()
    x = g.add_input("x", DType.FLOAT32, (2, 3, 5, 7))
    for given, odd in (({"groups": 2}, "groups=2"), ({"dilation": [1, 2]}, "dilation"), ({"bias": x}, "bias=%x")):
        n = _node(input=x, weight=x, **given)
        n.tensor("input"), n.tensor("weight")
        with pytest.raises(UnsupportedError, match=f"its argument {odd}.* is not known"):
            n.unread()
        n.skip(*given)
        assert n.unread() == []
        n.fresh()
        n.tensor("input")
        with pytest.raises(UnsupportedError, match="its argument weight=%x is not known"):
            n.unread()
    n = _node(input=x, weight=x, groups=True, stride=[1, 1], padding=0)
    n.tensor("input"), n.tensor("weight")
    with pytest.raises(UnsupportedError, match=r"padding=0|groups=True"):  # of another type than the default
        n.unread()
    held = _node("aten.clone", self=x, memory_format=Constant("memory_format", "channels_last"))
    held.tensor("self")
    assert held.unread() == [] and held.replaced("self", x).arguments == held.arguments


# ---- numbers as tensors
def test_numbers_as_tensors() -> None:
    g = TorchContext(Builder(Graph()))
    for value, dtype, want in (
        (3, None, DType.INT64), (True, None, DType.BOOL), (0.5, None, DType.FLOAT32), (3, DType.FLOAT16, DType.FLOAT16),
    ):  # fmt: skip
        v = g.scalar(value, dtype)
        assert (v.dtype, v.shape) == (want, ())
    assert g.scalar(N, DType.INT32).dtype is DType.INT32 and g.scalar(N, None).dtype is DType.INT64
    with pytest.raises(NotExpressible, match="'a' is not a number"):
        g.scalar("a", None)
    x = g.b.graph.add_input("x", DType.FLOAT32, (2, 3, N))
    assert g.cast(x, None) is x and g.cast(x, DType.FLOAT32) is x and g.cast(x, DType.INT32) is not x
    assert g.reshape(x, (2, -1, N)) is x and g.reshape(x, (6, -1)).shape == (6, N) and g.transpose(x, (0, 1, 2)) is x
    with pytest.raises(NotExpressible, match="a size of -1 beside a size of 0"):
        g.reshape(x, (0, -1))
    ints = g.b.graph.add_input("i", DType.INT32, (2,))
    assert g.float(x) is x and g.float(ints).dtype is DType.FLOAT32 and g.float(ints, DType.FLOAT64).dtype is DType.FLOAT64
    assert g.float(ints, DType.INT64).dtype is DType.FLOAT32 and g.conjugate(x) is x
    w = g.b.graph.add_weight("w", ArrayTensor(np.arange(6, dtype=np.float32).reshape(2, 3)))
    turned = g.transpose(w, (1, 0))
    assert turned.tensor is not None and turned.shape == (3, 2) and g.reshape(w, (3, 2)).tensor is not None


# ---- symbolic sizes
def test_symbols_are_named_after_inputs() -> None:
    def of(given: dict[str, Any], names: dict[str, str] | None = None, **shapes: Any) -> Symbols:
        values = {
            k: TensorValue("float32", tuple(parse_expr(d, "f") if isinstance(d, str) else d for d in s))
            for k, s in shapes.items()
        }
        inputs = [Input("user", k) for k in shapes]
        return Symbols(Program("program", Body("", tuple(shapes), (), (), values), inputs, [], {}), InputShapes(given), names)

    found = of({}, x=("s0", 3, "s1"), y=("s0", "s2"))
    assert {k: str(v) for k, v in found.table.items()} == {"s0": "batch", "s1": "x_2", "s2": "y_1"}
    assert [str(d) for d in found.shapes["y"] or ()] == ["batch", "y_1"]
    assert str(of({}, {"s1": "time"}, x=("s0", "s1")).table["s1"]) == "time"
    assert {k: str(v) for k, v in of({}, x=(3, "s0"), y=("s1", 2)).table.items()} == {"s0": "x_1", "s1": "batch"}
    given = of({"x": (N, 3, 9)}, x=("s0", 3, "s1"), y=("s1", "s0"))
    assert given.table == {"s0": N, "s1": 9} and given.shapes["y"] == (9, N)
    assert {str(v) for v in of({"x": (Dim("batch"), 5)}, x=("s0", 5), y=("s1", 5)).table.values()} == {"batch", "y_0"}
    for text, want in (
        ("2*s0 + 1", 11), ("s0 - 2", 3), ("s0//2", 2), ("s0 % 3", 2), ("s0**2", 25), ("s0**0", 1), ("-s0", -5), ("Max(s0, 3)", 5),
        ("Max(s0, 7)", 7), ("Min(s0, 3)", 3), ("Min(s0, 7)", 5), ("s0*s0*2", 50), ("ToFloat(s0)", 5), ("CleanDiv(s0, 5)", 1),
    ):  # fmt: skip
        d = found.dim(parse_expr(text, "f"))
        assert (d.evaluate({"batch": 5}) if isinstance(d, Dim) else d) == want, text
    for text in ("u0", "s0/2", "s0//0", "s0 % 0", "s0**9", "s0**s1", "sqrt(s0)", "u0 + 1", "s0 < 3"):
        assert found.dim(parse_expr(text, "f")) is None, text
    assert found.dim(4) == 4 and found.dim(None) is None and found.dim(Expr("symbol", ("s9",))) is None
    assert found.shape(None) is None

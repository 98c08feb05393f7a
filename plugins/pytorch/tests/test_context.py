"""How rules read the arguments of ATen's operators: what is refused by its words, and types as torch promotes them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import UnsupportedError
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Origin
from convcore.plugin import NotExpressible
from convcore_pytorch.context import AtenNode, TorchContext, promoted
from convcore_pytorch.files.program import ElementType

torch = pytest.importorskip("torch")

N = Dim("N")
G = Graph("g")
B = Builder(G)
X, FREE, SHAPELESS = B.input("x", "float32", (3, 5)), B.input("free", "float32", (N, None)), B.input("s", "float32", None)
ONE, PAIR, SIZE = B.const(np.array([4])), B.const(np.array([4, 5])), B.dim_value(value=N)
CONTEXT = TorchContext(B)


def node(**arguments: Any) -> AtenNode:
    return AtenNode("aten.op", "n", arguments, None, Origin("test", "layer", "aten.op"))


READ: list[tuple[str, Any, tuple[Any, ...], Any]] = [
    # a method, the argument, what else the method takes, what it gives: a text is the reason of a refusal
    ("tensor", X, (), X),
    ("tensor", 3, (), "its argument 'a' is not a tensor"),
    ("tensor", None, (), "its argument 'a' is not a tensor"),
    ("optional", X, (), X),
    ("optional", None, (), None),
    ("optional", 3, (), "its argument 'a' is not a tensor"),
    ("tensors", [X, ONE], (), [X, ONE]),
    ("tensors", (X,), (), [X]),
    ("tensors", X, (), "its argument 'a' is not a list of tensors"),
    ("tensors", [X, 3], (), "its argument 'a' is not a list of tensors"),
    ("number", 2.5, (), 2.5),
    ("number", True, (), True),
    ("number", ONE, (), 4),
    ("number", PAIR, (), "its argument 'a' must be a number that is known, not %"),
    ("number", X, (), "its argument 'a' must be a number that is known, not %x"),
    ("number", "one", (), "its argument 'a' must be a number that is known, not 'one'"),
    ("ints", [2, 3], (), (2, 3)),
    ("ints", 2, (), (2,)),
    ("ints", [2], (3,), (2, 2, 2)),
    ("ints", [2, 3], (3,), (2, 3)),
    ("ints", [ONE], (), (4,)),
    ("ints", [N, 3], (), "its argument 'a' must be integers that are known, not"),
    ("sizes", [N, 3], (), (N, 3)),
    ("sizes", N, (), (N,)),
    ("sizes", [SIZE, ONE], (), (N, 4)),
    ("sizes", [X], (), "its argument 'a' holds a size that depends on the data"),
    ("sizes", [2, PAIR], (), "its argument 'a' holds a size that depends on the data"),
    ("sizes", [True], (), "its argument 'a' holds a size that depends on the data"),
    ("sizes", [2.0], (), "its argument 'a' holds a size that depends on the data"),
    ("size", [N, 3], (), N),
    ("axes", [-1, 0], (3,), (2, 0)),
    ("axes", [2, -3], (3,), (2, 0)),
    ("axes", [0, -1], (0,), (0, 0)),
    ("axes", [3], (3,), "its argument a=3 is out of range for 3 axes"),
    ("axes", [-4], (3,), "its argument a=-4 is out of range for 3 axes"),
    ("axes", [1], (0,), "its argument a=1 is out of range for 0 axes"),
    ("axes", [-2], (1,), "its argument a=-2 is out of range for 1 axes"),
    ("axis", 2, (3,), 2),
    ("axis", -3, (3,), 0),
    ("axis", 1.5, (3,), "its argument a=1.5 is out of range for 3 axes"),
    ("axis", 3, (3,), "its argument a=3 is out of range for 3 axes"),
    ("rank", X, (), 2),
    ("rank", SHAPELESS, (), "the number of axes of 'a' is not known"),
    ("shape", X, (), (3, 5)),
    ("shape", SHAPELESS, (), "the shape of 'a' is not known"),
    ("shape", FREE, (), "the shape of 'a' is not known"),
    ("element", None, (), None),
    ("element", ElementType("int32"), (), DType.INT32),
    ("element", "int32", (), "its argument 'a' is not an element type"),
    ("element", ElementType("qint8"), (), "element type torch.qint8 is not known"),
    ("arg", 3, (), 3),
    ("attr", 3, (), 3),
]


def same(got: Any, want: Any) -> bool:
    return got is want or (type(got) is type(want) and got == want)


@pytest.mark.parametrize("at", range(len(READ)))
def test_arguments_are_read_or_refused(at: int) -> None:
    method, given, more, want = READ[at]
    if type(want) is str:
        with pytest.raises((NotExpressible, UnsupportedError)) as e:
            getattr(node(a=given), method)("a", *more)
        assert want in str(e.value), str(e.value)
    else:
        assert same(getattr(node(a=given), method)("a", *more), want)


def test_arguments_that_are_not_there_or_not_read() -> None:
    with pytest.raises(UnsupportedError, match=r"'n' \(aten\.op\): its argument 'b' is missing"):
        node(a=1).arg("b")
    n = node(a=1, b=X, memory_format="last")
    n.arg("a")
    with pytest.raises(UnsupportedError, match=r"'n' \(aten\.op\): its argument b=%x is not known"):
        n.unread()
    n.fresh()
    n.arg("b")
    with pytest.raises(UnsupportedError, match="its argument a=1 is not known"):
        n.unread()
    n.skip("a")
    assert n.unread() == [] and node(a=1, b=X).input(0) is X and node(a=1).input(0) is None
    assert node(a=1, b=X).replaced("b", ONE).arguments == {"a": 1, "b": ONE}


TYPES = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


def operands(dtype: str) -> list[tuple[Any, Any]]:
    """Ours and torch's: with axes, without."""
    return [(B.input("t", dtype, s), torch.zeros(s, dtype=getattr(torch, dtype))) for s in ((2,), ())]


PLAIN: list[tuple[Any, Any]] = [(True, True), (3, 3), (2.5, 2.5)]


@pytest.mark.parametrize("dtype", TYPES)
def test_types_are_promoted_as_in_torch(dtype: str) -> None:
    """Every two of tensors with and without axes and numbers (torch.result_type)."""
    others = [o for d in TYPES for o in operands(d)] + PLAIN
    for (a, x), (b, y) in itertools.product(operands(dtype), others):
        want = str(torch.result_type(x, y)).removeprefix("torch.").replace("complex32", "None")  # which convcore lacks
        assert str(promoted([a, b])) == str(promoted([b, a])) == want, (dtype, y)


def test_types_that_are_not_known() -> None:
    assert promoted([X, "text"]) is None and promoted([SHAPELESS]) is None and promoted([B.input("?", None, (2,))]) is None
    assert promoted([X, N]) is DType.FLOAT32 and promoted([N]) is DType.INT64 and promoted([]) is None
    assert promoted([B.input("u", "uint16", (2,)), B.input("v", "int32", (2,)), 2.5]) is None


def test_numbers_become_tensors() -> None:
    for given, dtype, want in ((3, None, "int64"), (2.5, None, "float32"), (True, None, "bool"), (3, DType.FLOAT64, "float64"),
                               (N, DType.FLOAT32, "float32"), (N, None, "int64"), (ONE, DType.INT32, "int32")):  # fmt: skip
        assert str(CONTEXT.scalar(given, dtype).dtype) == want
    with pytest.raises(NotExpressible, match="'text' is not a number"):
        CONTEXT.scalar("text", None)
    whole = B.input("i", "int32", (3,))
    given = (whole, None), (whole, DType.FLOAT64), (whole, DType.INT64), (X, DType.FLOAT64)
    assert [str(CONTEXT.float(v, d).dtype) for v, d in given] == [
        "float32", "float64", "float32", "float32"]  # fmt: skip


def test_shapes_with_a_size_left_out() -> None:
    assert (
        CONTEXT.reshape(X, (5, -1)).shape == (5, 3)
        and CONTEXT.reshape(X, (3, 5)) is X
        and CONTEXT.reshape(X, (-1,)).shape == (15,)
    )
    with pytest.raises(NotExpressible, match="a size of -1 beside a size of 0"):
        CONTEXT.reshape(X, (0, -1))
    with pytest.raises(NotExpressible, match="the shape of 'free' is not known"):
        CONTEXT.reshape(FREE, (-1,))
    w = B.weight(np.arange(6.0).reshape(2, 3), "w")
    assert CONTEXT.reshape(w, (3, -1)).tensor.numpy().tolist() == [[0, 1], [2, 3], [4, 5]]
    assert CONTEXT.transpose(w, (1, 0)).tensor.numpy().tolist() == [[0, 3], [1, 4], [2, 5]] and CONTEXT.transpose(w, (0, 1)) is w
    assert CONTEXT.transpose(X, (1, 0)).shape == (5, 3) and CONTEXT.conjugate(X) is X

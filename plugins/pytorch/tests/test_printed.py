"""Text of code in its smallest parts: how lines are broken, numbers and names written, sizes spelled, members and lists reached,
prefixes that are blocks. Python's own ``eval`` and ``compile`` say whether it means what it should."""

from __future__ import annotations

import ast
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from convcore.ir.dims import Dim, dim_max, dim_min
from convcore.ir.dtypes import DType
from convcore.ir.tensors import as_tensor
from convcore.plugin import Block, NotExpressible, PlanCall, Ref, State, Unit
from convcore_pytorch.grouping import repeated
from convcore_pytorch.printer.classes import is_sequence
from convcore_pytorch.printer.forward import Forward, annotation
from convcore_pytorch.printer.members import attribute, has, is_plain, lists_of, statements
from convcore_pytorch.printer.text import WIDTH, Bracket, flat, lay, literal, quoted, tuple_doc

N, M = Dim("N"), Dim("M")


# ---- lines
def test_values_as_literals() -> None:
    for x in (0.1, -2.5, 1e300, 1e-7, 1e16, -1e22, 3, -4, True, False, None, "a", "a'b", 'a"b', "a\n\\", "é", 5e-324):
        assert eval(literal(x)) == x and type(eval(literal(x))) is type(x), x
    assert (
        literal(1e22) == "1e22"
        and literal(1e-22) == "1e-22"
        and literal(math.inf) == 'float("inf")'
        and literal(-math.inf) == 'float("-inf")'
    )
    assert (
        math.isnan(eval(literal(math.nan)))
        and quoted("a'b") == '"a\'b"'
        and quoted('a"b') == "'a\"b'"
        and quoted("ab") == '"ab"'
        and quoted("a'\"b") == repr("a'\"b")
    )


def test_one_line() -> None:
    for doc, text in (
        (tuple_doc([]), "()"),
        (tuple_doc(["a"]), "(a,)"),
        (tuple_doc(["a", "b"]), "(a, b)"),
        (tuple_doc([tuple_doc(["a"])]), "((a,),)"),
        (Bracket("f", ["a"]), "f(a)"),
        (Bracket("f", ["a", Bracket("g", ["b"], tail=".t()")]), "f(a, g(b).t())"),
        (Bracket("", ["a"], "[", "]", display=True), "[a]"),
        (Bracket("f"), "f()"),
        ("x", "x"),
    ):
        assert flat(doc) == text and lay(doc, 4, "return ", ",") == [f"    return {text},"]


def call(n: int, **more: Any) -> Bracket:
    """A call whose line is ``n`` columns wide, 4 columns in and with ``y = ``."""
    return Bracket("f", ["a" * (n - 18), "bcdef"], **more)


def test_lines_break_where_they_are_too_long() -> None:
    """At the width, and one beyond: all arguments on a line, then one a line, each with a comma; a display one a line at once."""
    assert [len(line) for line in lay(call(WIDTH), 4, "y = ")] == [WIDTH]
    assert lay(call(WIDTH + 1), 4, "y = ") == ["    y = f(", "        " + "a" * (WIDTH - 17) + ", bcdef", "    )"]
    assert lay(call(WIDTH + 1, display=True), 4, "y = ") == [
        "    y = f(",
        "        " + "a" * (WIDTH - 17) + ",",
        "        bcdef,",
        "    )",
    ]
    items = ["a" * (WIDTH - 15), "bcdef"]
    assert (
        lay(Bracket("f", items), 4, "y = ") == ["    y = f(", f"        {', '.join(items)}", "    )"]
        and len(f"        {', '.join(items)}") == WIDTH
    )
    items[0] += "a"
    assert lay(Bracket("f", items, tail=".t()"), 4, "y = ", " -> z:") == [
        "    y = f(",
        f"        {items[0]},",
        "        bcdef,",
        "    ).t() -> z:",
    ]
    inner = Bracket("g", ["c" * 40, "d" * 50])
    assert (
        lay(Bracket("f", ["a", inner]), 0) == ["f(", "    a,", f"    g({'c' * 40}, {'d' * 50}),", ")"] or len(flat(inner)) > WIDTH
    )
    assert lay("x" * 100, 4) == ["    " + "x" * 100] and lay(Bracket("f" * 100), 4) == ["    " + "f" * 100 + "()"]


# ---- members
def state(role: str = "parameter", dtype: str = "float32", *shape: int) -> State:
    return State(as_tensor(np.zeros(shape or (2,), DType(dtype).numpy)), role=role)


def test_members_as_python_reaches_them() -> None:
    P, B, U = state(), state("buffer"), Unit("torch.nn.ReLU", {}, {}, ())
    for name, held, lists, text in (
        ("a", None, (), "self.a"),
        ("0", None, (), 'self.get_submodule("0")'),
        ("a.b", None, (), "self.a.b"),
        ("a.0", None, ("a",), "self.a[0]"),
        ("a.0", None, (), 'self.a.get_submodule("0")'),
        ("a.0.b", None, ("a",), "self.a[0].b"),
        ("a.0.b", None, (), 'self.get_submodule("a.0").b'),
        ("class", None, (), 'self.get_submodule("class")'),
        ("a-b", P, (), 'self.get_parameter("a-b")'),
        ("a-b", B, (), 'self.get_buffer("a-b")'),
        ("a.0", P, ("a",), "self.a[0]"),
        ("a-b.c", None, (), 'self.get_submodule("a-b").c'),
        ("a.0.1", None, ("a", "a.0"), "self.a[0][1]"),
        ("a-b", state("parameter", "int64"), (), 'self.get_buffer("a-b")'),
    ):
        assert attribute(name, held, frozenset(lists)) == text
        ast.parse(text)
    assert [is_plain(n) for n in ("a", "_a", "é", "0", "a-b", "class", "match", "")] == [
        True,
        True,
        False,
        False,
        False,
        False,
        True,
        False,
    ]
    for members, lists in (
        ({"a.0": U, "a.1": U}, {"a"}),
        ({"a.0": U, "a.2": U}, set()),
        ({"a.1": U}, set()),
        ({"a.0": P, "a.1": P}, {"a"}),
        ({"a.0": P, "a.1": B}, set()),
        ({"a.0": B}, set()),
        ({"a.0": U, "a.1": P}, set()),
        ({"a.0.b": U, "a.1.b": U}, {"a"}),
        ({"a": U, "a.0": U}, set()),
        ({"a.0": U, "a.x": U}, set()),
        ({"a.0.0": P}, {"a", "a.0"}),
        ({str(i): U for i in range(3)}, set()),
        ({f"a.{i}": U for i in range(11)}, {"a"}),
        ({"a.0": state("parameter", "int64")}, set()),
    ):
        assert lists_of(members) == lists, members


def test_statements_of_members() -> None:
    P, B, U = state(), state("buffer"), Unit("torch.nn.Linear", {}, {"weight": state()}, ())
    docs = {
        "a.0": "A",
        "a.1": "C",
        "b": "D",
        "c.d": "E",
        "w": "F",
        "s.t": "G",
        "p.0": "H",
        "p.1": "I",
        "q.x.0": "J",
        "q.x.1": "K",
        "0": "L",
        "k-l": "O",
    }
    members = {
        "a.1": U,
        "a.0": U,
        "b": B,
        "c.d": U,
        "w": P,
        "s.t": B,
        "p.0": P,
        "p.1": P,
        "q.x.0": U,
        "q.x.1": U,
        "0": U,
        "k-l": P,
    }
    assert [line.strip() for line in statements(members, docs, {id(B)})] == [
        "self.a = nn.ModuleList([A, C])",
        'self.register_buffer("b", D, persistent=False)',
        "self.c = nn.Module()",
        "self.c.d = E",
        "self.w = F",
        "self.s = nn.Module()",
        'self.s.register_buffer("t", G, persistent=False)',
        "self.p = nn.ParameterList([H, I])",
        "self.q = nn.Module()",
        "self.q.x = nn.ModuleList([J, K])",
        'self.add_module("0", L)',
        'self.register_parameter("k-l", O)',
    ]
    assert [line.strip() for line in statements({"b": B}, {"b": "D"})] == ['self.register_buffer("b", D)']
    deep = {"a.0.b": U, "a.1.b": U}
    assert [line.strip() for line in statements(deep, {"a.0.b": "X", "a.1.b": "Y"})] == [
        "self.a = nn.ModuleList()",
        'self.a.add_module("0", nn.Module())',
        "self.a[0].b = X",
        'self.a.add_module("1", nn.Module())',
        "self.a[1].b = Y",
    ]
    inner = Block("Inner")
    inner.members = {"x": P, "y.z": P}
    owners = {"u": U, "blk": inner}
    assert [has(owners, p) for p in ("u.weight", "u.bias", "blk.x", "blk.y", "blk.q", "u", "other.x")] == [
        True,
        False,
        True,
        True,
        False,
        False,
        False,
    ]
    assert [
        line.strip() for line in statements({"u": U, "u.weight": P, "u.more": P}, {"u": "U", "u.weight": "W", "u.more": "M"})
    ] == ["self.u = U", "self.u.more = M"]


def chain(*names: str) -> Block:
    block, at = Block("B"), Ref(None, 0, DType.FLOAT32, (2,))
    block.inputs = [at]
    for name in names:
        unit = Unit("torch.nn.ReLU", {}, {}, ())
        block.members[name] = unit
        made = Ref(None, 0, DType.FLOAT32, (2,))
        block.calls.append(PlanCall(unit, (at,), {}, (made,)))
        at = made
    block.outputs = [at]
    return block


def test_chains_are_sequences() -> None:
    assert is_sequence(chain("0")) and is_sequence(chain("0", "1", "2"))
    for names in ((), ("1",), ("0", "2"), ("a",), ("1", "0")):
        assert not is_sequence(chain(*names)), names
    twice, out, before, two, more, args = (chain("0", "1") for _ in range(6))
    twice.calls.append(twice.calls[1])
    out.outputs = [out.calls[0].results[0]]
    before.calls[1].args = before.calls[0].args
    two.inputs = [*two.inputs, Ref(None, 0, DType.FLOAT32, (2,))]
    more.outputs = [*more.outputs, *more.outputs]
    args.calls[1].args = (*args.calls[1].args, 3)
    for block in (twice, out, before, two, more, args):
        assert not is_sequence(block)
    crossed = chain("0", "1")
    crossed.calls[0].target, crossed.calls[1].target = crossed.calls[1].target, crossed.calls[0].target
    assert not is_sequence(crossed)


# ---- sizes
def forward(*shapes: Any) -> tuple[Forward, list[Ref]]:
    refs = [Ref(None, 0, DType.FLOAT32, s) for s in shapes]
    block = Block("B")
    block.inputs, block.outputs = list(refs), list(refs[:1])
    return Forward(block, [f"x{i}" for i in range(len(refs))]), refs


@pytest.mark.parametrize(
    "size",
    [
        N,
        M,
        N + 1,
        1 + M * 2,
        N * M,
        N - M,
        -N + 3,
        2 * N * M - 5,
        N // 2,
        (N + 1) // 2,
        N % 3,
        (N - 1) // 2 * 3 + 1,
        N * N,
        N * (M - 1),
        (N + M) // (M + 1),
        dim_max(N, 5),
        dim_min(N, M),
        dim_max(N - 1, 0) + 2,
        -N * M - 2,
        3 - 2 * N,
        N // 2 // 3,
        (N % 4) * M,
        dim_max(dim_min(N + 3, M), 2) * 4 - (N // 2) * 3,
        N - M * 3 + 7,
    ],
    ids=str,
)
def test_sizes_mean_what_they_are(size: Any) -> None:
    """The text, and the lines before it, evaluated."""
    made, refs = forward((2, N), (M, 3))
    text = made.size(size, refs)
    assert text == made.size(size, refs, tight=True).removeprefix("(").removesuffix(")") or "(" in text
    for n, m in ((7, 11), (13, 5)):
        env: dict[str, Any] = {
            "x0": SimpleNamespace(shape=(2, n)),
            "x1": SimpleNamespace(shape=(m, 3)),
            "torch": SimpleNamespace(sym_max=max, sym_min=min),
        }
        exec(
            "\n".join(
                line.strip() if "(" not in line[-1] else line for line in made.lines if not line.lstrip().startswith("return")
            ),
            env,
        )
        assert eval(text, env) == size.evaluate({"N": n, "M": m})
        assert eval(f"100 - {made.size(size, refs, tight=True)}", env) == 100 - size.evaluate({"N": n, "M": m})


def test_sizes_that_no_operand_has() -> None:
    made, refs = forward((2, N), None)
    assert made.size(7, refs) == "7" and made.size(N, refs) == "x0.shape[1]" and forward((N - 1, 3))[0].size(5, []) == "5"
    for size, near in ((M, refs), (N, refs[1:]), (N, []), (N + M, refs)):
        with pytest.raises(NotExpressible, match=r"the size [NM] is not known here"):
            made.size(size, near)
    whole, own = forward((N * 2 - 1, 3))
    assert whole.size(N * 2 - 1, own) == "x0.shape[0]"


def test_signs_of_sizes() -> None:
    made, refs = forward((2, N), (M, 3))
    a, b = "x0.shape[1]", "x1.shape[0]"
    for size, texts in (
        (N - M, (f"{a} - {b}",)),
        (-N - M, (f"-{a} - {b}", f"-{b} - {a}")),
        (N * 2 - 1, (f"2 * {a} - 1",)),
        (3 - N, (f"3 - {a}",)),
        (N * M, (f"{a} * {b}", f"{b} * {a}")),
    ):
        assert made.size(size, refs) in texts, made.size(size, refs)
    assert (
        made.size(N + 1, refs, tight=True) == f"({a} + 1)"
        and made.size(N // 2, refs, tight=True) == f"({a} // 2)"
        and made.size(N // 2, refs) == f"{a} // 2"
        and made.size(N, refs, tight=True) == a
    )


def test_types_of_what_is_passed() -> None:
    for r, text in (
        (Ref(None, 0, DType.FLOAT32, (2,)), "Tensor"),
        (Ref(None, 0, DType.FLOAT32, None), "int"),
        (state(), "Tensor"),
        (3, "int"),
    ):
        assert annotation(r) == text


# ---- blocks in names
def names(*blocks: str, of: tuple[str, ...] = ("conv", "bn", "relu"), sep: str = "_") -> list[str]:
    return [f"{b}{sep}{k}" for b in blocks for k in of]


def test_prefixes_that_repeat_are_blocks() -> None:
    assert repeated(names("block1", "block2")) == {n: n.rpartition("_")[0] for n in names("block1", "block2")}
    for sep in "_./":
        assert set(repeated(names("b1", "b2", sep=sep)).values()) == {"b1", "b2"}
    assert (
        repeated(names("block1")) == {}
        and repeated(names("block1", "block2", of=("conv", "bn"))) == {}
        and repeated(names("a", "b")) == {}
        and repeated([]) == {}
    )
    different = [*names("b1"), *names("b2", of=("x", "y", "z"))]
    assert repeated(different) == {} and set(repeated([*different, *names("b3"), *names("b4")]).values()) == {
        "b1",
        "b2",
        "b3",
        "b4",
    }
    nested = names(*(f"conv{i}_block{k}" for i in (2, 3) for k in (1, 2)), of=("1_conv", "1_bn", "2_conv", "2_bn"))
    assert set(repeated(nested).values()) == {f"conv{i}_block{k}" for i in (2, 3) for k in (1, 2)}
    assert repeated([*names("b1", "b2"), "top", "b3_conv"]) == {n: n.rpartition("_")[0] for n in names("b1", "b2")}

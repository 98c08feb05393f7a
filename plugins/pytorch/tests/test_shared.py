"""What shares memory with what: torch's own storages say whether a result is a view; strides, orders and steps by hand."""

from __future__ import annotations

from typing import Any

import pytest

from convcore.ir.graph import Origin
from convcore_pytorch.context import AtenNode
from convcore_pytorch.files.program import Constant, TensorValue
from convcore_pytorch.files.symbols import Expr
from convcore_pytorch.memory import Handle, Memory, Step, perhaps, shared_steps
from convcore_pytorch.signatures import signature
from convcore_pytorch.views import is_view, permutation, row_major, whole

torch = pytest.importorskip("torch")
from aten_calls import facts

TENSORS = {
    "whole": torch.arange(30.0).reshape(2, 3, 5),
    "turned": torch.arange(30.0).reshape(5, 3, 2).transpose(0, 2),
    "part": torch.arange(60.0).reshape(2, 6, 5)[:, ::2],
    "ones": torch.arange(5.0).reshape(1, 1, 5),
    "one turned": torch.arange(5.0).reshape(5, 1, 1).transpose(0, 2),
    "wide": torch.ones(1, 3, 1).expand(2, 3, 5),
}
LAST = torch.channels_last
CALLS: dict[str, dict[str, Any]] = {
    "view": {"size": [-1, 5]},
    "reshape": {"shape": [-1, 5]},
    "reshape_as": {"other": torch.ones(6, 5)},
    "flatten.using_ints": {},
    "ravel": {},
    "contiguous": {},
    "expand_as": {"other": torch.ones(2, 3, 5)},
    "to.dtype": {"dtype": torch.float32},
    "to.dtype ": {"dtype": torch.int64},
    "to.dtype  ": {"dtype": torch.float32, "copy": True},
    "type_as": {"other": torch.ones(1)},
    "type_as ": {"other": torch.ones(1).long()},
    "relu": {},
    "alias": {},
    "detach": {},
    "select.int": {"dim": 0, "index": 0},
    "clone": {},
    "transpose.int": {"dim0": 0, "dim1": 2},
    "unsqueeze": {"dim": 0},
    "squeeze": {},
    "permute": {"dims": [2, 0, 1]},
    "cpu": {},
    "dropout": {"p": 0.5, "train": False},
    "dropout ": {"p": 0.5, "train": True},
    "expand": {"size": [2, 3, 5]},
    "resolve_conj": {},
}
SURE = {
    "reshape",
    "reshape_as",
    "flatten.using_ints",
    "ravel",
    "contiguous",
    "expand_as",
    "to.dtype",
    "type_as",
    "cpu",
    "resolve_conj",
}
"""Of a tensor that is all of its memory in order: told, where others may be told or not."""


@pytest.mark.parametrize("kind", CALLS)
def test_results_that_are_views(kind: str) -> None:
    name, arguments = kind.strip(), CALLS[kind]
    op = getattr(getattr(torch.ops.aten, name.partition(".")[0]), name.partition(".")[2] or "default")
    seen = []
    for what, x in TENSORS.items():
        first = "input" if name == "dropout" else "self"
        try:
            y = op(**{first: x, **arguments})
        except RuntimeError:
            continue
        shares = y.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
        target = f"aten.{name if '.' in name else name + '.default'}"
        given = {k: v for k, v in arguments.items() if not isinstance(v, torch.Tensor)}
        said = is_view(AtenNode(target, "n", given, signature(target), Origin("t", "l", name)), facts(x), facts(y))
        assert said is None or said is shares, (what, said)
        assert is_view(AtenNode(target, "n", given, signature(target), Origin("t", "l", name)), None, None) in (None, said)
        seen.append(said)
        if what == "whole" and kind in SURE:
            assert said is True
    if name in ("relu", "clone") or kind in ("to.dtype ", "to.dtype  ", "type_as "):
        assert set(seen) == {False}
    elif (
        name
        in (
            "view",
            "alias",
            "detach",
            "select.int",
            "transpose.int",
            "unsqueeze",
            "squeeze",
            "permute",
            "expand",
            "to.dtype",
            "type_as",
            "cpu",
        )
        or kind == "dropout"
    ):
        assert set(seen) == {True}


def test_views_that_cannot_be_told() -> None:
    def ask(kind: str, before: Any, after: Any, **arguments: Any) -> Any:
        target = f"aten.{kind}"
        return is_view(AtenNode(target, "n", arguments, signature(target), Origin("t", "l", kind)), before, after)

    s = Expr("symbol", ("s",))
    plain = TensorValue("float32", (2, 3), (3, 1))
    for kind in ("meshgrid.default", "einsum.default", "broadcast_tensors.default"):
        assert ask(kind, plain, plain) is None
    assert (
        ask("reshape.default", TensorValue("float32", (2, 3)), plain) is None
        and ask("reshape.default", TensorValue("float32", None, (3, 1)), plain) is None
    )
    assert ask("to.dtype", plain, TensorValue("float32", (2, 3), (3, 1), device="cuda")) is False
    assert (
        ask("contiguous.default", TensorValue("float32", (2, 3)), plain) is None
        and ask("contiguous.default", plain, TensorValue("float32", (2, 3))) is None
    )
    assert ask("contiguous.default", TensorValue("float32", (2, s), (s, 1)), TensorValue("float32", (2, s), (3, 1))) is None
    assert ask("contiguous.default", TensorValue("float32", (2, 3), (1, 2)), plain) is False
    order, keep = Constant("memory_format", "channels_last"), Constant("memory_format", "preserve_format")
    turned = TensorValue("float32", (2, 3), (1, 2))
    assert (
        ask("to.dtype", plain, turned, memory_format=order) is False
        and ask("to.dtype", plain, turned, memory_format=keep) is True
    )
    assert ask("to.dtype", plain, plain, memory_format=order) is True and ask("to.dtype", plain, turned) is True


def test_rows_one_after_another() -> None:
    s = Expr("symbol", ("s",))
    for shape, strides, want in (
        ((2, 3), (3, 1), True),
        ((2, 3), (1, 2), False),
        ((2, 3), (4, 1), False),
        ((2, 3), (3, 2), False),
        ((1, 3), (99, 1), True),
        ((3, 1), (1, 99), True),
        ((), (), True),
        ((s, 3), (3, 1), True),
        ((2, s), (s, 1), False),
        ((s, 3), (4, 1), False),
        ((1, s), (9, 1), False),
        ((s,), (1,), True),
        ((s,), (2,), False),
    ):
        assert row_major(TensorValue("float32", shape, strides)) is want, (shape, strides)
    assert whole([]) and whole(["aten.view.default", "aten.alias.default", "aten.detach", "aten.squeeze.dim"])
    assert not whole(["aten.view.default", "aten.select.int"]) and not whole(["aten.transpose.int"]) and not whole(["odd"])


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("permute", {"dims": [2, 0, -2]}),
        ("t", {}),
        ("numpy_T", {}),
        ("mT", {}),
        ("adjoint", {}),
        ("transpose.int", {"dim0": 0, "dim1": -1}),
        ("swapaxes", {"axis0": 1, "axis1": 2}),
        ("swapdims", {"dim0": -3, "dim1": 1}),
        ("movedim.int", {"source": 0, "destination": 2}),
        ("movedim.int", {"source": -1, "destination": 0}),
        ("movedim.intlist", {"source": [0, 2], "destination": [1, 0]}),
        ("matrix_H", {}),
        ("movedim.intlist", {"source": [2, 0], "destination": [-1, -2]}),
    ],
)
def test_orders_of_axes(kind: str, arguments: dict[str, Any]) -> None:
    x = torch.zeros(2, 3, 5)[0] if kind in ("t", "matrix_H") else torch.zeros(2, 3, 5)
    made = getattr(getattr(torch.ops.aten, kind.partition(".")[0]), kind.partition(".")[2] or "default")(x, **arguments)
    perm = permutation(AtenNode(f"aten.{kind}", "n", arguments, None, Origin("t", "l", kind)), x.ndim)
    assert perm is not None and sorted(perm) == list(range(x.ndim)) and tuple(x.shape[p] for p in perm) == tuple(made.shape)
    assert tuple(x.stride()[p] for p in perm) == made.stride()


def test_orders_that_are_none() -> None:
    """A tensor without axes has one order."""
    for kind in ("transpose.int", "swapaxes", "swapdims", "adjoint", "mT", "matrix_H", "t", "numpy_T"):
        assert permutation(AtenNode(f"aten.{kind}", "n", {}, None, Origin("t", "l", kind)), 0) == []
    for kind, given in (("movedim.int", {"source": 0, "destination": -1}), ("permute", {"dims": []})):
        assert permutation(AtenNode(f"aten.{kind}", "n", given, None, Origin("t", "l", kind)), 0) == []
    assert permutation(AtenNode("aten.relu", "n", {}, None, Origin("t", "l", "relu")), 2) is None


# ---- handles, by values that are numbers
def step(by: int, back: bool = True, sure: bool = True) -> Step:
    return Step(f"add{by}", lambda v: v + by, (lambda old, new: new - by) if back else None, sure)


def test_writes_are_seen_through_every_view() -> None:
    memory: Any = Memory(100, "input", "x")  # type: ignore[arg-type]
    base, one, two = Handle(memory), None, None
    one = base.view(step(1), 101)  # type: ignore[arg-type]
    two = one.view(step(20), 121)  # type: ignore[arg-type]
    assert (base.read(), one.read(), two.read(), memory.version) == (100, 101, 121, 0)
    two.write(500)  # type: ignore[arg-type]
    assert (base.read(), one.read(), two.read(), memory.value, memory.version) == (479, 480, 500, 479, 1)
    base.write(7)  # type: ignore[arg-type]
    assert (base.read(), one.read(), two.read()) == (7, 8, 28)
    shut = base.view(step(3, back=False), 10)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="a write through add3, which the caller must have refused"):
        shut.write(1)  # type: ignore[arg-type]


def test_steps_in_common_and_memories_of_their_own() -> None:
    memory: Any = Memory(100)  # type: ignore[arg-type]
    base = Handle(memory)
    one = base.view(step(1), 101)  # type: ignore[arg-type]
    two, three = one.view(step(20), 121), one.view(step(30), 131)  # type: ignore[arg-type]
    assert [
        shared_steps(list(hs))
        for hs in ((two, three), (two, base), (one, two), (two, two), (two,), (base.view(step(1), 101), two))
    ] == [1, 0, 1, 2, 2, 0]  # type: ignore[arg-type]
    two.detach(1, [three])
    assert two.memory is three.memory is not memory and base.memory is memory and len(two.steps) == len(three.steps) == 1
    two.write(999)  # type: ignore[arg-type]
    assert (base.read(), one.read(), two.read(), three.read()) == (100, 101, 999, 1009)
    assert two in two.memory.handles and two not in memory.handles and one in memory.handles


def test_views_of_one_of_several() -> None:
    alone = perhaps([], "branch", 5)  # type: ignore[arg-type]
    assert alone.read() == 5 and alone.steps == () and alone.also == ()
    a, b, c = (Handle(Memory(n)) for n in (1, 2, 3))  # type: ignore[arg-type]
    made = perhaps([a, b, c, a], "branch", 9)  # type: ignore[arg-type]
    assert made.memory is a.memory and made.also == (b.memory, c.memory) and made in b.memory.strangers and made.read() == 9
    assert [(s.op, s.sure, s.scatter) for s in made.steps] == [("branch", False, None)]
    further = perhaps([b, made], "branch", 9)  # type: ignore[arg-type]
    assert further.memory is b.memory and set(further.also) == {a.memory, c.memory}
    a.write(50)  # type: ignore[arg-type]
    assert made.read() == 9

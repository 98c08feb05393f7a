"""Which axes of example inputs become symbolic, what sizes the examples take, and what is said where code depends on a size."""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace
from typing import Any

import pytest

from convcore.errors import UnsupportedError, UsageError
from convcore.hookspecs import LoadRequest
from convcore.ir.dims import Dim
from convcore_pytorch.axes import PRIMES, Axes, _leaves, _mapped, _range
from convcore_pytorch.files.program import Graph, Input, Program, TensorValue
from convcore_pytorch.files.symbols import Expr

torch = pytest.importorskip("torch")

N, M = Dim("n"), Dim("m")


def axes(shapes: Any = None, options: Any = None, kwargs: Any = None, /, **args: Any) -> Axes:
    given = {k: torch.zeros(v) if type(v) is tuple and all(type(n) is int for n in v) else v for k, v in args.items()}
    named = kwargs or {}
    return Axes(
        torch, [*given, *named], tuple(given.values()), named, LoadRequest("", options=options or {}, input_shapes=shapes or {})
    )


def sizes(made: Axes) -> list[tuple[int, ...]]:
    return [tuple(t.shape) for v in (*made.args, *made.kwargs.values()) for _, t in _leaves("", v, torch)]


def test_first_axes_are_the_batch() -> None:
    made = axes(x=(4, 3), y=(4,))
    assert made.asked == {("x", 0): "batch", ("y", 0): "batch"} and sizes(made) == [(4, 3), (4,)]
    assert axes(x=(4, 3), y=()).asked == {("x", 0): "batch"} and axes({}, {"dynamic_shapes": {}}, x=(4, 3)).asked == {}
    nested = axes(x=[torch.zeros(4, 3), {"k": torch.zeros(4)}], n=7)
    assert nested.asked == {("x_0", 0): "batch", ("x_1_k", 0): "batch"} and nested.args[1] == 7
    kept = axes(None, None, {"y": torch.zeros(4, 2)}, x=(4, 3))
    assert kept.asked == {("x", 0): "batch", ("y", 0): "batch"} and list(kept.kwargs) == ["y"] and len(kept.args) == 1


def test_first_axes_that_differ() -> None:
    """The first input's is the batch; others of another size are fixed."""
    made = axes(x=(4, 3), y=(5, 3), z=(4,))
    assert made.asked == {("x", 0): "batch", ("z", 0): "batch"} and sizes(made) == [(4, 3), (5, 3), (4,)]
    assert axes(s=(), x=(5, 3), y=(4,)).asked == {("x", 0): "batch"}


def test_sizes_of_0_and_1_become_a_prime_that_no_other_axis_has() -> None:
    made = axes(x=(1, 3), y=(1, 7, 5))
    assert sizes(made) == [(11, 3), (11, 7, 5)] and 11 in PRIMES
    assert sizes(axes(x=(0, 2))) == [(3, 2)] and sizes(axes(x=(2, 1))) == [(2, 1)]
    one = axes(x=torch.tensor([[1.0, 2.0]]))
    assert one.args[0].tolist() == [[1.0, 2.0]] * 3 and one.args[0].dtype == torch.float32
    empty = axes(x=torch.zeros(0, 2, dtype=torch.int32))
    assert empty.args[0].dtype == torch.int32 and empty.args[0].tolist() == [[0, 0]] * 3


def test_shapes_that_are_given() -> None:
    made = axes({"x": (N, 3, M), "y": (5, N)}, x=(4, 3, 1), y=(5, 4))
    assert made.asked == {("x", 0): "n", ("x", 2): "m", ("y", 1): "n"} and sizes(made) == [(4, 3, 7), (5, 4)]
    assert axes({"": (4, N)}, x=(4, 3)).asked == {("x", 1): "n"} and axes({"x": (None, N)}, x=(4, 3)).asked == {("x", 1): "n"}
    assert axes({"x": (4, 3)}, x=(4, 3), y=(4, 2)).asked == {("y", 0): "batch"}
    for shapes, args, why in (
        ({"x": (4, 3, 2)}, {"x": (4, 3)}, "input 'x' has 2 axes in the example, the shape given has 3"),
        ({"x": (4, 5)}, {"x": (4, 3)}, "axis 1 of input 'x' is 3 in the example, the shape given has 5"),
        ({"x": (N + 1, 3)}, {"x": (4, 3)}, r"axis 0 of 'x': give a name for a symbolic size, not n ?\+ ?1"),
        ({"z": (4,), "a": (3,)}, {"x": (4, 3), "y": (4,)}, "no input is named 'a', 'z'; the module's inputs are: x, y"),
        ({"": (4,)}, {"x": (4, 3), "y": (4,)}, "no input is named ''; the module's inputs are: x, y"),
        ({"x": (N, 3), "y": (N,)}, {"x": (4, 3), "y": (5,)}, r"the axes named 'n' have sizes \[4, 5\] in the examples"),
    ):
        with pytest.raises(UsageError, match=why):
            axes(shapes, **args)


def program(*inputs: tuple[str, Any], ranges: Any = ()) -> Program:
    values = {n: TensorValue("float32", s) for n, s in inputs}
    return Program(
        "program",
        Graph("", tuple(values), (), (), values),
        [Input("user", n) for n in values] + [Input("parameter", "w", "w")],
        [],
        {},
        {},
        dict(ranges),
    )


def symbol(name: str) -> Expr:
    return Expr("symbol", (name,))


def test_what_became_of_axes_is_told() -> None:
    made = axes({"x": (N, 3, M)}, x=(4, 3, 5), y=(4,))
    assert made.asked == {("x", 0): "n", ("x", 2): "m", ("y", 0): "batch"}
    whole = program(("x", (symbol("s0"), 3, symbol("s1"))), ("y", (symbol("s2"),)))
    assert made.symbols(whole) == {"s0": "n", "s1": "m", "s2": "batch"} and made.report(whole) == []
    assert made.symbols(program(("x", (symbol("s0"), symbol("s9"), Expr("add", (symbol("s0"), 1)))), ("y", (symbol("s0"),)))) == {
        "s0": "n"
    }
    assert made.report(program(("x", (4, 3, symbol("s1"))), ("y", None))) == [
        "axis 0 of input 'x' (n) is fixed to 4: the module's code depends on its size"
    ]
    for bounds, told in (
        ((2, None), ""),
        ((3, None), "from 3 to None"),
        ((None, 2**31), ""),
        ((None, 2**31 - 1), "from None to 2147483647"),
        ((0, 9), "from 0 to 9"),
        ((None, None), ""),
    ):
        said = made.report(program(("x", (symbol("s0"), 3, symbol("s1"))), ranges={"s0": bounds}))
        assert said == ([f"axis 0 of input 'x' (n) is valid {told} only: the module's code depends on its size"] if told else [])


class Exported:
    """What an export computes, in place of torch's."""

    def __init__(self, run: Any) -> None:
        self.run = run

    def module(self, check_guards: bool = True) -> Any:
        assert not check_guards
        return self.run


def fails(x: Any) -> Any:
    raise ValueError("no")


def test_an_export_is_compared_with_the_module() -> None:
    """At the examples, and at a batch of 1 where that is asked for."""
    made, seen = axes(x=(4, 3)), []

    def run(x: Any) -> Any:
        seen.append(tuple(x.shape))
        return x * 2

    assert made.verify(lambda x: x + x, Exported(run)) == [] and seen == [(4, 3), (1, 3)]
    del seen[:]
    assert axes({"x": (N, 3)}, x=(4, 3)).verify(lambda x: x + x, Exported(run)) == [] and seen == [(4, 3)]
    for module, program_, why in (
        (lambda x: x, fails, "makes of it fails: ValueError: no, at the examples: its code depends on the size"),
        (lambda x: x, lambda x: x[1:], r"makes of it gives output of shape \[3, 3\], the module \[4, 3\], at the examples"),
        (lambda x: [x, x + 1], lambda x: [x, x + 1.01], "makes of it gives other values of output_1, at the examples"),
        (lambda x: x, lambda x: x if len(x) > 1 else x + 1, "gives other values of output, at batch 1"),
    ):
        with pytest.raises(UnsupportedError, match=why) as e:
            made.verify(module, Exported(program_))
        assert [p.code for p in e.value.problems] == ["not_exportable"]
    assert made.verify(fails, Exported(run)) == [
        f"the module itself does not run at {w} (ValueError), so the export was not compared there"
        for w in ("the examples", "batch 1")
    ]
    assert made.verify(lambda x: x, Exported(lambda x: x + 5e-5)) == []
    assert made.verify(lambda x: x.add_(1), Exported(lambda x: x.add_(1))) == [] and made.args[0].sum() == 0
    nan = torch.full((3,), float("nan"))
    assert made.verify(lambda x: nan, Exported(lambda x: nan)) == []
    with pytest.raises(UnsupportedError, match=r"the program torch\.export makes of it cannot be run: SyntaxError: odd"):
        made.verify(lambda x: x, SimpleNamespace(module=broken))


def broken(check_guards: bool = True) -> Any:
    raise SyntaxError("odd")


def test_tracing_that_fails_is_told() -> None:
    class Odd(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            raise ValueError("odd   things\nhere")

    with pytest.raises(
        UnsupportedError, match=r"'Odd' \(module\): torch\.export cannot trace it: ValueError: odd things here"
    ) as e:
        axes(x=(4, 3)).export(Odd())
    assert e.value.problems[0].hint.startswith("see the message; fixed sizes help where an axis cannot be symbolic: ")


def test_arguments_keep_their_form() -> None:
    Pair = namedtuple("Pair", "a b")
    x = torch.ones(2)
    made = _mapped("p", Pair(x, {"k": [x, 3]}), lambda name, t: (name, t.sum().item()), torch)
    assert isinstance(made, Pair) and made == Pair(("p_0", 2.0), {"k": [("p_1_k_0", 2.0), 3]})
    assert _mapped("p", (x, 3), lambda name, t: name, torch, other=None) == ("p_0", None)
    assert [_range(t) for t in (torch.tensor([0.5, -0.2]), torch.tensor([-7.0]), torch.zeros(0), torch.tensor([9]))] == [
        1.0,
        7.0,
        1.0,
        1.0,
    ]

"""Sequences of tensors as lists, values that may be absent as None: what runs, what raises, and how it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.build.builder import Builder
from convcore.errors import InputError, UnsupportedError
from convcore.interpreter import Interpreter
from convcore.ir.graph import Graph
from convcore.model import Model
from convcore.ops.sequences import as_optional, as_sequence

from .code_record import with_functions
from .torch_kit import emit_model

torch = pytest.importorskip("torch")
from convcore_pytorch.runtime import open_runtime

A, B, C = np.ones((2, 3), np.float32), np.zeros(5, np.float32), np.arange(7, dtype=np.float32)


def graph(op: str, *inputs: Any, **attrs: Any) -> Graph:
    """One op; an input is (dtype, shape)."""
    g = Graph("net")
    b = Builder(g)
    node = b.node(op, [b.input(f"x{i}", dtype, shape) for i, (dtype, shape) in enumerate(inputs)], attrs)
    g.outputs = list(node.outputs)
    return g


def run(g: Graph, *feeds: Any) -> tuple[Any, Any]:
    """What the module gives and what the interpreter gives, each an error where it fails."""
    runtime = open_runtime(with_functions(emit_model(g).model()))
    assert runtime is not None
    found = []
    for function in (runtime.run, Interpreter(g).run):
        try:
            found.append(function(list(feeds))[0])
        except InputError as e:
            found.append(e)
    return found[0], found[1]


def alike(a: Any, b: Any) -> bool:
    if isinstance(a, InputError) or isinstance(b, InputError):
        return isinstance(a, InputError) and isinstance(b, InputError)
    if b.dtype == object and b.ndim:
        return len(a) == len(b) and all(map(alike, a, b))
    return bool(a.dtype == b.dtype and np.array_equal(a, b))


SEQ, AT = ("sequence_float32", None), ("int64", ())


@pytest.mark.parametrize("at", [-4, -3, -2, -1, 0, 1, 2, 3])
def test_positions_as_the_interpreter_has_them(at: int) -> None:
    """Those outside raise in both."""
    s, n = as_sequence([A, B]), np.asarray(at)
    for op, inputs, feeds in (
        ("sequence_at", (SEQ, AT), (s, n)),
        ("sequence_erase", (SEQ, AT), (s, n)),
        ("sequence_insert", (SEQ, ("float32", (7,)), AT), (s, C, n)),
    ):
        got, want = run(graph(op, *inputs), *feeds)
        assert alike(got, want), (op, got, want)
        assert isinstance(want, InputError) == (not -2 <= at < 2 + (op == "sequence_insert")), op


def test_what_raises() -> None:
    for op in ("sequence_erase", "sequence_concat"):
        got, want = run(graph(op, SEQ, **({"axis": 0} if "concat" in op else {})), as_sequence([]))
        assert alike(got, want) and isinstance(want, InputError), op
    for g, feeds in (
        (graph("optional_get_element", ("optional_float32", None)), (as_optional(None),)),
        (graph("split_to_sequence", ("float32", (5,)), ("int64", (2,))), (B, np.asarray([2, 2]))),
    ):
        got, want = run(g, *feeds)
        assert alike(got, want) and isinstance(want, InputError)


def absent() -> Graph:
    """A value that may be absent: itself doubled where it is there, else zeros."""
    g = Graph("net")
    b = Builder(g)
    o, x = b.input("o", "optional_float32", None), b.input("x", "float32", (5,))
    then, other = Graph("then"), Graph("other")
    bt = Builder(then)
    inner = bt.input("o", "optional_float32", None)
    bt.input("x", "float32", (5,))
    held = bt.optional_get_element(inner)
    then.outputs = [bt.add(held, held)]
    bo = Builder(other)
    bo.input("o", "optional_float32", None)
    other.outputs = [bo.sub(bo.input("x", "float32", (5,)), bo.const(np.ones(5, np.float32)))]
    node = b.node("if", [b.optional_has_element(o), o, x], {}, regions=(then, other))
    g.outputs = list(node.outputs)
    return g


def test_what_may_be_absent(tmp_path: Path) -> None:
    g = absent()
    assert all(alike(*run(absent(), o, B)) for o in (as_optional(None), as_optional(B + 3)))
    made = emit_model(g, tmp_path / "net.py")
    text = (tmp_path / "net.py").read_text()
    assert "def forward(self, o: Tensor | None, x: Tensor)" in text and made.paths
    assert open_runtime(tmp_path / "net.py") is not None


def test_how_lists_read(tmp_path: Path) -> None:
    g = Graph("net")
    b = Builder(g)
    s, x = b.input("s", "sequence_float32", None), b.input("x", "float32", (5,))
    g.outputs = [b.sequence_insert(s, x), b.sequence_length(s), b.sequence_construct(x, x)]
    made = emit_model(g, tmp_path / "net.py")
    text = (tmp_path / "net.py").read_text()
    assert "self, s: Sequence[Tensor], x: Tensor" in text and "tuple[Sequence[Tensor], Tensor, Sequence[Tensor]]" in text
    assert "[*s, x]" in text and "length(s)" in text and "[x, x]" in text
    runtime = made.runtime()
    assert runtime is not None
    got = runtime.run([as_sequence([A, B]), B + 1])
    want = Interpreter(g).run([as_sequence([A, B]), B + 1])
    assert all(map(alike, got, want))


def test_text_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="string_concat"):
        emit_model(graph("string_concat", ("string", (2,)), ("string", (2,))))


def test_results_that_are_sequences_are_checked(tmp_path: Path) -> None:
    """The check of a conversion compares their tensors, and what may be absent."""
    g = Graph("net")
    b = Builder(g)
    x = b.input("x", "float32", (7, 3))
    parts = b.split_to_sequence(x, b.const(np.int64(3)))
    g.outputs = [parts, b.optional(b.sequence_length(parts)), b.relu(x)]
    made = convcore.convert(Model(g), "pytorch", tmp_path / "net.py")
    found = made.report.differences
    assert made.report.ok and [d.shape for d in found[:3]] == [(3,), (1,), (7, 3)] and all(d.ok for d in found)

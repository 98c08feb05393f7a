"""Whole files of small graphs of other sources, a construct of the printer each, to the letter (``code_record.py``): torch
computes what the interpreter computes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.hookspecs import EmitRequest
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim, dim_max
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Origin
from convcore.ops.sequences import as_sequence
from convcore.testing.samples import same
from convcore_pytorch.emit import emit
from convcore_pytorch.runtime import open_runtime

from .code_record import check, held, with_functions, without_functions

FLOAT, BOOL, INT = DType.FLOAT32, DType.BOOL, DType.INT64
N, M = Dim("N"), Dim("M")


def graph(name: str = "net", **metadata: Any) -> tuple[Graph, Builder]:
    g = Graph(name)
    g.metadata.update(metadata)
    return g, Builder(g, origin=Origin("test", name, name))


def weight(b: Builder, name: str, *shape: int, trainable: bool = True, dtype: str = "float32") -> Any:
    numbers = np.random.default_rng(len(name)).normal(size=shape) * 3
    return b.weight(numbers.astype(DType(dtype).numpy), name, trainable=trainable, role="parameter")


def region(name: str, make: Any, *inputs: tuple[str, DType, Any]) -> Graph:
    r = Graph(name)
    inner = Builder(r, origin=Origin("test", name, name))
    r.outputs = list(make(inner, *(inner.input(*i) for i in inputs)))
    return r


def layers(names: list[str]) -> Graph:
    g, b = graph("my_net-2")
    x = b.input("x", FLOAT, (N, 3))
    for i, name in enumerate(names):
        with b.at(Origin("test", name, "Dense"), g.scope(name, "Dense")):
            x = b.op("linear", x, weight(b, f"w{i}", 3, 3), None)
    g.outputs = [x]
    return g


def inputs_of(names: list[str]) -> Graph:
    g, b = graph("Inputs")
    x, *rest = (b.input(n, FLOAT, (N, 3)) for n in names)
    for v in rest:
        x = b.sub(b.op("exp", x), v)
    g.outputs = [x]
    return g


def blocks(names: list[str], widths: list[int]) -> Graph:
    g, b = graph("Blocks")
    x = b.input("x", FLOAT, (N, 5))
    for prefix, n in zip(names, widths):
        y = x
        for part, (into, out) in {"up": (5, n), "mid": (n, n), "down": (n, 5)}.items():
            name = f"{prefix}_{part}"
            with b.at(Origin("test", name, "Dense"), g.scope(name, "Dense")):
                y = b.op("linear", y, weight(b, f"{name}/w", out, into), None)
        with b.at(Origin("test", f"{prefix}_add", "Add"), g.scope(f"{prefix}_add", "Add")):
            x = b.add(x, y)
    g.outputs = [x]
    return g


def branches() -> Graph:
    g, b = graph("Branches")
    x, c = b.input("x", FLOAT, (N, 3)), b.input("test", BOOL, ())
    w = weight(b, "w", 3, 3)
    y = b.op("sin", x)

    def then(inner: Builder, v: Any, k: Any) -> Any:
        return inner.matmul(v, k), inner.neg(v)

    def other(inner: Builder, v: Any, k: Any) -> Any:
        return v, inner.add(inner.exp(v), inner.exp(inner.neg(v)))

    given = ("v", FLOAT, (N, 3)), ("k", FLOAT, (3, 3))
    p, q = b.op("if", c, y, w, regions=[region("then", then, *given), region("other", other, *given)], n_outputs=2)
    g.outputs = [b.add(p, y), q]
    return g


def sized_branch() -> Graph:
    g, b = graph("SizedBranch")
    x = b.input("x", FLOAT, (3, N))
    size = b.gather(b.shape_of(x), b.const([-1], "int64"), axis=0)
    test = b.op("not", b.reshape(b.equal(b.const([1], "int64"), size), shape=()))
    made = [region(n, lambda inner, v, n=n: [inner.op(n, v)], ("v", FLOAT, (3, N))) for n in ("neg", "exp")]
    g.outputs = list(b.op("if", test, x, regions=made))
    return g


def loops(counted: bool) -> Graph:
    g, b = graph("Loops")
    x, go = b.input("x", FLOAT, (N, 3)), b.input("go", BOOL, ())
    n = b.const(4, "int64") if counted else None
    w = weight(b, "w", 3)

    def body(inner: Builder, i: Any, more: Any, h: Any, k: Any) -> Any:
        rows = [inner.op("cos", h)] if counted else []
        small = inner.less(inner.min(h), inner.const(9.0, "float32"))
        return [
            inner.identity(more) if counted else small,
            inner.add(inner.op("sin", h), inner.add(inner.abs(k), inner.add(h, inner.const(2.0, "float32")))),
            *rows,
        ]

    made = region("body", body, ("i", INT, ()), ("more", BOOL, ()), ("h", FLOAT, (N, 3)), ("k", FLOAT, (3,)))
    out = b.op("loop", n, go, x, w, regions=[made], n_states=1)
    g.outputs = list(out) if isinstance(out, tuple) else [out]
    return g


def scans(**attrs: Any) -> Graph:
    g, b = graph("Scans")
    h, xs = b.input("h", FLOAT, (3,)), b.input("xs", FLOAT, (5, 3) if not attrs.get("scan_axis") else (3, 5))
    made = region("step", lambda inner, h, x: (inner.add(h, x), inner.mul(h, x)), ("h", FLOAT, (3,)), ("x", FLOAT, (3,)))
    g.outputs = list(b.op("scan", h, xs, regions=[made], n_states=1, n_scanned=1, **attrs))
    return g


def sized() -> Graph:
    """Sizes that are sums, products, quotients, remainders, and the larger of two."""
    g, b = graph("Sized")
    x = b.input("x", FLOAT, (N, M))
    shapes: list[Any] = [N * 2 + 1, N - M + 7, (N + 1) // 2 * M, N % 3 + M, (N + 3) % M, dim_max(N, M * 2), N * M * 3, N * N - 1]
    g.outputs = [b.add(b.fill(shape=(d,), value=1.5, dtype="float32"), b.max(x)) for d in shapes]
    return g


def sized_beside() -> Graph:
    """The same beside an operand that says them."""
    g, b = graph("SizedBeside")
    x = b.input("x", FLOAT, (N, M))
    amounts: list[Any] = [M // 2, N % 3, dim_max(N, M) - N, N * 2 - 1, (N + M) // 3 * N, dim_max(N * 3 + 1, M + N * 2) - M, 7 - N]
    y = x
    for before, after in zip(amounts, [*amounts[1:], 1]):
        y = b.max(b.pad(x, pads=((before, 0), (0, after)), value=-9.0), axes=(0,), keepdims=True)
        x = b.add(x, b.slice(y, starts=(0, 0), stops=(None, M), steps=(1, 1)))
    g.outputs = [x, y]
    return g


def clipped_casts() -> Graph:
    """What is clipped to a type's limits fits into it; what may be outside keeps its low bits."""
    g, b = graph("Clipped")
    x = b.input("x", FLOAT, (N, 3))
    near = {"int4": ((-8, 7), (-7.5, 6), (-9, 7), (-8, 8)), "uint4": ((0, 15), (-1, 15), (0, 16), (None, 15), (0, None))}
    g.outputs = [b.cast(b.clip(x, min=a, max=z), to=to) for to, limits in near.items() for a, z in limits]
    return g


def best() -> Graph:
    """The largest alone, without their places."""
    g, b = graph("Best")
    x = b.input("x", FLOAT, (N, 7))
    g.outputs = [b.topk(x, k=3)[0], b.topk(x, k=2, axis=0, largest=False)[0]]
    return g


def unpooled() -> Graph:
    g, b = graph("Unpooled")
    x = b.input("x", FLOAT, (2, 3, 7, 11))
    y, at = b.max_pool_with_indices(x, kernel=(2, 3), index_order="plane")
    g.outputs = [b.max_unpool(b.op("exp", y), at, kernel=(2, 3), strides=(2, 3), output_shape=(7, 11), index_order="plane")]
    return g


def held_types() -> Graph:
    g, b = graph("Held")
    x = b.input("x", DType("int4"), (N, 3))
    q = b.cast(b.mul(b.cast(x, to="float32"), b.cast(weight(b, "w", 3, dtype="bfloat16"), to="float32")), to="int4")
    u = b.cast(b.add(b.cast(x, to="int32"), b.const([1, 2, 3], "int32")), to="uint16")
    g.outputs = [q, u]
    return g


def sequences() -> Graph:
    g, b = graph("Sequences")
    x, s = b.input("x", FLOAT, (5, 3)), b.input("s", "sequence_float32", None)
    parts = b.split_to_sequence(x, b.const(np.int64(2)))
    g.outputs = [b.sequence_insert(s, x), parts, b.sequence_length(parts), b.optional(b.relu(x))]
    return g


def told() -> Graph:
    labels = [f'class "{i}"' for i in range(7)]
    steps = {"x": {"scale": 0.5, "mean": [1.0, 2.5, -3], "order": "RGB", "none": None, "empty": {}, "list": [], "on": True}}
    g, b = graph("Told", framework="test", version="1.5", labels=labels, preprocessing=steps, license="MIT")
    x = b.input('a name with \\ and \n and """', FLOAT, (N, 3, 5, 7))
    g.outputs = [b.relu(x)]
    return g


def long_lines(n: int) -> Graph:
    g, b = graph("LongLines")
    x = b.input("x" * 60, FLOAT, tuple(Dim(f"a_size_of_a_long_name_{i}") for i in range(3)))
    y = b.transpose(b.op("exp", x), perm=(2, 0, 1))
    g.outputs = [b.concat(*[y] * 9, axis=1), *[b.op("sin", y) for _ in range(n)]]
    return g


def frozen_stats() -> Graph:
    g, b = graph("FrozenStats")
    x = b.input("x", FLOAT, (N, 3))
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    with b.at(Origin("test", "bn", "BN"), g.scope("bn", "BN")):
        affine = [b.weight(ones, "scale", trainable=True, role="parameter"), b.weight(zeros, "bias", role="parameter")]
        stats = [b.weight(a, n, role="buffer") for a, n in ((zeros, "mean"), (ones, "var"))]
        y = b.op("batch_norm", x, *affine, *stats, epsilon=1e-3, momentum=0.75)
    with b.at(Origin("test", "class", "Dense"), g.scope("class", "Dense")):
        y = b.op("linear", y, weight(b, "w", 5, 3, trainable=False), weight(b, "b", 5))
    g.outputs = [y]
    return g


GRAPHS: dict[str, tuple[Any, list[Any]]] = {
    "names": (lambda: layers(["class", "0", "10", "forward", "a/b", "training", "x", "Größe", "l", "__init__", "_x"]), [(2, 3)]),
    "one layer": (lambda: layers(["encoder/layer.0/dense"]), [(2, 3)]),
    "inputs": (lambda: inputs_of(["self", "F", "max", "class", "x", "l", "0", "load", "nn", "a b"]), [(2, 3)] * 10),
    "blocks": (lambda: blocks(["block1", "block2", "block3"], [7, 11, 7]), [(2, 5)]),
    "blocks in stages": (lambda: blocks(["s1_block1", "s1_block2", "s2_block1", "s2_block2"], [7, 7, 11, 11]), [(2, 5)]),
    "branches": (branches, [(2, 3), np.array(True)]),
    "branches, other": (branches, [(2, 3), np.array(False)]),
    "sized branch": (sized_branch, [(3, 5)]),
    "loop, counted": (lambda: loops(True), [(2, 3), np.array(True)]),
    "loop, open": (lambda: loops(False), [(2, 3), np.array(True)]),
    "scan": (scans, [(3,), (5, 3)]),
    "scan, turned": (lambda: scans(scan_axis=(1,), reverse=(1,), out_axes=(1,), out_reverse=(1,)), [(3,), (3, 5)]),
    "scan, from the end": (lambda: scans(out_reverse=(1,)), [(3,), (5, 3)]),
    "scan, moved": (lambda: scans(out_axes=(1,)), [(3,), (5, 3)]),
    "sizes": (sized, [(2, 5)]),
    "sizes beside": (sized_beside, [(2, 5)]),
    "clipped": (clipped_casts, [np.array([[-20.5, 0.0, 3.7], [7.9, 15.2, -8.1]], np.float32)]),
    "best": (best, [(2, 7)]),
    "unpooled": (unpooled, [(2, 3, 7, 11)]),
    "held types": (held_types, [np.array([[1, -3, 2], [7, -8, 0]], DType("int4").numpy)]),
    "sequences": (sequences, [(5, 3), None]),
    "told": (told, [(2, 3, 5, 7)]),
    "long lines": (lambda: long_lines(9), [(2, 3, 5)]),
    "longer lines": (lambda: long_lines(12), [(2, 3, 5)]),
    "frozen statistics": (frozen_stats, [(2, 3)]),
}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.filterwarnings("ignore")
def test_graphs_are_written_to_the_letter(name: str, tmp_path: Path) -> None:
    make, given = GRAPHS[name]
    g, rng = make(), np.random.default_rng(5)
    feeds = [rng.normal(size=s).astype(np.float32) if isinstance(s, tuple) else s for s in given]
    feeds = [as_sequence([np.ones(3, np.float32)]) if f is None else f for f in feeds]
    want = Interpreter(g).run(feeds)
    moved = {v.name: (0, 3, 1, 2) for v in (*g.inputs, *g.outputs)} if name == "told" else {}
    made = emit(EmitRequest(g, tmp_path / "net.py", moved=moved))
    text = (tmp_path / "net.py").read_text("utf-8")
    check("graphs", {name: without_functions(text)})
    got = open_runtime(with_functions(made.model()), None, (), [v.dtype for v in g.outputs]).run(feeds)
    for a, b in zip(got, want, strict=True):
        assert not (why := same(a, np.asarray(b), 1e-4, 1e-5)), why


def test_they_are_formatted(tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    for of in ("graphs", "modules"):
        for name, text in held(of).items():
            (tmp_path / f"{of}_{re.sub(r'[^a-z]', '_', name)}.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--diff", tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr

"""What Keras holds no tensors of, and how deep it can follow: refused by name, and what is written instead of it is right."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import InputError, ShapeError, UnsupportedError
from convcore.hookspecs import EmitRequest, Emitted
from convcore.host import host
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Origin
from convcore.layout import assign
from convcore.opset import all_ops
from convcore_keras.emit import emit
from convcore_keras.layout import CHANNELS_LAST as CONVENTION

keras = pytest.importorskip("keras")


def written(g: Graph, out: Path) -> Emitted:
    assign(g, CONVENTION, io="source")
    return emit(EmitRequest(g, out, {}, {}, host().rules("keras")))


def run(g: Graph, feeds: list[Any], folder: Path) -> list[Any]:
    """What the file gives in Keras."""
    made = written(g, folder / "m.keras")
    runtime = made.runtime() if made.runtime is not None else None
    assert runtime is not None
    return [np.asarray(a) for a in runtime.run(feeds)]


def graph(*layer: str) -> tuple[Graph, Builder]:
    g = Graph("g")
    return g, Builder(g, origin=Origin("test", *(layer or ("there", "There"))))


def whys(g: Graph, tmp_path: Path) -> str:
    with pytest.raises(UnsupportedError) as e:
        written(g, tmp_path / "no.keras")
    assert all(p.layer and p.why for p in e.value.problems) and not list(tmp_path.iterdir())
    return "; ".join(f"{p.layer}: {p.why}" for p in e.value.problems)


# ---- element types
@pytest.mark.parametrize("kind", ["uint16", "uint32", "uint64"])
@pytest.mark.parametrize(
    "op", ["bitwise_not", "bitwise_and", "reshape", "transpose", "cast", "concat", "where", "gather", "pad", "split", "identity"]
)
def test_results_of_types_that_become_signed_are_refused(op: str, kind: str, tmp_path: Path) -> None:
    """The torch backend holds uint16 as int32, and uint32 as int64: whatever an op does with them."""
    g, b = graph()
    x = b.input("x", "float32" if op == "cast" else kind, (2, 3, 5))
    makers: dict[str, Any] = {
        "bitwise_not": lambda: b.op("bitwise_not", x),
        "bitwise_and": lambda: b.op("bitwise_and", x, x),
        "reshape": lambda: b.reshape(x, shape=(2, 15)),
        "transpose": lambda: b.transpose(x, perm=(2, 0, 1)),
        "cast": lambda: b.cast(x, to=kind),
        "concat": lambda: b.op("concat", x, x, axis=1),
        "where": lambda: b.op("where", b.op("equal", x, x), x, x),
        "gather": lambda: b.op("gather", x, b.const(np.array([2, 0])), axis=1),
        "pad": lambda: b.op("pad", x, pads=((0, 0), (1, 0), (0, 1))),
        "split": lambda: list(b.op("split", x, axis=2, sizes=(2, 3))),
        "identity": lambda: x,
    }
    y = makers[op]()
    g.outputs = y if isinstance(y, list) else [y]
    assert kind in whys(g, tmp_path)


@pytest.mark.parametrize("kind", ["uint16", "uint32"])
def test_unsigned_integers_are_right_or_refused(kind: str, tmp_path: Path) -> None:
    """Every op's first sample, of such numbers: what is written (comparisons) gives the same, in value and type."""
    wrong: list[str] = []
    right: set[str] = set()
    for name, decl in all_ops().items():
        for sample in decl.samples[:1] if not decl.regions else ():
            arrays = [
                a if a is None or a.dtype != np.float32 else np.nan_to_num(np.abs(a * 3), posinf=7).astype(kind)
                for a in sample.arrays()
            ]
            fed = [a for a in arrays if a is not None]
            if not any(str(a.dtype) == kind for a in fed):
                continue
            g, b = graph(name, name)
            try:
                values = [None if a is None else b.input(f"in{i}", DType.of(a.dtype), a.shape) for i, a in enumerate(arrays)]
                out = b.op(name, *values, **sample.attrs)
                g.outputs = list(out) if isinstance(out, tuple) else [out]
                want = Interpreter(g).run(fed)
            except (ShapeError, InputError):
                continue
            try:
                got = run(g, fed, tmp_path)
            except UnsupportedError:
                continue
            right.add(name)
            for v, a, c in zip(g.outputs, got, want, strict=True):
                if a.dtype != c.dtype or a.shape != c.shape or not np.allclose(a.astype(float), c.astype(float), rtol=1e-4):
                    wrong.append(f"{name} {v.name}: {a.dtype}{a.shape}, not {c.dtype}{c.shape}, or other numbers")
    assert not wrong, "\n".join(wrong)
    assert {"equal", "less", "greater_equal"} <= right


# ---- depth
def chain(n: int) -> tuple[Graph, Any]:
    g, b = graph("last", "Chain")
    x = b.input("x", "float32", (2, 3))
    y = x
    for _ in range(n // 2):
        y = b.op("tanh", b.op("sin", y))
    g.outputs = [y]
    return g, np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)


def test_models_too_deep_for_keras_are_refused_unless_python_may_recurse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.getrecursionlimit()
    monkeypatch.setattr(sys, "getrecursionlimit", lambda: 1000)
    g, x = chain(1000)
    why = whys(g, tmp_path)
    assert why.startswith("last: 1001 calls") and "recurses" in why and "1000 frames" in why
    monkeypatch.undo()
    try:
        sys.setrecursionlimit(before + 1200)
        np.testing.assert_allclose(run(g, [x], tmp_path)[0], Interpreter(g).run([x])[0], atol=1e-6)
    finally:
        sys.setrecursionlimit(before)


def test_models_not_too_deep_are_built(tmp_path: Path) -> None:
    g, x = chain(800)
    np.testing.assert_allclose(run(g, [x], tmp_path)[0], Interpreter(g).run([x])[0], atol=1e-6)


# ---- windows with holes
@pytest.mark.parametrize(
    "kernel, strides, dilations", [((7, 11), (2, 3), (3, 2)), ((1, 2), (1, 1), (5, 7)), ((13, 3), (5, 1), (1, 4))]
)
@pytest.mark.parametrize("op", ["max_pool", "avg_pool"])
def test_dilated_windows_take_as_many_calls_as_a_kernel_has_digits(
    op: str, kernel: Any, strides: Any, dilations: Any, tmp_path: Path
) -> None:
    """Judged by torch; the mean by the taps themselves."""
    import torch

    g, b = graph()
    x = b.input("x", "float32", ("n", Dim("h"), 37, 3))
    more = {"pads": ((0, 0), (0, 0)), "layout": "channels_last"}
    g.outputs = [b.op(op, x, kernel=kernel, strides=strides, dilations=dilations, **more)]
    a = np.random.default_rng(5).standard_normal((2, 31, 37, 3)).astype(np.float32)
    t = torch.tensor(a).permute(0, 3, 1, 2)
    if op == "max_pool":
        want = torch.nn.functional.max_pool2d(t, kernel, strides, 0, dilations)
    else:
        weight = torch.full((3, 1, *kernel), 1 / np.prod(kernel), dtype=torch.float32)
        want = torch.nn.functional.conv2d(t, weight, None, strides, 0, dilations, groups=3)
    got = run(g, [a], tmp_path)[0]
    np.testing.assert_allclose(got, want.permute(0, 2, 3, 1).numpy(), atol=1e-5)
    made = keras.models.load_model(tmp_path / "m.keras")
    joins = [x for x in made.layers + made.operations if type(x).__name__ in ("Maximum", "Add")]
    assert len({id(x) for x in joins}) <= 2 * sum(k.bit_length() - 1 for k in kernel)


# ---- complex numbers
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("inverse", [False, True])
def test_transforms_between_real_tensors_are_pairs(kind: str, axis: int, inverse: bool, tmp_path: Path) -> None:
    """Judged by numpy: of real numbers, of pairs that are broadcast, and of what a transform gave."""
    g, b = graph()
    x, im = b.input("x", kind, (2, 3, 5)), b.input("im", kind, (3, 1))
    one = b.op("dft", x, axis=axis, inverse=inverse)
    two = b.op("dft", b.op("complex", x, im), axis=axis, inverse=inverse)
    three = b.op("dft", two, axis=(axis + 1) % 3, inverse=not inverse)
    whole = b.op("complex", im, x)
    g.outputs = [b.op(part, z) for z in (one, two, three, whole) for part in ("real", "imag")]
    rng = np.random.default_rng(11)
    a, c = rng.standard_normal((2, 3, 5)).astype(kind), rng.standard_normal((3, 1)).astype(kind)

    def f(z: Any, axis: int, inverse: bool) -> Any:
        return np.fft.ifft(z, axis=axis) * z.shape[axis] if inverse else np.fft.fft(z, axis=axis)

    second = f(a + 1j * c, axis, inverse)
    want = [f(a, axis, inverse), second, f(second, (axis + 1) % 3, not inverse), c + 1j * a]
    got = run(g, [a, c], tmp_path)
    assert {str(y.dtype) for y in got} == {kind} and len(got) == 8
    for z, re, i in zip(want, got[::2], got[1::2], strict=True):
        np.testing.assert_allclose(re + 1j * i, z, atol=1e-4 if kind == "float32" else 1e-12)


def test_complex_tensors_are_refused_by_name(tmp_path: Path) -> None:
    def build(what: str) -> Graph:
        g, b = graph()
        if what == "input":
            g.outputs = [b.op("real", b.input("z", "complex64", (2, 3)))]
            return g
        x = b.input("x", "float32", (2, "n") if what == "size" else (2, 3))
        z = b.op("dft", x) if what != "output" else b.op("complex", x, x)
        if what == "moved":
            z = b.reshape(z, shape=(3, 2))
        g.outputs = [z if what == "output" else b.op("imag", z)]
        return g

    assert "z: Keras computes with complex numbers as pairs of tensors, here is one of complex64" in whys(
        build("input"), tmp_path
    )
    assert "Keras computes with complex numbers as pairs of tensors, here is one of complex64" in whys(build("output"), tmp_path)
    assert "op reshape" in (why := whys(build("moved"), tmp_path)) and "is complex64" in why
    assert "there: op dft: Keras transforms along axes of known size" in whys(build("size"), tmp_path)


def test_what_rounding_decides_is_disputed() -> None:
    """A case of the standard whose outputs single precision does not give: neither right nor wrong of what is written."""
    onnx = pytest.importorskip("onnx")
    from convcore.testing import standard

    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[3] x) => (float[3] y) {
      one = Constant <value_float = 1.0> ()
      more = Add (x, one)
      y = Sub (more, x)
    }"""
    x = np.full(3, 1e8, np.float32)
    for want, what in ((1.0, "disputed"), (0.0, "right"), (2.0, "wrong")):
        case = standard.Case("test_rounding", onnx.parser.parse_model(text), [([x], [np.full(3, want, np.float32)])])
        (outcome,) = standard.run_cases("keras", [case]).outcomes
        assert outcome.what == what, outcome


# ---- parts of an axis of unknown size
@pytest.mark.parametrize("axis", [0, 1])
def test_a_part_of_an_axis_of_unknown_size_is_squeezed(axis: int, tmp_path: Path) -> None:
    """Keras does not know that one step of them is one, and does not squeeze what it does not know."""
    g, b = graph()
    x = b.input("x", "float32", (Dim("N"), Dim("T"), 3))
    y = b.neg(b.op("slice", x, starts=(0, 0, 0), stops=tuple(1 if i == axis else None for i in range(3)), steps=(1, 1, 1)))
    g.outputs = [b.squeeze(y, axes=(axis,)), b.squeeze(b.sum(x, axes=(axis,), keepdims=True), axes=(axis,))]
    given = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    got = run(g, [given], tmp_path)
    assert np.array_equal(got[0], -given.take(0, axis)) and np.abs(got[1] - given.sum(axis)).max() < 1e-5
    kinds = {type(n).__name__ for n in keras.models.load_model(tmp_path / "m.keras").operations}
    assert {"GetItem", "Squeeze"} <= kinds  # the sum's axis is one


# ---- recurrent layers
@pytest.mark.parametrize("masked, given", [("mask", True), ("lengths", True), ("mask", False), ("", True)])
def test_joined_last_states_where_every_step_is_masked(masked: str, given: bool, tmp_path: Path) -> None:
    """Keras's last output is then zero, the final state the initial one: only where it may be neither, they are the same."""
    g, b = graph()
    rng = np.random.default_rng(3)
    x = b.input("x", "float32", (3, 5, 7))
    w, r = (b.const(rng.standard_normal((2, 2, n)).astype(np.float32)) for n in (7, 2))
    h0 = b.input("h", "float32", (2, 3, 2)) if given else None
    steps = np.array([0, 2, 5])
    mask = b.input("mask", "bool", (3, 5)) if masked == "mask" else None
    lengths = b.input("lengths", "int32", (3,)) if masked == "lengths" else None
    _, h = b.op("rnn", x, w, r, None, h0, mask, lengths, hidden=2, direction="bidirectional", layout="batch_major")
    g.outputs = [b.reshape(b.transpose(h, perm=(1, 0, 2)), shape=(3, 4))]
    feeds = {"h": rng.standard_normal((2, 3, 2)), "mask": np.arange(5) < steps[:, None], "lengths": steps.astype(np.int32)}
    told = [rng.standard_normal((3, 5, 7)).astype(np.float32), *(feeds[v.name] for v in g.inputs[1:])]
    told = [a.astype(np.float32) if a.dtype == np.float64 else a for a in told]
    (want,) = Interpreter(g).run(told)
    (got,) = run(g, told, tmp_path)
    assert np.abs(got - want).max() < 1e-5 and (np.abs(want[0]).max() > 0) == (given or not masked)
    (layer,) = [n for n in keras.models.load_model(tmp_path / "m.keras").layers if isinstance(n, keras.layers.Bidirectional)]
    assert layer.return_state == bool(masked and given)

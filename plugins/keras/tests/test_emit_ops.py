"""Every op's own samples written for Keras: loaded by ``load_model`` and computed the same, or refused by name; never wrong."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.build.builder import Builder
from convcore.errors import InputError, ShapeError, UnsupportedError
from convcore.hookspecs import EmitRequest
from convcore.host import host
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Origin
from convcore.layout import assign
from convcore.opset import all_ops
from convcore.testing.samples import sample_graph
from convcore_keras.emit import emit
from convcore_keras.layout import CHANNELS_LAST as CONVENTION

keras = pytest.importorskip("keras")

#: Ops none of whose samples Keras can be made to compute; every other op with samples is written for at least one.
REFUSED = {
    "bessel", "compress", "detection_output", "digamma", "dynamic_expand", "dynamic_fill", "dynamic_reshape", "dynamic_slice",
    "erfcx", "erfinv", "lgamma", "log_ndtr", "nms", "nonzero", "orthogonal_polynomial", "psroi_pool", "range", "roi_pool",
    "unique", "zeta", "bitcast", "det", "mel_weight_matrix",
    # each alone takes or gives complex tensors; what leads from real ones to real ones is written (test_emit_limits)
    "complex", "dft", "imag", "real",
    # arguments that only running tells and whose result has no known shape (test_emit_late: those that have one), regions and
    # patches, values that are no tensors, strings
    *(n for n, d in all_ops().items() if d.family in ("dynamic", "sampling", "sequences", "text")),
} - {
    "col2im",
    # the result has a known shape: of no axes, or whatever the data is
    *(f"dynamic_{n}" for n in ("sum", "mean", "max", "min", "prod", "all", "any", "l1_norm", "l2_norm", "log_sum", "logsumexp",
                               "sum_square", "cumsum", "cumprod", "trilu")),
}  # fmt: skip


def same(got: Any, want: Any) -> str:
    """Why two arrays differ; "" if they do not."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{got.dtype}{got.shape} instead of {want.dtype}{want.shape}"
    a, b = got.astype(np.float64), want.astype(np.float64)
    return "" if np.allclose(a, b, rtol=1e-4, atol=1e-4, equal_nan=True) else f"differs by {np.nanmax(np.abs(a - b))}"


@pytest.mark.parametrize("family", sorted({d.family for d in all_ops().values() if d.samples and not d.regions}))
def test_samples_are_written_right_or_refused(family: str, tmp_path: Path) -> None:
    wrong: list[str] = []
    written: set[str] = set()
    tried: set[str] = set()
    for name, decl in all_ops().items():
        if decl.family != family or decl.regions:
            continue
        for i, sample in enumerate(decl.samples):
            for batch in (False, True):
                g, feeds = sample_graph(all_ops()[name], sample, batch)
                if not feeds:
                    continue
                tried.add(name)
                want = Interpreter(g).run(feeds)
                assign(g, CONVENTION, io="source")
                try:
                    made = emit(EmitRequest(g, tmp_path / "s.keras", {}, {}, host().rules("keras")))
                except UnsupportedError as e:
                    assert all(p.layer and p.why for p in e.problems)
                    continue
                assert made.runtime is not None
                runtime = made.runtime()
                assert runtime is not None
                for a, b in zip(runtime.run(feeds), want, strict=True):
                    why = same(np.asarray(a), b)
                    if why:
                        wrong.append(f"{name}[{i}]{' batch' if batch else ''}: {why}")
                written.add(name)
    assert not wrong, "\n".join(wrong)
    assert tried - written == tried & REFUSED


def _region(*ops: str) -> Graph:
    """A region that applies ops to its one input of (2, 3)."""
    region = Graph("region")
    b = Builder(region)
    v = b.input("x", "float32", (2, 3))
    for op in ops:
        v = b.op(op, v)
    region.outputs = [v]
    return region


def test_control_flow_by_values_is_refused_by_name() -> None:
    g = Graph("g")
    b = Builder(g, origin=Origin("test", "branch", "If"))
    c, x = b.input("c", "bool", ()), b.input("x", "float32", (2, 3))
    y = b.op("if", c, x, regions=[_region("relu"), _region("tanh")])
    body = _region("sigmoid")
    inner = Builder(body)
    step, going = inner.input("i", "int64", ()), inner.input("go", "bool", ())
    body.inputs = [step, going, *body.inputs[:1]]
    body.outputs = [going, *body.outputs]
    n = b.input("n", "int64", ())
    z = b.op("loop", n, c, x, regions=[body], n_states=1)
    g.outputs = [y[0] if isinstance(y, tuple) else y, z[0] if isinstance(z, tuple) else z]
    with pytest.raises(UnsupportedError) as e:
        emit(EmitRequest(g, None, {}, {}, host().rules("keras")))
    assert len(e.value.problems) == 1 and "no control flow" in e.value.problems[0].why


def test_a_constant_matrix_is_a_constant(tmp_path: Path) -> None:
    """One too large to be folded."""
    g = Graph("g")
    b = Builder(g, origin=Origin("test", "eye", "Eye"))
    x = b.input("x", "float32", (3, 601))
    g.outputs = [b.add(b.matmul(x, b.eye(rows=601, columns=607, k=1, dtype="float32")), b.like(x, 1.0))]
    made = emit(EmitRequest(g, tmp_path / "eye.keras", {}, {}, host().rules("keras")))
    assert made.runtime is not None
    runtime = made.runtime()
    assert runtime is not None
    given = np.arange(3 * 601, dtype=np.float32).reshape(3, 601)
    np.testing.assert_array_equal(np.asarray(runtime.run([given])[0]), given @ np.eye(601, 607, 1, dtype=np.float32) + 1)


def test_first_samples_are_written_as_code(tmp_path: Path) -> None:
    """The functional API and ``keras.ops`` by their public names: executed, the weights loaded, the same numbers."""
    wrong: list[str] = []
    done = 0
    for name, decl in all_ops().items():
        for sample in decl.samples[:1] if not decl.regions else ():
            g, feeds = sample_graph(all_ops()[name], sample, True)
            if not feeds:
                continue
            want = Interpreter(g).run(feeds)
            assign(g, CONVENTION, io="source")
            try:
                made = emit(EmitRequest(g, tmp_path / "net.py", {}, {}, host().rules("keras")))
            except UnsupportedError:
                continue
            runtime = made.runtime() if made.runtime is not None else None
            assert runtime is not None
            wrong += [f"{name}: {why}" for a, b in zip(runtime.run(feeds), want, strict=True) if (why := same(np.asarray(a), b))]
            done += 1
    assert not wrong and done > 150


def test_code_written_anew_within_a_second_is_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python would take cached bytecode for the file, which it tells by seconds and size."""
    from convcore_keras.runtime import _load_code

    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for n in (1, 2):
        (tmp_path / "net.py").write_text(f"def load_model():\n    return {n}\n")
        os.utime(tmp_path / "net.py", (10**9, 10**9))
        assert _load_code(str(tmp_path / "net.py")) == n


@pytest.mark.parametrize("kind", ["float64", "int64"])
def test_64_bits_stay_64_bits(kind: str, tmp_path: Path) -> None:
    """Several operations compute in 32 bits on the torch backend whatever they are given: others are written, or none."""
    wrong: list[str] = []
    refused: set[str] = set()
    for name, decl in all_ops().items():
        for sample in decl.samples[:1] if not decl.regions else ():
            arrays = [a if a is None or a.dtype != np.float32 else (a * 3).astype(kind) for a in sample.arrays()]
            graph = Graph(name)
            b = Builder(graph, origin=Origin("test", name, name))
            fed = [a for a in arrays if a is not None]
            if not any(str(a.dtype) == kind for a in fed):
                continue
            try:
                values = [None if a is None else b.input(f"in{i}", DType.of(a.dtype), a.shape) for i, a in enumerate(arrays)]
                out = b.op(name, *values, **sample.attrs)
                graph.outputs = list(out) if isinstance(out, tuple) else [out]
                want = Interpreter(graph).run(fed)
            except (ShapeError, InputError):  # of floats only, or of the sample's own numbers
                continue
            assign(graph, CONVENTION, io="source")
            try:
                made = emit(EmitRequest(graph, tmp_path / "s.keras", {}, {}, host().rules("keras")))
            except UnsupportedError:
                refused.add(name)
                continue
            runtime = made.runtime() if made.runtime is not None else None
            assert runtime is not None
            wrong += [f"{name}: {why}" for a, b in zip(runtime.run(fed), want, strict=True) if (why := same(np.asarray(a), b))]
    assert not wrong, "\n".join(wrong)
    assert {"matmul", "cumsum", "cumprod"} <= refused and not {"maximum", "minimum", "add", "sum", "gather"} & refused


@pytest.mark.parametrize("kind", ["uint16", "uint32", "uint64"])
def test_unsigned_integers_are_not_computed_with(kind: str, tmp_path: Path) -> None:
    for name in ("add", "mul", "maximum", "shift_left"):
        graph = Graph(name)
        b = Builder(graph, origin=Origin("test", name, name))
        graph.outputs = [b.op(name, b.input("x", kind, (3,)), b.input("y", kind, (3,)))]
        with pytest.raises(UnsupportedError, match=kind):
            emit(EmitRequest(graph, tmp_path / "s.keras", {}, {}, host().rules("keras")))


@pytest.mark.parametrize("op", ["sum", "max", "prod", "logsumexp", "l2_norm"])
def test_axes_over_all_stay(op: str, tmp_path: Path) -> None:
    """The torch backend forgets keepdims where no axis is named."""
    graph = Graph(op)
    b = Builder(graph, origin=Origin("test", op, op))
    graph.outputs = [b.op(op, b.input("x", "float32", (2, 3, 5)), axes=None, keepdims=True)]
    x = np.random.default_rng(3).standard_normal((2, 3, 5)).astype(np.float32)
    want = Interpreter(graph).run([x])
    made = emit(EmitRequest(graph, tmp_path / "s.keras", {}, {}, host().rules("keras")))
    runtime = made.runtime() if made.runtime is not None else None
    assert runtime is not None and not same(np.asarray(runtime.run([x])[0]), want[0])


@pytest.mark.parametrize("stddev, layers, notes", [(0.25, ["GaussianNoise"], 0), (None, [], 0), (1.5, [], 1)])
def test_noise_as_keras_takes_it(stddev: float | None, layers: list[str], notes: int, tmp_path: Path) -> None:
    """Keras 3.15.1 takes deviations from 0 to 1; noise of others, or of none that is known, is left out, and that is said."""
    import convcore

    graph = Graph("g")
    b = Builder(graph)
    graph.outputs = [b.relu(b.gaussian_noise(b.input("x", "float32", (2, 5)), stddev=stddev))]
    made = convcore.convert(convcore.Model(graph, "", None, None), out=tmp_path / "m.keras")
    assert made.report.ok
    found = [x for x in keras.models.load_model(tmp_path / "m.keras").layers if type(x).__name__ == "GaussianNoise"]
    assert [type(x).__name__ for x in found] == layers and all(x.stddev == stddev for x in found)
    assert sum("gaussian_noise" in n for n in made.report.notes) == notes


def test_repeats_of_the_batch_are_a_broadcast(tmp_path: Path) -> None:
    """A position embedding as long as the batch, and two times along another axis; of an axis that is not 1 it is refused."""
    n = Dim("batch")
    for shape, ok in (((1, 3, 5), True), ((2, 3, 5), False)):
        g = Graph("net")
        b = Builder(g, origin=Origin("test", "repeat", "Repeat"))
        x = b.input("x", "float32", (n, 6, 5))
        y = b.tile(b.const(np.arange(np.prod(shape), dtype=np.float32).reshape(shape)), repeats=(n, 2, 1))
        g.outputs = [b.add(x, y) if ok else y, b.neg(x)]
        if not ok:
            with pytest.raises(UnsupportedError, match="are not all of axes of size 1"):
                convcore.convert(convcore.Model(g), "keras", tmp_path / "m.keras", check=False)
            continue
        convcore.convert(convcore.Model(g.clone()), "keras", tmp_path / "m.keras", check=False)
        data = np.random.default_rng(3).normal(size=(4, 6, 5)).astype(np.float32)
        got = keras.models.load_model(tmp_path / "m.keras")(data)[0]
        np.testing.assert_allclose(keras.ops.convert_to_numpy(got), Interpreter(g).run([data])[0], rtol=1e-6)


def test_as_many_positions_as_the_input_is_long(tmp_path: Path) -> None:
    """A table of positions cut to a length that only running tells; past its end Keras raises."""
    t = Dim("time")
    table = np.random.default_rng(5).normal(size=(1, 9, 5)).astype(np.float32)
    g = Graph("net")
    b = Builder(g, origin=Origin("test", "positions", "Positions"))
    x = b.input("x", "float32", (Dim("batch"), t, 5))
    cut = b.slice(b.weight(table, "table"), starts=(0, 0, 1), stops=(1, t, 4), steps=(1, 1, 1))
    g.outputs = [b.add(b.slice(x, starts=(0, 0, 1), stops=(Dim("batch"), t, 4), steps=(1, 1, 1)), cut)]
    convcore.convert(convcore.Model(g), "keras", tmp_path / "m.keras", check=False)
    net = keras.models.load_model(tmp_path / "m.keras")
    for n in (4, 9):
        data = np.random.default_rng(n).normal(size=(2, n, 5)).astype(np.float32)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(net(data)), data[..., 1:4] + table[:, :n, 1:4], rtol=1e-6)
    with pytest.raises((IndexError, RuntimeError, ValueError)):
        net(np.zeros((2, 10, 5), np.float32))


def test_patches_put_back(tmp_path: Path) -> None:
    """Of floats by a layer; of integers refused."""
    for dtype in ("float32", "int32"):
        g = Graph("net")
        b = Builder(g, origin=Origin("test", "fold", "Fold"))
        x = b.input("x", dtype, (Dim("batch"), 12, 12))
        g.outputs = [b.col2im(x, image=(5, 8), kernel=(3, 2), strides=(2, 2), pads=((1, 1), (0, 1)), dilations=(1, 2))]
        if dtype == "int32":
            with pytest.raises(UnsupportedError, match="patches of int32 over 2 axes"):
                convcore.convert(convcore.Model(g), "keras", tmp_path / "m.keras", check=False)
            continue
        convcore.convert(convcore.Model(g.clone()), "keras", tmp_path / "m.keras", check=False)
        data = np.random.default_rng(3).normal(size=(4, 12, 12)).astype(np.float32)
        got = keras.ops.convert_to_numpy(keras.models.load_model(tmp_path / "m.keras")(data))
        np.testing.assert_allclose(got, Interpreter(g).run([data])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", [{}, {"reverse": True}, {"exclusive": True}])
def test_what_is_true_is_counted(how: dict[str, Any], tmp_path: Path) -> None:
    """In int64, which Keras sums in 32 bits on torch; other numbers of that type are refused."""
    for counted in ((DType.INT64,), (DType.INT32, DType.INT64), ()):  # in two steps as of RoBERTa's places
        g = Graph("net")
        b = Builder(g, origin=Origin("test", "count", "Count"))
        y = b.input("x", "bool" if counted else "int64", (Dim("batch"), 6))
        for to in counted:
            y = b.cast(y, to=to)
        g.outputs = [b.cumsum(y, axis=1, **how)]
        if not counted:
            with pytest.raises(UnsupportedError, match="Cumsum of int64 in 32 bits"):
                convcore.convert(convcore.Model(g), "keras", tmp_path / "m.keras", check=False)
            continue
        convcore.convert(convcore.Model(g.clone()), "keras", tmp_path / "m.keras", check=False)
        data = np.random.default_rng(3).random((3, 6)) > 0.4
        got = keras.ops.convert_to_numpy(keras.models.load_model(tmp_path / "m.keras")(data))
        want = Interpreter(g).run([data])[0]
        assert got.dtype == want.dtype and np.array_equal(got, want)


@pytest.mark.parametrize("rows", [127, 128, 211])
def test_ids_of_few_bits_reach_the_last_rows_from_the_end(rows: int, tmp_path: Path) -> None:
    """Keras's Embedding counts nothing from the end: the sum of an id and the rows has to fit the type it is made in."""
    g = Graph("ids")
    b = Builder(g)
    array = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
    i = b.input("i", DType.INT8, (2, 3))
    g.outputs.append(b.gather(b.weight(array, "t", trainable=True, role="parameter"), b.neg(i), axis=0))
    assign(g, CONVENTION, io="source")
    made = emit(EmitRequest(g, tmp_path / "m.keras", {}, {}, host().rules("keras")))
    assert any(isinstance(x, keras.layers.Embedding) for x in made.model().layers)
    ids = np.asarray([[1, 2, 3], [127, 0, 100]], np.int8)
    (got,) = made.runtime().run([ids])
    np.testing.assert_array_equal(got, array[-ids.astype(int)])

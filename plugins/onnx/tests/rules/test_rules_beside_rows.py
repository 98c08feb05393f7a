"""What functions do of types and ops that rows say most of: other element types, versions, sizes that are not known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph

rng = np.random.default_rng(3)
X = rng.standard_normal((2, 6, 5, 7)).astype(np.float32)


def written(kit: Any, build: Any, feed: dict[str, Any], opset: int = 18, **symbolic: Any) -> list[str]:
    """The types that are written, which onnxruntime runs to what the interpreter computes."""
    g = Graph("g")
    b = Builder(g)
    values = {k: b.input(k, str(DType.of(a.dtype)), symbolic.get(k, a.shape)) for k, a in feed.items()}
    g.outputs = [build(b, **values)]
    want = Interpreter(g).run(list(feed.values()))
    made = kit.emit(g, opset)
    kit.agree(kit.native(made, feed), want)
    return [n.op_type for n in made.graph.node]


@pytest.mark.parametrize("op", ["argmax", "argmin"])
def test_places_of_another_type_are_cast(kit: Any, op: str) -> None:
    types = written(kit, lambda b, x: b.op(op, x, axis=1, keepdims=True, dtype="int32"), {"x": X})
    assert types == ["ArgMax" if op == "argmax" else "ArgMin", "Cast"]


def test_an_embedding_of_bytes(kit: Any) -> None:
    table, ids = rng.standard_normal((5, 3)).astype(np.float32), np.array([[0, 4], [2, 2]], np.uint8)
    assert written(kit, lambda b, ids, table: b.embedding(ids, table), {"ids": ids, "table": table}) == ["Cast", "Gather"]


def test_bounds_of_int32(kit: Any) -> None:
    feed = {"x": X, "at": np.array([1, 2], np.int32), "to": np.array([4, 6], np.int32)}
    types = written(kit, lambda b, x, at, to: b.dynamic_slice(x, at, to, axes=(1, 3)), feed)
    assert types == ["Cast", "Cast", "Slice"]


def test_a_triangle_from_a_diagonal_that_is_a_size(kit: Any) -> None:
    x = X[0, 0]
    types = written(kit, lambda b, x: b.trilu(x, upper=False, k=Dim("N") - 3), {"x": x}, x=(Dim("N"), 7))
    assert types[-1] == "Trilu" and "Shape" in types


def test_resize_of_opset_10(kit: Any) -> None:
    scales = np.array([1, 1, 2, 3], np.float32)
    model = kit.model("Resize", {"x": X, "s": scales}, {"mode": "nearest"}, opset=10, constants=("s",))
    kit.both_ways(model, {"x": X}, [X.repeat(2, 2).repeat(3, 3)])


def test_group_normalisation_with_a_scale_for_each_group(kit: Any) -> None:
    feed = {"x": X, "s": np.array([2, 3], np.float32), "b": np.array([0.5, -1], np.float32)}
    parts = X.reshape(2, 2, -1).astype(np.float64)
    parts = (parts - parts.mean(-1, keepdims=True)) / np.sqrt(parts.var(-1, keepdims=True) + 0.01)
    want = (parts * feed["s"][None, :, None] + feed["b"][None, :, None]).reshape(X.shape).astype(np.float32)
    model = kit.model("GroupNormalization", feed, {"num_groups": 2, "epsilon": 0.01}, opset=18, constants=("s", "b"))
    kit.both_ways(model, feed, [want])
    bad = kit.model("GroupNormalization", feed, {"num_groups": 4}, opset=18, constants=("s", "b"))
    assert "6 channels do not divide into 4 groups" in kit.refused(bad)


@pytest.mark.parametrize("across", [0, 1])
@pytest.mark.parametrize("rank", [2, 3, 4])
def test_mean_variance_normalisation_of_the_first_opsets(kit: Any, across: int, rank: int) -> None:
    """Over the batch, too: by onnxruntime, and by opset 9, which names the axes."""
    ort = pytest.importorskip("onnxruntime")
    x = X.reshape(*X.shape[:1], -1, *X.shape[2:][: rank - 2]) if rank < 4 else X
    axes = tuple(i for i in range(rank) if across or i != 1)
    want = (x - x.mean(axes, keepdims=True)) / (x.std(axes, keepdims=True) + 1e-9)
    model = kit.model("MeanVarianceNormalization", {"x": x}, {"across_channels": across}, opset=7)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x})[0], want, rtol=1e-4, atol=1e-5)
    for opset in (1, 7):
        model = kit.model("MeanVarianceNormalization", {"x": x}, {"across_channels": across}, opset=opset)
        kit.both_ways(model, {"x": x}, [want])


def test_mean_variance_normalisation_of_five_axes_in_the_first_opsets(kit: Any) -> None:
    model = kit.model("MeanVarianceNormalization", {"x": X[..., None]}, {}, opset=7)
    assert "an input of 5 axes: opsets before 9 have it for images" in kit.refused(model)


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_truths_over_no_axis_are_themselves(kit: Any, op: str) -> None:
    x = X > 0
    model = kit.model(op, {"x": x}, {"noop_with_empty_axes": 1}, opset=20)
    graph = kit.load(model)
    kit.agree(kit.run(graph, {"x": x}), [x])


def test_a_fourier_transform_of_a_length_that_the_data_tell(kit: Any) -> None:
    """Opset 17, where the axis is an attribute; a later one has it as an input. Of powers of two onnxruntime is exact enough."""
    x = X[..., :1]
    model = kit.model("DFT", {"x": x, "n": np.array(8)}, {"axis": 2, "onesided": 1}, opset=17)
    y = np.fft.rfft(x[..., 0].astype(np.float64), 8, axis=2)
    graph = kit.both_ways(model, {"x": x, "n": np.array(8)}, [np.stack([y.real, y.imag], -1).astype(np.float32)], opsets=(20,))
    assert [n.op for n in graph] == ["dynamic_dft_pairs"]


@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_batch_normalisation_with_parameters_of_another_type(kit: Any, kind: str) -> None:
    """Statistics are of another type than the data (opset 15)."""
    x, (scale, bias, mean) = X.astype(kind), rng.uniform(0.5, 1.5, (3, 6)).astype(kind)
    feed = {"x": x, "s": scale, "b": bias, "m": mean.astype(np.float64), "v": np.array([2, 3, 5, 7, 11, 13], np.float64)}
    axis = (slice(None), None, None)
    want = (x.astype(np.float64) - feed["m"][axis]) / np.sqrt(feed["v"][axis] + 1e-5) * scale[axis] + bias[axis]
    graph = kit.load(kit.model("BatchNormalization", feed, opset=15, constants=("s", "b", "m", "v")))
    kit.agree(kit.run(graph, {"x": x}), [want.astype(kind)], rtol=1e-4, atol=1e-5)
    assert [n.op for n in graph if n.op == "batch_norm"] == ["batch_norm"]


@pytest.mark.parametrize("stash", [1, 11])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_statistics_of_a_layer_normalisation_are_of_the_type_they_are_computed_in(kit: Any, kind: str, stash: int) -> None:
    """Of half precision, too: its squares would be infinite, and its mean another number."""
    if stash == 11 and kind != "float64":
        return
    x = (300 * X).astype(kind)
    feed = {"x": x, "s": np.ones(7, kind)}
    model = kit.model("LayerNormalization", feed, {"stash_type": stash}, opset=17, constants=("s",), outputs=3)
    graph = kit.load(model)
    assert [v.dtype for v in graph.outputs] == [kind, *["float64" if stash == 11 else "float32"] * 2]
    wide = x.astype(np.float64)
    mean, deviation = wide.mean(-1, keepdims=True), wide.std(-1, keepdims=True)
    got = kit.run(graph, {"x": x})
    for a, b in zip(got[1:], (mean, 1 / np.sqrt(deviation**2 + 1e-5))):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)
    for opset in (13, 21):
        kit.agree(kit.native(kit.emit(kit.load(model), opset), {"x": x}), got, rtol=1e-4, atol=1e-3)


def test_a_scale_of_another_type_is_that_of_the_result(kit: Any) -> None:
    """RMSNormalization gives V, the type of its scale; our op gives that of the data, and is written in parts then."""
    x, scale = X.astype(np.float16), rng.uniform(0.5, 1.5, 7).astype(np.float32)
    graph = kit.load(kit.model("RMSNormalization", {"x": x, "s": scale}, opset=23, constants=("s",)))
    assert [v.dtype for v in graph.outputs] == ["float32"]
    wide = x.astype(np.float64)
    want = (wide / np.sqrt(np.square(wide).mean(-1, keepdims=True) + 1e-5)).astype(np.float16) * scale
    np.testing.assert_allclose(kit.run(graph, {"x": x})[0], want, rtol=2e-3)
    types = written(kit, lambda b, x: b.rms_norm(x, b.weight(scale, "s"), axes=(3,), epsilon=1e-5), {"x": x}, 23)
    assert "RMSNormalization" not in types and types[-1] == "Cast"

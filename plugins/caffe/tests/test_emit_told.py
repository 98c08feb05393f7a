"""What is written as one layer and what is not, term by term, and the words of what Caffe cannot hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.build.builder import Builder
from convcore.errors import UnsupportedError
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph, Origin, Value

from .emit_kit import array, fields, types, written


def affine(b: Builder, x: Value, a: float, c: float, p: float) -> Value:
    """(a x + c)^p, of the parts that are not what they are by themselves."""
    y = x if a == 1 else b.mul(x, b.like(x, a))
    y = y if c == 0 else b.add(y, b.like(y, c))
    return y if p == 1 else b.pow(y, b.like(y, p))


POWERS: list[tuple[tuple[float, float, float], tuple[float, float, float], list[dict[str, float]]]] = [
    # the first, the second, and the layers: one where no product or sum is done in another order
    ((2, 3, 1), (1, 0, 2), [{"power": 2, "scale": 2, "shift": 3}]), ((2, 0, 1), (1, 5, 2),
        [{"power": 2, "scale": 2, "shift": 5}]),
    ((2, 3, 1), (-1, 0, 1), [{"scale": -2, "shift": -3}]), ((1, 0, 2), (-1, 0, 1), [{"power": 2}, {"scale": -1}]),
    ((2, 3, 1), (5, 0, 1), [{"scale": 2, "shift": 3}, {"scale": 5}]), ((1, 0, 3), (1, 0, 2), [{"power": 3}, {"power": 2}]),
    ((1, 3, 1), (5, 0, 1), [{"shift": 3}, {"scale": 5}]), ((1, 3, 1), (1, 7, 1), [{"shift": 3}, {"shift": 7}]),
    ((2, 3, 2), (-1, 0, 1), [{"power": 2, "scale": 2, "shift": 3}, {"scale": -1}]),
    ((2, 3, 1), (-1, 4, 1), [{"scale": -2, "shift": -3}, {"shift": 4}]),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second", "layers"), POWERS, ids=range(len(POWERS)))
def test_powers(first: Any, second: Any, layers: list[dict[str, float]], tmp_path: Path) -> None:
    net = written(tmp_path, (2, 3), lambda b, x: affine(b, affine(b, b.square(b.relu(x)), *first), *second))
    assert [fields(la) for la in net if la.type == "Power"][-len(layers) :] == layers


N = (2, 3, 5, 7)
A, B, C3 = array(2, 3, 5, 7), array(3, 1, 1), array(3, 1, 1)


def w(b: Builder, a: Any, name: str) -> Value:
    return b.weight(a, name)


TIDY: dict[str, tuple[Any, Callable[[Builder, Value], Any], list[str]]] = {
    # shape, what is built, and the layers' types
    "scale and bias": (N, lambda b, x: b.add(b.mul(x, w(b, B, "s")), w(b, C3, "c")), ["Scale"]),
    "scale and another span": (N, lambda b, x: b.add(b.mul(x, w(b, B, "s")), w(b, array(5, 1), "c")), ["Scale", "Bias"]),
    "scale that is read": (N, lambda b, x: [b.add(y := b.mul(x, w(b, B, "s")), w(b, C3, "c")), b.tanh(y)],
        ["Scale", "Bias", "TanH"]),
    "scale, bias, bias": (N, lambda b, x: b.add(b.add(b.mul(x, w(b, B, "s")), w(b, C3, "c")), w(b, C3 + 1, "d")),
        ["Scale", "Bias"]),
    "dense and bias": ((2, 3), lambda b, x: b.add(b.linear(x, w(b, array(5, 3), "k")), w(b, array(5), "c")), ["InnerProduct"]),
    "dense with a bias, bias": ((2, 3), lambda b, x: b.add(b.linear(x, w(b, array(5, 3), "k"), w(b, array(5), "e")),
        w(b, array(5), "c")), ["InnerProduct", "Bias"]),
    "dense and a bias of the batch": ((2, 3), lambda b, x: b.add(b.linear(x, w(b, array(5, 3), "k")), w(b, array(2, 5), "c")),
        ["InnerProduct", "Bias"]),
    "sum of a sum": (N, lambda b, x: b.add(b.add(b.tanh(x), b.sigmoid(x)), b.relu(x)), ["TanH", "Sigmoid", "ReLU", "Eltwise"]),
    "sum of a product": (N, lambda b, x: b.add(b.mul(b.tanh(x), b.sigmoid(x)), b.relu(x)),
        ["TanH", "Sigmoid", "Eltwise", "ReLU", "Eltwise"]),
    "product of a product": (N, lambda b, x: b.mul(b.mul(b.tanh(x), b.sigmoid(x)), b.relu(x)),
        ["TanH", "Sigmoid", "ReLU", "Eltwise"]),
    "sum of a sum that is read": (N, lambda b, x: [b.add(y := b.add(b.tanh(x), b.sigmoid(x)), b.relu(x)), b.abs(y)],
        ["TanH", "Sigmoid", "Eltwise", "ReLU", "Eltwise", "AbsVal"]),
    "difference of a sum": (N, lambda b, x: b.sub(b.tanh(x), b.add(b.sigmoid(x), b.relu(x))),
        ["TanH", "Sigmoid", "ReLU", "Eltwise", "Eltwise"]),
    "factors of a sum": (N, lambda b, x: b.add(b.mul(b.tanh(x), b.like(x, 2)), b.mul(b.sigmoid(x), b.like(x, 3))),
        ["TanH", "Sigmoid", "Eltwise"]),
    "factor and shift of a sum": (N, lambda b, x: b.add(b.add(b.mul(b.tanh(x), b.like(x, 2)), b.like(x, 1)), b.sigmoid(x)),
        ["TanH", "Power", "Sigmoid", "Eltwise"]),
    "factors of a product": (N, lambda b, x: b.mul(b.mul(b.tanh(x), b.like(x, 2)), b.sigmoid(x)),
        ["TanH", "Power", "Sigmoid", "Eltwise"]),
    "flattened": (N, lambda b, x: b.linear(b.reshape(x, shape=(2, 105)), w(b, array(5, 105), "k")), ["InnerProduct"]),
    "flattened and read": (N, lambda b, x: [b.linear(y := b.reshape(x, shape=(2, 105)), w(b, array(5, 105), "k")), b.tanh(y)],
        ["Flatten", "InnerProduct", "TanH"]),
    "l1 over nothing": (N, lambda b, x: b.l1_norm(x, axes=()), ["AbsVal"]),
    "squares over nothing": (N, lambda b, x: b.sum_square(x, axes=()), ["Power"]),
    "a sum over nothing": (N, lambda b, x: b.tanh(b.sum(x, axes=())), ["TanH"]),
    "another batch": (N, lambda b, x: b.linear(b.reshape(x, shape=(6, 35)), w(b, array(5, 35), "k")),
        ["Reshape", "InnerProduct"]),
}  # fmt: skip


@pytest.mark.parametrize("name", TIDY)
def test_neighbours_that_are_one_layer(name: str, tmp_path: Path) -> None:
    shape, build, wanted = TIDY[name]
    assert sorted(types(written(tmp_path, shape, build))) == sorted(wanted)


NORMS: list[tuple[Callable[[Builder, Value], Any], list[str], dict[str, Any]]] = [
    (lambda b, x: b.mul(norm(b, x), w(b, np.asarray(B), "s")), ["Normalize"], {"channel_shared": False}),
    (lambda b, x: b.mul(norm(b, x), b.like(x, 20.0)), ["Normalize"], {"channel_shared": True}),
    (lambda b, x: b.add(norm(b, x), b.like(x, 20.0)), ["Normalize", "Power"], {"channel_shared": True}),
    (lambda b, x: b.square(norm(b, x)), ["Normalize", "Power"], {"channel_shared": True}),
    (lambda b, x: b.add(b.mul(norm(b, x), w(b, B, "s")), w(b, C3, "c")), ["Normalize", "Bias"], {"channel_shared": False}),
    (lambda b, x: b.mul(norm(b, x), w(b, array(5, 1), "s")), ["Normalize", "Scale"], {"channel_shared": True}),
]  # fmt: skip


def norm(b: Builder, x: Value) -> Value:
    return b.l2_normalize(x, axes=(1,), epsilon=1e-10, mode="add_square")


@pytest.mark.parametrize("i", range(len(NORMS)))
def test_scales_of_a_norm(i: int, tmp_path: Path) -> None:
    build, wanted, given = NORMS[i]
    net = written(tmp_path, N, build, caffe_flavor="ssd")
    found = types(net)
    assert sorted(found) == sorted(wanted)
    assert next(la for la in net if la.type == "Normalize").param("norm_param").get("channel_shared") is given["channel_shared"]


# ---- words
WINDOW = {"kernel": (2, 3), "strides": (1, 1), "pads": ((0, 0), (0, 0)), "dilations": (1, 1)}


def padded(b: Builder, x: Value, n: int) -> Any:
    at = {"kernel": (2, 2), "strides": (1, 1), "pads": ((n, 0), (0, 0)), "dilations": (1, 1)}
    return b.avg_pool(x, count_include_pad=True, **at)


def mask(b: Builder, x: Value, dilations: Any, pads: Any = ((0, 0), (0, 0))) -> Any:
    at = {"kernel": (2, 2), "strides": (2, 2), "pads": pads, "dilations": dilations, "index_order": "plane"}
    y, where = b.max_pool_with_indices(x, **at)
    return [y, b.cast(where, to="float32")]


WORDS: list[tuple[str, Any, Callable[[Builder, Value], Any], Callable[[Builder, Value], Any]]] = [
    ("Caffe's pooling has no dilation", N, lambda b, x: b.max_pool(x, **{**WINDOW, "dilations": (1, 2)}),
     lambda b, x: b.max_pool(x, **{**WINDOW, "kernel": (2, 1), "dilations": (1, 2)})),
    ("its result is empty", N, lambda b, x: b.tile(x, repeats=(1, 1, 1, 0)), lambda b, x: b.tile(x, repeats=(1, 1, 1, 2))),
    ("its result is empty", N, lambda b, x: b.expand(b.slice(x, starts=(0, 0, 0, 0), stops=(None, 1, None, None), steps=(1,) * 4),
        shape=(2, 0, 5, 7)), lambda b, x: b.expand(b.slice(x, starts=(0, 0, 0, 0), stops=(None, 1, None, None), steps=(1,) * 4),
        shape=(2, 4, 5, 7))),
    ("it is empty, and Caffe's Slice makes no empty blobs", N,
     lambda b, x: b.slice(x, starts=(0, 3, 0, 0), stops=(None,) * 4, steps=(1,) * 4),
     lambda b, x: b.slice(x, starts=(0, 2, 0, 0), stops=(None,) * 4, steps=(1,) * 4)),
    ("Slice makes no parts of size 0", N, lambda b, x: b.split(x, axis=1, sizes=(3, 0)),
        lambda b, x: b.split(x, axis=1, sizes=(1, 2))),
    ("Caffe's mask holds h * W + w of 2 spatial axes without dilation", N, lambda b, x: mask(b, x, (1, 2)),
     lambda b, x: mask(b, x, (1, 1))),
    ("Caffe's padding must be smaller than the kernel", N, lambda b, x: padded(b, x, 2), lambda b, x: padded(b, x, 1)),
    ("alpha is inf", N, lambda b, x: b.celu(x, alpha=float("inf")), lambda b, x: b.celu(x, alpha=2.5)),
    ("alpha is -1.0", N, lambda b, x: b.celu(x, alpha=-1.0), lambda b, x: b.celu(x, alpha=0.5)),
    ("its padding (-1, 0) is negative", N, lambda b, x: b.conv(x, w(b, array(5, 3, 2, 2), "w"), pads=((-1, 0), (0, 0))),
     lambda b, x: b.conv(x, w(b, array(5, 3, 2, 2), "w"), pads=((1, 0), (0, 0)))),
    ("Caffe's padding must be smaller than the kernel", (2, 3, 1, 7), lambda b, x: mask(b, x, (1, 1), pads=((0, 1), (0, 0))),
     lambda b, x: mask(b, x, (1, 1), pads=((1, 0), (0, 0)))),
    ("some windows hold no element", N, lambda b, x: mask(b, x, (1, 1), pads=((2, 0), (0, 0))),
     lambda b, x: mask(b, x, (1, 1), pads=((1, 0), (0, 0)))),
    ("it is empty, and Caffe makes no empty blobs", N,
     lambda b, x: b.pad(x, pads=((0, 0), (0, 0), (0, 0), (-7, 0)), mode="edge"),
     lambda b, x: b.pad(x, pads=((0, 0), (0, 0), (0, 0), (-6, 0)), mode="edge")),
    ("its bounds are not fixed", N,
     lambda b, x: b.slice(x, starts=(0, 0, Dim("u"), 0), stops=(None, None, Dim("u") + 3, None), steps=(1,) * 4),
     lambda b, x: b.slice(x, starts=(0, 0, 1, 0), stops=(None, None, 4, None), steps=(1,) * 4)),
    *(("is not fixed", N, lambda b, x, mode=mode: b.pad(x, pads=((0, 0), (0, 0), (Dim("u"), 0), (0, 0)), mode=mode),
       lambda b, x, mode=mode: b.pad(x, pads=((0, 0), (0, 0), (2, 0), (0, 0)), mode=mode)) for mode in ("constant", "edge")),
]  # fmt: skip


@pytest.mark.parametrize(("why", "shape", "bad", "good"), WORDS, ids=range(len(WORDS)))
def test_what_caffe_cannot_hold(why: str, shape: Any, bad: Any, good: Any, tmp_path: Path) -> None:
    written(tmp_path, shape, good)
    g = Graph("g")
    b = Builder(g)
    made = bad(b, b.input("data", "float32", shape))
    g.outputs = list(made) if isinstance(made, (list, tuple)) else [made]
    with pytest.raises(UnsupportedError, match=re.escape(why)):
        convcore.convert(convcore.Model(g, "test"), "caffe", tmp_path / "bad.prototxt")


def test_whole_numbers_are_carried_by_what_only_moves(tmp_path: Path) -> None:
    """Padding may also fill, so it takes none, where a slice of the same elements does."""

    def kept(b: Builder, x: Value) -> Any:
        return b.cast(b.slice(x, starts=(0, 1), stops=(None, None), steps=(1, 1)), to="float32")

    assert types(written(tmp_path, (2, 6), kept, dtype="int64"))[0] == "Slice"
    g = Graph("g")
    b = Builder(g)
    g.outputs = [b.cast(b.pad(b.input("data", "int64", (2, 6)), pads=((0, 0), (-1, 0))), to="float32")]
    with pytest.raises(UnsupportedError, match="int64"):
        convcore.convert(convcore.Model(g, "test"), "caffe", tmp_path / "bad.prototxt")


@pytest.mark.parametrize(("rows", "known"), [(1 << 24, True), ((1 << 24) + 1, False)])
def test_a_float_counts_to_two_to_the_24(rows: int, known: bool, tmp_path: Path) -> None:
    g = Graph("g")
    b = Builder(g)
    table = np.lib.stride_tricks.as_strided(np.zeros(1, "f4"), (rows, 1), (0, 4))
    g.outputs = [b.embedding(b.input("i", "int64", (2,)), b.weight(table, "t"))]
    found = [p.why for p in convcore.check(convcore.Model(g, "test"), "caffe")]
    assert found == [] if known else [f"{rows} rows: a float counts to 16777216 only" in why for why in found] == [True]


def test_sizes_that_no_batch_of_one_has(tmp_path: Path) -> None:
    """What holds for other sizes of the batch is told of the layer that does not."""
    g = Graph("g")
    b = Builder(g)
    n = Dim("n")
    with b.at(Origin("test", "halves", "Split")):
        g.outputs = list(b.split(b.input("data", "float32", (n, 3)), axis=0, sizes=(2, n - 2)))
    with pytest.raises(UnsupportedError, match="halves") as caught:
        convcore.convert(convcore.Model(g.clone(), "test"), "caffe", tmp_path / "bad.prototxt")
    assert (caught.value.problems[0].layer, caught.value.problems[0].type) == ("halves", "Split")
    assert convcore.convert(convcore.Model(g.clone(), "test"), "caffe", tmp_path / "good.prototxt", batch=5).report.ok


def test_edges_of_whole_numbers(tmp_path: Path) -> None:
    g = Graph("g")
    b = Builder(g)
    g.outputs = [b.cast(b.pad(b.input("data", "int64", (2, 6)), pads=((0, 0), (1, 2)), mode="edge"), to="float32")]
    with pytest.raises(UnsupportedError, match=r"is int64|float32"):
        convcore.convert(convcore.Model(g, "test"), "caffe", tmp_path / "bad.prototxt")


def counted(b: Builder, x: Value, last: float, *, read: bool = False, turned: bool = False) -> Any:
    """Places of the two largest of 3, counted from the end."""
    values, places = b.topk(x, k=2, axis=1)
    end = b.const(np.asarray(last), "int64")
    y = b.cast(b.sub(places, end) if turned else b.sub(end, places), to="float32")
    return [values, y, b.cast(places, to="float32")] if read else [values, y]


@pytest.mark.parametrize(
    ("more", "powers"),
    [({"last": 2}, 0), ({"last": 3}, None), ({"last": 2, "read": True}, None), ({"last": 2, "turned": True}, None)],
)  # fmt: skip
def test_places_counted_from_the_end_are_caffes_own(more: Any, powers: int | None, tmp_path: Path) -> None:
    """ArgMax takes the last of equals, so it is asked of the axis reversed: what counts from the end is its own place."""
    if powers is not None:
        net = written(tmp_path, (2, 3), lambda b, x: counted(b, x, **more))
        assert [t for t in types(net) if t in ("ArgMax", "Power")] == ["ArgMax", "ArgMax"]
        return
    g = Graph("g")
    b = Builder(g)
    g.outputs = counted(b, b.input("data", "float32", (2, 3)), **more)
    with pytest.raises(UnsupportedError, match="int64"):
        convcore.convert(convcore.Model(g, "test"), "caffe", tmp_path / "bad.prototxt")

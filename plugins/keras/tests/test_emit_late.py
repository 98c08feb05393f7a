"""Arguments that are data where the file declares the shape of the result: right for every data that gives it, else an error."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convcore
from convcore.build.builder import Builder
from convcore.errors import UnsupportedError
from convcore.interpreter import Interpreter
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Origin
from convcore.plugin import NotExpressible
from convcore_keras.late import _RULES as RULES
from convcore_keras.late import settle
from convcore_keras.late.shapes import tell

keras = pytest.importorskip("keras")


def i64(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def f32(*numbers: float) -> Any:
    return np.array(numbers, np.float32)


def model(op: str, arrays: Sequence[Any], out: Sequence[Sequence[int]] | None, attrs: Mapping[str, Any]) -> Graph:
    """One op, every array an input, with the shapes that a file declares of its results."""
    g = Graph("late")
    b = Builder(g, origin=Origin("onnx", "late", op))
    values = [None if a is None else b.input(f"i{k}", DType.of(a.dtype), a.shape) for k, a in enumerate(arrays)]
    made: Any = getattr(b, op)(*values, **attrs)
    results = list(made) if isinstance(made, (tuple, list)) else [made]
    for k, v in enumerate(results):
        g.rename(v, f"o{k}")
    g.outputs = results
    if out is not None:
        g.metadata["declared"] = {results[0].producer.name: [list(s) for s in out]}
    return g


def loaded(g: Graph) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        made = convcore.convert(convcore.Model(g), "keras", Path(folder) / "m.keras", check=False)
        return keras.models.load_model(made.paths[0])


def results(net: Any, arrays: Sequence[Any]) -> list[Any]:
    found = net([a for a in arrays if a is not None])
    return [keras.ops.convert_to_numpy(y) for y in (found if isinstance(found, (list, tuple)) else [found])]


def agree(op: str, cases: Sequence[Sequence[Any]], others: Sequence[Sequence[Any]], **attrs: Any) -> None:
    """All ``cases`` have results of one shape and are right; ``others`` have another, and are errors."""
    wanted = [run(op, c, attrs) for c in cases]
    net = loaded(model(op, cases[0], [w.shape for w in wanted[0]], attrs))
    for arrays, want in zip(cases, wanted):
        for y, w in zip(results(net, arrays), want):
            assert y.dtype == w.dtype and y.shape == w.shape
            np.testing.assert_allclose(y, w, rtol=2e-5, atol=2e-5)
    for arrays in others:
        with pytest.raises((IndexError, RuntimeError, ValueError)):
            results(net, arrays)


def run(op: str, arrays: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    g = model(op, arrays, None, attrs)
    return [np.asarray(a) for a in Interpreter(g).run([a for a in arrays if a is not None])]


X = np.random.default_rng(0).normal(size=(3, 2, 2)).astype(np.float32)


@pytest.mark.parametrize("op", ["sum", "mean", "max", "min", "prod", "l1_norm", "l2_norm", "log_sum", "logsumexp", "sum_square"])
@pytest.mark.parametrize("keepdims", [True, False])
def test_axes_of_reductions(op: str, keepdims: bool) -> None:
    """Of (3, 2, 2) without axis 1 or 2 there are two of one shape, with one kept there is one each."""
    x = np.abs(X) if op == "log_sum" else X
    fit = [[x, i64(1)], [x, i64(-2)], *([[x, i64(2)], [x, i64(-1)]] if not keepdims else [])]
    agree(f"dynamic_{op}", fit, [[x, i64(0)], [x, i64(3)], [x, i64(-4)]], keepdims=keepdims)


@pytest.mark.parametrize("op", ["all", "any"])
def test_axes_of_logic(op: str) -> None:
    agree(f"dynamic_{op}", [[X > 0, i64(0, 1)], [X > 0, i64(-2, 0)], [X > 0, i64(2, 0)]], [[X > 0, i64(1, 2)]])


def test_no_axes_at_all() -> None:
    none = np.zeros(0, np.int64)
    agree("dynamic_sum", [[X, none]], [], none_is_all=False)
    agree("dynamic_sum", [[X, none]], [], keepdims=True)


@pytest.mark.parametrize("op", ["cumsum", "cumprod"])
def test_axes_of_running_sums(op: str) -> None:
    agree(f"dynamic_{op}", [[X, np.array(a)] for a in (-3, -2, -1, 0, 1, 2)], [[X, np.array(3)]], exclusive=True, reverse=True)


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("kind", ["float32", "int64", "bool"])
def test_diagonals(upper: bool, kind: str) -> None:
    x = np.arange(1, 31).reshape(2, 3, 5).astype(kind)
    agree("dynamic_trilu", [[x, np.array(k)] for k in (-9, -2, 0, 3, 2**40)], [], upper=upper)


def test_the_largest() -> None:
    x = np.array([[3, 1, 2, 7, 5, 5, 0]], np.float32)
    agree("dynamic_topk", [[x, i64(3)]], [[x, i64(2)], [x, i64(4)]])


def test_axes_of_size_one() -> None:
    agree("dynamic_squeeze", [[X[:, :1, None], i64(1)], [X[:, :1, None], i64(-2)]], [[X[:, :1, None], i64(0)]])
    agree("dynamic_unsqueeze", [[X[:1], i64(0)], [X[:1], i64(1)]], [[X[:1], i64(2)], [X[:1], i64(-5)]])


def test_counts() -> None:
    agree("dynamic_tile", [[X, i64(2, 1, 3)]], [[X, i64(1, 1, 3)]])
    agree("dynamic_fill", [[i64(2, 3)]], [[i64(3, 2)]], value=0.5)
    ids = np.array([[0, 1, 4]])
    agree("dynamic_one_hot", [[ids, None, np.array(5)]], [[ids, None, np.array(6)]], axis=1)
    agree("dynamic_split", [[X, i64(1, 2)]], [[X, i64(2, 1)]], axis=0, count=2)


def test_shapes() -> None:
    x = X[:, :1]
    agree("dynamic_expand", [[x, i64(5, 3, 2, 2)], [x, i64(5, 1, 2, 1)]], [[x, i64(5, 3, 1, 2)], [x, i64(1, 3, 2, 2)]])
    agree(
        "dynamic_reshape", [[X, i64(6, 2)], [X, i64(-1, 2)], [X, i64(6, -1)]], [[X, i64(2, 6)], [X, i64(-1, -1)], [X, i64(0, 2)]]
    )
    agree("dynamic_reshape", [[X, i64(0, 4)], [X, i64(3, 4)]], [[X, i64(4, 0)]], zero_copies=True)
    theta = X[:, :, :1] * np.ones((1, 1, 3), np.float32)
    agree("dynamic_affine_grid", [[theta, i64(3, 7, 5, 2)], [theta, i64(3, 1, 5, 2)]], [[theta, i64(3, 1, 2, 5)]])


def test_parts() -> None:
    x = np.arange(2 * 7 * 5, dtype=np.float32).reshape(2, 7, 5)
    fit = [
        [x, i64(1, -3), i64(5, 99), i64(1, 1)],
        [x, i64(6, 4), i64(-99, 1), i64(-2, -1)],
        [x, i64(0, -99), i64(2**60, 3), i64(2, 1)],
    ]
    agree("dynamic_slice", fit, [[x, i64(1, 0), i64(4, 3), i64(1, 1)], [x, i64(5, 0), i64(1, 3), i64(1, 1)]], axes=(1, 2))
    on = [[*a, n] for a, n in zip(fit, (i64(1, 2), i64(-2, -1), i64(1, 2)))]
    agree("dynamic_slice", on, [[*fit[0], i64(2, 1)], [*fit[0], i64(1, 3)]], axes=None)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_padding(mode: str) -> None:
    x = np.arange(1, 36, dtype=np.float32).reshape(5, 7)
    value = f32(0.5).reshape(())
    fit = [[x, i64(1, 2, 2, 0), value], [x, i64(0, 1, 3, 1), value], [x, i64(3, 2, 0, 0), value]]
    agree("dynamic_pad", fit, [[x, i64(1, 1, 2, 0), value]], mode=mode)
    agree("dynamic_pad", [[x, i64(2, 3, 1, 0), None, i64(-1, 0)], [x, i64(3, 2, 0, 1), None, i64(0, 1)]], [
        [x, i64(3, 2, 0, 2), None, i64(1, 0)]], mode=mode)  # fmt: skip


def test_padding_that_crops() -> None:
    x = np.arange(1, 36, dtype=np.float32).reshape(5, 7)
    agree("dynamic_pad", [[x, i64(-1, 2, 2, -3)], [x, i64(1, -2, 0, 1)]], [])
    net = loaded(model("dynamic_pad", [x, i64(1, 1, 0, 0)], [[6, 8]], {"mode": "reflect"}))
    with pytest.raises((IndexError, RuntimeError)):
        results(net, [x, i64(2, 1, -1, 0)])


@pytest.mark.parametrize("kind", ["int32", "int64", "float32"])
def test_ranges(kind: str) -> None:
    def ends(*n: float) -> list[Any]:
        return [np.array(k, kind) for k in n]

    fit = [ends(1, 10, 3), ends(10, 1, -3), ends(0, 7, 3), ends(-5, 4, 4)]
    agree("range", fit, [ends(1, 11, 3), ends(1, 10, -3), ends(1, 7, 3), ends(1, 10, 0)])


def test_chosen_elements() -> None:
    x = np.arange(15, dtype=np.float32).reshape(3, 5)
    here = np.array([True, False, True, True])
    agree("compress", [[x, here], [x, ~here[[1, 0, 1, 0]] | here]], [[x, ~here]])
    agree("compress", [[x, np.array([True, False, True])], [x, np.array([False, True, True])]], [[x, np.ones(3, bool)]], axis=0)


SCALES = st.lists(st.integers(7, 60), min_size=2, max_size=2).map(lambda n: f32(*(k / 16 for k in n)))


@pytest.mark.parametrize(
    "how", ["half_pixel", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric", "tf_half_pixel_for_nn"]
)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@settings(max_examples=2, deadline=None)
@given(scales=SCALES, antialias=st.booleans(), exclude=st.booleans())
def test_scales(how: str, mode: str, scales: Any, antialias: bool, exclude: bool) -> None:
    """Scales that give the same sizes are other positions: the data decides."""
    x = np.random.default_rng(1).normal(size=(2, 3, 5, 7)).astype(np.float32)
    attrs = {"mode": mode, "coordinates": how, "axes": (2, 3), "antialias": antialias and mode != "nearest",
             "exclude_outside": exclude and mode == "cubic"}  # fmt: skip
    near = scales + np.float32(1 / 64)
    same = [int(n * float(s)) for n, s in zip((5, 7), scales)] == [int(n * float(s)) for n, s in zip((5, 7), near)]
    agree("dynamic_resize", [[x, None, scales], *([[x, None, near]] if same else [])], [[x, None, scales + 1]], **attrs)


@pytest.mark.parametrize("how", ["tf_half_pixel_for_nn", "asymmetric", "half_pixel_symmetric"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_a_scale_of_one_leaves_an_axis_as_it_is(how: str, mode: str) -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 5, 7)).astype(np.float32)
    agree("dynamic_resize", [[x, None, f32(1, 1.5)], [x, None, f32(1.0625, 1.5)]], [], mode=mode, coordinates=how, axes=(2, 3))


def test_sizes() -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 5, 7)).astype(np.float32)
    agree("dynamic_resize", [[x, i64(2, 3, 11, 4)]], [[x, i64(2, 3, 4, 11)]], mode="linear", coordinates="align_corners")
    for policy, sizes in (("not_larger", i64(10, 40)), ("not_smaller", i64(3, 14))):
        agree("dynamic_resize", [[x, sizes]], [[x, i64(20, 30)]], mode="cubic", axes=(2, 3), policy=policy)


def test_parts_of_images() -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 5, 7)).astype(np.float32)
    rois = [f32(0.1, -0.2, 0.8, 1.3), f32(0, 0, 1, 1)]
    for mode in ("linear", "nearest"):
        attrs = {"mode": mode, "axes": (2, 3), "coordinates": "tf_crop_and_resize", "outside": 2.5}
        agree("dynamic_resize", [[x, i64(11, 4), None, r] for r in rois], [[x, i64(4, 11), None, rois[0]]], **attrs)


@pytest.mark.parametrize(
    "op, arrays",
    [
        ("dynamic_sum", [X, i64(1)]),
        ("range", [np.array(n) for n in (1, 5, 2)]),
        ("dynamic_reshape", [X, i64(6, 2)]),
        ("dynamic_pad", [X[0], i64(0, 1, 1, 0)]),
    ],
)
def test_without_a_declared_shape_it_is_refused(op: str, arrays: list[Any]) -> None:
    with pytest.raises(UnsupportedError) as e:
        loaded(model(op, arrays, None, {}))
    assert all(p.layer == "late" for p in e.value.problems)


def test_a_declared_shape_that_cannot_be_is_refused() -> None:
    for op, arrays, out in (("dynamic_sum", [X, i64(1)], (5, 2)), ("dynamic_unsqueeze", [X, i64(1)], (3, 2, 2, 2))):
        with pytest.raises(UnsupportedError):
            loaded(model(op, arrays, [out], {}))


def test_ranges_of_sizes(tmp_path: Path) -> None:
    """Positions: what shape arithmetic gives is a constant where the size is known, else counted along an axis of that size."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[N, {T}] x, int64[N, {T}] ids) => (float[N, {T}] y, int64[N, {T}] z) {{
      one = Constant <value_int = 1> ()
      two = Constant <value_ints = [2, 2]> ()
      zero = Constant <value_int = 0> ()
      shape = Shape (x)
      both = Concat <axis = 0> (shape, two)
      t = Gather (both, one)
      line = Range (zero, t, one)
      three = Constant <value_int = 3> ()
      long = Mul (t, three)
      wide = Range (one, long, three)
      floats = Cast <to = 1> (line)
      y = Add (x, floats)
      z = Mul (ids, wide)
    }}"""
    for t, lengths in (("7", (7,)), ("T", (5, 11))):
        model = onnx.parser.parse_model(text.format(T=t))
        made = convcore.convert(model, "keras", tmp_path / f"{t}.keras", check=False)
        net = keras.models.load_model(made.paths[0])
        for n, length in zip((2, 3), lengths):
            feeds = {"x": np.random.default_rng(3).normal(size=(n, length)).astype(np.float32),
                     "ids": np.arange(n * length).reshape(n, length)}  # fmt: skip
            for got, want in zip(results(net, [feeds["x"], feeds["ids"]]), ReferenceEvaluator(model).run(None, feeds)):
                assert got.dtype == want.dtype
                np.testing.assert_array_equal(got, want)


def test_windows() -> None:
    """What is computed of a range element by element has the declared size, and the range is held to it."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    text = '<ir_version: 8, opset_import: ["" : 17]> g (int32 n) => (float[11] y) { y = BlackmanWindow (n) }'
    model = onnx.parser.parse_model(text)
    net = loaded(convcore.load(model).graph)
    (want,) = ReferenceEvaluator(model).run(None, {"n": np.array(11, np.int32)})
    (got,) = results(net, [np.array(11, np.int32)])
    np.testing.assert_allclose(got, want, atol=1e-6)
    for n in (1, 10, 12):
        with pytest.raises((IndexError, RuntimeError, ValueError)):
            results(net, [np.array(n, np.int32)])


IMAGE = np.zeros((1, 2, 5, 3), np.float32)
TOLD: dict[str, tuple[str, list[Any], tuple[int, ...], dict[str, Any], str]] = {
    "sum": ("dynamic_sum", [X, i64(1)], (5, 2), {}, "no axes give the shape of its result"),
    "unsqueeze": ("dynamic_unsqueeze", [X, i64(1)], (3, 2, 2, 2), {}, "no axes give the shape of its result"),
    "nothing squeezed": ("dynamic_squeeze", [X, i64()], (3, 2, 2), {}, "no axes give the shape of its result"),
    "many axes": ("dynamic_sum", [np.zeros((1,) * 9, np.float32), i64(1)], (1,) * 9, {"keepdims": True}, "axes among 9"),
    "pad": ("dynamic_pad", [X[0], i64(0, 1, 1, 0)], (3, 3), {"mode": "symmetric"}, "mode symmetric by data"),
    "pad of bools": ("dynamic_pad", [X[0] > 0, i64(0, 1, 1, 0)], (3, 3), {}, "of bools by data"),
    "compress": ("compress", [X, np.ones(5, bool)], (3, 2, 2), {"axis": 1}, "it chooses among more elements than there are"),
    "resize of float64": (
        "dynamic_resize", [IMAGE.astype(np.float64), i64(4, 6)], (1, 2, 4, 6), {"axes": (2, 3)},
        "its result has another shape, or is not of float32",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_why_it_stays(name: str) -> None:
    op, arrays, out, attrs, why = TOLD[name]
    g = model(op, arrays, [out], attrs)
    tell(g, RULES)
    node = next(n for n in g if n.op == op)
    with pytest.raises(NotExpressible, match=f"^{why}"):
        RULES[op](Builder(g, before=node), node)
    before = [n.op for n in g]
    settle(g)
    assert [n.op for n in g] == before  # as it was, to be refused

"""Ops whose axes, sizes and amounts are inputs: what their written functions refuse, and what numpy gives otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convcore.errors import ConvcoreError, UnsupportedError
from convcore.interpreter import Interpreter
from convcore.layout import assign
from convcore.opset import all_ops
from convcore.opset.declare import Sample
from convcore.testing.samples import sample_graph
from convcore_pytorch.layout import CONVENTION

from .code_record import with_functions
from .torch_kit import emit_model

torch = pytest.importorskip("torch")
from convcore_pytorch import written_late as late
from convcore_pytorch.runtime import open_runtime


def written(op: str, *inputs: Any, **attrs: Any) -> tuple[Any, list[Any], list[Any]]:
    """The runtime of an op written, its inputs, and what the interpreter gives."""
    g, feeds = sample_graph(all_ops()[op], Sample(*inputs, **attrs), False)
    want = Interpreter(g).run(feeds)
    assign(g, CONVENTION, io="source")
    return open_runtime(with_functions(emit_model(g).model())), feeds, want


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap", "symmetric"])
@pytest.mark.parametrize("pads", [[0, 3, -1, 0, 2, 3], [1, -2, 0, -1, 4, 0], [1, 0, -4, 1, 5, 2]])
def test_pads_as_numpy(mode: str, pads: list[int]) -> None:
    """Cropped before it grows, also where the pads are attributes."""
    x = np.arange(2 * 5 * 7, dtype=np.float32).reshape(2, 5, 7)
    pairs = tuple(zip(pads[:3], pads[3:]))
    cut = x[tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, pairs))]
    want = np.pad(cut, [(max(a, 0), max(b, 0)) for a, b in pairs], mode=mode)  # type: ignore[call-overload]
    assert np.array_equal(late.padded(torch.from_numpy(x), pads, mode=mode).numpy(), want)
    if mode == "reflect" and (max(pads[1], pads[4]) >= 5 or pads[0] >= 2):
        return  # more than the declaration allows
    runtime, feeds, want_static = written("pad", (2, 5, 7), pads=pairs, mode=mode)
    assert np.array_equal(runtime.run(feeds)[0], want_static[0])


@pytest.mark.parametrize("axes", [[0, -1], [2, 0], []])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_as_numpy(axes: list[int], keepdims: bool) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    for every in (True, False):
        over = tuple(axes) if axes or not every else None
        rows = late.lined(torch.from_numpy(x), axes, every)
        y = torch.sum(rows, dim=-1)
        y = late.kept(y, torch.from_numpy(x), axes, every) if keepdims else y
        np.testing.assert_allclose(y.numpy(), np.sum(x, axis=over, keepdims=keepdims), rtol=1e-5)


ZEROS = torch.zeros(2, 3, 1)
BAD = [
    lambda: late.whole(2.5),
    lambda: late.distinct([0, 3], 3),
    lambda: late.distinct([0, -3], 3),
    lambda: late.squeezed(ZEROS, [1]),
    lambda: late.unsqueezed(ZEROS, [0, -5]),
    lambda: late.sliced(ZEROS, [0, 1], [0], [1, 1]),
    lambda: late.padded(ZEROS, [1, 1]),
    lambda: late.padded(ZEROS, [0, -2, 0, 0, -2, 0]),
    lambda: late.dft(ZEROS, axis=2),
    lambda: late.dft(torch.zeros(2, 5, 3)),
    lambda: late.col2im(torch.zeros(1, 6, 4), [3, 3], [2, 2], [1, 1], [1, 1], [(0, 0), (0, 0)]),
    lambda: late.col2im(torch.zeros(1, 4, 5), [3, 3], [2, 2], [1, 1], [1, 1], [(0, 0), (0, 0)]),
    lambda: late.col2im(torch.zeros(1, 4, 4), [3, 3], [2, 2], [1], [1, 1], [(0, 0), (0, 0)]),
    lambda: late.resize_axes(ZEROS, sizes=[2, 3]),
    lambda: late.resize_axes(ZEROS, sizes=[2, 3, 0]),
    lambda: late.resize_axes(ZEROS, scales=[1, 1.5, 1], coordinates="align_corners"),
    lambda: late.resize_axes(ZEROS, sizes=[2, 3, 2], roi=[0, 1], coordinates="tf_crop_and_resize"),
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(BAD)))
def test_what_running_refuses(at: int) -> None:
    with pytest.raises(ValueError):
        BAD[at]()


def test_a_size_that_does_not_fit_is_refused_as_it_runs() -> None:
    runtime, feeds, _ = written("dynamic_squeeze", (2, 1, 3, 1), np.array([1, -1]))
    with pytest.raises(ConvcoreError, match="have not size 1"):
        runtime.run([feeds[0], np.array([0, 1])])
    runtime, feeds, _ = written("dynamic_split", (2, 10, 3), np.array([2, 3, 5]), axis=1, count=3)
    with pytest.raises(ConvcoreError):
        runtime.run([feeds[0], np.array([2, 3, 6])])
    runtime, feeds, _ = written("dynamic_topk", (2, 7, 5), np.array([3]), axis=1)
    for k in (8, -1):
        with pytest.raises(ConvcoreError):
            runtime.run([feeds[0], np.array([k])])


HALF = ("float16", (3, 3))
REFUSED = [
    ("bitcast", [("uint8", (2, 3), 0, 2)], {"to": "bool"}, "truth values"),
    ("det", [HALF], {}, "determinant of float16"),
    ("dynamic_mean", [("int32", (2, 3), 0, 9), np.array([1])], {}, "mean of int32"),
    ("dynamic_dft_pairs", [("float16", (2, 7, 2)), np.array(5)], {}, "Fourier transform of float16"),
    ("dynamic_split", [(2, 3), np.array([3])], {"axis": 1, "count": 1}, "single part"),
]


@pytest.mark.parametrize("op, inputs, attrs, why", REFUSED)
def test_what_writing_refuses(op: str, inputs: list[Any], attrs: dict[str, Any], why: str) -> None:
    g, _ = sample_graph(all_ops()[op], Sample(*inputs, **attrs), False)
    assign(g, CONVENTION, io="source")
    with pytest.raises(UnsupportedError, match=why):
        emit_model(g)


@pytest.mark.parametrize("op", ["max", "min"])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_extremes_of_nothing(op: str, dtype: str) -> None:
    """What is below, or above, all numbers of the type; by axes that are inputs of floats only."""
    x = np.zeros((2, 0, 3), dtype)
    runtime, feeds, want = written(op, x, axes=(1,), keepdims=True)
    (got,) = runtime.run(feeds)
    assert got.dtype == want[0].dtype and np.array_equal(got, want[0])
    if dtype == "float32":
        runtime, feeds, want = written(f"dynamic_{op}", x, np.array([1]), keepdims=True, none_is_all=True)
        assert np.array_equal(runtime.run(feeds)[0], want[0])


@pytest.mark.parametrize("mask", [(), (11,), (5, 11)])
def test_masks_of_few_axes(mask: tuple[int, ...]) -> None:
    """torch takes two axes and more."""
    runtime, feeds, want = written("attention", (2, 3, 5, 7), (2, 3, 11, 7), (2, 3, 11, 7), mask)
    np.testing.assert_allclose(runtime.run(feeds)[0], want[0], rtol=1e-4, atol=1e-5)

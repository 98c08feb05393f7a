"""Half precision is computed in float32 and rounded once, as torch does on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from convcore.build.builder import Builder
from convcore.ir.graph import Graph
from convcore.passes.constants import fold_constants
from convcore.testing.ops import run_body, run_op

HALF = {"float16": (np.dtype(np.float16), torch.float16), "bfloat16": (np.dtype(ml_dtypes.bfloat16), torch.bfloat16)}
OVER: list[tuple[str, dict[str, Any], Callable[[Any], Any]]] = [
    ("sum", {"axes": (0,)}, lambda x: x.sum(0)),
    ("mean", {"axes": (0,)}, lambda x: x.mean(0)),
    ("softmax", {"axis": 0}, lambda x: x.softmax(0)),
    ("log_softmax", {"axis": 0}, lambda x: x.log_softmax(0)),
    ("cumsum", {"axis": 0}, lambda x: x.cumsum(0)),
    ("logsumexp", {"axes": (0,)}, lambda x: x.logsumexp(0)),
    ("l2_norm", {"axes": (0,)}, lambda x: x.norm(dim=0)),
    ("variance", {"axes": (0,)}, lambda x: x.var(0, correction=0)),
    ("std", {"axes": (0,), "ddof": 1}, lambda x: x.std(0)),
]


def rounded(a: Any, to: Any) -> torch.Tensor:
    return torch.from_numpy(a.astype(np.float32)).to(to)


@pytest.mark.parametrize("kind", HALF)
@pytest.mark.parametrize("name,attrs,judge", OVER, ids=[n for n, _, _ in OVER])
def test_what_adds_up_does_not_get_stuck(kind, name, attrs, judge):
    """3001 numbers around 1 along an outer axis: added up in the dtype itself they end at 256 (bfloat16) or 4096 (float16)."""
    dtype, theirs = HALF[kind]
    x = np.random.default_rng(3).uniform(0.5, 1.5, (3001, 3)).astype(dtype)
    (got,) = run_op(name, x, **attrs)
    want = judge(rounded(x, theirs)).double().numpy()
    assert got.dtype == dtype
    assert np.abs(got.astype(np.float64) - want).max() <= 2 * float(ml_dtypes.finfo(dtype).eps) * np.abs(want).max()


@pytest.mark.parametrize("kind", HALF)
def test_products_in_half_precision(kind):
    dtype, theirs = HALF[kind]
    rng = np.random.default_rng(5)
    x, w, b = (rng.uniform(0.5, 1.5, s).astype(dtype) for s in ((5, 3001), (7, 3001), (7,)))
    (got,) = run_op("linear", x, w, b)
    want = torch.nn.functional.linear(*(rounded(a, theirs) for a in (x, w, b))).double().numpy()
    assert np.abs(got.astype(np.float64) - want).max() <= float(ml_dtypes.finfo(dtype).eps) * want.max()
    (mixed,) = run_op("einsum", x, w, w, equation="ab,cb,cb->ac")
    exact = np.einsum("ab,cb,cb->ac", *(a.astype(np.float64) for a in (x, w, w)))
    assert (
        mixed.dtype == dtype and np.abs(mixed.astype(np.float64) - exact).max() <= float(ml_dtypes.finfo(dtype).eps) * exact.max()
    )


@pytest.mark.parametrize("kind", HALF)
def test_constants_are_folded_in_float32(kind):
    dtype, _ = HALF[kind]
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", kind, (3,))
    g.outputs = [b.add(x, b.sum(b.const(np.ones((3001, 3)), kind), axes=(0,)))]
    assert fold_constants(g) == 1
    (w,) = g.weights.values()
    assert w.tensor is not None and w.tensor.numpy().astype(np.float64) == pytest.approx(
        3001, rel=float(ml_dtypes.finfo(dtype).eps)
    )


NORMS: list[tuple[str, dict[str, Any]]] = [
    ("rms_norm", {"axes": (1,), "epsilon": 1e-6}),
    ("layer_norm", {"axes": (1,), "epsilon": 1e-12}),
    ("mean_variance_norm", {"axes": (1,), "epsilon": 1e-9}),
    ("l2_normalize", {"axes": (1,), "epsilon": 1e-12}),
    ("lp_normalize", {"axis": 1, "p": 2}),
    ("group_norm", {"groups": 2, "epsilon": 1e-6, "axis": 1}),
    ("l2_norm", {"axes": (1,)}),
    ("std", {"axes": (1,), "ddof": 1}),
]


@pytest.mark.parametrize("name,attrs", NORMS, ids=[n for n, _ in NORMS])
def test_the_body_of_a_norm_squares_in_float32(name, attrs):
    """700 squared is not a float16: a target without the op must not write what overflows."""
    x = (np.random.default_rng(7).standard_normal((3, 14, 5)) * 700).astype(np.float16)
    (want,), (got,) = run_op(name, x, **attrs), run_body(name, x, **attrs)
    assert got.dtype == np.float16 and np.isfinite(got).all() and np.isfinite(want).all()
    assert np.abs(got.astype(np.float64) - want).max() <= 2**-10 * np.abs(want).max()


def test_results_have_the_dtype_of_the_first_float_input():
    x = np.ones((2, 3, 5), np.float32)
    (y,) = run_op("dequantize", np.arange(6, dtype=np.int8).reshape(2, 3), np.float16(0.5))
    assert y.dtype == np.float16
    (y,) = run_op("batch_norm", x, None, None, *(np.ones(3, np.float16),) * 2, epsilon=1e-3, axis=1)
    assert y.dtype == np.float32
    (y,) = run_op("isnan", x.astype(np.float16))
    assert y.dtype == np.bool_

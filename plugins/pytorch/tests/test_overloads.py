"""Operators and overloads that Python's functions rarely call: each called by its own name, beside torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from convcore.errors import UnsupportedError
from convcore_pytorch.rules import RULES
from convcore_pytorch.signatures import signature

from .test_operators import run

X = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(5))
IMAGE = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(6))
VOLUME = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(7))
N = torch.tensor([[3, 1, 3, 2, 1], [0, 0, 2, 2, 2]])
V = torch.randn(7, generator=torch.Generator().manual_seed(8))
C = torch.complex(X, X.flip(0))
W = torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(9))

CALLS = """
absolute(x) | adjoint(x) | alias(x) | all.dims(x > 0, [0, 2]) | any.dims(x > 0, [0, 2], True) | argsort.stable(x, stable=True)
clamp_max(x, 0.5) | clip(x, -0.5, 0.5) | clip.Tensor(x, v, None) | concat([x, x], 1) | concatenate([x, x], 2) | cpu(x)
copysign.Scalar(x, -1.0) | count_nonzero.dim_IntList(x, [0, 1]) | detach_copy(x) | div.Scalar_mode(x, 0.3, rounding_mode="floor")
divide.Tensor_mode(x, v, rounding_mode="trunc") | dsplit.int(x, 7) | hsplit.array(x, [1, 3]) | vsplit.array(x, [1, 2])
fix(x) | float_power.Tensor_Scalar(x, 2.0) | ger(v, x[0, 0]) | index_fill.int_Tensor(x, 1, n[1], v[0]) | lift(x) | lift_fresh(x)
masked_fill.Tensor(x, x > 0, v[0]) | moveaxis.int(x, 0, 2) | moveaxis.intlist(x, [0, 1], [2, 0]) | movedim.int(x, 2, 0)
multiply.Tensor(x, v) | mul.Tensor(x, v) | mul.Scalar(x, 3.0) | div.Tensor(x, v) | div.Scalar(x, 3.0) | true_divide.Scalar(n, 4.0)
norm.Scalar(x, 3.0) | norm.ScalarOpt_dim_dtype(x, 1.0, [1], True, dtype=torch.float64) | one_hot(n, 5) | prod.dim_int(x, 1)
row_stack([x, x]) | select_copy.int(x, 1, 2) | slice_copy.Tensor(x, 1, 0, 4, 2) | sort.stable(x, stable=True, dim=1)
special_log_softmax(x, 1) | special_logit(x, 0.1) | special_logsumexp(x, [1]) | special_round(x, decimals=1) | special_sinc(x)
special_softmax(x, 1) | special_xlogy(x, x) | split.sizes(x, [2, 5], 2) | split_copy.Tensor(x, 2, 1) | std.dim(x, [0, 1])
std_mean.dim(x, [0, 2]) | var.dim(x, [1]) | var_mean.dim(x, [1]) | swapaxes(x, 0, 2) | swapdims(x, 0, 2)
tensor_split.indices(x, [1, 4], 2) | tensor_split.sections(x, 3, 2) | to.dtype_layout(x, dtype=torch.float64) | to.other(x, n)
type_as(n, x) | unsafe_split_with_sizes(x, [2, 3], 1) | where.ScalarOther(x > 0, x, 2.0) | where.ScalarSelf(x > 0, 2.0, x)
xlogy.Scalar_Other(x, 0.5) | xlogy.Scalar_Self(0.5, x) | _reshape_copy(x, [15, 7]) | _unsafe_index_put(x, [n[0, :3] % 3], x)
isin.Scalar_Tensor(2, n) | isin.Tensor_Scalar(n, 2) | searchsorted.Scalar(n[1], 1) | bucketize.Scalar(1, n[1])
scatter.value(x, 1, n[:, None, :], 2.0) | scatter.reduce(x, 1, n[:, None, :], x, reduce="add") | eye.m(5, 3)
scatter.value_reduce(x, 1, n[:, None, :], 2.0, reduce="multiply") | threshold(x, 0.5, -1.0) | _weight_norm(w, w[:, :1, :1], 0)
rrelu(x, 0.1, 0.3, False) | embedding(v[:, None].expand(7, 3), n) | affine_grid_generator(m[:, 0, :2, :3], [2, 3, 4, 5], True)
_adaptive_avg_pool2d(m, [3, 2]) | _adaptive_avg_pool3d(z, [2, 2, 3]) | _cdist_forward(x, x, 2.0, None) | _pdist_forward(x[0], 1.0)
_convolution(m, w[:, :, None], None, [1, 1], [0, 1], [1, 1], False, [0, 0], 1, False, False, True, True)
_native_batch_norm_legit_no_training(m, v[:3], v[:3], v[:3], v[:3] * 0 + 1, 0.1, 1e-5) | native_channel_shuffle(m[:, :, :2], 3)
conv1d.padding(x, w[:, :1].expand(4, 5, 3), None, [1], "same") | conv2d.padding(m, w[:, :, None], None, [1, 1], "valid")
_convolution_mode(m, w[:, :, None], None, [1, 1], "same", [1, 1], 1)
reflection_pad1d(x, [1, 2]) | reflection_pad2d(m, [1, 2, 0, 1]) | reflection_pad3d(z, [1, 1, 1, 0, 1, 1])
replication_pad1d(x, [1, 2]) | replication_pad3d(z, [1, 1, 1, 0, 1, 1]) | upsample_nearest1d(x, [9])
upsample_nearest2d(m, [9, 7]) | upsample_nearest3d(z, [5, 7, 8]) | upsample_linear1d(x, [9], False)
upsample_bilinear2d(m, [9, 7], True)
upsample_trilinear3d(z, [5, 7, 8], False) | upsample_bicubic2d(m, [9, 7], False) | _upsample_bilinear2d_aa(m, [3, 4], False)
_upsample_bicubic2d_aa(m, [3, 4], False) | _upsample_nearest_exact1d(x, [9]) | _upsample_nearest_exact2d(m, [9, 7])
_upsample_nearest_exact3d(z, [5, 7, 8]) | upsample_nearest2d.vec(m, None, [2.0, 3.0]) | upsample_nearest3d.vec(z, [5, 7, 8], None)
special_shifted_chebyshev_polynomial_t.n_scalar(x, 3) | special_shifted_chebyshev_polynomial_u.x_scalar(0.5, n)
_upsample_bicubic2d_aa.vec(m, [3, 4], False, None) | _upsample_nearest_exact2d.vec(m, None, [2.0, 1.5])
_upsample_nearest_exact3d.vec(z, [5, 7, 8], None) | meshgrid([v, v[:3]])
_batch_norm_no_update(m, v[:3], v[:3], v[:3], v[:3] ** 2, 0.1, 1e-5)[0]
nonzero_numpy(x > 0) | inverse(x[:, :, :5]) | cholesky(x[0] @ x[0].mT + torch.eye(5)) | cholesky(x[0] @ x[0].mT, True)
_embedding_bag(x[0], n[0], n[1][:2] * 0)[0] | embedding_bag(x[0], n[0], n[1][:2] * 0)[0] | unique_dim(n, 1, True, True, True)
_embedding_bag_forward_only(x[0], n[0], n[1][:2] * 0)[0] | _conj_copy(c) | conj_physical(c) | matrix_H(c[0]) | mH(c) | _conj(c)
_conj_physical(c) | view_as_real_copy(c) | view_as_complex_copy(x[..., :2].contiguous()) | as_strided_copy(x, [2], [3], 1)
stft(x[0], 5, 2, 3, None, True, True, False) | linalg_matrix_exp(x[0, :, :5]) | matrix_exp(x[0, :, :5]) | conj(c)
linalg_lu(x) | linalg_slogdet(x[:, :, :5])
_unsafe_masked_index(x, n[:, :3] > 0, [n[:, :3], n[:, :3], n[:, 2:]], 2.0) | histogram.bins_tensor(x, v.sort()[0])
_unsafe_masked_index_put_accumulate(x, n[:, :3] > 0, [n[:, :3] % 3, n[:, :3], n[:, 2:]], x[0, :2, :3])
native_group_norm(m, v[:3], None, 2, 3, 30, 3, 0.1) | zero(torch.empty_strided([3], [1]))
zero(torch.ops.aten.new_empty_strided(x, [3], [1])) | zero(torch.empty_permuted([2, 3], [1, 0]))
hamming_window(7) | hamming_window.periodic(7, False) | hamming_window.periodic_alpha(7, True, 0.6) | kaiser_window(7)
hamming_window.periodic_alpha_beta(7, True, 0.6, 0.3) | hann_window(7) | hann_window.periodic(7, False) | blackman_window(7)
blackman_window.periodic(7, False) | bartlett_window(7) | bartlett_window.periodic(7, False) | kaiser_window.periodic(7, False)
kaiser_window.beta(7, True, 3.0)
special_shifted_chebyshev_polynomial_t.x_scalar(0.5, n) | special_shifted_chebyshev_polynomial_u.n_scalar(x, 3)
special_shifted_chebyshev_polynomial_v.x_scalar(0.5, n) | special_shifted_chebyshev_polynomial_w.n_scalar(x, 2)
special_shifted_chebyshev_polynomial_v.n_scalar(x, 2) | special_shifted_chebyshev_polynomial_w.x_scalar(0.5, n)
"""


@pytest.mark.parametrize("call", [c.strip() for line in CALLS.strip().splitlines() for c in line.split(" | ")])
def test_the_overload(call: str) -> None:
    names = {"x": X, "n": N, "v": V, "w": W, "m": IMAGE, "z": VOLUME, "c": C}
    used = [k for k in names if k in call.partition("(")[2]] or ["x"]

    def fn(*tensors: Any) -> Any:
        return eval(f"torch.ops.aten.{call}", {"torch": torch, **dict(zip(used, tensors))})

    inputs = [names[k] for k in used]
    want = fn(*inputs)
    want = want if isinstance(want, (tuple, list)) else [want]
    found = run(fn, *inputs)
    for a, b in zip(found, want):
        assert a.shape == tuple(b.shape)
        np.testing.assert_allclose(a, b.resolve_conj().numpy(), rtol=2e-5, atol=2e-6)


REFUSED = """
bernoulli(x * 0 + 0.5) | bernoulli.p(x, 0.5) | bernoulli.Tensor(x, x * 0 + 0.5) | normal.Tensor_Tensor(x, x * x)
randint(5, [3]) | randint.low(1, 5, [3]) | randint_like(x, 5) | randperm(5) | view.dtype(x, torch.int32)
"""


@pytest.mark.parametrize("call", [c.strip() for line in REFUSED.strip().splitlines() for c in line.split(" | ")])
def test_what_is_refused(call: str) -> None:
    def fn(x: Any) -> Any:
        made = eval(f"torch.ops.aten.{call}", {"torch": torch, "x": x})
        return [*made, x] if isinstance(made, (list, tuple)) else (made, x)

    with pytest.raises(UnsupportedError, match=r"random|drawn|depends on the data|reads the bytes|chance"):
        run(fn, X)


def test_every_operator_with_a_rule_is_torchs() -> None:
    """By the schemas of ``aten.txt``, where some are in place only; the exceptions are those of TorchScript."""
    named = {k for k in RULES.load_rules if k.startswith("aten.")}

    def known(k: str) -> bool:
        _, name, overload = (k if k.count(".") > 1 else f"{k}.default").split(".")
        return any(signature(f"aten.{n}.{overload}") is not None for n in (name, f"{name}_"))

    missing = {k for k in named if not known(k)}
    assert missing == {"aten.to.dtype_layout"}

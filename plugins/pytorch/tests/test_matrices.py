"""Linear algebra beside torch: factorings, what follows from them, and what is refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from .test_operators import agrees, exported, run

torch = pytest.importorskip("torch")

G = torch.Generator().manual_seed(5)
A = torch.randn(2, 5, 5, generator=G)
TALL, WIDE = torch.randn(2, 7, 3, generator=G), torch.randn(3, 7, generator=G)
B = torch.randn(2, 5, 3, generator=G)
SINGULAR = torch.tensor([[1.0, 2, 3], [2, 4, 6], [1, 1, 1]])


@pytest.mark.parametrize(
    "fn",
    [
        torch.linalg.det, torch.linalg.slogdet, lambda a: torch.logdet(a @ a.mT), torch.linalg.inv, torch.inverse,
        lambda a: torch.linalg.lu_factor(a), lambda a: torch.linalg.lu(a), lambda a: torch.lu_unpack(*torch.linalg.lu_factor(a)),
        lambda a: torch.linalg.matrix_power(a, -3), torch.linalg.matrix_exp, lambda a: torch.linalg.matrix_exp(a * 7),
        lambda a: torch.linalg.cholesky(a @ a.mT + torch.eye(5)), lambda a: torch.linalg.cholesky_ex(a @ a.mT, upper=True),
        lambda a: torch.cholesky_inverse(torch.linalg.cholesky(a @ a.mT + torch.eye(5))),
        lambda a: torch.linalg.qr(a, mode="complete"), lambda a: torch.linalg.qr(a, mode="r").R,
        lambda a: torch.linalg.multi_dot([a[0], a[1], a[0]]), lambda a: torch.linalg.matrix_norm(a), torch.linalg.cross,
    ],
)  # fmt: skip
def test_square(fn):
    agrees(fn, A[:, :3, :3] if fn is torch.linalg.cross else A, *([A[:, :3, :3] + 1] if fn is torch.linalg.cross else []))


@pytest.mark.parametrize("x", [TALL, WIDE, TALL.new_zeros(3, 2)], ids=["tall", "wide", "zeros"])
def test_reflections(x):
    agrees(torch.linalg.qr, x)
    agrees(torch.geqrf, x)
    agrees(lambda v: torch.linalg.lu(v), x)
    if x.shape[-2] >= x.shape[-1]:
        agrees(lambda v: torch.linalg.householder_product(*torch.geqrf(v)), x)
    other = torch.randn(*x.shape[:-1], 4, generator=G)
    for turned in (False, True):
        agrees(lambda v, o, t=turned: torch.ormqr(*torch.geqrf(v), o, transpose=t), x, other)
        agrees(lambda v, o, t=turned: torch.ormqr(*torch.geqrf(v), o.mT, left=False, transpose=t), x, other)


def test_systems():
    for left in (True, False):
        agrees(lambda a, b, k=left: torch.linalg.solve(a, b if k else b.mT, left=k), A, B)
        agrees(lambda a, b, k=left: torch.linalg.lu_solve(*torch.linalg.lu_factor(a), b if k else b.mT, left=k), A, B)
        for upper in (True, False):
            agrees(
                lambda a, b, k=left, u=upper: torch.linalg.solve_triangular(
                    a + 3 * torch.eye(5), b if k else b.mT, upper=u, left=k
                ),
                A,
                B,
            )
    agrees(lambda a, b: torch.linalg.lu_solve(*torch.linalg.lu_factor(a), b, adjoint=True), A, B)
    agrees(lambda a, b: torch.linalg.solve(a, b[..., 0]), A, B)
    agrees(lambda a, b: torch.linalg.solve(a, b), A[0], B)
    agrees(lambda a, b: torch.triangular_solve(b, a + 3 * torch.eye(5), transpose=True, unitriangular=True), A, B)
    agrees(lambda a, b: torch.cholesky_solve(b, torch.linalg.cholesky(a @ a.mT + torch.eye(5))), A, B)


def test_a_singular_matrix_says_where():
    """No pivot in the third column: the determinant is 0, and info counts from 1."""
    agrees(torch.linalg.det, SINGULAR)
    agrees(lambda a: torch.linalg.lu_factor_ex(a)[2], SINGULAR)
    agrees(lambda a: torch.linalg.inv_ex(a).info, SINGULAR)
    agrees(lambda a: torch.linalg.cholesky_ex(a).info, SINGULAR @ SINGULAR.T - torch.eye(3))


def test_a_batch_that_is_free():
    class Inverse(torch.nn.Module):
        def forward(self, x):
            return torch.linalg.inv(x) @ x

    from convcore import load

    model = load(Inverse().eval(), example_inputs=A)
    assert not model.problems and model.graph.outputs[0].shape[0] == model.graph.inputs[0].shape[0] != 2
    for n in (1, 7):
        x = np.random.default_rng(n).standard_normal((n, 5, 5)).astype(np.float32)
        got = model(x)
        np.testing.assert_allclose(got, np.broadcast_to(np.eye(5), (n, 5, 5)), atol=2e-3)


def test_loops_go_to_onnx():
    """A factoring is one loop there, and onnxruntime agrees."""
    pytest.importorskip("onnxruntime")
    from convcore.testing.torch_runs import run_program

    for fn in (torch.linalg.inv, lambda a: torch.linalg.qr(a), torch.linalg.det):
        want = fn(A)
        want = want if isinstance(want, tuple) else (want,)
        for got, w in zip(run_program(exported(fn, A), (A,), "onnx"), want, strict=True):
            np.testing.assert_allclose(got, w.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("fn", "why"),
    [
        (torch.linalg.svdvals, "_linalg_svd"), (torch.linalg.eigvalsh, "_linalg_eigh"), (torch.linalg.eigvals, "linalg_eig"),
        (torch.linalg.pinv, "linalg_pinv"), (lambda a: torch.linalg.inv(torch.complex(a, a)), "complex64"),
        (lambda a: torch.linalg.lu(a, pivot=False), "without pivots|pivot"),
    ],
)  # fmt: skip
def test_refused_by_name(fn, why):
    with pytest.raises(Exception, match=why):
        run(fn, A)

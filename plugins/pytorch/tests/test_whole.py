"""Operators that files hold whole, where live modules may be taken apart by torch: with a rule of their own, equal to torch's."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import convcore

INF = float("inf")
f, real, la = torch.fft, torch.view_as_real, torch.linalg


class All(torch.nn.Module):
    """Several functions of the same inputs."""

    def __init__(self, functions: list[Callable[..., Any]]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, *given):
        return tuple(fn(*given) for fn in self.functions)


def whole(functions: list[Callable[..., Any]], path: Path, *given: torch.Tensor, dynamic: Any = None) -> Any:
    """The model of a file, whose calls nothing takes apart."""
    torch.export.save(torch.export.export(All(functions).eval(), given, dynamic_shapes=dynamic, strict=False), path)
    return convcore.load(path)


X, Y = torch.randn(3, 5, 7), torch.randn(3, 5, 7)
SPECTRUM = [
    lambda x, _: real(f.fft(x)),
    lambda x, _: real(f.fft(x, 9, 1, "ortho")),
    lambda x, _: real(f.fft(x, 4, 0, "forward")),
    lambda x, y: real(f.ifft(torch.complex(x, y), 3)),
    lambda x, _: real(f.ifft2(x, norm="forward")),
    lambda x, _: real(f.fft2(x, (4, -1), (0, 2))),
    lambda x, y: real(f.fftn(torch.complex(x, y), norm="ortho")),
    lambda x, _: real(f.ifftn(x, (2, 9))),
    lambda x, _: real(f.rfft(x, 6)),
    lambda x, _: real(f.rfft2(x, norm="forward")),
    lambda x, _: real(f.rfftn(x, dim=(0, 1))),
    lambda x, _: real(f.ihfft(x, norm="ortho").resolve_conj()),
    lambda x, _: real(f.ihfft2(x)),
    lambda x, _: real(f.ihfftn(x, (4, 3), (1, 0))),
    lambda x, y: f.irfft(torch.complex(x, y)),
    lambda x, y: f.irfft(torch.complex(x, y), 9, 1),
    lambda x, y: f.irfft(x, 5, 2),
    lambda x, y: f.irfft2(torch.complex(x, y), norm="ortho"),
    lambda x, y: f.irfftn(torch.complex(x, y), (4, 11), (1, 2)),
    lambda x, y: f.hfft(torch.complex(x, y)),
    lambda x, y: f.hfft(torch.complex(x, y), 7, 0, "forward"),
    lambda x, y: f.hfft2(torch.complex(x, y)),
    lambda x, y: f.hfftn(torch.complex(x, y), (3, 4), (0, 1), "ortho"),
    lambda x, _: f.fftshift(x),
    lambda x, _: f.ifftshift(x, 1),
    lambda x, _: f.fftfreq(7, 0.5) + x,
    lambda x, _: f.rfftfreq(12) + x,
    lambda x, _: real(f.fft((x * 9).int())),
]
NORMS = [
    lambda x, _: la.matrix_norm(x),
    lambda x, _: la.matrix_norm(x, 1),
    lambda x, _: la.matrix_norm(x, -1, (2, 0), True),
    lambda x, _: la.matrix_norm(x, INF, (0, 2)),
    lambda x, _: la.matrix_norm(x, -INF, keepdim=True, dtype=torch.float64),
    lambda x, _: la.norm(x),
    lambda x, _: la.norm(x, "fro", (1, 2), True),
    lambda x, _: la.norm(x, 3, 1),
    lambda x, _: la.norm(x, INF, (0, 1)),
    lambda x, _: la.norm(x, dim=1),
    lambda x, _: la.norm(x[0], 1),
    lambda x, _: la.norm(x, 0, 2),
    lambda x, _: la.norm(x, -INF, 0),
    lambda x, _: torch.ops.aten.frobenius_norm(x, [1, 2], True),
    lambda x, y: F.cosine_similarity(x, y),
    lambda x, y: F.cosine_similarity(x, y[:, :1], 1, 0.5),
    lambda x, y: F.cosine_similarity(x, y[0], -1, 3.0),
    lambda x, y: F.pairwise_distance(x, y, 3.0, keepdim=True),
    lambda x, y: F.pairwise_distance(x, y[0], 1.0, 0.1),
    lambda x, y: torch.renorm(x * 3, 2, 0, 4.0),
    lambda x, y: torch.renorm(x, 1, 1, 9.0),
]
AT, W = torch.tensor([1, -1, 0]), torch.rand(5)


def losses() -> list[Callable[..., Any]]:
    p, q = torch.sigmoid, torch.softmax
    hows = ("none", "mean", "sum")
    found: list[Callable[..., Any]] = [lambda x, y, h=h: F.mse_loss(x, y, reduction=h) for h in hows]
    found += [lambda x, y, h=h: F.cross_entropy(x, (y[:, 0] * 2).long() % 5, W, ignore_index=3, reduction=h) for h in hows]
    return [
        *found,
        lambda x, y: F.l1_loss(x, y),
        lambda x, y: F.smooth_l1_loss(x, y, beta=0.5),
        lambda x, y: F.smooth_l1_loss(x, y, beta=0),
        lambda x, y: F.huber_loss(x, y, delta=0.7),
        lambda x, y: F.binary_cross_entropy(p(x), p(y), p(x + y)),
        lambda x, y: F.binary_cross_entropy((x > 0).float(), p(y)),
        lambda x, y: F.binary_cross_entropy(1e-6 * p(x), p(y) * 0) * 1e6,
        lambda x, y: F.binary_cross_entropy_with_logits(x, p(y)),
        lambda x, y: F.binary_cross_entropy_with_logits(x, p(y), p(x), pos_weight=torch.arange(7.0), reduction="sum"),
        lambda x, y: F.kl_div(x, q(y, 1), reduction="sum"),
        lambda x, y: F.kl_div(x, y, log_target=True),
        lambda x, y: F.kl_div(x, (y > 0).float(), reduction="none"),
        lambda x, y: F.soft_margin_loss(x, y.sign()),
        lambda x, y: F.soft_margin_loss(x * 60, y.sign(), reduction="none"),  # whose exponentials are infinite
        lambda x, y: F.nll_loss(x, (y[:, 0] * 2).long() % 5),
        lambda x, y: F.nll_loss(x[:, :, 0], AT % 5, W, reduction="none"),
        lambda x, y: F.nll_loss(x[0, :, 0], AT[0]),
        lambda x, y: F.cross_entropy(x[:, :, 0], AT, ignore_index=-1, label_smoothing=0.2),
        lambda x, y: F.cross_entropy(x, AT[:, None].expand(3, 7) % 5, W, label_smoothing=0.1),
        lambda x, y: F.cross_entropy(x, q(y, 1), W, label_smoothing=0.1),
        lambda x, y: F.cross_entropy(x, q(y, 1), reduction="none"),
        lambda x, y: F.cross_entropy(x[0, :, 0], q(y[0, :, 0], 0)),
    ]


def square(x: torch.Tensor) -> torch.Tensor:
    return x[:, :, :5] + 4 * torch.eye(5)


LARGE = torch.tensor([16777217, -16777217, 5, 0])
ODD = torch.tensor([INF, -INF, float("nan"), 0.0, 1.0, 1.0 + 1e-6, -2.0])
SMALL = [
    lambda x, y: torch.addr(x[0], y[0, :, 0], y[1, 0], beta=2, alpha=0.5),
    lambda x, y: torch.addr(x[0], y[0, :, 0], y[1, 0], beta=0),
    lambda x, y: torch.trace(x[0]),
    lambda x, y: torch.trace((x[0] * 9).int()),
    lambda x, y: torch.diag(x[0], 2),
    lambda x, y: torch.diag(x[0, 0], -1),
    lambda x, y: torch.diagflat(x[0], 1),
    lambda x, y: torch.diag(x[0] > 0, -2),
    lambda x, y: torch.isclose(x, x + 1e-6 * y),
    lambda x, y: torch.isclose(ODD, ODD.flip(0)),
    lambda x, y: torch.isclose(ODD, ODD + 0, equal_nan=True),
    lambda x, y: torch.isclose((x * 3).int(), (y * 3).int(), 0.5, 0),
    lambda x, y: torch.isclose(x > 0, y > 0),
    lambda x, y: torch.isclose(x > 0, y > 0, 1.0, 2.0),
    lambda x, y: torch.isclose(LARGE, LARGE - 1, 1e-8, 0),
    lambda x, y: torch.isclose(LARGE, LARGE - 1, 0, 0),
    lambda x, y: torch.heaviside(ODD, x[0, 0]),
    lambda x, y: torch.heaviside(x > 0, y > 0),
    lambda x, y: torch.isposinf(ODD),
    lambda x, y: torch.isneginf(ODD),
    lambda x, y: torch.isposinf((x * 3).int()),
    lambda x, y: torch.aminmax(x)[1],
    lambda x, y: torch.aminmax(x, dim=1, keepdim=True)[0],
    lambda x, y: la.vecdot(x, y, dim=1),
    lambda x, y: la.multi_dot([x[0], y[0].T, x[1]]),
    lambda x, y: la.multi_dot([x[0, :, 0], y[0], x[1, 0]]),
    lambda x, y: la.cross(x[:, :, :3], y[:, :1, :3]),
    lambda x, y: torch.cross(x, y, dim=0),
    lambda x, y: la.det(square(x)),
    lambda x, y: la.slogdet(square(x))[1],
    lambda x, y: la.inv(square(x)),
    lambda x, y: la.solve(square(x), y),
    lambda x, y: la.solve_ex(square(x), y[:, :, 0])[0],
    lambda x, y: la.lu_factor(square(x))[0],
]


@pytest.mark.parametrize("functions", [SPECTRUM, NORMS, losses(), SMALL], ids=["spectrum", "norms", "losses", "small"])
def test_they_give_what_torch_gives(functions: list[Callable[..., Any]], tmp_path: Path) -> None:
    model = whole(functions, tmp_path / "a.pt2", X, Y)
    assert not model.problems
    for x, y in ((X, Y), (Y * 2, X + 1)):
        for i, (a, t) in enumerate(zip(model(x.numpy(), y.numpy()), All(functions)(x, y), strict=True)):
            want = t.numpy()
            assert a.shape == want.shape and a.dtype == want.dtype, i
            size = float(np.max(np.abs(want), where=np.isfinite(want), initial=1)) if want.dtype.kind == "f" else 1
            np.testing.assert_allclose(a, want, rtol=1e-4, atol=1e-5 * size, err_msg=f"{i}")


B = torch.ones(5, 5, dtype=torch.bool)
REFUSED: list[tuple[Callable[..., Any], str]] = [
    (lambda x, b: real(f.fft(x, norm="forward")), "transforms axis 2, whose size"),
    (lambda x, b: real(f.fft(x, 4)), "cuts or fills axis 2"),
    (lambda x, b: real(f.rfft(x)), "transforms axis 2"),
    (lambda x, b: f.irfft(torch.complex(x, x)), "transforms axis 2"),
    (lambda x, b: f.fftshift(x), "turns axis 2"),
    (lambda x, b: la.matrix_norm(x[..., :3], 2), "ord=2 needs singular values"),
    (lambda x, b: la.norm(x, "nuc", (0, 1)), "ord='nuc' needs singular values"),
    (lambda x, b: torch.aminmax(b)[0], "of bool"),
    (lambda x, b: torch.addr(b, b[0], b[1]), "of bool"),
    (lambda x, b: torch.renorm(x.half(), 2, 0, 1.0), "of float16"),
    (lambda x, b: F.cross_entropy(x[:, 0], AT, ignore_index=-1, label_smoothing=0.1), "symbolic number of classes"),
]


def test_what_is_refused(tmp_path: Path) -> None:
    """Each by its reason: sizes that are free where they count, singular values, types."""
    functions, whys = zip(*REFUSED)
    model = whole(list(functions), tmp_path / "a.pt2", X, B, dynamic=(({2: torch.export.Dim("time", min=5)}, None),))
    assert len(model.problems) == len(whys)
    for problem, why in zip(model.problems, whys, strict=True):
        assert why in str(problem)


EDITED = [
    ('"as_ints": [4, 5]', '"as_ints": [4, 5, 6]', "3 lengths for 2 axes"),
    ('"as_ints": [4, 5]', '"as_ints": [4, 0]', "of 0 elements"),
    ('"as_ints": [0, 1]', '"as_ints": [1, 1]', "an axis twice"),
    ('"as_string": "ortho"', '"as_string": "other"', "norm='other' is not known"),
    ('"n", "arg": {"as_int": 9}', '"n", "arg": {"as_int": 0}', "gives 0 elements"),
    ('"as_ints": [2, 1]', '"as_ints": [1, 1]', "a matrix has two axes"),
    ('"ord", "arg": {"as_float": 1.0}', '"ord", "arg": {"as_float": 3.5}', "ord=3.5 is none of a matrix"),
    ('"reduction", "arg": {"as_int": 2}', '"reduction", "arg": {"as_int": 7}', "reduction=7 is not known"),
    ('"as_float": 0.75', '"as_float": -1.0', "delta=-1.0"),
    ('"dim", "arg": {"as_int": -3}', '"dim", "arg": {"as_int": -2}', "of vectors that have not 3 elements"),
]


def test_what_a_file_may_hold_besides(tmp_path: Path) -> None:
    """What torch itself would not take."""
    functions = [
        lambda x, y: real(f.fft2(x, (4, 5), (0, 1))),
        lambda x, y: real(f.fft(x, norm="ortho")),
        lambda x, y: f.irfft(x, 9),
        lambda x, y: la.matrix_norm(x, 1.5 - 0.5, (2, 1)),
        lambda x, y: F.mse_loss(x, y, reduction="sum"),
        lambda x, y: F.huber_loss(x, y, delta=0.75),
        lambda x, y: la.cross(x[:, :, :3], y[:, :, :3], dim=-3),
    ]
    whole(functions, tmp_path / "a.pt2", X, Y)
    with zipfile.ZipFile(tmp_path / "a.pt2") as z:
        files = {n: z.read(n) for n in z.namelist()}
    name = next(n for n in files if n.endswith("models/model.json"))
    for old, new, why in EDITED:
        assert files[name].count(old.encode()) == 1, old
        with zipfile.ZipFile(tmp_path / "b.pt2", "w") as z:
            for n, data in files.items():
                z.writestr(n, data.replace(old.encode(), new.encode()) if n == name else data)
        problems = convcore.load(tmp_path / "b.pt2").problems
        assert len(problems) == 1 and why in str(problems[0]), (old, [str(p) for p in problems])

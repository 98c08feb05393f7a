"""Complex numbers and Fourier transforms beside torch."""

from __future__ import annotations

import pytest

from .test_operators import X, agrees, run

torch = pytest.importorskip("torch")
Z = torch.complex(X[:2], X[1:])


@pytest.mark.parametrize("norm", ["forward", "backward", "ortho"])
@pytest.mark.parametrize("n", [4, 7, 11])
def test_lengths_and_norms(n, norm):
    """Cut, as it is, and filled up; the real ones with an even and an odd number of elements."""
    for name in ("fft", "ifft", "rfft", "ihfft"):
        agrees(lambda x, f=name: getattr(torch.fft, f)(x, n, norm=norm), X)
    for name in ("fft", "ifft", "irfft", "hfft"):
        agrees(lambda x, f=name: getattr(torch.fft, f)(x, n, dim=1, norm=norm), Z)


@pytest.mark.parametrize("name", ["fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn", "hfftn", "ihfftn"])
def test_several_axes(name):
    agrees(getattr(torch.fft, name), X if name in ("rfft2", "rfftn", "ihfftn") else Z)


def test_parts():
    agrees(lambda z: (z.real, z.imag, torch.view_as_real(z), z.conj() * 2, z.mH * 1, z.angle(), z.abs()), Z)
    agrees(lambda x: (torch.complex(x, x * 2), torch.view_as_complex(x.reshape(3, 7, 5)[..., :2].contiguous()), x.angle()), X)
    agrees(lambda x: torch.polar(x.abs(), x), X)


@pytest.mark.parametrize("center", [True, False])
def test_short_time(center):
    w = torch.hann_window(8)
    agrees(lambda x: torch.view_as_real(torch.stft(x, 8, 3, window=w, center=center, return_complex=True)), X.reshape(3, 35))
    if center:
        agrees(lambda x: torch.istft(torch.stft(x, 8, 3, window=w, return_complex=True), 8, 3, window=w), X.reshape(3, 35))


def test_short_time_of_a_free_batch():
    from convcore import load

    class Spectrum(torch.nn.Module):
        def forward(self, x):
            return torch.stft(x, 8, 4, window=torch.hann_window(8), return_complex=True).abs()

    model = load(Spectrum().eval(), example_inputs=X.reshape(3, 35))
    assert not model.problems
    x = torch.randn(5, 35)
    torch.testing.assert_close(torch.from_numpy(model(x.numpy())), Spectrum()(x), rtol=1e-4, atol=1e-4)


def test_transforms_over_a_free_length():
    """Of FNet's kind; a scale by the number of elements needs that number."""
    from convcore import convert, load

    class Mixed(torch.nn.Module):
        def __init__(self, norm):
            super().__init__()
            self.norm = norm

        def forward(self, x):
            return torch.fft.fftn(x, dim=(1, 2), norm=self.norm).real

    shapes = {"x": ("batch", "time", 7)}
    source, net = load(Mixed("backward").eval(), example_inputs=X, input_shapes=shapes), Mixed("backward")
    made = convert(source, "pytorch").model
    for size in ((2, 3, 7), (5, 11, 7)):
        x = torch.randn(size)
        for got in (source(x.numpy()), made(x).numpy()):
            torch.testing.assert_close(torch.from_numpy(got), net(x), rtol=1e-4, atol=1e-4)
    for norm in ("ortho", "forward"):
        (problem,) = load(Mixed(norm).eval(), example_inputs=X, input_shapes=shapes).problems
        assert "transforms axis 1, whose size time is symbolic" in problem.why


def test_refused_by_name():
    with pytest.raises(Exception, match="a part of another one, or in another order"):
        run(lambda x: torch.as_strided(x.transpose(0, 1), (2, 2), (1, 2)), X)
    with pytest.raises(Exception, match="a part of another one, or in another order"):
        run(lambda x: torch.as_strided(x[1], (2, 2), (1, 2), 0), X)
    with pytest.raises(Exception, match="more than once"):
        run(lambda x: torch.as_strided_scatter(x, x[0, :2, :2], (2, 2), (0, 1)), X)


@pytest.mark.parametrize("periodic", [True, False])
def test_windows(periodic):
    for kind in ("hann", "hamming", "blackman", "bartlett", "kaiser"):
        make = getattr(torch, f"{kind}_window")
        agrees(lambda x, m=make: x * m(7, periodic) + m(1, periodic), X)
    agrees(lambda x: x * torch.hamming_window(7, periodic, 0.6, 0.3) * torch.kaiser_window(7, periodic, 3.0), X)

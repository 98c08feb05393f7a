"""Sizes that are not known: those of inputs without a name are asked for, those that depend on the data are computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.errors import UnsupportedError

torch = pytest.importorskip("torch")


def traced(fn: Any, tmp_path: Path) -> Path:
    class M(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return fn(x)

    torch.jit.trace(M().eval(), torch.randn(2, 3, 5), check_trace=False).save(tmp_path / "m.pt")
    return tmp_path / "m.pt"


@pytest.mark.parametrize("fn", [
    lambda x: x.reshape(x.size(0), -1), lambda x: x * x.shape[1], lambda x: torch.relu(x).flatten(1) * x.size(0),
], ids=["reshape", "factor", "later"])  # fmt: skip
@pytest.mark.parametrize("unnamed", [(None, 3, 5), ("?", None, 5)])
def test_a_size_of_an_input_without_a_name_is_asked_for(fn: Any, unnamed: Any, tmp_path: Path) -> None:
    path = traced(fn, tmp_path)
    (problem, *_) = [p for p in convcore.load(path, input_shapes={"x": unnamed}).problems if p.type == "aten.size.int"] or [None]
    if problem is None:
        assert unnamed[1] == 3, "the size that is read is known"
        return
    assert "of what it is given has no name" in problem.why and problem.code == "unknown_shape"
    names = tuple(n if isinstance(n, int) else f"n{i}" for i, n in enumerate(unnamed))
    assert f"give the sizes names: input_shapes={{'x': {names}}}" in problem.hint
    x = np.random.default_rng(0).normal(size=(2, 3, 5)).astype("f4")
    done = convcore.convert(path, "onnx", input_shapes={"x": names})
    assert done.report.ok
    got = next(iter(convcore.load(path, input_shapes={"x": names}).run({"x": x}).values()))
    np.testing.assert_allclose(got, fn(torch.from_numpy(x)).numpy(), rtol=0, atol=1e-6)


class Size(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x[x > 0]
        return y * y.size(0)


class Len(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x[x > 0]
        return y * len(y)


class Axes(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x.sum().size(0)


class AxesOf(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * len(x.sum())


class Numel(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + x[x > 0].numel()


class Sizes(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x[x > 0]
        return torch.zeros(y.size())


def scripted(module: Any, tmp_path: Path) -> Path:
    torch.jit.script(module.eval()).save(tmp_path / "m.pt")
    return tmp_path / "m.pt"


@pytest.mark.parametrize("module", [Size(), Len()], ids=["size", "len"])
def test_a_size_that_depends_on_the_data_is_computed(module: Any, tmp_path: Path) -> None:
    model = convcore.load(scripted(module, tmp_path), input_shapes={"x": (2, 3, 5)})
    for seed in range(2):
        x = np.random.default_rng(seed).normal(size=(2, 3, 5)).astype("f4")
        got = next(iter(model.run({"x": x}).values()))
        np.testing.assert_allclose(got, module(torch.from_numpy(x)).numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("module", [Axes(), AxesOf()], ids=["size", "len"])
def test_the_size_of_what_has_no_axes_is_refused(module: Any, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="asks for the size of a tensor without axes"):
        convcore.convert(scripted(module, tmp_path), "onnx", input_shapes={"x": (2, 3, 5)})


@pytest.mark.parametrize("module", [Numel(), Sizes()], ids=["numel", "sizes"])
def test_all_sizes_that_depend_on_the_data_are_refused(module: Any, tmp_path: Path) -> None:
    path = scripted(module, tmp_path)
    with pytest.raises(UnsupportedError, match="sizes of what it is given depend on the data"):
        convcore.convert(path, "onnx", input_shapes={"x": (2, 3, 5)})
    with pytest.raises(UnsupportedError, match="sizes of what it is given have no name"):
        convcore.convert(path, "onnx", input_shapes={"x": (2, None, 5)})

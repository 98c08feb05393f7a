"""A batch that torch.export froze can be named or changed where nothing depends on it; what depends on it is named.

Judge: the module itself, called with the other batch.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convcore
from convcore.errors import ConvcoreError, UsageError

CNN = nn.Sequential(
    nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(5 * 2 * 3, 7), nn.Softmax(-1)
)  # fmt: skip


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k = (layer(x).unflatten(2, (2, 3)).transpose(1, 2) for layer in (self.q, self.k))
        return nn.functional.scaled_dot_product_attention(q, k, k).transpose(1, 2).flatten(2).mean(1)


class Calls(nn.Module):
    """A function of the input as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


def _exported(net: nn.Module, shape: tuple[int, ...], path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(net.eval(), (torch.randn(shape),), strict=False), path)
    return path


@pytest.mark.parametrize(
    ("net", "shape"),
    [(CNN, (1, 3, 7, 9)), (CNN, (2, 3, 7, 9)), (Attends(), (1, 5, 6)), (nn.LSTM(3, 4, batch_first=True), (2, 5, 3))],
    ids=["cnn-1", "cnn-2", "attention", "lstm"],
)
@pytest.mark.parametrize("batch", ["n", 3])
def test_a_batch_that_nothing_depends_on(net: nn.Module, shape: tuple[int, ...], batch: Any, tmp_path: Path) -> None:
    path = _exported(net, shape, tmp_path / "m.pt2")
    (name,) = [v.name for v in convcore.load(path).graph.inputs]
    model = convcore.load(path, input_shapes={name: (batch, *shape[1:])})
    assert any("nothing depends on them" in n and "x / x.shape[0], is a constant" in n for n in model.metadata["notes"])
    x = torch.randn(3, *shape[1:])
    want = net(x)
    want = want[0] if isinstance(want, tuple) else want
    got = model(x.numpy())
    np.testing.assert_allclose(got[0] if isinstance(got, tuple) else got, want.detach().numpy(), atol=1e-5)
    result = convcore.convert(path, "onnx", tmp_path / "m.onnx", input_shapes={name: (batch, *shape[1:])})
    assert result.report.ok


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda x: x.softmax(0), "softmax"), (lambda x: x - x.mean(0, keepdim=True), "mean"),
        (lambda x: x.flip(0), "flip"), (lambda x: x.sum((0, 1)), "one for the whole batch|sum"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("batch", ["n", 5])
def test_what_depends_on_it_is_named(function: Any, why: str, batch: Any, tmp_path: Path) -> None:
    path = _exported(Calls(function), (2, 3), tmp_path / "m.pt2")
    with pytest.raises(UsageError, match=rf"'x' has the fixed size 2 along axis 0 where the shape given has {batch}, .*({why})"):
        convcore.load(path, input_shapes={"x": (batch, 3)})


@pytest.mark.parametrize("batch", ["n", 5])
def test_sizes_that_were_written_out_do_not_fit(batch: Any, tmp_path: Path) -> None:
    """The batch as a number in the program: of a view, of constants that are added."""
    for function in (lambda x: x.view(x.shape[0], 3, 2), lambda x: x + torch.arange(2.0).reshape(2, 1)):
        path = _exported(Calls(function), (2, 6), tmp_path / "m.pt2")
        with pytest.raises(ConvcoreError):
            convcore.convert(path, "onnx", tmp_path / "m.onnx", input_shapes={"x": (batch, 6)})

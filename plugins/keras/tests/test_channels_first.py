"""``data_format="channels_first"``: layers that have channels first, no transposes where the source has them first too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.errors import UsageError

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
pytest.importorskip("convcore_pytorch")
from torch import nn

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="TensorFlow on a CPU has no channels first")


def image(*shape: int) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def written(module: Any, x: Any, out: Path, **options: Any) -> tuple[Any, list[str], Any]:
    """(model, classes of its layers, report); it gives what the module gives, of the same array."""
    torch.manual_seed(5)
    for p in module.parameters():
        p.data += 0.1 * torch.randn(p.shape)
    made = convcore.convert(module.eval(), "keras", out / "n.keras", example_inputs=(x,), data_format="channels_first", **options)
    assert made.report.ok
    model = keras.models.load_model(out / "n.keras")
    want = module(x).detach().numpy()
    got = keras.ops.convert_to_numpy(model(x.numpy(), training=False))
    assert got.shape == want.shape and np.abs(got - want).max() < 1e-5 * np.ptp(want)
    return model, [type(t).__name__ for t in model._flatten_layers() if type(t).__name__ != "Functional"][1:], made.report


LAYERS = {
    "conv": (lambda: nn.Conv2d(5, 7, 3, padding=1), (2, 5, 11, 13)),
    "conv, padded unevenly": (lambda: nn.Conv2d(5, 7, (3, 2), stride=2, padding=(2, 0)), (2, 5, 11, 13)),
    "conv, stride and dilation": (lambda: nn.Conv2d(5, 7, 3, stride=2, dilation=2, padding=1), (2, 5, 11, 13)),
    "conv of groups": (lambda: nn.Conv2d(6, 4, 3, groups=2), (2, 6, 11, 13)),
    "conv of one axis": (lambda: nn.Conv1d(5, 7, 3, padding=1), (2, 5, 11)),
    "conv of three axes": (lambda: nn.Conv3d(3, 5, 2, padding=1), (2, 3, 5, 6, 7)),
    "depthwise": (lambda: nn.Conv2d(5, 10, 3, groups=5, stride=2), (2, 5, 11, 13)),
    "transposed": (lambda: nn.ConvTranspose2d(5, 7, 3, stride=2, padding=1, output_padding=1), (2, 5, 6, 7)),
    "transposed, groups": (lambda: nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2), (2, 6, 5, 7)),
    "max pooling": (lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True), (2, 5, 11, 13)),
    "max pooling, dilated": (lambda: nn.MaxPool2d(2, 1, 0, dilation=2), (2, 5, 11, 13)),
    "average pooling": (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), (2, 5, 11, 13)),
    "adaptive": (lambda: nn.AdaptiveAvgPool2d((2, 3)), (2, 5, 11, 13)),
    "global": (lambda: nn.AdaptiveAvgPool2d(1), (2, 5, 11, 13)),
    "norms": (lambda: nn.Sequential(nn.BatchNorm2d(6), nn.GroupNorm(2, 6), nn.InstanceNorm2d(6)), (2, 6, 11, 13)),
    "prelu": (lambda: nn.PReLU(5), (2, 5, 11, 13)),
    "upsampling": (lambda: nn.Upsample(scale_factor=2), (2, 5, 6, 7)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, tmp_path: Path) -> None:
    make, shape = LAYERS[name]
    _, kinds, report = written(make(), image(*shape), tmp_path)
    assert not {"Transpose", "Permute"} & set(kinds), kinds
    text = str(report)
    assert "source order" in text and " 0 put in" in text


def test_a_network_and_the_way_back(tmp_path: Path) -> None:
    def network() -> Any:
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 12, 3, groups=6),
            nn.PReLU(12), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5),
        )  # fmt: skip

    x = image(2, 3, 17, 19)
    model, kinds, _ = written(network(), x, tmp_path)
    assert not {"Transpose", "Permute"} & set(kinds), kinds
    formats = {t.data_format for t in model._flatten_layers() if hasattr(t, "data_format") and "Flatten" not in type(t).__name__}
    assert formats == {"channels_first"}
    again = convcore.convert(tmp_path / "n.keras", "onnx", tmp_path / "n.onnx")
    assert again.report.ok and ", 0 put in" in str(again.report)


def test_what_keras_has_no_layer_for_is_turned_round_and_said(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(2, 5, 3))
    _, kinds, report = written(module, image(2, 3, 6, 7), tmp_path)
    assert kinds.count("Permute") == 2 and "2 put in" in str(report)


def test_channels_last_sources_are_moved(tmp_path: Path) -> None:
    L = keras.layers
    x = keras.Input((11, 13, 3), name="x")
    model = keras.Model(x, L.GlobalAveragePooling2D()(L.Conv2D(5, 3, padding="same")(x)))
    made = convcore.convert(model, "keras", tmp_path / "n.keras", data_format="channels_first")
    assert made.report.ok and "axes 0, 3, 1, 2 of the source (target)" in str(made.report)
    assert keras.models.load_model(tmp_path / "n.keras").input_shape == (None, 3, 11, 13)


def test_another_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="data_format"):
        convcore.convert(nn.Conv2d(3, 5, 3).eval(), "keras", tmp_path / "n.keras", example_inputs=(image(1, 3, 7, 7),),
                         data_format="middle")  # fmt: skip

"""The models of the matrix: twenty that were trained, as published, and twenty architectures with random weights."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matrix_kit import ZOO

from . import sources
from .sources import Source, application, images

CUSTOM = Path(__file__).parents[3] / "plugins/keras/tests/custom_layers/textgenrnn.py"


# ---- trained
def _arrays(path: Path) -> list[np.ndarray]:
    with np.load(path) as z:
        return [z[k] for k in z.files if not k.startswith("__")]


def trained(name: str) -> Source:
    """A model of the zoo with the inputs and outputs recorded in its own framework (of its time where there is one)."""
    folder = ZOO / name
    framework = {"keras": "keras", "onnx": "onnx", "caffe": "caffe", "torch": "pytorch"}[name.partition("-")[0].rstrip("12")]
    given, wanted = "inputs.npz", "ref_old.npz" if (folder / "ref_old.npz").exists() else "ref.npz"
    options: dict[str, Any] = {}
    model: Any
    if framework == "caffe":
        if (folder / "ref_caffe.npz").exists():
            given, wanted = "inputs_caffe.npz", "ref_caffe.npz"
        model = (next(folder.glob("*.prototxt")), next(folder.glob("*.caffemodel")))
    elif framework == "keras":
        (model,) = [p for p in folder.iterdir() if p.suffix in (".h5", ".hdf5")]
        if (folder / "architecture.json").exists():
            model = (folder / "architecture.json", model)
        if name == "keras2-textgenrnn":
            options["custom"] = CUSTOM
    elif framework == "onnx":
        (model,) = folder.glob("*.onnx")
    else:
        return _facenet(name, folder)
    return Source(model, _arrays(folder / given), _arrays(folder / wanted), framework, options)


def _facenet(name: str, folder: Path) -> Source:
    """PNet and ONet of facenet-pytorch 2.6.0 (``models/mtcnn.py``): its state_dict in modules of the same names."""
    import torch
    from torch import nn

    class PNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
            self.pool1 = nn.MaxPool2d(2, 2, ceil_mode=True)
            self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
            self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
            self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

        def forward(self, x: Any) -> Any:
            x = self.pool1(self.prelu1(self.conv1(x)))
            x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
            return self.conv4_2(x), torch.softmax(self.conv4_1(x), dim=1)

    class ONet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.prelu1, self.pool1 = nn.Conv2d(3, 32, 3), nn.PReLU(32), nn.MaxPool2d(3, 2, ceil_mode=True)
            self.conv2, self.prelu2, self.pool2 = nn.Conv2d(32, 64, 3), nn.PReLU(64), nn.MaxPool2d(3, 2, ceil_mode=True)
            self.conv3, self.prelu3, self.pool3 = nn.Conv2d(64, 64, 3), nn.PReLU(64), nn.MaxPool2d(2, 2, ceil_mode=True)
            self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
            self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
            self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

        def forward(self, x: Any) -> Any:
            for i in "123":
                x = getattr(self, f"pool{i}")(getattr(self, f"prelu{i}")(getattr(self, f"conv{i}")(x)))
            x = self.prelu4(self.conv4(x)).permute(0, 3, 2, 1).contiguous()
            x = self.prelu5(self.dense5(x.flatten(1)))
            return self.dense6_2(x), self.dense6_3(x), torch.softmax(self.dense6_1(x), dim=1)

    module = PNet() if name.endswith("pnet") else ONet()
    module.load_state_dict(torch.load(next(folder.glob("*.pt")), weights_only=True))
    return Source(module.eval(), _arrays(folder / "inputs.npz"), _arrays(folder / "ref.npz"), "pytorch")


TRAINED = sorted(
    p.name for p in ZOO.iterdir() if (p / "manifest.json").exists() and (p / "inputs.npz").exists() and (p / "ref.npz").exists()
)


# ---- architectures
def _torch(make: Callable[[], Any], *inputs: Any) -> Source:
    """The live module: every conversion of it exports anew."""
    import torch

    torch.manual_seed(0)
    model = sources.perturbed(make())
    with torch.no_grad():
        out = sources.arrays_of(model(*inputs))
    return Source(model, [i.numpy() for i in inputs], out, "pytorch")


def _torchvision(name: str, size: int = 64, **options: Any) -> Source:
    with contextlib.suppress(ImportError):
        importlib.import_module("tvshim")
    import torchvision as tv

    if name[0].islower():
        options["weights"] = None
    return _torch(lambda: getattr(tv.models, name)(num_classes=13, **options), images(size))


def _timm(name: str, size: int = 64) -> Source:
    with contextlib.suppress(ImportError):
        importlib.import_module("tvshim")
    import timm

    return _torch(lambda: timm.create_model(name, pretrained=False, num_classes=13), images(size))


def _lstm() -> Source:
    import torch
    from torch import nn

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(5, 6, num_layers=2, bidirectional=True, batch_first=True)
            self.head = nn.Linear(12, 4)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0])

    return _torch(Tagger, torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(3)))


def _gru() -> Source:
    import torch
    from torch import nn

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.gru, self.head = nn.Embedding(19, 5), nn.GRU(5, 7, batch_first=True), nn.Linear(7, 3)

        def forward(self, ids: Any) -> Any:
            return self.head(self.gru(self.embed(ids))[1][-1])

    return _torch(Last, torch.randint(0, 19, (3, 7), generator=torch.Generator().manual_seed(3)))


def _encoder() -> Source:
    import torch
    from torch import nn

    def make() -> Any:
        return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2, enable_nested_tensor=False)

    return _torch(make, torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(3)))


ARCHITECTURES: dict[str, Callable[[], Source]] = {
    "Keras MobileNet": lambda: application("MobileNet", 64, alpha=0.25),
    "Keras MobileNetV2": lambda: application("MobileNetV2", 64, alpha=0.35),
    "Keras MobileNetV3Small": lambda: application("MobileNetV3Small", 64),
    "Keras EfficientNetB0": lambda: application("EfficientNetB0", 64),
    "Keras ResNet50": lambda: application("ResNet50", 64),
    "Keras DenseNet121": lambda: application("DenseNet121", 64),
    "Keras Xception": lambda: application("Xception", 96),
    "torchvision resnet18": lambda: _torchvision("resnet18"),
    "torchvision shufflenet_v2_x0_5": lambda: _torchvision("shufflenet_v2_x0_5"),
    "torchvision squeezenet1_1": lambda: _torchvision("squeezenet1_1"),
    "torchvision regnet_y_400mf": lambda: _torchvision("regnet_y_400mf"),
    "torchvision mnasnet0_5": lambda: _torchvision("mnasnet0_5"),
    "torchvision VisionTransformer, 2 layers": lambda: _torchvision(
        "VisionTransformer", image_size=64, patch_size=16, num_layers=2, num_heads=3, hidden_dim=48, mlp_dim=96
    ),
    "timm convnext_atto": lambda: _timm("convnext_atto"),
    "timm ghostnet_050": lambda: _timm("ghostnet_050"),
    "timm resnest14d": lambda: _timm("resnest14d"),
    "torch UNet": lambda: _torch(sources.unet, images(48)),
    "torch LSTM": _lstm,
    "torch GRU": _gru,
    "torch TransformerEncoder": _encoder,
}

MODELS: dict[str, Callable[[], Source]] = {n: (lambda n=n: trained(n)) for n in TRAINED} | ARCHITECTURES

"""ResNet50, converted by convcore from onnx pytorch 2.13.0, IR 9, opset ai.onnx 20.

Input x: float32 [batch, 3, 224, 224].
Output y: float32 [batch, 1000].
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("resnet50_onnx.safetensors")
DTYPES = {"F32": torch.float32}
# What attributes are called in the source, where Python does not allow it.
SOURCE_NAMES = {
    "conv1": "/conv1",
    "relu": "/relu",
    "maxpool": "/maxpool",
    "layer1": "/layer1",
    "layer2": "/layer2",
    "layer3": "/layer3",
    "layer4": "/layer4",
    "fc": "/fc",
}


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, mapped into memory."""
    size = Path(path).stat().st_size
    data = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    start = 8 + int.from_bytes(bytes(data[:8].tolist()), "little")
    header = json.loads(bytes(data[8:start].tolist()))
    tensors = {}
    for name, info in header.items():
        if name != "__metadata__":
            first, last = info["data_offsets"]
            part = data[start + first : start + last].view(DTYPES[info["dtype"]])
            tensors[name] = part.reshape(info["shape"]).data  # changed by itself
    return tensors


class Block(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=1)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)
        self.relu_1 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(out_channels, in_channels, kernel_size=1)
        self.relu_2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        conv1 = self.conv1(x)
        conv1 = self.relu(conv1)
        conv1 = self.conv2(conv1)
        conv1 = self.relu_1(conv1)
        conv1 = self.conv3(conv1)
        conv1 = conv1 + x
        conv1 = self.relu_2(conv1)
        return conv1


class Block0(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(64, 64, kernel_size=1)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(64, 64, kernel_size=3, padding=1)
        self.relu_1 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(64, 256, kernel_size=1)
        self.downsample = nn.Sequential(nn.Conv2d(64, 256, kernel_size=1))
        self.relu_2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        conv1 = self.conv1(x)
        conv1 = self.relu(conv1)
        conv1 = self.conv2(conv1)
        conv1 = self.relu_1(conv1)
        conv1 = self.conv3(conv1)
        x = self.downsample(x)
        conv1 = conv1 + x
        conv1 = self.relu_2(conv1)
        return conv1


class Block2(nn.Module):
    def __init__(
        self, in_channels: int, out_channels: int, out_channels_1: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=1)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(
            out_channels, out_channels, kernel_size=3, stride=2, padding=1
        )
        self.relu_1 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(out_channels, out_channels_1, kernel_size=1)
        self.downsample = nn.Sequential(
            nn.Conv2d(in_channels, out_channels_1, kernel_size=1, stride=2)
        )
        self.relu_2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        conv1 = self.conv1(x)
        conv1 = self.relu(conv1)
        conv1 = self.conv2(conv1)
        conv1 = self.relu_1(conv1)
        conv1 = self.conv3(conv1)
        x = self.downsample(x)
        conv1 = conv1 + x
        conv1 = self.relu_2(conv1)
        return conv1


class ResNet50(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(Block0(), Block(256, 64), Block(256, 64))
        self.layer2 = nn.Sequential(
            Block2(256, 128, 512), Block(512, 128), Block(512, 128), Block(512, 128)
        )
        self.layer3 = nn.Sequential(
            Block2(512, 256, 1024),
            Block(1024, 256),
            Block(1024, 256),
            Block(1024, 256),
            Block(1024, 256),
            Block(1024, 256),
        )
        self.layer4 = nn.Sequential(
            Block2(1024, 512, 2048), Block(2048, 512), Block(2048, 512)
        )
        self.fc = nn.Linear(2048, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        x = self.relu(x)
        x = self.maxpool(x)
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.layer4(x)
        x = torch.mean(x, dim=(2, 3), keepdim=True)
        x = torch.flatten(x, 1)
        x = self.fc(x)
        return x

    @classmethod
    def from_pretrained(cls, weights: str | Path = WEIGHTS) -> ResNet50:
        """The model with weights from a .safetensors file, in evaluation mode."""
        with torch.device("meta"):
            model = cls()
        state = read_safetensors(weights)
        model.load_state_dict(state, assign=True)
        return model.eval()


def load(weights: str | Path = WEIGHTS) -> ResNet50:
    """A ResNet50 with its weights, in evaluation mode."""
    return ResNet50.from_pretrained(weights)

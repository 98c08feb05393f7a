"""Resnet50, converted by convcore from keras 3.15.1.

Input x (input_layer): float32 [batch, 3, 224, 224], NCHW (NHWC in the source).
Output predictions: float32 [batch, 1000].
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("resnet50_keras.safetensors")
DTYPES = {"F32": torch.float32, "I64": torch.int64}
# What attributes are called in the source, where Python does not allow it.
SOURCE_NAMES = {
    "_1_conv": "1_conv",
    "_1_bn": "1_bn",
    "_1_relu": "1_relu",
    "_2_conv": "2_conv",
    "_2_bn": "2_bn",
    "_2_relu": "2_relu",
    "_0_conv": "0_conv",
    "_3_conv": "3_conv",
    "_0_bn": "0_bn",
    "_3_bn": "3_bn",
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


class ConvBlock(nn.Module):
    def __init__(
        self, in_channels: int, out_channels: int, stride: int, out_channels_1: int
    ) -> None:
        super().__init__()
        self._1_conv = nn.Conv2d(
            in_channels, out_channels, kernel_size=1, stride=stride
        )
        self._1_bn = nn.BatchNorm2d(out_channels, eps=1.001e-05, momentum=0.01)
        self._1_relu = nn.ReLU(inplace=True)
        self._2_conv = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)
        self._2_bn = nn.BatchNorm2d(out_channels, eps=1.001e-05, momentum=0.01)
        self._2_relu = nn.ReLU(inplace=True)
        self._0_conv = nn.Conv2d(
            in_channels, out_channels_1, kernel_size=1, stride=stride
        )
        self._3_conv = nn.Conv2d(out_channels, out_channels_1, kernel_size=1)
        self._0_bn = nn.BatchNorm2d(out_channels_1, eps=1.001e-05, momentum=0.01)
        self._3_bn = nn.BatchNorm2d(out_channels_1, eps=1.001e-05, momentum=0.01)
        self.out = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        conv = self._1_conv(x)
        conv = self._1_bn(conv)
        conv = self._1_relu(conv)
        conv = self._2_conv(conv)
        conv = self._2_bn(conv)
        conv = self._2_relu(conv)
        x = self._0_conv(x)
        conv = self._3_conv(conv)
        x = self._0_bn(x)
        conv = self._3_bn(conv)
        x = x + conv
        x = self.out(x)
        return x


class ConvBlock2(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self._1_conv = nn.Conv2d(in_channels, out_channels, kernel_size=1)
        self._1_bn = nn.BatchNorm2d(out_channels, eps=1.001e-05, momentum=0.01)
        self._1_relu = nn.ReLU(inplace=True)
        self._2_conv = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)
        self._2_bn = nn.BatchNorm2d(out_channels, eps=1.001e-05, momentum=0.01)
        self._2_relu = nn.ReLU(inplace=True)
        self._3_conv = nn.Conv2d(out_channels, in_channels, kernel_size=1)
        self._3_bn = nn.BatchNorm2d(in_channels, eps=1.001e-05, momentum=0.01)
        self.out = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        conv = self._1_conv(x)
        conv = self._1_bn(conv)
        conv = self._1_relu(conv)
        conv = self._2_conv(conv)
        conv = self._2_bn(conv)
        conv = self._2_relu(conv)
        conv = self._3_conv(conv)
        conv = self._3_bn(conv)
        x = x + conv
        x = self.out(x)
        return x


class Resnet50(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1_conv = nn.Conv2d(3, 64, kernel_size=7, stride=2)
        self.conv1_bn = nn.BatchNorm2d(64, eps=1.001e-05, momentum=0.01)
        self.conv1_relu = nn.ReLU(inplace=True)
        self.pool1_pool = nn.MaxPool2d(3, stride=2)
        self.conv2_block1 = ConvBlock(64, 64, 1, 256)
        self.conv2_block2 = ConvBlock2(256, 64)
        self.conv2_block3 = ConvBlock2(256, 64)
        self.conv3_block1 = ConvBlock(256, 128, 2, 512)
        self.conv3_block2 = ConvBlock2(512, 128)
        self.conv3_block3 = ConvBlock2(512, 128)
        self.conv3_block4 = ConvBlock2(512, 128)
        self.conv4_block1 = ConvBlock(512, 256, 2, 1024)
        self.conv4_block2 = ConvBlock2(1024, 256)
        self.conv4_block3 = ConvBlock2(1024, 256)
        self.conv4_block4 = ConvBlock2(1024, 256)
        self.conv4_block5 = ConvBlock2(1024, 256)
        self.conv4_block6 = ConvBlock2(1024, 256)
        self.conv5_block1 = ConvBlock(1024, 512, 2, 2048)
        self.conv5_block2 = ConvBlock2(2048, 512)
        self.conv5_block3 = ConvBlock2(2048, 512)
        self.predictions = nn.Linear(2048, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (3, 3, 3, 3))
        x = self.conv1_conv(x)
        x = self.conv1_bn(x)
        x = self.conv1_relu(x)
        x = F.pad(x, (1, 1, 1, 1))
        x = self.pool1_pool(x)
        x = self.conv2_block1(x)
        x = self.conv2_block2(x)
        x = self.conv2_block3(x)
        x = self.conv3_block1(x)
        x = self.conv3_block2(x)
        x = self.conv3_block3(x)
        x = self.conv3_block4(x)
        x = self.conv4_block1(x)
        x = self.conv4_block2(x)
        x = self.conv4_block3(x)
        x = self.conv4_block4(x)
        x = self.conv4_block5(x)
        x = self.conv4_block6(x)
        x = self.conv5_block1(x)
        x = self.conv5_block2(x)
        x = self.conv5_block3(x)
        x = torch.mean(x, dim=(2, 3))
        x = self.predictions(x)
        x = F.softmax(x, dim=1)
        return x

    @classmethod
    def from_pretrained(cls, weights: str | Path = WEIGHTS) -> Resnet50:
        """The model with weights from a .safetensors file, in evaluation mode."""
        with torch.device("meta"):
            model = cls()
        state = read_safetensors(weights)
        model.load_state_dict(state, assign=True)
        return model.eval()


def load(weights: str | Path = WEIGHTS) -> Resnet50:
    """A Resnet50 with its weights, in evaluation mode."""
    return Resnet50.from_pretrained(weights)

"""MobileNetV3Small, converted by convcore from keras 3.15.1.

Input x (input_layer_1): float32 [batch, 3, input_layer_1_dim1, input_layer_1_dim2],
    NCHW (NHWC in the source).
Output predictions: float32 [batch, 1000].
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("mobilenetv3_keras.safetensors")
DTYPES = {"F32": torch.float32, "I64": torch.int64}


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


class ExpandedConv1(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Conv2d(16, 72, kernel_size=1, bias=False)
        self.expand_bn = nn.BatchNorm2d(72, eps=0.001, momentum=0.001)
        self.re_lu = nn.ReLU(inplace=True)
        self.depthwise = nn.Conv2d(
            72, 72, kernel_size=3, bias=False, stride=2, groups=72
        )
        self.depthwise_bn = nn.BatchNorm2d(72, eps=0.001, momentum=0.001)
        self.project = nn.Conv2d(72, 24, kernel_size=1, bias=False)
        self.project_bn = nn.BatchNorm2d(24, eps=0.001, momentum=0.001)

    def forward(self, x: Tensor) -> Tensor:
        x = self.expand(x)
        x = self.expand_bn(x)
        x = self.re_lu(x)
        x = F.pad(x, (0, 1, 0, 1))
        x = self.depthwise(x)
        x = self.depthwise_bn(x)
        x = self.re_lu(x)
        x = self.project(x)
        x = self.project_bn(x)
        return x


class ExpandedConv2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Conv2d(24, 88, kernel_size=1, bias=False)
        self.expand_bn = nn.BatchNorm2d(88, eps=0.001, momentum=0.001)
        self.re_lu = nn.ReLU(inplace=True)
        self.depthwise = nn.Conv2d(
            88, 88, kernel_size=3, groups=88, padding=1, bias=False
        )
        self.depthwise_bn = nn.BatchNorm2d(88, eps=0.001, momentum=0.001)
        self.project = nn.Conv2d(88, 24, kernel_size=1, bias=False)
        self.project_bn = nn.BatchNorm2d(24, eps=0.001, momentum=0.001)

    def forward(self, x: Tensor) -> Tensor:
        expand = self.expand(x)
        expand = self.expand_bn(expand)
        expand = self.re_lu(expand)
        expand = self.depthwise(expand)
        expand = self.depthwise_bn(expand)
        expand = self.re_lu(expand)
        expand = self.project(expand)
        expand = self.project_bn(expand)
        x = x + expand
        return x


class ExpandedConv(nn.Module):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        out_channels_1: int,
        out_channels_2: int,
    ) -> None:
        super().__init__()
        self.expand = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
        self.expand_bn = nn.BatchNorm2d(out_channels, eps=0.001, momentum=0.001)
        self.activation = nn.Hardswish(inplace=True)
        self.depthwise = nn.Conv2d(
            out_channels,
            out_channels,
            kernel_size=5,
            bias=False,
            stride=2,
            groups=out_channels,
        )
        self.depthwise_bn = nn.BatchNorm2d(out_channels, eps=0.001, momentum=0.001)
        self.squeeze_excite_conv = nn.Conv2d(
            out_channels, out_channels_1, kernel_size=1
        )
        self.squeeze_excite_relu = nn.ReLU(inplace=True)
        self.squeeze_excite_conv_1 = nn.Conv2d(
            out_channels_1, out_channels, kernel_size=1
        )
        self.project = nn.Conv2d(
            out_channels, out_channels_2, kernel_size=1, bias=False
        )
        self.project_bn = nn.BatchNorm2d(out_channels_2, eps=0.001, momentum=0.001)

    def forward(self, x: Tensor) -> Tensor:
        x = self.expand(x)
        x = self.expand_bn(x)
        x = self.activation(x)
        x = F.pad(x, (1, 2, 1, 2))
        x = self.depthwise(x)
        x = self.depthwise_bn(x)
        x = self.activation(x)
        y = torch.mean(x, dim=(2, 3), keepdim=True)
        y = self.squeeze_excite_conv(y)
        y = self.squeeze_excite_relu(y)
        y = self.squeeze_excite_conv_1(y)
        y = y + 3.0
        y = F.relu6(y)
        y = y * 0.16666667
        x = x * y
        x = self.project(x)
        x = self.project_bn(x)
        return x


class ExpandedConv3(nn.Module):
    def __init__(
        self, in_channels: int, out_channels: int, out_channels_1: int
    ) -> None:
        super().__init__()
        self.expand = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
        self.expand_bn = nn.BatchNorm2d(out_channels, eps=0.001, momentum=0.001)
        self.activation = nn.Hardswish(inplace=True)
        self.depthwise = nn.Conv2d(
            out_channels,
            out_channels,
            kernel_size=5,
            groups=out_channels,
            padding=2,
            bias=False,
        )
        self.depthwise_bn = nn.BatchNorm2d(out_channels, eps=0.001, momentum=0.001)
        self.squeeze_excite_conv = nn.Conv2d(
            out_channels, out_channels_1, kernel_size=1
        )
        self.squeeze_excite_relu = nn.ReLU(inplace=True)
        self.squeeze_excite_conv_1 = nn.Conv2d(
            out_channels_1, out_channels, kernel_size=1
        )
        self.project = nn.Conv2d(out_channels, in_channels, kernel_size=1, bias=False)
        self.project_bn = nn.BatchNorm2d(in_channels, eps=0.001, momentum=0.001)

    def forward(self, x: Tensor) -> Tensor:
        expand = self.expand(x)
        expand = self.expand_bn(expand)
        expand = self.activation(expand)
        expand = self.depthwise(expand)
        expand = self.depthwise_bn(expand)
        expand = self.activation(expand)
        y = torch.mean(expand, dim=(2, 3), keepdim=True)
        y = self.squeeze_excite_conv(y)
        y = self.squeeze_excite_relu(y)
        y = self.squeeze_excite_conv_1(y)
        y = y + 3.0
        y = F.relu6(y)
        y = y * 0.16666667
        expand = expand * y
        expand = self.project(expand)
        expand = self.project_bn(expand)
        x = x + expand
        return x


class ExpandedConv6(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Conv2d(40, 120, kernel_size=1, bias=False)
        self.expand_bn = nn.BatchNorm2d(120, eps=0.001, momentum=0.001)
        self.activation = nn.Hardswish(inplace=True)
        self.depthwise = nn.Conv2d(
            120, 120, kernel_size=5, groups=120, padding=2, bias=False
        )
        self.depthwise_bn = nn.BatchNorm2d(120, eps=0.001, momentum=0.001)
        self.squeeze_excite_conv = nn.Conv2d(120, 32, kernel_size=1)
        self.squeeze_excite_relu = nn.ReLU(inplace=True)
        self.squeeze_excite_conv_1 = nn.Conv2d(32, 120, kernel_size=1)
        self.project = nn.Conv2d(120, 48, kernel_size=1, bias=False)
        self.project_bn = nn.BatchNorm2d(48, eps=0.001, momentum=0.001)

    def forward(self, x: Tensor) -> Tensor:
        x = self.expand(x)
        x = self.expand_bn(x)
        x = self.activation(x)
        x = self.depthwise(x)
        x = self.depthwise_bn(x)
        x = self.activation(x)
        y = torch.mean(x, dim=(2, 3), keepdim=True)
        y = self.squeeze_excite_conv(y)
        y = self.squeeze_excite_relu(y)
        y = self.squeeze_excite_conv_1(y)
        y = y + 3.0
        y = F.relu6(y)
        y = y * 0.16666667
        x = x * y
        x = self.project(x)
        x = self.project_bn(x)
        return x


class MobileNetV3Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, kernel_size=3, stride=2, bias=False)
        self.conv_bn = nn.BatchNorm2d(16, eps=0.001, momentum=0.001)
        self.activation = nn.Hardswish(inplace=True)
        self.expanded_conv_depthwise = nn.Conv2d(
            16, 16, kernel_size=3, bias=False, stride=2, groups=16
        )
        self.expanded_conv_depthwise_bn = nn.BatchNorm2d(16, eps=0.001, momentum=0.001)
        self.re_lu = nn.ReLU(inplace=True)
        self.expanded_conv_squeeze_excite_conv = nn.Conv2d(16, 8, kernel_size=1)
        self.expanded_conv_squeeze_excite_relu = nn.ReLU(inplace=True)
        self.expanded_conv_squeeze_excite_conv_1 = nn.Conv2d(8, 16, kernel_size=1)
        self.expanded_conv_project = nn.Conv2d(16, 16, kernel_size=1, bias=False)
        self.expanded_conv_project_bn = nn.BatchNorm2d(16, eps=0.001, momentum=0.001)
        self.expanded_conv_1 = ExpandedConv1()
        self.expanded_conv_2 = ExpandedConv2()
        self.expanded_conv_3 = ExpandedConv(24, 96, 24, 40)
        self.expanded_conv_4 = ExpandedConv3(40, 240, 64)
        self.expanded_conv_5 = ExpandedConv3(40, 240, 64)
        self.expanded_conv_6 = ExpandedConv6()
        self.expanded_conv_7 = ExpandedConv3(48, 144, 40)
        self.expanded_conv_8 = ExpandedConv(48, 288, 72, 96)
        self.expanded_conv_9 = ExpandedConv3(96, 576, 144)
        self.expanded_conv_10 = ExpandedConv3(96, 576, 144)
        self.conv_1 = nn.Conv2d(96, 576, kernel_size=1, bias=False)
        self.conv_1_bn = nn.BatchNorm2d(576, eps=0.001, momentum=0.001)
        self.activation_17 = nn.Hardswish(inplace=True)
        self.conv_2 = nn.Conv2d(576, 1024, kernel_size=1)
        self.activation_18 = nn.Hardswish(inplace=True)
        self.dropout = nn.Dropout(0.2)
        self.logits = nn.Conv2d(1024, 1000, kernel_size=1)
        self.predictions = nn.Softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        size = torch.sym_max(2 * ((x.shape[3] + 1) // 2) + 1 - x.shape[3], 0)
        size1 = torch.sym_max(2 * ((x.shape[2] + 1) // 2) + 1 - x.shape[2], 0)
        x = F.pad(x, (size // 2, size - size // 2, size1 // 2, size1 - size1 // 2))
        x = self.conv(x)
        x = self.conv_bn(x)
        x = self.activation(x)
        x = F.pad(x, (0, 1, 0, 1))
        x = self.expanded_conv_depthwise(x)
        x = self.expanded_conv_depthwise_bn(x)
        x = self.re_lu(x)
        y = torch.mean(x, dim=(2, 3), keepdim=True)
        y = self.expanded_conv_squeeze_excite_conv(y)
        y = self.expanded_conv_squeeze_excite_relu(y)
        y = self.expanded_conv_squeeze_excite_conv_1(y)
        y = y + 3.0
        y = F.relu6(y)
        y = y * 0.16666667
        x = x * y
        x = self.expanded_conv_project(x)
        x = self.expanded_conv_project_bn(x)
        x = self.expanded_conv_1(x)
        x = self.expanded_conv_2(x)
        x = self.expanded_conv_3(x)
        x = self.expanded_conv_4(x)
        x = self.expanded_conv_5(x)
        x = self.expanded_conv_6(x)
        x = self.expanded_conv_7(x)
        x = self.expanded_conv_8(x)
        x = self.expanded_conv_9(x)
        x = self.expanded_conv_10(x)
        x = self.conv_1(x)
        x = self.conv_1_bn(x)
        x = self.activation_17(x)
        x = torch.mean(x, dim=(2, 3), keepdim=True)
        x = self.conv_2(x)
        x = self.activation_18(x)
        x = self.dropout(x)
        x = self.logits(x)
        x = torch.flatten(x, 1)
        x = self.predictions(x)
        return x

    @classmethod
    def from_pretrained(cls, weights: str | Path = WEIGHTS) -> MobileNetV3Small:
        """The model with weights from a .safetensors file, in evaluation mode."""
        with torch.device("meta"):
            model = cls()
        state = read_safetensors(weights)
        model.load_state_dict(state, assign=True)
        return model.eval()


def load(weights: str | Path = WEIGHTS) -> MobileNetV3Small:
    """A MobileNetV3Small with its weights, in evaluation mode."""
    return MobileNetV3Small.from_pretrained(weights)

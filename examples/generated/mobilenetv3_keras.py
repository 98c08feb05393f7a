"""MobileNetV3Small, converted by convcore from keras 3.15.1.

Input x (input_layer): float32 [batch, 3, input_layer_dim1, input_layer_dim2], NCHW
    (NHWC in the source).
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
            tensors[name] = part.reshape(info["shape"])
    return tensors


class MobileNetV3Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, kernel_size=3, stride=2, bias=False)
        self.conv_bn = nn.BatchNorm2d(16, eps=0.001, momentum=0.001)
        self.activation = nn.Hardswish()
        self.expanded_conv_depthwise = nn.Conv2d(
            16, 16, kernel_size=3, bias=False, stride=2, groups=16
        )
        self.expanded_conv_depthwise_bn = nn.BatchNorm2d(16, eps=0.001, momentum=0.001)
        self.re_lu = nn.ReLU()
        self.expanded_conv_squeeze_excite_conv = nn.Conv2d(16, 8, kernel_size=1)
        self.expanded_conv_squeeze_excite_relu = nn.ReLU()
        self.expanded_conv_squeeze_excite_conv_1 = nn.Conv2d(8, 16, kernel_size=1)
        self.expanded_conv_project = nn.Conv2d(16, 16, kernel_size=1, bias=False)
        self.expanded_conv_project_bn = nn.BatchNorm2d(16, eps=0.001, momentum=0.001)
        self.expanded_conv_1_expand = nn.Conv2d(16, 72, kernel_size=1, bias=False)
        self.expanded_conv_1_expand_bn = nn.BatchNorm2d(72, eps=0.001, momentum=0.001)
        self.re_lu_2 = nn.ReLU()
        self.expanded_conv_1_depthwise = nn.Conv2d(
            72, 72, kernel_size=3, bias=False, stride=2, groups=72
        )
        self.expanded_conv_1_depthwise_bn = nn.BatchNorm2d(
            72, eps=0.001, momentum=0.001
        )
        self.re_lu_3 = nn.ReLU()
        self.expanded_conv_1_project = nn.Conv2d(72, 24, kernel_size=1, bias=False)
        self.expanded_conv_1_project_bn = nn.BatchNorm2d(24, eps=0.001, momentum=0.001)
        self.expanded_conv_2_expand = nn.Conv2d(24, 88, kernel_size=1, bias=False)
        self.expanded_conv_2_expand_bn = nn.BatchNorm2d(88, eps=0.001, momentum=0.001)
        self.re_lu_4 = nn.ReLU()
        self.expanded_conv_2_depthwise = nn.Conv2d(
            88, 88, kernel_size=3, groups=88, padding=1, bias=False
        )
        self.expanded_conv_2_depthwise_bn = nn.BatchNorm2d(
            88, eps=0.001, momentum=0.001
        )
        self.re_lu_5 = nn.ReLU()
        self.expanded_conv_2_project = nn.Conv2d(88, 24, kernel_size=1, bias=False)
        self.expanded_conv_2_project_bn = nn.BatchNorm2d(24, eps=0.001, momentum=0.001)
        self.expanded_conv_3_expand = nn.Conv2d(24, 96, kernel_size=1, bias=False)
        self.expanded_conv_3_expand_bn = nn.BatchNorm2d(96, eps=0.001, momentum=0.001)
        self.activation_1 = nn.Hardswish()
        self.expanded_conv_3_depthwise = nn.Conv2d(
            96, 96, kernel_size=5, bias=False, stride=2, groups=96
        )
        self.expanded_conv_3_depthwise_bn = nn.BatchNorm2d(
            96, eps=0.001, momentum=0.001
        )
        self.activation_2 = nn.Hardswish()
        self.expanded_conv_3_squeeze_excite_conv = nn.Conv2d(96, 24, kernel_size=1)
        self.expanded_conv_3_squeeze_excite_relu = nn.ReLU()
        self.expanded_conv_3_squeeze_excite_conv_1 = nn.Conv2d(24, 96, kernel_size=1)
        self.expanded_conv_3_project = nn.Conv2d(96, 40, kernel_size=1, bias=False)
        self.expanded_conv_3_project_bn = nn.BatchNorm2d(40, eps=0.001, momentum=0.001)
        self.expanded_conv_4_expand = nn.Conv2d(40, 240, kernel_size=1, bias=False)
        self.expanded_conv_4_expand_bn = nn.BatchNorm2d(240, eps=0.001, momentum=0.001)
        self.activation_3 = nn.Hardswish()
        self.expanded_conv_4_depthwise = nn.Conv2d(
            240, 240, kernel_size=5, groups=240, padding=2, bias=False
        )
        self.expanded_conv_4_depthwise_bn = nn.BatchNorm2d(
            240, eps=0.001, momentum=0.001
        )
        self.activation_4 = nn.Hardswish()
        self.expanded_conv_4_squeeze_excite_conv = nn.Conv2d(240, 64, kernel_size=1)
        self.expanded_conv_4_squeeze_excite_relu = nn.ReLU()
        self.expanded_conv_4_squeeze_excite_conv_1 = nn.Conv2d(64, 240, kernel_size=1)
        self.expanded_conv_4_project = nn.Conv2d(240, 40, kernel_size=1, bias=False)
        self.expanded_conv_4_project_bn = nn.BatchNorm2d(40, eps=0.001, momentum=0.001)
        self.expanded_conv_5_expand = nn.Conv2d(40, 240, kernel_size=1, bias=False)
        self.expanded_conv_5_expand_bn = nn.BatchNorm2d(240, eps=0.001, momentum=0.001)
        self.activation_5 = nn.Hardswish()
        self.expanded_conv_5_depthwise = nn.Conv2d(
            240, 240, kernel_size=5, groups=240, padding=2, bias=False
        )
        self.expanded_conv_5_depthwise_bn = nn.BatchNorm2d(
            240, eps=0.001, momentum=0.001
        )
        self.activation_6 = nn.Hardswish()
        self.expanded_conv_5_squeeze_excite_conv = nn.Conv2d(240, 64, kernel_size=1)
        self.expanded_conv_5_squeeze_excite_relu = nn.ReLU()
        self.expanded_conv_5_squeeze_excite_conv_1 = nn.Conv2d(64, 240, kernel_size=1)
        self.expanded_conv_5_project = nn.Conv2d(240, 40, kernel_size=1, bias=False)
        self.expanded_conv_5_project_bn = nn.BatchNorm2d(40, eps=0.001, momentum=0.001)
        self.expanded_conv_6_expand = nn.Conv2d(40, 120, kernel_size=1, bias=False)
        self.expanded_conv_6_expand_bn = nn.BatchNorm2d(120, eps=0.001, momentum=0.001)
        self.activation_7 = nn.Hardswish()
        self.expanded_conv_6_depthwise = nn.Conv2d(
            120, 120, kernel_size=5, groups=120, padding=2, bias=False
        )
        self.expanded_conv_6_depthwise_bn = nn.BatchNorm2d(
            120, eps=0.001, momentum=0.001
        )
        self.activation_8 = nn.Hardswish()
        self.expanded_conv_6_squeeze_excite_conv = nn.Conv2d(120, 32, kernel_size=1)
        self.expanded_conv_6_squeeze_excite_relu = nn.ReLU()
        self.expanded_conv_6_squeeze_excite_conv_1 = nn.Conv2d(32, 120, kernel_size=1)
        self.expanded_conv_6_project = nn.Conv2d(120, 48, kernel_size=1, bias=False)
        self.expanded_conv_6_project_bn = nn.BatchNorm2d(48, eps=0.001, momentum=0.001)
        self.expanded_conv_7_expand = nn.Conv2d(48, 144, kernel_size=1, bias=False)
        self.expanded_conv_7_expand_bn = nn.BatchNorm2d(144, eps=0.001, momentum=0.001)
        self.activation_9 = nn.Hardswish()
        self.expanded_conv_7_depthwise = nn.Conv2d(
            144, 144, kernel_size=5, groups=144, padding=2, bias=False
        )
        self.expanded_conv_7_depthwise_bn = nn.BatchNorm2d(
            144, eps=0.001, momentum=0.001
        )
        self.activation_10 = nn.Hardswish()
        self.expanded_conv_7_squeeze_excite_conv = nn.Conv2d(144, 40, kernel_size=1)
        self.expanded_conv_7_squeeze_excite_relu = nn.ReLU()
        self.expanded_conv_7_squeeze_excite_conv_1 = nn.Conv2d(40, 144, kernel_size=1)
        self.expanded_conv_7_project = nn.Conv2d(144, 48, kernel_size=1, bias=False)
        self.expanded_conv_7_project_bn = nn.BatchNorm2d(48, eps=0.001, momentum=0.001)
        self.expanded_conv_8_expand = nn.Conv2d(48, 288, kernel_size=1, bias=False)
        self.expanded_conv_8_expand_bn = nn.BatchNorm2d(288, eps=0.001, momentum=0.001)
        self.activation_11 = nn.Hardswish()
        self.expanded_conv_8_depthwise = nn.Conv2d(
            288, 288, kernel_size=5, bias=False, stride=2, groups=288
        )
        self.expanded_conv_8_depthwise_bn = nn.BatchNorm2d(
            288, eps=0.001, momentum=0.001
        )
        self.activation_12 = nn.Hardswish()
        self.expanded_conv_8_squeeze_excite_conv = nn.Conv2d(288, 72, kernel_size=1)
        self.expanded_conv_8_squeeze_excite_relu = nn.ReLU()
        self.expanded_conv_8_squeeze_excite_conv_1 = nn.Conv2d(72, 288, kernel_size=1)
        self.expanded_conv_8_project = nn.Conv2d(288, 96, kernel_size=1, bias=False)
        self.expanded_conv_8_project_bn = nn.BatchNorm2d(96, eps=0.001, momentum=0.001)
        self.expanded_conv_9_expand = nn.Conv2d(96, 576, kernel_size=1, bias=False)
        self.expanded_conv_9_expand_bn = nn.BatchNorm2d(576, eps=0.001, momentum=0.001)
        self.activation_13 = nn.Hardswish()
        self.expanded_conv_9_depthwise = nn.Conv2d(
            576, 576, kernel_size=5, groups=576, padding=2, bias=False
        )
        self.expanded_conv_9_depthwise_bn = nn.BatchNorm2d(
            576, eps=0.001, momentum=0.001
        )
        self.activation_14 = nn.Hardswish()
        self.expanded_conv_9_squeeze_excite_conv = nn.Conv2d(576, 144, kernel_size=1)
        self.expanded_conv_9_squeeze_excite_relu = nn.ReLU()
        self.expanded_conv_9_squeeze_excite_conv_1 = nn.Conv2d(144, 576, kernel_size=1)
        self.expanded_conv_9_project = nn.Conv2d(576, 96, kernel_size=1, bias=False)
        self.expanded_conv_9_project_bn = nn.BatchNorm2d(96, eps=0.001, momentum=0.001)
        self.expanded_conv_10_expand = nn.Conv2d(96, 576, kernel_size=1, bias=False)
        self.expanded_conv_10_expand_bn = nn.BatchNorm2d(576, eps=0.001, momentum=0.001)
        self.activation_15 = nn.Hardswish()
        self.expanded_conv_10_depthwise = nn.Conv2d(
            576, 576, kernel_size=5, groups=576, padding=2, bias=False
        )
        self.expanded_conv_10_depthwise_bn = nn.BatchNorm2d(
            576, eps=0.001, momentum=0.001
        )
        self.activation_16 = nn.Hardswish()
        self.expanded_conv_10_squeeze_excite_conv = nn.Conv2d(576, 144, kernel_size=1)
        self.expanded_conv_10_squeeze_excite_relu = nn.ReLU()
        self.expanded_conv_10_squeeze_excite_conv_1 = nn.Conv2d(144, 576, kernel_size=1)
        self.expanded_conv_10_project = nn.Conv2d(576, 96, kernel_size=1, bias=False)
        self.expanded_conv_10_project_bn = nn.BatchNorm2d(96, eps=0.001, momentum=0.001)
        self.conv_1 = nn.Conv2d(96, 576, kernel_size=1, bias=False)
        self.conv_1_bn = nn.BatchNorm2d(576, eps=0.001, momentum=0.001)
        self.activation_17 = nn.Hardswish()
        self.conv_2 = nn.Conv2d(576, 1024, kernel_size=1)
        self.activation_18 = nn.Hardswish()
        self.dropout = nn.Dropout(0.2)
        self.logits = nn.Conv2d(1024, 1000, kernel_size=1)
        self.predictions = nn.Softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(
            x,
            (
                ((torch.sym_max(2 * ((x.shape[3] + 1) // 2) - x.shape[3] + 1, 0)) // 2),
                -((torch.sym_max(2 * ((x.shape[3] + 1) // 2) - x.shape[3] + 1, 0)) // 2) + torch.sym_max(2 * ((x.shape[3] + 1) // 2) - x.shape[3] + 1, 0),
                ((torch.sym_max(2 * ((x.shape[2] + 1) // 2) - x.shape[2] + 1, 0)) // 2),
                -((torch.sym_max(2 * ((x.shape[2] + 1) // 2) - x.shape[2] + 1, 0)) // 2) + torch.sym_max(2 * ((x.shape[2] + 1) // 2) - x.shape[2] + 1, 0),
            ),
        )
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
        x = self.expanded_conv_1_expand(x)
        x = self.expanded_conv_1_expand_bn(x)
        x = self.re_lu_2(x)
        x = F.pad(x, (0, 1, 0, 1))
        x = self.expanded_conv_1_depthwise(x)
        x = self.expanded_conv_1_depthwise_bn(x)
        x = self.re_lu_3(x)
        x = self.expanded_conv_1_project(x)
        x = self.expanded_conv_1_project_bn(x)
        y = self.expanded_conv_2_expand(x)
        y = self.expanded_conv_2_expand_bn(y)
        y = self.re_lu_4(y)
        y = self.expanded_conv_2_depthwise(y)
        y = self.expanded_conv_2_depthwise_bn(y)
        y = self.re_lu_5(y)
        y = self.expanded_conv_2_project(y)
        y = self.expanded_conv_2_project_bn(y)
        x = x + y
        x = self.expanded_conv_3_expand(x)
        x = self.expanded_conv_3_expand_bn(x)
        x = self.activation_1(x)
        x = F.pad(x, (1, 2, 1, 2))
        x = self.expanded_conv_3_depthwise(x)
        x = self.expanded_conv_3_depthwise_bn(x)
        x = self.activation_2(x)
        y = torch.mean(x, dim=(2, 3), keepdim=True)
        y = self.expanded_conv_3_squeeze_excite_conv(y)
        y = self.expanded_conv_3_squeeze_excite_relu(y)
        y = self.expanded_conv_3_squeeze_excite_conv_1(y)
        y = y + 3.0
        y = F.relu6(y)
        y = y * 0.16666667
        x = x * y
        x = self.expanded_conv_3_project(x)
        x = self.expanded_conv_3_project_bn(x)
        y = self.expanded_conv_4_expand(x)
        y = self.expanded_conv_4_expand_bn(y)
        y = self.activation_3(y)
        y = self.expanded_conv_4_depthwise(y)
        y = self.expanded_conv_4_depthwise_bn(y)
        y = self.activation_4(y)
        z = torch.mean(y, dim=(2, 3), keepdim=True)
        z = self.expanded_conv_4_squeeze_excite_conv(z)
        z = self.expanded_conv_4_squeeze_excite_relu(z)
        z = self.expanded_conv_4_squeeze_excite_conv_1(z)
        z = z + 3.0
        z = F.relu6(z)
        z = z * 0.16666667
        y = y * z
        y = self.expanded_conv_4_project(y)
        y = self.expanded_conv_4_project_bn(y)
        x = x + y
        y = self.expanded_conv_5_expand(x)
        y = self.expanded_conv_5_expand_bn(y)
        y = self.activation_5(y)
        y = self.expanded_conv_5_depthwise(y)
        y = self.expanded_conv_5_depthwise_bn(y)
        y = self.activation_6(y)
        z = torch.mean(y, dim=(2, 3), keepdim=True)
        z = self.expanded_conv_5_squeeze_excite_conv(z)
        z = self.expanded_conv_5_squeeze_excite_relu(z)
        z = self.expanded_conv_5_squeeze_excite_conv_1(z)
        z = z + 3.0
        z = F.relu6(z)
        z = z * 0.16666667
        y = y * z
        y = self.expanded_conv_5_project(y)
        y = self.expanded_conv_5_project_bn(y)
        x = x + y
        x = self.expanded_conv_6_expand(x)
        x = self.expanded_conv_6_expand_bn(x)
        x = self.activation_7(x)
        x = self.expanded_conv_6_depthwise(x)
        x = self.expanded_conv_6_depthwise_bn(x)
        x = self.activation_8(x)
        y = torch.mean(x, dim=(2, 3), keepdim=True)
        y = self.expanded_conv_6_squeeze_excite_conv(y)
        y = self.expanded_conv_6_squeeze_excite_relu(y)
        y = self.expanded_conv_6_squeeze_excite_conv_1(y)
        y = y + 3.0
        y = F.relu6(y)
        y = y * 0.16666667
        x = x * y
        x = self.expanded_conv_6_project(x)
        x = self.expanded_conv_6_project_bn(x)
        y = self.expanded_conv_7_expand(x)
        y = self.expanded_conv_7_expand_bn(y)
        y = self.activation_9(y)
        y = self.expanded_conv_7_depthwise(y)
        y = self.expanded_conv_7_depthwise_bn(y)
        y = self.activation_10(y)
        z = torch.mean(y, dim=(2, 3), keepdim=True)
        z = self.expanded_conv_7_squeeze_excite_conv(z)
        z = self.expanded_conv_7_squeeze_excite_relu(z)
        z = self.expanded_conv_7_squeeze_excite_conv_1(z)
        z = z + 3.0
        z = F.relu6(z)
        z = z * 0.16666667
        y = y * z
        y = self.expanded_conv_7_project(y)
        y = self.expanded_conv_7_project_bn(y)
        x = x + y
        x = self.expanded_conv_8_expand(x)
        x = self.expanded_conv_8_expand_bn(x)
        x = self.activation_11(x)
        x = F.pad(x, (1, 2, 1, 2))
        x = self.expanded_conv_8_depthwise(x)
        x = self.expanded_conv_8_depthwise_bn(x)
        x = self.activation_12(x)
        y = torch.mean(x, dim=(2, 3), keepdim=True)
        y = self.expanded_conv_8_squeeze_excite_conv(y)
        y = self.expanded_conv_8_squeeze_excite_relu(y)
        y = self.expanded_conv_8_squeeze_excite_conv_1(y)
        y = y + 3.0
        y = F.relu6(y)
        y = y * 0.16666667
        x = x * y
        x = self.expanded_conv_8_project(x)
        x = self.expanded_conv_8_project_bn(x)
        y = self.expanded_conv_9_expand(x)
        y = self.expanded_conv_9_expand_bn(y)
        y = self.activation_13(y)
        y = self.expanded_conv_9_depthwise(y)
        y = self.expanded_conv_9_depthwise_bn(y)
        y = self.activation_14(y)
        z = torch.mean(y, dim=(2, 3), keepdim=True)
        z = self.expanded_conv_9_squeeze_excite_conv(z)
        z = self.expanded_conv_9_squeeze_excite_relu(z)
        z = self.expanded_conv_9_squeeze_excite_conv_1(z)
        z = z + 3.0
        z = F.relu6(z)
        z = z * 0.16666667
        y = y * z
        y = self.expanded_conv_9_project(y)
        y = self.expanded_conv_9_project_bn(y)
        x = x + y
        y = self.expanded_conv_10_expand(x)
        y = self.expanded_conv_10_expand_bn(y)
        y = self.activation_15(y)
        y = self.expanded_conv_10_depthwise(y)
        y = self.expanded_conv_10_depthwise_bn(y)
        y = self.activation_16(y)
        z = torch.mean(y, dim=(2, 3), keepdim=True)
        z = self.expanded_conv_10_squeeze_excite_conv(z)
        z = self.expanded_conv_10_squeeze_excite_relu(z)
        z = self.expanded_conv_10_squeeze_excite_conv_1(z)
        z = z + 3.0
        z = F.relu6(z)
        z = z * 0.16666667
        y = y * z
        y = self.expanded_conv_10_project(y)
        y = self.expanded_conv_10_project_bn(y)
        x = x + y
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

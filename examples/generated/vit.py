"""VisionTransformer, converted by convcore from pytorch torch 2.13.0+cpu.

Input x: float32 [batch, 3, 224, 224].
Output output: float32 [batch, 1000].
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("vit.safetensors")
DTYPES = {"F32": torch.float32}


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


class PatchEmbed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, 192, kernel_size=16, stride=16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x)
        x = x.reshape(-1, 192, 196)
        x = x.permute(0, 2, 1)
        return x


class Expand(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, 192))

    def forward(self, x: Tensor) -> Tensor:
        x = x.size(0)
        x = self.cls_token.expand(x, 1, 192)
        return x


class BlockTensor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.empty(1, 197, 192))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.pos_embed
        return x


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(192, 576)
        self.softmax = nn.Softmax(dim=3)
        self.proj = nn.Linear(192, 192)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.qkv(x)
        x = x.reshape(-1, 197, 3, 3, 64)
        x = x.permute(2, 0, 3, 1, 4)
        x, unbind, unbind2 = torch.split(x, (1, 1, 1), dim=0)
        x = x.squeeze(0)
        unbind = unbind.squeeze(0)
        unbind2 = unbind2.squeeze(0)
        unbind = unbind.permute(0, 1, 3, 2)
        x = torch.matmul(x, unbind)
        x = x * 0.125
        x = self.softmax(x)
        x = torch.matmul(x, unbind2)
        x = x.permute(0, 2, 1, 3)
        x = x.reshape(-1, 197, 192)
        x = self.proj(x)
        x = self.proj_drop(x)
        return x


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(192, 768)
        self.act = nn.GELU()
        self.drop1 = nn.Dropout(0.0)
        self.fc2 = nn.Linear(768, 192)
        self.drop2 = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        x = self.act(x)
        x = self.drop1(x)
        x = self.fc2(x)
        x = self.drop2(x)
        return x


class Attention2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(192, 576)
        self.softmax = nn.Softmax(dim=3)
        self.proj = nn.Linear(192, 192)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.qkv(x)
        x = x.reshape(-1, 197, 3, 3, 64)
        x = x.permute(2, 0, 3, 1, 4)
        x, unbind_1, unbind_1_2 = torch.split(x, (1, 1, 1), dim=0)
        x = x.squeeze(0)
        unbind_1 = unbind_1.squeeze(0)
        unbind_1_2 = unbind_1_2.squeeze(0)
        unbind_1 = unbind_1.permute(0, 1, 3, 2)
        x = torch.matmul(x, unbind_1)
        x = x * 0.125
        x = self.softmax(x)
        x = torch.matmul(x, unbind_1_2)
        x = x.permute(0, 2, 1, 3)
        x = x.reshape(-1, 197, 192)
        x = self.proj(x)
        x = self.proj_drop(x)
        return x


class Attention3(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(192, 576)
        self.softmax = nn.Softmax(dim=3)
        self.proj = nn.Linear(192, 192)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.qkv(x)
        x = x.reshape(-1, 197, 3, 3, 64)
        x = x.permute(2, 0, 3, 1, 4)
        x, unbind_2, unbind_2_2 = torch.split(x, (1, 1, 1), dim=0)
        x = x.squeeze(0)
        unbind_2 = unbind_2.squeeze(0)
        unbind_2_2 = unbind_2_2.squeeze(0)
        unbind_2 = unbind_2.permute(0, 1, 3, 2)
        x = torch.matmul(x, unbind_2)
        x = x * 0.125
        x = self.softmax(x)
        x = torch.matmul(x, unbind_2_2)
        x = x.permute(0, 2, 1, 3)
        x = x.reshape(-1, 197, 192)
        x = self.proj(x)
        x = self.proj_drop(x)
        return x


class Attention4(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(192, 576)
        self.softmax = nn.Softmax(dim=3)
        self.proj = nn.Linear(192, 192)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.qkv(x)
        x = x.reshape(-1, 197, 3, 3, 64)
        x = x.permute(2, 0, 3, 1, 4)
        x, unbind_3, unbind_3_2 = torch.split(x, (1, 1, 1), dim=0)
        x = x.squeeze(0)
        unbind_3 = unbind_3.squeeze(0)
        unbind_3_2 = unbind_3_2.squeeze(0)
        unbind_3 = unbind_3.permute(0, 1, 3, 2)
        x = torch.matmul(x, unbind_3)
        x = x * 0.125
        x = self.softmax(x)
        x = torch.matmul(x, unbind_3_2)
        x = x.permute(0, 2, 1, 3)
        x = x.reshape(-1, 197, 192)
        x = self.proj(x)
        x = self.proj_drop(x)
        return x


class Attention5(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(192, 576)
        self.softmax = nn.Softmax(dim=3)
        self.proj = nn.Linear(192, 192)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.qkv(x)
        x = x.reshape(-1, 197, 3, 3, 64)
        x = x.permute(2, 0, 3, 1, 4)
        x, unbind_4, unbind_4_2 = torch.split(x, (1, 1, 1), dim=0)
        x = x.squeeze(0)
        unbind_4 = unbind_4.squeeze(0)
        unbind_4_2 = unbind_4_2.squeeze(0)
        unbind_4 = unbind_4.permute(0, 1, 3, 2)
        x = torch.matmul(x, unbind_4)
        x = x * 0.125
        x = self.softmax(x)
        x = torch.matmul(x, unbind_4_2)
        x = x.permute(0, 2, 1, 3)
        x = x.reshape(-1, 197, 192)
        x = self.proj(x)
        x = self.proj_drop(x)
        return x


class Attention6(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(192, 576)
        self.softmax = nn.Softmax(dim=3)
        self.proj = nn.Linear(192, 192)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.qkv(x)
        x = x.reshape(-1, 197, 3, 3, 64)
        x = x.permute(2, 0, 3, 1, 4)
        x, unbind_5, unbind_5_2 = torch.split(x, (1, 1, 1), dim=0)
        x = x.squeeze(0)
        unbind_5 = unbind_5.squeeze(0)
        unbind_5_2 = unbind_5_2.squeeze(0)
        unbind_5 = unbind_5.permute(0, 1, 3, 2)
        x = torch.matmul(x, unbind_5)
        x = x * 0.125
        x = self.softmax(x)
        x = torch.matmul(x, unbind_5_2)
        x = x.permute(0, 2, 1, 3)
        x = x.reshape(-1, 197, 192)
        x = self.proj(x)
        x = self.proj_drop(x)
        return x


class Attention7(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(192, 576)
        self.softmax = nn.Softmax(dim=3)
        self.proj = nn.Linear(192, 192)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.qkv(x)
        x = x.reshape(-1, 197, 3, 3, 64)
        x = x.permute(2, 0, 3, 1, 4)
        x, unbind_6, unbind_6_2 = torch.split(x, (1, 1, 1), dim=0)
        x = x.squeeze(0)
        unbind_6 = unbind_6.squeeze(0)
        unbind_6_2 = unbind_6_2.squeeze(0)
        unbind_6 = unbind_6.permute(0, 1, 3, 2)
        x = torch.matmul(x, unbind_6)
        x = x * 0.125
        x = self.softmax(x)
        x = torch.matmul(x, unbind_6_2)
        x = x.permute(0, 2, 1, 3)
        x = x.reshape(-1, 197, 192)
        x = self.proj(x)
        x = self.proj_drop(x)
        return x


class Attention8(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(192, 576)
        self.softmax = nn.Softmax(dim=3)
        self.proj = nn.Linear(192, 192)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.qkv(x)
        x = x.reshape(-1, 197, 3, 3, 64)
        x = x.permute(2, 0, 3, 1, 4)
        x, unbind_7, unbind_7_2 = torch.split(x, (1, 1, 1), dim=0)
        x = x.squeeze(0)
        unbind_7 = unbind_7.squeeze(0)
        unbind_7_2 = unbind_7_2.squeeze(0)
        unbind_7 = unbind_7.permute(0, 1, 3, 2)
        x = torch.matmul(x, unbind_7)
        x = x * 0.125
        x = self.softmax(x)
        x = torch.matmul(x, unbind_7_2)
        x = x.permute(0, 2, 1, 3)
        x = x.reshape(-1, 197, 192)
        x = self.proj(x)
        x = self.proj_drop(x)
        return x


class Attention9(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(192, 576)
        self.softmax = nn.Softmax(dim=3)
        self.proj = nn.Linear(192, 192)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.qkv(x)
        x = x.reshape(-1, 197, 3, 3, 64)
        x = x.permute(2, 0, 3, 1, 4)
        x, unbind_8, unbind_8_2 = torch.split(x, (1, 1, 1), dim=0)
        x = x.squeeze(0)
        unbind_8 = unbind_8.squeeze(0)
        unbind_8_2 = unbind_8_2.squeeze(0)
        unbind_8 = unbind_8.permute(0, 1, 3, 2)
        x = torch.matmul(x, unbind_8)
        x = x * 0.125
        x = self.softmax(x)
        x = torch.matmul(x, unbind_8_2)
        x = x.permute(0, 2, 1, 3)
        x = x.reshape(-1, 197, 192)
        x = self.proj(x)
        x = self.proj_drop(x)
        return x


class Attention10(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(192, 576)
        self.softmax = nn.Softmax(dim=3)
        self.proj = nn.Linear(192, 192)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.qkv(x)
        x = x.reshape(-1, 197, 3, 3, 64)
        x = x.permute(2, 0, 3, 1, 4)
        x, unbind_9, unbind_9_2 = torch.split(x, (1, 1, 1), dim=0)
        x = x.squeeze(0)
        unbind_9 = unbind_9.squeeze(0)
        unbind_9_2 = unbind_9_2.squeeze(0)
        unbind_9 = unbind_9.permute(0, 1, 3, 2)
        x = torch.matmul(x, unbind_9)
        x = x * 0.125
        x = self.softmax(x)
        x = torch.matmul(x, unbind_9_2)
        x = x.permute(0, 2, 1, 3)
        x = x.reshape(-1, 197, 192)
        x = self.proj(x)
        x = self.proj_drop(x)
        return x


class Attention11(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(192, 576)
        self.softmax = nn.Softmax(dim=3)
        self.proj = nn.Linear(192, 192)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.qkv(x)
        x = x.reshape(-1, 197, 3, 3, 64)
        x = x.permute(2, 0, 3, 1, 4)
        x, unbind_10, unbind_10_2 = torch.split(x, (1, 1, 1), dim=0)
        x = x.squeeze(0)
        unbind_10 = unbind_10.squeeze(0)
        unbind_10_2 = unbind_10_2.squeeze(0)
        unbind_10 = unbind_10.permute(0, 1, 3, 2)
        x = torch.matmul(x, unbind_10)
        x = x * 0.125
        x = self.softmax(x)
        x = torch.matmul(x, unbind_10_2)
        x = x.permute(0, 2, 1, 3)
        x = x.reshape(-1, 197, 192)
        x = self.proj(x)
        x = self.proj_drop(x)
        return x


class Attention12(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(192, 576)
        self.softmax = nn.Softmax(dim=3)
        self.proj = nn.Linear(192, 192)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.qkv(x)
        x = x.reshape(-1, 197, 3, 3, 64)
        x = x.permute(2, 0, 3, 1, 4)
        x, unbind_11, unbind_11_2 = torch.split(x, (1, 1, 1), dim=0)
        x = x.squeeze(0)
        unbind_11 = unbind_11.squeeze(0)
        unbind_11_2 = unbind_11_2.squeeze(0)
        unbind_11 = unbind_11.permute(0, 1, 3, 2)
        x = torch.matmul(x, unbind_11)
        x = x * 0.125
        x = self.softmax(x)
        x = torch.matmul(x, unbind_11_2)
        x = x.permute(0, 2, 1, 3)
        x = x.reshape(-1, 197, 192)
        x = self.proj(x)
        x = self.proj_drop(x)
        return x


class Int(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :1]
        x = x.squeeze(1)
        return x


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(192, eps=1e-06)
        self.attn = Attention()
        self.norm2 = nn.LayerNorm(192, eps=1e-06)
        self.mlp = Mlp()

    def forward(self, x: Tensor) -> Tensor:
        norm1 = self.norm1(x)
        norm1 = self.attn(norm1)
        x = x + norm1
        norm2 = self.norm2(x)
        norm2 = self.mlp(norm2)
        x = x + norm2
        return x


class Block2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(192, eps=1e-06)
        self.attn = Attention2()
        self.norm2 = nn.LayerNorm(192, eps=1e-06)
        self.mlp = Mlp()

    def forward(self, x: Tensor) -> Tensor:
        norm1 = self.norm1(x)
        norm1 = self.attn(norm1)
        x = x + norm1
        norm2 = self.norm2(x)
        norm2 = self.mlp(norm2)
        x = x + norm2
        return x


class Block3(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(192, eps=1e-06)
        self.attn = Attention3()
        self.norm2 = nn.LayerNorm(192, eps=1e-06)
        self.mlp = Mlp()

    def forward(self, x: Tensor) -> Tensor:
        norm1 = self.norm1(x)
        norm1 = self.attn(norm1)
        x = x + norm1
        norm2 = self.norm2(x)
        norm2 = self.mlp(norm2)
        x = x + norm2
        return x


class Block4(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(192, eps=1e-06)
        self.attn = Attention4()
        self.norm2 = nn.LayerNorm(192, eps=1e-06)
        self.mlp = Mlp()

    def forward(self, x: Tensor) -> Tensor:
        norm1 = self.norm1(x)
        norm1 = self.attn(norm1)
        x = x + norm1
        norm2 = self.norm2(x)
        norm2 = self.mlp(norm2)
        x = x + norm2
        return x


class Block5(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(192, eps=1e-06)
        self.attn = Attention5()
        self.norm2 = nn.LayerNorm(192, eps=1e-06)
        self.mlp = Mlp()

    def forward(self, x: Tensor) -> Tensor:
        norm1 = self.norm1(x)
        norm1 = self.attn(norm1)
        x = x + norm1
        norm2 = self.norm2(x)
        norm2 = self.mlp(norm2)
        x = x + norm2
        return x


class Block6(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(192, eps=1e-06)
        self.attn = Attention6()
        self.norm2 = nn.LayerNorm(192, eps=1e-06)
        self.mlp = Mlp()

    def forward(self, x: Tensor) -> Tensor:
        norm1 = self.norm1(x)
        norm1 = self.attn(norm1)
        x = x + norm1
        norm2 = self.norm2(x)
        norm2 = self.mlp(norm2)
        x = x + norm2
        return x


class Block7(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(192, eps=1e-06)
        self.attn = Attention7()
        self.norm2 = nn.LayerNorm(192, eps=1e-06)
        self.mlp = Mlp()

    def forward(self, x: Tensor) -> Tensor:
        norm1 = self.norm1(x)
        norm1 = self.attn(norm1)
        x = x + norm1
        norm2 = self.norm2(x)
        norm2 = self.mlp(norm2)
        x = x + norm2
        return x


class Block8(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(192, eps=1e-06)
        self.attn = Attention8()
        self.norm2 = nn.LayerNorm(192, eps=1e-06)
        self.mlp = Mlp()

    def forward(self, x: Tensor) -> Tensor:
        norm1 = self.norm1(x)
        norm1 = self.attn(norm1)
        x = x + norm1
        norm2 = self.norm2(x)
        norm2 = self.mlp(norm2)
        x = x + norm2
        return x


class Block9(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(192, eps=1e-06)
        self.attn = Attention9()
        self.norm2 = nn.LayerNorm(192, eps=1e-06)
        self.mlp = Mlp()

    def forward(self, x: Tensor) -> Tensor:
        norm1 = self.norm1(x)
        norm1 = self.attn(norm1)
        x = x + norm1
        norm2 = self.norm2(x)
        norm2 = self.mlp(norm2)
        x = x + norm2
        return x


class Block10(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(192, eps=1e-06)
        self.attn = Attention10()
        self.norm2 = nn.LayerNorm(192, eps=1e-06)
        self.mlp = Mlp()

    def forward(self, x: Tensor) -> Tensor:
        norm1 = self.norm1(x)
        norm1 = self.attn(norm1)
        x = x + norm1
        norm2 = self.norm2(x)
        norm2 = self.mlp(norm2)
        x = x + norm2
        return x


class Block11(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(192, eps=1e-06)
        self.attn = Attention11()
        self.norm2 = nn.LayerNorm(192, eps=1e-06)
        self.mlp = Mlp()

    def forward(self, x: Tensor) -> Tensor:
        norm1 = self.norm1(x)
        norm1 = self.attn(norm1)
        x = x + norm1
        norm2 = self.norm2(x)
        norm2 = self.mlp(norm2)
        x = x + norm2
        return x


class Block12(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(192, eps=1e-06)
        self.attn = Attention12()
        self.norm2 = nn.LayerNorm(192, eps=1e-06)
        self.mlp = Mlp()

    def forward(self, x: Tensor) -> Tensor:
        norm1 = self.norm1(x)
        norm1 = self.attn(norm1)
        x = x + norm1
        norm2 = self.norm2(x)
        norm2 = self.mlp(norm2)
        x = x + norm2
        return x


class VisionTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed()
        self.expand = Expand()
        self.add = BlockTensor()
        self.pos_drop = nn.Dropout(0.0)
        self.blocks = nn.Sequential(
            Block(),
            Block2(),
            Block3(),
            Block4(),
            Block5(),
            Block6(),
            Block7(),
            Block8(),
            Block9(),
            Block10(),
            Block11(),
            Block12(),
        )
        self.norm = nn.LayerNorm(192, eps=1e-06)
        self.select = Int()
        self.head_drop = nn.Dropout(0.0)
        self.head = nn.Linear(192, 1000)

    def forward(self, x: Tensor) -> Tensor:
        patch_embed = self.patch_embed(x)
        x = self.expand(x)
        x = torch.cat((x, patch_embed), dim=1)
        x = self.add(x)
        x = self.pos_drop(x)
        x = self.blocks(x)
        x = self.norm(x)
        x = self.select(x)
        x = self.head_drop(x)
        x = self.head(x)
        return x

    @classmethod
    def from_pretrained(cls, weights: str | Path = WEIGHTS) -> VisionTransformer:
        """The model with weights from a .safetensors file, in evaluation mode."""
        with torch.device("meta"):
            model = cls()
        state = read_safetensors(weights)
        model.load_state_dict(state, assign=True)
        return model.eval()


def load(weights: str | Path = WEIGHTS) -> VisionTransformer:
    """A VisionTransformer with its weights, in evaluation mode."""
    return VisionTransformer.from_pretrained(weights)

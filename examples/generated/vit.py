"""VisionTransformer, converted by convcore from pytorch torch 2.13.0+cpu.

Input x: float32 [batch, 3, 224, 224].
Output output: float32 [batch, 1000].
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
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
            tensors[name] = part.reshape(info["shape"]).data  # changed by itself
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


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(192, 576)
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
        x = F.softmax(x, dim=3)
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


class VisionTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, 192))
        self.pos_embed = nn.Parameter(torch.empty(1, 197, 192))
        self.pos_drop = nn.Dropout(0.0)
        self.patch_embed = PatchEmbed()
        self.blocks = nn.Sequential(
            Block(),
            Block(),
            Block(),
            Block(),
            Block(),
            Block(),
            Block(),
            Block(),
            Block(),
            Block(),
            Block(),
            Block(),
        )
        self.norm = nn.LayerNorm(192, eps=1e-06)
        self.head_drop = nn.Dropout(0.0)
        self.head = nn.Linear(192, 1000)

    def forward(self, x: Tensor) -> Tensor:
        patch_embed = self.patch_embed(x)
        x = x.size(0)
        x = self.cls_token.expand(x, 1, 192)
        x = torch.cat((x, patch_embed), dim=1)
        x = x + self.pos_embed
        x = self.pos_drop(x)
        x = self.blocks(x)
        x = self.norm(x)
        x = x[:, :1]
        x = x.squeeze(1)
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

"""Tagger, converted by convcore from keras 3.15.1.

Input x (tokens): int32 [batch, tokens_dim1].
Output tags: float32 [batch, tokens_dim1, 17].
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("bilstm_tagger.safetensors")
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


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(101, 32)
        self.encoder = nn.LSTM(32, 48, batch_first=True, bidirectional=True)
        self.encoder.bias_hh_l0.requires_grad_(False)
        self.encoder.bias_hh_l0_reverse.requires_grad_(False)
        self.dropout = nn.Dropout(0.3)
        self.tags = nn.Linear(96, 17)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedding(x)
        x, _ = self.encoder(x)
        x = self.dropout(x)
        x = self.tags(x)
        x = F.softmax(x, dim=2)
        return x

    @classmethod
    def from_pretrained(cls, weights: str | Path = WEIGHTS) -> Tagger:
        """The model with weights from a .safetensors file, in evaluation mode."""
        with torch.device("meta"):
            model = cls()
        state = read_safetensors(weights)
        model.load_state_dict(state, assign=True)
        return model.eval()


def load(weights: str | Path = WEIGHTS) -> Tagger:
    """A Tagger with its weights, in evaluation mode."""
    return Tagger.from_pretrained(weights)

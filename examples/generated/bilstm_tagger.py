"""Tagger, converted by convcore from keras 3.15.1.

Input x (tokens): int32 [batch, tokens_dim1].
Output tags: float32 [batch, tokens_dim1, 17].
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
            tensors[name] = part.reshape(info["shape"]).data  # changed by itself
    return tensors


def gathered(x: Tensor, mask: Tensor) -> Tensor:
    """Sequences (batch, time, features), the steps where the mask holds in front."""
    order = torch.argsort(mask.int(), stable=True, dim=1, descending=True)
    return x.gather(1, order[:, :, None].expand(-1, -1, x.shape[2]))


def spread(y: Tensor, mask: Tensor, again: bool, start: Tensor | None = None) -> Any:
    """Outputs of gathered steps at their times, and the last: a step that is masked
    repeats the output before it, or gives zeros."""
    done = mask.cumsum(1)[:, :, None].expand(-1, -1, y.shape[2])
    last = done[:, -1:]
    zeros = torch.zeros_like(y[:, :1])
    first = zeros if start is None else start.transpose(0, 1)
    end = torch.where(last > 0, y.gather(1, (last - 1).clamp(min=0)), first)
    y = y.gather(1, (done - 1).clamp(min=0))
    y = torch.where(done > 0 if again else mask[:, :, None], y, zeros)
    return y, end.transpose(0, 1)


class Bidirectional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(64, 64, batch_first=True)
        self.lstm_1 = nn.LSTM(64, 64, batch_first=True)
        self.lstm.bias_hh_l0.requires_grad_(False)
        self.lstm_1.bias_hh_l0.requires_grad_(False)

    def forward(self, x: Tensor, x2: Tensor) -> int:
        y = gathered(x, x2)
        y, _ = self.lstm(y)
        y, _ = spread(y, x2, False)
        x = torch.flip(x, (1,))
        x2 = torch.flip(x2, (1,))
        x = gathered(x, x2)
        x, _ = self.lstm_1(x)
        x, _ = spread(x, x2, False)
        x = torch.flip(x, (1,))
        y = torch.cat((y, x), dim=2)
        return y


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5000, 64)
        self.encoder = Bidirectional()
        self.tags = nn.Linear(128, 17)

    def forward(self, x: Tensor) -> Tensor:
        embedding = self.embedding(x)
        x = x != 0
        embedding = self.encoder(embedding, x)
        embedding = self.tags(embedding)
        embedding = F.softmax(embedding, dim=2)
        return embedding

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

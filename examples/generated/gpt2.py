"""GPT2LMHeadModel, converted by convcore from pytorch torch 2.13.0+cpu.

Input x (input_ids): int64 [batch, 12].
Output output: float32 [batch, 12, 211].
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("gpt2.safetensors")
DTYPES = {"F32": torch.float32, "I64": torch.int64}
# Parameters that are one: each is the other.
TIED = {"lm_head.weight": "transformer.wte.weight"}
# Buffers that are in the file of weights, but not in the state_dict.
UNSAVED = ("transformer.const", "transformer.const_1", "transformer.const_2")


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


def set_buffers(model: nn.Module, values: dict[str, Tensor]) -> None:
    """Buffers that the state_dict does not have."""
    for name, value in values.items():
        owner, _, last = name.rpartition(".")
        model.get_submodule(owner).register_buffer(last, value, persistent=False)


class Conv1D(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(48, 144))
        self.bias = nn.Parameter(torch.empty(144))

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(-1, 48)
        x = torch.matmul(x, self.weight)
        x = self.bias + x
        x = x.reshape(-1, 12, 144)
        return x


class Conv1D2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(48, 48))
        self.bias = nn.Parameter(torch.empty(48))

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(-1, 48)
        x = torch.matmul(x, self.weight)
        x = self.bias + x
        x = x.reshape(-1, 12, 48)
        return x


class Conv1D3(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(48, 192))
        self.bias = nn.Parameter(torch.empty(192))

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(-1, 48)
        x = torch.matmul(x, self.weight)
        x = self.bias + x
        x = x.reshape(-1, 12, 192)
        return x


class NewGELUActivation(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        mul = x * 0.5
        pow = x**3.0
        pow = pow * 0.044715
        x = x + pow
        x = x * 0.7978846
        x = torch.tanh(x)
        x = x + 1.0
        mul = mul * x
        return mul


class Conv1D4(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(192, 48))
        self.bias = nn.Parameter(torch.empty(48))

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(-1, 192)
        x = torch.matmul(x, self.weight)
        x = self.bias + x
        x = x.reshape(-1, 12, 48)
        return x


class GPT2Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c_attn = Conv1D()
        self.c_proj = Conv1D2()
        self.resid_dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, x2: Tensor) -> Tensor:
        x = self.c_attn(x)
        x, split, split2 = torch.split(x, (48, 48, 48), dim=2)
        split = split.reshape(-1, 12, 4, 12)
        split = split.permute(0, 2, 1, 3)
        split2 = split2.reshape(-1, 12, 4, 12)
        split2 = split2.permute(0, 2, 1, 3)
        x = x.reshape(-1, 12, 4, 12)
        x = x.permute(0, 2, 1, 3)
        split = split.permute(0, 1, 3, 2)
        x = torch.matmul(x, split)
        x = x * 0.28867513
        x = torch.where(x2, x, float("-inf"))
        x = F.softmax(x, dim=3)
        x2 = torch.where(x2, x, 0.0)
        x2 = torch.matmul(x2, split2)
        x2 = x2.permute(0, 2, 1, 3)
        x2 = x2.reshape(-1, 12, 48)
        x2 = self.c_proj(x2)
        x2 = self.resid_dropout(x2)
        return x2


class GPT2MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c_fc = Conv1D3()
        self.act = NewGELUActivation()
        self.c_proj = Conv1D4()
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c_fc(x)
        x = self.act(x)
        x = self.c_proj(x)
        x = self.dropout(x)
        return x


class GPT2Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(48)
        self.attn = GPT2Attention()
        self.ln_2 = nn.LayerNorm(48)
        self.mlp = GPT2MLP()

    def forward(self, x: Tensor, x2: Tensor) -> Tensor:
        ln_1 = self.ln_1(x)
        ln_1 = self.attn(ln_1, x2)
        ln_1 = ln_1 + x
        x = self.ln_2(ln_1)
        x = self.mlp(x)
        ln_1 = ln_1 + x
        return ln_1


class H(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.add_module("0", GPT2Block())
        self.add_module("1", GPT2Block())
        self.add_module("2", GPT2Block())

    def forward(self, x: Tensor, x2: Tensor) -> Tensor:
        x = self.get_submodule("0")(x, x2)
        x = self.get_submodule("1")(x, x2)
        x = self.get_submodule("2")(x, x2)
        return x


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(211, 48)
        self.register_buffer(
            "const", torch.empty(12, dtype=torch.int64), persistent=False
        )
        self.wpe = nn.Embedding(64, 48)
        self.register_buffer(
            "const_1", torch.empty(12, dtype=torch.int64), persistent=False
        )
        self.register_buffer(
            "const_2", torch.empty(12, dtype=torch.int64), persistent=False
        )
        self.drop = nn.Dropout(0.1)
        self.h = H()
        self.ln_f = nn.LayerNorm(48)

    def forward(self, x: Tensor) -> Tensor:
        wte = self.wte(x)
        add = self.const + 0
        add = add.unsqueeze(0)
        wpe = self.wpe(add)
        wte = wte + wpe
        x = x.size(0)
        expand = add.expand(x, 12)
        slice = expand[:, :1]
        slice = slice - 1
        slice = torch.cat((slice, expand), dim=1)
        diff = slice[:, 1:]
        slice = slice[:, :12]
        diff = diff - slice
        diff = diff != 1
        diff = diff.to(torch.int64)
        diff = torch.cumsum(diff, dim=1, dtype=torch.int64)
        add = add.expand(x, 12)
        arange = torch.arange(x, dtype=torch.int64, device=wte.device)
        add2 = self.const_1 + 0
        add3 = self.const_2 + 0
        arange = arange.unsqueeze(1)
        arange = arange.unsqueeze(2)
        arange = arange.unsqueeze(3)
        add2 = add2.unsqueeze(0)
        add2 = add2.unsqueeze(1)
        add2 = add2.unsqueeze(3)
        add3 = add3.unsqueeze(0)
        add3 = add3.unsqueeze(1)
        add3 = add3.unsqueeze(2)
        new_ones = torch.full((), True, dtype=torch.bool, device=wte.device)
        index = arange.expand(arange.shape[0], 1, 12, 1)
        index2 = add2.expand(x, 1, 12, 1)
        index = torch.stack((index, index2), dim=4)
        y = index[..., 0]
        index = index[..., 1]
        y = add[y, index]
        index = arange.expand(arange.shape[0], 1, 1, 12)
        index2 = add3.expand(x, 1, 1, 12)
        index = torch.stack((index, index2), dim=4)
        z = index[..., 0]
        index = index[..., 1]
        add = add[z, index]
        add = add <= y
        new_ones = torch.logical_and(new_ones, add)
        index = arange.expand(arange.shape[0], 1, 12, 1)
        add2 = add2.expand(x, 1, 12, 1)
        index = torch.stack((index, add2), dim=4)
        y = index[..., 0]
        index = index[..., 1]
        y = diff[y, index]
        arange = arange.expand(arange.shape[0], 1, 1, 12)
        add3 = add3.expand(x, 1, 1, 12)
        arange = torch.stack((arange, add3), dim=4)
        x = arange[..., 0]
        arange = arange[..., 1]
        diff = diff[x, arange]
        y = y == diff
        new_ones = torch.logical_and(new_ones, y)
        wte = self.drop(wte)
        wte = self.h(wte, new_ones)
        wte = self.ln_f(wte)
        return wte


class GPT2LMHeadModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.transformer = Transformer()
        self.lm_head = nn.Linear(48, 211, bias=False)
        self.tie_weights()

    def forward(self, x: Tensor) -> Tensor:
        x = self.transformer(x)
        x = self.lm_head(x)
        return x

    def tie_weights(self) -> None:
        """Let parameters that are one in the source be one."""
        self.lm_head.weight = self.transformer.wte.weight

    @classmethod
    def from_pretrained(cls, weights: str | Path = WEIGHTS) -> GPT2LMHeadModel:
        """The model with weights from a .safetensors file, in evaluation mode."""
        with torch.device("meta"):
            model = cls()
        state = read_safetensors(weights)
        state.update((name, state[first]) for name, first in TIED.items())
        unsaved = {name: state.pop(name) for name in UNSAVED}
        model.load_state_dict(state, assign=True)
        set_buffers(model, unsaved)
        model.tie_weights()
        return model.eval()


def load(weights: str | Path = WEIGHTS) -> GPT2LMHeadModel:
    """A GPT2LMHeadModel with its weights, in evaluation mode."""
    return GPT2LMHeadModel.from_pretrained(weights)

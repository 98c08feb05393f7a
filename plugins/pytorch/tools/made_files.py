"""Small files as a version of torch writes them, with what that version computes: the fixtures in ``tests/data/pytorch/torch_*``.

    <python with torch 2.6> plugins/pytorch/tools/made_files.py tests/data/pytorch/torch_2_6

Needs torch and numpy alone. Writes ``.pt2`` (torch.export.save), ``.pt`` (torch.jit.save), ``.pth`` (torch.save, zip and legacy),
``<name>.npz`` with inputs ``i0``... and outputs ``o0``... of two batches (``b`` for the second), and ``index.json``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree


class Cnn(nn.Module):
    """Convolutions, both kinds of norm, pools, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1, ceil_mode=True),
            nn.Conv2d(6, 6, 3, padding="same", groups=3), nn.GroupNorm(2, 6), nn.Hardswish(), nn.AdaptiveAvgPool2d((2, 1)),
        )  # fmt: skip
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(12, 5)

    def forward(self, x):
        return self.head(self.drop(torch.flatten(self.features(x), 1)))


class Lstm(nn.Module):
    """Two layers in both directions, with and without a state."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm = nn.Embedding(13, 5, padding_idx=0), nn.LSTM(5, 3, 2, bidirectional=True, batch_first=True)
        self.gru, self.out, self.end = nn.GRU(6, 4, batch_first=True), nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, ids):
        y, (h, _) = self.lstm(self.words(ids))
        z, last = self.gru(y)
        return self.out(z).log_softmax(-1), h, last, self.end(h[-1])


class Transformer(nn.Module):
    """torch's own layers, with a mask of what is padding."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 11, batch_first=True, norm_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.cross = nn.MultiheadAttention(8, 4, batch_first=True, kdim=5, vdim=5)

    def forward(self, x, memory, padding):
        y = self.encoder(x, src_key_padding_mask=padding)
        z, weights = self.cross(y, memory, memory)
        return y + z, weights


class Gpt(nn.Module):
    """A block as GPT-2 has it: attention by torch's function, the embedding shared with the head."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(17, 8), nn.Embedding(23, 8)
        self.qkv, self.proj, self.norm = nn.Linear(8, 24), nn.Linear(8, 8), nn.LayerNorm(8)
        self.mlp = nn.Sequential(nn.Linear(8, 32), nn.GELU(approximate="tanh"), nn.Linear(32, 8))
        self.head = nn.Linear(8, 17, bias=False)
        self.head.weight = self.words.weight

    def forward(self, ids):
        b, t = ids.shape
        x = self.words(ids) + self.places(torch.arange(t, device=ids.device))
        q, k, v = (a.view(b, t, 2, 4).transpose(1, 2) for a in self.qkv(self.norm(x)).split(8, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).contiguous().view(b, t, 8)
        x = x + self.proj(y)
        return self.head(x + self.mlp(x))


class Branch(nn.Module):
    """torch.cond, a buffer that is stored, one that is not, a plain tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.register_buffer("shift", torch.arange(4.0))
        self.register_buffer("passing", torch.arange(4.0) / 3, persistent=False)
        self.plain = torch.tensor([[1.5, -2.0, 0.25, 3.0]])

    def forward(self, x):
        y = torch.cond(x.sum() > 0, lambda a: self.fc(a) * 2, lambda a: a - self.shift, (x,))
        return y * self.plain + self.passing


class Mixed(nn.Module):
    """Types and nesting: integers, truth values, half, double, bfloat16; keywords, None, dictionaries and lists."""

    def __init__(self) -> None:
        super().__init__()
        self.p16 = nn.Parameter(torch.randn(3, dtype=torch.float16), requires_grad=False)
        self.b16 = nn.Parameter(torch.randn(3, dtype=torch.bfloat16))
        self.p64 = nn.Parameter(torch.randn(3, dtype=torch.float64))
        self.register_buffer("steps", torch.tensor([1, 2, 3], dtype=torch.int32))
        self.register_buffer("small", torch.tensor([7, -8, 9], dtype=torch.int8))
        self.register_buffer("octets", torch.tensor([200, 3, 255], dtype=torch.uint8))
        self.register_buffer("keep", torch.tensor([True, False, True]))

    def forward(self, x, others, *, chosen, scale: float = 2.0, bias=None):
        a = torch.where(chosen & self.keep, x * scale, others["a"].to(torch.float32))
        b = (others["more"][0] + self.steps) // 2 % 5
        c = (a.half() * self.p16).float() + (a.bfloat16() * self.b16).float()
        wide = a.double() * self.p64 + self.octets
        return {"b": b, "parts": [c, wide], "any": chosen.any(dim=1), "n": b + self.small}


class Loop(nn.Module):
    """torch's while_loop: as many steps as a value says."""

    def forward(self, n, x):
        from torch._higher_order_ops.while_loop import while_loop

        return while_loop(lambda i, a: i > 0, lambda i, a: (i - 1, a * 1.5 + 1), (n, x))[1]


class Scripted(nn.Module):
    """A branch on data, a loop over a list of layers, an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.limit = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)]), 0.5

    def forward(self, x: torch.Tensor, twice: bool = False) -> torch.Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        if bool(x.mean() > self.limit):
            x = x - self.limit
        return x * 2 if twice else x


def ids(*shape: int, below: int) -> torch.Tensor:
    return torch.randint(1, below, shape)


def mixed(n: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    others = {"a": torch.randn(n, 3, dtype=torch.float64), "more": [ids(n, 3, below=40).int()]}
    return (torch.randn(n, 3), others), {"chosen": torch.rand(n, 3) > 0.4}


def padding(n: int, t: int) -> torch.Tensor:
    return torch.arange(t)[None] >= torch.arange(t, t - n, -1)[:, None].clamp(min=2)


def examples() -> dict[str, tuple[nn.Module, Any, Any, Any]]:
    """Module, arguments, arguments of other sizes, which axes are free."""
    batch, time = torch.export.Dim("batch", max=64), torch.export.Dim("time", max=20)
    b = {0: batch}
    return {
        "cnn": (Cnn(), ((torch.randn(2, 3, 17, 13),), {}), ((torch.randn(5, 3, 17, 13),), {}), {"x": b}),
        "lstm": (Lstm(), ((ids(2, 7, below=13),), {}), ((ids(3, 7, below=13),), {}), {"ids": b}),
        "transformer": (
            Transformer(),
            ((torch.randn(2, 6, 8), torch.randn(2, 3, 5), padding(2, 6)), {}),
            ((torch.randn(4, 6, 8), torch.randn(4, 3, 5), padding(4, 6)), {}),
            {"x": b, "memory": b, "padding": b},
        ),
        "gpt": (Gpt(), ((ids(2, 7, below=17),), {}), ((ids(3, 11, below=17),), {}), {"ids": {0: batch, 1: time}}),
        "branch": (Branch(), ((torch.rand(3, 4),), {}), ((-torch.rand(5, 4),), {}), {"x": b}),
        "mixed": (Mixed(), mixed(2), mixed(5), {"x": b, "others": {"a": b, "more": [b]}, "chosen": b}),
        "loop": (Loop(), ((torch.tensor(3), torch.randn(2, 3)), {}), ((torch.tensor(6), torch.randn(2, 3)), {}), None),
    }  # fmt: skip


def save(path: Path, inputs: tuple[Any, Any], more: tuple[Any, Any], module: Any) -> None:
    """Both runs, flat: tensors alone, in the order of the call."""
    found: dict[str, Any] = {}
    for tail, (args, kwargs) in (("", inputs), ("b", more)):
        with torch.no_grad():
            out = module(*args, **kwargs)
        for kind, values in (("i", (args, kwargs)), ("o", out)):
            tensors = [t for t in pytree.tree_leaves(values) if isinstance(t, torch.Tensor)]
            found.update({f"{kind}{n}{tail}": t.numpy() for n, t in enumerate(tensors)})
    np.savez_compressed(path, **found)


def main(folder: Path) -> None:
    torch.manual_seed(26)
    folder.mkdir(parents=True, exist_ok=True)
    index: dict[str, Any] = {"torch": torch.__version__, "files": {}}
    for name, (module, inputs, more, free) in examples().items():
        for p in module.modules():
            if isinstance(p, nn.BatchNorm2d):  # statistics as after training
                p.running_mean.normal_()
                p.running_var.uniform_(0.5, 2)
        module.eval()
        save(folder / f"{name}.npz", inputs, more, module)
        strict = name == "loop"  # torch 2.6 takes its while_loop only so
        program = torch.export.export(module, *inputs, dynamic_shapes=free, strict=strict)
        extra = {"notes.txt": "of this fixture"} if name == "cnn" else None
        torch.export.save(program, folder / f"{name}.pt2", extra_files=extra)
        index["files"][f"{name}.pt2"] = name
        if name in ("cnn", "gpt"):
            torch.export.save(program.run_decompositions(), folder / f"{name}_parts.pt2")
            index["files"][f"{name}_parts.pt2"] = name
        if name in ("cnn", "lstm", "transformer"):
            with torch.no_grad():
                traced = torch.jit.trace(module, inputs[0], check_trace=False)
            traced.save(str(folder / f"{name}.pt"))
            index["files"][f"{name}.pt"] = name
        if name == "cnn":
            torch.jit.freeze(torch.jit.script(module)).save(str(folder / "cnn_frozen.pt"))
            index["files"]["cnn_frozen.pt"] = name
        if name == "mixed":
            state = module.state_dict()
            torch.save(state, folder / "zip.pth")
            torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
            plain = {k: (v.float() if v.dtype == torch.bfloat16 else v).numpy() for k, v in state.items()}
            np.savez_compressed(folder / "state.npz", **plain)
        if name == "gpt":
            optimiser = torch.optim.AdamW(module.parameters(), lr=1e-3)
            module(*inputs[0]).sum().backward()
            optimiser.step()
            kept = {"epoch": 3, "state_dict": module.state_dict(), "optimizer": optimiser.state_dict(), "args": {"lr": 1e-3}}
            torch.save(kept, folder / "training.pth")
            np.savez_compressed(folder / "training.npz", **{k: v.numpy() for k, v in module.state_dict().items()})
            torch.save(module, folder / "whole_module.pth")
    scripted = Scripted().eval()
    save(folder / "scripted.npz", ((torch.randn(3, 4) * 9,), {}), ((torch.randn(5, 4) / 9,), {}), scripted)
    torch.jit.script(scripted).save(str(folder / "scripted.pt"))
    index["files"]["scripted.pt"] = "scripted"
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

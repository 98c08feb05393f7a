"""The readers and what their mutants are made of: stored files of the tests, small ones written by torch and convcore, and the
standard's ONNX node cases where many mutants are made."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.mutate import mutant

import convcore
from convcore.errors import ConvcoreError

__all__ = ["READERS", "Reader", "Seed", "make"]

DATA = Path(__file__).parents[1] / "data"
LARGEST = 100 << 10


@dataclass(frozen=True)
class Seed:
    """A model of one file or two, which of them is damaged, and what it must be loaded with."""

    files: tuple[Path, ...]
    damaged: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reader:
    """A format: the package that reads it, where its seeds come from, what a folder gets of more seeds for long runs."""

    package: str
    seeds: Callable[[Path], list[Seed]]
    more: Callable[[Path], list[Seed]] | None = None


def make(seeds: list[Seed], name: str, folder: Path) -> tuple[Seed, list[Path]]:
    """The mutant of a name (reader, seed of the run, number) in a folder: what it was, its files."""
    rng = random.Random(name)
    seed = rng.choice(seeds)
    files = [folder / f"m{'.weights' if i and p.suffix == '.h5' else ''}{p.suffix}" for i, p in enumerate(seed.files)]
    for i, (source, target) in enumerate(zip(seed.files, files)):
        data = source.read_bytes()
        target.write_bytes(mutant(rng, data, source.suffix) if i == seed.damaged else data)
    return seed, files


# ---------------------------------------------------------------- stored
def _stored(suffix: str, holding: bytes = b"") -> list[Path]:
    """Files of the tests that hold a model, as far as a look tells."""
    found = [p for p in sorted(DATA.rglob(f"*{suffix}")) if p.stat().st_size < LARGEST and p.parent.name != "hostile"]
    return [p for p in found if not holding or holding in p.read_bytes()]


def _files(suffix: str, holding: bytes = b"") -> Callable[[Path], list[Seed]]:
    return lambda _: [Seed((p,)) for p in _stored(suffix, holding)]


def _pairs(_: Path) -> list[Seed]:
    """Architectures in JSON with the weights beside them, either damaged."""
    found = [(p, p.with_suffix(".weights.h5")) for p in _stored(".json", b"class_name")]
    return [Seed(f, i) for f in found if f[1].exists() and f[1].stat().st_size < LARGEST for i in (0, 1)]


def _prototxt(_: Path) -> list[Seed]:
    """Nets, with their weights where they have any."""
    found = [(p, p.with_name("weights.caffemodel")) for p in _stored(".prototxt", b"layer")]
    return [Seed(f) if f[1].exists() else Seed(f[:1], options={"init_weights": True}) for f in found]


def _caffemodel(_: Path) -> list[Seed]:
    """Weights that are a net by themselves, and weights of a net that is whole."""
    alone = [Seed((p,)) for p in _stored(".caffemodel")]
    nets = [(p, p.with_name("weights.caffemodel")) for p in _stored(".prototxt", b"layer")]
    return [*alone, *(Seed(f, 1) for f in nets if f[1].exists())]


# ---------------------------------------------------------------- made
def _once(folder: Path, suffix: str, make: Callable[[Path], None]) -> list[Path]:
    """The files of a folder, made the first time."""
    done = folder / "made"
    if not done.exists():
        make(folder)
        done.touch()
    return [p for p in sorted(folder.glob(f"*{suffix}")) if p.stat().st_size < LARGEST]


def _node_cases(folder: Path) -> list[Seed]:
    """The standard's node cases."""

    def write(folder: Path) -> None:
        from onnx.backend.test.case.node import collect_testcases

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for case in collect_testcases(None):
                (folder / f"{case.name}.onnx").write_bytes(case.model.SerializeToString())

    return [Seed((p,)) for p in _once(folder, ".onnx", write)]


def _ccir(folder: Path) -> list[Seed]:
    """Graphs of stored ONNX, Keras and Caffe models."""

    def write(folder: Path) -> None:
        sources = [*_stored(".onnx")[::2], *_stored(".caffemodel")[::8], *_stored(".h5", b"model_config")[::6]]
        for i, p in enumerate(sources):
            try:
                convcore.load(p).save(folder / f"{i}.ccir")
            except ConvcoreError:
                continue

    return [Seed((p,)) for p in _once(folder, ".ccir", write)]


def _nets() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Small modules of torch with what they are called with."""
    import torch
    from torch import nn

    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.norm = nn.Embedding(11, 8), nn.LayerNorm(8)
            self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.norm(self.table(ids))
            q, k, v = self.q(x).view(-1, 5, 2, 4), self.k(x).view(-1, 5, 2, 4), self.v(x).view(-1, 5, 2, 4)
            y = nn.functional.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
            return torch.cat([y.transpose(1, 2).reshape(-1, 5, 8), x[:, :, 1:3].relu()], 2).mean(1)

    conv = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(8, 5))
    return {
        "conv": (conv.eval(), (torch.zeros(2, 3, 5, 5),)),
        "lstm": (nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True).eval(), (torch.zeros(2, 5, 3),)),
        "attends": (Attends().eval(), (torch.zeros(2, 5, dtype=torch.int64),)),
    }


_TRACED: Mapping[str, Mapping[str, Any]] = {
    "conv": {"input_shapes": {"input": ("batch", 3, 5, 5)}},
    "lstm": {"input_shapes": {"input": ("batch", 5, 3)}},
    "attends": {"input_shapes": {"ids": ("batch", 5)}, "input_dtypes": "ids:int64"},
}
"""What TorchScript does not say of its inputs."""


def _torch(suffix: str) -> Callable[[Path], list[Seed]]:
    """What torch (for safetensors: convcore) writes of the small modules; of checkpoints also with more around the weights."""

    def write(folder: Path) -> None:
        import torch

        torch.manual_seed(0)
        for name, (net, args) in _nets().items():
            path = folder / f"{name}{suffix}"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if suffix == ".pt":
                    torch.jit.save(torch.jit.trace(net, args), path)
                elif suffix == ".pt2":
                    batch = torch.export.Dim("batch", min=2, max=64)
                    exported = torch.export.export(net, args, dynamic_shapes=tuple({0: batch} for _ in args), strict=False)
                    torch.export.save(exported, path)
                elif suffix == ".safetensors":
                    convcore.convert(net, "pytorch", path, example_inputs=args, check=False)
                else:
                    held = net.state_dict()
                    more = {"model": held, "epoch": 3, "args": {"lr": 0.1, "names": ["a", "b"]}}
                    for i, what in enumerate((held, more)):
                        torch.save(what, folder / f"{name}{i}{suffix}", _use_new_zipfile_serialization=suffix == ".pth")

    def seeds(folder: Path) -> list[Seed]:
        made = _once(folder, suffix, write)
        return [Seed((p,), options=_TRACED[p.stem] if suffix == ".pt" else {}) for p in made]

    return seeds


READERS: dict[str, Reader] = {
    "keras": Reader("convcore_keras", _files(".keras")),
    "h5": Reader("convcore_keras", _files(".h5", b"model_config")),
    "json": Reader("convcore_keras", _files(".json", b"class_name")),
    "onnx": Reader("convcore_onnx", _files(".onnx"), _node_cases),
    "prototxt": Reader("convcore_caffe", _prototxt),
    "caffemodel": Reader("convcore_caffe", _caffemodel),
    "pt": Reader("convcore_pytorch", _torch(".pt")),
    "pth": Reader("convcore_pytorch", _torch(".pth")),
    "safetensors": Reader("convcore_pytorch", _torch(".safetensors")),
    "ccir": Reader("convcore_onnx", _ccir),
    "pair": Reader("convcore_keras", _pairs),
    "pt2": Reader("convcore_pytorch", _torch(".pt2")),
    "legacy": Reader("convcore_pytorch", _torch(".legacy")),
}

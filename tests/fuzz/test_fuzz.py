"""Damaged files end in a ConvcoreError or a model, in every reader: never in another exception, a bug of ours, or a long time.

``make test`` makes a few mutants a reader, always the same; ``make fuzz`` makes many, of seeds of the moment (CONVCORE_FUZZ=COUNT
for others). A failure names the reader, the seed and the number, of which CONVCORE_FUZZ_SEED makes the same mutants again.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mutate import mutant

import convcore
from convcore.errors import ConvcoreError, PluginBugError

DATA = Path(__file__).parents[1] / "data"
COUNT = int(os.environ.get("CONVCORE_FUZZ", "") or 60)
SEED = os.environ.get("CONVCORE_FUZZ_SEED") or ("7" if COUNT == 60 else str(time.time_ns()))
LARGEST = 100 << 10
TEXT = {".json", ".prototxt"}


def _stored(suffix: str) -> Callable[[], list[Path]]:
    return lambda: [p for p in sorted(DATA.rglob(f"*{suffix}")) if p.stat().st_size < LARGEST]


READERS: dict[str, tuple[str, str, Callable[[], list[Path]]]] = {
    "keras": ("convcore_keras", ".keras", _stored(".keras")),
    "h5": ("convcore_keras", ".h5", _stored(".h5")),
    "json": ("convcore_keras", ".json", _stored(".json")),
    "onnx": ("convcore_onnx", ".onnx", _stored(".onnx")),
    "prototxt": ("convcore_caffe", ".prototxt", _stored(".prototxt")),
    "caffemodel": ("convcore_caffe", ".caffemodel", _stored(".caffemodel")),
    "pt": ("convcore_pytorch", ".pt", lambda: []),
    "pth": ("convcore_pytorch", ".pth", lambda: []),
    "safetensors": ("convcore_pytorch", ".safetensors", lambda: []),
    "ccir": ("convcore_onnx", ".ccir", lambda: []),
}


def _made(reader: str, folder: Path) -> list[Path]:
    """Seeds of the formats of which no files are stored: written by convcore and torch."""
    source = next(p for p in _stored(".onnx")() if p.name == "onnx_terminal_escape.onnx")
    if reader == "ccir":
        convcore.load(source).save(folder / "seed.ccir")
        return [folder / "seed.ccir"]
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(18, 5)).eval()
    if reader == "pt":
        torch.jit.save(torch.jit.trace(net, torch.zeros(1, 3, 5, 5)), folder / "seed.pt")
    elif reader == "pth":
        torch.save(net.state_dict(), folder / "seed.pth")
    else:
        convcore.convert(net, "pytorch", folder / "seed.safetensors", example_inputs=(torch.zeros(1, 3, 5, 5),), check=False)
    return [folder / f"seed.{reader}"]


class _LateError(Exception):
    pass


def _late(*_: object) -> None:
    raise _LateError


@pytest.mark.parametrize("reader", READERS)
def test_damaged_files(reader: str, tmp_path: Path) -> None:
    package, suffix, stored = READERS[reader]
    pytest.importorskip(package)
    seeds = stored() or _made(reader, tmp_path)
    assert seeds
    target, faults = tmp_path / f"m{suffix}", []
    alarm = hasattr(signal, "SIGALRM")
    before = signal.signal(signal.SIGALRM, _late) if alarm else None
    try:
        for i in range(COUNT):
            rng = random.Random(f"{reader}:{SEED}:{i}")
            seed = rng.choice(seeds)
            target.write_bytes(mutant(rng, seed.read_bytes(), suffix in TEXT))
            if alarm:
                signal.alarm(10)
            try:
                convcore.load(target)
            except PluginBugError as e:
                faults.append(f"{reader}, {seed.name}, seed {SEED}, number {i}: {e}")
            except ConvcoreError:
                continue
            except Exception as e:  # noqa: BLE001 - whatever is raised is a fault
                faults.append(f"{reader}, {seed.name}, seed {SEED}, number {i}: {type(e).__name__}: {str(e)[:200]}")
            finally:
                if alarm:
                    signal.alarm(0)
    finally:
        if alarm:
            signal.signal(signal.SIGALRM, before)
    assert not faults, "\n".join(faults[:20])

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

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

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
    "pair": ("convcore_keras", ".json", lambda: [p for p in _stored(".json")() if _weights(p)]),
    "pt2": ("convcore_pytorch", ".pt2", lambda: []),
    "legacy": ("convcore_pytorch", ".pth", lambda: []),
}
GROWTH = 1 << 20
"""What the process may grow by in one load, in KiB."""


def _weights(path: Path) -> Path | None:
    """The weights that lie beside an architecture."""
    beside = path.with_suffix(".weights.h5")
    return beside if beside.exists() and beside.stat().st_size < LARGEST else None


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
    elif reader == "pt2":
        torch.export.save(torch.export.export(net, (torch.zeros(1, 3, 5, 5),)), folder / "seed.pt2")
    elif reader in ("pth", "legacy"):
        torch.save(net.state_dict(), folder / f"seed.{reader}", _use_new_zipfile_serialization=reader == "pth")
    else:
        convcore.convert(net, "pytorch", folder / "seed.safetensors", example_inputs=(torch.zeros(1, 3, 5, 5),), check=False)
    return [folder / f"seed.{reader}"]


def _peak() -> int:
    """The most memory that this process has taken, in KiB; 0 where nobody tells."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if resource is not None else 0


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
            weights, damaged = (_weights(seed), target) if reader == "pair" else (None, target)
            if weights is not None:
                target.write_bytes(seed.read_bytes())
                (tmp_path / "m.weights.h5").write_bytes(weights.read_bytes())
                weights = tmp_path / "m.weights.h5"
                damaged = rng.choice([target, weights])
            damaged.write_bytes(mutant(rng, damaged.read_bytes() if weights else seed.read_bytes(), damaged.suffix in TEXT))
            before_load = _peak()
            if alarm:
                signal.alarm(10)
            try:
                convcore.load(target, weights)
            except PluginBugError as e:
                faults.append(f"{reader}, {seed.name}, seed {SEED}, number {i}: {e}")
            except ConvcoreError:
                continue
            except Exception as e:  # noqa: BLE001 - whatever is raised is a fault
                faults.append(f"{reader}, {seed.name}, seed {SEED}, number {i}: {type(e).__name__}: {str(e)[:200]}")
            finally:
                if alarm:
                    signal.alarm(0)
                if _peak() - before_load > GROWTH:
                    faults.append(f"{reader}, {seed.name}, seed {SEED}, number {i}: {_peak() - before_load} KiB more")
    finally:
        if alarm:
            signal.signal(signal.SIGALRM, before)
    assert not faults, "\n".join(faults[:20])

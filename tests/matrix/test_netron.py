"""Files that are written for Keras, by a reader that is not ours: Netron's, run in node.

pip install netron --target FOLDER
PYTHONPATH=FOLDER pytest -m slow tests/matrix/test_netron.py
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import convcore

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
from torch import nn

FOUND = find_spec("netron")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(FOUND is None or shutil.which("node") is None, reason="needs node and the package netron"),
]


@pytest.fixture(scope="module")
def netron(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Netron's modules, which its package for Python holds without saying to node that they are modules."""
    assert FOUND is not None and FOUND.submodule_search_locations is not None
    folder = tmp_path_factory.mktemp("netron") / "netron"
    shutil.copytree(next(iter(FOUND.submodule_search_locations)), folder)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


def read(netron: Path, *files: Path) -> list[dict[str, Any]]:
    tool = Path(__file__).with_name("netron_open.mjs")
    run = subprocess.run(
        ["node", str(tool), str(netron), *map(str, files)], capture_output=True, text=True, timeout=120, check=False
    )
    assert not run.returncode, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


class Words(nn.Module):
    """An embedding, recurrent layers both ways, attention, a parameter of its own, operations between."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.lstm = nn.LSTM(8, 6, batch_first=True, bidirectional=True)
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)
        self.norm, self.scale = nn.LayerNorm(12), nn.Parameter(torch.rand(12))

    def forward(self, ids: Any) -> Any:
        x, _ = self.lstm(self.table(ids))
        y, _ = self.attention(x, x, x, need_weights=False)
        return (self.norm(x + y) * self.scale)[:, 1:].roll(2, 1).clamp(-0.5, 0.5)


class Block(nn.Module):
    """A model nested in a model, twice."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c)

    def forward(self, x: Any) -> Any:
        return torch.relu(self.norm(self.conv(x)) + x)


def models() -> dict[str, tuple[Any, Any]]:
    image = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1), Block(5), Block(5), nn.ConvTranspose2d(5, 7, 2, 2),
                          nn.PixelShuffle(1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 2), nn.Softmax(1))  # fmt: skip
    return {"image": (image, torch.randn(1, 3, 9, 11)), "words": (Words(), torch.randint(0, 11, (2, 7)))}


def saved(model: Any, kind: str, folder: Path) -> list[Path]:
    """The files that Keras itself saves of a model."""
    folder.mkdir()
    if kind != "json":
        model.save(folder / f"m.{kind}")
        return [folder / f"m.{kind}"]
    (folder / "m.json").write_text(model.to_json())
    model.save_weights(folder / "m.weights.h5")
    return [folder / "m.json", folder / "m.weights.h5"]


def told(found: dict[str, Any]) -> tuple[Any, ...]:
    """What Netron tells, in no order."""
    weights = Counter((w["type"], tuple(w["shape"])) for w in found["weights"])
    return found["inputs"], found["outputs"], Counter(found["types"]), weights


@pytest.mark.parametrize("name", ["image", "words"])
@pytest.mark.parametrize("kind", ["keras", "h5", "json"])
@pytest.mark.parametrize("flat", [False, True])
def test_netron_reads_what_is_written(name: str, kind: str, flat: bool, netron: Path, tmp_path: Path) -> None:
    """The same inputs, outputs, layers and weights as in the file that Keras saves of the same model."""
    module, x = models()[name]
    made = convcore.convert(module.eval(), "keras", tmp_path / f"m.{kind}", example_inputs=(x,), flat=flat)
    ours, theirs = (read(netron, *files) for files in (made.paths, saved(made.model, kind, tmp_path / "saved")))
    for mine, wanted in zip(ours, theirs, strict=True):
        assert "error" not in mine and mine["format"].startswith("Keras"), mine
        assert told(mine) == told(wanted)
    assert len(ours[0]["types"]) > 8 and ours[-1]["weights"]

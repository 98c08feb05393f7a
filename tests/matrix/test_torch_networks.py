"""25 of the networks of ``sweep_torch.py``, that its processes end, and the page that its record makes."""

from __future__ import annotations

import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("convcore_pytorch")

import sweep_torch as sweep
import torch_judge as judge
from torch_networks import Network, modules, noise

NETWORKS = {n.name: n for n in modules()}
STEPS = ("ir", "onnx", "torch", "script17")
NAMES = [
    "LSTM",
    "LSTM, bidirectional, states given",
    "LSTM, 2 layers, time first, no bias",
    "LSTM, time first, no bias, states given",
    "GRU, bidirectional",
    "GRU, 2 layers, states given",
    "GRU, time first, no bias",
    "RNN, bidirectional, time first",
    "RNN, nonlinearity=relu, states given",
    "LSTMCell",
    "GRUCell",
    "RNNCell, no bias",
    "MultiheadAttention",
    "MultiheadAttention, weights: each, kdim, vdim",
    "MultiheadAttention, time first, weights: mean",
    "MultiheadAttention, add_bias_kv",
    "MultiheadAttention, no bias, weights: mean, add_zero_attn",
    "MultiheadAttention, mask: bool and padding",
    "MultiheadAttention, mask: float, weights",
    "TransformerEncoderLayer, gelu",
    "TransformerEncoderLayer, time first, norm first",
    "TransformerEncoder, norm first",
    "TransformerDecoderLayer, no bias",
    "TransformerDecoder, gelu",
    "Transformer",
]


@pytest.mark.parametrize("name", NAMES)
def test_agrees(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporters have many
        rows = dict(judge.judged(NETWORKS[name], STEPS, tmp_path))
    assert ("not exported" in rows["script17"]) == name.startswith(
        "Transformer"
    )  # torch's own exporter cannot, or not with free axes
    assert not {s: r for s, r in rows.items() if not sweep.good(r) and "not exported" not in r}
    assert rows["torch"]["gradients"] == "same" or "2 layers" in name
    assert rows["torch"]["keys"] == "same" or "2 layers" in name  # one module for each
    assert rows["torch"]["weights"] == "same" or rows["torch"]["keys"] != "same"


def test_what_is_wrong_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that computes something else after the judge has seen it."""

    class Turned(judge.Judge):
        def computed(self, sizes: Any) -> Any:
            return [(fed, [want * 1.001 for want in made]) for fed, made in super().computed(sizes)]

    monkeypatch.setattr(judge, "Judge", Turned)
    rows = dict(judge.judged(NETWORKS["LSTMCell"], ("ir", "onnx", "torch"), tmp_path))
    assert all("wrong" in r and not sweep.good(r) for r in rows.values())
    assert "**WRONG**" in sweep.page({"modules": {"LSTMCell": rows}})


def made(make: Any) -> Network:
    return Network("made", make, lambda n, _: (noise(n, 3),), ({0: "batch"},))


class Singular(torch.nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.linalg.svdvals(x)


def test_refusals_have_names(tmp_path: Path) -> None:
    rows = dict(judge.judged(made(lambda: Singular().eval()), ("ir", "onnx", "torch"), tmp_path))
    assert all("linalg_svd" in r["refused"] for r in rows.values())


@pytest.mark.parametrize(
    "make, why",
    [
        (lambda: time.sleep(60), "no result after 1 s"),
        (lambda: os._exit(3), "the process ended"),
        (lambda: torch.nn.Linear(2, "x"), "TypeError"),
    ],
)
def test_a_process_that_does_not_end_well(make: Any, why: str) -> None:
    rows = sweep.run(made(make), ("ir", "onnx"), limit=1, memory=64)
    assert why in rows["ir"]["failed"] and "onnx" not in rows


def test_a_process_that_is_killed_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent holds the folder: a child cannot clean up when it is killed."""
    monkeypatch.setattr(sweep.tempfile, "tempdir", str(tmp_path))
    seen = tmp_path / "seen"

    def child(*given: Any) -> None:
        folder = given[3]
        (folder / "large.bin").write_bytes(b"x" * 10)
        seen.write_text(str(folder))
        time.sleep(60)

    monkeypatch.setattr(sweep, "child", child)
    assert sweep.run(made(lambda: None), ("ir",), limit=1, memory=64)["ir"]["failed"] == "no result after 1 s"
    assert seen.read_text().startswith(str(tmp_path)) and [p.name for p in tmp_path.iterdir()] == ["seen"]


def test_a_process_gives_its_rows() -> None:
    rows = sweep.run(made(lambda: torch.nn.Linear(3, 5)), ("ir", "onnx"), limit=60, memory=64)
    assert all(map(sweep.good, rows.values())) and list(rows) == ["ir", "onnx"]


def test_the_page_is_the_record() -> None:
    record = json.loads(sweep.RECORD.read_text(encoding="utf-8"))
    assert sweep.PAGE.read_text(encoding="utf-8") == sweep.page(record)
    wrong = [(n, s) for rows in record.values() for n, row in rows.items() for s, r in row.items() if "wrong" in r]
    assert not wrong

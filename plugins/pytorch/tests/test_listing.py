"""Files of weights alone on the command line: what is in them, and how two differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from convcore.cli import main
from convcore.errors import UsageError
from convcore_pytorch.listing import weights_alone

WEIGHTS = {"fc.weight": torch.arange(15.0).reshape(3, 5), "fc.bias": torch.ones(3, dtype=torch.float16), "n": torch.tensor(7)}


def sharded(folder: Path, suffix: str) -> Path:
    names = [f"model-0000{i}-of-00002.{suffix}" for i in (1, 2)]
    for name, part in zip(names, (list(WEIGHTS)[:1], list(WEIGHTS)[1:])):
        tensors = {k: WEIGHTS[k] for k in part}
        save_file(tensors, folder / name) if suffix == "safetensors" else torch.save(tensors, folder / name)
    where = dict(zip(WEIGHTS, (names[0], names[1], names[1])))
    index = folder / f"model.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 70}, "weight_map": where}))
    return index


def written(kind: str, folder: Path) -> Path:
    path = folder / {"bin": "model.bin", "safetensors": "model.safetensors"}.get(kind, "model.pth")
    if kind == "safetensors":
        save_file(WEIGHTS, path)
    elif kind.startswith("shards"):
        return sharded(folder, kind.partition(" ")[2])
    elif kind == "wrapped":
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": t for k, t in WEIGHTS.items()}, "optimizer": {"state": {}}}, path)
    else:
        torch.save(WEIGHTS, path, _use_new_zipfile_serialization=kind != "legacy")
    return path


@pytest.mark.parametrize("kind", ["zip", "bin", "legacy", "wrapped", "safetensors", "shards safetensors", "shards bin"])
def test_weights_are_listed(kind: str, tmp_path: Path, capsys: Any) -> None:
    path = written(kind, tmp_path)
    assert main(["inspect", "--json", str(path)]) == 0
    told = json.loads(capsys.readouterr().out)
    listed = {w["name"]: (w["dtype"], w["shape"]) for w in told["weights"]}
    assert listed == {k: (str(t.dtype).removeprefix("torch."), list(t.shape)) for k, t in WEIGHTS.items()}
    assert told["parameters"] == 19
    assert (told["entry"], told["prefix"]) == (("state_dict", "module.") if kind == "wrapped" else ("", ""))
    assert told["beside"] == ({"epoch": 3} if kind == "wrapped" else {"total_size": 70} if "shards" in kind else {})
    assert main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    assert "3 tensors, 19 elements" in text and "fc.weight  float32[3, 5]" in text
    assert ("taken away from every name: module." in text and "under: state_dict" in text) == (kind == "wrapped")


def test_two_files_are_compared(tmp_path: Path, capsys: Any) -> None:
    torch.save(WEIGHTS, tmp_path / "a.pth")
    changed = {"fc.weight": WEIGHTS["fc.weight"] + 0.5, "n": WEIGHTS["n"].int(), "more": torch.ones(2)}
    save_file(changed, tmp_path / "b.safetensors")
    assert main(["diff", str(tmp_path / "a.pth"), str(tmp_path / "b.safetensors")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "~ fc.weight: differs by up to 0.5", "- fc.bias float16[3]", "~ n: int64[], now int32[]", "+ more float32[2]",
        "4 differences; 3 tensors and 3",
    ]  # fmt: skip
    assert main(["diff", str(tmp_path / "a.pth"), str(tmp_path / "a.pth")]) == 0
    assert capsys.readouterr().out == "0 differences; 3 tensors and 3\n"


def test_one_of_several_is_chosen(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "c.pth"
    torch.save({"model": WEIGHTS, "ema": {k: t + 1 for k, t in WEIGHTS.items()}}, path)
    assert main(["inspect", str(path)]) == UsageError.exit_code
    assert "holds 2 state dicts: model, ema; name the entry, or save it alone" in capsys.readouterr().err
    assert main(["inspect", str(path), "--entry", "ema"]) == 0
    assert "under: ema" in capsys.readouterr().out
    assert main(["inspect", str(path), "--entry", "other"]) == UsageError.exit_code
    assert "no entry 'other'; there are: model, ema" in capsys.readouterr().err


def test_what_is_no_file_of_weights(tmp_path: Path, capsys: Any) -> None:
    program = torch.export.export(torch.nn.Linear(5, 3), (torch.ones(2, 5),), strict=False)
    torch.export.save(program, tmp_path / "net.pt2")
    torch.save(WEIGHTS, tmp_path / "a.pth")
    (tmp_path / "damaged.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:-40])
    assert weights_alone(tmp_path / "net.pt2", None) is None
    assert weights_alone(tmp_path / "damaged.pth", None) is None
    assert main(["inspect", str(tmp_path / "damaged.pth")]) == 3
    assert main(["inspect", str(tmp_path / "net.pt2"), "--entry", "x"]) == UsageError.exit_code
    assert "--entry is for files that hold weights alone" in capsys.readouterr().err
    assert main(["diff", str(tmp_path / "net.pt2"), str(tmp_path / "a.pth")]) == UsageError.exit_code
    assert "a.pth holds weights alone" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "a.pth"), "-o", str(tmp_path / "a.onnx")]) == UsageError.exit_code
    assert "no architecture" in capsys.readouterr().err

"""What the process of one model of a batch makes of its job, called in this process."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from convcore.fleet.child import _reports, _row

ERA = Path(__file__).parents[1] / "data/keras_eras/tf213"


def job(folder: Path, source: Path, weights: str = "", **options: Any) -> dict[str, Any]:
    return {
        "source": str(source), "to": "onnx", "out": str(folder / "out.onnx"), "weights": weights, "each": [], "overwrite": None,
        "options": options, "fetched": False,
    }  # fmt: skip


def test_weights_that_do_not_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    source = Path(shutil.copy(ERA / "convs.json", tmp_path / "convs.json"))
    weights = shutil.copy(ERA / "convs.weights.h5", tmp_path / "far" / "w.weights.h5")
    told: dict[str, Any] = {}
    assert _row(job(tmp_path, source, str(weights)), told)["status"] == "ok" and (tmp_path / "out.onnx").is_file()
    assert told["ok"]
    (tmp_path / "out.onnx").unlink()
    assert _row(job(tmp_path, source), {})["status"] != "ok"


@pytest.mark.parametrize(
    ("name", "text", "options", "status", "why"),
    [
        ("a.txt", b"no model", {}, "bad file", "cannot tell what"),
        ("a.keras", b"PK\x03\x04", {}, "bad file", ""),
        ("a.onnx", b"\x08", {}, "bad file", ""),
        ("convs.json", None, {"rtol": -1.0}, "usage", "is no tolerance"),
        ("a.txt", b"no model", {"format": "keras"}, "bad file", ""),
    ],
)
def test_what_is_no_result(name: str, text: bytes | None, options: dict[str, Any], status: str, why: str, tmp_path: Path) -> None:
    source = tmp_path / name
    source.write_bytes((ERA / name).read_bytes() if text is None else text)
    told: dict[str, Any] = {}
    row = _row(job(tmp_path, source, **options), told)
    assert row["status"] == status and why in row["message"], row
    assert not (tmp_path / "out.onnx").exists()
    assert _reports(job(tmp_path, source), told) == []


def test_reports_that_are_asked_for(tmp_path: Path) -> None:
    given = {**job(tmp_path, ERA / "convs.keras"), "each": ["json"]}
    told: dict[str, Any] = {}
    assert _row(given, told)["status"] == "ok"
    assert _reports(given, told) == [str(tmp_path / "out.onnx.report.json")]

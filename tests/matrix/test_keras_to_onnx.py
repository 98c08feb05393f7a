"""Every Keras layer over its arguments, as ONNX in both orders of axes, by onnxruntime and the interpreter, against Keras itself.

The table of layers is the one that the Keras plugin is tested with. Every layer runs at two batch sizes, where a size is unknown
also at two of those; the file forms take turns.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore

keras = pytest.importorskip("keras")
pytest.importorskip("onnxruntime")
pytest.importorskip("convcore_onnx")

from keras_helpers import randomise, saved_forms
from matrix_kit import LIMIT, as_list, convert, error_of_range, orders, ort_session, permuted, run_ort
from test_load_layers import CASES
from test_rnn_onnx import MODELS as RECURRENT

L = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore:The structure of:UserWarning")

Arrays = list[np.ndarray]


def run_keras(model: Any, arrays: Arrays) -> Arrays:
    out = model(arrays if len(model.inputs) > 1 else arrays[0], training=False)
    return [np.asarray(y.detach().cpu().numpy()) for y in as_list(out)]


def check(model: Any, batches: list[Arrays], folder: Path, form: str = "keras", opset: int | None = None) -> dict[str, Any]:
    """Interpreter and onnxruntime, both orders of axes, against Keras; returns the ONNX models by order."""
    source = saved_forms(model, folder)[form]
    loaded = convcore.load(*source)
    assert not loaded.problems, loaded.problems
    want = [run_keras(model, xs) for xs in batches]
    for xs, ys in zip(batches, want):
        assert error_of_range(as_list(loaded(*xs)), ys) < LIMIT, "interpreter"
    made = {}
    for layout in ("source", "target"):
        out = folder / f"{layout}.onnx"
        options = {} if opset is None else {"opset": opset}
        made[layout], report = convert(source if source[1] else source[0], out, io_layout=layout, **options)
        back = convcore.load(out)
        assert [v.name for v in back.inputs] == [v.name for v in loaded.inputs]
        assert [v.name for v in back.outputs] == [v.name for v in loaded.outputs]
        ins, outs = orders(report)
        if layout == "source":
            assert not any(ins) and not any(outs)
        session = ort_session(out)
        for xs, ys in zip(batches, want):
            given, expected = permuted(xs, ins), permuted(ys, outs)
            assert error_of_range(run_ort(session, given), expected) < LIMIT, f"onnxruntime, {layout} order"
            assert error_of_range(as_list(back(*given)), expected) < LIMIT, f"read back, {layout} order"
    return made


def layer_model(make: Callable[[], Any], shapes: list[Any]) -> Any:
    inputs = [keras.Input(s, name=f"in{i}") for i, s in enumerate(shapes)]
    layer = make()
    if isinstance(layer, L.Normalization) and layer.input_mean is None:
        layer.build((None, *shapes[0]))
    model = keras.Model(inputs, layer(inputs if len(inputs) > 1 else inputs[0]), name="m")
    randomise(model)
    return model


def batches_of(name: str, shapes: list[Any]) -> list[Arrays]:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return [
        [rng.normal(0, 2, (n, *(free if s is None else s for s in shape))).astype(np.float32) for shape in shapes]
        for n, free in ((2, 9), (17, 12))
    ]


def turn(name: str) -> str:
    return ("keras", "keras", "keras", "h5", "json")[zlib.crc32(name.encode()) % 5]


@pytest.mark.parametrize(("name", "make", "shapes"), CASES, ids=[c[0] for c in CASES])
def test_layer(name: str, make: Callable[[], Any], shapes: list[Any], tmp_path: Path) -> None:
    model = layer_model(make, shapes)
    check(model, batches_of(name, shapes), tmp_path, turn(name))


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("opset", [None, pytest.param(13, marks=pytest.mark.slow), pytest.param(22, marks=pytest.mark.slow)])
def test_recurrent(name: str, opset: int | None, tmp_path: Path) -> None:
    model, given = RECURRENT[name][0]()
    randomise(model)
    check(model, [list(given), [a[1:3] for a in given]], tmp_path, turn(name), opset)

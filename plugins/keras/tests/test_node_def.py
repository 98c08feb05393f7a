"""``TensorFlowOpLayer``: raw operations of TensorFlow in files of tf.keras 2.0 to 2.3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras_helpers import load_graph, problems

import convcore
from convcore.interpreter.execute import Interpreter

FILE = Path(__file__).parents[3] / "tests" / "data" / "keras_eras" / "tf23" / "tfops.h5"


def test_as_tensorflow_computed_it(tmp_path: Path) -> None:
    io = np.load(FILE.with_name("tfops.io.npz"))
    graph = load_graph(FILE)
    assert not problems(graph)
    for i, y in enumerate(Interpreter(graph).run([io["in0"]])):
        np.testing.assert_allclose(y, io[f"out{i}"], rtol=1e-5, atol=1e-6)
    assert convcore.convert(FILE, "onnx", tmp_path / "o.onnx").report.ok


def _changed(tmp_path: Path, layer: str, change: Any) -> str:
    """What is refused of the file with one layer changed."""
    path = tmp_path / "m.h5"
    path.write_bytes(FILE.read_bytes())
    with h5py.File(path, "a") as f:
        config = json.loads(f.attrs["model_config"])
        (entry,) = [x for x in config["config"]["layers"] if x["name"] == layer]
        change(entry["config"])
        f.attrs["model_config"] = json.dumps(config)
    return "; ".join(p.why for p in problems(load_graph(path)))


def _op(name: str, **attr: Any) -> Any:
    return lambda c: c["node_def"].update(op=name, attr=attr)


A_NUMBER = {"i": "1"}
CHANGES: dict[str, tuple[str, Any]] = {
    "which convcore does not map": ("tf_op_layer_Neg", _op("Betainc")),
    "without a definition": ("tf_op_layer_Neg", lambda c: c.update(node_def={"attr": {}})),
    "definition is no JSON": ("tf_op_layer_Neg", lambda c: c.update(node_def="{")),
    "of which the layer has 1": ("tf_op_layer_RealDiv", lambda c: c.update(constants={})),
    "takes fewer tensors": ("tf_op_layer_Neg", lambda c: c["node_def"].update(input=[])),
    "elements of the type DT_STRING": ("tf_op_layer_Neg", _op("Cast", DstT={"type": "DT_STRING"})),
    "bounds are computed": ("tf_op_layer_AddV2", lambda c: (_op("StridedSlice")(c), c["node_def"].update(input=["a"] * 4),
                                                             c.update(constants={"1": 0.5, "2": [1], "3": [1]}))),
}  # fmt: skip


@pytest.mark.parametrize("wanted", CHANGES)
def test_what_is_refused(tmp_path: Path, wanted: str) -> None:
    assert wanted in _changed(tmp_path, *CHANGES[wanted])


def test_a_definition_as_text_is_read_too(tmp_path: Path) -> None:
    assert not _changed(tmp_path, "tf_op_layer_Neg", lambda c: c.update(node_def=json.dumps(c["node_def"])))

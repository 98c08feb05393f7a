"""From Caffe to ONNX: every conformance case and trained model runs in onnxruntime with Caffe's values, or is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import convcore
from convcore.errors import UnsupportedError

from .support import CASES, DATA, ZOO, arrays, load_case, name_of, worst

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("convcore_onnx")

TOLERANCE = 1e-5
REFUSED_BY_ONNX = {
    "Pooling/empty_window_ave": "may lie outside the input",
    "Python/user": "user's Python code",
}


def run_onnx(path: Path, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options)
    return session.run(None, {i.name: inputs[i.name] for i in session.get_inputs()})


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_case_in_onnxruntime(case: Path, tmp_path: Path) -> None:
    model, inputs, blobs, outputs = load_case(case)
    out, fed = tmp_path / "net.onnx", [inputs[v.name] for v in model.graph.inputs]
    reason = REFUSED_BY_ONNX.get(name_of(case))
    if reason:
        with pytest.raises(UnsupportedError) as caught:
            convcore.convert(model, "onnx", out, example_inputs=fed)
        assert reason in str(caught.value)
        assert {p.layer for p in caught.value.problems} <= {"out", "py"}
        assert not list(tmp_path.iterdir())
        return
    convcore.convert(model, "onnx", out, example_inputs=fed)
    got = run_onnx(out, inputs)
    assert len(got) == len(outputs)
    for name, y in zip(sorted(outputs), got, strict=True):
        want = blobs[name].reshape(y.shape) if name == "label" else blobs[name]
        assert worst(y, want) <= TOLERANCE, name


@pytest.mark.parametrize("folder", ZOO, ids=lambda p: p.name)
def test_trained_model_in_onnxruntime(folder: Path, tmp_path: Path) -> None:
    prototxt, weights = next(folder.glob("*.prototxt")), next(folder.glob("*.caffemodel"))
    done = convcore.convert(prototxt, "onnx", tmp_path / "net.onnx", weights=weights)
    assert done.report.ok
    model = convcore.load(prototxt, weights)
    names = [v.name for v in model.graph.inputs]
    recorded = 0
    for ours, theirs in (("inputs_caffe.npz", "ref_caffe.npz"), ("inputs.npz", "ref.npz")):
        if not (folder / ours).exists():
            continue
        inputs, want = arrays(folder / ours), arrays(folder / theirs)
        fed = dict(zip(names, inputs.values(), strict=True))
        got = dict(zip((v.name for v in model.graph.outputs), run_onnx(done.paths[0], fed), strict=True))
        assert len(got) == len(want)
        if theirs == "ref_caffe.npz":
            assert set(got) == set(want)
            pairs = [(got[k], v) for k, v in want.items()]
        else:
            pairs = list(zip(got.values(), want.values(), strict=True))
        assert max(worst(a, b) for a, b in pairs) <= 1e-5
        recorded += 1
    assert recorded


def test_ultraface_in_caffe_and_in_onnx_are_one_model() -> None:
    """The same weights, published in both formats; the ONNX file goes on to decode its tensor 460, which is Caffe's boxes."""
    prototxt = next((DATA / "zoo" / "caffe-ultraface-rfb-320").glob("*.prototxt"))
    onnx = DATA / "zoo" / "onnx-ultraface-rfb-320" / "version-RFB-320.onnx"
    ours, theirs = convcore.load(prototxt, prototxt.with_suffix(".caffemodel")), convcore.load(onnx)
    for mine, its in (("boxes", "460"), ("scores", "scores")):
        report = convcore.verify(ours[mine], theirs[its])
        assert report.ok, str(report)
    whole = convcore.verify((prototxt, prototxt.with_suffix(".caffemodel")), onnx)
    assert {d.name.split()[0]: d.ok for d in whole.differences} == {"boxes": False, "scores": True}


def test_outputs_whose_order_is_not_that_of_their_names_are_noted(tmp_path: Path) -> None:
    """Caffe's net.cpp collects what no layer reads in a set of names: the source's order is said to be lost."""
    from onnx import TensorProto, helper, save

    def convert(*outs: str) -> str:
        info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in ("x", *outs)]
        nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Sigmoid", ["x"], ["b"])]
        model = helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:]), opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        save(model, tmp_path / "m.onnx")
        return str(convcore.convert(tmp_path / "m.onnx", "caffe", tmp_path / "m.prototxt", overwrite=True).report)

    assert "in the order of their names (a, b)" in convert("b", "a")
    assert "in the order of their names" not in convert("a", "b")

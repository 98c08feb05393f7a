"""Detection ops against onnxruntime."""

from pathlib import Path

import numpy as np
import pytest

from convcore.testing import run_op

onnx = pytest.importorskip("onnx")
rt = pytest.importorskip("onnxruntime")
RNG = np.random.default_rng(17)


def ort(op, inputs, outputs=1, **attrs):
    h = onnx.helper
    names = [f"x{i}" for i in range(len(inputs))]
    types = {"float32": onnx.TensorProto.FLOAT, "int64": onnx.TensorProto.INT64}
    graph = h.make_graph(
        [h.make_node(op, names, ["y"], **attrs)],
        "g",
        [h.make_tensor_value_info(n, types[str(a.dtype)], a.shape) for n, a in zip(names, inputs)],
        [h.make_tensor_value_info("y", onnx.TensorProto.INT64 if op == "NonMaxSuppression" else onnx.TensorProto.FLOAT, None)],
    )
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    return rt.InferenceSession(model.SerializeToString()).run(None, dict(zip(names, inputs)))[0]


@pytest.mark.parametrize("centre_form", [False, True])
@pytest.mark.parametrize(("count", "iou", "score"), [(11, 0.5, None), (3, 0.3, 0.4), (11, 0.0, 0.0), (11, 0.7, 2.0)])
def test_nms(count, iou, score, centre_form):
    low = RNG.uniform(0, 6, (3, 23, 2))
    boxes = np.concatenate([low, low + RNG.uniform(0.5, 5, (3, 23, 2))], 2).astype(np.float32)
    if not centre_form:
        boxes[:, ::3] = boxes[:, ::3][..., [2, 1, 0, 3]]  # corners in any order
    scores = np.round(RNG.uniform(0, 1, (3, 2, 23)), 1).astype(np.float32)
    (got,) = run_op("nms", boxes, scores, max_per_class=count, iou_threshold=iou, score_threshold=score, centre_form=centre_form)
    extra = [np.array([count]), np.array([iou], np.float32)] + ([] if score is None else [np.array([score], np.float32)])
    want = ort("NonMaxSuppression", [boxes, scores, *extra], center_point_box=int(centre_form))
    assert np.array_equal(got, want.reshape(-1, 3))


def test_roi_pool():
    x = RNG.standard_normal((3, 5, 13, 11)).astype(np.float32)
    corner = RNG.uniform(0, 20, (17, 2))
    rois = np.concatenate([RNG.integers(0, 3, (17, 1)), corner, corner + RNG.uniform(-3, 15, (17, 2))], 1).astype(np.float32)
    (got,) = run_op("roi_pool", x, rois, output_size=(3, 2), spatial_scale=0.6)
    assert np.array_equal(got, ort("MaxRoiPool", [x, rois], pooled_shape=[3, 2], spatial_scale=0.6))


@pytest.mark.parametrize("threshold", [0.05, 0.3, 2.0])
@pytest.mark.parametrize(("share", "code"), [(True, "center_size"), (False, "corner"), (True, "corner_size")])
def test_detections_by_suppression_in_onnxruntime(share, code, threshold, tmp_path: Path):
    """The body, in a runtime of its own, against the layer written out (which agrees with the real Caffe)."""
    pytest.importorskip("convcore_onnx")
    import convcore
    from convcore.build.builder import Builder
    from convcore.ir.graph import Graph

    n, classes, batch = 19, 3, 2
    low = RNG.uniform(0, 0.6, (n, 2))
    boxes = np.concatenate([low, low + RNG.uniform(0.1, 0.4, (n, 2))], 1).reshape(-1)
    priors = np.stack([boxes, np.tile([0.1, 0.1, 0.2, 0.2], n)])[None].astype(np.float32)
    loc = RNG.normal(0, 0.5, (batch, n * 4 * (1 if share else classes))).astype(np.float32)
    conf = RNG.dirichlet(np.ones(classes), (batch, n)).reshape(batch, -1).astype(np.float32)
    attrs = {
        "num_classes": classes, "share_location": share, "code_type": code, "confidence_threshold": threshold,
        "nms_threshold": 0.4, "nms_top_k": 11, "keep_top_k": 7,
    }  # fmt: skip
    g = Graph("ssd")
    b = Builder(g)
    ins = [b.input(name, "float32", a.shape) for name, a in (("loc", loc), ("conf", conf), ("priors", priors))]
    g.outputs = [b.detection_output(*ins, **attrs)]
    done = convcore.convert(convcore.Model(g), "onnx", tmp_path / "ssd.onnx", example_inputs=[loc, conf, priors])
    (want,) = run_op("detection_output", loc, conf, priors, **attrs)
    got = rt.InferenceSession(str(done.paths[0])).run(None, {"loc": loc, "conf": conf, "priors": priors})[0]
    assert got.shape == want.shape
    assert np.array_equal(got[..., :2], want[..., :2]) and np.allclose(got, want, atol=1e-6)
    assert (want[..., 1] >= 0).all() == (threshold < 1)

"""Truths nobody here wrote: single-node ONNX models run by onnxruntime or by onnx's own reference."""

from __future__ import annotations

import numpy as np
import pytest


def _run(op, inputs, *, outputs=1, opset=21, runtime="ort", **attrs):
    """The outputs of one ONNX node on arrays (None: omitted input)."""
    import onnx
    from onnx import helper

    names = ["" if a is None else f"x{i}" for i, a in enumerate(inputs)]
    outs = [f"y{i}" for i in range(outputs)]
    given = [(n, np.asarray(a)) for n, a in zip(names, inputs) if n]
    graph = helper.make_graph(
        [helper.make_node(op, names, outs, **attrs)],
        "g",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in given],
        [onnx.ValueInfoProto(name=o) for o in outs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    if runtime == "reference":
        from onnx.reference import ReferenceEvaluator

        return [np.asarray(y) for y in ReferenceEvaluator(model).run(None, dict(given))]
    import onnxruntime as rt

    model = onnx.shape_inference.infer_shapes(model)
    options = rt.SessionOptions()
    options.graph_optimization_level = rt.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = rt.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(given))


@pytest.fixture(scope="session")
def onnx_run():
    """``onnx_run(op, inputs, outputs=1, opset=21, runtime="ort" | "reference", **attrs)``, a list of arrays."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    return _run

"""A second opinion: cv2.dnn on the nets that ops' samples become, its known errors excluded by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.build.builder import Builder
from convcore.errors import UnsupportedError
from convcore.ir.graph import Graph
from convcore.opset import all_ops

cv2: Any = pytest.importorskip("cv2")

#: (op, sample) on which cv2 4.14 is wrong, by its comparison with the real Caffe (facts/caffe_cv2.md).
WRONG = {
    ("log10", 0): "Log with a base", ("log2", 0): "Log with a base", ("lrn", 0): "LRN's k is ignored",
    ("max_pool", 5): "a window without elements", ("mean_variance_norm", 0): "MVN's eps is added inside the root",
    ("prior_box", 1): "PriorBox with img_h and img_w",
}  # fmt: skip


def _samples() -> list[tuple[str, int]]:
    found = []
    for name, decl in sorted(all_ops().items()):
        for i, sample in enumerate(decl.samples):
            arrays = sample.arrays()
            if arrays and arrays[0] is not None and arrays[0].dtype == np.float32 and arrays[0].ndim > 1:
                found.append((name, i))
    return found


def test_opencv_agrees_or_cannot(tmp_path: Path) -> None:
    agreed, wrong = 0, []
    for name, i in _samples():
        sample = all_ops()[name].samples[i]
        graph = Graph("sample")
        b = Builder(graph)
        arrays = sample.arrays()
        values = [b.input("data", "float32", arrays[0].shape)]  # type: ignore[union-attr]
        values += [None if a is None else b.const(a, a.dtype.name) for a in arrays[1:]]  # type: ignore[misc]
        graph.outputs = [b.node(name, values, dict(sample.attrs)).outputs[0]]
        graph.outputs[0].name = "out"
        model = convcore.Model(graph, "test")
        try:
            result = convcore.convert(model, "caffe", tmp_path / "net.prototxt", caffe_flavor="ssd", check=False)
        except UnsupportedError:
            continue
        last = [layer for layer in result.model if "out" in layer.tops][-1]
        if last.type in ("Slice", "Split"):
            continue  # cv2 gives the last top of a layer, whichever is asked for
        want = np.asarray(model(arrays[0]))
        try:
            net = cv2.dnn.readNetFromCaffe(*map(str, result.paths))
            net.setInput(arrays[0])
            got = net.forward(last.name)
        except cv2.error:
            continue  # a layer type or an axis it does not know
        same = got.size == want.size and np.allclose(got.reshape(want.shape), want, atol=1e-4 * np.abs(want).max())
        if same:
            agreed += 1
        else:
            wrong.append((name, i))
    assert wrong == sorted(WRONG)
    assert agreed > 100

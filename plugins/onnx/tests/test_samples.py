"""Every op's own samples: laid out, written in several opsets, checked, run by onnxruntime, equal to the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_kit import Summary, emit_model, same

from convcore.errors import BadFileError, InputError, UnsupportedError
from convcore.interpreter import Interpreter
from convcore.layout import assign
from convcore.opset import all_ops
from convcore.testing.samples import sample_graph
from convcore_onnx.layout import CONVENTION

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FAMILIES = sorted({op.family for op in all_ops().values()})


@pytest.mark.parametrize("opset", [13, 18, 23])
@pytest.mark.parametrize("family", FAMILIES)
def test_samples_are_written_right(family: str, opset: int) -> None:
    from convcore_onnx.runtime import open_runtime

    summary = Summary()
    for name, decl in all_ops().items():
        if decl.family != family or decl.regions:
            continue
        for i, sample in enumerate(decl.samples):
            for batch in (False, True):
                key = f"{name}[{i}]{' batch' if batch else ''}"
                g, feeds = sample_graph(decl, sample, batch)
                want = Interpreter(g).run(feeds)
                assign(g, CONVENTION, io="source")
                try:
                    model = emit_model(g, opset)
                except UnsupportedError as e:
                    summary.add("unsupported", key, str(e))
                    continue
                if all(v.shape is not None for v in g.outputs):  # the checker wants a shape of every output
                    onnx.checker.check_model(model, full_check=True)
                try:
                    got = open_runtime(model).run(feeds)
                except (BadFileError, InputError, UnsupportedError) as e:
                    assert isinstance(e, UnsupportedError) or "NOT_IMPLEMENTED" in str(e), (key, str(e))
                    summary.add("runtime lacks it", key, str(e))
                    continue
                why = next((w for w in (same(a, np.asarray(b), 1e-4, 1e-5) for a, b in zip(got, want)) if w), "")
                summary.add("wrong" if why else "right", key, why)
    assert not summary.detail.get("wrong"), summary.detail["wrong"]
    if family in ("special", "fourier"):  # functions that ONNX does not have: each is refused
        assert not summary.counts["right"] and summary.counts["unsupported"] == summary.counts.total()
        return
    assert summary.counts["right"] or not summary.counts, str(summary.detail)

"""Every op's own samples: laid out, written as a module, run by torch: equal to the interpreter, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from convcore.errors import UnsupportedError
from convcore.interpreter import Interpreter
from convcore.layout import assign
from convcore.opset import all_ops
from convcore.testing.samples import Summary, same, sample_graph
from convcore_pytorch.layout import CONVENTION

from .torch_kit import emit_model

torch = pytest.importorskip("torch")

_PADDED = [f"max_pool_with_indices[{i}]" for i in (0, 1, 2, 3, 5, 6)]  # positions in an input that had to be padded in front
REFUSED = {
    *_PADDED, *(f"{k} batch" for k in _PADDED),
    "prior_box[0] batch", "prior_box[1] batch",  # of an image whose size is not known
    "pad[2] batch", "pad[3] batch",  # edges of an axis whose size is not known
    "mel_weight_matrix[0]", "mel_weight_matrix[0] batch",  # of a size that is only known when it runs
}  # fmt: skip
"""Samples that are refused; all others are not, and none of these is written."""
WITHOUT = {"text"}
"""Families none of whose ops is written: strings."""
FAMILIES = sorted({op.family for op in all_ops().values()})


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_are_written_right(family: str) -> None:
    from convcore_pytorch.runtime import open_runtime

    summary = Summary()
    for name, decl in all_ops().items():
        if decl.family != family:
            continue
        for i, sample in enumerate(decl.samples):
            for batch in (False, True):
                key = f"{name}[{i}]{' batch' if batch else ''}"
                g, feeds = sample_graph(decl, sample, batch)
                want = Interpreter(g).run(feeds)
                assign(g, CONVENTION, io="source")
                try:
                    model = emit_model(g).model()
                except UnsupportedError as e:
                    summary.add("unsupported", key, str(e))
                    continue
                got = open_runtime(model).run(feeds)
                why = next((w for w in (same(a, np.asarray(b), 1e-4, 1e-5) for a, b in zip(got, want)) if w), "")
                summary.add("wrong" if why else "right", key, why)
    assert not summary.detail.get("wrong"), summary.detail["wrong"]
    if family in WITHOUT:
        assert set(summary.counts) == {"unsupported"}, str(summary.detail)
        return
    assert summary.counts["right"] or not summary.counts, str(summary.detail)
    refused = {key for key, _ in summary.detail.get("unsupported", [])}
    assert refused == {k for k in REFUSED if all_ops()[k.partition("[")[0]].family == family}, summary.detail["unsupported"]

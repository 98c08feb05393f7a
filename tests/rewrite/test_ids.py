"""Rows by ids that can be below zero count from the end in a gather; an embedding has none of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper, parser

import convcore
from convcore.errors import UnsupportedError
from convcore.rewrite import find_composites

ort = pytest.importorskip("onnxruntime")

TABLE = np.random.default_rng(5).normal(size=(7, 3)).astype(np.float32)
HEAD = '<ir_version: 8, opset_import: ["": 17]> g (int64[n,5] i) => (float[n,5,3] y) '
COMPUTED = {
    "less": ("three = Constant <value = int64 {3}> () k = Sub (i, three)", False),
    "less through others": ("t = Constant <value = int64[1] {3}> () m = Sub (i, t) k = Where (c, m, i)", False),
    "turned": ("k = Neg (i)", False),
    "a negative number": ("t = Constant <value = int64[1] {-3}> () k = Add (i, t)", False),
    "limited": ("t = Constant <value = int64 {3}> () z = Constant <value = int64 {0}> () m = Sub (i, t) k = Clip (m, z)", True),
    "given": ("k = Cast <to = 6> (i)", True),
    "more": ("t = Constant <value = int64[1] {2}> () k = Add (i, t)", True),
    "chosen": ("t = Constant <value = int64[5] {1, 0, 2, 4, 3}> () k = Where (c, t, i)", True),
    "limited twice": (
        "t = Constant <value = int64 {-3}> () z = Constant <value = int64 {0}> () k = Clip (i, z, t)", False  # the upper one wins
    ),
    "as signed bytes": ("u = Cast <to = 2> (i) s = Cast <to = 3> (u) k = Cast <to = 7> (s)", False),
    "as narrow integers": ("s = Cast <to = 5> (i) k = Cast <to = 7> (s)", False),
    "numbers as narrow integers": ("f = Cast <to = 1> (i) s = Cast <to = 3> (f) k = Cast <to = 7> (s)", False),
    "bytes in wider integers": ("u = Cast <to = 2> (i) s = Cast <to = 5> (u) k = Cast <to = 7> (s)", True),
    "without a sign": ("u = Cast <to = 13> (i) k = Cast <to = 7> (u)", False),
    "without a sign in wider integers": ("u = Cast <to = 12> (i) k = Cast <to = 7> (u)", True),
    "truth in small integers": ("s = Cast <to = 3> (c) k = Cast <to = 7> (s)", True),
    "numbers": ("f = Cast <to = 1> (i) k = Cast <to = 7> (f)", True),
    "counted": (
        "z = Constant <value = int64 {0}> () o = Constant <value = int64 {1}> () s = Shape (i) n = Gather (s, o) "
        "k0 = Range (z, n, o) k = Expand (k0, s)", True,
    ),
}  # fmt: skip


def _model(text: str) -> Any:
    model = parser.parse_model(f"{HEAD}{{ z3 = Constant <value = int64 {{3}}> () c = Less (i, z3) {text} y = Gather (w, k) }}")
    model.graph.initializer.append(numpy_helper.from_array(TABLE, "w"))
    return model


@pytest.mark.parametrize("name", COMPUTED)
def test_only_ids_that_are_never_below_zero_make_an_embedding(name: str) -> None:
    text, holds = COMPUTED[name]
    graph = convcore.load(_model(text), fuse=False).graph
    table = next(w for w in graph.weights.values() if w.name == "w")
    table.role = "parameter"
    find_composites(graph)
    assert ("embedding" in {n.op for n in graph}) is holds


@pytest.mark.parametrize("framework", ["pytorch", "keras"])
@pytest.mark.parametrize("name", ["less", "turned"])
def test_negative_ids_mean_the_same_rows_everywhere(framework: str, name: str) -> None:
    ids = np.asarray([[0, 1, 2, 3, 4], [4, 2, 0, 3, 1]])
    model = _model(COMPUTED[name][0])
    (want,) = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"i": ids})
    pytest.importorskip("torch" if framework == "pytorch" else "keras")
    made = convcore.convert(model, framework, io_layout="source").model
    if framework == "pytorch":
        import torch

        got = made(torch.from_numpy(ids)).detach().numpy()
    else:
        got = np.asarray(made(ids).detach() if hasattr(made(ids), "detach") else made(ids))
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_caffe_takes_no_ids_that_may_be_negative(tmp_path: Path) -> None:
    """Its Embed has no row before the first: a table by ids that are computed downwards is refused."""
    with pytest.raises(UnsupportedError, match="may be negative, which count from the end"):
        convcore.convert(_model(COMPUTED["less"][0]), "caffe", out=tmp_path / "net.prototxt")

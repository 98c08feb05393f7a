"""Every op's own samples written for Caffe: computed the same when read back, or refused; nothing in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.build.builder import Builder
from convcore.errors import UnsupportedError
from convcore.ir.dtypes import type_of
from convcore.ir.graph import Graph
from convcore.opset import all_ops

#: Ops of which every sample can be written, by one flavor or the other, with its parameters as constants.
WHOLE = [
    "abs", "add", "argmax", "argmin", "batch_norm", "celu", "concat", "elu", "exp", "exp2", "expand", "glu", "group_norm",
    "hard_sigmoid", "hard_swish", "identity", "im2col", "instance_norm", "l1_norm", "l2_norm", "l2_normalize", "layer_norm",
    "leaky_relu", "linear", "log", "log10", "log2", "log_sigmoid", "log_softmax", "log_sum", "lrn", "lrn_within", "max",
    "maximum", "mean", "mean_variance_norm", "min", "minimum", "mish", "mul", "neg", "prelu", "reciprocal", "relu", "repeat",
    "reshape", "rms_norm", "rsqrt", "selu", "separable_conv", "shuffle_channels", "sigmoid", "silu", "softmax", "softplus",
    "softsign", "space_to_depth", "depth_to_space", "split", "sqrt", "square", "squareplus", "squeeze", "stack", "std", "sub",
    "sum", "sum_square", "swish", "tanh", "tanh_shrink", "threshold", "thresholded_relu", "tile", "transpose", "unsqueeze",
    "unstack", "upsample_nearest", "variance", "conv", "detection_output", "prior_box", "adaptive_avg_pool",
    "adaptive_max_pool", "argsort", "conv_transpose", "embedding", "flip", "gather", "pad", "rotary_embedding", "sort",
    "sparse_sigmoid", "topk",
]  # fmt: skip


def _model(name: str, sample: Any, constants: bool) -> tuple[convcore.Model, dict[str, Any]]:
    graph = Graph("sample")
    b = Builder(graph)
    values: list[Any] = []
    given: dict[str, Any] = {}
    for i, a in enumerate(sample.arrays()):
        if a is None:
            values.append(None)
        elif constants and given:
            values.append(b.const(a, type_of(a)))
        else:
            values.append(b.input(f"in{i}", type_of(a), None if type_of(a).is_container else a.shape))
            given[f"in{i}"] = a
    graph.outputs = list(b.node(name, values, dict(sample.attrs)).outputs)
    return convcore.Model(graph, "sample"), given


@pytest.mark.parametrize("name", sorted(n for n, d in all_ops().items() if d.samples))
def test_samples_are_exact_or_refused(name: str, tmp_path: Path) -> None:
    for sample in all_ops()[name].samples:
        written = False
        for constants in (True, False):
            for flavor in ("bvlc", "ssd"):
                model, given = _model(name, sample, constants)
                with np.errstate(all="ignore"):
                    try:
                        convcore.convert(model, "caffe", tmp_path / "n.prototxt", caffe_flavor=flavor, example_inputs=given)
                    except UnsupportedError as e:
                        assert all(p.layer and p.why for p in e.problems)
                        continue
                written = True
        if name in WHOLE and all(a is None or np.asarray(a).dtype.kind == "f" for a in sample.arrays()[:1]):
            assert written, sample


@pytest.mark.parametrize("rounding", ["round_mode", "ceil_mode"])
@pytest.mark.parametrize("name", ["max_pool", "avg_pool", "max", "slice"])
def test_pooling_that_rounds_down_by_a_field(name: str, rounding: str, tmp_path: Path) -> None:
    for sample in all_ops()[name].samples:
        model, given = _model(name, sample, True)
        try:
            options = {"caffe_flavor": "bvlc" if rounding == "round_mode" else "ssd", "pool_rounding": rounding}
            convcore.convert(model, "caffe", tmp_path / "n.prototxt", example_inputs=given, **options)
        except UnsupportedError:
            continue
        assert "pool" in (tmp_path / "n.prototxt").read_text().lower() or name == "slice"

"""The loader: ``{"mlp": {"inputs": 4, "layers": [{"kernel": [[...]], "bias": [...], "activation": "relu"}, ...]}}``.

A kernel has a row per input; bias and activation may be left out. Layers follow one another; values are float32.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from convcore.plugin import (
    BadFileError,
    Dim,
    FlatLayer,
    FlatModel,
    FlatValue,
    ForeignNode,
    Graph,
    LoadContext,
    LoadRequest,
    RuleSet,
    Value,
    load_flat,
    watched,
)

RULES: RuleSet = RuleSet("json_mlp", "convcore-json-mlp")
ACTIVATIONS = ("relu", "tanh", "sigmoid", "softmax", "gelu")


@RULES.load("dense")
def dense(g: LoadContext, node: ForeignNode) -> Value:
    """A layer with its activation: two ops."""
    x, activation = node.need(0), node.attr("activation", None)
    kernel = g.weight(node, "kernel", node.weights["kernel"])
    bias = g.weight(node, "bias", node.weights["bias"]) if "bias" in node.weights else None
    y = g.b.linear(x, g.view(kernel, "transposed", lambda t: t.transpose((1, 0))), bias)
    if activation is None:
        return y
    if activation not in ACTIVATIONS:
        raise node.refuse(f"the activation {activation!r} is not known", f"known are {', '.join(ACTIVATIONS)}")
    result: Value = g.b.op(activation, y)
    return result


def load(request: LoadRequest) -> Graph:
    """A model file; BadFileError where it is damaged."""
    try:
        data = json.loads(Path(watched(request.source)).read_text(encoding="utf-8"))["mlp"]
        layers = [layer(i, d) for i, d in enumerate(data["layers"])]
        inputs = [FlatValue("x", (Dim("batch"), int(data["inputs"])))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise BadFileError(f"{request.source}: {type(e).__name__}: {e}") from e
    last = f"h{len(layers)}" if layers else "x"
    return load_flat(request, "json_mlp", FlatModel(inputs, layers, [last]), name=str(data.get("name", "mlp")))


def layer(i: int, d: dict[str, Any]) -> FlatLayer:
    """The i-th layer, on the result of the one before it; what is not a weight is an attribute, for the rules to read."""
    weights: dict[str, Any] = {k: np.array(d[k], np.float32) for k in ("kernel", "bias") if k in d}
    if weights["kernel"].ndim != 2:
        raise ValueError(f"the kernel of layer {i} has {weights['kernel'].ndim} axes, must have 2")
    config = {k: v for k, v in d.items() if k not in ("kernel", "bias", "name")}
    return FlatLayer("dense", str(d.get("name", f"dense_{i}")), [f"h{i}" if i else "x"], [f"h{i + 1}"], config, weights)

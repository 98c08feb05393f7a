"""Layers that are not mapped: the problem to quote, and their configuration as plain data."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import ForeignNode, Problem, UnsupportedError, Value, ask, ask_override

from .files.model import LayerConfig, OpaqueObject

__all__ = ["plain", "problem_of"]

_CODE = {
    "Lambda": "runs a Python function that the file stores as bytecode or by name; nothing in a file is executed",
    "TFOpLambda": "calls a TensorFlow function that convcore does not map",
    "SlicingOpLambda": "slices a tensor through TensorFlow, which convcore does not map",
    "TorchModuleWrapper": "wraps a pickled torch module; nothing in a file is executed",
    "TFSMLayer": "runs a TensorFlow SavedModel, which is not in the file",
    "JaxLayer": "runs a JAX function, which is not in the file",
    "FlaxLayer": "runs a Flax module, which is not in the file",
}


def problem_of(layer: LayerConfig, node: ForeignNode, error: UnsupportedError, known: bool) -> Problem:
    """One problem for one opaque node: the rule's, or the reason why no rule can be there."""
    if known:
        first = error.problems[0]
        whys = "; ".join(dict.fromkeys(p.why for p in error.problems))
        return Problem(node.name, node.type, whys, first.hint, first.code)
    by_name = f"{ask_override(node.name)}, or a plugin with a rule for {node.type!r}, can map it"
    if layer.custom:
        module = f" of package {layer.module!r}" if layer.module else ""
        why = f"is a custom layer{module}: the file holds its configuration and weights, but not what it computes"
        return Problem(
            node.name, node.type, why, f"give its source: {ask('--custom PATH', 'custom=PATH')}; or {by_name}", "custom_layer"
        )
    if not layer.is_op and node.type in _CODE:
        return Problem(node.name, node.type, _CODE[node.type], f"replace it by Keras layers; or {by_name}", "code_in_model")
    what = "operation" if layer.is_op else "layer"
    return Problem(node.name, node.type, f"convcore has no rule for this Keras {what}", by_name, "unsupported_layer")


def plain(x: Any) -> Any:
    """A configuration as JSON-like data: sub-layers by class and config, arrays as lists, code never."""
    if isinstance(x, dict):
        return {str(k): plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    if isinstance(x, LayerConfig):
        return {"class_name": x.class_name, "name": x.name, "config": plain(x.config)}
    if isinstance(x, OpaqueObject):
        return {"opaque": x.description}
    if isinstance(x, Value):
        return {"tensor": x.name}
    if isinstance(x, np.ndarray):
        return x.tolist()
    if isinstance(x, np.generic):
        return x.item()
    if isinstance(x, slice):
        return {"slice": [plain(x.start), plain(x.stop), plain(x.step)]}
    return x if x is None or isinstance(x, (bool, int, float, str)) else str(x)

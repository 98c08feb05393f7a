"""Why a layer type has no rule, where that is known."""

from __future__ import annotations

from .context import CaffeNode
from .files.types import UPSTREAM_COUNTS

__all__ = ["why_opaque"]

_FORKS_DIFFER = "its meaning differs between forks of Caffe, and the prototxt does not say which one it is from"

_REASONS = {
    "Reorg": _FORKS_DIFFER,
    "Unpooling": "DeconvNet's unpooling is not certain enough to be converted exactly",
    "Proposal": "region proposals differ between forks (Python and C++ layers) in rounding and order",
    "YoloDetectionOutput": _FORKS_DIFFER,
    "Yolov3DetectionOutput": _FORKS_DIFFER,
    "DenseCRF": "is an iterative solver of its own",
    "CuDNNBatchNorm": _FORKS_DIFFER,
}


def why_opaque(node: CaffeNode) -> tuple[str, str, str]:
    """(why, hint, code) for a layer without a rule."""
    name = node.name
    if node.type == "Python":
        p = node.layer.param("python_param")
        where = f"{p.get('module') or '?'}.{p.get('layer') or '?'}"
        hint = f"overrides={{{name!r}: function}} can give it a meaning"
        return f"runs the user's Python code ({where}), which is not part of the model and never executed", hint, "custom_layer"
    hint = f"overrides={{{name!r}: function}}, or a plugin with a rule for {node.type!r}, can map it"
    if node.type in _REASONS:
        return _REASONS[node.type], hint, "ambiguous_layer"
    if node.type in UPSTREAM_COUNTS:
        return "has no counterpart", hint, "unsupported_layer"
    return "is an unknown layer type: neither BVLC's Caffe nor a fork convcore knows has it", hint, "unsupported_layer"

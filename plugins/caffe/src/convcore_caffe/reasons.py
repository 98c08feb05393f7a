"""Why a layer type has no rule, where that is known."""

from __future__ import annotations

from convcore.plugin import ask_override

from .context import CaffeNode
from .layer_spec import spec_of

__all__ = ["why_opaque"]


def why_opaque(node: CaffeNode) -> tuple[str, str, str]:
    """(why, hint, code) for a layer without a rule."""
    name = node.name
    if node.type == "Python":
        p = node.layer.param("python_param")
        where = f"{p.get('module') or '?'}.{p.get('layer') or '?'}"
        hint = f"{ask_override(name)} can give it a meaning"
        return f"runs the user's Python code ({where}), which is not part of the model and never executed", hint, "custom_layer"
    hint = f"{ask_override(name)}, or a plugin with a rule for {node.type!r}, can map it"
    if why := spec_of(node.type).why:
        return why, hint, "ambiguous_layer"
    return "is an unknown layer type: neither BVLC's Caffe nor a fork convcore knows has it", hint, "unsupported_layer"

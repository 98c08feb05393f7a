"""Whether a node is well formed by the standard: number of inputs, required ones, types of attributes.

Rules rely on it, so that a damaged node is a refusal with a reason, not a failure inside a rule.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .attributes import attribute_kind

__all__ = ["malformed"]


class _Form:
    """What a schema asks of a node."""

    __slots__ = ("attributes", "least", "most", "needed", "needed_attributes", "outputs")

    def __init__(self, schema: Any) -> None:
        self.least, self.most = schema.min_input, schema.max_input
        self.outputs = schema.max_output
        single = schema.FormalParameterOption.Single
        self.needed = tuple((i, p.name) for i, p in enumerate(schema.inputs) if p.option == single and i < schema.min_input)
        self.attributes = {k: int(a.type.value) for k, a in schema.attributes.items()}
        self.needed_attributes = tuple(k for k, a in schema.attributes.items() if a.required)


@lru_cache(maxsize=4096)
def _form(type: str, version: int) -> _Form | None:
    import onnx.defs

    try:
        return _Form(onnx.defs.get_schema(type, version, ""))
    except onnx.defs.SchemaError:
        return None


_KINDS = {1: "a float", 2: "an integer", 3: "a string", 4: "a tensor", 5: "a graph", 6: "floats", 7: "integers", 8: "strings"}


def malformed(node: Any, version: int) -> str:
    """Why a node of the standard's operators is malformed in this opset; "" when it is not, or when the opset lacks it."""
    form = _form(node.op_type, version)
    if form is None:
        return ""
    n = len(node.input)
    if not form.least <= n <= form.most:
        return f"has {n} inputs, {node.op_type} takes {form.least}" + (f" to {form.most}" if form.most > form.least else "")
    for i, name in form.needed:
        if not node.input[i]:
            return f"its input {name!r} is missing"
    if len(node.output) > form.outputs:
        return f"has {len(node.output)} outputs, {node.op_type} gives {form.outputs}"
    given = set()
    for a in node.attribute:
        given.add(a.name)
        want = form.attributes.get(a.name)
        if want is not None and not a.ref_attr_name and attribute_kind(a) != want:
            return f"its attribute {a.name!r} must be {_KINDS.get(want, f'of type {want}')}"
    for name in form.needed_attributes:
        if name not in given:
            return f"its attribute {name!r} is missing"
    return ""

"""The rule set, and what several families share: element types, constants as inputs, opset-dependent forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convcore.plugin import ForeignNode, NotExpressible, RuleSet, Value, isomorphism, known_shape

from ..dtypes import DTYPES, dtype_code, dtype_of

if TYPE_CHECKING:
    from ..context import OnnxContext

__all__ = ["BY_DEFINITION", "DTYPES", "RULES", "axis_size", "dtype_code", "dtype_of", "int_list"]

BY_DEFINITION = "by_definition"
"""Code of what a rule leaves to the standard's own definition of an operator: no problem's, unless that is not there either."""

RULES: RuleSet[OnnxContext, ForeignNode] = RuleSet("onnx", distribution="convcore-onnx")

isomorphism("onnx_dtype", dtype_of, dtype_code, "a TensorProto.DataType code as a DType")
isomorphism("zero_if", lambda v: not v, lambda v: int(not v), "0 as True, 1 as False")
isomorphism(
    "onnx_ints", lambda v: (v,) if isinstance(v, int) else tuple(int(i) for i in v), list, "a list of integers, or one alone"
)


def axis_size(v: Value | None, axis: int) -> Any:
    """The size of one axis (None: not known); NotExpressible when the value has no such axis."""
    shape = known_shape(v)
    if not -len(shape) <= axis < len(shape):
        raise NotExpressible(f"axis {axis} of an input with {len(shape)} axes", "unsupported_input")
    return shape[axis]


def int_list(values: Sequence[Any], what: str) -> list[int]:
    """Integers for an ONNX attribute; NotExpressible when one of them is symbolic or unknown."""
    if any(not isinstance(v, int) for v in values):
        raise NotExpressible(f"{what}=({', '.join(map(str, values))}) is not made of integers")
    return [int(v) for v in values]

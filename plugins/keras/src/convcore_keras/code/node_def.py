"""``TensorFlowOpLayer`` of tf.keras 2.0 to 2.3: one raw operation of TensorFlow, its ``NodeDef`` as JSON, and the operands that
are constants. Each is the function of TensorFlow that makes it (``tensorflow/core/ops``, 2.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convcore.plugin import Dim, ForeignNode, Value

from ..load_context import KerasContext
from .layer import call_function, results, with_sizes
from .tensors import TensorShape
from .values import CodeRefused

__all__ = ["run_node_def"]

Attr = Mapping[str, Any]
_ITEM = "[]"
_SAME = {
    "Abs": "abs", "Acos": "acos", "Add": "add", "AddV2": "add", "Asin": "asin", "Atan": "atan", "Ceil": "ceil",
    "Cos": "cos", "Cosh": "cosh", "Elu": "nn.elu", "Equal": "equal", "Erf": "erf", "Exp": "exp", "Expm1": "expm1",
    "Floor": "floor", "FloorDiv": "floordiv", "FloorMod": "floormod", "Greater": "greater", "GreaterEqual": "greater_equal",
    "Identity": "identity", "Less": "less", "LessEqual": "less_equal", "Log": "log", "Log1p": "log1p",
    "LogicalAnd": "logical_and", "LogicalNot": "logical_not", "LogicalOr": "logical_or", "Maximum": "maximum",
    "Minimum": "minimum", "Mul": "multiply", "Neg": "negative", "NotEqual": "not_equal", "Pow": "pow", "RealDiv": "truediv",
    "Reciprocal": "math.reciprocal", "Relu": "nn.relu", "Relu6": "nn.relu6", "Round": "round", "Rsqrt": "math.rsqrt",
    "Selu": "nn.selu", "Sigmoid": "sigmoid", "Sign": "sign", "Sin": "sin", "Sinh": "sinh", "Softmax": "nn.softmax",
    "LogSoftmax": "nn.log_softmax", "Softplus": "nn.softplus", "Softsign": "nn.softsign", "Sqrt": "sqrt", "Square": "square",
    "SquaredDifference": "math.squared_difference", "StopGradient": "stop_gradient", "Sub": "subtract", "Tan": "tan",
    "Tanh": "tanh", "OnesLike": "ones_like", "ZerosLike": "zeros_like", "Shape": "shape", "BroadcastTo": "broadcast_to",
    "Reshape": "reshape", "Transpose": "transpose", "Tile": "tile", "ExpandDims": "expand_dims", "SelectV2": "where",
}  # fmt: skip
"""Operations that are a function of the same operands."""
_REDUCE = {"Mean": "mean", "Sum": "sum", "Max": "max", "Min": "min", "Prod": "prod", "Any": "any", "All": "all"}
_TYPES = {"DT_FLOAT": "float32", "DT_HALF": "float16", "DT_DOUBLE": "float64", "DT_INT32": "int32", "DT_INT64": "int64",
          "DT_BOOL": "bool"}  # fmt: skip


def run_node_def(g: KerasContext, node: ForeignNode, stored: Any, constants: Any) -> Sequence[Value]:
    """The results of the operation. Raises CodeRefused."""
    if isinstance(stored, str):
        try:
            stored = json.loads(stored)
        except (ValueError, RecursionError) as e:
            raise CodeRefused("is an operation whose definition is no JSON") from e
    if not isinstance(stored, Mapping) or not isinstance(stored.get("op"), str):
        raise CodeRefused("is an operation without a definition")
    op, given, names, constants = stored["op"], stored.get("attr") or {}, stored.get("input") or [], constants or {}
    if not isinstance(names, list) or not isinstance(constants, Mapping):
        raise CodeRefused(f"is the operation {op} whose operands are no list, or whose constants are none by number")
    held = {str(k): v for k, v in constants.items()}
    tensors = iter(node.needed())
    operands: list[Any] = []
    for i in range(len(names)):
        value = held[str(i)] if str(i) in held else next(tensors, None)
        if value is None:
            raise CodeRefused(f"is the operation {op} with {len(names)} operands, of which the layer has {i}")
        operands.append(value)
    if next(tensors, None) is not None:
        raise CodeRefused(f"is the operation {op}, which takes fewer tensors than the layer is given")
    return _called(g, node, op, operands, {k: _attr(k, v) for k, v in given.items()} if isinstance(given, Mapping) else {})


def _attr(name: str, v: Any) -> Any:
    """An attribute of a NodeDef: numbers are text where they are int64."""
    if not isinstance(v, Mapping) or len(v) != 1:
        return v
    (kind, value), = v.items()  # fmt: skip
    if kind == "i":
        return _number(name, value)
    if kind == "list" and isinstance(value, Mapping):
        if not all(isinstance(xs, list) for xs in value.values()):
            raise CodeRefused(f"has the attribute {name}, which is no list")
        return [_number(name, x) if k == "i" else x for k, xs in value.items() for x in xs]
    return value


def _number(name: str, value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,19}", value, re.ASCII):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise CodeRefused(f"has the attribute {name}={str(value)[:80]!r}, which is no whole number")
    return value


def _whole(attr: Attr, name: str, default: int | None) -> int:
    return _number(name, attr.get(name, default))


def _called(g: KerasContext, node: ForeignNode, op: str, operands: list[Any], attr: Attr) -> Sequence[Value]:
    def call(name: str, *args: Any, **kwargs: Any) -> Sequence[Value]:
        path = "keras.ops.get_item" if name == _ITEM else f"tensorflow.{name}"
        return call_function(g, node, path, args, kwargs)

    if _SAME.get(op):
        return call(_SAME[op], *operands)
    if op in _REDUCE:
        return call(f"reduce_{_REDUCE[op]}", *operands, keepdims=bool(attr.get("keep_dims")))
    if op == "Pack" and not attr.get("axis"):
        parts = with_sizes(g, list(operands))
        if all(isinstance(n, (int, Dim)) for n in parts):
            return results(g, TensorShape(parts))
    if op not in _SPECIAL:
        raise CodeRefused(f"is the operation {op} of TensorFlow, which convcore does not map")
    least, most, special = _SPECIAL[op]
    if not least <= len(operands) <= most:
        raise CodeRefused(f"is the operation {op} with {len(operands)} operands")
    return special(call, operands, attr)


Call = Callable[..., Sequence[Value]]


def _matmul(call: Call, x: list[Any], attr: Attr) -> Sequence[Value]:
    a, b = ("adj_x", "adj_y") if "adj_x" in attr else ("transpose_a", "transpose_b")
    return call("matmul", *x, transpose_a=bool(attr.get(a)), transpose_b=bool(attr.get(b)))


def _strided(call: Call, x: list[Any], attr: Attr) -> Sequence[Value]:
    """``x[begin:end:strides]`` by bit masks over the axes."""
    value, begin, end, strides = x
    masks = {k: _whole(attr, f"{k}_mask", 0) for k in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    if not all(isinstance(v, (list, tuple)) and all(isinstance(n, int) for n in v) for v in (begin, end, strides)):
        raise CodeRefused("takes a part of a tensor whose bounds are computed")
    key: list[Any] = []
    for i, (b, e, s) in enumerate(zip(begin, end, strides)):
        bit = {k: bool(m >> i & 1) for k, m in masks.items()}
        if bit["ellipsis"]:
            key.append(Ellipsis)
        elif bit["new_axis"]:
            key.append(None)
        elif bit["shrink_axis"]:
            key.append(b)
        else:
            key.append(slice(None if bit["begin"] else b, None if bit["end"] else e, s))
    return call(_ITEM, value, tuple(key))


def _squeeze(call: Call, x: list[Any], attr: Attr) -> Sequence[Value]:
    axes = attr.get("squeeze_dims") or attr.get("axis") or []
    if not isinstance(axes, list):
        raise CodeRefused("takes axes away that are no list")
    return call("squeeze", x[0], axis=axes or None)


_SPECIAL: dict[str, tuple[int, int, Callable[[Call, list[Any], Attr], Sequence[Value]]]] = {
    "MatMul": (2, 2, _matmul), "BatchMatMul": (2, 2, _matmul), "BatchMatMulV2": (2, 2, _matmul),
    "StridedSlice": (4, 4, _strided), "Squeeze": (1, 1, _squeeze),
    "ConcatV2": (2, 1 << 16, lambda call, x, a: call("concat", x[:-1], axis=x[-1])),
    "Pack": (1, 1 << 16, lambda call, x, a: call("stack", x, axis=_whole(a, "axis", 0))),
    "Unpack": (1, 1, lambda call, x, a: call("unstack", x[0], axis=_whole(a, "axis", 0))),
    "Split": (2, 2, lambda call, x, a: call("split", x[1], _whole(a, "num_split", None), axis=x[0])),
    "SplitV": (3, 3, lambda call, x, a: call("split", x[0], x[1], axis=x[2])),
    "GatherV2": (3, 3, lambda call, x, a: call("gather", x[0], x[1], axis=x[2], batch_dims=_whole(a, "batch_dims", 0))),
    "Cast": (1, 1, lambda call, x, a: call("cast", x[0], _type(a.get("DstT")))),
    "LeakyRelu": (1, 1, lambda call, x, a: call("nn.leaky_relu", x[0], alpha=_real(a, "alpha", 0.2))),
    "Pad": (2, 2, lambda call, x, a: call("pad", *x)),
    "PadV2": (3, 3, lambda call, x, a: call("pad", x[0], x[1], constant_values=x[2])),
    "Cumsum": (2, 2, lambda call, x, a: call("cumsum", *x, exclusive=bool(a.get("exclusive")), reverse=bool(a.get("reverse")))),
    "ArgMax": (2, 2, lambda call, x, a: call("argmax", *x, output_type=_type(a.get("output_type", "DT_INT64")))),
    "ArgMin": (2, 2, lambda call, x, a: call("argmin", *x, output_type=_type(a.get("output_type", "DT_INT64")))),
}  # fmt: skip
"""The least and most operands of an operation, and how it is called."""


def _type(name: Any) -> str:
    if not isinstance(name, str) or name not in _TYPES:
        raise CodeRefused(f"makes elements of the type {name}")
    return _TYPES[name]


def _real(attr: Attr, name: str, default: float) -> float:
    value = attr.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CodeRefused(f"has the attribute {name}={str(value)[:80]!r}, which is no number")
    return float(value)

"""Dotted names that Python code and ``TFOpLambda`` layers use, as operations of ``keras.ops`` with their arguments by its names.

One table a namespace. ``reduce_sum: Sum(input_tensor:x, axis=None, keepdims=False)`` is core's signature language
(``convcore.Call``): the name there, after a colon the name here. ``-> int64`` is the element type TensorFlow gives. Signatures
are those of TensorFlow 2.15 (the last whose own Keras is Keras 2), ``tf.compat.v1`` and ``keras.backend`` of Keras 1.2 to 2.15.
What needs more than another name is a function in ``meanings.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from convcore.plugin import Call

__all__ = [
    "MODULES",
    "ROOTS",
    "Entry",
    "canonical_path",
    "elementwise",
    "is_function",
    "lookup",
    "operator_of",
    "signatures",
    "tables",
]

ROOTS: dict[str, str] = {
    "K": "keras.backend", "backend": "keras.backend", "kb": "keras.backend", "KK": "keras.backend", "tf": "tensorflow",
    "keras": "keras", "tensorflow": "tensorflow", "np": "numpy", "numpy": "numpy", "ops": "keras.ops", "knp": "keras.ops",
    "kops": "keras.ops", "math": "math",
}  # fmt: skip
"""Global names that stand for modules in nearly all published code; a function that means others is read with ``roots=``."""

MODULES = frozenset({"tensorflow", "keras", "numpy", "math", "tf_keras"})

_UNARY = {
    "abs": "Absolute", "acos": "Arccos", "acosh": "Arccosh", "asin": "Arcsin", "asinh": "Arcsinh", "atan": "Arctan",
    "atanh": "Arctanh", "ceil": "Ceil", "cos": "Cos", "cosh": "Cosh", "erf": "Erf", "exp": "Exp", "expm1": "Expm1",
    "floor": "Floor", "is_finite": "Isfinite", "is_inf": "Isinf", "is_nan": "Isnan", "log": "Log", "log1p": "Log1p",
    "log_sigmoid": "LogSigmoid", "logical_not": "LogicalNot", "negative": "Negative", "reciprocal": "Reciprocal",
    "round": "Round", "rsqrt": "Rsqrt", "sigmoid": "Sigmoid", "sign": "Sign", "sin": "Sin", "sinh": "Sinh", "sqrt": "Sqrt",
    "square": "Square", "tan": "Tan", "tanh": "Tanh", "identity": "Copy", "ones_like": "OnesLike", "zeros_like": "ZerosLike",
}  # fmt: skip
_BINARY = {
    "add": "Add", "subtract": "Subtract", "multiply": "Multiply", "divide": "Divide", "truediv": "TrueDivide",
    "floordiv": "FloorDivide", "floormod": "Mod", "mod": "Mod", "pow": "Power", "maximum": "Maximum", "minimum": "Minimum",
    "equal": "Equal", "not_equal": "NotEqual", "greater": "Greater", "greater_equal": "GreaterEqual", "less": "Less",
    "less_equal": "LessEqual", "logical_and": "LogicalAnd", "logical_or": "LogicalOr", "atan2": "Arctan2",
    "divide_no_nan": "DivideNoNan", "logical_xor": "LogicalXor",
}  # fmt: skip
_FEATURES = {"relu": "Relu", "relu6": "Relu6", "elu": "Elu", "selu": "Selu", "softplus": "Softplus", "softsign": "Softsign"}
_REDUCTIONS = {
    "sum": "Sum", "mean": "Mean", "max": "Max", "min": "Min", "prod": "Prod", "any": "Any", "all": "All", "std": "Std",
    "variance": "Var", "logsumexp": "Logsumexp",
}  # fmt: skip

_TENSORFLOW = """
stop_gradient: StopGradient(input:variable, name?)
cast: Cast(x, dtype, name?)
saturate_cast: SaturateCast(value:x, dtype, name?)
convert_to_tensor: Copy(value:x, dtype?, dtype_hint?, name?)
reshape: Reshape(tensor:x, shape:newshape, name?)
transpose: Transpose(a:x, perm:axes=None, conjugate=False, name?)
expand_dims: ExpandDims(input:x, axis, name?)
squeeze: Squeeze(input:x, axis=None, name?)
concat: Concatenate(values:xs, axis, name?)
stack: Stack(values:x, axis=0, name?)
unstack: Unstack(value:x, num=None, axis=0, name?)
tile: Tile(input:x, multiples:repeats, name?)
repeat: Repeat(input:x, repeats, axis=None, name?)
roll: Roll(input:x, shift, axis, name?)
reverse: Flip(tensor:x, axis, name?)
broadcast_to: BroadcastTo(input:x, shape, name?)
clip_by_value: Clip(t:x, clip_value_min:x_min, clip_value_max:x_max, name?)
cumsum: Cumsum(x, axis=0, exclusive=False, reverse=False, name?)
cumprod: Cumprod(x, axis=0, exclusive=False, reverse=False, name?)
argmax: Argmax(input:x, axis=0, output_type=None, name?) -> int64
argmin: Argmin(input:x, axis=0, output_type=None, name?) -> int64
leaky_relu: LeakyRelu(features:x, alpha:negative_slope=0.2, name?)
silu swish: Silu(features:x, beta=1.0)
gelu: Gelu(features:x, approximate=False, name?)
softmax: Softmax(logits:x, axis=-1, name?)
log_softmax: LogSoftmax(logits:x, axis=-1, name?)
depth_to_space: DepthToSpace(input:x, block_size, data_format='NHWC', name?)
space_to_depth: SpaceToDepth(input:x, block_size, data_format='NHWC', name?)
squared_difference: SquaredDifference(x:x1, y:x2, name?)
"""

_BACKEND = """
stop_gradient: StopGradient(variables:variable)
cast: Cast(x, dtype)
reshape: Reshape(x, shape:newshape)
permute_dimensions: Transpose(x, pattern:axes)
transpose: Transpose(x)
expand_dims: ExpandDims(x, axis=-1)
squeeze: Squeeze(x, axis)
concatenate: Concatenate(tensors:xs, axis=-1)
stack: Stack(x, axis=0)
tile: Tile(x, n:repeats)
repeat_elements: Repeat(x, rep:repeats, axis)
reverse: Flip(x, axes:axis)
clip: Clip(x, min_value:x_min, max_value:x_max)
argmax: Argmax(x, axis=-1) -> int64
argmin: Argmin(x, axis=-1) -> int64
cumsum: Cumsum(x, axis=0)
cumprod: Cumprod(x, axis=0)
elu: Elu(x, alpha=1.0)
softmax: Softmax(x, axis=-1)
softplus: Softplus(x)
softsign: Softsign(x)
pow: Power(x:x1, a:x2)
flatten: Ravel(x)
gather: Gather(reference:x, indices)
"""


@dataclass(frozen=True)
class Entry:
    """``kind`` is a class of ``keras.ops`` or the name of a function in ``meanings.py``; ``dtype`` the result's, "" for its own;
    ``many``: all positional arguments are the first parameter's."""

    kind: str
    call: Call
    dtype: str = ""
    many: bool = False


def _listed(text: str) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for line in filter(None, text.splitlines()):
        names, _, rest = line.partition(": ")
        rest, _, dtype = rest.partition(" -> ")
        kind, _, signature = rest.removesuffix(")").partition("(")
        found.update({n: Entry(kind, Call(n, signature), dtype) for n in names.split()})
    return found


@cache
def _tensorflow() -> Mapping[str, Entry]:
    lines = [f"{n}: {c}(x, name?)" for n, c in _UNARY.items()]
    lines += [f"{n}: {c}(x:x1, y:x2, name?)" for n, c in _BINARY.items() if c not in ("Mod",)]
    lines += [f"{n}: Mod(x:x1, y:x2, name?)" for n in ("floormod", "mod")]
    lines += [f"{n}: {c}(features:x, name?)" for n, c in _FEATURES.items()]
    for n, c in _REDUCTIONS.items():
        lines.append(f"reduce_{n}: {c}(input_tensor:x, axis=None, keepdims=False, name?)")
    return _listed("\n".join(lines) + _TENSORFLOW)


@cache
def _backend() -> Mapping[str, Entry]:
    same = "abs sin cos exp log square sign round tanh sigmoid zeros_like ones_like identity"
    lines = [f"{n}: {_UNARY[n]}(x)" for n in same.split()]
    two = "equal not_equal greater greater_equal less less_equal maximum minimum"
    lines += [f"{n}: {_BINARY[n]}(x:x1, y:x2)" for n in two.split()]
    names = {"sum": "sum", "mean": "mean", "max": "max", "min": "min", "prod": "prod", "std": "std",
             "var": "variance", "logsumexp": "logsumexp"}  # fmt: skip
    lines += [f"{n}: {_REDUCTIONS[r]}(x, axis=None, keepdims=False)" for n, r in names.items()]
    return _listed("\n".join(lines) + _BACKEND)


@cache
def _keras_ops() -> Mapping[str, Entry]:
    """The functions of ``keras.ops`` with their class and signature (Keras 3.15.1, ``keras_ops.json``)."""
    table = json.loads(files(__package__).joinpath("keras_ops.json").read_text("utf-8"))
    return {
        n: Entry(kind, Call(n, signature.replace("*", "")), many=signature.startswith("*"))
        for n, (kind, signature) in table.items()
    }


def tables() -> Mapping[str, Mapping[str, Entry]]:
    """Every table, by its namespace."""
    return {"tensorflow": _tensorflow(), "keras.backend": _backend(), "keras.ops": _keras_ops()}


@cache
def signatures() -> Mapping[str, Call]:
    """The signature of the function of each class of ``keras.ops``."""
    return {e.kind: e.call for e in _keras_ops().values()}


def elementwise(name: str) -> bool:
    """Whether a function of TensorFlow by that bare name is one of a single tensor, element by element."""
    return name in _UNARY or name in _FEATURES


_OPERATORS = {"add": "+", "subtract": "-", "multiply": "*", "floordiv": "//", "floormod": "%"}


def operator_of(path: str) -> str:
    """Python's operator for a function of two numbers by its canonical path; "" for another one."""
    module, _, name = path.rpartition(".")
    return _OPERATORS.get(name, "") if module == "tensorflow" else ""


_OTHER_NAMES = {"hard_swish": "hard_silu", "swish": "silu"}


_SAME_IN_V1 = frozenset({*_UNARY, *_FEATURES, "leaky_relu", "bias_add", "depth_to_space", "space_to_depth"})


def canonical_path(path: str) -> str:
    """One spelling for a function that has several: ``tf.math.add`` and ``tf.add``, ``tf.keras.backend.sum`` and ``K.sum``."""
    parts = path.split(".")
    if parts[:2] == ["tensorflow", "keras"] or parts[0] == "tf_keras" or parts[:3] == ["tensorflow", "python", "keras"]:
        parts = ["keras", *parts[parts.index("keras") + 1 if "keras" in parts else 1 :]]
    if parts[:2] == ["keras", "src"]:
        parts = ["keras", *parts[2:]]
    if parts[0] == "tensorflow":
        if (
            parts[1:3] == ["compat", "v1"]
            and parts[3:4]
            and parts[3] in ("image", "where", "nn")
            and parts[-1] not in _SAME_IN_V1
        ):
            return ".".join(parts)  # TensorFlow 1 meant something else
        parts = [p for p in parts if p not in ("compat", "v1", "v2")]
        if parts[1:2] and parts[1] in ("math", "nn", "linalg", "dtypes") and len(parts) > 2:
            parts = ["tensorflow", *parts[2:]]
    if parts[:2] == ["keras", "ops"] and len(parts) > 3:
        parts = ["keras", "ops", parts[-1]]
    return ".".join(parts)


def lookup(path: str) -> Entry | None:
    """The operation that a function by its canonical path is, if it is one with other names of arguments."""
    module, _, name = path.rpartition(".")
    if module == "tensorflow":
        return _tensorflow().get(name)
    if module == "keras.backend":
        return _backend().get(name)
    if module == "keras.ops":
        return _keras_ops().get(_OTHER_NAMES.get(name, name))
    return None


def is_function(path: str) -> bool:
    """Whether a dotted name is certainly a function: one of these tables, or an activation."""
    name = canonical_path(path)
    return lookup(name) is not None or name.startswith("keras.activations.") or name in _FUNCTIONS


_FUNCTIONS = frozenset({"tensorflow.matmul", "tensorflow.einsum", "tensorflow.where", "tensorflow.gather", "keras.backend.dot"})

"""Inputs, layers that hold or name code, and the functions of TensorFlow that functional models of tf.keras hold as layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convcore.plugin import ForeignNode, Value, ask, ask_override

from ..files.model import OpaqueObject, named_function
from ..layer_spec import layer
from ..load_context import KerasContext
from ..ruleset import RULES

__all__: list[str] = []

layer("ClassMethod", "InstanceMethod", "InstanceProperty", extinct=True)
layer("TensorFlowOpLayer", required=("node_def",), defaults={"constants": {}}, extinct=True, any_dtype=True)
layer("SlicingOpLambda", "TFOpLambda", required=("function",), extinct=True, function=True, any_dtype=True)
layer("FlaxLayer", "TorchModuleWrapper", required=("module",), variables=None)
layer("InputLayer", any_dtype=True)
layer("JaxLayer", required=("call_fn",), variables=None)
layer("Lambda", defaults={"output_shape": None, "mask": None, "arguments": None}, required=("function",))
layer("TFSMLayer", required=("filepath",), variables=None)

_FORM = ("function_type", "module", "output_shape", "output_shape_type", "output_shape_module", "mask_type", "mask_module")
"""How a Lambda's code is stored, and the shape that it gives, which follows from its operations."""

_OPERATORS = {
    "add": "+", "radd": "+", "sub": "-", "rsub": "-", "mul": "*", "rmul": "*", "truediv": "/", "rtruediv": "/", "floordiv": "//",
    "rfloordiv": "//", "mod": "%", "rmod": "%", "pow": "**", "rpow": "**", "matmul": "@", "rmatmul": "@",
}  # fmt: skip
"""``__operators__.<name>``; the ``r`` forms have their arguments turned."""


@RULES.load("Lambda")
def lambda_(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """What the stored bytes compute, read without running them."""
    from ..code.layer import run_stored  # the machine is loaded only for models that hold code

    args: list[Any]
    stored, given = node.attr("function"), node.attr("arguments", None) or {}
    if node.attr("mask", None) is not None or node.attr("output_mask", None) is not None:
        raise node.refuse("makes a mask of its own by code", code="code_in_model")
    for key in _FORM:
        node.attr(key, None)
    named = named_function(stored)
    if named is not None and g.custom is not None and isinstance(given, Mapping):
        values = node.needed()
        args = [values[0] if len(values) == 1 else list(values)]
        custom = g.custom
        return _understood(node, lambda: custom.function(g, node, *named, args, given), "its source")
    if not isinstance(stored, OpaqueObject) or stored.kind != "lambda":
        what = stored.description if isinstance(stored, OpaqueObject) else repr(stored)[:80]
        raise node.refuse(f"calls a function that the file names but does not hold ({what})", _hint(node), "code_in_model")
    if not isinstance(given, Mapping):
        raise node.refuse("has arguments in an unknown form", code="code_in_model")
    tensors = node.needed()
    args = [tensors[0] if len(tensors) == 1 else list(tensors)]
    return _understood(node, lambda: run_stored(g, node, stored.payload, args, given), "its Python code")


@RULES.load("TFOpLambda", "SlicingOpLambda")
def tensorflow_function(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """A function of TensorFlow by its name, with the call's arguments."""
    from ..code.layer import call_function, call_operator

    name, args, kwargs = str(node.attr("function")), list(node.attr("args")), dict(node.attr("kwargs"))
    kwargs.pop("name", None)
    owner, _, last = name.rpartition(".")
    if owner == "__operators__" and last in _OPERATORS:
        pair = [*args, *kwargs.values()]
        return _understood(node, lambda: call_operator(g, node, _OPERATORS[last], pair, last.startswith("r")), f"tf.{name}")
    path = name if name.startswith("keras.") else f"tensorflow.{name}"
    if owner == "__operators__" and last == "getitem":
        key = args[1] if len(args) > 1 else kwargs.get("slice_spec")
        path, args, kwargs = "keras.ops.get_item", [args[0], tuple(key) if isinstance(key, list) else key], {}
    return _understood(node, lambda: call_function(g, node, path, args, kwargs), f"tf.{name}")


@RULES.load("TensorFlowOpLayer")
def tensorflow_operation(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """A raw operation of TensorFlow."""
    from ..code.node_def import run_node_def

    stored, constants = node.attr("node_def"), node.attr("constants", None)
    return _understood(node, lambda: run_node_def(g, node, stored, constants), "what it stands for")


def _understood(node: ForeignNode, work: Callable[[], Sequence[Value]], what: str) -> Sequence[Value]:
    from ..code.domain import CodeRefused

    try:
        return work()
    except CodeRefused as e:
        raise node.refuse(f"{what} {e}", _hint(node), "code_in_model") from e


def _hint(node: ForeignNode) -> str:
    if node.type == "Lambda":
        text = ask(f"--lambda '{node.name}=tf.abs(x)'", f"lambdas={{{node.name!r}: 'tf.abs(x)'}}")
        return f"say what it computes: {text}, or {ask_override(node.name)}"
    return f"say what it computes: {ask_override(node.name)}, or replace it by Keras layers and save the model again"

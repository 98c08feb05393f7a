"""What symbolic code does with tensors, as operations of a graph: the rules of ``keras.ops`` under other names.

TensorFlow and Keras before 3 are stricter and wider than ``keras.ops`` with integers (``tf.divide`` of int32 gives float64, a
mean of integers is an integer), and Keras 3's backends differ among themselves: there integers are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from convcore.plugin import Dim, DType, ForeignNode, NotExpressible, UnsupportedError, Value, known_shape

from ..activations import ACTIVATIONS, name_of
from ..load_context import UNKNOWN_SHAPE, KerasContext
from ..ops.spec import OPERATIONS, prepare
from .names import Entry, canonical_path, lookup, signatures
from .values import COMPARE, CodeRefused, Method, Stored

__all__ = ["MEANINGS", "GraphOps", "Meaning", "SizeVector", "TensorShape", "meaning", "meanings"]


class TensorShape(tuple[Any, ...]):
    """The sizes of a tensor: numbers, or Dims where they are known only when it runs."""

    __slots__ = ()


class SizeVector(TensorShape, Stored):
    """The sizes of a tensor as a tensor of integers (``tf.shape``), with which TensorFlow computes element by element."""

    __slots__ = ()
    what = "sizes as a tensor; compute with each of them"

    def ambiguous(self, op: str, other: Any) -> bool:
        return op in "+*" or (op in COMPARE and not isinstance(other, str) and other is not None)


Meaning = Callable[["GraphOps", list[Any], dict[str, Any]], Any]
MEANINGS: dict[str, Meaning] = {}
"""Functions that are more than an operation under another name, by canonical path; filled by the modules of :func:`meanings`."""


@cache
def meanings() -> dict[str, Meaning]:
    """The table, filled."""
    for module in ("meanings", "making", "products", "convolving"):
        import_module(f".{module}", __package__)
    return MEANINGS


_OPERATORS = {
    "+": "Add", "-": "Subtract", "*": "Multiply", "/": "TrueDivide", "//": "FloorDivide", "%": "Mod", "**": "Power",
    "@": "Matmul", "&": "LogicalAnd", "|": "LogicalOr", "^": "LogicalXor",
}  # fmt: skip
_COMPARISONS = {"<": "Less", "<=": "LessEqual", "==": "Equal", "!=": "NotEqual", ">": "Greater", ">=": "GreaterEqual"}
_TENSOR_METHODS = {
    "astype": "Cast", "reshape": "Reshape", "transpose": "Transpose", "sum": "Sum", "mean": "Mean", "max": "Max", "min": "Min",
}  # fmt: skip
_NUMBERS: dict[str, Callable[..., Any]] = {
    "sqrt": math.sqrt, "log": math.log, "exp": math.exp, "floor": math.floor, "ceil": math.ceil, "pow": math.pow,
    "log2": math.log2, "log10": math.log10, "sin": math.sin, "cos": math.cos, "tan": math.tan, "prod": math.prod,
    "fabs": math.fabs,
}  # fmt: skip
_NUMPY_NUMBERS: dict[str, Callable[..., Any]] = {
    **{k: f for k, f in _NUMBERS.items() if k != "pow"},
    "floor": lambda x: float(math.floor(x)),
    "ceil": lambda x: float(math.ceil(x)),
}
"""numpy's round to floats, and its ``pow`` of whole numbers is whole."""


def meaning(*paths: str) -> Callable[[Meaning], Meaning]:
    """Say what functions mean, by their canonical paths."""

    def register(function: Meaning) -> Meaning:
        MEANINGS.update(dict.fromkeys(paths, function))
        return function

    return register


class GraphOps:
    """Tensors are values of the graph that a load rule builds for ``node``."""

    def __init__(self, g: KerasContext, node: ForeignNode) -> None:
        self.g, self.node = g, node

    @property
    def modern(self) -> bool:
        """Whether the file is of TensorFlow 2.2 or newer; older ones do not tell TensorFlow 1 from 2."""
        return self.g.era == "keras3" or (self.g.era == "tf.keras" and self.g.version >= (2, 3))

    def is_tensor(self, x: Any) -> bool:
        return isinstance(x, Value)

    def is_size(self, x: Any) -> bool:
        return isinstance(x, Dim)

    # ---- operators
    def binary(self, op: str, x: Any, y: Any) -> Any:
        """``x op y`` with at least one tensor."""
        kind = _OPERATORS.get(op)
        if kind is None:
            raise CodeRefused(f"computes {op} of tensors")
        both = [v for v in (x, y) if isinstance(v, Value)]
        if op in "&|^" and any(v.dtype is not DType.BOOL for v in both):
            raise CodeRefused(f"computes {op} of tensors that are not boolean")
        if op == "/" and not all(_floats(v) for v in both):
            raise CodeRefused("divides integers, whose result has another element type in each backend")
        if op == "**" and not all(_floats(v) for v in both):
            raise CodeRefused("raises integers to a power")
        return self.operation(kind, x, y)

    def unary(self, op: str, x: Any) -> Any:
        """``-x``, ``+x``, ``~x``."""
        if op == "+":
            return x
        if op == "~" and x.dtype is not DType.BOOL:
            raise CodeRefused("computes ~ of a tensor that is not boolean")
        return self.operation("Negative" if op == "-" else "LogicalNot", x)

    def compare(self, op: str, x: Any, y: Any) -> Any:
        """A tensor of booleans."""
        return self.operation(_COMPARISONS[op], x, y)

    def higher(self, path: str) -> Callable[..., Any] | None:
        """The function of that dotted name that calls what it is given, if it is one: it is called with the domain first."""
        from .loops import HIGHER

        return HIGHER.get(canonical_path(path))

    def item(self, x: Any, key: Any) -> Any:
        """``x[key]``."""
        x, key = self._computed(x, key)
        keys = key if isinstance(key, tuple) else (key,)
        if isinstance(key, list) or any(isinstance(k, (list, str, float, bool, Value, np.ndarray)) for k in keys):
            raise CodeRefused("takes items of a tensor by a list, a tensor or a truth value")
        return self.operation("GetItem", x, key)

    def _computed(self, x: Any, key: Any) -> tuple[Any, Any]:
        """Integer tensors without axes among the keys: a constant is its number, another is gathered by."""
        keys = list(key) if isinstance(key, tuple) else [key]
        for i, k in enumerate(keys):
            if not (isinstance(k, Value) and k.rank == 0 and k.dtype is not None and k.dtype.is_int):
                continue
            if k.tensor is not None:
                keys[i] = int(k.tensor.numpy().reshape(()))
                continue
            after = [v for v in keys[i + 1 :] if v is not None and v is not Ellipsis]
            before = [v for v in keys[:i] if v is not None]
            axis = -1 - len(after) if Ellipsis in keys[:i] else len(before)
            x = self.g.b.gather(x, self.g.b.unsqueeze(k, axes=(0,)), axis=axis)
            keys[i] = 0
        return x, tuple(keys) if isinstance(key, tuple) else keys[0]

    def unstack(self, x: Any) -> list[Any]:
        """The slices along the first axis, where its size is known."""
        shape = self.shape(x)
        if not shape or not isinstance(shape[0], int):
            raise CodeRefused("iterates over a tensor whose first size is not known")
        if shape[0] > 256:
            raise CodeRefused("iterates over a tensor of more than 256 slices")
        return [self.item(x, i) for i in range(shape[0])]

    # ---- attributes and methods
    def shape(self, x: Value) -> TensorShape:
        """The sizes of a tensor. Raises UnsupportedError where the number of axes is not known."""
        if x.shape is None:
            raise self.node.refuse("needs the shape of its input, which is not known", code=UNKNOWN_SHAPE)
        return TensorShape(known_shape(x, sizes=True))

    def attribute(self, x: Any, name: str) -> Any:
        """``x.shape``, ``x.ndim``, ``x.T``, a method."""
        if name in ("shape", "_keras_shape", "_shape"):
            return self.shape(x)
        if name == "ndim":
            return len(self.shape(x))
        if name == "dtype":
            return str(x.dtype)
        if name == "T":
            return self.operation("Transpose", x)
        if name in _TENSOR_METHODS or name in ("get_shape", "dimshuffle", "set_shape"):
            return Method(x, name)
        raise CodeRefused(f"reads the attribute {name!r} of a tensor")

    def method(self, x: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """``x.name(*args, **kwargs)``."""
        if name == "get_shape" and not args and not kwargs:
            return self.shape(x)
        if name == "set_shape":
            return None
        if name in ("reshape", "transpose") and len(args) > 1:
            args = [tuple(args)]
        if name == "dimshuffle" or name not in _TENSOR_METHODS:
            raise CodeRefused(f"calls the method {name!r} of a tensor")
        if name in ("sum", "mean", "max", "min"):
            return self.call(f"keras.ops.{name}", [x, *args], kwargs)
        return self.operation(_TENSOR_METHODS[name], x, *args, **kwargs)

    # ---- functions
    def call(self, path: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A function by its dotted name. Raises CodeRefused for one that has no meaning here."""
        name = canonical_path(path)
        found = meanings().get(name)
        if found is not None:
            return found(self, list(args), dict(kwargs))
        entry = lookup(name)
        try:
            if entry is not None and entry.kind in MEANINGS:
                return MEANINGS[entry.kind](self, [], entry.call.bind(args, kwargs))
            if entry is not None:
                if entry.many:
                    return self.operation(entry.kind, *args, **kwargs)
                return self.entry(name, entry, entry.call.bind(args, kwargs))
        except NotExpressible as e:
            raise CodeRefused(f"calls {name}, which {e}") from e
        module, _, last = name.rpartition(".")
        if module == "keras.activations":
            return self.activation(last, args, kwargs)
        numbers = {"math": _NUMBERS, "builtins": _NUMBERS, "numpy": _NUMPY_NUMBERS}.get(module, {})
        if last in numbers and not any(isinstance(a, Value) for a in args):
            try:
                return numbers[last](*args, **kwargs)
            except (TypeError, ValueError, ArithmeticError) as e:
                raise CodeRefused(f"{name}() fails: {e}") from e
        raise CodeRefused(f"calls {name}, which convcore does not know")

    def entry(self, name: str, entry: Entry, bound: dict[str, Any]) -> Any:
        """An operation of ``keras.ops`` under another name, with arguments that it does not have left at their defaults."""
        spec, known = OPERATIONS.get(f"ops.{entry.kind}"), signatures().get(entry.kind)
        if spec is None or known is None:
            raise CodeRefused(f"calls {name}, which convcore does not map")
        if any(isinstance(v, bool) for v in _leaves(bound.get(k) for k in ("axis", "axes"))):
            raise CodeRefused(f"calls {name} with truth values for axes")  # tf.reverse of TensorFlow before 1.0
        dtype = entry.dtype
        if not name.startswith("keras.ops."):
            tensors = [v for v in _leaves(bound.values()) if isinstance(v, Value)]
            if spec.promote == "float" and not all(_floats(v) for v in tensors):
                raise CodeRefused(f"calls {name} with integers")
            small = any(not _floats(v) and v.dtype is not None and v.dtype.itemsize < 4 for v in tensors)
            if entry.kind in ("Sum", "Prod", "Cumsum", "Cumprod") and small:
                raise CodeRefused(f"calls {name} with small integers, whose sums wrap around")
            if bound.get("data_format") in ("NHWC", "NCHW"):
                bound["data_format"] = {"NHWC": "channels_last", "NCHW": "channels_first"}[bound["data_format"]]
            wanted = bound.pop("output_type", None)
            dtype = str(wanted) if wanted is not None else dtype
        defaults = {p.ours: p.default for p in entry.call.parameters}
        ours = {p.name for p in known.parameters}
        for key in [k for k in bound if k not in ours]:
            value = bound.pop(key)
            if key != "name" and not (value is defaults[key] or value == defaults[key]):
                raise CodeRefused(f"calls {name} with {key}")
        y = self.operation(entry.kind, **bound)
        return self.g.b.cast(y, to=dtype) if dtype and y.dtype is not DType(dtype) else y

    def activation(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A function of ``keras.activations`` with its defaults."""
        key = name_of(name)
        if key == "hard_sigmoid" and self.g.era != "keras3":
            key = "hard_sigmoid_keras2"
        known = ACTIVATIONS.get(key) if key is not None else None
        if known is None or not known.op or len(args) != 1 or kwargs:
            raise CodeRefused(f"calls keras.activations.{name} with arguments that convcore does not know")
        if not isinstance(args[0], Value) or not _floats(args[0]):
            raise CodeRefused(f"calls keras.activations.{name} with something else than a floating tensor")
        return self.g.b.op(known.op, args[0], **known.attrs)

    def operation(self, kind: str, /, *args: Any, **kwargs: Any) -> Any:
        """An operation of ``keras.ops`` by its class. Raises CodeRefused."""
        spec, call = OPERATIONS.get(f"ops.{kind}"), signatures().get(kind)
        name = f"{self.node.name}/{kind.lower()}"
        attrs: dict[str, Any] = {}
        if kind == "Einsum":
            attrs, args = {"subscripts": args[0]}, args[1:]
        elif spec is not None and call is not None and spec.tensors[:1] != ("*x",):
            try:
                bound = call.bind(args, kwargs)
            except NotExpressible as e:
                raise CodeRefused(f"calls keras.ops.{kind}, which {e}") from e
            passed = {p.name for p in spec.call.parameters}
            given = {k: v for k, v in bound.items() if k in passed}
            attrs = {k: v for k, v in bound.items() if k not in passed}
            args, kwargs = (), given
        attrs |= {"args": list(args), "kwargs": kwargs}
        node = ForeignNode(f"ops.{kind}", name, [], attrs, origin=self.node.origin)
        try:
            outs = self.g.apply(prepare(self.g, node))
        except NotExpressible as e:
            if e.code == UNKNOWN_SHAPE:
                raise self.node.refuse(str(e), code=UNKNOWN_SHAPE) from e
            raise CodeRefused(f"keras.ops.{kind} {e}") from e
        except UnsupportedError as e:
            if any(p.code == UNKNOWN_SHAPE for p in e.problems):
                raise
            raise CodeRefused("; ".join(dict.fromkeys(f"keras.ops.{kind} {p.why}" for p in e.problems))) from e
        many = kind in ("Split", "Unstack", "ArraySplit", "TopK", "Moments", "Meshgrid")
        return list(outs) if many or len(outs) != 1 else outs[0]


def _floats(v: Value) -> bool:
    return v.dtype is not None and v.dtype.is_float


def _leaves(items: Any) -> list[Any]:
    found: list[Any] = []
    for v in items:
        found += _leaves(v) if isinstance(v, (list, tuple)) else [v]
    return found

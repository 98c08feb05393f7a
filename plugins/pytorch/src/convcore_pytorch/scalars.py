"""Numbers of a program: sizes, Python's arithmetic on them, lists. What is no number is left to the rules."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from convcore.plugin import Dim, DType, Problem, UnsupportedError, Value, dim_max, product

from .files.program import Constant, Device, ElementType
from .memory import Handle, Memory

__all__ = ["NONE", "NUMBERS", "compute"]

NONE: Any = object()
"""This is not one of ours."""


def _size(x: Any, dim: Any) -> Any:
    """Of an axis whose number is known; NONE for one that depends on the data, or that is none."""
    shape = x.read().shape
    known = shape is not None and type(dim) is int and -len(shape) <= dim < len(shape) and shape[dim] is not None
    return shape[dim] if known else NONE


def _sizes(x: Any) -> Any:
    v = x.read()
    return NONE if v.shape is None or None in v.shape else list(v.shape)


def _exact(x: Any, y: Any) -> Any:
    """``/`` of sizes: a float; only of numbers that are known."""
    return NONE if isinstance(x, Dim) or isinstance(y, Dim) else x / y


def _equal(op: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Any]:
    def compare(x: Any, y: Any) -> Any:
        if isinstance(x, Dim) or isinstance(y, Dim):
            return op(x, y) if op in (operator.eq, operator.ne) and (x == y) else NONE
        return op(x, y)

    return compare


def _item(x: Any) -> Any:
    v = x.read() if isinstance(x, Handle) else x
    if isinstance(v, Value):
        if v.tensor is not None and v.tensor.size == 1:
            return v.tensor.numpy().reshape(-1)[0].item()
        if v.producer is not None and v.producer.op == "dim_value":
            return v.producer.attrs["value"]
        return NONE
    return v


def _whole(x: Any) -> Any:
    return x if isinstance(x, (int, Dim)) else int(x)


def _float(x: Any) -> Any:
    return NONE if isinstance(x, Dim) else float(x)


def _known(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Of numbers that are known; sizes that are not give no number."""
    return lambda *a: NONE if any(isinstance(x, Dim) for x in a) else fn(*a)


def _within(held: Any, item: Any) -> Any:
    return NONE if any(isinstance(x, Dim) for x in (*held, item)) else item in held


def _kept(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A rounding, which leaves sizes as they are."""
    return lambda x: x if isinstance(x, Dim) else fn(x)


def _is_float(x: Any) -> Any:
    d = x.read().dtype
    return NONE if d is None else d.is_float


def _rank(x: Any) -> Any:
    r = x.read().rank
    return NONE if r is None else r


def _numel(x: Any) -> Any:
    s = _sizes(x)
    return s if s is NONE else product(s)


def _dtype(x: Any) -> Any:
    d = x.read().dtype
    return NONE if d is None else ElementType(str(d))


def _same(x: Any) -> Any:
    return x


_OPS: dict[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "floordiv": operator.floordiv, "mod": operator.mod,
    "truediv": _exact, "neg": operator.neg, "eq": _equal(operator.eq), "ne": _equal(operator.ne), "lt": _equal(operator.lt),
    "le": _equal(operator.le), "gt": _equal(operator.gt), "ge": _equal(operator.ge), "pow": _known(operator.pow),
    "and_": operator.and_, "or_": operator.or_, "not_": operator.not_,
}  # fmt: skip

_OF_TENSORS: dict[str, Callable[..., Any]] = {
    "aten.sym_size.int": _size, "aten.size.int": _size, "aten.size": _sizes, "aten.dim": _rank, "aten.numel": _numel,
    "aten.len.t": len, "aten.len.Tensor": lambda x: _size(x, 0), "aten.Int.Tensor": _item, "aten.IntImplicit": _item,
    "aten.Float.Tensor": _item, "aten.Bool.Tensor": _item, "aten.item": _item, "aten._local_scalar_dense": _item,
    "aten.ScalarImplicit": _item, "prim.NumToTensor.Scalar": _same, "prim.NumToTensor": _same, "prim.data": _same,
    "prim.unchecked_cast": _same, "aten.__isnot__": operator.is_not, "aten.__is__": operator.is_,
    "aten.is_floating_point": _is_float, "prim.device": lambda x: Device("cpu"),
    "prim.layout": lambda x: Constant("layout", "strided"), "prim.dtype": _dtype, "prim.is_cuda": lambda x: False,
    "prim.requires_grad": lambda x: False,
}  # fmt: skip

_OF_NUMBERS: dict[str, Callable[..., Any]] = {
    "aten.Int.float": int, "aten.Int.bool": int, "aten.Int.Scalar": _whole, "aten.Float.int": _float, "aten.Float.Scalar": _float,
    "aten.Bool.int": _known(bool), "aten.Bool.float": bool, "aten.Float.bool": float, "aten.__contains__.int_list": _within,
    "aten.__contains__.float_list": _within, "aten.__contains__.str_list": _within,
    "aten.floordiv.int": operator.floordiv, "aten.__not__": operator.not_, "aten.__and__.bool": operator.and_,
    "aten.__or__.bool": operator.or_, "aten.ceil.float": _kept(math.ceil), "aten.floor.float": _kept(math.floor),
    "aten.ceil.int": _same, "aten.sqrt.int": _known(math.sqrt), "math.ceil": _kept(math.ceil), "math.floor": _kept(math.floor),
    "math.trunc": _kept(math.trunc), "prim.max.int": dim_max, "prim.min.int": lambda a, b: -dim_max(-a, -b),
}  # fmt: skip

NUMBERS = {"int": DType.INT64, "float": DType.FLOAT32, "bool": DType.BOOL}
"""What numbers that depend on the data are tensors of, by their kind."""

_OF_DATA = {
    "add": "add", "sub": "sub", "mul": "mul", "floordiv": "floor_div", "remainder": "floor_mod", "mod": "floor_mod", "neg": "neg",
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "div": "div",
    "__and__": "and", "__or__": "or", "__not__": "not", "max": "maximum", "min": "minimum",
}  # fmt: skip
"""Arithmetic of numbers that depend on the data, as ops on tensors without axes."""
_OF_SCALARS = {"add", "sub", "mul", "div", "floordiv", "remainder", "eq", "ne", "lt", "le", "gt", "ge"}
"""Those whose overload without a name takes numbers of any kind."""
_COMPARES = {"eq", "ne", "lt", "le", "gt", "ge"}

_SUFFIX = ("int", "float", "int_float", "float_int", "bool", "str", "default")


def _getitem(x: Any, i: Any) -> Any:
    return x[i] if isinstance(x, (list, tuple)) and isinstance(i, int) and -len(x) <= i < len(x) else NONE


_OF_LISTS: dict[str, Callable[..., Any]] = {
    "aten.list.t": list, "aten.slice.t": lambda x, start=None, stop=None, step=1: list(x)[start:stop:step],
    "aten.add.t": lambda a, b: [*a, *b] if isinstance(b, (list, tuple)) else NONE,
}  # fmt: skip
"""Lists of what is known, or of sizes, made of others."""


def _whole_numbers(fn: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def compute(a: Any, b: Any, alpha: Any = 1) -> Any:
        return fn(a, b) if all(type(v) is int or isinstance(v, Dim) for v in (a, b)) and alpha == 1 else NONE

    return compute


def _divided(a: Any, b: Any, rounding_mode: Any = None) -> Any:
    """Down to a whole number; of what is not negative towards 0 is the same."""
    positive = type(b) is int and b > 0 and ((type(a) is int and a >= 0) or (isinstance(a, Dim) and a.is_name))
    return a // b if positive and rounding_mode in ("floor", "trunc") else NONE


_TRACED: dict[str, Callable[..., Any]] = {
    "aten.mul.Tensor": _whole_numbers(operator.mul), "aten.add.Tensor": _whole_numbers(operator.add),
    "aten.sub.Tensor": _whole_numbers(operator.sub), "aten.div.Tensor_mode": _divided,
    "aten.floor_divide": lambda a, b: _divided(a, b, "floor"),
    "aten.remainder.Scalar": _whole_numbers(lambda a, b: a % b if type(b) is int and b > 0 else NONE),
    "aten.rsub.Scalar": _whole_numbers(lambda a, b: b - a),
    "aten.neg": lambda a: -a if type(a) is int or isinstance(a, Dim) else NONE,
}  # fmt: skip
"""Arithmetic of sizes, which tracing makes tensors of (``prim.NumToTensor``), with constants."""


def _simple(a: Any) -> bool:
    """What a list takes beside itself: another list, a known place in it, or none."""
    return a is None or isinstance(a, (list, tuple)) or type(a) is int


def compute(frame: Any, kind: str, arguments: Mapping[str, Any]) -> Any:
    """The number, list or passed-through value of a node, NONE where it has to be computed by a rule."""
    args = list(arguments.values())
    try:
        return _computed(frame, kind, args)
    except (ArithmeticError, ValueError) as e:
        raise UnsupportedError(Problem(frame.path or kind, kind, f"cannot be computed: {e}", "", "raises")) from e


def _computed(frame: Any, kind: str, args: list[Any]) -> Any:
    unknown = any(isinstance(a, Handle) for a in args)  # a number that depends on the data
    space, _, rest = kind.partition(".")
    if kind in ("_operator.getitem", "aten.__getitem__.t"):
        return _getitem(*args)
    if space == "_operator":
        python = _OPS.get(rest)
        return NONE if python is None or unknown else python(*args)
    if kind in ("prim.ListConstruct", "prim.TupleConstruct"):
        return args
    if kind in _OF_LISTS and isinstance(args[0], (list, tuple)) and all(_simple(a) for a in args[1:]):
        return _OF_LISTS[kind](*args)
    plain = kind in _TRACED and frame.loader.script and not all(isinstance(a, Handle) for a in args[:2])
    if plain and all(a.read().shape == () for a in args if isinstance(a, Handle)):
        found = _TRACED[kind](*(_item(a) for a in args))
        if found is not NONE:
            return found
    fn: Any = _OF_TENSORS.get(kind)
    if fn is None and not unknown:
        fn = _OF_NUMBERS.get(kind)
    if fn is None and space == "aten" and not unknown:
        base, _, overload = rest.partition(".")
        if overload in _SUFFIX[:-2] and base in _OPS:
            fn = _OPS[base]
        elif overload in _SUFFIX[:-2] and base == "div":
            fn = _exact
        elif overload in _SUFFIX[:-2] and base == "remainder":
            fn = operator.mod
    if fn is _item and isinstance(args[0], Handle):
        found = _item(args[0])
        return _number(frame, kind, args[0]) if found is NONE else found
    found = NONE if fn is None else fn(*args)
    return _of_data(frame, space, rest, args) if found is NONE else found


def _of_data(frame: Any, space: str, rest: str, args: list[Any]) -> Any:
    """Arithmetic on numbers some of which depend on the data or on symbolic sizes (``aten.add.int``, ``prim.max``)."""
    base, _, overload = rest.partition(".")
    scalar = overload in _SUFFIX[:-2] or base == "__not__" or (not overload and base in _OF_SCALARS)
    plain = (space == "aten" and scalar) or (space == "prim" and base in ("max", "min"))
    cast = {"Int": "int", "Float": "float", "Bool": "bool"}.get(base) if space == "aten" and overload in _SUFFIX[:-2] else None
    if not args or (cast is None and (not plain or base not in _OF_DATA)):
        return NONE
    values = [_tensor(frame, a) for a in args]
    if any(v is None for v in values):
        return NONE
    kinds = {v.dtype for v in values}
    if cast is not None:
        v = values[0]
        return Handle(Memory(frame.b.not_equal(v, frame.b.like(v, 0)) if cast == "bool" and v.dtype is not DType.BOOL
                             else frame.g.cast(v, NUMBERS[cast])))  # fmt: skip
    if base == "div":
        dtype = DType.FLOAT32
    elif base.startswith("__") or (kinds == {DType.BOOL} and base in _COMPARES):
        dtype = DType.BOOL
    else:
        dtype = DType.FLOAT32 if any(d is not None and d.is_float for d in kinds) else DType.INT64
    return Handle(Memory(frame.b.op(_OF_DATA[base], *(frame.g.cast(v, dtype) for v in values))))


def _tensor(frame: Any, a: Any) -> Any:
    """A number as a tensor without axes; None for what is no number."""
    if isinstance(a, Handle):
        v = a.read()
        return v if v.shape == () and v.dtype in (DType.BOOL, DType.INT64, DType.FLOAT32) else None
    return frame.g.scalar(a, None) if isinstance(a, (bool, int, float, Dim)) else None


_TYPES = {"Bool": DType.BOOL, "Int": DType.INT64, "IntImplicit": DType.INT64, "Float": DType.FLOAT32}


def _number(frame: Any, kind: str, x: Handle) -> Any:
    """A number that depends on the data: a tensor without axes."""
    v: Value = frame.g.reshape(x.read(), ())
    name = kind.split(".")[1]
    if name == "Bool" and v.dtype != DType.BOOL:
        v = frame.b.not_equal(v, frame.b.like(v, 0))
    return Handle(Memory(frame.g.cast(v, _TYPES.get(name, v.dtype))))

"""numpy on plain arrays, as layers use it to make tables: computed, within bounds, by a list of functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..values import BINARY, COMPARE, CodeRefused, Method, what_is

if TYPE_CHECKING:
    from .domain import SourceDomain

__all__ = ["BUILTIN", "attribute", "binary", "call", "inplace", "item", "method", "set_item", "unary"]

MAX_SIZE = 1 << 22
"""Elements of an array."""

_CREATE = {"zeros", "ones", "empty", "full", "eye", "identity", "arange", "linspace", "tri", "logspace"}
_SAME_SIZE = {
    "abs", "absolute", "add", "subtract", "multiply", "divide", "true_divide", "floor_divide", "power", "mod", "sqrt", "square",
    "exp", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "tanh", "sinh", "cosh", "floor", "ceil", "round", "sign",
    "maximum", "minimum", "where", "clip", "equal", "not_equal", "greater", "less", "greater_equal", "less_equal", "logical_and",
    "logical_or", "logical_not", "array", "asarray", "ascontiguousarray", "copy", "zeros_like", "ones_like", "full_like",
    "float32", "float64", "float16", "int32", "int64", "bool_", "prod", "sum", "mean", "std", "var", "max", "min", "amax", "amin",
    "argmax", "argmin", "cumsum", "cumprod", "any", "all", "dot", "reshape", "transpose", "squeeze", "expand_dims", "swapaxes",
    "moveaxis", "ravel", "flip", "roll", "triu", "tril", "diag", "sort", "argsort", "concatenate", "stack", "hstack", "vstack",
    "meshgrid", "atleast_1d", "atleast_2d", "deg2rad", "rad2deg", "isclose", "allclose", "array_equal", "ndim", "shape", "size",
    "broadcast_to", "int8", "uint8", "int16", "reciprocal", "negative", "diff", "sinc", "hypot", "float_", "split", "ndindex",
}  # fmt: skip
_PRODUCT = {"outer", "matmul", "tensordot", "kron", "tile", "repeat", "multiply.outer"}
_METHODS = {
    "astype", "reshape", "transpose", "sum", "mean", "max", "min", "std", "var", "prod", "copy", "flatten", "ravel", "tolist",
    "squeeze", "swapaxes", "argmax", "argmin", "cumsum", "item", "round", "clip", "repeat", "dot", "any", "all",
}  # fmt: skip
_ATTRIBUTES = {"shape", "ndim", "size", "T", "dtype"}
BUILTIN: dict[str, Callable[..., Any]] = {"len": len, "abs": abs, "float": float, "int": int, "sum": sum, "max": max, "min": min}


def _bounded(x: Any) -> Any:
    """A result, plain numbers as Python's."""
    if isinstance(x, np.generic):
        x = np.asarray(x)
    if isinstance(x, np.ndarray):
        if x.size > MAX_SIZE:
            raise CodeRefused(f"makes an array of more than {MAX_SIZE} elements")
        if x.dtype.kind not in "bifu":
            raise CodeRefused(f"makes an array of {x.dtype}")
    if isinstance(x, (list, tuple)):
        return type(x)(_bounded(v) for v in x) if type(x) in (list, tuple) else [_bounded(v) for v in x]
    return x


def _computed(work: Callable[[], Any], what: str) -> Any:
    try:
        with np.errstate(all="ignore"):
            return _bounded(work())
    except CodeRefused:
        raise
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as e:
        raise CodeRefused(f"{what} fails: {e}") from e


def binary(op: str, x: Any, y: Any) -> Any:
    """An operator of two arrays, or of an array and a number."""
    for v in (x, y):
        if not isinstance(v, (np.ndarray, int, float, list, tuple)):
            raise CodeRefused(f"computes {op} of an array and {what_is(v)}")
    work = BINARY.get(op) or COMPARE[op]
    sizes = [np.shape(v) for v in (x, y)]
    if op == "@":
        _fits(math.prod(sizes[0]) * math.prod(sizes[1][-1:]))
    else:
        try:
            _fits(math.prod(np.broadcast_shapes(*sizes)))
        except ValueError as e:
            raise CodeRefused(f"computes {op} of arrays that do not fit: {e}") from e
    return _computed(lambda: work(x, y), f"{op} of arrays")


def inplace(op: str, x: np.ndarray, y: Any) -> Any:
    """``x op= y``: the array itself is changed, under all its names."""
    made = binary(op, x, y)

    def work() -> np.ndarray:
        if np.shape(made) != x.shape or not np.can_cast(np.asarray(made).dtype, x.dtype, "same_kind"):
            raise ValueError("the result does not fit the array")
        x[...] = made
        return x

    return _computed(work, f"{op}= of an array")


def unary(op: str, x: np.ndarray) -> Any:
    """``-x``, ``+x``, ``~x``."""
    return _computed(lambda: {"-": np.negative, "+": np.positive, "~": np.invert}[op](x), f"{op} of an array")


def item(x: np.ndarray, key: Any) -> Any:
    """``x[key]``; a number of an array without axes stays one."""
    _plain_key(key)
    return _computed(lambda: x[key], "taking items of an array")


def set_item(x: np.ndarray, key: Any, value: Any) -> None:
    """``x[key] = value``."""
    _plain_key(key)
    if not isinstance(value, (np.ndarray, int, float, list, tuple)):
        raise CodeRefused(f"sets items of an array to {what_is(value)}")

    def work() -> None:
        x[key] = value

    _computed(work, "setting items of an array")


def _plain_key(key: Any) -> None:
    for k in key if isinstance(key, tuple) else (key,):
        parts = (k.start, k.stop, k.step) if isinstance(k, slice) else (k,)
        for p in parts:
            if not (p is None or p is Ellipsis or isinstance(p, (int, np.ndarray, list))):
                raise CodeRefused(f"takes items of an array by {what_is(p)}")


def attribute(x: np.ndarray, name: str) -> Any:
    """``x.shape`` and its like, or a method."""
    if name == "dtype":
        return str(x.dtype)
    if name in _ATTRIBUTES:
        return getattr(x, name)
    if name in _METHODS:
        return Method(x, name)
    raise CodeRefused(f"reads the attribute {name!r} of an array")


def method(d: SourceDomain, x: np.ndarray, name: str, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    """``x.name(...)``."""
    if name not in _METHODS:
        raise CodeRefused(f"calls the method {name!r} of an array")
    if name == "repeat":
        return call(d, "repeat", [x, *args], dict(kwargs))
    if d.symbolic([args, dict(kwargs)]):
        raise CodeRefused(f"calls the method {name!r} of an array with a tensor")
    args, given = [_argument(a) for a in args], {k: _argument(v) for k, v in kwargs.items()}
    return _computed(lambda: getattr(x, name)(*args, **given), f"the method {name!r} of an array")


def known(name: str) -> bool:
    """Whether a function of numpy is on the list."""
    return name in _CREATE or name in _SAME_SIZE or name in _PRODUCT


def call(d: SourceDomain, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A function of numpy by its name, on plain values. Raises CodeRefused."""
    if not known(name):
        raise CodeRefused(f"calls numpy.{name}, which convcore does not know")
    args, given = [_argument(a) for a in args], {k: _argument(v) for k, v in kwargs.items()}
    for v in (*args, *given.values()):
        _plain(v)
    if name in _CREATE:
        _fits(_created(name, args, given))
    elif name in _PRODUCT:
        counts = [v for v in (*args[1:], *given.values()) if name in ("tile", "repeat")]
        factor = math.prod(int(n) for v in counts for n in np.ravel(np.asarray(v)) if isinstance(n, (int, np.integer)))
        _fits(max(1, abs(factor)) * np.size(args[0]) if counts else math.prod(np.size(a) for a in args[:2]))
    elif name == "broadcast_to":
        _fits(math.prod(np.atleast_1d(args[1] if len(args) > 1 else given["shape"]).tolist()))
    elif name not in ("array", "asarray", "concatenate", "stack", "hstack", "vstack", "full_like"):
        shapes = [np.shape(a) for a in args if isinstance(a, (np.ndarray, int, float))]
        if name in ("meshgrid", "diag"):
            _fits(max(1, math.prod(math.prod(s) for s in shapes)) ** (2 if name == "diag" else 1))
        else:
            _fits(sum(math.prod(s) for s in shapes) + math.prod(max(s[0] if s else 1, 1) for s in shapes[:2]) * 0)
            _fits(_broadcast(shapes))
    if name == "float_":
        name = "float64"
    if name == "ndindex":
        return [tuple(i) for i in np.ndindex(*args)]
    return _computed(lambda: getattr(np, name)(*args, **given), f"numpy.{name}")


def _broadcast(shapes: list[Any]) -> int:
    try:
        return math.prod(np.broadcast_shapes(*shapes)) if shapes else 1
    except ValueError:
        return 1


def _argument(v: Any) -> Any:
    path = getattr(v, "path", "")
    if path in ("builtins.float", "builtins.int", "builtins.bool"):
        return {"float": float, "int": int, "bool": bool}[path.removeprefix("builtins.")]
    return v


def _plain(v: Any) -> None:
    if isinstance(v, (list, tuple)):
        for x in v:
            _plain(x)
    elif not (v is None or v in (float, int, bool) if isinstance(v, type) else v is None):
        if not isinstance(v, (np.ndarray, np.generic, int, float, str, bool, slice)):
            raise CodeRefused(f"calls numpy with {what_is(v)}")


def _created(name: str, args: list[Any], kwargs: Mapping[str, Any]) -> float:
    if name in ("zeros", "ones", "empty", "full"):
        shape = args[0] if args else kwargs.get("shape", ())
        return float(math.prod(np.atleast_1d(np.asarray(shape, dtype=np.float64)).tolist()))
    if name in ("eye", "identity", "tri"):
        sides = [float(n) for n in (*args[:2], *map(kwargs.get, ("N", "n", "M"))) if isinstance(n, (int, np.integer))]
        return math.prod(sides * 2 if len(sides) == 1 else sides)
    if name in ("linspace", "logspace"):
        return float(args[2] if len(args) > 2 else kwargs.get("num", 50)) * np.size(args[0])
    numbers = [float(a) for a in args if isinstance(a, (int, float))]
    start, stop, step = (0.0, numbers[0], 1.0) if len(numbers) == 1 else (*numbers[:2], numbers[2] if len(numbers) > 2 else 1.0)
    return abs((stop - start) / (float(kwargs.get("step", step)) or 1e-30))


def _fits(size: float) -> None:
    if not size <= MAX_SIZE:
        raise CodeRefused(f"makes an array of more than {MAX_SIZE} elements")

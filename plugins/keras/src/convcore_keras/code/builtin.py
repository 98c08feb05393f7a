"""Functions and methods that Python itself has, on what symbolic code works with."""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .values import MAX_ITEMS, CodeRefused, Method, Name, what_is

if TYPE_CHECKING:
    from .domain import Domain

__all__ = ["BUILTINS", "CONCRETE", "ITERATING", "METHODS", "NAMED_CONSTANTS", "DTYPES", "concrete_method"]

METHODS: dict[str, tuple[type, ...]] = {
    "append": (list,), "extend": (list,), "insert": (list,), "index": (list, tuple), "copy": (list, dict), "items": (dict,),
    "keys": (dict,), "values": (dict,), "get": (dict,), "update": (dict,), "lower": (str,), "upper": (str,),
    "as_list": (tuple, list),
    "startswith": (str,), "endswith": (str,), "join": (str,), "pop": (list, dict), "count": (list, tuple), "format": (str,),
    "split": (str,), "replace": (str,), "strip": (str,), "setdefault": (dict,), "reverse": (list,),
}  # fmt: skip


def concrete_method(d: Domain, f: Method, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    owner = f.owner
    if f.name == "as_list":  # of a TensorShape
        return list(owner)
    if f.name in ("items", "keys", "values"):
        return list(getattr(owner, f.name)())
    if f.name == "extend":
        args = [d.iterate(args[0])] if len(args) == 1 else args
        if len(owner) + len(args[0] if args else ()) > MAX_ITEMS:
            raise CodeRefused(f"makes a list of more than {MAX_ITEMS} items")
    if f.name in ("format", "replace") or (f.name == "join" and args and not all(isinstance(x, str) for x in d.iterate(args[0]))):
        raise CodeRefused(f"calls the method {f.name!r} of a text")
    if f.name in ("index", "count") and d.symbolic([owner, args]):
        raise CodeRefused("looks for a tensor in a sequence")
    try:
        return getattr(owner, f.name)(*args, **kwargs)
    except (TypeError, ValueError, LookupError) as e:
        raise CodeRefused(f"the method {f.name!r} of {what_is(owner)} fails: {e}") from e


def _len(d: Domain, args: list[Any], _: Mapping[str, Any]) -> Any:
    if len(args) != 1:
        raise CodeRefused("calls len() with other than one argument")
    if d.ops.is_tensor(args[0]):
        return d.ops.call("builtins.len", args, {})
    if not isinstance(args[0], (list, tuple, dict, str, range)):
        raise CodeRefused(f"takes the length of {what_is(args[0])}")
    return len(args[0])


def _range(d: Domain, args: list[Any], _: Mapping[str, Any]) -> Any:
    if not args or not all(isinstance(a, int) for a in args):
        raise CodeRefused("loops over a range that is not known")
    try:
        return range(*args)
    except (TypeError, ValueError) as e:
        raise CodeRefused(f"range() fails: {e}") from e


def _enumerate(d: Domain, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    start = args[1] if len(args) > 1 else kwargs.get("start", 0)
    return list(enumerate(d.iterate(args[0]), start))


def _sum(d: Domain, args: list[Any], _: Mapping[str, Any]) -> Any:
    total = args[1] if len(args) > 1 else 0
    for x in d.iterate(args[0]):
        total = x if isinstance(total, int) and total == 0 and d.ops.is_tensor(x) else d.binary("+", total, x)
    return total


def _isinstance(d: Domain, args: list[Any], _: Mapping[str, Any]) -> Any:
    value, kinds = args[0], args[1] if isinstance(args[1], tuple) else (args[1],)
    known = {"int": int, "float": float, "str": str, "list": list, "tuple": tuple, "dict": dict, "bool": bool}
    if d.ops.is_size(value):
        raise CodeRefused("asks for the type of a size that is not known")
    found = False
    for kind in kinds:
        name = kind.path if isinstance(kind, Name) else ""
        python = known.get(name.removeprefix("builtins."))
        last = name.rpartition(".")[2]
        if python is None and last not in ("Tensor", "SparseTensor", "RaggedTensor", "Variable"):
            raise CodeRefused(f"asks whether something is a {name.removeprefix('global.') or what_is(kind)}")
        if python in (list, tuple) and isinstance(value, tuple) and type(value) is not tuple:
            raise CodeRefused("asks whether sizes, or a captured sequence, are a list or a tuple")
        found |= last == "Tensor" and d.ops.is_tensor(value) if python is None else isinstance(value, python)
    return found


ITERATING: dict[str, Callable[[Domain, list[Any], Mapping[str, Any]], Any]] = {
    "len": _len, "range": _range, "enumerate": _enumerate, "sum": _sum, "isinstance": _isinstance,
    "xrange": _range,
    "list": lambda d, a, k: d.iterate(a[0]) if a else [],
    "tuple": lambda d, a, k: tuple(d.iterate(a[0])) if a else (),
    "zip": lambda d, a, k: list(zip(*[d.iterate(x) for x in a])),
    "reversed": lambda d, a, k: list(reversed(d.iterate(a[0]))),
    "map": lambda d, a, k: [d.call(a[0], [x], {}) for x in d.iterate(a[1])],
    "dict": lambda d, a, k: dict(*a, **k) if all(isinstance(x, (dict, list)) for x in a) else _no("calls dict()"),
    "slice": lambda d, a, k: slice(*a),
    "print": lambda d, a, k: None,
}  # fmt: skip
CONCRETE: dict[str, Callable[..., Any]] = {
    "int": int, "float": float, "bool": bool, "abs": abs, "min": min, "max": max, "round": round, "str": str, "sorted": sorted,
    "all": all, "any": any, "divmod": divmod, "long": int,
}  # fmt: skip
BUILTINS = frozenset({*ITERATING, *CONCRETE})
NAMED_CONSTANTS: dict[str, Any] = {
    **{f"string.{n}": getattr(string, n) for n in ("ascii_letters", "ascii_lowercase", "ascii_uppercase", "digits")},
    "math.pi": math.pi, "math.e": math.e, "numpy.pi": math.pi, "math.inf": math.inf, "numpy.inf": math.inf, "numpy.e": math.e,
    "tensorflow.newaxis": None, "numpy.newaxis": None,
}  # fmt: skip


DTYPES = frozenset(
    ["float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
     "bool"]
)  # fmt: skip


def _no(what: str) -> Any:
    raise CodeRefused(what)

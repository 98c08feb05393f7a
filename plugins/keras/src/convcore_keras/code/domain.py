"""Python's own operations on what symbolic code works with: numbers, text, sequences, names of functions, and tensors.

Everything concrete is computed with small bounds; everything that touches a tensor goes to :class:`TensorOps`. A branch on a
tensor, an unknown name that is called, an attribute that is no part of a model's arithmetic: each is refused where it happens,
also if its result would not be used.
"""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = [
    "BINARY",
    "COMPARE",
    "CodeRefused",
    "Domain",
    "Invocable",
    "Method",
    "Misread",
    "Name",
    "Options",
    "Stored",
    "TensorOps",
]

MAX_STEPS = 20_000
MAX_ITEMS = 4096
MAX_INT = 1 << 80
MAX_CALLS = 24
"""Functions inside each other."""

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "**": operator.pow, "&": operator.and_, "|": operator.or_, "^": operator.xor, "<<": operator.lshift,
    ">>": operator.rshift, "@": operator.matmul,
}  # fmt: skip
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_UNARY: dict[str, Callable[[Any], Any]] = {"-": operator.neg, "+": operator.pos, "~": operator.invert}


class CodeRefused(ValueError):
    """What the code does has no meaning as a graph, or none that convcore knows; the text says which construct."""


class Misread(CodeRefused):
    """The bytes make no sense under this version of Python; under another they may."""


@dataclass(frozen=True)
class Name:
    """A dotted name that the code uses and that stays a name: ``tensorflow.nn.relu``, ``builtins.len``."""

    path: str

    def __str__(self) -> str:
        return self.path.removeprefix("builtins.").removeprefix("global.")


@dataclass(frozen=True)
class Method:
    """A method of a tensor, list, dict or text, not called yet."""

    owner: Any
    name: str


class Stored(tuple[Any, ...]):
    """A captured value or default that was a list, a tuple or an array: files write all three as a list, and Python's own
    operators mean other things by them (``a * 2`` repeats a list and doubles an array)."""

    __slots__ = ()
    what = "a captured sequence, a list or an array: the file does not tell which"

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return type(self)(found) if isinstance(key, slice) else found

    def ambiguous(self, op: str, other: Any) -> bool:
        """Whether ``op`` with ``other`` gives one thing for a list and another for an array.

        A sum is certainly a list where the sizes would not fit an array, or where whole numbers (sizes) stand beside a literal.
        """
        if op == "+" and isinstance(other, (list, tuple)):
            whole = all(isinstance(v, int) and not isinstance(v, bool) for v in self)
            fits = len(self) == len(other) or 1 in (len(self), len(other))
            return fits and (isinstance(other, Stored) or not whole)
        return op == "*" or (op in COMPARE and isinstance(other, (int, float)))


class Invocable:
    """What symbolic code can call besides names and methods: a function of the code itself, a layer, a class."""

    @abstractmethod
    def invoke(self, domain: Domain, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The result of the call."""

    def attribute(self, domain: Domain, name: str) -> Any:
        """An attribute of it."""
        raise CodeRefused(f"reads the attribute {name!r} of a function")


@dataclass(frozen=True)
class Options:
    """What is known of the world around the code: ``roots`` are names that stand for modules (``{"K": "keras.backend"}``)."""

    roots: Mapping[str, str]
    modules: frozenset[str]
    """First names of modules that may be imported, as names only."""


class TensorOps(Protocol):
    """What tensors do; each method raises CodeRefused for what has no meaning."""

    def is_tensor(self, x: Any) -> bool: ...
    def is_size(self, x: Any) -> bool: ...
    def binary(self, op: str, x: Any, y: Any) -> Any: ...
    def unary(self, op: str, x: Any) -> Any: ...
    def compare(self, op: str, x: Any, y: Any) -> Any: ...
    def item(self, x: Any, key: Any) -> Any: ...
    def unstack(self, x: Any) -> list[Any]: ...
    def attribute(self, x: Any, name: str) -> Any: ...
    def method(self, x: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any: ...
    def call(self, path: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any: ...


class Domain:
    """One run of symbolic code; ``steps`` is what is left of its budget."""

    def __init__(self, ops: TensorOps, options: Options, steps: int = MAX_STEPS) -> None:
        self.ops, self.options, self.steps = ops, options, steps
        self.depth = 0

    # ---- bounds
    def spend(self, n: int = 1) -> None:
        """Count work. Raises CodeRefused when the budget is used up."""
        self.steps -= n
        if self.steps < 0:
            raise Misread(f"takes more than {MAX_STEPS} steps")

    def enter(self) -> None:
        """Count a call of the code's own functions; :meth:`leave` ends it."""
        self.depth += 1
        if self.depth > MAX_CALLS:
            raise CodeRefused(f"calls functions more than {MAX_CALLS} deep")

    def leave(self) -> None:
        self.depth -= 1

    # ---- what is symbolic
    def symbolic(self, x: Any) -> bool:
        """Whether a value is or holds a tensor or an unknown size."""
        if isinstance(x, (list, tuple)):
            return any(self.symbolic(v) for v in x)
        if isinstance(x, dict):
            return any(self.symbolic(v) for v in x.values())
        if isinstance(x, slice):
            return any(self.symbolic(v) for v in (x.start, x.stop, x.step))
        return self.ops.is_tensor(x) or self.ops.is_size(x)

    def truth(self, x: Any) -> bool:
        """The truth of a concrete value."""
        if self.ops.is_tensor(x):
            raise CodeRefused("branches on the value of a tensor")
        if self.ops.is_size(x):
            raise CodeRefused("branches on a size that is not known")
        if isinstance(x, (Name, Method, Invocable)):
            raise CodeRefused(f"branches on {_what(x)}")
        return bool(x)

    def same(self, x: Any, y: Any) -> bool:
        """``x is y``."""
        if self.ops.is_size(x) or self.ops.is_size(y):
            raise CodeRefused("asks whether a size that is not known is None")
        if x is None or y is None or isinstance(x, bool) or isinstance(y, bool):
            return x is y
        if isinstance(x, Name) and isinstance(y, Name):
            return x == y
        raise CodeRefused("compares objects by identity")

    # ---- operations
    def binary(self, op: str, x: Any, y: Any) -> Any:
        """``x op y``."""
        self.spend()
        if self.ops.is_tensor(x) or self.ops.is_tensor(y):
            for v in (x, y):
                if isinstance(v, (Name, Method, Invocable, str, dict)) or v is None:
                    raise CodeRefused(f"computes with a tensor and {_what(v)}")
            return self.ops.binary(op, x, y)
        for v in (x, y):
            if isinstance(v, (Name, Method, Invocable)):
                raise CodeRefused(f"computes with {_what(v)}")
        _certain(op, x, y)
        if isinstance(x, str) and op == "%":
            raise CodeRefused("formats text with %")
        if op == "**" and not (_is_number(x) and _is_number(y) and abs(y) <= 64 and abs(x) <= 1e6):
            raise CodeRefused("raises a number to a large power")
        if op == "<<" and not (isinstance(y, int) and 0 <= y <= 64):
            raise CodeRefused("shifts a number far")
        if op == "*":
            for part, n in ((x, y), (y, x)):
                if isinstance(part, (str, bytes, list, tuple)) and (not isinstance(n, int) or len(part) * n > MAX_ITEMS):
                    raise CodeRefused("repeats a sequence too often")
        try:
            z = BINARY[op](x, y)
        except (TypeError, ValueError, ArithmeticError) as e:
            raise CodeRefused(f"{_what(x)} {op} {_what(y)} fails: {e}") from e
        return self.bounded(z)

    def bounded(self, x: Any) -> Any:
        """The value, unless it is larger than a model needs."""
        if isinstance(x, int) and abs(x) > MAX_INT:
            raise CodeRefused("computes an integer that is too large")
        if isinstance(x, (str, bytes, list, tuple, dict, range)) and len(x) > MAX_ITEMS:
            raise CodeRefused(f"makes a sequence of more than {MAX_ITEMS} items")
        return x

    def inplace(self, op: str, x: Any, y: Any) -> Any:
        """``x op= y``: a list is changed where it is, under all its names."""
        if isinstance(x, dict):
            raise CodeRefused("updates a dict in place")
        if not isinstance(x, list) or op not in ("+", "*") or (op == "*" and self.ops.is_tensor(y)):
            return self.binary(op, x, y)
        x[:] = self.binary(op, x, self.iterate(y) if op == "+" else y)
        return x

    def unary(self, op: str, x: Any) -> Any:
        """``-x``, ``+x``, ``~x``."""
        self.spend()
        if self.ops.is_tensor(x):
            return self.ops.unary(op, x)
        if not (_is_number(x) or self.ops.is_size(x)):
            raise CodeRefused(f"computes {op} of {_what(x)}")
        try:
            return _UNARY[op](x)
        except TypeError as e:
            raise CodeRefused(f"computes {op} of {_what(x)}") from e

    def compare(self, op: str, x: Any, y: Any) -> Any:
        """``x op y`` for an order, ``is``, ``in`` and their opposites."""
        self.spend()
        if op in ("is", "is not"):
            return self.same(x, y) == (op == "is")
        if op in ("in", "not in"):
            if self.symbolic(x) or self.symbolic(y) or isinstance(y, (Name, Method, Invocable)):
                raise CodeRefused("asks whether a tensor is in a sequence")
            try:
                return (x in y) == (op == "in")
            except TypeError as e:
                raise CodeRefused(f"asks for {_what(x)} in {_what(y)}") from e
        if op not in COMPARE:
            raise CodeRefused(f"compares with {op!r}")
        if self.ops.is_tensor(x) or self.ops.is_tensor(y):
            if op in ("==", "!=") and (x is None or y is None or isinstance(x, str) or isinstance(y, str)):
                raise CodeRefused(f"compares a tensor with {_what(y if self.ops.is_tensor(x) else x)}")
            return self.ops.compare(op, x, y)
        if self.symbolic(x) or self.symbolic(y):
            if x is y and not isinstance(x, (list, tuple, dict)):
                return op in ("==", "<=", ">=")
            raise CodeRefused("compares a size that is not known")
        if isinstance(x, (Method, Invocable)) or isinstance(y, (Method, Invocable)):
            raise CodeRefused("compares functions")
        _certain(op, x, y)
        try:
            return COMPARE[op](x, y)
        except TypeError as e:
            raise CodeRefused(f"compares {_what(x)} and {_what(y)}") from e

    def item(self, x: Any, key: Any) -> Any:
        """``x[key]``."""
        self.spend()
        if self.ops.is_tensor(x):
            return self.ops.item(x, key)
        if isinstance(x, (list, tuple, str, range, dict)) and not self.symbolic(key):
            try:
                return x[key]
            except (LookupError, TypeError, ValueError) as e:
                raise CodeRefused(f"takes an item that is not there: {e}") from e
        raise CodeRefused(f"takes an item of {_what(x)}")

    def attribute(self, x: Any, name: str) -> Any:
        """``x.name``."""
        self.spend()
        if name.startswith("__"):
            raise CodeRefused(f"reads the attribute {name!r}")
        if isinstance(x, Name):
            if x.path.startswith(("global.", "builtins.")):
                raise CodeRefused(f"reads {name!r} of the unknown name {str(x)!r}")
            return self.named(f"{x.path}.{name}")
        if self.ops.is_tensor(x):
            return self.ops.attribute(x, name)
        if isinstance(x, Invocable):
            return x.attribute(self, name)
        if isinstance(x, _METHODS.get(name, ())):
            return Method(x, name)
        raise CodeRefused(f"reads the attribute {name!r} of {_what(x)}")

    def named(self, path: str) -> Any:
        """A dotted name, or the constant that it is."""
        module, _, last = path.rpartition(".")
        if last in _DTYPES and module in ("tensorflow", "numpy", "tensorflow.dtypes"):
            return last
        return _NAMED_CONSTANTS[path] if path in _NAMED_CONSTANTS else Name(path)

    def globally(self, name: str) -> Any:
        """What a global name stands for."""
        if name in self.options.roots:
            return self.named(self.options.roots[name])
        if name in _BUILTINS:
            return Name(f"builtins.{name}")
        if name in ("None", "True", "False"):  # Python 2 looks them up
            return {"None": None, "True": True, "False": False}[name]
        return Name(f"global.{name}")

    def imported(self, path: str) -> Name:
        """A module that the code imports, as a name."""
        if path.split(".")[0] not in self.options.modules:
            raise CodeRefused(f"imports {path!r}")
        return Name(path)

    def iterate(self, x: Any) -> list[Any]:
        """The items of a sequence; of a tensor, its slices along the first axis."""
        if self.ops.is_tensor(x):
            items = self.ops.unstack(x)
        elif isinstance(x, (list, tuple, range, dict, str)):
            items = list(x)
        else:
            raise CodeRefused(f"iterates over {_what(x)}")
        self.spend(len(items))
        return list(self.bounded(items))

    def text(self, x: Any, spec: str = "") -> str:
        """A value inside an f-string."""
        if (not isinstance(x, (str, int, float)) and x is not None) or spec:
            raise CodeRefused(f"formats {_what(x)} as text")
        return str(x)

    # ---- calls
    def call(self, f: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """``f(*args, **kwargs)``."""
        self.spend()
        if isinstance(f, Invocable):
            return f.invoke(self, args, kwargs)
        if isinstance(f, Method):
            if self.ops.is_tensor(f.owner):
                return self.ops.method(f.owner, f.name, args, kwargs)
            return self.bounded(_concrete_method(self, f, list(args), kwargs))
        if not isinstance(f, Name):
            raise (Misread if _what(f) == "an object" else CodeRefused)(f"calls {_what(f)}")
        if f.path.startswith("builtins."):
            return self.bounded(self.builtin(f.path.removeprefix("builtins."), list(args), dict(kwargs)))
        if f.path.startswith("global."):
            raise CodeRefused(f"calls the unknown name {str(f)!r}")
        return self.ops.call(f.path, args, kwargs)

    def builtin(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """One of the functions that Python itself has."""
        if name in _ITERATING:
            return _ITERATING[name](self, args, kwargs)
        if any(self.ops.is_tensor(a) for a in args):
            return self.ops.call(f"builtins.{name}", args, kwargs)
        function = _CONCRETE.get(name)
        if function is None or any(isinstance(a, (Name, Method, Invocable)) for a in args):
            raise CodeRefused(f"calls {name}()")
        if self.symbolic(args):
            if name in ("int",) and len(args) == 1:
                return args[0]
            raise CodeRefused(f"calls {name}() on a size that is not known")
        try:
            return function(*args, **kwargs)
        except (TypeError, ValueError, ArithmeticError) as e:
            raise CodeRefused(f"{name}() fails: {e}") from e


_METHODS: dict[str, tuple[type, ...]] = {
    "append": (list,), "extend": (list,), "insert": (list,), "index": (list, tuple), "copy": (list, dict), "items": (dict,),
    "keys": (dict,), "values": (dict,), "get": (dict,), "update": (dict,), "lower": (str,), "upper": (str,),
    "as_list": (tuple, list),
    "startswith": (str,), "endswith": (str,), "join": (str,), "pop": (list, dict), "count": (list, tuple), "format": (str,),
    "split": (str,), "replace": (str,), "strip": (str,), "setdefault": (dict,), "reverse": (list,),
}  # fmt: skip


def _concrete_method(d: Domain, f: Method, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
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
        raise CodeRefused(f"the method {f.name!r} of {_what(owner)} fails: {e}") from e


def _len(d: Domain, args: list[Any], _: Mapping[str, Any]) -> Any:
    if len(args) != 1:
        raise CodeRefused("calls len() with other than one argument")
    if d.ops.is_tensor(args[0]):
        return d.ops.call("builtins.len", args, {})
    if not isinstance(args[0], (list, tuple, dict, str, range)):
        raise CodeRefused(f"takes the length of {_what(args[0])}")
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
            raise CodeRefused(f"asks whether something is a {name.removeprefix('global.') or _what(kind)}")
        if python in (list, tuple) and isinstance(value, tuple) and type(value) is not tuple:
            raise CodeRefused("asks whether sizes, or a captured sequence, are a list or a tuple")
        found |= last == "Tensor" and d.ops.is_tensor(value) if python is None else isinstance(value, python)
    return found


_ITERATING: dict[str, Callable[[Domain, list[Any], Mapping[str, Any]], Any]] = {
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
_CONCRETE: dict[str, Callable[..., Any]] = {
    "int": int, "float": float, "bool": bool, "abs": abs, "min": min, "max": max, "round": round, "str": str, "sorted": sorted,
    "all": all, "any": any, "divmod": divmod, "long": int,
}  # fmt: skip
_BUILTINS = frozenset({*_ITERATING, *_CONCRETE})
_NAMED_CONSTANTS: dict[str, Any] = {
    "math.pi": 3.141592653589793, "math.e": 2.718281828459045, "numpy.pi": 3.141592653589793, "math.inf": float("inf"),
    "numpy.inf": float("inf"), "tensorflow.newaxis": None, "numpy.newaxis": None, "numpy.e": 2.718281828459045,
}  # fmt: skip


_DTYPES = frozenset(
    ["float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
     "bool"]
)  # fmt: skip


def _no(what: str) -> Any:
    raise CodeRefused(what)


def _certain(op: str, x: Any, y: Any) -> None:
    for v, other in ((x, y), (y, x)):
        if isinstance(v, Stored) and v.ambiguous(op, other):
            raise CodeRefused(f"computes {op} of {v.what}")


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float))


def _what(x: Any) -> str:
    if x is None or isinstance(x, (bool, int, float)):
        return repr(x)
    if isinstance(x, str):
        return f"the text {x[:40]!r}"
    if isinstance(x, Name):
        return f"the name {str(x)!r}"
    if isinstance(x, Method):
        return f"the method {x.name!r}"
    return {list: "a list", tuple: "a tuple", dict: "a dict", slice: "a slice", range: "a range"}.get(type(x), "an object")

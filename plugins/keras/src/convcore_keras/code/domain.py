"""Python's own operations on what symbolic code works with: numbers, text, sequences, names of functions, and tensors.

Everything concrete is computed with small bounds; everything that touches a tensor goes to :class:`TensorOps`. A branch on a
tensor, an unknown name that is called, an attribute that is no part of a model's arithmetic: each is refused where it happens,
also if its result would not be used.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .builtin import BUILTINS, CONCRETE, DTYPES, ITERATING, METHODS, NAMED_CONSTANTS, concrete_method
from .values import BINARY, COMPARE, MAX_ITEMS, AsksNone, CodeRefused, Invocable, Method, Misread, Name, Stored, what_is

__all__ = [
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
MAX_INT = 1 << 80
MAX_CALLS = 24
"""Functions inside each other."""

_UNARY: dict[str, Callable[[Any], Any]] = {"-": operator.neg, "+": operator.pos, "~": operator.invert}


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
    def higher(self, path: str) -> Callable[..., Any] | None: ...


class Domain:
    """One run of symbolic code; ``steps`` is what is left of its budget."""

    def __init__(self, ops: TensorOps, options: Options, steps: int = MAX_STEPS) -> None:
        self.ops, self.options, self.steps = ops, options, steps
        self.depth, self.max_calls = 0, MAX_CALLS
        self.unknown_is_none: bool | None = None
        """What ``size is None`` gives for a size that is not known; None: it is refused."""

    # ---- bounds
    def spend(self, n: int = 1) -> None:
        """Count work. Raises CodeRefused when the budget is used up."""
        self.steps -= n
        if self.steps < 0:
            raise Misread(f"takes more than {MAX_STEPS} steps")

    def enter(self) -> None:
        """Count a call of the code's own functions; :meth:`leave` ends it."""
        self.depth += 1
        if self.depth > self.max_calls:
            raise CodeRefused(f"calls functions more than {self.max_calls} deep")

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
            raise CodeRefused(f"branches on {what_is(x)}")
        return bool(x)

    def same(self, x: Any, y: Any) -> bool:
        """``x is y``."""
        if self.ops.is_size(x) or self.ops.is_size(y):
            if self.unknown_is_none is None or (x is not None and y is not None):
                raise AsksNone("asks whether a size that is not known is None")
            return self.unknown_is_none
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
                    raise CodeRefused(f"computes with a tensor and {what_is(v)}")
            return self.ops.binary(op, x, y)
        for v in (x, y):
            if isinstance(v, (Name, Method, Invocable)):
                raise CodeRefused(f"computes with {what_is(v)}")
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
            raise CodeRefused(f"{what_is(x)} {op} {what_is(y)} fails: {e}") from e
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
            raise CodeRefused(f"computes {op} of {what_is(x)}")
        try:
            return _UNARY[op](x)
        except TypeError as e:
            raise CodeRefused(f"computes {op} of {what_is(x)}") from e

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
                raise CodeRefused(f"asks for {what_is(x)} in {what_is(y)}") from e
        if op not in COMPARE:
            raise CodeRefused(f"compares with {op!r}")
        if self.ops.is_tensor(x) or self.ops.is_tensor(y):
            if op in ("==", "!=") and (x is None or y is None or isinstance(x, str) or isinstance(y, str)):
                raise CodeRefused(f"compares a tensor with {what_is(y if self.ops.is_tensor(x) else x)}")
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
            raise CodeRefused(f"compares {what_is(x)} and {what_is(y)}") from e

    def item(self, x: Any, key: Any) -> Any:
        """``x[key]``."""
        self.spend()
        if self.ops.is_tensor(x):
            return self.ops.item(x, key)
        if isinstance(x, (list, tuple, str, range, dict)) and not self.symbolic(key):
            try:
                return x[key]
            except (LookupError, TypeError, ValueError) as e:
                raise CodeRefused(f"takes an item that is not there: {e}", raised=type(e).__name__) from e
        raise CodeRefused(f"takes an item of {what_is(x)}")

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
        if isinstance(x, METHODS.get(name, ())):
            return Method(x, name)
        raise CodeRefused(f"reads the attribute {name!r} of {what_is(x)}")

    def named(self, path: str) -> Any:
        """A dotted name, or the constant that it is."""
        module, _, last = path.rpartition(".")
        if last in DTYPES and module in ("tensorflow", "numpy", "tensorflow.dtypes"):
            return last
        return NAMED_CONSTANTS[path] if path in NAMED_CONSTANTS else Name(path)

    def globally(self, name: str) -> Any:
        """What a global name stands for."""
        if name in self.options.roots:
            return self.named(self.options.roots[name])
        if name in BUILTINS:
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
            raise CodeRefused(f"iterates over {what_is(x)}")
        self.spend(len(items))
        return list(self.bounded(items))

    def text(self, x: Any, spec: str = "") -> str:
        """A value inside an f-string."""
        if (not isinstance(x, (str, int, float)) and x is not None) or spec:
            raise CodeRefused(f"formats {what_is(x)} as text")
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
            return self.bounded(concrete_method(self, f, list(args), kwargs))
        if not isinstance(f, Name):
            raise (Misread if what_is(f) == "an object" else CodeRefused)(f"calls {what_is(f)}")
        if f.path.startswith("builtins."):
            return self.bounded(self.builtin(f.path.removeprefix("builtins."), list(args), dict(kwargs)))
        if f.path.startswith("global."):
            raise CodeRefused(f"calls the unknown name {str(f)!r}")
        return self.named_call(f.path, args, kwargs)

    def named_call(self, path: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A function by its dotted name."""
        higher = self.ops.higher(path)
        return self.ops.call(path, args, kwargs) if higher is None else higher(self, list(args), dict(kwargs))

    def settled(self, x: Any) -> Any:
        """What a name or a call gave, as what is computed with."""
        return x

    def builtin(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """One of the functions that Python itself has."""
        if name in ITERATING:
            return ITERATING[name](self, args, kwargs)
        if any(self.ops.is_tensor(a) for a in args):
            return self.ops.call(f"builtins.{name}", args, kwargs)
        function = CONCRETE.get(name)
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


def _certain(op: str, x: Any, y: Any) -> None:
    for v, other in ((x, y), (y, x)):
        if isinstance(v, Stored) and v.ambiguous(op, other):
            raise CodeRefused(f"computes {op} of {v.what}")


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float))

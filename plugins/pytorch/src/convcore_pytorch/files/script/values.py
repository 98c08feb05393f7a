"""Values while TorchScript is read: constants are Python's own, everything unknown is a :class:`Sym`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convcore.plugin import BadFileError

from ..elements import BY_CODE
from ..objects import Instance
from ..program import Constant, Device, ElementType, Ref
from ..storage import StoredTensor
from .source import Class

__all__ = [
    "Function",
    "Module",
    "NoGrad",
    "Sym",
    "Tagged",
    "Unset",
    "as_argument",
    "equal",
    "fixed",
    "kind_of_value",
    "typed_argument",
]


@dataclass(frozen=True)
class Sym:
    """A value known only by name and type."""

    name: str
    type: str


@dataclass(frozen=True)
class Module:
    """A module object and the path by which it was reached."""

    path: str
    cls: Class
    instance: Instance


@dataclass(frozen=True)
class Function:
    """A function or class of the archive, by its qualified name."""

    name: str


@dataclass(frozen=True)
class NoGrad:
    """``torch.no_grad()`` made in the code, for ``with``."""


@dataclass(frozen=True)
class Unset:
    """``uninitialized(T)``: a value that is never used."""

    type: str


_LAYOUTS = ("strided", "sparse_coo", "sparse_csr", "_mkldnn")  # c10/core/Layout.h
_FORMATS = ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")  # c10/core/MemoryFormat.h


class Tagged(list[Any]):
    """A list whose element type the source states (``annotate(List[Tensor], [])``)."""

    type = ""


def kind_of_value(value: Any) -> str:
    """The schema type of a value."""
    if isinstance(value, (Sym, Unset)):
        return value.type
    if isinstance(value, bool):
        return "bool"
    for kind, name in (
        (int, "int"),
        (float, "float"),
        (str, "str"),
        (complex, "complex"),
        (StoredTensor, "Tensor"),
        (Device, "Device"),
    ):
        if isinstance(value, kind):
            return name
    if value is None:
        return "NoneType"
    if isinstance(value, Tagged) and value.type:
        return value.type
    if isinstance(value, list):
        kinds = {kind_of_value(v).removesuffix("?") for v in value}
        if "Tensor" in kinds and kinds <= {"Tensor", "NoneType"}:
            return "Tensor?[]" if "NoneType" in kinds else "Tensor[]"
        return f"{kinds.pop()}[]" if len(kinds) == 1 else "t[]"
    if isinstance(value, tuple):
        return f"({', '.join(map(kind_of_value, value))})"
    if isinstance(value, dict):
        key = next(iter(value), "")
        return f"Dict({kind_of_value(key)}, {kind_of_value(value.get(key))})"
    return type(value).__name__


def fixed(value: Any) -> bool:
    """Whether a value is known whole."""
    if isinstance(value, (list, tuple)):
        return all(map(fixed, value))
    if isinstance(value, dict):
        return all(map(fixed, value.values()))
    return isinstance(value, (int, float, str, complex, Device, type(None)))


def equal(a: Any, b: Any) -> bool:
    """The same value for sure (of one type: 1 is not True, nan is nan)."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (int, float, str, Sym, Function, Device)):
        return bool(a == b)
    return isinstance(a, Module) and a.instance is b.instance


def as_argument(value: Any) -> Any:
    """A value as a node's argument."""
    if isinstance(value, Sym):
        return Ref(value.name)
    if isinstance(value, list):
        return [as_argument(v) for v in value]
    if isinstance(value, tuple):
        return tuple(as_argument(v) for v in value)
    if isinstance(value, dict):
        return {k: as_argument(v) for k, v in value.items()}
    if not fixed(value):
        raise BadFileError(f"the code computes with a {type(value).__name__} (a module, a function, a value never set)")
    return value


def typed_argument(value: Any, kind: str) -> Any:
    """A value as an argument of that type: TorchScript writes dtypes, layouts and memory formats as c10's numbers."""
    kind = kind.removesuffix("?")
    if type(value) is int and kind in ("ScalarType", "Layout", "MemoryFormat"):
        if kind == "ScalarType" and value in BY_CODE:
            return ElementType(BY_CODE[value].name)
        names = {"Layout": _LAYOUTS, "MemoryFormat": _FORMATS}.get(kind, ())
        if not 0 <= value < len(names):
            raise BadFileError(f"{kind} number {value} is not read")
        return Constant("layout" if kind == "Layout" else "memory_format", names[value])
    return as_argument(value)

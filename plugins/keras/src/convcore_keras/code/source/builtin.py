"""Functions of Python that need objects: ``super``, ``isinstance``, ``getattr``, ``sorted``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..domain import Domain
from ..values import CodeRefused, Invocable, Method, Name, what_is
from .classes import SourceClass, SourceObject, Super
from .iterators import Iterated
from .keras_layer import KerasLayer
from .module import SourceModule

if TYPE_CHECKING:
    from .domain import SourceDomain

__all__ = ["BUILTINS"]


def _super(d: SourceDomain, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    if len(args) == 2 and isinstance(args[0], SourceClass) and isinstance(args[1], (SourceObject, SourceClass)):
        return Super(args[1], args[0])
    raise CodeRefused("calls super() of something that is no class of the source")


def _isinstance(d: SourceDomain, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    if len(args) != 2:
        raise CodeRefused("calls isinstance() with other than two arguments")
    value, kinds = args[0], args[1] if isinstance(args[1], tuple) else (args[1],)
    rest = []
    for kind in kinds:
        answer = d.host.is_a(value, kind)
        if answer:
            return True
        if answer is None:
            rest.append(kind)
    return Domain.builtin(d, "isinstance", [value, tuple(rest)], {}) if rest else False


def _getattr(d: SourceDomain, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    if len(args) not in (2, 3) or not isinstance(args[1], str):
        raise CodeRefused("calls getattr() with a name that is no text")
    if len(args) == 3 and not _hasattr(d, args[:2], {}):
        return args[2]
    return d.attribute(args[0], args[1])


def _hasattr(d: SourceDomain, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    x, name = args
    if isinstance(x, SourceObject):
        return x.has(d, name)
    if isinstance(x, SourceModule):
        return x.has(name)
    if isinstance(x, KerasLayer):
        return x.has(name)
    if isinstance(x, (str, int, float, list, tuple, dict)) or x is None:
        return hasattr(x, name)
    if d.ops.is_tensor(x) and name in ("shape", "dtype", "ndim"):
        return True
    if d.ops.is_tensor(x) and name == "_keras_mask":
        raise CodeRefused("asks a tensor for its mask")
    raise CodeRefused(f"asks whether {what_is(x)} has {name!r}")


def _setattr(d: SourceDomain, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    d.set_attribute(args[0], args[1], args[2])


def _callable(d: SourceDomain, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    (x,) = args
    if isinstance(x, Name):
        if d.host.is_function(x.path):
            return True
        raise CodeRefused(f"asks whether {what_is(x)} can be called")
    return isinstance(x, (Invocable, Method)) and not isinstance(x, Iterated) and not d.ops.is_tensor(x)


def _type(d: SourceDomain, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    (x,) = args
    if isinstance(x, SourceObject):
        return x.cls
    for kind in ("bool", "int", "float", "str", "list", "tuple", "dict"):
        if type(x).__name__ == kind:
            return Name(f"builtins.{kind}")
    raise CodeRefused(f"asks for the type of {what_is(x)}")


def _set(d: SourceDomain, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    items = d.iterate(args[0]) if args else []
    if not all(x is None or isinstance(x, (str, int, float)) for x in items):
        raise CodeRefused("makes a set of something else than names and numbers")
    return frozenset(items)


def _sorted(d: SourceDomain, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    items, by = d.iterate(args[0]), kwargs.get("key")
    keys = items if by is None else [d.call(by, [x], {}) for x in items]
    if d.symbolic(keys):
        raise CodeRefused("sorts by something that is not known")
    try:
        order = sorted(range(len(items)), key=lambda i: keys[i], reverse=bool(kwargs.get("reverse")))
    except TypeError as e:
        raise CodeRefused(f"sorts what has no order: {e}") from e
    return [items[i] for i in order]


def _no_object(d: SourceDomain, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    raise CodeRefused("makes a bare object")


BUILTINS: dict[str, Any] = {
    "super": _super, "isinstance": _isinstance, "getattr": _getattr, "hasattr": _hasattr, "setattr": _setattr,
    "callable": _callable, "type": _type, "set": _set, "frozenset": _set, "object": _no_object,
    "sorted": _sorted, "property": _no_object, "staticmethod": _no_object, "classmethod": _no_object,
    "ValueError": _no_object, "TypeError": _no_object,
}  # fmt: skip

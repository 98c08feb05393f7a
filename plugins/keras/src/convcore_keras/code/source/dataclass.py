"""Dataclasses of the source, as ``dataclasses`` of Python 3.12 makes them."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..function import Parameters
from ..values import CodeRefused, Invocable, what_is
from .classes import SourceClass, SourceObject

if TYPE_CHECKING:
    from .domain import SourceDomain

__all__ = ["dataclass", "dataclass_function"]


class _Default:
    """``dataclasses.field(...)``."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given


def dataclass(d: SourceDomain, cls: Any, options: Mapping[str, Any]) -> Any:
    """A class with the ``__init__`` that its annotated fields make. Raises CodeRefused."""
    if not isinstance(cls, SourceClass):
        raise CodeRefused(f"makes a dataclass of {what_is(cls)}")
    if not {*options} <= {"frozen", "eq", "order", "repr", "slots", "kw_only", "unsafe_hash"}:
        raise CodeRefused(f"makes a dataclass with {', '.join(options)}")
    if "__init__" not in cls.members:
        cls.members["__init__"] = _Init(cls, bool(options.get("kw_only")))
    fields: dict[str, Any] = {}
    for c in reversed(cls.mro):
        if c is not cls and "__fields__" in c.members:
            fields.update(c.members["__fields__"])
    for s in cls.node.body:
        if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name) and "ClassVar" not in ast.unparse(s.annotation):
            fields[s.target.id] = cls.members.get(s.target.id, _MISSING)
            if isinstance(fields[s.target.id], _Default):
                cls.members.pop(s.target.id)
    cls.members["__fields__"] = fields
    return cls


_MISSING = object()


class _Init(Invocable):
    """The ``__init__`` of a dataclass."""

    def __init__(self, cls: SourceClass, by_name: bool) -> None:
        self.cls, self.by_name = cls, by_name

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        made, *rest = args
        fields: dict[str, Any] = self.cls.members["__fields__"]
        taken = {n: v for n, v in fields.items() if not (isinstance(v, _Default) and v.given.get("init") is False)}
        names = [n for n, v in taken.items() if not (isinstance(v, _Default) and v.given.get("kw_only"))]
        keyword = [n for n in taken if n not in names]
        if self.by_name:
            names, keyword = [], list(taken)
        defaults = {n: v for n, v in fields.items() if v is not _MISSING}
        for n, v in list(defaults.items()):
            if isinstance(v, _Default):
                if "default" in v.given:
                    defaults[n] = v.given["default"]
                elif "default_factory" in v.given:
                    defaults[n] = domain.call(v.given["default_factory"], [], {}) if n not in kwargs else None
                else:
                    del defaults[n]
        bound = Parameters(tuple(names), keyword=tuple(keyword), defaults=defaults).bind(rest, kwargs)
        for n in fields:
            if n in bound or n in defaults:
                made.assign(domain, n, bound.get(n, defaults.get(n)))
        after = made.find(domain, "__post_init__")
        if after is not None:
            domain.call(after, [], {})

    def parameters(self) -> Parameters:
        return Parameters(("self", *self.cls.members["__fields__"]))


def dataclass_function(d: SourceDomain, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A function of ``dataclasses``. Raises CodeRefused."""
    if name == "dataclass":
        return dataclass(d, args[0], kwargs) if args else _Decorates(kwargs)
    if name == "field":
        return _Default(kwargs)
    x = args[0] if args else None
    fields = x.cls.find("__fields__") if isinstance(x, SourceObject) else None
    if fields is None or not isinstance(x, SourceObject):
        raise CodeRefused(f"calls dataclasses.{name} of {what_is(x)}, which is no dataclass")
    values = {n: d.attribute(x, n) for n in fields}
    if name == "asdict":
        return {n: _deep(d, v, name) for n, v in values.items()}
    if name == "astuple":
        return tuple(_deep(d, v, name) for v in values.values())
    if name == "replace":
        return x.cls.invoke(d, [], {**values, **kwargs})
    raise CodeRefused(f"calls dataclasses.{name}, which convcore does not know")


def _deep(d: SourceDomain, v: Any, name: str) -> Any:
    if isinstance(v, SourceObject) and v.cls.find("__fields__") is not None:
        return dataclass_function(d, name, [v], {})
    if isinstance(v, dict):
        return {k: _deep(d, x, name) for k, x in v.items()}
    return type(v)(_deep(d, x, name) for x in v) if type(v) in (list, tuple) else v


class _Decorates(Invocable):
    """``@dataclass(...)``."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return dataclass(domain, args[0], self.options)

"""Enumerations and named tuples of the source, as ``enum`` and ``collections`` of Python 3.12 make them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..function import Parameters
from ..values import CodeRefused, Invocable, Name, what_is
from .module import Env

if TYPE_CHECKING:
    from .domain import SourceDomain

__all__ = ["EnumClass", "Member", "TupleClass", "Tuple_", "named_tuple", "special_class"]

ENUMS = {"Enum", "IntEnum", "StrEnum"}
_KINDS: dict[str, type] = {"IntEnum": int, "int": int, "StrEnum": str, "str": str}


# ---- enumerations
class Member(Invocable):
    """A member of an enumeration."""

    always_true = True

    def __init__(self, cls: EnumClass, name: str, value: Any) -> None:
        self.cls, self.name, self.value = cls, name, value

    def __eq__(self, other: object) -> bool:
        """Python's, also inside of lists and dicts: those that are numbers or texts are equal to their values."""
        if self.cls.kind is None:
            return self is other
        theirs = other.value if isinstance(other, Member) and other.cls.kind is not None else other
        return isinstance(theirs, (str, int, float)) and bool(self.value == theirs)

    def __hash__(self) -> int:
        return id(self) if self.cls.kind is None else hash(self.value)

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        raise CodeRefused(f"calls {self.cls.name}.{self.name}")

    def attribute(self, domain: Any, name: str) -> Any:
        if name in ("value", "_value_"):
            return self.value
        if name in ("name", "_name_"):
            return self.name
        if name == "__class__":
            return self.cls
        found = self.cls.methods.get(name)
        if found is None:
            raise CodeRefused(f"reads {name!r} of {self.cls.name}.{self.name}, which has none")
        from .classes import Bound

        bound = domain.function(found, self.cls.env)
        if any(isinstance(d, ast.Name) and d.id == "property" for d in found.decorator_list):
            return domain.call(Bound(self, bound), [], {})
        return Bound(self, bound)


class EnumClass(Invocable):
    """An enumeration: its members in order, those of one value once. ``kind``: the type whose values they are (``IntEnum``,
    ``StrEnum``, ``str, Enum``), None for those that are equal to themselves only; ``lower``: ``auto()`` gives their names."""

    always_true = True

    def __init__(self, d: SourceDomain, node: ast.ClassDef, env: Env, kind: type | None, lower: bool) -> None:
        self.name, self.env, self.kind = node.name, env, kind
        self.members: dict[str, Member] = {}
        self.methods: dict[str, ast.FunctionDef] = {}
        inside = Env(env.module, env)
        values: list[Any] = []
        for s in node.body:
            if isinstance(s, ast.FunctionDef):
                if s.name.startswith("_") or any(not isinstance(x, ast.Name) or x.id != "property" for x in s.decorator_list):
                    raise CodeRefused(f"defines {s.name!r} in an enumeration", env.module.place(s, node.name))
                self.methods[s.name] = s
            elif isinstance(s, ast.Assign) and len(s.targets) == 1 and isinstance(s.targets[0], ast.Name):
                name, value = s.targets[0].id, d.evaluate(s.value, inside)
                if isinstance(value, Name) and value.path == "enum.auto()":
                    value = name.lower() if lower else max((v for v in values if isinstance(v, int)), default=0) + 1
                if name.startswith("_") or not _plain(value):
                    raise CodeRefused("has a member that is no name, number or text", env.module.place(s, node.name))
                if kind is not None and not isinstance(value, kind):
                    raise CodeRefused(f"has a member that is no {kind.__name__}", env.module.place(s, node.name))
                values.append(value)
                same = next((m for m in self.members.values() if m.value == value), None)
                self.members[name] = same or Member(self, name, value)
                inside.write(name, value)
            elif not isinstance(s, (ast.Pass, ast.Expr)):
                raise CodeRefused(f"has the statement {type(s).__name__} in an enumeration", env.module.place(s, node.name))

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The member of a value."""
        if len(args) != 1 or kwargs:
            raise CodeRefused(f"calls {self.name} with other than one value")
        if isinstance(args[0], Member) and args[0].cls is self:
            return args[0]
        for m in self.members.values():
            if _plain(args[0]) and m.value == args[0]:
                return m
        raise CodeRefused(f"{what_is(args[0])} is no value of {self.name}", raised="ValueError")

    def attribute(self, domain: Any, name: str) -> Any:
        if name == "__name__":
            return self.name
        if name == "__members__":
            return dict(self.members)
        if name in self.members:
            return self.members[name]
        raise CodeRefused(f"reads {name!r} of {self.name}, which has no such member", raised="AttributeError")

    def item(self, key: Any) -> Member:
        """``Kind["NAME"]``."""
        if key not in self.members:
            raise CodeRefused(f"{what_is(key)} is no member of {self.name}", raised="KeyError")
        return self.members[key]

    def all(self) -> list[Member]:
        """Its members, in order."""
        return list({id(m): m for m in self.members.values()}.values())


def _plain(x: Any) -> bool:
    return x is None or isinstance(x, (str, int, float)) or (isinstance(x, tuple) and all(map(_plain, x)))


# ---- named tuples
class TupleClass(Invocable):
    """``collections.namedtuple``, or a class that extends ``typing.NamedTuple``."""

    always_true = True

    def __init__(self, name: str, fields: Sequence[str], defaults: Mapping[str, Any]) -> None:
        self.name, self.fields, self.defaults = name, tuple(fields), dict(defaults)

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        bound = Parameters(self.fields, defaults=self.defaults).bind(args, kwargs)
        return Tuple_(self, [bound[f] for f in self.fields])

    def attribute(self, domain: Any, name: str) -> Any:
        if name == "__name__":
            return self.name
        if name == "_fields":
            return self.fields
        if name == "_make":
            return _Made(self)
        raise CodeRefused(f"reads {name!r} of the named tuple {self.name}")


class _Made(Invocable):
    def __init__(self, cls: TupleClass) -> None:
        self.cls = cls

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return self.cls.invoke(domain, domain.iterate(args[0]), {})


class Tuple_(tuple[Any, ...]):
    """A named tuple: a tuple whose items have names."""

    cls: TupleClass

    def __new__(cls, kind: TupleClass, items: Sequence[Any]) -> Tuple_:
        made = super().__new__(cls, items)
        made.cls = kind
        return made

    def named(self, name: str) -> Any:
        """An item by its name, or one of the methods that named tuples have."""
        if name in self.cls.fields:
            return self[self.cls.fields.index(name)]
        if name == "_fields":
            return self.cls.fields
        if name == "_asdict":
            return _Given(lambda: dict(zip(self.cls.fields, self, strict=True)))
        if name == "_replace":
            return _Replaced(self)
        raise CodeRefused(f"reads {name!r} of {self.cls.name}, which has no such field", raised="AttributeError")


class _Given(Invocable):
    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return self.make()


class _Replaced(Invocable):
    def __init__(self, of: Tuple_) -> None:
        self.of = of

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return self.of.cls.invoke(domain, [], {**dict(zip(self.of.cls.fields, self.of, strict=True)), **kwargs})


def named_tuple(d: SourceDomain, args: list[Any], kwargs: Mapping[str, Any]) -> TupleClass:
    """``namedtuple("Name", fields, defaults=...)``."""
    given = {**dict(zip(("typename", "field_names"), args)), **kwargs}
    name, fields = given.get("typename"), given.get("field_names")
    fields = fields.replace(",", " ").split() if isinstance(fields, str) else d.iterate(fields)
    if not isinstance(name, str) or len(args) > 2 or not {*given} <= {"typename", "field_names", "defaults"}:
        raise CodeRefused("makes a named tuple in a way that is not followed")
    fields = [f[0] if isinstance(f, tuple) else f for f in fields]  # typing.NamedTuple states types
    defaults = d.iterate(given["defaults"]) if given.get("defaults") is not None else []
    return TupleClass(name, fields, dict(zip(fields[len(fields) - len(defaults) :], defaults, strict=True)))


def special_class(d: SourceDomain, node: ast.ClassDef, env: Env, bases: Sequence[Any]) -> Any:
    """An enumeration or named tuple; None for any other class."""
    names = [b.path.rpartition(".")[2] for b in bases if isinstance(b, Name)]
    if any(n in ENUMS for n in names) and any(isinstance(b, Name) and b.path.startswith("enum.") for b in bases):
        if len(names) != len(bases) or not {*names} <= {*ENUMS, *_KINDS}:
            raise CodeRefused("makes an enumeration with more bases than Enum, int and str", env.module.place(node, node.name))
        return EnumClass(d, node, env, next((_KINDS[n] for n in names if n in _KINDS), None), "StrEnum" in names)
    if names == ["NamedTuple"]:
        inside = Env(env.module, env)
        fields = [s for s in node.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)]
        if any(not isinstance(s, (ast.AnnAssign, ast.Expr, ast.Pass)) for s in node.body):
            raise CodeRefused("has methods in a named tuple", env.module.place(node, node.name))
        defaults = {_field(s): d.evaluate(s.value, inside) for s in fields if s.value is not None}
        return TupleClass(node.name, [_field(s) for s in fields], defaults)
    return None


def _field(s: ast.AnnAssign) -> str:
    assert isinstance(s.target, ast.Name)
    return s.target.id

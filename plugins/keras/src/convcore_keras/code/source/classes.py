"""Classes of the source and their objects: inheritance, methods, properties, ``super()``."""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..domain import Domain
from ..values import CodeRefused, Invocable, Name, what_is
from .module import Env
from .statements import SourceFunction

if TYPE_CHECKING:
    from .domain import SourceDomain

__all__ = ["Bound", "Property", "SourceClass", "SourceObject", "Super", "defined_class"]


@dataclass(eq=False)
class Property:
    """A property; ``setter`` may be None."""

    getter: SourceFunction
    setter: SourceFunction | None = None


class Cached(Property):
    """A ``cached_property``: what it gives is kept as an attribute."""


@dataclass(eq=False)
class Static:
    """A static method, or a class method (``bound``)."""

    function: SourceFunction
    bound: bool


@dataclass(eq=False)
class Bound(Invocable):
    """A method of an object: ``owner`` is its first argument."""

    owner: Any
    function: Invocable
    always_true = True

    def invoke(self, domain: Domain, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return self.function.invoke(domain, [self.owner, *args], kwargs)

    def attribute(self, domain: Domain, name: str) -> Any:
        return self.function.attribute(domain, name)


@dataclass(eq=False)
class Build(Bound):
    """``layer.build`` of Keras 3, after which the layer is built (``build_wrapper`` of ``Layer.__new__``, 3.15.1). ``super()``
    gives the method alone."""

    def invoke(self, domain: Domain, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        d: SourceDomain = domain  # type: ignore[assignment]
        old, d.settling = d.settling, False
        try:
            made = super().invoke(d, args, kwargs)
        finally:
            d.settling = old
        self.owner.state.built = True
        return made


@dataclass(eq=False)
class Foreign(Invocable):
    """A method that a class of the source inherits from Keras: ``host.foreign`` knows what it does."""

    owner: Any
    name: str
    always_true = True

    def invoke(self, domain: Domain, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return domain.host.foreign(domain, self.owner, self.name, list(args), dict(kwargs))  # type: ignore[attr-defined]


@dataclass(eq=False)
class SourceClass(Invocable):
    """A class: ``bases`` are classes of the source or names; ``members`` what its body defines; ``mro`` the classes of the source
    in Python's order; ``foreign`` the names among all bases, in that order, ``object`` left out."""

    name: str
    node: ast.ClassDef
    env: Env
    bases: tuple[Any, ...]
    members: dict[str, Any] = field(default_factory=dict)
    mro: tuple[SourceClass, ...] = ()
    foreign: tuple[str, ...] = ()

    def find(self, name: str, after: SourceClass | None = None) -> Any:
        """A member by Python's order, behind the class ``after``; None if no class of the source has it."""
        order = self.mro if after is None else self.mro[self.mro.index(after) + 1 :]
        return next((c.members[name] for c in order if name in c.members), None)

    def defines(self, name: str) -> bool:
        """Whether a class of the source has it."""
        return any(name in c.members for c in self.mro)

    def invoke(self, domain: Domain, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A new object."""
        made = SourceObject(self)
        domain.host.created(made)  # type: ignore[attr-defined]
        made.initialise(domain, args, kwargs)  # type: ignore[arg-type]
        return made

    def attribute(self, domain: Domain, name: str) -> Any:
        if name == "__name__":
            return self.name
        if name == "__init__" or self.defines(name):
            member = self.find(name)
            if isinstance(member, Static):
                return Bound(self, member.function) if member.bound else member.function
            if member is not None and not isinstance(member, Property):
                return member
        if self.foreign:
            return UnboundForeign(name)
        raise CodeRefused(f"reads {name!r} of the class {self.name}, which has none")


@dataclass(eq=False)
class UnboundForeign(Invocable):
    """``Layer.build`` as a function whose first argument is the object."""

    name: str

    def invoke(self, domain: Domain, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if not args:
            raise CodeRefused(f"calls {self.name} without an object")
        return Foreign(args[0], self.name).invoke(domain, args[1:], kwargs)


class SourceObject(Invocable):
    """An object of a class of the source. ``state`` is what Keras keeps of a layer, None for other objects."""

    def __init__(self, cls: SourceClass) -> None:
        self.cls = cls
        self.values: dict[str, Any] = {}
        self.state: Any = None
        self.is_model = False

    def __eq__(self, other: object) -> bool:
        """Identity. Raises CodeRefused where a class says itself what is equal, as dataclasses do."""
        if self is other:
            return True
        objects = [x for x in (self, other) if isinstance(x, SourceObject)]
        for x in objects:
            if x.cls.defines("__eq__") or (x.cls.defines("__fields__") and len(objects) > 1):
                raise CodeRefused(f"compares objects of {x.cls.name}, which says itself what is equal")
        return False

    __hash__ = object.__hash__

    def initialise(self, d: SourceDomain, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Call ``__init__``."""
        init = self.cls.find("__init__")
        if init is not None:
            d.call(Bound(self, init), args, kwargs)
        elif self.cls.foreign:
            Foreign(self, "__init__").invoke(d, args, kwargs)
        elif args or kwargs:
            raise CodeRefused(f"gives arguments to {self.cls.name}, which takes none")

    # ---- attributes
    def find(self, d: SourceDomain, name: str, after: SourceClass | None = None) -> Any:
        """A member of the class, bound to the object; None if there is none."""
        member = self.cls.find(name, after)
        if isinstance(member, Cached):
            if name not in self.values:
                self.assign(d, name, d.call(Bound(self, member.getter), [], {}))
            return self.values[name]
        if isinstance(member, Property):
            return d.call(Bound(self, member.getter), [], {})
        if isinstance(member, Static):
            return Bound(self.cls, member.function) if member.bound else member.function
        return Bound(self, member) if isinstance(member, SourceFunction) else member

    def has(self, d: SourceDomain, name: str) -> bool:
        """Whether it has an attribute."""
        if name in self.values or self.cls.defines(name):
            return True
        if self.cls.defines("__getattr__"):
            raise CodeRefused(f"asks an object of {self.cls.name}, which has __getattr__, whether it has {name!r}")
        return bool(self.cls.foreign) and d.host.has_foreign(self, name)

    def attribute(self, domain: Domain, name: str) -> Any:
        d: SourceDomain = domain  # type: ignore[assignment]
        if name == "__class__":
            return self.cls
        if name in self.values and not isinstance(self.cls.find(name), Property):
            return self.values[name]
        if self.cls.defines(name):
            found = self.find(d, name)
            built = name == "build" and self.state is not None and isinstance(found, Bound) and d.host.g.era == "keras3"
            return Build(found.owner, found.function) if built else found
        if self.cls.foreign:
            return d.host.foreign_attribute(d, self, name)
        raise CodeRefused(f"reads the attribute {name!r} of {self.cls.name}, which has none", raised="AttributeError")

    def assign(self, d: SourceDomain, name: str, value: Any) -> None:
        """``object.name = value``."""
        member = self.cls.find(name)
        if isinstance(member, Property) and not isinstance(member, Cached):
            if member.setter is None:
                raise CodeRefused(f"sets the property {name!r}, which has no setter")
            d.call(Bound(self, member.setter), [value], {})
            return
        self.values[name] = value
        if self.cls.foreign:
            d.host.assigned(d, self, name, value)

    def invoke(self, domain: Domain, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        d: SourceDomain = domain  # type: ignore[assignment]
        method = self.cls.find("__call__")
        if method is not None:
            return d.call(Bound(self, method), args, kwargs)
        if self.state is None:
            raise CodeRefused(f"calls an object of {self.cls.name}, which has no __call__")
        return d.host.call_layer(d, self, args, kwargs)


@dataclass(eq=False)
class Super(Invocable):
    """What ``super()`` gives: the members behind a class."""

    owner: Any
    after: SourceClass

    def invoke(self, domain: Domain, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        raise CodeRefused("calls what super() gives")

    def attribute(self, domain: Domain, name: str) -> Any:
        d: SourceDomain = domain  # type: ignore[assignment]
        cls = self.owner.cls if isinstance(self.owner, SourceObject) else self.owner
        if self.after not in cls.mro:
            raise CodeRefused(f"calls super() of {self.after.name}, which is no class of the object")
        member = cls.find(name, self.after)
        if member is not None:
            if isinstance(self.owner, SourceObject):
                return self.owner.find(d, name, self.after)
            return Bound(cls, member.function if isinstance(member, Static) else member)
        if not cls.foreign:
            if name == "__init__":
                return Foreign(self.owner, "__init__")
            raise CodeRefused(f"reads {name!r} of super(), which has none")
        if isinstance(self.owner, SourceObject) and not d.host.is_method(self.owner, name):
            return d.host.foreign_attribute(d, self.owner, name)
        return Foreign(self.owner, name)


def defined_class(d: SourceDomain, node: ast.ClassDef, env: Env) -> Any:
    """The class of a ``class`` statement. Raises CodeRefused."""
    from .records import special_class

    bases: list[Any] = []
    for b in node.bases:
        base = d.evaluate(b, env)
        if isinstance(base, Name) and base.path == "builtins.object":
            continue
        if not isinstance(base, (SourceClass, Name)):
            raise CodeRefused(f"inherits from {what_is(base)}", env.module.place(b))
        bases.append(base)
    special = special_class(d, node, env, bases)
    if special is not None:
        return special
    cls = SourceClass(node.name, node, env, tuple(bases))
    cls.mro = _mro(cls)
    names = [b.path for c in cls.mro for b in c.bases if isinstance(b, Name)]
    cls.foreign = tuple(dict.fromkeys(n for n in names if n.rpartition(".")[2] not in _NO_BEHAVIOUR))
    inside = Env(env.module, env, values=cls.members, owner=cls)
    if any(k.arg != "metaclass" or not ast.unparse(k.value).endswith("ABCMeta") for k in node.keywords):
        raise CodeRefused("makes a class with a metaclass or other keywords", env.module.place(node, cls.name))
    for s in node.body:
        if isinstance(s, ast.FunctionDef) and s.name in _MAKES_OTHERWISE:
            raise CodeRefused(f"defines {s.name}, which changes how objects are made or kept", env.module.place(s, cls.name))
        if isinstance(s, ast.FunctionDef):
            _method(d, cls, s, inside)
        elif isinstance(s, (ast.Assign, ast.AnnAssign)):
            if isinstance(s, ast.AnnAssign) and s.value is None:
                continue
            value = d.evaluate(s.value, inside)  # type: ignore[arg-type]
            d.freeze(value)
            for target in s.targets if isinstance(s, ast.Assign) else [s.target]:
                d.assign(target, value, inside)
        elif isinstance(s, ast.Pass) or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)):
            continue
        elif isinstance(s, ast.ClassDef):
            cls.members[s.name] = d.defined(s, inside)
        else:
            raise CodeRefused(f"has the statement {type(s).__name__} in the body of a class", env.module.place(s, cls.name))
    return cls


_NO_BEHAVIOUR = {"object", "ABC", "Generic", "Protocol"}
_MAKES_OTHERWISE = {"__new__", "__init_subclass__", "__setattr__", "__delattr__", "__getattribute__", "__set_name__"}


def _method(d: SourceDomain, cls: SourceClass, node: ast.FunctionDef, inside: Env) -> None:
    f = d.function(node, Env(inside.module, inside.parent, owner=cls), cls)
    made: Any = f
    for decorator in reversed(node.decorator_list):
        if isinstance(decorator, ast.Name) and decorator.id in ("staticmethod", "classmethod", "property"):
            made = Property(f) if decorator.id == "property" else Static(f, decorator.id == "classmethod")
        elif isinstance(decorator, (ast.Name, ast.Attribute)) and _last(decorator) == "cached_property":
            made = Cached(f)
        elif isinstance(decorator, ast.Attribute) and decorator.attr in ("setter", "getter") and decorator.attr == "setter":
            old = cls.members.get(node.name)
            if not isinstance(old, Property):
                raise CodeRefused(f"gives a setter to {node.name!r}, which is no property", inside.module.place(node))
            made = Property(old.getter, f)
        else:
            only = copy.copy(node)
            only.decorator_list = [decorator]
            made = d.decorated(only, made, inside)
    cls.members[node.name] = made


def _last(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


def _mro(cls: SourceClass) -> tuple[SourceClass, ...]:
    """Python's order of the classes of the source (C3)."""
    parents = [b for b in cls.bases if isinstance(b, SourceClass)]
    rows = [list(p.mro) for p in parents] + [list(parents)]
    order = [cls]
    while any(rows):
        for row in rows:
            if row and not any(row[0] in other[1:] for other in rows):
                head = row[0]
                break
        else:
            raise CodeRefused(f"{cls.name} inherits in an order that Python does not allow")
        order.append(head)
        rows = [[c for c in row if c is not head] for row in rows]
    return tuple(order)

"""What a name means in a file: its own definitions, what it imports from other files of the library, and names of modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...layer_spec import canonical, is_known
from ..values import CodeRefused, Name
from .library import SourceFile

if TYPE_CHECKING:
    from .domain import SourceDomain

__all__ = ["Env", "SourceModule"]

UNSET: Any = type("Unset", (), {"__repr__": lambda _: "UNSET"})()


@dataclass(eq=False)
class Env:
    """Names of a function being worked through; ``local`` are those it assigns somewhere, ``parent`` the function around it."""

    module: SourceModule
    parent: Env | None = None
    local: frozenset[str] = frozenset()
    values: dict[str, Any] = field(default_factory=dict)
    owner: Any = None
    """The class whose method it is, for ``super()``."""
    function: bool = False
    """Whether it is a function's own (not a comprehension's or a module's): what it assigns and does not own is nonlocal."""

    def read(self, name: str) -> Any:
        """What a name stands for. Raises CodeRefused."""
        env: Env | None = self
        while env is not None:
            if name in env.values:
                return env.values[name]
            if name in env.local:
                raise CodeRefused(f"reads {name!r} before it has a value")
            env = env.parent
        return self.module.read(name)

    def write(self, name: str, value: Any) -> None:
        self.values[name] = value

    def holder(self, name: str) -> Env:
        """The function around that has a name (``nonlocal``)."""
        env = self.parent
        while env is not None:
            if name in env.values or name in env.local:
                return env
            env = env.parent
        raise CodeRefused(f"declares {name!r} nonlocal, which no function around it has")


Guard = tuple[ast.expr, bool]


@dataclass(eq=False)
class SourceModule:
    """A file's top level. Nothing of it is worked through before it is asked for by name."""

    file: SourceFile
    domain: SourceDomain
    values: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bound: dict[str, list[tuple[ast.stmt, tuple[Guard, ...]]]] = {}
        self.changed: dict[str, int] = {}
        self.stars: list[ast.ImportFrom] = []
        for statement, guards in _statements(self.file.tree.body, ()):
            self._list(statement, guards)
        for node in ast.walk(self.file.tree):
            if isinstance(node, ast.Global):
                self.changed.update(dict.fromkeys(node.names, node.lineno))

    def _list(self, node: ast.stmt, guards: tuple[Guard, ...]) -> None:
        names: list[str] = []
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            names = [node.name]
        elif isinstance(node, ast.Import):
            names = [a.asname or a.name.split(".")[0] for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [a.asname or a.name for a in node.names]
            if "*" in names:
                self.stars.append(node)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target] if node.value is not None else []:
                for part in ast.walk(target):
                    if isinstance(part, ast.Name):
                        if isinstance(part.ctx, ast.Store):
                            names.append(part.id)
                        else:
                            self.changed[part.id] = node.lineno
        else:  # a loop, a call, +=: whatever it names may be changed
            for part in ast.walk(node):
                if isinstance(part, ast.Name) and (isinstance(part.ctx, (ast.Store, ast.Del)) or _changes(node, part)):
                    self.changed[part.id] = node.lineno
        for name in names:
            self.bound.setdefault(name, []).append((node, guards))

    def place(self, node: ast.stmt | ast.expr, inside: str = "") -> str:
        """File and line, and the function."""
        return f"{self.file.path}:{node.lineno}" + (f", in {inside}" if inside else "")

    def read(self, name: str) -> Any:
        """What a global name stands for. Raises CodeRefused."""
        if name in self.values:
            found = self.values[name]
            if found is UNSET:
                raise CodeRefused(f"uses {name!r} while it is being defined")
            return found
        found = self._find(name)
        if found is UNSET:
            return self.domain.globally(name)
        return found

    def has(self, name: str) -> bool:
        return name in self.bound

    def _find(self, name: str) -> Any:
        if name in self.changed:
            where = f"{self.file.path}:{self.changed[name]}"
            raise CodeRefused(f"uses {name!r}, which the module changes after it is defined", where)
        for node, guards in reversed(self.bound.get(name, ())):
            if all(self._holds(test, wanted) for test, wanted in guards):
                self.values[name] = UNSET
                try:
                    self.values[name] = value = self._value(node, name)
                finally:
                    if self.values.get(name) is UNSET:
                        del self.values[name]
                return value
        for star in self.stars:
            found = self.imported(star, name, known=True)
            if found is not UNSET:
                return found
        return UNSET

    def _holds(self, test: ast.expr, wanted: bool) -> bool:
        return self.domain.truth(self.domain.evaluate(test, Env(self))) == wanted

    def _value(self, node: ast.stmt, name: str) -> Any:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            return self.domain.defined(node, Env(self))
        if isinstance(node, ast.Import):
            for a in node.names:
                if (a.asname or a.name.split(".")[0]) == name:
                    return self.domain.module(self.file, a.name if a.asname else name, 0)
        if isinstance(node, ast.ImportFrom):
            return self.imported(node, name)
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            env = Env(self)
            value = self.domain.evaluate(node.value, env)
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                self.domain.assign(target, value, env)
            self.domain.freeze(value)
            return env.values[name]
        raise CodeRefused(f"uses {name!r}, which is defined in a way that is not followed", self.place(node))

    def imported(self, node: ast.ImportFrom, name: str, known: bool = False) -> Any:
        """What ``from module import name`` gives; with ``known`` (a star) UNSET where it is not known to be there."""
        module = self.domain.module(self.file, node.module or "", node.level)
        wanted = next((a.name for a in node.names if (a.asname or a.name) == name), name)
        if isinstance(module, SourceModule):
            if known and not module.has(wanted):
                found = module._find(wanted)
                return found
            if not module.has(wanted):
                inner = self.domain.module(self.file, ".".join(filter(None, (node.module, wanted))), node.level)
                if isinstance(inner, SourceModule):
                    return inner
            return module.read(wanted)
        path = f"{module.path}.{wanted}"
        if known and not (path.startswith(("keras.", "tensorflow.")) and (is_known(canonical(wanted)) or wanted == "Layer")):
            return UNSET
        return self.domain.named(path)


def _statements(body: list[ast.stmt], guards: tuple[Guard, ...]) -> Iterator[tuple[ast.stmt, tuple[Guard, ...]]]:
    """The statements of a module with the conditions around them; of ``try`` what it tries."""
    for node in body:
        if isinstance(node, ast.If):
            yield from _statements(node.body, (*guards, (node.test, True)))
            yield from _statements(node.orelse, (*guards, (node.test, False)))
        elif isinstance(node, ast.Try):
            yield from _statements([s for h in node.handlers for s in h.body], guards)
            yield from _statements([*node.body, *node.orelse, *node.finalbody], guards)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            yield node, guards


def _changes(node: ast.stmt, name: ast.Name) -> bool:
    """Whether a statement may change the object of a name: an item or attribute of it is set, or a method of it is called."""
    for part in ast.walk(node):
        owner = part.value if isinstance(part, (ast.Subscript, ast.Attribute)) else None
        if owner is name and (isinstance(getattr(part, "ctx", None), (ast.Store, ast.Del)) or isinstance(node, ast.Expr)):
            return True
    return False


def path_of(x: Any) -> str:
    """The dotted path of a name, "" for anything else."""
    return x.path if isinstance(x, Name) else ""

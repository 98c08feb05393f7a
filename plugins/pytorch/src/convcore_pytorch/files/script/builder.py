"""What reading makes: nodes in the open region, names, types, graph inputs for weights and state; and operator overloads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from convcore.plugin import BadFileError, Problem, UnsupportedError

from ...signatures import REQUIRED, Parameter, Signature, overloads
from .. import limits
from ..program import Argument, Graph, Input, Node, Scope, SymValue, TensorValue
from ..storage import StoredTensor
from .source import Source
from .values import Module, Sym, as_argument, equal, kind_of_value

__all__ = ["Builder", "resolve"]

_STEPS = 1_000_000


class Builder:
    """The program in the making. ``state``: current values of the attributes that methods set, by dotted path."""

    def __init__(self, source: Source, where: str) -> None:
        self.source, self.where = source, where
        self.nodes: list[Node] = []
        self.values: dict[str, TensorValue | SymValue] = {}
        self.inputs: dict[str, Input] = {}  # by value name; weights and state after the user's
        self.weights: dict[str, StoredTensor] = {}
        self.constants: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.first: dict[str, Any] = {}  # what each of them was before anything was set
        self.fixed: dict[str, Any] = {}  # attributes that the caller fixes, by path
        self.held: dict[str, Sym] = {}
        self.names: dict[str, int] = {}
        self.scopes: list[Scope] = []
        self.calls: Counter[str] = Counter()
        self.modules: dict[str, str] = {}
        self.steps = 0

    # ---- refusals
    def step(self) -> None:
        self.steps += 1
        if self.steps > _STEPS or len(self.names) > limits.NODES:
            raise BadFileError(f"{self.where}: the program is longer than {_STEPS} steps when its methods are inlined")

    def damaged(self, why: str) -> BadFileError:
        return BadFileError(f"{self.where}: {self.place()}: {why}")

    def refuse(self, what: str, why: str, hint: str = "export the model with torch.export instead") -> NoReturn:
        raise UnsupportedError(Problem(self.place(), what, why, hint, "unsupported_op"))

    def place(self) -> str:
        return (self.scopes[-1].path or self.scopes[-1].cls) if self.scopes else "TorchScript"

    # ---- values
    def name(self, wish: str) -> str:
        wish = re.sub(r"\W", "_", wish) or "value"
        count = self.names.get(wish)
        self.names[wish] = 1 if count is None else count + 1
        return wish if count is None else self.name(f"{wish}_{count}")

    def sym(self, wish: str, kind: str) -> Sym:
        """A new value."""
        found = Sym(self.name(wish), kind)
        if kind in ("int", "float", "bool"):
            self.values[found.name] = SymValue(kind)
        return found

    def weight(self, path: str, held: StoredTensor, kind: str) -> Sym:
        """The graph input of a parameter, buffer, constant or attribute; one for each name."""
        if path not in self.held:
            found = self.sym(path.replace(".", "_"), "Tensor")
            self.inputs[found.name] = Input(kind, found.name, path)
            self.values[found.name] = TensorValue(held.element.name, held.shape, held.strides, held.requires_grad)
            (self.weights if kind in ("parameter", "buffer") else self.constants)[path] = held
            self.held[path] = found
        return self.held[path]

    def attribute(self, path: str, initial: Any) -> Any:
        """The current value of an attribute that some method sets: at first an input of the program."""
        if path not in self.state:
            kind = kind_of_value(initial)
            if path in self.fixed:
                self.state[path] = self.fixed[path]
            elif isinstance(initial, StoredTensor):
                self.state[path] = self.weight(path, initial, "attribute")
            elif kind in ("int", "float", "bool", "str"):
                found = self.sym(path.replace(".", "_"), kind)
                self.inputs[found.name] = Input("attribute", found.name, path, value=initial)
                self.state[path] = found
            else:
                self.refuse(f"attribute {path!r}", f"is set between calls and is a {kind}, which has no form as a model's state")
            self.first[path] = self.state[path]
        return self.state[path]

    def changed(self) -> dict[str, Any]:
        """Attributes whose value differs at the end."""
        return {path: value for path, value in self.state.items() if not equal(value, self.first.get(path))}

    # ---- nodes
    def emit(self, target: str, arguments: list[Argument], kinds: list[str], wish: str = "") -> list[Sym]:
        """A node in the open region; its results by their types."""
        self.step()
        wish = wish or target.split(".")[1]
        made = [self.sym(wish if len(kinds) == 1 else f"{wish}_{i}", kind) for i, kind in enumerate(kinds)]
        name = made[0].name if made else self.name(wish)
        self.nodes.append(Node(name, target, tuple(arguments), tuple(m.name for m in made), tuple(self.scopes)))
        return made

    @contextmanager
    def region(self) -> Iterator[list[Node]]:
        """Nodes made inside go into the list that is given."""
        outer, self.nodes = self.nodes, []
        try:
            yield self.nodes
        finally:
            self.nodes = outer

    def graph(self, name: str, inputs: list[Sym], outputs: list[Any], nodes: list[Node]) -> Graph:
        """A body that may use the names around it."""
        made = tuple(as_argument(o) for o in outputs)
        return Graph(name, tuple(i.name for i in inputs), made, tuple(nodes), {}, captures=True)

    @contextmanager
    def inside(self, module: Module, method: str) -> Iterator[None]:
        """The scope of a module's forward; other methods run in the scope they are called from or in the module's."""
        from .source import plain_name

        here = self.scopes[-1] if self.scopes else None
        if here is not None and here.path == module.path and method != "forward":
            yield
            return
        count = self.calls[module.path]
        self.calls[module.path] += 1
        cls = plain_name(module.cls.name)
        self.modules[module.path] = cls
        self.scopes.append(Scope(module.path, cls, count))
        if len(self.scopes) > limits.DEPTH:
            raise self.damaged(f"modules nested more than {limits.DEPTH} deep")
        try:
            yield
        finally:
            self.scopes.pop()


# ---------------------------------------------------------------- overloads
def resolve(name: str, args: list[Any], keywords: dict[str, Any]) -> tuple[Signature, dict[str, str]] | None:
    """The overload TorchScript takes for these arguments (first without, then with conversions), and its type variables.

    Source: torch/csrc/jit/frontend/schema_matching.cpp, matchSchemas, torch 2.13.
    """
    for convert in (False, True):
        for found in overloads(name):
            bound = _match(found, args, keywords, convert)
            if bound is not None:
                return found, bound
    return None


def _match(found: Signature, args: list[Any], keywords: dict[str, Any], convert: bool) -> dict[str, str] | None:
    bound: dict[str, str] = {}
    positional = [p for p in found.parameters if not p.keyword]
    if len(args) > len(positional) and not found.variadic:
        return None
    given = dict(zip((p.name for p in positional), args))
    if given.keys() & keywords.keys() or keywords.keys() - {p.name for p in found.parameters}:
        return None
    given |= keywords
    for p in found.parameters:
        if p.name not in given:
            if p.default is REQUIRED:
                return None
        elif not _fits(p, given[p.name], bound, convert):
            return None
    return bound


def _fits(p: Parameter, value: Any, bound: dict[str, str], convert: bool) -> bool:
    return _accepts(p.type, kind_of_value(value), value, bound, convert)


_INTS = ("int", "SymInt", "ScalarType", "Layout", "MemoryFormat")


def _accepts(want: str, kind: str, value: Any, bound: dict[str, str], convert: bool) -> bool:
    if want.endswith("?"):
        return kind == "NoneType" or _accepts(want[:-1], kind.removesuffix("?"), value, bound, convert)
    if want in ("Any", kind):
        return True
    if want in ("t", "t1", "t2", "tKey", "tVal"):
        return bound.setdefault(want, kind) == kind
    if want in _INTS and kind in _INTS:
        return True
    if want == "Scalar" and kind in ("int", "float", "complex", "bool", "Scalar"):
        return kind != "bool" or convert
    listed = re.fullmatch(r"(.+)\[(\d*)\]", want)
    if listed is not None:
        inner = listed[1]
        if isinstance(value, (list, tuple)):
            return all(_accepts(inner, kind_of_value(v), v, bound, convert) for v in value)
        if kind.endswith("[]"):
            return _accepts(inner, kind[:-2], None, bound, convert)
        return bool(listed[2]) and _accepts(inner, kind, value, bound, convert)
    if want.startswith("Dict(") and kind.startswith("Dict("):
        key, _, held = kind[5:-1].partition(", ")
        if held:
            bound.setdefault("t", held)
        return want[5:].partition(",")[0] in (key, "tKey")
    if convert:
        return (kind == "Tensor" and want in ("int", "float", "bool", "Scalar", "SymInt")) or (want == "float" and kind == "int")
    return False


def result_types(found: Signature, bound: dict[str, str]) -> list[str]:
    """Types of the results, type variables replaced."""
    return [re.sub(r"\bt(?:1|2|Key|Val)?\b", lambda m: bound.get(m[0], m[0]), kind) for kind in found.returns]

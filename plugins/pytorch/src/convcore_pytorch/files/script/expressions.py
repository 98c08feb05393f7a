"""Expressions of TorchScript source: constants folded, attributes resolved, calls inlined, operators made into nodes."""

from __future__ import annotations

import ast
from abc import abstractmethod
from typing import Any

from ..objects import Global, Instance
from ..program import Argument, Device
from ..storage import StoredTensor
from .builder import Builder, resolve, result_types
from .fold import FOLDED, fold
from .source import Class, plain_name, type_text
from .values import Function, Module, NoGrad, Sym, Tagged, Unset, as_argument, equal, fixed, kind_of_value, typed_argument

__all__ = ["Expressions"]

Env = dict[str, Any]
_NO_GRAD = "torch.autograd.grad_mode.no_grad"
_FACTS = {"device": "Device", "dtype": "int", "layout": "int", "data": "Tensor", "NumToTensor": "Tensor", "is_cuda": "bool"}


class Expressions(Builder):
    """Values of expressions. ``literals`` are the archive's ``CONSTANTS``."""

    literals: tuple[Any, ...] = ()

    def value(self, node: ast.expr, env: Env) -> Any:
        self.step()
        read = getattr(self, f"_{type(node).__name__.lower()}", None)
        if read is None:
            raise self.damaged(f"the code has a {type(node).__name__}, which TorchScript does not write")
        return read(node, env)

    def _constant(self, node: ast.Constant, _env: Env) -> Any:
        if (
            node.value is Ellipsis
            or isinstance(node.value, bytes)
            or (isinstance(node.value, int) and abs(node.value) >= 1 << 64)
        ):
            raise self.damaged("a constant that TorchScript does not write")
        return node.value

    def _name(self, node: ast.Name, env: Env) -> Any:
        if node.id not in env:
            if node.id in ("inf", "nan"):  # torch/csrc/jit/serialization/import_source.cpp, SourceImporterImpl::env_
                return float(node.id)
            raise self.damaged(f"the code uses {node.id!r} before it is set")
        return env[node.id]

    def _list(self, node: ast.List, env: Env) -> Any:
        return [self.value(e, env) for e in node.elts]

    def _tuple(self, node: ast.Tuple, env: Env) -> Any:
        return tuple(self.value(e, env) for e in node.elts)

    def _dict(self, node: ast.Dict, env: Env) -> Any:
        keys = [self.value(k, env) if k is not None else None for k in node.keys]
        if not all(isinstance(k, (str, int)) for k in keys):
            self.refuse("a dict", "has keys that are not known when the file is read")
        return dict(zip(keys, (self.value(v, env) for v in node.values)))

    def _unaryop(self, node: ast.UnaryOp, env: Env) -> Any:
        inner = self.value(node.operand, env)
        if not isinstance(node.op, ast.USub) or isinstance(inner, bool) or not isinstance(inner, (int, float, complex)):
            raise self.damaged("an operator that TorchScript does not write")
        return -inner

    def _subscript(self, node: ast.Subscript, env: Env) -> Any:
        held, index = self.value(node.value, env), self.value(node.slice, env)
        if isinstance(held, (tuple, list)) and isinstance(index, int) and not isinstance(index, bool):
            if not -len(held) <= index < len(held):
                raise self.damaged(f"item {index} of {len(held)}")
            return held[index]
        if isinstance(held, dict) and isinstance(index, (str, int)):
            if index not in held:
                raise self.damaged(f"no entry {index!r} in a dict")
            return held[index]
        return self.operator("aten.__getitem__", [held, index], {})

    def _attribute(self, node: ast.Attribute, env: Env) -> Any:
        dotted = _dotted(node)
        if dotted.startswith("__torch__."):
            return Function(dotted)
        if dotted.startswith("CONSTANTS.c") and dotted[11:].isdecimal() and int(dotted[11:]) < len(self.literals):
            held = self.literals[int(dotted[11:])]
            return self.weight(f"CONSTANTS.{node.attr}", held, "constant") if isinstance(held, StoredTensor) else held
        return self.member(self.value(node.value, env), node.attr)

    # ---- modules
    def member(self, held: Any, name: str) -> Any:
        """An attribute of a module."""
        if not isinstance(held, Module):
            self.refuse(f"attribute {name!r}", f"of a {kind_of_value(held)} is not read")
        path = f"{held.path}.{name}" if held.path else name
        state = held.instance.state
        if isinstance(state, dict) and name in state:
            value = state[name]
        elif name in held.cls.constants:
            return self.value(held.cls.constants[name], {})
        else:
            raise self.damaged(f"{held.cls.name} has no attribute {name!r}")
        if isinstance(value, Instance):
            return self.wrap(path, value)
        if name in held.cls.assigned and name != "training":
            return self.attribute(path, value)
        if isinstance(value, StoredTensor):
            kind = "parameter" if name in held.cls.parameters else "buffer" if name in held.cls.buffers else "constant"
            return self.weight(path, value, kind)
        return self.known(path, value)

    def known(self, path: str, value: Any) -> Any:
        """A constant attribute: plain values, tensors inside lists as weights."""
        if isinstance(value, Global):
            self.refuse(f"attribute {path!r}", f"is the class or function {value.path}, which is no value")
        if isinstance(value, (list, tuple)):
            return type(value)(self.known(f"{path}.{i}", v) for i, v in enumerate(value))
        if isinstance(value, dict):
            return {k: self.known(f"{path}.{k}", v) for k, v in value.items()}
        if isinstance(value, StoredTensor):
            return self.weight(path, value, "constant")
        if isinstance(value, Instance):
            return self.wrap(path, value)
        return value

    def wrap(self, path: str, value: Instance) -> Any:
        """A module of the archive, or a refusal of any other object."""
        name = value.cls.path
        if name == "torch.device":
            return Device(str(value.args[0]) if value.args else "cpu")
        if not name.startswith("__torch__.") or name.startswith("__torch__.torch.classes."):
            self.refuse(f"attribute {path!r}", f"is an object of class {name}, which is not read (packed or custom weights)")
        cls = self.source.cls(name)
        if "__setstate__" in cls.methods or "__getstate__" in cls.methods:
            self.refuse(
                f"attribute {path!r}", f"{plain_name(name)} has a __setstate__, which would run on loading; it is not run"
            )
        return Module(path, cls, value)

    # ---- calls
    def _call(self, node: ast.Call, env: Env) -> Any:
        function = node.func
        if isinstance(function, ast.Name):
            return self.builtin(function.id, node, env)
        if not isinstance(function, ast.Attribute):
            raise self.damaged("a call that TorchScript does not write")
        dotted = _dotted(function)
        space, _, name = dotted.partition(".")
        if space == "torch" and name:
            return self.operator(f"aten.{name}", *self.arguments(node, env))
        if space == "ops" and name.count(".") == 1:
            return self.operator(name, *self.arguments(node, env))
        if space == "__torch__":
            if plain_name(dotted) == f"{_NO_GRAD}.__new__":
                return NoGrad()
            return self.function(Function(dotted.removesuffix(".__new__")), *self.arguments(node, env))
        held = self.value(function.value, env)
        if isinstance(held, NoGrad) and function.attr == "__init__":
            return None
        if not isinstance(held, Module):
            self.refuse(f"method {function.attr!r}", f"of a {kind_of_value(held)} is not read")
        return self.method(held, function.attr, *self.arguments(node, env))

    def arguments(self, node: ast.Call, env: Env) -> tuple[list[Any], dict[str, Any]]:
        return [self.value(a, env) for a in node.args], {k.arg or "": self.value(k.value, env) for k in node.keywords}

    def builtin(self, name: str, node: ast.Call, env: Env) -> Any:
        """The few names TorchScript calls without a module."""
        args = node.args
        if name == "annotate" and len(args) == 2:
            value = self.value(args[1], env)
            if isinstance(value, list):
                value = Tagged(value)
                value.type = type_text(args[0])
            return value
        if name == "unchecked_cast" and len(args) == 2:
            value = self.value(args[1], env)
            return Sym(value.name, type_text(args[0])) if isinstance(value, Sym) else value
        if name == "uninitialized" and len(args) == 1:
            return Unset(type_text(args[0]))
        if name == "getattr" and len(args) == 2:
            key = self.value(args[1], env)
            return self.member(self.value(args[0], env), str(key))
        if name in ("int", "float", "bool", "str") and len(args) == 1:
            value = self.value(args[0], env)
            if name == "float" and value in ("inf", "-inf", "nan"):
                return float(value)
            return (
                self.operator("aten." + name.capitalize(), [value], {})
                if name != "str"
                else self.operator("aten.str", [value], {})
            )
        if name in env and isinstance(env[name], Function):
            return self.function(env[name], *self.arguments(node, env))
        return self.refuse(f"call of {name}", "is not read")

    def method(self, held: Module, name: str, args: list[Any], keywords: dict[str, Any]) -> Any:
        found = held.cls.methods.get(name)
        if found is None:
            raise self.damaged(f"{held.cls.name} has no method {name!r}")
        with self.inside(held, name):
            return self.inline(found, [held, *args], keywords)

    def function(self, called: Function, args: list[Any], keywords: dict[str, Any]) -> Any:
        found = self.source.find(called.name)
        if isinstance(found, Class):
            if found.base == "NamedTuple":
                return tuple(args)
            self.refuse(f"an object of class {plain_name(called.name)}", "is made while the model runs")
        return self.inline(found, args, keywords)

    @abstractmethod
    def inline(self, found: ast.FunctionDef, args: list[Any], keywords: dict[str, Any]) -> Any:
        """What a function of the source gives; its statements are read by :class:`.statements.Statements`."""

    # ---- operators
    def operator(self, target: str, args: list[Any], keywords: dict[str, Any]) -> Any:
        """The value of an operator: folded, kept in a known list, or a node."""
        space, _, name = target.partition(".")
        if space == "prim" or name in ("__is__", "__isnot__"):
            return self.primitive(name, args)
        if name in FOLDED and not keywords and all(map(fixed, args)):
            if name in ("__not__", "__and__", "__or__") and any(not isinstance(a, bool) for a in args) and name == "__not__":
                raise self.damaged("not of something that is no truth value")
            return fold(name, args, self.where)
        known = self.container(name, args)
        if known is not None:
            return known[0]
        if space == "aten":
            found = resolve(name, args, keywords)
            if found is None:
                kinds = ", ".join(map(kind_of_value, args))
                self.refuse(f"torch.{name}", f"has no overload in ATen's table for ({kinds})")
            schema, bound = found
            slots = [(p.name, p.type) for p in schema.parameters if not p.keyword]
            slots += [("", "Any")] * (len(args) - len(slots))
            given = [Argument(n, typed_argument(a, kind)) for (n, kind), a in zip(slots, args)]
            kinds_of = {p.name: p.type for p in schema.parameters}
            given += [Argument(n, typed_argument(a, kinds_of[n]), True) for n, a in keywords.items()]
            made = self.emit(schema.target, given, result_types(schema, bound))
            return None if not made else made[0] if len(made) == 1 else tuple(made)
        return self.refuse(f"operator {target}", "belongs to no namespace that is read")

    def container(self, name: str, args: list[Any]) -> tuple[Any] | None:
        """Operators on lists, tuples and dicts whose length is known though their items are not."""
        held = args[0] if args else None
        if name == "len" and isinstance(held, (list, tuple, dict)):
            return (len(held),)
        if name in ("append", "_set_item", "extend", "clear", "pop", "insert") and isinstance(held, list):
            if not any(held is mine for mine in self.mine):
                self.refuse(f"list.{name}", "on a list made outside of the branch or loop that changes it")
            if name == "append":
                held.append(args[1])
            elif name == "extend" and isinstance(args[1], (list, tuple)):
                held.extend(args[1])
            elif name == "_set_item" and isinstance(args[1], int) and -len(held) <= args[1] < len(held):
                held[args[1]] = args[2]
            else:
                self.refuse(f"list.{name}", "is not read")
            return (held,)
        if name in ("values", "keys", "items") and isinstance(held, dict):
            return (list(getattr(held, name)()),)
        if name == "list" and isinstance(held, (list, tuple)):
            return (self.own(list(held)),)
        if name == "add" and isinstance(held, list) and isinstance(args[1], list):
            return (self.own([*held, *args[1]]),)
        if name == "__contains__" and isinstance(held, dict) and isinstance(args[1], (str, int)):
            return (args[1] in held,)
        return None

    mine: list[list[Any]]

    def own(self, made: list[Any]) -> list[Any]:
        """A list that the open region may change."""
        self.mine.append(made)
        return made

    def primitive(self, name: str, args: list[Any]) -> Any:
        if name in ("__is__", "__isnot__"):
            types = [kind_of_value(a) for a in args]
            if equal(*args) or "NoneType" in types:
                sure = equal(*args) or not any(k.endswith("?") for k in types)
                if sure:
                    return equal(*args) == (name == "__is__")
            return self.emit(f"aten.{name}.default", [Argument("", as_argument(a)) for a in args], ["bool"])[0]
        if name == "RaiseException":
            self.emit("prim.RaiseException", [Argument("message", as_argument(args[0]))], [])
            return None
        if name in ("unchecked_unwrap_optional", "unchecked_cast") and args:
            return args[0]
        if (
            name in ("min", "max") and len(args) == 1 and isinstance(args[0], list) and all(map(fixed, args[0]))
        ):  # of zip's lengths
            args = args[0]
        if name in ("min", "max", "abs") and all(isinstance(a, (int, float)) for a in args) and len(args) > (name != "abs"):
            return min(args) if name == "min" else max(args) if name == "max" else abs(args[0])
        if name in ("min", "max") and all(kind_of_value(a) in ("int", "float") for a in args) and len(args) == 2:
            kind = "float" if "float" in map(kind_of_value, args) else "int"
            return self.emit(f"prim.{name}", [Argument(n, as_argument(a)) for n, a in zip("ab", args)], [kind])[0]
        if name not in _FACTS or len(args) != 1:
            self.refuse(f"prim.{name}", "is not read")
        return self.emit(f"prim.{name}", [Argument("a", as_argument(args[0]))], [_FACTS[name]])[0]


def _dotted(node: ast.expr) -> str:
    """``a.b.c`` of nested attributes; empty when the innermost is no plain name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""

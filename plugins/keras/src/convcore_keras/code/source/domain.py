"""One layer's source being worked through: Python's operations with objects, arrays and names of modules of the library."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convcore.plugin import ask_option

from ..builtin import DTYPES
from ..domain import Domain, Options, TensorOps
from ..names import MODULES
from ..values import CodeRefused, Invocable, Method, Name, what_is
from . import arrays
from .builtin import BUILTINS
from .classes import SourceClass, SourceObject, Super, defined_class
from .expressions import evaluate
from .formatting import formatted, percent, shown
from .iterators import ITERATORS, Iterated
from .library import Library, SourceFile
from .module import Env, SourceModule
from .records import EnumClass, Member, Tuple_
from .statements import SourceFunction, assign

if TYPE_CHECKING:
    from .layers import Host

__all__ = ["SourceDomain"]

STEPS = 400_000
"""Steps of one call of a layer."""

TRANSPARENT = {
    "function", "register_keras_serializable", "override", "keras_export", "tf_export", "do_not_convert", "typechecked", "wraps",
    "no_automatic_dependency_tracking", "shape_type_conversion", "abstractmethod", "final", "lru_cache", "cache",
}  # fmt: skip
"""Decorators that leave what a function computes as it is, by the last part of their name."""


class SourceDomain(Domain):
    """``library`` are the files, ``host`` what Keras's layers need of the model being loaded."""

    def __init__(self, ops: TensorOps, library: Library, host: Host) -> None:
        super().__init__(ops, Options({}, MODULES), STEPS)
        self.library, self.host = library, host
        self.inside = ""
        self.settling = False
        """Whether weights are read as tensors: in ``call``, not while layers are made and built."""
        self._modules: dict[SourceFile, SourceModule] = {}
        self._frozen: dict[int, Any] = {}
        self.max_calls = 64

    # ---- code
    def evaluate(self, node: ast.expr, env: Env) -> Any:
        return evaluate(self, node, env)

    def assign(self, target: ast.expr, value: Any, env: Env) -> None:
        assign(self, target, value, env)

    def module_of(self, file: SourceFile) -> SourceModule:
        """A file of the library, parsed once."""
        if file not in self._modules:
            self._modules[file] = SourceModule(file, self)
        return self._modules[file]

    def module(self, by: SourceFile, name: str, level: int) -> Any:
        """What ``import name`` in a file gives: a file of the library, or a name."""
        found = self.library.imported(by, name, level)
        if found is not None:
            return self.module_of(found)
        return Name("." * level + name)

    def globally(self, name: str) -> Any:
        if name in BUILTINS or name in ITERATORS:
            return Name(f"builtins.{name}")
        return super().globally(name)

    def function(self, node: ast.FunctionDef | ast.Lambda, env: Env, owner: Any = None) -> SourceFunction:
        """A function with its defaults evaluated, as Python does where it is defined."""
        a = node.args
        names = [x.arg for x in (*a.posonlyargs, *a.args)]
        defaults = {n: evaluate(self, v, env) for n, v in zip(names[len(names) - len(a.defaults) :], a.defaults, strict=True)}
        for x, v in zip(a.kwonlyargs, a.kw_defaults, strict=True):
            if v is not None:
                defaults[x.arg] = evaluate(self, v, env)
        for v in defaults.values():
            self.freeze(v)
        own = "" if isinstance(node, ast.Lambda) else node.name
        name = f"{owner.name}.{own}" if owner is not None and own else own
        around = env
        while around.owner is not None and isinstance(owner, SourceClass) and around.values is owner.members:
            around = around.parent or Env(env.module)
        return SourceFunction(node, around, defaults, owner if owner is not None else env.owner, name)

    def defined(self, node: ast.FunctionDef | ast.ClassDef, env: Env) -> Any:
        """What ``def`` or ``class`` gives, decorators applied."""
        made: Any = defined_class(self, node, env) if isinstance(node, ast.ClassDef) else self.function(node, env)
        return self.decorated(node, made, env)

    def decorated(self, node: ast.FunctionDef | ast.ClassDef, made: Any, env: Env) -> Any:
        for decorator in reversed(node.decorator_list):
            plain = decorator.func if isinstance(decorator, ast.Call) else decorator
            f = evaluate(self, plain, env)
            if isinstance(f, Name) and f.path.rpartition(".")[2] in TRANSPARENT:
                continue
            made = self.call(evaluate(self, decorator, env), [made], {})
        return made

    def super_of(self, env: Env) -> Any:
        """``super()`` inside a method."""
        at: Env | None = env
        while at is not None:
            if at.owner is not None and "self" in at.values and isinstance(at.values["self"], SourceObject):
                return Super(at.values["self"], at.owner)
            if at.owner is not None and at.function and at.values:
                first = next(iter(at.values.values()))
                if isinstance(first, (SourceObject, SourceClass)):
                    return Super(first, at.owner)
            at = at.parent
        raise CodeRefused("calls super() outside of a method")

    def settled(self, x: Any) -> Any:
        """A weight as the tensor it is, in ``call``."""
        return self.host.settled(x) if self.settling else x

    # ---- what is shared between calls stays as it is
    def freeze(self, x: Any) -> None:
        """A list, dict or array of a module, class or default, which all users share: changing it is refused."""
        if isinstance(x, (list, dict, np.ndarray)):
            self._frozen[id(x)] = x

    def changed(self, x: Any) -> None:
        """Raises CodeRefused for what is shared."""
        if id(x) in self._frozen:
            raise CodeRefused("changes a list, dict or array that a module, a class or a default argument holds")

    def set_item(self, x: Any, key: Any, value: Any) -> None:
        """``x[key] = value``."""
        self.changed(x)
        if isinstance(x, np.ndarray):
            arrays.set_item(x, key, value)
        elif (isinstance(x, dict) and (isinstance(key, (str, int, tuple)) or key is None)) or (
            isinstance(x, list) and isinstance(key, (int, slice))
        ):
            try:
                x[key] = value  # type: ignore[index]
            except (TypeError, ValueError, LookupError) as e:
                raise CodeRefused(f"sets an item that is not there: {e}") from e
            self.bounded(x)
            self.host.track_again(x)
        elif self.ops.is_tensor(x):
            raise CodeRefused("sets items of a tensor")
        else:
            raise CodeRefused(f"sets an item of {what_is(x)}")

    def delete_item(self, x: Any, key: Any) -> None:
        """``del x[key]``."""
        self.changed(x)
        if not isinstance(x, (list, dict)) or self.symbolic(key):
            raise CodeRefused(f"deletes an item of {what_is(x)}")
        try:
            del x[key]
        except (TypeError, LookupError) as e:
            raise CodeRefused(f"deletes an item that is not there: {e}") from e

    def set_attribute(self, x: Any, name: str, value: Any) -> None:
        """``x.name = value``."""
        if isinstance(x, SourceObject):
            x.assign(self, name, value)
        elif self.ops.is_tensor(x):
            if name not in ("_keras_mask", "_keras_shape", "_uses_learning_phase"):
                raise CodeRefused(f"sets the attribute {name!r} of a tensor")
            raise CodeRefused("attaches a mask or shape to a tensor by hand")
        else:
            setter = getattr(x, "assign_attribute", None)
            if setter is None:
                raise CodeRefused(f"sets the attribute {name!r} of {what_is(x)}")
            setter(self, name, value)

    # ---- Python's operations
    def truth(self, x: Any) -> bool:
        if isinstance(x, SourceObject):
            asked = x.find(self, "__bool__") or x.find(self, "__len__")
            return asked is None or self.truth(self.call(asked, [], {}))
        if isinstance(x, (SourceFunction, SourceClass, SourceModule)):
            return True
        if isinstance(x, np.ndarray):
            if x.size != 1:
                raise CodeRefused("branches on an array of several numbers")
            return bool(x.reshape(()))
        if isinstance(x, Name) and self.host.is_function(x.path):
            return True
        if isinstance(x, Invocable) and getattr(x, "always_true", False):
            return True
        return super().truth(x)

    def same(self, x: Any, y: Any) -> bool:
        if isinstance(x, Invocable) or isinstance(y, Invocable):
            return x is y
        if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
            return x is y
        return super().same(x, y)

    def binary(self, op: str, x: Any, y: Any) -> Any:
        if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
            if self.ops.is_tensor(x) or self.ops.is_tensor(y):
                x, y = (self.host.from_array(v) if isinstance(v, np.ndarray) else v for v in (x, y))
            else:
                self.spend()
                return arrays.binary(op, x, y)
        if isinstance(x, str) and op == "%":
            return self.bounded(percent(x, y))
        if isinstance(x, frozenset) and isinstance(y, frozenset) and op in "|&-^":
            return {"|": x | y, "&": x & y, "-": x - y, "^": x ^ y}[op]
        return super().binary(op, x, y)

    def inplace(self, op: str, x: Any, y: Any) -> Any:
        if isinstance(x, (list, dict, np.ndarray)):
            self.changed(x)
        if isinstance(x, np.ndarray) and not self.ops.is_tensor(y):
            return arrays.inplace(op, x, y)
        if isinstance(x, dict) and op == "|" and isinstance(y, dict):
            x.update(y)
            return x
        made = super().inplace(op, x, y)
        self.host.track_again(x)
        return made

    def unary(self, op: str, x: Any) -> Any:
        if isinstance(x, np.ndarray):
            return arrays.unary(op, x)
        return super().unary(op, x)

    def compare(self, op: str, x: Any, y: Any) -> Any:
        if (isinstance(x, np.ndarray) or isinstance(y, np.ndarray)) and op not in ("is", "is not", "in", "not in"):
            if self.ops.is_tensor(x) or self.ops.is_tensor(y):
                x, y = (self.host.from_array(v) if isinstance(v, np.ndarray) else v for v in (x, y))
            else:
                return arrays.binary(op, x, y)
        if op in ("==", "!=") and (isinstance(x, Member) or isinstance(y, Member)):
            return bool(x == y) == (op == "==")
        if op in ("==", "!=") and (isinstance(x, SourceObject) or isinstance(y, SourceObject)):
            equal = bool(x == y)  # refused where a class says what is equal
            if isinstance(x, SourceObject) and isinstance(y, SourceObject):
                return equal == (op == "==")
        if op in ("==", "!=") and (isinstance(x, (Name, Invocable)) or isinstance(y, (Name, Invocable))):
            if isinstance(x, Name) and isinstance(y, Name):
                return (self.host.canonical(x.path) == self.host.canonical(y.path)) == (op == "==")
            if x is None or y is None or isinstance(x, str) or isinstance(y, str):
                return op == "!="
        if op in ("in", "not in") and isinstance(y, (list, tuple)) and any(isinstance(v, (Name, Invocable)) for v in y):
            return any(self._is_item(x, v) for v in y) == (op == "in")
        return super().compare(op, x, y)

    def _is_item(self, x: Any, v: Any) -> bool:
        """Whether an item of a sequence is what is looked for."""
        if x is v or (isinstance(v, Invocable) and not isinstance(v, Member)):
            return bool(x == v)
        return self.truth(self.compare("==", x, v))

    def item(self, x: Any, key: Any) -> Any:
        if isinstance(x, np.ndarray):
            return arrays.item(x, key)
        if isinstance(x, SourceObject):
            method = x.find(self, "__getitem__")
            if method is not None:
                return self.call(method, [key], {})
        if isinstance(x, Name) and x.path.startswith("typing."):
            return x
        if isinstance(x, EnumClass):
            return x.item(key)
        return self.settled(super().item(x, key))

    def iterate(self, x: Any) -> list[Any]:
        if isinstance(x, np.ndarray):
            return [arrays.item(x, i) for i in range(len(x))] if x.ndim else super().iterate(x)
        if isinstance(x, frozenset):
            raise CodeRefused("iterates over a set, which has no order")
        if isinstance(x, EnumClass):
            return x.all()
        if isinstance(x, Iterated):
            items: list[Any] = []
            for v in self.lazily(x):
                items.append(v)
                self.bounded(items)
            return items
        return [self.settled(v) for v in super().iterate(x)]

    def lazily(self, x: Any) -> Iterator[Any]:
        """The items of a sequence, those of an iterator as they are asked for; of a list also what is added while it is gone
        over."""
        if isinstance(x, Iterated):
            for v in x.items:
                self.spend()
                yield self.settled(v)
        elif isinstance(x, list):
            i = 0
            while i < len(x):
                self.spend()
                yield self.settled(x[i])
                i += 1
        else:
            yield from self.iterate(x)

    def text(self, x: Any, spec: str = "") -> str:
        if isinstance(x, (list, tuple)) and not spec:
            return shown(x)
        if isinstance(x, SourceClass):
            return str(x.name)
        if not spec:
            return super().text(x)
        if isinstance(x, (str, int, float)) and len(spec) <= 8 and not re.search(r"\d{3}", spec):
            try:
                return format(x, spec)
            except ValueError as e:
                raise CodeRefused(f"formats {what_is(x)} by {spec!r}") from e
        return super().text(x, spec)

    # ---- attributes and calls
    def attribute(self, x: Any, name: str) -> Any:
        if isinstance(x, SourceModule):
            return self.settled(x.read(name))
        if name in ("__class__", "__name__", "__init__", "__call__", "__dict__", "__members__") and isinstance(
            x, (Invocable, Super)
        ):
            return x.attribute(self, name)
        if isinstance(x, np.ndarray):
            return arrays.attribute(x, name)
        if isinstance(x, Tuple_) and name not in ("index", "count"):
            return self.settled(x.named(name))
        if isinstance(x, str) and name in ("name", "base_dtype", "as_numpy_dtype") and x in DTYPES:
            return x
        if isinstance(x, Name) and x.path.startswith("."):
            raise CodeRefused(f"reads {name!r} of the module {x.path!r}, which is not among the files of {ask_option('custom')}")
        return self.settled(super().attribute(x, name))

    def call(self, f: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if isinstance(f, Method) and isinstance(f.owner, np.ndarray):
            return arrays.method(self, f.owner, f.name, list(args), dict(kwargs))
        if isinstance(f, Method) and isinstance(f.owner, (list, dict)):
            if f.name not in ("items", "keys", "values", "get", "copy", "index", "count", "as_list"):
                self.changed(f.owner)
            if f.name in ("extend", "update"):
                args = self._listed(args)
            result = super().call(f, args, kwargs)
            self.host.track_again(f.owner)
            return result
        if isinstance(f, Method) and isinstance(f.owner, str) and f.name == "format":
            return self.bounded(formatted(f.owner, args, kwargs))
        if isinstance(f, Method) and isinstance(f.owner, str):
            args = self._listed(args)
        if isinstance(f, str) and f in DTYPES and len(args) == 1 and isinstance(args[0], (bool, int, float, np.ndarray)):
            a = np.asarray(args[0]).astype(f)  # np.float32(x)
            return int(a) if a.dtype.kind in "iu" and a.ndim == 0 else a
        if isinstance(f, Name) and f.path.startswith("."):
            raise CodeRefused(f"calls {f.path}, which is not among the files of {ask_option('custom')}")
        return super().call(f, args, kwargs)

    def named_call(self, path: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if self.ops.higher(path) is not None:
            return super().named_call(path, args, kwargs)
        return self.host.call_name(self, path, list(args), dict(kwargs))

    def _listed(self, args: Sequence[Any]) -> list[Any]:
        """Arguments with iterators gone over."""
        return [self.iterate(a) if isinstance(a, Iterated) else a for a in args]

    def builtin(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        own = ITERATORS.get(name) or BUILTINS.get(name)
        if own is not None:
            return own(self, args, kwargs)
        args = self._listed(args) if name in ("dict", "min", "max", "sum", "sorted") else args
        if any(isinstance(a, np.ndarray) for a in args) and name in arrays.BUILTIN:
            return arrays.BUILTIN[name](*args, **kwargs)
        if name in ("str", "repr") and args and isinstance(args[0], (list, tuple, dict)):
            shown(args[0])
        return super().builtin(name, args, kwargs)

"""What docs/generate.py writes about interfaces: the builder's typed methods and the public surface."""

from __future__ import annotations

import enum
import importlib
import inspect
import keyword
import re
from collections.abc import Iterable
from types import FunctionType
from typing import Any

from convcore.opset import Attr, Op, all_ops
from convcore.opset.declare import REQUIRED

PUBLIC = ("convcore", "convcore.plugin", "convcore.testing")

# ---------------------------------------------------------------- builder
_SEQUENCES = {
    "ints": "int", "perm": "int", "axes": "int", "floats": "float", "strs": "str", "shape": "DimLike", "dims": "DimLike | None",
    "pairs": "tuple[DimLike, DimLike]",
}  # fmt: skip
_SCALARS = {
    "int": "int", "axis": "int", "float": "float", "bool": "bool", "str": "str", "dim": "DimLike", "dtype": "DType | str | None",
    "tensor": "Tensor", "any": "Any", "pads": "Sequence[tuple[DimLike, DimLike]] | str",
}  # fmt: skip
_HEAD = '''# Written by docs/generate.py (`make docs`); do not edit.
# fmt: off
"""The builder's method for every op of the core, typed from its declaration. :class:`~convcore.build.builder.Builder` has them;
at run time they are made on demand, those of plugins' ops too (write ``b.op("name", x)`` for these where types are checked)."""

from collections.abc import Sequence
from typing import Any, Literal

from ..ir.dims import DimLike
from ..ir.dtypes import DType
from ..ir.graph import Graph, Value
from ..ir.tensors import Tensor

class OpMethods:
'''


def attr_type(a: Attr) -> str:
    """The Python type of an attribute's value. The builder refuses None as a dtype, that of a value of which it is not known."""
    if a.choices and all(isinstance(c, (str, int)) for c in a.choices) and a.kind in ("str", "int"):
        text = f"Literal[{', '.join(map(repr, a.choices))}]"
    else:
        text = f"Sequence[{_SEQUENCES[a.kind]}]" if a.kind in _SEQUENCES else _SCALARS[a.kind]
    return text if a.kind == "any" or not (a.optional or a.default is None) else f"{text} | None"


def _default(a: Attr) -> str:
    if a.default is REQUIRED:
        return ""
    kind = type(a.default)
    plain = kind in (bool, int, str, type(None)) or (kind is float and a.default.is_integer())
    return f" = {a.default!r}" if plain else " = ..."


def op_method(op: Op) -> str:
    """One method, e.g. ``def relu(self, x: Value, /) -> Value: ...``."""
    params = ["self"]
    last = max((i for i, a in enumerate(op.inputs) if not (a.optional or a.variadic)), default=-1)
    for i, a in enumerate(op.inputs):
        if a.variadic:
            params += [] if len(params) == 1 else ["/"]
            params.append(f"*{a.name}: Value | None")
        else:
            params.append(f"{a.name}: Value" + (" | None" if a.optional else "") + (" = None" if i > last else ""))
    if not (op.inputs and op.inputs[-1].variadic):
        params += ["/", "*"] if op.inputs else ["*"]
    params += [f"{n}: {attr_type(a)}{_default(a)}" for n, a in op.attrs.items()]
    if op.regions:
        params.append("regions: Sequence[Graph]")
    params += ['node_name: str = ""', "output_names: Sequence[str] = ()"]
    if op.variadic_outputs:
        result = "tuple[Value, ...]"
    else:
        result = "Value" if len(op.outputs) == 1 else f"tuple[{', '.join(['Value'] * len(op.outputs))}]"
    name = f"{op.name}_" if keyword.iskeyword(op.name) else op.name
    return f"    def {name}({', '.join(params)}) -> {result}: ..."


def builder_stub() -> str:
    """core/build/methods.pyi."""
    ours = sorted((o for o in all_ops().values() if o.distribution == "convcore"), key=lambda o: (o.family, o.name))
    return _HEAD + "\n".join(map(op_method, ours)) + "\n"


# ---------------------------------------------------------------- public surface
class _Text(str):
    """An annotation that is printed as it stands in the source."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _signature(thing: Any) -> str:
    def text(annotation: Any) -> Any:
        return _Text(annotation) if isinstance(annotation, str) else annotation

    s = inspect.signature(thing)
    params = [p.replace(annotation=text(p.annotation)) for p in s.parameters.values()]
    return re.sub(r" at 0x[0-9a-f]+", "", str(s.replace(parameters=params, return_annotation=text(s.return_annotation))))


def _members(cls: type) -> Iterable[str]:
    """The public members of a class that it and its bases of convcore define."""
    seen: dict[str, str] = {}
    for base in reversed([c for c in cls.__mro__ if c.__module__.partition(".")[0].startswith("convcore")]):
        for name, text in inspect.get_annotations(base).items():
            if not name.startswith("_"):
                seen[name] = f"{name}: {text}"
        for name, member in vars(base).items():
            if name.startswith("_"):
                continue
            inner = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
            if isinstance(inner, FunctionType):
                seen[name] = f"def {name}{_signature(inner)}"
            elif isinstance(member, property):
                seen[name] = f"property {name}"
            elif name not in seen:
                seen[name] = name
    return [seen[n] for n in sorted(seen)]


def _entry(name: str, thing: Any) -> list[str]:
    if inspect.isclass(thing) and issubclass(thing, enum.Enum):
        return [f"enum {name}: {', '.join(thing.__members__)}"]
    if inspect.isclass(thing):
        bases = ", ".join(b.__name__ for b in thing.__bases__ if b is not object)
        own = any("__init__" in vars(c) for c in thing.__mro__ if c.__module__.startswith("convcore"))
        head = f"class {name}({bases})" if bases else f"class {name}"
        init = [f"    def __init__{_signature(thing.__init__)}"] if own else []
        return [head, *init, *(f"    {m}" for m in _members(thing))]
    if isinstance(thing, FunctionType):
        return [f"def {name}{_signature(thing)}"]
    return [f"{name}: {type(thing).__name__}"]


def surface() -> str:
    """docs/surface.txt: every public name with its signature."""
    out = [
        "# Written by docs/generate.py (`make docs`); do not edit. What docs/stability.md calls stable in Python: a test",
        "# compares it with the code, so that no change of it goes unseen.",
    ]
    for module in PUBLIC:
        m = importlib.import_module(module)
        out += ["", f"## {module}"]
        for name in sorted(m.__all__, key=lambda n: (n.lower(), n)):
            thing = getattr(m, name)
            if module != "convcore" and name in importlib.import_module("convcore").__all__:
                out.append(f"{name}: as in convcore")
            else:
                out += _entry(name, thing)
    return "\n".join(out) + "\n"

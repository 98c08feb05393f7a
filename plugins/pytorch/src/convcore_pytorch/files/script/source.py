"""The source in a TorchScript archive: classes and functions by their qualified names, parsed when asked for."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field

from convcore.plugin import BadFileError

from .. import limits
from ..archive import Archive

__all__ = ["Class", "Source", "plain_name", "type_text"]


@dataclass
class Class:
    """A class: methods, class constants, the names of its parameters and buffers, and of attributes that a method sets."""

    name: str
    methods: dict[str, ast.FunctionDef] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    buffers: tuple[str, ...] = ()
    fields: list[str] = field(default_factory=list)
    base: str = ""
    assigned: frozenset[str] = frozenset()


class Source:
    """``code/**/*.py`` of an archive whose folder is ``top``."""

    def __init__(self, archive: Archive, top: str) -> None:
        self.archive, self.top, self.bytes = archive, top, 0
        self.modules: dict[str, dict[str, Class | ast.FunctionDef]] = {}

    def find(self, qualified: str) -> Class | ast.FunctionDef:
        """The class or function; BadFileError when the archive has none of that name."""
        module, _, name = qualified.rpartition(".")
        if module not in self.modules:
            self.modules[module] = self._parse(module)
        found = self.modules[module].get(name)
        if found is None:
            raise BadFileError(f"{self.archive.region.path}: the archive's code has no {qualified}")
        return found

    def cls(self, qualified: str) -> Class:
        found = self.find(qualified)
        if not isinstance(found, Class):
            raise BadFileError(f"{self.archive.region.path}: {qualified} is a function where a class is due")
        return found

    def _parse(self, module: str) -> dict[str, Class | ast.FunctionDef]:
        name = f"{self.top}code/{module.replace('.', '/')}.py"
        text = self.archive.text(name, limits.SOURCE)
        self.bytes += len(text)
        if self.bytes > limits.SOURCE:
            raise BadFileError(f"{self.archive.region.path}: more than {limits.SOURCE} bytes of source")
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            raise BadFileError(f"{self.archive.region.path}: {name} is damaged: {str(e)[:100]}") from e
        out: dict[str, Class | ast.FunctionDef] = {}
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                out[node.name] = _class(f"{module}.{node.name}", node)
            elif isinstance(node, ast.FunctionDef):
                out[node.name] = node
        return out


def _class(name: str, node: ast.ClassDef) -> Class:
    out = Class(name, base=node.bases[0].id if node.bases and isinstance(node.bases[0], ast.Name) else "")
    assigned: set[str] = set()
    for part in node.body:
        if isinstance(part, ast.FunctionDef):
            out.methods[part.name] = part
            for inner in ast.walk(part):
                if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
                    assigned.add(inner.attr)
        elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            out.fields.append(part.target.id)
            if part.value is not None:
                out.constants[part.target.id] = part.value
        elif isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name) and isinstance(part.value, ast.List):
            names = tuple(e.value for e in part.value.elts if isinstance(e, ast.Constant) and isinstance(e.value, str))
            if part.targets[0].id == "__parameters__":
                out.parameters = names
            elif part.targets[0].id == "__buffers__":
                out.buffers = names
    out.assigned = frozenset(assigned)
    return out


def plain_name(qualified: str) -> str:
    """A class's name as it was in Python: without ``__torch__`` and the numbers that keep equal names apart."""
    return re.sub(r"\.___torch_mangle_\d+", "", qualified).removeprefix("__torch__.")


def type_text(node: ast.expr | None) -> str:
    """An annotation as a schema type: ``Optional[Tensor]`` is ``Tensor?``, ``List[int]`` is ``int[]``, tuples are ``(A, B)``."""
    if node is None:
        return "Tensor"
    if isinstance(node, ast.Name):
        return {"number": "Scalar", "NoneType": "NoneType"}.get(node.id, node.id)
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        parts = [type_text(i) for i in inner]
        kind = node.value.id
        if kind == "Optional":
            return parts[0].removesuffix("?") + "?"
        if kind == "List":
            return parts[0] + "[]"
        if kind == "Dict":
            return f"Dict({', '.join(parts)})"
        if kind in ("Tuple", "NamedTuple"):
            return f"({', '.join(parts)})"
        if kind == "Final":
            return parts[0]
    return ast.unparse(node)

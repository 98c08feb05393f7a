"""What custom layers there are in files: classes, their arguments, weights and sublayers, as the source says."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Sequence
from typing import Any

from ...layer_spec import canonical, is_known
from ..values import CodeRefused
from .library import SourceFile, library

__all__ = ["catalogue"]

_LAYERS = {"Layer", "Model", "AbstractRNNCell", "Wrapper"}
_CLASS = re.compile(rb"^\s*class\s+\w+\s*\(", re.MULTILINE)


def catalogue(paths: Sequence[str | os.PathLike[str]]) -> list[dict[str, Any]]:
    """One entry for each class that extends ``keras.layers.Layer`` or ``Model``, directly or through classes of these files:
    ``name``, ``registered``, ``bases``, ``file``, ``line``, ``arguments``, ``config``, ``weights``, ``sublayers``, ``methods``.
    Files that cannot be parsed have an entry with ``problem``. Raises UsageError for a path without source."""
    files = library(paths)
    registered = {(d.file.path, d.name): d.registered for found in files.index.values() for d in found}
    classes: list[tuple[SourceFile, ast.ClassDef]] = []
    out: list[dict[str, Any]] = []
    for file in files.files.values():
        if not _CLASS.search(file.path.read_bytes()):
            continue
        try:
            classes += [(file, n) for n in file.tree.body if isinstance(n, ast.ClassDef)]
        except CodeRefused as e:
            out.append({"file": str(file.path), "problem": str(e)})
    layers = _layers([n for _, n in classes])
    for file, node in classes:
        if node.name in layers:
            out.append({**_entry(node), "registered": registered.get((file.path, node.name), ""), "file": str(file.path)})
    return out


def _layers(nodes: Sequence[ast.ClassDef]) -> set[str]:
    """Names of the classes that are layers."""
    found: set[str] = set()
    while True:
        more = {n.name for n in nodes if any(_last(b) in found or _is_base(_last(b)) for b in n.bases)} - found
        if not more:
            return found
        found |= more


def _is_base(name: str) -> bool:
    return name in _LAYERS or (bool(name) and is_known(canonical(name)))


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _entry(node: ast.ClassDef) -> dict[str, Any]:
    methods = {n.name: n for n in node.body if isinstance(n, ast.FunctionDef)}
    return {
        "name": node.name, "bases": [ast.unparse(b) for b in node.bases], "line": node.lineno,
        "arguments": _arguments(methods["__init__"]) if "__init__" in methods else None,
        "config": _config(methods["get_config"]) if "get_config" in methods else [],
        "weights": [w for f in methods.values() for w in _weights(f)],
        "sublayers": [s for f in methods.values() for s in _sublayers(f)],
        "methods": sorted(methods),
    }  # fmt: skip


def _arguments(f: ast.FunctionDef) -> dict[str, str | None]:
    """The arguments of ``__init__`` with their defaults as text; None for those without."""
    a = f.args
    names = [x.arg for x in (*a.posonlyargs, *a.args)][1:]
    defaults = [None] * (len(names) - len(a.defaults)) + [ast.unparse(d) for d in a.defaults]
    late = {x.arg: None if v is None else ast.unparse(v) for x, v in zip(a.kwonlyargs, a.kw_defaults, strict=True)}
    return {**dict(zip(names, defaults[-len(names) :] if names else [], strict=True)), **late}


def _config(f: ast.FunctionDef) -> list[str]:
    """Names that ``get_config`` states."""
    found: list[str] = []
    for n in ast.walk(f):
        if isinstance(n, ast.Dict):
            found += [k.value for k in n.keys if isinstance(k, ast.Constant) and isinstance(k.value, str)]
        elif isinstance(n, ast.Call) and _last(n.func) in ("update", "dict"):
            found += [k.arg for k in n.keywords if k.arg]
    return list(dict.fromkeys(found))


def _weights(f: ast.FunctionDef) -> list[dict[str, str]]:
    """Calls of ``add_weight``: where the weight is kept, its name and its shape as text."""
    found = []
    for n in ast.walk(f):
        if isinstance(n, ast.Call) and _last(n.func) in ("add_weight", "add_variable"):
            said = {k.arg: ast.unparse(k.value) for k in n.keywords if k.arg}
            shape = said.get("shape") or next((ast.unparse(a) for a in n.args if not isinstance(a, ast.Constant)), "()")
            name = said.get("name") or next((ast.unparse(a) for a in n.args if isinstance(a, ast.Constant)), "")
            found.append({"name": name.strip("'\""), "shape": shape, "trainable": said.get("trainable", "True")})
    return found


def _sublayers(f: ast.FunctionDef) -> list[dict[str, str]]:
    """``self.name = Layer(...)``: the attribute, and the call as text."""
    found = []
    for n in ast.walk(f):
        if not isinstance(n, ast.Assign):
            continue
        for t in n.targets:
            if isinstance(t, ast.Attribute) and isinstance(t.value, ast.Name) and t.value.id == "self":
                calls = [c for c in ast.walk(n.value) if isinstance(c, ast.Call) and _last(c.func)[:1].isupper()]
                if calls:
                    found.append({"name": t.attr, "layer": ast.unparse(calls[0])})
    return found

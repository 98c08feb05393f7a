"""No package reaches into the private fields of another."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ELSEWHERE = {
    "_VF": "torch.nn.modules.rnn's kernels, replaced while a module is traced: torch has no public way",
    "_getframe": "sys, which documents it: whether anybody's code goes on after a command",
    "_exit": "os, which documents it: a command's process ends without taking its objects apart",
    "_run_exitfuncs": "atexit: what os._exit leaves out and a process that ends by it owes; atexit has no public way",
}
"""Private names of other projects that are needed, and why."""
PACKAGES = sorted([*(p for p in ROOT.glob("core/*/") if p.name != "__pycache__"), *ROOT.glob("plugins/*/src/*/")])


def _private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def defined(tree: ast.AST) -> Iterator[str]:
    """Private names that a module defines: functions, classes, variables, fields, slots."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _own(node):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _own(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def reached(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """``(line, name)`` of every private field or name taken from something else than ``self``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _private(node.attr) and not _own(node):
            yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, a.name) for a in node.names if _private(a.name))


def foreign(sources: dict[str, str]) -> list[str]:
    """What the modules of one package take from the private parts of others."""
    trees = {name: ast.parse(text) for name, text in sources.items()}
    known = {n for tree in trees.values() for n in defined(tree)}
    return [
        f"{name}:{line}: {attr}"
        for name, tree in trees.items()
        for line, attr in reached(tree)
        if attr not in {*known, *ELSEWHERE}
    ]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
def test_package(package: Path) -> None:
    found = foreign({p.relative_to(ROOT).as_posix(): p.read_text(encoding="utf-8") for p in package.rglob("*.py")})
    assert not found, "\n".join(found)


def test_modules_of_the_core() -> None:
    found = [f for p in ROOT.glob("core/*.py") for f in foreign({p.name: p.read_text(encoding="utf-8")})]
    assert not found, "\n".join(found)


def test_what_is_found() -> None:
    assert foreign({"m": "def f(graph):\n    return graph._last"}) == ["m:2: _last"]
    assert foreign({"m": "from ..rules.rows import _pairs"}) == ["m:1: _pairs"]
    assert not foreign(
        {"a": "class A:\n    def __init__(self):\n        self._x = 1", "b": "def f(a):\n    return a._x, a.__class__"}
    )

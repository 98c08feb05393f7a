"""Symbolic sizes: sympy's text, as ``.pt2`` holds it, parsed into a small expression tree. Never evaluated.

Two spellings occur: ``Add(Symbol('s0', integer=True), Integer(1))`` (srepr, torch >= 2.6) and ``s0 + 1`` (str, before).
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from convcore.plugin import BadFileError

from . import limits

__all__ = ["Expr", "parse_expr"]


@dataclass(frozen=True)
class Expr:
    """``op`` of ``args``. ``op`` is symbol (one argument, the name), add, mul, pow, neg, sub, div, floordiv, mod, a comparison
    (eq, ne, lt, le, gt, ge), or the name of a function as the file has it (``Max``, ``CeilToInt``)."""

    op: str
    args: tuple[Expr | int | float | str, ...]

    def __str__(self) -> str:
        if self.op == "symbol":
            return str(self.args[0])
        return f"{self.op}({', '.join(map(str, self.args))})"

    @property
    def symbols(self) -> frozenset[str]:
        """Names of the symbols in it."""
        if self.op == "symbol":
            return frozenset({str(self.args[0])})
        return frozenset().union(*(a.symbols for a in self.args if isinstance(a, Expr)))


_BINARY = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.FloorDiv: "floordiv",
    ast.Mod: "mod",
    ast.Pow: "pow",
}
_COMPARE = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge"}
_NAMES = {
    "Add": "add",
    "Mul": "mul",
    "Pow": "pow",
    "FloorDiv": "floordiv",
    "Mod": "mod",
    "PythonMod": "mod",
    "Equality": "eq",
    "Unequality": "ne",
    "StrictLessThan": "lt",
    "LessThan": "le",
    "StrictGreaterThan": "gt",
    "GreaterThan": "ge",
}


def parse_expr(text: str, where: str) -> Expr | int | float:
    """The expression of a text; BadFileError when it is none."""
    if len(text) > 20_000:
        raise BadFileError(f"{where}: a size of {len(text)} characters")
    try:
        return _walk(ast.parse(text.strip(), mode="eval").body, where, 0)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
        raise BadFileError(f"{where}: {text[:80]!r} is no size") from e


def _walk(node: ast.expr, where: str, depth: int) -> Expr | int | float:
    if depth > limits.DEPTH:
        raise BadFileError(f"{where}: a size nested more than {limits.DEPTH} deep")
    deeper = depth + 1
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return node.value
    if isinstance(node, ast.Name):
        return Expr("symbol", (node.id,))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _walk(node.operand, where, deeper)
        return Expr("neg", (inner,)) if isinstance(inner, Expr) else -inner
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return Expr(_BINARY[type(node.op)], (_walk(node.left, where, deeper), _walk(node.right, where, deeper)))
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
        left, right = _walk(node.left, where, deeper), _walk(node.comparators[0], where, deeper)
        return Expr(_COMPARE[type(node.ops[0])], (left, right))
    if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
        name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        return _call(name, node, where, deeper)
    raise BadFileError(f"{where}: a size with {type(node).__name__} in it")


def _call(name: str, node: ast.Call, where: str, depth: int) -> Expr | int | float:
    first = node.args[0] if node.args else None
    if name == "Symbol" and isinstance(first, ast.Constant) and isinstance(first.value, str):
        return Expr("symbol", (first.value,))
    if name in ("Integer", "Float") and isinstance(first, (ast.Constant, ast.UnaryOp)):
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            return float(first.value)
        return _walk(first, where, depth)
    args = tuple(_walk(a, where, depth) for a in node.args)
    return Expr(_NAMES.get(name, name), args)

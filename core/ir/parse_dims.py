"""Reading symbolic sizes from text."""

from __future__ import annotations

import ast
import re

from ..errors import ShapeError
from .dims import Dim, DimLike, dim_max, dim_min

__all__ = ["parse_dim"]


def parse_dim(text: str) -> DimLike:
    """Read what ``str`` prints (and any + - * // % max min expression over names and integers)."""
    names: dict[str, str] = {}

    def protect(m: re.Match[str]) -> str:  # names may hold dots or other characters when quoted in braces
        names[f"_{len(names)}_"] = m.group(1).replace("%7B", "{").replace("%7D", "}").replace("%25", "%")
        return f"_{len(names) - 1}_"

    src = re.sub(r"\{([^{}]*)\}", protect, text)
    if len(src) > 4096:
        raise ShapeError("a size expression may have at most 4,096 characters")

    def walk(n: ast.AST) -> DimLike:
        if isinstance(n, ast.Expression):
            return walk(n.body)
        if isinstance(n, ast.Constant) and type(n.value) is int:
            return n.value
        if isinstance(n, ast.Name):
            return Dim(names.get(n.id, n.id))
        if isinstance(n, ast.UnaryOp) and isinstance(n.op, ast.USub):
            return -walk(n.operand)
        if isinstance(n, ast.BinOp):
            a, b = walk(n.left), walk(n.right)
            if isinstance(n.op, ast.Add):
                return a + b
            if isinstance(n.op, ast.Sub):
                return a - b
            if isinstance(n.op, ast.Mult):
                return a * b
            if isinstance(n.op, ast.FloorDiv):
                return a // b
            if isinstance(n.op, ast.Mod):
                return a % b
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id in ("max", "min") and not n.keywords:
            return (dim_max if n.func.id == "max" else dim_min)(*map(walk, n.args))
        raise ShapeError(f"not a size expression: {text!r}")

    try:
        return walk(ast.parse(src.strip(), mode="eval"))
    except (SyntaxError, RecursionError, ZeroDivisionError) as e:
        raise ShapeError(f"not a size expression: {text!r}") from e

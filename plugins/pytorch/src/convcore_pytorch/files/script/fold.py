"""Scalar operators on constants, with TorchScript's meaning; results beyond 64 bits or long texts are not folded but refused."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from convcore.plugin import BadFileError

__all__ = ["FOLDED", "fold"]


def _format(text: str, *args: Any) -> str:
    for a in args:
        text = text.replace("{}", str(a), 1)
    return text


def _range_length(lo: int, hi: int, step: int) -> int:
    return len(range(lo, hi, step))


def _contains(held: Any, item: Any) -> bool:
    return item in held


FOLDED: dict[str, Callable[..., Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "floordiv": operator.floordiv,
    "remainder": operator.mod,
    "neg": operator.neg,
    "__not__": operator.not_,
    "__and__": operator.and_,
    "__or__": operator.or_,
    "__xor__": operator.xor,
    "__contains__": _contains,
    "__range_length": _range_length,
    "__derive_index": lambda i, start, step: start + i * step,
    "len": len,
    "format": _format,
    "Int": int,
    "Float": float,
    "Bool": bool,
    "IntImplicit": int,
    "FloatImplicit": float,
    "floor": math.floor,
    "ceil": math.ceil,
    "sqrt": math.sqrt,
}


def fold(name: str, args: list[Any], where: str) -> Any:
    """The result; BadFileError when the operator fails on these constants."""
    if name == "mul" and any(not isinstance(a, (int, float)) for a in args):
        raise BadFileError(f"{where}: a list or text is repeated")
    try:
        result = FOLDED[name](*args)
    except (TypeError, ValueError, ArithmeticError, IndexError, KeyError) as e:
        raise BadFileError(f"{where}: torch.{name} of constants fails: {e}") from e
    if (isinstance(result, int) and abs(result) >= 1 << 63) or (isinstance(result, (str, list)) and len(result) > 100_000):
        raise BadFileError(f"{where}: torch.{name} gives a value that is too large")
    return result

"""Text made by ``%``, ``format`` and ``str`` of plain values, bounded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..values import CodeRefused, what_is


def is_plain(x: Any) -> bool:
    """Whether it is a name, number or None, or a list, tuple or dict of such."""
    stack = [x]
    while stack:
        v = stack.pop()
        if type(v) in (list, tuple, dict):
            stack += [*v, *v.values()] if isinstance(v, dict) else v
        elif v is not None and type(v) not in (str, int, float, bool):
            return False
    return True


def shown(x: Any) -> str:
    """``str`` of lists, tuples and dicts of plain values."""
    if not is_plain(x):
        raise CodeRefused(f"formats {what_is(x)} that holds more than names and numbers as text")
    return str(x)


def percent(text: str, values: Any) -> str:
    """``text % values`` of plain values."""
    items = values if isinstance(values, tuple) else (values,)
    if re.search(r"\d{3}|\*", text) and "%" in text:
        raise CodeRefused("formats text with a wide field")
    if not all(isinstance(v, (str, int, float)) or v is None for v in items):
        raise CodeRefused("formats something else than names and numbers with %")
    try:
        return text % items
    except (TypeError, ValueError) as e:
        raise CodeRefused(f"formats text with %, which fails: {e}") from e


def formatted(text: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """``text.format(...)`` of plain values by position or name, without attributes, items or wide fields."""
    if not all(isinstance(v, (str, int, float)) or v is None for v in (*args, *kwargs.values())):
        raise CodeRefused("formats something else than names and numbers")
    if re.search(r"\{[^}:]*[.\[][^}]*\}|\{[^}]*\d{3}[^}]*\}|\{[^}:]*:[^}]*\{", text):
        raise CodeRefused("formats text in a way that is not followed")
    try:
        return text.format(*args, **kwargs)
    except (TypeError, ValueError, LookupError) as e:
        raise CodeRefused(f"formats text, which fails: {e}") from e

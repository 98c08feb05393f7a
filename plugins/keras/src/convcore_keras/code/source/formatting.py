"""Text made by ``%`` and ``format`` of plain values, bounded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..values import CodeRefused

__all__ = ["formatted", "percent"]


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
    if re.search(r"\{[^}]*[.\[][^}]*\}|\{[^}]*\d{3}[^}]*\}|\{[^}:]*:[^}]*\{", text):
        raise CodeRefused("formats text in a way that is not followed")
    try:
        return text.format(*args, **kwargs)
    except (TypeError, ValueError, LookupError) as e:
        raise CodeRefused(f"formats text, which fails: {e}") from e

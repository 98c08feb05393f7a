"""JSON of model files: bounded, no duplicate keys, no NaN where a number is due, fields checked by type."""

from __future__ import annotations

import json
from typing import Any

from convcore.plugin import BadFileError

from . import limits

__all__ = ["field", "fields", "parse"]

_MISSING: Any = object()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a key occurs twice")
    return out


def parse(raw: bytes, where: str) -> Any:
    """The value of a JSON text; BadFileError says what is wrong with it."""
    if len(raw) > limits.JSON:
        raise BadFileError(f"{where}: {len(raw)} bytes of JSON, {limits.JSON} is the limit")
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as e:
        raise BadFileError(f"{where}: damaged JSON: {str(e)[:200]}") from e


def field(entry: Any, name: str, kind: type | tuple[type, ...], where: str, default: Any = _MISSING) -> Any:
    """``entry[name]``, of type ``kind`` (a bool is no int); ``default`` when it is absent or null."""
    if not isinstance(entry, dict):
        raise BadFileError(f"{where}: an object is due, not {type(entry).__name__}")
    value = entry.get(name)
    if value is None and default is not _MISSING:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise BadFileError(f"{where}: field {name!r} is {'missing' if name not in entry else f'a {type(value).__name__}'}")
    return value


def fields(entry: Any, where: str, **kinds: type) -> tuple[Any, ...]:
    """Several required fields."""
    return tuple(field(entry, name, kind, where) for name, kind in kinds.items())

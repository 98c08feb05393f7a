"""JSON from untrusted files: size, number of items, depth and duplicate keys are checked; NaN is refused, infinities are kept."""

from __future__ import annotations

import json
import re
from typing import Any

from convcore.plugin import BadFileError

__all__ = ["MAX_JSON_BYTES", "MAX_JSON_DEPTH", "MAX_JSON_ITEMS", "loads"]

MAX_JSON_BYTES = 64 << 20
MAX_JSON_DEPTH = 256
MAX_JSON_ITEMS = 5_000_000
_STRING = re.compile(rb'"[^"]*"?')  # an open one ends with the text: each byte is looked at once
_HALVES = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
_NOT_BRACKETS = bytes(c for c in range(256) if c not in b"[]{}")


def loads(data: bytes | str, what: str) -> Any:
    """Parse ``data``; ``what`` names it in errors. Raises BadFileError."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > MAX_JSON_BYTES:
        raise BadFileError(f"{what}: {len(raw)} bytes of JSON, more than the {MAX_JSON_BYTES} allowed")
    if not raw.strip():
        raise BadFileError(f"{what}: is empty")
    _check_depth(raw, what)
    try:
        found = json.loads(raw, object_pairs_hook=_unique, parse_constant=_constant)
        if _HALVES.search(raw):  # half of a pair of surrogates is no text that UTF-8, which every target writes, can hold
            json.dumps(found, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as e:
        raise BadFileError(f"{what}: not valid JSON: {str(e)[:200]}") from e
    return found


def _check_depth(raw: bytes, what: str) -> None:
    depth = 0
    plain = raw.replace(b"\\\\", b"").replace(b'\\"', b"")  # a pattern for escapes takes 100 bytes for each of them
    bare = _STRING.sub(b"", plain) if b'"' in plain else plain
    if sum(map(bare.count, (b",", b"[", b"{"))) > MAX_JSON_ITEMS:
        raise BadFileError(f"{what}: JSON of more than {MAX_JSON_ITEMS:,} items")
    for c in bare.translate(None, _NOT_BRACKETS):
        depth += 1 if c in b"[{" else -1
        if depth > MAX_JSON_DEPTH:
            raise BadFileError(f"{what}: JSON nested more than {MAX_JSON_DEPTH} deep")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    d = dict(pairs)
    if len(d) != len(pairs):
        seen: set[str] = set()
        twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise ValueError(f"key {twice[:80]!r} is given twice in one object")
    return d


def _constant(name: str) -> float:
    if name == "NaN":
        raise ValueError("the constant NaN is not allowed in a model configuration")
    return float(name.lower().replace("infinity", "inf"))

"""Expressions as text that ``ruff format`` and ``black`` leave as it is (88 columns)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["WIDTH", "Bracket", "Doc", "flat", "lay", "literal", "quoted", "tuple_doc"]

WIDTH = 88


@dataclass
class Bracket:
    """``head(items)tail``. A ``display`` is a tuple, list or dict, which is split one item a line; a call takes all arguments
    on one line where they fit."""

    head: str
    items: list[Doc] = field(default_factory=list)
    open: str = "("
    close: str = ")"
    tail: str = ""
    display: bool = False


Doc = str | Bracket


def flat(doc: Doc) -> str:
    """On one line."""
    if isinstance(doc, str):
        return doc
    comma = "," if doc.display and doc.open == "(" and len(doc.items) == 1 else ""
    return f"{doc.head}{doc.open}{', '.join(map(flat, doc.items))}{comma}{doc.close}{doc.tail}"


def lay(doc: Doc, indent: int, prefix: str = "", suffix: str = "") -> list[str]:
    """Lines of ``prefix doc suffix``, ``indent`` columns in."""
    pad = " " * indent
    line = f"{pad}{prefix}{flat(doc)}{suffix}"
    if len(line) <= WIDTH or isinstance(doc, str) or not doc.items:
        return [line]
    body = ", ".join(map(flat, doc.items))
    first, last = f"{pad}{prefix}{doc.head}{doc.open}", f"{pad}{doc.close}{doc.tail}{suffix}"
    if not doc.display and indent + 4 + len(body) <= WIDTH:
        return [first, f"{pad}    {body}", last]
    out = [first]
    for item in doc.items:
        out += lay(item, indent + 4, "", ",")
    return [*out, last]


def quoted(text: str) -> str:
    """A string literal in double quotes unless that needs more escapes."""
    shown = repr(text)
    return f'"{shown[1:-1]}"' if shown[0] == "'" and '"' not in shown else shown


def literal(x: object) -> str:
    """A number, truth value, string or None."""
    if isinstance(x, bool) or x is None:
        return repr(x)
    if isinstance(x, float):
        if math.isinf(x) or math.isnan(x):
            return f'float("{x}")'
        return repr(x).replace("e+", "e")  # as formatters write it
    return quoted(x) if isinstance(x, str) else repr(x)


def tuple_doc(items: Sequence[Doc]) -> Doc:
    """A tuple."""
    return Bracket("", list(items), display=True) if items else "()"

"""ATen's signatures as plain data: names, types, defaults (``aten.txt``, which tools/signatures.py writes from torch)."""

from __future__ import annotations

import ast
import functools
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

__all__ = ["REQUIRED", "Parameter", "Signature", "overloads", "signature"]

REQUIRED: Any = object()


@dataclass(frozen=True)
class Parameter:
    """One argument of an operator. ``type`` without alias marks (``Tensor``, ``int[2]``, ``float?``); ``default`` or REQUIRED.

    ``mutated``: the operator writes into it (``Tensor(a!)``).
    """

    name: str
    type: str
    default: Any = REQUIRED
    keyword: bool = False
    mutated: bool = False


@dataclass(frozen=True)
class Signature:
    """One overload. ``target`` is ``aten.conv2d.default``; ``returns`` are types; ``variadic``: any further arguments;
    ``views``: a result may share the memory of an argument (``Tensor(a) self -> Tensor(a)``, ``-> Tensor(b|a)``)."""

    target: str
    parameters: tuple[Parameter, ...]
    returns: tuple[str, ...]
    variadic: bool = False
    views: bool = False


@functools.cache
def _table() -> dict[str, list[str]]:
    table: dict[str, list[str]] = {}
    for line in (files(__package__) / "aten.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            table.setdefault(re.split(r"[.(]", line, maxsplit=1)[0], []).append(line)
    return table


@functools.cache
def overloads(name: str) -> tuple[Signature, ...]:
    """All overloads of ``aten::name``, in torch's order; none when it is not in the table."""
    return tuple(map(_parse, _table().get(name, ())))


def signature(target: str) -> Signature | None:
    """The signature of ``aten.name.overload``."""
    space, _, rest = target.partition(".")
    found = overloads(rest.partition(".")[0]) if space == "aten" else ()
    return next((s for s in found if s.target == target), None)


def _parse(line: str) -> Signature:
    name, _, rest = line.partition("(")
    inside, returns = _balanced(rest)
    base, _, overload = name.partition(".")
    parameters, keyword = [], False
    for part in _split(inside):
        if part == "*":
            keyword = True
        elif part and part != "...":
            parameters.append(_parameter(part, keyword))
    text = returns.partition("->")[2].strip()
    kinds = _split(text[1:-1]) if text.startswith("(") else [text]
    returned = tuple(_plain(k).partition(" ")[0] for k in kinds if k)
    views = re.search(r"\([a-z](?:\|[a-z])*(?: -> \*)?\)", returns) is not None
    return Signature(f"aten.{base}.{overload or 'default'}", tuple(parameters), returned, "..." in inside, views)


def _parameter(text: str, keyword: bool) -> Parameter:
    head, equal, default = text.partition("=")
    kind, _, name = head.rpartition(" ")
    value = _literal(default) if equal else REQUIRED
    count = re.search(r"\[(\d+)\]\??$", kind)
    if count is not None and isinstance(value, (int, float)):  # one number for all: int[2] stride=1
        value = [value] * int(count[1])
    return Parameter(name, _plain(kind), value, keyword, "!" in kind)


def _plain(kind: str) -> str:
    """A type without alias marks: ``Tensor(a!)``, ``t(b -> *)``; ``Dict(str, t)`` stays."""
    return re.sub(r"(?<=[\w\]?])(?<!Dict)\((?:[a-z]!?|[*| ]|->)+\)", "", kind).strip()


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text  # a name: contiguous_format, Mean


def _balanced(text: str) -> tuple[str, str]:
    depth, quoted = 1, False
    for i, c in enumerate(text):
        if c == '"':
            quoted = not quoted
        if not quoted:
            depth += (c in "([{") - (c in ")]}")
        if depth == 0:
            return text[:i], text[i + 1 :]
    return text, ""


def _split(text: str) -> list[str]:
    parts, depth, start, quoted = [], 0, 0, False
    for i, c in enumerate(text):
        if c == '"':
            quoted = not quoted
        if not quoted:
            depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0 and not quoted:
            parts.append(text[start:i].strip())
            start = i + 1
    return [*parts, text[start:].strip()]

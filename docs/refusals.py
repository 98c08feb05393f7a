"""What rules refuse, read out of their code: the texts that a rule, and what it calls in its plugin, may refuse with."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

from convcore.host import host
from convcore.nomodel import formats_not_read
from convcore.opset import all_ops
from convcore.rules.ruleset import EmitFunction, LoadFunction

_RAISERS = {"refuse", "unsupported", "NotExpressible", "Problem", "UnsupportedError", "problem"}
_DEEP = 3


def reasons(fn: Callable[..., Any], deep: int = _DEEP) -> dict[str, None]:
    """Texts a function may refuse with, itself or in functions of its plugin that it calls by name; "..." stands for what is
    only known of a layer."""
    found: dict[str, None] = {}
    for text, called in _looked_at(fn):
        if text:
            found[text] = None
        elif deep and called is not None and called.__module__.partition(".")[0] == fn.__module__.partition(".")[0]:
            found.update(reasons(called, deep - 1))
    return found


@functools.cache
def _looked_at(fn: Callable[..., Any]) -> tuple[tuple[str, FunctionType | None], ...]:
    fn = inspect.unwrap(fn)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(fn)))
    except (OSError, TypeError, SyntaxError):
        return ()
    out: list[tuple[str, FunctionType | None]] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in _RAISERS:
            texts = [t for a in (*node.args, *(k.value for k in node.keywords if k.arg == "why")) if " " in (t := _text(a))]
            out += [(texts[0], None)] if texts else []
        elif isinstance(node.func, ast.Name):
            called = getattr(fn, "__globals__", {}).get(name)
            if isinstance(called, FunctionType):
                out.append(("", called))
    return tuple(out)


def _text(node: ast.AST) -> str:
    """A literal text, with "..." for what is put into it; "" for anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(v.value if isinstance(v, ast.Constant) else "..." for v in node.values)  # type: ignore[misc]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (_text(node.left) or "...") + (_text(node.right) or "...")
    return ""


def _cell(text: str) -> str:
    text = " ".join(text.split()).replace("<", "&lt;").replace("`", "'")
    return re.sub(r"([|*\[])", r"\\\1", text)


def _table(head: str, rows: dict[str, dict[str, None]]) -> list[str]:
    """Rows of the same reasons are one."""
    same: dict[tuple[str, ...], list[str]] = {}
    for name, why in sorted(rows.items()):
        if why:
            same.setdefault(tuple(why), []).append(f"`{name}`")
    lines = [f"| {', '.join(names)} | {'; '.join(map(_cell, why))} |" for why, names in same.items()]
    return [f"| {head} | refused, or written in another way, because it |", "|---|---|", *sorted(lines), ""]


def page(frameworks: Iterable[str]) -> str:
    """The page "What is not supported, and why"."""
    out = [
        "# What is not supported, and why", "",
        "Made from the code when these pages are built: what each rule may refuse, as the message says it (`...` is what is only",
        "known of a layer). A type that is in no [support table](keras.md) has no rule at all: it is named, can be inspected,",
        "and stops a conversion. Everything that stands in the way is listed at once (`convcore check`). What the codes of",
        "problems mean: [reports and errors](../reports-and-errors.md#problems).",
        "", "## Files that are not read", "", "| file | |", "|---|---|",
        *(f"| `{name}` | {_cell(why)} |" for name, why in formats_not_read().items()), "",
    ]  # fmt: skip
    host().load_ops()
    for name in frameworks:
        rules, title = host().rules(name), host().framework(name).title
        load = {
            t: functools.reduce(lambda a, b: a | b, (reasons(r.fn) for r in found if isinstance(r, LoadFunction)), {})
            for t, found in rules.load_rules.items()
        }
        emit = {
            o: functools.reduce(lambda a, b: a | b, (reasons(r.fn) for r in found if isinstance(r, EmitFunction)), {})
            for o, found in rules.emit_rules.items()
        }
        none = [f"`{o.name}`" for n, o in sorted(all_ops().items()) if n not in rules.emit_rules and not o.composite]
        out += [f"## From {title}", "", *_table("type", load)]
        out += [f"## To {title}", "", f"Ops without any counterpart: {', '.join(none) or 'none'}.", ""]
        out += ["Of an op that is a composite, a refusal means that its body is written instead.", "", *_table("op", emit)]
    return "\n".join(out)


def rows_page(frameworks: Iterable[str]) -> str:
    """The page of all rows: which op a type is, and which of its parts are what."""
    out = [
        "# Rules", "",
        "Made from the code when these pages are built: rules that are rows, which work in both directions. Those that are",
        "functions are in the [support tables](../support/keras.md). What the parts of a row mean:",
        "[adding a rule](../adding-a-rule.md); `convcore rules --json` has all of it as data.", "",
    ]  # fmt: skip
    for name in frameworks:
        rules = host().rules(name)
        out += [f"## {host().framework(name).title}", "", "| type | op | parts | |", "|---|---|---|---|"]
        for row in sorted(rules.rows(), key=lambda r: (r.foreign.lower(), r.op_name)):
            data = row.to_json()
            parts = [f"{a}={b}" for a, b in data.get("inputs", ()) if a != b]
            parts += [f"{k}={_part(v)}" for k, v in data.get("mapping", {}).items()]
            way = {"both": "", "load": "read only", "emit": "written only"}[row.direction]
            cells = (
                f"`{row.foreign}`",
                f"[`{row.op_name}`](../ops.md#{row.op_name})",
                ", ".join(f"`{_code(p)}`" for p in parts),
                way,
            )
            out.append(f"| {' | '.join(cells)} |")
        out.append("")
    return "\n".join(out)


def _part(v: Any) -> str:
    if isinstance(v, dict):
        kind, (word, *rest) = next(iter(v)), [str(x) for x in v.values()]
        return f"{kind} {word}" + (f" ({', '.join(f'{k} {x}' for k, x in list(zip(v, (word, *rest)))[1:])})" if rest else "")
    return str(v)


def _code(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("`", "'").split())

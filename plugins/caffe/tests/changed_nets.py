"""Nets of one layer each, recorded in the real Caffe, changed in one place: a field, a bottom or a top, the sizes of an input."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

FIELD = re.compile(r'(\w+)\s*:\s*("[^"]*"|[^\s{}"]+)')
What = Sequence[Any]


def changes(net: str) -> Iterator[What]:
    """What can be changed: ("set", field number, text), ("drop", field number), ("twice", field number), ("dims", texts)."""
    for i, m in enumerate(FIELD.finditer(net)):
        name, v = m[1], m[2]
        if name in ("name", "type"):
            continue
        yield ("drop", i)
        if name not in ("dim",):
            yield ("twice", i)
        for new in _values(v):
            yield ("set", i, new)
    dims = re.search(r"(?:\s*dim:\s*\d+)+", net)
    if dims:
        have = re.findall(r"\d+", dims[0])
        for other in ([*have, "2"], have[:-1], have[1:], have[:1], have[::-1]):
            yield ("dims", other)
    for m in re.finditer(r"(\w+_param)\s*\{\s*\}|type:\s*\"(\w+)\"", net):
        if m[2] and m[2] != "Input":
            yield ("field", m.end(), "strange: 1")


def change(net: str, what: What) -> str:
    if what[0] == "dims":
        return re.sub(r"(?:\s*dim:\s*\d+)+", " " + " ".join(f"dim: {n}" for n in what[1]), net, count=1)
    if what[0] == "field":
        return f"{net[: what[1]]} {what[2]} {net[what[1] :]}"
    m = list(FIELD.finditer(net))[what[1]]
    new = {"drop": "", "twice": f"{m[0]} {m[0]}"}.get(what[0]) if what[0] != "set" else f"{m[1]}: {what[2]}"
    return f"{net[: m.start()]}{new}{net[m.end() :]}"


def _values(v: str) -> list[str]:
    if v.startswith('"'):
        return ['""', '"nowhere"', "1"]
    if v in ("true", "false"):
        return ["false" if v == "true" else "true", "2", "maybe"]
    try:
        n = float(v)
    except ValueError:
        return ["NONE_SUCH", "1", "99"]
    whole = [str(int(n) + 1), str(2 * int(n) + 2)] if n == int(n) else ["1"]
    return [w for w in ("0", "-1", "-9", "99", "1", "0.5", "nan", '"x"', *whole) if w != v]


def nets(folder: Path) -> dict[str, Path]:
    """The recorded nets by name."""
    return {f"{p.parent.parent.name}/{p.parent.name}": p for p in sorted(folder.glob("[A-Z]*/*/deploy.prototxt"))}

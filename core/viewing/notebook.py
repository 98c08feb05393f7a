"""What a notebook shows of a model or report: a table, and the layers in their order with the edges as arcs."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from ..ir.graph import Graph
from .drawing import Drawing, draw

__all__ = ["picture", "table"]

_ROWS = 60
_COLOURS = {
    "conv": "#8ab8ff", "image": "#8ab8ff", "norm": "#8fd19e", "softmax": "#f5b78a", "activation": "#f5b78a", "pool": "#b8a5ee",
    "reduce": "#b8a5ee",
    "linear": "#86cdd6", "attention": "#86cdd6", "rnn": "#86cdd6", "blocks": "#86cdd6", "arithmetic": "#e6cf6b",
}  # fmt: skip


def table(title: str, facts: Mapping[str, Any]) -> str:
    """Facts as an HTML table."""
    rows = "".join(
        f'<tr><td style="text-align:left;opacity:.7">{escape(str(k))}</td><td style="text-align:left">{escape(str(v))}</td></tr>'
        for k, v in facts.items()
        if v not in ("", None, [], ())
    )
    return f"<div><b>{escape(title)}</b><table>{rows}</table></div>"


def picture(graph: Graph) -> str:
    """The outermost boxes of a graph from top to bottom as inline SVG; edges that skip some are arcs. The first 60."""
    d = draw(graph)
    top = _top(d)
    order = [i for i, item in enumerate(d.items) if item.parent == -1 and item.kind != "output"][:_ROWS]
    row = {i: n for n, i in enumerate(order)}
    left = len([i for i in d.items if i.parent == -1 and i.kind != "output"]) - len(order)
    arcs = sorted({(row[a], row[b]) for a, b in ((top[x], top[y]) for x, y in d.edges) if a in row and b in row and a != b})
    body = "".join(_arc(a, b) for a, b in arcs) + "".join(_box(d, i, n) for i, n in row.items())
    if left:
        body += f'<text x="10" y="{len(order) * 26 + 18}" fill="currentColor">... and {left} more</text>'
    height = (len(order) + bool(left)) * 26 + 6
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="520" height="{height}" viewBox="0 0 520 {height}" role="img" '
        f'aria-label="layers of {escape(d.name)}" style="font:12px sans-serif">{body}</svg>'
    )


def _top(d: Drawing) -> list[int]:
    """For each item the outermost box around it."""
    out: list[int] = []
    for i, item in enumerate(d.items):  # what is around an item stands before it
        out.append(i if item.parent == -1 else out[item.parent])
    return out


def _box(d: Drawing, i: int, n: int) -> str:
    item = d.items[i]
    colour = _COLOURS.get(item.family, "#b8bec7")
    type = f' <tspan opacity=".6">{escape(_cut(item.type, 22))}</tspan>' if item.type else ""
    return (
        f'<rect x="4" y="{n * 26 + 4}" width="360" height="20" rx="4" fill="{colour}" fill-opacity=".45" stroke="{colour}"/>'
        f'<text x="10" y="{n * 26 + 18}" fill="currentColor">{escape(_cut(item.name, 30))}{type}</text>'
    )


def _arc(a: int, b: int) -> str:
    y0, y1 = a * 26 + 14, b * 26 + 14
    if b == a + 1:
        return f'<path d="M184 {y0 + 10}V{y1 - 10}" stroke="currentColor" stroke-opacity=".5"/>'
    out = min(150, 14 + 7 * abs(b - a))
    return (
        f'<path d="M364 {y0}C{364 + out} {y0} {364 + out} {y1} 364 {y1}" fill="none" stroke="currentColor" stroke-opacity=".4"/>'
    )


def _cut(text: str, n: int) -> str:
    return text if len(text) <= n else text[: n - 1] + "…"

"""The page: what it says as data, put into one HTML file with its script, its styles and the library that places boxes."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from ..errors import Problem
from ..ir.graph import Graph
from ..records import dataclass
from ..report import Report
from .drawing import Key, draw, marked
from .pairs import pairs

__all__ = ["conversion_page", "model_page"]


@dataclass(frozen=True)
class _Result:
    graph: Graph
    came_from: Mapping[str, Key]


def model_page(graph: Graph, title: str, problems: Sequence[Problem] = ()) -> str:
    """One model: its facts, what convcore cannot convert in it, and its graph. HTML text."""
    meta = graph.metadata
    shown = {k: meta[k] for k in ("framework", "kind", "version") if meta.get(k)}
    facts = {"model": {**shown, "layers": graph.layer_count, "parameters": f"{graph.num_params:,}"}}
    data = {"title": title, "facts": facts, "problems": [p.to_dict() for p in problems], "notes": list(meta.get("notes", ()))}
    if meta.get("labels"):
        data["facts"]["model"]["labels"] = f"{len(meta['labels'])}: {', '.join(map(str, meta['labels'][:8]))}"  # type: ignore[index]
    return _html(title, {**data, **_pictures(graph, None, problems)})


def conversion_page(
    report: Report, source: Graph, result: Graph | None, came_from: Mapping[str, Key], problems: Sequence[Problem] = ()
) -> str:
    """A conversion: verdict, outputs, errors by layer, what was re-laid and what forced it, problems, and both graphs. HTML text.

    ``result`` is what was written, as its own loader reads it, None where there is none; ``came_from`` says of its values which
    scope of the source they belong to (:func:`.pairs.origins`).
    """
    problems = problems or report.problems
    data = {
        "title": report.title, "verdict": "not converted" if problems else report.verdict,
        "unverified": "" if problems else report.reason,
        "facts": {"source": _plain(report.source), "target": _plain(report.target)},
        "runtimes": list(report.runtimes), "tolerance": list(report.tolerance),
        "outputs": [_plain(d.to_dict()) for d in report.differences],
        "errors": [[layer, tensor, _finite(error)] for layer, tensor, error in report.values],
        "first": report.first_divergence, "weak": report.weak,
        "sections": [{"title": s.title, "lines": s.lines} for s in report.sections],
        "problems": [p.to_dict() for p in problems], "notes": report.notes,
    }  # fmt: skip
    return _html(report.title, {**data, **_pictures(source, None if result is None else _Result(result, came_from), problems)})


def _pictures(source: Graph, result: _Result | None, problems: Sequence[Problem]) -> dict[str, Any]:
    left = draw(source)
    marked(left, [(p.layer, p.why) for p in problems if p.layer])
    if result is None:
        return {"graphs": {"source": left.to_dict()}, "pairs": []}
    right = draw(result.graph)
    return {
        "graphs": {"source": left.to_dict(), "result": right.to_dict()},
        "pairs": [list(p) for p in pairs(left, right, result.came_from)],
    }


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts that JSON holds; numbers without end as text."""
    out: dict[str, Any] = {}
    for k, v in facts.items():
        if v not in ("", None, []):
            out[k] = _finite(v) if isinstance(v, float) else v if isinstance(v, (int, bool)) else _said(v)
    return out


def _said(v: Any) -> str:
    return ", ".join(map(str, v)) if isinstance(v, (list, tuple)) else str(v)


def _finite(x: float) -> float | str:
    return x if abs(x) < float("inf") else str(x)


def _html(title: str, data: Mapping[str, Any]) -> str:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str).replace("<", "\\u003c")
    here = files(__package__) / "assets"
    elk = base64.b64encode((here / "elk-worker.min.js.gz").read_bytes()).decode()
    css, script = ((here / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{css}</style>\n"
        '<body>\n<main id="page"></main>\n'
        f'<script type="application/json" id="data">{text}</script>\n'
        f'<script type="text/plain" id="elk">{elk}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )

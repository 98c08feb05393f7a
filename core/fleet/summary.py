"""The rows of a batch for people and machines: counts, what is missing over all models, and reports as files."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..output import writing
from ..records import dataclass
from .places import is_url
from .task import STATUSES, Row

__all__ = ["Batch", "Missing"]


@dataclass(frozen=True)
class Missing:
    """A type of layer that stands in the way: how many models have it, how many lack nothing else, and why it does."""

    type: str
    why: str
    models: int
    alone: int


@dataclass
class Batch:
    """What :func:`convcore.batch` did: ``rows`` in the order of the sources, and how many were ``converted_now``, not before."""

    rows: list[Row]
    to: str
    converted_now: int = 0

    @property
    def ok(self) -> bool:
        """Whether every model was written."""
        return all(r.ok for r in self.rows)

    @property
    def counts(self) -> dict[str, int]:
        """How many models have each status, best first."""
        found = Counter(r.status for r in self.rows)
        return {s: found[s] for s in STATUSES if found[s]}

    @property
    def missing(self) -> list[Missing]:
        """What is missing, by the number of models that it blocks."""
        have: Counter[str] = Counter()
        alone: Counter[str] = Counter()
        why: dict[str, str] = {}
        for row in self.rows:
            types = {p["type"] for p in row.problems}
            have.update(types)
            alone.update(types if len(types) == 1 else ())
            for p in row.problems:
                why.setdefault(p["type"], p["why"])
        return [Missing(t, why[t], n, alone[t]) for t, n in sorted(have.items(), key=lambda x: (-x[1], -alone[x[0]], x[0]))]

    def to_dict(self) -> dict[str, Any]:
        """The batch as JSON-like data."""
        missing = [asdict(m) for m in self.missing]
        return {"to": self.to, "ok": self.ok, "counts": self.counts, "missing": missing, "models": [asdict(r) for r in self.rows]}

    def to_csv(self) -> str:
        """A line for each model; times in seconds, memory in bytes."""
        text = io.StringIO()
        out = csv.writer(text, lineterminator="\n")
        out.writerow(_COLUMNS)
        for r in self.rows:
            types = " ".join(sorted({p["type"] for p in r.problems}))
            error = "" if r.max_rel is None else r.max_rel
            times = (f"{r.seconds:.2f}", f"{r.cpu:.2f}", r.peak or "")
            out.writerow(
                [r.source, r.status, r.out if r.ok else "", r.framework, r.parameters or "", error, *times, types, r.message]
            )
        return text.getvalue()

    def to_html(self, folder: Path | None = None) -> str:
        """One page without scripts or anything from elsewhere; links to reports of models start in ``folder`` (default: here)."""
        title = f"{len(self.rows)} models to {escape(self.to)}"
        body = f"<h1>{title}</h1><ul>{''.join(f'<li><b>{n}</b> {escape(s)}</li>' for s, n in self.counts.items())}</ul>"
        if self.missing:
            lines = [[str(m.models), str(m.alone), escape(m.type), escape(m.why)] for m in self.missing]
            body += "<h2>What is missing</h2>" + _table(["models", "nothing else", "type", "why"], lines)
        head = ["model", "status", "error of range", "seconds", "memory", ""]
        body += "<h2>Models</h2>" + _table(head, (_cells(r, folder) for r in self.rows))
        return (
            '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>{title}</title><style>{_STYLE}</style>{body}</html>\n"
        )

    def write(self, folder: Path) -> list[Path]:
        """Write ``report.html``, ``report.json`` and ``report.csv`` into a folder."""
        texts = {"html": self.to_html(folder), "json": json.dumps(self.to_dict(), indent=1) + "\n", "csv": self.to_csv()}
        paths = [folder / f"report.{kind}" for kind in texts]
        with writing(*paths) as unfinished:
            for path, text in zip(unfinished, texts.values()):
                path.write_text(text, encoding="utf-8")
        return paths

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {s}" for s, n in self.counts.items())
        lines = [f"{len(self.rows)} model{'s' if len(self.rows) != 1 else ''} to {self.to}: {counts}"]
        if self.converted_now < len(self.rows):
            lines.append(f"{len(self.rows) - self.converted_now} of them finished before and not done again")
        for row in sorted(self.rows, key=lambda r: list(STATUSES).index(r.status)):
            if row.status not in ("ok", "weak", "unsupported"):
                lines.append(f"  {row.status}: {row.source}" + (f": {row.message}" if row.message else ""))
        if self.missing:
            lines.append("missing, by the number of models it blocks (alone):")
            lines += [f"  {m.models} ({m.alone})  {m.type}: {m.why}" for m in self.missing]
        return "\n".join(lines)


_COLUMNS = ["source", "status", "out", "framework", "parameters", "max_rel", "seconds", "cpu", "peak", "missing", "message"]

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:75em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;width:100%}"
    "td,th{border-top:1px solid #8884;padding:.25em .6em;text-align:left;vertical-align:top;overflow-wrap:anywhere}"
    ".good{color:#1a7f37}.bad{color:#b42318}@media(prefers-color-scheme:dark){body{background:#151515;color:#ddd}"
    ".good{color:#5fd07e}.bad{color:#ff8f84}}"
)


def _table(names: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(n)}</th>" for n in names)
    return (
        f"<table><tr>{head}</tr>" + "".join(f"<tr>{''.join(f'<td>{c}</td>' for c in line)}</tr>" for line in lines) + "</table>"
    )


def _cells(r: Row, folder: Path | None) -> list[str]:
    text = escape(r.message)
    if r.problems:
        more = "<br>".join(escape(f"{p['layer']!r} ({p['type']}): {p['why']}") for p in r.problems)
        text = f"<details><summary>{text}</summary>{more}</details>"
    links = "".join(f' <a href="{escape(_link(p, folder))}">{escape(p.rpartition(".")[2])}</a>' for p in r.reports)
    return [
        escape(r.source) + links, f'<span class="{"good" if r.ok else "bad"}">{escape(r.status)}</span>',
        "" if r.max_rel is None else f"{r.max_rel:.1e}", f"{r.seconds:.1f}", f"{r.peak / 1e6:.0f} MB" if r.peak else "", text,
    ]  # fmt: skip


def _link(place: str, folder: Path | None) -> str:
    """Where a report is, seen from the page: a URL as it is, a path as one of URLs."""
    if is_url(place):
        return place
    return quote(Path(os.path.relpath(place, folder or ".")).as_posix())

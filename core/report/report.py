"""The report of a conversion or verification."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import field
from typing import Any

from ..errors import Problem, ask
from ..records import dataclass
from .compare import OutputDifference

__all__ = ["Report", "Section"]


_COLOUR = {"ok": "#2e8b57", "weak": "#b8860b", "not verified": "#b8860b", "mismatch": "#c0392b"}


def _facts(source: dict[str, Any], target: dict[str, Any]) -> list[tuple[str, Any]]:
    """What is worth a row of what was read and written."""
    rows = [("from", source.get("framework")), ("layers", source.get("layers")), ("parameters", source.get("parameters"))]
    rows += [("to", target.get("framework")), ("nodes", target.get("nodes")), ("files", target.get("files"))]
    return [(k, v) for k, v in rows if v not in (None, "", [])]


@dataclass
class Section:
    """A titled list of lines, with the same content as data."""

    title: str
    lines: list[str] = field(default_factory=list)
    data: Any = None


@dataclass
class Report:
    """Everything worth knowing about one run; prints as text.

    ``ok`` is False when a comparison failed or problems remain, and no more: ``verdict`` tells a proof from the lack of one, and
    stands beside ``ok`` in the data, with the number of reasons in ``weak``. ``verified`` says whether anything was compared.
    ``verdict`` is "ok", "weak" (nothing differs, and ``weak`` says what the comparison could not have noticed), "mismatch" or
    "not verified" (``unverified`` says why, where a check was asked for; ``skipped``: it was not).
    """

    title: str
    source: dict[str, Any] = field(default_factory=dict)
    target: dict[str, Any] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    differences: list[OutputDifference] = field(default_factory=list)
    runtimes: tuple[str, str] = ("", "")
    tolerance: tuple[float, float] = (0.0, 0.0)
    first_divergence: str = ""
    layers: dict[str, int] = field(default_factory=dict)
    values: list[tuple[str, str, float]] = field(default_factory=list)
    """Layer, tensor and error relative to range of the values compared between, where a page was asked for."""
    weak: list[str] = field(default_factory=list)
    unverified: str = ""
    skipped: bool = False
    """Whether the check was left out because that was asked for."""
    seconds: float = 0.0
    """What the whole took, 0 where nobody measured."""
    notes: list[str] = field(default_factory=list)
    picture: Callable[[], str] | None = None
    """Makes the picture that a notebook shows: of what was converted, as inline SVG."""

    @property
    def verified(self) -> bool:
        return bool(self.differences)

    @property
    def ok(self) -> bool:
        return not self.problems and all(d.ok for d in self.differences)

    @property
    def verdict(self) -> str:
        if not self.ok:
            return "mismatch"
        return "not verified" if not self.verified else "weak" if self.weak else "ok"

    @property
    def reason(self) -> str:
        """Why nothing was compared: what stood in the way, or that the check was left out; "" where something was."""
        if self.verified or not (self.unverified or self.skipped):
            return ""
        return self.unverified or f"the check was left out ({ask('--no-check', 'check=False')})"

    @property
    def max_abs(self) -> float:
        """The largest absolute error over all outputs and inputs tried."""
        return max((d.max_abs for d in self.differences), default=0.0)

    @property
    def max_rel(self) -> float:
        """The largest error relative to the output's range."""
        return max((d.max_rel for d in self.differences), default=0.0)

    def add(self, title: str, lines: list[str], data: Any = None) -> None:
        """Add a section if it has anything to say."""
        if lines:
            self.sections.append(Section(title, lines, data))

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-like data."""
        return {
            "title": self.title,
            "ok": self.ok,
            "verdict": self.verdict,
            "weak": len(self.weak),
            "seconds": round(self.seconds, 3),
            "source": self.source,
            "target": self.target,
            "sections": {s.title: s.data if s.data is not None else s.lines for s in self.sections},
            "problems": [p.to_dict() for p in self.problems],
            "verification": {
                "done": self.verified,
                "verdict": self.verdict,
                "weak": self.weak,
                "unverified": self.unverified,
                "skipped": self.skipped,
                "layers": self.layers,
                "runtimes": list(self.runtimes),
                "rtol": self.tolerance[0],
                "atol": self.tolerance[1],
                "outputs": [d.to_dict() for d in self.differences],
                "first_divergence": self.first_divergence,
            },
            "notes": self.notes,
        }

    def to_json(self) -> str:
        """The report as JSON text; infinities are written as strings."""

        def clean(x: Any) -> Any:
            if isinstance(x, dict):
                return {str(k): clean(v) for k, v in x.items()}
            if isinstance(x, (list, tuple)):
                return [clean(v) for v in x]
            if isinstance(x, float) and (x != x or x in (float("inf"), float("-inf"))):
                return str(x)
            return x if isinstance(x, (str, int, float, bool)) or x is None else str(x)

        return json.dumps(clean(self.to_dict()), indent=1)

    def __repr__(self) -> str:
        return f"<convcore.Report {self.title!r}: {self.verdict}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdict, what became what, the outputs' errors, a picture; the whole text below."""
        from html import escape

        said = {"mismatch": "MISMATCH", "not verified": "NOT VERIFIED"}.get(self.verdict, self.verdict)
        facts = [("verdict", f"{said}: {self.reason}" if self.reason else said)]
        facts += [(k, ", ".join(map(str, v)) if isinstance(v, list) else str(v)) for k, v in _facts(self.source, self.target)]
        facts += [(d.name, str(d).partition(": ")[2]) for d in self.differences]
        facts += [("took", f"{self.seconds:.1f} s")] if self.seconds else []
        rows = "".join(f'<tr><td style="text-align:left;opacity:.7">{escape(k)}</td>'
                       f'<td style="text-align:left">{escape(v)}</td></tr>' for k, v in facts)  # fmt: skip
        drawn = f"<details><summary>layers</summary>{self.picture()}</details>" if self.picture is not None else ""
        return (
            f'<div><b>{escape(self.title)}</b> <span style="color:{_COLOUR[self.verdict]}">{escape(said)}</span>'
            f"<table>{rows}</table>{drawn}<details><summary>all of it</summary><pre>{escape(str(self))}</pre></details></div>"
        )

    def __str__(self) -> str:
        out = [self.title]

        def table(d: dict[str, Any]) -> str:
            return ", ".join(f"{k} {v}" for k, v in d.items() if v not in ("", None, [], ()))

        if self.source:
            out.append("  source: " + table(self.source))
        if self.target:
            out.append("  target: " + table(self.target))
        for s in self.sections:
            out.append(f"  {s.title}:")
            out += [f"    {line}" for line in s.lines]
        if self.problems:
            out.append(f"  {len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}:")
            out += [f"    {p}" for p in self.problems]
        if self.differences:
            rtol, atol = self.tolerance
            out.append(f"  verified: {self.runtimes[0]} against {self.runtimes[1]} (rtol {rtol:g} of range, atol {atol:g})")
            out += [f"    {d}" for d in self.differences]
            if self.first_divergence:
                out.append(f"    first difference: {self.first_divergence}")
            if self.layers:
                n = self.layers
                out.append(
                    f"    values compared: {n['compared']}; weights that would show there: {n['covered']} of {n['weights']}"
                )
            out.append("  verdict: " + {"mismatch": "MISMATCH"}.get(self.verdict, self.verdict))
            out += [f"    weak: {w}" for w in self.weak]
        elif self.reason:
            out.append(f"  verdict: NOT VERIFIED: {self.reason}")
        if self.seconds:
            out.append(f"  took: {self.seconds:.1f} s")
        out += [f"  note: {n}" for n in self.notes]
        return "\n".join(out)

"""Small graphs by name, and what each writer makes of them: every call, argument, weight, note and reason, held whole.

A plugin keeps a text (``tests/data/written.txt``) with a section a graph. ``CONVCORE_RECORD=1`` writes a section anew after the
framework itself has run the file and given what the interpreter gives; ``-m slow`` runs them all again.
"""

from __future__ import annotations

import difflib
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from convcore.build.builder import Builder
from convcore.errors import ConvcoreError
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.graph import PARAMETER, Graph, Value

__all__ = ["Case", "Held", "Small", "about", "case", "data", "fraction"]

SIZES = {"N": 2, "T": 7, "H": 11, "W": 13, "?": 1}
"""What sizes by name are when the graphs run; "?" has no name."""

LONGEST = 24
"""Lines of the longest text that is kept; of a longer one, how long it is and its checksum."""


class Small:
    """A graph being built; every op is a method. ``x`` makes inputs, ``w`` trained weights, ``c`` constants."""

    def __init__(self, closed: bool = False) -> None:
        self.closed = closed
        self.graph = Graph("small")
        self.b = Builder(self.graph)
        self.feeds: list[Any] = []
        self.rng = np.random.default_rng(11)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.b, name)

    def numbers(self, shape: Any, kind: str, low: int, high: int) -> Any:
        size = [SIZES[d] if isinstance(d, str) else d for d in shape]
        if kind == "bool":
            return self.rng.integers(0, 2, size) > 0
        if kind.startswith(("int", "uint")):
            return self.rng.integers(low, high, size).astype(kind)
        return self.rng.normal(size=size).astype(kind)

    def dim(self, name: str) -> Any:
        """A size by name, which an input has; of a graph that is closed, the number, but for a batch."""
        if self.closed and name != "N":
            return SIZES[name]
        return None if name == "?" else Dim(name)

    def x(self, *shape: Any, kind: str = "float32", low: int = 0, high: int = 9) -> Value:
        """An input; integers are from ``low`` to below ``high``."""
        self.feeds.append(self.numbers(shape, kind, low, high))
        return self.b.input(f"x{len(self.feeds)}", kind, tuple(self.dim(d) if isinstance(d, str) else d for d in shape))

    def w(self, *shape: int, trained: bool = True, kind: str = "float32", positive: bool = False) -> Value:
        """A parameter."""
        a = self.numbers(shape, kind, 0, 9)
        name = f"w{len(self.graph.weights)}"
        return self.b.weight(np.abs(a) + a.dtype.type(0.5) if positive else a, name, trainable=trained, role=PARAMETER)

    def c(self, value: Any, kind: str | None = None) -> Value:
        """A constant."""
        return self.b.const(np.asarray(value, kind) if kind else value)

    def many(self, *shape: int, kind: str = "float32") -> Value:
        """A constant of a shape."""
        return self.c(self.numbers(shape, kind, 0, 9))


Build = Callable[[Small], Any]


@dataclass(frozen=True)
class Case:
    """A graph, and the options with which it is written."""

    build: Build
    options: Mapping[str, Any] = field(default_factory=dict)

    def make(self, closed: bool = False) -> tuple[Graph, list[Any]]:
        """The graph and what it is fed."""
        g = Small(closed)
        y = self.build(g)
        g.graph.outputs = list(y) if isinstance(y, (tuple, list)) else [y]
        return g.graph, g.feeds


def case(build: Build, **options: Any) -> Case:
    return Case(build, options)


def data(a: Any) -> str:
    """An array in a few characters: itself where it is short, else its shape and a sum that knows the order."""
    a = np.asarray(a)
    if a.size <= 4:
        return f"{a.dtype}{a.tolist()}"
    flat = a.astype(np.float64).reshape(-1)
    flat = np.where(np.isfinite(flat), flat, 1e3)
    return f"{a.dtype}{a.shape} ~ {fraction(float(np.dot(flat, np.cos(np.arange(flat.size) * 0.7))))}"


def fraction(v: float) -> str:
    return f"{v:.4g}"


def about(e: ConvcoreError) -> list[str]:
    """The problems of a refusal."""
    found = getattr(e, "problems", None)
    return sorted(f"! {p.layer} ({p.type}): {p.why} [{p.code}] {p.hint}".rstrip() for p in found) if found else [f"! {e}"]


Write = Callable[[Graph, Mapping[str, Any], Path], tuple[list[str], Callable[[list[Any]], list[Any]]]]
"""Writes a laid-out graph into a folder: the lines that describe it, and what the framework gives for inputs."""


@dataclass
class Held:
    """The text of a plugin. ``closed``: only a batch has an unknown size; ``tolerance`` is relative to the range of a result."""

    path: Path
    cases: Mapping[str, Case]
    write: Write
    closed: bool = False
    tolerance: float = 2e-5

    def __post_init__(self) -> None:
        text = self.path.read_text("utf-8") if self.path.exists() else ""
        self.sections = {s.partition("\n")[0]: s.partition("\n")[2].rstrip() for s in text.split("\n## ")[1:]}

    def check(self, name: str, folder: Path, *, run: bool = False) -> None:
        """Whether a graph is written as the text says."""
        record = os.environ.get("CONVCORE_RECORD", "")
        lines, judged = self._made(name, folder, run or bool(record))
        lines = lines if len(lines) <= LONGEST else [f"{len(lines)} lines, {zlib.crc32(chr(10).join(lines).encode()):08x}"]
        now, before = "\n".join(line.rstrip() for line in lines).rstrip(), self.sections.get(name, "")
        if record and now != before:
            self.sections[name] = now
            heads = [n for n in self.cases if n in self.sections]
            words = f"What is written of {len(heads)} small graphs (tests/support/small): CONVCORE_RECORD=1 writes it anew."
            body = "".join(f"\n## {n}\n{self.sections[n]}\n" for n in heads)
            self.path.write_text(f"{words}\n{body}", "utf-8")
            return
        changes = difflib.unified_diff(before.splitlines(), now.splitlines(), "recorded", "now", lineterm="", n=1)
        assert now == before, f"{name}, {judged}\n" + "\n".join(changes)

    def _made(self, name: str, folder: Path, run: bool) -> tuple[list[str], str]:
        case = self.cases[name]
        graph, feeds = case.make(self.closed)
        want = Interpreter(graph).run(feeds) if run else []
        try:
            lines, give = self.write(graph, case.options, folder)
        except ConvcoreError as e:
            return about(e), "refused"
        if not run:
            return lines, "not run"
        for got, w in zip(give(feeds), want, strict=True):
            if got is None:  # nobody can tell
                continue
            got = np.asarray(got)
            assert (got.shape, got.dtype) == (w.shape, w.dtype), f"{name}: {got.dtype}{got.shape}, not {w.dtype}{w.shape}"
            a, b = got.astype(np.float64), w.astype(np.float64)
            span = float(np.ptp(b[np.isfinite(b)])) if np.isfinite(b).any() else 1.0
            np.testing.assert_allclose(a, b, rtol=0, atol=self.tolerance * (span or 1.0), err_msg=name)
        return lines, "right"

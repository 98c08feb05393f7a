"""Which tests should notice a change: the few that run its line, the likeliest first."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache

from tests.support.mutants.reach import FRESHNESS, Reach
from tests.support.mutants.sites import PARTS, ROOT, Mutant, part_of


def tests_for(m: Mutant, reach: Reach, seconds: float) -> list[str]:
    """Tests whose recorded time is ``seconds`` together: the nearest first, and one of each function before a second of any.

    Nearest are those that ran the line, or the statement; then those of the function around it, or, where it runs while the
    module is imported (tables, declarations), those of the functions the statement names and those whose names say its words;
    then those of the file, and of the folder of tests.
    """
    words = _parameter(m) or _words(m)
    ways: list[Callable[[], set[str]]] = [lambda: reach.tests_of_file(m.path), lambda: reach.in_folders(_folders(m.path))]
    if m.inside:
        first, last = _around(m)
        near = reach.tests_of(m.path, m.line, m.line) or reach.tests_of(m.path, m.first, m.last)
        ways = [lambda: near, lambda: reach.tests_of(m.path, first, last), *ways]
    else:
        ran = set[str]().union(*(reach.tests_of(m.path, *span) for span in _named(m)))
        ways = [lambda: ran & reach.named(words), lambda: ran | (reach.named(words) & reach.tests_of_file(m.path)), *ways]
    chosen, total, asked = list[str](), 0.0, set[str]()
    for level, way in enumerate(ways):
        found = {t for t in way() - asked if not t.startswith(FRESHNESS)}
        asked |= found
        for t in _ordered(found, m, reach, words if level or not m.inside else frozenset()):
            total += reach.seconds.get(t, 1.0) + 0.02
            if total > seconds and chosen:
                return chosen
            chosen.append(t)
    return chosen


def _ordered(found: set[str], m: Mutant, reach: Reach, words: frozenset[str]) -> list[str]:
    """Tests that name it, of its own part, that run little else and are quick."""
    named = {t: reach.likeness(t, words) for t in found} if words else {}

    def worth(t: str) -> tuple[float, bool, float]:
        return -named.get(t, 0.0), not t.startswith(_folders(m.path)), reach.size.get(t, 0) * (0.1 + reach.seconds.get(t, 1.0))

    groups: defaultdict[str, list[str]] = defaultdict(list)
    for t in found:
        groups[t.split("[", 1)[0]].append(t)
    order: list[tuple[int, tuple[float, bool, float], str]] = []
    for tests in groups.values():
        for i, t in enumerate(sorted(tests, key=worth)):
            order.append((0 if named.get(t, 0.0) and not m.inside else i, worth(t), t))
    return [t for _, _, t in sorted(order)]


@lru_cache
def _functions(path: str) -> dict[str, tuple[int, int]]:
    """First and last line of the functions of a module, by name."""
    return {
        n.name: (n.lineno, n.end_lineno or n.lineno)
        for n in ast.walk(ast.parse((ROOT / path).read_bytes()))
        if isinstance(n, ast.FunctionDef)
    }


def _around(m: Mutant) -> tuple[int, int]:
    """The lines of the smallest function around a change, or its statement's."""
    spans = [(last - first, first, last) for first, last in _functions(m.path).values() if first <= m.line <= last]
    return min(spans)[1:] if spans else (m.first, m.last)


def _named(m: Mutant) -> list[tuple[int, int]]:
    """The lines of the functions of the module that the statement around a change is or names, and the statement's own: those of
    its lambdas run when they are called."""
    names, own = _functions(m.path), [(first, last, w) for first, last, w in _statements(m.path) if first <= m.line <= last]
    told = {w for _, _, words in own for w in words}
    return [(first, last) for first, last, _ in own] + [span for name, span in names.items() if name.lower() in told]


def _folders(path: str) -> tuple[str, ...]:
    part = part_of(path)
    if part != "core":
        return (f"plugins/{part}/tests",)
    family = path.removeprefix(f"{PARTS['core']}/").split("/")[0].removesuffix(".py")
    known = {"loading": "load", "opset": "ops", "build": "ops", "interpreter": "ops"}
    return (f"tests/{known.get(family, family)}/", "tests/core/")


@lru_cache
def _statements(path: str) -> list[tuple[int, int, frozenset[str]]]:
    """The statements of a module with the names and texts in them."""
    out = []
    tree = ast.parse((ROOT / path).read_bytes())
    body = [s for t in tree.body for s in ([t] if not isinstance(t, ast.ClassDef) else [t, *t.body])]
    for s in body:
        inner = [s] if not isinstance(s, ast.ClassDef) else []
        names = {getattr(s, "name", "")}
        for n in (x for i in inner for x in ast.walk(i)):
            if isinstance(n, ast.Constant) and isinstance(n.value, str):
                names.update(re.findall(r"\w{3,}", n.value))
            elif isinstance(n, (ast.Name, ast.Attribute)):
                names.add(n.id if isinstance(n, ast.Name) else n.attr)
        out.append((s.lineno, s.end_lineno or s.lineno, frozenset(n.lower() for n in names if len(n) > 2)))
    return out


def _parameter(m: Mutant) -> frozenset[str]:
    """The parameter whose default is changed, and its function: tests of defaults are named so."""
    found = re.search(r"(\w{3,})(?:: [^=]+)? = \S+ -> ", m.what)
    function = re.match(r"def (\w+)", m.statement)
    return frozenset(x[1].lower() for x in (found, function) if x) if m.kind == "default" and found else frozenset()


def _words(m: Mutant) -> frozenset[str]:
    """The words of the statements of the module around the change."""
    return frozenset().union(*(w for first, last, w in _statements(m.path) if first <= m.line <= last))

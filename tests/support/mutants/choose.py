"""Which tests should notice a change: the few that run its line, the likeliest first."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import lru_cache

from tests.support.mutants.reach import FRESHNESS, Reach
from tests.support.mutants.sites import PARTS, ROOT, Mutant, part_of


def tests_for(m: Mutant, reach: Reach, seconds: float) -> list[str]:
    """Tests whose recorded time is ``seconds`` together, one of each function before a second of any."""
    found = (reach.tests_of(m.path, m.line, m.line) or reach.tests_of(m.path, m.first, m.last)) if m.inside else set()
    words = _words(m) if not found else frozenset()
    if not found:
        found = reach.tests_of_file(m.path)
    if not m.inside and words:
        found |= reach.named(words)
    if not found:
        found = reach.in_folders(_folders(m.path))
    found = {t for t in found if not t.startswith(FRESHNESS)}
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for t in found:
        groups[t.split("[", 1)[0]].append(t)
    named = {t: reach.likeness(t, words) for t in found} if words else {}

    def worth(t: str) -> tuple[float, bool, float]:
        """Tests that name it, of its own part, that run little else and are quick."""
        return -named.get(t, 0.0), not t.startswith(_folders(m.path)), reach.size.get(t, 0) * (0.1 + reach.seconds.get(t, 1.0))

    order: list[tuple[int, tuple[float, bool, float], str]] = []
    for tests in groups.values():
        for i, t in enumerate(sorted(tests, key=worth)):
            order.append((0 if named.get(t, 0.0) else i, worth(t), t))
    chosen, total = list[str](), 0.0
    for _, _, t in sorted(order):
        total += reach.seconds.get(t, 1.0) + 0.02
        if total > seconds and chosen:
            break
        chosen.append(t)
    return chosen


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


def _words(m: Mutant) -> frozenset[str]:
    """The words of the statements of the module around the change."""
    return frozenset().union(*(w for first, last, w in _statements(m.path) if first <= m.line <= last))

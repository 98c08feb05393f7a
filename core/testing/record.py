"""What load rules make, recorded while tests run: the ops of every foreign type, as data instead of as claims.

A plugin's ``tests/conftest.py`` calls :func:`recording` around the session; what was made is compared with the committed record
(``plugins/<framework>/tests/ops_made.json``), from which the support tables are written. ``CONVCORE_RECORD=1`` writes it anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..rules.ruleset import RuleSet

__all__ = ["Record", "missing", "read_record", "recording"]


class Record:
    """``made``: foreign type -> names of ops its rules made. Nodes of layers inside a layer count for those only."""

    def __init__(self) -> None:
        self.made: dict[str, set[str]] = {}
        self._inner: list[set[int]] = []

    def add(self, g: Any, foreign: str, before: set[int]) -> None:
        """What stands in the graph now and did not before, less what rules inside made."""
        mine = self._inner.pop()
        fresh = {id(n): n.op for n in g.b.graph if id(n) not in before}
        self.made.setdefault(foreign, set()).update(op for i, op in fresh.items() if i not in mine and op != "opaque")
        if self._inner:
            self._inner[-1] |= fresh.keys()


@contextmanager
def recording(framework: str) -> Iterator[Record]:
    """Record every rule of a framework that is applied inside."""
    record, original = Record(), RuleSet.apply_load

    def apply_load(self: RuleSet, g: Any, node: Any, overrides: Mapping[str, Any] | None = None) -> Any:
        if self.framework != framework or (overrides and (node.name in overrides or node.type in overrides)):
            return original(self, g, node, overrides)
        before = {id(n) for n in g.b.graph}
        record._inner.append(set())
        try:
            made = original(self, g, node, overrides)
        except BaseException:
            record._inner.pop()
            raise
        record.add(g, node.type, before)
        return made

    RuleSet.apply_load = apply_load  # type: ignore[method-assign, assignment]
    try:
        yield record
    finally:
        RuleSet.apply_load = original  # type: ignore[method-assign]


def read_record(path: Path) -> dict[str, tuple[str, ...]]:
    """The committed record; empty where there is none."""
    if not path.exists():
        return {}
    return {k: tuple(v) for k, v in json.loads(path.read_text(encoding="utf-8")).items()}


def missing(record: Record, path: Path) -> dict[str, list[str]]:
    """What was made and is not in the committed record; with ``CONVCORE_RECORD=1`` it is added there instead."""
    known = read_record(path)
    new = {k: sorted(v - set(known.get(k, ()))) for k, v in record.made.items()}
    new = {k: v for k, v in new.items() if v or k not in known}
    if new and os.environ.get("CONVCORE_RECORD"):
        table = {k: sorted({*known.get(k, ()), *record.made.get(k, ())}) for k in sorted({*known, *record.made})}
        path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        return {}
    return new

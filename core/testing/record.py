"""What rules make, recorded while tests run: the ops of every foreign type, and the foreign types every op is written as, as
data instead of as claims.

A plugin's ``tests/conftest.py`` calls :func:`recording` around the session; what was made is compared with the committed records
(``ops_made.json`` and ``types_written.json`` in ``plugins/<framework>/tests``), from which the support tables are written.
``CONVCORE_RECORD=1`` adds to them, ``CONVCORE_RECORD=new`` writes them anew, and with ``CONVCORE_RECORD=check`` what they say and
no test made is an error too (the two are for sessions that run all of a plugin's tests).
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
    """``made``: foreign type -> ops its rules made; ``written``: op -> foreign types it was written as.

    Nodes of layers inside a layer count for those only, and so does what is written of nodes inside a node's regions.
    """

    def __init__(self) -> None:
        self.made: dict[str, set[str]] = {}
        self.written: dict[str, set[str]] = {}
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
    record, load, emit = Record(), RuleSet.apply_load, RuleSet.apply_emit

    def apply_load(self: RuleSet, g: Any, node: Any, overrides: Mapping[str, Any] | None = None) -> Any:
        if self.framework != framework or (overrides and (node.name in overrides or node.type in overrides)):
            return load(self, g, node, overrides)
        before = {id(n) for n in g.b.graph}
        record._inner.append(set())
        try:
            made = load(self, g, node, overrides)
        except BaseException:
            record._inner.pop()
            raise
        record.add(g, node.type, before)
        return made

    def apply_emit(self: RuleSet, e: Any, node: Any, overrides: Mapping[str, Any] | None = None) -> str:
        block = getattr(e, "block", None)
        if self.framework != framework or block is None or (overrides and (node.name in overrides or node.op in overrides)):
            return emit(self, e, node, overrides)
        before = len(block.calls)
        why = emit(self, e, node, overrides)
        if not why and node.op != "opaque":
            record.written.setdefault(node.op, set()).update(call.type for call in block.calls[before:])
        return why

    RuleSet.apply_load, RuleSet.apply_emit = apply_load, apply_emit  # type: ignore[method-assign, assignment]
    try:
        yield record
    finally:
        RuleSet.apply_load, RuleSet.apply_emit = load, emit  # type: ignore[method-assign]


def read_record(path: Path) -> dict[str, tuple[str, ...]]:
    """The committed record; empty where there is none."""
    if not path.exists():
        return {}
    return {k: tuple(v) for k, v in json.loads(path.read_text(encoding="utf-8")).items()}


def missing(made: Mapping[str, set[str]], path: Path) -> dict[str, list[str]]:
    """What was made and is not in the committed record; see the module's docstring for ``CONVCORE_RECORD``."""
    known, mode = read_record(path), os.environ.get("CONVCORE_RECORD", "")
    if mode == "new":
        known = {}
    new = {k: sorted(v - set(known.get(k, ()))) for k, v in made.items()}
    new = {k: v for k, v in new.items() if v or k not in known}
    if mode == "check":
        stale = {f"{k} (no longer)": sorted(set(v) - made.get(k, set())) for k, v in known.items()}
        return {**new, **{k: v for k, v in stale.items() if v}}
    if (new and mode) or mode == "new":
        table = {k: sorted({*known.get(k, ()), *made.get(k, ())}) for k in sorted({*known, *made})}
        path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        return {}
    return new

"""What rules make, recorded while tests run: the ops of every foreign type, and the foreign types every op is written as, as
data instead of as claims.

A plugin's ``tests/conftest.py`` calls :func:`record_rules` around the session; what was made is compared with the committed
records (``ops_made.json`` and ``types_written.json`` beside it), from which the support tables are written. :func:`unrecorded`
finds functions that no record knows, and records of rules that are gone.
``CONVCORE_RECORD=1`` adds to them, ``CONVCORE_RECORD=new`` writes them anew, and with ``CONVCORE_RECORD=check`` what they say and
no test made is an error too (the two are for sessions that run all of a plugin's tests).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

from ..ir.graph import Node
from ..rules.rows import Row
from ..rules.ruleset import RuleSet

__all__ = ["Record", "missing", "one_op", "read_record", "record_rules", "recording", "unrecorded"]

MADE, WRITTEN = "ops_made.json", "types_written.json"


class Record:
    """``made``: foreign type -> ops its rules made; ``written``: op -> foreign types it was written as. What a rule refuses is
    there too, with nothing made.

    Nodes of layers inside a layer count for those only, and so does what is written of nodes inside a node's regions.
    """

    def __init__(self) -> None:
        self.made: dict[str, set[str]] = {}
        self.written: dict[str, set[str]] = {}
        self._inner: list[set[int]] = []

    def add(self, g: Any, foreign: str, before: Node | None) -> None:
        """What stands in the graph behind ``before``, its last node until now, less what rules inside made."""
        mine = self._inner.pop()
        fresh = {id(n): n.op for n in takewhile(lambda n: n is not before, reversed(g.b.graph))}
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
        before = g.b.graph.last
        record._inner.append(set())
        try:
            made = load(self, g, node, overrides)
        except BaseException:
            record._inner.pop()
            if not record._inner and node.type in self.load_rules:
                record.made.setdefault(node.type, set())
            raise
        record.add(g, node.type, before)
        return made

    def apply_emit(self: RuleSet, e: Any, node: Any, overrides: Mapping[str, Any] | None = None) -> str:
        block = getattr(e, "block", None)
        if self.framework != framework or block is None or (overrides and (node.name in overrides or node.op in overrides)):
            return emit(self, e, node, overrides)
        before = len(block.calls)
        known = record.written.setdefault(node.op, set()) if node.op in self.emit_rules else set()
        why = emit(self, e, node, overrides)
        if not why:
            known.update(call.type for call in block.calls[before:])
        return why

    RuleSet.apply_load, RuleSet.apply_emit = apply_load, apply_emit  # type: ignore[method-assign, assignment]
    try:
        yield record
    finally:
        RuleSet.apply_load, RuleSet.apply_emit = load, emit  # type: ignore[method-assign]


@contextmanager
def record_rules(framework: str, folder: Path) -> Iterator[None]:
    """Around a session of tests: AssertionError where a rule made an op, or wrote a type, that the records in ``folder`` do not
    have, and those are not to be written (``CONVCORE_RECORD``)."""
    with recording(framework) as record:
        yield
    new = {**missing(record.made, folder / MADE), **missing(record.written, folder / WRITTEN)}
    assert not new, f"run all tests of the plugin with CONVCORE_RECORD=1, in one process, then docs/generate.py: {new}"


def unrecorded(rules: RuleSet[Any, Any], folder: Path, *, reads: bool = True, writes: bool = True) -> list[str]:
    """What the records in ``folder`` and the functions of a rule set do not know of each other."""
    out: list[str] = []
    parts: list[tuple[bool, Mapping[str, Sequence[Any]], str]] = [
        (reads, rules.load_rules, MADE), (writes, rules.emit_rules, WRITTEN)
    ]  # fmt: skip
    for wanted, by_key, name in parts:
        if not wanted:
            continue
        known = read_record(folder / name)
        functions = {k for k, found in by_key.items() if not all(isinstance(r, Row) for r in found)}
        out += [f"{name}: no test made anything of {k!r}" for k in sorted(functions - known.keys())]
        out += [f"{name}: {k!r} has no rule" for k in sorted(known.keys() - by_key.keys())]
    return out


def one_op(rules: RuleSet[Any, Any], folder: Path) -> dict[str, str]:
    """What has functions only that made, or were written as, one and the same thing whenever a test used them, with that thing:
    ``"load Pad"``, ``"emit quantize"``. Each could be a row, or there is a reason why not."""
    out: dict[str, str] = {}
    parts: list[tuple[str, Mapping[str, Sequence[Any]], str]] = [
        ("load", rules.load_rules, MADE), ("emit", rules.emit_rules, WRITTEN)
    ]  # fmt: skip
    for direction, by_key, name in parts:
        for key, made in read_record(folder / name).items():
            if len(made) == 1 and not any(isinstance(r, Row) for r in by_key.get(key, ())):
                out[f"{direction} {key}"] = made[0]
    return out


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

"""What rules make, recorded while tests run: the ops of every foreign type, the foreign types every op is written as, and of how
many parts each function makes it, as data instead of as claims.

A plugin's ``tests/conftest.py`` calls :func:`record_rules` around the session; what was made is compared with the committed
records (``ops_made.json``, ``types_written.json`` and ``functions.json`` beside it), from which the support tables are written.
:func:`unrecorded` finds functions that no record knows, and records of rules that are gone; :func:`likely_rows` those that
only ever make a single thing of a type, which a row may be able to say.
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
from ..rules.ruleset import EmitFunction, LoadFunction, RuleSet

__all__ = ["Record", "likely_rows", "missing", "read_record", "record_rules", "recording", "unrecorded"]

MADE, WRITTEN, FUNCTIONS = "ops_made.json", "types_written.json", "functions.json"


class Record:
    """``made``: foreign type -> ops its rules made; ``written``: op -> foreign types it was written as. What a rule refuses is
    there too, with nothing made. ``functions``: a function and the type or op it was used for -> of how many parts it made
    that: "one", "several", "none", or "refused".

    Nodes of layers inside a layer count for those only, and so does what is written of nodes inside a node's regions.
    """

    def __init__(self) -> None:
        self.made: dict[str, set[str]] = {}
        self.written: dict[str, set[str]] = {}
        self.functions: dict[str, set[str]] = {}
        self._inner: list[set[int]] = []

    def fresh(self, g: Any, before: Node | None) -> dict[int, str]:
        """The ops that stand in the graph behind ``before``, its last node until then."""
        return {id(n): n.op for n in takewhile(lambda n: n is not before, reversed(g.b.graph))}

    def add(self, g: Any, foreign: str, before: Node | None) -> None:
        """What stands behind ``before``, less what rules inside made."""
        mine, fresh = self._inner.pop(), self.fresh(g, before)
        self.made.setdefault(foreign, set()).update(op for i, op in fresh.items() if i not in mine and op != "opaque")
        if self._inner:
            self._inner[-1] |= fresh.keys()

    def count(self, function: str, parts: int) -> None:
        """A function made so many parts of a node (-1: it refused)."""
        how = "refused" if parts < 0 else "one" if parts == 1 else "several" if parts else "none"
        self.functions.setdefault(function, set()).add(how)


@contextmanager
def recording(framework: str) -> Iterator[Record]:
    """Record every rule of a framework that is applied inside."""
    record, load, emit = Record(), RuleSet.apply_load, RuleSet.apply_emit
    one_load, one_emit = LoadFunction.load, EmitFunction.emit
    blocks: list[Any] = []

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
        if e.dialect.respells:  # in other words than rules say
            return emit(self, e, node, overrides)
        before = len(block.calls)
        known = record.written.setdefault(node.op, set()) if node.op in self.emit_rules else set()
        blocks.append(block)
        try:
            why = emit(self, e, node, overrides)
        finally:
            blocks.pop()
        if not why:
            known.update(call.type for call in block.calls[before:])
        return why

    def load_one(self: LoadFunction, g: Any, node: Any) -> Any:
        before, parts = g.b.graph.last, -1
        try:
            made = one_load(self, g, node)
            parts = sum(i not in record._inner[-1] for i in record.fresh(g, before)) if record._inner else -1
        finally:
            if record._inner:
                record.count(f"{_label(self)} {self.foreign}", parts)
        return made

    def emit_one(self: EmitFunction, e: Any, node: Any) -> None:
        before, parts = len(blocks[-1].calls) if blocks else 0, -1
        try:
            one_emit(self, e, node)
            parts = len(blocks[-1].calls) - before if blocks else -1
        finally:
            if blocks:
                record.count(f"{_label(self)} {self.op_name}", parts)

    RuleSet.apply_load, RuleSet.apply_emit = apply_load, apply_emit  # type: ignore[method-assign, assignment]
    LoadFunction.load, EmitFunction.emit = load_one, emit_one  # type: ignore[method-assign]
    try:
        yield record
    finally:
        RuleSet.apply_load, RuleSet.apply_emit = load, emit  # type: ignore[method-assign]
        LoadFunction.load, EmitFunction.emit = one_load, one_emit  # type: ignore[method-assign]


@contextmanager
def record_rules(framework: str, folder: Path) -> Iterator[None]:
    """Around a session of tests: AssertionError where a rule made an op, wrote a type, or made it of other parts than the records
    in ``folder`` say, and those are not to be written (``CONVCORE_RECORD``)."""
    with recording(framework) as record:
        yield
    functions = {k: v for k, v in record.functions.items() if ".tests." not in k}  # rules that tests made are not the plugin's
    parts = {MADE: record.made, WRITTEN: record.written, FUNCTIONS: _telling(functions, folder)}
    new = {k: v for name, found in parts.items() for k, v in missing(found, folder / name).items()}
    assert not new, f"run all tests of the plugin with CONVCORE_RECORD=1, in one process, then docs/generate.py: {new}"


def _telling(functions: Mapping[str, set[str]], folder: Path) -> dict[str, set[str]]:
    """What is news of functions: one that is known to make several things of a type, or none, may make a single one besides, and
    any may refuse."""
    known, out = read_record(folder / FUNCTIONS), {}
    whole = os.environ.get("CONVCORE_RECORD", "") in ("new", "check")
    for key, how in functions.items():
        told = {*known.get(key, ())}
        if whole or key not in known or not (told & {"several", "none"} or how <= told | {"refused"}):
            out[key] = how
    return out


def unrecorded(rules: RuleSet[Any, Any], folder: Path) -> list[str]:
    """What the records in ``folder`` and the functions of a rule set do not know of each other: types and ops of functions that
    no test made or wrote, functions that no test reached for any of theirs, records of what is no rule."""
    out: list[str] = []
    keys: list[tuple[Mapping[str, Sequence[Any]], str]] = [(rules.load_rules, MADE), (rules.emit_rules, WRITTEN)]
    for by_key, name in keys:
        known = read_record(folder / name).keys()
        functions = {k for k, found in by_key.items() if not all(isinstance(r, Row) for r in found)}
        out += [f"{name}: no test made anything of {k!r}" for k in sorted(functions - known)]
        out += [f"{name}: {k!r} has no rule" for k in sorted(known - by_key.keys())]
    recorded, mine = read_record(folder / FUNCTIONS).keys(), _functions(rules)
    reached = {k.rpartition(" ")[0] for k in recorded}
    out += [f"{FUNCTIONS}: no test reached {k!r}" for k in sorted({k.rpartition(" ")[0] for k in mine} - reached)]
    return out + [f"{FUNCTIONS}: {k!r} is no rule" for k in sorted(recorded - mine)]


def likely_rows(rules: RuleSet[Any, Any], folder: Path) -> dict[str, list[str]]:
    """Functions that made a single thing of a type, or wrote an op as a single thing, whenever a test used them, and those types
    or ops: ``{"load rules.norm.batch_norm": ["BatchNorm"]}``. Each could be rows, or there is a reason why not."""
    out: dict[str, list[str]] = {}
    mine = _functions(rules)
    for name, how in read_record(folder / FUNCTIONS).items():
        if {*how} - {"refused"} == {"one"} and name in mine:
            function, _, key = name.rpartition(" ")
            out.setdefault(function, []).append(key)
    return out


def _functions(rules: RuleSet[Any, Any]) -> set[str]:
    """The functions of a rule set with the types and ops they are for."""
    found = {f"{_label(r)} {r.foreign}" for rs in rules.load_rules.values() for r in rs if isinstance(r, LoadFunction)}
    return found | {f"{_label(r)} {r.op_name}" for rs in rules.emit_rules.values() for r in rs if isinstance(r, EmitFunction)}


def _label(rule: LoadFunction | EmitFunction) -> str:
    """``load rules.norm.batch_norm``: the function in its package."""
    return f"{rule.direction} {rule.fn.__module__.partition('.')[2]}.{rule.fn.__qualname__}"


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

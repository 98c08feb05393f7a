"""All ops by name: the core's, read on first use, and those plugins register."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from ..errors import PluginConflictError, UsageError
from ..ir.graph import Node
from .declare import Op, OpSet
from .traits import Trait

__all__ = ["all_ops", "find_op", "op", "register", "traits_of"]

CORE = "convcore.ops.families:FAMILIES"
"""Where the core's own families are, named as a plugin names its ops."""


class Registry:
    """All ops by name: the core's, and those plugins register."""

    def __init__(self) -> None:
        self.ops: dict[str, Op] = {}

    def add(self, ops: OpSet | Sequence[Op]) -> None:
        for op in ops.ops.values() if isinstance(ops, OpSet) else ops:
            old = self.ops.get(op.name)
            if old is not None and old is not op:
                raise PluginConflictError(f"op {op.name!r} is declared by {old.distribution} and by {op.distribution}")
            self.ops[op.name] = op


_registry = Registry()
_loaded = False


def _load() -> dict[str, Op]:
    global _loaded
    if not _loaded:
        module, _, attribute = CORE.partition(":")
        for family in getattr(importlib.import_module(module), attribute):
            _registry.add(family)
        _loaded = True
    return _registry.ops


def op(name: str) -> Op:
    """The declaration of an op; UsageError with close matches if there is none."""
    found = find_op(name)
    if found is None:
        import difflib

        close = difflib.get_close_matches(name, _registry.ops, 3)
        raise UsageError(f"unknown op {name!r}" + (f"; did you mean {', '.join(close)}?" if close else ""))
    return found


def find_op(name: str) -> Op | None:
    """The declaration of an op, or None (opaque nodes have none)."""
    return (_registry.ops if _loaded else _load()).get(name)


def traits_of(name: str) -> Trait:
    """The traits of an op; opaque nodes have none."""
    found = find_op(name)
    return Trait.NONE if found is None else found.traits


def all_ops() -> dict[str, Op]:
    """Every declared op by name."""
    return dict(_load())


def register(ops: OpSet) -> None:
    """Add a plugin's ops (the host calls it); PluginConflictError if a name is taken."""
    _load()
    _registry.add(ops)


def _arguments(name: str) -> tuple[tuple[str, bool], ...]:
    """Name of every input and whether it is variadic: what :meth:`Node.arg` goes by."""
    return op(name).arguments


Node.arguments = _arguments

"""The op set: about 150 ops, one meaning each, declared in files named after their family.

``op("conv")`` is the declaration; :func:`all_ops` lists every op, the ones of loaded plugins included.
"""

from __future__ import annotations

from ..errors import UsageError
from .declare import Attr, AxesAttr, AxisAttr, InferContext, Op, OpSet, Registry, Sample

__all__ = ["Attr", "AxesAttr", "AxisAttr", "InferContext", "Op", "OpSet", "Sample", "all_ops", "find_op", "op", "register"]

_registry = Registry()
_loaded = False


def _load() -> dict[str, Op]:
    global _loaded
    if not _loaded:
        from . import families

        for family in families.FAMILIES:
            _registry.add(family)
        _loaded = True
    return _registry.ops


def op(name: str) -> Op:
    """The declaration of an op; UsageError with close matches if there is none."""
    found = _load().get(name)
    if found is None:
        import difflib

        close = difflib.get_close_matches(name, _registry.ops, 3)
        raise UsageError(f"unknown op {name!r}" + (f"; did you mean {', '.join(close)}?" if close else ""))
    return found


def find_op(name: str) -> Op | None:
    """The declaration of an op, or None (opaque nodes have none)."""
    return _load().get(name)


def all_ops() -> dict[str, Op]:
    """Every declared op by name."""
    return dict(_load())


def register(ops: OpSet) -> None:
    """Add a plugin's ops (the host calls it); PluginConflictError if a name is taken."""
    _load()
    _registry.add(ops)

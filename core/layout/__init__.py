"""Layout: axis rules applied, orders assigned by minimum cut, transposes folded into weights."""

from __future__ import annotations

from .assign import assign
from .convention import Convention
from .report import IOLayout, LayoutReport, Remaining, Unresolved

__all__ = ["Convention", "IOLayout", "LayoutReport", "Remaining", "Unresolved", "assign"]

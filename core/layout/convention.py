"""What a target wants of layouts, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from ..opset.axes import Layout
from ..records import dataclass

__all__ = ["Convention"]


@dataclass(frozen=True)
class Convention:
    """What a target wants.

    * ``layouts``: layout family -> wanted value, e.g. ``{"channels": "channels_first", "time": "time_major"}``; ops of a
      family that is not named may have either.
    * ``ops`` overrides it for single ops (None: either).
    * ``axis_at``: ops whose axis the target prefers at a position (breaks ties only, moves nothing).
    * ``axis_required``: ops for which transposes are put in to get the axis there.
    * ``axes_last``: whether the target prefers axes that parameters are shaped as to be the last ones (breaks ties only;
      what an op's axis rule says: ``Axes`` with fixed inputs).
    * ``io``: the order of inputs and outputs where nothing is asked for: "source" keeps the source's, "target" takes this one.
    """

    layouts: Mapping[str, str] = field(default_factory=dict)
    ops: Mapping[str, str | None] = field(default_factory=dict)
    axis_at: Mapping[str, int] = field(default_factory=dict)
    axis_required: Mapping[str, int] = field(default_factory=dict)
    axes_last: bool = False
    io: str = "source"

    def wanted(self, op: str, rule: Layout) -> str | None:
        """The layout wanted for an op; None if any will do."""
        return self.ops[op] if op in self.ops else self.layouts.get(rule.family)

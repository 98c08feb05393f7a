"""The conformance kit: checks that every plugin, ours and others', can run on what it declares.

A whole plugin: :func:`check_plugin`; op declarations: :mod:`convcore.testing.ops`; mapping rows: :mod:`convcore.testing.rules`.
"""

from __future__ import annotations

from .ops import CheckFailed, OpReport, check_axis_rule, check_op, check_sample, run_body, run_op
from .plugins import PluginReport, check_plugin
from .rules import RowReport, check_row

__all__ = [
    "CheckFailed", "OpReport", "PluginReport", "RowReport", "check_axis_rule", "check_op", "check_plugin", "check_row",
    "check_sample", "run_body", "run_op",
]  # fmt: skip

"""The conformance kit: checks that every plugin, ours and others', can run on what it declares.

Op declarations: :mod:`convcore.testing.ops`.
"""

from __future__ import annotations

from .ops import CheckFailed, OpReport, check_axis_rule, check_op, check_sample, run_body, run_op

__all__ = ["CheckFailed", "OpReport", "check_axis_rule", "check_op", "check_sample", "run_body", "run_op"]

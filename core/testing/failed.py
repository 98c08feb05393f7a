"""What a check of the conformance kit raises."""

from __future__ import annotations

__all__ = ["CheckFailed"]


class CheckFailed(AssertionError):
    """A declaration contradicts itself; the message names op, sample and both sides."""

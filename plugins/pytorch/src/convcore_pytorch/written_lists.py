"""Functions that generated code may need for sequences of tensors and values that may be absent: their text is copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def inserted(s: Sequence[Tensor], x: Tensor, at: int) -> list[Tensor]:
    """The sequence with x before the place at."""
    if not -len(s) <= at <= len(s):
        raise IndexError(f"position {at} of a sequence of {len(s)}")
    return [*s[:at], x, *s[at:]]


def without(s: Sequence[Tensor], at: int = -1) -> list[Tensor]:
    """The sequence without its element at a place."""
    left = list(s)
    del left[at]
    return left


def length(s: Sequence[Tensor]) -> Tensor:
    """How many tensors a sequence has."""
    return torch.tensor(len(s))


def present(x: Any) -> Tensor:
    """Whether a value is there."""
    return torch.tensor(x is not None)


def needed(x: Any) -> Any:
    """A value that must be there."""
    if x is None:
        raise ValueError("the value is absent")
    return x

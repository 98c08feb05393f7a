"""Every family of the core's op set."""

from __future__ import annotations

from .activation import ACTIVATION
from .arithmetic import ARITHMETIC
from .conv import CONV
from .linear import LINEAR
from .reduce import REDUCE
from .shape import SHAPE

__all__ = ["FAMILIES"]

FAMILIES = (ARITHMETIC, ACTIVATION, LINEAR, CONV, REDUCE, SHAPE)

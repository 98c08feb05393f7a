"""Every family of the core's op set."""

from __future__ import annotations

from .activation import ACTIVATION
from .arithmetic import ARITHMETIC
from .blocks import BLOCKS
from .constants import CONSTANTS
from .conv import CONV
from .indexing import INDEXING
from .linear import LINEAR
from .quant import QUANT
from .reduce import REDUCE
from .scatter import SCATTER
from .shape import SHAPE
from .sorting import SORTING

__all__ = ["FAMILIES"]

FAMILIES = (
    ARITHMETIC,
    ACTIVATION,
    LINEAR,
    CONV,
    REDUCE,
    SORTING,
    SHAPE,
    INDEXING,
    SCATTER,
    BLOCKS,
    CONSTANTS,
    QUANT,
)

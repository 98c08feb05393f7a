"""All small graphs by name."""

from __future__ import annotations

from tests.support.small import Case
from tests.support.small.elements import ACTIVATIONS, ARITHMETIC, CONSTANTS
from tests.support.small.images import IMAGES
from tests.support.small.layers import ATTENTION, NORMS, PRODUCTS, RECURRENT
from tests.support.small.moves import INDEXING, MOVES, REDUCTIONS
from tests.support.small.windows import CONVOLUTIONS, POOLS

__all__ = ["GRAPHS"]

_TABLES = (CONVOLUTIONS, POOLS, ACTIVATIONS, ARITHMETIC, CONSTANTS, MOVES, INDEXING, REDUCTIONS, PRODUCTS, NORMS, ATTENTION,
           RECURRENT, IMAGES)  # fmt: skip

GRAPHS: dict[str, Case] = {name: c for table in _TABLES for name, c in table.items()}
"""Names are unique over all tables (``test_written.py`` of each plugin)."""

assert len(GRAPHS) == sum(map(len, _TABLES)), "two graphs have one name"

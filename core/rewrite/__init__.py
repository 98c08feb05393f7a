"""Composites found in primitives, one IR graph to another."""

from .fuse import find_composites, told
from .region import Fusion
from .simplify import simplify

__all__ = ["Fusion", "find_composites", "simplify", "told"]

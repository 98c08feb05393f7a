"""Composites found in primitives, one IR graph to another; simplification is the module ``simplify``."""

from .fuse import find_composites, told

__all__ = ["find_composites", "told"]

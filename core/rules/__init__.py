"""Mapping rules: data that runs in both directions, and functions for the rest."""

from .calls import Call
from .foreign import MISSING, EmitContext, ForeignNode, LoadContext, unsupported
from .isomorphisms import Iso, NotExpressible, find_iso, isomorphism, known_isos
from .rows import A, Given, I, Last, Rank, Rest, Row, Size, W
from .ruleset import EmitFunction, LoadFunction, RuleSet
from .shapes import known_shape

__all__ = [
    "A", "Call", "EmitContext", "EmitFunction", "ForeignNode", "Given", "I", "Iso", "Last", "LoadContext", "LoadFunction",
    "MISSING", "NotExpressible", "Rank", "Rest", "Row", "RuleSet", "Size", "W", "find_iso", "isomorphism", "known_isos",
    "known_shape", "unsupported",
]  # fmt: skip

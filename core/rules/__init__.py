"""Mapping rules: data that runs in both directions, and functions for the rest."""

from .foreign import MISSING, EmitContext, ForeignNode, LoadContext, unsupported
from .isomorphisms import Iso, NotExpressible, find_iso, isomorphism, known_isos
from .rows import A, I, Row, W
from .ruleset import EmitFunction, LoadFunction, RuleSet

__all__ = [
    "A", "EmitContext", "EmitFunction", "ForeignNode", "I", "Iso", "LoadContext", "LoadFunction", "MISSING", "NotExpressible",
    "Row", "RuleSet", "W", "find_iso", "isomorphism", "known_isos", "unsupported",
]  # fmt: skip

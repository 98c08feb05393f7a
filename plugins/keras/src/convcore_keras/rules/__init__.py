"""The mapping rules of Keras: those of layers are beside the layers' records (``layers/``), those of ``keras.ops`` here."""

from __future__ import annotations

from .. import emit_rules, layers
from ..ruleset import RULES
from . import operations

__all__ = ["RULES", "emit_rules", "layers", "operations"]

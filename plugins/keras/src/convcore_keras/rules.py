"""The mapping rules of Keras: layers' are beside their records (``layers/``), those of ``keras.ops`` in ``ops/``."""

from __future__ import annotations

from . import emit_rules, layers, ops
from .ruleset import RULES

__all__ = ["RULES", "emit_rules", "layers", "ops"]

"""The mapping rules of Keras: layers' are beside their records (``layers/``), those of ``keras.ops`` in ``ops/``; functions that
write in ``emit_rules/``, imported when something is written."""

from __future__ import annotations

from . import layers, ops
from .ruleset import RULES

__all__ = ["RULES", "layers", "ops"]

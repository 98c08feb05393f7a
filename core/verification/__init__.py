"""Verification: two models on the same inputs, compared output by output and layer by layer, and how strong that proof is."""

from .conversion import check_conversion
from .models import verify

__all__ = ["check_conversion", "verify"]

"""Pictures of models and conversions: one HTML page that needs no network."""

from .page import conversion_page, model_page
from .pairs import origins

__all__ = ["conversion_page", "model_page", "origins"]

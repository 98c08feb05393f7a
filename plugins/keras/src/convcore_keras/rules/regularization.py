"""Layers that only act in training: at inference each is the identity."""

from __future__ import annotations

from .ruleset import RULES

__all__: list[str] = []

RULES.op("Identity", "identity", "inputs=x", direction="load")
for _name, _ignore in {
    "Dropout": ("rate",),
    "SpatialDropout1D": ("rate", "data_format"),
    "SpatialDropout2D": ("rate", "data_format"),
    "SpatialDropout3D": ("rate", "data_format"),
    "GaussianDropout": ("rate",),
    "GaussianNoise": ("stddev",),
    "AlphaDropout": ("rate",),
    "ActivityRegularization": ("l1", "l2"),
}.items():
    RULES.op(_name, "identity", "inputs=x", ignore=_ignore, direction="load")

"""Channels as places and back; torch's order of channels is CRD. ATen's take any number of axes in front (``image.py``)."""

from __future__ import annotations

from typing import Any

from convcore.plugin import A

from .base import RULES

_CRD: dict[str, Any] = {"mode": "CRD", "layout": "channels_first", "rank": 4}
RULES.op("torch.nn.PixelShuffle", "depth_to_space", "input=x", block=A("upscale_factor"), **_CRD)
RULES.op("torch.nn.PixelUnshuffle", "space_to_depth", "input=x", block=A("downscale_factor"), **_CRD)

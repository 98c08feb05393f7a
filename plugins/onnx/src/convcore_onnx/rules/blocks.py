"""Moves between channels and space."""

from __future__ import annotations

from convcore.plugin import A

from .base import RULES

_FIRST = "channels_first"
RULES.op("DepthToSpace", "depth_to_space", "input=x", until=10, direction="load", layout=_FIRST, block=A("blocksize"))
RULES.op("DepthToSpace", "depth_to_space", "input=x", since=11, layout=_FIRST, block=A("blocksize"), mode=A("mode", "DCR"))
RULES.op("SpaceToDepth", "space_to_depth", "input=x", until=27, layout=_FIRST, block=A("blocksize"))
RULES.op("SpaceToDepth", "space_to_depth", "input=x", since=28, layout=_FIRST, block=A("blocksize"), mode=A("mode", "DCR"))

"""Axis conventions of Keras: channels and time as its layers have them by default, or channels first where that is asked for."""

from collections.abc import Mapping
from typing import Any

from convcore.plugin import Convention

__all__ = ["CHANNELS_FIRST", "CHANNELS_LAST", "convention"]

CHANNELS_LAST = Convention(
    {"channels": "channels_last", "time": "batch_major", "heads": "heads_last"},
    axis_at={"batch_norm": -1, "instance_norm": -1, "group_norm": -1, "lrn": -1},
    axes_last=True,
    io="target",
)
"""``io``: who writes Keras expects images with their channels last, so inputs and outputs take that order unless told not to."""

_NO_LAYER = (
    "max_pool_with_indices", "max_unpool", "lrn_within", "resize", "grid_sample", "prior_box", "roi_pool", "psroi_pool",
    "depth_to_space", "space_to_depth", "lp_pool",
)  # fmt: skip
"""Ops that are written as operations over channels last, whatever the layers around have."""

CHANNELS_FIRST = Convention(
    {"channels": "channels_first", "time": "batch_major", "heads": "heads_last"},
    ops=dict.fromkeys(_NO_LAYER, "channels_last"),
    axis_at={"batch_norm": 1, "instance_norm": 1, "group_norm": 1},
    axes_last=True,
    io="target",
)


def convention(options: Mapping[str, Any]) -> Convention:
    """What the option ``data_format`` asks for."""
    return CHANNELS_FIRST if options.get("data_format") == "channels_first" else CHANNELS_LAST

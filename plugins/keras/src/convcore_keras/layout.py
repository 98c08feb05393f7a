"""Axis conventions of Keras: channels and time as its layers have them by default."""

from convcore.plugin import Convention

CONVENTION = Convention(
    {"channels": "channels_last", "time": "batch_major", "heads": "heads_last"},
    axis_at={"batch_norm": -1, "instance_norm": -1, "group_norm": -1, "lrn": -1},
    axes_last=True,
    io="target",
)
"""``io``: who writes Keras expects images with their channels last, so inputs and outputs take that order unless told not to."""

"""Axis conventions of PyTorch."""

from convcore.plugin import Convention

CONVENTION = Convention(
    {"channels": "channels_first"},
    axis_required={"batch_norm": 1, "instance_norm": 1, "group_norm": 1, "lrn": 1},
    axes_last=True,
    io="target",
)

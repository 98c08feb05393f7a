"""Axis conventions of ONNX."""

from convcore.plugin import Convention

CONVENTION = Convention(
    {"channels": "channels_first", "time": "time_major"}, axis_at={"batch_norm": 1, "instance_norm": 1, "group_norm": 1, "lrn": 1}
)

"""Axis conventions of Caffe: images are (N, C, H, W), sequences (T, N, ...)."""

from convcore.plugin import Convention

__all__ = ["CONVENTION"]

CONVENTION = Convention(
    {"channels": "channels_first", "time": "time_major"},
    axis_at={"batch_norm": 1, "instance_norm": 1, "group_norm": 1, "lrn": 1, "softmax": 1, "concat": 1},
)

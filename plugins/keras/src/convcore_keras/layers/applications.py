"""Layers that ``keras.applications`` defines for itself."""

from __future__ import annotations

from convcore.plugin import ForeignNode, Value, W

from ..layer_spec import V, layer
from ..load_context import KerasContext
from ..ruleset import RULES

__all__: list[str] = []

# ---- what the layers are
layer("CustomScaleLayer", required=("scale",))
layer("LayerScale", required=("init_values", "projection_dim"), variables=(V("gamma", ("projection_dim",)),))

# ---- rules


# every channel times a factor of its own (``applications/convnext.py``, Keras 3.15.1)
RULES.op("LayerScale", "mul", "inputs=x", y=W("gamma"), ignore=("init_values", "projection_dim"), direction="load")


@RULES.load("CustomScaleLayer")
def custom_scale(g: KerasContext, node: ForeignNode) -> Value:
    """The first input plus ``scale`` times the second (``applications/inception_resnet_v2.py``, Keras 3.15.1)."""
    x, y = node.need(0), node.need(1)
    return g.b.add(x, g.b.mul(y, g.b.like(y, node.real("scale"))))

"""Layers that compute nothing, and those that run the user's code."""

from __future__ import annotations

from convcore.plugin import Value

from ..context import CaffeContext, CaffeNode
from ..layer_spec import EVERY, layer
from .base import RULES

# ---- what the layers are

layer(
    "Python",
    param="""python_param 130 PythonParameter:
        module 1 string; layer 2 string; param_str 3 string=""; share_in_parallel 4 bool=false
    """,
    counts=(0, None, 0, None),
    opencv=False,
)
layer("Split", counts=(1, 1, 1, None), v1="SPLIT 22", v0="split", writes=EVERY)
layer("Silence", counts=(1, None, 0, 0), v1="SILENCE 36", writes=EVERY)
layer(
    "HDF5Output",
    param="hdf5_output_param 113 HDF5OutputParameter: file_name 1 string",
    counts=(2, 2, 0, 0),
    v1="HDF5_OUTPUT 10 14",
    v0="hdf5_output",
)

# ---- rules


@RULES.load("Split")
def split(g: CaffeContext, node: CaffeNode) -> list[Value]:
    """Copies."""
    return [node.x] * len(node.outputs)


@RULES.load("Silence", "HDF5Output")
def nothing(g: CaffeContext, node: CaffeNode) -> list[Value]:
    """No tops."""
    node.ignore("file_name")
    return []

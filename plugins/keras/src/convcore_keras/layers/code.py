"""Inputs, and layers that hold or name code."""

from __future__ import annotations

from ..layer_spec import layer

__all__: list[str] = []

layer("ClassMethod", "InstanceMethod", "InstanceProperty", "SlicingOpLambda", "TFOpLambda", "TensorFlowOpLayer", extinct=True)
layer("FlaxLayer", "TorchModuleWrapper", required=("module",), variables=None)
layer("InputLayer", any_dtype=True)
layer("JaxLayer", required=("call_fn",), variables=None)
layer("Lambda", defaults={"output_shape": None, "mask": None, "arguments": None}, required=("function",))
layer("TFSMLayer", required=("filepath",), variables=None)

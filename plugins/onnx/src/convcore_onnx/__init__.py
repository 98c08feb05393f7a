"""ONNX models in and out of convcore."""

__version__ = "0.1.0"

"""TorchScript archives as programs: the source parsed with ``ast``, never executed; methods inlined, fixed flags folded."""

from .read import read_torchscript

__all__ = ["read_torchscript"]

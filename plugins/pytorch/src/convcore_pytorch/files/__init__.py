"""Readers of PyTorch's files. They import neither torch nor anything a file names; nothing in a file is executed."""

from .checkpoint import Checkpoint, read_checkpoint
from .exported import read_exported
from .identify import Kind, kind_of
from .script import read_torchscript

__all__ = ["Checkpoint", "Kind", "kind_of", "read_checkpoint", "read_exported", "read_torchscript"]

"""Loading: the one driver all plugins use, the caller's input shapes, and the head of a file for sniffing."""

from __future__ import annotations

from .driver import Driver
from .flat import load_flat
from .freed import let_go
from .head import Head, read_head
from .heaps import check_heaps
from .inputs import InputShapes

__all__ = ["Driver", "Head", "InputShapes", "check_heaps", "let_go", "load_flat", "read_head"]

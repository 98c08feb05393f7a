"""Every row and load rule of Caffe, one module per op family; importing this package registers them all in ``RULES``. Functions
that write are in ``emit_rules``, imported when something is written."""

from importlib import import_module
from pkgutil import iter_modules

from .base import RULES

__all__ = ["RULES"]

for _module in sorted(m.name for m in iter_modules(__path__)):
    import_module(f"{__name__}.{_module}")

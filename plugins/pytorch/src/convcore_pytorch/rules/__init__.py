"""Every mapping rule of PyTorch: rows shared by both directions here, one module per op family, and functions that emit in
``emit_rules``; importing this package registers them all in ``RULES``."""

from importlib import import_module
from pkgutil import iter_modules

from .. import emit_rules
from .base import RULES

__all__ = ["RULES"]

for _package in (__name__, emit_rules.__name__):
    for _module in sorted(m.name for m in iter_modules(import_module(_package).__path__)):
        import_module(f"{_package}.{_module}")

"""Functions that write ops as torch code, one module per op family; importing this package registers them in ``rules.RULES``."""

from importlib import import_module
from pkgutil import iter_modules

__all__: list[str] = []

for _module in sorted(m.name for m in iter_modules(__path__)):
    import_module(f"{__name__}.{_module}")

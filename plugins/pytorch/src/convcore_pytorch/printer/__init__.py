"""A plan as the text of a Python module that a person could have written."""

from .module import Code, print_module

__all__ = ["Code", "print_module"]

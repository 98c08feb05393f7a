"""Whole models of every source through every target: ``python -m whole`` in ``tests/matrix``, see :mod:`whole.__main__`."""

"""Readers of PyTorch's files. They import neither torch nor anything a file names; nothing in a file is executed.

The package itself imports nothing: a file of another framework is looked at by :mod:`.identify` alone.
"""

"""PyTorch for convcore. Importing it imports neither torch nor numpy."""

__version__ = "0.1.0"

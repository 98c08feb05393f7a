"""Functions that write ops as torch code, one module per op family; :mod:`convcore_pytorch.rules` imports them all."""

"""A target: SAS DLPy."""

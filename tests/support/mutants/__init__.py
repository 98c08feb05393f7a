"""Whether the tests notice changes to the source: ``python -m tests.support.mutants`` (``__main__``)."""

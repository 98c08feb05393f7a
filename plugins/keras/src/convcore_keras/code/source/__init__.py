"""Custom layers from their source: the other front end, over Python's syntax tree, of the interpreter in ``..``.

``library.py`` finds the files that define what a model names, ``module.py`` what a name means in a file, ``expressions.py`` and
``statements.py`` work through functions, ``classes.py`` through classes and objects; ``layers.py`` is Keras's ``Layer``,
``weights.py`` which array of the file is which weight, ``custom.py`` a layer of a model. Files are parsed, never run.
"""

from __future__ import annotations

"""Running a live Keras model for verification. Keras is never imported for it: the model's own process has it already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import Problem, Runtime, UnsupportedError

from .plugin import is_live

__all__ = ["open_runtime"]


def open_runtime(source: Any, weights: Any = None) -> Runtime | None:
    """The model itself when ``source`` is live; UnsupportedError for a file, which the interpreter verifies.

    A file is not handed to an installed Keras, because Keras 3 gives files of other eras another meaning (it fails on many
    files of Keras 2.12-2.15 and reads the ``hard_sigmoid`` of Keras 2 as its own), and imports modules that a file names.
    """
    if not is_live(source):
        why = "it reads files of other versions differently and imports what they name; give the live model to have Keras run it"
        raise UnsupportedError(Problem("", "Keras", why, code="unsupported_by_runtime"))

    def run(arrays: Sequence[Any]) -> list[Any]:
        result = source(list(arrays) if len(arrays) != 1 else arrays[0], training=False)
        return [np.asarray(_numpy(t)) for t in _flat(result)]

    names = tuple(t.name for t in _flat(source.inputs))
    outputs = tuple(t.name for t in _flat(source.outputs))
    return Runtime(f"{type(source).__module__.split('.')[0]} (live)", run, names, outputs)


def _flat(x: Any) -> list[Any]:
    if isinstance(x, dict):
        return [t for k in sorted(x) for t in _flat(x[k])]
    return [t for v in x for t in _flat(v)] if isinstance(x, (list, tuple)) else [x]


def _numpy(t: Any) -> Any:
    return t.detach().cpu().numpy() if hasattr(t, "detach") else t

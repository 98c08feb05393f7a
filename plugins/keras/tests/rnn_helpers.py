"""Models of recurrent layers, saved by Keras and compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from keras_helpers import error_of_range, load_graph, problems, randomise, run

from convcore.ir.graph import Graph

__all__ = ["FLOAT32", "N", "T", "I", "agree", "graph_of", "ids", "inputs", "mask_patterns"]

N, T, I = 5, 7, 3
FLOAT32 = 2e-6


def mask_patterns() -> np.ndarray:
    """(N, T): whole, padded at the end, padded in front, holes, nothing at all."""
    rows = ["1111111", "1111000", "0001111", "0101101", "0000000"]
    return np.array([[c == "1" for c in r] for r in rows])


def ids(vocabulary: int = 11) -> np.ndarray:
    """(N, T) integers that are 0 where :func:`mask_patterns` is False."""
    return np.random.default_rng(3).integers(1, vocabulary, (N, T)) * mask_patterns()


def inputs(*shapes: Sequence[int]) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.normal(size=s).astype(np.float32) for s in shapes]


def graph_of(model: Any, folder: Path) -> Graph:
    """The model with random weights, through a ``.keras`` file."""
    randomise(model)
    model.save(folder / "m.keras")
    return load_graph(folder / "m.keras")


def agree(model: Any, folder: Path, given: Sequence[np.ndarray], limit: float = FLOAT32) -> Graph:
    """Compare the loaded graph with Keras on every output, returning the graph."""
    graph = graph_of(model, folder)
    assert not problems(graph), problems(graph)
    want = model(list(given) if isinstance(model.input, list) else given[0])
    want = [np.asarray(w.detach().cpu().numpy()) for w in (want if isinstance(want, (list, tuple)) else [want])]
    assert error_of_range(run(graph, given), want) < limit
    return graph

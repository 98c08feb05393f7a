"""``keras.ops`` as expressions (``ops.txt``): letters are inputs (``LETTERS``), their batch dynamic unless it is stated there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .judge import Case

__all__ = ["EXPRESSIONS", "LETTERS", "TORCH_IS_WRONG", "cases", "feed_of", "inputs_of"]

LETTERS: dict[str, tuple[tuple[int | None, ...], str, str]] = {
    "x": ((None, 5, 7), "float32", "normal"),
    "y": ((None, 5, 7), "float32", "normal"),
    "e": ((None, 5, 7), "float32", "positive"),
    "f": ((None, 5, 7), "float32", "unit"),
    "g": ((None, 5, 7), "float32", "above"),
    "n": ((None, 5, 7), "float32", "nan"),
    "h": ((None, 5, 7), "float16", "normal"),
    "i": ((None, 5, 7), "int32", "whole"),
    "j": ((None, 5, 7), "int32", "counts"),
    "u": ((None, 5, 7), "uint8", "counts"),
    "p": ((None, 5, 7), "bool", "coin"),
    "q": ((None, 5, 7), "bool", "coin"),
    "k": ((None, 5), "int32", "index"),
    "l": ((None,), "int32", "index"),
    "r": ((None, 7), "float32", "share"),
    "t": ((None, 7), "float32", "share"),
    "v": ((6,), "float32", "normal"),
    "w": ((4,), "float32", "normal"),
    "s": ((3, 5, 7), "float32", "normal"),
    "a": ((None, 5, 5), "float32", "normal"),
    "b": ((None, 7, 11), "float32", "normal"),
    "d": ((5, 7), "float32", "normal"),
    "m": ((None, 6, 8, 3), "float32", "unit_image"),
    "c": ((None, 3, 6, 8), "float32", "normal"),
    "A": ((None, 5, 2, 6), "float32", "normal"),
    "B": ((None, 7, 2, 6), "float32", "normal"),
    "C": ((None, 7, 2, 6), "float32", "normal"),
}
RANGE = np.linspace(-1, 1, 7, dtype=np.float32)
K2 = np.random.default_rng(5).normal(size=(3, 2, 3, 4)).astype(np.float32)
K1 = np.random.default_rng(6).normal(size=(3, 7, 4)).astype(np.float32)
KT = np.random.default_rng(7).normal(size=(3, 2, 4, 3)).astype(np.float32)
KD = np.random.default_rng(8).normal(size=(3, 2, 3, 2)).astype(np.float32)
KP = np.random.default_rng(9).normal(size=(1, 1, 6, 5)).astype(np.float32)

EXPRESSIONS = [
    e for e in Path(__file__).with_name("ops.txt").read_text(encoding="utf-8").splitlines() if e and not e.startswith("#")
]

TORCH_IS_WRONG: dict[str, tuple[str, Callable[..., Any]]] = {
    "O.count_nonzero(i, axis=1)": ("transposes its result", lambda i: np.count_nonzero(i, axis=1).astype(np.int32)),
    "O.pad(x, ((0, 0), (1, 2), (0, 3)), mode='symmetric')": (
        "repeats the edge", lambda x: np.pad(x, ((0, 0), (1, 2), (0, 3)), mode="symmetric")
    ),
    "O.cross(x[:, :, :3], y[:, :, :3], axis=-1)": (
        "takes the first axis of size 3", lambda x, y: np.cross(x[..., :3], y[..., :3], axis=-1)
    ),
}  # fmt: skip
"""Where numpy says what is right, as TensorFlow and JAX do (``backend/torch/numpy.py``, Keras 3.15.1)."""


def cases() -> list[Case]:
    """Every expression once."""
    return [Case(e, _build(e), feed_of(e), *TORCH_IS_WRONG.get(e, ("", None))) for e in EXPRESSIONS]


def inputs_of(expression: str) -> list[str]:
    found = set(re.findall(r"(?<![\w.'\"])([A-Za-z])(?![\w'\"(.]|=[^=])", expression + " "))
    return [n for n in LETTERS if n in found]


def _build(expression: str) -> Any:
    def make() -> Any:
        names = inputs_of(expression)
        ins = {n: keras.Input(batch_shape=LETTERS[n][0], dtype=LETTERS[n][1], name=n) for n in names}
        known = {"O": keras.ops, "np": np, "RANGE": RANGE, "K1": K1, "K2": K2, "KT": KT, "KD": KD, "KP": KP}
        return keras.Model(list(ins.values()), eval(expression, known, ins), name="m")

    return make


def feed_of(expression: str) -> Any:
    def make(rng: np.random.Generator, batch: int) -> list[np.ndarray]:
        return [_array(rng, batch, *LETTERS[n]) for n in inputs_of(expression)]

    return make


def _array(rng: np.random.Generator, batch: int, shape: tuple[int | None, ...], dtype: str, kind: str) -> np.ndarray:
    size = tuple(batch if n is None else n for n in shape)
    a = rng.normal(0, 1, size)
    if kind == "positive":
        a = rng.uniform(0.1, 2, size)
    elif kind == "unit":
        a = rng.uniform(-0.95, 0.95, size)
    elif kind == "unit_image":
        a = rng.uniform(0, 1, size)
    elif kind == "above":
        a = rng.uniform(1.1, 4, size)
    elif kind == "nan":
        a = np.where(rng.random(size) < 0.3, np.nan, a)
        a[:, :, 0] = np.where(np.isnan(a[:, :, 0]), 0.5, a[:, :, 0])
        a[:, 0] = np.where(np.isnan(a[:, 0]), -0.25, a[:, 0])
    elif kind == "whole":
        a = rng.integers(-9, 10, size)
    elif kind == "counts":
        a = rng.integers(1, 6, size)
    elif kind == "coin":
        a = rng.random(size) > 0.5
    elif kind == "index":
        a = rng.integers(0, 5, size)
    elif kind == "share":
        a = rng.uniform(0.05, 1, size)
        a = a / a.sum(-1, keepdims=True)
    return np.asarray(a, dtype)

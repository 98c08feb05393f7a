"""Every function of TensorFlow and ``keras.backend`` that code may name, against what TensorFlow computed.

``custom_layers/names_table.py`` lists the expressions, ``custom_layers/record_names.py`` recorded them (TensorFlow 2.21).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from custom_layers.names_table import EXPRESSIONS
from keras_helpers import load_graph, problems

from convcore.interpreter.execute import Interpreter
from convcore_keras.code.names import tables
from convcore_keras.code.tensors import meanings

DATA = Path(__file__).parent / "data" / "names_tf"


@functools.cache
def recorded() -> dict[str, np.ndarray]:
    with np.load(DATA / "names.npz") as found:
        return {k: found[k] for k in found.files}


def wanted(n: int) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    while f"e{n}_{len(found)}" in recorded():
        found.append(recorded()[f"e{n}_{len(found)}"])
    return found


@pytest.mark.parametrize("n", range(len(EXPRESSIONS)), ids=EXPRESSIONS)
def test_a_name_means_what_tensorflow_computes(n: int) -> None:
    want, text = wanted(n), EXPRESSIONS[n]
    if not want:
        pytest.skip("this TensorFlow does not have the name")
    names = [k[3:] for k in recorded() if k.startswith("in_")]
    parts = [text] if len(want) == 1 else [f"({text})[{k}]" for k in range(len(want))]
    got = []
    for part in parts:
        graph = load_graph(DATA / "model.json", options={"lambdas": [f"f=lambda {', '.join(names)}: {part}"]})
        assert not problems(graph), problems(graph)[0].why
        got += Interpreter(graph).run([recorded()[f"in_{k}"] for k in names])
    same(got, want)


def same(got: Any, want: list[np.ndarray]) -> None:
    assert [(a.shape, a.dtype) for a in got] == [(b.shape, b.dtype) for b in want]
    for a, b in zip(got, want, strict=True):
        assert np.array_equal(np.isnan(a), np.isnan(b)) if b.dtype.kind == "f" else True
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


def test_every_name_of_the_tables_is_in_an_expression() -> None:
    used = " ".join(EXPRESSIONS)
    assert not [n for n in tables()["tensorflow"] if f"{n}(" not in used]
    assert not [n for n in tables()["keras.backend"] if f"K.{n}(" not in used]
    own = [p for p in meanings() if p.startswith("tensorflow.") and f".{p.rpartition('.')[2]}(" not in used]
    assert sorted(own) == NOT_TRIED


NOT_TRIED = [
    "tensorflow.Variable",
    "tensorflow.conv3d",
    "tensorflow.dropout",
    "tensorflow.random.normal",
    "tensorflow.random.truncated_normal",
    "tensorflow.random.uniform",
    "tensorflow.random_normal",
    "tensorflow.random_uniform",
]
"""Names that only refuse, and other spellings."""


@pytest.mark.parametrize("text", ["x + ops.image.gaussian_blur(x)", "tf.random.normal((2,))", "K.dropout(x, 0.5)"])
def test_a_name_without_one_meaning_is_refused(text: str) -> None:
    names = [k[3:] for k in recorded() if k.startswith("in_")]
    graph = load_graph(DATA / "model.json", options={"lambdas": [f"f=lambda {', '.join(names)}: {text}"]})
    assert any(w in problems(graph)[0].why for w in ("backends does otherwise", "at random", "draws random"))

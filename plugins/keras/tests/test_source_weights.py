"""Whose weights are whose in custom layers, beside Keras: files that name their folders, and files that only order arrays."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import load_graph, problems, randomise

from convcore.interpreter.execute import Interpreter

HEAD = """import keras
from keras import layers, ops


class Part(layers.Layer):
    def __init__(self, n=1, frozen=False, **kw):
        super().__init__(**kw)
        self.n, self.frozen = n, frozen

    def build(self, shape):
        self.first = self.add_weight(shape=(shape[-1],), name="first")
        self.second = self.add_weight(shape=(shape[-1],), name="second", trainable=not self.frozen)

    def call(self, x):
        return x * self.first + self.n * self.second


class Mine(layers.Layer):
"""
CASES = {
    "two of one class": """
        def __init__(self, **kw):
            super().__init__(**kw)
            self.b, self.a = Part(), Part(2)
        def call(self, x):
            return self.a(x) - 2 * self.b(x)
    """,
    "some are not trained": """
        def __init__(self, **kw):
            super().__init__(**kw)
            self.a, self.b = Part(1, True), Part(2, True)
        def build(self, shape):
            self.late = self.add_weight(shape=(3,), name="late", trainable=False)
            self.early = self.add_weight(shape=(3,), name="early")
        def call(self, x):
            return self.a(x) * self.late - 2 * self.b(x) + self.early
    """,
    "one layer under two names": """
        def __init__(self, **kw):
            super().__init__(**kw)
            self.a = self.b = Part()
            self.c = Part(3)
        def call(self, x):
            return self.a(x) - 2 * self.b(x * 2) + self.c(x)
    """,
    "lists, tuples and dicts": """
        def __init__(self, **kw):
            super().__init__(**kw)
            self.some = [Part(1), Part(2)]
            self.pair = (Part(3), [Part(4)])
            self.named = {"z": Part(5), "a": Part(6)}
        def call(self, x):
            for p in [*self.some, self.pair[0], self.pair[1][0], self.named["a"], self.named["z"]]:
                x = p(x) + 0.5
            return x
    """,
    "a list that grows": """
        def __init__(self, **kw):
            super().__init__(**kw)
            self.some = []
            for i in range(3):
                self.some.append(Part(i + 1))
            self.other = Part(7)
        def call(self, x):
            x = self.other(x)
            for p in self.some:
                x = p(x)
            return x
    """,
    "a frozen part": """
        def __init__(self, **kw):
            super().__init__(**kw)
            self.a, self.b = Part(1), Part(2)
            self.a.trainable = False
        def call(self, x):
            return self.a(x) - 2 * self.b(x)
    """,
    "layers of keras": """
        def __init__(self, **kw):
            super().__init__(**kw)
            self.norm = layers.BatchNormalization()
            self.dense = layers.Dense(3, activation="tanh")
            self.norm2 = layers.LayerNormalization()
            self.bare = layers.Dense(3, use_bias=False)
        def call(self, x):
            return self.bare(self.norm2(self.dense(self.norm(x))))
    """,
    "a frozen norm": """
        def __init__(self, **kw):
            super().__init__(**kw)
            self.norm = layers.BatchNormalization(trainable=False)
            self.part = Part(2, True)
            self.dense = layers.Dense(3)
        def call(self, x):
            return self.dense(self.part(self.norm(x)))
    """,
    "a chain": """
        def __init__(self, **kw):
            super().__init__(**kw)
            self.chain = keras.Sequential([layers.Dense(5, activation="relu"), layers.Dense(3)])
            self.last = layers.Dense(3)
        def call(self, x):
            return self.last(self.chain(x)) + self.chain(x)
    """,
    "private names": """
        def __init__(self, **kw):
            super().__init__(**kw)
            self._b, self.z, self._a = Part(1), Part(2), Part(3)
        def call(self, x):
            return self.z(self._a(x)) - self._b(x)
    """,
    "made while it is built": """
        def build(self, shape):
            self.a = Part(2)
            self.a.build(shape)
            self.w = self.add_weight(shape=shape[-1:], name="w")
            self.dense = layers.Dense(shape[-1])
            self.dense.build(shape)
        def call(self, x):
            return self.dense(self.a(x)) * self.w
    """,
    "weights of a layer read": """
        def __init__(self, **kw):
            super().__init__(**kw)
            self.dense = layers.Dense(3)
        def build(self, shape):
            self.dense.build(shape)
        def call(self, x):
            return ops.matmul(x, ops.transpose(self.dense.kernel)) + self.dense.bias + self.dense(x)
    """,
    "a recurrent layer": """
        def __init__(self, **kw):
            super().__init__(**kw)
            self.rnn = layers.LSTM(3, return_sequences=True)
            self.both = layers.Bidirectional(layers.GRU(2, return_sequences=True))
            self.dense = layers.Dense(3)
        def call(self, x):
            return self.dense(self.both(self.rnn(x)))
    """,
}
X = np.random.default_rng(3).normal(0, 1, (2, 4, 3)).astype(np.float32)


@pytest.mark.parametrize("name", CASES)
def test_as_keras_reads_them(name: str, tmp_path: Path) -> None:
    source = HEAD + textwrap.indent(textwrap.dedent(CASES[name]), "    ")
    (tmp_path / "mine.py").write_text(source)
    names: dict[str, Any] = {"__name__": "mine"}
    exec(source, names)
    x = keras.Input((4, 3), name="x")
    model = keras.Model(x, names["Mine"](name="layer")(x))
    randomise(model)
    want = keras.ops.convert_to_numpy(model(X, training=False))
    for file in ("m.keras", "m.h5"):
        model.save(tmp_path / file)
        graph = load_graph(tmp_path / file, options={"custom": [str(tmp_path / "mine.py")]})
        assert not problems(graph), (file, problems(graph))
        np.testing.assert_allclose(Interpreter(graph).run([X])[0], want, rtol=1e-4, atol=1e-4, err_msg=file)

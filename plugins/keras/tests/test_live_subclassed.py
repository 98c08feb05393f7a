"""Live subclassed models: traced with symbolic tensors, names and numbers as Keras has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_helpers import load_graph, problems, randomise, run

import convcore

keras = pytest.importorskip("keras")
L, O = keras.layers, keras.ops


class Block(keras.layers.Layer):
    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first, self.second = L.Dense(units, activation="relu", name="up"), L.Dense(5, name="down")
        self.norm = L.LayerNormalization(name="norm")

    def call(self, x: Any) -> Any:
        return self.norm(x + self.second(self.first(x)))


class Net(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="net")
        self.block, self.drop = Block(11, name="block"), L.Dropout(0.5)
        self.head = keras.Sequential([L.Dense(7, activation="tanh"), L.Dense(3, name="logits")], name="head")

    def call(self, x: Any, training: bool = False) -> Any:
        return O.softmax(self.head(self.drop(self.block(x) * 2, training=training)), axis=-1)


class Depends(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="depends")
        self.dense = L.Dense(3)

    def call(self, x: Any) -> Any:
        return self.dense(x) if float(O.convert_to_numpy(O.sum(x))) > 0 else x


def test_numbers_and_names() -> None:
    net = Net()
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    net(x)
    randomise(net)
    graph = load_graph(net)
    assert not problems(graph)
    np.testing.assert_allclose(run(graph, [x])[0], keras.ops.convert_to_numpy(net(x)), rtol=1e-5, atol=1e-6)
    paths = {node.scope.path for node in graph}
    assert {("block", "up"), ("block", "down"), ("block", "norm"), ("head", "logits")} <= paths
    assert type(net).__call__ is keras.Layer.__call__  # nothing stays changed


def test_a_model_that_was_never_called_needs_a_shape() -> None:
    with pytest.raises(convcore.UsageError, match="never built"):
        load_graph(Net())


def test_code_that_needs_values_is_refused() -> None:
    model = Depends()
    model(np.ones((2, 3), np.float32))
    with pytest.raises(convcore.UnsupportedError, match="symbolic tensors"):
        load_graph(model)

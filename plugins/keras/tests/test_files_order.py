"""Keras as the judge of the order of layers, by which HDF5 files list their weights."""

from __future__ import annotations

import json
import random

import pytest

from convcore_keras.files.config import Context, parse_root
from convcore_keras.files.order import ordered_layers

keras = pytest.importorskip("keras")
L = keras.layers


def graph(r: random.Random) -> keras.Model:
    """A network with several inputs and outputs, layers that are called more than once, and joints of deep and shallow."""
    inputs = [keras.Input((3,)) for _ in range(r.randint(1, 3))]
    values, shared = list(inputs), [L.Dense(3) for _ in range(2)]
    for _ in range(r.randint(3, 9)):
        kind = r.random()
        if kind < 0.3 and len(values) > 1:
            values.append(L.Add()(r.sample(values, 2)))
        elif kind < 0.5:
            values.append(r.choice(shared)(r.choice(values)))
        elif kind < 0.6:
            values.append(keras.ops.relu(r.choice(values)))
        else:
            values.append(L.Dense(3)(r.choice(values[-3:])))
    outputs = r.sample(values[len(inputs) :], min(r.randint(1, 3), len(values) - len(inputs)))
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("seed", range(25))
def test_layers_are_in_keras_order(seed: int) -> None:
    r = random.Random(seed)
    model = graph(r)
    config = json.loads(model.to_json())
    want = [x.name for x in model.operations]
    for _ in range(2):
        found = [x.name for x in ordered_layers(parse_root(config, Context("keras3", (3, 15)), "m"))]
        assert found[: len(want)] == want
        r.shuffle(config["config"]["layers"])


def test_what_is_not_reached_comes_last() -> None:
    x, unused = keras.Input((3,), name="x"), keras.Input((3,), name="unused")
    model = keras.Model([x, unused], L.Dense(3, name="dense")(x))
    config = json.loads(model.to_json())
    (dense,) = [c for c in config["config"]["layers"] if c["class_name"] == "Dense"]
    config["config"]["layers"].insert(0, {**dense, "name": "alone", "config": {**dense["config"], "name": "alone"}})
    found = [x.name for x in ordered_layers(parse_root(config, Context("keras3", (3, 15)), "m"))]
    assert found == [*(x.name for x in model.operations), "alone"]
    assert sorted(found) == ["alone", "dense", "unused", "x"]

"""Classes of the source that extend layers of Keras (``class Mine(layers.Dense)``). The sweeps hold what agrees with Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import load_graph, problems, randomise

from convcore.interpreter.execute import Interpreter

HEAD = "import keras\nfrom keras import layers, ops\n\n\nclass Mine(layers.Dense):\n"


@keras.saving.register_keras_serializable(package="extends")
class Mine(keras.layers.Dense):
    """The class that makes the file; its source comes later, and is another one in each test."""


def _saved(path: Path, **config: Any) -> tuple[Path, Any]:
    x = keras.Input((4,), name="x")
    model = keras.Model(x, Mine(3, **config)(x))
    randomise(model)
    model.save(path)
    return path, model


def _why(tmp_path: Path, body: str, suffix: str = ".keras") -> str:
    source = tmp_path / "mine.py"
    source.write_text(HEAD + "".join(f"    {line}\n" for line in body.splitlines()))
    path, _ = _saved(tmp_path / f"m{suffix}", activation="tanh")
    found = problems(load_graph(path, options={"custom": [str(source)]}))
    return "" if not found else found[0].why


SUPER = "    return super().call(x)"
CALL = f"def call(self, x):\n{SUPER}\n"
REFUSED = {
    "defines 'quantized_call', which Dense.call may use": CALL + "def quantized_call(self, x):\n    return x",
    "defines 'activation', which Dense.call may use": CALL + "@property\ndef activation(self):\n    return ops.relu",
    "changes 'activation', which Dense.call may use": "def call(self, x):\n    self.activation = ops.relu\n" + SUPER,
    "changes 'units', which Dense.call may use": "def call(self, x):\n    self.units = 5\n    return super().call(x)",
    "without the weight 'kernel', which build makes": "def build(self, shape):\n    self.built = True\n" + CALL,
    "reads the weight 'kernel' before Dense.build": "def build(self, shape):\n    self.n = self.kernel\n",
    "calls Dense.call with training=True": "def call(self, x):\n    return super().call(x, True)",
    "makes the weight 'late', which the file does not hold": "def build(self, shape):\n    super().build(shape)\n"
    "    self.late = self.add_weight(shape=(3,), name='late')\n" + CALL,
    "reads the attribute 'frobnicate'": "def call(self, x):\n    return super().call(x) * self.frobnicate",
}  # fmt: skip


@pytest.mark.parametrize("wanted", REFUSED)
def test_what_is_refused(tmp_path: Path, wanted: str) -> None:
    assert wanted in _why(tmp_path, REFUSED[wanted])


TAKEN = {
    "nothing of its own": "pass",
    "a helper of its own name": CALL + "def scaled(self, x):\n    return x * 2",
    "an attribute as it is": "def call(self, x):\n    self.units = 3\n    return super().call(x)",
    "its parts": "def call(self, x):\n    return self.activation(ops.matmul(x, self.kernel) + self.bias)",
    "a weight of its own in place of Keras's": "def build(self, shape):\n"
    "    self.kernel = self.add_weight(shape=(shape[-1], self.units), name='kernel')\n"
    "    self.bias = self.add_weight(shape=(self.units,), name='bias')\n" + CALL,
}


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("what", TAKEN)
def test_what_is_taken(tmp_path: Path, what: str, suffix: str) -> None:
    assert not _why(tmp_path, TAKEN[what], suffix)
    graph = load_graph(tmp_path / f"m{suffix}", options={"custom": [str(tmp_path / "mine.py")]})
    _, model = _saved(tmp_path / f"again{suffix}", activation="tanh")
    x = np.random.default_rng(3).normal(size=(5, 4)).astype("float32")
    want = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(Interpreter(graph).run([x])[0], want, rtol=1e-5, atol=1e-6)


def test_a_weight_that_the_configuration_does_without_is_none(tmp_path: Path) -> None:
    source = tmp_path / "mine.py"
    source.write_text(HEAD + "    def call(self, x):\n        y = ops.matmul(x, self.kernel)\n"
                      "        return y if self.bias is None else y + self.bias\n")  # fmt: skip
    path, model = _saved(tmp_path / "m.keras", use_bias=False)
    x = np.random.default_rng(3).normal(size=(5, 4)).astype("float32")
    got = Interpreter(load_graph(path, options={"custom": [str(source)]})).run([x])[0]
    np.testing.assert_allclose(got, keras.ops.convert_to_numpy(model(x)), rtol=1e-5, atol=1e-6)

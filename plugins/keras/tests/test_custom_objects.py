"""``custom_objects``, and functions of the source as activations."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import load_graph, problems, randomise

import convcore
from convcore.interpreter.execute import Interpreter

SOURCE = """
import keras
from keras import ops

from .helper import factor


class Scaled(keras.layers.Layer):
    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1],), name="w")

    def call(self, x):
        return factor() * x * self.w


def bent(x):
    return ops.where(x > 0, x, x * factor())


def swish(x):
    return x * 7
"""


@pytest.fixture
def module(tmp_path: Path) -> Any:
    """The module of ``SOURCE``, in a package with a helper."""
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "helper.py").write_text("def factor():\n    return 0.25\n")
    (folder / "mine.py").write_text(SOURCE)
    import sys

    sys.path.insert(0, str(tmp_path))
    for name in ("pack", "pack.helper", "pack.mine"):
        sys.modules.pop(name, None)
    try:
        yield importlib.import_module("pack.mine")
    finally:
        sys.path.remove(str(tmp_path))


A = np.arange(-6, 6, dtype=np.float32).reshape(3, 4)


def _saved(path: Path, layer: Any) -> Path:
    x = keras.Input((4,), name="x")
    model = keras.Model(x, layer(x))
    randomise(model)
    model.save(path)
    return path


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_class_is_read_where_it_stands(tmp_path: Path, module: Any, suffix: str) -> None:
    path = _saved(tmp_path / f"m{suffix}", module.Scaled(name="s"))
    graph = load_graph(path, options={"custom_objects": {"Scaled": module.Scaled}})
    assert not problems(graph)
    (w,) = [v.tensor.numpy() for v in graph.weights.values() if v.shape == (4,)]
    np.testing.assert_allclose(Interpreter(graph).run([A])[0], 0.25 * A * w, rtol=1e-6)


def test_the_name_of_the_file_and_the_name_of_the_class_may_differ(tmp_path: Path, module: Any) -> None:
    path = _saved(tmp_path / "m.keras", module.Scaled(name="s"))
    assert problems(load_graph(path, options={"custom_objects": {"Other": module.Scaled, "bent": module.bent}})) == []
    module.Scaled.__qualname__ = "inside.Scaled"
    with pytest.raises(convcore.UsageError, match="not at the top of a file"):
        load_graph(path, options={"custom_objects": {"Scaled": module.Scaled}})


def test_a_rule_by_the_name_of_the_class(tmp_path: Path, module: Any) -> None:
    path = _saved(tmp_path / "m.keras", module.Scaled(name="s"))

    def rule(g: Any, node: Any) -> Any:
        return g.b.mul(node.input(0), g.weight(node, "w", node.weights["0"]))

    out = tmp_path / "m.onnx"
    report = convcore.convert(path, "onnx", out, custom_objects={"Scaled": rule}).report
    assert report.ok
    with pytest.raises(convcore.UsageError, match="no layer of that class"):
        convcore.convert(path, "onnx", out, custom_objects={"Nothing": rule})


@pytest.mark.parametrize("given", [["Scaled"], {"Scaled": 3}, {3: len}])
def test_what_custom_objects_cannot_be(tmp_path: Path, module: Any, given: Any) -> None:
    path = _saved(tmp_path / "m.keras", module.Scaled(name="s"))
    with pytest.raises(convcore.UsageError, match="custom_objects"):
        load_graph(path, options={"custom_objects": given})


def test_a_function_of_the_source_is_an_activation(tmp_path: Path, module: Any) -> None:
    path = _saved(tmp_path / "m.keras", keras.layers.Activation(module.bent))
    assert "not one of Keras's" in problems(load_graph(path))[0].why
    for options in ({"custom": [str(tmp_path / "pack")]}, {"custom_objects": {"bent": module.bent}}):
        graph = load_graph(path, options=options)
        assert not problems(graph)
        np.testing.assert_allclose(Interpreter(graph).run([A])[0], np.where(A > 0, A, A / 4))


def test_whose_activation_a_name_is_depends_on_the_era(tmp_path: Path, module: Any) -> None:
    """Keras 3 looks among its own first (``activations.get``), tf.keras among the user's."""
    source = {"custom": [str(tmp_path / "pack")]}
    path = _saved(tmp_path / "m.keras", keras.layers.Activation("swish"))
    np.testing.assert_allclose(Interpreter(load_graph(path, options=source)).run([A])[0], A / (1 + np.exp(-A)), rtol=1e-5)
    old = Path(__file__).parent / "data" / "custom_tf2" / "ResidualBlock.h5"
    import h5py

    h5 = tmp_path / "old.h5"
    _saved(h5, keras.layers.Activation("swish"))
    with h5py.File(h5, "a") as f, h5py.File(old) as like:
        for key in ("keras_version", "backend"):
            f.attrs[key] = like.attrs[key]
        text = f.attrs["model_config"].replace('"silu"', '"swish"')
        assert '"swish"' in text
        f.attrs["model_config"] = text
    graph = load_graph(h5, options=source)
    np.testing.assert_allclose(Interpreter(graph).run([A])[0], A * 7)
    assert any("'swish' is the function of" in n for n in graph.metadata["notes"])

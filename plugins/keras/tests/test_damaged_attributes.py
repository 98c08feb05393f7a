"""Attributes of damaged files are refused with their layer: no axis counts around, nothing but a number is one."""

from __future__ import annotations

import json
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_helpers import load_graph, problems

from convcore.build.builder import Builder
from convcore.errors import BadFileError, ConvcoreError, UnsupportedError
from convcore.ir.graph import Graph
from convcore.ir.tensors import ArrayTensor
from convcore.rules.foreign import ForeignNode
from convcore_keras.files.convert import from_keras1
from convcore_keras.files.model import LayerConfig
from convcore_keras.files.safe_json import loads
from convcore_keras.ops import conv


def node(**attrs: Any) -> ForeignNode:
    b = Builder(Graph("g"))
    return ForeignNode("Layer", "layer", [b.input("x", "float32", (2, 3, 5))], attrs)


@pytest.mark.parametrize("axis", [3, -4, 7, True, 1.0, "x", None, {"a": 1}, [3], [0, "x"]])
def test_axes_are_those_of_the_tensor(axis: Any) -> None:
    n = node()
    for ask in (n.axis_in, n.axes_in):
        with pytest.raises(UnsupportedError, match="no axis") as e:
            ask(axis, 3)
        assert e.value.problems[0].layer == "layer"
    with pytest.raises(UnsupportedError, match="no axis of 0"):
        n.axis_in(0, 0)


def test_axes_count_from_both_ends() -> None:
    assert [node().axis_in(a, 3) for a in (0, 2, -1, -3, np.int64(1))] == [0, 2, 2, 0, 1]
    assert node().axes_in([-1, 0], 3) == [2, 0] and node().axes_in(-2, 3) == [1]


@pytest.mark.parametrize("v", [True, "3", None, [3], float("nan"), float("inf"), 2.5, {"a": 1}])
def test_whole_numbers(v: Any) -> None:
    with pytest.raises(UnsupportedError, match="is not a whole number"):
        node(n=v).whole("n")
    assert node(n=3.0).whole("n") == 3 and node().whole("n", 7) == 7


@pytest.mark.parametrize("v", [True, "3.0", None, [3.0], {"a": 1}])
def test_numbers(v: Any) -> None:
    with pytest.raises(UnsupportedError, match="is not a number"):
        node(n=v).real("n")
    assert node(n=3).real("n") == 3.0 and node(n=np.float32(0.5)).real("n") == 0.5


@pytest.mark.parametrize("text", ['{"name": "\\ud800"}', '["\\udfff"]', '{"\\ud800x": 1}', '"\\ud800\\ud800"'])
def test_half_a_surrogate_pair_is_no_text(text: str) -> None:
    """Names of it could not be written to any file."""
    with pytest.raises(BadFileError, match=r"not valid JSON.*surrogates"):
        loads(text, "config.json")
    assert loads('"\\ud83d\\ude00 \\\\ud800"', "config.json") == "\U0001f600 \\ud800"


def test_a_resize_too_large_to_spell_out_is_refused() -> None:
    b = Builder(Graph("g"))
    x = b.input("x", "float32", (1, 3, 5, 7))
    with pytest.raises(ConvcoreError, match="too many to be spelled out"):
        from convcore.opset import find_op

        decl = find_op("resize")
        assert decl is not None and decl.body is not None
        y = b.resize(x, sizes=(10**9, 7), mode="linear")
        decl.body(b, x, **y.producer.attrs)


@pytest.mark.parametrize("name", ["max_value", "negative_slope", "threshold"])
@pytest.mark.parametrize("value", ["x", [1.0], {"a": 1}, True])
def test_numbers_of_relu(name: str, value: Any, tmp_path: Path) -> None:
    config = {"name": "r", "max_value": 6.0, "negative_slope": 0.1, "threshold": 0.5, name: value}
    layers = [{"class_name": "InputLayer", "config": {"name": "i", "batch_input_shape": [None, 3], "dtype": "float32"}}]
    layers.append({"class_name": "ReLU", "config": config})
    model = {"class_name": "Sequential", "keras_version": "2.4.0", "config": {"name": "s", "layers": layers}}
    (tmp_path / "m.json").write_text(json.dumps(model))
    (p,) = problems(load_graph(tmp_path / "m.json"))
    assert p.layer == "r" and p.type == "ReLU" and name in p.why and "is not a number" in p.why


KERNEL = np.arange(3 * 5 * 7, dtype=np.float32).reshape(3, 1, 5, 7)


@pytest.mark.parametrize("config", [{}, {"kernel_size": 3}, {"filters": 7}])
@pytest.mark.parametrize("size", [[], {}, "3", None, True, [[3]]])
def test_kernel_size_of_keras_1(config: dict[str, Any], size: Any) -> None:
    whole = {"kernel_size": size, "filters": size, **config}
    with pytest.raises(BadFileError, match="layer 'c': a Keras 1 Conv1D of kernel_size="):
        from_keras1(LayerConfig("c", "Conv1D", "Convolution1D", whole), [ArrayTensor(KERNEL)], ["kernel"])


@pytest.mark.parametrize("size", [3, [3], (3,)])
def test_both_orders_of_a_kernel_of_keras_1(size: Any) -> None:
    layer = LayerConfig("c", "Conv1D", "Convolution1D", {"kernel_size": size, "filters": 7})
    for stored in (KERNEL, KERNEL.transpose(3, 2, 0, 1), KERNEL[:, 0]):
        made = from_keras1(layer, [ArrayTensor(np.ascontiguousarray(stored))], ["kernel"])["kernel"]
        np.testing.assert_array_equal(made.numpy(), KERNEL[:, 0])


@pytest.mark.parametrize(
    "damage",
    [{"value_range": v} for v in ([1], "xy", [None, 3], [True, 127], {}, 5, [1, 2, 3])]
    + [{"epsilon": e} for e in ("__keras_tensor__", None, [1e-7], True)],
)
def test_numbers_of_a_quantizer(damage: dict[str, Any], tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, name="d")])
    model.quantize("int8")
    model.save(tmp_path / "a.keras")
    found: list[Any] = []

    def change(config: dict[str, Any]) -> dict[str, Any]:
        if config.get("class_name") == "AbsMaxQuantizer":
            found.append(config["config"])
            config["config"].update(damage)
        return config

    with zipfile.ZipFile(tmp_path / "a.keras") as z, zipfile.ZipFile(tmp_path / "b.keras", "w") as out:
        for name in z.namelist():
            data = z.read(name)
            out.writestr(name, json.dumps(json.loads(data, object_hook=change)) if name == "config.json" else data)
    assert not problems(load_graph(tmp_path / "a.keras")) and found
    (p,) = problems(load_graph(tmp_path / "b.keras"))
    assert p.layer == "d" and "quantizer's configuration" in p.why


@pytest.mark.parametrize("value", [[3, [1]], ["3", 2], [1, 2, 3], [], None, 2.5, True, {"a": 1}, [2, True]])
@pytest.mark.parametrize(
    ("op", "name"),
    [("AdaptiveAveragePool", "output_size"), ("MaxPool", "pool_size"), ("AveragePool", "strides"), ("Conv", "dilation_rate")],
)
def test_sizes_of_windows_of_operations(op: str, name: str, value: Any) -> None:
    if name == "strides" and value is None:
        value = "2"  # None is the windows' own size
    b = Builder(Graph("g"))
    inputs = [b.input("x", "float32", (2, 7, 5, 3)), b.input("w", "float32", (2, 2, 3, 4))][: 2 if op == "Conv" else 1]
    n = ForeignNode(f"ops.{op}", "mine", inputs, {"pool_size": 2, "data_format": "channels_last", name: value})
    rule = {"MaxPool": conv.pool, "AveragePool": conv.pool, "Conv": conv.conv}.get(op, conv.adaptive_pool)
    with pytest.raises(UnsupportedError, match=f"{name}=.* is not one whole number, or one for each of 2 axes"):
        rule(types.SimpleNamespace(b=b), n)


def test_an_input_that_is_no_input_layer(tmp_path: Path) -> None:
    layers: list[dict[str, Any]] = [
        {"class_name": "InputLayer", "name": "x", "config": {"batch_input_shape": [None, 4], "dtype": "float32", "name": "x"},
         "inbound_nodes": []},
        {"class_name": "Activation", "name": "y", "config": {"name": "y", "activation": "relu"},
         "inbound_nodes": [[["x", 0, 0, {}]]]},
    ]  # fmt: skip
    for first in ("x", "y"):
        config = {"name": "m", "layers": layers, "input_layers": [[first, 0, 0]], "output_layers": [["y", 0, 0]]}
        (tmp_path / "m.json").write_text(json.dumps({"class_name": "Functional", "config": config}))
        if first == "x":
            assert load_graph(tmp_path / "m.json").inputs[0].name == "x"
            continue
        with pytest.raises(BadFileError, match="layer 'y' is named as an input of the model, but is Activation, no InputLayer"):
            load_graph(tmp_path / "m.json")

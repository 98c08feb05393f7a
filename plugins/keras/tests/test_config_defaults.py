"""Keras's constructors as the judge of configurations: what is left out means their default, and nothing stated is ignored."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from changed_layers import change, config_of, layers, stored, values

import convcore
from convcore.build.opaque import opaque_problems
from convcore.errors import ConvcoreError
from convcore.ir.text import to_text

keras = pytest.importorskip("keras")
from test_load_layers import CASES

L = keras.layers
MORE: dict[str, tuple[Callable[[], Any], list[tuple[int | None, ...]]]] = {
    "AdditiveAttention": (lambda: L.AdditiveAttention(), [(5, 3), (7, 3)]),
    "Attention": (lambda: L.Attention(), [(5, 3), (7, 3)]),
    "Bidirectional": (lambda: L.Bidirectional(L.LSTM(3)), [(5, 2)]),
    "ConvLSTM1D": (lambda: L.ConvLSTM1D(3, 2), [(5, 7, 2)]),
    "ConvLSTM2D": (lambda: L.ConvLSTM2D(3, 2), [(3, 5, 7, 2)]),
    "ConvLSTM3D": (lambda: L.ConvLSTM3D(3, 2), [(2, 3, 5, 7, 2)]),
    "GRU": (lambda: L.GRU(3), [(5, 2)]),
    "LSTM": (lambda: L.LSTM(3), [(5, 2)]),
    "MultiHeadAttention": (lambda: L.MultiHeadAttention(2, 3), [(5, 7), (3, 7)]),
    "SimpleRNN": (lambda: L.SimpleRNN(3), [(5, 2)]),
}
CASE = {type(make()).__name__: (make, shapes) for _, make, shapes in reversed(CASES)} | MORE
"""One layer of each class with a rule."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("configs")


@lru_cache
def saved(folder: Path, name: str) -> tuple[Path, tuple[Any, ...]]:
    """A file with a layer of the class, and where its configuration is."""
    make, shapes = CASE[name]
    inputs = [keras.Input(shape) for shape in shapes]
    path = folder / f"{name}.keras"
    made = make()
    keras.Model(inputs, made(*inputs) if name == "MultiHeadAttention" else made(inputs[0] if len(inputs) == 1 else inputs)).save(
        path
    )
    return path, next(at for at, layer in layers(json.loads(config_of(path))) if layer["class_name"] == name)


@lru_cache
def defaults(name: str) -> dict[str, Any]:
    """The constructor's defaults by name, those of its bases too."""
    found: dict[str, Any] = {}
    for cls in reversed(getattr(keras.layers, name).__mro__):
        if "__init__" in vars(cls):
            found |= {
                p.name: p.default
                for p in inspect.signature(vars(cls)["__init__"]).parameters.values()
                if p.default is not p.empty
            }
    return found


def config(folder: Path, name: str) -> dict[str, Any]:
    path, at = saved(folder, name)
    layer = json.loads(config_of(path))
    for k in at:
        layer = layer[k]
    found: dict[str, Any] = layer["config"]
    return found


def read(folder: Path, name: str, what: Any) -> str:
    """What is loaded when a field is changed, or why it is not, as text."""
    path, at = saved(folder, name)
    made, _ = stored(folder, path, change(config_of(path), at, what))
    try:
        graph = convcore.load(made).graph
    except ConvcoreError as e:
        return f"refused: {e}"
    why = opaque_problems(graph)
    text = re.sub(r"^  (scope|metadata|layer) .*$", "", to_text(graph), flags=re.MULTILINE)
    small = [v.tensor.numpy().tolist() for v in graph.weights.values() if v.tensor is not None and v.tensor.size <= 64]
    return "refused: " + "; ".join(p.why for p in why) if why else f"{text} {small}"


def _same(a: Any, b: Any) -> bool:
    return a == b or (isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and list(a) == list(b))


@pytest.mark.parametrize("name", CASE)
def test_what_is_left_out_means_the_constructors_default(name: str, folder: Path) -> None:
    whole = read(folder, name, ("set", "name", config(folder, name)["name"]))
    stated = [k for k, v in config(folder, name).items() if k in defaults(name) and _same(v, defaults(name)[k])]
    told = [k for k in stated if k not in ("name", "dtype") and read(folder, name, ("drop", k)) != whole]
    assert not told and not whole.startswith("refused")


TRAINING = ("initializer", "regularizer", "constraint", "trainable", "dropout", "seed")
IGNORED = {
    "ActivityRegularization.l1", "ActivityRegularization.l2", "AlphaDropout.noise_shape", "Dropout.noise_shape",
    "BatchNormalization.renorm_clipping", "BatchNormalization.renorm_momentum", "BatchNormalization.synchronized",
    "Dense.quantization_config", "PReLU.shared_axes", "Resizing.fill_value",
    "MultiHeadAttention.value_dim", "MultiHeadAttention.output_shape",
    *(f"ConvLSTM{d}D.{key}" for d in (1, 2, 3) for key in ("unroll", "unit_forget_bias", "zero_output_for_mask")),
    *(f"{name}.{key}" for name in ("GRU", "LSTM", "SimpleRNN") for key in ("unroll", "zero_output_for_mask")),
    "LSTM.unit_forget_bias",
}  # fmt: skip
"""What only training needs, and what has no meaning beside the other arguments of the case."""


def test_nothing_that_is_stated_is_ignored(folder: Path) -> None:
    """Two other values of each argument: the graph is another one, or refused."""
    seen: dict[str, bool] = {}
    for name in CASE:
        whole = read(folder, name, ("set", "name", config(folder, name)["name"]))
        for key, value in config(folder, name).items():
            if key in ("name", "dtype") or any(w in key for w in TRAINING):
                continue
            others = [v for v in values(value) if type(v) is type(value)] or values(value)
            seen[f"{name}.{key}"] = any(read(folder, name, ("set", key, v)) != whole for v in others[:2])
    assert {k for k, told in seen.items() if not told} == IGNORED and len(seen) > 200

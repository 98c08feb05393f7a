"""What is left out means what TensorFlow, Keras and numpy take for it, and a piece of work that is not named is one."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from changed_layers import change, config_of, layers, stored
from keras_helpers import load_graph, run
from test_code_python import by_source
from test_files_attacks import functional, keras_zip, layer
from test_layers_told import graph_of, zeros

from convcore.build.builder import Builder
from convcore.errors import UnsupportedError
from convcore.interpreter.execute import Interpreter
from convcore.ir.graph import Graph
from convcore.ir.text import to_text
from convcore.rules.foreign import ForeignNode
from convcore_keras.code.domain import CodeRefused, Domain, Misread, Options
from convcore_keras.code.names import MODULES, ROOTS
from convcore_keras.code.node_def import run_node_def
from convcore_keras.code.source import arrays
from convcore_keras.code.tensors import GraphOps
from convcore_keras.files.keras1 import modernise
from convcore_keras.files.normalise import normalise
from convcore_keras.files.reader import read
from convcore_keras.load_context import KerasContext
from convcore_keras.rules import RULES

keras = pytest.importorskip("keras")
L = keras.layers


def _context(b: Builder) -> KerasContext:
    class Model:
        era, backend, keras_version, container = "keras3", "", "3.15.0", "keras-zip"

        class root:
            trainable = True

    model: Any = Model
    return KerasContext(b, model, RULES, {})


# ---- attributes of raw operations (the defaults of tensorflow/core/ops, 2.3)
X, Y = np.arange(6, dtype="f4").reshape(2, 3) - 2, np.arange(15, dtype="f4").reshape(3, 5)
WIDE = np.arange(20, dtype="f4").reshape(4, 5)
NODES: dict[str, tuple[list[np.ndarray], dict[str, Any], list[np.ndarray]]] = {
    "Mean": ([X], {"1": [1]}, [X.mean(1)]),
    "MatMul": ([X, Y], {}, [X @ Y]),
    "BatchMatMulV2": ([X, Y], {}, [X @ Y]),
    "StridedSlice": ([WIDE], {"1": [1, 2], "2": [3, 4], "3": [1, 1]}, [WIDE[1:3, 2:4]]),
    "Pack": ([X, X + 1], {}, [np.stack([X, X + 1])]),
    "Unpack": ([X], {}, list(X)),
    "GatherV2": ([Y], {"1": [2, 0], "2": 0}, [Y[[2, 0]]]),
    "LeakyRelu": ([X], {}, [np.where(X < 0, np.float32(0.2) * X, X)]),
    "Cumsum": ([X], {"1": 1}, [X.cumsum(1)]),
    "Squeeze": ([X[:, None, :, None]], {}, [X]),
}


@pytest.mark.parametrize("op", NODES)
def test_operations_without_their_attributes(op: str) -> None:
    given, constants, wanted = NODES[op]
    b = Builder(Graph())
    values = [b.input(f"x{i}", "float32", v.shape) for i, v in enumerate(given)]
    node = ForeignNode("F", "f", values, {})
    stored_node = {"op": op, "attr": {}, "input": ["a"] * (len(given) + len(constants))}
    b.graph.outputs = list(run_node_def(_context(b), node, stored_node, constants))
    found = Interpreter(b.graph).run(given)
    assert len(found) == len(wanted)
    for y, want in zip(found, wanted):
        np.testing.assert_allclose(y, want, rtol=1e-6)


# ---- the interpreters of code
def test_a_piece_of_work_is_one_step() -> None:
    b = Builder(Graph())
    d = Domain(GraphOps(_context(b), ForeignNode("F", "f", [], {})), Options(ROOTS, MODULES), steps=5)
    for _ in range(3):
        d.spend()
    d.spend(2)
    assert d.steps == 0
    with pytest.raises(Misread, match="takes more than"):
        d.spend()


@pytest.mark.parametrize(("text", "size"), [
    ("np.linspace(np.zeros(3), 1)", 3 * inspect.signature(np.linspace).parameters["num"].default),
    ("np.linspace(0, 1, 7)", 7), ("np.eye(5)", 25), ("np.eye(3, 4)", 12), ("np.eye(N=3, M=5)", 15), ("np.identity(n=3)", 9),
    ("np.tri(3)", 9), ("np.eye(3, k=1)", 9), ("np.zeros((2, 3))", 6),
])  # fmt: skip
def test_arrays_are_as_large_as_numpy_makes_them(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest that is made is of just the size; one element less is too few for it."""
    assert eval(text, {"np": np}).size == size
    monkeypatch.setattr(arrays, "MAX_SIZE", size)
    assert by_source(f"def f():\n    return {text}\n").size == size
    monkeypatch.setattr(arrays, "MAX_SIZE", size - 1)
    with pytest.raises(CodeRefused, match=f"makes an array of more than {size - 1} elements"):
        by_source(f"def f():\n    return {text}\n")


def test_arrays_of_no_size_are_refused() -> None:
    with pytest.raises(CodeRefused, match=r"numpy\.eye"):
        by_source("def f():\n    return np.eye()\n")


def test_names_of_a_comprehension_are_its_own() -> None:
    text = "def f():\n    x = i = 5\n    y = [x + i for x in range(2) for i in range(3) if i]\n    return x, i, y\n"
    scope: dict[str, Any] = {}
    exec(text, scope)
    assert by_source(text) == scope["f"]()


@pytest.mark.parametrize("made", ["keras.Variable(np.ones(()))", "collections.namedtuple('P', 'a b')._make"])
def test_what_may_be_false_is_not_branched_on(made: str) -> None:
    with pytest.raises(CodeRefused, match="branches on"):
        by_source(f"def f():\n    x = {made}\n    return 1 if x else 2\n")


# ---- files of Keras 1
def test_batch_normalization_of_keras_1_without_a_mode() -> None:
    """``BatchNormalization(epsilon=1e-3, mode=0, ...)`` of Keras 1.2."""
    whole = modernise("BatchNormalization", {"axis": 1, "mode": 0, "epsilon": 0.01}, "bn", None)
    assert modernise("BatchNormalization", {"axis": 1, "epsilon": 0.01}, "bn", None) == whole
    for mode in (1, 2):
        with pytest.raises(UnsupportedError, match=f"mode {mode}"):
            modernise("BatchNormalization", {"axis": 1, "mode": mode}, "bn", None)


@pytest.mark.parametrize(("cls", "given", "wanted"), [
    ("ZeroPadding2D", {"top_pad": 3}, [(3, 0), (0, 0)]), ("ZeroPadding2D", {"right_pad": 5, "bottom_pad": 2}, [(0, 2), (0, 5)]),
    ("ZeroPadding1D", {"left_pad": 2}, (2, 0)), ("ZeroPadding1D", {"right_pad": 7}, (0, 7)),
])  # fmt: skip
def test_sides_of_padding_that_are_not_named(cls: str, given: Any, wanted: Any) -> None:
    """``padding.get('top_pad', 0)`` of Keras 1.2's ``ZeroPadding2D``."""
    found = normalise(cls, {"padding": given, "data_format": "channels_last"}, "keras1", (1, 2), "pad")["padding"]
    assert [tuple(p) if isinstance(p, (list, tuple)) else p for p in found] == list(wanted)


# ---- what is nested in a configuration
def test_an_activation_without_its_slope() -> None:
    weights = zeros(kernel=(3, 8), recurrent_kernel=(2, 8), bias=(8,))

    def loaded(**config: Any) -> str:
        activation = {"class_name": "LeakyReLU", "config": config}
        return to_text(graph_of("LSTM", {"units": 2, "activation": activation}, (None, 5, 3), weights=weights))

    slope = L.LeakyReLU().negative_slope
    assert loaded() == loaded(negative_slope=slope) == loaded(alpha=slope) != loaded(negative_slope=0.5)


def test_a_quantizer_without_its_numbers(tmp_path: Path) -> None:
    """The largest of the inputs is so small that what keeps the division from 0 is seen."""
    model = keras.Sequential([keras.Input((7,)), L.Dense(5)])
    model.quantize("int8")
    model.save(tmp_path / "m.keras")
    path, text = tmp_path / "m.keras", config_of(tmp_path / "m.keras")
    names = list(layers(json.loads(text)))
    (at,) = [at for at, layer in names if layer["class_name"] == "AbsMaxQuantizer" and "activation_quantizer" in at]
    usual = {k: p.default for k, p in inspect.signature(keras.quantizers.AbsMaxQuantizer.__init__).parameters.items()}
    x = np.linspace(-3e-7, 2e-7, 14, dtype="f4").reshape(2, 7)
    folder = tmp_path / "changed"
    folder.mkdir()

    def result(*what: Any) -> np.ndarray:
        made, _ = stored(folder, path, change(text, at, what))
        return run(load_graph(made), [x])[0]

    whole = result("set", "value_range", list(usual["value_range"]))
    np.testing.assert_array_equal(result("set", "epsilon", keras.config.epsilon()), whole)
    np.testing.assert_array_equal(result("drop", "epsilon"), whole)
    np.testing.assert_array_equal(result("drop", "value_range"), whole)
    assert (result("set", "epsilon", 2e-7) != whole).any()
    want = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(whole, want, rtol=1e-5, atol=1e-6 * np.ptp(want))


@pytest.mark.parametrize("key", ["go_backwards", "return_sequences", "return_state"])
@pytest.mark.parametrize("make", [lambda: L.LSTM(3), lambda: L.ConvLSTM1D(3, 2)], ids=["LSTM", "ConvLSTM1D"])
def test_a_wrapped_layer_without_its_flags(make: Callable[[], Any], key: str, tmp_path: Path) -> None:
    shape = (5, 2) if isinstance(make(), L.LSTM) else (5, 7, 2)
    keras.Sequential([keras.Input(shape), L.Bidirectional(make())]).save(tmp_path / "m.keras")
    text = config_of(tmp_path / "m.keras")
    (at,) = [at for at, layer in layers(json.loads(text)) if layer["class_name"] == "Bidirectional"]
    folder = tmp_path / "changed"
    folder.mkdir()

    def loaded(text: str) -> str:
        found = to_text(load_graph(stored(folder, tmp_path / "m.keras", text)[0]))
        return re.sub(r"^  (scope|metadata|layer) .*$", "", found, flags=re.MULTILINE)

    tree = json.loads(text)
    inside: Any = tree
    for k in (*at, "config"):
        inside = inside[k]
    assert inside["layer"]["config"].pop(key) is False
    assert loaded(json.dumps(tree)) == loaded(text)


# ---- names
def test_layers_and_models_without_a_name() -> None:
    """A layer may begin with an underscore; the outermost scope of TensorFlow may not."""
    from convcore_keras.emit_names import legal, legal_model

    assert [legal(n) for n in ("", "/", "_a.b", "-x", "a/b>c")] == ["layer", "layer", "_a_b", "-x", "a_b_c"]
    assert [legal_model(n) for n in ("", "_", "_a.b", "-x", "a/b>c")] == ["model", "model", "a_b", "x", "a_b_c"]


# ---- calls
def test_a_merge_of_one_is_itself_and_of_none_is_refused() -> None:
    graph = graph_of("Add", {}, (None, 3))
    x = np.arange(6, dtype="f4").reshape(2, 3)
    np.testing.assert_array_equal(run(graph, [x])[0], x)


@pytest.mark.parametrize("name", ["Sequential", "Functional", "Dense"])
def test_what_does_not_say_so_is_trained(name: str, tmp_path: Path) -> None:
    """``trainable`` of ``Layer.__init__``: of a layer, of the model and of a model inside it."""
    x = keras.Input((3,))
    inner = keras.Sequential([keras.Input((3,)), L.Dense(5)])
    keras.Model(x, L.Dense(7)(inner(x))).save(tmp_path / "m.keras")
    assert inspect.signature(L.Layer.__init__).parameters["trainable"].default is True
    tree = json.loads(config_of(tmp_path / "m.keras"))
    folder = tmp_path / "changed"
    folder.mkdir()

    def trained() -> set[bool]:
        graph = load_graph(stored(folder, tmp_path / "m.keras", json.dumps(tree))[0])
        return {v.trainable for v in graph.weights.values()}

    found = [layer["config"] for _, layer in layers(tree) if layer["class_name"] == name]
    for config in found:
        config["trainable"] = False
    assert False in trained()
    for config in found:
        del config["trainable"]
    assert found and trained() == {True}


@pytest.mark.parametrize(("said", "wanted"), [({}, True), ({"trainable": True}, True), ({"trainable": False}, False)])
def test_a_model_and_a_layer_as_read(said: dict[str, bool], wanted: bool, tmp_path: Path) -> None:
    made = functional([layer("Dense", "dense", {"units": 2, **said})], "dense")
    made["config"].update(said)
    model = read(keras_zip(tmp_path / "m.keras", made))
    assert model.root.trainable is wanted and [x.trainable for x in model.root.layers if x.name == "dense"] == [wanted]


@pytest.mark.parametrize("made", ["L.Dense(3)", "L.Dense(3, trainable=False)", "L.Dense(3, trainable=True)"])
def test_a_layer_says_whether_it_is_trained(made: str) -> None:
    found = by_source(f"from keras import layers as L\ndef f():\n    return {made}.trainable\n")
    assert found is eval(made, {"L": L}).trainable

"""The graph a Keras model becomes: names, sizes, layers, sharing, refusals; and the hooks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras_helpers import error_of_range, load_graph, problems, randomise, run, saved_forms

import convcore
from convcore.errors import BadFileError, UsageError
from convcore.host import host
from convcore.ir.dims import Dim
from convcore.model import Model
from convcore_keras import plugin

keras = pytest.importorskip("keras")
L = keras.layers
ERAS = Path(__file__).parents[3] / "tests" / "data" / "keras_eras"


def outputs(model: Any, *arrays: np.ndarray) -> list[np.ndarray]:
    y = model(list(arrays) if len(arrays) > 1 else arrays[0], training=False)
    return [np.asarray(t.detach().numpy()) for t in (y if isinstance(y, (list, tuple)) else [y])]


def rand(*shape: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def nested_model() -> Any:
    """Shared layer, nested functional and sequential models, one of them used twice, two outputs."""
    a, b = keras.Input((7,), name="a"), keras.Input((7,), name="b")
    shared = L.Dense(5, activation="relu", name="shared")
    i = keras.Input((5,), name="inner_in")
    inner = keras.Model(i, L.Dropout(0.5, name="drop")(L.Dense(3, name="d")(i)), name="inner")
    tail = keras.Sequential([L.Dense(2, name="t")], name="tail")
    sa, sb = shared(a), shared(b)
    joined = L.Concatenate(name="join")([inner(sa), inner(sb)])
    model = keras.Model([a, b], [tail(joined), inner(L.Add(name="add")([sa, sb]))], name="outer")
    randomise(model)
    return model


# ---- structure
@pytest.mark.parametrize("form", ["keras", "h5", "json"])
def test_shared_and_nested_models(form: str, tmp_path: Path) -> None:
    model = nested_model()
    source, weights = saved_forms(model, tmp_path)[form]
    graph = load_graph(source, weights)
    x = [rand(2, 7), rand(2, 7, seed=4)]
    assert error_of_range(run(graph, x), outputs(model, *x)) < 1e-5
    assert [v.name for v in graph.inputs] == ["a", "b"]
    assert [v.name for v in graph.outputs] == ["tail", "inner"]
    assert set(graph.weights) == {
        "shared/kernel", "shared/bias", "inner/d/kernel", "inner/d/bias", "tail/t/kernel", "tail/t/bias",
    }  # fmt: skip
    assert [n.origin.layer for n in graph if n.op == "linear"].count("shared") == 2
    assert graph.find("inner/d") is not None and graph.find("tail/t") is not None
    assert [layer.name for layer in graph.layers] == [x.name for x in model.layers]
    assert {layer.name: layer.type for layer in graph.layers}["inner"] == "Functional"
    assert {layer.name: len(layer.weights) for layer in graph.layers} == {x.name: len(x.weights) for x in model.layers}
    names = [v.name for v in graph.values()]
    assert len(names) == len(set(names))


def test_sequential_layers_and_slices(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((11, 13, 3)), L.Conv2D(5, 3, name="c"), L.ReLU(name="r"), L.Flatten(name="f"), L.Dense(7, name="d")]
    )
    randomise(model)
    model.save(tmp_path / "m.keras")
    graph = load_graph(tmp_path / "m.keras")
    assert graph.metadata["kind"] == "sequential" and graph.metadata["version"] == keras.__version__
    assert [x.name for x in graph.layers] == [x.name for x in model.layers] == ["c", "r", "f", "d"]
    x = rand(2, 11, 13, 3)
    ours = Model(graph, "keras")
    part = keras.Sequential([keras.Input((11, 13, 3)), *model.layers[:2]])
    assert error_of_range([ours[:2](x)], outputs(part, x)) < 1e-5
    assert error_of_range([ours["f"](x)], outputs(keras.Sequential([*part.layers, model.layers[2]]), x)) < 1e-5
    assert graph.weights["c/kernel"].trainable


def test_trainable_weights(tmp_path: Path) -> None:
    frozen = L.Dense(5, name="frozen")
    frozen.trainable = False
    model = keras.Sequential([keras.Input((7,)), frozen, L.BatchNormalization(name="bn"), L.Dense(3, name="free")])
    model.save(tmp_path / "m.keras")
    graph = load_graph(tmp_path / "m.keras")
    assert {v.name for v in graph.weights.values() if v.trainable} == {"bn/gamma", "bn/beta", "free/kernel", "free/bias"}


def test_statistics_are_weights_of_their_layer(tmp_path: Path) -> None:
    shared = L.Normalization(name="n")
    shared.build((None, 7))
    a, b = keras.Input((7,), name="a"), keras.Input((7,), name="b")
    model = keras.Model([a, b], L.Add()([shared(a), shared(b)]))
    randomise(model)
    model.save(tmp_path / "m.keras")
    graph = load_graph(tmp_path / "m.keras")
    assert {v.name: v.trainable for v in graph.weights.values()} == {"n/mean": False, "n/deviation": False}
    assert {x.name: [w.name for w in x.weights] for x in graph.layers}["n"] == ["n/mean", "n/deviation"]
    x = [rand(2, 7), rand(2, 7, seed=4)]
    assert error_of_range(run(graph, x), outputs(model, *x)) < 1e-5


def test_averages_of_integers_are_refused(tmp_path: Path) -> None:
    a = keras.Input((5, 7), dtype="int32", name="a")
    keras.Model(a, L.GlobalAveragePooling1D(name="mean")(a)).save(tmp_path / "m.keras")
    assert [(p.layer, p.code) for p in problems(load_graph(tmp_path / "m.keras"))] == [("mean", "unsupported_dtype")]


def test_sizes_of_inputs_have_names(tmp_path: Path) -> None:
    a, b = keras.Input((None, None, 3), name="image"), keras.Input((None,), batch_size=None, name="seq")
    fixed = keras.Input((5,), batch_size=2, name="fixed")
    model = keras.Model([a, b, fixed], [L.MaxPooling2D(name="p")(a), L.ReLU(name="r")(b), L.ReLU(name="q")(fixed)])
    model.save(tmp_path / "m.keras")
    graph = load_graph(tmp_path / "m.keras")
    batch = Dim("batch")
    assert [v.shape for v in graph.inputs] == [
        (batch, Dim("image_dim1"), Dim("image_dim2"), 3), (batch, Dim("seq_dim1")), (2, 5),
    ]  # fmt: skip
    assert graph.outputs[0].shape == (batch, Dim("image_dim1") // 2, Dim("image_dim2") // 2, 3)
    given = load_graph(tmp_path / "m.keras", input_shapes={"image": (1, 32, "h", None), "seq": (Dim("n"), 5)})
    assert [v.shape for v in given.inputs] == [(1, 32, Dim("h"), 3), (Dim("n"), 5), (2, 5)]
    with pytest.raises(UsageError, match=r"'seq' has 2 axes .* 3"):
        load_graph(tmp_path / "m.keras", input_shapes={"seq": (1, 2, 3)})
    with pytest.raises(UsageError, match=r"no input is named 'other'.*image, seq, fixed"):
        load_graph(tmp_path / "m.keras", input_shapes={"other": (1,)})


def test_a_fixed_size_that_contradicts_the_weights_is_a_problem(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((7,)), L.Dense(5, name="d")])
    model.save(tmp_path / "m.keras")
    found = problems(load_graph(tmp_path / "m.keras", input_shapes={"": ("batch", 11)}))
    assert [(p.layer, p.code) for p in found] == [("d", "invalid_shape")] and "11" in found[0].why


def test_sequential_without_input_shape_asks_for_it(tmp_path: Path) -> None:
    config = {"name": "s", "layers": [{"module": "keras.layers", "class_name": "Dense", "config": {"name": "d", "units": 5}}]}
    text = json.dumps({"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None})
    (tmp_path / "m.json").write_text(text)
    kernel, bias, x = rand(7, 5), rand(5, seed=5), rand(3, 7, seed=6)
    with h5py.File(tmp_path / "m.weights.h5", "w") as f:
        f["layers/dense/vars/0"], f["layers/dense/vars/1"] = kernel, bias
    source = tmp_path / "m.json", tmp_path / "m.weights.h5"
    with pytest.raises(UsageError, match=r"input_shapes=\{'d_input': \('batch'"):
        load_graph(*source)
    for name in ("d_input", ""):
        graph = load_graph(*source, input_shapes={name: ("batch", 7)})
        assert graph.inputs[0].shape == (Dim("batch"), 7)
        assert error_of_range(run(graph, [x]), [x @ kernel + bias]) < 1e-5


def test_inputs_and_repeated_tensors_as_outputs(tmp_path: Path) -> None:
    a = keras.Input((7,), name="a")
    y = L.Dense(5, name="d")(a)
    model = keras.Model(a, [y, a, y])
    randomise(model)
    model.save(tmp_path / "m.keras")
    graph = load_graph(tmp_path / "m.keras")
    x = rand(2, 7)
    assert error_of_range(run(graph, [x]), outputs(model, x)) < 1e-5
    assert len({v.name for v in (*graph.outputs, *graph.inputs)}) == 4


def test_the_call_that_gives_an_output_has_the_name_of_its_layer(tmp_path: Path) -> None:
    """And not the first call: what is compared by that name later is the output."""
    a = keras.Input((7,), name="a")
    d = L.Dense(7, name="d")
    model = keras.Model(a, L.ReLU(name="r")(d(d(d(a) + 1.5) * 2.0)))
    model = keras.Model(a, [d(model.output), model.output])
    randomise(model)
    model.save(tmp_path / "m.keras")
    graph, x = load_graph(tmp_path / "m.keras"), rand(2, 7)
    assert [v.name for v in graph.outputs] == model.output_names == ["d", "r"]
    assert error_of_range(run(graph, [x]), outputs(model, x)) < 1e-5
    report = convcore.convert(tmp_path / "m.keras", "keras", tmp_path / "again.keras").report
    assert report.ok and report.first_divergence in (None, "")


def test_layers_called_by_keyword(tmp_path: Path) -> None:
    a = keras.Input((5, 7), name="a")
    inner = keras.Sequential([keras.Input((5, 7)), L.Dense(2, name="d")], name="inner")
    model = keras.Model(a, inner(inputs=L.ReLU(name="r")(inputs=a)))
    randomise(model)
    model.save(tmp_path / "m.keras")
    x = rand(2, 5, 7)
    assert error_of_range(run(load_graph(tmp_path / "m.keras"), [x]), outputs(model, x)) < 1e-5


def test_integer_and_double_inputs(tmp_path: Path) -> None:
    a, b = keras.Input((7,), dtype="int32", name="a"), keras.Input((7,), dtype="float64", name="b")
    model = keras.Model([a, b], [L.Add(name="add")([L.Rescaling(0.5)(a), L.Dense(7)(b)]), L.Add(name="ints")([a, a])])
    randomise(model)
    model.save(tmp_path / "m.keras")
    x = [np.arange(14, dtype=np.int32).reshape(2, 7), rand(2, 7).astype(np.float64)]
    assert error_of_range(run(load_graph(tmp_path / "m.keras"), x), outputs(model, *x)) < 1e-5


def test_live_model_reads_like_its_file(tmp_path: Path) -> None:
    model = nested_model()
    x = [rand(2, 7), rand(2, 7, seed=4)]
    graph = load_graph(model)
    assert error_of_range(run(graph, x), outputs(model, *x)) < 1e-5
    assert str(graph).replace("live", "keras-zip") == str(load_graph(saved_forms(model, tmp_path)["keras"][0]))
    runtime = pytest.importorskip("convcore_keras.runtime").open_runtime(model)
    assert error_of_range(runtime.run(x), outputs(model, *x)) == 0
    assert runtime.inputs == ("a", "b")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64", "float16"])
def test_dtype_policies(policy: str, tmp_path: Path) -> None:
    """Casts where Keras casts; half precision agrees as far as it is precise (8 or 11 bits, some tens of roundings)."""
    a = keras.Input((11, 7, 3), name="a", dtype="float32")
    y = L.Conv2D(5, 3, padding="same", dtype=policy)(a)
    y = L.BatchNormalization(dtype=policy)(y)
    y = L.ReLU(dtype=policy)(y)
    y = L.GlobalAveragePooling2D(dtype=policy)(L.LayerNormalization(dtype=policy)(y))
    model = keras.Model(a, [L.Dense(4, dtype=policy, name="end")(y), L.Dense(2, dtype="float32", name="last")(y)])
    randomise(model)
    model.save(tmp_path / "m.keras")
    x = rand(2, 11, 7, 3)
    graph = load_graph(tmp_path / "m.keras")
    got = run(graph, [x])
    want = [np.asarray(t.detach().to(dtype=__import__("torch").float64)) for t in model(x, training=False)]
    assert [str(v.dtype) for v in graph.outputs] == [policy.removeprefix("mixed_"), "float32"]
    precision = {"mixed_float16": 2e-3, "float16": 2e-3, "mixed_bfloat16": 2e-2, "float64": 1e-5}[policy]
    assert error_of_range([g.astype(np.float64) for g in got], want) < 4 * precision


# ---- refusals
def spliced(model: Any, path: Path, change: Any) -> Path:
    """The model's ``.keras`` with a changed ``config.json``."""
    import zipfile

    model.save(path.with_suffix(".orig.keras"))
    with zipfile.ZipFile(path.with_suffix(".orig.keras")) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                change(config["config"])
                data = json.dumps(config).encode()
            new.writestr(name, data)
    return path


def chain() -> Any:
    a = keras.Input((5, 7), name="a")
    y = L.Dense(3, name="one")(a)
    y = L.Flatten(name="flat")(y)
    y = L.Dense(2, name="two")(y)
    return keras.Model(a, y, name="chain")


def layer_of(config: dict[str, Any], name: str) -> dict[str, Any]:
    return next(x for x in config["layers"] if x["name"] == name)


def test_unknown_layers_list_every_problem_and_not_their_followers(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        layer_of(config, "flat").update(class_name="Squash", module="mypkg.layers", registered_name="mypkg>Squash")
        layer_of(config, "two")["config"]["activation"] = "wiggle"

    graph = load_graph(spliced(chain(), tmp_path / "m.keras", change))
    assert [(p.layer, p.type, p.code) for p in problems(graph)] == [
        ("flat", "mypkg>Squash", "custom_layer"), ("two", "Dense", "unsupported_activation"),
    ]  # fmt: skip
    model = keras.Sequential([keras.Input((5, 7)), L.ReLU(name="one"), L.Flatten(name="flat"), L.Activation("tanh", name="last")])
    follow = load_graph(spliced(model, tmp_path / "n.keras", lambda c: c["layers"][1].update(class_name="What")))
    assert [p.layer for p in problems(follow)] == ["one"]
    assert [(n.origin.layer, n.attrs.get("follows", False)) for n in follow if n.op == "opaque"] == [
        ("one", False), ("flat", True),
    ]  # fmt: skip
    mapped = load_graph(
        tmp_path / "m.keras",
        overrides={
            "flat": lambda g, n: g.b.reshape(n.inputs[0], shape=(n.inputs[0].shape[0], 15)),
            "two": lambda g, n: n.inputs[0],
        },
    )
    assert problems(mapped) == []


@pytest.mark.parametrize("attribute", ["mystery", "data_formatt"])
def test_an_attribute_with_unknown_meaning_is_a_problem(attribute: str, tmp_path: Path) -> None:
    change = lambda c: layer_of(c, "one")["config"].update({attribute: 5})  # noqa: E731
    found = problems(load_graph(spliced(chain(), tmp_path / "m.keras", change)))
    assert [(p.layer, p.code) for p in found] == [("one", "unknown_attribute")] and attribute in found[0].why


def test_weights_that_do_not_fit_the_configuration(tmp_path: Path) -> None:
    change = lambda c: layer_of(c, "one")["config"].update(units=4)  # noqa: E731
    with pytest.raises(
        BadFileError,
        match=r"(?s)weights do not fit.*layer 'one' \(Dense\): kernel should have shape \?x4, the file has 7x3.*bias",
    ):
        load_graph(spliced(chain(), tmp_path / "m.keras", change))


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        args = layer_of(config, "one")["inbound_nodes"][0]["args"]
        args[0]["config"]["keras_history"] = ["flat", 0, 0]

    with pytest.raises(BadFileError, match="cycle"):
        load_graph(spliced(chain(), tmp_path / "m.keras", change))


def test_a_layer_called_in_training_mode_is_refused(tmp_path: Path) -> None:
    a = keras.Input((7,), name="a")
    y = L.Dropout(0.5, name="mc")(a, training=True)
    model = keras.Model(a, L.Dense(3, name="d")(y))
    model.save(tmp_path / "m.keras")
    found = problems(load_graph(tmp_path / "m.keras"))
    assert [(p.layer, p.code) for p in found] == [("mc", "unsupported_call")]


def test_quantised_layers_are_refused_by_name() -> None:
    """Dense in all modes loads, an Embedding of int4 does not."""
    found = problems(load_graph(ERAS / "misc3" / "q_int4.keras"))
    assert [(p.type, p.code) for p in found] == [("Embedding", "unsupported_quantization")] and "int4" in found[0].why
    assert not problems(load_graph(ERAS / "misc3" / "q_float8.keras"))


def test_int8_layers_load() -> None:
    graph = load_graph(ERAS / "misc3" / "q_int8.keras")
    assert not [p for p in problems(graph) if p.type == "Dense"] and any(n.op == "dequantize" for n in graph)


def test_operations_are_not_layers_of_the_same_name(tmp_path: Path) -> None:
    """``keras.ops.add`` is stored as class Add: its arguments are not a merge layer's."""
    a = keras.Input((7,), name="a")
    keras.Model(a, keras.ops.subtract(2.0, keras.ops.add(a, 2.0))).save(tmp_path / "m.keras")
    x = np.linspace(-1, 1, 14, dtype=np.float32).reshape(2, 7)
    assert np.array_equal(run(load_graph(tmp_path / "m.keras"), [x])[0], 2 - (x + 2))
    i = keras.Input((7,), name="i", dtype="int32")
    keras.Model(i, keras.ops.add(i, 2.5)).save(tmp_path / "m.keras")
    (y,) = run(load_graph(tmp_path / "m.keras"), [np.arange(14, dtype=np.int32).reshape(2, 7)])
    assert y.dtype == np.float32 and np.array_equal(y, np.arange(14).reshape(2, 7) + 2.5)
    keras.Model(i, keras.ops.gcd(i, 4)).save(tmp_path / "m.keras")
    found = problems(load_graph(tmp_path / "m.keras"))
    assert [p.type for p in found] == ["ops.Gcd"] and "no target" in found[0].why


def test_only_what_the_outputs_need_is_built(tmp_path: Path) -> None:
    """A shared layer's calls in other models are stored too, and an unknown layer there is nobody's problem."""

    def change(config: dict[str, Any]) -> None:
        config["output_layers"] = ["one", 0, 0]
        layer_of(config, "two").update(class_name="Nobody")

    graph = load_graph(spliced(chain(), tmp_path / "m.keras", change))
    assert problems(graph) == [] and [v.name for v in graph.outputs] == ["one"]
    assert [n.op for n in graph] == ["linear"]


# ---- hooks
def test_identify(tmp_path: Path) -> None:
    full, text, other = ERAS / "tf215" / "convs.keras", ERAS / "tf215" / "convs.json", tmp_path / "x.onnx"
    other.write_bytes(b"\x08\x08")
    broken = tmp_path / "b.keras"
    broken.write_bytes(b"not a model")
    score = lambda s: getattr(plugin.convcore_identify(s), "score", 0)  # noqa: E731
    assert score(full) > 90 and score(str(text)) >= 90 and score((text, ERAS / "tf215" / "convs.weights.h5")) >= 90
    assert score(other) == 0 and score(tmp_path / "missing.onnx") == 0 and score(42) == 0
    assert 0 < score(broken) < 50
    assert score(chain()) > 90 and score(keras.Sequential([L.Dense(1)])) > 90


def test_options_and_framework() -> None:
    options = {o.name: o for o in plugin.convcore_options("keras")}
    assert [*options] == [
        "flat", "keep_custom", "data_format", "kernels", "explicit_states", "custom",
        "run_custom_code", "custom_objects", "lambdas",
    ]  # fmt: skip
    option, custom, run, objects, lambdas = (
        options[n] for n in ("kernels", "custom", "run_custom_code", "custom_objects", "lambdas")
    )
    assert option.name == "kernels" and set(option.choices) == {"theano", "tensorflow"}
    assert [(o.name, o.type) for o in (custom, run, lambdas)] == [(n, list) for n in ("custom", "run_custom_code", "lambdas")]
    assert (objects.name, objects.type) == ("custom_objects", object)
    assert plugin.convcore_options("onnx") == []
    (framework,) = plugin.convcore_frameworks()
    assert framework.name == "keras"
    assert [stage for stage in ("load", "emit", "runtime") if host().can("keras", stage)] == ["load", "emit", "runtime"]


def test_reading_imports_no_framework() -> None:
    code = (
        "import sys; from convcore_keras.load import load; import convcore_keras.plugin as p\n"
        "from convcore.hookspecs import LoadRequest; from convcore_keras.rules import RULES\n"
        f"g = load(LoadRequest({str(ERAS / 'tf215' / 'convs.keras')!r}, rules=RULES)); p.convcore_identify(g)\n"
        "bad = {'keras', 'tensorflow', 'torch', 'jax', 'tf_keras'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(filter(None, sys.path))})


def test_the_plugin_module_is_light() -> None:
    code = (
        "import sys; before = set(sys.modules); import convcore_keras.plugin\n"
        "bad = {'h5py', 'numpy', 'convcore.rules', 'convcore.opset', 'convcore_keras.files'} & (set(sys.modules) - before)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(filter(None, sys.path))})


def test_rules_are_data() -> None:
    from convcore_keras.rules import RULES

    rows = RULES.to_json()
    json.dumps(rows)
    assert len([r for r in rows if "op" in r and r["direction"] == "both"]) > 50


def test_the_cost_per_layer_does_not_grow(tmp_path: Path) -> None:
    """A chain of 3,000 layers loads in the order of a second (quadratic code would take minutes)."""
    import time

    def layer(i: int) -> dict[str, Any]:
        before = {
            "class_name": "__keras_tensor__",
            "config": {"shape": [None, 3], "dtype": "float32", "keras_history": [f"r{i - 1}", 0, 0]},
        }
        return {
            "module": "keras.layers", "class_name": "ReLU", "config": {"name": f"r{i}"}, "registered_name": None, "name": f"r{i}",
            "inbound_nodes": [{"args": [before], "kwargs": {}}],
        }  # fmt: skip

    n = 3000
    first = {
        "module": "keras.layers", "class_name": "InputLayer",
        "config": {"batch_shape": [None, 3], "dtype": "float32", "name": "r0"},
        "registered_name": None, "name": "r0", "inbound_nodes": [],
    }  # fmt: skip
    config = {
        "name": "long", "layers": [first, *(layer(i) for i in range(1, n + 1))], "input_layers": [["r0", 0, 0]],
        "output_layers": [[f"r{n}", 0, 0]],
    }  # fmt: skip
    (tmp_path / "m.json").write_text(
        json.dumps({"module": "keras.src.models.functional", "class_name": "Functional", "config": config})
    )
    with h5py.File(tmp_path / "m.weights.h5", "w") as f:
        f.create_group("layers")
    start = time.process_time()
    graph = load_graph(tmp_path / "m.json", tmp_path / "m.weights.h5")
    assert len(graph) == n and len(graph.layers) == n + 1
    assert time.process_time() - start < 20


@pytest.mark.parametrize("sequential", [True, False])
def test_live_model_judges_its_conversion(sequential: bool, tmp_path: Path) -> None:
    """``check="native"`` runs the live model itself; a Sequential has no ``output_names`` in Keras 3."""
    layers = keras.layers
    if sequential:
        model = keras.Sequential([keras.Input((7, 3)), layers.Conv1D(5, 2), layers.Flatten(), layers.Dense(2)])
    else:
        x = keras.Input((7, 3))
        y = layers.Conv1D(5, 2)(x)
        model = keras.Model(x, [layers.Flatten()(y), layers.Activation("tanh")(y)])
    done = convcore.convert(model, "onnx", tmp_path / "m.onnx", check="native")
    assert done.report.ok and "live" in done.report.runtimes[0]

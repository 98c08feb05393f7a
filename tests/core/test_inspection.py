"""``convcore inspect`` shows nesting with call numbers and what training needs, and ``.ccir`` keeps both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.cli import main
from convcore.inspection import layer_tree, walk


def rows(model: Any) -> list[tuple[int, str, str, int, int]]:
    return [(d, b.scope.name, b.scope.type, b.scope.call, b.calls) for d, b in walk(layer_tree(model.graph), 0)]


def facts(capsys: pytest.CaptureFixture[str], path: Path) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["inspect", str(path), "--json"]) == 0
    out: dict[str, Any] = json.loads(capsys.readouterr().out)
    return out


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A nested model, with a frozen layer and a dropout in it, called twice."""
    keras = pytest.importorskip("keras")
    L = keras.layers
    i = keras.Input((7,), name="i")
    h = L.Dense(5, name="d")(i)
    h = L.BatchNormalization(momentum=0.875, name="n", trainable=False)(h)
    inner = keras.Model(i, L.Dropout(0.375, seed=3, name="drop")(h), name="enc")
    a, b = keras.Input((7,), name="a"), keras.Input((7,), name="b")
    out = L.Dense(3, name="head", trainable=False)(L.Concatenate(name="cat")([inner(a), inner(b)]))
    keras.Model([a, b], out, name="twins").save(tmp_path / "twins.keras")
    return tmp_path / "twins.keras"


def test_shared_nested_keras_models_print_as_a_tree(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = convcore.load(shared)
    inside = [
        (1, name, type_, call, 2)
        for call in range(2)
        for name, type_ in (("d", "Dense"), ("n", "BatchNormalization"), ("drop", "Dropout"))
    ]
    assert rows(model) == [
        (0, "a", "InputLayer", 0, 1), (0, "b", "InputLayer", 0, 1),
        (0, "enc", "Functional", 0, 2), *inside[:3], (0, "enc", "Functional", 1, 2), *inside[3:],
        (0, "cat", "Concatenate", 0, 1), (0, "head", "Dense", 0, 1),
    ]  # fmt: skip
    assert [x.name for x in model.layers] == ["a", "b", "enc", "cat", "head"]
    assert main(["inspect", str(shared)]) == 0
    text = capsys.readouterr().out
    assert "enc (call 1 of 2)" in text and "  drop (call 2 of 2)  Dropout" in text
    kept = convcore.load(model.save(shared.with_suffix(".ccir")))
    assert rows(kept) == rows(model) and kept.layers == model.layers


def test_training_facts_of_a_keras_model_are_in_the_json(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = facts(capsys, shared)
    enc = [x for x in data["tree"] if x["name"] == "enc"]
    assert [(x["call"], x["calls"]) for x in enc] == [(1, 2), (2, 2)]
    norm, drop = enc[0]["layers"][1:]
    assert drop["training"] == [{"op": "dropout", "rate": 0.375, "kind": "bernoulli", "seed": 3}]
    assert norm["training"] == [{"op": "batch_norm", "momentum": 0.875}]
    assert (norm["config"]["trainable"], drop["config"]["trainable"]) == (False, True) and drop["config"]["rate"] == 0.375
    weights = {w["name"]: (w["role"], w["trainable"]) for w in data["weights"]}
    assert weights == {
        "enc/d/kernel": ("parameter", True), "enc/d/bias": ("parameter", True),
        "enc/n/gamma": ("parameter", False), "enc/n/beta": ("parameter", False),
        "enc/n/moving_mean": ("buffer", False), "enc/n/moving_variance": ("buffer", False),
        "head/kernel": ("parameter", False), "head/bias": ("parameter", False),
    }  # fmt: skip
    kept = facts(capsys, convcore.load(shared).save(shared.with_suffix(".ccir")))
    assert kept["tree"] == data["tree"] and kept["weights"] == data["weights"]


def test_a_frozen_nested_model_freezes_what_is_in_it(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    L = keras.layers
    inner = keras.Sequential([keras.Input((7,)), L.Dense(5, name="d")], name="inner")
    inner.trainable = False
    wrapped = L.TimeDistributed(L.Dense(3, name="w"), name="steps")
    wrapped.layer.trainable = False
    model = keras.Sequential([keras.Input((7,)), inner, L.Reshape((1, 5)), wrapped, L.Dense(2, name="free")])
    model.save(tmp_path / "m.keras")
    graph = convcore.load(tmp_path / "m.keras").graph
    assert {v.name: v.trainable for v in graph.weights.values() if v.source and v.name.endswith("kernel")} == {
        "inner/d/kernel": False, "steps/w/kernel": False, "free/kernel": True,
    }  # fmt: skip
    assert {v.role for v in graph.weights.values() if v.source} == {"parameter"}


def _onnx(path: Path, nodes: list[Any], weights: dict[str, Any], out: str) -> Path:
    helper = pytest.importorskip("onnx.helper")
    import onnx

    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, ["n", 5])],
        [helper.make_tensor_value_info(out, 1, None)],
        [onnx.numpy_helper.from_array(np.asarray(a, np.float32), k) for k, a in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


def _block(prefix: str, number: str, x: str, y: str) -> list[Any]:
    """As torch.onnx names what a module holds; later nodes of a kind get a number."""
    from onnx.helper import make_node

    return [
        make_node("MatMul", [x, "w"], [f"{y}m"], name=f"{prefix}/fc.0/MatMul{number}"),
        make_node("Add", [f"{y}m", "b"], [f"{y}a"], name=f"{prefix}/fc.0/Add{number}"),
        make_node("Relu", [f"{y}a"], [y], name=f"{prefix}/act/Relu{number}"),
    ]


WEIGHTS = {"w": np.eye(5), "b": np.ones(5)}


def test_slashed_onnx_names_print_as_a_tree_with_calls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from onnx.helper import make_node

    nodes = [
        *_block("/net/enc", "", "x", "p"),
        *_block("/net/enc", "_1", "p", "q"),
        make_node("Softmax", ["q"], ["y"], name="/Softmax"),
    ]
    path = _onnx(tmp_path / "m.onnx", nodes, WEIGHTS, "y")
    model = convcore.load(path, fuse=False)
    assert [x.name for x in model.layers] == [n.name for n in nodes]
    assert rows(model) == [
        (0, "/net", "", 0, 1),
        (1, "enc", "", 0, 2),
        (2, "fc.0", "", 0, 2), (3, "MatMul", "MatMul", 0, 1), (3, "Add", "Add", 0, 1),
        (2, "act", "", 0, 2), (3, "Relu", "Relu", 0, 1),
        (1, "enc", "", 1, 2),
        (2, "fc.0", "", 1, 2), (3, "MatMul_1", "MatMul", 0, 1), (3, "Add_1", "Add", 0, 1),
        (2, "act", "", 1, 2), (3, "Relu_1", "Relu", 0, 1),
        (0, "/Softmax", "Softmax", 0, 1),
    ]  # fmt: skip
    assert main(["inspect", str(path)]) == 0
    assert "  enc (call 2 of 2)" in capsys.readouterr().out
    kept = convcore.load(model.save(tmp_path / "m.ccir"))
    assert rows(kept) == rows(model) and kept.layers == model.layers


def test_blocks_with_weights_of_their_own_are_not_calls_of_one(tmp_path: Path) -> None:
    nodes = [*_block("/enc", "", "x", "p"), *_block("/enc", "_1", "p", "q")]
    for node, name in zip(nodes[3:5], ("v", "c")):
        node.input[1] = name
    model = convcore.load(_onnx(tmp_path / "m.onnx", nodes, {**WEIGHTS, "v": np.eye(5) * 2, "c": np.zeros(5)}, "q"))
    assert {calls for *_, calls in rows(model)} == {1}


@pytest.mark.parametrize(
    "names",
    [("a", "a/b", "c"), ("a//b", "/", "c/"), ("x/" * 40 + "y", "p", "q"), ("a/b/c", "a/b", "a/b/d/e")],
    ids=["a node is no block", "empty parts", "deep", "a node in a block"],
)
def test_names_that_are_no_nesting_stay_whole(names: tuple[str, str, str], tmp_path: Path) -> None:
    nodes = _block("", "", "x", "y")
    for node, name in zip(nodes, names):
        node.name = name
    model = convcore.load(_onnx(tmp_path / "m.onnx", nodes, WEIGHTS, "y"), fuse=False)
    assert [x.name for x in model.layers] == list(names)
    for name in names:
        assert model[name] is not None


def test_training_facts_of_an_onnx_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from onnx.helper import make_node

    norm = ["s", "b", "m", "v"]
    nodes = [
        make_node("BatchNormalization", ["x", *norm], ["n"], name="norm", momentum=0.75),
        make_node("Dropout", ["n", "ratio"], ["d"], name="drop", seed=5),
        make_node("Dropout", ["d"], ["y"], name="again"),
    ]
    weights = {**{k: np.full(5, i + 1) for i, k in enumerate(norm)}, "ratio": np.asarray(0.25)}
    data = facts(capsys, _onnx(tmp_path / "m.onnx", nodes, weights, "y"))
    assert [b["training"][0] for b in data["tree"]] == [
        {"op": "batch_norm", "momentum": 0.75},
        {"op": "dropout", "rate": 0.25, "kind": "bernoulli", "seed": 5},
        {"op": "dropout", "rate": 0.5, "kind": "bernoulli"},
    ]
    assert {w["name"]: (w["role"], w["trainable"]) for w in data["weights"]} == {
        "s": ("parameter", True), "b": ("parameter", True), "m": ("buffer", False), "v": ("buffer", False),
    }  # fmt: skip


def test_training_facts_of_a_caffe_net(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "n.prototxt").write_text("""
        layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 7 } } }
        layer { name: "c" type: "InnerProduct" bottom: "d" top: "c" param { lr_mult: 0 } param { lr_mult: 2 }
          inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
        layer { name: "n" type: "BatchNorm" bottom: "c" top: "n"
          batch_norm_param { moving_average_fraction: 0.875 use_global_stats: true } }
        layer { name: "r" type: "Dropout" bottom: "n" top: "n" dropout_param { dropout_ratio: 0.25 } }
    """)
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "n.prototxt"), "--init-weights", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert {b["name"]: b.get("training") for b in data["tree"]} == {
        "d": None, "c": None, "n": [{"op": "batch_norm", "momentum": 0.875}],
        "r": [{"op": "dropout", "rate": 0.25, "kind": "bernoulli"}],
    }  # fmt: skip
    assert {w["name"]: (w["role"], w["trainable"]) for w in data["weights"]} == {
        "c/weight": ("parameter", False), "c/bias": ("parameter", True),
        "n/mean": ("buffer", False), "n/variance": ("buffer", False),
    }  # fmt: skip


def test_what_is_inside_branches_and_loops_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights of a branch, of a loop in a branch, and a weight that branches take from outside, once each."""
    onnx = pytest.importorskip("onnx")
    from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

    def weight(name: str, *shape: int) -> Any:
        return onnx.numpy_helper.from_array(np.ones(shape, np.float32), name)

    y = make_tensor_value_info("h", 1, [2, 5])
    step = make_graph(
        [make_node("MatMul", ["s", "inner"], ["t"], name="turn"), make_node("Identity", ["c"], ["d"])],
        "body",
        [make_tensor_value_info("i", 7, []), make_tensor_value_info("c", 9, []), make_tensor_value_info("s", 1, [2, 5])],
        [make_tensor_value_info("d", 9, []), make_tensor_value_info("t", 1, [2, 5])],
        [weight("inner", 5, 5)],
    )
    loop = [make_node("Add", ["x", "shared"], ["a"]), make_node("Loop", ["n", "", "a"], ["h"], name="loop", body=step)]
    then = make_graph(loop, "then", [], [y])
    other = make_graph(
        [make_node("Mul", ["x", "own"], ["b"], name="scale"), make_node("Add", ["b", "shared"], ["h"])], "else", [], [y],
        [weight("own", 2, 5)],
    )  # fmt: skip
    graph = make_graph(
        [make_node("If", ["p"], ["y"], name="choose", then_branch=then, else_branch=other)], "g",
        [make_tensor_value_info("p", 9, []), make_tensor_value_info("x", 1, [2, 5]), make_tensor_value_info("n", 7, [])],
        [make_tensor_value_info("y", 1, [2, 5])], [weight("shared", 5)],
    )  # fmt: skip
    model = make_model(graph, opset_imports=[make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, tmp_path / "m.onnx")
    found = convcore.load(tmp_path / "m.onnx")
    assert found.num_params == 25 + 10 + 5 and [(x.name, x.params) for x in found.layers] == [("choose", 40)]
    tree = {b.scope.name: (d, b.params) for d, b in walk(layer_tree(found.graph), 0)}
    assert tree["choose"] == (0, 40) and tree["then"] == (1, 30) and tree["else"] == (1, 15)
    assert tree["loop"] == (2, 25) and tree["turn"] == (4, 25) and tree["scale"] == (2, 10)
    data = facts(capsys, tmp_path / "m.onnx")
    assert data["parameters"] == 40 and {w["name"] for w in data["weights"]} == {"shared", "own", "inner"}
    done = convcore.convert(tmp_path / "m.onnx", "onnx", tmp_path / "n.onnx")
    assert done.report.source["parameters"] == "40" and convcore.load(tmp_path / "n.onnx").num_params == 40


def test_a_module_that_two_branches_use_is_counted_once(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    class Choice(torch.nn.Module):  # type: ignore[name-defined,misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = torch.nn.Linear(3, 5), torch.nn.Linear(3, 5)

        def forward(self, x: Any) -> Any:
            return torch.cond(x.sum() > 0, lambda x: self.a(x), lambda x: self.b(x) * self.a(x), (x,))

    torch.export.save(torch.export.export(Choice(), (torch.randn(2, 3),)), tmp_path / "m.pt2")
    found = convcore.load(tmp_path / "m.pt2")
    assert found.num_params == 2 * (3 * 5 + 5)
    assert [b.params for _, b in walk(layer_tree(found.graph), 0)] == [20, 40]


def test_weights_of_a_custom_layer_are_counted(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")

    class Own(keras.layers.Layer):  # type: ignore[name-defined,misc,unused-ignore]
        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(shape[-1], 5), name="w")
            self.inner = keras.layers.Dense(3)
            self.inner.build((None, 5))

        def call(self, x: Any) -> Any:
            return self.inner(keras.ops.matmul(x, self.w))

    i = keras.Input((7,))
    model = keras.Model(i, keras.layers.Dense(2)(Own(name="own")(i)))
    for suffix in (".keras", ".h5"):
        model.save(tmp_path / f"m{suffix}")
        found = convcore.load(tmp_path / f"m{suffix}")
        assert found.num_params == model.count_params() == 61 and {x.name: x.params for x in found.layers}["own"] == 53

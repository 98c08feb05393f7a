"""``--simplify``: fewer nodes, the same results by onnxruntime; ``convcore diff`` says what changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.cli import main
from convcore.diff import diff

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
from onnx import helper, numpy_helper

DATA = Path(__file__).parent.parent / "data" / "composites"
N = helper.make_node
R = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return R.normal(size=shape).astype("f4")


def model(
    path: Path, nodes: list[Any], inputs: dict[str, Any], outputs: list[str], weights: dict[str, Any], opset: int = 18
) -> Path:
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(k, 1, s) for k, s in inputs.items()],
        [helper.make_tensor_value_info(k, 1, None) for k in outputs],
        [numpy_helper.from_array(np.asarray(a), k) for k, a in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def ran(path: Path, inputs: dict[str, Any]) -> list[Any]:
    return list(ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, inputs))


def ops(path: Path) -> list[str]:
    return [n.op_type for n in onnx.load(path).graph.node if n.op_type != "Constant"]


BN = {"s": normal(4), "b": normal(4), "m": normal(4), "v": np.abs(normal(4)) + 0.5}
CASES: dict[str, tuple[list[Any], dict[str, Any], dict[str, Any], list[str]]] = {
    "batch norm after conv": (
        [N("Conv", ["x", "w"], ["c"]), N("BatchNormalization", ["c", "s", "b", "m", "v"], ["y"])],
        {"x": ["n", 3, 7, 5]}, {"w": normal(4, 3, 3, 3), **BN}, ["Conv"],
    ),
    "batch norm after a conv with a bias": (
        [N("Conv", ["x", "w", "c0"], ["c"]), N("BatchNormalization", ["c", "s", "b", "m", "v"], ["y"], epsilon=0.1)],
        {"x": ["n", 3, 7, 5]}, {"w": normal(4, 3, 3, 3), "c0": normal(4), **BN}, ["Conv"],
    ),
    "a reshape of what is made of nothing": (
        [
            N("ConstantOfShape", ["size"], ["f"], value=numpy_helper.from_array(np.float32([1.5]))),
            N("Reshape", ["f", "to"], ["r"]), N("Transpose", ["r"], ["t"], perm=[1, 0]), N("Add", ["x", "t"], ["y"]),
        ],
        {"x": ["n", 1, 701, 503]},
        {"size": np.int64([503, 701, 1]), "to": np.int64([503, 701])},
        ["ConstantOfShape", "Flatten", "Transpose", "Add"],
    ),
    "what depends on no input": (
        [N("Mul", ["t", "k"], ["a"]), N("Cast", ["a"], ["d"], to=11), N("Sin", ["d"], ["e"]), N("Cast", ["e"], ["f"], to=1),
         N("Mul", ["x", "f"], ["y"])],
        {"x": ["n", 16]}, {"t": normal(16), "k": np.float32(0.1)}, ["Mul"],
    ),
    "product and sum": (
        [N("MatMul", ["x", "w"], ["p"]), N("Add", ["p", "b"], ["y"])],
        {"x": ["n", 4]}, {"w": normal(4, 3), "b": normal(3)}, ["Gemm"],
    ),
    "addend after a conv": (
        [N("Conv", ["x", "w"], ["c"]), N("Add", ["c", "t"], ["y"])],
        {"x": ["n", 3, 7, 5]}, {"w": normal(4, 3, 3, 3), "t": normal(4, 1, 1)}, ["Conv"],
    ),
    "factor and addend after a conv with a bias": (
        [N("Conv", ["x", "w", "c0"], ["c"]), N("Mul", ["k", "c"], ["m"]), N("Sub", ["t", "m"], ["y"])],
        {"x": ["n", 3, 7, 5]}, {"w": normal(4, 3, 3, 3), "c0": normal(4), "k": normal(1, 4, 1, 1), "t": normal(4, 1, 1)},
        ["Conv"],
    ),
    "factor and addend behind transposes, a bias of zeros": (
        [N("Conv", ["x", "w", "zero"], ["c"]), N("Transpose", ["c"], ["t1"], perm=[0, 2, 3, 1]), N("Mul", ["t1", "k"], ["m"]),
         N("Transpose", ["m"], ["t2"], perm=[2, 1, 0, 3]), N("Add", ["t2", "t"], ["y"])],
        {"x": ["n", 3, 7, 5]}, {"w": normal(4, 3, 3, 3), "k": normal(4), "t": normal(1, 1, 4), "zero": np.zeros(4, "f4")},
        ["Conv", "Transpose"],
    ),
    "a factor for all behind heads split off": (
        [N("MatMul", ["x", "w"], ["p"]), N("Add", ["p", "b"], ["q"]), N("Reshape", ["q", "s"], ["r"]),
         N("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3]), N("Div", ["t", "k"], ["y"])],
        {"x": ["n", 5, 4]}, {"w": np.arange(24, dtype="f4").reshape(4, 6), "b": np.arange(6, dtype="f4"),
                             "s": np.array([0, 5, 2, 3]), "k": np.full((1, 1, 1), 3, "f4")},
        ["MatMul", "Add", "Reshape", "Transpose"],
    ),
    "a dense layer whose bias is zeros": (
        [N("MatMul", ["x", "w"], ["p"]), N("Add", ["p", "b"], ["y"])],
        {"x": ["n", 5, 4]}, {"w": normal(4, 3), "b": np.zeros(3, "f4")}, ["MatMul"],
    ),
    "zeros around a conv with pads": (
        [N("Pad", ["x", "p"], ["z"]), N("Conv", ["z", "w"], ["y"], pads=[1, 0, 0, 2])],
        {"x": ["n", 3, 7, 5]}, {"w": normal(4, 3, 3, 3), "p": np.array([0, 0, 2, 0, 0, 0, 1, 3])}, ["Conv"],
    ),
    "reshapes one behind the other": (
        [N("Unsqueeze", ["x", "two"], ["u"]), N("Reshape", ["u", "s"], ["r"]), N("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
         N("Reshape", ["t", "q"], ["v"]), N("Sin", ["v"], ["y"])],
        {"x": ["n", 6, 5]}, {"two": np.array([2]), "s": np.array([-1, 1, 30]), "q": np.array([0, 10, 3])}, ["Reshape", "Sin"],
    ),
    "transposes that cancel": (
        [N("Transpose", ["x"], ["t"], perm=[1, 2, 0]), N("Transpose", ["t"], ["u"], perm=[2, 0, 1]), N("Sin", ["u"], ["y"])],
        {"x": ["n", 3, 5]}, {}, ["Sin"],
    ),
    "transposes one behind the other": (
        [N("Transpose", ["x"], ["t"], perm=[1, 2, 0]), N("Transpose", ["t"], ["y"], perm=[1, 0, 2])],
        {"x": ["n", 3, 5]}, {}, ["Transpose"],
    ),
    "constants of equal elements, operands exchanged": (
        [N("Add", ["x", "h"], ["p"]), N("Add", ["g", "x"], ["q"]), N("Mul", ["p", "q"], ["y"])],
        {"x": ["n", 4]}, {"h": np.float32(2), "g": np.float32(2)}, ["Add", "Mul"],
    ),
    "products with constants": (
        [N("Mul", ["x", "a"], ["p"]), N("Div", ["p", "h"], ["q"]), N("Mul", ["b", "q"], ["y"])],
        {"x": ["n", 4]}, {"a": np.float32(0.1), "h": np.float32(4), "b": normal(4)}, ["Mul"],
    ),
    "concats of concats": (
        [N("Concat", ["x", "z"], ["c"], axis=1), N("Concat", ["z", "c", "x"], ["y"], axis=1)],
        {"x": ["n", 4], "z": ["n", 3]}, {}, ["Concat"],
    ),
    "two directions taken apart and joined": (
        [N("Shape", ["x"], ["s"], start=1, end=2), N("Concat", ["d", "s", "hid"], ["hs"], axis=0),
         N("ConstantOfShape", ["hs"], ["h"]), N("LSTM", ["x", "w", "r", "b", "", "h", "h"], ["l"], direction="bidirectional",
         hidden_size=3), N("Slice", ["l", "i0", "i1", "one"], ["f"]), N("Slice", ["l", "i1", "i2", "one"], ["g"]),
         N("Squeeze", ["f", "one"], ["f1"]), N("Squeeze", ["g", "one"], ["g1"]), N("Concat", ["f1", "g1"], ["m"], axis=2),
         N("Sin", ["m"], ["y"])],
        {"x": ["n", "m", 5]}, {"w": normal(2, 12, 5), "r": normal(2, 12, 3), "b": normal(2, 24), "d": np.array([2]),
         "hid": np.array([3]), "i0": np.array([0]), "i1": np.array([1]), "i2": np.array([2]), "one": np.array([1])},
        ["LSTM", "Transpose", "Reshape", "Sin"],
    ),
    "casts to the own type, computed twice": (
        [N("Cast", ["x"], ["c"], to=1), N("Sin", ["c"], ["p"]), N("Sin", ["x"], ["q"]), N("Add", ["p", "q"], ["y"])],
        {"x": ["n", 4]}, {}, ["Sin", "Add"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_fewer_nodes_of_the_same_meaning(name: str, tmp_path: Path) -> None:
    nodes, inputs, weights, left = CASES[name]
    path = model(tmp_path / "a.onnx", nodes, inputs, ["y"], weights)
    done = convcore.convert(path, "onnx", tmp_path / "b.onnx", simplify=True)
    assert done.report.ok and done.report.verified and ops(tmp_path / "b.onnx") == left
    assert any(s.title == "simplified" and "before" in s.lines[0] for s in done.report.sections)
    feed = {k: normal(*[2 if isinstance(n, str) else n for n in s]) for k, s in inputs.items()}
    for a, b in zip(ran(tmp_path / "b.onnx", feed), ran(path, feed), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * float(np.abs(b).max()))
    kept = onnx.load(tmp_path / "b.onnx").graph.input[0].type.tensor_type.shape.dim[0]
    assert kept.dim_param and not kept.dim_value, "the dynamic axis is kept"


def test_what_others_read_stays(tmp_path: Path) -> None:
    """A convolution whose own result is read, and a normalisation over another axis, are not merged."""
    nodes = [N("Conv", ["x", "w"], ["c"]), N("BatchNormalization", ["c", "s", "b", "m", "v"], ["y"])]
    path = model(tmp_path / "a.onnx", nodes, {"x": ["n", 3, 7, 5]}, ["y", "c"], {"w": normal(4, 3, 3, 3), **BN})
    convcore.convert(path, "onnx", tmp_path / "b.onnx", simplify=True)
    assert ops(tmp_path / "b.onnx") == ["Conv", "BatchNormalization"]


R3 = {"w": normal(4, 3, 3, 3)}
STAYS: dict[str, tuple[list[Any], dict[str, Any], dict[str, Any]]] = {
    "another number around a conv": (
        [N("Pad", ["x", "p", "v"], ["z"]), N("Conv", ["z", "w"], ["y"])],
        {"x": ["n", 3, 7, 5]}, {**R3, "p": np.array([0, 0, 2, 0, 0, 0, 1, 3]), "v": np.float32(1)},
    ),
    "channels put around a conv": (
        [N("Pad", ["x", "p"], ["z"]), N("Conv", ["z", "w"], ["y"])],
        {"x": ["n", 2, 7, 5]}, {**R3, "p": np.array([0, 1, *[0] * 6])},
    ),
    "a conv's input cropped": (
        [N("Pad", ["x", "p"], ["z"]), N("Conv", ["z", "w"], ["y"])],
        {"x": ["n", 3, 7, 5]}, {**R3, "p": np.array([0, 0, -1, *[0] * 5])},
    ),
    "an addend that is not per channel": (
        [N("Conv", ["x", "w"], ["c"]), N("Add", ["c", "t"], ["y"])], {"x": ["n", 3, 7, 6]}, {**R3, "t": normal(4)},
    ),
    "a factor that is not finite": (
        [N("Conv", ["x", "w"], ["c"]), N("Mul", ["c", "t"], ["y"])], {"x": ["n", 3, 7, 5]}, {**R3, "t": np.float32(np.inf)},
    ),
    "a number divided by a conv": (
        [N("Conv", ["x", "w"], ["c"]), N("Div", ["t", "c"], ["y"])], {"x": ["n", 3, 7, 5]}, {**R3, "t": normal(4, 1, 1)},
    ),
    "a factor after one of two layers of a weight": (
        [N("Conv", ["x", "w"], ["c"]), N("Mul", ["c", "t"], ["p"]), N("Conv", ["x", "w"], ["d"], pads=[1, 1, 1, 1]),
         N("GlobalAveragePool", ["d"], ["q"]), N("Add", ["p", "q"], ["y"])],
        {"x": ["n", 3, 7, 5]}, {**R3, "t": normal(4, 1, 1)},
    ),
    "factors whose product is too large": (
        [N("Mul", ["x", "a"], ["p"]), N("Mul", ["p", "a"], ["y"])], {"x": ["n", 4]}, {"a": np.float32(1e30)},
    ),
    "a division that is not exact": (
        [N("Mul", ["x", "a"], ["p"]), N("Div", ["p", "a"], ["y"])], {"x": ["n", 4]}, {"a": np.float32(3)},
    ),
    "directions in another order": (
        [N("LSTM", ["x", "w", "r"], ["l"], direction="bidirectional", hidden_size=3),
         N("Gather", ["l", "i1"], ["f"], axis=1), N("Gather", ["l", "i0"], ["g"], axis=1),
         N("Concat", ["f", "g"], ["y"], axis=2)],
        {"x": [7, "n", 5]}, {"w": normal(2, 12, 5), "r": normal(2, 12, 3), "i0": np.int64(0), "i1": np.int64(1)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STAYS)
def test_what_is_not_the_same_stays(name: str, tmp_path: Path) -> None:
    nodes, inputs, weights = STAYS[name]
    path = model(tmp_path / "a.onnx", nodes, inputs, ["y"], weights)
    convcore.convert(path, "onnx", tmp_path / "b.onnx", simplify=True, check=False)
    left = ops(tmp_path / "b.onnx")
    assert [op for op in left if op in ("Pad", "Conv", "Mul", "Add", "Div", "LSTM", "Concat")] == [
        n.op_type for n in nodes if n.op_type not in ("GlobalAveragePool", "Gather")
    ]
    feed = {k: normal(*[2 if isinstance(n, str) else n for n in s]) for k, s in inputs.items()}
    for a, b in zip(ran(tmp_path / "b.onnx", feed), ran(path, feed), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_factors_behind_a_reshape_that_are_not_one_stay(tmp_path: Path) -> None:
    """Where the channels were is another axis of the same size."""
    nodes = [N("MatMul", ["x", "w"], ["p"]), N("Reshape", ["p", "s"], ["r"]), N("Mul", ["r", "k"], ["y"])]
    weights = {"w": normal(4, 6), "s": np.array([-1, 1, 6, 6]), "k": normal(6, 1)}
    path = model(tmp_path / "a.onnx", nodes, {"x": ["n", 6, 4]}, ["y"], weights)
    convcore.convert(path, "onnx", tmp_path / "b.onnx", simplify=True, check=False)
    assert sorted(ops(tmp_path / "b.onnx")) == ["MatMul", "Mul", "Reshape"]
    feed = {"x": normal(2, 6, 4)}
    np.testing.assert_allclose(ran(tmp_path / "b.onnx", feed)[0], ran(path, feed)[0], rtol=1e-5, atol=1e-5)


def test_operators_are_simplified_where_they_are_written_again(tmp_path: Path) -> None:
    """ONNX to ONNX, unless that is not wanted; what is another format's keeps its layers."""
    nodes, inputs, weights, left = CASES["batch norm after conv"]
    path = model(tmp_path / "a.onnx", nodes, inputs, ["y"], weights)
    for given, wanted in (({}, left), ({"simplify": False}, ["Conv", "BatchNormalization"]), ({"fuse": False}, None)):
        convcore.convert(path, "onnx", tmp_path / "b.onnx", check=False, **given)
        assert ops(tmp_path / "b.onnx") == (wanted or ["Conv", "BatchNormalization"])
    assert main(["convert", str(path), "-o", str(tmp_path / "c.onnx"), "--no-simplify", "--report", "none"]) == 0
    assert ops(tmp_path / "c.onnx") == ["Conv", "BatchNormalization"]


def test_a_result_keeps_its_name_where_a_node_without_effect_gives_it(tmp_path: Path) -> None:
    nodes = [N("Sin", ["x"], ["s"]), N("Identity", ["s"], ["y"]), N("Identity", ["x"], ["z"])]
    path = model(tmp_path / "a.onnx", nodes, {"x": ["n", 4]}, ["y", "z"], {})
    convcore.convert(path, "onnx", tmp_path / "b.onnx")
    made = onnx.load(tmp_path / "b.onnx")
    assert ops(tmp_path / "b.onnx") == ["Sin", "Identity"] and [o.name for o in made.graph.output] == ["y", "z"]


def test_a_condition_of_one_element_is_not_reshaped(tmp_path: Path) -> None:
    branch = [
        helper.make_graph([N(op, ["x"], [op])], op, [], [helper.make_tensor_value_info(op, 1, None)]) for op in ("Sin", "Cos")
    ]
    nodes = [N("ReduceMax", ["x"], ["m"], keepdims=1), N("Greater", ["m", "k"], ["c"]),
             N("If", ["c"], ["y"], then_branch=branch[0], else_branch=branch[1])]  # fmt: skip
    path = model(tmp_path / "a.onnx", nodes, {"x": ["n", 4]}, ["y"], {"k": np.float32(0)})
    convcore.convert(path, "onnx", tmp_path / "b.onnx")
    assert "Reshape" not in ops(tmp_path / "b.onnx")


def test_a_shared_weight_is_written_once(tmp_path: Path) -> None:
    nodes = [N("MatMul", ["x", "w"], ["p"]), N("Relu", ["p"], ["q"]), N("MatMul", ["q", "w"], ["y"])]
    path = model(tmp_path / "a.onnx", nodes, {"x": ["n", 32]}, ["y"], {"w": normal(32, 32)})
    convcore.convert(path, "onnx", tmp_path / "b.onnx", simplify=True)
    assert [i.name for i in onnx.load(tmp_path / "b.onnx").graph.initializer] == ["w"]


@pytest.mark.parametrize(
    "name",
    ["bert__torch-ts_17", "layer_norm__tf2onnx_13", "group_norm__torch-ts_13", "mha-causal__tf2onnx_13", "rotary__torch-ts_17"],
)
@pytest.mark.parametrize("simplify", [False, True])
def test_exports_written_again_run_in_onnxruntime(name: str, simplify: bool, tmp_path: Path) -> None:
    """At the file's own opset, which has few of the composites: what it lacks stays as it was, no node more."""
    source = DATA / f"{name}.onnx"
    opset = onnx.load(source).opset_import[0].version
    convcore.convert(source, "onnx", tmp_path / "b.onnx", opset=opset, simplify=simplify)
    with np.load(DATA / f"{name}.npz") as z:
        feed = {k[3:]: z[k] for k in z if k.startswith("in:")}
        wanted = [z[k] for k in z if k.startswith("out:")]
    for a, b in zip(ran(tmp_path / "b.onnx", feed), wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=4e-6 * max(1, float(np.abs(b).max())))
    assert len(ops(tmp_path / "b.onnx")) <= len(ops(source))


def test_no_fuse_leaves_primitives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = DATA / "gelu-erf__torch-ts_13.onnx"
    assert main(["convert", str(source), "-o", str(tmp_path / "a.onnx"), "--opset", "20"]) == 0
    assert "gelu x 1: /Mul_1 (5 nodes)" in capsys.readouterr().out
    assert main(["convert", str(source), "-o", str(tmp_path / "b.onnx"), "--no-fuse", "--report", "json"]) == 0
    assert "fused" not in json.loads(capsys.readouterr().out)["sections"]
    assert [n.op for n in convcore.load(source).graph] == ["gelu"]
    assert [n.op for n in convcore.load(source, fuse=False).graph] == ["div", "erf", "add", "mul", "mul"]
    assert main(["inspect", str(source), "--no-fuse", "--ir"]) == 0
    assert "erf" in capsys.readouterr().out


# ---- what changed
def test_diff_tells_what_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes, inputs, weights, _ = CASES["batch norm after conv"]
    a = model(tmp_path / "a.onnx", nodes, inputs, ["y"], weights)
    assert main(["diff", str(a), str(a)]) == 0
    assert capsys.readouterr().out.startswith("0 differences; 2 nodes and 2")
    other = [N("Conv", ["x", "w"], ["c"], strides=[2, 1]), N("Relu", ["c"], ["r"]),
             N("BatchNormalization", ["r", *nodes[1].input[1:]], ["y"])]  # fmt: skip
    b = model(tmp_path / "b.onnx", other, inputs, ["y"], {**weights, "w": weights["w"] + 1, "v": weights["v"] * 2})
    assert main(["diff", str(a), str(b), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(c["kind"], c["what"].split()[0]) for c in told] == [
        ("~", "output"),
        ("~", "conv"),
        ("+", "relu"),
        ("~", "batch_norm"),
    ]
    assert "strides=(1, 1), now (2, 1)" in told[1]["why"] and "weight w differs by up to 1" in told[1]["why"]
    assert "weight v differs" in told[3]["why"]
    gone = diff(convcore.load(b, fuse=False).graph, convcore.load(a, fuse=False).graph)
    assert [c.kind for c in gone] == ["~", "~", "-", "~"]


def test_what_is_asked_for_by_name_or_for_training_is_not_simplified_away(tmp_path: Path) -> None:
    nodes = [N("Dropout", ["x"], ["d"], name="drop"), N("Sin", ["d"], ["y"], name="sin")]
    path = model(tmp_path / "a.onnx", nodes, {"x": ["n", 4]}, ["y"], {})
    convcore.convert(path, "onnx", tmp_path / "b.onnx", check=False)
    assert ops(tmp_path / "b.onnx") == ["Sin"]
    convcore.convert(path, "onnx", tmp_path / "c.onnx", check=False, keep_training=True)
    assert ops(tmp_path / "c.onnx") == ["Dropout", "Sin"]
    seen = []

    def drop(e: Any, node: Any) -> None:
        seen.append(node.name)
        e.call("Identity", [e.value(node.inputs[0])], {}, outputs=node.outputs, name=node.name)

    convcore.convert(path, "onnx", tmp_path / "d.onnx", check=False, overrides={"emit": {"drop": drop}})
    assert set(seen) == {"drop"}


def test_zeros_up_to_a_multiple_of_a_size_stay_before_the_convolution(tmp_path: Path) -> None:
    """How many there are is decided when the model runs."""
    nodes = [
        N("Shape", ["x"], ["s"], start=2, end=3), N("Mod", ["s", "four"], ["r"]), N("Sub", ["four", "r"], ["d"]),
        N("Concat", ["none", "d", "zero"], ["p"], axis=0), N("Pad", ["x", "p"], ["g"]), N("Conv", ["g", "w"], ["y"]),
    ]  # fmt: skip
    weights = {"four": np.array([4]), "none": np.zeros(6, np.int64), "zero": np.array([0]), "w": normal(4, 3, 3, 3)}
    path = model(tmp_path / "a.onnx", nodes, {"x": ["n", 3, "h", "w"]}, ["y"], weights)
    convcore.convert(path, "onnx", tmp_path / "b.onnx", check=False)
    for size in (5, 7):
        x = {"x": normal(2, 3, size, 5)}
        np.testing.assert_allclose(ran(tmp_path / "b.onnx", x)[0], ran(path, x)[0], rtol=1e-5, atol=1e-5)


def test_a_factor_brings_no_addend(tmp_path: Path) -> None:
    nodes = [N("MatMul", ["x", "w"], ["c"]), N("Mul", ["c", "k"], ["y"])]
    path = model(tmp_path / "a.onnx", nodes, {"x": ["n", 5, 3]}, ["y"], {"w": normal(3, 7), "k": normal(7)})
    convcore.convert(path, "onnx", tmp_path / "b.onnx", check=False)
    assert ops(tmp_path / "b.onnx") == ["MatMul"]
    x = {"x": normal(2, 5, 3)}
    np.testing.assert_allclose(ran(tmp_path / "b.onnx", x)[0], ran(path, x)[0], rtol=1e-5, atol=1e-5)


LARGE, SMALL = normal(7, 4), normal(7, 4) * 2e-3


@pytest.mark.parametrize(
    ("dtype", "x", "w", "k", "left"),
    [
        ("f2", 1, LARGE, 3e4, True),
        ("f2", 1, SMALL, 1e-4, True),
        ("f2", 1, SMALL * 1e-3, 2.0, False),  # subnormal as they are
        ("f2", 1, LARGE, 0, False),
        ("f4", 1e-20, LARGE * 1e15, 1e30, True),
        ("f4", 1e30, LARGE * 1e-20, 1e-30, True),
        ("f4", 1e-20, LARGE, 1e30, False),
        ("f4", 1, LARGE * 1e-9, 1e-9, False),
    ],
)
def test_factors_that_the_type_of_the_weights_does_not_hold_stay(
    dtype: str, x: float, w: Any, k: float, left: bool, tmp_path: Path
) -> None:
    code = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    weights = {"w": w.astype(dtype), "k": np.asarray(k, dtype)}
    graph = helper.make_graph(
        [N("MatMul", ["x", "w"], ["c"]), N("Mul", ["c", "k"], ["y"])], "g",
        [helper.make_tensor_value_info("x", code, ["n", 7])], [helper.make_tensor_value_info("y", code, None)],
        [numpy_helper.from_array(a, name) for name, a in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "a.onnx")
    convcore.convert(tmp_path / "a.onnx", "onnx", tmp_path / "b.onnx", check=False)
    assert ("Mul" in ops(tmp_path / "b.onnx")) is left
    given = (normal(5, 7) * x).astype(dtype)
    (before,), (after,) = (ran(tmp_path / name, {"x": given}) for name in ("a.onnx", "b.onnx"))
    rounding, finite = np.finfo(dtype).eps * 8, np.isfinite(before)
    span = np.max(np.abs(before), where=finite, initial=0)
    np.testing.assert_allclose(after, before, rtol=rounding, atol=rounding * span)


def test_an_addend_that_the_type_of_the_weights_does_not_hold_stays(tmp_path: Path) -> None:
    """3e38 x + 3e38 and 3e38 added once more may be finite, the sum of both is not."""
    nodes = [N("MatMul", ["x", "w"], ["c"]), N("Add", ["c", "k"], ["d"]), N("Add", ["d", "k"], ["y"])]
    weights = {"w": np.float32([[3e38, 1], [2, 3]]), "k": np.float32([3e38, 1])}
    path = model(tmp_path / "a.onnx", nodes, {"x": ["n", 2]}, ["y"], weights)
    convcore.convert(path, "onnx", tmp_path / "b.onnx", check=False)
    x = {"x": np.float32([[-1, 0]])}
    np.testing.assert_array_equal(ran(tmp_path / "b.onnx", x)[0], ran(path, x)[0])

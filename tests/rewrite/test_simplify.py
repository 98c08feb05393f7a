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
    "what depends on no input": (
        [N("Mul", ["t", "k"], ["a"]), N("Cast", ["a"], ["d"], to=11), N("Sin", ["d"], ["e"]), N("Cast", ["e"], ["f"], to=1),
         N("Mul", ["x", "f"], ["y"])],
        {"x": ["n", 16]}, {"t": normal(16), "k": np.float32(0.1)}, ["Mul"],
    ),
    "product and sum": (
        [N("MatMul", ["x", "w"], ["p"]), N("Add", ["p", "b"], ["y"])],
        {"x": ["n", 4]}, {"w": normal(4, 3), "b": normal(3)}, ["Gemm"],
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
    other = [N("Conv", ["x", "w"], ["c"], strides=[2, 1]), N("Relu", ["c"], ["r"]), *nodes[1:]]
    other[2].input[0] = "r"
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

"""A batch that an exporter froze can be named or changed where nothing depends on it; what depends on it is named.

Judge: onnxruntime on the file as it is, one element of the batch after the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.errors import UsageError

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
from onnx import helper, numpy_helper

N = helper.make_node
RNG = np.random.default_rng(0)


def R(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


def file(
    path: Path, nodes: list[Any], weights: dict[str, Any], shapes: dict[str, Any], out: Any = None,
    declare: dict[str, Any] | None = None,
) -> Path:  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(n, 1, s) for n, s in shapes.items()],
        [helper.make_tensor_value_info("y", 1, out)], [numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()],
        value_info=[helper.make_tensor_value_info(n, 1, s) for n, s in (declare or {}).items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


def run(path: Path, feeds: dict[str, Any]) -> Any:
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feeds)[0]


CNN = [
    N("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3]), N("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"]),
    N("Relu", ["n"], ["r"]), N("AveragePool", ["r"], ["a"], kernel_shape=[2, 2]), N("Flatten", ["a"], ["f"]),
    N("Gemm", ["f", "g"], ["h"]), N("Add", ["h", "k"], ["y"]),
]  # fmt: skip
CNN_WEIGHTS = {"w": R(5, 3, 3, 3), "s": R(5), "b": R(5), "m": R(5), "v": np.abs(R(5)) + 1, "g": R(5 * 4 * 6, 7), "k": R(1, 7)}
HEADS = [  # self-attention as exporters write it, with the frozen batch in no constant
    N("MatMul", ["x", "w"], ["q"]), N("Reshape", ["q", "four"], ["p"]), N("Transpose", ["p"], ["t"], perm=[0, 2, 1, 3]),
    N("Transpose", ["t"], ["u"], perm=[0, 1, 3, 2]), N("MatMul", ["t", "u"], ["o"]), N("Softmax", ["o"], ["z"], axis=-1),
    N("MatMul", ["z", "t"], ["e"]), N("Transpose", ["e"], ["i"], perm=[0, 2, 1, 3]), N("Reshape", ["i", "three"], ["l"]),
    N("ReduceMean", ["l"], ["y"], axes=[1], keepdims=0),
]  # fmt: skip
SEQUENCE = [
    N("Transpose", ["x"], ["t"], perm=[1, 0, 2]), N("GRU", ["t", "w", "r"], ["g"], hidden_size=3),
    N("Squeeze", ["g", "one"], ["s"]), N("Transpose", ["s"], ["y"], perm=[1, 0, 2]),
]  # fmt: skip
SOUND: dict[str, tuple[list[Any], dict[str, Any], tuple[int, ...]]] = {
    "cnn": (CNN, CNN_WEIGHTS, (1, 3, 7, 9)),
    "attention": (HEADS, {"w": R(6, 6), "four": np.array([-1, 5, 2, 3]), "three": np.array([-1, 5, 6])}, (1, 5, 6)),
    "gru": (SEQUENCE, {"w": R(1, 9, 4), "r": R(1, 9, 3), "one": np.array([1])}, (1, 5, 4)),
    "folded and back": (
        [N("Reshape", ["x", "two"], ["a"]), N("MatMul", ["a", "w"], ["b"]), N("Reshape", ["b", "three"], ["y"])],
        {"w": R(6, 4), "two": np.array([-1, 6]), "three": np.array([-1, 5, 4])}, (1, 5, 6),
    ),
    "einsum and gather": (
        [N("Einsum", ["x", "w"], ["e"], equation="bij,jk->bik"), N("Gather", ["e", "i"], ["y"], axis=1)],
        {"w": R(6, 4), "i": np.array([3, 1])}, (1, 5, 6),
    ),
    "class token": (
        [N("Concat", ["token", "x"], ["c"], axis=1), N("Slice", ["c", "a", "b", "ax"], ["y"])],
        {"token": R(1, 1, 6), "a": np.array([0]), "b": np.array([1]), "ax": np.array([1])}, (1, 5, 6),
    ),
}  # fmt: skip


@pytest.mark.parametrize("size", ["batch", 4])
@pytest.mark.parametrize("case", [c for c in SOUND if c != "class token"])
def test_a_batch_that_nothing_depends_on(case: str, size: Any, tmp_path: Path) -> None:
    nodes, weights, shape = SOUND[case]
    path = file(tmp_path / "m.onnx", nodes, weights, {"x": shape})
    shapes = {"x": (size, *shape[1:])}
    done = convcore.convert(path, "onnx", tmp_path / "n.onnx", input_shapes=shapes)
    assert done.report.ok and "nothing depends on them" in str(convcore.load(path, input_shapes=shapes).metadata["notes"])
    x = R(4, *shape[1:])
    want = np.concatenate([run(path, {"x": x[i : i + 1]}) for i in range(4)])
    np.testing.assert_allclose(run(tmp_path / "n.onnx", {"x": x}), want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(convcore.load(path, input_shapes=shapes)(x), want, rtol=1e-4, atol=1e-5)


def test_what_the_file_declares_of_values_between_and_of_outputs_does_not_hold_any_more(tmp_path: Path) -> None:
    path = file(tmp_path / "m.onnx", CNN, CNN_WEIGHTS, {"x": (1, 3, 7, 9)}, (1, 7), {"c": (1, 5, 5, 7), "f": (1, 120)})
    model = convcore.load(path, input_shapes={"x": ("n", 3, 7, 9)})
    assert str(model.outputs[0]) == "y: float32[n, 7]"


def test_a_first_state_of_zeros_is_none(tmp_path: Path) -> None:
    """Any other is for the batch it has."""
    nodes = [SEQUENCE[0], N("GRU", ["t", "w", "r", "", "", "h"], ["g"], hidden_size=3), *SEQUENCE[2:]]
    weights = {"w": R(1, 9, 4), "r": R(1, 9, 3), "one": np.array([1]), "h": np.zeros((1, 1, 3), np.float32)}
    path, x = file(tmp_path / "m.onnx", nodes, weights, {"x": (1, 5, 4)}), R(4, 5, 4)
    convcore.convert(path, "onnx", tmp_path / "n.onnx", input_shapes={"x": ("n", 5, 4)})
    want = np.concatenate([run(path, {"x": x[i : i + 1]}) for i in range(4)])
    np.testing.assert_allclose(run(tmp_path / "n.onnx", {"x": x}), want, rtol=1e-4, atol=1e-5)


def test_a_batch_of_two_inputs(tmp_path: Path) -> None:
    path = file(tmp_path / "m.onnx", [N("Add", ["a", "b"], ["y"])], {}, {"a": (2, 3), "b": (2, 3)})
    for size in ("n", 5):
        shapes = {"a": (size, 3), "b": (size, 3)}
        assert convcore.load(path, input_shapes=shapes)([np.ones((5, 3), np.float32)] * 2).shape == (5, 3)
    with pytest.raises(UsageError, match="fixed size 2 along axis 0"):
        convcore.load(path, input_shapes={"a": ("n", 3)})


FIRST = np.array([0])
MIXES: dict[str, tuple[list[Any], dict[str, Any], tuple[int, ...], str]] = {
    "a size in a constant": ([N("Reshape", ["x", "s"], ["y"])], {"s": np.array([1, 30])}, (1, 5, 6), "Reshape"),
    "all of it in one row": (
        [N("Reshape", ["x", "s"], ["h"]), N("Softmax", ["h"], ["y"], axis=1)],
        {"s": np.array([1, -1])}, (1, 5), "Softmax",
    ),
    "softmax over it": ([N("Softmax", ["x"], ["y"], axis=0)], {}, (1, 5), "Softmax.* works along it"),
    "the mean of it": ([N("ReduceMean", ["x"], ["y"], axes=[0], keepdims=1)], {}, (1, 5), "works along it"),
    "its first": ([N("Gather", ["x", "i"], ["y"], axis=0)], {"i": FIRST}, (1, 5), "picks elements of it"),
    "squeezed": ([N("Squeeze", ["x", "i"], ["y"])], {"i": FIRST}, (1, 5), "Squeeze"),
    "turned round": (
        [N("Slice", ["x", "a", "b", "i", "s"], ["y"])],
        {"a": np.array([-1]), "b": np.array([-(2**31)]), "i": FIRST, "s": np.array([-1])}, (1, 5), "works along it",
    ),
    "a constant for each": ([N("Concat", ["token", "x"], ["y"], axis=1)], {"token": R(1, 1, 6)}, (1, 5, 6), "Concat"),
    "one joined on": ([N("Concat", ["token", "x"], ["y"], axis=0)], {"token": R(1, 6)}, (1, 6), "works along it"),
    "grown": ([N("Pad", ["x", "p"], ["y"], mode="constant")], {"p": np.array([1, 0, 0, 0])}, (1, 6), "works along it"),
    "against itself": ([N("Transpose", ["x"], ["t"]), N("MatMul", ["x", "t"], ["y"])], {}, (1, 6), "MatMul"),
    "an outer sum": ([N("Transpose", ["x"], ["t"]), N("Add", ["x", "t"], ["y"])], {}, (1, 1), "Add"),
    "summed by einsum": ([N("Einsum", ["x", "w"], ["y"], equation="bi,bj->ij")], {"w": R(1, 4)}, (1, 5), "Einsum"),
    "counted": (
        [
            N("Shape", ["x"], ["n"]), N("Cast", ["n"], ["f"], to=1), N("ReduceSum", ["f"], ["s"], keepdims=0),
            N("Div", ["x", "s"], ["y"]),
        ],
        {}, (1, 5), "'n'|size|Shape",
    ),
    "its turn in time": (
        [N("GRU", ["x", "w", "r"], ["y"], hidden_size=3)],
        {"w": R(1, 9, 4), "r": R(1, 9, 3)}, (1, 5, 4), "GRU.* works along it",
    ),
    "a first state of one": (
        [N("Transpose", ["x"], ["t"], perm=[1, 0, 2]), N("GRU", ["t", "w", "r", "", "", "h"], ["y"], hidden_size=3)],
        {"w": R(1, 9, 4), "r": R(1, 9, 3), "h": R(1, 1, 3)}, (1, 5, 4), "GRU.* joins it with 'h'",
    ),
    "a length of one": (
        [N("Transpose", ["x"], ["t"], perm=[1, 0, 2]), N("GRU", ["t", "w", "r", "", "l"], ["y"], hidden_size=3)],
        {"w": R(1, 9, 4), "r": R(1, 9, 3), "l": np.array([3], np.int32)}, (1, 5, 4), "GRU.* joins it with 'l'",
    ),
    "not followed": ([N("NonZero", ["x"], ["i"]), N("Cast", ["i"], ["y"], to=1)], {}, (1, 5), "NonZero.* is not known"),
}  # fmt: skip


@pytest.mark.parametrize("case", MIXES)
def test_what_depends_on_it_is_named(case: str, tmp_path: Path) -> None:
    nodes, weights, shape, why = MIXES[case]
    path = file(tmp_path / "m.onnx", nodes, weights, {"x": shape})
    for size in ("n", 4):
        with pytest.raises(
            UsageError, match=rf"'x' has the fixed size 1 along axis 0 where the shape given has {size}, .*({why})"
        ):
            convcore.load(path, input_shapes={"x": (size, *shape[1:])})


def test_no_other_size_can_be_changed(tmp_path: Path) -> None:
    path = file(tmp_path / "m.onnx", CNN[:3], {k: CNN_WEIGHTS[k] for k in "wsbmv"}, {"x": (1, 3, 7, 9)})
    onnx_model = onnx.load(path)
    onnx_model.graph.node[-1].output[0] = "y"
    onnx.save(onnx_model, path)
    with pytest.raises(UsageError, match=r"fixed size 9 along axis 3 .*Conv.* works along it"):
        convcore.load(path, input_shapes={"x": (None, None, None, 11)})

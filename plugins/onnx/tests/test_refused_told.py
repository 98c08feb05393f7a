"""Refusals of ONNX by their words, each beside a model that is read or written; what is left out, and other forms of a thing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from contrib_cases import CASES
from onnx import TensorProto, helper, numpy_helper
from onnx_kit import emit_model, load_model

from convcore.build.builder import Builder
from convcore.build.opaque import opaque_problems
from convcore.emit.plan import Ref
from convcore.emit.scribe import Scribe
from convcore.errors import BadFileError, OutputError, UnsupportedError, UsageError
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph
from convcore.ir.tensors import LazyTensor
from convcore_onnx.dialect import OnnxDialect
from convcore_onnx.older import WRITTEN
from convcore_onnx.rules import RULES
from convcore_onnx.rules.attention import _far_from_lowest
from convcore_onnx.structure import MAX_DEPTH, free_names

F = TensorProto.FLOAT


def changed(name: str, *, op: str = "", at: int = -1, **attrs: Any) -> Any:
    """A case of com.microsoft with other attributes (None: without it), of another operator, with an input more."""
    model = onnx.ModelProto()
    model.CopyFrom(CASES[name][0])
    node = model.graph.node[0]
    node.op_type = op or node.op_type
    for key, value in attrs.items():
        kept = [a for a in node.attribute if a.name != key]
        del node.attribute[:]
        node.attribute.extend(kept)
        if value is not None:
            node.attribute.append(helper.make_attribute(key, value))
    if at >= 0:
        node.input.extend([""] * (at + 1 - len(node.input)))
        node.input[at] = node.input[0]
    return model


def made(kind: str, inputs: list[Any], opset: int = 21, outs: int = 1, **attrs: Any) -> Any:
    """A model of one node: inputs are shapes (floats) or constants."""
    names, given, held = [], [], []
    for i, v in enumerate(inputs):
        names.append("" if v is None else f"i{i}")
        if isinstance(v, tuple):
            given.append(helper.make_tensor_value_info(f"i{i}", F, v))
        elif v is not None:
            held.append(numpy_helper.from_array(np.asarray(v), f"i{i}"))
    node = helper.make_node(kind, names, [f"y{i}" for i in range(outs)], name="n", **attrs)
    result = [helper.make_tensor_value_info(f"y{i}", F, None) for i in range(outs)]
    graph = helper.make_graph([node], "g", given, result, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


I8 = np.int64
READ: list[tuple[str, Any, Any]] = [
    # why, what is refused, what is not
    ("a cache of keys and values", changed("attention", at=8), changed("attention")),
    ("a cache of keys and values", changed("float attention", at=4), changed("float attention")),
    ("a cache of keys and values", changed("float attention", at=6), None),
    *(("a cache of keys and values", changed("heads", at=i), None) for i in (6, 7, 8, 9)),
    ("do_rotary=1", changed("float attention", do_rotary=1), changed("float attention", do_rotary=0)),
    ("past_present_share_buffer=1", changed("float attention", past_present_share_buffer=1), None),
    ("g_idx, which onnxruntime no longer documents", changed("4 bits", at=4), changed("4 bits")),
    ("3 bits: 2, 4 and 8 are read", changed("4 bits", bits=3), changed("8 bits")),
    ("its weights are packed for one kind of hardware", changed("4 bits", weight_prepacked=1),
     changed("4 bits", weight_prepacked=0)),
    ("accuracy_level=2 lets a runtime round A", changed("4 bits", accuracy_level=2), changed("4 bits", accuracy_level=1)),
    ("block_size=8", changed("4 bits", block_size=8), None), ("block_size=24", changed("4 bits", block_size=24), None),
    ("N=0", changed("4 bits", N=0), None), ("K=0", changed("4 bits", K=0), None),
    ("opset=0", changed("softmax", opset=0), changed("softmax", opset=12)),
    ("unidirectional with a mask, or with other keys", changed("float attention, mask", unidirectional=1),
     changed("attention, causal")),
    ("features have 0 heads", changed("heads", num_heads=0), changed("heads")),
    ("mode='nearest2'", made("Upsample", [(1, 2, 3, 5), np.asarray([1, 1, 2, 2], "f4")], 9, mode="nearest2"),
     made("Upsample", [(1, 2, 3, 5), np.asarray([1, 1, 2, 2], "f4")], 9, mode="bilinear")),
    ("its input 'tiles' must hold one integer", made("Tile", [(2, 3), np.float32(1.5), np.float32(1)], 5),
     made("Tile", [(2, 3), np.float32(2), np.float32(1)], 5)),
    ("axis=4 is out of range for 3 axes", made("Softmax", [(2, 3, 5)], 12, axis=4), made("Softmax", [(2, 3, 5)], 12, axis=2)),
    ("axis=4 is out of range for 3 axes", made("Flatten", [(2, 3, 5)], axis=4), made("Flatten", [(2, 3, 5)], axis=3)),
    ("num_outputs is 3, but it has 2 outputs", made("Split", [(4, 3)], 18, 2, num_outputs=3), None),
    ("axis 0 of size 5 does not divide by 2", made("Split", [(5, 3)], 13, 2), made("Split", [(4, 3)], 13, 2)),
    ("3 sizes for 2 outputs", made("Split", [(6, 3), np.asarray([1, 2, 3])], 13, 2),
     made("Split", [(6, 3), np.asarray([4, 2])], 13, 2)),
    ("keep_aspect_ratio_policy=not_larger with unknown sizes",
     made("Resize", [(1, 2, None, 6), None, None, np.asarray([7, 7])], 18, axes=[2, 3], keep_aspect_ratio_policy="not_larger"),
     made("Resize", [(1, 2, 5, 6), None, None, np.asarray([7, 7])], 18, axes=[2, 3], keep_aspect_ratio_policy="not_larger")),
]  # fmt: skip


@pytest.mark.parametrize(("why", "bad", "good"), READ, ids=[f"{i} {r[0][:30]}" for i, r in enumerate(READ)])
def test_what_is_not_read(why: str, bad: Any, good: Any) -> None:
    (problem,) = opaque_problems(load_model(bad))
    assert why in problem.why
    assert problem.type in (bad.graph.node[0].op_type, f"{bad.graph.node[0].domain}.{bad.graph.node[0].op_type}")
    assert good is None or not opaque_problems(load_model(good))


# ---- written
Build = Callable[[Builder], Any]


def graph(make: Build) -> Graph:
    g = Graph("g")
    found = make(Builder(g))
    g.outputs = list(found) if isinstance(found, (list, tuple)) else [found]
    return g


def image(b: Builder, *shape: Any, dtype: str = "float32") -> Any:
    return b.input("x", dtype, shape or (1, 2, 6, 10))


def pool(b: Builder, op: str = "max_pool", d: int = 1, size: Any = 6, **more: Any) -> Any:
    at = {"kernel": (2, 2), "strides": (2, 2), "pads": ((0, 0), (0, 0)), "dilations": (d, d), **more}
    return b.op(op, image(b, 1, 2, size, 10), **at)


def roi(b: Builder, half: bool) -> Any:
    x, boxes, of = image(b), b.input("r", "float32", (3, 4)), b.input("i", "int64", (3,))
    return b.roi_align(x, boxes, of, output_size=(2, 3), scale=1.0, samples=2, mode="mean", half_pixel=half)


def resize(b: Builder, **more: Any) -> Any:
    at = {"sizes": (12, 15), "mode": "linear", "coordinates": "half_pixel", "layout": "channels_first", **more}
    return b.resize(image(b), **at)


def late(b: Builder, coordinates: str) -> Any:
    at = {"mode": "nearest", "coordinates": coordinates, "nearest": "floor"}
    return b.dynamic_resize(image(b), b.input("s", "int64", (4,)), None, **at)


TARGETS: list[tuple[str, int, Build, int, Build]] = [
    # why, the opset and what is refused in it, the opset and what is not
    ("a size of 0 needs opset 14", 13, lambda b: b.reshape(image(b, 0, 3), shape=(3, 0)),
     14, lambda b: b.reshape(image(b, 0, 3), shape=(3, 0))),
    ("half_pixel needs opset 16", 15, lambda b: roi(b, True), 16, lambda b: roi(b, True)),
    ("half_pixel needs opset 16", 15, lambda b: roi(b, True), 15, lambda b: roi(b, False)),
    ("indices within the plane need known spatial sizes", 18,
     lambda b: pool(b, "max_pool_with_indices", size=Dim("h"), index_order="plane"),
     18, lambda b: pool(b, "max_pool_with_indices", index_order="plane")),
    ("coordinates half_pixel_symmetric need opset 19", 18, lambda b: late(b, "half_pixel_symmetric"),
     19, lambda b: late(b, "half_pixel_symmetric")),
    ("coordinates tf_half_pixel_for_nn exist in opset 11 only", 18, lambda b: late(b, "tf_half_pixel_for_nn"),
     11, lambda b: late(b, "half_pixel")),
]  # fmt: skip


@pytest.mark.parametrize(("why", "old", "bad", "opset", "good"), TARGETS, ids=[f"{i} {w[0][:30]}" for i, w in enumerate(TARGETS)])
def test_what_is_not_written(why: str, old: int, bad: Build, opset: int, good: Build) -> None:
    with pytest.raises(UnsupportedError) as caught:
        emit_model(graph(bad), old)
    assert any(why in p.why for p in caught.value.problems), caught.value
    onnx.checker.check_model(emit_model(graph(good), opset))


@pytest.mark.parametrize(("opset", "more", "there"), [
    (11, {}, True), (17, {"antialias": True}, False), (18, {"antialias": True}, True),
    (18, {"coordinates": "half_pixel_symmetric"}, False), (19, {"coordinates": "half_pixel_symmetric"}, True),
    (19, {"coordinates": "tf_half_pixel_for_nn", "mode": "nearest", "nearest": "floor"}, False),
])  # fmt: skip
def test_a_resize_is_one_where_the_opset_has_it(opset: int, more: dict[str, Any], there: bool) -> None:
    assert ("Resize" in kinds(graph(lambda b: resize(b, **more)), opset)) is there


def kinds(g: Graph, opset: int = 18) -> list[str]:
    return [n.op_type for n in emit_model(g, opset).graph.node]


def test_forms_that_depend_on_what_is_given() -> None:
    truth: Build = lambda b: b.where(b.input("c", "bool", (2,)), b.input("x", "bool", (2,)), b.input("y", "bool", (2,)))  # noqa: E731
    assert kinds(graph(truth)) == ["And", "Not", "And", "Or"]
    number: Build = lambda b: b.where(b.input("c", "bool", (2,)), b.input("x", "int32", (2,)), b.input("y", "int32", (2,)))  # noqa: E731
    assert kinds(graph(number)) == ["Where"]
    for rank, mean in ((3, "ReduceMean"), (4, "GlobalAveragePool")):
        assert kinds(graph(lambda b: b.mean(image(b, *(2, 3, 5, 7)[:rank]), axes=tuple(range(2, rank)), keepdims=True))) == [mean]  # noqa: B023
    assert kinds(graph(lambda b: b.mean(image(b), axes=(2, 3), keepdims=False))) == ["ReduceMean"]
    assert kinds(graph(lambda b: b.mean(image(b), axes=(2,), keepdims=True))) == ["ReduceMean"]
    assert kinds(graph(lambda b: b.pad(image(b, 2, 3), pads=((0, 0), (1, 2)), mode="symmetric"))).count("Concat") == 1
    assert kinds(graph(lambda b: b.pad(image(b, 2, 3), pads=((0, 0), (1, 2)), mode="edge"))) == ["Pad"]


@pytest.mark.parametrize(("attrs", "kind"), [
    ({}, "Greater"), ({"detect_positive": 1, "detect_negative": 1}, "Greater"), ({"detect_negative": 0}, "Greater"),
    ({"detect_positive": 0}, "Less"), ({"detect_negative": 0, "detect_positive": 1}, "Greater"),
])  # fmt: skip
def test_what_is_infinite_before_there_was_an_operator(attrs: dict[str, Any], kind: str) -> None:
    """IsInf: both attributes are 1 where they are left out. Both signs are asked of the size."""
    scribe: Any = Scribe(Graph("g"), RULES, WRITTEN, OnnxDialect(9, 3, False, True), None, lambda s: [])
    (y,) = scribe.call("IsInf", [Ref(None, 0, DType.FLOAT32, (3,))], attrs)
    assert [c.type for c in scribe.block.calls] == (["Abs", kind] if all(attrs.values()) and len(attrs) != 1 else [kind])
    assert y.call.args[1].tensor.numpy() == np.finfo("f4").max * (1 if kind == "Greater" else -1)


@pytest.mark.parametrize("ranks", [(2, 3), (4, 2), (3, 3)])
def test_ellipses_of_different_lengths(ranks: tuple[int, int]) -> None:
    """Also where one value stands for two operands of different lengths."""
    shapes = [(7, 5, 2, 3)[-n:] for n in ranks]
    x, y = (np.arange(np.prod(s), dtype="f4").reshape(s) for s in shapes)
    g = graph(
        lambda b: [b.einsum(b.input("x", "float32", shapes[0]), b.input("y", "float32", shapes[1]), equation="...ij,...ij->...i")]
    )
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(emit_model(g).SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x, "y": y})[0], np.einsum("...ij,...ij->...i", x, y), rtol=1e-5)
    z = np.arange(4, dtype="f4").reshape(2, 2)
    g = graph(lambda b: b.einsum(v := b.input("x", "float32", (2, 2)), v, equation="...i,i...->..."))
    np.testing.assert_allclose(Interpreter(load_model(emit_model(g))).run([z])[0], np.einsum("...i,i...->...", z, z))


@pytest.mark.parametrize("equation", ["...i,...ij->...j", "...ij,...i->...j", "ijk,...k->...j", "...k,ijk,...->...j"])
def test_one_value_for_operands_of_different_ellipses(equation: str) -> None:
    """Each operand has its own ellipsis, or none, though they are one value."""
    ort = pytest.importorskip("onnxruntime")
    z = np.arange(27, dtype="f4").reshape(3, 3, 3)
    names = "xxx"[: equation.count(",") + 1]
    g = graph(lambda b: b.einsum(*[b.input("x", "float32", z.shape)] * len(names), equation=equation))
    session = ort.InferenceSession(emit_model(g).SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": z})[0], np.einsum(equation, *[z] * len(names)), rtol=1e-5)


# ---- depth, names, sizes
def test_a_mask_of_many_sums_is_looked_at_once() -> None:
    """A sum of twice the same, 40 times over, has 2^40 ways to its constant; beyond the limit of the search nothing is known."""
    low = float(np.finfo("f4").min)

    def far(times: int, number: float) -> bool:
        b = Builder(Graph("g"))
        v = b.weight(np.full((2, 2), number, "f4"), "w")
        for _ in range(times):
            v = b.add(v, v)
        return _far_from_lowest(v, low)

    assert far(40, -1e4) and not far(40, low) and not far(300, -1e4)


def test_what_is_scattered_by_a_product_is_no_choice_of_constants() -> None:
    b = Builder(Graph("g"))
    x, i = b.weight(np.full(3, -1e30, "f4"), "x"), b.input("i", "int64", (2,))
    low = float(np.finfo("f4").min)
    assert _far_from_lowest(b.scatter_elements(x, i, b.weight(np.full(2, 1e20, "f4"), "u"), axis=0), low)
    assert not _far_from_lowest(b.scatter_elements(x, i, b.weight(np.full(2, 1e20, "f4"), "t"), axis=0, reduction="mul"), low)


def _nested(depth: int) -> Any:
    """As protobuf has them, which does not read that many itself."""
    empty: dict[str, Any] = {"input": (), "initializer": (), "sparse_initializer": (), "output": ()}
    node = SimpleNamespace(input=["outside"], output=["y"], attribute=[])
    for _ in range(depth):
        inner = SimpleNamespace(type=5, g=SimpleNamespace(**empty, node=[node]))
        node = SimpleNamespace(input=["c"], output=["y"], attribute=[inner])
    return SimpleNamespace(**empty, node=[node])


def test_how_deep_names_are_looked_for() -> None:
    assert free_names(_nested(MAX_DEPTH), 0) == ["c", "outside"] and MAX_DEPTH == 64
    with pytest.raises(BadFileError, match="subgraphs are nested more than 64 deep"):
        free_names(_nested(MAX_DEPTH + 1), 0)


def test_a_node_without_outputs_is_loaded() -> None:
    model = made("Relu", [(2, 3)])
    model.graph.node.append(helper.make_node("Relu", ["i0"], [""], name="unused"))
    g = load_model(model)
    assert not opaque_problems(g) and [v.name for v in g.outputs] == ["y0"]


def test_what_two_gibibytes_do_not_hold(tmp_path: Path) -> None:
    def big(rows: int) -> Any:
        g = graph(lambda b: b.relu(image(b, 2, 3)))
        w = g.add_weight("w", LazyTensor(lambda: np.zeros(0, "f4"), DType.FLOAT32, (rows, 1 << 20)))
        g.outputs = [*g.outputs, w]
        return g

    with pytest.raises(UsageError, match="the model exceeds the 2 GiB a ModelProto may have; write it to a file"):
        emit_model(big(512))


def test_external_data_has_a_name_that_can_be_printed(tmp_path: Path) -> None:
    g = graph(lambda b: b.relu(image(b, 2, 3)))
    with pytest.raises(OutputError, match="a model with external data names them, and this name cannot be one; choose another"):
        emit_model(g, out=tmp_path / "a\nb.onnx", external_data="always")

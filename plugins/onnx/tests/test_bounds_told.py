"""Bounds of what is read and written, from both sides: tensors by the attribute they stand in, windows of all sizes."""

from __future__ import annotations

import itertools
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_kit import emit_model, load_model

from convcore.build.builder import Builder
from convcore.build.opaque import opaque_problems
from convcore.errors import BadFileError, ConvcoreError, UnsupportedError
from convcore.interpreter import Interpreter
from convcore.ir.graph import Graph


def one(kind: str, inputs: list[str], *, opset: int = 18, functions: Any = (), domain: str = "", **attrs: Any) -> Any:
    """A model of one node "n" of floats x (2, 3, 5), unchecked."""
    node = helper.make_node(kind, inputs, ["y"], "n", domain=domain, **attrs)
    info = [helper.make_tensor_value_info("x", 1, [2, 3, 5])]
    graph = helper.make_graph([node], "g", info, [helper.make_empty_tensor_value_info("y")])
    imports = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=10)


def why(model: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return "; ".join(f"{p.layer} ({p.type}): {p.why}" for p in opaque_problems(load_model(model)))
        except ConvcoreError as e:
            return str(e)


# ---- tensors that stand in attributes
SHORT = TensorProto(data_type=1, dims=[2, 3], raw_data=b"\0" * 23)
NEGATIVE = TensorProto(data_type=1, dims=[-2])
FEW = TensorProto(data_type=1, dims=[2], float_data=[1.0])
OUTSIDE = TensorProto(data_type=1, dims=[2], data_location=1)
TEXT = TensorProto(data_type=8, dims=[1], string_data=[b"\xff"])


@pytest.mark.parametrize(
    ("tensor", "said"),
    [(SHORT, " is float32[2, 3] (24 bytes) but holds 23 bytes"), (NEGATIVE, " has the shape [-2]"),
     (FEW, " is float32[2] but holds 1 elements"), (TEXT, ": string 0 is not UTF-8"),
     (OUTSIDE, ": external data in None, but the model was not read from a file")],
)  # fmt: skip
@pytest.mark.parametrize("named", ["", "c"])
def test_a_tensor_in_an_attribute_is_named_by_it(tensor: Any, said: str, named: str) -> None:
    """Tensors of constants have no name of their own, or the exporter's."""
    value = TensorProto()
    value.CopyFrom(tensor)
    value.name = named
    assert why(one("Constant", [], value=value)) == f"the attribute 'value' of node 'n' (Constant){said}"
    nameless = one("Constant", [], value=value)
    nameless.graph.node[0].name = ""
    assert why(nameless) == f"the attribute 'value' of node 'y' (Constant){said}"
    assert why(one("ConstantOfShape", ["x"], value=value)) == f"the attribute 'value' of node 'n' (ConstantOfShape){said}"
    inner = one("Constant", [], value=value).graph
    del inner.input[:]
    branch = one("If", ["x"], then_branch=inner, else_branch=inner)
    assert why(branch).startswith("the attribute 'value' of node ") and why(branch).endswith(f"(Constant){said}")


def test_sparse_tensors_and_lists_in_attributes_are_named() -> None:
    values, indices = (helper.make_tensor("", t, [1], [v]) for t, v in ((1, 2.0), (7, 6)))
    sparse = helper.make_sparse_tensor(values, indices, [2, 3])
    where = "the attribute 'sparse_value' of node 'n' (Constant)"
    assert why(one("Constant", [], sparse_value=sparse)) == f"{where}: indices do not fit 1 values of [2, 3]"
    for part, name in (("values", "values"), ("indices", "indices")):
        bad = onnx.SparseTensorProto()
        bad.CopyFrom(sparse)
        getattr(bad, part).dims[:] = [-1]
        assert why(one("Constant", [], sparse_value=bad)) == f"{where}: its {name} has the shape [-1]"
    many = one("Own", ["x"], domain="own")
    many.graph.node[0].attribute.append(onnx.AttributeProto(name="all", type=9, tensors=[FEW]))
    assert "the attribute 'all' of node 'n' (Own): tensor 0 is float32[2] but holds 1 elements" in why(many)
    del many.graph.node[0].attribute[:]
    many.graph.node[0].attribute.append(onnx.AttributeProto(name="all", type=12, sparse_tensors=[sparse]))
    assert "the attribute 'all' of node 'n' (Own): tensor 0: indices do not fit" in why(many)
    del many.graph.node[0].attribute[:]
    odd = onnx.AttributeProto.FromString(b"\n\x03odd\xa0\x01\x63")  # name, and 99 as type, of which proto2 makes an unknown field
    many.graph.node[0].attribute.append(odd)
    assert "odd" not in why(many)


def test_a_function_s_tensor_is_named_by_the_function() -> None:
    imports = [helper.make_opsetid("", 18)]
    body = [helper.make_node("Constant", [], ["c"]), helper.make_node("Add", ["a", "c"], ["b"])]
    body[0].attribute.append(onnx.AttributeProto(name="value", type=4, ref_attr_name="held"))
    f = helper.make_function("own", "F", ["a"], ["b"], body, imports)
    f.attribute_proto.append(onnx.AttributeProto(name="held", type=4, t=FEW))
    said = why(one("F", ["x"], functions=[f], domain="own"))
    assert said == "the attribute 'held' of function 'F' is float32[2] but holds 1 elements"


def test_a_sparse_weight_of_a_branch_that_is_inlined() -> None:
    """A condition that is known leaves one branch, whose nodes join the graph."""
    values, indices = helper.make_tensor("w", 1, [2], [2.0, 3.0]), helper.make_tensor("i", 7, [2], [0, 4])
    branch = helper.make_graph([helper.make_node("Add", ["x", "w"], ["r"])], "b", [], [helper.make_empty_tensor_value_info("r")])
    branch.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [5]))
    model = one("If", ["k"], then_branch=branch, else_branch=branch)
    model.graph.initializer.append(helper.make_tensor("k", 9, [], [True]))
    x = np.zeros((2, 3, 5), "f4")
    np.testing.assert_array_equal(Interpreter(load_model(model)).run([x])[0], x + np.array([2, 0, 0, 0, 3], "f4"))


# ---- windows
def windows() -> list[tuple[str, dict[str, Any], int]]:
    """Poolings of one axis: 120 of all of these sizes, of which each edge of a condition is one."""
    rng = random.Random(11)
    found = []
    for n, k, s, d, pads in itertools.product(range(1, 9), (1, 2, 3), (1, 2, 3, 4), (1, 2), ((0, 0), (1, 0), (0, 1), (1, 1))):
        for mode in ("floor", "ceil", "ceil_full"):
            reach = d * (k - 1) + 1
            if reach > n + sum(pads) or max(pads) >= k or (mode == "ceil_full" and pads != (0, 0)):
                continue
            found.append(({"kernel": (k,), "strides": (s,), "dilations": (d,), "pads": (pads,), "ceil_mode": mode}, n))
    ops = ("max_pool", "avg_pool", "avg_pool with", "lp_pool")
    return [(ops[i % 4], window, n) for i, (window, n) in enumerate(rng.sample(found, 240))]


@pytest.mark.parametrize("opset", [10, 18, 22])
def test_windows_of_all_sizes(opset: int) -> None:
    """Written and run by onnxruntime; what it, or the standard of that time, has no form for is written as other operators."""
    ort = pytest.importorskip("onnxruntime")
    g = Graph("g")
    b = Builder(g)
    given = {n: b.input(f"x{n}", "float32", (1, 2, n)) for n in range(1, 9)}
    for op, window, n in windows():
        if "avg" in op and window["ceil_mode"] == "ceil_full" and window["strides"] > window["kernel"]:
            continue  # a mean of nothing
        if opset < 19 and window["dilations"] != (1,) and op != "max_pool":
            continue
        more: dict[str, Any] = {"count_include_pad": True} if "with" in op else {"p": 3.0} if op == "lp_pool" else {}
        g.outputs.append(b.op(op.split()[0], given[n], layout="channels_first", **window, **more))
    feeds = {f"x{n}": np.random.default_rng(n).normal(size=(1, 2, n)).astype("f4") for n in given}
    want = Interpreter(g).run(feeds)
    made = emit_model(g, opset)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for node, a, w in zip(g.outputs, session.run(None, feeds), want):
        np.testing.assert_allclose(a, w, rtol=1e-5, atol=1e-6, err_msg=str(node.producer.attrs if node.producer else ""))


def kinds(make: Callable[[Builder, Any], Any], shape: Any = (1, 2, 6, 10), opset: int = 18) -> list[str]:
    g = Graph("g")
    b = Builder(g)
    g.outputs = [make(b, b.input("x", "float32", shape))]
    return [n.op_type for n in emit_model(g, opset).graph.node]


def test_norms_of_windows_that_onnx_has() -> None:
    """p is a whole number there, and runtimes disagree where sizes are rounded up."""
    for p, has in ((1.0, True), (2.0, True), (3.0, True), (2.5, False), (0.5, False)):
        made = kinds(lambda b, x, p=p: b.lp_pool(x, kernel=(2, 3), p=p))
        assert (made == ["LpPool"]) is has and ("AveragePool" in made) is not has
    assert "LpPool" not in kinds(lambda b, x: b.lp_pool(x, kernel=(2, 4), strides=(2, 4), p=2.0, ceil_mode="ceil"))
    assert "LpPool" in kinds(lambda b, x: b.lp_pool(x, kernel=(2, 2), dilations=(2, 1), p=2.0), opset=18)
    with pytest.raises(UnsupportedError, match="dilations need opset 18"):
        kinds(lambda b, x: b.lp_pool(x, kernel=(2, 2), dilations=(2, 1), p=2.0), opset=17)
    with pytest.raises(UnsupportedError, match="dilations need opset 19"):
        kinds(lambda b, x: b.avg_pool(x, kernel=(2, 2), dilations=(2, 1)), opset=18)
    with pytest.raises(UnsupportedError, match="dilations need opset 10"):
        kinds(lambda b, x: b.max_pool(x, kernel=(2, 2), dilations=(2, 1)), opset=9)


def test_a_norm_was_a_float_in_the_first_opset() -> None:
    for p, said in ((2.5, ""), (3.0, ""), (0.0, "must be positive"), (float("inf"), "must be positive")):
        found = why(one("LpPool", ["x"], opset=1, p=p, kernel_shape=[2]))
        assert (said in found) if said else not found


def test_errors_of_models_are_of_files() -> None:
    with pytest.raises(BadFileError, match="node 'n'"):
        load_model(one("Constant", [], value=SHORT))

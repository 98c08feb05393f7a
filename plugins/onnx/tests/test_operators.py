"""Every operator of the standard at every version: read, or refused with its reason. Nothing in between."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, defs, helper, numpy_helper

import convcore
from convcore.interpreter import Interpreter
from convcore_onnx.rules.refused import FIRST, REFUSED
from convcore_onnx.standard import operators, standing

ort = pytest.importorskip("onnxruntime")
EVERY = [(d, n, v) for (d, n), versions in operators().items() for v in versions]


def test_there_are_many() -> None:
    assert len(EVERY) > 600 and {d for d, _, _ in EVERY} >= {"", "ai.onnx.ml"}


def test_every_operator_at_every_version_is_read_or_refused_by_name() -> None:
    unknown = [f"{d or 'ai.onnx'}.{n} {v}" for d, n, v in EVERY if not standing(d, n, v).how]
    assert not unknown, unknown
    assert all(s.why for s in (standing(*x) for x in EVERY) if s.how == "refused")


def test_what_is_refused_is_in_the_standard() -> None:
    ours = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state").get_all_operator_schema()
    names = {f"{d}.{n}" if d else n for d, n, _ in EVERY} | {f"{s.domain}.{s.name}" for s in ours if s.domain == "com.microsoft"}
    assert {*REFUSED, *FIRST} <= names


def node_of(domain: str, name: str, version: int) -> Any:
    """A node with the inputs and attributes that its schema wants."""
    s = defs.get_schema(name, version, domain)
    weight = numpy_helper.from_array(np.ones(1, "f4"))
    given = {AttributeProto.INT: 1, AttributeProto.INTS: [1], AttributeProto.FLOAT: 1.0, AttributeProto.FLOATS: [1.0],
             AttributeProto.STRING: "a", AttributeProto.STRINGS: ["a"], AttributeProto.TENSOR: weight}  # fmt: skip
    attrs = {k: given[int(a.type.value)] for k, a in s.attributes.items() if a.required}
    inputs = [f"x{i}" for i in range(s.min_input)]
    return helper.make_node(name, inputs, [f"y{i}" for i in range(max(1, s.min_output))], domain=domain, **attrs)


@pytest.mark.parametrize(
    ("domain", "name", "version"), [x for x in EVERY if standing(*x).how == "refused"], ids=lambda x: str(x or "ai.onnx")
)
def test_a_refusal_says_why_and_onnx_gets_it_back(domain: str, name: str, version: int) -> None:
    node = node_of(domain, name, version)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info(i, TensorProto.FLOAT, [2, 3]) for i in node.input],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in node.output],
    )  # fmt: skip
    opsets = [helper.make_opsetid(domain, version), *([helper.make_opsetid("", 17)] if domain else [])]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    loaded = convcore.load(model)
    assert [p.why for p in loaded.problems] == [standing(domain, name, version).why]
    assert [n.op for n in loaded.graph] == ["opaque"]


# ---- parts of ai.onnx.ml
R = np.random.default_rng(0)


def ml(name: str, arrays: list[Any], **attrs: Any) -> Any:
    types = {"f": TensorProto.FLOAT, "i": TensorProto.INT64}
    node = helper.make_node(name, [f"x{i}" for i in range(len(arrays))], ["y"], domain="ai.onnx.ml", **attrs)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info(f"x{i}", types[a.dtype.kind], a.shape) for i, a in enumerate(arrays)],
        [helper.make_tensor_value_info("y", types["i" if name == "Imputer" and arrays[0].dtype.kind == "i" else "f"], None)],
    )  # fmt: skip
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8
    )


X = R.normal(size=(5, 3)).astype("f4")
ML: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Scaler", [X], {"offset": [0.1, 0.2, 0.3], "scale": [2.0, 3.0, 0.5]}),
    ("Scaler", [X], {"offset": [0.1], "scale": [2.0]}),
    ("Scaler", [np.arange(6).reshape(2, 3)], {"offset": [0.1, 0.2, 0.3], "scale": [2.0, 3.0, 0.5]}),
    ("LinearRegressor", [X], {"coefficients": [0.1, 0.2, -0.3, 1.0, 2.0, 3.0], "intercepts": [0.5, -1.0], "targets": 2}),
    ("LinearRegressor", [X], {"coefficients": [0.1, 0.2, -0.3]}),
    ("FeatureVectorizer", [X, X[:, :2]], {"inputdimensions": [3, 2]}),
    (
        "Imputer",
        [np.where(X > 0.5, np.nan, X).astype("f4")],
        {"imputed_value_floats": [7.0], "replaced_value_float": float("nan")},
    ),
    ("Imputer", [np.round(X)], {"imputed_value_floats": [7.0, 8.0, 9.0], "replaced_value_float": 1.0}),
    ("Imputer", [np.arange(6).reshape(2, 3)], {"imputed_value_int64s": [7, 8, 9], "replaced_value_int64": 4}),
]


@pytest.mark.parametrize(("name", "arrays", "attrs"), ML, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(ML)])
def test_parts_before_a_network(name: str, arrays: list[Any], attrs: dict[str, Any]) -> None:
    model = ml(name, arrays, **attrs)
    s = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (wanted,) = s.run(None, {f"x{i}": a for i, a in enumerate(arrays)})
    (found,) = Interpreter(convcore.load(model).graph).run(arrays)
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "attrs", "why"),
    [
        ("Scaler", {"scale": [1.0]}, "offset or scale is not given"),
        ("Scaler", {"scale": [1.0, 2.0], "offset": [1.0]}, "2 numbers for 3 features"),
        ("LinearRegressor", {"coefficients": [1.0] * 3, "post_transform": "SOFTMAX"}, "post_transform"),
        ("LinearRegressor", {"coefficients": [1.0] * 3, "targets": 2}, "3 coefficients"),
        ("FeatureVectorizer", {"inputdimensions": [2]}, "not the sizes of its inputs"),
        ("Imputer", {"imputed_value_int64s": [1]}, "imputes ints|imputes int64s"),
    ],
)
def test_parts_that_are_refused(name: str, attrs: dict[str, Any], why: str) -> None:
    problems = convcore.load(ml(name, [X], **attrs)).problems
    assert len(problems) == 1
    assert re.search(why, problems[0].why), problems


def test_the_first_scan_goes_over_each_of_a_batch() -> None:
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "x"], ["a"]), helper.make_node("Mul", ["a", "k"], ["n"]),
         helper.make_node("Identity", ["n"], ["o"])], "b",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [3]) for n in "sx"],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [3]) for n in "no"],
    )  # fmt: skip
    nodes = [helper.make_node("Scan", ["", "s0", "xs"], ["sn", "os"], body=body, num_scan_inputs=1, directions=[1])]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("s0", [2, 3]), ("xs", [2, 5, 3]), ("k", [3]))],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("sn", "os")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=3)
    s, xs, k = (R.normal(size=n).astype("f4") for n in ((2, 3), (2, 5, 3), (3,)))
    last, steps = [], []
    for b in range(2):
        state, out = s[b], []
        for t in reversed(range(5)):
            state = (state + xs[b, t]) * k
            out.append(state)
        last.append(state)
        steps.append(out)
    found = Interpreter(convcore.load(model).graph).run([s, xs, k])
    np.testing.assert_allclose(found[0], np.array(last), rtol=1e-5)
    np.testing.assert_allclose(found[1], np.array(steps), rtol=1e-5)
    node = model.graph.node[0]
    node.input[0] = "lengths"
    model.graph.input.append(helper.make_tensor_value_info("lengths", TensorProto.INT64, [2]))
    assert [p.why for p in convcore.load(onnx.ModelProto.FromString(model.SerializeToString())).problems] == [
        "sequences of different lengths (sequence_lens)"
    ]

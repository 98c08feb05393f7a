"""Integer attributes that mean yes or no: 0 and 1 only. Judged by the standard's own schemas and onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.defs
import pytest
from onnx import helper, numpy_helper
from onnx_kit import load_model

from convcore.build.opaque import opaque_problems
from convcore.errors import PluginBugError, UsageError
from convcore.rules import RuleSet
from convcore_onnx.schemas import FLAGS, _history

NUMBERS = {
    "axis", "batch_dims", "block_size", "blocksize", "chunk_size", "dtype", "end", "group", "hidden_size", "ignore_index", "k",
    "kv_num_heads", "left_window_size", "max_gram_length", "max_skip_count", "maxsplit", "min_gram_length", "num_groups",
    "num_heads", "num_outputs", "num_scan_inputs", "offset_group", "output_datatype", "output_dtype", "output_height",
    "output_width", "p", "precision", "q_num_heads", "qk_matmul_output_mode", "right_window_size", "rotary_embedding_dim",
    "sample_size", "sampling_ratio", "seed", "size", "softmax_precision", "start", "stash_type", "to", "value_int",
}  # fmt: skip
"""Integer attributes that are counts, axes, types or other numbers."""


def test_every_integer_attribute_of_the_standard_is_known_as_flag_or_number() -> None:
    every = {
        name
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.domain == ""
        for name, a in schema.attributes.items()
        if a.type == onnx.defs.OpSchema.AttrType.INT
    }
    assert not every - FLAGS - NUMBERS, "attributes of a newer standard: say which are 0 or 1"
    assert not FLAGS & NUMBERS
    ours = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state").get_all_operator_schema()
    contrib = {k for s in ours if s.domain == "com.microsoft" for k, a in s.attributes.items() if a.type.name == "INT"}
    assert not FLAGS - every - contrib


def test_the_history_of_an_operator_is_that_of_the_standard() -> None:
    every: dict[str, set[int]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            every.setdefault(schema.name, set()).add(schema.since_version)
    assert {name: [s.since_version for s in _history(name, "")] for name in every} == {k: sorted(v) for k, v in every.items()}
    assert _history("NoSuchOperator", "") == []


def model(op: str, version: int, attrs: dict[str, Any], inputs: int = 1, shape: tuple[int, ...] = (1, 3, 5, 7)) -> Any:
    info = helper.make_tensor_value_info
    names = [f"x{i}" for i in range(inputs)]
    node = helper.make_node(op, names, ["y"], name="n", **attrs)
    g = helper.make_graph([node], "g", [info(n, 1, shape) for n in names], [info("y", 1, None)])
    return helper.make_model(g, opset_imports=[helper.make_opsetid("", version)], ir_version=8)


CASES = [
    ("ReduceMean", 13, {"axes": [1]}, "keepdims"),
    ("ReduceSum", 11, {"axes": [1]}, "keepdims"),
    ("ArgMax", 13, {"axis": 1}, "keepdims"),
    ("ArgMin", 13, {"axis": 1}, "select_last_index"),
    ("MaxPool", 12, {"kernel_shape": [2, 2]}, "ceil_mode"),
    ("AveragePool", 11, {"kernel_shape": [2, 2]}, "count_include_pad"),
    ("IsInf", 10, {}, "detect_negative"),
    ("Cast", 19, {"to": 1}, "saturate"),
]


@pytest.mark.parametrize("odd", [2, -1, 256, 2**40])
@pytest.mark.parametrize(("op", "version", "attrs", "flag"), CASES)
def test_other_numbers_are_refused_by_name(op: str, version: int, attrs: dict[str, Any], flag: str, odd: int) -> None:
    (p,) = opaque_problems(load_model(model(op, version, {**attrs, flag: odd})))
    assert p.layer == "n" and f"{flag} is {odd}," in p.why and p.code == "unsupported_attribute"
    for good in (0, 1):
        assert not opaque_problems(load_model(model(op, version, {**attrs, flag: good})))


def test_two_is_not_true_to_onnxruntime() -> None:
    """Why reading any number as true would be silently wrong."""
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(model("ReduceMean", 13, {"axes": [1], "keepdims": 2}).SerializeToString())
    assert session.run(None, {"x0": np.zeros((1, 3, 5, 7), np.float32)})[0].shape == (1, 5, 7)


def test_a_flag_that_a_function_passes_on_is_refused_too() -> None:
    inner = helper.make_node("ReduceMean", ["a"], ["b"], axes=[1])
    ref = inner.attribute.add()
    ref.name, ref.ref_attr_name, ref.type = "keepdims", "keep", onnx.AttributeProto.INT
    f = helper.make_function("d", "F", ["a"], ["b"], [inner], [helper.make_opsetid("", 13)], ["keep"])
    info = helper.make_tensor_value_info
    g = helper.make_graph(
        [helper.make_node("F", ["x"], ["y"], domain="d", keep=2)], "g", [info("x", 1, [2, 3])], [info("y", 1, None)]
    )
    m = helper.make_model(
        g, opset_imports=[helper.make_opsetid("", 13), helper.make_opsetid("d", 1)], functions=[f], ir_version=8
    )
    (p,) = opaque_problems(load_model(m))
    assert "keepdims is 2" in p.why


# ---- whose mistake it is
def test_a_bug_of_our_rule_is_not_a_malformed_node() -> None:
    rules = RuleSet("onnx", "us")

    @rules.load("Dropout")
    def broken(g: Any, node: Any) -> Any:
        return {}["alpha"]

    with pytest.raises(PluginBugError, match=r"a bug in us: .*broken for layer 'n' \(Dropout\) raised KeyError: 'alpha'"):
        load_model(model("Dropout", 12, {}), rules=rules)


@pytest.mark.parametrize("given", [{"y": (1, 3, 5, 7)}, {"x0": (1, 3)}])
def test_wrong_input_shapes_are_the_callers_mistake(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        load_model(model("Relu", 13, {}), input_shapes=given)


def test_a_size_that_a_model_declares_may_change_where_nothing_depends_on_it() -> None:
    graph = load_model(model("Relu", 13, {}), input_shapes={"x0": (2, 3, 5, 7)})
    assert [v.shape for v in graph.outputs] == [(2, 3, 5, 7)]
    with pytest.raises(UsageError, match="Softmax"):
        load_model(model("Softmax", 13, {"axis": 0}), input_shapes={"x0": (2, 3, 5, 7)})


def test_weights_beside_a_model_are_the_callers_mistake() -> None:
    with pytest.raises(UsageError, match="alone"):
        load_model(model("Relu", 13, {}), weights="w.bin")


@pytest.mark.parametrize(
    ("op", "version", "attrs"),
    [("LayerNormalization", 11, {"axis": [1]}), ("CastLike", 9, {}), ("LpPool", 2, {"kernel_shape": [2, 2], "dilations": 1.5})],
)
def test_ops_of_a_later_opset_are_checked_by_their_first_form(op: str, version: int, attrs: dict[str, Any]) -> None:
    (p,) = opaque_problems(load_model(model(op, version, attrs)))
    assert p.code == "malformed_node"


def test_axes_that_are_no_list() -> None:
    m = model("ReduceSum", 13, {}, 1)
    m.graph.node[0].input.append("axes")
    m.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 2), np.int64), "axes"))
    (p,) = opaque_problems(load_model(m))
    assert "axes" in p.why

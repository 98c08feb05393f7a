"""Numbers of tables are those of the standard: opsets of rows, kinds of attributes, element types, fields of messages."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, defs

import convcore
from convcore_onnx import attributes, contrib, plugin, proto, schemas
from convcore_onnx.dtypes import DTYPE_NAMES, DTYPES
from convcore_onnx.older import MOVED
from convcore_onnx.older_forms import OTHER
from convcore_onnx.rules import RULES, contrib_exported, contrib_stored

VERSIONS: defaultdict[str, set[int]] = defaultdict(set)
for _s in defs.get_all_schemas_with_history():
    VERSIONS[f"{_s.domain}.{_s.name}".lstrip(".")].add(_s.since_version)

RULE = [(foreign, rule) for foreign, rules in RULES.load_rules.items() if foreign in VERSIONS for rule in rules]


# ---- opsets
def test_a_rule_begins_and_ends_where_the_operator_changes() -> None:
    odd = [(foreign, rule.since) for foreign, rule in RULE if rule.since not in {None, *VERSIONS[foreign]}]
    odd += [(foreign, rule.until) for foreign, rule in RULE if rule.until is not None and rule.until + 1 not in VERSIONS[foreign]]
    assert len(RULE) > 300 and not odd


WRITES = {
    "floor_mod": "Mod", "attention": "Attention", "rotary_embedding": "RotaryEmbedding", "shape_of": "Shape",
    "dynamic_one_hot": "OneHot", "quantize_blocks": "QuantizeLinear", "dynamic_resize": "Resize", "affine_grid": "AffineGrid",
    "dynamic_slice": "Slice", "trilu": "Trilu", "matmul_integer": "MatMulInteger", "qlinear_matmul": "QLinearMatMul",
    "conv_integer": "ConvInteger", "qlinear_conv": "QLinearConv", "mean_variance_norm": "MeanVarianceNormalization",
    "any": "ReduceMax", "all": "ReduceMin", "roi_align": "RoiAlign", "optional": "Optional", "dynamic_split": "Split",
    "dft_pairs": "DFT", "stft": "STFT", "cumprod": "CumProd", "dynamic_topk": "TopK", "count_ngrams": "TfIdfVectorizer",
}  # fmt: skip
"""The operator whose opsets a function that writes goes by."""


def test_a_function_that_writes_begins_and_ends_where_its_operator_changes() -> None:
    told = {
        (op, r.since, r.until)
        for op, rules in RULES.emit_rules.items()
        for r in rules
        if not hasattr(r, "foreign") and (r.since or r.until)
    }
    assert {op for op, *_ in told} == WRITES.keys()
    odd = [(op, since) for op, since, _ in told if since not in {None, *VERSIONS[WRITES[op]]}]
    odd += [(op, until) for op, _, until in told if until is not None and until + 1 not in VERSIONS[WRITES[op]]]
    assert not odd


def test_an_attribute_became_an_input_in_the_opset_that_the_table_says() -> None:
    for name, (since, moved) in MOVED.items():
        old, new = defs.get_schema(name, since - 1), defs.get_schema(name, since)
        assert new.since_version == since
        for i, attribute in moved.items():
            given = len(new.inputs) > i and (i >= len(old.inputs) or old.inputs[i].name != new.inputs[i].name)
            assert given, (name, i)
            held = attribute in old.attributes or (name, attribute) in {("Slice", "steps"), ("Dropout", "training_mode")}
            assert held and attribute not in new.attributes, (name, attribute)


def test_another_form_ends_where_the_operator_changes() -> None:
    for name, forms in OTHER.items():
        for until, _ in forms:
            assert until + 1 in VERSIONS[name], (name, until)


def test_what_stands_for_an_operator_of_onnxruntime_is_in_the_standard_then() -> None:
    for name, since in contrib_exported._SINCE.items():
        assert since in VERSIONS[name], name
    for name, (operator, operands, version) in contrib_stored._POINTWISE.items():
        schema = defs.get_schema(operator, version)
        assert schema.since_version == version and schema.min_input <= operands <= schema.max_input, name
        assert len(contrib.FORMS[name][0].replace("?", "").split()) == 3 * operands + 2, name


# ---- attributes
def test_the_kind_of_an_attribute_that_does_not_say_it() -> None:
    """Files of IR version 1: the field that is there tells."""
    kinds = {AttributeProto.AttributeType.Name(n): n for n in AttributeProto.AttributeType.values()}
    names = {"float": "f", "int": "i", "string": "s", "tensor": "t", "graph": "g", "type_proto": "tp"}
    found = {}
    for name, kind in kinds.items():
        if name == "UNDEFINED":
            continue
        field = names.get(name.lower(), name.lower())
        a = AttributeProto(name="a")
        if name.endswith("S"):
            values = getattr(a, field)
            if hasattr(values, "add"):
                values.add()
            else:
                values.append({"FLOATS": 0.5, "INTS": 3, "STRINGS": b"x"}[name])
        elif name in ("FLOAT", "INT", "STRING"):
            setattr(a, field, {"FLOAT": 0.5, "INT": 3, "STRING": b"x"}[name])
        else:
            getattr(a, field).SetInParent()
        found[name] = (attributes.attribute_kind(a), kind)
    assert len(found) == 14 and all(ours == theirs for ours, theirs in found.values()), found


def test_kinds_have_the_numbers_of_the_standard() -> None:
    words = {"a float": "FLOAT", "an integer": "INT", "a string": "STRING", "a tensor": "TENSOR", "a graph": "GRAPH",
             "floats": "FLOATS", "integers": "INTS", "strings": "STRINGS"}  # fmt: skip
    assert {AttributeProto.AttributeType.Name(n): w for n, w in schemas._KINDS.items()} == {k: w for w, k in words.items()}
    short = {"text": "STRING", "texts": "STRINGS"}
    assert {k: AttributeProto.AttributeType.Value(short.get(k, k.upper())) for k in contrib._KIND} == contrib._KIND


# ---- element types and fields
def test_element_types_have_the_numbers_of_the_standard() -> None:
    for number, dtype in DTYPES.items():
        if number in TensorProto.DataType.values():
            assert DTYPE_NAMES.get(dtype, dtype.value) == TensorProto.DataType.Name(number).lower()
    assert set(TensorProto.DataType.values()) - {TensorProto.UNDEFINED} <= DTYPES.keys()


def wire(field: Any) -> int:
    """How a field stands in a file: 0 a number, 2 bytes with their length."""
    number = field.cpp_type in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_ENUM)
    return 0 if number else 2


def test_fields_have_the_numbers_of_the_standard() -> None:
    fields = {f.number: wire(f) for f in ModelProto.DESCRIPTOR.fields}
    assert {n: w for n, w in plugin._WIRE.items() if n in fields} == fields
    assert plugin._WIRE.keys() - fields.keys() <= {26}  # of a newer onnx than the installed one
    assert ModelProto.GRAPH_FIELD_NUMBER == proto.GRAPH and GraphProto.INITIALIZER_FIELD_NUMBER == proto.INITIALIZER
    assert TensorProto.DATA_TYPE_FIELD_NUMBER == proto.DATA_TYPE
    assert proto._RUNS == {
        TensorProto.RAW_DATA_FIELD_NUMBER: None,
        TensorProto.FLOAT_DATA_FIELD_NUMBER: (TensorProto.FLOAT, TensorProto.COMPLEX64),
        TensorProto.DOUBLE_DATA_FIELD_NUMBER: (TensorProto.DOUBLE, TensorProto.COMPLEX128),
    }
    assert (proto._STRING, proto._MESSAGE) == (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE)
    assert onnx.defs.onnx_opset_version() >= 18


def test_a_domain_of_somebody_else_begins_at_version_1() -> None:
    """What an override writes in a domain that no table knows."""
    node = onnx.helper.make_node("Relu", ["x"], ["y"], "r")
    infos = [onnx.helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in "xy"]
    graph = onnx.helper.make_graph([node], "g", infos[:1], infos[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)

    def mine(e: Any, node: Any) -> None:
        e.call("my.own.Relu", [e.value(node.inputs[0])], outputs=node.outputs)

    made = convcore.convert(model, "onnx", overrides={"emit": {"r": mine}}, check=False).model
    assert [(n.domain, n.op_type) for n in made.graph.node] == [("my.own", "Relu")]
    assert {o.domain: o.version for o in made.opset_import} == {"": 18, "my.own": 1}

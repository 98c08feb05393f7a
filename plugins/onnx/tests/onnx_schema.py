"""The standard itself as the judge of rows: its schemas take what a row writes, its runtimes compute it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from convcore.ir.dtypes import type_of
from convcore.ir.graph import Node, Value
from convcore.ops.sequences import as_sequence
from convcore.rules import ForeignNode, NotExpressible
from convcore.rules.rows import Row
from convcore.rules.values import equal
from convcore.testing.ops import CheckFailed
from convcore_onnx.dtypes import dtype_code
from convcore_onnx.rules import RULES
from convcore_onnx.structure import declare_container

__all__ = ["NEWEST", "OnnxSchema"]

NEWEST = 26
"""The opset in which rows without an end are judged, unless they begin later: the newest that both runtimes know."""

_FIRST: dict[str, int] = {}
"""The first version of each type, of any domain."""
for _s in onnx.defs.get_all_schemas_with_history():
    _FIRST[_s.name] = min(_s.since_version, _FIRST.get(_s.name, _s.since_version))


class OnnxSchema:
    """A written node becomes a model that ``onnx.checker`` checks in full, in the row's opset; its attributes are read back with
    those the schema has defaults for; onnxruntime, else the standard's reference, computes it.

    ``uncomputed`` are the types that neither could run.
    """

    def __init__(self) -> None:
        self.uncomputed: set[str] = set()
        self.computed: set[str] = set()

    def accept(self, row: Row, written: ForeignNode, node: Node) -> ForeignNode:
        version = row.until or max(row.since or 0, NEWEST)
        if _FIRST.get(row.foreign, version + 1) > version:
            raise CheckFailed(f"{written}: not in opset {version}")
        schema = onnx.defs.get_schema(written.type, version, "")
        if schema.deprecated:  # it lives on in files: the last opset that has it
            version = schema.since_version - 1
            schema = onnx.defs.get_schema(written.type, version, "")
        unknown = written.attrs.keys() - schema.attributes.keys()
        if unknown:
            raise CheckFailed(f"{written}: opset {version} has no attribute {', '.join(sorted(unknown))}")
        self._types(schema, written)
        self.fed = list(dict.fromkeys(v.name for v in node.inputs if v is not None and v.tensor is None))
        self.model = _model(written, node, version, row.direction == "load")
        try:
            onnx.checker.check_model(_checkable(self.model), full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as e:
            why = f"{written} in opset {version}: {e}"
            if row.direction == "load":
                raise NotExpressible(why) from e  # no such node is ever read
            raise CheckFailed(why) from e
        attrs = {a.name: _plain(helper.get_attribute_value(a)) for a in self.model.graph.node[0].attribute}
        for key, value in written.attrs.items():
            if not equal(attrs[key], _plain(value)):
                raise CheckFailed(f"{written}: {key}={value!r} came back as {attrs[key]!r}")
        for key, a in schema.attributes.items():
            if key not in attrs and a.default_value.name and key not in RULES.ignored:
                attrs[key] = _plain(helper.get_attribute_value(a.default_value))
        missing = [k for k, a in schema.attributes.items() if a.required and k not in attrs]
        if missing:
            raise CheckFailed(f"{written}: opset {version} wants {', '.join(missing)}")
        outputs = [v.name if v in _read(row, node) else "" for v in node.outputs]
        return ForeignNode(written.type, written.name, written.inputs, attrs, outputs=outputs, version=version)

    def compute(self, row: Row, written: ForeignNode, inputs: Sequence[Any]) -> Sequence[Any] | None:
        if _no_judge(written):
            return None
        import onnxruntime as ort
        from onnx.reference import ReferenceEvaluator

        asked = {v.name for v in self.model.graph.input}  # in the order of the foreign type, the arrays are in that of the op
        feeds = {name: list(a) if type_of(a).is_sequence else a for name, a in zip(self.fed, inputs) if name in asked}
        ort.set_default_logger_severity(4)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            session = ort.InferenceSession(self.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
            made: Any = session.run(None, feeds)
        except Exception as first:  # noqa: BLE001  whatever keeps onnxruntime from it: an opset, a type without a kernel
            try:
                made = ReferenceEvaluator(self.model).run(None, feeds)
            except Exception as second:  # noqa: BLE001
                self.uncomputed.add(f"{written.type}: {type(first).__name__}, {type(second).__name__}")
                return None
        self.computed.add(written.type)
        return [as_sequence(a) if isinstance(a, list) else np.asarray(a) for a in made]

    @staticmethod
    def _types(schema: Any, written: ForeignNode) -> None:
        """An example of an element type that the operator does not take in this opset is none (rows are of every type)."""
        allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
        bound: dict[str, Any] = {}
        for i, v in enumerate(written.inputs):
            if v is None or not schema.inputs:
                continue
            formal = schema.inputs[min(i, len(schema.inputs) - 1)]
            element = v.dtype and (v.dtype.element or v.dtype)
            text = f"tensor({ {'float32': 'float', 'float64': 'double'}.get(str(element), str(element)) })"
            if v.dtype is not element:
                text = f"seq({text})"
            if text not in allowed.get(formal.type_str, [formal.type_str]):
                raise NotExpressible(f"{written.type} takes no {v.dtype} as {formal.name}")
            if bound.setdefault(formal.type_str, v.dtype) != v.dtype and "Heterogeneous" not in str(formal):
                raise NotExpressible(f"{written.type} wants one element type for {formal.type_str}")


def _no_judge(written: ForeignNode) -> bool:
    """What onnxruntime 1.31 and onnx 1.23's reference compute otherwise than the standard says, or lose digits in."""
    a = written.attrs
    if written.type in ("MaxPool", "AveragePool", "LpPool"):  # dilations do not count in onnxruntime's auto_pad, nor (but for
        dilated = any(d != 1 for d in a.get("dilations", ()))  # MaxPool) in the reference's windows: shapes contradict inference
        same = a.get("auto_pad", "NOTSET").startswith("SAME")
        skips = any(s > k for s, k in zip(a.get("strides", ()), a["kernel_shape"]))  # onnxruntime fails or pads by less than 0
        return (same and (dilated or skips)) or (dilated and written.type != "MaxPool")
    if written.type == "LRN":  # onnxruntime refuses an even size, the reference fills as many channels as the batch has items
        return bool(a["size"] % 2 == 0)
    if written.type == "TopK":  # in any order, which is not comparable
        return not a.get("sorted", 1)
    if written.type == "StringNormalizer":  # onnxruntime wants the default locale en_US installed, and the reference compares
        exact = a["case_change_action"] == "NONE" and not a["is_case_sensitive"]  # stop words exactly where no case is changed,
        return exact and "locale" not in a and bool(a.get("stopwords"))  # although is_case_sensitive=0 says otherwise
    if written.type == "MeanVarianceNormalization":  # as E[x^2] - E[x]^2
        x = written.inputs[0]
        return x is None or int(np.prod([x.shape[i] for i in a["axes"]])) < 20
    return False


def _read(row: Row, node: Node) -> Sequence[Value]:
    """The outputs a row is about; all of one that gives any number."""
    decl = row.decl
    return node.outputs if decl.variadic_outputs else [node.outputs[decl.outputs.index(o)] for _, o in row.outputs]


def _model(written: ForeignNode, node: Node, version: int, loads: bool) -> onnx.ModelProto:
    ins, initializers, names = [], [], []
    for v in written.inputs:
        if v is None:
            names.append("")
            continue
        names.append(v.name)
        if v.tensor is not None:
            initializers.append(numpy_helper.from_array(np.ascontiguousarray(v.tensor.numpy()), v.name))
        elif all(i.name != v.name for i in ins):
            ins.append(_info(v, _shape(v)))
    outs = []
    for v in node.outputs:  # what is only read: its shape is the runtime's, which shape inference does not always tell
        shape = _shape(v)
        outs.append(_info(v, [None] * len(shape) if loads and shape is not None else shape))
    attrs = {k: _plain(v) for k, v in written.attrs.items()}
    proto = helper.make_node(written.type, names, [v.name for v in node.outputs], **attrs)
    graph = helper.make_graph([proto], "row", ins, outs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=10)


def _checkable(model: onnx.ModelProto) -> onnx.ModelProto:
    """With outputs whose rank the op does not tell (elements of sequences) as values inside: the checker wants a shape of every
    output, and inference compares the types of both."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    open_ = [o for o in model.graph.output if o.type.HasField("tensor_type") and not o.type.tensor_type.HasField("shape")]
    made.graph.value_info.extend(open_)
    for o in open_:
        made.graph.output.remove(o)
    return made


def _info(v: Value, shape: list[int | None] | None) -> onnx.ValueInfoProto:
    if v.dtype is not None and not v.dtype.is_container:
        return helper.make_tensor_value_info(v.name, dtype_code(v.dtype), shape)
    info = onnx.ValueInfoProto(name=v.name)
    if v.dtype is not None:
        declare_container(info.type, v.dtype, dtype_code)
    return info


def _shape(v: Value) -> list[int | None] | None:
    return None if v.shape is None else [n if isinstance(n, int) else None for n in v.shape]


def _plain(v: Any) -> Any:
    if isinstance(v, bytes):
        return v.decode()
    if isinstance(v, bool):
        return int(v)
    if isinstance(v, (list, tuple)):
        return tuple(_plain(x) for x in v)
    if isinstance(v, float):
        return float(str(np.float32(v)))
    return v

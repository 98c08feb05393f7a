"""What ONNX is, for the plan: names given at once, weights as operands, operators checked against their schemas."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, TypeAlias

from convcore.plugin import (
    LEFT_OUT,
    Dialect,
    Dim,
    DType,
    Graph,
    Node,
    Problem,
    Ref,
    Scribe,
    State,
    Value,
    ask_option,
    unsupported,
)

from .keep import KeptNode, keep_nodes
from .library import messages, newest_opset
from .older import WRITTEN, spelled
from .typecheck import result_types, same_operator

__all__ = ["DEFAULT_OPSET", "OLDEST_OPSET", "OnnxDialect", "OnnxScribe"]

OLDEST_OPSET = 7
DEFAULT_OPSET = 18
"""The default of torch.onnx.export(dynamo=True), which every runtime of the last years reads; ONNX models keep their own."""


_SIZE_OPS = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "mod": "Mod", "max": "Max", "min": "Min"}


DOMAINS = {"ai.onnx.ml": 4}
"""Versions of other operator sets that rules write for."""


class OnnxDialect(Dialect):
    """``version`` is the opset written; ``keep_training`` writes what acts in training only, switched off; ``keep_contrib``
    keeps nodes of com.microsoft. Types outside the standard are written ``domain.Type``.

    Weights of regions are initializers of the main graph, which subgraphs may refer to.
    """

    title = "ONNX"
    has_containers = True
    eager_names = True
    states_are_inputs = True

    def __init__(self, opset: int, ir: int, keep_training: bool, keep_contrib: bool) -> None:
        self.version = self.opset = opset
        self.respells = opset < WRITTEN
        self.keep_training = keep_training
        self.keep_contrib = keep_contrib
        self.ir = ir
        self.domains: dict[str, int | None] = {}

    # ---- the graph
    def keep(self, graph: Graph, overrides: Container[str]) -> None:
        if self.keep_contrib:
            keep_nodes(graph, overrides)

    def enter(self, s: OnnxScribe) -> list[Problem]:
        s.reserve_names()
        return super().enter(s)

    def leave(self, s: OnnxScribe) -> list[Problem]:
        """Every output under its own name. An input that is an output stays both, as ONNX allows; a weight is renamed and put
        out by an Identity, and so is what is put out under several names."""
        made = {r for call in s.block.calls for r in call.results}
        for v in s.graph.outputs:
            handle = s.value(v)
            again = handle in s.block.outputs
            if again or not (handle in made or (s.outer is None and handle in s.block.inputs and handle.name == v.name)):
                handle = self._copy(s, v, handle, again)
            s.block.outputs.append(handle)
        if s.outer is None:
            _name_sizes(s)
        seen = s.block.inputs if s.outer is not None else [*s.block.inputs, *s.block.outputs]
        return [p for ref in seen for p in _undeclarable(ref)]

    @staticmethod
    def _copy(s: OnnxScribe, v: Value, handle: Any, again: bool) -> Ref:
        names = s.plan.names
        if s.outer is not None:
            name = f"{v.name}/output"
        elif again and handle.name == v.name:
            name = names.fresh(f"{v.name}_output")
        else:
            name = s.own_name(v.name) if handle.name != v.name else v.name
        if isinstance(handle, State) and handle.name == name:
            handle.name = names.fresh(f"{name}_value")
        (copy,) = s.call("Identity", [handle], name=name)
        copy.dtype, copy.shape = v.dtype, v.shape
        if s.outer is None:
            copy.name = name
        return copy

    # ---- calls
    def spelled(
        self, s: OnnxScribe, type: str, args: Sequence[Any], config: Mapping[str, Any], results: int
    ) -> tuple[str, Sequence[Any], Mapping[str, Any]]:
        """Rules write for opset 13 and newer; before it, in older words."""
        if "." in type:
            return type, args, config
        return spelled(s, self.opset, type, args, config, results)

    def check(self, s: OnnxScribe, type: str, args: Sequence[Any], config: Mapping[str, Any]) -> Sequence[DType | None]:
        """Against the operator's schema in this opset; another domain's is taken as it is."""
        domain, _, _ = type.rpartition(".")
        if domain:
            s.journal.put(self.domains, domain, DOMAINS.get(domain, 1))
            return ()
        return result_types(type, self.opset, [None if a is None else a.dtype for a in args], config)

    def opaque(self, s: OnnxScribe, node: Node) -> None:
        """Where the opset written gives it the meaning it had."""
        layer = node.attrs.get("layer")
        if isinstance(layer, KeptNode):
            layer.write(s, node)
            return
        kept = node.attrs["attributes"]
        if "proto" not in kept or node.attrs["code"] in ("malformed_node", "invalid_shape"):  # wrong in its source already
            raise unsupported(node, str(node.attrs["why"]), code=str(node.attrs["code"]))
        proto, version = _kept_node(node, kept)
        why = str(node.attrs["why"])
        if any(a.ref_attr_name or a.type in (a.GRAPH, a.GRAPHS) for a in proto.attribute):
            raise unsupported(node, "it holds subgraphs or is part of a function: it cannot be written back alone", why)
        if any(t.data_location == t.EXTERNAL for a in proto.attribute for t in (a.t, *a.tensors)):
            raise unsupported(node, "an attribute's data is in another file: it cannot be written back alone", why)
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        if kept.get("function"):
            raise unsupported(node, f"it calls the model's function {proto.op_type!r}: it cannot be written back alone", why)
        if not domain and not same_operator(proto.op_type, version, self.opset):
            if version == self.opset:
                raise unsupported(node, f"ONNX's opset {version} has no operator {proto.op_type}", why)
            hint = why
            if version:
                able = OLDEST_OPSET <= version <= newest_opset()
                hint += f"; {ask_option('opset', version)}, that of its source, keeps it" if able else (
                    f"; its source's opset {version} cannot be written, only {OLDEST_OPSET} to {newest_opset()}"
                )  # fmt: skip
            raise unsupported(node, f"opset {self.opset} has another {proto.op_type} than its source", hint)
        if domain:  # a source that imports no version of it (onnxruntime takes its own) stays as it is
            if self.domains.get(domain, version) != version:
                raise unsupported(node, f"the version of the operator set {domain!r} is not clear")
            s.journal.put(self.domains, domain, version)
        ins = [None if v is None else s.value(v) for v in node.inputs]
        outs = [v if o else LEFT_OUT for v, o in zip(node.outputs, proto.output)]
        type_ = f"{domain}.{proto.op_type}" if domain else proto.op_type
        s.call(type_, ins, outputs=outs, name=node.name, kept=list(proto.attribute))

    # ---- sizes as data
    def size_of(self, s: OnnxScribe, x: Any, axis: int, name: str) -> Any:
        (shape,) = s.call("Shape", [x], name=f"{name}/shape")
        return s.call("Gather", [shape, s.const([axis], DType.INT64)], {"axis": 0}, name=name)[0]

    def size_op(self, s: OnnxScribe, op: str, a: Any, b: Any) -> Any:
        return s.call(_SIZE_OPS[op], [a, b], name="size")[0]

    def size_vector(self, s: OnnxScribe, parts: Sequence[Any]) -> Any:
        return s.call("Concat", parts, {"axis": 0}, name="shape")[0]


OnnxScribe: TypeAlias = Scribe[OnnxDialect]


def _kept_node(node: Node, kept: Mapping[str, Any]) -> tuple[Any, int | None]:
    """The node that an opaque one keeps, and its opset; a .ccir file may hold anything in their place."""
    from google.protobuf.message import DecodeError

    NodeProto = messages().NodeProto

    data, version = kept["proto"], kept.get("opset")
    try:
        proto = NodeProto.FromString(data) if isinstance(data, bytes) else None
    except DecodeError:
        proto = None
    made = [] if proto is None else list(proto.output)
    sound = len(made) == len(node.outputs) and all(o or not (v.uses or v.is_output) for v, o in zip(node.outputs, made))
    if not sound or not (version is None or (isinstance(version, int) and 0 < version < 1 << 31)):
        raise unsupported(node, "what was kept of it is damaged: it cannot be written back")
    return proto, version


def _name_sizes(s: OnnxScribe) -> None:
    """Sizes of outputs that depend on the data, under the names they have in the ONNX file that was read."""
    named = s.graph.metadata.get("size_names", {})
    for ref in s.block.outputs:
        names = named.get(ref.name, ())
        if isinstance(ref, Ref) and ref.shape is not None and len(ref.shape) == len(names):
            ref.shape = tuple(Dim(n) if d is None and n else d for d, n in zip(ref.shape, names))


def _undeclarable(ref: Ref) -> list[Problem]:
    """Why an input or output of a graph cannot be declared."""
    if ref.dtype is None:
        return [Problem(ref.name, "value", "its element type is not known", code="unknown_dtype")]
    large = [d for d in ref.shape or () if isinstance(d, int) and d >= 1 << 63]
    return [Problem(ref.name, "value", f"its size {d} does not fit ONNX", code="invalid_shape") for d in large]

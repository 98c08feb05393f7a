"""Functions: those of the model, and the definitions the ONNX standard gives its composite ops, put in place of the call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convcore.plugin import RESULTS, BadFileError, Problem, UnsupportedError, Value, bounded_results, spend_nodes

from .attributes import attribute_kind
from .attributes import value as attribute_value
from .dtypes import dtype_code
from .library import messages
from .structure import MAX_DEPTH, declare_container, names_read, opsets_of, ordered

__all__ = ["Functions"]


class Functions:
    """The model's functions by domain, name and overload."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.table: dict[tuple[str, str, str], Any] = {}
        for f in loader.model.functions:
            key = (_domain(f.domain), f.name, getattr(f, "overload", ""))
            if key in self.table:
                raise BadFileError(f"the function {f.name!r} is there twice")
            self.table[key] = f
        self._count()

    def _count(self) -> None:
        """Count the nodes, those in subgraphs and those that calls of the model's functions expand to, before any is made:
        functions that call others twice each grow exponentially."""
        counted: dict[tuple[str, str, str], int] = {}

        def nodes_of(nodes: Any, depth: int) -> int:
            if depth > MAX_DEPTH:
                raise BadFileError(f"functions call each other more than {MAX_DEPTH} deep, or without end")
            total = 0
            for n in nodes:
                total += 1
                most = max(len(n.input), len(n.output))
                if most > RESULTS:  # asked here, or the words would be made for every node
                    bounded_results(most, f"node {n.name!r} ({n.op_type})")
                f = self.find(n, _domain(n.domain)) if self.table else None
                if f is not None:
                    key = (_domain(n.domain), n.op_type, getattr(n, "overload", ""))
                    if key not in counted:
                        counted[key] = nodes_of(f.node, depth + 1)
                    total += counted[key]
                for a in n.attribute:
                    for g in (a.g, *a.graphs) if a.HasField("g") or a.graphs else ():
                        total += nodes_of(g.node, depth + 1)
            return total

        spend_nodes(nodes_of(self.loader.model.graph.node, 0), "with its subgraphs and functions it expands")

    def find(self, node: Any, domain: str) -> Any:
        """The model's function a node calls, or None."""
        return self.table.get((domain, node.op_type, getattr(node, "overload", ""))) if self.table else None

    def standard(self, node: Any, domain: str, version: int, inputs: Sequence[Value | None], attrs: Mapping[str, Any]) -> Any:
        """The standard's own definition of an op as (function, attribute defaults, opset of its nodes), or None."""
        import onnx

        try:
            schema: Any = onnx.defs.get_schema(node.op_type, version, domain)
        except onnx.defs.SchemaError:
            return None
        raw, opset = b"", version
        if schema.has_function:
            opset = _version(schema.function_opset_versions, version)
            raw = schema.get_function_with_opset_version(opset)
        elif schema.has_context_dependent_function:
            opset = _version(schema.context_dependent_function_opset_versions, version)
            types = _types(inputs)
            if types is not None:
                try:
                    raw = schema.get_context_dependent_function_with_opset_version(opset, _resolved(node, attrs), types)
                except (ValueError, RuntimeError):  # of a node that is not as its schema says, onnx makes no definition
                    return None
        if not raw:
            return None
        defaults = {k: a.default_value for k, a in schema.attributes.items() if a.default_value.name}
        return onnx.FunctionProto.FromString(raw), defaults, opset

    def inline(
        self, scope: Any, f: Any, name: str, inputs: Sequence[Value | None], attrs: Mapping[str, Any], outs: Sequence[str],
        where: Any, defaults: Mapping[str, Any] | None = None, opset: int | None = None,
    ) -> list[Value]:  # fmt: skip
        """The function's nodes with the call's values; inner names are ``<call>/<name>``."""
        if where.depth >= MAX_DEPTH:
            raise BadFileError(
                f"functions call each other more than {MAX_DEPTH} deep, or without end, at {name[:60]!r} ({f.name})"
            )
        if defaults is not None:  # those of the model's own are counted from the start
            spend_nodes(len(f.node), "with the standard's functions it expands")
        if len(inputs) > len(f.input) or len(outs) > len(f.output):
            raise BadFileError(f"node {name!r}: function {f.name} takes {len(f.input)} inputs and gives {len(f.output)} outputs")
        bound = dict(attrs)
        declared = set(f.attribute) | set(attrs if defaults is not None else ())
        for a in (*f.attribute_proto, *(defaults or {}).values()):
            declared.add(a.name)
            if a.name not in bound:
                bound[a.name] = attribute_value(
                    a, attribute_kind(a), where, scope, self.loader.source.folder, f"of function {f.name!r}"
                )
        unknown = sorted(attrs.keys() - declared)
        if unknown:
            raise UnsupportedError(
                Problem(name, f.name, f"the function has no attribute {unknown[0]!r}", code="unknown_attribute")
            )
        prefix = f"{name}/"
        opsets = opsets_of(f.opset_import, f"function {f.name!r}") or dict(where.opsets)
        if opset is not None:
            opsets = {**where.opsets, "": max(where.opsets.get("", opset), opset), **opsets}
        inner = type(where)(opsets, bound, prefix, where.depth + 1)
        missing: set[str] = set()
        for i, formal in enumerate(f.input):
            v = inputs[i] if i < len(inputs) else None
            if v is None:
                missing.add(formal)
            else:
                scope.values[prefix + formal] = v
        for n in ordered(f.node, names_read(f.node), lambda x: x in missing or scope.known(prefix + x), f"function {f.name!r}"):
            if any(i in missing for i in n.input):
                n = _without(n, missing)
            self.loader.node(scope, n, inner)
        first: Value | None = None
        results = []
        for o, wanted in zip(f.output, outs):
            v = self.loader.find(scope, prefix + o, f"function {f.name!r}") if wanted or not any(outs) else first
            first = first if first is not None else v
            results.append(v)
        return [v if v is not None else first for v in results]  # type: ignore[misc]


def _version(available: Sequence[int], version: int) -> int:
    """The newest definition that is not newer than the opset."""
    return max((v for v in available if v <= version), default=min(available))


def _resolved(node: Any, attrs: Mapping[str, Any]) -> bytes:
    """The node with references to a function's attributes replaced by their values."""
    from onnx.helper import make_attribute

    if not any(a.ref_attr_name for a in node.attribute):
        return bytes(node.SerializeToString())
    copy = type(node)()
    copy.CopyFrom(node)
    kept = [a for a in node.attribute if not a.ref_attr_name]
    kept += [
        make_attribute(a.name, attrs[a.name], attr_type=a.type or None)
        for a in node.attribute
        if a.ref_attr_name and isinstance(attrs.get(a.name), (int, float, str, tuple))
    ]
    del copy.attribute[:]
    copy.attribute.extend(kept)
    return bytes(copy.SerializeToString())


def _types(inputs: Sequence[Value | None]) -> list[bytes] | None:
    """TypeProtos of the inputs; None when an element type is unknown."""
    types = []
    for v in inputs:
        t = messages().TypeProto()
        if v is not None:
            if v.dtype is None:
                return None
            declare_container(t, v.dtype, dtype_code)
            if v.shape is not None:
                t.tensor_type.shape.SetInParent()
                for d in v.shape:
                    dim = t.tensor_type.shape.dim.add()
                    if isinstance(d, int):
                        dim.dim_value = d
        types.append(t.SerializeToString())
    return types


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _without(node: Any, missing: set[str]) -> Any:
    """The node with inputs the call left out left out."""
    copy = type(node)()
    copy.CopyFrom(node)
    names = ["" if i in missing else i for i in copy.input]
    while names and not names[-1]:
        names.pop()
    del copy.input[:]
    copy.input.extend(names)
    return copy

"""How the nodes of an ONNX model become IR: each by its rule, by the function it calls, or opaque."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convcore.plugin import Driver, DType, ForeignNode, NotExpressible, Shape, UnsupportedError, Value

from .attributes import attributes, attributes_of, plain
from .context import OnnxContext
from .contrib import DOMAIN
from .rules import RULES as STANDARD
from .rules.base import BY_DEFINITION
from .schemas import malformed, odd_choice, odd_flag, odd_labels
from .scope import Where

__all__ = ["Call", "OnnxDriver"]

_CHECKED = ("", "ai.onnx.ml", DOMAIN)
"""Operator sets whose nodes are checked against their schemas."""


@dataclass
class Call:
    """A node as the file has it (``ForeignNode.extra``): its proto and domain, how the code around it is read, where its
    attributes are noted, and why one of its inputs is of no type convcore holds."""

    proto: Any
    domain: str
    where: Where
    config: dict[str, Any] | None
    bad: str = ""


class OnnxDriver(Driver):
    """Nodes by their rules, else by the functions they call, of the model or of the standard."""

    g: OnnxContext

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        rules = self.rules.load_rules.get("Constant", [])
        self.plain_constants = "Constant" not in self.overrides and rules == STANDARD.load_rules["Constant"]
        """Whether nobody else has a say in what a Constant is."""

    def apply(self, node: ForeignNode) -> Sequence[Value]:
        call: Call = node.extra
        loader, n, domain, version = self.g.loader, call.proto, call.domain, node.version
        if call.bad:
            raise node.refuse(call.bad, code="unsupported_dtype")
        given = attributes_of(n)
        why = malformed(n, given, version, domain) if version is not None and domain in _CHECKED else ""
        if why:
            raise node.refuse(why, code="malformed_node")
        node.attrs = attributes(n, given, call.where, self.g.scope, loader.source.folder)
        if call.config is not None:
            for k, v in node.attrs.items():
                call.config[k] = plain(v)
        why = odd_flag(node.attrs) if not domain or (domain == DOMAIN and node.type in self.rules.load_rules) else ""
        why = why or ("" if domain else odd_choice(node.type, node.attrs) or odd_labels(node.type, node.inputs))
        if why:
            raise node.refuse(why)
        function = None if self.has_rule(node) else loader.functions.find(n, domain)
        if function is not None:
            return self.inlined(node, function)
        if version is None:
            why = f"the model does not import the operator set {domain or 'ai.onnx'!r}"
            raise node.refuse(why, code="unsupported_layer")
        try:
            return super().apply(node)
        except UnsupportedError as refused:
            known = self.has_rule(node) and refused.problems[0].code != BY_DEFINITION
            body = None if known else loader.functions.standard(n, domain, version, node.inputs, node.attrs)
            if body is None:
                raise
            before = self.opaque_nodes()
            try:
                with self.g.b.attempt():
                    values = self.inlined(node, *body)
                    if self.opaque_nodes() > before:  # whole it can be written back, in parts it cannot
                        raise NotExpressible("its body has operators without a rule")
            except NotExpressible:
                raise refused from None
            return values

    def opaque_nodes(self) -> int:
        """How many nodes of the graph are only handed on."""
        return sum(node.op == "opaque" for node in self.g.b.graph)

    def inlined(self, node: ForeignNode, function: Any, *standard: Any) -> Sequence[Value]:
        """The nodes of a function in place of its call."""
        functions, call = self.g.loader.functions, node.extra
        values: Sequence[Value] = functions.inline(
            self.g.scope, function, node.name, node.inputs, node.attrs, node.outputs, call.where, *standard
        )
        return values

    def kept(self, node: ForeignNode) -> Mapping[str, Any]:
        proto, domain = node.extra.proto, node.extra.domain
        function = self.g.loader.functions.find(proto, domain) is not None
        given = {k: _plain(v) for k, v in node.attrs.items()}
        return {"proto": proto.SerializeToString(), "opset": node.version, "function": function, "given": given}

    def declared(self, node: ForeignNode) -> Sequence[tuple[DType | None, Shape | None]]:
        return [self.g.loader.declared(self.g.scope, o) for o in node.outputs]


def _plain(v: Any) -> Any:
    """An attribute as JSON-like data; what is no number, text or list of them by its kind."""
    if isinstance(v, (list, tuple)):
        return [_plain(x) for x in v]
    return v if v is None or isinstance(v, (bool, int, float, str)) else type(v).__name__

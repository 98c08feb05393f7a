"""Printing a graph as text; :mod:`convcore.ir.text` reads it back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .dims import Dim, Shape
from .dtypes import DType
from .tensors import Tensor, moves_of

if TYPE_CHECKING:
    from .graph import Graph, Value

__all__ = ["to_text"]

_PLAIN = re.compile(r"[\w./:#+-]*[\w./#+-]\Z", re.ASCII)  # a ":" at the end would be taken for the one before the type


def _name(v: Value | None) -> str:
    if v is None:
        return "_"
    return f"%{v.name}" if _PLAIN.match(v.name) else f"%{json.dumps(v.name)}"


def _shape(shape: Shape | None) -> str:
    if shape is None:
        return "[...]"
    return "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"


def _attr(v: Any, tensors: list[Tensor] | None) -> str:
    if v is None:
        return "none"
    if isinstance(v, DType):
        return f"!{v.value}"
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, Dim):
        return "{" + str(v) + "}"
    if isinstance(v, (int, float)):
        return repr(float(v) if isinstance(v, float) else v)  # numpy's float64 is a float with a repr of its own
    if isinstance(v, str):
        return json.dumps(v)
    if isinstance(v, (tuple, list)):
        return "(" + ", ".join(_attr(x, tensors) for x in v) + ("," if len(v) == 1 else "") + ")"
    if isinstance(v, Mapping):
        return "<" + ", ".join(f"{json.dumps(str(k))}: {_attr(x, tensors)}" for k, x in v.items()) + ">"
    if isinstance(v, Tensor):
        if tensors is not None:
            tensors.append(v)
        return f"tensor({v.dtype}{_shape(v.shape)})"
    if hasattr(v, "tolist"):
        return _attr(v.tolist(), tensors)
    if isinstance(v, bytes):
        return "bytes(" + json.dumps(v.hex()) + ")"
    return f"opaque({json.dumps(repr(v)[:200])})"


def _json(config: Mapping[str, Any]) -> str:
    """Configuration as JSON; what JSON lacks is printed as text."""
    return json.dumps(config, default=str, sort_keys=False)


def to_text(graph: Graph, tensors: list[Tensor] | None = None) -> str:
    """Print a graph; tensors held by attributes are appended to ``tensors`` in order of appearance."""
    out: list[str] = []
    _print(graph, out, "", tensors)
    return "\n".join(out) + "\n"


def _print(g: Graph, out: list[str], pad: str, tensors: list[Tensor] | None) -> None:
    out.append(f"{pad}graph {json.dumps(g.name)} {{")
    p = pad + "  "
    if g.metadata:
        out.append(f"{p}metadata {json.dumps(g.metadata, default=str, sort_keys=True)}")
    numbers = {g.root: 0}
    for scope in g.scopes():
        n = numbers[scope] = len(numbers)
        inside = f" in {numbers[scope.parent]}" if scope.parent is not None and scope.parent is not g.root else ""
        tail = (f" call {scope.call}" if scope.call else "") + (f" {_json(scope.config)}" if scope.config else "")
        out.append(f"{p}scope {n} {json.dumps(scope.name)} {json.dumps(scope.type)}{inside}{tail}")
    for v in g.inputs:
        out.append(f"{p}input {_name(v)}: {v.dtype}{_shape(v.shape)}")
    for v in g.weights.values():
        role = "" if v.role == "constant" else f" {v.role}"
        tail = role + (" trainable" if v.trainable else "") + (f" {json.dumps(v.source)}" if v.source else "")
        base, steps = moves_of(v.tensor) if v.source and v.tensor is not None and not pad else (None, ())
        moved = f" of {json.dumps([base.shape, [[t.kind, t.arg] for t in steps]])}" if base is not None and steps else ""
        out.append(f"{p}weight {_name(v)}: {v.dtype}{_shape(v.shape)}{tail}{moved}")
    for node in g:
        ins = ", ".join(_name(v) for v in node.inputs)
        attrs = " {" + ", ".join(f"{k}={_attr(v, tensors)}" for k, v in node.attrs.items()) + "}" if node.attrs else ""
        types = ", ".join(f"{v.dtype}{_shape(v.shape)}" for v in node.outputs)
        o = node.origin
        parts = [o.framework, o.layer, o.type, o.source]
        while parts and not parts[-1]:
            parts.pop()
        text = [json.dumps(x) for x in parts] + (["passes=" + json.dumps(list(o.passes))] if o.passes else [])
        origin = f" origin({', '.join(text)})" if text else ""
        lhs = ", ".join(_name(v) for v in node.outputs)
        inside = f" in {numbers[node.scope]}" if node.scope is not g.root else ""
        line = f"{p}{lhs} = {node.op}({ins}){attrs} : {types} @ {json.dumps(node.name)}{inside}{origin}"
        if node.regions:
            out.append(line + " regions")
            for r in node.regions:
                _print(r, out, p + "  ", tensors)
            out.append(f"{p}end")
        else:
            out.append(line)
    out.append(f"{p}output " + ", ".join(_name(v) for v in g.outputs))
    for v in g.values():
        for scope, i in v.results:
            out.append(f"{p}result {numbers[scope]} {i} {_name(v)}")
    out.append(f"{pad}}}")

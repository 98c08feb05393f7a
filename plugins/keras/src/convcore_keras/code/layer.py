"""Lambda layers and TensorFlow's operation layers: their function's meaning as operations in the layer's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convcore.plugin import ForeignNode, Value

from ..load_context import KerasContext
from . import meanings as _meanings  # fills the table
from .domain import CodeRefused, Domain, Name, Options
from .lambdas import one_meaning, stored_function, wrapped_function
from .machine import CodeFunction
from .names import MODULES, ROOTS, elementwise
from .tensors import GraphOps

__all__ = ["call_function", "call_operator", "run_stored"]

assert _meanings is not None

OPTIONS = Options(ROOTS, MODULES)


class _Undone(Exception):
    """Leaves an attempt whose nodes were only looked at."""


def run_stored(g: KerasContext, node: ForeignNode, stored: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Value]:
    """The outputs of a function that the file stores as bytes, applied to values. Raises CodeRefused."""
    readings = stored_function(stored).readings()
    wrapped = {wrapped_function(r) for r in readings}
    if wrapped != {None}:
        name = next(iter(wrapped))
        if len(wrapped) != 1 or name is None or not elementwise(name):
            raise CodeRefused(f"is TensorFlow's wrapper around a function of the name {name!r}, which several have")
        return call_function(g, node, f"tensorflow.{name}", args, kwargs)

    def understand(reading: CodeFunction) -> tuple[CodeFunction, Any]:
        key: Any = None
        try:
            with g.b.attempt():
                before = len(g.b.graph.nodes)
                outs = _apply(g, node, reading, args, kwargs)
                key = _described(g, before, outs)
                raise _Undone
        except _Undone:
            pass
        return reading, key

    reading, _ = one_meaning(readings, understand, lambda found: found[1])
    return _apply(g, node, reading, args, kwargs)


def _apply(g: KerasContext, node: ForeignNode, f: CodeFunction, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Value]:
    parameters = f.parameters()
    more = {k: v for k, v in (("mask", g.input_mask(node)), ("training", False)) if k in parameters.names and k not in kwargs}
    if len(args) + len([k for k in more if k in parameters.names]) > len(parameters.names):
        more = {}
    domain = Domain(GraphOps(g, node), OPTIONS)
    return results(g, f.invoke(domain, args, {**kwargs, **more}))


def results(g: KerasContext, x: Any) -> list[Value]:
    """What a function gave, as values of the graph. Raises CodeRefused for anything but tensors."""
    items = list(x) if isinstance(x, (list, tuple)) else [x]
    if not items or not all(isinstance(v, Value) for v in items):
        raise CodeRefused("returns something else than tensors")
    return items


def _described(g: KerasContext, before: int, outs: Sequence[Value]) -> Any:
    """The nodes made since, and the results, in a form that is equal for equal meanings."""
    names: dict[int, int] = {}
    found: list[Any] = []
    for n in g.b.graph.nodes[before:]:
        for v in n.inputs:
            if v is not None and v.tensor is not None and id(v) not in names:
                names[id(v)] = -len(names) - 1
                found.append(("const", names[id(v)], str(v.dtype), v.tensor.numpy().tobytes(), v.tensor.shape))
        inputs = tuple(None if v is None else names.get(id(v), v.name) for v in n.inputs)
        found.append((n.op, inputs, repr(sorted(n.attrs.items()))))
        for v in n.outputs:
            names[id(v)] = len(found)
    return tuple(found), tuple(names.get(id(v), v.name) for v in outs)


def call_function(g: KerasContext, node: ForeignNode, path: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Value]:
    """A function by its dotted name, applied to values. Raises CodeRefused."""
    domain = Domain(GraphOps(g, node), OPTIONS)
    return results(g, domain.call(Name(path), args, kwargs))


def call_operator(g: KerasContext, node: ForeignNode, op: str, pair: Sequence[Any], turned: bool) -> list[Value]:
    """``x op y``, or ``y op x``. Raises CodeRefused."""
    if len(pair) != 2:
        raise CodeRefused(f"calls an operator with {len(pair)} arguments")
    x, y = reversed(pair) if turned else pair
    return results(g, Domain(GraphOps(g, node), OPTIONS).binary(op, x, y))

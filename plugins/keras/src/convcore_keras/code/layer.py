"""Lambda layers and TensorFlow's operation layers: their function's meaning as operations in the layer's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from convcore.plugin import Dim, DType, ForeignNode, Node, Value

from ..load_context import KerasContext
from .domain import CodeRefused, Domain, Name, Options
from .lambdas import one_meaning, stored_function, wrapped_function
from .machine import CodeFunction
from .names import MODULES, ROOTS, canonical_path, elementwise, operator_of
from .tensors import GraphOps, TensorShape

__all__ = ["call_function", "call_operator", "results", "run_stored", "told_apart", "with_sizes"]

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
                key = told_apart(g.b.graph.nodes[before:], outs)
                raise _Undone
        except _Undone:
            pass
        return reading, key

    reading, _ = one_meaning(readings, understand, lambda found: found[1])
    return _apply(g, node, reading, args, kwargs)


def _apply(g: KerasContext, node: ForeignNode, f: CodeFunction, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Value]:
    parameters = f.parameters()
    given: dict[str, Any] = {"mask": g.input_mask(node)}
    if g.era not in ("keras1", "keras2") or g.version >= (2, 4):  # Lambda.call of Keras before hands no training on
        given["training"] = False
    more = {k: v for k, v in given.items() if k in parameters.names and k not in kwargs}
    if len(args) + len([k for k in more if k in parameters.names]) > len(parameters.names):
        more = {}
    domain = Domain(GraphOps(g, node), OPTIONS)
    return results(g, f.invoke(domain, args, {**kwargs, **more}))


def results(g: KerasContext, x: Any) -> list[Value]:
    """What a function gave, as values of the graph; sizes are remembered as such (``g.shape_values``). Raises CodeRefused."""
    if isinstance(x, TensorShape) or (isinstance(x, (int, Dim)) and not isinstance(x, bool)):
        return [_size_value(g, x)]
    items = list(x) if isinstance(x, (list, tuple)) else [x]
    if not items or not all(isinstance(v, Value) for v in items):
        raise CodeRefused("returns something else than tensors")
    return items


def _size_value(g: KerasContext, x: Any) -> Value:
    """Sizes as TensorFlow's int32, which the functions after it take for what they are."""
    b = g.b
    if isinstance(x, TensorShape):
        parts = [
            b.const([n], DType.INT32) if isinstance(n, int) else b.unsqueeze(b.cast(b.dim_value(value=n), to="int32"), axes=(0,))
            for n in x
        ]  # fmt: skip
        y: Value = b.concat(*parts, axis=0) if parts else b.const(np.zeros(0, np.int32), DType.INT32)
    else:
        y = b.cast(b.dim_value(value=x), to="int32")
    g.shape_values[id(y)] = (y, x)
    return y


def with_sizes(g: KerasContext, x: Any) -> Any:
    """Arguments with sizes in the place of the values that hold them."""
    if isinstance(x, Value):
        found = g.shape_values.get(id(x))
        return x if found is None else found[1]
    if isinstance(x, TensorShape):
        return x
    if isinstance(x, (list, tuple)):
        return type(x)(with_sizes(g, v) for v in x)
    if isinstance(x, slice):
        return slice(*(with_sizes(g, v) for v in (x.start, x.stop, x.step)))
    return {k: with_sizes(g, v) for k, v in x.items()} if isinstance(x, dict) else x


def told_apart(nodes: Sequence[Node], outs: Sequence[Value]) -> Any:
    """Nodes and their results, in a form that is equal for equal meanings."""
    names: dict[int, int] = {}
    found: list[Any] = []
    for n in nodes:
        for v in n.inputs:
            if v is not None and v.tensor is not None and id(v) not in names:
                names[id(v)] = -len(names) - 1
                found.append(("const", names[id(v)], str(v.dtype), v.tensor.numpy().tobytes(), v.tensor.shape))
        inputs = tuple(None if v is None else names.get(id(v), v.name) for v in n.inputs)
        bodies = tuple((tuple(map(str, r.inputs)), told_apart(r.nodes, r.outputs)) for r in n.regions)
        found.append((n.op, inputs, repr(sorted(n.attrs.items())), bodies))
        for v in n.outputs:
            names[id(v)] = len(found)
    return tuple(found), tuple(names.get(id(v), v.name) for v in outs)


def call_function(g: KerasContext, node: ForeignNode, path: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Value]:
    """A function by its dotted name, applied to values. Raises CodeRefused."""
    domain = Domain(GraphOps(g, node), OPTIONS)
    args, kwargs = with_sizes(g, list(args)), with_sizes(g, dict(kwargs))
    if path == "keras.ops.get_item" and len(args) == 2 and not isinstance(args[0], Value):
        return results(g, domain.item(args[0], args[1][0] if isinstance(args[1], tuple) and len(args[1]) == 1 else args[1]))
    operator = operator_of(canonical_path(path))
    if operator and not any(isinstance(v, Value) for v in (*args, *kwargs.values())):
        if len(args) + len(kwargs) != 2:
            raise CodeRefused(f"calls an operator with {len(args) + len(kwargs)} arguments")
        return results(g, domain.binary(operator, *args, *kwargs.values()))
    return results(g, domain.call(Name(path), args, kwargs))


def call_operator(g: KerasContext, node: ForeignNode, op: str, pair: Sequence[Any], turned: bool) -> list[Value]:
    """``x op y``, or ``y op x``. Raises CodeRefused."""
    if len(pair) != 2:
        raise CodeRefused(f"calls an operator with {len(pair)} arguments")
    x, y = with_sizes(g, list(reversed(pair) if turned else pair))
    return results(g, Domain(GraphOps(g, node), OPTIONS).binary(op, x, y))

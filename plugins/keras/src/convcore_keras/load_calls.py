"""Calls of layers: their order, what they pass besides tensors, and positional arguments given by name."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

from convcore.plugin import BadFileError, Value

from .files.model import Call, LayerConfig, ModelConfig, TensorRef
from .layer_spec import is_known, spec_of

__all__ = ["Key", "call_attributes", "execution_order", "is_function", "leaves", "positional", "tensors_of"]

Key = tuple[str, int]
"""Name of a layer and number of its call."""

FIRST = ("inputs", "sequences", "sequence", "x", "data", "images")
"""Names of the first parameter of ``call`` in Keras's layers."""


def positional(call: Call) -> Call:
    """``layer(inputs=x)`` as ``layer(x)``."""
    if call.args:
        return call
    for name in FIRST:
        if any(isinstance(x, TensorRef) for x in leaves(call.kwargs.get(name))):
            return Call((call.kwargs[name],), {k: v for k, v in call.kwargs.items() if k != name})
    return call


def call_attributes(layer: LayerConfig, call: Call, values: dict[TensorRef, Value]) -> tuple[dict[str, Any], Value | None]:
    """What a call passes besides its tensors, as attributes ``call.<name>``, and the mask it passes.

    ``training`` matters only where it is true and the layer behaves otherwise in training.
    """
    attrs: dict[str, Any] = {}
    if is_function(layer):
        return {"args": tensors_of(call.args, values), "kwargs": tensors_of(call.kwargs, values)}, None
    mask = None
    for key, value in call.kwargs.items():
        if value is None or (key == "training" and (value in (False, 0) or not _sensitive(layer))):
            continue
        if key == "mask" and isinstance(value, TensorRef):
            mask = values[value]
            continue
        attrs[f"call.{key}"] = tensors_of(value, values)
    constants = [x for x in leaves(call.args) if not isinstance(x, TensorRef) and x is not None]
    omitted = [x is None for x in call.args if x is None or any(isinstance(y, TensorRef) for y in leaves(x))]
    if constants or omitted != sorted(omitted):  # an omitted argument before a tensor says which one that is
        attrs["call.args"] = tensors_of(call.args, values)
    return attrs, mask


def is_function(layer: LayerConfig) -> bool:
    """Whether it is called with the arguments of a function."""
    return layer.is_op or (not layer.custom and spec_of(layer.class_name).function)


def _sensitive(layer: LayerConfig) -> bool:
    """Whether it behaves otherwise in training: always where what is dropped is no argument of it, else where it is not 0."""
    if layer.custom or not is_known(layer.class_name):
        return True
    rates = [layer.config[k] for k in ("dropout", "recurrent_dropout") if k in layer.config]
    return spec_of(layer.class_name).training and (not rates or any(r not in (None, 0) for r in rates))


def tensors_of(x: Any, values: dict[TensorRef, Value]) -> Any:
    """A structure of arguments with the values in the place of their references."""
    if isinstance(x, TensorRef):
        return values[x]
    if isinstance(x, (list, tuple)):
        return [tensors_of(v, values) for v in x]
    return {k: tensors_of(v, values) for k, v in x.items()} if isinstance(x, dict) else x


def leaves(x: Any) -> Iterator[Any]:
    if isinstance(x, (list, tuple)):
        for v in x:
            yield from leaves(v)
    elif isinstance(x, dict):
        for k in sorted(x):
            yield from leaves(x[k])
    else:
        yield x


def execution_order(model: ModelConfig, by_name: dict[str, LayerConfig], bound: dict[TensorRef, Value]) -> list[Key]:
    """The calls that the outputs need, every call after those it takes tensors from; otherwise in the file's order."""
    done = {(r.layer, r.node) for r in bound}
    rank = {layer.name: i for i, layer in enumerate(model.layers)}
    needs: dict[Key, set[Key]] = {}
    stack = [(r.layer, r.node) for r in model.output_refs()]
    while stack:
        key = stack.pop()
        if key in needs or key in done:
            continue
        layer = by_name[key[0]]
        if layer.class_name == "InputLayer":
            which = f"model {model.name[:80]!r}: input layer {layer.name[:80]!r}"
            raise BadFileError(f"{which} is used but is not an input of the model")
        needs[key] = {(r.layer, r.node) for r in layer.calls[key[1]].refs()} - done
        stack += needs[key]
    users: dict[Key, list[Key]] = {}
    for key, deps in needs.items():
        for d in deps:
            users.setdefault(d, []).append(key)
    ready = [(rank[n], k, n) for (n, k), deps in needs.items() if not deps]
    heapq.heapify(ready)
    order: list[Key] = []
    while ready:
        _, k, name = heapq.heappop(ready)
        order.append((name, k))
        for user in users.get((name, k), ()):
            needs[user].discard((name, k))
            if not needs[user]:
                heapq.heappush(ready, (rank[user[0]], user[1], user[0]))
    if len(order) != len(needs):
        stuck = sorted({n for (n, k), deps in needs.items() if deps})
        raise BadFileError(f"model {model.name[:80]!r}: the graph has a cycle through {', '.join(x[:80] for x in stuck[:5])}")
    return order

"""``inbound_nodes``, ``input_layers`` and ``output_layers`` of every era as Calls and TensorRefs.

Node indices in files are not uniform. A nested model that was built with known inputs has a node 0 of its own (its
definition), which files from Keras 1 and 2 count and Keras 3 counts only in ``input_layers``/``output_layers`` of
nested Functional models. :func:`resolve` makes all of them 0-based positions in ``LayerConfig.calls``.
"""

from __future__ import annotations

from typing import Any

from convcore.plugin import BadFileError, bounded_results

from .model import Call, LayerConfig, ModelConfig, TensorRef, iter_refs
from .normalise import decode

__all__ = ["parse_calls", "parse_endpoints", "resolve"]


def parse_calls(nodes: Any, names: set[str], layer: str) -> list[Call]:
    """The calls of one layer; ``names`` are the layers of the same graph."""
    if not isinstance(nodes, list):
        raise BadFileError(f"layer {layer[:80]!r}: inbound_nodes is not a list")
    calls = []
    for node in nodes:
        if isinstance(node, dict) and "args" in node:
            args = _tensors(node["args"], names, layer)
            kwargs = _tensors(node.get("kwargs") or {}, names, layer)
            if not isinstance(args, list) or not isinstance(kwargs, dict):
                raise BadFileError(f"layer {layer[:80]!r}: malformed inbound node")
            calls.append(Call(tuple(args), kwargs))
        else:
            calls.append(_legacy_call(node, names, layer))
    return calls


def _tensors(value: Any, names: set[str], layer: str) -> Any:
    """Keras 3: replace ``__keras_tensor__`` objects, decode the other special dicts."""
    if isinstance(value, list):
        return [_tensors(v, names, layer) for v in value]
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            config = value.get("config")
            history = config.get("keras_history") if isinstance(config, dict) else None
            if not isinstance(history, list) or not _is_ref(history):
                raise BadFileError(f"layer {layer[:80]!r}: malformed __keras_tensor__")
            return _ref(history, names, layer)
        if isinstance(value.get("class_name"), str):
            return decode(value, f"layer {layer[:80]!r}")
        return {k: _tensors(v, names, layer) for k, v in value.items()}
    return value


def _legacy_call(node: Any, names: set[str], layer: str) -> Call:
    """Keras 1 and 2: ``[[name, n, t, {kwargs}], ...]``, a flat ``[name, n, t, {kwargs}]``, or a nested structure of
    those."""
    kwargs: dict[str, Any] = {}

    def convert(x: Any) -> Any:
        if isinstance(x, list) and len(x) == 4 and x[0] == "_CONSTANT_VALUE" and x[1] == -1:
            kwargs.update(x[3] if isinstance(x[3], dict) else {})
            return decode(x[2], f"layer {layer[:80]!r}")
        if _is_ref(x):
            if len(x) > 3 and isinstance(x[3], dict):
                kwargs.update(x[3])
            return _ref(x, names, layer)
        if isinstance(x, list):
            return [convert(v) for v in x]
        if isinstance(x, dict):
            return {k: convert(v) for k, v in x.items()}
        raise BadFileError(f"layer {layer[:80]!r}: malformed inbound node {str(x)[:80]}")

    first = convert(node)
    if isinstance(first, list) and len(first) == 1 and isinstance(node, list) and _is_ref(node[0]):
        first = first[0]
    return Call((first,), {k: _kwarg(v, names, layer) for k, v in kwargs.items()})


def _kwarg(value: Any, names: set[str], layer: str) -> Any:
    """A keyword argument: ``[name, n, t]`` lists whose first item is a layer of this graph are tensors."""
    if isinstance(value, list):
        if _is_ref(value) and len(value) <= 4 and value[0] in names:
            return _ref(value, names, layer)
        return [_kwarg(v, names, layer) for v in value]
    if isinstance(value, dict):
        if isinstance(value.get("class_name"), str):
            return decode(value, f"layer {layer[:80]!r}")
        if set(value) == {"start", "stop", "step"}:
            return slice(*(_kwarg(value[k], names, layer) for k in ("start", "stop", "step")))
        return {k: _kwarg(v, names, layer) for k, v in value.items()}
    return value


def parse_endpoints(value: Any, names: set[str], model: str) -> Any:
    """``input_layers``/``output_layers``: one ``[name, node, tensor]``, or lists and dicts of them."""
    if _is_ref(value):
        return _ref(value, names, model)
    if isinstance(value, list):
        return [parse_endpoints(v, names, model) for v in value]
    if isinstance(value, dict):
        return {k: parse_endpoints(v, names, model) for k, v in value.items()}
    raise BadFileError(f"model {model[:80]!r}: malformed input or output {str(value)[:80]}")


def _is_ref(x: Any) -> bool:
    return (
        isinstance(x, list)
        and len(x) >= 3
        and isinstance(x[0], str)
        and all(isinstance(v, int) and not isinstance(v, bool) for v in x[1:3])
    )


def _ref(x: list[Any], names: set[str], layer: str) -> TensorRef:
    if x[0] not in names:
        raise BadFileError(f"{layer[:80]!r} refers to layer {x[0][:80]!r}, which the model does not have")
    if x[1] < 0 or x[2] < 0:
        raise BadFileError(f"{layer[:80]!r} refers to node {x[1]}, tensor {x[2]} of {x[0][:80]!r}")
    bounded_results(x[2] + 1, f"layer {x[0][:80]!r}")
    return TensorRef(x[0], x[1], x[2])


def resolve(model: ModelConfig, era: str) -> None:
    """Make every node index 0-based, in place; BadFileError for a call that does not exist."""
    by_name = {layer.name: layer for layer in model.layers}
    inner = [r for layer in model.layers for c in layer.calls for r in c.refs()]
    ends = [*iter_refs(model.inputs), *iter_refs(model.outputs)]
    if era == "keras3":
        shift_inner = _shifts(inner, by_name, lambda layer: 0)
        shift_ends = _shifts(ends, by_name, lambda layer: _definition_node(layer, era))
    else:
        shift_inner = shift_ends = _shifts(inner + ends, by_name, lambda layer: _definition_node(layer, era))
    if any(shift_inner.values()):
        for layer in model.layers:
            for call in layer.calls:
                call.args = _shifted(call.args, shift_inner)
                call.kwargs = _shifted(call.kwargs, shift_inner)
    model.inputs, model.outputs = _shifted(model.inputs, shift_ends), _shifted(model.outputs, shift_ends)


def _definition_node(layer: LayerConfig, era: str) -> int:
    """1 when files of this era count the nested model's own definition as node 0."""
    if layer.model is None:
        return 0
    if layer.model.kind == "functional":
        return 1
    if era == "keras3":
        return 0
    return int(layer.model.layers[0].config.get("batch_shape") is not None or era in ("keras1", "keras2"))


def _shifts(refs: list[TensorRef], by_name: dict[str, LayerConfig], rule: Any) -> dict[str, int]:
    used: dict[str, list[int]] = {}
    for r in refs:
        span = used.setdefault(r.layer, [r.node, r.node])
        span[0], span[1] = min(span[0], r.node), max(span[1], r.node)
    shifts = {}
    for name, (low, high) in used.items():
        layer = by_name[name]
        calls, shift = len(layer.calls), rule(layer)
        if layer.model is not None and not (shift <= low and high < calls + shift):
            shift = 1 - shift
        if not (shift <= low and high < calls + shift):
            raise BadFileError(f"layer {name[:80]!r} is called {calls} times, but its call number {high} is used")
        shifts[name] = shift
    return shifts


def _shifted(x: Any, shift: dict[str, int]) -> Any:
    if isinstance(x, TensorRef):
        return TensorRef(x.layer, x.node - shift[x.layer], x.tensor) if shift[x.layer] else x
    if isinstance(x, list):
        return [_shifted(v, shift) for v in x]
    if isinstance(x, tuple):
        return tuple(_shifted(v, shift) for v in x)
    return {k: _shifted(v, shift) for k, v in x.items()} if isinstance(x, dict) else x

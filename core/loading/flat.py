"""From a plain list of layers to a graph: the whole loader of a small format, once its file is parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..build.builder import Builder
from ..errors import BadFileError
from ..ir.flat import FlatModel
from ..ir.graph import Graph, Origin, Value
from ..ir.tensors import Tensor, as_tensor
from ..rules.foreign import ForeignNode, LoadContext
from ..rules.ruleset import RuleSet
from .driver import Driver
from .inputs import InputShapes

if TYPE_CHECKING:
    from ..hookspecs import LoadRequest

__all__ = ["load_flat"]


def load_flat(request: LoadRequest, framework: str, model: FlatModel, *, name: str = "model", version: str = "") -> Graph:
    """The graph of a list of layers, each by the framework's rules, one scope a layer; what no rule maps becomes opaque.

    BadFileError where a name is used that nothing before it gives, or given twice. ``version`` is that of the writer.
    """
    graph, shapes = Graph(name), InputShapes(request.input_shapes)
    driver = Driver(framework, LoadContext(Builder(graph)), request.rules or RuleSet(framework), request.overrides)
    values: dict[str, Value] = {}

    def give(key: str, v: Value) -> None:
        if key in values:
            raise BadFileError(f"{request.source}: two values are named {key!r}")
        values[key] = v
        driver.name(v, key)

    def take(key: str, who: str) -> Value:
        if key not in values:
            raise BadFileError(f"{request.source}: {who} takes {key!r}, which nothing before it gives")
        return values[key]

    for i in model.inputs:
        give(i.name, driver.b.input(i.name, i.dtype, shapes.take(i.name, i.shape, only=len(model.inputs) == 1)))
    shapes.refuse_unused([i.name for i in model.inputs])
    for key, constant in model.constants.items():
        give(key, driver.b.weight(constant, key, source=key))
    for layer in model.layers:
        label = driver.layer_name(layer.name)
        inputs = [None if n is None else take(n, f"layer {label!r} ({layer.type})") for n in layer.inputs]
        weights = {k: w if isinstance(w, Tensor) else as_tensor(w) for k, w in layer.weights.items()}
        origin = Origin(framework, label, layer.type)
        node = ForeignNode(layer.type, label, inputs, layer.config, weights=weights, outputs=layer.outputs, origin=origin)
        scope = graph.scope(label, layer.type, layer.config)
        with driver.b.at(origin, scope):
            results = [driver.own(v) for v in driver.load(node)]
        driver.name_node(results, label)
        for key, v in zip(layer.outputs, results):
            give(key, v)
        graph.set_results(scope, results)
    graph.outputs = [take(n, "the model's outputs") for n in model.outputs]
    graph.metadata.update(framework=framework, kind="layers", version=version, notes=[])
    return graph

"""Building the graph of a net: layer by layer, blobs in single-assignment form as Caffe runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convcore.plugin import (
    BadFileError,
    Builder,
    ConvcoreError,
    Driver,
    ForeignNode,
    Graph,
    InputShapes,
    LoadRequest,
    Node,
    Origin,
    Problem,
    ShapeError,
    Tensor,
    UnsupportedError,
    UsageError,
    Value,
    known_shape,
    take_text,
)

from .context import CaffeContext, CaffeNode, OwnBlobs, too_large
from .deploy import Deploy
from .files import Layer, Message, Net
from .keep import SourceConfig
from .preprocessing import apply_preprocessing, read_preprocessing
from .reasons import why_opaque

__all__ = ["NetLoader"]

_SHOWN = 50


class NetLoader:
    """Builds the graph of one net; see :meth:`run`.

    A blob that several layers write in turn (in place) is one value per write: the last has the blob's name, an earlier one
    ``<blob>:<layer>``. The input of the graph keeps the blob's name even if layers overwrite it; ``metadata["blobs"]`` then names
    the value the blob ends with.
    """

    def __init__(self, net: Net, request: LoadRequest) -> None:
        self.net, self.request = net, request
        self.graph = Graph(net.name)
        self.b = Builder(self.graph)
        self.deploy = Deploy(net, request.options.get("losses") or "auto")
        self.g = CaffeContext(self.b, net, request.options, InputShapes(request.input_shapes))
        self.driver = CaffeDriver("caffe", self.g, request.ruleset, request.overrides)
        self.blobs: dict[str, Value] = {}
        self.last: dict[str, int] = {}
        self.preprocessing = read_preprocessing(net, request.options)

    def run(self) -> Graph:
        """The whole graph. BadFileError lists every layer Caffe would refuse; unknown layers become opaque nodes."""
        net, graph, g = self.net, self.graph, self.g
        for i, layer in enumerate(net.layers):
            for top in layer.tops:
                self.last[top] = i
                graph.claim_name(top)
        for i, layer in enumerate(net.layers):
            if i in self.deploy.dropped:
                self._replace(i, layer)
            else:
                self._layer(i, layer)
        self.driver.refuse()
        g.shapes.refuse_unused(g.inputs)
        self._outputs()
        graph.prune_weights()
        g.notes += self.deploy.notes
        blobs = {b: v.name for b, v in self.blobs.items() if v.name != b}
        graph.metadata.update(framework="caffe", kind="net", version="", phase=net.phase, notes=g.notes)
        take_text(graph.metadata, self.net.about)
        if blobs:
            graph.metadata["blobs"] = blobs
        facts = self.preprocessing.facts(g)
        if facts:
            graph.metadata["preprocessing"] = facts
        return graph

    # ---- one layer
    def _layer(self, i: int, layer: Layer) -> None:
        name = self.driver.layer_name(layer.name or (layer.tops[0] if layer.tops else layer.type))
        node = CaffeNode(layer, i, [self.blobs[b] for b in layer.bottoms], name)
        node.weights = OwnBlobs(self.g, node)
        config, before = SourceConfig(config_of(layer), layer), self.graph.last
        scope = self.graph.scope(name, layer.type, config)
        with self.b.at(node.origin, scope):
            made = self._bind(node, i, self.driver.load(node))
        self.driver.name_node(made, name)
        self.graph.set_results(scope, made)
        if not self.driver.overridden(node):
            config.note(self._since(before), node.inputs, made, node.fitted)

    def _since(self, before: Node | None) -> list[Node]:
        """The nodes made after one."""
        nodes, node = [], self.graph.first if before is None else before.next
        while node is not None:
            nodes.append(node)
            node = node.next
        return nodes

    def _bind(self, node: CaffeNode, i: int, values: Sequence[Value]) -> list[Value]:
        """Let the layer's tops mean its values, each a value of its own with the blob's name."""
        made: list[Value] = []
        data = not node.inputs and node.type in ("Input", "DummyData", *_DATA)
        for j, (top, v) in enumerate(zip(node.outputs, values, strict=True)):
            if data and v.producer is None:
                x = apply_preprocessing(self.g, node, top, v, self.preprocessing)
                if x is not v:
                    self._name(x, f"{top}:preprocessed")
                v = x
            else:
                # where nothing happens in place (Dropout) the same value goes on
                if not (node.layer.is_inplace(j) and v is self.blobs.get(top)):
                    v = self.driver.own(v)
                self._name_top(v, top, i)
            self.blobs[top] = v
            made.append(v)
        return made

    def _name_top(self, v: Value, top: str, i: int) -> None:
        """The blob's name for its last value, else ``<blob>:<layer>``; an input keeps its name."""
        if v.producer is None:
            return
        if self.last[top] == i and top not in self.g.inputs:
            self.driver.name(v, top)
        else:
            self._name(v, f"{top}:{self.b.origin.layer}")

    def _name(self, v: Value, name: str) -> None:
        """A name that no blob has."""
        self.driver.name(v, name if v.name == name else self.graph.fresh_name(name))

    # ---- losses of a deployed net, outputs
    def _replace(self, i: int, layer: Layer) -> None:
        name = self.driver.layer_name(layer.name or (layer.tops[0] if layer.tops else layer.type))
        op = self.deploy.dropped[i]
        if not op or not layer.bottoms or layer.bottoms[0] not in self.blobs:
            return
        x = self.blobs[layer.bottoms[0]]
        if x.shape is None:  # behind a layer that is not mapped
            self.deploy.outputs.append(layer.bottoms[0])
            return
        scope = self.graph.scope(name, layer.type, config_of(layer))
        with self.b.at(Origin("caffe", name, layer.type), scope):
            node = CaffeNode(layer, i, [x], name)
            if op == "softmax":
                y: Value = self.b.softmax(x, axis=node.axis() if "axis" in node.attrs else 1)
            else:
                y = self.b.sigmoid(x)
            self._name(y, self.deploy.output_name(layer))
            self.driver.name_node([y], name)
        self.deploy.outputs.append(y.name)
        self.blobs[y.name] = y
        self.graph.set_results(scope, [y])

    def _outputs(self) -> None:
        names = self.deploy.output_blobs(self.blobs)
        graph = self.graph
        graph.outputs = [self.blobs[n] for n in names]
        used = {id(v) for v in graph.outputs}
        for top, v in list(self.g.inputs.items()):
            if top in self.deploy.unused and not v.uses and id(v) not in used:
                graph.inputs.remove(v)
                self.g.note(f"the input {top!r} is left out: only loss layers read it")
                self.blobs.pop(top, None)
        if not graph.outputs:
            raise BadFileError(f"{self.net.path}: the net has no outputs")


_DATA = ("Data", "ImageData", "WindowData", "HDF5Data", "MemoryData", "AnnotatedData", "VideoData", "DenseImageData")


class CaffeDriver(Driver):
    """Layers by their rules. What Caffe itself refuses is noted, and all of it raised at the end by :meth:`refuse`."""

    g: CaffeContext

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._invalid: list[str] = []
        self._count = 0

    def apply(self, node: ForeignNode) -> Sequence[Value]:
        assert isinstance(node, CaffeNode)
        overridden = self.overridden(node)
        if self.has_rule(node) and not overridden:
            for v in node.inputs:
                known_shape(v)
        try:
            values = super().apply(node)
            for v in values:
                if too_large(v.shape):
                    raise node.invalid(f"makes a blob of shape {v.shape}, more elements than a Caffe blob can have")
            if len(values) != len(node.outputs):
                if overridden:
                    raise UsageError(f"the override for {node.name!r} gives {len(values)} values for {len(node.outputs)} tops")
                raise node.invalid(f"{len(node.outputs)} tops are given, the layer makes {len(values)}")
        except UnsupportedError as e:
            if e.problems[0].code == "unsupported_output":  # more tops than the layer makes
                self._note(node, node.invalid(e.problems[0].why))
            raise
        except (BadFileError, ShapeError) as e:
            self._note(node, e)
            raise node.refuse(str(e), code="malformed_node") from e
        return values

    def _note(self, node: CaffeNode, error: ConvcoreError) -> None:
        self._count += 1
        if len(self._invalid) < _SHOWN:
            who = f"layer {node.name[:200]!r} ({node.type})"
            text = str(error)
            text = text if who in text else f"{who}: {text.removeprefix(f'layer {node.origin}: ')}"
            where = f"{self.g.net.path}:{node.layer.line}: " if node.layer.line else ""
            self._invalid.append(where + text)

    def refuse(self) -> None:
        """BadFileError naming every layer that Caffe would refuse, if there are any."""
        if self._invalid:
            head = (
                f"{self.g.net.path}: " + (f"{self._count} layers do" if self._count > 1 else "a layer does") + " not fit the net"
            )
            raise BadFileError("\n  ".join([head, *self._invalid]))

    def problem(self, node: ForeignNode, error: UnsupportedError) -> Problem:
        assert isinstance(node, CaffeNode)
        if error.problems[0].code == "unsupported_layer":
            return Problem(node.name, node.type, *why_opaque(node))
        return super().problem(node, error)

    def kept(self, node: ForeignNode) -> Mapping[str, Any]:
        return config_of(node.extra)

    def held(self, node: ForeignNode) -> Sequence[Value]:
        assert isinstance(node, CaffeNode)
        g = self.g
        return [
            g.parameter(node, (g.home(node, j), tensor.shape, "opaque"), f"blob{j}", tensor, True)
            for j, tensor in enumerate(node.layer.blobs)
        ]


def config_of(layer: Layer) -> dict[str, Any]:
    """The parameter messages of a layer as JSON-like data."""
    return {k: _plain(v) for k, v in (*layer.params.items(), *layer.unknown.items())}


def _plain(x: Any) -> Any:
    """A parameter as JSON-like data."""
    if isinstance(x, Message):
        return {k: _plain(v) for k, v in (*x.fields(), *x.unknown.items())}
    if isinstance(x, (list, tuple)):
        return [_plain(v) for v in x]
    if isinstance(x, Tensor) or hasattr(x, "tensor"):
        return "blob"
    return x if x is None or isinstance(x, (bool, int, float, str)) else str(x)

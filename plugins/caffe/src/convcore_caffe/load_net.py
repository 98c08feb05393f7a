"""Building the graph of a net: layer by layer, blobs in single-assignment form as Caffe runs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import (
    BadFileError,
    Builder,
    ConvcoreError,
    Graph,
    LoadRequest,
    Node,
    NotExpressible,
    Origin,
    Problem,
    RuleSet,
    ShapeError,
    Tensor,
    UnsupportedError,
    UsageError,
    Value,
)

from .context import UNKNOWN_SHAPE, CaffeContext, CaffeNode, too_large
from .deploy import Deploy
from .files import Layer, Message, Net
from .preprocessing import apply_preprocessing, read_labels, read_preprocessing
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
        from .rules import RULES

        self.net, self.request = net, request
        self.rules: RuleSet[Any, Any] = request.rules or RULES
        self.graph = Graph(net.name)
        self.b = Builder(self.graph)
        self.g = CaffeContext(self.b, net, request.options)
        self.g.given = dict(request.input_shapes)
        self.deploy = Deploy(net, request.options.get("losses") or "auto")
        self.blobs: dict[str, Value] = {}
        self.last: dict[str, int] = {}
        self.problems: list[str] = []
        self.bad = 0
        self.names: dict[str, int] = {}
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
        self._refuse()
        if g.given:
            raise UsageError(
                f"no input is named {', '.join(map(repr, g.given))}; the net's inputs are: {', '.join(g.inputs) or 'none'}"
            )
        self._outputs()
        graph.prune_weights()
        g.notes += self.deploy.notes
        blobs = {b: v.name for b, v in self.blobs.items() if v.name != b}
        graph.metadata.update(framework="caffe", kind="net", version="", phase=net.phase, notes=g.notes)
        if blobs:
            graph.metadata["blobs"] = blobs
        facts = self.preprocessing.facts(g)
        if facts:
            graph.metadata["preprocessing"] = facts
        if self.request.options.get("labels"):
            graph.metadata["labels"] = read_labels(self.request.options["labels"])
        return graph

    def _refuse(self) -> None:
        if self.problems:
            head = f"{self.net.path}: " + (f"{self.bad} layers do" if self.bad > 1 else "a layer does") + " not fit the net"
            raise BadFileError("\n  ".join([head, *self.problems]))

    # ---- one layer
    def _layer(self, i: int, layer: Layer) -> None:
        name = self._layer_name(layer)
        inputs = [self.blobs[b] for b in layer.bottoms]
        node = CaffeNode(layer, i, inputs, name)
        tail = self.graph.last
        scope = self.graph.scope(name, layer.type, config_of(layer))
        with self.b.at(node.origin, scope):
            values = self._apply(node, tail)
            made = self._bind(node, i, values, tail)
        self._name_node(node, tail, made)
        self.graph.set_results(scope, made)

    def _layer_name(self, layer: Layer) -> str:
        """Layer names may repeat in Caffe; here a repeated one gets a number."""
        base = layer.name or (layer.tops[0] if layer.tops else layer.type)
        n = self.names.get(base)
        self.names[base] = 0 if n is None else n + 1
        if n is None:
            return base
        name = f"{base}_{n + 1}"
        while name in self.names:
            self.names[base] += 1
            name = f"{base}_{self.names[base]}"
        self.names[name] = 0
        return name

    def _apply(self, node: CaffeNode, tail: Node | None) -> Sequence[Value]:
        """The values of the layer's tops, by its rule, else opaque."""
        known = all(v is not None and v.shape is not None for v in node.inputs)
        has_rule = node.type in self.rules.load_rules
        overridden = any(k in self.request.overrides for k in (node.name, node.type))
        if not known and has_rule and not overridden:
            return self._opaque(node, None, follows=True)
        try:
            values: Sequence[Value] = self.rules.apply_load(self.g, node, self.request.overrides)
        except UnsupportedError as e:
            self._undo(tail)
            problem = e.problems[0]
            partial = problem.code == UNKNOWN_SHAPE and any(None in (v.shape or ()) for v in node.inputs if v is not None)
            return self._opaque(node, e, follows=partial and self._beyond_opaque(node))
        except NotExpressible as e:
            self._undo(tail)
            return self._opaque(node, node.refuse(str(e), code=e.code))
        except UsageError:
            raise
        except (BadFileError, ShapeError) as e:
            self._undo(tail)
            self._bad(node, e)
            return self._opaque(node, None, follows=True)
        for v in values:
            if too_large(v.shape):
                self._undo(tail)
                self._bad(node, node.invalid(f"makes a blob of shape {v.shape}, more elements than a Caffe blob can have"))
                return self._opaque(node, None, follows=True)
        if len(values) != len(node.outputs):
            if overridden:
                raise UsageError(f"the override for {node.name!r} gives {len(values)} values for {len(node.outputs)} tops")
            self._undo(tail)
            self._bad(node, node.invalid(f"{len(node.outputs)} tops are given, the layer makes {len(values)}"))
            return self._opaque(node, None, follows=True)
        return values

    def _bad(self, node: CaffeNode, error: ConvcoreError) -> None:
        self.bad += 1
        if len(self.problems) < _SHOWN:
            who = f"layer {node.name[:200]!r} ({node.type})"
            text = str(error)
            text = text if who in text else f"{who}: {text.removeprefix(f'layer {node.origin}: ')}"
            where = f"{self.net.path}:{node.layer.line}: " if node.layer.line else ""
            self.problems.append(where + text)

    def _beyond_opaque(self, node: CaffeNode) -> bool:
        return any(v is not None and v.producer is not None and v.producer.op == "opaque" for v in node.inputs)

    def _opaque(self, node: CaffeNode, error: UnsupportedError | None, *, follows: bool = False) -> Sequence[Value]:
        p = error.problems[0] if error is not None else Problem(node.name, node.type, "", "", "unknown_shape")
        why, hint, code = p.why, p.hint, p.code
        if code == "unsupported_layer":
            why, hint, code = why_opaque(node)
        elif error is not None and len(error.problems) > 1:
            why = "; ".join(dict.fromkeys(q.why for q in error.problems))
        attributes = config_of(node.layer)
        values: tuple[Value, ...] = self.b.opaque(
            "caffe", node.type, node.inputs, len(node.outputs), attributes, why=why, hint=hint, code=code, follows=follows
        )
        self._keep_weights(node)
        return values

    def _keep_weights(self, node: CaffeNode) -> None:
        """The blobs of an opaque layer are inputs of its node, behind its bottoms, so that they are not lost."""
        opaque = self.graph.last
        if opaque is None or opaque.op != "opaque" or not node.layer.blobs:
            return
        held: list[Value] = []
        for j, tensor in enumerate(node.layer.blobs):
            key = (self.g.home(node, j), tensor.shape, "opaque")
            held.append(self.g.parameter(node, key, f"blob{j}", tensor))
        opaque.attrs["bottoms"] = len(node.inputs)
        opaque.set_inputs([*opaque.inputs, *held])

    def _undo(self, tail: Node | None) -> None:
        """Take out the nodes a failed rule has made."""
        while self.graph.last is not None and self.graph.last is not tail:
            self.graph.remove(self.graph.last)

    # ---- names
    def _bind(self, node: CaffeNode, i: int, values: Sequence[Value], tail: Node | None) -> list[Value]:
        """Let the layer's tops mean its values, each a value of its own with the blob's name."""
        made: list[Value] = []
        data = not node.inputs and node.type in ("Input", "DummyData", *_DATA)
        for j, (top, v) in enumerate(zip(node.outputs, values, strict=True)):
            fresh = v.producer is not None and _after(v.producer, tail, self.graph) and not any(v is m for m in made)
            if data and v.producer is None:
                self.blobs[top] = apply_preprocessing(self.g, node, top, v, self.preprocessing)
                made.append(self.blobs[top])
                continue
            if not fresh:
                if node.layer.is_inplace(j) and v is self.blobs.get(top):
                    self._rename(v, top, i)  # nothing happens in place (Dropout): the same value goes on
                    made.append(v)
                    continue
                v = self.b.identity(v)
            self._rename(v, top, i)
            self.blobs[top] = v
            made.append(v)
        return made

    def _rename(self, v: Value, top: str, i: int) -> None:
        """The blob's name for its last value, else ``<blob>:<layer>``; an input keeps its name."""
        if v.producer is None:
            return
        taken = self.g.inputs.get(top)
        if self.last[top] == i and taken is None:
            self.graph.rename(v, top)
            return
        name = f"{top}:{self.b.origin.layer}"
        if v.name != name:
            self.graph.rename(v, self.graph.fresh_name(name))

    def _name_node(self, node: CaffeNode, tail: Node | None, made: Sequence[Value]) -> None:
        """The node that makes the layer's first top gets the layer's name."""
        for v in made[:1]:
            if v.producer is not None and _after(v.producer, tail, self.graph):
                self.graph.rename(v.producer, node.name)

    # ---- losses of a deployed net, outputs
    def _replace(self, i: int, layer: Layer) -> None:
        name = self._layer_name(layer)
        op = self.deploy.dropped[i]
        if not op or not layer.bottoms or layer.bottoms[0] not in self.blobs:
            return
        x = self.blobs[layer.bottoms[0]]
        if x.shape is None:  # behind a layer that is not mapped
            self.deploy.outputs.append(layer.bottoms[0])
            return
        scope = self.graph.scope(name, layer.type, config_of(layer))
        with self.b.at(Origin("caffe", name, layer.type), scope):
            tail = self.graph.last
            node = CaffeNode(layer, i, [x], name)
            if op == "softmax":
                y: Value = self.b.softmax(x, axis=node.axis() if "axis" in node.attrs else 1)
            else:
                y = self.b.sigmoid(x)
            self.graph.rename(y, self.graph.fresh_name(self.deploy.output_name(layer)))
            self._name_node(node, tail, [y])
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


def _after(node: Node, tail: Node | None, graph: Graph) -> bool:
    """Whether a node was made after ``tail``."""
    at = graph.last
    while at is not None and at is not tail:
        if at is node:
            return True
        at = at.previous
    return False


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

"""From a normalised Keras model to a graph: calls in execution order, nested models inlined, names kept."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from convcore.plugin import (
    BadFileError,
    Builder,
    Driver,
    DType,
    ForeignNode,
    Graph,
    InputShapes,
    LoadRequest,
    Node,
    Origin,
    Problem,
    UnsupportedError,
    UsageError,
    Value,
    ask,
    take_text,
)

from . import masks
from .files.model import Call, KerasModel, LayerConfig, ModelConfig, TensorRef
from .files.order import ordered_layers
from .keep import SourceLayer
from .load_calls import Key, call_attributes, execution_order, is_function, leaves, positional, tensors_of
from .load_context import KerasContext, LayerCall, compute_dtype, foreign_type
from .load_opaque import plain, problem_of
from .load_shapes import input_shape
from .ops.spec import prepare

if TYPE_CHECKING:
    from .code.source.custom import CustomCode

__all__ = ["GraphLoader"]


class GraphLoader:
    """Builds the graph of one model; see :meth:`run`."""

    def __init__(self, model: KerasModel, request: LoadRequest, custom: CustomCode | None = None) -> None:
        self.model, self.request = model, request
        self.graph = Graph(model.root.name)
        self.b = Builder(self.graph)
        self.g = KerasContext(self.b, model, request.ruleset, request.overrides)
        self.g.inline = self._inline
        self.g.custom = custom
        self.g.explicit_states = bool(request.options.get("explicit_states"))
        if request.options.get("lambdas"):
            from .code.source.text import parsed_texts

            self.g.texts = parsed_texts(request.options["lambdas"])
        self.driver = KerasDriver("keras", self.g, request.ruleset, request.overrides)
        self.shapes = InputShapes(request.input_shapes)
        self._output_calls: dict[str, int] = {}  # of layers that give outputs: which of their calls has the layer's name

    def run(self) -> Graph:
        """The whole graph. Raises BadFileError, UsageError (input shapes); unknown layers become opaque nodes."""
        root, graph = self.model.root, self.graph
        self.g.list_layers(ordered_layers(root))
        inputs = {r: self._input(root.layer(r.layer), len(root.input_refs())) for r in dict.fromkeys(root.input_refs())}
        self.shapes.refuse_unused(v.name for v in graph.inputs)
        for path, _ in self.model.walk():
            graph.claim_name(path)
        for r in root.output_refs():
            self._output_calls.setdefault(r.layer, r.node)
        outs = self._calls(root, "", inputs)
        unused = sorted(set(self.g.texts) - self.g.texts_used)
        if unused:
            raise UsageError(f"{ask('--lambda', 'lambdas=')} {unused[0]}: the model has no layer of that name")
        graph.outputs = [*self._outputs(root, outs), *self._carried()]
        graph.prune_weights()
        graph.metadata.update(
            framework="keras",
            kind="sequential" if root.kind == "sequential" else "functional",
            version=self.model.keras_version,
            era=self.model.era,
            backend=self.model.backend or "",
            container=self.model.container,
            notes=[*self.model.notes, *self._precision_notes()],
        )
        take_text(graph.metadata, self.model.about)
        return graph

    def _precision_notes(self) -> Iterator[str]:
        """Half-precision layers agree between machines only as far as their dtype is precise."""
        layers: Counter[str] = Counter()
        for _, layer in self.model.walk():
            dtype = compute_dtype(layer)
            if dtype is not None and dtype.itemsize < 4 and layer.class_name != "InputLayer":
                layers[str(dtype)] += 1
        for name, count in layers.items():
            yield f"{count} layers compute in {name}: results depend on how the hardware rounds, in their last digits"

    # ---- inputs and outputs
    def _input(self, layer: LayerConfig, count: int) -> Value:
        config = layer.config
        if layer.class_name != "InputLayer":
            raise BadFileError(
                f"layer {layer.name!r} is named as an input of the model, but is {layer.class_name}, no InputLayer"
            )
        if config.get("sparse") or config.get("ragged"):
            kind = "sparse" if config.get("sparse") else "ragged"
            raise UnsupportedError(Problem(layer.name, "InputLayer", f"is a {kind} tensor", "give the model a dense input"))
        try:
            dtype = DType.of(config["dtype"])
        except (TypeError, UsageError):
            raise BadFileError(f"layer {layer.name!r}: input dtype {str(config['dtype'])[:40]!r} is unknown") from None
        v = self.b.input(layer.name, dtype, input_shape(layer, self.shapes, only=count == 1))
        self.driver.name(v, v.name)
        if self.model.root.kind != "sequential":  # whose list of layers does not hold it
            self.graph.set_results(self.g.enter(layer), [v])
        return v

    def _outputs(self, root: ModelConfig, values: Sequence[Value]) -> list[Value]:
        """Values named as Keras names the outputs: by layer. What is an input, occurs twice or is the output of a layer inside
        a nested model gets an identity, so that both names exist."""
        out: list[Value] = []
        names = [r.layer for r in root.output_refs()]
        for name, v in zip(names, values, strict=True):
            if v.producer is None or any(v is o for o in out) or (v.name != name and not self.driver.has_name(name)):
                with self.b.at(Origin("keras", name, "")):
                    v = self.b.identity(v)
                self.driver.name(v, name)
            out.append(v)
        return out

    def _carried(self) -> Iterator[Value]:
        """The last states of stateful layers, an identity each: they may be outputs of the layers as well."""
        numbers: dict[str, int] = {}
        for layer, v in self.g.carried:
            i = numbers[layer] = numbers.get(layer, -1) + 1
            with self.b.at(Origin("keras", layer, "")):
                out = self.b.identity(v)
            self.driver.name(out, f"{layer}_state_{i}_out")
            yield out

    # ---- calls
    def _calls(self, model: ModelConfig, prefix: str, bound: dict[TensorRef, Value]) -> list[Value]:
        """Build every call that the outputs of ``model`` need; ``bound`` are the tensors of its inputs. Returns the outputs."""
        by_name = {layer.name: layer for layer in model.layers}
        values: dict[TensorRef, Value] = dict(bound)
        wanted: defaultdict[Key, int] = defaultdict(int)
        outputs = model.output_refs()
        for r in (*(r for layer in model.layers for call in layer.calls for r in call.refs()), *outputs):
            wanted[r.layer, r.node] = max(wanted[r.layer, r.node], r.tensor)
        for name, k in execution_order(model, by_name, bound):
            layer = by_name[name]
            outs = self._call(layer, k, f"{prefix}{name}", values, wanted[name, k] + 1)
            for i, v in enumerate(outs):
                values[TensorRef(name, k, i)] = v
        missing = [r for r in outputs if r not in values]
        if missing:
            r = missing[0]
            raise BadFileError(f"model {model.name[:80]!r}: output {r.tensor} of layer {r.layer[:80]!r} does not exist")
        return [values[r] for r in outputs]

    def _call(self, layer: LayerConfig, k: int, path: str, values: dict[TensorRef, Value], count: int) -> Sequence[Value]:
        call = positional(layer.calls[k])
        for r in call.refs():
            if r not in values:
                raise BadFileError(f"layer {path[:80]!r} uses output {r.tensor} of layer {r.layer[:80]!r}, which does not exist")
        inputs: list[Value] = [values[r] for r in Call(call.args).refs()]
        scope, before = self.g.enter(layer), self.graph.last
        with self.b.within(scope):
            if layer.model is not None:
                outs = self._nested(layer, call, path, inputs, values, count)
            else:
                outs = self._apply(layer, call, path, inputs, values, count)
                outs = self._named(path, k, outs)
        if not layer.is_op:  # an operation is no layer
            self.graph.set_results(scope, outs)
        if isinstance(scope.config, SourceLayer):
            self._note(scope.config, path, call, before, [values[r] for r in call.refs()], outs)
        return outs

    def _note(
        self, config: SourceLayer, path: str, call: Call, before: Node | None, inputs: Sequence[Value], outs: Sequence[Value]
    ) -> None:
        """Remember a layer for :mod:`.keep`."""
        nodes, node = [], self.graph.first if before is None else before.next
        while node is not None:
            nodes.append(node)
            node = node.next
        config.call = call
        config.remember(nodes, inputs, outs)
        layer = config.layer
        if not layer.custom:
            config.why = self._why_not_whole(layer, path, call, inputs, outs)
            return
        code = self.g.source_of(layer)
        if code is not None:
            config.reading = {k: v for k in ("custom", "custom_objects") if (v := self.request.options.get(k))}
            config.why = self._why_not_kept(layer, path, outs)
            config.hold(code.arrays(layer), self.g.keeps_paths)

    def _why_not_whole(self, layer: LayerConfig, path: str, call: Call, inputs: Sequence[Value], outs: Sequence[Value]) -> str:
        if {path, layer.name, layer.class_name} & {*self.request.overrides, *self.g.texts}:
            return "what it computes was said by hand"
        if layer.dtype.quantization is not None or call.kwargs.get("training") not in (None, False, 0):
            return "its weights are quantised, or it is in training"
        if any(self.g.mask(v) is not None for v in (*inputs, *outs)):
            return "it takes or gives on a mask"
        if layer.class_name == "TimeDistributed" and not all(isinstance((*(v.shape or ()), None, None)[1], int) for v in inputs):
            return "TensorFlow's graphs are wrong where the number of steps is not known"
        return ""

    def _why_not_kept(self, layer: LayerConfig, path: str, outs: Sequence[Value]) -> str:
        if {path, layer.name, layer.class_name, foreign_type(layer)} & {*self.request.overrides, *self.g.texts}:
            return "what it computes was said by hand"
        if self.model.era != "keras3":
            return "it is a layer of Keras before 3, and what is written is of Keras 3"
        if layer.dtype.compute != layer.dtype.variable or layer.dtype.quantization is not None:
            return "it computes in another element type than its variables have"
        if any(self.g.mask(v) is not None for v in outs):
            return "it gives a mask on, which is written as operations"
        return ""

    def _nested(
        self, layer: LayerConfig, call: Call, path: str, inputs: list[Value], values: dict[TensorRef, Value], count: int
    ) -> Sequence[Value]:
        """A model used as a layer: its calls inlined under ``path/``."""
        inner = layer.model
        if inner is None:
            raise BadFileError(f"layer {path[:80]!r} is not a model")
        if not inputs:  # called with keyword arguments only
            inputs = [values[r] for r in call.refs()]
        refs = inner.input_refs()
        extra = {k: v for k, v in call.kwargs.items() if k not in ("training", "mask") and v is not None}
        why = ""
        if len(refs) != len(inputs):
            why = f"is called with {len(inputs)} tensors, but the model has {len(refs)} inputs"
        elif call.kwargs.get("training") not in (None, False, 0) or (extra and call.args):
            why = "the model is called with " + ", ".join(f"{k}=" for k, v in call.kwargs.items() if v is not None)
        masks_given = [m for m in leaves(call.kwargs.get("mask")) if m is not None]
        if masks_given and not (len(masks_given) == len(inputs) and all(isinstance(m, TensorRef) for m in masks_given)):
            why = "the model is called with a mask for some of its inputs only"
        for r, v in zip(refs, inputs) if not why else ():
            stated = inner.layer(r.layer).config.get("batch_shape")
            if stated is not None and v.rank is not None and len(stated) != v.rank:
                why = f"is called with a tensor of {v.rank} axes for its input {r.layer!r} of {len(stated)}"
        if why:
            origin = Origin("keras", path, layer.source_class)
            node = ForeignNode(layer.class_name, path, inputs, {}, origin=origin, extra=LayerCall(layer))
            with self.b.at(origin):
                return self.driver.opaque(node, node.refuse(why), count)
        if masks_given:
            inputs = [self._masked(path, v, values[m]) for v, m in zip(inputs, masks_given, strict=True)]
        return self._inline(layer, path, inputs)

    def _masked(self, path: str, v: Value, mask: Value) -> Value:
        """The value under a name of its own, with the mask that a model is called with (``Functional.call`` attaches it)."""
        with self.b.at(Origin("keras", path, "")):
            y: Value = self.b.identity(v)
        self.g.set_mask(y, mask)
        return y

    def _inline(self, layer: LayerConfig, path: str, inputs: Sequence[Value]) -> list[Value]:
        """Build a nested model on given inputs, as many as it has."""
        inner = layer.model
        refs = [] if inner is None else inner.input_refs()
        if inner is None or len(refs) != len(inputs):
            raise BadFileError(f"layer {path[:80]!r} is called with {len(inputs)} tensors, but the model has {len(refs)} inputs")
        bound = {r: self._as_declared(inner.layer(r.layer), f"{path}/{r.layer}", v) for r, v in zip(refs, inputs, strict=True)}
        return self._calls(inner, f"{path}/", bound)

    def _as_declared(self, layer: LayerConfig, path: str, v: Value) -> Value:
        """A nested model casts what it is given to its input's dtype (``Functional._conform``)."""
        name = layer.config.get("dtype")
        dtype = DType.of(name) if isinstance(name, str) and name in {d.value for d in DType} else None
        if dtype is None or v.dtype is None or v.dtype is dtype:
            return v
        with self.b.at(Origin("keras", path, "InputLayer")):
            y: Value = self.b.cast(v, to=dtype)
        self.g.set_mask(y, self.g.mask(v))
        return y

    def _apply(
        self, layer: LayerConfig, call: Call, path: str, inputs: list[Value], values: dict[TensorRef, Value], count: int
    ) -> Sequence[Value]:
        """One layer by its rule, or as an opaque node."""
        attrs, mask = call_attributes(layer, call, values)
        several = sum(any(isinstance(x, TensorRef) for x in leaves(a)) for a in (*call.args, *call.kwargs.values())) > 1
        implicit = not (several and self.model.era == "keras3")
        node = self.g.node(layer, inputs, path, attrs=attrs, mask=mask, implicit=implicit)
        if layer.custom:
            node.extra.args = tuple(tensors_of(a, values) for a in call.args)
        if is_function(layer):
            node.inputs = [values[r] for r in call.refs()]
        with self.b.at(node.origin):
            return self.driver.load(node, count)

    # ---- names
    def _named(self, path: str, k: int, outs: Sequence[Value]) -> Sequence[Value]:
        """Name the outputs of a layer's ``k``-th call after the layer; what a rule passed through unchanged gets an identity of
        its own. Where one of several calls gives an output of the model, that call has the name: Keras's outputs are so named."""
        result = []
        name = path if self._output_calls.get(path, k) == k else self.graph.fresh_name(path)
        with self.b.at(Origin("keras", path, "")):
            for i, v in enumerate(outs):
                result.append(self.driver.own(v))
                self.driver.name(result[-1], name if i == 0 else f"{name}:{i}")
        return result


class KerasDriver(Driver):
    """Layers by their rules, with the masks Keras attaches to what they give."""

    g: KerasContext

    def held(self, node: ForeignNode) -> Sequence[Value]:
        return [self.g.weight(node, name, t) for name, t in node.weights.items()]

    def apply(self, node: ForeignNode) -> Sequence[Value]:
        given = list(node.inputs)
        if node.extra.layer.is_op and not self.overridden(node):
            return self.g.apply(prepare(self.g, node))
        outs = self.g.apply(node)
        node.inputs = given  # the rule saw them cast; masks travel with what the caller gave
        masks.propagate(self.g, node, outs)
        return outs

    def problem(self, node: ForeignNode, error: UnsupportedError) -> Problem:
        layer = node.extra.layer
        known = (
            self.has_rule(node)
            or node.name in self.g.texts
            or node.type in ("Functional", "Sequential")
            or self.g.source_of(layer) is not None
        )
        return problem_of(layer, node, error, known)

    def kept(self, node: ForeignNode) -> Mapping[str, Any]:
        kept: dict[str, Any] = plain(node.attrs)
        return kept

    def own(self, v: Value) -> Value:
        copy = super().own(v)
        if copy is not v:
            self.g.set_mask(copy, self.g.mask(v))
        return copy

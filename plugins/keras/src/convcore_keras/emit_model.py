"""A nested plan as a KerasModel: units and operations become layers, blocks models of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from convcore.plugin import (
    Block,
    DType,
    Graph,
    Names,
    Plan,
    PlanCall,
    Problem,
    Ref,
    Shape,
    State,
    Tensor,
    Unit,
    UnsupportedError,
    Value,
    ViewTensor,
    about_text,
    uncast,
)

from .dialect import MERGES, Inner
from .emit_names import Renamed, legal, legal_model
from .files.model import Call, KerasModel, LayerConfig, LayerDType, ModelConfig, TensorRef
from .files.write_config import KERAS_VERSION
from .keep import call_of, layer_of
from .layer_spec import completed, spec_of
from .operations import OPERATIONS

__all__ = ["model_of"]


_HALF = (DType.FLOAT16, DType.BFLOAT16)


def model_of(plan: Plan, graph: Graph) -> tuple[KerasModel, list[str]]:
    """The model, and what is worth telling of it. UnsupportedError names every layer no Keras layer can be."""
    maker = _Maker(plan, graph)
    name = legal_model(graph.name or "model")
    if maker.renamed.of_keras and name != graph.name:
        maker.renamed.found[graph.name] = name
    root = maker.model(plan.root, name, [v.name for v in graph.inputs])
    if maker.narrowed:
        kinds = " and ".join(sorted(set(maker.narrowed.values())))
        maker.notes.append(f"float32 weights of {', '.join(maker.narrowed)} are written as {kinds}, in which they compute")
    maker.notes += maker.renamed.note()
    if maker.problems:
        raise UnsupportedError(maker.problems)
    model = KerasModel(root, KERAS_VERSION, "keras3", None, "keras", None, (), True, about=about_text(graph.metadata))
    return model, maker.notes


class _Maker:
    def __init__(self, plan: Plan, graph: Graph) -> None:
        self.plan = plan
        self.notes: list[str] = []
        self.problems: list[Problem] = []
        self.owners: dict[int, str] = {}
        self.narrowed: dict[str, str] = {}
        self.renamed = Renamed(graph.metadata.get("framework") == "keras")
        self.values = {legal(v.name) for v in graph.values() if v.tensor is None}
        self.same: dict[Value, set[str]] = {}
        """Names of a value and of its identities."""
        for node in graph:
            if node.op == "identity" and (x := node.inputs[0]) is not None:
                self.same[node.output] = self.same.setdefault(x, {legal(x.name)})
                self.same[x].add(legal(node.output.name))

    # ---- a block
    def model(self, block: Block, name: str, inputs: Sequence[str] = ()) -> ModelConfig:
        """A block as a Functional model: InputLayers, then a layer per unit, operation and inner block."""
        names = Names()
        layers: list[LayerConfig] = []
        at: dict[Ref, TensorRef] = {}
        config = ModelConfig(name, "functional", "Functional", layers, [], [])
        for i, ref in enumerate(block.inputs):
            label = inputs[i] if i < len(inputs) else self._input_name(ref, i)
            layer = LayerConfig(names.fresh(legal(label)), "InputLayer", "InputLayer", {})
            self.renamed.see(label, layer.name)
            layer.config = {"batch_shape": list(_sizes(ref.shape)), "dtype": str(ref.dtype), "sparse": False, "ragged": False}
            layer.dtype = LayerDType(str(ref.dtype), str(ref.dtype))
            layer.calls.append(Call())
            layers.append(layer)
            self._bind(config, at, ref, TensorRef(layer.name, 0, 0))
        known: dict[Any, LayerConfig] = {}
        label_of = self._labels(block, names)
        for call in block.calls:
            key = _shared(call) or call
            if key not in known:
                known[key] = self._layer(call, label_of[call])
                layers.append(known[key])
            layer = known[key]
            layer.calls.append(self._call(call, at))
            for ref in call.results:
                self._bind(config, at, ref, TensorRef(layer.name, len(layer.calls) - 1, ref.index))
        config.inputs = _one_or_many([at[r] for r in block.inputs])
        config.outputs = _one_or_many([at[r] for r in block.outputs])
        return config

    @staticmethod
    def _input_name(ref: Ref, i: int) -> str:
        return f"input_{ref.value.name}" if ref.value is not None else f"input_{i}"

    @staticmethod
    def _bind(config: ModelConfig, at: dict[Ref, TensorRef], ref: Ref, tensor: TensorRef) -> None:
        at[ref] = tensor
        config.specs[tensor] = (_sizes(ref.shape), str(ref.dtype or DType.FLOAT32))

    # ---- names
    def _labels(self, block: Block, names: Names) -> dict[PlanCall, str]:
        """A name for every call: what gives the result of a source layer has its name, what comes before a longer one."""
        found: dict[PlanCall, str] = {}
        shared: dict[Any, str] = {}
        calls: dict[Any, list[PlanCall]] = {}
        for c in block.calls:
            if _shared(c) is not None:
                calls.setdefault(_shared(c), []).append(c)

        def name(call: PlanCall) -> None:
            if call in found:
                return
            if _shared(call) is not None and _shared(call) in shared:
                found[call] = shared[_shared(call)]
                return
            source = self._source_name(call, block)
            found[call] = names.fresh(*self._wanted(source, call, calls.get(_shared(call), [call])))
            self.renamed.see(source, found[call])
            if _shared(call) is not None:
                shared[_shared(call)] = found[call]

        for call in reversed(block.calls):
            if isinstance(call.target, Block) or any(r.value is not None for r in call.results):
                name(call)
        for call in block.calls:
            name(call)
        return found

    @staticmethod
    def _source_name(call: PlanCall, block: Block) -> str:
        """What the layer of a call is called inside the scope of a block."""
        source = call.source or call.type
        if call.node is None:
            return source
        scope = list(call.node.scope.path)
        inside = scope[len(block.path) :] if not isinstance(call.target, Block) else [call.target.name]
        if len(inside) > 1 and inside[-1] == call.origin.type:  # an ONNX node in the folder of its module
            inside = inside[:-1]
        return "_".join(inside) or source.rpartition("/")[2] or source

    def _wanted(self, source: str, call: PlanCall, same: Sequence[PlanCall]) -> list[str]:
        """Names for a call of a layer of the source, best first; ``same`` are all calls of it."""
        base = legal(source)
        own: set[str] = set()
        for v in (r.value for c in same for r in c.results if r.value is not None):
            own |= {legal(v.name)} | self.same.get(v, set())
        if base in self.values and base not in own:
            base += "_" + call.type.rpartition(".")[2].lower()  # a tensor of that name is another one
        kind = call.type.rpartition(".")[2].lower()
        main = bool(call.kept) or not isinstance(call.target, str) or any(r.value is not None for r in call.results)
        return [base, f"{base}_{kind}"] if main else [f"{base}_{kind}"]

    # ---- a layer
    def _layer(self, call: PlanCall, name: str) -> LayerConfig:
        target = call.target
        if call.kept:
            return layer_of(call.kept[0], name)
        if isinstance(target, Block):
            model = self.model(target, name)
            return LayerConfig(name, "Functional", "Functional", {}, model=model)
        if isinstance(target, Unit):
            return self._unit(call, target, name)
        kind = target.removeprefix("ops.")
        config = dict(call.kwargs)
        return LayerConfig(name, kind, kind, config, module=f"keras.src.ops.{OPERATIONS[kind]}", registered_name=kind, is_op=True)

    def _unit(self, call: PlanCall, unit: Unit, name: str) -> LayerConfig:
        weights, dtype = self._weights(call, unit)
        config = completed(unit.type, unit.config, {k: tuple(t.shape) for k, t in weights.items()})
        layer = LayerConfig(name, unit.type, unit.type, config, weights=weights, dtype=dtype)
        _startable(unit.type, config, layer.dtype)
        for part in spec_of(unit.type).parts:
            if isinstance(inner := config.get(part.key), Inner):
                own = {k.removeprefix(f"{part.prefix}/"): t for k, t in weights.items() if k.startswith(f"{part.prefix}/")}
                whole = completed(inner.type, dict(inner.config), {k: tuple(t.shape) for k, t in own.items()})
                _startable(inner.type, whole, layer.dtype)
                config[part.key] = LayerConfig(legal(inner.name), inner.type, inner.type, whole, weights=own, dtype=layer.dtype)
        trained = [s.trainable for s in unit.states.values() if s.role == "parameter"]
        constants = [s for s in unit.states.values() if s.role == "constant"]
        layer.trainable = any(trained) or (not trained and not constants)
        for s in unit.states.values():
            key = id(s.value.tensor) if s.value is not None and s.role == "parameter" else 0
            other = self.owners.setdefault(key, name) if key and s.value is not None else name
            if other != name and s.value is not None:
                self.notes.append(f"{s.value.name} is shared by {other} and {name}: each has a copy of its own")
        return layer

    def _weights(self, call: PlanCall, unit: Unit) -> tuple[dict[str, Tensor], LayerDType]:
        """The weights as the layer has them, and its policy: it computes in the type of its floating operand. Weights that a
        mixed policy cast to half precision are the float32 ones before it again, and those of half precision of a layer that
        computes in float32 all the same are widened."""
        weights = {k: s.tensor for k, s in unit.states.items()}
        held = {s.dtype for s in unit.states.values()}
        seen = {r.dtype for r in (*call.results, *_refs(call.args)) if r.dtype is not None and r.dtype.is_float}
        kinds = held | seen
        compute = next(iter(sorted(map(str, held or seen))), "float32")
        if len(kinds) > 1 and held <= set(_HALF) and seen == {DType.FLOAT32} and spec_of(unit.type).float32:
            return {k: t.cast(DType.FLOAT32) for k, t in weights.items()}, LayerDType()
        if len(kinds) > 1:
            why = f"its tensors are {', '.join(sorted(map(str, kinds)))}, a Keras layer has one element type"
            self.problems.append(Problem(call.origin.layer or call.source, unit.type, why, code="unsupported_dtype"))
        if held and held <= set(_HALF):
            masters = {k: wide for k, t in weights.items() if (wide := uncast(t)) is not None}
            if len(masters) == len(weights):
                return masters, LayerDType(compute, "float32")
            if any(_source(t).dtype is DType.FLOAT32 for t in weights.values()):
                self.narrowed[call.origin.layer or call.source] = compute
        return weights, LayerDType(compute, compute)

    # ---- a call
    def _call(self, call: PlanCall, at: Mapping[Ref, TensorRef]) -> Call:
        if call.kept:
            return call_of(call.kept[0], [at[a] for a in call.args if isinstance(a, Ref)])
        args = [self._arg(a, at) for a in call.args]
        listed = call.type in MERGES or call.type in ("ops.Concatenate", "ops.Stack")
        if (isinstance(call.target, Block) and len(args) > 1) or (listed and not isinstance(args[0], list)):
            args = [args]
        if isinstance(call.target, Unit):
            names = spec_of(call.target.type).call
            named = {n: a for n, a in zip(names, args[1:]) if a is not None}
            return Call((args[0], *args[1 + len(names) :]), named) if names else Call(tuple(args), {})
        return Call(tuple(args), {})

    def _arg(self, a: Any, at: Mapping[Ref, TensorRef]) -> Any:
        if isinstance(a, Ref):
            return at[a]
        if isinstance(a, State):
            return np.asarray(a.tensor.numpy())
        if isinstance(a, (list, tuple)):
            return type(a)(self._arg(x, at) for x in a)
        return a


def _shared(call: PlanCall) -> Any:
    """What calls of one layer have in common; None for an operation."""
    return ("kept", id(call.kept[0].layer)) if call.kept else None if isinstance(call.target, str) else call.target


def _one_or_many(refs: list[TensorRef]) -> Any:
    return refs[0] if len(refs) == 1 else refs


def _refs(args: Any) -> Iterator[Ref]:
    for a in args:
        if isinstance(a, Ref):
            yield a
        elif isinstance(a, (list, tuple)):
            yield from _refs(a)


_ORTHOGONAL = ("LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")


def _startable(type: str, config: dict[str, Any], dtype: LayerDType) -> None:
    """Recurrent kernels of half precision start from another initializer than an orthogonal one, which torch does not compute on
    a CPU: a file would not load, whose weights replace what it gives."""
    if type in _ORTHOGONAL and dtype.variable in ("float16", "bfloat16"):
        config.setdefault("recurrent_initializer", "glorot_uniform")


def _source(t: Tensor) -> Tensor:
    """The tensor that others are made of."""
    return _source(t.base) if isinstance(t, ViewTensor) else t


def _sizes(shape: Shape | None) -> tuple[int | None, ...]:
    return tuple(d if isinstance(d, int) else None for d in shape or ())

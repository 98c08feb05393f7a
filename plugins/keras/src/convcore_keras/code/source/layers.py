"""What ``keras.layers.Layer`` does for a layer of the source: making weights, building, calling, masks, attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from convcore.plugin import Dim, DType, ForeignNode, Scope, Tensor, Value

from ... import masks
from ...files.config import Context
from ...files.model import LayerConfig
from ...load_context import KerasContext
from ..names import canonical_path, is_function
from ..tensors import GraphOps, TensorShape
from ..values import CodeRefused, Invocable, Name, what_is
from . import calls
from .base_layer import ATTRIBUTES, LAYERS, METHODS, MODELS
from .call_masks import masks_of, set_masks, some
from .classes import Bound, Foreign, Property, SourceClass, SourceObject
from .iterators import Iterated
from .keras_layer import Chain, Held, KerasLayer, keras_class
from .records import EnumClass, Member, Tuple_, TupleClass
from .state import PLAIN, LayerState, Run, Variable
from .weights import Weights, is_layer

if TYPE_CHECKING:
    from .domain import SourceDomain

__all__ = ["Host"]

_TRAINING = {"Initializer", "Regularizer", "Constraint", "Callback", "Loss", "Metric", "LearningRateSchedule", "Optimizer"}


class _Settling:
    settling = True


_SETTLING = _Settling()


class Host:
    """The layers of one call of a custom layer. ``root`` is the layer of the model, set before it is built."""

    layer: LayerConfig

    def __init__(
        self,
        g: KerasContext,
        node: ForeignNode,
        layer: LayerConfig,
        by_path: bool,
        kept: dict[str, Any],
        run: Run = PLAIN,
    ) -> None:
        self.run = run
        self.g, self.node, self.layer = g, node, layer
        self.ops = GraphOps(g, node)
        self.by_path, self.kept = by_path, kept
        self.weights = self._weights({}, None, lambda owner: {})
        self.containers: dict[int, tuple[Any, SourceObject]] = {}
        self.labels: dict[int, tuple[Any, Any, str]] = {}
        """Layers, what they are an attribute of, and its name."""
        self.made: dict[str, int] = {}

    def start(self, d: SourceDomain, root: SourceObject) -> None:
        """Say which object is the model's layer."""
        self.weights = self._weights(self.node.weights, root, lambda owner: self._properties(d, owner))

    def _weights(self, held: Mapping[str, Tensor], root: SourceObject | None, given: Callable[[Any], dict[str, Any]]) -> Weights:
        run = self.run
        return Weights(
            held,
            self.by_path,
            root,
            self.kept,
            run.left_out,
            self.label_of,
            self.g.era != "keras3",
            run.order,
            run.surveying,
            given,
        )

    @staticmethod
    def _properties(d: SourceDomain, owner: Any) -> dict[str, Any]:
        """The layers that properties of an object give; those that fail now give none, as in Keras."""
        found: dict[str, Any] = {}
        if isinstance(owner, SourceObject):
            for name in {n for c in owner.cls.mro for n, m in c.members.items() if isinstance(m, Property)}:
                with suppress(CodeRefused):
                    value = owner.find(d, name)
                    if is_layer(value) or isinstance(value, (list, tuple, dict)):
                        found[name] = value
        return found

    def context(self) -> Context:
        """What holds for the file, for configurations made by the source."""
        return Context(self.g.era, self.g.version)

    def canonical(self, path: str) -> str:
        return canonical_path(path)

    def is_function(self, path: str) -> bool:
        """Whether a dotted name is a function that convcore knows."""
        return is_function(path)

    def apply(self, node: ForeignNode) -> Sequence[Value]:
        """A layer of Keras by its rule, with the masks it makes."""
        given = list(node.inputs)
        outs = self.g.apply(node)
        node.inputs = given
        masks.propagate(self.g, node, outs)
        return outs

    def from_array(self, a: np.ndarray) -> Value:
        """An array that meets a tensor: float64 takes the tensor's type in TensorFlow, and has no one meaning in Keras 3."""
        if a.dtype == np.float64 and self.g.era == "keras3":
            raise CodeRefused(
                "computes with a tensor and an array of float64; cast the array, each of Keras's backends does otherwise"
            )
        kind = {"f": DType.FLOAT32, "i": DType.INT32, "b": DType.BOOL}.get(a.dtype.kind)
        if kind is None or a.dtype.kind == "i":
            raise CodeRefused(f"computes with a tensor and an array of {a.dtype}; cast the array")
        return self.g.b.const(a.astype(kind.numpy), kind)

    # ---- weights and names
    def settled(self, x: Any) -> Any:
        """A weight as its value in the graph."""
        if isinstance(x, Held):
            return x.layer.attribute(_SETTLING, x.name)
        if not isinstance(x, Variable):
            return x
        if x.owner is None:
            if isinstance(x.initial, np.ndarray):
                return self.g.b.const(x.initial.astype(DType(x.dtype).numpy), DType(x.dtype))
            if isinstance(x.initial, Value):
                return x.initial
            raise CodeRefused(f"uses the weight {x.name!r}, which belongs to no layer, so that no file holds it")
        label = self.label_of(x.owner)
        name = "/".join(filter(None, (label, x.name)))
        return self.g.weight(self.node, name, self.weights.of(x), trainable=x.trainable)

    def label_of(self, x: Any) -> str:
        """A layer by the attributes that lead to it."""
        if x is self.weights.root:
            return ""
        found = self.labels.get(id(x))
        if found is None:  # made in the call
            name = str(getattr(x, "class_name", "") or x.cls.name).lower()
            n = self.made[name] = self.made.get(name, -1) + 1
            found = self.labels[id(x)] = (x, None, f"{name}_{n}" if n else name)
        above = "" if found[1] is None or found[1] is x else self.label_of(found[1])
        return f"{above}/{found[2]}" if above else found[2]

    def created(self, x: SourceObject) -> None:
        """A new object: one of a class that extends Keras's gets a layer's state."""
        kinds = [self._kind(f) for f in x.cls.foreign]
        for f, kind in zip(x.cls.foreign, kinds, strict=True):
            if not kind:
                raise CodeRefused(f"makes an object of {x.cls.name}, which inherits from {f}: convcore does not know that class")
        if "layer" in kinds:
            x.state = LayerState(x.cls.name.lower())
            x.is_model = any(canonical_path(f).rpartition(".")[2] in MODELS for f in x.cls.foreign)

    def _kind(self, path: str) -> str:
        name = canonical_path(path)
        last = name.rpartition(".")[2]
        if name.startswith("keras"):
            if last in LAYERS or last in MODELS or keras_class(name):
                return "layer"
            if last in _TRAINING or name.startswith(("keras.initializers.", "keras.regularizers.", "keras.constraints.")):
                return "training"
        if name in ("tensorflow.Module", "builtins.Exception"):
            return "training"
        return ""

    def base_class(self, x: SourceObject) -> str:
        """The class of Keras with arithmetic of its own (Dense) that a class extends, "" for plain layers."""
        for f in x.cls.foreign:
            name = canonical_path(f)
            if name.rpartition(".")[2] not in LAYERS | MODELS and keras_class(name):
                return keras_class(name)
        return ""

    def assigned(self, d: SourceDomain, x: SourceObject, name: str, value: Any) -> None:
        """An attribute of a layer was set: Keras tracks the weights and layers among them."""
        state: LayerState | None = x.state
        if state is None:
            return
        if name in ("trainable_weights", "_trainable_weights", "trainable_variables") and isinstance(value, list):
            state.listed = list(value)
            for v in value:
                self._own(x, v)
            del x.values[name]
            return
        if name == "trainable" and isinstance(value, bool):
            state.trainable = value
        elif name == "built":
            state.built = bool(value)
        elif name == "supports_masking":
            state.supports_masking = bool(value)
        elif name in ("name", "_name") and isinstance(value, str):
            state.name = value
        if isinstance(value, Variable) and value.owner is None and self.g.era in ("tf.keras", "keras3"):
            self._own(x, value)
        if state.base is not None:
            state.base.assigned(name, value)
        self._track(x, value, name)

    def _own(self, x: SourceObject, v: Any) -> None:
        if isinstance(v, Variable) and v.owner is None:
            v.owner = x
            x.state.variables.append(v)

    def _track(self, x: SourceObject, value: Any, label: str) -> None:
        if is_layer(value):
            if not any(c is value for c in x.state.children):
                x.state.children.append(value)
            self.labels.setdefault(id(value), (value, x, label))
        elif isinstance(value, (list, tuple, dict)):
            if not isinstance(value, tuple):
                self.containers.setdefault(id(value), (value, x))
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in items:
                if isinstance(item, Variable) and item.owner is None and self.g.era in ("tf.keras", "keras3"):
                    self._own(x, item)
                elif is_layer(item) or isinstance(item, (list, tuple, dict)):
                    self._track(x, item, f"{label}_{key}")
            if isinstance(value, (list, dict)):
                self.labels.setdefault(id(value), (value, x, label))

    def track_again(self, container: Any) -> None:
        """A list or dict that a layer holds was changed."""
        found = self.containers.get(id(container))
        if found is not None:
            self._track(found[1], container, self.labels[id(container)][2])

    # ---- what Layer has
    def is_method(self, x: SourceObject, name: str) -> bool:
        return name in METHODS

    def has_foreign(self, x: SourceObject, name: str) -> bool:
        """Whether Keras's classes give an object an attribute."""
        if x.state is None:
            raise CodeRefused(f"asks an object of {x.cls.name} for {name!r}")
        return name in METHODS or name in ATTRIBUTES or (x.state.base is not None and x.state.base.has(name))

    def foreign_attribute(self, d: SourceDomain, x: SourceObject, name: str) -> Any:
        """An attribute that Keras's class gives."""
        state: LayerState | None = x.state
        if state is None:
            raise CodeRefused(f"reads the attribute {name!r} of an object of {x.cls.name}")
        if name in METHODS:
            return Foreign(x, name)
        if name in ATTRIBUTES:
            return ATTRIBUTES[name](self, state)
        if state.base is not None:
            return state.base.attribute(d, name)
        raise CodeRefused(f"reads the attribute {name!r} of the layer, which has none that convcore knows")

    def foreign(self, d: SourceDomain, x: Any, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """A method that Keras's class gives."""
        if isinstance(x, SourceClass):
            if name == "from_config" and len(args) == 1 and isinstance(args[0], dict):
                return x.invoke(d, [], args[0])
            raise CodeRefused(f"calls {name} of the class {x.name}")
        if not isinstance(x, SourceObject) or (x.state is None and name != "__init__"):
            raise CodeRefused(f"calls {name} of {what_is(x)}")
        if x.state is None:
            return None
        if x.state.base is not None and name == "call":
            return x.state.base.invoke(d, args, kwargs)
        method = METHODS.get(name)
        if method is None:
            raise CodeRefused(f"calls the method {name!r} of Keras's layer, which convcore does not know")
        return method(self, d, x, args, kwargs)

    def call_name(self, d: SourceDomain, path: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """A function or class by its dotted name."""
        return calls.call(self, d, path, args, kwargs)

    def is_a(self, x: Any, kind: Any) -> bool | None:
        """Whether ``isinstance(x, kind)``; None where Python's own types decide."""
        if isinstance(kind, (EnumClass, TupleClass)):
            return isinstance(x, (Member, Tuple_)) and x.cls is kind
        if isinstance(x, Tuple_) and kind == Name("builtins.tuple"):
            return True
        if isinstance(x, Member) and x.cls.kind is not None and kind == Name(f"builtins.{x.cls.kind.__name__}"):
            return True
        if isinstance(kind, SourceClass):
            return isinstance(x, SourceObject) and kind in x.cls.mro
        if isinstance(kind, Name) and not kind.path.startswith("builtins."):
            name = canonical_path(kind.path)
            last = name.rpartition(".")[2]
            if last in LAYERS and name.startswith("keras"):
                return is_layer(x)
            if keras_class(name):
                return isinstance(x, KerasLayer) and x.class_name == keras_class(name)
            if last in ("Sequential", "Model") and name.startswith("keras"):
                return isinstance(x, Chain)
            if name == "numpy.ndarray":
                return isinstance(x, np.ndarray)
            if isinstance(x, Iterated) and last in ("Iterable", "Iterator"):
                return True
            if last in ("Iterable", "Sequence", "Mapping") and not self.ops.is_tensor(x):
                return isinstance(x, (list, tuple, *((dict,) if last != "Sequence" else ())))
            return None
        if isinstance(x, (SourceObject, KerasLayer, Chain, Variable, Name, Bound)) or (
            isinstance(x, Invocable) and isinstance(kind, Name)
        ):
            return False
        return None

    # ---- calling
    def call_layer(self, d: SourceDomain, x: SourceObject, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """``layer(...)``: build it, then ``call`` with what Keras adds."""
        state: LayerState = x.state
        call = x.cls.find("call")
        if call is None and state.base is None:
            raise CodeRefused(f"calls a layer of {x.cls.name}, which has no call")
        if not d.settling:
            raise CodeRefused(f"calls a layer of {x.cls.name} while layers are being built")
        given = dict(kwargs)
        if call is None:
            self.build(d, x, args, given)
            return state.base.invoke(d, args, given)
        p = call.parameters()
        names = p.names[1:]
        bound = dict(zip(names, args))
        bound.update((k, v) for k, v in given.items() if k in names or k in p.keyword)
        self.build(d, x, args, given, bound)
        if "training" in (*names, *p.keyword) and bound.get("training") is None:
            given["training"] = False
            if len(args) > (i := names.index("training") if "training" in names else len(args)):
                args = [*args[:i], *args[i + 1 :]]
        tensors = {k: v for k, v in bound.items() if self._tensors(v)}
        first = next(iter(bound.values()), None)
        previous = masks_of(self.g, first)
        if "mask" in (*names, *p.keyword) and bound.get("mask") is None and (len(tensors) == 1 or self.g.era != "keras3"):
            found = masks_of(self.g, next(iter(tensors.values())) if self.g.era == "keras3" else first)
            if len(args) <= (names.index("mask") if "mask" in names else len(args)):
                given["mask"] = found
            elif found is not None:
                raise CodeRefused("passes None for a mask that the input has")
        elif len(tensors) > 1 and self.g.era == "keras3":
            for k, v in tensors.items():
                if f"{k}_mask" in (*names, *p.keyword) and bound.get(f"{k}_mask") is None and some(masks_of(self.g, v)):
                    given[f"{k}_mask"] = masks_of(self.g, v)
        explicit = given.get("mask", bound.get("mask"))
        with self.g.b.within(self._scope(x)):
            y = d.call(Bound(x, call), args, given)
        if self.g.era != "keras3":  # what is passed through gets a tensor of its own (``base_layer``, 2.15)
            y = self._own_tensors(y, _leaves([first, dict(kwargs), list(args)]))
        set_masks(self.g, d, x, first, y, explicit if explicit is not None else previous)
        return y

    def _scope(self, x: SourceObject) -> Scope:
        """The scope of a call: the model's own for its layer, one of the class for a layer inside."""
        b = self.g.b
        if x is self.weights.root:
            return b.scope
        name = self.label_of(x).rpartition("/")[2]
        return b.graph.scope(name, x.cls.name, {}, parent=b.scope, call=b.graph.uses_of((*b.scope.path, name)))

    def _own_tensors(self, y: Any, given: list[Any]) -> Any:
        if isinstance(y, (list, tuple)):
            return type(y)(self._own_tensors(v, given) for v in y) if type(y) in (list, tuple) else y
        if isinstance(y, Value) and any(y is v for v in given):
            return self.g.b.identity(y)
        return y

    def _tensors(self, x: Any) -> bool:
        if isinstance(x, (list, tuple)):
            return bool(x) and all(self._tensors(v) for v in x)
        if isinstance(x, dict):
            return bool(x) and all(self._tensors(v) for v in x.values())
        return self.ops.is_tensor(x)

    def build(
        self,
        d: SourceDomain,
        x: SourceObject,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        bound: Mapping[str, Any] | None = None,
    ) -> None:
        """Build a layer for its inputs, once, as Keras does before the first call."""
        state: LayerState = x.state
        if state.built or state.ready is None:
            return
        state.built = True
        build = x.cls.find("build")
        if build is None:
            if state.base is not None:
                state.base.build()
            return
        old, d.settling = d.settling, False
        try:
            d.call(Bound(x, build), *self._shapes(build.parameters(), args, bound or {}))
        finally:
            d.settling = old
        state.built = True

    def _shapes(self, p: Any, args: Sequence[Any], bound: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """What ``build`` is called with: the shape of the first argument, in Keras 3 one per argument where it takes several."""
        names = [n for n in p.names[1:] if n not in p.defaults]
        first = args[0] if args else next((v for v in bound.values() if self._tensors(v)), None)
        if self.g.era != "keras3" or len([*p.names[1:], *p.keyword]) <= 1:
            return [self.shape_of(first)], {}
        shapes = {f"{k}_shape": self.shape_of(v) for k, v in bound.items() if self._tensors(v)}
        missing = [n for n in names if n not in shapes]
        if missing:
            raise CodeRefused(f"builds by {missing[0]!r}, which is no argument of call")
        return [], {n: shapes[n] for n in (*p.names[1:], *p.keyword) if n in shapes}

    def shape_of(self, x: Any) -> Any:
        """Sizes as Keras gives them to ``build``: None for one that is not known."""
        if isinstance(x, Value):
            return TensorShape(None if isinstance(n, Dim) else n for n in self.ops.shape(x))
        if isinstance(x, (list, tuple)):
            return [self.shape_of(v) for v in x]
        if isinstance(x, dict):
            return {k: self.shape_of(v) for k, v in x.items()}
        if x is None:
            return None
        raise CodeRefused(f"is called with {what_is(x)} as its first argument")


def _leaves(x: Any) -> list[Any]:
    if isinstance(x, (list, tuple)):
        return [v for item in x for v in _leaves(item)]
    return [v for item in x.values() for v in _leaves(item)] if isinstance(x, dict) else [x]

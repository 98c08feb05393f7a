"""Which array of the file is which weight of a custom layer: by the path of its owner (``.keras``), or by order (HDF5).

``.keras`` keeps a layer's own variables, trainable ones first, under ``vars`` of its folder and what it has as attributes in
folders named after them, in lists after their class (``saving_lib``, Keras 3.15.1). HDF5 lists the trainable weights of a layer,
its own before those of its sublayers in the order in which it got them, then the others alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from convcore.plugin import Tensor

from ...files.variables import snake
from ...files.weights_legacy import fill_in_order, ordered_slots
from ...files.weights_v3 import fill_by_path
from ..values import CodeRefused, Invocable

if TYPE_CHECKING:
    from .keras_layer import KerasLayer

__all__ = ["LayerState", "LeftOut", "OtherNumber", "Variable", "Weights"]


@dataclass(eq=False)
class Variable(Invocable):
    """A weight that a layer makes: ``shape`` as it says (None where it does not), ``initial`` the value it starts with."""

    name: str
    shape: tuple[int, ...] | None
    trainable: bool = True
    dtype: str = "float32"
    initial: Any = None
    owner: Any = None
    index: int = -1
    """Its place in its layer, -1 while it is nobody's."""

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        raise CodeRefused(f"calls the weight {self.name!r}")

    def attribute(self, domain: Any, name: str) -> Any:
        if name in ("shape", "_keras_shape") and self.shape is not None:
            return tuple(self.shape)
        if name in ("dtype", "name", "trainable"):
            return getattr(self, name)
        if name == "value":
            return Value_(self)
        raise CodeRefused(f"reads the attribute {name!r} of the weight {self.name!r}")

    def assign_attribute(self, domain: Any, name: str, value: Any) -> None:
        if name not in ("constraint", "regularizer", "name"):
            raise CodeRefused(f"sets the attribute {name!r} of the weight {self.name!r}")


@dataclass(eq=False)
class Value_(Invocable):
    """``variable.value``, an attribute in Keras 3 and a method before."""

    variable: Variable

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return self.variable


@dataclass(eq=False)
class LayerState:
    """What Keras keeps of a layer of the source."""

    name: str
    variables: list[Variable] = field(default_factory=list)
    children: list[Any] = field(default_factory=list)
    """Layers it has, in the order Keras found them."""
    listed: list[Any] | None = None
    """What it set as ``trainable_weights`` itself (Keras 1 and 2)."""
    trainable: bool = True
    built: bool = False
    ready: bool = False
    """Whether ``Layer.__init__`` has run."""
    supports_masking: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    base: Any = None
    """The layer of Keras that its class extends, if it is one."""

    def own(self) -> list[Variable]:
        """Its variables as ``.keras`` orders them."""
        return [v for v in self.variables if v.trainable] + [v for v in self.variables if not v.trainable]


class OtherNumber(CodeRefused):
    """A file without names holds another number of weights than the layer makes; ``sizes`` are those of its layers of Keras."""

    def __init__(self, makes: int, holds: int, sizes: Mapping[str, int]) -> None:
        super().__init__(
            f"has {makes} weights as far as it is built, the file holds {holds}; in the .keras format they are told apart by name"
        )
        self.more, self.sizes = makes - holds, dict(sizes)


class LeftOut(CodeRefused):
    """A layer whose weights were thought not to be in the file is called."""

    def __init__(self, label: str) -> None:
        super().__init__(f"calls the layer {label}, whose weights the file does not hold")
        self.label = label


class Weights:
    """The arrays of one custom layer of the model. ``by_path``: keys are ``"dense/0"``; otherwise ``"0"``, ``"1"``, ... in order.
    ``left_out`` are layers, by their labels, whose weights the file does not hold."""

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        by_path: bool,
        root: Any,
        kept: dict[str, Any],
        left_out: frozenset[str] = frozenset(),
        label: Callable[[Any], str] = str,
        tf_keras: bool = False,
    ) -> None:
        self.tensors, self.by_path, self.root = tensors, by_path, root
        self._kept = kept
        self._paths: dict[int, str] | None = None
        self.used: set[str] = set()
        self.left_out, self.label, self.tf_keras = left_out, label, tf_keras
        self.asked: set[str] = set()

    # ---- paths
    def path_of(self, owner: Any) -> str:
        """The folder of a layer inside the custom layer's. Raises CodeRefused for a layer that is nobody's attribute."""
        extends = getattr(owner, "extends", None)
        if extends is not None:
            return self.path_of(extends.owner)
        if self._paths is None or id(owner) not in self._paths:
            self._paths = {}
            self._walk(self.root, "", self._paths)
        if id(owner) not in self._paths:
            raise CodeRefused(
                f"uses the layer {layer_label(owner)}, which is no attribute of another, so that its weights are not saved"
            )
        return self._paths[id(owner)]

    def _walk(self, at: Any, path: str, found: dict[int, str]) -> None:
        if id(at) in found:
            return
        found[id(at)] = path
        for name, child in _attributes(at, self.tf_keras):
            self._walk_item(child, _join(path, name), found)

    def _walk_item(self, x: Any, path: str, found: dict[int, str]) -> None:
        if is_layer(x):
            self._walk(x, path, found)
        elif isinstance(x, (list, tuple, dict)):
            used: dict[str, int] = {}
            for item in x.values() if isinstance(x, dict) else x:
                if is_layer(item):
                    self._walk(item, _join(path, _unique(snake(class_of(item)), used)), found)
                elif isinstance(item, (list, tuple, dict)):
                    self._walk_item(item, _join(path, _unique("container", used)), found)

    # ---- arrays
    def of(self, variable: Variable) -> Tensor:
        """The array of a weight. Raises CodeRefused where it is not there or of another shape."""
        state: LayerState = variable.owner.state
        if self.by_path:
            path = self.path_of(variable.owner)
            key = _join(path, str(state.own().index(variable)))
        else:
            key = str(self._order().index(variable))
        tensor = self.tensors.get(key)
        if tensor is None:
            raise CodeRefused(f"makes the weight {variable.name!r}, which the file does not hold")
        if variable.shape is not None and tuple(variable.shape) != tuple(tensor.shape):
            raise CodeRefused(
                f"makes the weight {variable.name!r} of shape {tuple(variable.shape)}, the file's is {tuple(tensor.shape)}"
            )
        self.used.add(key)
        return tensor

    def of_layer(self, layer: KerasLayer) -> dict[str, Tensor]:
        """The arrays of a layer of Keras inside the custom one, by name; the same objects every time."""
        if layer.extends is not None:
            own = layer.extends.arrays(self, self._kept)
            if own is not None:
                return own
        self.asked.add(self.label(layer))
        if self.label(layer) in self.left_out:
            raise LeftOut(self.label(layer))
        label = self.path_of(layer)
        if label not in self._kept:
            config = layer.config
            if self.by_path:
                inside = {
                    k[len(label) + 1 :] if label else k: t
                    for k, t in self.tensors.items()
                    if not label or k.startswith(f"{label}/")
                }
                if layer.extends is not None:
                    inside = self._without_own(layer.extends.owner, inside)
                problems = fill_by_path(config, inside)
                self._mark(layer, [_join(label, k) for k in inside])
            else:
                slots = self._order()
                mine = [i for i, s in enumerate(slots) if isinstance(s, tuple) and s[0] is layer]
                missing = [i for i in mine if str(i) not in self.tensors]
                problems = [f"{len(missing)} of its {len(mine)} weights are not in the file"] if missing else fill_in_order(
                    config, [self.tensors[str(i)] for i in mine]
                )  # fmt: skip
                self._mark(layer, [str(i) for i in mine])
            if problems:
                raise CodeRefused(f"has the layer {layer_label(layer)}, whose weights do not fit: {'; '.join(problems)[:300]}")
            self._kept[label] = dict(config.weights)
            self._kept[f"{label}\0keys"] = dict.fromkeys(layer.keys)
        self.used.update(self._kept[f"{label}\0keys"])
        found: dict[str, Tensor] = self._kept[label]
        return found

    def _without_own(self, owner: Any, inside: dict[str, Tensor]) -> dict[str, Tensor]:
        """The arrays of Keras's part of an object that extends one of its layers, without those of the source's own."""
        others = {name for name, _ in _attributes(owner, self.tf_keras)}
        return {k: t for k, t in inside.items() if "/" in k and k.partition("/")[0] not in others}

    def _mark(self, layer: KerasLayer, keys: list[str]) -> None:
        layer.keys = keys
        self.used.update(keys)

    def _order(self) -> list[Any]:
        """What each array in turn is: a Variable, or (layer of Keras, place in it)."""
        self.sizes: dict[str, int] = {}
        trainable, fixed = self._slots(self.root)
        slots = [*trainable, *fixed]
        if len(slots) != len(self.tensors):
            raise OtherNumber(len(slots), len(self.tensors), self.sizes)
        return slots

    def _slots(self, at: Any) -> tuple[list[Any], list[Any]]:
        state: LayerState | None = getattr(at, "state", None)
        if state is None or not is_layer(at):
            layers = getattr(at, "layers", None)
            if layers is not None:
                parts = [self._slots(x) for x in layers]
                return [s for t, _ in parts for s in t], [s for _, f in parts for s in f]
            if self.label(at) in self.left_out:
                return [], []
            t, f = ordered_slots(at.config)
            self.sizes[self.label(at)] = t + f
            rows = [(at, i) for i in range(t + f)]
            return rows[:t], rows[t:]
        if state.listed is not None:
            rest = [v for v in state.variables if v not in state.listed]
            return list(state.listed), [v for v in rest if not v.trainable]
        parts = [self._slots(x) for x in state.children]
        own = [v for v in state.variables if v.trainable], [v for v in state.variables if not v.trainable]
        if not state.trainable:
            return [], [*own[0], *own[1], *(s for t, f in parts for s in (*t, *f))]
        return [*own[0], *(s for t, _ in parts for s in t)], [*own[1], *(s for _, f in parts for s in f)]

    def finish(self) -> None:
        """Raises CodeRefused for arrays that the source makes no weight of, or where it is not certain which are whose."""
        if self.left_out and not self.by_path and {n for n, size in self.sizes.items() if size} - self.asked:
            raise CodeRefused("has layers that it does not call, so that the order of the weights is not certain")
        for v in _variables(self.root, set()):  # what is made and not used is no problem of the file's
            try:
                self.of(v)
            except CodeRefused as e:
                raise CodeRefused(e.why) from e
        left = [k for k in self.tensors if k not in self.used and not self._unused_layer(k)]
        if left:
            raise CodeRefused(f"makes no weight of {len(left)} arrays of the file ({', '.join(left[:4])})")

    def _unused_layer(self, key: str) -> bool:
        """Whether an array is that of a layer of Keras which the call did not need."""
        if self.by_path:
            owner = key.rpartition("/")[0]
            return any(owner == p or owner.startswith(f"{p}/") for p in (self._paths or {}).values() if p)
        slots = self._order()
        return isinstance(slots[int(key)], tuple)


def _variables(at: Any, seen: set[int]) -> Iterator[Variable]:
    state: LayerState | None = getattr(at, "state", None)
    if state is None or id(at) in seen:
        return
    seen.add(id(at))
    yield from state.variables
    for child in state.children:
        yield from _variables(child, seen)


def is_layer(x: Any) -> bool:
    """Whether Keras would save it as a layer."""
    return getattr(x, "state", None) is not None or getattr(x, "is_keras_layer", False)


def class_of(x: Any) -> str:
    """The name of a layer's class."""
    return str(x.cls.name if hasattr(x, "cls") else x.class_name)


def layer_label(x: Any) -> str:
    """A layer for messages."""
    return f"{getattr(x, 'label', '') or class_of(x)!r}"


def _attributes(at: Any, tf_keras: bool) -> Iterator[tuple[str, Any]]:
    """What a layer holds, by name: Keras 3 goes through private ones last, tf.keras from the last name to the first, with
    ``layers`` of a model among them (``saving_lib``, 3.15.1 and tf_keras 2.21)."""
    layers = getattr(at, "layers", None)
    if layers is not None and getattr(at, "is_keras_layer", False):
        yield "layers", layers
        return
    values = getattr(at, "values", None)
    if isinstance(values, dict):
        if not tf_keras:
            for name in sorted(values, key=lambda n: f"~{n}" if n.startswith("_") else n):
                yield name, values[name]
            return
        listed = {"layers": list(at.state.children)} if at.is_model else {}
        for name in sorted({*values, *listed}, reverse=True):
            yield name, listed.get(name, values.get(name))


def _unique(name: str, used: dict[str, int]) -> str:
    n = used[name] = used.get(name, -1) + 1
    return f"{name}_{n}" if n else name


def _join(a: str, b: str) -> str:
    return f"{a}/{b}" if a and b else a or b

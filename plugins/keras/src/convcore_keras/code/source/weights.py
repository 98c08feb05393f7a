"""Which array of the file is which weight of a custom layer: by the path of its owner (``.keras``), or by order (HDF5).

``.keras`` keeps a layer's own variables, trainable ones first, under ``vars`` of its folder and what it has as attributes in
folders named after them, in lists after their class (``saving_lib``, Keras 3.15.1). HDF5 lists the trainable weights of a layer,
its own before those of its sublayers in the order in which it got them, then the others alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convcore.plugin import DType, Tensor, UsageError, as_tensor

from ...files.variables import snake
from ...files.weights_legacy import fill_in_order, ordered_slots
from ...files.weights_v3 import fill_by_path
from ...files.write import placed
from ..values import CodeRefused
from .state import Key, LayerState, Variable

if TYPE_CHECKING:
    from .keras_layer import KerasLayer

_MOST_TRIED = 64


__all__ = ["LeftOut", "OtherNumber", "Weights"]


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
    ``left_out`` are layers, by their labels, whose weights the file does not hold.

    The order is known when everything is built, and layers of the source inside the layer are built when they are called. So
    where a read comes before that, the layer is gone through once to see what it builds (``surveying``: arrays are stand-ins of
    the right shapes), and then again with the ``order`` found.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        by_path: bool,
        root: Any,
        kept: dict[str, Any],
        left_out: frozenset[str],
        label: Callable[[Any], str],
        tf_keras: bool,
        order: Sequence[Key] | None,
        surveying: bool,
        given: Callable[[Any], Mapping[str, Any]],
    ) -> None:
        self.given = given
        """What the properties of an object give, by name: ``dir()`` has them beside its attributes."""
        self.tensors, self.by_path, self.root = tensors, by_path, root
        self.order, self.surveying = order, surveying and not by_path
        self._kept = kept
        self._paths: dict[int, str] | None = None
        self._of_keras: set[str] = set()
        """The paths of layers of Keras."""
        self.used: set[str] = set()
        self.left_out, self.label, self.tf_keras = left_out, label, tf_keras
        self.asked: set[str] = set()
        self.sizes: dict[str, int] = {}

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
        base = getattr(getattr(at, "state", None), "base", None)
        if (path and of_keras(at) and not hasattr(at, "layers")) or (base is not None and base.inner):
            self._of_keras.add(path)
        for name, child in _attributes(at, self.tf_keras, self.given(at)):
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
        elif self.surveying:
            return self._stand_in(variable)
        else:
            key = str(self._place(variable))
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
                mine = [self._place((layer, i)) for i in range(sum(ordered_slots(config)))]
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

    def options_of(self, layer: KerasLayer) -> Iterator[dict[str, Tensor]]:
        """:meth:`of_layer`; in a survey the arrays of the file that it could have by their shapes, one of which will do."""
        if not self.surveying or (layer.extends is not None and layer.extends.inner):
            yield self.of_layer(layer)
            return
        self.asked.add(self.label(layer))
        t, f = ordered_slots(layer.config)
        arrays = [self.tensors[str(i)] for i in range(len(self.tensors))]
        seen: set[Any] = set()
        for i in range(len(arrays) - t + 1):
            for j in range(len(arrays) - f + 1) if f else (0,):
                chosen = [*arrays[i : i + t], *arrays[j : j + f]]
                shapes = tuple(tuple(a.shape) for a in chosen)
                if shapes in seen or len(seen) > _MOST_TRIED:
                    continue
                seen.add(shapes)
                layer.config.weights = {}
                if not fill_in_order(layer.config, chosen):
                    yield dict(layer.config.weights)
        raise CodeRefused(f"has the layer {layer_label(layer)}, whose weights no arrays of the file fit")

    def _stand_in(self, variable: Variable) -> Tensor:
        if variable.shape is None:
            told = variable.sizes
            found = (t for t in self.tensors.values() if told is not None and len(told) == len(t.shape))
            fits = next((t for t in found if all(a in (None, b) for a, b in zip(told or (), t.shape))), None)
            if fits is None:
                raise CodeRefused(f"makes the weight {variable.name!r} of a shape that is not known")
            return fits
        return as_tensor(np.broadcast_to(np.zeros((), DType(variable.dtype).numpy), tuple(variable.shape)))

    def _without_own(self, owner: Any, inside: dict[str, Tensor]) -> dict[str, Tensor]:
        """The arrays of Keras's part of an object that extends one of its layers, without those of the source's own."""
        others = {name for name, _ in _attributes(owner, self.tf_keras, {})}
        return {k: t for k, t in inside.items() if "/" in k and k.partition("/")[0] not in others}

    def _mark(self, layer: KerasLayer, keys: list[str]) -> None:
        layer.keys = keys
        self.used.update(keys)

    def _place(self, slot: Any) -> int:
        """The place of a Variable, or of (layer of Keras, place in it), among the arrays of the file."""
        if self.order is None:
            return self._order().index(slot)
        key = self._key(slot)
        if key not in self.order:
            raise CodeRefused(f"makes weights of {key[1] or 'its own'} that it did not make before")
        return self.order.index(key)

    def _key(self, slot: Any) -> Key:
        """What stands for a slot in each run of the same source."""
        if isinstance(slot, tuple):
            return "layer", self.label(slot[0]), slot[1]
        return "weight", self.label(slot.owner), slot.owner.state.variables.index(slot)

    def surveyed(self) -> list[Key]:
        """The order of what is built now. Raises CodeRefused where it cannot be said in words."""
        self.sizes = {}
        trainable, fixed = self._slots(self.root)
        keys = [self._key(s) for s in (*trainable, *fixed)]
        if len(set(keys)) != len(keys):
            raise CodeRefused("has two layers under one name, so that the order of the weights is not certain")
        return keys

    def _order(self) -> list[Any]:
        """What each array in turn is: a Variable, or (layer of Keras, place in it)."""
        self.sizes = {}
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

    def listed(self) -> list[tuple[str, bool, Tensor]] | None:
        """Path, whether it is trained, and array of each weight in the order of HDF5; None where a layer was not called, or is
        nobody's attribute."""
        found: list[tuple[str, bool, Tensor]] = []
        trainable, fixed = self._slots(self.root)
        try:
            for trained, part in ((True, trainable), (False, fixed)):
                for slot in part:
                    if isinstance(slot, tuple):
                        layer, i = slot
                        places = list(placed(layer.config, "", "", True))
                        name, path, _ = [*(p for p in places if p[2]), *(p for p in places if not p[2])][i]
                        found.append((_join(self.path_of(layer), path), trained, layer.config.weights[name]))
                    elif not isinstance(slot, Variable):
                        return None
                    else:
                        path = _join(self.path_of(slot.owner), str(slot.owner.state.own().index(slot)))
                        found.append((path, trained, self.of(slot)))
        except (CodeRefused, UsageError, LookupError):
            return None
        return found

    def finish(self) -> None:
        """Raises CodeRefused for arrays that the source makes no weight of, or where it is not certain which are whose."""
        if self.surveying:
            return
        if self.order is not None and self.surveyed() != [*self.order]:
            raise CodeRefused("makes its weights in another order each time")
        if self.left_out and not self.by_path and {n for n, size in self.sizes.items() if size} - self.asked:
            raise CodeRefused("has layers that it does not call, so that the order of the weights is not certain")
        for v in _variables(self.root, set()):  # what is made and not used is no problem of the file's
            try:
                self.of(v)
            except CodeRefused as e:
                raise CodeRefused(e.why) from e
        if self.by_path:
            self._paths = {}
            self._walk(self.root, "", self._paths)
        left = [k for k in self.tensors if k not in self.used and not self._unused_layer(k)]
        if left:
            raise CodeRefused(f"makes no weight of {len(left)} arrays of the file ({', '.join(left[:4])})")

    def _unused_layer(self, key: str) -> bool:
        """Whether an array is that of a layer of Keras which the call did not need."""
        if self.by_path:
            owner = key.rpartition("/")[0]
            return any(owner == p or owner.startswith(f"{p}/") for p in self._of_keras)
        if self.order is not None:
            return self.order[int(key)][0] == "layer"
        return isinstance(self._order()[int(key)], tuple)


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
    return getattr(x, "state", None) is not None or of_keras(x)


def of_keras(x: Any) -> bool:
    """Whether it is a layer of Keras in the source's."""
    return getattr(x, "is_keras_layer", False)


def class_of(x: Any) -> str:
    """The name of a layer's class."""
    return str(x.cls.name if hasattr(x, "cls") else x.class_name)


def layer_label(x: Any) -> str:
    """A layer for messages."""
    return f"{getattr(x, 'label', '') or class_of(x)!r}"


def _attributes(at: Any, tf_keras: bool, given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a layer holds, by name: Keras 3 goes through private ones last, tf.keras from the last name to the first, both with
    ``layers`` of a model and what properties give among them (``saving_lib``, 3.15.1 and tf_keras 2.21)."""
    layers = getattr(at, "layers", None)
    if layers is not None and of_keras(at):
        yield "layers", layers
        return
    values = getattr(at, "values", None)
    if isinstance(values, dict):
        values = {**given, **values, **({"layers": list(at.state.children)} if at.is_model else {})}
        names = sorted(values, reverse=True) if tf_keras else sorted(values, key=lambda n: f"~{n}" if n.startswith("_") else n)
        for name in names:
            yield name, values[name]


def _unique(name: str, used: dict[str, int]) -> str:
    n = used[name] = used.get(name, -1) + 1
    return f"{name}_{n}" if n else name


def _join(a: str, b: str) -> str:
    return f"{a}/{b}" if a and b else a or b

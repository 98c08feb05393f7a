"""Weights of ``.keras`` files and ``.weights.h5`` (Keras 3, and tf.keras 2.12-2.15): found by the path rule.

The path of a layer comes from its class and its place in ``model.layers``: ``layers/dense``, ``layers/dense_1``.
tf.keras 2.12 and 2.13 use the root ``_layer_checkpoint_dependencies`` instead, where a layer with weights takes two
numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

from convcore.plugin import BadFileError, Tensor

from .convert import without_cudnn
from .hdf5 import H5File
from .model import LayerConfig, ModelConfig
from .order import ordered_layers
from .variables import Var, children, own_variables, snake

__all__ = ["SingleFile", "Store", "assign", "fill_by_path"]

_ROOTS = ("layers", "_layer_checkpoint_dependencies")
_MAX_CUSTOM = 10_000
PYTHON_NAMES = {"GroupQueryAttention": "GroupedQueryAttention", "Model": "Functional"}


class Store(Protocol):
    """Where variables are: one HDF5 file, or shards."""

    label: str

    def variables(self, path: str) -> list[tuple[str, Tensor]] | None:
        """The datasets of ``<path>/vars`` in numeric order; None when there is no such group."""

    def name_of(self, path: str) -> str | None:
        """The layer name recorded at ``<path>/vars``, if any."""

    def folders(self, path: str) -> list[str]:
        """Sub-groups of ``path`` other than ``vars``."""

    def has(self, path: str) -> bool:
        """Whether the group exists."""


class SingleFile:
    """A ``model.weights.h5``."""

    def __init__(self, file: H5File) -> None:
        self.file, self.label = file, file.label
        self._groups: dict[str, Any] = {"": file.root}

    def _group(self, path: str) -> Any:
        if path not in self._groups:
            parent, _, last = path.rpartition("/")
            at = self._group(parent)
            self._groups[path] = None if at is None else self.file.group(at, last)
        return self._groups[path]

    def has(self, path: str) -> bool:
        return self._group(path) is not None

    def variables(self, path: str) -> list[tuple[str, Tensor]] | None:
        at = _join(path, "vars")
        group = self._group(at)
        if group is None:
            return None
        names = sorted(self.file.keys(group), key=lambda n: (not n.isdigit(), int(n) if n.isdigit() else 0, n))
        return [(n, self.file.tensor(self.file.child(group, n), f"{at}/{n}")) for n in names]

    def name_of(self, path: str) -> str | None:
        group = self._group(_join(path, "vars"))
        name = None if group is None else self.file.attr(group, "name")
        return name if isinstance(name, str) else None

    def folders(self, path: str) -> list[str]:
        group = self._group(path)
        names = [] if group is None else [n for n in self.file.keys(group) if n != "vars"]
        return [n for n in names if "/" not in n and self._group(_join(path, n)) is not None]


def assign(model: ModelConfig, store: Store, notes: list[str], *, one_file: bool) -> None:
    """Fill ``LayerConfig.weights`` of every layer. Raises BadFileError listing what does not fit.

    Variables of layers the model does not have are ignored with a note when architecture and weights are ``one_file``
    (Keras ignores them too); in separate files they mean the two do not belong together.
    """
    walk = _Walk(store)
    walk.model(model, "")
    walk.shared()
    if not one_file:
        walk.problems += walk.extra
    if walk.problems:
        raise BadFileError(_message(store.label, walk.problems))
    notes += walk.notes + [f"{x}; ignored" for x in walk.extra if one_file]


def _message(label: str, problems: list[str]) -> str:
    shown = "\n  ".join(problems[:20])
    more = f"\n  ... and {len(problems) - 20} more" if len(problems) > 20 else ""
    count = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
    return f"{label}: the weights do not fit the model ({count}):\n  {shown}{more}"


class _Held:
    """Variables of one layer by their paths below it (``"cell/0"``), as a store."""

    label = "the layer"

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors

    def variables(self, path: str) -> list[tuple[str, Tensor]] | None:
        found = [(k.rpartition("/")[2], t) for k, t in self.tensors.items() if k.rpartition("/")[0] == path.removeprefix("/")]
        return sorted(found, key=lambda kv: int(kv[0]) if kv[0].isdigit() else 0) or None

    def name_of(self, path: str) -> str | None:
        return None

    def folders(self, path: str) -> list[str]:
        start = f"{path.removeprefix('/')}/".lstrip("/")
        inside = {k[len(start) :].split("/")[0] for k in self.tensors if k.startswith(start) and "/" in k[len(start) :]}
        return sorted(inside)

    def has(self, path: str) -> bool:
        start = path.removeprefix("/")
        return not start or any(k.startswith(f"{start}/") for k in self.tensors)


def fill_by_path(layer: LayerConfig, tensors: Mapping[str, Tensor]) -> list[str]:
    """Give a layer of Keras its variables by their paths below its folder; what does not fit."""
    walk = _Walk(_Held(tensors))
    walk.layer(layer, "")
    return [*walk.problems, *(why for _, _, why in walk.missing)]


class _Walk:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.extra: list[str] = []
        self.missing: list[tuple[LayerConfig, str, str]] = []
        self.filled: dict[tuple[str, str], list[LayerConfig]] = {}

    def model(self, model: ModelConfig, path: str) -> None:
        layers = [x for x in ordered_layers(model) if not x.is_op]
        if model.kind == "sequential" and layers and layers[0].class_name == "InputLayer":
            layers = layers[1:]
        root = next((_join(path, r) for r in _ROOTS if self.store.has(_join(path, r))), None)
        if root is None:
            for layer in layers:
                self.layer(layer, _join(path, "layers/?"))
            return
        twice = root.endswith(_ROOTS[1])
        used: Counter[str] = Counter()
        folders: set[str] = set()
        for layer in layers:
            base = snake(PYTHON_NAMES.get(_bare(layer), _bare(layer)))
            n = used[base]
            folder = f"{base}_{n}" if n else base
            folders.add(folder)
            used[base] = n + 1 + (twice and self._has_weights(layer))
            self.layer(layer, f"{root}/{folder}")
        for extra in sorted(set(self.store.folders(root)) - folders):
            if self._holds_data(f"{root}/{extra}"):
                self.extra.append(f"{root}/{extra} holds variables, but the model has no such layer")

    def _has_weights(self, layer: LayerConfig) -> bool:
        stack = [layer]
        while stack:
            x = stack.pop()
            own = own_variables(x)
            if own is None:
                return True  # a custom layer: weights are assumed, the folder lookup tells
            if own:
                return True
            stack += [c for _, _, c in children(x)] + (x.model.layers if x.model else [])
        return False

    def _holds_data(self, path: str) -> bool:
        stack = [(path, 0)]
        budget = 1000
        while stack and budget:
            at, depth = stack.pop()
            budget -= 1
            if self.store.variables(at):
                return True
            if depth < 16:
                stack += [(_join(at, f), depth + 1) for f in self.store.folders(at)]
        return False

    def layer(self, layer: LayerConfig, path: str) -> None:
        if layer.model is not None:
            self.model(layer.model, path)
            return
        recorded = self.store.name_of(path)
        if recorded is not None and recorded != layer.name:
            self.problems.append(f"{_who(layer)}: {path} holds the variables of {recorded[:80]!r}")
            return
        own = own_variables(layer)
        if own is None:
            self._custom(layer, path)
        else:
            self._table(layer, own, path)
        for prefix, folder, child in children(layer):
            self.layer(child, f"{path}/{folder}")
            layer.weights |= {f"{prefix}/{k}": v for k, v in child.weights.items()}
        if layer.class_name == "SpectralNormalization" and not layer.custom:
            layer.weights.pop("kernel", None)  # the wrapped layer's, stored a second time

    def _table(self, layer: LayerConfig, own: list[Var], path: str) -> None:
        by_folder: dict[tuple[str, ...], list[Var]] = {}
        for v in own:
            by_folder.setdefault(v.folders, []).append(v)
        for folders, expected in by_folder.items():
            found = None
            for f in folders:
                found = self.store.variables(_join(path, f))
                if found is not None:
                    break
            if not found:
                self.missing.append((layer, path, f"{len(expected)} variables expected ({_names(expected)}), none at {path}"))
                return
            if len(found) != len(expected):
                self.problems.append(
                    f"{_who(layer)}: {len(expected)} variables expected ({_names(expected)}), {len(found)} found at {path}"
                )
                return
            layer.weights |= {v.name: tensor for v, (_, tensor) in zip(expected, found, strict=True)}
        layer.weights = without_cudnn(layer, layer.weights)
        for v in own:
            problem = check_shape(v, layer.weights[v.name])
            if problem:
                self.problems.append(f"{_who(layer)}: {problem}")
        if own:
            self.filled.setdefault((layer.class_name, layer.name), []).append(layer)
        elif self.store.has(path) and self.store.variables(path):
            self.problems.append(f"{_who(layer)}: no variables expected, some found at {path}")

    def _custom(self, layer: LayerConfig, path: str) -> None:
        """All variables below the layer's folder, own ones first: keys ``"0"``, ``"1"``, then ``"sub/0"``."""
        stack = [("", 0)]
        while stack and len(layer.weights) < _MAX_CUSTOM:
            sub, depth = stack.pop()
            at = _join(path, sub)
            for name, tensor in self.store.variables(at) or []:
                layer.weights[_join(sub, name)] = tensor
            if depth < 16:
                stack += [(_join(sub, f), depth + 1) for f in sorted(self.store.folders(at), reverse=True)]
        if layer.weights:
            self.filled.setdefault((layer.class_name, layer.name), []).append(layer)

    def shared(self) -> None:
        """A layer used in two models is stored once: take the variables of its twin of the same class and name."""
        for layer, _, why in self.missing:
            twins = [x for x in self.filled.get((layer.class_name, layer.name), []) if x.config.keys() == layer.config.keys()]
            if len(twins) == 1 and (twins[0].shared_object_id or layer.shared_object_id):
                layer.weights = dict(twins[0].weights)
                self.notes.append(f"layer {layer.name!r} is shared between two models; its weights are stored once")
            else:
                self.problems.append(f"{_who(layer)}: {why}")


def check_shape(var: Var, tensor: Tensor) -> str | None:
    """Why a tensor cannot be this variable, or None."""
    want = var.shape
    if want is None:
        return None
    if len(want) == tensor.ndim and all(w is None or w == n for w, n in zip(want, tensor.shape, strict=True)):
        return None
    shown = "x".join("?" if w is None else str(w) for w in want) or "scalar"
    return f"{var.name} should have shape {shown}, the file has {'x'.join(map(str, tensor.shape)) or 'scalar'}"


def _who(layer: LayerConfig) -> str:
    return f"layer {layer.name[:80]!r} ({layer.class_name[:60]})"


def _names(expected: list[Var]) -> str:
    return ", ".join(v.name for v in expected)


def _bare(layer: LayerConfig) -> str:
    return layer.source_class.rsplit(">", 1)[-1]


def _join(a: str, b: str) -> str:
    return f"{a}/{b}" if a and b else a or b

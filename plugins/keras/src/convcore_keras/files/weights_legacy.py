"""Weights of legacy HDF5 (Keras 1, 2, tf.keras, and Keras 3's ``.h5``): one group a layer, arrays in the order of
``weight_names``.

Layers are taken in ``model.layers`` order, those without weights left out, as Keras's topological loading does. Inside
the group of a nested model come all trainable variables, then all non-trainable ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convcore.plugin import BadFileError, Problem, Tensor, UnsupportedError

from .convert import flip_kernels, from_keras1, split_gates, without_cudnn
from .hdf5 import H5File
from .model import LayerConfig, ModelConfig
from .order import ordered_layers
from .variables import Var, children, own_variables
from .weights_v3 import check_shape

__all__ = ["assign", "fill_in_order", "ordered_slots"]

_Slot = tuple[LayerConfig, Var]


@dataclass
class _Group:
    name: str
    names: list[str]
    id: Any


def assign(
    model: ModelConfig,
    file: H5File,
    root: Any,
    prefix: str,
    *,
    keras1: bool,
    theano: bool,
    one_file: bool,
    notes: list[str],
) -> None:
    """Fill ``LayerConfig.weights`` from the group ``root`` at path ``prefix``. Raises BadFileError."""
    layer_names = file.attr_list(root, "layer_names")
    if layer_names is None:
        raise BadFileError(f"{file.label}: the weights have no attribute 'layer_names'")
    groups = _groups(file, root, layer_names)
    layers = [x for x in ordered_layers(model) if not x.is_op and _may_have_weights(x)]
    problems: list[str] = []
    for layer, group in _pair(layers, groups, model, file.label, one_file, notes):
        arrays = [file.tensor(file.child(group.id, n), "/".join(filter(None, (prefix, group.name, n)))) for n in group.names]
        try:
            problems += _fill(layer, arrays, group.names, keras1)
        except _DoesNotFit as e:
            problems.append(str(e))
    if problems:
        shown = "\n  ".join(problems[:20])
        raise BadFileError(f"{file.label}: the weights do not fit the model ({len(problems)} problems):\n  {shown}")
    for layer in layers:
        _finish(layer, theano)


def _groups(file: H5File, root: Any, layer_names: list[str]) -> list[_Group]:
    found = []
    for name in layer_names:
        group = file.group(root, name)
        if group is None:
            raise BadFileError(f"{file.label}: lists layer {name[:80]!r} but has no group for it: saving it did not finish")
        weights = file.attr_list(group, "weight_names")
        if weights is None:
            raise BadFileError(f"{file.label}: layer {name[:80]!r} has no attribute 'weight_names': saving it did not finish")
        if weights:
            found.append(_Group(name, weights, group))
    return found


def _may_have_weights(layer: LayerConfig) -> bool:
    stack = [layer]
    while stack:
        x = stack.pop()
        own = own_variables(x)
        if own is None or own:
            return True
        stack += [c for _, _, c in children(x)] + (x.model.layers if x.model else [])
    return False


def _is_unknown(layer: LayerConfig) -> bool:
    return own_variables(layer) is None or _wraps_unknown(layer) is not None


def _wraps_unknown(layer: LayerConfig) -> LayerConfig | None:
    """The custom layer that a layer without variables of its own wraps (RNN over a cell), if that is all it wraps."""
    inside = [c for _, _, c in children(layer)]
    if own_variables(layer) or len(inside) != 1:
        return None
    return inside[0] if own_variables(inside[0]) is None and inside[0].custom else None


def _pair(
    layers: list[LayerConfig], groups: list[_Group], model: ModelConfig, label: str, one_file: bool, notes: list[str]
) -> list[tuple[LayerConfig, _Group]]:
    by_name = {x.name: x for x in layers}
    names = [g.name for g in groups]
    if len(set(names)) == len(names) and all(n in by_name for n in names):
        absent = [x for x in layers if x.name not in set(names)]
        config_order = {x.name: i for i, x in enumerate(model.layers)}
        in_order = [x.name for x in layers if x.name in set(names)] == names
        in_config_order = sorted(names, key=lambda n: config_order[n]) == names
        if all(_is_unknown(x) for x in absent) and (in_order or in_config_order or one_file):
            if not in_order and not in_config_order:
                raise BadFileError(f"{label}: the order of layer_names contradicts the model; it was not written by Keras")
            return [(by_name[g.name], g) for g in groups]
    if len(layers) != len(groups):
        layers = [x for x in layers if not _is_unknown(x)]
    if len(layers) != len(groups):
        have = ", ".join(f"{g.name[:40]} ({len(g.names)})" for g in groups[:12])
        want = ", ".join(f"{x.name[:40]} ({x.class_name[:40]})" for x in layers[:12])
        raise BadFileError(
            f"{label}: the weights do not belong to this model: it has {len(layers)} layers with weights, "
            f"the file {len(groups)}.\n"
            f"  model: {want}\n  file: {have}"
        )
    if [x.name for x in layers] != names:
        notes.append("layer names of the weights differ from the model's; they were matched in order, as Keras does")
    return list(zip(layers, groups, strict=True))


class _DoesNotFit(Exception):
    """One layer's arrays are not what the layer must have."""


def _fill(layer: LayerConfig, arrays: list[Tensor], stored: list[str], keras1: bool) -> list[str]:
    if _is_unknown(layer):
        (_wraps_unknown(layer) or layer).weights = {str(i): t for i, t in enumerate(arrays)}
        return []
    trainable, fixed = _slots(layer, 0)
    slots = trainable + fixed
    if keras1:
        slots = _as_keras1(slots, len(arrays))
    if len(slots) != len(arrays):
        raise _DoesNotFit(
            f"layer {layer.name[:80]!r} ({layer.class_name[:60]}): {len(slots)} variables expected "
            f"({', '.join(v.name for _, v in slots[:12])}), {len(arrays)} found"
        )
    for (owner, var), name in zip(slots, stored, strict=True):
        if not keras1 and _contradicts(var.name, name):
            raise _DoesNotFit(f"layer {owner.name[:80]!r} ({owner.class_name[:60]}): {var.name} expected, found {name[:120]!r}")
    owners: dict[int, tuple[LayerConfig, list[Var], list[Tensor]]] = {}
    for (owner, var), tensor in zip(slots, arrays, strict=True):
        _, variables, tensors = owners.setdefault(id(owner), (owner, [], []))
        variables.append(var)
        tensors.append(tensor)
    problems = []
    for owner, variables, tensors in owners.values():
        names = [v.name for v in (_own(owner) or [])]
        if not keras1:
            found = dict(zip([v.name for v in variables], tensors, strict=True))
        else:
            found = from_keras1(owner, tensors, names)
        found = without_cudnn(owner, found)
        for v in _own(owner) or []:
            problem = check_shape(v, found[v.name])
            if problem:
                problems.append(f"layer {owner.name[:80]!r} ({owner.class_name[:60]}): {problem}")
        owner.weights = {n: found[n] for n in names}
    return problems


def ordered_slots(layer: LayerConfig) -> tuple[int, int]:
    """How many trainable and other variables a layer of Keras has."""
    trainable, fixed = _slots(layer, 0)
    return len(trainable), len(fixed)


def fill_in_order(layer: LayerConfig, arrays: list[Tensor]) -> list[str]:
    """Give a layer of Keras its arrays, trainable ones first; what does not fit."""
    try:
        problems = _fill(layer, arrays, [""] * len(arrays), keras1=False)
    except _DoesNotFit as e:
        return [str(e)]
    _finish(layer, theano=False)
    return problems


_TELLING = {
    "kernel", "bias", "recurrent_kernel", "pointwise_kernel", "gamma", "beta", "moving_mean", "moving_variance", "embeddings",
}  # fmt: skip
_PARTS = {"query", "key", "value", "gate", "attention_output", "output"}


def _contradicts(expected: str, stored: str) -> bool:
    """Whether the stored name (``dense/kernel:0``) plainly says another variable than the one its place says."""
    want, have = expected.split("/"), stored.split(":")[0].split("/")
    if {want[-1], have[-1]} <= _TELLING and want[-1] != have[-1]:
        return True
    if len(want) > 1 and len(have) > 1 and {want[-2], have[-2]} <= _PARTS:
        return want[-2] != have[-2].removeprefix("attention_")
    return False


def _own(layer: LayerConfig) -> list[Var] | None:
    """Variables as HDF5 lists them: each once, so not SpectralNormalization's second reference to the wrapped kernel."""
    own = own_variables(layer)
    if own is not None and layer.class_name == "SpectralNormalization":
        own = [v for v in own if v.name != "kernel"]
    return own


def _slots(layer: LayerConfig, depth: int) -> tuple[list[_Slot], list[_Slot]]:
    """Variables that Keras counts as trainable, and the others, in the order of ``layer.weights``."""
    if layer.model is not None:
        parts = [_slots(x, depth + 1) for x in ordered_layers(layer.model) if not x.is_op]
        trainable = [s for t, _ in parts for s in t]
        fixed = [s for _, f in parts for s in f]
        return (trainable, fixed) if layer.trainable else ([], trainable + fixed)
    own = _own(layer)
    if own is None:
        problem = Problem(
            layer.name, layer.class_name,
            "is a custom layer inside a nested model of an HDF5 file, which does not tell its weights apart",
            "save the model in the .keras format", "unsupported_layer",
        )  # fmt: skip
        raise UnsupportedError(problem, "cannot be read")
    parts = [_slots(x, depth + 1) for _, _, x in children(layer)]
    trainable = [(layer, v) for v in own if v.trainable]
    fixed = [(layer, v) for v in own if not v.trainable]
    if not layer.trainable:
        trainable, fixed = [], trainable + fixed
    return trainable + [s for t, _ in parts for s in t], fixed + [s for _, f in parts for s in f]


def _as_keras1(slots: list[_Slot], found: int) -> list[_Slot]:
    """Keras 1 stored recurrent gates apart (12 or 9 arrays) unless the layer was built with ``consume_less="gpu"``
    (3)."""
    split: list[_Slot] = []
    seen: set[int] = set()
    for owner, var in slots:
        n = split_gates(owner)
        if not n:
            split.append((owner, var))
        elif id(owner) not in seen:
            seen.add(id(owner))
            split += [(owner, Var(f"gate array {i}", None)) for i in range(n)]
    return split if len(split) == found else slots


def _finish(layer: LayerConfig, theano: bool) -> None:
    """Theano kernels, and the prefixed names of wrapped layers."""
    for inner in layer.model.layers if layer.model else []:
        _finish(inner, theano)
    for prefix, _, child in children(layer):
        _finish(child, theano)
        layer.weights |= {f"{prefix}/{k}": v for k, v in child.weights.items()}
    if theano:
        flip_kernels(layer)

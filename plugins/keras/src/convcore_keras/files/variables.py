"""The variables of every Keras layer: names, order, shapes where the configuration gives them, and where ``.keras``
keeps them.

A row is ``(name, shape, condition, folder, trainable)``. Order is creation order, trainable before non-trainable,
which is the order of ``vars/0..n`` in ``.keras`` and of ``weight_names`` in HDF5. Shapes: ints, config keys,
``"4*units"``, ``"*kernel_size"`` (one per axis), None for what only the input shape tells. Conditions: a config key
that must be true, ``"!key"`` for false or None. Names and folders from Keras 3.15.1 files and sources
(``_query_dense`` from 2.12-2.15).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from convcore.plugin import BadFileError

from .defaults import STATELESS
from .model import LayerConfig

__all__ = ["Var", "children", "own_variables", "snake"]

_Shape = tuple[Any, ...] | None
_Row = tuple[Any, ...]


@dataclass(frozen=True)
class Var:
    """A variable a layer must have. ``folders``: alternative sub-folders of the layer's folder that hold its
    ``vars``."""

    name: str
    shape: tuple[int | None, ...] | None
    trainable: bool = True
    folders: tuple[str, ...] = ("",)


_BIAS = ("bias", ("filters",), "use_bias")
_CONV = [("kernel", ("*kernel_size", None, "filters"), ""), _BIAS]
_CONV_T = [("kernel", ("*kernel_size", "filters", None), ""), _BIAS]
_DEPTHWISE = [("kernel", ("*kernel_size", None, "depth_multiplier"), ""), ("bias", (None,), "use_bias")]
_SEPARABLE = [
    ("depthwise_kernel", ("*kernel_size", None, "depth_multiplier"), ""),
    ("pointwise_kernel", None, ""),
    _BIAS,
]
_LOCAL = [("kernel", None, ""), ("bias", None, "use_bias")]
_GAMMA_BETA = [("gamma", None, "scale"), ("beta", None, "center")]


def _rnn(gates: int, units: str, conv: str = "", folder: str = "", gru: bool = False) -> list[_Row]:
    n = f"{gates}*{units}"
    k: tuple[Any, ...] = ("*kernel_size",) if conv else ()
    bias: list[_Row] = [("bias", (n,), "use_bias", (folder,))]
    if gru:
        bias = [("bias", (2, n), "use_bias&reset_after", (folder,)), ("bias", (n,), "use_bias&!reset_after", (folder,))]
    return [
        ("kernel", (*k, None, n), "", (folder,)),
        ("recurrent_kernel", (*k, units, n), "", (folder,)),
        *bias,
    ]


def _attention(old_names: bool) -> list[_Row]:
    rows: list[_Row] = []
    for part in ("query", "key", "gate", "value", "output"):  # creation order in Keras 3.15.1
        folders = (f"{part}_dense", f"_{part}_dense") if old_names and part != "gate" else (f"_{part}_dense",)
        gate = "use_gate" if part == "gate" else ""
        rows += [
            (f"{part}/kernel", None, gate, folders),
            (f"{part}/bias", None, f"{gate}&use_bias".strip("&"), folders),
        ]
    return rows


TABLE: dict[str, list[_Row]] = {
    "Dense": [("kernel", (None, "units"), ""), ("bias", ("units",), "use_bias")],
    "EinsumDense": [("kernel", None, ""), ("bias", None, "bias_axes")],
    "Embedding": [("embeddings", ("input_dim", "output_dim"), "")],
    "ReversibleEmbedding": [
        ("embeddings", ("input_dim", "output_dim"), ""),
        ("reverse_embeddings", ("output_dim", "input_dim"), "!tie_weights"),
    ],
    "Conv1D": _CONV,
    "Conv2D": _CONV,
    "Conv3D": _CONV,
    "Conv1DTranspose": _CONV_T,
    "Conv2DTranspose": _CONV_T,
    "Conv3DTranspose": _CONV_T,
    "DepthwiseConv1D": _DEPTHWISE,
    "DepthwiseConv2D": _DEPTHWISE,
    "SeparableConv1D": _SEPARABLE,
    "SeparableConv2D": _SEPARABLE,
    "LocallyConnected1D": _LOCAL,
    "LocallyConnected2D": _LOCAL,
    "SimpleRNN": _rnn(1, "units", folder="cell"),
    "LSTM": _rnn(4, "units", folder="cell"),
    "GRU": _rnn(3, "units", folder="cell", gru=True),
    "SimpleRNNCell": _rnn(1, "units"),
    "LSTMCell": _rnn(4, "units"),
    "GRUCell": _rnn(3, "units", gru=True),
    "ConvLSTM1D": _rnn(4, "filters", "conv", "cell"),
    "ConvLSTM2D": _rnn(4, "filters", "conv", "cell"),
    "ConvLSTM3D": _rnn(4, "filters", "conv", "cell"),
    "BatchNormalization": [
        ("gamma", (None,), "scale"),
        ("beta", (None,), "center"),
        ("moving_mean", (None,), "", ("",), False),
        ("moving_variance", (None,), "", ("",), False),
    ],
    "LayerNormalization": _GAMMA_BETA,
    "GroupNormalization": _GAMMA_BETA,
    "RMSNormalization": [("scale", None, "")],
    # its own folder repeats the wrapped layer's kernel; HDF5 does not (weights_legacy)
    "SpectralNormalization": [("kernel", None, ""), ("vector_u", None, "", ("",), False)],
    "Normalization": [
        ("mean", None, "!mean", ("",), False),
        ("variance", None, "!mean", ("",), False),
        ("count", (), "!mean", ("",), False),
    ],
    "PReLU": [("alpha", None, "")],
    "MultiHeadAttention": _attention(True),
    "GroupQueryAttention": _attention(False),
    "Attention": [("scale", (), "use_scale"), ("concat_score_weight", (), "score_mode=concat")],
    "AdditiveAttention": [("scale", (None,), "use_scale")],
    # the same variables, kept in the layer's own folder; convert.without_cudnn makes plain ones of cuDNN's layouts
    "CuDNNLSTM": _rnn(4, "units"),
    "CuDNNGRU": _rnn(3, "units", gru=True),
    # Keras 1 only
    "Highway": [
        ("kernel", None, ""),
        ("carry_kernel", None, ""),
        ("bias", None, "use_bias"),
        ("carry_bias", None, "use_bias"),
    ],
    "MaxoutDense": [("kernel", ("nb_feature", None, "units"), ""), ("bias", ("nb_feature", "units"), "use_bias")],
    "SReLU": [("t_left", None, ""), ("a_left", None, ""), ("t_right", None, ""), ("a_right", None, "")],
    "ParametricSoftplus": [("alpha", None, ""), ("beta", None, "")],
}
CUDNN = ("CuDNNLSTM", "CuDNNGRU")
_DEFAULTS = {"use_bias": True, "scale": True, "center": True, "tie_weights": True, "reset_after": True}
_NO_OWN = STATELESS | {"TimeDistributed", "Bidirectional", "RNN", "StackedRNNCells"}


def own_variables(layer: LayerConfig) -> list[Var] | None:
    """The variables the layer itself must have, in order; None when its class has no table (custom, or quantised)."""
    if layer.is_op or layer.model is not None:
        return []
    if layer.dtype.quantization is not None and layer.class_name in TABLE:
        return None
    if layer.class_name in _NO_OWN and not layer.custom:
        return []
    rows = None if layer.custom else TABLE.get(layer.source_class if layer.source_class in CUDNN else layer.class_name)
    if rows is None:
        return None
    found = []
    for name, shape, condition, *rest in rows:
        if _holds(condition, layer.config):
            folders = rest[0] if rest else ("",)
            trainable = rest[1] if len(rest) > 1 else True
            found.append(Var(name, _shape(shape, layer), trainable, folders))
    return found


def children(layer: LayerConfig) -> list[tuple[str, str, LayerConfig]]:
    """Wrapped layers as (prefix of variable names, folder, layer), in the order their variables come."""
    config, cls = layer.config, layer.class_name
    if layer.custom or layer.is_op:
        return []
    if cls == "Bidirectional":
        pairs = [("forward_layer", config.get("layer")), ("backward_layer", config.get("backward_layer"))]
        return [(p, p, x) for p, x in pairs if isinstance(x, LayerConfig)]
    key = {"TimeDistributed": "layer", "SpectralNormalization": "layer", "RNN": "cell"}.get(cls)
    if key is not None and isinstance(config.get(key), LayerConfig):
        return [(key, key, config[key])]
    if cls == "StackedRNNCells" and isinstance(config.get("cells"), list):
        used: dict[str, int] = {}
        found = []
        for i, cell in enumerate(config["cells"]):
            name = snake(cell.class_name)
            n = used[name] = used.get(name, -1) + 1
            found.append((f"cells/{i}", f"cells/{name}_{n}" if n else f"cells/{name}", cell))
        return found
    return []


@lru_cache(1024)
def snake(name: str) -> str:
    """Keras's ``to_snake_case``: the folder name of a class in ``.keras`` weights."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _holds(condition: str, config: dict[str, Any]) -> bool:
    for part in filter(None, condition.split("&")):
        if "=" in part:
            key, want = part.split("=")
            ok = config.get(key) == want
        elif part[0] == "!":
            ok = not _truth(config, part[1:])
        else:
            ok = _truth(config, part)
        if not ok:
            return False
    return True


def _truth(config: dict[str, Any], key: str) -> bool:
    value = config.get(key, _DEFAULTS.get(key))
    return value is not None and value is not False and value != "" and not (isinstance(value, int) and value == 0)


def _shape(shape: _Shape, layer: LayerConfig) -> tuple[int | None, ...] | None:
    if shape is None:
        return None
    config = layer.config
    out: list[int | None] = []
    for part in shape:
        if isinstance(part, str) and part[0] == "*":
            sizes = config.get(part[1:])
            if not isinstance(sizes, tuple):
                return None
            out += sizes
        elif isinstance(part, str):
            factor, _, key = part.rpartition("*")
            value = config.get(key)
            if isinstance(value, float) and value.is_integer():  # Keras casts
                value = int(value)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise BadFileError(f"layer {layer.name!r} ({layer.class_name}): {key}={value!r} is not a number of units")
            out.append(None if value is None else int(factor or 1) * value)
        else:
            out.append(part)
    return tuple(out)

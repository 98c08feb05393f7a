"""Stored arrays of old layouts as the variables Keras 3 has: lazily, one small function per layout.

Sources: ``preprocess_weights_for_loading`` of keras 2.3.1 and the ``build`` methods of keras 1.2.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcore.plugin import BadFileError, LazyTensor, Tensor

from ..layer_spec import spec_of
from .model import LayerConfig

__all__ = ["flip_kernels", "from_cudnn", "from_keras1", "split_gates", "without_cudnn"]

Array = NDArray[Any]


def without_cudnn(layer: LayerConfig, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """``weights``, converted when they are a cuDNN layer's: told by the bias of 8 (LSTM) or 6 (GRU) times ``units``.

    As Keras does on loading, whether the architecture says CuDNNLSTM or LSTM.
    """
    units, bias = layer.config.get("units"), weights.get("bias")
    gates = {"LSTM": 4, "GRU": 3}.get(layer.class_name)
    if layer.custom or gates is None or not isinstance(units, int) or bias is None or bias.shape != (2 * gates * units,):
        return weights
    kernels = [weights[k] for k in ("kernel", "recurrent_kernel")]
    if any(k.ndim != 2 or k.shape[1] != gates * units for k in kernels):
        return weights
    return from_cudnn(layer.class_name, weights)


def from_cudnn(cls: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """CuDNNLSTM/CuDNNGRU variables as those of LSTM and GRU(reset_after=True).

    Per gate, kernels are transposed in column-major order and recurrent kernels transposed; an LSTM has one bias, the
    sum.
    """
    gates = 4 if cls == "LSTM" else 3

    def kernel(a: Array) -> Array:
        return np.concatenate([k.T.reshape(k.shape, order="F") for k in np.split(a, gates, axis=1)], axis=1)

    def recurrent(a: Array) -> Array:
        return np.concatenate([k.T for k in np.split(a, gates, axis=1)], axis=1)

    half = weights["bias"].shape[0] // 2
    if cls == "LSTM":
        bias = weights["bias"].map(lambda b: b[:half] + b[half:], (half,))
    else:
        bias = weights["bias"].reshape((2, half))
    return {
        "kernel": weights["kernel"].map(kernel),
        "recurrent_kernel": weights["recurrent_kernel"].map(recurrent),
        "bias": bias,
    }


def flip_kernels(layer: LayerConfig) -> None:
    """Reverse the spatial axes of kernels that Theano convolved with, in place."""
    spec = spec_of(layer.class_name)
    if spec.flipped and not layer.custom:
        for name in ("kernel", "recurrent_kernel"):
            if name in layer.weights:
                layer.weights[name] = layer.weights[name].map(lambda a: np.flip(a, tuple(range(spec.spatial))))


# ---- Keras 1
def split_gates(layer: LayerConfig) -> int:
    """How many arrays Keras 1 stored for this layer when each gate had its own (0: not a gated layer)."""
    return 0 if layer.custom else 3 * len(spec_of(layer.class_name).gates)


def from_keras1(layer: LayerConfig, arrays: Sequence[Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """The variables of a layer from what Keras 1 stored for it."""
    cls = layer.class_name
    arrays = list(arrays)
    first = layer.config.get("data_format") == "channels_first"
    convert = _KERNELS.get(spec_of(cls).keras1_kernel)
    if len(arrays) == split_gates(layer) > 0:
        turn = _channels_first if cls == "ConvLSTM2D" and first else _same
        order = spec_of(cls).gates
        arrays = [_concat([turn(arrays[3 * g + part]) if part < 2 else arrays[3 * g + part] for g in order]) for part in range(3)]
    elif convert is not None and arrays:
        arrays[0] = convert(layer, arrays[0], first)
        if cls == "SeparableConv2D" and first and len(arrays) > 1:
            arrays[1] = _channels_first(arrays[1])
    return dict(zip(names, arrays, strict=True))


def _same(t: Tensor) -> Tensor:
    return t


def _channels_first(t: Tensor) -> Tensor:
    """(out, in, spatial...) -> (spatial..., in, out)."""
    return t.transpose([*range(2, t.ndim), 1, 0]) if t.ndim > 2 else t


def _conv1d(layer: LayerConfig, t: Tensor, first: bool) -> Tensor:
    size, filters = layer.config.get("kernel_size"), layer.config.get("filters")
    size = size[0] if isinstance(size, (list, tuple)) and size else size
    if t.ndim == 3:
        return t
    if t.ndim != 4:
        raise BadFileError(f"layer {layer.name[:80]!r}: a Keras 1 Conv1D kernel has 4 axes, the file has {list(t.shape)}")
    if any(isinstance(n, bool) or not isinstance(n, int) for n in (size, filters)):
        given = f"kernel_size={str(size)[:60]} and filters={str(filters)[:60]}"
        raise BadFileError(f"layer {layer.name[:80]!r}: a Keras 1 Conv1D of {given}")
    if t.shape[:2] != (size, 1) or t.shape[3] != filters:  # Keras 1.1: (out, in, length, 1)
        t = t.transpose((2, 3, 1, 0))
    return t.reshape((t.shape[0], *t.shape[2:])) if t.shape[1] == 1 else t


def _conv(layer: LayerConfig, t: Tensor, first: bool) -> Tensor:
    return _channels_first(t) if first else t


def _transposed(layer: LayerConfig, t: Tensor, first: bool) -> Tensor:
    """Keras 1 Deconvolution: th (in?, out?, h, w) -> (h, w, out, in) and tf (h, w, in, out) -> (h, w, out, in), as
    keras 2.3.1 does."""
    if t.ndim != 4:
        return t
    return t.transpose((2, 3, 0, 1) if first else (0, 1, 3, 2))


_KERNELS: dict[str, Callable[[LayerConfig, Tensor, bool], Tensor]] = {
    "conv1d": _conv1d,
    "conv": _conv,
    "transposed": _transposed,
}


def _concat(parts: list[Tensor]) -> Tensor:
    shapes = {p.shape[:-1] for p in parts}
    if len(shapes) != 1 or any(p.ndim == 0 for p in parts):
        raise BadFileError(f"gates of one recurrent layer have different shapes: {[list(p.shape) for p in parts]}")
    shape = (*parts[0].shape[:-1], sum(p.shape[-1] for p in parts))
    return LazyTensor(lambda: np.concatenate([p.numpy() for p in parts], axis=-1), parts[0].dtype, shape)

"""What differs in a model computed with Theano: flipped kernels, and padding ``same`` that starts elsewhere.

Keras on Theano convolved (kernel flipped) where TensorFlow correlates, for Conv1D/2D/3D, transposed convolutions and
ConvLSTM (``_need_convert_kernel`` of keras 2.3.1); depthwise kernels are flipped back by Keras itself. ``same`` is
Theano's ``half``: ``k // 2`` before each axis (dilated k). Pooling pads ``k - 2`` for odd k > 2 and ``k - 1`` otherwise
(``theano_backend.pool2d``).
"""

from __future__ import annotations

from .model import LayerConfig

__all__ = ["mark_theano_padding"]


def mark_theano_padding(layer: LayerConfig) -> None:
    """Add ``same_pads_front`` to the configuration where Theano's ``same`` is not TensorFlow's."""
    config, cls = layer.config, layer.class_name
    if config.get("padding") != "same":
        return
    strides = config.get("strides")
    if "Pooling" in cls and config.get("pool_size") is not None:
        sizes = config["pool_size"]
        front = tuple(k - 2 if k > 2 and k % 2 else k - 1 for k in sizes)
    elif config.get("kernel_size") is not None:
        dilation = config.get("dilation_rate") or (1,) * len(config["kernel_size"])
        sizes = tuple((k - 1) * d + 1 for k, d in zip(config["kernel_size"], dilation, strict=True))
        front = tuple(k // 2 for k in sizes)
    else:
        return
    same = all(s == 1 and f == (k - 1) // 2 for k, f, s in zip(sizes, front, strides or (1,) * len(sizes), strict=True))
    if not same:
        config["same_pads_front"] = front

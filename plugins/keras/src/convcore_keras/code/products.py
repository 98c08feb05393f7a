"""Products of tensors by TensorFlow's and Keras 2's functions (TensorFlow 2.15, ``keras/backend.py`` 2.15)."""

from __future__ import annotations

from typing import Any

from .meanings import argument_values, tensor_argument
from .tensors import GraphOps, meaning
from .values import CodeRefused

__all__: list[str] = []


@meaning("tensorflow.matmul")
def matmul(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The matrix product of the last two axes."""
    b = argument_values("a, b, transpose_a=False, transpose_b=False, adjoint_a=False, adjoint_b=False", args, kwargs)
    if b["adjoint_a"] or b["adjoint_b"]:
        raise CodeRefused("multiplies adjoint matrices")
    both = {k: t.operation("Stack", b[k]) if isinstance(b[k], (list, tuple)) else b[k] for k in ("a", "b")}
    x, y = (_swapped(t, both[k]) if b[f"transpose_{k}"] else both[k] for k in ("a", "b"))
    return t.operation("Matmul", x, y)


def _swapped(t: GraphOps, x: Any) -> Any:
    return t.operation("Swapaxes", tensor_argument(x), axis1=-1, axis2=-2)


@meaning("keras.backend.dot")
def dot(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The last axis of x with the last but one of y (``keras.backend.dot``, 2.15)."""
    b = argument_values("x, y", args, kwargs)
    x, y = tensor_argument(b["x"]), tensor_argument(b["y"])
    return t.operation("Tensordot", x, y, axes=[[len(t.shape(x)) - 1], [max(len(t.shape(y)) - 2, 0)]])


@meaning("keras.backend.batch_dot")
def batch_dot(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Axes of x and y contracted, the first of both kept in step (``keras.backend.batch_dot``, 2.15)."""
    b = argument_values("x, y, axes=None", args, kwargs)
    x, y, axes = tensor_argument(b["x"]), tensor_argument(b["y"]), b["axes"]
    m, n = len(t.shape(x)), len(t.shape(y))
    if m < 2 or n < 2 or m > 10 or n > 10:
        raise CodeRefused("multiplies tensors of fewer than 2 axes, or of more than 10")
    if axes is None:
        if t.g.era == "keras1":
            raise CodeRefused("multiplies without axes, which Keras 1 read in another way")
        axes = (m - 1, 1 if n == 2 else n - 2)
    pair = (axes, axes) if isinstance(axes, int) else tuple(axes)
    i, j = pair[0] % m, pair[1] % n
    if not t.modern and (m, n) not in ((2, 2), (3, 3)):
        raise CodeRefused("multiplies tensors of other than 2 or 3 axes each, which changed with Keras 2.3")
    if not i or not j:
        raise CodeRefused("contracts the batch axis")
    left = ["z", *(chr(ord("a") + k) for k in range(1, m))]
    right = ["z", *(chr(ord("m") + k) for k in range(1, n))]
    right[j] = left[i]
    out = ["z", *(c for k, c in enumerate(left) if k not in (0, i)), *(c for k, c in enumerate(right) if k not in (0, j))]
    y_ = t.operation("Einsum", f"{''.join(left)},{''.join(right)}->{''.join(out)}", x, y)
    return t.operation("ExpandDims", y_, axis=-1) if len(out) == 1 else y_


@meaning("tensorflow.einsum", "keras.ops.einsum")
def einsum(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Einstein's sum."""
    return t.operation("Einsum", *args)


@meaning("tensorflow.tensordot")
def tensordot(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Axes contracted."""
    b = argument_values("a, b, axes", args, kwargs)
    return t.operation("Tensordot", b["a"], b["b"], axes=b["axes"])


@meaning("tensorflow.bias_add", "keras.backend.bias_add")
def bias_add(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A vector added along the channels, which are last."""
    b = argument_values("x, bias, data_format=None", args, {("x" if k == "value" else k): v for k, v in kwargs.items()})
    if b["data_format"] not in (None, "channels_last", "NHWC"):
        raise CodeRefused("adds a bias with channels first")
    return t.operation("Add", b["x"], b["bias"])

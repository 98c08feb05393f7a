"""Functions of ``keras.backend`` and TensorFlow that are more than an operation of ``keras.ops`` under another name.

Meanings are those of TensorFlow 2.15 and of ``keras/backend.py`` (2.15), which Keras 1.2 to 2.3 agree with for these.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import Call, Dim, DType, NotExpressible, Value, product

from .tensors import GraphOps, SizeVector, meaning
from .values import CodeRefused

__all__ = ["argument_values", "floating_tensor", "tensor_argument"]


def argument_values(signature: str, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name; what is bound already stays."""
    try:
        return Call("f", signature).bind(args, {k: v for k, v in kwargs.items() if k != "name"})
    except NotExpressible as e:
        raise CodeRefused(f"calls a function that {e}") from e


def tensor_argument(x: object) -> Value:
    if not isinstance(x, Value):
        raise CodeRefused("gives a function something else than a tensor")
    return x


def floating_tensor(x: Any) -> Value:
    found = tensor_argument(x)
    if found.dtype is None or not found.dtype.is_float:
        raise CodeRefused("gives a function of floating numbers a tensor of integers")
    return found


def axes_of(axis: Any, rank: int) -> tuple[int, ...]:
    axes = tuple(range(rank)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    if any(isinstance(a, bool) or not isinstance(a, int) or not -rank <= a < rank for a in axes):
        raise CodeRefused(f"names an axis that a tensor of {rank} axes does not have")
    return tuple(sorted(a % rank for a in axes))


# ---- shapes
@meaning("keras.backend.shape", "tensorflow.shape")
def shape_tensor(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The sizes as a tensor of integers."""
    return SizeVector(shape(t, args, kwargs))


@meaning("keras.backend.int_shape", "keras.ops.shape", "keras.backend.get_variable_shape")
def shape(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The sizes, also those that are known only when it runs."""
    b = argument_values("x, out_type?", args, {("x" if k == "input" else k): v for k, v in kwargs.items()})
    return t.shape(tensor_argument(b["x"]))


@meaning("keras.backend.ndim", "tensorflow.rank", "keras.ops.ndim", "builtins.len_axes")
def ndim(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The number of axes."""
    b = argument_values("x", args, {("x" if k == "input" else k): v for k, v in kwargs.items()})
    return len(t.shape(tensor_argument(b["x"])))


@meaning("builtins.len")
def length(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The first size of a tensor."""
    sizes = t.shape(tensor_argument(args[0]))
    if not sizes:
        raise CodeRefused("takes the length of a tensor without axes")
    return sizes[0]


@meaning("builtins.abs")
def absolute(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The absolute value."""
    return t.operation("Absolute", *args)


@meaning("builtins.float", "builtins.int", "builtins.bool", "builtins.round", "builtins.min", "builtins.max")
def python_number(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Python's own numbers need the value of a tensor."""
    raise CodeRefused("makes a Python number of a tensor")


@meaning("keras.backend.batch_flatten")
def batch_flatten(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """All axes but the first in one line."""
    x = tensor_argument(argument_values("x", args, kwargs)["x"])
    sizes = t.shape(x)
    if not sizes:
        raise CodeRefused("flattens a tensor without axes")
    return t.g.b.reshape(x, shape=(sizes[0], product(sizes[1:])))


@meaning("keras.backend.repeat")
def repeat(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A matrix as ``n`` equal steps of a sequence."""
    b = argument_values("x, n", args, kwargs)
    x = tensor_argument(b["x"])
    if len(t.shape(x)) != 2:
        raise CodeRefused("repeats something else than a matrix")
    return t.operation("Tile", t.operation("ExpandDims", x, axis=1), repeats=[1, b["n"], 1])


# ---- constants
@meaning("tensorflow.constant", "keras.backend.constant", "numpy.array", "numpy.asarray", "keras.ops.array",
         "tensorflow.Variable", "keras.backend.variable", "keras.ops.convert_to_tensor",
         "tensorflow.convert_to_tensor")  # fmt: skip
def constant(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Numbers as a tensor: int32 and float32, unless a dtype is given."""
    given = dict(kwargs)
    given.pop("dtype_hint", None)
    b = argument_values(
        "value, dtype=None, shape=None",
        args,
        {("value" if k in ("x", "object", "initial_value") else k): v for k, v in given.items()},
    )
    value, dtype = b["value"], b["dtype"]
    if isinstance(value, Value):
        return value if dtype is None else t.operation("Cast", value, dtype=str(dtype))
    try:
        a = np.asarray(value)
    except ValueError as e:
        raise CodeRefused("makes a tensor of rows of different length") from e
    if a.dtype.kind not in "bif" or a.size > 4096:
        raise CodeRefused("makes a tensor of something else than a few numbers")
    try:
        if b["shape"] is not None:
            a = np.broadcast_to(a, tuple(b["shape"])) if a.size == 1 else a.reshape(tuple(b["shape"]))
        kind = DType(str(dtype)) if dtype is not None else {"b": DType.BOOL, "i": DType.INT32, "f": DType.FLOAT32}[a.dtype.kind]
    except (TypeError, ValueError) as e:
        raise CodeRefused(f"makes a tensor of a shape or element type that does not fit: {e}") from e
    return t.g.b.const(a.astype(kind.numpy), kind)


@meaning("keras.backend.floatx", "keras.config.floatx")
def floatx(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The element type of models."""
    return "float32"


@meaning("keras.backend.epsilon", "keras.config.epsilon")
def epsilon(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """``1e-7`` (1e-8 before Keras 2.1.3 and in Keras 1)."""
    if t.g.era == "keras1" or (t.g.era == "keras2" and t.g.version and t.g.version < (2, 1)):
        return 1e-8
    if t.g.era == "keras2" and t.g.version[:2] == (2, 1):
        raise CodeRefused("uses K.epsilon(), which changed from 1e-8 to 1e-7 within Keras 2.1")
    return 1e-7


@meaning("keras.backend.image_data_format")
def image_data_format(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A setting of the machine that ran it, which the file does not hold."""
    raise CodeRefused("asks for the machine's image_data_format")


# ---- functions of numbers
@meaning("keras.backend.relu")
def relu(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """``max(x, 0)``, leaky below the threshold by ``alpha``, clipped at ``max_value``."""
    b = argument_values("x, alpha=0.0, max_value=None, threshold=0.0", args, kwargs)
    x, o = floating_tensor(b["x"]), t.g.b
    alpha, top, threshold = b["alpha"], b["max_value"], b["threshold"]
    if threshold:
        above = o.greater_equal(x, o.like(x, float(threshold)))
        y = o.where(above, x, o.mul(o.sub(x, o.like(x, float(threshold))), o.like(x, float(alpha))))
    else:
        y = o.leaky_relu(x, alpha=float(alpha)) if alpha else o.relu(x)
    return y if top is None else o.minimum(y, o.like(y, float(top)))


@meaning("keras.backend.sqrt")
def sqrt(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The square root, 0 of negative numbers (``keras.backend.sqrt``, 2.15, and before)."""
    x = floating_tensor(argument_values("x", args, kwargs)["x"])
    return t.g.b.sqrt(t.g.b.maximum(x, t.g.b.like(x, 0.0)))


@meaning("keras.backend.any", "keras.backend.all")
def any_or_all(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Before tf.keras these gave integers."""
    raise CodeRefused("asks K.any or K.all, whose element type changed between versions")


@meaning("tensorflow.where")
def where(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """One of two by a condition; TensorFlow 1 took a vector of conditions by rows, TensorFlow 2 broadcasts."""
    b = argument_values("condition, x, y", args, kwargs)
    shapes = {t.shape(v) for v in b.values() if isinstance(v, Value)}
    if not t.modern and len(shapes) > 1:
        raise CodeRefused("chooses between tensors of different shapes, which TensorFlow 1 did otherwise; the file tells neither")
    return t.operation("Where", b["condition"], b["x"], b["y"])


@meaning("keras.backend.hard_sigmoid")
def hard_sigmoid(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """``clip(0.2 x + 0.5, 0, 1)``."""
    return t.g.b.hard_sigmoid(floating_tensor(argument_values("x", args, kwargs)["x"]), alpha=0.2, beta=0.5)


@meaning("keras.backend.l2_normalize", "tensorflow.l2_normalize")
def l2_normalize(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """``x / sqrt(max(sum(x ** 2), 1e-12))`` along axes (``tf.math.l2_normalize``, 2.15)."""
    b = argument_values("x, axis=None, epsilon=1e-12, dim=None", args, kwargs)
    x, o = floating_tensor(b["x"]), t.g.b
    axis = b["axis"] if b["dim"] is None else b["dim"]
    total = o.sum(o.square(x), axes=axes_of(axis, len(t.shape(x))), keepdims=True)
    return o.mul(x, o.rsqrt(o.maximum(total, o.like(total, float(b["epsilon"])))))


@meaning("SquaredDifference")
def squared_difference(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """``(x - y) ** 2``."""
    return t.operation("Square", t.operation("Subtract", kwargs["x1"], kwargs["x2"]))


@meaning("tensorflow.norm")
def norm(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The euclidean norm."""
    b = argument_values("tensor, ord='euclidean', axis=None, keepdims=False", args, kwargs)
    x = floating_tensor(b["tensor"])
    if b["ord"] not in ("euclidean", 2):
        raise CodeRefused("takes another norm than the euclidean one")
    if b["ord"] == 2 and isinstance(b["axis"], (list, tuple)):
        raise CodeRefused("takes the 2-norm of matrices, which needs their singular values")
    return t.g.b.sqrt(t.g.b.sum(t.g.b.square(x), axes=axes_of(b["axis"], len(t.shape(x))), keepdims=bool(b["keepdims"])))


# ---- order, parts, items
@meaning("Gather")
def backend_gather(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Rows by their index."""
    return t.operation("Take", kwargs["x"], kwargs["indices"], axis=0)


@meaning("tensorflow.gather")
def gather(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Slices along an axis by their index."""
    b = argument_values("params, indices, validate_indices=None, axis=None, batch_dims=0", args, kwargs)
    if b["batch_dims"]:
        raise CodeRefused("gathers with batch_dims")
    return t.operation("Take", b["params"], b["indices"], axis=0 if b["axis"] is None else b["axis"])


@meaning("tensorflow.split")
def split(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Equal parts, or parts of given sizes."""
    b = argument_values("value, num_or_size_splits, axis=0, num=None", args, kwargs)
    parts = b["num_or_size_splits"]
    if isinstance(b["axis"], bool) or not isinstance(b["axis"], int):
        raise CodeRefused("splits along an axis that is no number")  # tf.split(axis, n, x) of TensorFlow before 1.0
    if isinstance(parts, int) and not isinstance(parts, bool):
        return t.operation("Split", b["value"], parts, axis=b["axis"])
    if not isinstance(parts, (list, tuple)) or not all(isinstance(n, int) and n >= 0 for n in parts):
        raise CodeRefused("splits a tensor at sizes that are not known")
    x = tensor_argument(b["value"])
    n = t.shape(x)[axes_of(b["axis"], len(t.shape(x)))[0]]
    if n != sum(parts):
        raise CodeRefused(f"splits an axis of {n} into parts of {tuple(parts)}")
    ends = np.cumsum(parts)[:-1].tolist()
    return t.operation("Split", x, ends, axis=b["axis"])


@meaning("tensorflow.slice", "keras.backend.slice")
def slice_(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A block from ``begin`` on; -1 is all that is left."""
    b = argument_values("input_, begin, size", args, {{"x": "input_", "start": "begin"}.get(k, k): v for k, v in kwargs.items()})
    if not all(isinstance(b[k], (list, tuple)) for k in ("begin", "size")):
        raise CodeRefused("takes a block whose bounds are no sequences")
    if any(isinstance(n, (Dim, Value)) for n in (*b["begin"], *b["size"])):
        raise CodeRefused("takes a block whose bounds are not known")
    key = tuple(slice(s, None if n == -1 else s + n) for s, n in zip(b["begin"], b["size"], strict=True))
    return t.item(b["input_"], key)


@meaning("tensorflow.one_hot", "keras.backend.one_hot")
def one_hot(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Rows of one 1 and zeros, float32."""
    b = argument_values(
        "indices, depth, on_value=None, off_value=None, axis=None, dtype=None",
        args,
        {("depth" if k == "num_classes" else k): v for k, v in kwargs.items()},
    )
    if any(b[k] is not None for k in ("on_value", "off_value")):
        raise CodeRefused("encodes by other values than 1 and 0")
    x = tensor_argument(b["indices"])
    if x.dtype is None or not x.dtype.is_int:
        raise CodeRefused("encodes numbers that are not integers")
    axis = -1 if b["axis"] is None else b["axis"]
    return t.operation("OneHot", x, num_classes=b["depth"], axis=axis, dtype=str(b["dtype"] or "float32"))


@meaning("tensorflow.pad")
def pad(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Grown by (before, after) per axis."""
    b = argument_values("tensor, paddings, mode='CONSTANT', constant_values=0", args, kwargs)
    mode = str(b["mode"]).lower()
    value = {"constant_values": b["constant_values"]} if mode == "constant" else {}
    return t.operation("Pad", b["tensor"], pad_width=b["paddings"], mode=mode, **value)


@meaning("keras.backend.spatial_2d_padding")
def spatial_padding(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Zeros around images, channels last."""
    b = argument_values("x, padding=((1, 1), (1, 1)), data_format='channels_last'", args, kwargs)
    if b["data_format"] != "channels_last":
        raise CodeRefused("pads images with channels first")
    return t.operation("Pad", b["x"], pad_width=((0, 0), *map(tuple, b["padding"]), (0, 0)))


# ---- chance
@meaning(
    "keras.backend.random_normal", "keras.backend.random_uniform", "keras.backend.random_bernoulli", "tensorflow.random.normal",
    "tensorflow.random.uniform", "tensorflow.random_normal", "tensorflow.random_uniform", "keras.random.normal",
    "keras.random.uniform", "keras.backend.random_binomial", "keras.backend.truncated_normal",
    "tensorflow.random.truncated_normal",
)  # fmt: skip
def random(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Numbers drawn anew at each run are no function of the input."""
    raise CodeRefused("draws random numbers, so that its result is another one at each run")


@meaning("keras.backend.dropout", "tensorflow.dropout")
def dropout(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """``K.dropout`` drops at inference too."""
    raise CodeRefused("drops values at random, at inference too")


@meaning("keras.backend.in_train_phase", "keras.backend.in_test_phase")
def train_phase(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """What is computed in training, or otherwise: the latter."""
    raise CodeRefused("computes otherwise in training")

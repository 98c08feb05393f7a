"""Functions that make tensors of sizes and numbers: ranges, constants, grids, copies.

Element types are those of TensorFlow 2.15 (``tf.range`` and ``tf.zeros``), ``keras/backend.py`` 2.15 and Keras 3.15.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import Dim, DType, Value, product

from .meanings import argument_values, floating_tensor, tensor_argument
from .tensors import GraphOps, meaning
from .values import CodeRefused

__all__: list[str] = []

MAX_MADE = 1 << 22


def _sizes(shape: Any) -> tuple[Any, ...]:
    """A shape of numbers and sizes."""
    found = tuple(shape) if isinstance(shape, (list, tuple)) else (shape,)
    if not all(isinstance(n, (int, Dim)) and not isinstance(n, bool) for n in found):
        raise CodeRefused("makes a tensor of a shape that is not known")
    return found


def _scalar(t: GraphOps, x: Any, kind: DType) -> Value:
    if isinstance(x, Dim):
        return t.g.b.cast(t.g.b.dim_value(value=x), to=kind)
    if isinstance(x, Value):
        return x if x.dtype is kind else t.g.b.cast(x, to=kind)
    if not isinstance(x, (int, float)):
        raise CodeRefused("makes a range of something else than numbers")
    return t.g.b.const(x, kind)


@meaning("keras.ops.arange", "tensorflow.range", "keras.backend.arange", "numpy.arange")
def arange(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """``start, start + step, ...`` before ``stop``; int32 of whole numbers (``K.arange`` always), float32 of others."""
    given = {{"limit": "stop", "delta": "step"}.get(k, k): v for k, v in kwargs.items()}
    b = argument_values("start, stop=None, step=1, dtype=None", args, given)
    start, stop = (0, b["start"]) if b["stop"] is None else (b["start"], b["stop"])
    step = 1 if b["step"] is None else b["step"]
    parts = (start, stop, step)
    if any(isinstance(p, Value) for p in parts):
        raise CodeRefused("makes a range whose bounds are computed")
    own = DType.FLOAT32 if any(isinstance(p, float) for p in parts) else DType.INT32
    kind = own if b["dtype"] is None else DType(str(b["dtype"]))
    if all(isinstance(p, (int, float)) for p in parts):
        if not step or abs((stop - start) / step) > MAX_MADE:
            raise CodeRefused("makes a range that is too long")
        return t.g.b.const(np.arange(start, stop, step).astype(kind.numpy), kind)
    return t.g.b.range(*(_scalar(t, p, kind) for p in parts))


def _filled(t: GraphOps, shape: Any, value: Any, dtype: Any) -> Value:
    sizes = _sizes(shape)
    if all(isinstance(n, int) for n in sizes) and product(sizes) > MAX_MADE:
        raise CodeRefused("makes a tensor that is too large")
    if isinstance(value, Value):
        if t.shape(value):
            raise CodeRefused("fills a tensor with something else than one number")
        return t.g.b.expand(value if dtype is None else t.operation("Cast", value, dtype=str(dtype)), shape=sizes)
    if not isinstance(value, (bool, int, float)):
        raise CodeRefused("fills a tensor with something else than a number")
    kind = DType(str(dtype)) if dtype is not None else DType.BOOL if isinstance(value, bool) else (
        DType.INT32 if isinstance(value, int) else DType.FLOAT32
    )  # fmt: skip
    return t.g.b.fill(shape=sizes, value=value, dtype=kind)


@meaning("keras.ops.zeros", "tensorflow.zeros", "keras.backend.zeros")
def zeros(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Zeros, float32 unless a type is given."""
    b = argument_values("shape, dtype=None", args, kwargs)
    return _filled(t, b["shape"], 0, b["dtype"] or "float32")


@meaning("keras.ops.ones", "tensorflow.ones", "keras.backend.ones")
def ones(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Ones, float32 unless a type is given."""
    b = argument_values("shape, dtype=None", args, kwargs)
    return _filled(t, b["shape"], 1, b["dtype"] or "float32")


@meaning("keras.ops.full", "tensorflow.fill")
def full(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """One number everywhere."""
    given = {{"dims": "shape", "value": "fill_value"}.get(k, k): v for k, v in kwargs.items()}
    b = argument_values("shape, fill_value, dtype=None", args, given)
    return _filled(t, b["shape"], b["fill_value"], b["dtype"])


@meaning("keras.ops.eye", "tensorflow.eye", "keras.backend.eye", "keras.ops.identity")
def eye(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """1 on a diagonal, float32 unless a type is given."""
    names = {"num_rows": "N", "num_columns": "M", "size": "N", "n": "N"}
    b = argument_values("N, M=None, k=0, dtype=None", args, {names.get(k, k): v for k, v in kwargs.items()})
    n, m = b["N"], b["N"] if b["M"] is None else b["M"]
    if not all(isinstance(v, int) for v in (n, m, b["k"])) or n * m > MAX_MADE:
        raise CodeRefused("makes a diagonal of a size that is not known")
    kind = DType(str(b["dtype"] or "float32"))
    return t.g.b.const(np.eye(n, m, b["k"]).astype(kind.numpy), kind)


@meaning("keras.ops.linspace", "tensorflow.linspace")
def linspace(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Numbers at equal distances, float32 unless a type is given."""
    b = argument_values("start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0", args, kwargs)
    if not all(isinstance(b[k], (int, float)) for k in ("start", "stop")) or not isinstance(b["num"], int) or b["retstep"]:
        raise CodeRefused("makes a row of numbers whose bounds are not known")
    if not 0 <= b["num"] <= MAX_MADE:
        raise CodeRefused("makes a row of numbers that is too long")
    kind = DType(str(b["dtype"] or "float32"))
    return t.g.b.const(np.linspace(b["start"], b["stop"], b["num"], bool(b["endpoint"])).astype(kind.numpy), kind)


@meaning("keras.ops.meshgrid", "tensorflow.meshgrid")
def meshgrid(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Vectors expanded over each other."""
    b = argument_values("indexing='xy'", [], kwargs)
    lines = [tensor_argument(x) for x in args]
    if any(len(t.shape(x)) != 1 for x in lines) or b["indexing"] not in ("xy", "ij"):
        raise CodeRefused("makes a grid of something else than vectors")
    order = list(range(len(lines)))
    if b["indexing"] == "xy" and len(lines) > 1:
        order[0], order[1] = 1, 0
    sizes = [t.shape(x)[0] for x in lines]
    whole: list[Any] = [0] * len(lines)
    for i, axis in enumerate(order):
        whole[axis] = sizes[i]
    shapes = [tuple(sizes[i] if a == axis else 1 for a in range(len(lines))) for i, axis in enumerate(order)]
    o = t.g.b
    return [o.expand(o.reshape(x, shape=s), shape=tuple(whole)) for x, s in zip(lines, shapes, strict=True)]


@meaning("Tile")
def tile(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The whole repeated along each axis, also by sizes that are known only when it runs."""
    x, repeats = tensor_argument(kwargs["x"]), kwargs["repeats"]
    counts = list(repeats) if isinstance(repeats, (list, tuple)) else [repeats]
    if not any(isinstance(n, Dim) for n in counts):
        if not all(isinstance(n, int) for n in counts):
            raise CodeRefused("repeats a tensor as often as a tensor says")
        return t.operation("Tile", x, repeats)
    sizes = list(t.shape(x))
    if len(counts) > len(sizes):
        sizes = [1] * (len(counts) - len(sizes)) + sizes
        x = t.g.b.reshape(x, shape=tuple(sizes))
    counts = [1] * (len(sizes) - len(counts)) + counts
    o = t.g.b
    if all(n == 1 or s == 1 for n, s in zip(counts, sizes, strict=True)):
        return o.expand(x, shape=tuple(s if n == 1 else n for n, s in zip(counts, sizes, strict=True)))
    apart = [p for n, s in zip(counts, sizes, strict=True) for p in ((1, s) if n != 1 else (s,))]
    wide = [p for n, s in zip(counts, sizes, strict=True) for p in ((n, s) if n != 1 else (s,))]
    y = o.expand(o.reshape(x, shape=tuple(apart)), shape=tuple(wide))
    return o.reshape(y, shape=tuple(n * s for n, s in zip(counts, sizes, strict=True)))


@meaning("tensorflow.size", "keras.ops.size", "keras.backend.count_params")
def size(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The number of elements."""
    b = argument_values("x, out_type?", args, {("x" if k == "input" else k): v for k, v in kwargs.items()})
    return product(t.shape(tensor_argument(b["x"])))


@meaning("tensorflow.sequence_mask")
def sequence_mask(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Whether each step is before the length."""
    b = argument_values("lengths, maxlen=None, dtype='bool'", args, kwargs)
    x = tensor_argument(b["lengths"])
    if b["maxlen"] is None or isinstance(b["maxlen"], Value):
        raise CodeRefused("makes a mask of the length that the longest sequence has")
    steps = arange(t, [0, b["maxlen"]], {"dtype": str(x.dtype)})
    y = t.compare("<", steps, t.operation("ExpandDims", x, axis=-1))
    return y if b["dtype"] == "bool" else t.operation("Cast", y, dtype=str(b["dtype"]))


@meaning("tensorflow.band_part")
def band_part(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A matrix with zeros further from the diagonal than ``num_lower`` and ``num_upper``; negative ones keep all."""
    b = argument_values("input, num_lower, num_upper", args, kwargs)
    x = tensor_argument(b["input"])
    rows, columns = t.shape(x)[-2:]
    if not all(isinstance(n, int) for n in (rows, columns, b["num_lower"], b["num_upper"])):
        raise CodeRefused("keeps a band of a matrix whose size is not known")
    away = np.arange(rows)[:, None] - np.arange(columns)
    low, up = b["num_lower"], b["num_upper"]
    keep = ((low < 0) | (away <= low)) & ((up < 0) | (-away <= up))
    return t.g.b.where(t.g.b.const(keep, DType.BOOL), x, t.g.b.like(x, 0))


# ---- statistics
@meaning("tensorflow.moments", "keras.ops.moments")
def moments(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Mean and variance over axes."""
    given = {{"keep_dims": "keepdims"}.get(k, k): v for k, v in kwargs.items()}
    if "shift" in given:
        raise CodeRefused("takes moments with a shift")
    b = argument_values("x, axes, keepdims=False, synchronized=False", args if len(args) < 3 else args[:2], given)
    if len(args) > 2 or b["synchronized"]:
        raise CodeRefused("takes moments with more than a tensor and axes")
    x = floating_tensor(b["x"])
    return [t.operation(k, x, axis=b["axes"], keepdims=bool(b["keepdims"])) for k in ("Mean", "Var")]


@meaning("tensorflow.batch_normalization", "keras.backend.batch_normalization")
def batch_normalization(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """``(x - mean) / sqrt(variance + epsilon) * scale + offset`` by broadcasting (``tf.nn.batch_normalization``, 2.15)."""
    names = {"beta": "offset", "gamma": "scale", "epsilon": "variance_epsilon", "var": "variance"}
    b = argument_values(
        "x, mean, variance, offset, scale, variance_epsilon=0.001, axis=-1", args, {names.get(k, k): v for k, v in kwargs.items()}
    )
    x, o = floating_tensor(b["x"]), t.g.b
    if len(args) > 6 or b["axis"] != -1:
        raise CodeRefused("normalises along another axis than the last")
    factor = o.rsqrt(o.add(tensor_argument(b["variance"]), o.like(x, float(b["variance_epsilon"]))))
    if b["scale"] is not None:
        factor = o.mul(factor, tensor_argument(b["scale"]))
    shift = o.neg(o.mul(tensor_argument(b["mean"]), factor))
    if b["offset"] is not None:
        shift = o.add(tensor_argument(b["offset"]), shift)
    return o.add(o.mul(x, factor), shift)


@meaning("tensorflow.top_k")
def top_k(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The largest along the last axis, and where they are."""
    b = argument_values("input, k=1, sorted=True", args, kwargs)
    return t.operation("TopK", tensor_argument(b["input"]), k=b["k"], sorted=True)


@meaning("tensorflow.matvec")
def matvec(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A matrix times a vector."""
    b = argument_values("a, b, transpose_a=False", args, kwargs)
    if b["transpose_a"]:
        raise CodeRefused("multiplies a transposed matrix and a vector")
    y = t.operation("Matmul", b["a"], t.operation("ExpandDims", tensor_argument(b["b"]), axis=-1))
    return t.operation("Squeeze", y, axis=-1)


@meaning("tensorflow.embedding_lookup")
def embedding_lookup(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Rows by their index."""
    b = argument_values("params, ids, max_norm=None", args, kwargs)
    if b["max_norm"] is not None:
        raise CodeRefused("looks up rows with a largest norm")
    return t.operation("Take", b["params"], b["ids"], axis=0)


@meaning("keras.backend.cast_to_floatx")
def cast_to_floatx(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """float32."""
    (x,) = args
    return t.operation("Cast", x, dtype="float32") if isinstance(x, Value) else float(x)


@meaning("keras.backend.dtype")
def dtype_of(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The element type, by name."""
    return str(tensor_argument(args[0]).dtype)

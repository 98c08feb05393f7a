"""``keras.ops`` as expressions: the letters in them are inputs (``LETTERS``), their batch dynamic unless it says otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from .judge import Case

__all__ = ["cases"]

LETTERS: dict[str, tuple[tuple[int | None, ...], str, str]] = {
    "x": ((None, 5, 7), "float32", "normal"),
    "y": ((None, 5, 7), "float32", "normal"),
    "e": ((None, 5, 7), "float32", "positive"),
    "f": ((None, 5, 7), "float32", "unit"),
    "g": ((None, 5, 7), "float32", "above"),
    "n": ((None, 5, 7), "float32", "nan"),
    "h": ((None, 5, 7), "float16", "normal"),
    "i": ((None, 5, 7), "int32", "whole"),
    "j": ((None, 5, 7), "int32", "counts"),
    "u": ((None, 5, 7), "uint8", "counts"),
    "p": ((None, 5, 7), "bool", "coin"),
    "q": ((None, 5, 7), "bool", "coin"),
    "k": ((None, 5), "int32", "index"),
    "l": ((None,), "int32", "index"),
    "r": ((None, 7), "float32", "share"),
    "t": ((None, 7), "float32", "share"),
    "v": ((6,), "float32", "normal"),
    "w": ((4,), "float32", "normal"),
    "s": ((3, 5, 7), "float32", "normal"),
    "a": ((None, 5, 5), "float32", "normal"),
    "b": ((None, 7, 11), "float32", "normal"),
    "d": ((5, 7), "float32", "normal"),
    "m": ((None, 6, 8, 3), "float32", "unit_image"),
    "c": ((None, 3, 6, 8), "float32", "normal"),
    "A": ((None, 5, 2, 6), "float32", "normal"),
    "B": ((None, 7, 2, 6), "float32", "normal"),
    "C": ((None, 7, 2, 6), "float32", "normal"),
}
RANGE = np.linspace(-1, 1, 7, dtype=np.float32)
K2 = np.random.default_rng(5).normal(size=(3, 2, 3, 4)).astype(np.float32)
K1 = np.random.default_rng(6).normal(size=(3, 7, 4)).astype(np.float32)
KT = np.random.default_rng(7).normal(size=(3, 2, 4, 3)).astype(np.float32)
KD = np.random.default_rng(8).normal(size=(3, 2, 3, 2)).astype(np.float32)
KP = np.random.default_rng(9).normal(size=(1, 1, 6, 5)).astype(np.float32)

_FLOATS = (
    "arcsinh arctan cbrt ceil cos cosh erf erfc exp exp2 expm1 floor hard_silu log_sigmoid selu sigmoid silu sin sinc sinh softplus "
    "softsign sparse_plus sparse_sigmoid tan tanh tanh_shrink deg2rad rad2deg i0 elu celu leaky_relu gelu hard_sigmoid hard_tanh "
    "hard_shrink soft_shrink squareplus relu relu6 abs negative square sign trunc round signbit isfinite isinf isnan isposinf "
    "isneginf isreal real conj angle copy stop_gradient"
).split()
_INTEGERS = "abs negative square sign relu cos exp floor trunc sigmoid signbit isfinite sqrt".split()
_PAIRS = (
    "add subtract multiply divide true_divide maximum minimum arctan2 floor_divide mod fmod greater greater_equal less less_equal "
    "equal not_equal heaviside hypot logaddexp logaddexp2 fmax fmin divide_no_nan isclose"
).split()
_LOGIC = "logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor add multiply maximum equal greater".split()
_REDUCE = (
    "sum mean max min prod std var amax amin any all logsumexp median ptp nansum nanmean nanmax nanmin nanstd nanvar".split()
)

EXPRESSIONS: dict[str, Sequence[str]] = {
    "of floats": [f"O.{f}(x)" for f in _FLOATS],
    "of floats in a range": [
        "O.arccos(f)", "O.arcsin(f)", "O.arctanh(f)", "O.arccosh(g)", "O.erfinv(f)", "O.log(e)", "O.log10(e)", "O.log1p(e)",
        "O.log2(e)", "O.sqrt(e)", "O.rsqrt(e)", "O.reciprocal(e)", "O.power(e, x)", "O.nan_to_num(n)", "O.nan_to_num(n, nan=3.0)",
        "O.isnan(n)", "O.ldexp(x, j)", "O.log(x)",
    ],
    "of other types": [
        *(f"O.{f}(i)" for f in _INTEGERS), "O.abs(h)", "O.exp(h)", "O.square(p)", "O.logical_not(p)", "O.logical_not(x)",
        "O.bitwise_invert(i)", "O.bitwise_not(u)", "O.bitwise_not(p)", "O.cast(x * 3, 'int32')", "O.cast(p, 'float32')",
        "O.cast(x, 'float16')", "O.saturate_cast(x * 300, 'uint8')", "O.saturate_cast(i * 100, 'int8')", "O.view(x, 'float32')",
        "O.round(x, 2)", "O.clip(x, -0.5, 0.7)", "O.clip(i, -2, 3)", "O.threshold(x, 0.3, -1.0)", "O.leaky_relu(x, 0.3)",
        "O.elu(x, 0.7)", "O.celu(x, 1.3)", "O.gelu(x, False)", "O.hard_shrink(x, 0.3)", "O.soft_shrink(x, 0.3)",
        "O.squareplus(x, 2)", "O.convert_to_tensor(x)",
    ],
    "of two": [
        *(f"O.{f}(x, y)" for f in _PAIRS), *(f"O.{f}(p, q)" for f in _LOGIC), "O.add(i, j)", "O.multiply(i, x)", "O.divide(i, 4)",
        "O.floor_divide(i, 3)", "O.mod(i, 3)", "O.fmod(i, 4)", "O.mod(x, 0.7)", "O.add(h, x)", "O.subtract(u, 3)", "O.power(x, 2)",
        "O.power(2.0, x)", "O.bitwise_and(i, j)", "O.bitwise_or(i, j)", "O.bitwise_xor(i, j)", "O.left_shift(i, 2)",
        "O.right_shift(i, 1)", "O.bitwise_left_shift(j, 3)", "O.bitwise_right_shift(j, k[:, :, None])", "O.greater(i, 0)",
        "O.maximum(x, 0.1)", "O.minimum(RANGE, x)", "O.logical_and(x, i)", "O.allclose(x, y)", "O.isclose(n, n, equal_nan=True)",
        "O.where(p, x, y)", "O.where(x > 0, x, 0.0)", "O.where(p, i, x)", "O.where(i > 1, 5, j)", "O.select([p, q], [x, y], 0.5)",
    ],
    "operators": [
        "x + y", "x - 1", "2 * x", "x / 255", "1 / e", "x ** 2", "-x", "abs(x)", "x % 2", "x // 0.5", "x > y", "x <= 0.0", 
        "p & q", "p | q", "p ^ q", "~p", "i + 1", "i / 2", "i // 2", "i * 2.5", "a @ b[:, :5]", "x[:, 1:]", "x[:, 2]", "x[..., 0]",
        "x[:, None]", "x[:, ::2, 1:-1]", "x[:, -3:-1, ...]", "x[:, 1, 2]", "x[..., None, 1:3]", "x[:, :, -1]",
        "round(x, 1)",
    ],
    "reductions": [
        *(f"O.{f}(x, axis=1)" for f in _REDUCE), *(f"O.{f}(x, axis=(1, 2), keepdims=True)" for f in ("sum", "mean", "max", "std")),
        "O.sum(x)", "O.mean(x)", "O.max(x, axis=-1, initial=0.5)", "O.sum(i, axis=2)", "O.sum(u, axis=2)", "O.sum(p, axis=1)",
        "O.mean(i, axis=1)", "O.prod(i, axis=1)", "O.max(p, axis=1)", "O.any(p, axis=1)", "O.all(p, axis=(1, 2))", "O.any(x, axis=1)",
        "O.count_nonzero(i, axis=1)", "O.argmax(x, axis=1)", "O.argmin(x, axis=2, keepdims=True)", "O.argmax(i, axis=-1)",
        "O.nanargmax(n, axis=1)", "O.nanargmin(n, axis=1)", "O.nansum(n, axis=1)", "O.nanmean(n, axis=1)", "O.nanmax(n, axis=1)",
        "O.nanmin(n)", "O.nanstd(n, axis=1)", "O.nanvar(n, axis=1)", "O.nanprod(n, axis=1)", "O.nancumsum(n, axis=1)",
        "O.nancumprod(n, axis=1)", "O.nanmedian(n, axis=1)", "O.nanquantile(n, 0.3, axis=1)", "O.nanpercentile(n, 30, axis=2)",
        "O.median(x, axis=(1, 2), keepdims=True)", "O.quantile(x, 0.3, axis=1)", "O.quantile(x, [0.1, 0.9], axis=2)",
        "O.quantile(x, 0.3, axis=1, method='nearest')", "O.percentile(x, 30, axis=1)", "O.average(x, axis=1)",
        "O.average(x, axis=2, weights=RANGE + 2)", "O.moments(x, axes=[1])",
        "O.moments(h, axes=[1], keepdims=True)", "O.cumsum(x, axis=1)", "O.cumprod(x, axis=1)", "O.cumsum(i, axis=1)",
        "O.cumsum(p, axis=1)", "O.diff(x)", "O.diff(x, n=2, axis=1)", "O.trapezoid(x, axis=1)", 
        "O.trapezoid(x, dx=0.3)", "O.corrcoef(d)", "O.norm(x, axis=1)", "O.norm(x, ord=1, axis=1)", "O.norm(x, ord=3, axis=2)",
        "O.norm(x, ord='fro', axis=(1, 2))", "O.norm(x, ord=float('inf'), axis=1)", "O.norm(x, ord=1, axis=(1, 2))",
        "O.norm(x, ord=2, axis=(1, 2))", "O.logsumexp(x, axis=1, keepdims=True)", "O.logsumexp(x)",
    ],
    "shapes": [
        "O.reshape(x, (-1, 35))", "O.reshape(x, (-1, 7, 5))", "O.expand_dims(x, 1)", "O.expand_dims(x, (1, -1))", "O.squeeze(x[:, :1], 1)",
        "O.transpose(x, (0, 2, 1))", "O.transpose(s)", "O.swapaxes(x, 1, 2)", "O.moveaxis(m, 1, 3)", "O.moveaxis(m, [1, 2], [2, 3])",
        "O.ravel(x)", "O.broadcast_to(d, (3, 5, 7))", "O.tile(x, (1, 2, 3))", "O.tile(x, 2)", "O.repeat(x, 3, axis=1)",
        "O.repeat(x, 2, axis=-1)", "O.roll(x, 2, axis=1)", "O.roll(x, (1, -2), axis=(1, 2))", "O.roll(s, 3)",
        "O.flip(x, axis=1)", "O.flip(x, axis=(1, 2))", "O.fliplr(x)", "O.flipud(s)", "O.rot90(m, axes=(1, 2))",
        "O.rot90(m, k=3, axes=(1, 2))", "O.rot90(m, k=2, axes=(1, 2))", "O.concatenate([x, y], axis=1)", "O.concatenate([x, i], axis=-1)",
        "O.append(x, y, axis=1)", "O.append(d, d)", "O.stack([x, y], axis=1)", "O.stack([x, y], axis=-1)", "O.hstack([x, y])",
        "O.vstack([s, s])", "O.dstack([x, y])", "O.split(b, [2, 5], axis=1)", "O.split(m, 2, axis=1)", "O.array_split(x, 3, axis=2)",
        "O.hsplit(m, 3)", "O.vsplit(d, [2, 3])", "O.dsplit(m, 4)", "O.unstack(x, axis=1)", "O.pad(x, ((0, 0), (1, 2), (0, 3)))",
        "O.pad(x, ((0, 0), (1, 2), (0, 3)), constant_values=0.5)", "O.pad(x, ((0, 0), (1, 2), (0, 3)), mode='reflect')",
        "O.pad(x, ((0, 0), (1, 2), (0, 3)), mode='symmetric')", "O.tril(x)", "O.triu(x, 1)", "O.tril(i, -1)", "O.diag(v)", "O.diag(v, 2)",
        "O.diag(d)", "O.diagflat(v)", "O.diagonal(x, axis1=1, axis2=2)", "O.diagonal(x, offset=2, axis1=1, axis2=2)",
        "O.trace(a, axis1=1, axis2=2)", "O.trace(i, axis1=1, axis2=2)", "O.vander(v)", "O.vander(v, 3, increasing=True)",
        "O.zeros_like(x)", "O.ones_like(x, dtype='int32')", "O.full_like(x, 0.3)", "O.meshgrid(v, w)", "O.meshgrid(v, w, indexing='ij')",
        "O.linspace(x, y, 4)", "O.linspace(x, y, 4, endpoint=False)", "O.linspace(x, y, 3)", "O.geomspace(e, 3.0, 4)",
        "O.empty_like(x)", "O.size(x)", "O.ndim(x)",
    ],
    "indices": [
        "O.take(x, [0, 2, -1], axis=1)", "O.take(x, k, axis=2)", "O.take(d, [3, 11])", "O.take_along_axis(x, k[:, :, None], axis=1)",
        "O.take_along_axis(x, k[:, :, None], axis=2)", "O.slice(s, (1, 0, 2), (2, 3, 4))", "O.slice_update(x, (0, 1, 2), x[:, :2, :3])",
        "O.scatter(np.array([[0, 1], [2, 3]]), O.take(w, [0, 1]), (4, 5))", "O.scatter_update(d, np.array([[0, 1], [2, 3]]), O.take(w, [0, 1]))",
        "O.scatter_update(d, np.array([[0, 1], [2, 3]]), O.take(w, [0, 1]), reduction='add')", "O.argsort(x, axis=1)", "O.sort(x, axis=1)", "O.sort(d, axis=None)",
        "O.argsort(i, axis=-1)", "O.sort(p, axis=1)", "O.top_k(x, 3)", "O.top_k(i, 2)[0]", "O.in_top_k(l, r, 3)", "O.one_hot(k, 5)",
        "O.one_hot(k, 6, axis=1, dtype='int32')", "O.multi_hot(k, 5)", "O.searchsorted(np.array([-1.0, 0.0, 0.5], 'float32'), x[:, 0])",
        "O.searchsorted(np.array([-1.0, 0.0, 0.5], 'float32'), x[:, 0], side='right')",
        "O.digitize(x, np.array([-1.0, 0.0, 0.5], 'float32'))", "O.isin(i, np.array([1, 3, -2]))", "O.isin(i, j, invert=True)",
        "O.segment_sum(d, np.array([0, 1, 1, 0, 2]), num_segments=3)", "O.segment_max(d, np.array([0, 1, 1, 0, 2]), num_segments=3)",
        "O.segment_min(d, np.array([0, 1, 1, 0, 2]), num_segments=3)", "O.segment_prod(d, np.array([0, 1, 1, 0, 2]), num_segments=3)",
        "O.unravel_index(k, (3, 4))", "O.argpartition(x, 2)", "O.bincount(l, minlength=6)", "O.isin(i, 3)", "O.unique(i)", "O.gcd(i, j)",
        "O.lcm(i, j)", "O.nextafter(x, y)",
    ],
    "products": [
        "O.matmul(x, b)", "O.matmul(x, RANGE)", "O.matmul(i, O.transpose(j, (0, 2, 1)))", "O.dot(x, d[0])", "O.dot(d, O.transpose(d))", "O.einsum('bij,bjk->bik', x, b)",
        "O.einsum('bij->bji', x)", "O.einsum('...ij,...kj->...ik', x, y)", "O.tensordot(x, d, axes=[[1, 2], [0, 1]])", "O.tensordot(d, O.transpose(d), axes=1)",
        "O.inner(d, d)", "O.outer(v, w)", "O.vdot(v, v)", "O.kron(d, d)", "O.cross(x[:, :, :3], y[:, :, :3], axis=-1)",
        "O.cdist(x, y)", "O.correlate(v, w)", "O.correlate(v, w, mode='full')", "O.correlate(v, w, mode='same')", "O.inv(a)", "O.det(a)",
        "O.cholesky(O.matmul(a, O.swapaxes(a, 1, 2)))", "O.qr(a)", "O.svd(a)", "O.solve(a, x)",
    ],
    "networks' functions": [
        "O.softmax(x)", "O.softmax(x, axis=1)", "O.softmax(x, axis=2)", "O.log_softmax(x)", "O.log_softmax(x, axis=1)",
        "O.glu(m, axis=1)", "O.sparsemax(x)", "O.depth_to_space(m[..., :1] * O.ones((4,)), 2)", "O.space_to_depth(m, 2)",
        "O.batch_normalization(x, RANGE, RANGE ** 2 + 0.1, 2)", "O.batch_normalization(x, RANGE, RANGE ** 2 + 0.1, 2, offset=RANGE, scale=RANGE)",
        "O.layer_normalization(x, epsilon=1e-3)", "O.layer_normalization(x, RANGE, RANGE, epsilon=1e-3)", "O.rms_normalization(x, RANGE)",
        "O.normalize(x)", "O.normalize(x, axis=1, order=3)", "O.dot_product_attention(A, B, C)", "O.dot_product_attention(A, A, A, is_causal=True)",
        "O.dot_product_attention(A, B, C, scale=0.3)", "O.binary_crossentropy(r, t)", "O.binary_crossentropy(r, x[:, 0], from_logits=True)",
        "O.categorical_crossentropy(r, t)", "O.categorical_crossentropy(r, x[:, 0], from_logits=True)", "O.sparse_categorical_crossentropy(l, r)",
        "O.sparse_categorical_crossentropy(l, x[:, 0], from_logits=True)", "O.psnr(x, y, 1.0)", "O.unfold(c, (2, 3), stride=2)",
        "O.unfold(c, 2, padding=1, dilation=2)", "O.conv(m, K2)", "O.conv(m, K2, strides=2, padding='same')", "O.conv(x, K1, padding='same')",
        "O.conv(m, K2, dilation_rate=2)", "O.conv_transpose(m, KT, strides=2, padding='same')", "O.conv_transpose(m, KT, strides=2)",
        "O.depthwise_conv(m, KD, padding='same')", "O.separable_conv(m, KD, KP)", "O.max_pool(m, 2)", "O.max_pool(m, (2, 3), strides=1, padding='same')",
        "O.average_pool(m, 2)", "O.average_pool(m, 3, strides=2)",         "O.fold(O.unfold(c, 2), (6, 8), 2)",
    ],
    "images": [
        "O.image.resize(m, (9, 5))", "O.image.resize(m, (12, 16), interpolation='nearest')", "O.image.resize(m, (9, 5), interpolation='nearest')",
        "O.image.resize(m, (3, 4), antialias=True)", "O.image.resize(m, (9, 11), interpolation='bicubic')", 
        "O.image.resize(m, (5, 5), crop_to_aspect_ratio=True)", "O.image.resize(m, (9, 9), pad_to_aspect_ratio=True)",
        "O.image.crop_images(m, top_cropping=1, left_cropping=2, target_height=3, target_width=4)",
        "O.image.pad_images(m, top_padding=1, left_padding=2, target_height=9, target_width=12)", "O.image.extract_patches(m, (2, 2))",
        "O.image.extract_patches(m, (3, 2), strides=(1, 2), padding='same')", "O.image.rgb_to_grayscale(m)", "O.image.rgb_to_hsv(m)",
        "O.image.hsv_to_rgb(m)", "O.image.gaussian_blur(m)", "O.image.gaussian_blur(m, (5, 3), (0.7, 1.3))", "O.image.sobel_edges(m)",
        "O.image.map_coordinates(d, O.stack([d * 2 + 1, d + 2]), order=1)",
        "O.image.ssim(m, m * 0.9, filter_size=3)", "O.image.perspective_transform(m, np.array([[[0, 0], [0, 7], [5, 0], [5, 7.0]]], 'float32'), np.array([[[0, 0], [1, 7], [5, 0], [4, 6.0]]], 'float32'))",
    ],
    "signals": [
        "O.fft((x, y))", "O.fft2((x, y))", "O.ifft2((x, y))", "O.rfft(x)", "O.rfft(x, 8)", "O.irfft((x, y))", "O.irfft((x, y), 9)",
        "O.stft(r, 4, 2, 4)", "O.stft(r, 4, 1, 6, center=False)", "O.extract_sequences(x, 3, 2)", "O.polar(x, y)", "O.view_as_real(O.view_as_complex(x[..., :2]))",
    ],
}  # fmt: skip


TORCH_IS_WRONG: dict[str, tuple[str, Callable[..., Any]]] = {
    "O.count_nonzero(i, axis=1)": ("transposes its result", lambda i: np.count_nonzero(i, axis=1).astype(np.int32)),
    "O.pad(x, ((0, 0), (1, 2), (0, 3)), mode='symmetric')": (
        "repeats the edge", lambda x: np.pad(x, ((0, 0), (1, 2), (0, 3)), mode="symmetric")
    ),
    "O.cross(x[:, :, :3], y[:, :, :3], axis=-1)": (
        "takes the first axis of size 3", lambda x, y: np.cross(x[..., :3], y[..., :3], axis=-1)
    ),
}  # fmt: skip
"""Where numpy says what is right, as TensorFlow and JAX do (``backend/torch/numpy.py``, Keras 3.15.1)."""


def cases() -> list[Case]:
    """Every expression once."""
    names = dict.fromkeys(e for group in EXPRESSIONS.values() for e in group)
    return [Case(e, _build(e), _feed(e), *TORCH_IS_WRONG.get(e, ("", None))) for e in names]


def _inputs(expression: str) -> list[str]:
    found = set(re.findall(r"(?<![\w.'\"])([A-Za-z])(?![\w'\"(.]|=[^=])", expression + " "))
    return [n for n in LETTERS if n in found]


def _build(expression: str) -> Any:
    def make() -> Any:
        names = _inputs(expression)
        ins = {n: keras.Input(batch_shape=LETTERS[n][0], dtype=LETTERS[n][1], name=n) for n in names}
        known = {"O": keras.ops, "np": np, "RANGE": RANGE, "K1": K1, "K2": K2, "KT": KT, "KD": KD, "KP": KP}
        return keras.Model(list(ins.values()), eval(expression, known, ins), name="m")  # noqa: S307

    return make


def _feed(expression: str) -> Any:
    def make(rng: np.random.Generator, batch: int) -> list[np.ndarray]:
        return [_array(rng, batch, *LETTERS[n]) for n in _inputs(expression)]

    return make


def _array(rng: np.random.Generator, batch: int, shape: tuple[int | None, ...], dtype: str, kind: str) -> np.ndarray:
    size = tuple(batch if n is None else n for n in shape)
    a = rng.normal(0, 1, size)
    if kind == "positive":
        a = rng.uniform(0.1, 2, size)
    elif kind == "unit":
        a = rng.uniform(-0.95, 0.95, size)
    elif kind == "unit_image":
        a = rng.uniform(0, 1, size)
    elif kind == "above":
        a = rng.uniform(1.1, 4, size)
    elif kind == "nan":
        a = np.where(rng.random(size) < 0.3, np.nan, a)
        a[:, :, 0] = np.where(np.isnan(a[:, :, 0]), 0.5, a[:, :, 0])
        a[:, 0] = np.where(np.isnan(a[:, 0]), -0.25, a[:, 0])
    elif kind == "whole":
        a = rng.integers(-9, 10, size)
    elif kind == "counts":
        a = rng.integers(1, 6, size)
    elif kind == "coin":
        a = rng.random(size) > 0.5
    elif kind == "index":
        a = rng.integers(0, 5, size)
    elif kind == "share":
        a = rng.uniform(0.05, 1, size)
        a = a / a.sum(-1, keepdims=True)
    return np.asarray(a, dtype)

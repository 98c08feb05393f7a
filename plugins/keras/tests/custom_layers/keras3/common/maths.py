"""Helpers of the layers."""

import numpy as np
from keras import ops

EPS = 1e-6


def split_heads(x, heads):
    b, n = ops.shape(x)[0], ops.shape(x)[1]
    x = ops.reshape(x, (b, n, heads, x.shape[-1] // heads))
    return ops.transpose(x, (0, 2, 1, 3))


def join_heads(x):
    _, h, n, d = x.shape
    x = ops.transpose(x, (0, 2, 1, 3))
    return ops.reshape(x, (-1, n, h * d))


def dot_product_attention(q, k, v, *, scale=None, mask=None):
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = ops.einsum("bhqd,bhkd->bhqk", q, k) * scale
    if mask is not None:
        scores = ops.where(mask, scores, -1e9)
    weights = ops.softmax(scores, axis=-1)
    return ops.matmul(weights, v), weights


def squash(x, axis=-1):
    """The nonlinearity of capsules."""
    norm2 = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return norm2 / (1.0 + norm2) * x / ops.sqrt(norm2 + EPS)


def sinusoids(length, depth, base=10000.0):
    positions = np.arange(length)[:, np.newaxis]
    rates = 1 / np.power(base, np.arange(0, depth, 2) / depth)
    angles = positions * rates
    table = np.zeros((length, depth))
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles)[:, : depth // 2]
    return table.astype("float32")


def make_divisible(v, divisor=4, min_value=None):
    min_value = divisor if min_value is None else min_value
    new = max(min_value, int(v + divisor / 2) // divisor * divisor)
    if new < 0.9 * v:
        new += divisor
    return new

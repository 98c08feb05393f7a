"""Functional networks of layers and operations, seeded: convolutional, masked sequences, attention, several inputs, nested."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import keras

from .judge import Case

__all__ = ["cases"]

L, O = keras.layers, keras.ops


def convolutional(r: random.Random) -> Any:
    """Blocks with shortcuts, of layers and of operators."""
    x = keras.Input((12, 10, 3), name="x")
    y = L.Rescaling(1 / 255.0)(x * 255) if r.random() < 0.5 else x / 0.5 - 1
    for _ in range(r.randint(2, 4)):
        width, stride = r.choice([4, 6, 8]), r.choice([1, 2])
        z = r.choice([L.Conv2D, L.SeparableConv2D])(width, 3, strides=stride, padding="same", use_bias=r.random() < 0.5)(y)
        z = L.BatchNormalization()(z)
        z = r.choice([L.ReLU(), L.Activation("gelu"), L.PReLU(shared_axes=[1, 2])])(z)
        short = L.Conv2D(width, 1, strides=stride, padding="same")(y)
        y = r.choice([lambda a, b: L.Add()([a, b]), lambda a, b: a + b, lambda a, b: L.Concatenate()([a, b]), O.maximum])(
            z, short
        )
    gate = L.Dense(y.shape[-1], activation="sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(y))
    y = y * gate
    head = r.choice([L.GlobalMaxPooling2D(), L.Flatten(), L.GlobalAveragePooling2D()])(y)
    return keras.Model(x, L.Dense(5, activation="softmax")(L.Dropout(0.3)(head)), name="m")


def sequence(r: random.Random) -> Any:
    """Ids with zeros as mask through recurrent layers, attention or pooling."""
    x = keras.Input((None,) if r.random() < 0.5 else (7,), dtype="int32", name="x")
    y = L.Embedding(9, 6, mask_zero=True)(x)
    if r.random() < 0.3:
        y = L.LayerNormalization()(y)
    for _ in range(r.randint(1, 2)):
        kind = r.choice([L.LSTM, L.GRU, L.SimpleRNN])
        inner = kind(r.choice([4, 5]), return_sequences=True)
        y = L.Bidirectional(inner, merge_mode=r.choice(["concat", "sum"]))(y) if r.random() < 0.5 else inner(y)
        y = L.Dropout(0.2)(y)
    end = r.randint(0, 3)
    if end == 0:
        y = L.GRU(4)(y)
    elif end == 1:
        y = L.GlobalAveragePooling1D()(y)
    elif end == 2:
        y = L.Attention()([y, y])
    else:
        y = L.TimeDistributed(L.Dense(3))(y)
    return keras.Model(x, L.Dense(4)(y), name="m")


def transformer(r: random.Random) -> Any:
    """Blocks of attention and two dense layers, causal or masked."""
    masked = r.random() < 0.5
    x = keras.Input((6,), dtype="int32", name="x")
    y = L.Embedding(9, 8, mask_zero=masked)(x)
    for _ in range(r.randint(1, 2)):
        heads = r.choice([1, 2])
        z = L.LayerNormalization(epsilon=1e-5)(y) if r.random() < 0.5 else y
        layer = (
            L.MultiHeadAttention(heads, 4, dropout=r.choice([0.0, 0.1])) if r.random() < 0.6 else L.GroupQueryAttention(4, 2, 1)
        )
        y = y + layer(z, z, use_causal_mask=r.random() < 0.5)
        z = L.RMSNormalization()(y)
        y = y + L.Dense(8)(r.choice([O.gelu, O.silu, lambda v: O.relu(v) ** 2])(L.Dense(16)(z)))
    y = y[:, 0] if r.random() < 0.5 else O.mean(y, axis=1)
    return keras.Model(x, L.Dense(3)(y), name="m")


def several(r: random.Random) -> Any:
    """A dict or list of inputs, a nested model that is called twice, more outputs."""
    a, b = keras.Input((5,), name="a"), keras.Input((5,), name="b")
    inner_in = keras.Input((5,), name="in")
    inner = keras.Model(inner_in, L.Dense(4, activation="tanh")(L.BatchNormalization()(inner_in)), name="inner")
    p, q = inner(a), inner(b)
    joined = r.choice([lambda: L.Dot(1, normalize=True)([p, q]), lambda: L.Multiply()([p, q]), lambda: O.abs(p - q)])()
    chain = keras.Sequential([L.Dense(6, activation=r.choice(["relu", "elu", "selu"])), L.Dense(3)], name="chain")
    y = chain(joined)
    outs = {"y": y, "z": O.concatenate([p, q], axis=-1)} if r.random() < 0.5 else [y, p]
    return keras.Model({"a": a, "b": b} if r.random() < 0.5 else [a, b], outs, name="m")


def operations(r: random.Random) -> Any:
    """A chain of operations of every family."""
    x = keras.Input((6, 8), name="x")
    steps: list[Callable[[Any], Any]] = [
        lambda v: v[:, 1:, ::2],
        lambda v: O.transpose(v, (0, 2, 1)),
        lambda v: O.pad(v, ((0, 0), (1, 1), (0, 2))),
        lambda v: v * 2 - 1,
        lambda v: O.softmax(v, axis=1),
        lambda v: O.cumsum(v, axis=-1),
        lambda v: O.concatenate([v, -v], axis=2),
        lambda v: O.sort(v, axis=1),
        lambda v: O.where(v > 0, v, O.exp(v)),
        lambda v: O.roll(v, 1, axis=1),
        lambda v: O.clip(v, -1, 1),
        lambda v: v / (1 + O.abs(v)),
        lambda v: O.stack(O.unstack(v, axis=1)[:2], axis=1),
        lambda v: O.matmul(v, O.transpose(v, (0, 2, 1))),
        lambda v: O.flip(v, axis=2),
        lambda v: O.repeat(v, 2, axis=1),
        lambda v: O.squeeze(O.expand_dims(v, 1), 1),
        lambda v: v - O.mean(v, axis=1, keepdims=True),
    ]
    y = x
    for step in r.sample(steps, 6):
        y = step(y)
    return keras.Model(x, [y, O.argmax(y, axis=-1), O.max(y, axis=(1, 2))], name="m")


def cases() -> list[Case]:
    """Sixteen of each kind."""
    kinds = (convolutional, sequence, transformer, several, operations)
    return [Case(f"{k.__name__} {i}", lambda k=k, i=i: k(random.Random(i))) for k in kinds for i in range(16)]  # type: ignore[misc]

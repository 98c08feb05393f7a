"""One-layer models: ``L.Dense(7) @ 5``, the layer and its input shapes without the batch (``i:`` integers, ``b:`` booleans).

Every layer class of Keras that has no Python code of the user in it, with the arguments its constructor takes, as grids.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from .judge import Case

__all__ = ["cases"]


def _mean_of_windows(x: np.ndarray, stride: int) -> np.ndarray:
    """Average pooling by 3, padded alike: the mean of what is in each window (the torch backend repeats edges)."""
    axes = tuple(range(1, x.ndim - 1))
    missing = [max((-(-n // stride) - 1) * stride + 3 - n, 0) for n in x.shape[1:-1]]
    wide = np.pad(x, [(0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)], constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(wide, (3,) * len(axes), axis=axes)
    windows = windows[(slice(None), *(slice(None, None, stride),) * len(axes))]
    return np.asarray(np.nanmean(windows, axis=tuple(range(-len(axes), 0))), np.float32)


_ACTIVATIONS = [
    "celu",
    "elu",
    "exponential",
    "gelu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "tanh",
    "tanh_shrink",
    "glu",
]
_AUGMENTATION = [
    "RandomBrightness(0.3)",
    "RandomColorDegeneration(0.3)",
    "RandomColorJitter(brightness_factor=0.3)",
    "RandomContrast(0.3)",
    "RandomErasing()",
    "RandomFlip()",
    "RandomGaussianBlur()",
    "RandomGrayscale()",
    "RandomHue(0.3)",
    "RandomInvert()",
    "RandomPerspective()",
    "RandomPosterization(4)",
    "RandomRotation(0.3)",
    "RandomSaturation(0.3)",
    "RandomSharpness(0.3)",
    "RandomTranslation(0.2,0.2)",
    "RandomZoom(0.2)",
    "AugMix()",
    "RandAugment()",
    "RandomElasticTransform()",
]
IMAGE = "6,8,3"


def _grid(text: str, **values: Any) -> Iterator[str]:
    for combination in itertools.product(*values.values()):
        yield text.format(**dict(zip(values, combination, strict=True)))


def _expressions() -> Iterator[str]:
    flags = [True, False]
    for d, shape in ((1, "9,3"), (2, "7,8,3"), (3, "5,6,7,3")):
        same = ["valid", "same"]
        yield from _grid(f"L.Conv{d}D(4, 3, strides={{s}}, padding='{{p}}', use_bias={{u}}) @ {shape}", s=[1, 2], p=same, u=flags)
        yield from _grid(
            f"L.Conv{d}D(6, 2, dilation_rate={{r}}, groups={{g}}, padding='{{p}}', activation='relu') @ {shape}",
            r=[1, 2],
            g=[1, 3],
            p=same,
        )
        yield from _grid(
            f"L.Conv{d}DTranspose(4, {{k}}, strides={{s}}, padding='{{p}}', use_bias={{u}}) @ {shape}",
            k=[2, 3],
            s=[1, 2],
            p=["valid", "same"],
            u=flags,
        )
        yield from _grid(
            f"L.{{n}}Pooling{d}D({{k}}, strides={{s}}, padding='{{p}}') @ {shape}",
            n=["Max", "Average"],
            k=[2, 3],
            s=[None, 1, 2],
            p=["valid", "same"],
        )
        yield from _grid(f"L.Global{{n}}Pooling{d}D(keepdims={{k}}) @ {shape}", n=["Max", "Average"], k=flags)
        yield from _grid(f"L.Adaptive{{n}}Pooling{d}D({{k}}) @ {shape}", n=["Max", "Average"], k=[1, 2, 3])
        yield f"L.UpSampling{d}D(2) @ {shape}"
        yield f"L.ZeroPadding{d}D(2) @ {shape}"
        yield f"L.Cropping{d}D(1) @ {shape}"
        yield f"L.SpatialDropout{d}D(0.3) @ {shape}"
    for d, shape in ((1, "3,9"), (2, "3,7,8"), (3, "3,5,6,7")):
        first = "data_format='channels_first'"
        yield from _grid(f"L.Conv{d}D(4, 3, strides={{s}}, padding='{{p}}', {first}) @ {shape}", s=[1, 2], p=["valid", "same"])
        yield from _grid(
            f"L.Conv{d}DTranspose(4, 3, strides={{s}}, padding='{{p}}', {first}) @ {shape}", s=[1, 2], p=["valid", "same"]
        )
        yield from _grid(f"L.{{n}}Pooling{d}D(2, {first}) @ {shape}", n=["Max", "Average"])
        yield from _grid(f"L.Global{{n}}Pooling{d}D({first}) @ {shape}", n=["Max", "Average"])
        yield from _grid(f"L.{{n}} @ {shape}", n=["BatchNormalization(axis=1)", f"Flatten({first})", f"SpatialDropout{d}D(0.3)"])
    yield from _grid("L.Conv1D(4, 3, padding='causal', dilation_rate={r}) @ 9,3", r=[1, 2])
    for d, shape in ((1, "9,3"), (2, "7,8,3")):
        yield from _grid(
            f"L.DepthwiseConv{d}D(3, strides={{s}}, padding='{{p}}', depth_multiplier={{m}}, use_bias={{u}}) @ {shape}",
            s=[1, 2],
            p=["valid", "same"],
            m=[1, 2],
            u=flags,
        )
        yield from _grid(
            f"L.SeparableConv{d}D(4, 3, strides={{s}}, padding='{{p}}', depth_multiplier={{m}}) @ {shape}",
            s=[1, 2],
            p=["valid", "same"],
            m=[1, 2],
        )
    for kind in ("LSTM", "GRU", "SimpleRNN"):
        yield from _grid(
            f"L.{kind}(4, return_sequences={{s}}, go_backwards={{b}}, use_bias={{u}}) @ 5,3", s=flags, b=flags, u=flags
        )
        yield from _grid(
            f"L.{kind}(4, activation='{{a}}', return_state={{s}}) @ 5,3", a=["relu", "sigmoid", "elu", "softsign"], s=flags
        )
        yield from _grid(
            f"L.Bidirectional(L.{kind}(4, return_sequences={{s}}), merge_mode={{m}}) @ 5,3",
            s=flags,
            m=["'concat'", "'sum'", "'mul'", "'ave'", None],
        )
        yield f"L.RNN(L.{kind}Cell(4), return_sequences=True) @ 5,3"
        yield f"L.RNN([L.{kind}Cell(4), L.{kind}Cell(3)]) @ 5,3"
        yield f"L.RNN(L.StackedRNNCells([L.{kind}Cell(4), L.{kind}Cell(3)]), return_sequences=True, return_state=True) @ 5,3"
        yield f"L.{kind}(4, dropout=0.2, recurrent_dropout=0.1, unroll=True) @ 5,3"
    yield from _grid(
        "L.GRU(4, reset_after={r}, recurrent_activation='{a}', return_sequences=True) @ 5,3",
        r=flags,
        a=["sigmoid", "hard_sigmoid"],
    )
    for d, shape in ((1, "4,6,3"), (2, "4,6,5,3"), (3, "3,4,5,6,2")):
        yield from _grid(
            f"L.ConvLSTM{d}D(4, 3, padding='{{p}}', return_sequences={{s}}, strides={{t}}) @ {shape}",
            p=["valid", "same"],
            s=flags,
            t=[1, 2],
        )
        yield f"L.Bidirectional(L.ConvLSTM{d}D(4, 3, padding='same')) @ {shape}"
    yield from _grid(
        "L.Dense(7, activation={a}, use_bias={u}) @ {s}",
        a=["None", *(f"'{a}'" for a in _ACTIVATIONS if a != "glu")],
        u=[True],
        s=["5"],
    )
    yield from _grid("L.Dense(7, use_bias={u}) @ {s}", u=flags, s=["5", "3,5", "2,3,5"])
    yield from _grid("L.Activation('{a}') @ 3,6", a=_ACTIVATIONS)
    yield from ["L.ReLU(6.0) @ 5", "L.ReLU(None, 0.2) @ 5", "L.ReLU(3.0, 0.1, 0.5) @ 5", "L.LeakyReLU(0.2) @ 5", "L.ELU(0.7) @ 5"]
    yield from ["L.PReLU() @ 5,7", "L.PReLU(shared_axes=[1]) @ 5,7", "L.PReLU(shared_axes=[1, 2]) @ 6,8,3"]
    yield from [
        "L.Softmax() @ 3,5",
        "L.Softmax(axis=1) @ 3,5",
        "L.Softmax(axis=(1, 2)) @ 3,5",
        "L.Flatten() @ 3,5",
        "L.Flatten() @ 6,8,3",
    ]
    yield from [
        "L.Reshape((15,)) @ 3,5",
        "L.Reshape((5, -1)) @ 3,5",
        "L.Permute((2, 1)) @ 3,5",
        "L.RepeatVector(3) @ 5",
        "L.Identity() @ 3,5",
    ]
    yield from _grid("L.{n}() @ 3,5 3,5", n=["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"])
    yield from _grid("L.{n}() @ 3,5 3,5 3,5", n=["Add", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"])
    yield from _grid("L.{n}() @ 3,5 5", n=["Add", "Multiply", "Maximum"])
    yield from [
        "L.Concatenate(axis=1) @ 3,5 4,5",
        "L.Dot(axes=1) @ 5 5",
        "L.Dot(axes=(2, 1)) @ 3,5 5,4",
        "L.Dot(axes=-1, normalize=True) @ 5 5",
    ]
    yield from _grid("L.BatchNormalization(axis={a}, center={c}, scale={s}) @ 4,5", a=[1, -1], c=flags, s=flags)
    yield from _grid(
        "L.LayerNormalization(axis={a}, center={c}, scale={s}, epsilon=0.01) @ 4,5,3", a=[-1, [2, 3]], c=flags, s=flags
    )
    yield from _grid("L.GroupNormalization(groups={g}, center={c}, scale={s}) @ 4,6", g=[1, 2, 3, -1], c=flags, s=flags)
    yield from [
        "L.RMSNormalization() @ 4,5",
        "L.UnitNormalization() @ 4,5",
        "L.UnitNormalization(axis=1) @ 4,5",
    ]
    yield from [
        "L.Normalization(mean=0.5, variance=2.0) @ 4,5",
        "L.Normalization(mean=[1.0] * 5, variance=[2.0] * 5) @ 4,5",
        "L.Normalization(mean=0.5, variance=2.0, invert=True) @ 4,5",
    ]
    yield from _grid("L.SpectralNormalization(L.{n}) @ {s}", n=["Dense(7)", "Conv2D(4, 3)"], s=["6,8,3"])
    yield from ["L.Embedding(5, 4) @ i:3", "L.Embedding(5, 4, mask_zero=True) @ i:3", "L.ReversibleEmbedding(5, 4) @ i:3"]
    yield from _grid(
        "L.EinsumDense('{e}', {o}, bias_axes={b}) @ {s}", e=["abc,cd->abd"], o=["(None, 7)"], b=["'d'", None], s=["3,5"]
    )
    yield from [
        "L.EinsumDense('...x,xy->...y', 7, bias_axes='y') @ 3,5",
        "L.EinsumDense('ab,bc->ac', 7, activation='relu') @ 5",
        "L.EinsumDense('abc,cde->abde', (None, 2, 3), bias_axes='de') @ 4,5",
    ]
    yield from _grid(
        "L.{n} @ 3,5",
        n=[
            "Dropout(0.3)",
            "AlphaDropout(0.3)",
            "GaussianDropout(0.3)",
            "GaussianNoise(0.3)",
            "Masking(0.0)",
            "ActivityRegularization(0.1)",
            "Dropout(0.3, noise_shape=(None, 1, 5))",
        ],
    )
    yield from _grid("L.{n} @ 6,8,3", n=_AUGMENTATION)
    yield from [
        "L.RandomCrop(4, 5) @ 6,8,3",
        "L.RandomCrop(6, 8) @ 6,8,3",
        "L.CenterCrop(4, 5) @ 6,8,3",
        "L.CenterCrop(5, 5) @ 6,8,3",
        "L.Rescaling(0.3, 0.1) @ 6,8,3",
        "L.Rescaling([1.0, 2.0, 3.0]) @ 6,8,3",
    ]
    yield from _grid("L.Resizing({h}, {w}, interpolation='{m}') @ 6,8,3", h=[3, 12, 7], w=[4, 16, 5], m=["bilinear"])
    yield "L.Resizing(7, 5, interpolation='bicubic') @ 6,8,3"
    yield from _grid("L.Resizing({h}, {w}, interpolation='nearest') @ 6,8,3", h=[12, 18], w=[16, 8])
    yield from _grid(
        "L.Resizing({h}, {w}, {f}=True) @ 6,8,3",
        h=[5, 9],
        w=[5, 7],
        f=["crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias"],
    )
    yield from _grid("L.UpSampling2D((2, 3), interpolation='{m}') @ 6,8,3", m=["nearest", "bilinear"])
    yield from _grid("L.CategoryEncoding(5, output_mode='{m}') @ i:{s}", m=["one_hot", "multi_hot", "count"], s=["1", "3"])
    yield from _grid(
        "L.Discretization([-1.0, 0.0, 0.5], output_mode='{m}') @ {s}", m=["int", "one_hot", "multi_hot", "count"], s=["3", "1"]
    )
    yield from ["L.MelSpectrogram() @ 4096", "L.AutoContrast() @ 6,8,3", "L.Solarization() @ 6,8,3"]
    yield from _grid(
        "L.TimeDistributed(L.{n}) @ 4,6,8,3",
        n=["Conv2D(4, 3)", "Flatten()", "Dense(4)", "BatchNormalization()", "MaxPooling2D(2)", "GlobalAveragePooling2D()"],
    )
    yield from _grid("L.MultiHeadAttention(2, {d}, value_dim={v}, use_bias={u}) @ 4,6 5,6", d=[3, 5], v=[None, 4], u=flags)
    yield from _grid("L.MultiHeadAttention(3, 4, dropout={d}, output_shape={o}) @ 4,6 5,6 5,6", d=[0.0, 0.2], o=[None, 7, (2, 3)])
    yield from [
        "L.MultiHeadAttention(2, 3) @ 4,3,6 5,2,6",
        "L.MultiHeadAttention(2, 3, attention_axes=2) @ 4,3,6 4,5,6",
        "L.MultiHeadAttention(2, 3, attention_axes=1) @ 4,3,6 5,3,6",
        "L.MultiHeadAttention(2, 3, sliding_window=2) @ 5,6 5,6",
        "L.MultiHeadAttention(2, 3, use_gate=True) @ 4,6 5,6",
    ]
    yield from _grid("L.GroupQueryAttention(3, 4, {k}, use_bias={u}, use_gate={g}) @ 4,6 5,6", k=[1, 2, 4], u=flags, g=flags)
    yield from _grid("L.Attention(use_scale={s}, score_mode='{m}') @ 4,6 5,6", s=flags, m=["dot", "concat"])
    yield from _grid("L.{n}({u}) @ 4,6 5,6 5,6", n=["Attention", "AdditiveAttention"], u=["", "use_scale=False"])
    for policy in ("mixed_float16", "mixed_bfloat16", "float16", "float64"):
        yield from [
            f"L.Dense(7, dtype='{policy}') @ 5",
            f"L.Conv2D(4, 3, dtype='{policy}') @ 6,8,3",
            f"L.LayerNormalization(dtype='{policy}') @ 4,5",
            f"L.BatchNormalization(dtype='{policy}') @ 4,5",
            f"L.GroupNormalization(2, dtype='{policy}') @ 5,4",
            f"L.RMSNormalization(dtype='{policy}') @ 4,5",
            f"L.LSTM(4, dtype='{policy}') @ 5,3",
        ]


def cases() -> list[Case]:
    """Every expression once."""
    return [Case(e, _build(e), reference=_reference(e)) for e in dict.fromkeys(_expressions())]


def _reference(expression: str) -> Any:
    found = re.match(r"L.AveragePooling[23]D\(3, strides=(None|2), padding='same'\)", expression)
    stride = 0 if found is None else 3 if found[1] == "None" else 2
    return (lambda x: _mean_of_windows(x, stride)) if stride else None


def _build(expression: str) -> Any:
    text, _, shapes = expression.partition(" @ ")

    def make() -> Any:
        layer = eval(text, {"L": keras.layers, "np": np})
        ins = []
        for i, part in enumerate(shapes.split()):
            kind, _, sizes = part.rpartition(":")
            dtype = {"i": "int32", "b": "bool"}.get(kind, "float32")
            ins.append(keras.Input(tuple(int(n) for n in sizes.split(",")), dtype=dtype, name=f"x{i}"))
        by_position = isinstance(layer, (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention))
        y = layer(*ins) if by_position else layer(ins if len(ins) > 1 else ins[0])
        return keras.Model(ins, y, name="m")

    return make

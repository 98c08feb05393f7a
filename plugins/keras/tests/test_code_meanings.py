"""What functions of TensorFlow and of ``keras.backend`` mean in source, by numpy and torch, with arguments off their defaults."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_code_python import MORE, _domain

from convcore.interpreter.execute import Interpreter
from convcore_keras.code.source.library import SourceFile
from convcore_keras.code.source.module import Env, SourceModule

torch = pytest.importorskip("torch")
F = torch.nn.functional

RNG = np.random.default_rng(11)
GIVEN: dict[str, np.ndarray] = {
    "x": RNG.normal(0, 2, (2, 3, 5)).astype(np.float32), "v": np.array([0.5, -2.0, 3.0, 0.25], np.float32),
    "i": np.array([2, 0], np.int32), "m": RNG.normal(0, 2, (1, 8, 9, 3)).astype(np.float32),
}  # fmt: skip
KERNEL = np.arange(2 * 3 * 3 * 4, dtype=np.float32).reshape(2, 3, 3, 4) % 7 - 3
DEPTHWISE = np.arange(2 * 3 * 3 * 2, dtype=np.float32).reshape(2, 3, 3, 2) % 5 - 2
W = "tf.reshape(tf.cast(tf.range(72) % 7, 'float32') - 3.0, (2, 3, 3, 4))"
D = "tf.reshape(tf.cast(tf.range(36) % 5, 'float32') - 2.0, (2, 3, 3, 2))"


def spatial(y: Any) -> np.ndarray:
    return y.permute(0, 2, 3, 1).numpy()


def image(m: np.ndarray, pads: tuple[int, ...] = (0, 0, 0, 0), value: float = 0.0) -> Any:
    """Channels first, with (left, right, top, bottom) around."""
    return F.pad(torch.tensor(m).permute(0, 3, 1, 2), pads, value=value)


def conv(m: np.ndarray, pads: tuple[int, ...], **how: Any) -> np.ndarray:
    return spatial(F.conv2d(image(m, pads), torch.tensor(KERNEL).permute(3, 2, 0, 1), **how))


def depthwise(m: np.ndarray, pads: tuple[int, ...], **how: Any) -> np.ndarray:
    w = torch.tensor(DEPTHWISE).permute(2, 3, 0, 1).reshape(6, 1, 2, 3)
    return spatial(F.conv2d(image(m, pads), w, groups=3, **how))


def maximum(m: np.ndarray, size: Any, step: Any, pads: tuple[int, ...] = (0, 0, 0, 0)) -> np.ndarray:
    return spatial(F.max_pool2d(image(m, pads, -np.inf), size, step))


def mean(m: np.ndarray, size: Any, step: Any, pads: tuple[int, ...] = (0, 0, 0, 0)) -> np.ndarray:
    total = F.avg_pool2d(image(m, pads), size, step)
    return spatial(total / F.avg_pool2d(image(np.ones_like(m), pads), size, step))


def windows(m: np.ndarray, n: int, step: int) -> np.ndarray:
    rows, columns = ((s - n) // step + 1 for s in m.shape[1:3])
    cut = [[m[:, r * step : r * step + n, c * step : c * step + n] for c in range(columns)] for r in range(rows)]
    return np.stack([np.stack([w.reshape(len(m), -1) for w in row], 1) for row in cut], 1)


Judge = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], Any]
CASES: dict[str, Judge] = {
    # ---- convolutions and windows
    f"tf.nn.conv2d(m, {W}, 1, 'VALID')": lambda x, v, i, m: conv(m, (0, 0, 0, 0)),
    f"tf.nn.conv2d(m, {W}, [1, 2, 3, 1], 'SAME')": lambda x, v, i, m: conv(m, (0, 0, 0, 0), stride=(2, 3)),
    f"tf.nn.conv2d(m, {W}, strides=(2, 1), padding='same')": lambda x, v, i, m: conv(m, (1, 1, 0, 0), stride=(2, 1)),
    f"tf.nn.conv2d(m, filters={W}, strides=1, padding='VALID', dilations=[1, 2, 3, 1])":
        lambda x, v, i, m: conv(m, (0, 0, 0, 0), dilation=(2, 3)),
    f"K.conv2d(m, {W}, strides=(3, 2), padding='valid')": lambda x, v, i, m: conv(m, (0, 0, 0, 0), stride=(3, 2)),
    f"tf.nn.depthwise_conv2d(m, {D}, [1, 1, 1, 1], 'SAME')": lambda x, v, i, m: depthwise(m, (1, 1, 0, 1)),
    f"K.depthwise_conv2d(m, {D}, strides=(2, 2), padding='valid')": lambda x, v, i, m: depthwise(m, (0, 0, 0, 0), stride=2),
    "tf.nn.max_pool2d(m, 2, 3, 'VALID')": lambda x, v, i, m: maximum(m, 2, 3),
    "tf.nn.max_pool2d(m, (2, 3), (1, 2), 'SAME')": lambda x, v, i, m: maximum(m, (2, 3), (1, 2), (1, 1, 0, 1)),
    "tf.nn.max_pool(m, ksize=[1, 3, 2, 1], strides=[1, 2, 1, 1], padding='VALID')": lambda x, v, i, m: maximum(m, (3, 2), (2, 1)),
    "tf.nn.avg_pool2d(m, (3, 2), 2, 'VALID')": lambda x, v, i, m: mean(m, (3, 2), 2),
    "tf.nn.avg_pool2d(m, 3, 1, 'SAME')": lambda x, v, i, m: mean(m, 3, 1, (1, 1, 1, 1)),
    "K.pool2d(m, (2, 3))": lambda x, v, i, m: maximum(m, (2, 3), 1),
    "K.pool2d(m, (2, 3), (2, 1), pool_mode='avg')": lambda x, v, i, m: mean(m, (2, 3), (2, 1)),
    "K.pool2d(m, (2, 2), strides=(3, 3), padding='same', pool_mode='max')": lambda x, v, i, m: maximum(m, 2, 3, (0, 0, 0, 0)),
    "tf.image.extract_patches(m, [1, 3, 3, 1], [1, 2, 2, 1], [1, 1, 1, 1], 'VALID')": lambda x, v, i, m: windows(m, 3, 2),
    "K.resize_images(m, 2, 3, 'channels_last')": lambda x, v, i, m: m.repeat(2, 1).repeat(3, 2),
    "K.temporal_padding(x)": lambda x, v, i, m: np.pad(x, ((0, 0), (1, 1), (0, 0))),
    "K.temporal_padding(x, (2, 0))": lambda x, v, i, m: np.pad(x, ((0, 0), (2, 0), (0, 0))),
    "K.spatial_2d_padding(m)": lambda x, v, i, m: np.pad(m, ((0, 0), (1, 1), (1, 1), (0, 0))),
    "K.spatial_2d_padding(m, padding=((0, 2), (3, 1)))": lambda x, v, i, m: np.pad(m, ((0, 0), (0, 2), (3, 1), (0, 0))),
    # ---- functions of numbers
    "K.relu(x)": lambda x, v, i, m: np.maximum(x, 0),
    "K.relu(x, 0.25)": lambda x, v, i, m: np.where(x > 0, x, 0.25 * x),
    "K.relu(x, max_value=1.5)": lambda x, v, i, m: np.clip(x, 0, 1.5),
    "K.relu(x, threshold=0.5)": lambda x, v, i, m: np.where(x >= 0.5, x, 0),
    "K.relu(x, alpha=0.5, max_value=1.0, threshold=0.25)":
        lambda x, v, i, m: np.minimum(np.where(x >= 0.25, x, 0.5 * (x - np.float32(0.25))), 1),
    "K.sqrt(v)": lambda x, v, i, m: np.sqrt(np.maximum(v, 0)),
    "K.hard_sigmoid(x)": lambda x, v, i, m: np.clip(np.float32(0.2) * x + np.float32(0.5), 0, 1),
    "K.l2_normalize(x, 1)": lambda x, v, i, m: x / np.sqrt((x * x).sum(1, keepdims=True)),
    "K.l2_normalize(x * 1e-8, axis=-1)": lambda x, v, i, m: x * np.float32(1e-2),
    "tf.nn.l2_normalize(x, dim=[0, 2], epsilon=100.0)":
        lambda x, v, i, m: x / np.sqrt(np.maximum((x * x).sum((0, 2), keepdims=True), 100)),
    "tf.norm(x)": lambda x, v, i, m: np.sqrt((x * x).sum()),
    "tf.norm(x, ord=2, axis=1, keepdims=True)": lambda x, v, i, m: np.sqrt((x * x).sum(1, keepdims=True)),
    "tf.norm(x, axis=[0, 2])": lambda x, v, i, m: np.sqrt((x * x).sum((0, 2))),
    "x / K.epsilon()": lambda x, v, i, m: x / np.float32(1e-7),
    "tf.math.squared_difference(x, 1.5)": lambda x, v, i, m: (x - 1.5) ** 2,
    "abs(x) + (x if K.floatx() == 'float32' else 0)": lambda x, v, i, m: abs(x) + x,
    # ---- shapes, parts, items
    "K.batch_flatten(x)": lambda x, v, i, m: x.reshape(2, 15),
    "K.repeat(x[:, 0], 3)": lambda x, v, i, m: np.stack([x[:, 0]] * 3, 1),
    "x * K.int_shape(x)[2] + K.ndim(x) + tf.rank(m) * 10": lambda x, v, i, m: x * 5 + 3 + 40,
    "x[:, :len(v) - 2]": lambda x, v, i, m: x[:, :2],
    "tf.gather(x, i, axis=1)": lambda x, v, i, m: x[:, i],
    "tf.gather(x, i, axis=-1)": lambda x, v, i, m: x[..., i],
    "K.gather(v, i)": lambda x, v, i, m: v[i],
    "tf.split(x, [1, 4], axis=-1)[1]": lambda x, v, i, m: x[..., 1:],
    "tf.split(x, [0, 3], axis=1)[1]": lambda x, v, i, m: x,
    "tf.split(x, 3, 1)[2]": lambda x, v, i, m: x[:, 2:],
    "tf.split(m, 4, axis=1)[3]": lambda x, v, i, m: m[:, 6:],
    "tf.slice(x, [0, 1, 2], [-1, 1, 2])": lambda x, v, i, m: x[:, 1:2, 2:4],
    "K.slice(x, start=(0, 0, 3), size=(-1, 2, -1))": lambda x, v, i, m: x[:, :2, 3:],
    "tf.one_hot(i, 3)": lambda x, v, i, m: np.eye(3, dtype=np.float32)[i],
    "tf.one_hot(i, 4, axis=0, dtype='int32')": lambda x, v, i, m: np.eye(4, dtype=np.int32)[i].T,
    "K.one_hot(i, num_classes=5)": lambda x, v, i, m: np.eye(5, dtype=np.float32)[i],
    "tf.pad(x, [[0, 0], [1, 2], [3, 0]])": lambda x, v, i, m: np.pad(x, ((0, 0), (1, 2), (3, 0))),
    "tf.pad(x, [[0, 0], [1, 0], [0, 2]], constant_values=1.5)":
        lambda x, v, i, m: np.pad(x, ((0, 0), (1, 0), (0, 2)), constant_values=1.5),
    "tf.pad(x, ((0, 0), (2, 1), (1, 3)), 'REFLECT')": lambda x, v, i, m: np.pad(x, ((0, 0), (2, 1), (1, 3)), "reflect"),
    "tf.pad(x, ((0, 0), (3, 1), (1, 5)), mode='symmetric')": lambda x, v, i, m: np.pad(x, ((0, 0), (3, 1), (1, 5)), "symmetric"),
    "tf.where(x > 0.5, x, 2.0)": lambda x, v, i, m: np.where(x > 0.5, x, 2),
    # ---- constants
    "x * tf.constant([1, 2, 3, 4, 5], dtype='float32')": lambda x, v, i, m: x * np.arange(1, 6),
    "v + tf.constant(2.5, shape=(4,))": lambda x, v, i, m: v + 2.5,
    "v + tf.reshape(tf.constant([1.0, 2.0, 3.0, 4.0], shape=(2, 2)), (4,))": lambda x, v, i, m: v + np.arange(1, 5),
    "tf.cast(tf.constant([True, False]), 'float32') + v[:2]": lambda x, v, i, m: v[:2] + [1, 0],
    "i + tf.constant([1, 2])": lambda x, v, i, m: i + np.array([1, 2], np.int32),
    "tf.convert_to_tensor(v) * np.float32(2)": lambda x, v, i, m: v * 2,
    "K.constant([[1, 2]], dtype='int32') + i": lambda x, v, i, m: i + np.array([[1, 2]], np.int32),
}  # fmt: skip


@pytest.mark.parametrize("text", CASES)
def test_what_it_computes(text: str) -> None:
    h, d, tensors = _domain()
    file = SourceFile(Path("f.py"), Path())
    file.__dict__["tree"] = ast.parse(MORE)
    d.settling = True
    found = d.evaluate(ast.parse(text, mode="eval").body, Env(SourceModule(file, d), values=dict(zip("xvim", tensors))))
    graph = h.g.b.graph
    graph.outputs = [found]
    (got,) = Interpreter(graph).run([GIVEN[v.name] for v in graph.inputs])
    want = np.asarray(CASES[text](*GIVEN.values()))
    assert got.shape == want.shape and got.dtype.kind == want.dtype.kind
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)

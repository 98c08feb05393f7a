"""Generators, iterators and functions of functions in the source of layers: against Python itself, and against numpy."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import load_graph, problems, randomise
from sweeps.custom_cases import cases
from sweeps.judge import judge

import convcore
from convcore.interpreter.execute import Interpreter

HEAD = """
import itertools
import functools
import keras
from keras import backend as K
from keras import layers, ops
import tensorflow as tf


class Mine(layers.Layer):
    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1],), name="w")

    def call(self, x):
        w = self.w
"""
A = np.arange(1, 13, dtype=np.float32).reshape(3, 4) / 8
W = np.array([0.5, -0.25, 2, 1], np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose layer is ``Mine`` with the weight W."""

    class Mine(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(shape[-1],), name="w")

        def call(self, x: Any) -> Any:
            return x * self.w

    path = tmp_path_factory.mktemp("loops") / "m.keras"
    x = keras.Input((4,), name="x")
    made = keras.Model(x, Mine(name="mine")(x))
    randomise(made)
    made.layers[1].set_weights([W])
    made.save(path)
    return path


def _load(model: Path, folder: Path, body: str) -> Any:
    (folder / "mine.py").write_text(HEAD + textwrap.indent(body, " " * 8) + "\n")
    return load_graph(model, options={"custom": [str(folder / "mine.py")]})


# ---- iterators: what Python computes with numbers
ITERATORS = [
    "def pairs(n):\n    for i in range(n):\n        yield i, i + 1\ny = 0\nfor a, b in pairs(3):\n    y += a * b\nreturn x * y",
    "g = (i for i in range(4))\na = list(g)\nb = list(g)\nreturn x * (len(a) * 10 + len(b))",
    "s = 1\nt = 0\nfor y in (i * s for i in range(4)):\n    s = s + 1\n    t = t + y\nreturn x * t",
    "def naturals():\n    n = 0\n    while True:\n        yield n\n        n += 1\nt = 0\n"
    "for a, b in zip(naturals(), (5, 6, 7)):\n    t += a * b\nreturn x * t",
    "def inner():\n    yield 1\n    yield 2\ndef outer():\n    yield from inner()\n    if True:\n        yield 3\n"
    "        return\n    yield 9\nreturn x * sum(outer())",
    "def some():\n    for i in range(9):\n        if i == 1:\n            continue\n        if i == 4:\n            break\n"
    "        yield i\n    else:\n        yield 100\nreturn x * sum(some())",
    "def some():\n    i = 0\n    while i < 3:\n        yield i\n        i += 1\n    else:\n        yield 100\n"
    "return x * sum(some())",
    "seen = []\ndef noisy():\n    for i in range(5):\n        seen.append(i)\n        yield i\nfor i in noisy():\n"
    "    if i == 2:\n        break\nreturn x * (sum(seen) + 10 * len(seen))",
    "it = iter((2, 3))\na = next(it)\nb = next(it)\nc = next(it, 5)\nreturn x * (a * 100 + b * 10 + c)",
    "fs = map(lambda k: k * z, (1, 2))\nz = 7\nreturn x * sum(fs)",
    "z = [1]\nfor k in z:\n    if k < 4:\n        z.append(k + 1)\nreturn x * len(z)",
    "return x * (1 if any(k > 2 for k in (1, 3)) and not all(k > 2 for k in (1, 3)) else 0)",
    "try:\n    next(iter(()))\nexcept StopIteration:\n    return x * 3\nreturn x",
    "d = dict(zip('ab', (2, 3)))\nreturn x * (d['a'] + d['b'] + max(k for k in (1, 5)) + min(k for k in (4, 5)))",
    "a, *b = (k for k in range(3))\nreturn x * (a + sum(b) + len([*map(str, b)]) + len(','.join(str(k) for k in b)))",
    "a = [9]\na.extend(k for k in range(3))\na += filter(None, (0, 5))\nreturn x * sum(a)",
    "return x * sum(i * v for i, v in enumerate(reversed((4, 5, 6)), 1))",
    "return x * functools.reduce(lambda a, b: a * b, (k for k in (2, 3, 4)))",
    "return x * sum(a * b for a, b in itertools.product((1, 2), (3, 4)))",
    "return x * sum(itertools.islice(itertools.count(3, 2), 1, 4))",
    "return x * sum(itertools.chain((1, 2), [3], itertools.chain.from_iterable(((4,), (5, 6)))))",
    "return x * sum(a - 2 * b for a, b in itertools.permutations((1, 2, 3), 2)) + x * sum(itertools.accumulate((1, 2, 3)))",
    "return x * sum(itertools.accumulate((1, 2, 3), lambda a, b: a * 2 + b, initial=4))",
    "return x * sum(a * b for (a, b), _ in zip(itertools.combinations((1, 2, 3), 2), itertools.cycle((0, 1))))",
    "return x * sum(a * (b or 7) for a, b in itertools.zip_longest((1, 2, 3), (4,), fillvalue=0))",
    "return x * sum(itertools.starmap(lambda a, b: a * b, [(1, 2), (3, 4)])) + x * sum(itertools.repeat(2, 3))",
    "return x * sum(b - a for a, b in itertools.pairwise((1, 3, 7)))",
    "import collections.abc\n"
    "return x * (3 if isinstance((k for k in ()), collections.abc.Iterable) and not callable(iter(())) else 5)",
]


@pytest.mark.parametrize("body", ITERATORS)
def test_iterators_give_what_python_gives(model: Path, tmp_path: Path, body: str) -> None:
    graph = _load(model, tmp_path, body)
    assert not problems(graph), problems(graph)
    names: dict[str, Any] = {}
    exec("import functools, itertools\ndef f(x):\n" + textwrap.indent(body, "    "), names)
    np.testing.assert_array_equal(Interpreter(graph).run([A])[0], names["f"](A))


REFUSED = {
    "yields inside an expression": "def g():\n    y = yield 1\nreturn x * sum(g())",
    "yields inside a with block": "def g():\n    with tf.name_scope('a'):\n        yield 1\nreturn x * sum(g())",
    "yields inside a try statement": "def g():\n    try:\n        yield 1\n    finally:\n        pass\nreturn x * sum(g())",
    "takes more than": "def g():\n    while True:\n        yield 1\nfor k in g():\n    pass\nreturn x",
    "makes a sequence of more than": "return x * len(list(itertools.count()))",
    "iterates over the": "pass\nreturn x * len(k for k in (1,))",
    "takes an item of": "return x * zip((1,), (2,))[0][0]",
    "calls zip() with strict=True": "return x * len(list(zip((1,), (2,), strict=True)))",
    "calls map() with arguments": "return x * sum(map(k=3))",
    "has no order from its end": "return x * sum(reversed(iter((1, 2))))",
    "an item after its last": "return x * next(iter(()))",
    "something that is no iterator": "return x * next((1, 2))",
    "hands a generator expression to keras.ops.stack": "return ops.stack(k * x for k in (1, 2))",
    "calls itertools.groupby, which": "return x * len(list(itertools.groupby((1, 2))))",
    "chooses among too many": "return x * len(list(itertools.product((1, 2), repeat=40)))",
    "of the generator g: only its items": "def g():\n    yield 1\nreturn x * g().send(None)",
    "calls the generator g": "def g():\n    yield 1\nreturn x * g()()",
    "branches on the value of a tensor": "def g():\n    if ops.max(x) > 1:\n        yield 1\nreturn x * sum(g())",
    "reduces no items": "return x * functools.reduce(lambda a, b: a, ())",
    "counts by something": "return x * sum(itertools.islice(itertools.count(0.5), 3))",
    # ---- functions of functions
    "becomes int32": "return x * tf.cast(tf.foldl(lambda a, r: 1, x, initializer=0.), 'float32')",
    "and gets (4)": "return x * tf.foldl(lambda a, r: a + r, x, initializer=0.)",
    "where float32 is stated": "return x * tf.map_fn(lambda r: r[0] > 1, x, dtype=tf.float32)",
    "which is no tensor": "return tf.map_fn(lambda r: 'a', x)",
    "has a loop of 1 states whose step gives 2": "return tf.while_loop(lambda y: True, lambda y: (y, y), [x])[0]",
    "is no truth value": "return tf.while_loop(lambda y: y, lambda y: [y], [x])[0]",
    "with states of shapes that change": "return tf.while_loop(lambda y: True, lambda y: [y], [x], shape_invariants=[None])[0]",
    "times that is not known": "return ops.while_loop(lambda y: True, lambda y: y, x, maximum_iterations=x)",
    "loops over a range that is not known": "return ops.fori_loop(0, x.shape[0], lambda i, y: y, x)",
    "loops over no tensor": "return ops.scan(lambda c, _: (c, c), x)[0]",
    "does not give a carry and a result": "return ops.scan(lambda c, r: c, x[0], x)[0]",
    "more than two arguments by position": "return tf.map_fn(lambda r: r, x, None, 10)",
    "more than three arguments by position": "return tf.while_loop(lambda y: True, lambda y: y, [x], [None])[0]",
    "maps a function over nothing": "return ops.map(lambda r: r, [])",
    "with the time first": "return K.rnn(lambda t, s: (t, s), x[:, :, None], [x], time_major=True)[0]",
    "one tensor of a batch and of time": "return K.rnn(lambda t, s: (t, s), x[0], [x])[0]",
    "a step that does not give an output": "return K.rnn(lambda t, s: t, x[:, :, None], [x])[0]",
    "a mask that is no truth values": "return K.rnn(lambda t, s: (t, s), x[:, :, None], [x], mask=x)[0]",
    "mask that is not (batch, time)": "return K.rnn(lambda t, s: (t, s), x[:, :, None], [x], mask=x[0])[0]",
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_what_is_not_followed_is_refused(model: Path, tmp_path: Path, why: str) -> None:
    (found,) = problems(_load(model, tmp_path, "self.w\n" + REFUSED[why]))
    if why != "iterates over the":  # Python's own words for it
        assert why in found.why
    assert f"{tmp_path / 'mine.py'}:" in found.why


# ---- functions of functions: what numpy computes
def _fold(x: Any, start: Any) -> Any:
    for row in x:
        start = start * 0.5 + row
    return start


def _states(x: Any) -> Any:
    found, a = [], np.zeros(4)
    for row in x:
        a = a * 0.5 + row
        found.append(a)
    return np.stack(found)


def _doubled(y: Any) -> Any:
    while y.max() < 100:
        y = y * 2
    return y


def _recurrent(x: Any, w: Any, keep: Any, zero: bool, back: bool) -> Any:
    over = np.stack([x, x * 2, x * 3], 1)
    y, s, ys = np.zeros_like(x), x, []
    for t in range(3)[:: -1 if back else 1]:
        k = keep[:, t : t + 1]
        y = np.where(k, over[:, t] + s * w, np.zeros_like(y) if zero else y)
        s = np.where(k, s + over[:, t], s)
        ys.append(y)
    return ys[-1] + ys[0] * s


KEEP = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]], bool)
RNN = "xs = ops.stack([x, x * 2, x * 3], axis=1)\n"
RNN += "keep = ops.stack([x[:, 0] != 0.625, x[:, 0] != 1.125, x[:, 0] != 0.125], 1)\n"
STEP = "last, ys, (s,) = K.rnn(lambda t, s: (t + s[0] * s[1], [s[0] + t]), xs, [x], constants=[w]{})\nreturn last + ys[:, 0] * s"
Want = Callable[[Any, Any], Any]
HIGHER: dict[str, Want] = {
    "return tf.map_fn(lambda r: tf.cumsum(r) * w, x)": lambda x, w: np.cumsum(x, -1) * w,
    "return tf.vectorized_map(lambda r: tf.cumsum(r) * w, x)": lambda x, w: np.cumsum(x, -1) * w,
    "return K.map_fn(lambda r: K.sum(r) * r, x)": lambda x, w: x.sum(-1, keepdims=True) * x,
    "return x * tf.cast(tf.map_fn(lambda r: r[0] > 1., x, dtype=tf.bool), 'float32')[:, None]": lambda x, w: x * (x[:, :1] > 1),
    "d = tf.map_fn(lambda t: {'b': t[0] + t[1], 'a': t[0] - x[0, 0]}, (x, x * 3), "
    "fn_output_signature={'a': tf.float32, 'b': tf.float32})\nreturn d['a'] * d['b']": lambda x, w: 4 * x * (x - x[0, 0]),
    "return ops.map(lambda r: ops.map(lambda e: e * ops.sum(r) + ops.sum(w), r), x)":
        lambda x, w: x * x.sum(-1, keepdims=True) + w.sum(),
    "return x + tf.foldl(lambda a, r: a * 0.5 + r, x, initializer=tf.zeros((4,)))": lambda x, w: x + _fold(x, 0),
    "return x * tf.foldl(lambda a, r: a - r, x)": lambda x, w: x * (x[0] - x[1:].sum(0)),
    "return x * K.foldr(lambda a, r: a * 0.5 + r, x, K.zeros((4,)))": lambda x, w: x * _fold(x[::-1], 0),
    "return x * tf.foldr(lambda a, r: a * 0.5 + r, x)": lambda x, w: x * _fold(x[::-1][1:], x[-1]),
    "return tf.scan(lambda a, r: a * 0.5 + r, x, initializer=tf.zeros((4,)))": lambda x, w: _states(x),
    "return tf.scan(lambda a, r: a * 0.5 + r, x)": lambda x, w: _states(x),
    "return tf.scan(lambda a, r: a * 0.5 + r, x, reverse=True)": lambda x, w: _states(x[::-1])[::-1],
    "return ops.scan(lambda c, _: (c * w, c), x, length=3)[1][2]": lambda x, w: x * w * w,
    "return ops.scan(lambda c, _: (c * w, c), x, length=3, reverse=True)[1][0]": lambda x, w: x * w * w,
    "i, y = tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 2 + w), [tf.constant(0), x])\nreturn y":
        lambda x, w: ((x * 2 + w) * 2 + w) * 2 + w,
    "i, y = ops.while_loop(lambda i, y: i <= 4, lambda i, y: (i + 2, y * 2), (0, x))\nreturn y": lambda x, w: x * 8,
    "i, y = ops.while_loop(lambda i, y: i < 4, lambda i, y: (i + 2, y * 2), (9, x))\nreturn y": lambda x, w: x,
    "i, y = ops.while_loop(lambda i, y: i < 9, lambda i, y: (i + 1, y * 2), (0, x), 3)\nreturn y": lambda x, w: x * 8,
    "y, = tf.while_loop(lambda y: tf.reduce_max(y) < 100., lambda y: [y * 2], [x])\nreturn y": lambda x, w: _doubled(x),
    "y, = tf.while_loop(lambda y: tf.reduce_max(y) < 100., lambda y: [y * 2], [x], maximum_iterations=2)\nreturn y":
        lambda x, w: x * 4,
    "i, s = ops.while_loop(lambda i, s: ops.sum(x[:, i]) < 3., lambda i, s: (i + 1, s + x[..., i]), (0, x[:, 0] * 0))\n"
    "return x * s[:, None]": lambda x, w: x * x[:, : int(np.argmax(x.sum(0) >= 3))].sum(1, keepdims=True),
    "return ops.fori_loop(1, 4, lambda i, y: y + x[:, i][:, None] * x[-1, i, None], x)":
        lambda x, w: x + (x * x[-1])[:, 1:].sum(1, keepdims=True),
    RNN + STEP.format(""): lambda x, w: _recurrent(x, w, KEEP | True, False, False),
    RNN + STEP.format(", mask=keep"): lambda x, w: _recurrent(x, w, KEEP, False, False),
    RNN + STEP.format(", mask=keep, go_backwards=True"): lambda x, w: _recurrent(x, w, KEEP, False, True),
    RNN + STEP.format(", mask=keep, zero_output_for_mask=True"): lambda x, w: _recurrent(x, w, KEEP, True, False),
}  # fmt: skip


@pytest.mark.parametrize("body", HIGHER)
def test_functions_of_functions(model: Path, tmp_path: Path, body: str) -> None:
    graph = _load(model, tmp_path, body + "\nself.w")
    assert not problems(graph), problems(graph)
    np.testing.assert_allclose(Interpreter(graph).run([A])[0], HIGHER[body](A.astype(np.float64), W), rtol=1e-5)


def test_a_loop_that_counts_is_written_out_where_a_target_has_none(model: Path, tmp_path: Path) -> None:
    """The number of its steps is stated, so that Keras gets them one by one; another is refused there, and a loop in ONNX."""
    counted = "i, y = tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 2 + w), [tf.constant(0), x])\nreturn y"
    _load(model, tmp_path, counted)
    source = str(tmp_path / "mine.py")
    assert convcore.convert(str(model), "keras", str(tmp_path / "o.keras"), custom=source).report.ok
    _load(model, tmp_path, "y, = tf.while_loop(lambda y: tf.reduce_max(y) < 100., lambda y: [y * 2 + ops.abs(w)], [x])\nreturn y")
    (found,) = convcore.check(str(model), "keras", custom=source)
    assert "no control flow that can be saved" in found.why
    assert convcore.convert(str(model), "onnx", str(tmp_path / "o.onnx"), custom=source).report.ok


BESIDE = [c for c in cases() if c.name in ("Viterbi", "PairwiseProducts", "SlotwiseNorm")]


@pytest.mark.parametrize("case", BESIDE, ids=lambda c: c.name)
def test_layers_beside_keras(case: Any) -> None:
    verdict = judge(case, ("onnx",))
    assert verdict.what == "agree", verdict.why

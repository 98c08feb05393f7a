"""Layers that go over time, samples or steps by functions of functions, and by generators of their own."""

import itertools

import keras
from keras import layers, ops


def windows(size, stride, length):
    """Begin and end of each window."""
    start = 0
    while start + size <= length:
        yield start, start + size
        start += stride


@keras.saving.register_keras_serializable(package="loops")
class WindowMeans(layers.Layer):
    """The mean of each window over time, stacked."""

    def __init__(self, size=3, stride=2, **kwargs):
        super().__init__(**kwargs)
        self.size, self.stride = size, stride

    def call(self, x):
        parts = (ops.mean(x[:, a:b], axis=1) for a, b in windows(self.size, self.stride, x.shape[1]))
        return ops.stack(list(parts), axis=1)

    def get_config(self):
        return {**super().get_config(), "size": self.size, "stride": self.stride}


@keras.saving.register_keras_serializable(package="loops")
class PairwiseProducts(layers.Layer):
    """Products of all pairs of fields, weighted (a factorisation machine's second order)."""

    def build(self, shape):
        self.n = shape[1]
        self.scale = self.add_weight(shape=(self.n * (self.n - 1) // 2,), name="scale", initializer="ones")

    def call(self, x):
        pairs = itertools.combinations(range(self.n), 2)
        terms = [self.scale[k] * x[:, i] * x[:, j] for k, (i, j) in enumerate(pairs)]
        return sum(terms)


@keras.saving.register_keras_serializable(package="loops")
class ExponentialAverage(layers.Layer):
    """A running mean over time with a learned decay, by scan."""

    def build(self, shape):
        self.decay = self.add_weight(shape=(shape[-1],), name="decay", initializer="zeros")

    def call(self, x):
        rate = ops.sigmoid(self.decay)

        def step(carry, now):
            new = rate * carry + (1 - rate) * now
            return new, new

        over = ops.transpose(x, (1, 0, 2))
        _, means = ops.scan(step, ops.zeros_like(over[0]), over)
        return ops.transpose(means, (1, 0, 2))


@keras.saving.register_keras_serializable(package="loops")
class Viterbi(layers.Layer):
    """The scores of the best paths, forwards and backwards."""

    def build(self, shape):
        self.transitions = self.add_weight(shape=(shape[-1], shape[-1]), name="transitions")

    def call(self, x):
        over = ops.transpose(x, (1, 0, 2))

        def step(alpha, emission):
            best = ops.max(ops.expand_dims(alpha, 2) + self.transitions, axis=1)
            return best + emission, best

        last, forwards = ops.scan(step, over[0], over[1:])
        _, backwards = ops.scan(step, over[-1], over[:-1], reverse=True)
        return last, ops.transpose(forwards + backwards, (1, 0, 2))


@keras.saving.register_keras_serializable(package="loops")
class PowerIteration(layers.Layer):
    """A kernel divided by its largest singular value, found in a loop of a fixed number of steps."""

    def __init__(self, units, steps=5, **kwargs):
        super().__init__(**kwargs)
        self.units, self.steps = units, steps

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")

    def call(self, x):
        def step(i, u):
            v = ops.matmul(u, self.kernel)
            u = ops.matmul(v, ops.transpose(self.kernel))
            return u / ops.sqrt(ops.sum(ops.square(u)) + 1e-6)

        u = ops.fori_loop(0, self.steps, step, ops.ones((1, self.kernel.shape[0])))
        sigma = ops.sqrt(ops.sum(ops.square(ops.matmul(u, self.kernel))))
        return ops.matmul(x, self.kernel / sigma)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "steps": self.steps}


@keras.saving.register_keras_serializable(package="loops")
class FixedPoint(layers.Layer):
    """Steps of a contraction, by a loop that counts."""

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], shape[-1]), name="w")

    def call(self, x):
        def go_on(i, y):
            return i < 4

        def step(i, y):
            return i + 1, ops.tanh(ops.matmul(y, self.w) * 0.1 + x)

        _, y = ops.while_loop(go_on, step, (0, ops.zeros_like(x)))
        return y


@keras.saving.register_keras_serializable(package="loops")
class SlotwiseNorm(layers.Layer):
    """Each slot normalised by itself, mapped over slots."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(5)

    def build(self, shape):
        self.dense.build((shape[0], shape[2]))

    def call(self, x):
        def one(slot):
            mean = ops.mean(slot, axis=-1, keepdims=True)
            return self.dense(slot - mean)

        return ops.transpose(ops.map(one, ops.transpose(x, (1, 0, 2))), (1, 0, 2))

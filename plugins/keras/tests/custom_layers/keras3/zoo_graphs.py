"""Layers in the styles of public collections: graph networks, recommenders, series. Written for the tests; nothing is copied."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections import namedtuple
from typing import Any, Dict, List, Optional, Sequence, Tuple

import keras
import numpy as np
from keras import activations, constraints, initializers, layers, ops, regularizers
from keras.layers import Dense, Layer


def _degree_power(adjacency, power):
    degree = ops.sum(adjacency, axis=-1)
    return ops.where(degree > 0, ops.power(ops.maximum(degree, 1e-9), power), ops.zeros_like(degree))


class GraphLayer(Layer):
    """What the graph layers share: activation, bias, and how they are configured."""

    def __init__(
        self,
        channels: int,
        activation=None,
        use_bias: bool = True,
        kernel_initializer="glorot_uniform",
        kernel_regularizer=None,
        **kwargs,
    ):
        super().__init__(**{k: v for k, v in kwargs.items() if not k.startswith("graph_")})
        self.channels = channels
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.supports_masking = True

    @property
    def base_config(self) -> Dict[str, Any]:
        return {
            "channels": self.channels,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
        }

    def get_config(self):
        return dict(list(super().get_config().items()) + list(self.base_config.items()))


@keras.saving.register_keras_serializable(package="zoo")
class GCN(GraphLayer):
    """Kipf and Welling, dense adjacency, normalised on the way."""

    def build(self, input_shape):
        assert len(input_shape) >= 2
        features, _ = input_shape
        self.kernel = self.add_weight(
            shape=(features[-1], self.channels),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            name="kernel",
        )
        self.bias = self.add_weight(shape=(self.channels,), name="bias") if self.use_bias else None
        self.built = True

    def call(self, inputs, mask=None):
        x, a = inputs
        a = a + ops.eye(a.shape[-1])
        d = _degree_power(a, -0.5)
        a = d[..., :, None] * a * d[..., None, :]
        out = ops.matmul(a, ops.matmul(x, self.kernel))
        if self.bias is not None:
            out += self.bias
        if mask is not None and mask[0] is not None:
            out *= ops.cast(mask[0], out.dtype)[..., None]
        return self.activation(out)


@keras.saving.register_keras_serializable(package="zoo")
class GAT(GraphLayer):
    """Attention over neighbours, one kernel a head in lists."""

    def __init__(self, channels, heads=2, concat_heads=True, **kwargs):
        kwargs.setdefault("activation", "elu")
        super().__init__(channels, **kwargs)
        self.heads, self.concat_heads = heads, concat_heads
        self.kernels, self.attn_kernels = [], []

    def build(self, input_shape):
        dim = input_shape[0][-1]
        for head in range(self.heads):
            self.kernels.append(self.add_weight(shape=(dim, self.channels), name=f"kernel_{head}"))
            pair = tuple(
                self.add_weight(shape=(self.channels, 1), name="attn_{}_{}".format(side, head)) for side in ("self", "neighbor")
            )
            self.attn_kernels.append(pair)

    def call(self, inputs):
        x, a = inputs
        outputs = []
        for kernel, (own, other) in zip(self.kernels, self.attn_kernels):
            f = ops.dot(x, kernel) if len(x.shape) == 2 else ops.matmul(x, kernel)
            logits = ops.leaky_relu(ops.matmul(f, own) + ops.swapaxes(ops.matmul(f, other), -1, -2), negative_slope=0.2)
            logits += -10e9 * (1.0 - a)
            outputs.append(ops.matmul(ops.softmax(logits, axis=-1), f))
        out = ops.concatenate(outputs, axis=-1) if self.concat_heads else ops.mean(ops.stack(outputs), axis=0)
        return self.activation(out)

    def get_config(self):
        return super().get_config() | {"heads": self.heads, "concat_heads": self.concat_heads}


@keras.saving.register_keras_serializable(package="zoo")
class Cheb(GraphLayer):
    """Chebyshev polynomials of a rescaled Laplacian."""

    def __init__(self, channels, K=3, **kwargs):
        super().__init__(channels, **kwargs)
        self.K = K

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(self.K, input_shape[0][-1], self.channels), name="kernel")

    def call(self, inputs):
        x, a = inputs
        t0, t1 = x, None
        out = ops.matmul(t0, self.kernel[0])
        if self.K > 1:
            t1 = ops.matmul(a, x)
            out += ops.matmul(t1, self.kernel[1])
        for k in range(2, self.K):
            t0, t1 = t1, 2 * ops.matmul(a, t1) - t0
            out = out + ops.matmul(t1, self.kernel[k])
        return self.activation(out)

    def get_config(self):
        return {**super().get_config(), "K": self.K}


@keras.saving.register_keras_serializable(package="zoo")
class DiffPool(Layer):
    """Soft clusters; two results and a loss that only training sees."""

    def __init__(self, k, channels=None, **kwargs):
        super().__init__(**kwargs)
        self.k, self.channels = k, channels

    def build(self, input_shape):
        dim = input_shape[0][-1]
        self.assign = self.add_weight(shape=(dim, self.k), name="assign")
        self.embed = self.add_weight(shape=(dim, self.channels or dim), name="embed")

    def call(self, inputs, training=None):
        x, a = inputs
        s = ops.softmax(a @ x @ self.assign, axis=-1)
        z = ops.relu(a @ x @ self.embed)
        st = ops.transpose(s, (0, 2, 1))
        self.add_loss(self.link_loss(a, s)) if training else None
        return st @ z, st @ a @ s

    @staticmethod
    def link_loss(a, s):
        return ops.mean(ops.square(a - s @ ops.transpose(s, (0, 2, 1))))

    def get_config(self):
        return {**super().get_config(), "k": self.k, "channels": self.channels}


class Readout(enum.Enum):
    """How nodes become one vector."""

    SUM = "sum"
    MEAN = "mean"
    GATED = "gated"


READERS = {Readout.SUM: lambda x, g: ops.sum(x, axis=1), Readout.MEAN: lambda x, g: ops.mean(x, axis=1)}


@keras.saving.register_keras_serializable(package="zoo")
class NodeReadout(Layer):
    """A table of functions by an enumeration."""

    def __init__(self, kind="gated", **kwargs):
        super().__init__(**kwargs)
        self.kind = Readout(kind)
        if self.kind is Readout.GATED:
            self.gate = Dense(1, activation="sigmoid", name="gate")

    def call(self, x):
        if self.kind == Readout.GATED:
            return ops.sum(x * self.gate(x), axis=1)
        return READERS[self.kind](x, None)

    def get_config(self):
        return {**super().get_config(), "kind": self.kind.value}


Interest = namedtuple("Interest", ["scores", "pooled"])


@dataclasses.dataclass
class InterestConfig:
    """Sizes of :class:`DeepInterest`."""

    hidden: Tuple[int, ...] = (7, 5)
    activation: str = "sigmoid"
    normalise: bool = False

    @property
    def depth(self) -> int:
        return len(self.hidden)


@keras.saving.register_keras_serializable(package="zoo")
class DeepInterest(Layer):
    """Attention of a candidate over a history, lengths given as an input."""

    def __init__(self, hidden=(7, 5), activation="sigmoid", normalise=False, **kwargs):
        super().__init__(**kwargs)
        self.settings = InterestConfig(tuple(hidden), activation=activation, normalise=normalise)

    def build(self, input_shape):
        self.dense = [Dense(n, activation=self.settings.activation) for n in self.settings.hidden]
        self.score = Dense(1)

    def call(self, inputs):
        query, keys, lengths = inputs
        found = self.attend(query, keys, lengths)
        return found.pooled + 0 * ops.sum(found.scores, axis=1, keepdims=True)

    def attend(self, query, keys, lengths) -> Interest:
        steps = keys.shape[1]
        query = ops.repeat(ops.expand_dims(query, 1), steps, axis=1)
        x = ops.concatenate([query, keys, query - keys, query * keys], axis=-1)
        for dense in self.dense:
            x = dense(x)
        scores = ops.squeeze(self.score(x), axis=-1)
        valid = ops.expand_dims(ops.arange(steps, dtype="int32"), 0) < lengths
        if self.settings.normalise:
            scores = ops.softmax(ops.where(valid, scores, -(2.0**31) + 1))
        else:
            scores = ops.where(valid, scores, ops.zeros_like(scores))
        return Interest(scores=scores, pooled=ops.einsum("bt,btd->bd", scores, keys))

    def get_config(self):
        return {**super().get_config(), **dataclasses.asdict(self.settings)}


@keras.saving.register_keras_serializable(package="zoo")
class Interacting(Layer):
    """AutoInt: heads over fields, with a residual."""

    def __init__(self, att_size=3, head_num=2, use_res=True, scaling=False, **kwargs):
        if head_num <= 0:
            raise ValueError("head_num must be a int > 0")
        self.att_size, self.head_num, self.use_res, self.scaling = att_size, head_num, use_res, scaling
        super(Interacting, self).__init__(**kwargs)

    def build(self, input_shape):
        if len(input_shape) != 3:
            raise ValueError("Unexpected inputs dimensions %d, expect to be 3 dimensions" % (len(input_shape)))
        size = int(input_shape[-1])
        width = self.att_size * self.head_num
        for name in ("query", "key", "value") + (("res",) if self.use_res else ()):
            setattr(self, f"W_{name}", self.add_weight(name=name, shape=[size, width]))
        super(Interacting, self).build(input_shape)

    def call(self, inputs, **kwargs):
        q, k, v = (
            ops.stack(ops.split(ops.tensordot(inputs, getattr(self, "W_" + n), axes=(-1, 0)), self.head_num, axis=2))
            for n in ("query", "key", "value")
        )
        inner = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2)))
        if self.scaling:
            inner /= self.att_size**0.5
        result = ops.matmul(ops.softmax(inner), v)
        result = ops.concatenate(ops.split(result, self.head_num), axis=-1)
        result = ops.squeeze(result, axis=0)
        if self.use_res:
            result += ops.tensordot(inputs, self.W_res, axes=(-1, 0))
        return ops.relu(result)

    def get_config(self):
        config = {"att_size": self.att_size, "head_num": self.head_num, "use_res": self.use_res, "scaling": self.scaling}
        base_config = super(Interacting, self).get_config()
        base_config.update(config)
        return base_config


@keras.saving.register_keras_serializable(package="zoo")
class Time2Vec(Layer):
    """One linear and several periodic features of each value."""

    def __init__(self, kernel_size: int = 3, periodic_activation: str = "sin", **kwargs):
        super().__init__(**kwargs)
        self.k, self.p_activation = kernel_size, periodic_activation

    def build(self, input_shape):
        self.wb = self.add_weight(shape=(input_shape[1],), name="wb")
        self.bb = self.add_weight(shape=(input_shape[1],), name="bb")
        self.wa = self.add_weight(shape=(1, input_shape[1], self.k), name="wa")
        self.ba = self.add_weight(shape=(1, input_shape[1], self.k), name="ba")

    def call(self, inputs):
        bias = self.wb * inputs + self.bb
        act = {"sin": ops.sin, "cos": ops.cos}.get(self.p_activation)
        if act is None:
            raise NotImplementedError(self.p_activation)
        wgts = act(ops.expand_dims(inputs, -1) * self.wa + self.ba)
        ret = ops.concatenate([ops.expand_dims(bias, -1), wgts], -1)
        return ops.reshape(ret, (-1, inputs.shape[1] * (self.k + 1)))

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.k, "periodic_activation": self.p_activation}


@keras.saving.register_keras_serializable(package="zoo")
class BeatsBlock(Layer):
    """A block of N-BEATS: backcast and forecast by a basis of polynomials."""

    def __init__(self, units=5, degree=2, horizon=3, **kwargs):
        super().__init__(**kwargs)
        self.units, self.degree, self.horizon = units, degree, horizon
        self.hidden = [Dense(units, "relu", name=f"fc{i}") for i in range(2)]
        self.theta = Dense(2 * (degree + 1), use_bias=False, name="theta")

    def build(self, input_shape):
        steps = input_shape[-1]
        grid = lambda n: np.stack([np.power(np.arange(n, dtype=np.float32) / n, i) for i in range(self.degree + 1)])
        self.back, self.fore = grid(steps), grid(self.horizon)

    def call(self, x):
        for dense in self.hidden:
            x = dense(x)
        t_b, t_f = ops.split(self.theta(x), 2, axis=-1)
        return tuple(ops.matmul(t, ops.convert_to_tensor(g, dtype="float32")) for t, g in ((t_b, self.back), (t_f, self.fore)))

    def get_config(self):
        return {**super().get_config(), "units": self.units, "degree": self.degree, "horizon": self.horizon}


@keras.saving.register_keras_serializable(package="zoo")
class Beats(Layer):
    """A stack of blocks, each a custom layer inside this one."""

    def __init__(self, blocks: int = 2, horizon: int = 3, **kwargs):
        super().__init__(**kwargs)
        self.horizon = horizon
        self.blocks: List[BeatsBlock] = [BeatsBlock(units=5 + i, horizon=horizon) for i in range(blocks)]

    def call(self, x):
        total: Optional[Any] = None
        for block in self.blocks:
            backcast, forecast = block(x)
            x = x - backcast
            total = forecast if total is None else total + forecast
        return total

    def get_config(self):
        return {**super().get_config(), "blocks": len(self.blocks), "horizon": self.horizon}


@keras.saving.register_keras_serializable(package="zoo")
class TemporalBlock(Layer):
    """Causal convolutions with dilation, weights normalised in the call, a projection where channels differ."""

    def __init__(self, filters, kernel_size=2, dilations: Sequence[int] = (1, 2), dropout=0.1, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.dilations, self.dropout = filters, kernel_size, list(dilations), dropout
        self.project = None

    def build(self, input_shape):
        channels = input_shape[-1]
        self.convs, self.gains = [], []
        for i, d in enumerate(self.dilations):
            v = self.add_weight(shape=(self.kernel_size, channels if i == 0 else self.filters, self.filters), name=f"v{i}")
            self.convs.append((v, d))
            self.gains.append(self.add_weight(shape=(self.filters,), initializer="ones", name=f"g{i}"))
        if channels != self.filters:
            self.project = layers.Conv1D(self.filters, 1, name="project")
        self.drop = layers.SpatialDropout1D(self.dropout)

    def call(self, x, training=None):
        y = x
        for (v, d), g in zip(self.convs, self.gains):
            kernel = g * v / ops.sqrt(ops.sum(v**2, axis=(0, 1), keepdims=True) + 1e-6)
            y = ops.pad(y, [[0, 0], [(self.kernel_size - 1) * d, 0], [0, 0]])
            y = ops.relu(ops.conv(y, kernel, dilation_rate=d, padding="valid"))
            y = self.drop(y, training=training)
        return ops.relu(y + (x if self.project is None else self.project(x)))

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "dilations": self.dilations,
            "dropout": self.dropout,
        }


@keras.saving.register_keras_serializable(package="zoo")
class RevIN(Layer):
    """Normalised by its own statistics on the way in, and back on the way out."""

    def __init__(self, eps=1e-5, affine=True, **kwargs):
        super().__init__(**kwargs)
        self.eps, self.affine = eps, affine
        self.inner = Dense(7)

    def build(self, input_shape):
        if self.affine:
            self.gamma = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="gamma")
            self.beta = self.add_weight(shape=(input_shape[-1],), name="beta")

    def call(self, x):
        x = self._apply(x, mode="norm")
        y = ops.transpose(self.inner(ops.transpose(x, (0, 2, 1))), (0, 2, 1))
        return self._apply(y, mode="denorm")

    def _apply(self, x, mode):
        match = {"norm": self._norm, "denorm": self._denorm}
        try:
            work = match[mode]
        except KeyError:
            raise NotImplementedError(mode) from None
        return work(x)

    def _norm(self, x):
        self.mean, var = ops.moments(x, axes=[1], keepdims=True)
        self.stdev = ops.sqrt(var + self.eps)
        x = (x - self.mean) / self.stdev
        return x * self.gamma + self.beta if self.affine else x

    def _denorm(self, x):
        x = (x - self.beta) / (self.gamma + self.eps * self.eps) if self.affine else x
        return x * self.stdev + self.mean

    def get_config(self):
        return {**super().get_config(), "eps": self.eps, "affine": self.affine}


@keras.saving.register_keras_serializable(package="zoo")
class FastRecurrence(Layer):
    """QRNN: gates by a convolution, pooling by a loop over steps."""

    def __init__(self, units, window=2, pooling="fo", **kwargs):
        super().__init__(**kwargs)
        self.units, self.window, self.pooling = units, window, pooling

    def build(self, input_shape):
        gates = len(self.pooling) + 1
        self.conv = layers.Conv1D(gates * self.units, self.window, padding="causal")

    def call(self, x):
        z, *gates = ops.split(self.conv(x), len(self.pooling) + 1, axis=-1)
        named = dict(zip(self.pooling, map(ops.sigmoid, gates)))
        z, f, o = ops.tanh(z), named["f"], named.get("o")
        c, outs = ops.zeros_like(z[:, 0]), []
        for t in range(x.shape[1]):
            c = f[:, t] * c + (1 - f[:, t]) * z[:, t]
            outs.append(c if o is None else o[:, t] * c)
        return ops.stack(outs, 1)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "window": self.window, "pooling": self.pooling}

"""Embeddings, normalisation, mixtures, capsules, recurrent cells."""

import numpy as np
from keras import KerasTensor, Layer, activations, constraints, initializers, layers, ops, regularizers, saving
from keras3.common import maths  # noqa: F401  absolute, from the folder above

from .common.maths import sinusoids, squash


class PositionalEncoding(Layer):
    def __init__(self, max_len=32, **kwargs):
        super().__init__(**kwargs)
        self.max_len = max_len

    def build(self, shape):
        self.table = ops.convert_to_tensor(sinusoids(self.max_len, shape[-1]))

    def call(self, x):
        return x + self.table[None, : ops.shape(x)[1], :]

    def get_config(self):
        return {**super().get_config(), "max_len": self.max_len}


class TokenAndPosition(Layer):
    def __init__(self, maxlen, vocab_size, embed_dim, **kwargs):
        super().__init__(**kwargs)
        self.maxlen, self.vocab_size, self.embed_dim = maxlen, vocab_size, embed_dim
        self.token_emb = layers.Embedding(vocab_size, embed_dim)
        self.pos_emb = layers.Embedding(maxlen, embed_dim)

    def call(self, x):
        maxlen = ops.shape(x)[-1]
        positions = ops.arange(start=0, stop=maxlen, step=1)
        return self.token_emb(x) + self.pos_emb(positions)

    def get_config(self):
        c = {"maxlen": self.maxlen, "vocab_size": self.vocab_size, "embed_dim": self.embed_dim}
        return {**super().get_config(), **c}


class RotaryEmbedding(Layer):
    def __init__(self, base=10000, **kwargs):
        super().__init__(**kwargs)
        self.base = base

    def build(self, shape):
        d = shape[-1]
        inverse = 1.0 / (self.base ** (np.arange(0, d, 2, dtype="float32") / d))
        t = np.arange(shape[1], dtype="float32")
        angles = np.concatenate([np.outer(t, inverse)] * 2, axis=-1)
        self.cos, self.sin = np.cos(angles).astype("float32"), np.sin(angles).astype("float32")

    @staticmethod
    def rotate_half(x):
        a, b = ops.split(x, 2, axis=-1)
        return ops.concatenate([-b, a], axis=-1)

    def call(self, x):
        cos, sin = ops.convert_to_tensor(self.cos), ops.convert_to_tensor(self.sin)
        return x * cos + self.rotate_half(x) * sin

    def get_config(self):
        return {**super().get_config(), "base": self.base}


class RMSNorm(Layer):
    def __init__(self, eps=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.eps = eps

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")
        self.built = True

    def call(self, x):
        var = ops.mean(ops.square(x), axis=-1, keepdims=True)
        return x * ops.rsqrt(var + self.eps) * self.scale

    def get_config(self):
        return {**super().get_config(), "eps": self.eps}


class InstanceNorm(Layer):
    def __init__(self, axis=-1, epsilon=1e-3, center=True, scale=True, gamma_regularizer=None, **kwargs):
        super().__init__(**kwargs)
        self.axis, self.epsilon, self.center, self.scale = axis, epsilon, center, scale
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.gamma_constraint = constraints.get(None)

    def build(self, input_shape):
        n = len(input_shape)
        if self.axis is not None and n == 2:
            raise ValueError("Cannot specify axis for rank 1 tensor")
        shape = (input_shape[self.axis],)
        if self.scale:
            self.gamma = self.add_weight(
                shape=shape,
                name="gamma",
                initializer="ones",
                regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint,
            )
        else:
            self.gamma = None
        self.beta = self.add_weight(shape=shape, name="beta", initializer="zeros") if self.center else None

    def call(self, inputs, training=None):
        reduction_axes = list(range(0, len(inputs.shape)))
        if self.axis is not None:
            del reduction_axes[self.axis]
        del reduction_axes[0]
        mean = ops.mean(inputs, reduction_axes, keepdims=True)
        stddev = ops.std(inputs, reduction_axes, keepdims=True) + self.epsilon
        normed = (inputs - mean) / stddev
        broadcast_shape = [1] * len(inputs.shape)
        if self.axis is not None:
            broadcast_shape[self.axis] = inputs.shape[self.axis]
        if self.scale:
            normed = normed * ops.reshape(self.gamma, broadcast_shape)
        if self.center:
            normed = normed + ops.reshape(self.beta, broadcast_shape)
        return normed

    def get_config(self):
        c = {"axis": self.axis, "epsilon": self.epsilon, "center": self.center, "scale": self.scale}
        return {**super().get_config(), **c, "gamma_regularizer": regularizers.serialize(self.gamma_regularizer)}


class AdaIN(Layer):
    def __init__(self, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def call(self, inputs):
        content, style = inputs
        mean_c, var_c = ops.moments(content, axes=(1, 2), keepdims=True)
        mean_s, var_s = ops.moments(style, axes=(1, 2), keepdims=True)
        return ops.sqrt(var_s + self.epsilon) * (content - mean_c) / ops.sqrt(var_c + self.epsilon) + mean_s

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


class DynamicTanh(Layer):
    def __init__(self, init_alpha=0.5, **kwargs):
        super().__init__(**kwargs)
        self.init_alpha = init_alpha

    def build(self, shape):
        self.alpha = self.add_weight(shape=(1,), initializer=initializers.Constant(self.init_alpha), name="alpha")
        self.w = self.add_weight(shape=shape[-1:], initializer="ones", name="weight")
        self.b = self.add_weight(shape=shape[-1:], initializer="zeros", name="bias")

    def call(self, x):
        return self.w * ops.tanh(self.alpha * x) + self.b

    def get_config(self):
        return {**super().get_config(), "init_alpha": self.init_alpha}


class MixtureOfExperts(Layer):
    def __init__(self, units, num_experts=3, activation="gelu", **kwargs):
        super().__init__(**kwargs)
        self.units, self.num_experts = units, num_experts
        self.activation = activations.get(activation)

    def build(self, shape):
        self.experts = [
            layers.Dense(self.units, activation=self.activation, name=f"expert_{i:02d}") for i in range(self.num_experts)
        ]
        self.gate = layers.Dense(self.num_experts, activation="softmax")
        for e in self.experts:
            e.build(shape)
        self.gate.build(shape)

    def call(self, x):
        gates = self.gate(x)
        outs = ops.stack([e(x) for e in self.experts], axis=-2)
        return ops.sum(gates[..., None] * outs, axis=-2)

    def get_config(self):
        c = {"units": self.units, "num_experts": self.num_experts, "activation": activations.serialize(self.activation)}
        return {**super().get_config(), **c}


class MultiGateMixture(Layer):
    """MMoE: one gate per task, results as a list."""

    def __init__(self, units, num_experts, num_tasks, **kwargs):
        super().__init__(**kwargs)
        self.units, self.num_experts, self.num_tasks = units, num_experts, num_tasks

    def build(self, input_shape):
        d = input_shape[-1]
        self.expert_kernels = self.add_weight(name="expert_kernel", shape=(d, self.units, self.num_experts))
        self.gate_kernels = [
            self.add_weight(name=f"gate_kernel_task_{i}", shape=(d, self.num_experts)) for i in range(self.num_tasks)
        ]
        super().build(input_shape)

    def call(self, inputs):
        experts = ops.relu(ops.tensordot(inputs, self.expert_kernels, axes=1))
        finals = []
        for index, kernel in enumerate(self.gate_kernels):
            gate = ops.softmax(ops.matmul(inputs, kernel))
            finals.append(ops.sum(experts * ops.repeat(ops.expand_dims(gate, axis=1), self.units, axis=1), axis=2))
        return finals

    def get_config(self):
        c = {"units": self.units, "num_experts": self.num_experts, "num_tasks": self.num_tasks}
        return {**super().get_config(), **c}


class MixtureDensity(Layer):
    def __init__(self, dims, mixtures, **kwargs):
        super().__init__(**kwargs)
        self.dims, self.mixtures = dims, mixtures
        self.mus = layers.Dense(mixtures * dims, name="mus")
        self.sigmas = layers.Dense(mixtures * dims, activation=self.elu_plus_one, name="sigmas")
        self.pi = layers.Dense(mixtures, name="pi")

    @staticmethod
    def elu_plus_one(x):
        return ops.elu(x) + 1 + 1e-7

    def call(self, x):
        return layers.concatenate([self.mus(x), self.sigmas(x), self.pi(x)])

    def get_config(self):
        return {**super().get_config(), "dims": self.dims, "mixtures": self.mixtures}


class Capsule(Layer):
    """Dynamic routing with a static number of rounds."""

    def __init__(self, num_capsule, dim_capsule, routings=3, **kwargs):
        super().__init__(**kwargs)
        self.num_capsule, self.dim_capsule, self.routings = num_capsule, dim_capsule, routings

    def build(self, input_shape):
        assert len(input_shape) == 3, "needs [None, capsules, dim]"
        self.n_in, self.d_in = input_shape[1], input_shape[2]
        self.W = self.add_weight(shape=(self.num_capsule, self.n_in, self.dim_capsule, self.d_in), name="W")

    def call(self, u):
        u_hat = ops.einsum("kide,bie->bkid", self.W, u)
        b = ops.zeros((ops.shape(u)[0], self.num_capsule, self.n_in))
        for i in range(self.routings):
            c = ops.softmax(b, axis=1)
            v = squash(ops.sum(ops.expand_dims(c, -1) * u_hat, axis=2))
            if i < self.routings - 1:
                b += ops.sum(u_hat * ops.expand_dims(v, 2), axis=-1)
        return v

    def get_config(self):
        c = {"num_capsule": self.num_capsule, "dim_capsule": self.dim_capsule, "routings": self.routings}
        return {**super().get_config(), **c}


class CapsuleLength(Layer):
    def call(self, inputs, **kwargs):
        return ops.sqrt(ops.sum(ops.square(inputs), -1) + 1e-7)


class Highway(Layer):
    def __init__(self, activation="relu", transform_bias=-1, **kwargs):
        super().__init__(**kwargs)
        self.activation = activations.get(activation)
        self.transform_bias = transform_bias

    def build(self, shape):
        d = shape[-1]
        self.W = self.add_weight(shape=(d, d), name="W", initializer="glorot_uniform")
        self.b = self.add_weight(shape=(d,), name="b")
        self.W_T = self.add_weight(shape=(d, d), name="W_T")
        self.b_T = self.add_weight(shape=(d,), name="b_T", initializer=initializers.Constant(self.transform_bias))

    def call(self, x):
        t = ops.sigmoid(x @ self.W_T + self.b_T)
        return self.activation(x @ self.W + self.b) * t + x * (1 - t)

    def get_config(self):
        c = {"activation": activations.serialize(self.activation), "transform_bias": self.transform_bias}
        return {**super().get_config(), **c}


class GatedLinearUnit(Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.linear, self.sigmoid = layers.Dense(units), layers.Dense(units, activation="sigmoid")

    def call(self, inputs):
        return self.linear(inputs) * self.sigmoid(inputs)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class GatedResidualNetwork(Layer):
    def __init__(self, units, dropout_rate=0.1, **kwargs):
        super().__init__(**kwargs)
        self.units, self.dropout_rate = units, dropout_rate
        self.elu_dense = layers.Dense(units, activation="elu")
        self.linear_dense = layers.Dense(units)
        self.dropout = layers.Dropout(dropout_rate)
        self.gated_linear_unit = GatedLinearUnit(units)
        self.layer_norm = layers.LayerNormalization()
        self.project = layers.Dense(units)

    def call(self, inputs):
        x = self.elu_dense(inputs)
        x = self.linear_dense(x)
        x = self.dropout(x)
        if inputs.shape[-1] != self.units:
            inputs = self.project(inputs)
        x = inputs + self.gated_linear_unit(x)
        return self.layer_norm(x)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "dropout_rate": self.dropout_rate}


class VariableSelection(Layer):
    """A list of inputs, a sublayer for each."""

    def __init__(self, num_features, units, **kwargs):
        super().__init__(**kwargs)
        self.num_features, self.units = num_features, units
        self.grns = [GatedResidualNetwork(units) for _ in range(num_features)]
        self.grn_concat = GatedResidualNetwork(units)
        self.softmax = layers.Dense(units=num_features, activation="softmax")

    def call(self, inputs):
        v = layers.concatenate(inputs)
        v = self.grn_concat(v)
        v = ops.expand_dims(self.softmax(v), axis=-1)
        x = [self.grns[idx](one) for idx, one in enumerate(inputs)]
        x = ops.stack(x, axis=1)
        return ops.squeeze(ops.matmul(ops.transpose(v, axes=[0, 2, 1]), x), axis=1)

    def get_config(self):
        return {**super().get_config(), "num_features": self.num_features, "units": self.units}


class CrossLayer(Layer):
    """The cross network of DCN."""

    def __init__(self, num_layers=2, **kwargs):
        super().__init__(**kwargs)
        self.num_layers = num_layers

    def build(self, shape):
        d = int(shape[-1])
        self.kernels, self.biases = [], []
        for i in range(self.num_layers):
            self.kernels.append(self.add_weight(name="kernel" + str(i), shape=(d, 1)))
            self.biases.append(self.add_weight(name="bias%d" % i, shape=(d, 1)))

    def call(self, inputs):
        x_0 = ops.expand_dims(inputs, axis=2)
        x_l = x_0
        for kernel, bias in zip(self.kernels, self.biases):
            xl_w = ops.tensordot(x_l, kernel, axes=([1], [0]))
            x_l = ops.matmul(x_0, xl_w) + bias + x_l
        return ops.squeeze(x_l, axis=2)

    def get_config(self):
        return {**super().get_config(), "num_layers": self.num_layers}


class FactorizationMachine(Layer):
    def build(self, shape):
        self.v = self.add_weight(shape=(shape[-1], 3), name="v")
        self.w = self.add_weight(shape=(shape[-1], 1), name="w")
        self.bias = self.add_weight(shape=(1,), name="bias", initializer="zeros")

    def call(self, x):
        linear = ops.matmul(x, self.w) + self.bias
        pairs = 0.5 * ops.sum(ops.square(x @ self.v) - (x**2) @ (self.v**2), axis=-1, keepdims=True)
        return linear + pairs


class TiedDense(Layer):
    """The transpose of an embedding's matrix as output."""

    def __init__(self, vocab, dim, **kwargs):
        super().__init__(**kwargs)
        self.vocab, self.dim = vocab, dim
        self.embedding = layers.Embedding(vocab, dim)
        self.hidden = layers.Dense(dim, activation="tanh")

    def call(self, ids):
        h = self.hidden(ops.mean(self.embedding(ids), axis=1))
        return ops.matmul(h, ops.transpose(self.embedding.embeddings))

    def get_config(self):
        return {**super().get_config(), "vocab": self.vocab, "dim": self.dim}


class ReverseSequence(Layer):
    def __init__(self, axis=1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis
        self.supports_masking = True

    def call(self, x):
        return ops.flip(x, axis=self.axis)

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}


class TimeShift(Layer):
    """RWKV's token shift, with a property and a class variable."""

    pad_value = 0.0

    def build(self, shape):
        self.mix = self.add_weight(shape=(1, 1, shape[-1]), name="mix", initializer="uniform")

    @property
    def ratio(self):
        return self.mix

    def call(self, x):
        before = ops.pad(x, ((0, 0), (1, 0), (0, 0)), constant_values=self.pad_value)[:, :-1]
        return x * self.ratio + before * (1 - self.ratio)


class ScaledInheritance(Highway):
    """Inherits build and call, and adds to them."""

    def __init__(self, factor=2.0, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.factor = factor

    def build(self, shape):
        super().build(shape)
        self.offset = self.add_weight(shape=(shape[-1],), name="offset")

    def call(self, x):
        return self.factor * super().call(x) + self.offset

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


class FromConfig(Layer):
    """Has a from_config of its own, and keeps what it needs in a dict."""

    def __init__(self, options, **kwargs):
        super().__init__(**kwargs)
        self.options = options
        self.branches = {key: layers.Dense(size) for key, size in options.items()}

    def call(self, x):
        parts = {key: layer(x) for key, layer in self.branches.items()}
        total = ops.concatenate([parts[k] for k in sorted(parts)], axis=-1)
        return total

    def get_config(self):
        return {**super().get_config(), "sizes": list(self.options.values()), "names": list(self.options)}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        names, sizes = config.pop("names"), config.pop("sizes")
        return cls(dict(zip(names, sizes)), **config)


class MinimalCell(Layer):
    """A cell for keras.layers.RNN: a minimal gated unit."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.state_size = units

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], 2 * self.units), name="kernel")
        self.u = self.add_weight(shape=(self.units, 2 * self.units), name="recurrent_kernel")
        self.b = self.add_weight(shape=(2 * self.units,), name="bias", initializer="zeros")

    def call(self, inputs, states):
        h = states[0]
        x = ops.matmul(inputs, self.w) + self.b
        f = ops.sigmoid(x[:, : self.units] + ops.matmul(h, self.u[:, : self.units]))
        candidate = ops.tanh(x[:, self.units :] + ops.matmul(f * h, self.u[:, self.units :]))
        new = f * candidate + (1 - f) * h
        return new, [new]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class PeepholeCell(Layer):
    """Two states, sublayers inside."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.gates = layers.Dense(4 * units)

    @property
    def state_size(self):
        return [self.units, self.units]

    @property
    def output_size(self):
        return self.units

    def build(self, shape):
        self.peep = self.add_weight(shape=(3, self.units), name="peep")
        self.gates.build((None, shape[-1] + self.units))

    def call(self, x, states, training=False):
        h, c = states
        i, f, g, o = ops.split(self.gates(ops.concatenate([x, h], axis=-1)), 4, axis=-1)
        i = ops.sigmoid(i + self.peep[0] * c)
        f = ops.sigmoid(f + self.peep[1] * c)
        c = f * c + i * ops.tanh(g)
        h = ops.sigmoid(o + self.peep[2] * c) * ops.tanh(c)
        return h, [h, c]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


assert KerasTensor is not None and saving is not None


class CRFDecode(Layer):
    """Emissions by a dense layer, then the best path of labels (Viterbi)."""

    def __init__(self, labels, **kwargs):
        super().__init__(**kwargs)
        self.labels = labels
        self.emit = layers.Dense(labels)

    def build(self, shape):
        self.transitions = self.add_weight(shape=(self.labels, self.labels), name="transitions")
        self.left = self.add_weight(shape=(self.labels,), name="left")
        self.right = self.add_weight(shape=(self.labels,), name="right")

    def call(self, x):
        e = self.emit(x)
        score, back = e[:, 0] + self.left, []
        for t in range(1, e.shape[1]):
            paths = score[:, :, None] + self.transitions[None]
            back.append(ops.argmax(paths, axis=1))
            score = ops.max(paths, axis=1) + e[:, t]
        best = [ops.argmax(score + self.right, axis=-1)]
        for pointers in reversed(back):
            best.insert(0, ops.squeeze(ops.take_along_axis(pointers, best[0][:, None], axis=1), axis=1))
        return ops.one_hot(ops.stack(best, axis=1), self.labels)

    def get_config(self):
        return {**super().get_config(), "labels": self.labels}


class CRFMarginals(Layer):
    """Forward and backward sums in the log domain."""

    def build(self, shape):
        self.transitions = self.add_weight(shape=(shape[-1], shape[-1]), name="transitions")

    def step(self, state, e):
        return ops.logsumexp(state[:, :, None] + self.transitions[None], axis=1) + e

    def call(self, e):
        steps = ops.unstack(e, axis=1)
        ahead = [steps[0]]
        for s in steps[1:]:
            ahead.append(self.step(ahead[-1], s))
        behind = [ops.zeros_like(steps[0])]
        for s in steps[:0:-1]:
            behind.append(ops.logsumexp((behind[-1] + s)[:, None, :] + self.transitions[None], axis=2))
        return ops.stack([ops.softmax(a + b) for a, b in zip(ahead, reversed(behind))], axis=1)


class ALiBi(Layer):
    """Attention whose scores fall with the distance."""

    def __init__(self, heads=2, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads

    def build(self, shape):
        self.qkv = layers.EinsumDense("btd,dhk->bthk", (None, self.heads, 3 * shape[-1] // self.heads))
        self.qkv.build(shape)
        slopes = [2.0 ** (-8.0 * (i + 1) / self.heads) for i in range(self.heads)]
        reach = np.arange(shape[1])
        self.bias = (-np.abs(reach[None] - reach[:, None])[None] * np.array(slopes)[:, None, None]).astype("float32")

    def call(self, x):
        q, k, v = ops.split(self.qkv(x), 3, axis=-1)
        scores = ops.einsum("bqhd,bkhd->bhqk", q, k) * (q.shape[-1] ** -0.5) + ops.convert_to_tensor(self.bias)
        return ops.reshape(ops.einsum("bhqk,bkhd->bqhd", ops.softmax(scores), v), ops.shape(x))

    def get_config(self):
        return {**super().get_config(), "heads": self.heads}


class FourierFeatures(Layer):
    """A fixed table that belongs to the layer's weights."""

    def __init__(self, size=5, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.size), name="b", trainable=False, initializer="random_normal")

    def call(self, x):
        p = 2 * np.pi * ops.matmul(x, self.kernel)
        return ops.concatenate([ops.cos(p), ops.sin(p)], axis=-1)

    def get_config(self):
        return {**super().get_config(), "size": self.size}


class SpatialGating(Layer):
    """gMLP's gate along the sequence."""

    def build(self, shape):
        self.norm = layers.LayerNormalization(epsilon=1e-6)
        self.w = self.add_weight(shape=(shape[1], shape[1]), name="w")
        self.b = self.add_weight(shape=(shape[1],), name="b", initializer="ones")

    def call(self, x):
        u, v = ops.split(x, 2, axis=-1)
        v = ops.swapaxes(self.norm(v), 1, 2) @ self.w + self.b
        return u * ops.swapaxes(v, 1, 2)


class SwitchRouting(Layer):
    """Each step goes to the expert of its largest gate, weighted by it."""

    def __init__(self, experts=3, **kwargs):
        super().__init__(**kwargs)
        self.experts = [layers.Dense(6, activation="gelu", name=f"expert_{i}") for i in range(experts)]
        self.router, self.count = layers.Dense(experts, use_bias=False), experts

    def call(self, x):
        p = ops.softmax(self.router(x), axis=-1)
        chosen = ops.one_hot(ops.argmax(p, axis=-1), self.count)
        gate = p * ops.cast(chosen, p.dtype)
        return sum(gate[..., i : i + 1] * expert(x) for i, expert in enumerate(self.experts))

    def get_config(self):
        return {**super().get_config(), "experts": self.count}

"""Layers in the styles of public collections: windows, samplers, addons, heads of language models. Written for the tests."""

import functools
import math
import string

import keras
import numpy as np
from keras import layers, ops
from keras.layers import *  # noqa: F403


def to_pair(x):
    return tuple(x) if isinstance(x, (list, tuple)) else (x, x)


def relative_index(height, width):
    """Which row of the table of biases is that of a pair of places in a window."""
    coords = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"))
    flat = coords.reshape(2, -1)
    relative = flat[:, :, None] - flat[:, None, :]
    relative = relative.transpose([1, 2, 0])
    relative[:, :, 0] += height - 1
    relative[:, :, 1] += width - 1
    relative[:, :, 0] *= 2 * width - 1
    return relative.sum(-1)


def window_partition(x, size):
    _, h, w, c = x.shape
    x = ops.reshape(x, (-1, h // size, size, w // size, size, c))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, size * size, c))


def window_reverse(windows, size, h, w):
    c = windows.shape[-1]
    x = ops.reshape(windows, (-1, h // size, w // size, size, size, c))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, h, w, c))


@keras.saving.register_keras_serializable(package="zoo")
class WindowAttention(Layer):  # noqa: F405
    """Heads within a window, with a bias for each pair of places."""

    def __init__(self, window_size, num_heads, qkv_bias=True, qk_scale=None, attn_drop=0.0, **kwargs):
        super().__init__(**kwargs)
        self.window_size, self.num_heads, self.qkv_bias = to_pair(window_size), num_heads, qkv_bias
        self.qk_scale, self.attn_drop = qk_scale, attn_drop

    def build(self, input_shape):
        dim = input_shape[-1]
        self.scale = self.qk_scale or (dim // self.num_heads) ** -0.5
        wh, ww = self.window_size
        self.bias_table = self.add_weight(
            name="bias_table",
            shape=[(2 * wh - 1) * (2 * ww - 1), self.num_heads],
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        )
        self.index = relative_index(wh, ww).reshape(-1).astype("int32")
        self.qkv = layers.Dense(dim * 3, use_bias=self.qkv_bias, name="attention_qkv")
        self.proj = layers.Dense(dim, name="attention_proj")
        self.drop = layers.Dropout(self.attn_drop)

    def call(self, inputs, mask=None):
        length, dim = inputs.shape[1], inputs.shape[2]
        qkv = ops.reshape(self.qkv(inputs), (-1, length, 3, self.num_heads, dim // self.num_heads))
        q, k, v = ops.unstack(ops.transpose(qkv, (2, 0, 3, 1, 4)), 3)
        attn = ops.matmul(q * self.scale, ops.transpose(k, (0, 1, 3, 2)))
        bias = ops.reshape(ops.take(self.bias_table, ops.convert_to_tensor(self.index), axis=0), (length, length, -1))
        attn = attn + ops.transpose(bias, (2, 0, 1))[None]
        if mask is not None:
            n = mask.shape[0]
            attn = ops.reshape(attn, (-1, n, self.num_heads, length, length)) + mask[None, :, None]
            attn = ops.reshape(attn, (-1, self.num_heads, length, length))
        attn = self.drop(ops.softmax(attn))
        out = ops.reshape(ops.transpose(ops.matmul(attn, v), (0, 2, 1, 3)), (-1, length, dim))
        return self.proj(out)

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "window_size": list(self.window_size),
                "num_heads": self.num_heads,
                "qkv_bias": self.qkv_bias,
                "qk_scale": self.qk_scale,
                "attn_drop": self.attn_drop,
            }
        )
        return config


@keras.saving.register_keras_serializable(package="zoo")
class SwinBlock(layers.Layer):
    """Shifted windows: a roll, a mask made with numpy, and a custom layer of another class inside."""

    def __init__(self, num_heads, window_size=4, shift_size=0, mlp_ratio=2.0, drop_path=0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.window_size, self.shift_size = num_heads, window_size, shift_size
        self.mlp_ratio, self.drop_path_prob = mlp_ratio, drop_path

    def build(self, input_shape):
        _, h, w, dim = input_shape
        self.norm1 = layers.LayerNormalization(epsilon=1e-5, name="norm1")
        self.attn = WindowAttention(self.window_size, self.num_heads, name="attn")
        self.drop_path = DropPath(self.drop_path_prob) if self.drop_path_prob > 0 else layers.Identity()
        self.norm2 = layers.LayerNormalization(epsilon=1e-5, name="norm2")
        self.mlp = keras.Sequential(
            [
                layers.Dense(int(dim * self.mlp_ratio)),
                layers.Activation(keras.activations.gelu),
                layers.Dropout(0.1),
                layers.Dense(dim),
            ]
        )
        self.attn_mask = None
        if self.shift_size > 0:
            image = np.zeros((1, h, w, 1), dtype="int32")
            slices = [slice(0, -self.window_size), slice(-self.window_size, -self.shift_size), slice(-self.shift_size, None)]
            count = 0
            for hs in slices:
                for ws in slices:
                    image[:, hs, ws, :] = count
                    count += 1
            size = self.window_size
            parts = image.reshape(1, h // size, size, w // size, size).transpose(0, 1, 3, 2, 4).reshape(-1, size * size)
            mask = parts[:, None, :] - parts[:, :, None]
            self.attn_mask = np.where(mask != 0, -100.0, 0.0).astype("float32")

    def call(self, x, training=None):
        _, h, w, _ = x.shape
        shortcut = x
        x = self.norm1(x)
        if self.shift_size > 0:
            x = ops.roll(x, shift=(-self.shift_size, -self.shift_size), axis=(1, 2))
        mask = None if self.attn_mask is None else ops.convert_to_tensor(self.attn_mask)
        x = self.attn(window_partition(x, self.window_size), mask=mask)
        x = window_reverse(x, self.window_size, h, w)
        if self.shift_size > 0:
            x = ops.roll(x, shift=(self.shift_size, self.shift_size), axis=(1, 2))
        x = shortcut + self.drop_path(x)
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "window_size": self.window_size,
            "shift_size": self.shift_size,
            "mlp_ratio": self.mlp_ratio,
            "drop_path": self.drop_path_prob,
        }


@keras.saving.register_keras_serializable(package="zoo")
class DropPath(layers.Layer):
    """Whole samples dropped in training."""

    def __init__(self, rate=0.5, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator(seed or 1337)

    def call(self, x, training=None):
        if self.rate == 0.0 or not training:
            return x
        shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
        keep = 1 - self.rate
        return x / keep * ops.floor(keep + keras.random.uniform(shape, seed=self.seed_generator))

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable(package="zoo")
class AugmentedConv(layers.Layer):
    """Attention beside a convolution, with relative logits by padding and reshaping."""

    def __init__(self, filters, kernel_size=3, dk=4, dv=2, heads=2, relative=True, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.dk, self.dv, self.heads, self.relative = (
            filters,
            kernel_size,
            dk,
            dv,
            heads,
            relative,
        )

    def build(self, input_shape):
        _, self.height, self.width, _ = input_shape
        self.conv = layers.Conv2D(self.filters - self.dv, self.kernel_size, padding="same")
        self.qkv = layers.Conv2D(2 * self.dk + self.dv, 1)
        self.out = layers.Conv2D(self.dv, 1)
        if self.relative:
            self.rel_w = self.add_weight(shape=(2 * self.width - 1, self.dk // self.heads), name="rel_w")
            self.rel_h = self.add_weight(shape=(2 * self.height - 1, self.dk // self.heads), name="rel_h")

    def split_heads(self, x):
        x = ops.reshape(x, (-1, self.height, self.width, self.heads, x.shape[-1] // self.heads))
        return ops.transpose(x, [0, 3, 1, 2, 4])

    def relative_logits_1d(self, q, rel, h, w, transpose_mask):
        x = ops.einsum("bhxyd,md->bhxym", q, rel)
        x = ops.reshape(x, [-1, self.heads * h, w, 2 * w - 1])
        x = self.rel_to_abs(x)
        x = ops.reshape(x, [-1, self.heads, h, w, w])
        x = ops.tile(ops.expand_dims(x, axis=3), [1, 1, 1, h, 1, 1])
        x = ops.transpose(x, transpose_mask)
        return ops.reshape(x, [-1, self.heads, h * w, h * w])

    @staticmethod
    def rel_to_abs(x):
        _, n, length, _ = x.shape
        x = ops.concatenate([x, ops.zeros_like(x[..., :1])], axis=3)
        flat = ops.reshape(x, [-1, n, length * 2 * length])
        flat = ops.concatenate([flat, ops.zeros_like(flat[:, :, : length - 1])], axis=2)
        return ops.reshape(flat, [-1, n, length + 1, 2 * length - 1])[:, :, :length, length - 1 :]

    def call(self, x):
        conv = self.conv(x)
        q, k, v = ops.split(self.qkv(x), [self.dk, 2 * self.dk], axis=-1)
        q, k, v = map(self.split_heads, (q, k, v))
        q = q * (self.dk // self.heads) ** -0.5
        flat = lambda t: ops.reshape(t, [-1, self.heads, self.height * self.width, t.shape[-1]])
        logits = ops.matmul(flat(q), ops.swapaxes(flat(k), -1, -2))
        if self.relative:
            logits += self.relative_logits_1d(q, self.rel_w, self.height, self.width, [0, 1, 2, 4, 3, 5])
            logits += self.relative_logits_1d(
                ops.transpose(q, [0, 1, 3, 2, 4]), self.rel_h, self.width, self.height, [0, 1, 4, 2, 5, 3]
            )
        out = ops.matmul(ops.softmax(logits), flat(v))
        out = ops.transpose(ops.reshape(out, [-1, self.heads, self.height, self.width, self.dv // self.heads]), [0, 2, 3, 1, 4])
        out = ops.reshape(out, [-1, self.height, self.width, self.dv])
        return ops.concatenate([conv, self.out(out)], axis=-1)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "dk": self.dk,
            "dv": self.dv,
            "heads": self.heads,
            "relative": self.relative,
        }


@keras.saving.register_keras_serializable(package="zoo")
class SpatialTransformer(layers.Layer):
    """An affine grid and bilinear samples, gathered from the flattened batch."""

    def __init__(self, output_size, localization=None, **kwargs):
        super().__init__(**kwargs)
        self.output_size = tuple(output_size)
        self.locnet = keras.Sequential([layers.GlobalAveragePooling2D(), layers.Dense(6, name="theta")])

    def call(self, x):
        theta = ops.reshape(self.locnet(x), (-1, 2, 3))
        grid = ops.matmul(theta, self.mesh())
        return self.interpolate(x, grid[:, 0], grid[:, 1])

    def mesh(self):
        h, w = self.output_size
        xs, ys = ops.meshgrid(ops.linspace(-1.0, 1.0, w), ops.linspace(-1.0, 1.0, h))
        return ops.stack([ops.reshape(xs, (-1,)), ops.reshape(ys, (-1,)), ops.ones((h * w,))])

    def interpolate(self, image, x, y):
        batch = ops.shape(image)[0]
        height, width, channels = image.shape[1:]
        x = 0.5 * (x + 1.0) * ops.cast(width, "float32")
        y = 0.5 * (y + 1.0) * ops.cast(height, "float32")
        x0, y0 = ops.cast(ops.floor(x), "int32"), ops.cast(ops.floor(y), "int32")
        x1, y1 = x0 + 1, y0 + 1
        x0, x1 = (ops.clip(v, 0, width - 1) for v in (x0, x1))
        y0, y1 = (ops.clip(v, 0, height - 1) for v in (y0, y1))
        base = ops.expand_dims(ops.arange(batch, dtype="int32") * (height * width), 1)
        flat = ops.reshape(image, (-1, channels))
        total = 0
        for xi, xo in ((x0, x1), (x1, x0)):
            for yi, yo in ((y0, y1), (y1, y0)):
                weight = ops.abs(ops.cast(xo, "float32") - x) * ops.abs(ops.cast(yo, "float32") - y)
                total = total + ops.expand_dims(weight, 2) * ops.take(flat, base + yi * width + xi, axis=0)
        return ops.reshape(total, (-1,) + self.output_size + (channels,))

    def get_config(self):
        return {**super().get_config(), "output_size": self.output_size}


@keras.saving.register_keras_serializable(package="zoo")
class Correlation(layers.Layer):
    """The cost volume of two feature maps, by shifts in two loops."""

    def __init__(self, reach=1, **kwargs):
        super().__init__(**kwargs)
        self.reach = reach

    def call(self, inputs):
        a, b = inputs
        r = self.reach
        h, w = a.shape[1], a.shape[2]
        padded = ops.pad(b, ((0, 0), (r, r), (r, r), (0, 0)))
        cost = []
        for dy in range(2 * r + 1):
            for dx in range(2 * r + 1):
                cost.append(ops.mean(a * padded[:, dy : dy + h, dx : dx + w, :], axis=-1, keepdims=True))
        return ops.leaky_relu(ops.concatenate(cost, axis=-1), 0.1)

    def get_config(self):
        return {**super().get_config(), "reach": self.reach}


@keras.saving.register_keras_serializable(package="zoo")
class AdaptivePool(layers.Layer):
    """Pooled to a stated size by a function given by name."""

    def __init__(self, reduce_function="mean", output_size=2, **kwargs):
        super().__init__(**kwargs)
        self.reduce_name = reduce_function
        self.reduce_function = functools.partial(getattr(ops, reduce_function), keepdims=False)
        self.output_size = to_pair(output_size)

    def call(self, x):
        bins_h, bins_w = self.output_size
        rows = ops.stack(ops.split(x, bins_h, axis=1), axis=1)
        cells = ops.stack(ops.split(rows, bins_w, axis=3), axis=3)
        return self.reduce_function(cells, axis=[2, 4])

    def get_config(self):
        return {**super().get_config(), "reduce_function": self.reduce_name, "output_size": self.output_size}


@keras.saving.register_keras_serializable(package="zoo")
class Sparsemax(layers.Layer):
    """Sorted, summed up, and cut off at a threshold."""

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, logits):
        z = logits - ops.mean(logits, axis=self.axis, keepdims=True)
        ordered = ops.flip(ops.sort(z, axis=self.axis), axis=self.axis)
        sums = ops.cumsum(ordered, axis=self.axis)
        k = ops.arange(1, logits.shape[self.axis] + 1, dtype=logits.dtype)
        support = 1 + k * ordered > sums
        count = ops.sum(ops.cast(support, "int32"), axis=self.axis, keepdims=True)
        tau = (ops.take_along_axis(sums, count - 1, axis=self.axis) - 1) / ops.cast(count, logits.dtype)
        return ops.maximum(ops.cast(0, logits.dtype), z - tau)

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}


@keras.saving.register_keras_serializable(package="zoo")
class Maxout(layers.Layer):
    """The largest of groups of channels."""

    def __init__(self, num_units, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.num_units, self.axis = num_units, axis

    def call(self, inputs):
        shape = list(inputs.shape)
        channels = shape[self.axis]
        if channels is None or channels % self.num_units:
            raise ValueError(f"number of features({channels}) is not a multiple of num_units({self.num_units})")
        axis = self.axis % len(shape)
        shape[axis] = self.num_units
        shape.insert(axis + 1, channels // self.num_units)
        shape = [-1 if s is None else s for s in shape]
        return ops.max(ops.reshape(inputs, shape), axis=axis + 1)

    def compute_output_shape(self, input_shape):
        shape = list(input_shape)
        shape[self.axis] = self.num_units
        return tuple(shape)

    def get_config(self):
        return {**super().get_config(), "num_units": self.num_units, "axis": self.axis}


@keras.saving.register_keras_serializable(package="zoo")
class FilterResponse(layers.Layer):
    """Filter response normalisation, with its thresholded unit as a layer of its own."""

    def __init__(self, epsilon=1e-6, axis=(1, 2), learned_epsilon=False, **kwargs):
        super().__init__(**kwargs)
        self.epsilon, self.axis, self.use_eps_learned = epsilon, list(axis), learned_epsilon
        self.tlu = Thresholded()

    def build(self, input_shape):
        if len(input_shape) != 4:
            raise ValueError("Only 4D")
        ones = [1, 1, 1, input_shape[-1]]
        add = functools.partial(self.add_weight, shape=ones)
        self.gamma, self.beta = add(name="gamma", initializer="ones"), add(name="beta")
        if self.use_eps_learned:
            self.eps_learned = self.add_weight(shape=(1,), name="learned_epsilon", constraint=lambda e: ops.minimum(e, 0.0))
        self.built = True

    def call(self, inputs):
        epsilon = self.epsilon
        if self.use_eps_learned:
            epsilon += ops.abs(self.eps_learned)
        nu2 = ops.mean(ops.square(inputs), axis=self.axis, keepdims=True)
        return self.tlu(self.gamma * inputs * ops.rsqrt(nu2 + epsilon) + self.beta)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon, "axis": self.axis, "learned_epsilon": self.use_eps_learned}


@keras.saving.register_keras_serializable(package="zoo")
class Thresholded(layers.Layer):
    """max(x, tau)."""

    def build(self, input_shape):
        param_shape = list(input_shape[1:])
        param_shape[0] = param_shape[1] = 1
        self.tau = self.add_weight(shape=param_shape, name="tau", initializer="zeros")

    def call(self, inputs):
        return ops.maximum(inputs, self.tau)


@keras.saving.register_keras_serializable(package="zoo")
class Poincare(layers.Layer):
    """Projected into a ball."""

    def __init__(self, axis=1, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.axis, self.epsilon = axis, epsilon

    def call(self, inputs):
        x = ops.convert_to_tensor(inputs)
        norm = ops.sum(ops.square(x), axis=self.axis, keepdims=True)
        inverse = ops.multiply(1.0 - self.epsilon, ops.rsqrt(norm))
        return ops.multiply(x, ops.minimum(inverse, 1.0))

    def get_config(self):
        return {**super().get_config(), "axis": self.axis, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="zoo")
class VectorQuantizer(layers.Layer):
    """The nearest row of a codebook, straight through."""

    def __init__(self, num_embeddings, embedding_dim, beta=0.25, **kwargs):
        super().__init__(**kwargs)
        self.num_embeddings, self.embedding_dim, self.beta = num_embeddings, embedding_dim, beta
        self.embeddings = self.add_weight(
            shape=(embedding_dim, num_embeddings), initializer="random_uniform", name="embeddings_vqvae"
        )

    def call(self, x):
        flat = ops.reshape(x, (-1, self.embedding_dim))
        codes = self.codes(flat)
        quantized = ops.matmul(ops.one_hot(codes, self.num_embeddings), ops.transpose(self.embeddings))
        quantized = ops.reshape(quantized, ops.shape(x))
        commitment = ops.mean((ops.stop_gradient(quantized) - x) ** 2)
        self.add_loss(self.beta * commitment)
        return x + ops.stop_gradient(quantized - x)

    def codes(self, flat):
        similarity = ops.matmul(flat, self.embeddings)
        distances = ops.sum(flat**2, axis=1, keepdims=True) + ops.sum(self.embeddings**2, axis=0) - 2 * similarity
        return ops.argmin(distances, axis=1)

    def get_config(self):
        return {
            **super().get_config(),
            "num_embeddings": self.num_embeddings,
            "embedding_dim": self.embedding_dim,
            "beta": self.beta,
        }


# ---- language models
@keras.saving.register_keras_serializable(package="zoo")
class ReversibleEmbedding(layers.Embedding):
    """An embedding that also gives logits, by an argument of the call."""

    def __init__(self, input_dim, output_dim, tie_weights=True, logit_soft_cap=None, **kwargs):
        super().__init__(input_dim, output_dim, **kwargs)
        self.tie_weights, self.logit_soft_cap = tie_weights, logit_soft_cap

    def call(self, inputs, reverse=False):
        if reverse:
            kernel = ops.transpose(ops.convert_to_tensor(self.embeddings))
            logits = ops.matmul(inputs, kernel)
            if self.logit_soft_cap is not None:
                logits = ops.tanh(logits / self.logit_soft_cap) * self.logit_soft_cap
            return logits
        return super().call(inputs)

    def get_config(self):
        return {**super().get_config(), "tie_weights": self.tie_weights, "logit_soft_cap": self.logit_soft_cap}


@keras.saving.register_keras_serializable(package="zoo")
class TinyDecoder(layers.Layer):
    """Embedding, sines, one block, and the embedding the other way: nested custom layers and a shared weight."""

    def __init__(self, vocab, dim, heads=2, **kwargs):
        super().__init__(**kwargs)
        self.vocab, self.dim, self.heads = vocab, dim, heads
        self.embed = ReversibleEmbedding(vocab, dim, logit_soft_cap=30.0)
        self.position = SinePosition()
        self.attention = TalkingHeads(dim, heads)
        self.norm = layers.LayerNormalization(epsilon=1e-6)

    def call(self, ids):
        x = self.embed(ids)
        x = x * ops.cast(self.dim**0.5, x.dtype) + self.position(x)
        x = self.norm(x + self.attention(x))
        return self.embed(x, reverse=True)

    def get_config(self):
        return {**super().get_config(), "vocab": self.vocab, "dim": self.dim, "heads": self.heads}


@keras.saving.register_keras_serializable(package="zoo")
class SinePosition(layers.Layer):
    """Sines and cosines interleaved by a mask of even places."""

    def __init__(self, max_wavelength=10000, **kwargs):
        super().__init__(**kwargs)
        self.max_wavelength = max_wavelength
        self.built = True

    def call(self, inputs, start_index=0):
        shape = ops.shape(inputs)
        seq_length, hidden = shape[-2], shape[-1]
        positions = ops.cast(ops.arange(seq_length) + start_index, self.compute_dtype)
        min_freq = ops.cast(1 / self.max_wavelength, dtype=self.compute_dtype)
        timescales = ops.power(
            min_freq, ops.cast(2 * (ops.arange(hidden) // 2), self.compute_dtype) / ops.cast(hidden, self.compute_dtype)
        )
        angles = ops.expand_dims(positions, 1) * ops.expand_dims(timescales, 0)
        cos_mask = ops.cast(ops.arange(hidden) % 2, self.compute_dtype)
        encodings = ops.sin(angles) * (1 - cos_mask) + ops.cos(angles) * cos_mask
        return ops.broadcast_to(encodings, shape)

    def get_config(self):
        config = super().get_config()
        config.update({"max_wavelength": self.max_wavelength})
        return config

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable(package="zoo")
class TalkingHeads(layers.Layer):
    """Heads that are mixed before and after the softmax; equations of letters made on the way."""

    def __init__(self, dim, heads, causal=True, **kwargs):
        super().__init__(**kwargs)
        self.dim, self.heads, self.causal = dim, heads, causal
        letters = string.ascii_lowercase
        rest = letters[2:5]
        self.equation = f"ab{rest[0]},{rest[0]}{rest[1:]}->ab{rest[1:]}"

    def build(self, input_shape):
        size = self.dim // self.heads
        common = dict(output_shape=(None, self.heads, size), bias_axes="de")
        self.parts = {n: layers.EinsumDense(self.equation, name=n, **common) for n in ("query", "key", "value")}
        self.before = self.add_weight(shape=(self.heads, self.heads), name="before", initializer="identity")
        self.after = self.add_weight(shape=(self.heads, self.heads), name="after", initializer="identity")
        self.out = layers.EinsumDense("abde,dec->abc", output_shape=(None, self.dim), bias_axes="c", name="out")

    def call(self, x):
        q, k, v = [self.parts[n](x) for n in ("query", "key", "value")]
        scores = ops.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(self.dim // self.heads)
        scores = ops.einsum("bhqk,hg->bgqk", scores, self.before)
        if self.causal:
            n = x.shape[1]
            mask = np.tril(np.ones((n, n), dtype=bool))
            scores = ops.where(mask[None, None], scores, -1e9)
        weights = ops.einsum("bhqk,hg->bgqk", keras.activations.softmax(scores), self.after)
        return self.out(ops.einsum("bhqk,bkhd->bqhd", weights, v))

    def get_config(self):
        return {**super().get_config(), "dim": self.dim, "heads": self.heads, "causal": self.causal}


@keras.saving.register_keras_serializable(package="zoo")
class FourierMix(layers.Layer):
    """FNet: the real part of a transform over time and channels."""

    def __init__(self, dense_dim=5, **kwargs):
        super().__init__(**kwargs)
        self.dense_dim = dense_dim

    def build(self, input_shape):
        self.ffn = keras.Sequential([layers.Dense(self.dense_dim, activation="relu"), layers.Dense(input_shape[-1])])
        self.norms = [layers.LayerNormalization() for _ in range(2)]

    def call(self, x):
        real, _ = ops.fft2((x, ops.zeros_like(x)))
        y = self.norms[0](x + real)
        return self.norms[1](y + self.ffn(y))

    def get_config(self):
        return {**super().get_config(), "dense_dim": self.dense_dim}


@keras.saving.register_keras_serializable(package="zoo")
class MaskedHead(layers.Layer):
    """Logits at given places."""

    def __init__(self, vocab, activation="gelu", **kwargs):
        super().__init__(**kwargs)
        self.vocab, self.activation = vocab, keras.activations.get(activation)

    def build(self, inputs_shape, mask_positions_shape=None):
        self.dense = layers.Dense(inputs_shape[-1], activation=self.activation)
        self.norm = layers.LayerNormalization(epsilon=1e-5)
        self.kernel = self.add_weight(shape=(inputs_shape[-1], self.vocab), name="kernel")
        self.bias = self.add_weight(name="output_bias", shape=(self.vocab,), initializer="zeros")

    def call(self, inputs, mask_positions):
        x = ops.take_along_axis(inputs, ops.expand_dims(mask_positions, axis=-1), axis=1)
        x = self.norm(self.dense(x))
        return ops.add(ops.matmul(x, self.kernel), self.bias)

    def get_config(self):
        return {**super().get_config(), "vocab": self.vocab, "activation": keras.activations.serialize(self.activation)}


@keras.saving.register_keras_serializable(package="zoo")
class Retention(layers.Layer):
    """RetNet's parallel form: a decay matrix for each head made with numpy."""

    def __init__(self, dim, heads=2, **kwargs):
        super().__init__(**kwargs)
        self.dim, self.heads = dim, heads
        self.gammas = (1 - 2.0 ** (-5 - np.arange(heads))).tolist()

    def build(self, input_shape):
        self.q, self.k, self.v, self.g = [layers.Dense(self.dim, use_bias=False, name=n) for n in "qkvg"]
        self.norm = layers.GroupNormalization(self.heads, axis=-1)

    def call(self, x):
        n = x.shape[1]
        at = np.arange(n)
        distance = at[:, None] - at[None, :]
        decay = np.stack([np.where(distance >= 0, gamma ** np.maximum(distance, 0), 0.0) for gamma in self.gammas]).astype(
            "float32"
        )
        heads = [
            ops.transpose(ops.reshape(p(x), (-1, n, self.heads, self.dim // self.heads)), (0, 2, 1, 3))
            for p in (self.q, self.k, self.v)
        ]
        q, k, v = heads
        y = ops.matmul(ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) * ops.convert_to_tensor(decay), v)
        y = ops.reshape(ops.transpose(y, (0, 2, 1, 3)), (-1, self.dim))
        y = ops.reshape(self.norm(y), (-1, n, self.dim))
        return ops.silu(self.g(x)) * y

    def get_config(self):
        return {**super().get_config(), "dim": self.dim, "heads": self.heads}

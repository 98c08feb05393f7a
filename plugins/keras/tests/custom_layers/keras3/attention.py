"""Attention variants."""

import keras
from keras import layers, ops

from .common.maths import dot_product_attention, join_heads, split_heads


class SelfAttention(layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        d = input_shape[-1]
        self.wq = self.add_weight(shape=(d, self.units), initializer="glorot_uniform", name="wq")
        self.wk = self.add_weight(shape=(d, self.units), initializer="glorot_uniform", name="wk")
        self.wv = self.add_weight(shape=(d, self.units), initializer="glorot_uniform", name="wv")
        super().build(input_shape)

    def call(self, x):
        q, k, v = ops.matmul(x, self.wq), ops.matmul(x, self.wk), ops.matmul(x, self.wv)
        scores = ops.matmul(q, ops.transpose(k, (0, 2, 1))) / ops.sqrt(ops.cast(self.units, "float32"))
        return ops.matmul(ops.softmax(scores), v)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class MultiHead(layers.Layer):
    """Heads from dense sublayers, with a causal mask."""

    def __init__(self, dim, heads=2, causal=False, dropout=0.1, **kwargs):
        super().__init__(**kwargs)
        if dim % heads != 0:
            raise ValueError(f"dim {dim} must be divisible by {heads}")
        self.dim, self.heads, self.causal, self.rate = dim, heads, causal, dropout
        self.query = layers.Dense(dim, use_bias=False)
        self.key_dense = layers.Dense(dim, use_bias=False)
        self.value = layers.Dense(dim)
        self.drop = layers.Dropout(dropout)
        self.combine = layers.Dense(dim)

    def call(self, inputs, training=None):
        q, k, v = (split_heads(f(inputs), self.heads) for f in (self.query, self.key_dense, self.value))
        mask = None
        if self.causal:
            n = inputs.shape[1]
            i = ops.arange(n)[:, None]
            j = ops.arange(n)
            mask = i >= j
        out, _ = dot_product_attention(q, k, v, mask=mask)
        out = self.combine(join_heads(out))
        return self.drop(out, training=training)

    def get_config(self):
        config = super().get_config()
        config.update({"dim": self.dim, "heads": self.heads, "causal": self.causal, "dropout": self.rate})
        return config


class BahdanauAttention(layers.Layer):
    def __init__(self, units=8, **kwargs):
        super().__init__(**kwargs)
        self.W1 = layers.Dense(units)
        self.W2 = layers.Dense(units)
        self.V = layers.Dense(1)
        self.units = units

    def call(self, query, values):
        query_with_time = ops.expand_dims(query, 1)
        score = self.V(ops.tanh(self.W1(query_with_time) + self.W2(values)))
        weights = ops.softmax(score, axis=1)
        context = ops.sum(weights * values, axis=1)
        return context, weights

    def get_config(self):
        return dict(super().get_config(), units=self.units)


class LuongAttention(layers.Layer):
    def __init__(self, method="general", **kwargs):
        super().__init__(**kwargs)
        self.method = method

    def build(self, query_shape, values_shape):
        if self.method == "general":
            self.w = self.add_weight(shape=(values_shape[-1], query_shape[-1]), name="w")

    def call(self, query, values):
        keys = ops.matmul(values, self.w) if self.method == "general" else values
        score = ops.einsum("bd,btd->bt", query, keys)
        return ops.einsum("bt,btd->bd", ops.softmax(score, axis=-1), values)

    def get_config(self):
        return {"method": self.method, **super().get_config()}


class GroupedQuery(layers.Layer):
    def __init__(self, heads, kv_heads, head_dim, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim

    def build(self, shape):
        d = shape[-1]
        self.q = layers.EinsumDense("btd,dhk->bthk", output_shape=(None, self.heads, self.head_dim))
        self.k = layers.EinsumDense("btd,dhk->bthk", output_shape=(None, self.kv_heads, self.head_dim))
        self.v = layers.EinsumDense("btd,dhk->bthk", output_shape=(None, self.kv_heads, self.head_dim))
        self.o = layers.EinsumDense("bthk,hkd->btd", output_shape=(None, d))
        for part in (self.q, self.k, self.v):
            part.build(shape)
        self.o.build((shape[0], shape[1], self.heads, self.head_dim))

    def call(self, x):
        q, k, v = self.q(x), self.k(x), self.v(x)
        groups = self.heads // self.kv_heads
        k, v = (ops.repeat(t, groups, axis=2) for t in (k, v))
        w = ops.softmax(ops.einsum("bthk,bshk->bhts", q, k) * self.head_dim**-0.5)
        return self.o(ops.einsum("bhts,bshk->bthk", w, v))

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "kv_heads": self.kv_heads, "head_dim": self.head_dim}


class LinearAttention(layers.Layer):
    def __init__(self, heads=2, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads

    def build(self, shape):
        self.qkv = layers.Dense(3 * shape[-1], use_bias=False)
        self.qkv.build(shape)

    @staticmethod
    def feature(x):
        return ops.elu(x) + 1.0

    def call(self, x):
        q, k, v = ops.split(self.qkv(x), 3, axis=-1)
        q, k, v = [split_heads(t, self.heads) for t in (q, k, v)]
        q, k = self.feature(q), self.feature(k)
        kv = ops.einsum("bhnd,bhne->bhde", k, v)
        z = 1 / (ops.einsum("bhnd,bhd->bhn", q, ops.sum(k, axis=2)) + 1e-6)
        return join_heads(ops.einsum("bhnd,bhde,bhn->bhne", q, kv, z))

    def get_config(self):
        return {**super().get_config(), "heads": self.heads}


class PoolingByAttention(layers.Layer):
    """Multi-head attention pooling with learned seeds."""

    def __init__(self, num_seeds, num_heads, key_dim, **kwargs):
        super().__init__(**kwargs)
        self.num_seeds, self.num_heads, self.key_dim = num_seeds, num_heads, key_dim
        self.mha = layers.MultiHeadAttention(num_heads=num_heads, key_dim=key_dim)

    def build(self, input_shape):
        self.seeds = self.add_weight(shape=(1, self.num_seeds, input_shape[-1]), initializer="random_normal", name="seeds")
        self.mha.build((None, self.num_seeds, input_shape[-1]), input_shape)

    def call(self, x):
        seeds = ops.tile(self.seeds, (ops.shape(x)[0], 1, 1))
        return self.mha(seeds, x)

    def get_config(self):
        base = super().get_config()
        return {**base, "num_seeds": self.num_seeds, "num_heads": self.num_heads, "key_dim": self.key_dim}


class TransformerBlock(layers.Layer):
    def __init__(self, embed_dim, num_heads, ff_dim, rate=0.1, **kwargs):
        super().__init__(**kwargs)
        self.args = dict(embed_dim=embed_dim, num_heads=num_heads, ff_dim=ff_dim, rate=rate)
        self.att = layers.MultiHeadAttention(num_heads=num_heads, key_dim=embed_dim // num_heads)
        self.ffn = keras.Sequential([layers.Dense(ff_dim, activation="relu"), layers.Dense(embed_dim)])
        self.layernorm1 = layers.LayerNormalization(epsilon=1e-6)
        self.layernorm2 = layers.LayerNormalization(epsilon=1e-6)
        self.dropout1 = layers.Dropout(rate)
        self.dropout2 = layers.Dropout(rate)

    def call(self, inputs, training=False):
        attn_output = self.att(inputs, inputs)
        attn_output = self.dropout1(attn_output, training=training)
        out1 = self.layernorm1(inputs + attn_output)
        ffn_output = self.ffn(out1)
        ffn_output = self.dropout2(ffn_output, training=training)
        return self.layernorm2(out1 + ffn_output)

    def get_config(self):
        return {**super().get_config(), **self.args}


class EncoderStack(layers.Layer):
    """Blocks in a list, made in a loop."""

    def __init__(self, depth, dim, heads, **kwargs):
        super().__init__(**kwargs)
        self.depth, self.dim, self.heads = depth, dim, heads
        self.blocks = []
        for i in range(depth):
            self.blocks.append(TransformerBlock(dim, heads, 2 * dim, name=f"block_{i}"))
        self.norm = layers.LayerNormalization()

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def get_config(self):
        return {**super().get_config(), "depth": self.depth, "dim": self.dim, "heads": self.heads}


class RelativeBias(layers.Layer):
    """Scores with a learned bias for each distance."""

    def __init__(self, heads=2, reach=4, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.reach = heads, reach

    def build(self, shape):
        self.bias = self.add_weight(shape=(2 * self.reach + 1, self.heads), name="bias")

    def call(self, scores):
        n = scores.shape[-1]
        distance = ops.arange(n)[None, :] - ops.arange(n)[:, None]
        index = ops.clip(distance, -self.reach, self.reach) + self.reach
        bias = ops.take(self.bias, index, axis=0)
        return ops.softmax(scores + ops.transpose(bias, (2, 0, 1))[None])

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "reach": self.reach}


class MaskedMeanAttention(layers.Layer):
    """Takes the mask of an Embedding."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        self.v = self.add_weight(shape=(input_shape[-1], 1), name="v")

    def call(self, x, mask=None):
        score = ops.squeeze(ops.matmul(ops.tanh(x), self.v), -1)
        if mask is not None:
            score = ops.where(mask, score, -1e9)
        a = ops.expand_dims(ops.softmax(score), -1)
        return ops.sum(a * x, axis=1)

    def compute_mask(self, inputs, mask=None):
        return None


class CrossCovariance(layers.Layer):
    """XCA: attention over channels with a learned temperature."""

    def __init__(self, num_heads=2, qkv_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.qkv_bias = num_heads, qkv_bias

    def build(self, shape):
        self.dim = shape[-1]
        self.qkv = layers.Dense(self.dim * 3, use_bias=self.qkv_bias, name="qkv")
        self.proj = layers.Dense(self.dim, name="proj")
        self.temperature = self.add_weight(shape=(self.num_heads, 1, 1), initializer="ones", name="temperature")
        self.qkv.build(shape)
        self.proj.build(shape)
        self.built = True

    def call(self, x):
        b, n, c = ops.shape(x)[0], x.shape[1], self.dim
        qkv = ops.reshape(self.qkv(x), (b, n, 3, self.num_heads, c // self.num_heads))
        q, k, v = ops.unstack(ops.transpose(qkv, (2, 0, 3, 4, 1)), axis=0)
        q, k = ops.normalize(q, axis=-1), ops.normalize(k, axis=-1)
        attn = ops.softmax(ops.matmul(q, ops.swapaxes(k, -2, -1)) * self.temperature, axis=-1)
        y = ops.transpose(ops.matmul(attn, v), (0, 3, 1, 2))
        return self.proj(ops.reshape(y, (b, n, c)))

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads, "qkv_bias": self.qkv_bias}

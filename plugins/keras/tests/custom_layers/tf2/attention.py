"""Attention with ``tf.*``."""

import numpy as np
import tensorflow as tf
from tensorflow.keras import layers
from tensorflow.keras.layers import Dense, Layer


def scaled_dot_product_attention(q, k, v, mask):
    matmul_qk = tf.matmul(q, k, transpose_b=True)
    dk = tf.cast(tf.shape(k)[-1], tf.float32)
    scaled_attention_logits = matmul_qk / tf.math.sqrt(dk)
    if mask is not None:
        scaled_attention_logits += mask * -1e9
    attention_weights = tf.nn.softmax(scaled_attention_logits, axis=-1)
    output = tf.matmul(attention_weights, v)
    return output, attention_weights


class TransformerAttention(tf.keras.layers.Layer):
    def __init__(self, d_model, num_heads, **kwargs):
        super(TransformerAttention, self).__init__(**kwargs)
        self.num_heads = num_heads
        self.d_model = d_model
        assert d_model % self.num_heads == 0
        self.depth = d_model // self.num_heads
        self.wq = tf.keras.layers.Dense(d_model)
        self.wk = tf.keras.layers.Dense(d_model)
        self.wv = tf.keras.layers.Dense(d_model)
        self.dense = tf.keras.layers.Dense(d_model)

    def split_heads(self, x, batch_size):
        x = tf.reshape(x, (batch_size, -1, self.num_heads, self.depth))
        return tf.transpose(x, perm=[0, 2, 1, 3])

    def call(self, inputs):
        q = k = v = inputs
        batch_size = tf.shape(q)[0]
        q = self.split_heads(self.wq(q), batch_size)
        k = self.split_heads(self.wk(k), batch_size)
        v = self.split_heads(self.wv(v), batch_size)
        scaled_attention, _ = scaled_dot_product_attention(q, k, v, None)
        scaled_attention = tf.transpose(scaled_attention, perm=[0, 2, 1, 3])
        concat_attention = tf.reshape(scaled_attention, (batch_size, -1, self.d_model))
        return self.dense(concat_attention)

    def get_config(self):
        config = super(TransformerAttention, self).get_config()
        config.update({"d_model": self.d_model, "num_heads": self.num_heads})
        return config


class PositionalEncoding(tf.keras.layers.Layer):
    def __init__(self, position, d_model, **kwargs):
        super().__init__(**kwargs)
        self.position, self.d_model = position, d_model
        self.pos_encoding = self.positional_encoding(position, d_model)

    def get_angles(self, position, i, d_model):
        angles = 1 / tf.pow(10000.0, (2 * (i // 2)) / tf.cast(d_model, tf.float32))
        return position * angles

    def positional_encoding(self, position, d_model):
        angle_rads = self.get_angles(
            position=np.arange(position, dtype="float32")[:, np.newaxis],
            i=np.arange(d_model, dtype="float32")[np.newaxis, :],
            d_model=d_model,
        )
        sines = tf.math.sin(angle_rads[:, 0::2])
        cosines = tf.math.cos(angle_rads[:, 1::2])
        pos_encoding = tf.concat([sines, cosines], axis=-1)
        pos_encoding = pos_encoding[tf.newaxis, ...]
        return tf.cast(pos_encoding, tf.float32)

    def call(self, inputs):
        return inputs + self.pos_encoding[:, : tf.shape(inputs)[1], :]

    def get_config(self):
        return dict(super().get_config(), position=self.position, d_model=self.d_model)


def angle_table(position, d_model):
    i = np.arange(d_model)[np.newaxis, :]
    rads = np.arange(position)[:, np.newaxis] * (1 / np.power(10000, (2 * (i // 2)) / np.float32(d_model)))
    rads[:, 0::2] = np.sin(rads[:, 0::2])
    rads[:, 1::2] = np.cos(rads[:, 1::2])
    return tf.cast(rads[np.newaxis, ...], dtype=tf.float32)


class NumpyEncoding(Layer):
    def __init__(self, max_length=50, **kwargs):
        super().__init__(**kwargs)
        self.max_length = max_length

    def build(self, input_shape):
        self.pos = angle_table(self.max_length, int(input_shape[-1]))
        super().build(input_shape)

    def call(self, x):
        seq_len = tf.shape(x)[1]
        x *= tf.math.sqrt(tf.cast(x.shape[-1], tf.float32))
        return x + self.pos[:, :seq_len, :]

    def get_config(self):
        return {**super().get_config(), "max_length": self.max_length}


class CausalSelfAttention(Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.qkv = Dense(3 * units, use_bias=False)

    def call(self, x):
        q, k, v = tf.split(self.qkv(x), 3, axis=-1)
        n = tf.shape(x)[1]
        mask = 1 - tf.linalg.band_part(tf.ones((x.shape[1], x.shape[1])), -1, 0)
        out, _ = scaled_dot_product_attention(q, k, v, mask)
        return out

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class TutorialAttention(Layer):
    """BahdanauAttention as in TensorFlow's tutorials."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.W1 = tf.keras.layers.Dense(units)
        self.W2 = tf.keras.layers.Dense(units)
        self.V = tf.keras.layers.Dense(1)

    def call(self, inputs):
        features, hidden = inputs
        hidden_with_time_axis = tf.expand_dims(hidden, 1)
        attention_hidden_layer = tf.nn.tanh(self.W1(features) + self.W2(hidden_with_time_axis))
        score = self.V(attention_hidden_layer)
        attention_weights = tf.nn.softmax(score, axis=1)
        context_vector = attention_weights * features
        context_vector = tf.reduce_sum(context_vector, axis=1)
        return context_vector, attention_weights

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class EncoderLayer(tf.keras.layers.Layer):
    def __init__(self, d_model, num_heads, dff, rate=0.1, **kwargs):
        super(EncoderLayer, self).__init__(**kwargs)
        self.cfg = {"d_model": d_model, "num_heads": num_heads, "dff": dff, "rate": rate}
        self.mha = TransformerAttention(d_model, num_heads)
        self.ffn = point_wise_feed_forward_network(d_model, dff)
        self.layernorm1 = tf.keras.layers.LayerNormalization(epsilon=1e-6)
        self.layernorm2 = tf.keras.layers.LayerNormalization(epsilon=1e-6)
        self.dropout1 = tf.keras.layers.Dropout(rate)
        self.dropout2 = tf.keras.layers.Dropout(rate)

    def call(self, x, training=None):
        attn_output = self.mha(x)
        attn_output = self.dropout1(attn_output, training=training)
        out1 = self.layernorm1(x + attn_output)
        ffn_output = self.ffn(out1)
        ffn_output = self.dropout2(ffn_output, training=training)
        return self.layernorm2(out1 + ffn_output)

    def get_config(self):
        return {**super().get_config(), **self.cfg}


def point_wise_feed_forward_network(d_model, dff):
    return tf.keras.Sequential([tf.keras.layers.Dense(dff, activation="relu"), tf.keras.layers.Dense(d_model)])


class AttentionPool(Layer):
    def __init__(self, return_attention=False, **kwargs):
        self.return_attention = return_attention
        super().__init__(**kwargs)

    def build(self, input_shape):
        self.W = self.add_weight(name="att_weight", shape=(input_shape[-1], 1), initializer="normal")
        self.b = self.add_weight(name="att_bias", shape=(input_shape[1], 1), initializer="zeros")
        super(AttentionPool, self).build(input_shape)

    def call(self, x):
        e = tf.squeeze(tf.tanh(tf.matmul(x, self.W) + self.b), axis=-1)
        a = tf.expand_dims(tf.nn.softmax(e), axis=-1)
        out = tf.reduce_sum(x * a, axis=1)
        if self.return_attention:
            return [out, a]
        return out

    def get_config(self):
        return {**super().get_config(), "return_attention": self.return_attention}


class ExternalAttention(Layer):
    def __init__(self, dim, num_heads=2, dim_coefficient=2, **kwargs):
        super().__init__(**kwargs)
        self.dim, self.num_heads, self.dim_coefficient = dim, num_heads, dim_coefficient
        self.inner = 8 // dim_coefficient
        self.to_q = Dense(dim * dim_coefficient)
        self.mk = Dense(self.inner)
        self.mv = Dense(dim * dim_coefficient // num_heads)
        self.proj = Dense(dim)

    def call(self, x):
        num_patch = x.shape[1]
        q = self.to_q(x)
        q = tf.reshape(q, [-1, num_patch, self.num_heads, self.dim * self.dim_coefficient // self.num_heads])
        q = tf.transpose(q, perm=[0, 2, 1, 3])
        attn = self.mk(q)
        attn = layers.Softmax(axis=2)(attn)
        attn = attn / (1e-9 + tf.reduce_sum(attn, axis=-1, keepdims=True))
        y = tf.transpose(self.mv(attn), perm=[0, 2, 1, 3])
        return self.proj(tf.reshape(y, [-1, num_patch, self.dim * self.dim_coefficient]))

    def get_config(self):
        return {**super().get_config(), "dim": self.dim, "num_heads": self.num_heads, "dim_coefficient": self.dim_coefficient}


class WindowAttention(Layer):
    """Swin's window partition with a relative position table."""

    def __init__(self, window_size=2, num_heads=2, **kwargs):
        super().__init__(**kwargs)
        self.window_size, self.num_heads = window_size, num_heads

    def build(self, input_shape):
        self.dim = input_shape[-1]
        w = self.window_size
        self.qkv = Dense(self.dim * 3, name="qkv")
        self.proj = Dense(self.dim, name="proj")
        self.table = self.add_weight(
            "relative_position_bias_table", shape=((2 * w - 1) * (2 * w - 1), self.num_heads), initializer="zeros", trainable=True
        )
        coords = np.stack(np.meshgrid(np.arange(w), np.arange(w), indexing="ij"))
        flat = coords.reshape(2, -1)
        relative = flat[:, :, None] - flat[:, None, :]
        relative = relative.transpose([1, 2, 0])
        relative[:, :, 0] += w - 1
        relative[:, :, 1] += w - 1
        relative[:, :, 0] *= 2 * w - 1
        self.index = tf.constant(relative.sum(-1).astype("int32"))
        self.built = True

    def partition(self, x):
        _, h, w, c = x.shape
        s = self.window_size
        x = tf.reshape(x, (-1, h // s, s, w // s, s, c))
        return tf.reshape(tf.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, s * s, c))

    def call(self, x):
        _, h, w, c = x.shape
        s = self.window_size
        windows = self.partition(x)
        head_dim = c // self.num_heads
        qkv = tf.reshape(self.qkv(windows), (-1, s * s, 3, self.num_heads, head_dim))
        q, k, v = tf.unstack(tf.transpose(qkv, (2, 0, 3, 1, 4)))
        attn = (q * head_dim**-0.5) @ tf.transpose(k, (0, 1, 3, 2))
        bias = tf.reshape(tf.gather(self.table, tf.reshape(self.index, [-1])), (s * s, s * s, -1))
        attn = tf.nn.softmax(attn + tf.expand_dims(tf.transpose(bias, (2, 0, 1)), 0), -1)
        y = tf.reshape(tf.transpose(attn @ v, (0, 2, 1, 3)), (-1, s * s, c))
        y = tf.reshape(self.proj(y), (-1, h // s, w // s, s, s, c))
        return tf.reshape(tf.transpose(y, (0, 1, 3, 2, 4, 5)), (-1, h, w, c))

    def get_config(self):
        return {**super().get_config(), "window_size": self.window_size, "num_heads": self.num_heads}

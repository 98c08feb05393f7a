"""Sequence, recommender and density layers with ``K.*`` and ``tf.*``."""

import tensorflow as tf
from tensorflow.keras import activations, constraints, initializers, regularizers
from tensorflow.keras import backend as K
from tensorflow.keras.layers import Dense, Embedding, InputSpec, Layer

_EPSILON = K.epsilon()


def dot_product(x, kernel):
    """Wrapper for the dot product of one backend or another."""
    return K.squeeze(K.dot(x, K.expand_dims(kernel)), axis=-1)


class AttentionWithContext(Layer):
    def __init__(self, W_regularizer=None, u_regularizer=None, b_regularizer=None, W_constraint=None, bias=True, **kwargs):
        self.supports_masking = True
        self.init = initializers.get("glorot_uniform")
        self.W_regularizer = regularizers.get(W_regularizer)
        self.u_regularizer = regularizers.get(u_regularizer)
        self.b_regularizer = regularizers.get(b_regularizer)
        self.W_constraint = constraints.get(W_constraint)
        self.bias = bias
        super(AttentionWithContext, self).__init__(**kwargs)

    def build(self, input_shape):
        assert len(input_shape) == 3
        self.W = self.add_weight(
            shape=(input_shape[-1], input_shape[-1]),
            initializer=self.init,
            name="{}_W".format(self.name),
            regularizer=self.W_regularizer,
            constraint=self.W_constraint,
        )
        if self.bias:
            self.b = self.add_weight(shape=(input_shape[-1],), initializer="zero", name="{}_b".format(self.name))
        self.u = self.add_weight(shape=(input_shape[-1],), initializer=self.init, name="{}_u".format(self.name))
        super(AttentionWithContext, self).build(input_shape)

    def compute_mask(self, input, input_mask=None):
        return None

    def call(self, x, mask=None):
        uit = dot_product_matrix(x, self.W)
        if self.bias:
            uit += self.b
        uit = K.tanh(uit)
        ait = dot_product(uit, self.u)
        a = K.exp(ait)
        if mask is not None:
            a *= K.cast(mask, K.floatx())
        a /= K.cast(K.sum(a, axis=1, keepdims=True) + K.epsilon(), K.floatx())
        a = K.expand_dims(a)
        weighted_input = x * a
        return K.sum(weighted_input, axis=1)

    def compute_output_shape(self, input_shape):
        return input_shape[0], input_shape[-1]


def dot_product_matrix(x, kernel):
    return K.dot(x, kernel)


class SeqSelfAttention(Layer):
    """Additive or multiplicative, by the configuration."""

    ATTENTION_TYPE_ADD = "additive"
    ATTENTION_TYPE_MUL = "multiplicative"

    def __init__(self, units=5, attention_width=None, attention_type=ATTENTION_TYPE_ADD, use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.units, self.attention_width, self.attention_type, self.use_bias = units, attention_width, attention_type, use_bias

    def build(self, input_shape):
        d = int(input_shape[2])
        if self.attention_type == SeqSelfAttention.ATTENTION_TYPE_ADD:
            self._build_additive(d)
        elif self.attention_type == SeqSelfAttention.ATTENTION_TYPE_MUL:
            self.Wa = self.add_weight(shape=(d, d), name=f"{self.name}_Add_Wa")
        else:
            raise NotImplementedError("No implementation for attention type : " + self.attention_type)
        super().build(input_shape)

    def _build_additive(self, d):
        self.Wt = self.add_weight(shape=(d, self.units), name="Wt")
        self.Wx = self.add_weight(shape=(d, self.units), name="Wx")
        if self.use_bias:
            self.bh = self.add_weight(shape=(self.units,), name="bh", initializer="zeros")
        self.Wa = self.add_weight(shape=(self.units, 1), name="Wa")

    def _emission(self, inputs):
        input_shape = K.shape(inputs)
        batch_size, input_len = input_shape[0], inputs.shape[1]
        if self.attention_type == self.ATTENTION_TYPE_MUL:
            return K.batch_dot(K.dot(inputs, self.Wa), K.permute_dimensions(inputs, (0, 2, 1)))
        q = K.expand_dims(K.dot(inputs, self.Wt), 2)
        k = K.expand_dims(K.dot(inputs, self.Wx), 1)
        h = K.tanh(q + k + self.bh) if self.use_bias else K.tanh(q + k)
        return K.reshape(K.dot(h, self.Wa), (batch_size, input_len, input_len))

    def call(self, inputs, mask=None, **kwargs):
        input_len = inputs.shape[1]
        e = self._emission(inputs)
        if self.attention_width is not None:
            lower = K.arange(0, input_len) - self.attention_width // 2
            lower = K.expand_dims(lower, axis=-1)
            indices = K.expand_dims(K.arange(0, input_len), axis=0)
            e -= 10000.0 * (
                1.0 - K.cast(lower <= indices, K.floatx()) * K.cast(indices < lower + self.attention_width, K.floatx())
            )
        e = K.exp(e - K.max(e, axis=-1, keepdims=True))
        a = e / K.sum(e, axis=-1, keepdims=True)
        return K.batch_dot(a, inputs)

    def get_config(self):
        own = ("units", "attention_width", "attention_type", "use_bias")
        return {**super().get_config(), **{k: getattr(self, k) for k in own}}


class LayerNorm(Layer):
    def __init__(self, center=True, scale=True, epsilon=None, gamma_initializer="ones", **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.center, self.scale = center, scale
        if epsilon is None:
            epsilon = K.epsilon() * K.epsilon()
        self.epsilon = epsilon
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.gamma, self.beta = None, None

    def build(self, input_shape):
        self.input_spec = InputSpec(shape=input_shape)
        shape = input_shape[-1:]
        if self.scale:
            self.gamma = self.add_weight(shape=shape, initializer=self.gamma_initializer, name="gamma")
        if self.center:
            self.beta = self.add_weight(shape=shape, initializer="zeros", name="beta")
        super().build(input_shape)

    def call(self, inputs, training=None):
        mean = K.mean(inputs, axis=-1, keepdims=True)
        variance = K.mean(K.square(inputs - mean), axis=-1, keepdims=True)
        std = K.sqrt(variance + self.epsilon)
        outputs = (inputs - mean) / std
        if self.scale:
            outputs *= self.gamma
        if self.center:
            outputs += self.beta
        return outputs

    def get_config(self):
        config = {
            "center": self.center,
            "scale": self.scale,
            "epsilon": self.epsilon,
            "gamma_initializer": initializers.serialize(self.gamma_initializer),
        }
        base_config = super().get_config()
        return dict(list(base_config.items()) + list(config.items()))


class CapsuleLayer(Layer):
    def __init__(self, num_capsule, dim_capsule, routings=2, share_weights=True, activation="squash", **kwargs):
        super().__init__(**kwargs)
        self.num_capsule, self.dim_capsule, self.routings = num_capsule, dim_capsule, routings
        self.share_weights, self.act = share_weights, activation
        if activation == "squash":
            self.activation = squash
        else:
            self.activation = activations.get(activation)

    def build(self, input_shape):
        input_dim_capsule = input_shape[-1]
        if self.share_weights:
            shape = (1, input_dim_capsule, self.num_capsule * self.dim_capsule)
        else:
            shape = (input_shape[-2], input_dim_capsule, self.num_capsule * self.dim_capsule)
        self.kernel = self.add_weight(name="capsule_kernel", shape=shape, initializer="glorot_uniform", trainable=True)

    def call(self, inputs):
        hat_inputs = tf.einsum("bij,kjl->bil", inputs, self.kernel)
        batch_size = K.shape(inputs)[0]
        input_num_capsule = inputs.shape[1]
        hat_inputs = K.reshape(hat_inputs, (batch_size, input_num_capsule, self.num_capsule, self.dim_capsule))
        hat_inputs = K.permute_dimensions(hat_inputs, (0, 2, 1, 3))
        b = K.zeros_like(hat_inputs[:, :, :, 0])
        for i in range(self.routings):
            c = K.softmax(b, 1)
            o = self.activation(K.sum(K.expand_dims(c, -1) * hat_inputs, axis=2))
            if i < self.routings - 1:
                b += K.sum(K.expand_dims(o, 2) * hat_inputs, axis=-1)
        return o

    def get_config(self):
        own = {"num_capsule": self.num_capsule, "dim_capsule": self.dim_capsule, "routings": self.routings}
        return {**super().get_config(), **own, "share_weights": self.share_weights, "activation": self.act}


def squash(x, axis=-1):
    s_squared_norm = K.sum(K.square(x), axis, keepdims=True) + K.epsilon()
    scale = K.sqrt(s_squared_norm) / (0.5 + s_squared_norm)
    return scale * x


class KMaxPooling(Layer):
    def __init__(self, k=2, **kwargs):
        super().__init__(**kwargs)
        self.k = k

    def call(self, inputs):
        shifted = tf.transpose(inputs, [0, 2, 1])
        top_k = tf.math.top_k(shifted, k=self.k, sorted=True)[0]
        return tf.reshape(top_k, (-1, shifted.shape[1] * self.k))

    def get_config(self):
        return {**super().get_config(), "k": self.k}


class FM(Layer):
    def __init__(self, latent_dim=3, **kwargs):
        super().__init__(**kwargs)
        self.latent_dim = latent_dim

    def build(self, input_shape):
        self.w0 = self.add_weight(name="w0", shape=(1,), initializer=tf.zeros_initializer(), trainable=True)
        self.w = self.add_weight(name="w", shape=(input_shape[-1], 1), initializer=tf.random_normal_initializer(), trainable=True)
        self.v = self.add_weight(name="v", shape=(input_shape[-1], self.latent_dim), trainable=True)

    def call(self, inputs):
        first_order = self.w0 + tf.matmul(inputs, self.w)
        second_order = 0.5 * tf.reduce_sum(
            tf.pow(tf.matmul(inputs, self.v), 2) - tf.matmul(tf.pow(inputs, 2), tf.pow(self.v, 2)), axis=1, keepdims=True
        )
        return tf.nn.sigmoid(first_order + second_order)

    def get_config(self):
        return {**super().get_config(), "latent_dim": self.latent_dim}


class CIN(Layer):
    """Compressed interaction network (xDeepFM), field by field."""

    def __init__(self, layer_size=(4, 3), activation="relu", **kwargs):
        super().__init__(**kwargs)
        self.layer_size = tuple(layer_size)
        self.act_name = activation
        self.activation_fn = tf.keras.layers.Activation(activation)

    def build(self, input_shape):
        if len(input_shape) != 3:
            raise ValueError("Unexpected inputs dimensions %d, expect to be 3 dimensions" % (len(input_shape)))
        self.field_nums = [int(input_shape[1])]
        self.filters, self.bias = [], []
        for i, size in enumerate(self.layer_size):
            self.filters.append(
                self.add_weight(name="filter" + str(i), shape=[1, self.field_nums[-1] * self.field_nums[0], size])
            )
            self.bias.append(self.add_weight(name="bias" + str(i), shape=[size], initializer="zeros"))
            self.field_nums.append(size)
        super().build(input_shape)

    def call(self, inputs, **kwargs):
        dim = int(inputs.get_shape()[-1])
        hidden = [inputs]
        finals = []
        split0 = tf.split(hidden[0], dim * [1], 2)
        for idx, layer_size in enumerate(self.layer_size):
            split = tf.split(hidden[-1], dim * [1], 2)
            dot_m = tf.matmul(split0, split, transpose_b=True)
            dot_o = tf.reshape(dot_m, shape=[dim, -1, self.field_nums[0] * self.field_nums[idx]])
            dot = tf.transpose(dot_o, perm=[1, 0, 2])
            out = tf.nn.conv1d(dot, filters=self.filters[idx], stride=1, padding="VALID")
            out = self.activation_fn(tf.nn.bias_add(out, self.bias[idx]))
            out = tf.transpose(out, perm=[0, 2, 1])
            finals.append(out)
            hidden.append(out)
        return tf.reduce_sum(tf.concat(finals, axis=1), -1)

    def get_config(self):
        return {**super().get_config(), "layer_size": self.layer_size, "activation": self.act_name}


class Time2Vec(Layer):
    def __init__(self, kernel_size=2, **kwargs):
        super().__init__(**kwargs)
        self.k = kernel_size

    def build(self, input_shape):
        self.wb = self.add_weight(name="wb", shape=(input_shape[1],), initializer="uniform", trainable=True)
        self.bb = self.add_weight(name="bb", shape=(input_shape[1],), initializer="uniform", trainable=True)
        self.wa = self.add_weight(name="wa", shape=(1, input_shape[1], self.k), initializer="uniform", trainable=True)
        self.ba = self.add_weight(name="ba", shape=(1, input_shape[1], self.k), initializer="uniform", trainable=True)
        super(Time2Vec, self).build(input_shape)

    def call(self, inputs, **kwargs):
        bias = self.wb * inputs + self.bb
        dp = K.dot(K.expand_dims(inputs, 1), self.wa[0])[:, 0] if False else K.sum(K.expand_dims(inputs, -1) * self.wa, axis=1)
        wgts = K.sin(dp + self.ba[:, 0])
        return K.concatenate([bias, wgts], -1)

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.k}


class NALU(Layer):
    def __init__(self, units, use_gating=True, **kwargs):
        super().__init__(**kwargs)
        self.units, self.use_gating, self.epsilon = units, use_gating, 1e-7

    def build(self, input_shape):
        d = input_shape[-1]
        self.W_hat = self.add_weight(shape=(d, self.units), name="W_hat")
        self.M_hat = self.add_weight(shape=(d, self.units), name="M_hat")
        if self.use_gating:
            self.G = self.add_weight(shape=(d, self.units), name="G")

    def call(self, inputs):
        W = K.tanh(self.W_hat) * K.sigmoid(self.M_hat)
        a = K.dot(inputs, W)
        if self.use_gating:
            m = K.exp(K.clip(K.dot(K.log(K.abs(inputs) + self.epsilon), W), -20.0, 20.0))
            g = K.sigmoid(K.dot(inputs, self.G))
            return g * a + (1.0 - g) * m
        return a

    def get_config(self):
        return {**super().get_config(), "units": self.units, "use_gating": self.use_gating}


class ClusteringLayer(Layer):
    """Student's t similarity to cluster centres (deep embedded clustering)."""

    def __init__(self, n_clusters, alpha=1.0, **kwargs):
        if "input_shape" not in kwargs and "input_dim" in kwargs:
            kwargs["input_shape"] = (kwargs.pop("input_dim"),)
        super(ClusteringLayer, self).__init__(**kwargs)
        self.n_clusters = n_clusters
        self.alpha = alpha
        self.input_spec = InputSpec(ndim=2)

    def build(self, input_shape):
        assert len(input_shape) == 2
        input_dim = input_shape[1]
        self.input_spec = InputSpec(dtype=K.floatx(), shape=(None, input_dim))
        self.clusters = self.add_weight(shape=(self.n_clusters, input_dim), initializer="glorot_uniform", name="clusters")
        self.built = True

    def call(self, inputs, **kwargs):
        q = 1.0 / (1.0 + (K.sum(K.square(K.expand_dims(inputs, axis=1) - self.clusters), axis=2) / self.alpha))
        q **= (self.alpha + 1.0) / 2.0
        q = K.transpose(K.transpose(q) / K.sum(q, axis=1))
        return q

    def get_config(self):
        config = {"n_clusters": self.n_clusters, "alpha": self.alpha}
        base_config = super(ClusteringLayer, self).get_config()
        return dict(list(base_config.items()) + list(config.items()))


class RBFLayer(Layer):
    def __init__(self, units, gamma, **kwargs):
        super(RBFLayer, self).__init__(**kwargs)
        self.units = units
        self.gamma = K.cast_to_floatx(gamma)

    def build(self, input_shape):
        self.mu = self.add_weight(name="mu", shape=(int(input_shape[1]), self.units), initializer="uniform", trainable=True)
        super(RBFLayer, self).build(input_shape)

    def call(self, inputs):
        diff = K.expand_dims(inputs) - self.mu
        l2 = K.sum(K.pow(diff, 2), axis=1)
        return K.exp(-1 * self.gamma * l2)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "gamma": float(self.gamma)}


class VectorQuantizer(Layer):
    def __init__(self, num_embeddings, embedding_dim, beta=0.25, **kwargs):
        super().__init__(**kwargs)
        self.embedding_dim, self.num_embeddings, self.beta = embedding_dim, num_embeddings, beta
        w_init = tf.random_uniform_initializer()
        self.embeddings = tf.Variable(
            initial_value=w_init(shape=(self.embedding_dim, self.num_embeddings), dtype="float32"),
            trainable=True,
            name="embeddings_vqvae",
        )

    def call(self, x):
        input_shape = tf.shape(x)
        flattened = tf.reshape(x, [-1, self.embedding_dim])
        similarity = tf.matmul(flattened, self.embeddings)
        distances = (
            tf.reduce_sum(flattened**2, axis=1, keepdims=True) + tf.reduce_sum(self.embeddings**2, axis=0) - 2 * similarity
        )
        indices = tf.argmin(distances, axis=1)
        encodings = tf.one_hot(indices, self.num_embeddings)
        quantized = tf.matmul(encodings, self.embeddings, transpose_b=True)
        quantized = tf.reshape(quantized, input_shape)
        self.add_loss(self.beta * tf.reduce_mean((tf.stop_gradient(quantized) - x) ** 2))
        return x + tf.stop_gradient(quantized - x)

    def get_config(self):
        own = {"num_embeddings": self.num_embeddings, "embedding_dim": self.embedding_dim, "beta": self.beta}
        return {**super().get_config(), **own}


class TimestepDropout(Layer):
    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.rate = min(1.0, max(0.0, rate))

    def call(self, inputs, training=None):
        if 0.0 < self.rate < 1.0:
            noise_shape = (K.shape(inputs)[0], K.shape(inputs)[1], 1)

            def dropped_inputs():
                return K.dropout(inputs, self.rate, noise_shape)

            return K.in_train_phase(dropped_inputs, inputs, training=training)
        return inputs

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


class NonMasking(Layer):
    def __init__(self, **kwargs):
        self.supports_masking = True
        super().__init__(**kwargs)

    def compute_mask(self, inputs, input_mask=None):
        return None

    def call(self, x, mask=None):
        return x


class GlobalMaskedMean(Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x, mask=None):
        if mask is None:
            return K.mean(x, axis=1)
        mask = K.cast(mask, "float32")
        mask = K.repeat(mask, x.shape[-1])
        mask = tf.transpose(mask, [0, 2, 1])
        return K.sum(x * mask, axis=1) / K.sum(mask, axis=1)

    def compute_mask(self, inputs, mask=None):
        return None


class TiedEmbedding(Layer):
    def __init__(self, vocab, dim, **kwargs):
        super().__init__(**kwargs)
        self.vocab, self.dim = vocab, dim
        self.emb = Embedding(vocab, dim)
        self.out = Dense(dim, activation=tf.nn.gelu)

    def call(self, ids):
        x = self.emb(ids)
        y = self.out(tf.reduce_mean(x, axis=1))
        return tf.nn.softmax(tf.matmul(y, self.emb.embeddings, transpose_b=True))

    def get_config(self):
        return {**super().get_config(), "vocab": self.vocab, "dim": self.dim}


class GRUWithGate(Layer):
    """Recurrent sublayers, both directions."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.rnn = tf.keras.layers.Bidirectional(tf.keras.layers.GRU(units, return_sequences=True), merge_mode="sum")
        self.gate = Dense(units, activation="sigmoid")

    def call(self, x):
        y = self.rnn(x)
        return y * self.gate(x)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class ConvBank(Layer):
    """Layers in a dict and in a list, merged."""

    def __init__(self, filters=3, widths=(1, 2, 3), **kwargs):
        super().__init__(**kwargs)
        self.filters, self.widths = filters, tuple(widths)
        self.convs = [tf.keras.layers.Conv1D(filters, w, padding="same", activation="relu") for w in self.widths]
        self.heads = {"mean": tf.keras.layers.GlobalAveragePooling1D(), "max": tf.keras.layers.GlobalMaxPooling1D()}

    def call(self, x):
        parts = []
        for conv in self.convs:
            y = conv(x)
            for _, head in sorted(self.heads.items()):
                parts.append(head(y))
        return tf.concat(parts, axis=-1)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "widths": self.widths}

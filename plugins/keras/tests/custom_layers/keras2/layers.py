"""Layers in the style of Keras 2: ``compute_output_shape``, ``K.*``, ``InputSpec``, ``super(Name, self)``."""

from keras import activations, constraints, initializers, regularizers
from keras import backend as K
from keras.engine import InputSpec, Layer
from keras.layers import Conv2D, Dense, Lambda
from keras.layers.wrappers import Wrapper

from .tools import gelu, squash


class LayerNormalization(Layer):
    """keras-layer-normalization."""

    def __init__(self, center=True, scale=True, epsilon=None, gamma_initializer="ones", beta_initializer="zeros", **kwargs):
        super(LayerNormalization, self).__init__(**kwargs)
        self.supports_masking = True
        self.center, self.scale = center, scale
        self.epsilon = K.epsilon() * K.epsilon() if epsilon is None else epsilon
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma, self.beta = None, None

    def get_config(self):
        config = {"center": self.center, "scale": self.scale, "epsilon": self.epsilon}
        base_config = super(LayerNormalization, self).get_config()
        return dict(list(base_config.items()) + list(config.items()))

    def compute_mask(self, inputs, input_mask=None):
        return input_mask

    def build(self, input_shape):
        self.input_spec = InputSpec(shape=input_shape)
        shape = input_shape[-1:]
        if self.scale:
            self.gamma = self.add_weight(shape=shape, initializer=self.gamma_initializer, name="gamma")
        if self.center:
            self.beta = self.add_weight(shape=shape, initializer=self.beta_initializer, name="beta")
        super(LayerNormalization, self).build(input_shape)

    def call(self, inputs, training=None):
        mean = K.mean(inputs, axis=-1, keepdims=True)
        variance = K.mean(K.square(inputs - mean), axis=-1, keepdims=True)
        outputs = (inputs - mean) / K.sqrt(variance + self.epsilon)
        if self.scale:
            outputs *= self.gamma
        if self.center:
            outputs += self.beta
        return outputs


class MultiHeadAttention(Layer):
    """keras-multi-head."""

    def __init__(self, head_num, activation="relu", use_bias=True, history_only=False, **kwargs):
        self.supports_masking = True
        self.head_num = head_num
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.history_only = history_only
        super(MultiHeadAttention, self).__init__(**kwargs)

    def get_config(self):
        config = {
            "head_num": self.head_num,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "history_only": self.history_only,
        }
        base_config = super(MultiHeadAttention, self).get_config()
        return dict(list(base_config.items()) + list(config.items()))

    def compute_output_shape(self, input_shape):
        return input_shape

    def compute_mask(self, inputs, input_mask=None):
        return input_mask

    def build(self, input_shape):
        dim = int(input_shape[-1])
        if dim % self.head_num != 0:
            raise IndexError("Invalid head number %d with the given input dim %d" % (self.head_num, dim))
        for name in ("q", "k", "v", "o"):
            setattr(
                self,
                "W" + name,
                self.add_weight(shape=(dim, dim), initializer="glorot_normal", name="%s_W%s" % (self.name, name)),
            )
            if self.use_bias:
                setattr(self, "b" + name, self.add_weight(shape=(dim,), initializer="zeros", name="%s_b%s" % (self.name, name)))
        super(MultiHeadAttention, self).build(input_shape)

    @staticmethod
    def _reshape_to_batches(x, head_num):
        shape = K.shape(x)
        batch, steps, dim = shape[0], shape[1], shape[2]
        head_dim = dim // head_num
        x = K.reshape(x, (batch, steps, head_num, head_dim))
        x = K.permute_dimensions(x, [0, 2, 1, 3])
        return K.reshape(x, (batch * head_num, steps, head_dim))

    @staticmethod
    def _reshape_from_batches(x, head_num):
        shape = K.shape(x)
        batch, steps, dim = shape[0], shape[1], shape[2]
        x = K.reshape(x, (batch // head_num, head_num, steps, dim))
        x = K.permute_dimensions(x, [0, 2, 1, 3])
        return K.reshape(x, (batch // head_num, steps, dim * head_num))

    def _project(self, x, name):
        y = K.dot(x, getattr(self, "W" + name))
        if self.use_bias:
            y += getattr(self, "b" + name)
        return self.activation(y) if self.activation is not None else y

    def call(self, inputs, mask=None):
        q, k, v = (self._reshape_to_batches(self._project(inputs, n), self.head_num) for n in ("q", "k", "v"))
        e = K.batch_dot(q, k, axes=2) / K.sqrt(K.cast(K.shape(q)[-1], dtype=K.floatx()))
        e = K.exp(e - K.max(e, axis=-1, keepdims=True))
        a = e / (K.sum(e, axis=-1, keepdims=True) + K.epsilon())
        y = self._reshape_from_batches(K.batch_dot(a, v), self.head_num)
        return self._project(y, "o")


class Capsule(Layer):
    """Su's capsule layer."""

    def __init__(self, num_capsule, dim_capsule, routings=3, share_weights=True, activation="squash", **kwargs):
        super(Capsule, self).__init__(**kwargs)
        self.num_capsule, self.dim_capsule = num_capsule, dim_capsule
        self.routings, self.share_weights = routings, share_weights
        if activation == "squash":
            self.activation = squash
        else:
            self.activation = activations.get(activation)

    def build(self, input_shape):
        super(Capsule, self).build(input_shape)
        dim = input_shape[-1]
        self.W = self.add_weight(name="capsule_kernel", shape=(1, dim, self.num_capsule * self.dim_capsule),
                                 initializer="glorot_uniform", trainable=True)  # fmt: skip

    def call(self, u_vecs):
        u_hat_vecs = K.conv1d(u_vecs, self.W)
        batch_size = K.shape(u_vecs)[0]
        n = K.int_shape(u_vecs)[1]
        u_hat_vecs = K.reshape(u_hat_vecs, (batch_size, n, self.num_capsule, self.dim_capsule))
        u_hat_vecs = K.permute_dimensions(u_hat_vecs, (0, 2, 1, 3))
        b = K.zeros_like(u_hat_vecs[:, :, :, 0])
        for i in range(self.routings):
            b = K.permute_dimensions(b, (0, 2, 1))
            c = K.softmax(b)
            c = K.permute_dimensions(c, (0, 2, 1))
            outputs = self.activation(K.sum(K.expand_dims(c, -1) * u_hat_vecs, axis=2))
            if i < self.routings - 1:
                b = K.sum(K.expand_dims(outputs, 2) * u_hat_vecs, axis=-1)
        return outputs

    def compute_output_shape(self, input_shape):
        return (None, self.num_capsule, self.dim_capsule)

    def get_config(self):
        config = {"num_capsule": self.num_capsule, "dim_capsule": self.dim_capsule, "routings": self.routings}
        return dict(list(super(Capsule, self).get_config().items()) + list(config.items()))


class GroupNormalization(Layer):
    def __init__(self, groups=2, axis=-1, epsilon=1e-5, **kwargs):
        super(GroupNormalization, self).__init__(**kwargs)
        self.groups, self.axis, self.epsilon = groups, axis, epsilon

    def build(self, input_shape):
        dim = input_shape[self.axis]
        if dim is None:
            raise ValueError("Axis " + str(self.axis) + " should be defined")
        self.gamma = self.add_weight(shape=(dim,), name="gamma", initializer="ones")
        self.beta = self.add_weight(shape=(dim,), name="beta", initializer="zeros")
        self.built = True

    def call(self, inputs, **kwargs):
        input_shape = K.int_shape(inputs)
        tensor_input_shape = K.shape(inputs)
        reduction_axes = list(range(len(input_shape)))
        del reduction_axes[self.axis]
        broadcast_shape = [1] * len(input_shape)
        broadcast_shape[self.axis] = input_shape[self.axis] // self.groups
        broadcast_shape.insert(1, self.groups)
        group_axes = [tensor_input_shape[i] for i in range(len(input_shape))]
        group_axes[self.axis] = input_shape[self.axis] // self.groups
        group_axes.insert(1, self.groups)
        group_shape = [group_axes[0], self.groups] + group_axes[2:]
        inputs = K.reshape(inputs, group_shape)
        axes = list(range(2, len(group_axes)))
        mean = K.mean(inputs, axis=axes, keepdims=True)
        variance = K.var(inputs, axis=axes, keepdims=True)
        inputs = (inputs - mean) / K.sqrt(variance + self.epsilon)
        inputs = K.reshape(inputs, group_shape)
        outputs = inputs * K.reshape(self.gamma, broadcast_shape) + K.reshape(self.beta, broadcast_shape)
        return K.reshape(outputs, tensor_input_shape)

    def get_config(self):
        config = {"groups": self.groups, "axis": self.axis, "epsilon": self.epsilon}
        return dict(list(super(GroupNormalization, self).get_config().items()) + list(config.items()))


class WeightNormDense(Dense):
    """Extends a layer of Keras, a weight of its own beside."""

    def build(self, input_shape):
        super(WeightNormDense, self).build(input_shape)
        self.g = self.add_weight(shape=(self.units,), name="g", initializer="one")

    def call(self, inputs):
        kernel = self.kernel * self.g / K.sqrt(K.sum(K.square(self.kernel), axis=0))
        output = K.bias_add(K.dot(inputs, kernel), self.bias) if self.use_bias else K.dot(inputs, kernel)
        return self.activation(output) if self.activation is not None else output


class ConvSN2D(Conv2D):
    """Spectral normalisation by a stored vector."""

    def build(self, input_shape):
        kernel_shape = self.kernel_size + (input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=kernel_shape, initializer=self.kernel_initializer, name="kernel")
        self.bias = (
            self.add_weight(shape=(self.filters,), initializer=self.bias_initializer, name="bias") if self.use_bias else None
        )
        self.u = self.add_weight(shape=(1, self.filters), initializer="ones", name="sn", trainable=False)
        self.input_spec = InputSpec(ndim=4, axes={3: input_shape[-1]})
        self.built = True

    def call(self, inputs, training=None):
        def _l2normalize(v, eps=1e-12):
            return v / (K.sum(v**2) ** 0.5 + eps)

        w = K.reshape(self.kernel, [-1, self.filters])
        v = _l2normalize(K.dot(self.u, K.transpose(w)))
        u = _l2normalize(K.dot(v, w))
        sigma = K.dot(K.dot(v, w), K.transpose(u))
        outputs = K.conv2d(inputs, self.kernel / sigma[0, 0], strides=self.strides, padding=self.padding,
                           data_format=self.data_format, dilation_rate=self.dilation_rate)  # fmt: skip
        if self.use_bias:
            outputs = K.bias_add(outputs, self.bias, data_format=self.data_format)
        if self.activation is not None:
            return self.activation(outputs)
        return outputs


class PositionEmbedding(Layer):
    def __init__(self, mode="sum", **kwargs):
        self.mode = mode
        super(PositionEmbedding, self).__init__(**kwargs)

    def call(self, x):
        size = int(x.shape[-1])
        position_j = 1.0 / K.pow(10000.0, 2 * K.arange(size / 2, dtype="float32") / size)
        position_j = K.expand_dims(position_j, 0)
        position_i = K.cumsum(K.ones_like(x[:, :, 0]), 1) - 1
        position_i = K.expand_dims(position_i, 2)
        position_ij = K.dot(position_i, position_j)
        position_ij = K.concatenate([K.cos(position_ij), K.sin(position_ij)], 2)
        if self.mode == "sum":
            return position_ij + x
        return K.concatenate([position_ij, x], 2)

    def get_config(self):
        return dict(list(super(PositionEmbedding, self).get_config().items()) + [("mode", self.mode)])


class FeedForward(Layer):
    def __init__(self, units, activation=None, kernel_constraint=None, **kwargs):
        super(FeedForward, self).__init__(**kwargs)
        self.units = units
        self.activation = activations.get(activation) if activation else gelu
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.kernel_regularizer = regularizers.get(None)

    def build(self, input_shape):
        d = int(input_shape[-1])
        self.W1 = self.add_weight(shape=(d, self.units), initializer="uniform", name="W1", constraint=self.kernel_constraint)
        self.b1 = self.add_weight(shape=(self.units,), initializer="zeros", name="b1")
        self.W2 = self.add_weight(shape=(self.units, d), initializer="uniform", name="W2", regularizer=self.kernel_regularizer)
        self.b2 = self.add_weight(shape=(d,), initializer="zeros", name="b2")
        super(FeedForward, self).build(input_shape)

    def call(self, x, mask=None, training=None):
        h = self.activation(K.dot(x, self.W1) + self.b1)
        h = K.in_train_phase(K.dropout(h, 0.1), h, training=training)
        return K.dot(h, self.W2) + self.b2

    def get_config(self):
        return dict(list(super(FeedForward, self).get_config().items()) + [("units", self.units)])


class ResidualWrapper(Wrapper):
    def build(self, input_shape=None):
        if not self.layer.built:
            self.layer.build(input_shape)
            self.layer.built = True
        super(ResidualWrapper, self).build()

    def compute_output_shape(self, input_shape):
        return input_shape

    def call(self, inputs):
        return inputs + self.layer.call(inputs)


class MaxAttention(Layer):
    """Layers made and called inside ``call``, and a Lambda."""

    def call(self, x):
        best = Lambda(lambda v: K.max(v, axis=1, keepdims=True))(x)
        return x * K.sigmoid(best)

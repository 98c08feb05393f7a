"""Classes that extend a layer of Keras with arithmetic of its own."""

from keras import activations, layers, ops


class WeightStandardizedConv(layers.Conv2D):
    """``call`` of its own over the kernel that Keras made."""

    def __init__(self, filters, kernel_size=3, eps=1e-5, **kwargs):
        super().__init__(filters, kernel_size, padding="same", **kwargs)
        self.eps = eps

    def call(self, inputs):
        mean = ops.mean(self.kernel, axis=(0, 1, 2), keepdims=True)
        var = ops.var(self.kernel, axis=(0, 1, 2), keepdims=True)
        kernel = (self.kernel - mean) / ops.sqrt(var + self.eps)
        y = self.convolution_op(inputs, kernel)
        if self.use_bias:
            y = y + ops.reshape(self.bias, (1, 1, 1, self.filters))
        return self.activation(y)

    def get_config(self):
        c = super().get_config()
        c.pop("padding")
        return {**c, "eps": self.eps}


class GatedConv(layers.DepthwiseConv2D):
    """Weights of its own beside Keras's."""

    def build(self, input_shape):
        super().build(input_shape)
        self.gate = self.add_weight(shape=(input_shape[-1],), name="gate", initializer="ones")
        self.count = self.add_weight(shape=(1,), name="count", initializer="zeros", trainable=False)
        self.shift = self.add_weight(shape=(input_shape[-1],), name="shift", initializer="zeros")

    def call(self, inputs):
        return super().call(inputs) * ops.sigmoid(self.gate) + self.shift - self.count


class CosineDense(layers.Dense):
    def call(self, inputs, training=None):
        x = ops.normalize(inputs, axis=-1)
        w = ops.normalize(self.kernel, axis=0)
        y = ops.matmul(x, w)
        if self.bias is not None:
            y = ops.add(y, self.bias)
        return self.activation(y) if self.activation is not None else y


class MaskedDense(layers.Dense):
    def __init__(self, units, keep=2, **kwargs):
        super().__init__(units, **kwargs)
        self.keep = keep

    def call(self, inputs):
        n = inputs.shape[-1]
        return super().call(inputs * ops.cast(ops.arange(n) % self.keep == 0, inputs.dtype))

    def get_config(self):
        return {**super().get_config(), "keep": self.keep}


class InferenceBatchNorm(layers.BatchNormalization):
    def call(self, x, training=None):
        if training is None:
            training = False
        training = training and self.trainable
        return super().call(x, training)


class SelfAttentionBlock(layers.MultiHeadAttention):
    def call(self, query, value, key=None, **kwargs):
        return query + super().call(query, value, key=key, **kwargs)


class ReversedLSTM(layers.LSTM):
    def call(self, sequences, initial_state=None, mask=None, training=False):
        y = super().call(ops.flip(sequences, axis=1), initial_state, mask, training)
        return ops.flip(y, axis=1)


class UnitEmbedding(layers.Embedding):
    def call(self, inputs):
        e = super().call(inputs)
        return e / (ops.norm(e, axis=-1, keepdims=True) + 1e-6)


class CircularConv1D(layers.Conv1D):
    def call(self, x):
        before = (self.kernel_size[0] - 1) // 2
        after = self.kernel_size[0] - 1 - before
        x = ops.concatenate([x[:, x.shape[1] - before :], x, x[:, :after]], axis=1)
        return super().call(x)


class ScaledActivation(layers.Activation):
    def __init__(self, activation, scale=2.0, **kwargs):
        super().__init__(activation, **kwargs)
        self.scale = scale

    def call(self, x):
        return self.scale * super().call(x)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


class SameMaxPool(layers.MaxPooling2D):
    def __init__(self, **kwargs):
        super().__init__(pool_size=3, strides=2, padding="same", **{k: v for k, v in kwargs.items() if k in ("name", "dtype")})


class ShiftedNorm(layers.LayerNormalization):
    def call(self, inputs):
        return 1.0 + super().call(inputs) * activations.sigmoid(self.gamma)


class MeanBidirectional(layers.Bidirectional):
    def call(self, sequences, initial_state=None, mask=None, training=None):
        return ops.mean(super().call(sequences, initial_state=initial_state), axis=1)

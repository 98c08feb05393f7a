"""Image layers with ``tf.*``."""

import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import backend as K
from tensorflow.keras.layers import BatchNormalization, Conv2D, Dense, GlobalAveragePooling2D, Layer, Multiply, Reshape


class Mish(Layer):
    def call(self, x):
        return x * tf.math.tanh(tf.math.softplus(x))


class Swish(Layer):
    def __init__(self, beta=1.0, trainable=True, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.beta = beta
        self.trainable_beta = trainable

    def build(self, input_shape):
        self.factor = K.variable(self.beta, dtype=K.floatx(), name="beta_factor")
        super().build(input_shape)

    def call(self, inputs, mask=None):
        return inputs * K.sigmoid(self.factor * inputs)

    def get_config(self):
        return {**super().get_config(), "beta": self.beta}


class SqueezeAndExcite(Layer):
    def __init__(self, ratio=2, **kwargs):
        super().__init__(**kwargs)
        self.ratio = ratio

    def build(self, input_shape):
        filters = input_shape[-1]
        self.squeeze = GlobalAveragePooling2D()
        self.reshape = Reshape((1, 1, filters))
        self.dense1 = Dense(filters // self.ratio, activation="relu", kernel_initializer="he_normal", use_bias=False)
        self.dense2 = Dense(filters, activation="sigmoid", kernel_initializer="he_normal", use_bias=False)
        self.multiply = Multiply()

    def call(self, inputs):
        x = self.reshape(self.squeeze(inputs))
        return self.multiply([inputs, self.dense2(self.dense1(x))])

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio}


class GroupNorm(Layer):
    def __init__(self, groups=2, axis=-1, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.groups, self.axis, self.epsilon = groups, axis, epsilon

    def build(self, input_shape):
        dim = input_shape[self.axis]
        if dim is None:
            raise ValueError("Axis " + str(self.axis) + " of input tensor should have a defined dimension")
        self.gamma = self.add_weight(shape=(dim,), name="gamma", initializer="ones")
        self.beta = self.add_weight(shape=(dim,), name="beta", initializer="zeros")
        self.built = True

    def call(self, inputs):
        input_shape = K.int_shape(inputs)
        tensor_input_shape = tf.shape(inputs)
        channels = input_shape[-1]
        group_shape = [tensor_input_shape[0], input_shape[1], input_shape[2], self.groups, channels // self.groups]
        x = tf.reshape(inputs, group_shape)
        mean, variance = tf.nn.moments(x, [1, 2, 4], keepdims=True)
        x = (x - mean) / tf.sqrt(variance + self.epsilon)
        x = tf.reshape(x, tensor_input_shape)
        return x * self.gamma + self.beta

    def get_config(self):
        return {**super().get_config(), "groups": self.groups, "axis": self.axis, "epsilon": self.epsilon}


class FrozenBatchNorm(Layer):
    def build(self, input_shape):
        c = input_shape[-1]
        self.weight = self.add_weight(name="weight", shape=(c,), initializer="ones", trainable=False)
        self.bias = self.add_weight(name="bias", shape=(c,), initializer="zeros", trainable=False)
        self.mean = self.add_weight(name="running_mean", shape=(c,), initializer="zeros", trainable=False)
        self.var = self.add_weight(name="running_variance", shape=(c,), initializer="ones", trainable=False)

    def call(self, x):
        return tf.nn.batch_normalization(x, self.mean, self.var, self.bias, self.weight, 1e-5)


class WeightedConv(Layer):
    """A convolution by tf.nn, its kernel standardised."""

    def __init__(self, filters, kernel_size=3, strides=1, padding="same", **kwargs):
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.strides, self.padding = filters, kernel_size, strides, padding

    def build(self, input_shape):
        shape = (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=[self.filters], initializer="zeros")

    def call(self, x):
        mean, var = tf.nn.moments(self.kernel, axes=[0, 1, 2], keepdims=True)
        kernel = (self.kernel - mean) / tf.sqrt(var + 1e-10)
        y = tf.nn.conv2d(x, kernel, strides=[1, self.strides, self.strides, 1], padding=self.padding.upper())
        return tf.nn.bias_add(y, self.bias)

    def get_config(self):
        own = {k: getattr(self, k) for k in ("filters", "kernel_size", "strides", "padding")}
        return {**super().get_config(), **own}


class ArcFace(Layer):
    def __init__(self, n_classes=5, s=30.0, **kwargs):
        super().__init__(**kwargs)
        self.n_classes, self.s = n_classes, s

    def build(self, input_shape):
        self.W = self.add_weight(name="W", shape=(input_shape[-1], self.n_classes), initializer="glorot_uniform", trainable=True)

    def call(self, x):
        x = tf.nn.l2_normalize(x, axis=1)
        W = tf.nn.l2_normalize(self.W, axis=0)
        return tf.nn.softmax(self.s * (x @ W))

    def get_config(self):
        return {**super().get_config(), "n_classes": self.n_classes, "s": self.s}


class DropBlock(Layer):
    def __init__(self, keep_prob=0.9, block_size=3, **kwargs):
        super().__init__(**kwargs)
        self.keep_prob, self.block_size = keep_prob, block_size

    def call(self, inputs, training=None):
        def drop():
            mask = tf.random.uniform(tf.shape(inputs)) < self.keep_prob
            return inputs * tf.cast(mask, inputs.dtype)

        if training is None:
            training = K.learning_phase()
        return K.in_train_phase(drop, inputs, training=training)

    def get_config(self):
        return {**super().get_config(), "keep_prob": self.keep_prob, "block_size": self.block_size}


class ChannelShuffle(Layer):
    def __init__(self, groups=2, **kwargs):
        super().__init__(**kwargs)
        self.groups = groups

    def call(self, x):
        _, h, w, c = x.get_shape().as_list()
        x = tf.reshape(x, [-1, h, w, self.groups, c // self.groups])
        x = tf.transpose(x, perm=(0, 1, 2, 4, 3))
        return tf.reshape(x, (-1, h, w, c))

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}


class ResizeTo(Layer):
    def __init__(self, size, method="bilinear", **kwargs):
        super().__init__(**kwargs)
        self.size, self.method = tuple(size), method

    def call(self, x):
        return tf.image.resize(x, self.size, method=self.method)

    def get_config(self):
        return {**super().get_config(), "size": self.size, "method": self.method}


class PixelAttention(Layer):
    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.conv = Conv2D(filters, kernel_size=(1, 1), strides=(1, 1), padding="same", kernel_initializer="he_normal")
        self.bn = BatchNormalization()

    def call(self, x, training=False):
        return tf.multiply(tf.sigmoid(self.bn(self.conv(x), training=training)), x)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


class DepthToSpace(Layer):
    def __init__(self, block_size=2, **kwargs):
        super().__init__(**kwargs)
        self.block_size = block_size

    def call(self, x):
        return tf.nn.depth_to_space(x, self.block_size)

    def get_config(self):
        return {**super().get_config(), "block_size": self.block_size}


class MinibatchStd(Layer):
    """Uses the batch: a statistic over it."""

    def __init__(self, epsilon=1e-8, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def call(self, x):
        s = tf.shape(x)
        std = tf.sqrt(
            tf.reduce_mean(tf.square(x - tf.reduce_mean(x, axis=0, keepdims=True)), axis=0, keepdims=True) + self.epsilon
        )
        mean = tf.reduce_mean(std, keepdims=True)
        tiled = tf.tile(mean, [s[0], s[1], s[2], 1])
        return tf.concat([x, tiled], axis=-1)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


class ResidualBlock(keras.Model):
    def __init__(self, filters, **kwargs):
        super(ResidualBlock, self).__init__(**kwargs)
        self.filters = filters
        self.a = Conv2D(filters, 3, padding="same", activation="relu")
        self.b = Conv2D(filters, 3, padding="same")

    def call(self, inputs):
        return tf.nn.relu(inputs + self.b(self.a(inputs)))

    def get_config(self):
        return {"filters": self.filters}


class SoftArgmax(Layer):
    """Expected coordinates of heat maps."""

    def call(self, heat):
        b, h, w, c = tf.shape(heat)[0], heat.shape[1], heat.shape[2], heat.shape[3]
        flat = tf.reshape(tf.transpose(heat, [0, 3, 1, 2]), [-1, c, h * w])
        prob = tf.nn.softmax(flat)
        ys, xs = tf.meshgrid(tf.range(h), tf.range(w), indexing="ij")
        ys = tf.cast(tf.reshape(ys, [-1]), tf.float32)
        xs = tf.cast(tf.reshape(xs, [-1]), tf.float32)
        return tf.stack([tf.reduce_sum(prob * xs, -1), tf.reduce_sum(prob * ys, -1)], axis=-1)


class RandomFeatures(Layer):
    """Draws numbers at each call: refused."""

    def call(self, x):
        return x + tf.random.normal(tf.shape(x))


class DataDependentLoop(Layer):
    """Loops until a value is small: refused."""

    def call(self, x):
        while tf.reduce_max(x) > 1.0:
            x = x / 2.0
        return x

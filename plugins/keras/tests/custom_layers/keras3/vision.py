"""Blocks of image models."""

import keras
from keras import layers, ops
from keras.layers import Conv2D, Dense

from .common import maths


@keras.saving.register_keras_serializable(package="vision")
class SqueezeExcite(layers.Layer):
    def __init__(self, ratio=4, activation="relu", **kwargs):
        super().__init__(**kwargs)
        self.ratio = ratio
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        channels = input_shape[-1]
        self.pool = layers.GlobalAveragePooling2D(keepdims=True)
        self.reduce = Conv2D(max(1, channels // self.ratio), 1)
        self.expand = Conv2D(channels, 1, activation="sigmoid")

    def call(self, inputs):
        x = self.pool(inputs)
        x = self.activation(self.reduce(x))
        return inputs * self.expand(x)

    def get_config(self):
        config = super().get_config()
        config.update(ratio=self.ratio, activation=keras.activations.serialize(self.activation))
        return config


class ChannelAttention(layers.Layer):
    def __init__(self, ratio=2, **kwargs):
        super().__init__(**kwargs)
        self.ratio = ratio

    def build(self, shape):
        c = shape[-1]
        self.one = Dense(c // self.ratio, activation="relu", use_bias=False)
        self.two = Dense(c, use_bias=False)
        self.one.build((None, c))
        self.two.build((None, c // self.ratio))

    def mlp(self, x):
        return self.two(self.one(x))

    def call(self, x):
        avg = self.mlp(ops.mean(x, axis=(1, 2)))
        top = self.mlp(ops.max(x, axis=[1, 2]))
        return x * ops.sigmoid(avg + top)[:, None, None, :]

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio}


class SpatialAttention(layers.Layer):
    def __init__(self, kernel_size=3, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = kernel_size
        self.conv = Conv2D(1, kernel_size, padding="same", activation="sigmoid", use_bias=False)

    def call(self, x):
        maps = ops.concatenate([ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)], axis=-1)
        return x * self.conv(maps)

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size}


class CBAM(layers.Layer):
    """A layer of layers of this file."""

    def __init__(self, ratio=2, kernel_size=3, **kwargs):
        super().__init__(**kwargs)
        self.channel = ChannelAttention(ratio)
        self.spatial = SpatialAttention(kernel_size)
        self._config = {"ratio": ratio, "kernel_size": kernel_size}

    def call(self, x):
        return self.spatial(self.channel(x))

    def get_config(self):
        return {**super().get_config(), **self._config}


class ECA(layers.Layer):
    """Efficient channel attention: a kernel of a size that follows from the channels."""

    def __init__(self, gamma=2, b=1, **kwargs):
        super().__init__(**kwargs)
        self.gamma, self.b = gamma, b

    def build(self, shape):
        import math

        t = int(abs((math.log2(shape[-1]) + self.b) / self.gamma))
        k = t if t % 2 else t + 1
        self.conv = layers.Conv1D(1, kernel_size=k, padding="same", use_bias=False)
        self.conv.build((None, shape[-1], 1))

    def call(self, x):
        y = ops.mean(x, axis=[1, 2])
        y = self.conv(ops.expand_dims(y, -1))
        y = ops.sigmoid(ops.squeeze(y, axis=-1))
        return x * ops.reshape(y, (-1, 1, 1, x.shape[-1]))

    def get_config(self):
        return {**super().get_config(), "gamma": self.gamma, "b": self.b}


class GhostModule(layers.Layer):
    def __init__(self, out, ratio=2, conv_kernel=1, dw_kernel=3, **kwargs):
        super().__init__(**kwargs)
        self.out, self.ratio, self.conv_kernel, self.dw_kernel = out, ratio, conv_kernel, dw_kernel
        self.primary_channels = -(-out // ratio)
        self.conv = Conv2D(self.primary_channels, conv_kernel, padding="same", use_bias=False)
        self.bn1 = layers.BatchNormalization()
        self.depth = layers.DepthwiseConv2D(dw_kernel, depth_multiplier=ratio - 1, padding="same", use_bias=False)
        self.bn2 = layers.BatchNormalization()

    def call(self, x, training=None):
        first = ops.relu(self.bn1(self.conv(x), training=training))
        cheap = ops.relu(self.bn2(self.depth(first), training=training))
        return ops.concatenate([first, cheap], axis=-1)[..., : self.out]

    def get_config(self):
        own = {k: getattr(self, k) for k in ("out", "ratio", "conv_kernel", "dw_kernel")}
        return {**super().get_config(), **own}


class Involution(layers.Layer):
    def __init__(self, channel, group_number=1, kernel_size=3, stride=1, reduction_ratio=2, **kwargs):
        super().__init__(**kwargs)
        self.channel, self.group_number, self.kernel_size = channel, group_number, kernel_size
        self.stride, self.reduction_ratio = stride, reduction_ratio

    def build(self, input_shape):
        (_, height, width, num_channels) = input_shape
        self.height, self.width, self.num_channels = height // self.stride, width // self.stride, num_channels
        self.stride_layer = (
            layers.AveragePooling2D(pool_size=self.stride, strides=self.stride, padding="same")
            if self.stride > 1
            else lambda x: x
        )
        self.kernel_gen = keras.Sequential(
            [
                Conv2D(self.channel // self.reduction_ratio, 1),
                layers.BatchNormalization(),
                layers.ReLU(),
                Conv2D(self.kernel_size * self.kernel_size * self.group_number, 1),
            ]
        )
        self.kernel_gen.build((None, self.height, self.width, num_channels))

    def call(self, x):
        kernel = self.kernel_gen(self.stride_layer(x))
        k = self.kernel_size
        kernel = ops.reshape(kernel, (-1, self.height, self.width, k * k, 1, self.group_number))
        patches = ops.image.extract_patches(x, size=(k, k), strides=self.stride, dilation_rate=1, padding="same")
        patches = ops.reshape(
            patches, (-1, self.height, self.width, k * k, self.num_channels // self.group_number, self.group_number)
        )
        out = ops.sum(ops.multiply(kernel, patches), axis=3)
        return ops.reshape(out, (-1, self.height, self.width, self.num_channels))

    def get_config(self):
        own = ("channel", "group_number", "kernel_size", "stride", "reduction_ratio")
        return {**super().get_config(), **{k: getattr(self, k) for k in own}}


class GeM(layers.Layer):
    """Generalised mean pooling with a learned exponent."""

    def __init__(self, p=3.0, eps=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.init_p, self.eps = p, eps

    def build(self, input_shape):
        self.p = self.add_weight(name="p", shape=(), initializer=keras.initializers.Constant(self.init_p))
        self.built = True

    def call(self, x):
        x = ops.power(ops.maximum(x, self.eps), self.p)
        return ops.power(ops.mean(x, axis=(1, 2)), 1.0 / self.p)

    def get_config(self):
        return {**super().get_config(), "p": self.init_p, "eps": self.eps}


class NetVLAD(layers.Layer):
    def __init__(self, num_clusters, **kwargs):
        super().__init__(**kwargs)
        self.K = num_clusters

    def build(self, input_shape):
        self.D = input_shape[-1]
        self.assign = self.add_weight(name="assign", shape=(1, 1, self.D, self.K))
        self.centers = self.add_weight(name="centers", shape=(1, 1, 1, self.D, self.K))

    def call(self, inputs):
        s = ops.conv(inputs, self.assign, strides=1, padding="same")
        a = ops.expand_dims(ops.softmax(s), -2)
        v = ops.expand_dims(inputs, -1) - self.centers
        v = ops.sum(a * v, axis=[1, 2])
        v = ops.transpose(v, (0, 2, 1))
        v = ops.normalize(v, axis=-1)
        v = ops.reshape(v, (-1, self.D * self.K))
        return ops.normalize(v, axis=-1, order=2)

    def get_config(self):
        return {**super().get_config(), "num_clusters": self.K}


class SpatialPyramidPooling(layers.Layer):
    def __init__(self, bins=(1, 2, 4), **kwargs):
        super().__init__(**kwargs)
        self.bins = list(bins)

    def call(self, x):
        h, w, c = x.shape[1], x.shape[2], x.shape[3]
        outputs = []
        for b in self.bins:
            for i in range(b):
                for j in range(b):
                    y0, y1 = int(round(i * h / b)), int(round((i + 1) * h / b))
                    x0, x1 = int(round(j * w / b)), int(round((j + 1) * w / b))
                    outputs.append(ops.max(x[:, y0:y1, x0:x1, :], axis=(1, 2)))
        return ops.concatenate(outputs, axis=1)

    def get_config(self):
        return {**super().get_config(), "bins": self.bins}


class StochasticDepth(layers.Layer):
    def __init__(self, drop_prob, **kwargs):
        super().__init__(**kwargs)
        self.drop_prob = drop_prob
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, x, training=None):
        if training:
            keep_prob = 1 - self.drop_prob
            shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
            random_tensor = ops.floor(keep_prob + keras.random.uniform(shape, 0, 1, seed=self.seed_generator))
            return (x / keep_prob) * random_tensor
        return x

    def get_config(self):
        return {**super().get_config(), "drop_prob": self.drop_prob}


class LayerScale(layers.Layer):
    def __init__(self, init_values, projection_dim, **kwargs):
        super().__init__(**kwargs)
        self.init_values, self.projection_dim = init_values, projection_dim

    def build(self, _):
        self.gamma = self.add_weight(
            shape=(self.projection_dim,), initializer=keras.initializers.Constant(self.init_values), trainable=True, name="gamma"
        )

    def call(self, x):
        return x * self.gamma

    def get_config(self):
        return super().get_config() | {"init_values": self.init_values, "projection_dim": self.projection_dim}


class InvertedResidual(layers.Layer):
    def __init__(self, filters, expansion=2, stride=1, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.expansion, self.stride = filters, expansion, stride

    def build(self, shape):
        hidden = maths.make_divisible(shape[-1] * self.expansion)
        self.steps = []
        if self.expansion != 1:
            self.steps += [Conv2D(hidden, 1, use_bias=False), layers.BatchNormalization(), layers.ReLU(6.0)]
        self.steps += [
            layers.DepthwiseConv2D(3, strides=self.stride, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.99),
            layers.ReLU(max_value=6.0),
            Conv2D(self.filters, 1, use_bias=False),
            layers.BatchNormalization(),
        ]
        self.residual = self.stride == 1 and shape[-1] == self.filters

    def call(self, x):
        y = x
        for step in self.steps:
            y = step(y)
        return x + y if self.residual else y

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "expansion": self.expansion, "stride": self.stride}


class Patches(layers.Layer):
    def __init__(self, patch_size, **kwargs):
        super().__init__(**kwargs)
        self.patch_size = patch_size

    def call(self, images):
        b, height, width, channels = ops.shape(images)
        num_h, num_w = height // self.patch_size, width // self.patch_size
        patches = ops.image.extract_patches(images, size=self.patch_size)
        return ops.reshape(patches, (b, num_h * num_w, self.patch_size * self.patch_size * channels))

    def get_config(self):
        return {**super().get_config(), "patch_size": self.patch_size}


class PatchEncoder(layers.Layer):
    def __init__(self, num_patches, projection_dim, **kwargs):
        super().__init__(**kwargs)
        self.num_patches, self.projection_dim = num_patches, projection_dim
        self.projection = Dense(units=projection_dim)
        self.position_embedding = layers.Embedding(input_dim=num_patches, output_dim=projection_dim)

    def call(self, patch):
        positions = ops.expand_dims(ops.arange(start=0, stop=self.num_patches, step=1), axis=0)
        return self.projection(patch) + self.position_embedding(positions)

    def get_config(self):
        return {**super().get_config(), "num_patches": self.num_patches, "projection_dim": self.projection_dim}


class ClassToken(layers.Layer):
    def build(self, input_shape):
        self.token = self.add_weight(shape=(1, 1, input_shape[-1]), initializer="zeros", name="cls")

    def call(self, x):
        cls = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, x.shape[-1]))
        return ops.concatenate([cls, x], axis=1)


class CoordConv(layers.Layer):
    def __init__(self, filters, kernel_size, with_r=False, **kwargs):
        super().__init__(**kwargs)
        self.with_r = with_r
        self.conv = Conv2D(filters, kernel_size, padding="same")
        self.filters, self.kernel_size = filters, kernel_size

    def add_coords(self, x):
        b, h, w = ops.shape(x)[0], x.shape[1], x.shape[2]
        ys = ops.linspace(-1.0, 1.0, h)
        xs = ops.linspace(-1.0, 1.0, w)
        yy, xx = ops.meshgrid(ys, xs, indexing="ij")
        extra = [yy, xx]
        if self.with_r:
            extra.append(ops.sqrt(ops.square(yy) + ops.square(xx)))
        extra = ops.stack(extra, axis=-1)
        extra = ops.tile(extra[None], (b, 1, 1, 1))
        return ops.concatenate([x, extra], axis=-1)

    def call(self, x):
        return self.conv(self.add_coords(x))

    def get_config(self):
        c = {"filters": self.filters, "kernel_size": self.kernel_size, "with_r": self.with_r}
        return {**super().get_config(), **c}


class PixelShuffle(layers.Layer):
    def __init__(self, scale=2, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, x):
        s = self.scale
        _, h, w, c = x.shape
        x = ops.reshape(x, (-1, h, w, s, s, c // (s * s)))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, h * s, w * s, c // (s * s)))

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


class ReflectionPadding2D(layers.Layer):
    def __init__(self, padding=(1, 1), **kwargs):
        super().__init__(**kwargs)
        self.padding = tuple(padding)

    def call(self, x):
        w, h = self.padding
        return ops.pad(x, [[0, 0], [h, h], [w, w], [0, 0]], mode="reflect")

    def get_config(self):
        return {**super().get_config(), "padding": self.padding}


class BlurPool(layers.Layer):
    """A fixed kernel made of numbers."""

    def __init__(self, stride=2, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride

    def build(self, shape):
        import numpy as np

        a = np.array([1.0, 2.0, 1.0])
        kernel = np.outer(a, a)
        kernel = (kernel / kernel.sum()).astype("float32")
        self.kernel = np.repeat(kernel[:, :, None, None], shape[-1], axis=2)

    def call(self, x):
        return ops.depthwise_conv(x, ops.convert_to_tensor(self.kernel), strides=self.stride, padding="same")

    def get_config(self):
        return {**super().get_config(), "stride": self.stride}


class WeightedFusion(layers.Layer):
    """BiFPN's fast normalised fusion of several inputs."""

    def __init__(self, epsilon=1e-4, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        n = len(input_shape)
        self.w = self.add_weight(name="fusion_w", shape=(n,), initializer=keras.initializers.Constant(1 / n))

    def call(self, inputs):
        w = ops.relu(self.w)
        x = ops.sum(ops.stack([w[i] * inputs[i] for i in range(len(inputs))], axis=0), axis=0)
        return x / (ops.sum(w) + self.epsilon)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


class ResidualUnit(keras.Model):
    """A subclassed model used as a layer."""

    def __init__(self, filters, use_1x1=False, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.use_1x1 = filters, use_1x1
        self.conv1 = Conv2D(filters, 3, padding="same")
        self.conv2 = Conv2D(filters, 3, padding="same")
        self.conv3 = Conv2D(filters, 1) if use_1x1 else None
        self.bn1, self.bn2 = layers.BatchNormalization(), layers.BatchNormalization()

    def call(self, x):
        y = keras.activations.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.conv3 is not None:
            x = self.conv3(x)
        return ops.relu(y + x)

    def get_config(self):
        return {"filters": self.filters, "use_1x1": self.use_1x1, "name": self.name}


class CondConv(layers.Layer):
    """A kernel mixed of several by what the image is."""

    def __init__(self, filters, experts=3, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.experts = filters, experts

    def build(self, shape):
        self.route = layers.Dense(self.experts, activation="sigmoid")
        self.kernels = [self.add_weight(shape=(3, 3, shape[-1], self.filters), name=f"kernel_{i}") for i in range(self.experts)]

    def call(self, x):
        r = self.route(ops.mean(x, axis=(1, 2)))
        return sum(ops.conv(x, k, padding="same") * r[:, None, None, i : i + 1] for i, k in enumerate(self.kernels))

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "experts": self.experts}


class NonLocal(layers.Layer):
    def __init__(self, ratio=2, **kwargs):
        super().__init__(**kwargs)
        self.ratio = ratio

    def build(self, shape):
        self.inner = max(shape[-1] // self.ratio, 1)
        for name in ("theta", "phi", "g"):
            setattr(self, name, layers.Conv2D(self.inner, 1, use_bias=False))
        self.out = layers.Conv2D(shape[-1], 1)

    def call(self, x):
        n, h, w, c = ops.shape(x)
        flat = [ops.reshape(f(x), (-1, h * w, self.inner)) for f in (self.theta, self.phi, self.g)]
        attention = ops.softmax(ops.matmul(flat[0], ops.transpose(flat[1], (0, 2, 1))) / self.inner**0.5)
        return x + self.out(ops.reshape(ops.matmul(attention, flat[2]), (-1, h, w, self.inner)))

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio}


class GlobalResponseNorm(layers.Layer):
    """ConvNeXt V2."""

    def build(self, shape):
        self.gamma = self.add_weight(shape=(1, 1, 1, shape[-1]), name="gamma")
        self.beta = self.add_weight(shape=(1, 1, 1, shape[-1]), name="beta")

    def call(self, x):
        g = ops.sqrt(ops.sum(ops.square(x), axis=(1, 2), keepdims=True))
        return self.gamma * x * (g / (ops.mean(g, axis=-1, keepdims=True) + 1e-6)) + self.beta + x


class HardSwishSE(layers.Layer):
    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.block = keras.Sequential(
            [layers.GlobalAveragePooling2D(keepdims=True), layers.Conv2D(3, 1, activation="relu"), layers.Conv2D(filters, 1)]
        )
        self.filters = filters

    @property
    def gate(self):
        return lambda v: ops.relu6(v + 3.0) / 6.0

    def call(self, x):
        return x * self.gate(self.block(x))

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


class ASPP(layers.Layer):
    """Dilated branches and the image's mean, resized back."""

    def __init__(self, filters=4, rates=(1, 2, 3), **kwargs):
        super().__init__(**kwargs)
        self.filters, self.rates = filters, tuple(rates)
        self.branches = [layers.Conv2D(filters, 3 if r > 1 else 1, padding="same", dilation_rate=r) for r in self.rates]
        self.pooled, self.project = layers.Conv2D(filters, 1), layers.Conv2D(filters, 1, activation="relu")

    def call(self, x):
        outs = [b(x) for b in self.branches]
        mean = self.pooled(ops.mean(x, axis=(1, 2), keepdims=True))
        outs.append(ops.image.resize(mean, (x.shape[1], x.shape[2]), interpolation="bilinear"))
        return self.project(ops.concatenate(outs, axis=-1))

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "rates": self.rates}


class WindowPartition(layers.Layer):
    """Swin's windows and back, shifted by half a window."""

    def __init__(self, size=4, **kwargs):
        super().__init__(**kwargs)
        self.size, self.mix = size, layers.Dense(6)

    def call(self, x):
        _, h, w, c = x.shape
        s = self.size
        x = ops.roll(x, shift=(-s // 2, -s // 2), axis=(1, 2))
        x = ops.reshape(x, (-1, h // s, s, w // s, s, c))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, s * s, c))
        x = self.mix(x)
        x = ops.reshape(x, (-1, h // s, w // s, s, s, c))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, h, w, c))

    def get_config(self):
        return {**super().get_config(), "size": self.size}

"""Layers whose Python is what matters: wrappers, models as layers, registries, guarded imports, calls with stars and dicts."""

import collections
import copy
import functools
import logging
import math
import operator
import warnings
from typing import TYPE_CHECKING, Callable, ClassVar, Dict

import keras
import numpy as np
from keras import layers, ops

try:
    from scipy import special as _special
except ImportError:
    _special = None

if TYPE_CHECKING:
    from keras import KerasTensor

logger = logging.getLogger(__name__)
REGISTRY: Dict[str, Callable] = {}
EPSILON = keras.config.epsilon()


def register(name):
    def wrap(f):
        REGISTRY[name] = f
        return f

    return wrap


class Named:
    """A mixin with a constructor of its own."""

    def __init__(self, prefix="n", *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.prefix = prefix

    def title(self, i):
        return "%s_%02d" % (self.prefix, i)


@keras.saving.register_keras_serializable(package="zoo")
class MixedIn(Named, layers.Layer):
    """Weights set and read by computed names."""

    def __init__(self, count=3, **kwargs):
        super().__init__(prefix="w", **kwargs)
        self.count = count

    def build(self, input_shape):
        for i in range(self.count):
            setattr(self, self.title(i), self.add_weight(shape=(input_shape[-1],), name=self.title(i)))

    def call(self, x):
        logger.debug("called with %s", x)
        scales = [getattr(self, self.title(i)) for i in range(self.count)]
        return functools.reduce(operator.mul, scales, x)

    def get_config(self):
        return {**super().get_config(), "count": self.count}


@keras.saving.register_keras_serializable(package="zoo")
class WeightNorm(layers.Wrapper):
    """The wrapped layer's kernel, read and normalised, applied by hand."""

    def __init__(self, layer, **kwargs):
        super().__init__(layer, **kwargs)

    def build(self, input_shape):
        if not self.layer.built:
            self.layer.build(input_shape)
        if not hasattr(self.layer, "kernel"):
            raise ValueError("`WeightNorm` must wrap a layer that contains a `kernel`")
        self.g = self.add_weight(name="g", shape=(self.layer.kernel.shape[-1],), initializer="ones")
        self.built = True

    def call(self, x, training=None):
        v = self.layer.kernel
        axes = list(range(len(v.shape) - 1))
        kernel = v * (self.g / ops.sqrt(ops.sum(ops.square(v), axis=axes) + EPSILON))
        y = ops.matmul(x, kernel)
        if self.layer.use_bias:
            y = y + self.layer.bias
        return y if self.layer.activation is None else self.layer.activation(y)

    @classmethod
    def from_config(cls, config):
        config = copy.copy(config)
        config["layer"] = keras.saving.deserialize_keras_object(config.pop("layer"))
        return cls(**config)


@keras.saving.register_keras_serializable(package="zoo")
class Encoder(keras.Model):
    """A model as a layer, with layers in dicts."""

    def __init__(self, units=(5, 4), **kwargs):
        super().__init__(**kwargs)
        self.units = list(units)
        self.blocks = {f"block{i}": layers.Dense(n, activation="relu") for i, n in enumerate(self.units)}
        self.norms = dict(collections.OrderedDict((k, layers.LayerNormalization()) for k in self.blocks))

    def call(self, inputs, training=False):
        x = inputs
        for key, dense in self.blocks.items():
            x = self.norms[key](dense(x), training=training)
        return x

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="zoo")
class Pooled(layers.Layer):
    """Several tensors by stars, and options by names."""

    pools: ClassVar[dict] = {"mean": lambda xs: sum(xs) / len(xs), "max": lambda xs: functools.reduce(ops.maximum, xs)}

    def __init__(self, mode="mean", **kwargs):
        super().__init__(**kwargs)
        self.mode = mode

    def call(self, *inputs, scale=1.0):
        match = self.pools.get(self.mode)
        if match is None:
            warnings.warn("unknown pool")
        return match([*inputs]) * scale

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}


@register("swish")
def _swish(x, beta=1.0):
    return x * ops.sigmoid(beta * x)


@keras.saving.register_keras_serializable(package="zoo")
class Switched(layers.Layer):
    """A match statement over a mode, a registry, and a list of what was."""

    def __init__(self, mode="split", **kwargs):
        super().__init__(**kwargs)
        self.mode = mode

    def call(self, x):
        history = []
        for k in (1.0, 2.0, 3.0):
            history.append(x * k)
        match self.mode:
            case "split" | "halves":
                a, b = ops.split(x, 2, axis=-1)
                return a * b
            case "last":
                return history[-1] + history[0]
            case _:
                raise ValueError(self.mode)

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}


@keras.saving.register_keras_serializable(package="zoo")
class ByDict(layers.Layer):
    """A dict of inputs, a dict of outputs, nested functions that change names around them."""

    def __init__(self, size=4, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.left, self.right = layers.Dense(size), layers.Dense(size)

    def call(self, inputs):
        count = 0

        def merged(a, *, b):
            nonlocal count
            count += 1
            return a + b * count

        y = merged(self.left(inputs["a"]), b=self.right(inputs["b"]))
        y = merged(y, b=inputs.get("c", 1.0))
        volume = math.prod(d for d in y.shape[1:])
        return {"sum": y, "scaled": y / volume}

    def get_config(self):
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable(package="zoo")
class Patchwork(layers.Layer):
    """Patches, resized images, slices and scatters of keras.ops."""

    def __init__(self, size=2, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.table = np.random.RandomState(0).uniform(size=(3, 3)).astype("float32")

    def call(self, x):
        patches = ops.image.extract_patches(x, self.size, strides=self.size, padding="valid")
        small = ops.image.resize(x, patches.shape[1:3], interpolation="nearest")
        y = ops.concatenate([patches, small], axis=-1)
        return y[..., : self.size] + ops.mean(ops.convert_to_tensor([[1.0, 2.0], [3.0, 4.0]]))

    def get_config(self):
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable(package="zoo")
class Lazy(layers.Layer):
    """Layers made at the first call, properties kept, slots and default arguments."""

    def __init__(self, units=3, activation=keras.activations.relu, **kwargs):
        super().__init__(**kwargs)
        self.units, self.activation = units, keras.activations.get(activation)
        self._dense = None

    @property
    def dense(self):
        if self._dense is None:
            self._dense = layers.Dense(self.units, name="made_late")
        return self._dense

    def build(self, shape):
        self.dense.build(shape)
        super().build(shape)

    @functools.cached_property
    def factor(self):
        return 1 / math.sqrt(self.units)

    def call(self, x, scale: float = 2.0, *args, **kwargs):
        y: "KerasTensor" = self.dense(x)
        return self.activation(y * self.factor) * scale if kwargs.get("on", True) else y

    def get_config(self):
        return {**super().get_config(), "units": self.units, "activation": keras.activations.serialize(self.activation)}

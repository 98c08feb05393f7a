"""Layers in the style of Keras 1: ``get_output_shape_for``, ``K.*``, weights by hand, ``trainable_weights`` set."""

import numpy as np
from keras import activations, initializations, regularizers
from keras import backend as K
from keras.engine.topology import InputSpec, Layer


class Attention(Layer):
    def __init__(self, step_dim=7, W_regularizer=None, b_regularizer=None, bias=True, **kwargs):
        self.supports_masking = True
        self.init = initializations.get("glorot_uniform")
        self.W_regularizer = regularizers.get(W_regularizer)
        self.b_regularizer = regularizers.get(b_regularizer)
        self.bias = bias
        self.step_dim = step_dim
        self.features_dim = 0
        super(Attention, self).__init__(**kwargs)

    def build(self, input_shape):
        assert len(input_shape) == 3
        self.W = self.add_weight(
            (input_shape[-1],), initializer=self.init, name="{}_W".format(self.name), regularizer=self.W_regularizer
        )
        self.features_dim = input_shape[-1]
        if self.bias:
            self.b = self.add_weight((input_shape[1],), initializer="zero", name="{}_b".format(self.name))
        else:
            self.b = None
        self.built = True

    def compute_mask(self, input, input_mask=None):
        return None

    def call(self, x, mask=None):
        d, s = self.features_dim, self.step_dim
        eij = K.reshape(K.dot(K.reshape(x, (-1, d)), K.reshape(self.W, (d, 1))), (-1, s))
        if self.bias:
            eij += self.b
        eij = K.tanh(eij)
        a = K.exp(eij)
        if mask is not None:
            a *= K.cast(mask, K.floatx())
        a /= K.cast(K.sum(a, axis=1, keepdims=True) + K.epsilon(), K.floatx())
        return K.sum(x * K.expand_dims(a), axis=1)

    def get_output_shape_for(self, input_shape):
        return input_shape[0], self.features_dim

    def get_config(self):
        base = super(Attention, self).get_config()
        return dict(list(base.items()) + [("step_dim", self.step_dim), ("bias", self.bias)])


class Scale(Layer):
    """ResNet-101's and DenseNet's scale layer."""

    def __init__(self, weights=None, axis=-1, beta_init="zero", gamma_init="one", **kwargs):
        self.axis = axis
        self.beta_init = initializations.get(beta_init)
        self.gamma_init = initializations.get(gamma_init)
        self.initial_weights = weights
        super(Scale, self).__init__(**kwargs)

    def build(self, input_shape):
        self.input_spec = [InputSpec(shape=input_shape)]
        shape = (int(input_shape[self.axis]),)
        self.gamma = self.gamma_init(shape, name="{}_gamma".format(self.name))
        self.beta = self.beta_init(shape, name="{}_beta".format(self.name))
        self.trainable_weights = [self.gamma, self.beta]
        if self.initial_weights is not None:
            self.set_weights(self.initial_weights)
            del self.initial_weights

    def call(self, x, mask=None):
        input_shape = self.input_spec[0].shape
        broadcast_shape = [1] * len(input_shape)
        broadcast_shape[self.axis] = input_shape[self.axis]
        return K.reshape(self.gamma, broadcast_shape) * x + K.reshape(self.beta, broadcast_shape)

    def get_config(self):
        base = super(Scale, self).get_config()
        return dict(list(base.items()) + [("axis", self.axis)])


class L2Normalize(Layer):
    """SSD's normalisation with a learned scale."""

    def __init__(self, scale=20, **kwargs):
        self.scale = scale
        super(L2Normalize, self).__init__(**kwargs)

    def build(self, input_shape):
        init_gamma = self.scale * np.ones((input_shape[3],))
        self.gamma = K.variable(init_gamma, name="{}_gamma".format(self.name))
        self.trainable_weights = [self.gamma]

    def call(self, x, mask=None):
        return K.l2_normalize(x, 3) * self.gamma

    def get_config(self):
        base = super(L2Normalize, self).get_config()
        return dict(list(base.items()) + [("scale", self.scale)])


class HighwayStep(Layer):
    def __init__(self, activation="relu", **kwargs):
        self.activation = activations.get(activation)
        super(HighwayStep, self).__init__(**kwargs)

    def build(self, input_shape):
        d = input_shape[1]
        self.W = self.add_weight((d, d), initializer="glorot_uniform", name="W")
        self.W_carry = self.add_weight((d, d), initializer="glorot_uniform", name="W_carry")
        self.b_carry = self.add_weight((d,), initializer="one", name="b_carry")
        self.built = True

    def call(self, x, mask=None):
        gate = activations.sigmoid(K.dot(x, self.W_carry) + self.b_carry)
        return self.activation(K.dot(x, self.W)) * gate + (1 - gate) * x

    def get_config(self):
        base = super(HighwayStep, self).get_config()
        return dict(list(base.items()) + [("activation", self.activation.__name__)])


class TemporalMean(Layer):
    def __init__(self, **kwargs):
        self.supports_masking = True
        super(TemporalMean, self).__init__(**kwargs)

    def compute_mask(self, x, mask=None):
        return None

    def call(self, x, mask=None):
        if mask is None:
            return K.mean(x, axis=1)
        mask = K.cast(mask, "float32")
        return K.sum(x * K.expand_dims(mask), axis=1) / K.sum(mask, axis=1, keepdims=True)

    def get_output_shape_for(self, input_shape):
        return input_shape[0], input_shape[2]


class PairDistance(Layer):
    def call(self, xs, mask=None):
        a, b = xs
        return K.sqrt(K.maximum(K.sum(K.square(a - b), axis=1, keepdims=True), K.epsilon()))

    def get_output_shape_for(self, shapes):
        return shapes[0][0], 1

"""The attention layer of textgenrnn, written from what its authors publish of it: a softmax over the steps, weighted mean."""

from keras import backend as K
from keras import initializers
from keras.engine import InputSpec, Layer


class AttentionWeightedAverage(Layer):
    def __init__(self, return_attention=False, **kwargs):
        self.init = initializers.get("uniform")
        self.supports_masking = True
        self.return_attention = return_attention
        super(AttentionWeightedAverage, self).__init__(**kwargs)

    def build(self, input_shape):
        self.input_spec = [InputSpec(ndim=3)]
        assert len(input_shape) == 3
        self.W = self.add_weight(shape=(input_shape[2], 1), name="{}_W".format(self.name), initializer=self.init)
        self.trainable_weights = [self.W]
        super(AttentionWeightedAverage, self).build(input_shape)

    def call(self, x, mask=None):
        logits = K.dot(x, self.W)
        steps = K.shape(x)
        logits = K.reshape(logits, (steps[0], steps[1]))
        ai = K.exp(logits - K.max(logits, axis=-1, keepdims=True))
        if mask is not None:
            ai = ai * K.cast(mask, K.floatx())
        weights = ai / (K.sum(ai, axis=1, keepdims=True) + K.epsilon())
        result = K.sum(x * K.expand_dims(weights), axis=1)
        return [result, weights] if self.return_attention else result

    def compute_mask(self, input, input_mask=None):
        return [None, None] if isinstance(input_mask, list) else None

"""One row: the registered Keras layer "template>ScaledTanh"."""

from convcore.plugin import A, RuleSet, W

KERAS = RuleSet("keras", distribution="convcore-template")
KERAS.op("template>ScaledTanh", "scaled_tanh", "inputs=x", w=W("0"), scale=A("scale", default=1.0))

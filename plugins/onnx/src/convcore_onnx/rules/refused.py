"""Operators of the standard that are refused, each with its reason. ONNX gets them back as they are."""

from __future__ import annotations

from typing import Any

from convcore.plugin import ForeignNode

from ..context import OnnxContext
from .base import RULES

__all__ = ["FIRST", "REFUSED"]

_MAPS = ("takes or gives maps, which no other format has", "unsupported_layer")
_TREES = ("trees and support vectors are no parts of a neural network", "unsupported_layer")
_ORDERED = ("holds matrices tile by tile, in the orders of one maker's library", "unsupported_layer")
_RANDOM = ("draws random numbers, so that no two runs are the same", "random")
_TRAINING = ("is a step of training, not of inference", "training_mode")
_UNREAD = (
    (("works on a cache of keys and values that its caller holds", "unsupported_input"), (
        "DecoderAttention", "DecoderMaskedMultiHeadAttention", "DecoderMaskedSelfAttention", "PagedAttention", "SparseAttention",
    )),
    (("holds sequences of several lengths one after the other, without padding", "unsupported_layer"), (
        "PackedAttention", "PackedMultiHeadAttention", "RemovePadding", "RestorePadding",
    )),
    (("runs a model of its own over and over to write a text", "unsupported_layer"), (
        "BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch",
    )),
    (("its documentation does not say along which axes its bias is repeated", "unsupported_layer"), ("BiasSoftmax",)),
    (("its documentation does not say how distances become places of its table", "unsupported_layer"), (
        "RelativePositionBias", "GatedRelativePositionBias",
    )),
    (("its documentation has channels first, its name last", "unsupported_layer"), ("NhwcConv",)),
    (("its documentation does not say how experts are chosen and joined exactly", "unsupported_layer"), ("MoE", "QMoE")),
    (("its documentation does not say how its windows and global tokens meet", "unsupported_layer"), ("LongformerAttention",)),
)  # fmt: skip
"""Of com.microsoft, what onnxruntime's optimisers write and its documentation (1.32) does not settle."""

REFUSED: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike"), _RANDOM),
    **dict.fromkeys(("RandomUniform", "RandomUniformLike"), _RANDOM),
    "RegexFullMatch": (
        "regular expressions of RE2 are not matched: Python's take other ones, and some of them without end", "unsupported_layer",
    ),
    "ImageDecoder": ("decodes files of images, which decoders do not do alike", "unsupported_layer"),
    **{f"ai.onnx.ml.{n}": _MAPS for n in ("CastMap", "DictVectorizer", "ZipMap")},
    **{f"ai.onnx.ml.{n}": _TREES for n in ("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor", "SVMClassifier")},
    "ai.onnx.ml.SVMRegressor": _TREES,
    "ai.onnx.ml.LinearClassifier": ("how it takes two classes and labels is not said by the standard", "unsupported_layer"),
    "ai.onnx.ml.Normalizer": ("onnxruntime takes absolute values in the sums where the standard has none", "unsupported_layer"),
    "ai.onnx.ml.CategoryMapper": ("what it does with categories it does not know depends on the runtime", "unsupported_layer"),
    "ai.onnx.ml.OneHotEncoder": ("what it does with categories it does not know depends on the runtime", "unsupported_layer"),
    **{f"com.microsoft.QOrdered{n}": _ORDERED for n in ("Attention", "Gelu", "LayerNormalization", "MatMul")},
    "com.microsoft.QOrderedLongformerAttention": _ORDERED,
    **{f"com.microsoft.{n}WithOrder": _ORDERED for n in ("Quantize", "Dequantize")},
    **{f"com.microsoft.{n}": why for why, types in _UNREAD for n in types},
    **{f"ai.onnx.preview.training.{n}": _TRAINING for n in ("Adagrad", "Adam", "Gradient", "Momentum")},
}  # fmt: skip
"""(why, code of the problem) by type."""


FIRST: dict[str, str] = {
    "ai.onnx.ml.LabelEncoder": "its first version tells by the input's type which way it goes, between strings and positions",
}
"""Why the first version of an operator is refused whose later ones are read."""


@RULES.load(*REFUSED)
def refused(g: OnnxContext, node: ForeignNode) -> Any:
    why, code = REFUSED[node.type]
    raise node.refuse(why, code=code)


@RULES.load(*FIRST, until=1)
def refused_at_first(g: OnnxContext, node: ForeignNode) -> Any:
    raise node.refuse(FIRST[node.type])

"""Numbers of categories: encoding, bins, look-ups, hashes (Keras 3.15.1). Tensors of text have no counterpart in targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import DType, ForeignNode, Value, known_shape

from ..layer_spec import CHOICES, layer
from ..load_context import KerasContext
from ..ruleset import RULES

__all__: list[str] = []

# ---- what the layers are
_WEIGHED = {"output_mode": (*CHOICES["output_mode"], "tf_idf")}
layer(
    "CategoryEncoding",
    defaults={"num_tokens": None, "output_mode": "multi_hot", "sparse": False},
    choices={"output_mode": ("one_hot", "multi_hot", "count")},
)
layer(
    "Discretization", defaults={"bin_boundaries": None, "num_bins": None, "epsilon": 0.01, "output_mode": "int", "sparse": False}
)
layer(
    "HashedCrossing",
    defaults={"output_mode": "int", "sparse": False},
    required=("num_bins",),
    choices={"output_mode": ("int", "one_hot")},
)
layer("Hashing", defaults={"mask_value": None, "salt": None, "output_mode": "int", "sparse": False}, required=("num_bins",))
layer(
    "IntegerLookup",
    defaults={
        "max_tokens": None,
        "num_oov_indices": 1,
        "mask_token": None,
        "oov_token": -1,
        "vocabulary": None,
        "vocabulary_dtype": "int64",
        "idf_weights": None,
        "invert": False,
        "output_mode": "int",
        "sparse": False,
        "pad_to_max_tokens": False,
        "oov_method": "floormod",
        "salt": None,
    },
    choices=_WEIGHED,
    variables=None,
)
layer(
    "StringLookup",
    defaults={
        "max_tokens": None,
        "num_oov_indices": 1,
        "mask_token": None,
        "oov_token": "[UNK]",
        "vocabulary": None,
        "idf_weights": None,
        "invert": False,
        "output_mode": "int",
        "pad_to_max_tokens": False,
        "sparse": False,
        "encoding": "utf-8",
        "salt": None,
    },
    choices=_WEIGHED,
    variables=None,
)
layer(
    "TextVectorization",
    defaults={
        "max_tokens": None,
        "standardize": "lower_and_strip_punctuation",
        "split": "whitespace",
        "ngrams": None,
        "output_mode": "int",
        "output_sequence_length": None,
        "pad_to_max_tokens": False,
        "vocabulary": None,
        "idf_weights": None,
        "sparse": False,
        "ragged": False,
        "encoding": "utf-8",
    },
    choices=_WEIGHED,
    variables=None,
)

# ---- rules


def encoded(g: KerasContext, node: ForeignNode, ids: Value, depth: int, dtype: str, weights: Value | None = None) -> Value:
    """``encode_categorical_inputs`` (keras/src/utils): the numbers, one-hot, any-hot or counts over axis 1 (of a vector: 0).

    In Keras 3, tensors of rank 1 are one sample for multi_hot and count; TensorFlow's shortcut for them agrees.
    """
    b, mode = g.b, node.attr("output_mode", "int")
    if node.attr("sparse", False):
        raise node.refuse("makes a sparse tensor")
    if mode == "int":
        return ids if str(ids.dtype) == dtype else b.cast(ids, to=dtype)
    kind = dtype if "int" not in dtype else "float32"
    rank = len(known_shape(ids))
    if g.era != "keras3" and (rank != 2 or (mode == "one_hot" and known_shape(ids)[-1] != 1)):
        raise node.refuse("encodes categories, which Keras before 3 gave other axes", "save the model again with Keras 3")
    if mode == "one_hot":
        if rank > 1 and known_shape(ids)[-1] == 1:
            ids = b.squeeze(ids, axes=(rank - 1,))
        return b.one_hot(ids, depth=depth, axis=-1, dtype=kind)
    rows = b.one_hot(ids, depth=depth, axis=-1, dtype=kind)
    if mode == "multi_hot":
        return b.max(rows, axes=(1 if rank > 1 else 0,), keepdims=False)
    if weights is not None:
        rows = b.mul(rows, b.unsqueeze(b.cast(weights, to=kind), axes=(rank,)))
    return b.sum(rows, axes=(1 if rank > 1 else 0,), keepdims=False)


def _output_dtype(g: KerasContext, node: ForeignNode) -> str:
    """The compute dtype; integers where ids are asked for (``TFDataLayer``/``Discretization.output_dtype``)."""
    compute = str(node.extra.layer.dtype.compute)
    return "int64" if node.attr("output_mode", "int") == "int" and "int" not in compute else compute


@RULES.load("CategoryEncoding")
def category_encoding(g: KerasContext, node: ForeignNode) -> Value:
    """Numbers of categories as one-hot, any-hot or counts; ids must be below ``num_tokens``."""
    depth = node.attr("num_tokens", None)
    if not isinstance(depth, int):
        raise node.refuse("num_tokens is not stated")
    x = node.need(0)
    x = x if x.dtype is not None and x.dtype.is_int else g.b.cast(x, to="int32")
    node.attrs.setdefault("output_mode", "multi_hot")
    weights = node.attr("call.count_weights", None)
    return encoded(g, node, x, depth, str(node.extra.layer.dtype.compute), weights)


@RULES.load("Discretization")
def discretization(g: KerasContext, node: ForeignNode) -> Value:
    """How many boundaries are not above a value."""
    node.ignore("num_bins", "epsilon")
    x, bounds, b = node.need(0), node.attr("bin_boundaries", None), g.b
    if bounds is None:
        raise node.refuse("its boundaries are not in the file: it was never adapted")
    x = x if x.dtype is not None and x.dtype.is_float else b.cast(x, to="float32")
    line = b.const(np.asarray(bounds, np.float64), x.dtype)
    before = b.less_equal(line, b.unsqueeze(x, axes=(len(known_shape(x)),)))
    ids = b.sum(b.cast(before, to="int32"), axes=(-1,), keepdims=False)
    return encoded(g, node, ids, len(bounds) + 1, _output_dtype(g, node))


@RULES.load("IntegerLookup")
def integer_lookup(g: KerasContext, node: ForeignNode) -> Value:
    """The position of a number in the vocabulary, behind the mask token and those for unknown numbers, or back from positions.

    Of several places for unknown ones the remainder of the number says which (``oov_method="floormod"``).
    """
    x, b, words = node.need(0), g.b, node.attr("vocabulary", None)
    node.ignore(
        "max_tokens", "pad_to_max_tokens", "vocabulary_dtype", "idf_weights", "vocabulary_size", "salt", "oov_token", "encoding"
    )
    oov, mask, mode = node.whole("num_oov_indices", 1), node.attr("mask_token", None), node.attr("output_mode", "int")
    words = words.tolist() if hasattr(words, "tolist") else words
    if not isinstance(words, (list, tuple)) or not words:
        raise node.refuse("its vocabulary is not in its configuration", "give vocabulary= when the layer is made")
    if mode == "tf_idf" or node.attr("invert", False) or node.attr("oov_method", "floormod") != "floormod":
        raise node.refuse("is inverted, weighs by tf-idf or hashes unknown numbers")
    start = oov + (mask is not None and mode == "int")
    x = x if x.dtype is DType.INT64 else b.cast(x, to="int64")
    line = b.const(np.asarray(words, np.int64))
    hits = b.cast(b.equal(b.unsqueeze(x, axes=(len(known_shape(x)),)), line), to="int64")
    places = b.sum(b.mul(hits, b.const(np.arange(len(words)) + start)), axes=(-1,), keepdims=False)
    known = b.greater(b.sum(hits, axes=(-1,), keepdims=False), b.const(0, "int64"))
    if not oov:
        raise node.refuse("has no place for unknown numbers, and fails on them")
    first = start - oov
    outside = b.const(first, "int64") if oov == 1 else b.add(b.floor_mod(x, b.const(oov, "int64")), b.const(first, "int64"))
    ids = b.where(known, places, outside)
    if mask is not None and mode == "int":
        ids = b.where(b.equal(x, b.const(int(mask), "int64")), b.const(0, "int64"), ids)
    depth = len(words) + start
    return encoded(g, node, ids, depth, "int64" if mode == "int" else "float32")


@RULES.load("Hashing", "HashedCrossing", "StringLookup", "TextVectorization")
def text(g: KerasContext, node: ForeignNode) -> Any:
    """Refused: hashes are of the characters of numbers (FarmHash64), and targets have no tensors of text."""
    raise node.refuse(
        "works on text, or on the digits of numbers as text, which no target has", "do it before the model, which then takes ids",
        "unsupported_dtype",
    )  # fmt: skip

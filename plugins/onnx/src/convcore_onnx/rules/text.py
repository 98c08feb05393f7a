"""Strings, and counts of words."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import A, ArrayTensor, DType, ForeignNode, Node, NotExpressible, Tensor

from ..context import OnnxContext
from ..dialect import OnnxScribe
from .base import RULES
from .steps import Steps, dtype_known

RULES.op("StringConcat", "string_concat", "X=x, Y=y", since=20)
RULES.op(
    "StringSplit", "string_split", "X=x", outputs="parts, counts", since=20, delimiter=A("delimiter", ""),
    maxsplit=A("maxsplit", None),
)  # fmt: skip
_NORMALIZE: dict[str, Any] = {
    "case": A("case_change_action", "NONE", ("enum", {"NONE": "none", "LOWER": "lower", "UPPER": "upper"})),
    "case_sensitive": A("is_case_sensitive", 0, "bool_int"), "stopwords": A("stopwords", (), "tuple"),
}  # fmt: skip
RULES.op("StringNormalizer", "string_normalize", "X=x", since=10, direction="load", ignore=("locale",), **_NORMALIZE)
RULES.op("StringNormalizer", "string_normalize", "X=x", since=10, direction="emit", when={"locale": "C"}, **_NORMALIZE)


# ---- labels

_KINDS = {"tensor": None, "strings": object, "int64s": np.int64, "floats": np.float32}
_DEFAULTS: dict[str, tuple[str, Any]] = {
    "strings": ("default_string", "_Unused"), "int64s": ("default_int64", -1), "floats": ("default_float", -0.0),
}  # fmt: skip


def _listed(g: OnnxContext, node: ForeignNode, what: str) -> tuple[str, Any]:
    """The one list of keys or of values: its kind, and the array."""
    found = [(k, v) for k in _KINDS if (v := node.attr(f"{what}_{k}", None)) is not None]
    if len(found) != 1:
        raise node.refuse(f"has {len(found)} lists of {what}, must have one")
    kind, v = found[0]
    return kind, v.numpy().reshape(-1) if isinstance(v, Tensor) else np.array(v, _KINDS[kind])


@RULES.load("ai.onnx.ml.LabelEncoder", since=2)
def label_encoder(g: OnnxContext, node: ForeignNode) -> Any:
    (_, keys), (kind, values) = _listed(g, node, "keys"), _listed(g, node, "values")
    given = node.attr("default_tensor", None)
    default = given.numpy() if isinstance(given, Tensor) else None
    for k, (name, otherwise) in _DEFAULTS.items():
        v = node.attr(name, otherwise)
        if default is None and (
            k == kind or (kind == "tensor" and np.array(0, values.dtype).dtype == np.array(0, _KINDS[k]).dtype)
        ):
            default = np.array([v], _KINDS[k])
    if default is None or default.size != 1:
        raise node.refuse("its default is not one value of the type of its values")
    arrays = (keys, values, default.reshape(-1))
    return g.b.label_encode(node.need(0), *(g.b.const(a, DType.of(a.dtype)) for a in arrays))


@RULES.emit("label_encode")
def emit_label_encoder(e: OnnxScribe, node: Node) -> None:
    tensors = [node.need(k).tensor for k in ("keys", "values", "default")]
    if any(t is None for t in tensors):
        raise NotExpressible("keys, values and default of a LabelEncoder are constants")
    attrs = dict(zip(("keys_tensor", "values_tensor", "default_tensor"), tensors))
    e.call("ai.onnx.ml.LabelEncoder", [e.value(node.need("x"))], attrs, outputs=node.outputs, name=node.name)


@RULES.load("ai.onnx.ml.Binarizer")
def binarizer(g: OnnxContext, node: ForeignNode) -> Any:
    x = node.need(0)
    if not dtype_known(x).is_float:
        raise node.refuse(f"its input is {x.dtype}, which its threshold is not")
    return g.b.threshold(x, value=node.attr("threshold", 0.0))


@RULES.load("ai.onnx.ml.ArrayFeatureExtractor")
def feature_extractor(g: OnnxContext, node: ForeignNode) -> Any:
    """Columns of the last axis; a vector is a matrix of one row."""
    x, at = node.need(0), node.need(1)
    if x.rank == 1:
        x = g.b.unsqueeze(x, axes=(0,))
    if at.rank != 1:
        at = g.b.dynamic_reshape(at, g.b.const([-1], DType.INT64))
    return g.b.gather(x, at, axis=-1)


# ---- counts


@RULES.load("TfIdfVectorizer", since=9)
def count_ngrams(g: OnnxContext, node: ForeignNode) -> Any:
    x = node.need(0)
    numbers, strings = node.attr("pool_int64s", None), node.attr("pool_strings", None)
    if (numbers is None) == (strings is None):
        raise node.refuse("needs either pool_int64s or pool_strings")
    if strings is None:
        pool = g.b.const(np.array(numbers, np.int64), DType.INT64)
    else:
        pool = g.b.const(np.array(strings, object), DType.STRING)
    counts, indexes = tuple(node.attr("ngram_counts")), tuple(node.attr("ngram_indexes"))
    total = sum(
        ((counts[n] if n < len(counts) else len(numbers or strings)) - start) // n for n, start in enumerate(counts, 1)
    )  # fmt: skip
    if total != len(indexes):
        raise node.refuse(f"its pool has {total} n-grams, ngram_indexes {len(indexes)}")
    weights = node.attr("weights", None)
    return g.b.count_ngrams(
        x, pool, None if weights is None else g.b.const(np.array(weights, np.float32), DType.FLOAT32), counts=counts,
        indexes=indexes, shortest=node.attr("min_gram_length"), longest=node.attr("max_gram_length"),
        skips=node.attr("max_skip_count"), mode=node.attr("mode").lower(),
    )  # fmt: skip


@RULES.emit("count_ngrams", since=9)
def emit_count_ngrams(e: OnnxScribe, node: Node) -> None:
    a, pool, weights = node.attrs, node.need("pool").tensor, node.arg("weights")
    if not isinstance(pool, (Tensor, ArrayTensor)) or (weights is not None and weights.tensor is None):
        raise NotExpressible("pool and weights of a TfIdfVectorizer are constants")
    attrs: dict[str, Any] = {
        "ngram_counts": list(a["counts"]), "ngram_indexes": list(a["indexes"]), "min_gram_length": a["shortest"],
        "max_gram_length": a["longest"], "max_skip_count": a["skips"], "mode": a["mode"].upper(),
    }  # fmt: skip
    if pool.dtype is DType.STRING:
        attrs["pool_strings"] = [str(s) for s in pool.numpy()]
    else:
        attrs["pool_int64s"] = [int(n) for n in pool.numpy()]
    if weights is not None and weights.tensor is not None:
        attrs["weights"] = [float(w) for w in weights.tensor.numpy()]
    Steps(e, node).last("TfIdfVectorizer", node.need("x"), **attrs)

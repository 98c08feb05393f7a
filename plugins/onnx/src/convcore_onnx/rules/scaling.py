"""Parts of ai.onnx.ml that stand before networks: scaling, missing values, features side by side, a linear layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import DType, ForeignNode, NotExpressible, Value, known_shape

from ..context import OnnxContext
from .base import RULES

__all__: list[str] = []


def _floats(g: OnnxContext, v: Value) -> Value:
    """As float32, the only type of these operators' results."""
    made: Value = v if v.dtype is DType.FLOAT32 else g.b.cast(v, to=DType.FLOAT32)
    return made


def _features(node: ForeignNode, x: Value, name: str, values: Any) -> Any:
    """One number for all features, or one for each."""
    width = (known_shape(x) or (1,))[-1]
    a = np.asarray(values, np.float32)
    if a.size not in (1, width):
        raise node.refuse(f"{name} has {a.size} numbers for {width} features")
    return a.reshape(()) if a.size == 1 else a


@RULES.load("ai.onnx.ml.Scaler")
def scaler(g: OnnxContext, node: ForeignNode) -> Any:
    """(x - offset) * scale."""
    x, offset, scale = node.need(0), node.attr("offset", ()), node.attr("scale", ())
    if not offset or not scale:
        raise node.refuse("offset or scale is not given", code="missing_attribute")
    offset, scale = _features(node, x, "offset", offset), _features(node, x, "scale", scale)
    return g.b.mul(g.b.sub(_floats(g, x), g.b.const(offset)), g.b.const(scale))


@RULES.load("ai.onnx.ml.LinearRegressor")
def linear_regressor(g: OnnxContext, node: ForeignNode) -> Any:
    x, targets, transform = node.need(0), node.attr("targets", 1), node.attr("post_transform", "NONE")
    w, c = np.asarray(node.attr("coefficients", ()), np.float32), np.asarray(node.attr("intercepts", ()), np.float32)
    if transform != "NONE":
        raise node.refuse(f"post_transform={transform!r}")
    if x.rank != 2 or targets < 1 or not w.size or w.size % targets or c.size not in (0, targets):
        raise node.refuse(f"{w.size} coefficients and {c.size} intercepts for {targets} targets of {x}")
    kernel = g.b.weight(w.reshape(targets, -1), f"{node.name}/coefficients", trainable=True)
    return g.b.linear(_floats(g, x), kernel, g.b.weight(c, f"{node.name}/intercepts", trainable=True) if c.size else None)


@RULES.load("ai.onnx.ml.FeatureVectorizer")
def feature_vectorizer(g: OnnxContext, node: ForeignNode) -> Any:
    parts = [_floats(g, v) for v in node.needed()]
    widths = node.attr("inputdimensions", None)
    if not parts or any(v.rank != 2 for v in parts):
        raise NotExpressible("its inputs are not matrices", "unknown_shape")
    if widths is not None and list(widths) != [known_shape(v)[1] for v in parts]:
        raise node.refuse(f"inputdimensions={tuple(widths)} are not the sizes of its inputs")
    return g.b.concat(*parts, axis=1)


@RULES.load("ai.onnx.ml.Imputer")
def imputer(g: OnnxContext, node: ForeignNode) -> Any:
    x, b = node.need(0), g.b
    whole = x.dtype is not None and x.dtype.is_int
    kind, other = ("int64", "float") if whole else ("float", "int64")
    values, old = node.attr(f"imputed_value_{kind}s", ()), node.attr(f"replaced_value_{kind}", 0)
    node.attr(f"replaced_value_{other}", 0)
    if x.dtype not in (DType.FLOAT32, DType.INT64) or not values or node.attr(f"imputed_value_{other}s", ()):
        raise node.refuse(f"imputes {other}s, or nothing, in {x.dtype}")
    new = _features(node, x, "imputed_value", values) if not whole else np.asarray(values, np.int64)
    if whole and new.size not in (1, (known_shape(x) or (1,))[-1]):
        raise node.refuse(f"imputed_value has {new.size} numbers")
    missing = b.isnan(x) if not whole and np.isnan(old) else b.equal(x, b.const(np.asarray(old, new.dtype)))
    return b.where(missing, b.const(new.reshape(()) if new.size == 1 else new), x)

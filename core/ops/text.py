"""Strings, and counts of words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.dims import Shape
from ..ir.dtypes import DType
from ..opset.axes import Broadcast, Opaque
from ..opset.declare import Attr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.shapes import broadcast_shapes
from ..opset.traits import Trait

TEXT = OpSet("text")

Array = NDArray[Any]
Shapes = list[tuple[DType | None, Shape | None]]


def _strings(c: InferContext, *names: str) -> None:
    for name in names:
        if c.dtype(name) not in (None, DType.STRING):
            c.fail(f"{name} is {c.dtype(name)}, must be string")


_JOIN = np.frompyfunc(lambda a, b: f"{a}{b}", 2, 1)


def _words(*texts: str) -> Array:
    return np.array(texts, object)


def _joined_shape(c: InferContext) -> Shapes:
    _strings(c, "x", "y")
    return [(DType.STRING, broadcast_shapes(c.shape("x"), c.shape("y")))]


TEXT.op(
    "string_concat", "x, y", "Strings one after another, element by element; they broadcast.", outputs="z",
    infer=_joined_shape, reference=lambda x, y: np.asarray(_JOIN(x, y), object), axes=Broadcast(), traits=Trait.POINTWISE,
    samples=[Sample(_words("a", "bc", "d"), _words("x", "", "zz")), Sample(_words("a", "b"), _words("x"))],
)  # fmt: skip


def _split_shape(c: InferContext) -> Shapes:
    _strings(c, "x")
    x = c.shape("x")
    return [(DType.STRING, None if x is None else (*x, None)), (DType.INT64, x)]


def _split(x: Array, delimiter: str, maxsplit: int | None) -> tuple[Array, Array]:
    parts = [str(s).split(delimiter or None, -1 if maxsplit is None else maxsplit) for s in x.reshape(-1)]
    if not delimiter and maxsplit is not None and any(p and p[-1] != p[-1].rstrip() for p in parts):
        raise ValueError(
            "white space at the end of what is not split: onnxruntime 1.32 leaves it out, the standard's evaluator not"
        )
    most = max(map(len, parts), default=0)
    y = np.full((len(parts), most), "", object)
    for i, p in enumerate(parts):
        y[i, : len(p)] = p
    return y.reshape(*x.shape, most), np.array([len(p) for p in parts], np.int64).reshape(x.shape)


TEXT.op(
    "string_split", "x",
    "The parts of every string between delimiters (none: runs of white space) along a new last axis, filled up with empty "
    "strings, "
    "and how many there are; at most maxsplit + 1.",
    outputs="parts, counts", attrs={"delimiter": Attr("str", ""), "maxsplit": Attr("int", None)},
    infer=_split_shape, reference=_split, axes=Opaque(),
    samples=[Sample(_words("a.b", "c", "d.e.f"), delimiter="."), Sample(_words(" a  b c", ""), maxsplit=1)],
)  # fmt: skip


def _normalized_shape(c: InferContext) -> Shapes:
    _strings(c, "x")
    rank, x = c.rank("x", 1, 2), c.shape("x")
    if x is not None and rank == 2 and x[0] != 1:
        c.fail("a matrix of strings must have one row")
    return [(DType.STRING, None if rank is None else (None,) if rank == 1 else (1, None))]


def _normalized(x: Array, case: str, case_sensitive: bool, stopwords: tuple[str, ...]) -> Array:
    words = [str(s) for s in x.reshape(-1)]
    if any(not s.isascii() for s in (*words, *stopwords)) and (case != "none" or not case_sensitive):
        raise ValueError("letters beyond ASCII: what their upper and lower case is depends on the locale of the machine")
    turn = str.upper if case == "upper" else str.lower
    if case_sensitive:
        kept = [s for s in words if s not in stopwords]
    else:
        stops = {s.lower() for s in stopwords}
        kept = [s for s in words if s.lower() not in stops]
    kept = kept if case == "none" else [turn(s) for s in kept]
    y = np.array(kept or [""], object)
    return y if x.ndim == 1 else y[None]


TEXT.op(
    "string_normalize", "x",
    "The strings of a vector (or of a matrix of one row) that are not stop words, in upper or lower case; one empty string "
    "where none "
    "is left (ONNX StringNormalizer).",
    attrs={
        "case": Attr("str", "none", ("none", "lower", "upper")), "case_sensitive": Attr("bool", False),
        "stopwords": Attr("strs", ()),
    },
    infer=_normalized_shape, reference=_normalized, axes=Opaque(),
    samples=[
        Sample(_words("monday", "Tuesday", "MONDAY"), stopwords=("monday",), case="upper"),
        Sample(_words("monday", "Tuesday", "Monday"), stopwords=("monday",), case_sensitive=True),
    ],
)  # fmt: skip


def _encoded_shape(c: InferContext) -> Shapes:
    keys, values = c.shape("keys"), c.shape("values")
    c.rank("keys", 1)
    c.rank("values", 1)
    if keys is not None and values is not None:
        c.same(keys[0], values[0], "keys and values")
    if None not in (c.dtype("x"), c.dtype("keys")) and c.dtype("x") != c.dtype("keys"):
        c.fail(f"x is {c.dtype('x')} and its keys are {c.dtype('keys')}")
    if None not in (c.dtype("values"), c.dtype("default")) and c.dtype("values") != c.dtype("default"):
        c.fail(f"values are {c.dtype('values')} and the default is {c.dtype('default')}")
    return [(c.dtype("values"), c.shape("x"))]


def _encoded(x: Array, keys: Array, values: Array, default: Array) -> Array:
    table = dict(zip(keys.tolist(), range(len(keys))))
    nan = next((i for i in reversed(range(len(keys))) if keys[i] != keys[i]), None)
    y = np.empty(x.size, values.dtype)
    for i, k in enumerate(x.reshape(-1).tolist()):
        at = nan if k != k else table.get(k)
        y[i] = default.reshape(-1)[0] if at is None else values[at]
    return y.reshape(x.shape)


TEXT.op(
    "label_encode", "x, keys, values, default",
    "values[i] where an element is keys[i] (the last of equal ones; NaN is NaN), else default (ONNX-ML LabelEncoder).",
    infer=_encoded_shape, reference=_encoded, axes=Opaque(),
    samples=[
        Sample(_words("a", "b", "x", "a"), _words("a", "b"), np.array([3, 5]), np.array([7])),
        Sample(np.array([[1, 2], [3, 1]]), np.array([1, 2]), np.array([0.5, 1.5], np.float32), np.array([-1], np.float32)),
    ],
)  # fmt: skip


def _counted_shape(c: InferContext) -> Shapes:
    x = c.shape("x")
    c.rank("x", 0, 1, 2)
    c.not_half("x", "pool", "weights")
    size = max(c["indexes"], default=-1) + 1
    return [(DType.FLOAT32, None if x is None else (*x[:-1], size))]


def _counted(
    x: Array, pool: Array, weights: Array | None = None, *, counts: Any, indexes: Any, shortest: int, longest: int, skips: int,
    mode: str,
) -> Array:  # fmt: skip
    table: dict[tuple[Any, ...], int] = {}
    words, number = pool.tolist(), 0
    for n, start in enumerate(counts, 1):
        end = counts[n] if n < len(counts) else len(words)
        for at in range(start, end - n + 1, n):
            if shortest <= n <= longest:
                table.setdefault(tuple(words[at : at + n]), number)
            number += 1
    rows = x.reshape(-1, x.shape[-1] if x.ndim else 1)
    y = np.zeros((len(rows), max(indexes, default=-1) + 1), np.float32)
    for row, out in zip(rows.tolist(), y):
        for n in range(shortest, longest + 1):
            for step in range(1, skips + 2 if n > 1 else 2):
                for at in range(len(row) - step * (n - 1)):
                    found = table.get(tuple(row[at : at + step * (n - 1) + 1 : step]))
                    if found is not None:
                        out[indexes[found]] += 1
    if mode == "idf":
        y = (y > 0).astype(np.float32)
    if mode != "tf" and weights is not None:
        by = np.zeros(y.shape[-1], np.float32)
        by[list(indexes)] = weights
        y = y * by
    return y.reshape(*x.shape[:-1], y.shape[-1])


TEXT.op(
    "count_ngrams", "x, pool, weights:float?",
    "How often each n-gram of a pool is in a row of x, at position indexes[i] for the i-th: those of one element from "
    "counts[0] on, of "
    "two from counts[1] on... Elements of an n-gram may be 1 to skips + 1 places apart, all alike. idf counts once, and idf "
    "and tfidf "
    "multiply by weights (ONNX TfIdfVectorizer).",
    attrs={
        "counts": Attr("ints"), "indexes": Attr("ints"), "shortest": Attr("int", 1), "longest": Attr("int", 1),
        "skips": Attr("int", 0), "mode": Attr("str", "tf", ("tf", "idf", "tfidf")),
    },
    infer=_counted_shape, reference=_counted, axes=Opaque(),
    samples=[
        Sample(np.array([[1, 1, 3, 3, 3, 7], [8, 6, 7, 5, 6, 8]]), np.array([2, 3, 5, 4, 5, 6, 7, 8, 6, 7]), counts=(0, 4),
            indexes=(0, 1, 2, 3, 4, 5, 6), shortest=1, longest=2, skips=5),
        Sample(_words("a", "b", "a"), _words("a", "b"), np.array([2.5, 0.5], np.float32), counts=(0,), indexes=(1, 0),
            mode="tfidf"),
    ],
)  # fmt: skip

"""Ops of strings beside Python's own, and counts of n-grams beside onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convcore.opset import op

POOL = ["a", "b", "a", "b", "b", "c", "c", "a"]


def _counted(mode: str, weights: Any, skips: int, shortest: int, longest: int, x: list[str]) -> Any:
    at = {"counts": (0, 2), "indexes": (3, 0, 1, 4, 2), "shortest": shortest, "longest": longest, "skips": skips, "mode": mode}
    w = None if weights is None else np.asarray(weights, np.float32)
    reference: Any = op("count_ngrams").reference
    return reference(np.asarray(x, object), np.asarray(POOL, object), w, **at)


WEIGHTS = [2.0, 3.0, 5.0, 7.0, 11.0]


@pytest.mark.parametrize("skips", [0, 1, 2])
@pytest.mark.parametrize(("shortest", "longest"), [(1, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("mode", ["tf", "idf", "tfidf"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_n_grams_are_counted_as_onnxruntime_counts_them(mode: str, weights: Any, shortest: int, longest: int, skips: int) -> None:
    onnx, ort = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    h = onnx.helper
    x = ["a", "b", "c", "a", "a", "b", "b"]
    at = {"ngram_counts": [0, 2], "ngram_indexes": [3, 0, 1, 4, 2], "min_gram_length": shortest, "max_gram_length": longest}
    more = {} if weights is None else {"weights": weights}
    node = h.make_node("TfIdfVectorizer", ["x"], ["y"], pool_strings=POOL, max_skip_count=skips, mode=mode.upper(), **at, **more)
    given, made = (
        h.make_tensor_value_info(n, t, None) for n, t in (("x", onnx.TensorProto.STRING), ("y", onnx.TensorProto.FLOAT))
    )
    model = h.make_model(h.make_graph([node], "g", [given], [made]), opset_imports=[h.make_opsetid("", 18)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = session.run(None, {"x": np.asarray(x, object)})[0]
    np.testing.assert_array_equal(_counted(mode, weights, skips, shortest, longest, x), wanted)


@pytest.mark.parametrize("text", ["a,b,,c", ",a,", "", "abc", ",,"])
@pytest.mark.parametrize("most", [None, 0, 1, 2, 5])
def test_strings_are_split_as_python_splits_them(text: str, most: int | None) -> None:
    reference: Any = op("string_split").reference
    parts, counts = reference(np.asarray([text, "x,y"], object), delimiter=",", maxsplit=most)
    for row, n, s in zip(parts, counts, (text, "x,y")):
        wanted = s.split(",", -1 if most is None else most)
        assert row[:n].tolist() == wanted and not any(row[n:])

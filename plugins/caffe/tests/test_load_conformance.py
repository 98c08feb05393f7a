"""Every conformance case against the real Caffe: all blobs by the interpreter, and on to ONNX; every refused net is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import convcore
from convcore.errors import BadFileError, ConvcoreError, UnsupportedError

from .support import CASES, REFUSED, blob_values, load_case, name_of, weights_of, worst

TOLERANCE = 1e-5
UNLOADABLE = {"Python/user": "Python code"}
# input shapes of the data layer's arrays as fed; Caffe's blob has further axes of size 1
FED_FLAT = {"MemoryData/passthrough": ("label",)}


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_blob_agrees_with_the_real_caffe(case: Path) -> None:
    model, inputs, blobs, outputs = load_case(case)
    name = name_of(case)
    if name in UNLOADABLE:
        assert [p.layer for p in model.problems] == ["py"]
        assert UNLOADABLE[name] in model.problems[0].why
        with pytest.raises(UnsupportedError, match="'py'"):
            model(inputs)
        return
    assert not model.problems, model.problems
    assert [v.name for v in model.graph.outputs] == sorted(outputs)  # Caffe's order; the file records its author's
    got = blob_values(model, inputs, list(blobs))
    assert set(got) == set(blobs)
    for blob, want in blobs.items():
        if blob in FED_FLAT.get(name, ()):
            want = want.reshape(got[blob].shape)
        assert worst(got[blob], want) <= TOLERANCE, blob


@pytest.mark.parametrize("case", REFUSED, ids=lambda p: p.name)
def test_refused_nets_are_refused_by_name(case: Path) -> None:
    weights = weights_of(case)
    with pytest.raises(ConvcoreError) as caught:
        model = convcore.load(case / "deploy.prototxt", weights, init_weights=weights is None)
        raise UnsupportedError(model.problems) if model.problems else AssertionError("loaded")
    layers = [
        line.split('name: "')[1].split('"')[0]
        for line in (case / "deploy.prototxt").read_text().splitlines()
        if "layer {" in line
    ]
    assert isinstance(caught.value, (BadFileError, UnsupportedError))
    assert any(repr(layer) in str(caught.value) for layer in layers), str(caught.value)


def test_arrays_are_compared_strictly() -> None:
    a = np.array([1.0, np.nan, np.inf])
    assert worst(a, a) == 0
    assert worst(a, np.array([1.0, np.nan, -np.inf])) == float("inf")
    assert worst(np.array([1.0, 2.0]), np.array([1.0, 2.1])) > TOLERANCE
    assert worst(np.zeros((2, 1)), np.zeros(2)) == float("inf")

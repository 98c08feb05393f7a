"""What functions do of types that rows say most of, against what Keras computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_helpers import load_graph, run

keras = pytest.importorskip("keras")
L, O = keras.layers, keras.ops

CASES: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {
    "concatenated_types": ((5, 7), lambda x: L.Concatenate()([x, O.cast(x * 3, "int32")])),
    "cropped_resizing": ((11, 7, 3), lambda x: L.Resizing(5, 4, crop_to_aspect_ratio=True)(x)),
    "where_of_numbers": ((5, 7), lambda x: O.where(O.cast(x, "int32"), x, -x)),
    "triangle_of_booleans": ((5, 7), lambda x: O.tril(x > 0, k=1)),
    "upper_triangle_of_booleans": ((5, 7), lambda x: O.triu(x > 0, k=-1)),
    "sum_of_booleans": ((5, 7), lambda x: O.add(x > 0, x > 1)),
    "product_of_booleans": ((5, 7), lambda x: O.multiply(x > 0, x > -1)),
    "order_of_booleans": ((5, 7), lambda x: O.less(x > 0, x > 1)),
    "bits_of_booleans": ((5, 7), lambda x: O.bitwise_xor(x > 0, x > 1)),
    "inverse_of_booleans": ((5, 7), lambda x: O.bitwise_invert(x > 0)),
    "absolute_of_integers": ((5, 7), lambda x: O.negative(O.absolute(O.cast(x * 3, "int32")))),
}


@pytest.mark.parametrize("name", CASES)
def test_what_no_row_says(name: str, tmp_path: Path) -> None:
    shape, make = CASES[name]
    x = keras.Input(shape, name="x")
    model = keras.Model(x, make(x), name="m")
    model.save(tmp_path / "m.keras")
    given = np.random.default_rng(5).normal(size=(3, *shape)).astype("float32")
    want = O.convert_to_numpy(model(given))
    (got,) = run(load_graph(tmp_path / "m.keras"), [given])
    assert got.dtype == want.dtype and got.shape == want.shape
    np.testing.assert_allclose(got.astype("float64"), want.astype("float64"), rtol=1e-5, atol=1e-6)

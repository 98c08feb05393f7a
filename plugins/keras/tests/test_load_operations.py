"""Operations of ``keras.ops`` in functional models, against what Keras computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_helpers import load_graph, problems, run

keras = pytest.importorskip("keras")
O = keras.ops

CASES: dict[str, Callable[[Any], Any]] = {
    "argmax": lambda x: O.argmax(x, axis=1),
    "argmax_keepdims": lambda x: O.argmax(x, axis=-1, keepdims=True),
    "argmin": lambda x: O.argmin(x, axis=2),
    "argsort": lambda x: O.argsort(x, axis=1),
    "argsort_last": lambda x: O.argsort(x),
    "sort": lambda x: O.sort(x, axis=1),
    "cast_int": lambda x: O.cast(x * 3.0, "int32"),
    "cast_bool": lambda x: O.cast(O.relu(x), "bool"),
    "cast_half": lambda x: O.cast(x, "float16"),
    "greater_equal": lambda x: O.greater_equal(x, 0.5),
    "less": lambda x: O.less(x, 0.5),
    "less_equal": lambda x: O.less_equal(x, 0.5),
    "minimum": lambda x: O.minimum(x, 0.5),
    "power": lambda x: O.power(x, 2.0),
    "true_divide": lambda x: O.true_divide(x, 4.0),
}


@pytest.mark.parametrize("name", CASES)
def test_operation(name: str, tmp_path: Path) -> None:
    x = keras.Input((5, 7), name="x")
    model = keras.Model(x, CASES[name](x), name="m")
    model.save(tmp_path / "m.keras")
    graph = load_graph(tmp_path / "m.keras")
    for batch in (1, 3):
        given = np.random.default_rng(batch).normal(size=(batch, 5, 7)).astype("float32").round(1)  # with equals among them
        want = O.convert_to_numpy(model(given))
        (got,) = run(graph, [given])
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


def test_all_elements_together(tmp_path: Path) -> None:
    x = keras.Input(batch_shape=(3, 5, 7), name="x")
    keras.Model(x, [O.argmax(x), O.argmin(x)], name="m").save(tmp_path / "m.keras")
    given = np.random.default_rng(1).normal(size=(3, 5, 7)).astype("float32")
    a, b = run(load_graph(tmp_path / "m.keras"), [given])
    assert (a, b) == (given.argmax(), given.argmin()) and a.dtype == b.dtype == np.int32


def test_cast_to_what_is_no_dtype_here_is_refused(tmp_path: Path) -> None:
    import json
    import zipfile

    x = keras.Input((5,), name="x")
    keras.Model(x, O.cast(x, "int32"), name="m").save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as source, zipfile.ZipFile(tmp_path / "n.keras", "w") as to:
        for info in source.infolist():
            data = source.read(info)
            if info.filename == "config.json":
                data = json.dumps(json.loads(data)).replace('{"dtype": "int32"', '{"dtype": "int31"').encode()
                data = data.replace(b'"dtype": "int32"', b'"dtype": "int31"')
            to.writestr(info, data)
    (p,) = problems(load_graph(tmp_path / "n.keras"))
    assert "casts to 'int31'" in p.why

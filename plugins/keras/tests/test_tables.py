"""Tables of numbers beside what they are of: Python's instructions, numpy's functions, Keras's own constants."""

from __future__ import annotations

import json
import opcode
import re
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from keras_helpers import load_graph, run
from test_code_python import by_python, by_source

from convcore_keras.code import bytecode
from convcore_keras.code.builtin import NAMED_CONSTANTS
from convcore_keras.code.frame import _GENERATORS
from convcore_keras.code.source.python import _DRAWS
from convcore_keras.emit_rules.rnn import _STATES
from convcore_keras.files.write import _HEADER_LIMIT
from convcore_keras.layers.preprocessing import _EPSILON
from convcore_keras.layers.quantised import _LARGEST
from convcore_keras.ops.nn import EPSILON

keras = pytest.importorskip("keras")


def test_every_version_of_python_that_is_known_is_of_one_layout() -> None:
    """Layouts of code objects changed with 3.0, 3.8 and 3.11 (``PyCode_Type`` in ``Python/marshal.c``)."""
    known = json.loads(files("convcore_keras.code").joinpath("opcodes.json").read_text("utf-8"))
    found = [".".join(map(str, n)) for versions in bytecode._VERSIONS.values() for n in versions]
    assert sorted(found) == sorted(known)
    for layout, versions in bytecode._VERSIONS.items():
        first = [int(n) for n in layout.split(".")]
        assert all(list(n) >= first for n in versions) and len({str(v) for v in bytecode.versions(layout)}) == len(versions)


def test_numbered_operators_are_pythons() -> None:
    """``BINARY_OP`` as the Python that runs the test has it (3.11 and newer)."""
    real = [text for _, text in getattr(opcode, "_nb_ops", ())]
    numbered = [f"{op}=" if 13 <= i < 26 else op for i, op in enumerate(bytecode._NUMBERED)]
    assert len(numbered) == 27 and real in ([], numbered[:26], numbered)


def test_flags_of_functions_that_are_none() -> None:
    async def coroutine() -> None: ...

    def generator():  # type: ignore[no-untyped-def]
        yield

    async def both():  # type: ignore[no-untyped-def]
        yield

    assert all(f.__code__.co_flags & _GENERATORS for f in (coroutine, generator, both))
    assert not test_flags_of_functions_that_are_none.__code__.co_flags & _GENERATORS
    assert _GENERATORS == 0x3A0  # as CPython has had them since 3.6, in bytes of every version


def test_named_constants() -> None:
    import math
    import string

    for path, value in NAMED_CONSTANTS.items():
        module, name = path.split(".")
        if module != "tensorflow":
            assert value == getattr({"math": math, "string": string, "numpy": np}[module], name)


def test_where_the_size_of_random_numbers_stands() -> None:
    for name, before in _DRAWS.items():
        (told,) = re.findall(rf"^\s*{name}\((.*?)\)$", getattr(np.random, name).__doc__, re.MULTILINE | re.DOTALL)[:1]
        names = [part.split("=")[0].strip() for part in told.split(",")]
        assert before == (names.index("size") if "size" in names else -1), name


def test_numbers_of_keras() -> None:
    import ml_dtypes
    from keras.src.legacy.saving import legacy_h5_format

    assert EPSILON == _EPSILON == keras.config.epsilon()
    assert float(ml_dtypes.finfo("float8_e4m3fn").max) == _LARGEST
    assert legacy_h5_format.HDF5_OBJECT_HEADER_LIMIT == _HEADER_LIMIT
    cells = {"lstm": keras.layers.LSTMCell, "gru": keras.layers.GRUCell, "rnn": keras.layers.SimpleRNNCell}
    assert {k: len(np.atleast_1d(c(3).state_size)) for k, c in cells.items()} == _STATES


def test_archives_have_no_date(tmp_path: Path) -> None:
    """The same model gives the same bytes, whenever it is written."""
    import convcore

    source = Path(__file__).parents[3] / "tests" / "data" / "keras_eras" / "tf213" / "seq_cnn.keras"
    convcore.convert(source, "keras", tmp_path / "m.keras", check=False)
    with zipfile.ZipFile(tmp_path / "m.keras") as z:
        assert {i.date_time for i in z.infolist()} == {zipfile.ZipInfo("x").date_time}


TRUE = {
    "member": "class E(enum.Enum):\n        A = 0\n    x = E.A", "enumeration": "class E(enum.Enum):\n        A = 1\n    x = E",
    "record": "x = collections.namedtuple('P', 'a b')", "class": "class C:\n        pass\n    x = C",
    "method": "class C:\n        def m(self):\n            return 0\n    x = C().m", "function": "x = lambda: 0",
    "object": "class C:\n        pass\n    x = C()", "iterator": "x = iter([])", "partial": "x = functools.partial(int, 0)",
    "random": "x = np.random.RandomState(1)",
}  # fmt: skip


@pytest.mark.parametrize("what", TRUE)
def test_what_has_no_truth_of_its_own_is_true(what: str) -> None:
    text = f"def f():\n    {TRUE[what]}\n    return (1 if x else 2), (3 if not x else 4)\n"
    assert by_source(text) == by_python(text) == (1, 4)


@pytest.mark.parametrize("made", ["keras.layers.Dense(3)", "keras.Sequential([keras.layers.Dense(3)])",
                                  "keras.initializers.Zeros()", "logging.getLogger()"])  # fmt: skip
def test_what_keras_makes_is_true(made: str) -> None:
    assert by_source(f"import logging\ndef f():\n    x = {made}\n    return 1 if x else 2\n") == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_infinities_become_the_largest_number_of_their_type(dtype: str, tmp_path: Path) -> None:
    import ml_dtypes

    x = keras.Input((5,), dtype=dtype)
    keras.Model(x, keras.ops.nan_to_num(x)).save(tmp_path / "m.keras")
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    given = np.array([[np.inf, -np.inf, np.nan, 1.5, -0.0]], kind)
    (found,) = run(load_graph(tmp_path / "m.keras"), [given])
    most = ml_dtypes.finfo(kind).max
    assert found.dtype == kind and found.tolist() == np.array([[most, -most, 0, 1.5, -0.0]], kind).tolist()
    usual = np.array([[np.inf, -np.inf, np.nan, 1.5, -0.0]], np.float32)
    assert keras.ops.convert_to_numpy(keras.ops.nan_to_num(usual)).tolist()[0][0] == float(np.finfo(np.float32).max)

"""``--run-custom-code``: the user's code run by Keras in a child process, only where it is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import load_graph, problems, randomise

import convcore
from convcore.interpreter.execute import Interpreter

SOURCE = """
import os
import random
from pathlib import Path

import keras
from keras import ops

TABLE = {name: random.Random(5).random() for name in ("a", "b")}  # what reading does not follow
Path(os.environ.get("RUN_MARK", "mark")).write_text(str(os.getpid()))


class Odd(keras.layers.Layer):
    def __init__(self, units=3, **kw):
        super().__init__(**kw)
        self.units = units
        self.inner = keras.layers.Dense(units, activation="tanh")

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1],), name="w")
        self.inner.build(shape)

    def call(self, x):
        exec("y = x * self.w * TABLE['a']", scope := dict(globals(), x=x, self=self))
        return self.inner(scope["y"])

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Values(keras.layers.Layer):
    def call(self, x):
        return x if float(ops.max(x)) > 1 else x * 2


class Slow(keras.layers.Layer):
    def call(self, x):
        os._exit(7)
"""


def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("RUN_MARK", str(tmp_path / "mark"))
    names: dict[str, Any] = {"__name__": "odd"}
    exec(SOURCE, names)
    (tmp_path / "mark").unlink()
    (tmp_path / "odd.py").write_text(SOURCE)
    return names


def _saved(path: Path, layer: Any, nested: bool = False) -> Any:
    x = keras.Input((5,), name="x")
    y = keras.Sequential([keras.layers.Dense(4), layer], name="inside")(x) if nested else layer(x)
    model = keras.Model(x, keras.layers.Dense(2, name="last")(y))
    randomise(model)
    model.save(path)
    return model


@pytest.mark.parametrize("suffix", [".keras", pytest.param(".h5", marks=pytest.mark.slow)])
def test_code_runs_where_it_is_asked_for_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = _module(tmp_path, monkeypatch)
    model = _saved(tmp_path / f"m{suffix}", names["Odd"](name="odd"), nested=suffix == ".keras")
    path = tmp_path / f"m{suffix}"
    (found,) = problems(load_graph(path, options={"custom": [str(tmp_path)]}))
    assert "calls the unknown name 'globals'" in found.why
    assert not (tmp_path / "mark").exists()
    graph = load_graph(path, options={"run_custom_code": [str(tmp_path / "odd.py")]})
    assert not problems(graph), problems(graph)
    import os

    assert int((tmp_path / "mark").read_text()) != os.getpid()
    x = np.random.default_rng(3).normal(size=(3, 5)).astype("float32")
    want = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(Interpreter(graph).run([x])[0], want, rtol=1e-4, atol=1e-6)
    assert any("run_custom_code=" in n for n in graph.metadata["notes"])
    from convcore.cli import main

    args = ["convert", str(path), "-o", str(tmp_path / "m.onnx"), "--run-custom-code", str(tmp_path / "odd.py")]
    assert main(args) == 0
    assert "when it was run" in capsys.readouterr().out


def test_what_running_cannot_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = _module(tmp_path, monkeypatch)
    run = {"run_custom_code": str(tmp_path / "odd.py")}
    x = keras.Input((5,), name="x")
    for kind, error, said in [("Values", convcore.UnsupportedError, "does not run on symbolic tensors"),
                              ("Slow", convcore.BadFileError, "ends with 7")]:  # fmt: skip
        names[kind].compute_output_spec = lambda self, x: keras.KerasTensor(x.shape)
        keras.Model(x, names[kind](name="l")(x)).save(tmp_path / "v.keras")
        with pytest.raises(error, match=said):
            load_graph(tmp_path / "v.keras", options=run)
    with pytest.raises(convcore.UsageError, match="no such file"):
        load_graph(tmp_path / "v.keras", options={"run_custom_code": [str(tmp_path / "none.py")]})
    with pytest.raises(convcore.UsageError, match="for files"):
        load_graph(keras.Sequential([x, keras.layers.Dense(1)]), options=run)
    (tmp_path / "odd.py").write_text("raise RuntimeError('boom')\n" + SOURCE)
    with pytest.raises(convcore.BadFileError, match="boom"):
        load_graph(tmp_path / "v.keras", options=run)


def test_code_inside_the_file_stays_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _module(tmp_path, monkeypatch)
    x = keras.Input((5,), name="x")
    keras.Model(x, keras.layers.Lambda(lambda v: v * 2, output_shape=(5,))(x)).save(tmp_path / "l.keras")
    with pytest.raises(convcore.BadFileError, match="ambda"):
        load_graph(tmp_path / "l.keras", options={"run_custom_code": str(tmp_path / "odd.py")})


def test_the_child_has_limits() -> None:
    """Memory and processor time, in a process of their own."""
    code = "from convcore_keras.run_code import limits; limits(1, 1 << 30)\n{}"
    for work, wanted in [("b = bytearray(1 << 31)", "MemoryError"), ("while True: pass", "")]:
        done = subprocess.run([sys.executable, "-c", code.format(work)], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0 and wanted in done.stderr

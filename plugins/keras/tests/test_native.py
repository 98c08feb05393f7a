"""``--check native``: files of Keras 3 are run by the installed Keras, others are not, and the report says why."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore_keras.runtime import _why_not, open_runtime

keras = pytest.importorskip("keras")
pytest.importorskip("onnxruntime")
pytest.importorskip("convcore_onnx")
L = keras.layers


def _model() -> Any:
    x = keras.Input((7, 5))
    y = L.BatchNormalization()(L.Conv1D(3, 2, activation="tanh", kernel_regularizer="l2")(x))
    return keras.Model(x, L.Dense(2)(keras.ops.expand_dims(L.Flatten()(y), 1)))


def _saved(model: Any, folder: Path, form: str) -> tuple[Path, Path | None]:
    path = folder / f"net{form}"
    if form != ".json":
        model.save(path)
        return path, None
    path.write_text(model.to_json())
    model.save_weights(folder / "net.weights.h5")
    return path, folder / "net.weights.h5"


def test_a_file_of_keras_3_is_run_by_keras(tmp_path: Path) -> None:
    path, _ = _saved(_model(), tmp_path, ".keras")
    report = convcore.convert(path, "onnx", tmp_path / "b.onnx", check="native").report
    assert report.verdict == "ok" and f"keras {keras.__version__}" in report.runtimes[0]
    assert convcore.verify(path, tmp_path / "b.onnx").runtimes[0] == "convcore interpreter", "nobody asked for Keras"


@pytest.mark.parametrize("form", [".keras", ".json", ".h5"])
def test_files_of_keras_3(tmp_path: Path, form: str) -> None:
    model = _model() if form != ".h5" else keras.Sequential([keras.Input((7, 5)), L.Dense(3)])
    path, weights = _saved(model, tmp_path, form)
    runtime = open_runtime(path, weights)
    assert runtime is not None
    x = np.random.default_rng(0).normal(size=(2, 7, 5)).astype("f4")
    np.testing.assert_allclose(runtime.run([x])[0], keras.ops.convert_to_numpy(model(x)), rtol=1e-5, atol=1e-6)


def _rewritten(path: Path, change: Any) -> Path:
    with zipfile.ZipFile(path) as z:
        parts = {n: z.read(n) for n in z.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as z:
        for n, b in parts.items():
            z.writestr(n, b)
    return path


def _name_a_module(config: Any) -> None:
    config["config"]["layers"][1]["config"]["kernel_initializer"]["module"] = "os.path"


@pytest.mark.parametrize("check", ["native", True])
def test_what_a_file_names_is_not_imported(tmp_path: Path, check: Any) -> None:
    path, _ = _saved(keras.Sequential([keras.Input((5,)), L.Dense(3)]), tmp_path, ".keras")
    report = convcore.convert(_rewritten(path, _name_a_module), "onnx", tmp_path / "b.onnx", check=check).report
    assert report.verdict == "ok" and report.runtimes[0] == "convcore interpreter"
    said = [n for n in report.notes if "'os.path." in n]
    assert bool(said) == (check == "native")
    assert not said or ("live model" in said[0] and "the interpreter did" in said[0])


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"class_name": "Lambda", "module": "keras.layers"}, "keras.layers.Lambda"),
        ({"class_name": "__lambda__"}, "__lambda__"),
        ({"class_name": "function", "module": "builtins"}, "builtins.function"),
        ({"class_name": "get_file", "module": "keras.utils"}, "keras.utils.get_file"),
        ({"class_name": "X", "module": "keras.layersx"}, "keras.layersx"),
        ({"class_name": "X", "module": ""}, "X"),
    ],
)
def test_names_that_are_not_handed_over(config: Any, said: str) -> None:
    assert said in _why_not(
        "keras3", "3.5.0", {"config": {"layers": [{"class_name": "Dense", "module": "keras.layers"}, config]}}
    )


def test_what_is_only_for_training_keeps_nobody() -> None:
    assert _why_not("keras3", "3.5.0", {"compile_config": {"class_name": "function", "module": "builtins"}}) == ""


def test_files_of_other_eras_say_so() -> None:
    why = _why_not("keras2", "2.10.0", {})
    assert "Keras 2.10.0" in why and "differently" in why
    assert "before 3" in _why_not("keras1", "", {})


def test_a_file_keras_does_not_load_says_what_keras_said(tmp_path: Path) -> None:
    path, _ = _saved(_model(), tmp_path, ".keras")

    def change(config: Any) -> None:
        config["config"]["layers"][1]["config"]["kernel_initializer"] = {"class_name": "Nobody", "config": {}}

    with pytest.raises(convcore.UnsupportedError, match="does not load it"):
        open_runtime(_rewritten(path, change))


def test_without_keras_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from convcore_keras import runtime

    path, _ = _saved(_model(), tmp_path, ".keras")
    monkeypatch.setattr(runtime, "keras3", lambda: None)
    with pytest.raises(convcore.UnsupportedError, match="not installed"):
        open_runtime(path)

"""Models after ``model.quantize``, and layers that ``keras.applications`` defines, against Keras itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_helpers import error_of_range, load_graph, problems, run

keras = pytest.importorskip("keras")
L = keras.layers


def quantised(mode: str, *layers: Any, **config: Any) -> Any:
    model = keras.Sequential(layers)
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in model.get_weights()])
    model.quantize(mode, **config)
    return model


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_int8(suffix: str, tmp_path: Path) -> None:
    model = quantised("int8", keras.Input((13,)), L.Dense(7, activation="tanh"), L.Dense(5, use_bias=False), L.Dense(3))
    model.save(tmp_path / f"m.{suffix}")
    x = np.random.default_rng(1).normal(size=(3, 13)).astype(np.float32)
    assert error_of_range(run(load_graph(tmp_path / f"m.{suffix}"), [x]), [keras.ops.convert_to_numpy(model(x))]) < 1e-5


def test_int8_embedding_and_its_mask(tmp_path: Path) -> None:
    model = quantised("int8", keras.Input((5,), dtype="int32"), L.Embedding(11, 7, mask_zero=True), L.GlobalAveragePooling1D())
    model.save(tmp_path / "m.keras")
    x = np.array([[3, 0, 10, 0, 1], [2, 2, 0, 0, 0]], np.int32)
    assert error_of_range(run(load_graph(tmp_path / "m.keras"), [x]), [keras.ops.convert_to_numpy(model(x))]) < 1e-5


def agrees(model: Any, shape: Any, folder: Path, suffix: str = "keras", limit: float = 1e-5) -> Any:
    model.save(folder / f"m.{suffix}")
    graph = load_graph(folder / f"m.{suffix}")
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    assert error_of_range(run(graph, [x]), [keras.ops.convert_to_numpy(model(x))]) < limit
    return graph


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("block", [None, 4, 128])
def test_int4(block: int | None, suffix: str, tmp_path: Path) -> None:
    """Two numbers to a byte, an odd number of units; a scale per unit, and a scale and a zero per block, the last one short."""
    layers = [keras.Input((3, 13)), L.Dense(7, activation="tanh"), L.Dense(5, use_bias=False), L.Dense(3)]
    config = keras.quantizers.Int4QuantizationConfig(block_size=block)
    graph = agrees(quantised("int4", *layers, config=config), (2, 3, 13), tmp_path, suffix)
    assert [n.op for n in graph if n.op.startswith("dequantize")] == ["dequantize" if block is None else "dequantize_blocks"] * 3


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_float8(suffix: str, tmp_path: Path) -> None:
    """Scales that training moved, and numbers beyond the largest."""
    model = quantised("float8", keras.Input((13,)), L.Dense(7, activation="tanh"), L.Dense(5, use_bias=False))
    for i, layer in enumerate(model.layers):
        layer.inputs_scale.assign(0.003 + i)
        layer.kernel_scale.assign(0.02)
    agrees(model, (3, 13), tmp_path, suffix)


EQUATIONS = [("ab,bc->ac", 4, "c"), ("abc,cde->abde", (None, 4, 3), "de"), ("abde,dec->abc", (None, 5), None),
             ("btgi,gio->btgo", (None, 3, 5), "o"), ("abc,cd->adb", (4, None), None)]  # fmt: skip


@pytest.mark.parametrize(("equation", "output", "bias"), EQUATIONS)
def test_int8_of_einsums(equation: str, output: Any, bias: Any, tmp_path: Path) -> None:
    shape = {"ab": (6,), "abc": (3, 6), "abde": (3, 2, 6), "btgi": (2, 3, 6)}[equation.split(",")[0]]
    layer = L.EinsumDense(equation, output_shape=output, bias_axes=bias, activation="relu")
    agrees(quantised("int8", keras.Input(shape), layer), (2, *shape), tmp_path)


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_quantised_models_in_other_formats(mode: str, tmp_path: Path) -> None:
    """As operators on the integers, or float8, in ONNX; as operations in Keras, which has no float8 on every backend."""
    import convcore
    from convcore.errors import UnsupportedError

    model = quantised(mode, keras.Input((13,)), L.Dense(7, activation="tanh"), L.Dense(5, use_bias=False))
    model.save(tmp_path / "m.keras")
    x = np.random.default_rng(1).normal(size=(3, 13)).astype(np.float32)
    want = keras.ops.convert_to_numpy(model(x))
    for to in ("onnx", "keras"):
        if (to, mode) == ("keras", "float8"):
            with pytest.raises(UnsupportedError, match="float8"):
                convcore.convert(tmp_path / "m.keras", to, tmp_path / "no.keras")
            continue
        made = convcore.convert(tmp_path / "m.keras", to, tmp_path / f"out.{to}", check=False, opset=21) if to == "onnx" else (
            convcore.convert(tmp_path / "m.keras", to, tmp_path / "out.keras", check=False))  # fmt: skip
        assert error_of_range(run(convcore.load(made.paths[0]).graph, [x]), [want]) < 1e-5


@pytest.mark.parametrize("change", ["units", "blocks"])
def test_tables_of_another_shape_are_refused(change: str, tmp_path: Path) -> None:
    """More units than the table has halves of bytes, and blocks that are not one after the other."""
    import zipfile

    import h5py

    config = keras.quantizers.Int4QuantizationConfig(block_size=4)
    quantised("int4", keras.Input((13,)), L.Dense(7), config=config).save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as old:
        parts = {n: old.read(n) for n in old.namelist()}
    if change == "units":
        parts["config.json"] = parts["config.json"].replace(b'"units": 7', b'"units": 9')
    else:
        (tmp_path / "w.h5").write_bytes(parts["model.weights.h5"])
        with h5py.File(tmp_path / "w.h5", "r+") as f:
            f["layers/dense/vars/4"][...] = np.arange(13) % 4
        parts["model.weights.h5"] = (tmp_path / "w.h5").read_bytes()
    with zipfile.ZipFile(tmp_path / "bad.keras", "w") as new:
        for n, data in parts.items():
            new.writestr(n, data)
    (p,) = problems(load_graph(tmp_path / "bad.keras"))
    assert ("table" if change == "units" else "one after the other") in p.why


@pytest.mark.parametrize(
    ("mode", "layer"),
    [("int4", L.EinsumDense("ab,bc->ac", 4)), ("float8", L.EinsumDense("ab,bc->ac", 4)), ("int4", L.Embedding(6, 4))],
)
def test_other_modes_and_layers_are_refused(mode: str, layer: Any, tmp_path: Path) -> None:
    quantised(mode, keras.Input((6,)), layer).save(tmp_path / "m.keras")
    (p,) = problems(load_graph(tmp_path / "m.keras"))
    assert p.code == "unsupported_quantization" and mode in p.why and "quantize" in p.hint


def test_layers_of_applications(tmp_path: Path) -> None:
    from keras.src.applications.convnext import LayerScale
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    x = keras.Input((5, 7), name="x")
    model = keras.Model(x, CustomScaleLayer(0.17)([x, LayerScale(0.3, 7)(x)]), name="m")
    model.set_weights([np.arange(7).astype(np.float32)])
    model.save(tmp_path / "m.keras")
    given = np.random.default_rng(1).normal(size=(3, 5, 7)).astype(np.float32)
    assert error_of_range(run(load_graph(tmp_path / "m.keras"), [given]), [keras.ops.convert_to_numpy(model(given))]) < 1e-6

"""Nets of random weights, whose outputs hardly depend on them: every kernel of the result shuffled or scaled is never "ok"."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spoil import Change, kernels, scaled, shuffled, spoil, verdict

import convcore
from convcore.host import Host

keras = pytest.importorskip("keras")
for module in ("onnxruntime", "convcore_keras", "convcore_onnx"):
    pytest.importorskip(module)
R = np.random.default_rng(5)


def mlp() -> Any:
    """Saturated: the softmax gives one 1 and zeros, whatever most weights are."""
    x = y = keras.Input((11,))
    for i, n in enumerate((23, 19, 17, 13, 7)):
        y = keras.layers.Dense(n, activation="softmax" if i == 4 else "relu", name=f"dense_{i}")(y)
    model = keras.Model(x, y)
    for w in model.weights:
        w.assign(R.normal(size=w.shape) * 5)
    return model


def mobile() -> Any:
    return keras.applications.MobileNetV2(weights=None, alpha=0.35, input_shape=(32, 32, 3), classes=17)


def xception_block() -> Any:
    """The pieces of Xception in small: separable convolutions, BatchNorm, a strided residual."""
    L = keras.layers
    x = keras.Input((29, 29, 3))
    y = L.Activation("relu")(L.BatchNormalization()(L.Conv2D(7, 3, strides=2, use_bias=False)(x)))
    for n in (11, 13):
        side = L.BatchNormalization()(L.Conv2D(n, 1, strides=2, padding="same", use_bias=False)(y))
        for m in (n, n):
            y = L.BatchNormalization()(L.SeparableConv2D(m, 3, padding="same", use_bias=False)(L.Activation("relu")(y)))
        y = L.Add()([L.MaxPooling2D(3, strides=2, padding="same")(y), side])
    return keras.Model(x, L.Dense(17, activation="softmax")(L.GlobalAveragePooling2D()(y)))


NETS = {"mlp": mlp, "mobile": mobile, "xception_block": xception_block}


@pytest.fixture(scope="module", params=list(NETS))
def net(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(3)
    path = tmp_path_factory.mktemp("net") / f"{request.param}.keras"
    NETS[request.param]().save(path)
    return path


def _never_ok(source: Path, tmp_path: Path) -> None:
    right, wrong = tmp_path / "right.onnx", tmp_path / "wrong.onnx"
    assert convcore.convert(source, "onnx", right).report.verdict == "ok"
    for change in (shuffled, scaled):
        said, why = verdict(source, spoil(right, wrong, change, kernels(right)))
        assert said in ("mismatch", "weak") and why, f"{change.__name__}: {said}"


def test_verify_of_spoiled_results(net: Path, tmp_path: Path) -> None:
    _never_ok(net, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Xception", "MobileNetV2"])
def test_verify_of_spoiled_applications(name: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(3)
    path = tmp_path / "net.keras"
    getattr(keras.applications, name)(weights=None).save(path)
    _never_ok(path, tmp_path)


# ---------------------------------------------------------------- in the conversion's own check
def _spoil_h5(path: Path, change: Change) -> None:
    import h5py

    def visit(name: str, d: Any) -> None:
        if isinstance(d, h5py.Dataset) and d.ndim >= 2:
            d[...] = change(d[...], R)

    with h5py.File(path, "r+") as f:
        f.visititems(visit)


def _spoil_safetensors(path: Path, change: Change) -> None:
    data = bytearray(path.read_bytes())
    size = struct.unpack("<Q", data[:8])[0]
    for name, t in json.loads(data[8 : 8 + size]).items():
        if name == "__metadata__" or t["dtype"] != "F32" or len(t["shape"]) < 2:
            continue
        first, last = (8 + size + n for n in t["data_offsets"])
        a = np.frombuffer(bytes(data[first:last]), "<f4").reshape(t["shape"])
        data[first:last] = change(a, R).astype("<f4").tobytes()
    path.write_bytes(bytes(data))


def _spoil_onnx(path: Path, change: Change) -> None:
    spoil(path, path, change, kernels(path))


WAYS = {".onnx": _spoil_onnx, ".h5": _spoil_h5, ".safetensors": _spoil_safetensors}
TARGETS = {"onnx": "out.onnx", "keras": "out.h5", "pytorch": "out.py"}


@pytest.mark.parametrize("change", [shuffled, scaled])
@pytest.mark.parametrize("target", TARGETS)
def test_the_check_of_spoiled_results(
    net: Path, tmp_path: Path, target: str, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    if target == "pytorch":
        pytest.importorskip("torch")
        pytest.importorskip("convcore_pytorch")
    real, spoiled = Host.emit, []

    def emit(self: Any, framework: str, request: Any) -> Any:
        done = real(self, framework, request)
        for path in map(Path, done.paths):
            if path.suffix in WAYS:
                WAYS[path.suffix](path, change)
                spoiled.append(path)
        return done

    out = tmp_path / TARGETS[target]
    deep = target != "pytorch"  # code is run, not read back: only the outputs can be compared, and these hardly show anything
    assert convcore.convert(net, target, out).report.verdict == "ok" or not deep
    monkeypatch.setattr(Host, "emit", emit)
    wrong = tmp_path / f"wrong{out.suffix}"
    try:
        report = convcore.convert(net, target, wrong).report
    except convcore.MismatchError as e:
        assert e.report.verdict == "mismatch" and not wrong.exists()
    else:
        assert not deep and report.verdict == "weak" and report.weak
    assert spoiled

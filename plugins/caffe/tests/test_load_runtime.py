"""OpenCV as a second opinion: where it is not excluded by name, it agrees with the real Caffe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convcore.errors import UnsupportedError
from convcore_caffe.files import read_net
from convcore_caffe.opencv import opencv_problems
from convcore_caffe.runtime import open_runtime

from .support import CASES, ZOO, arrays, name_of, weights_of, worst

pytest.importorskip("cv2")


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_opencv_agrees_or_is_excluded(case: Path) -> None:
    net = read_net(case / "deploy.prototxt", weights_of(case))
    if opencv_problems(net):
        with pytest.raises(UnsupportedError, match="OpenCV"):
            open_runtime(case / "deploy.prototxt", weights_of(case))
        return
    inputs, blobs = arrays(case / "inputs.npz"), arrays(case / "outputs.npz")
    runtime = open_runtime(case / "deploy.prototxt", weights_of(case))
    for name, y in zip(runtime.outputs, runtime.run([inputs[n] for n in runtime.inputs]), strict=True):
        assert worst(y, blobs[name]) <= 1e-4, name


def test_enough_is_left() -> None:
    free = [c for c in CASES if not opencv_problems(read_net(c / "deploy.prototxt", weights_of(c)))]
    assert len(free) > 80


@pytest.mark.parametrize("folder", [z for z in ZOO if (z / "ref_caffe.npz").exists()], ids=lambda p: p.name)
def test_trained_model_in_opencv(folder: Path) -> None:
    runtime = open_runtime(next(folder.glob("*.prototxt")), next(folder.glob("*.caffemodel")))
    inputs, want = arrays(folder / "inputs_caffe.npz"), arrays(folder / "ref_caffe.npz")
    got = runtime.run([np.asarray(inputs[n]) for n in runtime.inputs])
    assert max(worst(y, want[n]) for n, y in zip(runtime.outputs, got, strict=True)) <= 1e-4

"""Resize by scales that are no binary fractions: sizes and elements are those of onnxruntime's float32, not of onnx.reference's
doubles, so that an unchanged graph is never said to differ."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
from onnx import helper

WIDTHS = (5, 7, 10, 11, 13, 16, 20, 25, 30, 50, 70)
SCALES = (0.3, 0.6, 0.7, 0.9, 1.1, 1.3, 1.6, 2.7)
COORDINATES = ("half_pixel", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric")
"""align_corners by scales that give no whole size is refused (test_rules_refused.py): there the standard says something else."""
ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


def model(
    by: Any, how: str, mode: str = "nearest", rounding: str = "floor", shape: Any = (1, 1, "h", "w"), opset: int = 19
) -> Any:
    """A Resize by scales (floats) or to sizes (ints)."""
    sizes = all(isinstance(s, int) for s in by)
    values = np.array([1, 1, *by], np.int64 if sizes else np.float32)
    attrs = {"coordinate_transformation_mode": how, "nearest_mode": rounding} if opset > 10 else {}
    inputs = (["x", "", "", "s"] if sizes else ["x", "", "s"]) if opset > 10 else ["x", "s"]
    node = helper.make_node("Resize", inputs, ["y"], mode=mode, **attrs)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], "g", [info("x", 1, shape)], [info("y", 1, None)], [onnx.numpy_helper.from_array(values, "s")]
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    return made


def session(m: Any) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(m.SerializeToString(), options, providers=["CPUExecutionProvider"])


def image(h: int, w: int) -> Any:
    return (np.arange(h * w, dtype=np.float32) * 3 + 1).reshape(1, 1, h, w)


@pytest.mark.parametrize("how", COORDINATES)
@pytest.mark.parametrize("scale", SCALES)
def test_scales_as_onnxruntime_reads_them(scale: float, how: str) -> None:
    for rounding, mode in [*((r, "nearest") for r in ROUNDINGS), ("floor", "linear"), ("floor", "cubic")]:
        m = model((scale, scale), how, mode, rounding)
        theirs, ours = session(m), convcore.load(m)
        for w in WIDTHS:
            x = image(w, 10)
            want, got = theirs.run(None, {"x": x})[0], ours(x)
            assert got.shape == want.shape, (rounding, mode, w)
            np.testing.assert_allclose(
                got, want, atol=0 if mode == "nearest" else 1e-4 * want.max(), err_msg=str((mode, rounding, w))
            )


@pytest.mark.parametrize("how", [*COORDINATES, "align_corners"])
def test_sizes_as_onnxruntime_reads_them(how: str, tmp_path: Path) -> None:
    """16 of 30 by asymmetric floor and 7 of 13 by half_pixel floor are among those where exact arithmetic takes others."""
    for rounding, (n, m) in itertools.product(ROUNDINGS, itertools.product((5, 11, 13, 23, 30), (3, 7, 16, 25))):
        source = model((m, 4), how, "nearest", rounding, (1, 1, n, 4))
        want = session(source).run(None, {"x": image(n, 4)})[0]
        loaded = convcore.load(source)
        np.testing.assert_array_equal(loaded(image(n, 4)), want, err_msg=str((rounding, n, m)))
        back = convcore.convert(loaded, "onnx", tmp_path / "m.onnx", check=False)
        assert back is not None
        np.testing.assert_array_equal(session(onnx.load(tmp_path / "m.onnx")).run(None, {"x": image(n, 4)})[0], want)


@pytest.mark.parametrize("target", ["onnx", "keras", "pytorch"])
@pytest.mark.parametrize("scale", [0.7, 1.1, 1.6])
def test_an_unchanged_graph_does_not_differ(scale: float, target: str, tmp_path: Path) -> None:
    if target != "onnx":
        pytest.importorskip("torch")
    for how, n in (("asymmetric", 10), ("half_pixel", 7), ("half_pixel_symmetric", 13)):
        m = model((scale, scale), how, "nearest", "floor", (1, 1, n, 20))
        suffix = {"onnx": ".onnx", "keras": ".keras", "pytorch": ".py"}[target]
        done = convcore.convert(m, target, tmp_path / f"m{suffix}")
        assert done.report.ok and not done.report.unverified, str(done.report)


@pytest.mark.parametrize("scales", [(0.7, 0.7), (0.5, 1.0), (2.0, 2.0), (1.6, 0.6)])
def test_the_first_resize(scales: Any) -> None:
    """Version 10 takes the next element along an axis that shrinks."""
    m = model(scales, "", "nearest", opset=10)
    theirs, ours = session(m), convcore.load(m)
    for w in (5, 10, 13):
        np.testing.assert_array_equal(ours(image(w, 10)), theirs.run(None, {"x": image(w, 10)})[0])

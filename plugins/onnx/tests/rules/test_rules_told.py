"""Refusals of loading rules by their words: one node each, of the opset that has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

X = np.arange(30, dtype=np.float32).reshape(2, 3, 5) / 7
IMAGE = np.arange(2 * 3 * 5 * 7, dtype=np.float32).reshape(2, 3, 5, 7) / 9
ONE = np.ones(1, np.float32)
GATES = np.ones((1, 8, 5), np.float32)
MAP = {"keys_int64s": [1, 2], "values_floats": [0.5, 0.25]}

TOLD: list[tuple[str, dict[str, Any], dict[str, Any], int, str, str]] = [
    ("Add", {"x": X, "y": X[0]}, {}, 6, "", "differ and broadcast is not set"),
    ("Add", {"x": X, "y": X[:, :2]}, {}, 6, "", "differ and broadcast is not set"),
    ("Add", {"x": X, "y": X[0, :, 0]}, {"broadcast": 1, "axis": 3}, 6, "", "axis=3 does not place the 1 axes"),
    ("Mul", {"x": X, "y": X[0]}, {"broadcast": 1, "axis": 2}, 6, "", "axis=2 does not place the 2 axes"),
    ("Mul", {"x": X, "y": X[0]}, {"broadcast": 1, "axis": -4}, 6, "", "axis=-1 does not place the 2 axes"),
    ("ConstantOfShape", {"x": np.array([2, 3])}, {"value": np.ones(2, np.float32)}, 9, "x", "its value has 2 elements, not one"),
    ("ConstantOfShape", {"x": np.array([2, 3])}, {"value": np.array(["a"], object)}, 9, "x", "it fills with a string"),
    ("Dropout", {"x": X}, {"is_test": 0}, 6, "", "is_test=0 is training mode"),
    ("Dropout", {"x": X, "r": np.float32(0.5), "t": np.bool_(True)}, {}, 13, "rt", "training_mode is set or not a constant"),
    ("Dropout", {"x": X, "r": np.float32(0.5), "t": np.bool_(False)}, {}, 13, "r", "training_mode is set or not a constant"),
    ("Resize", {"x": IMAGE, "r": None, "s": np.ones(3, np.float32)}, {}, 18, "s", "3 scales or sizes for 4 axes"),
    ("Resize", {"x": IMAGE, "r": None, "s": np.ones(4, np.float32), "z": np.array([2, 3, 5, 7])}, {}, 18, "sz",
        "both scales and sizes are given"),
    ("Resize", {"x": IMAGE, "r": None, "s": None, "z": np.array([2, 3, 5])}, {}, 18, "z", "3 scales or sizes for 4 axes"),
    ("Resize", {"x": IMAGE, "r": None, "s": None, "z": np.array([4, 4])}, {"axes": [2, 3], "keep_aspect_ratio_policy": "odd"},
        18, "z", "keep_aspect_ratio_policy='odd'"),
    ("Resize", {"x": IMAGE, "r": None, "s": None, "z": np.array([4, 4])},
        {"axes": [1, 2], "keep_aspect_ratio_policy": "not_larger"},
        18, "z", "keep_aspect_ratio_policy over batch or channels"),
    ("Upsample", {"x": IMAGE, "s": np.ones(3, np.float32)}, {}, 9, "s", "3 scales or sizes for 4 axes"),
    ("Slice", {"x": X, "s": np.zeros(4, np.int32), "e": np.ones(4, np.int32)}, {}, 13, "", "slices 4 axes of an input with 3"),
    ("MaxPool", {"x": X}, {"kernel_shape": [2], "storage_order": 1}, 12, "", "storage_order=1 of other than two spatial axes"),
    ("MaxPool", {"x": IMAGE}, {"kernel_shape": [2, 2], "storage_order": 1, "ceil_mode": 1}, 12, "",
        "storage_order=1 with auto_pad, ceil_mode or unknown sizes"),
    ("MaxPool", {"x": IMAGE}, {"kernel_shape": [2, 2], "storage_order": 1, "auto_pad": "SAME_UPPER"}, 12, "",
        "storage_order=1 with auto_pad, ceil_mode or unknown sizes"),
    ("MaxUnpool", {"x": IMAGE, "i": np.zeros((2, 3, 5, 7), np.int64)}, {"kernel_shape": [2, 2], "strides": [2]}, 11, "",
        "do not fit 2 spatial axes"),
    ("MaxUnpool", {"x": IMAGE, "i": np.zeros((2, 3, 5, 7), np.int64)}, {"kernel_shape": [2, 2], "pads": [0, 0]}, 11, "",
        "do not fit 2 spatial axes"),
    ("MaxUnpool", {"x": IMAGE, "i": np.zeros((2, 3, 5, 7), np.int64), "o": np.array([2, 3, 5, 8])},
        {"kernel_shape": [2, 2]}, 11, "o", "is smaller than the default size"),
    ("ConvTranspose", {"x": IMAGE, "w": np.ones((3, 2, 2, 2), np.float32)},
        {"kernel_shape": [3, 3], "output_shape": [9, 9]}, 11, "w",
        "but its weight has the shape"),
    ("ConvTranspose", {"x": IMAGE, "w": np.ones((3, 2, 2, 2), np.float32)}, {"output_shape": [9, 9, 9]}, 11, "w",
        "must have one entry for each of 2 spatial axes"),
    ("ConvTranspose", {"x": IMAGE, "w": np.ones((3, 2, 2, 2), np.float32)},
        {"auto_pad": "SAME_UPPER", "pads": [1, 1, 1, 1]}, 11, "w",
        "is not one way of padding, and output_shape is not given"),
    ("ConvTranspose", {"x": IMAGE, "w": np.ones((3, 2, 1, 3), np.float32)},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, 11, "w",
        "auto_pad=SAME_UPPER where a filter reaches over 1, 3 with strides [2, 2]"),
    ("ConvTranspose", {"x": IMAGE, "w": np.ones((3, 2, 3, 2), np.float32)},
        {"auto_pad": "SAME_LOWER", "strides": [2, 5], "dilations": [1, 2], "output_padding": [0, 1]}, 11, "w",
        "a filter reaches over 3, 4 with strides [2, 5]"),
    ("RNN", {"x": X, "w": GATES, "r": np.ones((1, 8, 8), np.float32)}, {"hidden_size": 8, "activations": ["Elu2"]}, 14, "wr",
        "activation 'Elu2' is not known"),
    ("RNN", {"x": X, "w": GATES, "r": np.ones((1, 8, 8), np.float32)},
        {"hidden_size": 8, "activations": ["Tanh", "Relu"]}, 14, "wr",
        "2 activations, 1 are needed"),
    ("RNN", {"x": X, "w": GATES, "r": np.ones((1, 8, 8), np.float32)}, {"hidden_size": 8, "activations": ["Affine"]}, 14, "wr",
        "activation Affine needs activation_"),
    ("RNN", {"x": X, "w": GATES, "r": np.ones((1, 8, 8), np.float32)}, {"hidden_size": 8, "activation_alpha": [0.5]}, 14, "wr",
        "more entries than the activations take"),
    ("RNN", {"x": X, "w": np.ones((2, 8, 5), np.float32), "r": np.ones((2, 8, 8), np.float32)},
        {"hidden_size": 8, "direction": "bidirectional", "activations": ["Tanh", "Relu"]}, 14, "wr",
        "the directions have different activations"),
    ("Tile", {"x": X, "t": np.array([2.5], np.float32), "a": np.array([1], np.float32)}, {}, 5, "ta",
        "its input 'tiles' must hold one integer"),
    ("Tile", {"x": X, "t": np.array([2, 2], np.float32), "a": np.array([1], np.float32)}, {}, 5, "ta",
        "its input 'tiles' must hold one integer"),
    ("Split", {"x": X, "s": np.array([1, 2])}, {"axis": 1}, 11, "", "its input 'split' must be a constant|takes 1"),
    ("Split", {"x": X}, {"axis": 1, "num_outputs": 3}, 18, "", "num_outputs is 3, but it has 1 outputs"),
    ("ai.onnx.ml.LinearRegressor", {"x": X[0]},
        {"coefficients": [1.0] * 5, "post_transform": "LOGISTIC"}, 1, "", "post_transform='LOGISTIC'"),
    ("ai.onnx.ml.LinearRegressor", {"x": X[0]},
        {"coefficients": [1.0] * 5, "targets": 2}, 1, "", "5 coefficients and 0 intercepts for 2"),
    ("ai.onnx.ml.LinearRegressor", {"x": X[0]},
        {"coefficients": [1.0] * 5, "intercepts": [1.0, 2.0]}, 1, "", "5 coefficients and 2 intercepts"),
    ("ai.onnx.ml.LinearRegressor", {"x": X[0]}, {"intercepts": [1.0]}, 1, "", "0 coefficients and 1 intercepts"),
    ("ai.onnx.ml.LinearRegressor", {"x": X}, {"coefficients": [1.0] * 5}, 1, "", "5 coefficients and 0 intercepts for 1"),
    ("ai.onnx.ml.FeatureVectorizer", {"x": X[0], "y": X[0]},
        {"inputdimensions": [5, 4]}, 1, "", "are not the sizes of its inputs"),
    ("ai.onnx.ml.FeatureVectorizer", {"x": X}, {"inputdimensions": [5]}, 1, "", "its inputs are not matrices"),
    ("ai.onnx.ml.Imputer", {"x": X[0]}, {"imputed_value_int64s": [3]}, 1, "", "imputes int64s, or nothing, in float32"),
    ("ai.onnx.ml.Imputer", {"x": X[0]}, {}, 1, "", "imputes int64s, or nothing, in float32"),
    ("ai.onnx.ml.Imputer", {"x": np.arange(3)}, {"imputed_value_int64s": [3, 4]}, 1, "", "imputed_value has 2 numbers"),
    ("ai.onnx.ml.Scaler", {"x": X[0]}, {"offset": [1.0]}, 1, "", "offset or scale is not given"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "opset", "constants", "why"), TOLD, ids=[f"{i}-{t[0]}" for i, t in enumerate(TOLD)]
)
def test_what_is_refused_is_told(
    kit: Any, op: str, inputs: dict[str, Any], attrs: dict[str, Any], opset: int, constants: str, why: str
) -> None:
    domain, _, name = op.rpartition(".")
    given = {k: numpy_helper.from_array(v) if isinstance(v, np.ndarray) else v for k, v in attrs.items()}
    outputs = 2 if "storage_order" in attrs else 1
    model = kit.model(name, inputs, given, opset=opset, constants=tuple(constants), domain=domain, outputs=outputs)
    if domain:
        model.opset_import.extend([helper.make_opsetid(domain, opset)])
    text = kit.refused(model)
    assert any(w in text for w in why.split("|")) and f"'node' ({op})" in text

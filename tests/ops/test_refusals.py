"""What ops refuse, each by its own sentence: in the shape rule, in the body where too little is known, in the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import ShapeError
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph
from convcore.ops.sequences import as_optional, as_sequence
from convcore.opset import op

ANY = "any"  # an input of which not even the number of axes is known
Inputs = tuple[Any, ...]
INT, INT2 = ("int64", (2, 3, 5)), ("int64", (2,))

WINDOW = {"kernel": (2, 3), "strides": (1, 1), "pads": ((0, 0), (0, 0))}
POOL = {**WINDOW, "dilations": (1, 1)}
RESIZE = {"mode": "nearest", "coordinates": "asymmetric", "nearest": "floor", "cubic_a": -0.75, "exclude_outside": False,
          "antialias": False, "axes": None, "policy": "stretch", "outside": 0.0}  # fmt: skip
CONV = {"strides": (1, 1), "pads": ((0, 0), (0, 0)), "dilations": (1, 1)}
GROUPS = {"epsilon": 1e-3, "axis": 1}

SHAPE_RULES: list[tuple[str, str, Inputs, dict[str, Any]]] = [
    ("elements against 36", "reshape", ((5, 7),), {"shape": (36,)}),
    (r"\('-1', '5'\) has a negative size", "reshape", ((2, 5),), {"shape": (-1, 5)}),
    ("axes .* are out of range for 4 axes", "unsqueeze", ((2, 3, 5),), {"axes": (4,)}),
    ("axes .* are out of range for 4 axes", "unsqueeze", ((2, 3, 5),), {"axes": (-5,)}),
    ("2 pads for 3 axes", "pad", ((2, 3, 5),), {"pads": ((0, 0), (1, 1))}),
    ("needs more than the 5 of axis 2", "pad", ((2, 3, 5),), {"pads": ((0, 0), (0, 0), (5, 0)), "mode": "reflect"}),
    ("has a negative size", "expand", ((2, 3),), {"shape": (2, -3)}),
    ("3 axes do not expand to 2", "expand", ((1, 1, 5),), {"shape": (2, 5)}),
    ("has a negative entry", "tile", ((2, 3),), {"repeats": (2, -1)}),
    ("2 repeats for 3 axes", "tile", ((2, 3, 5),), {"repeats": (2, 3)}),
    ("repeats=-2 is negative", "repeat", ((2, 3),), {"repeats": -2, "axis": 1}),
    ("different numbers of axes", "concat", ((2, 3), (2, 3, 5)), {"axis": 0}),
    ("different dtypes", "concat", ((2, 3, 5), INT), {"axis": 0}),
    ("axis 2 of inputs with 2 axes|out of range", "concat", ((2, 3), (2, 3)), {"axis": 2}),
    ("needs at least one input", "stack", (), {"axis": 0}),
    ("different numbers of axes", "stack", ((2, 3), (2, 3, 5)), {"axis": 0}),
    ("axis 3 is out of range for 3 axes", "stack", ((2, 3), (2, 3)), {"axis": 3}),
    ("has a negative one", "split", ((2, 3),), {"axis": 1, "sizes": (4, -1)}),
    ("give num", "unstack", (ANY,), {"axis": 0}),
    ("scale must have one axis", "batch_norm", ((2, 3, 5), (3, 1), (3,), (3,), (3,)), {"axis": 1, "epsilon": 1e-3}),
    ("bias must have one axis", "group_norm", ((2, 6, 5), None, (1, 6)), {**GROUPS, "groups": 3}),
    ("groups=0 must be positive", "group_norm", ((2, 6, 5),), {**GROUPS, "groups": 0}),
    ("6 channels do not divide into 4 groups", "group_norm", ((2, 6, 5),), {**GROUPS, "groups": 4}),
    ("axis 0 is the batch", "group_norm", ((2, 6, 5),), {**GROUPS, "groups": 2, "axis": 0}),
    ("axis 0 is the batch", "instance_norm", ((2, 6, 5),), {**GROUPS, "axis": 0}),
    ("scale has 1 axes, must have one for each", "rms_norm", ((2, 3, 5), (15,)), {"axes": (1, 2), "epsilon": 1e-3}),
    ("batch_dims=2 with 3 and 2 axes", "gather_nd", ((2, 3, 5), ("int64", (2, 1))), {"batch_dims": 2}),
    ("index vectors of 3 for 2 axes", "gather_nd", ((2, 3, 5), ("int64", (2, 7, 3))), {"batch_dims": 1}),
    ("same number of axes", "take_along_axis", ((2, 3, 5), ("int64", (2, 3))), {"axis": 1}),
    ("larger than x on another axis", "take_along_axis", ((2, 3, 5), ("int64", (2, 3, 7))), {"axis": 1}),
    ("needs explicit pads", "max_unpool", ((2, 3, 5, 7), ("int64", (2, 3, 5, 7))), {**WINDOW, "pads": "same_upper"}),
    (r"one entry for each of 2 spatial", "max_unpool", ((2, 3, 5, 7), ("int64", (2, 3, 5, 7))), {**WINDOW, "output_shape": (7,)}),
    ("output_shape must be given", "max_unpool", (ANY, ("int64", (2, 3, 5, 7))), WINDOW),
    (r"one entry for each of 2 spatial", "adaptive_avg_pool", ((2, 3, 5, 7),), {"output_size": (2,)}),
    ("must be positive", "adaptive_max_pool", ((2, 3, 5, 7),), {"output_size": (2, 0)}),
    ("must not be negative", "max_pool", ((2, 3, 5, 7),), {**POOL, "pads": ((0, 0), (-1, 0))}),
    ("index vectors of 0 for 3 axes", "gather_nd", ((2, 3, 5), ("int64", (7, 0))), {}),
    ("empty or longer than the 2 axes", "scatter_nd", ((2, 3), ("int64", (7, 0)), (7, 2, 3)), {}),
    ("longer than the 2 axes of x", "scatter_nd", ((2, 3), ("int64", (7, 3)), (7,)), {}),
    ("updates have 1 axes, must have 2", "scatter_nd", ((2, 3), ("int64", (7, 1)), (7,)), {}),
    ("indices and updates must have the same shape", "scatter_elements", ((2, 3), ("int64", (2, 3)), (6,)), {"axis": 1}),
    ("same number of axes", "scatter_elements", ((2, 3, 5), ("int64", (2, 3)), (2, 3)), {"axis": 1}),
    ("k=4 of 3 elements", "topk", ((2, 3),), {"k": 4, "axis": 1}),
    ("b must have one axis", "conv", ((2, 3, 5, 7), (11, 3, 2, 2), (11, 1)), CONV),
    ("groups=0 must be positive", "conv", ((2, 3, 5, 7), (11, 3, 2, 2)), {**CONV, "groups": 0}),
    ("w has 3 axes for x with 4", "conv", ((2, 3, 5, 7), (11, 3, 2)), CONV),
    ("11 filters do not divide into 2 groups", "conv", ((2, 4, 5, 7), (11, 2, 2, 2)), {**CONV, "groups": 2}),
    ("a window of 0 elements", "conv", ((2, 3, 5, 7), (11, 3, 0, 2)), {**CONV, "pads": "same_upper"}),
    ("spatial axis 1: a kernel of 0 over 7", "conv_transpose", ((2, 3, 5, 7), (3, 11, 2, 0)), {**CONV, "pads": "same_upper"}),
    ("spatial axis 0: a kernel of 2 over 0", "conv_transpose", ((2, 3, 0, 7), (3, 11, 2, 2)), {**CONV, "pads": "same_upper"}),
    ("mode linear of uint8", "resize", (("uint8", (2, 3, 5, 7)),), {"sizes": (11, 13), "mode": "linear"}),
    ("mode cubic of int64", "resize", (("int64", (2, 3, 5, 7)),), {"sizes": (11, 13), "mode": "cubic"}),
    ("groups=0 must be positive", "conv_transpose", ((2, 3, 5, 7), (3, 11, 2, 2)), {**CONV, "groups": 0}),
    ("w has 3 axes for x with 4", "conv_transpose", ((2, 3, 5, 7), (3, 11, 2)), CONV),
    ("3 input channels do not divide into 2 groups", "conv_transpose", ((2, 3, 5, 7), (3, 11, 2, 2)), {**CONV, "groups": 2}),
    ("size=0 must be positive", "lrn", ((2, 3, 5, 7),), {"size": 0, "alpha": 1.0, "beta": 0.5, "bias": 1.0, "axis": 1}),
    ("a size is negative", "fill", (), {"shape": (2, -3), "value": 1.0}),
    ("is not an integer, but dtype is int64", "fill", (), {"shape": (2,), "value": 0.5, "dtype": "int64"}),
    ("value=300 does not fit uint8", "fill", (), {"shape": (2,), "value": 300, "dtype": "uint8"}),
    ("value=-1 does not fit uint8", "fill", (), {"shape": (2,), "value": -1, "dtype": "uint8"}),
    ("value=nan is not an integer", "fill", (), {"shape": (2,), "value": float("nan"), "dtype": "int32"}),
    ("value=inf is not an integer", "fill", (), {"shape": (2,), "value": float("inf"), "dtype": "int32"}),
    ("is complex, but dtype is float32", "fill", (), {"shape": (2,), "value": 1j}),
    ("value='1' is not a number", "fill", (), {"shape": (2,), "value": "1"}),
    ("value=300 does not fit uint8", "pad", (("uint8", (2,)),), {"pads": ((1, 1),), "value": 300}),
    ("value=0.5 is not an integer", "pad", (("int32", (2,)),), {"pads": ((1, 1),), "value": 0.5}),
    ("axis 3 is out of range for 3 axes", "one_hot", (("int64", (2, 3)),), {"depth": 5, "axis": 3}),
    ("must be a pair", "batch_dot", ((2, 3, 5), (2, 5, 7)), {"axes": (2,)}),
    ("axis 0 is the batch", "batch_dot", ((2, 3, 5), (2, 5, 7)), {"axes": (0, 1)}),
    ("3 axes of 2", "dynamic_sum", ((2, 3), ("int64", (3,))), {}),
    ("axes has 2 axes, must have at most one", "dynamic_sum", ((2, 3), ("int64", (1, 1))), {}),
    ("2 sizes for 3 parts", "dynamic_split", ((2, 6), ("int64", (2,))), {"axis": 1, "count": 3}),
    ("pads has 3 entries", "dynamic_pad", ((2, 3), ("int64", (3,))), {}),
    ("value is float64, x float32", "dynamic_pad", ((2, 3), ("int64", (4,)), ("float64", ())), {}),
    ("value is one number", "dynamic_pad", ((2, 3), ("int64", (4,)), ("float32", (2,))), {}),
    ("size has 3 entries", "dynamic_affine_grid", ((2, 2, 3), ("int64", (3,))), {}),
    ("needs either sizes or scales", "dynamic_resize", ((2, 3),), {}),
    ("sizes has 3 entries for 2 axes", "dynamic_resize", ((2, 3), ("int64", (3,))), {}),
    ("tf_crop_and_resize needs roi", "dynamic_resize", ((2, 3), ("int64", (2,))), {"coordinates": "tf_crop_and_resize"}),
    ("mode linear of int64", "dynamic_resize", (("int64", (2, 3)), ("int64", (2,))), {"mode": "linear"}),
    ("needs its axes, once", "dynamic_slice", ((2, 3), ("int64", (1,)), ("int64", (1,))), {}),
    ("same number of bits", "bitcast", ((2, 3),), {"to": "int64"}),
    ("block_size=0", "quantize_blocks", ((2, 6), (2, 3)), {"axis": 1, "block_size": 0, "dtype": "int8"}),
    ("scale has 1 axes, x 2", "quantize_blocks", ((2, 6), (3,)), {"axis": 1, "block_size": 2, "dtype": "int8"}),
    ("zero_point is uint8, must be int8", "quantize_blocks", ((2, 6), (2, 3), ("uint8", (2, 3))),
     {"axis": 1, "block_size": 2, "dtype": "int8"}),
    ("zero_point is uint8, must be int8", "dequantize_blocks", (("int8", (2, 6)), (2, 3), ("uint8", (2, 3))),
     {"axis": 1, "block_size": 2}),
    ("x is int64, must be one of", "dequantize_blocks", (("int64", (2, 6)), (2, 3)), {"axis": 1, "block_size": 2}),
    ("a is int32, must be int8 or uint8", "matmul_integer", (("int32", (2, 3)), ("int8", (3, 5))), {}),
    ("a_zero is int8, must be uint8", "matmul_integer", (("uint8", (2, 3)), ("int8", (3, 5)), ("int8", ())), {}),
    ("a matrix product needs axes", "matmul_integer", (("uint8", ()), ("int8", (3, 5))), {}),
    ("y_zero is int32, must be int8 or uint8", "qlinear_matmul",
     (("uint8", (2, 3)), (), None, ("int8", (3, 5)), (), None, (), ("int32", ())), {}),
    ("b is int64, must be int32", "qlinear_conv",
     (("uint8", (2, 3, 5, 5)), (), None, ("int8", (7, 3, 2, 2)), (), None, (), None, ("int64", (7,))), {}),
    ("holds real and imaginary parts", "dft_pairs", ((2, 5, 1),), {"axis": 2}),
    ("the last axis has size 3", "dft_pairs", ((2, 5, 3),), {"axis": 1}),
    ("a transform of length 0", "dft_pairs", ((2, 0, 1),), {"axis": 1}),
    ("step=0", "stft", ((2, 5, 1),), {"step": 0}),
    ("frames of 0 elements", "stft", ((2, 5, 1), (0,)), {"step": 1}),
    ("frames of -1 elements", "stft", ((2, 5, 1),), {"step": 1, "size": -1}),
    ("frames of 7 of 5 elements", "stft", ((2, 5, 1),), {"step": 1, "size": 7}),
    ("x is float32, must be string", "string_concat", ((2,), ("string", (2,))), {}),
    ("must have one row", "string_normalize", (("string", (2, 3)),), {}),
    ("x is int64 and its keys are string", "label_encode", (("int64", (2,)), ("string", (3,)), (3,), (1,)), {}),
    ("values are float32 and the default is int64", "label_encode",
     (("int64", (2,)), ("int64", (3,)), (3,), ("int64", (1,))), {}),
    ("x needs at least two axes", "det", ((3,),), {}),
    ("8 channels do not divide into patches of 6", "col2im", ((2, 8, 5),), {"image": (3, 3), "kernel": (2, 3)}),
    ("must have 2 entries, as kernel", "col2im", ((2, 6, 5),), {"image": (3,), "kernel": (2, 3)}),
    ("entries, image 2", "dynamic_col2im", ((2, 6, 5), INT2, INT2), {"pads": ((0, 0),)}),
    ("kernel has 3 entries, image 2", "dynamic_col2im", ((2, 6, 5), INT2, ("int64", (3,))), {}),
    ("x has 2 axes, must have 3", "dynamic_col2im", ((2, 6), INT2, INT2), {}),
    ("must be 1 .real. or 2", "dynamic_dft_pairs", ((2, 7, 3),), {}),
    ("has size 2, must be 1", "dynamic_dft_pairs", ((2, 7, 2),), {"onesided": True}),
    ("has size 1, must be 2", "dynamic_dft_pairs", ((2, 7, 1),), {"onesided": True, "inverse": True}),
    ("sizes of offset and of the output: 3 != 2", "deform_conv", ((1, 1, 3, 3), (1, 1, 2, 2), (1, 8, 3, 3)), {}),
    ("strides=.1,. must have two entries", "deform_conv", ((1, 1, 3, 3), (1, 1, 2, 2), (1, 8, 2, 2)), {"strides": (1,)}),
    ("different dtypes", "sequence_construct", ((2,), ("int64", (2,))), {}),
    ("int64 does not go into sequence_float32", "sequence_insert", (("sequence_float32", None), ("int64", (2,))), {}),
    ("s is float32, must be sequence", "sequence_length", ((2,),), {}),
    ("x is sequence_float32, must be any", "reshape", (("sequence_float32", None),), {"shape": (2,)}),
]  # fmt: skip


PRIORS = {"min_sizes": (3.0,), "max_sizes": (), "aspect_ratios": (), "image_size": (30, 20)}
NMS = {"max_per_class": 3, "iou_threshold": 0.5}
FOUND = {"num_classes": 3, "background": 0, "nms_threshold": 0.5, "keep_top_k": -1}
MORE_RULES: list[tuple[str, str, Inputs, dict[str, Any]]] = [
    ("slope must broadcast to the shape of x", "prelu", ((2, 1, 5), (3, 1)), {}),
    ("x is float32 and y is int64", "where", (("bool", (2, 3, 5)), (2, 3, 5), INT), {}),
    ("min='a' is not a number", "clip", ((2, 3),), {"min": "a"}),
    ("max=True is not a number", "clip", ((2, 3),), {"max": True}),
    ("x must have at least one axis", "rotary_embedding", ((), (4,), (4,)), {}),
    ("groups=0 must be positive", "shuffle_channels", ((2, 6, 5),), {"groups": 0}),
    ("block=0 must be positive", "depth_to_space", ((2, 12, 5, 7),), {"block": 0}),
    ("one entry for each of 2 spatial axes", "conv_transpose", ((2, 3, 5, 7), (3, 11, 2, 2)), {"output_shape": (7,)}),
    ("spatial axis 0 would have size -12", "conv_transpose", ((2, 3, 5, 7), (3, 11, 2, 2)), {"pads": ((9, 9), (0, 0))}),
    ("dw has 3 and pw 4 axes for x with 4", "separable_conv", ((2, 3, 5, 7), (6, 1, 2), (5, 6, 1, 1)), CONV),
    ("not a multiple of the 3 channels", "separable_conv", ((2, 3, 5, 7), (5, 1, 2, 2), (7, 5, 1, 1)), CONV),
    (r"kernel=\(2,\) must have one entry", "im2col", ((2, 3, 5, 7),), {**CONV, "kernel": (2,)}),
    ("max_per_class=-1 is negative", "nms", ((2, 5, 4), (2, 3, 5)), {**NMS, "max_per_class": -1}),
    ("must have one entry per min_size", "prior_box", ((2, 3, 5, 7),), {**PRIORS, "max_sizes": (5.0, 7.0)}),
    ("must exceed its min_size", "prior_box", ((2, 3, 5, 7),), {**PRIORS, "max_sizes": (3.0,)}),
    ("must have 1 or 4 entries", "prior_box", ((2, 3, 5, 7),), {**PRIORS, "variances": (0.1, 0.2)}),
    (r"step=\(7.0,\) must be \(height, width\)", "prior_box", ((2, 3, 5, 7),), {**PRIORS, "step": (7.0,)}),
    ("needs image or image_size", "prior_box", ((2, 3, 5, 7),), {**PRIORS, "image_size": None}),
    ("num_classes=0 must be positive", "detection_output", ((2, 28), (2, 21), (1, 2, 28)), {**FOUND, "num_classes": 0}),
    ("conf has 20 numbers per image, 21 are needed for 7 priors", "detection_output", ((2, 28), (2, 20), (1, 2, 28)), FOUND),
    ("loc has 24 numbers per image, 28 are needed", "detection_output", ((2, 24), (2, 21), (1, 2, 28)), FOUND),
    (r"output_size=\(2, 0\) must be positive", "roi_pool", ((2, 3, 5, 7), (4, 5)), {"output_size": (2, 0)}),
    ("group=0 must be positive", "psroi_pool", ((2, 12, 5, 7), (4, 5)), {"group": 0}),
    (r"10 channels do not divide by 2 \* 2", "psroi_pool", ((2, 10, 5, 7), (4, 5)), {"group": 2}),
    ("need the same number of axes", "grid_sample", ((2, 3, 5, 7), (2, 11, 2)), {}),
    (r"size=\(5,\) must have 2 or 3 entries", "affine_grid", ((2, 2, 3),), {"size": (5,)}),
    ("theta must have shape", "affine_grid", ((2, 3),), {"size": (5, 7)}),
    ("different dtypes: float32, int64", "einsum", ((2, 3), ("int64", (3, 5))), {"equation": "ab,bc->ac"}),
    ("x must have at least one axis", "linear", ((), (3, 5)), {}),
    ("both inputs need at least one axis", "matmul", ((), (3,)), {}),
    ("out of range", "concat", ((2, 3), (2, 3)), {"axis": 2}),
    ("zero_point is uint8, must be int8", "dequantize", (("int8", (2, 3)), (), ("uint8", ())), {}),
    ("scale must have one axis", "quantize", ((2, 3), (3, 1)), {"axis": 1, "dtype": "int8"}),
    ("x is float32 and scale float64", "quantize", ((2, 3), ("float64", ())), {"dtype": "int8"}),
    ("r has 2 axes, must have 3", "rnn", ((2, 5, 7), (1, 3, 7), (3, 3)), {"hidden": 3}),
    ("64 is the limit", "dynamic_reshape", ((2, 3), ("int64", (65,))), {}),
    ("takes 1 inputs, got 2", "exp", ((2, 3), (2, 3)), {}),
    ("needs its input w", "conv", ((2, 3, 5), None), {}),
    ("is not a string", "resize", ((2, 3, 5),), {"sizes": (7,), "mode": 3}),
    ("neither pairs nor same_upper", "conv", ((2, 3, 5), (7, 3, 2)), {"pads": "same"}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "name", "inputs", "attrs"), MORE_RULES, ids=[f"{n}-{w[:24]}" for w, n, _, _ in MORE_RULES])
def test_more_shape_rules(why: str, name: str, inputs: Inputs, attrs: dict[str, Any]) -> None:
    b = Builder(Graph("g"))
    with pytest.raises(ShapeError, match=why):
        b.op(name, *made(b, inputs), **attrs)


def test_a_range_without_a_step() -> None:
    b = Builder(Graph("g"))
    with pytest.raises(ShapeError, match="delta is 0"):
        b.range(*(b.const(n, "int64") for n in (0, 3, 0)))


def region(outputs: list[tuple[str, Any]], inputs: list[tuple[str, Any]]) -> Graph:
    """A body whose outputs are constants of these dtypes and shapes."""
    g = Graph("body")
    b = Builder(g)
    for i, (dtype, shape) in enumerate(inputs):
        b.input(f"in{i}", dtype, shape)
    g.outputs = [b.const(np.zeros(shape), dtype) for dtype, shape in outputs]
    return g


F, ROW = "float32", ("float32", (3,))
STEP: list[tuple[str, Any]] = [("int64", ()), ("bool", ())]
LOOPS: list[tuple[str, str, list[tuple[str, Any]], list[tuple[str, Any]], int]] = [
    ("3 states do not fit 1 values", "loop", [("bool", ()), ROW], [*STEP, ROW], 3),
    ("the body has 1 outputs, needs the condition and 1 states", "loop", [("bool", ())], [*STEP, ROW], 1),
    ("the body's first output, the condition, is float32", "loop", [(F, ()), ROW], [*STEP, ROW], 1),
    ("becomes float64", "loop", [("bool", ()), ("float64", (3,))], [*STEP, ROW], 1),
    ("the body has 0 outputs for 1 states", "scan", [], [ROW, ("float32", ())], 1),
    ("becomes", "scan", [("float32", (3, 1))], [ROW, ("float32", ())], 1),
    ("becomes float64", "scan", [("float64", (3,))], [ROW, ("float32", ())], 1),
    ("has 1 axes, is given 0", "scan", [ROW], [ROW, ("float32", (3,))], 1),
    ("takes 1 inputs, is given 2", "scan", [ROW], [ROW], 1),
]


@pytest.mark.parametrize(("why", "name", "outs", "ins", "n"), LOOPS, ids=[f"{n}-{w[:24]}" for w, n, *_ in LOOPS])
def test_bodies_of_loops(why: str, name: str, outs: list[Any], ins: list[Any], n: int) -> None:
    b = Builder(Graph("g"))
    state = b.input("s", F, (3,))
    given = [b.const(7, "int64"), None, state] if name == "loop" else [state, b.input("xs", F, (5,))]
    attrs = {"n_states": n} if name == "loop" else {"n_states": n, "n_scanned": 1}
    with pytest.raises(ShapeError, match=why):
        b.op(name, *given, regions=[region(outs, ins)], **attrs)


def test_what_references_refuse_of_conditions_and_images() -> None:
    branch, pool = op("if").reference, op("roi_pool").reference
    assert branch is not None and pool is not None
    with pytest.raises(ValueError, match="must be a scalar"):
        branch(np.asarray([True, False]), run=(None, None))
    with pytest.raises(IndexError, match="a region of image 2, of 2"):
        pool(
            np.zeros((2, 3, 5, 7)),
            np.asarray([[2.0, 0, 0, 3, 3]]),
            output_size=(1, 1),
            spatial_scale=1.0,
            layout="channels_first",
        )


def made(b: Builder, inputs: Inputs) -> list[Any]:
    values = []
    for i, spec in enumerate(inputs):
        dtype, shape = spec if spec and isinstance(spec[0], str) and spec is not ANY else ("float32", spec)
        values.append(None if spec is None else b.input(f"x{i}", dtype, None if spec is ANY else shape))
    return values


@pytest.mark.parametrize(("why", "name", "inputs", "attrs"), SHAPE_RULES, ids=[f"{n}-{w[:24]}" for w, n, _, _ in SHAPE_RULES])
def test_shape_rules(why: str, name: str, inputs: Inputs, attrs: dict[str, Any]) -> None:
    b = Builder(Graph("g"))
    with pytest.raises(ShapeError, match=why):
        b.op(name, *made(b, inputs), **attrs)
    assert not len(b.graph)


WIDE = (2, 3, None, 7)
BODIES: list[tuple[str, str, Inputs, dict[str, Any]]] = [
    ("repeat needs the shape of x", "repeat", ((2, None),), {"repeats": 2, "axis": 1}),
    ("flip needs the number of axes", "flip", (ANY,), {"axes": (0,)}),
    ("batch_norm: the number of axes", "batch_norm", (ANY, (3,), (3,), (3,), (3,)), {"axis": 1, "epsilon": 1e-3}),
    ("sizes of x must be known", "group_norm", ((2, 6, None),), {**GROUPS, "groups": 3}),
    ("lrn: the number of axes", "lrn", (ANY,), {"size": 3, "alpha": 1.0, "beta": 0.5, "bias": 1.0, "axis": 1}),
    ("lrn: the number of channels", "lrn", ((2, None, 5),), {"size": 3, "alpha": 1.0, "beta": 0.5, "bias": 1.0, "axis": 1}),
    ("lp_pool: the number of axes", "lp_pool", (ANY,), {**POOL, "p": 2.0}),
    ("lp_pool: the spatial sizes", "lp_pool", (WIDE,), {**POOL, "p": 2.0}),
    ("max_unpool: the sizes of x", "max_unpool", (WIDE, ("int64", WIDE)), {**WINDOW, "output_shape": (5, 7)}),
    ("adaptive pooling: the number of axes", "adaptive_avg_pool", (ANY,), {"output_size": (2, 3)}),
    ("adaptive pooling to 2 needs a fixed size on axis 2", "adaptive_max_pool", (WIDE,), {"output_size": (2, 7)}),
    ("sorting needs the size of its axis", "sort", ((2, None),), {"axis": 1}),
    ("variance with ddof needs the shape", "variance", (ANY,), {"axes": (0,), "ddof": 1}),
    ("variance with ddof needs the sizes", "variance", ((2, None),), {"axes": (1,), "ddof": 1}),
    ("im2col: the sizes of x", "im2col", (WIDE,), POOL),
    ("batch_dot needs the numbers of axes", "batch_dot", (ANY, (2, 5, 7)), {"axes": (1, 1)}),
    ("resize: the number of axes", "resize", (ANY,), {"scales": (2.0, 3.0), "mode": "nearest"}),
    ("glu needs the size of its axis", "glu", ((2, None),), {"axis": 1}),
    ("hardmax needs the size of its axis", "hardmax", ((2, None),), {"axis": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "name", "inputs", "attrs"), BODIES, ids=[f"{n}-{w[:24]}" for w, n, _, _ in BODIES])
def test_bodies(why: str, name: str, inputs: Inputs, attrs: dict[str, Any]) -> None:
    b, decl = Builder(Graph("g")), op(name)
    values = made(b, inputs)
    values += [None] * (len(decl.inputs) - len(values))
    assert decl.body is not None
    with pytest.raises(ShapeError, match=why):
        decl.body(b, *values, **decl.complete(attrs, values))


REFERENCES: list[tuple[str, str, Inputs, dict[str, Any]]] = [
    ("has a negative size", "reshape", (np.zeros((2, 5)),), {"shape": (-1, 5)}),
    ("do not divide 7 elements", "split", (np.zeros((2, 7)),), {"axis": 1, "sizes": (3, 5)}),
    ("do not divide 7 elements", "split", (np.zeros((2, 7)),), {"axis": 1, "sizes": (8, -1)}),
    ("num=3, but the axis has size 2", "unstack", (np.zeros((2, 7)),), {"axis": 0, "num": 3}),
    ("bad shape", "dynamic_reshape", (np.zeros((2, 5)), np.array([-1, -1])), {"zero_copies": False}),
    ("bad shape", "dynamic_reshape", (np.zeros((2, 5)), np.array([-2, 5])), {"zero_copies": False}),
    ("indices span -4..2 on an axis of 3", "take_along_axis", (np.zeros((3, 2)), np.array([[-4, 2]])), {"axis": 0}),
    ("indices span 0..3 on an axis of 3", "take_along_axis", (np.zeros((3, 2)), np.array([[0, 3]])), {"axis": 0}),
    ("lengths span 1..4, the time axis has 3", "reverse_sequence", (np.zeros((2, 3)), np.array([1, 4])),
     {"batch_axis": 0, "time_axis": 1}),
    ("k=4 of 3 elements", "topk", (np.zeros((2, 3)),), {"k": 4, "axis": 1, "largest": True, "sorted": True}),
    ("delta is 0", "range", (np.array(0), np.array(3), np.array(0)), {}),
    ("ids span 0..5, the table has rows 0..4", "embedding", (np.array([0, 5]), np.zeros((5, 3))), {}),
    ("is not one integer", "dynamic_topk", (np.zeros((2, 3)), np.array([1, 2])), {"axis": 1, "largest": True, "sorted": True}),
    ("of another number of parts", "dynamic_split", (np.zeros((2, 6)), np.array([2, 4])), {"axis": 1, "count": 3}),
    ("3 pads for the axes", "dynamic_pad", (np.zeros((2, 3)), np.array([1, 2, 3])), {"mode": "constant"}),
    ("one element|size 1", "dynamic_pad", (np.zeros((2, 3)), np.array([1, 2, 3, 4]), np.zeros(2)), {"mode": "constant"}),
    ("2 pads for the axes", "dynamic_pad", (np.zeros((2, 3)), np.array([1, 2]), None, np.array([5])), {"mode": "constant"}),
    ("1 starts and 1 stops for the axes", "dynamic_slice",
     (np.zeros((2, 3)), np.array([1]), np.array([2]), None, np.array([0, 1])), {"axes": None}),
    ("3 sizes or scales for 2 axes", "dynamic_resize", (np.zeros((2, 3)), np.array([1, 2, 3])), RESIZE),
    ("sizes or scales .0, 3.", "dynamic_resize", (np.zeros((2, 3)), np.array([0, 3])), RESIZE),
    ("are not whole", "dynamic_resize", (np.zeros((2, 3)), None, np.array([1, 0.5])), {**RESIZE, "coordinates": "align_corners"}),
    ("a transform of length 0", "dft_pairs", (np.zeros((2, 0, 1)),),
     {"axis": 1, "length": None, "inverse": False, "onesided": False}),
    ("frames of 5 elements", "stft", (np.zeros((2, 3, 1)),), {"step": 1, "size": 5, "onesided": False}),
    ("0 bins", "mel_weight_matrix", tuple(map(np.array, (0, 8, 100, 0.0, 50.0))), {"dtype": None}),
    ("white space at the end", "string_split", (np.array(["a b "], object),), {"delimiter": "", "maxsplit": 1}),
    ("beyond ASCII", "string_normalize", (np.array(["\xe4"], object),),
     {"case": "upper", "case_sensitive": True, "stopwords": ()}),
    ("a region of image 2 of 1", "roi_align", (np.zeros((1, 1, 3, 3)), np.zeros((1, 4)), np.array([2])),
     {"output_size": (1, 1), "scale": 1.0, "samples": 1, "mode": "mean", "half_pixel": True}),
    ("offsets of shape", "deform_conv", (np.zeros((1, 1, 3, 3)), np.zeros((1, 1, 2, 2)), np.zeros((1, 8, 3, 3))),
     {"strides": (1, 1), "dilations": (1, 1), "pads": ((0, 0), (0, 0)), "groups": 1, "offset_groups": 1}),
    ("patches of shape", "col2im", (np.zeros((1, 4, 5)),),
     {"image": (3, 3), "kernel": (2, 2), "strides": (1, 1), "dilations": (1, 1), "pads": ((0, 0), (0, 0))}),
    ("position 3 of a sequence of 2", "sequence_at", (as_sequence([np.ones(2), np.ones(3)]), np.array(3)), {}),
    ("an empty sequence", "sequence_erase", (as_sequence([]),), {}),
    ("an empty sequence", "sequence_concat", (as_sequence([]),), {"axis": 0, "stack": False}),
    ("parts of 0 elements", "split_to_sequence", (np.zeros((2, 3)), np.array(0)), {"axis": 0, "keepdims": True}),
    ("do not divide 2 elements", "split_to_sequence", (np.zeros((2, 3)), np.array([1, 2])), {"axis": 0, "keepdims": True}),
    ("the value is absent", "optional_get_element", (as_optional(None),), {}),
    ("NaN cannot be quantised", "quantize_blocks", (np.full((2, 2), np.nan), np.ones((2, 1)), None),
     {"axis": 1, "block_size": 2, "dtype": DType.INT8, "saturate": True}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "name", "arrays", "attrs"), REFERENCES, ids=[f"{n}-{w[:24]}" for w, n, _, _ in REFERENCES])
def test_references(why: str, name: str, arrays: Inputs, attrs: dict[str, Any]) -> None:
    reference = op(name).reference
    assert reference is not None
    with pytest.raises((ValueError, IndexError), match=why):
        reference(*arrays, **attrs)


def test_an_axis_longer_than_any_array_is_not_cut() -> None:
    """A stride of a damaged file makes one; Python's own slice would raise OverflowError."""
    b = Builder(Graph("g"))
    x = b.tile(b.input("x", "float32", (3, 5)), repeats=(1, 1 << 70))
    with pytest.raises(ShapeError, match="longer than any array"):
        b.slice(x, starts=(0, 1), stops=(None, -1), steps=(1, 1))

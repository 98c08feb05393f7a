"""Options of ops away from their defaults: what is written to the letter (``code_record.py``), and torch runs it as the
interpreter does. The branches of ``emit_rules/`` that the ops' own samples do not take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph
from convcore.testing.samples import same
from convcore_pytorch.runtime import open_runtime

from .code_record import check, classes_of, text_of, with_functions
from .torch_kit import emit_model

N, M = Dim("N"), Dim("M")
SIZES = {"N": 2, "M": 5}


class Fixed:
    """What an input is fed with; ``shape`` is what the graph knows of it."""

    def __init__(self, *values: Any, dtype: str = "int64", shape: tuple[Any, ...] | None = None) -> None:
        self.array = np.array(values[0] if len(values) == 1 else values, DType(dtype).numpy)
        self.shape = self.array.shape if shape is None else shape


class Constant(Fixed):
    """A constant of the graph."""


class Unknown:
    """A float32 input whose number of axes is not known."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape


def w(*shape: int, dtype: str = "float32") -> np.ndarray:
    """A weight."""
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(DType(dtype).numpy)


def built(op: str, inputs: tuple[Any, ...], attrs: dict[str, Any]) -> tuple[Graph, list[Any]]:
    g, feeds, values = Graph(op), list[Any](), list[Any]()
    b, rng = Builder(g), np.random.default_rng(7)
    for i, v in enumerate(inputs):
        if v is None:
            values.append(None)
        elif isinstance(v, np.ndarray):
            values.append(b.weight(v, f"w{i}", trainable=True, role="parameter"))
        elif isinstance(v, Constant):
            values.append(b.const(v.array))
        elif isinstance(v, Fixed):
            values.append(b.input(f"x{i}", DType.of(v.array.dtype), v.shape))
            feeds.append(v.array)
        else:
            shape = v.shape if isinstance(v, Unknown) else v
            dtype, shape = ("float32", shape) if isinstance(v, Unknown) or not v or not isinstance(v[0], str) else v
            values.append(b.input(f"x{i}", DType(dtype), None if isinstance(v, Unknown) else shape))
            known = [SIZES[str(n)] if isinstance(n, Dim) else n for n in shape]
            numbers = rng.normal(size=known) * 3 if "float" in dtype else rng.integers(-3 if dtype[0] == "i" else 0, 7, known)
            feeds.append((numbers > 0 if dtype == "bool" else numbers).astype(DType(dtype).numpy))
    g.outputs = list(b.node(op, values, attrs).outputs)
    return g, feeds


IMAGE, LINE = (2, 3, 7, 11), (2, 3, 11)
Q, K = (2, 6, 5, 7), (2, 6, 11, 7)
STEPS = (2, 5, 7)
BOXES = Fixed([[[0, 0, 2, 3], [1, 1, 3, 3], [0, 0, 2, 2.5]]], dtype="float32")
SCORES = Fixed([[[0.3, 0.9, 0.7]]], dtype="float32")


def cell(op: str, *rest: Any, d: int = 1) -> tuple[Any, ...]:
    n = {"rnn": 1, "gru": 3, "lstm": 4}[op]
    return STEPS, w(d, n * 3, 7), w(d, n * 3, 3), *rest


CASES: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "prelu": [
        (((2, 3, 5), (3, 1)), {}), (((2, 3), (3,)), {}), (((2, 3, 5), w(3, 1)), {}), (((2, 3, 5), w(1, 1)), {}),
        (((2, 3), w(3)), {}),
    ],
    "sign": [((("int32", (2, 3)),), {}), (((2, 3),), {})],
    "clip": [
        (((2, 3),), {"min": 0, "max": 6}), (((2, 3),), {"min": 0, "max": 5}), (((2, 3),), {"min": -1, "max": 6}),
        (((2, 3),), {"min": 1.5}), (((2, 3),), {"max": 1.5}), (((2, 3),), {}),
        ((("int32", (2, 3)),), {"min": -1.0, "max": 2.0}), ((("int32", (2, 3)),), {"max": 2.0}),
    ],
    "identity": [(((2, 3),), {})],
    "bitcast": [(((2, 3),), {"to": "int32"}), ((("int16", (2, 3)),), {"to": "bfloat16"})],
    "det": [((("float64", (2, 3, 3)),), {})],
    "attention": [
        ((Q, K, K, ("bool", (11,))), {}), ((Q, K, K, w(5, 11)), {}), ((Q, K, K), {"scale": 7**-0.5}),
        ((Q, K, K), {"scale": 0.3}),
        ((Q, K, K), {"causal": True}), ((Q, (2, 3, 11, 7), (2, 3, 11, 7)), {}),
        (((2, 6, 5, N), (2, 6, 11, N), K), {"scale": 0.3}),
        ((Q, K, K, w(5, 11)), {"empty": "nan"}), ((Q, K, K), {"empty": "mean"}),
    ],
    "multi_head_attention": [
        (((2, 5, 6), (2, 11, 6), (2, 11, 6), w(6, 6), w(6, 6), w(6, 6), w(6, 6), w(6), w(6), w(6), w(6)), {"heads": 3}),
        (((2, 5, 6), (2, 11, 6), (2, 11, 6), w(6, 6), w(6, 6), w(6, 6), w(6, 6)), {"heads": 2, "weights": True}),
        (((2, 5, 6), (2, 11, 7), (2, 11, 5), w(6, 6), w(6, 7), w(6, 5), w(6, 6), w(6), w(6), w(6), w(6)), {"heads": 3}),
        (((2, 5, 6), (2, 11, 6), (2, 11, 6), w(6, 6), w(6, 6), w(6, 6), w(6, 6)), {"heads": 3, "scale": 2**-0.5}),
    ],
    "cast": [
        *((((2, 3),), {"to": to, "saturate": s}) for s in (True, False)
          for to in ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")),
        *(((("int32", (2, 3)),),
         {"to": to}) for to in ("float8_e5m2", "int4", "uint4", "int2", "uint2", "float4_e2m1fn", "uint16")),
        *((((2, 3),), {"to": to}) for to in ("int4", "uint4", "float4_e2m1fn", "float64", "bool", "uint32", "int64")),
        *((((2, 3),), {"to": "float8_e8m0fnu", "rounding": r}) for r in ("up", "down", "nearest")),
        (((2, 3),), {"to": "float8_e8m0fnu", "saturate": False}), ((("bool", (2, 3)),), {"to": "uint4"}),
        ((("float16", (2, 3)),), {"to": "float8_e5m2"}), ((("bfloat16", (2, 3)),), {"to": "float4_e2m1fn"}),
    ],
    "fill": [((), {"shape": (2, 3), "value": 1.5, "dtype": "float64"}), ((), {"shape": (), "value": 2, "dtype": "int32"})],
    "eye": [((), {"rows": 3, "columns": 5, "k": k, "dtype": "int32"}) for k in (0, 1, -1)],
    "eye_like": [((("int32", (N, 3)),), {"k": 1}), ((("int32", (3, 5)),), {"dtype": "float64"}), (((2, 3),), {})],
    "range": [
        ((Constant(0), Fixed(5), Constant(1)), {}), ((Constant(2), Fixed(5), Constant(1)), {}),
        ((Constant(0), Fixed(5), Constant(2)), {}), ((Constant(0.0, dtype="float32"), Constant(5.0, dtype="float32"),
                                                      Constant(1.0, dtype="float32")), {}),
        ((Fixed(7), Fixed(1), Fixed(-2)), {}),
    ],
    "one_hot": [
        ((Fixed([0, 2, -1]),), {"depth": 3}), ((Fixed([0, 2, -1]),), {"depth": 3, "wrap_negative": True, "dtype": "int32"}),
        ((Fixed([[0, 2, 5]]),), {"depth": 3, "axis": 0}), ((Fixed([[0, 2, 5]]),), {"depth": 3, "axis": 1}),
        ((Fixed([0, 1]),), {"depth": 3, "on_value": 5.0, "off_value": -1.0}),
        ((Fixed([0, 1]),), {"depth": 3, "on_value": 1.0, "off_value": -1.0}),
        ((Fixed([0, 1]), Fixed(7.0, 3.0, dtype="float32")), {"depth": 3}),
        ((Fixed([0, 1]), Constant(7.0, 3.0, dtype="float32")), {"depth": 3}),
    ],
    "shape_of": [
        (((N, 3, 5),), {}), (((N, 3, 5),), {"start": 1}), (((N, 3, 5),), {"start": -2, "end": 2}), ((Unknown(2, 3, 5),), {}),
        ((Unknown(2, 3, 5),), {"start": 1}), ((Unknown(2, 3, 5),), {"end": 2}), ((Unknown(2, 3, 5),), {"start": 1, "end": -1}),
    ],
    "size_of": [(((N, 3),), {}), ((Unknown(2, 3),), {})],
    "conv": [
        ((IMAGE, w(5, 3, 2, 3)), {"strides": (2, 3), "dilations": (3, 2), "pads": ((1, 1), (2, 2))}),
        ((IMAGE, w(5, 3, 2, 3), w(5)), {"pads": ((1, 1), (1, 1)), "strides": (2, 2)}),
        ((IMAGE, w(6, 1, 2, 3), w(6)), {"groups": 3, "pads": ((1, 1), (1, 1))}),
        ((IMAGE, w(5, 3, 2, 3)), {"pads": ((1, 2), (0, 0))}), ((IMAGE, w(5, 3, 2, 3)), {"pads": ((-1, -1), (0, 0))}),
        ((IMAGE, w(5, 3, 2, 3)), {"pads": "same_upper", "strides": (2, 2)}),
        ((IMAGE, w(5, 3, 2, 3)), {"pads": "same_lower"}), ((IMAGE, w(5, 3, 3, 3)), {"pads": "same_upper"}),
        ((IMAGE, (5, 3, 2, 3), (5,)), {"pads": ((1, 1), (2, 2))}),
        ((IMAGE, w(5, 3, 2, 3), (5,)), {"groups": 1, "strides": (3, 3)}),
        ((IMAGE, (6, 1, 2, 3)), {"groups": 3}), ((LINE, w(5, 3, 2)), {"dilations": (3,)}), (((2, 3), w(5, 3)), {}),
        (((2, 6), w(9, 2), w(9)), {"groups": 3}), (((2, 3, 3, 5, 7), w(2, 3, 2, 1, 3)), {"strides": (1, 2, 1)}),
    ],
    "conv_transpose": [
        ((IMAGE, w(3, 5, 2, 3)), {"strides": (2, 3), "dilations": (3, 2), "pads": ((1, 1), (2, 2))}),
        ((IMAGE, w(3, 5, 2, 3), w(5)), {"strides": (3, 3), "output_padding": (1, 2)}),
        ((IMAGE, w(3, 2, 2, 3), w(6)), {"groups": 3}), ((IMAGE, w(3, 5, 2, 3)), {"pads": ((0, 1), (2, 1))}),
        ((IMAGE, w(3, 5, 2, 3)), {"pads": ((1, 0), (0, 0)), "strides": (2, 2), "output_padding": (1, 1)}),
        ((IMAGE, w(3, 5, 2, 3)), {"pads": ((0, -1), (0, 0)), "strides": (3, 3)}),
        ((IMAGE, w(3, 5, 2, 3)), {"pads": ((0, 1), (0, 0)), "strides": (3, 3), "output_padding": (2, 2)}),
        ((IMAGE, w(3, 5, 3, 3)), {"pads": "same_upper", "strides": (2, 2)}),
        ((IMAGE, w(3, 5, 3, 4)), {"pads": "same_lower", "strides": (2, 1)}),
        ((IMAGE, w(3, 5, 3, 4)), {"pads": "same_lower", "strides": (2, 2), "output_shape": (13, 23)}),
        ((IMAGE, w(3, 5, 3, 4)), {"pads": "same_upper", "strides": (2, 2), "output_shape": (14, 22)}),
        ((IMAGE, (3, 5, 2, 3), (5,)), {"strides": (2, 2), "pads": ((1, 1), (0, 0))}), ((LINE, w(3, 5, 2)), {}),
    ],
    "max_pool": [
        ((IMAGE,), {"kernel": (2, 3)}), ((IMAGE,), {"kernel": (3, 2), "strides": (1, 2), "dilations": (2, 3)}),
        ((IMAGE,), {"kernel": (3, 3), "strides": (2, 2), "pads": ((1, 1), (1, 1))}),
        ((IMAGE,), {"kernel": (3, 3), "strides": (2, 2), "pads": ((1, 1), (1, 1)), "ceil_mode": "ceil"}),
        ((IMAGE,), {"kernel": (3, 3), "strides": (2, 3), "ceil_mode": "ceil_full"}),
        ((IMAGE,), {"kernel": (2, 2), "strides": (3, 5), "ceil_mode": "ceil_full"}),
        ((IMAGE,), {"kernel": (3, 3), "strides": (2, 2), "pads": ((2, 2), (0, 0))}),
        ((IMAGE,), {"kernel": (3, 3), "strides": (2, 2), "pads": ((0, 1), (2, 1)), "ceil_mode": "ceil"}),
        ((IMAGE,), {"kernel": (2, 3), "pads": "same_upper", "strides": (2, 2)}),
        ((LINE,), {"kernel": (3,), "pads": "same_lower", "strides": (1,)}),
        ((("int32", IMAGE),), {"kernel": (2, 2)}), ((("int32", IMAGE),), {"kernel": (2, 2), "pads": ((0, 1), (1, 0))}),
        (((2, 3, N, 11),), {"kernel": (2, 2), "pads": ((0, 1), (1, 0))}), (((2, 3, 5, 7, 3),), {"kernel": (2, 3, 1)}),
    ],
    "max_pool_with_indices": [
        ((IMAGE,), {"kernel": (2, 3), "index_order": "plane"}),
        ((IMAGE,), {"kernel": (3, 3), "strides": (2, 1), "dilations": (1, 2), "pads": ((1, 1),
         (1, 1)), "index_order": "plane"}),
        ((IMAGE,), {"kernel": (3, 3), "strides": (2, 2), "ceil_mode": "ceil", "index_order": "plane"}),
        (((N, 3, 7, 11),), {"kernel": (2, 3)}), (((2, 3, M, 11),), {"kernel": (2, 3)}), ((IMAGE,), {"kernel": (2, 3)}),
        (((2, N, 7),), {"kernel": (2,)}),
    ],
    "avg_pool": [
        ((IMAGE,), {"kernel": (2, 3), "count_include_pad": c, "pads": p, "strides": s, "ceil_mode": m})
        for c in (True, False)
        for p, s, m in (
            (((1, 1), (1, 1)), (2, 2), "floor"), (((0, 0), (0, 0)), (2, 3), "floor"), (((0, 1), (2, 1)), (2, 1), "floor"),
            (((1, 1), (0, 0)), (3, 2), "ceil"), (((0, 0), (0, 0)), (5, 2), "ceil_full"),
        )
    ] + [
        ((IMAGE,), {"kernel": (2, 3), "dilations": (3, 2), "strides": (2, 1)}),
        ((IMAGE,), {"kernel": (2, 3), "dilations": (3, 2), "pads": ((1, 1), (0, 1))}),
        ((("float64", (N, 3, 7)),), {"kernel": (2,), "dilations": (3,), "pads": ((1, 1),), "count_include_pad": True}),
        (((2, 3, N, 7),), {"kernel": (2, 2), "pads": "same_upper", "strides": (1, 1)}),
    ],
    "resize": [
        ((IMAGE,), {"sizes": s, "mode": m, "coordinates": c, "nearest": n})
        for s in ((14, 22), (5, 13))
        for m, c, n in (
            ("nearest", "asymmetric", "floor"), ("nearest", "half_pixel", "round_prefer_ceil"),
            ("nearest", "half_pixel", "round_prefer_floor"), ("nearest", "tf_half_pixel_for_nn", "floor"),
            ("nearest", "align_corners", "ceil"), ("linear", "half_pixel", "floor"), ("linear", "align_corners", "floor"),
            ("linear", "asymmetric", "floor"), ("cubic", "half_pixel", "floor"), ("cubic", "align_corners", "floor"),
        )
    ] + [
        (((2, 3, N, 7),), {"scales": (2.0, 2.0), "mode": "nearest", "coordinates": "half_pixel"}),
        (((2, 3, N, 7),), {"scales": (2.0, 3.0), "mode": "nearest", "coordinates": "asymmetric", "nearest": "floor"}),
        (((2, 3, N, 7),), {"scales": (2.0, 3.0), "mode": "linear"}), (((2, 3, N),), {"scales": (3.0,), "mode": "linear"}),
        ((IMAGE,), {"sizes": (14, 22), "mode": "cubic", "cubic_a": -0.5}), ((IMAGE,), {"sizes": (7, 11)}),
        ((IMAGE,), {"sizes": (7, 22), "mode": "linear", "antialias": True}), ((LINE,), {"sizes": (5,), "mode": "cubic"}),
        ((IMAGE,), {"sizes": (7, 5), "mode": "linear", "exclude_outside": True}),
        (((2, 3, 3, 5, 7),), {"sizes": (5, 7, 3), "mode": "linear"}),
        (((2, 7, 11, 3),), {"sizes": (14, 5), "mode": "linear", "layout": "channels_last"}),
        ((("int32", IMAGE),), {"sizes": (14, 5), "coordinates": "asymmetric", "nearest": "floor"}),
        ((IMAGE,), {"scales": (1.5, 1.0), "mode": "linear"}), ((IMAGE,), {"scales": (1.0, 0.5), "mode": "nearest"}),
    ],
    "affine_grid": [(((2, 2, 3),), {"size": (5, 7), "align_corners": True}), (((N, 3, 4),), {"size": (3, 5, 7)})],
    "grid_sample": [
        ((IMAGE, (2, 5, 3, 2)), {"mode": m, "padding": p, "align_corners": a})
        for m, p, a in (("nearest", "border", True), ("linear", "reflection", False), ("cubic", "zeros", True))
    ],
    "slice": [
        (((N, 5, 7),), {"starts": s, "stops": e, "steps": t})
        for s, e, t in (
            ((0, 1, 0), (None, 4, 7), (1, 2, 1)), ((0, 0, 2), (None, None, 1 << 62), (1, 1, 3)), ((-1, 0, 0),
             (None, 5, None), (-1, 1, 1)),
            ((0, 4, -1), (None, 1, None), (1, -2, -1)), ((0, 0, 0), (None, 5, 7), (1, 1, 1)), ((1, -2, 0), (N, -1, -3),
             (1, 1, 1)),
        )
    ],
    "dynamic_slice": [
        (((3, 5), Fixed([1]), Fixed([4])), {"axes": (1,)}),
        (((3, 5), Fixed([1, 0]), Constant([3, 4]), Constant([1, 2])), {"axes": (0, -1)}),
        (((3, 5), Fixed([4]), Fixed([0]), Fixed([-2])), {"axes": (1,)}),
        (((3, 5), Fixed([1]), Fixed([4]), None, Fixed([1])), {}),
        (((3, 5), Fixed([0]), Fixed([4]), Fixed([3]), Fixed([-1])), {}),
    ],
    "gather": [
        (((3, 5), Constant(2)), {"axis": 1}), (((3, 5), Constant([2])), {"axis": 0}),
        (((3, 5), Fixed([2, 0], dtype="int32")), {"axis": -1}),
        (((3, 5), Fixed([[2, 0]])), {"axis": 0}), (((3, 5), Constant(-1)), {"axis": 0}),
    ],
    "gather_nd": [
        (((3, 5), Fixed([[2, 4], [0, 1]], dtype="int32")), {}), (((3, 5), Fixed([[2]])), {}),
        (((3, 5, 7), Fixed([[4], [0], [1]])), {"batch_dims": 1}),
        (((2, 3, 5, 7), Fixed(np.arange(6).reshape(2, 3, 1) % 5)), {"batch_dims": 2}),
        (((N, 3, 5), Fixed([[[1, 2]], [[0, 4]]])), {"batch_dims": 1}),
    ],
    "take_along_axis": [
        (((3, 5), Fixed([[4, -1], [0, 1], [2, 2]])), {"axis": 1}),
        (((3, 5), Constant([[4, -1], [0, 1], [2, 2]])), {"axis": -1}),
        (((3, N), Constant([[1, 0], [0, 1], [0, 0]])), {"axis": 1}), (((3, 5), Fixed([[1, -1]], dtype="int32")), {"axis": 0}),
        (((3, N), Fixed([[1, -1], [0, 1], [0, 0]])), {"axis": 1}), (((3, N), Constant([[1, -1], [0, 1], [0, 0]])), {"axis": 1}),
        (((3, 5), Constant([[1, 0]], dtype="int32")), {"axis": 0}),
    ],
    "reverse_sequence": [
        (((5, 3, 7), Fixed([2, 5, 1])), {"batch_axis": 1, "time_axis": 0}),
        (((3, 5), Fixed([2, 5, 1])), {"batch_axis": 0, "time_axis": 1}),
    ],
    "compress": [
        (((3, 5), Fixed([True, False, True], dtype="bool")), {"axis": 0}),
        (((3, 5), Fixed([True, True], dtype="bool")), {"axis": 1}),
        (((3, 5), Fixed([True, False, True], dtype="bool", shape=(None,))), {"axis": 1}),
        (((3, 5), Fixed([True, False, True], dtype="bool")), {}),
        (((N, 5), Fixed([False, True], dtype="bool")), {"axis": 0}),
    ],
    "unique": [
        ((Fixed([[3, 1], [3, 1], [2, 5]]),), {"axis": 0, "sorted": False}), ((Fixed([3, 1, 3]),), {"sorted": False}),
        ((Fixed([3, 1, 3]),), {}),
    ],
    "nonzero": [((("bool", (3, 5)),), {})],
    "logsumexp": [((Unknown(3, 5),), {"axes": (1,)}), (((3, 5),), {"axes": (0, -1), "keepdims": True})],
    "sum": [
        ((("int32", (3, 5)),), {"axes": (1,)}), ((Unknown(3, 5),), {}), ((Unknown(3, 5),), {"axes": (1, 0)}),
        (((3, 5),), {"axes": ()}),
        (((3, 5, 7),), {"axes": (-1, 0), "keepdims": True}), (((),), {}),
    ],
    "max": [(((3, 0),), {"axes": (1,)}), ((("int32", (N, 0)),), {"axes": (1,), "keepdims": True}), (((3, 5),),
         {"keepdims": True})],
    "min": [((("int32", (0, 3)),), {"axes": (0,)}), (((0, 3),), {"axes": (0, 1)})],
    "l1_norm": [(((3, 5),), {"axes": (1,)})],
    "l2_norm": [(((3, 5),), {"axes": (1,), "keepdims": True})],
    "prod": [
        ((("int32", (3, 5)),), {}), (((3, 5, 7),), {"axes": (0, 2), "keepdims": True}), (((3, 5),), {"axes": ()}), (((),), {}),
    ],
    "scatter_elements": [
        (((3, 5), Fixed([[4, 1], [0, 1], [2, 2]]), (3, 2)), {"axis": 1}),
        (((3, 5), Constant([[4, -1], [0, 1], [2, 2]]), (3, 2)), {"axis": 1}),
        (((3, 5), Constant([[4, 1], [0, -1], [2, 3]]), (3, 2)), {"axis": -1}),
        *((((3, 5), Fixed([[4, 1], [0, 1], [2, 2]]), (3, 2)),
         {"axis": 1, "reduction": r}) for r in ("add", "mul", "max", "min")),
    ],
    "scatter_nd": [
        (((3, 5), Fixed([[2, 4], [0, 1]], dtype="int32"), (2,)), {"reduction": "add"}),
        *((((3, 5), Fixed([[2], [0], [2]]), (3, 5)), {"reduction": r}) for r in ("none", "add", "mul", "max", "min")),
        (((3, 5), Fixed([[[2, 4]], [[0, -1]]]), (2, 1)), {}), (((3, 5), Fixed([1]), (5,)), {}),
    ],
    "reshape": [
        (((N, 3, 5),), {"shape": (N, 15)}), (((N, 3, 5),), {"shape": (N, 5, 3)}), (((N, 3),), {"shape": (3, N)}),
        (((2, 3),), {"shape": (6,)}),
        (((1,),), {"shape": ()}), (((N, M, 3),), {"shape": (N, M * 3)}), (((N, M),), {"shape": (M, N)}),
        (((N, 0),), {"shape": (0, N)}),
    ],
    "squeeze": [
        (((1, 3, 1),), {"axes": (0, -1)}), (((3, 1),), {"axes": (1,)}),
        ((Fixed([[[1.0, 2.0]]], dtype="float32", shape=(N, 1, 2)),), {"axes": (0, 1)}),
        ((Fixed([[1.0, 2.0]], dtype="float32", shape=(N, 2)),), {"axes": (0,)}), (((3, 5),), {"axes": ()}),
        ((Unknown(3, 1),), {"axes": (1,)}),
    ],
    "unsqueeze": [
        (((3, 5),), {"axes": (-1,)}), (((3, 5),), {"axes": (0, -1)}), (((3, 5),), {"axes": ()}), (((3, 5),), {"axes": (2, 0)}),
    ],
    "expand": [(((1, 3),), {"shape": (2, 3)}), (((N, 1),), {"shape": (N, 3)}), (((),), {"shape": ()})],
    "tile": [(((),), {"repeats": ()}), (((3, 5),), {"repeats": (2, 1)})],
    "dynamic_reshape": [(((2, 3), Fixed([3, 2])), {}), (((2, 3), Fixed([0, -1])), {"zero_copies": True})],
    "dynamic_expand": [(((1, 3), Fixed([2, 1])), {})],
    "pad": [
        *((((3, 5, 7),), {"pads": ((0, 0), (2, 1), (3, 0)), "mode": m}) for m in ("reflect", "edge", "wrap")),
        (((3, 5, 7),), {"pads": ((0, 0), (0, 0), (3, 2)), "mode": "reflect"}),
        (((3, 5),), {"pads": ((2, 0), (-1, 0)), "mode": "edge"}),
        (((3, 5),), {"pads": ((0, 0), (0, 0)), "mode": "edge"}),
        ((("int32", (3, 5)),), {"pads": ((1, 1), (0, 2)), "mode": "reflect"}),
        (((3, 5),), {"pads": ((1, 0), (0, 0))}), (((3, 5),), {"pads": ((0, 0), (1, 2)), "value": 1.5}),
        (((N, 5),), {"pads": ((0, 1), (N, -2))}),
        (((2, 3, 5, 7),), {"pads": ((0, 0), (0, 0), (1, 2), (0, 3)), "mode": "edge"}),
        (((3, 5),), {"pads": ((0, 0), (0, -2)), "mode": "wrap"}),
        (((3, 5, 7),), {"pads": ((1, 0), (0, 0), (0, 2)), "mode": "symmetric"}),
    ],
    "argmax": [
        (((3, 5),), {"axis": 1, "keepdims": True}), (((3, 5),), {"axis": 0, "last": True}),
        (((3, 5),), {"axis": 1, "dtype": "int32"}),
        (((3, N),), {"axis": 1, "last": True, "dtype": "int32"}), (((3, N),), {"axis": 1, "last": True}),
    ],
    "argmin": [(((3, 5),), {"axis": -1, "last": True, "keepdims": True})],
    "topk": [(((3, 5),), {"k": 2, "axis": 0}), (((3, 5),), {"k": 2, "largest": False})],
    "dynamic_topk": [(((3, 5), Fixed(2)), {"axis": 0, "largest": False})],
    "cumsum": [
        ((("int32", (3, 5)),), {"axis": 1}), (((3, 5),), {"axis": 0, "exclusive": True}),
        (((3, 5),), {"axis": -1, "reverse": True}),
        (((3, 5),), {"axis": 0, "exclusive": True, "reverse": True}),
    ],
    "cumprod": [(((3, 5),), {"axis": 0, "exclusive": True}), (((3, 5),), {"axis": 1, "exclusive": True, "reverse": True})],
    "dropout": [
        (((2, 3, 5),), {"rate": 0.3}), (((2, 3, 5),), {"rate": 0.3, "shared": (2,)}),
        (((2, 3, 5, 7),), {"rate": 0.3, "shared": (-1, 2)}),
        (((2, 3, 5),), {"rate": 0.3, "kind": "alpha"}), (((2, 3, 5),), {"rate": 0.3, "shared": (1,)}), (((2, 3),), {}),
        (((2, 3, 5),), {"rate": 0.3, "kind": "gaussian"}), (((2, 3, 5),), {"rate": 0.3, "kind": "alpha", "shared": (2,)}),
    ],
    "lrn": [((IMAGE,), {"size": 3, "alpha": 0.2, "beta": 0.5, "bias": 2.0, "axis": 1})],
    "lstm": [
        (cell("lstm", w(1, 12)), {"hidden": 3}), (cell("lstm"), {"hidden": 3, "direction": "reverse"}),
        (cell("lstm", w(2, 12), d=2), {"hidden": 3, "direction": "bidirectional"}),
        (cell("lstm"), {"hidden": 3, "layout": "time_major"}),
        (cell("lstm", None, (1, 2, 3), (1, 2, 3)), {"hidden": 3}), (cell("lstm", None, None, (1, 2, 3)), {"hidden": 3}),
        (cell("lstm", None, (1, 2, 3), None, ("bool", (2, 5))), {"hidden": 3}),
    ],
    "gru": [
        (cell("gru", w(1, 9), w(1, 9)), {"hidden": 3, "reset_after": True}),
        (cell("gru", w(1, 9)), {"hidden": 3, "reset_after": True}),
        (cell("gru", None, w(1, 9)), {"hidden": 3, "reset_after": True, "direction": "reverse", "layout": "batch_major"}),
        (cell("gru", None, None, (1, 2, 3)), {"hidden": 3, "reset_after": True}),
        (cell("gru", None, None, (2, 2, 3), ("bool", (2, 5)), d=2),
         {"hidden": 3, "reset_after": True, "direction": "bidirectional"}),
        (cell("gru", None, None, None, ("bool", (2, 5))), {"hidden": 3, "reset_after": True, "zero_output_for_mask": True}),
        (cell("gru", None, None, (1, 2, 3), None, Fixed([3, 5])), {"hidden": 3, "reset_after": True, "direction": "reverse"}),
    ],
    "rnn": [
        (cell("rnn", w(1, 3)), {"hidden": 3, "activation": "relu"}), (cell("rnn"), {"hidden": 3}),
        (cell("rnn", None, (1, 2, 3)), {"hidden": 3}),
    ],
    "nms": [
        ((BOXES, SCORES), {"max_per_class": 2, "iou_threshold": 0.4}),
        ((BOXES, SCORES), {"max_per_class": 3, "iou_threshold": 0.9, "score_threshold": 0.5, "centre_form": True}),
    ],
    "dynamic_nms": [
        ((BOXES, SCORES), {}),
        ((BOXES, SCORES, Fixed(2), Fixed(0.4, dtype="float32"), Fixed(0.5, dtype="float32")), {"centre_form": True}),
        ((BOXES, SCORES, Constant(2), Constant(0.4, dtype="float32")), {}),
    ],
    "roi_align": [
        ((IMAGE, Fixed([[0.5, 1, 3, 5], [0, 0, 2, 2.5]], dtype="float32"), Fixed([1, 0])), {"output_size": (2, 3), **more})
        for more in ({}, {"scale": 0.7, "samples": 2}, {"mode": "max", "samples": 3}, {"half_pixel": False})
    ],
    "deform_conv": [
        ((IMAGE, w(4, 3, 2, 2), (2, 8, 6, 10), None), {}),
        (((2, 4, 7, 11), w(6, 2, 2, 3), (2, 24, 4, 9), w(6), (2, 12, 4, 9)),
         {"strides": (2, 1), "pads": ((1, 1), (0, 0)), "dilations": (2, 1), "groups": 2, "offset_groups": 2}),
    ],
    "split_to_sequence": [
        (((3, 5),), {"axis": 1}), (((3, 5),), {"keepdims": False}), (((3, 5), Constant([2, 3])), {"axis": 1}),
        (((3, 5), Constant(2)), {}),
    ],
    "dynamic_pad": [
        (((3, 5), Fixed([1, 0, 0, 2])), {}), (((3, 5), Fixed([1, 2]), Fixed(1.5, dtype="float32"), Fixed([1])), {}),
        (((3, 5), Fixed([1, 0, 0, 2])), {"mode": "edge"}),
    ],
    "dynamic_trilu": [((w(3, 5), Fixed(1)), {"upper": u}) for u in (True, False)],
    "dynamic_cumsum": [(((3, 5), Fixed(0)), {"reverse": True}), (((3, 5), Fixed(1)), {"exclusive": True})],
    "dynamic_tile": [(((3, 5), Fixed([2, 1])), {})],
    **{
        op: [((("uint64", (2, 3)), ("uint64", (3,))), {})]
        for op in ("add", "mul", "bitwise_and", "equal", "less", "maximum", "minimum", "sub", "greater_equal")
    },
    "bitwise_not": [((("uint64", (2, 3)),), {})],
    **{op: [((("uint64", (2, 3)), Fixed([2, 3, 1], dtype="uint64")),
     {})] for op in ("div", "floor_mod", "shift_right", "shift_left")},
}  # fmt: skip


@pytest.mark.parametrize("op", CASES)
@pytest.mark.filterwarnings("ignore")
def test_options_are_written_and_run(op: str) -> None:
    found: dict[str, str] = {}
    for i, (inputs, attrs) in enumerate(CASES[op]):
        g, feeds = built(op, inputs, attrs)
        with np.errstate(all="ignore"):
            want = Interpreter(g).run(feeds)
        made = emit_model(g)
        found[f"{op} {i}"] = classes_of(text_of(made))
        got = open_runtime(with_functions(made.model())).run(feeds)
        for a, b in zip(got, want, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape, i
            assert not (why := same(a, b, 1e-4, 1e-5)), (i, why)
    check("options", found, f"{op} ")

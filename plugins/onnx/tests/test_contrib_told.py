"""What is not read of com.microsoft, by its words, each one change away from what is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_kit import load_model

from convcore.build.opaque import opaque_problems

NO = object()
"""An input that is left out."""


def model(kind: str, inputs: list[Any], outs: int, attrs: dict[str, Any]) -> Any:
    """One node: inputs are shapes of floats, ("int32", shape), or constants; results are all outputs."""
    names, given, held = [], [], []
    for i, v in enumerate(inputs):
        names.append("" if v is NO else f"i{i}")
        if isinstance(v, tuple):
            type_, shape = v if v and isinstance(v[0], str) else ("float32", v)
            given.append(helper.make_tensor_value_info(f"i{i}", helper.np_dtype_to_tensor_dtype(np.dtype(type_)), shape))
        elif v is not NO:
            held.append(numpy_helper.from_array(np.asarray(v), f"i{i}"))
    results = [f"y{i}" for i in range(outs)]
    node = helper.make_node(kind, names, results, name="n", domain="com.microsoft", **attrs)
    told = [helper.make_tensor_value_info(y, TensorProto.FLOAT, None) for y in results]
    graph = helper.make_graph([node], "g", given, told, held)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def f4(*shape: int) -> Any:
    return np.ones(shape, "f4")


def i4(*values: int) -> Any:
    return np.asarray(values, np.int32)


def u1(*shape: int) -> Any:
    return np.ones(shape, np.uint8)


QKV = (2, 5, 8)
IDS = np.zeros((2, 5), np.int64)
TABLE = f4(7, 2)
CACHE = (2, 2, 3, 4)
BASES: dict[str, tuple[list[Any], int, dict[str, Any]]] = {
    "GroupQueryAttention": ([QKV, QKV, QKV, NO, NO, i4(4, 4), i4(5), *[NO] * 10], 1, {"num_heads": 2, "kv_num_heads": 2}),
    "RotaryEmbedding": ([QKV, IDS, TABLE, TABLE], 1, {}),
    "EmbedLayerNormalization": ([IDS, IDS, f4(7, 8), f4(5, 8), f4(2, 8), f4(8), f4(8)], 1, {}),
    "GatherBlockQuantized": ([u1(3, 16), IDS, f4(3, 1)], 1, {"bits": 4, "block_size": 32}),
    "ExpandDims": ([(2, 3), i4(1)], 1, {}), "CDist": ([(2, 3), (5, 3)], 1, {"metric": "euclidean"}),
    "Range": ([np.float32(0), np.float32(5)], 1, {}), "Pad": ([(2, 3), np.zeros(4, np.int64)], 1, {"mode": "edge"}),
    "FusedConv": ([(1, 2, 5, 5), f4(3, 2, 3, 3)], 1, {"activation": "LeakyRelu", "activation_params": [0.3]}),
    "FusedGemm": ([(2, 3), f4(3, 5), f4(5)], 1, {"activation": "LeakyRelu", "activation_alpha": 0.3}),
    "FusedMatMul": ([(7, 2, 3), (7, 3, 5)], 1, {}), "BiasSplitGelu": ([(2, 5, 8), f4(8)], 1, {}),
    "BiasDropout": ([(2, 8), f4(8)], 1, {}), "GroupNorm": ([(2, 5, 5, 8), f4(8), f4(8)], 1, {"activation": 0, "groups": 2}),
    "MatMulBnb4": ([(2, 32), u1(48), f4(6)], 1, {"K": 32, "N": 3, "block_size": 16, "quant_type": 1}),
}  # fmt: skip

CASES: list[tuple[str, dict[int, Any], dict[str, Any], int, str]] = [
    # operator, other inputs, other attributes, more results, and why
    *(("GroupQueryAttention", {i: (2, 2, 3, 4)}, {}, 0, "a cache of keys and values") for i in (12, 13, 16)),
    *(("GroupQueryAttention", {i: CACHE}, {}, 0, "of past_key and past_value only one is given") for i in (3, 4)),
    *(("GroupQueryAttention", {3: p, 4: p}, {}, 0, "its cache is (") for p in (
        (3, 2, 3, 4), (2, 3, 3, 4), (2, 2, 3, 5), (2, 2, 4))),
    ("GroupQueryAttention", {5: i4(4)}, {}, 0, "seqlens_k has the shape ['1'], not one number for each of 2 sequences"),
    ("GroupQueryAttention", {}, {"smooth_softmax": 1}, 0, "smooth_softmax=1"),
    ("GroupQueryAttention", {}, {"qk_output": 1}, 0, "qk_output=1"),
    ("GroupQueryAttention", {}, {"k_quant_type": "PER_TENSOR"}, 0, "k_quant_type='PER_TENSOR'"),
    *(("GroupQueryAttention", {i: f4(2)}, {}, 0, "a sink, or norms of queries and keys") for i in (11, 14, 15)),
    *(("GroupQueryAttention", {}, more, 0, "local_window_size=") for more in (
        {"kv_num_heads": 3}, {"num_heads": 0}, {"kv_num_heads": 0}, {"local_window_size": 0}, {"local_window_size": -2},
        {"causal": 2}, {"causal": 0, "local_window_size": 2})),
    ("GroupQueryAttention", {2: NO}, {}, 0, "of key and value only one is given"),
    ("GroupQueryAttention", {0: (2, 5, 27), 1: NO, 2: NO}, {}, 0, "27 features are not 2 queries, 2 keys and values"),
    ("GroupQueryAttention", {0: (2, 5, 7)}, {}, 0, "7 features of 5 steps have 2 heads"),
    ("GroupQueryAttention", {1: (2, 3, 8), 2: (2, 3, 8)}, {}, 0, "8 features of 3 steps have 2 heads"),
    ("GroupQueryAttention", {5: ("int32", (2,))}, {}, 0, "how long its sequences are is not known"),
    ("GroupQueryAttention", {5: i4(3, 4)}, {}, 0, "its sequences of 0 and 5 steps end at [3, 4] of 5"),
    ("GroupQueryAttention", {5: i4(3, 3)}, {}, 0, "its sequences of 0 and 5 steps end at [3, 3] of 5"),
    ("GroupQueryAttention", {6: i4(6)}, {}, 0, "its total length is 6, and it has 5 steps and no cache"),
    ("GroupQueryAttention", {3: CACHE, 4: CACHE, 6: i4(6)}, {}, 0, "its sequences of 3 and 5 steps end at [4, 4] of 6"),
    ("GroupQueryAttention", {3: CACHE, 4: (2, 2, 5, 4)}, {}, 0, "past_key of 3 and past_value of 5"),
    ("GroupQueryAttention", {6: ("int32", ())}, {}, 0, "its sequences of 0 and 5 steps end at [4, 4] of None"),
    ("GroupQueryAttention", {7: TABLE, 8: TABLE, 9: IDS}, {"do_rotary": 1}, 0, "position_ids, of which the kernel uses only"),
    ("RotaryEmbedding", {}, {"scale": 2.0}, 0, "scale=2.0, which onnxruntime does not use"),
    ("RotaryEmbedding", {}, {"is_packed_batching": 1}, 0, "or batches that are packed"),
    ("RotaryEmbedding", {0: (2, 5)}, {}, 0, "an input of 2 axes, tables of 2 and 2"),
    ("RotaryEmbedding", {3: f4(7, 3)}, {}, 0, "an input of 3 axes, tables of 2 and 2"),
    ("RotaryEmbedding", {}, {"num_heads": 2}, 0, "num_heads=2, rotary_embedding_dim=0 with tables of 2 angles"),
    ("RotaryEmbedding", {}, {"num_heads": 2, "rotary_embedding_dim": 2}, 0, "rotary_embedding_dim=2 with tables of 2 angles"),
    ("RotaryEmbedding", {0: (2, 5, 7)}, {}, 0, "7 features have heads of 4"),
    ("RotaryEmbedding", {0: (2, 3, 5, 6)}, {}, 0, "3 heads of 6 features, num_heads=0 with tables of 2 angles"),
    ("EmbedLayerNormalization", {}, {"mask_index_type": 2}, 0, "mask_index_type=2"),
    ("EmbedLayerNormalization", {1: NO}, {}, 0, "of the ids of segments and their table only one is given"),
    ("EmbedLayerNormalization", {}, {}, 1, "its mask index is a result"),
    ("GatherBlockQuantized", {}, {"gather_axis": 1}, 0, "gather_axis=1, quantize_axis=1 of 2 axes"),
    ("GatherBlockQuantized", {}, {"quantize_axis": 0}, 0, "gather_axis=0, quantize_axis=0 of 2 axes"),
    ("GatherBlockQuantized", {}, {"block_size": 8}, 0, "block_size=8"),
    ("GatherBlockQuantized", {}, {"block_size": 24}, 0, "block_size=24"),
    ("GatherBlockQuantized", {}, {"bits": 3}, 0, "3 bits, scales of 2 axes"),
    ("GatherBlockQuantized", {0: f4(3, 16)}, {}, 0, "its table is float32: int4, uint4 and packed uint8 are read"),
    ("ExpandDims", {1: ("int32", (1,))}, {}, 0, "its axis is computed, or not one number"),
    ("ExpandDims", {1: i4(0, 1)}, {}, 0, "its axis is computed, or not one number"),
    ("CDist", {}, {"metric": "cosine"}, 0, "metric='cosine'"),
    ("CDist", {1: (5, 3, 1)}, {}, 0, "its inputs have 2 and 3 axes, not 2"),
    ("Range", {0: f4(2)}, {}, 0, "a number of shape ['2']"), ("Pad", {}, {"mode": "wrap"}, 0, "mode='wrap'"),
    ("FusedConv", {}, {"activation": ""}, 0, "without an activation"),
    ("FusedConv", {}, {"activation": "Erf"}, 0, "activation='Erf'"),
    ("FusedConv", {}, {"activation_params": [0.3, 0.4]}, 0, "activation='LeakyRelu' with 2 parameters, it has 1"),
    ("FusedGemm", {}, {"activation": "Clip"}, 0, "activation='Clip'"),
    ("FusedGemm", {}, {"activation": "Relu"}, 0, "activation='Relu' with activation_alpha, it has none"),
    ("FusedGemm", {}, {"activation_alpha": None}, 0, "with no parameters, it has activation_alpha"),
    ("FusedMatMul", {0: (3, 2), 1: (3,)}, {"transA": 1}, 0, "transA=1 of a product with a vector, for which onnxruntime 1.32"),
    ("FusedMatMul", {0: (2, 3), 1: (3, 5)}, {"transBatchA": 1}, 0, "transBatchA=1 of an operand with 2 axes"),
    ("FusedMatMul", {1: (3, 5)}, {"transBatchB": 1}, 0, "transBatchB=1 of an operand with 2 axes"),
    ("BiasSplitGelu", {0: (2, 5, 7), 1: f4(7)}, {}, 0, "7 features have no two halves"),
    ("BiasDropout", {}, {}, 1, "its mask is a result"),
    ("GroupNorm", {}, {"activation": 2}, 0, "activation=2 of an input with 4 axes"),
    ("GroupNorm", {0: (2, 5, 8)}, {}, 0, "activation=0 of an input with 3 axes"),
    ("MatMulBnb4", {}, {"transB": 0}, 0, "transB=0, which onnxruntime 1.32 takes as 1"),
    ("MatMulBnb4", {}, {"quant_type": 2}, 0, "quant_type=2"), ("MatMulBnb4", {}, {"block_size": 8}, 0, "block_size=8"),
    ("MatMulBnb4", {}, {"block_size": 24}, 0, "block_size=24"), ("MatMulBnb4", {}, {"N": 0}, 0, "N=0"),
    ("MatMulBnb4", {1: u1(47)}, {}, 0, "its B has 47 elements, must have 48"),
    ("MatMulBnb4", {2: f4(5)}, {}, 0, "its absmax has 5 elements, must have 6"),
    ("MatMulBnb4", {2: (6,)}, {}, 0, "its absmax is computed"),
    ("MatMulBnb4", {1: np.ones(48, np.int8)}, {}, 0, "B is int8 and absmax float32"),
]  # fmt: skip


@pytest.mark.parametrize("kind", BASES)
def test_the_base_is_read(kind: str) -> None:
    inputs, outs, attrs = BASES[kind]
    assert not opaque_problems(load_model(model(kind, inputs, outs, attrs)))


@pytest.mark.parametrize(("kind", "other", "more", "extra", "why"), CASES, ids=[f"{i} {c[0]}" for i, c in enumerate(CASES)])
def test_one_change_from_it_is_refused(kind: str, other: dict[int, Any], more: dict[str, Any], extra: int, why: str) -> None:
    inputs, outs, attrs = BASES[kind]
    changed = [other.get(i, v) for i, v in enumerate(inputs)]
    given = {k: v for k, v in {**attrs, **more}.items() if v is not None}
    (problem,) = opaque_problems(load_model(model(kind, changed, outs + extra, given)))
    assert why in problem.why
    assert (problem.layer, problem.type) == ("n", f"com.microsoft.{kind}")

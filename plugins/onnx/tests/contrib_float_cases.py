"""Models of com.microsoft's operators on floats: those that onnxruntime judges, and those that only their documentation does."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from contrib_cases import case, f4, s, u8

__all__ = ["DOCUMENTED", "FLOAT_CASES", "cached", "prompt"]

_R = np.random.default_rng(23)
_IDS = np.asarray([[1, 2, 0], [3, 0, 1]], np.int32)
_KINDS = np.asarray([[1, 0, 1], [0, 0, 1]], np.int32)
_PLACES = np.asarray([[1, 3, 0], [2, 2, 3]], np.int32)


def prompt(
    *more: Any, packed: bool = False, width: int = 16, ends: int = 4, total: int = 5, outputs: int = 1, computed: bool = False,
    cache: bool = False, **attrs: Any,
) -> Any:  # fmt: skip
    """GroupQueryAttention of 2 sequences of 5 steps; onnxruntime turns widths that are multiples of 16 only."""
    q, k, v = f4(2, 5, 4 * width), f4(2, 5, 2 * width), f4(2, 5, 2 * width)
    heads: list[Any] = [np.concatenate([q, k, v], -1), None, None] if packed else [q, k, v]
    past = f4(2, 2, 3, width) if cache else None
    inputs = [*heads, past, past, np.full(2, ends, np.int32), np.asarray(total, np.int32), *more]
    fed = [i for i in range(3) if inputs[i] is not None] + ([5] if computed else [])
    model, feeds = case("GroupQueryAttention", inputs, outputs, fed=fed, **{"num_heads": 4, "kv_num_heads": 2, **attrs})
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2  # as many as have their lengths told
    return model, feeds


def cached(
    ends: Any, total: int, steps: int = 1, held: int | None = 5, packed: bool = False, turned: bool = False, added: Any = None,
    told: bool = False, half: bool = False, free: bool = False, causal: int = 1, interleaved: int = 0, **attrs: Any,
) -> Any:  # fmt: skip
    """GroupQueryAttention with ``held`` earlier keys and values of each sequence, 4 heads of 16 features of which 2 share one;
    ``told``: lengths are constants, ``free``: the cache's size is a name, and that of the batch where there is one step."""
    n, d = len(ends), 16
    q, k, v = f4(n, steps, 4 * d), f4(n, steps, 2 * d), f4(n, steps, 2 * d)
    heads: list[Any] = [np.concatenate([q, k, v], -1), None, None] if packed else [q, k, v]
    past = [None, None] if held is None else [f4(n, 2, held, d), f4(n, 2, held, d)]
    tables = [f4(23, d // 2), f4(23, d // 2)] if turned else [None, None]
    inputs = [*heads, *past, np.asarray(ends, np.int32), np.asarray(total, np.int32), *tables, None, added]
    inputs = [a.astype(np.float16) if half and a is not None and a.dtype == np.float32 else a for a in inputs]
    fed = [i for i in (0, 1, 2, 3, 4, *(() if told else (5, 6)), 10) if inputs[i] is not None]
    turn = {"do_rotary": 1, "rotary_interleaved": interleaved} if turned else {}
    model, feeds = case("GroupQueryAttention", inputs, 3, fed=fed, num_heads=4, kv_num_heads=2, causal=causal, **turn, **attrs)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = n
    for v in model.graph.input if free else ():
        dims = v.type.tensor_type.shape.dim
        if steps == 1 and len(dims) > 1 - (v.name == "i5"):
            dims[0].dim_param = "n"
        if v.name in ("i3", "i4"):
            dims[2].dim_param = "h"
    return model, feeds


def _stored_embedding() -> Any:
    zero, scale = [np.uint8(120 + i) for i in range(5)], [s(0.01 + i / 1000) for i in range(5)]
    tables = [u8(5, 7), u8(4, 7), u8(2, 7), u8(7), u8(7)]
    return [_IDS, _KINDS, *tables, None, *scale, *zero]


def _quantised_embedding(segments: bool) -> Any:
    inputs = _stored_embedding()
    if not segments:
        for i in (1, 4, 10, 15):
            inputs[i] = None
    model, feeds = case("QEmbedLayerNormalization", inputs, 2, fed=(0, 1) if segments else (0,), dtype=np.float32, epsilon=1e-5)
    del model.graph.output[1:]  # it must have a name
    return model, feeds


def _embedding(inputs: list[Any], fed: tuple[int, ...], outputs: int, **attrs: Any) -> Any:
    """The mask index, which must have a name, is no result of the model."""
    model, feeds = case("EmbedLayerNormalization", inputs, outputs, fed, np.float32, **attrs)
    del model.graph.output[1]
    return model, feeds


def _rows(type_: Any, low: int) -> Any:
    table, zeros = (_R.integers(low, low + 16, shape).astype(type_) for shape in ((11, 32), (11, 2)))
    inputs = [table, np.asarray([1, 10, 3], np.int32), f4(11, 2, low=0.01, high=0.1), zeros]
    return case("GatherBlockQuantized", inputs, fed=(1,), dtype=np.float32, block_size=16)


def _bnb4(n: int, k: int, size: int, kind: int, **attrs: Any) -> Any:
    inputs = [f4(3, k), u8(-(-n * k // 2)), f4(-(-n * k // size), low=0.1, high=0.5)]
    return case("MatMulBnb4", inputs, N=n, K=k, block_size=size, quant_type=kind, **attrs)


FLOAT_CASES: dict[str, Any] = {
    "bias gelu": case("BiasGelu", [f4(2, 3, 5, low=-4, high=4), f4(5)], fed=(0, 1)),
    "quick gelu": case("QuickGelu", [f4(2, 3, 5, low=-4, high=4)]),
    "quick gelu, alpha": case("QuickGelu", [f4(2, 3, 5, low=-4, high=4)], alpha=0.7),
    "fused gemm": case("FusedGemm", [f4(3, 5), f4(5, 7), f4(7)], activation="Relu", alpha=0.7, beta=0.3),
    "fused gemm, leaky": case(
        "FusedGemm", [f4(5, 3), f4(7, 5)], transA=1, transB=1, activation="LeakyRelu", activation_alpha=0.3
    ),
    "product, batches last": case(
        "FusedMatMul", [f4(5, 2, 4, 3), f4(7, 2, 4, 3)], fed=(0, 1), transBatchA=1, transBatchB=1, transB=1, alpha=0.3
    ),
    "product, batches last and turned": case("FusedMatMul", [f4(3, 2, 5), f4(2, 3, 7)], fed=(0, 1), transA=1, transBatchA=1),
    "max pool, channels last": case("NhwcMaxPool", [u8(2, 11, 7, 3)], kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]),
    "embedding": _embedding([_IDS, None, f4(5, 7), f4(4, 7), None, f4(7), f4(7)], (0,), 3),
    "embedding, segments": _embedding(
        [_IDS, _KINDS, f4(5, 7), f4(4, 7), f4(2, 7), f4(7), f4(7), np.ones((2, 3), np.int32), _PLACES], (0, 1, 8), 2,
        epsilon=1e-5,
    ),
    "stored embedding": _quantised_embedding(False),
    "stored embedding, segments": _quantised_embedding(True),
    "rows of 4 bits": case(
        "GatherBlockQuantized", [u8(11, 24), np.asarray([[1, 10, 3], [0, 2, 3]]), f4(11, 3, low=0.01, high=0.1)], fed=(1,),
        dtype=np.float32, block_size=16,
    ),
    "rows of 8 bits, zero points": case(
        "GatherBlockQuantized", [u8(11, 32), np.asarray([1, 10, 3], np.int32), f4(11, 2, low=0.01, high=0.1), u8(11, 2)],
        fed=(1,), dtype=np.float32, block_size=16, bits=8,
    ),
    "rows of int4": _rows(ml_dtypes.int4, -8),
    "rows of uint4": _rows(ml_dtypes.uint4, 0),
    "bnb4": _bnb4(7, 16, 16, 0),
    "bnb4, nf4": _bnb4(7, 24, 32, 1),
    "rotation": case("RotaryEmbedding", [f4(2, 3, 16), np.asarray([[1, 5, 3], [0, 2, 8]]), f4(9, 4), f4(9, 4)], fed=(0, 1)),
    "rotation, first place": case(
        "RotaryEmbedding", [f4(2, 4, 3, 6), np.asarray([2]), f4(9, 3), f4(9, 3)], fed=(0, 1), interleaved=1
    ),
    "rotation, a part": case(
        "RotaryEmbedding", [f4(2, 3, 16), np.asarray([2]), f4(9, 2), f4(9, 2)], num_heads=2, rotary_embedding_dim=4
    ),
    "prompt": prompt(outputs=3, local_window_size=2, softcap=0.5),
    "prompt, packed": prompt(f4(9, 8), f4(9, 8), packed=True, outputs=3, do_rotary=1),
    "prompt, added": prompt(f4(9, 8), f4(9, 8), None, f4(2, 1, 5, 5), width=32, do_rotary=1, rotary_interleaved=1, scale=0.3),
    "prompt, both ways": prompt(causal=0),
    "cache, one step": cached([5, 5], 6, told=True),
    "cache, one step of other lengths": cached([5, 3], 6, told=True),
    "cache, computed": cached([5, 3, 2], 6, free=True),
    "cache, a longer buffer": cached([3, 1], 4, turned=True),
    "cache, some steps": cached([7], 8, steps=3, local_window_size=2),
    "cache, some steps of a longer buffer": cached([3], 4, steps=3, held=9, packed=True, turned=True, interleaved=1, softcap=0.7),
    "cache, a prompt": cached([2, 2], 3, steps=3, held=9, turned=True, told=True),
    "cache, added": cached([5], 6, steps=3, held=7, added=f4(1, 4, 3, 6), local_window_size=3, scale=0.3),
    "cache, both ways": cached([3, 5], 6, causal=0),
    "cache, none yet": cached([2], 3, steps=3, held=None, turned=True),
    "trilu": case("Trilu", [f4(2, 3, 5), np.asarray(1)], upper=0),
    "expanded": case("ExpandDims", [f4(2, 3), np.asarray([-1], np.int32)]),
    "range": case("Range", [np.asarray([2], np.int64), np.asarray([9], np.int64), np.asarray([3], np.int64)]),
    "range by one": case("Range", [np.asarray(2.5, np.float32), np.asarray(7, np.float32)]),
    "gather": case("GatherND", [f4(3, 5, 7), np.asarray([[1, 4], [2, 0]], np.int32)]),
    "grid": case("GridSample", [f4(2, 3, 5, 7), f4(2, 4, 3, 2, low=-1.2, high=1.2)], fed=(0, 1), padding_mode="border"),
    "padded": case("Pad", [f4(3, 5), np.asarray([[1, 0, 2, 1]]), np.asarray([0.5], np.float32)]),
    "padded, mirrored": case("Pad", [f4(3, 5), np.asarray([0, 1, 0, 2])], mode="reflect"),
    "distances": case("CDist", [f4(5, 3), f4(7, 3)], fed=(0, 1), metric="euclidean"),
    "distances, squared": case("CDist", [f4(5, 3), f4(7, 3)], fed=(0, 1)),
}  # fmt: skip


# ---- without a kernel on processors: by their documentation, in float64
def _gelu(x: Any) -> Any:
    import math

    return x * 0.5 * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))


def _fast(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _group_norm(x: Any, gamma: Any, beta: Any, groups: int, epsilon: float) -> Any:
    """Channels last."""
    parts = x.reshape(*x.shape[:3], groups, -1)
    mean = parts.mean((1, 2, 4), keepdims=True)
    parts = (parts - mean) / np.sqrt(np.square(parts - mean).mean((1, 2, 4), keepdims=True) + epsilon)
    return parts.reshape(x.shape) * gamma + beta


def _silu(x: Any) -> Any:
    return x / (1 + np.exp(-x))


_X, _B, _SKIP = f4(2, 3, 10, low=-3, high=3), f4(10), f4(2, 3, 10)
_IMAGE, _GAMMA, _BETA, _ADDED, _MORE = f4(2, 3, 5, 6), f4(6), f4(6), f4(2, 6), f4(6)
_WIDE = _X.astype(np.float64)
_W = f4(10, 7)
_SUM = _IMAGE.astype(np.float64) + _ADDED[:, None, None] + _MORE
_NORM = _group_norm(_IMAGE.astype(np.float64), _GAMMA, _BETA, 2, 1e-3)
_FIRST = np.ascontiguousarray(_IMAGE.transpose(0, 3, 1, 2))
_TWICE = _group_norm(_IMAGE * np.float64(2), _GAMMA, _BETA, 3, 1e-5)
_FILTER, _RESIDUAL = f4(7, 6, 1, 1), f4(2, 3, 5, 7)

DOCUMENTED: dict[str, tuple[Any, list[Any]]] = {
    "bias add": (case("BiasAdd", [_X, _B, _SKIP], fed=(0, 2)), [_WIDE + _B + _SKIP]),
    "split gelu": (case("BiasSplitGelu", [_X, _B]), [(_WIDE + _B)[..., :5] * _gelu((_WIDE + _B)[..., 5:])]),
    "product gelu": (case("GemmFastGelu", [_X, _W, f4(7) * 0]), [_fast(_WIDE @ _W)]),
    "dropout": (case("BiasDropout", [_X, _B, _SKIP, np.float32(0.3), np.bool_(False)]), [_WIDE + _B + _SKIP]),
    "dropout with bits": (case("BitmaskBiasDropout", [_X, _B], seed=3), [_WIDE + _B]),
    "plain dropout with bits": (case("BitmaskDropout", [_X]), [_WIDE]),
    "group norm": (case("GroupNorm", [_IMAGE, _GAMMA, _BETA], groups=2, activation=1, epsilon=1e-3), [_silu(_NORM)]),
    "group norm of a sum": (
        case("SkipGroupNorm", [_IMAGE, _GAMMA, _BETA, _ADDED, _MORE], 2, groups=3, activation=0),
        [_group_norm(_SUM, _GAMMA, _BETA, 3, 1e-5), _SUM],
    ),
    "group norm, channels first": (
        case("SkipGroupNorm", [_FIRST, _GAMMA, _BETA, _FIRST], groups=3, activation=0, channels_last=0),
        [_TWICE.transpose(0, 3, 1, 2)],
    ),
    "convolution, channels last": (
        case("NhwcFusedConv", [_IMAGE, _FILTER, None, _RESIDUAL], activation="Relu"),
        [np.maximum(np.einsum("nhwc,mc->nhwm", _IMAGE.astype(np.float64), _FILTER[:, :, 0, 0]) + _RESIDUAL, 0)],
    ),
}
"""(model, feeds) and what it gives."""

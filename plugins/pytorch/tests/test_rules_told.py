"""What the rules of ATen's operators refuse, by its words: calls that only a file written by other hands, or sizes that are not
known, can hold. Each stands beside a neighbour that is taken (``aten_calls.py`` judges by torch what torch itself can call)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import ShapeError, UnsupportedError
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph, Origin
from convcore_pytorch.context import AtenNode, TorchContext
from convcore_pytorch.files.program import ElementType
from convcore_pytorch.rules import RULES
from convcore_pytorch.signatures import REQUIRED, signature

N, M, UNKNOWN = Dim("N"), Dim("M"), None


class T:
    """A tensor that is computed: sizes, and ``f32`` unless said otherwise; ``T(None)``: nothing is known of its shape."""

    def __init__(self, *shape: Any, dtype: Any = "float32") -> None:
        self.shape, self.dtype = None if shape == (None,) else shape, dtype

    def made(self, b: Any, name: str) -> Any:
        return b.input(name, self.dtype, self.shape)


class C:
    """A constant."""

    def __init__(self, *values: Any, dtype: str = "int64") -> None:
        self.values = np.asarray(values, dtype)

    def made(self, b: Any, name: str) -> Any:
        return b.const(self.values)


def reason(target: str, results: Any = (), row_major: bool = False, /, **arguments: Any) -> str:
    """Why no rule takes the call; "" where one does."""
    g = Graph("net")
    b = Builder(g)
    sig = signature(target if target.count(".") > 1 else f"{target}.default")
    assert sig is not None and not arguments.keys() - {p.name for p in sig.parameters}, target

    def made(v: Any, name: str) -> Any:
        return (
            v.made(b, name)
            if isinstance(v, (T, C))
            else [made(i, f"{name}{k}") for k, i in enumerate(v)]
            if isinstance(v, list)
            else v
        )

    given = {
        p.name: made(arguments[p.name], p.name) if p.name in arguments else p.default
        for p in sig.parameters
        if p.name in arguments or p.default is not REQUIRED
    }
    node = AtenNode(target, "n", given, sig, Origin("test", "layer", target), [(None, r) for r in results])
    node.row_major = row_major
    try:
        RULES.apply_load(TorchContext(b), node)
    except UnsupportedError as e:
        (problem,) = e.problems
        assert problem.type in (target, target.replace("_scatter", ""))
        return problem.why
    return ""


I64, BOOL, CPLX, HALF = {"dtype": "int64"}, {"dtype": "bool"}, {"dtype": "complex64"}, {"dtype": "float16"}
X, IMAGE, NUMBERS, FREE, SHAPELESS = T(3, 5), T(2, 3, 6, 8), T(3, 5, **I64), T(N, 5), T(None)
UP, NORM = "aten.upsample_nearest2d", "aten.linalg_matrix_norm"
CELL = {"input": T(2, 7), "hx": [T(2, 3), T(2, 3)], "w_ih": T(12, 7), "w_hh": T(12, 3)}
W = [C(*np.ones((12, n)), dtype="float32") for n in (7, 3)]
LSTM = {
    "input": T(5, 2, 7),
    "hx": [T(1, 2, 3), T(1, 2, 3)],
    "params": W,
    "has_biases": False,
    "num_layers": 1,
    "dropout": 0.0,
    "train": False,
    "bidirectional": False,
    "batch_first": False,
}
QKV = {"query": T(2, 6, 5, 7), "key": T(2, 3, 11, 7), "value": T(2, 3, 11, 7)}
BAG = {"weight": T(9, 4), "indices": T(7, **I64), "offsets": T(3, **I64)}
POOL = {"self": IMAGE, "kernel_size": [2, 2]}
MASKED = {"self": X, "mask": T(3, 5, **BOOL), "values": T(3, 5)}
AT = [T(3, 5, **I64), T(3, 5, **I64)]
HEADS = {"embed_dim": 6, "qkv_weight": T(18, 6), "qkv_bias": T(18), "proj_weight": T(6, 6), "proj_bias": T(6)}
SELF = T(2, 5, 6)
FEED = {"ffn_weight_1": T(7, 6), "ffn_bias_1": T(7), "ffn_weight_2": T(6, 7), "ffn_bias_2": T(6)}
LAYER = {"num_heads": 3, "use_gelu": False, "norm_first": False, "eps": 1e-5, **FEED} | {
    f"norm_{k}_{i}": T(6) for k in ("weight", "bias") for i in (1, 2)
}
SHORT = [(12, 7), (12, 2), (2, 3)]
PROJECTED = {**LSTM, "hx": [T(1, 2, 2), T(1, 2, 3)], "params": [T(*s) for s in SHORT]}
CASES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    # what is said, the operator, a call that is refused, what of it makes it one that is not
    ("of complex64", "aten.floor", {"self": T(3, **CPLX)}, {"self": T(3)}),
    ("rounds whole numbers to powers of ten", "aten.round.decimals", {"self": NUMBERS, "decimals": -1}, {"decimals": 0}),
    ("subtracts bool", "aten.sub.Tensor", {"self": T(3, **BOOL), "other": T(3, **BOOL)}, {"other": T(3, **I64)}),
    ("of complex64", "aten.float_power.Tensor_Scalar", {"self": T(3, **CPLX), "exponent": 2.0}, {"self": T(3, **I64)}),
    (
        "the largest bfloat16 is not written as a constant",
        "aten.nan_to_num",
        {"self": T(3, dtype="bfloat16")},
        {"self": T(3, **HALF)},
    ),
    ("dtype=99 is not read", "aten.to.prim_Device", {"self": X, "device": "cpu", "dtype": 99}, {"dtype": 6}),
    ("dtype=True is not read", "aten.to.prim_Device", {"self": X, "device": "cpu", "dtype": True}, {"dtype": None}),
    # layers
    ("of tensors with several axes", "aten.inner", {"self": X, "other": X}, {"self": T(5), "other": T(5)}),
    ("of tensors with several axes", "aten.inner", {"self": T(5), "other": X}, {"other": T()}),
    ("of tensors with several axes", "aten.inner", {"self": X, "other": T(5)}, {"self": T()}),
    ("'Ab': torch orders capital letters", "aten.einsum", {"equation": "Ab", "tensors": [X]}, {"equation": "Ab->b"}),
    (
        "of int32: whether sums are int64",
        "aten.einsum",
        {"equation": "ab->b", "tensors": [T(3, 5, dtype="int32")]},
        {"tensors": [NUMBERS]},
    ),
    (
        "drops at random, in evaluation too (dropout_p)",
        "aten.scaled_dot_product_attention",
        {**QKV, "key": QKV["query"], "value": QKV["query"], "dropout_p": 0.1},
        {"dropout_p": 0.0},
    ),
    (
        "the numbers of heads are not known",
        "aten.scaled_dot_product_attention",
        {**QKV, "query": T(2, N, 5, 7), "enable_gqa": True},
        {"query": T(2, 6, 5, 7)},
    ),
    (
        "the numbers of heads are not known",
        "aten.scaled_dot_product_attention",
        {**QKV, "key": T(2, N, 11, 7), "enable_gqa": True},
        {"key": T(2, 3, 11, 7)},
    ),
    (
        "the width of a head is not known",
        "aten.scaled_dot_product_attention",
        {"query": T(2, 5, N), "key": T(2, 5, N), "value": T(2, 5, N)},
        {"scale": 0.5},
    ),
    (
        "has a mask beside is_causal",
        "aten.scaled_dot_product_attention",
        {k: T(2, 5, 7) for k in QKV} | {"attn_mask": T(5, 5), "is_causal": True},
        {"attn_mask": None},
    ),
    (
        "the number of axes is not known",
        "aten.convolution",
        {
            "input": IMAGE,
            "weight": SHAPELESS,
            "bias": None,
            "stride": [1, 1],
            "padding": [0, 0],
            "dilation": [1, 1],
            "transposed": False,
            "output_padding": [0, 0],
            "groups": 1,
        },
        {"weight": T(7, 3, 2, 2)},
    ),
    ("the number of axes is not known", "aten.max_pool2d", {**POOL, "self": SHAPELESS}, {"self": T(3, 6, 8)}),
    ("input_scale=2.0 is not known", "aten.elu", {"self": X, "input_scale": 2.0}, {"input_scale": 1}),
    ("is in training mode", "aten.rrelu", {"self": X, "training": True}, {"training": False}),
    ("gives 0 for rows without any finite element", "aten._safe_softmax", {"self": X, "dim": 1}, {}),
    ("is in training mode", "aten.dropout", {"input": X, "p": 0.5, "train": True}, {"train": False}),
    ("is in training mode", "aten.dropout", {"input": X, "p": 0.5, "train": True}, {"p": 0.0}),
    ("is in training mode", "aten.dropout", {"input": X, "p": 0.5, "train": True}, {"p": 1.0}),
    ("is in training mode", "aten.native_dropout", {"input": X, "p": 1.0, "train": True}, {"p": 0.0}),
    (
        "gives a number where torch's own trace",
        "aten.multilabel_margin_loss",
        {"self": T(5), "target": T(5, **I64), "reduction": 0},
        {"reduction": 1},
    ),
    (
        "is in training mode",
        "aten.batch_norm",
        {
            "input": IMAGE,
            "weight": None,
            "bias": None,
            "running_mean": T(3),
            "running_var": T(3),
            "training": True,
            "momentum": 0.1,
            "eps": 1e-5,
            "cudnn_enabled": False,
        },
        {"training": False},
    ),
    # pools
    ("of a tensor without a batch axis", "aten.max_pool2d_with_indices", {**POOL, "self": T(3, 6, 8)}, {"self": IMAGE}),
    ("divides by 0 (divisor_override)", "aten.avg_pool2d", {**POOL, "divisor_override": 0}, {"divisor_override": 3}),
    ("the size of its result is not known", "aten.avg_pool2d", {**POOL, "self": T(2, 3, 6, 8, **I64)}, {"self": IMAGE}),
    # recurrent
    ("its weights are computed", "aten.lstm.input", {**LSTM, "params": [T(12, 7), T(12, 3)]}, {"params": W}),
    ("is in training mode", "aten.lstm.input", {**LSTM, "train": True, "dropout": 0.5}, {"train": False}),
    ("is in training mode", "aten.lstm.input", {**LSTM, "train": True, "dropout": 0.5}, {"dropout": 0.0}),
    ("of 2 axes, 3 are known", "aten.lstm.input", {**LSTM, "input": T(5, 7)}, {"input": T(5, 2, 7)}),
    ("has 2 weights, 4 are known", "aten.lstm.input", {**LSTM, "num_layers": 2}, {"num_layers": 1}),
    ("has 2 weights, 4 are known", "aten.lstm.input", {**LSTM, "has_biases": True}, {"has_biases": False}),
    (
        "its first weight has the shape [10, 7], which is not of 4 gates",
        "aten.lstm.input",
        {**LSTM, "params": [C(*np.ones((10, 7)), dtype="float32"), W[1]]},
        {"params": W},
    ),
    (
        "its first weight has the shape [3, 7], which is not of 4 gates",
        "aten.lstm.input",
        {**LSTM, "params": [C(*np.ones((3, 7)), dtype="float32"), W[1]]},
        {"params": W},
    ),
    (
        "its weight 1 has the shape [12, 4], [12, 3] fits the others",
        "aten.lstm.input",
        {**LSTM, "params": [W[0], C(*np.ones((12, 4)), dtype="float32")]},
        {"params": W},
    ),
    (
        "its weight 0 has the shape [12, 7], [12, 8] fits the others",
        "aten.lstm.input",
        {**LSTM, "input": T(5, 2, 8)},
        {"input": T(5, 2, N)},
    ),
    ("the sizes of its weights are not known", "aten.lstm_cell", {**CELL, "w_hh": T(N, 3)}, {"w_hh": T(12, 3)}),
    ("mode=3 is not known", "aten.embedding_bag", {**BAG, "mode": 3}, {"mode": 2}),
    ("mode=-1 is not known", "aten.embedding_bag", {**BAG, "mode": -1}, {"mode": 0}),
    # counting, diagonals, distances
    ("fewer than two edges", "aten.histogram.bins_tensor", {"self": X, "bins": T(1)}, {"bins": T(2)}),
    ("of int64", "aten.histc", {"self": NUMBERS}, {"self": X}),
    ("of nothing", "aten.histc", {"self": T(0)}, {"self": T(1)}),
    ("takes a diagonal of axis 0, whose size N is symbolic", "aten.diagonal", {"self": FREE}, {"self": X}),
    ("of a tensor with fewer than 2 axes", "aten.diagonal", {"self": T(5)}, {"self": X}),
    ("both axes are the same", "aten.diagonal", {"self": X, "dim1": 0, "dim2": -2}, {"dim2": 1}),
    ("of int64", "aten.dist", {"self": NUMBERS, "other": NUMBERS}, {"other": X}),
    ("pairs the rows of axis 0, whose size N", "aten.pdist", {"self": FREE}, {"self": T(3, N)}),
    ("mask_type=3 is not known", "aten._masked_softmax", {"self": X, "mask": T(3, 5, **BOOL), "mask_type": 3}, {"mask_type": 2}),
    ("along another axis than the last", "aten._masked_softmax", {"self": X, "mask": T(3, 5, **BOOL), "dim": 0}, {"dim": -1}),
    # transforms
    (
        "normalization=3 is not known",
        "aten._fft_c2c",
        {"self": T(3, 5, **CPLX), "dim": [1], "normalization": 3, "forward": True},
        {"normalization": 2},
    ),
    (
        "transforms axis 0, whose size N is symbolic",
        "aten._fft_c2c",
        {"self": T(N, 5, **CPLX), "dim": [0], "normalization": 1, "forward": True},
        {"normalization": 0},
    ),
    (
        "gives 0 elements",
        "aten._fft_c2r",
        {"self": T(3, 5, **CPLX), "dim": [1], "normalization": 0, "last_dim_size": 0},
        {"last_dim_size": 1},
    ),
    (
        "gives N elements",
        "aten._fft_c2r",
        {"self": T(3, 5, **CPLX), "dim": [1], "normalization": 0, "last_dim_size": N},
        {"last_dim_size": 9},
    ),
    (
        "5 frequencies for 10 elements",
        "aten._fft_c2r",
        {"self": T(3, 5, **CPLX), "dim": [1], "normalization": 0, "last_dim_size": 10},
        {"last_dim_size": 8},
    ),
    (
        "aligns windows of win_length",
        "aten.stft",
        {"self": T(9), "n_fft": 4, "align_to_window": True},
        {"align_to_window": False},
    ),
    ("one-sided, of complex numbers", "aten.stft", {"self": T(9, **CPLX), "n_fft": 4, "onesided": True}, {"onesided": False}),
    ("of 0 elements", "aten.fft_fft", {"self": X, "n": 0}, {"n": 1}),
    ("norm='odd' is not known", "aten.fft_fft", {"self": X, "norm": "odd"}, {"norm": "ortho"}),
    ("transforms axis 0, whose size N is symbolic", "aten.fft_ifft", {"self": FREE, "dim": 0}, {"norm": "forward"}),
    ("2 lengths for 1 axes", "aten.fft_fftn", {"self": X, "s": [4, 4], "dim": [1]}, {"s": [4]}),
    ("an axis twice", "aten.fft_fftn", {"self": X, "dim": [1, -1]}, {"dim": [1, 0]}),
    ("of complex numbers", "aten.fft_rfft", {"self": T(5, **CPLX)}, {"self": T(5, **I64)}),
    ("along no axis", "aten.fft_rfftn", {"self": X, "dim": []}, {"dim": [0]}),
    ("along no axis", "aten.fft_irfftn", {"self": X, "dim": []}, {"dim": [0]}),
    ("gives 0 elements", "aten.fft_irfft", {"self": T(1, **CPLX)}, {"self": T(2, **CPLX)}),
    ("0 numbers of float32", "aten.fft_fftfreq", {"n": 0}, {"n": 1}),
    ("4 numbers of int64", "aten.fft_fftfreq", {"n": 4, "dtype": ElementType("int64")}, {"dtype": ElementType("float64")}),
    # images
    (
        "is antialiased with align_corners",
        "aten._upsample_bilinear2d_aa",
        {"self": IMAGE, "output_size": [3, 4], "align_corners": True},
        {"align_corners": False},
    ),
    (
        "has factors of some axes and not of others",
        "aten.upsample_bilinear2d",
        {"self": IMAGE, "output_size": [3, 4], "align_corners": False, "scales_h": 0.5},
        {"align_corners": True},
    ),
    (
        "has factors of some axes and not of others",
        UP,
        {"self": IMAGE, "output_size": [12, 16], "scales_w": 2.0},
        {"scales_h": 2.0},
    ),
    ("has factors of some axes", UP, {"self": IMAGE, "output_size": [12, 16], "scales_w": 2.0}, {"scales_w": 0.0}),
    (
        "has neither a size nor scales",
        f"{UP}.vec",
        {"input": IMAGE, "output_size": None, "scale_factors": None},
        {"output_size": [12, 16]},
    ),
    (
        "the size of the result is not known",
        "aten.upsample_bilinear2d.vec",
        {"input": T(2, 3, N, 5), "output_size": None, "align_corners": True, "scale_factors": [2.0, 2.0]},
        {"input": T(2, 3, 4, 5)},
    ),
    ("of 3 axes, 4 are known", "aten.pixel_shuffle", {"self": T(4, 3, 5), "upscale_factor": 2}, {"self": T(1, 4, 3, 5)}),
    (
        "interpolation_mode=3, padding_mode=0",
        "aten.grid_sampler",
        {"input": IMAGE, "grid": T(2, 4, 4, 2), "interpolation_mode": 3, "padding_mode": 0, "align_corners": False},
        {"interpolation_mode": 2},
    ),
    (
        "interpolation_mode=0, padding_mode=3",
        "aten.grid_sampler",
        {"input": IMAGE, "grid": T(2, 4, 4, 2), "interpolation_mode": 0, "padding_mode": 3, "align_corners": False},
        {"padding_mode": 2},
    ),
    (
        "of 3 axes, 4 are known",
        "aten.im2col",
        {"self": T(3, 6, 8), "kernel_size": [2, 2], "dilation": [1, 1], "padding": [0, 0], "stride": [1, 1]},
        {"self": IMAGE},
    ),
    (
        "of 2 axes, 3 are known",
        "aten.col2im",
        {
            "self": T(12, 35),
            "output_size": [6, 8],
            "kernel_size": [2, 2],
            "dilation": [1, 1],
            "padding": [0, 0],
            "stride": [1, 1],
        },
        {"self": T(2, 12, 35)},
    ),
    (
        "the shape is not known",
        "aten.im2col",
        {"self": T(2, 3, UNKNOWN, 8), "kernel_size": [2, 2], "dilation": [1, 1], "padding": [0, 0], "stride": [1, 1]},
        {"self": IMAGE},
    ),
    (
        "which elements it takes depends on how a size that is not known is rounded",
        UP,
        {"self": T(2, 3, 14, N), "output_size": [46, N]},
        {"self": T(2, 3, 14, 5), "output_size": [46, 9]},
    ),
    # layers as one operator
    (
        "its last axis is symbolic",
        "aten._transformer_encoder_layer_fwd",
        {**HEADS, **LAYER, "src": T(2, 5, N)},
        {"src": SELF},
    ),
    ("its weights are computed", "aten.lstm.input", PROJECTED, {"params": [C(*np.ones(s), dtype="float32") for s in SHORT]}),
    # picks
    ("selects by a tensor with axes", "aten.select.int", {"self": X, "dim": 0, "index": T(1, **I64)}, {"index": T(**I64)}),
    ("its indices are no list", "aten.index.Tensor", {"self": X, "indices": T(2, **I64)}, {"indices": [T(2, **I64)]}),
    ("an index is no tensor", "aten.index.Tensor", {"self": X, "indices": [None, 3]}, {"indices": [None, C(3)]}),
    (
        "picks by a mask, whose result has a size",
        "aten.index.Tensor",
        {"self": X, "indices": [None, T(5, **BOOL)]},
        {"indices": [None, C(True, False, True, True, False, dtype="bool")]},
    ),
    (
        "picks by a mask, whose result has a size",
        "aten.index.Tensor",
        {"self": X, "indices": [T(3, dtype="uint8")]},
        {"indices": [T(3, **BOOL)]},
    ),
    ("the shape of 'indices0' is not known", "aten.index.Tensor", {"self": X, "indices": [T(UNKNOWN, **I64), T(2, **I64)]}, {}),
    (
        "the shapes of its indices are not known",
        "aten.index.Tensor",
        {"self": X, "indices": [T(N - 1, **I64), T(M - 1, **I64)]},
        {"indices": [T(N, **I64), T(1, **I64)]},
    ),
    (
        "adds to the elements of a mask",
        "aten.index_put",
        {"self": X, "indices": [T(3, **BOOL)], "values": T(), "accumulate": True},
        {"accumulate": False},
    ),
    ("has no index", "aten.index_put", {"self": X, "indices": [None], "values": T()}, {"indices": [C(0)]}),
    (
        "writes to elements by indices that may repeat",
        "aten.index_put",
        {"self": X, "indices": [C(0, 1, 0)], "values": T(3, 5)},
        {"accumulate": True},
    ),
    (
        "writes to elements by indices that may repeat",
        "aten.index_put",
        {"self": X, "indices": [C(0, 1, 0), C(1, 2, 1)], "values": T(3)},
        {"indices": [C(0, 1, 0), C(1, 2, 2)]},
    ),
    (
        "puts values of a shape that depends on the mask",
        "aten.index_put",
        {"self": X, "indices": [T(3, 5, **BOOL)], "values": T(2, 4)},
        {"values": T(4)},
    ),
    (
        "has no index for some axis",
        "aten._unsafe_masked_index",
        {"self": X, "mask": T(3, 5, **BOOL), "indices": AT[:1], "fill": 0},
        {"indices": AT},
    ),
    (
        "has no index for some axis",
        "aten._unsafe_masked_index",
        {"self": X, "mask": T(3, 5, **BOOL), "indices": [*AT, None], "fill": 0},
        {"indices": AT},
    ),
    (
        "has no index for some axis",
        "aten._unsafe_masked_index_put_accumulate",
        {**MASKED, "indices": [None, AT[0]]},
        {"indices": AT},
    ),
    ("has no index for some axis", "aten._unsafe_masked_index_put_accumulate", {**MASKED, "indices": AT[:1]}, {"indices": AT}),
    (
        "reduce='odd' is not known",
        "aten.scatter.reduce",
        {"self": X, "dim": 0, "index": T(3, 5, **I64), "src": X, "reduce": "odd"},
        {"reduce": "multiply"},
    ),
    (
        "scatters into a number",
        "aten.scatter.value",
        {"self": T(), "dim": 0, "index": T(**I64), "value": 1.0},
        {"self": T(1), "index": T(1, **I64)},
    ),
    ("fills a number", "aten.index_fill.int_Scalar", {"self": T(), "dim": 0, "index": T(**I64), "value": 1.0}, {"self": T(1)}),
    ("replaces a part that is not known", "aten.select_scatter", {"self": T(), "src": T(), "dim": 0, "index": 0}, {"self": T(5)}),
    (
        "a write to every 2-th element of an axis whose size is not fixed",
        "aten.slice_scatter",
        {"self": FREE, "src": FREE, "start": 1, "step": 2},
        {"self": T(7, 5), "src": T(3, 5)},
    ),
    ("of 0 elements each", "aten.combinations", {"self": T(5), "r": 0}, {"r": 1}),
    ("of N elements, a symbolic size", "aten.combinations", {"self": T(N)}, {"self": T(5)}),
    ("num_classes=-1 depends on the data", "aten.one_hot", {"self": T(5, **I64), "num_classes": -1}, {"num_classes": 4}),
    ("goes from 0 to 3 in steps of 0", "aten.arange.start_step", {"start": 0, "end": 3, "step": 0}, {"step": 1}),
    (
        "goes from 0 to 3 in steps of 0",
        "aten.arange.start_step",
        {"start": 0, "end": 3, "step": 0.5, "dtype": ElementType("int64")},
        {"dtype": None},
    ),
    # what torch itself refuses, and a damaged file may hold
    ("its argument chunks=0 is below 1", "aten.chunk", {"self": X, "chunks": 0}, {"chunks": 1}),
    (
        "its argument group=0 is below 1",
        "aten.native_group_norm",
        {"input": IMAGE, "weight": None, "bias": None, "N": 2, "C": 3, "HxW": 48, "group": 0, "eps": 0.1},
        {"group": 1},
    ),
    (
        "its argument downscale_factor=0 is below 1",
        "aten.pixel_unshuffle",
        {"self": IMAGE, "downscale_factor": 0},
        {"downscale_factor": 1},
    ),
    ("its argument n=-1 is below 0", "aten.polygamma", {"n": -1, "self": X}, {"n": 0}),
    ("its argument steps=-1 is below 0", "aten.linspace", {"start": 0, "end": 1, "steps": -1}, {"steps": 0}),
    ("its argument n_fft=0 is below 1", "aten.stft", {"self": T(9), "n_fft": 0}, {"n_fft": 4}),
    ("goes in steps of 0 (hop_length)", "aten.stft", {"self": T(9), "n_fft": 4, "hop_length": 0}, {"hop_length": 1}),
    ("its argument win_length=0 is below 1", "aten.stft", {"self": T(9), "n_fft": 4, "win_length": 0}, {"win_length": 1}),
    ("along no axis", "aten._fft_r2c", {"self": X, "dim": [], "normalization": 0, "onesided": True}, {"dim": [0]}),
    (
        "along no axis",
        "aten._fft_c2r",
        {"self": T(3, 5, **CPLX), "dim": [], "normalization": 0, "last_dim_size": 8},
        {"dim": [1]},
    ),
    *(
        (
            "moves axes to places that are not as many, or not distinct",
            "aten.movedim.intlist",
            {"self": T(2, 3, 5), "source": s, "destination": d},
            {"source": [0, 1], "destination": [2, 0]},
        )
        for s, d in (([0], [1, 2]), ([0, 1], [2]), ([0, 1], [2, -1]), ([0, -3], [1, 2]))
    ),
    ("goes in steps of 0 (hop_length)", "aten.stft", {"self": T(9), "n_fft": 3}, {"hop_length": 1}),
    ("turns 1 axes", "aten.rot90", {"self": X, "dims": [1]}, {"dims": [1, 0]}),
    ("turns 3 axes", "aten.rot90", {"self": T(2, 3, 5), "dims": [0, 1, 2]}, {"dims": [1, 0]}),
    *(
        (
            f"goes from {a} to {b} in steps of {c}",
            "aten.arange.start_step",
            {"start": a, "end": b, "step": c},
            {"step": 1, **good},
        )
        for a, b, c, good in (
            (0.0, math.inf, 1, {"end": 3}),
            (-math.inf, 3, 1, {"start": 0}),
            (math.nan, 3, 1, {"start": 0}),
            (0, 3, math.nan, {}),
            (0, math.inf, math.inf, {"end": 3, "step": math.inf}),
            (3, 0, 1, {"end": 3}),
            (0, 3, -1, {}),
        )
    ),
    (
        "goes from 0 to 3 in steps of inf",
        "aten.arange.start_step",
        {"start": 0, "end": 3, "step": math.inf, "dtype": ElementType("int64")},
        {"step": 1},
    ),
    ("its argument window_length=-1 is below 0", "aten.hann_window", {"window_length": -1}, {"window_length": 0}),
    ("its argument step=0 is below 1", "aten.unfold", {"self": X, "dimension": 0, "size": 1, "step": 0}, {"step": 1}),
    ("its argument size=-1 is below 0", "aten.unfold", {"self": X, "dimension": 0, "size": -1, "step": 1}, {"size": 1}),
    ("its argument split_size=0 is below 1", "aten.split.Tensor", {"self": X, "split_size": 0}, {"split_size": 1}),
    ("its argument split_size=-1 is below 0", "aten.split.Tensor", {"self": T(0, 3), "split_size": -1}, {"split_size": 0}),
    ("its argument sections=0 is below 1", "aten.tensor_split.sections", {"self": X, "sections": 0}, {"sections": 2}),
    ("rolls 1 axes by 2 numbers", "aten.roll", {"self": X, "shifts": [1, 2], "dims": [0]}, {"dims": [0, 1]}),
    ("turns 1 axes", "aten.rot90", {"self": X, "dims": [1, 1]}, {"dims": [1, 0]}),
    ("its argument k=0 is below 1", "aten.kthvalue", {"self": X, "k": 0}, {"k": 1}),
    ("its argument length=-1 is below 0", "aten.narrow", {"self": X, "dim": 0, "start": 0, "length": -1}, {"length": 1}),
    ("or not there", "aten.transpose.int", {"self": X, "dim0": 0, "dim1": 2}, {"dim1": -1}),
    ("or not there", "aten.swapaxes", {"self": X, "axis0": -3, "axis1": 0}, {"axis0": -2}),
    ("or not there", "aten.permute", {"self": X, "dims": [0, 3]}, {"dims": [0, 1]}),
    ("or not there", "aten.movedim.int", {"self": X, "source": 0, "destination": 2}, {"destination": 1}),
    # losses
    ("reduction=3 is not known", "aten.mse_loss", {"self": X, "target": X, "reduction": 3}, {"reduction": 2}),
    ("reduction=-1 is not known", "aten.mse_loss", {"self": X, "target": X, "reduction": -1}, {"reduction": 0}),
    ("delta=0.0", "aten.huber_loss", {"self": X, "target": X, "delta": 0.0}, {"delta": 0.1}),
    ("delta=-1.0", "aten.huber_loss", {"self": X, "target": X, "delta": -1.0}, {"delta": 1.0}),
    ("of 2 axes, targets of int32", "aten.nll_loss_nd", {"self": X, "target": T(3, dtype="int32")}, {"target": T(3, **I64)}),
    ("of 0 axes, targets of int64", "aten.nll_loss_nd", {"self": T(), "target": T(**I64)}, {"self": T(5)}),
    (
        "smooths over a symbolic number of classes",
        "aten.cross_entropy_loss",
        {"self": T(3, N), "target": T(3, **I64), "label_smoothing": 0.1},
        {"label_smoothing": 0.0},
    ),
    (
        "smooths over a symbolic number of classes",
        "aten.cross_entropy_loss",
        {"self": T(3, N), "target": T(3, N), "label_smoothing": 0.1},
        {"label_smoothing": 0.0},
    ),
    (
        "targets that are neither classes nor probabilities",
        "aten.cross_entropy_loss",
        {"self": X, "target": T(5, 3)},
        {"target": T(3, 5)},
    ),
    # matrices, norms
    ("without pivots", "aten.linalg_lu", {"A": T(4, 4), "pivot": False}, {"pivot": True}),
    ("of float16", "aten.linalg_inv_ex", {"A": T(4, 4, **HALF)}, {"A": T(4, 4)}),
    ("of a tensor with fewer than 2 axes", "aten.linalg_inv_ex", {"A": T(4)}, {"A": T(4, 4)}),
    ("of 4 x 3 elements", "aten.linalg_inv_ex", {"A": T(4, 3)}, {"A": T(4, 4)}),
    ("goes over axis 1, whose size N is symbolic", "aten.linalg_inv_ex", {"A": T(4, N)}, {"A": T(4, 4)}),
    ("mode='odd' is not known", "aten.linalg_qr", {"A": T(4, 3), "mode": "odd"}, {"mode": "r"}),
    (
        "its epsilon is that of a type numpy does not know",
        "aten.rms_norm",
        {"input": T(3, 5, dtype="bfloat16"), "normalized_shape": [5]},
        {"eps": 0.1},
    ),
    ("of int64", NORM, {"self": NUMBERS, "ord": 1}, {"self": X}),
    ("of None", NORM, {"self": T(3, 5, dtype=None), "ord": 1}, {"self": X}),
    ("ord=2 needs singular values", NORM, {"self": X, "ord": 2}, {"ord": 1}),
    ("ord=-2 needs singular values", NORM, {"self": X, "ord": -2}, {"ord": -1}),
    ("ord='nuc' needs singular values", f"{NORM}.str_ord", {"self": X, "ord": "nuc"}, {"ord": "fro"}),
    ("ord='odd' needs", f"{NORM}.str_ord", {"self": X, "ord": "odd"}, {}),
    ("ord=3 is none of a matrix", NORM, {"self": X, "ord": 3}, {"ord": float("-inf")}),
    ("a matrix has two axes", NORM, {"self": X, "ord": 1, "dim": [1, -1]}, {"dim": [1, 0]}),
    ("a matrix has two axes", NORM, {"self": T(2, 3, 5), "ord": 1, "dim": [0, 1, 2]}, {"dim": [2, 0]}),
    ("ord=1 along 3 of 3 axes", "aten.linalg_norm", {"self": T(2, 3, 5), "ord": 1}, {"dim": [0, 2]}),
    ("of tensors without axes", "aten.cosine_similarity", {"x1": T(), "x2": T(), "dim": 0}, {"x1": T(5)}),
    ("of int64, 2 axes", "aten.pairwise_distance", {"x1": NUMBERS, "x2": NUMBERS}, {"x2": X}),
    ("of float32, 0 axes", "aten.pairwise_distance", {"x1": T(), "x2": T()}, {"x1": T(5)}),
    ("of float16", "aten.renorm", {"self": T(3, 5, **HALF), "p": 2, "dim": 0, "maxnorm": 1.0}, {"self": X}),
    # reductions, orders, running
    ("correction=0.5 over a symbolic number of elements", "aten.var.correction", {"self": FREE, "correction": 0.5}, {"dim": [1]}),
    ("of bool", "aten.diff", {"self": T(5, **BOOL)}, {"n": 0}),
    ("runs over 2049 elements; 2048 is the most", "aten.logcumsumexp", {"self": T(2049), "dim": 0}, {"self": T(2048)}),
    ("of complex64", "aten.cummax", {"self": T(5, **CPLX), "dim": 0}, {"self": T(5, **BOOL)}),
    ("of None", "aten.cummin", {"self": T(5, dtype=None), "dim": 0}, {"self": T(5)}),
    ("of nothing", "aten.median", {"self": T(0)}, {"self": T(1)}),
    (
        "reduce='odd' of float32",
        "aten.scatter_reduce.two",
        {"self": X, "dim": 0, "index": T(3, 5, **I64), "src": X, "reduce": "odd"},
        {"reduce": "mean"},
    ),
    (
        "reduce='mean' of bool",
        "aten.scatter_reduce.two",
        {"self": T(3, **BOOL), "dim": 0, "index": T(3, **I64), "src": T(3, **BOOL), "reduce": "mean"},
        {"reduce": "sum"},
    ),
    ("counts floating numbers", "aten.mode", {"self": X}, {"self": NUMBERS}),
    ("counts 2049 elements; 2048 is the most", "aten.mode", {"self": T(2049, **I64)}, {"self": T(2048, **I64)}),
    ("counts along axis 1, whose size N", "aten.mode", {"self": T(3, N, **I64)}, {"dim": 0}),
    ("sizes that are not known", "aten.nonzero_static", {"self": X, "size": N}, {"size": 4}),
    ("of floating numbers, among which every nan is distinct", "aten.unique_dim", {"self": X, "dim": 0}, {"self": NUMBERS}),
    ("of nothing", "aten.unique_consecutive", {"self": T(0, **I64)}, {"self": T(1, **I64)}),
    ("orders truth values without stable=True", "aten.argsort.stable", {"self": T(5, **BOOL), "stable": False}, {"stable": True}),
    ("orders truth values without stable=True", "aten.argsort", {"self": T(5, **BOOL)}, {"self": T(5)}),
    ("the derivative of order 31", "aten.polygamma", {"n": 31, "self": X}, {"n": 30}),
    ("of float32", "aten.gcd", {"self": X, "other": X}, {"self": NUMBERS, "other": NUMBERS}),
    ("of bool", "aten.gcd", {"self": T(3, **BOOL), "other": T(3, **BOOL)}, {"other": T(3, **I64)}),
    ("of float16", "aten.frexp.Tensor", {"self": T(3, **HALF)}, {"self": T(3)}),
    (
        "of bool",
        "aten.addr",
        {"self": T(3, 5, **BOOL), "vec1": T(3, **BOOL), "vec2": T(5, **BOOL)},
        {"self": X, "vec1": T(3), "vec2": T(5)},
    ),
    ("of bool", "aten.aminmax", {"self": T(3, **BOOL)}, {"self": T(3, **I64)}),
    ("of vectors that have not 3 elements", "aten.linalg_cross", {"self": T(4, 3), "other": T(4, 3), "dim": 0}, {"dim": 1}),
    (
        "of vectors that have not 3 elements",
        "aten.cross",
        {"self": T(4, 2), "other": T(4, 2)},
        {"self": T(3, 2), "other": T(3, 2)},
    ),
    # shapes
    ("reads the bytes of a tensor as another type", "aten.view.dtype", {"self": X, "dtype": ElementType("int32")}, {}),
    (
        "flattens axes of unknown sizes",
        "aten.flatten.using_ints",
        {"self": T(3, UNKNOWN, 5), "start_dim": 1},
        {"self": T(3, N, 5)},
    ),
    ("the number of axes is not known", "aten.squeeze", {"self": SHAPELESS}, {"self": X}),
    ("squeezes every axis of size 1, and axis 0 has the symbolic size N", "aten.squeeze", {"self": FREE}, {"self": T(1, 5)}),
    ("squeezes axis 0, whose size N is symbolic", "aten.squeeze.dim", {"self": FREE, "dim": 0}, {"dim": 1}),
    ("squeezes axis 0, whose size None is symbolic", "aten.squeeze.dims", {"self": T(UNKNOWN, 5), "dim": [1, 0]}, {"dim": [1]}),
    ("the number of axes is not known", "aten.cat", {"tensors": [SHAPELESS, X]}, {"tensors": [X, X]}),
    ("splits axis 0, whose size N is symbolic", "aten.split.Tensor", {"self": FREE, "split_size": 2}, {"dim": 1}),
    ("splits axis 0, whose size N is symbolic", "aten.chunk", {"self": FREE, "chunks": 2}, {"dim": 1}),
    ("splits axis 0, whose size N is symbolic", "aten.tensor_split.sections", {"self": FREE, "sections": 2}, {"dim": 1}),
    (
        "splits at indices that do not ascend",
        "aten.tensor_split.indices",
        {"self": X, "indices": [2, 1], "dim": 1},
        {"indices": [1, 1]},
    ),
    ("takes axis 0 apart, whose size N is symbolic", "aten.unbind.int", {"self": FREE}, {"dim": 1}),
    ("mode='odd' is not known", "aten.pad", {"self": X, "pad": [1, 1], "mode": "odd"}, {"mode": "reflect"}),
    (
        "pads by less than nothing in mode replicate",
        "aten.pad",
        {"self": X, "pad": [1, -1], "mode": "replicate"},
        {"mode": "constant"},
    ),
    ("pads by less than nothing in mode circular", "aten.pad", {"self": X, "pad": [-1, 1], "mode": "circular"}, {"pad": [0, 1]}),
    (
        "sees the memory of a tensor that may be a part of another one",
        "aten.as_strided",
        {"self": X, "size": [3], "stride": [1]},
        {},
    ),
    ("draws random numbers, so that no two runs are the same", "aten.rand_like", {"self": X}, {}),
]


@pytest.mark.parametrize("at", range(len(CASES)), ids=[f"{c[1].removeprefix('aten.')}-{i}" for i, c in enumerate(CASES)])
def test_refused_and_its_neighbour(at: int) -> None:
    why, target, arguments, fine = CASES[at]
    assert why in reason(target, **arguments)
    if fine:
        assert reason(target, **{**arguments, **fine}) == ""


def test_chunks_of_a_size_that_is_not_known() -> None:
    """As many results as chunks were asked for, or not."""
    call = {"self": FREE, "chunks": 3}
    assert reason("aten.chunk", [(2, 5)] * 3, **call).endswith("is symbolic, into 3") and not reason(
        "aten.chunk", [(2, 5)] * 2, **call
    ).endswith("into 3")


def test_attention_of_a_tensor_to_itself() -> None:
    """One value as query, key and value; equal ones are not the same."""
    call = {**HEADS, "num_head": 3, "query": SELF, "key": SELF}
    assert "of queries that are not the keys and values" in reason("aten._native_multi_head_attention", **call, value=SELF)


@pytest.mark.parametrize(
    ("target", "more"),
    [("adjoint", {}), ("mH", {}), ("matrix_H", {}), ("t", {}), ("numpy_T", {}), ("transpose.int", {"dim0": 0, "dim1": -1}),
     ("movedim.int", {"source": 0, "destination": -1}), ("permute", {"dims": []}), ("swapaxes", {"axis0": 0, "axis1": 0})],
)  # fmt: skip
def test_tensors_without_axes_are_turned(target: str, more: dict[str, Any]) -> None:
    """As torch takes them."""
    assert reason(f"aten.{target}", self=T(), **more) == ""


def test_memory_in_c_order() -> None:
    call: dict[str, Any] = {"self": X, "size": [3, 2], "stride": [5, 1]}
    assert reason("aten.as_strided", (), True, **call) == ""
    for more, why in (
        ({"storage_offset": 4}, "sees memory outside of the tensor"),
        ({"storage_offset": 3}, ""),
        ({"size": [4, 2]}, "outside"),
        ({"stride": [-1, 1]}, "outside"),
        ({"size": [-1, 2]}, "is below 0"),
        ({"size": [0, 2], "storage_offset": 99}, ""),
        ({"self": FREE}, "sees axis 0, whose size"),
    ):
        said = reason("aten.as_strided", (), True, **{**call, **more})
        assert why in said and bool(why) == bool(said)
    src = {"src": T(3, 2)}
    assert reason("aten.as_strided_scatter", (), True, **call, **src) == ""
    assert "writes to the same memory more than once" in reason(
        "aten.as_strided_scatter", (), True, **{**call, "stride": [1, 1]}, **src
    )


def test_heads_share_their_keys() -> None:
    """``enable_gqa``: keys for 2 heads each; what does not divide cannot be built."""
    assert reason("aten.scaled_dot_product_attention", **QKV, enable_gqa=True) == ""
    with pytest.raises(ShapeError):
        reason("aten.scaled_dot_product_attention", **QKV)


def test_elements_of_an_image_that_torch_picks_its_own_way() -> None:
    from convcore_pytorch.rules.image import other_picks, torch_picks

    torch = pytest.importorskip("torch")
    for n, m, exact in ((7, 3, False), (3, 7, False), (11, 27, True), (27, 11, True), (5, 5, False), (1, 4, True), (9, 1, False)):
        x = torch.arange(n, dtype=torch.float32).reshape(1, 1, n)
        want = torch.nn.functional.interpolate(x, m, mode="nearest-exact" if exact else "nearest")[0, 0]
        assert torch_picks(n, m, None, exact).tolist() == want.tolist()
        how = ("half_pixel", "round_prefer_ceil") if exact else ("asymmetric", "floor")
        found = other_picks(n, m, None, *how, None)
        assert found is None or found.tolist() == want.tolist()
    for scale in (0.7, 1.3, 2.5):
        want = torch.nn.functional.interpolate(torch.arange(11.0).reshape(1, 1, 11), scale_factor=scale, mode="nearest")[0, 0]
        assert torch_picks(11, len(want), scale, False).tolist() == want.tolist()
    assert other_picks(N, 3, None, "asymmetric", "floor", None) is None is other_picks(3, N, None, "asymmetric", "floor", None)
    assert other_picks(0, 3, None, "asymmetric", "floor", None) is None is other_picks(3, 0, None, "asymmetric", "floor", None)

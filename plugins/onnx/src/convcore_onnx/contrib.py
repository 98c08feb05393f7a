"""Operators of com.microsoft that are read: what their contrib documentation asks of a node (onnxruntime 1.32, ContribOperators).

onnx has no schemas of them, so they are data here: damaged nodes are told apart before rules see them, as the standard's are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

__all__ = ["DOMAIN", "FORMS", "NAMELESS", "ContribForm", "form"]

DOMAIN = "com.microsoft"

NAMELESS = frozenset({"SimplifiedLayerNormalization"})
"""Operators of onnxruntime that it has in the standard's domain, though the standard has none of the name."""

_KIND = {"float": 1, "int": 2, "text": 3, "floats": 6, "ints": 7, "texts": 8}
_LSTM = (
    "activation_alpha:floats activation_beta:floats activations:texts clip:float direction:text hidden_size:int input_forget:int"
)
_WINDOW = "auto_pad:text kernel_shape:ints pads:ints strides:ints"
_CONV = f"{_WINDOW} dilations:ints group:int"

FORMS: dict[str, tuple[str, int, str]] = {
    # on stored integers: an operand is stored, scale, zero point
    "QuantizeLinear": ("x y_scale y_zero_point?", 1, "axis:int"),
    "DequantizeLinear": ("x x_scale x_zero_point?", 1, "axis:int"),
    **dict.fromkeys(
        ("QLinearAdd", "QLinearMul"), ("A A_scale A_zero_point? B B_scale B_zero_point? C_scale C_zero_point?", 1, "")
    ),
    "QLinearSigmoid": ("X X_scale X_zero_point? Y_scale Y_zero_point?", 1, ""),
    "QLinearLeakyRelu": ("X X_scale X_zero_point? Y_scale Y_zero_point?", 1, "alpha:float"),
    "QLinearSoftmax": ("X X_scale x_zero_point? y_scale y_zero_point", 1, "axis:int opset:int!"),
    "QLinearReduceMean": (
        "data data_scale data_zero_point? reduced_scale reduced_zero_point?", 1, "axes:ints! keepdims:int!",
    ),
    "QLinearGlobalAveragePool": ("X x_scale x_zero_point y_scale y_zero_point", 1, "channels_last:int"),
    "QLinearAveragePool": (
        "X x_scale x_zero_point? y_scale y_zero_point?", 1,
        "auto_pad:text ceil_mode:int channels_last:int count_include_pad:int kernel_shape:ints! pads:ints strides:ints",
    ),
    "QLinearConcat": ("Y_scale Y_zero_point inputs*", 1, "axis:int!"),
    "QLinearWhere": ("condition X x_scale x_zero_point Y y_scale y_zero_point z_scale z_zero_point", 1, ""),
    "QLinearConv": (
        "x x_scale x_zero_point w w_scale w_zero_point y_scale y_zero_point B?", 1, f"{_CONV} channels_last:int",
    ),
    # products
    "QGemm": (
        "A a_scale a_zero_point B b_scale b_zero_point C? y_scale? y_zero_point?", 1, "alpha:float transA:int transB:int",
    ),
    "MatMulIntegerToFloat": ("A B a_scale b_scale a_zero_point? b_zero_point? bias?", 1, ""),
    "DynamicQuantizeMatMul": ("A B b_scale b_zero_point? bias?", 1, ""),
    "MatMulNBits": (
        "A B scales zero_points? g_idx? bias?", 1,
        "K:int! N:int! accuracy_level:int bits:int block_size:int! weight_prepacked:int",
    ),
    "MatMulBnb4": (
        "A B absmax", 1, "K:int! N:int! block_size:int! quant_type:int! training_mode:int transB:int",
    ),
    "GatherBlockQuantized": (
        "data indices scales zero_points?", 1, "bits:int block_size:int gather_axis:int quantize_axis:int",
    ),
    "DynamicQuantizeLSTM": (
        "X W R B? sequence_lens? initial_h? initial_c? P? W_scale W_zero_point R_scale R_zero_point", 3, _LSTM,
    ),
    "QAttention": (
        "input weight bias input_scale weight_scale mask_index? input_zero_point? weight_zero_point? past?", 2,
        "do_rotary:int mask_filter_value:float num_heads:int! past_present_share_buffer:int scale:float unidirectional:int",
    ),
    # what onnxruntime's optimisers write
    "FusedConv": ("X W B? Z?", 1, f"{_CONV} activation:text activation_params:floats"),
    **dict.fromkeys(("FusedMatMul", "TransposeMatMul"), (
        "A B", 1, "alpha:float transA:int transB:int transBatchA:int transBatchB:int",
    )),
    "NhwcFusedConv": ("X W B? Z?", 1, f"{_CONV} activation:text activation_params:floats"),
    "NhwcMaxPool": ("x", 1, "auto_pad:text ceil_mode:int dilations:ints kernel_shape:ints! pads:ints strides:ints"),
    "FusedGemm": (
        "A B C?", 1,
        "activation:text activation_alpha:float activation_beta:float activation_gamma:float alpha:float beta:float transA:int "
        "transB:int",
    ),
    "Gelu": ("X", 1, ""),
    "QuickGelu": ("X", 1, "alpha:float"),
    "FastGelu": ("X bias?", 1, ""),
    "BiasGelu": ("A B", 1, ""),
    "GemmFastGelu": ("X W bias?", 1, ""),
    "BiasAdd": ("X bias skip", 1, ""),
    "BiasSplitGelu": ("X bias", 1, ""),
    **dict.fromkeys(("BiasDropout", "BitmaskBiasDropout"), ("data bias residual? ratio? training_mode?", 2, "seed:int")),
    "BitmaskDropout": ("data ratio? training_mode?", 2, "seed:int"),
    "GroupNorm": ("X gamma beta", 1, "activation:int! channels_last:int epsilon:float groups:int!"),
    "SkipGroupNorm": ("X gamma beta skip bias?", 2, "activation:int! channels_last:int epsilon:float groups:int!"),
    "SkipLayerNormalization": ("input skip gamma beta? bias?", 4, "epsilon:float"),
    "SkipSimplifiedLayerNormalization": ("input skip gamma bias?", 4, "epsilon:float"),
    "Attention": (
        "input weights bias? mask_index? past? attention_bias? past_sequence_length?", 2,
        "do_rotary:int mask_filter_value:float num_heads:int! past_present_share_buffer:int qkv_hidden_sizes:ints "
        "rotary_embedding_dim:int scale:float unidirectional:int",
    ),
    "MultiHeadAttention": (
        "query key? value? bias? key_padding_mask? attention_bias? past_key? past_value? past_sequence_length? "
        "cache_indirection?", 4,
        "mask_filter_value:float num_heads:int! scale:float unidirectional:int",
    ),
    "GroupQueryAttention": (
        "query key? value? past_key? past_value? seqlens_k total_sequence_length cos_cache? sin_cache? position_ids? "
        "attention_bias? head_sink? k_scale? v_scale? q_norm_weight? k_norm_weight? query_seqlens?", 4,
        "causal:int do_rotary:int k_norm_epsilon:float k_quant_type:text kv_cache_bit_width:int kv_num_heads:int! "
        "local_window_size:int num_heads:int! q_norm_epsilon:float qk_norm_epsilon:float qk_output:int rotary_interleaved:int "
        "scale:float sliding_window_cache:int smooth_softmax:int softcap:float v_quant_type:text",
    ),
    "RotaryEmbedding": (
        "input position_ids cos_cache sin_cache", 1,
        "interleaved:int is_packed_batching:int num_heads:int rotary_embedding_dim:int scale:float",
    ),
    "EmbedLayerNormalization": (
        "input_ids segment_ids? word_embedding position_embedding segment_embedding? gamma beta mask? position_ids?", 3,
        "epsilon:float mask_index_type:int",
    ),
    "QEmbedLayerNormalization": (
        "input_ids segment_ids? word_embedding_quant position_embedding_quant segment_embedding? gamma_quant beta_quant mask? "
        "word_embedding_scale position_embedding_scale segment_embedding_scale? gamma_scale beta_scale "
        "word_embedding_zero_point position_embedding_zero_point segment_embedding_zero_point? gamma_zero_point "
        "beta_zero_point", 2,
        "epsilon:float",
    ),
    # onnxruntime's own, which it has among the standard's
    "SimplifiedLayerNormalization": ("X scale", 2, "axis:int epsilon:float stash_type:int"),
    # what exporters write that the standard lacked
    "Trilu": ("X k?", 1, "upper:int"),
    "ExpandDims": ("X axis", 1, ""),
    "Range": ("start limit delta?", 1, ""),
    "GatherND": ("data indices", 1, ""),
    "GridSample": ("X Grid", 1, "align_corners:int mode:text padding_mode:text"),
    "Pad": ("data pads value?", 1, "mode:text"),
    "CDist": ("A B", 1, "metric:text"),
}  # fmt: skip
"""By type: inputs (``?`` may be left out, ``*`` any number), the number of results, attributes by kind (``!`` must be given)."""


@dataclass(frozen=True)
class ContribForm:
    """What a node of a type has; the fields are those of the standard's own forms (schemas.py)."""

    least: int
    most: int
    outputs: int
    needed: tuple[tuple[int, str], ...]
    attributes: dict[str, frozenset[int]]
    needed_attributes: tuple[str, ...]


@cache
def form(type: str) -> ContribForm | None:
    """The form of a type of com.microsoft; None of one that is not read."""
    if type not in FORMS:
        return None
    ins, outs, attrs = FORMS[type]
    names = ins.split()
    needed = tuple((i, n) for i, n in enumerate(names) if n[-1] not in "?*")
    kinds = dict(a.rstrip("!").split(":") for a in attrs.split())
    return ContribForm(
        needed[-1][0] + 1, 1 << 31 if names[-1].endswith("*") else len(names), outs, needed,
        {k: frozenset({_KIND[v]}) for k, v in kinds.items()},
        tuple(a.partition(":")[0] for a in attrs.split() if a.endswith("!")),
    )  # fmt: skip

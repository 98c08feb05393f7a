"""com.microsoft: rows of tables, of floats or of stored integers, and the norm of their sum (BERT's first layers)."""

from __future__ import annotations

from typing import Any

from convcore.plugin import DType, ForeignNode, NotExpressible, known_shape

from ..context import OnnxContext
from .contrib import contrib, counted, real
from .contrib_products import few_bits, half_way

__all__: list[str] = []


@contrib("EmbedLayerNormalization")
def embed_norm(g: OnnxContext, node: ForeignNode) -> Any:
    ids, segments, words, places, kinds, gamma, beta, _, at = (node.input(i) for i in range(9))
    if node.whole("mask_index_type", 0) not in (0, 1):
        raise node.refuse(f"mask_index_type={node.attr('mask_index_type')}")
    return _summed(g, node, (words, places, kinds), (ids, at, segments), (gamma, beta))


@contrib("QEmbedLayerNormalization")
def quantized_embed_norm(g: OnnxContext, node: ForeignNode) -> Any:
    """Tables, gamma and beta are stored integers, with one scale and one zero point each."""
    given = [node.input(i) for i in range(18)]
    if len({v is None for v in (given[1], given[4], given[10], given[15])}) != 1:
        raise node.refuse("segments have ids, a table, a scale and a zero point, of which some are missing", code="missing_input")
    words, places, kinds, gamma, beta = (
        None if v is None else real(g, node, v, node.need(8 + i), node.need(13 + i)) for i, v in enumerate(given[2:7])
    )
    return _summed(g, node, (words, places, kinds), (given[0], None, given[1]), (gamma, beta))


def _summed(g: OnnxContext, node: ForeignNode, tables: Any, ids: Any, params: Any) -> Any:
    """(norm, nothing, sum) of rows of words, places (0, 1, ... where they are not given) and segments."""
    b, outs = g.b, [*node.outputs, "", "", ""]
    (words, places, kinds), (word, place, kind), (gamma, beta) = tables, ids, params
    if outs[1]:
        why = "its mask index is a result, which onnxruntime counts by ones where its documentation has the first 0"
        raise node.refuse(why, code="unsupported_output")
    if (kinds is None) != (kind is None):
        raise node.refuse("of the ids of segments and their table only one is given", code="missing_input")
    if outs[2] and kinds is not None:
        why = "the sum is a result, to which onnxruntime adds the segments where its documentation does not"
        raise node.refuse(why, code="unsupported_output")
    if len(known_shape(word)) != 2:
        raise NotExpressible(f"its ids have {word.rank} axes, not 2", "invalid_shape")
    if place is None:
        place = counted(g, known_shape(word)[1])
    total = b.add(b.gather(words, word, axis=0), b.gather(places, place, axis=0))
    if kinds is not None:
        total = b.add(total, b.gather(kinds, kind, axis=0))
    y = b.layer_norm(total, gamma, beta, axes=(2,), epsilon=node.real("epsilon", 1e-12))
    return y, y, total  # that between has no name


# ---- tables of few bits
_STORED = (DType.INT4, DType.UINT4)


@contrib("GatherBlockQuantized")
def gather_blocks(g: OnnxContext, node: ForeignNode) -> Any:
    """Rows of a stored table with their scales, as numbers; scales are for blocks along another axis than that of the rows."""
    b, (data, ids, scales) = g.b, (node.need(i) for i in range(3))
    zeros, bits, size = node.input(3), node.whole("bits", 4), node.whole("block_size", 128)
    rank = len(known_shape(data))
    rows, axis = (node.axis_in(node.whole(n, d), rank) for n, d in (("gather_axis", 0), ("quantize_axis", 1)))
    if rows or axis != rank - 1:
        raise node.refuse(
            f"gather_axis={rows}, quantize_axis={axis} of {rank} axes: blocks must be along the last, rows the first"
        )
    if size < 16 or size & (size - 1):
        raise node.refuse(f"block_size={size}")
    if data.dtype is DType.UINT8:
        *lead, width = known_shape(data)
        blocks = known_shape(scales)
        if bits not in (2, 4, 8) or None in blocks:
            raise node.refuse(f"{bits} bits, scales of {len(blocks)} axes")
        data = few_bits(g, node, data, bits, (*lead, width * 8 // bits), wide=True)
        zeros = half_way(g, bits, blocks, wide=True) if zeros is None else few_bits(g, node, zeros, bits, blocks, wide=True)
    elif data.dtype not in _STORED:
        raise node.refuse(f"its table is {data.dtype}: int4, uint4 and packed uint8 are read")
    else:  # rows of such are taken by no other format
        to = DType.INT8 if data.dtype is DType.INT4 else DType.UINT8
        data, zeros = b.cast(data, to=to), None if zeros is None else b.cast(zeros, to=to)
    stored, scale = (b.gather(v, ids, axis=0) for v in (data, scales))
    zero = None if zeros is None else b.gather(zeros, ids, axis=0)
    return b.dequantize_blocks(stored, scale, zero, axis=len(known_shape(ids)) + rank - 2, block_size=size)

"""com.microsoft.GroupQueryAttention: heads that share keys and values, with a cache of earlier ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import DType, ForeignNode, Value, ask, dim_max, known_shape

from ..context import OnnxContext
from .contrib import contrib, counted
from .contrib_attention import CACHE, three

__all__: list[str] = []


@contrib("GroupQueryAttention")
def group_query_attention(g: OnnxContext, node: ForeignNode) -> Any:
    """What onnxruntime's kernel for processors computes (1.32). Keys and values with the earlier ones before them are results."""
    b, given = g.b, [node.input(i) for i in range(17)]
    heads, shared = _heads(node, given)
    query, key, value, *_ = given
    if query is None or (key is None) != (value is None):
        raise node.refuse("of key and value only one is given", code="missing_input")
    n, t, width = three(query, "its query")
    if key is None or value is None:
        size = width // (heads + 2 * shared) if isinstance(width, int) else 0
        if not size or size * (heads + 2 * shared) != width:
            raise node.refuse(f"{width} features are not {heads} queries, {shared} keys and values")
        query, key, value = b.split(query, axis=2, sizes=(heads * size, shared * size, shared * size))
    parts = []
    for v, count in ((query, heads), (key, shared), (value, shared)):
        shape = three(v, "an input")
        if not isinstance(shape[2], int) or shape[2] % count or shape[1] != t:
            raise node.refuse(f"{shape[2]} features of {shape[1]} steps have {count} heads")
        parts.append(b.reshape(v, shape=(n, t, count, shape[2] // count)))
    cache = _Cache(g, node, n, t, parts[1:])
    if node.attr("do_rotary", 0):
        if given[9] is not None:
            raise node.refuse("position_ids, of which the kernel uses only the first", code="unsupported_input")
        places = cache.places()
        cos, sin = (b.unsqueeze(b.gather(node.need(i), places, axis=0), axes=(2,)) for i in (7, 8))
        inner = bool(node.attr("rotary_interleaved", 0))
        parts[:2] = [b.rotary_embedding(v, cos, sin, interleaved=inner) for v in parts[:2]]
    node.ignore("rotary_interleaved")  # without do_rotary it says nothing
    present = [cache.joined(i, v) for i, v in zip((3, 4), parts[1:])]
    mask, causal = cache.mask(query, given[10], node.whole("local_window_size", -1), bool(node.attr("causal", 1)))
    y = b.op(
        "attention", parts[0], *cache.seen(present, given[10]), mask, scale=node.real("scale", 0.0) or None, causal=causal,
        softcap=node.real("softcap", 0.0), layout="heads_last",
    )  # fmt: skip
    first = y[0] if isinstance(y, (tuple, list)) else y
    out = b.reshape(first, shape=(n, t, heads * known_shape(parts[2])[3]))
    return (out, *cache.results(present)) if any(node.outputs[1:]) else out


def _heads(node: ForeignNode, given: Any) -> tuple[int, int]:
    """The numbers of heads; what is not read is refused."""
    if any(v is not None for v in (given[12], given[13], given[16])) or node.attr("sliding_window_cache", 0):
        raise node.refuse(*CACHE)
    for name, default in (("smooth_softmax", (-1, 0)), ("qk_output", (0,)), ("kv_cache_bit_width", (0,))):
        if node.attr(name, default[0]) not in default:
            raise node.refuse(f"{name}={node.attr(name)}")
    for name in ("k_quant_type", "v_quant_type"):
        if node.attr(name, "NONE") != "NONE":
            raise node.refuse(f"{name}={node.attr(name)!r}")
    node.ignore("q_norm_epsilon", "k_norm_epsilon", "qk_norm_epsilon")  # without the weights, which are refused, they say nothing
    if any(given[i] is not None for i in (11, 14, 15)):
        raise node.refuse("a sink, or norms of queries and keys", code="unsupported_input")
    heads, shared = node.whole("num_heads"), node.whole("kv_num_heads")
    causal, window = node.attr("causal", 1), node.whole("local_window_size", -1)
    wrong = causal not in (0, 1) or heads < 1 or shared < 1 or heads % shared
    if wrong or window == 0 or window < -1 or (window > 0 and not causal):
        raise node.refuse(f"causal={causal}, num_heads={heads}, kv_num_heads={shared}, local_window_size={window}")
    return heads, shared


class _Cache:
    """How many keys each sequence has from before, and where the new ones go.

    The buffers of earlier keys and values are (batch, heads, length, width); of sequence i the first ``ends[i] + 1 - steps`` of
    them count, the new ones follow, and zeros up to the longer of the buffer and the total length. ``start`` is how many count
    where that is one size for all (int or Dim), else None and ``starts`` (batch,) has them.
    """

    def __init__(self, g: OnnxContext, node: ForeignNode, n: Any, t: Any, new: list[Value]) -> None:
        self.g, self.node, self.n, self.t = g, node, n, t
        self.past = [node.input(i) for i in (3, 4)]
        if (self.past[0] is None) != (self.past[1] is None):
            raise node.refuse("of past_key and past_value only one is given", code="missing_input")
        self.held: Any = 0
        for v, x in zip(self.past, new):
            if v is None:
                continue
            shape, (_, _, heads, width) = known_shape(v), known_shape(x)
            if len(shape) != 4 or (shape[0], shape[1], shape[3]) != (n, heads, width):
                raise node.refuse(f"its cache is ({', '.join(map(str, shape))}), of {n} sequences with {heads} heads of {width}")
            if v is self.past[1] and shape[2] != self.held:
                raise node.refuse(f"past_key of {self.held} and past_value of {shape[2]} steps")
            self.held = shape[2]
        ends, self.total = node.need(5), self._total()
        if known_shape(ends) != (n,):
            raise node.refuse(
                f"seqlens_k has the shape {list(map(str, known_shape(ends)))}, not one number for each of {n} sequences"
            )
        if self.past[0] is None and isinstance(self.total, int) and isinstance(t, int) and self.total != t:
            raise node.refuse(f"its total length is {self.total}, and it has {t} steps and no cache")
        told = g.constant(ends)
        self.start: Any = None
        if told is not None:
            self._told(np.asarray(told).astype(np.int64))
        elif 1 not in (n, t):
            raise node.refuse(
                "how long its sequences are is not known: of a shorter one among several the last rows hold anything; give one "
                f"sequence, or one step of each ({ask('--input-shape', 'input_shapes=')})"
            )
        elif self.past[0] is None or (self.total == self.held + t and n == 1):
            self.start = self.held  # of one sequence the total is its own
        if self.start is None:
            before = g.b.sub(g.b.cast(ends, to=DType.INT64), g.b.sub(self._size(t), g.b.const(1, "int64")))
            self.starts: Value = g.b.maximum(before, g.b.const(0, "int64"))  # a prompt has none before it
        self.length: Any = self._length()

    def _total(self) -> Any:
        """The total length as a size; None where it is computed."""
        sizes = self.g.sizes(self.node.input(6))
        return sizes[0] if sizes is not None and len(sizes) == 1 else None

    def _size(self, n: Any) -> Value:
        b = self.g.b
        made: Value = b.const(n, "int64") if isinstance(n, int) else b.dim_value(value=n)
        return made

    def _told(self, ends: Any) -> None:
        """Lengths that are constants."""
        n, t, total = self.n, self.t, self.total
        starts = np.unique(ends + 1 - t) if isinstance(t, int) else np.asarray([], np.int64)
        fits = isinstance(n, int) and isinstance(total, int) and starts.size and starts.min() >= 0 and starts.max() + t == total
        if isinstance(self.held, int):
            fits = fits and starts.max() <= self.held
        if not fits or (starts.size > 1 and t != 1):
            raise self.node.refuse(
                f"its sequences of {self.held} and {t} steps end at {ends.tolist()} of {total}: the last rows of a shorter one "
                "hold anything"
            )
        if starts.size == 1:
            self.start = int(starts[0])

    def _length(self) -> Any:
        """How many keys and values there are afterwards; where only running tells, what is held and what is new: at most that."""
        if self.past[0] is None:
            return self.t
        if self.total is None or (self.start is not None and self.start == self.held and self.total == self.held + self.t):
            return self.held + self.t
        return dim_max(self.total, self.held)

    def results(self, present: list[Value]) -> list[Value]:
        """Keys and values as the node's results, of the longer of the total and the length that is held."""
        b = self.g.b
        if self.total is None and self.held != 0:
            total = b.maximum(b.cast(self.g.scalar(self.node.need(6)), to=DType.INT64), self._size(self.held))
            stops = b.unsqueeze(total, axes=(0,))
            present = [b.dynamic_slice(v, b.const([0], "int64"), stops, axes=(1,)) for v in present]
        return [b.transpose(v, perm=(0, 2, 1, 3)) for v in present]

    @property
    def whole(self) -> bool:
        """Whether all that is held counts, and nothing follows the new ones."""
        return self.start is not None and self.start == self.held and self.length == self.held + self.t

    def _starts(self) -> Value:
        """How many keys each sequence has from before, as (batch or 1, 1)."""
        b = self.g.b
        one = self.starts if self.start is None else b.unsqueeze(self._size(self.start), axes=(0,))
        made: Value = b.unsqueeze(one, axes=(1,))
        return made

    def places(self) -> Value:
        """Where the new ones are in their sequences, as (batch or 1, steps)."""
        steps = counted(self.g, self.t)
        made: Value = steps if self.start == 0 else self.g.b.add(steps, self._starts())
        return made

    def joined(self, i: int, new: Value) -> Value:
        """Earlier and new ones, as (batch, length, heads, width)."""
        b, past = self.g.b, self.node.input(i)
        if past is None:
            return new
        past = b.transpose(past, perm=(0, 2, 1, 3))
        if self.whole:
            made: Value = b.concat(past, new, axis=1)
            return made
        _, _, heads, width = known_shape(new)
        zeros = b.fill(shape=(self.n, 1, heads, width), value=0.0, dtype=new.dtype)
        rows, keys, start = b.concat(past, new, zeros, axis=1), counted(self.g, self.length), self._starts()
        moved = b.add(b.sub(keys, start), self._size(self.held))
        after = b.less(keys, b.add(start, self._size(self.t)))
        index = b.where(b.less(keys, start), keys, b.where(after, moved, self._size(self.held + self.t)))
        if known_shape(index)[0] == 1:
            made = b.gather(rows, b.squeeze(index, axes=(0,)), axis=1)
        else:
            made = b.gather_nd(rows, b.unsqueeze(index, axes=(2,)), batch_dims=1)
        return made

    def seen(self, present: list[Value], added: Value | None) -> list[Value]:
        """Those of them that a mask that is added, which ends with the total length, says something of."""
        columns = self._columns(added)
        if columns is None:
            return present
        n, _, heads, width = known_shape(present[0])
        stops = (n, columns, heads, width)
        return [self.g.b.slice(v, starts=(0,) * 4, stops=stops, steps=(1,) * 4) for v in present]

    def _columns(self, added: Value | None) -> Any:
        """Of how many keys a mask is where these are not all; None where they are."""
        columns = self.length if added is None else known_shape(added)[-1]
        if columns == self.length:
            return None
        if columns is None or (self.total is not None and columns != self.total):
            raise self.node.refuse(
                f"its attention_bias is of {columns} keys, the total length {self.total}", code="unsupported_input"
            )
        return columns

    def mask(self, query: Value, added: Value | None, window: int, causal: bool) -> tuple[Value | None, bool]:
        """What is added or kept, and whether attention's own order (step i sees keys 0..i) is the order."""
        b, columns = self.g.b, self._columns(added)
        own = causal and self.start == 0 and self.whole
        if window < 0 and (own or (self.whole and (not causal or self.t == 1))):
            return added, own and self.t != 1
        keys = b.unsqueeze(counted(self.g, self.length if columns is None else columns), axes=(1, 2))
        after = b.unsqueeze(b.add(self.places(), b.const(1, "int64")), axes=(1, 3))  # of the last key that is seen
        kept: Value | None = None
        if causal and not own:
            kept = b.less(keys, after)
        elif not causal:
            kept = b.less(keys, b.unsqueeze(b.add(self._starts(), self._size(self.t)), axes=(1, 2)))
        if window > 0:
            near = b.less(b.sub(after, b.const(window + 1, "int64")), keys)
            kept = near if kept is None else b.and_(kept, near)
        if added is not None and kept is not None:
            kept = b.where(kept, added, b.like(query, -float("inf")))
        return kept, own

"""Orders: how the elements of a value are stored, compared with the order its source model had.

An :class:`Order` permutes axes (``perm``: stored axis i is source axis ``perm[i]``) and may permute *inside* an axis: when
(N, H, W, C) is flattened to (N, H*W*C) while it is stored as (N, C, H, W), the flat axis holds its factors (H, W, C) in the
order (2, 0, 1). Such a **block** is a tuple of segments that follow one another along the axis (concat makes several); a
segment is ``(factors, perm)``. Orders are interned, so ``is`` compares them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..ir.dims import Dim, DimLike, Shape, product

__all__ = [
    "Block",
    "Order",
    "block_indices",
    "identity",
    "moved_elements",
    "order_of",
    "place_units",
    "segment",
    "through_reshape",
]

Segment = tuple[tuple[DimLike, ...], tuple[int, ...]]
Block = tuple[Segment, ...]
Blocks = tuple[tuple[int, Block], ...]


class Order:
    """One order of a value's axes. Make it with :func:`order_of`."""

    __slots__ = ("blocks", "identity", "inv", "perm", "plain")

    def __init__(self, perm: tuple[int, ...], blocks: Blocks) -> None:
        self.perm = perm
        self.blocks = blocks
        inv = [0] * len(perm)
        for i, p in enumerate(perm):
            inv[p] = i
        self.inv = tuple(inv)
        self.plain = not blocks
        self.identity = self.plain and self.inv == tuple(range(len(perm)))

    def shape(self, shape: Shape) -> Shape:
        """The stored shape of a value whose source shape is ``shape``."""
        return tuple([shape[p] for p in self.perm])

    def source_shape(self, stored: Shape) -> Shape:
        """The source shape of a value whose stored shape is ``stored``."""
        return tuple([stored[i] for i in self.inv])

    def block(self, axis: int) -> Block | None:
        """The block of a source axis."""
        for a, b in self.blocks:
            if a == axis:
                return b
        return None

    def without(self, axis: int) -> Order:
        """The same order with nothing permuted inside ``axis``."""
        return order_of(self.perm, {a: b for a, b in self.blocks if a != axis})

    def restrict(self, keep: Sequence[int]) -> Order:
        """The order of a value that has only the source axes ``keep`` (ascending)."""
        rank = {a: i for i, a in enumerate(keep)}
        blocks = {rank[a]: b for a, b in self.blocks if a in rank}
        return order_of(tuple([rank[p] for p in self.perm if p in rank]), blocks)

    def vector(self, v: Sequence[object]) -> tuple[object, ...]:
        """A per-axis vector in stored order."""
        return tuple([v[p] for p in self.perm])

    def __str__(self) -> str:
        text = "(" + ", ".join(map(str, self.perm)) + ")"
        for a, block in self.blocks:
            inner = " | ".join("x".join(map(str, f)) + " as " + ",".join(map(str, p)) for f, p in block)
            text += f" axis {a}: {inner}"
        return text

    __repr__ = __str__


_interned: dict[tuple[tuple[int, ...], Blocks], Order] = {}


def order_of(perm: Sequence[int], blocks: Mapping[int, Block] | None = None) -> Order:
    """The one Order with this permutation and these blocks by source axis."""
    key = (tuple(perm), tuple(sorted(blocks.items(), key=lambda t: t[0])) if blocks else ())
    found = _interned.get(key)
    if found is None:
        found = _interned[key] = Order(*key)
    return found


def identity(rank: int) -> Order:
    """The source order."""
    return order_of(tuple(range(rank)))


# ---- blocks
def segment(factors: Sequence[DimLike], perm: Sequence[int]) -> Segment:
    """A segment in normal form: no factors of size 1, factors that stay neighbours merged; in order means one factor."""
    keep = [i for i, f in enumerate(factors) if f != 1]
    rank = {i: k for k, i in enumerate(keep)}
    sizes = [factors[i] for i in keep]
    order = [rank[p] for p in perm if p in rank]
    runs: list[list[int]] = []
    for p in order:
        if runs and runs[-1][-1] + 1 == p:
            runs[-1].append(p)
        else:
            runs.append([p])
    starts = sorted(range(len(runs)), key=lambda k: runs[k][0])
    merged: list[DimLike] = []
    for k in starts:
        size: DimLike = 1
        for p in runs[k]:
            size = size * sizes[p]
        merged.append(size)
    place = {k: i for i, k in enumerate(starts)}
    if not merged:
        return (1,), (0,)
    return tuple(merged), tuple(place[k] for k in range(len(runs)))


def block_of(segments: Sequence[Segment]) -> Block | None:
    """A block in normal form (neighbouring segments in source order merged), or None when nothing is permuted."""
    out: list[Segment] = []
    for f, p in segments:
        if out and len(p) == 1 and len(out[-1][1]) == 1:
            out[-1] = ((out[-1][0][0] + f[0],), (0,))
        else:
            out.append((f, p))
    return None if all(len(p) == 1 for _, p in out) else tuple(out)


def segment_size(s: Segment) -> DimLike | None:
    """Number of elements of a segment."""
    return product(s[0])


def is_static_block(block: Block) -> bool:
    """Whether every factor is an integer, so weights can be permuted."""
    return not any(isinstance(f, Dim) for s in block for f in s[0])


def block_indices(block: Block) -> NDArray[np.int64]:
    """For each stored position the source position along the axis."""
    parts, start = [], 0
    for factors, perm in block:
        sizes = [int(f) for f in factors]  # type: ignore[arg-type]
        n = math.prod(sizes)
        parts.append(np.arange(start, start + n, dtype=np.int64).reshape(sizes).transpose(perm).reshape(-1))
        start += n
    return np.concatenate(parts)


# ---- axes of size 1
def place_units(order: Sequence[int], rank: int) -> tuple[int, ...]:
    """A permutation of ``rank`` axes with those of ``order`` in that order; each missing axis follows its left neighbour."""
    out = list(order)
    have = set(out)
    for a in range(rank):
        if a not in have:
            out.insert(out.index(a - 1) + 1 if a else 0, a)
    return tuple(out)


def moved_elements(shape: Shape, frm: Order, to: Order) -> int:
    """Elements that a conversion moves; a symbolic or unknown size counts as 1, moving only axes of size 1 counts as 1."""
    n = 1
    for d in shape:
        if isinstance(d, int):
            n *= d
    if frm.blocks == to.blocks and [p for p in frm.perm if shape[p] != 1] == [p for p in to.perm if shape[p] != 1]:
        return 1
    return max(n, 1)


# ---- reshape
def _divide(a: DimLike, b: DimLike) -> DimLike | None:
    """``a / b`` if it is exact."""
    if b == 0 or a == 0:
        return None
    if isinstance(a, int):
        return a // b if isinstance(b, int) and a % b == 0 else None
    if isinstance(b, int) and b < 0:
        return None
    q = a // b
    return q if q * b == a else None


def _pieces(shape: Shape, order: Order) -> list[tuple[DimLike, int, int]] | None:
    """``(size, axis, piece)`` in source order, sizes of 1 left out; a blocked axis has a piece per factor."""
    out: list[tuple[DimLike, int, int]] = []
    for a, d in enumerate(shape):
        block = order.block(a) if order.blocks else None
        if block is not None:
            if len(block) != 1:
                return None
            out.extend((f, a, k) for k, f in enumerate(block[0][0]))
        elif d is None or d == 0:
            return None
        elif d != 1:
            out.append((d, a, 0))
    return out


def through_reshape(shape: Shape, order: Order, other: Shape, hint: Order | None = None) -> Order | None:
    """The order of the other side of a reshape (either direction) such that reshaping stored to stored is exact.

    Passes iff the factors of every axis on the other side lie together in the stored order. Where axes of size 1 leave a
    choice, ``hint`` is taken if it fits. None if the order does not pass.
    """
    src, dst = _pieces(shape, order), _pieces(other, identity(len(other)))
    if src is None or dst is None:
        return None
    # common factors: (size, owners among src pieces, owners among dst axes)
    factors: list[tuple[DimLike, tuple[tuple[int, int], ...], tuple[int, ...]]] = []
    i = j = 0
    a: DimLike = src[0][0] if src else 1
    b: DimLike = dst[0][0] if dst else 1
    while i < len(src) and j < len(dst):
        if a == b:
            factors.append((a, (src[i][1:],), (dst[j][1],)))
            a = b = 1
        elif (q := _divide(b, a)) is not None:
            factors.append((a, (src[i][1:],), (dst[j][1],)))
            a, b = 1, q
        elif (q := _divide(a, b)) is not None:
            factors.append((b, (src[i][1:],), (dst[j][1],)))
            a, b = q, 1
        else:  # sizes that do not divide: a run of axes that must move as one
            owners_s, owners_d = [src[i][1:]], [dst[j][1]]
            while a != b:
                if isinstance(a, int) and isinstance(b, int):
                    grow_src = a < b
                else:
                    grow_src = i - j <= len(src) - len(dst)
                if grow_src and i + 1 < len(src):
                    i += 1
                    a = a * src[i][0]
                    owners_s.append(src[i][1:])
                elif j + 1 < len(dst):
                    j += 1
                    b = b * dst[j][0]
                    owners_d.append(dst[j][1])
                else:
                    return None
            factors.append((a, tuple(owners_s), tuple(owners_d)))
            a = b = 1
        if a == 1:
            i += 1
            a = src[i][0] if i < len(src) else 1
        if b == 1:
            j += 1
            b = dst[j][0] if j < len(dst) else 1
    if i != len(src) or j != len(dst):
        return None
    # the factors in stored order of the source side
    stored: list[tuple[int, int]] = []
    for p in order.perm:
        block = order.block(p) if order.blocks else None
        if block is not None:
            stored.extend((p, k) for k in block[0][1])
        elif shape[p] != 1:
            stored.append((p, 0))
    by_piece: dict[tuple[int, int], list[int]] = {}
    for k, (_, owners, _o) in enumerate(factors):
        for piece in owners:
            by_piece.setdefault(piece, []).append(k)
    seq: list[int] = []
    at = 0
    while at < len(stored):
        for k in by_piece[stored[at]]:
            owners = factors[k][1]
            if len(owners) == 1:
                seq.append(k)
                continue
            if owners[0] == stored[at]:  # the run must lie whole and in order
                if tuple(stored[at : at + len(owners)]) != owners:
                    return None
                if any(by_piece[o] != [k] for o in owners[1:-1]) or by_piece[owners[0]][-1] != k or by_piece[owners[-1]][0] != k:
                    return None
                seq.append(k)
            elif at == 0 or k not in seq:
                return None
        at += 1
    # regroup into axes of the other side
    axes: list[int] = []
    inner: dict[int, list[int]] = {}
    last: int | None = None
    for k in seq:
        for n, d in enumerate(factors[k][2]):
            if d != last:
                if d in inner or (n and inner.get(d)):
                    return None
                axes.append(d)
                inner[d] = []
                last = d
            inner[d].append(k)
    blocks: dict[int, Block] = {}
    for d, ks in inner.items():
        first = sorted(ks)
        if ks != first:
            if any(len(factors[k][2]) > 1 for k in ks):
                return None
            found = block_of([segment([factors[k][0] for k in first], [first.index(k) for k in ks])])
            if found is not None:
                blocks[d] = found
    if hint is not None and len(hint.perm) == len(other):
        if [p for p in hint.perm if other[p] != 1] == axes and dict(hint.blocks) == blocks:
            return hint
    return order_of(place_units(axes, len(other)), blocks)

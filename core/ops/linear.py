"""Matrix products, dense layers, einsum and embeddings."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..ir.dims import DimLike, Shape
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..opset.axes import Append, LastAxes, Letters, Opaque
from ..opset.declare import Attr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.shapes import broadcast_shapes, common_dtype
from ..opset.traits import Trait

LINEAR = OpSet("linear")

Array = NDArray[Any]
Shapes = list[tuple[DType | None, Shape | None]]


def _linear_shape(c: InferContext) -> Shapes:
    x, w, b = c.shape("x"), c.shape("w"), c.shape("b")
    dtype = common_dtype(c, "x", "w", "b")
    c.rank("w", 2)
    c.rank("b", 1)
    if x is None or w is None:
        return [(dtype, None)]
    if not x:
        c.fail("x must have at least one axis")
    c.same(x[-1], w[1], "the last axis of x and the second axis of w (out, in)")
    if b is not None:
        c.same(b[0], w[0], "b and the first axis of w")
    return [(dtype, (*x[:-1], w[0]))]


LINEAR_AXES = LastAxes(1, fixed=("w", "b"), absorbs_in={"w": 1}, absorbs_out={"w": 0, "b": 0})


def _linear_body(b: Any, x: Any, w: Any, bias: Any) -> Any:
    y = b.matmul(x, b.transpose(w, perm=(1, 0)))
    return y if bias is None else b.add(y, bias)


def _linear(x: Array, w: Array, b: Array | None = None) -> Array:
    y: Array = np.asarray(x @ w.T, x.dtype)
    return y if b is None else y + b


LINEAR.op(
    "linear", "x:float, w:float, b:float?",
    "y = x w^T + b over the last axis. x (..., in), w (out, in), b (out): torch.nn.Linear, Keras Dense (kernel "
    "transposed).",
    infer=_linear_shape, reference=_linear, axes=LINEAR_AXES, body=_linear_body,
    samples=[
        Sample((2, 5), (3, 5), (3,)), Sample((2, 7, 5), (3, 5)), Sample((2, 3, 7, 5), (11, 5), (11,)),
        Sample((2, 3, 1, 7, 5), (11, 5)),
    ],
    traits=Trait.HEAVY | Trait.AFFINE, roles={"parameter": "w b"},
)  # fmt: skip


def _matmul_shape(c: InferContext) -> Shapes:
    a, b = c.shape("a"), c.shape("b")
    dtype = common_dtype(c, "a", "b")
    if a is None or b is None:
        return [(dtype, None)]
    if not a or not b:
        c.fail("both inputs need at least one axis")
    c.same(a[-1], b[-2] if len(b) > 1 else b[0], "inner sizes")
    batch = broadcast_shapes(a[:-2], b[:-2]) or ()
    return [(dtype, batch + a[-2:-1] * (len(a) > 1) + b[-1:] * (len(b) > 1))]


LINEAR.op(
    "matmul", "a:number, b:number", "numpy.matmul: matrix product over the last two axes, leading axes broadcast.",
    infer=_matmul_shape, reference=lambda a, b: np.asarray(np.matmul(a, b), a.dtype),
    axes=LastAxes(2, rows=True),
    samples=[Sample((2, 3, 5), (2, 5, 7)), Sample((3, 5), (5, 7)), Sample((2, 3, 5), (5,)),
        Sample((2, 1, 3, 5), (7, 5, 2)), Sample((3, 5), (5,)), Sample((5,), (5,))],
    traits=Trait.KEEPS_SIGN | Trait.HEAVY, roles={"parameter": "a b"},
)  # fmt: skip


def _embedding_shape(c: InferContext) -> Shapes:
    i, t = c.shape("ids"), c.shape("table")
    c.rank("table", 2)
    return [(c.dtype("table"), None if i is None or t is None else (*i, t[1]))]


def _embedding(ids: Array, table: Array, padding_idx: int | None = None) -> Array:
    if ids.size and (ids.min() < 0 or ids.max() >= table.shape[0]):
        raise IndexError(f"ids span {ids.min()}..{ids.max()}, the table has rows 0..{table.shape[0] - 1}")
    out: Array = table[ids]
    return out


LINEAR.op(
    "embedding", "ids:int, table:float",
    "Row ids[...] of table (vocabulary, features); shape ids.shape + (features,). Ids outside the table are an error.",
    attrs={"padding_idx": Attr(
        "int", None, doc="the row that training leaves as it is (torch.nn.Embedding); None: all rows train",
        training=True,
    )},
    infer=_embedding_shape, reference=_embedding, axes=Append(fixed=("table",)),
    body=lambda b, ids, table, padding_idx=None: b.gather(table, ids, axis=0),
    samples=[Sample(("int64", (2, 5), 0, 11), (11, 3)), Sample(("int64", (2, 5), 0, 11), (11, 3), padding_idx=2)],
    roles={"parameter": "table", "index": "ids"},
)  # fmt: skip


# ---- einsum


MOST_OPERANDS = 16


def parse_einsum(equation: str, ranks: Sequence[int | None]) -> tuple[list[str], str]:
    """Operand subscripts and the output's, with blanks removed and an implicit output written out.

    numpy's rule for it: letters that occur once, in alphabetical order, after the ellipsis. ShapeError if malformed.
    """
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    for t in [*terms, right]:
        rest = t.replace("...", "", 1)
        if not all(ch in string.ascii_letters for ch in rest):
            raise ShapeError(f"einsum: malformed equation {equation!r}")
    if len(terms) > MOST_OPERANDS:
        raise ShapeError(f"einsum: {len(terms)} operands, more than {MOST_OPERANDS}: its cost grows exponentially with them")
    if len(terms) != len(ranks):
        raise ShapeError(f"einsum: {equation!r} has {len(terms)} operands, got {len(ranks)} inputs")
    letters = "".join(terms).replace(".", "")
    if not arrow:
        dots = "..." if any("..." in t for t in terms) else ""
        right = dots + "".join(sorted(ch for ch in set(letters) if letters.count(ch) == 1))
    named = right.replace("...", "")
    if len(set(named)) != len(named) or not set(named) <= set(letters):
        raise ShapeError(f"einsum: the output of {equation!r} repeats or invents a letter")
    for t, rank in zip(terms, ranks):
        n = len(t.replace("...", ""))
        if rank is not None and (rank < n if "..." in t else rank != n):
            raise ShapeError(f"einsum: {t!r} does not fit an input with {rank} axes")
    return terms, right


def _einsum_text(attrs: dict[str, Any], inputs: Sequence[Value | None]) -> None:
    terms, out = parse_einsum(attrs["equation"], [None if v is None else v.rank for v in inputs])
    attrs["equation"] = ",".join(terms) + "->" + out


def _einsum_shape(c: InferContext) -> Shapes:
    xs = c.all("xs")
    dtypes = {v.dtype for v in xs} - {None}
    if len(dtypes) > 1:
        c.fail("inputs have different dtypes: " + ", ".join(sorted(map(str, dtypes))))
    dtype = next(iter(dtypes), None)
    terms, out = parse_einsum(c["equation"], [v.rank for v in xs])
    sizes: dict[str, DimLike | None] = {}
    rests: list[Shape | None] = []
    for t, v in zip(terms, xs):
        head, dots, tail = t.partition("...")
        if v.shape is None:
            if dots:
                rests.append(None)
            continue
        n = len(v.shape) - len(tail)
        for letter, d in [*zip(head, v.shape), *zip(tail, v.shape[n:])]:
            old = sizes.get(letter)
            sizes[letter] = d if old is None or old == 1 else old if d == 1 else c.same(old, d, f"sizes of {letter!r}")
        if dots:
            rests.append(v.shape[len(head) : n])
    rest = broadcast_shapes(*rests) if rests else ()
    if "..." in out and rest is None:
        return [(dtype, None)]
    head, dots, tail = out.partition("...")
    shape = (*(sizes.get(ch) for ch in head), *((rest or ()) if dots else ()), *(sizes.get(ch) for ch in tail))
    return [(dtype, shape)]


def _einsum(*xs: Any, equation: str) -> Any:
    """In pairs: numpy takes all operands at once where it sees nothing to gain, in time exponential in their number."""
    path: Any = False
    if len(xs) > 1:
        path = np.einsum_path(equation, *xs, optimize="greedy")[0]
        if any(len(step) > 3 for step in path[1:]):
            path = ["einsum_path", *[(0, 1)] * (len(xs) - 1)]
    return np.asarray(np.einsum(equation, *xs, optimize=path), xs[0].dtype)


LINEAR.op(
    "einsum", "xs:number*", "Einstein summation (numpy.einsum); the equation is stored with its output written out.",
    attrs={"equation": Attr("str")}, infer=_einsum_shape, normalize=_einsum_text, axes=Letters(), reference=_einsum,
    samples=[
        Sample((2, 3, 5), (2, 5, 7), equation="bij,bjk->bik"),
        Sample((2, 3, 5, 7), (3, 11, 7), equation="...cd,...ed->...ce"),
        Sample((5, 5), equation="ii->i"), Sample((3, 5), (5, 7), equation="ba, ac"),
    ],
    traits=Trait.HEAVY,
)  # fmt: skip


# ---- Keras's Dot


def _dot_axes(attrs: dict[str, Any], inputs: Sequence[Value | None]) -> None:
    if len(attrs["axes"]) != 2:
        raise ShapeError(f"batch_dot: axes={attrs['axes']} must be a pair")
    out = []
    for a, v in zip(attrs["axes"], inputs):
        if v is not None and v.rank is not None:
            if v.rank < 2 or not -v.rank <= a < v.rank or a % v.rank == 0:
                raise ShapeError(f"batch_dot: axis {a} of an input with {v.rank} axes; axis 0 is the batch")
            a %= v.rank
        out.append(a)
    attrs["axes"] = tuple(out)


def _dot_shape(c: InferContext) -> Shapes:
    a, b, (i, j) = c.shape("a"), c.shape("b"), c["axes"]
    dtype = common_dtype(c, "a", "b")
    if a is None or b is None:
        return [(dtype, None)]
    c.same(a[0], b[0], "batch sizes")
    c.same(a[i], b[j], f"axis {i} of a and axis {j} of b")
    shape = (*a[:i], *a[i + 1 :], *b[1:j], *b[j + 1 :])
    return [(dtype, shape if len(shape) > 1 else (*shape, 1))]


def _dot_letters(ranks: tuple[int, int], axes: tuple[int, int]) -> str:
    names = iter(string.ascii_lowercase[2:])
    a, b = (["a", *(next(names) for _ in range(r - 1))] for r in ranks)
    a[axes[0]] = b[axes[1]] = "b"
    out = [ch for ch in a if ch != "b"] + [ch for ch in b[1:] if ch != "b"]
    return f"{''.join(a)},{''.join(b)}->{''.join(out)}"


def _dot(a: Array, b: Array, axes: tuple[int, int], normalize: bool, epsilon: float) -> Array:
    if normalize:
        a, b = (
            x / np.maximum(np.sqrt((x * x).sum(k, keepdims=True)), np.asarray(epsilon, x.dtype)) for x, k in zip((a, b), axes)
        )
    y = np.einsum(_dot_letters((a.ndim, b.ndim), axes), a, b, optimize=True)
    return np.asarray(y if y.ndim > 1 else y[:, None], a.dtype)


def _dot_body(b: Any, x: Any, y: Any, *, axes: tuple[int, int], normalize: bool, epsilon: float) -> Any:
    b.require(x.rank is not None and y.rank is not None, "batch_dot needs the numbers of axes of its inputs")
    if normalize:
        x, y = (
            b.div(v, b.maximum(b.sqrt(b.sum(b.square(v), axes=(k,), keepdims=True)), b.like(v, epsilon)))
            for v, k in zip((x, y), axes)
        )
    out = b.einsum(x, y, equation=_dot_letters((x.rank, y.rank), axes))
    return b.unsqueeze(out, axes=(1,)) if x.rank == y.rank == 2 else out


LINEAR.op(
    "batch_dot", "a:number, b:number",
    "Keras Dot: sum of products over one axis of each input, paired along the batch axis 0; two rank-2 inputs give "
    "(N, 1). "
    "With normalize each input is first divided by max(its norm along the axis, epsilon) (Keras 3: epsilon 1e-7).",
    attrs={"axes": Attr("ints"), "normalize": Attr("bool", False), "epsilon": Attr("float", 1e-7)}, normalize=_dot_axes,
    infer=_dot_shape, reference=_dot, axes=Opaque(), body=_dot_body,
    samples=[
        Sample((2, 3, 5), (2, 7, 5), axes=(2, -1)), Sample((3, 5), (3, 5), axes=(1, 1), normalize=True),
        Sample((2, 3, 5, 7), (2, 5, 11), axes=(2, 1)), Sample((2, 5), (2, 3, 5), axes=(1, 2), normalize=True),
    ],
    traits=Trait.HEAVY,
)  # fmt: skip


def _det_shape(c: InferContext) -> Shapes:
    x = c.shape("x")
    if x is None:
        return [(c.dtype("x"), None)]
    if len(x) < 2:
        c.fail("x needs at least two axes")
    c.same(x[-2], x[-1], "the sides of the matrices")
    return [(c.dtype("x"), x[:-2])]


LINEAR.op(
    "det", "x:float", "The determinants of the matrices of the last two axes (numpy.linalg.det).", infer=_det_shape,
    reference=lambda x: np.asarray(np.linalg.det(x.astype(np.float64)), x.dtype), axes=Opaque(),
    samples=[Sample((2, 3, 5, 5)), Sample((3, 3))],
)  # fmt: skip

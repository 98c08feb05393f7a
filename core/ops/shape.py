"""Moving whole tensors: reshape, transpose, pad, expand, tile, flip (several tensors: joining.py; elements: indexing.py)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..ir.dims import Dim, DimLike, Shape, product
from ..ir.dtypes import DType
from ..opset.axes import Axes, Axis, Insert, Opaque, PerAxis, Perm, Remove, Reshape
from ..opset.declare import Attr, AxesAttr, AxisAttr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.shapes import broadcast_shapes, unknown_axes
from ..opset.traits import Trait
from .constants import number

SHAPE = OpSet("shape")

Array = NDArray[Any]
Shapes = list[tuple[DType | None, Shape | None]]


def _never_equal(a: DimLike, b: DimLike) -> bool:
    """Whether two numbers of elements differ whatever the symbolic sizes are, none of them 0: 144 and 36, 4 * n and n."""
    if isinstance(a, Dim) and isinstance(b, Dim) and len(a.terms) == len(b.terms) == 1:
        (m, x), (n, y) = a.terms[0], b.terms[0]
        return x == y and m != n and all(isinstance(factor, str) for factor, _ in x)
    return isinstance(a, int) and isinstance(b, int) and a != b


def _reshape_shape(c: InferContext) -> Shapes:
    x = c.shape("x")
    old, new = None if x is None else product(x), product(c["shape"])
    if any(isinstance(n, int) and n < 0 for n in c["shape"]):
        c.fail(f"the shape {tuple(map(str, c['shape']))} has a negative size")
    if old is not None and new is not None and _never_equal(old, new):
        c.fail(f"cannot become {tuple(map(str, c['shape']))}: {old} elements against {new}")
    return [(c.dtype("x"), c["shape"])]


def _reshape(x: Array, shape: tuple[int, ...]) -> Array:
    if any(n < 0 for n in shape):  # numpy would take it for "whatever is left"
        raise ValueError(f"the shape {shape} has a negative size")
    return x.reshape(shape)


SHAPE.op(
    "reshape", "x", "The elements in C order under another shape; every size is given, symbolic ones as Dim.",
    attrs={"shape": Attr("shape")}, infer=_reshape_shape, reference=_reshape, axes=Reshape(),
    samples=[Sample((2, 3, 5, 7), shape=(2, 15, 7)), Sample((2, 15, 7), shape=(2, 3, 5, 7)),
        Sample((6, 35), shape=(14, 15))],
    traits=Trait.VIEW,
)  # fmt: skip


def _transpose_shape(c: InferContext) -> Shapes:
    x, p = c.shape("x"), c["perm"]
    if x is not None and sorted(p) != list(range(len(x))):
        c.fail(f"{p} is not a permutation of {len(x)} axes")
    return [(c.dtype("x"), None if x is None else tuple(x[i] for i in p))]


SHAPE.op(
    "transpose", "x", "Axis i of the result is axis perm[i] of x.", attrs={"perm": Attr("perm")},
    infer=_transpose_shape, reference=lambda x, perm: x.transpose(perm), axes=Perm(),
    samples=[Sample((2, 3, 5, 7), perm=(0, 3, 1, 2)), Sample((2, 3, 5), perm=(2, 0, 1))],
    traits=Trait.VIEW,
)  # fmt: skip


def _squeeze_shape(c: InferContext) -> Shapes:
    x = c.shape("x")
    if x is None:
        return [(c.dtype("x"), None)]
    for a in c["axes"]:
        if isinstance(x[a], int) and x[a] != 1:
            c.fail(f"axis {a} has size {x[a]}, not 1")
    return [(c.dtype("x"), tuple(d for i, d in enumerate(x) if i not in c["axes"]))]


SHAPE.op(
    "squeeze", "x", "Without the named axes, which have size 1.", attrs={"axes": AxesAttr()},
    infer=_squeeze_shape, reference=lambda x, axes: x.squeeze(axes), axes=Remove(),
    samples=[Sample((2, 1, 3, 1, 5), axes=(1, 3))],
    traits=Trait.VIEW,
)  # fmt: skip


def _squeeze_ones_shape(c: InferContext) -> Shapes:
    x = c.shape("x")
    known = x is not None and all(isinstance(n, int) for n in x)
    return [(c.dtype("x"), tuple(n for n in x if n != 1) if known and x is not None else None)]


def _squeeze_ones_body(b: Any, x: Any) -> Any:
    known = x.shape is not None and all(isinstance(n, int) for n in x.shape)
    b.require(known, "squeeze_ones: which sizes are 1 is not known before the model runs")
    ones = tuple(i for i, n in enumerate(x.shape) if n == 1)
    return b.squeeze(x, axes=ones) if ones else b.identity(x)


SHAPE.op(
    "squeeze_ones", "x", "Without all axes of size 1, which may only be known when the model runs (numpy.squeeze).",
    infer=_squeeze_ones_shape, reference=lambda x: np.squeeze(x), axes=Opaque(),
    body=_squeeze_ones_body,
    samples=[Sample((2, 1, 3, 1)), Sample((2, 3))],
)  # fmt: skip


def _unsqueeze_axes(attrs: dict[str, Any], inputs: Any) -> None:
    x = inputs[0]
    if x is not None and x.rank is not None:
        rank = x.rank + len(attrs["axes"])
        if any(not -rank <= a < rank for a in attrs["axes"]):
            raise ShapeError(f"unsqueeze: axes {attrs['axes']} are out of range for {rank} axes")
        attrs["axes"] = tuple(sorted(a % rank for a in attrs["axes"]))


def _unsqueeze_shape(c: InferContext) -> Shapes:
    x = c.shape("x")
    if x is None:
        return [(c.dtype("x"), None)]
    left = iter(x)
    rank = len(x) + len(c["axes"])
    if len(set(c["axes"])) != len(c["axes"]):
        c.fail(f"axes {c['axes']} name one twice")
    return [(c.dtype("x"), tuple(1 if i in c["axes"] else next(left) for i in range(rank)))]


SHAPE.op(
    "unsqueeze", "x", "With axes of size 1 inserted; positions count in the result.", attrs={"axes": Attr("ints")},
    normalize=_unsqueeze_axes, infer=_unsqueeze_shape, reference=lambda x, axes: np.expand_dims(x, axes), axes=Insert(),
    samples=[Sample((2, 3, 5), axes=(1, -1)), Sample((2, 3), axes=(1,))],
    traits=Trait.VIEW,
)  # fmt: skip


PAD_MODES = ("constant", "edge", "reflect", "symmetric", "wrap")


def _pad_shape(c: InferContext) -> Shapes:
    x, pads, mode = c.shape("x"), c["pads"], c["mode"]
    if x is None:
        return [(c.dtype("x"), None)]
    if len(pads) != len(x):
        c.fail(f"{len(pads)} pads for {len(x)} axes")
    out: list[DimLike | None] = []
    for i, (d, (begin, end)) in enumerate(zip(x, pads)):
        n = None if d is None else d + begin + end
        if isinstance(n, int) and n < 0:
            c.fail(f"axis {i} of size {d} cannot be cropped by {(begin, end)}")
        grown = [p for p in (begin, end) if isinstance(p, int) and p > 0]
        if mode == "reflect" and isinstance(d, int) and any(p >= d for p in grown):
            c.fail(f"reflecting {(begin, end)} elements needs more than the {d} of axis {i}")
        if mode != "constant" and grown and n == sum(grown):
            c.fail(f"axis {i} keeps no element to repeat")
        out.append(n)
    return [(c.dtype("x"), tuple(out))]


def _pad_value(attrs: dict[str, Any], inputs: Any) -> None:
    x = inputs[0]
    if attrs["mode"] == "constant" and x is not None and x.dtype is not None:
        number(attrs["value"], x.dtype)


def _pad(x: Array, pads: Any, mode: str, value: float) -> Array:
    keep = tuple(slice(max(0, -b), n - max(0, -e)) for n, (b, e) in zip(x.shape, pads))
    x = x[keep]
    grow = [(max(0, b), max(0, e)) for b, e in pads]
    if mode == "constant":
        return np.pad(x, grow, constant_values=np.asarray(value).astype(x.dtype).item())
    modes: dict[str, Any] = {"edge": "edge", "reflect": "reflect", "symmetric": "symmetric", "wrap": "wrap"}
    out: Array = np.pad(x, grow, modes[mode])
    return out


SHAPE.op(
    "pad", "x",
    "Grown (or cropped, where negative, before it grows) by (begin, end) elements per axis. reflect leaves the "
    "edge out, symmetric repeats it.",
    attrs={"pads": Attr("pairs"), "mode": Attr("str", "constant", PAD_MODES),
        "value": Attr("any", 0.0, doc="a number")},
    normalize=_pad_value, infer=_pad_shape, reference=_pad, axes=PerAxis(attrs=("pads",)),
    samples=[
        Sample((2, 3, 5), pads=((0, 0), (1, 2), (3, 0)), value=0.5),
        Sample((2, 3, 5), pads=((0, 0), (1, 2), (-1, 2)), mode="reflect"),
        Sample((2, 3, 5), pads=((1, 0), (0, 2), (3, 1)), mode="edge"),
        Sample((2, 3, 5), pads=((0, 1), (1, 3), (0, 0)), mode="symmetric"),
    ],
)  # fmt: skip


# ---- copies: expand, tile, repeat


def _expand_shape(c: InferContext) -> Shapes:
    x, shape = c.shape("x"), c["shape"]
    if any(isinstance(n, int) and n < 0 for n in shape):
        c.fail(f"the shape {tuple(map(str, shape))} has a negative size")
    if x is not None:
        if len(x) > len(shape):
            c.fail(f"{len(x)} axes do not expand to {len(shape)}")
        for d, n in zip(x, shape[len(shape) - len(x) :]):
            if isinstance(d, int) and isinstance(n, int) and d not in (1, n):
                c.fail(f"size {d} does not expand to {n}")
    return [(c.dtype("x"), shape)]


SHAPE.op(
    "expand", "x", "Broadcast to a shape, right-aligned (numpy.broadcast_to); every size is that of the result.",
    attrs={"shape": Attr("shape")}, infer=_expand_shape, reference=lambda x, shape: np.broadcast_to(x, shape),
    axes=PerAxis(attrs=("shape",)),
    samples=[Sample((2, 1, 5), shape=(2, 3, 5)), Sample((1, 3, 1), shape=(2, 3, 5)), Sample((5,), shape=(3, 5))],
    traits=Trait.BROADCASTS,
)  # fmt: skip


def _tile_shape(c: InferContext) -> Shapes:
    x, repeats = c.shape("x"), c["repeats"]
    if any(isinstance(n, int) and n < 0 for n in repeats):
        c.fail(f"repeats {repeats} has a negative entry")
    if x is None:
        return [(c.dtype("x"), None)]
    if len(repeats) != len(x):
        c.fail(f"{len(repeats)} repeats for {len(x)} axes")
    return [(c.dtype("x"), tuple(None if d is None else d * n for d, n in zip(x, repeats)))]


SHAPE.op(
    "tile", "x", "The whole tensor repeated along each axis; one count per axis.", attrs={"repeats": Attr("shape")},
    infer=_tile_shape,
    reference=lambda x, repeats: np.tile(x, repeats), axes=PerAxis(attrs=("repeats",)),
    samples=[Sample((2, 3, 5), repeats=(1, 3, 2))],
    traits=Trait.MOVES,
)  # fmt: skip


def _repeat_shape(c: InferContext) -> Shapes:
    x, axis, n = c.shape("x"), c["axis"], c["repeats"]
    if isinstance(n, int) and n < 0:
        c.fail(f"repeats={n} is negative")
    if x is None:
        return [(c.dtype("x"), None)]
    d = x[axis]
    return [(c.dtype("x"), (*x[:axis], None if d is None else d * n, *x[axis + 1 :]))]


def _repeat_body(b: Any, x: Any, *, repeats: DimLike, axis: int) -> Any:
    b.require(x.shape is not None and None not in x.shape, "repeat needs the shape of x")
    wide = b.expand(b.unsqueeze(x, axes=(axis + 1,)), shape=(*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :]))
    return b.reshape(wide, shape=(*x.shape[:axis], x.shape[axis] * repeats, *x.shape[axis + 1 :]))


SHAPE.op(
    "repeat", "x", "Each slice along an axis repeated in place (numpy.repeat).",
    attrs={"repeats": Attr("dim"), "axis": AxisAttr()},
    infer=_repeat_shape, reference=lambda x, repeats, axis: np.repeat(x, repeats, axis), axes=Axis("axis"),
    body=_repeat_body,
    samples=[Sample((2, 3, 5), repeats=2, axis=1), Sample((2, 3, 5), repeats=3, axis=-1)],
    traits=Trait.MOVES,
)  # fmt: skip


# ---- reordering along axes


def _flip_body(b: Any, x: Any, *, axes: tuple[int, ...]) -> Any:
    b.require(x.rank is not None, "flip needs the number of axes of x")
    back = [i in axes for i in range(x.rank)]
    return b.slice(x, starts=[-1 if f else 0 for f in back], stops=[None] * x.rank, steps=[-1 if f else 1 for f in back])


SHAPE.op(
    "flip", "x", "Reversed along axes.", attrs={"axes": AxesAttr()}, reference=lambda x, axes: np.flip(x, axes),
    axes=Axes("axes", keepdims=True), body=_flip_body,
    samples=[Sample((2, 3, 5), axes=(1, -1)), Sample((2, 3, 5), axes=(0,))],
    traits=Trait.MOVES,
)  # fmt: skip


def _roll_shape(c: InferContext) -> Shapes:
    if len(c["shifts"]) != len(c["axes"]):
        c.fail(f"{len(c['shifts'])} shifts for {len(c['axes'])} axes")
    return [(c.dtype("x"), c.shape("x"))]


SHAPE.op(
    "roll", "x",
    "Moved cyclically by shifts[i] elements along axes[i]; what leaves at the end comes back at the beginning.",
    attrs={"shifts": Attr("ints"), "axes": AxesAttr()}, infer=_roll_shape,
    reference=lambda x, shifts, axes: np.roll(x, shifts, axes),
    axes=Axes("axes", keepdims=True),
    samples=[Sample((2, 3, 5), shifts=(1, -2), axes=(2, 1)), Sample((2, 3, 5), shifts=(7,), axes=(-1,))],
    traits=Trait.MOVES,
)  # fmt: skip


# ---- shapes that only the data tell


def _dynamic_reshape_shape(c: InferContext) -> Shapes:
    n = c.shape("shape")
    c.rank("shape", 1)
    return [(c.dtype("x"), unknown_axes(c, n))]


def _dynamic_reshape(x: Array, shape: Array, zero_copies: bool) -> Array:
    sizes = [int(n) for n in shape]
    if zero_copies:
        sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)]
    if sizes.count(-1) > 1 or min(sizes, default=0) < -1:
        raise ValueError(f"bad shape {sizes}")
    return x.reshape(sizes)


SHAPE.op(
    "dynamic_reshape", "x, shape:int",
    "reshape to a shape computed at run time; -1 stands for what is left, and with zero_copies 0 for the size of x "
    "there "
    "(ONNX Reshape).",
    attrs={"zero_copies": Attr("bool", False)}, infer=_dynamic_reshape_shape, reference=_dynamic_reshape, axes=Opaque(),
    samples=[Sample((2, 3, 5), np.array([5, -1])), Sample((2, 3, 5), np.array([0, 15]), zero_copies=True)],
    traits=Trait.MOVES, roles={"index": "shape"},
)  # fmt: skip


def _dynamic_expand_shape(c: InferContext) -> Shapes:
    x, n = c.shape("x"), c.shape("shape")
    c.rank("shape", 1)
    wide = unknown_axes(c, n)
    if x is None or wide is None:
        return [(c.dtype("x"), None)]
    known = broadcast_shapes(x, wide) or ()
    return [(c.dtype("x"), tuple(d if isinstance(d, int) and d > 1 else None for d in known))]


SHAPE.op(
    "dynamic_expand", "x, shape:int",
    "x broadcast against a shape computed at run time, in both directions (ONNX Expand).",
    infer=_dynamic_expand_shape, axes=Opaque(),
    reference=lambda x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(int(n) for n in shape))),
    samples=[Sample((3, 1), np.array([2, 1, 5])), Sample((2, 3, 1), np.array([5]))],
    traits=Trait.BROADCASTS, roles={"index": "shape"},
)  # fmt: skip

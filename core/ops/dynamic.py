"""Ops with arguments that are only known when the model runs: axes, sizes, pads, counts as inputs where others have attributes.

``dynamic_<op>`` is the op with the attributes of those names given as inputs. (dynamic_reshape, dynamic_expand, dynamic_slice and
dynamic_fill stand with their families.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.dims import Shape
from ..ir.dtypes import DType
from ..opset.axes import Opaque
from ..opset.declare import Attr, Op, OpSet, Sample
from ..opset.infer import InferContext, Inferred
from ..opset.shapes import common_dtype
from ..opset.traits import Trait
from .boxes import nms
from .constants import CONSTANTS
from .detection import DETECTION
from .image import IMAGE
from .indexing import INDEXING
from .joining import JOINING
from .reduce import REDUCE
from .resampling import resize_axes
from .sampling import SAMPLING
from .shape import SHAPE
from .signal import SIGNAL
from .sorting import SORTING

DYNAMIC = OpSet("dynamic")

Array = NDArray[Any]


def _count(c: InferContext, name: str) -> int | None:
    """How many numbers an input holds: one for a scalar, None where that is not known."""
    s = c.shape(name)
    if s is None or len(s) > 1:
        if s is not None:
            c.fail(f"{name} has {len(s)} axes, must have at most one")
        return None
    if not s:
        return 1
    return s[0] if isinstance(s[0], int) else None


def _unknown(rank: int | None) -> Shape | None:
    return None if rank is None else (None,) * rank


def _ints(a: Array) -> tuple[int, ...]:
    return tuple(int(n) for n in a.reshape(-1))


def _one(a: Array) -> int:
    """The one integer of an array; ValueError where there are several, or it is none."""
    if a.size != 1 or int(a.reshape(-1)[0]) != a.reshape(-1)[0]:
        raise ValueError(f"{a} is not one integer")
    return int(a.reshape(-1)[0])


def _late(
    base: Op,
    given: Mapping[str, tuple[str, Callable[[Array], Any]]],
    infer: Callable[[InferContext], Inferred],
    samples: Sequence[Sample],
    *,
    attrs: Mapping[str, Attr] | None = None,
    outputs: str = "",
    adapt: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    normalized: bool = False,
) -> None:
    """Declare ``dynamic_<base>``: the attributes of ``given`` (types and how an array becomes one) are inputs after the op's own.

    ``attrs`` adds attributes, which ``adapt`` makes the op's own of before its reference is called. ``normalized``: the other
    attributes are normalised as the op does it.
    """
    reference, own = base.reference, [str(a) for a in base.inputs]
    assert reference is not None  # what is given later has nothing but that
    names = list(given)
    roles = {k: " ".join(v) for k, v in base.roles.items()}
    roles["index"] = " ".join([*base.roles.get("index", ()), *(n for n in names if given[n][0] != "number")])

    def inferred(c: InferContext) -> Inferred:
        for n in names:
            s = c.shape(n) or ()
            if given[n][1] is _one and (len(s) > 1 or any(isinstance(d, int) and d != 1 for d in s)):
                c.fail(f"{n} must be one number")
        return infer(c)

    def run(*arrays: Array | None, **kw: Any) -> Any:
        first, late = arrays[: len(own)], arrays[len(own) :]
        for i, n in enumerate(names):
            a = late[i] if i < len(late) else None
            kw[n] = base.attrs[n].default if a is None else given[n][1](a)
        return reference(*first, **(kw if adapt is None else adapt(kw)))

    DYNAMIC.op(
        f"dynamic_{base.name}", ", ".join([*own, *(f"{n}:{given[n][0]}" for n in names)]),
        f"{base.name} with {' and '.join(names)} known when the model runs.",
        outputs=outputs or ", ".join(f"{o}*" if base.variadic_outputs else o for o in base.outputs),
        attrs={**{k: a for k, a in base.attrs.items() if k not in given}, **(attrs or {})}, infer=inferred, reference=run,
        axes=Opaque(), samples=samples, normalize=base.normalize if normalized else None,
        traits=base.traits & (Trait.MOVES | Trait.NONNEGATIVE),
        roles={k: v for k, v in roles.items() if v},
    )  # fmt: skip


# ---- reductions


def _reduced(c: InferContext) -> Inferred:
    x, n, keep = c.shape("x"), _count(c, "axes"), c["keepdims"]
    rank = None if x is None else len(x)
    if rank is not None and n is not None and n > rank:
        c.fail(f"{n} axes of {rank}")
    if n == 0 and not c["none_is_all"]:
        return [(c.dtype("x"), x)]
    if n == 0 and rank is not None:
        n = rank
    if not keep:
        rank = None if rank is None or n is None else rank - n
    return [(c.dtype("x"), _unknown(rank))]


def _chosen_axes(kw: dict[str, Any]) -> dict[str, Any]:
    every = kw.pop("none_is_all")
    return {**kw, "axes": (None if every else ()) if not kw["axes"] else kw["axes"]}


_NONE = {"none_is_all": Attr("bool", True, doc="whether no axes at all mean every axis")}
for _name, _op in REDUCE.ops.items():
    if "ddof" in _op.attrs:
        continue
    _spec: Any = _op.samples[0].inputs[0]
    _late(
        _op, {"axes": ("int", _ints)}, _reduced,
        [Sample(_spec, np.array([1, -1])), Sample(_spec, np.array([0]), keepdims=True), Sample(_spec, np.zeros(0, np.int64)),
            Sample(_spec, np.zeros(0, np.int64), none_is_all=False)],
        attrs=_NONE, adapt=_chosen_axes,
    )  # fmt: skip


# ---- running sums, triangles, the largest


def _like_x(c: InferContext) -> Inferred:
    return [(c.dtype("x"), c.shape("x"))]


for _name in ("cumsum", "cumprod"):
    _late(
        SORTING.ops[_name], {"axis": ("int", _one)}, _like_x,
        [Sample((2, 3, 5), np.array(1)), Sample((2, 3, 5), np.array([-1]), exclusive=True, reverse=True)],
    )  # fmt: skip
_late(
    INDEXING.ops["trilu"], {"k": ("int", _one)}, INDEXING.ops["trilu"].infer,
    [Sample((2, 3, 5), np.array(1), upper=True), Sample((2, 5, 3), np.array(-1), upper=False)],
)  # fmt: skip


def _topk(c: InferContext) -> Inferred:
    x, axis = c.shape("x"), c["axis"]
    y = None if x is None else (*x[:axis], None, *x[axis + 1 :])
    return [(c.dtype("x"), y), (DType.INT64, y)]


_late(
    SORTING.ops["topk"],
    {"k": ("int", _one)},
    _topk,
    [Sample((2, 7, 5), np.array([3]), axis=1), Sample((2, 3, 5), np.array(2), largest=False)],
)


# ---- axes and sizes


def _squeezed(c: InferContext) -> Inferred:
    x, n = c.shape("x"), _count(c, "axes")
    return [(c.dtype("x"), None if x is None or n is None or n > len(x) else _unknown(len(x) - n))]


def _unsqueezed(c: InferContext) -> Inferred:
    x, n = c.shape("x"), _count(c, "axes")
    return [(c.dtype("x"), None if x is None or n is None else _unknown(len(x) + n))]


def _tiled(c: InferContext) -> Inferred:
    rank, n = c.rank("x"), _count(c, "repeats")
    if rank is not None and n is not None and n != rank:
        c.fail(f"repeats has {n} entries for {rank} axes")
    return [(c.dtype("x"), _unknown(rank))]


_late(SHAPE.ops["squeeze"], {"axes": ("int", _ints)}, _squeezed, [Sample((2, 1, 3, 1), np.array([1, -1]))])
_late(SHAPE.ops["unsqueeze"], {"axes": ("int", _ints)}, _unsqueezed, [Sample((2, 3), np.array([0, -1]))])
_late(
    SHAPE.ops["tile"], {"repeats": ("int", _ints)}, _tiled,
    [Sample((2, 3, 5), np.array([1, 2, 3]))],
)  # fmt: skip


def _split(c: InferContext) -> Inferred:
    x, axis, n = c.shape("x"), c["axis"], _count(c, "sizes")
    if n is not None and n != c["count"]:
        c.fail(f"{n} sizes for {c['count']} parts")
    part = None if x is None else (*x[:axis], None, *x[axis + 1 :])
    return [(c.dtype("x"), part)] * c["count"]


def _parts(kw: dict[str, Any]) -> dict[str, Any]:
    if kw.pop("count") != len(kw["sizes"]):
        raise ValueError(f"the sizes {kw['sizes']} are of another number of parts")
    return kw


_late(
    JOINING.ops["split"], {"sizes": ("int", _ints)}, _split, [Sample((2, 10, 3), np.array([2, 3, 5]), axis=1, count=3)],
    attrs={"count": Attr("int", doc="how many parts")}, adapt=_parts,
)  # fmt: skip


def _one_hot(c: InferContext) -> Inferred:
    ids, axis = c.shape("ids"), c["axis"]
    c.not_half("depth")
    dtype = c.dtype("values") if c.has("values") else c["dtype"]
    return [(dtype, None if ids is None else (*ids[:axis], None, *ids[axis:]))]


_late(
    CONSTANTS.ops["one_hot"], {"depth": ("number", _one)}, _one_hot,
    [Sample(("int64", (2, 3), -5, 5), np.array([3, 7], np.int32), np.array(5), axis=1, wrap_negative=True),
        Sample(("int64", (2, 3), 0, 5), None, np.array([5.0], np.float32))],
    normalized=True,
)  # fmt: skip


# ---- pad


def _padded(c: InferContext) -> Inferred:
    n, axes = _count(c, "pads"), _count(c, "axes")
    if n is not None and (n % 2 or (axes is not None and c.has("axes") and n != 2 * axes)):
        c.fail(f"pads has {n} entries")
    if c.dtype("value") not in (None, c.dtype("x")):
        c.fail(f"value is {c.dtype('value')}, x {c.dtype('x')}")
    if any(isinstance(n, int) and n != 1 for n in c.shape("value") or ()):
        c.fail("value is one number")
    return [(c.dtype("x"), _unknown(c.rank("x")))]


def _pad(x: Array, pads: Array, value: Array | None = None, axes: Array | None = None, *, mode: str) -> Array:
    at = tuple(range(x.ndim)) if axes is None else tuple(a % x.ndim if -x.ndim <= a < x.ndim else x.ndim for a in _ints(axes))
    flat = _ints(pads)
    if len(flat) != 2 * len(at) or len(set(at)) != len(at) or x.ndim in at:
        raise ValueError(f"{len(flat)} pads for the axes {at} of {x.ndim}")
    pairs = [(0, 0)] * x.ndim
    for i, a in enumerate(at):
        pairs[a] = (flat[i], flat[len(at) + i])
    fill = 0 if value is None else value.item()
    reference = SHAPE.ops["pad"].reference
    assert reference is not None
    y: Array = reference(x, pads=tuple(pairs), mode=mode, value=fill)
    return y


DYNAMIC.op(
    "dynamic_pad", "x, pads:int, value?, axes:int?",
    "pad by amounts known when the model runs: all beginnings, then all ends, of every axis or of the named ones (ONNX Pad).",
    attrs={"mode": SHAPE.ops["pad"].attrs["mode"]}, infer=_padded, reference=_pad, axes=Opaque(),
    samples=[
        Sample((2, 3, 5), np.array([0, 1, 3, 0, 2, 0]), np.array(0.5, np.float32)),
        Sample((2, 3, 5), np.array([1, -1, 2, 2]), None, np.array([-2, 2]), mode="reflect"),
    ],
    roles={"index": "pads axes"},
)  # fmt: skip


# ---- images


def _suppressed(
    boxes: Array, scores: Array, max_per_class: Array | None = None, iou_threshold: Array | None = None,
    score_threshold: Array | None = None, *, centre_form: bool,
) -> Array:  # fmt: skip
    least = None if score_threshold is None else float(score_threshold.reshape(-1)[0])
    most = 0 if max_per_class is None else _one(max_per_class)
    overlap = 0.0 if iou_threshold is None else float(iou_threshold.reshape(-1)[0])
    return nms(boxes, scores, max_per_class=most, iou_threshold=overlap, score_threshold=least, centre_form=centre_form)


DYNAMIC.op(
    "dynamic_nms", "boxes:float, scores:float, max_per_class:int?, iou_threshold:float?, score_threshold:float?",
    "nms with its thresholds known when the model runs; without them they are 0, 0 and none.",
    outputs="kept", attrs={"centre_form": DETECTION.ops["nms"].attrs["centre_form"]}, infer=lambda c: [(DType.INT64, (None, 3))],
    reference=_suppressed, axes=Opaque(),
    samples=[Sample(("float32", (2, 7, 4), 0, 1), ("float32", (2, 3, 7), 0, 1), np.array(2), np.float32(0.3), np.float32(0.1)),
        Sample(("float32", (2, 7, 4), 0, 1), ("float32", (2, 3, 7), 0, 1), np.array([3]), centre_form=True)],
    roles={"index": "max_per_class"},
)  # fmt: skip


def _grid(c: InferContext) -> Inferred:
    theta, n = c.shape("theta"), _count(c, "size")
    c.rank("theta", 3)
    if n not in (None, 4, 5):
        c.fail(f"size has {n} entries")
    return [(c.dtype("theta"), None if n is None else (None if theta is None else theta[0], *(None,) * (n - 2), n - 2))]


_late(IMAGE.ops["affine_grid"], {"size": ("int", lambda a: _ints(a)[2:])}, _grid, [Sample((2, 2, 3), np.array([2, 1, 5, 7]))])


def _resized(c: InferContext) -> Inferred:
    rank = c.rank("x")
    many = len(c["axes"]) if c["axes"] is not None else rank
    for name in ("sizes", "scales"):
        n = _count(c, name) if c.has(name) else None
        if n is not None and many is not None and n != many:
            c.fail(f"{name} has {n} entries for {many} axes")
    if c.has("sizes") == c.has("scales"):
        c.fail("needs either sizes or scales")
    if c["coordinates"] == "tf_crop_and_resize" and not c.has("roi"):
        c.fail("coordinates tf_crop_and_resize needs roi")
    dtype = c.dtype("x")
    if c["mode"] != "nearest" and dtype is not None and not dtype.is_float:
        c.fail(f"mode {c['mode']} of {dtype}: how it is rounded differs; cast first")
    x = c.shape("x")
    kept = _unknown(rank) if x is None or c["axes"] is None else tuple(None if i in c["axes"] else n for i, n in enumerate(x))
    return [(c.dtype("x"), kept)]


_RESIZE = IMAGE.ops["resize"].attrs
DYNAMIC.op(
    "dynamic_resize", "x:number, sizes:int?, scales:float?, roi:float?",
    "resize of every axis, or of the named ones, to sizes or by scales known when the model runs (ONNX Resize). With policy "
    "not_larger or not_smaller one scale, the smallest or largest, serves all axes. tf_crop_and_resize reads between the starts "
    "and ends of roi (parts of each axis), ``outside`` where that lies beyond.",
    attrs={
        **{k: _RESIZE[k] for k in ("mode", "nearest", "cubic_a", "exclude_outside", "antialias")},
        "coordinates": Attr("str", "half_pixel", (*_RESIZE["coordinates"].choices, "tf_crop_and_resize")),
        "axes": Attr("axes", None), "policy": Attr("str", "stretch", ("stretch", "not_larger", "not_smaller")),
        "outside": Attr("float", 0.0),
    },
    infer=_resized, reference=resize_axes, axes=Opaque(),
    samples=[
        Sample((2, 3, 5, 7), np.array([2, 3, 11, 13]), coordinates="asymmetric", nearest="floor"),
        Sample((2, 3, 5, 7), None, np.array([1, 1, 2, 1.5], np.float32), mode="linear"),
        Sample((2, 3, 5, 7), np.array([11, 4]), mode="cubic", axes=(2, 3), policy="not_larger"),
        Sample((2, 3, 5, 7), np.array([11, 4]), None, np.array([0.1, -0.2, 0.8, 1.3], np.float32), mode="linear", axes=(-2, -1),
            coordinates="tf_crop_and_resize", outside=2.5),
    ],
    roles={"index": "sizes"},
)  # fmt: skip


# ---- signals, patches


def _transformed(c: InferContext) -> Inferred:
    """One-sided transforms are of real signals, inverse ones of complex frequencies, as ONNX's DFT has it."""
    real, rank, x = c["inverse"] and c["onesided"], c.rank("x"), c.shape("x")
    last = x[-1] if x else None
    if isinstance(last, int) and last not in ((2 if real else 1,) if c["onesided"] else (1, 2)):
        c.fail(
            f"the last axis has size {last}, must be "
            + ("1 (real) or 2 (complex)" if not c["onesided"] else "2" if real else "1")
        )
    return [(c.dtype("x"), None if rank is None else (*(None,) * (rank - 1), 1 if real else 2))]


_late(
    SIGNAL.ops["dft_pairs"], {"length": ("int?", _one), "axis": ("int?", _one)}, _transformed,
    [Sample((2, 7, 3, 1), np.array(5), np.array(1)), Sample((2, 7, 2), None, np.array([1]), inverse=True),
        Sample((2, 7, 1), np.array(9), onesided=True)],
)  # fmt: skip


def _framed(c: InferContext) -> Inferred:
    x = c.shape("x")
    c.rank("x", 3)
    c.rank("window", 1)
    common_dtype(c, "x", "window")
    return [(c.dtype("x"), (None if x is None else x[0], None, None, 2))]


_late(
    SIGNAL.ops["stft"], {"step": ("int", _one), "size": ("int?", _one)},
    _framed,
    [Sample((2, 23, 1), (7,), np.array(3)), Sample((2, 23, 2), None, np.array(5), np.array(11), onesided=False)],
)  # fmt: skip


def _folded(c: InferContext) -> Inferred:
    n, x = _count(c, "image"), c.shape("x")
    c.rank("x", 3)
    for what, k in (
        ("kernel", _count(c, "kernel")),
        *((a, len(c[a])) for a in ("strides", "dilations", "pads") if c[a] is not None),
    ):
        if n is not None and k not in (None, n):
            c.fail(f"{what} has {k} entries, image {n}")
    return [(c.dtype("x"), None if n is None else (None if x is None else x[0], *(None,) * (n + 1)))]


def _whole(kw: dict[str, Any]) -> dict[str, Any]:
    SAMPLING.ops["col2im"].normalize(kw, ())  # type: ignore[misc]
    return kw


_late(
    SAMPLING.ops["col2im"], {"image": ("int", _ints), "kernel": ("int", _ints)}, _folded,
    [Sample((2, 18, 20), np.array([5, 7]), np.array([2, 3]))], adapt=_whole,
)  # fmt: skip

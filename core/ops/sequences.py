"""Sequences of tensors and values that may be absent: types of ONNX that the interpreter carries.

A sequence is an array of objects with one axis whose elements are arrays; an optional one an array of objects without axes that
holds None or its value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.dims import Shape
from ..ir.dtypes import DType
from ..opset.declare import Attr, OpSet, Sample
from ..opset.infer import InferContext, Inferred

SEQUENCES = OpSet("sequences")

Array = NDArray[Any]


def as_sequence(items: Sequence[Array]) -> Array:
    """Arrays as a sequence."""
    out = np.empty(len(items), object)
    for i, x in enumerate(items):
        out[i] = np.asarray(x)
    return out


def as_optional(x: Any) -> Array:
    """A value, or None, as an optional one."""
    out = np.empty((), object)
    out[()] = x
    return out


def _sequence(dtype: DType | None) -> DType | None:
    return None if dtype is None else dtype.sequence


def _element(c: InferContext) -> DType | None:
    d = c.dtype("s")
    return None if d is None else d.element


def _at(s: Array, position: Array, end: int) -> int:
    """A position, which may count from the end, of 0 to ``end`` - 1; IndexError for another."""
    p, n = int(position.reshape(-1)[0]), len(s)
    if position.size != 1 or not -n <= p < end:
        raise IndexError(f"position {p} of a sequence of {n}")
    return p + n if p < 0 else p


def _check_element(c: InferContext) -> None:
    d, x = c.dtype("s"), c.dtype("x")
    if d is not None and x is not None and d.element is not x:
        c.fail(f"{x} does not go into {d}")


def _constructed(c: InferContext) -> Inferred:
    dtypes = {v.dtype for v in c.all("xs")} - {None}
    if len(dtypes) > 1:
        c.fail("its elements have different dtypes")
    return [(_sequence(next(iter(dtypes), None)), None)]


SEQUENCES.op(
    "sequence_construct", "xs*", "The tensors as a sequence.", outputs="s", infer=_constructed,
    reference=lambda *xs: as_sequence(xs), samples=[Sample((2, 3), (5,))],
)  # fmt: skip
SEQUENCES.op(
    "sequence_empty", "", "A sequence of no tensors.", outputs="s", attrs={"dtype": Attr("dtype", DType.FLOAT32)},
    infer=lambda c: [(_sequence(c["dtype"]), None)], reference=lambda dtype: as_sequence([]), samples=[Sample(dtype="int64")],
)  # fmt: skip


def _inserted(c: InferContext) -> Inferred:
    _check_element(c)
    return [(c.dtype("s"), None)]


def _insert(s: Array, x: Array, position: Array | None = None) -> Array:
    items = list(s)
    items.insert(len(s) if position is None else _at(s, position, len(s) + 1), x)
    return as_sequence(items)


def _erase(s: Array, position: Array | None = None) -> Array:
    if not len(s):
        raise IndexError("nothing to take out of an empty sequence")
    items = list(s)
    del items[len(s) - 1 if position is None else _at(s, position, len(s))]
    return as_sequence(items)


_TWO = as_sequence([np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(5, np.float32)])
SEQUENCES.op(
    "sequence_insert", "s:sequence, x, position:int?", "With a tensor before the one at position, by default at the end.",
    outputs="t", infer=_inserted, reference=_insert, roles={"index": "position"},
    samples=[Sample(_TWO, (7,)), Sample(_TWO, (7,), np.array(-1)), Sample(_TWO, (7,), np.array(2))],
)  # fmt: skip
SEQUENCES.op(
    "sequence_erase", "s:sequence, position:int?", "Without the tensor at position, by default the last.", outputs="t",
    infer=lambda c: [(c.dtype("s"), None)], reference=_erase, roles={"index": "position"},
    samples=[Sample(_TWO), Sample(_TWO, np.array(-2))],
)  # fmt: skip
SEQUENCES.op(
    "sequence_at", "s:sequence, position:int", "The tensor at a position; negative ones count from the end.",
    infer=lambda c: [(_element(c), None)], reference=lambda s, position: s[_at(s, position, len(s))], roles={"index": "position"},
    samples=[Sample(_TWO, np.array(0)), Sample(_TWO, np.array(-1))],
)  # fmt: skip
SEQUENCES.op(
    "sequence_length", "s:sequence", "How many tensors it holds, int64.", infer=lambda c: [(DType.INT64, ())],
    reference=lambda s: np.asarray(len(s), np.int64), samples=[Sample(_TWO)],
)  # fmt: skip


def _joined(s: Array, axis: int, stack: bool) -> Array:
    if not len(s):
        raise ValueError("an empty sequence has nothing to join")
    return np.stack(list(s), axis) if stack else np.concatenate(list(s), axis)


SEQUENCES.op(
    "sequence_concat", "s:sequence", "The tensors one after another along an axis, or stacked along a new one.",
    attrs={"axis": Attr("int"), "stack": Attr("bool", False)}, infer=lambda c: [(_element(c), None)], reference=_joined,
    samples=[Sample(as_sequence([np.ones((2, 3), np.float32), np.zeros((5, 3), np.float32)]), axis=0),
        Sample(as_sequence([np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)]), axis=-1, stack=True)],
)  # fmt: skip


def _split(x: Array, sizes: Array | None = None, *, axis: int, keepdims: bool) -> Array:
    n = x.shape[axis]
    if sizes is None:
        parts = np.split(x, range(1, n), axis) if n else []
        return as_sequence([p if keepdims else p.squeeze(axis) for p in parts])
    if sizes.ndim == 0:
        each = int(sizes)
        if each < 1:
            raise ValueError(f"parts of {each} elements")
        return as_sequence(np.split(x, range(each, n, each), axis))
    if int(sizes.sum()) != n or (sizes < 0).any():
        raise ValueError(f"the sizes {sizes.tolist()} do not divide {n} elements")
    return as_sequence(np.split(x, np.cumsum(sizes)[:-1], axis))


SEQUENCES.op(
    "split_to_sequence", "x, sizes:int?",
    "Parts along an axis: of the given sizes, of one size each (a scalar; the last may be smaller), or slices, with their "
    "axis or "
    "without.",
    outputs="s", attrs={"axis": Attr("axis", 0), "keepdims": Attr("bool", True)},
    infer=lambda c: [(_sequence(c.dtype("x")), None)], reference=_split,
    samples=[Sample((3, 7), np.array(3), axis=1), Sample((3, 7), np.array([1, 2])), Sample((3, 2), axis=-1, keepdims=False)],
    roles={"index": "sizes"},
)  # fmt: skip


# ---- what may be absent


def _wrapped(c: InferContext) -> Inferred:
    d = c.dtype("x") if c.has("x") else c["dtype"]
    return [(None if d is None else d.optional, None)]


SEQUENCES.op(
    "optional", "x:value?", "A value that may be absent: x, or none of the type dtype.", outputs="o",
    attrs={"dtype": Attr("dtype", None)}, infer=_wrapped, reference=lambda x=None, dtype=None: as_optional(x),
    samples=[Sample((2, 3)), Sample(None, dtype="float32")],
)  # fmt: skip


def _has(o: Array | None = None) -> Array:
    absent = o is None or (o.dtype == object and o.ndim == 0 and o[()] is None)
    return np.asarray(not absent)


SEQUENCES.op(
    "optional_has_element", "o:value?", "Whether a value is there; tensors and sequences are.",
    infer=lambda c: [(DType.BOOL, ())], reference=_has, samples=[Sample((2, 3)), Sample(None)],
)  # fmt: skip


def _unwrapped(c: InferContext) -> Inferred:
    d, shape = c.dtype("o"), c.shape("o")
    inner: Shape | None = None if d is None or d.is_optional else shape
    return [(d.held if d is not None else None, inner)]


def _get(o: Array) -> Array:
    if o.dtype != object or o.ndim:
        return o
    if o[()] is None:
        raise ValueError("the value is absent")
    return np.asarray(o[()]) if not isinstance(o[()], np.ndarray) else o[()]


SEQUENCES.op(
    "optional_get_element", "o:value",
    "The value of an optional one, of which there must be one; tensors and sequences as they are.",
    infer=_unwrapped, reference=_get, samples=[Sample((2, 3))],
)  # fmt: skip

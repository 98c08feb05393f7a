"""Operations that move elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import Dim, DType, Node, NotExpressible, Ref, Value

from ..dialect import KerasScribe, ones
from .base import RULES, Image, Writer, known

__all__ = ["around", "broadcast", "counted", "padded", "reshaped"]


# ---- shapes
@RULES.emit("reshape")
def reshape(s: KerasScribe, node: Node) -> None:
    """A layer where the batch stays first and at most one other size is unknown; else the operation, one size unknown."""
    w = Writer(s, node)
    x, old, new = w.ref(), known(w.input(0)), tuple(node.attrs["shape"])
    if old == new:
        w.end(x)
        return
    if any(d is None for d in new):
        raise NotExpressible("a size of its result is unknown", "unknown_shape")
    if 0 in new:
        raise NotExpressible("it is empty")
    w.end(reshaped(w, x, old, new))


def reshaped(w: Writer, x: Ref, old: Sequence[Any], new: Sequence[Any]) -> Ref:
    """``x`` in another shape, whose sizes may be symbolic."""
    if new and old and len(new) > 0 and old[0] == new[0]:
        unknown = [i for i, d in enumerate(new) if i and not isinstance(d, int)]
        if len(new) == 2 and len(old) > 2:
            return w.layer("Flatten", x, shape=new)
        if len(unknown) <= 1 and len(new) > 1:
            target = [-1 if i in unknown else d for i, d in enumerate(new)][1:]
            return w.layer("Reshape", x, {"target_shape": target}, shape=new)
    unknown = [i for i, d in enumerate(new) if not isinstance(d, int)]
    if len(unknown) > 1:
        return _split_first(w, x, old, new)
    return w.op("Reshape", x, shape=new, newshape=tuple(-1 if i in unknown else d for i, d in enumerate(new)))


def _split_first(w: Writer, x: Ref, old: Sequence[Any], new: Sequence[Any]) -> Ref:
    """Sizes that are unknown in several places: rows of ``x`` gathered by an index that has the wanted leading shape.

    The index counts from 0 in row-major order; its shape is that of ones along axes that have those sizes in tensors that there
    are already (a functional model holds no symbolic sizes).
    """
    if not old or not new:
        raise NotExpressible("its shape")
    keep = 0
    while keep < min(len(old), len(new)) and isinstance(old[-1 - keep], int) and old[-1 - keep] == new[-1 - keep]:
        keep += 1
    if not keep:
        raise NotExpressible(f"a shape of several unknown sizes, {new}, none of which stays last", "unknown_shape")
    tail = tuple(int(d) for d in new[len(new) - keep :])
    lead = list(new[: len(new) - keep])
    rows = w.op("Reshape", x, shape=(None, *tail), newshape=(-1, *tail))
    parts = [counted(w, d) for d in lead]
    index: Ref | None = None
    for i, (steps, size) in enumerate(parts):
        shape = tuple(lead[i] if j == i else 1 for j in range(len(lead)))
        at = w.op("Reshape", steps, shape=shape, newshape=tuple(-1 if j == i else 1 for j in range(len(lead))))
        index = at if index is None else w.op("Add", w.op("Multiply", index, size), at)
    if index is None:
        raise NotExpressible("its shape")
    return w.op("Take", rows, index, shape=tuple(new), dtype=x.dtype, axis=0)


def counted(w: Writer, d: Any) -> tuple[Any, Any]:
    """0, 1, ... up to a size, and the size, both int32."""
    if isinstance(d, int):
        return _constant_range(w, d), d
    line = _line_of(w, d)
    one = _ones(w, line, d)
    steps = w.op("Subtract", w.op("Cumsum", one, axis=0), 1)
    return steps, w.op("Sum", one, shape=(), axis=None, keepdims=False)


def _ones(w: Writer, line: Ref, d: Any) -> Ref:
    return w.s.call("ops.OnesLike", [line], {"dtype": "int32"}, shapes=[(d,)], name=w.name, carry=True)[0]


def _constant_range(w: Writer, n: int) -> Any:
    """A constant range that descends from an input, as operations of the model must."""
    zero = w.op("Reshape", w.op("Subtract", ones(w.s, DType.INT32), 1), shape=(1,), newshape=(1,))
    return w.op("Add", zero, w.s.const(np.arange(n, dtype=np.int32)), shape=(n,))


@RULES.emit("transpose")
def transpose(s: KerasScribe, node: Node) -> None:
    w = Writer(s, node)
    x, perm = w.ref(), tuple(node.attrs["perm"])
    old, out = known(w.input(0)), known(node.outputs[0])
    if perm == tuple(range(len(perm))):
        w.end(x)
    elif [p for p in perm if old[p] != 1] == [i for i, d in enumerate(old) if d != 1] and sum(
        not isinstance(d, int) for d in old
    ) <= (2 if perm[0] == 0 else 1):  # only axes of size 1 move
        w.end(reshaped(w, x, old, out))
    elif perm[0] == 0:
        w.end(w.layer("Permute", x, {"dims": list(perm[1:])}, shape=known(node.outputs[0])))
    else:
        w.end(w.op("Transpose", x, shape=known(node.outputs[0]), axes=list(perm)))


@RULES.emit("squeeze")
def squeeze(s: KerasScribe, node: Node) -> None:
    """By an index where the size is not known when the model is built."""
    w = Writer(s, node)
    x, old, axes = w.ref(), known(w.input(0)), node.attrs["axes"]
    axes = [i for i, d in enumerate(old) if d == 1] if axes is None else sorted(axes)
    if not axes:
        w.end(x)
    elif all(old[a] == 1 for a in axes) and not _cut(s, w.input(0)):
        y = x
        for a in reversed(axes):
            now = list(y.shape or old)
            del now[a]
            y = w.op("Squeeze", y, shape=tuple(now), axis=a)
        w.end(y)
    else:
        key = tuple(0 if i in axes else slice(None) for i in range(len(old)))
        w.end(w.op("GetItem", x, key, shape=known(node.outputs[0])))


def _cut(s: KerasScribe, v: Value) -> bool:
    """Whether it descends from a part of an axis of unknown size: Keras does not know the size of that part either
    (``ops.GetItem``, 3.15.1), and refuses to squeeze such an axis."""
    found: dict[Value, bool] = s.memo("cut", dict)
    todo = [v]
    while todo:
        at = todo[-1]
        node = at.producer
        given = () if node is None else tuple(i for i in node.inputs if i is not None)
        below = [i for i in given if i not in found]
        if at in found or node is None or _cuts(node) or not below:
            found.setdefault(todo.pop(), node is not None and (_cuts(node) or any(found[i] for i in given)))
        else:
            todo += below
    return found[v]


def _cuts(node: Node) -> bool:
    if node.op != "slice":
        return False
    old, new = (v.shape if v is not None and v.shape is not None else () for v in (node.inputs[0], node.outputs[0]))
    return any(isinstance(n, int) and not isinstance(o, int) for o, n in zip(old, new))


# ---- parts
@RULES.emit("slice")
def slices(s: KerasScribe, node: Node) -> None:
    """An index with slices; a negative step flips the axis first (torch has no negative steps). The first elements, as many as
    another tensor has, are taken by their places, which is an error, or NaN on JAX, where there are fewer."""
    w = Writer(s, node)
    x, old = w.ref(), known(w.input(0))
    key: list[Any] = []
    flips: list[int] = []
    for i, (a, b, step) in enumerate(zip(node.attrs["starts"], node.attrs["stops"], node.attrs["steps"])):
        if isinstance(b, Dim) and b.is_name and a in (None, 0) and step == 1:
            if b != old[i]:
                x = w.op("Take", x, counted(w, b)[0], shape=(*(x.shape or ())[:i], b, *(x.shape or ())[i + 1 :]), axis=i)
            key.append(slice(None))
            continue
        if any(v is not None and not isinstance(v, int) for v in (a, b, step)):
            raise NotExpressible("its bounds are symbolic")
        n = old[i]
        if step < 0:
            if not isinstance(n, int):
                if a not in (None, -1) or b is not None:
                    raise NotExpressible("a negative step along an axis of unknown size")
                flips.append(i)
                key.append(slice(None, None, -step if step != -1 else None))
                continue
            picked = range(*slice(a, b, step).indices(n))
            flips.append(i)
            if not len(picked):
                raise NotExpressible("it is empty")
            first = n - 1 - picked[0]
            key.append(slice(first, first + (len(picked) - 1) * -step + 1, -step))
            continue
        if isinstance(n, int):
            a, b, _ = slice(a, b, step).indices(n)
            key.append(slice(a or None, b if b != n else None, step if step != 1 else None))
        else:
            key.append(slice(a or None, b, step if step != 1 else None))
    if flips:
        x = w.op("Flip", x, axis=flips[0] if len(flips) == 1 else tuple(flips))
    if all(k == slice(None) for k in key):
        w.end(x)
        return
    w.end(w.op("GetItem", x, tuple(key), shape=known(node.outputs[0])))


# ---- copies
@RULES.emit("expand")
def expand(s: KerasScribe, node: Node) -> None:
    """Broadcast to sizes that are known; to those of the batch, or others, times ones that have them."""
    w = Writer(s, node)
    w.end(expanded(w, w.ref(), known(w.input(0)), known(node.outputs[0]), w.dtype()))


@RULES.emit("tile")
def tiled(s: KerasScribe, node: Node) -> None:
    """Axes of size 1 repeated as often as another tensor is long: a broadcast."""
    w, repeats, shape = Writer(s, node), node.attrs["repeats"], known(node.need("x"))
    late = [i for i, n in enumerate(repeats) if not isinstance(n, int)]
    if not late or any(shape[i] != 1 for i in late):
        raise NotExpressible(f"repeats={tuple(map(str, repeats))} of {tuple(map(str, shape))} are not all of axes of size 1")
    counts = tuple(1 if i in late else n for i, n in enumerate(repeats))
    out = known(node.outputs[0])
    between = tuple(1 if i in late else d for i, d in enumerate(out))
    x = w.ref() if set(counts) == {1} else w.op("Tile", w.ref(), shape=between, repeats=counts)
    w.end(expanded(w, x, between, out, w.dtype()))


def expanded(w: Writer, x: Ref, old: Sequence[Any], out: Sequence[Any], dtype: DType) -> Ref:
    """``x`` of shape ``old`` broadcast to a shape, whose sizes may be those of other tensors."""
    if all(isinstance(d, int) for d in out):
        return broadcast(w, x, out)
    rank, given = len(out), tuple(old)
    old = (1,) * (rank - len(given)) + given
    if old == tuple(out):
        return x if len(given) == rank else reshaped(w, x, given, out)
    total: Any = x
    for i in [i for i, d in enumerate(out) if not isinstance(d, int) and old[i] == 1]:
        line, d = _line_of(w, out[i]), out[i]
        one = w.s.call("ops.OnesLike", [line], {"dtype": str(dtype)}, shapes=[(d,)], name=w.name, carry=True)[0]
        one = w.op("Reshape", one, shape=tuple(d if a == i else 1 for a in range(rank)),
                    newshape=tuple(-1 if a == i else 1 for a in range(rank)))  # fmt: skip
        total = w.op("LogicalAnd" if dtype is DType.BOOL else "Multiply", total, one)
    if any(isinstance(d, int) and old[i] != d for i, d in enumerate(out)):
        ones_ = np.ones(tuple(d if isinstance(d, int) and old[i] != d else 1 for i, d in enumerate(out)), dtype.numpy)
        total = w.op("LogicalAnd" if dtype is DType.BOOL else "Multiply", total, w.s.const(ones_), shape=out)
    return total  # type: ignore[no-any-return]


def _line_of(w: Writer, d: Any) -> Ref:
    """A vector that has a symbolic size: from a tensor of which one axis is of that size."""
    if not isinstance(d, Dim) or not d.is_name:
        raise NotExpressible(f"the size {d} is not that of any tensor", "unknown_shape")
    source, axis = w.s.sizes_known.source(next(iter(d.names)))
    if not isinstance(source, Ref) or source.shape is None:
        raise NotExpressible(f"the size {d} is that of a constant", "unknown_shape")
    key = tuple(slice(None) if a == axis else 0 for a in range(len(source.shape)))
    return w.op("GetItem", source, key, shape=(d,)) if len(key) > 1 else source


def broadcast(w: Writer, x: Ref, out: Sequence[Any]) -> Ref:
    return w.s.call("ops.BroadcastTo", [x], {"shape": tuple(out)}, shapes=[tuple(out)], name=w.name, carry=True)[0]


@RULES.emit("flip")
def flip(s: KerasScribe, node: Node) -> None:
    w = Writer(s, node)
    axes = tuple(node.attrs["axes"])
    w.end(w.op("Flip", w.ref(), axis=axes[0] if len(axes) == 1 else axes) if axes else w.x(0))


# ---- padding
@RULES.emit("pad")
def pad(s: KerasScribe, node: Node) -> None:
    """Zeros around spatial axes by the layer; edge, symmetric and wrap modes from parts (backends differ in theirs)."""
    w = Writer(s, node)
    x, pads, mode = w.ref(), node.attrs["pads"], node.attrs["mode"]
    if any(not isinstance(n, int) for pair in pads for n in pair):
        raise NotExpressible("its pads are symbolic")
    if any(n < 0 for pair in pads for n in pair):
        for i, (b, e) in enumerate(pads):
            if b < 0 or e < 0:
                d = known(w.input(0))[i]
                size = d + min(b, 0) + min(e, 0) if d is not None else None
                x = w.cut(x, i, -min(b, 0) or None, min(e, 0) or None, size=size)
        pads = tuple((max(b, 0), max(e, 0)) for b, e in pads)
    out = known(node.outputs[0])
    if not any(n for pair in pads for n in pair):
        w.end(x)
    elif mode == "constant":
        w.end(padded(w, x, pads, node.attrs["value"], out))
    elif mode == "reflect":
        w.end(w.op("Pad", x, shape=out, pad_width=[list(p) for p in pads], mode="reflect"))
    else:
        for i, (b, e) in enumerate(pads):
            if b or e:
                x = around(w, x, i, b, e, mode)
        w.end(x)


def padded(
    w: Writer, x: Ref, pads: Sequence[tuple[int, int]], value: Any, out: Sequence[Any] | None, image: Image | None = None
) -> Ref:
    """``x`` with a constant around it."""
    image = image or Image(False)
    dtype = x.dtype or w.dtype()
    middle = image.spatial(pads)
    if value == 0 and len(pads) in (3, 4, 5) and pads[0] == pads[image.channels] == (0, 0) and dtype.is_float:
        d = len(pads) - 2
        config = {"padding": list(middle[0]) if d == 1 else [list(p) for p in middle], "data_format": image.format}
        return w.layer(f"ZeroPadding{d}D", x, config, shape=out, dtype=dtype)
    if dtype is DType.BOOL or (dtype.is_float and value == np.finfo(np.float32).min):
        raise NotExpressible(f"pads {dtype} with {value}, which the torch backend does not")
    number = float(value) if dtype.is_float else int(value)
    (y,) = w.s.call("ops.Pad", [x, number], {"pad_width": [list(p) for p in pads], "mode": "constant"}, shapes=[tuple(out or ())],
                    name=w.name, carry=True)  # fmt: skip
    if out is None:
        w.s.journal.set(y, "shape", None)
    return y


def around(w: Writer, x: Ref, i: int, b: int, e: int, mode: str) -> Ref:
    """Edge, symmetric or wrap padding of one axis."""
    n = (x.shape or ())[i]
    if mode in ("wrap", "symmetric") and isinstance(n, int) and max(b, e) > n:
        raise NotExpressible(f"{mode} padding of more than the axis has")
    parts: list[Any] = []
    if b:
        if mode == "edge":
            parts.append(w.op("Repeat", w.cut(x, i, None, 1, size=1), shape=_resized(x, i, b), repeats=b, axis=i))
        elif mode == "symmetric":
            parts.append(w.op("Flip", w.cut(x, i, None, b, size=b), axis=i))
        else:
            parts.append(w.cut(x, i, -b, None, size=b))
    parts.append(x)
    if e:
        if mode == "edge":
            parts.append(w.op("Repeat", w.cut(x, i, -1, None, size=1), shape=_resized(x, i, e), repeats=e, axis=i))
        elif mode == "symmetric":
            parts.append(w.op("Flip", w.cut(x, i, -e, None, size=e), axis=i))
        else:
            parts.append(w.cut(x, i, None, e, size=e))
    return w.op("Concatenate", parts, shape=_resized(x, i, None if n is None else n + b + e), axis=i)


def _resized(x: Ref, axis: int, n: Any) -> tuple[Any, ...]:
    shape = list(x.shape or ())
    shape[axis] = n
    return tuple(shape)

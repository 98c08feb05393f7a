"""Tensors made from sizes and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import A, ArrayTensor, DType, ForeignNode, Node, NotExpressible, Value

from ..context import OnnxContext
from ..dialect import OnnxScribe
from ..typecheck import gives
from .base import RULES, dtype_code
from .shapes_in import scalar_size, size_list
from .shapes_out import shape_vector, size_scalar
from .steps import Steps, dtype_known

RULES.op("Shape", "shape_of", "data=x", until=14)
RULES.op("Shape", "shape_of", "data=x", since=15, start=A("start", 0), end=A("end", None))
RULES.op("Size", "size_of", "data=x")


@RULES.emit("shape_of", until=14)
def emit_part_of_shape(e: OnnxScribe, node: Node) -> None:
    s, rank = Steps(e, node), node.need("x").rank
    if rank is None:
        raise NotExpressible("the number of axes is not known")
    start, end, _ = slice(node.attrs["start"], node.attrs["end"]).indices(rank)
    s.last("Identity", shape_vector(s, node.need("x"), start, max(start, end)))


@RULES.emit("dim_value")
def emit_dim_value(e: OnnxScribe, node: Node) -> None:
    size = size_scalar(e, node.attrs["value"])
    if node.output.is_output:
        Steps(e, node).last("Identity", size)
    else:
        e.alias(node.output, size)


# ---- filled tensors


def _fill_value(node: ForeignNode) -> tuple[Any, DType]:
    t = node.attr("value", None)
    if t is None:
        return 0.0, DType.FLOAT32
    if t.size != 1:
        raise node.refuse(f"its value has {t.size} elements, not one")
    if t.dtype is DType.STRING:
        raise node.refuse("it fills with a string")
    return t.numpy().reshape(-1)[0].item(), t.dtype


@RULES.load("ConstantOfShape", since=9, priority=1)
def constant_of_sizes(g: OnnxContext, node: ForeignNode) -> Any:
    value, dtype = _fill_value(node)
    return g.b.fill(shape=size_list(g, node, 0, "input"), value=value, dtype=dtype)


@RULES.load("ConstantOfShape", since=9)
def constant_of_shape(g: OnnxContext, node: ForeignNode) -> Any:
    value, dtype = _fill_value(node)
    return g.b.dynamic_fill(node.need(0), value=value, dtype=dtype)


def _filled(s: Steps, shape: Any, value: Any, dtype: DType, last: bool) -> Any:
    """ConstantOfShape, or one element that is spread, of types that it does not give (bfloat16 before opset 20)."""
    write = s.last if last else s.add
    if not gives("ConstantOfShape", s.e.dialect.opset, dtype):
        return write("Expand", s.const(value, dtype), shape)
    return write("ConstantOfShape", shape, value=ArrayTensor(np.array([value]).astype(dtype.numpy)))


@RULES.emit("fill")
def emit_fill(e: OnnxScribe, node: Node) -> None:
    a = node.attrs
    _filled(Steps(e, node), e.sizes(a["shape"]), a["value"], a["dtype"], True)


@RULES.emit("dynamic_fill")
def emit_dynamic_fill(e: OnnxScribe, node: Node) -> None:
    _filled(Steps(e, node), node.need("shape"), node.attrs["value"], node.attrs["dtype"], True)


RULES.op("EyeLike", "eye_like", "input=x", since=9, k=A("k", 0), dtype=A("dtype", None, "onnx_dtype"))


@RULES.emit("eye")
def emit_eye(e: OnnxScribe, node: Node) -> None:
    s, a = Steps(e, node), node.attrs
    like = _filled(s, e.sizes((a["rows"], a["columns"])), 0, DType.FLOAT32, False)
    s.last("EyeLike", like, k=a["k"], dtype=dtype_code(a["dtype"]))


# ---- range


_HALVES = (DType.FLOAT16, DType.BFLOAT16)
RULES.op("Range", "range", "start=start, limit=limit, delta=delta", since=11, ignore=("stash_type",))


@RULES.load("Range", since=27, priority=1)
def range_of_halves(g: OnnxContext, node: ForeignNode) -> Any:
    """Half precision counts in float32."""
    dtype = dtype_known(node.need(0))
    if dtype not in _HALVES:
        raise NotExpressible("not half precision")
    if node.attr("stash_type", 1) != 1:
        raise node.refuse(f"stash_type={node.attr('stash_type')} is not float32")
    ends = [g.b.cast(v, to=DType.FLOAT32) for v in node.needed()]
    return g.b.cast(g.b.range(*ends), to=dtype)


@RULES.load("Range", since=11, priority=1)
def range_of_sizes(g: OnnxContext, node: ForeignNode) -> Any:
    """Bounds that shape arithmetic gives are numbers and sizes: the size of the result follows from them."""
    given = node.needed()
    ends = [_size_given(g, v) for v in given]
    if all(e is v for e, v in zip(ends, given)):
        raise NotExpressible("no bound is a size")
    return g.b.range(*ends)


def _size_given(g: OnnxContext, v: Value) -> Value:
    """A scalar that is computed from sizes, as a constant or as that size."""
    a = None if v.tensor is not None or v.dtype is not DType.INT64 else g.symbolic(v)
    n = None if a is None or a.size != 1 else a.reshape(-1)[0]
    if n is None:
        return v
    return g.b.const(np.asarray(n, np.int64)) if isinstance(n, int) else g.b.dim_value(value=n)


# ---- one_hot


@RULES.load("OneHot", since=9, priority=-1)
def one_hot_to_a_depth(g: OnnxContext, node: ForeignNode) -> Any:
    ids, depth, values = node.needed()
    if not dtype_known(ids).is_int:
        ids = g.b.cast(ids, to=DType.INT64)
    return g.b.dynamic_one_hot(ids, values, depth, axis=node.attr("axis", -1), wrap_negative=True)


@RULES.emit("dynamic_one_hot", since=9)
def emit_one_hot_to_a_depth(e: OnnxScribe, node: Node) -> None:
    s, a, values = Steps(e, node), node.attrs, node.arg("values")
    if not a["wrap_negative"]:
        raise NotExpressible("ids below 0 count from the end in ONNX")
    both = s.handle(values) if values is not None else s.const([a["off_value"], a["on_value"]], a["dtype"])
    s.last("OneHot", node.need("ids"), node.need("depth"), both, axis=a["axis"])


@RULES.load("OneHot", since=9)
def one_hot(g: OnnxContext, node: ForeignNode) -> Any:
    """The two values as numbers where they are constant floats, else as the tensor they come in."""
    ids, values = node.need(0), node.input(2)
    if not dtype_known(ids).is_int:
        ids = g.b.cast(ids, to=DType.INT64)
    a = g.constant(values)
    given: dict[str, Any] = {}
    if a is not None and DType.of(a.dtype).is_float and a.size == 2:
        given = {"off_value": float(a[0]), "on_value": float(a[1]), "dtype": DType.of(a.dtype)}
        values = None
    depth = _depth(g, node)
    return g.b.one_hot(ids, values, depth=depth, axis=node.attr("axis", -1), wrap_negative=True, **given)


def _depth(g: OnnxContext, node: ForeignNode) -> Any:
    a = g.constant(node.need(1))
    return scalar_size(g, node, 1, "depth") if a is None or a.size != 1 else int(a.item())


@RULES.emit("one_hot")
def emit_one_hot(e: OnnxScribe, node: Node) -> None:
    """ONNX counts negative ids from the end; where they mean "outside" they are moved to depth, which is."""
    s, a = Steps(e, node), node.attrs
    ids: Value = node.need("ids")
    dtype = dtype_known(ids)
    depth = size_scalar(e, a["depth"])
    x = s.handle(ids)
    if not a["wrap_negative"] and not dtype.value.startswith("uint"):
        if dtype is not DType.INT64:
            x = s.Cast(x, to=dtype_code(DType.INT64))
        x = s.Where(s.Less(x, s.const(0, DType.INT64)), depth, x)
    if len(node.inputs) > 1 and node.arg("values") is not None:
        values = s.handle(node.arg("values"))
    else:
        values = s.const([a["off_value"], a["on_value"]], a["dtype"])
    s.last("OneHot", x, depth, values, axis=a["axis"])

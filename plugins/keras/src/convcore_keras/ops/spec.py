"""What an operation of ``keras.ops`` takes: its signature, which of its arguments are tensors, and how their types are joined.

    RULES.op(operation("Add", "x1, x2", "join"), "add", "x1=x, x2=y")

:func:`operation` declares one and gives the :class:`Call` for its row. :func:`prepare` binds a call of a functional model by it:
tensors become the node's inputs, of the element types that Keras gives them (``keras.src.backend.common.dtypes``, 3.15.1, and
``compute_output_spec`` of the classes); numbers and arrays among them become constants, everything else are attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from convcore.plugin import Call, DType, ForeignNode, NotExpressible, Value

from ..load_context import KerasContext

__all__ = ["OPERATIONS", "Operation", "joined", "operation", "operations", "order_of", "padding_of", "prepare", "to_dtype"]

Promotion: TypeAlias = Literal["keep", "join", "float"]


@dataclass(frozen=True)
class Operation:
    """``tensors``: parameters that are tensors, the last may be a list (``"xs*"``), or all of the positional arguments
    (``"*xs"``). ``promote``: "join" gives those in
    ``joined`` the type they have in common, "float" as well, but integers and booleans become float32; "keep" changes none."""

    name: str
    call: Call
    tensors: tuple[str, ...]
    promote: Promotion
    joined: tuple[str, ...]


OPERATIONS: dict[str, Operation] = {}
"""By their type among the rules, ``ops.Add``."""


def operation(name: str, signature: str, promote: Promotion = "keep", *, tensors: str | None = None, joined: str = "") -> Call:
    """Declare ``keras.ops``'s class ``name``; ``tensors`` are names apart by spaces (default: all of the signature's), as are the
    ``joined`` (default: all tensors)."""
    call = Call(f"ops.{name}", signature.replace("*", ""))
    listed = [p.strip() for p in signature.split(",")]
    found = tuple(tensors.split()) if tensors is not None else tuple(p.rstrip("?").partition("=")[0] for p in listed if p)
    OPERATIONS[call.name] = Operation(name, call, found, promote, tuple(joined.split()) or tuple(t.strip("*") for t in found))
    return call


def operations(names: str, signature: str, promote: Promotion = "keep", *, tensors: str | None = None, joined: str = "") -> None:
    """:func:`operation` for several of one signature, their names apart by spaces."""
    for name in names.split():
        operation(name, signature, promote, tensors=tensors, joined=joined)


def prepare(g: KerasContext, node: ForeignNode) -> ForeignNode:
    """The node with its arguments bound, and typed, by its declaration; as it is where it has none.

    NotExpressible: the call does not fit the signature, or a tensor's place holds something else.
    """
    spec = OPERATIONS.get(node.type)
    if spec is None or not node.has("args"):
        return node
    args = node.attr("args")
    if spec.tensors and spec.tensors[0].startswith("*"):
        args = [list(args)]
    bound = spec.call.bind(args, node.attr("kwargs", {}))
    defaults = {p.ours: p.default for p in spec.call.parameters}
    slots: list[tuple[str, Any]] = []
    for name in spec.tensors:
        value = bound.pop(name.strip("*"), None)
        many = "*" in name and isinstance(value, (list, tuple))
        slots += [(name.strip("*"), v) for v in value] if many else [(name.strip("*"), value)]
    plain = [v if isinstance(v, Value) or v is None else _constant(v, name) for name, v in slots]
    if spec.promote != "keep":
        to = joined([v for (name, _), v in zip(slots, plain) if name in spec.joined and v is not None], spec.promote == "float")
    else:
        to = None
    inputs: list[Value | None] = []
    for (name, _), v in zip(slots, plain):
        if v is None:
            inputs.append(None)
        else:
            inputs.append(to_dtype(g, v, to if name in spec.joined else None))
    while inputs and inputs[-1] is None:
        inputs.pop()
    given = {k: v for k, v in bound.items() if not _same(v, defaults.get(k))}
    own = {k: v for k, v in node.attrs.items() if k not in ("args", "kwargs")}
    return node.called(inputs, {**given, **own})


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and not isinstance(a, np.ndarray) and bool(a == b)


def _constant(v: Any, name: str) -> Any:
    """A number, or an array of the type Keras gives it (a list of Python numbers: ``convert_to_tensor``)."""
    if isinstance(v, (bool, int, float, np.ndarray)):
        return v
    if isinstance(v, np.generic):
        return np.asarray(v)
    if isinstance(v, (list, tuple)):
        try:
            a = np.asarray(v)
        except (ValueError, TypeError):
            a = np.asarray(None)
        if a.dtype.kind in "bif":
            return a.astype({"b": np.bool_, "i": np.int32, "f": np.float32}[a.dtype.kind])
    raise NotExpressible(f"its argument {name!r} is neither a tensor nor numbers", "unsupported_call")


def joined(items: Sequence[Any], floating: bool) -> DType | None:
    """The element type of tensors, arrays and Python numbers together; None where one is not known.

    Numbers follow what they are combined with; integers follow floats; integers of different kind widen, as in JAX. int64 stays
    (``result_type`` makes it int32 on all backends but TensorFlow, where torch computes in int64 nevertheless).
    """
    strong: set[DType] = set()
    weak = ""
    for v in items:
        if isinstance(v, Value):
            if v.dtype is None:
                return None
            strong.add(v.dtype)
        elif isinstance(v, np.ndarray):
            strong.add(DType(str(v.dtype)))
        elif isinstance(v, bool):
            strong.add(DType.BOOL)
        else:
            weak = "float" if isinstance(v, float) or weak == "float" else "int"
    floats = {d for d in strong if d.is_float}
    if floats:
        return next(iter(floats)) if len(floats) == 1 else _widest(floats)
    if weak == "float" or floating:
        return DType.FLOAT32
    ints = {d for d in strong if d.is_int}
    if ints:
        return next(iter(ints)) if len(ints) == 1 else _integers(ints)
    return DType.INT32 if weak or not strong else DType.BOOL


def _widest(floats: set[DType]) -> DType:
    if {DType.FLOAT16, DType.BFLOAT16} >= floats:
        return DType.FLOAT32
    return max(floats, key=lambda d: d.itemsize)


def _integers(ints: set[DType]) -> DType:
    signed = [d for d in ints if str(d).startswith("int")]
    widest = max(d.itemsize for d in ints)
    if signed and any(not str(d).startswith("int") and d.itemsize >= max(s.itemsize for s in signed) for d in ints):
        widest *= 2
    if widest > 8:
        raise NotExpressible("joins uint64 with signed integers", "unsupported_dtype")
    return DType(f"{'int' if signed else 'uint'}{widest * 8}")


def order_of(node: ForeignNode) -> Literal["channels_first", "channels_last"]:
    """``data_format`` in any case (``standardize_data_format``); None is Keras's own default."""
    given = node.attr("data_format", None)
    word = "channels_last" if given is None else str(given).lower()
    if word not in ("channels_first", "channels_last"):
        raise node.refuse(f"data_format={given!r} is not channels_last or channels_first", code="unsupported_attribute")
    return "channels_first" if word == "channels_first" else "channels_last"


def padding_of(node: ForeignNode) -> str | None:
    """``padding`` in any case, as pads of an op."""
    given = node.attr("padding", "valid")
    word = str(given).lower()
    if word not in ("valid", "same"):
        raise node.refuse(f"padding={given!r} is neither valid nor same", code="unsupported_attribute")
    return "same_upper" if word == "same" else None


def to_dtype(g: KerasContext, v: Any, to: DType | None) -> Value:
    """A tensor, array or number as a value of a type; without one, of its own (int32 and float32 for numbers)."""
    if isinstance(v, Value):
        return v if to is None or v.dtype is to else g.b.cast(v, to=to)
    if isinstance(v, np.ndarray):
        value = g.b.const(v, DType(str(v.dtype)))
        return value if to is None or value.dtype is to else g.b.const(v.astype(to.numpy), to)
    if to is None:
        to = DType.BOOL if isinstance(v, bool) else DType.INT32 if isinstance(v, int) else DType.FLOAT32
    if to.is_int and isinstance(v, int) and not isinstance(v, bool):
        info = np.iinfo(to.numpy)
        if not info.min <= v <= info.max:
            raise NotExpressible(f"the number {v} does not fit {to}", "unsupported_dtype")
    return g.b.const(v, to)

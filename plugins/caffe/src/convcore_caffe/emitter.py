"""What emit rules work with: layers and blobs of the net being made, each blob written once, names given at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convcore.plugin import DType, Graph, Node, NotExpressible, Problem, Tensor, UnsupportedError, Value, as_tensor

from .emit_flavors import check_type
from .files import Message
from .files.schema import message_type
from .params import BLOBS, params_of

__all__ = ["Emitter", "PlanLayer", "Top", "blob_shape", "label", "param_message", "static"]


class Top:
    """A blob: what one layer writes. ``shape`` is fixed; ``value`` the IR value it holds, if it is one."""

    __slots__ = ("layer", "name", "shape", "value")

    def __init__(self, shape: Sequence[int], value: Value | None = None) -> None:
        self.shape = tuple(shape)
        self.value = value
        self.layer: PlanLayer | None = None
        self.name = ""

    def __repr__(self) -> str:
        return f"Top({self.name or (self.value.name if self.value is not None else '')!r}, {list(self.shape)})"


class PlanLayer:
    """A layer to be written. ``source`` is the source layer it comes from, ``param`` the fields of its parameter message."""

    __slots__ = ("blobs", "bottoms", "name", "param", "source", "tops", "type")

    def __init__(
        self, type: str, source: str, bottoms: Sequence[Top], tops: Sequence[Top], param: Mapping[str, Any],
        blobs: Sequence[Tensor],
    ) -> None:  # fmt: skip
        self.type, self.source = type, source
        self.bottoms, self.tops = list(bottoms), list(tops)
        self.param, self.blobs = dict(param), list(blobs)
        self.name = ""
        for t in self.tops:
            t.layer = self

    def __repr__(self) -> str:
        return f"PlanLayer({self.type}, {self.source!r}, {self.bottoms} -> {self.tops})"


class Emitter:
    """The EmitContext of Caffe. A handle is a :class:`Top`. Caffe computes in float32: other dtypes are refused unless a rule
    says that its layers only carry numbers (``carry``)."""

    def __init__(self, graph: Graph, flavor: str, rounding: str) -> None:
        self.version: int | None = None
        self.graph, self.flavor, self.rounding = graph, flavor, rounding
        self.layers: list[PlanLayer] = []
        self.bound: dict[Value, Top] = {}
        self.slices: dict[tuple[Top, int, tuple[int, ...]], tuple[int, PlanLayer]] = {}
        self.ahead: set[Value] = set()
        self._log: list[Value] = []

    # ---- EmitContext
    def mark(self) -> tuple[int, int]:
        return len(self.layers), len(self._log)

    def rollback(self, mark: tuple[int, int]) -> None:
        del self.layers[mark[0] :]
        while len(self._log) > mark[1]:
            self.bound.pop(self._log.pop(), None)

    def skip(self, v: Value) -> None:
        """Bind a value whose node failed to a blob nothing makes; the net is not written then."""
        self._bind(v, Top([d if isinstance(d, int) else 1 for d in v.shape or ()], v))

    def opaque(self, node: Node) -> None:
        """Refuse an opaque layer: what it means is not known, so neither is what its blobs hold."""
        why = str(node.attrs["why"]) or "convcore has no op for it"
        code = str(node.attrs["code"])
        hint = str(node.attrs.get("hint") or "")
        raise UnsupportedError(Problem(label(node), str(node.attrs["type"]), why, hint, code))

    def value(self, v: Value, *, carry: bool = False) -> Top:
        """The blob of an IR value; a constant becomes a Parameter layer at its first use."""
        if not carry and v.dtype is not None and v.dtype is not DType.FLOAT32:
            raise NotExpressible(f"Caffe computes in float32, {v.name!r} is {v.dtype}")
        found = self.bound.get(v)
        if found is not None:
            return found
        if v.tensor is None:
            raise NotExpressible(f"the value {v.name!r} has not been emitted")
        return self.parameter(v.tensor, v)

    def const(self, value: Any, dtype: Any = None, name: str = "") -> Top:
        """A blob that holds an array: a Parameter layer."""
        return self.parameter(as_tensor(value, DType.FLOAT32), None, name)

    def parameter(self, tensor: Tensor, v: Value | None = None, name: str = "") -> Top:
        if v is not None and tensor.dtype is not DType.FLOAT32:
            raise NotExpressible(f"the constant {v.name!r} is {tensor.dtype}, Caffe's blobs are float32")
        top = Top(tensor.shape, v)
        source = name or (v.name if v is not None else "constant")
        self.layers.append(PlanLayer("Parameter", source, [], [top], {"shape": blob_shape(tensor.shape)}, [tensor]))
        if v is not None:
            self._bind(v, top)
        return top

    def add(
        self, type: str, inputs: Sequence[Any], attrs: Mapping[str, Any], *, weights: Mapping[str, Tensor] | None = None,
        outputs: Sequence[Value | None] = (), n_outputs: int = 1, name: str = "", shapes: Sequence[Sequence[int]] = (),
        carry: bool = False, blobs: Sequence[Tensor] = (),
    ) -> Sequence[Top]:  # fmt: skip
        """Add a layer. ``attrs`` are fields of its parameter message; ``blobs`` its weights (or ``weights`` by name).

        The tops hold ``outputs``; ``shapes`` says what those are that hold none (or one of open shape). Layers are named after
        the source layer of their output, else after ``name``.
        """
        if outputs and all(v in self.ahead for v in outputs):
            return [self.bound[v] for v in outputs if v is not None]
        check_type(type, self.flavor)
        tops: list[Top] = []
        source = name
        for i in range(max(len(outputs), len(shapes), n_outputs if not outputs and not shapes else 0)):
            v = outputs[i] if i < len(outputs) else None
            if v is None:
                tops.append(Top(shapes[i]))
                continue
            if not carry and v.dtype not in (None, DType.FLOAT32):
                raise NotExpressible(f"Caffe computes in float32, {v.name!r} is {v.dtype}")
            tops.append(Top(shapes[i] if i < len(shapes) else static(v), v))
            if v.producer is not None:
                source = v.producer.origin.layer or source
        if weights:
            known = BLOBS[type]
            blobs = [weights[n] for n in known if n in weights]
        self.layers.append(PlanLayer(type, source or type.lower(), inputs, tops, attrs, blobs))
        for t in tops:
            if t.value is not None:
                self._bind(t.value, t)
        return tops

    def alias(self, v: Value, top: Top) -> None:
        """Let a value be a blob that another layer writes."""
        if v not in self.ahead:
            self._bind(v, top)

    def given(self, *values: Value) -> None:
        """Values that a layer of an earlier node gives already: their own nodes add nothing. Those without a blob get one that
        nothing reads."""
        for v in values:
            if v not in self.bound:
                self._bind(v, Top(static(v), v))
        self.ahead.update(values)

    def _bind(self, v: Value, top: Top) -> None:
        self.bound[v] = top
        self._log.append(v)


def label(node: Node) -> str:
    """The source layer a node comes from: what its Caffe layers are named after."""
    return node.origin.layer or node.name


def static(v: Value) -> tuple[int, ...]:
    """The shape as integers; NotExpressible where it is not fixed."""
    if v.shape is None or any(not isinstance(d, int) for d in v.shape):
        shown = "unknown" if v.shape is None else "(" + ", ".join("?" if d is None else str(d) for d in v.shape) + ")"
        raise NotExpressible(f"Caffe's blobs have fixed shapes, that of {v.name!r} is {shown}", "unknown_shape")
    return tuple(int(d) for d in v.shape)  # type: ignore[arg-type]


def blob_shape(shape: Sequence[int]) -> Message:
    """A BlobShape message."""
    m = Message("BlobShape")
    if shape:
        m.set("dim", [int(n) for n in shape])
    return m


def param_message(type_: str, fields: Mapping[str, Any]) -> tuple[str, Message] | None:
    """(field of LayerParameter, message) for a layer's parameters; None where there are none."""
    if not fields:
        return None
    declared = message_type("LayerParameter").by_name
    field = next(f for f in params_of(type_) if f in declared)
    m = Message(declared[field].type)
    for name, value in fields.items():
        if m.schema.by_name[name].repeated and not isinstance(value, (list, tuple)):
            value = [value]
        m.set(name, value)
    return field, m

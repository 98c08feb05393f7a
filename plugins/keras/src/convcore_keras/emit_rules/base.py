"""What emit rules share: one node being written, its operands and results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convcore.plugin import DType, Node, NotExpressible, Ref, Shape, State, Tensor, Value, broadcast_shapes

from ..dialect import KerasScribe, ones
from ..ruleset import RULES

__all__ = ["RULES", "Image", "Writer", "channels_last", "known", "static"]


@dataclass(frozen=True)
class Image:
    """Where an image has its channels, and where its spatial axes are."""

    first: bool

    @property
    def format(self) -> str:
        return "channels_first" if self.first else "channels_last"

    @property
    def channels(self) -> int:
        return 1 if self.first else -1

    def axis(self, i: int) -> int:
        """The place of a spatial axis."""
        return i + (2 if self.first else 1)

    def spatial(self, shape: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(shape[2:] if self.first else shape[1:-1])

    def around(self, batch: Any, spatial: Iterable[Any], channels: Any) -> tuple[Any, ...]:
        """One entry per axis, in order."""
        return (batch, channels, *spatial) if self.first else (batch, *spatial, channels)


class Writer:
    """A node and the scribe that writes it: ``op`` and ``layer`` make a call each, ``end`` says what a result of the node is."""

    def __init__(self, s: KerasScribe, node: Node) -> None:
        self.s, self.node, self.attrs = s, node, node.attrs
        self.name = node.origin.layer or node.name
        self.image = Image(node.attrs.get("layout") == "channels_first")

    def input(self, i: int) -> Value:
        v = self.optional(i)
        if v is None:
            raise NotExpressible("an input is missing")
        return v

    def optional(self, i: int) -> Value | None:
        return self.node.inputs[i] if i < len(self.node.inputs) else None

    def x(self, i: int) -> Any:
        """The handle of an input."""
        return self.s.value(self.input(i))

    def carried(self) -> Any:
        """The handle of the first input, whose elements are only moved."""
        return self.s.value(self.input(0), carry=True)

    def tensor(self, i: int, what: str) -> Tensor:
        """An input that must be a constant."""
        v = self.input(i)
        if v.tensor is None:
            raise NotExpressible(f"a Keras layer holds {what} as a weight, here it is computed")
        return v.tensor

    def ref(self, i: int = 0) -> Ref:
        """The handle of an input that layers take; a constant becomes one times a one that descends from an input."""
        x = self.x(i)
        if isinstance(x, Ref):
            return x
        d, shape = self.dtype(i), tuple(x.shape)
        one = self.op("Reshape", ones(self.s, d), shape=(1,) * len(shape), newshape=(1,) * len(shape))
        return self.op("LogicalAnd" if d is DType.BOOL else "Multiply", one, x, shape=shape, dtype=d)

    def op(self, name: str, *args: Any, shape: Sequence[Any] | None = None, dtype: DType | None = None, **config: Any) -> Ref:
        """The result of an operation. Without ``shape`` that of the operands, broadcast."""
        if shape is None:
            shapes = [a.shape for a in args if isinstance(a, (Ref, State))]
            shape = broadcast_shapes(*shapes)
        (y,) = self.s.call(f"ops.{name}", args, config, shapes=[shape if shape is not None else ()], name=self.name, carry=True)
        if shape is None:
            self.s.journal.set(y, "shape", None)
        if dtype is not None:
            self.s.journal.set(y, "dtype", dtype)
        return y

    def layer(
        self, type: str, x: Any, config: Mapping[str, Any] | None = None, states: Mapping[str, State | Tensor] | None = None,
        *, shape: Sequence[Any] | None, dtype: DType | None = None,
    ) -> Ref:  # fmt: skip
        """The result of a layer. A bias that is frozen where the rest is not, or the other way round, is added behind it."""
        args = list(x) if isinstance(x, tuple) else [x]
        bias = (states or {}).get("bias")
        if states and isinstance(bias, State) and isinstance(bias.value, Value):
            rest = {k: t for k, t in states.items() if k != "bias"}
            if any(isinstance(t, State) and t.role == "parameter" and t.trainable != bias.trainable for t in rest.values()):
                y = self.layer(type, x, config, rest, shape=shape, dtype=dtype)
                return self.op("Add", y, self.s.value(bias.value), shape=shape)
        (y,) = self.s.unit(type, args, config or {}, states or {}, shapes=[shape or ()], name=self.name, carry=True)
        if shape is None:
            self.s.journal.set(y, "shape", None)
        kind = dtype or self.node.outputs[0].dtype
        if kind is not None:
            self.s.journal.set(y, "dtype", kind)
        return y

    def end(self, *results: Any) -> None:
        """What the node's outputs are."""
        for v, y in zip(self.node.outputs, results):
            if isinstance(y, Ref):
                if y.value is None and y.call is not None:
                    self.s.journal.set(y, "value", v)
                    if v.shape is not None:
                        self.s.journal.set(y, "shape", v.shape)
                    if v.dtype is not None:
                        self.s.journal.set(y, "dtype", v.dtype)
            self.s.alias(v, y)

    # ---- helpers
    def dtype(self, i: int = 0) -> DType:
        d = self.input(i).dtype
        if d is None:
            raise NotExpressible("the element type of its input is not known", "unknown_dtype")
        return d

    def number(self, value: Any, dtype: DType | None = None) -> Any:
        """A scalar constant of the type of the first input, as an argument."""
        return self.s.const(value, dtype or self.dtype())

    def cut(self, x: Ref, axis: int, start: int | None, stop: int | None, step: int | None = None, size: Any = None) -> Ref:
        """A slice along one axis."""
        shape = list(x.shape or ())
        axis %= len(shape)
        key: list[Any] = [slice(None)] * len(shape)
        key[axis] = slice(start, stop, step)
        n = shape[axis]
        if size is None and isinstance(n, int):
            size = len(range(*slice(start, stop, step).indices(n)))
        shape[axis] = size
        return self.op("GetItem", x, tuple(key), shape=shape)

    def cast(self, x: Any, to: DType) -> Any:
        if x.dtype is to:
            return x
        (y,) = self.s.call("ops.Cast", [x], {"dtype": str(to)}, shapes=[x.shape or ()], name=self.name, carry=True)
        if x.shape is None:
            self.s.journal.set(y, "shape", None)
        return y

    def constant(self, v: Value | None) -> Any:
        """The numbers of a constant input, or None."""
        return None if v is None or v.tensor is None else v.tensor.numpy()


def known(v: Value) -> Shape:
    """The shape of a value whose number of axes is known."""
    if v.shape is None:
        raise NotExpressible(f"the number of axes of {v.name!r} is not known", "unknown_shape")
    return v.shape


def static(shape: Shape | None, what: str = "its input") -> tuple[int, ...]:
    """A shape of integers."""
    if shape is None or any(not isinstance(d, int) for d in shape):
        raise NotExpressible(f"Keras needs the sizes of {what} here, they are not known before it runs", "unknown_shape")
    return tuple(int(d) for d in shape)  # type: ignore[arg-type]


def channels_last(node: Node) -> None:
    """NotExpressible where images have their channels first: what Keras has no layer for is written for channels last."""
    if node.attrs.get("layout", "channels_last") != "channels_last":
        raise NotExpressible("its layout is channels_first")

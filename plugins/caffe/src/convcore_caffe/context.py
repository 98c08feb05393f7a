"""What Caffe load rules work with: a layer as a ForeignNode with the schema's defaults, its weights, and the net."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from convcore.plugin import (
    MISSING,
    PARAMETER,
    BadFileError,
    Builder,
    DimLike,
    ForeignNode,
    InputShapes,
    LoadContext,
    Origin,
    Tensor,
    UnsupportedError,
    Value,
    ask,
    known_shape,
)

from .files import Layer, Net
from .fillers import fill
from .layer_spec import Blob, params_of, spec_of, types_with

__all__ = ["UNKNOWN_SHAPE", "CaffeContext", "CaffeNode", "too_large"]

UNKNOWN_SHAPE = "unknown_shape"
_INT_MAX = 0x7FFFFFFF  # Blob::Reshape checks it


def too_large(shape: Sequence[DimLike | None] | None) -> bool:
    """Whether a blob of this shape has more elements than Caffe can count."""
    count = 1
    for d in shape or ():
        count *= d if isinstance(d, int) else 1
    return count > _INT_MAX


class CaffeNode(ForeignNode):
    """One layer. Attributes are the given fields of the parameter messages its type reads, by field name; fields of no
    schema too, so that nobody drops them. :meth:`attr` gives an absent one Caffe's default.
    """

    layer: Layer
    index: int

    def __init__(self, layer: Layer, index: int, inputs: Sequence[Value], name: str) -> None:
        self.layer, self.index = layer, index
        self.messages = [layer.params[p] for p in params_of(layer.type) if p in layer.params]
        attrs: dict[str, Any] = {}
        for m in self.messages:
            attrs.update(m.fields() if m.known else ())
        declared = {name for m in self.messages if m.known for name in m.schema.by_name}
        for more in (*(m.unknown for m in self.messages), layer.unknown):  # never in the place of a field of the schema
            attrs.update({f"unknown {k}" if k in declared else k: v for k, v in more.items()})
        super().__init__(
            layer.type, name, inputs, attrs, outputs=layer.tops, origin=Origin("caffe", name, layer.type), extra=layer
        )
        self.spec = spec_of(layer.type)
        self.fitted: dict[int, Tensor] = {}  # its blobs in the shapes it wants, as they are asked for

    def attr(self, name: str, default: Any = MISSING) -> Any:
        """A field's value, else ``default``, else Caffe's default (None where it has none, [] for a repeated field)."""
        if name in self.spec.spatial:
            return self._per_axis(name)
        self._read.add(name)
        if name in self.attrs:
            return self.attrs[name]
        if default is not MISSING:
            return default
        for param in params_of(self.type):
            try:
                message = self.layer.param(param)
            except KeyError:
                continue
            if message.known and name in message.schema.by_name:
                try:
                    return message.get(name)
                except UnsupportedError as e:  # forks disagree about the default
                    p = e.problems[0]
                    raise self.refuse(p.why, p.hint, p.code) from None
        raise self.refuse(f"has no field {name!r}", code="missing_attribute")

    def has(self, name: str) -> bool:
        """Whether a field is given, as it is or in parts."""
        return name in self.attrs or (name in self.spec.spatial and any(p in self.attrs for p in _pair(name)))

    def _per_axis(self, name: str) -> tuple[int, ...]:
        """A field with a number per spatial axis: given once for all or once each, or as ``*_h`` and ``*_w`` (2-D)."""
        n = len(self.shape()) - (self.axis() if "axis" in self.attrs else 1) - 1
        pair, default = _pair(name), self.spec.spatial[name]
        self.ignore(name, *pair)
        if name != "dilation" and any(p in self.attrs for p in pair):
            if n != 2:
                raise self.invalid(f"{pair[0]} and {pair[1]} are for 2 spatial axes, the bottom has {n}")
            return tuple(self.attrs.get(p, 0) for p in pair)
        given = self.attrs.get(name, ())
        values = tuple(given) if isinstance(given, (list, tuple)) else (given,)
        if not values:
            if default is None and n:
                raise self.invalid(f"{name} is not given")
            return (0 if default is None else default,) * n
        if len(values) not in (1, n):
            raise self.invalid(f"{name} is given {len(values)} times for {n} spatial axes; give it once, or once per axis")
        return values * n if len(values) == 1 else values

    def blobs(self) -> list[Blob]:
        """The weights a layer of this type and configuration has, in Caffe's order."""
        if self.spec.or_bottom and len(self.inputs) > 1:
            return [b for b in self.spec.blobs if b.when and self.attr(b.when)]
        return [b for b in self.spec.blobs if not b.when or self.attr(b.when)]

    def invalid(self, why: str) -> BadFileError:
        """The error to raise where Caffe itself refuses the layer."""
        return BadFileError(f"layer {self.name!r} ({self.type}): {why}")

    @property
    def x(self) -> Value:
        """The first bottom."""
        return self.bottom(0)

    def bottom(self, i: int) -> Value:
        """A bottom that must be there."""
        v = self.inputs[i] if i < len(self.inputs) else None
        if v is None:
            raise self.invalid(f"takes more than the {len(self.inputs)} bottoms given")
        return v

    def number(self, name: str, least: int | None = None) -> int:
        """A field that must hold a whole number (as an integer, or a float without fraction), at least ``least``."""
        value = self.attr(name)
        if not isinstance(value, (int, float)) or not math.isfinite(value) or value != int(value):
            raise self.invalid(f"{name} is not given" if value is None else f"{name} {value} is not a whole number")
        if least is not None and value < least:
            raise self.invalid(f"{name} {value} must be at least {least}")
        return int(value)

    def shape(self, i: int = 0) -> tuple[DimLike | None, ...]:
        """The shape of a bottom; its rank is known."""
        return known_shape(self.bottom(i))

    def sizes(self, i: int = 0, axes: int = 0) -> tuple[DimLike, ...]:
        """The shape of a bottom with every size known, if only by name, and at least ``axes`` axes."""
        shape = known_shape(self.bottom(i), sizes=True)
        if len(shape) < axes:
            raise self.invalid(f"bottom {i} has {len(shape)} axes, at least {axes} are needed")
        return shape

    def integers(self, sizes: Sequence[DimLike | None], what: str) -> tuple[int, ...]:
        """Sizes that must be fixed numbers here."""
        out = []
        for d in sizes:
            if not isinstance(d, int):
                raise self.refuse(
                    f"{what} must be fixed numbers, not {d}",
                    f"give {ask('--input-shape', 'input_shapes=')} with numbers",
                    UNKNOWN_SHAPE,
                )
            out.append(d)
        return tuple(out)

    def axis(self, name: str = "axis") -> int:
        """An axis of the first bottom as 0..rank-1 (``Blob::CanonicalAxisIndex``)."""
        return self.place(self.attr(name), name, len(self.shape()))

    def place(self, axis: int, name: str, end: int) -> int:
        """An axis of the first bottom, or a place after it, as 0..end-1; what is negative counts from the end of the bottom."""
        rank = len(self.shape())
        if not -rank <= axis < end:
            raise self.invalid(f"{name} {axis} is out of range for a bottom of {rank} axes")
        return axis + rank if axis < 0 else axis


def _pair(name: str) -> tuple[str, str]:
    short = name.removesuffix("_size")
    return f"{short}_h", f"{short}_w"


class OwnBlobs(Mapping[str, Tensor]):
    """The weights of a layer by name, each in the shape its record says, read when asked for.

    BadFileError where the file holds another number of them, or one does not fit.
    """

    def __init__(self, g: CaffeContext, node: CaffeNode) -> None:
        self.g, self.node = g, node

    def __iter__(self) -> Iterator[str]:
        return iter([b.name for b in self.node.blobs() if b.shape is not None])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getitem__(self, name: str) -> Tensor:
        blobs = self.node.blobs()
        self.g.count(self.node, len(blobs))
        for i, b in enumerate(blobs):
            if b.name == name and b.shape is not None:
                return self.g.tensor(self.node, i, b.shape(self.node), b.filler, b.constant)
        raise KeyError(name)


class CaffeContext(LoadContext):
    """``g`` in Caffe rules. ``init`` says whether layers without weights are filled (``--init-weights``)."""

    def __init__(self, builder: Builder, net: Net, options: Mapping[str, Any], shapes: InputShapes) -> None:
        super().__init__(builder)
        self.net, self.options, self.shapes = net, options, shapes
        tops = [t for layer in net.layers if layer.type in {*types_with("source"), "Input"} for t in layer.tops]
        self._only = tops[0] if len(tops) == 1 else None
        self.init = bool(options.get("init_weights"))
        self.notes: list[str] = list(net.notes)
        self.inputs: dict[str, Value] = {}
        self.transforms: dict[str, dict[str, Any]] = {}
        self._tensors: dict[Any, Tensor] = {}

    # ---- inputs
    def is_given(self, top: str) -> bool:
        """Whether the caller gives a shape for a top; that of the only one may be named ""."""
        return top in self.shapes or (top == self._only and "" in self.shapes)

    def input(self, top: str, shape: Sequence[DimLike | None] | None) -> Value:
        """A top as an input of the graph: of the caller's shape, else of this one."""
        shape = self.shapes.take(top, None if shape is None else tuple(shape), only=top == self._only)
        v = self.inputs[top] = self.b.input(top, "float32", shape)
        self.b.graph.rename(v, top)
        return v

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    # ---- weights
    def count(self, node: CaffeNode, *allowed: int) -> int:
        """How many blobs the layer has; Caffe refuses any other number than the layer makes itself."""
        held = len(node.layer.blobs)
        if not held and self.init:
            return allowed[0]
        if held not in allowed:
            raise node.invalid(f"has {held} weight blobs, the layer takes {' or '.join(map(str, allowed))}")
        return held

    def tensor(self, node: CaffeNode, i: int, shape: Sequence[int], filler: str, constant: float) -> Tensor:
        """Blob ``i`` in the shape the layer wants; with ``--init-weights`` and no weights what its filler makes.

        ``filler`` is the field holding the FillerParameter ("": there is none), ``constant`` the value when it is not given.
        """
        made = node.fitted[i] = self._tensor(node, i, tuple(shape), filler, constant)
        return made

    def _tensor(self, node: CaffeNode, i: int, want: tuple[int, ...], filler: str, constant: float) -> Tensor:
        layer = node.layer
        if layer.blobs or not self.init:
            home = self.home(node, i)
            found = self._tensors.get((home, want))
            if found is None:
                found = self._tensors[home, want] = layer.blob(i, want)
            return found
        home = self.home(node, i)
        made = self._tensors.get(home)
        if too_large(want):
            raise node.invalid(f"its blob {i} of shape {list(want)} has more elements than a Caffe blob can have")
        if made is None:
            message = node.attr(filler) if filler and filler in node.attrs else None
            made = self._tensors[home] = fill(message, want, constant, f"{node.name}/{i}", node)
        return made.reshape(want)

    def home(self, node: CaffeNode, i: int) -> tuple[int, int]:
        """Where blob ``i`` of a layer lives: (layer, blob) of the one that owns it."""
        owner = node.layer.shared.get(i)
        return (owner.layer_index, owner.blob_index) if owner else (node.index, i)

    def weight_of(
        self, node: CaffeNode, i: int, name: str, shape: Sequence[int], *, filler: str, constant: float,
        key: Any = None, make: Callable[[Tensor], Tensor] | None = None,
    ) -> Value:  # fmt: skip
        """Blob ``i`` as a graph weight, once per parameter, shape and ``key``; ``make`` changes its form (reshape, transpose)."""
        tensor, trainable = self.tensor(node, i, shape, filler, constant), self.learns(node, i)
        return self.parameter(node, (self.home(node, i), tuple(shape), key), name, make(tensor) if make else tensor, trainable)

    def weight(self, node: ForeignNode, name: str, tensor: Tensor, *, trainable: bool = True, role: str = PARAMETER) -> Value:
        """A weight that :class:`OwnBlobs` gave, once per parameter and shape."""
        assert isinstance(node, CaffeNode)
        i = [b.name for b in node.blobs()].index(name)
        trainable = trainable and self.learns(node, i)
        return self.parameter(node, (self.home(node, i), tensor.shape), name, tensor, trainable, role)

    def own(self, node: CaffeNode, name: str, make: Callable[[Tensor], Tensor] | None = None) -> Value:
        """The weight of a name, in the form that ``make`` gives it."""
        tensor = node.weights[name]
        return self.weight(node, name, tensor if make is None else make(tensor))

    @staticmethod
    def learns(node: CaffeNode, i: int) -> bool:
        """Whether blob ``i`` is trained: its ``param`` does not say ``lr_mult: 0``."""
        specs = node.layer.param_specs
        return not (i < len(specs) and specs[i].lr_mult == 0)

    def parameter(self, node: CaffeNode, key: Any, name: str, tensor: Tensor, trainable: bool, role: str = PARAMETER) -> Value:
        """A graph weight named ``<layer>/<name>``, once per ``key``."""
        full = f"{node.name}/{name}"
        return self.derived(key, lambda: self.b.weight(tensor, full, trainable=trainable, source=full, role=role))

    # ---- values
    def scalar(self, x: Value, value: float) -> Value:
        return self.b.like(x, value)

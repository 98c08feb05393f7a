"""What rules see of a foreign framework: nodes with tracked attribute reads, and the two contexts rules work in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from ..build.builder import Builder
from ..errors import Problem, UnsupportedError
from ..ir.dims import DimLike
from ..ir.graph import PARAMETER, Node, Origin, Value
from ..ir.tensors import Tensor
from .isomorphisms import NotExpressible

__all__ = ["MISSING", "EmitContext", "ForeignNode", "LoadContext", "unsupported"]


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


class ForeignNode:
    """One node or layer of a source model, in neutral form.

    ``inputs`` are IR values (None where omitted), ``weights`` arrays the layer owns by name, ``attrs`` its attributes as
    plain Python. Reading an attribute through :meth:`attr` marks it as consumed; what nobody consumed is an error. ``alone``
    says that its layer is nothing but this node: what a row makes of it has the names of the layer and its outputs at once.
    """

    alone = False

    def __init__(
        self,
        type: str,
        name: str,
        inputs: Sequence[Value | None],
        attrs: Mapping[str, Any],
        *,
        weights: Mapping[str, Tensor] | None = None,
        outputs: Sequence[str] = (),
        version: int | None = None,
        origin: Origin | None = None,
        extra: Any = None,
    ) -> None:
        self.type, self.name = type, name
        self.inputs = list(inputs)
        self.attrs = dict(attrs)
        self.weights: Mapping[str, Tensor] = dict(weights or {})
        self.outputs = list(outputs)
        self.version = version
        self.origin = origin or Origin("", name, type)
        self.extra = extra
        self._read: set[str] = set()

    def attr(self, name: str, default: Any = MISSING) -> Any:
        """An attribute; without default a missing one is an error."""
        self._read.add(name)
        if name in self.attrs:
            return self.attrs[name]
        if default is MISSING:
            raise UnsupportedError(Problem(self.name, self.type, f"attribute {name!r} is missing", code="missing_attribute"))
        return default

    def has(self, name: str) -> bool:
        return name in self.attrs

    def whole(self, name: str, default: Any = MISSING) -> int:
        """An attribute that is a whole number; refused where the file holds anything else."""
        v = self.attr(name, default)
        if isinstance(v, bool) or not isinstance(v, (int, float, np.integer)) or v != v or v in (np.inf, -np.inf) or int(v) != v:
            raise self.refuse(f"{name}={v!r} is not a whole number")
        return int(v)

    def real(self, name: str, default: Any = MISSING) -> float:
        """An attribute that is a number; refused where the file holds anything else."""
        v = self.attr(name, default)
        if isinstance(v, bool) or not isinstance(v, (int, float, np.number)):
            raise self.refuse(f"{name}={v!r} is not a number")
        return float(v)

    def axis_in(self, given: Any, rank: int) -> int:
        """An axis of the source as 0..rank-1; refused where it is none of so many axes (no framework counts around again)."""
        if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or not -rank <= given < rank:
            raise self.refuse(f"axis={given!r} is no axis of {rank}")
        return int(given) % rank

    def axes_in(self, given: Any, rank: int) -> list[int]:
        """An axis or a list of them as 0..rank-1, in the order given; refused as by :meth:`axis_in`."""
        several = given if isinstance(given, (list, tuple)) else [given]
        if any(isinstance(a, bool) or not isinstance(a, (int, np.integer)) or not -rank <= a < rank for a in several):
            raise self.refuse(f"axis={given!r} is no axis, or list of axes, of {rank}")
        return [int(a) % rank for a in several]

    def ignore(self, *names: str) -> None:
        """Attributes that have no meaning for inference."""
        self._read.update(names)

    def unread(self) -> list[str]:
        """Attributes nobody has looked at."""
        return [k for k in self.attrs if k not in self._read]

    def called(self, inputs: Sequence[Value | None], attrs: Mapping[str, Any]) -> ForeignNode:
        """The same node with its call's arguments as inputs and attributes; what is read there counts as read here."""
        out = ForeignNode(
            self.type, self.name, inputs, attrs, weights=self.weights, outputs=self.outputs, version=self.version,
            origin=self.origin, extra=self.extra,
        )  # fmt: skip
        out._read = self._read
        return out

    def fresh(self) -> None:
        """Forget what was read (another rule is tried)."""
        self._read.clear()

    def input(self, i: int) -> Value | None:
        """The i-th input, None when omitted."""
        return self.inputs[i] if i < len(self.inputs) else None

    def need(self, i: int) -> Value:
        """The i-th input, which must be given: refused where it is omitted."""
        v = self.input(i)
        if v is None:
            raise self.refuse(f"its input {i} is missing", code="missing_input")
        return v

    def needed(self, start: int = 0) -> list[Value]:
        """All inputs from ``start`` on, none of them omitted."""
        return [self.need(i) for i in range(start, len(self.inputs))]

    def refuse(self, why: str, hint: str = "", code: str = "unsupported_attribute") -> UnsupportedError:
        """The error to raise when this node cannot be mapped exactly."""
        return unsupported(self, why, hint, code)

    def __repr__(self) -> str:
        return f"{self.name!r} ({self.type})"


def unsupported(node: ForeignNode | Node, why: str, hint: str = "", code: str = "unsupported_attribute") -> UnsupportedError:
    """An UnsupportedError with one problem that names the source layer and type."""
    if isinstance(node, Node):
        o = node.origin
        return UnsupportedError(Problem(o.layer or node.name, o.type or node.op, why, hint, code))
    return UnsupportedError(Problem(node.name, node.type, why, hint, code))


class LoadContext:
    """What a load rule works with: ``g.b`` builds, ``g.weight`` registers the layer's arrays.

    Plugins subclass it to hold what is theirs (opset, masks, ...).
    """

    def __init__(self, builder: Builder) -> None:
        self.b = builder
        self._derived: dict[Any, tuple[Any, Value]] = {}

    def derived(self, key: Any, make: Callable[[], Value], *, of: Any = None) -> Value:
        """A weight of the graph made once per ``key`` by ``make``, however often a layer is called.

        ``of`` is what it is made of (a tensor, a value): the key then counts for that very object only.
        """
        at = (id(of), key)
        found = self._derived.get(at)
        if found is None or found[1].graph is not self.b.graph:  # the attempt that made it was undone
            found = self._derived[at] = (of, make())
        return found[1]

    def weight(self, node: ForeignNode, name: str, tensor: Tensor, *, trainable: bool = True, role: str = PARAMETER) -> Value:
        """The layer's weight ``name`` as a graph weight, once per (tensor, name)."""
        label = f"{node.name}/{name}"

        def made() -> Value:
            return self.b.weight(tensor, label, trainable=trainable, source=label, role=role)

        return self.derived(name, made, of=tensor)

    def view(self, v: Value, key: Any, make: Callable[[Tensor], Tensor]) -> Value:
        """A constant in another form (transposed, reshaped, reordered), once per (value, key), named like it; role and
        trainability are those of the constant."""
        if v.tensor is None:
            raise NotExpressible(f"{v.name!r} is not a constant", "requires_constant_input")
        t = v.tensor

        def made() -> Value:
            return self.b.graph.add_weight(v.name, make(t), like=v)

        return self.derived(key, made, of=v)

    def constant(self, v: Value | None) -> Any:
        """The numpy array of a constant value, else None."""
        return None if v is None or v.tensor is None else v.tensor.numpy()

    def sizes(self, v: Value | None) -> tuple[Any, ...] | None:
        """The sizes (int, Dim or None each) a shape-like vector holds; None when even their number is unknown."""
        a = self.constant(v)
        return None if a is None or a.dtype.kind not in "iu" else tuple(int(n) for n in a.ravel())


class EmitContext(Protocol):
    """What an emit rule works with; :class:`convcore.emit.scribe.Scribe` is the one that writes. Handles are its own."""

    version: int | None

    def attempt(self) -> AbstractContextManager[None]:
        """A context: everything written inside is undone when an exception leaves it."""

    def value(self, v: Value, *, carry: bool = False) -> Any:
        """The handle of an IR value; ``carry``: its elements are only moved, of whatever type they are."""

    def several(self, handles: Sequence[Any]) -> Any:
        """Operands that are one argument, as the target writes a list of them."""

    def operand(self, v: Value, other: Value) -> Any:
        """The handle of an operand, or a number that is the same where ``other`` tells its type."""

    def argument(self, value: Any, near: Sequence[Value]) -> Any:
        """A size, or a tuple of them, as an argument, where some are symbolic: expressions of the sizes of ``near``, which are
        operands of the same call, or computed. NotExpressible where the target takes no such arguments."""

    def state(self, v: Value, key: str = "", make: Callable[[Tensor], Tensor] | None = None) -> Any:
        """What the target holds of a weight, changed by ``make``: once per weight and ``key``."""

    def const(self, value: Any, dtype: Any = None, name: str = "") -> Any:
        """A handle of a constant made on the way."""

    def sizes(self, dims: Sequence[DimLike | None]) -> Any:
        """A vector of sizes, computed where one is symbolic. NotExpressible when one is unknown."""

    def keeps(self, key: str, node: Node) -> bool:
        """Whether an attribute that only training needs is written; where it is not, the report tells."""

    def call(
        self,
        op: str,
        args: Sequence[Any] = (),
        config: Mapping[str, Any] | None = None,
        *,
        outputs: Sequence[Any] = (),
        n_outputs: int = 1,
        name: str = "",
    ) -> Sequence[Any]:
        """Call a foreign function or operator; binds its results to ``outputs`` (IR values) when given, returns their handles."""

    def unit(
        self,
        type: str,
        args: Sequence[Any] = (),
        config: Mapping[str, Any] | None = None,
        states: Mapping[str, Any] | Sequence[Any] = (),
        *,
        outputs: Sequence[Any] = (),
        n_outputs: int = 1,
        name: str = "",
        carry: bool = False,
        places: Sequence[tuple[int, str, bool]] = (),
    ) -> Sequence[Any]:
        """Call a foreign layer that owns ``states``; ``carry``: it only moves elements. ``places``: configuration of a function
        that stands among its arguments (the place, its name, whether its elements are arguments each)."""

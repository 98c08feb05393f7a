"""What a graph is made of: values with uses, nodes with inputs by name. Each mutation is a method that keeps the uses right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from ..errors import VerifyError
from ..records import dataclass
from .dims import Shape, shape_text
from .dtypes import DType
from .scopes import Scope
from .tensors import Tensor, moves_of

if TYPE_CHECKING:
    from .graph import Graph

__all__ = ["BUFFER", "CONSTANT", "NOWHERE", "PARAMETER", "Node", "Origin", "Value", "place_of"]

PARAMETER, BUFFER, CONSTANT = "parameter", "buffer", "constant"

NOWHERE = Scope(None, "")
"""The scope of a node that is in no graph yet."""

_FEW = 8

Use: TypeAlias = "tuple[Node, int]"
"""A node and the position of the value among its inputs."""

AttrValue = Any  # int | float | bool | str | None | DType | Dim | Tensor | dict/tuple of these


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a node comes from: quoted by errors and reports, extended by passes."""

    framework: str = ""
    layer: str = ""  # path of the source layer or name of the source node
    type: str = ""  # class or op type in the source, e.g. "Conv2D"
    source: str = ""  # further detail, e.g. the source op inside a composite
    passes: tuple[str, ...] = ()

    def by(self, pass_name: str) -> Origin:
        """The same origin with the name of the pass that made or changed the node appended."""
        return self if self.passes and self.passes[-1] == pass_name else replace(self, passes=(*self.passes, pass_name))

    def __str__(self) -> str:
        return f"{self.layer!r} ({self.type})" if self.layer else self.type or "?"


class Value:
    """An edge of the graph: an input, a weight (``tensor`` is set) or an output of a node.

    A weight has a ``role``: "parameter" (what training changes, or would if it were not frozen: then ``trainable`` is False),
    "buffer" (state that is kept beside them, such as running statistics) or "constant"; "" for every other value. ``results``
    lists the scopes whose result it is, each with the position among the results.
    """

    __slots__ = (
        "_uses", "dtype", "graph", "index", "name", "producer", "results", "role", "shape", "source", "tensor", "trainable",
    )  # fmt: skip

    def __init__(self, name: str, dtype: DType | None, shape: Shape | None, tensor: Tensor | None = None) -> None:
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.tensor = tensor
        self.role = "" if tensor is None else CONSTANT
        self.trainable = False
        self.source = ""  # the weight's name in the source
        self.results: tuple[tuple[Scope, int], ...] = ()
        self.producer: Node | None = None
        self.index = 0
        self.graph: Graph | None = None
        self._uses: tuple[Use, ...] | dict[Use, None] = ()

    def _used(self, by: Use) -> None:
        """Add a use: to a tuple while there are few, as nearly always, which takes far less than a dict."""
        uses = self._uses
        if isinstance(uses, dict):
            uses[by] = None
        elif by not in uses:
            self._uses = (*uses, by) if len(uses) < _FEW else dict.fromkeys((*uses, by))

    def _unused(self, by: Use) -> None:
        """Take a use away, if it is there."""
        uses = self._uses
        if isinstance(uses, dict):
            uses.pop(by, None)
        else:
            self._uses = tuple(u for u in uses if u != by)

    @property
    def uses(self) -> tuple[Use, ...]:
        """``(node, input position)`` of every use, in order of insertion (graph outputs not counted)."""
        return tuple(self._uses)

    @property
    def users(self) -> tuple[Node, ...]:
        """The distinct nodes that use it."""
        return tuple(dict.fromkeys(n for n, _ in self._uses))

    @property
    def is_weight(self) -> bool:
        return self.tensor is not None

    @property
    def rank(self) -> int | None:
        return None if self.shape is None else len(self.shape)

    @property
    def is_output(self) -> bool:
        """Whether it is an output of its graph."""
        return self.graph is not None and any(v is self for v in self.graph.outputs)

    def replace_uses(self, new: Value, *, outputs: bool = True, only: Iterable[Node] | None = None) -> None:
        """Let every user (or those in ``only``) use ``new``; ``outputs`` also replaces it among the graph's outputs.

        When all is replaced, ``new`` also becomes the result of the scopes whose result this value was.
        """
        allowed = None if only is None else set(only)
        for node, i in self.uses:
            if allowed is None or node in allowed:
                node.set_input(i, new)
        if outputs and allowed is None and self.graph is not None:
            self.graph.note("outputs", self.graph, list(self.graph.outputs))
            self.graph.outputs[:] = [new if v is self else v for v in self.graph.outputs]
        if outputs and allowed is None and self.results:
            for v in (new, self):
                if v.graph is not None:
                    v.graph.note("results", v, v.results)
            new.results, self.results = (*new.results, *self.results), ()

    def __repr__(self) -> str:
        return f"%{self.name}: {self.dtype}{shape_text(self.shape)}"


def place_of(v: Value) -> int:
    """What tells one stored weight from another: graphs that use the same hold a value, and perhaps a view, of it each."""
    return 0 if v.tensor is None else id(moves_of(v.tensor)[0])


class Node:
    """One application of an op. ``inputs`` may hold None for an omitted optional input.

    ``scope`` is the layer of the source it belongs to; a node made without one gets the root of the graph it is put into.
    """

    __slots__ = ("_inputs", "_next", "_outputs", "_prev", "attrs", "graph", "name", "op", "origin", "regions", "scope")

    arguments: ClassVar[Callable[[str], Sequence[tuple[str, bool]]]]
    """op name -> (name, variadic) of every declared input; the registry of declarations (convcore.opset) sets it."""

    def __init__(
        self,
        op: str,
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
        attrs: Mapping[str, AttrValue] | None = None,
        *,
        name: str = "",
        regions: Sequence[Graph] = (),
        origin: Origin | None = None,
        scope: Scope | None = None,
    ) -> None:
        self.op = op
        self.name = name
        self.attrs: dict[str, AttrValue] = dict(attrs or {})
        self.regions: tuple[Graph, ...] = tuple(regions)
        self.origin = origin or Origin()
        self.scope: Scope = scope or NOWHERE
        self.graph: Graph | None = None
        self._prev: Node | None = None
        self._next: Node | None = None
        self._inputs: tuple[Value | None, ...] = ()
        self._outputs = tuple(outputs)
        for i, v in enumerate(self._outputs):
            v.producer, v.index = self, i
        self.set_inputs(inputs)

    @property
    def inputs(self) -> tuple[Value | None, ...]:
        return self._inputs

    @property
    def next(self) -> Node | None:
        """The node after it in its graph."""
        return self._next

    @property
    def previous(self) -> Node | None:
        """The node before it in its graph."""
        return self._prev

    def arg(self, name: str) -> Value | None:
        """The input that the op declares under a name; None when it is omitted. VerifyError if there is none of that name."""
        i, variadic = self._position(name)
        if variadic:
            raise VerifyError(f"{self}: {name} is any number of inputs, ask for args({name!r})")
        return self._inputs[i] if i < len(self._inputs) else None

    def need(self, name: str) -> Value:
        """The same for an input that must be given: VerifyError when it is omitted."""
        v = self.arg(name)
        if v is None:
            raise VerifyError(f"{self}: its input {name} is omitted")
        return v

    def args(self, name: str) -> tuple[Value, ...]:
        """All inputs given under a variadic name."""
        return tuple(v for v in self._inputs[self._position(name)[0] :] if v is not None)

    def _position(self, name: str) -> tuple[int, bool]:
        declared = type(self).arguments(self.op)
        for i, (n, variadic) in enumerate(declared):
            if n == name:
                return i, variadic
        raise VerifyError(f"{self}: op {self.op} has no input {name!r}, it has {', '.join(n for n, _ in declared) or 'none'}")

    @property
    def outputs(self) -> tuple[Value, ...]:
        return self._outputs

    @property
    def output(self) -> Value:
        """The only output."""
        if len(self._outputs) != 1:
            raise VerifyError(f"{self} has {len(self._outputs)} outputs")
        return self._outputs[0]

    def inner_weights(self) -> list[Value]:
        """The source's weights that its regions use, however deep, once each."""
        found = {place_of(v): v for region in self.regions for v in region.source_weights()}
        return list(found.values())

    def set_inputs(self, inputs: Sequence[Value | None]) -> None:
        if self.graph is not None:
            self.graph.note("inputs", self, self._inputs)
        for i, v in enumerate(self._inputs):
            if v is not None:
                v._unused((self, i))
        self._inputs = tuple(inputs)
        for i, v in enumerate(self._inputs):
            if v is not None:
                v._used((self, i))

    def set_input(self, i: int, v: Value | None) -> None:
        if self.graph is not None:
            self.graph.note("inputs", self, self._inputs)
        old = self._inputs[i]
        if old is not None:
            old._unused((self, i))
        self._inputs = (*self._inputs[:i], v, *self._inputs[i + 1 :])
        if v is not None:
            v._used((self, i))

    def __repr__(self) -> str:
        return f"{self.op} {self.name!r} from {self.origin}"

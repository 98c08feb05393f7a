"""A program as plain data: what ``.pt2`` archives and TorchScript archives are read into.

Values are names. An argument is a :class:`Ref`, a plain Python value, a list or tuple of these, one of the small records below,
or a :class:`Graph` (the body of a branch or loop). Nothing here belongs to torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from convcore.plugin import BadFileError, Tensor

from .symbols import Expr

__all__ = [
    "Argument",
    "Constant",
    "Device",
    "ElementType",
    "Graph",
    "Input",
    "Node",
    "Output",
    "Program",
    "Ref",
    "Scope",
    "SymValue",
    "TensorValue",
    "refs",
]


@dataclass(frozen=True)
class Ref:
    """The value of that name."""

    name: str


@dataclass(frozen=True)
class ElementType:
    """A dtype as an argument, by torch's name (``float32``)."""

    name: str


@dataclass(frozen=True)
class Device:
    """A device as an argument."""

    type: str
    index: int | None = None


@dataclass(frozen=True)
class Constant:
    """A layout, memory format or operator as an argument. ``kind``: layout, memory_format, operator, object."""

    kind: str
    name: str


@dataclass(frozen=True)
class TensorValue:
    """What is known of a tensor value. ``shape`` and ``strides`` hold integers or expressions of the input's symbols."""

    dtype: str
    shape: tuple[int | Expr, ...] | None
    strides: tuple[int | Expr, ...] | None = None
    requires_grad: bool = False
    device: str = "cpu"


@dataclass(frozen=True)
class SymValue:
    """A number. ``kind``: int, float, bool; ``expr`` is its value in the input's symbols when the file says so."""

    kind: str
    expr: int | float | bool | Expr | None = None


@dataclass(frozen=True)
class Scope:
    """A module on the way to a node: dotted path, class, number of the call (0 for the first)."""

    path: str
    cls: str
    call: int = 0


@dataclass(frozen=True)
class Argument:
    """One argument; ``name`` is the schema's, or empty where the file gives none."""

    name: str
    value: Any
    keyword: bool = False


@dataclass(frozen=True)
class Node:
    """One operation. ``target`` is ``aten.conv2d.default``, ``higher_order.cond``, ``_operator.mul``, ``prim.If``...

    ``outputs``: names, a tuple of names for a result that is a list, None for a result that is dropped.
    ``single``: for higher-order operations, whether the one tensor comes alone instead of in a list.
    ``parts``: makes a closed body of simpler operations over the references among the arguments, in order, each once; None where
    there is none (a file).
    """

    name: str
    target: str
    arguments: tuple[Argument, ...]
    outputs: tuple[str | tuple[str, ...] | None, ...]
    scopes: tuple[Scope, ...] = ()
    function: str = ""
    trace: str = ""
    single: bool = False
    parts: Callable[[], Graph | None] | None = field(default=None, compare=False)

    def argument(self, name: str, default: Any = None) -> Any:
        """The value of a named argument."""
        return next((a.value for a in self.arguments if a.name == name), default)

    def made(self) -> Iterator[str]:
        """Names of all results."""
        for out in self.outputs:
            if isinstance(out, str):
                yield out
            elif out is not None:
                yield from out


@dataclass(frozen=True)
class Graph:
    """Nodes in order. ``inputs`` are names, ``outputs`` arguments, ``values`` what is known of each name.

    ``captures``: the body uses names of the graphs around it (TorchScript); else it is closed (torch.export).
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[Any, ...]
    nodes: tuple[Node, ...]
    values: Mapping[str, TensorValue | SymValue]
    captures: bool = False

    def check(self, where: str, outer: frozenset[str] = frozenset()) -> None:
        """BadFileError unless every name is made once and before it is used."""
        known = set(outer)

        def make(name: str) -> None:
            if name in known:
                raise BadFileError(f"{where}: value {name!r} is made twice")
            known.add(name)

        def use(value: Any, what: str) -> None:
            for ref in refs(value):
                if ref.name not in known:
                    raise BadFileError(f"{where}: {what} uses {ref.name!r}, which nothing makes before it")

        for name in self.inputs:
            make(name)
        for node in self.nodes:
            for argument in node.arguments:
                use(argument.value, f"node {node.name or node.target!r}")
                if isinstance(argument.value, Graph) and argument.value.captures:
                    argument.value.check(where, frozenset(known))
            for name in node.made():
                make(name)
        use(self.outputs, "the result")


def refs(value: Any) -> Iterator[Ref]:
    """Every reference in an argument, those in bodies left out (they have names of their own)."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from refs(inner)
    elif isinstance(value, (tuple, list)):
        for inner in value:
            yield from refs(inner)


def renamed(body: Graph, prefix: str, scopes: tuple[Scope, ...] | None = None) -> Graph:
    """A closed body whose names begin with ``prefix``, so that it can stand in another graph; its nodes in other modules."""
    mine = {*body.inputs, *body.values, *(name for n in body.nodes for name in n.made())}

    def value(v: Any) -> Any:
        if isinstance(v, Ref):
            return Ref(prefix + v.name) if v.name in mine else v
        if isinstance(v, Mapping):
            return {k: value(i) for k, i in v.items()}
        return type(v)(value(i) for i in v) if type(v) in (tuple, list) else v

    def node(n: Node) -> Node:
        arguments = tuple(replace(a, value=value(a.value)) for a in n.arguments)
        outputs = tuple(
            tuple(prefix + i for i in o) if isinstance(o, tuple) else None if o is None else prefix + o for o in n.outputs
        )
        return replace(n, arguments=arguments, outputs=outputs, scopes=n.scopes if scopes is None else scopes)

    return replace(
        body, inputs=tuple(prefix + i for i in body.inputs), outputs=tuple(map(value, body.outputs)),
        nodes=tuple(map(node, body.nodes)), values={prefix + k: v for k, v in body.values.items()},
    )  # fmt: skip


@dataclass(frozen=True)
class Input:
    """One graph input. ``kind``: parameter, buffer, constant (a tensor), user, literal, object, token, attribute (state).

    ``target`` is the dotted name in the module; ``value`` a literal's.
    """

    kind: str
    name: str
    target: str = ""
    persistent: bool = True
    value: Any = None


@dataclass(frozen=True)
class Output:
    """One graph output. ``kind``: user, buffer_mutation, parameter_mutation, user_input_mutation, attribute_mutation, loss,
    gradient_to_parameter, gradient_to_user_input, token. ``target`` is what is mutated."""

    kind: str
    value: Any
    target: str = ""


@dataclass(frozen=True)
class Program:
    """A whole program.

    ``weights``: parameters and persistent buffers by dotted name, tied ones with one storage, in the file's order; ``constants``:
    other tensors by name. ``ranges``: symbol -> (least, most), None for open. ``structure``: how the arguments and results of the
    call nest (torch's tree specs as plain data), when known. ``versions``: of the format, the operators, torch. ``about``: labels
    and the like, as ``convcore.plugin.about_text`` has them, in files of ours.
    """

    container: str
    graph: Graph
    inputs: Sequence[Input]
    outputs: Sequence[Output]
    weights: Mapping[str, Tensor]
    constants: Mapping[str, Any] = field(default_factory=dict)
    ranges: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)
    structure: Mapping[str, Any] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""

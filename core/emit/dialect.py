"""What differs between targets. A target subclasses :class:`Dialect`; everything has a default that fits a plain module tree."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..build.opaque import problem_of
from ..errors import Problem, UnsupportedError
from ..ir.dims import Shape
from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, Value
from ..rules import NotExpressible
from .names import identifier
from .plan import Arg, State
from .scopes import Path, path_of

if TYPE_CHECKING:
    from .scribe import Scribe

__all__ = ["Dialect"]


class Dialect:
    """The target's side of emission.

    ``version`` is that of the format written (an opset), None where there is none.
    """

    title: ClassVar[str] = "the target"
    reserved: ClassVar[frozenset[str]] = frozenset()
    """Names that values and classes may not have."""
    reserved_members: ClassVar[frozenset[str]] = frozenset()
    """Names that members of blocks may not have."""
    dtypes: ClassVar[frozenset[DType] | None] = None
    """The element types that calls compute with (``carry=True``: calls that only move elements take any); None: all."""
    wider: ClassVar[Mapping[DType, DType]] = {}
    """For unsigned integers that calls do not compute with, signed ones that hold all of their numbers: what no rule writes is
    computed in these."""
    has_small_types: ClassVar[bool] = True
    """Whether there are element types of at most 8 bits that numpy lacks (float8, int4), or calls refuse them (``dtypes``)."""
    has_containers: ClassVar[bool] = False
    """Whether there are sequences of tensors and values that may be absent."""
    keeps_trained: bool = False
    """Whether what a decomposition computes from trained weights stays computed, so that gradients reach these."""
    eager_names: ClassVar[bool] = False
    """Whether results, calls and states are named as they are made (ONNX), or all at the end."""
    states_are_inputs: ClassVar[bool] = False
    """Whether a unit's states are handed over as operands of a plain call (ONNX)."""
    shares_units: ClassVar[bool] = True
    """Whether two calls in one place with equal configuration and states are calls of one unit."""

    keep_training: bool = True
    """Whether attributes that only training needs are written."""

    version: int | None = None
    respells: bool = False
    """Whether the version written has calls in other words than rules ask for (:meth:`spelled`)."""

    # ---- the graph
    def keep(self, graph: Graph, overrides: Container[str]) -> None:
        """Before anything is done to a graph of the target's own framework: mark what goes back as it was (:mod:`.kept`)."""

    def enter(self, s: Scribe[Any]) -> list[Problem]:
        """Prepare the graph and bind its inputs; problems do not stop the walk, so that all come at once."""
        for v in s.graph.inputs:
            s.input(v)
        return []

    def leave(self, s: Scribe[Any]) -> list[Problem]:
        """Bind the outputs: ``s.block.outputs``. Not called for a graph that has problems."""
        s.block.outputs += [s.value(v, carry=True) for v in s.graph.outputs]
        return []

    # ---- calls
    def is_unit(self, type: str) -> bool:
        """Whether a type without states is a layer object all the same (a Keras layer, ``nn.ReLU``)."""
        return False

    def spelled(
        self, s: Scribe[Any], type: str, args: Sequence[Arg], config: Mapping[str, Any], results: int
    ) -> tuple[str, Sequence[Arg], Mapping[str, Any]]:
        """(type, args, config) of a call as the version written has it; steps before it are calls of their own. NotExpressible
        when that version cannot say it."""
        return type, args, config

    def check(self, s: Scribe[Any], type: str, args: Sequence[Arg], config: Mapping[str, Any]) -> Sequence[DType | None]:
        """The element types of the results, as far as the target tells; NotExpressible when it has no such call."""
        return ()

    def shape_of(self, v: Value) -> Shape | None:
        """The shape of a result; NotExpressible where the target wants a fixed one."""
        return v.shape

    def literal(self, value: Any, dtype: DType | None) -> Arg:
        """A constant as a literal argument, or None to hold it as a state."""
        return None

    def hold(self, s: Scribe[Any], state: State, value: Value | None, name: str) -> Arg:
        """What stands for a weight that is used as an operand: the state itself, or the result of a call that gives it."""
        return state

    def several(self, handles: Sequence[Arg]) -> Arg:
        """Operands that are one argument."""
        return tuple(handles)

    def operand(self, s: Scribe[Any], v: Value, other: Value) -> Arg:
        """How an operand is written whose type ``other`` tells: as it is."""
        return s.value(v)

    def argument(self, s: Scribe[Any], value: Any, near: Sequence[Value]) -> Arg:
        """Sizes, some of them symbolic, as an argument. NotExpressible: the target takes numbers only."""
        raise NotExpressible("a size is symbolic")

    def opaque(self, s: Scribe[Any], node: Node) -> None:
        """Write an opaque node of the target's own framework back as it was; UnsupportedError when that is not exact."""
        raise UnsupportedError(problem_of(node))

    def path(self, node: Node) -> Path:
        """The scopes a node belongs to."""
        return path_of(node)

    def home(self, node: Node, states: Mapping[str, State]) -> Path:
        """Where a unit made for a node lives: two calls with equal configuration and states share one unit only there."""
        return self.path(node)

    def holds(self, type: str, states: Mapping[str, State]) -> None:
        """NotExpressible where no unit of the target can hold these states together."""

    # ---- sizes as data
    def size_of(self, s: Scribe[Any], x: Arg, axis: int, name: str) -> Arg:
        """The size of an axis as data."""
        raise NotExpressible(f"{self.title} has no sizes as data")

    def size_op(self, s: Scribe[Any], op: str, a: Arg, b: Arg) -> Arg:
        """``add``, ``sub``, ``mul``, ``div`` (towards zero), ``mod``, ``max`` or ``min`` of two sizes."""
        raise NotExpressible(f"{self.title} has no sizes as data")

    def size_vector(self, s: Scribe[Any], parts: Sequence[Arg]) -> Arg:
        """A vector of sizes."""
        return tuple(parts)

    # ---- names of what blocks own
    def member_name(self, wanted: str) -> str:
        """A unit's, block's or state's name as the target can have it."""
        return identifier(wanted)

    def inner_name(self, steps: Sequence[str]) -> str:
        """What a unit or block is called whose scope is that many steps inside the block that owns it, before
        :meth:`member_name`."""
        return "_".join(steps)

    def state_name(self, state: State, path: Sequence[str] = ()) -> str:
        """What a state that a block owns is called, before :meth:`member_name`; ``path`` are the scopes of the block."""
        return state.value.name.rpartition("/")[2] if state.value is not None else state.name or "constant"

    def elsewhere(self, state: State, path: Sequence[str]) -> bool:
        """Whether a weight that a function reads in a block belongs to another one, which hands it over."""
        return False

    def beside(self, state: State, path: Sequence[str]) -> bool:
        """Whether a state that a call reads belongs to the scope of the call, which then has to be a block."""
        return state.role != "constant"

    def class_name(self, wanted: str) -> str:
        """The name of a block's class."""
        return "".join(p[:1].upper() + p[1:] for p in identifier(wanted).split("_")) or "Block"

"""What PyTorch is, for the plan: modules are units, everything else is a call of a function, an operator or a method."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from convcore.plugin import (
    CONSTANT,
    Dialect,
    Dim,
    DType,
    Graph,
    Node,
    NotExpressible,
    Scribe,
    State,
    Trait,
    Value,
    as_tensor,
    fold_constants,
    identifier,
    traits_of,
)  # fmt: skip

from .functions import HELPERS
from .grouping import Groups
from .held import hold
from .types import COMPUTES, HELD, TORCH_TYPES

__all__ = ["TorchDialect", "number"]

_RESERVED = (
    "Any Callable Path Sequence Tensor WEIGHTS SOURCE_NAMES TIED DTYPES load torch nn F json math cls self l O I x _ "
    "states slices step then other"
)

_STORED = TORCH_TYPES.keys() - COMPUTES - HELD.keys()
_FEWER = """torch.flip torch.gather torch.scatter torch.scatter_reduce torch.index_put torch.nn.PixelShuffle
torch.nn.PixelUnshuffle F.max_unpool1d F.max_unpool2d F.max_unpool3d scatter scatter_nd narrow sliced padded"""
_OF_FEWER = frozenset(_FEWER.split())
"""Functions that move elements, but not of types that torch only stores (2.13)."""


_HALF = (DType.FLOAT16, DType.BFLOAT16)


def _of_one_type(types: Sequence[DType | None]) -> None:
    """A norm's weights are of its input's type, or float32 where this is of half precision (torch 2.13: only RMSNorm takes
    others)."""
    x, *weights = types
    if any(w is not x for w in weights) and not (x in _HALF and all(w is DType.FLOAT32 for w in weights)):
        raise NotExpressible(f"torch has no norm of {x} whose weights are {', '.join(str(w) for w in dict.fromkeys(weights))}")


class TorchDialect(Dialect):
    """Types that start with ``torch.nn.`` are modules. Other calls are written by their name: ``torch.add``, ``F.relu``, ``+``
    (an operator), ``.reshape`` (a method of the first operand), ``[]`` (an index)."""

    title = "PyTorch"
    reserved: ClassVar[frozenset[str]] = frozenset(_RESERVED.split()) | HELPERS
    reserved_members: ClassVar[frozenset[str]] = frozenset()
    dtypes = COMPUTES
    has_containers = True
    wider: ClassVar[Mapping[DType, DType]] = {DType.UINT16: DType.INT32, DType.UINT32: DType.INT64}

    def __init__(self, members: frozenset[str] = frozenset()) -> None:
        self.groups: Groups | None = None
        self.members = members
        self.keys: frozenset[str] = frozenset()
        """Those of the state_dict of a source in PyTorch."""
        self.unsaved: frozenset[str] = frozenset()
        """Buffers of such a source that its state_dict does not have."""
        self.tied: dict[str, str] = {}
        """Keys that are other names of what another key holds."""

    def enter(self, s: Scribe[Any]) -> list[Any]:
        self.groups = Groups(s.graph)
        self.keys = frozenset(s.graph.metadata.get("keys") or ())
        self.unsaved = frozenset(s.graph.metadata.get("unsaved") or ())
        self.tied = dict(s.graph.metadata.get("tied") or {})
        self.keeps_trained = self.of_torch
        if not self.of_torch:  # whose keys stay what they are
            _fold(s.graph)
            self.groups = Groups(s.graph)
        elif self.keys:
            hold(s.graph, self.keys)
        return super().enter(s)

    # ---- calls
    def is_unit(self, type: str) -> bool:
        return type.startswith("torch.nn.")

    def check(self, s: Scribe[Any], type: str, args: Sequence[Any], config: Mapping[str, Any]) -> Sequence[DType | None]:
        if type.startswith("aten."):  # the other face of a row: what programs are read by
            raise NotExpressible(f"{type} is no function of Python")
        if type in _OF_FEWER and s.node is not None:
            used = (v.dtype for v in (*s.node.inputs, *s.node.outputs) if v is not None)
            if odd := next((d for d in used if d in _STORED), None):
                raise NotExpressible(f"{type} takes no {odd}")
        if s.node is not None and Trait.SCALED in traits_of(s.node.op):
            _of_one_type([v.dtype for v in s.node.inputs if v is not None])
        return ()

    def path(self, node: Node) -> Any:
        return self.groups.path(node) if self.groups is not None else super().path(node)

    def around(self, node: Node) -> Any:
        """The scopes around a call of a function."""
        return self.groups.around(node) if self.groups is not None else super().path(node)

    @property
    def of_torch(self) -> bool:
        """Whether the source's own modules are known."""
        return self.groups is not None and self.groups.of_torch

    def hold(self, s: Scribe[Any], state: State, value: Value | None, name: str) -> Any:
        """A weight of a type that torch has no tensors of is held as what its numbers are held as."""
        held = None if value is None or state.dtype is None else HELD.get(state.dtype)
        if value is None or held is None:
            return state
        return s.state(value, str(held), lambda t: as_tensor(t.numpy().astype(held.numpy)))

    # ---- sizes as data
    def size_of(self, s: Scribe[Any], x: Any, axis: int, name: str) -> Any:
        return s.call(".size", [x, axis], name=name)[0]

    def size_op(self, s: Scribe[Any], op: str, a: Any, b: Any) -> Any:
        sign = {"add": "+", "sub": "-", "mul": "*", "div": "//", "mod": "%", "max": "torch.sym_max", "min": "torch.sym_min"}[op]
        return s.call(sign, [a, b], name="size")[0]

    def size_vector(self, s: Scribe[Any], parts: Sequence[Any]) -> Any:
        return tuple(parts)

    def literal(self, value: Any, dtype: DType | None) -> Any:
        """A list of one number is a size: see :class:`convcore.emit.sizes.Sizes`."""
        if isinstance(value, list) and all(type(v) is int for v in value) and dtype is DType.INT64:
            return value[0] if len(value) == 1 else tuple(value)
        return None

    def operand(self, s: Scribe[Any], v: Value, other: Value) -> Any:
        """A number where ``other`` decides type and shape, else the handle."""
        if number(other) is None and v.dtype is other.dtype and v.shape is not None and other.shape is not None:
            x = number(v)
            if x is not None and len(v.shape) <= len(other.shape):
                return x
        return s.value(v)

    def argument(self, s: Scribe[Any], value: Any, near: Sequence[Value]) -> Any:
        """Symbolic sizes stay expressions where the shapes of ``near`` say all their names, else they are computed from the
        inputs."""
        if isinstance(value, (list, tuple)):
            return tuple(self.argument(s, d, near) for d in value)
        if value is None:
            raise NotExpressible("a size is not known")
        known: set[str] = set()
        for v in near:
            if v.tensor is None:
                known.update(n for d in v.shape or () if isinstance(d, Dim) and d.is_name for n in d.names)
        return value if not isinstance(value, Dim) or set(value.names) <= known else s.size(value)

    # ---- names
    def member_name(self, wanted: str) -> str:
        """An attribute of a module that is not one of ``nn.Module``'s own; a number stays one (the place in a Sequential). Of a
        source in PyTorch also a path: a member of a list or of a module that is never called."""
        if self.of_torch and "." in wanted:
            return ".".join(map(self.member_name, wanted.split(".")))
        if re.fullmatch(r"0|[1-9][0-9]*", wanted) or (self.of_torch and wanted and not wanted.isidentifier()):
            return wanted
        name = identifier(wanted)
        if name.startswith("__"):
            name = "m" + name
        return f"{name}_" if name in MODULE_NAMES else name

    def inner_name(self, steps: Sequence[str]) -> str:
        """Of a source in PyTorch the path it has there: the modules between are lists, or are never called."""
        return ".".join(steps) if self.of_torch else super().inner_name(steps)

    def state_name(self, state: State, path: Sequence[str] = ()) -> str:
        """Of a source in PyTorch what its key has behind the modules around it, its last part where it is another module's."""
        name = super().state_name(state, path)
        if not self.of_torch or state.value is None:
            return name
        around = "".join(f"{p}." for p in path)
        return name.removeprefix(around) if name.startswith(around) else name.rpartition(".")[2]

    def beside(self, state: State, path: Sequence[str]) -> bool:
        """Of a source in PyTorch its key says whether a weight belongs to a module."""
        key = state.value.name if self.of_torch and state.value is not None else None
        return super().beside(state, path) and (key is None or key.startswith("".join(f"{p}." for p in path)))

    def elsewhere(self, state: State, path: Sequence[str]) -> bool:
        """Of a source in PyTorch what has its key under another module, and not under this one, too."""
        if not self.of_torch or state.value is None or state.value.name not in self.keys:
            return False
        around, key = "".join(f"{p}." for p in path), state.value.name
        return not key.startswith(around) and self.tied.get(around + key.rpartition(".")[2]) != key

    def class_name(self, wanted: str) -> str:
        parts = identifier(wanted.rpartition(".")[2] or wanted).split("_")
        name = "".join(p[:1].upper() + p[1:] for p in parts) or "Block"
        return f"Block{name}" if name[0].isdigit() or name in RESERVED_CLASSES else name


def number(v: Value) -> Any:
    """A constant of one element as a Python number that means the same in its type; None for anything else."""
    if v.tensor is None or v.role != CONSTANT or v.tensor.size != 1 or v.dtype is None or str(v.dtype) == "bool":
        return None
    x = v.tensor.numpy().reshape(-1)[0]
    if v.dtype.is_float:
        short = float(str(x))
        return short if x.dtype == np.float32 and (not np.isfinite(x) or abs(short) <= float(np.finfo(x.dtype).max)) else float(x)
    return int(x)


def _fold(graph: Graph) -> None:
    """Weights that are computed of weights alone, regions included; one that is also used as it is stays what it is."""

    def computed(node: Node) -> bool:
        return all(v is None or v.tensor is not None for v in node.inputs)

    whole = (n for n in graph if all(v is None or all(computed(user) for user, _ in v.uses) for v in n.inputs))
    fold_constants(graph, nodes=whole)
    for node in graph:
        for region in node.regions:
            _fold(region)


_NAMES = """
T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda double dump_patches eval
extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu load_state_dict modules mtia
named_buffers named_children named_modules named_parameters parameters register_backward_hook register_buffer
register_forward_hook register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module register_parameter
register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule share_memory
state_dict to to_empty train training type xpu zero_grad from_pretrained tie_weights
"""
MODULE_NAMES = frozenset(_NAMES.split())
"""Attributes of ``torch.nn.Module`` (2.13), and the methods that generated classes have of their own."""

RESERVED_CLASSES = frozenset(("None", "True", "False", "Path", "Tensor", "F", "OrderedDict"))

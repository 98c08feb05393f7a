"""What Keras 3 is, for the plan: layers with variables of their own, operations, constants as arguments.

Operations are named ``ops.<class>`` (``operations.py`` says where each lives), layers by their class. A weight that is read as
an operand is a constant argument, or, where training changes it or it is large, the result of a layer that holds it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from convcore.plugin import (
    Dialect,
    DType,
    Node,
    NotExpressible,
    Problem,
    Ref,
    Scope,
    Scribe,
    State,
    Step,
    UnsupportedError,
    Value,
    leaves,
)

from .emit_prepare import prepare
from .keep import Kept, SourceLayer, keep_custom, keep_whole
from .layer_spec import is_known
from .operations import ARITHMETIC, BOOLEAN, HALVED, OPERATIONS
from .ties import homes, reversible

__all__ = ["MERGES", "MOST_CONSTANTS", "Inner", "KerasDialect", "KerasScribe", "anchor", "ones", "parameter"]

MOST_CONSTANTS = 100_000
"""Elements of the largest constant that is written into ``config.json`` (21 bytes of text each); larger ones are variables."""

MERGES = frozenset(["Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract"])
"""Layers that are called on a list."""

_UNSIGNED = (DType.UINT16, DType.UINT32, DType.UINT64)
"""Unsigned integers beyond a byte: the torch backend computes with them as signed ones, and has no uint64."""

_COMPLEX = (DType.COMPLEX64, DType.COMPLEX128)
"""Keras 3.15.1 names them, declares the parts of one to be complex, and transforms pairs of real tensors."""

Path: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class Inner:
    """A layer inside a layer, as a value of its configuration; its states are the outer one's, under the prefix of the part."""

    type: str
    name: str
    config: tuple[tuple[str, Any], ...]


class KerasDialect(Dialect):
    """Keras 3. ``nested``: whether scopes that hold layers become nested models."""

    title = "Keras"
    has_small_types = False
    dtypes = frozenset(d for d in DType if (d.is_float or d.is_int or d is DType.BOOL) and not (d.is_small or d is DType.UINT64))

    def __init__(self, nested: bool, keeps: bool) -> None:
        self.nested, self.keeps = nested, keeps
        self.kept = Kept()
        self.containers: set[Any] = set()
        self.depth: dict[Node, int] = {}
        self.reversible: dict[Value, list[Node]] = {}
        self.turn: dict[Node, str] = {}
        """The place of a node among those of one use of a source layer."""

    # ---- the graph
    def enter(self, s: KerasScribe) -> list[Problem]:
        """Bind the inputs, and note which scopes hold others: a layer is no block, nor is what is only part of a name."""
        if s.outer is None:
            keep_whole(s.graph, s.overrides or {})
        if self.keeps and s.outer is None:
            self.kept = keep_custom(s.graph, s.overrides or {})
        for node in s.graph:
            outer = list(node.scope.ancestors())[1:]
            self.containers.update(p.path for p in outer if p.parent is not None and p.type)
        prepare(s.graph)
        turns = Counter[Scope]()
        for node in s.graph:
            self.turn[node] = str(turns[node.scope])
            turns[node.scope] += 1
        if s.outer is None:
            self.depth = {}
            self.depth = homes(s.graph, {n: tuple(step.name for step in self.path(n)) for n in s.graph})
            self.reversible = reversible(s.graph)
        problems = super().enter(s)
        for v in s.graph.inputs:
            if v.dtype is None or v.shape is None or v.dtype not in self.dtypes:
                what = "number of axes" if v.dtype is not None and v.dtype in self.dtypes else f"element type {v.dtype}"
                why = _lacks(v.dtype) if v.dtype in _COMPLEX else f"its {what} is not one Keras has"
                problems.append(Problem(v.name, "input", why, code="unsupported_input"))
        if not s.graph.inputs:
            problems.append(Problem(s.graph.name or "model", "graph", "a Keras model needs an input", code="unsupported_input"))
        return problems

    def leave(self, s: KerasScribe) -> list[Problem]:
        """Bind the outputs; a constant is added to zeros that descend from an input."""
        lacking = [v for v in s.graph.outputs if v.dtype is not None and (v.dtype in _UNSIGNED or v.dtype not in self.dtypes)]
        if lacking:
            return [Problem(v.name, "output", _lacks(v.dtype), code="unsupported_dtype") for v in lacking]
        problems = []
        for v in s.graph.outputs:
            try:
                s.block.outputs.append(_output(s, v))
            except NotExpressible as e:
                problems.append(Problem(v.name, "output", str(e), code=e.code))
        return problems

    def several(self, handles: Sequence[Any]) -> Any:
        return list(handles)

    # ---- calls
    def is_unit(self, type: str) -> bool:
        return not type.startswith("ops.") and is_known(type)

    def check(self, s: KerasScribe, type: str, args: Sequence[Any], config: Mapping[str, Any]) -> Sequence[DType | None]:
        """The element type of the result; NotExpressible for one that no tensor has on every backend."""
        name = type.removeprefix("ops.")
        wide = next((a.dtype for a in leaves(args) if a.dtype in _UNSIGNED), None)
        if wide is not None and (name in ARITHMETIC or wide is DType.UINT64):
            raise NotExpressible(f"Keras does not compute with {wide} on every backend", "unsupported_dtype")
        long = next((a.dtype for a in leaves(args) if a.dtype in (DType.FLOAT64, DType.INT64)), None)
        if long is not None and name in HALVED and not (name in ("Max", "Min") and long is DType.INT64):
            why = f"Keras computes {name} of {long} in 32 bits on the torch backend"
            raise NotExpressible(why, "unsupported_dtype")
        if name.startswith(("Max", "Min", "GlobalMax")) and any(0 in (a.shape or ()) for a in leaves(args) if isinstance(a, Ref)):
            raise NotExpressible(f"{name} of an empty tensor, which the torch backend refuses", "unsupported_shape")
        made = self._result(type, name, args, config)
        given = [made] if type.startswith("ops.") else [v.dtype for v in s.node.outputs] if s.node is not None else []
        wide = next((d for d in given if d in _UNSIGNED), None)
        if wide is not None:
            raise NotExpressible(_lacks(wide), "unsupported_dtype")
        return [made]

    def _result(self, type: str, name: str, args: Sequence[Any], config: Mapping[str, Any]) -> DType | None:
        """The element type of a result: that of the first operand, but for comparisons, casts and indices."""
        if type.startswith("ops."):
            if name not in OPERATIONS:
                raise NotExpressible(f"Keras has no operation {name}")
            if not any(isinstance(a, Ref) for a in leaves(args)):
                raise NotExpressible("all its operands are constants")  # evaluated when it is built, and no part of the model
            if name in BOOLEAN:
                return DType.BOOL
            if config.get("dtype"):
                return DType(config["dtype"])
            if name in ("Argmax", "Argmin", "Argsort"):
                return DType.INT32
            if name == "Where":
                args = args[1:]
            if name == "ScatterUpdate":
                args = args[:1]
        else:
            _check_layer(type, args)
        return next((a.dtype for a in leaves(args)), None)

    def hold(self, s: KerasScribe, state: State, value: Value | None, name: str) -> Any:
        """A constant argument; what is trained, or is too large for one, is a variable of a layer."""
        size = math.prod(state.tensor.shape)
        trained = state.role == "parameter"
        if not trained and size <= MOST_CONSTANTS:
            return state
        if state.dtype is None or not state.dtype.is_float:
            if trained or size > 10 * MOST_CONSTANTS:
                raise NotExpressible(f"the constant {value.name if value else name!r} has {size} elements of {state.dtype}, "
                                     "too many for an argument, and no layer holds it")  # fmt: skip
            return state
        return parameter(s, state, name or (value.name if value is not None else "constant"))

    def opaque(self, s: KerasScribe, node: Node) -> None:
        """A kept layer as it was. Any other is refused: what it computes is not known, and its code is not in the file."""
        kept = node.attrs.get("layer")
        if isinstance(kept, SourceLayer):
            args = [s.value(v, carry=True) for v in node.inputs if v is not None]
            if not all(isinstance(a, Ref) for a in args):
                raise NotExpressible(f"{kept.type} is called on a constant")
            shapes = [tuple(v.shape or ()) for v in node.outputs]
            s.call(kept.type, args, outputs=node.outputs, name=node.scope.name, shapes=shapes, carry=True, kept=(kept,))
            return
        why = str(node.attrs["why"]) or "convcore has no op for it"
        o, hint = node.origin, str(node.attrs.get("hint") or "")
        problem = Problem(o.layer or node.name, str(node.attrs["type"]), why, hint, str(node.attrs["code"]))
        raise UnsupportedError(problem)

    def path(self, node: Node) -> Path:
        """The scopes around a node that hold layers."""
        if not self.nested:
            return ()
        path = super().path(node)
        names = tuple(p.name for p in path)
        while path and names[: len(path)] not in self.containers:
            path = path[:-1]
        return path[: self.depth.get(node, len(path))]

    def home(self, node: Node, states: Mapping[str, State]) -> Path:
        """The source's own layer: equal ones elsewhere are layers of their own, unless they are tied: a layer of the same trained
        weights is one layer, called again, within one model. Without weights it is that of the same place in another use of the
        source's layer: two sums in one block are two ``Add``."""
        tied = any(t.role == "parameter" and t.value is not None for t in states.values())
        if states:
            return self.path(node) if tied else super().path(node)
        return (*super().path(node), Step(self.turn.get(node, node.name)))

    def holds(self, type: str, states: Mapping[str, State]) -> None:
        """A layer is frozen as a whole."""
        if len({t.trainable for t in states.values() if t.role == "parameter"}) > 1:
            raise NotExpressible("a part of its weights is frozen, and Keras freezes whole layers", "unsupported_frozen")

    def member_name(self, wanted: str) -> str:
        return wanted

    # ---- sizes as data
    def size_of(self, s: KerasScribe, x: Any, axis: int, name: str) -> Any:
        """The size of an axis, a sum of ones along it (a functional model holds no symbolic sizes)."""
        if not isinstance(x, Ref) or x.shape is None:
            raise NotExpressible("the size of a constant")
        key = tuple(slice(None) if i == axis else 0 for i in range(len(x.shape)))
        line = s.call("ops.GetItem", [x, key], shapes=[(x.shape[axis],)], name=name, carry=True)[0] if len(key) > 1 else x
        ones = s.call("ops.OnesLike", [line], {"dtype": "int64"}, shapes=[(x.shape[axis],)], name=name)[0]
        return s.call("ops.Sum", [ones], {"axis": None, "keepdims": False}, shapes=[()], name=name)[0]

    def size_op(self, s: KerasScribe, op: str, a: Any, b: Any) -> Any:
        kind = {"add": "Add", "sub": "Subtract", "mul": "Multiply", "div": "FloorDivide", "mod": "Mod", "max": "Maximum",
                "min": "Minimum"}[op]  # fmt: skip
        pair = [s.call("ops.Cast", [x], {"dtype": "int32"}, shapes=[()], name="size", carry=True)[0] if isinstance(x, Ref) else
                _number(x) for x in (a, b)]  # fmt: skip
        (y,) = s.call(f"ops.{kind}", pair, shapes=[()], name="size")
        return s.call("ops.Cast", [y], {"dtype": "int64"}, shapes=[()], name="size", carry=True)[0]

    def size_vector(self, s: KerasScribe, parts: Sequence[Any]) -> Any:
        if not any(isinstance(p, Ref) for p in parts):
            raise NotExpressible("a vector of constant sizes")
        held = [s.const(_number(p), DType.INT64) if isinstance(p, State) else p for p in parts]
        return s.call("ops.Stack", [held], {"axis": 0}, shapes=[(len(parts),)], name="sizes")[0]


def _output(s: KerasScribe, v: Value) -> Any:
    handle = s.value(v)
    if not isinstance(handle, State):
        return handle
    zero = s.call("ops.ZerosLike", [anchor(s)], {"dtype": str(v.dtype)}, shapes=[(1, 1)], name=v.name)[0]
    zero = s.call("ops.Reshape", [zero], {"newshape": ()}, shapes=[()], name=v.name)[0]
    op = "ops.LogicalOr" if v.dtype is DType.BOOL else "ops.Add"
    return s.call(op, [zero, handle], shapes=[handle.tensor.shape], name=v.name)[0]


def _lacks(dtype: DType | None) -> str:
    if dtype in _COMPLEX:
        return f"Keras computes with complex numbers as pairs of tensors, here is one of {dtype}"
    more = ": the torch backend holds them as signed integers, or not at all" if dtype in _UNSIGNED else ""
    return f"Keras has no tensors of {dtype} on every backend{more}"


def _check_layer(type: str, args: Sequence[Any]) -> None:
    """NotExpressible for a layer called on constants, or that merges tensors with batches of different sizes: of one that is
    known beside one that is not, Keras takes the known for the result's (``keras.layers.Add``, 3.15.1)."""
    every = [a for x in args for a in (x if isinstance(x, (list, tuple)) else [x])]
    if any(isinstance(a, State) for a in every):
        raise NotExpressible(f"{type} is called on a constant")
    if type in MERGES:
        shapes = [a.shape for a in every if isinstance(a, Ref)]
        if any(not s for s in shapes) or len({s[0] if isinstance(s[0], int) else None for s in shapes if s}) > 1:
            raise NotExpressible(f"{type} takes tensors of one batch size")


def _number(size: Any) -> Any:
    """A constant size as a number."""
    return int(size.tensor.numpy().reshape(-1)[0]) if isinstance(size, State) else size


KerasScribe: TypeAlias = Scribe[KerasDialect]


def anchor(s: KerasScribe) -> Ref:
    """A tensor (1, 1) that descends from an input of the model: what layers that hold a parameter are called on."""

    def make() -> Ref:
        at: Any = s
        while at.outer is not None:
            at = at.outer
        if not at.block.inputs:
            raise NotExpressible("the model has no input")
        x = at.block.inputs[0]
        if x.shape:
            key = tuple([slice(None, 1)] * len(x.shape))
            (x,) = s.call("ops.GetItem", [x, key], shapes=[(1,) * len(x.shape)], name="one", carry=True)
        (x,) = s.call("ops.Reshape", [x], {"newshape": (1, 1)}, shapes=[(1, 1)], name="one", carry=True)
        return x

    made: Ref = s.memo("anchor", make)
    return made


def ones(s: KerasScribe, dtype: DType) -> Ref:
    """:func:`anchor` as ones of a type."""
    made: Ref = s.memo(
        ("ones", dtype), lambda: s.call("ops.OnesLike", [anchor(s)], {"dtype": str(dtype)}, shapes=[(1, 1)], name="ones")[0]
    )
    return made


def parameter(s: KerasScribe, state: State, name: str) -> Ref:
    """A tensor as the kernel of an EinsumDense on a one: ``1 * w`` exactly, trained as any kernel is."""
    shape = state.tensor.shape
    letters = "abcdefghijklmn"[: len(shape)]
    if len(letters) < len(shape):
        raise NotExpressible(f"a parameter of {len(shape)} axes")
    if state.dtype is None:
        raise NotExpressible("the element type of a parameter is not known")
    config = {"equation": f"xo,o{letters}->x{letters}", "output_shape": list(shape), "bias_axes": None}
    kernel = State(state.tensor.reshape((1, *shape)), state.value, "kernel", state.role, state.trainable)
    (y,) = s.unit("EinsumDense", [ones(s, state.dtype)], config, {"kernel": kernel}, shapes=[(1, *shape)], name=name)
    return s.call("ops.Reshape", [y], {"newshape": tuple(shape)}, shapes=[shape], name=name, carry=True)[0]

"""Constant folding: a node whose inputs are all weights becomes a weight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ShapeError
from ..interpreter.execute import FAILURES, evaluate_attr
from ..ir.dims import Dim
from ..ir.dtypes import DType
from ..ir.graph import BUFFER, CONSTANT, PARAMETER, Graph, Node, Value
from ..ir.tensors import ArrayTensor, LazyTensor, Tensor
from ..opset import Trait, find_op, op, traits_of
from ..opset.axes import Perm
from ..records import dataclass

__all__ = ["fold_constants"]

Array = NDArray[Any]

_EAGER = 1 << 16  # results up to this size are computed at once
_GROWTH = 16  # a result this many times as large as its inputs, and over 1 MiB, is better computed at run time


@dataclass(frozen=True)
class _Step:
    """One folded node: how to compute its outputs from tensors and earlier steps."""

    layer: str
    node_op: str
    attrs: Mapping[str, Any]
    inputs: tuple[Tensor | None, ...]


@dataclass(eq=False)
class _Recipe:
    """Everything needed for one folded tensor; every step runs once however often its result is used."""

    steps: dict[int, _Step]
    key: int
    index: int

    def __call__(self, recipes: Mapping[int, _Recipe]) -> Array:
        done: dict[int, list[Array]] = {}
        for key, step in self.steps.items():
            args: list[Array | None] = []
            for t in step.inputs:
                source = None if t is None else recipes.get(id(t))
                if t is None:
                    args.append(None)
                elif source is not None and source.key in done:
                    args.append(done[source.key][source.index])
                else:
                    args.append(t.numpy())
            try:
                done[key] = _compute(step, args)
            except FAILURES as e:
                shapes = ", ".join("-" if a is None else f"{a.dtype}{list(a.shape)}" for a in args)
                raise InputError(f"layer {step.layer}: {step.node_op}({shapes}) cannot be computed: {e}") from e
        return done[self.key][self.index]


def _compute(step: _Step, args: Sequence[Array | None]) -> list[Array]:
    decl = find_op(step.node_op)
    if decl is None or decl.reference is None:
        raise ShapeError(f"op {step.node_op} cannot be computed")
    out = decl.reference(*args, **step.attrs)
    return [np.asarray(o) for o in (out if isinstance(out, tuple) else (out,))]


def _dimensional(x: Any) -> bool:
    return isinstance(x, Dim) or (isinstance(x, tuple) and any(_dimensional(i) for i in x))


def _nbytes(v: Value) -> int:
    """The size of a value of known shape and dtype."""
    return math.prod(d for d in v.shape or () if isinstance(d, int)) * (v.dtype.itemsize if v.dtype is not None else 0)


def _foldable(node: Node, limit: int) -> bool:
    decl = find_op(node.op)
    if decl is None or decl.reference is None or Trait.NO_FOLD in decl.traits or node.regions:
        return False
    if any(v is not None and v.tensor is None for v in node.inputs) or any(_dimensional(a) for a in node.attrs.values()):
        return False
    total = 0
    for v in node.outputs:
        if v.dtype is None or v.dtype is DType.STRING or v.shape is None or not all(isinstance(d, int) for d in v.shape):
            return False
        if v.is_output:  # it would lose its name
            return False
        total += _nbytes(v)
    read = sum(v.tensor.nbytes for v in node.inputs if v is not None and v.tensor is not None)
    return total <= limit and (total <= 1 << 20 or total <= _GROWTH * read)


def fold_constants(graph: Graph, limit: int = 64 << 20, nodes: Iterable[Node] | None = None) -> int:
    """Replace every node (or those in ``nodes``, in order) all of whose inputs are weights by weights; returns how many went.

    Results of more than ``limit`` bytes per node, quantisation, recurrences and control flow stay. Small results are computed
    now, large ones when their values are asked for. A result is trainable if an input is; one that only rearranges a weight
    keeps its source name.
    """
    recipes: dict[int, _Recipe] = {}
    kept_alive: list[Tensor] = []  # the keys of recipes are ids
    gone = 0
    touched: list[Value] = []
    for node in graph if nodes is None else nodes:
        if not _foldable(node, limit):
            continue
        weights = [v for v in node.inputs if v is not None]
        tensors = _results(node, recipes, kept_alive)
        if tensors is None:
            continue
        for v, t in zip(node.outputs, tensors):
            name = v.name
            v.name = f"{name} (folded)"
            if Trait.VIEW in traits_of(node.op):
                w = graph.add_weight(name, t, like=weights[0])
            else:
                w = graph.add_weight(name, t, trainable=any(i.trainable for i in weights), role=_role(weights))
            graph.rename(w, name)  # it was taken by the value that goes
            v.replace_uses(w)
        graph.remove(node)
        gone += 1
        touched += weights
    for w in touched:
        if not w.uses and not w.is_output and w.name in graph.weights:
            graph.remove_weight(w)
    return gone


def _role(weights: Sequence[Value]) -> str:
    """What is computed from a parameter stays one, else from a buffer."""
    roles = {w.role for w in weights}
    return next((r for r in (PARAMETER, BUFFER) if r in roles), CONSTANT)


def _results(node: Node, recipes: dict[int, _Recipe], kept_alive: list[Tensor]) -> list[Tensor] | None:
    ins = tuple(None if v is None else v.tensor for v in node.inputs)
    first = ins[0] if ins else None
    out = node.outputs[0]
    shape = tuple(d for d in out.shape or () if isinstance(d, int))
    decl = op(node.op)
    if first is not None and Trait.VIEW in decl.traits and id(first) not in recipes:
        rule = decl.axes
        return [first.transpose(node.attrs[rule.attr]) if isinstance(rule, Perm) else first.reshape(shape)]
    attrs = {k: evaluate_attr(a, {}) for k, a in node.attrs.items()}
    step = _Step(str(node.origin), node.op, attrs, ins)
    steps: dict[int, _Step] = {}
    for t in ins:
        if t is not None and id(t) in recipes:
            steps.update(recipes[id(t)].steps)
    steps[id(step)] = step
    tensors: list[Tensor] = []
    if sum(_nbytes(v) for v in node.outputs) <= _EAGER:
        try:
            arrays = _compute(step, [None if t is None else t.numpy() for t in ins])
        except FAILURES:  # the model is wrong here; running it will say so
            return None
        tensors = [ArrayTensor(a) for a in arrays]
    else:
        for i, v in enumerate(node.outputs):
            recipe = _Recipe(steps, id(step), i)
            dims = [d for d in v.shape or () if isinstance(d, int)]
            lazy = LazyTensor(lambda r=recipe: r(recipes), DType.of(v.dtype), dims)  # type: ignore[misc]
            recipes[id(lazy)] = recipe
            tensors.append(lazy)
    kept_alive += tensors
    return tensors

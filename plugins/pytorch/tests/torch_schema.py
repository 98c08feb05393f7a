"""torch itself as the judge of rows: modules are made, functions called, and ATen's schemas hold the signatures."""

from __future__ import annotations

import inspect
import operator as operators
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from convcore.errors import UnsupportedError
from convcore.ir.dtypes import DType
from convcore.ir.graph import Node, Origin
from convcore.rules import ForeignNode, NotExpressible
from convcore.rules.rows import A, Row
from convcore.rules.values import equal
from convcore.testing.ops import CheckFailed
from convcore_pytorch.context import AtenNode
from convcore_pytorch.signatures import signature

__all__ = ["TorchSchema", "operator"]


def operator(name: str) -> Any:
    """``aten.add.Tensor`` of torch.ops."""
    _, base, *overload = name.split(".")
    return getattr(getattr(torch.ops.aten, base), overload[0] if overload else "default")


_SIGNS: dict[str, Any] = {
    "+": operators.add, "-": operators.sub, "*": operators.mul, "/": operators.truediv, "//": operators.floordiv,
    "%": operators.mod, "**": operators.pow, "==": operators.eq, "!=": operators.ne, "<": operators.lt, "<=": operators.le,
    ">": operators.gt, ">=": operators.ge,
}  # fmt: skip


class TorchSchema:
    """A module takes what a row writes, keeps it and has weights of those names and shapes; a function takes it by these names;
    an operator's schema has the parameters of the row's call, in order, of those defaults. What each of them computes is compared
    with the op (``convcore.testing.rules.Schema``)."""

    def accept(self, row: Row, written: ForeignNode, node: Node) -> ForeignNode:
        if any(v is not None and v.dtype is None for v in written.inputs):
            raise NotExpressible("an input of unknown type")
        given = [v for v in written.inputs if v is not None]  # in the order of the row; the op's own is that of their names
        self.order = [sorted(given, key=lambda v: v.name).index(v) for v in given]
        self.missing = [i for i, v in enumerate(written.inputs) if v is None]
        self.many = any(ours.endswith("*") for _, ours in row.inputs)
        if row.call is not None:
            return self._operator(row, written, node)
        if written.type.startswith("torch.nn."):
            return self._module(row, written)
        name = written.type
        if name.startswith("."):
            self.made: Any = getattr(torch.Tensor, name[1:])
        else:
            self.made = _SIGNS.get(name) or eval(name, {"torch": torch, "F": torch.nn.functional})
        self.config = {k: getattr(torch, v.value) if isinstance(v, DType) else v for k, v in written.attrs.items()}
        return written

    def compute(self, row: Row, written: ForeignNode, inputs: Sequence[np.ndarray]) -> Sequence[np.ndarray] | None:
        if any(a.dtype.name in ("bfloat16",) or (a.dtype.kind == "u" and a.itemsize > 1) for a in inputs):
            return None
        tensors: list[Any] = [torch.from_numpy(np.array(a, order="C")) for a in inputs]
        if len(self.order) == len(tensors):
            tensors = [tensors[i] for i in self.order]
        if row.call is not None:
            if any(p.type == "Scalar" for p in self.schema.parameters if p.name in row.operands):
                return None  # it takes a number where the row has a tensor: the overload of tensors is computed
            held = iter(tensors)
            args = [next(held) if isinstance(v, _Tensor) else [*held] if isinstance(v, _Tensors) else v for v in self.args]
            y = self.made(*args, **self.config)
        else:
            given: list[Any] = [tensors] if row.listed else tensors
            config = dict(self.config)
            for i in self.missing:
                given.insert(i, None)
            for at, key, each in row.places:
                given[at:at] = config.pop(key) if each else [config.pop(key)]
            y = self.made(*given, **config)
        made = [np.asarray(v.detach().resolve_conj()) for v in (y if isinstance(y, (list, tuple)) else [y])]
        return [a for a, (_, ours) in zip(made, row.outputs)] if len(made) > len(row.outputs) else made

    def _module(self, row: Row, written: ForeignNode) -> ForeignNode:
        kind = getattr(torch.nn, written.type.removeprefix("torch.nn."))
        self.made, self.config = kind(**written.attrs).eval(), {}
        for key, value in written.attrs.items():
            found = getattr(self.made, key, value)
            if key == "bias" and isinstance(value, bool):
                found = found is not None
            listed = tuple(found) if isinstance(found, (list, tuple)) and not isinstance(value, (list, tuple)) else found
            if not equal(listed, value) and not (isinstance(listed, tuple) and set(listed) == {value}):
                raise CheckFailed(f"{written}: {key}={value!r} came back from torch as {found!r}")
        have = {k: tuple(v.shape) for k, v in self.made.state_dict().items() if k != "num_batches_tracked"}
        wanted = {k: tuple(t.shape) for k, t in written.weights.items()}
        if have != wanted:
            raise CheckFailed(f"{written}: writes {wanted}, torch has {have}")
        self.made.load_state_dict({k: torch.from_numpy(np.array(t.numpy())) for k, t in written.weights.items()}, strict=False)
        defaults = {p.name: p.default for p in inspect.signature(kind).parameters.values()}
        mapped = {src.name for src in row.mapping.values() if isinstance(src, A)} | set(row.when)
        full = {k: v for k, v in defaults.items() if k in mapped and v is not inspect.Parameter.empty}
        return ForeignNode(written.type, written.name, written.inputs, {**full, **written.attrs}, weights=written.weights)

    def _operator(self, row: Row, written: ForeignNode, node: Node) -> ForeignNode:
        assert row.call is not None
        theirs = operator(written.type)._schema
        ours = signature(written.type if written.type.count(".") > 1 else f"{written.type}.default")
        if ours is None or [a.name for a in theirs.arguments] != [p.name for p in ours.parameters]:
            raise CheckFailed(f"{written.type}: torch's schema is {theirs}")
        by_name = {a.name: a for a in theirs.arguments}
        order = [p.name for p in row.call.parameters if not p.by_name_only]
        if order != [a.name for a in theirs.arguments if not a.kwarg_only][: len(order)]:
            raise CheckFailed(f"{written.type}: {order} are not the first parameters of {theirs}")
        values = dict(written.attrs)
        values |= {t.rstrip("*?"): v for (t, _), v in zip(row.inputs, written.inputs)}
        if self.many:
            values[row.inputs[-1][0].rstrip("*?")] = list(written.inputs[len(row.inputs) - 1 :])
        given: dict[str, Any] = {}
        for p in row.call.parameters:
            told = by_name[p.name]
            if p.by_name_only is not told.kwarg_only or told.has_default_value() is not (repr(p.default) != "MISSING"):
                raise CheckFailed(f"{written.type}: {p.name} is otherwise in {theirs}")
            if told.has_default_value() and not equal(told.default_value, p.default):
                raise CheckFailed(f"{written.type}: {p.name} defaults to {told.default_value!r}, not to {p.default!r}")
            given[p.name] = values.get(p.ours, p.default)
        full = {q.name: given.get(q.name, q.default) for q in ours.parameters}
        self.made, self.schema = operator(written.type), ours
        self.args = [_held(given[p.name]) for p in row.call.parameters if not p.by_name_only]
        self.config = {p.name: given[p.name] for p in row.call.parameters if p.by_name_only}
        result = node.outputs[0]
        try:
            return AtenNode(
                written.type, written.name, full, ours, Origin("pytorch", "row", written.type), [(result.dtype, result.shape)]
            )
        except UnsupportedError as e:
            raise CheckFailed(str(e)) from e


class _Tensor:
    """Stands for the next input."""


class _Tensors:
    """Stands for all inputs that are left."""


def _held(v: Any) -> Any:
    from convcore.ir.graph import Value

    if isinstance(v, Value):
        return _Tensor()
    return _Tensors() if isinstance(v, list) and v and isinstance(v[0], Value) else v

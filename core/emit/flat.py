"""A plan as a plain list of layers, for formats that hold just that."""

from __future__ import annotations

from ..errors import Problem, UnsupportedError
from ..ir.flat import FlatLayer, FlatModel, FlatValue
from ..ir.tensors import Tensor
from .names import Names
from .plan import Arg, Block, Call, Plan, Ref, State, Unit, leaves

__all__ = ["flatten"]


def flatten(plan: Plan) -> FlatModel:
    """The calls of a plan that is not nested, in order, every value with a name of its own.

    Names are those of the model's values and layers as ``Dialect.member_name`` lets the target have them. A layer called twice
    is there twice, with the same tensors. UnsupportedError for what a list cannot hold: regions of control flow, and values
    inside lists of arguments.
    """
    dialect = plan.dialect
    values, layers = Names(reserved=dialect.reserved), Names(reserved=dialect.reserved)
    names: dict[Ref | State, str] = {}
    constants: dict[str, Tensor] = {}

    def name(x: Ref | State, default: str) -> str:
        if x not in names:
            wanted = x.name or (x.value.name if x.value is not None else "") or default
            names[x] = values.fresh(dialect.member_name(wanted))
        return names[x]

    def operand(x: Arg, layer: str, type: str) -> str | None:
        if x is None:
            return None
        if isinstance(x, State):
            constants[name(x, "constant")] = x.tensor
        elif not isinstance(x, Ref):
            raise _no_place(layer, type, f"an argument {x!r}, which is neither a value nor a constant")
        return name(x, "value")

    inputs = [FlatValue(name(r, "input"), r.shape, r.dtype) for r in plan.root.inputs]
    made = [_layer(call, layers.fresh(dialect.member_name(call.name or call.source))) for call in plan.root.calls]
    for call, layer in zip(plan.root.calls, made):
        layer.inputs = [operand(a, layer.name, layer.type) for a in call.args]
        layer.outputs = [name(r, layer.name) for r in call.results]
    outputs = [operand(a, "outputs", "output") or "" for a in plan.root.outputs]
    known = {n: FlatValue(n, x.shape, x.dtype) for x, n in names.items()}
    return FlatModel(inputs, made, outputs, constants, known)


def _layer(call: Call, name: str) -> FlatLayer:
    states = call.target.states if isinstance(call.target, Unit) else {}
    if not isinstance(call.target, (str, Unit)):
        raise _no_place(name, call.type, "a block of its own (flatten takes a plan that is not nested)")
    for key, value in call.config.items():
        if isinstance(value, Block):
            raise _no_place(name, call.type, f"a region of control flow, {key}")
        if next(leaves([value]), None) is not None:
            raise _no_place(name, call.type, f"a value of the model in its configuration, {key}")
    return FlatLayer(call.type, name, [], [], dict(call.config), {k: s.tensor for k, s in states.items()})


def _no_place(layer: str, type: str, what: str) -> UnsupportedError:
    return UnsupportedError(Problem(layer, type, f"it has {what}: a list of layers has no place for it", "", "unsupported_layer"))

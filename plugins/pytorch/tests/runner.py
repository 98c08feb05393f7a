"""The judge of programs: torch's own operators called as a Program says, so that a wrong reading gives wrong numbers."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch

from convcore_pytorch.files.program import Constant, Device, ElementType, Graph, Node, Program, Ref
from convcore_pytorch.files.symbols import Expr

PRIM: dict[str, Any] = {}


def to_torch(held: Any) -> torch.Tensor:
    a = held.numpy()
    if a.dtype.name == "bfloat16":
        return torch.from_numpy(np.array(a, order="C").view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(np.array(a, order="C"))


def value_of(value: Any, env: dict[str, Any]) -> Any:
    if isinstance(value, Ref):
        return env[value.name]
    if isinstance(value, ElementType):
        return getattr(torch, value.name)
    if isinstance(value, Device):
        return torch.device("cpu")
    if isinstance(value, Constant):
        return getattr(torch, value.name)
    if isinstance(value, (list, tuple)):
        return type(value)(value_of(v, env) for v in value)
    if isinstance(value, Graph):
        return lambda *args: run_graph(value, args, env)
    assert not isinstance(value, Expr)
    return value


def call(node: Node, env: dict[str, Any]) -> Any:
    args = [value_of(a.value, env) for a in node.arguments if not a.keyword]
    keywords = {a.name: value_of(a.value, env) for a in node.arguments if a.keyword}
    space, _, rest = node.target.partition(".")
    if node.target == "higher_order.cond":
        branch = args[1] if bool(args[0]) else args[2]
        return branch(*args[3])
    if node.target == "higher_order.while_loop":
        state = list(args[2])
        while bool(args[0](*state, *args[3])[0]):
            state = list(args[1](*state, *args[3]))
        return state
    if space == "_operator":
        return getattr(operator, rest)(*args)
    if space == "math":
        import math

        return getattr(math, rest)(*args)
    if node.target in PRIM:
        return PRIM[node.target](*args, **keywords)
    name, _, overload = rest.partition(".")
    given = [value_of(a.value, env) for a in node.arguments if not a.name]  # torch before 2.8 does not say which are keywords
    named = {a.name: value_of(a.value, env) for a in node.arguments if a.name}
    return getattr(getattr(getattr(torch.ops, space), name), overload)(*given, **named)


def run_graph(graph: Graph, inputs: Any, outer: dict[str, Any] | None = None) -> list[Any]:
    env = {**(outer or {}), **dict(zip(graph.inputs, inputs, strict=True))}
    for node in graph.nodes:
        region = _prim(node, env)
        if region is not None:
            env.update(zip(node.outputs, region, strict=True))
            continue
        result = call(node, env)
        if len(node.outputs) == 1 and isinstance(node.outputs[0], str):
            result = (result[0],) if isinstance(result, (list, tuple)) and node.target.startswith("higher_order") else (result,)
        elif len(node.outputs) == 1:
            result = (result,)
        for name, made in zip(node.outputs, result or (), strict=not node.outputs or result is not None):
            if isinstance(name, tuple):
                env.update(zip(name, made, strict=True))
            elif name is not None:
                env[name] = made
    return [value_of(o, env) for o in graph.outputs]


def run(program: Program, *inputs: Any) -> list[Any]:
    """The user outputs of a program for the user inputs."""
    users = iter(inputs)
    values = []
    for spec in program.inputs:
        if spec.kind == "attribute" and spec.target not in program.constants:
            values.append(spec.value)
        elif spec.kind in ("parameter", "buffer", "constant", "attribute"):
            held = program.weights.get(spec.target, program.constants.get(spec.target))
            values.append(to_torch(held))
        elif spec.name:
            values.append(next(users))
    with torch.no_grad():
        results = run_graph(program.graph, values)
    run_state[:] = [(spec.target, r) for r, spec in zip(results, program.outputs, strict=True) if spec.kind != "user"]
    return [r for r, spec in zip(results, program.outputs, strict=True) if spec.kind == "user"]


run_state: list[tuple[str, Any]] = []  # what the last run left in attributes


# ---- TorchScript's own operations
def _prim(node: Node, env: dict[str, Any]) -> Any:
    """prim.If and prim.Loop with bodies that use the names around them; None for other targets."""
    if node.target == "prim.If":
        side = node.argument("then") if bool(value_of(node.argument("condition"), env)) else node.argument("else")
        return body(side, (), env)
    if node.target == "prim.Loop":
        count, go = value_of(node.argument("count"), env), value_of(node.argument("condition"), env)
        carried, step = value_of(node.argument("carried"), env), 0
        while bool(go) and (count is None or step < count):
            go, *carried = body(node.argument("body"), (step, *carried), env)
            step += 1
        return carried
    if node.target == "prim.RaiseIf":
        if bool(value_of(node.argument("condition"), env)) == node.argument("when"):
            raise RuntimeError(node.argument("message"))
        return ()
    return None


def body(graph: Graph, inputs: Any, env: dict[str, Any]) -> list[Any]:
    return run_graph(graph, inputs, env)


SCALARS = {
    "aten.dim.default": lambda x: x.dim(),
    "aten.size.default": lambda x: list(x.shape),
    "aten.size.int": lambda x, d: x.shape[d],
    "aten.len.Tensor": len,
    "aten.len.t": len,
    "aten.__not__.default": operator.not_,
    "aten.Bool.int": bool,
    "aten.Bool.Tensor": bool,
    "aten.Int.Tensor": int,
    "aten.__getitem__.t": lambda held, i: held[i],
    "aten.__contains__.int_list": lambda held, i: i in held,
    "aten.eq.int": operator.eq,
    "aten.ne.int": operator.ne,
    "aten.lt.int": operator.lt,
    "aten.gt.int": operator.gt,
    "aten.add.int": operator.add,
    "aten.mul.int": operator.mul,
    "aten.floordiv.int": operator.floordiv,
    "aten.format.default": lambda text, *args: text.format(*args),
    "prim.ListUnpack": tuple,
    "prim.device": lambda x: x.device,
    "prim.dtype": lambda x: x.dtype,
    "prim.data": lambda x: x,
    "prim.NumToTensor": torch.tensor,
}
PRIM.update(SCALARS)

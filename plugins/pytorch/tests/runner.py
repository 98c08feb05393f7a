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
        return torch.from_numpy(np.ascontiguousarray(a).view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.ascontiguousarray(a).copy())


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
    return getattr(getattr(getattr(torch.ops, space), name), overload)(*args, **keywords)


def run_graph(graph: Graph, inputs: Any, outer: dict[str, Any] | None = None) -> list[Any]:
    env = {**(outer or {}), **dict(zip(graph.inputs, inputs, strict=True))}
    for node in graph.nodes:
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
        if spec.kind in ("parameter", "buffer", "constant"):
            held = program.weights.get(spec.target, program.constants.get(spec.target))
            values.append(to_torch(held))
        elif spec.name:
            values.append(next(users))
    with torch.no_grad():
        results = run_graph(program.graph, values)
    return [r for r, spec in zip(results, program.outputs, strict=True) if spec.kind == "user"]

"""Layers as functions of the model (``--onnx-functions MyLayer``): one node in the graph, its operators in a ``FunctionProto``.

The weights of the layer are inputs of its node. A function is written for each layer; the domain is ``convcore.layers``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from convcore.plugin import Block, PlanCall, Problem, Ref, Scope, UnsupportedError, UsageError, ask_option

__all__ = ["DOMAIN", "grouped", "write_functions"]

DOMAIN = "convcore.layers"
_OLDEST_IR = 8


class Group:
    """The operators of one call of a layer."""

    def __init__(self, scope: Scope) -> None:
        self.scope, self.calls = scope, list[PlanCall]()
        self.last = -1


def grouped(calls: Sequence[PlanCall], types: Sequence[str], outputs: Sequence[Any], ir: int) -> list[PlanCall | Group]:
    """The operators in order, those of the layers of some types in groups. Raises UsageError for a type that no layer has and
    an IR version without functions, UnsupportedError for a layer whose operators have others between them."""
    if ir < _OLDEST_IR:
        raise UsageError(
            f"{ask_option('onnx_functions')}: files of IR version {ir} have no functions, {_OLDEST_IR} and newer do "
            f"({ask_option('ir_version', _OLDEST_IR)})"
        )
    groups: dict[int, Group] = {}
    member: list[Group | None] = []
    for i, call in enumerate(calls):
        scope = _layer(call, types)
        group = None if scope is None else groups.setdefault(id(scope), Group(scope))
        if group is not None:
            group.calls.append(call)
            group.last = i
        member.append(group)
    left = [t for t in types if not any(_is(g.scope, t) for g in groups.values())]
    if left:
        raise UsageError(f"{ask_option('onnx_functions', left[0])}: no layer of that type has operators of its own")
    made: dict[Ref, Group] = {}
    for call, group in zip(calls, member):
        for before in [made[r] for r in _reads(call) if r in made and made[r] is not group]:
            if before.last > calls.index(call):
                why = "its operators have others between them that need its results: it cannot be one node"
                raise UnsupportedError(
                    Problem(before.scope.name, before.scope.type, why, f"leave it out of {ask_option('onnx_functions')}")
                )
        if group is not None:
            made.update((r, group) for r in call.results)
    return [g if g is not None else c for i, (c, g) in enumerate(zip(calls, member)) if g is None or g.last == i]


def _layer(call: PlanCall, types: Sequence[str]) -> Scope | None:
    """The outermost layer of the types that a call belongs to."""
    if call.node is None:
        return None
    return next((s for s in reversed(list(call.node.scope.ancestors())) if any(_is(s, t) for t in types)), None)


def _is(scope: Scope, wanted: str) -> bool:
    return bool(scope.type) and wanted in (scope.type, scope.type.rpartition(">")[2])


def _reads(call: PlanCall) -> Iterator[Any]:
    """What a call reads, in its regions too."""
    yield from (a for a in call.args if a is not None)
    for value in call.kwargs.values():
        if isinstance(value, Block):
            for inner in value.calls:
                yield from _reads(inner)
            yield from (r for r in value.outputs if isinstance(r, Ref))


def write_functions(
    model: Any, body: Any, parts: Sequence[PlanCall | Group], outputs: Sequence[Any], node: Callable[[Any, PlanCall], None],
    opsets: Mapping[str, int | None],
) -> None:  # fmt: skip
    """Add the nodes to a GraphProto, and the functions to its ModelProto."""
    names: set[str] = set()
    needed = set(outputs)
    for part in parts:
        needed.update(r for c in (part.calls if isinstance(part, Group) else [part]) for r in _reads(c))
    for part in parts:
        if isinstance(part, PlanCall):
            node(body.node.add(), part)
            continue
        inside = {r for c in part.calls for r in c.results} | set(_inner(part.calls))
        takes = list(dict.fromkeys(r for c in part.calls for r in _reads(c) if r not in inside))
        own = {id(c) for c in part.calls}
        used = {r for p in parts for c in (p.calls if isinstance(p, Group) else [p]) if id(c) not in own for r in _reads(c)}
        gives = [r for c in part.calls for r in c.results if r in used or r in outputs]
        name = base = re.sub(r"\W+", "_", part.scope.type.rpartition(">")[2])
        n = 1
        while name in names:
            n += 1
            name = f"{base}_{n}"
        names.add(name)
        f = model.functions.add()
        f.name, f.domain = name, DOMAIN
        f.input.extend(r.name for r in takes)
        f.output.extend(r.name for r in gives)
        for domain, version in opsets.items():
            if version is not None:
                f.opset_import.add(domain=domain, version=version)
        for call in part.calls:
            node(f.node.add(), call)
        call_ = body.node.add()
        call_.op_type, call_.domain, call_.name = name, DOMAIN, "/".join(part.scope.path)
        call_.input.extend(r.name for r in takes)
        call_.output.extend(r.name for r in gives)
    if names:
        model.opset_import.add(domain=DOMAIN, version=1)


def _inner(calls: Sequence[PlanCall]) -> Iterator[Ref]:
    """What regions inside name themselves: their inputs and results."""
    for call in calls:
        for value in call.kwargs.values():
            if isinstance(value, Block):
                yield from value.inputs
                for inner in value.calls:
                    yield from inner.results
                yield from _inner(value.calls)

"""Small models made from the samples of ops: what a framework is asked to write, read back and run.

One op alone, two in a row, and one layer called twice, each with arrays to run it on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from ..build.builder import Builder
from ..errors import ShapeError
from ..ir.dtypes import DType
from ..ir.graph import BUFFER, CONSTANT, PARAMETER, Graph, Origin, Value
from ..opset import Op, Role, Sample, find_op
from ..records import dataclass
from ..rules import RuleSet
from ..rules.rows import Row, W

__all__ = ["SampleModel", "chained", "constants_of", "called_twice", "sample_models", "single"]

Array = NDArray[Any]
ROLES = {Role.PARAMETER: PARAMETER, Role.STATISTIC: BUFFER}


@dataclass
class SampleModel:
    """A graph and the arrays to run it on; ``parts`` are the (op, sample, constants) it is made of."""

    name: str
    graph: Graph
    inputs: list[Array]
    parts: tuple[tuple[Op, Sample, frozenset[str]], ...]


def constants_of(decl: Op, rules: RuleSet[Any, Any]) -> list[frozenset[str]]:
    """Which inputs of an op to give as constants: those that layers own; then also all that its axis rule fixes."""
    own = {a.name for a in decl.inputs if a.role in ROLES}
    for rule in rules.emit_rules.get(decl.name, []):
        if isinstance(rule, Row):
            own |= {k for k, v in rule.mapping.items() if isinstance(v, W)}
    more = own | set(decl.axes.fixed) | {a.name for a in decl.inputs if a.role is Role.INDEX}
    return [frozenset(s) for s in ((own,) if own == more else (own, more))]


def sample_models(rules: RuleSet[Any, Any]) -> Iterator[list[SampleModel]]:
    """Models of one op for every op the rules emit: the first sample of each, then the second...

    Each comes as alternatives that differ in which inputs are constants: a format that refuses the first may take the next.
    """
    decls = [d for d in map(find_op, sorted(rules.emit_rules)) if d is not None]
    for i in range(max([len(d.samples) for d in decls] or [0])):
        for decl in decls:
            if i < len(decl.samples):
                made = [single(decl, decl.samples[i], c, f"{decl.name}, sample {i}") for c in constants_of(decl, rules)]
                found = [m for m in made if m is not None]
                if found:
                    yield found


def single(decl: Op, sample: Sample, constants: frozenset[str], name: str = "") -> SampleModel | None:
    """A model of one op on one of its samples; None where nothing is left to feed."""
    b = Builder(Graph("sample"))
    fed: list[Array] = []
    results = _layer(b, decl, sample, constants, decl.name, fed)
    if results is None or not fed:
        return None
    b.graph.outputs = results
    return SampleModel(name or decl.name, b.graph, fed, ((decl, sample, constants),))


def chained(first: SampleModel, second: SampleModel) -> SampleModel | None:
    """The second model on what the first one gives; None where that does not fit."""
    b = Builder(Graph("sample"))
    fed: list[Array] = []
    (decl, sample, constants), (next_decl, next_sample, next_constants) = first.parts[0], second.parts[0]
    between = _layer(b, decl, sample, constants, "first", fed)
    takes = second.graph.inputs[0]
    if between is None or len(second.inputs) != 1 or (between[0].dtype, between[0].shape) != (takes.dtype, takes.shape):
        return None
    results = _layer(b, next_decl, next_sample, next_constants, "second", [], given=between[0])
    if results is None:
        return None
    b.graph.outputs = results
    return SampleModel(f"{first.name}, then {second.name}", b.graph, fed, first.parts + second.parts)


def called_twice(model: SampleModel) -> SampleModel | None:
    """One layer with its weights on two inputs; None for a layer without weights or with other inputs."""
    ((decl, sample, constants),) = model.parts
    if len(model.inputs) != 1 or not model.graph.weights:
        return None
    b = Builder(Graph("sample"))
    fed: list[Array] = []
    first = _layer(b, decl, sample, constants, "shared", fed)
    if first is None or first[0].producer is None:
        return None
    held = list(first[0].producer.inputs)
    v = model.graph.inputs[0]
    other = b.input("again", v.dtype, v.shape)
    fed.append(model.inputs[0][::-1].copy())
    with b.at(Origin("sample", "shared", decl.name), b.graph.scope("shared", decl.name, call=1)):
        ins = [x if x is None or x.tensor is not None else other for x in held]
        second = list(b.node(decl.name, ins, sample.attrs).outputs)
    b.graph.outputs = [first[0], second[0]]
    return SampleModel(f"{model.name}, called twice", b.graph, fed, model.parts)


def _layer(
    b: Builder, decl: Op, sample: Sample, constants: frozenset[str], layer: str, fed: list[Array], given: Value | None = None
) -> list[Value] | None:  # fmt: skip
    """Add the op with the sample's inputs: ``constants`` as weights of the layer, ``given`` as the first of the others."""
    arrays: Sequence[Array | None] = sample.arrays()
    ins: list[Value | None] = []
    scope = b.graph.scope(layer, decl.name, {k: v for k, v in sample.attrs.items() if isinstance(v, (bool, int, float, str))})
    with b.at(Origin("sample", layer, decl.name), scope):
        for i, a in enumerate(arrays):
            arg = decl.inputs[min(i, len(decl.inputs) - 1)]
            if a is None:
                ins.append(None)
            elif arg.name in constants:
                role = ROLES.get(arg.role, CONSTANT)
                trained = role == PARAMETER
                ins.append(b.weight(a, f"{layer}/{arg.name}", trainable=trained, source=f"{layer}/{arg.name}", role=role))
            elif given is not None:
                ins.append(given)
                given = None
            else:
                ins.append(b.input(f"{arg.name}{i}" if arg.variadic else arg.name, DType.of(a.dtype), a.shape))
                fed.append(a)
        try:
            results = list(b.node(decl.name, ins, sample.attrs).outputs)
        except ShapeError:
            return None
    b.graph.set_results(scope, results)
    return results

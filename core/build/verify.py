"""The verifier: a table of invariants, run after every pass under test and with ``CONVCORE_DEBUG=1``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..errors import ShapeError, VerifyError
from ..ir.dims import Dim, Shape
from ..ir.graph import Graph
from ..opset import find_op
from .builder import infer_outputs

__all__ = ["CHECKS", "problems", "verify"]


def _single_assignment(g: Graph) -> Iterator[str]:
    """Every value name is defined once."""
    seen: set[str] = set()
    for v in g.values():
        if v.name in seen:
            yield f"value %{v.name} is defined twice"
        seen.add(v.name)


def _node_names(g: Graph) -> Iterator[str]:
    """Node names are unique and not empty."""
    seen: set[str] = set()
    for n in g:
        if not n.name or n.name in seen:
            yield f"node name {n.name!r} is empty or used twice"
        seen.add(n.name)


def _order(g: Graph) -> Iterator[str]:
    """A value is defined before its use, in this graph."""
    defined = {id(v) for v in (*g.inputs, *g.weights.values())}
    for n in g:
        for v in n.inputs:
            if v is not None and id(v) not in defined:
                yield f"{n} uses %{v.name} before it is defined in this graph"
        defined.update(id(v) for v in n.outputs)
    for v in g.outputs:
        if id(v) not in defined:
            yield f"output %{v.name} is not defined"


def _uses(g: Graph) -> Iterator[str]:
    """Uses and inputs agree in both directions; producers and owners are right."""
    for n in g:
        for i, v in enumerate(n.inputs):
            if v is not None and (n, i) not in v._uses:
                yield f"%{v.name} does not know its use by {n}"
        for i, v in enumerate(n.outputs):
            if v.producer is not n or v.index != i or v.graph is not g:
                yield f"%{v.name} does not know its producer {n}"
    for v in g.values():
        for n, i in v.uses:
            if n.graph is not g or i >= len(n.inputs) or n.inputs[i] is not v:
                yield f"%{v.name} claims a use by {n} that is not there"


def _weights(g: Graph) -> Iterator[str]:
    """Weights have a tensor of their dtype and shape."""
    for name, v in g.weights.items():
        if v.tensor is None or name != v.name:
            yield f"weight %{v.name} has no tensor or is registered as {name!r}"
        elif v.dtype != v.tensor.dtype or v.shape != v.tensor.shape:
            yield f"weight %{v.name} is {v.dtype}{v.shape}, its tensor {v.tensor}"


def _declared(g: Graph) -> Iterator[str]:
    """Every node fits its op's declaration, and its outputs are what the op infers."""
    for n in g:
        decl = find_op(n.op)
        if decl is None:
            if n.op != "opaque":
                yield f"{n}: unknown op"
            continue
        missing = decl.attrs.keys() - n.attrs.keys()
        if missing:
            yield f"{n}: attributes {', '.join(sorted(missing))} are missing"
            continue
        if len(n.regions) != decl.regions:
            yield f"{n}: {len(n.regions)} regions, {decl.regions} declared"
            continue
        try:
            attrs = decl.complete(n.attrs, n.inputs)
            if attrs != n.attrs:
                changed = [k for k in attrs if attrs[k] != n.attrs.get(k)]
                yield f"{n}: attributes {', '.join(changed)} are not normalised"
            inferred = infer_outputs(decl, n.inputs, {**attrs, "regions": n.regions} if n.regions else attrs)
        except ShapeError as e:
            yield f"{n}: {e}"
            continue
        if len(inferred) != len(n.outputs):
            yield f"{n}: {len(n.outputs)} outputs, {len(inferred)} inferred"
            continue
        for v, (dtype, shape) in zip(n.outputs, inferred):
            if dtype is not None and v.dtype is not None and v.dtype != dtype:
                yield f"{n}: %{v.name} is {v.dtype}, inferred {dtype}"
            if not _compatible(v.shape, shape):
                yield f"{n}: %{v.name} has shape {v.shape}, inferred {shape}"


def _compatible(a: Shape | None, b: Shape | None) -> bool:
    if a is None or b is None:
        return True
    return len(a) == len(b) and all(
        x is None or y is None or x == y or isinstance(x, Dim) or isinstance(y, Dim) for x, y in zip(a, b)
    )


def _regions(g: Graph) -> Iterator[str]:
    """Regions are valid and refer to nothing outside."""
    for n in g:
        for r in n.regions:
            for why in problems(r):
                yield f"{n}, region {r.name!r}: {why}"


CHECKS: dict[str, Callable[[Graph], Iterator[str]]] = {
    "single assignment": _single_assignment,
    "node names": _node_names,
    "order": _order,
    "uses": _uses,
    "weights": _weights,
    "declarations": _declared,
    "regions": _regions,
}


def problems(graph: Graph) -> list[str]:
    """Every broken invariant, as text."""
    return [f"{name}: {why}" for name, check in CHECKS.items() for why in check(graph)]


def verify(graph: Graph, after: str = "") -> None:
    """Raise VerifyError with every broken invariant; ``after`` names the pass or loader to blame."""
    found = problems(graph)
    if found:
        blame = f" after {after}" if after else ""
        raise VerifyError(f"the graph {graph.name!r} is invalid{blame}:\n  " + "\n  ".join(found[:50]))

"""Weights of a converted model put into a module that is there: layers are paired by what they are and where they stand.

Both modules are traced. A layer is a module with weights of its own (a whole one of ``torch.nn``, like MultiheadAttention, with
what is in it); what it is are its class and the shapes of its weights, where it stands is what flows into it and what becomes of
what it gives, layers without weights aside. Layers that are alike in all that are told apart by their names, or not at all.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from convcore.plugin import (
    Dim,
    Graph,
    LoadRequest,
    Node,
    Problem,
    Trait,
    UnsupportedError,
    UsageError,
    Value,
    ask,
    host,
    traits_of,
)

from .types import TORCH_TYPES

__all__ = ["examples", "fill", "pair"]

CONTAINERS = ("Module", "Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict")
SETTINGS = ("eps", "padding", "stride", "dilation", "groups", "negative_slope", "num_heads", "bidirectional", "batch_first")
TOLERANCE = 1e-4


@dataclass
class Layer:
    """A module with weights. ``states`` by their names within it; ``looks`` is what it is, ``place`` where it stands."""

    path: str
    kind: str
    states: dict[str, Any]
    module: Any
    places: list[str] = field(default_factory=list)

    @property
    def looks(self) -> str:
        return f"{self.kind} {sorted((k, tuple(t.shape)) for k, t in self.states.items())}"

    @property
    def shapes(self) -> str:
        return ", ".join(f"{k} {list(t.shape)}" for k, t in self.states.items() if t.dim()) or "no weights"

    def __str__(self) -> str:
        return f"{self.path or 'the model'} ({self.kind}: {self.shapes})"


def fill(module: Any, twin: Any, inputs: Sequence[Any]) -> dict[str, str]:
    """Fill a module with the weights of ``twin``, what the source became; returns the twin's key for each of the module's.

    ``inputs`` are tensors both take. UnsupportedError with every layer that has no partner, or several, and the candidates, or
    where both compute different things with the same weights: the module then is as it was.
    """
    import torch

    pairs = pair(module, twin, inputs)
    ours, theirs = module.state_dict(), twin.state_dict()
    before = {k: ours[k].clone() for k in pairs}
    with torch.no_grad():
        for k, name in pairs.items():
            ours[k].copy_(theirs[name])
    why = _differs(module, twin, inputs)
    if why:
        why = "; ".join([why, *settings_that_differ(pairs, module, twin)[:5]])
        with torch.no_grad():
            for k, old in before.items():
                ours[k].copy_(old)
        raise UnsupportedError(Problem(type(module).__name__, "module", why, code="unsupported_layer"))
    return pairs


def examples(graph: Graph) -> list[Any]:
    """Tensors of the shapes of a graph's inputs: normal numbers, integers 0 and 1; a size that is free is a small prime."""
    import torch

    free: dict[str, int] = {}
    primes = iter((2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31))
    made = torch.Generator().manual_seed(0)
    out = []
    for v in graph.inputs:
        if v.shape is None or None in v.shape or v.dtype is None:
            raise UsageError(f"the sizes of input {v.name!r} are not known: give them ({ask('--input-shape', 'input_shapes=')})")
        names = [n for d in v.shape if isinstance(d, Dim) for n in sorted(d.names)]
        free.update((n, next(primes)) for n in dict.fromkeys(names) if n not in free)
        shape = [d.evaluate(free) if isinstance(d, Dim) else int(d) for d in v.shape if d is not None]
        dtype = getattr(torch, TORCH_TYPES[v.dtype])
        random = torch.randn(shape, generator=made)
        out.append(random.to(dtype) if v.dtype.is_float else (random > 0).to(dtype))
    return out


def pair(module: Any, twin: Any, inputs: Sequence[Any]) -> dict[str, str]:
    """The twin's key for each key of the module."""
    mine, other = _layers(module), _layers(twin)
    if [x.looks for x in mine] == [x.looks for x in other] and [x.path for x in mine] == [x.path for x in other]:
        return _keys(list(zip(mine, other)))
    _place(module, mine, inputs)
    _place(twin, other, inputs)
    found, problems = _matched(mine, other)
    if problems:
        raise UnsupportedError(problems)
    return _keys(found)


def _keys(found: Sequence[tuple[Layer, Layer]]) -> dict[str, str]:
    return {f"{a.path}.{k}".lstrip("."): f"{b.path}.{k}".lstrip(".") for a, b in found for k in a.states}


# ---- what layers are
def _kind(module: Any) -> str:
    """The class of torch.nn it is, or is made of; "" for what only holds others."""
    for c in type(module).__mro__:
        if c.__module__.startswith("torch.nn.modules.") and c.__name__ not in CONTAINERS:
            return str(c.__name__)
    return ""


def _layers(module: Any) -> list[Layer]:
    out: list[Layer] = []

    seen: set[int] = set()

    def enter(m: Any, path: str) -> None:
        if id(m) in seen:
            return
        seen.add(id(m))
        kind = _kind(m)
        if kind:
            states = dict(m.state_dict())
            if states:
                out.append(Layer(path, kind, states, m))
            return
        own = {n: t for n, t in (*m.named_parameters(recurse=False), *m.named_buffers(recurse=False)) if n in m.state_dict()}
        if own:
            out.append(Layer(path, "own weights", {k: t.detach() for k, t in own.items()}, m))
        for name, child in m.named_children():
            enter(child, f"{path}.{name}" if path else name)

    enter(module, "")
    return out


# ---- where layers stand
def _place(module: Any, layers: Sequence[Layer], inputs: Sequence[Any]) -> None:
    from .load import load

    request = LoadRequest(module, options={"example_inputs": tuple(inputs), "training": True}, rules=host().rules("pytorch"))
    graph = load(request)
    by_path = {x.path: x for x in layers}
    owner = {n: x for n in graph if (x := _owner(n, by_path)) is not None}
    forward = _colours(graph, owner, {v: f"in{i}" for i, v in enumerate(graph.inputs)})
    backward = _backward(graph, owner)
    for n, x in owner.items():
        x.places.append(f"{forward[n]} {backward[n]}")
    for x in layers:
        x.places.sort()


def _owner(node: Node, layers: Mapping[str, Layer]) -> Layer | None:
    """The layer a node is of: the innermost around it, if the node reads weights or the layer is one of torch.nn."""
    names = [s.name for s in reversed(list(node.scope.ancestors())) if s.parent is not None]
    for n in range(len(names), -1, -1):
        found = layers.get(".".join(names[:n]))
        if found is not None:
            reads = any(v is not None and v.tensor is not None and v.role != "constant" for v in node.inputs)
            return found if found.kind != "own weights" or reads else None
    return None


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _colours(graph: Graph, owner: Mapping[Node, Layer], known: dict[Value, str]) -> dict[Node, str]:
    """What flows into each node of a layer, and the layer itself."""
    out: dict[Node, str] = {}
    for node in graph:
        given = [known[v] for v in node.inputs if v in known]
        if Trait.COMMUTES in traits_of(node.op):
            given.sort()
        layer = owner.get(node)
        if layer is not None:
            out[node] = made = _hash(layer.looks, *given)
        else:
            made = given[0] if len(set(given)) == 1 else _hash("merge", *given) if given else ""
        if made:
            known.update((v, made) for v in node.outputs)
    return out


def _backward(graph: Graph, owner: Mapping[Node, Layer]) -> dict[Node, str]:
    """What becomes of what each node of a layer gives."""
    after: dict[Value, list[str]] = {}
    for i, v in enumerate(graph.outputs):
        after.setdefault(v, []).append(f"out{i}")
    out: dict[Node, str] = {}
    for node in reversed(list(graph)):
        users = sorted({u for v in node.outputs for u in after.get(v, ())})
        layer = owner.get(node)
        data = [v for v in node.inputs if v is not None and v.tensor is None]
        if layer is not None:
            out[node] = _hash(layer.looks, *users)
            users = [out[node]]
        for i, v in enumerate(data):
            placed = len(data) > 1 and Trait.COMMUTES not in traits_of(node.op)
            after.setdefault(v, []).extend(_hash(str(i), u) if placed else u for u in users)
    return out


# ---- who belongs together
def _matched(mine: Sequence[Layer], other: Sequence[Layer]) -> tuple[list[tuple[Layer, Layer]], list[Problem]]:
    groups: dict[str, tuple[list[Layer], list[Layer]]] = {}
    for side, layers in enumerate((mine, other)):
        for x in layers:
            groups.setdefault(f"{x.looks} {x.places}", ([], []))[side].append(x)
    found: list[tuple[Layer, Layer]] = []
    problems: list[Problem] = []
    left: tuple[list[Layer], list[Layer]] = ([], [])
    for ours, theirs in groups.values():
        if len(ours) == len(theirs) == 1:
            found.append((ours[0], theirs[0]))
        elif len(ours) == len(theirs):
            named = _by_name(ours, theirs)
            if named is None:
                names = ", ".join(x.path for x in theirs)
                problems += [
                    Problem(x.path, x.kind, f"stands where others like it do: of the source it may be any of {names}", "",
                            "ambiguous_layer") for x in ours
                ]  # fmt: skip
            else:
                found += named
        else:
            left[0].extend(ours)
            left[1].extend(theirs)
    problems += _unpaired(*left)
    order = {id(x): i for i, x in enumerate(mine)}
    return sorted(found, key=lambda p: order[id(p[0])]), problems


def _unpaired(ours: Sequence[Layer], theirs: Sequence[Layer]) -> list[Problem]:
    """Layers without a partner. Where some have weights that the other side has not, those are what is wrong: what is around them
    stands elsewhere only for that."""
    count = Counter(x.looks for x in ours)
    count.subtract(x.looks for x in theirs)
    out = []
    for mine, other, side, whose in (
        (ours, theirs, "of the module", "the source"),
        (theirs, ours, "of the source", "the module"),
    ):
        for x in mine:
            if any(count.values()) and not count[x.looks]:
                continue
            alike = [c.path or "the model" for c in other if c.looks == x.looks]
            near = [str(c) for c in other if c.kind == x.kind and count[c.looks] and c.looks != x.looks]
            why = f"no layer of {whose} {'stands where it does' if alike else 'is like it'}"
            why += (
                f"; alike but elsewhere: {', '.join(alike)}" if alike else f"; candidates: {', '.join(near[:3])}" if near else ""
            )
            problem = Problem(x.path or "the model", x.kind, f"({side}; {x.shapes}) {why}", "", "unpaired_layer")
            out.append(problem)
    return out


def _words(path: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z]+|\d+", path.lower()))


def _by_name(ours: Sequence[Layer], theirs: Sequence[Layer]) -> list[tuple[Layer, Layer]] | None:
    """Layers whose names have the most words in common, where that leaves no doubt."""
    out = []
    for x in ours:
        score = sorted(((len(_words(x.path) & _words(y.path)), i) for i, y in enumerate(theirs)), reverse=True)
        if not score[0][0] or (len(score) > 1 and score[0][0] == score[1][0]):
            return None
        out.append((x, theirs[score[0][1]]))
    return out if len({id(y) for _, y in out}) == len(out) else None


# ---- the proof
def _differs(module: Any, twin: Any, inputs: Sequence[Any]) -> str:
    """Why the filled module does not compute what the twin does; "" where it does."""
    import torch

    from .live import evaluating

    with torch.no_grad(), evaluating(module), evaluating(twin):
        try:
            mine, theirs = (_outputs(m(*inputs)) for m in (module, twin))
        except (RuntimeError, TypeError, ValueError) as e:
            raise UsageError(f"the module does not take the inputs of the source: {e}") from e
    if len(mine) != len(theirs):
        return f"every layer pairs, but it has {len(mine)} outputs, the source {len(theirs)}"
    for i, (a, b) in enumerate(zip(mine, theirs)):
        if a.shape != b.shape:
            return f"every layer pairs, but output {i} is {list(a.shape)}, the source's {list(b.shape)}"
        error = float((a.double() - b.double()).abs().max() / b.double().abs().max().clamp(min=1e-30)) if b.numel() else 0.0
        if not error <= TOLERANCE:
            return f"every layer pairs, but output {i} differs by {error:.2g} of its range: what has no weights is not the same"
    return ""


def _outputs(made: Any) -> list[Any]:
    if hasattr(made, "values") and not hasattr(made, "shape"):
        return [x for v in made.values() for x in _outputs(v)]
    return [x for v in made for x in _outputs(v)] if isinstance(made, (tuple, list)) else [made]


def settings_that_differ(found: Mapping[str, str], module: Any, twin: Any) -> list[str]:
    """Settings of paired layers that are not the same, for a person to look at."""
    paths = {k.rpartition(".")[0]: v.rpartition(".")[0] for k, v in found.items()}
    lines = []
    for a, b in paths.items():
        try:
            x, y = module.get_submodule(a), twin.get_submodule(b)
        except AttributeError:
            continue
        for s in SETTINGS:
            if hasattr(x, s) and hasattr(y, s) and getattr(x, s) != getattr(y, s):
                lines.append(f"{a}.{s} is {getattr(x, s)}, the source's {getattr(y, s)}")
    return lines

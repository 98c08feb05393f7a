"""Two models of any formats on the same inputs, compared output by output and value by value."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..build.opaque import opaque_problems
from ..errors import InputError, ShapeError, UnsupportedError, UsageError, ask
from ..files import Watch
from ..host import host
from ..interpreter import Interpreter
from ..ir.dims import shape_text
from ..ir.graph import Graph, Value
from ..model import Model
from ..records import dataclass
from ..report import Report, compare_outputs
from ..report.compare import ATOL
from ..samples import SampleError, candidates
from ..sources import load_graph, refuse_unknown_options, refuse_without_outputs, split_source
from .child import Child
from .conversion import by_rounding, of_set, say_strength
from .layers import Layers, Tolerance
from .sides import given_inputs, precision
from .sides import native as own_runtime

__all__ = ["verify"]

Array = NDArray[Any]


@dataclass
class _Side:
    name: str
    graph: Graph
    run: Callable[[list[Array]], list[Array]]
    files: Watch


@dataclass
class _Asked:
    """How one of the two models is to be read."""

    source: Any
    weights: Any
    format: str | None
    overrides: Mapping[str, Any] | None
    input_shapes: Any

    def read(self, options: Mapping[str, Any], used: set[str]) -> Model:
        if isinstance(self.source, Model):
            if self.overrides:
                raise UsageError(f"{ask('--override', 'overrides')}: a loaded Model takes none, its source does")
            return self.source
        source, weights = split_source(self.source, self.weights)
        graph, framework, files, weights = load_graph(
            source, weights, self.format, options, used, overrides=self.overrides, input_shapes=self.input_shapes
        )
        return Model(graph, framework, source, weights, files)


def _side(model: Model, asked: _Asked, native: bool, notes: list[str], children: dict[str, Child]) -> _Side:
    """A model and what runs it: its own framework, where that knows the same model (it knows nothing of overrides)."""
    source, framework, graph = model.source, model.framework, model.graph
    refuse_without_outputs(graph, source)
    own = native and not isinstance(asked.source, Model) and not asked.overrides
    if own and not (isinstance(source, Path) and framework and host().framework(framework).runs_when_asked):
        runtime = own_runtime(framework, source, model.weights_source, notes, apart=True, children=children)
        if runtime is not None:
            return _Side(runtime.name, graph, runtime.run, model.files)
    problems = opaque_problems(graph)
    if problems:
        raise UnsupportedError(problems, f"{source} cannot be run")
    return _Side("convcore interpreter", graph, Interpreter(graph).run, model.files)


def verify(
    a: Any, b: Any, *, inputs: Any = None, outputs: Mapping[str, str] | Sequence[str] | None = None, weights_a: Any = None,
    weights_b: Any = None, format_a: str | None = None, format_b: str | None = None, rtol: float | None = None,
    atol: float = ATOL, native: bool = True, input_shapes: Any = None, overrides_a: Mapping[str, Any] | None = None,
    overrides_b: Mapping[str, Any] | None = None, **options: Any,
) -> Report:  # fmt: skip
    """Run two models of any formats on the same inputs and compare their outputs.

    Inputs and outputs are matched by name when the names agree, else by position; an input or output whose shape in ``b`` is
    the channels-first (or -last) form of that in ``a`` is permuted, and the report says so. ``outputs`` compares other tensors:
    names of layers or tensors that both models have, or ``{name in a: name in b}``; the interpreter computes them. A file runs in
    its own framework in a process apart, which may die of it; one with ``overrides_a`` or ``overrides_b`` (``{layer name or type:
    function}``, as for :func:`convcore.load`) in the interpreter.
    ``input_shapes`` fixes or names sizes of inputs that both have; ``options`` are those of the loaders of either model.
    ``report.ok`` tells the result.
    """
    report = Report(f"{_name(a)} against {_name(b)}")
    used: set[str] = set()
    children: dict[str, Child] = {}
    asked = (
        _Asked(a, weights_a, format_a, overrides_a, input_shapes),
        _Asked(b, weights_b, format_b, overrides_b, input_shapes),
    )
    models = [x.read(options, used) for x in asked]
    if outputs is not None:
        pairs = dict(outputs) if isinstance(outputs, Mapping) else {n: n for n in outputs}
        if not pairs:
            raise UsageError("outputs names nothing to compare")
        models, native = [m[tuple(names)] for m, names in zip(models, (pairs, pairs.values()))], False
    left, right = (_side(m, x, native, report.notes, children) for m, x in zip(models, asked))
    refuse_unknown_options(options, used, list(host().frameworks))
    ga, gb = left.graph, right.graph
    standard, eps = precision(ga, gb)
    rtol = standard if rtol is None else rtol
    report.runtimes, report.tolerance = (left.name, right.name), (rtol, atol)
    order_in = _match("input", ga.inputs, gb.inputs, report)
    order_out = _match("output", ga.outputs, gb.outputs, report, named=None if outputs is None else False)
    if inputs is not None:
        sets = [given_inputs(ga, inputs)]
        expected = [left.run(sets[0])]
    else:
        try:
            sets, expected = next(candidates(ga, left.run))
        except SampleError as e:
            report.unverified = f"no inputs could be made up on which it runs ({e}): give {ask('--input', 'inputs=')}"
            return report
    names = [v.name for v in ga.outputs]
    limit = Tolerance(rtol, atol, eps)
    layers = Layers(ga, None if opaque_problems(gb) else gb, limit)
    try:
        can_run, why = not opaque_problems(ga), "the interpreter cannot run the first model"
        if can_run:
            layers.reference_run(sets[0])
    except (InputError, ShapeError) as e:  # its own runtime is more lenient
        can_run, why = False, f"the interpreter cannot run the first model on these inputs ({e})"
    feeds: list[list[Array]] = []
    for i, (xs, ys) in enumerate(zip(sets, expected)):
        if i and any(not _accepts(gb.inputs[j].shape, p, x.shape) for (j, p), x in zip(order_in, xs)):
            report.notes.append("the second model takes one batch size only")
            break
        fed: list[Array] = [np.zeros(0)] * len(gb.inputs)
        for (j, p), x, v in zip(order_in, xs, ga.inputs):
            y = x if p is None else np.ascontiguousarray(x.transpose(p))
            want = gb.inputs[j].dtype
            fed[j] = y if want is None or y.dtype == want.numpy or v.dtype == want else y.astype(want.numpy)
        feeds.append(fed)
        got = right.run(fed)
        back = []
        for (j, p), _ in zip(order_out, names):
            y = np.asarray(got[j])
            back.append(y if p is None else y.transpose(tuple(p.index(k) for k in range(len(p)))))
        found = compare_outputs(names, ys, back, rtol, atol, eps), back
        report.differences += of_set(i, by_rounding(ga, xs, ys, found, limit)[0] if can_run else found[0])
    if not can_run:
        report.weak.append(f"what it would have noticed could not be measured: {why}")
    else:
        if report.ok:
            say_strength(
                report, layers.settle(sets[0], feeds[0], [d.name for d in report.differences if not d.note], errors=False)
            )
        else:
            report.first_divergence = layers.run(sets[0], feeds[0])
    for side in (left, right):
        side.files.check()
    return report


def _name(x: Any) -> str:
    if isinstance(x, (tuple, list)) and x:
        return _name(x[0])
    return Path(x).name if isinstance(x, (str, os.PathLike)) else repr(x)


_PERMS: dict[int, list[tuple[int, ...]]] = {
    3: [(0, 2, 1)],
    4: [(0, 3, 1, 2), (0, 2, 3, 1)],
    5: [(0, 4, 1, 2, 3), (0, 2, 3, 4, 1)],
}


def _fits(a: Any, b: Any) -> bool:
    return a is None or b is None or (
        len(a) == len(b) and all(not (isinstance(x, int) and isinstance(y, int)) or x == y for x, y in zip(a, b))
    )  # fmt: skip


def _accepts(shape: Any, perm: Any, got: tuple[int, ...]) -> bool:
    g = got if perm is None else tuple(got[i] for i in perm)
    return _fits(shape, g)


def _match(
    what: str, left: Sequence[Value], right: Sequence[Value], report: Report, named: bool | None = None
) -> list[tuple[int, tuple[int, ...] | None]]:
    """For each value of ``left`` the index in ``right`` and the permutation that its arrays need.

    ``named`` False matches by position; None by name when every name of ``left`` is in ``right``.
    """
    if len(left) != len(right):
        raise UsageError(f"the models have {len(left)} and {len(right)} {what}s")
    by_name = {v.name: i for i, v in enumerate(right)}
    if named is None:
        named = all(v.name in by_name for v in left)
    out: list[tuple[int, tuple[int, ...] | None]] = []
    taken: set[int] = set()
    for i, v in enumerate(left):
        order = [by_name[v.name]] if named else [i, *(j for j in range(len(right)) if j != i)]
        choice: tuple[int, tuple[int, ...] | None] | None = None
        for j in order:
            if j in taken:
                continue
            w = right[j]
            if _fits(v.shape, w.shape):
                choice = (j, None)
                break
            if v.shape is not None and w.shape is not None and len(v.shape) == len(w.shape):
                perm = next((p for p in _PERMS.get(len(v.shape), []) if _fits(tuple(v.shape[k] for k in p), w.shape)), None)
                if perm is not None:
                    choice = (j, perm)
                    break
        if choice is None:
            raise UsageError(f"{what} {v.name!r} {shape_text(v.shape)} fits no {what} of the second model")
        j, perm = choice
        taken.add(j)
        out.append(choice)
        if perm is not None:
            theirs = shape_text(right[j].shape)
            report.notes.append(f"{what} {v.name!r} {shape_text(v.shape)} is {theirs} in the second model: permuted by {perm}")
        elif not named and j != i:
            report.notes.append(f"{what} {v.name!r} is compared with {right[j].name!r}")
    return out

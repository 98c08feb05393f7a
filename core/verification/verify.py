"""Verification: two models on the same inputs, in their native runtimes or the interpreter, compared output by output."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .build.opaque import opaque_problems
from .errors import FrameworkMissingError, InputError, PluginNotInstalledError, UnsupportedError, UsageError
from .files import Watch
from .hookspecs import Emitted, Runtime
from .host import host
from .interpreter import Interpreter
from .ir.dims import shape_text
from .ir.dtypes import DType
from .ir.graph import Graph, Value
from .model import Model
from .report import OutputDifference, Report, compare_outputs
from .report.compare import ATOL, EPS, RTOL
from .samples import working_inputs
from .sources import load_graph, refuse_unknown_options, split_source

__all__ = ["check_conversion", "precision", "verify"]

Array = NDArray[Any]

HALF = {DType.FLOAT16: (5e-3, 2.0**-10), DType.BFLOAT16: (4e-2, 2.0**-7)}
"""Default tolerance and unit in the last place of models that compute in half precision."""


def precision(*graphs: Graph) -> tuple[float, float]:
    """Default rtol and eps of the least precise float type any of the graphs computes in."""
    used = {v.dtype for g in graphs for node in g for v in node.outputs}
    return max((HALF[d] for d in used if d in HALF), default=(RTOL, EPS))


def _native(framework: str, source: Any, weights: Any, notes: list[str]) -> Runtime | None:
    """The framework's own runtime for a source, or None where it is not installed or lacks something the model needs."""
    if source is None or not framework:
        return None
    try:
        return host().runtime(framework, source, weights)
    except (FrameworkMissingError, PluginNotInstalledError):
        return None
    except UnsupportedError as e:
        notes.append(f"{e.problems[0].type} cannot run it ({e.problems[0].why}): the interpreter did")
        return None


def _given_inputs(graph: Graph, example: Any) -> list[Array]:
    names = [v.name for v in graph.inputs]
    if isinstance(example, Mapping):
        if set(example) != set(names):
            raise InputError(f"example_inputs must name the inputs {', '.join(names)}")
        return [np.asarray(example[n]) for n in names]
    arrays = list(example) if isinstance(example, (list, tuple)) else [example]
    if len(arrays) != len(names):
        raise InputError(f"example_inputs must hold {len(names)} arrays, got {len(arrays)}")
    return [np.asarray(a) for a in arrays]


def check_conversion(
    report: Report, reference: Graph, framework: str, source: Any, weights: Any, target: str, emitted: Emitted, laid: Graph,
    layout: Any, example: Any, rtol: float | None, atol: float, mode: bool | str,
) -> None:  # fmt: skip
    """Run source and result on the same inputs and add the differences to the report.

    ``reference`` is the graph as loaded, ``laid`` the one that was emitted, ``layout`` says how inputs and outputs moved. What
    holds nodes that convcore only hands on is compared in its own framework, or not at all where that is not installed.
    """
    standard, eps = precision(reference)
    rtol = standard if rtol is None else rtol
    handed_on = [p.layer for p in opaque_problems(reference)]
    interpreter = Interpreter(reference)
    run: Callable[[list[Array]], list[Array]] = interpreter.run
    ours = "convcore interpreter"
    if mode == "native" or handed_on:
        native = _native(framework, source, weights, [] if handed_on else report.notes)
        if native is None and handed_on:
            report.notes.append(f"not compared: only {framework} can run {', '.join(map(repr, handed_on))}")
            return
        if native is None:
            report.notes.append(f"{framework} is not installed or cannot run the source: its side was run by the interpreter")
        else:
            run, ours = native.run, native.name
    if example is not None:
        inputs = [_given_inputs(reference, example)]
        expected = [run(inputs[0])]
    else:
        inputs, expected = working_inputs(reference, run, fixed=emitted.sizes)
    where = emitted.paths[0] if emitted.paths else None
    result = Path(where) if where else (emitted.model() if emitted.model else None)
    held = Path(emitted.weights) if emitted.weights else None
    runtime = _native(target, result, held, [] if handed_on else report.notes)
    names = [v.name for v in reference.outputs]
    if runtime is None and handed_on:
        report.notes.append(f"not compared: only {target} can run {', '.join(map(repr, handed_on))}")
        return
    if runtime is None:
        back = load_graph(result, held, target, {}, set()).graph
        runtime = _read_back(back, [v.name for v in reference.inputs], list(emitted.outputs) or names)
    moved = [[_permute(x, layout, v.name, True) for v, x in zip(reference.inputs, xs)] for xs in inputs]

    def differences(runtime: Runtime) -> list[list[OutputDifference]]:
        found = []
        for i, (xs, ys) in enumerate(zip(moved, expected)):
            got = [np.asarray(y) for y in runtime.run(xs)]
            if len(got) != len(names):
                text = f"{len(got)} instead of {len(names)}"
                found.append([OutputDifference("outputs", (), float("inf"), float("inf"), False, text)])
                continue
            got = [_permute(y, layout, n, False, inverse=True) for n, y in zip(names, got)]
            found.append(_of_set(i, compare_outputs(names, ys, got, rtol, atol, eps)))
        return found

    found = differences(runtime)
    if runtime.plain is not None and not all(d.ok for ds in found for d in ds):
        plain = runtime.plain()
        again = differences(plain)
        if all(d.ok for ds in again for d in ds):
            report.notes.append(f"{runtime.name} is wrong with its default optimisations; compared with them switched off")
            runtime, found = plain, again
    report.runtimes, report.tolerance = (ours, runtime.name), (rtol, atol)
    report.differences += [d for ds in found for d in ds]
    for xs, ms, ds in zip(inputs, moved, found):
        if not all(d.ok for d in ds) and not report.first_divergence:
            found_at = "" if handed_on else _first_divergence(reference, laid, layout, xs, ms, rtol, atol, eps)
            report.first_divergence = found_at or (
                f"not in convcore's graph: {runtime.name} computes something else from the same operations"
            )


def _read_back(back: Graph, wanted_in: Sequence[str], wanted_out: Sequence[str]) -> Runtime:
    """The interpreter on the result read back. Formats that order inputs or outputs themselves (Caffe: by name) are put in the
    source's order by the names they have there."""
    run = Interpreter(back).run
    have_in, have_out = [v.name for v in back.inputs], [v.name for v in back.outputs]

    def in_order(arrays: list[Array]) -> list[Array]:
        if sorted(wanted_in) == sorted(have_in) and len(set(have_in)) == len(have_in):
            arrays = [arrays[wanted_in.index(n)] for n in have_in]
        results = run(arrays)
        if sorted(wanted_out) == sorted(have_out) and len(set(have_out)) == len(have_out):
            results = [results[have_out.index(n)] for n in wanted_out]
        return results

    return Runtime("convcore interpreter (read back)", in_order)


def _of_set(i: int, found: list[OutputDifference]) -> list[OutputDifference]:
    """The differences of the i-th set of inputs, marked from the second on."""
    return [replace(d, name=f"{d.name} (inputs {i + 1})") for d in found] if i else found


def _permute(x: Array, layout: Any, name: str, is_input: bool, inverse: bool = False) -> Array:
    perm = None if layout is None else (layout.inputs if is_input else layout.outputs).get(name)
    if not perm:  # nothing to permute; numpy would make an array without axes contiguous with one
        return x
    if inverse:
        perm = tuple(perm.index(i) for i in range(len(perm)))
    return np.ascontiguousarray(x.transpose(perm))


def _first_divergence(
    reference: Graph, laid: Graph, layout: Any, xs: list[Array], moved: list[Array], rtol: float, atol: float, eps: float
) -> str:
    """The first value, in order, on which the graph before and after the passes differ; "" if none does."""
    seen: dict[str, Array] = {}

    def keep(node: Any, results: Sequence[Array]) -> None:
        for v, a in zip(node.outputs, results):
            seen[v.name] = a

    Interpreter(reference).run(xs, watch=keep)
    found: list[str] = []

    def compare(node: Any, results: Sequence[Array]) -> None:
        if found:
            return
        for v, a in zip(node.outputs, results):
            want = seen.get(v.name)
            if want is None or sorted(want.shape) != sorted(a.shape):
                continue
            b = np.sort(want, None), np.sort(a, None)  # the order of axes may have changed
            d = compare_outputs([v.name], [b[0]], [b[1]], rtol, atol, eps)[0]
            if not d.ok:
                found.append(f"layer {node.origin}, tensor {v.name!r}: relative error {d.max_rel:.3g}")

    Interpreter(laid).run(moved, watch=compare)
    return found[0] if found else ""


@dataclass
class _Side:
    name: str
    graph: Graph
    run: Callable[[list[Array]], list[Array]]
    files: Watch


def _side(
    source: Any, weights: Any, format: str | None, options: Mapping[str, Any], used: set[str], native: bool, notes: list[str]
) -> _Side:  # fmt: skip
    if isinstance(source, Model):
        return _Side("convcore interpreter", source.graph, Interpreter(source.graph).run, source.files)
    source, weights = split_source(source, weights)
    graph, framework, files = load_graph(source, weights, format, options, used)
    runtime = _native(framework, source, weights, notes) if native else None
    if runtime is not None:
        return _Side(runtime.name, graph, runtime.run, files)
    problems = opaque_problems(graph)
    if problems:
        raise UnsupportedError(problems, f"{source} cannot be run")
    return _Side("convcore interpreter", graph, Interpreter(graph).run, files)


def verify(
    a: Any, b: Any, *, inputs: Any = None, outputs: Mapping[str, str] | Sequence[str] | None = None, weights_a: Any = None,
    weights_b: Any = None, format_a: str | None = None, format_b: str | None = None, rtol: float | None = None,
    atol: float = ATOL, native: bool = True, **options: Any,
) -> Report:  # fmt: skip
    """Run two models of any formats on the same inputs and compare their outputs.

    Inputs and outputs are matched by name when the names agree, else by position; an input or output whose shape in ``b`` is
    the channels-first (or -last) form of that in ``a`` is permuted, and the report says so. ``outputs`` compares other tensors:
    names of layers or tensors that both models have, or ``{name in a: name in b}``; the interpreter computes them.
    ``options`` are those of the loaders of either model. ``report.ok`` tells the result.
    """
    report = Report(f"{_name(a)} against {_name(b)}")
    used: set[str] = set()
    if outputs is not None:
        pairs = dict(outputs) if isinstance(outputs, Mapping) else {n: n for n in outputs}
        if not pairs:
            raise UsageError("outputs names nothing to compare")
        left, right = (
            _side(_model(m, w, f, options, used)[tuple(names)], None, None, {}, used, False, report.notes)
            for m, w, f, names in ((a, weights_a, format_a, pairs), (b, weights_b, format_b, pairs.values()))
        )
    else:
        left = _side(a, weights_a, format_a, options, used, native, report.notes)
        right = _side(b, weights_b, format_b, options, used, native, report.notes)
    refuse_unknown_options(options, used, list(host().frameworks))
    ga, gb = left.graph, right.graph
    standard, eps = precision(ga, gb)
    rtol = standard if rtol is None else rtol
    report.runtimes, report.tolerance = (left.name, right.name), (rtol, atol)
    order_in = _match("input", ga.inputs, gb.inputs, report)
    order_out = _match("output", ga.outputs, gb.outputs, report, named=None if outputs is None else False)
    if inputs is not None:
        sets = [_given_inputs(ga, inputs)]
        expected = [left.run(sets[0])]
    else:
        sets, expected = working_inputs(ga, left.run)
    names = [v.name for v in ga.outputs]
    for i, (xs, ys) in enumerate(zip(sets, expected)):
        if i and any(not _accepts(gb.inputs[j].shape, p, x.shape) for (j, p), x in zip(order_in, xs)):
            report.notes.append("the second model takes one batch size only")
            break
        fed: list[Array] = [np.zeros(0)] * len(gb.inputs)
        for (j, p), x, v in zip(order_in, xs, ga.inputs):
            y = x if p is None else np.ascontiguousarray(x.transpose(p))
            want = gb.inputs[j].dtype
            fed[j] = y if want is None or y.dtype == want.numpy or v.dtype == want else y.astype(want.numpy)
        got = right.run(fed)
        back = []
        for (j, p), _ in zip(order_out, names):
            y = np.asarray(got[j])
            back.append(y if p is None else y.transpose(tuple(p.index(k) for k in range(len(p)))))
        found = compare_outputs(names, ys, back, rtol, atol, eps)
        report.differences += _of_set(i, found)
    for side in (left, right):
        side.files.check()
    return report


def _model(source: Any, weights: Any, format: str | None, options: Mapping[str, Any], used: set[str]) -> Model:
    if isinstance(source, Model):
        return source
    source, weights = split_source(source, weights)
    graph, framework, files = load_graph(source, weights, format, options, used)
    return Model(graph, framework, source, weights, files)


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

"""The check of a conversion: source and result on the same inputs, and what that comparison can notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..build.opaque import opaque_problems
from ..errors import BadFileError, InputError, UnsupportedError, UsageError, ask, ask_option
from ..hookspecs import Runtime
from ..host import host
from ..interpreter import Interpreter
from ..interpreter.execute import affording, ticking
from ..ir.graph import Graph, Node
from ..job import Job
from ..report import OutputDifference, compare_outputs
from ..report.compare import distance
from ..samples import SampleError, candidates
from ..sources import load_graph
from .layers import NOISE, Layers, Settled, Tolerance, Watched, flowing, noise_of
from .sides import given_inputs, native, precision, read_back_order, read_back_runtime

__all__ = ["CHECKING", "by_rounding", "check_conversion", "of_set", "say_strength"]

Array = NDArray[Any]
Sets = list[list[Array]]

_TRIES = 4
CHECKING = 0.5
"""The part of a conversion that is done when its check begins."""


def check_conversion(job: Job) -> None:
    """Run source and result on the same inputs and add what differs, and how strong the comparison is, to the job's report.

    Outputs are compared in independent runtimes, the values between by the interpreter on the result read back. What holds nodes
    that convcore only hands on is compared in its own framework when that is asked for (``check="native"``), in a process of its
    own; what cannot be compared is reported as not verified.
    """
    with affording(job.reference), ticking(_Ticks(job)):
        _check(job)


class _Ticks:
    """Tells how far a check is by the nodes that were run. How often each will be is not known before, so the part that is told
    grows towards, and never to, the end: it is half-way when every node was run twice."""

    def __init__(self, job: Job) -> None:
        self._tell, self._half, self._ran, self._told = job.tell, 2 * max(len(job.reference), 1), 0, CHECKING

    def __call__(self, node: Node) -> None:
        self._ran += 1
        part = CHECKING + (0.99 - CHECKING) * self._ran / (self._ran + self._half)
        if part - self._told >= 0.002:
            self._told = part
            self._tell(f"checking {node.origin.layer or node.name}".rstrip(), part)


def _give_some() -> str:
    """What helps where no inputs could be made up."""
    return f"give some ({ask('--input', 'example_inputs=')}), or leave the check out ({ask('--no-check', 'check=False')})"


def _check(job: Job) -> None:
    report, reference = job.report, job.reference
    standard, eps = precision(reference)
    limit = Tolerance(standard if job.rtol is None else job.rtol, job.atol, eps)
    handed_on = [p.layer for p in opaque_problems(reference)]
    if handed_on and job.check != "native" and isinstance(job.source, Path):
        report.unverified = (
            f"only {job.framework} can run {', '.join(map(repr, handed_on))}, and a file is given to it only when that is "
            f"asked for ({ask_option('check', 'native')})"
        )
        return
    names = [v.name for v in reference.outputs]
    back, held, result = (None, None, None) if handed_on else _read_back(job)
    if handed_on:
        held, result = _result(job)
    layers = Layers(reference, back, limit)
    run: Callable[[list[Array]], list[Array]] = layers.reference_run
    ours = "convcore interpreter"
    if job.check == "native" or handed_on:
        said: list[str] = []
        source = native(job.framework, job.source, job.weights, said, apart=True)
        report.notes += [] if handed_on else said
        if source is None and handed_on:
            report.unverified = f"only {job.framework} can run {', '.join(map(repr, handed_on))}"
            return
        if source is None and not said:
            report.notes.append(f"{job.framework} did not run the source: its side was run by the interpreter")
        if source is not None:
            run, ours = source.run, source.name

    def attempts() -> Iterator[tuple[Sets, Sets]]:
        if job.example_inputs is None:
            return candidates(reference, run, fixed=job.emitted.sizes)
        given = given_inputs(reference, job.example_inputs)
        return iter([([given], [run(given)])])

    written = None if handed_on else job.emitted.runtime
    early = None
    if back is not None and written is None:
        run = _settling(job, layers) if run == layers.reference_run else run
        early = _settled(job, layers, attempts())
    runtime = (
        written()
        if written is not None
        else native(job.target, result, held, [] if handed_on else report.notes, apart=bool(handed_on))
    )
    if runtime is None and handed_on:
        report.unverified = f"only {job.target} can run {', '.join(map(repr, handed_on))}"
        return
    if runtime is not None and back is None and not handed_on:
        layers.other = runtime.watched
    if runtime is None and back is None:
        report.unverified = report.unverified or f"nothing here can run what was written, and {job.target} cannot be read back"
        return
    if runtime is None:
        assert back is not None
        runtime = read_back_runtime(
            back, layers.other_run, [v.name for v in reference.inputs], list(job.emitted.outputs) or names
        )
    tries = attempts() if early is None else early
    try:
        inputs, expected, found, runtime = _first_that_runs(job, tries, runtime, limit)
    except SampleError as e:
        report.unverified = f"no inputs could be made up on which it runs ({e}): give {ask('--input', 'example_inputs=')}"
        return
    report.runtimes, report.tolerance = (ours, runtime.name), (limit.rtol, limit.atol)
    if not handed_on:
        found = [by_rounding(reference, xs, ys, got, limit) for xs, ys, got in zip(inputs, expected, found)]
    found = [(of_set(i, ds), got) for i, (ds, got) in enumerate(found)]
    report.differences += [d for ds, _ in found for d in ds]
    moved = [_moved(job, xs) for xs in inputs]
    wrong = next((i for i, (ds, _) in enumerate(found) if not all(d.ok for d in ds)), None)
    if wrong is not None:
        report.first_divergence = (
            "" if handed_on else _blame(job, inputs[wrong], moved[wrong], back or runtime.watched, limit)
        ) or f"not in convcore's graph: {runtime.name} computes something else from the same operations"
    elif handed_on:
        report.weak.append(f"what it would have noticed could not be measured: only {job.framework} runs {handed_on[0]!r}")
    else:
        agreeing = [d.name for d in found[0][0] if not d.note]
        if not layers.is_settled(inputs[0], agreeing):
            _settle(job, layers, inputs[0], agreeing)
        assert layers.settled is not None
        report.values = layers.settled.errors if job.page is not None else report.values
        say_strength(report, layers.settled)


def _settling(job: Job, layers: Layers) -> Callable[[list[Array]], list[Array]]:
    """Runs the reference; the values between of its first run are compared before it is run again, and let go."""

    def run(inputs: list[Array]) -> list[Array]:
        if layers.kept_of is not None:
            _settle(job, layers, layers.kept_of)
        return layers.reference_run(inputs)

    return run


def _settle(job: Job, layers: Layers, inputs: Sequence[Array], agreeing: Sequence[str] | None = None) -> None:
    theirs = _theirs(job, layers.other, _moved(job, inputs))
    agreed = [v.name for v in job.reference.outputs] if agreeing is None else agreeing
    layers.settle(inputs, theirs, agreed, errors=job.page is not None)


def _settled(job: Job, layers: Layers, tries: Iterator[tuple[Sets, Sets]]) -> Iterator[tuple[Sets, Sets]]:
    """The tries, of which the first is made and its values between are compared at once: before a runtime of the result takes
    its memory beside theirs."""
    try:
        first = next(tries, None)
    except SampleError as e:
        error = e

        def fail(_: None) -> tuple[Sets, Sets]:
            raise error

        return map(fail, (None,))
    if first is None:
        return tries
    if not layers.is_settled(first[0][0], [v.name for v in job.reference.outputs]):
        _settle(job, layers, first[0][0])
    return chain([first], tries)


def _result(job: Job) -> tuple[Path | None, Any]:
    """(file of the weights, the result) as loaders and runtimes take them."""
    e = job.emitted
    result: Any = Path(e.paths[0]) if e.paths else (e.model() if e.model else None)
    return (Path(e.weights) if e.weights else None), result


def _read_back(job: Job) -> tuple[Graph | None, Path | None, Any]:
    """The result as its own format's loader reads it, None where it has none or leaves parts of it unread."""
    held, result = _result(job)
    if result is None or not host().can(job.target, "load"):
        return None, held, result
    try:
        back = load_graph(result, held, job.target, dict(job.emitted.reading), set()).graph
    except (BadFileError, UsageError):  # weights alone, or a live object that says nothing of its inputs
        if job.emitted.runtime is None and not host().can(job.target, "runtime"):
            raise
        return None, held, result
    return (None if opaque_problems(back) else back), held, result


def _permute(x: Array, layout: Any, name: str, is_input: bool, *, inverse: bool) -> Array:
    perm = None if layout is None else (layout.inputs if is_input else layout.outputs).get(name)
    if not perm:  # nothing to permute; numpy would make an array without axes contiguous with one
        return x
    if inverse:
        perm = tuple(perm.index(i) for i in range(len(perm)))
    return np.ascontiguousarray(x.transpose(perm))


def _moved(job: Job, xs: Sequence[Array]) -> list[Array]:
    return [_permute(x, job.layout, v.name, True, inverse=False) for v, x in zip(job.reference.inputs, xs)]


Found = tuple[list[OutputDifference], list[Array]]


def _differences(job: Job, runtime: Runtime, inputs: Sets, expected: Sets, limit: Tolerance) -> list[Found]:
    """For each set of inputs the differences, and the result's outputs in the source's order of axes."""
    names = [v.name for v in job.reference.outputs]
    out: list[Found] = []
    for xs, ys in zip(inputs, expected):
        got = [np.asarray(y) for y in runtime.run(_moved(job, xs))]
        if len(got) != len(names):
            text = f"{len(got)} instead of {len(names)}"
            out.append(([OutputDifference("outputs", (), float("inf"), float("inf"), False, text)], got))
            continue
        got = [_permute(y, job.layout, n, False, inverse=True) for n, y in zip(names, got)]
        out.append((compare_outputs(names, ys, got, limit.rtol, limit.atol, limit.eps), got))
    return out


def _first_that_runs(
    job: Job, tries: Iterator[tuple[Sets, Sets]], runtime: Runtime, limit: Tolerance
) -> tuple[Sets, Sets, list[Found], Runtime]:
    """Compare on the first inputs that the result takes too: where integers are made up, others are tried."""
    refused: InputError | None = None
    others = job.example_inputs is None and any(v.dtype is not None and v.dtype.is_int for v in job.reference.inputs)
    for inputs, expected in islice(tries, _TRIES if others else 1):
        try:
            found = _differences(job, runtime, inputs, expected, limit)
        except InputError as e:
            refused = refused or e
            continue
        if runtime.plain is not None and not all(d.ok for ds, _ in found for d in ds):
            plain = runtime.plain()
            again = _differences(job, plain, inputs, expected, limit)
            if all(d.ok for ds, _ in again for d in ds):
                job.report.notes.append(
                    f"{runtime.name} is wrong with its default optimisations; compared with them switched off"
                )
                runtime, found = plain, again
        if refused is not None:
            job.report.notes.append(f"the result did not take other made-up inputs: {refused}")
        return inputs, expected, found, runtime
    if refused is None:
        raise SampleError("no example inputs could be made up")
    raise InputError(
        str(refused) if job.example_inputs is not None else f"{refused}; the inputs were made up: {_give_some()}"
    ) from refused


def by_rounding(graph: Graph, xs: Sequence[Array], ys: Sequence[Array], found: Found, limit: Tolerance) -> Found:
    """Accept what is no further from float64 than the source's own run, times a small factor."""
    differences, got = found
    doubtful = {d.name: y for d, y in zip(differences, ys) if not d.ok and np.isfinite(d.max_abs)}
    if not doubtful or len(differences) != len(got):
        return found
    noise, flow = noise_of(graph, xs, doubtful, limit.eps), flowing(graph, xs, doubtful)
    out = []
    for d, z in zip(differences, got):
        if d.name in noise and not d.ok:
            exact, own = noise[d.name]
            off = distance(exact, z)
            ulps = 0.0 if exact.dtype.kind in "iub" else 4 * limit.eps * max(float(np.abs(exact).max()), flow[d.name])
            if off <= NOISE * own + ulps:
                d = replace(d, ok=True, note=f"rounding: {off:.2g} from float64, the source's own run {own:.2g}")
        out.append(d)
    return out, got


def of_set(i: int, found: list[OutputDifference]) -> list[OutputDifference]:
    """The differences of the i-th set of inputs, marked from the second on."""
    return [replace(d, name=f"{d.name} (inputs {i + 1})") for d in found] if i else found


def say_strength(report: Any, found: Settled) -> None:
    """What the comparison of layers found, into the report."""
    if found.first:
        report.first_divergence = found.first
        report.differences.append(
            OutputDifference(
                "a layer inside", (), float("inf"), float("inf"), False, f"the outputs hardly show it: {found.first}"
            )
        )
        return
    power = found.power
    assert power is not None
    report.layers = {
        "compared": found.compared, "weights": power.weights, "covered": power.covered,
        "uncovered": power.weights - power.covered, "together": power.together,
    }  # fmt: skip
    if power.weights and not power.covered:
        report.weak.append("no value compared changes noticeably when a weight is disturbed by 1 %")
    elif power.weak:
        shown = ", ".join(power.weak[:5]) + (f" and {len(power.weak) - 5} more" if len(power.weak) > 5 else "")
        report.weak.append(f"weights that hardly reach anything compared: {shown}")
    elif not power.weights and found.flat:
        report.weak.append("every value compared is a constant")
    report.weak += [f"tensor {n!r} has another value there, and nothing after it differs" for n in found.odd[:5]]


def _blame(job: Job, xs: list[Array], moved: list[Array], other: Graph | Watched | None, limit: Tolerance) -> str:
    """The first layer whose values differ: in the passes, else in what was written."""
    laid = _first_divergence(job, xs, moved, limit)
    return laid if laid or other is None else Layers(job.reference, other, limit).run(xs, _theirs(job, other, moved))


def _theirs(job: Job, other: Graph | Watched | None, moved: list[Array]) -> list[Array]:
    """The inputs as the other side takes them."""
    return read_back_order(other, [v.name for v in job.reference.inputs])(moved) if isinstance(other, Graph) else moved


def _first_divergence(job: Job, xs: list[Array], moved: list[Array], limit: Tolerance) -> str:
    """The first value, in order, on which the graph before and after the passes differ, up to the first layer that was kept as
    the source has it; "" if none does."""
    seen: dict[str, Array] = {}

    def keep(node: Any, results: Sequence[Array]) -> None:
        for v, a in zip(node.outputs, results):
            seen[v.name] = a

    Interpreter(job.reference).run(xs, watch=keep)
    found: list[str] = []

    def compare(node: Any, results: Sequence[Array]) -> None:
        if found:
            return
        for v, a in zip(node.outputs, results):
            want = seen.get(v.name)
            if want is None or sorted(want.shape) != sorted(a.shape):
                continue
            b = np.sort(want, None), np.sort(a, None)  # the order of axes may have changed
            d = compare_outputs([v.name], [b[0]], [b[1]], limit.rtol, limit.atol, limit.eps)[0]
            if not d.ok:
                found.append(f"layer {node.origin}, tensor {v.name!r}: relative error {d.max_rel:.3g}")

    with suppress(UnsupportedError):  # a kept layer, which only the written model's framework runs
        Interpreter(job.graph).run(moved, watch=compare)
    return found[0] if found else ""

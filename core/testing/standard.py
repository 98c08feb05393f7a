"""The ONNX standard's own test cases, run through the IR and any target: ``python -m convcore.testing onnx-backend``.

A case is a model of one operator, of its function body, or a small network, with inputs and the outputs the standard expects:
the node cases, made in process, and those stored in the installed package (simple, pytorch-operator, pytorch-converted, and the
light models of the "real" ones). It counts for a target when the interpreter, reading it from ONNX, gives those outputs: then the
IR has its ops, and what a target writes must give them too, or be refused.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConvcoreError, InputError
from ..host import host
from ..interpreter import Interpreter
from ..ir.dtypes import DType
from ..model import Model
from ..ops.sequences import as_optional, as_sequence
from ..pipeline import convert, load
from ..records import dataclass
from ..verification.sides import HALF, read_back_runtime
from .onnx_cases import Case, all_cases, node_cases, sample, stored_cases

__all__ = ["INTERPRETER", "Case", "Outcome", "Standard", "all_cases", "node_cases", "run_cases", "stored_cases"]

INTERPRETER, SOURCE = "interpreter", "onnx"
RIGHT, REFUSED, WRONG, FAILED, LACKING, DISPUTED = "right", "refused", "wrong", "failed", "lacking", "disputed"
Array = NDArray[Any]


@dataclass(frozen=True)
class Outcome:
    """``right``, ``refused`` (by name, with the reason), ``wrong``, ``failed`` (an error nobody meant), ``lacking``: the IR does
    not have it, so that it says nothing about the target, or ``disputed``: the runtime
    gives the same of the case's own model, and not what the case expects (random numbers, onnxruntime's transforms), or rounding
    decides what comes out (the light squeezenet)."""

    case: str
    op: str
    what: str
    why: str = ""


@dataclass
class Standard:
    """What became of all cases for one target."""

    target: str
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def counts(self) -> Counter[str]:
        return Counter(o.what for o in self.outcomes)

    @property
    def share(self) -> float:
        """The right ones among those whose ops the IR has."""
        n = self.counts
        whole = sum(n.values()) - n[LACKING] - n[DISPUTED]
        return n[RIGHT] / whole if whole else 1.0

    def of(self, what: str) -> list[Outcome]:
        return [o for o in self.outcomes if o.what == what]

    def __str__(self) -> str:
        n = self.counts
        said = ", ".join(f"{n[k]} {k}" for k in (RIGHT, REFUSED, WRONG, FAILED, DISPUTED) if n[k] or k in (RIGHT, WRONG))
        return (
            f"{self.target}: {said} ({self.share:.1%} of the cases whose ops the IR has); {n[LACKING]} that it lacks; "
            f"{n[RIGHT] / max(1, len(self.outcomes)):.1%} of all {len(self.outcomes)} right"
        )

    def page(self) -> str:
        """A table per operator, and the reasons of refusals, as Markdown."""
        ops: dict[str, Counter[str]] = {}
        for o in self.outcomes:
            ops.setdefault(o.op, Counter())[o.what] += 1
        lines = ["| operator | right | refused | wrong | disputed | lacking in the IR |", "|---|---|---|---|---|---|"]
        for op, n in sorted(ops.items()):
            cells = (n[RIGHT], n[REFUSED], n[WRONG] + n[FAILED], n[DISPUTED], n[LACKING])
            lines.append(f"| `{op}` | {' | '.join(str(c or '') for c in cells)} |")
        whys = Counter[tuple[str, str, str]]()
        for o in self.outcomes:
            if o.what in (REFUSED, DISPUTED, LACKING):
                whys[o.op, o.what, o.why] += 1
        lines += ["", "| operator | what | cases | why |", "|---|---|---|---|"]
        lines += [f"| `{op}` | {what} | {n} | {why.replace('|', chr(92) + '|')} |" for (op, what, why), n in sorted(whys.items())]
        return "\n".join(lines)


def run_cases(target: str, cases: Iterable[Case] | None = None) -> Standard:
    """Every case for a target: the name of a framework, or ``interpreter``."""
    chosen = all_cases() if cases is None else cases
    return Standard(target, [_outcome(c, target) for c in chosen])


def _outcome(case: Case, target: str) -> Outcome:
    def say(what: str, why: str = "") -> Outcome:
        return Outcome(case.name, case.op, what, " ".join(why.split()))

    model, lacking = _reference(case)
    if model is None and target == SOURCE and not lacking.startswith(WRONG):
        model = _kept(case)
    if model is None:
        return say(LACKING, lacking) if not lacking.startswith(WRONG) else say(WRONG, lacking)
    if target == INTERPRETER:
        return say(RIGHT)
    try:
        found = [_run(model, target, _inputs(model, case, ins)) for ins, _ in case.sets]
    except ConvcoreError as e:
        problems = getattr(e, "problems", None)
        return say(REFUSED, "; ".join(dict.fromkeys(p.why for p in problems)) if problems else str(e))
    except Exception as e:  # noqa: BLE001 - whatever a target's code raises is a finding
        return say(FAILED, f"{type(e).__name__}: {e}")
    for got, (ins, want) in zip(found, case.sets):
        why = _differs(model, got, want, case)
        if why and target == SOURCE and _its_own(case, model, ins, got):
            return say(DISPUTED, f"the case's own model gives it, too: {why}")
        if why and _differs(model, Interpreter(model.graph).run(_inputs(model, case, ins)), want, case):
            return say(DISPUTED, f"rounding decides: in single precision the interpreter gives something else, too; {why}")
        if why:
            return say(WRONG, why)
    return say(RIGHT)


def _reference(case: Case) -> tuple[Model | None, str]:
    """The model as loaded, where the interpreter gives the expected outputs; else what is lacking, or ``wrong: ...``."""
    try:
        model = load(case.model)
    except ConvcoreError as e:
        return None, str(e)
    if model.problems:
        return None, "; ".join(f"{p.type}: {p.why}" for p in model.problems)
    for ins, want in case.sets:
        try:
            got = Interpreter(model.graph).run(_inputs(model, case, ins))
        except ConvcoreError as e:
            return None, str(e)
        why = _differs(model, got, want, case)
        if why and _lost_in_rounding(model, case, ins, want):
            why = ""
        if why:
            return None, f"{WRONG}: {why}"
    return model, ""


def _native(target: str, made: Any, names: Sequence[str], arrays: list[Array]) -> list[Array] | None:
    """What a live model gives in the target's own runtime, and ONNX for which onnxruntime has no kernel in the standard's
    evaluator; None where there is no runtime."""
    try:
        runtime = host().runtime(target, made, None)
        if runtime is None:
            return None
        return [a if isinstance(a, np.ndarray) else np.asarray(a) for a in runtime.run(arrays)]
    except ConvcoreError:
        if target != SOURCE:
            raise
        return _evaluated(made, dict(zip(names, arrays)))


def _its_own(case: Case, model: Model, ins: Sequence[Any], got: Sequence[Array]) -> bool:
    """Whether the case's own model gives, in the same runtime, what the one written from it gives, or draws anew each time."""
    order = [v.name for v in model.graph.inputs]
    first, second = (_native(SOURCE, case.model, order, _inputs(model, case, ins)) for _ in range(2))
    if first is None or second is None:
        return False
    return not _differs(model, got, first, case) or bool(_differs(model, second, first, case))


def _kept(case: Case) -> Model | None:
    """A model with nodes that are carried as they are: nothing of it runs here, but its own format may take it back."""
    try:
        return load(case.model)
    except ConvcoreError:
        return None


def _lost_in_rounding(model: Model, case: Case, ins: Sequence[Any], want: Sequence[Any]) -> bool:
    """Whether the outputs are the expected ones when the model is computed in float64: a softmax of equal numbers near 1e10 is
    whatever rounding makes of their last digits (the light squeezenet)."""
    try:
        exact = Interpreter(model.graph, precise=True).run(_inputs(model, case, ins))
    except ConvcoreError:
        return False
    rounded = [a.astype(b.dtype) if isinstance(b, np.ndarray) and a.dtype != b.dtype else a for a, b in zip(exact, want)]
    return not _differs(model, rounded, want, case)


def _evaluated(model: Any, feeds: Mapping[str, Any]) -> list[Any]:
    """What the standard's own evaluator gives; InputError where it fails."""
    from onnx.reference import ReferenceEvaluator

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return list(ReferenceEvaluator(model).run(None, {n: _plain_value(a) for n, a in feeds.items()}))
        except Exception as e:  # whatever its Python raises
            raise InputError(f"the standard's evaluator: {type(e).__name__}: {e}") from e


def _plain_value(a: Any) -> Any:
    """Sequences as lists, what may be absent as itself or None."""
    if not isinstance(a, np.ndarray) or not a.dtype.hasobject:
        return a
    if a.ndim == 0 and not isinstance(a.item(), str):
        return None if a.item() is None else _plain_value(a.item())
    return list(a) if any(isinstance(x, np.ndarray) for x in a.reshape(-1)) else a


def _inputs(model: Model, case: Case, ins: Sequence[Any]) -> list[Array]:
    given = dict(zip(case.inputs, ins))
    return [_as_value(given[v.name], v.dtype) for v in model.graph.inputs]


def _as_value(x: Any, dtype: DType | None) -> Array:
    """A case's value as the interpreter has it: lists as sequences, None as what is absent."""
    if dtype is not None and dtype.is_optional:
        return as_optional(None if x is None else _as_value(x, dtype.held))
    return as_sequence(x) if isinstance(x, list) else np.asarray(x)


def _run(model: Model, target: str, arrays: list[Array]) -> list[Array]:
    """What the target makes of a model gives for the inputs: in its own runtime, else read back and interpreted."""
    names = [v.name for v in model.graph.inputs]
    if host().can(target, "runtime"):
        made = convert(model, target, check=False, io_layout="source")
        found = _native(target, made.model, names, arrays)
        if found is not None:
            return found
    with TemporaryDirectory(prefix="convcore-standard-") as folder:
        out = Path(folder) / f"model{host().framework(target).default_suffix}"
        made = convert(model, target, out, check=False, io_layout="source")
        back = load(made.paths[0], made.weights, format=target)
        wanted = [v.name for v in model.graph.outputs]
        runtime = read_back_runtime(back.graph, Interpreter(back.graph).run, names, wanted)
        return [np.asarray(a) for a in runtime.run(arrays)]


def _differs(model: Model, got: Sequence[Array], want: Sequence[Any], case: Case) -> str:
    """Why outputs differ from what the standard expects; "" where they agree in type, shape and value."""
    for v, a, expected in zip(model.graph.outputs, got, want):
        why = _differ(v.name, a, expected, case)
        if why:
            return why
    return ""


def _differ(name: str, a: Any, expected: Any, case: Case) -> str:
    """The same of one value."""
    if isinstance(a, np.ndarray) and a.dtype == object and a.ndim == 0:
        a = a if isinstance(a.item(), str) else a.item()
    if isinstance(expected, list):
        if len(a) != len(expected):
            return f"{name}: {len(a)} elements, not {len(expected)}"
        return next((w for i, (x, y) in enumerate(zip(a, expected)) if (w := _differ(f"{name}[{i}]", x, y, case))), "")
    if a is None or expected is None:
        return "" if a is None and expected is None else f"{name}: only one is absent"
    b = np.asarray(expected)
    if a.dtype != b.dtype and not (a.dtype.kind in "OSU" and b.dtype.kind in "OSU"):
        return f"{name}: dtype {a.dtype}, not {b.dtype}"
    if a.shape != b.shape:
        return f"{name}: shape {a.shape}, not {b.shape}"
    dtype = DType.of(b.dtype)
    if dtype.is_small:
        if a.tobytes() != b.tobytes() and not np.array_equal(a.astype(np.float32), b.astype(np.float32), equal_nan=True):
            return f"{name}: values differ"
    elif dtype.is_float or b.dtype.kind == "c":
        wide = np.complex128 if b.dtype.kind == "c" else np.float64
        x, y = a.astype(wide), b.astype(wide)
        atol = max(case.atol, 1e-5)
        if b.dtype.itemsize == 2 and y.size:  # frameworks round sums in half precision differently: two units of the largest
            top = np.max(np.abs(y), initial=0, where=np.isfinite(y))
            atol = max(atol, 2 * float(HALF[DType.of(b.dtype)][1]) * float(top))
        if not np.allclose(x, y, rtol=max(case.rtol, 1e-3), atol=atol, equal_nan=True):
            return f"{name}: values differ by {np.nanmax(np.abs(x - y))}"
    elif (a != b).any():
        return f"{name}: values differ in {int((a != b).sum())} of {b.size} places"
    return ""


def command(argv: Sequence[str]) -> int:
    """``onnx-backend``: run the cases, print what became of them; 1 where any is wrong."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m convcore.testing onnx-backend", description=__doc__)
    parser.add_argument("--to", default=INTERPRETER, help="a framework, or interpreter (default)")
    parser.add_argument("--sample", type=int, metavar="N", help="only N cases, of every operator in turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", action="append", default=[], help="only cases whose names contain this (repeatable)")
    parser.add_argument("--page", metavar="FILE", help="write the table per operator")
    asked = parser.parse_args(argv)
    cases = [c for c in all_cases() if not asked.case or any(part in c.name for part in asked.case)]
    if asked.sample:
        cases = sample(cases, asked.sample, asked.seed)
    result = run_cases(asked.to, cases)
    for o in result.outcomes:
        if o.what in (WRONG, FAILED) or asked.case:
            sys.stdout.write(f"{o.what}: {o.case}: {o.why}\n")
    sys.stdout.write(f"{result}\n")
    if asked.page:
        title = f"# ONNX's own tests to {asked.to}\n\nWritten by `python -m convcore.testing onnx-backend --to {asked.to}"
        text = f"{title} --page {asked.page}`; do not edit.\n\n{result}\n\n{result.page()}\n"
        Path(asked.page).write_text(text, encoding="utf-8")
    return 1 if result.counts[WRONG] or result.counts[FAILED] else 0

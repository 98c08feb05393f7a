"""The ONNX standard's own node test cases, run through the IR and any target: ``python -m convcore.testing onnx-backend``.

A case is a model of one operator (or its function body) with inputs and the outputs the standard expects. It counts for a target
when the interpreter, reading it from ONNX, gives those outputs: then the IR has its ops, and what a target writes must give them
too, or be refused.
"""

from __future__ import annotations

import random
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConvcoreError
from ..host import host
from ..interpreter import Interpreter
from ..ir.dtypes import DType
from ..model import Model
from ..pipeline import convert, load
from ..verification.sides import HALF, read_back_runtime

__all__ = ["INTERPRETER", "Case", "Outcome", "Standard", "node_cases", "run_cases"]

INTERPRETER = "interpreter"
RIGHT, REFUSED, WRONG, FAILED, LACKING = "right", "refused", "wrong", "failed", "lacking"
Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """One test: its model (a ModelProto), inputs and expected outputs, and how close they must be."""

    name: str
    model: Any
    sets: Sequence[tuple[Sequence[Any], Sequence[Any]]]
    rtol: float = 1e-3
    atol: float = 1e-7

    @property
    def op(self) -> str:
        """The operator; of a function body the operator it spells out."""
        name = self.name.removeprefix("test_")
        nodes = self.model.graph.node
        return nodes[0].op_type if len(nodes) == 1 else f"{name.split('_')[0]} (body)" if "_expanded" in name else "several"


@dataclass(frozen=True)
class Outcome:
    """``right``, ``refused`` (by name, with the reason), ``wrong``, ``failed`` (an error nobody meant), or ``lacking``: the IR
    does not have it, so that it says nothing about the target."""

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
        whole = sum(n.values()) - n[LACKING]
        return n[RIGHT] / whole if whole else 1.0

    def of(self, what: str) -> list[Outcome]:
        return [o for o in self.outcomes if o.what == what]

    def __str__(self) -> str:
        n = self.counts
        said = ", ".join(f"{n[k]} {k}" for k in (RIGHT, REFUSED, WRONG, FAILED) if n[k] or k in (RIGHT, WRONG))
        return f"{self.target}: {said} ({self.share:.1%} of the cases whose ops the IR has); {n[LACKING]} that it lacks"

    def page(self) -> str:
        """A table per operator, and the reasons of refusals, as Markdown."""
        ops: dict[str, Counter[str]] = {}
        for o in self.outcomes:
            ops.setdefault(o.op, Counter())[o.what] += 1
        lines = ["| operator | right | refused | wrong | lacking in the IR |", "|---|---|---|---|---|"]
        for op, n in sorted(ops.items()):
            cells = (n[RIGHT], n[REFUSED], n[WRONG] + n[FAILED], n[LACKING])
            lines.append(f"| `{op}` | {' | '.join(str(c or '') for c in cells)} |")
        whys: dict[tuple[str, str], int] = {}
        for o in self.of(REFUSED):
            whys[o.op, o.why] = whys.get((o.op, o.why), 0) + 1
        lines += ["", "| refused | cases | why |", "|---|---|---|"]
        lines += [f"| `{op}` | {n} | {why.replace('|', chr(92) + '|')} |" for (op, why), n in sorted(whys.items())]
        return "\n".join(lines)


def node_cases() -> list[Case]:
    """The cases of the installed onnx, made in process."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = collect_testcases(None)
    return [Case(c.name, c.model, c.data_sets or (), c.rtol, c.atol) for c in made]


def run_cases(target: str, cases: Iterable[Case] | None = None) -> Standard:
    """Every case for a target: the name of a framework, or ``interpreter``."""
    chosen = node_cases() if cases is None else cases
    return Standard(target, [_outcome(c, target) for c in chosen])


def sample(cases: Sequence[Case], count: int, seed: int) -> list[Case]:
    """A seeded sample that has every operator before any has two."""
    by_op: dict[str, list[Case]] = {}
    rng = random.Random(seed)
    for c in rng.sample(list(cases), len(cases)):
        by_op.setdefault(c.op, []).append(c)
    rounds: Iterator[list[Case]] = ([g.pop() for g in by_op.values() if g] for _ in range(len(cases)))
    out: list[Case] = []
    for part in rounds:
        out += part
        if len(out) >= count or not part:
            break
    return out[:count]


def _outcome(case: Case, target: str) -> Outcome:
    def say(what: str, why: str = "") -> Outcome:
        return Outcome(case.name, case.op, what, " ".join(why.split()))

    model, lacking = _reference(case)
    if model is None:
        return say(LACKING, lacking) if not lacking.startswith(WRONG) else say(WRONG, lacking)
    if target == INTERPRETER:
        return say(RIGHT)
    try:
        found = [_run(model, target, ins) for ins, _ in case.sets]
    except ConvcoreError as e:
        problems = getattr(e, "problems", None)
        return say(REFUSED, "; ".join(dict.fromkeys(p.why for p in problems)) if problems else str(e))
    except Exception as e:  # noqa: BLE001 - whatever a target's code raises is a finding
        return say(FAILED, f"{type(e).__name__}: {e}")
    for got, (_, want) in zip(found, case.sets):
        why = _differs(model, got, want, case)
        if why:
            return say(WRONG, why)
    return say(RIGHT)


def _reference(case: Case) -> tuple[Model | None, str]:
    """The model as loaded, where the interpreter gives the expected outputs; else what is lacking, or ``wrong: ...``."""
    if any(not isinstance(a, (np.ndarray, np.generic)) for ins, outs in case.sets for a in (*ins, *outs)):
        return None, "inputs or outputs that are not tensors"
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
        if why:
            return None, f"{WRONG}: {why}"
    return model, ""


def _inputs(model: Model, case: Case, ins: Sequence[Any]) -> list[Array]:
    names = [v.name for v in case.model.graph.input]
    given = dict(zip(names, ins))
    return [np.asarray(given[v.name]) for v in model.graph.inputs]


def _run(model: Model, target: str, ins: Sequence[Any]) -> list[Array]:
    """What the target makes of a model gives for the inputs: in its own runtime, else read back and interpreted."""
    names = [v.name for v in model.graph.inputs]
    proto = model.source
    order = [v.name for v in proto.graph.input]
    arrays = [np.asarray(ins[order.index(n)]) for n in names]
    if host().can(target, "runtime"):
        made = convert(model, target, check=False, io_layout="source")
        runtime = host().runtime(target, made.model, None)
        if runtime is not None:
            return [np.asarray(a) for a in runtime.run(arrays)]
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
        b = np.asarray(expected)
        if a.dtype != b.dtype and not (a.dtype.kind in "OSU" and b.dtype.kind in "OSU"):
            return f"{v.name}: dtype {a.dtype}, not {b.dtype}"
        if a.shape != b.shape:
            return f"{v.name}: shape {a.shape}, not {b.shape}"
        if b.dtype.kind in "fc" or b.dtype.name == "bfloat16":
            wide = np.complex128 if b.dtype.kind == "c" else np.float64
            x, y = a.astype(wide), b.astype(wide)
            atol = max(case.atol, 1e-5)
            if b.dtype.itemsize == 2 and y.size:  # frameworks round sums in half precision differently: two units of the largest
                top = np.max(np.abs(y), initial=0, where=np.isfinite(y))
                atol = max(atol, 2 * float(HALF[DType.of(b.dtype)][1]) * float(top))
            if not np.allclose(x, y, rtol=max(case.rtol, 1e-3), atol=atol, equal_nan=True):
                return f"{v.name}: values differ by {np.nanmax(np.abs(x - y))}"
        elif (a != b).any():
            return f"{v.name}: values differ in {int((a != b).sum())} of {b.size} places"
    return ""


def command(argv: Sequence[str]) -> int:
    """``onnx-backend``: run the cases, print what became of them; 1 where any is wrong."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m convcore.testing onnx-backend", description=__doc__)
    parser.add_argument("--to", default=INTERPRETER, help="a framework, or interpreter (default)")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="only N cases, of every operator in turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", action="append", default=[], help="only cases whose names contain this (repeatable)")
    parser.add_argument("--page", metavar="FILE", help="write the table per operator")
    asked = parser.parse_args(argv)
    cases = [c for c in node_cases() if not asked.case or any(part in c.name for part in asked.case)]
    if asked.sample:
        cases = sample(cases, asked.sample, asked.seed)
    result = run_cases(asked.to, cases)
    for o in result.outcomes:
        if o.what in (WRONG, FAILED) or asked.case:
            sys.stdout.write(f"{o.what}: {o.case}: {o.why}\n")
    sys.stdout.write(f"{result}\n")
    if asked.page:
        title = f"# ONNX node tests to {asked.to}\n\nWritten by `python -m convcore.testing onnx-backend --to {asked.to}"
        text = f"{title} --page {asked.page}`; do not edit.\n\n{result}\n\n{result.page()}\n"
        Path(asked.page).write_text(text, encoding="utf-8")
    return 1 if result.counts[WRONG] or result.counts[FAILED] else 0

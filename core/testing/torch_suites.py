"""PyTorch's own tables of tests, run through the IR: ``python -m convcore.testing opinfo`` and ``nn-modules``.

``opinfo`` is ``torch.testing._internal.common_methods_invocations.op_db`` (every public function with samples of inputs),
``nn-modules`` is ``common_modules.module_db``. A sample counts where it is deterministic (the function gives the same twice) and
``torch.export.export(strict=False)`` takes it and gives what the function gives: nobody here decides that. Then the result must
agree, or be refused by name. The two tables need ``expecttest`` beside torch.
"""

from __future__ import annotations

import json
import random
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import field
from itertools import islice
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import ConvcoreError, PluginBugError
from ..records import dataclass
from .record import record_rules
from .torch_runs import array, by_reference, differs, exported, filled, leaves, run_program, run_strictly, run_torch, untied

__all__ = ["Case", "Found", "Suite", "module_cases", "opinfo_cases", "run_suite"]

Array = NDArray[Any]
AGREE, REFUSED, WRONG, FAILED, DISPUTED, OUTSIDE = "agree", "refused", "wrong", "failed", "disputed", "outside"
SEEN = 60
"""How many samples of one table entry are looked at to choose from."""


@dataclass(frozen=True)
class Case:
    """One sample: the op's name, what it is, and ``make() -> (module, inputs)``."""

    op: str
    label: str
    make: Callable[[], tuple[Any, tuple[Any, ...]]]


@dataclass(frozen=True)
class Found:
    """``agree``, ``refused`` (with the reason), ``wrong``, ``failed`` (an error nobody meant), ``disputed`` (of what was written
    onnx.reference gives the right values, onnxruntime others), or ``outside``: random, or not exported by torch."""

    op: str
    label: str
    what: str
    why: str = ""


@dataclass
class Suite:
    """What became of all samples of one table."""

    table: str
    target: str
    found: list[Found] = field(default_factory=list)

    def ops(self) -> dict[str, Counter[str]]:
        """Outcomes by op, those that are outside of the question left out."""
        out: dict[str, Counter[str]] = {}
        for f in self.found:
            if f.what != OUTSIDE:
                out.setdefault(f.op, Counter())[f.what] += 1
        return out

    @property
    def counts(self) -> Counter[str]:
        return Counter(f.what for f in self.found)

    def verdicts(self) -> Counter[str]:
        """Ops by verdict: ``agree`` (every sample), ``partly`` (some), ``refused`` (every sample), ``wrong``."""
        return Counter(_verdict(n) for n in self.ops().values())

    @property
    def share(self) -> float:
        """The ops of which every sample agrees, among those that count."""
        n = self.verdicts()
        return n[AGREE] / sum(n.values()) if n else 1.0

    def __str__(self) -> str:
        n, c = self.verdicts(), self.counts
        said = ", ".join(f"{n[k]} {k}" for k in (AGREE, "partly", REFUSED, WRONG))
        samples = ", ".join(f"{c[k]} {k}" for k in (AGREE, REFUSED, WRONG, FAILED, DISPUTED))
        return (
            f"{self.table} to {self.target}: of {sum(n.values())} deterministic, exportable ops {said} ({self.share:.1%} agree "
            f"in every sample); samples: {samples}, {c[OUTSIDE]} random or not exported by torch"
        )

    def entries(self) -> dict[str, dict[str, Any]]:
        """What became of every op, as data: numbers of samples by outcome, and why what does not agree does not."""
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        whys: defaultdict[str, dict[str, dict[str, None]]] = defaultdict(dict)
        for f in self.found:
            counts[f.op][f.what] += 1
            if f.what != AGREE:
                whys[f.op].setdefault(f.what, {})[f.why] = None
        return {op: {**n, "why": {k: [*v] for k, v in whys[op].items()}} for op, n in counts.items()}

    def blocking(self) -> list[tuple[int, str]]:
        """Reasons of refusals by the number of ops they keep from agreeing, most first."""
        ops: dict[str, set[str]] = {}
        for f in self.found:
            if f.what == REFUSED:
                ops.setdefault(f.why, set()).add(f.op)
        return sorted(((len(v), k) for k, v in ops.items()), reverse=True)


def _verdict(n: Counter[str]) -> str:
    if n[WRONG] or n[FAILED]:
        return WRONG
    return REFUSED if not n[AGREE] else AGREE if not n[REFUSED] + n[DISPUTED] else "partly"


def opinfo_cases(only: Sequence[str], each: int) -> list[Case]:
    """Samples of torch's table of functions: up to ``each`` float32 ones spread over what the table has, one of int64 and one of
    bool where the function takes them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from torch.testing._internal.common_methods_invocations import op_db

    made = []
    for info in op_db:
        name = info.name + (f".{info.variant_test_name}" if info.variant_test_name else "")
        if only and name not in only and info.name not in only:
            continue
        for dtype, count in ((torch.float32, each), (torch.int64, 1), (torch.bool, 1)):
            if info.supports_dtype(dtype, "cpu"):
                kind = str(dtype).removeprefix("torch.")
                made += [Case(name, f"{kind} {i}", _Sampled(info, dtype, i, count)) for i in range(count)]
    return made


class _Sampled:
    """The i-th chosen sample of a function as a module over its tensors."""

    def __init__(self, info: Any, dtype: Any, i: int, count: int) -> None:
        self.info, self.dtype, self.i, self.count = info, dtype, i, count

    def __call__(self) -> tuple[Any, tuple[Any, ...]]:
        import torch

        torch.manual_seed(0)
        looked = list(islice(self.info.sample_inputs("cpu", self.dtype, requires_grad=False), SEEN))
        step = max(len(looked) // self.count, 1)
        chosen = looked[self.i * step : self.i * step + 1]
        if not chosen:
            raise LookupError("no such sample")
        sample = chosen[0]
        held = ((sample.input, *sample.args), dict(sample.kwargs))
        fn = self.info.op

        class Function(torch.nn.Module):
            def forward(self, *tensors: Any) -> Any:
                args, kwargs = filled(held, iter(tensors))
                return fn(*args, **kwargs)

        return Function().eval(), tuple(v for v in leaves(held) if isinstance(v, torch.Tensor))


def module_cases(only: Sequence[str], each: int) -> list[Case]:
    """Samples of torch's table of modules: up to ``each`` in evaluation mode, float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_modules import module_db

    return [
        Case(info.name, f"{i}", _Module(info, i, each))
        for info in module_db
        if not only or info.name in only
        for i in range(each)
    ]


class _Module:
    """The i-th chosen sample of a module, seeded; arguments that are no tensors are fixed."""

    def __init__(self, info: Any, i: int, count: int) -> None:
        self.info, self.i, self.count = info, i, count

    def __call__(self) -> tuple[Any, tuple[Any, ...]]:
        import torch

        torch.manual_seed(0)
        info = self.info
        looked = info.module_inputs_func(info, device="cpu", dtype=torch.float32, requires_grad=False, training=False)
        looked = [m for m in looked if m.forward_input is not None]
        step = max(len(looked) // self.count, 1)
        chosen = looked[self.i * step : self.i * step + 1]
        if not chosen:
            raise LookupError("no such sample")
        build, call = chosen[0].constructor_input, chosen[0].forward_input
        inner = info.module_cls(*build.args, **build.kwargs).eval()
        held = (tuple(call.args), dict(call.kwargs))

        class Held(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = inner

            def forward(self, *tensors: Any) -> Any:
                args, kwargs = filled(held, iter(tensors))
                return self.inner(*args, **kwargs)

        with torch.no_grad():  # Lazy modules get their parameters
            inner(*call.args, **call.kwargs)
            for p in inner.parameters():  # parameters of zeros and ones show nothing
                if p.numel() and bool((p == p.flatten()[0]).all()):
                    p.copy_(torch.rand_like(p) + 0.5)
        return Held().eval(), tuple(v for v in leaves(held) if isinstance(v, torch.Tensor))


def run_suite(table: str, target: str, cases: Iterable[Case], say: Callable[[Found], None] | None = None) -> Suite:
    """Every sample to a target: the name of a framework, or ``interpreter``."""
    suite = Suite(table, target)
    for case in cases:
        found = _outcome(case, target)
        if found is not None:
            suite.found.append(found)
            if say is not None:
                say(found)
    return suite


def _outcome(case: Case, target: str) -> Found | None:
    """What became of one sample; None where the table has none of that number."""
    import torch

    def told(what: str, why: str = "") -> Found:
        return Found(case.op, case.label, what, " ".join(why.split())[:300])

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            module, inputs = case.make()
            _ = [array(t) for t in inputs]
            truth = [run_torch(module, inputs, 1), run_strictly(module, inputs)]
        except LookupError:
            return None
        except Exception as e:  # noqa: BLE001 - samples that torch itself does not run, or of another layout
            return told(OUTSIDE, f"does not run: {type(e).__name__}: {e}")
        if differs(truth[1], truth[0], 1e-6):
            return told(OUTSIDE, "is random")
        program = exported(module, inputs)
        if isinstance(program, str):
            return told(OUTSIDE, program)
        try:
            again = run_torch(program.module(), inputs, 1)
        except Exception as e:  # noqa: BLE001 - an export that does not run says nothing about us
            return told(OUTSIDE, f"the export does not run: {type(e).__name__}")
        if differs(again, truth[0], 1e-5):
            return told(OUTSIDE, "the export gives other values")
    try:
        got = run_program(program, inputs, target)
    except PluginBugError as e:
        return told(FAILED, str(e))
    except ConvcoreError as e:
        problems = getattr(e, "problems", None)
        if problems and all(p.code == "random" for p in problems):
            return told(OUTSIDE, "draws random numbers, or gives memory that nobody has written")
        return told(REFUSED, "; ".join(dict.fromkeys(f"{p.type}: {p.why}" for p in problems)) if problems else str(e))
    except Exception as e:  # noqa: BLE001 - whatever our code raises is a finding
        return told(FAILED, f"{type(e).__name__}: {e}")
    why = differs(untied(got, truth[0], inputs), truth[0], 1e-4)
    if why and target == "onnx" and not differs(untied(by_reference(program, inputs), truth[0], inputs), truth[0], 1e-4):
        return told(DISPUTED, f"onnx.reference gives the right values, onnxruntime others: {why}")
    return told(WRONG, why) if why else told(AGREE)


TABLES: dict[str, Callable[..., list[Case]]] = {"opinfo": opinfo_cases, "nn-modules": module_cases}


def sampled(cases: Sequence[Case], count: int, seed: int) -> list[Case]:
    """A seeded choice of ``count`` samples."""
    return random.Random(seed).sample(list(cases), min(count, len(cases)))


def command(table: str, argv: Sequence[str]) -> int:
    """``opinfo`` or ``nn-modules``: run the samples, print what became of them; 1 where any is wrong."""
    import argparse

    parser = argparse.ArgumentParser(prog=f"python -m convcore.testing {table}", description=__doc__)
    parser.add_argument("--to", default="interpreter", help="a framework, or interpreter (default)")
    parser.add_argument("--ops", default="", metavar="NAME,...", help="only these")
    parser.add_argument("--each", type=int, default=3 if table == "opinfo" else 4, help="samples of one entry (float32)")
    parser.add_argument("--sample", type=int, metavar="N", help="only N samples, chosen by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="every sample on a line")
    parser.add_argument("--table", metavar="FILE", help="put what became of these ops into a record, as JSON")
    parser.add_argument("--record", metavar="FOLDER", help="records of what rules make, see convcore.testing.record")
    asked = parser.parse_args(argv)
    cases = TABLES[table]([o for o in asked.ops.split(",") if o], asked.each)
    if asked.sample:
        cases = sampled(cases, asked.sample, asked.seed)

    def say(f: Found) -> None:
        if asked.verbose or f.what in (WRONG, FAILED):
            sys.stdout.write(f"{f.what}: {f.op} ({f.label}): {f.why}\n")
            sys.stdout.flush()

    with record_rules("pytorch", Path(asked.record)) if asked.record else nullcontext():
        suite = run_suite(table, asked.to, cases, say)
    for n, why in suite.blocking() if asked.verbose else []:
        sys.stdout.write(f"{n} ops: {why}\n")
    sys.stdout.write(f"{suite}\n")
    if asked.table:
        path = Path(asked.table)
        held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        held[asked.to] = dict(sorted({**held.get(asked.to, {}), **suite.entries()}.items()))
        path.write_text(json.dumps(held, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 1 if suite.counts[WRONG] or suite.counts[FAILED] else 0

"""Checks of a framework a plugin brings: it writes sample models, reads them back, and both compute the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..errors import ConvcoreError, DeclarationError, FrameworkMissingError, MismatchError, PluginBugError, UnsupportedError
from ..host import host
from ..interpreter import Interpreter
from ..model import Model
from ..opset import Op, find_op
from ..pipeline import Conversion, convert, load
from ..records import dataclass
from ..samples import SampleError, candidates
from ..verification import verify
from .models import SampleModel, called_twice, chained, constants_of, sample_models, single

__all__ = ["FrameworkReport", "check_framework", "written_by"]

Tell = Callable[[str], None]


@dataclass
class FrameworkReport:
    """``written`` models of ``asked`` were taken and computed the same, ``back`` were read back; ``refused`` are the others
    with the reasons, ``unverified`` says why what was written could not be compared. ``unread`` are models whose file format is
    not read (``Framework.unread``) and whose live object is refused, too, with the reasons."""

    name: str
    asked: int = 0
    written: int = 0
    back: int = 0
    sources: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    unverified: Counter[str] = field(default_factory=Counter)
    unread: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{self.written} of {self.asked} sample models written", f"{self.back} read back"]
        parts += [f"{self.sources} sources read"] if self.sources else []
        parts += [f"{n} not verified: {why}" for why, n in self.unverified.items()]
        return f"{self.name}: {', '.join(parts)}"


def check_framework(name: str, wrong: Tell, *, models: int, sources: Sequence[Any] = ()) -> FrameworkReport:
    """Write up to ``models`` sample models, compare, read back; ``wrong`` is told of everything that is found.

    Of the ops the rules cover: one alone, two in a row, one called twice. What was written is compared with the reference
    interpreter by the framework's runtime, else as it is read back. A file cut in half must be refused. ``sources`` are files
    (or pairs) of the framework to read; of one that is not read, models of others to write, such as whole networks where
    single ops are none.
    """
    h, report = host(), FrameworkReport(name)
    for source in sources:
        (_read if h.can(name, "load") else _written)(name, source, wrong, report)
    if not h.can(name, "emit"):
        return report
    taken: list[SampleModel] = []
    cut = False
    for alternatives in islice(_models(name, taken), models):
        report.asked += 1
        why = ""
        for model in alternatives:
            with TemporaryDirectory(prefix="convcore-check-") as folder:
                made, why = written_by(name, model, Path(folder), wrong)
                if made is None:
                    continue
                report.written += 1
                if made.report.unverified:
                    report.unverified[made.report.unverified] += 1
                if h.can(name, "load"):
                    report.back += _read_back(name, model, made, wrong, report)
                    if not cut and made.paths and not _unread(name, made.paths[0]):
                        cut = True
                        _cut(name, made, wrong)
                taken.append(model)
                why = ""
                break
        if why:
            report.refused[alternatives[0].name] = why
    return report


def _written(name: str, source: Any, wrong: Tell, report: FrameworkReport) -> None:
    """A model of another framework is written."""
    report.asked += 1
    with TemporaryDirectory(prefix="convcore-check-") as folder:
        suffix = host().framework(name).default_suffix
        try:
            made = convert(source, name, Path(folder) / f"model{suffix}" if suffix else None)
        except Exception as e:  # noqa: BLE001 - whatever a plugin's code raises is a finding
            wrong(f"{name} cannot write {source}: {_short(e)}")
            return
        report.written += 1
        if made.report.unverified:
            report.unverified[made.report.unverified] += 1


def _models(name: str, taken: list[SampleModel]) -> Iterator[list[SampleModel]]:
    """Single ops; after every eighth one, two of those taken in a row, and one of them called twice."""
    rng, done, shared = random.Random(5), set(), 0
    for n, alternatives in enumerate(sample_models(host().rules(name)), 1):
        yield alternatives
        singles = [m for m in taken if len(m.parts) == 1 and "twice" not in m.name]
        if n % 8 or not singles:
            continue
        pairs = [(a, b) for a in singles for b in singles if (a.name, b.name) not in done and a is not b]
        rng.shuffle(pairs)
        for a, b in pairs:
            both = chained(a, b)
            done.add((a.name, b.name))
            if both is not None:
                yield [both]
                break
        for m in singles[shared:]:
            shared += 1
            twice = called_twice(m)
            if twice is not None:
                yield [twice]
                break


def written_by(name: str, model: SampleModel, folder: Path, wrong: Tell) -> tuple[Conversion | None, str]:
    """The model converted to a framework in an empty folder and compared; None and why, where it was refused or is wrong.

    FrameworkMissingError where the framework, which its emitter needs, is not installed.
    """
    f = host().framework(name)
    suffix = f.default_suffix
    out = folder / f"model{suffix}" if suffix else None
    try:
        made = convert(Model(model.graph), name, out, example_inputs=model.inputs, io_layout="source")
    except UnsupportedError as e:
        return None, "; ".join(f"{p.why}" for p in e.problems)
    except MismatchError as e:
        d = next((d for d in e.report.differences if not d.ok), None)
        wrong(f"{name} writes {model.name}, which computes something else: {d if d is not None else e}")
        return None, ""
    except FrameworkMissingError:
        raise
    except Exception as e:  # noqa: BLE001 - whatever a plugin's code raises is a finding
        wrong(f"{name} cannot write {model.name}: {_short(e)}")
        return None, ""
    if out is not None and not made.paths:
        wrong(f"{name} writes no file for {model.name} (Emitted.paths is empty)")
    return made, ""


def _read_back(name: str, model: SampleModel, made: Conversion, wrong: Tell, report: FrameworkReport) -> bool:
    """Whether what was written is read, and computes the same. Of a format that is not read, the live object is."""
    live = not made.paths or _unread(name, made.paths[0])
    source = made.model if live else made.paths[0]
    if source is None:
        return False
    options: dict[str, Any] = {}
    if live and any(o.name == "example_inputs" and o.stage == "load" for o in host().options(name)):
        options["example_inputs"] = tuple(model.inputs)
    try:
        back = load(source, None if live else made.weights, **options)
        if back.framework != name:
            wrong(f"what {name} writes for {model.name} is taken for {back.framework} (convcore_identify)")
            return False
        if back.problems:
            raise UnsupportedError(list(back.problems))
        compared = verify(Model(model.graph), back, inputs=model.inputs, native=False)
    except UnsupportedError as e:
        why = "; ".join(map(str, e.problems))
        if live and made.paths:
            report.unread[model.name] = why
        else:
            wrong(f"{name} does not read what it writes for {model.name}: {why}")
        return False
    except Exception as e:  # noqa: BLE001 - whatever a plugin's code raises is a finding
        wrong(f"{name} cannot read back {model.name}: {_short(e)}")
        return False
    if not compared.ok:
        wrong(f"{name} reads back {model.name} as something else: {next(d for d in compared.differences if not d.ok)}")
    return compared.ok


def _unread(name: str, path: Any) -> bool:
    """Whether a framework says of a file that it is written and never read."""
    return str(path).lower().endswith(host().framework(name).unread)


def _cut(name: str, made: Conversion, wrong: Tell) -> None:
    """A file of which half is missing is refused by a sentence."""
    path = made.paths[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    try:
        load(path, made.weights, format=name)
    except PluginBugError as e:
        wrong(f"{name}: a file cut in half is no BadFileError, but a bug: {_short(e)}")
    except ConvcoreError:
        return
    except Exception as e:  # noqa: BLE001 - whatever a plugin's code raises is a finding
        wrong(f"{name}: a file cut in half raises {_short(e)} instead of BadFileError")
    else:
        wrong(f"{name}: a file cut in half loads as if nothing were missing")


def _read(name: str, source: Any, wrong: Tell, report: FrameworkReport) -> None:
    what = source if isinstance(source, (str, Path)) else f"a {type(source).__name__}"
    try:
        model = load(source)
        if model.framework != name:
            wrong(f"{what} is taken for {model.framework}, not {name} (convcore_identify)")
        elif model.problems:
            wrong(f"{what} does not load whole: {'; '.join(map(str, model.problems))}")
        else:
            next(candidates(model.graph, Interpreter(model.graph).run))
            report.sources += 1
    except SampleError as e:
        wrong(f"{what} does not run: {e}")
    except Exception as e:  # noqa: BLE001 - whatever a plugin's code raises is a finding
        wrong(f"{what} does not load: {_short(e)}")


def targets_of(op: str, wrong: Tell) -> dict[str, str]:
    """What every installed target makes of an op's first sample: "" where it takes it and computes the same, else ``"refuses it:
    why"``, or ``"not verified: why"`` where its framework is not installed."""
    decl, found = find_op(op), {}
    for name in host().frameworks:
        if decl is None or not decl.samples or not host().can(name, "emit"):
            continue
        try:
            found[name] = _target(name, decl, wrong)
        except FrameworkMissingError as e:
            found[name] = f"not verified: {e}"
        except DeclarationError as e:
            wrong(f"op {op}: {e}")
            return found
    return found


def _target(name: str, decl: Op, wrong: Tell) -> str:
    """What one target makes of an op's first sample. Raises FrameworkMissingError, DeclarationError (of the op)."""
    try:
        rules = host().rules(name)
    except FrameworkMissingError:
        raise
    except (ConvcoreError, ImportError) as e:
        return f"refuses it: {_short(e)}"
    why = ""
    for constants in constants_of(decl, rules):
        model = single(decl, decl.samples[0], constants)
        if model is None:
            continue
        with TemporaryDirectory(prefix="convcore-check-") as folder:
            made, why = written_by(name, model, Path(folder), wrong)
        if made is not None:
            break
    return f"refuses it: {why}" if why else ""


def _short(e: BaseException) -> str:
    return f"{type(e).__name__}: {e}".splitlines()[0]

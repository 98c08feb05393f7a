"""All that can be checked of a plugin, in one line of its tests:

    from convcore.testing import check_plugin
    def test_plugin():
        check_plugin("mlp")

It is registered; its ops agree with themselves; its axis rules are proven; its rows run both ways; each framework it brings
writes, runs and reads back sample models. Everything found is listed at once.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, SimpleNamespace
from typing import Any

import importlib_metadata
import numpy as np

from ..discovery import PluginInfo
from ..errors import DeclarationError, PluginConflictError, UsageError
from ..host import Host, host, resolve, set_host
from ..opset import Op, OpSet, find_op
from ..opset.axes import LastAxes, Layout, Opaque
from ..records import dataclass
from ..rules import RuleSet
from .axes import check_axis_rule
from .failed import CheckFailed
from .frameworks import FrameworkReport, check_framework, targets_of
from .ops import check_op
from .rules import check_row

__all__ = ["PluginReport", "check_plugin"]

STABLE = ("convcore", "convcore.plugin", "convcore.testing")


@dataclass
class PluginReport:
    """What was checked, and what is wrong. ``notes`` say what could not be checked, and what targets refuse."""

    plugin: str
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ops: list[str] = field(default_factory=list)
    rows: int = 0
    frameworks: list[FrameworkReport] = field(default_factory=list)

    def wrong(self, what: str) -> None:
        """Note a finding, once."""
        if what not in self.problems:
            self.problems.append(what)

    def __str__(self) -> str:
        head = f"plugin {self.plugin}: {len(self.ops)} ops, {self.rows} rows"
        lines = [head, *map(str, self.frameworks), *(f"note: {n}" for n in self.notes)]
        return "\n".join([*lines, *(f"- {p}" for p in self.problems)])


def check_plugin(plugin: str | ModuleType, *, models: int = 40, sources: Sequence[Any] = ()) -> PluginReport:
    """Check an installed plugin by its name (that of the entry point), or a module of hooks that is not installed.

    ``models`` bounds the sample models each of its frameworks is asked to write; ``sources`` are files (or pairs, or live
    objects) for a framework that is read, and models to write for one that is not. Raises
    CheckFailed with the whole report where anything is wrong.
    """
    with _registered(plugin) as info:
        report = PluginReport(info.name)
        module = _module(info, report)
        if module is not None:
            _check_imports(module, report)
            _check_ops(info.name, report)
            _check_rules(info.name, report)
            _check_identify(info.name, report)
            for f in [f for f in host().frameworks.values() if f.name in info.frameworks]:
                _check_named(f, report)
                _check_framework(f.name, report, models, sources)
            for op in report.ops:
                report.notes += [f"op {op}: {target} {said}" for target, said in targets_of(op, report.wrong).items() if said]
            if info.error:
                report.wrong(f"it is left out: {info.error}")
    if report.problems:
        n = len(report.problems)
        raise CheckFailed(f"{n} thing{'s are' if n > 1 else ' is'} wrong with it\n{report}")
    return report


@contextmanager
def _registered(plugin: str | ModuleType) -> Iterator[PluginInfo]:
    """The plugin's entry, in a host that knows it: this process's own, or for a module one made for the check."""
    if isinstance(plugin, str):
        found = [i for i in host().plugins if i.name == plugin]
        if not found:
            names = ", ".join(i.name for i in host().plugins) or "none"
            raise UsageError(f"no plugin named {plugin!r} is installed (found: {names}): pip install -e . in its folder")
        yield found[0]
        return
    name = plugin.__name__.removesuffix(".plugin")
    installed = [e for e in importlib_metadata.entry_points(group="convcore") if e.value != plugin.__name__]
    point = SimpleNamespace(name=name, value=plugin.__name__, dist=None)
    before = host()
    try:
        set_host(Host(entry_points=[*installed, point]))
        yield next(i for i in host().plugins if i.name == name)
    finally:
        set_host(before)


def _module(info: PluginInfo, report: PluginReport) -> ModuleType | None:
    """The module of hooks once it is registered; None where it cannot be."""
    try:
        _ = host().frameworks
        host().load_ops()
    except PluginConflictError as e:
        report.wrong(str(e))
    if info.error:
        report.wrong(f"it cannot be registered: {info.error}")
        return None
    return importlib.import_module(info.module.partition(":")[0])


# ---------------------------------------------------------------- imports
def _check_imports(module: ModuleType, report: PluginReport) -> None:
    """Hooks import nothing heavy, and nobody anything of convcore that is not stable."""
    if module.__file__ is None:
        return
    root = importlib.import_module(module.__name__.partition(".")[0])
    files = [Path(module.__file__)]
    if root.__file__ is not None and hasattr(root, "__path__"):
        files += [p for p in sorted(Path(root.__file__).parent.rglob("*.py")) if p not in files]
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        for node in ast.walk(tree):
            for name in _imported(node):
                if name.partition(".")[0] == "convcore" and name not in STABLE:
                    report.wrong(
                        f"{path.name}:{getattr(node, 'lineno', 0)} imports {name}, which may change: take it from convcore.plugin"
                    )
    for node in ast.parse(files[0].read_text(encoding="utf-8")).body:
        heavy = [n for n in _imported(node) if n.partition(".")[0] not in {"convcore", *sys.stdlib_module_names}]
        if heavy:
            report.wrong(
                f"{files[0].name}:{node.lineno} imports {', '.join(heavy)} when hooks are looked for: import it inside the hook"
            )


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [a.name for a in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{'.' * node.level}{node.module or ''}"]
    return []


# ---------------------------------------------------------------- ops and rules
def _resolved(path: str, kind: type, what: str, report: PluginReport) -> Any:
    try:
        found = resolve(path)
    except Exception as e:  # noqa: BLE001 - whatever a plugin's code raises is a finding
        report.wrong(f"{what} {path} cannot be imported: {type(e).__name__}: {e}")
        return None
    if not isinstance(found, kind):
        report.wrong(f"{what} {path} is a {type(found).__name__}, must be a {kind.__name__}")
        return None
    return found


def _check_ops(name: str, report: PluginReport) -> None:
    for path in host().says(name, "ops"):
        ops: OpSet | None = _resolved(path, OpSet, "the op set", report)
        for decl in ops.ops.values() if ops is not None else ():
            report.ops.append(decl.name)
            if find_op(decl.name) is not decl:
                report.wrong(f"op {decl.name} is not registered: another op has its name")
                continue
            for check in (check_op, _prove_axes):
                try:
                    check(decl)
                except (CheckFailed, DeclarationError) as e:
                    report.wrong(str(e) if decl.name in str(e) else f"op {decl.name}: {e}")
                except Exception as e:  # noqa: BLE001 - whatever a plugin's code raises is a finding
                    report.wrong(f"op {decl.name}: {type(e).__name__}: {e}")


def _prove_axes(decl: Op) -> None:
    """The axis rule holds for every permutation of the samples, and they are such that a wrong one would have shown."""
    proof = check_axis_rule(decl)
    if isinstance(decl.axes, Opaque) or decl.regions or proof.moved:
        return
    needed = 2 + (decl.axes.k if isinstance(decl.axes, LastAxes) else 0) - isinstance(decl.axes, Layout)
    ranks = [a.ndim for s in decl.samples for a in s.arrays() if a is not None]
    rule = type(decl.axes).__name__
    if not any(r >= needed for r in ranks):
        raise CheckFailed(f"op {decl.name}: its axis rule {rule} is not proven: no sample has {needed} axes")
    refused = ", ".join(proof.refused) or "there is none"
    raise CheckFailed(f"op {decl.name}: its axis rule {rule} carries no permutation of any sample ({refused}): say Opaque()")


def _check_rules(name: str, report: PluginReport) -> None:
    paths: dict[str, str] = {f.rules: f.name for f in host().says(name, "frameworks") if f.rules}
    for framework in host().frameworks:
        paths |= dict.fromkeys(host().says(name, "rules", framework=framework), framework)
    for path, framework in paths.items():
        rules = _resolved(path, RuleSet, f"the rule set for {framework}", report)
        if rules is None:
            continue
        if rules.framework != framework:
            report.wrong(f"the rule set {path} is for {rules.framework!r}, but given for {framework!r}")
        for row in rules.rows():
            report.rows += 1
            try:
                check_row(row)
            except CheckFailed as e:
                report.wrong(str(e))
            except Exception as e:  # noqa: BLE001 - whatever a plugin's code raises is a finding
                report.wrong(f"row {row.foreign} -> {row.op_name}: {type(e).__name__}: {e}")


# ---------------------------------------------------------------- frameworks
def _check_named(f: Any, report: PluginReport) -> None:
    """What a Framework names by strings is there."""
    for what in ("convention", "dialect"):
        path = getattr(f, what)
        if path:
            found = _resolved(path, object, f"the {what} of {f.name}", report)
            if what == "dialect" and found is not None and not callable(found):
                report.wrong(f"the dialect of {f.name}, {path}, must be a function that makes one")
    if not any(host().can(f.name, stage) for stage in ("load", "emit", "runtime")):
        report.wrong(f"the framework {f.name} can do nothing: no convcore_load, convcore_emit or convcore_runtime")
    for o in host().options(f.name):
        if o.stage not in ("load", "emit"):
            report.wrong(f"the option {o.name} of {f.name} is for the stage {o.stage!r}, must be load or emit")


def _check_identify(name: str, report: PluginReport) -> None:
    """Sniffing survives whatever it is shown, and claims nothing that is not its own."""
    with TemporaryDirectory(prefix="convcore-check-") as folder:
        empty, noise = Path(folder, "empty.bin"), Path(folder, "noise.bin")
        empty.touch()
        noise.write_bytes(np.random.default_rng(3).bytes(997))
        strange = {"a folder": Path(folder), "a missing file": Path(folder, "none.bin"), "an empty file": empty, "noise": noise}
        for what, source in (*strange.items(), ("an object", object())):
            try:
                claims = [c for c in host().says(name, "identify", source=source) if c.score > 0]
            except Exception as e:  # noqa: BLE001 - whatever a plugin's code raises is a finding
                report.wrong(f"convcore_identify of {what} raises {type(e).__name__}: {e}")
                continue
            report.problems += [f"convcore_identify claims {what} for {c.framework} ({c.why})" for c in claims]


def _check_framework(name: str, report: PluginReport, models: int, sources: Sequence[Any]) -> None:
    h = host()
    try:
        found = check_framework(name, report.wrong, models=models, sources=sources)
    except Exception as e:  # noqa: BLE001 - whatever a plugin's code raises is a finding
        report.wrong(f"the framework {name}: {type(e).__name__}: {e}")
        return
    report.frameworks.append(found)
    report.notes += [f"{name} refuses {what}: {why}" for what, why in found.refused.items()]
    report.notes += [f"{name} does not read back {what}: {why}" for what, why in found.unread.items()]
    if h.can(name, "emit") and not found.written and not report.problems:
        report.wrong(
            f"{name} writes none of {found.asked} sample models: {next(iter(found.refused.values()), 'its rules emit no op')}"
        )
    if not h.can(name, "emit") and not sources:
        report.notes.append(
            f"{name} is only read, and no sources were given: loading was not checked (check_plugin(..., sources=[file]))"
        )

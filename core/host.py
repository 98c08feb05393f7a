"""The plugin host: frameworks, ops, rules and passes that plugins bring, conflicts, the three distinct errors.

A plugin that fails to import or to describe itself is recorded as broken, left out, and quoted when its format or its name is
what was asked for. What works on models (load, emit, runtime) is called of the plugin that brings the framework only, inside
the wrappers of all plugins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .discovery import ALIASES, KNOWN, SUFFIXES, PluginInfo
from .errors import (
    BadFileError,
    BrokenPluginError,
    ConvcoreError,
    FrameworkMissingError,
    PluginBugError,
    PluginConflictError,
    PluginNotInstalledError,
    UnknownFrameworkError,
    UsageError,
    ask,
)
from .hookspecs import EmitRequest, Emitted, Framework, Identified, LoadRequest, Option, PassSpec, Runtime
from .registry import STAGES, Registry, is_wrapper, resolve
from .requirements import unmet

if TYPE_CHECKING:
    from .emit.dialect import Dialect
    from .ir.graph import Graph
    from .layout import Convention
    from .report import Report
    from .rules import RuleSet

__all__ = ["EVERY", "STAGES", "Host", "host", "resolve"]

EVERY = {"labels": "text file with one class name per line, which every result is given (default: what the source has)"}
"""Options that the loader of every framework has, with their help."""


class Host(Registry):
    """All plugins of this environment and what they bring. Use :func:`host`; a fresh one is for tests.

    ``blocked`` plugin names are not loaded; ``extra`` are modules to register besides the discovered ones.
    """

    def __init__(self, *, blocked: Sequence[str] = (), extra: Sequence[Any] = (), entry_points: Any = None) -> None:
        super().__init__(blocked=blocked, extra=extra, entry_points=entry_points)
        self._frameworks: dict[str, Framework] | None = None
        self._owners: dict[str, Any] = {}
        self._rules: dict[str, RuleSet[Any, Any]] = {}
        self._ops_done = False

    def _break(self, info: PluginInfo, error: str) -> None:
        module = self._pm.get_plugin(info.name)
        super()._break(info, error)
        if self._frameworks is not None:
            self._frameworks = {k: f for k, f in self._frameworks.items() if self._owners[k] is not module}

    # ---- frameworks
    @property
    def frameworks(self) -> dict[str, Framework]:
        """Frameworks by name; PluginConflictError when two plugins bring the same."""
        if self._frameworks is None:
            found: dict[str, Framework] = {}
            for plugin, frameworks in self._each("convcore_frameworks", self._leave_out):
                for f in frameworks:
                    old = found.get(f.name)
                    if old is not None:
                        raise PluginConflictError(f"{old.distribution} and {f.distribution} both bring the framework {f.name!r}")
                    found[f.name], self._owners[f.name] = f, plugin
                    self._info(plugin).frameworks.append(f.name)
            self._frameworks = dict(sorted(found.items()))
            for stage in STAGES:
                for i in self._implementations(f"convcore_{stage}"):
                    if not is_wrapper(i) and not any(i.plugin is owner for owner in self._owners.values()):
                        why = f"convcore_{stage} would never be called: the plugin brings no framework, and it is no wrapper"
                        self._leave_out(i.plugin, f"{why} (@hookimpl(wrapper=True))")
        return self._frameworks

    def framework(self, name: str) -> Framework:
        """The framework ``name``. Distinct errors: unknown, known but not installed, broken."""
        name = ALIASES.get(name.lower(), name.lower())
        found = self.frameworks.get(name)
        if found is not None:
            return found
        for info in self.plugins:
            if info.error and (
                name in (info.name, *info.frameworks) or info.distribution in (KNOWN.get(name), f"convcore-{name}")
            ):
                raise BrokenPluginError(f"{info} cannot be used: {info.error}")
        if name in KNOWN:
            raise PluginNotInstalledError(f"the plugin for {name} is not installed: pip install {KNOWN[name]}")
        names = sorted({*self.frameworks, *KNOWN})
        import difflib

        close = difflib.get_close_matches(name, names, 3, 0.5)
        meant = f"; did you mean {' or '.join(close)}?" if close else f"; known: {', '.join(names)}"
        raise UnknownFrameworkError(f"unknown framework {name!r}{meant}{self._broken_third_parties()}")

    def _broken_third_parties(self) -> str:
        """The broken plugins of which nobody knows what they bring."""
        left = [i for i in self.plugins if i.error and i.distribution not in KNOWN.values()]
        return "".join(f"; {i} may bring it, but cannot be used: {i.error}" for i in left)

    def refuse_broken(self, file_name: str) -> None:
        """BrokenPluginError or PluginNotInstalledError where the suffix of a file that no plugin takes is that of one that is
        broken or not installed."""
        for info in self.plugins:
            if info.error and info.meant_by(file_name):
                raise BrokenPluginError(f"{file_name} needs {info}, which cannot be used: {info.error}")
        for name, suffixes in SUFFIXES.items():
            if file_name.lower().endswith(suffixes) and name not in self.frameworks:
                raise PluginNotInstalledError(
                    f"the plugin for {name}, which {file_name} needs, is not installed: pip install {KNOWN[name]}"
                )

    # ---- what plugins do
    def can(self, framework: str, stage: str) -> bool:
        """Whether models of a framework can be read ("load"), written ("emit") or run ("runtime"); imports nothing."""
        f = self.framework(framework)
        here = (i for i in self._implementations(f"convcore_{stage}") if not is_wrapper(i))
        return stage not in f.lacks and any(i.plugin is self._owners[f.name] for i in here)

    def refuse_unable(self, framework: str, stage: str) -> None:
        """UsageError where a framework cannot do that."""
        if not self.can(framework, stage):
            f = self.framework(framework)
            raise UsageError(f"{f.distribution} cannot {STAGES[stage]} {f.title} models")

    def load(self, framework: str, request: LoadRequest) -> Graph:
        """Read a source of a framework."""
        from .ir.graph import Graph

        graph: Graph = self._work(framework, "load", Graph, request=request)
        return graph

    def emit(self, framework: str, request: EmitRequest) -> Emitted:
        """Write a laid-out graph as a framework."""
        emitted: Emitted = self._work(framework, "emit", Emitted, request=request)
        return emitted

    def runtime(self, framework: str, source: Any, weights: Any) -> Runtime | None:
        """A source in its framework's own runtime; None where there is none for it. Raises FrameworkMissingError and
        UnsupportedError."""
        if not self.can(framework, "runtime"):
            return None
        runtime: Runtime | None = self._work(framework, "runtime", (Runtime, type(None)), source=source, weights=weights)
        return runtime

    def convention(self, framework: str, options: Mapping[str, Any] | None = None) -> Convention | None:
        """The layout a framework's ops want on emission, by its options; None where it takes every layout."""
        f = self.framework(framework)
        if not f.convention:
            return None
        try:
            found: Any = resolve(f.convention)
            convention: Convention = found(options or {}) if callable(found) else found
        except (ImportError, AttributeError) as e:
            raise self._cannot_import(f, f.convention, e) from e
        return convention

    def dialect(self, framework: str, request: EmitRequest) -> Dialect | None:
        """What the target of a request is for the plan; None where it is written without one."""
        f = self.framework(framework)
        if not f.dialect:
            return None
        try:
            make = resolve(f.dialect)
        except (ImportError, AttributeError) as e:
            raise self._cannot_import(f, f.dialect, e) from e
        dialect: Dialect = make(request)
        return dialect

    def _work(self, framework: str, stage: str, kind: Any, **kwargs: Any) -> Any:
        self.refuse_unable(framework, stage)
        f = self.framework(framework)
        try:
            result = self._of(f"convcore_{stage}", self._owners[f.name])(framework=f.name, **kwargs)
        except ImportError as e:
            raise self._cannot_import(f, f"what convcore_{stage} uses", e) from e
        except (ConvcoreError, OSError, MemoryError):
            raise
        except Exception as e:  # whatever a stranger's code may raise
            if stage == "runtime":
                raise  # whoever compares decides what a runtime's failure means
            raise PluginBugError(f.distribution, f"convcore_{stage} (or a wrapper around it)", e) from e
        if not isinstance(result, kind):
            owner = self._info(self._owners[f.name])
            raise BrokenPluginError(
                f"{owner}: convcore_{stage} (or a wrapper around it) returned {type(result).__name__}; "
                f"where it cannot {STAGES[stage]} {f.title} models, its Framework says lacks=({stage!r},)"
            )
        return result

    def _cannot_import(self, f: Framework, what: str, e: Exception) -> BrokenPluginError:
        self.require(f.requires, f.title)
        return BrokenPluginError(f"{self._info(self._owners[f.name])} cannot import {what}: {e}")

    def require(self, requirements: Sequence[str], what: str) -> None:
        """Check requirements (``"torch>=2.4"``; versions, extras and markers as packaging defines them) against installed
        metadata, without importing. FrameworkMissingError says what is wrong."""
        for text in requirements:
            why = unmet(text)
            if why:
                raise FrameworkMissingError(f"{what} needs {text}, {why}: pip install {text!r}")

    # ---- what plugins describe
    def load_ops(self) -> None:
        """Register the ops of all plugins (once)."""
        if not self._ops_done:
            self._ops_done = True
            from . import opset

            for plugin, paths in self._each("convcore_ops", self._leave_out):
                try:
                    for path in paths:
                        opset.register(resolve(path))
                except PluginConflictError:
                    raise
                except Exception as e:  # noqa: BLE001 - an op set that fails in any way must not stop other plugins
                    self._leave_out(plugin, f"its ops {path} cannot be used: {type(e).__name__}: {e}")

    def rules(self, framework: str) -> RuleSet[Any, Any]:
        """The merged RuleSet of a framework: its own and those other plugins add."""
        self.load_ops()
        f = self.framework(framework)
        if f.name not in self._rules:
            from .rules import RuleSet

            sets: dict[str, RuleSet[Any, Any]] = {}
            if f.rules:
                try:
                    sets[f.rules] = resolve(f.rules)
                except (ImportError, AttributeError) as e:
                    raise self._cannot_import(f, f.rules, e) from e
            for plugin, paths in self._each("convcore_rules", self._leave_out, framework=f.name):
                try:
                    sets |= {p: resolve(p) for p in paths if p not in sets}
                except Exception as e:  # noqa: BLE001 - rules that fail in any way must not stop other plugins
                    self._leave_out(plugin, f"its rules {', '.join(paths)} cannot be used: {type(e).__name__}: {e}")
            self.framework(f.name)  # its own plugin may be the one that is left out
            if not sets:
                raise UsageError(f"{f.distribution} has no mapping rules")
            found = list(sets.values())
            self._rules[f.name] = found[0] if len(found) == 1 else RuleSet.merged(found)
        return self._rules[f.name]

    def options(self, framework: str) -> list[Option]:
        """Options of a framework's loader and emitter."""
        found = self._each("convcore_options", self._leave_out, framework=framework)
        own = [o for _, options in found for o in options if o.framework == framework]
        return [*own, *(Option(n, framework, "load", str, None, text) for n, text in EVERY.items())]

    def passes(self, stage: str, target: str = "") -> list[PassSpec]:
        """Passes of all plugins for a stage, in order. BrokenPluginError where a plugin cannot say: what passes do is part of
        what a conversion means."""
        found = self._each("convcore_passes", self._refuse, stage=stage, target=target)
        return sorted((p for _, specs in found for p in specs), key=lambda p: (p.order, p.name))

    def identify(self, source: Any) -> str:
        """The framework a source belongs to; UsageError when nobody claims it or two claim it equally.

        BadFileError for an empty file, and for one whose suffix promises a framework that does not know its contents; UsageError
        for one that is written and never read. A broken
        plugin is quoted where nobody claims the source and it might have.
        """
        failed: list[str] = []
        found = self._each("convcore_identify", lambda p, why: failed.append(f"; {self._info(p)} failed: {why}"), source=source)
        claims: list[Identified] = sorted((c for _, cs in found for c in cs if c.score > 0), key=lambda c: -c.score)
        if not claims:
            if not failed:
                if _is_path(source):
                    self.refuse_broken(Path(source).name)
                self._refuse_contents(source)
            broken = "".join(failed) + self._broken_third_parties()
            names = ", ".join(self.frameworks) or "no plugin is installed (pip install convcore-keras convcore-onnx)"
            raise UsageError(
                f"cannot tell what {_describe(source)} is; tried: {names}{broken}. Name it with {ask('--from', 'format=')}"
            )
        if len(claims) > 1 and claims[0].score == claims[1].score and claims[0].framework != claims[1].framework:
            raise UsageError(
                f"{_describe(source)} could be {claims[0].framework} ({claims[0].why}) or {claims[1].framework} "
                f"({claims[1].why}); name it with {ask('--from', 'format=')}"
            )
        return claims[0].framework

    def _refuse_contents(self, source: Any) -> None:
        if not isinstance(source, Path) or not source.is_file():
            return
        if not source.stat().st_size:
            raise BadFileError(f"{source} is empty")
        name = source.name.lower()
        written = [f.title for f in self.frameworks.values() if name.endswith(f.unread)]
        if written:
            raise UsageError(
                f"{source}: {' and '.join(written)} models are written as such files, not read: give the live object"
            )
        named = [f.title for f in self.frameworks.values() if name.endswith(f.suffixes)]
        if named:
            raise BadFileError(f"{source} is damaged or no {' or '.join(named)} file: its contents are not what its suffix says")

    def report_lines(self, report: Report) -> list[str]:
        """Lines plugins add to a report; a plugin that fails to is named there."""
        failed: list[str] = []
        found = self._each("convcore_report", lambda p, why: failed.append(f"{self._info(p)} failed: {why}"), report=report)
        return [str(line) for _, lines in found for line in lines] + failed


def _is_path(source: Any) -> bool:
    return isinstance(source, str) or hasattr(source, "__fspath__")


def _describe(source: Any) -> str:
    if isinstance(source, bytes) or _is_path(source):
        return repr(str(source))
    return f"a {type(source).__module__}.{type(source).__qualname__} object"


_host: Host | None = None


def host() -> Host:
    """The host of this process."""
    global _host
    if _host is None:
        _host = Host()
    return _host


def set_host(new: Host | None) -> None:
    """Replace the process's host (tests; ``None`` discovers afresh)."""
    global _host
    _host = new

"""The plugin host: discovery by entry points, conflicts, lazy loading, the three distinct errors.

Discovery is our own (pluggy's loader ignores a second distribution with the same entry-point name and has no fixed order).
A plugin that fails to import is recorded as broken and quoted when it is needed.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pluggy

from . import hookspecs
from .errors import (
    BadFileError,
    BrokenPluginError,
    FrameworkMissingError,
    PluginConflictError,
    PluginNotInstalledError,
    UnknownFrameworkError,
    UsageError,
)
from .hookspecs import CONVCORE_API, Framework, Identified, Option, PassSpec

__all__ = ["Host", "PluginInfo", "host", "resolve"]

KNOWN = {"keras": "convcore-keras", "onnx": "convcore-onnx", "caffe": "convcore-caffe", "pytorch": "convcore-pytorch"}
"""Frameworks with a plugin by the convcore project, to name the pip line when it is not installed."""

ALIASES = {"torch": "pytorch", "tf.keras": "keras", "caffemodel": "caffe"}


@dataclass
class PluginInfo:
    """A discovered plugin: its entry point and what became of it."""

    name: str
    module: str
    distribution: str
    version: str
    loaded: bool = False
    error: str = ""
    frameworks: list[str] = field(default_factory=list)


def resolve(path: str) -> Any:
    """Import ``"package.module:attribute"`` (named by an installed plugin, never by a model file)."""
    module, _, attribute = path.partition(":")
    target: Any = importlib.import_module(module)
    for part in filter(None, attribute.split(".")):
        target = getattr(target, part)
    return target


class Host:
    """All plugins of this environment. Use :func:`host`; a fresh one is for tests.

    ``blocked`` plugin names are not loaded; ``extra`` are modules to register besides the discovered ones.
    """

    def __init__(self, *, blocked: Sequence[str] = (), extra: Sequence[Any] = (), entry_points: Any = None) -> None:
        self._pm = pluggy.PluginManager("convcore")
        self._pm.add_hookspecs(hookspecs)
        self._blocked = frozenset(blocked)
        self._extra = tuple(extra)
        self._entry_points = entry_points
        self._plugins: list[PluginInfo] | None = None
        self._frameworks: dict[str, Framework] | None = None
        self._rules: dict[str, Any] = {}
        self._ops_done = False

    # ---- discovery
    @property
    def plugins(self) -> list[PluginInfo]:
        """Every discovered plugin, sorted by name and distribution. Nothing is imported."""
        if self._plugins is None:
            self._plugins = self._discover()
        return self._plugins

    def _discover(self) -> list[PluginInfo]:
        if self._entry_points is not None:
            points = self._entry_points
        else:
            import importlib_metadata

            points = importlib_metadata.entry_points(group="convcore")
        found: dict[tuple[str, str], PluginInfo] = {}
        for ep in points:
            dist = getattr(ep, "dist", None)
            name = re.sub(r"[-_.]+", "-", dist.metadata["Name"]).lower() if dist is not None else "?"
            found[ep.name, name] = PluginInfo(ep.name, ep.value, name, dist.version if dist is not None else "?")
        infos = [found[k] for k in sorted(found)]
        for a, b in zip(infos, infos[1:]):
            if a.name == b.name:
                raise PluginConflictError(
                    f"the plugin name {a.name!r} is claimed by the distributions {a.distribution} and {b.distribution}; "
                    "uninstall one of them"
                )
        return [i for i in infos if i.name not in self._blocked]

    def _load(self) -> None:
        for info in self.plugins:
            if info.loaded or info.error:
                continue
            try:
                module = importlib.import_module(info.module.partition(":")[0])
            except Exception as e:  # noqa: BLE001 - a plugin may fail in any way; it is recorded and quoted when needed
                info.error = f"{type(e).__name__}: {e}"
                continue
            self._register(info, module)
        for module in self._extra:
            if not self._pm.is_registered(module):
                self._pm.register(module)

    def _register(self, info: PluginInfo, module: Any) -> None:
        api = getattr(module, "CONVCORE_API", None)
        if not (isinstance(api, tuple) and len(api) == 2):
            info.error = "it does not declare CONVCORE_API = (major, minor)"
        elif api[0] != CONVCORE_API[0] or api[1] > CONVCORE_API[1]:
            info.error = (
                f"it was written for plugin API {api[0]}.{api[1]}, this convcore has {CONVCORE_API[0]}.{CONVCORE_API[1]}; "
                f"upgrade {'convcore' if api > CONVCORE_API else info.distribution}"
            )
        else:
            try:
                self._pm.register(module, info.name)
                self._pm.check_pending()
                info.loaded = True
            except (pluggy.PluginValidationError, ValueError) as e:
                info.error = f"{type(e).__name__}: {e}"

    def _call(self, hook: str, **kwargs: Any) -> list[Any]:
        self._load()
        out: list[Any] = []
        for result in reversed(getattr(self._pm.hook, hook)(**kwargs)):
            if result is None:
                continue
            out += list(result) if isinstance(result, (list, tuple)) else [result]
        return out

    # ---- frameworks
    @property
    def frameworks(self) -> dict[str, Framework]:
        """Frameworks by name; PluginConflictError when two plugins bring the same."""
        if self._frameworks is None:
            found: dict[str, Framework] = {}
            for f in self._call("convcore_frameworks"):
                old = found.get(f.name)
                if old is not None:
                    raise PluginConflictError(f"{old.distribution} and {f.distribution} both bring the framework {f.name!r}")
                found[f.name] = f
            for info in self.plugins:
                info.frameworks = [f.name for f in found.values() if f.distribution == info.distribution]
            self._frameworks = dict(sorted(found.items()))
        return self._frameworks

    def framework(self, name: str) -> Framework:
        """The framework ``name``. Distinct errors: unknown, known but not installed, broken."""
        name = ALIASES.get(name.lower(), name.lower())
        found = self.frameworks.get(name)
        if found is not None:
            return found
        for info in self.plugins:
            if info.error and (info.name == name or info.distribution == KNOWN.get(name)):
                raise BrokenPluginError(
                    f"the plugin {info.name!r} of {info.distribution} {info.version} cannot be used: {info.error}"
                )
        if name in KNOWN:
            raise PluginNotInstalledError(f"the plugin for {name} is not installed: pip install {KNOWN[name]}")
        names = sorted({*self.frameworks, *KNOWN})
        close = difflib.get_close_matches(name, names, 3, 0.5)
        raise UnknownFrameworkError(
            f"unknown framework {name!r}" + (f"; did you mean {' or '.join(close)}?" if close else f"; known: {', '.join(names)}")
        )

    def part(self, name: str, what: str) -> Any:
        """The loader, emitter, runtime or convention of a framework, imported now."""
        f = self.framework(name)
        path = getattr(f, what)
        if not path:
            verb = {"load": "read", "emit": "write", "runtime": "run"}.get(what, what)
            raise UsageError(f"{f.distribution} cannot {verb} {f.title} models")
        try:
            return resolve(path)
        except (ImportError, AttributeError) as e:
            self.require(f.requires, f"{f.title}")
            raise BrokenPluginError(f"{f.distribution}: cannot import {path}: {e}") from e

    def require(self, requirements: Sequence[str], what: str) -> None:
        """Check ``("torch>=2.4",)`` against installed metadata, without importing; FrameworkMissingError says what is wrong."""
        import importlib_metadata

        for req in requirements:
            m = re.match(r"^([\w.-]+)\s*(.*)$", req)
            if m is None:
                raise UsageError(f"bad requirement {req!r}")
            try:
                version = importlib_metadata.version(m[1])
            except importlib_metadata.PackageNotFoundError:
                raise FrameworkMissingError(f"{what} needs {req}, which is not installed: pip install {req!r}") from None
            for op_, bound in re.findall(r"(>=|<=|<|>|==|!=)\s*([\w.]+)", m[2]):
                if not _satisfies(version, op_, bound):
                    raise FrameworkMissingError(f"{what} needs {req}, but {m[1]} {version} is installed: pip install {req!r}")

    # ---- what plugins describe
    def load_ops(self) -> None:
        """Register the ops of all plugins (once)."""
        if not self._ops_done:
            self._ops_done = True
            from . import opset

            for path in self._call("convcore_ops"):
                opset.register(resolve(path))

    def rules(self, framework: str) -> Any:
        """The merged RuleSet of a framework: its own and those other plugins add."""
        f = self.framework(framework)
        if f.name not in self._rules:
            from .rules import RuleSet

            self.load_ops()
            paths = ([f.rules] if f.rules else []) + self._call("convcore_rules", framework=f.name)
            if not paths:
                raise UsageError(f"{f.distribution} has no mapping rules")
            self._rules[f.name] = RuleSet.merged([resolve(p) for p in dict.fromkeys(paths)])
        return self._rules[f.name]

    def options(self, framework: str) -> list[Option]:
        """Options of a framework's loader and emitter."""
        return [o for o in self._call("convcore_options", framework=framework) if o.framework == framework]

    def passes(self, stage: str, target: str = "") -> list[PassSpec]:
        """Passes of all plugins for a stage, in order."""
        return sorted(self._call("convcore_passes", stage=stage, target=target), key=lambda p: (p.order, p.name))

    def identify(self, source: Any) -> str:
        """The framework a source belongs to; UsageError when nobody claims it or two claim it equally.

        BadFileError for an empty file, and for one whose suffix promises a framework that does not know its contents.
        """
        claims: list[Identified] = sorted(self._call("convcore_identify", source=source), key=lambda c: -c.score)
        claims = [c for c in claims if c.score > 0]
        if not claims:
            self._refuse_contents(source)
            broken = "".join(f"; plugin {i.name} is broken: {i.error}" for i in self.plugins if i.error)
            names = ", ".join(self.frameworks) or "no plugin is installed (pip install convcore-keras convcore-onnx)"
            raise UsageError(f"cannot tell what {_describe(source)} is; tried: {names}{broken}. Name it with format=/--from")
        if len(claims) > 1 and claims[0].score == claims[1].score and claims[0].framework != claims[1].framework:
            raise UsageError(
                f"{_describe(source)} could be {claims[0].framework} ({claims[0].why}) or {claims[1].framework} "
                f"({claims[1].why}); name it with format=/--from"
            )
        return claims[0].framework

    def _refuse_contents(self, source: Any) -> None:
        if not isinstance(source, Path) or not source.is_file():
            return
        if not source.stat().st_size:
            raise BadFileError(f"{source} is empty")
        named = [f.title for f in self.frameworks.values() if source.name.lower().endswith(tuple(f.suffixes))]
        if named:
            raise BadFileError(f"{source} is damaged or no {' or '.join(named)} file: its contents are not what its suffix says")

    def report_lines(self, report: Any) -> list[str]:
        """Lines plugins add to a report."""
        return [str(line) for line in self._call("convcore_report", report=report)]


def _describe(source: Any) -> str:
    if isinstance(source, (str, bytes)) or hasattr(source, "__fspath__"):
        return repr(str(source))
    return f"a {type(source).__module__}.{type(source).__qualname__} object"


def _version_key(text: str) -> tuple[int, ...]:
    m = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(n) for n in m[0].split(".")) if m else (0,)


def _satisfies(version: str, operator: str, bound: str) -> bool:
    a, b = _version_key(version), _version_key(bound)
    n = max(len(a), len(b))
    a, b = a + (0,) * (n - len(a)), b + (0,) * (n - len(b))
    return {">=": a >= b, "<=": a <= b, "<": a < b, ">": a > b, "==": a == b, "!=": a != b}[operator]


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

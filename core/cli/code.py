"""Python files named on the command line: overrides and plugins that are not installed. They are the user's own, and are run."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from ..errors import BrokenPluginError, UsageError, meant
from ..host import Host, set_host

__all__ = ["named_plugins", "overrides", "use_plugins"]


def overrides(specs: Sequence[str], flag: str = "--override") -> dict[str, Any]:
    """``NAME=FILE.py:FUNCTION`` as the overrides of :func:`convcore.convert`; ``emit:OP=`` those of writing. UsageError for what
    names no function."""
    out: dict[str, Any] = {}
    for spec in specs:
        name, sep, place = spec.partition("=")
        file, colon, function = place.rpartition(":")
        if not (name and sep and colon and function and file.endswith(".py")):
            raise UsageError(f"{flag} {spec}: write NAME=FILE.py:FUNCTION")
        module = _module(file, flag)
        found = getattr(module, function, None)
        if not callable(found):
            near = meant(function, [n for n, f in vars(module).items() if callable(f)])
            raise UsageError(f"{flag} {spec}: {file} has no function {function!r}{near}")
        into = out.setdefault("emit", {}) if name.startswith("emit:") else out
        into[name.removeprefix("emit:")] = found
    return out


def named_plugins(args: Sequence[str]) -> list[str]:
    """The files that ``--plugin`` names: plugins bring options, so they are known before the rest of a command line is."""
    words = iter(args)
    return list(_after(words))


def _after(words: Iterator[str]) -> Iterator[str]:
    for word in words:
        if word.startswith("--plugin="):
            yield word.partition("=")[2]
        elif word == "--plugin":
            yield from (w for w in [next(words, "")] if w)


def use_plugins(files: Sequence[str]) -> None:
    """Let this process know plugins that are modules and not installed. BrokenPluginError where one is none."""
    if not files:
        return
    import importlib_metadata

    points: list[Any] = list(importlib_metadata.entry_points(group="convcore"))
    for file in files:
        module = _module(file, "--plugin")
        points.append(SimpleNamespace(name=Path(file).stem, value=module.__name__, dist=None))
    fresh = Host(entry_points=points)
    _ = fresh.frameworks
    for info in fresh.plugins:
        if info.error and info.name in {Path(f).stem for f in files}:
            raise BrokenPluginError(f"--plugin {info.name}.py: {info.error}")
    set_host(fresh)


def _module(file: str, flag: str) -> ModuleType:
    """A Python file as a module, imported under its own name once."""
    path = Path(file).resolve()
    if not path.is_file() or path.suffix != ".py":
        raise UsageError(f"{flag} {file}: no such Python file")
    name = path.stem
    held = sys.modules.get(name)
    if held is not None and getattr(held, "__file__", None) == str(path):
        return held
    if held is not None:
        raise UsageError(f"{flag} {file}: a module {name!r} is imported already; give the file another name")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as e:  # whatever the user's own code may raise is told with its place
        del sys.modules[name]
        raise UsageError(f"{flag} {file} cannot be imported: {type(e).__name__}: {e}{_line(e, path)}") from e
    return module


def _line(error: BaseException, path: Path) -> str:
    """The line of the file where it went wrong."""
    trace, line = error.__traceback__, 0
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" ({path.name}, line {line})" if line else ""

"""Plugins as modules of hooks: importing and registering them, and calling the hooks of one or of all, with an owner each."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import pluggy

from . import hookspecs
from .discovery import PluginInfo, discover
from .errors import BrokenPluginError, ConvcoreError
from .hookspecs import CONVCORE_API

__all__ = ["STAGES", "Registry", "is_wrapper", "resolve"]

STAGES = {"load": "read", "emit": "write", "runtime": "run"}
"""What a framework may be able to do, by hook, with the verb for messages."""


def resolve(path: str) -> Any:
    """Import ``"package.module:attribute"`` (named by an installed plugin, never by a model file)."""
    module, _, attribute = path.partition(":")
    target: Any = importlib.import_module(module)
    for part in filter(None, attribute.split(".")):
        target = getattr(target, part)
    return target


class Registry:
    """The plugins of an environment, imported and registered at the first call of a hook.

    ``blocked`` plugin names are not loaded; ``extra`` are modules to register besides the discovered ones.
    """

    def __init__(self, *, blocked: Sequence[str] = (), extra: Sequence[Any] = (), entry_points: Any = None) -> None:
        self._pm = pluggy.PluginManager("convcore")
        self._pm.add_hookspecs(hookspecs)
        self._blocked = frozenset(blocked)
        self._extra = tuple(extra)
        self._entry_points = entry_points
        self._plugins: list[PluginInfo] | None = None

    # ---- discovery
    @property
    def plugins(self) -> list[PluginInfo]:
        """Every discovered plugin, sorted by name and distribution. Nothing is imported."""
        if self._plugins is None:
            self._plugins = discover(self._entry_points, self._blocked)
        return self._plugins

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
                self._one_role(module)
                info.loaded = True
            except (pluggy.PluginValidationError, ValueError) as e:
                self._break(info, f"{type(e).__name__}: {e}")

    def _one_role(self, module: Any) -> None:
        for stage in STAGES:
            kinds = {is_wrapper(i) for i in self._implementations(f"convcore_{stage}") if i.plugin is module}
            if len(kinds) == 2:
                raise ValueError(
                    f"convcore_{stage} and a wrapper around it are in one module, which is called for its own framework only; "
                    "give the wrapper a module and an entry point of its own"
                )

    def _break(self, info: PluginInfo, error: str) -> None:
        """Record why a plugin cannot be used, and take all it brought out, so that no other plugin feels it."""
        info.error, info.loaded = error, False
        module = self._pm.get_plugin(info.name)
        if module is not None:
            self._pm.unregister(module)

    # ---- calls
    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        caller: pluggy.HookCaller = getattr(self._pm.hook, hook)
        return caller.get_hookimpls()

    def _of(self, hook: str, plugin: Any) -> pluggy.HookCaller:
        """One plugin's implementation of a hook, inside the wrappers of all."""
        others = [i.plugin for i in self._implementations(hook) if not is_wrapper(i) and i.plugin is not plugin]
        return self._pm.subset_hook_caller(hook, others)

    def _each(self, hook: str, failed: Callable[[Any, str], None], **kwargs: Any) -> list[tuple[Any, list[Any]]]:
        """Every plugin with its answers to a hook that describes; ``failed`` is told of the plugins that raise."""
        self._load()
        out: list[tuple[Any, list[Any]]] = []
        for plugin in [i.plugin for i in self._implementations(hook) if not is_wrapper(i)]:
            try:
                answers = self._of(hook, plugin)(**kwargs)
            except ConvcoreError:
                raise
            except Exception as e:  # noqa: BLE001 - a plugin may fail in any way; whoever asked decides what follows
                failed(plugin, f"{hook} raises {type(e).__name__}: {e}")
                continue
            for answer in answers if isinstance(answers, list) else [answers]:
                if answer is not None:
                    out.append((plugin, list(answer) if isinstance(answer, (list, tuple)) else [answer]))
        return out

    def says(self, plugin: str, what: str, **kwargs: Any) -> list[Any]:
        """What one plugin answers to the hook ``convcore_<what>``, as one list; what it raises is its own."""
        self._load()
        module = self._pm.get_plugin(plugin)
        hook = f"convcore_{what}"
        if not any(i.plugin is module for i in self._implementations(hook)):
            return []
        answers = self._of(hook, module)(**kwargs)
        return [x for a in answers for x in (a if isinstance(a, (list, tuple)) else (a,)) if x is not None]

    def _info(self, plugin: Any) -> PluginInfo:
        name = self._pm.get_name(plugin) or "?"
        return next((i for i in self.plugins if i.name == name), PluginInfo(name, name, name, ""))

    def _leave_out(self, plugin: Any, error: str) -> None:
        self._break(self._info(plugin), error)

    def _refuse(self, plugin: Any, error: str) -> None:
        raise BrokenPluginError(f"{self._info(plugin)} cannot be used: {error}")


def is_wrapper(implementation: pluggy.HookImpl) -> bool:
    """Whether it is put around the others' implementations."""
    return implementation.wrapper or implementation.hookwrapper

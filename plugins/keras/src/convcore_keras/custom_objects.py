"""The option ``custom_objects``: what Keras's own ``load_model`` takes under that name, read instead of called; or rules.

``{"MyLayer": MyLayer, "my_act": my_act}``: of a class, and of a function of tensors, the source is read where it stands.
``{"MyLayer": rule}``: a function ``(g, node)`` is what ``overrides`` takes, by the name of a class.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from convcore.plugin import LoadRequest, UsageError

from .files.model import KerasModel
from .load_context import foreign_type

__all__ = ["rules_of_objects", "source_of_objects"]


def _is_rule(x: Any) -> bool:
    """Whether it is a function ``(g, node)``."""
    if inspect.isclass(x) or not callable(x):
        return False
    try:
        return tuple(inspect.signature(x).parameters)[:2] == ("g", "node")
    except (TypeError, ValueError):
        return False


def _given(objects: Any) -> Mapping[str, Any]:
    if not isinstance(objects, Mapping) or not all(isinstance(k, str) for k in objects):
        raise UsageError("custom_objects is a dict of names: {'MyLayer': MyLayer} or {'MyLayer': function (g, node)}")
    for name, x in objects.items():
        if not callable(x):
            raise UsageError(f"custom_objects[{name!r}] is neither a class nor a function")
    return objects


def source_of_objects(objects: Any) -> list[tuple[str, str, Path]]:
    """(name, name in its file, file) of each class and function. Raises UsageError for one whose source is in no file."""
    found = []
    for name, x in _given(objects).items():
        if _is_rule(x):
            continue
        try:
            path = inspect.getsourcefile(x)
        except TypeError:
            path = None
        own = getattr(x, "__qualname__", "")
        if path is None or not Path(path).is_file() or not own.isidentifier():
            raise UsageError(
                f"custom_objects[{name!r}]: the source of {own or x!r} is not at the top of a file, so that it cannot be read; "
                "put it into a file, or give a function (g, node)"
            )
        found.append((name, own, Path(path)))
    return found


def rules_of_objects(model: KerasModel, request: LoadRequest) -> None:
    """Functions ``(g, node)`` as overrides of the layers of their classes. Raises UsageError for one that fits no layer."""
    objects = request.options.get("custom_objects") or {}
    rules: dict[str, Callable[..., Any]] = {k: x for k, x in objects.items() if _is_rule(x)}
    if not rules:
        return
    used: set[str] = set()
    overrides: Any = request.overrides
    for _, layer in model.walk():
        names = (layer.registered_name or "", layer.source_class, layer.class_name)
        for name in rules.keys() & {n for full in names for n in (full, full.rpartition(">")[2])}:
            used.add(name)
            overrides.setdefault(foreign_type(layer), rules[name])
    left = sorted(rules.keys() - used)
    if left:
        raise UsageError(f"custom_objects for {', '.join(map(repr, left))}: the model has no layer of that class")

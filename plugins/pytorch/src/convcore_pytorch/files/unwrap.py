"""Finding the state dict in what was saved: alone, in a wrapper, in several (then the user chooses), or in a whole module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convcore.plugin import ArrayTensor, BadFileError, Tensor, UsageError

from . import limits
from .objects import Array, Instance

__all__ = ["choose", "is_module", "module_tensors", "plain"]

# entries that hold tensors but are no weights of a model: optimizers' moments, schedulers, loss scales, random states
_TRAINING = ("optim", "lr_sched", "scheduler", "scaler", "rng", "random", "loss", "amp", "callbacks", "loops")
_DEEP = 4


def plain(found: dict[Any, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a flat mapping, and its other entries."""
    tensors: dict[str, Tensor] = {}
    extra: dict[str, Any] = {}
    for key, value in found.items():
        held = _held(value)
        if held is None:
            extra[str(key)] = value
        else:
            tensors[str(key)] = held
    return tensors, extra


def _held(value: Any) -> Tensor | None:
    if isinstance(value, Array):
        return ArrayTensor(value.values)
    return value if isinstance(value, Tensor) else None


def is_module(value: Any) -> bool:
    """A pickled nn.Module (any class): its ``__dict__`` has torch's groups. A ScriptModule's object is one too."""
    if not isinstance(value, Instance) or not isinstance(value.state, dict):
        return False
    return {"_parameters", "_modules"} <= value.state.keys() or value.cls.module.startswith("__torch__")


def module_tensors(module: Instance, where: str) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, str]]:
    """state_dict of a pickled module, read from the objects' dicts: tensors, other entries, classes by path.

    Order as torch's ``Module.state_dict``: a module's parameters, its persistent buffers, then its children.
    """
    tensors: dict[str, Tensor] = {}
    classes: dict[str, str] = {}
    stack: list[tuple[str, Any, int]] = [("", module, 0)]
    while stack:
        path, here, depth = stack.pop()
        if depth > limits.DEPTH or len(tensors) + len(classes) + len(stack) > limits.MEMBERS:
            raise BadFileError(f"{where}: modules nested more than {limits.DEPTH} deep, or without end")
        if not is_module(here):
            raise BadFileError(f"{where}: {path or 'the root'} is a {type(here).__name__}, not a module")
        classes[path.rstrip(".")] = here.cls.path
        children: list[tuple[str, Any]] = []
        for name, held, child in _members(here, where):
            if child:
                children.append((f"{path}{name}.", held))
            else:
                tensors[path + name] = held
        stack.extend((p, c, depth + 1) for p, c in reversed(children))
    return tensors, {}, classes


def _members(module: Instance, where: str) -> Iterator[tuple[str, Any, bool]]:
    """(name, tensor or module, whether it is a module) in order."""
    state = module.state
    if not {"_parameters", "_modules"} <= state.keys():  # a ScriptModule: plain attributes
        for name, value in state.items():
            if isinstance(value, Instance) and is_module(value):
                yield str(name), value, True
            elif isinstance(value, Tensor):
                yield str(name), value, False
        return
    lost = state.get("_non_persistent_buffers_set") or ()
    for group in ("_parameters", "_buffers"):
        held = state.get(group) or {}
        if not isinstance(held, dict):
            raise BadFileError(f"{where}: {module.cls.path}.{group} is no mapping")
        for name, value in held.items():
            if isinstance(value, Tensor) and not (group == "_buffers" and name in lost):
                yield str(name), value, False
    children = state["_modules"] or {}
    if not isinstance(children, dict):
        raise BadFileError(f"{where}: {module.cls.path}._modules is no mapping")
    for name, value in children.items():
        if value is not None:
            yield str(name), value, True


def choose(root: Any, where: str, entry: str | None) -> tuple[tuple[str, ...], Any]:
    """The keys that lead to the one state dict (or module), and the thing itself.

    A mapping with tensors is one. Among wrappers, optimizer and other training state does not count; several candidates are
    an error that names them, unless ``entry`` says which.
    """
    found = _candidates(root)
    if entry is not None:
        for keys, value in found:
            if ".".join(keys) == entry:
                return keys, value
        raise UsageError(f"{where}: no entry {entry!r}; there are: {_listed(found)}")
    if not found:
        what = f"an object of class {root.cls.path}" if isinstance(root, Instance) else f"a {type(root).__name__}"
        raise BadFileError(f"{where}: holds {what} and no mapping of names to tensors")
    if len(found) > 1:
        raise UsageError(f"{where}: holds {len(found)} state dicts: {_listed(found)}; name the entry, or save it alone")
    return found[0]


def _listed(found: list[tuple[tuple[str, ...], Any]]) -> str:
    names = [".".join(keys) or "(the top level)" for keys, _ in found[:20]]
    return ", ".join(names) + (f" and {len(found) - 20} more" if len(found) > 20 else "") or "none"


def _candidates(root: Any) -> list[tuple[tuple[str, ...], Any]]:
    if is_module(root):
        return [((), root)]
    if isinstance(root, Tensor):
        return [((), {"": root})]
    out: list[tuple[tuple[str, ...], Any]] = []
    seen: set[int] = set()
    level: list[tuple[tuple[str, ...], Any]] = [((), root)]
    while level:
        deeper: list[tuple[tuple[str, ...], Any]] = []
        for keys, value in level:
            if id(value) in seen:
                continue
            seen.add(id(value))
            if is_module(value):
                out.append((keys, value))
                continue
            items = _items(value)
            inner = [(k, v) for k, v in items if isinstance(v, (dict, list, tuple, Instance)) and len(keys) < _DEEP]
            inner = [(k, v) for k, v in inner if _wrapper(k, v)]
            flat = [v for _, v in items if _held(v) is not None]
            if isinstance(value, dict) and flat and (not inner or any(t.ndim for t in map(_held, flat) if t is not None)):
                out.append((keys, value))
            deeper.extend(((*keys, k), v) for k, v in inner)
        level = deeper
    return out


def _items(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(k, v) for k, v in value.items() if isinstance(k, str)] if all(isinstance(k, str) for k in value) else []
    if isinstance(value, (list, tuple)) and len(value) <= 16:
        return [(str(i), v) for i, v in enumerate(value)]
    return []


def _wrapper(key: str, value: Any) -> bool:
    """Whether a state dict may be looked for in this entry."""
    if any(key.lower().startswith(word) for word in _TRAINING) or key == "_extra_state":
        return False
    return is_module(value) or (isinstance(value, (list, tuple, dict)) and "param_groups" not in value)

"""The variables of a layer with its configuration: names, order, shapes where the configuration gives them, and where
``.keras`` keeps them, from the layer's record (``layer_spec.py``)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from convcore.plugin import BadFileError

from ..layer_spec import spec_of
from .model import LayerConfig

__all__ = ["Var", "children", "own_variables", "snake"]

_Shape = tuple[Any, ...] | None


@dataclass(frozen=True)
class Var:
    """A variable a layer must have. ``folders``: alternative sub-folders of the layer's folder that hold its
    ``vars``."""

    name: str
    shape: tuple[int | None, ...] | None
    trainable: bool = True
    folders: tuple[str, ...] = ("",)


_DEFAULTS = {"use_bias": True, "scale": True, "center": True, "tie_weights": True, "reset_after": True}


def own_variables(layer: LayerConfig) -> list[Var] | None:
    """The variables the layer itself must have, in order; None when its class has no table (custom, or quantised)."""
    if layer.is_op or layer.model is not None:
        return []
    cudnn = spec_of(layer.source_class)  # the same variables, in the layer's own folder; convert.without_cudnn turns them
    spec = cudnn if cudnn.plain else spec_of(layer.class_name)
    if layer.custom or spec.variables is None or (layer.dtype.quantization is not None and spec.variables):
        return None
    found = [v for v in spec.variables if _holds(v.when, layer.config)]
    return [Var(v.name, _shape(v.shape, layer), v.trainable, v.folders) for v in found]


def children(layer: LayerConfig) -> list[tuple[str, str, LayerConfig]]:
    """Wrapped layers as (prefix of variable names, folder, layer), in the order their variables come."""
    config, cls = layer.config, layer.class_name
    if layer.custom or layer.is_op:
        return []
    found: list[tuple[str, str, LayerConfig]] = []
    for part in spec_of(cls).parts:
        inner = config.get(part.key)
        if isinstance(inner, LayerConfig):
            found.append((part.prefix, part.prefix, inner))
        used: dict[str, int] = {}
        for i, cell in enumerate(inner if isinstance(inner, list) else ()):
            name = snake(cell.class_name)
            n = used[name] = used.get(name, -1) + 1
            found.append((f"{part.prefix}/{i}", f"{part.prefix}/{name}_{n}" if n else f"{part.prefix}/{name}", cell))
    return found


@lru_cache(1024)
def snake(name: str) -> str:
    """Keras's ``to_snake_case``: the folder name of a class in ``.keras`` weights."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _holds(condition: str, config: dict[str, Any]) -> bool:
    for part in filter(None, condition.split("&")):
        if "=" in part:
            key, want = part.split("=")
            ok = config.get(key) == want
        elif part[0] == "!":
            ok = not _truth(config, part[1:])
        else:
            ok = _truth(config, part)
        if not ok:
            return False
    return True


def _truth(config: dict[str, Any], key: str) -> bool:
    value = config.get(key, _DEFAULTS.get(key))
    return value is not None and value is not False and value != "" and not (isinstance(value, int) and value == 0)


def _shape(shape: _Shape, layer: LayerConfig) -> tuple[int | None, ...] | None:
    if shape is None:
        return None
    config = layer.config
    out: list[int | None] = []
    for part in shape:
        if isinstance(part, str) and part[0] == "~":
            if isinstance(config.get(part[1:]), (list, tuple)):
                return None
            out.append(None)
        elif isinstance(part, str) and part[0] == "*":
            sizes = config.get(part[1:])
            if not isinstance(sizes, tuple):
                return None
            out += sizes
        elif isinstance(part, str):
            factor, _, key = part.rpartition("*")
            value = config.get(key)
            if isinstance(value, float) and value.is_integer():  # Keras casts
                value = int(value)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise BadFileError(f"layer {layer.name!r} ({layer.class_name}): {key}={value!r} is not a number of units")
            out.append(None if value is None else int(factor or 1) * value)
        else:
            out.append(part)
    return tuple(out)

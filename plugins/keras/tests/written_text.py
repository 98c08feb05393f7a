"""A ``.keras`` file as text: a line for each layer and call, and for each of its weights."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from tests.support.small import data, fraction

__all__ = ["lines"]


def lines(path: Path) -> list[str]:
    """What ``config.json`` and ``model.weights.h5`` of a file say."""
    with zipfile.ZipFile(path) as f:
        config = json.loads(f.read("config.json"))
        with f.open("model.weights.h5") as w, h5py.File(w, "r") as weights:
            arrays = {}
            weights.visititems(lambda n, d: arrays.__setitem__(n, d[()]) if isinstance(d, h5py.Dataset) else None)
    return [*_model(config["config"], ""), *(f"{k.removeprefix('layers/')}: {data(a)}" for k, a in sorted(arrays.items()))]


def _model(config: dict[str, Any], pad: str) -> list[str]:
    found = []
    for layer in config["layers"]:
        kind, inside = layer["class_name"], layer["config"]
        module = layer["module"].removeprefix("keras.src.")
        head = f"ops.{kind}" if module.startswith("ops.") else kind
        calls = [_call(c) for c in layer["inbound_nodes"]] or [""]
        if kind == "InputLayer" and not (inside["sparse"] or inside["ragged"]):
            found.append(f"{pad}{layer['name']}: {inside['dtype']} {inside['batch_shape']}".replace("None", "?"))
        elif "layers" in inside:
            found += [f"{pad}{layer['name']} = {head}{', '.join(calls)}", *_model(inside, pad + "  ")]
        else:
            made = _settings(inside)
            made = f"({made})" if made or not head.startswith("ops.") else ""
            found.append(f"{pad}{layer['name']} = {head}{made}{', '.join(calls)}")
    ends = ", ".join(_history(h) for h in _several(config["output_layers"]))
    return [*found, f"{pad}-> {ends}"]


def _several(x: Any) -> list[Any]:
    return x if x and isinstance(x[0], list) else [x]


def _settings(config: dict[str, Any]) -> str:
    """What a layer is made with, less its name and what nearly all have."""
    said = dict(config)
    del said["name"]
    if said.get("trainable") is True:
        del said["trainable"]
    if said.get("dtype") == {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": {"name": "float32"},
        "registered_name": None,
    }:
        del said["dtype"]
    return ", ".join(f"{k}={_value(v)}" for k, v in said.items())


def _call(c: dict[str, Any]) -> str:
    return f"({', '.join([*map(_value, c['args']), *(f'{k}={_value(v)}' for k, v in c['kwargs'].items())])})"


def _history(h: list[Any]) -> str:
    name, node, tensor = h
    return name + (f":{node}:{tensor}" if node or tensor else "")


def _value(v: Any) -> str:
    if isinstance(v, list):
        return f"[{', '.join(map(_value, v))}]"
    if isinstance(v, float):
        return fraction(v) if abs(v - float(fraction(v))) > 1e-9 else repr(v)
    if not isinstance(v, dict):
        return json.dumps(v)
    kind, config = v.get("class_name"), v.get("config")
    if kind == "__keras_tensor__":
        return _history(config["keras_history"])
    if kind == "__numpy__":
        return data(np.asarray(config["value"], config["dtype"] if config["dtype"] != "bfloat16" else "float32"))
    if kind == "__slice__":
        return ":".join("" if config[k] is None else str(config[k]) for k in ("start", "stop", "step")).removesuffix(":") or ":"
    if kind == "__ellipsis__":
        return "..."
    if kind == "DTypePolicy":
        return str(config["name"])
    if kind is not None:
        return f"{kind}({_settings(config)})"
    return "{" + ", ".join(f"{k}: {_value(x)}" for k, x in v.items()) + "}"

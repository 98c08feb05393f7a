"""Stored Keras models in which one field of one layer's configuration is changed."""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

What = Sequence[Any]
LARGEST = 60_000


def layers(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Every object with a class and a configuration, and where it stands."""
    if isinstance(tree, dict):
        if isinstance(tree.get("class_name"), str) and isinstance(tree.get("config"), dict):
            yield at, tree
        for k, v in tree.items():
            yield from layers(v, (*at, k))
    elif isinstance(tree, list):
        for i, v in enumerate(tree):
            yield from layers(v, (*at, i))


@lru_cache
def config_of(path: Path) -> str:
    """The architecture's JSON of a ``.keras`` or ``.json`` file; "" where there is none."""
    try:
        if path.suffix == ".json":
            text = path.read_text("utf-8")
        else:
            with zipfile.ZipFile(path) as z:
                text = z.read("config.json").decode()
        return text if isinstance(json.loads(text), dict) and len(text) < LARGEST else ""
    except (ValueError, KeyError, zipfile.BadZipFile):
        return ""


def stored(folder: Path, source: Path, text: str) -> tuple[Path, Path | None]:
    """A copy of a file with another architecture, and the weights that lie beside it."""
    path = folder / f"model{source.suffix}"
    if source.suffix == ".json":
        path.write_text(text, "utf-8")
        beside = source.with_suffix(".weights.h5")
        return path, beside if beside.exists() else None
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, text if name == "config.json" else old.read(name))
    return path, None


def first_of_each(folder: Path) -> dict[str, tuple[Path, tuple[Any, ...]]]:
    """One place of each class, in the smallest file that has it, by its name."""
    found: dict[str, tuple[Path, tuple[Any, ...]]] = {}
    files = [p for p in sorted(folder.rglob("*")) if p.suffix in (".keras", ".json") and p.stat().st_size < 4 * LARGEST]
    for path in sorted((p for p in files if config_of(p)), key=lambda p: (len(config_of(p)), p)):
        for at, layer in layers(json.loads(config_of(path))):
            found.setdefault(layer["class_name"], (path, at))
    return found


def changes(layer: dict[str, Any]) -> Iterator[What]:
    """What can be changed: ("set", name, value), ("drop", name)."""
    for name, v in layer["config"].items():
        if name in ("name", "layers", "dtype", "module"):
            continue
        yield ("drop", name)
        for new in values(v):
            yield ("set", name, new)
    yield ("set", "strange", 1)


def change(text: str, at: Sequence[Any], what: What) -> str:
    tree = json.loads(text)
    place = tree
    for k in at:
        place = place[k]
    config = place["config"]
    if what[0] == "drop":
        config.pop(what[1], None)
    else:
        config[what[1]] = copy.deepcopy(what[2])
    return json.dumps(tree)


def values(v: Any) -> list[Any]:
    if isinstance(v, bool):
        return [not v, None, "x", 2]
    if isinstance(v, int):
        return [0, -1, -9, 99, v + 1, None, "x", 0.5, [v]]
    if isinstance(v, float):
        return [0.0, -1.0, 1.0, 2.5, None, "x", [v]]
    if isinstance(v, str):
        return ["x", "", None, 1, v + "x"]
    if isinstance(v, list):
        out: list[Any] = [[], [*v, *v[-1:]], v[::-1], None, "x", 1]
        for i, x in enumerate(v[:3]):
            out += [[*v[:i], n, *v[i + 1 :]] for n in values(x)[:6]]
        return [o for o in out if o != v]
    if isinstance(v, dict):
        return [None, {}, "x", {"class_name": "Strange", "config": {}}, [v]]
    return [0, 1, -1, 0.5, "x", True, [1], [2, 2], {"class_name": "Strange", "config": {}}]

"""Labels, preprocessing and the like in a model's ``metadata_props`` and ``doc_string``, and properties of other writers.

Names of classes have no key of the standard. Ours is ``labels``, a list as JSON; ``names`` with a Python dict by number is
ultralytics' (``engine/exporter.py``, 8.3), ``classes`` that of several writers.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, MutableMapping
from typing import Any

from convcore.plugin import about, take_about

__all__ = ["read_about", "write_about"]

_JSON = ("labels", "preprocessing")
_CLASSES = ("names", "classes")
_LICENSES = ("licence", "License", "Licence")


def read_about(metadata: MutableMapping[str, Any], model: Any) -> None:
    """Into a graph's metadata what a ModelProto says of itself; every property stays one, but for those of ours."""
    given = {p.key: p.value for p in model.metadata_props}
    found: dict[str, Any] = {k: _parsed(given[k]) for k in _JSON if k in given}
    if "license" in given:
        found["license"] = given["license"]
    left = take_about(metadata, {k: v for k, v in found.items() if v is not None})
    ours = {k for k, v in found.items() if v is not None and k not in left}
    if properties := {k: v for k, v in given.items() if k not in ours}:
        metadata["properties"] = properties
    if "labels" not in metadata:
        classes = next((c for c in map(_classes, (given.get(k) for k in _CLASSES)) if c), None)
        if classes:
            metadata["labels"] = classes
    if "license" not in metadata:
        told = next((given[k] for k in _LICENSES if given.get(k)), "")
        if told:
            metadata["license"] = told
    if model.doc_string:
        metadata["description"] = model.doc_string


def write_about(model: Any, metadata: Mapping[str, Any]) -> None:
    """The reverse; what follows from a property of the source is not written twice."""
    said = about(metadata)
    texts: dict[str, str] = dict(said.pop("properties", {}))
    model.doc_string = said.pop("description", "")
    again = {"labels": _CLASSES, "license": _LICENSES}
    for key, value in said.items():
        if not any(k in texts for k in again.get(key, ())):
            texts[key] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    for key, value in texts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = str(key), str(value)


def _parsed(text: str) -> Any:
    """What a text of JSON says; None for what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


_ENTRY = r"""\s*(\d+)\s*:\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\s*"""
_BY_NUMBER = re.compile(rf"\s*\{{{_ENTRY}(?:,{_ENTRY})*,?\s*\}}\s*")


def _classes(text: str | None) -> list[str] | None:
    """Names of classes of a list as JSON, or of a Python dict by number from 0; None where it is neither."""
    if not text:
        return None
    if _BY_NUMBER.fullmatch(text):
        numbers = {int(k[:9]): str(ast.literal_eval(v)) for k, v in re.findall(_ENTRY, text)}
        return [numbers[i] for i in range(len(numbers))] if set(numbers) == set(range(len(numbers))) else None
    found = _parsed(text)
    return list(found) if isinstance(found, list) and all(isinstance(x, str) for x in found) else None

"""What a source says about itself beside what it computes: labels, preprocessing, licence, description, properties.

It travels with every result, as texts of JSON where a format has room for texts, and is told in cards and by ``inspect``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping
from typing import Any

__all__ = ["ABOUT", "NOTE", "about", "about_text", "take_about", "take_text"]

ABOUT: Mapping[str, type] = {"labels": list, "preprocessing": dict, "license": str, "description": str, "properties": dict}
"""Keys of ``Graph.metadata`` that travel, with the type of their values: ``labels`` are class names in the order of the output's
axis of classes, ``preprocessing`` facts by input, ``properties`` texts by name that are the source's own."""

NOTE = "convcore"
"""The name under which a format that has room for one text holds all of it."""


def about(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a graph's metadata that travels with results, in the order of :data:`ABOUT`."""
    return {k: metadata[k] for k in ABOUT if metadata.get(k)}


def about_text(metadata: Mapping[str, Any]) -> str:
    """:func:`about` as one line of JSON, "" where there is nothing to say."""
    found = about(metadata)
    return json.dumps(found, ensure_ascii=False, default=str) if found else ""


def take_about(metadata: MutableMapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Put what is of a travelling key and its type into a graph's metadata; what is not is given back."""
    left = {}
    for key, value in found.items():
        if not isinstance(value, ABOUT.get(key, type(None))) or _depth(value, 0) > _DEEPEST:
            left[key] = value
        elif value:
            metadata[key] = [str(x) for x in value] if isinstance(value, list) else value
    return left


def take_text(metadata: MutableMapping[str, Any], text: Any) -> None:
    """The reverse of :func:`about_text`; what is no such text, which others may have put there, says nothing."""
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return
    if isinstance(found, dict):
        take_about(metadata, found)


_DEEPEST = 6


def _depth(x: Any, at: int) -> int:
    """How deep lists and dicts are nested; no more than one beyond what is taken."""
    inner = x.values() if isinstance(x, dict) else x if isinstance(x, list) else ()
    return at if at > _DEEPEST else max((_depth(y, at + 1) for y in inner), default=at)

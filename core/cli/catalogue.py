"""``convcore custom``: the custom layers that files of source define, as the plugins of their frameworks read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError
from ..host import host
from ..registry import resolve
from .console import say

__all__ = ["is_source", "show"]


def is_source(path: str) -> bool:
    """Whether a path is Python source and no model: a ``.py`` file, or a folder that no framework knows."""
    p = Path(path)
    if p.is_dir():
        try:
            host().identify(p)
        except UsageError:
            return True
        return False
    return p.suffix == ".py" or not p.exists()


def show(paths: Sequence[str], as_json: bool) -> int:
    """Print them; the exit code. Raises UsageError for a path without source."""
    found = [e for f in host().frameworks.values() if f.catalogue for e in resolve(f.catalogue)(paths)]
    if as_json:
        say(json.dumps(found, indent=1))
        return 0
    for e in found:
        if "problem" in e:
            say(f"{e['file']}: {e['problem']}")
            continue
        given = ", ".join(k if v is None else f"{k}={v}" for k, v in (e["arguments"] or {}).items())
        say(
            f"{e['name']}({given})  {', '.join(e['bases'])}  {e['file']}:{e['line']}"
            + (f"  {e['registered']}" if e["registered"] else "")
        )
        for w in e["weights"]:
            say(
                f"  weight {w['name'] or '?'} {w['shape']}"
                + ("" if w["trainable"] == "True" else f"  trainable={w['trainable']}")
            )
        for s in e["sublayers"]:
            say(f"  {s['name']} = {s['layer']}")
    layers = sum("problem" not in e for e in found)
    say(f"{layers} custom layer{'s' if layers != 1 else ''}")
    return 0

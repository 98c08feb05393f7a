"""One layer of each class, changed in one field, is refused with a reason or loaded, never another exception."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from changed_layers import change, changes, config_of, first_of_each, stored

import convcore
from convcore.build.opaque import opaque_problems
from convcore.errors import ConvcoreError, PluginBugError

DATA = Path(__file__).parents[3] / "tests" / "data"
PLACES = first_of_each(DATA)
REFUSALS: dict[str, list[tuple[list[Any], str]]] = json.loads(Path(__file__).with_name("refusals.json").read_text("utf-8"))


def refusal(folder: Path, source: Path, text: str) -> str:
    """Why the model of a file with another architecture is refused; "" where it loads."""
    path, weights = stored(folder, source, text)
    try:
        return "; ".join(p.why for p in opaque_problems(convcore.load(path, weights).graph))
    except PluginBugError:
        raise
    except ConvcoreError as e:
        return str(e).replace(str(path), path.name).replace(str(weights), source.name)


@pytest.mark.parametrize("name", PLACES)
def test_changes_end_in_no_other_exception(name: str, tmp_path: Path) -> None:
    """Every fifth change."""
    path, at = PLACES[name]
    text = config_of(path)
    layer = json.loads(text)
    for k in at:
        layer = layer[k]
    for what in list(changes(layer))[::5]:
        try:
            refusal(tmp_path, path, change(text, at, what))
        except Exception as e:
            raise AssertionError(f"{path.name}, {name}, {what}: {e!r}") from e


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_refused_is_told(name: str, tmp_path: Path) -> None:
    path, at = PLACES[name]
    for what, why in REFUSALS[name]:
        assert why in refusal(tmp_path, path, change(config_of(path), at, what)), what

"""Recorded nets changed in one place are refused with a reason or loaded, never another exception; each reason by its words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from changed_nets import change, changes, nets
from support import CONFORMANCE

import convcore
from convcore.build.opaque import opaque_problems
from convcore.errors import ConvcoreError, PluginBugError

NETS = nets(CONFORMANCE)
REFUSALS: dict[str, list[tuple[list[Any], str]]] = json.loads(Path(__file__).with_name("refusals.json").read_text("utf-8"))
TYPES = sorted({name.split("/")[0] for name in NETS})


def refusal(folder: Path, text: str) -> str:
    """Why a net is refused; "" where it loads."""
    path = folder / "net.prototxt"
    path.write_text(text, "utf-8")
    try:
        return "; ".join(p.why for p in opaque_problems(convcore.load(path, init_weights=True).graph))
    except PluginBugError:
        raise
    except ConvcoreError as e:
        return str(e).replace(str(path), "net.prototxt")


@pytest.mark.parametrize("type", TYPES)
def test_changes_end_in_no_other_exception(type: str, tmp_path: Path) -> None:
    """Every third change of the first net of each type."""
    name = next(n for n in NETS if n.startswith(f"{type}/"))
    net = NETS[name].read_text("utf-8")
    for what in list(changes(net))[::3]:
        try:
            refusal(tmp_path, change(net, what))
        except Exception as e:
            raise AssertionError(f"{name}, {what}: {e!r}") from e


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_refused_is_told(name: str, tmp_path: Path) -> None:
    net = NETS[name].read_text("utf-8")
    for what, why in REFUSALS[name]:
        assert why in refusal(tmp_path, change(net, what)), what

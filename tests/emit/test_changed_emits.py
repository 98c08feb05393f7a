"""Every sample of every op, changed in one place: written as Keras, ONNX and Caffe or refused with a reason, no other exception.

PyTorch's are in its own tests.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tests.support.changed_emits import reason
from tests.support.changed_samples import change, changes

from convcore.errors import PluginBugError, ShapeError
from convcore.ops.families import FAMILIES
from convcore.opset.declare import Op

OPS: dict[str, Op] = {name: decl for family in FAMILIES for name, decl in family.ops.items() if decl.samples}
DIALECTS: dict[str, tuple[str, tuple[Any, ...], int | None]] = {
    "keras": ("KerasDialect", (True, False), None), "onnx": ("OnnxDialect", (18, 10, False, True), 18),
    "caffe": ("CaffeDialect", ("bvlc", "crop", 1), None),
}  # fmt: skip
REFUSALS: dict[str, dict[str, list[tuple[int, list[Any], str]]]] = {
    f: json.loads(Path(__file__).with_name(f"refusals_{f}.json").read_text("utf-8")) for f in DIALECTS
}


@cache
def _rules(framework: str) -> Any:
    return pytest.importorskip(f"convcore_{framework}.rules").RULES if framework != "keras" else _keras()


def _keras() -> Any:
    pytest.importorskip("convcore_keras")
    from convcore.host import host

    return host().rules("keras")


def why(framework: str, decl: Op, number: int, what: Any) -> str:
    rules = _rules(framework)
    name, given, version = DIALECTS[framework]
    dialect = getattr(import_module(f"convcore_{framework}.dialect"), name)(*given)
    return reason(decl, change(decl, decl.samples[number], what), rules, dialect, version)


@pytest.mark.parametrize("framework", DIALECTS)
@pytest.mark.parametrize("name", OPS)
@pytest.mark.filterwarnings("ignore")
def test_changes_end_in_no_other_exception(name: str, framework: str) -> None:
    """Every third change of the first two samples."""
    decl = OPS[name]
    for number, sample in enumerate(decl.samples[:2]):
        for c in list(changes(decl, sample))[::3]:
            try:
                why(framework, decl, number, c.what)
            except ShapeError:
                continue
            except PluginBugError as e:
                raise AssertionError(f"sample {number}, {c.what}: {e}") from e


@pytest.mark.parametrize(("framework", "name"), [(f, name) for f, told in REFUSALS.items() for name in told])
@pytest.mark.filterwarnings("ignore")
def test_what_is_refused_is_told(framework: str, name: str) -> None:
    for number, what, said in REFUSALS[framework][name]:
        assert said in why(framework, OPS[name], number, what), what

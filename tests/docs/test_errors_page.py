"""docs/reports-and-errors.md names every problem code, error class and key of the report."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from convcore import errors
from convcore.errors import Problem
from convcore.report import Report
from convcore.report.compare import compare_outputs

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reports-and-errors.md").read_text(encoding="utf-8")
POSITION = {"Problem": 4, "refuse": 2, "NotExpressible": 1}
"""Where a problem's code is among the positional arguments of the functions that make problems."""

REASON = re.compile(r"(unsupported|unknown|missing|malformed|ambiguous|custom)_[a-z_]+")


def _text(node: ast.expr | None) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _text(node.body)
        yield from _text(node.orelse)


def _codes(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield from (c for k in node.keywords if k.arg == "code" for c in _text(k.value))
            if name in POSITION and len(node.args) > POSITION[name]:
                yield from _text(node.args[POSITION[name]])
        elif isinstance(node, ast.Tuple) and len(node.elts) == 3:  # (why, hint, code) of opaque layers
            yield from (c for c in _text(node.elts[2]) if REASON.fullmatch(c))
        elif isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "code":
            yield from _text(node.value)
        elif isinstance(node, ast.arguments):
            defaults = [
                *zip(node.args[::-1], node.defaults[::-1], strict=False),
                *zip(node.kwonlyargs, node.kw_defaults, strict=True),
            ]
            yield from (c for arg, value in defaults if arg.arg == "code" for c in _text(value))


def codes() -> set[str]:
    files = [*ROOT.glob("core/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]
    return {c for f in files for c in _codes(ast.parse(f.read_text(encoding="utf-8"))) if re.fullmatch(r"[a-z_]+", c)}


def test_every_code_is_listed():
    found = codes()
    assert {"unsupported_layer", "custom_layer", "code_in_model", "unsupported_op"} <= found
    listed = set(re.findall(r"^\| `([a-z_]+)` \|", PAGE, re.MULTILINE))
    assert not found - listed, f"not on the page: {sorted(found - listed)}"
    assert not listed - found, f"no longer in the code: {sorted(listed - found)}"


def test_every_error_is_listed():
    for name in errors.__all__:
        cls = getattr(errors, name)
        if inspect.isclass(cls) and issubclass(cls, errors.ConvcoreError):
            row = re.search(rf"^\| `{name}` \| (\d+) \|", PAGE, re.MULTILINE)
            assert row is not None, name
            assert int(row[1]) == cls.exit_code


def test_the_report_has_the_keys_the_page_shows():
    report = Report("a", {"framework": "keras"}, {"framework": "onnx"}, problems=[Problem("l", "T", "why")])
    report.differences += compare_outputs(["y"], [np.zeros(3)], [np.zeros(3)], 1e-4, 1e-6)
    shown = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    page, real = json.loads(shown[1]), report.to_dict()
    assert page.keys() == real.keys()
    assert page["verification"].keys() == real["verification"].keys()
    assert page["verification"]["outputs"][0].keys() == real["verification"]["outputs"][0].keys()
    assert re.search(r"`layer`, `type`, `why`, `hint`\s+and `code`", PAGE)
    assert real["problems"][0].keys() == {"layer", "type", "why", "hint", "code"}

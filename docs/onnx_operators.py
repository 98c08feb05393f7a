"""The section of docs/support/onnx.md on the standard's operators, version by version, with the record of their tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["older_section", "operators_section"]

_ROW = re.compile(r"^\| `([^`]+)` \| (.*) \|$")
_RECORDS = {"interpreter": "read and run", "onnx": "written again", "pytorch": "to PyTorch", "keras": "to Keras"}


def operators_section(root: Path) -> list[str]:
    """Its lines; of the installed onnx and of the pages ``onnx_node_*.md`` that the runner wrote."""
    import onnx

    from convcore_onnx.standard import operators, standing

    records = {k: _record(root / f"docs/support/onnx_node_{k}.md") for k in _RECORDS}
    rows, counts = [], dict[str, int]()
    for (domain, name), versions in operators().items():
        groups: dict[str, list[int]] = {}
        for v in versions:
            how, why = standing(domain, name, v)
            counts[how] = counts.get(how, 0) + 1
            groups.setdefault({"rule": "read", "definition": "by its definition"}.get(how, f"refused: {why}"), []).append(v)
        told = "; ".join(f"{', '.join(map(str, vs))}: {how}" for how, vs in groups.items())
        cells = [records[k].get(name, "") if domain in ("", "ai.onnx.ml") else "" for k in _RECORDS]
        rows.append(f"| `{domain}.{name}` | {told} | " if domain else f"| `{name}` | {told} | ")
        rows[-1] += " | ".join(cells) + " |"
    return [
        "## Operators of the standard, opset by opset",
        "",
        f"All {sum(counts.values())} versions of the {len(rows)} operators that onnx {onnx.__version__} knows (up to opset "
        f"{onnx.defs.onnx_opset_version()}):",
        f"{counts.get('rule', 0)} read by rules, {counts.get('definition', 0)} by the standard's own definition in simpler",
        f"operators, {counts.get('refused', 0)} refused by name",
        "(`plugins/onnx/tests/test_operators.py` looks at each). A version counts from the opset that is named to the next;",
        "what a rule does not take of a version (a type, an attribute's value) is refused with its reason. The other columns are",
        "the right ones of the standard's own tests of the operator, from the record of the last whole run of",
        "`python -m convcore.testing onnx-backend` (the pages `onnx_node_*.md`, which say what is refused).",
        "",
        "| operator | versions | " + " | ".join(_RECORDS.values()) + " |",
        "|---|---|" + "---|" * len(_RECORDS),
        *rows,
    ]


def older_section() -> list[str]:
    """How operators are written for opsets before 13, from the tables of the plugin."""
    from convcore_onnx.dialect import OLDEST_OPSET
    from convcore_onnx.older import MOVED, WRITTEN
    from convcore_onnx.older_forms import OTHER

    told: dict[str, list[str]] = {}
    for name, (since, attrs) in MOVED.items():
        told.setdefault(name, []).append(f"before {since}: {', '.join(f'`{a}`' for a in attrs.values())} as attributes")
    for name, forms in OTHER.items():
        for until, form in forms:
            told.setdefault(name, []).append(f"up to {until}: {' '.join((form.__doc__ or '').split())}")
    return [
        f"## Writing opsets {OLDEST_OPSET} to {WRITTEN - 1}",
        "",
        f"Rules write for opset {WRITTEN} and newer; for an older one each call is put into that opset's words",
        "(`older.py`). The schemas tell most of it: attributes that an old one lacks are left out where they say what it",
        "does anyway, defaults that have changed are written, axes count from the front before opset 11. The table has the rest.",
        "What an opset cannot say (an operator or element type it has not, an attribute for which a value is computed) is",
        "made of simpler ops where there are some, else refused with `needs opset N`. How many samples that leaves:",
        "[formats](../formats.md).",
        "",
        "| operator | as |",
        "|---|---|",
        *(f"| `{name}` | {'; '.join(ways)} |" for name, ways in sorted(told.items())),
        "",
    ]


def _record(path: Path) -> dict[str, str]:
    return dict(_rows(path)) if path.exists() else {}


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    """(operator, "right of all")."""
    for line in path.read_text(encoding="utf-8").splitlines():
        m = _ROW.match(line)
        numbers = [int(c) if c.strip().isdigit() else 0 for c in m[2].split("|")] if m else []
        if m and len(numbers) == 5:
            yield m[1], f"{numbers[0]} of {sum(numbers)}"

"""The records that the pages are made of: ``record/TABLE.json``, a row for each model, with the commit it was made at."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).parent / "record"
Rows = dict[str, dict[str, dict[str, Any]]]


def commit() -> str:
    """The commit of the code that runs; ``+`` after it: with changes that are not committed."""

    def git(*args: str) -> str:
        return subprocess.run(["git", *args], capture_output=True, text=True, check=True, cwd=RECORDS.parent).stdout.strip()

    code = (":/core", ":/plugins/*/src")
    return git("log", "-1", "--format=%h", "--", *code) + ("+" if git("status", "--porcelain", "--", *code) else "")


def read(table: str) -> Rows:
    path = RECORDS / f"{table}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def write(table: str, group: str, name: str, row: dict[str, Any]) -> None:
    """Put a row in, a line each, in the order they were first made in."""
    rows = read(table)
    rows.setdefault(group, {})[name] = row
    groups = [
        f" {json.dumps(g)}: {{\n" + ",\n".join(f"  {json.dumps(n)}: {json.dumps(r)}" for n, r in found.items()) + "\n }"
        for g, found in rows.items()
    ]
    RECORDS.mkdir(exist_ok=True)
    path = RECORDS / f"{table}.json"
    path.with_suffix(".new").write_text("{\n" + ",\n".join(groups) + "\n}\n")
    path.with_suffix(".new").replace(path)

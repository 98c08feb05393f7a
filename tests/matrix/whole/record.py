"""The records that the pages are made of: ``record/TABLE.json``, a row for each model, with the commit it was made at."""

from __future__ import annotations

import fcntl
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

    code = (":/core", ":/plugins/*/src/*")
    return git("log", "-1", "--format=%h", "--", *code) + ("+" if git("status", "--porcelain", "--", *code) else "")


def read(table: str) -> Rows:
    path = RECORDS / f"{table}.json"
    if not path.exists():
        return {}
    with open(path) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        found: Rows = json.load(file)
    return found


def write(table: str, group: str, name: str, row: dict[str, Any]) -> None:
    """Put a row in, a line each, in the order they were first made in. Several runs may write at once."""
    RECORDS.mkdir(exist_ok=True)
    path = RECORDS / f"{table}.json"
    with open(path, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        rows: Rows = json.loads(file.read() or "{}")
        rows.setdefault(group, {})[name] = row
        groups = [
            f" {json.dumps(g)}: {{\n" + ",\n".join(f"  {json.dumps(n)}: {json.dumps(r)}" for n, r in found.items()) + "\n }"
            for g, found in rows.items()
        ]
        file.truncate(0)
        file.write("{\n" + ",\n".join(groups) + "\n}\n")

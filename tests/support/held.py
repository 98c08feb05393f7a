"""What was found once, held in a file: a name that is not in it is not held, CONVCORE_RECORD=1 writes what is found now."""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any

__all__ = ["Held"]


class Held:
    """One file of JSON, a line for each name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def known(self) -> dict[str, Any]:
        return json.loads(self.path.read_text("utf-8")) if self.path.exists() else {}  # type: ignore[no-any-return]

    def check(self, name: str, found: Any) -> None:
        """AssertionError where something else is known of the name."""
        found = json.loads(json.dumps(found))
        if os.environ.get("CONVCORE_RECORD"):
            self.known[name] = found
            lines = [f" {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in sorted(self.known.items())]
            self.path.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
        assert found == self.known.get(name, found), f"{self.path.name} has another {name}; CONVCORE_RECORD=1 where that is meant"

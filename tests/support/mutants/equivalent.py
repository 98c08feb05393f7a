"""Changes that change nothing, judged by reading: each with its reason.

A change is named by its file, the beginning of its statement and what is changed, so that it is known again when lines move.
"""

from __future__ import annotations

EQUIVALENT: dict[tuple[str, str, str], str] = {
    (
        "plugins/pytorch/src/convcore_pytorch/printer/classes.py",
        "seen[block] = h = 1 + max(inner, default=0)",
        "= 1 + max(inner, default=0 -> 1",
    ): "every height grows by one, and only their order counts",
}

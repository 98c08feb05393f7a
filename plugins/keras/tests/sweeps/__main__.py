"""``python -m sweeps ops [part of a name] [--no-onnx]`` in ``plugins/keras/tests`` (KERAS_BACKEND=torch)."""

from __future__ import annotations

import collections
import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main(argv: list[str]) -> int:
    """Judge all cases of a kind; the exit status is how many are wrong."""
    from sweeps.judge import judge

    kind, rest = argv[0], [a for a in argv[1:] if not a.startswith("-")]
    cases = [c for c in import_module(f"sweeps.{kind}_cases").cases() if not rest or any(r in c.name for r in rest)]
    counts: collections.Counter[str] = collections.Counter()
    for case in cases:
        v = judge(case, onnx="--no-onnx" not in argv)
        counts[v.what] += 1
        if v.what != "agree":
            sys.stdout.write(f"{v.what}: {v.name}: {v.why}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(cases)} cases: {dict(counts)}\n")
    return counts["wrong"]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""``python -m sweeps ops|layers|networks|custom [part of a name] [--onnx --pytorch --keras | --no-onnx] [--page]`` in
``plugins/keras/tests``; without a target it is ONNX.

KERAS_BACKEND=torch.
``recorded [part of a name] [--onnx --pytorch --keras]`` are custom layers of tf.keras, with what TensorFlow computed.
``names [part]`` are the expressions of ``keras.ops`` as code has them.
``--page`` writes ``docs/support/keras-<kind>.md`` of what was found.
"""

from __future__ import annotations

import collections
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main(argv: list[str]) -> int:
    """Judge all cases of a kind; the exit status is how many are wrong."""
    from sweeps.judge import judge

    if argv[0] == "recorded":
        from sweeps.recorded import main as judge_recorded

        return judge_recorded(argv[1:])
    if argv[0] == "names":
        from sweeps.names import main as judge_names

        return judge_names(argv[1:])
    kind, rest = argv[0], [a for a in argv[1:] if not a.startswith("-")]
    cases = [c for c in import_module(f"sweeps.{kind}_cases").cases() if not rest or any(r in c.name for r in rest)]
    targets = [a[2:] for a in argv if a in ("--onnx", "--pytorch", "--keras")] or ([] if "--no-onnx" in argv else ["onnx"])
    counts: collections.Counter[str] = collections.Counter()
    rows: list[str] = []
    for case in cases:
        v = judge(case, targets)
        counts[v.what] += 1
        if v.what != "agree":
            why = " ".join(v.why.replace("|", "\\|").split())
            rows.append(f"| `{v.name}` | {v.what} | {why} |")
            sys.stdout.write(f"{v.what}: {v.name}: {v.why}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(cases)} cases: {dict(counts)}\n")
    if "--page" in argv:
        page = Path(__file__).resolve().parents[4] / "docs" / "support" / f"keras-{kind}.md"
        page.write_text(_page(kind, targets, len(cases), counts, rows), encoding="utf-8")
    return counts["wrong"]


_TITLES = {"onnx": "ONNX", "pytorch": "PyTorch", "keras": "Keras"}
_RUN_BY = {"onnx": "onnxruntime", "pytorch": "torch", "keras": "Keras (plain `load_model`)"}


def _page(kind: str, targets: Sequence[str], total: int, counts: Mapping[str, int], rows: list[str]) -> str:
    told = ", ".join(f"{n} {what}" for what, n in sorted(counts.items(), key=lambda kv: -kv[1]))
    right = 100 * (counts["agree"] + counts["reference"]) / max(total, 1)
    flags = " ".join(f"--{t}" for t in targets)
    lines = [
        f"# Keras: {kind} that Keras itself made, read and written to {', '.join(_TITLES[t] for t in targets)}",
        "",
        f"Written by `python -m sweeps {kind} {flags} --page` in `plugins/keras/tests` (KERAS_BACKEND=torch).",
        f"{total} cases: {told}; {right:.1f} % agree.",
        "",
        f"*agree*: the interpreter, and what is written to {', '.join(_TITLES[t] for t in targets)} and run by "
        f"{', '.join(_RUN_BY[t] for t in targets)},",
        "compute what Keras does, with two batch sizes. *reference*: so they do, but `onnx.reference` ran the ONNX model, as",
        "onnxruntime has no kernel for its element types. *onnx*, *pytorch*, *keras*: the interpreter does, and the target",
        "refuses, or its framework cannot run it. *refused*: with the reason given. *unmade*: Keras (on torch) can not run or",
        "read the model itself.",
        "",
        "| case | | why |",
        "|---|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

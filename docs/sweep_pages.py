"""The pages of the whole sweeps (``python -m whole`` in ``tests/matrix``), made of their records."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests/matrix"))

from whole.names import without_transposes  # noqa: E402
from whole.record import Rows, read  # noqa: E402

TITLES = {"keras": "Keras", "onnx": "ONNX", "caffe": "Caffe", "pytorch": "PyTorch"}
MADE = "<!-- Written by docs/generate.py of tests/matrix/whole/record; do not edit. -->\n"
RAN = "python -m whole {0} # in tests/matrix; --left goes on where a run was stopped"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(r) + " |" for r in rows), ""]


def _why(row: Mapping[str, Any]) -> str:
    return re.sub(r"\s+", " ", re.sub(r"[|<>]", " ", row.get("why", ""))).strip()


def _result(row: Mapping[str, Any]) -> str:
    """One cell: the error where it agrees, else what became of it."""
    return f"{row['error']:.0e}" if "error" in row and row["result"] == "agrees" else str(row["result"])


def _commits(rows: Rows) -> str:
    found = Counter(r["commit"] for group in rows.values() for r in group.values())
    return "Run at commit " + ", ".join(f"{c} ({n} models)" for c, n in found.most_common()) + "."


def _reasons(rows: Iterator[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Refusals by reason, with how often."""
    found: dict[str, list[str]] = {}
    for name, row in rows:
        if "why" in row:
            found.setdefault(f"{row['result']}: {re.sub(r' .and [0-9]+ more.$', '', _why(row))}", []).append(name)
    out = []
    for why, names in sorted(found.items(), key=lambda x: (-len(x[1]), x[0])):
        shown = sorted(set(names))
        out.append(f"* {len(names)} x {why} ({', '.join(shown[:4])}{', ...' if len(shown) > 4 else ''})")
    return [*out, ""]


# ---------------------------------------------------------------- from every format to every format
def cell(rows: Rows, start: str, target: str, kind: str) -> Counter[str]:
    """What became of the models of a kind in one cell, by result."""
    return Counter(r["cells"][f"{start}>{target}"]["result"] for r in rows.get(kind, {}).values() if "cells" in r)


def _count(found: Counter[str]) -> str:
    tried = sum(found.values()) - found["no source"]
    bad = tried - found["agrees"] - found["refused"]
    return f"{found['agrees']} of {tried}" + (f", {bad} wrong" if bad else "")


def matrix_table() -> list[str]:
    """README's table: trained + architectures that agree, of those that were tried."""
    rows, kinds = read("matrix"), ("trained", "architectures")
    lines = []
    for start, title in TITLES.items():
        cells = ["yes: " + ", ".join(_count(cell(rows, start, t, k)) for k in kinds) for t in TITLES]
        lines.append([f"**{title}**", *cells])
    return _table(["from \\ to", *TITLES.values()], lines)


def matrix_page() -> str:
    rows = read("matrix")
    out = [
        MADE, "# Every format to every format", "",
        "Twenty trained models, as published (`tests/data/zoo`), and architectures with random weights (those of the twenty in",
        "`whole/models.py` that have been run), each from its own format to all four; what was written into the three others is",
        "the source of the other rows. Each result runs in",
        "its own framework (onnxruntime, torch, Keras 3 on torch; Caffe's nets are read back and interpreted) and is compared",
        "with what the model's own framework computed: recorded outputs for the trained ones. A cell is the largest difference",
        "as a part of the output's range, at most 1e-4 where it agrees. *no source*: that format could not be written in the",
        "first place.", "",
        f"`{RAN.format('matrix')}`. {_commits(rows)}", "",
    ]  # fmt: skip
    for kind, found in rows.items():
        good = [r for r in found.values() if "cells" in r]
        out += [f"## {kind.capitalize()}", ""]
        lines = [[f"**{a}**", *(_count(cell(rows, s, t, kind)) for t in TITLES)] for s, a in TITLES.items()]
        out += [f"{len(good)} models; right of tried:", "", *_table(["from \\ to", *TITLES.values()], lines)]
        for start, title in TITLES.items():
            out += [f"### From {title}", ""]
            out += _table(
                ["model", *(f"to {t}" for t in TITLES.values())],
                [
                    [f"{n}{' (own format)' if r.get('framework') == start else ''}"]
                    + [_result(r["cells"][f"{start}>{t}"]) if "cells" in r else r["result"] for t in TITLES]
                    for n, r in found.items()
                ],
            )
        every = ((n, c) for n, r in found.items() for c in (*r.get("cells", {}).values(), r))
        out += ["### Why not", "", *_reasons(every)]
    return "\n".join(out)


# ---------------------------------------------------------------- keras.applications
def applications_page() -> str:
    rows = read("applications")
    found = rows.get("applications", {})
    targets = ("onnx", "pytorch", "keras")
    out = [
        MADE, "# keras.applications", "",
        "Every architecture of keras.applications 3.15 with random weights (scales, biases and statistics off their initial",
        "values), built by Keras and converted in memory; the result runs in onnxruntime, torch and Keras (`load_model`),",
        "against Keras on torch. A cell is the largest difference as a part of the output's range.", "",
        f"`{RAN.format('applications')}`. {_commits(rows)}", "",
    ]  # fmt: skip
    lines = []
    for name, r in found.items():
        if "result" in r:
            lines.append([name, f"{r['result']}: {_why(r)}", "", "", ""])
        else:
            lines.append([name, *(_result(r[t]) + (f": {_why(r[t])}" if "why" in r[t] else "") for t in targets),
                          str(r["keras"].get("transposes", ""))])  # fmt: skip
    right = [sum(r.get(t, {}).get("result") == "agrees" for r in found.values()) for t in targets]
    out += [f"Of {len(found)}: {right[0]} agree as ONNX, {right[1]} as PyTorch, {right[2]} as Keras.", ""]
    out += _table(["architecture", *(f"to {TITLES[t]}" for t in targets), "transposes in the Keras file"], lines)
    return "\n".join(out)


# ---------------------------------------------------------------- whole models as Keras files
def written_page() -> str:
    rows = read("written")
    out = [
        MADE, "# Whole models written as Keras 3", "",
        "Each file is loaded by plain `keras.models.load_model` (safe mode, torch backend). *Error*: largest difference from the",
        "source's own framework as a part of the output's range; empty: compared by convcore's check. *Transposes*: Permute and",
        "Transpose inside the file; *minimum*: what the minimum cut over the axes' orders leaves of the source's own transposes,",
        "and puts in. Families in bold must have none.", "",
        f"`{RAN.format('written')}`. {_commits(rows)}", "",
    ]  # fmt: skip
    for group, found in rows.items():
        good = sum(r["result"] == "agrees" for r in found.values())
        out += [f"## {group}: {good} of {len(found)} agree", ""]
        lines = []
        for name, r in found.items():
            title = f"**{name}**" if group in ("torchvision", "timm", "segmentation") and without_transposes(name) else name
            why = f": {_why(r)}" if "why" in r else ""
            error = f"{r['error']:.0e}" if "error" in r else ""
            lines.append([title, r["result"] + why, error, *(str(r.get(k, "")) for k in ("layers", "transposes", "minimum"))])
        out += _table(["model", "result", "error", "layers", "transposes", "minimum"], lines)
    return "\n".join([*out, *_backends()])


def _backends() -> list[str]:
    """The same files on other backends, as far as they were run."""
    rows = read("backends")
    found = {n: r for n, r in rows.get("backends", {}).items() if "result" not in r}
    if not found:
        return []
    names = [n for n in ("torch", "jax", "tensorflow") if any(n in r for r in found.values())]
    out = [
        "## Other backends", "",
        "Models of the matrix as one Keras file each, in a process per backend; on TensorFlow in a graph of the model's own",
        "input sizes, on JAX in `jax.jit`, both beside a run that is not compiled.",
        f"`{RAN.format('backends')}`. {_commits(rows)}", "",
    ]  # fmt: skip
    lines = []
    for n, r in found.items():
        lines.append([n, *(_result(r[b]) + (f": {_why(r[b])}" if "why" in r[b] else "") if b in r else "" for b in names)])
    return [*out, *_table(["model", *names], lines)]


# ---------------------------------------------------------------- ONNX models in three opsets
_CELLS = {"own": "own opset", "13": "13", "newest": "newest", "standard": "21, standard operators", "pytorch": "PyTorch"}


def onnx_page() -> str:
    rows = read("onnx")
    out = [
        MADE, "# Whole ONNX models", "",
        "Each model converted by default (simplified, checked by convcore) at its own opset (7 at least), at 13 and at the",
        "newest, and to PyTorch; onnxruntime on one thread without its own rewriting runs the result, or torch. Where it lacks a",
        "kernel of the newest opset, the standard's evaluator compares that file with the one that onnxruntime has judged.",
        "*Published*: models as they were published, judged by their recorded outputs (1e-4 of the range). *Quantised*: these",
        "quantised by onnxruntime's own tool (`quantize_dynamic`, subgraphs too; `quantize_static` in both forms), judged by",
        "onnxruntime on the quantised file: within one step, 1/255 of the range. Nodes of com.microsoft are kept, but for the",
        "newest opset; *standard operators*: with `--contrib standard`. A cell is the largest difference as a part of the",
        "output's range. *not made*: what onnxruntime could not quantise or run; *unsteady*: the quantised file's own results",
        "move further when its inputs move by a unit in the last place; *over*: by two or three steps.", "",
        f"`ONNX_ZOO=<folder of models> {RAN.format('onnx')}`. {_commits(rows)}", "",
    ]  # fmt: skip
    for group, found in rows.items():
        tried = {n: r for n, r in found.items() if "result" not in r}
        right = {c: Counter(r[c]["result"] for r in tried.values() if c in r) for c in _CELLS}
        counts = ", ".join(f"{t} {n['agrees']} of {sum(n.values())}" for (c, t) in _CELLS.items() if (n := right[c]))
        out += [f"## {group.capitalize()}: {len(tried)} models", "", f"Right: {counts}.", ""]
        lines = []
        for name, r in found.items():
            if "result" in r:
                lines.append([name, "", *[""] * len(_CELLS), f"{r['result']}: {_why(r)}"])
                continue
            cells = [_result(r[c]) if c in r else "" for c in _CELLS]
            lines.append([name, str(r["opset"]), *cells, ", ".join(f"`{t}`" for t in r.get("types", ()))])
        out += _table(["model", "opset", *_CELLS.values(), "quantised operators"], lines)
        why = [(f"{n} to {_CELLS[c]}", r[c]) for n, r in tried.items() for c in _CELLS if c in r]
        out += ["### Why not", "", *_reasons(iter(why))] if any("why" in r for _, r in why) else []
    return "\n".join(out)


# ---------------------------------------------------------------- README
MARKED = re.compile(r"(<!-- matrix: written by docs/generate.py -->\n).*?(<!-- /matrix -->)", re.DOTALL)


def readme_page() -> str:
    """README with the table of the matrix as the record has it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return MARKED.sub(lambda m: m[1] + "\n".join(matrix_table()) + m[2], text, count=1)


PAGES = {
    "README.md": readme_page,
    "docs/support/matrix.md": matrix_page,
    "docs/support/keras-written.md": written_page,
    "docs/support/onnx-models.md": onnx_page,
} | ({"docs/support/keras-applications.md": applications_page} if read("applications") else {})

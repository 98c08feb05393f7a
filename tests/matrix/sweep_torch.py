"""Whole PyTorch networks in and out: to the interpreter, to ONNX, to PyTorch, and to PyTorch from the ONNX files torch writes.

    PYTHONPATH=<folder with torchvision, timm, transformers, onnxscript> python tests/matrix/sweep_torch.py [GROUP...]

GROUP: modules, transformers, torchvision, timm (default: all). Each network runs in a process of its own with a time limit; the
results go to ``torch_networks.json`` as they come, so a run takes up where another ended: steps that are right are not done again
(``--again``: all; ``--left``: only steps without a result). ``--only NAME`` picks networks, ``--steps`` steps. The page
``docs/support/pytorch-networks.md`` is made from the record (``--page`` makes it alone). All of it takes some hours on one core;
the tests run 25 of the modules. The judge is eager torch at two batch sizes and two lengths that were not traced.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")

sys.path.insert(0, str(Path(__file__).parent))
from torch_networks import GROUPS, Network

STEPS = ("ir", "onnx", "torch", "dynamo18", "script17", "program")
COLUMNS = {
    "ir": "interpreter", "onnx": "ONNX", "torch": "PyTorch", "dynamo18": "dynamo 18 to PyTorch",
    "script17": "TorchScript 17 to PyTorch",
}  # fmt: skip
RECORD = Path(__file__).parent / "torch_networks.json"
PAGE = Path(__file__).parents[2] / "docs" / "support" / "pytorch-networks.md"
Row = dict[str, dict[str, Any]]
Rows = dict[str, dict[str, dict[str, dict[str, Any]]]]


# ---------------------------------------------------------------- running
def child(network: Network, steps: tuple[str, ...], memory: int, folder: Path, pipe: Any) -> None:
    """What the process of one network does."""
    warnings.filterwarnings("ignore")
    resource.setrlimit(resource.RLIMIT_DATA, (memory << 30, memory << 30))
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    import torch
    from torch_judge import judged

    torch.set_num_threads(1)
    try:
        for step, row in judged(network, steps, folder):
            pipe.send((step, row))
    except Exception as e:  # noqa: BLE001 - the sweep goes on; what is no ConvcoreError is a finding
        import traceback

        where = traceback.extract_tb(e.__traceback__)[-1]
        text = " ".join((str(e).strip() or "-").splitlines()[0].split())[:160]
        pipe.send((None, {"failed": f"{type(e).__name__}: {text} ({Path(where.filename).name}:{where.lineno})"}))
    pipe.send(("end", {}))


def run(network: Network, steps: tuple[str, ...], limit: float, memory: int) -> dict[str, dict[str, Any]]:
    """The rows of the steps; the one that was under way at the end of the time says so."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="convcore-sweep-") as folder:  # here: a process that is killed takes nothing away
        process = context.Process(target=child, args=(network, steps, memory, Path(folder), theirs))
        process.start()
        theirs.close()
        rows = received(ours, steps, limit)
        process.kill()
        process.join()
    return rows


def received(ours: Any, steps: tuple[str, ...], limit: float) -> dict[str, dict[str, Any]]:
    """What the process of a network sends, a row a step."""
    rows: dict[str, dict[str, Any]] = {}
    until, left, last = time.monotonic() + limit, list(steps), time.monotonic()
    why = f"no result after {limit:.0f} s"
    while left:
        try:
            if not ours.poll(max(0.0, until - time.monotonic())):
                break
            step, row = ours.recv()
        except EOFError:
            why = "the process ended"
            break
        if step == "end":
            break
        if step is None:
            rows[left.pop(0)] = row
            break
        left.remove(step)
        rows[step] = {**row, "seconds": round(time.monotonic() - last, 1)}
        last, until = time.monotonic(), time.monotonic() + limit
    else:
        why = ""
    if left and not any("failed" in r for r in rows.values()):
        rows[left[0]] = {"failed": why}
    return rows


def right(row: dict[str, Any]) -> bool:
    """Nothing left to be done."""
    return good(row) and not told({"torch": row})


def warm(steps: tuple[str, ...]) -> None:
    """Everything imported once: each process would take as long for it as for its network."""
    from torch import nn
    from torch_judge import judged
    from torch_networks import noise

    tiny = Network("tiny", lambda: nn.Linear(3, 5), lambda n, _: (noise(n, 3),), ({0: "batch"},))
    with tempfile.TemporaryDirectory(prefix="convcore-sweep-") as folder:
        for _ in judged(tiny, steps, Path(folder)):
            pass


def good(row: dict[str, Any]) -> bool:
    return ("error" in row or "exports" in row) and "wrong" not in row


# ---------------------------------------------------------------- page
SAID = ("keys", "weights", "gradients", "exports", "compiles")


def cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if good(row):
        return f"{row['error']:.0e}" + (f" in float64 ({row['float32']:.0e} in float32)" if "float32" in row else "")
    kind = next((k for k in ("wrong", "refused", "not exported", "failed") if k in row), "?")
    text = str(row.get(kind, "")).replace("|", "/").replace("\n", " ").replace("<", "&lt;").replace("*", "\\*")
    return f"**WRONG**: {text}" if kind == "wrong" else f"{kind}: {text}"


def told(row: Row) -> str:
    """What the module is, beside its numbers; nothing where all is as it should be."""
    found = {**row.get("torch", {}), **row.get("program", {})}
    bad = [f"{k}: {found[k]}" for k in SAID if not found.get(k, "yes").startswith(("yes", "same", "nor"))]
    if good(row.get("torch", {})):
        bad += [f"program {k}: {found[k]}" for k in ("refused", "failed") if k in found]
    return "; ".join(bad).replace("|", "/").replace("<", "&lt;").replace("*", "\\*")


def page(rows: Rows) -> str:
    """The record as a page: families of options of one layer are one line, unless something is to be said of a member."""
    titles = {
        "modules": "torch.nn", "transformers": "transformers, random configurations", "torchvision": "torchvision", "timm": "timm"
    }  # fmt: skip
    out = [
        "# Whole PyTorch networks", "",
        "Written by `tests/matrix/sweep_torch.py` from its record, `tests/matrix/torch_networks.json`; do not edit. The judge is",
        "eager torch at two batch sizes and, where the network has one, two lengths that were not traced, from one conversion. A",
        "number is the largest error as a part of the output's range (limit 1e-4); weights are random, statistics perturbed.", "",
        "*interpreter*, *ONNX* (in onnxruntime), *PyTorch*: of the live module. *dynamo 18*, *TorchScript 17*: the files that",
        "`torch.onnx.export` writes, as PyTorch modules; *not exported* is torch's or onnxruntime's own limit (a length that",
        "torch.export fixes, as that of recurrent layers, is fixed there). *module*: what of the module is not as in the source;",
        "empty: the `state_dict` has the same keys in the same order with the same weights, every gradient agrees,",
        "`torch.export` keeps the axes symbolic and `torch.compile(fullgraph=True)` passes, where the source does, too.", "",
    ]  # fmt: skip
    out += ["| | networks | " + " | ".join(COLUMNS.values()) + " |", "|---|---|" + "---|" * len(COLUMNS)]
    for group, found in rows.items():
        counts = [f"{sum(good(r.get(s, {})) for r in found.values())} of {sum(s in r for r in found.values())}" for s in COLUMNS]
        out.append(f"| {titles[group]} | {len(found)} | " + " | ".join(counts) + " |")
    for group, found in rows.items():
        out += [
            "",
            f"## {titles[group]}",
            "",
            "| network | " + " | ".join(COLUMNS.values()) + " | module |",
            "|---|" + "---|" * (len(COLUMNS) + 1),
        ]
        folded: dict[str, list[dict[str, Any]]] = {}
        lines: list[str] = []
        for name, row in found.items():
            if group == "modules" and all(good(row.get(s, {"error": 0})) for s in COLUMNS) and not told(row):
                folded.setdefault(name.partition(",")[0], []).append(row)
                continue
            lines.append(f"| {name} | " + " | ".join(cell(row.get(s)) for s in COLUMNS) + f" | {told(row)} |")
        for name, members in folded.items():
            worst = [[r[s]["error"] for r in members if s in r] for s in COLUMNS]
            text = " | ".join(f"{max(w):.0e}" if w else "" for w in worst)
            out.append(f"| {name}, {len(members)} combinations of options | {text} | |")
        out += lines
    return "\n".join([*out, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--steps", default=",".join(STEPS), help="some of " + ",".join(STEPS))
    parser.add_argument("--again", action="store_true", help="steps that are right, too")
    parser.add_argument("--left", action="store_true", help="only networks without a result for the steps")
    parser.add_argument("--limit", type=float, default=300, metavar="SECONDS", help="of a step")
    parser.add_argument("--memory", type=int, default=12, metavar="GB", help="of a process")
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--page", action="store_true", help="the page alone")
    args = parser.parse_args()
    held: Rows = json.loads(args.record.read_text(encoding="utf-8")) if args.record.exists() else {}
    if not args.page:
        import torch
        import torch_judge  # noqa: F401 - imported once, for all the processes

        torch.set_num_threads(1)
        warm(tuple(args.steps.split(",")))
        for group in args.groups or GROUPS:
            found = held.setdefault(group, {})
            for network in GROUPS[group]():
                if args.only and network.name not in args.only:
                    continue
                row = found.setdefault(network.name, {})
                steps = tuple(
                    s for s in args.steps.split(",") if (s not in row if args.left else args.again or not right(row.get(s, {})))
                )
                if not steps:
                    continue
                row.update(run(network, steps, args.limit, args.memory))
                row = found[network.name] = {s: row[s] for s in STEPS if s in row}
                short = {s: cell(r) for s, r in row.items() if s in steps and s != "program"}
                sys.stderr.write(f"{group} {network.name}: {short} {told(row)}\n")
                args.record.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
    if args.record == RECORD:
        PAGE.write_text(page(held), encoding="utf-8")


if __name__ == "__main__":
    main()

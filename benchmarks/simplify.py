"""`convcore convert --simplify` beside onnxsim and onnxslim, over a folder of ONNX files (`exports.py` makes one).

    PYTHONPATH=<folder with onnxsim, onnxslim> python benchmarks/simplify.py FOLDER [--commands [--checked]] [--json FILE]

One process a tool goes through all files, with one thread and its own checks off (onnxsim runs onnx's checker in any case);
``--commands`` runs the tool's command line once for each file instead, as users do, ``--checked`` with its numerical check (ours
compares all values between, theirs the outputs of one random input). For each file: nodes left (Constants not
counted, subgraphs included), CPU seconds, latency in onnxruntime (the least of several runs, in turn with the source's), and
whether onnxruntime computes what it does of the source (1e-4 of the range). What a tool fails at counts as the source.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from run import once

TOOLS = {
    "convcore": "import convcore\nfrom convcore.pipeline import convert\n"
    "def run(a, b): convert(a, 'onnx', b, check=False, simplify=True)\n",
    "onnxsim": "import onnx, onnxsim\ndef run(a, b): onnx.save(onnxsim.simplify(onnx.load(a))[0], b)\n",
    "onnxslim": "import onnx, onnxslim\ndef run(a, b): onnxslim.slim(a, b)\n",
}
COMMANDS = {
    "convcore": lambda a, b, checked: [
        *("-m", "convcore", "convert", a, "-o", b, "--simplify", "--force", "--report", "none"),
        *([] if checked else ["--no-check"]),
    ],
    "onnxsim": lambda a, b, checked: ["-m", "onnxsim", a, b, *(["1"] if checked else [])],
    "onnxslim": lambda a, b, checked: ["-m", "onnxslim", a, b, *(["--model-check"] if checked else [])],
}  # fmt: skip
LOOP = """
import contextlib, io, json, os, sys, time
base = time.process_time()
{tool}
took = {{"": time.process_time() - base}}
for a, b in json.loads(sys.argv[1]):
    start = time.process_time()
    try:
        run(a, b)
    except Exception as e:
        print(f"{{os.path.basename(a)}}: {{type(e).__name__}}: {{str(e).strip()[:200]}}", file=sys.stderr)
        took[a] = None
        continue
    took[a] = time.process_time() - start
print("TOOK" + json.dumps(took))
"""


def simplified(tool: str, files: list[Path], folder: Path) -> tuple[dict[str, float | None], str]:
    """CPU seconds by file ("" is what importing costs; None where the tool failed), and what it said."""
    pairs = [(str(f), str(folder / f.name)) for f in files]
    code = LOOP.format(tool=TOOLS[tool])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code, json.dumps(pairs)], capture_output=True, text=True, env=env)
    found = [line[4:] for line in done.stdout.splitlines() if line.startswith("TOOK")]
    if not found:
        raise SystemExit(f"{tool}: {done.stderr[-2000:]}")
    took: dict[str, float | None] = json.loads(found[0])
    return took, done.stderr


def commanded(
    tools: list[str], files: list[Path], work: Path, checked: bool, times: int
) -> tuple[dict[str, dict[str, float | None]], dict[str, str]]:
    """The same of one process for each file, by tool; importing is part of each. The tools take turns, so that what else the
    machine does meets all; the least of several times."""
    took: dict[str, dict[str, float | None]] = {tool: {"": 0.0} for tool in tools}
    said: dict[str, list[str]] = {tool: [] for tool in tools}
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    for f in files:
        for tool in tools * times:
            before = took[tool].get(str(f), float("inf"))
            if before is None:
                continue
            out = work / tool / f.name
            out.unlink(missing_ok=True)
            try:
                took[tool][str(f)] = min(before, once([sys.executable, *COMMANDS[tool](f, out, checked)]).cpu)
            except SystemExit as e:
                took[tool][str(f)] = None
                said[tool].append(f"{f.name}: {str(e).strip().splitlines()[-1][:200]}")
    return took, {tool: "\n".join(lines) for tool, lines in said.items()}


def nodes(path: Path) -> int:
    import onnx

    def count(graph: Any) -> int:
        inner = [a for n in graph.node for a in n.attribute]
        graphs = [g for a in inner for g in ([a.g] if a.type == onnx.AttributeProto.GRAPH else a.graphs)]
        return sum(n.op_type != "Constant" for n in graph.node) + sum(map(count, graphs))

    model = onnx.load(path, load_external_data=False)
    return count(model.graph) + sum(n.op_type != "Constant" for f in model.functions for n in f.node)


def session(path: Path) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def inputs(s: Any, source: Path) -> dict[str, Any]:
    """Seeded inputs; symbolic sizes of one name are of one size."""
    import numpy as np

    beside = Path(__file__).parents[1] / "tests" / "data" / "zoo" / source.stem / "inputs.npz"
    if beside.exists():
        with np.load(beside) as z:
            return dict(zip([i.name for i in s.get_inputs()], [z[k] for k in z]))
    rng = np.random.default_rng(0)
    feed: dict[str, Any] = {}
    for i in s.get_inputs():
        shape = [n if isinstance(n, int) and n > 0 else 2 if k == 0 else 9 for k, n in enumerate(i.shape)]
        if "int" in i.type:
            feed[i.name] = rng.integers(3, 40, shape).astype("i8" if "64" in i.type else "i4")
        else:
            feed[i.name] = rng.normal(size=shape).astype("f2" if "float16" in i.type else "f4")
    return feed


def same(found: list[Any], wanted: list[Any]) -> bool:
    import numpy as np

    if len(found) != len(wanted):
        return False
    for a, b in zip(found, wanted):
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        if b.dtype.kind != "f":
            if not np.array_equal(a, b):
                return False
            continue
        tolerance = 1e-4 if b.dtype.itemsize > 2 else 4e-3
        span = float(np.max(np.abs(b), initial=1e-30, where=np.isfinite(b)))
        if not np.allclose(a, b, rtol=0, atol=tolerance * span, equal_nan=True):
            return False
    return True


def compared(source: Path, results: dict[str, Path], runs: int) -> tuple[dict[str, float], dict[str, str]]:
    """Least seconds of a run of the source and of each result, and what is wrong with a result."""
    wrong: dict[str, str] = {}
    try:
        sessions = {"source": session(source)}
        feed = inputs(sessions["source"], source)
        wanted = sessions["source"].run(None, feed)
    except Exception as e:  # noqa: BLE001  what onnxruntime refuses is judged by nobody here
        return {}, {"source": f"{type(e).__name__}: {str(e)[:120]}"}
    for tool, path in results.items():
        try:
            s = session(path)
            found = s.run(None, feed)
        except Exception as e:  # noqa: BLE001  what it cannot run is wrong
            wrong[tool] = f"{type(e).__name__}: {str(e)[:120]}"
            continue
        if same(found, wanted):
            sessions[tool] = s
        else:
            wrong[tool] = "another result"
    least = dict.fromkeys(sessions, float("inf"))
    until = time.perf_counter() + 3
    for turn in range(runs):
        for tool in sorted(sessions, reverse=bool(turn % 2)):
            start = time.perf_counter()
            sessions[tool].run(None, feed)
            least[tool] = min(least[tool], time.perf_counter() - start)
        if time.perf_counter() > until and turn > 8:
            break
    return least, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tools", nargs="*", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--only", default="", help="files whose names hold this")
    parser.add_argument("--runs", type=int, default=40, help="runs of each result (0: no latency)")
    parser.add_argument("--commands", action="store_true", help="each tool's command line, once for each file")
    parser.add_argument("--times", type=int, default=1, help="runs of each command, of which the least counts (--commands)")
    parser.add_argument("--checked", action="store_true", help="with the tools' numerical checks (--commands)")
    parser.add_argument("--keep", type=Path, help="keep the results in this folder")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    files = sorted(f for f in args.folder.glob("*.onnx") if args.only in f.name)
    with tempfile.TemporaryDirectory() as scratch:
        work = args.keep or Path(scratch)
        for tool in args.tools:
            (work / tool).mkdir(parents=True, exist_ok=True)
        if args.commands:
            took, said = commanded(args.tools, files, work, args.checked, args.times)
        else:
            took, said = {}, {}
            for tool in args.tools:
                took[tool], said[tool] = simplified(tool, files, work / tool)
        width = max(len(f.stem) for f in files)
        print(f"{'file':<{width}}  {'source':>6}  " + "  ".join(f"{t + ': nodes, ms, latency':>30}" for t in args.tools))
        rows: list[dict[str, Any]] = []
        for f in files:
            results = {
                t: work / t / f.name for t in args.tools if took[t].get(str(f)) is not None and (work / t / f.name).exists()
            }
            least, wrong = compared(f, results, args.runs) if args.runs else ({}, {})
            before = nodes(f)
            row: dict[str, Any] = {"file": f.name, "nodes": before, "wrong": wrong}
            cells = []
            for t in args.tools:
                n = nodes(results[t]) if t in results else before
                latency = least[t] / least["source"] if t in least else None
                row[t] = {"nodes": n, "cpu": took[t].get(str(f)), "latency": latency}
                cpu = "failed" if row[t]["cpu"] is None else f"{1000 * row[t]['cpu']:.0f}"
                cells.append(f"{n:>14} {cpu:>7} {'' if latency is None else f'{latency:.2f}':>7}")
            rows.append(row)
            print(
                f"{f.stem:<{width}}  {before:>6}  " + "  ".join(cells) + "".join(f"  {t}: {w}" for t, w in wrong.items()),
                flush=True,
            )
    print()
    both = [r for r in rows if all(r[t]["cpu"] is not None for t in args.tools)]
    for t in args.tools:
        total, cpu = sum(r[t]["nodes"] for r in rows), sum(r[t]["cpu"] or 0 for r in rows)
        known = [r[t]["latency"] for r in rows if r[t]["latency"] is not None]
        mean = 1.0
        for x in known:
            mean *= x ** (1 / len(known))
        failed, wrongs = sum(r[t]["cpu"] is None for r in rows), sum(t in r["wrong"] for r in rows)
        print(
            f"{t}: {total} nodes of {sum(r['nodes'] for r in rows)}; {cpu:.2f} s CPU, and {took[t]['']:.2f} s to import; latency "
            f"{mean:.3f} of the source's (geometric mean of {len(known)}); failed {failed}, wrong {wrongs}"
        )
        if t != "convcore" and "convcore" in args.tools:
            ours, theirs = (sum(r[x]["cpu"] for r in both) for x in ("convcore", t))
            print(f"  convcore's CPU: {ours / theirs:.3f} of it, in the {len(both)} files that no tool fails at")
        for line in said[t].splitlines():
            if ".onnx: " in line:
                print(f"  {line}")
    if "convcore" in args.tools:
        for t in (t for t in args.tools if t != "convcore"):
            more = [
                f"{r['file']} ({r['convcore']['nodes']} beside {r[t]['nodes']})"
                for r in rows
                if r["convcore"]["nodes"] > r[t]["nodes"]
            ]
            print(f"more nodes than {t} in {len(more)} of {len(rows)}: {', '.join(more)}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

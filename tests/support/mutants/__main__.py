"""Whether the tests notice changes to the source.

    python -m tests.support.mutants watch [TESTS ...]     which test runs which line (all fast tests, or those named; goes on)
    python -m tests.support.mutants run --seed 7          200 changes, each against some tests; goes on where it stopped
    python -m tests.support.mutants report --seed 7       what was noticed and what was not
    python -m tests.support.mutants refusals [core ...]   refusals that no test reaches

The sample takes as many of each kind from core and each plugin (``sites.py``). mypy looks first, as in ``make test``
(``typed.py``); the tests of a change are those that run its line, the likeliest first, then its neighbours', up to ``--budget``
seconds (``choose.py``). Noticed is what a test fails with and passes without.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.support.mutants.choose import tests_for
from tests.support.mutants.equivalent import EQUIVALENT
from tests.support.mutants.reach import PLACE, Reach, watch
from tests.support.mutants.runs import OPTIONS, InPlace, Runs, anew, die_with_parent, judge, preload
from tests.support.mutants.sites import KINDS, PARTS, Mutant, mutants_of, part_of, refuses, sample, texts
from tests.support.mutants.typed import Types


def main() -> int:
    p = argparse.ArgumentParser(description="Whether the tests notice changes to the source.")
    p.add_argument("do", choices=("watch", "run", "report", "refusals"))
    p.add_argument("names", nargs="*", help="tests to watch; files and folders to change or to look for refusals in")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--count", type=int, default=200)
    p.add_argument("--kind", default="", help=f"one of {', '.join(KINDS)}")
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--anew", action="store_true", help="forget what was seen of tests that have run before")
    p.add_argument("--budget", type=float, default=40, help="seconds of tests for each change, by their recorded time")
    args = p.parse_intermixed_args()
    if args.do == "watch":
        return watch(args.names, args.jobs, args.anew)
    if not (PLACE / "tests.json").exists() and args.do != "report" and (code := watch([], args.jobs)) > 1:
        return code
    if args.do == "refusals":
        return refusals(args.names)
    every = [m for path, text in texts(args.names).items() for m in mutants_of(path, text) if args.kind in ("", m.kind)]
    chosen = sample(every, args.seed, args.count)
    words = "-".join(["seed", str(args.seed), *(n.replace("/", ".") for n in args.names), *filter(None, [args.kind])])
    short = words if len(words) < 200 else f"{words[:150]}-{zlib.crc32(words.encode()):08x}"
    results = PLACE / f"{short}.jsonl"
    if args.do == "run":
        run_all(chosen, results, args.jobs, args.budget)
    return report(chosen, results)


def key_of(m: Mutant) -> str:
    return json.dumps([*m.key, m.start])


def known(results: Path) -> dict[str, tuple[str, str, int]]:
    """Verdict, reason and number of tests by change."""
    lines = results.read_text("utf-8").splitlines() if results.exists() else []
    found = {d["key"]: (d["verdict"], d["by"], d["tests"]) for d in map(json.loads, lines)}
    return {k: v for k, v in found.items() if v[0] != "unknown"}


def run_all(chosen: list[Mutant], results: Path, jobs: int, budget: float) -> None:
    """Judges what has no verdict yet, a line of ``results`` each: in place, then anew what runs while modules are imported."""
    done = known(results)
    reach, text = Reach(), texts()
    todo = [m for m in chosen if key_of(m) not in done]
    tests = {key_of(m): tests_for(m, reach, budget) for m in sorted(todo, key=lambda m: m.path)}  # a file after the other
    plans = {key_of(m): (m, tests[key_of(m)]) for m in todo}
    outside = {
        k
        for k, (m, _) in plans.items()
        if not m.inside or "/written" in m.path or reach.ran_while_imported(m.path, m.first, m.last)
    }  # read as text, too
    missed: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="convcore-mutants-") as f:
        folder = Path(f)
        with Types(folder) as types:
            for key, (m, _) in list(plans.items()):
                if why := _refused(m, text[m.path], types):
                    _note(results, m, "noticed", why, 0)
                    del plans[key]
        preload(folder)

        def each(keys: list[str], runs: Runs, known: set[str] | None) -> None:
            """Judges changes, ``jobs`` at a time."""
            running: dict[int, str] = {}
            while keys or running:
                while keys and len(running) < jobs:
                    key = keys.pop(0)
                    m, given = plans[key]
                    if pid := os.fork():
                        running[pid] = key
                        continue
                    status = 1
                    try:
                        die_with_parent()
                        given = [t for t in given if known is None or t in known]
                        verdict = _one(m, text[m.path], given, reach, runs, folder)
                        if verdict[0] == "missed" and known is not None and key in outside:
                            status = 2
                        else:
                            _note(results, m, *verdict, len(given))
                            status = 0
                    finally:
                        os._exit(status)
                pid, status = os.wait()
                key = running.pop(pid)
                if os.waitstatus_to_exitcode(status) == 2:
                    missed.add(key)
                elif status:
                    print(f"a process ended with {status}: {plans[key][0]}", file=sys.stderr)

        here = {k for k, (m, _) in plans.items() if m.inside or m.kind == "default"}
        pid = os.fork()
        if pid == 0:
            try:
                die_with_parent()
                files = sorted({t.split("::")[0] for k in here for t in plans[k][1]})
                then = partial(_in_place, each, [k for k in plans if k in here])
                if files:
                    pytest.main([*OPTIONS, *files], plugins=[InPlace(folder, then)])
                (folder / "missed").write_text(json.dumps(sorted(missed)), encoding="utf-8")
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        missed.update(json.loads((folder / "missed").read_text("utf-8")))
        each([k for k in plans if k not in here or k in missed], anew(folder), None)


def _in_place(each: Callable[[list[str], Runs, set[str]], None], keys: list[str], runs: Runs, known: set[str]) -> None:
    each(keys, runs, known)


def _refused(m: Mutant, text: bytes, types: Types) -> str:
    """Why the change is not even run: it does not compile, or ``make test`` ends before its tests, with mypy."""
    changed = m.apply(text)
    try:
        compile(changed, m.path, "exec")
    except SyntaxError:
        return "it does not compile"
    said = types.told(m.path, changed)
    return f"types: {said}" if said else ""


def _one(m: Mutant, text: bytes, tests: list[str], reach: Reach, runs: Runs, folder: Path) -> tuple[str, str]:
    """The verdict on one change; the tests of three files first."""
    if not tests:
        return "missed", "no test runs it"
    noted = folder / "broken.json"
    broken = set(json.loads(noted.read_text("utf-8"))) if noted.exists() else set()
    before = set(broken)
    files = list(dict.fromkeys(t.split("::")[0] for t in tests))
    early = [t for f in files[:3] for t in tests if t.split("::")[0] == f][:40]
    late = [t for f in files for t in tests if t.split("::")[0] == f and t not in set(early)]
    stages = [(group, 30 + 5 * sum(reach.seconds.get(t, 1.0) for t in group)) for group in (early, late) if group]
    found = judge(m, text, stages, runs, broken)
    if broken != before:
        noted.write_text(json.dumps(sorted(broken)), encoding="utf-8")
    return found


def _note(results: Path, m: Mutant, verdict: str, by: str, tests: int) -> None:
    with results.open("a", encoding="utf-8") as f:
        f.write(json.dumps({"key": key_of(m), "verdict": verdict, "by": by, "tests": tests, "at": str(m)}) + "\n")


def report(chosen: list[Mutant], results: Path) -> int:
    """Prints what nobody noticed, then the counts by part and by kind."""
    done = known(results)
    counts: Counter[tuple[str, str]] = Counter()
    for m in chosen:
        verdict, by, tests = done.get(key_of(m), ("open", "", 0))
        if verdict == "missed" and m.key in EQUIVALENT:
            verdict, by = "equivalent", EQUIVALENT[m.key]
        counts.update([(verdict, "all"), (verdict, part_of(m.path)), (verdict, m.kind)])
        if verdict == "noticed" and not tests:
            counts.update([("typed", "all"), ("typed", part_of(m.path)), ("typed", m.kind)])
        if verdict in ("missed", "unknown", "equivalent"):
            print(f"{verdict}: {m} ({by or f'{tests} tests'})\n    {m.statement[:150]}")
    for group in ("all", *PARTS, *KINDS):
        noticed, missed = counts["noticed", group], counts["missed", group]
        if total := noticed + missed:
            same = f", {counts['equivalent', group]} change nothing" if counts["equivalent", group] else ""
            left = sum(counts[v, group] for v in ("open", "unknown"))
            typed = f", {counts['typed', group]} of them by mypy" if counts["typed", group] else ""
            share = f"{group}: {noticed} of {total} noticed ({100 * noticed / total:.0f} %)"
            print(f"{share}{typed}{same}{f', {left} open' if left else ''}")
    return 0


def refusals(folders: list[str]) -> int:
    """Prints the refusals whose lines no test ran, then the counts; those by ``require`` run either way and are not counted."""
    reach, found, missed = Reach(), Counter[str](), Counter[str]()
    for path, text in texts(folders).items():
        ran = reach.ran(path)
        for node in ast.walk(ast.parse(text)):
            if not refuses(node) or b".require(" in text.splitlines()[node.lineno - 1]:
                continue
            found[part_of(path)] += 1
            if ran.isdisjoint(range(node.lineno, (node.end_lineno or node.lineno) + 1)):
                missed[part_of(path)] += 1
                print(f"{path}:{node.lineno} {' '.join(ast.unparse(node).split())[:150]}")
    for part in PARTS:
        if found[part]:
            print(f"{part}: {found[part] - missed[part]} of {found[part]} reached")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m tests.fuzz``: COUNT mutants of each reader, no two equal, in children that are bounded and replaced.

What was stopped goes on. In the folder: ``READER.jsonl``, a line for each batch (counts, slowest, largest); ``faults/``, the
files of each fault with what was found; ``summary.json``, what all came to. Exit code 1 where there are faults.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from tests.fuzz.judge import RIGHT, Verdict
from tests.fuzz.readers import READERS, Seed, make
from tests.fuzz.worker import batch, preload

BATCH = 250


def main() -> int:
    p = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    p.add_argument("readers", nargs="*", help="all of them where none is named")
    p.add_argument("--count", type=int, default=20000)
    p.add_argument("--seed", default="", help="of which the same mutants are made again (default: the moment)")
    p.add_argument("--out", type=Path, default=Path("build/fuzz"))
    p.add_argument("--only", type=int, help="one mutant by its number; its files are kept in faults/")
    p.add_argument("--no-compare", action="store_true", help="read only")
    a = p.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    seed = a.seed or _last(a.out, a.count) or str(time.time_ns())
    folder = a.out / seed
    folder.mkdir(parents=True, exist_ok=True)
    (a.out / "last").write_text(seed, encoding="utf-8")
    for reader in a.readers or READERS:
        _reader(reader, seed, folder, a)
    return _summary(folder, seed, a.count)


def _last(out: Path, count: int) -> str:
    """The seed of the run that was stopped, if one was."""
    try:
        seed = (out / "last").read_text("utf-8")
        done = json.loads((out / seed / "summary.json").read_text("utf-8")) if (out / seed / "summary.json").exists() else {}
    except OSError:
        return ""
    return "" if done and all(r["mutants"] >= count for r in done["readers"].values()) else seed


def _reader(reader: str, seed: str, folder: Path, a: argparse.Namespace) -> None:
    made = folder / "seeds" / reader
    made.mkdir(parents=True, exist_ok=True)
    r = READERS[reader]
    seeds = [*r.seeds(made), *(r.more(made) if r.more else [])]
    preload(seeds)
    if a.only is not None:
        _keep(folder, reader, seed, seeds, a.only, next(batch(seeds, [(a.only, f"{reader}:{seed}:{a.only}")], not a.no_compare)))
        return
    log = folder / f"{reader}.jsonl"
    lines = [json.loads(x) for x in log.read_text("utf-8").splitlines()] if log.exists() else []
    seen = {h for line in lines for h in line.pop("hashes")}
    began, before = time.monotonic(), len(seen)
    total = Counter[str]()
    for line in lines:
        total.update(line["words"])
    first = lines[-1]["first"] + BATCH if lines else 0
    while len(seen) < a.count and first < 4 * a.count:  # of a small file few mutants differ
        row = _batch(reader, seed, folder, seeds, range(first, first + min(BATCH, a.count - len(seen))), seen, a)
        first += BATCH
        total.update(row["words"])
        with log.open("a", encoding="utf-8") as f:
            f.write(json.dumps(row) + "\n")
        each = (time.monotonic() - began) / max(1, len(seen) - before)
        words = ", ".join(f"{n} {w}" for w, n in total.most_common())
        left = each * (a.count - len(seen)) / 60
        print(f"{reader} {len(seen)}/{a.count} {words}; {each * 1e3:.1f} ms each, {left:.0f} min left", flush=True)


def _batch(
    reader: str, seed: str, folder: Path, seeds: list[Seed], numbers: range, seen: set[str], a: argparse.Namespace
) -> dict[str, Any]:
    """What the mutants of those numbers came to; ones that were made before count as ``equal``."""
    words, whys, kinds = Counter[str](), Counter[str](), Counter[str]()
    slowest: dict[str, Any] = {"s": 0.0}
    largest: dict[str, Any] = {"kb": 0}
    hashes: list[str] = []
    for row in batch(seeds, [(i, f"{reader}:{seed}:{i}") for i in numbers], not a.no_compare):
        if row["hash"] in seen:
            words["equal"] += 1
            continue
        seen.add(row["hash"])
        hashes.append(row["hash"])
        words[row["word"]] += 1
        if row["word"] in ("read", "known"):
            whys[row["why"][:100]] += 1
        slowest = max(slowest, {k: row[k] for k in ("s", "i", "seed")}, key=lambda x: x["s"])
        largest = max(largest, {k: row[k] for k in ("kb", "i", "seed")}, key=lambda x: x["kb"])
        if row["word"] not in RIGHT:
            kinds[Verdict(row["word"], row["why"], row["where"]).kind] += 1
            _keep(folder, reader, seed, seeds, row["i"], row)
    return {
        "first": numbers[0],
        "words": words,
        "whys": whys,
        "kinds": kinds,
        "slowest": slowest,
        "largest": largest,
        "hashes": hashes,
    }


def _keep(folder: Path, reader: str, seed: str, seeds: list[Seed], i: int, row: dict[str, Any]) -> None:
    """The files of a fault, made again, with what was found."""
    kept = folder / "faults" / f"{reader}-{i}"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    source, files = make(seeds, f"{reader}:{seed}:{i}", kept)
    row |= {"reader": reader, "run": seed, "source": [str(p) for p in source.files], "files": [p.name for p in files]}
    (kept / "row.json").write_text(json.dumps(row, indent=1), encoding="utf-8")


def _summary(folder: Path, seed: str, count: int) -> int:
    readers: dict[str, Any] = {}
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for log in sorted(folder.glob("*.jsonl")):
        lines = [json.loads(x) for x in log.read_text("utf-8").splitlines()]
        words, whys = Counter[str](), Counter[str]()
        for line in lines:
            words.update(line["words"])
            whys.update(line["whys"])
            kinds[log.stem].update(line["kinds"])
        readers[log.stem] = {
            "mutants": sum(words.values()) - words["equal"], "equal": words["equal"], "words": dict(words),
            "faults": sum(n for w, n in words.items() if w not in (*RIGHT, "equal")), "kinds": dict(kinds[log.stem]),
            "why": dict(whys.most_common()), "slowest": max((x["slowest"] for x in lines), key=lambda x: x["s"]),
            "largest": max((x["largest"] for x in lines), key=lambda x: x["kb"]),
        }  # fmt: skip
    (folder / "summary.json").write_text(
        json.dumps({"seed": seed, "count": count, "readers": readers}, indent=1), encoding="utf-8"
    )
    for name, r in readers.items():
        print(
            f"{name}: {r['words']}, slowest {r['slowest']['s']} s, largest {r['largest']['kb'] >> 10} MiB, faults {r['faults']}"
        )
        for kind, n in sorted(r["kinds"].items(), key=lambda x: -x[1]):
            print(f"    {n} x {kind}")
    print(folder / "summary.json")
    return 1 if any(r["faults"] for r in readers.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

"""Damaged files end in a ConvcoreError or a model, in every reader: never in another exception, a bug of ours, a long time, much
memory, or a model that computes something else.

``make test`` makes a few mutants a reader, always the same; ``make fuzz COUNT=20000`` makes many, of seeds of the moment (see
``python -m tests.fuzz --help``). The tests after that are of the fuzzer: it notices what it is there for.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.fuzz import judge, worker
from tests.fuzz.readers import READERS

COUNT = int(os.environ.get("CONVCORE_FUZZ", "") or 60)
forks = pytest.mark.skipif(sys.platform != "linux", reason="children are forked and looked at through /proc")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", READERS)
@forks
def test_damaged_files(reader: str, tmp_path: Path) -> None:
    pytest.importorskip(READERS[reader].package)
    if reader in ("pt", "pth", "safetensors", "pt2", "legacy"):
        pytest.importorskip("torch")
    seeds = READERS[reader].seeds(tmp_path)
    assert seeds
    worker.preload(seeds)
    rows = list(worker.batch(seeds, [(i, f"{reader}:7:{i}") for i in range(COUNT)]))
    assert [r["i"] for r in rows] == list(range(COUNT))
    assert not [r for r in rows if r["word"] not in judge.RIGHT]
    assert {r["word"] for r in rows} - {"refused"}  # some are read

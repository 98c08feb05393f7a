"""Three hundred small models with two workers and through a dask cluster of two processes; killed half-way and gone on with.

``pytest -m slow tests/fleet/test_many.py`` (some minutes); ``CONVCORE_MODELS=60`` for fewer,
``CONVCORE_LIMIT=600`` for seconds a model may take where the machine is busy.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import convcore

onnx = pytest.importorskip("onnx")
pytest.importorskip("convcore_onnx")
pytest.importorskip("convcore_caffe")
from onnx import TensorProto, helper, numpy_helper

pytestmark = pytest.mark.slow
COUNT = int(os.environ.get("CONVCORE_MODELS", "300"))
LIMIT = float(os.environ.get("CONVCORE_LIMIT", "30"))  # seconds for each model; more on a machine that is busy with other things


def fate(n: int) -> str:
    """10 in 100 are broken, 5 unsupported; one crashes a native library, one never ends."""
    if n in (3, 4):
        return ("crashed", "timeout")[n - 3]
    return "bad file" if n % 10 == 7 else "unsupported" if n % 20 == 9 else "ok"


def name_of(n: int) -> str:
    return f"m{n:03}" + {"crashed": ".boom", "timeout": ".boom"}.get(fate(n), ".onnx")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    for n in range(COUNT):
        path = folder / name_of(n)
        kind = fate(n)
        if kind in ("crashed", "timeout"):
            path.write_text({"crashed": "crash", "timeout": "hang"}[kind])
            continue
        rng = np.random.default_rng(n)
        sizes = [int(rng.integers(2, 12)) for _ in range(2 + n % 4)]
        nodes, weights, at = [], [], "x"
        for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
            weights.append(numpy_helper.from_array(rng.standard_normal((a, b)).astype(np.float32), f"w{i}"))
            nodes.append(helper.make_node("MatMul", [at, f"w{i}"], [f"m{i}"]))
            op, domain = ("Tanh", "") if kind != "unsupported" or i else ("Fancy", "com.nobody")
            nodes.append(helper.make_node(op, [f"m{i}"], [f"r{i}"], domain=domain))
            at = f"r{i}"
        io = [helper.make_tensor_value_info(v, TensorProto.FLOAT, ["n", s]) for v, s in (("x", sizes[0]), (at, sizes[-1]))]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.nobody", 1)]
        model = helper.make_model(helper.make_graph(nodes, f"g{n}", io[:1], io[1:], weights), opset_imports=opsets, ir_version=8)
        data = model.SerializeToString()
        path.write_bytes(data[: len(data) // 2] if kind == "bad file" else data)
    return folder


def check_rows(rows: list[dict]) -> None:
    assert {Path(r["source"]).name: r["status"] for r in rows} == {name_of(n): fate(n) for n in range(COUNT)}


def command(many: Path, out: Path, *more: object) -> list[str]:
    return [sys.executable, "-m", "convcore", "batch", f"{many}/*", "--to", "caffe", "--out", str(out), *map(str, more)]


def test_two_workers_killed_half_way(many, tmp_path, boom):
    """Every row is right, and what was finished when the run was killed is not done twice."""
    out = tmp_path / "out"
    ledger = out / "convcore-batch.jsonl"
    run = subprocess.Popen(
        command(many, out, "--workers", 2, "--timeout", 2 * LIMIT), env=boom, stderr=subprocess.DEVNULL, text=True
    )
    until = time.monotonic() + 3600
    while not (ledger.is_file() and ledger.read_bytes().count(b"\n") >= COUNT // 2):
        assert run.poll() is None and time.monotonic() < until
        time.sleep(0.2)
    run.send_signal(signal.SIGKILL)
    run.wait()
    before = {json.loads(x)["source"] for x in ledger.read_text().splitlines() if x.endswith("}")}
    args = command(many, out, "--workers", 2, "--timeout", LIMIT, "--report", "json")
    done = subprocess.run(args, env=boom, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 1, done.stderr[-2000:]
    data = json.loads(done.stdout)
    check_rows(data["models"])
    times = Counter(json.loads(x)["source"] for x in ledger.read_text().splitlines() if x.endswith("}"))
    assert set(times.values()) == {1} and len(times) == COUNT and before < set(times)
    assert data["missing"] == [
        {**data["missing"][0], "type": "com.nobody.Fancy", "models": sum(fate(n) == "unsupported" for n in range(COUNT))}
    ]
    assert {p.suffix for p in out.iterdir()} == {".prototxt", ".caffemodel", ".jsonl", ".html", ".json", ".csv"}


def test_a_cluster(many, tmp_path, boom, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("PYTHONPATH", boom["PYTHONPATH"])
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as c:
        done = convcore.batch(f"{many}/*", "caffe", tmp_path / "out", scheduler=c.scheduler_address, timeout=LIMIT)
    check_rows([{"source": r.source, "status": r.status} for r in done.rows])
    assert done.converted_now == COUNT


def test_two_workers_do_more_than_one(tmp_path):
    """Throughput of models that compute, in turns, on a machine with two idle cores; ``CONVCORE_BUSY=1`` measures on a busy one,
    where what else runs takes its share of both."""
    if (os.cpu_count() or 1) < 2 or (os.getloadavg()[0] > 1.5 and not os.environ.get("CONVCORE_BUSY")):
        pytest.skip("needs two idle cores")
    sources = [_chain(tmp_path / f"m{n}.onnx", n) for n in range(10)]
    seconds = {1: 0.0, 2: 0.0}
    for turn in range(3):
        for workers in (1, 2) if turn % 2 else (2, 1):
            start = time.monotonic()
            done = convcore.batch(sources, "caffe", tmp_path / f"{turn}-{workers}", workers=workers)
            seconds[workers] += time.monotonic() - start
            assert done.ok
    print(f"load {os.getloadavg()[0]:.1f}, seconds {seconds}, ratio {seconds[1] / seconds[2]:.2f}")
    assert seconds[1] / seconds[2] >= 1.7, seconds


def _chain(path: Path, seed: int) -> Path:
    """40 products of 256 x 256."""
    rng = np.random.default_rng(seed)
    nodes, weights, at = [], [], "x"
    for i in range(40):
        weights.append(numpy_helper.from_array((rng.standard_normal((256, 256)) * 0.08).astype(np.float32), f"w{i}"))
        nodes += [helper.make_node("MatMul", [at, f"w{i}"], [f"m{i}"]), helper.make_node("Tanh", [f"m{i}"], [f"r{i}"])]
        at = f"r{i}"
    io = [helper.make_tensor_value_info(v, TensorProto.FLOAT, ["n", 256]) for v in ("x", at)]
    g = helper.make_graph(nodes, "chain", io[:1], io[1:], weights)
    onnx.save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path

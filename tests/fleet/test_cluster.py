"""A batch on a dask cluster of two processes, each with one thread: rows are right, a killed run goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import convcore
from convcore.errors import UsageError

pytest.importorskip("convcore_keras")
pytest.importorskip("convcore_onnx")
distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as c:
        yield c


def test_rows_from_a_cluster(models, tmp_path, cluster, boom):
    """What dies there is a row; its workers live on. convcore-boom is not installed there, so its files are no models."""
    (models / "hang.boom").unlink()
    out = tmp_path / "out"
    patterns = [models / "*.*", models / "deep/*"]
    done = convcore.batch(patterns, "onnx", out, scheduler=cluster.scheduler_address)
    assert {Path(r.source).name: r.status for r in done.rows} == {
        "good.hdf5": "ok", "custom.json": "unsupported", **dict.fromkeys(["damaged.keras", "bug.boom", "crash.boom"], "bad file"),
        **dict.fromkeys(["eat.boom", "exit.boom"], "bad file"),
    }  # fmt: skip
    assert (out / "good.onnx").is_file() and done.converted_now == 7
    assert convcore.batch(patterns, "onnx", out, scheduler=cluster.scheduler_address).converted_now == 0
    assert convcore.batch(patterns, "onnx", out).converted_now == 0  # nor here
    assert convcore.batch(
        models / "good.hdf5", "onnx", tmp_path / "o", scheduler=cluster.scheduler_address, timeout=0.2
    ).counts == {"timeout": 1}


def test_no_scheduler_there(models, tmp_path):
    with pytest.raises(UsageError, match=r"scheduler tcp://127\.0\.0\.1:9"):
        convcore.batch(models / "good.hdf5", "onnx", tmp_path, scheduler="tcp://127.0.0.1:9")


def test_the_command_names_a_scheduler(models, tmp_path, cluster):
    command = [sys.executable, "-m", "convcore", "batch", str(models / "good.hdf5"), "--to", "onnx", "--out", str(tmp_path / "o")]
    done = subprocess.run([*command, "--scheduler", cluster.scheduler_address], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "1 ok" in done.stdout, done.stderr

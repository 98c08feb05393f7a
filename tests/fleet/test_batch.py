"""Many models at once: every fate is a row, a killed run goes on, nothing is done twice."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import convcore
from convcore import fleet, provenance
from convcore.cli import main
from convcore.cli.fleet import size
from convcore.errors import FrameworkMissingError, UsageError
from convcore.fleet import places
from convcore.fleet.ledger import opened
from convcore.fleet.task import Limits, Row, Task
from convcore.fleet.work import convert_one

pytest.importorskip("convcore_keras")
pytest.importorskip("convcore_onnx")

FATES = {
    "good.hdf5": "ok", "custom.json": "unsupported", "damaged.keras": "bad file", "crash.boom": "crashed",
    "eat.boom": "out of memory", "bug.boom": "bug", "exit.boom": "crashed",
}  # fmt: skip


@pytest.fixture
def in_boom(boom, monkeypatch):
    """Children find convcore-boom; this process does not, and so must plan by given patterns."""
    monkeypatch.setenv("PYTHONPATH", boom["PYTHONPATH"])


def statuses(batch: fleet.Batch, root: Path) -> dict[str, str]:
    return {str(Path(r.source).relative_to(root)): r.status for r in batch.rows}


def test_every_fate_is_a_row(models, tmp_path, in_boom):
    out = tmp_path / "out"
    told = []
    kw = {"workers": 2, "progress": lambda row, n, of: told.append((row.status, n, of))}
    done = fleet.batch([models / "hang.boom"], "onnx", out, timeout=3, **kw)
    assert done.rows[0].status == "timeout" and "3 s" in done.rows[0].message and 3 <= done.rows[0].seconds < 60
    (models / "hang.boom").unlink()
    del told[:]
    done = fleet.batch([models / "*.*", models / "deep/*"], "onnx", out, memory=1 << 30, timeout=300, **kw)
    found = {Path(r.source).name: r for r in done.rows}
    assert {n: r.status for n, r in found.items()} == FATES
    assert [n for _, n, _ in told] == [*range(1, 8)] and {of for *_, of in told} == {7}
    assert "SIGSEGV" in found["crash.boom"].message or "Segmentation fault" in found["crash.boom"].message
    assert "exit code 7" in found["exit.boom"].message
    assert "convcore-boom" in found["bug.boom"].message and "nobody foresaw this" in found["bug.boom"].message
    assert found["good.hdf5"].files == [str(out / "good.onnx")] and found["good.hdf5"].parameters == 58_423
    assert found["good.hdf5"].cpu > 0 and found["good.hdf5"].peak > 1 << 20 and found["good.hdf5"].max_rel < 1e-4
    assert [p["type"] for p in found["custom.json"].problems] == ["AttentionWeightedAverage"]
    assert [(m.type, m.models, m.alone) for m in done.missing] == [("AttentionWeightedAverage", 1, 1)]
    assert not done.ok and done.counts["ok"] == 1 and done.counts["crashed"] == 2
    data = json.loads((out / "report.json").read_text())
    assert data["counts"] == done.counts and len(data["models"]) == 7
    rows = list(csv.DictReader((out / "report.csv").open()))
    assert [r["status"] for r in rows] == [r.status for r in done.rows]
    page = (out / "report.html").read_text()
    assert all(Path(r.source).name in page for r in done.rows) and "http" not in page.replace("http-equiv", "")
    assert sorted(p.name for p in out.iterdir()) == [
        "convcore-batch.jsonl",
        "good.onnx",
        "report.csv",
        "report.html",
        "report.json",
    ]
    assert "AttentionWeightedAverage" in str(done) and "crashed" in str(done)


def test_what_is_finished_is_not_done_again(models, tmp_path):
    source = models / "good.hdf5"
    out = tmp_path / "out"
    first = convcore.batch(source, "onnx", out)
    made = (out / "good.onnx").stat().st_mtime_ns
    again = convcore.batch([source, models / "damaged.keras"], "onnx", out)
    assert first.converted_now == 1 and again.converted_now == 1 and (out / "good.onnx").stat().st_mtime_ns == made
    assert "1 of them finished before" in str(again)
    assert convcore.batch([source, models / "damaged.keras"], "onnx", out, again=["bad file"]).converted_now == 1
    assert convcore.batch(source, "onnx", out, opset=17).converted_now == 1  # another option is another task
    (out / "good.onnx").unlink()
    assert convcore.batch(source, "onnx", out).converted_now == 1  # what it gave is gone
    os.utime(source, ns=(1, 1))
    assert convcore.batch(source, "onnx", out).converted_now == 1  # the source is another
    assert convcore.batch(source, "onnx", out, again=["all"]).converted_now == 1


def test_a_part_of_a_source_is_another(tmp_path):
    """External data has a name that only the ONNX file knows: when it changes or goes, the model is done again."""
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    weight = numpy_helper.from_array(np.arange(770, dtype="f4").reshape(7, 110), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", 1, ["n", 7])], [helper.make_tensor_value_info("y", 1, ["n", 110])], [weight],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, tmp_path / "m.onnx", save_as_external_data=True, location="elsewhere.bin", size_threshold=0)
    run = {"to": "caffe", "out": tmp_path / "o", "workers": 1}
    (row,) = convcore.batch(tmp_path / "m.onnx", **run).rows
    assert row.ok and {Path(p).name for p in row.read} == {"m.onnx", "elsewhere.bin"}
    assert convcore.batch(tmp_path / "m.onnx", **run).converted_now == 0
    data = tmp_path / "elsewhere.bin"
    data.write_bytes(data.read_bytes()[::-1])
    assert convcore.batch(tmp_path / "m.onnx", **run).converted_now == 1
    data.unlink()
    (row,) = convcore.batch(tmp_path / "m.onnx", **run).rows
    assert row.status == "bad file" and "elsewhere.bin" in row.message


def test_a_killed_run_goes_on(models, tmp_path, boom):
    """SIGKILL of the whole run: its children die too, what was finished stays, the rest is done by the next."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "convcore", "batch", f"{models}/*.*", "--to", "onnx", "--out", str(out), "--workers", "2"]
    command += ["--memory", "1G"]
    run = subprocess.Popen([*command, "--timeout", "0"], env=boom, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ledger = out / "convcore-batch.jsonl"
    until = time.monotonic() + 240
    while not (ledger.is_file() and len(ledger.read_bytes().splitlines()) == 6) and time.monotonic() < until:
        time.sleep(0.1)
    (hung,) = children(run.pid)
    run.send_signal(signal.SIGKILL)
    run.wait()
    while b"fleet.child" in cmdline(hung):
        assert time.monotonic() < until
        time.sleep(0.1)
    done = subprocess.run([*command, "--timeout", "3", "--report", "json"], env=boom, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    found = {Path(m["source"]).name: m["status"] for m in json.loads(done.stdout)["models"]}
    assert found == {n: s for n, s in FATES.items() if n != "custom.json"} | {"hang.boom": "timeout"}
    lines = [json.loads(line)["source"] for line in ledger.read_text().splitlines()]
    assert len(lines) == len(set(lines)) == 7 and done.stderr.count("hang.boom") == done.stderr.count("\n") == 1


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    tasks = Path(f"/proc/{pid}/task")
    if not path.exists():
        pytest.skip("no /proc")
    return [int(c) for t in tasks.iterdir() for c in (t / "children").read_text().split()]


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_a_line_cut_off_is_no_row(tmp_path):
    path = tmp_path / "l.jsonl"
    path.write_text('{"source": "a", "status": "ok", "key": "1"}\n{"source": "b", "sta')
    with opened(path) as ledger:
        assert ledger.rows == {"1": Row("a", "ok", key="1")}
        ledger.add(Row("c", "timeout", key="3"))
        with pytest.raises(UsageError, match="another batch is at work"), opened(path):
            pass
    with opened(path) as ledger:
        assert [*ledger.rows] == ["1", "3"]


@pytest.mark.parametrize("given, why", [
    ({"hub": True}, "one by one"),
    ({"workers": 0}, "at least one"), ({"timeout": -1}, "no time"), ({"again": ["slow"]}, "statuses are"),
    ({"to": "tflite"}, "unknown"),
    ({"sources": "nothing/*.h5"}, "no file has such a name"), ({"sources": "nothing.h5"}, "no such file"),
])  # fmt: skip
def test_wrong_calls(models, tmp_path, given, why):
    kw = {"sources": models / "good.hdf5", "to": "onnx", "out": tmp_path / "out", **given}
    with pytest.raises(UsageError, match=why):
        convcore.batch(kw.pop("sources"), kw.pop("to"), kw.pop("out"), **kw)
    assert not (tmp_path / "out").exists()


def test_a_file_where_the_folder_is_meant(models, tmp_path):
    with pytest.raises(UsageError, match="cannot be made a folder"):
        convcore.batch(models / "good.hdf5", "onnx", models / "good.hdf5")


def test_names_of_results(models, tmp_path):
    """A folder means what plugins read; weights go with their architecture; equal names keep their suffixes."""
    from convcore.fleet.plan import plan

    (models / "good.h5").write_bytes(b"")
    (models / "notes.txt").write_text("no model")
    tasks = plan([str(models)], "onnx", "out", {})
    assert {Path(t.source).name: (t.out, Path(t.weights).name) for t in tasks} == {
        "damaged.keras": ("out/damaged.onnx", ""), "custom.json": ("out/deep/custom.onnx", "custom.weights.h5"),
        "good.h5": ("out/good.h5.onnx", ""), "good.hdf5": ("out/good.hdf5.onnx", ""),
    }  # fmt: skip
    (models / "deep/good.h5").write_bytes(b"")
    with pytest.raises(UsageError, match=r"several sources would be written as .*good"):
        plan([str(models / "good.h5"), str(models / "deep/good.h5")], "onnx", "out", {})


def test_weights_that_no_pattern_means_count_too(models):
    """They are read with their architecture: where they change, it is another task."""
    from convcore.fleet.plan import plan

    one = plan([str(models / "deep/*.json")], "onnx", "out", {})
    assert Path(one[0].weights).name == "custom.weights.h5" and len(one) == 1
    os.utime(models / "deep/custom.weights.h5", ns=(1, 1))
    assert plan([str(models / "deep/*.json")], "onnx", "out", {})[0].key != one[0].key


def test_files_that_options_name_count_too(models):
    """Labels, the source of custom layers: where one changes, or a file in a folder of them, it is another task."""
    from convcore.fleet.plan import plan

    labels, code = models / "labels.txt", models / "code"
    labels.write_text("a\n")
    (code / "deep").mkdir(parents=True)
    (code / "deep/layer.py").write_text("x = 1\n")
    keys = []

    def key() -> str:
        options = {"labels": str(labels), "custom": [str(code), "no such file"], "opset": 17, "flat": None}
        keys.append(plan([str(models / "good.hdf5")], "onnx", "out", options)[0].key)
        return keys[-1]

    assert key() == key()
    os.utime(labels, ns=(1, 1))
    assert key() not in keys[:-1]
    (code / "deep/layer.py").write_text("x = 22\n")
    assert key() not in keys[:-1]
    (code / "other.py").write_text("")
    assert key() not in keys[:-1]
    (code / "other.pyc").write_text("")  # that running made, which reading does not look at
    assert key() == keys[-2] and len(set(keys)) == 4


def test_a_report_of_each_model(models, tmp_path):
    """Beside the result, also of one that is refused or no model; a page where the model was read; links on the batch's page."""
    out = tmp_path / "out"
    patterns = [models / "good.hdf5", models / "deep/custom.json", models / "damaged.keras"]
    done = convcore.batch(patterns, "onnx", out, each=["json", "html"], reports=tmp_path / "r")
    told = {Path(r.source).name: [Path(p).name for p in r.reports] for r in done.rows}
    assert told == {
        "good.hdf5": ["good.onnx.html", "good.onnx.report.json"], "custom.json": ["custom.onnx.html", "custom.onnx.report.json"],
        "damaged.keras": ["damaged.onnx.report.json"],
    }  # fmt: skip
    assert json.loads((out / "good.onnx.report.json").read_text())["verdict"] == "ok"
    refused = json.loads((out / "custom.onnx.report.json").read_text())
    assert refused["ok"] is False and refused["problems"][0]["code"] == "custom_layer"
    assert json.loads((out / "damaged.onnx.report.json").read_text())["status"] == "bad file"
    assert "custom.onnx.html" not in [Path(f).name for r in done.rows for f in r.files]
    page = (tmp_path / "r/report.html").read_text()
    links = re.findall(r'href="([^"]+)"', page)
    assert len(links) == 5 and all((tmp_path / "r" / x).is_file() for x in links)
    assert convcore.batch(patterns, "onnx", out, each=["html", "json"], reports=tmp_path / "r").converted_now == 0
    (out / "good.onnx.html").unlink()
    assert convcore.batch(patterns, "onnx", out, each=["json", "html"], reports=tmp_path / "r").converted_now == 1
    with pytest.raises(UsageError, match="each=csv: reports are json and html"):
        convcore.batch(patterns, "onnx", out, each=["csv"])


def test_sizes():
    assert [size(t) for t in ("512M", "4G", "2GiB", "1.5k", "100")] == [512 * 10**6, 4 * 10**9, 2 << 30, 1500, 100]
    assert [size(t) for t in ("3T", "3TiB", "5MiB", "7KiB")] == [3 * 10**12, 3 << 40, 5 << 20, 7 << 10]
    for bad in ("", "4X", "-1", "0", "M"):
        with pytest.raises(UsageError, match="write a size"):
            size(bad)


def test_without_fsspec_or_dask(models, tmp_path, monkeypatch):
    for name in ("fsspec", "fsspec.core", "distributed"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(FrameworkMissingError, match="pip install fsspec"):
        convcore.batch("s3://bucket/*.onnx", "keras", tmp_path)
    with pytest.raises(FrameworkMissingError, match=r"convcore\[dask\]"):
        convcore.batch(models / "good.hdf5", "onnx", tmp_path / "o", scheduler="tcp://127.0.0.1:1")


def test_a_url_fetched_and_sent(models, tmp_path):
    """fsspec's own local file system, by URL: sources are copied, results sent where they belong."""
    pytest.importorskip("fsspec")
    done = convcore.batch(f"file://{models}/deep/*", "keras", f"file://{tmp_path}/far", reports=tmp_path / "r")
    (row,) = done.rows
    assert row.status == "unsupported" and row.source.endswith("deep/custom.json"), row
    done = convcore.batch(
        f"file://{models}/good.hdf5", "caffe", f"file://{tmp_path}/far", reports=tmp_path / "r", io_layout="target"
    )
    (row,) = done.rows
    assert row.status == "ok" and [f.rsplit("/", 1)[1] for f in row.files] == ["good.prototxt", "good.caffemodel"], row
    assert convcore.load(tmp_path / "far/good.prototxt").num_params == 58_423  # its weights are found beside it


def test_a_part_behind_a_url_is_another(models, tmp_path):
    """What lies beside a source behind a URL under a name that begins with its own is part of it, and nothing else is."""
    pytest.importorskip("fsspec")
    source, far = models / "good.hdf5", f"file://{models}/good.hdf5"
    before = places.stamp(far)
    assert places.stamp(far) == before
    (models / "goodness.txt").write_text("another file")
    assert places.stamp(far) == before
    part = models / "good.hdf5.data"
    part.write_text("weights")
    with_part = places.stamp(far)
    part.write_text("other weights")
    assert len({before, with_part, places.stamp(far)}) == 3
    part.unlink()
    assert places.stamp(far) == before
    os.utime(source, ns=(1, 1))
    assert places.stamp(far) != before


def test_what_is_here_is_kept_though_the_source_was_fetched(models, tmp_path, monkeypatch):
    """A copy is no source: its URL is, without a password."""
    pytest.importorskip("fsspec")
    monkeypatch.setenv("CONVCORE_STATE", str(tmp_path / "state"))
    run = {"to": "onnx", "out": tmp_path / "o", "again": ["all"], "check": False, "overwrite": False}
    (tmp_path / "o").mkdir()
    (tmp_path / "o/good.onnx").write_bytes(b"mine")
    (row,) = convcore.batch(f"file://{models}/good.hdf5", **run).rows
    assert row.status == "usage" and "good.onnx is there already" in row.message, row
    assert (tmp_path / "o/good.onnx").read_bytes() == b"mine"
    (tmp_path / "o/good.onnx").unlink()
    for opset in (18, 17):
        (row,) = convcore.batch(f"file://{models}/good.hdf5", **run, opset=opset).rows
        assert row.status == "unverified", row
    (entry,) = (tmp_path / "state").iterdir()
    assert json.loads(entry.read_text())["source"] == [f"file://{models}/good.hdf5"]
    provenance.fetched("/copy", "ftp://someone:secret@host/a@b.onnx")
    assert provenance.sources_of(Path(os.path.realpath("/copy"))) == ["ftp://host/a@b.onnx"]


@pytest.fixture
def server(tmp_path):
    """An FTP server of this machine: its folder, and its URL."""
    pytest.importorskip("pyftpdlib")
    pytest.importorskip("fsspec")
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import ThreadedFTPServer

    far = tmp_path / "far"
    far.mkdir()
    users = DummyAuthorizer()
    users.add_user("someone", "secret", str(far), perm="elradfmwMT")
    handler = type("Handler", (FTPHandler,), {"authorizer": users})
    with ThreadedFTPServer(("127.0.0.1", 0), handler) as ftp:
        thread = threading.Thread(target=ftp.serve_forever, kwargs={"timeout": 0.05}, daemon=True)
        thread.start()
        yield far, f"ftp://someone:secret@127.0.0.1:{ftp.address[1]}"
        ftp.close_all()
        thread.join(10)


def test_a_real_server(models, tmp_path, server):
    """Sources are found by a pattern and fetched, weights beside them too; results and reports are sent; nothing is done twice,
    what changed there is done again; a server that is gone is a row."""
    far, url = server
    shutil.copytree(models / "deep", far / "models/deep")
    shutil.copy(models / "good.hdf5", far / "models/deep/good.hdf5")
    run = {"reports": tmp_path / "r", "each": ["json"], "workers": 1, "io_layout": "target"}
    done = convcore.batch(f"{url}/models/deep/*", "caffe", f"{url}/results/new", **run)
    assert {r.source.rpartition("/")[2]: r.status for r in done.rows} == {"custom.json": "unsupported", "good.hdf5": "ok"}
    (good,) = (r for r in done.rows if r.ok)
    assert sorted(p.name for p in (far / "results/new").iterdir()) == [
        "custom.prototxt.report.json", "good.caffemodel", "good.prototxt", "good.prototxt.report.json",
    ]  # fmt: skip
    assert all(f.startswith("ftp://") for f in (*good.files, *good.reports))
    assert convcore.load(far / "results/new/good.prototxt").num_params == 58_423
    assert places.matches(f"{url}/models/") == (f"{url}/models", [f"{url}/models/deep/{n}" for n in (
        "custom.json", "custom.weights.h5", "good.hdf5")])  # fmt: skip
    assert convcore.batch(f"{url}/models/deep/*", "caffe", f"{url}/results/new", **run).converted_now == 0
    with (far / "models/deep/good.hdf5").open("ab") as f:
        f.write(b"x")
    assert convcore.batch(f"{url}/models/deep/*", "caffe", f"{url}/results/new", **run).converted_now == 1
    with pytest.raises(UsageError, match="no such file"):
        convcore.batch(f"{url}/models/none.onnx", "caffe", tmp_path / "x")


def test_one_by_itself(models, tmp_path):
    row = convert_one(Task(str(models / "good.hdf5"), str(tmp_path / "a/b/good.onnx"), "onnx"), Limits())
    assert row.status == "ok" and (tmp_path / "a/b/good.onnx").is_file()
    assert (
        convert_one(Task(str(models / "good.hdf5"), str(tmp_path / "x.onnx"), "onnx", options={"opset": "many"}), Limits()).status
        == "usage"
    )
    row = convert_one(Task(str(models / "good.hdf5"), str(tmp_path / "y.onnx"), "onnx", options={"check": False}), Limits())
    assert row.status == "unverified" and row.message == "the check was left out (check=False)" and row.max_rel is None


def test_the_command(models, tmp_path, capsys):
    args = ["batch", str(models / "good.hdf5"), "--to", "onnx", "--out", str(tmp_path / "o")]
    assert main(args) == 0
    out, err = capsys.readouterr()
    assert "1 model to onnx: 1 ok" in out and "report.html" in out and "[1/1] ok" in err
    assert main([*args, "--memory", "lots"]) == 2
    assert main(["batch", str(models / "damaged.keras"), "--to", "onnx", "--out", str(tmp_path / "o"), "--report", "none"]) == 1

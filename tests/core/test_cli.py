"""The command line: what it prints, what it writes, its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.support.keras_files import nameless_functions

from convcore.cli import main

DATA = Path(__file__).parents[1] / "data"
ERAS = DATA / "keras_eras"
SEQ = str(ERAS / "tf213/seq_cnn.keras")


def _run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    try:
        code = main([str(a) for a in args])
    except SystemExit as e:
        code = int(e.code or 0)
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.fixture
def x(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", np.load(ERAS / "tf213/seq_cnn.io.npz")["in0"])
    return tmp_path / "x.npy"


def test_version_and_help(capsys: pytest.CaptureFixture[str]):
    code, out, _ = _run(capsys, "--version")
    assert code == 0 and out.startswith("convcore ")
    code, out, _ = _run(capsys, "--help")
    assert code == 0 and all(
        c in out for c in ("convert", "check", "inspect", "run", "verify", "plugins", "ops", "rules", "exit codes")
    )
    code, out, _ = _run(capsys, "convert", "--help")
    assert code == 0 and all(
        f in out for f in ("--opset", "--io-layout", "--input-shape", "--no-check", "--report", "--from", "--to")
    )


def test_convert(capsys: pytest.CaptureFixture[str], tmp_path: Path, x: Path):
    code, out, err = _run(capsys, "convert", SEQ, "-o", tmp_path / "m.onnx")
    assert code == 0 and "verified" in out and err == ""
    code, out, _ = _run(capsys, "convert", SEQ, "-o", tmp_path / "n.onnx", "--opset", 15, "--report", "json", "--input", x)
    assert code == 0 and json.loads(out)["verification"]["done"]
    import onnx

    assert onnx.load(tmp_path / "n.onnx").opset_import[0].version == 15
    code, out, _ = _run(capsys, "convert", SEQ, "-o", tmp_path / "o.onnx", "--no-check", "--report", "none")
    assert code == 0 and out == ""
    code, out, _ = _run(
        capsys,
        "convert",
        ERAS / "tf213/seq_cnn.json",
        "-w",
        ERAS / "tf213/seq_cnn.weights.h5",
        "--to",
        "onnx",
        "-o",
        tmp_path / "p.onnx",
    )
    assert code == 0
    code, out, _ = _run(capsys, "verify", tmp_path / "m.onnx", tmp_path / "p.onnx")
    assert code == 0


def test_input_shape(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    import onnx

    import convcore

    t = convcore.load(SEQ).inputs[0]
    shape = ",".join(["3", *map(str, t.shape[1:])])
    code, _, _ = _run(capsys, "convert", SEQ, "-o", tmp_path / "m.onnx", "--input-shape", f"{t.name}:{shape}")
    assert code == 0
    assert onnx.load(tmp_path / "m.onnx").graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3
    code, _, err = _run(capsys, "convert", SEQ, "-o", tmp_path / "n.onnx", "--input-shape", "nonsense")
    assert code == 2 and "name:batch" in err


def test_exit_codes(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    (tmp_path / "bad.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 50)
    target = tmp_path / "m.onnx"
    assert _run(capsys, "convert", tmp_path / "none.h5", "-o", target)[0] == 2
    assert _run(capsys, "convert", SEQ)[0] == 2
    assert _run(capsys, "convert", SEQ, "-o", target, "--bogus")[0] == 2
    assert _run(capsys, "convert", SEQ, "-o", target, "--opset", 999)[0] == 2
    assert _run(capsys, "convert", SEQ, "-o", tmp_path)[0] == 2
    assert _run(capsys, "convert", tmp_path / "bad.h5", "-o", target)[0] == 3
    unknown = nameless_functions(tmp_path / "unknown.keras")
    code, _, err = _run(capsys, "convert", unknown, "-o", target)
    assert code == 4 and err.count("Lambda") > 1 and "Traceback" not in err
    assert sorted(os.listdir(tmp_path)) == ["bad.h5", "unknown.keras"]
    code, out, _ = _run(capsys, "convert", unknown, "-o", target, "--report", "json")
    assert code == 4 and json.loads(out)["problems"][0]["layer"]


def test_check(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    code, out, _ = _run(capsys, "check", SEQ, "--to", "onnx")
    assert code == 0 and "nothing" in out
    code, out, _ = _run(capsys, "check", nameless_functions(tmp_path / "u.keras"), "--to", "onnx", "--report", "json")
    assert code == 4 and len(json.loads(out)["problems"]) > 1


def test_inspect(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    code, out, _ = _run(capsys, "inspect", SEQ)
    assert code == 0 and "sequential" in out and "2.13" in out and "Conv2D" in out
    code, out, _ = _run(capsys, "inspect", SEQ, "--json")
    data = json.loads(out)
    assert data["kind"] == "sequential" and data["parameters"] > 0 and data["layers"][0]["type"] == "Conv2D"
    code, out, _ = _run(capsys, "inspect", SEQ, "--ir")
    assert code == 0 and "= conv(" in out
    code, out, _ = _run(capsys, "inspect", nameless_functions(tmp_path / "u.keras"))
    assert code == 0 and "cannot convert" in out


def test_run(capsys: pytest.CaptureFixture[str], tmp_path: Path, x: Path):
    want = np.load(ERAS / "tf213/seq_cnn.io.npz")["out0"]
    assert _run(capsys, "run", SEQ, "--input", x, "-o", tmp_path / "y.npy")[0] == 0
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), want, atol=1e-5)
    assert _run(capsys, "run", SEQ, "--input", x, "-o", tmp_path / "y.npz")[0] == 0
    code, out, _ = _run(capsys, "run", SEQ, "--input", x)
    assert code == 0 and "float32" in out
    import convcore

    model = convcore.load(SEQ)
    layer = model.layers[1].name
    assert _run(capsys, "run", SEQ, "--input", f"{model.inputs[0].name}={x}", "--until", layer, "-o", tmp_path / "z.npz")[0] == 0
    z = np.load(tmp_path / "z.npz")
    np.testing.assert_array_equal(z[z.files[0]], model[layer](np.load(x)))
    for bad in (["--until", "nope"], ["-o", tmp_path / "y.txt"], ["-o", tmp_path / "none/y.npy"]):
        assert _run(capsys, "run", SEQ, "--input", x, *bad)[0] == 2
    assert _run(capsys, "run", SEQ, "--input", tmp_path / "none.npy")[0] == 2
    (tmp_path / "bad.npy").write_bytes(b"garbage")
    assert _run(capsys, "run", SEQ, "--input", tmp_path / "bad.npy")[0] == 2


def test_verify_mismatch(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    import onnx
    from onnx import numpy_helper

    _run(capsys, "convert", SEQ, "-o", tmp_path / "m.onnx")
    assert _run(capsys, "verify", SEQ, tmp_path / "m.onnx")[0] == 0
    model = onnx.load(tmp_path / "m.onnx")
    w = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    w.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(w) + np.float32(0.5), w.name))
    onnx.save(model, tmp_path / "n.onnx")
    code, out, err = _run(capsys, "verify", SEQ, tmp_path / "n.onnx")
    assert code == 5 and "DIFFERS" in out and "differ" in err


def test_tables(capsys: pytest.CaptureFixture[str]):
    code, out, _ = _run(capsys, "plugins")
    assert code == 0 and "convcore-keras" in out and "convcore-onnx" in out and "BROKEN" not in out
    code, out, _ = _run(capsys, "plugins", "--json")
    assert code == 0 and {p["name"] for p in json.loads(out)} >= {"keras", "onnx"}
    code, out, _ = _run(capsys, "ops")
    assert code == 0 and "conv" in out
    code, out, _ = _run(capsys, "ops", "conv", "--json")
    assert json.loads(out)[0]["attributes"]["groups"]["default"] == 1
    assert _run(capsys, "ops", "convv")[0] == 2
    code, out, _ = _run(capsys, "rules", "--framework", "onnx")
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()[1:]}
    assert code == 0 and lines["LeakyRelu"] == ["load+emit", "leaky_relu"] and lines["Dropout"][0] == "load"
    (by_code,) = [line for line in out.splitlines() if line.startswith("  (by code) ")]
    assert "emit" in by_code and "conv_transpose" in by_code
    code, out, _ = _run(capsys, "rules", "--json")
    rules = json.loads(out)
    assert any(r.get("foreign") == "Dense" for r in rules["keras"]) and all(
        "distribution" in r for rs in rules.values() for r in rs
    )


def test_the_collector_rests_in_a_process_of_its_own(capsys: pytest.CaptureFixture[str]):
    """A command that is the process neither searches nor takes apart what it made; called by a program it changes nothing."""
    import gc

    before = gc.get_threshold(), gc.get_freeze_count()
    assert _run(capsys, "plugins")[0] == 0
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
    code = (
        "import gc, sys; sys.argv = ['convcore', 'plugins']; from convcore.cli import main; main()\n"
        "print(gc.get_threshold()[0], gc.get_freeze_count() > 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "500000 True"


def test_a_conversion_imports_what_it_uses(tmp_path: Path):
    """A plain model without a check: no random numbers, no rules that look for attention."""
    code = (
        "import sys, convcore; convcore.convert(sys.argv[1], out=sys.argv[2], check=False)\n"
        "print(*(m for m in sys.modules if m == 'numpy.random' or m.startswith('convcore.rewrite.')))"
    )
    done = subprocess.run([sys.executable, "-c", code, SEQ, tmp_path / "m.onnx"], capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert not found & {"numpy.random", *(f"convcore.rewrite.{m}" for m in ("attention", "layers", "norms", "simplify"))}, found


def test_identifying_a_file_imports_no_other_reader():
    """What the frameworks look at a file with is small: their readers, rules and writers stay where they are."""
    code = f"import sys; from convcore.host import host; print(host().identify({SEQ!r}), *sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out[0] == "keras" and "convcore_keras.files.sniff" in out
    heavy = (".reader", ".write", ".checkpoint", ".script", ".rules")
    assert not [m for m in out if m.split(".")[0] in ("torch", "onnx") or (m.startswith("convcore_") and m.endswith(heavy))]


def test_a_refused_hdf5_file_ends_with_its_exit_code(tmp_path: Path):
    """What an exception holds is let go while h5py still lives: the process would die of it after its message."""
    h5py = pytest.importorskip("h5py")
    source = tmp_path / "virtual.h5"
    dense = {"name": "d", "units": 2, "batch_input_shape": [None, 3], "activation": "linear"}
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [{"class_name": "Dense", "config": dense}]}}
    with h5py.File(source, "w") as f:
        f.attrs["model_config"] = json.dumps(config)
        f.attrs["keras_version"] = "2.4.0"
        group = f.create_group("model_weights/d")
        f["model_weights"].attrs["layer_names"] = [b"d"]
        group.attrs["weight_names"] = [b"d/kernel:0"]
        layout = h5py.VirtualLayout((3, 2), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "x", (3, 2))
        group.create_virtual_dataset("d/kernel:0", layout)
    for command in (["inspect", source], ["convert", source, "-o", tmp_path / "m.onnx"]):
        done = subprocess.run([sys.executable, "-m", "convcore", *command], capture_output=True, text=True)
        assert "is virtual" in done.stderr and done.returncode == 3, done.returncode


_LEAVING = """
import atexit, sys, threading, time
def slow():
    time.sleep(0.3)
    print("a thread ended")
atexit.register(print, "asked to be called")
sys.argv = ["convcore", *sys.argv[1:]]
{}
from convcore.cli import command
try:
    command()
except SystemExit as e:
    print("as any does:", e.code)
    raise
"""


@pytest.mark.parametrize(
    "before, told",
    [
        ("", []),
        ("threading.Thread(target=slow).start()", ["as any does: 0", "a thread ended"]),
        ("sys.setprofile(lambda *a: None)", ["as any does: 0"]),
        ("sys.settrace(lambda *a: None)", ["as any does: 0"]),
    ],
)
def test_the_process_ends_at_once_where_nobody_would_notice(before: str, told: list[str]):
    done = subprocess.run(
        [sys.executable, "-c", _LEAVING.format(before), "--version"], capture_output=True, text=True, check=True
    )
    first, *rest = done.stdout.splitlines()
    assert first.startswith("convcore ")
    assert rest == [*told, "asked to be called"]


def test_the_process_ends_with_the_exit_code_of_its_command():
    done = subprocess.run([sys.executable, "-m", "convcore", "convert", "nothing.onnx"], capture_output=True, text=True)
    assert done.returncode == 2 and "name the output file" in done.stderr
    done = subprocess.run([sys.executable, "-X", "dev", "-c", _LEAVING.format(""), "--version"], capture_output=True, text=True)
    assert done.stdout.splitlines()[1:] == ["as any does: 0", "asked to be called"]


_RUNS = """
import runpy, sys
sys.argv = ["convcore", "--version"]
try:
    runpy.run_module("convcore", run_name="__main__")
finally:
    print("and goes on")
"""


@pytest.mark.parametrize(
    "how, last",
    [
        (["-c", _RUNS], "and goes on"),
        (["-c", "import sys\ndef run():\n    try: command()\n    finally: print('and goes on')\n"
          "from convcore.cli import command\nsys.argv = ['convcore', '--version']\nrun()"], "and goes on"),
        (["-m", "trace", "--count", "-C", ".", "--module", "convcore", "--version"], ""),
        (["-i", "-m", "convcore", "--version"], "and goes on"),
    ],
    ids=["run by a script", "called by a function", "traced", "asks for more"],
)  # fmt: skip
def test_whoever_runs_the_command_in_his_process_goes_on(how: list[str], last: str, tmp_path: Path):
    """Profilers of Python 3.12 and later watch without ``sys.setprofile``: what they print comes after the command."""
    done = subprocess.run([sys.executable, *how], input="print('and goes on')", capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("convcore ")
    assert done.stdout.rstrip().endswith(last) and (last or list(tmp_path.glob("*.cover")))


def test_what_a_replaced_stream_left_is_written():
    code = (
        "import io, sys\nprint('kept')\nsys.stdout = io.StringIO()\nsys.argv = ['convcore', '--version']\n"
        "from convcore.cli import command\ncommand()"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "kept\n"

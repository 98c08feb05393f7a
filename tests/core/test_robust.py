"""Nothing breaks the command: the last resort, odd names and streams, signals, what killed runs leave, links, full disks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.cli import main
from convcore.cli.console import printable
from convcore.errors import NativeCrashError, OutputError, UsageError
from convcore.output import check_output, staging, when_full, writing

onnx = pytest.importorskip("onnx")
from onnx import helper

posix = pytest.mark.skipif(os.name != "posix", reason="signals and locks of POSIX")
DATA = Path(__file__).parents[1] / "data"
COMMAND = [sys.executable, "-m", "convcore"]


def small(path: Path, name: str = "n", width: int = 3) -> Path:
    """A Relu behind a Gemm of ``width`` x ``width`` weights."""
    x, y = (helper.make_tensor_value_info(n, 1, ["b", width]) for n in "xy")
    nodes = [helper.make_node("Gemm", ["x", "w"], ["h"], name="g"), helper.make_node("Relu", ["h"], ["y"], name=name)]
    w = onnx.numpy_helper.from_array(np.random.default_rng(0).normal(size=(width, width)).astype(np.float32), "w")
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y], [w]), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


def command(*args: object, cwd: Path, **more: Any) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path), **more.pop("env", {})}
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.run([*COMMAND, *map(str, args)], cwd=cwd, env=env, timeout=120, **more)


# ---------------------------------------------------------------- the last resort
def test_whatever_is_raised_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The distribution whose code raised it and the layer at work are named; the traceback only with CONVCORE_DEBUG=1."""
    from convcore_onnx import emit

    def broken(request: Any) -> Any:
        for node in request.graph:
            assert node.origin
            return {}["nothing"]

    monkeypatch.setattr(emit, "emit", broken)
    source = small(tmp_path / "a.onnx")
    assert main(["convert", str(source), "-o", str(tmp_path / "b.onnx"), "--to", "onnx"]) == 70
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "Traceback" not in err and "KeyError: 'nothing'" in err and "convcore-onnx" in err
    assert os.listdir(tmp_path) == ["a.onnx"]


def test_a_bug_of_the_core_names_the_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    from convcore.cli import commands

    def broken(*args: Any, **options: Any) -> Any:
        node = convcore.load(args[0]).graph.nodes[1]
        raise ZeroDivisionError(f"of {node.op}")

    monkeypatch.setattr(commands, "load_model", broken)
    source = small(tmp_path / "a.onnx", "second")
    assert main(["inspect", str(source)]) == 70
    err = capsys.readouterr().err
    assert err.startswith("convcore: a bug in convcore: ") and "'second' (Relu)" in err and "ZeroDivisionError: of relu" in err
    monkeypatch.setenv("CONVCORE_DEBUG", "1")
    assert main(["inspect", str(source)]) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "text"), [(MemoryError(), "not enough memory"), (OSError(5, "Input/output error", "m"), "m: Input")]
)
def test_what_is_no_bug_of_anybody(
    error: BaseException, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from convcore.cli import commands

    def fails(*args: Any, **options: Any) -> Any:
        raise error

    monkeypatch.setattr(commands, "load_model", fails)
    assert main(["inspect", str(small(tmp_path / "a.onnx"))]) == 1
    assert text in capsys.readouterr().err


# ---------------------------------------------------------------- names and streams
def test_escape_sequences_are_never_printed_raw(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = small(tmp_path / "a.onnx", "\x1b[2Jgone\r\u202e\x9b31m\x07")
    for args in (
        ["inspect"],
        ["inspect", "--ir"],
        ["inspect", "--json"],
        ["check", "--to", "caffe"],
        ["convert", "-o", tmp_path / "b.onnx"],
    ):
        main([args[0], str(source), *map(str, args[1:])])
        said = capsys.readouterr()
        assert not set("\x1b\r\u202e\x9b\x07") & set(said.out + said.err), args
    assert printable("a\tb\n\x1b[0mü") == "a\tb\n\\x1b[0mü"


def test_names_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = small(tmp_path / "a.onnx")
    for name in ("n" * 300 + ".onnx", "a\0b.onnx", "a.onnx/b.onnx"):
        assert main(["convert", str(source), "-o", str(tmp_path / name)]) == 2, name
        assert main(["inspect", str(tmp_path / name)]) == 2, name
        assert "Traceback" not in capsys.readouterr().err
    with pytest.raises(OutputError, match="too long"):
        check_output(tmp_path / ("n" * 300))
    with pytest.raises(UsageError, match="too long"):
        convcore.load(tmp_path / ("n" * 300))
    long = "n" * 245 + ".onnx"
    assert main(["convert", str(source), "-o", str(tmp_path / long)]) == 0, "a name of 250 bytes is one"
    assert main(["convert", str(source), "-o", str(tmp_path / ("n" * 250 + ".onnx")), "--external-data", "always"]) in (0, 2)
    assert not [n for n in os.listdir(tmp_path) if n.startswith(".")]


@posix
def test_names_that_are_not_utf8(tmp_path: Path):
    source = small(tmp_path / os.fsdecode(b"a\xff.onnx"))
    target = tmp_path / os.fsdecode(b"b\xfe.onnx")
    done = command("convert", source, "-o", target, cwd=tmp_path)
    assert done.returncode == 0 and target.exists() and b"Traceback" not in done.stderr
    done = command("convert", source, "-o", target, "--external-data", "always", cwd=tmp_path)
    assert done.returncode == 2 and b"cannot be one" in done.stderr


@posix
def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "p.onnx")
    with pytest.raises(UsageError, match="no regular file"):
        convcore.load(tmp_path / "p.onnx")
    with pytest.raises(UsageError, match="no regular file"):
        convcore.load(small(tmp_path / "a.onnx"), tmp_path / "p.onnx")


@posix
@pytest.mark.parametrize("args", [["--version"], ["--help"], ["inspect"], ["convert", "-o", "b.onnx"]], ids=lambda a: a[0])
def test_streams_that_are_full_closed_or_ascii(args: list[str], tmp_path: Path):
    small(tmp_path / "a.onnx", "\u00fc\u0416\x1b")
    given = args if args[0].startswith("--") else [args[0], "a.onnx", *args[1:]]
    with open("/dev/full", "wb") as full:
        done = command(*given, cwd=tmp_path, stdout=full)
    assert done.returncode in (0, 2) and b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr
    if args[0] == "inspect":
        assert done.returncode == 2 and b"standard output cannot be written: No space left" in done.stderr
    done = command(*given, cwd=tmp_path, stdout=None, preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, b"")
    done = command(*given, cwd=tmp_path, env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert (done.returncode, done.stderr) == (0, b"")


# ---------------------------------------------------------------- what is unfinished
@posix
def test_left_overs_of_killed_runs_go_with_the_next(tmp_path: Path):
    code = "import os, sys, signal; from pathlib import Path; from convcore.output import staging\n"
    code += "with staging(Path(sys.argv[1])) as f:\n (f / 'half').write_text('x'); os.kill(os.getpid(), signal.SIGKILL)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=env)
    (left,) = os.listdir(tmp_path)
    (tmp_path / ".convcore-mine").mkdir()  # not a name that we make
    (tmp_path / ".convcore-abcdefgh").write_text("a file")
    with staging(tmp_path) as held, staging(tmp_path) as second:  # neither takes the other's, which is alive
        assert held.is_dir() and second.is_dir() and not (tmp_path / left).exists()
    assert sorted(os.listdir(tmp_path)) == [".convcore-abcdefgh", ".convcore-mine"]


@posix
@pytest.mark.parametrize("times", [4, pytest.param(30, marks=pytest.mark.slow)])
def test_kill_at_any_moment_leaves_nothing_half(times: int, tmp_path: Path):
    """kill -9 at random moments: under the final names is nothing, the old, or all of the new; the next run cleans up."""
    rng, begun = np.random.default_rng(7), 0
    source = small(tmp_path / "a.onnx", width=1409)
    target, data = tmp_path / "b.onnx", tmp_path / "b.onnx.data"
    args = [*COMMAND, "convert", str(source), "-o", str(target), "--external-data", "always", "--no-check"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
    start = time.monotonic()
    assert subprocess.run(args, env=env, capture_output=True).returncode == 0
    took, whole = time.monotonic() - start, (target.read_bytes(), data.read_bytes())
    for _ in range(times):
        target.unlink(missing_ok=True)
        data.unlink(missing_ok=True)
        process = subprocess.Popen(args, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(float(rng.uniform(took / 2, took)))
        process.kill()
        process.wait()
        begun += any(n.startswith(".convcore-") for n in os.listdir(tmp_path))
        assert not target.exists() or (target.read_bytes(), data.read_bytes()) == whole
        assert not data.exists() or data.read_bytes() == whole[1]
    assert subprocess.run(args, env=env, capture_output=True).returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["a.onnx", "b.onnx", "b.onnx.data"]
    assert times < 30 or begun, "no run was killed while it wrote"


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signals_clean_up(name: str, tmp_path: Path):
    code = "import signal, sys, time; from convcore import pipeline; from convcore.cli import main\n"
    handler = "default_int_handler" if name == "SIGINT" else "SIG_DFL"  # what nohup and background jobs ignore is inherited
    code += f"signal.signal(signal.{name}, signal.{handler})\n"
    code += "pipeline._verify = lambda job: (print('now', flush=True), time.sleep(60))\nsys.exit(main(sys.argv[1:]))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
    argv = [sys.executable, "-c", code, "convert", str(small(tmp_path / "a.onnx")), "-o", str(tmp_path / "b.onnx")]
    process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"now\n"
    assert len(os.listdir(tmp_path)) == 2
    process.send_signal(getattr(signal, name))
    err = process.communicate(timeout=60)[1]
    assert process.returncode == (130 if name == "SIGINT" else 128 + getattr(signal, name))
    assert err.count(b"\n") == 1 and os.listdir(tmp_path) == ["a.onnx"]


@posix
def test_a_link_stays_a_link(tmp_path: Path):
    source = small(tmp_path / "a.onnx")
    (tmp_path / "far").mkdir()
    for real in (tmp_path / "near.onnx", tmp_path / "far/real.onnx"):
        link = tmp_path / "link.onnx"
        link.symlink_to(real)
        for _ in range(2):  # what it leads to is made, then replaced
            convcore.convert(source, "onnx", link, check=False)
            assert link.is_symlink() and onnx.load(real).graph.node[1].op_type == "Relu" and not real.is_symlink()
            real.write_bytes(b"old")
        convcore.load(source).save(tmp_path / "m.ccir")
        link.unlink()
    link.symlink_to(tmp_path / "none/real.onnx")
    with pytest.raises(OutputError, match=r"folder .*none does not exist"):
        convcore.convert(source, "onnx", link)


@posix
def test_a_link_to_another_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import errno

    replace, refused = os.replace, []

    def across(a: Any, b: Any) -> None:
        if Path(a).parent.parent != Path(b).parent:
            refused.append(a)
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        replace(a, b)

    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far/real")
    monkeypatch.setattr(os, "replace", across)
    with writing(tmp_path / "link") as (unfinished,):
        unfinished.write_text("whole")
    assert refused and (tmp_path / "far/real").read_text() == "whole" and (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["far", "link"] and os.listdir(tmp_path / "far") == ["real"]


def _limited() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


@posix
@pytest.mark.parametrize("suffix", [".onnx", ".keras", ".h5", ".prototxt", ".py", ".pth", ".ccir"])
def test_no_space_is_blamed_on_the_target(suffix: str, tmp_path: Path):
    source = small(tmp_path / "a.onnx", width=1409)
    target = tmp_path / f"target{suffix}"
    more = ["--no-check", *(["--input-shape", "x:2,1409"] if suffix == ".prototxt" else [])]
    if suffix == ".ccir":
        code = "import sys, convcore; convcore.load(sys.argv[1]).save(sys.argv[2])"
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
        argv = [sys.executable, "-c", code, source, target]
        done = subprocess.run(argv, env=env, capture_output=True, preexec_fn=_limited)
        assert b"OutputError: cannot write" in done.stderr and target.name.encode() in done.stderr
    else:
        done = command("convert", source, "-o", target, *more, cwd=tmp_path, preexec_fn=_limited)
        assert done.returncode == 2 and done.stderr.count(b"\n") == 1 and f"{tmp_path}/target.".encode() in done.stderr
        assert b"File too large" in done.stderr
    assert os.listdir(tmp_path) == ["a.onnx"]


def test_what_is_the_folders_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import errno
    import shutil

    assert when_full(RuntimeError("bug"), tmp_path) == ""
    assert when_full(FileNotFoundError(errno.ENOENT, "no", "/elsewhere"), tmp_path) == ""
    assert when_full(OSError(errno.ENOSPC, "x"), tmp_path) == os.strerror(errno.ENOSPC)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 0})())
    assert when_full(RuntimeError("Unable to close file"), tmp_path) == os.strerror(errno.ENOSPC)


# ---------------------------------------------------------------- native libraries
@posix
def test_a_file_is_given_to_a_native_library_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """onnxruntime dies of this file by SIGFPE: that is an error, in a process of its own."""
    pytest.importorskip("onnxruntime")
    source = DATA / "hostile/onnx_stft_crash.onnx"
    done = convcore.convert(source, "onnx", tmp_path / "b.onnx")
    assert done.report.runtimes[0] == "convcore interpreter"
    with pytest.raises(NativeCrashError, match=r"onnx died of SIGFPE .*stft_crash"):
        convcore.convert(source, "onnx", tmp_path / "c.onnx", check="native")
    assert os.listdir(tmp_path) == ["b.onnx"]


@posix
def test_verify_runs_files_in_a_process_of_its_own(tmp_path: Path):
    """Both files are somebody's: the comparison must outlive what a native library dies of; two files share one process."""
    pytest.importorskip("onnxruntime")
    source = DATA / "hostile/onnx_stft_crash.onnx"
    with pytest.raises(NativeCrashError, match=r"onnx died of SIGFPE .*stft_crash"):
        convcore.verify(source, source)
    a, b = small(tmp_path / "a.onnx"), small(tmp_path / "b.onnx")
    report = convcore.verify(a, b)
    assert report.ok and all("its own process" in r for r in report.runtimes)


def test_files_of_one_framework_share_a_process(tmp_path: Path):
    pytest.importorskip("onnxruntime")
    from convcore.verification.child import Child, open_in_child

    children: dict[str, Child] = {}
    a, b = (open_in_child("onnx", small(tmp_path / f"{n}.onnx", width=w), None, children) for n, w in (("a", 3), ("b", 5)))
    assert list(children) == ["onnx"] and a is not None and b is not None
    assert [r.run([np.ones((2, n), np.float32)])[0].shape[0] for r, n in ((b, 5), (a, 3))] == [2, 2]


def test_the_process_apart_answers_as_the_runtime_does(tmp_path: Path):
    pytest.importorskip("onnxruntime")
    from convcore.host import host
    from convcore.verification.child import open_in_child

    source = small(tmp_path / "a.onnx")
    here, apart = host().runtime("onnx", source, None), open_in_child("onnx", source, None)
    assert here is not None and apart is not None
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    for runtime in (apart, apart.plain() if apart.plain is not None else apart):
        assert (runtime.inputs, runtime.outputs) == (here.inputs, here.outputs) and here.name in runtime.name
        np.testing.assert_array_equal(runtime.run([x])[0], here.run([x])[0])
    with pytest.raises(convcore.ConvcoreError, match="inputs expected"):
        apart.run([x, x])
    with pytest.raises(convcore.ConvcoreError, match="onnxruntime"):
        apart.run([x[:, :2]])
    report = convcore.convert(source, "onnx", tmp_path / "b.onnx", check="native").report
    assert report.verified and "its own process" in report.runtimes[0]


def test_arrays_between_the_processes(tmp_path: Path):
    import io

    from convcore.verification.child import _receive, _send

    stream = io.BytesIO()
    given = [
        np.array(True),
        np.arange(6, dtype=np.int16).reshape(3, 2).T,
        np.array([["a", "ü\n"]], object),
        np.zeros((0, 3), np.float16),
    ]
    _send(stream, {"run": 0}, given)
    stream.seek(0)
    head, got = _receive(stream)
    assert head == {"run": 0} and [g.shape for g in got] == [a.shape for a in given]
    assert all(np.array_equal(g, a) for g, a in zip(got, given))


def test_in_a_staging_folder_files_are_written_at_once(tmp_path: Path) -> None:
    """No second folder in it; what fails leaves nothing there, either."""
    with staging(tmp_path) as folder:
        with writing(folder / "a", folder / "b") as temps:
            assert temps == (folder / "a", folder / "b")
            temps[0].write_text("first")
            assert [p.name for p in folder.iterdir()] == ["a"]
        assert (folder / "a").read_text() == "first" and not (folder / "b").exists()
        with pytest.raises(OutputError, match="No space left"), writing(folder / "c", folder / "d") as temps:
            temps[1].write_text("half")
            raise OSError(28, "No space left on device")
        assert [p.name for p in folder.iterdir()] == ["a"]
        with writing(tmp_path / "out", folder / "e") as temps:  # one of them outside
            assert temps[0].parent not in (tmp_path, folder) and temps[1].parent != folder
            temps[0].write_text("x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]
    with writing(tmp_path / "later") as (temp,):  # a folder that is no staging folder any more
        assert temp.parent != tmp_path

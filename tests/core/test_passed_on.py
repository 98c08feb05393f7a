"""Errors that are passed on as they are: what stands between catches others, and tidies up."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from onnx import TensorProto, helper, save
from tests.core.test_host import _framework, _module, _point

import convcore
from convcore import output
from convcore.build.builder import Builder
from convcore.cli import console
from convcore.errors import (
    BadFileError,
    BrokenPluginError,
    MismatchError,
    OutputError,
    PluginConflictError,
    UnsupportedError,
    UsageError,
)
from convcore.host import Host
from convcore.ir.graph import Graph
from convcore.model import Model
from convcore.opset.axes import Elementwise
from convcore.opset.declare import OpSet
from convcore.rules import RuleSet
from convcore.rules.isomorphisms import NotExpressible


def relu(shape: Any = (2, 3)) -> Graph:
    g = Graph("g")
    b = Builder(g)
    g.outputs = [b.relu(b.input("x", "float32", shape))]
    return g


# ---- the host
def host(framework: dict[str, Any] | None = None, **functions: Any) -> Host:
    """A host of one plugin with a framework x."""
    more = framework or {}
    _module("fake_on", convcore_frameworks=lambda: [_framework("x", "dist-x", **more)], **functions)
    return Host(entry_points=[_point("x", "fake_on", "dist-x")])


@pytest.fixture(autouse=True)
def _clean() -> Any:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("fake_"):
            del sys.modules[name]


def reader(error: BaseException) -> Host:
    def convcore_load(framework: str, request: Any) -> Any:
        raise error

    return host(convcore_load=convcore_load)


def ran() -> Any:
    def convcore_runtime(framework: str, source: Any, weights: Any) -> Any:
        raise ZeroDivisionError("of the runtime")

    return host(convcore_runtime=convcore_runtime).runtime("x", None, None)


def described() -> Any:
    def convcore_rules(framework: str) -> Any:
        raise UsageError("nobody may ask")

    return host(convcore_rules=convcore_rules).rules("x")


def two_sets() -> Any:
    made = host(convcore_ops=lambda: ["fake_on:SET"])
    sys.modules["fake_on"].SET = OpSet("mine")  # type: ignore[attr-defined]
    sys.modules["fake_on"].SET.op("relu", "x", axes=Elementwise(), reference=lambda x: x)  # type: ignore[attr-defined]
    return made.load_ops()


HOSTS: dict[str, tuple[Callable[[], Any], type[BaseException], str]] = {
    "a reader's refusal": (lambda: reader(BadFileError("half a file")).load("x", None), BadFileError, "half a file"),
    "a reader's file": (lambda: reader(OSError(5, "no such device")).load("x", None), OSError, "no such device"),
    "a reader's memory": (lambda: reader(MemoryError("no more")).load("x", None), MemoryError, "no more"),
    "a runtime's own error": (ran, ZeroDivisionError, "of the runtime"),
    "what describes refuses": (described, UsageError, "nobody may ask"),
    "two sets of ops": (two_sets, PluginConflictError, "'relu'"),
    "rules that are not there": (
        lambda: host({"rules": "fake_on:NONE"}).rules("x"), BrokenPluginError, "cannot import fake_on:NONE"),
    "a dialect that is not there": (
        lambda: host({"dialect": "fake_on:NONE"}).dialect("x", None), BrokenPluginError, "cannot import fake_on:NONE"),
    "a convention that is not there": (
        lambda: host({"convention": "fake_on:NONE"}).convention("x"), BrokenPluginError, "cannot import fake_on:NONE"),
}  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.parametrize("what", HOSTS)
def test_the_host_passes_on(what: str) -> None:
    ask, error, why = HOSTS[what]
    with pytest.raises(error, match=why):
        ask()


# ---- rules
def test_writers_that_cannot_be_imported_are_asked_for_again() -> None:
    rules: RuleSet[Any, Any] = RuleSet("x", emits="fake_writers_that_are_not_there")
    merged = RuleSet.merged([rules])
    for asked in (rules, rules, merged, merged):
        with pytest.raises(ModuleNotFoundError, match="fake_writers"):
            _ = asked.emit_rules


def onnx_file(path: Path, op: str = "Relu", **attrs: Any) -> Path:
    node = helper.make_node(op, ["x"], ["y"], "mine", **attrs)
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in "xy")
    save(helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def told(error: BaseException) -> Callable[..., Any]:
    def override(g: Any, node: Any) -> Any:
        raise error

    return override


def test_what_overrides_raise(tmp_path: Path) -> None:
    """A refusal of the user's is one; a function that gives up leaves the layer to the rules."""
    path = onnx_file(tmp_path / "a.onnx")

    def asked(stage: str, error: BaseException) -> Any:
        given = {"Relu": told(error)} if stage == "load" else {"emit": {"relu": told(error)}}
        return convcore.convert(path, "onnx", tmp_path / "b.onnx", check=False, overrides=given)

    for stage in ("load", "emit"):
        with pytest.raises(UsageError, match=r"\Anot like this\Z"):
            asked(stage, UsageError("not like this"))
        with pytest.raises(UsageError, match=r"the override for .* failed at layer .*: ValueError: of mine"):
            asked(stage, ValueError("of mine"))
        assert asked(stage, NotExpressible("as it is")).paths


# ---- files
def test_publishing_fails_as_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(a: Any, b: Any) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "replace", replace)
    (tmp_path / "a").write_text("new")
    with pytest.raises(OSError, match="Permission denied"):
        output.publish(tmp_path / "a", tmp_path / "b")


def test_what_is_refused_leaves_nothing_but_its_page(tmp_path: Path) -> None:
    """Unfinished files in a folder of this process go at once; the page tells what was refused, and the error is passed on."""
    with output.staging(tmp_path) as folder:
        with pytest.raises(ZeroDivisionError), output.writing(folder / "a") as (path,):
            path.write_text("half")
            raise ZeroDivisionError
        assert not os.listdir(folder)
    g = Graph("g")
    g.outputs = [Builder(g).erf(Builder(g).input("x", "float32", (2, 3)))]
    with pytest.raises(UnsupportedError, match="erf"):
        convcore.convert(Model(g), "caffe", tmp_path / "m.prototxt", page=tmp_path / "p.html")
    assert os.listdir(tmp_path) == ["p.html"] and "erf" in (tmp_path / "p.html").read_text("utf-8")


def test_a_difference_is_told_on_the_page_and_raised(tmp_path: Path) -> None:
    def wrong(e: Any, node: Any) -> None:
        e.alias(node.output, node.inputs[0])

    with pytest.raises(MismatchError):
        convcore.convert(
            Model(relu()), "onnx", tmp_path / "m.onnx", page=tmp_path / "p.html", overrides={"emit": {"relu": wrong}}
        )
    assert os.listdir(tmp_path) == ["p.html"]


# ---- the command line
class Stream(io.StringIO):
    """A stream of which writing, or writing out, fails."""

    def __init__(self, error: OSError, late: bool = False) -> None:
        super().__init__()
        self.error, self.late = error, late

    def write(self, text: str) -> int:
        if not self.late:
            raise self.error
        return len(text)

    def flush(self) -> None:
        if self.late:
            raise self.error

    def fileno(self) -> int:
        return self.number

    number = -1


FULL, GONE = OSError(28, "No space left on device"), BrokenPipeError(32, "Broken pipe")
BROKEN: dict[OSError, Any] = {FULL: OutputError, GONE: BrokenPipeError}
WHY = {FULL: "standard output cannot be written: No space", GONE: "Broken pipe"}


@pytest.mark.parametrize("error", [FULL, GONE], ids=["full", "gone"])
@pytest.mark.parametrize("write", [console.say, console.show])
def test_a_stream_that_takes_nothing(error: OSError, write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Stream(error))
    with pytest.raises(BROKEN[error], match=WHY[error]):
        write("a result")


@pytest.mark.parametrize("error", [FULL, GONE], ids=["full", "gone"])
def test_a_stream_that_is_full_at_the_end(error: OSError, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The interpreter does not try again: what the stream's number stands for is the null device afterwards."""
    with (tmp_path / "out").open("w") as out:
        stream = Stream(error, late=True)
        stream.number = out.fileno()
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(BROKEN[error], match=WHY[error]):
            console.finish()
        out.write("late")
    assert (tmp_path / "out").read_text() == ""


def test_signals_end_the_block_and_are_given_back() -> None:
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        with pytest.raises(console.Terminated) as told, console.terminable():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGTERM)
            signal.sigtimedwait([], 1)
        assert told.value.number == signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_closed_streams_become_the_null_device(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = SimpleNamespace(dup2=lambda a, b: os.close(a), open=os.open, devnull=os.devnull, O_RDWR=os.O_RDWR)
    monkeypatch.setattr(console, "os", taken)
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    console.prepare()
    assert sys.stdin.read() == ""
    for stream in (sys.stdout, sys.stderr):
        assert stream.write("x") == 1 and not stream.readable()
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()


def test_what_a_terminal_would_obey() -> None:
    assert console.printable("a\tb\nc") == "a\tb\nc"
    assert console.printable("\x1b[2J\r\x9b\u202e\ud800") == "\\x1b[2J\\r\\x9b\\u202e\\ud800"
    assert console.peak().startswith(", peak memory ") and 5 < float(console.peak().split()[3]) < 1e6

"""What files, folders, batches, names and the types of values are refused for, at the limit and one past it."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import convcore
from convcore import beside
from convcore.beside import read_labels
from convcore.build.builder import Builder
from convcore.cli import main
from convcore.cli.code import overrides
from convcore.cli.fleet import size
from convcore.cli.new_plugin import new_plugin
from convcore.cli.unknown import write_stub
from convcore.errors import BadFileError, ConvcoreError, FrameworkMissingError, OutputError, ShapeError, UsageError
from convcore.fleet import batch
from convcore.fleet.plan import _names
from convcore.hub.folder import hub_target
from convcore.interpreter.execute import build_body
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph
from convcore.ir.tensors import as_tensor
from convcore.ir.text import parse_text
from convcore.model import Model
from convcore.ops.families import FAMILIES
from convcore.opset import op
from convcore.output import check_output
from convcore.paging import check_page

SEQ = str(Path(__file__).parents[1] / "data/keras_eras/tf213/seq_cnn.keras")


def relu() -> Graph:
    g = Graph("g")
    b = Builder(g)
    g.outputs = [b.relu(b.input("x", "float32", (2, 3)))]
    return g


def folder_with(path: Path, *names: str) -> Path:
    path.mkdir()
    for n in names:
        (path / n).write_text("own")
    return path


def sparse(path: Path, n: int) -> Path:
    """A file of n zeros, of which the disk holds none."""
    with path.open("wb") as f:
        f.truncate(n)
    return path


Case = tuple[Callable[[Path], Any], type[ConvcoreError], str]
REFUSED: dict[str, Case] = {
    "labels that are not there": (lambda p: read_labels(p / "no.txt"), UsageError, "no.txt: cannot be read: No such file"),
    "labels beyond the limit": (
        lambda p: read_labels(sparse(p / "a", beside._MOST + 1)),
        BadFileError,
        "of more than 16777216 bytes",
    ),
    "labels of another encoding": (
        lambda p: (p / "a").write_bytes(b"caf\xe9") and read_labels(p / "a"),
        BadFileError,
        "are not UTF-8",
    ),
    "a sequence of sequences": (lambda p: DType("sequence_float32").sequence, UsageError, "no sequences of sequence_float32"),
    "a sequence of what may be absent": (
        lambda p: DType("optional_float32").sequence,
        UsageError,
        "no sequences of optional_float32",
    ),
    "a weight mapped to another shape": (
        lambda p: as_tensor(np.ones((2, 3), "f4")).map(lambda a: a.T, (2, 3)).numpy(),
        ShapeError,
        r"declared float32\[2, 3\] but made float32\[3, 2\]",
    ),
    "a body of what has none": (lambda p: build_body(op("nms"), [], {}), ShapeError, "op nms has neither a reference nor a body"),
    "an override of no function": (
        lambda p: (p / "o.py").write_text("def mine(g, node): ...") and overrides([f"Dense={p / 'o.py'}:mein"]),
        UsageError,
        "o.py has no function 'mein' .did you mean",
    ),
    "an override without a function": (lambda p: overrides(["Dense=o.py"]), UsageError, "write NAME=FILE.py:FUNCTION"),
    "no size": (lambda p: size("512Q"), UsageError, "--memory 512Q: write a size"),
    "a size of nothing": (lambda p: size("0"), UsageError, "--memory 0: write a size"),
    "a plugin named by a digit": (
        lambda p: new_plugin("layer", "9x", p / "a"),
        UsageError,
        "'9x' cannot be the name of a plugin",
    ),
    "a plugin named by a keyword": (lambda p: new_plugin("layer", "class", p / "a"), UsageError, "'class' cannot be the name"),
    "a plugin of a taken op": (lambda p: new_plugin("layer", "Relu", p / "a"), UsageError, "there is an op 'relu' already"),
    "a plugin of a taken framework": (
        lambda p: new_plugin("framework", "onnx", p / "a"),
        UsageError,
        "there is a framework 'onnx' already",
    ),
    "a plugin over files": (lambda p: new_plugin("layer", "mine", folder_with(p / "a", "x")), OutputError, "a is there already"),
    "a plugin over a file": (
        lambda p: (p / "a").write_text("x") and new_plugin("layer", "mine", p / "a"),
        OutputError,
        "a is there already",
    ),
    "a stub of nothing": (lambda p: write_stub([], p / "a"), UsageError, "nothing that has no rule"),
    "a stub over files": (lambda p: write_stub([cast(Any, None)], folder_with(p / "a", "x")), OutputError, "a is there already"),
    "two sources of one name": (
        lambda p: _names(["a/m.h5", "b/m.h5"], {"a/m.h5": "a", "b/m.h5": "b"}, ".onnx"),
        UsageError,
        "written as m.h5.onnx",
    ),
    "no worker": (lambda p: batch(SEQ, "onnx", p / "o", workers=0), UsageError, "workers=0: at least one"),
    "no time": (lambda p: batch(SEQ, "onnx", p / "o", timeout=0), UsageError, "timeout=0 is no time"),
    "a report of another kind": (
        lambda p: batch(SEQ, "onnx", p / "o", each=["xml"]),
        UsageError,
        "each=xml: reports are json and html",
    ),
    "a status that is none": (lambda p: batch(SEQ, "onnx", p / "o", again=["odd"]), UsageError, "statuses are"),
    "a batch for the hub": (lambda p: batch(SEQ, "onnx", p / "o", hub=True), UsageError, "one by one"),
    "a hub without a folder": (
        lambda p: hub_target("keras", None, contextlib.ExitStack(), False),
        UsageError,
        "name the folder to write",
    ),
    "a hub over other files": (
        lambda p: hub_target("keras", folder_with(p / "a", "w", "x", "y", "z"), contextlib.ExitStack(), False),
        OutputError,
        r"a holds w, x, y \.\.\.: name a folder of its own",
    ),
    "a hub that is a file": (
        lambda p: (p / "a").write_text("x") and hub_target("keras", p / "a", contextlib.ExitStack(), True),
        OutputError,
        "cannot be made",
    ),
    "a folder for a file": (lambda p: check_output(p), OutputError, "is a folder; give the name of a file in it"),
    "a file in no folder": (lambda p: check_output(p / "no" / "a.onnx"), OutputError, "no does not exist"),
    "a page of another name": (lambda p: check_page(p / "a.txt"), OutputError, r"a\.txt: a page ends in \.html"),
    "no target": (lambda p: convcore.convert(Model(relu())), UsageError, "name the target: to='onnx'"),
    "a tolerance below 0": (
        lambda p: convcore.convert(Model(relu()), "onnx", p / "a.onnx", atol=-1e-9),
        UsageError,
        "is no tolerance",
    ),
    "a weight of other moves": (
        lambda p: parse_text(moved('[[3, 2], [["flip", [1, 0]]]]')),
        BadFileError,
        "expected a shape, and transposes",
    ),
    "a weight of more than moves": (
        lambda p: parse_text(moved("[[3, 2], [], 1]")),
        BadFileError,
        "expected a shape, and transposes",
    ),
    "a weight of a size below 0": (
        lambda p: parse_text(moved("[[-3, 2], []]")),
        BadFileError,
        "expected a shape, and transposes",
    ),
    "a weight that its moves do not make": (
        lambda p: parse_text(moved('[[2, 3], [["transpose", [1, 0]]]]')),
        BadFileError,
        "what it is made of gives",
    ),
}


def moved(of: str) -> str:
    """The text of a graph with a weight that is made of another by moves."""
    g = relu()
    g.add_weight("w", as_tensor(np.ones((2, 3), "f4")))
    b = Builder(g)
    g.outputs = [b.add(g.outputs[0], g.weights["w"])]
    lines = str(g).splitlines()
    return "\n".join(f'{line} "w" of {of}' if line.strip().startswith("weight %w") else line for line in lines)


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused(case: str, tmp_path: Path) -> None:
    call, error, why = REFUSED[case]
    with pytest.raises(error, match=why):
        call(tmp_path)


ALLOWED: dict[str, Callable[[Path], Any]] = {
    "labels at the limit": lambda p: read_labels(sparse(p / "a", beside._MOST)),
    "the smallest size": lambda p: size("1") == 1,
    "sizes by powers of ten and of two": lambda p: (
        [size(s) for s in ("2K", "2KiB", "1.5M", "4G")] == [2000, 2048, 1500000, 4 * 10**9]
    ),
    "a plugin in an empty folder": lambda p: new_plugin("layer", "mine-9", folder_with(p / "a")),
    "a hub in an empty folder": lambda p: hub_target("keras", folder_with(p / "a"), contextlib.ExitStack(), False),
    "a hub over other files, forced": lambda p: hub_target("keras", folder_with(p / "a", "x"), contextlib.ExitStack(), True),
    "names that a folder tells apart": lambda p: _names(
        ["a/x/m.h5", "a/y/m.h5"], dict.fromkeys(["a/x/m.h5", "a/y/m.h5"], "a"), ".onnx"
    ),
    "names that an ending tells apart": lambda p: (
        _names(["a/m.h5", "a/m.pt"], dict.fromkeys(["a/m.h5", "a/m.pt"], "a"), ".onnx") == ["m.h5.onnx", "m.pt.onnx"]
    ),
    "a page": lambda p: check_page(p / "a.HTM"),
    "moves that make it": lambda p: parse_text(moved('[[3, 2], [["transpose", [1, 0]]]]')),
    "a reshape that makes it": lambda p: parse_text(moved('[[6], [["reshape", [2, 3]]]]')),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_it_is_allowed(case: str, tmp_path: Path) -> None:
    assert ALLOWED[case](tmp_path)


@pytest.mark.parametrize(("there", "why"), [(None, r"need the package ml_dtypes"), (SimpleNamespace(), "need a newer version")])
def test_types_that_numpy_lacks(there: Any, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", there)
    with pytest.raises(UsageError, match=why):
        _ = DType.BFLOAT16.numpy
    assert DType.FLOAT32.numpy == np.float32


@pytest.mark.parametrize("module", ["fsspec.core", "distributed"])
def test_packages_that_are_not_there_are_named(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    if module == "distributed":
        monkeypatch.setitem(sys.modules, "dask.distributed", None)
        with pytest.raises(FrameworkMissingError, match=r"pip install 'convcore\[dask\]'"):
            batch(SEQ, "onnx", tmp_path / "o", scheduler="tcp://127.0.0.1:9")
    else:
        with pytest.raises(FrameworkMissingError, match="pip install fsspec"):
            batch("s3://bucket/m.h5", "onnx", tmp_path / "o")


CALLS: list[tuple[list[str], str]] = [
    (["convert", SEQ, "--hub", "--to", "onnx"], "--hub: name the folder to write (-o)"),
    (["convert", SEQ, "--to", "onnx", "--report", "text", "--report", "json"], "--report is given twice: text and json"),
    (["convert", SEQ, "--to", "onnx", "--report", "a.html", "--report", "b.html"], "--report is given twice: a.html and b.html"),
    (["convert", SEQ, "--to", "onnx", "--report", "a.txt"], "'a.txt' is none of text, json, none and no FILE.html"),
    (["convert", SEQ], "name the output file (-o) or the target format (--to)"),
    (["diff", SEQ, SEQ, "--entry", "x"], "--entry is for files that hold weights alone"),
    (["custom", SEQ, SEQ], "give one model file, or files and folders of Python source"),
    (["batch", SEQ, "--to", "onnx", "--out", "out", "--memory", "lots"], "--memory lots: write a size such as 512M or 4G"),
    (["batch", SEQ, "--to", "onnx", "--out", "out", "--timeout", "-1"], "--timeout -1 is no time"),
]


@pytest.mark.parametrize(("args", "why"), CALLS, ids=[" ".join(a[:1] + a[2:]) for a, _ in CALLS])
def test_calls(
    args: list[str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code: Any = None
    try:
        code = main(args)
    except SystemExit as e:
        code = e.code
    assert code == 2
    assert why in capsys.readouterr().err.replace("\n", " ")
    assert not list(tmp_path.iterdir())


# ---- overrides
def failing(g: Any, node: Any) -> Any:
    raise KeyError("mine")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"Dense": failing}, r"the override for 'Dense' failed at layer .*KeyError: 'mine'"),
        ({"Dense": lambda g, node: None}, "the override for 'Dense' returned None at layer"),
        ({"emit": {"relu": failing}}, r"the override for 'relu' failed at layer .*KeyError: 'mine'"),
        ({"emit": {"relu": lambda e, node: None}}, "the override for 'relu' wrote nothing for"),
    ],
)
def test_overrides_that_fail(given: dict[str, Any], why: str, tmp_path: Path) -> None:
    source = SEQ if "Dense" in given else Model(relu())
    with pytest.raises(UsageError, match=why):
        convcore.convert(source, "onnx", tmp_path / "a.onnx", overrides=given, check=False)
    assert not list(tmp_path.iterdir())


# ---- references of ops on what inference cannot see
OPS = {name: decl for family in FAMILIES for name, decl in family.ops.items()}


@pytest.mark.parametrize(
    ("name", "args", "attrs", "why"),
    [
        ("sequence_erase", [np.empty(0, object)], {}, "nothing to take out of an empty sequence"),
        ("sequence_concat", [np.empty(0, object)], {"axis": 0, "stack": False}, "an empty sequence has nothing to join"),
        (
            "string_normalize",
            [np.array(["Ä"], object)],
            {"case": "lower", "case_sensitive": True, "stopwords": ()},
            "letters beyond ASCII",
        ),
    ],
)
def test_references(name: str, args: list[Any], attrs: dict[str, Any], why: str) -> None:
    reference = OPS[name].reference
    assert reference is not None
    with pytest.raises((ValueError, IndexError), match=why):
        reference(*args, **attrs)


def test_the_report_of_a_call_is_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", SEQ, "-o", str(tmp_path / "a.onnx"), "--no-check", "--report", "json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_a_model_without_outputs_is_refused(tmp_path: Path) -> None:
    """Everywhere but where it is only looked at: runtimes refuse a file of it, and two of them are equal in nothing."""
    helper = pytest.importorskip("onnx.helper")
    graph = helper.make_graph([], "g", [helper.make_tensor_value_info("x", 1, ["n", 3])], [])
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    assert [t.name for t in convcore.load(path).inputs] == ["x"]
    for do in (
        lambda: convcore.convert(path, "onnx", tmp_path / "n.onnx"), lambda: convcore.check(path, "onnx"),
        lambda: convcore.convert(convcore.load(path), "onnx", tmp_path / "n.onnx"), lambda: convcore.verify(path, path),
    ):  # fmt: skip
        with pytest.raises(BadFileError, match=r"^m\.onnx: the model has no outputs"):
            do()
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]

"""What the core refuses, by its own words, each beside what it takes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.build.builder import Builder
from convcore.build.stored import complete_attributes
from convcore.cli import main
from convcore.cli.commands import _arrays
from convcore.cli.new_plugin import new_plugin
from convcore.discovery import discover
from convcore.errors import (
    BadFileError,
    BrokenPluginError,
    DeclarationError,
    FrameworkMissingError,
    InputError,
    OutputError,
    PluginConflictError,
    ShapeError,
    SourceChangedError,
    UsageError,
)
from convcore.files import Watch
from convcore.fleet.places import matches
from convcore.host import host
from convcore.interpreter import run
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph, Origin
from convcore.ir.parse_dims import parse_dim
from convcore.ir.printing import to_text
from convcore.ir.tensors import as_tensor
from convcore.ir.text import parse_text
from convcore.pipeline import default_out
from convcore.requirements import unmet
from convcore.rules.calls import Call
from convcore.rules.isomorphisms import NotExpressible
from convcore.rules.ruleset import RuleSet
from convcore.rules.words import A, W, reorder
from convcore.sources import split_source
from convcore.testing.rules import RecordingContext
from convcore.verification.sides import given_inputs

SEQ = Path(__file__).parents[1] / "data/keras_eras/tf213/seq_cnn.keras"


def graph(*shapes: Any, dtype: str = "float32") -> Graph:
    g = Graph("g")
    b = Builder(g)
    g.outputs = [b.relu(b.input(f"x{i}", dtype, s)) if dtype.startswith("f") else b.neg(b.input(f"x{i}", dtype, s))
                 for i, s in enumerate(shapes)]  # fmt: skip
    return g


def layered(n: int = 3) -> convcore.Model:
    """A model of n layers, one behind the other."""
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (2, 3))
    for i in range(n):
        scope = g.scope(f"l{i}", "ReLU")
        with b.at(Origin("t", f"l{i}", "ReLU"), scope):
            x = b.relu(x)
        g.set_results(scope, (x,))
    g.outputs = [x]
    return convcore.Model(g, "t")


def at_layer(act: Callable[[Builder], Any]) -> Any:
    b = Builder(Graph("g"))
    with b.at(Origin("t", "mine", "Dense")):
        return act(b)


def stored(regions: int) -> None:
    """A scan of a file with so many bodies."""
    g = graph((2,))
    node = next(iter(g))
    node.regions = [Graph("r")] * regions
    complete_attributes(g, "a.ccir")


def changed(folder: Path, how: str) -> None:
    path = folder / "f"
    path.write_text("abc")
    watch = Watch()
    watch.note(str(path))
    if how == "replaced":
        (folder / "g").write_text("abd")
        os.replace(folder / "g", path)
    elif how == "longer":
        path.write_text("abcd")
    elif how == "touched":
        path.write_text("abd")
        os.utime(path, ns=(1, 1))
    elif how == "gone":
        path.unlink()
    watch.check()


def protected(folder: Path, same: bool) -> None:
    for name in "fg":
        (folder / name).write_text("abc")
    watch = Watch()
    watch.note(str(folder / "f"))
    if same:
        os.link(folder / "f", folder / "h")
    watch.protect(folder / ("h" if same else "g"))


def entry(name: str, dist: str) -> Any:
    return SimpleNamespace(name=name, value="m", dist=SimpleNamespace(metadata={"Name": dist}, version="1"))


def named(folder: Path, name: str, content: bytes) -> Any:
    (folder / name).write_bytes(content)
    return convcore.load(folder / name)


X = np.zeros((2, 3), "f4")


def given(folder: Path, *specs: str, names: tuple[str, ...] = ("x", "y")) -> dict[str, Any]:
    """``--input`` of the command line: a.npy holds 1, p.npz 2 and 3 under other names, xy.npz 4 and 5 under theirs."""
    np.save(folder / "a.npy", np.float32(1))
    np.savez(folder / "p.npz", p=np.float32(2), q=np.float32(3))
    np.savez(folder / "one.npz", p=np.float32(6))
    np.savez(folder / "xy.npz", y=np.float32(5), x=np.float32(4))
    (folder / "bad.npy").write_text("no")
    made = [f"{s.rpartition('=')[0]}={folder / s.rpartition('=')[2]}" if "=" in s else str(folder / s) for s in specs]
    return {k: float(v) for k, v in _arrays(made, list(names)).items()}


@pytest.mark.parametrize(("specs", "found"), [
    (["a.npy", "a.npy"], {"x": 1, "y": 1}), (["y=a.npy", "one.npz"], {"y": 1, "x": 6}), (["p.npz"], {"x": 2, "y": 3}),
    (["xy.npz"], {"x": 4, "y": 5}), (["y=one.npz", "a.npy"], {"y": 6, "x": 1}),
    (["a.npy", "p.npz"], "the file holds 2 arrays .p, q., inputs left: y"), (["a.npy"], "missing inputs: y"),
    (["a.npy"] * 3, r"more inputs than the model has .x, y."), (["z=a.npy"], "no input 'z'; inputs are x, y"),
    (["x=a.npy", "x=a.npy"], "input 'x' is given twice"), (["x=p.npz"], r"p.npz holds 2 arrays: drop x="),
    (["bad.npy"], r"bad.npy: not a .npy or .npz file"), (["none.npy"], "none.npy: no such file"),
    (["p.npz", "one.npz"], "the file holds 1 arrays .p., inputs left: none"),
])  # fmt: skip
def test_arrays_of_the_command_line(specs: list[str], found: Any, tmp_path: Path) -> None:
    if isinstance(found, dict):
        assert given(tmp_path, *specs) == found
    else:
        with pytest.raises(UsageError, match=found):
            given(tmp_path, *specs)


Case = tuple[Callable[[Any], Any], Any, Any, type[Exception], str]
CASES: dict[str, Case] = {
    # what is asked, with what it takes, with what it refuses, by which error and words
    "builder layer": (lambda v: at_layer(lambda b: b.concat(*(b.input(n, "float32", (2, v if n == "y" else 3, 5)) for n in "xy"),
        axis=2)), 3, 7, ShapeError, r"'mine' \(Dense\)?.*concat|mine.*concat"),
    "builder constant": (lambda v: Builder(Graph("g")).const(v, "int8"), 127, 128, ShapeError, "128"),
    "builder require": (lambda v: at_layer(lambda b: b.require(v, "wants more")), True, False, ShapeError,
        "layer .*mine.*: wants more"),
    "builder name": (lambda v: getattr(Builder(Graph("g")), v), "relu", "relux", AttributeError, "convcore no op 'relux'"),
    "stored regions": (lambda v: stored(v), 0, 1, BadFileError, "relu takes 0 regions, has 1"),
    "two plugins": (lambda v: discover([entry("p", "a"), entry(v, "b")]), "q", "p", PluginConflictError,
        "plugin name 'p' is claimed by the distributions a and b; uninstall one of them"),
    "rank of an input": (lambda v: run(graph((2, 3)), np.zeros(v, "f4")), (2, 3), (2, 3, 1), InputError,
        r"input 'x0' has 2 axes \['2', '3'\], got shape \[2, 3, 1\]"),
    "type of an input": (lambda v: run(graph((2,), dtype="int32"), np.zeros(2, v)), "int8", "float32", InputError,
        "input 'x0' is int32, got float32"),
    "dim": (parse_dim, "max(n, 2*m) - 1", "n/2", ShapeError, "not a size expression: 'n/2'"),
    "dim syntax": (parse_dim, "n//2", "n//", ShapeError, "not a size expression: 'n//'"),
    "dim of nothing": (parse_dim, "n % 2", "1 // 0", ShapeError, "not a size expression: '1 // 0'"),
    "dim function": (parse_dim, "min(n, 3)", "abs(n)", ShapeError, r"not a size expression: 'abs\(n\)'"),
    "dim length": (lambda n: parse_dim("n" * n), 4096, 4097, ShapeError, "at most 4,096 characters"),
    "text": (parse_text, to_text(graph((2, 3))), to_text(graph((2, 3))).replace("2, 3", "2 // 0, 3"), BadFileError,
        "IR text, line 2: not a size"),
    "index": (lambda k: layered()[k], 1, 1.5, UsageError, "a model is indexed by number, name, names or slice, not float"),
    "index beyond": (lambda k: layered()[k], 2, 3, UsageError, "the model has 3 layers, no number 3"),
    "index below": (lambda k: layered()[k], -3, -4, UsageError, "the model has 3 layers, no number -4"),
    "slice step": (lambda k: layered()[::k], 1, 2, UsageError, "a slice of a model has step 1"),
    "slice of nothing": (lambda k: layered()[1:k], 2, 1, UsageError, "the slice 1:1 holds no layer of 3"),
    "name": (lambda k: layered()[k], "l1", "l9", UsageError, "no layer or tensor 'l9'"),
    "check": (lambda v: convcore.convert(SEQ, to="onnx", check=v), True, "maybe", UsageError,
        "check='maybe' is neither True, False nor 'native'"),
    "out is the source": (lambda v: default_out(Path(v), "onnx"), "m.keras", "m.onnx", UsageError,
        "the output would overwrite m.onnx: name another output file"),
    "call": (lambda v: Call("f", v).parameters, "a, b=1", "a-b", DeclarationError, "f: malformed parameter 'a-b'"),
    "call optional": (lambda v: Call("f", v).parameters, "a?", "a?=1", DeclarationError, "f: malformed parameter 'a\\?=1'"),
    "call default": (lambda v: Call("f", v).parameters, "a=(1, 2)", "a=g(2)", DeclarationError,
        r"the default in .a=g\(2\). is not a plain value"),
    "call twice": (lambda v: Call("f", v).parameters, "a, b", "a, a", DeclarationError, "a parameter occurs twice in 'a, a'"),
    "rule of no op": (lambda v: RuleSet("t").emit(v)(lambda e, n: None), "relu", "relux", DeclarationError,
        "emit rule for the unknown op 'relux'"),
    "order of 1": (lambda n: reorder("1A->A", as_tensor(np.zeros((n, 3)))), 1, 2, NotExpressible,
        "an axis of 2 elements is not of size 1"),
    "order of axes": (lambda s: W("w", "IO->OI").emit(as_tensor(np.zeros(s)), {}), (2, 3), (2, 3, 5), NotExpressible, "w: "),
    "requirement": (unmet, "numpy>=1", "numpy>>1", BrokenPluginError, "'numpy>>1' is no requirement: "),
    "pair": (lambda v: split_source(v, None), (SEQ, SEQ), (SEQ, SEQ, SEQ), UsageError,
        r"a source is a path, a pair \(architecture, weights\) or a live object"),
    "pair and weights": (lambda v: split_source((SEQ, SEQ), v) if v else split_source(SEQ, SEQ), None, SEQ, UsageError,
        r"a source is a path, a pair \(architecture, weights\) or a live object"),
    "path": (lambda v: split_source(str(SEQ) + v, None), "", "\0", UsageError, "embedded null"),
    "example names": (lambda v: given_inputs(graph((2, 3)), {v: X}), "x0", "y", InputError,
        "example_inputs must name the inputs x0"),
    "example count": (lambda v: given_inputs(graph((2, 3), (2, 3)), [X] * v), 2, 1, InputError,
        "example_inputs must hold 2 arrays, got 1"),
    "pattern": (matches, str(SEQ), str(SEQ) + "x", UsageError, "seq_cnn.kerasx: no such file"),
    "stft": (lambda v: _stft(step=v), 1, 0, ShapeError, "step=0"),
    "stft window": (lambda v: _stft(size=v), 4, 3, ShapeError, "window and size: 4 != 3"),
    "unstack": (lambda v: _unstack(v), (2, 3), (2, Dim("n")), ShapeError, "the size of the axis is not known; give num"),
    "unstack nothing": (lambda v: _unstack(v), (2, 1), (2, 0), ShapeError, "an axis of 0 elements has no parts"),
    "einsum": (lambda v: _einsum(v), "ij,jk->ik", "i1,jk->ik", ShapeError, "einsum: malformed equation 'i1,jk->ik'"),
    "if": (lambda v: _branch(v), np.asarray(True), np.asarray([True, False]), Exception, "must be a scalar"),
    "mask and lengths": (lambda v: _lstm(v), ("mask",), ("mask", "lengths"), ShapeError, "give mask or lengths, not both"),
}  # fmt: skip


def _stft(step: int = 2, size: int | None = None) -> Any:
    b = Builder(Graph("g"))
    return b.stft(b.input("x", "float32", (2, 11, 1)), b.weight(np.ones(4, "f4"), "w"), step=step, size=size)


def _unstack(shape: Any) -> Any:
    b = Builder(Graph("g"))
    return b.unstack(b.input("x", "float32", shape), axis=1)


def _einsum(equation: str) -> Any:
    b = Builder(Graph("g"))
    return b.einsum(b.input("x", "float32", (2, 3)), b.input("y", "float32", (3, 5)), equation=equation)


def _branch(cond: Any) -> Any:
    from convcore.ops.control import _if

    return _if(cond, run=(lambda: [1], lambda: [2]))


def _lstm(given: tuple[str, ...]) -> Any:
    b = Builder(Graph("g"))
    w, r = b.weight(np.zeros((1, 8, 5), "f4"), "w"), b.weight(np.zeros((1, 8, 2), "f4"), "r")
    more = {"mask": b.input("m", "bool", (3, 7)), "lengths": b.input("l", "int32", (3,))}
    kept = (more[k] if k in given else None for k in more)
    return b.lstm(b.input("x", "float32", (3, 7, 5)), w, r, None, None, None, *kept, hidden=2)


@pytest.mark.parametrize("name", CASES)
def test_what_is_refused_and_its_neighbour(name: str) -> None:
    call, good, bad, error, why = CASES[name]
    call(good)
    with pytest.raises(error, match=why):
        call(bad)


FILES: dict[str, tuple[Callable[[Path], Any], type[Exception], str]] = {
    "replaced": (lambda p: changed(p, "replaced"), SourceChangedError, "f: was replaced by another file after it was read"),
    "longer": (lambda p: changed(p, "longer"), SourceChangedError, "f: had 3 bytes and has 4 after it was read; load it again"),
    "written to": (lambda p: changed(p, "touched"), SourceChangedError, "f: was written to after it was read; load it again"),
    "gone": (lambda p: changed(p, "gone"), SourceChangedError, "f: was read and can no longer be: No such file"),
    "protected": (lambda p: protected(p, True), OutputError, "h is .*f, which the source is read from"),
    "damaged": (lambda p: named(p, "m.onnx", b"\xff" * 64), BadFileError, "m.onnx"),
    "empty": (lambda p: named(p, "m.onnx", b""), BadFileError, "m.onnx: the file is empty"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_refused(name: str, tmp_path: Path) -> None:
    call, error, why = FILES[name]
    with pytest.raises(error, match=why):
        call(tmp_path)


def test_files_that_are_as_they_were(tmp_path: Path) -> None:
    changed(tmp_path, "")
    protected(tmp_path, False)


def test_weights_are_not_compared_with_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.ones(3)}, tmp_path / "a.pt")
    assert main(["diff", str(tmp_path / "a.pt"), str(tmp_path / "a.pt")]) == 0
    for a, b in [(tmp_path / "a.pt", SEQ), (SEQ, tmp_path / "a.pt")]:
        assert main(["diff", str(a), str(b)]) == 2
        assert "a.pt holds weights alone; compare it with another file of weights" in capsys.readouterr().err


@pytest.mark.parametrize("field", ["convention", "dialect"])
def test_what_a_plugin_names_and_does_not_have_is_told(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    f = host().framework("onnx")
    monkeypatch.setitem(f.__dict__, field, "convcore_onnx.nothing:there")
    ask: dict[str, Callable[[], Any]] = {
        "convention": lambda: host().convention("onnx"), "dialect": lambda: host().dialect("onnx", None),  # type: ignore[arg-type]
    }  # fmt: skip
    with pytest.raises(BrokenPluginError, match=r"cannot import convcore_onnx.nothing:there: No module named"):
        ask[field]()


def test_a_url_of_an_unknown_scheme_is_refused() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises((UsageError, FrameworkMissingError), match="odd://x: Protocol not known: odd"):
        matches("odd://x")


# ---- rows that do not write a node
def _emitted(row: Any, build: Callable[[Builder], Any]) -> Any:
    b = Builder(Graph("g"))
    made = build(b)
    e = RecordingContext(b, None)
    row.emit(e, (made[0] if isinstance(made, tuple) else made).producer)
    return e.nodes[0]


def _dense(b: Builder, *names: str, stored: bool = True) -> Any:
    """A dense layer of a weight, stored or computed, and of a bias where it is named."""
    w = b.weight(np.ones((5, 3), "f4"), "w") if stored else b.input("w", "float32", (5, 3))
    return b.linear(b.input("x", "float32", (2, 3)), w, *(b.weight(np.ones(5, "f4"), n) for n in names))


def _image(b: Builder) -> Any:
    return b.input("x", "float32", (1, 2, 3, 5))


ROWS: dict[str, tuple[Callable[[], Any], Callable[[Builder], Any], Callable[[Builder], Any], str]] = {
    # the row, a node that it writes, one that it does not, and why
    "a part that is fixed": (lambda: RuleSet("t").op("Twice", "upsample_nearest", "X=x", scales=(A("rows"), 2)),
        lambda b: b.upsample_nearest(_image(b), scales=(3, 2)), lambda b: b.upsample_nearest(_image(b), scales=(3, 4)),
        r"scales=\(3, 4\), Twice means 2 there"),
    "two parts that are one": (lambda: RuleSet("t").op("Same", "upsample_nearest", "X=x", scales=(A("n"), A("n"))),
        lambda b: b.upsample_nearest(_image(b), scales=(3, 3)), lambda b: b.upsample_nearest(_image(b), scales=(3, 4)),
        r"scales=\(3, 4\), Same has one n for both"),
    "another number of parts": (lambda: RuleSet("t").op("Three", "upsample_nearest", "X=x", scales=(A("a"), A("b"))),
        lambda b: b.upsample_nearest(_image(b), scales=(3, 4)),
        lambda b: b.upsample_nearest(b.input("x", "float32", (1, 2, 3)), scales=(3,)), r"scales=\(3\) is not 2 values"),
    "a value that is meant": (lambda: RuleSet("t").op("Half", "leaky_relu", "X=x", alpha=0.5),
        lambda b: b.leaky_relu(_image(b), alpha=0.5), lambda b: b.leaky_relu(_image(b), alpha=0.25),
        r"alpha is 0.25, Half means 0.5"),
    "a value that is not written": (lambda: RuleSet("t").op("No", "leaky_relu", "X=x", alpha=A("a"), unless={"alpha": 0.5}),
        lambda b: b.leaky_relu(_image(b), alpha=0.25), lambda b: b.leaky_relu(_image(b), alpha=0.5),
        "No is not written for alpha=0.5"),
    "a weight that is none": (lambda: RuleSet("t").op("Dense", "linear", "X=x", w=W("w", "IO->OI"), b=W("b")),
        lambda b: _dense(b, "b"), _dense, "Dense needs b"),
    "a weight that is computed": (lambda: RuleSet("t").op("Dense", "linear", "X=x", w=W("w", "IO->OI")),
        _dense, lambda b: _dense(b, stored=False), "Dense wants w as a constant weight"),
    "an input that it has not": (lambda: RuleSet("t").op("Dense", "linear", "X=x", w=W("w", "IO->OI")),
        _dense, lambda b: _dense(b, "b"), "Dense has no counterpart of the input 'b'"),
    "one of two": (lambda: RuleSet("t").op("Conv", "conv", "X=x", w=W("w"), one_of=("strides", "dilations"), strides=A("s"),
        dilations=A("d"), pads=A("p"), groups=1), lambda b: _conv(b, 2, 1), lambda b: _conv(b, 2, 2),
        "Conv takes only one of strides and dilations other than 1"),
}  # fmt: skip


def _conv(b: Builder, s: int, d: int) -> Any:
    w = b.weight(np.ones((7, 2, 2, 2), "f4"), "w")
    return b.conv(b.input("x", "float32", (1, 2, 11, 13)), w, strides=(s, s), dilations=(d, d), pads=((0, 0), (0, 0)))


@pytest.mark.parametrize("name", ROWS)
def test_what_a_row_does_not_write(name: str) -> None:
    row, good, bad, why = ROWS[name]
    _emitted(row(), good)
    with pytest.raises(NotExpressible, match=why):
        _emitted(row(), bad)


def test_a_plugin_in_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(OutputError, match=r"a cannot be written: Not a directory"):
        new_plugin("layer", "mine", tmp_path / "f" / "a")
    new_plugin("layer", "mine", tmp_path / "a")

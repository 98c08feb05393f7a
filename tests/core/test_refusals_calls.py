"""What the command line, the registries, layouts and attributes refuse: each by its own sentence."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.cli import main
from convcore.cli.commands import _arrays
from convcore.errors import DeclarationError, PluginConflictError, ShapeError, UsageError
from convcore.hookspecs import CONVCORE_API, Framework, LoadRequest, hookimpl
from convcore.host import Host
from convcore.ir.graph import Graph
from convcore.layout import Convention, assign
from convcore.model import Model
from convcore.opset.axes import Axis, PerAxis
from convcore.opset.declare import Attr, OpSet
from convcore.opset.registry import Registry

ERAS = Path(__file__).parents[1] / "data/keras_eras"
SEQ = str(ERAS / "tf213/seq_cnn.keras")


# ---- arrays on the command line
@pytest.fixture
def files(tmp_path: Path) -> Path:
    a = np.arange(3.0)
    np.save(tmp_path / "a.npy", a)
    np.savez(tmp_path / "one.npz", other=a)
    np.savez(tmp_path / "two.npz", x=a, y=a)
    np.savez(tmp_path / "odd.npz", p=a, q=a, r=a)
    return tmp_path


def placed(specs: list[str], files: Path) -> list[str]:
    return [s.replace("=", f"={files}/") if "=" in s else f"{files}/{s}" for s in specs]


@pytest.mark.parametrize(
    ("specs", "why"),
    [
        (["a.npy"], "missing inputs: y"), ([], "missing inputs: x, y"), (["y=a.npy"], "missing inputs: x"),
        (["a.npy", "a.npy", "a.npy"], r"more inputs than the model has \(x, y\)"), (["z=a.npy"], "no input 'z'; inputs are x, y"),
        (["x=a.npy", "x=a.npy"], "input 'x' is given twice"), (["two.npz", "y=one.npz"], "input 'y' is given twice"),
        (["x=two.npz"], r"two\.npz holds 2 arrays: drop x="), (["x=none.npy"], r"none\.npy: no such file"),
        (["odd.npz"], r"the file holds 3 arrays \(p, q, r\), inputs left: x, y"),
        (["two.npz", "odd.npz"], "inputs left: none"), (["broken.npy"], r"broken\.npy: not a \.npy or \.npz file"),
    ],
)  # fmt: skip
def test_arrays_of_the_command_line(specs: list[str], why: str, files: Path) -> None:
    (files / "broken.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UsageError, match=why):
        _arrays(placed(specs, files), ["x", "y"])


@pytest.mark.parametrize("specs", [["a.npy", "a.npy"], ["y=a.npy", "a.npy"], ["two.npz"], ["x=one.npz", "one.npz"]])
def test_arrays_that_fit(specs: list[str], files: Path) -> None:
    assert sorted(_arrays(placed(specs, files), ["x", "y"])) == ["x", "y"]


def test_inputs_without_a_check(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", SEQ, "-o", str(files / "a.onnx"), "--no-check", "--input", str(files / "a.npy")]) == 2
    assert "--input is for the check, which --no-check switches off" in capsys.readouterr().err
    assert not (files / "a.onnx").exists()


def test_two_outputs_are_no_npy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (3,))
    g.outputs = [b.relu(x), b.neg(x)]
    Model(g).save(tmp_path / "g.ccir")
    np.save(tmp_path / "x.npy", np.arange(3, dtype="f4"))
    command = ["run", str(tmp_path / "g.ccir"), "--input", str(tmp_path / "x.npy"), "-o"]
    assert main([*command, str(tmp_path / "y.npy")]) != 0
    assert "the model has 2 outputs: write .npz" in capsys.readouterr().err
    assert "y.npy" not in os.listdir(tmp_path)
    assert main([*command, str(tmp_path / "y.npz")]) == 0 and len(np.load(tmp_path / "y.npz").files) == 2


# ---- registries and declarations
def declared(distribution: str) -> OpSet:
    ops = OpSet("test", distribution)
    ops.op("refused_op", "x", reference=lambda x: x)
    return ops


def test_one_op_of_two_distributions() -> None:
    registry, mine = Registry(), declared("one")
    registry.add(mine)
    registry.add(mine)  # the same once more is no conflict
    with pytest.raises(PluginConflictError, match="op 'refused_op' is declared by one and by two"):
        registry.add(declared("two"))


@pytest.mark.parametrize("rule", [Axis("axiz"), PerAxis(("axis", "axiz"))])
def test_an_axis_rule_names_attributes_that_are_there(rule: Any) -> None:
    ops, attrs = OpSet("test", "one"), {"axis": Attr("axis", default=-1)}
    with pytest.raises(DeclarationError, match="op odd: its axis rule names the attribute 'axiz', which it lacks"):
        ops.op("odd", "x", attrs=attrs, axes=rule, reference=lambda x, axis: x)
    assert "odd" not in ops.ops


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        ("int", True, "True is not an integer"), ("int", 1.5, "1.5 is not an integer"),
        ("int", float("inf"), "inf is not an integer"),
        ("bool", 1, "1 is not a bool"), ("str", 1, "1 is not a string"), ("ints", (1, True), "True is not an integer"),
        ("strs", "ab", "'ab' is not a tuple of strings"), ("strs", ("a", 1), "is not a tuple of strings"),
        ("pads", "same", "'same' is neither pairs nor same_upper"), ("tensor", np.zeros(2), "is not a Tensor"),
        ("axis", 3, "axis 3 is out of range for 3 axes"), ("axis", -4, "axis -4 is out of range for 3 axes"),
        ("axes", (1, -2), "an axis is named twice"), ("dtype", "float33", "'float33' is no dtype"),
        ("float", "a", "could not convert|not a number|no number"), ("shape", (None,), "None|not"),
    ],
)  # fmt: skip
def test_attributes_of_another_kind(kind: str, value: Any, why: str) -> None:
    from convcore.opset.attributes import coerce

    x = Builder(Graph("g")).input("x", "float32", (2, 3, 5))
    with pytest.raises(ShapeError, match=f"(?s)op: attribute a=.*: .*({why})"):
        coerce("op", "a", Attr(kind), value, x)


def test_declarations_that_are_none() -> None:
    ops = declared("one")
    with pytest.raises(DeclarationError, match="op idle: needs a reference or a body"):
        ops.op("idle", "x")
    with pytest.raises(DeclarationError, match="op refused_op is declared twice in test"):
        ops.op("refused_op", "x", reference=lambda x: x)


def test_a_choice_that_is_none() -> None:
    b = Builder(Graph("g"))
    x = b.input("x", "float32", (2, 3, 5, 7))
    with pytest.raises(ShapeError, match="layout='NWC' is not one of"):
        b.conv(x, b.weight(np.ones((11, 3, 2, 2), "f4"), "w"), layout="NWC")


# ---- plugins
def test_a_framework_without_rules() -> None:
    import sys
    import types

    m = types.ModuleType("fake_ruleless")
    m.CONVCORE_API = CONVCORE_API  # type: ignore[attr-defined]
    framework = Framework("ruleless", title="Ruleless", distribution="dist-r")
    m.convcore_frameworks = hookimpl(lambda: [framework])  # type: ignore[attr-defined]
    sys.modules["fake_ruleless"] = m
    try:
        point = SimpleNamespace(
            name="r", value="fake_ruleless", dist=SimpleNamespace(name="dist-r", version="1", metadata={"Name": "dist-r"})
        )
        with pytest.raises(UsageError, match="dist-r has no mapping rules"):
            Host(entry_points=[point]).rules("ruleless")
    finally:
        del sys.modules["fake_ruleless"]


def test_a_request_without_rules() -> None:
    with pytest.raises(UsageError, match="made outside of the host needs rules="):
        _ = LoadRequest("a.toy").ruleset


# ---- layouts and parts of models
def net() -> tuple[Graph, Builder]:
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (2, 3, 5, 7))
    g.outputs = [b.relu(x)]
    return g, b


@pytest.mark.parametrize(
    ("io", "why"),
    [
        ({"nobody": "source"}, "layout given for 'nobody', but inputs and outputs are 'x'"),
        ({"x": "upside down"}, "layout of 'x': 'upside down' is neither 'source', 'target' nor a permutation"),
        ({"x": (0, 1)}, r"layout of 'x': \(0, 1\) is not a permutation of its axes"),
        ({"x": (0, 1, 2, 2)}, r"layout of 'x': \(0, 1, 2, 2\) is not a permutation"),
        ({"w": (1, 0)}, "layout of 'w': a constant output keeps its order"),
    ],
)
def test_layouts_by_name(io: dict[str, Any], why: str) -> None:
    g, b = net()
    g.outputs = [*g.outputs, b.weight(np.ones((2, 3), "f4"), "w")]
    with pytest.raises(UsageError, match=why):
        assign(g, Convention(), io_overrides=io)


def test_a_special_axis_of_an_op_that_has_none() -> None:
    for name in ("relu", "no_such_op"):
        with pytest.raises(UsageError, match=f"axis_required names '{name}', which is no op with one special axis"):
            assign(net()[0], Convention(axis_required={name: -1}))


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "why"),
    [
        ("upsample_nearest", ((2, 3, 5, 7),), {"scales": (2, 0)}, "must hold a positive factor for each spatial axis"),
        ("upsample_nearest", ((2, 3, 5, 7),), {"scales": (2,)}, "must hold a positive factor for each spatial axis"),
        ("upsample_nearest", ((2, 3, 5, 7),), {"scales": (2, 3, 1)}, "must hold a positive factor for each spatial axis"),
    ],
)
def test_attributes_that_do_not_fit(op: str, inputs: Any, attrs: dict[str, Any], why: str) -> None:
    b = Builder(Graph("g"))
    with pytest.raises(ShapeError, match=why):
        b.op(op, *(b.input(f"x{i}", "float32", s) for i, s in enumerate(inputs)), **attrs)


def test_a_scan_lacks_no_input() -> None:
    b = Builder(Graph("g"))
    x = b.input("x", "float32", (2, 3))
    body = Graph("body")
    with pytest.raises(ShapeError, match="scan: no input may be omitted"):
        b.op("scan", None, x, regions=[body], n_states=1, n_scanned=1)

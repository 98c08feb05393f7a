"""What is left out means what is said: the same as its documented value given, and something else than another value."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.build.builder import Builder
from convcore.cli import commands, main
from convcore.cli.parser import parse
from convcore.emit.dialect import Dialect
from convcore.errors import UsageError
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Value
from convcore.ir.scopes import Scope
from convcore.ir.tensors import as_tensor
from convcore.layout.mincut import SOURCE, TARGET, Choice
from convcore.layout.moves import perm_through
from convcore.layout.orders import order_of
from convcore.loading.inputs import InputShapes
from convcore.ops.arithmetic import converted
from convcore.opset import Attr, OpSet, Sample, op
from convcore.opset.attributes import AxesAttr
from convcore.opset.shapes import window_size
from convcore.report import Report
from convcore.rewrite import find_composites
from convcore.rewrite.axes import axes_of
from convcore.rewrite.region import Rewriter
from convcore.rewrite.view import View
from convcore.rules.foreign import ForeignNode, LoadContext
from convcore.rules.isomorphisms import NotExpressible
from convcore.rules.shapes import known_shape
from convcore.samples import example_inputs
from convcore.testing import plugins as plugins_kit
from convcore.testing import standard, torch_suites
from convcore.testing.rules import RecordingContext
from convcore.verification.layers import flowing, noise_of
from convcore.verification.power import disturbed, disturbed_array

SEQ = str(Path(__file__).parents[1] / "data/keras_eras/tf213/seq_cnn.keras")


NESTED = str(Path(SEQ).with_name("shared_nested.keras"))


# ---- the command line and the functions of Python say the same
def test_the_command_line_gives_what_python_has_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    called: dict[str, Any] = {}

    def caught(*_: Any, **given: Any) -> Any:
        called.update(given)
        raise UsageError("caught")

    monkeypatch.setattr(commands, "convert_model", caught)
    assert main(["convert", SEQ, "-o", str(tmp_path / "a.onnx")]) == 2
    own = {n: p.default for n, p in inspect.signature(convcore.convert).parameters.items() if p.default is not p.empty}
    apart = {"progress", "overrides", "input_shapes", "overwrite"}
    given = {n: v for n, v in called.items() if n in own.keys() - apart}
    assert {"check", "rtol", "atol", "keep", "fuse", "simplify", "page", "hub", "io_layout"} <= given.keys()
    assert given == {n: own[n] for n in given}


def test_a_batch_of_the_command_line_has_as_much_time_as_one_of_python() -> None:
    asked = parse(["batch", SEQ, "--to", "onnx", "--out", "out"])
    own = inspect.signature(convcore.batch).parameters
    assert asked.timeout == own["timeout"].default == 600
    assert not asked.again and not asked.each and own["again"].default == own["each"].default == ()


# ---- one by one
def _graph() -> tuple[Graph, Builder]:
    g = Graph("g")
    return g, Builder(g)


def _weight(**kw: Any) -> bool:
    _, b = _graph()
    return b.weight(np.ones(3, "f4"), "w", **kw).trainable


def _added(**kw: Any) -> bool:
    g, _ = _graph()
    return g.add_weight("w", as_tensor(np.ones(3, "f4")), **kw).trainable


def _opaque(**kw: Any) -> bool:
    _, b = _graph()
    x = b.input("x", "float32", (2, 3))
    made = b.opaque("keras", "Mine", [x], 1, {}, **kw)
    node = (made[0] if isinstance(made, (list, tuple)) else made).producer
    return bool(node.attrs.get("follows", False))


def _uses(**kw: Any) -> bool:
    g, b = _graph()
    x = b.input("x", "float32", (2, 3))
    y, z = b.relu(x), b.tanh(x)
    g.outputs = [y]
    y.replace_uses(z, **kw)
    return g.outputs == [z]


def _shape(**kw: Any) -> bool:
    _, b = _graph()
    v = b.nonzero(b.input("x", "float32", (2, 3)))
    assert None in v.shape
    try:
        return bool(known_shape(v, **kw))
    except NotExpressible:
        return False


def _nested(**kw: Any) -> str:
    return convcore.load(NESTED).summary(**kw)


def _made(**kw: Any) -> list[Any]:
    g, b = _graph()
    g.outputs = [b.relu(b.input("x", "float32", (Dim("n"), 3))), b.neg(b.input("i", "int64", (5,)))]
    return [a.tolist() for a in example_inputs(g, {"n": 2}, **kw)]


def _cut(**kw: Any) -> tuple[int, int]:
    costs = []
    for pin in (SOURCE, TARGET):
        c = Choice()
        c.unary(c.variable(pin), **kw)
        costs.append(c.base)
    return costs[0], costs[1]


def _op(name: str) -> Callable[..., Any]:
    return lambda **kw: getattr(OpSet("d", "tests").op("one", "x:float", reference=lambda x: x, **kw), name)


def _wide(**kw: Any) -> bool:
    def body(b: Any, x: Any) -> Any:
        return b.mul(x, x)

    return OpSet("d", "tests").op("one", "x:float", body=body, **kw).body is body


def _run(**kw: Any) -> str:
    g, b = _graph()
    g.outputs = [b.relu(b.input("x", "float32", (2, 3)))]
    return str(Interpreter(g, **kw).run([np.ones((2, 3), "f4")])[0].dtype)


def _normed(**kw: Any) -> list[str]:
    """Statistics are one layer, the scale behind them is another."""
    g, b = _graph()
    y = b.input("x", "float32", (2, 3, 5, 7))
    mean, var = (b.weight(np.full(3, n, "f4"), str(n)) for n in (2, 3))
    with b.within(g.scope("statistics", "BatchNorm")):
        y = b.batch_norm(y, None, None, mean, var, epsilon=1e-3)
    with b.within(g.scope("scale", "Scale")):
        g.outputs = [b.mul(y, b.const(np.full((3, 1, 1), 5, "f4")))]
    find_composites(g, **kw)
    return [node.op for node in g]


def _named(**kw: Any) -> str:
    _, b = _graph()
    x = b.input("x", "float32", (2, 3))
    b.node("relu", [x], output_names=("y",))
    return b.node("relu", [x], output_names=("y",), **kw).output.name


def _closed(**kw: Any) -> bool:
    """What is read elsewhere too costs no arithmetic."""
    g, b = _graph()
    flat = b.reshape(b.input("x", "float32", (2, 3)), shape=(6,))
    g.outputs = [b.relu(flat), flat]
    return Rewriter(g, View(g)).closed(list(g), {g.outputs[0]}, **kw)


def _base(make: Callable[[Builder, Any], Any]) -> Callable[..., Any]:
    """How far back the axes of a value are followed."""

    def call(**kw: Any) -> str:
        g, b = _graph()
        x = b.input("x", "float32", (2, 3))
        g.outputs = [b.transpose(make(b, x), perm=(1, 0))]
        return axes_of(Rewriter(g, View(g)), g.outputs[0], **kw).base.name

    return call


def _recorded(how: str) -> Callable[..., Any]:
    return lambda **kw: len(getattr(RecordingContext(Builder(Graph("g"))), how)("Relu", [], **kw))


def _foreign(**kw: Any) -> bool:
    return (
        LoadContext(Builder(Graph("g"))).weight(ForeignNode("T", "n", [], {}), "w", as_tensor(np.ones(3, "f4")), **kw).trainable
    )


def _weights(**kw: Any) -> list[Any]:
    _, b = _graph()
    w = b.weight(np.zeros(5, "f4"), "w")
    return list(disturbed(0.5, lambda v: True, **kw)(w).tolist())


def _alone(**kw: Any) -> Any:
    return InputShapes({"": (4, None)}).take("x", (2, 3), **kw)


def _run_by(**kw: Any) -> tuple[str, str]:
    """What two models of ONNX are run by."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    infos = [onnx.helper.make_tensor_value_info(n, 1, [2, 3]) for n in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", infos[:1], infos[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    return convcore.verify(model, model, **kw).runtimes


def _root(**kw: Any) -> int:
    return Scope(None, "a", **kw).call


TURN = order_of((1, 2, 0))
CASES: list[tuple[Callable[..., Any], str, Any, Any]] = [
    (_weight, "trainable", False, True),
    (_added, "trainable", False, True),
    (_opaque, "follows", False, True),
    (_uses, "outputs", True, False),
    (_shape, "sizes", False, True),
    (_nested, "nested", False, True),
    (_made, "seed", 0, 1),
    (_made, "low", 0.0, 0.5),
    (_cut, "source", 0, 1),
    (_cut, "target", 0, 1),
    (_op("regions"), "regions", 0, 1),
    (_wide, "wide", False, True),
    (lambda **kw: window_size(7, 2, 2, 1, (0, 0), **kw), "ceil", False, True),
    (lambda **kw: AxesAttr(**kw).optional, "optional", False, True),
    (lambda **kw: Attr("int", 0, **kw).optional, "optional", False, True),
    (lambda **kw: str(converted(np.array([1e6], "f4"), DType.FLOAT8_E4M3FN, **kw)), "saturate", True, False),
    (lambda **kw: [a.tolist() for a in Sample((2, 3)).arrays(**kw) if a is not None], "seed", 0, 1),
    (lambda **kw: perm_through((2, 0, 1), TURN, **kw), "forward", True, False),
    (_run, "precise", False, True),
    (_normed, "across", False, True),
    (_named, "exact", False, True),
    (_closed, "shared", True, False),
    (_base(lambda b, x: b.mul(x, b.const(2.0))), "scales", False, True),
    (_base(lambda b, x: b.slice(x, starts=(1, 0), stops=(2, None), steps=(1, 1))), "select", False, True),
    (_base(lambda b, x: b.repeat(x, repeats=5, axis=0)), "copies", False, True),
    (_recorded("call"), "n_outputs", 1, 2),
    (_recorded("unit"), "n_outputs", 1, 2),
    (_foreign, "trainable", True, False),
    (lambda **kw: len(ForeignNode("T", "n", [Value(n, None, None) for n in "ab"], {}).needed(**kw)), "start", 0, 1),
    (_weights, "least", 0.0, 0.1),
    (_alone, "only", False, True),
    (_root, "call", 0, 1),
    (_run_by, "native", True, False),
    (lambda **kw: disturbed_array(np.zeros(5, "f4"), 0.5, "w", **kw).tolist(), "least", 0.0, 0.1),
]  # fmt: skip


@pytest.mark.parametrize(("call", "name", "default", "other"), CASES, ids=[f"{i} {c[1]}" for i, c in enumerate(CASES)])
def test_what_is_left_out(call: Callable[..., Any], name: str, default: Any, other: Any) -> None:
    left, given = call(), call(**{name: default})
    assert str(left) == str(given)
    assert str(left) != str(call(**{name: other}))


# ---- of nothing
def test_the_parts_of_no_strings() -> None:
    parts, counts = op("string_split").reference(np.empty((0,), object), delimiter=",", maxsplit=None)  # type: ignore[misc]
    assert parts.shape == (0, 0) and counts.shape == (0,)


def test_patches_without_an_axis_are_refused() -> None:
    x = np.zeros((2, 3, 1), "f4")
    with pytest.raises(ValueError, match="patches of shape"):
        op("col2im").reference(x, image=(), kernel=(), strides=(), dilations=(), pads=())  # type: ignore[misc]


def test_only_who_asks_is_told_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins"]) == 0
    assert "took" not in capsys.readouterr().err
    assert main(["inspect", SEQ]) == 0
    assert "took" not in capsys.readouterr().err


def test_a_report_of_nothing_compared_has_no_difference() -> None:
    report = Report("")
    assert (report.max_abs, report.max_rel) == (0.0, 0.0)


def test_what_is_compared_where_nothing_flows_and_nothing_is_finite() -> None:
    """No float flows into what is made of integers; where every run overflows, rounding excuses nothing."""
    g, b = _graph()
    y = b.cast(b.input("i", "int64", (2, 3)), to="float32")
    g.outputs = [y]
    assert flowing(g, [np.ones((2, 3), "i8")], [y.name]) == {y.name: 0.0}
    g, b = _graph()
    y = b.square(b.input("x", "float32", (2,)))
    g.outputs = [y]
    with np.errstate(over="ignore"):
        found = noise_of(g, [np.full(2, 1e30, "f4")], {y.name: np.full(2, np.inf, "f4")}, 1e-7)
    exact, off = found[y.name]
    assert exact == pytest.approx(1e60) and off == 0.0


def test_a_plugin_is_asked_for_forty_models(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    for check in ("_check_imports", "_check_ops", "_check_rules", "_check_identify", "_check_named"):
        monkeypatch.setattr(plugins_kit, check, lambda *given: None)
    monkeypatch.setattr(plugins_kit, "_check_framework", lambda name, report, models, sources: asked.append(models))
    for given in ({}, {"models": 3}):
        plugins_kit.check_plugin("onnx", **given)  # type: ignore[arg-type]
    assert asked == [40, 3]


def test_suites_are_drawn_with_the_seed_0(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many samples of an op of torch as its table says, all of them, unless it is said otherwise."""
    asked: list[Any] = []

    class Caught(Exception):
        pass

    def caught(*given: Any, **_: Any) -> Any:
        asked.append(given)
        raise Caught

    monkeypatch.setattr(standard, "all_cases", lambda: ["case"])
    monkeypatch.setitem(torch_suites.TABLES, "opinfo", lambda only, each: [each])
    monkeypatch.setitem(torch_suites.TABLES, "nn-modules", lambda only, each: [each])
    for module, draw, run in ((standard, "sample", "run_cases"), (torch_suites, "sampled", "run_suite")):
        monkeypatch.setattr(module, draw, caught)
        monkeypatch.setattr(module, run, caught)
    for more in (["--sample", "3"], ["--sample", "3", "--seed", "5"], []):
        with pytest.raises(Caught):
            standard.command(more)
        for table in ("opinfo", "nn-modules"):
            with pytest.raises(Caught):
                torch_suites.command(table, more)
    assert asked[:6] == [(["case"], 3, 0), ([3], 3, 0), ([4], 3, 0), (["case"], 3, 5), ([3], 3, 5), ([4], 3, 5)]
    assert asked[6] == ("interpreter", ["case"]) and [g[:3] for g in asked[7:]] == [
        ("opinfo", "interpreter", [3]), ("nn-modules", "interpreter", [4])
    ]  # fmt: skip


# ---- fields
BEGIN: dict[str, Any] = {
    "Limits.seconds": 600.0,  # as batch of the command line
    "HubFolder.config": True,  # a folder of the hub has a config.json
    "PassSpec.order": 100,
    "Branch.calls": 1, "_Place.outer": 1, "Axes.scale": 1.0, "LastAxes.k": 1,  # one of it, a factor that changes nothing
    "Last.single": True,
    "Case.rtol": 1e-3, "Case.atol": 1e-7,  # onnx.backend.test.loader
    "Item.parent": -1,  # none
}  # fmt: skip
"""The fields of records that begin otherwise."""


def test_counts_begin_at_0_and_flags_are_off() -> None:
    found: dict[str, Any] = {}
    for module in pkgutil.walk_packages(convcore.__path__, "convcore."):
        if module.name.endswith("__main__"):
            continue
        held = importlib.import_module(module.name)
        for c in vars(held).values():
            if inspect.isclass(c) and c.__module__ == module.name and dataclasses.is_dataclass(c):
                fields = [f for f in dataclasses.fields(c) if isinstance(f.default, (bool, int, float))]
                found |= {f"{c.__name__}.{f.name}": f.default for f in fields}
    assert len(found) > 60 and {k: v for k, v in found.items() if v} == BEGIN


def test_a_target_says_what_it_is_different_in() -> None:
    """A tree of modules that computes in every type, named late, without containers: what a dialect is that says nothing."""
    flags = {k: v for k, v in vars(Dialect).items() if isinstance(v, bool)}
    assert {k for k, v in flags.items() if v} == {"has_small_types", "shares_units", "keep_training"}
    assert flags.keys() >= {"has_containers", "keeps_trained", "eager_names", "states_are_inputs", "respells"}

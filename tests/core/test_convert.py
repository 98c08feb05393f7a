"""The pipeline: conversion, checking, refusal, and that a failure leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.support.keras_files import nameless_functions

import convcore
from convcore.build.builder import Builder
from convcore.errors import BadFileError, InputError, MismatchError, OutputError, UnsupportedError, UsageError
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore.model import Model
from convcore.sources import parse_input_shapes

DATA = Path(__file__).parents[1] / "data"
ERAS = DATA / "keras_eras"
SEQ = ERAS / "tf213/seq_cnn.keras"
FER = DATA / "zoo/keras2-fer-minixception"


def _x() -> np.ndarray:
    return np.load(ERAS / "tf213/seq_cnn.io.npz")["in0"]


def test_conversion(tmp_path: Path):
    done = convcore.convert(SEQ, "onnx", tmp_path / "m.onnx")
    assert done.paths == (tmp_path / "m.onnx",) and os.listdir(tmp_path) == ["m.onnx"]
    assert done.report.ok and done.report.verified and done.report.max_rel < 1e-5
    assert len(done.report.differences) == 2, "two batch sizes"
    assert json.loads(done.report.to_json())["ok"] is True
    import onnx

    assert isinstance(done.model, onnx.ModelProto)
    onnx.checker.check_model(done.model, full_check=True)
    assert done.model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_target_by_suffix_and_live_object(tmp_path: Path):
    import onnx

    assert convcore.convert(SEQ, out=tmp_path / "m.onnx").paths
    live = convcore.convert(SEQ, "onnx")
    assert live.paths == () and isinstance(live.model, onnx.ModelProto)
    again = convcore.convert(live.model, "onnx", tmp_path / "n.onnx")
    np.testing.assert_allclose(convcore.load(tmp_path / "n.onnx")(_x()), convcore.load(SEQ)(_x()), atol=1e-6)
    assert again.report.ok


def test_pair_of_paths(tmp_path: Path):
    pair = (ERAS / "tf213/seq_cnn.json", ERAS / "tf213/seq_cnn.weights.h5")
    done = convcore.convert(pair, "onnx", tmp_path / "a.onnx")
    other = convcore.convert(pair[0], "onnx", tmp_path / "b.onnx", weights=pair[1])
    assert done.report.ok and other.report.ok
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_round_trip_equals_direct(tmp_path: Path, opset: int):
    """Keras -> IR -> ONNX -> IR -> interpreter equals Keras -> IR -> interpreter."""
    convcore.convert(SEQ, "onnx", tmp_path / "m.onnx", opset=opset)
    back = convcore.load(tmp_path / "m.onnx")
    np.testing.assert_allclose(back(_x()), convcore.load(SEQ)(_x()), atol=1e-6)


def test_io_layout(tmp_path: Path):
    source = convcore.convert(SEQ, "onnx", tmp_path / "s.onnx")
    target = convcore.convert(SEQ, "onnx", tmp_path / "t.onnx", io_layout="target")
    x = _x()
    assert [d.dim_value for d in source.model.graph.input[0].type.tensor_type.shape.dim][1:] == list(x.shape[1:])
    assert [d.dim_value for d in target.model.graph.input[0].type.tensor_type.shape.dim][1:] == [
        x.shape[3],
        x.shape[1],
        x.shape[2],
    ]
    assert not any(n.op_type == "Transpose" for n in target.model.graph.node)
    np.testing.assert_allclose(convcore.load(tmp_path / "t.onnx")(x.transpose(0, 3, 1, 2)), convcore.load(SEQ)(x), atol=1e-6)
    report = convcore.verify(SEQ, tmp_path / "t.onnx")
    assert report.ok and any("permuted" in n for n in report.notes)
    named = convcore.convert(SEQ, "onnx", tmp_path / "u.onnx", io_layout={source.model.graph.input[0].name: "target"})
    assert not any(n.op_type == "Transpose" for n in named.model.graph.node)
    with pytest.raises(UsageError, match="io_layout"):
        convcore.convert(SEQ, "onnx", io_layout={"nope": "target"})


def test_all_problems_at_once_and_nothing_written(tmp_path: Path):
    source = nameless_functions(tmp_path / "u.keras")
    with pytest.raises(UnsupportedError) as e:
        convcore.convert(source, "onnx", tmp_path / "m.onnx")
    assert len(e.value.problems) > 1 and all(p.type == "Lambda" and p.layer and p.why for p in e.value.problems)
    assert os.listdir(tmp_path) == ["u.keras"]
    from convcore.pipeline import check

    assert {p.layer for p in check(source, "onnx")} == {p.layer for p in e.value.problems}
    assert check(SEQ, "onnx") == []


def test_override_by_type_and_by_name(tmp_path: Path):
    source = nameless_functions(tmp_path / "u.keras")
    names = [x.name for x in convcore.load(source).layers if x.type == "Lambda"]

    def double(g, node):
        return g.b.mul(node.input(0), g.b.like(node.input(0), 2.0))

    model = convcore.load(source, overrides={"Lambda": double})
    assert not {p.layer for p in model.problems} & set(names)
    one = convcore.load(source, overrides={names[0]: double})
    assert names[0] not in {p.layer for p in one.problems} and names[1] in {p.layer for p in one.problems}


def test_a_wrong_result_is_caught_named_and_not_kept(tmp_path: Path):
    """An emit rule that is wrong on purpose: the check fails, names the layer, and no file stays."""

    def wrong(e, node):
        e.call("Sigmoid", [e.value(node.inputs[0])], {}, outputs=node.outputs, name=node.name)

    with pytest.raises(MismatchError) as e:
        convcore.convert(SEQ, "onnx", tmp_path / "m.onnx", overrides={"emit": {"softmax": wrong}})
    assert not e.value.report.ok and e.value.report.first_divergence
    assert os.listdir(tmp_path) == []
    kept = convcore.convert(SEQ, "onnx", tmp_path / "m.onnx", overrides={"emit": {"softmax": wrong}}, keep=True)
    assert kept.paths and not kept.report.ok


def test_a_wrong_pass_names_the_first_diverging_layer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from convcore import arranging

    real = arranging.lay_out

    def spoil(graph, *args):
        out = real(graph, *args)
        node = next(n for n in graph if n.op == "batch_norm")
        node.attrs["epsilon"] *= 400
        return out

    monkeypatch.setattr(arranging, "lay_out", spoil)
    with pytest.raises(MismatchError) as e:
        convcore.convert(SEQ, "onnx", tmp_path / "m.onnx")
    assert "batch_norm" in e.value.report.first_divergence and "BatchNormalization" in e.value.report.first_divergence


def test_example_inputs(tmp_path: Path):
    name = convcore.load(SEQ).inputs[0].name
    for example in (_x(), [_x()], {name: _x()}):
        assert len(convcore.convert(SEQ, "onnx", tmp_path / "m.onnx", example_inputs=example).report.differences) == 1
    for bad in ([_x(), _x()], {"nope": _x()}, _x()[0]):
        with pytest.raises(InputError):
            convcore.convert(SEQ, "onnx", tmp_path / "x.onnx", example_inputs=bad)
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_output_refusals(tmp_path: Path):
    (tmp_path / "folder.onnx").mkdir()
    for out in (tmp_path / "folder.onnx", tmp_path / "none" / "m.onnx"):
        with pytest.raises(OutputError):
            convcore.convert(SEQ, "onnx", out)
    with pytest.raises(UsageError, match="opset"):
        convcore.convert(SEQ, "onnx", tmp_path / "m.onnx", opset=999)
    with pytest.raises(UsageError, match="unknown option"):
        convcore.convert(SEQ, "onnx", tmp_path / "m.onnx", nonsense=1)
    with pytest.raises(UsageError):
        convcore.convert(SEQ, out=tmp_path / "m.xyz")
    source = tmp_path / "a.onnx"
    convcore.convert(SEQ, "onnx", source)
    with pytest.raises(OutputError, match="source itself"):
        convcore.convert(source, "onnx", source)
    assert sorted(os.listdir(tmp_path)) == ["a.onnx", "folder.onnx"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError):
        convcore.convert(SEQ, "onnx", tmp_path / "m.onnx")


@pytest.mark.parametrize("size", [0, 1, 100, 4000])
@pytest.mark.parametrize("name", ["seq_cnn.keras", "seq_cnn.h5", "seq_cnn.json"])
def test_truncated_sources(tmp_path: Path, name: str, size: int):
    data = (ERAS / "tf213" / name).read_bytes()[:size]
    if len(data) < size:
        pytest.skip("shorter than the cut")
    (tmp_path / name).write_bytes(data)
    with pytest.raises((BadFileError, UsageError)):
        convcore.convert(tmp_path / name, "onnx", tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == [name]


def test_wrong_and_missing_weights(tmp_path: Path):
    with pytest.raises(BadFileError):
        convcore.convert((ERAS / "tf213/seq_cnn.json", ERAS / "tf213/convs.weights.h5"), "onnx", tmp_path / "m.onnx")
    with pytest.raises(convcore.ConvcoreError, match="weights"):
        convcore.convert(shutil.copy(ERAS / "tf213/seq_cnn.json", tmp_path / "alone.json"), "onnx", tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == ["alone.json"]


def test_no_framework_is_imported(tmp_path: Path):
    """Neither Keras nor TensorFlow nor torch on the way from Keras to a checked ONNX file."""
    code = (
        "import sys, convcore\n"
        f"convcore.convert({str(FER / 'emotion_model.hdf5')!r}, 'onnx', {str(tmp_path / 'm.onnx')!r})\n"
        "print([m for m in ('keras', 'tensorflow', 'torch', 'jax') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_verify_finds_a_changed_weight(tmp_path: Path):
    import onnx
    from onnx import numpy_helper

    done = convcore.convert(SEQ, "onnx", tmp_path / "a.onnx")
    assert convcore.verify(SEQ, tmp_path / "a.onnx").ok
    assert convcore.verify(SEQ, tmp_path / "a.onnx", native=False).ok
    model = done.model
    w = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    w.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(w) * np.float32(1.5), w.name))
    onnx.save(model, tmp_path / "b.onnx")
    report = convcore.verify(SEQ, tmp_path / "b.onnx")
    assert not report.ok and "DIFFERS" in str(report)
    with pytest.raises(UsageError):
        convcore.verify(SEQ, FER / "emotion_model.hdf5")


def test_verify_of_chosen_tensors(tmp_path: Path):
    convcore.convert(SEQ, "onnx", tmp_path / "a.onnx", io_layout="target")
    layers = convcore.load(SEQ).layers
    conv = next(x.name for x in layers if x.type == "Conv2D")
    report = convcore.verify(SEQ, tmp_path / "a.onnx", outputs=[conv])
    assert report.ok and report.differences[0].name.startswith(conv)
    other = next(x for x in reversed(layers) if x.type == "Dense").name
    assert convcore.verify(SEQ, tmp_path / "a.onnx", outputs={other: other}).ok
    with pytest.raises(UsageError):
        convcore.verify(SEQ, tmp_path / "a.onnx", outputs=["nope"])
    with pytest.raises(UsageError):
        convcore.verify(SEQ, tmp_path / "a.onnx", outputs={conv: other})


def test_debug_mode_verifies_the_graph(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("CONVCORE_DEBUG", "1")
    assert convcore.convert(SEQ, "onnx", tmp_path / "m.onnx").report.ok


def test_nothing_given_is_dropped(tmp_path: Path):
    """An argument that cannot have an effect is an error, also where a model is loaded already."""
    model = convcore.load(SEQ)
    name = model.inputs[0].name

    def never(*args: object) -> None:
        raise AssertionError("must not be called")

    out = tmp_path / "m.onnx"
    shapes, override = {name: (3, 8, 8, 1)}, {"Conv2D": never}
    for given in ({"input_shapes": shapes}, {"weights": SEQ}, {"format": "keras"}, {"overrides": override}):
        with pytest.raises(UsageError, match="loaded already"):
            convcore.convert(model, "onnx", out, **given)
    with pytest.raises(UsageError, match="Convv2D"):
        convcore.convert(SEQ, "onnx", out, overrides={"Convv2D": never})
    with pytest.raises(UsageError, match="nope"):
        convcore.convert(SEQ, "onnx", out, overrides={"emit": {"nope": never}})
    with pytest.raises(UsageError, match="nonsense"):
        convcore.verify(SEQ, SEQ, nonsense=1)
    model.save(tmp_path / "m.ccir")
    with pytest.raises(UsageError, match="as it is"):
        convcore.load(tmp_path / "m.ccir", input_shapes={name: (3, 8, 8, 1)})
    assert os.listdir(tmp_path) == ["m.ccir"]


@pytest.mark.parametrize("shape", [5, "b,3", (-2, 3), (2.5, 3), (True, 3), ("a b", 3), ("", 3), ({}, 3)])
def test_what_is_no_input_shape(shape: object):
    """Sizes come from callers: what is none is a wrong call, not a size of -2."""
    with pytest.raises(UsageError, match="input_shapes of 'x'"):
        parse_input_shapes({"x": shape})


@pytest.mark.parametrize("text", ["x", "x:2,-2", "x:2.5", "x:a b,3"])
def test_what_is_no_input_shape_as_text(text: str):
    with pytest.raises(UsageError, match="bad input shape"):
        parse_input_shapes([text])


@pytest.mark.parametrize("spec", [[("batch", 3)], ("batch", 3), "x:2,3", 3])
def test_what_is_no_list_of_input_shapes(spec: object):
    with pytest.raises(UsageError, match=r"input_shapes .* is neither"):
        parse_input_shapes(spec)


def test_input_shapes():
    want = {"x": (Dim("b"), None, None, None, 3, Dim("b") + 1)}
    assert parse_input_shapes({"x": ("b", None, -1, "?", np.int64(3), Dim("b") + 1)}) == want
    assert parse_input_shapes(["x:b,?,-1,?,3,b+1"]) == want and parse_input_shapes(None) == {}


def test_the_check_sees_values_below_zero(tmp_path: Path):
    """A rule that is wrong only for negative inputs does not pass."""
    from convcore.build.builder import Builder
    from convcore.ir.dims import Dim
    from convcore.ir.graph import Graph

    g = Graph("g")
    b = Builder(g)
    g.outputs = [b.leaky_relu(b.input("x", "float32", (Dim("N"), 7)), alpha=0.3)]

    def wrong(e, node):
        e.call("Relu", [e.value(node.inputs[0])], {}, outputs=node.outputs, name=node.name)

    with pytest.raises(MismatchError):
        convcore.convert(convcore.Model(g), "onnx", tmp_path / "m.onnx", overrides={"emit": {"leaky_relu": wrong}})


def test_a_fault_of_an_emit_override_is_the_users_and_not_the_plugins(tmp_path: Path):
    def broken(e: object, node: object) -> None:
        raise KeyError("x")

    with pytest.raises(UsageError, match=r"override for 'softmax' failed at layer .*KeyError"):
        convcore.convert(SEQ, "onnx", tmp_path / "m.onnx", overrides={"emit": {"softmax": broken}})
    assert list(tmp_path.iterdir()) == []


def test_an_emit_override_that_gives_up_leaves_nothing_behind(tmp_path: Path):
    from convcore.plugin import NotExpressible

    def gives_up(e, node):
        e.call("Identity", [e.value(node.inputs[0])], outputs=node.outputs)
        raise NotExpressible("not with me")

    done = convcore.convert(SEQ, "onnx", tmp_path / "m.onnx", overrides={"emit": {"softmax": gives_up}})
    assert done.report.ok  # spelled out by its body, and the check says it is softmax
    assert "Identity" not in {n.op_type for n in pytest.importorskip("onnx").load(tmp_path / "m.onnx").graph.node}


@pytest.mark.parametrize("value", [13.5, float("inf"), float("nan"), "13.5", "x", True, [13]])
def test_an_option_that_is_no_whole_number_is_refused(value: object) -> None:
    b = Builder(Graph("g"))
    b.graph.outputs = [b.relu(b.input("x", "float32", (2, 3)))]
    with pytest.raises(UsageError, match=r"option opset=.* is not a int"):
        convcore.convert(Model(b.graph), "onnx", opset=value)


def test_inputs_that_do_not_fit_are_refused() -> None:
    b = Builder(Graph("g"))
    b.graph.outputs = [b.neg(b.input("x", "int32", (1,)))]
    assert [*Model(b.graph).run([np.array([7])]).values()] == [-7]
    with pytest.raises(InputError, match="'x' is int32, which does not hold what is given"):
        Model(b.graph).run([np.array([2**40 + 3])])

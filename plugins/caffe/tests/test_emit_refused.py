"""What Caffe cannot express is refused by name, all of it at once, and nothing is left; options and files."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.build.builder import Builder
from convcore.errors import OutputError, UnsupportedError, UsageError
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Origin
from convcore_caffe.files import read_net, sniff


def _graph() -> tuple[Graph, Builder]:
    graph = Graph("net")
    return graph, Builder(graph)


def _convert(graph: Graph, *outputs: Any, out: Path, **options: Any) -> Any:
    graph.outputs = list(outputs)
    return convcore.convert(convcore.Model(graph, "test"), "caffe", out, **options)


def test_everything_that_is_missing_is_listed_at_once(tmp_path: Path) -> None:
    graph, b = _graph()
    x = b.input("x", "float32", (1, 4, 5, 7))
    with b.at(Origin("test", "wave", "Sin")):
        y = b.sin(x)
    with b.at(Origin("test", "back", "CumSum")):
        z = b.cumsum(b.relu(y), axis=2)
    with b.at(Origin("test", "turn", "Transpose")):
        t = b.transpose(z, perm=(0, 2, 3, 1))
    with pytest.raises(UnsupportedError) as caught:
        _convert(graph, t, out=tmp_path / "n.prototxt")
    assert [(p.layer, p.type) for p in caught.value.problems] == [("wave", "Sin"), ("back", "CumSum"), ("turn", "Transpose")]
    assert "io_layout='target'" in caught.value.problems[2].hint and "caffe_flavor='ssd'" in caught.value.problems[2].hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_precisions_are_refused(dtype: str, tmp_path: Path) -> None:
    graph, b = _graph()
    y = b.relu(b.input("x", dtype, (2, 3)))
    with pytest.raises(UnsupportedError, match=f"{dtype}, Caffe computes in float32"):
        _convert(graph, y, out=tmp_path / "n.prototxt")


def test_whole_numbers_are_carried_but_not_computed_with(tmp_path: Path) -> None:
    graph, b = _graph()
    x = b.input("x", "int64", (2, 6))
    y = b.cast(b.reshape(x, shape=(3, 4)), to="float32")
    report = _convert(graph, y, out=tmp_path / "n.prototxt").report
    assert report.ok and any("exact up to 16777216: x" in n for n in report.notes)
    with pytest.raises(UnsupportedError, match="'x' is int64"):
        _convert(graph, b.add(x, x), out=tmp_path / "m.prototxt")
    graph, b = _graph()
    with pytest.raises(UnsupportedError, match="no conversion of float32 to int64"):
        _convert(graph, b.cast(b.input("x", "float32", (2,)), to="int64"), out=tmp_path / "m.prototxt")


def test_sizes_other_than_the_batch_must_be_given(tmp_path: Path) -> None:
    graph, b = _graph()
    y = b.relu(b.input("image", "float32", (Dim("N"), 3, Dim("H"), None)))
    with pytest.raises(UnsupportedError, match=r"'image' \(input\): its sizes H, \? are open.*give input_shapes=\{'image': "):
        _convert(graph, y, out=tmp_path / "n.prototxt")


@pytest.mark.parametrize(
    ("op", "attrs", "why"),
    [
        ("max_pool", {"kernel": (3, 3), "dilations": (2, 1)}, "no dilation"), ("cumsum", {"axis": 1}, "no counterpart"),
        ("resize", {"sizes": (33, 21), "mode": "cubic"}, "no interpolation"), ("gelu", {"approximate": "none"}, "erf"),
        ("resize", {"sizes": (9, 9), "mode": "linear"}, "whole factors of H and W"),
    ],
)  # fmt: skip
def test_single_ops(op: str, attrs: Any, why: str, tmp_path: Path) -> None:
    graph, b = _graph()
    x = b.input("x", "float32", (2, 3, 11, 7))
    with pytest.raises(UnsupportedError, match=why):
        _convert(graph, b.op(op, x, **attrs), out=tmp_path / "n.prototxt")


@pytest.mark.parametrize("name", ["gru", "rnn"])
def test_recurrent_layers(name: str, tmp_path: Path) -> None:
    graph, b = _graph()
    gates = 3 if name == "gru" else 1
    x = b.input("x", "float32", (5, 3, 7))
    w, r = b.const(np.ones((1, gates * 2, 7), np.float32)), b.const(np.ones((1, gates * 2, 2), np.float32))
    more = {"reset_after": True} if name == "gru" else {}
    y = b.op(name, x, w, r, hidden=2, layout="time_major", **more)[0]
    with pytest.raises(UnsupportedError, match="only plain recurrent layer is LSTM") as caught:
        _convert(graph, y, out=tmp_path / "n.prototxt")
    assert len(caught.value.problems) == 1


def test_opaque_layers_are_named(tmp_path: Path) -> None:
    text = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }\n'
    text += 'layer { name: "py" type: "Python" bottom: "data" top: "y" python_param { module: "m" layer: "L" } }\n'
    (tmp_path / "in.prototxt").write_text(text)
    with pytest.raises(UnsupportedError, match="'py' \\(Python\\)"):
        convcore.convert(tmp_path / "in.prototxt", "caffe", tmp_path / "out.prototxt")
    assert not list(tmp_path.glob("out*"))


# ---- files and options
def _small(tmp_path: Path) -> convcore.Model:
    graph, b = _graph()
    w = b.const(np.arange(12, dtype=np.float32).reshape(4, 3))
    graph.outputs = [b.linear(b.input("x", "float32", (Dim("N"), 3)), w)]
    return convcore.Model(graph, "test")


@pytest.mark.parametrize("asked", ["net.prototxt", "net.caffemodel", "deploy.txt.prototxt"])
def test_definition_and_weights_lie_side_by_side(asked: str, tmp_path: Path) -> None:
    result = convcore.convert(_small(tmp_path), None, tmp_path / asked)
    stem = asked.rsplit(".", 1)[0]
    assert {p.name for p in result.paths} == {f"{stem}.prototxt", f"{stem}.caffemodel"} == {p.name for p in tmp_path.iterdir()}
    assert [sniff(tmp_path / f"{stem}.{s}") for s in ("prototxt", "caffemodel")] == ["prototxt", "caffemodel"]
    assert [type(p) for p in result.paths] == [type(tmp_path)] * 2
    assert any("batch size is fixed: N = 1" in n for n in result.report.notes)


def test_the_weights_may_have_a_name_of_their_own(tmp_path: Path) -> None:
    result = convcore.convert(_small(tmp_path), "caffe", tmp_path / "net.prototxt", caffe_model="weights.caffemodel", batch=5)
    assert {p.name for p in result.paths} == {"net.prototxt", "weights.caffemodel"}
    assert read_net(tmp_path / "net.prototxt", tmp_path / "weights.caffemodel").inputs[0].shape == (5, 3)
    for bad in ("../w.caffemodel", "a/b.caffemodel", "..", "net.prototxt"):
        with pytest.raises(UsageError):
            convcore.convert(_small(tmp_path), "caffe", tmp_path / "net.prototxt", caffe_model=bad)
    with pytest.raises(UsageError, match="caffe_flavor='intel'"):
        convcore.convert(_small(tmp_path), "caffe", tmp_path / "net.prototxt", caffe_flavor="intel")
    with pytest.raises(UsageError, match="must be positive"):
        convcore.convert(_small(tmp_path), "caffe", tmp_path / "net.prototxt", batch=-1)


def test_the_source_is_never_written_over(tmp_path: Path) -> None:
    convcore.convert(_small(tmp_path), "caffe", tmp_path / "net.prototxt")
    before = (tmp_path / "net.caffemodel").read_bytes()
    with pytest.raises(OutputError, match=r"net\.caffemodel is the source itself"):
        source = (tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
        convcore.convert(source, "caffe", tmp_path / "other.prototxt", caffe_model="net.caffemodel")
    assert (tmp_path / "net.caffemodel").read_bytes() == before
    assert not (tmp_path / "other.prototxt").exists()


def test_without_a_file_there_is_the_net(tmp_path: Path) -> None:
    result = convcore.convert(_small(tmp_path), "caffe")
    assert result.report.ok and result.report.differences and result.paths == ()
    net = result.model
    assert [layer.type for layer in net] == ["Input", "InnerProduct"]


def test_a_batch_of_any_name_is_fixed(tmp_path: Path) -> None:
    graph, b = _graph()
    x = b.input("serving:0", "float32", (Dim("serving:0_dim0"), 4))
    result = _convert(graph, b.reshape(x, shape=(Dim("serving:0_dim0"), 2, 2)), out=tmp_path / "n.prototxt", batch=3)
    assert result.report.ok and read_net(*result.paths).inputs[0].shape == (3, 4)


def test_the_hint_for_a_recurrence_over_batches_first_can_be_followed(tmp_path: Path) -> None:
    """Caffe's LSTM runs over (T, N, C); without Permute the input must come so, which only its own permutation says."""
    graph, b = _graph()
    x = graph.add_input("x", DType.FLOAT32, (2, 5, 3))
    w, r = (b.const(np.random.default_rng(0).normal(size=s).astype(np.float32)) for s in ((1, 16, 3), (1, 16, 4)))
    y = b.lstm(x, w, r, hidden=4, layout="batch_major")[0]
    graph.rename(y, "y")
    for asked in ({}, {"io_layout": "target"}):
        with pytest.raises(UnsupportedError) as e:
            _convert(graph, y, out=tmp_path / "n.prototxt", **asked)
        said = re.search(r"io_layout=(\{'x': \(1, 0, 2\)\})", e.value.problems[0].hint)
        assert said and "io_layout='target'" not in e.value.problems[0].hint
    order = {**ast.literal_eval(said[1]), "y": (1, 0, 2)}
    assert _convert(graph, y, out=tmp_path / "n.prototxt", io_layout=order).report.ok

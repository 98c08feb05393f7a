"""Caffe to Caffe: layers stay as they were, sizes stay sizes; what was changed is written by rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.errors import BadFileError
from convcore.ir.tensors import as_tensor
from convcore_caffe.files import Layer, Net, ParamSpec, read_net, write_caffemodel
from convcore_caffe.opencv import opencv_problems

from .support import ZOO

RNG = np.random.default_rng(41)
NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 7 dim: 5 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" param { name: "k" lr_mult: 2 } param { lr_mult: 0 }
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "r_out" }
layer { name: "again" type: "Convolution" bottom: "r_out" top: "again" param { name: "k" lr_mult: 2 } param { lr_mult: 0 }
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 } }
layer { name: "s" type: "Sigmoid" bottom: "again" top: "again" }
layer { name: "up" type: "Pooling" bottom: "again" top: "up" pooling_param { pool: AVE kernel_size: 2 stride: 2 pad: 1 } }
layer { name: "back" type: "Deconvolution" bottom: "up" top: "back" convolution_param { num_output: 3 kernel_size: 4 stride: 2 } }
layer { name: "crop" type: "Crop" bottom: "back" bottom: "data" top: "crop" crop_param { axis: 2 offset: 1 } }
layer { name: "flat" type: "Reshape" bottom: "crop" top: "flat" reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
"""


def array(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.fixture
def source(tmp_path: Path) -> tuple[Path, Path]:
    """A net with shared weights, blobs of their own, a layer in place, a crop by reference and an inferred size."""
    k = array(3, 3, 3, 3)
    held = {"c": [k, array(3)], "again": [k, array(3)], "back": [array(3, 3, 4, 4), array(3)]}
    types = {"c": "Convolution", "again": "Convolution", "back": "Deconvolution"}
    (tmp_path / "in.prototxt").write_text(NET)
    layers = [Layer(n, types[n], blobs=[as_tensor(b) for b in blobs]) for n, blobs in held.items()]
    write_caffemodel(Net(layers=layers), tmp_path / "in.caffemodel")
    return tmp_path / "in.prototxt", tmp_path / "in.caffemodel"


def _layers(net: Net) -> list[tuple[Any, ...]]:
    return [(x.name, x.type, x.bottoms, x.tops, x.params, x.param_specs) for x in net]


def _changed(net: Net, source: Net) -> list[str]:
    """The source's layers that did not stay as they were."""
    left = _layers(net)
    return [x[0] for x in _layers(source) if x not in left]


def test_blobs_parameters_and_shared_weights_stay(source: tuple[Path, Path], tmp_path: Path) -> None:
    result = convcore.convert(source, "caffe", tmp_path / "net.prototxt")
    assert result.report.ok
    assert _layers(read_net(*result.paths)) == _layers(read_net(*source))


@pytest.mark.parametrize("shape", [(5, 3, 7, 5), (2, 3, 13, 11)])
def test_a_written_net_can_be_resized(shape: tuple[int, ...], source: tuple[Path, Path], tmp_path: Path) -> None:
    result = convcore.convert(source, "caffe", tmp_path / "net.prototxt", check=False)
    x = array(*shape)
    want, got = (convcore.load(*files, input_shapes={"data": shape})(x) for files in (source, result.paths))
    assert want.shape[0] == shape[0]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("folder", ZOO, ids=lambda p: p.name)
def test_trained_nets_can_be_resized(folder: Path, tmp_path: Path) -> None:
    """At another batch and, where the source itself can be, another image size; by our reader and by cv2.dnn."""
    (definition,), (weights,) = folder.glob("*.prototxt"), folder.glob("*.caffemodel")
    result = convcore.convert((definition, weights), "caffe", tmp_path / "net.prototxt", caffe_flavor="ssd", check=False)
    (data,) = convcore.load(definition, weights).graph.inputs
    shape: Any = data.shape
    done = 0
    for new in ((3, *shape[1:]), (1, shape[1], shape[2] + 32, shape[3] + 64)):
        try:
            model = convcore.load(definition, weights, input_shapes={data.name: new})
        except BadFileError:  # its InnerProduct has one size
            continue
        x = {data.name: RNG.random(new, np.float32)}
        want, got = model.run(x), convcore.load(*result.paths, input_shapes={data.name: new}).run(x)
        for name, a in want.items():
            np.testing.assert_array_equal(got[name], a, err_msg=name)
        done += 1
        _opencv(result.paths, x, want)
    assert done


def _opencv(paths: Any, x: dict[str, Any], want: dict[str, Any]) -> None:
    cv2 = pytest.importorskip("cv2")
    written = read_net(*paths)
    if opencv_problems(written):
        return
    net = cv2.dnn.readNetFromCaffe(*map(str, paths))
    for name, a in x.items():
        net.setInput(a, name)
    makers = {top: layer.name for layer in written for top in layer.tops}
    for name, a in want.items():
        np.testing.assert_allclose(net.forward(makers[name]), a, atol=1e-4 * np.abs(a).max(), err_msg=name)


# ---- what is changed is written by the rules
def _edited(source: tuple[Path, Path], edit: Any, tmp_path: Path, **options: Any) -> Net:
    model = convcore.load(*source)
    edit(model.graph)
    result = convcore.convert(model, "caffe", tmp_path / "net.prototxt", **options)
    assert result.report.ok  # the check runs the edited model
    return read_net(*result.paths)


def _weight(graph: Any) -> None:
    v = graph.weights["c/bias"]
    v.tensor = as_tensor(v.tensor.numpy() + 1)


def _frozen(graph: Any) -> None:
    graph.weights["back/bias"].trainable = False


def _attribute(graph: Any) -> None:
    node = next(n for n in graph if n.op == "avg_pool")
    node.attrs = {**node.attrs, "count_include_pad": False}


def _other_input(graph: Any) -> None:
    crop = next(n for n in graph if n.op == "relu")
    crop.set_input(0, graph.inputs[0])


@pytest.mark.parametrize(
    ("edit", "layers", "more"),
    [(_weight, ["c"], []), (_frozen, ["back"], []), (_attribute, [], ["Scale"]), (_other_input, ["c", "r"], [])],
)
def test_what_was_changed_is_not_written_as_it_was(
    edit: Any, layers: list[str], more: list[str], source: tuple[Path, Path], tmp_path: Path
) -> None:
    net, before = _edited(source, edit, tmp_path), read_net(*source)
    known = [x.type for x in before]
    assert _changed(net, before) == layers
    assert [x.type for x in net if x.type not in known] == more


def test_a_changed_weight_is_the_one_written(source: tuple[Path, Path], tmp_path: Path) -> None:
    net = _edited(source, _weight, tmp_path)
    np.testing.assert_array_equal(net.layer("c").blobs[1].numpy(), read_net(*source).layer("c").blobs[1].numpy() + 1)


def test_a_frozen_weight_does_not_learn(source: tuple[Path, Path], tmp_path: Path) -> None:
    net = _edited(source, _frozen, tmp_path)
    assert net.layer("back").param_specs[1] == ParamSpec(lr_mult=0.0, decay_mult=0.0)


def test_an_override_comes_before_what_the_layer_was(source: tuple[Path, Path], tmp_path: Path) -> None:
    def sigmoid(e: Any, node: Any) -> None:
        (y,) = e.call("TanH", [e.value(node.inputs[0])], {}, shapes=[node.output.shape], name="half")
        e.call("Power", [y], {"scale": 0.5, "shift": 0.5}, outputs=node.outputs, name="s")

    for key in ("s", "sigmoid"):
        result = convcore.convert(source, "caffe", tmp_path / "net.prototxt", overrides={"emit": {key: sigmoid}}, check=False)
        types = [x.type for x in read_net(*result.paths)]
        assert "TanH" in types and "Sigmoid" not in types


def test_what_the_flavor_cannot_parse_is_written_another_way(tmp_path: Path) -> None:
    text = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 7 dim: 7 } } }\n'
    text += 'layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { kernel_size: 2 stride: 2 %s } }\n'
    text += 'layer { name: "c" type: "Clip" bottom: "p" top: "c" clip_param { min: -1 max: 1 } }\n'
    for field, flavor, kept in (
        ("round_mode: FLOOR", "bvlc", {"p", "c"}), ("round_mode: FLOOR", "ssd", set()), ("ceil_mode: false", "bvlc", {"c"}),
        ("", "ssd", {"p"}),
    ):  # fmt: skip
        (tmp_path / "in.prototxt").write_text(text % field)
        source = read_net(tmp_path / "in.prototxt", None)
        result = convcore.convert(tmp_path / "in.prototxt", "caffe", tmp_path / "net.prototxt", caffe_flavor=flavor)
        assert result.report.ok
        assert {"p", "c"} - set(_changed(read_net(*result.paths), source)) == kept, (field, flavor)

"""What Caffe itself stops at, and what its files cannot hold: each refusal by its own sentence, and a neighbour that loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import convcore
from convcore.errors import ConvcoreError

CONV = 'layer { name: "c" type: "Convolution" bottom: "d" top: "y" convolution_param { num_output: 2 %s } }'
SQUARE = "kernel_size: 3"


def load(tmp_path: Path, layers: str, shape: str = "1 3 5 7", **options: Any) -> convcore.Model:
    dims = " ".join(f"dim: {n}" for n in shape.split())
    head = f'layer {{ name: "in" type: "Input" top: "d" input_param {{ shape {{ {dims} }} }} }}\n'
    path = tmp_path / "net.prototxt"
    path.write_text(head + layers if layers.startswith("layer") else layers)
    return convcore.load(path, init_weights=True, **options)


def layer(kind: str, more: str = "", bottoms: str = "d", tops: str = "y") -> str:
    ends = " ".join(f'bottom: "{b}"' for b in bottoms.split()) + " " + " ".join(f'top: "{t}"' for t in tops.split())
    return f'layer {{ name: "l" type: "{kind}" {ends} {more} }}'


CASES: list[tuple[str, str, str, str]] = [
    # why, shape of the bottom, what is refused, what is not
    ("kernel_size is given 3 times for 2 spatial axes", "1 3 5 7", CONV % "kernel_size: 3 kernel_size: 3 kernel_size: 3",
     CONV % SQUARE),
    ("kernel_h and kernel_w are for 2 spatial axes, the bottom has 3", "1 3 5 7 5", CONV % "kernel_h: 3 kernel_w: 3",
     CONV % SQUARE),
    ("kernel_size is not given", "1 3 5 7", CONV % "", CONV % SQUARE),
    ("a bilinear filler needs a square kernel", "1 3 5 7", CONV % 'kernel_h: 3 kernel_w: 2 weight_filler { type: "bilinear" }',
     CONV % (SQUARE + ' weight_filler { type: "bilinear" }')),
    ("axis 4 is out of range for 4 axes", "1 3 5 7", layer("Softmax", "softmax_param { axis: 4 }"),
     layer("Softmax", "softmax_param { axis: 3 }")),
    ("axis -5 is out of range for 4 axes", "1 3 5 7", layer("Concat", "concat_param { axis: -5 }", "d d"),
     layer("Concat", "concat_param { axis: -4 }", "d d")),
    (r"'l' \(ReLU\): tak.* top", "1 3 5 7", layer("ReLU", tops="y z"), layer("ReLU")),
    ("negative_slope is float: found", "1 3 5 7", layer("ReLU", 'relu_param { negative_slope: "a" }'),
     layer("ReLU", "relu_param { negative_slope: 0.5 }")),
    ("bias_term is a bool: found 'maybe'", "1 3 5 7",
     CONV % (SQUARE + " bias_term: maybe"), CONV % (SQUARE + " bias_term: false")),
    (r"escape \\777 is more than a byte", "1 3 5 7", layer("ReLU").replace('"l"', '"\\777"'),
     layer("ReLU").replace('"l"', '"\\077"')),
    ("2 inputs with 1 input_shape; give one per input", "",
     'input: "a" input: "b" input_shape { dim: 1 dim: 2 }\n' + layer("Eltwise", "", "a b"),
     'input: "a" input: "b" input_shape { dim: 1 dim: 2 } input_shape { dim: 1 dim: 2 }\n' + layer("Eltwise", "", "a b")),
    ("2 inputs with 4 input_dim; give four per input", "",
     'input: "a" input: "b" ' + "input_dim: 1 " * 4 + "\n" + layer("Eltwise", "", "a b"),
     'input: "a" input: "b" ' + "input_dim: 1 " * 8 + "\n" + layer("Eltwise", "", "a b")),
    ("the net has no outputs", "1 3 5 7", layer("Silence", "", "d", ""), layer("ReLU")),
    ("105 elements do not divide by", "1 3 5 7", layer("Reshape", "reshape_param { shape { dim: 4 dim: -1 } }"),
     layer("Reshape", "reshape_param { shape { dim: 5 dim: -1 } }")),
    ("slice_point must be strictly increasing", "1 3 5 7",
     layer("Slice", "slice_param { axis: 1 slice_point: 2 slice_point: 1 }", tops="y z u"),
     layer("Slice", "slice_param { axis: 1 slice_point: 1 slice_point: 2 }", tops="y z u")),
    ("3 input channels are no multiple of g", "1 3 5 7", CONV % (SQUARE + " group: 2"), CONV % (SQUARE + " group: 1")),
    ("local_size must be odd: 4", "1 3 5 7",
     layer("LRN", "lrn_param { local_size: 4 }"), layer("LRN", "lrn_param { local_size: 5 }")),
    ("every bottom must have one shape", "1 3 5 7",
     layer("ReLU", "", "d", "a") + layer("Flatten", "", "d", "b").replace('"l"', '"m"')
     + layer("Eltwise", "", "a b").replace('"l"', '"n"'),
     layer("ReLU", "", "d", "a") + layer("Eltwise", "", "a d").replace('"l"', '"n"')),
    ("takes one coefficient per bottom", "1 3 5 7", layer("Eltwise", "eltwise_param { coeff: 1 }", "d d"),
     layer("Eltwise", "eltwise_param { coeff: 1 coeff: 2 }", "d d")),
    ("top_k 106 is more than the 105 elements", "1 3 5 7", layer("ArgMax", "argmax_param { top_k: 106 }"),
     layer("ArgMax", "argmax_param { top_k: 105 }")),
    ("must be smaller than the kernel", "1 3 5 7", layer("Pooling", "pooling_param { kernel_size: 2 pad: 2 }"),
     layer("Pooling", "pooling_param { kernel_size: 2 pad: 1 }")),
    ("the crop of axis 2 is out", "1 3 5 7",
     layer("ReLU", "", "d", "a") + layer("Crop", "crop_param { axis: 2 offset: 1 }", "d a").replace('"l"', '"n"'),
     layer("ReLU", "", "d", "a") + layer("Crop", "crop_param { axis: 2 offset: 0 }", "d a").replace('"l"', '"n"')),
    ("end_axis 1 comes before axi", "1 3 5 7", layer("Flatten", "flatten_param { axis: 3 end_axis: 1 }"),
     layer("Flatten", "flatten_param { axis: 1 end_axis: 3 }")),
    ("tiles must be given and positive", "1 3 5 7",
     layer("Tile", "tile_param { tiles: 0 }"), layer("Tile", "tile_param { tiles: 2 }")),
    ("its blob's 2 axes from axis 3 on", "1 3 5 7", layer("Scale", "scale_param { axis: 3 num_axes: 2 }"),
     layer("Scale", "scale_param { axis: 2 num_axes: 2 }")),
    ("axis 5 is out of range for 4 a", "1 3 5 7", layer("Reduction", "reduction_param { axis: 5 }"),
     layer("Reduction", "reduction_param { axis: 3 }")),
]  # fmt: skip


@pytest.mark.parametrize(("why", "shape", "bad", "good"), CASES, ids=[c[0][:40] for c in CASES])
def test_refused_and_its_neighbour(why: str, shape: str, bad: str, good: str, tmp_path: Path) -> None:
    with pytest.raises(ConvcoreError, match=why):
        load(tmp_path, bad, shape)
    load(tmp_path, good, shape)


def test_fillers_that_caffe_lacks(tmp_path: Path) -> None:
    why = "filler type 'magic' is unknown; known: constant"
    assert why in str(load(tmp_path, CONV % (SQUARE + ' weight_filler { type: "magic" }')).problems)
    assert not load(tmp_path, CONV % (SQUARE + ' weight_filler { type: "xavier" }')).problems


def test_a_net_is_a_file() -> None:
    with pytest.raises(ConvcoreError, match="read from files, not from a dict"):
        convcore.load({}, format="caffe")

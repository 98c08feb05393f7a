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


def second(shape: str) -> str:
    """Another input, k."""
    dims = " ".join(f"dim: {n}" for n in shape.split())
    return layer("Input", f"input_param {{ shape {{ {dims} }} }}", "", "k").replace('"l"', '"o"')


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
    ("pad_beg 1 and pad_end 0 must not be", "1 3 5 7", layer("Interp", "interp_param { height: 9 width: 9 pad_beg: 1 }"),
     layer("Interp", "interp_param { height: 9 width: 9 pad_beg: -1 }")),
    ("pad_beg 0 and pad_end 1 must not be", "1 3 5 7", layer("Interp", "interp_param { height: 9 width: 9 pad_end: 1 }"),
     layer("Interp", "interp_param { height: 9 width: 9 pad_end: -1 }")),
    ("shrink_factor and zoom_factor must", "1 3 5 7", layer("Interp", "interp_param { shrink_factor: 0 }"),
     layer("Interp", "interp_param { shrink_factor: 1 }")),
    ("and zoom_factor must be positive", "1 3 5 7", layer("Interp", "interp_param { zoom_factor: 0 }"),
     layer("Interp", "interp_param { zoom_factor: 1 }")),
    ("no size is given: height and width", "1 3 5 7", layer("Interp", "interp_param { height: 9 }"),
     layer("Interp", "interp_param { height: 9 width: 1 }")),
    ("takes 3 bottoms, 2 given", "1 3 5 7", layer("Axpy", "", "d d"),
     layer("Pooling", "pooling_param { global_pooling: true }", "d", "a") + layer("Axpy", "", "a d d").replace('"l"', '"n"')),
    ("must be one number per sample and cha", "1 3 5 7", layer("Axpy", "", "d d d"),
     layer("Pooling", "pooling_param { global_pooling: true }", "d", "a") + layer("Axpy", "", "a d d").replace('"l"', '"n"')),
    ("extend past the first's 4", "1 3 5 7", layer("Scale", "scale_param { axis: 1 }", "d d"),
     layer("Scale", "scale_param { axis: 0 }", "d d")),
    ("axis 1 of the first bottom has 3 elements, axis 0 of the second 2", "1 3 5 7",
     second("2") + layer("Scale", "scale_param { axis: 1 }", "d k"),
     second("3") + layer("Scale", "scale_param { axis: 1 }", "d k")),
    ("takes a feature map with 4 axes and", "1 3 5 7", layer("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 2 }"),
     second("2 5") + layer("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 2 }", "d k")),
    ("columns of ro", "1 3 5 7", second("2 4") + layer("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 2 }", "d k"),
     second("2 5 1") + layer("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 2 }", "d k")),
    ("pooled_h and pooled_w must be posi", "1 3 5 7",
     second("2 5") + layer("ROIPooling", "roi_pooling_param { pooled_h: 2 }", "d k"),
     second("2 5") + layer("ROIPooling", "roi_pooling_param { pooled_h: 1 pooled_w: 1 }", "d k")),
    (r"output_dim 2 \* group_size 2\^2 are needed", "1 9 5 7",
     second("2 5") + layer("PSROIPooling", "psroi_pooling_param { spatial_scale: 1 output_dim: 2 group_size: 2 }", "d k"),
     second("2 5") + layer("PSROIPooling", "psroi_pooling_param { spatial_scale: 1 output_dim: 1 group_size: 3 }", "d k")),
    ("leaves nothing of 3 elements for the", "1 3 5 7", layer("Slice", "slice_param { axis: 1 slice_point: 3 }", tops="y z"),
     layer("Slice", "slice_param { axis: 1 slice_point: 2 }", tops="y z")),
    ("2 tops do not divide the 5 elements of axis 2", "1 3 5 7", layer("Slice", "slice_param { axis: 2 }", tops="y z"),
     layer("Slice", "slice_param { axis: 1 }", tops="y z u")),
    ("axis 5 is out of range for a bottom", "1 3 5 7", layer("Reshape", "reshape_param { axis: 5 shape { dim: 1 } }"),
     layer("Reshape", "reshape_param { axis: 4 shape { dim: 1 } }")),
    ("axis -6 is out of range for a bottom", "1 3 5 7",
     layer("Reshape", "reshape_param { axis: -6 num_axes: 0 shape { dim: 1 } }"),
     layer("Reshape", "reshape_param { axis: -5 num_axes: 0 shape { dim: 1 } }")),
    ("num_axes 2 from axis 3 on goes past", "1 3 5 7", layer("Reshape", "reshape_param { axis: 3 num_axes: 2 shape { dim: 7 } }"),
     layer("Reshape", "reshape_param { axis: 3 num_axes: 1 shape { dim: 7 } }")),
    ("dim 4 of shape copies axis 4", "1 3 5 7",
     layer("Reshape", "reshape_param { shape { dim: 0 dim: 0 dim: 0 dim: 0 dim: 0 } }"),
     layer("Reshape", "reshape_param { shape { dim: 0 dim: 0 dim: 0 dim: 0 dim: 1 } }")),
    ("2 crop_size for 1 axes", "9", layer("CropCenter", "crop_center_param { crop_size: 1 crop_size: 1 }"),
     layer("CropCenter", "crop_center_param { crop_size: 4 }")),
    ("cropping 2 off both ends leaves noth", "1 3 4 7",
     layer("CropCenter", "crop_center_param { crop_size: 0 crop_size: 0 crop_size: 2 }"),
     layer("CropCenter", "crop_center_param { crop_size: 0 crop_size: 0 crop_size: 1 }")),
]  # fmt: skip


@pytest.mark.parametrize(("why", "shape", "bad", "good"), CASES, ids=[c[0][:40] for c in CASES])
def test_refused_and_its_neighbour(why: str, shape: str, bad: str, good: str, tmp_path: Path) -> None:
    with pytest.raises(ConvcoreError, match=why):
        load(tmp_path, bad, shape)
    load(tmp_path, good, shape)


@pytest.mark.parametrize(
    ("why", "bad", "good"),
    [
        ("takes its size from a second bottom, which only some forks do",
         layer("Interp", "interp_param { height: 9 width: 9 }", "d d"),
         layer("Interp", "interp_param { height: 9 width: 9 }")),
        ("drops at random: its phase is TRAIN", layer("Dropout", "phase: TRAIN"), layer("Dropout")),
        ("drops at random when testing", layer("Dropout", "dropout_param { sample_weights_test: true }"),
         layer("Dropout", "dropout_param { sample_weights_test: false }")),
    ],
    ids=["interp", "phase", "testing"],
)  # fmt: skip
def test_what_only_some_caffes_do(why: str, bad: str, good: str, tmp_path: Path) -> None:
    phase = {"phase": "TRAIN"} if "phase" in why else {}
    assert why in str(load(tmp_path, bad, **phase).problems)
    assert not load(tmp_path, good).problems


def test_fillers_that_caffe_lacks(tmp_path: Path) -> None:
    why = "filler type 'magic' is unknown; known: constant"
    assert why in str(load(tmp_path, CONV % (SQUARE + ' weight_filler { type: "magic" }')).problems)
    assert not load(tmp_path, CONV % (SQUARE + ' weight_filler { type: "xavier" }')).problems


def test_a_net_is_a_file() -> None:
    with pytest.raises(ConvcoreError, match="read from files, not from a dict"):
        convcore.load({}, format="caffe")

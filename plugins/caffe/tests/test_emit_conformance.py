"""IR -> Caffe -> IR: every net run on the real Caffe is written again, read back, and computes the same to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.errors import UnsupportedError
from convcore_caffe.files import read_net

from .support import CASES, load_case, name_of

SSD = ("Normalize", "PriorBox", "DetectionOutput", "Permute")
"""Types for which the ssd flavor is asked; all others are written for BVLC's Caffe."""

#: What neither flavor can write, and the op or reason the refusal names.
REFUSED = {
    "Accuracy/spatial_ignore": "one_hot", "Accuracy/top2_perclass": "one_hot", "ArgMax/axis1_topk_val": "topk",
    "ArgMax/ties": "topk", "BatchReindex/basic": "fixed places", "BilinearInterpolate/align": "no interpolation",
    "BilinearInterpolate/noalign": "no interpolation", "ContrastiveLoss/basic": "not_equal",
    "ContrastiveLoss/legacy": "not_equal", "Filter/two": "compress", "HingeLoss/l1": "one_hot", "HingeLoss/l2": "one_hot",
    "InfogainLoss/three_bottoms": "one_hot", "MaxUnPool/basic": "max_unpool|scatter",
    "MultinomialLogisticLoss/basic": "one_hot", "Pad/reflect": "mode 'reflect'", "Pad/replicate": "mode 'edge'",
    "Resize/scale2": "no interpolation", "SigmoidCrossEntropyLoss/valid": "not_equal", "SoftmaxWithLoss/basic": "one_hot",
    "SoftmaxWithLoss/normalize_false": "one_hot", "_Net/train_val_net": "one_hot",
}  # fmt: skip
#: HardSwish divides by 6; Caffe can only multiply by 1/6 (a fork's own type is in neither flavor).
ROUNDED = {"HardSwish/default": 1e-6}


def _flavor(case: Path) -> str:
    return "ssd" if case.parent.name in SSD else "bvlc"


def _through(case: Path, tmp_path: Path) -> tuple[convcore.Model, convcore.Model, dict[str, Any]]:
    model, inputs, _, _ = load_case(case)
    result = convcore.convert(model, "caffe", tmp_path / "net.prototxt", caffe_flavor=_flavor(case), check=False)
    assert [p.name for p in result.paths] == ["net.prototxt", "net.caffemodel"]
    return model, convcore.load(*result.paths, losses="compute"), inputs


@pytest.mark.parametrize("case", [c for c in CASES if c.parent.name != "Python"], ids=name_of)
def test_written_again_every_case_is_the_same(case: Path, tmp_path: Path) -> None:
    name = name_of(case)
    if name in REFUSED:
        with pytest.raises(UnsupportedError, match=REFUSED[name]):
            _through(case, tmp_path)
        assert not list(tmp_path.iterdir())
        return
    model, back, inputs = _through(case, tmp_path)
    assert not back.problems
    with np.errstate(all="ignore"):
        want, got = model.run(inputs), back.run(inputs)
    assert got.keys() == want.keys()
    for blob, a in want.items():
        if name in ROUNDED:
            assert np.abs(got[blob] - a).max() <= ROUNDED[name]
        else:
            assert got[blob].shape == a.shape
            np.testing.assert_array_equal(got[blob], a, err_msg=blob)


#: Cases whose layers come back as they were (types in order); the others are written by equivalent layers.
SAME = [
    "AbsVal/basic", "BNLL/basic", "BatchNorm/conv_bn_scale_relu_inplace", "BatchNorm/fc2d", "BatchNorm/batch_stats",
    "Bias/channel", "Bias/axis0_num2", "Concat/axis_neg", "Convolution/basic", "Convolution/conv3d", "Deconvolution/group",
    "DetectionOutput/corner", "ELU/alpha", "Eltwise/sub", "Eltwise/sum", "Eltwise/max", "Embed/basic", "InnerProduct/basic",
    "LRN/across_k", "MVN/eps", "LSTM/basic", "LSTM/expose_hidden", "LSTM/stacked", "LSTM/x4d", "RNN/basic",
    "RNN/expose_hidden", "RNN/static", "RNN/x4d", "Normalize/ssd", "Normalize/across_spatial", "PReLU/channels", "Permute/nhwc",
    "Pooling/max_pad_clip", "Pooling/ave_pad_ceil", "Pooling/global_ave", "PriorBox/ssd", "ReLU/negative_slope",
    "Reshape/zero_minus1", "Scale/axis0_num2", "Scale/channel_bias", "Sigmoid/basic", "Softmax/axis2", "TanH/basic",
    "Tile/axis1", "_Net/slash_names",
]  # fmt: skip


@pytest.mark.parametrize("case", [c for c in CASES if name_of(c) in SAME], ids=name_of)
def test_the_layers_are_the_ones_they_were(case: Path, tmp_path: Path) -> None:
    """Types, names, blobs' names and every weight blob, bit by bit."""
    _, _, _ = _through(case, tmp_path)
    before = read_net(case / "deploy.prototxt", next(iter(case.glob("weights.caffemodel")), None))
    after = read_net(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    assert [x.type for x in after] == [x.type for x in before]
    for a, b in zip(before, after, strict=True):
        if a.type == "Input":
            continue
        assert (a.name, a.bottoms, a.tops) == (b.name, b.bottoms, b.tops)
        assert len(a.blobs) == len(b.blobs)
        for p, q in zip(a.blobs, b.blobs, strict=True):
            if a.type != "BatchNorm":  # its factor is divided out
                np.testing.assert_array_equal(p.numpy().reshape(-1), q.numpy().reshape(-1))

"""IR -> Caffe -> IR: every net run on the real Caffe is written again, read back, and computes the same to the last bit.

From a file its layers are written as they were; from convcore's own format, which does not hold them, by the rules.
"""

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

#: What the rules cannot write in either flavor, and the op or reason the refusal names.
REFUSED = {
    "Accuracy/spatial_ignore": "one_hot", "Accuracy/top2_perclass": "one_hot",
    "BilinearInterpolate/noalign": "whole factors of H and W", "ContrastiveLoss/basic": "not_equal",
    "ContrastiveLoss/legacy": "not_equal", "Filter/two": "compress", "HingeLoss/l1": "one_hot", "HingeLoss/l2": "one_hot",
    "InfogainLoss/three_bottoms": "one_hot", "MaxUnPool/basic": "max_unpool|scatter",
    "MultinomialLogisticLoss/basic": "one_hot", "SigmoidCrossEntropyLoss/valid": "not_equal", "SoftmaxWithLoss/basic": "one_hot",
    "SoftmaxWithLoss/normalize_false": "one_hot", "_Net/train_val_net": "one_hot",
}  # fmt: skip
#: HardSwish divides by 6; Caffe can only multiply by 1/6 (a fork's own type is in neither flavor).
#: BLAS sums a single row in an order that depends on where the weights lie in the mapped file.
#: A triangle as kernel adds up in another order than weights along each axis.
ROUNDED = {"HardSwish/default": 1e-6, "InnerProduct/axis0": 1e-6, "BilinearInterpolate/align": 1e-6, "Resize/scale2": 1e-6}
#: Forks' layers that BVLC's Caffe has no counterpart for: refused from the file, too.
FOREIGN = {"BilinearInterpolate/noalign", "MaxUnPool/basic"}


def _flavor(case: Path) -> str:
    return "ssd" if case.parent.name in SSD else "bvlc"


def _written(model: convcore.Model, case: Path, tmp_path: Path) -> convcore.Model:
    result = convcore.convert(model, "caffe", tmp_path / "net.prototxt", caffe_flavor=_flavor(case), check=False)
    assert [p.name for p in result.paths] == ["net.prototxt", "net.caffemodel"]
    return convcore.load(*result.paths, losses="compute")


def _same(case: Path, model: convcore.Model, back: convcore.Model, inputs: dict[str, Any]) -> None:
    assert not back.problems
    with np.errstate(all="ignore"):
        want, got = model.run(inputs), back.run(inputs)
    assert got.keys() == want.keys()
    for blob, a in want.items():
        if name_of(case) in ROUNDED:
            assert np.abs(got[blob] - a).max() <= ROUNDED[name_of(case)]
        else:
            assert got[blob].shape == a.shape
            np.testing.assert_array_equal(got[blob], a, err_msg=blob)


_ALL = [c for c in CASES if c.parent.name != "Python"]


@pytest.mark.parametrize("case", _ALL, ids=name_of)
def test_written_by_rules_every_case_is_the_same(case: Path, tmp_path: Path) -> None:
    loaded, inputs, _, _ = load_case(case)
    loaded.save(tmp_path / "net.ccir")
    model = convcore.load(tmp_path / "net.ccir")
    (tmp_path / "out").mkdir()
    if name_of(case) in REFUSED:
        with pytest.raises(UnsupportedError, match=REFUSED[name_of(case)]):
            _written(model, case, tmp_path / "out")
        assert not list((tmp_path / "out").iterdir())
        return
    _same(case, model, _written(model, case, tmp_path / "out"), inputs)


#: Cases whose layers do not come back as they were: forks' types and fields, and layers in place over an input or an Eltwise
#: (their blobs are the last values).
OTHERWISE = {
    "BilinearInterpolate/align", "Pad/reflect", "Pad/replicate", "Resize/scale2",
    "Eltwise/inplace_max", "Eltwise/inplace_prod", "HardSigmoid/default", "HardSwish/default", "PixelShuffle/x2",
    "Pooling/fork_ceil_mode_false", "ReLU6/default", "Silence/basic", "Unsqueeze/d1", "Upsample/nearest2", "_Net/inplace_chain",
}  # fmt: skip
_SOURCES = ("Input", "HDF5Data", "MemoryData")


@pytest.mark.parametrize("case", _ALL, ids=name_of)
def test_layers_of_a_caffe_net_stay_as_they_were(case: Path, tmp_path: Path) -> None:
    """Types, names, blobs' names, parameters and every weight blob, bit by bit."""
    model, inputs, _, _ = load_case(case)
    if name_of(case) in FOREIGN:
        with pytest.raises(UnsupportedError, match=REFUSED[name_of(case)]):
            _written(model, case, tmp_path)
        assert not list(tmp_path.iterdir())
        return
    _same(case, model, _written(model, case, tmp_path), inputs)
    source = read_net(case / "deploy.prototxt", next(iter(case.glob("weights.caffemodel")), None))
    before = [x for x in source if x.type not in _SOURCES]
    after = [x for x in read_net(tmp_path / "net.prototxt", tmp_path / "net.caffemodel") if x.type not in _SOURCES]
    same = [(x.type, x.name, x.bottoms, x.tops) for x in after] == [(x.type, x.name, x.bottoms, x.tops) for x in before]
    assert same == (name_of(case) not in OTHERWISE)
    for a, b in zip(before, after, strict=False) if same else ():
        assert a.params == b.params and a.param_specs == b.param_specs and a.loss_weight == b.loss_weight
        assert len(a.blobs) == len(b.blobs)
        for p, q in zip(a.blobs, b.blobs, strict=True):
            np.testing.assert_array_equal(p.numpy().reshape(-1), q.numpy().reshape(-1))

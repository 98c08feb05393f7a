"""What an attribute of an op is when it is left out: what the framework says that the op is from, each named."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.interpreter import run
from convcore.ir.graph import Graph
from convcore.opset import all_ops

ONNX: dict[str, str] = {
    # op.attribute: operator.attribute, whose default onnx.defs tells (the newest version)
    "isinf_signed.positive": "IsInf.detect_positive", "isinf_signed.negative": "IsInf.detect_negative",
    "cast.saturate": "Cast.saturate", "elu.alpha": "Elu.alpha", "celu.alpha": "Celu.alpha", "softmax.axis": "Softmax.axis",
    "log_softmax.axis": "LogSoftmax.axis", "hardmax.axis": "Hardmax.axis", "attention.causal": "Attention.is_causal",
    "attention.softcap": "Attention.softcap", "rotary_embedding.interleaved": "RotaryEmbedding.interleaved",
    "conv.groups": "Conv.group", "conv_transpose.groups": "ConvTranspose.group",
    "avg_pool.count_include_pad": "AveragePool.count_include_pad", "lp_pool.p": "LpPool.p",
    "lp_normalize.axis": "LpNormalization.axis", "lp_normalize.p": "LpNormalization.p", "lstm.input_forget": "LSTM.input_forget",
    "resize.cubic_a": "Resize.cubic_coeff_a", "resize.exclude_outside": "Resize.exclude_outside",
    "resize.antialias": "Resize.antialias", "grid_sample.align_corners": "GridSample.align_corners",
    "affine_grid.align_corners": "AffineGrid.align_corners", "nms.centre_form": "NonMaxSuppression.center_point_box",
    "argmax.last": "ArgMax.select_last_index", "argmin.last": "ArgMin.select_last_index",
    "cumsum.exclusive": "CumSum.exclusive", "cumsum.reverse": "CumSum.reverse", "topk.axis": "TopK.axis",
    "topk.largest": "TopK.largest", "topk.sorted": "TopK.sorted", "gather.axis": "Gather.axis",
    "gather_nd.batch_dims": "GatherND.batch_dims", "unique.sorted": "Unique.sorted", "shape_of.start": "Shape.start",
    "eye.k": "EyeLike.k", "eye_like.k": "EyeLike.k", "one_hot.axis": "OneHot.axis",
    "quantize.saturate": "QuantizeLinear.saturate",
    "quantize_blocks.saturate": "QuantizeLinear.saturate", "dft.inverse": "DFT.inverse", "dft_pairs.inverse": "DFT.inverse",
    "dft_pairs.onesided": "DFT.onesided", "stft.onesided": "STFT.onesided", "conv_integer.groups": "ConvInteger.group",
    "qlinear_conv.groups": "QLinearConv.group", "roi_align.scale": "RoiAlign.spatial_scale",
    "roi_align.samples": "RoiAlign.sampling_ratio", "deform_conv.groups": "DeformConv.group",
    "deform_conv.offset_groups": "DeformConv.offset_group",
    "string_normalize.case_sensitive": "StringNormalizer.is_case_sensitive",
    "sequence_concat.stack": "ConcatFromSequence.new_axis", "split_to_sequence.axis": "SplitToSequence.axis",
    "split_to_sequence.keepdims": "SplitToSequence.keepdims",
}  # fmt: skip

CAFFE: dict[str, str] = {
    # op.attribute: the field of a message of caffe.proto (BVLC's, or of the ssd branch)
    "prior_box.flip": "PriorBoxParameter.flip", "prior_box.offset": "PriorBoxParameter.offset",
    "detection_output.share_location": "DetectionOutputParameter.share_location",
    "detection_output.background": "DetectionOutputParameter.background_label_id",
    "detection_output.variance_encoded_in_target": "DetectionOutputParameter.variance_encoded_in_target",
    "detection_output.keep_top_k": "DetectionOutputParameter.keep_top_k",
    "detection_output.nms_threshold": "NonMaximumSuppressionParameter.nms_threshold",
    "detection_output.nms_eta": "NonMaximumSuppressionParameter.eta",
    "roi_pool.spatial_scale": "ROIPoolingParameter.spatial_scale",
    "mean_variance_norm.normalize_variance": "MVNParameter.normalize_variance",
}  # fmt: skip

OWN: dict[str, tuple[Any, str]] = {
    "batch_dot.normalize": (False, "keras.layers.Dot"), "batch_dot.epsilon": (1e-7, "keras.config.epsilon()"),
    "attention.guard": (False, "rows of which no key is seen are NaN, as torch has them"),
    "attention.weights": (False, "MultiHeadAttention of Keras: return_attention_scores"),
    "multi_head_attention.kv_heads": (0, "as many as heads: MultiHeadAttention of Keras"),
    "multi_head_attention.causal": (False, "MultiHeadAttention of Keras: use_causal_mask"),
    "multi_head_attention.guard": (False, "as attention's"), "multi_head_attention.weights": (False, "as attention's"),
    "batch_norm.axis": (1, "torch.nn.BatchNorm"), "group_norm.axis": (1, "torch.nn.GroupNorm"),
    "instance_norm.axis": (1, "torch.nn.InstanceNorm"), "lrn.axis": (1, "torch.nn.LocalResponseNorm"),
    "shuffle_channels.axis": (1, "torch.nn.ChannelShuffle"), "sparsemax.axis": (-1, "keras.ops.sparsemax"),
    "lstm.zero_output_for_mask": (False, "keras.layers.LSTM"), "gru.zero_output_for_mask": (False, "keras.layers.GRU"),
    "rnn.zero_output_for_mask": (False, "keras.layers.SimpleRNN"),
    "prior_box.max_sizes": ((), "PriorBoxParameter: repeated"), "prior_box.aspect_ratios": ((), "PriorBoxParameter: repeated"),
    "prior_box.clip": (False, "PriorBoxParameter"), "prior_box.variances": ((0.1,), "prior_box_layer.cpp: set default to 0.1"),
    "detection_output.nms_top_k": (-1, "detection_output_layer.cpp: top_k_ = -1"),
    "psroi_pool.spatial_scale": (1.0, "as roi_pool's"), "nms.iou_threshold": (0.0, "NonMaxSuppression: 0 where left out"),
    "roi_align.half_pixel": (True, "RoiAlign: coordinate_transformation_mode"), "dropout.shared": ((), "torch.nn.Dropout"),
    "one_hot.wrap_negative": (False, "torch and Keras take none"), "string_normalize.stopwords": ((), "StringNormalizer"),
    "count_ngrams.shortest": (1, "TfIdfVectorizer"), "count_ngrams.longest": (1, "TfIdfVectorizer"),
    "count_ngrams.skips": (0, "TfIdfVectorizer"), "dft_pairs.axis": (-2, "DFT: before the last axis, of the parts"),
}  # fmt: skip
"""What no schema holds: the value, and whose it is."""

X = np.random.default_rng(5).normal(size=(2, 3, 5)).astype("f4")
MASK = X > 0


def _torch(name: str) -> Callable[..., Any]:
    def call(*arrays: Any, **more: Any) -> Any:
        import torch

        found: Any = torch
        for part in name.split("."):
            found = getattr(found, part)
        return found(*(torch.from_numpy(np.asarray(a)) for a in arrays), **more).numpy()

    return call


def _reduced(name: str, wanted: Callable[[Any], Any], x: Any = X) -> tuple[str, dict[str, Any], list[Any], Callable[[Any], Any]]:
    return f"{name}.keepdims", {"axes": (1,)}, [x], wanted


BEHAVE: list[tuple[str, dict[str, Any], list[Any], Callable[..., Any]]] = [
    # op.attributes, what is given, inputs, what is wanted of them
    _reduced("sum", lambda x: x.sum(1)), _reduced("mean", lambda x: x.mean(1)), _reduced("max", lambda x: x.max(1)),
    _reduced("min", lambda x: x.min(1)), _reduced("prod", lambda x: x.prod(1)), _reduced("any", lambda x: x.any(1), MASK),
    _reduced("all", lambda x: x.all(1), MASK), _reduced("logsumexp", lambda x: _torch("logsumexp")(x, dim=1)),
    _reduced("sum_square", lambda x: (x * x).sum(1)), _reduced("l1_norm", lambda x: np.linalg.norm(x, 1, axis=1)),
    _reduced("l2_norm", lambda x: np.linalg.norm(x, 2, axis=1)), _reduced("log_sum", lambda x: np.log(x.sum(1)), abs(X)),
    ("variance.keepdims.ddof", {"axes": (1,)}, [X], lambda x: x.var(1)),
    ("std.keepdims.ddof", {"axes": (1,)}, [X], lambda x: x.std(1)),
    ("argmax.keepdims", {"axis": 1}, [X], lambda x: x.argmax(1)), ("argmin.keepdims", {"axis": 1}, [X], lambda x: x.argmin(1)),
    ("cumprod.exclusive.reverse", {"axis": 1}, [X], lambda x: x.cumprod(1)),
    ("glu.axis", {}, [X[..., :4]], _torch("nn.functional.glu")),
    ("sort.axis.descending", {}, [X], np.sort), ("argsort.axis.descending", {}, [X], np.argsort),
    ("selu.alpha.gamma", {}, [X.astype("f8")], _torch("selu")),
    ("pad.value", {"pads": ((0, 1), (2, 0), (0, 0)), "mode": "constant"}, [X], lambda x: np.pad(x, ((0, 1), (2, 0), (0, 0)))),
    ("fill.value", {"shape": (2, 3)}, [], lambda: np.zeros((2, 3), "f4")), ("trilu.k", {"upper": True}, [X], np.triu),
    ("one_hot.on_value.off_value", {"depth": 7}, [np.array([[2, 0, 5]])],
     lambda i: _torch("nn.functional.one_hot")(i, num_classes=7)),
    ("bessel.scaled", {"kind": "i", "order": 0}, [X], _torch("special.i0")), ("dft.axis", {}, [X.astype("c8")], np.fft.fft),
]  # fmt: skip


def plain() -> dict[str, Any]:
    """The defaults that are numbers, flags or none of them, by op and attribute."""
    return {
        f"{o.name}.{k}": a.default
        for o in all_ops().values()
        for k, a in o.attrs.items()
        if isinstance(a.default, (bool, int, float, tuple)) and o.distribution == "convcore" and not o.name.startswith("dynamic_")
    }


def test_every_default_has_a_judge() -> None:
    behave = [f"{name}.{a}" for key, *_ in BEHAVE for name, *attrs in [key.split(".")] for a in attrs]
    judged = [*ONNX, *CAFFE, *OWN, *behave]
    assert len(judged) == len(set(judged)) and set(judged) == plain().keys()


@pytest.mark.parametrize("key", ONNX)
def test_as_the_standard_has_it(key: str) -> None:
    onnx = pytest.importorskip("onnx")
    operator, attribute = ONNX[key].split(".")
    told = onnx.helper.get_attribute_value(onnx.defs.get_schema(operator).attributes[attribute].default_value)
    assert plain()[key] == pytest.approx(told, rel=1e-6)


@pytest.mark.parametrize("key", CAFFE)
def test_as_caffe_proto_has_it(key: str) -> None:
    descriptors = pytest.importorskip("convcore_caffe.files.descriptors")
    message, name = CAFFE[key].split(".")
    assert plain()[key] == descriptors.message_type(message).by_name[name].default


@pytest.mark.parametrize("key", OWN)
def test_as_others_have_it(key: str) -> None:
    value, whose = OWN[key]
    assert whose and plain()[key] == value and type(plain()[key]) is type(value)


@pytest.mark.parametrize("case", BEHAVE, ids=lambda c: c[0])
def test_what_is_computed_without_it(case: Any) -> None:
    key, given, arrays, wanted = case
    g = Graph("g")
    b = Builder(g)
    ins = [b.input(f"x{i}", str(a.dtype), a.shape) for i, a in enumerate(arrays)]
    g.outputs = [b.op(key.split(".")[0], *ins, **given)]
    (got,), want = run(g, *arrays), np.asarray(wanted(*arrays))
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_parameters_of_torch_have_the_same_defaults() -> None:
    nn = pytest.importorskip("torch").nn
    for made, name, key in (
        (nn.Conv2d, "groups", "conv.groups"), (nn.ConvTranspose2d, "groups", "conv_transpose.groups"),
        (nn.ELU, "alpha", "elu.alpha"), (nn.CELU, "alpha", "celu.alpha"), (nn.GLU, "dim", "glu.axis"),
    ):  # fmt: skip
        assert inspect.signature(made).parameters[name].default == plain()[key]


TRAINING = {
    "batch_norm.momentum": 0.3, "gaussian_noise.stddev": 3.0, "gaussian_noise.seed": 7, "dropout.rate": 0.9, "dropout.seed": 7,
    "dropout.shared": (0,), "dropout.kind": "alpha", "embedding.padding_idx": 1,
}  # fmt: skip
"""What only training needs, and another value of it."""


def test_what_only_training_needs_changes_no_result() -> None:
    flagged = {
        f"{o.name}.{k}" for o in all_ops().values() if o.distribution == "convcore" for k, a in o.attrs.items() if a.training
    }
    assert flagged == TRAINING.keys()
    for key, other in TRAINING.items():
        name, attribute = key.split(".")
        decl = all_ops()[name]
        sample = next(s for s in decl.samples if s.attrs.get(attribute) != other)
        results = []
        for attrs in (sample.attrs, {**sample.attrs, attribute: other}):
            g = Graph("g")
            b = Builder(g)
            arrays = [a for a in sample.arrays() if a is not None]
            ins = [b.input(f"x{i}", str(a.dtype), a.shape) for i, a in enumerate(arrays)]
            g.outputs = [b.op(name, *ins, **attrs)]
            results.append(run(g, *arrays)[0])
        np.testing.assert_array_equal(*results)

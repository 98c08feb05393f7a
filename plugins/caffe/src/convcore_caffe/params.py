"""Which parameter messages a layer type reads, and the names of its weight blobs."""

from __future__ import annotations

import re

__all__ = ["BLOBS", "params_of"]

_CONVOLUTION = ("convolution_param",)
_RECURRENT = ("recurrent_param",)

_PARAMS: dict[str, tuple[str, ...]] = {
    "Accuracy": ("accuracy_param",), "ArgMax": ("argmax_param",),
    "AnnotatedData": ("annotated_data_param", "data_param", "transform_param"),
    "BN": ("bn_param", "batch_norm_param"), "BatchNorm": ("batch_norm_param",), "Convolution": _CONVOLUTION,
    "ConvolutionDepthwise": _CONVOLUTION, "Data": ("data_param", "transform_param"), "Deconvolution": _CONVOLUTION,
    "DenseImageData": ("dense_image_data_param", "transform_param"), "DepthwiseConvolution": _CONVOLUTION,
    "EuclideanLoss": ("loss_param",), "HDF5Data": ("hdf5_data_param", "transform_param"), "HDF5Output": ("hdf5_output_param",),
    "ContrastiveLoss": ("contrastive_loss_param", "loss_param"), "HardSigmoid": ("hardsigmoid_param", "hard_sigmoid_param"),
    "HingeLoss": ("hinge_loss_param", "loss_param"), "Im2col": _CONVOLUTION, "ImageData": ("image_data_param", "transform_param"),
    "InfogainLoss": ("infogain_loss_param", "loss_param", "softmax_param"), "LSTM": _RECURRENT,
    "MemoryData": ("memory_data_param", "transform_param"), "MultinomialLogisticLoss": ("loss_param",),
    "MultiBoxLoss": ("multibox_loss_param", "loss_param"), "Normalize": ("norm_param",), "RNN": _RECURRENT,
    "ROIPooling": ("roi_pooling_param",), "PSROIPooling": ("psroi_pooling_param",), "PixelShuffle": ("pixelshuffle_param",),
    "SigmoidCrossEntropyLoss": ("loss_param",), "SoftmaxWithLoss": ("loss_param", "softmax_param"),
    "VideoData": ("video_data_param", "data_param", "transform_param"), "WindowData": ("window_data_param", "transform_param"),
    "MaxUnPool": ("max_unpool_param",), "BilinearInterpolate": ("bilinear_interpolate_param",),
}  # fmt: skip


def params_of(type_: str) -> tuple[str, ...]:
    """Fields of LayerParameter a layer of this type reads: by default its name in snake case with ``_param``."""
    found = _PARAMS.get(type_)
    if found is not None:
        return found
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type_).lower()
    plain = type_.lower()
    return (f"{snake}_param",) if snake == plain else (f"{snake}_param", f"{plain}_param")


#: Weight blobs by type, in Caffe's order. Bias blobs may be absent (bias_term).
BLOBS: dict[str, tuple[str, ...]] = {
    "Convolution": ("weight", "bias"), "Deconvolution": ("weight", "bias"), "ConvolutionDepthwise": ("weight", "bias"),
    "DepthwiseConvolution": ("weight", "bias"), "InnerProduct": ("weight", "bias"), "Embed": ("weight", "bias"),
    "BatchNorm": ("mean", "variance", "factor"), "Scale": ("scale", "bias"), "Bias": ("bias",), "PReLU": ("slope",),
    "Normalize": ("scale",), "Parameter": ("parameter",), "BN": ("scale", "bias", "mean", "variance"),
    "LSTM": ("weight_x", "bias", "weight_static", "weight_h"),
    "RNN": ("weight_xh", "bias_h", "weight_static", "weight_hh", "weight_ho", "bias_o"),
}  # fmt: skip

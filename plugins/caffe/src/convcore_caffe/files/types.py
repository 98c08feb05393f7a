"""What the file layer knows of layer types: old names, who has weights, how many blobs go in and out (BVLC master
9b891540)."""

from __future__ import annotations

__all__ = ["DATA_TYPES", "LOSS_TYPES", "NO_INPLACE", "UPSTREAM_COUNTS", "V0_FIELDS", "V0_TYPES", "V1_TYPES", "WEIGHTED_TYPES"]

#: V1 enum name -> type; from BN on they are forks'.
V1_TYPES = {
    "NONE": "", "ABSVAL": "AbsVal", "ACCURACY": "Accuracy", "ARGMAX": "ArgMax", "BNLL": "BNLL", "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss", "CONVOLUTION": "Convolution", "DATA": "Data",
    "DECONVOLUTION": "Deconvolution", "DROPOUT": "Dropout", "DUMMY_DATA": "DummyData", "ELTWISE": "Eltwise",
    "EUCLIDEAN_LOSS": "EuclideanLoss", "EXP": "Exp", "FLATTEN": "Flatten", "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output", "HINGE_LOSS": "HingeLoss", "IM2COL": "Im2col", "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss", "INNER_PRODUCT": "InnerProduct", "LRN": "LRN", "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss", "MVN": "MVN", "POOLING": "Pooling", "POWER": "Power",
    "RELU": "ReLU", "SIGMOID": "Sigmoid", "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence", "SLICE": "Slice", "SOFTMAX": "Softmax", "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split", "TANH": "TanH", "THRESHOLD": "Threshold", "WINDOW_DATA": "WindowData", "BN": "BN",
    "UPSAMPLE": "Upsample", "CROP": "Crop", "PRELU": "PReLU", "ROI_POOLING": "ROIPooling",
    "DENSE_IMAGE_DATA": "DenseImageData",
}  # fmt: skip

#: V0 type string -> V1 enum name ("padding" is folded away before).
V0_TYPES = {
    "accuracy": "ACCURACY", "bnll": "BNLL", "concat": "CONCAT", "conv": "CONVOLUTION", "data": "DATA",
    "dropout": "DROPOUT", "euclidean_loss": "EUCLIDEAN_LOSS", "flatten": "FLATTEN", "hdf5_data": "HDF5_DATA",
    "hdf5_output": "HDF5_OUTPUT", "im2col": "IM2COL", "images": "IMAGE_DATA", "infogain_loss": "INFOGAIN_LOSS",
    "innerproduct": "INNER_PRODUCT", "lrn": "LRN", "multinomial_logistic_loss": "MULTINOMIAL_LOGISTIC_LOSS",
    "pool": "POOLING", "relu": "RELU", "sigmoid": "SIGMOID", "softmax": "SOFTMAX", "softmax_loss": "SOFTMAX_LOSS",
    "split": "SPLIT", "tanh": "TANH", "window_data": "WINDOW_DATA",
}  # fmt: skip

_PARAM = {
    "conv": "convolution_param", "innerproduct": "inner_product_param", "pool": "pooling_param", "lrn": "lrn_param",
    "dropout": "dropout_param", "concat": "concat_param", "data": "data_param", "images": "image_data_param",
    "hdf5_data": "hdf5_data_param", "window_data": "window_data_param", "infogain_loss": "infogain_loss_param",
}  # fmt: skip


def _v0(new: str, *types: str) -> dict[str, tuple[str, str]]:
    return {t: (_PARAM[t], new) for t in types}


#: V0 field -> {V0 type: (parameter message, field)}; on another type Caffe ignores it, with an error in its log.
V0_FIELDS: dict[str, dict[str, tuple[str, str]]] = {
    "num_output": _v0("num_output", "conv", "innerproduct"),
    "biasterm": _v0("bias_term", "conv", "innerproduct"),
    "weight_filler": _v0("weight_filler", "conv", "innerproduct"),
    "bias_filler": _v0("bias_filler", "conv", "innerproduct"),
    "pad": _v0("pad", "conv", "pool"),
    "kernelsize": _v0("kernel_size", "conv", "pool"),
    "group": _v0("group", "conv"),
    "stride": _v0("stride", "conv", "pool"),
    "pool": _v0("pool", "pool"),
    "dropout_ratio": _v0("dropout_ratio", "dropout"),
    "local_size": _v0("local_size", "lrn"),
    "alpha": _v0("alpha", "lrn"),
    "beta": _v0("beta", "lrn"),
    "k": _v0("k", "lrn"),
    "source": _v0("source", "data", "hdf5_data", "images", "window_data", "infogain_loss"),
    "batchsize": _v0("batch_size", "data", "hdf5_data", "images", "window_data"),
    "rand_skip": _v0("rand_skip", "data", "images"),
    "shuffle_images": _v0("shuffle", "images"),
    "new_height": _v0("new_height", "images"),
    "new_width": _v0("new_width", "images"),
    "concat_dim": _v0("concat_dim", "concat"),
    "det_fg_threshold": _v0("fg_threshold", "window_data"),
    "det_bg_threshold": _v0("bg_threshold", "window_data"),
    "det_fg_fraction": _v0("fg_fraction", "window_data"),
    "det_context_pad": _v0("context_pad", "window_data"),
    "det_crop_mode": _v0("crop_mode", "window_data"),
    "hdf5_output_param": {"hdf5_output": ("hdf5_output_param", "")},
}

#: V0 fields every type may give, which become ``transform_param``.
V0_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}

#: Layers whose tops come from outside the net (AnnotatedData, VideoData: SSD; DenseImageData: SegNet).
DATA_TYPES = frozenset(
    [
        "Data",
        "ImageData",
        "WindowData",
        "HDF5Data",
        "MemoryData",
        "DummyData",
        "AnnotatedData",
        "VideoData",
        "DenseImageData",
    ]
)

#: Layers that hold weights in every use; Scale and Bias do with one bottom.
WEIGHTED_TYPES = frozenset(
    ["Convolution", "Deconvolution", "InnerProduct", "BatchNorm", "PReLU", "Embed", "LSTM", "RNN", "Parameter"]
    + ["Normalize", "BN", "ConvolutionDepthwise", "DepthwiseConvolution"]
)

#: Loss layers: their one top may be left out, and has loss weight 1 unless weights are given.
LOSS_TYPES = frozenset(
    ["ContrastiveLoss", "EuclideanLoss", "HingeLoss", "InfogainLoss", "MultinomialLogisticLoss", "SigmoidCrossEntropyLoss"]
    + ["SoftmaxWithLoss"]
)

#: Layers whose Reshape CHECKs top[0] != bottom[0].
NO_INPLACE = frozenset(["AbsVal", "Flatten", "Reshape"])

_ONE = (1, 1, 1, 1)
#: Upstream type -> (least bottoms, most bottoms, least tops, most tops); None: no limit.
UPSTREAM_COUNTS: dict[str, tuple[int, int | None, int, int | None]] = {
    **dict.fromkeys(
        [
            "AbsVal",
            "BNLL",
            "Clip",
            "Dropout",
            "ELU",
            "Exp",
            "Log",
            "Power",
            "PReLU",
            "ReLU",
            "Sigmoid",
            "Swish",
            "TanH",
            "Threshold",
        ]
        + [
            "ArgMax",
            "BatchNorm",
            "Embed",
            "Flatten",
            "Im2col",
            "InnerProduct",
            "LRN",
            "MVN",
            "Reduction",
            "Reshape",
            "Softmax",
        ]
        + ["SPP", "Tile"],
        _ONE,
    ),
    "Accuracy": (2, 2, 1, 2),
    "BatchReindex": (2, 2, 1, 1),
    "Bias": (1, 2, 1, 1),
    "Concat": (1, None, 1, 1),
    "ContrastiveLoss": (3, 3, 0, 1),
    "Convolution": (1, None, 1, None),
    "Crop": (2, 2, 1, 1),
    "Data": (0, 0, 1, 2),
    "Deconvolution": (1, None, 1, None),
    "DummyData": (0, 0, 1, None),
    "Eltwise": (2, None, 1, 1),
    "EuclideanLoss": (2, 2, 0, 1),
    "Filter": (2, None, 1, None),
    "HDF5Data": (0, 0, 1, None),
    "HDF5Output": (2, 2, 0, 0),
    "HingeLoss": (2, 2, 0, 1),
    "ImageData": (0, 0, 2, 2),
    "InfogainLoss": (2, 3, 0, 2),
    "Input": (0, 0, 0, None),
    "LSTM": (2, 5, 1, 3),
    "LSTMUnit": (3, 3, 2, 2),
    "MemoryData": (0, 0, 2, 2),
    "MultinomialLogisticLoss": (2, 2, 0, 1),
    "Parameter": (0, 0, 1, 1),
    "Pooling": (1, 1, 1, 2),
    "Python": (0, None, 0, None),
    "RNN": (2, 4, 1, 2),
    "Scale": (1, 2, 1, 1),
    "SigmoidCrossEntropyLoss": (2, 2, 0, 1),
    "Silence": (1, None, 0, 0),
    "Slice": (1, 1, 1, None),
    "SoftmaxWithLoss": (2, 2, 0, 2),
    "Split": (1, 1, 1, None),
    "WindowData": (0, 0, 2, 2),
}

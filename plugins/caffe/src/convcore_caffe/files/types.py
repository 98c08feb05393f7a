"""What the two old generations of files call layer types and parameters (BVLC master 9b891540)."""

from __future__ import annotations

from functools import cache

from ..layer_spec import specs

__all__ = ["V0_FIELDS", "V0_TRANSFORM", "v0_types", "v1_types"]


@cache
def v1_types() -> dict[str, str]:
    """V1 enum name -> type."""
    return {"NONE": "", **{s.v1.split()[0]: s.name for s in specs() if s.v1}}


@cache
def v0_types() -> dict[str, str]:
    """V0 type string -> V1 enum name ("padding" is folded away before)."""
    return {s.v0: s.v1.split()[0] for s in specs() if s.v0}


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

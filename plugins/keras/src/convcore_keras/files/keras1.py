"""Keras 1 configurations in Keras 2/3 words (names from the ``get_config`` methods of Keras 1.2.2)."""

from __future__ import annotations

from typing import Any

from convcore.plugin import Problem, UnsupportedError, ask_option

__all__ = ["MERGE_MODES", "modernise"]

_DROP = {
    "consume_less", "forget_bias_init", "init", "inner_init", "W_regularizer", "U_regularizer", "b_regularizer",
    "W_constraint", "b_constraint", "gamma_regularizer", "beta_regularizer", "W_initializer", "mode_type",
    "output_shape_type", "output_mask_type", "weights", "cache_enabled", "custom_name", "input_length",
}  # fmt: skip
_RENAME = {
    "nb_filter": "filters", "border_mode": "padding", "subsample": "strides", "subsample_length": "strides",
    "filter_length": "kernel_size", "atrous_rate": "dilation_rate", "bias": "use_bias", "p": "rate", "sigma": "stddev",
    "inner_activation": "recurrent_activation", "dropout_W": "dropout", "dropout_U": "recurrent_dropout",
    "pool_length": "pool_size", "stride": "strides", "length": "size",
}  # fmt: skip
_UNITS = {"Dense", "TimeDistributedDense", "LSTM", "GRU", "SimpleRNN", "MaxoutDense"}
_SPATIAL = ("2D", "3D")
MERGE_MODES = {
    "sum": "Add",
    "mul": "Multiply",
    "ave": "Average",
    "max": "Maximum",
    "concat": "Concatenate",
    "dot": "Dot",
}


def modernise(cls: str, config: dict[str, Any], layer: str, image_format: str | None) -> tuple[str, dict[str, Any]]:
    """The Keras 2 class and configuration of a Keras 1 layer.

    ``image_format`` is the data format the rest of the model states: Keras 1 does not write it for UpSampling,
    ZeroPadding and Cropping layers. Raises UnsupportedError for what Keras 2 cannot say (BatchNormalization modes 1
    and 2) or the file omits.
    """
    old = dict(config)
    new: dict[str, Any] = {}
    kernel = [old.pop(k) for k in ("nb_row", "nb_col") if k in old]
    kernel = kernel or [old.pop(k) for k in ("kernel_dim1", "kernel_dim2", "kernel_dim3") if k in old]
    if kernel:
        new["kernel_size"] = kernel
    if cls in _UNITS and "output_dim" in old:
        new["units"] = old.pop("output_dim")
    if cls != "Embedding":
        old.pop("input_dim", None)
    else:
        old.pop("dropout", None)
    ordering = old.pop("dim_ordering", None)
    if cls == "BatchNormalization":
        mode = old.pop("mode", 0)
        if mode not in (0,):
            raise UnsupportedError(
                Problem(
                    layer,
                    cls,
                    f"Keras 1 mode {mode!r} normalises with "
                    + ("each sample's" if mode == 1 else "each batch's")
                    + " own statistics at inference, which BatchNormalization cannot express",
                    "retrain or replace the layer with mode=0",
                )
            )
    if cls in ("Deconvolution2D", "Deconvolution3D", "Deconv2D", "Deconv3D") and "output_shape" in old:
        new["legacy_output_shape"] = old.pop("output_shape")
    if cls == "Merge":
        cls, merged = _merge(old)
        return cls, {**new, **merged}
    for key, value in old.items():
        if key not in _DROP:
            new[_RENAME.get(key, key)] = value
    if any(s in cls for s in _SPATIAL):
        new["data_format"] = _data_format(cls, layer, ordering, image_format)
    return cls, new


def _data_format(cls: str, layer: str, ordering: str | None, image_format: str | None) -> str:
    if ordering in ("th", "tf"):
        return "channels_first" if ordering == "th" else "channels_last"
    if image_format is None:
        raise UnsupportedError(
            Problem(
                layer,
                cls,
                "Keras 1 did not store the axis order of this layer, and no other layer of the model states one",
                f"pass {ask_option('kernels', 'tensorflow')} (channels last) or "
                f"{ask_option('kernels', 'theano')} (channels first)",
            )
        )
    return image_format


def _merge(old: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    mode = old.get("mode")
    keep: dict[str, Any] = {k: old[k] for k in ("name", "trainable") if k in old}
    if mode == "concat":
        return "Concatenate", {**keep, "axis": old.get("concat_axis", -1)}
    if mode == "dot":
        return "Dot", {**keep, "axes": old.get("dot_axes", -1), "normalize": False}
    if isinstance(mode, str) and mode in MERGE_MODES and old.get("mode_type", "raw") == "raw":
        return MERGE_MODES[mode], keep
    return "Merge", {k: v for k, v in old.items() if k != "layers"}

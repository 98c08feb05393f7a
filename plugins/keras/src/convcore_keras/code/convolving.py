"""Convolution, pooling and images by TensorFlow's and Keras 2's functions, channels last (TensorFlow and Keras 2.15)."""

from __future__ import annotations

from typing import Any

from .meanings import argument_values, floating_tensor, tensor_argument
from .tensors import GraphOps, meaning
from .values import CodeRefused

__all__: list[str] = []


def _inner(x: Any, axes: int, what: str) -> Any:
    """``strides``, ``ksize`` or ``dilations`` of the spatial axes, from a number, one for each, or one for every axis."""
    if x is None:
        return None
    if isinstance(x, int):
        return x
    found = tuple(x)
    if len(found) == axes + 2:
        if found[0] != 1 or found[-1] != 1:
            raise CodeRefused(f"gives the batch or the channels {what}")
        found = found[1:-1]
    if len(found) == 1:
        return found[0]
    if len(found) != axes:
        raise CodeRefused(f"gives {len(found)} {what} for {axes} axes")
    return found


def _padding(x: Any) -> str:
    if not isinstance(x, str) or x.lower() not in ("same", "valid"):
        raise CodeRefused(f"pads by {x!r}")
    return x.lower()


def _channels_last(x: Any) -> str:
    if x not in (None, "NHWC", "NWC", "NDHWC", "channels_last"):
        raise CodeRefused(f"has the data format {x!r}")
    return "channels_last"


@meaning("tensorflow.conv2d", "tensorflow.conv1d", "tensorflow.conv3d", "tensorflow.convolution", "keras.backend.conv2d",
         "keras.backend.conv1d", "keras.backend.conv3d")  # fmt: skip
def conv(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A convolution with a kernel (*sizes, in, out)."""
    names = {"x": "input", "kernel": "filters", "filter": "filters", "dilation_rate": "dilations", "stride": "strides"}
    given = {names.get(k, k): v for k, v in kwargs.items()}
    if len(args) > 4:
        raise CodeRefused("convolves with more than four arguments by position")
    b = argument_values("input, filters, strides=1, padding='VALID', data_format=None, dilations=None", args, given)
    x = floating_tensor(b["input"])
    axes = len(t.shape(x)) - 2
    return t.operation(
        "Conv", x, tensor_argument(b["filters"]), strides=_inner(b["strides"], axes, "strides") or 1,
        padding=_padding(b["padding"]), data_format=_channels_last(b["data_format"]),
        dilation_rate=_inner(b["dilations"], axes, "dilations") or 1,
    )  # fmt: skip


@meaning("tensorflow.depthwise_conv2d", "keras.backend.depthwise_conv2d")
def depthwise(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A convolution of each channel by itself, kernel (h, w, channels, multiplier)."""
    names = {"x": "input", "depthwise_kernel": "filter", "dilation_rate": "dilations"}
    given = {names.get(k, k): v for k, v in kwargs.items()}
    b = argument_values("input, filter, strides=1, padding='VALID', data_format=None, dilations=None", args, given)
    return t.operation(
        "DepthwiseConv", floating_tensor(b["input"]), tensor_argument(b["filter"]),
        strides=_inner(b["strides"], 2, "strides") or 1, padding=_padding(b["padding"]),
        data_format=_channels_last(b["data_format"]),
        dilation_rate=_inner(b["dilations"], 2, "dilations") or 1,
    )  # fmt: skip


def _pool(t: GraphOps, kind: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    names = {"value": "input", "x": "input", "pool_size": "ksize"}
    b = argument_values(
        "input, ksize, strides=None, padding='valid', data_format=None", args, {names.get(k, k): v for k, v in kwargs.items()}
    )
    x = floating_tensor(b["input"])
    axes = len(t.shape(x)) - 2
    size = _inner(b["ksize"], axes, "sizes")
    return t.operation(
        kind, x, pool_size=size, strides=_inner(b["strides"], axes, "strides") or size, padding=_padding(b["padding"]),
        data_format=_channels_last(b["data_format"]),
    )  # fmt: skip


@meaning("tensorflow.max_pool", "tensorflow.max_pool2d", "tensorflow.max_pool1d")
def max_pool(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The largest of each window."""
    return _pool(t, "MaxPool", args, kwargs)


@meaning("tensorflow.avg_pool", "tensorflow.avg_pool2d", "tensorflow.avg_pool1d")
def average_pool(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The mean of each window, of what is inside the image."""
    return _pool(t, "AveragePool", args, kwargs)


@meaning("keras.backend.pool2d")
def pool2d(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Largest or mean of each window; strides are 1 by default."""
    b = argument_values("x, pool_size, strides=(1, 1), padding='valid', data_format=None, pool_mode='max'", args, kwargs)
    if b["pool_mode"] not in ("max", "avg"):
        raise CodeRefused(f"pools by {b['pool_mode']!r}")
    rest = {k: b[k] for k in ("strides", "padding", "data_format")}
    return _pool(t, "MaxPool" if b["pool_mode"] == "max" else "AveragePool", [b["x"], b["pool_size"]], rest)


@meaning("tensorflow.image.extract_patches")
def extract_patches(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Windows of images, their pixels along the channels."""
    b = argument_values("images, sizes, strides, rates, padding", args, kwargs)
    sizes, strides, rates = (_inner(b[k], 2, k) for k in ("sizes", "strides", "rates"))
    if rates not in (1, (1, 1)):
        raise CodeRefused("takes windows with gaps")
    same = [v if isinstance(v, int) else v[0] if v[0] == v[1] else None for v in (sizes, strides)]
    if None in same:
        raise CodeRefused("takes windows that are not square")
    return t.operation("ExtractPatches", floating_tensor(b["images"]), size=(same[0], same[0]), strides=same[1],
                       padding=_padding(b["padding"]), data_format="channels_last")  # fmt: skip


@meaning("keras.backend.temporal_padding")
def temporal_padding(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Zeros before and after the steps of sequences."""
    b = argument_values("x, padding=(1, 1)", args, kwargs)
    return t.operation("Pad", tensor_argument(b["x"]), pad_width=((0, 0), tuple(b["padding"]), (0, 0)))


@meaning("keras.ops.gaussian_blur")
def gaussian_blur(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A blur; without a data format torch's backend blurs other axes than the operation of a model does (3.15.1)."""
    b = argument_values("images, kernel_size=(3, 3), sigma=(1.0, 1.0), data_format=None", args, kwargs)
    if b["data_format"] is None:
        raise CodeRefused("blurs without data_format=, which each of Keras's backends does otherwise")
    return t.operation("GaussianBlur", b["images"], kernel_size=b["kernel_size"], sigma=b["sigma"], data_format=b["data_format"])


# ---- images
@meaning("tensorflow.image.resize")
def resize(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Images of another size by pixel centres (``tf.image.resize``, TensorFlow 2)."""
    b = argument_values(
        "images, size, method='bilinear', preserve_aspect_ratio=False, antialias=False",
        args,
        {k: v for k, v in kwargs.items() if not (k == "align_corners" and not v)},
    )
    if b["preserve_aspect_ratio"]:
        raise CodeRefused("resizes by the aspect ratio")
    if not t.modern:
        raise CodeRefused("resizes images by TensorFlow, whose version 1 places pixels otherwise than 2; the file tells neither")
    method = str(b["method"]).lower().rpartition(".")[2].removesuffix("_neighbor")
    x = floating_tensor(b["images"])
    return t.operation("Resize", x, size=tuple(b["size"]), interpolation=method, antialias=bool(b["antialias"]),
                       data_format="channels_last")  # fmt: skip


@meaning("keras.backend.resize_images")
def resize_images(t: GraphOps, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Images enlarged by whole factors."""
    b = argument_values("x, height_factor, width_factor, data_format, interpolation='nearest'", args, kwargs)
    if b["interpolation"] != "nearest" or b["data_format"] not in ("channels_last", "tf"):
        raise CodeRefused("enlarges images otherwise than by the nearest pixel, channels last")
    y = t.operation("Repeat", b["x"], b["height_factor"], axis=1)
    return t.operation("Repeat", y, b["width_factor"], axis=2)

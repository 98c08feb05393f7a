"""Where blobs come from: Input and data layers, DummyData, Parameter.

Shapes that the prototxt does not give (Data, ImageData, HDF5Data, ...) come from ``input_shapes``, else from what reads the blob.
"""

from __future__ import annotations

from typing import Any

from convcore.plugin import UsageError, Value

from ..context import CaffeContext, CaffeNode
from .base import RULES

_CONVOLUTIONS = ("Convolution", "ConvolutionDepthwise", "DepthwiseConvolution", "Deconvolution")


@RULES.load("Input")
def input_(g: CaffeContext, node: CaffeNode) -> list[Value]:
    """One input per top; a shape for each, or one for all."""
    shapes = [tuple(int(d) for d in s.get("dim")) for s in node.attr("shape")]
    results = []
    for i, top in enumerate(node.outputs):
        shape = None if not shapes else shapes[0] if len(shapes) == 1 else shapes[i]
        if shape is None and not g.is_given(top):
            raise UsageError(
                f"layer {node.name!r} (Input) gives no shape for {top!r}: give input_shapes={{{top!r}: (1, 3, 224, 224)}}"
            )
        results.append(g.input(top, shape))
    return results


@RULES.load("MemoryData")
def memory_data(g: CaffeContext, node: CaffeNode) -> list[Value]:
    """(batch, C, H, W) and labels (batch)."""
    n, c, h, w = (int(node.attr(f)) for f in ("batch_size", "channels", "height", "width"))
    _transform(g, node)
    images = g.input(node.outputs[0], (n, c, h, w))
    labels = g.input(node.outputs[1], (images.shape[0] if images.shape else n,))
    return [images, labels]


@RULES.load("Data", "ImageData", "WindowData", "HDF5Data", "AnnotatedData", "VideoData", "DenseImageData")
def data(g: CaffeContext, node: CaffeNode) -> list[Value]:
    """Images or arrays from files that are not read: the tops are the net's inputs."""
    node.ignore(*node.attrs)
    _transform(g, node)
    results: list[Value] = []
    for i, top in enumerate(node.outputs):
        shape: tuple[Any, ...] | None = None
        if not g.is_given(top):
            shape = _guess(g, node, top, i)
            if shape is not None and results and results[0].shape:
                shape = (results[0].shape[0], *shape[1:])  # one batch for images and labels
            if shape is None:
                raise UsageError(
                    f"layer {node.name!r} ({node.type}) reads {top!r} from files and the prototxt does not tell its shape: give "
                    f"input_shapes={{{top!r}: (1, 3, 224, 224)}} or --input-shape {top}:1,3,224,224"
                )
        results.append(g.input(top, shape))
    return results


def _guess(g: CaffeContext, node: CaffeNode, top: str, i: int) -> tuple[Any, ...] | None:
    """The shape of a data layer's top by crop_size, mean image and the weights of what reads it; None: not certain."""
    layer = node.layer
    batch = next(
        (int(m.get("batch_size")) for m in node.messages if m.known and "batch_size" in m.schema.by_name and m.get("batch_size")),
        1,
    )
    readers = [other for other in g.net.layers if top in other.bottoms]
    if i > 0 and layer.type != "HDF5Data":
        return (batch,)
    if layer.type == "HDF5Data":
        for other in readers:
            if other.type == "InnerProduct" and other.blobs and other.param("inner_product_param").get("axis") == 1:
                transposed = other.param("inner_product_param").get("transpose")
                k = other.blobs[0].shape[-2 if transposed else -1]
                g.note(f"input {top!r} (HDF5Data gives no shape) is taken as ({batch}, {k}), which layer {other.name!r} wants")
                return (batch, k)
        return (batch, None) if not readers else None
    t = layer.param("transform_param") if layer.has_param("transform_param") else None
    crop = int(t.get("crop_size")) if t is not None else 0
    h = w = crop
    if not crop and layer.type == "ImageData":
        image = layer.param("image_data_param")
        h, w = int(image.get("new_height")), int(image.get("new_width"))
    channels = 0
    if layer.type == "WindowData" or (layer.type == "ImageData" and layer.param("image_data_param").get("is_color")):
        channels = 3
    if t is not None and t.get("force_color"):
        channels = 3
    elif t is not None and (t.get("force_gray") or (layer.type == "ImageData" and not channels)):
        channels = 1
    for other in readers:
        if not channels and other.type in _CONVOLUTIONS and other.blobs:
            shape = other.blobs[0].shape
            group = other.param("convolution_param").get("group")
            channels = (
                shape[0] if other.type == "Deconvolution" else shape[1] * group if other.type == "Convolution" else shape[0]
            )
    if not (h and w and channels):
        return None
    return (batch, channels, h, w)


def _transform(g: CaffeContext, node: CaffeNode) -> None:
    """transform_param as metadata, for the first top."""
    node.ignore("scale", "mirror", "crop_size", "mean_file", "mean_value", "force_color", "force_gray")
    layer = node.layer
    if not layer.has_param("transform_param") or not node.outputs:
        return
    t = layer.param("transform_param")
    facts: dict[str, Any] = {
        k: v for k, v in t.fields() if k in ("scale", "mean_file", "mean_value", "crop_size", "force_color", "force_gray")
    }
    others = [k for k in (*(k for k, _ in t.fields()), *t.unknown) if k not in facts and k != "mirror"]
    if others:
        facts["training_only"] = sorted(others)
    if facts:
        g.transforms[node.outputs[0]] = facts


@RULES.load("DummyData")
def dummy_data(g: CaffeContext, node: CaffeNode) -> list[Value]:
    """Constants by their fillers; a top with a random filler, or one ``input_shapes`` names, is an input."""
    n = len(node.outputs)
    shapes = [tuple(int(d) for d in s.get("dim")) for s in node.attr("shape")]
    if not shapes:
        columns = [list(node.attr(f)) for f in ("num", "channels", "height", "width")]
        columns = [c * n if len(c) == 1 else c for c in columns]
        shapes = [tuple(int(c[i]) for c in columns if c) for i in range(n)]
    else:
        node.ignore("num", "channels", "height", "width")
    shapes = shapes * n if len(shapes) == 1 else shapes
    fillers = list(node.attr("data_filler"))
    fillers = [None] * n if not fillers else fillers * n if len(fillers) == 1 else fillers
    results = []
    for top, shape, filler in zip(node.outputs, shapes, fillers, strict=True):
        if not g.is_given(top) and (filler is None or filler.get("type") == "constant"):
            value = 0.0 if filler is None else filler.get("value")
            g.note(f"blob {top!r} (DummyData) is the constant {value:g}; with input_shapes={{{top!r}: {shape}}} it is an input")
            results.append(g.b.fill(shape=shape, value=value, dtype="float32"))
        else:
            results.append(g.input(top, shape))
    return results


@RULES.load("Parameter")
def parameter(g: CaffeContext, node: CaffeNode) -> Value:
    """A learned blob."""
    g.count(node, 1)
    return g.b.identity(g.weight_of(node, 0, "parameter", tuple(int(d) for d in node.attr("shape").get("dim"))))

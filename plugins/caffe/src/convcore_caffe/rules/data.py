"""Where blobs come from: Input and data layers, DummyData, Parameter.

Shapes that the prototxt does not give (Data, ImageData, HDF5Data, ...) come from ``input_shapes``, else from what reads the blob.
"""

from __future__ import annotations

from typing import Any

from convcore.plugin import UsageError, Value, ask

from ..context import CaffeContext, CaffeNode
from ..files import layer_checks as checks
from ..layer_spec import EVERY, layer
from .base import RULES

# ---- what the layers are

layer(
    "AnnotatedData",
    param="""annotated_data_param 200 AnnotatedDataParameter:
        batch_sampler 1 BatchSampler*; label_map_file 2 string; anno_type 3 AnnotationType
    """,
    reads=("data_param", "transform_param"),
    enums={"AnnotationType": "BBOX 0"},
    messages={
        "BatchSampler": """
            use_original_image 1 bool=true; sampler 2 Sampler; sample_constraint 3 SampleConstraint; max_sample 4 uint32
            max_trials 5 uint32=100
        """,
        "Sampler": "min_scale 1 float=1; max_scale 2 float=1; min_aspect_ratio 3 float=1; max_aspect_ratio 4 float=1",
        "SampleConstraint": """
            min_jaccard_overlap 1 float; max_jaccard_overlap 2 float; min_sample_coverage 3 float
            max_sample_coverage 4 float; min_object_coverage 5 float; max_object_coverage 6 float
        """,
    },
    source=True,
)
layer(
    "Data",
    param="""data_param 107 DataParameter:
        source 1 string; batch_size 4 uint32; rand_skip 7 uint32=0; backend 8 DB=LEVELDB; scale 2 float=1
        mean_file 3 string; crop_size 5 uint32=0; mirror 6 bool=false; force_encoded_color 9 bool=false
        prefetch 10 uint32=4
    """,
    reads=("transform_param",),
    enums={"DB": "LEVELDB 0; LMDB 1"},
    counts=(0, 0, 1, 2),
    v1="DATA 5 11",
    v0="data",
    source=True,
    opencv=False,
)
layer("DenseImageData", reads=("transform_param",), v1="DENSE_IMAGE_DATA -6", source=True)
layer(
    "DummyData",
    param="""dummy_data_param 109 DummyDataParameter:
        data_filler 1 FillerParameter*; shape 6 BlobShape*; num 2 uint32*; channels 3 uint32*; height 4 uint32*
        width 5 uint32*
    """,
    counts=(0, 0, 1, None),
    v1="DUMMY_DATA 32 26",
    source=True,
    writes=EVERY,
    opencv=False,
    check=checks.dummy,
)
layer(
    "HDF5Data",
    param="hdf5_data_param 112 HDF5DataParameter: source 1 string; batch_size 2 uint32; shuffle 3 bool=false",
    reads=("transform_param",),
    counts=(0, 0, 1, None),
    v1="HDF5_DATA 9 13",
    v0="hdf5_data",
    source=True,
    opencv=False,
)
layer(
    "ImageData",
    param="""image_data_param 115 ImageDataParameter:
        source 1 string; batch_size 4 uint32=1; rand_skip 7 uint32=0; shuffle 8 bool=false; new_height 9 uint32=0
        new_width 10 uint32=0; is_color 11 bool=true; scale 2 float=1; mean_file 3 string; crop_size 5 uint32=0
        mirror 6 bool=false; root_folder 12 string=""
    """,
    reads=("transform_param",),
    counts=(0, 0, 2, 2),
    v1="IMAGE_DATA 12 15",
    v0="images",
    source=True,
    opencv=False,
)
layer(
    "Input", param="input_param 143 InputParameter: shape 1 BlobShape*", counts=(0, 0, 0, None), writes=EVERY, check=checks.input_
)
layer(
    "MemoryData",
    param="""memory_data_param 119 MemoryDataParameter:
        batch_size 1 uint32; channels 2 uint32; height 3 uint32; width 4 uint32
    """,
    reads=("transform_param",),
    counts=(0, 0, 2, 2),
    v1="MEMORY_DATA 29 22",
    source=True,
    opencv=False,
    check=checks.positive("memory_data_param", "batch_size", "channels", "height", "width"),
)
layer(
    "Parameter",
    param="parameter_param 145 ParameterParameter: shape 1 BlobShape",
    counts=(0, 0, 1, 1),
    blobs=("parameter",),
    writes=EVERY,
    opencv=False,
)
layer(
    "VideoData",
    param="""video_data_param 207 VideoDataParameter:
        video_type 1 VideoType=WEBCAM; device_id 2 int32=0; video_file 3 string
    """,
    reads=("data_param", "transform_param"),
    enums={"VideoType": "WEBCAM 0; VIDEO 1"},
    source=True,
)
layer(
    "WindowData",
    param="""window_data_param 129 WindowDataParameter:
        source 1 string; scale 2 float=1; mean_file 3 string; batch_size 4 uint32; crop_size 5 uint32=0
        mirror 6 bool=false; fg_threshold 7 float=0.5; bg_threshold 8 float=0.5; fg_fraction 9 float=0.25
        context_pad 10 uint32=0; crop_mode 11 string=warp; cache_images 12 bool=false; root_folder 13 string=""
    """,
    reads=("transform_param",),
    counts=(0, 0, 2, 2),
    v1="WINDOW_DATA 24 20",
    v0="window_data",
    source=True,
    opencv=False,
)

# ---- rules

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
                f"layer {node.name!r} (Input) gives no shape for {top!r}: give "
                + ask(f"--input-shape {top}:1,3,224,224", f"input_shapes={{{top!r}: (1, 3, 224, 224)}}")
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
                    + ask(f"--input-shape {top}:1,3,224,224", f"input_shapes={{{top!r}: (1, 3, 224, 224)}}")
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
            given = ask(f"--input-shape {top}:{','.join(map(str, shape))}", f"input_shapes={{{top!r}: {shape}}}")
            g.note(f"blob {top!r} (DummyData) is the constant {value:g}; with {given} it is an input")
            results.append(g.b.fill(shape=shape, value=value, dtype="float32"))
        else:
            results.append(g.input(top, shape))
    return results


@RULES.load("Parameter")
def parameter(g: CaffeContext, node: CaffeNode) -> Value:
    """A learned blob."""
    g.count(node, 1)
    shape = tuple(int(d) for d in node.attr("shape").get("dim"))
    return g.b.identity(g.weight_of(node, 0, "parameter", shape, filler="", constant=0.0))

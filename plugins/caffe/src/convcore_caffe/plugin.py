"""What convcore finds of this plugin: hooks only; everything heavy is imported when a hook is called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convcore.plugin import EmitRequest, Emitted, Framework, HubFolder, Identified, LoadRequest, Option, hookimpl

if TYPE_CHECKING:
    from convcore.plugin import Graph

CONVCORE_API = (2, 0)


@hookimpl
def convcore_frameworks() -> Sequence[Framework]:
    """Caffe: BVLC's layers and those of well-known forks."""
    return [
        Framework(
            "caffe",
            title="Caffe",
            distribution="convcore-caffe",
            suffixes=(".prototxt", ".caffemodel"),
            pairs=((".prototxt", ".caffemodel"),),
            convention="convcore_caffe.layout:CONVENTION",
            dialect="convcore_caffe.emit:dialect",
            rules="convcore_caffe.rules:RULES",
            default_suffix=".prototxt",
            hub=HubFolder(
                "deploy.prototxt",
                "caffe",
                'import caffe\n\nnet = caffe.Net("deploy.prototxt", "deploy.caffemodel", caffe.TEST)',
            ),
        )
    ]


@hookimpl
def convcore_load(framework: str, request: LoadRequest) -> Graph:
    """Read a source."""
    from .load import load

    return load(request)


@hookimpl
def convcore_emit(framework: str, request: EmitRequest) -> Emitted:
    """Write a model."""
    from .emit import emit

    return emit(request)


@hookimpl
def convcore_identify(source: Any) -> Identified | None:
    """A net definition or weights, by content; else the suffix."""
    if not isinstance(source, (str, os.PathLike)):
        return None
    path = os.fsdecode(os.fspath(source))
    lower = path.lower()
    named = lower.endswith((".prototxt", ".caffemodel", ".caffemodel.h5"))
    if os.path.isfile(path) and not lower.endswith((".onnx", ".keras", ".pt", ".pth", ".pt2", ".safetensors", ".json")):
        from convcore.plugin import BadFileError

        from .files.sniff import sniff

        try:
            kind = sniff(path)
        except BadFileError:
            return Identified("caffe", 20, "the suffix") if named else None
        if kind == "prototxt":
            return Identified("caffe", 95 if named else 70, "the fields of a NetParameter")
        if kind == "caffemodel":
            return Identified("caffe", 95 if named else 60, "the wire format of a NetParameter")
    return Identified("caffe", 50, "the suffix") if named else None


@hookimpl
def convcore_options(framework: str) -> Sequence[Option]:
    """Options of the loader and the emitter."""
    if framework != "caffe":
        return []
    return [
        Option(
            "phase", "caffe", "load", str, "TEST", "the state include and exclude rules are tested against",
            choices=("TEST", "TRAIN"),
        ),
        Option("level", "caffe", "load", int, 0, "level of that state"),
        Option("stages", "caffe", "load", str, "", "stages of that state, separated by commas"),
        Option(
            "init_weights", "caffe", "load", bool, False,
            "fill layers without weights by their fillers (seeded), as training starts",
        ),
        Option(
            "losses", "caffe", "load", str, "auto",
            "loss and accuracy layers: deploy (their inference form, or dropped), compute (their values), or auto: deploy where "
            "their labels come from layers that read data, else compute",
            choices=("auto", "deploy", "compute"),
        ),
        Option(
            "reorg", "caffe", "load", str, None,
            "what Reorg is: darknet, as gklz1982/caffe-yolov2 and what is made of it have it from there (the numbers read as "
            "C / s^2 channels of H s x W s); other forks mean another order, and the prototxt does not say which",
            choices=("darknet",),
        ),
        Option(
            "preprocessing", "caffe", "load", str, "keep",
            "transform_param, mean and scale: keep (as metadata) or apply (as operations on the input)",
            choices=("keep", "apply"),
        ),
        Option("mean_file", "caffe", "load", str, None, "mean image (.binaryproto) subtracted from the input"),
        Option("mean_values", "caffe", "load", str, None, "mean per channel subtracted from the input, e.g. 104,117,123"),
        Option("input_scale", "caffe", "load", float, None, "factor the input is multiplied by after the mean is subtracted"),
        Option(
            "caffe_flavor", "caffe", "emit", str, "bvlc",
            "which layer types may be written: bvlc (BVLC's master of 2018 and later), ssd (weiliu89's branch: Permute, "
            "Normalize, ...) or opencv (only what OpenCV's importer reads right)",
            choices=("bvlc", "ssd", "opencv"),
        ),
        Option("batch", "caffe", "emit", int, 1, "batch size of the Input layers where the source leaves it open"),
        Option(
            "caffe_model", "caffe", "emit", str, None,
            "file name of the weights (default: that of the prototxt, with .caffemodel)",
        ),
        Option(
            "pool_rounding", "caffe", "emit", str, "crop",
            "how pooling that rounds down is written: crop (every Caffe), round_mode (BVLC of 2018 and later) or "
            "ceil_mode (forks)",
            choices=("crop", "round_mode", "ceil_mode"),
        ),
    ]  # fmt: skip

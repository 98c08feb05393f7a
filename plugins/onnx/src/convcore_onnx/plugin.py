"""What convcore finds of this plugin: hooks only; everything heavy is imported when a hook is called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convcore.plugin import (
    EmitRequest,
    Emitted,
    Framework,
    HubFolder,
    Identified,
    LoadRequest,
    Option,
    Runtime,
    hookimpl,
    read_head,
    watched,
)

if TYPE_CHECKING:
    from convcore.plugin import Graph

CONVCORE_API = (2, 0)


@hookimpl
def convcore_frameworks() -> Sequence[Framework]:
    """ONNX."""
    return [
        Framework(
            "onnx",
            title="ONNX",
            distribution="convcore-onnx",
            suffixes=(".onnx",),
            rules="convcore_onnx.rules:RULES",
            convention="convcore_onnx.layout:CONVENTION",
            dialect="convcore_onnx.emit:dialect",
            default_suffix=".onnx",
            requires=("onnx>=1.15",),
            live=("onnx.onnx_ml_pb2.ModelProto",),
            hub=HubFolder("model.onnx", "onnx", 'import onnxruntime\n\nsession = onnxruntime.InferenceSession("model.onnx")'),
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
def convcore_runtime(framework: str, source: Any, weights: Any) -> Runtime | None:
    """Run a model in onnxruntime."""
    from .runtime import open_runtime

    return open_runtime(source, weights)


@hookimpl
def convcore_identify(source: Any) -> Identified | None:
    """A ModelProto, a file whose first fields are those of one, or the suffix ``.onnx``."""
    if any(f"{c.__module__}.{c.__qualname__}" == "onnx.onnx_ml_pb2.ModelProto" for c in type(source).__mro__):
        return Identified("onnx", 100, "a ModelProto")
    if not isinstance(source, (str, os.PathLike)):
        return None
    path = os.fsdecode(source)
    named = path.lower().endswith(".onnx")
    try:
        head = read_head(watched(path))
        if head is not None and looks_like_model(head.data[:512], head.size):
            return Identified("onnx", 95 if named else 85, "the fields of a ModelProto")
    except OSError:
        return Identified("onnx", 20, "the suffix .onnx") if named else None
    return Identified("onnx", 50, "the suffix .onnx") if named else None


_WIRE = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
"""Wire type of every field of ModelProto."""


def looks_like_model(head: bytes, size: int) -> bool:
    """Whether a file that starts with ``head`` has the fields of an ONNX ModelProto, and an ir_version among the first."""
    at, seen = 0, set()
    while at < len(head):
        tag, at = _varint(head, at)
        number, wire = tag >> 3, tag & 7
        if at < 0 or _WIRE.get(number) != wire:
            return False
        value, at = _varint(head, at)
        if at < 0:
            return False
        if wire == 2:
            at += value
        if number == 1 and not 1 <= value < 1000:
            return False
        if number in (2, 3, 4) and at <= len(head) and not _text(head[at - value : at]):
            return False
        seen.add(number)
        if number == 7:
            break
    return at <= size and (1 in seen or 8 in seen) and (7 in seen or at >= len(head))


def _text(raw: bytes) -> bool:
    try:
        return "\0" not in raw.decode()
    except UnicodeDecodeError:
        return False


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
    return 0, -1


@hookimpl
def convcore_options(framework: str) -> Sequence[Option]:
    """Options of the emitter."""
    if framework != "onnx":
        return []
    return [
        Option(
            "opset", "onnx", "emit", int, None, "operator set to write, 7 or newer (default: 18, or an ONNX source's from 13 on)",
            aliases=("opset_version",),
        ),
        Option("ir_version", "onnx", "emit", int, None, "file format version (default: the oldest that has the opset)"),
        Option(
            "external_data", "onnx", "emit", str, "auto",
            "weights in a file of their own, <name>.data: auto (when the model would exceed 2 GB), always or never",
            choices=("auto", "always", "never"),
        ),
        Option(
            "keep_training", "onnx", "emit", bool, False,
            "write Dropout (in evaluation mode) and the momentum of BatchNormalization, which act in training only",
        ),
        Option(
            "contrib", "onnx", "emit", str, "keep",
            "nodes of com.microsoft of an ONNX source: keep (where nothing changed them) or standard (operators of the standard)",
            choices=("keep", "standard"),
        ),
        Option(
            "onnx_functions", "onnx", "emit", list, None,
            "type of layers (MyLayer) to write as functions of the model, one node each; may be repeated",
        ),
    ]  # fmt: skip

"""What convcore finds of this plugin: hooks only; everything heavy is imported when a hook is called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convcore.plugin import (
    BadFileError,
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
    """PyTorch."""
    return [
        Framework(
            "pytorch",
            title="PyTorch",
            distribution="convcore-pytorch",
            suffixes=(".py", ".safetensors", ".pth", ".pt2"),
            rules="convcore_pytorch.rules:RULES",
            convention="convcore_pytorch.layout:CONVENTION",
            dialect="convcore_pytorch.emit:dialect",
            default_suffix=".py",
            unread=(".py",),
            requires=("torch>=2.6",),
            checkpoints="convcore_pytorch.listing:weights_alone",
            hub=HubFolder("model.py", "pytorch", "from model import load\n\nmodel = load()"),
            live=("torch.nn.modules.module.Module", "torch.export.exported_program.ExportedProgram"),
        )
    ]


@hookimpl
def convcore_load(framework: str, request: LoadRequest) -> Graph:
    """Read a program from a file, a module or an ExportedProgram."""
    from .load import load

    return load(request)


@hookimpl
def convcore_identify(source: Any) -> Identified | None:
    """A module, an ExportedProgram, or a file that is one of torch's by its first bytes."""
    if not isinstance(source, (str, os.PathLike)):
        classes = {f"{c.__module__}.{c.__qualname__}" for c in type(source).__mro__}
        if "torch.nn.modules.module.Module" in classes:
            return Identified("pytorch", 90, "an nn.Module")
        return (
            Identified("pytorch", 100, "an ExportedProgram")
            if "torch.export.exported_program.ExportedProgram" in classes
            else None
        )
    path = os.fsdecode(source)
    named = path.lower().endswith(
        (".pt2", ".pt", ".pth", ".ts", ".jit", ".torchscript", ".safetensors.index.json", ".bin.index.json")
    )
    try:
        head = read_head(watched(path))
    except OSError:
        head = None
    if head is None:
        return Identified("pytorch", 20, "the suffix") if named else None
    if not _starts_like_ours(head.data):
        return None
    from .files.identify import kind_of

    try:
        kind = kind_of(path)
    except BadFileError:
        return Identified("pytorch", 60, "a damaged PyTorch file") if named else None
    return None if kind is None else Identified("pytorch", 95 if named else 80, f"a {kind.name} file")


def _starts_like_ours(head: bytes) -> bool:
    """Whether any kind of :mod:`.files.identify` starts like this: the readers are imported for such files only."""
    return head[:1] in (b"\x80", b"{") or head[:4] == b"PK\3\4" or head[8:9] == b"{" or head[257:262] == b"ustar"


@hookimpl
def convcore_emit(framework: str, request: EmitRequest) -> Emitted:
    """Write a model as code and weights, or its weights alone."""
    from .emit import emit

    return emit(request)


@hookimpl
def convcore_runtime(framework: str, source: Any, weights: Any) -> Runtime | None:
    """Run a module, or code this process has written, in torch."""
    from .runtime import open_runtime

    return open_runtime(source, weights)


@hookimpl
def convcore_options(framework: str) -> Sequence[Option]:
    """Options of the loader and the emitter."""
    if framework != "pytorch":
        return []
    return [
        Option(
            "example_inputs",
            "pytorch",
            "load",
            object,
            None,
            "what the module is called with while it is traced: a tensor, a tuple of positional arguments, a dict of named ones",
        ),
        Option(
            "dynamic_shapes",
            "pytorch",
            "load",
            object,
            None,
            "as torch.export takes it (default: axis 0 of every input is the batch)",
        ),
        Option("training", "pytorch", "load", bool, False, "take a module in training mode, converted as it is after eval()"),
        Option(
            "module", "pytorch", "load", str, None, "package.module:factory that makes the module; imports and runs that code"
        ),
        Option(
            "input_dtypes",
            "pytorch",
            "load",
            str,
            None,
            "element types of a TorchScript file's inputs, name:int64,... (default float32)",
        ),
        Option(
            "fixed",
            "pytorch",
            "load",
            str,
            None,
            "arguments of a TorchScript file's method and attributes that it sets between calls, fixed to plain values: "
            "sr=16000,decoder.last=true",
        ),
        Option(
            "into",
            "pytorch",
            "emit",
            str,
            None,
            "package.module:factory of a module that is there already: its weights are filled and written (.safetensors, .pth); "
            "imports and runs that code",
        ),
        Option("into_module", "pytorch", "emit", object, None, "a live module to fill (convcore.load_into)"),
        Option("class_name", "pytorch", "emit", str, None, "name of the model's class (default: after the source's name)"),
        Option("max_depth", "pytorch", "emit", int, None, "how deep blocks may be nested as classes (default: as in the source)"),
    ]

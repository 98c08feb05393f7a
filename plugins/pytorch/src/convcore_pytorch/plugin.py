"""What convcore finds of this plugin: hooks only; everything heavy is imported when a hook is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import EmitRequest, Emitted, Framework, Option, Runtime, hookimpl

CONVCORE_API = (2, 0)


@hookimpl
def convcore_frameworks() -> Sequence[Framework]:
    """PyTorch."""
    return [
        Framework(
            "pytorch",
            title="PyTorch",
            distribution="convcore-pytorch",
            suffixes=(".py", ".safetensors", ".pth"),
            rules="convcore_pytorch.rules:RULES",
            convention="convcore_pytorch.layout:CONVENTION",
            dialect="convcore_pytorch.emit:dialect",
            default_suffix=".py",
            requires=("torch>=2.6",),
        )
    ]


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
    """Options of the emitter."""
    if framework != "pytorch":
        return []
    return [
        Option("class_name", "pytorch", "emit", str, None, "name of the model's class (default: after the source's name)"),
        Option("max_depth", "pytorch", "emit", int, None, "how deep blocks may be nested as classes (default: as in the source)"),
    ]

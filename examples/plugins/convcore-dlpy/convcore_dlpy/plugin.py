"""A target: SAS DLPy. Viya's server runs what is written, so that nothing here reads it back. The hooks."""

from __future__ import annotations

from convcore.plugin import EmitRequest, Emitted, Framework, Option, hookimpl

CONVCORE_API = (2, 0)


@hookimpl
def convcore_frameworks() -> list[Framework]:
    return [
        Framework(
            "dlpy",
            "SAS DLPy",
            "convcore-dlpy",
            (".kerasmodel.h5", ".caffemodel.h5", ".onnxmodel.h5"),
            "convcore_dlpy.rules:RULES",
            "convcore_dlpy.rules:CONVENTION",
            dialect="convcore_dlpy.rules:dialect",
            default_suffix="_weights.kerasmodel.h5",
            unread=(".kerasmodel.h5", ".caffemodel.h5", ".onnxmodel.h5"),
        )
    ]


@hookimpl
def convcore_options(framework: str) -> list[Option]:
    if framework != "dlpy":
        return []
    said = "names of the classes, in order; by default those that the source states"
    return [Option("classes", "dlpy", "emit", list, None, said)]


@hookimpl
def convcore_emit(framework: str, request: EmitRequest) -> Emitted:
    from .emit import emit

    return emit(request)

"""A target: C headers. Nothing here runs or reads them, so what is converted is "not verified". The hooks."""

from __future__ import annotations

from convcore.plugin import EmitRequest, Emitted, Framework, hookimpl

CONVCORE_API = (2, 0)


@hookimpl
def convcore_frameworks() -> list[Framework]:
    rules, dialect = "convcore_c_header.emit:RULES", "convcore_c_header.emit:dialect"
    return [Framework("c_header", "C header", "convcore-c-header", (".h",), rules, dialect=dialect, default_suffix=".h")]


@hookimpl
def convcore_emit(framework: str, request: EmitRequest) -> Emitted:
    from .emit import emit

    return emit(request)
